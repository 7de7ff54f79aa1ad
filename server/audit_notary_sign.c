#include "audit_notary_internal.h"

#include <stdlib.h>
#include <string.h>

#include "audit_find.h"
#include "audit_index_db.h"
#include "audit_proof.h"

enum { BACK_US = 60 * 1000 * 1000 }; /* the clock may be so much behind the last signature */

/* ---- what was signed ---- */

bw_result bw_notary_make_room(struct bw_audit_notary *notary)
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

void bw_notary_clear_log(struct signed_log *log)
{
    bw_buf_clear(&log->note);
    bw_buf_clear(&log->keys);
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

/* Against the log, the anchor log and the keys. */
static bw_result check_guarded(struct bw_audit_notary *notary, const struct bw_guarded *row, bool *ret_by_old_key, struct signed_log **ret_last)
{
    bool by_key;

    BW_TRY(find_signed(notary, row, ret_last));
    BW_TRY(bw_guarded_check(row, &notary->signer.key, &by_key));
    *ret_by_old_key = !by_key;
    return bw_anchor_keep_keys(&notary->anchor, row);
}

bw_result bw_notary_take_guarded(void *self, const struct bw_guarded *row)
{
    struct bw_audit_notary *notary = self;
    struct signed_log       last   = { .checkpoint = row->checkpoint, .signed_us = row->signed_us }, *at;

    bw_result r = bw_buf_add(&last.note, row->note);
    if (bw_ok(r))
        r = bw_buf_add(&last.keys, row->keys);
    if (bw_ok(r))
        r = check_guarded(notary, row, &last.by_old_key, &at);
    if (!bw_ok(r)) {
        bw_notary_alarm(notary, r, &last);
        bw_notary_clear_log(&last);
        return r;
    }
    (void)pthread_mutex_lock(&notary->lock);
    bw_notary_clear_log(at);
    *at = last;
    (void)pthread_mutex_unlock(&notary->lock);
    notary->last_us = row->signed_us > notary->last_us ? row->signed_us : notary->last_us;
    return bw_success();
}

/* ---- signing a round ---- */

void bw_notary_drop_drafts(struct bw_audit_notary *notary)
{
    while (notary->drafts != NULL) {
        struct draft *draft = notary->drafts;
        notary->drafts = draft->next;
        bw_buf_clear(&draft->note);
        free(draft);
    }
}

bw_result bw_notary_check_log(struct bw_audit_notary *notary, uint32_t log)
{
    const struct signed_log *last = &notary->logs[log];
    bw_hash root;

    if (last->note.len == 0)
        return bw_success();
    bw_result r = bw_audit_index_root(notary->index, log, last->checkpoint.size, &root);
    if (bw_ok(r) && !bw_hash_equal(&root, &last->checkpoint.root))
        r = bw_fail(BW_LOG_POSITION, "a log is not the one that was signed");
    if (r.code == BW_LOG_POSITION)
        bw_notary_alarm(notary, r, last);
    return r;
}

bw_result bw_notary_sign_draft(struct bw_audit_notary *notary, struct draft *draft)
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
    BW_TRY(bw_notary_check_log(notary, log));
    BW_TRY(bw_audit_index_root(notary->index, log, size, &draft->checkpoint.root));
    return bw_notary_sign_draft(notary, draft);
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

static bool wants_signing(const struct signed_log *last, uint64_t size)
{
    return last->note.len == 0 || size > last->checkpoint.size || (last->by_old_key && size == last->checkpoint.size);
}

static bw_result sign_grown(struct bw_audit_notary *notary, const struct sizes *sizes)
{
    for (uint32_t log = 0; log < sizes->count; log++)
        if (wants_signing(&notary->logs[log], sizes->of[log]))
            BW_TRY(sign_log(notary, log, sizes->of[log]));
    return bw_success();
}

static bw_result move_guard(struct bw_audit_notary *notary, int64_t now_us)
{
    for (const struct draft *draft = notary->drafts; draft != NULL; draft = draft->next) {
        const struct signed_log *last = &notary->logs[draft->log];
        const struct bw_guarded  now  = { draft->checkpoint, bw_buf_bytes(&draft->note), now_us, bw_buf_bytes(&last->keys) };
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
        *log = (struct signed_log){ draft->checkpoint, draft->note, now_us, log->keys, false };
        draft->note = (struct bw_buf){ 0 };
    }
    notary->last_us = now_us > notary->last_us ? now_us : notary->last_us;
    (void)pthread_cond_broadcast(&notary->published);
    (void)pthread_mutex_unlock(&notary->lock);
}

static bw_result do_round(struct bw_audit_notary *notary, struct sizes *sizes)
{
    int64_t now_us = bw_notary_wall_us();

    BW_CHECK(now_us >= notary->last_us - BACK_US, BW_CLOCK_UNAVAILABLE, "the clock went back behind the last checkpoint");
    if (notary->in_doubt)
        BW_TRY(bw_audit_guard_each(&notary->guard, bw_notary_take_guarded, notary));
    notary->in_doubt = false;
    BW_TRY(bw_audit_index_read(notary->index, read_sizes, sizes));
    BW_TRY(sign_grown(notary, sizes));
    if (notary->drafts == NULL)
        return bw_success();
    BW_TRY(guard_drafts(notary, now_us));
    publish(notary, now_us);
    return bw_success();
}

bw_result bw_notary_sign_round(struct bw_audit_notary *notary)
{
    bw_notary_hand_over(notary);
    BW_TRY(bw_notary_make_room(notary));
    struct sizes sizes = { .of = calloc(notary->log_count, sizeof *sizes.of), .count = notary->log_count };
    BW_CHECK(sizes.of != NULL, BW_NO_MEMORY, "checkpoints");

    bw_result r = do_round(notary, &sizes);
    bw_notary_drop_drafts(notary);
    free(sizes.of);
    BW_TRY(r);
    return bw_notary_epoch_round(notary);
}
