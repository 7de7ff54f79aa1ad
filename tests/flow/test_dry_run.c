/* TestKeyPolicy: another policy is put to what a key was used for, as the log has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)
#define REPLY(Method) const Bailiwick__V1__##Method##Reply *
#define RULE(members) "{\"rules\": [{\"name\": \"r\"" members "}]}"

/* The key's policy while it was used: everything, from home and from ch, ECB too, and values let out. */
static const char open_policy[] =
    "{\"rules\": [{\"name\": \"all\", \"regions\": [\"eu-central\", \"ch\"], \"release\": true},"
    " {\"name\": \"ecb\", \"mechanisms\": [\"CKM_AES_ECB\"]}]}";

static struct live       live;
static struct bw_arena   lasting;
static struct bw_client *operator, *custodian, *auditor, *web, *abroad, *guest;
static const char       *key, *busy_key;

/* ---- what the key was used for ---- */

static Bailiwick__V1__KeyRef *ref(const char *name)
{
    Bailiwick__V1__KeyRef *r = bw_arena_alloc(&lasting, sizeof *r);
    bailiwick__v1__key_ref__init(r);
    r->name = TEXT(name);
    return r;
}

static Bailiwick__V1__Mechanism *with(unsigned long type)
{
    Bailiwick__V1__Mechanism *m = bw_arena_alloc(&lasting, sizeof *m);
    bailiwick__v1__mechanism__init(m);
    m->type     = (Bailiwick__V1__MechanismType)type;
    m->tag_bits = type == CKM_AES_GCM ? 128 : 0;
    return m;
}

static void encrypt(struct bw_client *by, Bailiwick__V1__KeyRef *what, unsigned long mechanism, const char *purpose)
{
    NEW(encrypt, Encrypt, request);
    request.key       = what;
    request.mechanism = with(mechanism);
    request.plaintext = bw_wire_data(bw_bytes_text("sixteen bytes .."));
    request.purpose   = TEXT(purpose);
    (void)live_must(by, BW_METHOD_NR(Encrypt), &request.base, &lasting);
}

static void wrap(struct bw_client *by, const char *name, const char *value)
{
    Bailiwick__V1__Pair pair = BAILIWICK__V1__PAIR__INIT, *pairs[] = { &pair };
    NEW(wrap, Wrap, request);

    pair.name  = TEXT(name);
    pair.value = TEXT(value);
    request.key       = ref(key);
    request.context   = pairs;
    request.n_context = 1;
    (void)live_must(by, BW_METHOD_NR(Wrap), &request.base, &lasting);
}

static Bailiwick__V1__KeyRef *unwrapped(struct bw_client *by)
{
    Bailiwick__V1__SessionKeyTemplate template = BAILIWICK__V1__SESSION_KEY_TEMPLATE__INIT;
    static Bailiwick__V1__KeyUse encrypting[] = { BAILIWICK__V1__KEY_USE__ENCRYPT };
    NEW(wrap_key, WrapKey, wrapping);
    NEW(unwrap_key, UnwrapKey, request);

    wrapping.key       = ref(key);
    wrapping.mechanism = with(CKM_AES_KEY_WRAP_PAD);
    wrapping.value     = bw_wire_data(bw_bytes_text("sixteen bytes .."));
    REPLY(WrapKey) wrapped = (const void *)live_must(by, BW_METHOD_NR(WrapKey), &wrapping.base, &lasting);
    template.key_type    = CKK_AES;
    template.extractable = true;
    template.release     = true;
    template.uses        = encrypting;
    template.n_uses      = 1;
    request.key       = ref(key);
    request.mechanism = with(CKM_AES_KEY_WRAP_PAD);
    request.wrapped   = wrapped->wrapped;
    request.template_ = &template;
    REPLY(UnwrapKey) reply = (const void *)live_must(by, BW_METHOD_NR(UnwrapKey), &request.base, &lasting);
    Bailiwick__V1__KeyRef *sealed = ref("");
    sealed->sealed = reply->key->sealed;
    return sealed;
}

