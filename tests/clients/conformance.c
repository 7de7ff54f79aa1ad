/* What a PKCS#11 module answers, case by case: every function, legal and illegal moves, mechanisms, rules of attributes. Run on two
 * modules, and compared:
 *
 * conformance <module> <pin or ->          prints a line for each case: its name, a tab, the CKR_ or number that came
 * conformance --compare <reference> <ours> what differs must be a row of differences[], as it is there
 *
 * The token has keys labelled "aes" (AES-256), "rsa" (RSA-2048) and "ec" (P-256), made for all uses. */
#include <dlfcn.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

/* case (with * as in the shell), what SoftHSM 2.6.1 answers, what we answer, and why that is right. ANY: whatever it is. */
enum { ANY = -1 };
static const struct { const char *name; long theirs, ours; const char *why; } differences[] = {
    { "*: C_?etOperationState(*",                     ANY,  0x54, "not offered, and says so whatever the state is; SoftHSM looks at the session first" },
    { "*: C_DigestKey(*",                             ANY,  0x54, "the same: a key's value is not where digests are made" },
    { "*: C_DigestEncryptUpdate(*",                   ANY,  0x54, "the same" },
    { "*: C_DecryptDigestUpdate(*",                   ANY,  0x54, "the same" },
    { "*: C_SignEncryptUpdate(*",                     ANY,  0x54, "the same" },
    { "*: C_DecryptVerifyUpdate(*",                   ANY,  0x54, "the same" },
    { "sessions: C_Logout before C_Login",            0,    0x101, "CKR_USER_NOT_LOGGED_IN, as v3.0 5.6.10 has it" },
    { "sessions: C_Login with a wrong PIN",           0xa0, 0,    "the application's key file has no passphrase, so that there is no PIN to be wrong" },
    { "sessions: C_Login as SO then",                 0xb7, 0x104, "both hold: a user is logged in, and a session is read-only" },
    { "*: once after Update",                         ANY,  0x90, "CKR_OPERATION_ACTIVE, and the parts are kept; SoftHSM forgets them" },
    { "wrong Init: a short IV",                       0x70, 0x71, "CKR_MECHANISM_PARAM_INVALID is what is wrong" },
    { "wrong Init: no IV",                            0x07, 0x71, "the same" },
    { "wrong Init: no OAEP parameters",               0x07, 0x71, "the same" },
    { "wrong Init: a key that there is not",          0x82, 0x60, "CKR_KEY_HANDLE_INVALID, as v3.0 5.13.1 has it" },
    { "wrong Init: data too long",                    0x05, 0x21, "CKR_DATA_LEN_RANGE, where SoftHSM has CKR_GENERAL_ERROR" },
    { "AES-ECB: *",                                   ANY,  ANY,  "off by default, and an application's own session key has no policy that could name it" },
    { "AES-GCM: C_Decrypt of too little",             0x05, 0x40, "CKR_ENCRYPTED_DATA_INVALID, where SoftHSM has CKR_GENERAL_ERROR" },
    { "RSA-*: C_Decrypt of too little",               0x05, 0x41, "CKR_ENCRYPTED_DATA_LEN_RANGE, where SoftHSM has CKR_GENERAL_ERROR" },
    { "sign SHA512-HMAC: C_*Init",                    0x62, 0,    "SoftHSM wants 64 bytes of key; the region's HSM says so when it is asked, at C_Sign" },
    { "sign SHA512-HMAC: C_*",                        0x91, ANY,  "follows from that" },
};

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static const char *pin;
static CK_OBJECT_HANDLE aes, hmac, token_aes, rsa, rsa_public, ec, ec_public;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static char chapter[64];

static void say(const char *name, CK_ULONG value)
{
    printf("%s: %s\t%ld\n", chapter, name, (long)value);
}

static void begin(const char *name)
{
    snprintf(chapter, sizeof chapter, "%s", name);
}

/* ---- every function ---- */

