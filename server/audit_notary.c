#include "audit_notary.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit_anchored.h"
#include "audit_find.h"
#include "audit_index_db.h"
#include "audit_logs.h"
#include "audit_proof.h"

enum {
    PAUSE_MS = 500,                    /* between two rounds: with what the indexer gathers, a record is signed within a second */
    RETRY_MS = 1000,                   /* after a round that failed */
    LOOK_MS  = 10 * 1000,              /* at the clock, whether an epoch began */
    WAIT_MS  = 5000,                   /* how long who asks waits for a signature */
    BACK_US  = 60 * 1000 * 1000        /* the clock may be so much behind the last signature */
};

/* A log's last checkpoint; note empty: none was signed. */
struct signed_log { struct bw_checkpoint checkpoint; struct bw_buf note; int64_t signed_us; };

/* A signature that is not given out yet. */
struct draft { struct draft *next; uint32_t log; struct bw_checkpoint checkpoint; struct bw_buf note; };

struct bw_audit_notary {
    struct bw_audit_notary_options options;
    struct bw_note_signer   signer;
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
    struct signed_log      *logs;          uint32_t log_count;
    struct bw_anchored      anchored;      /* the last epoch; no slots: none since the start */
    atomic_bool             broken;        /* there are two histories: nothing is signed any more */
};

static int64_t wall_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

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

static void alarm_with(struct bw_audit_notary *notary, bw_result what, const struct signed_log *last)
{
    if (notary->options.alarm != NULL)
        notary->options.alarm(notary->options.self, what, last != NULL ? bw_buf_bytes(&last->note) : bw_bytes_of(NULL, 0));
}

/* ---- what was signed ---- */

/* Room for all logs there are; those without a checkpoint have an empty note. */
static bw_result make_room(struct bw_audit_notary *notary)
{
    uint32_t count = bw_audit_logs_count(notary->options.logs);

    if (count <= notary->log_count)
        return bw_success();
    (void)pthread_mutex_lock(&notary->lock);
    struct signed_log *logs = realloc(notary->logs, count * sizeof *logs);
    if (logs != NULL) {
        memset(logs + notary->log_count, 0, (count - notary->log_count) * sizeof *logs);
        notary->logs      = logs;
        notary->log_count = count;
    }
    (void)pthread_mutex_unlock(&notary->lock);
    BW_CHECK(logs != NULL, BW_NO_MEMORY, "checkpoints");
    return bw_success();
}

static bw_result find_log(struct bw_audit_logs *logs, const char *origin, uint32_t *ret_log)
{
    for (uint32_t log = 0; log < bw_audit_logs_count(logs); log++)
        if (strcmp(bw_audit_logs_get(logs, log)->row.origin, origin) == 0) {
            *ret_log = log;
            return bw_success();
        }
    return bw_fail(BW_LOG_POSITION, "a log that was signed is gone: the audit log was put back");
}

/* At open the heads are nobody else's yet; later they are the committer's, and the trees are asked. */
static bw_result check_head(struct bw_audit_notary *notary, const struct bw_guarded *row, uint32_t *ret_log)
{
    BW_TRY(find_log(notary->options.logs, row->checkpoint.origin, ret_log));
    BW_CHECK(notary->has_thread || bw_audit_logs_get(notary->options.logs, *ret_log)->row.size >= row->checkpoint.size, BW_LOG_POSITION,
             "a log is shorter than its last checkpoint: the audit log was put back");
    return bw_success();
}

static bw_result check_anchor(struct bw_audit_notary *notary, const struct bw_checkpoint *head)
{
    bw_hash root;

    BW_TRY(bw_anchor_root(&notary->anchor, notary->hasher, head->size, &root));
    BW_CHECK(bw_hash_equal(&root, &head->root), BW_LOG_POSITION, "the anchor log is not the one that was signed");
    return bw_success();
}

/* *ret_last: where what was signed last is kept. */
static bw_result find_signed(struct bw_audit_notary *notary, const struct bw_guarded *row, struct signed_log **ret_last)
{
    uint32_t log;

    if (strcmp(row->checkpoint.origin, notary->anchor_head.checkpoint.origin) == 0) {
        *ret_last = &notary->anchor_head;
        return check_anchor(notary, &row->checkpoint);
    }
    BW_TRY(check_head(notary, row, &log));
    *ret_last = &notary->logs[log];
    return bw_success();
}

