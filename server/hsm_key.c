/* Key versions: made, found, taken out of use, destroyed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hsm_internal.h"

/* ---- making ---- */

static void cka_id_of(const bw_key_id *id, uint32_t version, uint8_t cka_id[static BW_CKA_ID_LEN])
{
    memcpy(cka_id, id->bytes, BW_KEY_ID_LEN);
    for (unsigned i = 0; i < 4; i++)
        cka_id[BW_KEY_ID_LEN + i] = (uint8_t)(version >> (24 - 8 * i));
}

/* What a key is made with. Empty cka_id: a session object. */
struct making {
    const struct bw_spec_row *spec;
    bw_bytes                  cka_id, label;
    bool                      only_signs;   /* refuses what else HSMs let private keys do by default */
};

static void template_start(struct bw_template *t, const struct making *making, bool is_private, unsigned uses)
{
    bw_template_flag(t, CKA_TOKEN, making->cka_id.len > 0);
    bw_template_flag(t, CKA_PRIVATE, is_private);
    if (making->cka_id.len > 0) {
        bw_template_add(t, CKA_ID, making->cka_id);
        bw_template_add(t, CKA_LABEL, making->label);
    }
    if (is_private) {
        bw_template_flag(t, CKA_SENSITIVE, true);
        bw_template_flag(t, CKA_EXTRACTABLE, false);
    }
    bw_template_uses(t, uses);
}

static bw_result generate_secret(struct bw_session *session, const struct making *making, struct bw_hsm_object *ret)
{
    const struct bw_spec_row *spec = making->spec;
    CK_MECHANISM mechanism = { spec->generator, NULL, 0 };
    struct bw_template t = { 0 };

    template_start(&t, making, true, spec->uses);
    bw_template_number(&t, CKA_VALUE_LEN, spec->bits / 8);
    CK_RV rv = session->token->hsm->f->C_GenerateKey(session->handle, &mechanism, t.rows, t.count, &ret->own);
    return BW_RV(session, rv, BW_HSM_FAILED);
}

void bw_template_kind(struct bw_template *t, const struct bw_spec_row *spec)
{
    static const uint8_t f4[] = { 1, 0, 1 }; /* 65537 */

    if (spec->key_type != CKK_RSA) {
        bw_template_add(t, CKA_EC_PARAMS, spec->curve);
        return;
    }
    bw_template_number(t, CKA_MODULUS_BITS, spec->bits);
    bw_template_add(t, CKA_PUBLIC_EXPONENT, bw_bytes_of(f4, sizeof f4));
}

static bw_result generate_pair(struct bw_session *session, const struct making *making, struct bw_hsm_object *ret)
{
    static const CK_ATTRIBUTE_TYPE other_uses[] = { CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN_RECOVER };
    const unsigned public_uses = BW_USE_ENCRYPT | BW_USE_VERIFY | BW_USE_WRAP;
    const struct bw_spec_row *spec = making->spec;
    CK_MECHANISM mechanism = { spec->generator, NULL, 0 };
    struct bw_template own = { 0 }, public_key = { 0 };

    template_start(&public_key, making, false, spec->uses & public_uses);
    bw_template_kind(&public_key, spec);
    template_start(&own, making, true, spec->uses & ~public_uses);
    for (size_t i = 0; making->only_signs && i < ARRAY_LEN(other_uses); i++)
        bw_template_flag(&own, other_uses[i], false);
    CK_RV rv = session->token->hsm->f->C_GenerateKeyPair(session->handle, &mechanism, public_key.rows, public_key.count,
                                                         own.rows, own.count, &ret->public_key, &ret->own);
    return BW_RV(session, rv, BW_HSM_FAILED);
}

static bw_result generate(struct bw_session *session, const struct making *making, struct bw_hsm_object *ret)
{
    *ret = (struct bw_hsm_object){ .key_type = making->spec->key_type, .bits = making->spec->bits };
    return bw_spec_is_pair(making->spec) ? generate_pair(session, making, ret) : generate_secret(session, making, ret);
}

