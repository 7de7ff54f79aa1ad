/* An application that calls when it is told to: caller <module> <key's label>
 *
 * For each line on stdin it encrypts once, in one session, and prints what came of it: the CKR_, CK_SESSION_INFO's ulDeviceError
 * when it failed, and the milliseconds that it took: "0x30 66 1000", "0x0 0 3". The key is looked for until it is found once. */
#include <stdio.h>
#include <string.h>

#include "host.h"

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static CK_RV find(char *label)
{
    CK_ATTRIBUTE template = { CKA_LABEL, label, strlen(label) };
    CK_ULONG count = 0;

    CK_RV rv = p11->C_FindObjectsInit(session, &template, 1);
    if (rv != CKR_OK)
        return rv;
    MUST(p11->C_FindObjects(session, &key, 1, &count));
    MUST(p11->C_FindObjectsFinal(session));
    return count == 1 ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

int main(int argc, char **argv)
{
    CK_BYTE cipher[HOST_CIPHER];
    CK_SESSION_INFO info;
    char line[16];

    if (argc != 3)
        return 2;
    host_load(argv[1]);
    MUST(p11->C_Initialize(NULL));
    session = host_open(host_slot());
    while (fgets(line, sizeof line, stdin) != NULL) {
        long began = host_now_ms();
        CK_RV rv = key == CK_INVALID_HANDLE ? find(argv[2]) : CKR_OK;
        if (rv == CKR_OK)
            rv = host_encrypt(session, key, cipher);
        long took = host_now_ms() - began;
        MUST(p11->C_GetSessionInfo(session, &info)); /* needs no network; the session stays, whatever happens */
        (void)printf("0x%lx %lu %ld\n", rv, rv == CKR_OK ? 0 : info.ulDeviceError, took);
        (void)fflush(stdout);
    }
    MUST(p11->C_Finalize(NULL));
    return 0;
}
