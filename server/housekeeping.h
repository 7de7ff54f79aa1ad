/* What falls due by itself: the last uses of key versions go to the store, keys whose waiting time is over are destroyed, and
 * imported material whose time is; proposals whose time is over are dropped, keys that are old or nearly used up are rotated, and
 * what waits for an HSM that failed is tried again. Tenants with a key that waits for its material get their wrapping key. A crash loses the last uses of the time since the last pass. Time is as
 * clock.h believes it. */
#ifndef BW_SERVER_HOUSEKEEPING_H
#define BW_SERVER_HOUSEKEEPING_H

#include "daemon.h"
#include "registry.h"

struct bw_housekeeping;

/* One thread, woken when the next thing is due, and every ten minutes. What fails is told in the log and tried again then. */
bw_result bw_housekeeping_start(struct bw_daemon *daemon, struct bw_housekeeping **ret_housekeeping);
void      bw_housekeeping_stop(struct bw_housekeeping *housekeeping); /* waits for what is being done; NULL is fine */

/* Something may be due sooner than was thought. Any thread; NULL is fine. */
void bw_housekeeping_wake(struct bw_housekeeping *housekeeping);

/* Does all that is due now, and tells when to look again. Tenants whose token is not open have to wait. failed is told of
 * each thing that could not be done. */
typedef void (*bw_housekeeping_failed_fn)(struct bw_daemon *daemon, const char *chore, const struct bw_key *key, bw_result why);
int64_t bw_housekeeping_run(struct bw_daemon *daemon, int64_t now_us, bw_housekeeping_failed_fn failed);

#endif
