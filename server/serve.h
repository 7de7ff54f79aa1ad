/* From bytes to the reply on its way. */
#ifndef BW_SERVER_SERVE_H
#define BW_SERVER_SERVE_H

#include "job.h"

/* Takes a call that listen.c filled (method, message, peer, started, deadline, send) to its end. Runs stages where they may
 * run; what is slow goes to a worker, a Batch as a whole. Does not commit: the caller flushes the audit log when it has
 * handed in all that was there. */
void bw_serve(struct bw_daemon *daemon, struct bw_call *call);

/* Goes on with a call on a worker, which flushes the audit log afterwards. */
void bw_serve_resume(struct bw_call *call);

#endif
