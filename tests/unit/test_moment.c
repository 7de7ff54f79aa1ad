/* Points in time: what people may write, and what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "moment.h"

#define NOW 1767323045678901 /* 2026-01-02T03:04:05.678901Z */

static const struct { const char *why; const char *text; bool accepted; int64_t us; } moments[] = {
    { "the beginning",                     "1970-01-01T00:00:00Z",             true,  0 },
    { "a second",                          "2026-01-02T03:04:05Z",             true,  1767323045000000 },
    { "a fraction",                        "2026-01-02T03:04:05.678901Z",      true,  NOW },
    { "a short fraction",                  "2026-01-02T03:04:05.5Z",           true,  1767323045500000 },
    { "nanoseconds, cut",                  "2026-01-02T03:04:05.678901999Z",   true,  NOW },
    { "an offset to the east",             "2026-01-02T04:34:05.678901+01:30", true,  NOW },
    { "an offset to the west",             "2026-01-01T22:04:05.678901-05:00", true,  NOW },
    { "a blank for the T",                 "2026-01-02 03:04:05Z",             true,  1767323045000000 },
    { "a leap day",                        "2024-02-29T00:00:00Z",             true,  1709164800000000 },
    { "before 1970",                       "1969-12-31T23:59:59Z",             true,  -1000000 },
    { "now",                               "now",                              true,  NOW },
    { "seconds ago",                       "-90s",                             true,  NOW - 90000000 },
    { "minutes ago",                       "-15m",                             true,  NOW - 900000000 },
    { "an hour ago",                       "-1h",                              true,  NOW - 3600000000 },
    { "days ago",                          "-7d",                              true,  NOW - 604800000000 },
    { "weeks ahead",                       "+2w",                              true,  NOW + 1209600000000 },
    { "nothing",                           "",                                 false, 0 },
    { "a day without a time",              "2026-01-02",                       false, 0 },
    { "a time that names no zone",         "2026-01-02T03:04:05",              false, 0 },
    { "something behind it",               "2026-01-02T03:04:05Zx",            false, 0 },
    { "a day that is none",                "2026-02-29T00:00:00Z",             false, 0 },
    { "a month that is none",              "2026-13-01T00:00:00Z",             false, 0 },
    { "an hour that is none",              "2026-01-02T24:00:00Z",             false, 0 },
    { "an offset that is none",            "2026-01-02T03:04:05+24:00",        false, 0 },
    { "a point without a fraction",        "2026-01-02T03:04:05.Z",            false, 0 },
    { "a year of three digits",            "026-01-02T03:04:05Z",              false, 0 },
    { "a relative time without a number",  "-h",                               false, 0 },
    { "a relative time without a unit",    "-1",                               false, 0 },
    { "an unknown unit",                   "-1y",                              false, 0 },
    { "two units",                         "-1h30m",                           false, 0 },
    { "a number beyond reason",            "-99999999999999999999s",           false, 0 },
    { "a number without a sign",           "1h",                               false, 0 },
};

static void moments_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        int64_t us = 0;
        if (bw_ok(bw_moment_parse(moments[i].text, NOW, &us)) != moments[i].accepted || us != moments[i].us)
            fail_msg("%s: %lld", moments[i].why, (long long)us);
    }
}

static const struct { int64_t us; const char *text; } printed[] = {
    { 0,                 "1970-01-01T00:00:00.000000Z" },
    { NOW,               "2026-01-02T03:04:05.678901Z" },
    { -1,                "1969-12-31T23:59:59.999999Z" },
    { INT64_MAX,         "9999-12-31T23:59:59.999999Z" },
    { INT64_MIN,         "0000-01-01T00:00:00.000000Z" },
};

static void moments_print_in_one_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(printed); i++) {
        char text[BW_MOMENT_TEXT];
        bw_moment_print(printed[i].us, text);
        assert_string_equal(text, printed[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_all_or_nothing),
        cmocka_unit_test(moments_print_in_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
