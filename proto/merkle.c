#include "merkle.h"

#include <assert.h>

/* Before a leaf's bytes and before two hashes, so that one can never be taken for the other. */
static const uint8_t leaf_prefix = 0, node_prefix = 1;

bw_result bw_merkle_leaf(struct bw_hasher *hasher, bw_bytes entry, bw_hash *ret_hash)
{
    const bw_bytes parts[] = { { &leaf_prefix, 1 }, entry };
    return bw_hasher_digest(hasher, parts, ARRAY_LEN(parts), ret_hash->bytes);
}

bw_result bw_merkle_node(struct bw_hasher *hasher, const bw_hash *left, const bw_hash *right, bw_hash *ret_hash)
{
    const bw_bytes parts[] = { { &node_prefix, 1 }, { left->bytes, sizeof left->bytes }, { right->bytes, sizeof right->bytes } };
    return bw_hasher_digest(hasher, parts, ARRAY_LEN(parts), ret_hash->bytes);
}

bw_result bw_merkle_fold(struct bw_hasher *hasher, bw_hash *hashes, size_t count, bw_hash *ret_root)
{
    assert(count > 0 && (count & (count - 1)) == 0);
    for (; count > 1; count /= 2)
        for (size_t i = 0; i < count / 2; i++)
            BW_TRY(bw_merkle_node(hasher, &hashes[2 * i], &hashes[2 * i + 1], &hashes[i]));
    *ret_root = hashes[0];
    return bw_success();
}

static bw_result empty_root(struct bw_hasher *hasher, bw_hash *ret_root)
{
    return bw_hasher_digest(hasher, NULL, 0, ret_root->bytes);
}

/* ---- the right edge ---- */

/* edge[level] is the root of a complete subtree when that bit of size is set. */
bw_result bw_frontier_add(struct bw_frontier *frontier, struct bw_hasher *hasher, const bw_hash *leaf)
{
    bw_hash  hash  = *leaf;
    unsigned level = 0;

    for (; frontier->size >> level & 1; level++)
        BW_TRY(bw_merkle_node(hasher, &frontier->edge[level], &hash, &hash));
    frontier->edge[level] = hash;
    frontier->size++;
    return bw_success();
}

bw_result bw_frontier_root(const struct bw_frontier *frontier, struct bw_hasher *hasher, bw_hash *ret_root)
{
    if (frontier->size == 0)
        return empty_root(hasher, ret_root);

    unsigned level = (unsigned)__builtin_ctzll(frontier->size);
    bw_hash  hash  = frontier->edge[level];
    for (level++; level < 64; level++)
        if (frontier->size >> level & 1)
            BW_TRY(bw_merkle_node(hasher, &frontier->edge[level], &hash, &hash));
    *ret_root = hash;
    return bw_success();
}

/* ---- roots and proofs of a kept tree, RFC 6962 2.1, 2.1.1 and 2.1.2 ---- */

/* The largest power of two below n, n > 1. */
static uint64_t split_of(uint64_t n)
{
    return 1ull << (63 - __builtin_clzll(n - 1));
}

/* MTH(D[from:to]). from is a multiple of the smallest power of two that is not below to - from. */
static bw_result range_root(const struct bw_tree *tree, uint64_t from, uint64_t to, bw_hash *ret_root)
{
    uint64_t count = to - from;
    bw_hash  left, right;

    if ((count & (count - 1)) == 0) {
        unsigned level = (unsigned)__builtin_ctzll(count);
        return tree->fetch(tree->self, level, from >> level, ret_root);
    }
    BW_TRY(range_root(tree, from, from + split_of(count), &left));
    BW_TRY(range_root(tree, from + split_of(count), to, &right));
    return bw_merkle_node(tree->hasher, &left, &right, ret_root);
}

bw_result bw_tree_root(const struct bw_tree *tree, uint64_t size, bw_hash *ret_root)
{
    return size == 0 ? empty_root(tree->hasher, ret_root) : range_root(tree, 0, size, ret_root);
}

static bw_result append(const struct bw_tree *tree, uint64_t from, uint64_t to, struct bw_proof *proof)
{
    assert(proof->count < BW_PROOF_MAX);
    return range_root(tree, from, to, &proof->hashes[proof->count++]);
}

/* PATH(index, D[from:to]) */
static bw_result add_path(const struct bw_tree *tree, uint64_t index, uint64_t from, uint64_t to, struct bw_proof *proof)
{
    if (to - from == 1)
        return bw_success();

    uint64_t middle = from + split_of(to - from);
    if (index < middle) {
        BW_TRY(add_path(tree, index, from, middle, proof));
        return append(tree, middle, to, proof);
    }
    BW_TRY(add_path(tree, index, middle, to, proof));
    return append(tree, from, middle, proof);
}

bw_result bw_tree_prove_inclusion(const struct bw_tree *tree, uint64_t index, uint64_t size, struct bw_proof *ret_proof)
{
    struct bw_proof proof = { 0 };

    BW_CHECK(index < size, BW_BAD_ARGUMENT, "no such leaf in a tree of that size");
    BW_TRY(add_path(tree, index, 0, size, &proof));

    *ret_proof = proof;
    return bw_success();
}