static bw_result take_guarded(void *self, const struct bw_guarded *row)
{
    struct bw_audit_notary *notary = self;
    struct signed_log       last   = { .checkpoint = row->checkpoint, .signed_us = row->signed_us }, *at;

    BW_TRY(bw_buf_add(&last.note, row->note));
    bw_result r = find_signed(notary, row, &at);
    if (!bw_ok(r)) {
        alarm_with(notary, r, &last);
        bw_buf_clear(&last.note);
        return r;
    }
    (void)pthread_mutex_lock(&notary->lock);
    bw_buf_clear(&at->note);
    *at = last;
    (void)pthread_mutex_unlock(&notary->lock);
    notary->last_us = row->signed_us > notary->last_us ? row->signed_us : notary->last_us;
    return bw_success();
}

/* ---- signing a round ---- */

static void drop_drafts(struct bw_audit_notary *notary)
{
    while (notary->drafts != NULL) {
        struct draft *draft = notary->drafts;
        notary->drafts = draft->next;
        bw_buf_clear(&draft->note);
        free(draft);
    }
}

/* The log as it is now goes on from the last checkpoint. */
static bw_result check_log(struct bw_audit_notary *notary, uint32_t log)
{
    const struct signed_log *last = &notary->logs[log];
    bw_hash root;

    if (last->note.len == 0)
        return bw_success();
    bw_result r = bw_audit_index_root(notary->index, log, last->checkpoint.size, &root);
    if (bw_ok(r) && !bw_hash_equal(&root, &last->checkpoint.root))
        r = bw_fail(BW_LOG_POSITION, "a log is not the one that was signed");
    if (r.code == BW_LOG_POSITION)
        alarm_with(notary, r, last);
    return r;
}

static bw_result sign_draft(struct bw_audit_notary *notary, struct draft *draft)
{
    struct bw_note_signer signer = notary->signer;
    struct bw_buf         text   = { 0 };

    BW_TRY(bw_note_key_make(draft->checkpoint.origin, signer.key.type, bw_bytes_of(signer.key.key, signer.key.key_len), &signer.key));
    bw_result r = bw_checkpoint_print(&draft->checkpoint, &text);
    if (bw_ok(r))
        r = bw_note_sign(bw_buf_bytes(&text), &signer, &draft->note);
    bw_buf_clear(&text);
    return r;
}

static bw_result sign_log(struct bw_audit_notary *notary, uint32_t log, uint64_t size)
{
    struct draft *draft = calloc(1, sizeof *draft);

    BW_CHECK(draft != NULL, BW_NO_MEMORY, "checkpoints");
    draft->next     = notary->drafts;
    draft->log      = log;
    notary->drafts  = draft;
    draft->checkpoint.size = size;
    strcpy(draft->checkpoint.origin, bw_audit_logs_get(notary->options.logs, log)->row.origin);
    BW_TRY(check_log(notary, log));
    BW_TRY(bw_audit_index_root(notary->index, log, size, &draft->checkpoint.root));
    return sign_draft(notary, draft);
}

struct sizes { uint64_t *of; uint32_t count; };

static bw_result read_sizes(void *self, struct bw_index_reader *reader)
{
    struct sizes *sizes = self;
    bool          row   = true;

    while (row) {
        BW_TRY(bw_sql_step(&reader->index, BW_INDEX_EACH_FED, &row));
        uint64_t log = row ? (uint64_t)bw_sql_get_number(&reader->index, BW_INDEX_EACH_FED, 0) : UINT64_MAX;
        if (log < sizes->count)
            sizes->of[log] = (uint64_t)bw_sql_get_number(&reader->index, BW_INDEX_EACH_FED, 1);
    }
    bw_sql_reset(&reader->index, BW_INDEX_EACH_FED);
    return bw_success();
}

static bw_result sign_grown(struct bw_audit_notary *notary, const struct sizes *sizes)
{
    for (uint32_t log = 0; log < sizes->count; log++)
        if (notary->logs[log].note.len == 0 || sizes->of[log] > notary->logs[log].checkpoint.size)
            BW_TRY(sign_log(notary, log, sizes->of[log]));
    return bw_success();
}

