/* The stages of a request, in the order in which serve.c's table runs them, and what each may read and fills. */
#ifndef BW_SERVER_STAGES_H
#define BW_SERVER_STAGES_H

#include "job.h"

bw_result bw_authenticate(struct bw_daemon *daemon, struct bw_job *job); /* call->peer          -> job->caller  */
bw_result bw_decode(struct bw_daemon *daemon, struct bw_job *job);       /* call->message       -> job->request */
/* bw_authorise (authorise.h)                                               caller and request  -> job->grant   */
bw_result bw_operate(struct bw_daemon *daemon, struct bw_job *job);      /* grant and request   -> job->reply   */

/* One operation per method: methods.def names it by its snake: bw_op_decrypt(). On BW_OK job->reply.message is set. */
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost) \
    bw_result bw_op_##snake(struct bw_daemon *daemon, struct bw_job *job);
#include "methods.def"
#undef BW_METHOD

#endif
