/* WrapKey, UnwrapKey, GenerateKey, DeriveKey, ImportSessionKey: session keys that stay in the region. What the application holds of one is its
 * sealed bytes, and of a private one the public half; its value only where the master key's policy releases it. */
#include "authorise.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "daemon.h"
#include "op.h"
#include "stages.h"
#include "wire.h"

static unsigned all_uses_of(CK_KEY_TYPE type)
{
    if (type == CKK_RSA)
        return BW_USE_DECRYPT | BW_USE_UNWRAP | BW_USE_SIGN;
    if (type == CKK_EC)
        return BW_USE_SIGN | BW_USE_DERIVE;
    if (type == CKK_AES)
        return BW_USE_ENCRYPT | BW_USE_DECRYPT | BW_USE_WRAP | BW_USE_UNWRAP | BW_USE_SIGN | BW_USE_VERIFY;
    return BW_USE_SIGN | BW_USE_VERIFY | BW_USE_DERIVE;
}

static bw_result read_template(struct bw_daemon *daemon, const struct bw_job *job, const Bailiwick__V1__SessionKeyTemplate *template,
                               struct bw_session_key *ret_what)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    struct bw_session_key what = { .region = daemon->region, .tenant = job->caller.identity.tenant };

    BW_CHECK_AT(template != NULL, BW_BAD_ARGUMENT, "template", "missing");
    BW_CHECK_AT(template->length <= BW_SESSION_KEY_MAX, BW_TEMPLATE_INVALID, "template.length", "more than 512 bytes");
    what.key_type    = template->key_type;
    what.length      = template->length;
    what.extractable = template->extractable;
    for (size_t i = 0; i < template->n_uses; i++)
        what.uses |= (uint32_t)template->uses[i];
    BW_CHECK_AT(!bw_session_key_is_private(&what) || what.length == 0, BW_TEMPLATE_INVALID, "template.length", "of a private key");
    BW_CHECK_AT((what.uses & ~all_uses_of(what.key_type)) == 0, BW_TEMPLATE_INVALID, "template.uses", "not a use of such keys");
    if (key != NULL)
        what.origin = key->name.id;
    *ret_what = what;
    return bw_success();
}

static bw_result describe_private(struct bw_job *job, struct bw_hsm_object *object, Bailiwick__V1__SealedKey *key)
{
    struct bw_buf spki = { .ceiling = BW_PUBLIC_KEY_MAX };
    const struct bw_spec_row *spec;

    bw_result r = bw_hsm_session_public(object, &spec, &spki);
    bw_bytes copy = { bw_ok(r) ? bw_arena_copy(bw_job_arena(job), bw_buf_bytes(&spki)) : NULL, spki.len };
    bw_buf_clear(&spki);
    BW_TRY(r);
    BW_CHECK(copy.data != NULL, BW_NO_MEMORY, "reply");
    key->spec       = (Bailiwick__V1__KeySpec)spec->spec;
    key->public_key = bw_wire_data(copy);
    return bw_success();
}

static bw_result describe_secret(struct bw_daemon *daemon, struct bw_job *job, struct bw_hsm_object *object, bool release,
                                 Bailiwick__V1__SealedKey *key)
{
    struct bw_arena *arena = bw_job_arena(job);
    uint8_t *check = bw_arena_alloc(arena, 3);
    bw_bytes value;
    bool has_check;

    BW_CHECK(check != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_hsm_check_value(object, check, &has_check));
    key->check = bw_wire_data(bw_bytes_of(check, has_check ? 3 : 0));
    if (release && bw_hsm_session_key(object)->extractable && bw_ok(bw_authorise_release(daemon, job))) {
        BW_TRY(bw_hsm_reveal(object, arena, &value));
        key->value          = bw_wire_data(value);
        job->reply.released = true;
    }
    return bw_success();
}

/* Seals it, and reveals it when the template asks and the policy allows. */
static bw_result describe(struct bw_daemon *daemon, struct bw_job *job, struct bw_hsm_object *object, bool release,
                          Bailiwick__V1__SealedKey **ret_key)
{
    Bailiwick__V1__SealedKey *key = bw_arena_alloc(bw_job_arena(job), sizeof *key);
    bw_bytes sealed;

    BW_CHECK(key != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__sealed_key__init(key);
    BW_TRY(bw_hsm_seal(object, bw_job_arena(job), &sealed));
    const struct bw_session_key *what = bw_hsm_session_key(object);
    key->sealed = bw_wire_data(sealed);
    key->length = what->length;
    BW_TRY(bw_session_key_is_private(what) ? describe_private(job, object, key) : describe_secret(daemon, job, object, release, key));
    *ret_key = key;
    return bw_success();
}

static bw_result generate(struct bw_token *token, const struct bw_mechanism_row *generator, const struct bw_spec_row *spec,
                          struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    BW_CHECK_AT(generator->key_type == what->key_type, BW_MECHANISM_INVALID, "mechanism.type", "does not make keys of the type that the template has");
    if (!bw_session_key_is_private(what))
        return bw_hsm_generate_session(token, what, ret_object);
    BW_CHECK_AT(spec != NULL && spec->generator == generator->type, BW_TEMPLATE_INVALID, "template.spec", "not what the mechanism makes");
    return bw_hsm_generate_session_pair(token, spec, what, ret_object);
}

bw_result bw_op_generate_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GenerateKeyRequest *request = (const void *)job->request.message;
    BW_AUTO(hsm_object) object = NULL;
    struct bw_session_key what;

    BW_TRY(read_template(daemon, job, request->template_, &what));
    BW_CHECK(bw_grant_tenant(job->grant)->token != NULL, BW_TENANT_SEALED, "tenant has no open token");
    BW_TRY(generate(bw_grant_tenant(job->grant)->token, job->request.mechanism.row, bw_spec_row((enum bw_spec)request->template_->spec), &what, &object));

    Bailiwick__V1__GenerateKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return describe(daemon, job, object, request->template_->release, &reply->key);
}

