/* Encrypt, Decrypt, Sign, Verify, Random: PKCS#11 mechanisms, byte for byte. */
#include "authorise.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "daemon.h"
#include "op.h"
#include "stages.h"
#include "budget.h"
#include "wire.h"

/* GCM without an IV: the HSM draws one, and the reply tells it. Every GCM encryption counts against the version's budget. */
static bw_result prepare_gcm(struct bw_daemon *daemon, struct bw_job *job, bw_bytes *ret_drawn)
{
    struct bw_mechanism *mechanism = &job->request.mechanism;

    if (mechanism->row->params != BW_PARAMS_GCM)
        return bw_success();
    if (bw_grant_version(job->grant) != NULL)
        BW_TRY(bw_key_take_uses(daemon->store, bw_grant_key(job->grant), bw_grant_version(job->grant), 1));
    if (mechanism->iv.len > 0)
        return bw_success();
    BW_TRY(bw_op_draw(job, BW_GCM_IV_LEN, ret_drawn));
    return bw_success();
}

bw_result bw_op_encrypt(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_AUTO(hsm_object) object = NULL;
    struct bw_mechanism mechanism = job->request.mechanism;
    bw_bytes drawn = { 0 }, ciphertext;

    BW_TRY(bw_op_object(daemon, job, BW_USE_ENCRYPT, &object));
    BW_TRY(prepare_gcm(daemon, job, &drawn));
    if (drawn.len > 0)
        mechanism.iv = drawn;
    BW_TRY(bw_hsm_encrypt(object, &mechanism, job->request.data, bw_job_arena(job), &ciphertext));

    Bailiwick__V1__EncryptReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->ciphertext        = bw_wire_data(ciphertext);
    reply->iv                = bw_wire_data(drawn);
    reply->version           = bw_op_version(job);
    job->reply.authenticated = mechanism.aad;
    return bw_success();
}

static bw_result decrypt(struct bw_daemon *daemon, struct bw_job *job, bw_bytes *ret_plaintext)
{
    BW_AUTO(hsm_object) object = NULL;

    BW_TRY(bw_op_object(daemon, job, BW_USE_DECRYPT, &object));
    return bw_hsm_decrypt(object, &job->request.mechanism, job->request.data, bw_job_arena(job), ret_plaintext);
}

bw_result bw_op_decrypt(struct bw_daemon *daemon, struct bw_job *job)
{
    bw_bytes plaintext;

    bw_result decrypted = decrypt(daemon, job, &plaintext);
    while (bw_op_try_older(job, decrypted))
        decrypted = decrypt(daemon, job, &plaintext);
    BW_TRY(decrypted);

    Bailiwick__V1__DecryptReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->plaintext         = bw_wire_data(plaintext);
    job->reply.authenticated = job->request.mechanism.aad;
    return bw_success();
}

bw_result bw_op_sign(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_AUTO(hsm_object) object = NULL;
    bw_bytes signature;

    BW_TRY(bw_op_object(daemon, job, BW_USE_SIGN, &object));
    BW_TRY(bw_hsm_sign(object, &job->request.mechanism, job->request.data, bw_job_arena(job), &signature));

    Bailiwick__V1__SignReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->signature = bw_wire_data(signature);
    reply->version   = bw_op_version(job);
    return bw_success();
}

bw_result bw_op_verify(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_AUTO(hsm_object) object = NULL;

    BW_TRY(bw_op_object(daemon, job, BW_USE_VERIFY, &object));
    BW_TRY(bw_hsm_verify(object, &job->request.mechanism, job->request.data, job->request.signature));
    BW_CHECK(bw_op_reply(job) != NULL, BW_NO_MEMORY, "reply");
    return bw_success();
}

bw_result bw_op_random(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__RandomRequest *request = (const void *)job->request.message;
    bw_bytes random = { 0 };

    (void)daemon;
    BW_CHECK_AT(request->length <= BW_RANDOM_MAX, BW_BAD_ARGUMENT, "length", "more than 65536 bytes");
    BW_TRY(bw_op_draw(job, request->length, &random));

    Bailiwick__V1__RandomReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->random = bw_wire_data(random);
    return bw_success();
}
