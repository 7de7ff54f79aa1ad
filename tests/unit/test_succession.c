/* The keys of a log, one after the other: what one vouched for is believed, in its turn, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake/soft_signer.h"
#include "succession.h"

enum { KEYS = 3 };

static const char         origin[] = "eu.example/audit/t/sample";
static struct soft_signer soft[KEYS + 1];  /* the last is nobody's */
static struct bw_note_key keys[KEYS + 1];  /* as the log's */
static struct bw_buf      text;            /* key 0 until size 10, key 1 until 20, then key 2 */
static size_t             first_len;       /* of its first note */

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

/* Another root for each size. */
static struct bw_checkpoint head(uint64_t size)
{
    struct bw_checkpoint checkpoint = { .size = size };

    strcpy(checkpoint.origin, origin);
    memset(checkpoint.root.bytes, (int)size, sizeof checkpoint.root.bytes);
    return checkpoint;
}

static void sign_as(const struct soft_signer *by, const struct bw_checkpoint *checkpoint, struct bw_buf *ret_note)
{
    struct bw_note_signer signer = by->signer;
    struct bw_buf         body   = { 0 };

    ret_note->len = 0;
    check_ok(bw_note_key_make(checkpoint->origin, signer.key.type, bw_bytes_of(signer.key.key, signer.key.key_len), &signer.key));
    check_ok(bw_checkpoint_print(checkpoint, &body));
    check_ok(bw_note_sign(bw_buf_bytes(&body), &signer, ret_note));
    bw_buf_clear(&body);
}

static void add(uint64_t size, uint64_t number, unsigned old, unsigned next, struct bw_buf *to)
{
    const struct bw_checkpoint last = head(size);
    check_ok(bw_succession_add(&last, number, &soft[old].signer, &soft[next].signer.key, to));
}

static int make(void **state)
{
    (void)state;
    for (uint8_t i = 0; i <= KEYS; i++) {
        soft_signer_make_numbered(&soft[i], i);
        check_ok(bw_note_key_make(origin, BW_NOTE_ED25519, bw_bytes_of(soft[i].signer.key.key, soft[i].signer.key.key_len), &keys[i]));
    }
    add(10, 1, 0, 1, &text);
    first_len = text.len;
    add(20, 2, 1, 2, &text);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    bw_buf_clear(&text);
    return 0;
}

static void it_leads_from_the_first_key_to_the_last(void **state)
{
    struct bw_succession read;

    (void)state;
    check_ok(bw_succession_read(bw_buf_bytes(&text), &read));
    assert_int_equal(read.count, KEYS);
    assert_int_equal(read.first, 0);
    assert_int_equal(bw_succession_number(&read), 2);
    for (size_t i = 0; i < KEYS; i++)
        assert_true(bw_note_key_is_same(&read.keys[i], &keys[i]));
    check_ok(bw_succession_read(bw_bytes_of(NULL, 0), &read));
    assert_int_equal(read.count, 0);
    assert_int_equal(bw_succession_number(&read), 0);
}

/* ---- whose turn it is ---- */

static const struct { const char *what; unsigned by; uint64_t size; bool another_root; unsigned known; enum bw_code code; } turns[] = {
    { "the last key signs what comes after",                      2, 21, false, 0, BW_OK                },
    { "and what the one before ended with",                       2, 20, false, 0, BW_OK                },
    { "but not another history of that length",                   2, 20, true,  0, BW_DATA_INVALID      },
    { "nor what is older: an old range signed again",             2, 19, false, 0, BW_SIGNATURE_INVALID },
    { "a retired key's old checkpoints stand",                    1, 15, false, 0, BW_OK                },
    { "to its last one",                                          1, 20, false, 0, BW_OK                },
    { "but it signs nothing after it",                            1, 21, false, 0, BW_SIGNATURE_INVALID },
    { "nor another last one",                                     1, 20, true,  0, BW_DATA_INVALID      },
    { "nor what was before its turn",                             1, 9,  false, 0, BW_SIGNATURE_INVALID },
    { "the first key signs from the beginning",                   0, 0,  false, 0, BW_OK                },
    { "and nothing after its turn",                               0, 11, false, 0, BW_SIGNATURE_INVALID },
    { "nobody else signs",                                        3, 21, false, 0, BW_SIGNATURE_INVALID },
    { "who knows the second key alone believes the last",         2, 21, false, 1, BW_OK                },
    { "and the second",                                           1, 20, false, 1, BW_OK                },
    { "but not the first, which nobody vouches for backwards",    0, 5,  false, 1, BW_SIGNATURE_INVALID },
    { "who knows the last key believes it",                       2, 21, false, 2, BW_OK                },
    { "who knows none of them believes nothing",                  2, 21, false, 3, BW_SIGNATURE_INVALID },
};

