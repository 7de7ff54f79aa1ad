/* Session keys: made, unwrapped, derived, wrapped. They are session objects in the token's holder, so that they live as long
 * as the token is open, and EXTRACTABLE, because only such keys can be sealed. Whether the customer allowed that they be
 * wrapped or released is our own flag; keys without it are SENSITIVE too. */
#include <string.h>

#include "hsm_internal.h"

enum { GENERIC_MOST = 4096 }; /* bytes: a private key of RSA-4096 as PKCS#8 fits */

/* ---- what they are ---- */

static bool length_fits(CK_KEY_TYPE key_type, size_t len)
{
    if (key_type == CKK_AES)
        return len == 16 || len == 24 || len == 32;
    return key_type == CKK_GENERIC_SECRET && len > 0 && len <= GENERIC_MOST;
}

static bw_result check_type(const struct bw_session_key *what)
{
    if (bw_session_key_is_private(what))
        return bw_success();
    BW_CHECK_AT(what->key_type == CKK_AES || what->key_type == CKK_GENERIC_SECRET, BW_TEMPLATE_INVALID, "template.key_type", "not a type of session keys");
    BW_CHECK_AT(what->length == 0 || length_fits(what->key_type, what->length), BW_KEY_SIZE, "template.length", "no key of this type has it");
    return bw_success();
}

void bw_session_template_start(struct bw_template *t, const struct bw_session_key *what)
{
    bw_template_number(t, CKA_CLASS, bw_session_key_is_private(what) ? CKO_PRIVATE_KEY : CKO_SECRET_KEY);
    bw_template_number(t, CKA_KEY_TYPE, what->key_type);
    bw_template_flag(t, CKA_TOKEN, false);
    bw_template_flag(t, CKA_PRIVATE, true);
    bw_template_flag(t, CKA_SENSITIVE, !what->extractable);
    bw_template_flag(t, CKA_EXTRACTABLE, true);
    bw_template_uses(t, what->uses);
}

static void destroy(struct bw_session *session, CK_OBJECT_HANDLE handle)
{
    (void)session->token->hsm->f->C_DestroyObject(session->handle, handle); /* at worst it goes with the holder */
}

/* Takes over the handle. known_len: in bytes. */
static bw_result object_of_handle(struct bw_session *session, CK_OBJECT_HANDLE handle, struct bw_session_key *what, size_t known_len,
                                  struct bw_hsm_object **ret_object)
{
    struct bw_hsm_object like = { .own = handle, .handles_are_ours = true, .key_type = what->key_type, .bits = (unsigned)known_len * 8,
                                  .id = what->origin, .is_session_key = true, .what = *what };

    if (!length_fits(what->key_type, known_len) || (what->length != 0 && what->length != known_len)) {
        destroy(session, handle);
        return bw_fail(BW_KEY_SIZE, "the key has another length");
    }
    like.what.length = (uint32_t)known_len;
    BW_TRY(bw_object_new(session, &like, ret_object));
    what->length = (uint32_t)known_len;
    return bw_success();
}

/* ---- made from nothing, or from bytes ---- */

