/* Grants over the wire, by those who would have more: a grantee who grants on what it has not, to others, too deep, from what
 * was revoked, or by saying the same thing twice. The key's policy lets nobody, so that a grant is all there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)
#define REPLY(Method) const Bailiwick__V1__##Method##Reply *

static struct live     live;
static struct bw_arena lasting;

/* web is granted things and hands them on to job; eve would like to have some; umbra is another tenant. */
enum who { OPERATOR, ANN, AL, WEB, HUB, JOB, EVE, ABROAD, UMBRA_ANN, UMBRA_APP, EVERYBODY };
static const char *const ids[EVERYBODY] = {
    [OPERATOR]  = LIVE_HOME "/operator/ops",
    [ANN]       = LIVE_HOME "/tenant/acme/custodian/ann",
    [AL]        = LIVE_HOME "/tenant/acme/auditor/al",
    [WEB]       = LIVE_HOME "/tenant/acme/app/web",
    [HUB]       = LIVE_HOME "/tenant/acme/app/hub",
    [JOB]       = LIVE_HOME "/tenant/acme/app/job",
    [EVE]       = LIVE_HOME "/tenant/acme/app/eve",
    [ABROAD]    = "ch/tenant/acme/app/web",
    [UMBRA_ANN] = LIVE_HOME "/tenant/umbra/custodian/ann",
    [UMBRA_APP] = LIVE_HOME "/tenant/umbra/app/web",
};
static struct bw_client *callers[EVERYBODY];

static const char *key, *other_key, *umbra_key;
static int64_t     began; /* seconds since 1970; grants expire so long after it, the same when a request is sent twice */

/* ---- what they do ---- */

struct gift {
    const char *key, *terms, *parent;
    uint32_t    delegations;
    int         hours;        /* until it expires; 0: two */
    uint8_t     request_id;   /* 0: none given */
};

static enum bw_code give(enum who who, struct gift gift, const char **ret_id)
{
    uint8_t id[BW_REQUEST_ID_LEN];
    NEW(create_grant, CreateGrant, request);
    enum bw_code code;

    memset(id, gift.request_id, sizeof id);
    if (gift.request_id != 0)
        request.request_id = bw_wire_data(bw_bytes_of(id, sizeof id));
    request.name        = TEXT(gift.key ? gift.key : key);
    request.terms       = TEXT(gift.terms);
    request.parent      = TEXT(gift.parent ? gift.parent : "");
    request.delegations = gift.delegations;
    request.expires_us  = (began + (gift.hours ? gift.hours : 2) * INT64_C(3600)) * 1000000;
    REPLY(CreateGrant) reply = (const void *)live_call(callers[who], BW_METHOD_NR(CreateGrant), &request.base, &lasting, &code);
    if (reply != NULL && ret_id != NULL)
        *ret_id = reply->grant->id;
    return code;
}

static enum bw_code revoke(enum who who, const char *id, size_t *ret_ended)
{
    NEW(revoke_grant, RevokeGrant, request);
    enum bw_code code;

    request.name = TEXT(key);
    request.id   = TEXT(id);
    REPLY(RevokeGrant) reply = (const void *)live_call(callers[who], BW_METHOD_NR(RevokeGrant), &request.base, &lasting, &code);
    if (reply != NULL && ret_ended != NULL)
        *ret_ended = reply->n_ended;
    return code;
}

static size_t listed(enum who who)
{
    NEW(list_grants, ListGrants, request);
    request.name = TEXT(key);
    return ((REPLY(ListGrants))(const void *)live_must(callers[who], BW_METHOD_NR(ListGrants), &request.base, &lasting))->n_grants;
}

static bw_bytes iv, ciphertext;

static enum bw_code decrypt_with(enum who who, uint64_t *ret_index)
{
    Bailiwick__V1__KeyRef    ref  = BAILIWICK__V1__KEY_REF__INIT;
    Bailiwick__V1__Mechanism with = BAILIWICK__V1__MECHANISM__INIT;
    NEW(decrypt, Decrypt, request);
    enum bw_code code;

