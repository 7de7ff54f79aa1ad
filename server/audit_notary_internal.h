/* What the notary's four files share: audit_notary.c (its thread, and whoever asks), audit_notary_sign.c (a round over the logs
 * that grew), audit_notary_epoch.c (an entry of the anchor log), audit_notary_key.c (its key replaced by the next). */
#ifndef BW_SERVER_AUDIT_NOTARY_INTERNAL_H
#define BW_SERVER_AUDIT_NOTARY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "audit_anchored.h"
#include "audit_logs.h"
#include "audit_notary.h"

/* A log's last checkpoint; note empty: none was signed. */
struct signed_log {
    struct bw_checkpoint checkpoint;
    struct bw_buf        note;
    int64_t              signed_us;
    struct bw_buf        keys;         /* before the signer's: notes (succession.h) */
    bool                 by_old_key;   /* one of those signed it: it is signed anew before it is given out */
};

/* A signature that is not given out yet. */
struct draft { struct draft *next; uint32_t log; struct bw_checkpoint checkpoint; struct bw_buf note; };

struct bw_audit_notary {
    struct bw_audit_notary_options options;
    struct bw_note_signer   signer;        /* the thread alone changes it, under lock */
    struct bw_audit_index  *index;
    pthread_t               thread;
    bool                    has_thread;

    /* the thread's own */
    struct bw_audit_guard   guard;
    struct draft           *drafts;
    struct bw_hasher       *hasher;
    struct bw_anchor        anchor;
    struct signed_log       anchor_head;   /* the anchor log's last checkpoint */
    int64_t                 last_us;       /* of the newest signature */
    bool                    failing;       /* told so */
    bool                    in_doubt;      /* the guard may have moved: it is read again before it is moved */

    pthread_mutex_t         lock;          /* over what follows; the thread alone writes to logs */
    pthread_cond_t          wanted;        /* wakes the thread */
    pthread_cond_t          published;     /* wakes who waits for a checkpoint */
    bool                    grown, stop;
    const struct bw_note_signer *next;     /* that takes the signer's place; NULL: none is to */
    uint64_t                next_number;
    bw_result               succeeded;     /* how that went */
    struct signed_log      *logs;          uint32_t log_count;
    struct bw_anchored      anchored;      /* the last epoch; no slots: none since the start */
    atomic_bool             broken;        /* there are two histories: nothing is signed any more */
};

static inline int64_t bw_notary_wall_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* last: what was signed last of the log that it is about; NULL: it is about none. */
void bw_notary_alarm(struct bw_audit_notary *notary, bw_result what, const struct signed_log *last);

/* ---- audit_notary_sign.c; all on the notary's thread, or before there is one ---- */

bw_result bw_notary_make_room(struct bw_audit_notary *notary);       /* for all logs there are; those without a checkpoint have an empty note */
bw_result bw_notary_take_guarded(void *self, const struct bw_guarded *row); /* a row of the guard, held against what we have */
bw_result bw_notary_check_log(struct bw_audit_notary *notary, uint32_t log); /* it goes on from its last checkpoint */
bw_result bw_notary_sign_draft(struct bw_audit_notary *notary, struct draft *draft);
bw_result bw_notary_sign_round(struct bw_audit_notary *notary);      /* what grew, then the epoch if one began */
void      bw_notary_drop_drafts(struct bw_audit_notary *notary);

void      bw_notary_clear_log(struct signed_log *log);

/* ---- audit_notary_key.c ---- */

/* If there is a next key: the old one signs who follows it, for every log, and the guard holds that in one step. */
void bw_notary_hand_over(struct bw_audit_notary *notary);

/* ---- audit_notary_epoch.c ---- */

/* One entry each time the clock enters an epoch that has none yet. */
bw_result bw_notary_epoch_round(struct bw_audit_notary *notary);

#endif
