/* Import: keys that come in wrapped, and what proves to the customer where they go. */
#include <openssl/evp.h>
#include <string.h>

#include "hsm_internal.h"

bw_result bw_hsm_wrapping_key(struct bw_token *token, struct bw_buf *ret_public_key)
{
    return bw_service_public_key(token, BW_SERVICE_IMPORT, ret_public_key);
}

bw_result bw_hsm_prepare_wrapping_key(struct bw_token *token)
{
    struct bw_hsm_object *key;

    BW_TRY(bw_service_key(token, BW_SERVICE_IMPORT, &key));
    bw_hsm_object_unref(key);
    return bw_success();
}

bw_result bw_hsm_attestation_key(struct bw_token *token, struct bw_buf *ret_public_key)
{
    return bw_service_public_key(token, BW_SERVICE_ATTEST, ret_public_key);
}

static bw_result sign_by(struct bw_token *token, enum bw_service service, CK_MECHANISM_TYPE type, bw_bytes data, struct bw_arena *arena,
                         bw_bytes *ret_signature)
{
    const struct bw_mechanism mechanism = { .row = bw_mechanism_row(type) };
    struct bw_hsm_object *key;

    BW_TRY(bw_service_key(token, service, &key));
    bw_result r = bw_hsm_sign(key, &mechanism, data, arena, ret_signature);
    bw_hsm_object_unref(key);
    return r;
}

bw_result bw_hsm_attest(struct bw_token *token, const uint8_t digest[static 32], struct bw_arena *arena, bw_bytes *ret_signature)
{
    return sign_by(token, BW_SERVICE_ATTEST, CKM_ECDSA, bw_bytes_of(digest, 32), arena, ret_signature);
}

bw_result bw_hsm_mac(struct bw_token *token, bw_bytes data, struct bw_arena *arena, bw_bytes *ret_mac)
{
    bw_bytes mac;

    BW_TRY(sign_by(token, BW_SERVICE_MAC, CKM_SHA256_HMAC, data, arena, &mac));
    BW_CHECK(mac.len == 32, BW_HSM_FAILED, "an HMAC has another length");
    *ret_mac = mac;
    return bw_success();
}

/* ---- what tells that it is the same key ---- */

static bw_result check_hmac(struct bw_hsm_object *key, uint8_t ret_check[static 3])
{
    const struct bw_mechanism hmac = { .row = bw_mechanism_row(CKM_SHA256_HMAC) };
    struct bw_arena arena = { 0 };
    bw_bytes mac;

    bw_result r = bw_hsm_sign(key, &hmac, bw_bytes_of(NULL, 0), &arena, &mac);
    if (bw_ok(r))
        memcpy(ret_check, mac.data, 3);
    bw_arena_clear(&arena);
    return r;
}

static bw_result check_of(struct bw_hsm_object *key, uint8_t ret_check[static 3])
{
    bool has_check;

    if (key->key_type != CKK_AES)
        return check_hmac(key, ret_check);
    BW_TRY(bw_hsm_check_value(key, ret_check, &has_check));
    BW_CHECK(has_check, BW_HSM_FAILED, "the HSM tells no check value");
    return bw_success();
}

static bw_result digest_of(bw_bytes bytes, uint8_t ret_digest[static BW_FINGERPRINT_LEN])
{
    BW_CHECK(EVP_Digest(bytes.data, bytes.len, ret_digest, NULL, EVP_sha256(), NULL) == 1, BW_INTERNAL, "OpenSSL does not hash");
    return bw_success();
}

/* The check value is too short to tell one secret key from another. What only the key can make of its own name is not: two
 * blocks under AES, as many bits as the longest key has, or an HMAC. With the name in it, equal keys of two names do not
 * show in the store. */
