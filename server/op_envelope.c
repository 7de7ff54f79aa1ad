/* Wrap, Unwrap, Rewrap, GenerateDataKey: blobs that name their region, key and version (envelope.h). */
#include <string.h>

#include "authorise.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "daemon.h"
#include "envelope.h"
#include "op.h"
#include "stages.h"
#include "budget.h"
#include "wire.h"

static struct bw_mechanism gcm(bw_bytes nonce, bw_bytes authenticated)
{
    return (struct bw_mechanism){ .row = bw_mechanism_row(CKM_AES_GCM), .iv = nonce, .aad = authenticated, .tag_bits = 8 * BW_GCM_TAG_MAX };
}

static bw_result check_spec(const struct bw_key *key)
{
    BW_CHECK_AT(key->spec->spec == BW_SPEC_AES_256, BW_KEY_TYPE, "key", "envelopes take AES_256 keys");
    return bw_success();
}

/* Seals plaintext under the primary version of a granted key. */
static bw_result seal(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key *key, const struct bw_key_version *version,
                      struct bw_context context, bw_bytes plaintext, bw_bytes *ret_envelope)
{
    struct bw_arena *arena = bw_job_arena(job);
    BW_AUTO(hsm_object) object = NULL;
    bw_bytes nonce, header, authenticated, ciphertext;

    BW_TRY(check_spec(key));
    BW_TRY(bw_key_take_uses(daemon->store, key, version, 1));
    BW_TRY(bw_hsm_key(bw_grant_tenant(job->grant)->token, &key->name.id, version->number, &object));
    BW_TRY(bw_op_draw(job, BW_GCM_IV_LEN, &nonce));
    BW_TRY(bw_envelope_header(&key->name, version->number, nonce, arena, &header));
    BW_TRY(bw_envelope_authenticated(header, context.pairs, context.count, arena, &authenticated));
    struct bw_mechanism mechanism = gcm(nonce, authenticated);
    BW_TRY(bw_hsm_encrypt(object, &mechanism, plaintext, arena, &ciphertext));

    uint8_t *envelope = bw_arena_alloc(arena, header.len + ciphertext.len);
    BW_CHECK(envelope != NULL, BW_NO_MEMORY, "envelope");
    memcpy(envelope, header.data, header.len);
    memcpy(envelope + header.len, ciphertext.data, ciphertext.len);
    *ret_envelope = (bw_bytes){ envelope, header.len + ciphertext.len };
    return bw_success();
}

/* Opens the envelope that the request brought; decode parsed it, authorise granted its key. */
static bw_result open_envelope(struct bw_daemon *daemon, struct bw_job *job, bw_bytes *ret_plaintext)
{
    const struct bw_request *request = &job->request;
    BW_AUTO(hsm_object) object = NULL;
    bw_bytes authenticated;

    BW_TRY(check_spec(bw_grant_key(job->grant)));
    BW_TRY(bw_op_object(daemon, job, BW_USE_UNWRAP, &object));
    BW_TRY(bw_envelope_authenticated(request->envelope.header, request->context, request->context_count, bw_job_arena(job), &authenticated));
    struct bw_mechanism mechanism = gcm(request->envelope.nonce, authenticated);
    bw_result opened = bw_hsm_decrypt(object, &mechanism, request->envelope.ciphertext, bw_job_arena(job), ret_plaintext);
    if (opened.code == BW_CIPHERTEXT_INVALID)
        return bw_fail(BW_ENVELOPE_INVALID, "envelope does not open");
    return opened;
}

/* What of the encryption context goes on record, as a keyed hash: its canonical form, without any header. */
static bw_result note_context(struct bw_job *job)
{
    if (job->request.context_count == 0)
        return bw_success();
    return bw_envelope_authenticated((bw_bytes){ 0 }, job->request.context, job->request.context_count, bw_job_arena(job), &job->reply.authenticated);
}

static struct bw_context own_context(const struct bw_job *job)
{
    return (struct bw_context){ .pairs = job->request.context, .count = job->request.context_count };
}

