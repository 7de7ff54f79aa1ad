/* Keys as they stand in replies. */
#ifndef BW_SERVER_KEY_MESSAGE_H
#define BW_SERVER_KEY_MESSAGE_H

#include "registry.h"

#include "bailiwick/v1/keys.pb-c.h"

/* A copy in the arena, so that the key may go. brief: without policy and tags, as in lists. BW_NO_MEMORY. */
bw_result bw_key_message(const struct bw_key *key, bool brief, struct bw_arena *arena, Bailiwick__V1__Key **ret_message);

#endif
