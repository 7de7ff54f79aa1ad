/* Audit.Query: records of a log by key, principal, operation, outcome, time and request. */
#include <string.h>

#include "audit.h"
#include "bailiwick/v1/audit.pb-c.h"
#include "daemon.h"
#include "op_audit.h"
#include "stages.h"
#include "wire.h"

typedef Bailiwick__V1__QueryRequest query_request;
typedef Bailiwick__V1__QueryReply   query_reply;
typedef Bailiwick__V1__Record       record_message;

/* ---- request to query ---- */

/* A key's name is looked at for its region and id alone: what its log does not have, a caller cannot find. */
static bw_result take_key(struct bw_daemon *daemon, struct bw_job *job, const char *text, struct bw_audit_query *query)
{
    struct bw_key_name name;

    if (text[0] == '\0')
        return bw_success();
    BW_CHECK_AT(bw_ok(bw_key_name_parse(bw_bytes_text(text), &name)), BW_BAD_ARGUMENT, "key", "not a key's name");
    if (!bw_region_equal(&name.region, &daemon->region)) {
        job->reply.home_region = bw_arena_copy(bw_job_arena(job), bw_bytes_text(name.region.text));
        return bw_fail_at(BW_WRONG_REGION, "key", "the key belongs to another region, and so does its log");
    }
    query->has_key = true;
    query->key     = name.id;
    return bw_success();
}

static bw_result take_operations(const query_request *request, struct bw_arena *arena, struct bw_audit_query *query)
{
    uint32_t *operations = bw_arena_alloc(arena, request->n_operations * sizeof *operations);

    BW_CHECK(operations != NULL, BW_NO_MEMORY, "query");
    for (size_t i = 0; i < request->n_operations; i++) {
        operations[i] = bw_operation_number(request->operations[i]);
        BW_CHECK_AT(operations[i] != 0, BW_BAD_ARGUMENT, "operations", "there is no such operation");
    }
    query->operations      = operations;
    query->operation_count = request->n_operations;
    return bw_success();
}

static bw_result take_outcomes(const query_request *request, struct bw_arena *arena, struct bw_audit_query *query)
{
    enum bw_outcome *outcomes = bw_arena_alloc(arena, request->n_outcomes * sizeof *outcomes);

    BW_CHECK(outcomes != NULL, BW_NO_MEMORY, "query");
    for (size_t i = 0; i < request->n_outcomes; i++) {
        BW_CHECK_AT(request->outcomes[i] >= BAILIWICK__V1__OUTCOME__GRANTED && request->outcomes[i] <= BAILIWICK__V1__OUTCOME__UNKNOWN,
                    BW_BAD_ARGUMENT, "outcomes", "there is no such outcome");
        outcomes[i] = (enum bw_outcome)request->outcomes[i];
    }
    query->outcomes      = outcomes;
    query->outcome_count = request->n_outcomes;
    return bw_success();
}

bw_result bw_op_audit_query(struct bw_daemon *daemon, struct bw_job *job, const query_request *request, struct bw_audit_query *query)
{
    struct bw_arena *arena = bw_job_arena(job);

    BW_CHECK_AT(request->limit <= BW_PAGE_MAX, BW_BAD_ARGUMENT, "limit", "at most 1000 records");
    BW_CHECK_AT(request->from_us >= 0, BW_BAD_ARGUMENT, "from_us", "a time before 1970");
    BW_CHECK_AT(request->to_us >= 0, BW_BAD_ARGUMENT, "to_us", "a time before 1970");
    BW_CHECK_AT(request->of_request_id.len == 0 || request->of_request_id.len == BW_REQUEST_ID_LEN, BW_BAD_ARGUMENT, "of_request_id", "a request id has 16 bytes");
    BW_CHECK_AT(request->n_operations <= BW_PAGE_DEFAULT, BW_BAD_ARGUMENT, "operations", "more than there are");
    BW_CHECK_AT(request->n_outcomes <= BW_PAGE_DEFAULT, BW_BAD_ARGUMENT, "outcomes", "more than there are");
    BW_TRY(take_key(daemon, job, request->key, query));
    BW_TRY(take_operations(request, arena, query));
    BW_TRY(take_outcomes(request, arena, query));
    query->principal    = request->principal[0] != '\0' ? request->principal : NULL;
    query->request_id   = request->of_request_id.len > 0 ? request->of_request_id.data : NULL;
    query->from_us      = request->from_us;
    query->to_us        = request->to_us;
    query->from_index   = request->from_index;
    query->newest_first = request->newest_first;
    query->limit        = request->limit != 0 ? request->limit : BW_PAGE_DEFAULT;
    return bw_success();
}

