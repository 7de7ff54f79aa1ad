/* Digests of the application's process: published values, in parts, saved and gone on with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hash.h"

/* FIPS 180-4's message "abc", as NIST publishes its results (CSRC, Example Values, SHA). */
static const struct { enum bw_digest digest; const char *value; } abc[] = {
    { BW_DIGEST_SHA1,   "a9993e364706816aba3e25717850c26c9cd0d89d" },
    { BW_DIGEST_SHA224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7" },
    { BW_DIGEST_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { BW_DIGEST_SHA384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7" },
    { BW_DIGEST_SHA512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
};

static void add(struct bw_hash *hash, const char *text)
{
    assert_true(bw_ok(bw_hash_add(hash, bw_bytes_text(text))));
}

static void is_value_of(struct bw_hash *hash, const char *hex)
{
    uint8_t digest[BW_HASH_MAX], expected[BW_HASH_MAX];

    assert_int_equal(bw_hash_len(hash), strlen(hex) / 2);
    assert_true(bw_unhex(hex, strlen(hex), expected));
    assert_true(bw_ok(bw_hash_end(hash, digest)));
    assert_memory_equal(digest, expected, bw_hash_len(hash));
}

static void digests_are_those_of_fips_180(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(abc); i++) {
        BW_AUTO(hash) hash = NULL;

        assert_true(bw_ok(bw_hash_new(abc[i].digest, &hash)));
        add(hash, "a");
        add(hash, "");
        add(hash, "bc");
        is_value_of(hash, abc[i].value);
    }
}

static void a_saved_state_goes_on_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(abc); i++) {
        BW_AUTO(hash) first  = NULL;
        BW_AUTO(hash) second = NULL;

        assert_true(bw_ok(bw_hash_new(abc[i].digest, &first)));
        add(first, "ab");
        assert_true(bw_ok(bw_hash_load(bw_hash_state(first), &second)));
        add(first, "c");
        is_value_of(first, abc[i].value);
        add(second, "c");
        is_value_of(second, abc[i].value);
    }
}

/* Every single byte of it that is changed is refused or leads to some digest; none leads out of bounds (run with sanitizers). */
static void a_damaged_state_is_refused_or_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(abc); i++) {
        BW_AUTO(hash) hash = NULL;
        uint8_t copy[512], digest[BW_HASH_MAX];

        assert_true(bw_ok(bw_hash_new(abc[i].digest, &hash)));
        add(hash, "ab");
        bw_bytes saved = bw_hash_state(hash);
        assert_true(saved.len <= sizeof copy);
        for (size_t at = 0; at < saved.len; at++) {
            BW_AUTO(hash) loaded = NULL;

            memcpy(copy, saved.data, saved.len);
            copy[at] ^= 0xff;
            bw_result r = bw_hash_load(bw_bytes_of(copy, saved.len), &loaded);
            assert_true(bw_ok(r) || r.code == BW_SAVED_STATE);
            assert_true(at > 4 || !bw_ok(r));
            if (bw_ok(r)) {
                add(loaded, "some more that goes over the end of a block if the state says that there is hardly room left in it, "
                            "and over that of the longer blocks too");
                assert_true(bw_ok(bw_hash_end(loaded, digest)));
            }
        }
        BW_AUTO(hash) cut = NULL;
        assert_int_equal(bw_hash_load(bw_bytes_of(saved.data, saved.len - 1), &cut).code, BW_SAVED_STATE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_fips_180),
        cmocka_unit_test(a_saved_state_goes_on_twice),
        cmocka_unit_test(a_damaged_state_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
