/* PKCS#11 v3.0, 5.8 to 5.11: encryption and decryption, at once, in parts, and message by message. Which of the two it is says
 * the function's row of functions.def. */
#include "crypt.h"
#include "enter.h"
#include "operation.h"
#include "output.h"

/* ---- at once, and in parts ---- */

static CK_RV once(enum bw_function_nr nr, CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, struct bw_out out)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_input(data, len, &input);
    if (bw_ok(r))
        r = bw_crypt_once(e.session, e.function->operation, input, out);
    return bw_leave(&e, r);
}

static CK_RV update(enum bw_function_nr nr, CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len, struct bw_out out)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_input(part, len, &input);
    if (bw_ok(r))
        r = bw_crypt_update(e.session, e.function->operation, input, out);
    return bw_leave(&e, r);
}

static CK_RV final(enum bw_function_nr nr, CK_SESSION_HANDLE session, struct bw_out out)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_crypt_final(e.session, e.function->operation, out);
    return bw_leave(&e, r);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *encrypted_data,
                CK_ULONG *encrypted_data_len)
{
    return once(BW_FN_C_Encrypt, session, data, data_len, (struct bw_out){ encrypted_data, encrypted_data_len });
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len, CK_BYTE *encrypted_part,
                      CK_ULONG *encrypted_part_len)
{
    return update(BW_FN_C_EncryptUpdate, session, part, part_len, (struct bw_out){ encrypted_part, encrypted_part_len });
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE *last_encrypted_part, CK_ULONG *last_encrypted_part_len)
{
    return final(BW_FN_C_EncryptFinal, session, (struct bw_out){ last_encrypted_part, last_encrypted_part_len });
}

CK_RV C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE *encrypted_data, CK_ULONG encrypted_data_len, CK_BYTE *data,
                CK_ULONG *data_len)
{
    return once(BW_FN_C_Decrypt, session, encrypted_data, encrypted_data_len, (struct bw_out){ data, data_len });
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *encrypted_part, CK_ULONG encrypted_part_len, CK_BYTE *part,
                      CK_ULONG *part_len)
{
    return update(BW_FN_C_DecryptUpdate, session, encrypted_part, encrypted_part_len, (struct bw_out){ part, part_len });
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE *last_part, CK_ULONG *last_part_len)
{
    return final(BW_FN_C_DecryptFinal, session, (struct bw_out){ last_part, last_part_len });
}

/* ---- message by message ---- */

static bw_result message_in(const void *parameter, CK_ULONG parameter_len, const CK_BYTE *aad, CK_ULONG aad_len,
                            struct bw_message_in *ret_in)
{
    *ret_in = (struct bw_message_in){ .parameter = parameter, .parameter_len = parameter_len };
    return bw_input(aad, aad_len, &ret_in->aad);
}

/* What the functions have in common: the message's parameter and additional data, the text, and where the result goes. */
struct message {
    const void    *parameter;
    CK_ULONG       parameter_len;
    const CK_BYTE *aad;
    CK_ULONG       aad_len;
    const CK_BYTE *text;
    CK_ULONG       text_len;
    struct bw_out  out;
};

static CK_RV message(enum bw_function_nr nr, CK_SESSION_HANDLE session, const struct message *m)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_bytes  text;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = message_in(m->parameter, m->parameter_len, m->aad, m->aad_len, &in);
    if (bw_ok(r))
        r = bw_input(m->text, m->text_len, &text);
    if (bw_ok(r))
        r = bw_crypt_message(e.session, e.function->operation, &in, text, m->out);
    return bw_leave(&e, r);
}

static CK_RV begin(enum bw_function_nr nr, CK_SESSION_HANDLE session, const struct message *m)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = message_in(m->parameter, m->parameter_len, m->aad, m->aad_len, &in);
    if (bw_ok(r))
        r = bw_crypt_message_begin(e.session, e.function->operation, &in);
    return bw_leave(&e, r);
}

static CK_RV next(enum bw_function_nr nr, CK_SESSION_HANDLE session, const struct message *m, CK_FLAGS flags)
{
    struct bw_entry e;
    struct bw_message_in in;
    bw_bytes  part;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = message_in(m->parameter, m->parameter_len, NULL, 0, &in);
    if (bw_ok(r))
        r = bw_input(m->text, m->text_len, &part);
    if (bw_ok(r))
        r = bw_crypt_message_next(e.session, e.function->operation, &in, part, m->out, (flags & CKF_END_OF_MESSAGE) != 0);
    return bw_leave(&e, r);
}

static CK_RV end(enum bw_function_nr nr, CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_crypt_message_final(e.session, e.function->operation);
    return bw_leave(&e, r);
}

CK_RV C_EncryptMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len,
                       CK_BYTE *plaintext, CK_ULONG plaintext_len, CK_BYTE *ciphertext, CK_ULONG *ciphertext_len)
{
    struct message m = { parameter, parameter_len, aad, aad_len, plaintext, plaintext_len, { ciphertext, ciphertext_len } };

    return message(BW_FN_C_EncryptMessage, session, &m);
}

CK_RV C_EncryptMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len)
{
    struct message m = { .parameter = parameter, .parameter_len = parameter_len, .aad = aad, .aad_len = aad_len };

    return begin(BW_FN_C_EncryptMessageBegin, session, &m);
}

CK_RV C_EncryptMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *plaintext,
                           CK_ULONG plaintext_len, CK_BYTE *ciphertext, CK_ULONG *ciphertext_len, CK_FLAGS flags)
{
    struct message m = { parameter, parameter_len, NULL, 0, plaintext, plaintext_len, { ciphertext, ciphertext_len } };

    return next(BW_FN_C_EncryptMessageNext, session, &m, flags);
}

CK_RV C_MessageEncryptFinal(CK_SESSION_HANDLE session)
{
    return end(BW_FN_C_MessageEncryptFinal, session);
}

CK_RV C_DecryptMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len,
                       CK_BYTE *ciphertext, CK_ULONG ciphertext_len, CK_BYTE *plaintext, CK_ULONG *plaintext_len)
{
    struct message m = { parameter, parameter_len, aad, aad_len, ciphertext, ciphertext_len, { plaintext, plaintext_len } };

    return message(BW_FN_C_DecryptMessage, session, &m);
}

CK_RV C_DecryptMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *aad, CK_ULONG aad_len)
{
    struct message m = { .parameter = parameter, .parameter_len = parameter_len, .aad = aad, .aad_len = aad_len };

    return begin(BW_FN_C_DecryptMessageBegin, session, &m);
}

CK_RV C_DecryptMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *ciphertext,
                           CK_ULONG ciphertext_len, CK_BYTE *plaintext, CK_ULONG *plaintext_len, CK_FLAGS flags)
{
    struct message m = { parameter, parameter_len, NULL, 0, ciphertext, ciphertext_len, { plaintext, plaintext_len } };

    return next(BW_FN_C_DecryptMessageNext, session, &m, flags);
}

CK_RV C_MessageDecryptFinal(CK_SESSION_HANDLE session)
{
    return end(BW_FN_C_MessageDecryptFinal, session);
}
