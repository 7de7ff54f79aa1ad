/* The end of a key: its material is destroyed in the HSM, its name stays taken for ever.
 *
 * The store says DESTROYED first, and from then on there is no way back; then the material goes. What a crash or a failing
 * HSM leaves of it is destroyed when its intent is resolved (recover.h). */
#ifndef BW_SERVER_DESTRUCTION_H
#define BW_SERVER_DESTRUCTION_H

#include "daemon.h"
#include "registry.h"

struct bw_warrant;

/* When the key's waiting time is over; INT64_MAX: it is not to be deleted. */
int64_t bw_destruction_due(const struct bw_key *key, int64_t now_us);

/* Destroys a key that is due. Looked at once more under the lock of changes: what was cancelled or put off meanwhile stays
 * (BW_KEY_STATE). The caller has no lock; the tenant's token is open. */
bw_result bw_destruction_run(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us);

/* Destroys a key that is to be deleted without waiting any longer, with the warrant for it. The caller has written the intent.
 * ret_key: his reference to what follows. BW_KEY_STATE: it is not to be deleted. Any failure but the store's leaves the key
 * DESTROYED, and material for the region to destroy when the HSM can. */
bw_result bw_destruction_purge(struct bw_daemon *daemon, const struct bw_key *key, struct bw_warrant *warrant, const struct bw_key **ret_key);

/* All versions of a key that the store calls destroyed, and what came out of them. Can be repeated. */
bw_result bw_destruction_of_material(struct bw_token *token, const struct bw_key *key);

#endif
