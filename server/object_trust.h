/* What certificates are trusted for, as PKCS#11 clients keep it: objects of class TRUST, the Trust message in the place of a value.
 *
 * Who says what a certificate is trusted for decides whom its readers talk to. So an application's word is for itself alone,
 * a custodian's for all of the tenant, and it goes before theirs. Each has one object for a certificate. */
#ifndef BW_SERVER_OBJECT_TRUST_H
#define BW_SERVER_OBJECT_TRUST_H

#include "job.h"
#include "store.h"

#include "bailiwick/v1/objects.pb-c.h"

/* The id of what that owner (empty: custodians) says of the certificate: the same each time. */
bw_result bw_object_trust_id(const struct bw_daemon *daemon, const bw_tenant *tenant, bw_bytes owner,
                             const Bailiwick__V1__Trust *trust, uint8_t ret_id[static 16]);

/* *ret_trust lives in the arena. BW_STORE_UNAVAILABLE: what is stored is no such message. */
bw_result bw_object_trust_read(const struct bw_object *object, struct bw_arena *arena, Bailiwick__V1__Trust **ret_trust);

/* Whether the caller may say something of that certificate: custodians always, applications where no custodian has.
 * Fails with  BW_NOT_PERMITTED  one has. */
bw_result bw_object_trust_may_say(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__Trust *trust);

/* Whether the caller is shown that object, which may be of any class. */
bw_result bw_object_trust_is_shown(struct bw_daemon *daemon, struct bw_job *job, const struct bw_object *object, bool *ret_shown);

#endif
