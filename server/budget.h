/* The use budget of a key version: AES-GCM under random nonces is safe only so often, and users of other systems cannot
 * count to 2^32, so we do. */
#ifndef BW_SERVER_BUDGET_H
#define BW_SERVER_BUDGET_H

#include "registry.h"
#include "store.h"

/* Before each n encryptions with nonces drawn at random. Touches memory alone, but for one write to the store in every
 * BW_USES_BLOCK uses, which is durable before the first of them. BW_KEY_EXHAUSTED: BW_USES_MAX are spent, rotate.
 * BW_STORE_UNAVAILABLE: then nothing may be encrypted. Any thread, holding no lock. */
bw_result bw_key_take_uses(struct bw_store *store, const struct bw_key *key, const struct bw_key_version *version, uint64_t n);

#endif
