/* What is done in the application's process: digests, and operations with public keys.
 *
 * OpenSSL in a library context of our own, which loads no configuration of the host; the host's error queue is left as
 * it was found. Keys are SubjectPublicKeyInfos. Any thread; nothing here blocks. */
#ifndef BW_PROVIDER_LOCAL_H
#define BW_PROVIDER_LOCAL_H

#include "bailiwick/mechanism.h"

struct bw_local;
bw_result bw_local_new(struct bw_local **ret_local);
void      bw_local_free(struct bw_local *local);
BW_DEFINE_AUTO(local)

/* The library context that OpenSSL works in here; borrowed. */
struct ossl_lib_ctx_st *bw_local_library(struct bw_local *local);

/* A digest that is fed piece by piece. */
enum { BW_HASH_MAX = 64 };
struct bw_hash;
bw_result bw_hash_new(struct bw_local *local, enum bw_digest digest, struct bw_hash **ret_hash);
void      bw_hash_free(struct bw_hash *hash);
BW_DEFINE_AUTO(hash)
bw_result bw_hash_add(struct bw_hash *hash, bw_bytes more);
size_t    bw_hash_len(const struct bw_hash *hash);
/* Writes bw_hash_len bytes. Nothing may be added afterwards. */
bw_result bw_hash_end(struct bw_hash *hash, uint8_t digest[static BW_HASH_MAX]);
bw_result bw_hash_copy(const struct bw_hash *hash, struct bw_hash **ret_copy);

/* Verify what travels: data is what the region would be asked to sign.
 * RSA_PKCS a DigestInfo or any other bytes, RSA_X_509 at most a modulus, RSA_PKCS_PSS and ECDSA a digest, EDDSA the message.
 * Fails with  BW_SIGNATURE_INVALID  it does not verify;  BW_SIGNATURE_LENGTH  it has another length;
 *             BW_DATA_LENGTH  data does not suit the mechanism;  BW_DATA_INVALID  spki is no key. */
bw_result bw_local_verify(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *mechanism, bw_bytes data,
                          bw_bytes signature);

/* RSA_PKCS, RSA_X_509: what was signed, appended to ret_data. Fails as above. */
bw_result bw_local_recover(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *mechanism, bw_bytes signature,
                           struct bw_buf *ret_data);

/* RSA_PKCS, RSA_PKCS_OAEP, RSA_X_509 (a shorter number is padded with zeros in front); appended to ret_ciphertext.
 * Fails with  BW_DATA_LENGTH  more than the mechanism takes. */
bw_result bw_local_encrypt(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *mechanism, bw_bytes plaintext,
                           struct bw_buf *ret_ciphertext);

#endif
