#include "audit_notary_internal.h"

#include <stdlib.h>

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
    const struct bw_guarded  now  = { head->checkpoint, bw_buf_bytes(&head->note), head->signed_us, bw_buf_bytes(&last->keys) };

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

/* What an epoch is about; the caller frees it. */
static bw_result list_signed(const struct bw_audit_notary *notary, struct bw_guarded **ret_list, size_t *ret_count)
{
    struct bw_guarded *list = calloc(notary->log_count, sizeof *list);
    size_t count = 0;

    BW_CHECK(list != NULL, BW_NO_MEMORY, "epoch");
    for (uint32_t log = 0; log < notary->log_count; log++) {
        const struct signed_log *last = &notary->logs[log];
        if (last->note.len > 0)
            list[count++] = (struct bw_guarded){ last->checkpoint, bw_buf_bytes(&last->note), last->signed_us, bw_buf_bytes(&last->keys) };
    }
    *ret_list  = list;
    *ret_count = count;
    return bw_success();
}

static bw_result add_epoch(struct bw_audit_notary *notary, struct bw_anchored *next)
{
    struct bw_guarded *list;
    size_t count;

    BW_TRY(list_signed(notary, &list, &count));
    bw_result r = bw_anchor_add(&notary->anchor, notary->hasher, &next->epoch, list, count, &next->inclusion);
    free(list);
    return r;
}

/* The entry is durable first: an epoch that was not signed is there with the next one. */
static bw_result sign_epoch(struct bw_audit_notary *notary, struct bw_anchored *next, struct signed_log *head)
{
    struct draft draft = { .checkpoint = notary->anchor_head.checkpoint };

    BW_TRY(add_epoch(notary, next));
    next->index = notary->anchor.frontier.size - 1;
    draft.checkpoint.size = notary->anchor.frontier.size;
    BW_TRY(bw_frontier_root(&notary->anchor.frontier, notary->hasher, &draft.checkpoint.root));
    bw_result r = bw_notary_sign_draft(notary, &draft);
    *head = (struct signed_log){ .checkpoint = draft.checkpoint, .note = draft.note, .signed_us = next->epoch.time_us };
    BW_TRY(r);
    BW_TRY(bw_buf_add(&next->note, bw_buf_bytes(&head->note)));
    return guard_anchor(notary, head);
}

static void publish_epoch(struct bw_audit_notary *notary, struct bw_anchored *next, struct signed_log *head)
{
    (void)pthread_mutex_lock(&notary->lock);
    bw_buf_clear(&notary->anchor_head.note);
    head->keys = notary->anchor_head.keys;
    notary->anchor_head = *head;
    bw_anchored_clear(&notary->anchored);
    notary->anchored = *next;
    (void)pthread_cond_broadcast(&notary->published);
    (void)pthread_mutex_unlock(&notary->lock);
}

bw_result bw_notary_epoch_round(struct bw_audit_notary *notary)
{
    int64_t            now_us = bw_notary_wall_us();
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
