#include "material.h"

#include <unistd.h>

#include "change.h"
#include "deed.h"
#include "hsm.h"
#include "method.h"
#include "recover.h"

int64_t bw_material_due(const struct bw_key *key)
{
    const struct bw_key_version *primary = key->origin == BW_ORIGIN_IMPORTED ? bw_key_primary(key) : NULL;
    return primary != NULL && primary->material_expires_us != 0 ? primary->material_expires_us : INT64_MAX;
}

bw_result bw_material_destroy(struct bw_token *token, const struct bw_key *key)
{
    for (size_t i = 0; i < key->version_count; i++)
        if (key->versions[i].state == BW_VERSION_AWAITED)
            BW_TRY(bw_hsm_destroy(token, &key->name.id, key->versions[i].number));
    bw_hsm_forget(token, &key->name.id, BW_KEY_STATE);
    sync(); /* PKCS#11 has no call for this: making.c */
    return bw_success();
}

/* An imported key has one version. It keeps what tells the same material. */
static bw_result await_again(struct bw_key *draft, const void *how)
{
    struct bw_key_version *version = (struct bw_key_version *)(uintptr_t)how;

    BW_CHECK(draft->version_count == 1 && draft->origin == BW_ORIGIN_IMPORTED, BW_KEY_STATE, "the key has no imported material");
    *version = draft->versions[0];
    version->state = BW_VERSION_AWAITED;
    version->material_expires_us = 0;
    draft->versions = version;
    return bw_success();
}

bw_result bw_material_forget(struct bw_daemon *daemon, const struct bw_key *key, uint64_t generation, const struct bw_key **ret_key)
{
    struct bw_key_version version;
    const struct bw_key_change change = { .action = BW_KEY_LOSE_MATERIAL, .generation = generation, .alter = await_again, .how = &version };

    return bw_change_key(daemon, &key->name.tenant, &key->name.id, &change, ret_key);
}

static bw_result destroy_on_token(struct bw_daemon *daemon, const struct bw_key *key)
{
    const struct bw_tenant_info *tenant;

    BW_TRY(bw_registry_tenant(daemon->registry, &key->name.tenant, &tenant));
    bw_result result = tenant->token ? bw_material_destroy(tenant->token, key) : bw_fail(BW_TENANT_SEALED, "the tenant has no open token");
    bw_tenant_info_unref(tenant);
    return result;
}

bw_result bw_material_expire(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us)
{
    const struct bw_key *forgotten = NULL;
    struct bw_record record;

    BW_CHECK(bw_material_due(key) <= now_us, BW_KEY_STATE, "the material's time is not over");
    BW_TRY(bw_deed_begin(daemon, BW_DEED_NR(ExpireMaterial), key, &record));
    bw_result result = bw_material_forget(daemon, key, key->generation, &forgotten);
    if (!bw_ok(result))
        return bw_deed_end(daemon, &record, result);
    result = destroy_on_token(daemon, forgotten);
    bw_key_unref(forgotten);
    if (bw_ok(result))
        return bw_deed_end(daemon, &record, result);
    BW_TRY(bw_recovery_wait(daemon->recovery, &record)); /* out of memory: the next start finds the intent */
    return result;
}
