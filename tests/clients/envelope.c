/* The example of bailiwick_pkcs11.h, which the script puts into example.inc as it stands there, and its other direction.
 *
 * envelope <module> encrypt|decrypt <value of the pair> < in > out; a failure says its CKR_ and ulDeviceError */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bailiwick_pkcs11.h"

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_BYTE  data[1 << 16], envelope[1 << 16];
static CK_ULONG data_len, envelope_len = sizeof envelope;

static void must(CK_RV rv, const char *what)
{
    CK_SESSION_INFO info = { 0 };

    if (rv == CKR_OK)
        return;
    (void)p11->C_GetSessionInfo(session, &info);
    fprintf(stderr, "%s: CKR 0x%lx, ulDeviceError %lu%s\n", what, rv, info.ulDeviceError, info.ulDeviceError == BAILIWICK_WRONG_REGION ? ", WRONG_REGION" : "");
    exit(1);
}

static CK_OBJECT_HANDLE find(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, "aes", 3 } };
    CK_OBJECT_HANDLE key = 0;
    CK_ULONG count = 0;

    must(p11->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    must(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    must(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    return key;
}

/* As an application has them that is linked with a module. */
#define C_EncryptInit(...) must(p11->C_EncryptInit(__VA_ARGS__), "C_EncryptInit")
#define C_Encrypt(...)     must(p11->C_Encrypt(__VA_ARGS__), "C_Encrypt")

static void example(CK_OBJECT_HANDLE key)
{
#include "example.inc"
}

static void decrypt(CK_OBJECT_HANDLE key, const char *value)
{
    CK_BAILIWICK_PAIR pair = { (CK_UTF8CHAR *)"file", 4, (CK_UTF8CHAR *)value, strlen(value) };
    CK_BAILIWICK_ENVELOPE_PARAMS params = { &pair, 1 };
    CK_MECHANISM mechanism = { CKM_BAILIWICK_ENVELOPE, &params, sizeof params };

    must(p11->C_DecryptInit(session, &mechanism, key), "C_DecryptInit");
    must(p11->C_Decrypt(session, data, data_len, envelope, &envelope_len), "C_Decrypt");
}

int main(int argc, char **argv)
{
    void *handle = argc == 4 ? dlopen(argv[1], RTLD_NOW) : NULL;
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
    CK_SLOT_ID slot;
    CK_ULONG one = 1;

    if (get == NULL || get(&p11) != CKR_OK)
        return 2;
    must(p11->C_Initialize(NULL), "C_Initialize");
    must(p11->C_GetSlotList(CK_TRUE, &slot, &one), "C_GetSlotList");
    must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    data_len = fread(data, 1, sizeof data, stdin);
    if (strcmp(argv[2], "encrypt") == 0)
        example(find());
    else
        decrypt(find(), argv[3]);
    fwrite(envelope, 1, envelope_len, stdout);
    return 0;
}
