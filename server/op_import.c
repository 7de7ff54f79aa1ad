/* GetImportParameters, ImportKeyMaterial: a customer's own material, unwrapped inside the HSM. */
#include <string.h>
#include <unistd.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "hsm.h"
#include "import.h"
#include "intent.h"
#include "key_message.h"
#include "material.h"
#include "op.h"
#include "stages.h"
#include "wire.h"

typedef Bailiwick__V1__GetImportParametersReply parameters_reply;
typedef Bailiwick__V1__ImportKeyMaterialRequest import_request;
typedef Bailiwick__V1__ImportKeyMaterialReply   import_reply;

static bw_result token_of(const struct bw_job *job, struct bw_token **ret_token)
{
    *ret_token = bw_grant_tenant(job->grant)->token;
    BW_CHECK(*ret_token != NULL, BW_TENANT_SEALED, "the tenant has no open token");
    return bw_success();
}

static bw_result check_waits(const struct bw_key *key)
{
    enum bw_key_state next;
    return bw_key_state_next(key->state, BW_KEY_IMPORT, &next);
}

/* ---- GetImportParameters ---- */

typedef bw_result (*public_key_fn)(struct bw_token *token, struct bw_buf *ret_public_key);

static bw_result copy_public_key(struct bw_token *token, public_key_fn read, struct bw_arena *arena, ProtobufCBinaryData *ret_key)
{
    struct bw_buf key = { .ceiling = BW_WRAPPED_MAX };
    size_t len;

    bw_result result = read(token, &key);
    void *copy = bw_ok(result) ? bw_arena_copy(arena, bw_buf_bytes(&key)) : NULL;
    len = key.len;
    bw_buf_clear(&key);
    BW_TRY(result);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "public key");
    *ret_key = bw_wire_data(bw_bytes_of(copy, len));
    return bw_success();
}

static bw_result list_hashes(const struct bw_hsm *hsm, struct bw_arena *arena, parameters_reply *reply)
{
    reply->oaep_hashes = bw_arena_alloc(arena, (BW_DIGEST_SHA512 + 1) * sizeof *reply->oaep_hashes);
    BW_CHECK(reply->oaep_hashes != NULL, BW_NO_MEMORY, "reply");
    for (enum bw_digest hash = BW_DIGEST_SHA1; bw_digest_row(hash) != NULL; hash++)
        if (bw_hsm_imports_by(hsm, hash))
            reply->oaep_hashes[reply->n_oaep_hashes++] = (Bailiwick__V1__Hash)hash;
    return bw_success();
}

static bw_result fill_parameters(struct bw_daemon *daemon, struct bw_token *token, const struct bw_key *key, struct bw_arena *arena,
                                 parameters_reply *reply)
{
    uint8_t *import_token = bw_arena_alloc(arena, BW_IMPORT_TOKEN_LEN);
    struct bw_statement statement;

    BW_CHECK(import_token != NULL, BW_NO_MEMORY, "import token");
    reply->expires_us = bw_now_us() + BW_IMPORT_TOKEN_US;
    BW_TRY(copy_public_key(token, bw_hsm_wrapping_key, arena, &reply->wrapping_key));
    BW_TRY(copy_public_key(daemon->token, bw_hsm_attestation_key, arena, &reply->attestation_key));
    sync(); /* both may be new: making.c */
    BW_TRY(bw_import_token_make(token, key, reply->expires_us, arena, import_token));
    BW_TRY(list_hashes(daemon->hsm, arena, reply));
    BW_TRY(bw_import_attest(daemon->hsm, daemon->token, &key->name, bw_wire_bytes(reply->wrapping_key), reply->expires_us, arena, &statement));
    reply->import_token = bw_wire_data(bw_bytes_of(import_token, BW_IMPORT_TOKEN_LEN));
    reply->statement    = (char *)(uintptr_t)statement.text;
    reply->attestation  = bw_wire_data(statement.signature);
    return bw_success();
}

bw_result bw_op_get_import_parameters(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    parameters_reply *reply = bw_op_reply(job);
    struct bw_token *token;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(token_of(job, &token));
    BW_TRY(check_waits(key));
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 0));
    return fill_parameters(daemon, token, key, bw_job_arena(job), reply);
}

/* ---- ImportKeyMaterial ---- */

/* The first material of a key, or the same once more. */
static bw_result add_material(struct bw_key *draft, const void *how)
{
    draft->versions      = (struct bw_key_version *)(uintptr_t)how;
    draft->version_count = 1;
    return bw_success();
}

/* What was there before stays as it was; material that is to come again must be the same. */
static struct bw_key_version version_of(const struct bw_key *key, const import_request *request)
{
    struct bw_key_version version = { .number = 1, .created_us = bw_now_us() };

