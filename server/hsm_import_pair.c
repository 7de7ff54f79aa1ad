/* Private keys that come in wrapped. PKCS#11 gives no public half with them, so whoever brings the one brings the other, and a
 * signature inside the HSM shows that they are one key's. */
#include <string.h>

#include "hsm_internal.h"

static const unsigned public_uses = BW_USE_ENCRYPT | BW_USE_VERIFY | BW_USE_WRAP;

static void template_start(struct bw_template *t, CK_OBJECT_CLASS class, const struct bw_spec_row *spec)
{
    bool is_private = class == CKO_PRIVATE_KEY;

    bw_template_number(t, CKA_CLASS, class);
    bw_template_number(t, CKA_KEY_TYPE, spec->key_type);
    bw_template_flag(t, CKA_TOKEN, false);
    bw_template_flag(t, CKA_PRIVATE, is_private);
    bw_template_uses(t, is_private ? spec->uses & ~public_uses : spec->uses & public_uses);
}

/* ---- the two halves, in the holder ---- */

static bw_result unwrap_private(struct bw_session *session, const struct bw_hsm_object *aes, bw_bytes wrapped, const struct bw_spec_row *spec,
                                CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_token *token = session->token;
    CK_MECHANISM kwp = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    struct bw_template t = { 0 };

    template_start(&t, CKO_PRIVATE_KEY, spec);
    bw_template_flag(&t, CKA_SENSITIVE, true);
    bw_template_flag(&t, CKA_EXTRACTABLE, false);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_UnwrapKey(token->holder, &kwp, aes->own, bw_ck_bytes(wrapped), wrapped.len, t.rows, t.count, ret_handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    return BW_RV(session, rv, BW_WRAPPED_KEY_INVALID);
}

static bw_result create_public(struct bw_session *session, const struct bw_spec_row *spec, bw_bytes spki, CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_token *token = session->token;
    struct bw_template t = { 0 };
    struct bw_arena arena = { 0 };
    CK_RV rv = CKR_OK;

    template_start(&t, CKO_PUBLIC_KEY, spec);
    bw_result r = bw_public_key_parts(spec, spki, &arena, &t);
    if (bw_ok(r)) {
        (void)pthread_mutex_lock(&token->holder_lock);
        rv = token->hsm->f->C_CreateObject(token->holder, t.rows, t.count, ret_handle);
        (void)pthread_mutex_unlock(&token->holder_lock);
    }
    bw_arena_clear(&arena);
    BW_TRY(r);
    return BW_RV(session, rv, BW_DATA_INVALID);
}

/* Modules take what PKCS#8 says, whatever was asked for. */
static bw_result check_kind(struct bw_session *session, CK_OBJECT_HANDLE own, const struct bw_spec_row *spec)
{
    uint8_t bytes[BW_MODULUS_MAX + 1];
    size_t len = sizeof bytes;

    BW_TRY(bw_attribute_bytes(session, own, spec->key_type == CKK_RSA ? CKA_MODULUS : CKA_EC_PARAMS, bytes, &len));
    bool fits = spec->key_type == CKK_RSA ? len == spec->bits / 8 && bytes[0] & 0x80 : bw_bytes_equal(bw_bytes_of(bytes, len), spec->curve);
    BW_CHECK(fits, BW_KEY_SIZE, "a private key of another size or curve");
    return bw_success();
}

static bw_result pair_of(struct bw_session *session, const struct bw_hsm_object *aes, bw_bytes wrapped, const struct bw_spec_row *spec,
                         bw_bytes spki, struct bw_hsm_object **ret_pair)
{
    struct bw_hsm_object like = { .handles_are_ours = true, .key_type = spec->key_type, .bits = spec->bits };
    CK_FUNCTION_LIST *f = session->token->hsm->f;

    BW_TRY(unwrap_private(session, aes, wrapped, spec, &like.own));
    bw_result r = check_kind(session, like.own, spec);
    if (bw_ok(r))
        r = create_public(session, spec, spki, &like.public_key);
    if (!bw_ok(r)) {
        (void)f->C_DestroyObject(session->handle, like.own); /* at worst it goes with the holder */
        return r;
    }
    return bw_object_new(session, &like, ret_pair);
}

/* ---- that they belong together ---- */

static bw_result sign_challenge(struct bw_hsm_object *pair, struct bw_arena *arena)
{
    static const struct { CK_KEY_TYPE key_type; CK_MECHANISM_TYPE mechanism; } signers[] = {
        { CKK_RSA, CKM_RSA_PKCS }, { CKK_EC, CKM_ECDSA }, { CKK_EC_EDWARDS, CKM_EDDSA },
    };
    struct bw_mechanism mechanism = { 0 };
    uint8_t challenge[32];
    bw_bytes signature;

    for (size_t i = 0; i < ARRAY_LEN(signers); i++)
        if (signers[i].key_type == pair->key_type)
            mechanism.row = bw_mechanism_row(signers[i].mechanism);
    BW_TRY(bw_hsm_random(pair->token, challenge, sizeof challenge));
    BW_TRY(bw_hsm_sign(pair, &mechanism, bw_bytes_of(challenge, sizeof challenge), arena, &signature));
    return bw_hsm_verify(pair, &mechanism, bw_bytes_of(challenge, sizeof challenge), signature);
}

/* The public half was there before the challenge, so no signature could be fitted to it. */
static bw_result prove(struct bw_hsm_object *pair)
{
    struct bw_arena arena = { 0 };

    bw_result r = sign_challenge(pair, &arena);
    bw_arena_clear(&arena);
    BW_CHECK_AT(r.code != BW_SIGNATURE_INVALID && r.code != BW_SIGNATURE_LENGTH, BW_OTHER_MATERIAL, "public_key", "not the private key's");
    return r;
}

bw_result bw_pair_unwrap(struct bw_hsm_object *aes, bw_bytes wrapped, const struct bw_spec_row *spec, bw_bytes public_key,
                         struct bw_hsm_object **ret_pair)
{
    struct bw_hsm_object *pair;
    struct bw_session *session;

    BW_TRY(bw_object_use(aes, &session));
    bw_result r = pair_of(session, aes, wrapped, spec, public_key, &pair);
    bw_session_give(session);
    BW_TRY(r);
    r = prove(pair);
    if (!bw_ok(r)) {
        bw_hsm_object_unref(pair);
        return r;
    }
    *ret_pair = pair;
    return bw_success();
}