/* With arguments that nothing is wrong with, but for the session and the slot. */
static void call_all(const char *when, CK_SESSION_HANDLE s, CK_SLOT_ID at)
{
    CK_BYTE b[512] = { 0 };
    CK_ULONG n = sizeof b, count = 0;
    CK_OBJECT_HANDLE o = 0;
    CK_MECHANISM m = { CKM_SHA256, NULL, 0 };
    CK_MECHANISM_INFO mi;
    CK_MECHANISM_TYPE types[200];
    CK_ATTRIBUTE a[] = { { CKA_LABEL, b, 1 } };
    CK_SESSION_INFO si;
    CK_SLOT_INFO sl;
    CK_TOKEN_INFO ti;

    begin(when);
#define SAY(call) say(#call, p11->call)
    SAY(C_GetSlotInfo(at, &sl));
    SAY(C_GetTokenInfo(at, &ti));
    count = 200;
    SAY(C_GetMechanismList(at, types, &count));
    SAY(C_GetMechanismInfo(at, CKM_SHA256, &mi));
    SAY(C_CloseAllSessions(at));
    SAY(C_OpenSession(at, CKF_SERIAL_SESSION, NULL, NULL, &o));
    SAY(C_GetSessionInfo(s, &si));
    SAY(C_GetOperationState(s, b, &n));
    SAY(C_SetOperationState(s, b, 1, 0, 0));
    SAY(C_Login(s, CKU_USER, b, 4));
    SAY(C_Logout(s));
    SAY(C_CreateObject(s, a, 1, &o));
    SAY(C_CopyObject(s, 1, a, 1, &o));
    SAY(C_DestroyObject(s, 1));
    SAY(C_GetObjectSize(s, 1, &n));
    SAY(C_GetAttributeValue(s, 1, a, 1));
    SAY(C_SetAttributeValue(s, 1, a, 1));
    SAY(C_FindObjectsInit(s, a, 1));
    SAY(C_FindObjects(s, &o, 1, &count));
    SAY(C_FindObjectsFinal(s));
    SAY(C_EncryptInit(s, &m, 1));
    SAY(C_Encrypt(s, b, 1, b, &n));
    SAY(C_EncryptUpdate(s, b, 1, b, &n));
    SAY(C_EncryptFinal(s, b, &n));
    SAY(C_DecryptInit(s, &m, 1));
    SAY(C_Decrypt(s, b, 1, b, &n));
    SAY(C_DecryptUpdate(s, b, 1, b, &n));
    SAY(C_DecryptFinal(s, b, &n));
    SAY(C_DigestInit(s, &m));
    SAY(C_Digest(s, b, 1, b, &n));
    SAY(C_DigestUpdate(s, b, 1));
    SAY(C_DigestKey(s, 1));
    SAY(C_DigestFinal(s, b, &n));
    SAY(C_SignInit(s, &m, 1));
    SAY(C_Sign(s, b, 1, b, &n));
    SAY(C_SignUpdate(s, b, 1));
    SAY(C_SignFinal(s, b, &n));
    SAY(C_SignRecoverInit(s, &m, 1));
    SAY(C_SignRecover(s, b, 1, b, &n));
    SAY(C_VerifyInit(s, &m, 1));
    SAY(C_Verify(s, b, 1, b, 1));
    SAY(C_VerifyUpdate(s, b, 1));
    SAY(C_VerifyFinal(s, b, 1));
    SAY(C_VerifyRecoverInit(s, &m, 1));
    SAY(C_VerifyRecover(s, b, 1, b, &n));
    SAY(C_DigestEncryptUpdate(s, b, 1, b, &n));
    SAY(C_DecryptDigestUpdate(s, b, 1, b, &n));
    SAY(C_SignEncryptUpdate(s, b, 1, b, &n));
    SAY(C_DecryptVerifyUpdate(s, b, 1, b, &n));
    SAY(C_GenerateKey(s, &m, a, 1, &o));
    SAY(C_GenerateKeyPair(s, &m, a, 1, a, 1, &o, &o));
    SAY(C_WrapKey(s, &m, 1, 1, b, &n));
    SAY(C_UnwrapKey(s, &m, 1, b, 1, a, 1, &o));
    SAY(C_DeriveKey(s, &m, 1, a, 1, &o));
    SAY(C_SeedRandom(s, b, 1));
    SAY(C_GenerateRandom(s, b, 1));
    SAY(C_GetFunctionStatus(s));
    SAY(C_CancelFunction(s));
    SAY(C_CloseSession(s));
#undef SAY
}

/* ---- the module, slots, sessions ---- */

