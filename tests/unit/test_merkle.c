/* Merkle trees: the published vectors, all trees up to a size against the definition, and every way to spoil a proof. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "merkle.h"

enum { LEAVES = 130 };

static struct bw_hasher *hasher;
static bw_hash           leaves[LEAVES];

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

static bw_hash hash_of(const char *hex)
{
    bw_hash hash;

    assert_true(bw_unhex(hex, 2 * sizeof hash.bytes, hash.bytes));
    return hash;
}

static void assert_hash(const bw_hash *hash, const char *hex)
{
    bw_hash expected = hash_of(hex);
    assert_memory_equal(hash, &expected, sizeof expected);
}

/* A tree kept as its leaves: every subtree is hashed anew, by the definition. */
static bw_result fetch(void *self, unsigned level, uint64_t index, bw_hash *ret_hash)
{
    bw_hash copy[128];

    (void)self;
    assert_true(level <= 7 && ((index + 1) << level) <= LEAVES);
    memcpy(copy, leaves + (index << level), sizeof(bw_hash) << level);
    return bw_merkle_fold(hasher, copy, 1u << level, ret_hash);
}

static struct bw_tree tree;

static int set_up(void **state)
{
    (void)state;
    check_ok(bw_hasher_new(&hasher));
    tree = (struct bw_tree){ .fetch = fetch, .hasher = hasher };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bw_hasher_free(hasher);
    return 0;
}

/* ---- published: google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc (Apache-2.0) ---- */

static const char *const inputs[8] = { "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f" };

static const char *const roots[9] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static const struct { uint64_t index, size; size_t count; const char *path[3]; } paths[] = { /* there, leaves count from 1 */
    { 0, 1, 0, { NULL } },
    { 0, 8, 3, { "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                 "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                 "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4" } },
    { 5, 8, 3, { "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                 "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                 "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" } },
    { 2, 3, 1, { "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125" } },
    { 1, 5, 3, { "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                 "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                 "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b" } },
};

static const struct { uint64_t from, size; size_t count; const char *proof[3]; } steps[] = {
    { 1, 1, 0, { NULL } },
    { 1, 8, 3, { "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                 "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                 "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4" } },
    { 6, 8, 3, { "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                 "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                 "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" } },
    { 2, 5, 2, { "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                 "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b" } },
};

static void use_published_leaves(void)
{
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        uint8_t bytes[16];
        assert_true(bw_unhex(inputs[i], strlen(inputs[i]), bytes));
        check_ok(bw_merkle_leaf(hasher, bw_bytes_of(bytes, strlen(inputs[i]) / 2), &leaves[i]));
    }
}

static void published_roots(void **state)
{
    (void)state;
    struct bw_frontier frontier = { 0 };

    use_published_leaves();
    for (uint64_t size = 0; size <= 8; size++) {
        bw_hash root;
        check_ok(bw_tree_root(&tree, size, &root));
        assert_hash(&root, roots[size]);
        check_ok(bw_frontier_root(&frontier, hasher, &root));
        assert_hash(&root, roots[size]);
        if (size < 8)
            check_ok(bw_frontier_add(&frontier, hasher, &leaves[size]));
    }
}

static void published_inclusion_proofs(void **state)
{
    (void)state;
    use_published_leaves();
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct bw_proof proof;
        bw_hash root = hash_of(roots[paths[i].size]);
        check_ok(bw_tree_prove_inclusion(&tree, paths[i].index, paths[i].size, &proof));
        assert_int_equal(proof.count, paths[i].count);
        for (size_t n = 0; n < proof.count; n++)
            assert_hash(&proof.hashes[n], paths[i].path[n]);
        check_ok(bw_merkle_check_inclusion(hasher, paths[i].index, &leaves[paths[i].index], paths[i].size, &root, &proof));
    }
}

static void published_consistency_proofs(void **state)
{
    (void)state;
    use_published_leaves();
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct bw_proof proof;
        bw_hash from_root = hash_of(roots[steps[i].from]), root = hash_of(roots[steps[i].size]);
        check_ok(bw_tree_prove_consistency(&tree, steps[i].from, steps[i].size, &proof));
        assert_int_equal(proof.count, steps[i].count);
        for (size_t n = 0; n < proof.count; n++)
            assert_hash(&proof.hashes[n], steps[i].proof[n]);
        check_ok(bw_merkle_check_consistency(hasher, steps[i].from, &from_root, steps[i].size, &root, &proof));
    }
}

/* ---- all small trees ---- */

static bw_hash all_roots[LEAVES + 1];

static void use_numbered_leaves(void)
{
    struct bw_frontier frontier = { 0 };

    for (size_t i = 0; i < LEAVES; i++) {
        uint8_t byte = (uint8_t)i;
        check_ok(bw_merkle_leaf(hasher, bw_bytes_of(&byte, 1), &leaves[i]));
    }
    for (size_t size = 0; size <= LEAVES; size++) {
        check_ok(bw_frontier_root(&frontier, hasher, &all_roots[size]));
        if (size < LEAVES)
            check_ok(bw_frontier_add(&frontier, hasher, &leaves[size]));
    }
}

static void every_root_of_the_edge_is_that_of_the_tree(void **state)
{
    (void)state;
    use_numbered_leaves();
    for (uint64_t size = 0; size <= LEAVES; size++) {
        bw_hash root;
        check_ok(bw_tree_root(&tree, size, &root));
        assert_true(bw_hash_equal(&root, &all_roots[size]));
    }
}

