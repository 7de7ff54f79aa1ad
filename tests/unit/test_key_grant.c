/* Grants: what terms compile, when one is narrower than another, and what a key with grants allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "key_grant.h"

enum { SOON = 1000, LATER = 2000 };

static const bw_region home = { "eu-central" };

/* To app/web; what else the terms say. */
#define TO_WEB(members) "{\"principals\": [\"app/web\"]" members "}"

static const struct { const char *why; const char *terms; const char *field; /* NULL: they compile */ } texts[] = {
    { "to one application",                    TO_WEB(""),                                                                NULL },
    { "all that terms can say",                TO_WEB(", \"regions\": [\"ch\"], \"operations\": [\"decrypt\"], \"mechanisms\": [\"CKM_AES_GCM\"],"
                                                      "\"context\": {\"t\": \"1\"}, \"purposes\": [\"x\"], \"not_before\": \"2026-01-01T00:00:00Z\""), NULL },
    { "to nobody in particular",               "{}",                                                                      "terms.principals" },
    { "to a custodian",                        "{\"principals\": [\"custodian/ann\"]}",                                   "terms.principals" },
    { "to a name with another tenant in it",   "{\"principals\": [\"spiffe://ex.org/region/eu-central/tenant/umbra/app/x\"]}", "terms.principals" },
    { "with a name of its own",                TO_WEB(", \"name\": \"x\""),                                               "terms" },
    { "with another end",                      TO_WEB(", \"not_after\": \"2030-01-01T00:00:00Z\""),                       "terms" },
    { "with a value let out",                  TO_WEB(", \"release\": true"),                                             "terms" },
    { "with a value not let out",              TO_WEB(", \"release\": false"),                                            "terms" },
    { "with a whole policy",                   "{\"rules\": []}",                                                         "terms" },
    { "a list",                                "[]",                                                                      "terms" },
    { "not JSON",                              "to web",                                                                  "terms" },
    { "a member twice",                        TO_WEB(", \"purposes\": [\"x\"], \"purposes\": [\"y\"]"),                  "terms" },
    { "an operation that there is not",        TO_WEB(", \"operations\": [\"destroy\"]"),                                 "terms.operations" },
};

static void only_what_is_understood_compiles(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        BW_AUTO(policy) terms = NULL;
        bw_result r = bw_policy_compile_terms(bw_bytes_text(texts[i].terms), "grant/1", SOON, &terms);
        if (bw_ok(r) != (texts[i].field == NULL))
            fail_msg("%s: %s", texts[i].why, bw_ok(r) ? "compiled" : r.what);
        if (!bw_ok(r) && strcmp(r.field, texts[i].field) != 0)
            fail_msg("%s: at %s", texts[i].why, r.field);
    }
}

/* The key encrypts and decrypts, and is an AES key. */
static const struct { const char *why; const char *terms; const char *field; } fits[] = {
    { "what it can do",                   TO_WEB(", \"operations\": [\"decrypt\"], \"mechanisms\": [\"CKM_AES_GCM\", \"envelope\"]"), NULL },
    { "all that it can do, unnamed",      TO_WEB(""),                                                    NULL },
    { "an operation that it has not",     TO_WEB(", \"operations\": [\"decrypt\", \"sign\"]"),           "terms.operations" },
    { "a mechanism for other keys",       TO_WEB(", \"mechanisms\": [\"CKM_AES_GCM\", \"CKM_ECDSA\"]"),  "terms.mechanisms" },
};

static void a_grant_is_within_what_the_key_can_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fits); i++) {
        BW_AUTO(policy) terms = NULL;
        assert_true(bw_ok(bw_policy_compile_terms(bw_bytes_text(fits[i].terms), "grant/1", SOON, &terms)));
        bw_result r = bw_policy_check_terms(terms, BW_USE_ENCRYPT | BW_USE_DECRYPT, CKK_AES);
        if (bw_ok(r) != (fits[i].field == NULL) || (!bw_ok(r) && strcmp(r.field, fits[i].field) != 0))
            fail_msg("%s: %s", fits[i].why, bw_ok(r) ? "taken" : r.field);
    }
}

/* ---- narrower ---- */

#define OPS(list)     ", \"operations\": [" list "]"
#define MECHS(list)   ", \"mechanisms\": [" list "]"
#define CONTEXT(list) ", \"context\": {" list "}"
#define REGIONS(list) ", \"regions\": [" list "]"
#define PURPOSES(list) ", \"purposes\": [" list "]"
#define FROM(time)    ", \"not_before\": \"" time "\""
#define ALL_OPS       OPS("\"encrypt\", \"decrypt\", \"wrap\", \"unwrap\", \"sign\", \"verify\", \"derive\"")