static bw_result move_guard(struct bw_audit_notary *notary, int64_t now_us)
{
    for (const struct draft *draft = notary->drafts; draft != NULL; draft = draft->next) {
        const struct signed_log *last = &notary->logs[draft->log];
        const struct bw_guarded  now  = { draft->checkpoint, bw_buf_bytes(&draft->note), now_us };
        BW_TRY(bw_audit_guard_move(&notary->guard, last->note.len > 0 ? &last->checkpoint : NULL, &now));
    }
    return bw_audit_guard_commit(&notary->guard);
}

/* After a commit that failed the guard may have moved all the same. */
static bw_result guard_drafts(struct bw_audit_notary *notary, int64_t now_us)
{
    BW_TRY(bw_audit_guard_begin(&notary->guard));
    bw_result r = move_guard(notary, now_us);
    if (!bw_ok(r)) {
        bw_audit_guard_roll_back(&notary->guard);
        notary->in_doubt = r.code != BW_CONFLICT;
    }
    return r;
}

static void publish(struct bw_audit_notary *notary, int64_t now_us)
{
    (void)pthread_mutex_lock(&notary->lock);
    for (struct draft *draft = notary->drafts; draft != NULL; draft = draft->next) {
        struct signed_log *log = &notary->logs[draft->log];
        bw_buf_clear(&log->note);
        *log = (struct signed_log){ draft->checkpoint, draft->note, now_us };
        draft->note = (struct bw_buf){ 0 };
    }
    notary->last_us = now_us > notary->last_us ? now_us : notary->last_us;
    (void)pthread_cond_broadcast(&notary->published);
    (void)pthread_mutex_unlock(&notary->lock);
}

static bw_result do_round(struct bw_audit_notary *notary, struct sizes *sizes)
{
    int64_t now_us = wall_us();

    BW_CHECK(now_us >= notary->last_us - BACK_US, BW_CLOCK_UNAVAILABLE, "the clock went back behind the last checkpoint");
    if (notary->in_doubt)
        BW_TRY(bw_audit_guard_each(&notary->guard, take_guarded, notary));
    notary->in_doubt = false;
    BW_TRY(bw_audit_index_read(notary->index, read_sizes, sizes));
    BW_TRY(sign_grown(notary, sizes));
    if (notary->drafts == NULL)
        return bw_success();
    BW_TRY(guard_drafts(notary, now_us));
    publish(notary, now_us);
    return bw_success();
}

/* ---- an epoch ---- */

/* Over all checkpoints given out. */
static bw_result fill_epoch(struct bw_audit_notary *notary, uint64_t number, int64_t now_us, struct bw_anchored *next)
{
    BW_TRY(bw_anchored_begin(next, notary->hasher, number, now_us, notary->log_count));
    for (uint32_t log = 0; log < notary->log_count; log++)
        if (notary->logs[log].note.len > 0)
            BW_TRY(bw_anchored_put(next, notary->hasher, bw_audit_logs_get(notary->options.logs, log), &notary->logs[log].checkpoint,
                                   bw_buf_bytes(&notary->logs[log].note)));
    return bw_anchored_finish(next, notary->hasher);
}

static bw_result guard_anchor(struct bw_audit_notary *notary, const struct signed_log *head)
{
    const struct signed_log *last = &notary->anchor_head;
    const struct bw_guarded  now  = { head->checkpoint, bw_buf_bytes(&head->note), head->signed_us };

    BW_TRY(bw_audit_guard_begin(&notary->guard));
    bw_result r = bw_audit_guard_move(&notary->guard, last->note.len > 0 ? &last->checkpoint : NULL, &now);
    if (bw_ok(r))
        r = bw_audit_guard_commit(&notary->guard);
    if (!bw_ok(r)) {
        bw_audit_guard_roll_back(&notary->guard);
        notary->in_doubt = r.code != BW_CONFLICT;
    }
    return r;
}

