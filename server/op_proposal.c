/* Proposals: what waits for more custodians, looked at, approved and rejected. How they come about is proposal.h. */
#include <string.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "intent.h"
#include "op.h"
#include "proposal.h"
#include "stages.h"
#include "wire.h"

#include "bailiwick/v1/proposals.pb-c.h"

typedef Bailiwick__V1__Proposal message;

static char *unconst(const char *text) { return (char *)(uintptr_t)text; }

static const bw_tenant *tenant_of(const struct bw_job *job) { return &job->caller.identity.tenant; }

/* ---- as they stand in replies ---- */

static bw_result add_approvals(const struct bw_approval *approvals, size_t count, struct bw_arena *arena, message *to)
{
    Bailiwick__V1__Approval *rows = bw_arena_alloc(arena, count * sizeof *rows);

    to->approvals = bw_arena_alloc(arena, count * sizeof *to->approvals);
    BW_CHECK(rows != NULL && to->approvals != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; i < count; i++) {
        bailiwick__v1__approval__init(&rows[i]);
        rows[i].custodian   = unconst(approvals[i].custodian);
        rows[i].approved_us = approvals[i].approved_us;
        rows[i].revoked     = approvals[i].revoked;
        to->approvals[to->n_approvals++] = &rows[i];
    }
    return bw_success();
}

static bw_result count_custodians(struct bw_daemon *daemon, const struct bw_proposal *proposal, bool in_list, struct bw_arena *arena, message *to)
{
    struct bw_approval approvals[BW_APPROVALS_MAX];
    size_t count;

    BW_TRY(bw_store_list_approvals(daemon->store, &proposal->tenant, proposal->id, arena, approvals, &count));
    for (size_t i = 0; i < count; i++)
        to->approved += !approvals[i].revoked;
    return in_list ? bw_success() : add_approvals(approvals, count, arena, to);
}

static bool is_stale(struct bw_daemon *daemon, const struct bw_proposal *proposal)
{
    return proposal->expires_us <= bw_now_us() || bw_proposal_generation(daemon, proposal) != proposal->generation;
}

static bw_result name_key(struct bw_daemon *daemon, const struct bw_proposal *proposal, struct bw_arena *arena, message *to)
{
    struct bw_key_name name = { .region = daemon->region, .tenant = proposal->tenant, .id = proposal->key };

    if (!proposal->has_key)
        return bw_success();
    to->key = bw_arena_alloc(arena, BW_KEY_NAME_MAX + 1);
    BW_CHECK(to->key != NULL, BW_NO_MEMORY, "reply");
    bw_key_name_print(&name, to->key);
    return bw_success();
}

/* Requests may be long and a list has many, so none outlives this. */
static bw_result count_needed(struct bw_daemon *daemon, struct bw_job *job, const struct bw_proposal *listed, uint32_t *ret_needed)
{
    struct bw_arena arena = { 0 };
    struct bw_proposal whole;
    ProtobufCMessage *request;

    bw_result result = bw_store_get_proposal(daemon->store, &listed->tenant, listed->id, &arena, &whole);
    if (bw_ok(result))
        result = bw_proposal_request(&whole, &arena, &request);
    if (bw_ok(result))
        *ret_needed = bw_proposal_needs(bw_grant_tenant(job->grant), bw_method_by_number(whole.method), request);
    bw_arena_clear(&arena);
    return result;
}

