/* The notary: a thread that signs checkpoints of the logs that grew, and each epoch an entry of the region's anchor log over
 * all of them, off the release path.
 *
 * It signs only what is durable and indexed, and only a tree that goes on from the last one signed: its root at that size is
 * computed anew before each signature. The guard is moved first, then the checkpoint is given out. A log that went back, or
 * forked, is never signed again, and health says so; an HSM that fails makes checkpoints late and nothing else. */
#ifndef BW_SERVER_AUDIT_NOTARY_H
#define BW_SERVER_AUDIT_NOTARY_H

#include "audit_guard.h"
#include "audit_index.h"

struct bw_audit_notary_options {
    const char                  *guard_path;
    const char                  *anchor_path;
    const char                  *host;     /* the anchor log's origin is <host>/audit/anchor */
    unsigned                     epoch_ms; /* of the anchor log */
    bw_region                    region;
    struct bw_audit_logs        *logs;     /* must outlive the notary, as must the index */
    const struct bw_note_signer *signer;   /* copied; its key's name is not used: each log signs in its origin's */
    bw_audit_alarm_fn            alarm;    /* may be NULL */
    void                        *self;
};

struct bw_audit_notary;

/* Reads the guard and holds it against the heads: BW_LOG_POSITION, and the checkpoint told, when a log is shorter than what
 * was signed, or is gone. Starts no thread. */
bw_result bw_audit_notary_new(const struct bw_audit_notary_options *options, struct bw_audit_notary **ret_notary);

/* Holds the guard against the trees. BW_LOG_POSITION, and the checkpoint told: a log is not what was signed. */
bw_result bw_audit_notary_check(struct bw_audit_notary *notary, struct bw_audit_index *index);

bw_result bw_audit_notary_start(struct bw_audit_notary *notary, struct bw_audit_index *index);
void      bw_audit_notary_stop(struct bw_audit_notary *notary); /* before the index goes; NULL is fine */
void      bw_audit_notary_free(struct bw_audit_notary *notary);
BW_DEFINE_AUTO(audit_notary)

/* The index holds more than before. Any thread; costs next to nothing. */
void bw_audit_notary_wake(struct bw_audit_notary *notary);

/* BW_AUDIT_UNAVAILABLE: a log is not what was signed, so nothing may be added to it. */
bw_result bw_audit_notary_health(struct bw_audit_notary *notary);

/* The log's last checkpoint, once it covers size records. BW_DEADLINE: it did not within a few seconds. */
bw_result bw_audit_notary_checkpoint(struct bw_audit_notary *notary, uint32_t log, uint64_t size, struct bw_arena *arena,
                                     struct bw_audit_checkpoint *ret_checkpoint);

/* Of the log's last checkpoint; false: none was signed. */
bool bw_audit_notary_signed_size(struct bw_audit_notary *notary, uint32_t log, uint64_t *ret_size);

/* Another key signs from now on, the log key of that number; next must outlive the notary. What was signed last of each log is signed anew, soon. Any failure:
 * whether it is so, the guard tells at the next start. */
bw_result bw_audit_notary_succeed(struct bw_audit_notary *notary, const struct bw_note_signer *next, uint64_t number);

/* The last epoch, as it is about the log. BW_DEADLINE: the log is in none yet. */
bw_result bw_audit_notary_anchor(struct bw_audit_notary *notary, uint32_t log, struct bw_arena *arena, struct bw_audit_anchor *ret_anchor);

#endif
