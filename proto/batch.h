/* Callers that come together share a message: a Crypto.Batch of what each asks.
 *
 * Nobody waits for company: whoever finds no message on its way sends at once, as a call of its own when he is alone. Who
 * comes while one is under way waits for it, and the next message takes all who do. A second goes beside the first once enough
 * wait to be worth one, or when one of them has waited so long that the first must be slow, or far away; then each takes half
 * of all who are inside, so that the region has one half to work on while the other comes and goes. There is no thread: a
 * message is sent by one of its callers, who tells the others what came of it.
 * Each keeps what is his: request id, deadline, result and refusal. */
#ifndef BW_PROTO_BATCH_H
#define BW_PROTO_BATCH_H

#include <pthread.h>

#include "client.h"

struct bw_batcher {
    pthread_mutex_t   lock;
    struct bw_shared *first, **last;   /* who waits for a message to take him */
    size_t            waiting, enough;
    size_t            inside;          /* who waits, or is in a message */
    unsigned          under_way;       /* messages, of which */
    unsigned          collecting;      /* have not taken who waits yet */
    bool              company;         /* the last message that came back was shared */
};

/* enough: how many have to wait before they are worth a second message while one is under way. */
bw_result bw_batcher_init(size_t enough, struct bw_batcher *ret_batcher);
void      bw_batcher_clear(struct bw_batcher *batcher); /* nobody may be inside */

/* number, request: of an operation of Crypto that a Batch may carry, with its request id. The rest is bw_client_call's. */
bw_result bw_batcher_call(struct bw_batcher *batcher, struct bw_client *client, unsigned number, bw_bytes request, int64_t deadline_ms,
                          struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

/* What a message is sent with, which client.c has: bw_client_call_until for those whom it has counted already. */
bw_result bw_client_send(struct bw_client *client, const char *path, bw_bytes request, bool retry, int64_t deadline_ms,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

#endif