static void refused_use(void)
{
    NEW(sign, Sign, request);
    enum bw_code code;

    request.key       = ref(key);
    request.mechanism = with(CKM_AES_CMAC);
    request.key->name = TEXT(busy_key); /* which does not sign */
    (void)live_call(web, BW_METHOD_NR(Sign), &request.base, &lasting, &code);
    assert_int_equal(code, BW_NOT_PERMITTED);
}

static void use_key(void)
{
    NEW(create_grant, CreateGrant, grant);

    encrypt(web, ref(key), CKM_AES_GCM, "");
    encrypt(web, ref(key), CKM_AES_GCM, "billing");
    encrypt(web, ref(key), CKM_AES_ECB, "");
    encrypt(abroad, ref(key), CKM_AES_GCM, "");
    wrap(web, "table", "orders");
    Bailiwick__V1__KeyRef *session = unwrapped(web);
    encrypt(web, session, CKM_AES_GCM, "");

    /* the policy was no longer about guest, a grant was */
    NEW(set_key_policy, SetKeyPolicy, narrow);
    narrow.name   = TEXT(key);
    narrow.policy = TEXT(RULE(", \"principals\": [\"app/web\"]"));
    (void)live_must(custodian, BW_METHOD_NR(SetKeyPolicy), &narrow.base, &lasting);
    grant.name       = TEXT(key);
    grant.terms      = TEXT("{\"principals\": [\"app/guest\"]}");
    grant.expires_us = ((int64_t)time(NULL) + 3600) * 1000000;
    (void)live_must(custodian, BW_METHOD_NR(CreateGrant), &grant.base, &lasting);
    encrypt(guest, ref(key), CKM_AES_GCM, "");
}

/* ---- what other policies would have said ---- */

/* Uses, by letter: g GCM, b GCM for billing, e ECB, a from abroad, c Wrap with a context, w WrapKey, u UnwrapKey that let a
 * value out, s a session key, t through a grant. They stand in the log in this order. */
static const char uses[] = "gbeacwust";

/* What happens to each: + allowed, - refused, ? depends. */
static const struct { const char *why; const char *policy; const char *verdicts; } policies[] = {
    /*                                                                                                   gbeacwust */
    { "the policy that there was",             open_policy,                                             "+++++++++" },
    { "nobody",                                "{\"rules\": []}",                                       "--------+" },
    { "the default: no ECB, none from abroad, nothing let out", "{\"rules\": [{\"name\": \"d\"}]}",     "++--++-++" },
    { "another application",                   RULE(", \"principals\": [\"app/db\"]"),                  "--------+" },
    { "wrapping only",                         RULE(", \"operations\": [\"wrap\"]"),                    "----++-++" },
    { "billing only",                          RULE(", \"purposes\": [\"billing\"]"),                   "-+-----++" },
    { "envelopes only",                        RULE(", \"mechanisms\": [\"envelope\"]"),                "----+--++" },
    { "with a context of orders",              RULE(", \"context\": {\"table\": \"orders\"}"),          "----?--++" },
    { "with another context",                  RULE(", \"context\": {\"row\": \"1\"}"),                 "-------++" },
    { "orders with a context, else without envelopes",
      "{\"rules\": [{\"name\": \"a\", \"context\": {\"table\": \"orders\"}}, {\"name\": \"b\", \"mechanisms\": [\"CKM_AES_GCM\", \"CKM_AES_KEY_WRAP_PAD\"]}]}",
                                                                                                        "++--?+-++" },
    { "over before it began",                  RULE(", \"not_after\": \"2020-01-01T00:00:00Z\""),       "-------++" },
};

static REPLY(TestKeyPolicy) ask(struct bw_client *by, const char *name, const char *policy, uint64_t from_index, enum bw_code *ret_code)
{
    NEW(test_key_policy, TestKeyPolicy, request);
    request.name       = TEXT(name);
    request.policy     = TEXT(policy);
    request.from_index = from_index;
    return (const void *)live_call(by, BW_METHOD_NR(TestKeyPolicy), &request.base, &lasting, ret_code);
}

