/* PKCS#11 v3.0, 5.13 to 5.16: signatures and MACs, at once, in parts, message by message, and with the data recovered. What kind
 * of operation it is says the function's row of functions.def. */
#include "enter.h"
#include "operation.h"
#include "output.h"
#include "sign.h"

/* ---- signing ---- */

static CK_RV sign(enum bw_function_nr nr, CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, struct bw_out out)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_input(data, len, &input);
    if (bw_ok(r))
        r = bw_sign_once(e.session, e.function->operation, input, out);
    return bw_leave(&e, r);
}

static CK_RV update(enum bw_function_nr nr, CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_input(part, len, &input);
    if (bw_ok(r))
        r = bw_operation_update(e.session, e.function->operation, input);
    return bw_leave(&e, r);
}

CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
    return sign(BW_FN_C_Sign, session, data, data_len, (struct bw_out){ signature, signature_len });
}

CK_RV C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
    return sign(BW_FN_C_SignRecover, session, data, data_len, (struct bw_out){ signature, signature_len });
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
    return update(BW_FN_C_SignUpdate, session, part, part_len);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignFinal, session);

    if (bw_ok(r))
        r = bw_sign_final(e.session, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

/* ---- verifying ---- */

CK_RV C_Verify(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_bytes  input, signed_with;
    bw_result r = bw_enter(&e, BW_FN_C_Verify, session);

    if (bw_ok(r))
        r = bw_input(data, data_len, &input);
    if (bw_ok(r))
        r = bw_input(signature, signature_len, &signed_with);
    if (bw_ok(r))
        r = bw_verify_once(e.session, input, signed_with);
    return bw_leave(&e, r);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
    return update(BW_FN_C_VerifyUpdate, session, part, part_len);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_bytes  signed_with;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyFinal, session);

    if (bw_ok(r))
        r = bw_input(signature, signature_len, &signed_with);
    if (bw_ok(r))
        r = bw_verify_final(e.session, signed_with);
    return bw_leave(&e, r);
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len, CK_BYTE *data, CK_ULONG *data_len)
{
    struct bw_entry e;
    bw_bytes  signed_with;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyRecover, session);

    if (bw_ok(r))
        r = bw_input(signature, signature_len, &signed_with);
    if (bw_ok(r))
        r = bw_verify_recover(e.session, signed_with, (struct bw_out){ data, data_len });
    return bw_leave(&e, r);
}

/* ---- message by message ---- */

/* No mechanism of ours has parameters for single messages. */
static bw_result no_parameter(const void *parameter, CK_ULONG len)
{
    BW_CHECK(parameter == NULL || len == 0, BW_MECHANISM_PARAM, "a message's parameter");
    return bw_success();
}

static CK_RV begin(enum bw_function_nr nr, CK_SESSION_HANDLE session, const void *parameter, CK_ULONG parameter_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_sign_message_begin(e.session, e.function->operation);
    return bw_leave(&e, r);
}

static CK_RV end(enum bw_function_nr nr, CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_sign_message_final(e.session, e.function->operation);
    return bw_leave(&e, r);
}

CK_RV C_SignMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                    CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, BW_FN_C_SignMessage, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_input(data, data_len, &input);
    if (bw_ok(r))
        r = bw_sign_message(e.session, input, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_SignMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len)
{
    return begin(BW_FN_C_SignMessageBegin, session, parameter, parameter_len);
}

CK_RV C_SignMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                        CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_bytes  part;
    bw_result r = bw_enter(&e, BW_FN_C_SignMessageNext, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_input(data, data_len, &part);
    if (bw_ok(r))
        r = bw_sign_message_next(e.session, part, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_MessageSignFinal(CK_SESSION_HANDLE session)
{
    return end(BW_FN_C_MessageSignFinal, session);
}

CK_RV C_VerifyMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                      CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_bytes  input, signed_with;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyMessage, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_input(data, data_len, &input);
    if (bw_ok(r))
        r = bw_input(signature, signature_len, &signed_with);
    if (bw_ok(r))
        r = bw_verify_message(e.session, input, signed_with);
    return bw_leave(&e, r);
}

CK_RV C_VerifyMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len)
{
    return begin(BW_FN_C_VerifyMessageBegin, session, parameter, parameter_len);
}

CK_RV C_VerifyMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                          CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_bytes  part, signed_with;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyMessageNext, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_input(data, data_len, &part);
    if (bw_ok(r))
        r = bw_input(signature, signature_len, &signed_with);
    if (bw_ok(r))
        r = bw_verify_message_next(e.session, part, signature ? &signed_with : NULL);
    return bw_leave(&e, r);
}

CK_RV C_MessageVerifyFinal(CK_SESSION_HANDLE session)
{
    return end(BW_FN_C_MessageVerifyFinal, session);
}
