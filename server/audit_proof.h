/* Roots and proofs of a log, from its tiles. Any thread; wait for the index as queries do. */
#ifndef BW_SERVER_AUDIT_PROOF_H
#define BW_SERVER_AUDIT_PROOF_H

#include "audit_index.h"
#include "merkle.h"

/* All of the log's first size records. BW_LOG_POSITION: it has fewer, or no such one. */
bw_result bw_audit_index_root(struct bw_audit_index *index, uint32_t log, uint64_t size, bw_hash *ret_root);
bw_result bw_audit_index_prove_inclusion(struct bw_audit_index *index, uint32_t log, uint64_t leaf, uint64_t size, struct bw_proof *ret_proof);
bw_result bw_audit_index_prove_consistency(struct bw_audit_index *index, uint32_t log, uint64_t from, uint64_t size, struct bw_proof *ret_proof);

/* The first width hashes of a tile, from the arena. BW_LOG_POSITION: it has fewer. */
bw_result bw_audit_index_tile(struct bw_audit_index *index, uint32_t log, unsigned level, uint64_t number, size_t width, struct bw_arena *arena,
                              bw_bytes *ret_hashes);

#endif