static void check_verdicts(const char *why, const char *verdicts, REPLY(TestKeyPolicy) reply)
{
    uint64_t allowed = 0, refused = 0, depends = 0;
    size_t   example = 0;

    for (size_t i = 0; i < reply->n_counts; i++) {
        allowed += reply->counts[i]->allowed;
        refused += reply->counts[i]->refused;
        depends += reply->counts[i]->depends;
    }
    for (size_t i = 0; i < strlen(uses); i++) {
        allowed -= verdicts[i] == '+';
        refused -= verdicts[i] == '-';
        depends -= verdicts[i] == '?';
        if (verdicts[i] == '+')
            continue;
        if (example == reply->n_examples)
            fail_msg("%s: %c was not refused", why, uses[i]);
        const Bailiwick__V1__PolicyExample *at = reply->examples[example++];
        if ((at->verdict == BAILIWICK__V1__VERDICT__DEPENDS) != (verdicts[i] == '?'))
            fail_msg("%s: %c at %s, index %u", why, uses[i], bw_code_row((enum bw_code)at->reason)->name, (unsigned)at->index);
    }
    if (allowed != 0 || refused != 0 || depends != 0 || example != reply->n_examples)
        fail_msg("%s: other counts", why);
}

static void each_use_gets_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        enum bw_code code;
        REPLY(TestKeyPolicy) reply = ask(i % 2 ? custodian : auditor, key, policies[i].policy, 0, &code);
        if (reply == NULL)
            fail_msg("%s: %s", policies[i].why, bw_code_row(code)->name);
        assert_int_equal(reply->records, strlen(uses));
        assert_false(reply->more);
        check_verdicts(policies[i].why, policies[i].verdicts, reply);
    }
}

static void an_example_says_why(void **state)
{
    enum bw_code code;

    (void)state;
    REPLY(TestKeyPolicy) reply = ask(auditor, key, RULE(""), 0, &code);
    assert_int_equal(reply->n_examples, 3);
    assert_int_equal(reply->examples[0]->reason, BW_MECHANISM_OFF);
    assert_int_equal(reply->examples[0]->mechanism, CKM_AES_ECB);
    assert_int_equal(reply->examples[1]->reason, BW_CALLER_REGION);
    assert_string_equal(reply->examples[1]->principal, LIVE_TRUST "ch/tenant/acme/app/web");
    assert_int_equal(reply->examples[2]->reason, BW_NOT_PERMITTED);
    assert_int_equal(reply->examples[2]->operation, BW_METHOD_NR(UnwrapKey));
    reply = ask(auditor, key, RULE(", \"context\": {\"table\": \"orders\"}, \"operations\": [\"wrap\"], \"mechanisms\": [\"envelope\"]"), 0, &code);
    for (size_t i = 0; i < reply->n_examples; i++)
        if (reply->examples[i]->verdict == BAILIWICK__V1__VERDICT__DEPENDS) {
            assert_string_equal(reply->examples[i]->context_names[0], "table");
            return;
        }
    fail_msg("no example depends");
}

static void what_does_not_compile_names_the_member(void **state)
{
    NEW(test_key_policy, TestKeyPolicy, request);
    struct bw_refusal refusal;
    ProtobufCMessage *reply;

    (void)state;
    request.name   = TEXT(key);
    request.policy = TEXT(RULE(", \"operations\": [\"decript\"]"));
    bw_result result = bw_call(auditor, bw_method_by_number(BW_METHOD_NR(TestKeyPolicy)), &request.base, &lasting, &reply, &refusal);
    assert_int_equal(result.code, BW_BAD_ARGUMENT);
    assert_string_equal(refusal.field, "policy.operations");
}

