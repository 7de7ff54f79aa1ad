#include "audit_anchored.h"

#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

#include <openssl/rand.h>

static uint32_t clock_error_us(void)
{
    struct timex state = { .modes = 0 };
    return adjtimex(&state) == TIME_ERROR ? UINT32_MAX : (uint32_t)state.maxerror;
}

static bw_result slot_leaf(struct bw_hasher *hasher, const bw_hash *slot, bw_hash *ret_leaf)
{
    return bw_merkle_leaf(hasher, bw_bytes_of(slot->bytes, sizeof slot->bytes), ret_leaf);
}

bw_result bw_anchored_begin(struct bw_anchored *anchored, struct bw_hasher *hasher, uint64_t epoch, int64_t time_us, uint32_t log_count)
{
    uint32_t slots = BW_SLOTS_MIN;

    while (slots < log_count)
        slots *= 2;
    *anchored = (struct bw_anchored){ .epoch = { .epoch = epoch, .time_us = time_us, .clock_error_us = clock_error_us(), .slots = slots } };
    anchored->slots     = calloc(slots, sizeof *anchored->slots);
    anchored->logs      = calloc(log_count, sizeof *anchored->logs);
    anchored->log_count = log_count;
    BW_CHECK(anchored->slots != NULL && anchored->logs != NULL, BW_NO_MEMORY, "epoch");
    for (uint32_t i = 0; i < slots; i++) {
        bw_hash nothing;
        BW_CHECK(RAND_bytes(nothing.bytes, sizeof nothing.bytes) == 1, BW_INTERNAL, "no random bytes");
        BW_TRY(slot_leaf(hasher, &nothing, &anchored->slots[i]));
    }
    return bw_success();
}

bw_result bw_anchored_put(struct bw_anchored *anchored, struct bw_hasher *hasher, const struct bw_audit_log *log, const struct bw_checkpoint *checkpoint, bw_bytes note)
{
    static const char purpose[] = "bailiwick: slot key";
    const bw_bytes    label     = bw_bytes_text(purpose);
    struct bw_anchored_log *at = &anchored->logs[log->row.number];
    bw_hash slot;

    BW_TRY(bw_hasher_mac(hasher, bw_bytes_of(log->row.tag_key, sizeof log->row.tag_key), &label, 1, at->slot_key));
    BW_TRY(bw_slot_of(hasher, bw_bytes_of(at->slot_key, sizeof at->slot_key), anchored->epoch.epoch, checkpoint, note, &slot));
    BW_TRY(bw_buf_add(&at->note, note));
    return slot_leaf(hasher, &slot, &anchored->slots[log->row.number]);
}

/* struct bw_tree over the slots. */
struct slots { const bw_hash *leaves; struct bw_hasher *hasher; };

static bw_result fetch(void *self, unsigned level, uint64_t index, bw_hash *ret_hash)
{
    const struct slots *slots = self;
    size_t   count = (size_t)1 << level;
    bw_hash *nodes = malloc(count * sizeof *nodes);

    BW_CHECK(nodes != NULL, BW_NO_MEMORY, "epoch");
    memcpy(nodes, slots->leaves + (index << level), count * sizeof *nodes);
    bw_result r = bw_merkle_fold(slots->hasher, nodes, count, ret_hash);
    free(nodes);
    return r;
}

bw_result bw_anchored_finish(struct bw_anchored *anchored, struct bw_hasher *hasher)
{
    struct slots         slots = { anchored->slots, hasher };
    const struct bw_tree tree  = { fetch, &slots, hasher };
    return bw_tree_root(&tree, anchored->epoch.slots, &anchored->epoch.root);
}

bw_result bw_anchored_path(const struct bw_anchored *anchored, struct bw_hasher *hasher, uint32_t log, struct bw_proof *ret_path)
{
    struct slots         slots = { anchored->slots, hasher };
    const struct bw_tree tree  = { fetch, &slots, hasher };
    return bw_tree_prove_inclusion(&tree, log, anchored->epoch.slots, ret_path);
}

void bw_anchored_clear(struct bw_anchored *anchored)
{
    for (uint32_t i = 0; anchored->logs != NULL && i < anchored->log_count; i++)
        bw_buf_clear(&anchored->logs[i].note);
    if (anchored->logs != NULL)
        bw_wipe(anchored->logs, anchored->log_count * sizeof *anchored->logs);
    free(anchored->logs);
    free(anchored->slots);
    bw_buf_clear(&anchored->note);
    *anchored = (struct bw_anchored){ .log_count = 0 };
}
