/* A new version of a key: the newest encrypts and signs, the ones before only open what they made. */
#ifndef BW_SERVER_ROTATION_H
#define BW_SERVER_ROTATION_H

#include "daemon.h"
#include "registry.h"

/* Makes the version in the HSM, then in store and registry; when these refuse, the material is destroyed. The caller has
 * written the intent. Two that rotate the same key come one after the other, each from what the one before left.
 * request_id  the caller's, kept with the version; NULL: none
 * from      the primary version that is to be replaced, else BW_CONFLICT; 0: whichever
 * ret_key   the caller's reference to what follows
 * Fails with BW_KEY_STATE, BW_KEY_DISABLED, BW_TENANT_SEALED, and as HSM and store do. */
bw_result bw_rotation_run(struct bw_daemon *daemon, const struct bw_key_name *name, uint32_t from, const uint8_t *request_id, struct bw_arena *arena,
                          const struct bw_key **ret_key);

/* Whether this request has rotated the key, and its answer was lost. */
bool bw_rotation_was(const struct bw_key *key, const uint8_t request_id[static BW_REQUEST_ID_LEN]);

/* When the key is to be rotated by itself: for its primary version's age, or at once because little of its use budget is
 * left. INT64_MAX: never. */
int64_t bw_rotation_due(const struct bw_key *key, int64_t now_us);

#endif
