/* Merkle trees as in RFC 6962 2.1 (and RFC 9162 2.1): roots and proofs, made and checked. Pure: hashes come through a
 * callback from whoever keeps them. */
#ifndef BW_PROTO_MERKLE_H
#define BW_PROTO_MERKLE_H

#include "bailiwick/audit_record.h"

enum { BW_PROOF_MAX = 65 }; /* hashes; a tree of 2^64 leaves needs no more */

typedef struct bw_hash { uint8_t bytes[BW_AUDIT_HASH_LEN]; } bw_hash;

struct bw_proof { size_t count; bw_hash hashes[BW_PROOF_MAX]; };

bw_result bw_merkle_leaf(struct bw_hasher *hasher, bw_bytes entry, bw_hash *ret_hash);
bw_result bw_merkle_node(struct bw_hasher *hasher, const bw_hash *left, const bw_hash *right, bw_hash *ret_hash);

/* Root over count hashes, a power of two, side by side: what a full tile hashes to. Overwrites them. */
bw_result bw_merkle_fold(struct bw_hasher *hasher, bw_hash *hashes, size_t count, bw_hash *ret_root);

/* A tree that only grows and keeps no more than its right edge. All zero is the empty tree. */
struct bw_frontier { uint64_t size; bw_hash edge[64]; };
bw_result bw_frontier_add(struct bw_frontier *frontier, struct bw_hasher *hasher, const bw_hash *leaf);
bw_result bw_frontier_root(const struct bw_frontier *frontier, struct bw_hasher *hasher, bw_hash *ret_root);

/* A tree whose hashes are kept elsewhere. fetch: of the complete subtree over 2^level leaves from leaf index << level on. */
struct bw_tree {
    bw_result       (*fetch)(void *self, unsigned level, uint64_t index, bw_hash *ret_hash);
    void             *self;
    struct bw_hasher *hasher;
};

/* Of the tree's first size leaves. Fail with BW_BAD_ARGUMENT unless index < size, or 0 < from <= size; or as fetch does. */
bw_result bw_tree_root(const struct bw_tree *tree, uint64_t size, bw_hash *ret_root);
bw_result bw_tree_prove_inclusion(const struct bw_tree *tree, uint64_t index, uint64_t size, struct bw_proof *ret_proof);
bw_result bw_tree_prove_consistency(const struct bw_tree *tree, uint64_t from, uint64_t size, struct bw_proof *ret_proof);

/* BW_DATA_INVALID: not proven. A proof from size 0 proves nothing and is refused. */
bw_result bw_merkle_check_inclusion(struct bw_hasher *hasher, uint64_t index, const bw_hash *leaf, uint64_t size, const bw_hash *root,
                                    const struct bw_proof *proof);
bw_result bw_merkle_check_consistency(struct bw_hasher *hasher, uint64_t from, const bw_hash *from_root, uint64_t size, const bw_hash *root,
                                      const struct bw_proof *proof);

static inline bool bw_hash_equal(const bw_hash *a, const bw_hash *b)
{
    return bw_bytes_equal(bw_bytes_of(a->bytes, sizeof a->bytes), bw_bytes_of(b->bytes, sizeof b->bytes));
}

#endif