static bw_result add_to_index(struct bw_token *token, const bw_key_id *id, uint32_t version, const struct bw_hsm_object *made)
{
    (void)pthread_mutex_lock(&token->tables);
    struct bw_hsm_index_entry *entry = bw_hsm_index_add(&token->index, id, version);
    if (entry != NULL) {
        entry->own        = made->own;
        entry->public_key = made->public_key;
        entry->key_type   = made->key_type;
        entry->bits       = made->bits;
    }
    (void)pthread_mutex_unlock(&token->tables);
    BW_CHECK(entry != NULL, BW_NO_MEMORY, "index of the token's keys");
    return bw_success();
}

static bool is_indexed(struct bw_token *token, const bw_key_id *id, uint32_t version, struct bw_hsm_index_entry *ret_entry)
{
    (void)pthread_mutex_lock(&token->tables);
    const struct bw_hsm_index_entry *entry = bw_hsm_index_find(&token->index, id, version);
    if (entry != NULL)
        *ret_entry = *entry;
    (void)pthread_mutex_unlock(&token->tables);
    return entry != NULL;
}

/* Objects that are gone already count as destroyed. */
static bw_result destroy_handle(struct bw_session *session, CK_OBJECT_HANDLE object)
{
    if (object == CK_INVALID_HANDLE)
        return bw_success();
    CK_RV rv = session->token->hsm->f->C_DestroyObject(session->handle, object);
    return rv == CKR_OBJECT_HANDLE_INVALID ? bw_success() : BW_RV(session, rv, BW_HSM_FAILED);
}

/* A process that was killed between a pair's halves left the public one alone. Nobody was told of such a version. */
static bw_result make_room(struct bw_session *session, const bw_key_id *id, uint32_t version)
{
    struct bw_token *token = session->token;
    struct bw_hsm_index_entry there;

    if (!is_indexed(token, id, version, &there))
        return bw_success();
    BW_CHECK(there.own == CK_INVALID_HANDLE, BW_ALREADY_EXISTS, "a key version of this id");
    BW_TRY(destroy_handle(session, there.public_key));
    (void)pthread_mutex_lock(&token->tables);
    bw_hsm_index_remove(&token->index, id, version);
    (void)pthread_mutex_unlock(&token->tables);
    return bw_success();
}

static bw_result generate_on_token(struct bw_session *session, const struct making *making, const bw_key_id *id, uint32_t version,
                                   struct bw_buf *ret_public_key)
{
    struct bw_token *token = session->token;
    struct bw_hsm_object made;

    BW_TRY(make_room(session, id, version));
    BW_TRY(generate(session, making, &made));
    bw_result r = bw_spec_is_pair(making->spec) ? bw_public_key_read(session, made.public_key, made.key_type, ret_public_key) : bw_success();
    if (bw_ok(r))
        r = add_to_index(token, id, version, &made);
    if (!bw_ok(r)) {
        (void)destroy_handle(session, made.own); /* what stays is found when intents are resolved at start */
        (void)destroy_handle(session, made.public_key);
    }
    return r;
}

static bw_result generate_serialised(struct bw_token *token, const struct making *making, const bw_key_id *id, uint32_t version,
                                     struct bw_buf *ret_public_key)
{
    struct bw_session *session;

    BW_TRY(bw_session_take(token, &session));
    (void)pthread_mutex_lock(&token->hsm->creation);
    bw_result r = generate_on_token(session, making, id, version, ret_public_key);
    (void)pthread_mutex_unlock(&token->hsm->creation);
    bw_session_give(session);
    return r;
}

bw_result bw_hsm_generate(struct bw_token *token, const struct bw_spec_row *spec, const bw_key_id *id, uint32_t version,
                          const char *label, struct bw_buf *ret_public_key)
{
    uint8_t cka_id[BW_CKA_ID_LEN];

    assert(version > 0);
    cka_id_of(id, version, cka_id);
    struct making making = { .spec = spec, .cka_id = bw_bytes_of(cka_id, sizeof cka_id), .label = bw_bytes_text(label) };
    return generate_serialised(token, &making, id, version, ret_public_key);
}

