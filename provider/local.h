/* Operations with public keys, which are done in the application's process.
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
