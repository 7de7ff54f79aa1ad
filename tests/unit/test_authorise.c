/* Who may do what to which key, and from where: one row a question. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "authorise.h"
#include "daemon.h"
#include "hsm.h"
#include "policy.h"
#include "registry.h"

#define TRUST "spiffe://example.org/region/"

/* The node serves eu-central. Tenants there: acme, umbra, and wax, which is sealed. Keys of acme, all of spec AES_256: */
enum { K_ENABLED, K_DISABLED, K_DYING, K_ABROAD, K_SIGNING, K_MINE, K_OTHERS, K_ROTATED, K_UMBRA, K_WAX, K_NONE };
static const struct { const char *tenant; enum bw_key_state state; unsigned uses; const char *policy; const char *owner; unsigned versions; } keys[] = {
    [K_ENABLED]  = { "acme",  BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 1 },
    [K_DISABLED] = { "acme",  BW_STATE_DISABLED,         BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 1 },
    [K_DYING]    = { "acme",  BW_STATE_PENDING_DELETION, BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 1 },
    [K_ABROAD]   = { "acme",  BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, "{\"rules\": [{\"name\": \"ch\", \"regions\": [\"ch\"]}]}", "", 1 },
    [K_SIGNING]  = { "acme",  BW_STATE_ENABLED,          BW_USE_SIGN,                     BW_POLICY_DEFAULT, "", 1 },
    [K_MINE]     = { "umbra", BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, TRUST "eu-central/tenant/umbra/app/web", 1 },
    [K_OTHERS]   = { "umbra", BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, TRUST "eu-central/tenant/umbra/app/db", 1 },
    [K_ROTATED]  = { "acme",  BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 2 },
    [K_UMBRA]    = { "umbra", BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 1 },
    [K_WAX]      = { "wax",   BW_STATE_ENABLED,          BW_USE_ENCRYPT | BW_USE_DECRYPT, BW_POLICY_DEFAULT, "", 1 },
};

static struct bw_key_name name_of(int key, const char *region, const char *tenant)
{
    struct bw_key_name name = { .id = { { (uint8_t)(key + 1), 0x77 } } };

    (void)snprintf(name.region.text, sizeof name.region.text, "%s", region);
    (void)snprintf(name.tenant.text, sizeof name.tenant.text, "%s", tenant);
    return name;
}

static void put_tenant(struct bw_registry *registry, const char *name, enum bw_tenant_state state, const char *policy)
{
    struct bw_tenant_info draft = { .state = state, .activation = BW_OPERATOR_HELD, .policy_text = policy, .generation = 1, .log = 1 };
    struct bw_tenant_info *tenant;

    (void)snprintf(draft.name.text, sizeof draft.name.text, "%s", name);
    assert_true(bw_ok(bw_tenant_info_new(&draft, &tenant)));
    assert_true(bw_ok(bw_registry_put_tenant(registry, tenant)));
}

static void put_key_of(struct bw_registry *registry, int nr, enum bw_key_state state, uint64_t generation, const char *policy)
{
    struct bw_key_version versions[2] = { { .number = 1, .state = BW_VERSION_PRIMARY }, { .number = 2, .state = BW_VERSION_PRIMARY } };
    struct bw_key draft = {
        .name = name_of(nr, "eu-central", keys[nr].tenant), .label = "", .spec = bw_spec_row(BW_SPEC_AES_256), .uses = keys[nr].uses,
        .state = state, .origin = BW_ORIGIN_GENERATED, .owner = keys[nr].owner, .description = "", .policy_text = policy,
        .generation = generation, .versions = versions, .version_count = keys[nr].versions,
    };
    struct bw_key *key;

    if (draft.version_count == 2)
        versions[0].state = BW_VERSION_DECRYPT_ONLY;
    assert_true(bw_ok(bw_key_new(registry, &draft, &key)));
    assert_true(bw_ok(bw_registry_put_key(registry, key)));
}

static void put_key(struct bw_registry *registry, int nr, enum bw_key_state state, uint64_t generation)
{
    put_key_of(registry, nr, state, generation, keys[nr].policy);
}

