/* Random bytes from the region's HSM. */
#ifndef BW_PROVIDER_RANDOM_H
#define BW_PROVIDER_RANDOM_H

#include "slot.h"

/* Fills len bytes. One RPC gives 4 KiB; what a call leaves of it serves the next ones. */
bw_result bw_random_draw(struct bw_slot *slot, uint8_t *ret_bytes, size_t len);

#endif
