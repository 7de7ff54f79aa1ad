#include "recover.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "audit_signer.h"
#include "change.h"
#include "destruction.h"
#include "hsm.h"
#include "material.h"
#include "method.h"

struct intent {
    uint64_t         index;
    struct bw_record record;
};

struct bw_recovery {
    pthread_mutex_t lock;
    struct intent  *at;     /* still open */
    size_t          count, room;
};

/* The log is asked to the end before anything is written to it. */
static bw_result collect(void *self, uint32_t log, uint64_t index, const struct bw_record *record)
{
    struct bw_recovery *intents = self;

    if (intents->count == intents->room) {
        size_t room = intents->room ? intents->room * 2 : 16;
        struct intent *wider = realloc(intents->at, room * sizeof *wider);
        BW_CHECK(wider != NULL, BW_NO_MEMORY, "intents");
        intents->at   = wider;
        intents->room = room;
    }
    intents->at[intents->count] = (struct intent){ index, *record };
    intents->at[intents->count++].record.log = log;
    return bw_success();
}

/* NULL: none; else a reference. */
static const struct bw_tenant_info *tenant_of_log(struct bw_daemon *daemon, uint32_t log)
{
    const struct bw_tenant_info *tenant;
    bw_tenant name;

    for (const bw_tenant *after = NULL; bw_registry_tenants(daemon->registry, after, &tenant, 1) == 1; after = &name) {
        name = tenant->name;
        if (tenant->log == log)
            return tenant;
        bw_tenant_info_unref(tenant);
    }
    return NULL;
}

/* ---- what there is of a key in the HSM ---- */

enum { UNKNOWN_MAX = 16 }; /* an intent makes one */

struct survey {
    const bw_key_id     *id;
    const struct bw_key *key;                  /* NULL: the store has none of this id */
    bool                 last_found;           /* the last version that the store knows */
    uint32_t             unknown[UNKNOWN_MAX]; /* versions that the store does not know, or not to have material */
    size_t               unknown_count;
};

static const struct bw_key_version *last_version(const struct bw_key *key)
{
    return key != NULL && key->version_count > 0 ? &key->versions[key->version_count - 1] : NULL;
}

static bw_result note_version(void *self, const bw_key_id *id, uint32_t version)
{
    struct survey *survey = self;
    const struct bw_key_version *last = last_version(survey->key);
    bool known = false;

    if (!bw_key_id_equal(id, survey->id))
        return bw_success();
    for (size_t i = 0; survey->key != NULL && i < survey->key->version_count; i++)
        known = known || (survey->key->versions[i].number == version && survey->key->versions[i].state != BW_VERSION_AWAITED);
    if (!known && survey->unknown_count < UNKNOWN_MAX)
        survey->unknown[survey->unknown_count++] = version;
    survey->last_found = survey->last_found || (last != NULL && last->number == version);
    return bw_success();
}

/* ---- making keys and versions ---- */

/* The last version's material is gone, so its answer never left: what was primary before is so again. */
static bw_result take_back(struct bw_key *draft, const void *how)
{
    struct bw_key_version *versions = (struct bw_key_version *)(uintptr_t)how;
    size_t last = draft->version_count - 1;

    memcpy(versions, draft->versions, draft->version_count * sizeof *versions);
    versions[last].state = BW_VERSION_DESTROYED;
    if (last > 0 && versions[last - 1].state == BW_VERSION_DECRYPT_ONLY)
        versions[last - 1].state = BW_VERSION_PRIMARY;
    draft->versions = versions;
    return bw_success();
}

static bw_result mark_versions_lost(struct bw_daemon *daemon, const struct bw_key *key)
{
    struct bw_key_version *versions = calloc(key->version_count, sizeof *versions);
    /* A key without any version is destroyed; one that had versions before goes on as it was. */
    struct bw_key_change change = { .action = key->version_count == 1 ? BW_KEY_DESTROY : BW_KEY_UPDATE, .alter = take_back, .how = versions };
    const struct bw_key *changed = NULL;

    BW_CHECK(versions != NULL, BW_NO_MEMORY, "key versions");
    bw_result result = bw_change_key(daemon, &key->name.tenant, &key->name.id, &change, &changed);
    free(versions);
    bw_key_unref(changed);
    return result;
}