bw_result bw_op_wrap(struct bw_daemon *daemon, struct bw_job *job)
{
    bw_bytes envelope;

    BW_CHECK_AT(bw_grant_version(job->grant) != NULL, BW_BAD_ARGUMENT, "key", "a session key makes no envelopes");
    BW_TRY(seal(daemon, job, bw_grant_key(job->grant), bw_grant_version(job->grant), own_context(job), job->request.data, &envelope));

    Bailiwick__V1__WrapReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->envelope = bw_wire_data(envelope);
    reply->version  = bw_op_version(job);
    return note_context(job);
}

bw_result bw_op_unwrap(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    bw_bytes plaintext;
    char *name = bw_arena_alloc(bw_job_arena(job), BW_KEY_NAME_MAX + 1);

    BW_TRY(open_envelope(daemon, job, &plaintext));
    Bailiwick__V1__UnwrapReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL && name != NULL, BW_NO_MEMORY, "reply");
    bw_key_name_print(&key->name, name);
    reply->plaintext = bw_wire_data(plaintext);
    reply->key       = name;
    reply->version   = bw_op_version(job);
    return note_context(job);
}

/* Which key and context to wrap with: those named, or those that the envelope had. */
static bw_result choose_target(struct bw_daemon *daemon, struct bw_job *job, struct bw_context *ret_context)
{
    const Bailiwick__V1__RewrapRequest *request = (const void *)job->request.message;
    struct bw_key_name *name = bw_arena_alloc(bw_job_arena(job), sizeof *name); /* a refusal tells its region later */
    struct bw_context context = own_context(job);

    BW_CHECK(name != NULL, BW_NO_MEMORY, "key name");
    *name = job->request.key;
    if (request->key != NULL && request->key->name[0] != '\0')
        BW_CHECK_AT(bw_ok(bw_key_name_parse(bw_bytes_text(request->key->name), name)), BW_BAD_ARGUMENT, "key", "not a key name");
    if (!request->keep_context)
        context = (struct bw_context){ .pairs = job->request.new_context, .count = job->request.new_context_count };
    BW_TRY(bw_authorise_target(daemon, job, name, context));
    *ret_context = context;
    return bw_success();
}

bw_result bw_op_rewrap(struct bw_daemon *daemon, struct bw_job *job)
{
    struct bw_context context;
    bw_bytes plaintext, envelope;

    BW_TRY(choose_target(daemon, job, &context));
    BW_TRY(open_envelope(daemon, job, &plaintext));
    const struct bw_key *target = bw_grant_target(job->grant);
    BW_TRY(seal(daemon, job, target, bw_key_primary(target), context, plaintext, &envelope));

    Bailiwick__V1__RewrapReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->envelope = bw_wire_data(envelope);
    reply->version  = bw_key_primary(target)->number;
    return note_context(job);
}

bw_result bw_op_generate_data_key(struct bw_daemon *daemon, struct bw_job *job)
{
    enum { LENGTH_DEFAULT = 32, LENGTH_MAX = 1024 };
    const Bailiwick__V1__GenerateDataKeyRequest *request = (const void *)job->request.message;
    bw_bytes plaintext, envelope;

    BW_CHECK_AT(request->length <= LENGTH_MAX, BW_BAD_ARGUMENT, "length", "more than 1024 bytes");
    BW_CHECK_AT(bw_grant_version(job->grant) != NULL, BW_BAD_ARGUMENT, "key", "a session key makes no envelopes");
    BW_TRY(bw_op_draw(job, request->length ? request->length : LENGTH_DEFAULT, &plaintext));
    BW_TRY(seal(daemon, job, bw_grant_key(job->grant), bw_grant_version(job->grant), own_context(job), plaintext, &envelope));

    Bailiwick__V1__GenerateDataKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->envelope = bw_wire_data(envelope);
    reply->version  = bw_op_version(job);
    if (!request->without_plaintext)
        reply->plaintext = bw_wire_data(plaintext);
    return note_context(job);
}