static void nothing_is_changed(void **state)
{
    NEW(get_key, GetKey, request);
    enum bw_code code;

    (void)state;
    request.name = TEXT(key);
    REPLY(GetKey) before = (const void *)live_must(auditor, BW_METHOD_NR(GetKey), &request.base, &lasting);
    (void)ask(auditor, key, "{\"rules\": []}", 0, &code);
    REPLY(GetKey) after = (const void *)live_must(auditor, BW_METHOD_NR(GetKey), &request.base, &lasting);
    assert_int_equal(before->key->generation, after->key->generation);
    assert_string_equal(before->key->policy, after->key->policy);
    encrypt(web, ref(key), CKM_AES_GCM, "");
}

/* More uses than one answer looks at. */
static void a_long_past_comes_in_several_answers(void **state)
{
    enum { BATCHES = 40 };
    static Bailiwick__V1__BatchOperation operation = BAILIWICK__V1__BATCH_OPERATION__INIT, *operations[BW_BATCH_MAX];
    NEW(batch, Batch, request);
    NEW(encrypt, Encrypt, one);
    uint64_t refused = 0, from = 0;
    unsigned answers = 0;
    enum bw_code code;

    (void)state;
    one.key       = ref(busy_key);
    one.mechanism = with(CKM_AES_GCM);
    operation.operation_case = BAILIWICK__V1__BATCH_OPERATION__OPERATION_ENCRYPT;
    operation.encrypt        = &one;
    for (size_t i = 0; i < BW_BATCH_MAX; i++)
        operations[i] = &operation;
    request.operations   = operations;
    request.n_operations = BW_BATCH_MAX;
    for (size_t i = 0; i < BATCHES; i++) {
        struct bw_arena arena = { 0 };
        (void)live_must(web, BW_METHOD_NR(Batch), &request.base, &arena);
        bw_arena_clear(&arena);
    }
    for (bool more = true; more; answers++) {
        REPLY(TestKeyPolicy) reply = ask(auditor, busy_key, "{\"rules\": []}", from, &code);
        assert_non_null(reply);
        assert_int_equal(reply->n_examples, 20);
        refused += reply->counts[0]->refused;
        more = reply->more;
        from = reply->next_index;
    }
    assert_int_equal(refused, BATCHES * BW_BATCH_MAX);
    assert_true(answers > 1);
}

/* ---- the region ---- */

static const char *make_key(const char *policy, bool encrypts_only)
{
    static Bailiwick__V1__KeyUse encrypt_only[] = { BAILIWICK__V1__KEY_USE__ENCRYPT };
    NEW(create_key, CreateKey, request);

    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.policy = TEXT(policy);
    request.uses   = encrypts_only ? encrypt_only : NULL;
    request.n_uses = encrypts_only ? 1 : 0;
    return ((REPLY(CreateKey))(const void *)live_must(custodian, BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

static int setup(void **state)
{
    NEW(create_tenant, CreateTenant, request);

    (void)state;
    live_make(&live);
    operator  = live_caller(&live, LIVE_TRUST LIVE_HOME "/operator/ops");
    custodian = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/custodian/ann");
    auditor   = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/auditor/al");
    web       = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/app/web");
    guest     = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/app/guest");
    abroad    = live_caller(&live, LIVE_TRUST "ch/tenant/acme/app/web");
    request.name       = TEXT("acme");
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(operator, BW_METHOD_NR(CreateTenant), &request.base, &lasting);
    key      = make_key(open_policy, false);
    busy_key = make_key("", true);
    use_key();
    refused_use();
    return 0;
}

static int teardown(void **state)
{
    struct bw_client *all[] = { operator, custodian, auditor, web, guest, abroad };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        bw_client_free(all[i]);
    bw_arena_clear(&lasting);
    live_remove(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_use_gets_its_verdict),
        cmocka_unit_test(an_example_says_why),
        cmocka_unit_test(what_does_not_compile_names_the_member),
        cmocka_unit_test(nothing_is_changed),
        cmocka_unit_test(a_long_past_comes_in_several_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
