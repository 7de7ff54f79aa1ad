/* The module, its slots and sessions; objects: made, read, changed, copied, found and destroyed, and every attribute of every kind. */
#include <dlfcn.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "openssl.h"

/* ---- the module, slots ---- */

void general(void)
{
    CK_C_INITIALIZE_ARGS odd = { .CreateMutex = (CK_CREATEMUTEX)1 };
    CK_ULONG none = 0, few;
    CK_SLOT_ID slots[4];
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token;
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
    few = 4;
    say("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &few));
    slot = slots[0];
    say("C_GetSlotInfo(NULL)", p11->C_GetSlotInfo(slot, NULL));
    say("C_GetSlotInfo", p11->C_GetSlotInfo(slot, &slot_info));
    say("the token is present", (slot_info.flags & CKF_TOKEN_PRESENT) != 0);
    say("C_GetTokenInfo(NULL)", p11->C_GetTokenInfo(slot, NULL));
    say("C_GetTokenInfo", p11->C_GetTokenInfo(slot, &token));
    say("the token is ready", (token.flags & (CKF_TOKEN_INITIALIZED | CKF_RNG)) == (CKF_TOKEN_INITIALIZED | CKF_RNG));
    say("labels are padded with blanks", token.label[31] == ' ' && memchr(token.label, 0, 32) == NULL);
    say("sessions without limit", token.ulMaxSessionCount);
}

void interfaces(void *module)
{
    CK_C_GetInterfaceList list = (CK_C_GetInterfaceList)dlsym(module, "C_GetInterfaceList");
    CK_C_GetInterface get = (CK_C_GetInterface)dlsym(module, "C_GetInterface");
    CK_INTERFACE all[4], *one;
    CK_VERSION v3 = { 3, 0 }, v2 = { 2, 40 }, v9 = { 9, 9 };
    CK_ULONG count = 0, few = 1;

    if (!begin_ours("interfaces"))
        return;
    OK("C_GetInterfaceList asking", list(NULL, &count));
    expect("there are two", count, 2);
    expect("C_GetInterfaceList, no room", list(all, &few), CKR_BUFFER_TOO_SMALL);
    OK("C_GetInterfaceList", list(all, &count));
    expect("C_GetInterfaceList(NULL count)", list(all, NULL), CKR_ARGUMENTS_BAD);
    OK("C_GetInterface of any", get(NULL, NULL, &one, 0));
    expect("which is 3.0", ((CK_VERSION *)one->pFunctionList)->major, 3);
    OK("C_GetInterface of 3.0", get((CK_UTF8CHAR *)"PKCS 11", &v3, &one, 0));
    OK("C_GetInterface of 2.40", get((CK_UTF8CHAR *)"PKCS 11", &v2, &one, 0));
    expect("which is 2.40", ((CK_VERSION *)one->pFunctionList)->minor, 40);
    expect("C_GetInterface of 9.9", get((CK_UTF8CHAR *)"PKCS 11", &v9, &one, 0), CKR_FUNCTION_FAILED);
    expect("C_GetInterface of another name", get((CK_UTF8CHAR *)"Vendor", NULL, &one, 0), CKR_FUNCTION_FAILED);
    expect("C_GetInterface(NULL)", get(NULL, NULL, NULL, 0), CKR_ARGUMENTS_BAD);
    OK("C_GetFunctionList", ((CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList"))(&(CK_FUNCTION_LIST *){ NULL }));
    for (size_t i = 0; i < (sizeof *p11 - sizeof p11->version) / sizeof(void *); i++) {
        void *function;
        memcpy(&function, (const char *)p11 + offsetof(CK_FUNCTION_LIST_3_0, C_Initialize) + i * sizeof function, sizeof function);
        expect("a function is there", function != NULL, true);
    }
}

void mechanism_list(void)
{
    CK_MECHANISM_TYPE one;
    CK_MECHANISM_INFO info;
    CK_ULONG room = 1;

    begin("mechanisms");
    say("C_GetMechanismList, room for one", p11->C_GetMechanismList(slot, &one, &room));
    say("C_GetMechanismList(NULL count)", p11->C_GetMechanismList(slot, NULL, NULL));
    say("C_GetMechanismList asking", p11->C_GetMechanismList(slot, NULL, &room));
    say("C_GetMechanismInfo of none", p11->C_GetMechanismInfo(slot, CKM_VENDOR_DEFINED + 4711, &info));
    say("C_GetMechanismInfo(NULL)", p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS, NULL));
    say("C_GetMechanismInfo", p11->C_GetMechanismInfo(slot, CKM_RSA_PKCS, &info));
    say("RSA signs and decrypts", (info.flags & (CKF_SIGN | CKF_DECRYPT)) == (CKF_SIGN | CKF_DECRYPT));
}

/* ---- sessions ---- */

static void say_state(const char *name, CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info = { .state = 99 };

    (void)p11->C_GetSessionInfo(s, &info);
    say(name, info.state);
}

static CK_RV login(CK_SESSION_HANDLE s)
{
    return p11->C_Login(s, CKU_USER, (CK_BYTE *)pin, pin ? strlen(pin) : 0);
}

void sessions(void)
{
    CK_SESSION_HANDLE ro, rw;
    CK_SESSION_INFO info;
    CK_BYTE wrong[] = "wrong";

    begin("sessions");
    say("C_OpenSession, not serial", p11->C_OpenSession(slot, CKF_RW_SESSION, NULL, NULL, &rw));
    say("C_OpenSession(NULL handle)", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, NULL));
    say("C_OpenSession, read-only", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &ro));
    say("C_GetSessionInfo", p11->C_GetSessionInfo(ro, &info));
    say("C_GetSessionInfo(NULL)", p11->C_GetSessionInfo(ro, NULL));
    say_state("read-only, public", ro);
    say("C_Login of nobody", p11->C_Login(ro, 4711, wrong, 5));
    say("C_Login for a key, before an operation", p11->C_Login(ro, CKU_CONTEXT_SPECIFIC, wrong, 5));
    say("C_Logout before C_Login", p11->C_Logout(ro));
    say("C_OpenSession, read-write", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &rw));
    say_state("read-write, public", rw);
    say("C_Login as SO beside a read-only session", p11->C_Login(rw, CKU_SO, wrong, 5));
    say("C_Login with a wrong PIN", p11->C_Login(rw, CKU_USER, wrong, 5));
    (void)p11->C_Logout(rw);
    say("C_Login", login(rw));
    say("C_Login again", login(rw));
    say("C_Login as SO then", p11->C_Login(rw, CKU_SO, wrong, 5));
    say_state("read-write, user", rw);
    say_state("read-only, user", ro);
    say("C_Logout", p11->C_Logout(ro));
    say_state("read-write, public again", rw);
    say("C_Login", login(rw));
    say("C_CloseSession", p11->C_CloseSession(ro));
    say("C_CloseSession again", p11->C_CloseSession(ro));
    say("C_CloseAllSessions", p11->C_CloseAllSessions(slot));
    say("C_CloseSession after that", p11->C_CloseSession(rw));
    say("C_OpenSession after that", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    say_state("the last session has logged out", session);
    if (begin_ours("C_LoginUser")) {
        OK("C_LoginUser", p11->C_LoginUser(session, CKU_USER, NULL, 0, (CK_UTF8CHAR *)"me", 2));
        expect("C_LoginUser again", p11->C_LoginUser(session, CKU_USER, NULL, 0, (CK_UTF8CHAR *)"me", 2), CKR_USER_ALREADY_LOGGED_IN);
        expect("C_LoginUser without a name of that length", p11->C_LoginUser(session, CKU_USER, NULL, 0, NULL, 2), CKR_ARGUMENTS_BAD);
        OK("C_Logout", p11->C_Logout(session));
    }
    begin("sessions, the rest");
    say("C_Login", login(session));
    say("C_GetFunctionStatus", p11->C_GetFunctionStatus(session));
    say("C_CancelFunction", p11->C_CancelFunction(session));
}

void randomness(void)
{
    CK_BYTE random[64] = { 0 };

    begin("random");
    say("C_GenerateRandom", p11->C_GenerateRandom(session, random, sizeof random));
    say("C_GenerateRandom(NULL)", p11->C_GenerateRandom(session, NULL, 1));
    say("C_GenerateRandom of nothing", p11->C_GenerateRandom(session, random, 0));
    say("C_SeedRandom", p11->C_SeedRandom(session, random, sizeof random));
}

/* ---- objects ---- */

static void say_read(const char *name, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG room)
{
    CK_ATTRIBUTE a = { type, value, room };
    char line[96];

    say(name, p11->C_GetAttributeValue(session, object, &a, 1));
    snprintf(line, sizeof line, "%s, length", name);
    say(line, a.ulValueLen);
}

static void reading(void)
{
    CK_OBJECT_HANDLE token_aes = find_key(CKO_SECRET_KEY, "aes"), rsa = find_key(CKO_PRIVATE_KEY, "rsa"), rsa_public = find_key(CKO_PUBLIC_KEY, "rsa");
    CK_OBJECT_HANDLE ec = find_key(CKO_PRIVATE_KEY, "ec"), ec_public = find_key(CKO_PUBLIC_KEY, "ec");
    CK_BYTE b[600], odd[1 + sizeof(CK_ATTRIBUTE)];
    CK_ATTRIBUTE several[] = { { CKA_VALUE, b, sizeof b }, { CKA_LABEL, b + 64, 64 }, { CKA_MODULUS, b, sizeof b }, { CKA_KEY_TYPE, b + 128, 1 } };
    CK_ATTRIBUTE less = { CKA_SENSITIVE, &no, 1 }, more = { CKA_EXTRACTABLE, &yes, 1 };

    begin("reading");
    say_read("CKA_VALUE of a master key", token_aes, CKA_VALUE, b, sizeof b);
    say_read("CKA_PRIVATE_EXPONENT", rsa, CKA_PRIVATE_EXPONENT, b, sizeof b);
    say_read("CKA_MODULUS asking", rsa_public, CKA_MODULUS, NULL, 0);
    say_read("CKA_MODULUS", rsa_public, CKA_MODULUS, b, sizeof b);
    say("it begins with a bit that is set", b[0] >> 7);
    say_read("CKA_MODULUS of the private key", rsa, CKA_MODULUS, b, sizeof b);
    say_read("CKA_MODULUS, no room", rsa_public, CKA_MODULUS, b, 255);
    say_read("CKA_EC_POINT", ec_public, CKA_EC_POINT, b, sizeof b);
    say("it is an OCTET STRING", b[0]);
    say_read("CKA_EC_PARAMS", ec, CKA_EC_PARAMS, b, sizeof b);
    say_read("an attribute that another class has", rsa, CKA_EC_POINT, b, sizeof b);
    say_read("an attribute that there is not", rsa, CKA_VENDOR_DEFINED + 4711, b, sizeof b);
    say_read("an object that there is not", 4711, CKA_CLASS, b, sizeof b);
    say("four at once", p11->C_GetAttributeValue(session, token_aes, several, 4));
    for (size_t i = 0; i < 4; i++)
        say("of four, length", several[i].ulValueLen);
    say("C_GetAttributeValue(NULL template)", p11->C_GetAttributeValue(session, rsa, NULL, 1));
    say("C_SetAttributeValue: less sensitive", p11->C_SetAttributeValue(session, token_aes, &less, 1));
    say("C_SetAttributeValue: extractable", p11->C_SetAttributeValue(session, token_aes, &more, 1));
    if (begin_ours("an unaligned template")) {
        CK_ATTRIBUTE label = { CKA_LABEL, b, sizeof b };
        memcpy(odd + 1, &label, sizeof label);
        OK("C_GetAttributeValue", p11->C_GetAttributeValue(session, rsa, (CK_ATTRIBUTE *)(void *)(odd + 1), 1));
    }
}

static void making(void)
{
    CK_BYTE b[64];
    CK_OBJECT_CLASS class = CKO_DATA, other = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE data[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)"d", 1 }, { CKA_VALUE, (void *)"value", 5 }, { CKA_TOKEN, &no, 1 } };
    CK_ATTRIBUTE change = { CKA_LABEL, (void *)"new", 3 }, class_change = { CKA_CLASS, &other, sizeof other };
    CK_ATTRIBUTE fixed = { CKA_COPYABLE, &no, 1 }, loose = { CKA_COPYABLE, &yes, 1 };
    CK_ATTRIBUTE no_value = { CKA_LABEL, NULL, 3 }, long_bool = { CKA_COPYABLE, b, 2 };
    CK_OBJECT_HANDLE object = 0, copy = 0;
    CK_ULONG size;

    begin("objects");
    say("C_CreateObject of data", p11->C_CreateObject(session, data, 4, &object));
    say("C_CreateObject without a class", p11->C_CreateObject(session, data + 1, 3, &copy));
    say("C_CreateObject(NULL handle)", p11->C_CreateObject(session, data, 4, NULL));
    say("C_CreateObject(NULL template)", p11->C_CreateObject(session, NULL, 4, &copy));
    say("C_SetAttributeValue: not to be copied", p11->C_SetAttributeValue(session, object, &fixed, 1));
    say("C_SetAttributeValue: to be copied again", p11->C_SetAttributeValue(session, object, &loose, 1));
    say("C_CopyObject of what is not to be copied", p11->C_CopyObject(session, object, &change, 1, &copy));
    say("C_DestroyObject", p11->C_DestroyObject(session, object));
    say("C_CreateObject of data", p11->C_CreateObject(session, data, 4, &object));
    say("C_GetObjectSize", p11->C_GetObjectSize(session, object, &size));
    say("C_GetObjectSize(NULL)", p11->C_GetObjectSize(session, object, NULL));
    say("C_CopyObject", p11->C_CopyObject(session, object, &change, 1, &copy));
    say("C_CopyObject without changes", p11->C_CopyObject(session, object, NULL, 0, &copy));
    say("C_CopyObject(NULL handle)", p11->C_CopyObject(session, object, &change, 1, NULL));
    say("C_CopyObject of nothing", p11->C_CopyObject(session, 4711, &change, 1, &copy));
    say("C_CopyObject to another class", p11->C_CopyObject(session, object, &class_change, 1, &copy));
    say("C_CopyObject", p11->C_CopyObject(session, object, &change, 1, &copy));
    say_read("the copy's label", copy, CKA_LABEL, b, sizeof b);
    say_read("the first one's label", object, CKA_LABEL, b, sizeof b);
    say("C_SetAttributeValue", p11->C_SetAttributeValue(session, object, &change, 1));
    say_read("the changed label", object, CKA_LABEL, b, sizeof b);
    say("C_SetAttributeValue of the class", p11->C_SetAttributeValue(session, object, &class_change, 1));
    say("C_SetAttributeValue(NULL value)", p11->C_SetAttributeValue(session, object, &no_value, 1));
    say("C_SetAttributeValue: a long boolean", p11->C_SetAttributeValue(session, object, &long_bool, 1));
    say("C_DestroyObject", p11->C_DestroyObject(session, object));
    say("C_DestroyObject again", p11->C_DestroyObject(session, object));
    say_read("an object that is gone", object, CKA_LABEL, b, sizeof b);
}

