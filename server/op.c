#include "op.h"

#include "authorise.h"
#include "daemon.h"

void *bw_op_reply(struct bw_job *job)
{
    const ProtobufCMessageDescriptor *descriptor = job->method->reply;
    ProtobufCMessage *message = bw_arena_alloc(bw_job_arena(job), descriptor->sizeof_message);

    if (message != NULL)
        descriptor->message_init(message);
    job->reply.message = message;
    return message;
}

static bw_result open_token(const struct bw_job *job, struct bw_token **ret_token)
{
    const struct bw_tenant_info *tenant = bw_grant_tenant(job->grant);

    BW_CHECK(tenant != NULL && tenant->token != NULL, BW_TENANT_SEALED, "tenant has no open token");
    *ret_token = tenant->token;
    return bw_success();
}

bw_result bw_op_unseal(struct bw_daemon *daemon, struct bw_job *job, bw_bytes sealed, struct bw_hsm_object **ret_object, struct bw_session_key *ret_what)
{
    struct bw_token *token;

    BW_TRY(open_token(job, &token));
    return bw_hsm_unseal(token, &daemon->region, &job->caller.identity.tenant, sealed, ret_object, ret_what);
}

static bw_result session_object(struct bw_daemon *daemon, struct bw_job *job, unsigned use, struct bw_hsm_object **ret_object)
{
    BW_AUTO(hsm_object) object = NULL;
    struct bw_session_key what;

    BW_TRY(bw_op_unseal(daemon, job, job->request.sealed, &object, &what));
    BW_TRY(bw_authorise_sealed(daemon, job, &what, use));
    *ret_object = bw_take(&object);
    return bw_success();
}

bw_result bw_op_object(struct bw_daemon *daemon, struct bw_job *job, unsigned use, struct bw_hsm_object **ret_object)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    struct bw_token *token;

    if (job->request.sealed.len > 0)
        return session_object(daemon, job, use, ret_object);
    BW_TRY(open_token(job, &token));
    BW_CHECK_AT(key != NULL, BW_BAD_ARGUMENT, "key", "missing");
    return bw_hsm_key(token, &key->name.id, bw_grant_version(job->grant)->number, ret_object);
}

static bool tells_wrong_key(const struct bw_mechanism_row *mechanism)
{
    return mechanism->type == CKM_AES_GCM || mechanism->type == CKM_AES_KEY_WRAP || mechanism->type == CKM_AES_KEY_WRAP_PAD;
}

bool bw_op_try_older(struct bw_job *job, bw_result attempt)
{
    bool failed = attempt.code == BW_CIPHERTEXT_INVALID || attempt.code == BW_WRAPPED_KEY_INVALID;

    return failed && job->request.version == 0 && bw_grant_version(job->grant) != NULL &&
           tells_wrong_key(job->request.mechanism.row) && bw_grant_step_back(job->grant);
}

bw_result bw_op_draw(struct bw_job *job, size_t len, bw_bytes *ret_bytes)
{
    uint8_t *bytes = bw_arena_alloc(bw_job_arena(job), len);
    struct bw_token *token;

    BW_CHECK(bytes != NULL, BW_NO_MEMORY, "random bytes");
    BW_TRY(open_token(job, &token));
    BW_TRY(bw_hsm_random(token, bytes, len));
    *ret_bytes = (bw_bytes){ bytes, len };
    return bw_success();
}

uint32_t bw_op_version(const struct bw_job *job)
{
    const struct bw_key_version *version = bw_grant_version(job->grant);

    return version ? version->number : 0;
}
