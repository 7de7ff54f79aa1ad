/* name=value pairs of a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pair.h"

static const struct bw_option own[] = { { "context", BW_OPTION_MANY, "NAME=VALUE", "" }, { 0 } };

enum { MOST = 2, TEXT_MAX = 5 };
static const struct { const char *why; const char *words[4]; bool accepted; size_t count; } cases[] = {
    { "none",                    { NULL },                                               true,  0 },
    { "one",                     { "--context=a=1" },                                    true,  1 },
    { "two",                     { "--context=a=1", "--context=b=2" },                   true,  2 },
    { "an empty value",          { "--context=a=" },                                     true,  1 },
    { "a value with a sign",     { "--context=a=b=c" },                                  true,  1 },
    { "name and value at most",  { "--context=abcde=12345" },                            true,  1 },
    { "no sign",                 { "--context=a" },                                      false, 0 },
    { "no name",                 { "--context==1" },                                     false, 0 },
    { "nothing",                 { "--context=" },                                       false, 0 },
    { "a name too long",         { "--context=abcdef=1" },                               false, 0 },
    { "a value too long",        { "--context=a=123456" },                               false, 0 },
    { "a name twice",            { "--context=a=1", "--context=a=2" },                   false, 0 },
    { "one too many",            { "--context=a=1", "--context=b=2", "--context=c=3" },  false, 0 },
};

static void pairs_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bw_cli   cli   = { .args.own = own };
        struct bw_pairs pairs = { 0 };
        char *words[5] = { 0 };

        for (size_t w = 0; w < 4; w++)
            words[w] = (char *)(uintptr_t)cases[i].words[w];
        assert_true(bw_ok(bw_args_read_all(&cli.args, words, "")));
        if (bw_ok(bw_pairs_read(&cli, "context", MOST, TEXT_MAX, &pairs)) != cases[i].accepted || pairs.count != cases[i].count)
            fail_msg("%s", cases[i].why);
        bw_cli_clear(&cli);
    }
}

static void the_first_sign_ends_the_name(void **state)
{
    struct bw_cli   cli = { .args.own = own };
    struct bw_pairs pairs;
    char *words[] = { "--context=a=b=c", NULL };

    (void)state;
    assert_true(bw_ok(bw_args_read_all(&cli.args, words, "")));
    assert_true(bw_ok(bw_pairs_read(&cli, "context", MOST, TEXT_MAX, &pairs)));
    assert_string_equal(pairs.list[0]->name, "a");
    assert_string_equal(pairs.list[0]->value, "b=c");
    bw_cli_clear(&cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_all_or_nothing),
        cmocka_unit_test(the_first_sign_ends_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
