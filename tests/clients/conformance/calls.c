/* Every function, called when it cannot do anything: before C_Initialize, without a session or slot, after C_Finalize. Nothing may
 * crash, and each says why it does not work. The arguments are right but for session and slot. */
#include "case.h"

/* refused  what a function of 3.0 must answer: the reference has none to compare with */
static void every_function_of_3_0(CK_SESSION_HANDLE s, CK_RV refused)
{
    CK_BYTE b[512] = { 0 }, iv[12] = { 0 }, tag[16];
    CK_ULONG n = sizeof b;
    CK_MECHANISM m = { CKM_SHA256, NULL, 0 };
    CK_GCM_MESSAGE_PARAMS gcm = { iv, sizeof iv, 0, CKG_NO_GENERATE, tag, 128 };

#define REFUSED(function, arguments) expect(#function, p11->function arguments, refused)
    REFUSED(C_LoginUser, (s, CKU_USER, b, 4, b, 4));
    REFUSED(C_SessionCancel, (s, CKF_ENCRYPT));
    REFUSED(C_MessageEncryptInit, (s, &m, 1));
    REFUSED(C_EncryptMessage, (s, &gcm, sizeof gcm, b, 1, b, 1, b, &n));
    REFUSED(C_EncryptMessageBegin, (s, &gcm, sizeof gcm, b, 1));
    REFUSED(C_EncryptMessageNext, (s, &gcm, sizeof gcm, b, 1, b, &n, 0));
    REFUSED(C_MessageEncryptFinal, (s));
    REFUSED(C_MessageDecryptInit, (s, &m, 1));
    REFUSED(C_DecryptMessage, (s, &gcm, sizeof gcm, b, 1, b, 1, b, &n));
    REFUSED(C_DecryptMessageBegin, (s, &gcm, sizeof gcm, b, 1));
    REFUSED(C_DecryptMessageNext, (s, &gcm, sizeof gcm, b, 1, b, &n, 0));
    REFUSED(C_MessageDecryptFinal, (s));
    REFUSED(C_MessageSignInit, (s, &m, 1));
    REFUSED(C_SignMessage, (s, NULL, 0, b, 1, b, &n));
    REFUSED(C_SignMessageBegin, (s, NULL, 0));
    REFUSED(C_SignMessageNext, (s, NULL, 0, b, 1, b, &n));
    REFUSED(C_MessageSignFinal, (s));
    REFUSED(C_MessageVerifyInit, (s, &m, 1));
    REFUSED(C_VerifyMessage, (s, NULL, 0, b, 1, b, 1));
    REFUSED(C_VerifyMessageBegin, (s, NULL, 0));
    REFUSED(C_VerifyMessageNext, (s, NULL, 0, b, 1, b, 1));
    REFUSED(C_MessageVerifyFinal, (s));
#undef REFUSED
}

static void every_function_of_slots(CK_SLOT_ID at)
{
    CK_BYTE b[32] = { 0 };
    CK_ULONG count = 200;
    CK_SESSION_HANDLE s;
    CK_MECHANISM_TYPE types[200];
    CK_MECHANISM_INFO mi;
    CK_SLOT_INFO sl;
    CK_TOKEN_INFO ti;

    SAY(C_GetSlotInfo, (at, &sl));
    SAY(C_GetTokenInfo, (at, &ti));
    SAY(C_GetMechanismList, (at, types, &count));
    SAY(C_GetMechanismInfo, (at, CKM_SHA256, &mi));
    SAY(C_InitToken, (at, b, 4, b));
    SAY(C_CloseAllSessions, (at));
    SAY(C_OpenSession, (at, CKF_SERIAL_SESSION, NULL, NULL, &s));
}