static int set_up(void **state)
{
    static struct bw_daemon daemon;

    daemon = (struct bw_daemon){ .region = { "eu-central" } };
    assert_true(bw_ok(bw_registry_new(&daemon.registry)));
    put_tenant(daemon.registry, "acme", BW_TENANT_STATE_ACTIVE, "{}");
    put_tenant(daemon.registry, "umbra", BW_TENANT_STATE_ACTIVE, "{\"apps_own_keys\": true}");
    put_tenant(daemon.registry, "wax", BW_TENANT_STATE_SEALED, "{}");
    for (int i = 0; i < (int)ARRAY_LEN(keys); i++)
        put_key(daemon.registry, i, keys[i].state, 1);
    *state = &daemon;
    return 0;
}

static int tear_down(void **state)
{
    bw_registry_free(((struct bw_daemon *)*state)->registry);
    return 0;
}

static void prepare(struct bw_job *job, struct bw_call *call, const char *caller, const char *method, int key, const char *region, const char *tenant, uint32_t version)
{
    *job = (struct bw_job){ .method = bw_method_by_name(method), .call = call };
    assert_non_null(job->method);
    if (caller != NULL) {
        job->caller.known = true;
        assert_true(bw_ok(bw_identity_parse(bw_bytes_text(caller), &job->caller.identity)));
        (void)snprintf(job->caller.spiffe_id, sizeof job->caller.spiffe_id, "%s", caller);
    }
    if (tenant != NULL) {
        job->request.has_key = true;
        job->request.key     = name_of(key, region, tenant);
        job->request.version = version;
    }
    job->request.purpose = "";
    if (job->method->use != 0)
        job->request.mechanism.row = bw_mechanism_row(CKM_AES_GCM);
}

#define APP       TRUST "eu-central/tenant/acme/app/web"
#define CUSTODIAN TRUST "eu-central/tenant/acme/custodian/ann"
#define AUDITOR   TRUST "eu-central/tenant/acme/auditor/al"
#define OPERATOR  TRUST "eu-central/operator/ops"
#define NODE      TRUST "eu-central/node/n2"
#define APP_CH    TRUST "ch/tenant/acme/app/web"
#define APP_US    TRUST "us-east/tenant/acme/app/web"
#define UMBRA     TRUST "eu-central/tenant/umbra/app/web"
#define WAX       TRUST "eu-central/tenant/wax/app/web"
#define EU        "eu-central"