bw_result bw_object_generate_pair(struct bw_token *token, const struct bw_spec_row *spec, struct bw_hsm_object **ret_object)
{
    struct bw_hsm_object made;
    struct bw_session *session;
    struct making making = { .spec = spec };

    BW_TRY(bw_session_take(token, &session));
    bw_result r = generate(session, &making, &made);
    if (bw_ok(r)) {
        made.handles_are_ours = true;
        r = bw_object_new(session, &made, ret_object);
    }
    bw_session_give(session);
    return r;
}

/* ---- keeping what came in as a session object ---- */

/* A copy is as SENSITIVE as what it was made of, and SoftHSM refuses to be told so once more; so it is looked at instead. */
static bw_result check_kept(struct bw_session *session, CK_OBJECT_HANDLE handle)
{
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
    size_t len = sizeof sensitive;

    BW_TRY(bw_attribute_bytes(session, handle, CKA_SENSITIVE, &sensitive, &len));
    BW_TRY(bw_attribute_bytes(session, handle, CKA_EXTRACTABLE, &extractable, &len));
    BW_CHECK(sensitive && !extractable, BW_HSM_FAILED, "the HSM would let the key out");
    return bw_success();
}

/* settled: it is not EXTRACTABLE already, and SoftHSM refuses to be told that once more too. */
static bw_result copy_to_token(struct bw_session *session, CK_OBJECT_HANDLE object, bool settled, bw_bytes cka_id, const char *label,
                               CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_template t = { 0 };

    bw_template_flag(&t, CKA_TOKEN, true);
    if (!settled)
        bw_template_flag(&t, CKA_EXTRACTABLE, false);
    bw_template_add(&t, CKA_ID, cka_id);
    bw_template_add(&t, CKA_LABEL, bw_bytes_text(label));
    return BW_RV(session, session->token->hsm->f->C_CopyObject(session->handle, object, t.rows, t.count, ret_handle), BW_HSM_FAILED);
}

static bw_result keep(struct bw_session *session, const struct bw_hsm_object *object, const bw_key_id *id, uint32_t version, const char *label)
{
    struct bw_hsm_object kept = { .key_type = object->key_type, .bits = object->bits };
    uint8_t cka_id[BW_CKA_ID_LEN];

    BW_TRY(make_room(session, id, version));
    cka_id_of(id, version, cka_id);
    BW_TRY(copy_to_token(session, object->own, !object->is_session_key, bw_bytes_of(cka_id, sizeof cka_id), label, &kept.own));
    bw_result r = check_kept(session, kept.own);
    if (bw_ok(r) && object->public_key != CK_INVALID_HANDLE)
        r = copy_to_token(session, object->public_key, true, bw_bytes_of(cka_id, sizeof cka_id), label, &kept.public_key);
    if (bw_ok(r))
        r = add_to_index(session->token, id, version, &kept);
    if (!bw_ok(r)) {
        (void)destroy_handle(session, kept.own); /* what stays is found when intents are resolved at start */
        (void)destroy_handle(session, kept.public_key);
    }
    return r;
}

bw_result bw_object_keep(struct bw_hsm_object *object, const bw_key_id *id, uint32_t version, const char *label)
{
    struct bw_session *session;

    BW_TRY(bw_object_use(object, &session));
    (void)pthread_mutex_lock(&session->token->hsm->creation);
    bw_result r = keep(session, object, id, version, label);
    (void)pthread_mutex_unlock(&session->token->hsm->creation);
    bw_session_give(session);
    return r;
}

/* ---- finding ---- */

