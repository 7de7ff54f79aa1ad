#include "audit_notary_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_MS = 500,                    /* between two rounds: with what the indexer gathers, a record is signed within a second */
    RETRY_MS = 1000,                   /* after a round that failed */
    LOOK_MS  = 10 * 1000,              /* at the clock, whether an epoch began */
    WAIT_MS  = 5000                    /* how long who asks waits for a signature */
};

static struct timespec in_ms(unsigned ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec  += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

void bw_notary_alarm(struct bw_audit_notary *notary, bw_result what, const struct signed_log *last)
{
    if (notary->options.alarm != NULL)
        notary->options.alarm(notary->options.self, what, last != NULL ? bw_buf_bytes(&last->note) : bw_bytes_of(NULL, 0));
}

/* ---- the thread ---- */

/* What says that there are two histories is for good; all else may pass. */
static bool is_for_good(bw_result r)
{
    return r.code == BW_LOG_POSITION || r.code == BW_CONFLICT;
}

static void tell_change(struct bw_audit_notary *notary, bw_result r)
{
    bool failing = !bw_ok(r);

    if (failing != notary->failing && r.code != BW_LOG_POSITION) /* that was told with its checkpoint */
        bw_notary_alarm(notary, r, NULL);
    notary->failing = failing;
}

/* To the next epoch; the clock may be set meanwhile, so never long. */
static unsigned epoch_left_ms(const struct bw_audit_notary *notary)
{
    unsigned left = notary->options.epoch_ms - (unsigned)((uint64_t)bw_notary_wall_us() / 1000 % notary->options.epoch_ms);
    return left < LOOK_MS ? left : LOOK_MS;
}

/* Until there is something to sign or an epoch begins, but not before until. False: to stop. */
static bool wait_for_growth(struct bw_audit_notary *notary, const struct timespec *until)
{
    const struct timespec epoch = in_ms(epoch_left_ms(notary));

    (void)pthread_mutex_lock(&notary->lock);
    while (!notary->stop && pthread_cond_timedwait(&notary->wanted, &notary->lock, until) != ETIMEDOUT)
        ;
    while (!notary->stop && !notary->grown && pthread_cond_timedwait(&notary->wanted, &notary->lock, &epoch) != ETIMEDOUT)
        ;
    notary->grown = false;
    bool go_on = !notary->stop;
    (void)pthread_mutex_unlock(&notary->lock);
    return go_on;
}

/* Whether to go on. */
static bool after_round(struct bw_audit_notary *notary, bw_result r)
{
    tell_change(notary, r);
    (void)pthread_mutex_lock(&notary->lock);
    if (is_for_good(r))
        atomic_store(&notary->broken, true);
    if (!bw_ok(r))
        notary->grown = true; /* again */
    bool go_on = !notary->stop && !notary->broken;
    (void)pthread_cond_broadcast(&notary->published); /* nobody need wait for what will not come */
    (void)pthread_mutex_unlock(&notary->lock);
    return go_on;
}

static void *run(void *self)
{
    struct bw_audit_notary *notary = self;
    bw_result r = bw_notary_sign_round(notary);

    while (after_round(notary, r)) {
        const struct timespec until = in_ms(bw_ok(r) ? PAUSE_MS : RETRY_MS);
        if (wait_for_growth(notary, &until))
            r = bw_notary_sign_round(notary);
    }
    return NULL;
}

void bw_audit_notary_wake(struct bw_audit_notary *notary)
{
    (void)pthread_mutex_lock(&notary->lock);
    notary->grown = true;
    (void)pthread_cond_signal(&notary->wanted);
    (void)pthread_mutex_unlock(&notary->lock);
}

/* ---- whoever asks ---- */

bw_result bw_audit_notary_health(struct bw_audit_notary *notary)
{
    BW_CHECK(!atomic_load(&notary->broken), BW_AUDIT_UNAVAILABLE, "an audit log is not what was signed: the alarm in the log tells which");
    return bw_success();
}

static bool is_signed(const struct bw_audit_notary *notary, uint32_t log, uint64_t size)
{
    return log < notary->log_count && notary->logs[log].note.len > 0 && !notary->logs[log].by_old_key && notary->logs[log].checkpoint.size >= size;
}

bool bw_audit_notary_signed_size(struct bw_audit_notary *notary, uint32_t log, uint64_t *ret_size)
{
    (void)pthread_mutex_lock(&notary->lock);
    bool there = is_signed(notary, log, 0);
    if (there)
        *ret_size = notary->logs[log].checkpoint.size;
    (void)pthread_mutex_unlock(&notary->lock);
    return there;
}

static bw_result copy_checkpoint(const struct bw_audit_notary *notary, uint32_t log, struct bw_arena *arena, struct bw_audit_checkpoint *ret_checkpoint)
{
    const struct signed_log   *last = &notary->logs[log];
    struct bw_audit_checkpoint copy = { .checkpoint = last->checkpoint };

    copy.note = bw_bytes_of(bw_arena_copy(arena, bw_buf_bytes(&last->note)), last->note.len);
    copy.keys = bw_bytes_of(bw_arena_copy(arena, bw_buf_bytes(&last->keys)), last->keys.len);
    BW_CHECK(copy.note.data != NULL && copy.keys.data != NULL, BW_NO_MEMORY, "checkpoint");
    BW_TRY(bw_note_key_make(last->checkpoint.origin, notary->signer.key.type, bw_bytes_of(notary->signer.key.key, notary->signer.key.key_len), &copy.key));

    *ret_checkpoint = copy;
    return bw_success();
}

bw_result bw_audit_notary_checkpoint(struct bw_audit_notary *notary, uint32_t log, uint64_t size, struct bw_arena *arena,
                                     struct bw_audit_checkpoint *ret_checkpoint)
{
    const struct timespec until = in_ms(WAIT_MS);
    bool in_time = true;

    (void)pthread_mutex_lock(&notary->lock);
    while (in_time && !notary->broken && !is_signed(notary, log, size))
        in_time = pthread_cond_timedwait(&notary->published, &notary->lock, &until) != ETIMEDOUT;
    bw_result r = bw_fail(BW_DEADLINE, "the log's checkpoint is late");
    if (is_signed(notary, log, size))
        r = copy_checkpoint(notary, log, arena, ret_checkpoint);
    (void)pthread_mutex_unlock(&notary->lock);
    return r;
}

static bw_result keep(struct bw_arena *arena, bw_bytes bytes, bw_bytes *ret_copy)
{
    *ret_copy = bw_bytes_of(bw_arena_copy(arena, bytes), bytes.len);
    BW_CHECK(ret_copy->data != NULL, BW_NO_MEMORY, "epoch");
    return bw_success();
}

static bw_result copy_anchor(const struct bw_audit_notary *notary, uint32_t log, struct bw_hasher *hasher, struct bw_arena *arena, struct bw_audit_anchor *ret_anchor)
{
    const struct bw_anchored *last = &notary->anchored;
    struct bw_audit_anchor    copy = { .proof = { .index = last->index, .inclusion = last->inclusion, .slot = log } };
    uint8_t entry[BW_EPOCH_ENTRY_LEN];

    BW_CHECK(log < last->log_count && last->logs[log].note.len > 0, BW_DEADLINE, "the log is in no epoch yet");
    bw_epoch_print(&last->epoch, entry);
    BW_TRY(keep(arena, bw_bytes_of(entry, sizeof entry), &copy.proof.entry));
    BW_TRY(keep(arena, bw_buf_bytes(&last->note), &copy.proof.note));
    BW_TRY(keep(arena, bw_buf_bytes(&last->logs[log].note), &copy.proof.checkpoint));
    BW_TRY(keep(arena, bw_bytes_of(last->logs[log].slot_key, sizeof last->logs[log].slot_key), &copy.proof.slot_key));
    BW_TRY(bw_anchored_path(last, hasher, log, &copy.proof.slot_path));
    BW_TRY(bw_note_key_make(notary->anchor_head.checkpoint.origin, notary->signer.key.type,
                            bw_bytes_of(notary->signer.key.key, notary->signer.key.key_len), &copy.key));
    *ret_anchor = copy;
    return bw_success();
}

bw_result bw_audit_notary_anchor(struct bw_audit_notary *notary, uint32_t log, struct bw_arena *arena, struct bw_audit_anchor *ret_anchor)
{
    BW_AUTO(hasher) hasher = NULL;

    BW_TRY(bw_hasher_new(&hasher));
    (void)pthread_mutex_lock(&notary->lock);
    bw_result r = copy_anchor(notary, log, hasher, arena, ret_anchor);
    (void)pthread_mutex_unlock(&notary->lock);
    return r;
}

/* ---- open and close ---- */

static bw_result open_anchor(struct bw_audit_notary *notary)
{
    char  *origin = notary->anchor_head.checkpoint.origin;
    size_t room   = sizeof notary->anchor_head.checkpoint.origin;
    int    len    = snprintf(origin, room, "%s/audit/anchor", notary->options.host);

    BW_CHECK(len > 0 && (size_t)len < room, BW_CONFIG_INVALID, "the host's name is too long for a log's origin");
    BW_TRY(bw_hasher_new(&notary->hasher));
    return bw_anchor_open(notary->options.anchor_path, &notary->options.region, notary->hasher, &notary->anchor);
}

static bw_result init(struct bw_audit_notary *notary, const struct bw_audit_notary_options *options)
{
    pthread_condattr_t clock;

    notary->options = *options;
    notary->signer  = *options->signer;
    BW_CHECK(pthread_condattr_init(&clock) == 0 && pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0, BW_NO_MEMORY, "notary");
    BW_CHECK(pthread_mutex_init(&notary->lock, NULL) == 0 && pthread_cond_init(&notary->wanted, &clock) == 0
             && pthread_cond_init(&notary->published, &clock) == 0, BW_NO_MEMORY, "notary");
    (void)pthread_condattr_destroy(&clock);
    BW_TRY(bw_notary_make_room(notary));
    BW_TRY(open_anchor(notary));
    BW_TRY(bw_audit_guard_open(options->guard_path, &options->region, &notary->guard));
    return bw_audit_guard_each(&notary->guard, bw_notary_take_guarded, notary);
}

bw_result bw_audit_notary_new(const struct bw_audit_notary_options *options, struct bw_audit_notary **ret_notary)
{
    BW_AUTO(audit_notary) notary = calloc(1, sizeof *notary);

    BW_CHECK(notary != NULL, BW_NO_MEMORY, "notary");
    BW_TRY(init(notary, options));
    *ret_notary = bw_take(&notary);
    return bw_success();
}

bw_result bw_audit_notary_check(struct bw_audit_notary *notary, struct bw_audit_index *index)
{
    notary->index = index;
    for (uint32_t log = 0; log < notary->log_count; log++)
        BW_TRY(bw_notary_check_log(notary, log));
    return bw_success();
}

bw_result bw_audit_notary_start(struct bw_audit_notary *notary, struct bw_audit_index *index)
{
    notary->index = index;
    BW_CHECK(pthread_create(&notary->thread, NULL, run, notary) == 0, BW_NO_MEMORY, "notary");
    notary->has_thread = true;
    return bw_success();
}

void bw_audit_notary_stop(struct bw_audit_notary *notary)
{
    if (notary == NULL || !notary->has_thread)
        return;
    (void)pthread_mutex_lock(&notary->lock);
    notary->stop = true;
    (void)pthread_cond_signal(&notary->wanted);
    (void)pthread_mutex_unlock(&notary->lock);
    (void)pthread_join(notary->thread, NULL);
    notary->has_thread = false;
}

void bw_audit_notary_free(struct bw_audit_notary *notary)
{
    if (notary == NULL)
        return;
    bw_audit_notary_stop(notary);
    bw_notary_drop_drafts(notary);
    bw_audit_guard_close(&notary->guard);
    bw_anchor_close(&notary->anchor);
    bw_anchored_clear(&notary->anchored);
    bw_notary_clear_log(&notary->anchor_head);
    bw_hasher_free(notary->hasher);
    for (uint32_t log = 0; log < notary->log_count; log++)
        bw_notary_clear_log(&notary->logs[log]);
    free(notary->logs);
    (void)pthread_cond_destroy(&notary->published);
    (void)pthread_cond_destroy(&notary->wanted);
    (void)pthread_mutex_destroy(&notary->lock);
    free(notary);
}
