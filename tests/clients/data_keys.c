/* An application that keeps its data under data keys, and these under a master key: it unwraps each and decrypts with it.
 *
 * data_keys <module> <master key's label> <wrapped key> <iv> <ciphertext> <times>
 *
 * The data key is wrapped by RSA-OAEP with SHA-256. It is unwrapped <times> times and decrypts twice each time; between the
 * two a line is read from stdin, so that whoever tests it may restart what is behind the module. The plaintext goes to stdout. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/pkcs11.h"

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;

struct bytes { CK_BYTE data[1 << 16]; CK_ULONG len; };

static void must(bool right, const char *what, CK_RV rv)
{
    if (right)
        return;
    fprintf(stderr, "WRONG: %s: 0x%lx\n", what, rv);
    exit(1);
}

#define MUST(call) do { CK_RV rv_ = (call); must(rv_ == CKR_OK, #call, rv_); } while (0)

static void read_file(const char *path, struct bytes *ret_bytes)
{
    FILE *file = fopen(path, "rb");

    must(file != NULL, path, 0);
    ret_bytes->len = fread(ret_bytes->data, 1, sizeof ret_bytes->data, file);
    fclose(file);
}

static void start(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
    CK_SLOT_ID slot;
    CK_ULONG count = 1;

    must(get != NULL, module, 0);
    MUST(get(&p11));
    MUST(p11->C_Initialize(NULL));
    MUST(p11->C_GetSlotList(CK_TRUE, &slot, &count));
    MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
}

static CK_OBJECT_HANDLE find(const char *label)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = { { CKA_UNWRAP, &yes, 1 }, { CKA_LABEL, (void *)label, strlen(label) } };
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count;

    MUST(p11->C_FindObjectsInit(session, template, 2));
    MUST(p11->C_FindObjects(session, &key, 1, &count));
    MUST(p11->C_FindObjectsFinal(session));
    must(count == 1, "the master key is not found", 0);
    return key;
}

static CK_OBJECT_HANDLE unwrap(CK_OBJECT_HANDLE master, struct bytes *wrapped)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0 };
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep };
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_DECRYPT, &yes, 1 },
    };
    CK_OBJECT_HANDLE key;

    MUST(p11->C_UnwrapKey(session, &mechanism, master, wrapped->data, wrapped->len, template, 4, &key));
    return key;
}

static void decrypt(CK_OBJECT_HANDLE key, struct bytes *iv, struct bytes *cipher, struct bytes *ret_plain)
{
    CK_MECHANISM mechanism = { CKM_AES_CBC_PAD, iv->data, iv->len };

    ret_plain->len = sizeof ret_plain->data;
    MUST(p11->C_DecryptInit(session, &mechanism, key));
    MUST(p11->C_Decrypt(session, cipher->data, cipher->len, ret_plain->data, &ret_plain->len));
}

static void must_be_sealed(CK_OBJECT_HANDLE key)
{
    CK_BYTE value[64];
    CK_ATTRIBUTE attribute = { CKA_VALUE, value, sizeof value };
    CK_RV rv = p11->C_GetAttributeValue(session, key, &attribute, 1);

    must(rv == CKR_ATTRIBUTE_SENSITIVE && attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION, "the data key's value can be read", rv);
}

int main(int argc, char **argv)
{
    static struct bytes wrapped, iv, cipher, plain, again;
    char line[16];

    if (argc != 7)
        return 2;
    start(argv[1]);
    read_file(argv[3], &wrapped);
    read_file(argv[4], &iv);
    read_file(argv[5], &cipher);
    CK_OBJECT_HANDLE master = find(argv[2]);

    for (int i = 0; i < atoi(argv[6]); i++) {
        CK_OBJECT_HANDLE key = unwrap(master, &wrapped);
        must_be_sealed(key);
        decrypt(key, &iv, &cipher, &plain);
        fprintf(stderr, "decrypted\n");
        if (fgets(line, sizeof line, stdin) == NULL)
            line[0] = '\0';
        decrypt(key, &iv, &cipher, &again);
        must(again.len == plain.len && memcmp(again.data, plain.data, plain.len) == 0, "the second decryption differs", 0);
        MUST(p11->C_DestroyObject(session, key));
    }
    fwrite(plain.data, 1, plain.len, stdout);
    MUST(p11->C_Finalize(NULL));
    return 0;
}
