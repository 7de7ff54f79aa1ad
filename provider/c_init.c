/* PKCS#11 v3.0, 5.8 to 5.16: every C_xxxInit that has a mechanism. Which kind of operation it begins says its row of
 * functions.def. */
#include "enter.h"
#include "operation.h"

static CK_RV init(enum bw_function_nr nr, CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, nr, session);

    if (bw_ok(r))
        r = bw_operation_init(e.session, e.function->operation, mechanism, key);
    return bw_leave(&e, r);
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_EncryptInit, session, mechanism, key);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_DecryptInit, session, mechanism, key);
}

CK_RV C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
    return init(BW_FN_C_DigestInit, session, mechanism, CK_INVALID_HANDLE);
}

CK_RV C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_SignInit, session, mechanism, key);
}

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_SignRecoverInit, session, mechanism, key);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_VerifyInit, session, mechanism, key);
}

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_VerifyRecoverInit, session, mechanism, key);
}

CK_RV C_MessageEncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_MessageEncryptInit, session, mechanism, key);
}

CK_RV C_MessageDecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_MessageDecryptInit, session, mechanism, key);
}

CK_RV C_MessageSignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_MessageSignInit, session, mechanism, key);
}

CK_RV C_MessageVerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return init(BW_FN_C_MessageVerifyInit, session, mechanism, key);
}
