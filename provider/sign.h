/* Signatures and MACs. Where the mechanism hashes, the hash is taken here and only it travels; with a public key all of it is
 * done here; else one C_Sign or C_Verify is one RPC, and asking for a length none. Parts are fed by bw_operation_update. */
#ifndef BW_PROVIDER_SIGN_H
#define BW_PROVIDER_SIGN_H

#include "operation.h"

/* kind: BW_OPERATION_SIGN or BW_OPERATION_SIGN_RECOVER. The session is locked. */
bw_result bw_sign_once(struct bw_session *session, enum bw_operation_kind kind, bw_bytes data, struct bw_out out);
bw_result bw_sign_final(struct bw_session *session, struct bw_out out);

/* Fail with BW_SIGNATURE_INVALID, BW_SIGNATURE_LENGTH. */
bw_result bw_verify_once(struct bw_session *session, bw_bytes data, bw_bytes signature);
bw_result bw_verify_final(struct bw_session *session, bw_bytes signature);
bw_result bw_verify_recover(struct bw_session *session, bw_bytes signature, struct bw_out out);

/* Message by message; kind: BW_OPERATION_MESSAGE_SIGN or BW_OPERATION_MESSAGE_VERIFY. out.len NULL: the message goes on. */
bw_result bw_sign_message(struct bw_session *session, bw_bytes data, struct bw_out out);
bw_result bw_sign_message_begin(struct bw_session *session, enum bw_operation_kind kind);
bw_result bw_sign_message_next(struct bw_session *session, bw_bytes part, struct bw_out out);
bw_result bw_verify_message(struct bw_session *session, bw_bytes data, bw_bytes signature);
bw_result bw_verify_message_next(struct bw_session *session, bw_bytes part, const bw_bytes *signature); /* NULL: the message goes on */
bw_result bw_sign_message_final(struct bw_session *session, enum bw_operation_kind kind);

#endif
