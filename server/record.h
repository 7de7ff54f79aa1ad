/* One audit record as the daemon fills it. Enums, ids of fixed size and short checked strings: there is no place in it for
 * a payload. The committer turns it into bytes (record.proto, AUDIT_FORMAT.md). */
#ifndef BW_SERVER_RECORD_H
#define BW_SERVER_RECORD_H

#include "bailiwick/audit_record.h"
#include "bailiwick/names.h"

/* as in record.proto */
enum bw_outcome { BW_OUTCOME_GRANTED = 1, BW_OUTCOME_DENIED, BW_OUTCOME_ERROR, BW_OUTCOME_INTENT, BW_OUTCOME_UNKNOWN };

struct bw_record {
    uint32_t        log;             /* which log: the tenant's, or 0 for the region's own */
    uint32_t        operation;       /* number of the method */
    bool            has_key;
    bw_key_id       key;
    uint32_t        key_version;
    uint32_t        mechanism;       /* CKM_ */
    enum bw_outcome outcome;
    enum bw_code    reason;
    uint64_t        policy_version;
    bool            has_proposal;
    uint8_t         proposal[BW_PROPOSAL_ID_LEN]; /* of custodians: that this is about, or that it carries out */
    uint64_t        intent_index;    /* of the intent that this closes, plus 1; 0: none */
    uint64_t        count;           /* aggregates; 0: one */
    int64_t         last_us;

    char            principal[BW_SPIFFE_MAX + 1]; /* "" when unknown */
    uint8_t         certificate[32]; /* SHA-256 of its DER; zero when unknown */
    char            address[64];     /* numeric, with port */
    uint8_t         request_id[BW_REQUEST_ID_LEN];

    bool            has_aad_tag;
    uint8_t         aad_tag[32];     /* keyed hash */
    char            purpose[64];
    char            rule[BW_RULE_NAME_MAX + 1]; /* that allowed it; "" when none was asked, or none did */
    const char     *context_names[BW_CONTEXT_PAIRS_MAX]; /* borrowed until the record is written; at most BW_CONTEXT_TEXT_MAX each */
    size_t          context_name_count;
    bool            released;
};

enum {
    BW_RECORD_EVENT_ID_LEN = 16,
    BW_RECORD_TAG_LEN      = 16,
    BW_RECORD_SALTS_LEN    = 3 * BW_AUDIT_SALT_LEN,
    BW_RECORD_ROOM         = 20 * 1024  /* of which the names of a full encryption context take 16 KiB */
};

/* What the log adds when it writes a record. */
struct bw_record_stamp {
    uint8_t     event_id[BW_RECORD_EVENT_ID_LEN];
    int64_t     time_us;             /* never less than the record's before in its log */
    int64_t     wall_us;             /* the clock as read */
    bool        clock_unsure;
    const char *region;
    const char *node;                /* at most BW_PRINCIPAL_MAX bytes */
    uint8_t     principal_tag[BW_RECORD_TAG_LEN];
};

/* The three classes, each its salt and then its message. They point into room: not to be copied by assignment. */
struct bw_record_bytes {
    bw_bytes essential, who, context;
    uint8_t  room[BW_RECORD_ROOM];
};

/* salts: fresh from a random generator, never used before. Text that is not printable UTF-8 is replaced by "?".
 * BW_TOO_LARGE: the record does not keep to its own limits. */
bw_result bw_record_encode(const struct bw_record *record, const struct bw_record_stamp *stamp,
                           const uint8_t salts[static BW_RECORD_SALTS_LEN], struct bw_record_bytes *bytes);

/* And back, from classes as stored; texts live in the arena. ret_record->log is left to the caller.
 * BW_DATA_INVALID: these are not such classes. */
bw_result bw_record_decode(bw_bytes essential, bw_bytes who, bw_bytes context, struct bw_arena *arena,
                           struct bw_record *ret_record, struct bw_record_stamp *ret_stamp);

#endif
