#include "spki.h"

#include <string.h>

#include "bailiwick/limits.h"

enum { DER_INTEGER = 0x02, DER_BITS = 0x03, DER_OCTETS = 0x04, DER_OID = 0x06, DER_SEQUENCE = 0x30,
       DER_VERSION = 0xa0 };

#define OID_BYTES(text) { (const uint8_t *)(text), sizeof(text) - 1 }
static const bw_bytes rsa_oid = OID_BYTES("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"); /* rsaEncryption */
static const bw_bytes ec_oid  = OID_BYTES("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01");         /* id-ecPublicKey */

/* ---- reading ---- */

/* One element with the given tag: its content, and in *ret_whole (may be NULL) the element with tag and length. */
static bw_bytes read_element(struct bw_reader *r, uint8_t tag, bw_bytes *ret_whole)
{
    const uint8_t *start = r->rest.data;
    uint8_t found = (uint8_t)bw_read_be(r, 1);
    size_t  len   = bw_read_be(r, 1);

    if (len == 0x80 || len > 0x84)
        r->failed = true;
    else if (len > 0x80)
        len = bw_read_be(r, (unsigned)len & 7);
    if (found != tag)
        r->failed = true;
    bw_bytes content = bw_read_bytes(r, len);
    if (ret_whole != NULL)
        *ret_whole = r->failed ? (bw_bytes){ NULL, 0 } : (bw_bytes){ start, (size_t)(content.data - start) + content.len };
    return content;
}

static bw_bytes strip_zeros(bw_bytes number)
{
    while (number.len > 0 && number.data[0] == 0) {
        number.data++;
        number.len--;
    }
    return number;
}

/* A positive INTEGER without its sign byte. */
static bw_bytes read_unsigned(struct bw_reader *r)
{
    bw_bytes number = read_element(r, DER_INTEGER, NULL);

    if (number.len == 0 || (number.data[0] & 0x80) != 0)
        r->failed = true;
    return strip_zeros(number);
}

static unsigned bits_of(bw_bytes number)
{
    unsigned bits = (unsigned)number.len * 8;

    for (unsigned top = number.len > 0 ? number.data[0] : 0x80; (top & 0x80) == 0; top <<= 1)
        bits--;
    return bits;
}

static const struct bw_spec_row *spec_of_curve(bw_bytes params)
{
    static const enum bw_spec curves[] = { BW_SPEC_EC_P256, BW_SPEC_EC_P384, BW_SPEC_EC_P521, BW_SPEC_ED25519 };

    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (bw_bytes_equal(bw_spec_row(curves[i])->curve, params))
            return bw_spec_row(curves[i]);
    return NULL;
}

static bw_result read_rsa(bw_bytes bits, struct bw_public *public_key)
{
    struct bw_reader outer = { .rest = bits };
    struct bw_reader r = { .rest = read_element(&outer, DER_SEQUENCE, NULL) };

    public_key->type     = CKK_RSA;
    public_key->modulus  = read_unsigned(&r);
    public_key->exponent = read_unsigned(&r);
    BW_CHECK(!outer.failed && !r.failed && public_key->modulus.len > 0 && public_key->exponent.len > 0, BW_DATA_INVALID, "RSA public key");
    public_key->bits = bits_of(public_key->modulus);
    return bw_success();
}

static bool point_fits(const struct bw_spec_row *curve, bw_bytes point)
{
    size_t field = (curve->bits + 7) / 8;

    if (curve->key_type == CKK_EC_EDWARDS)
        return point.len == field;
    return point.len == 2 * field + 1 && point.data[0] == 4;
}

static bw_result read_ec(bw_bytes params, bw_bytes point, struct bw_public *public_key)
{
    const struct bw_spec_row *curve = spec_of_curve(params);

    BW_CHECK(curve != NULL, BW_DATA_INVALID, "a curve that is not offered");
    BW_CHECK(point_fits(curve, point), BW_DATA_INVALID, "public point");
    *public_key = (struct bw_public){ .type = curve->key_type, .bits = curve->bits, .params = params, .point = point };
    return bw_success();
}

