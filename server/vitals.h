/* Whether this node can serve at all: asked once a second by a thread of its own, because a sick HSM may take its time.
 * What it finds goes to grpc.health.v1, to Describe and, when it changes, to the operators' log. */
#ifndef BW_SERVER_VITALS_H
#define BW_SERVER_VITALS_H

#include "bailiwick/result.h"

struct bw_daemon;
struct bw_vitals;

/* Asks for the first time before it returns. */
bw_result bw_vitals_start(struct bw_daemon *daemon, struct bw_vitals **ret_vitals);
void      bw_vitals_stop(struct bw_vitals *vitals); /* NULL is fine. Health says NOT_SERVING afterwards. */

#endif