static bool included(uint64_t index, uint64_t leaf, uint64_t size, const bw_hash *root, const struct bw_proof *proof)
{
    return bw_ok(bw_merkle_check_inclusion(hasher, index, &leaves[leaf], size, root, proof));
}

/* Changes every hash, takes one away at either end, adds one at either end: none of it may pass check. */
static void assert_spoilt_proofs_fail(const struct bw_proof *proof, bool (*check)(void *self, const struct bw_proof *proof), void *self)
{
    struct bw_proof spoilt;

    for (size_t i = 0; i < proof->count; i++) {
        spoilt = *proof;
        spoilt.hashes[i].bytes[i % 32] ^= 0x10;
        assert_false(check(self, &spoilt));
    }
    for (size_t where = 0; where < 2; where++) {
        spoilt = *proof;
        memmove(&spoilt.hashes[1 - where], &proof->hashes[0], proof->count * sizeof(bw_hash));
        spoilt.hashes[where ? proof->count : 0] = all_roots[1];
        spoilt.count++;
        assert_false(check(self, &spoilt));
        if (proof->count == 0)
            continue;
        spoilt = *proof;
        spoilt.count--;
        memcpy(&spoilt.hashes[0], &proof->hashes[where], spoilt.count * sizeof(bw_hash));
        assert_false(check(self, &spoilt));
    }
}

struct claim { uint64_t one, size; };

static bool claim_included(void *self, const struct bw_proof *proof)
{
    struct claim *claim = self;
    return included(claim->one, claim->one, claim->size, &all_roots[claim->size], proof);
}

static void every_leaf_is_proven_and_nothing_else_passes(void **state)
{
    (void)state;
    use_numbered_leaves();
    for (uint64_t size = 1; size <= LEAVES; size++)
        for (uint64_t index = 0; index < size; index++) {
            struct claim    claim = { index, size };
            struct bw_proof proof;
            check_ok(bw_tree_prove_inclusion(&tree, index, size, &proof));
            assert_true(claim_included(&claim, &proof));
            assert_false(included(index + 1, index, size, &all_roots[size], &proof));
            assert_false(included(index ^ 2, index, size, &all_roots[size], &proof));
            assert_false(included(index, (index + 1) % LEAVES, size, &all_roots[size], &proof));
            assert_false(included(index, index, size, &all_roots[size - 1], &proof));
            assert_false(included(index, index, 2 * size, &all_roots[size], &proof));
            assert_spoilt_proofs_fail(&proof, claim_included, &claim);
        }
}

static bool consistent(uint64_t from, const bw_hash *from_root, uint64_t size, const bw_hash *root, const struct bw_proof *proof)
{
    return bw_ok(bw_merkle_check_consistency(hasher, from, from_root, size, root, proof));
}

static bool claim_consistent(void *self, const struct bw_proof *proof)
{
    struct claim *claim = self;
    return consistent(claim->one, &all_roots[claim->one], claim->size, &all_roots[claim->size], proof);
}

static void every_older_tree_is_proven_and_nothing_else_passes(void **state)
{
    (void)state;
    use_numbered_leaves();
    for (uint64_t size = 1; size <= LEAVES; size++)
        for (uint64_t from = 1; from <= size; from++) {
            struct claim    claim = { from, size };
            struct bw_proof proof;
            check_ok(bw_tree_prove_consistency(&tree, from, size, &proof));
            assert_true(claim_consistent(&claim, &proof));
            assert_false(consistent(from - 1, &all_roots[from], size, &all_roots[size], &proof));
            assert_false(consistent(from + 1, &all_roots[from], size, &all_roots[size], &proof));
            assert_false(consistent(from, &all_roots[from - 1], size, &all_roots[size], &proof));
            assert_false(consistent(from, &all_roots[from], size, &all_roots[size - 1], &proof));
            if (from < size)
                assert_false(consistent(from, &all_roots[size], size, &all_roots[from], &proof));
            assert_spoilt_proofs_fail(&proof, claim_consistent, &claim);
        }
}

static void hostile_sizes_are_refused(void **state)
{
    (void)state;
    static struct bw_proof proof;
    static const uint64_t  sizes[] = { 0, 1, 2, 3, 1ull << 32, 1ull << 63, UINT64_MAX - 1, UINT64_MAX };

    use_numbered_leaves();
    for (size_t a = 0; a < ARRAY_LEN(sizes); a++)
        for (size_t b = 0; b < ARRAY_LEN(sizes); b++)
            for (proof.count = 0; proof.count <= BW_PROOF_MAX; proof.count++) {
                bool only_leaf = sizes[a] == 0 && sizes[b] == 1 && proof.count == 0;
                assert_int_equal(included(sizes[a], 0, sizes[b], &all_roots[1], &proof), only_leaf);
                bool same = sizes[a] == sizes[b] && sizes[a] > 0 && proof.count == 0;
                assert_int_equal(consistent(sizes[a], &all_roots[1], sizes[b], &all_roots[1], &proof), same);
            }
    assert_int_equal(bw_tree_prove_inclusion(&tree, 5, 5, &proof).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_tree_prove_consistency(&tree, 0, 5, &proof).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_tree_prove_consistency(&tree, 6, 5, &proof).code, BW_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_roots),
        cmocka_unit_test(published_inclusion_proofs),
        cmocka_unit_test(published_consistency_proofs),
        cmocka_unit_test(every_root_of_the_edge_is_that_of_the_tree),
        cmocka_unit_test(every_leaf_is_proven_and_nothing_else_passes),
        cmocka_unit_test(every_older_tree_is_proven_and_nothing_else_passes),
        cmocka_unit_test(hostile_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