static const struct { const char *why; const char *caller, *method; int key; const char *region, *tenant; uint32_t version; enum bw_code code; } cases[] = {
    { "an application decrypts",                              APP,       "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_OK },
    { "nobody decrypts",                                      NULL,      "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_UNAUTHENTICATED },
    { "a custodian manages and cannot use",                   CUSTODIAN, "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "an auditor cannot use",                                AUDITOR,   "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "an operator cannot use",                               OPERATOR,  "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "another node cannot use",                              NODE,      "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "an application uses and cannot manage",                APP,       "DisableKey",       K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "a custodian disables",                                 CUSTODIAN, "DisableKey",       K_ENABLED,  EU,        "acme",  0, BW_OK },
    { "an auditor looks",                                     AUDITOR,   "GetKey",           K_ENABLED,  EU,        "acme",  0, BW_OK },
    { "an auditor changes nothing",                           AUDITOR,   "DisableKey",       K_ENABLED,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "an operator makes tenants",                            OPERATOR,  "CreateTenant",     K_NONE,     NULL,      NULL,    0, BW_OK },
    { "a custodian makes none",                               CUSTODIAN, "CreateTenant",     K_NONE,     NULL,      NULL,    0, BW_NOT_PERMITTED },

    { "a key of another region is refused by name",           APP,       "Decrypt",          K_ENABLED,  "us-east", "acme",  0, BW_WRONG_REGION },
    { "also where the tenant is another",                     APP,       "Decrypt",          K_ENABLED,  "us-east", "umbra", 0, BW_WRONG_REGION },
    { "another tenant's key does not exist",                  APP,       "Decrypt",          K_UMBRA,    EU,        "umbra", 0, BW_NO_SUCH_KEY },
    { "nor under one's own name",                             APP,       "Decrypt",          K_UMBRA,    EU,        "acme",  0, BW_NO_SUCH_KEY },
    { "nor does one's own under another's",                   APP,       "Decrypt",          K_ENABLED,  EU,        "umbra", 0, BW_NO_SUCH_KEY },
    { "a key that never was",                                 APP,       "Decrypt",          K_NONE,     EU,        "acme",  0, BW_NO_SUCH_KEY },
    { "another tenant's custodian cannot disable",            CUSTODIAN, "DisableKey",       K_UMBRA,    EU,        "umbra", 0, BW_NO_SUCH_KEY },

    { "a caller from abroad",                                 APP_US,    "Decrypt",          K_ENABLED,  EU,        "acme",  0, BW_CALLER_REGION },
    { "a caller from abroad whom the policy admits",          APP_CH,    "Decrypt",          K_ABROAD,   EU,        "acme",  0, BW_OK },
    { "a policy that admits abroad only, asked at home",      APP,       "Decrypt",          K_ABROAD,   EU,        "acme",  0, BW_CALLER_REGION },
    { "a custodian manages from home only",                   TRUST "us-east/tenant/acme/custodian/ann",
                                                                         "DisableKey",       K_ENABLED,  EU,        "acme",  0, BW_CALLER_REGION },
    { "nor does he look at keys from there",                  TRUST "us-east/tenant/acme/custodian/ann",
                                                                         "GetKey",           K_ENABLED,  EU,        "acme",  0, BW_CALLER_REGION },
    { "a caller from abroad draws no random bytes",           APP_US,    "Random",           K_NONE,     NULL,      NULL,    0, BW_CALLER_REGION },
    { "a caller from abroad asks what the node is",           APP_US,    "Describe",         K_NONE,     NULL,      NULL,    0, BW_OK },
    { "an operator of another region",                        TRUST "us-east/operator/ops",
                                                                         "CreateTenant",     K_NONE,     NULL,      NULL,    0, BW_CALLER_REGION },

    { "a disabled key",                                       APP,       "Decrypt",          K_DISABLED, EU,        "acme",  0, BW_KEY_DISABLED },
    { "a disabled key can be enabled",                        CUSTODIAN, "EnableKey",        K_DISABLED, EU,        "acme",  0, BW_OK },
    { "a key that waits for its end",                         APP,       "Decrypt",          K_DYING,    EU,        "acme",  0, BW_KEY_STATE },
    { "a key without that use",                               APP,       "Decrypt",          K_SIGNING,  EU,        "acme",  0, BW_NOT_PERMITTED },
    { "an older version decrypts",                            APP,       "Decrypt",          K_ROTATED,  EU,        "acme",  1, BW_OK },
    { "an older version encrypts nothing new",                APP,       "Encrypt",          K_ROTATED,  EU,        "acme",  1, BW_KEY_STATE },
    { "a version that there is not",                          APP,       "Decrypt",          K_ROTATED,  EU,        "acme",  3, BW_NO_SUCH_KEY },

    { "a sealed tenant",                                      WAX,       "Decrypt",          K_WAX,      EU,        "wax",   0, BW_TENANT_SEALED },
    { "a sealed tenant's custodian can activate",             TRUST "eu-central/tenant/wax/custodian/wo",
                                                                         "ActivateTenant",   K_NONE,     NULL,      NULL,    0, BW_OK },
    { "a sealed tenant's custodian can make no key",          TRUST "eu-central/tenant/wax/custodian/wo",
                                                                         "CreateKey",        K_NONE,     NULL,      NULL,    0, BW_TENANT_SEALED },
    { "a tenant that there is not",                           TRUST "eu-central/tenant/ghost/app/web",
                                                                         "ListKeys",         K_NONE,     NULL,      NULL,    0, BW_NO_SUCH_TENANT },

    { "an application makes keys of its own where it may",    UMBRA,     "CreateKey",        K_NONE,     NULL,      NULL,    0, BW_OK },
    { "and not where it may not",                             APP,       "CreateKey",        K_NONE,     NULL,      NULL,    0, BW_NOT_PERMITTED },
    { "it deletes its own",                                   UMBRA,     "ScheduleDeletion", K_MINE,     EU,        "umbra", 0, BW_OK },
    { "and not another application's",                        UMBRA,     "ScheduleDeletion", K_OTHERS,   EU,        "umbra", 0, BW_NOT_PERMITTED },
    { "nor one that the custodian made",                      UMBRA,     "ScheduleDeletion", K_UMBRA,    EU,        "umbra", 0, BW_NOT_PERMITTED },
    { "it cannot disable even its own",                       UMBRA,     "DisableKey",       K_MINE,     EU,        "umbra", 0, BW_NOT_PERMITTED },
};

static void each_question_has_its_answer(void **state)
{
    struct bw_daemon *daemon = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bw_call call = { 0 };
        struct bw_job job;

        prepare(&job, &call, cases[i].caller, cases[i].method, cases[i].key, cases[i].region, cases[i].tenant, cases[i].version);
        bw_result r = bw_authorise(daemon, &job);
        if (r.code != cases[i].code)
            fail_msg("%s: %s", cases[i].why, bw_code_row(r.code)->name);
        if (r.code == BW_WRONG_REGION)
            assert_string_equal(job.reply.home_region, cases[i].region);
        bw_grant_free(job.grant);
        bw_arena_clear(&call.arena);
    }
}

/* What moves while a request is with the HSM. */
static void disable(struct bw_registry *registry) { put_key(registry, K_ENABLED, BW_STATE_DISABLED, 2); }
static void touch(struct bw_registry *registry) { put_key(registry, K_ENABLED, BW_STATE_ENABLED, 2); }
static void seal(struct bw_registry *registry) { put_tenant(registry, "acme", BW_TENANT_STATE_SEALED, "{}"); }
static void revoke(struct bw_registry *registry) { assert_true(bw_ok(bw_registry_revoke(registry, APP))); }
static void nothing(struct bw_registry *registry) { (void)registry; }

static const struct { const char *why; void (*moves)(struct bw_registry *); enum bw_code code; } meanwhile[] = {
    { "nothing",                                nothing, BW_OK },
    { "the key changed, and may still be used", touch,   BW_OK },
    { "the key was disabled",                   disable, BW_KEY_DISABLED },
    { "the tenant was sealed",                  seal,    BW_TENANT_SEALED },
    { "the caller was revoked",                 revoke,  BW_REVOKED },
};

static void what_moved_meanwhile_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(meanwhile); i++) {
        void *fresh;
        struct bw_call call = { 0 };
        struct bw_job job;

        set_up(&fresh);
        struct bw_daemon *daemon = fresh;
        prepare(&job, &call, APP, "Decrypt", K_ENABLED, EU, "acme", 0);
        assert_true(bw_ok(bw_authorise(daemon, &job)));
        meanwhile[i].moves(daemon->registry);
        bw_result r = bw_authorise_again(daemon, &job);
        if (r.code != meanwhile[i].code)
            fail_msg("%s: %s", meanwhile[i].why, bw_code_row(r.code)->name);
        bw_grant_free(job.grant);
        tear_down(&fresh);
    }
}

