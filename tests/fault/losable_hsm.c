/* A PKCS#11 module between the daemon and SoftHSM whose device can be pulled out: while the file that BW_HSM_GONE names is
 * there, each call that works with the device answers CKR_DEVICE_REMOVED. While there is one that BW_HSM_MUTE names, what the
 * log key signs fails as the file's content says: "error", "session" (lost between two calls), or "wrong" (a bit is flipped).
 * What is not in the tables passes through. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/pkcs11.h"

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST  ours;

static int is_gone(void)
{
    const char *path = getenv("BW_HSM_GONE");
    return path != NULL && access(path, F_OK) == 0;
}

/* name, parameters, arguments */
#define EACH(F) \
    F(C_OpenSession,     (CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *ret), (slot, flags, app, notify, ret)) \
    F(C_Login,           (CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG len), (s, user, pin, len)) \
    F(C_GetTokenInfo,    (CK_SLOT_ID slot, CK_TOKEN_INFO *ret), (slot, ret)) \
    F(C_GetSessionInfo,  (CK_SESSION_HANDLE s, CK_SESSION_INFO *ret), (s, ret)) \
    F(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n), (s, t, n)) \
    F(C_CopyObject,      (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret), (s, o, t, n, ret)) \
    F(C_CreateObject,    (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret), (s, t, n, ret)) \
    F(C_GenerateKey,     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret), (s, m, t, n, ret)) \
    F(C_EncryptInit,     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE o), (s, m, o)) \
    F(C_DecryptInit,     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE o), (s, m, o)) \
    F(C_VerifyInit,      (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE o), (s, m, o)) \
    F(C_GenerateRandom,  (CK_SESSION_HANDLE s, CK_BYTE *ret, CK_ULONG len), (s, ret, len))

#define DEFINE(name, parameters, arguments) \
    static CK_RV lose_##name parameters { return is_gone() ? CKR_DEVICE_REMOVED : real->name arguments; }
EACH(DEFINE)

static _Thread_local CK_MECHANISM_TYPE signs_with; /* both halves of a signature are one thread's */

static CK_RV lose_C_SignInit(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE o)
{
    signs_with = m->mechanism;
    return is_gone() ? CKR_DEVICE_REMOVED : real->C_SignInit(s, m, o);
}

static void read_mute(char word[static 16])
{
    const char *path = getenv("BW_HSM_MUTE");
    FILE *file = path != NULL && signs_with == CKM_EDDSA ? fopen(path, "re") : NULL;

    word[0] = '\0';
    if (file == NULL)
        return;
    if (fscanf(file, "%15s", word) != 1)
        word[0] = '\0';
    (void)fclose(file);
}

static CK_RV mute_C_Sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG *signature_len)
{
    char word[16];

    read_mute(word);
    if (strcmp(word, "session") == 0)
        return CKR_SESSION_HANDLE_INVALID;
    CK_RV rv = real->C_Sign(s, data, len, signature, signature_len);
    if (strcmp(word, "error") == 0)
        return CKR_FUNCTION_FAILED;
    if (strcmp(word, "wrong") == 0 && rv == CKR_OK && signature != NULL)
        signature[0] ^= 1;
    return rv;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret_list)
{
    void *softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **);

    if (softhsm == NULL)
        return CKR_GENERAL_ERROR;
    *(void **)&get = dlsym(softhsm, "C_GetFunctionList");
    if (get == NULL || get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    ours = *real;
#define REPLACE(name, parameters, arguments) ours.name = lose_##name;
    EACH(REPLACE)
    ours.C_SignInit = lose_C_SignInit;
    ours.C_Sign     = mute_C_Sign;
    *ret_list = &ours;
    return CKR_OK;
}
