/* Private keys as DER: the parts that a template gives, to a PrivateKeyInfo (RFC 5208; RFC 8017 A.1.2, RFC 5915, RFC 8410). */
#ifndef BW_PROVIDER_PKCS8_H
#define BW_PROVIDER_PKCS8_H

#include "bailiwick/mechanism.h"

/* Numbers are big-endian, leading zeros allowed. Borrowed from the application. */
enum bw_rsa_part { BW_RSA_N, BW_RSA_E, BW_RSA_D, BW_RSA_P, BW_RSA_Q, BW_RSA_DP, BW_RSA_DQ, BW_RSA_QINV, BW_RSA_PARTS };

/* From the arena, which wipes them. BW_NO_MEMORY. */
bw_result bw_pkcs8_rsa(const bw_bytes parts[static BW_RSA_PARTS], struct bw_arena *arena, bw_bytes *ret_der);
/* The value of CKA_VALUE: the private number, or the seed of an Edwards curve. BW_DATA_INVALID: longer than the curve's order. */
bw_result bw_pkcs8_ec(const struct bw_spec_row *spec, bw_bytes value, struct bw_arena *arena, bw_bytes *ret_der);

#endif
