/* Operations on tenants, keys and objects, with a real HSM, store and log: what changes, what is refused, and what a crash
 * between any two steps leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit.h"
#include "authorise.h"
#include "change.h"
#include "fake/drafts.h"
#include "fake/region.h"
#include "hsm.h"
#include "making.h"
#include "recover.h"
#include "stages.h"
#include "store.h"
#include "wire.h"

#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"

#define OPERATOR  "spiffe://ex.org/region/eu-central/operator/ops"
#define CUSTODIAN "spiffe://ex.org/region/eu-central/tenant/acme/custodian/ann"
#define APP       "spiffe://ex.org/region/eu-central/tenant/acme/app/web"
#define OTHER_APP "spiffe://ex.org/region/eu-central/tenant/acme/app/batch"
#define STRANGER  "spiffe://ex.org/region/eu-central/tenant/umbra/custodian/eve"

static struct region region;

/* Shorthands: one call of a method with its message's fields. The last reply stays in asked. */
static struct asked asked;

static bw_result ask_with(const char *caller, enum bw_method_nr method, const void *message, const char *key, uint8_t request_id,
                          region_operation_fn operation)
{
    asked_clear(&asked);
    return region_ask(&region, &(struct asking){ .caller = caller, .method = method, .message = message, .key = key, .request_id = request_id }, operation, &asked);
}

#define INIT(snake, Method) \
    Bailiwick__V1__##Method##Request message; \
    bailiwick__v1__##snake##_request__init(&message)

static bw_result create_tenant(const char *name, int activation, const char *pin)
{
    INIT(create_tenant, CreateTenant);
    message.name       = (char *)(uintptr_t)name;
    message.activation = (Bailiwick__V1__Activation)activation;
    message.pin        = bw_wire_data(bw_bytes_text(pin));
    return ask_with(OPERATOR, BW_METHOD_NR(CreateTenant), &message, NULL, 0, bw_op_create_tenant);
}

static char key_name[BW_KEY_NAME_MAX + 1]; /* of the last key that was made */

static bw_result create_key_as(const char *caller, int spec, const char *label, const char *alias, uint8_t request_id)
{
    char *aliases[] = { (char *)(uintptr_t)alias };
    INIT(create_key, CreateKey);
    message.spec      = (Bailiwick__V1__KeySpec)spec;
    message.label     = (char *)(uintptr_t)label;
    message.aliases   = aliases;
    message.n_aliases = alias ? 1 : 0;
    bw_result result = ask_with(caller, BW_METHOD_NR(CreateKey), &message, NULL, request_id, bw_op_create_key);
    if (bw_ok(result))
        (void)snprintf(key_name, sizeof key_name, "%s", ((Bailiwick__V1__CreateKeyReply *)(void *)asked.job.reply.message)->key->name);
    return result;
}

static bw_result create_key(int spec, const char *alias) { return create_key_as(CUSTODIAN, spec, "", alias, 0); }

static Bailiwick__V1__Key *key_in_reply(void) { return ((Bailiwick__V1__CreateKeyReply *)(void *)asked.job.reply.message)->key; }

