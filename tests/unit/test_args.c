/* Command lines: what is read, what is refused, and which word is blamed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "args.h"

static const struct bw_option global[] = { { "json", BW_OPTION_FLAG, NULL, "" }, { "help", BW_OPTION_FLAG, NULL, "" }, { 0 } };
static const struct bw_option own[] = {
    { "key",     BW_OPTION_NEEDED, "KEY",  "" },
    { "label",   BW_OPTION_TEXT,   "TEXT", "" },
    { "context", BW_OPTION_MANY,   "N=V",  "" },
    { "newest",  BW_OPTION_FLAG,   NULL,   "" },
    { 0 }
};

enum { WORDS = 8 };
static const struct { const char *why; const char *usage; const char *words[WORDS]; bool accepted; const char *at_fault; } lines[] = {
    { "what is needed",                      "",         { "--key", "k" },                                true,  NULL },
    { "a value behind a sign",               "",         { "--key=k" },                                   true,  NULL },
    { "a value that looks like an option",   "",         { "--key", "--label" },                          true,  NULL },
    { "a value that begins with a hyphen",   "",         { "--key=k", "--label", "-1h" },                 true,  NULL },
    { "an empty value",                      "",         { "--key=k", "--label=" },                       true,  NULL },
    { "one option many times",               "",         { "--key=k", "--context=a=1", "--context=b=2" }, true,  NULL },
    { "a global option",                     "",         { "--key=k", "--json" },                         true,  NULL },
    { "operands between options",            "DIR CERT", { "a", "--key=k", "b" },                         true,  NULL },
    { "an operand that may be left out",     "DIR [X]",  { "a", "--key=k" },                              true,  NULL },
    { "an operand behind --",                "DIR",      { "--key=k", "--", "--label" },                  true,  NULL },
    { "help needs nothing else",             "DIR",      { "--help" },                                    true,  NULL },
    { "a needed option is missing",          "",         { "--label=x" },                                 false, "key" },
    { "an unknown option",                   "",         { "--key=k", "--colour" },                       false, "--colour" },
    { "the beginning of an option",          "",         { "--key=k", "--lab=x" },                        false, "--lab=x" },
    { "a flag with a value",                 "",         { "--key=k", "--newest=yes" },                   false, "--newest=yes" },
    { "an option without its value",         "",         { "--key=k", "--label" },                        false, "--label" },
    { "a single option twice",               "",         { "--key=k", "--label=a", "--label=b" },         false, "--label=b" },
    { "an operand too few",                  "DIR CERT", { "--key=k", "a" },                              false, "DIR CERT" },
    { "an operand too many",                 "DIR",      { "--key=k", "a", "b" },                         false, "b" },
    { "an operand where none is taken",      "",         { "--key=k", "a" },                              false, "a" },
    { "an option behind --",                 "",         { "--key=k", "--", "--newest" },                 false, "--newest" },
    { "operands without end",                "A B C D",  { "--key=k", "1", "2", "3", "4", "5" },          false, "5" },
};

static void command_lines_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct bw_args args = { .global = global, .own = own };
        char *words[WORDS + 1] = { 0 };

        for (size_t w = 0; w < WORDS; w++)
            words[w] = (char *)(uintptr_t)lines[i].words[w];
        if (bw_ok(bw_args_read_all(&args, words, lines[i].usage)) != lines[i].accepted)
            fail_msg("%s", lines[i].why);
        if (!lines[i].accepted)
            assert_string_equal(args.at_fault, lines[i].at_fault);
    }
}

static void values_are_found_by_name(void **state)
{
    char *words[] = { "--context=a=1", "--key", "k", "--context", "b=2", "--newest", NULL };
    struct bw_args args = { .global = global, .own = own };
    size_t at = 0;

    (void)state;
    assert_true(bw_ok(bw_args_read_all(&args, words, "")));
    assert_string_equal(bw_args_text(&args, "key"), "k");
    assert_string_equal(bw_args_next(&args, "context", &at), "a=1");
    assert_string_equal(bw_args_next(&args, "context", &at), "b=2");
    assert_null(bw_args_next(&args, "context", &at));
    assert_true(bw_args_flag(&args, "newest"));
    assert_false(bw_args_flag(&args, "json"));
    assert_null(bw_args_text(&args, "label"));
}

static void options_before_the_command_end_at_it(void **state)
{
    char *words[] = { "--json", "key", "--newest", NULL };
    struct bw_args args = { .global = global };
    char *const *rest;

    (void)state;
    assert_true(bw_ok(bw_args_read_options(&args, words, &rest)));
    assert_ptr_equal(rest, words + 1);
    assert_true(bw_args_flag(&args, "json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_are_all_or_nothing),
        cmocka_unit_test(values_are_found_by_name),
        cmocka_unit_test(options_before_the_command_end_at_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
