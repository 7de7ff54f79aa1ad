/* Attributes as data: what objects have, what they read as unset, and what a template may say on which occasion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "attributes.h"
#include "bailiwick/limits.h"
#include "output.h"

static CK_OBJECT_CLASS secret = CKO_SECRET_KEY, private = CKO_PRIVATE_KEY, data = CKO_DATA, mechanism = CKO_MECHANISM;
static CK_KEY_TYPE aes = CKK_AES, rsa = CKK_RSA, des = CKK_DES;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE, odd = 0x80;
static CK_ULONG number = 32;
static char date[] = "20300101";

#define CLASS(class)   { CKA_CLASS, &class, sizeof class }
#define TYPE(type)     { CKA_KEY_TYPE, &type, sizeof type }

/* ---- templates ---- */

static const struct { const char *why; enum bw_occasion occasion; CK_ATTRIBUTE template[4]; CK_ULONG count; enum bw_code code; } templates[] = {
    { "a data object",                              BW_GIVEN_CREATE,   { CLASS(data), { CKA_VALUE, "x", 1 } },                          2, BW_OK },
    { "nothing",                                    BW_GIVEN_CREATE,   { { 0, NULL, 0 } },                                              0, BW_TEMPLATE_INCOMPLETE },
    { "a key without its type",                     BW_GIVEN_CREATE,   { CLASS(secret) },                                               1, BW_TEMPLATE_INCOMPLETE },
    { "a type of key that we do not have",          BW_GIVEN_CREATE,   { CLASS(secret), TYPE(des) },                                    2, BW_ATTRIBUTE_VALUE },
    { "a class that we do not make",                BW_GIVEN_CREATE,   { CLASS(mechanism) },                                              1, BW_ATTRIBUTE_VALUE },
    { "the type before the class",                  BW_GIVEN_UNWRAP,   { TYPE(aes), { CKA_ENCRYPT, &yes, 1 }, CLASS(secret) },          3, BW_OK },
    { "an attribute of no object",                  BW_GIVEN_CREATE,   { CLASS(data), { CKA_VENDOR_DEFINED | 1, &yes, 1 } },            2, BW_ATTRIBUTE_TYPE },
    { "an attribute of other objects",              BW_GIVEN_CREATE,   { CLASS(data), { CKA_MODULUS, "x", 1 } },                        2, BW_ATTRIBUTE_TYPE },
    { "an attribute that is ours to say",           BW_GIVEN_UNWRAP,   { CLASS(secret), TYPE(aes), { CKA_LOCAL, &yes, 1 } },            3, BW_ATTRIBUTE_READ_ONLY },
    { "a length when a key is generated",           BW_GIVEN_GENERATE, { CLASS(secret), TYPE(aes), { CKA_VALUE_LEN, &number, sizeof number } }, 3, BW_OK },
    { "a length when a key is created",             BW_GIVEN_CREATE,   { CLASS(secret), TYPE(aes), { CKA_VALUE_LEN, &number, sizeof number } }, 3, BW_ATTRIBUTE_READ_ONLY },
    { "parts of a private key",                     BW_GIVEN_CREATE,   { CLASS(private), TYPE(rsa), { CKA_PRIME_1, "x", 1 } },          3, BW_ATTRIBUTE_READ_ONLY },
    { "a bool of two bytes",                        BW_GIVEN_CREATE,   { CLASS(data), { CKA_TOKEN, "xy", 2 } },                         2, BW_ATTRIBUTE_VALUE },
    { "a number of four bytes",                     BW_GIVEN_GENERATE, { CLASS(secret), TYPE(aes), { CKA_VALUE_LEN, &number, 4 } },     3, BW_ATTRIBUTE_VALUE },
    { "a date",                                     BW_GIVEN_UNWRAP,   { CLASS(secret), TYPE(aes), { CKA_START_DATE, date, 8 } },       3, BW_OK },
    { "no date",                                    BW_GIVEN_UNWRAP,   { CLASS(secret), TYPE(aes), { CKA_START_DATE, NULL, 0 } },       3, BW_OK },
    { "half a date",                                BW_GIVEN_UNWRAP,   { CLASS(secret), TYPE(aes), { CKA_START_DATE, date, 4 } },       3, BW_ATTRIBUTE_VALUE },
    { "a length without a value",                   BW_GIVEN_CREATE,   { CLASS(data), { CKA_VALUE, NULL, 1 } },                         2, BW_ATTRIBUTE_VALUE },
    { "the same twice",                             BW_GIVEN_CREATE,   { CLASS(data), { CKA_LABEL, "x", 1 }, { CKA_LABEL, "x", 1 } },   3, BW_OK },
    { "one attribute, two values",                  BW_GIVEN_CREATE,   { CLASS(data), { CKA_LABEL, "x", 1 }, { CKA_LABEL, "y", 1 } },   3, BW_TEMPLATE_INVALID },
    { "two classes",                                BW_GIVEN_CREATE,   { CLASS(data), CLASS(secret) },                                  2, BW_TEMPLATE_INVALID },
};