static void general(void)
{
    CK_C_INITIALIZE_ARGS odd = { .CreateMutex = (CK_CREATEMUTEX)1 };
    CK_ULONG none = 0, few;
    CK_INFO info;

    begin("general");
    say("C_Initialize with one callback", p11->C_Initialize(&odd));
    say("C_Initialize", p11->C_Initialize(NULL));
    say("C_Initialize again", p11->C_Initialize(NULL));
    say("C_GetInfo(NULL)", p11->C_GetInfo(NULL));
    say("C_GetInfo", p11->C_GetInfo(&info));
    say("version", info.cryptokiVersion.major);
    say("C_GetSlotList(NULL count)", p11->C_GetSlotList(CK_TRUE, NULL, NULL));
    say("C_GetSlotList asking", p11->C_GetSlotList(CK_TRUE, NULL, &few));
    say("C_GetSlotList, no room", p11->C_GetSlotList(CK_TRUE, &slot, &none));
    say("C_Finalize(not NULL)", p11->C_Finalize(&none));
    say("C_WaitForSlotEvent", p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    CK_SLOT_ID slots[4];
    few = 4;
    say("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &few));
    slot = slots[0];
}

static void mechanisms(void)
{
    CK_MECHANISM_TYPE one;
    CK_MECHANISM_INFO info;
    CK_ULONG room = 1;

    begin("mechanisms");
    say("C_GetMechanismList, room for one", p11->C_GetMechanismList(slot, &one, &room));
    say("C_GetMechanismList(NULL count)", p11->C_GetMechanismList(slot, NULL, NULL));
    say("C_GetMechanismInfo of none", p11->C_GetMechanismInfo(slot, CKM_VENDOR_DEFINED + 4711, &info));
    say("C_GetMechanismInfo(NULL)", p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS, NULL));
    say("C_GetMechanismInfo", p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS, &info));
    say("RSA signs and decrypts", (info.flags & (CKF_SIGN | CKF_DECRYPT)) == (CKF_SIGN | CKF_DECRYPT));
}

static void say_state(const char *name, CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info = { .state = 99 };

    (void)p11->C_GetSessionInfo(s, &info);
    say(name, info.state);
}

static void sessions(void)
{
    CK_SESSION_HANDLE ro, rw;
    CK_BYTE wrong[] = "wrong";

    begin("sessions");
    say("C_OpenSession, not serial", p11->C_OpenSession(slot, CKF_RW_SESSION, NULL, NULL, &rw));
    say("C_OpenSession(NULL handle)", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, NULL));
    say("C_OpenSession, read-only", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &ro));
    say_state("read-only, public", ro);
    say("C_Login of nobody", p11->C_Login(ro, 4711, wrong, 5));
    say("C_Logout before C_Login", p11->C_Logout(ro));
    say("C_OpenSession, read-write", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &rw));
    say_state("read-write, public", rw);
    say("C_Login with a wrong PIN", p11->C_Login(rw, CKU_USER, wrong, 5));
    (void)p11->C_Logout(rw);
    say("C_Login", p11->C_Login(rw, CKU_USER, (CK_BYTE *)pin, pin ? strlen(pin) : 0));
    say("C_Login again", p11->C_Login(rw, CKU_USER, (CK_BYTE *)pin, pin ? strlen(pin) : 0));
    say("C_Login as SO then", p11->C_Login(rw, CKU_SO, wrong, 5));
    say_state("read-write, user", rw);
    say_state("read-only, user", ro);
    say("C_Logout", p11->C_Logout(ro));
    say_state("read-write, public again", rw);
    say("C_CloseSession", p11->C_CloseSession(ro));
    say("C_CloseSession again", p11->C_CloseSession(ro));
    say("C_CloseAllSessions", p11->C_CloseAllSessions(slot));
    say("C_CloseSession after that", p11->C_CloseSession(rw));
    say("C_OpenSession for the rest", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    say("C_Login for the rest", p11->C_Login(session, CKU_USER, (CK_BYTE *)pin, pin ? strlen(pin) : 0));
}

/* ---- objects ---- */

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)label, strlen(label) } };
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;

    (void)p11->C_FindObjectsInit(session, template, 2);
    (void)p11->C_FindObjects(session, &found, 1, &count);
    (void)p11->C_FindObjectsFinal(session);
    if (count != 1) {
        fprintf(stderr, "no key %s\n", label);
        exit(1);
    }
    return found;
}

static CK_OBJECT_HANDLE given_key(CK_KEY_TYPE type, const char *name)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 },
        { CKA_VALUE, (void *)"sixteen bytes or, if you want, thirty-two", 32 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_DECRYPT, &yes, 1 },
        { CKA_SIGN, &yes, 1 }, { CKA_VERIFY, &yes, 1 },
    };
    CK_OBJECT_HANDLE key = 0;

    say(name, p11->C_CreateObject(session, t, ARRAY_LEN(t), &key));
    return key;
}