#define SIMPLE(snake, Method)                                                                     \
    static bw_result snake##_as(const char *caller)                                               \
    {                                                                                             \
        INIT(snake, Method);                                                                      \
        message.name = key_name;                                                                  \
        return ask_with(caller, BW_METHOD_NR(Method), &message, key_name, 0, bw_op_##snake);      \
    }                                                                                             \
    static bw_result snake(void) { return snake##_as(CUSTODIAN); }
SIMPLE(rotate_key, RotateKey)
SIMPLE(enable_key, EnableKey)
SIMPLE(disable_key, DisableKey)
SIMPLE(cancel_deletion, CancelDeletion)

static bw_result schedule_deletion_as(const char *caller, uint32_t days)
{
    INIT(schedule_deletion, ScheduleDeletion);
    message.name = key_name;
    message.days = days;
    return ask_with(caller, BW_METHOD_NR(ScheduleDeletion), &message, key_name, 0, bw_op_schedule_deletion);
}

static bw_result set_tenant_policy(const char *policy)
{
    INIT(set_tenant_policy, SetTenantPolicy);
    message.policy = (char *)(uintptr_t)policy;
    return ask_with(CUSTODIAN, BW_METHOD_NR(SetTenantPolicy), &message, NULL, 0, bw_op_set_tenant_policy);
}

static bw_result seal_tenant(const char *caller, const char *name)
{
    INIT(seal_tenant, SealTenant);
    message.name = (char *)(uintptr_t)name;
    return ask_with(caller, BW_METHOD_NR(SealTenant), &message, NULL, 0, bw_op_seal_tenant);
}

static bw_result activate_tenant(const char *caller, const char *name, const char *pin)
{
    INIT(activate_tenant, ActivateTenant);
    message.name = (char *)(uintptr_t)name;
    message.pin  = bw_wire_data(bw_bytes_text(pin));
    return ask_with(caller, BW_METHOD_NR(ActivateTenant), &message, NULL, 0, bw_op_activate_tenant);
}

static int setup(void **state)
{
    (void)state;
    region_make(&region);
    assert_int_equal(create_tenant("acme", BW_OPERATOR_HELD, "").code, BW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    asked_clear(&asked);
    region_remove(&region);
    return 0;
}

/* The last job holds its grant, and so the tenant's token. */
static void restart(void)
{
    asked_clear(&asked);
    region_restart(&region);
}

/* ---- looking behind the reply ---- */

static bw_result count_intent(void *self, uint32_t log, uint64_t index, const struct bw_record *record)
{
    (void)log, (void)index, (void)record;
    ++*(int *)self;
    return bw_success();
}

static int open_intents(void)
{
    int count = 0;
    assert_int_equal(bw_audit_each_open_intent(region.daemon.audit, count_intent, &count).code, BW_OK);
    return count;
}

static bw_result count_material(void *self, const bw_key_id *id, uint32_t version)
{
    (void)id, (void)version;
    ++*(int *)self;
    return bw_success();
}

static struct bw_token *token_of(const char *name)
{
    const struct bw_tenant_info *tenant;
    bw_tenant parsed;

    assert_int_equal(bw_tenant_parse(bw_bytes_text(name), &parsed).code, BW_OK);
    assert_int_equal(bw_registry_tenant(region.daemon.registry, &parsed, &tenant).code, BW_OK);
    struct bw_token *token = tenant->token;
    bw_tenant_info_unref(tenant);
    return token;
}

static int material(void)
{
    int count = 0;
    assert_int_equal(bw_hsm_each_key(token_of("acme"), count_material, &count).code, BW_OK);
    return count;
}

static const struct bw_key *stands(void)
{
    struct bw_key_name name;
    const struct bw_key *key;

    assert_int_equal(bw_key_name_parse(bw_bytes_text(key_name), &name).code, BW_OK);
    if (!bw_ok(bw_registry_key(region.daemon.registry, &name.tenant, &name.id, &key)))
        return NULL;
    bw_key_unref(key); /* the registry still has it */
    return key;
}

/* ---- keys ---- */

static void a_key_is_made_in_hsm_store_and_registry(void **state)
{
    (void)state;
    for (int spec = BW_SPEC_AES_128; spec <= BW_SPEC_HMAC_512; spec++) {
        if (spec == BW_SPEC_RSA_3072 || spec == BW_SPEC_RSA_4096)
            continue; /* seconds each, and nothing new */
        assert_int_equal(create_key(spec, NULL).code, BW_OK);
        assert_int_equal(key_in_reply()->spec, spec);
        assert_int_equal(key_in_reply()->primary_version, 1);
        assert_int_equal(key_in_reply()->versions[0]->public_key.len > 0, bw_spec_is_pair(bw_spec_row((enum bw_spec)spec)));
    }
    int made = material();
    assert_int_equal(made, 11);
    assert_int_equal(open_intents(), 0);
    restart();
    assert_int_equal(material(), made);
    assert_non_null(stands());
}

static void a_retry_makes_no_second_key(void **state)
{
    char first[sizeof key_name];

    (void)state;
    assert_int_equal(create_key_as(CUSTODIAN, BW_SPEC_AES_256, "a", NULL, 9).code, BW_OK);
    memcpy(first, key_name, sizeof first);
    assert_int_equal(create_key_as(CUSTODIAN, BW_SPEC_AES_256, "a", NULL, 9).code, BW_OK);
    assert_string_equal(key_name, first);
    assert_int_equal(material(), 1);
    assert_int_equal(create_key_as(CUSTODIAN, BW_SPEC_AES_256, "b", NULL, 9).code, BW_REQUEST_REUSED);
}

static void a_taken_alias_makes_no_key(void **state)
{
    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, "orders").code, BW_OK);
    assert_int_equal(create_key(BW_SPEC_AES_256, "orders").code, BW_ALREADY_EXISTS);
    assert_int_equal(material(), 1);
    assert_int_equal(open_intents(), 0);
}

/* The registry does not know of the alias, so only the store refuses, after the HSM has made the key. */
static void a_key_that_the_store_refuses_leaves_nothing_in_the_hsm(void **state)
{
    const char *aliases[] = { "orders" };
    struct bw_key draft;

    (void)state;
    draft_key(&draft, "acme", 1);
    draft.aliases = aliases, draft.alias_count = 1;
    assert_int_equal(bw_store_put_key(region.daemon.store, &draft, NULL).code, BW_OK);
    assert_int_equal(create_key(BW_SPEC_AES_256, "orders").code, BW_ALREADY_EXISTS);
    assert_int_equal(material(), 0);
    assert_int_equal(open_intents(), 0);
}

static void rotation_adds_a_version_and_keeps_the_old_for_decryption(void **state)
{
    (void)state;
    assert_int_equal(create_key(BW_SPEC_EC_P256, NULL).code, BW_OK);
    assert_int_equal(rotate_key().code, BW_OK);
    assert_int_equal(key_in_reply()->primary_version, 2);
    assert_int_equal(key_in_reply()->versions[0]->state, BW_VERSION_DECRYPT_ONLY);
    assert_int_equal(material(), 2);
    assert_int_equal(disable_key().code, BW_OK);
    assert_int_equal(rotate_key().code, BW_KEY_DISABLED);
    assert_int_equal(material(), 2);
}

static void a_disabled_key_is_superseded_and_can_be_enabled(void **state)
{
    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    const struct bw_key *before = stands();
    bw_key_ref(before);
    assert_int_equal(disable_key().code, BW_OK);
    assert_true(atomic_load(&before->superseded));
    bw_key_unref(before);
    assert_int_equal(stands()->state, BW_STATE_DISABLED);
    assert_int_equal(enable_key().code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    assert_int_equal(disable_key_as(STRANGER).code, BW_NO_SUCH_TENANT);
    assert_int_equal(disable_key_as(APP).code, BW_NOT_PERMITTED);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
}

static void a_deletion_waits_is_never_brought_forward_and_can_be_cancelled(void **state)
{
    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    assert_int_equal(schedule_deletion_as(CUSTODIAN, 6).code, BW_BAD_ARGUMENT);
    assert_int_equal(schedule_deletion_as(CUSTODIAN, 91).code, BW_BAD_ARGUMENT);
    assert_int_equal(schedule_deletion_as(CUSTODIAN, 0).code, BW_OK);
    int64_t left = stands()->deletion_us - bw_now_us();
    assert_true(left > 29 * BW_DAY_US && left <= 30 * BW_DAY_US);
    assert_int_equal(schedule_deletion_as(CUSTODIAN, 8).code, BW_KEY_STATE);
    assert_int_equal(schedule_deletion_as(CUSTODIAN, 60).code, BW_OK);
    assert_int_equal(enable_key().code, BW_KEY_STATE);
    assert_int_equal(cancel_deletion().code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_DISABLED);
    assert_int_equal(stands()->deletion_us, 0);
}

static bw_result update_key(const char *field, const char *label, const char *alias, int use, uint64_t generation)
{
    char *fields[] = { (char *)(uintptr_t)field }, *aliases[] = { (char *)(uintptr_t)alias };
    Bailiwick__V1__KeyUse uses[] = { (Bailiwick__V1__KeyUse)use };
    INIT(update_key, UpdateKey);
    message.name = key_name;
    message.fields = fields,   message.n_fields  = 1;
    message.label = (char *)(uintptr_t)label;
    message.aliases = aliases, message.n_aliases = alias ? 1 : 0;
    message.uses = uses,       message.n_uses    = use ? 1 : 0;
    message.generation = generation;
    return ask_with(CUSTODIAN, BW_METHOD_NR(UpdateKey), &message, key_name, 0, bw_op_update_key);
}

static const struct { const char *why, *field, *label, *alias; int use; uint64_t generation; enum bw_code code; } updates[] = {
    { "a label",                        "label",   "new", NULL,     0,               0, BW_OK },
    { "a label of another generation",  "label",   "x",   NULL,     0,               1, BW_CONFLICT },
    { "a label of this generation",     "label",   "y",   NULL,     0,               2, BW_OK },
    { "an alias",                       "aliases", "",    "orders", 0,               0, BW_OK },
    { "narrower uses",                  "uses",    "",    NULL,     BW_USE_ENCRYPT,  0, BW_OK },
    { "uses that it lost",              "uses",    "",    NULL,     BW_USE_DECRYPT,  0, BW_TEMPLATE_INVALID },
    { "a field that cannot be set",     "spec",    "",    NULL,     0,               0, BW_BAD_ARGUMENT },
};

static void an_update_sets_what_it_names(void **state)
{
    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        bw_result result = update_key(updates[i].field, updates[i].label, updates[i].alias, updates[i].use, updates[i].generation);
        if (result.code != updates[i].code)
            fail_msg("%s: %d %s", updates[i].why, result.code, result.what ? result.what : "");
    }
    assert_string_equal(stands()->label, "y");
    assert_string_equal(stands()->aliases[0], "orders");
    assert_int_equal(stands()->uses, BW_USE_ENCRYPT);
    restart();
    assert_string_equal(stands()->label, "y");
}

static void a_policy_that_does_not_compile_changes_nothing(void **state)
{
    INIT(set_key_policy, SetKeyPolicy);

    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    message.name   = key_name;
    message.policy = (char *)(uintptr_t)"{\"rules\": [{\"nam\": 1}]}";
    assert_int_equal(ask_with(CUSTODIAN, BW_METHOD_NR(SetKeyPolicy), &message, key_name, 0, bw_op_set_key_policy).code, BW_BAD_ARGUMENT);
    assert_int_equal(stands()->generation, 1);
    message.policy = (char *)(uintptr_t)"{\"rules\": [{\"name\": \"one\", \"principals\": [\"app/batch\"]}]}";
    assert_int_equal(ask_with(CUSTODIAN, BW_METHOD_NR(SetKeyPolicy), &message, key_name, 0, bw_op_set_key_policy).code, BW_OK);
    assert_string_equal(stands()->policy_text, message.policy);
}

static Bailiwick__V1__ListKeysReply *list(const char *caller, uint32_t size, const char *token, bool usable)
{
    Bailiwick__V1__Page page = BAILIWICK__V1__PAGE__INIT;
    INIT(list_keys, ListKeys);
    page.size = size, page.token = (char *)(uintptr_t)token;
    message.page = &page, message.usable = usable;
    assert_int_equal(ask_with(caller, BW_METHOD_NR(ListKeys), &message, NULL, 0, bw_op_list_keys).code, BW_OK);
    return (void *)asked.job.reply.message;
}

static bw_result end_key(int64_t expires_us)
{
    char *fields[] = { (char *)(uintptr_t)"expires_us" };
    INIT(update_key, UpdateKey);
    message.fields = fields, message.n_fields = ARRAY_LEN(fields), message.expires_us = expires_us;
    message.name = key_name;
    return ask_with(CUSTODIAN, BW_METHOD_NR(UpdateKey), &message, key_name, 0, bw_op_update_key);
}

static void lists_come_in_pages_and_show_what_the_caller_may_see(void **state)
{
    char token[64] = "";
    size_t seen = 0;

    (void)state;
    for (int i = 0; i < 7; i++)
        assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    assert_int_equal(disable_key().code, BW_OK);
    uint64_t generation = list(CUSTODIAN, 3, "", false)->generation;
    do {
        Bailiwick__V1__ListKeysReply *reply = list(CUSTODIAN, 3, token, false);
        assert_true(reply->n_keys == 3 || reply->next_token[0] == '\0');
        assert_int_equal(reply->generation, generation);
        seen += reply->n_keys;
        (void)snprintf(token, sizeof token, "%s", reply->next_token);
    } while (token[0] != '\0');
    assert_int_equal(seen, 7);
    assert_int_equal(list(CUSTODIAN, 7, "", false)->next_token[0], '\0');
    assert_int_equal(list(APP, 0, "", true)->n_keys, 6);
    assert_int_equal(list(APP, 0, "", false)->n_keys, 7);
    assert_int_equal(enable_key().code, BW_OK);
    assert_true(list(APP, 0, "", true)->generation > generation);
    assert_int_equal(end_key(1).code, BW_OK); /* long ago */
    assert_int_equal(list(APP, 0, "", true)->n_keys, 6);
    assert_int_equal(list(APP, 0, "", false)->n_keys, 7);
    assert_int_equal(end_key(bw_now_us() + BW_DAY_US).code, BW_OK);
    assert_int_equal(list(APP, 0, "", true)->n_keys, 7);
}

static void applications_keep_keys_of_their_own_where_the_tenant_says_so(void **state)
{
    (void)state;
    assert_int_equal(create_key_as(APP, BW_SPEC_EC_P256, "mine", NULL, 0).code, BW_NOT_PERMITTED);
    assert_int_equal(set_tenant_policy("{\"apps_own_keys\": 1}").code, BW_BAD_ARGUMENT);
    assert_int_equal(set_tenant_policy("{\"apps_own_keys\": true}").code, BW_OK);
    assert_int_equal(create_key_as(APP, BW_SPEC_EC_P256, "mine", NULL, 0).code, BW_OK);
    assert_string_equal(stands()->owner, APP);
    assert_int_equal(list(APP, 0, "", true)->n_keys, 1);
    assert_int_equal(list(OTHER_APP, 0, "", false)->n_keys, 0);
    assert_int_equal(schedule_deletion_as(OTHER_APP, 7).code, BW_NOT_PERMITTED);
    assert_int_equal(schedule_deletion_as(APP, 7).code, BW_OK);
}

/* ---- tenants ---- */

static void a_tenant_has_a_token_a_pin_file_and_a_log(void **state)
{
    char path[128];
    struct stat st;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/tenant-acme.pin", region.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(create_tenant("acme", BW_OPERATOR_HELD, "").code, BW_ALREADY_EXISTS);
    assert_int_equal(create_tenant("umbra", BW_OPERATOR_HELD, "pin-from-nowhere").code, BW_BAD_ARGUMENT);
    assert_int_equal(create_tenant("umbra", BW_CUSTOMER_HELD, "short").code, BW_BAD_ARGUMENT);
    assert_int_equal(open_intents(), 0);
}

#define CUSTOMER "spiffe://ex.org/region/eu-central/tenant/held/custodian/ann"

static void a_customer_held_tenant_works_only_while_its_custodian_says_so(void **state)
{
    char path[128];

    (void)state;
    assert_int_equal(create_tenant("held", BW_CUSTOMER_HELD, "customers-pin").code, BW_OK);
    (void)snprintf(path, sizeof path, "%s/tenant-held.pin", region.dir);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(create_key_as(CUSTOMER, BW_SPEC_AES_256, "", NULL, 0).code, BW_OK);

    restart();
    assert_null(token_of("held"));
    assert_int_equal(create_key_as(CUSTOMER, BW_SPEC_AES_256, "", NULL, 0).code, BW_TENANT_SEALED);
    assert_int_equal(activate_tenant(OPERATOR, "held", "customers-pin").code, BW_NOT_PERMITTED);
    assert_int_equal(activate_tenant(CUSTOMER, "", "another-pin").code, BW_PIN_INCORRECT);
    assert_int_equal(activate_tenant(CUSTOMER, "", "customers-pin").code, BW_OK);
    assert_int_equal(create_key_as(CUSTOMER, BW_SPEC_AES_256, "", NULL, 0).code, BW_OK);

    assert_int_equal(seal_tenant(CUSTOMER, "").code, BW_OK);
    assert_int_equal(create_key_as(CUSTOMER, BW_SPEC_AES_256, "", NULL, 0).code, BW_TENANT_SEALED);
    assert_int_equal(activate_tenant(CUSTOMER, "", "customers-pin").code, BW_OK);
    assert_int_equal(create_key_as(CUSTOMER, BW_SPEC_AES_256, "", NULL, 0).code, BW_OK);
}

static void an_operator_held_tenant_stays_sealed_over_a_restart(void **state)
{
    (void)state;
    assert_int_equal(seal_tenant(OPERATOR, "acme").code, BW_OK);
    restart();
    assert_null(token_of("acme"));
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_TENANT_SEALED);
    assert_int_equal(seal_tenant(STRANGER, "acme").code, BW_NO_SUCH_TENANT);
    assert_int_equal(activate_tenant(CUSTODIAN, "", "").code, BW_OK);
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
}