static void templates_are_taken_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(templates); i++) {
        struct bw_attributes a = { 0 };
        bw_result r = bw_attributes_take(&a, templates[i].occasion, templates[i].template, templates[i].count);

        if (r.code != templates[i].code)
            fail_msg("%s: %s", templates[i].why, bw_code_row(r.code)->name);
        bw_attributes_clear(&a);
    }
}

static void a_template_has_an_end(void **state)
{
    (void)state;
    struct bw_attributes a = { 0 };
    CK_ATTRIBUTE one = { CKA_LABEL, NULL, 0 };

    assert_int_equal(bw_template_check(NULL, 1).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_template_check(&one, BW_TEMPLATE_MAX + 1).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_attributes_read(&a, &one, (CK_ULONG)-1).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_template_check(NULL, 0).code, BW_OK);
}

/* ---- one object ---- */

static struct bw_attributes secret_key(void)
{
    struct bw_attributes a = { 0 };

    assert_true(bw_ok(bw_attributes_set_ulong(&a, CKA_CLASS, CKO_SECRET_KEY)));
    assert_true(bw_ok(bw_attributes_set_ulong(&a, CKA_KEY_TYPE, CKK_AES)));
    assert_true(bw_ok(bw_attributes_set(&a, CKA_LABEL, bw_bytes_text("label"))));
    return a;
}

