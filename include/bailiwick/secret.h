/* Memory for PINs, tokens, unwrapped keys, decrypted text and private random output.
 * Locked when the host's limits allow it, left out of core dumps, gone in a forked child, wiped on free. */
#ifndef BAILIWICK_SECRET_H
#define BAILIWICK_SECRET_H

#include "bailiwick/bytes.h"

struct bw_secret;

/* len bytes, zeroed. Fails with BW_NO_MEMORY. */
bw_result bw_secret_new(size_t len, struct bw_secret **ret_secret);
bw_result bw_secret_copy(bw_bytes bytes, struct bw_secret **ret_secret);
void      bw_secret_free(struct bw_secret *secret);
BW_DEFINE_AUTO(secret)

/* The only door to the bytes: a review greps for it. NULL gives NULL. */
uint8_t *bw_secret_reveal(struct bw_secret *secret);
size_t   bw_secret_len(const struct bw_secret *secret);

/* Forgets and wipes all after the first len bytes. len may not grow. */
void bw_secret_shorten(struct bw_secret *secret, size_t len);

/* Constant time in the bytes, not in the lengths. */
bool bw_secret_equal(const struct bw_secret *a, bw_bytes b);

#endif
