/* PKCS#11 v3.0, 5.13 to 5.16: signatures and MACs, at once, in parts, message by message, and with the data recovered. */
#include "enter.h"
#include "operation.h"
#include "output.h"
#include "sign.h"

#define SIGN           BW_OPERATION_SIGN
#define SIGN_RECOVER   BW_OPERATION_SIGN_RECOVER
#define VERIFY         BW_OPERATION_VERIFY
#define VERIFY_RECOVER BW_OPERATION_VERIFY_RECOVER
#define MESSAGE_SIGN   BW_OPERATION_MESSAGE_SIGN
#define MESSAGE_VERIFY BW_OPERATION_MESSAGE_VERIFY

static bw_result sign(struct bw_session *session, enum bw_operation_kind kind, const CK_BYTE *data, CK_ULONG len,
                      struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(data, len, &input));
    return bw_sign_once(session, kind, input, out);
}

static bw_result update(struct bw_session *session, enum bw_operation_kind kind, const CK_BYTE *part, CK_ULONG len)
{
    bw_bytes input;

    BW_TRY(bw_input(part, len, &input));
    return bw_sign_update(session, kind, input);
}

/* ---- signing ---- */

CK_RV C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, SIGN, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Sign, session);

    if (bw_ok(r))
        r = sign(e.session, SIGN, data, data_len, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignUpdate, session);

    if (bw_ok(r))
        r = update(e.session, SIGN, part, part_len);
    return bw_leave(&e, r);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignFinal, session);

    if (bw_ok(r))
        r = bw_sign_final(e.session, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignRecoverInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, SIGN_RECOVER, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignRecover, session);

    if (bw_ok(r))
        r = sign(e.session, SIGN_RECOVER, data, data_len, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

/* ---- verifying ---- */

static bw_result verify(struct bw_session *session, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                        CK_ULONG signature_len)
{
    bw_bytes input, signed_with;

    BW_TRY(bw_input(data, len, &input));
    BW_TRY(bw_input(signature, signature_len, &signed_with));
    return bw_verify_once(session, input, signed_with);
}

static bw_result verify_final(struct bw_session *session, const CK_BYTE *signature, CK_ULONG len)
{
    bw_bytes signed_with;

    BW_TRY(bw_input(signature, len, &signed_with));
    return bw_verify_final(session, signed_with);
}

static bw_result verify_recover(struct bw_session *session, const CK_BYTE *signature, CK_ULONG len, struct bw_out out)
{
    bw_bytes signed_with;

    BW_TRY(bw_input(signature, len, &signed_with));
    return bw_verify_recover(session, signed_with, out);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, VERIFY, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_Verify(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Verify, session);

    if (bw_ok(r))
        r = verify(e.session, data, data_len, signature, signature_len);
    return bw_leave(&e, r);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyUpdate, session);

    if (bw_ok(r))
        r = update(e.session, VERIFY, part, part_len);
    return bw_leave(&e, r);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyFinal, session);

    if (bw_ok(r))
        r = verify_final(e.session, signature, signature_len);
    return bw_leave(&e, r);
}

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyRecoverInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, VERIFY_RECOVER, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len, CK_BYTE *data, CK_ULONG *data_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyRecover, session);

    if (bw_ok(r))
        r = verify_recover(e.session, signature, signature_len, (struct bw_out){ data, data_len });
    return bw_leave(&e, r);
}

/* ---- message by message ---- */

/* No mechanism of ours has parameters for single messages. */
static bw_result no_parameter(const void *parameter, CK_ULONG len)
{
    BW_CHECK(parameter == NULL || len == 0, BW_MECHANISM_PARAM, "a message's parameter");
    return bw_success();
}

static bw_result sign_message(struct bw_session *session, const CK_BYTE *data, CK_ULONG len, struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(data, len, &input));
    return bw_sign_message(session, input, out);
}

static bw_result sign_next(struct bw_session *session, const CK_BYTE *part, CK_ULONG len, struct bw_out out)
{
    bw_bytes input;

    BW_TRY(bw_input(part, len, &input));
    return bw_sign_message_next(session, input, out);
}

static bw_result verify_message(struct bw_session *session, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                                CK_ULONG signature_len)
{
    bw_bytes input, signed_with;

    BW_TRY(bw_input(data, len, &input));
    BW_TRY(bw_input(signature, signature_len, &signed_with));
    return bw_verify_message(session, input, signed_with);
}

static bw_result verify_next(struct bw_session *session, const CK_BYTE *part, CK_ULONG len, const CK_BYTE *signature,
                             CK_ULONG signature_len)
{
    bw_bytes input, signed_with;

    BW_TRY(bw_input(part, len, &input));
    BW_TRY(bw_input(signature, signature_len, &signed_with));
    return bw_verify_message_next(session, input, signature ? &signed_with : NULL);
}

CK_RV C_MessageSignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageSignInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, MESSAGE_SIGN, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_SignMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                    CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignMessage, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = sign_message(e.session, data, data_len, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_SignMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignMessageBegin, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_sign_message_begin(e.session, MESSAGE_SIGN);
    return bw_leave(&e, r);
}

CK_RV C_SignMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                        CK_BYTE *signature, CK_ULONG *signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SignMessageNext, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = sign_next(e.session, data, data_len, (struct bw_out){ signature, signature_len });
    return bw_leave(&e, r);
}

CK_RV C_MessageSignFinal(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageSignFinal, session);

    if (bw_ok(r))
        r = bw_sign_message_final(e.session, MESSAGE_SIGN);
    return bw_leave(&e, r);
}

CK_RV C_MessageVerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageVerifyInit, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, MESSAGE_VERIFY, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_VerifyMessage(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                      CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyMessage, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = verify_message(e.session, data, data_len, signature, signature_len);
    return bw_leave(&e, r);
}

CK_RV C_VerifyMessageBegin(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyMessageBegin, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = bw_sign_message_begin(e.session, MESSAGE_VERIFY);
    return bw_leave(&e, r);
}

CK_RV C_VerifyMessageNext(CK_SESSION_HANDLE session, void *parameter, CK_ULONG parameter_len, CK_BYTE *data, CK_ULONG data_len,
                          CK_BYTE *signature, CK_ULONG signature_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_VerifyMessageNext, session);

    if (bw_ok(r))
        r = no_parameter(parameter, parameter_len);
    if (bw_ok(r))
        r = verify_next(e.session, data, data_len, signature, signature_len);
    return bw_leave(&e, r);
}

CK_RV C_MessageVerifyFinal(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_MessageVerifyFinal, session);

    if (bw_ok(r))
        r = bw_sign_message_final(e.session, MESSAGE_VERIFY);
    return bw_leave(&e, r);
}
