/* Key policy: what compiles, and who is allowed what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "bailiwick/mechanism.h"
#include "policy.h"
#include "registry.h"

#define RULE(members) "{\"rules\": [{\"name\": \"r\"" members "}]}"

static const struct { const char *why; const char *text; const char *field; /* NULL: it compiles */ } texts[] = {
    { "the default",                              BW_POLICY_DEFAULT,                               NULL  },
    { "no rules: nobody",                         "{\"rules\": []}",                                     NULL  },
    { "every member",                             RULE(", \"principals\": [\"app/web-*\"], \"regions\": [\"ch\"], \"operations\": [\"sign\"],"
                                                       "\"mechanisms\": [\"CKM_ECDSA\", \"envelope\"], \"context\": {\"t\": \"1\"}, \"purposes\": [\"x\"],"
                                                       "\"not_before\": \"2026-01-01T00:00:00Z\", \"not_after\": \"2027-01-01T00:00:00Z\", \"release\": true"), NULL },
    { "not JSON",                                 "rules",                                               "policy" },
    { "a list at the top",                        "[]",                                                  "policy" },
    { "something behind it",                      "{\"rules\": []} x",                                   "policy" },
    { "an unknown member at the top",             "{\"rules\": [], \"x\": 1}",                           "policy" },
    { "an unknown member in a rule",              RULE(", \"regoins\": [\"ch\"]"),                       "policy.rules" },
    { "a member twice",                           RULE(", \"release\": true, \"release\": false"),       "policy" },
    { "a rule without a name",                    "{\"rules\": [{}]}",                                   "policy.rules" },
    { "an operation that there is not",           RULE(", \"operations\": [\"destroy\"]"),               "policy.operations" },
    { "an empty list, which could mean anything", RULE(", \"operations\": []"),                          "policy.operations" },
    { "a mechanism that there is not",            RULE(", \"mechanisms\": [\"CKM_DES_CBC\"]"),           "policy.mechanisms" },
    { "a custodian as user",                      RULE(", \"principals\": [\"custodian/ann\"]"),         "policy.principals" },
    { "a pattern with brackets",                  RULE(", \"principals\": [\"app/[ab]\"]"),              "policy.principals" },
    { "a region that is no name",                 RULE(", \"regions\": [\"EU\"]"),                       "policy.regions" },
    { "a day without a time",                     RULE(", \"not_after\": \"2026-01-01\""),               "policy.not_after" },
    { "release as text",                          RULE(", \"release\": \"true\""),                       "policy.release" },
    { "the end of all validity before it began",  RULE(", \"not_after\": \"1970-01-01T00:00:00Z\""),     "policy.not_after" },
    { "a rule that passes for a grant",           "{\"rules\": [{\"name\": \"grant/1\"}]}",                  "policy.name" },
};

static void only_what_is_understood_compiles(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        BW_AUTO(policy) policy = NULL;
        bw_result r = bw_policy_compile(bw_bytes_text(texts[i].text), &policy);
        if (bw_ok(r) != (texts[i].field == NULL))
            fail_msg("%s: %s", texts[i].why, bw_ok(r) ? "compiled" : r.what);
        if (!bw_ok(r))
            assert_string_equal(r.field, texts[i].field);
    }
}