static const struct { const char *why; const char *outer, *inner; const char *more; /* the field that says more; NULL: none */ } pairs[] = {
    { "the same, unrestricted",                        "",                                  "",                                    NULL },
    { "the same, restricted in everything",
      OPS("\"sign\"") MECHS("\"CKM_ECDSA\"") CONTEXT("\"t\": \"1\"") REGIONS("\"ch\"") PURPOSES("\"x\"") FROM("2026-01-01T00:00:00Z"),
      OPS("\"sign\"") MECHS("\"CKM_ECDSA\"") CONTEXT("\"t\": \"1\"") REGIONS("\"ch\"") PURPOSES("\"x\"") FROM("2026-01-01T00:00:00Z"), NULL },

    { "one operation of all",                          "",                                  OPS("\"decrypt\""),                    NULL },
    { "one operation of two",                          OPS("\"encrypt\", \"decrypt\""),     OPS("\"decrypt\""),                    NULL },
    { "two operations, the other way round",           OPS("\"encrypt\", \"decrypt\""),     OPS("\"decrypt\", \"encrypt\""),       NULL },
    { "an operation twice",                            OPS("\"decrypt\""),                  OPS("\"decrypt\", \"decrypt\""),       NULL },
    { "all operations by name, of all unnamed",        "",                                  ALL_OPS,                               NULL },
    { "all operations unnamed, of all by name",        ALL_OPS,                             "",                                    NULL },
    { "another operation",                             OPS("\"encrypt\""),                  OPS("\"decrypt\""),                    "terms.operations" },
    { "one operation and another",                     OPS("\"encrypt\""),                  OPS("\"encrypt\", \"decrypt\""),       "terms.operations" },
    { "all operations of one",                         OPS("\"encrypt\""),                  "",                                    "terms.operations" },

    { "one mechanism of all",                          "",                                  MECHS("\"CKM_AES_GCM\""),              NULL },
    { "envelopes of all",                              "",                                  MECHS("\"envelope\""),                 NULL },
    { "one mechanism of two",                          MECHS("\"CKM_AES_GCM\", \"envelope\""), MECHS("\"envelope\""),              NULL },
    { "another mechanism",                             MECHS("\"CKM_AES_GCM\""),            MECHS("\"CKM_AES_CBC\""),              "terms.mechanisms" },
    { "envelopes beside",                              MECHS("\"CKM_AES_GCM\""),            MECHS("\"CKM_AES_GCM\", \"envelope\""),"terms.mechanisms" },
    { "all mechanisms of one",                         MECHS("\"CKM_AES_GCM\""),            "",                                    "terms.mechanisms" },
    { "what is off by default, of all that is on",     "",                                  MECHS("\"CKM_AES_ECB\""),              "terms.mechanisms" },
    { "what is off by default, where it is named",     MECHS("\"CKM_AES_ECB\""),            MECHS("\"CKM_AES_ECB\""),              NULL },
    { "all that is on, of what is off",                MECHS("\"CKM_AES_ECB\""),            "",                                    "terms.mechanisms" },

    { "a pair required beside none",                   "",                                  CONTEXT("\"t\": \"1\""),               NULL },
    { "a pair required beside another",                CONTEXT("\"t\": \"1\""),             CONTEXT("\"t\": \"1\", \"u\": \"2\""), NULL },
    { "pairs in another order",                        CONTEXT("\"t\": \"1\", \"u\": \"2\""), CONTEXT("\"u\": \"2\", \"t\": \"1\""), NULL },
    { "no pair where one is required",                 CONTEXT("\"t\": \"1\""),             "",                                    "terms.context" },
    { "an empty context where a pair is required",     CONTEXT("\"t\": \"1\""),             CONTEXT(""),                           "terms.context" },
    { "an empty context where none is required",       "",                                  CONTEXT(""),                           NULL },
    { "another value of the pair",                     CONTEXT("\"t\": \"1\""),             CONTEXT("\"t\": \"2\""),               "terms.context" },
    { "the value under another name",                  CONTEXT("\"t\": \"1\""),             CONTEXT("\"u\": \"1\""),               "terms.context" },
    { "one pair of two",                               CONTEXT("\"t\": \"1\", \"u\": \"2\""), CONTEXT("\"t\": \"1\""),             "terms.context" },

    { "home by name, of home unnamed",                 "",                                  REGIONS("\"eu-central\""),             NULL },
    { "home unnamed, of home by name",                 REGIONS("\"eu-central\", \"ch\""),   "",                                    NULL },
    { "one region of two",                             REGIONS("\"eu-central\", \"ch\""),   REGIONS("\"ch\""),                     NULL },
    { "abroad, of home unnamed",                       "",                                  REGIONS("\"ch\""),                     "terms.regions" },
    { "home unnamed, of abroad",                       REGIONS("\"ch\""),                   "",                                    "terms.regions" },
    { "abroad beside home",                            REGIONS("\"eu-central\""),           REGIONS("\"eu-central\", \"ch\""),     "terms.regions" },
    { "a region whose name begins the same",           REGIONS("\"eu-central\""),           REGIONS("\"eu-centra\""),              "terms.regions" },

    { "one purpose of any",                            "",                                  PURPOSES("\"x\""),                     NULL },
    { "one purpose of two",                            PURPOSES("\"x\", \"y\""),            PURPOSES("\"y\""),                     NULL },
    { "any purpose of one",                            PURPOSES("\"x\""),                   "",                                    "terms.purposes" },
    { "another purpose",                               PURPOSES("\"x\""),                   PURPOSES("\"y\""),                     "terms.purposes" },
    { "one purpose and another",                       PURPOSES("\"x\""),                   PURPOSES("\"x\", \"y\""),              "terms.purposes" },

    { "from a day on, of always",                      "",                                  FROM("2026-01-01T00:00:00Z"),          NULL },
    { "from a later day on",                           FROM("2026-01-01T00:00:00Z"),        FROM("2026-01-01T00:00:01Z"),          NULL },
    { "from an earlier day on",                        FROM("2026-01-01T00:00:00Z"),        FROM("2025-12-31T23:59:59Z"),          "terms.not_before" },
    { "always, of from a day on",                      FROM("2026-01-01T00:00:00Z"),        "",                                    "terms.not_before" },
};