/* A copy as a session object, made in the holder. An HSM that makes none is used through its token object. */
static CK_OBJECT_HANDLE copy_of(struct bw_session *session, CK_OBJECT_HANDLE object)
{
    struct bw_token *token = session->token;
    struct bw_template t = { 0 };
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;

    if (object == CK_INVALID_HANDLE)
        return copy;
    bw_template_flag(&t, CKA_TOKEN, false);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_CopyObject(token->holder, object, t.rows, t.count, &copy);
    (void)pthread_mutex_unlock(&token->holder_lock);
    return rv == CKR_OK ? copy : CK_INVALID_HANDLE;
}

static bw_result object_of_entry(struct bw_session *session, const struct bw_hsm_index_entry *entry, struct bw_hsm_object **ret_object)
{
    struct bw_hsm_object like = { .key_type = entry->key_type, .bits = entry->bits, .id = entry->id, .version = entry->version };

    like.own        = copy_of(session, entry->own);
    like.public_key = like.own ? copy_of(session, entry->public_key) : CK_INVALID_HANDLE;
    like.handles_are_ours = like.own && (like.public_key || !entry->public_key);
    if (!like.handles_are_ours) {
        if (like.own)
            (void)destroy_handle(session, like.own); /* at worst it goes with the holder */
        like.own        = entry->own;
        like.public_key = entry->public_key;
    }
    return bw_object_new(session, &like, ret_object);
}

static bw_result object_with_session(struct bw_session *session, const bw_key_id *id, uint32_t version, struct bw_hsm_object **ret_object)
{
    struct bw_cache_key name = bw_cache_key_of_version(id, version);
    struct bw_hsm_index_entry entry;

    bool there = is_indexed(session->token, id, version, &entry);
    BW_CHECK(there && entry.own != CK_INVALID_HANDLE, BW_NO_SUCH_KEY, "no such key version in the HSM");
    BW_TRY(object_of_entry(session, &entry, ret_object));
    bw_object_cache(session, *ret_object, &name);
    return bw_success();
}

bw_result bw_object_of_version(struct bw_token *token, const bw_key_id *id, uint32_t version, struct bw_hsm_object **ret_object)
{
    struct bw_cache_key name = bw_cache_key_of_version(id, version);
    struct bw_hsm_object *object = bw_object_cached(token, &name);
    struct bw_session *session;

    if (object != NULL) {
        *ret_object = object;
        return bw_success();
    }
    BW_TRY(bw_session_take(token, &session));
    bw_result r = object_with_session(session, id, version, ret_object);
    bw_session_give(session);
    return r;
}

bw_result bw_hsm_key(struct bw_token *token, const bw_key_id *id, uint32_t version, struct bw_hsm_object **ret_object)
{
    BW_CHECK(version > 0, BW_NO_SUCH_KEY, "key versions count from 1");
    return bw_object_of_version(token, id, version, ret_object);
}

struct listing { struct { bw_key_id id; uint32_t version; } *rows; size_t count; };

/* A copy of the names, so that each may call back into us. */
static bw_result list_keys(struct bw_token *token, struct listing *listing)
{
    const struct bw_index *index = &token->index;

    listing->rows = calloc(index->count + 1, sizeof *listing->rows);
    BW_CHECK(listing->rows != NULL, BW_NO_MEMORY, "list of keys");
    for (size_t i = 0; i < index->bucket_count; i++)
        for (const struct bw_hsm_index_entry *entry = index->buckets[i]; entry != NULL; entry = entry->next)
            if (entry->version > 0) {
                listing->rows[listing->count].id        = entry->id;
                listing->rows[listing->count++].version = entry->version;
            }
    return bw_success();
}

bw_result bw_hsm_each_key(struct bw_token *token, bw_result (*each)(void *self, const bw_key_id *id, uint32_t version), void *self)
{
    struct listing listing = { 0 };
    struct bw_session *session;

    BW_TRY(bw_session_take(token, &session)); /* the index is worth reading only while the token is open */
    (void)pthread_mutex_lock(&token->tables);
    bw_result r = list_keys(token, &listing);
    (void)pthread_mutex_unlock(&token->tables);
    bw_session_give(session);
    for (size_t i = 0; i < listing.count && bw_ok(r); i++)
        r = each(self, &listing.rows[i].id, listing.rows[i].version);
    free(listing.rows);
    return r;
}

