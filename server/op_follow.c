/* Audit.Follow: its first message, which is the operation's reply, and those after it (followers.h). */
#include "audit.h"
#include "daemon.h"
#include "followers.h"
#include "op.h"
#include "op_audit.h"
#include "stages.h"

typedef Bailiwick__V1__FollowRequest follow_request;
typedef Bailiwick__V1__FollowReply   follow_reply;

enum { HEARTBEAT_MS = 15 * 1000, RECORDS_DEFAULT = 100 };

/* The same words as Audit.Query's; what makes an end of it is not there. */
static Bailiwick__V1__QueryRequest query_request_of(const follow_request *request)
{
    Bailiwick__V1__QueryRequest query = BAILIWICK__V1__QUERY_REQUEST__INIT;

    query.key          = request->key;
    query.principal    = request->principal;
    query.n_operations = request->n_operations;
    query.operations   = request->operations;
    query.n_outcomes   = request->n_outcomes;
    query.outcomes     = request->outcomes;
    query.from_us      = request->from_us;
    query.from_index   = request->from_index;
    query.limit        = request->limit != 0 ? request->limit : RECORDS_DEFAULT;
    return query;
}

static bw_result put_records(const struct bw_audit_found *found, struct bw_arena *arena, follow_reply *reply)
{
    reply->log_size   = found->log_size;
    reply->next_index = found->more ? found->next_index : found->log_size;
    reply->n_records  = found->count;
    return bw_op_audit_records(found, arena, &reply->records);
}

/* Newer than the one told, or any when the caller is to hear that we live. None as long as none is signed. */
static bw_result put_checkpoint(struct bw_daemon *daemon, struct bw_follow *follow, bool any, struct bw_arena *arena, follow_reply *reply)
{
    uint64_t size;

    if (!bw_audit_signed_size(daemon->audit, follow->query.log, &size) || (size <= follow->told && !any))
        return bw_success();
    BW_TRY(bw_op_audit_checkpoint(daemon, arena, follow->query.log, follow->told, follow->told, &reply->checkpoint));
    follow->told = reply->checkpoint->size;
    return bw_success();
}

bw_result bw_follow_next(struct bw_daemon *daemon, struct bw_follow *follow, bool heartbeat, struct bw_arena *arena, ProtobufCMessage **ret_message)
{
    follow_reply *reply = bw_arena_alloc(arena, sizeof *reply);
    struct bw_audit_found found;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__follow_reply__init(reply);
    reply->log = (char *)(uintptr_t)bw_audit_origin(daemon->audit, follow->query.log); /* lives as long as the log */
    BW_TRY(bw_audit_find(daemon->audit, &follow->query, arena, &found));
    BW_TRY(put_records(&found, arena, reply));
    BW_TRY(put_checkpoint(daemon, follow, heartbeat, arena, reply));
    follow->query.from_index = reply->next_index;
    *ret_message = reply->n_records > 0 || reply->checkpoint != NULL || heartbeat ? &reply->base : NULL;
    return bw_success();
}

/* A caller who has a checkpoint hears first whether the log goes on from it. */
static bw_result check_told(struct bw_daemon *daemon, struct bw_job *job, const struct bw_follow *follow)
{
    Bailiwick__V1__Checkpoint *checkpoint;

    if (follow->told == 0)
        return bw_success();
    return bw_op_audit_checkpoint(daemon, bw_job_arena(job), follow->query.log, follow->told, follow->told, &checkpoint);
}

bw_result bw_op_follow(struct bw_daemon *daemon, struct bw_job *job)
{
    const follow_request             *request = (const void *)job->request.message;
    const Bailiwick__V1__QueryRequest query   = query_request_of(request);
    struct bw_follow *follow = bw_arena_alloc(bw_job_arena(job), sizeof *follow);

    BW_CHECK(follow != NULL, BW_NO_MEMORY, "stream");
    *follow = (struct bw_follow){ .told = request->checkpoint_size, .heartbeat_ms = request->heartbeat_s ? request->heartbeat_s * 1000 : HEARTBEAT_MS };
    BW_TRY(bw_op_audit_log(daemon, job, request->region, &follow->query.log));
    BW_TRY(bw_op_audit_query(daemon, job, &query, &follow->query));
    BW_TRY(check_told(daemon, job, follow));
    BW_TRY(bw_follow_next(daemon, follow, true, bw_job_arena(job), &job->reply.message));
    follow->query.as_indexed = true; /* from here on: what is new is heard of, not asked for */
    job->call->follow = follow;
    return bw_success();
}
