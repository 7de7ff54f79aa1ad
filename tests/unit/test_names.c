/* Names: what is accepted, what is refused, and that what is parsed prints to the same text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bailiwick/names.h"

static const struct { const char *why; const char *text; bool accepted; } key_names[] = {
    { "a key name",                        "bw:eu-central:acme:key/00112233445566778899aabbccddeeff", true  },
    { "a tenant that is a UUID",           "bw:ch:6f1f0a2e-9c39-4d2c-8a35-6a2a9f4d9a11:key/00112233445566778899aabbccddeeff", true },
    { "no prefix",                         "eu-central:acme:key/00112233445566778899aabbccddeeff",    false },
    { "upper-case digits",                 "bw:eu-central:acme:key/00112233445566778899AABBCCDDEEFF", false },
    { "an id one digit short",             "bw:eu-central:acme:key/00112233445566778899aabbccddeef",  false },
    { "an id with something behind it",    "bw:eu-central:acme:key/00112233445566778899aabbccddeeff0",false },
    { "a region that starts with a digit", "bw:1eu:acme:key/00112233445566778899aabbccddeeff",        false },
    { "a region of 17 characters",         "bw:abcdefghijklmnopq:acme:key/00112233445566778899aabbccddeeff", false },
    { "an empty tenant",                   "bw:eu::key/00112233445566778899aabbccddeeff",             false },
    { "a tenant that climbs",              "bw:eu:../x:key/00112233445566778899aabbccddeeff",         false },
    { "nothing",                           "",                                                        false },
};

static void key_names_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(key_names); i++) {
        struct bw_key_name name;
        char text[BW_KEY_NAME_MAX + 1];
        bool accepted = bw_ok(bw_key_name_parse(bw_bytes_text(key_names[i].text), &name));

        if (accepted != key_names[i].accepted)
            fail_msg("%s", key_names[i].why);
        if (!accepted)
            continue;
        bw_key_name_print(&name, text);
        assert_string_equal(text, key_names[i].text);
    }
}

static const struct { const char *why; const char *text; bool accepted; enum bw_role role; } identities[] = {
    { "an application",            "spiffe://ex.org/region/eu/tenant/acme/app/web-1",       true,  BW_ROLE_APP },
    { "a custodian",               "spiffe://ex.org/region/eu/tenant/acme/custodian/Ann.B", true,  BW_ROLE_CUSTODIAN },
    { "an auditor",                "spiffe://ex.org/region/eu/tenant/acme/auditor/x",       true,  BW_ROLE_AUDITOR },
    { "an operator",               "spiffe://ex.org/region/eu/operator/ops",                true,  BW_ROLE_OPERATOR },
    { "a node",                    "spiffe://ex.org/region/eu/node/n1",                     true,  BW_ROLE_NODE },
    { "an unknown role",           "spiffe://ex.org/region/eu/tenant/acme/admin/x",         false, BW_ROLE_NONE },
    { "an operator of a tenant",   "spiffe://ex.org/region/eu/tenant/acme/operator/x",      false, BW_ROLE_NONE },
    { "no name",                   "spiffe://ex.org/region/eu/tenant/acme/app/",            false, BW_ROLE_NONE },
    { "a name with a slash",       "spiffe://ex.org/region/eu/tenant/acme/app/a/b",         false, BW_ROLE_NONE },
    { "a name with a blank",       "spiffe://ex.org/region/eu/tenant/acme/app/a b",         false, BW_ROLE_NONE },
    { "no trust domain",           "spiffe:///region/eu/node/n1",                           false, BW_ROLE_NONE },
    { "another scheme",            "https://ex.org/region/eu/node/n1",                      false, BW_ROLE_NONE },
};

static void identities_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(identities); i++) {
        struct bw_identity identity;
        char text[BW_SPIFFE_MAX + 1];
        bool accepted = bw_ok(bw_identity_parse(bw_bytes_text(identities[i].text), &identity));

        if (accepted != identities[i].accepted)
            fail_msg("%s", identities[i].why);
        if (!accepted)
            continue;
        assert_int_equal(identity.role, identities[i].role);
        bw_identity_print(&identity, text, sizeof text);
        assert_string_equal(text, identities[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_names_are_all_or_nothing),
        cmocka_unit_test(identities_are_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
