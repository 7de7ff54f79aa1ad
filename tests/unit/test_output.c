/* "NULL asks the length, a short buffer says so": with lengths and places as callers really hand them in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "output.h"

static const struct { const char *why; size_t result; size_t room; bool query; enum bw_code code; CK_ULONG told; bool written; } outputs[] = {
    { "room to spare",                         3,  9, false, BW_OK,           3, true  },
    { "room that just fits",                   3,  3, false, BW_OK,           3, true  },
    { "a byte too few",                        3,  2, false, BW_BUFFER_SMALL, 3, false },
    { "no room at all",                        3,  0, false, BW_BUFFER_SMALL, 3, false },
    { "nothing to write needs no room",        0,  0, false, BW_OK,           0, true  },
    { "a query, whatever its length was",      3, 99, true,  BW_OK,           3, false },
    { "a query whose length was never set",    3, (size_t)-1, true, BW_OK,    3, false },
};

static void every_output_follows_the_convention(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++) {
        uint8_t  place[16];
        CK_ULONG len = outputs[i].room;
        struct bw_out out = { outputs[i].query ? NULL : place, &len };

        memset(place, 0xee, sizeof place);
        bw_result r = bw_out_write(out, bw_bytes_of("abc", outputs[i].result));
        if (r.code != outputs[i].code || len != outputs[i].told)
            fail_msg("%s", outputs[i].why);
        if (place[outputs[i].result] != 0xee || (outputs[i].result > 0 && (place[0] == 'a') != outputs[i].written))
            fail_msg("%s: bytes", outputs[i].why);
    }
}

static void a_length_may_be_unaligned(void **state)
{
    (void)state;
    uint8_t  packed[1 + sizeof(CK_ULONG)];
    uint8_t  place[4];
    struct bw_out out = { place, (CK_ULONG *)(void *)(packed + 1) };

    bw_ulong_put(packed + 1, sizeof place);
    assert_int_equal(bw_out_write(out, bw_bytes_of("abc", 3)).code, BW_OK);
    assert_int_equal(bw_ulong_at(packed + 1), 3);
}

static void a_missing_length_is_an_argument_error(void **state)
{
    (void)state;
    uint8_t place[4];

    assert_int_equal(bw_out_check((struct bw_out){ place, NULL }).code, BW_BAD_ARGUMENT);
}

static void no_data_needs_no_pointer(void **state)
{
    (void)state;
    bw_bytes bytes;

    assert_int_equal(bw_input(NULL, 0, &bytes).code, BW_OK);
    assert_int_equal(bytes.len, 0);
    assert_int_equal(bw_input(NULL, 1, &bytes).code, BW_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_output_follows_the_convention),
        cmocka_unit_test(a_length_may_be_unaligned),
        cmocka_unit_test(a_missing_length_is_an_argument_error),
        cmocka_unit_test(no_data_needs_no_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
