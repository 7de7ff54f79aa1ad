/* Import: keys that come in wrapped, and what proves to the customer where they go. */
#include <string.h>

#include "hsm_internal.h"

bw_result bw_hsm_wrapping_key(struct bw_token *token, struct bw_buf *ret_public_key)
{
    return bw_service_public_key(token, BW_SERVICE_IMPORT, ret_public_key);
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

/* ---- the import itself ---- */

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

bw_result bw_hsm_import(struct bw_token *token, const struct bw_mechanism *mechanism, bw_bytes wrapped, const struct bw_spec_row *spec,
                        const bw_key_id *id, uint32_t version, const char *label, uint8_t ret_check[static 3])
{
    struct bw_session_key what = { .key_type = spec->key_type, .length = spec->bits / 8, .uses = spec->uses };
    struct bw_hsm_object *wrapping, *key;

    BW_CHECK(!bw_spec_is_pair(spec), BW_KEY_TYPE, "only secret keys are imported");
    BW_CHECK_AT(bw_oaep_is_native(mechanism), BW_MECHANISM_INVALID, "mechanism.hash", "this region's HSM does not unwrap with this hash inside");
    BW_TRY(bw_service_key(token, BW_SERVICE_IMPORT, &wrapping));
    bw_result r = bw_hsm_unwrap(wrapping, mechanism, wrapped, &what, &key);
    bw_hsm_object_unref(wrapping);
    BW_TRY(r);
    r = check_of(key, ret_check);
    if (bw_ok(r))
        r = bw_object_keep(key, id, version, label);
    bw_hsm_object_unref(key);
    return r;
}