/* ---- out of use ---- */

struct key_version { const bw_key_id *id; uint32_t version; };

static bool is_version(const struct bw_hsm_object *object, const void *argument)
{
    const struct key_version *wanted = argument;
    return !object->is_session_key && object->version == wanted->version && bw_key_id_equal(&object->id, wanted->id);
}

static bool is_key_or_from_it(const struct bw_hsm_object *object, const void *argument)
{
    return bw_key_id_equal(&object->id, argument) && (object->is_session_key || object->version > 0);
}

static bw_result destroy(struct bw_session *session, const struct key_version *which)
{
    struct bw_token *token = session->token;
    struct bw_hsm_index_entry entry;

    if (!is_indexed(token, which->id, which->version, &entry))
        return bw_success();
    BW_TRY(destroy_handle(session, entry.own));
    BW_TRY(destroy_handle(session, entry.public_key));
    (void)pthread_mutex_lock(&token->tables);
    bw_hsm_index_remove(&token->index, which->id, which->version); /* before the copies: none is cached from now on */
    (void)pthread_mutex_unlock(&token->tables);
    bw_objects_kill(token, session, BW_KEY_STATE, is_version, which);
    return bw_success();
}

bw_result bw_hsm_destroy(struct bw_token *token, const bw_key_id *id, uint32_t version)
{
    struct bw_session *session;

    assert(version > 0);
    BW_TRY(bw_session_take(token, &session));
    (void)pthread_mutex_lock(&token->hsm->creation);
    bw_result r = destroy(session, &(struct key_version){ id, version });
    (void)pthread_mutex_unlock(&token->hsm->creation);
    bw_session_give(session);
    return r;
}

void bw_hsm_forget(struct bw_token *token, const bw_key_id *id, enum bw_code reason)
{
    bw_objects_kill(token, NULL, reason, is_key_or_from_it, id);
}

/* ---- our own keys ---- */

static const struct service {
    bw_key_id          id;
    const char        *label;
    struct bw_spec_row spec;
} services[] = {
    [BW_SERVICE_SEAL] = { { "bailiwick-seal" }, "bailiwick sealing key",
                          { .key_type = CKK_AES, .bits = 256, .uses = BW_USE_WRAP | BW_USE_UNWRAP, .generator = CKM_AES_KEY_GEN } },
    [BW_SERVICE_MAC]  = { { "bailiwick-mac" }, "bailiwick sealing MAC key",
                          { .key_type = CKK_GENERIC_SECRET, .bits = 256, .uses = BW_USE_SIGN | BW_USE_VERIFY, .generator = CKM_GENERIC_SECRET_KEY_GEN } },
    [BW_SERVICE_TEST] = { { "bailiwick-test" }, "bailiwick health test key",
                          { .key_type = CKK_AES, .bits = 256, .uses = BW_USE_ENCRYPT | BW_USE_DECRYPT, .generator = CKM_AES_KEY_GEN } },
    [BW_SERVICE_IMPORT] = { { "bailiwick-imprt" }, "bailiwick import wrapping key",
                            { .key_type = CKK_RSA, .bits = 4096, .uses = BW_USE_WRAP | BW_USE_UNWRAP, .generator = CKM_RSA_PKCS_KEY_PAIR_GEN } },
    [BW_SERVICE_ATTEST] = { { "bailiwick-attst" }, "bailiwick attestation key",
                            { .key_type = CKK_EC, .bits = 256, .uses = BW_USE_SIGN | BW_USE_VERIFY, .generator = CKM_EC_KEY_PAIR_GEN } },
    [BW_SERVICE_LOG_ED25519] = { { "bailiwick-log-e" }, "bailiwick log key",
                                 { .key_type = CKK_EC_EDWARDS, .bits = 255, .uses = BW_USE_SIGN | BW_USE_VERIFY, .generator = CKM_EC_EDWARDS_KEY_PAIR_GEN } },
    [BW_SERVICE_LOG_P256]    = { { "bailiwick-log-p" }, "bailiwick log key",
                                 { .key_type = CKK_EC, .bits = 256, .uses = BW_USE_SIGN | BW_USE_VERIFY, .generator = CKM_EC_KEY_PAIR_GEN } },
};

