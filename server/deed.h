/* What the region does to a key by itself, on record as a caller's change is: an intent, then its outcome. The principal is
 * the node. Operations are rows of deeds.def, or methods that a caller could have called instead. */
#ifndef BW_SERVER_DEED_H
#define BW_SERVER_DEED_H

#include "audit.h"
#include "daemon.h"
#include "registry.h"

/* Writes the intent and waits until it is durable; without it nothing may be done. ret_record is for bw_deed_end, or for
 * bw_recovery_wait when the outcome cannot be told yet. */
bw_result bw_deed_begin(struct bw_daemon *daemon, unsigned operation, const struct bw_key *key, struct bw_record *ret_record);

/* The outcome. Returns the deed's own failure before the log's. */
bw_result bw_deed_end(struct bw_daemon *daemon, struct bw_record *record, bw_result result);

#endif
