#include "dedup.h"

#include <openssl/evp.h>
#include <string.h>

#include "change.h"
#include "daemon.h"
#include "store.h"
#include "wire.h"

/* Fields that are no part of what is asked for. The PIN must not be kept in any form, not even as a digest that can be
 * searched for. */
static const char *const left_out[] = { "request_id", "pin" };

typedef bw_result (*operation_fn)(struct bw_daemon *daemon, struct bw_job *job);

bw_result bw_dedup_asked(const struct bw_job *job, struct bw_arena *arena, bw_bytes *ret_bytes)
{
    const ProtobufCMessageDescriptor *descriptor = job->method->request;
    uint8_t *copy = bw_arena_alloc(arena, descriptor->sizeof_message);

    BW_CHECK(copy != NULL, BW_NO_MEMORY, "request");
    memcpy(copy, job->request.message, descriptor->sizeof_message);
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(descriptor, left_out[i]);
        if (field != NULL)
            memset(copy + field->offset, 0, sizeof(ProtobufCBinaryData));
    }
    return bw_wire_pack((const ProtobufCMessage *)copy, arena, ret_bytes);
}

static bw_result digest_of(const struct bw_job *job, struct bw_arena *arena, uint8_t digest[static 32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const char *path = job->method->path, *caller = job->caller.spiffe_id;
    bw_bytes request;

    bw_result result = bw_dedup_asked(job, arena, &request);
    /* each text with its NUL, so that no two ways of putting them together look the same */
    bool done = bw_ok(result) && context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(context, path, strlen(path) + 1) && EVP_DigestUpdate(context, caller, strlen(caller) + 1) &&
                EVP_DigestUpdate(context, request.data, request.len) && EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    BW_TRY(result);
    BW_CHECK(done, BW_INTERNAL, "SHA-256 failed");
    return bw_success();
}

static bw_result run_once(struct bw_daemon *daemon, struct bw_job *job, const uint8_t digest[static 32], operation_fn operation)
{
    struct bw_arena *arena  = bw_job_arena(job);
    const bw_tenant *tenant = &job->caller.identity.tenant;
    bw_bytes id = { job->request.request_id, sizeof job->request.request_id }, reply;
    bool found;

    BW_TRY(bw_store_find_request(daemon->store, tenant, id, digest, arena, &found, &reply));
    if (found)
        return bw_wire_unpack(job->method->reply, reply, arena, &job->reply.message);
    BW_TRY(operation(daemon, job));
    BW_TRY(bw_wire_pack(job->reply.message, arena, &reply));
    return bw_store_keep_request(daemon->store, tenant, id, digest, reply, bw_now_us());
}

bw_result bw_dedup_run(struct bw_daemon *daemon, struct bw_job *job, operation_fn operation)
{
    struct bw_request_claim claim = { .tenant = &job->caller.identity.tenant, .request_id = job->request.request_id };
    uint8_t digest[32];

    if (!job->request.request_id_given)
        return operation(daemon, job);
    BW_TRY(digest_of(job, bw_job_arena(job), digest));
    bw_store_claim_request(daemon->store, &claim);
    bw_result result = run_once(daemon, job, digest, operation);
    bw_store_release_request(daemon->store, &claim);
    return result;
}
