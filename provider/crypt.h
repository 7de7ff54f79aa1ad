/* Encryption and decryption: which part is done here, which by the region, and how long what comes out is.
 *
 * One C_Encrypt or C_Decrypt is one RPC; with a public key it is none; asking for a length never is. In parts, CBC, CTR and
 * ECB go block by block, each Update one RPC, because clients hand in buffers no longer than what they fed. What else there
 * is (GCM, RSA, envelopes) is collected, up to BW_DATA_MAX, and goes with the last part: plaintext that was not
 * authenticated does not come out. */
#ifndef BW_PROVIDER_CRYPT_H
#define BW_PROVIDER_CRYPT_H

#include "operation.h"

/* kind: BW_OPERATION_ENCRYPT or BW_OPERATION_DECRYPT. The session is locked. */
bw_result bw_crypt_once(struct bw_session *session, enum bw_operation_kind kind, bw_bytes input, struct bw_out out);
bw_result bw_crypt_update(struct bw_session *session, enum bw_operation_kind kind, bw_bytes part, struct bw_out out);
bw_result bw_crypt_final(struct bw_session *session, enum bw_operation_kind kind, struct bw_out out);

/* kind: BW_OPERATION_MESSAGE_ENCRYPT or BW_OPERATION_MESSAGE_DECRYPT. Ciphertext is without its tag, which is in the parameter. */
struct bw_message_in {
    const void *parameter;
    CK_ULONG    parameter_len;
    bw_bytes    aad;
};
bw_result bw_crypt_message(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                           bw_bytes input, struct bw_out out);
bw_result bw_crypt_message_begin(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in);
bw_result bw_crypt_message_next(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                                bw_bytes part, struct bw_out out, bool is_last);
bw_result bw_crypt_message_final(struct bw_session *session, enum bw_operation_kind kind);

#endif