static void keys(void)
{
    begin("keys");
    token_aes = find(CKO_SECRET_KEY, "aes");
    rsa = find(CKO_PRIVATE_KEY, "rsa");
    rsa_public = find(CKO_PUBLIC_KEY, "rsa");
    ec = find(CKO_PRIVATE_KEY, "ec");
    ec_public = find(CKO_PUBLIC_KEY, "ec");
    aes = given_key(CKK_AES, "an AES session key of a given value");
    hmac = given_key(CKK_GENERIC_SECRET, "a generic session key of a given value");
}

static void say_read(const char *name, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG room)
{
    CK_ATTRIBUTE a = { type, value, room };
    char line[96];

    say(name, p11->C_GetAttributeValue(session, object, &a, 1));
    snprintf(line, sizeof line, "%s, length", name);
    say(line, a.ulValueLen);
}

static void attributes(void)
{
    CK_BYTE b[600];
    CK_OBJECT_CLASS class = CKO_DATA, other = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE data[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)"d", 1 }, { CKA_VALUE, (void *)"value", 5 }, { CKA_TOKEN, &no, 1 } };
    CK_ATTRIBUTE change = { CKA_LABEL, (void *)"new", 3 }, class_change = { CKA_CLASS, &other, sizeof other };
    CK_ATTRIBUTE less = { CKA_SENSITIVE, &no, 1 }, more = { CKA_EXTRACTABLE, &yes, 1 };
    CK_ATTRIBUTE several[] = { { CKA_VALUE, b, sizeof b }, { CKA_LABEL, b + 64, 64 }, { CKA_MODULUS, b, sizeof b }, { CKA_KEY_TYPE, b + 128, 1 } };
    CK_OBJECT_HANDLE object = 0, copy = 0;
    CK_ULONG size;

    begin("attributes");
    say_read("CKA_VALUE of a master key", token_aes, CKA_VALUE, b, sizeof b);
    say_read("CKA_VALUE of a session key", aes, CKA_VALUE, b, sizeof b);
    say_read("CKA_PRIVATE_EXPONENT", rsa, CKA_PRIVATE_EXPONENT, b, sizeof b);
    say_read("CKA_MODULUS asking", rsa_public, CKA_MODULUS, NULL, 0);
    say_read("CKA_MODULUS", rsa_public, CKA_MODULUS, b, sizeof b);
    say_read("CKA_MODULUS of the private key", rsa, CKA_MODULUS, b, sizeof b);
    say_read("CKA_MODULUS, no room", rsa_public, CKA_MODULUS, b, 255);
    say_read("CKA_EC_POINT", ec_public, CKA_EC_POINT, b, sizeof b);
    say_read("CKA_EC_PARAMS", ec, CKA_EC_PARAMS, b, sizeof b);
    say_read("an attribute that another class has", rsa, CKA_EC_POINT, b, sizeof b);
    say_read("an attribute that there is not", rsa, CKA_VENDOR_DEFINED + 4711, b, sizeof b);
    say_read("CKA_SENSITIVE", token_aes, CKA_SENSITIVE, b, 1);
    say_read("CKA_ALWAYS_AUTHENTICATE", rsa, CKA_ALWAYS_AUTHENTICATE, b, 1);
    say_read("an object that there is not", 4711, CKA_CLASS, b, sizeof b);
    say("four at once", p11->C_GetAttributeValue(session, token_aes, several, 4));
    for (size_t i = 0; i < 4; i++)
        say("of four, length", several[i].ulValueLen);

    say("C_CreateObject of data", p11->C_CreateObject(session, data, 4, &object));
    say("C_CreateObject without a class", p11->C_CreateObject(session, data + 1, 3, &copy));
    say("C_CreateObject(NULL handle)", p11->C_CreateObject(session, data, 4, NULL));
    say("C_GetObjectSize", p11->C_GetObjectSize(session, object, &size));
    say("C_CopyObject", p11->C_CopyObject(session, object, &change, 1, &copy));
    say_read("the copy's label", copy, CKA_LABEL, b, sizeof b);
    say_read("the first one's label", object, CKA_LABEL, b, sizeof b);
    say("C_SetAttributeValue", p11->C_SetAttributeValue(session, object, &change, 1));
    say_read("the changed label", object, CKA_LABEL, b, sizeof b);
    say("C_SetAttributeValue of the class", p11->C_SetAttributeValue(session, object, &class_change, 1));
    say("C_SetAttributeValue: less sensitive", p11->C_SetAttributeValue(session, token_aes, &less, 1));
    say("C_SetAttributeValue: extractable", p11->C_SetAttributeValue(session, token_aes, &more, 1));
    say("C_DestroyObject", p11->C_DestroyObject(session, object));
    say("C_DestroyObject again", p11->C_DestroyObject(session, object));
}

