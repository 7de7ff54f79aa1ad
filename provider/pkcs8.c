#include "pkcs8.h"

#include <string.h>

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_SEQUENCE = 0x30 };

#define LITERAL(text) { (const uint8_t *)(text), sizeof(text) - 1 }
static const bw_bytes zero      = LITERAL("\x02\x01\x00"), one = LITERAL("\x02\x01\x01");
static const bw_bytes rsa_key   = LITERAL("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"); /* rsaEncryption, NULL */
static const bw_bytes ec_key    = LITERAL("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01");                 /* id-ecPublicKey */

/* One element around the parts, in a row. Empty: out of memory, here or in one of the parts. */
static bw_bytes element(struct bw_arena *arena, uint8_t tag, const bw_bytes *parts, size_t count)
{
    size_t len = 0;
    uint8_t *der, *at;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].data == NULL)
            return (bw_bytes){ NULL, 0 };
        len += parts[i].len;
    }
    if (len > 0xffff || (der = bw_arena_alloc(arena, len + 4)) == NULL)
        return (bw_bytes){ NULL, 0 };
    at = der;
    *at++ = tag;
    if (len >= 0x80)
        *at++ = len >= 0x100 ? 0x82 : 0x81;
    if (len >= 0x100)
        *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    for (size_t i = 0; i < count; at += parts[i++].len)
        memcpy(at, parts[i].data, parts[i].len);
    return bw_bytes_of(der, (size_t)(at - der));
}

/* Positive, without needless zeros in front. */
static bw_bytes integer(struct bw_arena *arena, bw_bytes number)
{
    static const uint8_t sign[] = { 0 };

    while (number.len > 0 && number.data[0] == 0)
        number = bw_bytes_of(number.data + 1, number.len - 1);
    bool needs_sign = number.len == 0 || number.data[0] & 0x80;
    const bw_bytes parts[] = { bw_bytes_of(sign, needs_sign), number.len > 0 ? number : bw_bytes_of(sign, 0) };
    return element(arena, DER_INTEGER, parts, ARRAY_LEN(parts));
}

static bw_result key_info(struct bw_arena *arena, const bw_bytes *algorithm, size_t count, bw_bytes key, bw_bytes *ret_der)
{
    const bw_bytes parts[] = { zero, element(arena, DER_SEQUENCE, algorithm, count), element(arena, DER_OCTETS, &key, 1) };

    *ret_der = element(arena, DER_SEQUENCE, parts, ARRAY_LEN(parts));
    BW_CHECK(ret_der->data != NULL, BW_NO_MEMORY, "private key");
    return bw_success();
}

bw_result bw_pkcs8_rsa(const bw_bytes parts[static BW_RSA_PARTS], struct bw_arena *arena, bw_bytes *ret_der)
{
    bw_bytes numbers[1 + BW_RSA_PARTS] = { zero };

    for (size_t i = 0; i < BW_RSA_PARTS; i++)
        numbers[1 + i] = integer(arena, parts[i]);
    return key_info(arena, &rsa_key, 1, element(arena, DER_SEQUENCE, numbers, ARRAY_LEN(numbers)), ret_der);
}

/* RFC 5915: the number is as long as the order. */
static bw_result padded(const struct bw_spec_row *spec, bw_bytes value, struct bw_arena *arena, bw_bytes *ret_number)
{
    size_t len = (spec->bits + 7) / 8;
    uint8_t *number = bw_arena_alloc(arena, len);

    while (value.len > len && value.data[0] == 0)
        value = bw_bytes_of(value.data + 1, value.len - 1);
    BW_CHECK(value.len > 0 && value.len <= len, BW_DATA_INVALID, "not a number of the curve's length");
    BW_CHECK(number != NULL, BW_NO_MEMORY, "private key");
    memcpy(number + len - value.len, value.data, value.len);
    *ret_number = bw_bytes_of(number, len);
    return bw_success();
}

bw_result bw_pkcs8_ec(const struct bw_spec_row *spec, bw_bytes value, struct bw_arena *arena, bw_bytes *ret_der)
{
    const bw_bytes algorithm[] = { ec_key, spec->curve };
    bw_bytes number;

    BW_TRY(padded(spec, value, arena, &number));
    bw_bytes octets = element(arena, DER_OCTETS, &number, 1);
    if (spec->key_type == CKK_EC_EDWARDS)
        return key_info(arena, &spec->curve, 1, octets, ret_der);
    const bw_bytes parts[] = { one, octets };
    return key_info(arena, algorithm, ARRAY_LEN(algorithm), element(arena, DER_SEQUENCE, parts, ARRAY_LEN(parts)), ret_der);
}
