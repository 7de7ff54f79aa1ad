/* PKCS#11 v3.0, 5.17: one pass over the data for two operations that are active side by side. */
#include "crypt.h"
#include "enter.h"
#include "operation.h"
#include "output.h"

/* The plaintext goes to the other operation. What is encrypted is copied first, for the caller may have its ciphertext written over
 * it; and it is fed only after that, for a buffer that is too small must leave both operations as they were. */
static bw_result encrypt_too(struct bw_session *session, enum bw_operation_kind other, bw_bytes part, struct bw_out out)
{
    struct bw_buf copy = { .ceiling = BW_DATA_MAX };

    bw_result r = bw_buf_add(&copy, part);
    if (bw_ok(r))
        r = bw_crypt_update(session, BW_OPERATION_ENCRYPT, part, out);
    if (bw_ok(r) && !bw_out_is_query(out))
        r = bw_operation_update(session, other, bw_buf_bytes(&copy));
    bw_buf_clear(&copy);
    return r;
}

static bw_result decrypt_too(struct bw_session *session, enum bw_operation_kind other, bw_bytes part, struct bw_out out)
{
    BW_TRY(bw_crypt_update(session, BW_OPERATION_DECRYPT, part, out));
    if (bw_out_is_query(out))
        return bw_success();
    return bw_operation_update(session, other, bw_bytes_of(out.data, bw_ulong_at(out.len)));
}

/* other  a digest, a signature or a verification, beside the row's own encryption or decryption */
static CK_RV both(enum bw_function_nr nr, CK_SESSION_HANDLE session, enum bw_operation_kind other, const CK_BYTE *part, CK_ULONG len,
                  struct bw_out out)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_operation_may(e.session->operations[other], BW_MOVE_UPDATE);
    if (bw_ok(r))
        r = bw_input(part, len, &input);
    if (bw_ok(r))
        r = e.function->operation == BW_OPERATION_ENCRYPT ? encrypt_too(e.session, other, input, out) : decrypt_too(e.session, other, input, out);
    return bw_leave(&e, r);
}

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len, CK_BYTE *encrypted_part,
                            CK_ULONG *encrypted_part_len)
{
    return both(BW_FN_C_DigestEncryptUpdate, session, BW_OPERATION_DIGEST, part, part_len, (struct bw_out){ encrypted_part, encrypted_part_len });
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *encrypted_part, CK_ULONG encrypted_part_len, CK_BYTE *part,
                            CK_ULONG *part_len)
{
    return both(BW_FN_C_DecryptDigestUpdate, session, BW_OPERATION_DIGEST, encrypted_part, encrypted_part_len, (struct bw_out){ part, part_len });
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len, CK_BYTE *encrypted_part,
                          CK_ULONG *encrypted_part_len)
{
    return both(BW_FN_C_SignEncryptUpdate, session, BW_OPERATION_SIGN, part, part_len, (struct bw_out){ encrypted_part, encrypted_part_len });
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *encrypted_part, CK_ULONG encrypted_part_len, CK_BYTE *part,
                            CK_ULONG *part_len)
{
    return both(BW_FN_C_DecryptVerifyUpdate, session, BW_OPERATION_VERIFY, encrypted_part, encrypted_part_len, (struct bw_out){ part, part_len });
}