    ref.name = TEXT(key);
    with.type = BAILIWICK__V1__MECHANISM_TYPE__AES_GCM;
    with.tag_bits = 128;
    with.iv = bw_wire_data(iv);
    request.key = &ref;
    request.mechanism  = &with;
    request.ciphertext = bw_wire_data(ciphertext);
    REPLY(Decrypt) reply = (const void *)live_call(callers[who], BW_METHOD_NR(Decrypt), &request.base, &lasting, &code);
    if (reply != NULL && ret_index != NULL)
        *ret_index = reply->receipt->index;
    return code;
}

static enum bw_code decrypt(enum who who) { return decrypt_with(who, NULL); }

static enum bw_code look_at_key(enum who who)
{
    NEW(get_key, GetKey, request);
    enum bw_code code;

    request.name = TEXT(key);
    (void)live_call(callers[who], BW_METHOD_NR(GetKey), &request.base, &lasting, &code);
    return code;
}

#define TO(name, members) "{\"principals\": [\"app/" name "\"]" members "}"
#define DECRYPT           ", \"operations\": [\"decrypt\"]"

/* Every test starts with a key that has one grant: web may decrypt with GCM, and have it handed on twice, for two hours. */
static const char *webs;

static int start(void **state)
{
    NEW(list_grants, ListGrants, request);

    (void)state;
    request.name = TEXT(key);
    REPLY(ListGrants) reply = (const void *)live_must(callers[ANN], BW_METHOD_NR(ListGrants), &request.base, &lasting);
    for (size_t i = 0; i < reply->n_grants; i++)
        (void)revoke(ANN, reply->grants[i]->id, NULL); /* some went with what they were made from */
    if (give(ANN, (struct gift){ .terms = TO("web", DECRYPT ", \"mechanisms\": [\"CKM_AES_GCM\"]"), .delegations = 2 }, &webs) != BW_OK)
        return -1;
    return listed(ANN) == 1 ? 0 : -1;
}

/* ---- what they get ---- */

static void a_grant_lets_its_grantee_and_nobody_else(void **state)
{
    (void)state;
    assert_int_equal(decrypt(WEB), BW_OK);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
    assert_int_equal(decrypt(ABROAD), BW_CALLER_REGION);
    assert_int_equal(decrypt(UMBRA_APP), BW_NO_SUCH_KEY);
    assert_int_equal(look_at_key(WEB), BW_OK);
    assert_int_equal(look_at_key(EVE), BW_NOT_PERMITTED);
}

static void the_record_names_the_grant(void **state)
{
    NEW(query, Query, request);
    uint64_t index;
    char rule[64];

    (void)state;
    assert_int_equal(decrypt_with(WEB, &index), BW_OK);
    request.from_index = index;
    request.limit      = 1;
    REPLY(Query) reply = (const void *)live_must(callers[AL], BW_METHOD_NR(Query), &request.base, &lasting);
    (void)snprintf(rule, sizeof rule, "grant/%s", webs);
    assert_string_equal(reply->records[0]->context->rule, rule);
}

#define GCM ", \"mechanisms\": [\"CKM_AES_GCM\"]"
static const struct { const char *why; enum who who; struct gift gift; enum bw_code code; } attacks[] = {
    { "the same, to job, is no more",                WEB, { .terms = TO("job", DECRYPT GCM), .delegations = 1 },                    BW_OK          },
    { "another operation",                           WEB, { .terms = TO("job", ", \"operations\": [\"encrypt\"]" GCM) },            BW_GRANT_WIDER },
    { "all operations",                              WEB, { .terms = TO("job", GCM) },                                             BW_GRANT_WIDER },
    { "an operation that the key has not",           WEB, { .terms = TO("job", ", \"operations\": [\"derive\"]" GCM) },             BW_BAD_ARGUMENT },
    { "another mechanism",                           WEB, { .terms = TO("job", DECRYPT ", \"mechanisms\": [\"CKM_AES_CBC\"]") },    BW_GRANT_WIDER },
    { "all mechanisms",                              WEB, { .terms = TO("job", DECRYPT) },                                         BW_GRANT_WIDER },
    { "another region",                              WEB, { .terms = TO("job", DECRYPT GCM ", \"regions\": [\"ch\"]") },            BW_GRANT_WIDER },
    { "a later end",                                 WEB, { .terms = TO("job", DECRYPT GCM), .hours = 3 },                          BW_GRANT_WIDER },
    { "as deep as itself",                           WEB, { .terms = TO("job", DECRYPT GCM), .delegations = 2 },                    BW_GRANT_WIDER },
    { "with a value let out",                        WEB, { .terms = TO("job", DECRYPT GCM ", \"release\": true") },                BW_BAD_ARGUMENT },
    { "to another tenant",                           WEB, { .terms = "{\"principals\": [\"tenant/umbra/app/web\"]}" },              BW_BAD_ARGUMENT },
    { "what was granted to another",                 EVE, { .terms = TO("eve", DECRYPT GCM) },                                     BW_NOT_PERMITTED },
    { "from abroad",                                 ABROAD, { .terms = TO("job", DECRYPT GCM) },                                  BW_CALLER_REGION },
    { "another tenant's, by its application",        UMBRA_APP, { .terms = TO("web", DECRYPT GCM) },                               BW_NO_SUCH_KEY },
    { "another tenant's, by its custodian",          UMBRA_ANN, { .terms = TO("web", DECRYPT GCM) },                               BW_NO_SUCH_KEY },
    { "by an auditor",                               AL,  { .terms = TO("web", DECRYPT GCM) },                                     BW_NOT_PERMITTED },
};