/* ---- session keys: they answer as what they came out of ---- */

#define ECB_TOO "{\"rules\": [{\"name\": \"a\"}, {\"name\": \"b\", \"mechanisms\": [\"CKM_AES_ECB\"]}]}"
#define DB_ONLY "{\"rules\": [{\"name\": \"a\", \"principals\": [\"app/db\"]}]}"
#define LETS_GO "{\"rules\": [{\"name\": \"a\", \"release\": true}]}"

/* Used with a mechanism while its origin has the first policy; on record when it has the second. No origin: NULL. */
static const struct { const char *why; const char *origin, *then; unsigned long mechanism; enum bw_code first, second; } sessions[] = {
    { "of no master key",                             NULL,              NULL,              CKM_AES_GCM, BW_OK,            BW_OK            },
    { "of no master key, with what is off",           NULL,              NULL,              CKM_AES_ECB, BW_MECHANISM_OFF, 0                },
    { "of a master key",                              BW_POLICY_DEFAULT, BW_POLICY_DEFAULT, CKM_AES_GCM, BW_OK,            BW_OK            },
    { "of one that does not name what is off",        BW_POLICY_DEFAULT, NULL,              CKM_AES_ECB, BW_MECHANISM_OFF, 0                },
    { "of one that names it",                         ECB_TOO,           ECB_TOO,           CKM_AES_ECB, BW_OK,            BW_OK            },
    { "of one that names it no more",                 ECB_TOO,           BW_POLICY_DEFAULT, CKM_AES_ECB, BW_OK,            BW_MECHANISM_OFF },
    { "of one that is about others",                  DB_ONLY,           NULL,              CKM_AES_GCM, BW_NOT_PERMITTED, 0                },
    { "of one that is about others by now",           BW_POLICY_DEFAULT, DB_ONLY,           CKM_AES_GCM, BW_OK,            BW_NOT_PERMITTED },
};

