/* An application that knows PKCS#11 and nothing of us: what pkcs11-tool cannot be asked for. AES-GCM, checked against AES-CTR, which has
 * the same key stream; data keys that are made, wrapped by AES-KEY-WRAP-PAD and unwrapped; one of them used.
 *
 * pkcs11_app <module> [<pin>]      with a key labelled "aes" on the first token */
#include <dlfcn.h>
#include "bailiwick/pkcs11.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;

static void must(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "WRONG: %s: 0x%lx\n", what, rv);
    exit(1);
}

static void check(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "WRONG: %s\n", what);
        exit(1);
    }
    printf("ok: %s\n", what);
}

static void start(const char *module, const char *pin)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_SLOT_ID slots[8];
    CK_ULONG   count = 8;
    void *handle = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;

    if (get == NULL) {
        fprintf(stderr, "WRONG: %s\n", dlerror());
        exit(1);
    }
    must(get(&p11), "C_GetFunctionList");
    must(p11->C_Initialize(&args), "C_Initialize");
    must(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    check(count > 0, "there is a token");
    must(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
    if (pin != NULL)
        must(p11->C_Login(session, CKU_USER, (CK_BYTE *)pin, strlen(pin)), "C_Login");
}

static CK_OBJECT_HANDLE find_aes(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, "aes", 3 } };
    CK_OBJECT_HANDLE key;
    CK_ULONG count = 0;

    must(p11->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    must(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    must(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    check(count == 1, "the key is found by its label");
    return key;
}

static CK_ULONG encrypt(CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG room)
{
    must(p11->C_EncryptInit(session, mechanism, key), "C_EncryptInit");
    must(p11->C_Encrypt(session, (CK_BYTE *)data, len, out, &room), "C_Encrypt");
    return room;
}

static void try_gcm(CK_OBJECT_HANDLE key)
{
    CK_BYTE iv[12] = "twelve bytes", aad[] = "header", text[] = "a text of some length, to be kept secret";
    CK_BYTE sealed[128], stream[128], opened[128];
    CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = sizeof iv, .ulIvBits = 96, .pAAD = aad, .ulAADLen = sizeof aad, .ulTagBits = 128 };
    CK_AES_CTR_PARAMS ctr = { .ulCounterBits = 32 };
    CK_MECHANISM by_gcm = { CKM_AES_GCM, &gcm, sizeof gcm }, by_ctr = { CKM_AES_CTR, &ctr, sizeof ctr };
    CK_ULONG len = encrypt(&by_gcm, key, text, sizeof text, sealed, sizeof sealed), opened_len = sizeof opened;

    memcpy(ctr.cb, iv, sizeof iv);
    ctr.cb[15] = 2; /* SP 800-38D, 7.1: the first block of text is the second of the counter */
    (void)encrypt(&by_ctr, key, text, sizeof text, stream, sizeof stream);
    check(len == sizeof text + 16 && memcmp(sealed, stream, sizeof text) == 0, "AES-GCM has the key stream that AES-CTR has");
    must(p11->C_DecryptInit(session, &by_gcm, key), "C_DecryptInit");
    must(p11->C_Decrypt(session, sealed, len, opened, &opened_len), "C_Decrypt");
    check(opened_len == sizeof text && memcmp(opened, text, sizeof text) == 0, "AES-GCM decrypts");
    sealed[3] ^= 1;
    must(p11->C_DecryptInit(session, &by_gcm, key), "C_DecryptInit");
    opened_len = sizeof opened;
    check(p11->C_Decrypt(session, sealed, len, opened, &opened_len) != CKR_OK, "AES-GCM refuses what was changed");
}

static void try_data_keys(CK_OBJECT_HANDLE kek)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG size = 32, len = 0, wrapped_len = 0;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE made[] = { { CKA_TOKEN, &no, 1 }, { CKA_VALUE_LEN, &size, sizeof size }, { CKA_EXTRACTABLE, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 }, { CKA_ENCRYPT, &yes, 1 } };
    CK_ATTRIBUTE unwrapped[] = { { CKA_TOKEN, &no, 1 }, { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_ENCRYPT, &yes, 1 }, { CKA_DECRYPT, &yes, 1 } };
    CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 }, wrap = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    CK_BYTE iv[16] = { 7 }, wrapped[128], one[64], two[64];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv };
    CK_OBJECT_HANDLE key, again;

    must(p11->C_GenerateKey(session, &generate, made, 5, &key), "C_GenerateKey");
    must(p11->C_WrapKey(session, &wrap, kek, key, NULL, &wrapped_len), "C_WrapKey, asking for the length");
    must(p11->C_WrapKey(session, &wrap, kek, key, wrapped, &wrapped_len), "C_WrapKey");
    check(wrapped_len == 40, "AES-KEY-WRAP-PAD makes 40 bytes of 32");
    must(p11->C_UnwrapKey(session, &wrap, kek, wrapped, wrapped_len, unwrapped, 5, &again), "C_UnwrapKey");
    len = encrypt(&cbc, key, iv, 16, one, sizeof one);
    (void)encrypt(&cbc, again, iv, 16, two, sizeof two);
    check(memcmp(one, two, len) == 0, "the unwrapped data key is the one that was wrapped");
    wrapped[0] ^= 1;
    check(p11->C_UnwrapKey(session, &wrap, kek, wrapped, wrapped_len, unwrapped, 5, &again) != CKR_OK, "a damaged one does not unwrap");
    must(p11->C_DestroyObject(session, key), "C_DestroyObject");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    start(argv[1], argc > 2 ? argv[2] : NULL);
    CK_OBJECT_HANDLE aes = find_aes();
    try_gcm(aes);
    try_data_keys(aes);
    must(p11->C_Finalize(NULL), "C_Finalize");
    return 0;
}
