/* Every function of Cryptoki, and how often each asks the region.
 *
 * rpc_calls <module>
 *
 * Says on stderr before each call what is expected of it: "# C_Encrypt: Encrypt". The module, whose configuration has trace = yes,
 * then tells there what it does, and the script compares. All is done twice: the first time some have to ask what they know
 * the second time. What is in this table is a promise: PROTOCOL.md and README speak of one RPC for each use of a key. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bailiwick/bytes.h"
#include "host.h"

static const CK_RV ANY = (CK_RV)-1; /* whatever it returns */

static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA, secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE aes_type = CKK_AES;
static CK_ULONG aes_len = 32;
static CK_BYTE bytes[4096], out[4096], iv[16];
static CK_ULONG len;
static CK_OBJECT_HANDLE aes, rsa, rsa_public, ec, ec_public, found[64], object;

static void step(const char *function, const char *rpcs)
{
    fprintf(stderr, "# %s: %s\n", function, rpcs);
    len = sizeof out;
}

/* rv, the RPCs that it makes, the function, its arguments */
#define STEP(rv, rpcs, function, ...) do { \
        step(#function, rpcs); \
        CK_RV rv_ = p11_3->function(__VA_ARGS__); \
        host_must((rv) == ANY || rv_ == (rv), #function, rv_); \
    } while (0)
#define NONE ""

#define MECHANISM(type)                  (&(CK_MECHANISM){ (type), NULL, 0 })
#define MECHANISM_WITH(type, parameter)  (&(CK_MECHANISM){ (type), &(parameter), sizeof (parameter) })
#define VALUE(type, variable)            { (type), &(variable), sizeof (variable) }
#define TEXT(type, text)                 { (type), (void *)(uintptr_t)(text), sizeof (text) - 1 }
#define TEMPLATE(...)                    (CK_ATTRIBUTE[]){ __VA_ARGS__ }, sizeof (CK_ATTRIBUTE[]){ __VA_ARGS__ } / sizeof(CK_ATTRIBUTE)

static void before_initialize(void)
{
    CK_FUNCTION_LIST *list;
    CK_INTERFACE *interface;
    CK_ULONG count = 0;

    STEP(CKR_OK, NONE, C_GetFunctionList, &list);
    STEP(CKR_OK, NONE, C_GetInterfaceList, NULL, &count);
    STEP(CKR_OK, NONE, C_GetInterface, NULL, NULL, &interface, 0);
    STEP(CKR_OK, NONE, C_Initialize, NULL);
}

static void slots_and_sessions(void)
{
    CK_INFO info;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token_info;
    CK_SESSION_INFO session_info;
    CK_MECHANISM_INFO mechanism_info;
    CK_ULONG count = 1;
    CK_SLOT_ID event;

    STEP(CKR_OK, NONE, C_GetInfo, &info);
    STEP(CKR_OK, NONE, C_GetSlotList, CK_TRUE, &slot, &count);
    STEP(CKR_OK, NONE, C_GetSlotInfo, slot, &slot_info);
    STEP(CKR_OK, NONE, C_GetTokenInfo, slot, &token_info);
    STEP(CKR_OK, NONE, C_GetMechanismList, slot, NULL, &count);
    STEP(CKR_OK, NONE, C_GetMechanismInfo, slot, CKM_AES_GCM, &mechanism_info);
    STEP(CKR_NO_EVENT, NONE, C_WaitForSlotEvent, CKF_DONT_BLOCK, &event, NULL);
    STEP(CKR_FUNCTION_NOT_SUPPORTED, NONE, C_InitToken, slot, NULL, 0, bytes);
    STEP(CKR_OK, NONE, C_OpenSession, slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
    STEP(CKR_FUNCTION_NOT_SUPPORTED, NONE, C_InitPIN, session, NULL, 0);
    STEP(CKR_FUNCTION_NOT_SUPPORTED, NONE, C_SetPIN, session, NULL, 0, NULL, 0);
    STEP(CKR_OK, NONE, C_GetSessionInfo, session, &session_info);
    STEP(CKR_OK, NONE, C_Login, session, CKU_USER, NULL, 0);
    STEP(CKR_OK, NONE, C_Logout, session);
    STEP(CKR_OK, NONE, C_LoginUser, session, CKU_USER, NULL, 0, NULL, 0);
    STEP(CKR_FUNCTION_NOT_PARALLEL, NONE, C_GetFunctionStatus, session);
    STEP(CKR_FUNCTION_NOT_PARALLEL, NONE, C_CancelFunction, session);
    STEP(CKR_OK, NONE, C_SessionCancel, session, CKF_FIND_OBJECTS);
    STEP(ANY, NONE, C_GetOperationState, session, out, &len);
    STEP(ANY, NONE, C_SetOperationState, session, bytes, 1, 0, 0);
}

static CK_OBJECT_HANDLE of_class(CK_OBJECT_CLASS class, const char *label, CK_ULONG count)
{
    CK_OBJECT_CLASS its_class;
    char its_label[16];
    CK_ATTRIBUTE template[] = { VALUE(CKA_CLASS, its_class), { CKA_LABEL, its_label, sizeof its_label } };

    for (CK_ULONG i = 0; i < count; i++) {
        template[1].ulValueLen = sizeof its_label;
        if (p11->C_GetAttributeValue(session, found[i], template, 2) == CKR_OK && its_class == class &&
            template[1].ulValueLen == strlen(label) && memcmp(its_label, label, strlen(label)) == 0)
            return found[i];
    }
    host_must(false, label, count);
    return 0;
}

/* One list serves all finds of the next seconds; what is not in it is asked for. */
static void finding(bool first)
{
    CK_ULONG count;
    CK_ATTRIBUTE label = { CKA_LABEL, out, sizeof out };

    STEP(CKR_OK, first ? "ListKeys ListObjects Describe" : NONE, C_FindObjectsInit, session, NULL, 0);
    STEP(CKR_OK, NONE, C_FindObjects, session, found, ARRAY_LEN(found), &count);
    STEP(CKR_OK, NONE, C_FindObjectsFinal, session);
    aes        = of_class(CKO_SECRET_KEY, "aes", count);
    rsa        = of_class(CKO_PRIVATE_KEY, "rsa", count);
    rsa_public = of_class(CKO_PUBLIC_KEY, "rsa", count);
    ec         = of_class(CKO_PRIVATE_KEY, "ec", count);
    ec_public  = of_class(CKO_PUBLIC_KEY, "ec", count);
    STEP(CKR_OK, NONE, C_GetAttributeValue, session, aes, &label, 1);
    STEP(CKR_OK, NONE, C_GetObjectSize, session, aes, &len);
}

static void objects(void)
{
    STEP(CKR_OK, NONE, C_CreateObject, session, TEMPLATE(VALUE(CKA_CLASS, data_class), TEXT(CKA_VALUE, "of the session")), &object);
    STEP(CKR_OK, NONE, C_CopyObject, session, object, TEMPLATE(TEXT(CKA_LABEL, "copy")), &object);
    STEP(CKR_OK, NONE, C_SetAttributeValue, session, object, TEMPLATE(TEXT(CKA_LABEL, "renamed")));
    STEP(CKR_OK, NONE, C_DestroyObject, session, object);
    STEP(CKR_OK, "PutObject", C_CreateObject, session, TEMPLATE(VALUE(CKA_CLASS, data_class), VALUE(CKA_TOKEN, yes), TEXT(CKA_VALUE, "of the token")), &object);
    STEP(CKR_OK, "DeleteObject", C_DestroyObject, session, object);
    STEP(CKR_OK, "ImportSessionKey", C_CreateObject, session, TEMPLATE(VALUE(CKA_CLASS, secret_class), VALUE(CKA_KEY_TYPE, aes_type),
         VALUE(CKA_TOKEN, no), VALUE(CKA_ENCRYPT, yes), { CKA_VALUE, bytes, 32 }), &object);
    STEP(CKR_OK, NONE, C_DestroyObject, session, object);
}

static void encrypting(void)
{
    CK_MECHANISM *cbc = MECHANISM_WITH(CKM_AES_CBC_PAD, iv);
    CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128 };
    CK_BYTE cipher[64];
    CK_ULONG cipher_len = sizeof cipher;

    STEP(CKR_OK, NONE, C_EncryptInit, session, cbc, aes);
    STEP(CKR_OK, NONE, C_Encrypt, session, bytes, 20, NULL, &len);
    STEP(CKR_BUFFER_TOO_SMALL, NONE, C_Encrypt, session, bytes, 20, out, &(CK_ULONG){ 1 });
    STEP(CKR_OK, "Encrypt", C_Encrypt, session, bytes, 20, cipher, &cipher_len);
    STEP(CKR_OK, NONE, C_EncryptInit, session, cbc, aes);
    STEP(CKR_OK, "Encrypt", C_EncryptUpdate, session, bytes, 20, out, &len); /* whole blocks go at once */
    STEP(CKR_OK, "Encrypt", C_EncryptFinal, session, out, &len);
    STEP(CKR_OK, NONE, C_EncryptInit, session, MECHANISM_WITH(CKM_AES_GCM, gcm), aes);
    STEP(CKR_OK, NONE, C_EncryptUpdate, session, bytes, 20, out, &len); /* what is authenticated is collected */
    STEP(CKR_OK, "Encrypt", C_EncryptFinal, session, out, &len);
    STEP(CKR_OK, NONE, C_DecryptInit, session, cbc, aes);
    STEP(CKR_OK, NONE, C_Decrypt, session, cipher, cipher_len, NULL, &len);
    STEP(CKR_BUFFER_TOO_SMALL, "Decrypt", C_Decrypt, session, cipher, cipher_len, out, &(CK_ULONG){ 1 });
    STEP(CKR_OK, NONE, C_Decrypt, session, cipher, cipher_len, out, &len); /* it was kept */
    STEP(CKR_OK, NONE, C_DecryptInit, session, cbc, aes);
    STEP(CKR_OK, "Decrypt", C_DecryptUpdate, session, cipher, cipher_len, out, &len);
    STEP(CKR_OK, "Decrypt", C_DecryptFinal, session, out, &len);
    STEP(CKR_OK, NONE, C_EncryptInit, session, MECHANISM(CKM_RSA_PKCS), rsa_public);
    STEP(CKR_OK, NONE, C_Encrypt, session, bytes, 20, out, &len); /* here */
    STEP(CKR_OK, NONE, C_DecryptInit, session, MECHANISM(CKM_RSA_PKCS), rsa);
    memcpy(bytes, out, 256);
    STEP(CKR_OK, "Decrypt", C_Decrypt, session, bytes, 256, out, &len);
}

static void digesting(void)
{
    STEP(CKR_OK, NONE, C_DigestInit, session, MECHANISM(CKM_SHA256));
    STEP(CKR_OK, NONE, C_Digest, session, bytes, 20, out, &len);
    STEP(CKR_OK, NONE, C_DigestInit, session, MECHANISM(CKM_SHA256));
    STEP(CKR_OK, NONE, C_DigestUpdate, session, bytes, 20);
    STEP(CKR_OK, NONE, C_DigestFinal, session, out, &len);
    STEP(ANY, NONE, C_DigestKey, session, aes);
    STEP(ANY, NONE, C_DigestEncryptUpdate, session, bytes, 20, out, &len);
    STEP(ANY, NONE, C_DecryptDigestUpdate, session, bytes, 16, out, &len);
    STEP(ANY, NONE, C_SignEncryptUpdate, session, bytes, 20, out, &len);
    STEP(ANY, NONE, C_DecryptVerifyUpdate, session, bytes, 16, out, &len);
}

static void signing(void)
{
    CK_BYTE signature[256];
    CK_ULONG signature_len = sizeof signature;

    STEP(CKR_OK, NONE, C_SignInit, session, MECHANISM(CKM_ECDSA_SHA256), ec);
    STEP(CKR_OK, NONE, C_Sign, session, bytes, 20, NULL, &len);
    STEP(CKR_OK, "Sign", C_Sign, session, bytes, 20, signature, &signature_len);
    STEP(CKR_OK, NONE, C_VerifyInit, session, MECHANISM(CKM_ECDSA_SHA256), ec_public);
    STEP(CKR_OK, NONE, C_Verify, session, bytes, 20, signature, signature_len);
    STEP(CKR_OK, NONE, C_SignInit, session, MECHANISM(CKM_SHA256_RSA_PKCS), rsa);
    STEP(CKR_OK, NONE, C_SignUpdate, session, bytes, 20);
    STEP(CKR_OK, "Sign", C_SignFinal, session, signature, &len);
    STEP(CKR_OK, NONE, C_VerifyInit, session, MECHANISM(CKM_SHA256_RSA_PKCS), rsa_public);
    STEP(CKR_OK, NONE, C_VerifyUpdate, session, bytes, 20);
    STEP(CKR_OK, NONE, C_VerifyFinal, session, signature, 256);
    STEP(CKR_OK, NONE, C_SignRecoverInit, session, MECHANISM(CKM_RSA_PKCS), rsa);
    STEP(CKR_OK, "Sign", C_SignRecover, session, bytes, 20, signature, &len);
    STEP(CKR_OK, NONE, C_VerifyRecoverInit, session, MECHANISM(CKM_RSA_PKCS), rsa_public);
    STEP(CKR_OK, NONE, C_VerifyRecover, session, signature, 256, out, &len);
    STEP(CKR_OK, NONE, C_SignInit, session, MECHANISM(CKM_AES_CMAC), aes);
    STEP(CKR_OK, "Sign", C_Sign, session, bytes, 20, signature, &len);
    STEP(CKR_OK, NONE, C_VerifyInit, session, MECHANISM(CKM_AES_CMAC), aes);
    STEP(CKR_OK, "Verify", C_Verify, session, bytes, 20, signature, 16); /* only the region has the key */
}

static void making_keys(void)
{
    CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 }, peer[67];
    CK_ATTRIBUTE point = { CKA_EC_POINT, peer, sizeof peer };
    CK_ECDH1_DERIVE_PARAMS ecdh = { CKD_NULL, 0, NULL, 65, peer + 2 };
    CK_OBJECT_HANDLE key, private;
    CK_BYTE wrapped[64];
    CK_ULONG wrapped_len = sizeof wrapped;
    CK_ATTRIBUTE secret[] = { VALUE(CKA_CLASS, secret_class), VALUE(CKA_KEY_TYPE, aes_type), VALUE(CKA_VALUE_LEN, aes_len), VALUE(CKA_ENCRYPT, yes) };

    STEP(CKR_OK, "GenerateKey", C_GenerateKey, session, MECHANISM(CKM_AES_KEY_GEN), TEMPLATE(VALUE(CKA_VALUE_LEN, aes_len), VALUE(CKA_EXTRACTABLE, yes)), &key);
    STEP(CKR_OK, NONE, C_WrapKey, session, MECHANISM(CKM_AES_KEY_WRAP_PAD), aes, key, NULL, &len);
    STEP(CKR_OK, "WrapKey", C_WrapKey, session, MECHANISM(CKM_AES_KEY_WRAP_PAD), aes, key, wrapped, &wrapped_len);
    STEP(CKR_OK, "UnwrapKey", C_UnwrapKey, session, MECHANISM(CKM_AES_KEY_WRAP_PAD), aes, wrapped, wrapped_len, TEMPLATE(secret[0], secret[1], secret[3]), &key);
    STEP(CKR_OK, NONE, C_DestroyObject, session, key);
    STEP(CKR_OK, "CreateKey", C_GenerateKey, session, MECHANISM(CKM_AES_KEY_GEN), TEMPLATE(VALUE(CKA_VALUE_LEN, aes_len), VALUE(CKA_TOKEN, yes)), &key);
    STEP(CKR_OK, "UpdateKey", C_SetAttributeValue, session, key, TEMPLATE(TEXT(CKA_LABEL, "renamed")));
    STEP(CKR_OK, "ScheduleDeletion", C_DestroyObject, session, key);
    STEP(CKR_OK, "CreateKey", C_GenerateKeyPair, session, MECHANISM(CKM_EC_KEY_PAIR_GEN), TEMPLATE(VALUE(CKA_EC_PARAMS, p256), VALUE(CKA_TOKEN, yes)),
         TEMPLATE(VALUE(CKA_TOKEN, yes), VALUE(CKA_DERIVE, yes)), &key, &private);
    STEP(CKR_OK, NONE, C_GetAttributeValue, session, key, &point, 1);
    STEP(CKR_OK, "DeriveKey", C_DeriveKey, session, MECHANISM_WITH(CKM_ECDH1_DERIVE, ecdh), private, secret, ARRAY_LEN(secret), &object);
    STEP(CKR_OK, "ScheduleDeletion", C_DestroyObject, session, private);
}

