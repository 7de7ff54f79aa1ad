/* Public keys: from the HSM's attributes to SubjectPublicKeyInfo (RFC 5280 4.1.2.7, RFC 8017 A.1, RFC 5480, RFC 8410). */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "hsm_internal.h"

enum { DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_OCTET_STRING = 0x04, DER_SEQUENCE = 0x30 };

#define BYTES(...) bw_bytes_of((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* Both parts, under one tag and length. */
static bw_result der_add(struct bw_buf *to, uint8_t tag, bw_bytes first, bw_bytes second)
{
    size_t len = first.len + second.len;

    BW_TRY(bw_buf_add_be(to, tag, 1));
    if (len >= 0x100)
        BW_TRY(bw_buf_add_be(to, 0x820000 | len, 3));
    else if (len >= 0x80)
        BW_TRY(bw_buf_add_be(to, 0x8100 | len, 2));
    else
        BW_TRY(bw_buf_add_be(to, len, 1));
    BW_TRY(bw_buf_add(to, first));
    return bw_buf_add(to, second);
}

/* An unsigned number: no leading zeros but the one that keeps it positive. */
static bw_result der_add_unsigned(struct bw_buf *to, bw_bytes number)
{
    while (number.len > 1 && number.data[0] == 0)
        number = bw_bytes_of(number.data + 1, number.len - 1);
    bool looks_negative = number.len > 0 && number.data[0] & 0x80;
    return der_add(to, DER_INTEGER, looks_negative ? BYTES(0) : bw_bytes_of(NULL, 0), number);
}

static bw_result add_spki(struct bw_buf *to, bw_bytes oid, bw_bytes parameters, bw_bytes key)
{
    struct bw_buf parts = { 0 };

    bw_result r = der_add(&parts, DER_SEQUENCE, oid, parameters);
    if (bw_ok(r))
        r = der_add(&parts, DER_BIT_STRING, BYTES(0), key);
    if (bw_ok(r))
        r = der_add(to, DER_SEQUENCE, bw_buf_bytes(&parts), bw_bytes_of(NULL, 0));
    bw_buf_clear(&parts);
    return r;
}

static bw_result add_rsa(struct bw_buf *to, bw_bytes modulus, bw_bytes exponent)
{
    bw_bytes oid  = BYTES(0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01);
    bw_bytes null = BYTES(0x05, 0x00);
    struct bw_buf numbers = { 0 }, key = { 0 };

    bw_result r = der_add_unsigned(&numbers, modulus);
    if (bw_ok(r))
        r = der_add_unsigned(&numbers, exponent);
    if (bw_ok(r))
        r = der_add(&key, DER_SEQUENCE, bw_buf_bytes(&numbers), bw_bytes_of(NULL, 0));
    if (bw_ok(r))
        r = add_spki(to, oid, null, bw_buf_bytes(&key));
    bw_buf_clear(&numbers);
    bw_buf_clear(&key);
    return r;
}

static bw_result read_rsa(struct bw_session *session, CK_OBJECT_HANDLE object, struct bw_buf *ret_spki)
{
    uint8_t modulus[BW_MODULUS_MAX + 1], exponent[16];
    size_t modulus_len = sizeof modulus, exponent_len = sizeof exponent;

    BW_TRY(bw_attribute_bytes(session, object, CKA_MODULUS, modulus, &modulus_len));
    BW_TRY(bw_attribute_bytes(session, object, CKA_PUBLIC_EXPONENT, exponent, &exponent_len));
    return add_rsa(ret_spki, bw_bytes_of(modulus, modulus_len), bw_bytes_of(exponent, exponent_len));
}

/* CKA_EC_POINT is the point inside a DER OCTET STRING (PKCS#11 2.3.3). */
static bw_bytes point_of(bw_bytes attribute)
{
    struct bw_reader reader = { attribute, false };
    uint64_t tag = bw_read_be(&reader, 1), len = bw_read_be(&reader, 1);

    if (len == 0x81)
        len = bw_read_be(&reader, 1);
    return tag == DER_OCTET_STRING && !reader.failed && len == reader.rest.len ? reader.rest : bw_bytes_of(NULL, 0);
}

