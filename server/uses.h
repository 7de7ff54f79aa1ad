/* The use budget of a key version under which random nonces are safe.
 *
 * AES-GCM with random 96-bit nonces is good for 2^32 encryptions under one key (SP 800-38D, 8.3). Users cannot count to that,
 * so we do: each encryption is taken from the version's budget, which is far smaller. What is taken is reserved in the store
 * ahead of use, a block at a time, so that a crash never gives uses back. */
#ifndef BW_SERVER_USES_H
#define BW_SERVER_USES_H

#include "registry.h"

struct bw_daemon;

/* BW_KEY_EXHAUSTED: the budget is spent, the key must be rotated. Touches the store once in a block. Any thread. */
bw_result bw_uses_take(struct bw_daemon *daemon, const struct bw_key *key, const struct bw_key_version *version, uint64_t count);

#endif