static bw_result revoke_principal(const char *caller, const char *principal)
{
    INIT(revoke_principal, RevokePrincipal);
    message.principal = (char *)(uintptr_t)principal;
    return ask_with(caller, BW_METHOD_NR(RevokePrincipal), &message, NULL, 0, bw_op_revoke_principal);
}

static void custodians_revoke_their_own_tenants_principals_only(void **state)
{
    (void)state;
    assert_int_equal(revoke_principal(CUSTODIAN, STRANGER).code, BW_NOT_PERMITTED);
    assert_int_equal(revoke_principal(CUSTODIAN, OPERATOR).code, BW_NOT_PERMITTED);
    assert_int_equal(revoke_principal(CUSTODIAN, APP).code, BW_OK);
    assert_int_equal(revoke_principal(OPERATOR, STRANGER).code, BW_OK);
    assert_true(bw_registry_is_revoked(region.daemon.registry, APP));
    restart();
    assert_true(bw_registry_is_revoked(region.daemon.registry, STRANGER));

    INIT(list_revoked, ListRevoked);
    assert_int_equal(ask_with(CUSTODIAN, BW_METHOD_NR(ListRevoked), &message, NULL, 0, bw_op_list_revoked).code, BW_OK);
    Bailiwick__V1__ListRevokedReply *reply = (void *)asked.job.reply.message;
    assert_int_equal(reply->n_revoked, 1);
    assert_string_equal(reply->revoked[0]->principal, APP);
}

