/* The last step: result and output become the reply, and the operators' log gets its line. */
#ifndef BW_SERVER_REPLY_H
#define BW_SERVER_REPLY_H

#include "job.h"

/* All jobs of the call are on record, or need not be. Sends the reply or the refusal; the call is the transport's again. */
void bw_reply_send(struct bw_call *call);

/* Ends the call, or the stream that it is, with a refusal. */
void bw_reply_refuse(struct bw_call *call, const struct bw_job *job, bw_result result);

/* What was ready must not leave. Its bytes are wiped with the call's arena. */
void bw_reply_withhold(struct bw_reply *reply);

#endif