static void secrecy(void)
{
    CK_BYTE b[64];
    struct bytes value = filled(32), digest = ossl_digest("SHA256", &value), got = { .len = sizeof got.data };
    CK_OBJECT_HANDLE open = secret_key(CKK_GENERIC_SECRET, value.data, 32), shut = 0, never = find_key(CKO_SECRET_KEY, "aes");
    CK_ATTRIBUTE sensitive = { CKA_SENSITIVE, &yes, 1 }, not_sensitive = { CKA_SENSITIVE, &no, 1 }, fixed = { CKA_EXTRACTABLE, &no, 1 }, loose = { CKA_EXTRACTABLE, &yes, 1 };
    CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };

    begin("secrecy");
    say_read("CKA_VALUE of a key that is not sensitive", open, CKA_VALUE, b, sizeof b);
    say("the value", memcmp(b, value.data, 32) == 0);
    say("C_DigestInit", p11->C_DigestInit(session, &sha));
    say("C_DigestKey", p11->C_DigestKey(session, open));
    say("C_DigestKey of a sensitive key", p11->C_DigestKey(session, never));
    say("C_DigestFinal", p11->C_DigestFinal(session, got.data, &got.len));
    say("the digest of the value", same(&got, &digest));
    say("C_CopyObject, sensitive", p11->C_CopyObject(session, open, &sensitive, 1, &shut));
    say_read("CKA_VALUE of that copy", shut, CKA_VALUE, b, sizeof b);
    say("C_SetAttributeValue: not sensitive again", p11->C_SetAttributeValue(session, shut, &not_sensitive, 1));
    say("C_CopyObject, not sensitive again", p11->C_CopyObject(session, shut, &not_sensitive, 1, &(CK_OBJECT_HANDLE){ 0 }));
    say("C_SetAttributeValue: not extractable", p11->C_SetAttributeValue(session, shut, &fixed, 1));
    say("C_SetAttributeValue: extractable again", p11->C_SetAttributeValue(session, shut, &loose, 1));
    say("C_SetAttributeValue: sensitive", p11->C_SetAttributeValue(session, open, &sensitive, 1));
    say_read("CKA_VALUE then", open, CKA_VALUE, b, sizeof b);
}

