#include "authorise.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "daemon.h"
#include "hsm.h"
#include "key_grant.h"
#include "material.h"

struct bw_grant {
    const struct bw_tenant_info *tenant;
    const struct bw_key         *key;
    const struct bw_key_version *version; /* of key */
    const struct bw_key         *target;
    unsigned                     target_use;     /* 0: it is only wrapped, by key */
    struct bw_context            target_context; /* borrowed from the request, as long as the job */
    const char                  *rule;
};

const struct bw_tenant_info *bw_grant_tenant(const struct bw_grant *grant) { return grant->tenant; }
const struct bw_key *bw_grant_key(const struct bw_grant *grant) { return grant->key; }
const struct bw_key_version *bw_grant_version(const struct bw_grant *grant) { return grant->version; }
bool bw_grant_step_back(struct bw_grant *grant)
{
    for (uint32_t number = grant->version->number - 1; number > 0; number--) {
        const struct bw_key_version *older = bw_key_version_of(grant->key, number);
        if (older == NULL)
            continue;
        grant->version = older;
        return true;
    }
    grant->version = bw_key_primary(grant->key);
    return false;
}
const struct bw_key *bw_grant_target(const struct bw_grant *grant) { return grant->target; }
const char *bw_grant_rule(const struct bw_grant *grant) { return grant->rule ? grant->rule : ""; }

void bw_grant_free(struct bw_grant *grant)
{
    if (grant == NULL)
        return;
    bw_tenant_info_unref(grant->tenant);
    bw_key_unref(grant->key);
    bw_key_unref(grant->target);
    free(grant);
}
BW_DEFINE_AUTO(grant)

/* ---- who ---- */

static unsigned who_is(enum bw_role role)
{
    switch (role) {
    case BW_ROLE_APP:       return BW_WHO_APP | BW_WHO_APP_OWN;
    case BW_ROLE_CUSTODIAN: return BW_WHO_CUSTODIAN;
    case BW_ROLE_AUDITOR:   return BW_WHO_AUDITOR;
    case BW_ROLE_OPERATOR:  return BW_WHO_OPERATOR;
    case BW_ROLE_NODE:
    case BW_ROLE_NONE:      return 0;
    }
    return 0;
}

static bool acts_on_its_own(const struct bw_job *job)
{
    return job->caller.identity.role == BW_ROLE_APP && !(job->method->who & BW_WHO_APP);
}

/* Callers of other regions may ask what the node is, and applications what a key's policy may allow them; the rest is for
 * home. */
static bool may_come_from_abroad(const struct bw_method *method, enum bw_role role)
{
    bool of_keys = method->about == BW_ABOUT_KEY || method->about == BW_ABOUT_ENVELOPE || method->number == BW_METHOD_NR(ListKeys) ||
                   method->number == BW_METHOD_NR(ListObjects);

    return method->number == BW_METHOD_NR(Describe) || (of_keys && role == BW_ROLE_APP && method->effect != BW_EFFECT_CHANGES && (method->who & BW_WHO_APP));
}

static bool works_while_sealed(const struct bw_method *method)
{
    return method->effect == BW_EFFECT_READS || method->number == BW_METHOD_NR(ActivateTenant) ||
           method->number == BW_METHOD_NR(SealTenant) || method->number == BW_METHOD_NR(RevokePrincipal);
}

static bw_result find_tenant(struct bw_daemon *daemon, const struct bw_job *job, struct bw_grant *grant)
{
    const struct bw_identity *caller = &job->caller.identity;

    if (!bw_region_equal(&caller->region, &daemon->region))
        BW_CHECK(may_come_from_abroad(job->method, caller->role), BW_CALLER_REGION, "callers of other regions may not do this");
    if (caller->role == BW_ROLE_OPERATOR)
        return bw_success(); /* names the tenant, where there is one, in its message */
    BW_TRY(bw_registry_tenant(daemon->registry, &caller->tenant, &grant->tenant));
    BW_CHECK(grant->tenant->state == BW_TENANT_STATE_ACTIVE || works_while_sealed(job->method), BW_TENANT_SEALED, "tenant is sealed");
    BW_CHECK(!acts_on_its_own(job) || grant->tenant->policy.apps_own_keys, BW_NOT_PERMITTED, "tenant policy lets no application keep keys of its own");
    return bw_success();
}

/* ---- which key ---- */

/* The clock is read only for those few keys that have an end. */
static bool is_past(int64_t end_us) { return end_us != 0 && end_us != INT64_MAX && end_us <= bw_now_us(); }

