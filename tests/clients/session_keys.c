/* Session keys as an application gets them, and what it may know of their values.
 *
 * session_keys <module> unwrap <label> <wrapped>   unwraps an AES key and asks for its value: to stdout, or the CKR_ as text
 * session_keys <module> use <label>                generates one, derives one with the pair of that label, and encrypts with both */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
static CK_KEY_TYPE aes = CKK_AES;
static CK_ULONG len = 32;

#define MUST(call) must(call, #call)

static void must(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "WRONG: %s: 0x%lx\n", what, rv);
    exit(1);
}

static void start(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
    CK_SLOT_ID slot;
    CK_ULONG one = 1;

    must(get ? get(&p11) : CKR_GENERAL_ERROR, module);
    MUST(p11->C_Initialize(NULL));
    MUST(p11->C_GetSlotList(CK_TRUE, &slot, &one));
    MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
}

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)label, strlen(label) } };
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count;

    MUST(p11->C_FindObjectsInit(session, template, 2));
    MUST(p11->C_FindObjects(session, &key, 1, &count));
    MUST(p11->C_FindObjectsFinal(session));
    return key;
}

/* The value, or why it cannot be read. */
static void tell_value(CK_OBJECT_HANDLE key)
{
    CK_BYTE value[64];
    CK_ATTRIBUTE a = { CKA_VALUE, value, sizeof value };
    CK_RV rv = p11->C_GetAttributeValue(session, key, &a, 1);

    if (rv == CKR_OK)
        fwrite(value, 1, a.ulValueLen, stdout);
    else
        printf("0x%lx\n", rv);
}

static void encrypt_with(CK_OBJECT_HANDLE key)
{
    CK_BYTE iv[16] = { 0 }, block[16] = { 0 };
    CK_ULONG block_len = sizeof block;
    CK_MECHANISM m = { CKM_AES_CBC, iv, sizeof iv };

    MUST(p11->C_EncryptInit(session, &m, key));
    MUST(p11->C_Encrypt(session, block, sizeof block, block, &block_len));
}

/* All of them ask for a value that can be read. */
static CK_ATTRIBUTE template[] = {
    { CKA_CLASS, &secret, sizeof secret }, { CKA_KEY_TYPE, &aes, sizeof aes }, { CKA_TOKEN, &no, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_EXTRACTABLE, &yes, 1 },
    { CKA_SENSITIVE, &no, 1 }, { CKA_VALUE_LEN, &len, sizeof len },
};

static void unwrap(const char *label, const char *path)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0 };
    CK_MECHANISM m = { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep };
    CK_BYTE wrapped[512];
    CK_OBJECT_HANDLE key;
    FILE *file = fopen(path, "rb");
    CK_ULONG wrapped_len = file ? fread(wrapped, 1, sizeof wrapped, file) : 0;

    MUST(p11->C_UnwrapKey(session, &m, find(CKO_PRIVATE_KEY, label), wrapped, wrapped_len, template, ARRAY_LEN(template), &key));
    encrypt_with(key);
    tell_value(key);
}

static void use(const char *label)
{
    CK_MECHANISM generator = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_BYTE point[80];
    CK_ATTRIBUTE its_point = { CKA_EC_POINT, point, sizeof point };
    CK_OBJECT_HANDLE made, derived;

    MUST(p11->C_GenerateKey(session, &generator, template, ARRAY_LEN(template), &made));
    encrypt_with(made);
    tell_value(made);
    MUST(p11->C_GetAttributeValue(session, find(CKO_PUBLIC_KEY, label), &its_point, 1));
    CK_ECDH1_DERIVE_PARAMS params = { CKD_NULL, 0, NULL, its_point.ulValueLen, point };
    CK_MECHANISM ecdh = { CKM_ECDH1_DERIVE, &params, sizeof params };
    MUST(p11->C_DeriveKey(session, &ecdh, find(CKO_PRIVATE_KEY, label), template, ARRAY_LEN(template), &derived));
    encrypt_with(derived);
    encrypt_with(derived);
    tell_value(derived);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    start(argv[1]);
    if (argc == 5)
        unwrap(argv[3], argv[4]);
    else
        use(argv[3]);
    MUST(p11->C_Finalize(NULL));
    return 0;
}