bw_result bw_spki_parse(bw_bytes spki, struct bw_public *ret_public)
{
    struct bw_public public_key = { 0 };
    struct bw_reader outer      = { .rest = spki };
    struct bw_reader info       = { .rest = read_element(&outer, DER_SEQUENCE, NULL) };
    struct bw_reader algorithm  = { .rest = read_element(&info, DER_SEQUENCE, NULL) };
    bw_bytes         bits       = read_element(&info, DER_BITS, NULL);
    bw_bytes         oid;

    (void)read_element(&algorithm, DER_OID, &oid);
    BW_CHECK(!outer.failed && !info.failed && !algorithm.failed, BW_DATA_INVALID, "SubjectPublicKeyInfo");
    BW_CHECK(bits.len > 1 && bits.data[0] == 0, BW_DATA_INVALID, "SubjectPublicKeyInfo's bits");
    bits = (bw_bytes){ bits.data + 1, bits.len - 1 };

    if (bw_bytes_equal(oid, rsa_oid))
        BW_TRY(read_rsa(bits, &public_key));
    else if (bw_bytes_equal(oid, ec_oid))
        BW_TRY(read_ec(algorithm.rest, bits, &public_key));
    else
        BW_TRY(read_ec(oid, bits, &public_key)); /* RFC 8410: the algorithm is the curve */
    *ret_public = public_key;
    return bw_success();
}

/* An uncompressed point starts with 4 as an OCTET STRING does, so it is the length that tells: no point with its
 * OCTET STRING around is as long as a bare one. */
bw_bytes bw_spki_bare_point(bw_bytes der)
{
    struct bw_reader r = { .rest = der };
    bw_bytes point = read_element(&r, DER_OCTETS, NULL);
    bool     bare  = der.len == 32 || der.len == 65 || der.len == 97 || der.len == 133;

    return bare || r.failed || r.rest.len > 0 ? der : point;
}

size_t bw_spki_curve_len(bw_bytes params)
{
    const struct bw_spec_row *curve = spec_of_curve(params);

    return curve ? (curve->bits + 7) / 8 : 0;
}

bw_result bw_certificate_parse(bw_bytes der, struct bw_certificate *ret_certificate)
{
    struct bw_certificate c;
    struct bw_reader outer = { .rest = der };
    struct bw_reader whole = { .rest = read_element(&outer, DER_SEQUENCE, NULL) };
    struct bw_reader tbs   = { .rest = read_element(&whole, DER_SEQUENCE, NULL) };

    if (tbs.rest.len > 0 && tbs.rest.data[0] == DER_VERSION)
        (void)read_element(&tbs, DER_VERSION, NULL);
    (void)read_element(&tbs, DER_INTEGER, &c.serial);
    (void)read_element(&tbs, DER_SEQUENCE, NULL); /* signature algorithm */
    (void)read_element(&tbs, DER_SEQUENCE, &c.issuer);
    (void)read_element(&tbs, DER_SEQUENCE, NULL); /* validity */
    (void)read_element(&tbs, DER_SEQUENCE, &c.subject);
    (void)read_element(&tbs, DER_SEQUENCE, &c.spki);
    BW_CHECK(!outer.failed && !whole.failed && !tbs.failed, BW_DATA_INVALID, "X.509 certificate");
    *ret_certificate = c;
    return bw_success();
}

/* ---- writing ---- */

static bw_result add_element(struct bw_buf *der, uint8_t tag, bw_bytes content)
{
    BW_CHECK(content.len <= UINT16_MAX, BW_TOO_LARGE, "DER element");
    BW_TRY(bw_buf_add_be(der, tag, 1));
    if (content.len >= 0x100)
        BW_TRY(bw_buf_add_be(der, 0x82, 1));
    else if (content.len >= 0x80)
        BW_TRY(bw_buf_add_be(der, 0x81, 1));
    BW_TRY(bw_buf_add_be(der, content.len, content.len >= 0x100 ? 2 : 1));
    return bw_buf_add(der, content);
}