static void a_key_is_believed_in_its_turn_alone(void **state)
{
    struct bw_buf note = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        struct bw_checkpoint signed_one = head(turns[i].size), got;
        struct bw_succession read;
        print_message("%s\n", turns[i].what);
        signed_one.root.bytes[0] ^= turns[i].another_root;
        sign_as(&soft[turns[i].by], &signed_one, &note);
        check_ok(bw_succession_read(bw_buf_bytes(&text), &read));
        bw_result r = bw_succession_trust(&read, &keys[turns[i].known], 1);
        if (bw_ok(r))
            r = bw_succession_verify(&read, bw_buf_bytes(&note), &got);
        assert_int_equal(r.code, turns[i].code);
    }
    bw_buf_clear(&note);
}

/* ---- what is no succession ---- */

static void gap(struct bw_buf *to)       { add(10, 1, 0, 1, to); add(20, 3, 1, 2, to); }
static void again(struct bw_buf *to)     { add(10, 1, 0, 1, to); add(20, 1, 1, 2, to); }
static void leap(struct bw_buf *to)      { add(10, 1, 0, 1, to); add(20, 2, 3, 2, to); }
static void shrink(struct bw_buf *to)    { add(10, 1, 0, 1, to); add(9, 2, 1, 2, to); }
static void backwards(struct bw_buf *to) { add(20, 2, 1, 2, to); add(10, 1, 0, 1, to); }
static void of_another(struct bw_buf *to)
{
    struct bw_checkpoint last = head(20);

    add(10, 1, 0, 1, to);
    strcpy(last.origin, "eu.example/audit/t/another");
    check_ok(bw_succession_add(&last, 2, &soft[1].signer, &soft[2].signer.key, to));
}
static void unfinished(struct bw_buf *to) { check_ok(bw_buf_add(to, bw_bytes_of(text.data, first_len + 1))); }

static const struct { const char *what; void (*print)(struct bw_buf *to); } wrong[] = {
    { "a number is missing", gap }, { "a number comes twice", again }, { "another key goes on", leap }, { "the log got shorter", shrink },
    { "the last comes first", backwards }, { "a note of another log", of_another }, { "an empty line too much", unfinished },
};

static void what_does_not_follow_is_no_succession(void **state)
{
    struct bw_succession read;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct bw_buf other = { 0 };
        print_message("%s\n", wrong[i].what);
        wrong[i].print(&other);
        assert_int_equal(bw_succession_read(bw_buf_bytes(&other), &read).code, BW_DATA_INVALID);
        bw_buf_clear(&other);
    }
}

static void no_bit_of_it_can_be_flipped(void **state)
{
    struct bw_succession read;

    (void)state;
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bw_result r = bw_succession_read(bw_buf_bytes(&text), &read);
        if (r.code != BW_DATA_INVALID && r.code != BW_SIGNATURE_INVALID)
            fail_msg("bit %zu: %s", bit, bw_code_row(r.code)->name);
        text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 1; len < text.len; len++)
        if (len != first_len)
            assert_int_equal(bw_succession_read(bw_bytes_of(text.data, len), &read).code, BW_DATA_INVALID);
}

/* The notes have a name of their own, so none is taken for a checkpoint. */
static void a_note_about_a_key_is_no_checkpoint(void **state)
{
    bw_bytes body;

    (void)state;
    assert_int_equal(bw_note_verify(bw_bytes_of(text.data, first_len), &keys[0], 1, &body).code, BW_SIGNATURE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_leads_from_the_first_key_to_the_last),
        cmocka_unit_test(a_key_is_believed_in_its_turn_alone),
        cmocka_unit_test(what_does_not_follow_is_no_succession),
        cmocka_unit_test(no_bit_of_it_can_be_flipped),
        cmocka_unit_test(a_note_about_a_key_is_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