static void nobody_hands_on_more_than_he_has(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
        struct gift gift = attacks[i].gift;
        gift.parent = webs;
        enum bw_code code = give(attacks[i].who, gift, NULL);
        if (code != attacks[i].code)
            fail_msg("%s: %s", attacks[i].why, bw_code_row(code)->name);
    }
    assert_int_equal(listed(ANN), 2);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
}

static void a_grant_of_another_key_is_none(void **state)
{
    const char *others, *umbras;

    (void)state;
    assert_int_equal(give(ANN, (struct gift){ .key = other_key, .terms = TO("web", ""), .delegations = 8 }, &others), BW_OK);
    assert_int_equal(give(UMBRA_ANN, (struct gift){ .key = umbra_key, .terms = TO("web", ""), .delegations = 8 }, &umbras), BW_OK);
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("eve", ""), .parent = others }, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("eve", ""), .parent = umbras }, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("eve", "") }, NULL), BW_NOT_PERMITTED);
    assert_int_equal(revoke(ANN, others, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
}

static void depth_is_spent(void **state)
{
    const char *jobs, *eves;

    (void)state;
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = webs, .delegations = 1 }, &jobs), BW_OK);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = webs }, NULL), BW_NO_SUCH_GRANT); /* web's own */
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, &eves), BW_OK);
    assert_int_equal(give(EVE, (struct gift){ .terms = TO("eve*", DECRYPT GCM), .parent = eves }, NULL), BW_GRANT_WIDER);
    assert_int_equal(decrypt(EVE), BW_OK);
}

static void what_was_revoked_is_over_for_all(void **state)
{
    const char *jobs, *eves;
    size_t ended;

    (void)state;
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = webs, .delegations = 1 }, &jobs), BW_OK);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, &eves), BW_OK);
    assert_int_equal(revoke(EVE, eves, NULL), BW_NOT_PERMITTED); /* its own, but not made by it */
    assert_int_equal(revoke(EVE, jobs, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(revoke(JOB, webs, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(revoke(WEB, webs, NULL), BW_NOT_PERMITTED);
    assert_int_equal(revoke(WEB, eves, &ended), BW_OK);          /* made from what it made */
    assert_int_equal(ended, 1);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, &eves), BW_OK);
    assert_int_equal(revoke(ANN, webs, &ended), BW_OK);
    assert_int_equal(ended, 3);
    assert_int_equal(decrypt(WEB), BW_NOT_PERMITTED);
    assert_int_equal(decrypt(JOB), BW_NOT_PERMITTED);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, NULL), BW_NOT_PERMITTED); /* nothing is about it */
    assert_int_equal(revoke(ANN, webs, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(listed(ANN), 0);
}

static void a_request_sent_twice_makes_one_grant(void **state)
{
    static uint8_t request_id = 1;
    struct gift gift = { .terms = TO("job", DECRYPT), .request_id = request_id++ }, other = gift;
    const char *first, *again;

    (void)state;
    assert_int_equal(give(ANN, gift, &first), BW_OK);
    assert_int_equal(give(ANN, gift, &again), BW_OK);
    assert_string_equal(first, again);
    assert_int_equal(listed(ANN), 2);
    other.terms = TO("eve", DECRYPT);
    assert_int_equal(give(ANN, other, NULL), BW_REQUEST_REUSED);
    other.terms = gift.terms;
    other.hours = 3;
    assert_int_equal(give(ANN, other, NULL), BW_REQUEST_REUSED);
    other.hours = 0;
    other.key   = other_key;
    assert_int_equal(give(ANN, other, NULL), BW_REQUEST_REUSED);
    other.key    = NULL;
    other.parent = webs;
    assert_int_equal(give(WEB, other, NULL), BW_REQUEST_REUSED);
    assert_int_equal(revoke(ANN, first, NULL), BW_OK);
    assert_int_equal(give(ANN, gift, &again), BW_OK); /* the first answer; the grant stays over */
    assert_int_equal(listed(ANN), 1);
    assert_int_equal(decrypt(JOB), BW_NOT_PERMITTED);
}

static void everybody_sees_what_is_about_him(void **state)
{
    const char *jobs;

    (void)state;
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = webs }, &jobs), BW_OK);
    assert_int_equal(give(ANN, (struct gift){ .terms = TO("eve", DECRYPT) }, NULL), BW_OK);
    assert_int_equal(listed(ANN), 3);
    assert_int_equal(listed(AL), 3);
    assert_int_equal(listed(WEB), 2); /* its own and what it made of it */
    assert_int_equal(listed(JOB), 1);
    assert_int_equal(listed(EVE), 1);
}

