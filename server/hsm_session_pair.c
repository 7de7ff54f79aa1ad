/* Private session keys: made as pairs, or come in as PKCS#8. Like the secret ones they are session objects in the token's holder
 * and EXTRACTABLE, because only such keys can be sealed. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "hsm_internal.h"

static const unsigned private_uses = BW_USE_DECRYPT | BW_USE_UNWRAP | BW_USE_SIGN | BW_USE_DERIVE;

static bw_result check_kind(const struct bw_spec_row *spec)
{
    BW_CHECK_AT(spec != NULL && (spec->key_type == CKK_RSA || spec->key_type == CKK_EC), BW_KEY_TYPE, "template.spec",
                "pairs for a session are RSA or EC: the HSM unwraps no others");
    return bw_success();
}

static void destroy(struct bw_session *session, CK_OBJECT_HANDLE handle)
{
    (void)session->token->hsm->f->C_DestroyObject(session->handle, handle); /* at worst it goes with the holder */
}

/* ---- what came in ---- */

/* Modules take what PKCS#8 says, whatever was asked for. */
static bw_result find_spec(struct bw_session *session, CK_OBJECT_HANDLE own, CK_KEY_TYPE key_type, const struct bw_spec_row **ret_spec)
{
    uint8_t bytes[BW_MODULUS_MAX + 1];
    size_t len = sizeof bytes;
    bool is_rsa = key_type == CKK_RSA;
    const struct bw_spec_row *row;

    BW_TRY(bw_attribute_bytes(session, own, is_rsa ? CKA_MODULUS : CKA_EC_PARAMS, bytes, &len));
    for (unsigned i = 1; (row = bw_spec_row((enum bw_spec)i)) != NULL; i++) {
        bool fits = is_rsa ? len == row->bits / 8 && bytes[0] & 0x80 : bw_bytes_equal(bw_bytes_of(bytes, len), row->curve);
        if (row->key_type == key_type && fits) {
            *ret_spec = row;
            return bw_success();
        }
    }
    return bw_fail(BW_KEY_SIZE, "a private key of a size or curve that is not offered");
}

static struct bw_hsm_object object_of(const struct bw_spec_row *spec, const struct bw_session_key *what, CK_OBJECT_HANDLE own)
{
    return (struct bw_hsm_object){
        .own = own, .handles_are_ours = true, .key_type = spec->key_type, .bits = spec->bits, .id = what->origin, .is_session_key = true, .what = *what,
    };
}

bw_result bw_session_private(struct bw_session *session, CK_OBJECT_HANDLE handle, const struct bw_session_key *what,
                             struct bw_hsm_object **ret_object)
{
    const struct bw_spec_row *spec;

    bw_result r = find_spec(session, handle, what->key_type, &spec);
    if (!bw_ok(r)) {
        destroy(session, handle);
        return r;
    }
    struct bw_hsm_object like = object_of(spec, what, handle);
    return bw_object_new(session, &like, ret_object);
}

/* ---- as PKCS#8 ---- */

static bw_result add_number(struct bw_template *t, CK_ATTRIBUTE_TYPE type, const EVP_PKEY *key, const char *name, struct bw_arena *arena)
{
    BIGNUM *number = NULL;

    bool found = EVP_PKEY_get_bn_param(key, name, &number) == 1;
    size_t len = found ? (size_t)BN_num_bytes(number) : 0;
    uint8_t *bytes = bw_arena_alloc(arena, len + 1);
    if (found && bytes != NULL)
        (void)BN_bn2bin(number, bytes);
    BN_clear_free(number);
    BW_CHECK(found, BW_DATA_INVALID, "a private key without one of its parts");
    BW_CHECK(bytes != NULL, BW_NO_MEMORY, "private key");
    bw_template_add(t, type, bw_bytes_of(bytes, len));
    return bw_success();
}

