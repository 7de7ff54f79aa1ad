#include "host.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

CK_FUNCTION_LIST     *p11;
CK_FUNCTION_LIST_3_0 *p11_3;
const char           *host_module;
void                 *host_handle;

void host_must(bool right, const char *what, CK_RV rv)
{
    if (right)
        return;
    dprintf(STDERR_FILENO, "WRONG: %s: 0x%lx\n", what, rv);
    _exit(1);
}

void *host_load(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);

    host_must(handle != NULL, module, 0);
    CK_C_GetFunctionList get_list = (CK_C_GetFunctionList)(uintptr_t)dlsym(handle, "C_GetFunctionList");
    CK_C_GetInterface    get_one  = (CK_C_GetInterface)(uintptr_t)dlsym(handle, "C_GetInterface");
    CK_INTERFACE *interface;
    CHECK(get_list != NULL && get_one != NULL);
    MUST(get_list(&p11));
    MUST(get_one(NULL, NULL, &interface, 0));
    p11_3 = interface->pFunctionList;
    return handle;
}

CK_SLOT_ID host_slot(void)
{
    CK_SLOT_ID slots[8];
    CK_ULONG   count = 8;

    MUST(p11->C_GetSlotList(CK_TRUE, slots, &count));
    CHECK(count > 0);
    return slots[0];
}

CK_SESSION_HANDLE host_open(CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session;

    MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    return session;
}

CK_OBJECT_HANDLE host_find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ULONG count = 0;

    MUST(p11->C_FindObjectsInit(session, template, 2));
    MUST(p11->C_FindObjects(session, &object, 1, &count));
    MUST(p11->C_FindObjectsFinal(session));
    host_must(count == 1, label, count);
    return object;
}

CK_RV host_encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE cipher[static HOST_CIPHER])
{
    CK_BYTE iv[16] = { 0 }, text[1000] = { 0 };
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv };
    CK_ULONG len = HOST_CIPHER;

    CK_RV rv = p11->C_EncryptInit(session, &cbc, key);
    if (rv != CKR_OK)
        return rv;
    rv = p11->C_Encrypt(session, text, sizeof text, cipher, &len);
    host_must(rv != CKR_OK || len == HOST_CIPHER, "the ciphertext's length", len);
    return rv;
}

void host_start(struct host *ret_host)
{
    MUST(p11->C_Initialize(NULL));
    ret_host->slot    = host_slot();
    ret_host->session = host_open(ret_host->slot);
    ret_host->aes     = host_find(ret_host->session, CKO_SECRET_KEY, "aes");
    MUST(host_encrypt(ret_host->session, ret_host->aes, ret_host->cipher));
}

void host_works(const struct host *host)
{
    CK_BYTE cipher[HOST_CIPHER];

    MUST(host_encrypt(host->session, host->aes, cipher));
    CHECK(memcmp(cipher, host->cipher, sizeof cipher) == 0);
}

int host_main(int argc, char **argv, const struct host_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (argc == 2)
            (void)puts(cases[i].name);
        if (argc != 3 || strcmp(cases[i].name, argv[2]) != 0)
            continue;
        host_module = argv[1];
        host_handle = host_load(argv[1]);
        cases[i].run();
        return 0;
    }
    return argc == 2 ? 0 : 2;
}

void host_set_mode(const char *file, const char *text)
{
    FILE *stream = fopen(file, "w");
    CHECK(stream != NULL && fputs(text, stream) >= 0 && fclose(stream) == 0);
}

bool host_is_to_cut(const char *file)
{
    char word[8] = "";
    FILE *stream = fopen(file, "r");

    CHECK(stream != NULL);
    int read = fscanf(stream, "%7s", word);
    (void)fclose(stream);
    return read == 1 && strcmp(word, "cut") == 0;
}

long host_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists */
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int host_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}