/* The customer can bring imported material again. */
static bw_result mark_lost(struct bw_daemon *daemon, const struct bw_key *key)
{
    const struct bw_key *changed = NULL;

    if (key->origin != BW_ORIGIN_IMPORTED)
        return mark_versions_lost(daemon, key);
    bw_result result = bw_material_forget(daemon, key, 0, &changed);
    bw_key_unref(changed);
    return result;
}

static bool has_material(const struct bw_key_version *version)
{
    return version->state != BW_VERSION_DESTROYED && version->state != BW_VERSION_AWAITED;
}

/* Material that the store knows nothing of belongs to the intent at hand: nobody else makes any for this key.
 * ret_outcome 0: it has to wait for the token. */
static bw_result resolve_making(struct bw_daemon *daemon, const struct intent *intent, const struct bw_tenant_info *tenant,
                                const struct bw_key *key, enum bw_outcome *ret_outcome)
{
    struct survey survey = { .id = &intent->record.key, .key = key };
    const struct bw_key_version *last = last_version(key);

    *ret_outcome = 0;
    if (tenant->token == NULL)
        return bw_success();
    BW_TRY(bw_hsm_each_key(tenant->token, note_version, &survey));
    for (size_t i = 0; i < survey.unknown_count; i++)
        BW_TRY(bw_hsm_destroy(tenant->token, survey.id, survey.unknown[i]));

    bool stored = last != NULL && key->generation > intent->record.policy_version;
    if (stored && has_material(last) && !survey.last_found)
        BW_TRY(mark_lost(daemon, key));
    bool waits = last == NULL && key != NULL && intent->record.operation == BW_METHOD_NR(CreateKey); /* for its import */
    *ret_outcome = waits || (stored && has_material(last) && survey.last_found) ? BW_OUTCOME_GRANTED : BW_OUTCOME_UNKNOWN;
    return bw_success();
}

/* The store decides: what it calls destroyed has no way back, so its material goes; else nothing has been done yet.
 * ret_outcome as above. */
static bw_result resolve_destruction(const struct bw_tenant_info *tenant, const struct bw_key *key, enum bw_outcome *ret_outcome)
{
    if (key == NULL || key->state != BW_STATE_DESTROYED)
        return bw_success();
    *ret_outcome = 0;
    if (tenant->token == NULL)
        return bw_success();
    BW_TRY(bw_destruction_of_material(tenant->token, key));
    *ret_outcome = BW_OUTCOME_GRANTED;
    return bw_success();
}

/* The same of imported material, which the store then calls AWAITED. */
static bw_result resolve_expiry(const struct intent *intent, const struct bw_tenant_info *tenant, const struct bw_key *key, enum bw_outcome *ret_outcome)
{
    if (key == NULL || key->generation <= intent->record.policy_version)
        return bw_success();
    *ret_outcome = 0;
    if (tenant->token == NULL)
        return bw_success();
    BW_TRY(bw_material_destroy(tenant->token, key));
    *ret_outcome = BW_OUTCOME_GRANTED;
    return bw_success();
}

/* ---- one intent ---- */

static bw_result resolve(struct bw_daemon *daemon, const struct intent *intent, const struct bw_tenant_info *tenant, enum bw_outcome *ret_outcome)
{
    const struct bw_record *record = &intent->record;
    const struct bw_key *key = NULL;
    bw_result result = bw_success();

    *ret_outcome = BW_OUTCOME_UNKNOWN;
    if (record->operation == BW_METHOD_NR(CreateTenant))
        *ret_outcome = tenant ? BW_OUTCOME_GRANTED : BW_OUTCOME_UNKNOWN; /* half made: the same request finishes it */
    if (record->operation == BW_DEED_NR(RotateLogKey) && record->key_version <= daemon->log_signer->number)
        *ret_outcome = BW_OUTCOME_GRANTED;
    if (!record->has_key || tenant == NULL)
        return bw_success();
    if (!bw_ok(bw_registry_key(daemon->registry, &tenant->name, &record->key, &key)))
        key = NULL;
    if (record->operation == BW_METHOD_NR(CreateKey) || record->operation == BW_METHOD_NR(RotateKey) ||
        record->operation == BW_METHOD_NR(ImportKeyMaterial))
        result = resolve_making(daemon, intent, tenant, key, ret_outcome);
    else if (record->operation == BW_DEED_NR(DestroyKey) || record->operation == BW_METHOD_NR(PurgeKey))
        result = resolve_destruction(tenant, key, ret_outcome);
    else if (record->operation == BW_DEED_NR(ExpireMaterial))
        result = resolve_expiry(intent, tenant, key, ret_outcome);
    else if (key != NULL && key->generation > record->policy_version)
        *ret_outcome = BW_OUTCOME_GRANTED; /* the store has moved on from what the intent saw */
    bw_key_unref(key);
    return result;
}