static struct bw_policy *terms_of(const char *members, const char *to, int64_t expires_us)
{
    char text[1024];
    struct bw_policy *terms;

    assert_true(snprintf(text, sizeof text, "{\"principals\": [\"%s\"]%s}", to, members) < (int)sizeof text);
    assert_true(bw_ok(bw_policy_compile_terms(bw_bytes_text(text), "grant/1", expires_us, &terms)));
    return terms;
}

static void narrower_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        /* to whom it goes on is the grantee's to choose */
        BW_AUTO(policy) outer = terms_of(pairs[i].outer, "app/web", SOON);
        BW_AUTO(policy) inner = terms_of(pairs[i].inner, "app/*", SOON);
        bw_result r = bw_policy_check_narrower(inner, outer, &home);
        if (bw_ok(r) != (pairs[i].more == NULL))
            fail_msg("%s: %s", pairs[i].why, bw_ok(r) ? "taken" : r.field);
        if (!bw_ok(r)) {
            assert_int_equal(r.code, BW_GRANT_WIDER);
            assert_string_equal(r.field, pairs[i].more);
        }
    }
}

static void a_grant_ends_no_later_than_what_it_is_made_from(void **state)
{
    BW_AUTO(policy) soon  = terms_of("", "app/web", SOON);
    BW_AUTO(policy) later = terms_of("", "app/web", LATER);

    (void)state;
    assert_true(bw_ok(bw_policy_check_narrower(soon, soon, &home)));
    assert_true(bw_ok(bw_policy_check_narrower(soon, later, &home)));
    bw_result r = bw_policy_check_narrower(later, soon, &home);
    assert_int_equal(r.code, BW_GRANT_WIDER);
    assert_string_equal(r.field, "expires_us");
}

/* ---- a key with grants ---- */

/* Its policy lets nobody. Grants, each to one application, by whom they were made from, and when they end: */
static const struct { uint8_t id, parent; const char *terms; int64_t expires_us; } granted[] = {
    { 1, 0, "{\"principals\": [\"app/web\"], \"operations\": [\"decrypt\"]}",                        LATER },
    { 2, 1, "{\"principals\": [\"app/job\"], \"operations\": [\"decrypt\"]}",                        SOON  },
    { 3, 0, "{\"principals\": [\"app/far\"], \"regions\": [\"ch\"]}",                                LATER },
    { 4, 2, "{\"principals\": [\"app/sub\"], \"operations\": [\"decrypt\"]}",                        SOON  },
    { 5, 1, "{\"principals\": [\"app/two\"], \"operations\": [\"decrypt\"]}",                        LATER },
};

static struct bw_policy    *nobody;
static struct bw_key_grant *grants[ARRAY_LEN(granted)];
static struct bw_key        key;

static int make_key(void **state)
{
    (void)state;
    assert_true(bw_ok(bw_policy_compile(bw_bytes_text("{\"rules\": []}"), &nobody)));
    for (size_t i = 0; i < ARRAY_LEN(granted); i++) {
        struct bw_key_grant draft = { .id = { granted[i].id }, .parent = { granted[i].parent }, .granter = "x", .terms = granted[i].terms,
                                      .expires_us = granted[i].expires_us };
        assert_true(bw_ok(bw_key_grant_new(&draft, &grants[i])));
    }
    key = (struct bw_key){ .policy = nobody, .grants = grants, .grant_count = ARRAY_LEN(granted) };
    return 0;
}