/* The home region is eu-central; the caller is app/web-1 and asks to decrypt with CKM_AES_GCM at 2026-06-01. */
static const struct { const char *why; const char *text; const char *region; const char *context; const char *purpose; bool release; enum bw_code code; } cases[] = {
    { "the default lets applications at home",    BW_POLICY_DEFAULT,                     "eu-central", NULL, "",  false, BW_OK },
    { "the default lets nobody from abroad",      BW_POLICY_DEFAULT,                     "us-east",    NULL, "",  false, BW_CALLER_REGION },
    { "no rules, no access",                      "{\"rules\": []}",                          "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "abroad, where a rule says so",             RULE(", \"regions\": [\"us-east\"]"),       "us-east",    NULL, "",  false, BW_OK },
    { "a list of regions replaces home",          RULE(", \"regions\": [\"us-east\"]"),       "eu-central", NULL, "",  false, BW_CALLER_REGION },
    { "by pattern",                               RULE(", \"principals\": [\"app/web-*\"]"),  "eu-central", NULL, "",  false, BW_OK },
    { "by another pattern",                       RULE(", \"principals\": [\"app/db-*\"]"),   "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "another operation",                        RULE(", \"operations\": [\"encrypt\"]"),    "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "another mechanism",                        RULE(", \"mechanisms\": [\"CKM_AES_CBC\"]"),"eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "with the context that is asked for",       RULE(", \"context\": {\"t\": \"1\"}"),      "eu-central", "1",  "",  false, BW_OK },
    { "with another value of it",                 RULE(", \"context\": {\"t\": \"1\"}"),      "eu-central", "2",  "",  false, BW_NOT_PERMITTED },
    { "without it",                               RULE(", \"context\": {\"t\": \"1\"}"),      "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "for the purpose that is asked for",        RULE(", \"purposes\": [\"billing\"]"),      "eu-central", NULL, "billing", false, BW_OK },
    { "for none",                                 RULE(", \"purposes\": [\"billing\"]"),      "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
    { "before its time",                          RULE(", \"not_before\": \"2026-06-02T00:00:00Z\""), "eu-central", NULL, "", false, BW_NOT_PERMITTED },
    { "at its first moment",                      RULE(", \"not_before\": \"2026-06-01T00:00:00Z\""), "eu-central", NULL, "", false, BW_OK },
    { "at its end",                               RULE(", \"not_after\": \"2026-06-01T00:00:00Z\""),  "eu-central", NULL, "", false, BW_NOT_PERMITTED },
    { "release where no rule says so",            BW_POLICY_DEFAULT,                     "eu-central", NULL, "",  true,  BW_NOT_PERMITTED },
    { "release where a rule says so",             RULE(", \"release\": true"),                "eu-central", NULL, "",  true,  BW_OK },
    { "one rule must allow all of it",
      "{\"rules\": [{\"name\": \"a\", \"operations\": [\"decrypt\"], \"mechanisms\": [\"CKM_AES_CBC\"]}, {\"name\": \"b\", \"operations\": [\"sign\"]}]}",
                                                                                              "eu-central", NULL, "",  false, BW_NOT_PERMITTED },
};

static void one_rule_must_allow_all_of_it(void **state)
{
    bw_region home;

    (void)state;
    assert_true(bw_ok(bw_region_parse(bw_bytes_text("eu-central"), &home)));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        BW_AUTO(policy) policy = NULL;
        struct bw_identity caller = { .role = BW_ROLE_APP, .principal = { "web-1" } };
        struct bw_text_pair pair = { "t", cases[i].context };
        const char *rule = NULL;

        assert_true(bw_ok(bw_policy_compile(bw_bytes_text(cases[i].text), &policy)));
        assert_true(bw_ok(bw_region_parse(bw_bytes_text(cases[i].region), &caller.region)));
        struct bw_policy_question question = {
            .caller = &caller, .home = &home, .use = BW_USE_DECRYPT, .mechanism = bw_mechanism_row(CKM_AES_GCM), .purpose = cases[i].purpose,
            .context = { .pairs = &pair, .count = cases[i].context ? 1 : 0 }, .release = cases[i].release, .now_us = INT64_C(1780272000000000),
        };
        bw_result r = bw_policy_decide(policy, &question, &rule);
        if (r.code != cases[i].code)
            fail_msg("%s: %s", cases[i].why, bw_code_row(r.code)->name);
        assert_int_equal(rule != NULL, bw_ok(r));
    }
}