static bw_result check_state(const struct bw_key *key)
{
    BW_CHECK(key->state != BW_STATE_DISABLED, BW_KEY_DISABLED, "key is disabled");
    BW_CHECK(key->state == BW_STATE_ENABLED, BW_KEY_STATE, "key is not enabled");
    BW_CHECK(!is_past(key->expires_us), BW_EXPIRED, "key has expired");
    BW_CHECK(!is_past(bw_material_due(key)), BW_EXPIRED, "imported material has expired"); /* housekeeping destroys it */
    return bw_success();
}

/* What makes something new takes the primary version; what was made by an older one can still be opened. */
static bw_result check_version(const struct bw_key *key, const struct bw_key_version *version, unsigned use)
{
    bool opens = use == BW_USE_DECRYPT || use == BW_USE_UNWRAP || use == BW_USE_VERIFY;

    BW_CHECK_AT(version != NULL, BW_NO_SUCH_KEY, "key.version", "no such version");
    BW_CHECK(version->state == BW_VERSION_PRIMARY || (opens && version->state == BW_VERSION_DECRYPT_ONLY),
             BW_KEY_STATE, "version may not be used for this");
    BW_CHECK(version->number >= key->minimum_version, BW_KEY_STATE, "version is older than the key's minimum");
    return bw_success();
}

static struct bw_context context_of(const struct bw_job *job)
{
    return (struct bw_context){ .pairs = job->request.context, .count = job->request.context_count };
}

static bw_result ask_policy(struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key *key, unsigned use,
                            struct bw_context context, bool release, const char **ret_rule)
{
    const struct bw_request *request = &job->request;
    struct bw_policy_question question = {
        .caller = &job->caller.identity, .home = &daemon->region, .use = use,
        .mechanism = request->mechanism.row, .context = context,
        .purpose = request->purpose ? request->purpose : "", .release = release, .now_us = bw_now_us(),
    };

    BW_CHECK(key->uses & use, BW_NOT_PERMITTED, "key has no such use");
    return bw_key_decide(key, bw_key_grants_over(key, daemon->registry), &question, ret_rule);
}

/* Managing and looking. Custodians and auditors see all keys of their tenant, applications those that are about them. */
static bw_result check_manager(struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key *key)
{
    const struct bw_caller *caller = &job->caller;

    if (acts_on_its_own(job)) {
        BW_CHECK(strcmp(key->owner, caller->spiffe_id) == 0, BW_NOT_PERMITTED, "key belongs to another principal");
        return bw_success();
    }
    if (caller->identity.role == BW_ROLE_APP)
        BW_CHECK(bw_key_concerns(key, bw_key_grants_over(key, daemon->registry), &caller->identity, &daemon->region, NULL, bw_now_us()), BW_NOT_PERMITTED, "key policy is not about this caller");
    return bw_success();
}

static bw_result find_key(struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key_name *name, const struct bw_key **ret_key)
{
    const bw_tenant *tenant = &job->caller.identity.tenant;
    const struct bw_key *key = NULL;

    /* Looked up under the caller's own tenant whatever the name says: another tenant's key takes the same steps as none. */
    BW_TRY(bw_registry_key(daemon->registry, tenant, &name->id, &key));
    if (!bw_tenant_equal(&name->tenant, tenant) || key->state == BW_STATE_DESTROYED) {
        bw_key_unref(key);
        return bw_fail(BW_NO_SUCH_KEY, "no such key");
    }
    *ret_key = key;
    return bw_success();
}

static bw_result grant_key(struct bw_daemon *daemon, const struct bw_job *job, struct bw_grant *grant)
{
    unsigned use = job->method->use;

    BW_TRY(find_key(daemon, job, &job->request.key, &grant->key));
    if (use == 0)
        return check_manager(daemon, job, grant->key);
    BW_TRY(check_state(grant->key));
    grant->version = bw_key_version_of(grant->key, job->request.version);
    BW_TRY(check_version(grant->key, grant->version, use));
    return ask_policy(daemon, job, grant->key, use, context_of(job), false, &grant->rule);
}

static bw_result check_name(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key_name *name)
{
    if (bw_region_equal(&name->region, &daemon->region))
        return bw_success();
    job->reply.home_region = name->region.text;
    return bw_fail(BW_WRONG_REGION, "key or envelope of another region");
}

