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

struct end { const struct bw_key *key; int64_t due_us; struct bw_key_version *versions; struct bw_warrant *warrant; };

/* Aliases are free again; the name is not. */
static bw_result end_key(struct bw_key *draft, const void *how)
{
    const struct end *end = how;
    size_t count = draft->version_count;

    BW_CHECK(draft->deletion_us != 0 && draft->deletion_us <= end->due_us, BW_KEY_STATE, "the deletion was cancelled or put off meanwhile");
    BW_CHECK(count == end->key->version_count, BW_CONFLICT, "the key has changed meanwhile");
    if (count > 0)
        memcpy(end->versions, draft->versions, count * sizeof *end->versions);
    for (size_t i = 0; i < count; i++)
        end->versions[i].state = BW_VERSION_DESTROYED;
    draft->versions    = end->versions;
    draft->alias_count = 0;
    draft->deletion_us = 0;
    return bw_success();
}

static bw_result end_in_store(struct bw_daemon *daemon, enum bw_key_action action, struct end *end, const struct bw_key **ret_key)
{
    const struct bw_key_change change = { .action = action, .alter = end_key, .how = end, .warrant = end->warrant };
    const struct bw_key *key = end->key;
    struct bw_arena arena = { 0 };

    end->versions = bw_arena_alloc(&arena, (key->version_count + 1) * sizeof *key->versions);
    BW_CHECK(end->versions != NULL, BW_NO_MEMORY, "key versions");
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

/* With the intent that the record is of: closed when the material is gone, else left open for another time. */
static bw_result finish(struct bw_daemon *daemon, const struct bw_key *ended, struct bw_record *record)
{
    bw_result result = destroy_on_token(daemon, ended);

    if (bw_ok(result))
        return bw_deed_end(daemon, record, result);
    BW_TRY(bw_recovery_wait(daemon->recovery, record)); /* out of memory: the next start finds the intent */
    return result;
}

bw_result bw_destruction_run(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us)
{
    const struct bw_key *ended = NULL;
    struct bw_record record;

    BW_TRY(bw_deed_begin(daemon, BW_DEED_NR(DestroyKey), key, &record));
    bw_result result = end_in_store(daemon, BW_KEY_DESTROY, &(struct end){ .key = key, .due_us = now_us }, &ended);
    if (!bw_ok(result))
        return bw_deed_end(daemon, &record, result);
    result = finish(daemon, ended, &record);
    bw_key_unref(ended);
    return result;
}

/* The caller's intent is closed with his answer, so what fails after the store goes on under one of the node's own. */
static bw_result leave_to_region(struct bw_daemon *daemon, const struct bw_key *ended, bw_result why)
{
    struct bw_record record;

    BW_TRY(bw_deed_begin(daemon, BW_DEED_NR(DestroyKey), ended, &record));
    BW_TRY(bw_recovery_wait(daemon->recovery, &record));
    return why;
}

bw_result bw_destruction_purge(struct bw_daemon *daemon, const struct bw_key *key, struct bw_warrant *warrant, const struct bw_key **ret_key)
{
    const struct bw_key *ended = NULL;

    BW_TRY(end_in_store(daemon, BW_KEY_PURGE, &(struct end){ .key = key, .due_us = INT64_MAX, .warrant = warrant }, &ended));
    bw_result result = destroy_on_token(daemon, ended);
    if (!bw_ok(result)) {
        result = leave_to_region(daemon, ended, result);
        bw_key_unref(ended);
        return result;
    }
    *ret_key = ended;
    return bw_success();
}