static bw_result read_ec(struct bw_session *session, CK_OBJECT_HANDLE object, CK_KEY_TYPE key_type, struct bw_buf *ret_spki)
{
    bw_bytes ec_public_key = BYTES(0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
    uint8_t params[32], point[160];
    size_t params_len = sizeof params, point_len = sizeof point;

    BW_TRY(bw_attribute_bytes(session, object, CKA_EC_PARAMS, params, &params_len));
    BW_TRY(bw_attribute_bytes(session, object, CKA_EC_POINT, point, &point_len));
    bw_bytes curve = bw_bytes_of(params, params_len), key = point_of(bw_bytes_of(point, point_len));
    BW_CHECK(key.len > 0, BW_HSM_FAILED, "the HSM's public point is not a DER octet string");
    if (key_type == CKK_EC_EDWARDS)
        return add_spki(ret_spki, curve, bw_bytes_of(NULL, 0), key); /* RFC 8410: the curve is the algorithm */
    return add_spki(ret_spki, ec_public_key, curve, key);
}

bw_result bw_public_key_read(struct bw_session *session, CK_OBJECT_HANDLE public_key, CK_KEY_TYPE key_type, struct bw_buf *ret_spki)
{
    if (key_type == CKK_RSA)
        return read_rsa(session, public_key, ret_spki);
    return read_ec(session, public_key, key_type, ret_spki);
}

/* ---- and back ---- */

static bw_result number_of(const EVP_PKEY *key, const char *name, struct bw_arena *arena, bw_bytes *ret_number)
{
    BIGNUM *number = NULL;

    bool found = EVP_PKEY_get_bn_param(key, name, &number) == 1;
    size_t len = found ? (size_t)BN_num_bytes(number) : 0;
    uint8_t *bytes = bw_arena_alloc(arena, len);
    if (found && bytes != NULL)
        (void)BN_bn2bin(number, bytes);
    BN_free(number);
    BW_CHECK(found, BW_DATA_INVALID, "not an RSA key");
    BW_CHECK(bytes != NULL, BW_NO_MEMORY, "public key");
    *ret_number = bw_bytes_of(bytes, len);
    return bw_success();
}

static bw_result rsa_parts(const struct bw_spec_row *spec, bw_bytes spki, struct bw_arena *arena, struct bw_buf *canonical, struct bw_template *t)
{
    const unsigned char *der = spki.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)spki.len);
    bw_bytes modulus, exponent;

    bool fits = key != NULL && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == (int)spec->bits;
    bw_result r = fits ? bw_success() : bw_fail(BW_DATA_INVALID, "not an RSA key of this length");
    if (bw_ok(r))
        r = number_of(key, OSSL_PKEY_PARAM_RSA_N, arena, &modulus);
    if (bw_ok(r))
        r = number_of(key, OSSL_PKEY_PARAM_RSA_E, arena, &exponent);
    EVP_PKEY_free(key);
    BW_TRY(r);
    bw_template_add(t, CKA_MODULUS, modulus);
    bw_template_add(t, CKA_PUBLIC_EXPONENT, exponent);
    return add_rsa(canonical, modulus, exponent);
}

/* The point is what a SubjectPublicKeyInfo ends in. */
static bw_result ec_parts(const struct bw_spec_row *spec, bw_bytes spki, struct bw_arena *arena, struct bw_buf *canonical, struct bw_template *t)
{
    bw_bytes ec_public_key = BYTES(0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
    size_t field = (spec->bits + 7) / 8;
    bool   edwards = spec->key_type == CKK_EC_EDWARDS;
    size_t len = edwards ? field : 1 + 2 * field;
    struct bw_buf octets = { 0 };

    BW_CHECK(spki.len > len, BW_DATA_INVALID, "not a key of this curve");
    bw_bytes point = bw_bytes_of(spki.data + spki.len - len, len);
    BW_TRY(der_add(&octets, DER_OCTET_STRING, point, bw_bytes_of(NULL, 0)));
    bw_bytes der = { bw_arena_copy(arena, bw_buf_bytes(&octets)), octets.len };
    bw_buf_clear(&octets);
    BW_CHECK(der.data != NULL, BW_NO_MEMORY, "public key");
    bw_template_add(t, CKA_EC_PARAMS, spec->curve);
    bw_template_add(t, CKA_EC_POINT, der);
    return edwards ? add_spki(canonical, spec->curve, bw_bytes_of(NULL, 0), point) : add_spki(canonical, ec_public_key, spec->curve, point);
}

bw_result bw_public_key_parts(const struct bw_spec_row *spec, bw_bytes spki, struct bw_arena *arena, struct bw_template *t)
{
    struct bw_buf canonical = { 0 };

    bw_result r = spec->key_type == CKK_RSA ? rsa_parts(spec, spki, arena, &canonical, t) : ec_parts(spec, spki, arena, &canonical, t);
    if (bw_ok(r) && !bw_bytes_equal(bw_buf_bytes(&canonical), spki))
        r = bw_fail(BW_DATA_INVALID, "not the DER of a key of this kind"); /* another curve, a compressed point, other lengths */
    bw_buf_clear(&canonical);
    return r;
}