static bw_result close_intent(struct bw_daemon *daemon, const struct intent *intent, enum bw_outcome outcome)
{
    struct bw_record record = intent->record;
    uint64_t index;

    record.outcome      = outcome;
    record.reason       = outcome == BW_OUTCOME_GRANTED ? BW_OK : BW_INTERNAL;
    record.intent_index = intent->index + 1;
    return bw_audit_write(daemon->audit, &record, &index);
}

/* 0: it stays open. What could not be looked at is looked at again when the tenant is next activated, or at the next start. */
static enum bw_outcome outcome_of(struct bw_daemon *daemon, const struct intent *intent, const bw_tenant *only)
{
    const struct bw_tenant_info *tenant = tenant_of_log(daemon, intent->record.log);
    enum bw_outcome outcome = 0;

    if (only == NULL || (tenant != NULL && bw_tenant_equal(only, &tenant->name)))
        if (!bw_ok(resolve(daemon, intent, tenant, &outcome)))
            outcome = 0;
    bw_tenant_info_unref(tenant);
    return outcome;
}

static bw_result go_through(struct bw_daemon *daemon, struct bw_recovery *recovery, const bw_tenant *only)
{
    size_t open = 0;
    bw_result result = bw_success();

    for (size_t i = 0; i < recovery->count; i++) {
        enum bw_outcome outcome = bw_ok(result) ? outcome_of(daemon, &recovery->at[i], only) : 0;
        if (outcome != 0)
            result = close_intent(daemon, &recovery->at[i], outcome);
        if (outcome == 0 || !bw_ok(result))
            recovery->at[open++] = recovery->at[i];
    }
    recovery->count = open;
    return result;
}

bw_result bw_recovery_start(struct bw_daemon *daemon, struct bw_recovery **ret_recovery)
{
    BW_AUTO(recovery) recovery = calloc(1, sizeof *recovery);

    BW_CHECK(recovery != NULL, BW_NO_MEMORY, "recovery");
    (void)pthread_mutex_init(&recovery->lock, NULL);
    BW_TRY(bw_audit_each_open_intent(daemon->audit, collect, recovery));
    BW_TRY(go_through(daemon, recovery, NULL));
    *ret_recovery = bw_take(&recovery);
    return bw_success();
}

bw_result bw_recovery_go_on(struct bw_daemon *daemon, struct bw_recovery *recovery, const bw_tenant *tenant)
{
    (void)pthread_mutex_lock(&recovery->lock);
    bw_result result = go_through(daemon, recovery, tenant);
    (void)pthread_mutex_unlock(&recovery->lock);
    return result;
}

bw_result bw_recovery_wait(struct bw_recovery *recovery, const struct bw_record *record)
{
    (void)pthread_mutex_lock(&recovery->lock);
    bw_result result = collect(recovery, record->log, record->intent_index - 1, record);
    (void)pthread_mutex_unlock(&recovery->lock);
    return result;
}

size_t bw_recovery_open(struct bw_recovery *recovery)
{
    (void)pthread_mutex_lock(&recovery->lock);
    size_t open = recovery->count;
    (void)pthread_mutex_unlock(&recovery->lock);
    return open;
}

void bw_recovery_free(struct bw_recovery *recovery)
{
    if (recovery == NULL)
        return;
    (void)pthread_mutex_destroy(&recovery->lock);
    free(recovery->at);
    free(recovery);
}
