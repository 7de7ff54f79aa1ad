/* A log entry's exact bytes, and the hashes that bind it, so that anyone can verify a log offline.
 * proto/AUDIT_FORMAT.md tells the format byte by byte. */
#ifndef BAILIWICK_AUDIT_RECORD_H
#define BAILIWICK_AUDIT_RECORD_H

#include "bailiwick/bytes.h"

enum {
    BW_AUDIT_SALT_LEN  = 32,  /* in front of each class's bytes, as they are stored and shipped */
    BW_AUDIT_HASH_LEN  = 32,  /* SHA-256 */
    BW_AUDIT_ENTRY_LEN = 112,
    BW_AUDIT_VERSION   = 1
};

/* What lives differently long. The letter is hashed. */
enum bw_audit_class { BW_AUDIT_ESSENTIAL = 'E', BW_AUDIT_WHO = 'W', BW_AUDIT_CONTEXT = 'X' };

enum bw_audit_kind { BW_AUDIT_KIND_RECORD = 1, BW_AUDIT_KIND_LOG_END = 2 };

enum bw_audit_suite { BW_AUDIT_SUITE_SHA256 = 1 };

/* Holds nothing to erase, so it can stay for ever. */
struct bw_leaf {
    uint8_t  kind;
    uint16_t suite;
    uint64_t index;
    uint8_t  essential[BW_AUDIT_HASH_LEN]; /* commitments */
    uint8_t  who[BW_AUDIT_HASH_LEN];
    uint8_t  context[BW_AUDIT_HASH_LEN];
};

void      bw_leaf_print(const struct bw_leaf *leaf, uint8_t entry[static BW_AUDIT_ENTRY_LEN]);
/* BW_DATA_INVALID: not such an entry, or of a version, kind or suite that we do not know. */
bw_result bw_leaf_parse(bw_bytes entry, struct bw_leaf *ret_leaf);

/* SHA-256 and HMAC-SHA256 with everything looked up beforehand. For one thread at a time. */
struct bw_hasher;
bw_result bw_hasher_new(struct bw_hasher **ret_hasher);
void      bw_hasher_free(struct bw_hasher *hasher);
BW_DEFINE_AUTO(hasher)

/* All three fail only with BW_INTERNAL, when libcrypto does. */
bw_result bw_hasher_digest(struct bw_hasher *hasher, const bw_bytes *parts, size_t count, uint8_t ret_hash[static BW_AUDIT_HASH_LEN]);
bw_result bw_hasher_mac(struct bw_hasher *hasher, bw_bytes key, const bw_bytes *parts, size_t count, uint8_t ret_mac[static BW_AUDIT_HASH_LEN]);

/* Commitment to one class. stored: salt || bytes, as kept; BW_DATA_INVALID when shorter than the salt. */
bw_result bw_hasher_commit(struct bw_hasher *hasher, enum bw_audit_class class, bw_bytes stored, uint8_t ret_commitment[static BW_AUDIT_HASH_LEN]);

/* The entry of a record, from its classes as stored. Fails as bw_hasher_commit does. */
bw_result bw_hasher_leaf(struct bw_hasher *hasher, uint64_t index, bw_bytes essential, bw_bytes who, bw_bytes context, struct bw_leaf *ret_leaf);

#endif