/* ---- objects ---- */

static bw_result put_object(const char *caller, const char *label, bw_bytes id)
{
    Bailiwick__V1__Object object = BAILIWICK__V1__OBJECT__INIT;
    INIT(put_object, PutObject);
    object.label = (char *)(uintptr_t)label;
    object.value = bw_wire_data(bw_bytes_text("DER"));
    object.id    = bw_wire_data(id);
    message.object = &object;
    return ask_with(caller, BW_METHOD_NR(PutObject), &message, NULL, 0, bw_op_put_object);
}

static bw_result delete_object(const char *caller, bw_bytes id)
{
    INIT(delete_object, DeleteObject);
    message.id = bw_wire_data(id);
    return ask_with(caller, BW_METHOD_NR(DeleteObject), &message, NULL, 0, bw_op_delete_object);
}

static size_t objects(void)
{
    INIT(list_objects, ListObjects);
    assert_int_equal(ask_with(CUSTODIAN, BW_METHOD_NR(ListObjects), &message, NULL, 0, bw_op_list_objects).code, BW_OK);
    return ((Bailiwick__V1__ListObjectsReply *)(void *)asked.job.reply.message)->n_objects;
}

static void an_application_touches_its_own_objects_only(void **state)
{
    uint8_t id[16];

    (void)state;
    assert_int_equal(put_object(APP, "cert", (bw_bytes){ NULL, 0 }).code, BW_NOT_PERMITTED);
    assert_int_equal(set_tenant_policy("{\"apps_own_keys\": true}").code, BW_OK);
    assert_int_equal(put_object(APP, "cert", (bw_bytes){ NULL, 0 }).code, BW_OK);
    Bailiwick__V1__Object *made = ((Bailiwick__V1__PutObjectReply *)(void *)asked.job.reply.message)->object;
    assert_string_equal(made->owner, APP);
    memcpy(id, made->id.data, sizeof id);
    assert_int_equal(put_object(OTHER_APP, "x", (bw_bytes){ id, 16 }).code, BW_NOT_PERMITTED);
    assert_int_equal(delete_object(OTHER_APP, (bw_bytes){ id, 16 }).code, BW_NOT_PERMITTED);
    assert_int_equal(put_object(APP, "new label", (bw_bytes){ id, 16 }).code, BW_OK);
    assert_int_equal(((Bailiwick__V1__PutObjectReply *)(void *)asked.job.reply.message)->object->generation, 2);
    assert_int_equal(objects(), 1);
    assert_int_equal(delete_object(APP, (bw_bytes){ id, 16 }).code, BW_OK);
    assert_int_equal(delete_object(APP, (bw_bytes){ id, 16 }).code, BW_NO_SUCH_OBJECT);
    assert_int_equal(objects(), 0);
}