static CK_ULONG count_of(CK_ATTRIBUTE *template, CK_ULONG attributes, CK_OBJECT_HANDLE *ret_first)
{
    CK_OBJECT_HANDLE found[4];
    CK_ULONG count = 0;

    (void)p11->C_FindObjectsInit(session, template, attributes);
    (void)p11->C_FindObjects(session, found, 4, &count);
    (void)p11->C_FindObjectsFinal(session);
    if (count > 0)
        *ret_first = found[0];
    return count;
}

static CK_ULONG trust_of(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG level = 0;
    CK_ATTRIBUTE a = { type, &level, sizeof level };

    (void)p11->C_GetAttributeValue(session, object, &a, 1);
    return level;
}

static void every_level(CK_OBJECT_HANDLE object)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_TRUST_SERVER_AUTH, CKA_TRUST_CLIENT_AUTH, CKA_TRUST_CODE_SIGNING, CKA_TRUST_EMAIL_PROTECTION };
    static const CK_ULONG levels[] = { CKT_NSS_TRUSTED, CKT_NSS_TRUSTED_DELEGATOR, CKT_NSS_VALID_DELEGATOR, CKT_NSS_MUST_VERIFY_TRUST, CKT_NSS_NOT_TRUSTED };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (size_t k = 0; k < ARRAY_LEN(levels); k++) {
            CK_ULONG level = levels[k];
            OK("C_SetAttributeValue of a level", p11->C_SetAttributeValue(session, object, &(CK_ATTRIBUTE){ types[i], &level, sizeof level }, 1));
            expect("the level", trust_of(object, types[i]), level);
        }
}