/* Pairs are on the curve of the customers' keys of that kind. */
static struct bw_spec_row spec_of(enum bw_service service)
{
    struct bw_spec_row spec = services[service].spec;

    if (spec.key_type == CKK_EC_EDWARDS)
        spec.curve = bw_spec_row(BW_SPEC_ED25519)->curve;
    if (spec.key_type == CKK_EC)
        spec.curve = bw_spec_row(BW_SPEC_EC_P256)->curve;
    return spec;
}

static bw_result make_service(struct bw_token *token, enum bw_service service, uint32_t version)
{
    const struct service    *row  = &services[service];
    const struct bw_spec_row spec = spec_of(service);
    struct bw_buf unused = { 0 };
    uint8_t cka_id[BW_CKA_ID_LEN];

    cka_id_of(&row->id, version, cka_id);
    struct making making = { .spec = &spec, .cka_id = bw_bytes_of(cka_id, sizeof cka_id), .label = bw_bytes_text(row->label),
                             .only_signs = bw_spec_is_pair(&spec) && spec.uses == (BW_USE_SIGN | BW_USE_VERIFY) };
    bw_result r = generate_serialised(token, &making, &row->id, version, &unused);
    bw_buf_clear(&unused);
    return r;
}

static bw_result service_key(struct bw_token *token, enum bw_service service, uint32_t version, struct bw_hsm_object **ret_object)
{
    const struct service *row = &services[service];

    bw_result r = bw_object_of_version(token, &row->id, version, ret_object);
    if (r.code != BW_NO_SUCH_KEY)
        return r;
    r = make_service(token, service, version);
    if (!bw_ok(r) && r.code != BW_ALREADY_EXISTS) /* another thread's, a moment ago */
        return r;
    return bw_object_of_version(token, &row->id, version, ret_object);
}

bw_result bw_service_key(struct bw_token *token, enum bw_service service, struct bw_hsm_object **ret_object)
{
    return service_key(token, service, 0, ret_object);
}

static bw_result read_public_key(struct bw_hsm_object *object, struct bw_buf *ret_public_key)
{
    struct bw_session *session;

    BW_TRY(bw_object_use(object, &session));
    bw_result r = bw_public_key_read(session, object->public_key, object->key_type, ret_public_key);
    bw_session_give(session);
    return r;
}

bw_result bw_service_public_key(struct bw_token *token, enum bw_service service, struct bw_buf *ret_spki)
{
    struct bw_hsm_object *object;

    BW_TRY(bw_service_key(token, service, &object)); /* makes it, the first time */
    bw_result r = read_public_key(object, ret_spki);
    bw_hsm_object_unref(object);
    return r;
}

bw_result bw_hsm_log_key(struct bw_token *token, uint32_t number, struct bw_hsm_object **ret_object, struct bw_buf *ret_public_key)
{
    enum bw_service service = bw_hsm_offers(token->hsm, CKM_EDDSA, BW_USE_SIGN) ? BW_SERVICE_LOG_ED25519 : BW_SERVICE_LOG_P256;
    struct bw_hsm_object *object;

    BW_TRY(service_key(token, service, number, &object));
    bw_result r = read_public_key(object, ret_public_key);
    if (!bw_ok(r)) {
        bw_hsm_object_unref(object);
        return r;
    }
    *ret_object = object;
    return bw_success();
}
