/* One audit record as the daemon fills it. Enums, ids of fixed size and short checked strings: there is no place in it for
 * a payload. It becomes bytes (record.proto, AUDIT_FORMAT.md) in the committer. */
#ifndef BW_SERVER_RECORD_H
#define BW_SERVER_RECORD_H

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
    const char     *context_names[BW_CONTEXT_PAIRS_MAX]; /* borrowed until the record is written */
    size_t          context_name_count;
    bool            released;
};

#endif