/* The same caller asks to encrypt with CKM_AES_ECB, which is off by default. */
static const struct { const char *why; const char *text; const char *region; enum bw_code code; } off[] = {
    { "where no rule names it",                 BW_POLICY_DEFAULT,                                "eu-central", BW_MECHANISM_OFF  },
    { "where a rule names it",                  RULE(", \"mechanisms\": [\"CKM_AES_ECB\"]"),      "eu-central", BW_OK             },
    { "where a rule names others",              RULE(", \"mechanisms\": [\"CKM_AES_CBC\"]"),      "eu-central", BW_NOT_PERMITTED  },
    { "where another caller's rule is silent",  RULE(", \"principals\": [\"app/db-*\"]"),         "eu-central", BW_NOT_PERMITTED  },
    { "where another operation's is",           RULE(", \"operations\": [\"decrypt\"]"),          "eu-central", BW_NOT_PERMITTED  },
    { "from abroad, where no rule names it",    BW_POLICY_DEFAULT,                                "us-east",    BW_NOT_PERMITTED  },
    { "from abroad, where a rule at home does", RULE(", \"mechanisms\": [\"CKM_AES_ECB\"]"),      "us-east",    BW_CALLER_REGION  },
};

static void what_is_off_must_be_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(off); i++) {
        BW_AUTO(policy) policy = NULL;
        struct bw_identity caller = { .role = BW_ROLE_APP, .principal = { "web-1" } };
        const bw_region home = { "eu-central" };
        struct bw_policy_question question = {
            .caller = &caller, .home = &home, .use = BW_USE_ENCRYPT, .mechanism = bw_mechanism_row(CKM_AES_ECB), .purpose = "", .now_us = 1,
        };
        const char *rule;

        assert_true(bw_ok(bw_policy_compile(bw_bytes_text(off[i].text), &policy)));
        assert_true(bw_ok(bw_region_parse(bw_bytes_text(off[i].region), &caller.region)));
        bw_result r = bw_policy_decide(policy, &question, &rule);
        if (r.code != off[i].code)
            fail_msg("%s: %s", off[i].why, bw_code_row(r.code)->name);
        /* a session key is asked for its origin's rules about the caller, one of which must name the mechanism */
        assert_int_equal(bw_policy_concerns(policy, &caller, &home, question.mechanism), bw_ok(r));
    }
}

/* A pair of the encryption context whose value nobody knows any more. */
static void an_unknown_value_can_be_any(void **state)
{
    static const struct { const char *why; const char *text; enum bw_code best, worst; } rows[] = {
        { "no rule asks for it",       BW_POLICY_DEFAULT,                                                  BW_OK,            BW_OK            },
        { "a rule asks for it",        RULE(", \"context\": {\"t\": \"1\"}"),                              BW_OK,            BW_NOT_PERMITTED },
        { "a rule asks for another",   RULE(", \"context\": {\"u\": \"1\"}"),                              BW_NOT_PERMITTED, BW_NOT_PERMITTED },
        { "one asks, one does not",    "{\"rules\": [{\"name\": \"a\", \"context\": {\"t\": \"1\"}}, {\"name\": \"b\"}]}", BW_OK, BW_OK },
    };
    const struct bw_text_pair pair = { "t", NULL };
    const bw_region home = { "eu-central" };
    const struct bw_identity caller = { .role = BW_ROLE_APP, .region = home, .principal = { "web-1" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        BW_AUTO(policy) policy = NULL;
        struct bw_policy_question question = {
            .caller = &caller, .home = &home, .use = BW_USE_WRAP, .purpose = "", .now_us = 1, .context = { .pairs = &pair, .count = 1 },
        };
        const char *rule;

        assert_true(bw_ok(bw_policy_compile(bw_bytes_text(rows[i].text), &policy)));
        if (bw_policy_decide(policy, &question, &rule).code != rows[i].worst)
            fail_msg("%s: at worst", rows[i].why);
        question.context.unknown_fits = true;
        if (bw_policy_decide(policy, &question, &rule).code != rows[i].best)
            fail_msg("%s: at best", rows[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_understood_compiles),
        cmocka_unit_test(one_rule_must_allow_all_of_it),
        cmocka_unit_test(what_is_off_must_be_named),
        cmocka_unit_test(an_unknown_value_can_be_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
