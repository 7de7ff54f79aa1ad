/* Answers to changes, kept so that a retry gets the first one again. */
#include <string.h>

#include "store_sql.h"

/* ---- at work ---- */

static bool is_claimed(const struct bw_store *store, const struct bw_request_claim *claim)
{
    for (const struct bw_request_claim *at = store->claims; at != NULL; at = at->next)
        if (bw_tenant_equal(at->tenant, claim->tenant) && memcmp(at->request_id, claim->request_id, BW_REQUEST_ID_LEN) == 0)
            return true;
    return false;
}

void bw_store_claim_request(struct bw_store *store, struct bw_request_claim *claim)
{
    (void)pthread_mutex_lock(&store->lock);
    while (is_claimed(store, claim))
        (void)pthread_cond_wait(&store->released, &store->lock);
    claim->next   = store->claims;
    store->claims = claim;
    (void)pthread_mutex_unlock(&store->lock);
}

void bw_store_release_request(struct bw_store *store, struct bw_request_claim *claim)
{
    struct bw_request_claim **at = &store->claims;

    (void)pthread_mutex_lock(&store->lock);
    while (*at != claim)
        at = &(*at)->next;
    *at = claim->next;
    (void)pthread_cond_broadcast(&store->released);
    (void)pthread_mutex_unlock(&store->lock);
}

/* ---- answered ---- */

static bw_result read_request(struct bw_store *store, const uint8_t digest[static 32], struct bw_arena *arena, bool *ret_found, bw_bytes *ret_reply)
{
    const enum bw_store_sql sql = BW_SQL_FIND_REQUEST;
    bool row;

    BW_TRY(bw_query_row(store, sql, &row));
    if (row) {
        BW_CHECK_AT(bw_bytes_equal(bw_query_get_bytes(store, sql, 0), (bw_bytes){ digest, 32 }), BW_REQUEST_REUSED, "request_id",
                    "the request id was used for another request");
        BW_TRY(bw_query_copy_bytes(store, sql, 1, arena, ret_reply));
    }
    *ret_found = row;
    return bw_success();
}

bw_result bw_store_find_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                struct bw_arena *arena, bool *ret_found, bw_bytes *ret_reply)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = bw_query_start(store, BW_SQL_FIND_REQUEST, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_blob(request_id)));
    if (bw_ok(result))
        result = read_request(store, digest, arena, ret_found, ret_reply);
    bw_query_done(store, BW_SQL_FIND_REQUEST);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}

struct kept { const bw_tenant *tenant; bw_bytes request_id; const uint8_t *digest; bw_bytes reply; int64_t now_us; };

static bw_result keep_request(struct bw_store *store, const void *what)
{
    const struct kept *kept = what;

    BW_TRY(bw_query_run(store, BW_SQL_DROP_REQUESTS, BW_SQL_VALUES(bw_query_number(kept->now_us - BW_REQUEST_KEPT_US)), NULL));
    bw_result result = bw_query_run(store, BW_SQL_KEEP_REQUEST,
                                  BW_SQL_VALUES(bw_query_text(kept->tenant->text), bw_query_blob(kept->request_id),
                                                bw_query_blob((bw_bytes){ kept->digest, 32 }), bw_query_blob(kept->reply),
                                                bw_query_number(kept->now_us)), NULL);
    BW_CHECK_AT(result.code != BW_ALREADY_EXISTS, BW_REQUEST_REUSED, "request_id", "the request id was used a moment ago");
    return result;
}

bw_result bw_store_keep_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                bw_bytes reply, int64_t now_us)
{
    return bw_store_change(store, keep_request, &(struct kept){ tenant, request_id, digest, reply, now_us });
}
