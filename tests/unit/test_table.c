/* The hash table, against an array that does the same slowly; and SipHash against its authors' vector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "table.h"

enum { ITEMS = 200, MOVES = 20000 };

static bool is_it(const void *value, const void *wanted) { return value == wanted; }

/* Few hashes, so that most items are not where they would like to be. */
static uint64_t hash_of(size_t item) { return item % 7; }

static void what_is_put_is_found_until_it_is_removed(void **state)
{
    struct bw_table table = { 0 };
    char items[ITEMS] = { 0 }; /* 1: is in the table */
    uint32_t random = 1;
    size_t count = 0;

    (void)state;
    for (int move = 0; move < MOVES; move++) {
        random = random * 1664525u + 1013904223u;
        size_t item = (random >> 8) % ITEMS;
        void  *found = bw_table_find(&table, hash_of(item), is_it, &items[item]);
        assert_ptr_equal(found, items[item] ? &items[item] : NULL);
        if (items[item]) {
            bw_table_remove(&table, hash_of(item), &items[item]);
            count--;
        } else {
            assert_int_equal(bw_table_reserve(&table, 1).code, BW_OK);
            bw_table_put(&table, hash_of(item), &items[item]);
            count++;
        }
        items[item] = !items[item];
        assert_int_equal(table.count, count);
    }
    for (size_t item = 0; item < ITEMS; item++)
        assert_ptr_equal(bw_table_find(&table, hash_of(item), is_it, &items[item]), items[item] ? &items[item] : NULL);
    bw_table_clear(&table);
}

static void what_was_reserved_needs_no_more_room(void **state)
{
    struct bw_table table = { 0 };
    char items[ITEMS];

    (void)state;
    assert_int_equal(bw_table_reserve(&table, ITEMS).code, BW_OK);
    size_t room = table.room;
    for (size_t i = 0; i < ITEMS; i++)
        bw_table_put(&table, hash_of(i), &items[i]);
    assert_int_equal(table.room, room);
    bw_table_clear(&table);
}

/* Appendix A of the SipHash paper. */
static void siphash_gives_what_its_authors_say(void **state)
{
    uint8_t key[16], data[15];

    (void)state;
    for (uint8_t i = 0; i < sizeof key; i++)
        key[i] = i;
    for (uint8_t i = 0; i < sizeof data; i++)
        data[i] = i;
    assert_true(bw_siphash(key, (bw_bytes){ data, sizeof data }) == 0xa129ca6149be45e5u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_found_until_it_is_removed),
        cmocka_unit_test(what_was_reserved_needs_no_more_room),
        cmocka_unit_test(siphash_gives_what_its_authors_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