static const struct { const char *why; struct gift gift; enum bw_code code; } limits[] = {
    { "for a year and a day",           { .terms = TO("web", ""), .hours = 24 * 366 },              BW_OK           },
    { "for longer",                     { .terms = TO("web", ""), .hours = 24 * 366 + 1 },          BW_BAD_ARGUMENT },
    { "until yesterday",                { .terms = TO("web", ""), .hours = -24 },                   BW_BAD_ARGUMENT },
    { "to be handed on too often",      { .terms = TO("web", ""), .delegations = 9 },               BW_BAD_ARGUMENT },
    { "from nothing",                   { .terms = TO("web", ""), .parent = "00" },                 BW_BAD_ARGUMENT },
};

static void grants_are_bounded(void **state)
{
    enum bw_code code = BW_OK;
    size_t made = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if ((code = give(ANN, limits[i].gift, NULL)) != limits[i].code)
            fail_msg("%s: %s", limits[i].why, bw_code_row(code)->name);
    while ((code = give(WEB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = webs }, NULL)) == BW_OK)
        made++;
    assert_int_equal(code, BW_QUOTA); /* a grantee does not use up the key's grants */
    assert_int_equal(made, BW_GRANTS_MAX / 2);
    while ((code = give(ANN, (struct gift){ .terms = TO("job", DECRYPT) }, NULL)) == BW_OK)
        continue;
    assert_int_equal(code, BW_QUOTA);
    assert_int_equal(listed(ANN), BW_GRANTS_MAX);
}

static void connect_callers(void)
{
    for (size_t i = 0; i < EVERYBODY; i++)
        callers[i] = live_caller(&live, bw_arena_text(&lasting, LIVE_TRUST "%s", ids[i]));
}

static void let_callers_go(void)
{
    for (size_t i = 0; i < EVERYBODY; i++)
        bw_client_free(callers[i]);
}

/* A custodian's grants stay, also those to whom is revoked; he is no longer let in. */
static void who_is_revoked_takes_along_what_he_handed_on(void **state)
{
    NEW(revoke_principal, RevokePrincipal, request);
    const char *hubs, *jobs, *eves, *custodians;

    (void)state;
    assert_int_equal(give(ANN, (struct gift){ .terms = TO("hub", DECRYPT GCM), .delegations = 2 }, &hubs), BW_OK);
    assert_int_equal(give(HUB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = hubs, .delegations = 1 }, &jobs), BW_OK);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, &eves), BW_OK);
    assert_int_equal(decrypt(EVE), BW_OK);
    request.principal = TEXT(LIVE_TRUST LIVE_HOME "/tenant/acme/app/hub");
    (void)live_must(callers[ANN], BW_METHOD_NR(RevokePrincipal), &request.base, &lasting);
    assert_int_equal(decrypt(HUB), BW_REVOKED);
    assert_int_equal(decrypt(JOB), BW_NOT_PERMITTED);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
    assert_int_equal(look_at_key(EVE), BW_NOT_PERMITTED);
    assert_int_equal(decrypt(WEB), BW_OK);
    assert_int_equal(listed(ANN), 2); /* web's and hub's */
    assert_int_equal(give(ANN, (struct gift){ .terms = TO("job", DECRYPT GCM) }, &custodians), BW_OK);
    assert_int_equal(give(JOB, (struct gift){ .terms = TO("eve", DECRYPT GCM), .parent = jobs }, NULL), BW_NO_SUCH_GRANT);
    assert_int_equal(decrypt(JOB), BW_OK);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
}

