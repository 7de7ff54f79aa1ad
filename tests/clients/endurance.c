/* An application that goes on: it encrypts the same text again and again, whatever the network does, in one session.
 *
 * endurance <module> <key's label> <calls> <deadline in ms>
 *
 * Every answer must be the right ciphertext or CKR_DEVICE_ERROR, and come within the deadline and a tenth of a second; the session must
 * stay. After the first call it waits for a line from stdin; when it is done it prints how many came right and how many did not,
 * and waits for another: the network is well again then, and one more call must succeed. Then 10,000 sessions are opened and
 * closed. Threads and descriptors must be as many at the end as after the first call. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/pkcs11.h"

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_SLOT_ID slot;

static void must(int right, const char *what, CK_RV rv)
{
    if (right)
        return;
    fprintf(stderr, "WRONG: %s: 0x%lx\n", what, rv);
    exit(1);
}

#define MUST(call) do { CK_RV rv_ = (call); must(rv_ == CKR_OK, #call, rv_); } while (0)

static int entries_of(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void start(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList get = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
    CK_ULONG count = 1;

    must(get != NULL, module, 0);
    MUST(get(&p11));
    MUST(p11->C_Initialize(NULL));
    MUST(p11->C_GetSlotList(CK_TRUE, &slot, &count));
    MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
}

static CK_OBJECT_HANDLE find(const char *label)
{
    CK_ATTRIBUTE template = { CKA_LABEL, (void *)label, strlen(label) };
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count = 0;

    MUST(p11->C_FindObjectsInit(session, &template, 1));
    MUST(p11->C_FindObjects(session, &key, 1, &count));
    MUST(p11->C_FindObjectsFinal(session));
    must(count == 1, "the key is not found", 0);
    return key;
}

static CK_RV encrypt(CK_OBJECT_HANDLE key, CK_BYTE *ret_cipher, CK_ULONG *len)
{
    static CK_BYTE iv[16], text[1000];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv };

    MUST(p11->C_EncryptInit(session, &cbc, key));
    return p11->C_Encrypt(session, text, sizeof text, ret_cipher, len);
}

int main(int argc, char **argv)
{
    CK_BYTE first[1100], again[1100];
    CK_ULONG first_len = sizeof first, again_len;
    long good = 0, longest = 0;

    if (argc != 5)
        return 2;
    start(argv[1]);
    CK_OBJECT_HANDLE key = find(argv[2]);
    MUST(encrypt(key, first, &first_len));
    int threads = entries_of("/proc/self/task"), descriptors = entries_of("/proc/self/fd");
    printf("begun\n");
    fflush(stdout);
    must(getchar() != EOF, "stdin", 0);

    for (int i = 0; i < atoi(argv[3]); i++) {
        long began = now_ms();
        again_len = sizeof again;
        CK_RV rv = encrypt(key, again, &again_len);
        long took = now_ms() - began;
        longest = took > longest ? took : longest;
        must(took <= atoi(argv[4]) + 100, "the call took too long (ms)", (CK_RV)took);
        must(rv == CKR_OK || rv == CKR_DEVICE_ERROR, "C_Encrypt", rv);
        must(rv != CKR_OK || (again_len == first_len && memcmp(first, again, first_len) == 0), "another ciphertext", 0);
        good += rv == CKR_OK;
    }
    printf("%ld right, %ld failed, longest %ld ms\n", good, atoi(argv[3]) - good, longest);
    fflush(stdout);
    must(getchar() != EOF, "stdin", 0);
    again_len = sizeof again;
    MUST(encrypt(key, again, &again_len));
    for (int i = 0; i < 10000; i++) {
        CK_SESSION_HANDLE other;
        MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &other));
        MUST(p11->C_CloseSession(other));
    }
    must(entries_of("/proc/self/task") == threads, "there are other threads than before", 0);
    must(entries_of("/proc/self/fd") <= descriptors, "there are more descriptors than before", 0);
    MUST(p11->C_Finalize(NULL));
    printf("ended well\n");
    return 0;
}
