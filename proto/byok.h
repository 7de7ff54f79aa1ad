/* The customer's half of an import (PROTOCOL.md, "Import"), with OpenSSL alone: key material is wrapped for the region's HSM
 * where it is, and crosses the wire in no other form.
 *
 * library: the context that OpenSSL works in, NULL for its default one. The caller's error queue is left as it was found. Any
 * thread; nothing here blocks. */
#ifndef BW_PROTO_BYOK_H
#define BW_PROTO_BYOK_H

#include <openssl/types.h>

#include "bailiwick/mechanism.h"
#include "bailiwick/secret.h"

/* A private key as it is wrapped: PrivateKeyInfo (RFC 5208), DER. BW_DATA_INVALID: it has no such form. */
bw_result bw_byok_private(const EVP_PKEY *key, struct bw_secret **ret_der);
/* Its public half, SubjectPublicKeyInfo, DER, appended. */
bw_result bw_byok_public(const EVP_PKEY *key, struct bw_buf *ret_spki);

/* CKM_RSA_AES_KEY_WRAP (PKCS#11 v3.0, 2.1.21): a fresh AES-256 key by OAEP with that hash under the wrapping key, then the
 * material by AES-KWP under it. wrapping_key: SubjectPublicKeyInfo. From the arena.
 * BW_PROTOCOL_BROKEN: the wrapping key does not wrap. */
bw_result bw_byok_wrap(OSSL_LIB_CTX *library, bw_bytes wrapping_key, enum bw_digest hash, bw_bytes material, struct bw_arena *arena,
                       bw_bytes *ret_wrapped);

#endif