/* What a certificate is trusted for, as NSS stores it, on the token: one object for each certificate. SoftHSM has none. */
static void trust(void)
{
    CK_OBJECT_CLASS class = CKO_NSS_TRUST;
    CK_ULONG delegator = CKT_NSS_TRUSTED_DELEGATOR, never = CKT_NSS_NOT_TRUSTED, nonsense = 1;
    struct bytes hash = filled(20);
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_TOKEN, &yes, 1 }, { CKA_ISSUER, (void *)"0\x00", 2 }, { CKA_SERIAL_NUMBER, (void *)"\x02\x01\x07", 3 },
        { CKA_CERT_SHA1_HASH, hash.data, 20 }, { CKA_TRUST_SERVER_AUTH, &delegator, sizeof delegator }, { CKA_TRUST_STEP_UP_APPROVED, &no, 1 },
    };
    CK_ATTRIBUTE change = { CKA_TRUST_CLIENT_AUTH, &never, sizeof never }, wrong = { CKA_TRUST_CLIENT_AUTH, &nonsense, sizeof nonsense };
    CK_ATTRIBUTE other = { CKA_SERIAL_NUMBER, (void *)"\x02\x01\x08", 3 }, short_hash = { CKA_CERT_SHA1_HASH, hash.data, 19 };
    CK_OBJECT_HANDLE object = 0, again = 0, found = 0;

    if (!begin_ours("trust"))
        return;
    expect("C_CreateObject without a serial number", p11->C_CreateObject(session, t, 3, &object), CKR_TEMPLATE_INCOMPLETE);
    expect("C_CreateObject with half a hash", p11->C_CreateObject(session, (CK_ATTRIBUTE[]){ t[0], t[1], t[2], t[3], short_hash }, 5, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    expect("C_CreateObject with a level that there is not", p11->C_CreateObject(session, (CK_ATTRIBUTE[]){ t[0], t[1], t[2], t[3], wrong }, 5, &object), CKR_ATTRIBUTE_VALUE_INVALID);
    OK("C_CreateObject", p11->C_CreateObject(session, t, ARRAY_LEN(t), &object));
    expect("found by issuer and serial number", count_of(t, 4, &found), 1);
    expect("which is that object", found, object);
    expect("CKA_TRUST_SERVER_AUTH", trust_of(object, CKA_TRUST_SERVER_AUTH), CKT_NSS_TRUSTED_DELEGATOR);
    expect("CKA_TRUST_CLIENT_AUTH, not said", trust_of(object, CKA_TRUST_CLIENT_AUTH), CKT_NSS_TRUST_UNKNOWN);
    OK("C_SetAttributeValue", p11->C_SetAttributeValue(session, object, &change, 1));
    expect("CKA_TRUST_CLIENT_AUTH", trust_of(object, CKA_TRUST_CLIENT_AUTH), CKT_NSS_NOT_TRUSTED);
    expect("C_SetAttributeValue of a level that there is not", p11->C_SetAttributeValue(session, object, &wrong, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    expect("C_SetAttributeValue of the serial number", p11->C_SetAttributeValue(session, object, &other, 1), CKR_ATTRIBUTE_READ_ONLY);
    every_level(object);
    OK("C_CreateObject for the same certificate", p11->C_CreateObject(session, t, ARRAY_LEN(t), &again));
    expect("is in the place of the first", again, object);
    expect("and says all that is said", trust_of(object, CKA_TRUST_CLIENT_AUTH), CKT_NSS_TRUST_UNKNOWN);
    OK("C_DestroyObject", p11->C_DestroyObject(session, object));
    expect("found then", count_of(t, 4, &found), 0);
    t[1].pValue = &no;
    OK("C_CreateObject for the session", p11->C_CreateObject(session, t, ARRAY_LEN(t), &object));
    OK("C_SetAttributeValue there", p11->C_SetAttributeValue(session, object, &change, 1));
    OK("C_CopyObject", p11->C_CopyObject(session, object, &change, 1, &again));
    OK("C_DestroyObject of the copy", p11->C_DestroyObject(session, again));
    OK("C_DestroyObject there", p11->C_DestroyObject(session, object));
}

void objects(void)
{
    reading();
    making();
    trust();
    secrecy();
}

void finding(void)
{
    CK_OBJECT_HANDLE found[8];
    CK_ATTRIBUTE odd = { CKA_VENDOR_DEFINED + 4711, &yes, 1 }, by_id = { CKA_ID, (void *)"\x02", 1 };
    CK_OBJECT_CLASS profile = CKO_PROFILE, feature = CKO_HW_FEATURE, mechanism = CKO_MECHANISM;
    CK_OBJECT_CLASS *none[] = { &feature, &mechanism };
    CK_ULONG count;

    begin("finding");
    say("C_FindObjects before Init", p11->C_FindObjects(session, found, 8, &count));
    say("C_FindObjectsFinal before Init", p11->C_FindObjectsFinal(session));
    say("C_FindObjectsInit(NULL template)", p11->C_FindObjectsInit(session, NULL, 1));
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
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        CK_ATTRIBUTE by_class = { CKA_CLASS, none[i], sizeof *none[i] };
        say("C_FindObjectsInit for a class that there is none of", p11->C_FindObjectsInit(session, &by_class, 1));
        say("C_FindObjects", p11->C_FindObjects(session, found, 8, &count));
        say("none of that class", count);
        (void)p11->C_FindObjectsFinal(session);
    }
    if (begin_ours("finding profiles")) {
        CK_ATTRIBUTE by_class = { CKA_CLASS, &profile, sizeof profile };
        OK("C_FindObjectsInit", p11->C_FindObjectsInit(session, &by_class, 1));
        OK("C_FindObjects", p11->C_FindObjects(session, found, 8, &count));
        expect("the token says what it is", count, 2);
        OK("C_FindObjectsFinal", p11->C_FindObjectsFinal(session));
    }
}

/* ---- every attribute ---- */

enum kind_of_value { BOOL, ULONG, BYTES, TEXT, DATE, MECHANISMS, TRUST, HIDDEN };
static const struct { CK_ATTRIBUTE_TYPE type; const char *name; enum kind_of_value kind; } attributes[] = {
#define BW_ATTRIBUTE(attribute, kind, objects, given, unset) { attribute, #attribute, kind },
#include "attributes.def"
#undef BW_ATTRIBUTE
};

static CK_OBJECT_CLASS data_class = CKO_DATA, certificate_class = CKO_CERTIFICATE, public_class = CKO_PUBLIC_KEY, secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE rsa_type = CKK_RSA, ec_type = CKK_EC, aes_type = CKK_AES;
static CK_CERTIFICATE_TYPE x509 = CKC_X_509;

/* What an application makes for its session. */
struct template { const char *name; CK_ATTRIBUTE attributes[8]; CK_ULONG count; };

static struct bytes certificate(void)
{
    X509     *x = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_NAME *name = X509_get_subject_name(x);
    struct bytes der;
    unsigned char *at = der.data;

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"conformance", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_sign(x, key, EVP_sha256());
    der.len = (CK_ULONG)i2d_X509(x, &at);
    X509_free(x);
    EVP_PKEY_free(key);
    return der;
}

static void read_every_attribute(const char *what, CK_OBJECT_HANDLE object)
{
    CK_BYTE b[2000];

    begin("%s, read", what);
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        CK_ATTRIBUTE a = { attributes[i].type, b, sizeof b };
        say(attributes[i].name, p11->C_GetAttributeValue(session, object, &a, 1));
    }
}

/* A value that suits the kind of attribute. */
static CK_ATTRIBUTE some_value(size_t i)
{
    static CK_ULONG one = 1, trusted = CKT_NSS_TRUSTED;
    static CK_DATE date = { "2030", "01", "02" };
    static CK_MECHANISM_TYPE mechanism = CKM_AES_GCM;

    switch (attributes[i].kind) {
    case BOOL:       return (CK_ATTRIBUTE){ attributes[i].type, &yes, 1 };
    case ULONG:      return (CK_ATTRIBUTE){ attributes[i].type, &one, sizeof one };
    case TRUST:      return (CK_ATTRIBUTE){ attributes[i].type, &trusted, sizeof trusted };
    case DATE:       return (CK_ATTRIBUTE){ attributes[i].type, &date, sizeof date };
    case MECHANISMS: return (CK_ATTRIBUTE){ attributes[i].type, &mechanism, sizeof mechanism };
    default:         return (CK_ATTRIBUTE){ attributes[i].type, (void *)"sixteen bytes...", 16 };
    }
}

static bool is_in(const struct template *t, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < t->count; i++)
        if (t->attributes[i].type == type)
            return true;
    return false;
}