static void drawing(bool first)
{
    STEP(CKR_RANDOM_SEED_NOT_SUPPORTED, NONE, C_SeedRandom, session, bytes, 20);
    STEP(CKR_OK, first ? "Random" : NONE, C_GenerateRandom, session, bytes, 20);
    STEP(CKR_OK, NONE, C_GenerateRandom, session, bytes, 20);
    STEP(CKR_OK, "Random", C_GenerateRandom, session, out, sizeof out); /* more than is kept */
}

static void encrypting_messages(void)
{
    CK_BYTE nonce[12] = { 0 }, tag[16], cipher[32];
    CK_GCM_MESSAGE_PARAMS gcm = { nonce, sizeof nonce, 0, CKG_GENERATE, tag, 128 };
    CK_ULONG cipher_len = sizeof cipher;

    STEP(CKR_OK, NONE, C_MessageEncryptInit, session, MECHANISM(CKM_AES_GCM), aes);
    STEP(CKR_OK, "Encrypt", C_EncryptMessage, session, &gcm, sizeof gcm, NULL, 0, bytes, 20, cipher, &cipher_len);
    STEP(CKR_OK, NONE, C_MessageEncryptFinal, session);
    STEP(CKR_OK, NONE, C_MessageDecryptInit, session, MECHANISM(CKM_AES_GCM), aes);
    gcm.ivGenerator = CKG_NO_GENERATE;
    STEP(CKR_OK, "Decrypt", C_DecryptMessage, session, &gcm, sizeof gcm, NULL, 0, cipher, cipher_len, out, &len);
    STEP(CKR_OK, NONE, C_DecryptMessageBegin, session, &gcm, sizeof gcm, NULL, 0);
    STEP(CKR_OK, "Decrypt", C_DecryptMessageNext, session, &gcm, sizeof gcm, cipher, cipher_len, out, &len, CKF_END_OF_MESSAGE);
    STEP(CKR_OK, NONE, C_MessageDecryptFinal, session);
    gcm.ivGenerator = CKG_GENERATE;
    STEP(CKR_OK, NONE, C_MessageEncryptInit, session, MECHANISM(CKM_AES_GCM), aes);
    STEP(CKR_OK, NONE, C_EncryptMessageBegin, session, &gcm, sizeof gcm, NULL, 0);
    STEP(CKR_OK, "Encrypt", C_EncryptMessageNext, session, &gcm, sizeof gcm, bytes, 20, out, &len, CKF_END_OF_MESSAGE);
    STEP(CKR_OK, NONE, C_MessageEncryptFinal, session);
}