static bw_result rsa_parts(const EVP_PKEY *key, struct bw_arena *arena, struct bw_template *t)
{
    static const struct { CK_ATTRIBUTE_TYPE type; const char *name; } parts[] = {
        { CKA_MODULUS,          OSSL_PKEY_PARAM_RSA_N },         { CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E },
        { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D },         { CKA_PRIME_1,         OSSL_PKEY_PARAM_RSA_FACTOR1 },
        { CKA_PRIME_2,          OSSL_PKEY_PARAM_RSA_FACTOR2 },   { CKA_EXPONENT_1,      OSSL_PKEY_PARAM_RSA_EXPONENT1 },
        { CKA_EXPONENT_2,       OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { CKA_COEFFICIENT,     OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
    };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        BW_TRY(add_number(t, parts[i].type, key, parts[i].name, arena));
    return bw_success();
}

static bw_result ec_parts(const EVP_PKEY *key, struct bw_arena *arena, struct bw_template *t)
{
    static const struct { const char *group; enum bw_spec spec; } curves[] = {
        { "prime256v1", BW_SPEC_EC_P256 }, { "secp384r1", BW_SPEC_EC_P384 }, { "secp521r1", BW_SPEC_EC_P521 },
    };
    char group[32];
    size_t len;

    BW_CHECK(EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1, BW_DATA_INVALID, "no named curve");
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (strcmp(group, curves[i].group) == 0) {
            bw_template_add(t, CKA_EC_PARAMS, bw_spec_row(curves[i].spec)->curve);
            return add_number(t, CKA_VALUE, key, OSSL_PKEY_PARAM_PRIV_KEY, arena);
        }
    return bw_fail(BW_KEY_SIZE, "curve is not offered");
}

bw_result bw_private_key_parts(CK_KEY_TYPE key_type, bw_bytes pkcs8, struct bw_arena *arena, struct bw_template *t)
{
    const unsigned char *der = pkcs8.data;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, (long)pkcs8.len);

    bool fits = key != NULL && der == pkcs8.data + pkcs8.len && EVP_PKEY_is_a(key, key_type == CKK_RSA ? "RSA" : "EC");
    bw_result r = fits ? bw_success() : bw_fail(BW_DATA_INVALID, "not the PKCS#8 of a private key of this type");
    if (bw_ok(r))
        r = key_type == CKK_RSA ? rsa_parts(key, arena, t) : ec_parts(key, arena, t);
    EVP_PKEY_free(key);
    return r;
}

/* ---- made here ---- */

static bw_result generate_here(struct bw_session *session, const struct bw_spec_row *spec, const struct bw_session_key *what,
                               CK_OBJECT_HANDLE *ret_own, CK_OBJECT_HANDLE *ret_public)
{
    CK_MECHANISM mechanism = { spec->generator, NULL, 0 };
    struct bw_template own = { 0 }, public_key = { 0 };

    bw_session_template_start(&own, what);
    bw_template_flag(&public_key, CKA_TOKEN, false);
    bw_template_flag(&public_key, CKA_PRIVATE, false);
    bw_template_kind(&public_key, spec);
    CK_RV rv = session->token->hsm->f->C_GenerateKeyPair(session->handle, &mechanism, public_key.rows, public_key.count, own.rows, own.count,
                                                         ret_public, ret_own);
    return BW_RV(session, rv, BW_HSM_FAILED);
}

static bw_result move_to_holder(struct bw_session *session, CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_token *token = session->token;
    struct bw_template t = { 0 };

    bw_template_flag(&t, CKA_TOKEN, false);
    (void)pthread_mutex_lock(&token->holder_lock);
    CK_RV rv = token->hsm->f->C_CopyObject(token->holder, handle, t.rows, t.count, ret_handle);
    (void)pthread_mutex_unlock(&token->holder_lock);
    destroy(session, handle);
    return BW_RV(session, rv, BW_HSM_FAILED);
}

/* A long RSA key takes seconds, in which others make session keys too: so it is made outside the holder. */
static bw_result generate(struct bw_session *session, const struct bw_spec_row *spec, const struct bw_session_key *what,
                          struct bw_hsm_object **ret_object)
{
    struct bw_hsm_object like = object_of(spec, what, CK_INVALID_HANDLE);
    CK_OBJECT_HANDLE own, public_key;

    BW_TRY(generate_here(session, spec, what, &own, &public_key));
    bw_result r = move_to_holder(session, public_key, &like.public_key);
    if (!bw_ok(r)) {
        destroy(session, own);
        return r;
    }
    r = move_to_holder(session, own, &like.own);
    if (!bw_ok(r)) {
        destroy(session, like.public_key);
        return r;
    }
    return bw_object_new(session, &like, ret_object);
}

bw_result bw_hsm_generate_session_pair(struct bw_token *token, const struct bw_spec_row *spec, struct bw_session_key *what,
                                       struct bw_hsm_object **ret_object)
{
    struct bw_session *session;

    BW_TRY(check_kind(spec));
    what->key_type = spec->key_type;
    what->length   = 0;
    BW_CHECK_AT((what->uses & ~(spec->uses & private_uses)) == 0, BW_TEMPLATE_INVALID, "template.uses", "not a use of such private keys");
    BW_TRY(bw_session_take(token, &session));
    bw_result r = generate(session, spec, what, ret_object);
    bw_session_give(session);
    return r;
}

/* An RSA private key tells its public half itself. */
bw_result bw_hsm_session_public(struct bw_hsm_object *object, const struct bw_spec_row **ret_spec, struct bw_buf *ret_public_key)
{
    struct bw_session *session;
    CK_OBJECT_HANDLE told_by = object->public_key == CK_INVALID_HANDLE && object->key_type == CKK_RSA ? object->own : object->public_key;

    BW_CHECK(object->is_session_key && bw_session_key_is_private(&object->what), BW_KEY_TYPE, "not a private session key");
    BW_TRY(bw_object_use(object, &session));
    bw_result r = find_spec(session, object->own, object->key_type, ret_spec);
    if (bw_ok(r) && told_by != CK_INVALID_HANDLE)
        r = bw_public_key_read(session, told_by, object->key_type, ret_public_key);
    bw_session_give(session);
    return r;
}