static void give_every_attribute(const struct template *t)
{
    begin("%s, made with", t->name);
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        struct template with = *t;
        CK_OBJECT_HANDLE object = 0;

        if (is_in(t, attributes[i].type))
            continue;
        with.attributes[with.count++] = some_value(i);
        say(attributes[i].name, p11->C_CreateObject(session, with.attributes, with.count, &object));
        (void)p11->C_DestroyObject(session, object);
    }
}

static void change_every_attribute(const struct template *t)
{
    begin("%s, changed", t->name);
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        CK_ATTRIBUTE a = some_value(i);
        CK_OBJECT_HANDLE object = 0;

        (void)p11->C_CreateObject(session, (CK_ATTRIBUTE *)t->attributes, t->count, &object);
        say(attributes[i].name, p11->C_SetAttributeValue(session, object, &a, 1));
        (void)p11->C_DestroyObject(session, object);
    }
}

static void copy_with_every_attribute(const struct template *t)
{
    begin("%s, copied with", t->name);
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        CK_ATTRIBUTE a = some_value(i);
        CK_OBJECT_HANDLE object = 0, copy = 0;

        if (a.type == CKA_TOKEN)
            continue; /* a session object on the token: elsewhere */
        (void)p11->C_CreateObject(session, (CK_ATTRIBUTE *)t->attributes, t->count, &object);
        say(attributes[i].name, p11->C_CopyObject(session, object, &a, 1, &copy));
        (void)p11->C_DestroyObject(session, copy);
        (void)p11->C_DestroyObject(session, object);
    }
}