/* ---- rows to reply ---- */

static bw_result unpack_class(const ProtobufCMessageDescriptor *descriptor, bw_bytes stored, struct bw_arena *arena, ProtobufCMessage **ret_message)
{
    BW_CHECK(stored.len >= BW_AUDIT_SALT_LEN, BW_AUDIT_UNAVAILABLE, "the audit log is damaged: a class is shorter than its salt");
    bw_bytes message = { stored.data + BW_AUDIT_SALT_LEN, stored.len - BW_AUDIT_SALT_LEN };
    return bw_wire_unpack(descriptor, message, arena, ret_message);
}

static bw_result record_of(const struct bw_audit_row *row, struct bw_arena *arena, record_message **ret_record)
{
    record_message   *record = bw_arena_alloc(arena, sizeof *record);
    ProtobufCMessage *essential, *who, *context;

    BW_CHECK(record != NULL, BW_NO_MEMORY, "query");
    BW_TRY(unpack_class(&bailiwick__v1__record_essential__descriptor, row->essential, arena, &essential));
    BW_TRY(unpack_class(&bailiwick__v1__record_who__descriptor, row->who, arena, &who));
    BW_TRY(unpack_class(&bailiwick__v1__record_context__descriptor, row->context, arena, &context));
    bailiwick__v1__record__init(record);
    record->index     = row->index;
    record->essential = (Bailiwick__V1__RecordEssential *)essential;
    record->who       = (Bailiwick__V1__RecordWho *)who;
    record->context   = (Bailiwick__V1__RecordContext *)context;

    *ret_record = record;
    return bw_success();
}

bw_result bw_op_audit_records(const struct bw_audit_found *found, struct bw_arena *arena, record_message ***ret_records)
{
    record_message **records = bw_arena_alloc(arena, found->count * sizeof *records);

    BW_CHECK(records != NULL, BW_NO_MEMORY, "query");
    for (size_t i = 0; i < found->count; i++)
        BW_TRY(record_of(&found->rows[i], arena, &records[i]));
    *ret_records = records;
    return bw_success();
}

static bw_result reply_of(const struct bw_audit_found *found, const char *origin, struct bw_arena *arena, query_reply **ret_reply)
{
    query_reply *reply = bw_arena_alloc(arena, sizeof *reply);

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "query");
    bailiwick__v1__query_reply__init(reply);
    reply->log        = (char *)(uintptr_t)origin; /* lives as long as the log */
    reply->next_index = found->next_index;
    reply->log_size   = found->log_size;
    reply->more       = found->more;
    reply->n_records  = found->count;
    BW_TRY(bw_op_audit_records(found, arena, &reply->records));
    *ret_reply = reply;
    return bw_success();
}

bw_result bw_op_query(struct bw_daemon *daemon, struct bw_job *job)
{
    const query_request  *request = (const query_request *)job->request.message;
    struct bw_audit_query query   = { 0 };
    struct bw_audit_found found;
    query_reply          *reply;

    BW_TRY(bw_op_audit_log(daemon, job, request->region, &query.log));
    BW_TRY(bw_op_audit_query(daemon, job, request, &query));
    BW_TRY(bw_audit_find(daemon->audit, &query, bw_job_arena(job), &found));
    BW_TRY(reply_of(&found, bw_audit_origin(daemon->audit, query.log), bw_job_arena(job), &reply));
    if (request->checkpoint)
        BW_TRY(bw_op_audit_checkpoint(daemon, bw_job_arena(job), query.log, request->checkpoint_size, request->checkpoint_size, &reply->checkpoint));

    job->reply.message = &reply->base;
    return bw_success();
}
