#include "change.h"

#include <time.h>

#include "store.h"

int64_t bw_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- keys ---- */

static bw_result keep_key(struct bw_daemon *daemon, const struct bw_key *draft, struct bw_warrant *warrant, const struct bw_key **ret_key)
{
    BW_AUTO(key) key = NULL;

    BW_TRY(bw_key_new(daemon->registry, draft, &key));
    BW_TRY(bw_store_put_key(daemon->store, key, warrant));
    bw_key_ref(key); /* one for the registry, one for the caller */
    BW_TRY(bw_registry_put_key(daemon->registry, key));
    *ret_key = bw_take(&key);
    return bw_success();
}

static bw_result alter_key(struct bw_daemon *daemon, const struct bw_key *now, const struct bw_key_change *change, const struct bw_key **ret_key)
{
    struct bw_key draft;

    BW_CHECK_AT(change->generation == 0 || change->generation == now->generation, BW_CONFLICT, "generation", "the key has changed meanwhile");
    BW_CHECK(change->warrant == NULL || change->warrant->generation == now->generation, BW_CONFLICT, "the key is another than was approved");
    bw_key_draft(now, &draft);
    BW_TRY(bw_key_state_next(now->state, change->action, &draft.state));
    draft.generation++;
    if (change->alter != NULL)
        BW_TRY(change->alter(&draft, change->how));
    return keep_key(daemon, &draft, change->warrant, ret_key);
}

bw_result bw_change_key(struct bw_daemon *daemon, const bw_tenant *tenant, const bw_key_id *id, const struct bw_key_change *change,
                        const struct bw_key **ret_key)
{
    const struct bw_key *now = NULL;

    bw_registry_begin_change(daemon->registry);
    bw_result result = bw_registry_key(daemon->registry, tenant, id, &now);
    if (bw_ok(result))
        result = alter_key(daemon, now, change, ret_key);
    bw_registry_end_change(daemon->registry);
    bw_key_unref(now);
    return result;
}

bw_result bw_change_add_key(struct bw_daemon *daemon, const struct bw_key *draft, struct bw_warrant *warrant, const struct bw_key **ret_key)
{
    bw_registry_begin_change(daemon->registry);
    bw_result result = keep_key(daemon, draft, warrant, ret_key);
    bw_registry_end_change(daemon->registry);
    return result;
}

/* ---- tenants ---- */

static bw_result keep_tenant(struct bw_daemon *daemon, const struct bw_tenant_info *draft, struct bw_warrant *warrant,
                             const struct bw_tenant_info **ret_tenant)
{
    BW_AUTO(tenant_info) tenant = NULL;

    BW_TRY(bw_tenant_info_new(draft, &tenant));
    BW_TRY(bw_store_put_tenant(daemon->store, tenant, warrant));
    bw_tenant_info_ref(tenant);
    BW_TRY(bw_registry_put_tenant(daemon->registry, tenant));
    *ret_tenant = bw_take(&tenant);
    return bw_success();
}

static bw_result alter_tenant(struct bw_daemon *daemon, const struct bw_tenant_info *now, const struct bw_tenant_change *change,
                              const struct bw_tenant_info **ret_tenant)
{
    struct bw_tenant_info draft;

    BW_CHECK_AT(change->generation == 0 || change->generation == now->generation, BW_CONFLICT, "generation", "the tenant has changed meanwhile");
    bw_tenant_info_draft(now, &draft);
    draft.generation++;
    BW_TRY(change->alter(&draft, change->how));
    return keep_tenant(daemon, &draft, change->warrant, ret_tenant);
}

bw_result bw_change_tenant(struct bw_daemon *daemon, const bw_tenant *name, const struct bw_tenant_change *change,
                           const struct bw_tenant_info **ret_tenant)
{
    const struct bw_tenant_info *now = NULL;

    bw_registry_begin_change(daemon->registry);
    bw_result result = bw_registry_tenant(daemon->registry, name, &now);
    if (bw_ok(result))
        result = alter_tenant(daemon, now, change, ret_tenant);
    bw_registry_end_change(daemon->registry);
    bw_tenant_info_unref(now);
    return result;
}

bw_result bw_change_add_tenant(struct bw_daemon *daemon, const struct bw_tenant_info *draft, const struct bw_tenant_info **ret_tenant)
{
    bw_registry_begin_change(daemon->registry);
    bw_result result = keep_tenant(daemon, draft, NULL, ret_tenant);
    bw_registry_end_change(daemon->registry);
    return result;
}
