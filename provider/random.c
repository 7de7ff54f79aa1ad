#include "random.h"

#include <string.h>

enum { DRAW = 4096 };

/* Hands out the end of the pool first. What was handed out is wiped with it. */
static size_t take_pooled(struct bw_slot *slot, uint8_t *ret_bytes, size_t len)
{
    pthread_mutex_lock(&slot->lock);
    size_t taken = len < slot->random_left ? len : slot->random_left;
    if (taken > 0) {
        slot->random_left -= taken;
        memcpy(ret_bytes, bw_secret_reveal(slot->random) + slot->random_left, taken);
        bw_secret_shorten(slot->random, slot->random_left);
    }
    pthread_mutex_unlock(&slot->lock);
    return taken;
}

static bw_result keep(struct bw_slot *slot, bw_bytes rest)
{
    struct bw_secret *pool;

    BW_TRY(bw_secret_copy(rest, &pool));
    pthread_mutex_lock(&slot->lock);
    struct bw_secret *old = slot->random; /* another thread may have filled it meanwhile; either will do */
    slot->random      = pool;
    slot->random_left = rest.len;
    pthread_mutex_unlock(&slot->lock);
    bw_secret_free(old);
    return bw_success();
}

static bw_result draw(struct bw_slot *slot, struct bw_arena *arena, uint8_t *ret_bytes, size_t len)
{
    size_t more = len > BW_RANDOM_MAX ? BW_RANDOM_MAX : len > DRAW ? len : DRAW;
    bw_bytes fresh;

    BW_TRY(bw_rpc_random(&slot->remote, arena, more, &fresh));
    if (len > fresh.len)
        len = fresh.len;
    memcpy(ret_bytes, fresh.data, len);
    return fresh.len > len ? keep(slot, bw_bytes_of(fresh.data + len, fresh.len - len)) : bw_success();
}

bw_result bw_random_draw(struct bw_slot *slot, uint8_t *ret_bytes, size_t len)
{
    size_t done = take_pooled(slot, ret_bytes, len);

    while (done < len) {
        struct bw_arena arena = { .blocks = NULL };
        size_t step = len - done > BW_RANDOM_MAX ? BW_RANDOM_MAX : len - done;
        bw_result result = draw(slot, &arena, ret_bytes + done, step);
        bw_arena_clear(&arena);
        BW_TRY(result);
        done += step;
    }
    return bw_success();
}
