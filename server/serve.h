/* From bytes to the reply on its way. */
#ifndef BW_SERVER_SERVE_H
#define BW_SERVER_SERVE_H

#include "job.h"

/* Takes a call that listen.c filled (method, message, peer, started, deadline, send) to its end. Runs stages where they may
 * run; what is slow goes to workers, each operation of a Batch for itself. Does not commit: the caller flushes the audit log
 * when it has handed in all that was there.
 * Tells how many jobs it ended here: their records wait for the flush. */
size_t bw_serve(struct bw_daemon *daemon, struct bw_call *call);

/* Ends a job, on a worker. true: it was the last of its call to run, so the log is to be flushed; until then nobody waits for
 * the records of the others alone. */
bool bw_serve_resume(struct bw_job *job);

#endif