bw_result bw_op_import_session_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ImportSessionKeyRequest *request = (const void *)job->request.message;
    BW_AUTO(hsm_object) object = NULL;
    struct bw_session_key what;

    BW_TRY(read_template(daemon, job, request->template_, &what));
    BW_CHECK(bw_grant_tenant(job->grant)->token != NULL, BW_TENANT_SEALED, "tenant has no open token");
    BW_CHECK_AT(bw_session_key_is_private(&what) || job->request.data.len <= BW_SESSION_KEY_MAX, BW_TOO_LARGE, "value", "more than 512 bytes");
    BW_TRY(bw_hsm_import_session(bw_grant_tenant(job->grant)->token, job->request.data, &what, &object));

    Bailiwick__V1__ImportSessionKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return describe(daemon, job, object, false, &reply->key);
}

static bw_result unwrap(struct bw_daemon *daemon, struct bw_job *job, struct bw_session_key *ret_what, struct bw_hsm_object **ret_object)
{
    const Bailiwick__V1__UnwrapKeyRequest *request = (const void *)job->request.message;
    BW_AUTO(hsm_object) key = NULL;

    BW_TRY(bw_op_object(daemon, job, BW_USE_UNWRAP, &key));
    BW_TRY(read_template(daemon, job, request->template_, ret_what));
    return bw_hsm_unwrap(key, &job->request.mechanism, job->request.data, ret_what, ret_object);
}

bw_result bw_op_unwrap_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__UnwrapKeyRequest *request = (const void *)job->request.message;
    BW_AUTO(hsm_object) object = NULL;
    struct bw_session_key what;

    bw_result unwrapped = unwrap(daemon, job, &what, &object);
    while (bw_op_try_older(job, unwrapped))
        unwrapped = unwrap(daemon, job, &what, &object);
    BW_TRY(unwrapped);

    Bailiwick__V1__UnwrapKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return describe(daemon, job, object, request->template_->release, &reply->key);
}

bw_result bw_op_derive_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__DeriveKeyRequest *request = (const void *)job->request.message;
    BW_AUTO(hsm_object) key = NULL;
    BW_AUTO(hsm_object) object = NULL;
    struct bw_session_key what;

    BW_TRY(bw_op_object(daemon, job, BW_USE_DERIVE, &key));
    BW_TRY(read_template(daemon, job, request->template_, &what));
    BW_TRY(bw_hsm_derive(key, &job->request.mechanism, &what, &object));

    Bailiwick__V1__DeriveKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return describe(daemon, job, object, request->template_->release, &reply->key);
}

static bw_result unseal_wrapped(struct bw_daemon *daemon, struct bw_job *job, bw_bytes sealed, struct bw_hsm_object **ret_target)
{
    BW_AUTO(hsm_object) target = NULL;
    struct bw_session_key what;

    BW_TRY(bw_op_unseal(daemon, job, sealed, &target, &what));
    BW_TRY(bw_authorise_wrapped(daemon, job, &what));
    *ret_target = bw_take(&target);
    return bw_success();
}

/* What is to be wrapped: a sealed session key, or the value of one that the application holds itself. */
static bw_result find_wrapped(struct bw_daemon *daemon, struct bw_job *job, struct bw_hsm_object **ret_target)
{
    const Bailiwick__V1__WrapKeyRequest *request = (const void *)job->request.message;
    bool sealed_given = request->target != NULL && request->target->sealed.len > 0;
    struct bw_session_key what = { .key_type = CKK_GENERIC_SECRET, .extractable = true, .region = daemon->region, .tenant = job->caller.identity.tenant };

    BW_CHECK_AT(sealed_given != (request->value.len > 0), BW_BAD_ARGUMENT, "target", "give one: a sealed session key, or a value");
    if (sealed_given)
        return unseal_wrapped(daemon, job, bw_wire_bytes(request->target->sealed), ret_target);
    BW_CHECK_AT(request->value.len <= BW_WRAPPED_MAX, BW_TOO_LARGE, "value", "longer than 8192 bytes");
    what.length = (uint32_t)request->value.len;
    return bw_hsm_import_session(bw_grant_tenant(job->grant)->token, bw_wire_bytes(request->value), &what, ret_target);
}

bw_result bw_op_wrap_key(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_AUTO(hsm_object) key = NULL;
    BW_AUTO(hsm_object) target = NULL;
    bw_bytes wrapped;

    BW_TRY(bw_op_object(daemon, job, BW_USE_WRAP, &key));
    BW_TRY(find_wrapped(daemon, job, &target));
    BW_TRY(bw_hsm_wrap(key, &job->request.mechanism, target, bw_job_arena(job), &wrapped));

    Bailiwick__V1__WrapKeyReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->wrapped = bw_wire_data(wrapped);
    reply->version = bw_op_version(job);
    return bw_success();
}
