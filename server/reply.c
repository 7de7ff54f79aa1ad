#include "reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "authorise.h"
#include "bailiwick/v1/common.pb-c.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "config.h"
#include "daemon.h"
#include "followers.h"
#include "job_record.h"
#include "log.h"
#include "wire.h"

typedef Bailiwick__V1__Receipt     Receipt;
typedef Bailiwick__V1__BatchReply  BatchReply;
typedef Bailiwick__V1__BatchResult BatchResult;
typedef Bailiwick__V1__BatchError  BatchError;

void bw_reply_withhold(struct bw_reply *reply)
{
    reply->message  = NULL;
    reply->released = false;
}

/* protobuf-c's structs are not const though packing only reads them */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* ---- the receipt ---- */

static bw_result add_receipt(struct bw_job *job)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(job->reply.message->descriptor, "receipt");

    if (field == NULL)
        return bw_success(); /* reads have none: nothing of them is on record */
    Receipt *receipt = bw_arena_alloc(&job->call->arena, sizeof *receipt);
    BW_CHECK(receipt != NULL, BW_NO_MEMORY, "receipt");
    bailiwick__v1__receipt__init(receipt);
    receipt->log        = unconst(bw_audit_origin(job->daemon->audit, job->entry.record.log));
    receipt->index      = job->entry.index;
    receipt->request_id = bw_wire_data(bw_bytes_of(job->request.request_id, BW_REQUEST_ID_LEN));
    *(Receipt **)(void *)((uint8_t *)job->reply.message + field->offset) = receipt;
    return bw_success();
}

static void complete(struct bw_job *job)
{
    if (bw_ok(job->result) && job->reply.message == NULL)
        job->result = bw_fail(BW_INTERNAL, "an operation without a reply");
    if (bw_ok(job->result))
        job->result = add_receipt(job);
}

/* ---- a batch ---- */

static bw_result batch_error(const struct bw_job *job, BatchResult *to)
{
    const struct bw_code_row *row = bw_code_row(job->result.code);
    BatchError *error = bw_arena_alloc(&job->call->arena, sizeof *error);

    BW_CHECK(error != NULL, BW_NO_MEMORY, "batch");
    bailiwick__v1__batch_error__init(error);
    error->reason  = unconst(row->name);
    error->message = unconst(row->told);
    if (job->result.field != NULL)
        error->field = unconst(job->result.field);
    if (job->reply.home_region != NULL)
        error->home_region = unconst(job->reply.home_region);
    if (job->reply.expired_at != NULL)
        error->expired_at = unconst(job->reply.expired_at);
    to->result_case = BAILIWICK__V1__BATCH_RESULT__RESULT_ERROR;
    to->error       = error;
    return bw_success();
}

/* As in BatchOperation, a result's number is its method's, and all members of the union are pointers. */
static bw_result batch_result(const struct bw_job *job, BatchResult **ret_result)
{
    BatchResult *result = bw_arena_alloc(&job->call->arena, sizeof *result);

    BW_CHECK(result != NULL, BW_NO_MEMORY, "batch");
    bailiwick__v1__batch_result__init(result);
    *ret_result = result;
    if (!bw_ok(job->result))
        return batch_error(job, result);
    result->result_case = (Bailiwick__V1__BatchResult__ResultCase)job->method->number;
    result->encrypt     = (void *)job->reply.message;
    return bw_success();
}

static bw_result pack_batch(struct bw_call *call, bw_bytes *ret_bytes)
{
    BatchReply reply = BAILIWICK__V1__BATCH_REPLY__INIT;

    reply.n_results = call->job_count;
    reply.results   = bw_arena_alloc(&call->arena, call->job_count * sizeof *reply.results);
    BW_CHECK(reply.results != NULL, BW_NO_MEMORY, "batch");
    for (size_t i = 0; i < call->job_count; i++)
        BW_TRY(batch_result(&call->jobs[i], &reply.results[i]));
    return bw_wire_pack(&reply.base, &call->arena, ret_bytes);
}

/* ---- the log ---- */

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* what broke, for operators alone: a caller hears the row's sentence */
static const char *what_broke(const struct bw_job *job)
{
    return bw_ok(job->result) ? NULL : job->result.what;
}

/* The audit log has every use; here what was refused is what an operator looks for. */
static void log_job(const struct bw_job *job)
{
    if (bw_ok(job->result) && !job->daemon->config->log_all)
        return;
    char key[BW_KEY_NAME_MAX + 1] = "", id[2 * BW_REQUEST_ID_LEN + 1], took[24], index[24] = "";

    bw_hex(bw_bytes_of(job->request.request_id, BW_REQUEST_ID_LEN), id);
    if (job->request.has_key)
        bw_key_name_print(&job->request.key, key);
    (void)snprintf(took, sizeof took, "%" PRId64, now_us() - job->call->started_us);
    if (bw_job_is_recorded(job) && bw_ok(job->result))
        (void)snprintf(index, sizeof index, "%" PRIu64, job->entry.index);
    bw_log(job->daemon->log, BW_LOG_INFO, "request",
           { "request", id }, { "method", job->method->name }, { "code", bw_code_row(job->result.code)->name },
           { "stage", job->stage }, { "field", job->result.field }, { "what", what_broke(job) }, { "where", job->result.where },
           { "tenant", job->caller.identity.tenant.text }, { "principal", job->caller.spiffe_id }, { "peer", job->call->peer.address },
           { "key", key }, { "record", index }, { "us", took });
}

/* ---- out ---- */

void bw_reply_refuse(struct bw_call *call, const struct bw_job *job, bw_result result)
{
    struct bw_refusal_parts parts = {
        .result      = result,
        .home_region = job->reply.home_region,
        .proposal    = job->reply.proposal,
        .expired_at  = job->reply.expired_at,
        .request_id  = bw_bytes_of(job->request.request_id, BW_REQUEST_ID_LEN),
    };
    bw_bytes details;

    if (!bw_ok(bw_wire_pack_refusal(&parts, &call->arena, &details)))
        details = (bw_bytes){ 0 }; /* the status alone says enough */
    call->send(call, result, details, (bw_bytes){ 0 });
}

static bool is_expanded(const struct bw_call *call)
{
    return call->method != NULL && call->method->number == BW_METHOD_NR(Batch) && call->jobs[0].method != call->method;
}

void bw_reply_send(struct bw_call *call)
{
    struct bw_job *first = call->jobs;
    bw_bytes bytes = { 0 };

    for (size_t i = 0; i < call->job_count; i++) {
        complete(&call->jobs[i]);
        log_job(&call->jobs[i]);
        bw_grant_free(call->jobs[i].grant);
        call->jobs[i].grant = NULL;
    }
    bw_result result = is_expanded(call)       ? pack_batch(call, &bytes)
                     : bw_ok(first->result)    ? bw_wire_pack(first->reply.message, &call->arena, &bytes)
                                               : first->result;
    if (bw_ok(result) && call->follow != NULL) {
        result = bw_followers_take(call->daemon->followers, call, bytes);
        if (bw_ok(result))
            return; /* the call is theirs */
    }
    if (bw_ok(result))
        call->send(call, result, (bw_bytes){ 0 }, bytes);
    else
        bw_reply_refuse(call, first, result);
}
