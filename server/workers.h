/* Threads for what is slow: each takes a job from one bounded queue and ends it; who ends a call's last job commits their records. */
#ifndef BW_SERVER_WORKERS_H
#define BW_SERVER_WORKERS_H

#include "job.h"

struct bw_workers;

/* count 0: as many as processors. queue_max: jobs that may wait. */
bw_result bw_workers_start(struct bw_daemon *daemon, unsigned count, unsigned queue_max, struct bw_workers **ret_workers);

/* Ends what is queued, then the threads. Nobody may put any more. NULL is fine. */
void bw_workers_stop(struct bw_workers *workers);

/* Hands the job over. false: the queue is full, and the job is still the caller's. */
bool bw_workers_put(struct bw_workers *workers, struct bw_job *job);

#endif