static void finding(void)
{
    CK_OBJECT_HANDLE found[8];
    CK_ATTRIBUTE odd = { CKA_VENDOR_DEFINED + 4711, &yes, 1 }, by_id = { CKA_ID, (void *)"\x02", 1 };
    CK_ULONG count = 99;

    begin("finding");
    say("C_FindObjects before Init", p11->C_FindObjects(session, found, 1, &count));
    say("C_FindObjectsFinal before Init", p11->C_FindObjectsFinal(session));
    say("C_FindObjectsInit(NULL, 1)", p11->C_FindObjectsInit(session, NULL, 1));
    say("C_FindObjectsInit", p11->C_FindObjectsInit(session, &by_id, 1));
    say("C_FindObjectsInit twice", p11->C_FindObjectsInit(session, &by_id, 1));
    say("C_FindObjects(NULL)", p11->C_FindObjects(session, NULL, 1, &count));
    say("C_FindObjects", p11->C_FindObjects(session, found, 1, &count));
    say("the first", count);
    say("C_FindObjects", p11->C_FindObjects(session, found, 8, &count));
    say("the rest", count);
    say("C_FindObjects at the end", p11->C_FindObjects(session, found, 8, &count));
    say("nothing more", count);
    say("C_FindObjectsFinal", p11->C_FindObjectsFinal(session));
    say("C_FindObjectsFinal again", p11->C_FindObjectsFinal(session));
    say("C_FindObjectsInit for an unknown attribute", p11->C_FindObjectsInit(session, &odd, 1));
    say("C_FindObjects", p11->C_FindObjects(session, found, 8, &count));
    say("none", count);
    (void)p11->C_FindObjectsFinal(session);
}

/* ---- operations ---- */

/* One kind of operation, by its functions; those that it has not are NULL. */
struct kind {
    const char *name;
    CK_RV (*init)(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE);
    CK_RV (*once)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*update)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV (*final)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG *);
};

static CK_RV sign_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out;
    *ret_len = 0;
    return p11->C_SignUpdate(s, in, len);
}

static CK_RV digest_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    (void)key;
    return p11->C_DigestInit(s, m);
}

static CK_RV digest_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out;
    *ret_len = 0;
    return p11->C_DigestUpdate(s, in, len);
}

static void moves(const struct kind *k, CK_MECHANISM *m, CK_OBJECT_HANDLE key, CK_ULONG in_len)
{
    CK_BYTE in[256] = { 0 }, out[600];
    CK_ULONG len = sizeof out, all;

    begin(k->name);
    say("once before Init", k->once(session, in, in_len, out, &len));
    say("Update before Init", k->update(session, in, in_len, out, &len));
    say("Final before Init", k->final(session, out, &len));
    say("Init", k->init(session, m, key));
    say("Init twice", k->init(session, m, key));
    len = 0;
    say("once asking", k->once(session, in, in_len, NULL, &len));
    all = len;
    len = all - 1;
    say("once, no room", k->once(session, in, in_len, out, &len));
    say("once, no room, length", len);
    len = sizeof out;
    say("once", k->once(session, in, in_len, out, &len));
    say("once, length", len);
    say("once more", k->once(session, in, in_len, out, &len));
    say("Init", k->init(session, m, key));
    len = sizeof out;
    say("Update", k->update(session, in, in_len, out, &len));
    len = sizeof out;
    say("once after Update", k->once(session, in, in_len, out, &len));
    len = sizeof out;
    (void)k->final(session, out, &len);
    (void)k->init(session, m, key);
    say("once(NULL length)", k->once(session, in, in_len, out, NULL));
    len = sizeof out;
    (void)k->once(session, in, in_len, out, &len);
    (void)k->init(session, m, key);
    len = sizeof out;
    say("Update of nothing", k->update(session, in, 0, out, &len));
    len = sizeof out;
    (void)k->update(session, in, in_len, out, &len);
    len = sizeof out;
    say("Final", k->final(session, out, &len));
    say("Final again", k->final(session, out, &len));
}

