/* Imported material: when it ends, and what is done then.
 *
 * The store says AWAITED first, and from then on the key waits for the same material again; then the material goes. What a
 * crash or a failing HSM leaves of it is destroyed when its intent is resolved (recover.h). */
#ifndef BW_SERVER_MATERIAL_H
#define BW_SERVER_MATERIAL_H

#include "daemon.h"
#include "registry.h"

/* When the key's imported material ends; INT64_MAX: never. */
int64_t bw_material_due(const struct bw_key *key);

/* Destroys material that is due. Looked at once more under the lock of changes (BW_CONFLICT). The caller has no lock; the
 * tenant's token is open. */
bw_result bw_material_expire(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us);

/* What is in the HSM of versions that the store calls AWAITED, and what came out of them. Can be repeated. */
bw_result bw_material_destroy(struct bw_token *token, const struct bw_key *key);

/* The store loses the material of a key's only version, which is imported, without looking at the HSM. generation as in change.h. */
bw_result bw_material_forget(struct bw_daemon *daemon, const struct bw_key *key, uint64_t generation, const struct bw_key **ret_key);

#endif