/* What a caller says of the certificate with that serial number; the object's id, if it was kept, goes to ret_id. */
static enum bw_code trust(const char *caller, bw_bytes id, const char *serial, int server_auth, uint8_t ret_id[static 16])
{
    Bailiwick__V1__Trust  says   = BAILIWICK__V1__TRUST__INIT;
    Bailiwick__V1__Object object = BAILIWICK__V1__OBJECT__INIT;
    INIT(put_object, PutObject);
    says.issuer      = bw_wire_data(bw_bytes_text("CN=a CA"));
    says.serial      = bw_wire_data(bw_bytes_text(serial));
    says.server_auth = (Bailiwick__V1__TrustLevel)server_auth;
    object.class_    = BAILIWICK__V1__OBJECT_CLASS__TRUST;
    object.trust     = &says;
    object.id        = bw_wire_data(id);
    message.object   = &object;
    bw_result result = ask_with(caller, BW_METHOD_NR(PutObject), &message, NULL, 0, bw_op_put_object);
    if (bw_ok(result))
        memcpy(ret_id, ((Bailiwick__V1__PutObjectReply *)(void *)asked.job.reply.message)->object->id.data, 16);
    return result.code;
}

/* What the caller is shown: nothing (-1), or the one level. */
static int shown_to(const char *caller)
{
    INIT(list_objects, ListObjects);
    assert_int_equal(ask_with(caller, BW_METHOD_NR(ListObjects), &message, NULL, 0, bw_op_list_objects).code, BW_OK);
    const Bailiwick__V1__ListObjectsReply *reply = (void *)asked.job.reply.message;
    assert_true(reply->n_objects <= 1);
    return reply->n_objects == 0 ? -1 : (int)reply->objects[0]->trust->server_auth;
}

