/* The audit log's append path: nothing is released before its record is durable.
 *
 * Denials in the region's own log that repeat within a second share one record (audit_flood.h).
 *
 * One append-only SQLite table, no secondary index, synchronous=FULL. Whoever flushes commits all that is pending in one
 * transaction, unless another thread is doing so: then that one takes it too. So a lone caller never waits for company,
 * and under load a commit carries many records.
 *
 * Under the log's order, before it is written, each entry is asked once more whether it still holds (promise 7): a change
 * that was acknowledged before is always seen. */
#ifndef BW_SERVER_AUDIT_H
#define BW_SERVER_AUDIT_H

#include "epoch.h"
#include "record.h"

struct bw_audit;

/* What is wrong with the checkpoints, or BW_OK when it is over. checkpoint: the last good one of the log it is about, as a
 * note; empty when it is about none. In bw_audit_open, or on the notary's thread. */
typedef void (*bw_audit_alarm_fn)(void *self, bw_result what, bw_bytes checkpoint);

/* Where what is on the disk is not what it should be. */
struct bw_audit_damage {
    const char *origin; /* of the log; empty: guard file or anchor log */
    uint64_t    index;  /* the first bad record, or where it must be before */
    bw_result   what;
};
typedef void (*bw_audit_damage_fn)(void *self, const struct bw_audit_damage *damage); /* on the scrubber's thread */

struct bw_audit_options {
    const char *dir;        /* audit.db lives here; the query index beside it, which can be rebuilt */
    bw_region   region;
    const char *node;       /* at most BW_PRINCIPAL_MAX bytes */
    const char *host;       /* origins begin with it: <host>/audit/t/<uuid>; a DNS name */
    const char *guard;      /* the guard file (audit_guard.h); NULL: audit-guard.db in dir */
    const struct bw_note_signer *signer; /* of checkpoints; copied. NULL: none are signed, and the guard is not looked at */
    unsigned    epoch_ms;   /* of the region's anchor log; 0: a minute */
    bw_audit_alarm_fn alarm; /* may be NULL */
    bw_audit_damage_fn damaged; /* NULL: nothing is read again in the background (audit_scrub.h) */
    void             *self;
    unsigned    scrub_pause_ms; /* between two passes over the whole log; 0: an hour */
    bool        lay_out;    /* the write-ahead log's room on the disk beforehand, 64 MiB: for speed from the first record on */
};

/* On purpose, once per region. BW_ALREADY_EXISTS: there is a log. */
bw_result bw_audit_create(const struct bw_audit_options *options);

/* Fails with BW_WRONG_REGION when the log was made for another region; with BW_AUDIT_UNAVAILABLE when there is none, when
 * another process has it, or when it is damaged; with BW_LOG_POSITION, and an alarm, when it is not what was signed. */
bw_result bw_audit_open(const struct bw_audit_options *options, struct bw_audit **ret_audit);

/* Writes what is queued. Nobody may use audit any more. */
void      bw_audit_close(struct bw_audit *audit);
static inline void bw_audit_free(struct bw_audit *audit) { bw_audit_close(audit); }
BW_DEFINE_AUTO(audit)

/* A tenant's log, made on its first call. Number 0 is the region's own. */
bw_result   bw_audit_log_of(struct bw_audit *audit, const bw_tenant *tenant, uint32_t *ret_log);
const char *bw_audit_origin(struct bw_audit *audit, uint32_t log); /* lives as long as audit */

uint32_t    bw_audit_log_count(struct bw_audit *audit);

/* One thing that waits for its record. Embedded in what waits; owned by it. */
struct bw_audit_entry {
    struct bw_audit_entry *next;
    struct bw_record       record;
    /* Under the log's order, just before the record is written. May turn the record into a denial. NULL: nothing to ask.
     * Holds the log's write lock: may take the registry's to read, may not call back into audit. */
    void                 (*confirm)(struct bw_audit_entry *entry);
    /* When the record is durable (BW_OK, index set) or cannot be (BW_AUDIT_UNAVAILABLE). Any thread; the entry is the callee's again. */
    void                 (*done)(struct bw_audit_entry *entry, bw_result written);
    uint64_t               index; /* in its log */
};

/* Queues. Nothing happens before somebody flushes. Any thread. */
void bw_audit_put(struct bw_audit *audit, struct bw_audit_entry *entry);

/* Commits all that is queued, unless another thread is at it and will take it along. */
void bw_audit_flush(struct bw_audit *audit);

/* Writes one record and waits until it is durable: for intents, on worker threads. */
bw_result bw_audit_write(struct bw_audit *audit, const struct bw_record *record, uint64_t *ret_index);

/* Whether to take more work: BW_AUDIT_UNAVAILABLE when the disk is nearly full (what is under way can still be recorded) or
 * a commit failed within the last second, or a log is not what was signed; BW_CLOCK_UNAVAILABLE when the clock is more than a minute behind the last record.
 * Cheap enough for every call. */
bw_result bw_audit_health(struct bw_audit *audit);

/* Intents without an outcome, oldest first: for start-up. The record is borrowed until the callback returns. */
typedef bw_result (*bw_audit_intent_fn)(void *self, uint32_t log, uint64_t index, const struct bw_record *record);
bw_result bw_audit_each_open_intent(struct bw_audit *audit, bw_audit_intent_fn each, void *self);