/* The entry is durable first: an epoch that was not signed is there with the next one. */
static bw_result sign_epoch(struct bw_audit_notary *notary, struct bw_anchored *next, struct signed_log *head)
{
    struct draft draft = { .checkpoint = notary->anchor_head.checkpoint };

    BW_TRY(bw_anchor_add(&notary->anchor, notary->hasher, &next->epoch, &next->inclusion));
    next->index = notary->anchor.frontier.size - 1;
    draft.checkpoint.size = notary->anchor.frontier.size;
    BW_TRY(bw_frontier_root(&notary->anchor.frontier, notary->hasher, &draft.checkpoint.root));
    bw_result r = sign_draft(notary, &draft);
    *head = (struct signed_log){ draft.checkpoint, draft.note, next->epoch.time_us };
    BW_TRY(r);
    BW_TRY(bw_buf_add(&next->note, bw_buf_bytes(&head->note)));
    return guard_anchor(notary, head);
}

static void publish_epoch(struct bw_audit_notary *notary, struct bw_anchored *next, struct signed_log *head)
{
    (void)pthread_mutex_lock(&notary->lock);
    bw_buf_clear(&notary->anchor_head.note);
    notary->anchor_head = *head;
    bw_anchored_clear(&notary->anchored);
    notary->anchored = *next;
    (void)pthread_cond_broadcast(&notary->published);
    (void)pthread_mutex_unlock(&notary->lock);
}

/* One entry each time the clock enters an epoch that has none yet. */
static bw_result anchor_round(struct bw_audit_notary *notary)
{
    int64_t            now_us = wall_us();
    uint64_t           number = (uint64_t)now_us / (1000 * (uint64_t)notary->options.epoch_ms);
    struct bw_anchored next   = { .log_count = 0 };
    struct signed_log  head   = { .signed_us = 0 };

    if (number <= notary->anchor.epoch)
        return bw_success();
    bw_result r = fill_epoch(notary, number, now_us, &next);
    if (bw_ok(r))
        r = sign_epoch(notary, &next, &head);
    if (!bw_ok(r)) {
        bw_anchored_clear(&next);
        bw_buf_clear(&head.note);
        return r;
    }
    publish_epoch(notary, &next, &head);
    return bw_success();
}

static bw_result sign_round(struct bw_audit_notary *notary)
{
    BW_TRY(make_room(notary));
    struct sizes sizes = { .of = calloc(notary->log_count, sizeof *sizes.of), .count = notary->log_count };
    BW_CHECK(sizes.of != NULL, BW_NO_MEMORY, "checkpoints");

    bw_result r = do_round(notary, &sizes);
    drop_drafts(notary);
    free(sizes.of);
    BW_TRY(r);
    return anchor_round(notary);
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
        alarm_with(notary, r, NULL);
    notary->failing = failing;
}

/* To the next epoch; the clock may be set meanwhile, so never long. */
static unsigned epoch_left_ms(const struct bw_audit_notary *notary)
{
    unsigned left = notary->options.epoch_ms - (unsigned)((uint64_t)wall_us() / 1000 % notary->options.epoch_ms);
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
    bw_result r = sign_round(notary);

    while (after_round(notary, r)) {
        const struct timespec until = in_ms(bw_ok(r) ? PAUSE_MS : RETRY_MS);
        if (wait_for_growth(notary, &until))
            r = sign_round(notary);
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
    return log < notary->log_count && notary->logs[log].note.len > 0 && notary->logs[log].checkpoint.size >= size;
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
    BW_CHECK(copy.note.data != NULL, BW_NO_MEMORY, "checkpoint");
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
    BW_TRY(make_room(notary));
    BW_TRY(open_anchor(notary));
    BW_TRY(bw_audit_guard_open(options->guard_path, &options->region, &notary->guard));
    return bw_audit_guard_each(&notary->guard, take_guarded, notary);
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
        BW_TRY(check_log(notary, log));
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
    drop_drafts(notary);
    bw_audit_guard_close(&notary->guard);
    bw_anchor_close(&notary->anchor);
    bw_anchored_clear(&notary->anchored);
    bw_buf_clear(&notary->anchor_head.note);
    bw_hasher_free(notary->hasher);
    for (uint32_t log = 0; log < notary->log_count; log++)
        bw_buf_clear(&notary->logs[log].note);
    free(notary->logs);
    (void)pthread_cond_destroy(&notary->published);
    (void)pthread_cond_destroy(&notary->wanted);
    (void)pthread_mutex_destroy(&notary->lock);
    free(notary);
}