static void generate_with_every_attribute(void)
{
    CK_MECHANISM m = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ULONG len = 32;

    begin("a generated key, made with");
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        CK_ATTRIBUTE t[] = { { CKA_TOKEN, &no, 1 }, { CKA_VALUE_LEN, &len, sizeof len }, some_value(i) };
        CK_OBJECT_HANDLE key = 0;

        if (t[2].type == CKA_TOKEN || t[2].type == CKA_VALUE_LEN || t[2].type == CKA_CLASS || t[2].type == CKA_KEY_TYPE)
            continue;
        say(attributes[i].name, p11->C_GenerateKey(session, &m, t, 3, &key));
        (void)p11->C_DestroyObject(session, key);
    }
}

static void leave_out_every_attribute(const struct template *t)
{
    begin("%s, made without", t->name);
    for (CK_ULONG out = 0; out < t->count; out++) {
        struct template without = *t;
        CK_OBJECT_HANDLE object = 0;
        char name[32];

        memmove(&without.attributes[out], &without.attributes[out + 1], (t->count - out - 1) * sizeof without.attributes[0]);
        snprintf(name, sizeof name, "0x%lx", t->attributes[out].type);
        say(name, p11->C_CreateObject(session, without.attributes, without.count - 1, &object));
        (void)p11->C_DestroyObject(session, object);
    }
}