static bw_result generate(struct bw_session *session, struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_token *token = session->token;
    CK_MECHANISM mechanism = { what->key_type == CKK_AES ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, NULL, 0 };
    struct bw_template t = { 0 };
    CK_OBJECT_HANDLE handle;

    bw_session_template_start(&t, what);
    bw_template_number(&t, CKA_VALUE_LEN, what->length);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_GenerateKey(token->holder, &mechanism, t.rows, t.count, &handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    BW_TRY(BW_RV(session, rv, BW_HSM_FAILED));
    return object_of_handle(session, handle, what, what->length, ret_object);
}

bw_result bw_hsm_generate_session(struct bw_token *token, struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_session *session;

    BW_TRY(check_type(what));
    BW_CHECK_AT(!bw_session_key_is_private(what), BW_TEMPLATE_INVALID, "template.key_type", "a pair is made by its own mechanism");
    BW_CHECK_AT(what->length >= 16 && what->length <= 512, BW_KEY_SIZE, "template.length", "no key is made with it");
    BW_TRY(bw_session_take(token, &session));
    bw_result r = generate(session, what, ret_object);
    bw_session_give(session);
    return r;
}

static bw_result import(struct bw_session *session, const struct bw_template *t, size_t len, struct bw_session_key *what,
                        struct bw_hsm_object **ret_object)
{
    struct bw_token *token = session->token;
    struct bw_template with_value = *t;
    CK_OBJECT_HANDLE handle;

    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_CreateObject(token->holder, with_value.rows, with_value.count, &handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    BW_TRY(BW_RV(session, rv, BW_HSM_FAILED));
    return bw_session_key_is_private(what) ? bw_session_private(session, handle, what, ret_object)
                                           : object_of_handle(session, handle, what, len, ret_object);
}

static bw_result add_value(struct bw_template *t, bw_bytes value, const struct bw_session_key *what, struct bw_arena *arena)
{
    if (bw_session_key_is_private(what))
        return bw_private_key_parts(what->key_type, value, arena, t);
    BW_CHECK(length_fits(what->key_type, value.len) && (what->length == 0 || what->length == value.len), BW_KEY_SIZE, "the key has another length");
    bw_template_add(t, CKA_VALUE, value);
    return bw_success();
}

bw_result bw_hsm_import_session(struct bw_token *token, bw_bytes value, const struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_session_key imported = *what;
    struct bw_arena arena = { 0 };
    struct bw_template t = { 0 };
    struct bw_session *session;

    BW_TRY(check_type(what));
    bw_session_template_start(&t, what);
    bw_result r = add_value(&t, value, what, &arena);
    if (bw_ok(r))
        r = bw_session_take(token, &session);
    if (bw_ok(r)) {
        r = import(session, &t, value.len, &imported, ret_object);
        bw_session_give(session);
    }
    bw_arena_clear(&arena);
    return r;
}

/* ---- unwrapped ---- */

/* SoftHSM leaves CKA_VALUE_LEN at 0 here, and takes any length for an AES key. So the key comes in without SENSITIVE, is asked
 * for the length of its value (not for the value), and then becomes SENSITIVE for good. */
static bw_result settle_unwrapped(struct bw_session *session, CK_OBJECT_HANDLE handle, const struct bw_session_key *what, size_t *ret_len)
{
    CK_FUNCTION_LIST *f = session->token->hsm->f;
    CK_ATTRIBUTE value = { CKA_VALUE, NULL, 0 };
    struct bw_template sensitive = { 0 };

    BW_TRY(BW_RV(session, f->C_GetAttributeValue(session->handle, handle, &value, 1), BW_HSM_FAILED));
    BW_CHECK(value.ulValueLen != CK_UNAVAILABLE_INFORMATION, BW_HSM_FAILED, "the HSM does not tell the length of an unwrapped key");
    *ret_len = value.ulValueLen;
    if (what->extractable)
        return bw_success();
    bw_template_flag(&sensitive, CKA_SENSITIVE, true);
    return BW_RV(session, f->C_SetAttributeValue(session->handle, handle, sensitive.rows, sensitive.count), BW_HSM_FAILED);
}

static bw_result unwrap_inside(struct bw_session *session, const struct bw_hsm_object *key, const struct bw_mechanism *mechanism,
                               bw_bytes wrapped, struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_token *token = session->token;
    struct bw_session_key readable = *what;
    struct bw_ck_mechanism ck;
    struct bw_template t = { 0 };
    CK_OBJECT_HANDLE handle;
    size_t len;

    readable.extractable = what->extractable || !bw_session_key_is_private(what);
    bw_ck_mechanism_set(&ck, mechanism);
    bw_session_template_start(&t, &readable);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_UnwrapKey(token->holder, &ck.mechanism, key->own, bw_ck_bytes(wrapped), wrapped.len, t.rows, t.count, &handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    BW_TRY(BW_RV(session, rv, BW_WRAPPED_KEY_INVALID));
    if (bw_session_key_is_private(what))
        return bw_session_private(session, handle, what, ret_object);
    bw_result r = settle_unwrapped(session, handle, what, &len);
    if (!bw_ok(r)) {
        destroy(session, handle);
        return r;
    }
    return object_of_handle(session, handle, what, len, ret_object);
}

/* Where the module cannot unwrap with this mechanism it decrypts, and the value goes back in. */
static bw_result unwrap_by_decryption(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                                      struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_arena arena = { 0 };
    bw_bytes value;

    bw_result r = bw_hsm_decrypt(key, mechanism, wrapped, &arena, &value);
    if (bw_ok(r))
        r = bw_hsm_import_session(key->token, value, what, ret_object);
    if (bw_ok(r))
        what->length = (uint32_t)value.len;
    bw_arena_clear(&arena);
    return r.code == BW_CIPHERTEXT_INVALID || r.code == BW_CIPHERTEXT_LENGTH ? bw_fail(BW_WRAPPED_KEY_INVALID, "it does not unwrap") : r;
}

static bw_result unwrap_directly(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                                 struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_session *session;

    if (mechanism->row->type == CKM_AES_GCM || (mechanism->row->type == CKM_RSA_PKCS_OAEP && !bw_oaep_is_native(key->token->hsm, mechanism)))
        return unwrap_by_decryption(key, mechanism, wrapped, what, ret_object);
    BW_TRY(bw_object_use(key, &session));
    bw_result r = unwrap_inside(session, key, mechanism, wrapped, what, ret_object);
    bw_session_give(session);
    return r;
}

static bw_result two_steps(const struct bw_mechanism *mechanism, struct bw_mechanism *ret_oaep, struct bw_mechanism *ret_kwp)
{
    *ret_oaep = *mechanism;
    ret_oaep->row = bw_mechanism_row(CKM_RSA_PKCS_OAEP);
    *ret_kwp = (struct bw_mechanism){ .row = bw_mechanism_row(CKM_AES_KEY_WRAP_PAD) };
    BW_CHECK_AT(length_fits(CKK_AES, mechanism->aes_bits / 8), BW_MECHANISM_PARAM, "mechanism.aes_bits", "not 128, 192 or 256");
    return bw_success();
}

bw_result bw_rsa_aes_open(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                          struct bw_hsm_object **ret_aes, bw_bytes *ret_rest)
{
    struct bw_session_key between = { .key_type = CKK_AES, .uses = BW_USE_UNWRAP };
    struct bw_mechanism oaep, kwp;
    size_t modulus = bw_object_bytes(key);

    BW_TRY(two_steps(mechanism, &oaep, &kwp));
    BW_CHECK(wrapped.len > modulus, BW_WRAPPED_KEY_INVALID, "shorter than its two parts");
    between.length = mechanism->aes_bits / 8;
    bw_result r = unwrap_directly(key, &oaep, bw_bytes_of(wrapped.data, modulus), &between, ret_aes);
    if (!bw_ok(r)) /* an AES key of another size tells no more than wrong padding */
        return r.code == BW_KEY_SIZE ? bw_fail(BW_WRAPPED_KEY_INVALID, "it does not unwrap") : r;
    *ret_rest = bw_bytes_of(wrapped.data + modulus, wrapped.len - modulus);
    return bw_success();
}

static bw_result unwrap_rsa_aes(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                                struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    const struct bw_mechanism kwp = { .row = bw_mechanism_row(CKM_AES_KEY_WRAP_PAD) };
    struct bw_hsm_object *aes;
    bw_bytes rest;

    BW_TRY(bw_rsa_aes_open(key, mechanism, wrapped, &aes, &rest));
    bw_result r = unwrap_directly(aes, &kwp, rest, what, ret_object);
    bw_hsm_object_unref(aes);
    return r;
}

static bw_result fits(const struct bw_hsm_object *key, const struct bw_mechanism *mechanism, unsigned use)
{
    BW_CHECK(mechanism->row->uses & use, BW_MECHANISM_INVALID, "not a mechanism for this");
    BW_CHECK(mechanism->row->key_type == key->key_type, BW_KEY_TYPE, "the mechanism wants a key of another type");
    return bw_success();
}

bw_result bw_hsm_unwrap(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                        struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    BW_TRY(fits(key, mechanism, BW_USE_UNWRAP));
    BW_TRY(check_type(what));
    BW_CHECK(wrapped.len > 0 && wrapped.len <= BW_WRAPPED_MAX, BW_WRAPPED_KEY_INVALID, "no wrapped key has this length");
    if (mechanism->row->type == CKM_RSA_AES_KEY_WRAP)
        return unwrap_rsa_aes(key, mechanism, wrapped, what, ret_object);
    return unwrap_directly(key, mechanism, wrapped, what, ret_object);
}

/* ---- wrapped ---- */

static bw_result wrap_inside(struct bw_session *session, const struct bw_hsm_object *key, const struct bw_mechanism *mechanism,
                             const struct bw_hsm_object *target, uint8_t *wrapped, CK_ULONG *len)
{
    struct bw_ck_mechanism ck;

    bw_ck_mechanism_set(&ck, mechanism);
    CK_RV rv = session->token->hsm->f->C_WrapKey(session->handle, &ck.mechanism, key->own, target->own, wrapped, len);
    return BW_RV(session, rv, BW_HSM_FAILED);
}

static bw_result wrap_by_aes(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_hsm_object *target,
                             struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    CK_ULONG len = bw_session_wrapped_room(&target->what);
    uint8_t *wrapped = bw_arena_alloc(arena, len);
    struct bw_session *session;

    BW_CHECK(wrapped != NULL, BW_NO_MEMORY, "wrapped key");
    BW_CHECK(mechanism->row->travels_as != CKM_AES_KEY_WRAP || target->what.length % 8 == 0, BW_KEY_SIZE, "AES-KW wraps whole 8-byte blocks");
    BW_TRY(bw_object_use(key, &session));
    bw_result r = wrap_inside(session, key, mechanism, target, wrapped, &len);
    bw_session_give(session);
    BW_TRY(r);
    *ret_wrapped = bw_bytes_of(wrapped, len);
    return bw_success();
}

static bw_result wrap_by_encryption(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_hsm_object *target,
                                    struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    bw_bytes value;

    BW_CHECK_AT(!bw_session_key_is_private(&target->what), BW_MECHANISM_INVALID, "mechanism.type", "private keys are wrapped inside the HSM, by AES-KWP");
    BW_TRY(bw_hsm_reveal(target, arena, &value));
    return bw_hsm_encrypt(key, mechanism, value, arena, ret_wrapped);
}

static bw_result wrap_rsa_aes(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_hsm_object *target,
                              struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    struct bw_session_key between = { .key_type = CKK_AES, .uses = BW_USE_WRAP, .extractable = true };
    struct bw_hsm_object *aes;
    struct bw_mechanism oaep, kwp;
    bw_bytes head, tail;

    BW_TRY(two_steps(mechanism, &oaep, &kwp));
    between.length = mechanism->aes_bits / 8;
    BW_TRY(bw_hsm_generate_session(key->token, &between, &aes));
    bw_result r = wrap_by_encryption(key, &oaep, aes, arena, &head);
    if (bw_ok(r))
        r = wrap_by_aes(aes, &kwp, target, arena, &tail);
    bw_hsm_object_unref(aes);
    BW_TRY(r);

    uint8_t *both = bw_arena_alloc(arena, head.len + tail.len);
    BW_CHECK(both != NULL, BW_NO_MEMORY, "wrapped key");
    memcpy(both, head.data, head.len);
    memcpy(both + head.len, tail.data, tail.len);
    *ret_wrapped = bw_bytes_of(both, head.len + tail.len);
    return bw_success();
}

bw_result bw_hsm_wrap(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_hsm_object *target,
                      struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    BW_TRY(fits(key, mechanism, BW_USE_WRAP));
    BW_CHECK(target->is_session_key && target->what.extractable, BW_NOT_PERMITTED, "the key may not leave the HSM");
    BW_CHECK(target->token == key->token, BW_NOT_PERMITTED, "the keys are on two tokens");
    switch (mechanism->row->travels_as) {
    case CKM_AES_KEY_WRAP:
    case CKM_AES_KEY_WRAP_PAD:
        return wrap_by_aes(key, mechanism, target, arena, ret_wrapped);
    case CKM_RSA_AES_KEY_WRAP:
        return wrap_rsa_aes(key, mechanism, target, arena, ret_wrapped);
    default:
        return wrap_by_encryption(key, mechanism, target, arena, ret_wrapped);
    }
}

/* ---- derived ---- */

/* The bare point; callers may send it inside its DER OCTET STRING. */
static bw_result bare_point(const struct bw_hsm_object *key, bw_bytes peer, bw_bytes *ret_point)
{
    size_t point_len = 1 + 2 * bw_object_bytes(key), der_len = point_len < 0x80 ? 2 : 3;

    if (peer.len == point_len + der_len && peer.data[0] == 0x04 && peer.data[der_len - 1] == point_len)
        peer = bw_bytes_of(peer.data + der_len, point_len);
    BW_CHECK_AT(peer.len == point_len && peer.data[0] == 0x04, BW_MECHANISM_PARAM, "mechanism.peer", "not an uncompressed point of the key's curve");
    *ret_point = peer;
    return bw_success();
}

static bw_result derive(struct bw_session *session, const struct bw_hsm_object *key, const struct bw_mechanism *mechanism,
                        struct bw_session_key *what, struct bw_hsm_object **ret_object)
{
    struct bw_token *token = session->token;
    size_t len = what->length ? what->length : bw_object_bytes(key);
    struct bw_ck_mechanism ck;
    struct bw_template t = { 0 };
    CK_OBJECT_HANDLE handle;

    bw_ck_mechanism_set(&ck, mechanism);
    bw_session_template_start(&t, what);
    bw_template_number(&t, CKA_VALUE_LEN, len);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_DeriveKey(token->holder, &ck.mechanism, key->own, t.rows, t.count, &handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    BW_TRY(BW_RV(session, rv, BW_MECHANISM_PARAM));
    return object_of_handle(session, handle, what, len, ret_object);
}

bw_result bw_hsm_derive(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_session_key *what,
                        struct bw_hsm_object **ret_object)
{
    struct bw_mechanism bare = *mechanism;
    struct bw_session *session;

    BW_TRY(fits(key, mechanism, BW_USE_DERIVE));
    BW_TRY(check_type(what));
    BW_CHECK_AT(!bw_session_key_is_private(what), BW_TEMPLATE_INVALID, "template.key_type", "a secret is derived");
    BW_TRY(bare_point(key, mechanism->peer, &bare.peer));
    BW_CHECK_AT(what->length <= bw_object_bytes(key), BW_KEY_SIZE, "template.length", "longer than the shared secret");
    BW_TRY(bw_object_use(key, &session));
    bw_result r = derive(session, key, &bare, what, ret_object);
    bw_session_give(session);
    return r;
}

/* ---- looked at ---- */

/* The front of an encrypted block of zeros, where the key may encrypt. */
static bool make_check_value(struct bw_hsm_object *object, uint8_t ret_check[static 3])
{
    static const uint8_t zeros[BW_AES_BLOCK];
    const struct bw_mechanism ecb = { .row = bw_mechanism_row(CKM_AES_ECB) };
    struct bw_arena arena = { 0 };
    bw_bytes block;

    bool made = object->key_type == CKK_AES && bw_ok(bw_hsm_encrypt(object, &ecb, bw_bytes_of(zeros, sizeof zeros), &arena, &block));
    if (made)
        memcpy(ret_check, block.data, 3);
    bw_arena_clear(&arena);
    return made;
}

bw_result bw_hsm_check_value(struct bw_hsm_object *object, uint8_t ret_check[static 3], bool *ret_has_check)
{
    uint8_t check[16];
    size_t len = sizeof check;
    struct bw_session *session;

    BW_CHECK(object->public_key == CK_INVALID_HANDLE && !(object->is_session_key && bw_session_key_is_private(&object->what)), BW_KEY_TYPE, "pairs have no check value");
    BW_TRY(bw_object_use(object, &session));
    bw_result r = bw_attribute_bytes(session, object->own, CKA_CHECK_VALUE, check, &len);
    bw_session_give(session);
    BW_TRY(r);
    if (len == 3)
        memcpy(ret_check, check, 3);
    *ret_has_check = len == 3 || make_check_value(object, ret_check); /* SoftHSM tells none of keys that were unwrapped */
    return bw_success();
}

bw_result bw_hsm_reveal(struct bw_hsm_object *object, struct bw_arena *arena, bw_bytes *ret_value)
{
    size_t len = object->what.length;
    struct bw_session *session;

    BW_CHECK(object->is_session_key && object->what.extractable, BW_NOT_PERMITTED, "the key may not leave the HSM");
    BW_CHECK(!bw_session_key_is_private(&object->what), BW_NOT_PERMITTED, "a private key leaves the HSM wrapped or not at all");
    uint8_t *value = bw_arena_alloc(arena, len);
    BW_CHECK(value != NULL, BW_NO_MEMORY, "key value");
    BW_TRY(bw_object_use(object, &session));
    bw_result r = bw_attribute_bytes(session, object->own, CKA_VALUE, value, &len);
    bw_session_give(session);
    BW_TRY(r);
    *ret_value = bw_bytes_of(value, len);
    return bw_success();
}
