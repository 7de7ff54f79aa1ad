/* PKCS#11 v3.0, 5.8 to 5.11: encryption and decryption, at once, in parts, and message by message. */
#include "crypt.h"
#include "enter.h"
#include "operation.h"
#include "output.h"

#define ENCRYPT         BW_OPERATION_ENCRYPT
#define DECRYPT         BW_OPERATION_DECRYPT
#define MESSAGE_ENCRYPT BW_OPERATION_MESSAGE_ENCRYPT
#define MESSAGE_DECRYPT BW_OPERATION_MESSAGE_DECRYPT

static bw_result once(struct bw_session *session, enum bw_operation_kind kind, const CK_BYTE *data, CK_ULONG len,
                      struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(data, len, &input));
    return bw_crypt_once(session, kind, input, out);
}

static bw_result update(struct bw_session *session, enum bw_operation_kind kind, const CK_BYTE *part, CK_ULONG len,
                        struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(part, len, &input));
    return bw_crypt_update(session, kind, input, out);
}

/* ---- encryption ---- */

CK_RV C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, ENCRYPT, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *encrypted_data,
                CK_ULONG *encrypted_data_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Encrypt, session);

    if (bw_ok(r))
        r = once(e.session, ENCRYPT, data, data_len, (struct bw_out){ encrypted_data, encrypted_data_len });
    return bw_leave(&e, r);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len, CK_BYTE *encrypted_part,
                      CK_ULONG *encrypted_part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptUpdate, session);

    if (bw_ok(r))
        r = update(e.session, ENCRYPT, part, part_len, (struct bw_out){ encrypted_part, encrypted_part_len });
    return bw_leave(&e, r);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE *last_encrypted_part, CK_ULONG *last_encrypted_part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptFinal, session);

    if (bw_ok(r))
        r = bw_crypt_final(e.session, ENCRYPT, (struct bw_out){ last_encrypted_part, last_encrypted_part_len });
    return bw_leave(&e, r);
}

/* ---- decryption ---- */

CK_RV C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, DECRYPT, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE *encrypted_data, CK_ULONG encrypted_data_len, CK_BYTE *data,
                CK_ULONG *data_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Decrypt, session);

    if (bw_ok(r))
        r = once(e.session, DECRYPT, encrypted_data, encrypted_data_len, (struct bw_out){ data, data_len });
    return bw_leave(&e, r);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *encrypted_part, CK_ULONG encrypted_part_len, CK_BYTE *part,
                      CK_ULONG *part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptUpdate, session);

    if (bw_ok(r))
        r = update(e.session, DECRYPT, encrypted_part, encrypted_part_len, (struct bw_out){ part, part_len });
    return bw_leave(&e, r);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE *last_part, CK_ULONG *last_part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptFinal, session);

    if (bw_ok(r))
        r = bw_crypt_final(e.session, DECRYPT, (struct bw_out){ last_part, last_part_len });
    return bw_leave(&e, r);
}

/* ---- message by message ---- */

static bw_result message_in(const void *parameter, CK_ULONG parameter_len, const CK_BYTE *aad, CK_ULONG aad_len,
                            struct bw_message_in *ret_in)
{
    *ret_in = (struct bw_message_in){ .parameter = parameter, .parameter_len = parameter_len };
    return bw_input(aad, aad_len, &ret_in->aad);
}

static bw_result message(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                         const CK_BYTE *data, CK_ULONG len, struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(data, len, &input));
    return bw_crypt_message(session, kind, in, input, out);
}

static bw_result next(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                      const CK_BYTE *part, CK_ULONG len, struct bw_out out, CK_FLAGS flags)
{
    bw_bytes input;

    BW_TRY(bw_input(part, len, &input));
    return bw_crypt_message_next(session, kind, in, input, out, (flags & CKF_END_OF_MESSAGE) != 0);
}

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageEncryptInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, MESSAGE_ENCRYPT, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len,
                       CK_BYTE *plaintext, CK_ULONG plaintext_len, CK_BYTE *ciphertext, CK_ULONG *ciphertext_len)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptMessage, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, aad, aad_len, &in);
    if (bw_ok(r))
        r = message(e.session, MESSAGE_ENCRYPT, &in, plaintext, plaintext_len, (struct bw_out){ ciphertext, ciphertext_len });
    return bw_leave(&e, r);
}

CK_RV C_EncryptMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptMessageBegin, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, aad, aad_len, &in);
    if (bw_ok(r))
        r = bw_crypt_message_begin(e.session, MESSAGE_ENCRYPT, &in);
    return bw_leave(&e, r);
}

CK_RV C_EncryptMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *plaintext,
                           CK_ULONG plaintext_len, CK_BYTE *ciphertext, CK_ULONG *ciphertext_len, CK_FLAGS flags)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_EncryptMessageNext, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, NULL, 0, &in);
    if (bw_ok(r))
        r = next(e.session, MESSAGE_ENCRYPT, &in, plaintext, plaintext_len, (struct bw_out){ ciphertext, ciphertext_len }, flags);
    return bw_leave(&e, r);
}

CK_RV C_MessageEncryptFinal(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageEncryptFinal, session);

    if (bw_ok(r))
        r = bw_crypt_message_final(e.session, MESSAGE_ENCRYPT);
    return bw_leave(&e, r);
}

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageDecryptInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, MESSAGE_DECRYPT, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len,
                       CK_BYTE *ciphertext, CK_ULONG ciphertext_len, CK_BYTE *plaintext, CK_ULONG *plaintext_len)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptMessage, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, aad, aad_len, &in);
    if (bw_ok(r))
        r = message(e.session, MESSAGE_DECRYPT, &in, ciphertext, ciphertext_len, (struct bw_out){ plaintext, plaintext_len });
    return bw_leave(&e, r);
}

CK_RV C_DecryptMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptMessageBegin, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, aad, aad_len, &in);
    if (bw_ok(r))
        r = bw_crypt_message_begin(e.session, MESSAGE_DECRYPT, &in);
    return bw_leave(&e, r);
}

CK_RV C_DecryptMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *ciphertext,
                           CK_ULONG ciphertext_len, CK_BYTE *plaintext, CK_ULONG *plaintext_len, CK_FLAGS flags)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, BW_FN_C_DecryptMessageNext, session);

    if (bw_ok(r))
        r = message_in(parameter, parameter_len, NULL, 0, &in);
    if (bw_ok(r))
        r = next(e.session, MESSAGE_DECRYPT, &in, ciphertext, ciphertext_len, (struct bw_out){ plaintext, plaintext_len }, flags);
    return bw_leave(&e, r);
}

CK_RV C_MessageDecryptFinal(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageDecryptFinal, session);

    if (bw_ok(r))
        r = bw_crypt_message_final(e.session, MESSAGE_DECRYPT);
    return bw_leave(&e, r);
}
