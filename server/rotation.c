#include "rotation.h"

#include <string.h>

#include "change.h"
#include "hsm.h"
#include "making.h"

static bw_result add_version(struct bw_key *draft, const void *how)
{
    struct bw_key_version *versions = (struct bw_key_version *)(uintptr_t)how; /* room for one more; the new one is last */
    size_t count = draft->version_count;

    BW_CHECK(count == 0 || draft->versions[count - 1].number + 1 == versions[count].number, BW_CONFLICT, "the key was rotated meanwhile");
    memcpy(versions, draft->versions, count * sizeof *versions);
    for (size_t i = 0; i < count; i++)
        if (versions[i].state == BW_VERSION_PRIMARY)
            versions[i].state = BW_VERSION_DECRYPT_ONLY;
    draft->versions      = versions;
    draft->version_count = count + 1;
    return bw_success();
}

static bw_result check(const struct bw_key *key, uint32_t from)
{
    const struct bw_key_version *primary = bw_key_primary(key);
    enum bw_key_state next;

    BW_TRY(bw_key_state_next(key->state, BW_KEY_ROTATE, &next));
    BW_CHECK(primary != NULL && key->origin == BW_ORIGIN_GENERATED, BW_KEY_STATE, "only generated keys rotate by themselves");
    BW_CHECK(from == 0 || primary->number == from, BW_CONFLICT, "the key was rotated meanwhile");
    return bw_success();
}

static bw_result rotate(struct bw_daemon *daemon, struct bw_token *token, const struct bw_key *key, const uint8_t *request_id, struct bw_arena *arena,
                        const struct bw_key **ret_key)
{
    size_t count = key->version_count;
    struct bw_key_version *versions = bw_arena_alloc(arena, (count + 1) * sizeof *versions);
    struct bw_key_change what = { .action = BW_KEY_ROTATE, .alter = add_version, .how = versions };

    BW_CHECK(versions != NULL, BW_NO_MEMORY, "key versions");
    BW_CHECK(token != NULL, BW_TENANT_SEALED, "the tenant has no open token");
    uint32_t number = key->versions[count - 1].number + 1;
    BW_TRY(bw_make_version(token, key->spec, &key->name, number, arena, &versions[count]));
    versions[count].has_made_by = request_id != NULL;
    if (request_id != NULL)
        memcpy(versions[count].made_by, request_id, sizeof versions[count].made_by);
    bw_result result = bw_change_key(daemon, &key->name.tenant, &key->name.id, &what, ret_key);
    if (!bw_ok(result))
        (void)bw_hsm_destroy(token, &key->name.id, number); /* should that fail too, the next start finds the intent */
    return result;
}

static bw_result rotate_now(struct bw_daemon *daemon, const struct bw_key_name *name, uint32_t from, const uint8_t *request_id, struct bw_arena *arena,
                            const struct bw_key **ret_key)
{
    const struct bw_tenant_info *tenant = NULL;
    const struct bw_key *key = NULL;

    bw_result result = bw_registry_tenant(daemon->registry, &name->tenant, &tenant);
    if (bw_ok(result))
        result = bw_registry_key(daemon->registry, &name->tenant, &name->id, &key);
    if (bw_ok(result))
        result = check(key, from);
    if (bw_ok(result))
        result = rotate(daemon, tenant->token, key, request_id, arena, ret_key);
    bw_key_unref(key);
    bw_tenant_info_unref(tenant);
    return result;
}

bw_result bw_rotation_run(struct bw_daemon *daemon, const struct bw_key_name *name, uint32_t from, const uint8_t *request_id, struct bw_arena *arena,
                          const struct bw_key **ret_key)
{
    bw_registry_begin_making(daemon->registry);
    bw_result result = rotate_now(daemon, name, from, request_id, arena, ret_key);
    bw_registry_end_making(daemon->registry);
    return result;
}

bool bw_rotation_was(const struct bw_key *key, const uint8_t request_id[static BW_REQUEST_ID_LEN])
{
    for (size_t i = 0; i < key->version_count; i++) {
        const struct bw_key_version *version = &key->versions[i];
        if (version->has_made_by && version->state != BW_VERSION_DESTROYED && memcmp(version->made_by, request_id, BW_REQUEST_ID_LEN) == 0)
            return true;
    }
    return false;
}

int64_t bw_rotation_due(const struct bw_key *key, int64_t now_us)
{
    const struct bw_key_version *primary = bw_key_primary(key);

    if (key->state != BW_STATE_ENABLED || key->origin != BW_ORIGIN_GENERATED || primary == NULL)
        return INT64_MAX;
    if (atomic_load(&primary->budget->taken) >= BW_USES_ROTATE)
        return now_us;
    return key->rotation_days ? primary->created_us + (int64_t)key->rotation_days * BW_DAY_US : INT64_MAX;
}