struct bw_audit_stats { uint64_t records, commits; };
/* How the scrubber is getting on: all 0 when there is none. */
struct bw_audit_progress {
    uint64_t at, of;       /* records, in the pass at hand */
    uint64_t passes;       /* over the whole log, without a finding, since the start */
    int64_t  finished_us;  /* the last of them; wall clock; 0: none yet */
};
void bw_audit_progress(struct bw_audit *audit, struct bw_audit_progress *ret_progress);

void bw_audit_stats(struct bw_audit *audit, struct bw_audit_stats *ret_stats);

/* Keyed hash of additional data or encryption context under the log's own key, which never leaves this node. */
void bw_audit_tag(struct bw_audit *audit, uint32_t log, bw_bytes data, uint8_t ret_tag[static 32]);

/* ---- queries: from an index that a background thread feeds; an answer is never behind what is durable when asked ---- */

struct bw_audit_query {
    uint32_t        log;
    bool            has_key;
    bw_key_id       key;
    const char     *principal;      /* exact SPIFFE id, or NULL */
    const uint32_t *operations;     size_t operation_count; /* 0: any */
    const enum bw_outcome *outcomes; size_t outcome_count;  /* 0: any */
    int64_t         from_us, to_us; /* 0: open */
    const uint8_t  *request_id;     /* or NULL */
    uint64_t        from_index;     /* where to go on: next_index of the answer before */
    bool            newest_first;   /* then from_index is the first one not wanted any more, and 0 means from the end */
    uint32_t        limit;          /* at least 1 */
    bool            as_indexed;     /* does not wait for the index: what is in it now */
};

/* A record as stored: each class's bytes verbatim, with its salt in front (AUDIT_FORMAT.md). */
struct bw_audit_row { uint64_t index; bw_bytes essential, who, context; };

struct bw_audit_found {
    struct bw_audit_row *rows;       /* from the arena, as are the bytes */
    size_t               count;
    bool                 more;
    uint64_t             next_index; /* meaningless unless more */
    uint64_t             log_size;
};

/* BW_LOG_POSITION: the query goes on beyond the log's end, so the caller saw a longer log than this. */
bw_result bw_audit_find(struct bw_audit *audit, const struct bw_audit_query *query, struct bw_arena *arena, struct bw_audit_found *ret_found);

/* grown is called each time the index has taken in more, on its thread: it may not ask anything of audit. NULL: nobody's any
 * more, and when this returns none is running. */
void bw_audit_watch(struct bw_audit *audit, void (*grown)(void *self), void *self);

/* ---- checkpoints ---- */

struct bw_audit_checkpoint {
    struct bw_checkpoint checkpoint;
    bw_bytes             note;       /* signed; from the arena */
    struct bw_note_key   key;        /* that verifies it */
    bw_bytes             keys;       /* those before it: notes (succession.h); from the arena */
};

/* The log's last checkpoint that covers size records. Waits for it a little when they were just written. BW_LOG_POSITION: the
 * log has fewer; BW_DEADLINE: it is late; BW_AUDIT_UNAVAILABLE: none are signed. */
bw_result bw_audit_checkpoint(struct bw_audit *audit, uint32_t log, uint64_t size, struct bw_arena *arena, struct bw_audit_checkpoint *ret_checkpoint);

/* The log key of that number signs from now on; next must outlive audit. Any failure: whether it does, the guard tells at the next start. */
bw_result bw_audit_succeed(struct bw_audit *audit, const struct bw_note_signer *next, uint64_t number);

/* Of the key that has to sign, as the guard tells: what to open the log with. 0: the first. */
bw_result bw_audit_key_number(const struct bw_audit_options *options, uint32_t *ret_number);

/* The size of the log's last checkpoint, without waiting. false: there is none. */
bool bw_audit_signed_size(struct bw_audit *audit, uint32_t log, uint64_t *ret_size);

/* That the region's anchor log commits to a checkpoint of this log. Bytes are from the arena. */
struct bw_audit_anchor { struct bw_note_key key; /* of the anchor log */ struct bw_anchor_proof proof; };

/* The last epoch that the log is in. BW_DEADLINE: in none yet; BW_AUDIT_UNAVAILABLE: nothing is signed. */
bw_result bw_audit_anchor(struct bw_audit *audit, uint32_t log, struct bw_arena *arena, struct bw_audit_anchor *ret_anchor);

/* ---- the log's tree (AUDIT_FORMAT.md): as queries, never behind what is durable when asked ---- */

/* Of the log's first size records. BW_LOG_POSITION: it has fewer, or no such record, or from is 0. */
bw_result bw_audit_root(struct bw_audit *audit, uint32_t log, uint64_t size, bw_hash *ret_root);
bw_result bw_audit_prove_inclusion(struct bw_audit *audit, uint32_t log, uint64_t index, uint64_t size, struct bw_proof *ret_proof);
bw_result bw_audit_prove_consistency(struct bw_audit *audit, uint32_t log, uint64_t from, uint64_t size, struct bw_proof *ret_proof);

/* The first width hashes of a tile (audit_tiles.h). BW_LOG_POSITION: it has fewer. */
bw_result bw_audit_tile(struct bw_audit *audit, uint32_t log, unsigned level, uint64_t number, size_t width, struct bw_arena *arena, bw_bytes *ret_hashes);

#endif