static int drop_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(granted); i++)
        bw_key_grant_unref(grants[i]);
    bw_policy_free(nobody);
    return 0;
}

static const struct { const char *why; const char *app, *region; unsigned use; bool release; int64_t now_us; enum bw_code code; const char *rule; bool shown; } asked[] = {
    { "its grantee decrypts",                   "web", "eu-central", BW_USE_DECRYPT, false, 1,        BW_OK,            "grant/01000000000000000000000000000000", true  },
    { "whom it was handed on decrypts",         "job", "eu-central", BW_USE_DECRYPT, false, 1,        BW_OK,            "grant/02000000000000000000000000000000", true  },
    { "another operation",                      "web", "eu-central", BW_USE_ENCRYPT, false, 1,        BW_NOT_PERMITTED, NULL, true  },
    { "somebody without a grant",               "bad", "eu-central", BW_USE_DECRYPT, false, 1,        BW_NOT_PERMITTED, NULL, false },
    { "from a region that it says",             "far", "ch",         BW_USE_DECRYPT, false, 1,        BW_OK,            "grant/03000000000000000000000000000000", true  },
    { "from home, which it does not say",       "far", "eu-central", BW_USE_DECRYPT, false, 1,        BW_CALLER_REGION, NULL, false },
    { "from abroad, which it does not say",     "web", "ch",         BW_USE_DECRYPT, false, 1,        BW_CALLER_REGION, NULL, false },
    { "a value let out",                        "web", "eu-central", BW_USE_DECRYPT, true,  1,        BW_NOT_PERMITTED, NULL, true  },
    { "in its last moment",                     "job", "eu-central", BW_USE_DECRYPT, false, SOON - 1, BW_OK,            "grant/02000000000000000000000000000000", true  },
    { "when it has expired",                    "job", "eu-central", BW_USE_DECRYPT, false, SOON,     BW_NOT_PERMITTED, NULL, false },
};

static void a_grant_allows_what_it_says_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct bw_identity caller = { .role = BW_ROLE_APP };
        struct bw_policy_question question = {
            .caller = &caller, .home = &home, .use = asked[i].use, .mechanism = bw_mechanism_row(CKM_AES_GCM), .purpose = "",
            .release = asked[i].release, .now_us = asked[i].now_us,
        };
        const char *rule = NULL;

        (void)snprintf(caller.principal.text, sizeof caller.principal.text, "%s", asked[i].app);
        (void)snprintf(caller.region.text, sizeof caller.region.text, "%s", asked[i].region);
        bw_result r = bw_key_decide(&key, 0, &question, &rule);
        if (r.code != asked[i].code)
            fail_msg("%s: %s", asked[i].why, bw_code_row(r.code)->name);
        if (bw_ok(r))
            assert_string_equal(rule, asked[i].rule);
        if (bw_key_concerns(&key, 0, &caller, &home, NULL, asked[i].now_us) != asked[i].shown)
            fail_msg("%s: shown", asked[i].why);
    }
}

static void a_grant_ends_with_all_that_was_made_from_it(void **state)
{
    (void)state;
    assert_int_equal(bw_key_grant_family(&key, grants[0]), 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4);
    assert_int_equal(bw_key_grant_family(&key, grants[1]), 1 << 1 | 1 << 3);
    assert_int_equal(bw_key_grant_family(&key, grants[2]), 1 << 2);
    assert_int_equal(bw_key_grant_family(&key, grants[4]), 1 << 4);
}

static void what_has_expired_is_not_found(void **state)
{
    (void)state;
    assert_ptr_equal(bw_key_grant_find(&key, grants[1]->id, SOON - 1), grants[1]);
    assert_null(bw_key_grant_find(&key, grants[1]->id, SOON));
    assert_null(bw_key_grant_find(&key, (const uint8_t[16]){ 9 }, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_understood_compiles),
        cmocka_unit_test(a_grant_is_within_what_the_key_can_do),
        cmocka_unit_test(narrower_is_exact),
        cmocka_unit_test(a_grant_ends_no_later_than_what_it_is_made_from),
        cmocka_unit_test_setup_teardown(a_grant_allows_what_it_says_and_no_more, make_key, drop_key),
        cmocka_unit_test_setup_teardown(a_grant_ends_with_all_that_was_made_from_it, make_key, drop_key),
        cmocka_unit_test_setup_teardown(what_has_expired_is_not_found, make_key, drop_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
