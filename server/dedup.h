/* Changes are answered once: a retry with the same request id gets the first answer again, without the change. */
#ifndef BW_SERVER_DEDUP_H
#define BW_SERVER_DEDUP_H

#include "job.h"

/* Runs the operation of a method that CHANGES, unless it was done before: then job->reply is what it was. Only requests
 * whose caller gave an id take part. BW_REQUEST_REUSED: the id stands for another request, or for another caller's. */
bw_result bw_dedup_run(struct bw_daemon *daemon, struct bw_job *job, bw_result (*operation)(struct bw_daemon *daemon, struct bw_job *job));

/* What the job asks for, as bytes in the arena: its request without what is no part of that, the request id, and without a
 * PIN, which nobody keeps. */
bw_result bw_dedup_asked(const struct bw_job *job, struct bw_arena *arena, bw_bytes *ret_bytes);

#endif
