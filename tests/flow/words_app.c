/* An application that knows PKCS#11 and nothing of us. Loads a module, initialises it, opens a session once, and then does
 * what each line of standard input says, without ever initialising again:
 *
 *     words_app MODULE < words
 *
 * For each it prints a line when it is done: the word, threads and descriptors of the process. Ends with 1 at the first
 * C_ function that fails. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/pkcs11.h"

static CK_FUNCTION_LIST *module;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE  key;
static CK_BYTE           plain[] = "what the application has", cipher[256], iv[12];
static CK_ULONG          cipher_len;

static CK_RV told(const char *function, CK_RV rv)
{
    if (rv != CKR_OK)
        (void)fprintf(stderr, "%s: 0x%lx\n", function, rv);
    return rv;
}
#define TRY(function, ...) do { if (told(#function, module->function(__VA_ARGS__)) != CKR_OK) return false; } while (0)

static CK_MECHANISM gcm(void)
{
    static CK_GCM_PARAMS params;

    params = (CK_GCM_PARAMS){ .pIv = iv, .ulIvLen = sizeof iv, .ulIvBits = 96, .ulTagBits = 128 };
    return (CK_MECHANISM){ CKM_AES_GCM, &params, sizeof params };
}

static bool draw(void)
{
    TRY(C_GenerateRandom, session, iv, sizeof iv);
    return true;
}

static bool find(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class } };
    CK_ULONG count;

    TRY(C_FindObjectsInit, session, template, 1);
    TRY(C_FindObjects, session, &key, 1, &count);
    TRY(C_FindObjectsFinal, session);
    return count == 1;
}

static bool encrypt_init(void)
{
    CK_MECHANISM mechanism = gcm();

    TRY(C_EncryptInit, session, &mechanism, key);
    return true;
}

static bool encrypt_size(void)
{
    TRY(C_Encrypt, session, plain, sizeof plain, NULL, &cipher_len);
    return cipher_len >= sizeof plain + 16;
}

static bool encrypt_do(void)
{
    cipher_len = sizeof cipher;
    TRY(C_Encrypt, session, plain, sizeof plain, cipher, &cipher_len);
    return true;
}

static bool decrypt_init(void)
{
    CK_MECHANISM mechanism = gcm();

    TRY(C_DecryptInit, session, &mechanism, key);
    return true;
}

static bool decrypt_size(void)
{
    CK_ULONG len;

    TRY(C_Decrypt, session, cipher, cipher_len, NULL, &len);
    return len >= sizeof plain;
}

static bool decrypt_do(void)
{
    CK_BYTE  opened[sizeof cipher];
    CK_ULONG len = sizeof opened;

    TRY(C_Decrypt, session, cipher, cipher_len, opened, &len);
    return len == sizeof plain && memcmp(opened, plain, len) == 0;
}

static const struct { const char *word; bool (*run)(void); } words[] = {
    { "random",       draw         },
    { "find",         find         },
    { "encrypt-init", encrypt_init },
    { "encrypt-size", encrypt_size },
    { "encrypt",      encrypt_do   },
    { "decrypt-init", decrypt_init },
    { "decrypt-size", decrypt_size },
    { "decrypt",      decrypt_do   },
};

static bool run(const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].run();
    (void)fprintf(stderr, "no such word: %s\n", word);
    return false;
}

/* what opendir itself holds open, and . and .. */
static int entries_of(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;

    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        (void)closedir(dir);
    return count - 2;
}

static bool start(const char *path)
{
    CK_SLOT_ID slot;
    CK_ULONG   count = 1;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*list)(CK_FUNCTION_LIST **);

    if (library == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    *(void **)&list = dlsym(library, "C_GetFunctionList");
    if (list == NULL || list(&module) != CKR_OK)
        return false;
    TRY(C_Initialize, NULL);
    TRY(C_GetSlotList, CK_TRUE, &slot, &count);
    TRY(C_OpenSession, slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
    return true;
}

int main(int argc, char **argv)
{
    char word[32];

    if (argc != 2 || !start(argv[1]))
        return 1;
    while (scanf("%31s", word) == 1) {
        if (!run(word))
            return 1;
        (void)printf("%s %d %d\n", word, entries_of("/proc/self/task"), entries_of("/proc/self/fd") - 1);
        (void)fflush(stdout);
    }
    return told("C_Finalize", module->C_Finalize(NULL)) == CKR_OK ? 0 : 1;
}