/* SUBPROOF(old, D[from:to], known): the first old leaves, counted from 0 over the whole tree, are a tree whose root is known
 * to the verifier as long as nothing to its left was split off. */
static bw_result add_subproof(const struct bw_tree *tree, uint64_t old, uint64_t from, uint64_t to, bool known, struct bw_proof *proof)
{
    if (old == to)
        return known ? bw_success() : append(tree, from, to, proof);

    uint64_t middle = from + split_of(to - from);
    if (old <= middle) {
        BW_TRY(add_subproof(tree, old, from, middle, known, proof));
        return append(tree, middle, to, proof);
    }
    BW_TRY(add_subproof(tree, old, middle, to, false, proof));
    return append(tree, from, middle, proof);
}

bw_result bw_tree_prove_consistency(const struct bw_tree *tree, uint64_t from, uint64_t size, struct bw_proof *ret_proof)
{
    struct bw_proof proof = { 0 };

    BW_CHECK(from > 0 && from <= size, BW_BAD_ARGUMENT, "no such older tree");
    BW_TRY(add_subproof(tree, from, 0, size, true, &proof));

    *ret_proof = proof;
    return bw_success();
}

/* ---- checking, RFC 9162 2.1.3.2 and 2.1.4.2 ---- */

bw_result bw_merkle_check_inclusion(struct bw_hasher *hasher, uint64_t index, const bw_hash *leaf, uint64_t size, const bw_hash *root,
                                    const struct bw_proof *proof)
{
    BW_CHECK(index < size, BW_DATA_INVALID, "an inclusion proof for a leaf beyond the tree");
    uint64_t node = index, last = size - 1;
    bw_hash  hash = *leaf;

    for (size_t i = 0; i < proof->count; i++, node >>= 1, last >>= 1) {
        BW_CHECK(last != 0, BW_DATA_INVALID, "an inclusion proof is too long");
        if (node % 2 == 0 && node != last) {
            BW_TRY(bw_merkle_node(hasher, &hash, &proof->hashes[i], &hash));
            continue;
        }
        BW_TRY(bw_merkle_node(hasher, &proof->hashes[i], &hash, &hash));
        for (; node % 2 == 0 && node != 0; node >>= 1)
            last >>= 1;
    }
    BW_CHECK(last == 0, BW_DATA_INVALID, "an inclusion proof is too short");
    BW_CHECK(bw_hash_equal(&hash, root), BW_DATA_INVALID, "an inclusion proof leads to another root");
    return bw_success();
}

/* Both roots are built up from the same hashes; *next is the first that is not used yet. */
static bw_result climb(struct bw_hasher *hasher, uint64_t node, uint64_t last, const struct bw_proof *proof, size_t next,
                       bw_hash *from_hash, bw_hash *hash)
{
    for (; next < proof->count; next++, node >>= 1, last >>= 1) {
        BW_CHECK(last != 0, BW_DATA_INVALID, "a consistency proof is too long");
        if (node % 2 == 0 && node != last) {
            BW_TRY(bw_merkle_node(hasher, hash, &proof->hashes[next], hash));
            continue;
        }
        BW_TRY(bw_merkle_node(hasher, &proof->hashes[next], from_hash, from_hash));
        BW_TRY(bw_merkle_node(hasher, &proof->hashes[next], hash, hash));
        for (; node % 2 == 0 && node != 0; node >>= 1)
            last >>= 1;
    }
    BW_CHECK(last == 0, BW_DATA_INVALID, "a consistency proof is too short");
    return bw_success();
}

bw_result bw_merkle_check_consistency(struct bw_hasher *hasher, uint64_t from, const bw_hash *from_root, uint64_t size, const bw_hash *root,
                                      const struct bw_proof *proof)
{
    BW_CHECK(from > 0 && from <= size, BW_DATA_INVALID, "a consistency proof between sizes that have none");
    if (from == size) {
        BW_CHECK(proof->count == 0 && bw_hash_equal(from_root, root), BW_DATA_INVALID, "two trees of one size differ");
        return bw_success();
    }

    /* A complete older tree is a node of the newer one, so its root is not repeated in the proof. */
    bool     complete = (from & (from - 1)) == 0;
    uint64_t node = from - 1, last = size - 1;
    for (; node % 2 == 1; node >>= 1)
        last >>= 1;
    BW_CHECK(complete || proof->count > 0, BW_DATA_INVALID, "a consistency proof is too short");
    bw_hash from_hash = complete ? *from_root : proof->hashes[0], hash = from_hash;
    BW_TRY(climb(hasher, node, last, proof, complete ? 0 : 1, &from_hash, &hash));
    BW_CHECK(bw_hash_equal(&from_hash, from_root), BW_DATA_INVALID, "a consistency proof does not start at the older root");
    BW_CHECK(bw_hash_equal(&hash, root), BW_DATA_INVALID, "a consistency proof does not lead to the newer root");
    return bw_success();
}