static void every_function_of_sessions(CK_SESSION_HANDLE s)
{
    CK_BYTE b[512] = { 0 };
    CK_ULONG n = sizeof b, count = 0;
    CK_OBJECT_HANDLE o = 0;
    CK_MECHANISM m = { CKM_SHA256, NULL, 0 };
    CK_ATTRIBUTE a[] = { { CKA_LABEL, b, 1 } };
    CK_SESSION_INFO si;

    SAY(C_GetSessionInfo, (s, &si));
    SAY(C_InitPIN, (s, b, 4));
    SAY(C_SetPIN, (s, b, 4, b, 4));
    SAY(C_GetOperationState, (s, b, &n));
    SAY(C_SetOperationState, (s, b, 1, 0, 0));
    SAY(C_Login, (s, CKU_USER, b, 4));
    SAY(C_Logout, (s));
    SAY(C_CreateObject, (s, a, 1, &o));
    SAY(C_CopyObject, (s, 1, a, 1, &o));
    SAY(C_DestroyObject, (s, 1));
    SAY(C_GetObjectSize, (s, 1, &n));
    SAY(C_GetAttributeValue, (s, 1, a, 1));
    SAY(C_SetAttributeValue, (s, 1, a, 1));
    SAY(C_FindObjectsInit, (s, a, 1));
    SAY(C_FindObjects, (s, &o, 1, &count));
    SAY(C_FindObjectsFinal, (s));
    SAY(C_GenerateKey, (s, &m, a, 1, &o));
    SAY(C_GenerateKeyPair, (s, &m, a, 1, a, 1, &o, &o));
    SAY(C_WrapKey, (s, &m, 1, 1, b, &n));
    SAY(C_UnwrapKey, (s, &m, 1, b, 1, a, 1, &o));
    SAY(C_DeriveKey, (s, &m, 1, a, 1, &o));
    SAY(C_SeedRandom, (s, b, 1));
    SAY(C_GenerateRandom, (s, b, 1));
    SAY(C_GetFunctionStatus, (s));
    SAY(C_CancelFunction, (s));
    SAY(C_CloseSession, (s));
}

static void every_function_of_operations(CK_SESSION_HANDLE s)
{
    CK_BYTE b[512] = { 0 };
    CK_ULONG n = sizeof b;
    CK_MECHANISM m = { CKM_SHA256, NULL, 0 };

    SAY(C_EncryptInit, (s, &m, 1));
    SAY(C_Encrypt, (s, b, 1, b, &n));
    SAY(C_EncryptUpdate, (s, b, 1, b, &n));
    SAY(C_EncryptFinal, (s, b, &n));
    SAY(C_DecryptInit, (s, &m, 1));
    SAY(C_Decrypt, (s, b, 1, b, &n));
    SAY(C_DecryptUpdate, (s, b, 1, b, &n));
    SAY(C_DecryptFinal, (s, b, &n));
    SAY(C_DigestInit, (s, &m));
    SAY(C_Digest, (s, b, 1, b, &n));
    SAY(C_DigestUpdate, (s, b, 1));
    SAY(C_DigestKey, (s, 1));
    SAY(C_DigestFinal, (s, b, &n));
    SAY(C_SignInit, (s, &m, 1));
    SAY(C_Sign, (s, b, 1, b, &n));
    SAY(C_SignUpdate, (s, b, 1));
    SAY(C_SignFinal, (s, b, &n));
    SAY(C_SignRecoverInit, (s, &m, 1));
    SAY(C_SignRecover, (s, b, 1, b, &n));
    SAY(C_VerifyInit, (s, &m, 1));
    SAY(C_Verify, (s, b, 1, b, 1));
    SAY(C_VerifyUpdate, (s, b, 1));
    SAY(C_VerifyFinal, (s, b, 1));
    SAY(C_VerifyRecoverInit, (s, &m, 1));
    SAY(C_VerifyRecover, (s, b, 1, b, &n));
    SAY(C_DigestEncryptUpdate, (s, b, 1, b, &n));
    SAY(C_DecryptDigestUpdate, (s, b, 1, b, &n));
    SAY(C_SignEncryptUpdate, (s, b, 1, b, &n));
    SAY(C_DecryptVerifyUpdate, (s, b, 1, b, &n));
}

void every_function(const char *when, CK_SESSION_HANDLE s, CK_SLOT_ID at, CK_RV refused)
{
    begin("%s", when);
    every_function_of_slots(at);
    every_function_of_sessions(s);
    every_function_of_operations(s);
    if (begin_ours("%s, 3.0", when))
        every_function_of_3_0(s, refused);
}