static bw_result decide(struct bw_daemon *daemon, struct bw_job *job, struct bw_grant *grant)
{
    const struct bw_method *method = job->method;

    BW_CHECK(job->caller.known, BW_UNAUTHENTICATED, "nobody is calling");
    BW_CHECK(method->who & who_is(job->caller.identity.role), BW_NOT_PERMITTED, "not for this role");
    if (job->request.has_key)
        BW_TRY(check_name(daemon, job, &job->request.key));
    BW_TRY(find_tenant(daemon, job, grant));
    if (job->request.has_key)
        BW_TRY(grant_key(daemon, job, grant));
    return bw_success();
}

/* Since when. NULL: of no key, or out of memory. */
static const char *expired_at(const struct bw_key *key, struct bw_arena *arena)
{
    enum { ROOM = sizeof "2026-01-02T03:04:05Z" };
    char *text = key ? bw_arena_alloc(arena, ROOM) : NULL;
    struct tm utc;

    if (text == NULL)
        return NULL;
    time_t at = (time_t)((is_past(key->expires_us) ? key->expires_us : bw_material_due(key)) / 1000000);
    return gmtime_r(&at, &utc) != NULL && strftime(text, ROOM, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0 ? text : NULL;
}

bw_result bw_authorise(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_AUTO(grant) grant = calloc(1, sizeof *grant);

    BW_CHECK(grant != NULL, BW_NO_MEMORY, "grant");
    bw_result decided = decide(daemon, job, grant);
    if (decided.code == BW_EXPIRED)
        job->reply.expired_at = expired_at(grant->key, bw_job_arena(job));
    /* Kept when refused too: the record says which key and which policy it was. */
    bw_grant_free(job->grant);
    job->grant = bw_take(&grant);
    return decided;
}

/* What a session key's origin must be, now and when the result gets its place: enabled, and about this caller. mechanism:
 * that the session key is used with, or NULL. */
static bw_result check_origin(struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key *key, const struct bw_mechanism_row *mechanism)
{
    const struct bw_identity *caller = &job->caller.identity;
    const uint64_t over   = bw_key_grants_over(key, daemon->registry);
    const int64_t  now_us = bw_now_us();

    BW_TRY(check_state(key));
    if (bw_key_concerns(key, over, caller, &daemon->region, mechanism, now_us))
        return bw_success();
    BW_CHECK(bw_key_concerns(key, over, caller, &daemon->region, NULL, now_us), BW_NOT_PERMITTED, "policy of the session key's origin");
    return bw_fail(BW_MECHANISM_OFF, "off by default, and the origin's policy does not name it");
}

/* The master key that a session key came out of, if any. */
static bw_result find_origin(struct bw_daemon *daemon, const struct bw_job *job, const bw_key_id *id, const struct bw_mechanism_row *mechanism,
                             const struct bw_key **ret_key)
{
    static const bw_key_id none;
    struct bw_key_name name = { .region = daemon->region, .tenant = job->caller.identity.tenant, .id = *id };

    bw_key_unref(*ret_key);
    *ret_key = NULL;
    if (bw_key_id_equal(id, &none)) {
        BW_CHECK(mechanism == NULL || mechanism->by_default == BW_DEFAULT_ON, BW_MECHANISM_OFF, "off by default, and this key has no policy to name it");
        return bw_success();
    }
    BW_TRY(find_key(daemon, job, &name, ret_key));
    return check_origin(daemon, job, *ret_key, mechanism);
}

bw_result bw_authorise_sealed(struct bw_daemon *daemon, struct bw_job *job, const struct bw_session_key *what, unsigned use)
{
    BW_CHECK(what->uses & use, BW_NOT_PERMITTED, "session key has no such use");
    job->grant->version = NULL;
    return find_origin(daemon, job, &what->origin, job->request.mechanism.row, &job->grant->key);
}

bw_result bw_authorise_wrapped(struct bw_daemon *daemon, struct bw_job *job, const struct bw_session_key *what)
{
    BW_CHECK(what->extractable, BW_NOT_PERMITTED, "session key was not made extractable");
    job->grant->target_use = 0;
    return find_origin(daemon, job, &what->origin, NULL, &job->grant->target);
}

bw_result bw_authorise_release(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_CHECK(job->grant->key != NULL, BW_NOT_PERMITTED, "only a master key's policy can release");
    return ask_policy(daemon, job, job->grant->key, job->method->use, context_of(job), true, &job->grant->rule);
}

bw_result bw_authorise_target(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key_name *name, struct bw_context context)
{
    struct bw_grant *grant = job->grant;
    const char *rule;

    BW_TRY(check_name(daemon, job, name));
    bw_key_unref(grant->target);
    grant->target = NULL;
    BW_TRY(find_key(daemon, job, name, &grant->target));
    BW_TRY(check_state(grant->target));
    BW_TRY(check_version(grant->target, bw_key_primary(grant->target), BW_USE_WRAP));
    grant->target_context = context;
    grant->target_use     = BW_USE_WRAP;
    return ask_policy(daemon, job, grant->target, BW_USE_WRAP, context, false, &rule);
}

void bw_grant_note_use(const struct bw_grant *grant)
{
    const struct bw_key_version *target = grant->target && grant->target_use ? bw_key_primary(grant->target) : NULL;
    struct timespec now;

    if (grant->version == NULL && target == NULL)
        return;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (grant->version != NULL)
        bw_key_note_use(grant->version, now_us);
    if (target != NULL)
        bw_key_note_use(target, now_us);
}

/* ---- once more, under the log's order ---- */

static bool key_moved(const struct bw_key *key)
{
    return key != NULL && atomic_load_explicit(&key->superseded, memory_order_acquire);
}

/* Whoever is revoked takes what he handed on with him, and leaves the key's snapshot as it is. */
static bool grants_moved(struct bw_daemon *daemon, const struct bw_key *key)
{
    return key != NULL && bw_key_grants_over(key, daemon->registry) != 0;
}

static bool ground_moved(struct bw_daemon *daemon, const struct bw_grant *grant)
{
    bool tenant_moved = grant->tenant != NULL && atomic_load_explicit(&grant->tenant->superseded, memory_order_acquire);

    return tenant_moved || key_moved(grant->key) || key_moved(grant->target) || grants_moved(daemon, grant->key) ||
           grants_moved(daemon, grant->target);
}

/* What a key was granted for. */
struct question {
    const struct bw_key            *then;
    const struct bw_key_version    *version;
    unsigned                        use;       /* 0: a session key came out of it */
    const struct bw_mechanism_row  *mechanism; /* that such a session key was used with */
    struct bw_context               context;
    bool                            release;
};

static bw_result ask_now(struct bw_daemon *daemon, const struct bw_job *job, const struct question *question, const struct bw_key *now)
{
    const char *rule;

    if (question->use == 0)
        return check_origin(daemon, job, now, question->mechanism);
    BW_TRY(check_state(now));
    BW_CHECK(question->version == NULL || question->version->number >= now->minimum_version, BW_KEY_STATE,
             "version is older than the key's minimum by now");
    return ask_policy(daemon, job, now, question->use, question->context, question->release, &rule);
}

/* The same questions to what stands there now. A key that was rotated meanwhile is no reason to refuse. */
static bw_result check_now(struct bw_daemon *daemon, const struct bw_job *job, const struct question *question)
{
    const struct bw_key *now = NULL;

    if (question->then == NULL)
        return bw_success();
    BW_TRY(find_key(daemon, job, &question->then->name, &now));
    bw_result still = ask_now(daemon, job, question, now);
    bw_key_unref(now);
    return still;
}

static bw_result check_tenant_now(struct bw_daemon *daemon, const struct bw_job *job)
{
    const struct bw_tenant_info *now = NULL;

    if (job->grant->tenant == NULL)
        return bw_success();
    BW_TRY(bw_registry_tenant(daemon->registry, &job->grant->tenant->name, &now));
    bool open = now->state == BW_TENANT_STATE_ACTIVE;
    bw_tenant_info_unref(now);
    BW_CHECK(open, BW_TENANT_SEALED, "tenant was sealed meanwhile");
    return bw_success();
}

bw_result bw_authorise_again(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_grant *grant = job->grant;

    BW_CHECK(!bw_registry_is_revoked(daemon->registry, job->caller.spiffe_id), BW_REVOKED, "caller was revoked meanwhile");
    if (!ground_moved(daemon, grant))
        return bw_success();
    BW_TRY(check_tenant_now(daemon, job));
    const struct question key = {
        .then = grant->key, .version = grant->version, .use = job->request.sealed.len ? 0 : job->method->use,
        .mechanism = job->request.mechanism.row, .context = context_of(job), .release = job->reply.released,
    };
    const struct question target = { .then = grant->target, .use = grant->target_use, .context = grant->target_context };

    BW_TRY(check_now(daemon, job, &key));
    return check_now(daemon, job, &target);
}