enum { TRUSTED = BAILIWICK__V1__TRUST_LEVEL__TRUSTED, DISTRUSTED = BAILIWICK__V1__TRUST_LEVEL__NOT_TRUSTED };

static void trust_is_of_one_certificate(void **state)
{
    uint8_t id[16], again[16];
    const bw_bytes new = { NULL, 0 };

    (void)state;
    assert_int_equal(trust(CUSTODIAN, new, "7", TRUSTED, id), BW_OK);
    assert_int_equal(trust(CUSTODIAN, new, "7", DISTRUSTED, again), BW_OK);
    assert_memory_equal(id, again, sizeof id);
    assert_int_equal(shown_to(CUSTODIAN), DISTRUSTED);
    assert_int_equal(trust(CUSTODIAN, bw_bytes_of(id, 16), "7", TRUSTED, again), BW_OK);
    assert_int_equal(shown_to(CUSTODIAN), TRUSTED);
    assert_int_equal(trust(CUSTODIAN, bw_bytes_of(id, 16), "8", TRUSTED, again), BW_TEMPLATE_INVALID);
    restart();
    assert_int_equal(shown_to(APP), TRUSTED);
    assert_int_equal(delete_object(CUSTODIAN, bw_bytes_of(id, 16)).code, BW_OK);
    assert_int_equal(shown_to(CUSTODIAN), -1);
}

