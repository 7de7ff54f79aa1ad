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
    BW_TRY(bw_import_attest(daemon->token, &key->name, bw_wire_bytes(reply->wrapping_key), reply->expires_us, arena, &statement));
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

static bw_result add_first_version(struct bw_key *draft, const void *how)
{
    BW_CHECK(draft->version_count == 0, BW_CONFLICT, "the key has material already");
    draft->versions      = (struct bw_key_version *)(uintptr_t)how;
    draft->version_count = 1;
    return bw_success();
}

static bw_result import(struct bw_daemon *daemon, struct bw_job *job, struct bw_token *token, const struct bw_key *key, uint8_t check[static 3],
                        const struct bw_key **ret_key)
{
    struct bw_key_version version = { .number = 1, .state = BW_VERSION_PRIMARY, .created_us = bw_now_us() };
    const struct bw_key_change change = { .action = BW_KEY_IMPORT, .generation = key->generation, .alter = add_first_version, .how = &version,
                                          .warrant = job->warrant };
    char label[BW_KEY_NAME_MAX + 1];

    bw_key_name_print(&key->name, label);
    BW_TRY(bw_hsm_import(token, &job->request.mechanism, job->request.data, key->spec, &key->name.id, version.number, label, check));
    sync(); /* making.c */
    bw_result result = bw_change_key(daemon, &key->name.tenant, &key->name.id, &change, ret_key);
    if (!bw_ok(result))
        (void)bw_hsm_destroy(token, &key->name.id, version.number); /* should that fail too, the next start finds the intent */
    return result;
}

/* One import at a time: two with the same token must not both find the key without material. */
static bw_result import_alone(struct bw_daemon *daemon, struct bw_job *job, struct bw_token *token, uint8_t check[static 3], const struct bw_key **ret_key)
{
    bw_registry_begin_making(daemon->registry);
    bw_result result = import(daemon, job, token, bw_grant_key(job->grant), check, ret_key);
    bw_registry_end_making(daemon->registry);
    return result;
}

static bool is_import_mechanism(const struct bw_mechanism *mechanism)
{
    return mechanism->row != NULL && (mechanism->row->type == CKM_RSA_PKCS_OAEP || mechanism->row->type == CKM_RSA_AES_KEY_WRAP);
}

bw_result bw_op_import_key_material(struct bw_daemon *daemon, struct bw_job *job)
{
    const import_request *request = (const void *)job->request.message;
    const struct bw_key *key = bw_grant_key(job->grant), *imported = NULL;
    struct bw_arena *arena = bw_job_arena(job);
    import_reply *reply = bw_op_reply(job);
    uint8_t *check = bw_arena_alloc(arena, 3);
    struct bw_token *token;

    BW_CHECK(reply != NULL && check != NULL, BW_NO_MEMORY, "reply");
    BW_CHECK_AT(is_import_mechanism(&job->request.mechanism), BW_MECHANISM_INVALID, "mechanism.type", "neither RSA_PKCS_OAEP nor RSA_AES_KEY_WRAP");
    BW_TRY(token_of(job, &token));
    BW_TRY(check_waits(key));
    BW_TRY(bw_import_token_check(token, key, request->import_token.data, bw_now_us(), arena));
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 1));
    BW_TRY(import_alone(daemon, job, token, check, &imported));
    reply->check = bw_wire_data(bw_bytes_of(check, 3));
    bw_result result = bw_key_message(imported, false, arena, &reply->key);
    bw_key_unref(imported);
    return result;
}