static void every_attribute_of(const struct template *t)
{
    CK_OBJECT_HANDLE object = 0;

    begin("%s, made", t->name);
    OK("C_CreateObject", p11->C_CreateObject(session, (CK_ATTRIBUTE *)t->attributes, t->count, &object));
    read_every_attribute(t->name, object);
    (void)p11->C_DestroyObject(session, object);
    give_every_attribute(t);
    leave_out_every_attribute(t);
    change_every_attribute(t);
    copy_with_every_attribute(t);
}

void every_attribute(void)
{
    struct bytes der = certificate(), modulus = filled(256), value = filled(32);
    static CK_BYTE p256_oid[] = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    CK_BYTE point[67];
    CK_ATTRIBUTE read_point = { CKA_EC_POINT, point, sizeof point };

    modulus.data[0] |= 0x80;
    modulus.data[255] |= 1;
    (void)p11->C_GetAttributeValue(session, find_key(CKO_PUBLIC_KEY, "ec"), &read_point, 1);
    const struct template templates[] = {
        { "data", { { CKA_CLASS, &data_class, sizeof data_class }, { CKA_TOKEN, &no, 1 }, { CKA_VALUE, (void *)"value", 5 } }, 3 },
        { "a certificate", { { CKA_CLASS, &certificate_class, sizeof certificate_class }, { CKA_TOKEN, &no, 1 }, { CKA_CERTIFICATE_TYPE, &x509, sizeof x509 },
            { CKA_SUBJECT, (void *)"0\x16\x31\x14\x30\x12\x06\x03U\x04\x03\x0c\x0b" "conformance", 24 }, { CKA_VALUE, der.data, der.len } }, 5 },
        { "an RSA public key", { { CKA_CLASS, &public_class, sizeof public_class }, { CKA_TOKEN, &no, 1 }, { CKA_KEY_TYPE, &rsa_type, sizeof rsa_type },
            { CKA_MODULUS, modulus.data, modulus.len }, { CKA_PUBLIC_EXPONENT, (void *)"\x01\x00\x01", 3 } }, 5 },
        { "an EC public key", { { CKA_CLASS, &public_class, sizeof public_class }, { CKA_TOKEN, &no, 1 }, { CKA_KEY_TYPE, &ec_type, sizeof ec_type },
            { CKA_EC_PARAMS, p256_oid, 10 }, { CKA_EC_POINT, point, sizeof point } }, 5 },
        { "a secret key", { { CKA_CLASS, &secret_class, sizeof secret_class }, { CKA_TOKEN, &no, 1 }, { CKA_KEY_TYPE, &aes_type, sizeof aes_type },
            { CKA_VALUE, value.data, value.len } }, 4 },
    };

    for (size_t i = 0; i < ARRAY_LEN(templates); i++)
        every_attribute_of(&templates[i]);
    generate_with_every_attribute();
    read_every_attribute("a token's AES key", find_key(CKO_SECRET_KEY, "aes"));
    read_every_attribute("a token's RSA private key", find_key(CKO_PRIVATE_KEY, "rsa"));
    read_every_attribute("a token's RSA public key", find_key(CKO_PUBLIC_KEY, "rsa"));
    read_every_attribute("a token's EC private key", find_key(CKO_PRIVATE_KEY, "ec"));
    read_every_attribute("a token's EC public key", find_key(CKO_PUBLIC_KEY, "ec"));
}