static void operations(void)
{
    static CK_BYTE iv[16];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, 16 }, mac = { CKM_SHA256_HMAC, NULL, 0 }, sha = { CKM_SHA256, NULL, 0 };
    CK_MECHANISM rsa_hash = { CKM_SHA256_RSA_PKCS, NULL, 0 };
    const struct kind encrypt = { "encrypt", p11->C_EncryptInit, p11->C_Encrypt, p11->C_EncryptUpdate, p11->C_EncryptFinal };
    const struct kind mac_kind = { "mac", p11->C_SignInit, p11->C_Sign, sign_update, p11->C_SignFinal };
    const struct kind sign = { "sign", p11->C_SignInit, p11->C_Sign, sign_update, p11->C_SignFinal };
    const struct kind digest = { "digest", digest_init, p11->C_Digest, digest_update, p11->C_DigestFinal };

    moves(&encrypt, &cbc, aes, 100);
    moves(&mac_kind, &mac, hmac, 100);
    moves(&sign, &rsa_hash, rsa, 100);
    moves(&digest, &sha, 0, 100);
}

static void wrong_inits(void)
{
    static CK_BYTE iv[16];
    CK_MECHANISM cbc = { CKM_AES_CBC, iv, 16 }, short_iv = { CKM_AES_CBC, iv, 15 }, no_iv = { CKM_AES_CBC, NULL, 0 };
    CK_MECHANISM rsa_pkcs = { CKM_RSA_PKCS, NULL, 0 }, unknown = { CKM_VENDOR_DEFINED + 4711, NULL, 0 }, sha = { CKM_SHA256, NULL, 0 };
    CK_MECHANISM oaep = { CKM_RSA_PKCS_OAEP, NULL, 0 };

    begin("wrong Init");
    say("a short IV", p11->C_EncryptInit(session, &short_iv, aes));
    say("no IV", p11->C_EncryptInit(session, &no_iv, aes));
    say("no OAEP parameters", p11->C_DecryptInit(session, &oaep, rsa));
    say("a mechanism that there is not", p11->C_EncryptInit(session, &unknown, aes));
    say("a mechanism of another kind", p11->C_EncryptInit(session, &sha, aes));
    say("a key of another type", p11->C_EncryptInit(session, &cbc, rsa_public));
    say("a key of another class", p11->C_SignInit(session, &rsa_pkcs, rsa_public));
    say("a key that there is not", p11->C_SignInit(session, &rsa_pkcs, 4711));
    say("a public key that decrypts", p11->C_DecryptInit(session, &rsa_pkcs, rsa_public));
    say("still usable", p11->C_SignInit(session, &rsa_pkcs, rsa));
    CK_BYTE out[300];
    CK_ULONG len = sizeof out;
    say("data too long", p11->C_Sign(session, out, 300, out, &len));
    say("which ended it", p11->C_Sign(session, out, 10, out, &len));
}

/* ---- mechanisms ---- */

static void say_sum(const char *name, const CK_BYTE *bytes, CK_ULONG len)
{
    CK_ULONG sum = len;

    for (CK_ULONG i = 0; i < len; i++)
        sum = sum * 31 % 1000003 + bytes[i];
    say(name, sum);
}

/* There and back, at once and in two parts, and the bytes themselves where they are the same every time. */
static void try_cipher(const char *name, CK_MECHANISM *m, CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE from, CK_ULONG in_len, bool fixed)
{
    CK_BYTE in[256], out[600], back[600];
    CK_ULONG len = sizeof out, back_len = sizeof back, part = sizeof out, rest;

    begin(name);
    memset(in, 'x', sizeof in);
    say("C_EncryptInit", p11->C_EncryptInit(session, m, to));
    say("C_Encrypt", p11->C_Encrypt(session, in, in_len, out, &len));
    say("length", len);
    if (fixed)
        say_sum("bytes", out, len);
    say("C_DecryptInit", p11->C_DecryptInit(session, m, from));
    say("C_Decrypt", p11->C_Decrypt(session, out, len, back, &back_len));
    say("the same", back_len == in_len && memcmp(in, back, in_len) == 0);
    back_len = sizeof back;
    say("C_DecryptInit", p11->C_DecryptInit(session, m, from));
    say("C_Decrypt of too little", p11->C_Decrypt(session, out, len - 1, back, &back_len));
    if (!fixed)
        return;
    say("C_EncryptInit", p11->C_EncryptInit(session, m, to));
    say("C_EncryptUpdate", p11->C_EncryptUpdate(session, in, 20, out, &part));
    rest = sizeof out - part;
    say("C_EncryptUpdate", p11->C_EncryptUpdate(session, in + 20, in_len - 20, out + part, &rest));
    part += rest;
    rest = sizeof out - part;
    say("C_EncryptFinal", p11->C_EncryptFinal(session, out + part, &rest));
    say_sum("bytes in parts", out, part + rest);
}