static void signing_messages(void)
{
    CK_BYTE signature[256];
    CK_ULONG signature_len = sizeof signature;

    STEP(CKR_OK, NONE, C_MessageSignInit, session, MECHANISM(CKM_ECDSA_SHA256), ec);
    STEP(CKR_OK, "Sign", C_SignMessage, session, NULL, 0, bytes, 20, signature, &signature_len);
    STEP(CKR_OK, NONE, C_SignMessageBegin, session, NULL, 0);
    STEP(CKR_OK, NONE, C_SignMessageNext, session, NULL, 0, bytes, 20, NULL, NULL);
    STEP(CKR_OK, "Sign", C_SignMessageNext, session, NULL, 0, bytes, 0, out, &len);
    STEP(CKR_OK, NONE, C_MessageSignFinal, session);
    STEP(CKR_OK, NONE, C_MessageVerifyInit, session, MECHANISM(CKM_ECDSA_SHA256), ec_public);
    STEP(CKR_OK, NONE, C_VerifyMessage, session, NULL, 0, bytes, 20, signature, signature_len);
    STEP(CKR_OK, NONE, C_VerifyMessageBegin, session, NULL, 0);
    STEP(CKR_OK, NONE, C_VerifyMessageNext, session, NULL, 0, bytes, 20, signature, signature_len);
    STEP(CKR_OK, NONE, C_MessageVerifyFinal, session);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    host_load(argv[1]);
    before_initialize();
    for (int round = 0; round < 2; round++) {
        slots_and_sessions();
        finding(round == 0);
        objects();
        encrypting();
        digesting();
        signing();
        making_keys();
        drawing(round == 0);
        encrypting_messages();
        signing_messages();
        STEP(CKR_OK, NONE, C_CloseSession, session);
        STEP(CKR_OK, NONE, C_CloseAllSessions, slot);
    }
    STEP(CKR_OK, NONE, C_Finalize, NULL);
    return 0;
}
