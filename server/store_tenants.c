/* Tenants and the revoked: rows to drafts and back. */
#include <string.h>

#include "store_sql.h"

static bw_result add_tenant(struct bw_store *store, const struct bw_tenant_info *tenant)
{
    return bw_query_run(store, BW_SQL_ADD_TENANT,
                      BW_SQL_VALUES(bw_query_text(tenant->name.text), bw_query_text(store->region.text), bw_query_number(tenant->state),
                                    bw_query_number(tenant->activation), bw_query_text(tenant->token_serial), bw_query_text(tenant->policy_text),
                                    bw_query_number(tenant->log), bw_query_number(tenant->created_us)), NULL);
}

struct written { const struct bw_tenant_info *tenant; const struct bw_warrant *warrant; };

static bw_result put_tenant(struct bw_store *store, const void *what)
{
    const struct written *written = what;
    const struct bw_tenant_info *tenant = written->tenant;
    int changed;

    BW_TRY(bw_warrant_spend(store, written->warrant));
    if (tenant->generation == 1)
        return add_tenant(store, tenant);
    BW_TRY(bw_query_run(store, BW_SQL_SET_TENANT,
                      BW_SQL_VALUES(bw_query_text(tenant->name.text), bw_query_count(tenant->generation), bw_query_number(tenant->state),
                                    bw_query_text(tenant->policy_text)), &changed));
    BW_CHECK(changed == 1, BW_CONFLICT, "the tenant is not of the generation before");
    return bw_success();
}

bw_result bw_store_put_tenant(struct bw_store *store, const struct bw_tenant_info *tenant, struct bw_warrant *warrant)
{
    bw_result result = bw_store_change(store, put_tenant, &(struct written){ tenant, warrant });

    if (warrant != NULL)
        warrant->spent = bw_ok(result);
    return result;
}

static bw_result read_tenant(struct bw_store *store, struct bw_tenant_info *draft)
{
    const enum bw_store_sql sql = BW_SQL_ALL_TENANTS;
    bw_bytes serial = bw_query_get_bytes(store, sql, 3);

    BW_TRY(bw_tenant_parse(bw_bytes_text(bw_query_get_text(store, sql, 0)), &draft->name));
    BW_CHECK(serial.len < sizeof draft->token_serial, BW_STORE_UNAVAILABLE, "a token's serial in the store is damaged");
    if (serial.len > 0)
        memcpy(draft->token_serial, serial.data, serial.len);
    draft->state       = (enum bw_tenant_state)bw_query_get_number(store, sql, 1);
    draft->activation  = (enum bw_activation)bw_query_get_number(store, sql, 2);
    draft->policy_text = bw_query_get_text(store, sql, 4);
    draft->log         = (uint32_t)bw_query_get_number(store, sql, 5);
    draft->created_us  = bw_query_get_number(store, sql, 6);
    draft->generation  = (uint64_t)bw_query_get_number(store, sql, 7);
    draft->contents    = (uint64_t)bw_query_get_number(store, sql, 8);
    return bw_success();
}

static bw_result each_tenant(struct bw_store *store, bw_store_tenant_fn each, void *self)
{
    for (bool row;;) {
        struct bw_tenant_info draft;

        BW_TRY(bw_query_row(store, BW_SQL_ALL_TENANTS, &row));
        if (!row)
            return bw_success();
        memset(&draft, 0, sizeof draft);
        BW_TRY(read_tenant(store, &draft));
        BW_TRY(each(self, &draft));
    }
}

bw_result bw_store_each_tenant(struct bw_store *store, bw_store_tenant_fn each, void *self)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = each_tenant(store, each, self);
    bw_query_done(store, BW_SQL_ALL_TENANTS);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}

/* ---- revoked ---- */

struct revocation { const char *spiffe_id; int64_t now_us; };

static bw_result revoke(struct bw_store *store, const void *what)
{
    const struct revocation *r = what;
    return bw_query_run(store, BW_SQL_REVOKE, BW_SQL_VALUES(bw_query_text(r->spiffe_id), bw_query_number(r->now_us)), NULL);
}

bw_result bw_store_revoke(struct bw_store *store, const char *spiffe_id, int64_t now_us)
{
    return bw_store_change(store, revoke, &(struct revocation){ spiffe_id, now_us });
}

static bw_result each_revoked(struct bw_store *store, const char *after, bw_store_revoked_fn each, void *self)
{
    const enum bw_store_sql sql = BW_SQL_REVOKED_AFTER;

    BW_TRY(bw_query_start(store, sql, BW_SQL_VALUES(bw_query_text(after ? after : ""))));
    for (bool row;;) {
        BW_TRY(bw_query_row(store, sql, &row));
        if (!row)
            return bw_success();
        BW_TRY(each(self, bw_query_get_text(store, sql, 0), bw_query_get_number(store, sql, 1)));
    }
}

bw_result bw_store_each_revoked(struct bw_store *store, const char *after, bw_store_revoked_fn each, void *self)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = each_revoked(store, after, each, self);
    bw_query_done(store, BW_SQL_REVOKED_AFTER);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
