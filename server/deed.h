/* What the region does by itself, on record as a caller's change is: an intent, then its outcome. The principal is
 * the node. Operations are rows of deeds.def, or methods that a caller could have called instead. */
#ifndef BW_SERVER_DEED_H
#define BW_SERVER_DEED_H

#include "audit.h"
#include "daemon.h"
#include "registry.h"

/* Writes the intent and waits until it is durable; without it nothing may be done. ret_record is for bw_deed_end, or for
 * bw_recovery_wait when the outcome cannot be told yet. */
bw_result bw_deed_begin(struct bw_daemon *daemon, unsigned operation, const struct bw_key *key, struct bw_record *ret_record);

/* The same for what is about no key: the record says what, and the tenant whose log it goes to is given. */
bw_result bw_deed_begin_other(struct bw_daemon *daemon, const bw_tenant *tenant, struct bw_record *record);

/* The outcome. Returns the deed's own failure before the log's. */
bw_result bw_deed_end(struct bw_daemon *daemon, struct bw_record *record, bw_result result);

#endif