static void ciphers(void)
{
    static CK_BYTE iv[16] = "initial vector.";
    CK_AES_CTR_PARAMS ctr = { .ulCounterBits = 128 };
    CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .pAAD = iv, .ulAADLen = 5, .ulTagBits = 128 };
    CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0 };
    const struct { const char *name; CK_MECHANISM m; bool is_rsa; CK_ULONG len; } rows[] = {
        { "AES-ECB",      { CKM_AES_ECB, NULL, 0 },                 false, 48 },
        { "AES-CBC",      { CKM_AES_CBC, iv, 16 },                  false, 48 },
        { "AES-CBC-PAD",  { CKM_AES_CBC_PAD, iv, 16 },              false, 50 },
        { "AES-CTR",      { CKM_AES_CTR, &ctr, sizeof ctr },        false, 50 },
        { "AES-GCM",      { CKM_AES_GCM, &gcm, sizeof gcm },        false, 50 },
        { "RSA-PKCS",     { CKM_RSA_PKCS, NULL, 0 },                true,  50 },
        { "RSA-OAEP",     { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep }, true,  50 },
        { "RSA-X.509",    { CKM_RSA_X_509, NULL, 0 },               true,  256 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CK_MECHANISM m = rows[i].m;
        try_cipher(rows[i].name, &m, rows[i].is_rsa ? rsa_public : aes, rows[i].is_rsa ? rsa : aes, rows[i].len, !rows[i].is_rsa);
    }
}

/* With a key whose policy names it. */
static void electronic_codebook(void)
{
    CK_MECHANISM m = { CKM_AES_ECB, NULL, 0 };

    try_cipher("AES-ECB where it is named", &m, token_aes, token_aes, 48, false);
}

static void try_signature(const char *name, CK_MECHANISM *m, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public, CK_ULONG in_len, bool parts)
{
    CK_BYTE in[256], out[600];
    CK_ULONG len = sizeof out;

    begin(name);
    memset(in, 'x', sizeof in);
    say("C_SignInit", p11->C_SignInit(session, m, private));
    say("C_Sign", p11->C_Sign(session, in, in_len, out, &len));
    say("length", len);
    say("C_VerifyInit", p11->C_VerifyInit(session, m, public));
    say("C_Verify", p11->C_Verify(session, in, in_len, out, len));
    say("C_VerifyInit", p11->C_VerifyInit(session, m, public));
    say("C_Verify of too short a signature", p11->C_Verify(session, in, in_len, out, len - 1));
    in[0] ^= 1;
    say("C_VerifyInit", p11->C_VerifyInit(session, m, public));
    say("C_Verify of something else", p11->C_Verify(session, in, in_len, out, len));
    in[0] ^= 1;
    if (!parts)
        return;
    say("C_VerifyInit", p11->C_VerifyInit(session, m, public));
    say("C_VerifyUpdate", p11->C_VerifyUpdate(session, in, 10));
    say("C_VerifyUpdate", p11->C_VerifyUpdate(session, in + 10, in_len - 10));
    say("C_VerifyFinal", p11->C_VerifyFinal(session, out, len));
}

