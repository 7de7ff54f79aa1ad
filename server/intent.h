/* Intents: what is about to change goes on record before anything acts, so that a crash leaves a trace to follow. Here too it
 * is asked whether one custodian is enough: nothing changes without an intent, and when it is written nothing else is in
 * the way. */
#ifndef BW_SERVER_INTENT_H
#define BW_SERVER_INTENT_H

#include "job.h"

/* Writes the job's intent and waits until it is durable. The record that ends the job closes it. key NULL: none is
 * concerned; version 0: the key as a whole. Fails as bw_audit_write, or as
 * bw_proposal_check: then nothing may be changed. What job->warrant is then, the change takes with it. */
bw_result bw_intent_write(struct bw_daemon *daemon, struct bw_job *job, const bw_key_id *key, uint32_t version);

#endif
