/* Intents that a crash left without an outcome: finished or undone, and closed on record. */
#ifndef BW_SERVER_RECOVER_H
#define BW_SERVER_RECOVER_H

#include "daemon.h"
#include "record.h"
#include "registry.h"

struct bw_recovery;

/* At start, when the tokens are open, before anything is served. GRANTED closes what stands in HSM and store; UNKNOWN what
 * was undone or cannot be told. What needs a token that is not open waits for it. Fails when the log does. */
bw_result bw_recovery_start(struct bw_daemon *daemon, struct bw_recovery **ret_recovery);
void      bw_recovery_free(struct bw_recovery *recovery);
BW_DEFINE_AUTO(recovery)

/* What waits is looked at again: for a tenant whose token was opened later, or for all (tenant NULL). Holds a lock of its own
 * over HSM and log, outermost. */
bw_result bw_recovery_go_on(struct bw_daemon *daemon, struct bw_recovery *recovery, const bw_tenant *tenant);

/* An intent whose outcome cannot be told yet joins those that wait. The record has its intent_index and log. */
bw_result bw_recovery_wait(struct bw_recovery *recovery, const struct bw_record *record);

size_t bw_recovery_open(struct bw_recovery *recovery); /* how many wait */

#endif