static void signatures(void)
{
    static CK_RSA_PKCS_PSS_PARAMS pss = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
    const struct { const char *name; CK_MECHANISM m; CK_OBJECT_HANDLE private, public; CK_ULONG len; bool parts; } rows[] = {
        { "sign RSA-PKCS",        { CKM_RSA_PKCS, NULL, 0 },                     rsa, rsa_public, 50,  false },
        { "sign RSA-X.509",       { CKM_RSA_X_509, NULL, 0 },                    rsa, rsa_public, 255, false },
        { "sign SHA1-RSA-PKCS",   { CKM_SHA1_RSA_PKCS, NULL, 0 },                rsa, rsa_public, 50,  true },
        { "sign SHA256-RSA-PKCS", { CKM_SHA256_RSA_PKCS, NULL, 0 },              rsa, rsa_public, 50,  true },
        { "sign SHA512-RSA-PKCS", { CKM_SHA512_RSA_PKCS, NULL, 0 },              rsa, rsa_public, 50,  true },
        { "sign RSA-PSS",         { CKM_RSA_PKCS_PSS, &pss, sizeof pss },        rsa, rsa_public, 32,  false },
        { "sign SHA256-RSA-PSS",  { CKM_SHA256_RSA_PKCS_PSS, &pss, sizeof pss }, rsa, rsa_public, 50,  true },
        { "sign ECDSA",           { CKM_ECDSA, NULL, 0 },                        ec,  ec_public,  32,  false },
        { "sign SHA1-HMAC",       { CKM_SHA_1_HMAC, NULL, 0 },                   hmac, hmac,      50,  true },
        { "sign SHA256-HMAC",     { CKM_SHA256_HMAC, NULL, 0 },                  hmac, hmac,      50,  true },
        { "sign SHA512-HMAC",     { CKM_SHA512_HMAC, NULL, 0 },                  hmac, hmac,      50,  true },
        { "sign AES-CMAC",        { CKM_AES_CMAC, NULL, 0 },                     aes,  aes,       50,  true },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CK_MECHANISM m = rows[i].m;
        try_signature(rows[i].name, &m, rows[i].private, rows[i].public, rows[i].len, rows[i].parts);
    }
}

static void digests(void)
{
    static const CK_MECHANISM_TYPE types[] = { CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512 };
    CK_BYTE out[64];

    begin("digests");
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        CK_MECHANISM m = { types[i], NULL, 0 };
        CK_ULONG len = sizeof out;
        say("C_DigestInit", p11->C_DigestInit(session, &m));
        say("C_Digest", p11->C_Digest(session, (CK_BYTE *)"abc", 3, out, &len));
        say_sum("bytes", out, len);
    }
}

/* ---- the two programs ---- */

static int observe(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;

    if (get == NULL || get(&p11) != CKR_OK) {
        fprintf(stderr, "%s is no module\n", module);
        return 1;
    }
    call_all("before C_Initialize", 1, 0);
    general();
    call_all("without a session or slot", 4711, 4711);
    mechanisms();
    sessions();
    keys();
    attributes();
    finding();
    operations();
    wrong_inits();
    ciphers();
    electronic_codebook();
    signatures();
    digests();
    begin("end");
    say("C_Finalize", p11->C_Finalize(NULL));
    say("C_Finalize again", p11->C_Finalize(NULL));
    call_all("after C_Finalize", session, slot);
    return 0;
}

static bool is_known(const char *name, long theirs, long ours, bool *used)
{
    for (size_t i = 0; i < ARRAY_LEN(differences); i++)
        if (fnmatch(differences[i].name, name, 0) == 0 && (differences[i].theirs == ANY || differences[i].theirs == theirs)
            && (differences[i].ours == ANY || differences[i].ours == ours)) {
            used[i] = true;
            return true;
        }
    return false;
}

static int compare(const char *reference, const char *ours)
{
    static bool used[ARRAY_LEN(differences)];
    FILE *files[2] = { fopen(reference, "r"), fopen(ours, "r") };
    char name[2][128];
    long value[2], cases = 0, known = 0, wrong = 0;

    if (files[0] == NULL || files[1] == NULL)
        return 2;
    while (fscanf(files[0], "%127[^\t]\t%ld\n", name[0], &value[0]) == 2) {
        if (fscanf(files[1], "%127[^\t]\t%ld\n", name[1], &value[1]) != 2 || strcmp(name[0], name[1]) != 0) {
            fprintf(stderr, "the cases are not the same: %s\n", name[0]);
            return 1;
        }
        cases++;
        if (value[0] == value[1])
            continue;
        if (is_known(name[0], value[0], value[1], used))
            known++;
        else if (++wrong)
            printf("WRONG: %s: SoftHSM 0x%lx, ours 0x%lx\n", name[0], value[0], value[1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(differences); i++)
        if (!used[i] && ++wrong)
            printf("WRONG: no such difference any more: %s\n", differences[i].name);
    printf("%ld cases, %ld known differences for %zu reasons\n", cases, known, ARRAY_LEN(differences));
    return wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--compare") == 0)
        return compare(argv[2], argv[3]);
    if (argc != 3)
        return 2;
    pin = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
    return observe(argv[1]);
}