static void grants_outlive_the_daemon(void **state)
{
    const char *jobs;
    size_t ended;

    (void)state;
    assert_int_equal(give(WEB, (struct gift){ .terms = TO("job", DECRYPT GCM), .parent = webs }, &jobs), BW_OK);
    let_callers_go();
    live_stop(&live);
    live_start(&live);
    connect_callers();
    assert_int_equal(decrypt(WEB), BW_OK);
    assert_int_equal(decrypt(JOB), BW_OK);
    assert_int_equal(decrypt(EVE), BW_NOT_PERMITTED);
    assert_int_equal(revoke(ANN, webs, &ended), BW_OK);
    assert_int_equal(ended, 2);
    let_callers_go();
    live_stop(&live);
    live_start(&live);
    connect_callers();
    assert_int_equal(decrypt(JOB), BW_NOT_PERMITTED);
}

/* ---- the region ---- */

static void make_tenant(const char *name)
{
    NEW(create_tenant, CreateTenant, request);
    request.name       = TEXT(name);
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(callers[OPERATOR], BW_METHOD_NR(CreateTenant), &request.base, &lasting);
}

static const char *make_key(enum who custodian, const char *policy)
{
    NEW(create_key, CreateKey, request);
    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.policy = TEXT(policy);
    return ((REPLY(CreateKey))(const void *)live_must(callers[custodian], BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

/* Then nobody may. */
static void encrypt_something(void)
{
    Bailiwick__V1__KeyRef    ref  = BAILIWICK__V1__KEY_REF__INIT;
    Bailiwick__V1__Mechanism with = BAILIWICK__V1__MECHANISM__INIT;
    NEW(encrypt, Encrypt, request);
    NEW(set_key_policy, SetKeyPolicy, nobody);

    ref.name = TEXT(key);
    with.type = BAILIWICK__V1__MECHANISM_TYPE__AES_GCM;
    with.tag_bits = 128;
    request.key = &ref;
    request.mechanism = &with;
    request.plaintext = bw_wire_data(bw_bytes_text("text"));
    REPLY(Encrypt) reply = (const void *)live_must(callers[WEB], BW_METHOD_NR(Encrypt), &request.base, &lasting);
    iv         = bw_wire_bytes(reply->iv);
    ciphertext = bw_wire_bytes(reply->ciphertext);
    nobody.name   = TEXT(key);
    nobody.policy = TEXT("{\"rules\": []}");
    (void)live_must(callers[ANN], BW_METHOD_NR(SetKeyPolicy), &nobody.base, &lasting);
}

static int setup(void **state)
{
    (void)state;
    began = (int64_t)time(NULL);
    live_make(&live);
    connect_callers();
    make_tenant("acme");
    make_tenant("umbra");
    key       = make_key(ANN, "");
    other_key = make_key(ANN, "{\"rules\": []}");
    umbra_key = make_key(UMBRA_ANN, "{\"rules\": []}");
    encrypt_something();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    let_callers_go();
    bw_arena_clear(&lasting);
    live_remove(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_grant_lets_its_grantee_and_nobody_else, start),
        cmocka_unit_test_setup(the_record_names_the_grant, start),
        cmocka_unit_test_setup(nobody_hands_on_more_than_he_has, start),
        cmocka_unit_test_setup(a_grant_of_another_key_is_none, start),
        cmocka_unit_test_setup(depth_is_spent, start),
        cmocka_unit_test_setup(what_was_revoked_is_over_for_all, start),
        cmocka_unit_test_setup(a_request_sent_twice_makes_one_grant, start),
        cmocka_unit_test_setup(everybody_sees_what_is_about_him, start),
        cmocka_unit_test_setup(grants_are_bounded, start),
        cmocka_unit_test_setup(who_is_revoked_takes_along_what_he_handed_on, start),
        cmocka_unit_test_setup(grants_outlive_the_daemon, start),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