static bw_result make_fingerprint(struct bw_hsm_object *key, const char *label, struct bw_arena *arena, uint8_t ret[static BW_FINGERPRINT_LEN])
{
    bool is_aes = key->key_type == CKK_AES;
    const struct bw_mechanism mechanism = { .row = bw_mechanism_row(is_aes ? CKM_AES_ECB : CKM_SHA256_HMAC) };
    const char *text = bw_arena_text(arena, "bailiwick imported material 1\n%s\n", label);
    uint8_t digest[BW_FINGERPRINT_LEN];
    bw_bytes made;

    BW_CHECK(text != NULL, BW_NO_MEMORY, "fingerprint");
    BW_TRY(digest_of(bw_bytes_text(text), digest));
    BW_TRY(is_aes ? bw_hsm_encrypt(key, &mechanism, bw_bytes_of(digest, sizeof digest), arena, &made)
                  : bw_hsm_sign(key, &mechanism, bw_bytes_of(digest, sizeof digest), arena, &made));
    BW_CHECK(made.len == BW_FINGERPRINT_LEN, BW_HSM_FAILED, "an HMAC, or two blocks, have another length");
    memcpy(ret, made.data, BW_FINGERPRINT_LEN);
    return bw_success();
}

/* A pair is its public key. */
static bw_result describe_pair(bw_bytes public_key, struct bw_imported *ret)
{
    BW_TRY(digest_of(public_key, ret->fingerprint));
    memcpy(ret->check, ret->fingerprint, sizeof ret->check);
    return bw_success();
}

static bw_result describe_secret(struct bw_hsm_object *key, const char *label, struct bw_imported *ret)
{
    struct bw_arena arena = { 0 };

    bw_result r = make_fingerprint(key, label, &arena, ret->fingerprint);
    bw_arena_clear(&arena);
    BW_TRY(r);
    return check_of(key, ret->check);
}

/* ---- the import itself ---- */

static bw_result unwrap_pair(struct bw_hsm_object *wrapping, const struct bw_import *import, struct bw_hsm_object **ret_key)
{
    struct bw_hsm_object *aes;
    bw_bytes rest;

    BW_CHECK_AT(import->mechanism->row->type == CKM_RSA_AES_KEY_WRAP, BW_MECHANISM_INVALID, "mechanism.type", "private keys come by RSA_AES_KEY_WRAP");
    BW_TRY(bw_rsa_aes_open(wrapping, import->mechanism, import->wrapped, &aes, &rest));
    bw_result r = bw_pair_unwrap(aes, rest, import->spec, import->public_key, ret_key);
    bw_hsm_object_unref(aes);
    return r;
}

static bw_result unwrap_secret(struct bw_hsm_object *wrapping, const struct bw_import *import, struct bw_hsm_object **ret_key)
{
    struct bw_session_key what = { .key_type = import->spec->key_type, .length = import->spec->bits / 8, .uses = import->spec->uses };
    return bw_hsm_unwrap(wrapping, import->mechanism, import->wrapped, &what, ret_key);
}

static bw_result unwrap(struct bw_token *token, const struct bw_import *import, struct bw_hsm_object **ret_key)
{
    struct bw_hsm_object *wrapping;

    BW_TRY(bw_service_key(token, BW_SERVICE_IMPORT, &wrapping));
    bw_result r = bw_spec_is_pair(import->spec) ? unwrap_pair(wrapping, import, ret_key) : unwrap_secret(wrapping, import, ret_key);
    bw_hsm_object_unref(wrapping);
    return r;
}

static bw_result settle(struct bw_hsm_object *key, const struct bw_import *import, struct bw_imported *ret)
{
    BW_TRY(bw_spec_is_pair(import->spec) ? describe_pair(import->public_key, ret) : describe_secret(key, import->label, ret));
    bool same = import->fingerprint.len == 0 || bw_bytes_equal(import->fingerprint, bw_bytes_of(ret->fingerprint, BW_FINGERPRINT_LEN));
    BW_CHECK_AT(same, BW_OTHER_MATERIAL, "wrapped", "not what was imported before");
    return bw_object_keep(key, import->id, import->version, import->label);
}

bw_result bw_hsm_import(struct bw_token *token, const struct bw_import *import, struct bw_imported *ret_imported)
{
    struct bw_imported imported;
    struct bw_hsm_object *key;

    BW_CHECK_AT(bw_oaep_is_native(token->hsm, import->mechanism), BW_MECHANISM_INVALID, "mechanism.hash", "this region's HSM does not unwrap with this hash inside");
    BW_CHECK(bw_hsm_imports(token->hsm, import->spec), BW_NOT_IMPORTABLE, "this region's HSM does not unwrap keys of this kind inside");
    BW_TRY(unwrap(token, import, &key));
    bw_result r = settle(key, import, &imported);
    bw_hsm_object_unref(key);
    BW_TRY(r);
    *ret_imported = imported;
    return bw_success();
}
