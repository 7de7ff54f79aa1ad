/* The logs' trees: roots and proofs from tiles are those of the entries, however the tiles came to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake/audit_case.h"

enum { RECORDS = 256 * 256 + 700, FEW = 300, PAGE = 1000, PROOFS = 200 }; /* three levels of tiles; one and a little */

static struct audit_case at;
static struct bw_hasher *hasher;
static uint32_t          log_nr, few_nr;
static bw_hash          *leaves, *roots; /* of the log; roots[n]: of its first n */
static unsigned          seed = 1;

static unsigned draw(unsigned below)
{
    return (unsigned)rand_r(&seed) % below;
}

static void no_more(struct bw_audit_entry *entry, bw_result written)
{
    (void)entry;
    check_ok(written);
}

static void write_some(uint32_t log, size_t count)
{
    static struct bw_audit_entry entries[512];

    for (size_t i = 0, used; i < count; i += used) {
        used = 1 + draw(512);
        used = used < count - i ? used : count - i;
        for (size_t j = 0; j < used; j++) {
            entries[j] = (struct bw_audit_entry){ .record = audit_case_record(log, (unsigned)(i + j)), .done = no_more };
            bw_audit_put(at.audit, &entries[j]);
        }
        bw_audit_flush(at.audit);
    }
}

/* By the format's own words, from the records as they are shipped. */
static void hash_row(const struct bw_audit_row *row, bw_hash *ret_hash)
{
    uint8_t        entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf leaf = { .kind = BW_AUDIT_KIND_RECORD, .suite = BW_AUDIT_SUITE_SHA256, .index = row->index };

    check_ok(bw_hasher_commit(hasher, BW_AUDIT_ESSENTIAL, row->essential, leaf.essential));
    check_ok(bw_hasher_commit(hasher, BW_AUDIT_WHO, row->who, leaf.who));
    check_ok(bw_hasher_commit(hasher, BW_AUDIT_CONTEXT, row->context, leaf.context));
    bw_leaf_print(&leaf, entry);
    check_ok(bw_merkle_leaf(hasher, bw_bytes_of(entry, sizeof entry), ret_hash));
}

static void hash_log(uint32_t log, size_t count)
{
    struct bw_audit_query query    = { .log = log, .limit = PAGE };
    struct bw_frontier    frontier = { 0 };

    check_ok(bw_frontier_root(&frontier, hasher, &roots[0]));
    for (size_t done = 0; done < count; query.from_index = done) {
        struct bw_arena       arena = { 0 };
        struct bw_audit_found found;
        check_ok(bw_audit_find(at.audit, &query, &arena, &found));
        for (size_t i = 0; i < found.count; i++, done++) {
            hash_row(&found.rows[i], &leaves[done]);
            check_ok(bw_frontier_add(&frontier, hasher, &leaves[done]));
            check_ok(bw_frontier_root(&frontier, hasher, &roots[done + 1]));
        }
        bw_arena_clear(&arena);
    }
}

