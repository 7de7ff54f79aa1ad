#include "audit_notary_internal.h"

#include <errno.h>

/* The guard's commit is the switch: before it the old key's notes are nobody's, after it the old key signs nothing more. What
 * follows from it, a crash or not, is read from the guard: what the old key signed is signed anew, and the anchor log's file
 * keeps the notes too. */

enum { WAIT_MS = 60 * 1000 }; /* a signature for each log */

/* ---- on the notary's thread ---- */

static bw_result retire_of(struct bw_audit_notary *notary, const struct signed_log *log, const struct bw_note_key *next)
{
    struct bw_buf keys = { 0 };

    if (log->note.len == 0)
        return bw_success(); /* it begins with the next key */
    bw_result r = bw_buf_add(&keys, bw_buf_bytes(&log->keys));
    if (bw_ok(r))
        r = bw_succession_add(&log->checkpoint, notary->next_number, &notary->signer, next, &keys);
    if (bw_ok(r))
        r = bw_audit_guard_succeed(&notary->guard, &log->checkpoint, bw_buf_bytes(&log->keys), bw_buf_bytes(&keys));
    bw_buf_clear(&keys);
    return r;
}

static bw_result retire(struct bw_audit_notary *notary, const struct bw_note_key *next)
{
    BW_TRY(bw_audit_guard_begin(&notary->guard));
    bw_result r = retire_of(notary, &notary->anchor_head, next);
    for (uint32_t log = 0; log < notary->log_count && bw_ok(r); log++)
        r = retire_of(notary, &notary->logs[log], next);
    if (bw_ok(r))
        r = bw_audit_guard_commit(&notary->guard);
    if (!bw_ok(r))
        bw_audit_guard_roll_back(&notary->guard);
    return r;
}

static void take_next(struct bw_audit_notary *notary, const struct bw_note_signer *next, bw_result r)
{
    (void)pthread_mutex_lock(&notary->lock);
    if (bw_ok(r)) {
        notary->signer = *next;
        for (uint32_t log = 0; log < notary->log_count; log++)
            notary->logs[log].by_old_key = true;
        bw_anchored_clear(&notary->anchored); /* the next epoch's is by the next key */
    }
    notary->in_doubt  = true;
    notary->next      = NULL;
    notary->succeeded = r;
    (void)pthread_cond_broadcast(&notary->published);
    (void)pthread_mutex_unlock(&notary->lock);
}

void bw_notary_hand_over(struct bw_audit_notary *notary)
{
    (void)pthread_mutex_lock(&notary->lock);
    const struct bw_note_signer *next = notary->next;
    (void)pthread_mutex_unlock(&notary->lock);
    if (next != NULL)
        take_next(notary, next, retire(notary, &next->key));
}

/* ---- whoever asks ---- */

bw_result bw_audit_notary_succeed(struct bw_audit_notary *notary, const struct bw_note_signer *next, uint64_t number)
{
    struct timespec until;
    bool in_time = true;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_MS / 1000;
    (void)pthread_mutex_lock(&notary->lock);
    notary->next        = next;
    notary->next_number = number;
    notary->grown       = true;
    (void)pthread_cond_signal(&notary->wanted);
    while (in_time && !notary->broken && notary->next != NULL)
        in_time = pthread_cond_timedwait(&notary->published, &notary->lock, &until) != ETIMEDOUT;
    bw_result r = notary->next == NULL ? notary->succeeded : bw_fail(BW_DEADLINE, "the next log key is late");
    (void)pthread_mutex_unlock(&notary->lock);
    return r;
}