static void what_is_unset_reads_as_the_table_says(void **state)
{
    (void)state;
    struct bw_attributes a = secret_key();
    bw_bytes value;

    assert_true(bw_attributes_bool(&a, CKA_SENSITIVE));
    assert_false(bw_attributes_bool(&a, CKA_EXTRACTABLE));
    assert_false(bw_attributes_bool(&a, CKA_ALWAYS_AUTHENTICATE)); /* secret keys have none */
    assert_int_equal(bw_attributes_ulong(&a, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(bw_attributes_bytes(&a, CKA_ID).len, 0);
    assert_false(bw_attributes_stored(&a, CKA_ID, &value));
    bw_attributes_clear(&a);
}

static void setting_replaces(void **state)
{
    (void)state;
    struct bw_attributes a = secret_key(), copy = { 0 };

    for (int i = 0; i < 100; i++) {
        assert_true(bw_ok(bw_attributes_set(&a, CKA_LABEL, bw_bytes_text(i % 2 ? "a longer label" : ""))));
        assert_true(bw_ok(bw_attributes_set_bool(&a, CKA_WRAP, i % 3 == 0)));
    }
    assert_true(bw_bytes_equal(bw_attributes_bytes(&a, CKA_LABEL), bw_bytes_text("a longer label")));
    assert_true(bw_attributes_bool(&a, CKA_WRAP));
    assert_int_equal(bw_attributes_ulong(&a, CKA_KEY_TYPE), CKK_AES);
    assert_true(a.packed.len < 200); /* nothing is left of the old ones */
    assert_true(bw_ok(bw_attributes_copy(&a, &copy)));
    bw_attributes_clear(&a);
    assert_true(bw_attributes_bool(&copy, CKA_WRAP));
    bw_attributes_clear(&copy);
}

static const struct { const char *why; CK_ATTRIBUTE template[2]; CK_ULONG count; bool matches; } searches[] = {
    { "nothing asked",                        { { 0, NULL, 0 } },                                        0, true  },
    { "its class",                            { CLASS(secret) },                                         1, true  },
    { "another class",                        { CLASS(private) },                                        1, false },
    { "class and label",                      { CLASS(secret), { CKA_LABEL, "label", 5 } },              2, true  },
    { "a longer label",                       { { CKA_LABEL, "label2", 6 } },                            1, false },
    { "an empty id, as it has none",          { { CKA_ID, NULL, 0 } },                                   1, true  },
    { "true by any byte that is not zero",    { { CKA_SENSITIVE, &odd, 1 } },                            1, true  },
    { "false where it is true",               { { CKA_SENSITIVE, &no, 1 } },                             1, false },
    { "a bool without a byte",                { { CKA_SENSITIVE, NULL, 0 } },                            1, false },
    { "an attribute that it does not have",   { { CKA_MODULUS, NULL, 0 } },                              1, false },
    { "an attribute that nothing has",        { { CKA_VENDOR_DEFINED, NULL, 0 } },                       1, false },
    { "its value: nobody may guess it so",    { { CKA_VALUE, "hidden", 6 } },                            1, false },
    { "a length without a value",             { { CKA_LABEL, NULL, 5 } },                                1, false },
};

static void searches_match_by_every_attribute(void **state)
{
    (void)state;
    struct bw_attributes a = secret_key();

    assert_true(bw_ok(bw_secret_copy(bw_bytes_text("hidden"), &a.hidden)));
    for (size_t i = 0; i < ARRAY_LEN(searches); i++)
        if (bw_attributes_match(&a, searches[i].template, searches[i].count) != searches[i].matches)
            fail_msg("%s", searches[i].why);
    bw_attributes_clear(&a);
}

static void a_value_is_shown_only_where_it_may_be(void **state)
{
    (void)state;
    static const struct { CK_BBOOL *sensitive, *extractable; enum bw_code code; } rules[] = {
        { &yes, &no, BW_ATTRIBUTE_SENSITIVE }, { &yes, &yes, BW_ATTRIBUTE_SENSITIVE }, { &no, &no, BW_ATTRIBUTE_SENSITIVE }, { &no, &yes, BW_OK },
    };
    struct bw_attributes a = secret_key();
    char value[8];

    assert_true(bw_ok(bw_secret_copy(bw_bytes_text("hidden"), &a.hidden)));
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        CK_ATTRIBUTE entry = { CKA_VALUE, value, sizeof value };
        assert_true(bw_ok(bw_attributes_set_bool(&a, CKA_SENSITIVE, *rules[i].sensitive)));
        assert_true(bw_ok(bw_attributes_set_bool(&a, CKA_EXTRACTABLE, *rules[i].extractable)));
        assert_int_equal(bw_attributes_read(&a, &entry, 1).code, rules[i].code);
    }
    assert_memory_equal(value, "hidden", 6);
    bw_attributes_clear(&a);
}

static void a_template_may_be_packed_at_any_address(void **state)
{
    (void)state;
    struct bw_attributes a = secret_key();
    char label[8];
    CK_ATTRIBUTE entries[2] = { { CKA_LABEL, label, sizeof label }, { CKA_MODULUS, NULL, 0 } };
    uint8_t packed[1 + sizeof entries];

    memcpy(packed + 1, entries, sizeof entries);
    assert_int_equal(bw_attributes_read(&a, (CK_ATTRIBUTE *)(void *)(packed + 1), 2).code, BW_ATTRIBUTE_TYPE);
    memcpy(entries, packed + 1, sizeof entries);
    assert_int_equal(entries[0].ulValueLen, 5);
    assert_memory_equal(label, "label", 5);
    assert_int_equal(entries[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    bw_attributes_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_taken_or_refused),
        cmocka_unit_test(a_template_has_an_end),
        cmocka_unit_test(what_is_unset_reads_as_the_table_says),
        cmocka_unit_test(setting_replaces),
        cmocka_unit_test(searches_match_by_every_attribute),
        cmocka_unit_test(a_value_is_shown_only_where_it_may_be),
        cmocka_unit_test(a_template_may_be_packed_at_any_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