static void an_application_is_trusted_by_itself_until_a_custodian_speaks(void **state)
{
    uint8_t own[16], custodians[16];
    const bw_bytes new = { NULL, 0 };

    (void)state;
    assert_int_equal(trust(APP, new, "7", TRUSTED, own), BW_NOT_PERMITTED);
    assert_int_equal(set_tenant_policy("{\"apps_own_keys\": true}").code, BW_OK);
    assert_int_equal(trust(APP, new, "7", TRUSTED, own), BW_OK);
    assert_int_equal(shown_to(APP), TRUSTED);
    assert_int_equal(shown_to(OTHER_APP), -1);
    assert_int_equal(trust(OTHER_APP, bw_bytes_of(own, 16), "7", DISTRUSTED, own), BW_NOT_PERMITTED);
    assert_int_equal(trust(CUSTODIAN, new, "7", DISTRUSTED, custodians), BW_OK);
    assert_memory_not_equal(own, custodians, 16);
    assert_int_equal(shown_to(APP), DISTRUSTED);
    assert_int_equal(shown_to(OTHER_APP), DISTRUSTED);
    assert_int_equal(objects(), 2); /* a custodian sees who says what */
    assert_int_equal(trust(APP, new, "7", TRUSTED, own), BW_NOT_PERMITTED);
    assert_int_equal(delete_object(APP, bw_bytes_of(custodians, 16)).code, BW_NOT_PERMITTED);
    assert_int_equal(delete_object(CUSTODIAN, bw_bytes_of(custodians, 16)).code, BW_OK);
    assert_int_equal(shown_to(APP), TRUSTED);
}

/* More of other applications' than the store hands out at once: the list goes on behind them. */
static void what_is_not_shown_does_not_end_the_list(void **state)
{
    uint8_t id[16];
    char serial[8];

    (void)state;
    assert_int_equal(set_tenant_policy("{\"apps_own_keys\": true}").code, BW_OK);
    for (int i = 0; i < 30; i++) {
        (void)snprintf(serial, sizeof serial, "%d", i);
        assert_int_equal(trust(OTHER_APP, (bw_bytes){ NULL, 0 }, serial, TRUSTED, id), BW_OK);
    }
    assert_int_equal(shown_to(APP), -1);
    assert_int_equal(trust(APP, (bw_bytes){ NULL, 0 }, "7", DISTRUSTED, id), BW_OK);
    assert_int_equal(shown_to(APP), DISTRUSTED);
}

/* ---- crashes ---- */

static bw_result create_and_crash(int spec, uint8_t request_id)
{
    INIT(create_key, CreateKey);
    message.spec = (Bailiwick__V1__KeySpec)spec;
    asked_clear(&asked);
    bw_result result = region_ask_and_crash(&region, &(struct asking){ .caller = CUSTODIAN, .method = BW_METHOD_NR(CreateKey), .message = &message.base, .request_id = request_id },
                                            bw_op_create_key, &asked);
    if (bw_ok(result))
        (void)snprintf(key_name, sizeof key_name, "%s", key_in_reply()->name);
    return result;
}

static void a_crash_before_the_answer_leaves_a_whole_key_that_a_retry_finds(void **state)
{
    (void)state;
    assert_int_equal(create_and_crash(BW_SPEC_AES_256, 5).code, BW_OK);
    assert_int_equal(open_intents(), 1);
    asked_clear(&asked);
    restart();
    assert_int_equal(open_intents(), 0);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    assert_int_equal(material(), 1);
    assert_int_equal(create_key_as(CUSTODIAN, BW_SPEC_AES_256, "", NULL, 5).code, BW_OK);
    assert_int_equal(material(), 1);
}

/* The region is restarted next. */
static void change_store(const char *sql)
{
    char command[512];

    bw_store_close(region.daemon.store);
    region.daemon.store = NULL;
    (void)snprintf(command, sizeof command, "sqlite3 %s/store.db '%s'", region.dir, sql);
    assert_int_equal(system(command), 0);
}

static void forget_answers(void) { change_store("DELETE FROM request"); }

static void material_without_a_key_is_destroyed(void **state)
{
    (void)state;
    /* what a crash between HSM and store would have left: the store's part is taken away below the triggers */
    assert_int_equal(create_and_crash(BW_SPEC_AES_256, 6).code, BW_OK);
    asked_clear(&asked);
    change_store("DROP TRIGGER key_stays; DROP TRIGGER version_stays; DELETE FROM key_version; DELETE FROM key");
    restart();
    assert_int_equal(open_intents(), 0);
    assert_null(stands());
    assert_int_equal(material(), 0);
}

static void a_version_without_material_gives_way_to_the_one_before(void **state)
{
    INIT(rotate_key, RotateKey);

    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    message.name = key_name;
    asked_clear(&asked);
    assert_int_equal(region_ask_and_crash(&region, &(struct asking){ .caller = CUSTODIAN, .method = BW_METHOD_NR(RotateKey), .message = &message.base, .key = key_name, .request_id = 0 },
                                          bw_op_rotate_key, &asked).code, BW_OK);
    asked_clear(&asked);
    assert_int_equal(bw_key_primary(stands())->number, 2);
    assert_int_equal(bw_hsm_destroy(token_of("acme"), &stands()->name.id, 2).code, BW_OK);
    restart();
    assert_int_equal(open_intents(), 0);
    assert_int_equal(bw_key_primary(stands())->number, 1);
    assert_int_equal(rotate_key().code, BW_OK);
    assert_int_equal(bw_key_primary(stands())->number, 3);
}

