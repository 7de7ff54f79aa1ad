/* A digest that is fed piece by piece, in the application's process; what it has come to can be saved and taken up again. */
#ifndef BW_PROVIDER_HASH_H
#define BW_PROVIDER_HASH_H

#include "bailiwick/mechanism.h"

enum { BW_HASH_MAX = 64 };

struct bw_hash;
bw_result bw_hash_new(enum bw_digest digest, struct bw_hash **ret_hash);
void      bw_hash_free(struct bw_hash *hash); /* wipes; takes NULL */
BW_DEFINE_AUTO(hash)
bw_result bw_hash_add(struct bw_hash *hash, bw_bytes more);
size_t    bw_hash_len(const struct bw_hash *hash);
/* Writes bw_hash_len bytes. Nothing may be added afterwards. */
bw_result bw_hash_end(struct bw_hash *hash, uint8_t digest[static BW_HASH_MAX]);

/* What bw_hash_load takes, on this machine: the digest's name and its state, which holds the last bytes that were fed. */
bw_bytes  bw_hash_state(const struct bw_hash *hash);
/* BW_SAVED_STATE: not what bw_hash_state gives. */
bw_result bw_hash_load(bw_bytes state, struct bw_hash **ret_hash);

#endif
