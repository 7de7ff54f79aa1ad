/* What OpenSSL says that the result has to be. A failure of OpenSSL itself ends the program. */
#ifndef BW_TESTS_CONFORMANCE_OPENSSL_H
#define BW_TESTS_CONFORMANCE_OPENSSL_H

#include <openssl/evp.h>

#include "case.h"

/* cipher  OpenSSL's name: "AES-256-CBC"; the tag, where it has one, follows the ciphertext */
struct bytes ossl_encrypt(const char *cipher, bool padding, const struct bytes *key, bw_bytes iv, bw_bytes aad, const struct bytes *plain);
struct bytes ossl_digest(const char *name, const struct bytes *data);
struct bytes ossl_mac(const char *mac, const char *with, const struct bytes *key, const struct bytes *data);

/* padding  RSA_PKCS1_PADDING ...; hash, mgf, label: OAEP and PSS, else NULL */
struct rsa_how { int padding; const char *hash, *mgf, *label; int salt_len; };
struct bytes ossl_rsa_encrypt(EVP_PKEY *key, const struct rsa_how *how, const struct bytes *plain);

/* hash  of the data that is signed; NULL: data is what the mechanism takes as it is. ECDSA: r and s, one after the other. */
bool ossl_verifies(EVP_PKEY *key, const char *hash, const struct rsa_how *how, const struct bytes *data, const struct bytes *signature);

/* The public key of a module's object. */
EVP_PKEY *ossl_public_key(CK_OBJECT_HANDLE public_key, CK_KEY_TYPE type, const char *group);

/* A new key of that curve, and what it shares with the module's key. point: uncompressed. */
struct bytes ossl_shared_secret(EVP_PKEY *peer, const char *group, struct bytes *ret_point);

#endif
