/* New key material, and everything that must be so around it. */
#ifndef BW_SERVER_MAKING_H
#define BW_SERVER_MAKING_H

#include "daemon.h"
#include "registry.h"

/* The id of what a request makes, out of the request's id: a retry after a crash makes the same thing again, not a second
 * one. Request ids that nobody chose are random, and then so is this. */
void bw_make_id(const bw_region *region, const bw_tenant *tenant, const uint8_t request_id[static BW_REQUEST_ID_LEN], uint8_t ret_id[static 16]);

/* Generates the version's material and waits until it would survive a power cut. The public key is copied to the arena. */
bw_result bw_make_version(struct bw_token *token, const struct bw_spec_row *spec, const struct bw_key_name *name, uint32_t number,
                          struct bw_arena *arena, struct bw_key_version *ret_version);

#endif