static int make(void **state)
{
    (void)state;
    check_ok(bw_hasher_new(&hasher));
    leaves = calloc(RECORDS + 1, sizeof *leaves);
    roots  = calloc(RECORDS + 1, sizeof *roots);
    audit_case_make(&at);
    log_nr = audit_case_log(&at, "acme");
    few_nr = audit_case_log(&at, "umbra");
    for (size_t i = 0; i < 4; i++) {
        write_some(log_nr, RECORDS / 4);
        write_some(few_nr, FEW / 4);
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    free(leaves);
    free(roots);
    bw_hasher_free(hasher);
    return 0;
}

static void check_root(uint32_t log, uint64_t size)
{
    bw_hash root;

    check_ok(bw_audit_root(at.audit, log, size, &root));
    if (!bw_hash_equal(&root, &roots[size]))
        fail_msg("another root for size %lu", (unsigned long)size);
}

static void check_proofs(uint32_t log, uint64_t index, uint64_t from, uint64_t size)
{
    struct bw_proof proof;

    check_ok(bw_audit_prove_inclusion(at.audit, log, index, size, &proof));
    check_ok(bw_merkle_check_inclusion(hasher, index, &leaves[index], size, &roots[size], &proof));
    check_ok(bw_audit_prove_consistency(at.audit, log, from, size, &proof));
    check_ok(bw_merkle_check_consistency(hasher, from, &roots[from], size, &roots[size], &proof));
}

static void roots_and_proofs_are_those_of_the_entries(void **state)
{
    static const uint64_t sizes[] = { 0, 1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, 65536 + 256, RECORDS / 4 * 4 };

    (void)state;
    hash_log(log_nr, RECORDS / 4 * 4);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        check_root(log_nr, sizes[i]);
    for (size_t i = 0; i < PROOFS; i++) {
        uint64_t size = 1 + draw(RECORDS / 4 * 4);
        check_root(log_nr, size);
        check_proofs(log_nr, draw((unsigned)size), 1 + draw((unsigned)size), size);
    }
}

static void logs_have_trees_of_their_own(void **state)
{
    (void)state;
    hash_log(few_nr, FEW);
    for (uint64_t size = 1; size <= FEW; size++) {
        check_root(few_nr, size);
        check_proofs(few_nr, draw((unsigned)size), 1 + draw((unsigned)size), size);
    }
}

static void what_the_log_has_not_is_not_proven(void **state)
{
    bw_hash         root;
    struct bw_proof proof;

    (void)state;
    assert_int_equal(bw_audit_root(at.audit, few_nr, FEW + 1, &root).code, BW_LOG_POSITION);
    assert_int_equal(bw_audit_prove_inclusion(at.audit, few_nr, 0, FEW + 1, &proof).code, BW_LOG_POSITION);
    assert_int_equal(bw_audit_prove_inclusion(at.audit, few_nr, 3, 3, &proof).code, BW_LOG_POSITION);
    assert_int_equal(bw_audit_prove_consistency(at.audit, few_nr, 1, FEW + 1, &proof).code, BW_LOG_POSITION);
    assert_int_equal(bw_audit_prove_consistency(at.audit, few_nr, 0, FEW, &proof).code, BW_LOG_POSITION);
    assert_int_equal(bw_audit_prove_consistency(at.audit, few_nr, 4, 3, &proof).code, BW_LOG_POSITION);
}

static void trees_go_on_after_a_restart_and_are_made_again(void **state)
{
    char path[128];

    (void)state;
    audit_case_close(&at);
    audit_case_open(&at);
    write_some(few_nr, 1);
    hash_log(few_nr, FEW + 1);
    check_root(few_nr, FEW + 1);

    audit_case_close(&at);
    (void)snprintf(path, sizeof path, "%s/audit-index.db", at.dir);
    assert_int_equal(unlink(path), 0);
    audit_case_open(&at);
    check_root(few_nr, FEW + 1);
    check_root(few_nr, FEW - 1);
}

static void change_index(const char *change)
{
    char     path[128];
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/audit-index.db", at.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, change, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_tree_does_not_grow_on_a_tile_of_another_length(void **state)
{
    bw_hash root;

    (void)state;
    audit_case_close(&at);
    change_index("UPDATE tile SET hashes = zeroblob(32) WHERE log = 2 AND level = 0 AND number = 1");
    audit_case_open(&at);
    write_some(few_nr, 1);
    assert_int_equal(bw_audit_root(at.audit, few_nr, FEW, &root).code, BW_AUDIT_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_and_proofs_are_those_of_the_entries),
        cmocka_unit_test(logs_have_trees_of_their_own),
        cmocka_unit_test(what_the_log_has_not_is_not_proven),
        cmocka_unit_test(trees_go_on_after_a_restart_and_are_made_again),
        cmocka_unit_test(a_tree_does_not_grow_on_a_tile_of_another_length),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