static void a_session_key_answers_as_its_origin(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sessions); i++) {
        void *fresh;
        struct bw_call call = { 0 };
        struct bw_job job;
        struct bw_session_key what = { .uses = BW_USE_DECRYPT };

        set_up(&fresh);
        struct bw_daemon *daemon = fresh;
        if (sessions[i].origin != NULL) {
            what.origin = name_of(K_ENABLED, EU, "acme").id;
            put_key_of(daemon->registry, K_ENABLED, BW_STATE_ENABLED, 2, sessions[i].origin);
        }
        prepare(&job, &call, APP, "Decrypt", K_NONE, NULL, NULL, 0);
        job.request.sealed        = bw_bytes_text("sealed");
        job.request.mechanism.row = bw_mechanism_row(sessions[i].mechanism);
        assert_true(bw_ok(bw_authorise(daemon, &job)));
        bw_result r = bw_authorise_sealed(daemon, &job, &what, BW_USE_DECRYPT);
        if (r.code != sessions[i].first)
            fail_msg("%s: at first %s", sessions[i].why, bw_code_row(r.code)->name);
        if (bw_ok(r)) {
            if (sessions[i].then != NULL)
                put_key_of(daemon->registry, K_ENABLED, BW_STATE_ENABLED, 3, sessions[i].then);
            r = bw_authorise_again(daemon, &job);
            if (r.code != sessions[i].second)
                fail_msg("%s: at last %s", sessions[i].why, bw_code_row(r.code)->name);
        }
        bw_grant_free(job.grant);
        tear_down(&fresh);
    }
}

static void a_value_that_may_stay_by_now_stays(void **state)
{
    for (int released = 0; released < 2; released++) {
        struct bw_call call = { 0 };
        struct bw_job job;

        set_up(state);
        struct bw_daemon *daemon = *state;
        put_key_of(daemon->registry, K_ENABLED, BW_STATE_ENABLED, 2, LETS_GO);
        prepare(&job, &call, APP, "Decrypt", K_ENABLED, EU, "acme", 0);
        assert_true(bw_ok(bw_authorise(daemon, &job)));
        assert_true(bw_ok(bw_authorise_release(daemon, &job)));
        job.reply.released = released;
        put_key_of(daemon->registry, K_ENABLED, BW_STATE_ENABLED, 3, BW_POLICY_DEFAULT);
        assert_int_equal(bw_authorise_again(daemon, &job).code, released ? BW_NOT_PERMITTED : BW_OK);
        bw_grant_free(job.grant);
        tear_down(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_question_has_its_answer, set_up, tear_down),
        cmocka_unit_test(what_moved_meanwhile_counts),
        cmocka_unit_test(a_session_key_answers_as_its_origin),
        cmocka_unit_test(a_value_that_may_stay_by_now_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
