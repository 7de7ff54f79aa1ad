/* What the operations share. */
#ifndef BW_SERVER_OP_H
#define BW_SERVER_OP_H

#include "hsm.h"
#include "job.h"

/* The job's reply message, of method->reply, empty, in the arena. NULL: out of memory. */
void *bw_op_reply(struct bw_job *job);

/* The HSM object of the granted key version, or of the sealed session key that the request brought, which is then authorised
 * for this use. The caller gives the reference back. */
bw_result bw_op_object(struct bw_daemon *daemon, struct bw_job *job, unsigned use, struct bw_hsm_object **ret_object);

/* Opens sealed bytes of the caller's tenant; nothing is authorised yet. */
bw_result bw_op_unseal(struct bw_daemon *daemon, struct bw_job *job, bw_bytes sealed, struct bw_hsm_object **ret_object, struct bw_session_key *ret_what);

/* After an attempt to open something with the granted version failed: whether to try an older one, which is granted then.
 * Only where the request named no version, and the mechanism tells a wrong key from a right one: PKCS#11 cannot say which
 * version made a ciphertext. */
bool bw_op_try_older(struct bw_job *job, bw_result attempt);

/* len random bytes of the tenant's HSM, from the arena. */
bw_result bw_op_draw(struct bw_job *job, size_t len, bw_bytes *ret_bytes);

/* The number of the granted key version; 0 for session keys. */
uint32_t bw_op_version(const struct bw_job *job);

/* For cleanup attributes: BW_AUTO needs a type bw_hsm_object and a function of this name. */
static inline void bw_hsm_object_free(struct bw_hsm_object *object) { bw_hsm_object_unref(object); }
BW_DEFINE_AUTO(hsm_object)

#endif
