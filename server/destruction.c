#include "destruction.h"

#include <string.h>
#include <unistd.h>

#include "change.h"
#include "deed.h"
#include "hsm.h"
#include "method.h"
#include "recover.h"

int64_t bw_destruction_due(const struct bw_key *key, int64_t now_us)
{
    (void)now_us;
    return key->state == BW_STATE_PENDING_DELETION ? key->deletion_us : INT64_MAX;
}

bw_result bw_destruction_of_material(struct bw_token *token, const struct bw_key *key)
{
    for (size_t i = 0; i < key->version_count; i++)
        BW_TRY(bw_hsm_destroy(token, &key->name.id, key->versions[i].number));
    bw_hsm_forget(token, &key->name.id, BW_KEY_STATE);
    sync(); /* PKCS#11 has no call for this: making.c */
    return bw_success();
}

struct end { int64_t now_us; struct bw_key_version *versions; size_t count; };

/* Aliases are free again; the name is not. */
static bw_result end_key(struct bw_key *draft, const void *how)
{
    const struct end *end = how;

    BW_CHECK(draft->deletion_us != 0 && draft->deletion_us <= end->now_us, BW_KEY_STATE, "the deletion was cancelled or put off meanwhile");
    BW_CHECK(draft->version_count == end->count, BW_CONFLICT, "the key has changed meanwhile");
    if (end->count > 0)
        memcpy(end->versions, draft->versions, end->count * sizeof *end->versions);
    for (size_t i = 0; i < end->count; i++)
        end->versions[i].state = BW_VERSION_DESTROYED;
    draft->versions    = end->versions;
    draft->alias_count = 0;
    draft->deletion_us = 0;
    return bw_success();
}

static bw_result end_in_store(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us, const struct bw_key **ret_key)
{
    struct bw_arena arena = { 0 };
    struct end end = { .now_us = now_us, .count = key->version_count, .versions = bw_arena_alloc(&arena, (key->version_count + 1) * sizeof *key->versions) };
    const struct bw_key_change change = { .action = BW_KEY_DESTROY, .alter = end_key, .how = &end };

    BW_CHECK(end.versions != NULL, BW_NO_MEMORY, "key versions");
    bw_result result = bw_change_key(daemon, &key->name.tenant, &key->name.id, &change, ret_key);
    bw_arena_clear(&arena);
    return result;
}

static bw_result destroy_on_token(struct bw_daemon *daemon, const struct bw_key *key)
{
    const struct bw_tenant_info *tenant;

    BW_TRY(bw_registry_tenant(daemon->registry, &key->name.tenant, &tenant));
    bw_result result = tenant->token ? bw_destruction_of_material(tenant->token, key) : bw_fail(BW_TENANT_SEALED, "the tenant has no open token");
    bw_tenant_info_unref(tenant);
    return result;
}

bw_result bw_destruction_run(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us)
{
    const struct bw_key *ended = NULL;
    struct bw_record record;

    BW_TRY(bw_deed_begin(daemon, BW_DEED_NR(DestroyKey), key, &record));
    bw_result result = end_in_store(daemon, key, now_us, &ended);
    if (!bw_ok(result))
        return bw_deed_end(daemon, &record, result);
    result = destroy_on_token(daemon, ended);
    bw_key_unref(ended);
    if (bw_ok(result))
        return bw_deed_end(daemon, &record, result);
    BW_TRY(bw_recovery_wait(daemon->recovery, &record)); /* out of memory: the next start finds the intent */
    return result;
}