static bw_result describe(struct bw_daemon *daemon, struct bw_job *job, const struct bw_proposal *proposal, bool in_list, message **ret_message)
{
    struct bw_arena *arena = bw_job_arena(job);
    message *to = bw_arena_alloc(arena, sizeof *to);
    void *id = bw_arena_copy(arena, bw_bytes_of(proposal->id, sizeof proposal->id));

    BW_CHECK(to != NULL && id != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__proposal__init(to);
    BW_TRY(count_needed(daemon, job, proposal, &to->needed));
    to->id         = bw_wire_data(bw_bytes_of(id, sizeof proposal->id));
    to->method     = unconst(bw_method_by_number(proposal->method)->name);
    to->proposer   = unconst(proposal->proposer);
    to->created_us = proposal->created_us;
    to->expires_us = proposal->expires_us;
    to->request    = in_list ? (ProtobufCBinaryData){ 0, NULL } : bw_wire_data(proposal->request);
    BW_TRY(name_key(daemon, proposal, arena, to));
    BW_TRY(count_custodians(daemon, proposal, in_list, arena, to));
    to->state = is_stale(daemon, proposal)    ? BAILIWICK__V1__PROPOSAL_STATE__STALE
              : to->approved >= to->needed    ? BAILIWICK__V1__PROPOSAL_STATE__APPROVED
                                              : BAILIWICK__V1__PROPOSAL_STATE__WAITING;
    *ret_message = to;
    return bw_success();
}

/* ---- ListProposals, GetProposal ---- */

bw_result bw_op_list_proposals(struct bw_daemon *daemon, struct bw_job *job)
{
    Bailiwick__V1__ListProposalsReply *reply = bw_op_reply(job);
    struct bw_arena    *arena     = bw_job_arena(job);
    struct bw_proposal *proposals = bw_arena_alloc(arena, BW_PROPOSALS_MAX * sizeof *proposals);
    size_t count;

    BW_CHECK(reply != NULL && proposals != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_store_list_proposals(daemon->store, tenant_of(job), bw_now_us(), arena, proposals, &count));
    reply->proposals = bw_arena_alloc(arena, count * sizeof *reply->proposals);
    BW_CHECK(reply->proposals != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; i < count; i++) {
        bw_result result = describe(daemon, job, &proposals[i], true, &reply->proposals[reply->n_proposals]);
        if (result.code == BW_NO_SUCH_PROPOSAL)
            continue; /* gone meanwhile */
        BW_TRY(result);
        reply->n_proposals++;
    }
    return bw_success();
}

/* Whoever asks for it, the record says what for. */
static bw_result find(struct bw_daemon *daemon, struct bw_job *job, ProtobufCBinaryData id, struct bw_proposal *ret_proposal)
{
    bw_proposal_note(job, id.data); /* decode has seen to its length */
    return bw_store_get_proposal(daemon->store, tenant_of(job), id.data, bw_job_arena(job), ret_proposal);
}

bw_result bw_op_get_proposal(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetProposalRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetProposalReply *reply = bw_op_reply(job);
    struct bw_proposal proposal;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(find(daemon, job, request->id, &proposal));
    return describe(daemon, job, &proposal, false, &reply->proposal);
}

/* ---- ApproveProposal, RejectProposal ---- */

static bw_result check_approvable(struct bw_daemon *daemon, const struct bw_job *job, const struct bw_proposal *proposal)
{
    BW_CHECK_AT(strcmp(proposal->proposer, job->caller.spiffe_id) != 0, BW_NOT_PERMITTED, "id", "the caller's own, by which he stands already");
    BW_CHECK_AT(proposal->expires_us > bw_now_us(), BW_EXPIRED, "id", "the proposal's time is over");
    BW_CHECK_AT(bw_proposal_generation(daemon, proposal) == proposal->generation, BW_CONFLICT, "id", "what the proposal is about has changed");
    return bw_success();
}

bw_result bw_op_approve_proposal(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ApproveProposalRequest *request = (const void *)job->request.message;
    Bailiwick__V1__ApproveProposalReply *reply = bw_op_reply(job);
    struct bw_proposal proposal;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(find(daemon, job, request->id, &proposal));
    BW_TRY(check_approvable(daemon, job, &proposal));
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));
    BW_TRY(bw_store_approve(daemon->store, tenant_of(job), proposal.id, job->caller.spiffe_id, bw_now_us()));
    return describe(daemon, job, &proposal, false, &reply->proposal);
}

bw_result bw_op_reject_proposal(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__RejectProposalRequest *request = (const void *)job->request.message;
    Bailiwick__V1__RejectProposalReply *reply = bw_op_reply(job);
    struct bw_proposal proposal;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(find(daemon, job, request->id, &proposal));
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));
    BW_TRY(describe(daemon, job, &proposal, false, &reply->proposal)); /* as it stood, with those who approved */
    return bw_store_drop_proposal(daemon->store, tenant_of(job), proposal.id, INT64_MAX);
}
