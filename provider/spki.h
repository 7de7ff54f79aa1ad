/* Public keys as DER: a SubjectPublicKeyInfo (RFC 5280 4.1.2.7, RFC 8017 A.1.1, RFC 5480, RFC 8410) to its parts and
 * back, and the fields of a certificate that PKCS#11 searches by. Strict DER, lengths checked before use, no OpenSSL:
 * a listing parses thousands. */
#ifndef BW_PROVIDER_SPKI_H
#define BW_PROVIDER_SPKI_H

#include "bailiwick/mechanism.h"

struct bw_public {
    CK_KEY_TYPE type;     /* CKK_RSA, CKK_EC, CKK_EC_EDWARDS */
    unsigned    bits;     /* of the modulus, or of the curve's field; 255 for Ed25519 */
    bw_bytes    modulus;  /* RSA, big-endian, no leading zero */
    bw_bytes    exponent; /* RSA, likewise */
    bw_bytes    params;   /* EC: DER of the curve's OID, as CKA_EC_PARAMS */
    bw_bytes    point;    /* EC: X9.62 uncompressed; Ed25519: 32 bytes. Without an OCTET STRING around */
};

/* Borrows from spki. BW_DATA_INVALID: not such a key, or not one of a kind that we offer. */
bw_result bw_spki_parse(bw_bytes spki, struct bw_public *ret_public);

/* DER of the key, appended to ret_spki. BW_DATA_INVALID: the parts are no such key; BW_CURVE: a curve we do not offer. */
bw_result bw_spki_build(const struct bw_public *public_key, struct bw_buf *ret_spki);

/* CKA_EC_POINT: the point in a DER OCTET STRING, appended. */
bw_result bw_spki_point(bw_bytes point, struct bw_buf *ret_der);

/* The point in CKA_EC_POINT or in ECDH's public data, with or without its OCTET STRING around; borrowed. */
bw_bytes bw_spki_bare_point(bw_bytes der);

/* Bytes of one coordinate, and of the order, of a curve in DER. 0: not offered. */
size_t bw_spki_curve_len(bw_bytes params);

/* ECDSA-Sig-Value of r || s (RFC 3279 2.2.3), appended. BW_SIGNATURE_LENGTH: not two halves. */
bw_result bw_spki_signature(bw_bytes raw, struct bw_buf *ret_der);

/* Each with its tag, as CKA_SUBJECT and its like want it. Borrows from the certificate. */
struct bw_certificate {
    bw_bytes serial;
    bw_bytes issuer;
    bw_bytes subject;
    bw_bytes spki;
};
bw_result bw_certificate_parse(bw_bytes der, struct bw_certificate *ret_certificate);

#endif