static bw_result add_unsigned(struct bw_buf *der, bw_bytes number)
{
    uint8_t signed_number[BW_SIGNATURE_MAX + 1] = { 0 };

    number = strip_zeros(number);
    BW_CHECK(number.len < sizeof signed_number, BW_DATA_INVALID, "number too long");
    if (number.len > 0)
        memcpy(signed_number + 1, number.data, number.len);
    bool needs_sign = number.len == 0 || (number.data[0] & 0x80) != 0;
    return add_element(der, DER_INTEGER, (bw_bytes){ signed_number + !needs_sign, number.len + needs_sign });
}

/* Two numbers in a SEQUENCE: an RSAPublicKey, an ECDSA-Sig-Value. */
static bw_result add_two_numbers(struct bw_buf *der, bw_bytes first, bw_bytes second)
{
    struct bw_buf inner = { 0 };
    bw_result r = add_unsigned(&inner, first);

    if (bw_ok(r))
        r = add_unsigned(&inner, second);
    if (bw_ok(r))
        r = add_element(der, DER_SEQUENCE, bw_buf_bytes(&inner));
    bw_buf_clear(&inner);
    return r;
}

static bw_result add_algorithm(struct bw_buf *der, const struct bw_public *public_key)
{
    uint8_t room[64];
    static const bw_bytes rsa_params = OID_BYTES("\x05\x00");
    bool     is_rsa = public_key->type == CKK_RSA, is_curve = public_key->type == CKK_EC;
    bw_bytes oid    = is_rsa ? rsa_oid : is_curve ? ec_oid : public_key->params;
    bw_bytes params = is_rsa ? rsa_params : is_curve ? public_key->params : (bw_bytes){ NULL, 0 };

    BW_CHECK(oid.len + params.len <= sizeof room, BW_DATA_INVALID, "curve parameters");
    memcpy(room, oid.data, oid.len);
    if (params.len > 0)
        memcpy(room + oid.len, params.data, params.len);
    return add_element(der, DER_SEQUENCE, (bw_bytes){ room, oid.len + params.len });
}

static bw_result add_bits(struct bw_buf *der, const struct bw_public *public_key)
{
    struct bw_buf bits = { 0 };
    bw_result r = bw_buf_add_be(&bits, 0, 1); /* no unused bits */

    if (bw_ok(r) && public_key->type == CKK_RSA)
        r = add_two_numbers(&bits, public_key->modulus, public_key->exponent);
    else if (bw_ok(r))
        r = bw_buf_add(&bits, public_key->point);
    if (bw_ok(r))
        r = add_element(der, DER_BITS, bw_buf_bytes(&bits));
    bw_buf_clear(&bits);
    return r;
}

static bw_result check_parts(const struct bw_public *public_key)
{
    if (public_key->type == CKK_RSA) {
        BW_CHECK(strip_zeros(public_key->modulus).len > 0 && strip_zeros(public_key->exponent).len > 0, BW_DATA_INVALID, "RSA public key");
        return bw_success();
    }
    const struct bw_spec_row *curve = spec_of_curve(public_key->params);
    BW_CHECK(curve != NULL && curve->key_type == public_key->type, BW_CURVE, "EC parameters");
    BW_CHECK(point_fits(curve, public_key->point), BW_DATA_INVALID, "public point");
    return bw_success();
}

bw_result bw_spki_build(const struct bw_public *public_key, struct bw_buf *ret_spki)
{
    struct bw_buf inner = { 0 };

    BW_TRY(check_parts(public_key));
    bw_result r = add_algorithm(&inner, public_key);
    if (bw_ok(r))
        r = add_bits(&inner, public_key);
    if (bw_ok(r))
        r = add_element(ret_spki, DER_SEQUENCE, bw_buf_bytes(&inner));
    bw_buf_clear(&inner);
    return r;
}

bw_result bw_spki_point(bw_bytes point, struct bw_buf *ret_der)
{
    return add_element(ret_der, DER_OCTETS, point);
}

bw_result bw_spki_signature(bw_bytes raw, struct bw_buf *ret_der)
{
    BW_CHECK(raw.len > 0 && raw.len % 2 == 0, BW_SIGNATURE_LENGTH, "not r and s");
    return add_two_numbers(ret_der, (bw_bytes){ raw.data, raw.len / 2 }, (bw_bytes){ raw.data + raw.len / 2, raw.len / 2 });
}
