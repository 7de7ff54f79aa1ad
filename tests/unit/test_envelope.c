/* The envelope's bytes: what is written parses to the same, and every other byte string is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "envelope.h"
#include "registry.h"

static const uint8_t nonce[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const uint8_t sealed[20] = { 0xaa };

static struct bw_key_name a_key(void)
{
    struct bw_key_name name = { .id = { { 0xde, 0xad } } };

    assert_true(bw_ok(bw_region_parse(bw_bytes_text("eu-central"), &name.region)));
    assert_true(bw_ok(bw_tenant_parse(bw_bytes_text("acme"), &name.tenant)));
    return name;
}

/* A whole envelope in the arena. */
static bw_bytes an_envelope(struct bw_arena *arena)
{
    struct bw_key_name name = a_key();
    bw_bytes header;

    assert_true(bw_ok(bw_envelope_header(&name, 7, bw_bytes_of(nonce, sizeof nonce), arena, &header)));
    uint8_t *blob = bw_arena_alloc(arena, header.len + sizeof sealed);
    memcpy(blob, header.data, header.len);
    memcpy(blob + header.len, sealed, sizeof sealed);
    return bw_bytes_of(blob, header.len + sizeof sealed);
}

static void what_is_written_parses_to_the_same(void **state)
{
    struct bw_arena arena = { 0 };
    struct bw_key_name name = a_key();
    struct bw_envelope envelope;

    (void)state;
    assert_true(bw_ok(bw_envelope_parse(an_envelope(&arena), &envelope)));
    assert_memory_equal(&envelope.key, &name, sizeof name);
    assert_int_equal(envelope.version, 7);
    assert_memory_equal(envelope.nonce.data, nonce, sizeof nonce);
    assert_int_equal(envelope.ciphertext.len, sizeof sealed);
    bw_arena_clear(&arena);
}

/* The published layout, byte by byte: a change here breaks every envelope out there. */
static void the_layout_is_the_published_one(void **state)
{
    static const uint8_t expected[] = {
        'B', 'W', 'K', '1', 0, 57, 1, 0, 10, 'e', 'u', '-', 'c', 'e', 'n', 't', 'r', 'a', 'l', 4, 'a', 'c', 'm', 'e',
        0xde, 0xad, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    };
    struct bw_arena arena = { 0 };
    bw_bytes blob = an_envelope(&arena);

    (void)state;
    assert_int_equal(sizeof expected, 57);
    assert_memory_equal(blob.data, expected, sizeof expected);
    bw_arena_clear(&arena);
}

static void every_cut_is_refused(void **state)
{
    struct bw_arena arena = { 0 };
    bw_bytes blob = an_envelope(&arena);

    (void)state;
    for (size_t len = 0; len < blob.len - 4; len++) { /* the last four cuts leave a whole tag */
        struct bw_envelope envelope;
        assert_int_equal(bw_envelope_parse(bw_bytes_of(blob.data, len), &envelope).code, BW_ENVELOPE_INVALID);
    }
    bw_arena_clear(&arena);
}

/* A changed byte of the header is refused, or it changes what is authenticated. */
static void no_header_byte_changes_unseen(void **state)
{
    struct bw_arena arena = { 0 };
    bw_bytes blob = an_envelope(&arena);
    uint8_t *bytes = (uint8_t *)(uintptr_t)blob.data;
    struct bw_envelope before, after;

    (void)state;
    assert_true(bw_ok(bw_envelope_parse(blob, &before)));
    bw_bytes header = { bw_arena_copy(&arena, before.header), before.header.len };
    for (size_t i = 0; i < 8 * header.len; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        if (bw_ok(bw_envelope_parse(blob, &after)))
            assert_false(bw_bytes_equal(after.header, header));
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    bw_arena_clear(&arena);
}

static const struct { const char *why; struct bw_text_pair a[2], b[2]; size_t a_count, b_count; } contexts[] = {
    { "bytes move from value to name",      { { "a", "bc" } },              { { "ab", "c" } },             1, 1 },
    { "one pair is not two",                { { "a", "b" } },               { { "a", "b" }, { "c", "" } }, 1, 2 },
    { "a pair does not hide in a value",    { { "a", "1" }, { "b", "2" } }, { { "a", "1b2" } },            2, 1 },
    { "empty is not absent",                { { "a", "" } },                { { NULL, NULL } },            1, 0 },
};

static void contexts_that_differ_are_authenticated_differently(void **state)
{
    struct bw_arena arena = { 0 };
    bw_bytes a, b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
        assert_true(bw_ok(bw_envelope_authenticated((bw_bytes){ 0 }, contexts[i].a, contexts[i].a_count, &arena, &a)));
        assert_true(bw_ok(bw_envelope_authenticated((bw_bytes){ 0 }, contexts[i].b, contexts[i].b_count, &arena, &b)));
        if (bw_bytes_equal(a, b))
            fail_msg("%s", contexts[i].why);
    }
    bw_arena_clear(&arena);
}

static void a_name_that_stands_twice_is_refused(void **state)
{
    static const struct bw_text_pair twice[] = { { "a", "1" }, { "a", "2" } };
    struct bw_arena arena = { 0 };
    bw_bytes data;

    (void)state;
    assert_int_equal(bw_envelope_authenticated((bw_bytes){ 0 }, twice, 2, &arena, &data).code, BW_BAD_ARGUMENT);
    bw_arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_parses_to_the_same),
        cmocka_unit_test(the_layout_is_the_published_one),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(no_header_byte_changes_unseen),
        cmocka_unit_test(contexts_that_differ_are_authenticated_differently),
        cmocka_unit_test(a_name_that_stands_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