    if (key->version_count > 0)
        version = key->versions[0];
    else if (bw_spec_is_pair(key->spec))
        version.public_key = bw_wire_bytes(request->public_key);
    version.state = BW_VERSION_PRIMARY;
    version.material_expires_us = request->material_expires_us;
    return version;
}

static bw_result import(struct bw_daemon *daemon, struct bw_job *job, struct bw_token *token, const struct bw_key *key, struct bw_imported *imported,
                        const struct bw_key **ret_key)
{
    const import_request *request = (const void *)job->request.message;
    struct bw_key_version version = version_of(key, request);
    const struct bw_key_change change = { .action = BW_KEY_IMPORT, .generation = key->generation, .alter = add_material, .how = &version,
                                          .warrant = job->warrant };
    char label[BW_KEY_NAME_MAX + 1];
    const struct bw_import import = {
        .mechanism = &job->request.mechanism, .wrapped = job->request.data, .spec = key->spec, .public_key = bw_wire_bytes(request->public_key),
        .id = &key->name.id, .version = version.number, .label = label, .fingerprint = version.fingerprint,
    };

    bw_key_name_print(&key->name, label);
    BW_TRY(bw_material_destroy(token, key)); /* what may be left of material that has expired */
    BW_TRY(bw_hsm_import(token, &import, imported));
    version.fingerprint = bw_bytes_of(imported->fingerprint, sizeof imported->fingerprint);
    sync(); /* making.c */
    bw_result result = bw_change_key(daemon, &key->name.tenant, &key->name.id, &change, ret_key);
    if (!bw_ok(result))
        (void)bw_hsm_destroy(token, &key->name.id, version.number); /* should that fail too, the next start finds the intent */
    return result;
}

/* One import at a time: two with the same token must not both find the key without material. */
static bw_result import_alone(struct bw_daemon *daemon, struct bw_job *job, struct bw_token *token, struct bw_imported *imported, const struct bw_key **ret_key)
{
    const struct bw_key *granted = bw_grant_key(job->grant), *now = NULL;

    bw_registry_begin_making(daemon->registry);
    bw_result result = bw_registry_key(daemon->registry, &granted->name.tenant, &granted->name.id, &now);
    if (bw_ok(result) && now->generation != granted->generation)
        result = bw_fail(BW_CONFLICT, "the key has changed meanwhile");
    if (bw_ok(result))
        result = import(daemon, job, token, now, imported, ret_key);
    bw_registry_end_making(daemon->registry);
    bw_key_unref(now);
    return result;
}

static bool is_import_mechanism(const struct bw_mechanism *mechanism)
{
    return mechanism->row != NULL && (mechanism->row->type == CKM_RSA_PKCS_OAEP || mechanism->row->type == CKM_RSA_AES_KEY_WRAP);
}

static bw_result check_request(const struct bw_job *job, const import_request *request, const struct bw_key *key)
{
    bool pair = bw_spec_is_pair(key->spec);

    BW_CHECK_AT(is_import_mechanism(&job->request.mechanism), BW_MECHANISM_INVALID, "mechanism.type", "neither RSA_PKCS_OAEP nor RSA_AES_KEY_WRAP");
    BW_CHECK_AT(pair == (request->public_key.len > 0), BW_BAD_ARGUMENT, "public_key", "pairs come with their public half, others have none");
    BW_CHECK_AT(request->material_expires_us == 0 || request->material_expires_us > bw_now_us(), BW_BAD_ARGUMENT, "material_expires_us", "it has passed");
    return bw_success();
}

bw_result bw_op_import_key_material(struct bw_daemon *daemon, struct bw_job *job)
{
    const import_request *request = (const void *)job->request.message;
    const struct bw_key *key = bw_grant_key(job->grant), *imported = NULL;
    struct bw_arena *arena = bw_job_arena(job);
    import_reply *reply = bw_op_reply(job);
    struct bw_imported *what = bw_arena_alloc(arena, sizeof *what);
    struct bw_token *token;

    BW_CHECK(reply != NULL && what != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(check_request(job, request, key));
    BW_TRY(token_of(job, &token));
    BW_TRY(check_waits(key));
    BW_TRY(bw_import_token_check(token, key, request->import_token.data, bw_now_us(), arena));
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 1));
    BW_TRY(import_alone(daemon, job, token, what, &imported));
    reply->check = bw_wire_data(bw_bytes_of(what->check, sizeof what->check));
    bw_result result = bw_key_message(imported, false, arena, &reply->key);
    bw_key_unref(imported);
    return result;
}
