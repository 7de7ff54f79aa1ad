/* Dual control: what takes more than one custodian, and what waits until they have found together.
 *
 * A request that needs more custodians than the one who sends it is kept as a proposal and refused with BW_NOT_APPROVED.
 * Others approve it. When they are enough, one of them sends the same request again; then it is executed, and the proposal is
 * spent in the very transaction of the change (struct bw_warrant), so that it is good once.
 *
 * A proposal's id is a digest of the tenant, the method, the request without its request id, and the generation of what
 * the request is about. So nobody can have another request approved than the one that he shows, and a proposal comes to
 * nothing when what it is about changes. An approval counts while its custodian is not revoked; how many it takes is what the
 * tenant's policy says when the change is made. */
#ifndef BW_SERVER_PROPOSAL_H
#define BW_SERVER_PROPOSAL_H

#include "job.h"
#include "store.h"

/* Custodians that the request takes; 0 or 1: whoever may send it. message: of method->request. */
unsigned bw_proposal_needs(const struct bw_tenant_info *tenant, const struct bw_method *method, const ProtobufCMessage *message);

/* Before a change, when nothing else stands against it: intent.h. When the request takes more custodians, and they are there,
 * job->warrant is what the change has to spend; else the request is kept, and job->reply and the record name its proposal.
 * BW_NOT_APPROVED; BW_QUOTA; BW_NOT_PERMITTED: the caller is no custodian. */
bw_result bw_proposal_check(struct bw_daemon *daemon, struct bw_job *job);

/* The request as it will be executed, in the arena. */
bw_result bw_proposal_request(const struct bw_proposal *proposal, struct bw_arena *arena, ProtobufCMessage **ret_message);

/* Of what the proposal is about, as it stands now; 0: it is gone, or there is none. */
uint64_t bw_proposal_generation(struct bw_daemon *daemon, const struct bw_proposal *proposal);

/* Puts the proposal on the job's record. */
void bw_proposal_note(struct bw_job *job, const uint8_t id[static BW_PROPOSAL_ID_LEN]);

/* Drops what found too few custodians in its time, each with a record by the node. */
bw_result bw_proposals_expire(struct bw_daemon *daemon, int64_t now_us);

#endif