/* The HSM has made the version, and the daemon died before the store was told. */
static void a_version_that_the_store_does_not_know_is_destroyed(void **state)
{
    struct bw_record intent = { .operation = BW_METHOD_NR(RotateKey), .outcome = BW_OUTCOME_INTENT, .has_key = true, .principal = CUSTODIAN };
    struct bw_arena arena = { 0 };
    struct bw_key_version version;
    uint64_t index;

    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    intent.key            = stands()->name.id;
    intent.policy_version = stands()->generation;
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &stands()->name.tenant, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    assert_int_equal(bw_make_version(token_of("acme"), stands()->spec, &stands()->name, 2, &arena, &version).code, BW_OK);
    bw_arena_clear(&arena);
    assert_int_equal(material(), 2);
    restart();
    assert_int_equal(open_intents(), 0);
    assert_int_equal(material(), 1);
    assert_int_equal(bw_key_primary(stands())->number, 1);
    assert_int_equal(rotate_key().code, BW_OK);
    assert_int_equal(bw_key_primary(stands())->number, 2);
}

static void a_rotation_whose_answer_was_lost_is_not_done_again(void **state)
{
    INIT(rotate_key, RotateKey);
    const struct asking asking = { .caller = CUSTODIAN, .method = BW_METHOD_NR(RotateKey), .message = &message.base, .key = key_name, .request_id = 7 };

    (void)state;
    assert_int_equal(create_key(BW_SPEC_AES_256, NULL).code, BW_OK);
    message.name = key_name;
    asked_clear(&asked);
    assert_int_equal(region_ask_and_crash(&region, &asking, bw_op_rotate_key, &asked).code, BW_OK);
    asked_clear(&asked);
    forget_answers(); /* the daemon died between the change and the answer that it keeps */
    restart();
    assert_int_equal(region_ask(&region, &asking, bw_op_rotate_key, &asked).code, BW_OK);
    assert_int_equal(key_in_reply()->primary_version, 2);
    assert_int_equal(material(), 2);
    assert_int_equal(rotate_key().code, BW_OK); /* another request rotates */
    assert_int_equal(key_in_reply()->primary_version, 3);
}

static void a_half_made_tenant_is_finished_by_the_same_request(void **state)
{
    char label[33], serial[17], path[128];
    FILE *file;

    (void)state;
    /* the PIN file and the token are there, the row is not */
    (void)snprintf(path, sizeof path, "%s/tenant-umbra.pin", region.dir);
    assert_non_null(file = fopen(path, "w"));
    (void)fputs("the-pin-of-before\n", file);
    (void)fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    bw_token_label(&region.daemon.region, &(bw_tenant){ "umbra" }, label);
    assert_int_equal(bw_token_create(region.daemon.hsm, label, bw_bytes_text("security-officer"), bw_bytes_text("the-pin-of-before"), serial).code, BW_OK);
    assert_int_equal(create_tenant("umbra", BW_OPERATOR_HELD, "").code, BW_OK);
    assert_non_null(token_of("umbra"));
    restart();
    assert_non_null(token_of("umbra"));
}

#define REGION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGION_TEST(a_key_is_made_in_hsm_store_and_registry),
        REGION_TEST(a_retry_makes_no_second_key),
        REGION_TEST(a_taken_alias_makes_no_key),
        REGION_TEST(a_key_that_the_store_refuses_leaves_nothing_in_the_hsm),
        REGION_TEST(rotation_adds_a_version_and_keeps_the_old_for_decryption),
        REGION_TEST(a_disabled_key_is_superseded_and_can_be_enabled),
        REGION_TEST(a_deletion_waits_is_never_brought_forward_and_can_be_cancelled),
        REGION_TEST(an_update_sets_what_it_names),
        REGION_TEST(a_policy_that_does_not_compile_changes_nothing),
        REGION_TEST(lists_come_in_pages_and_show_what_the_caller_may_see),
        REGION_TEST(applications_keep_keys_of_their_own_where_the_tenant_says_so),
        REGION_TEST(a_tenant_has_a_token_a_pin_file_and_a_log),
        REGION_TEST(a_customer_held_tenant_works_only_while_its_custodian_says_so),
        REGION_TEST(an_operator_held_tenant_stays_sealed_over_a_restart),
        REGION_TEST(custodians_revoke_their_own_tenants_principals_only),
        REGION_TEST(an_application_touches_its_own_objects_only),
        REGION_TEST(trust_is_of_one_certificate),
        REGION_TEST(an_application_is_trusted_by_itself_until_a_custodian_speaks),
        REGION_TEST(what_is_not_shown_does_not_end_the_list),
        REGION_TEST(a_crash_before_the_answer_leaves_a_whole_key_that_a_retry_finds),
        REGION_TEST(material_without_a_key_is_destroyed),
        REGION_TEST(a_version_without_material_gives_way_to_the_one_before),
        REGION_TEST(a_version_that_the_store_does_not_know_is_destroyed),
        REGION_TEST(a_rotation_whose_answer_was_lost_is_not_done_again),
        REGION_TEST(a_half_made_tenant_is_finished_by_the_same_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
