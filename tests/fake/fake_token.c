#include "fake_token.h"
#include "object.h"
#include "trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

CK_SESSION_HANDLE fake_session;
static char folder[32], conf[64], pem[64];

/* In the place of trace.c: silent, and its clock can be put forward. */
static int64_t put_forward_us;

void fake_token_later(int64_t ms) { put_forward_us += 1000 * ms; }

int64_t bw_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + put_forward_us;
}

void bw_trace(const char *format, ...) { (void)format; }

static void write_file(const char *path, const char *format, const char *pem_path)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fprintf(file, format, pem_path, pem_path, pem_path) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

int fake_token_open(void **state)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = conf };
    CK_SLOT_ID slot;
    CK_ULONG   count = 1;

    (void)state;
    strcpy(folder, "/tmp/bw-token-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(conf, sizeof conf, "%s/pkcs11.conf", folder);
    (void)snprintf(pem, sizeof pem, "%s/app.pem", folder);
    write_file(pem, "-\n%.0s%.0s%.0s", "");
    write_file(conf, "[eu]\nregion = eu\ntenant = acme\ntrust_domain = example.org\nendpoints = localhost:1\nca = %s\ncertificate = %s\nkey = %s\n", pem);
    fake_region_start();
    OK(C_Initialize(&args));
    OK(C_GetSlotList(CK_TRUE, &slot, &count));
    OK(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &fake_session));
    return 0;
}

int fake_token_renew(void **state)
{
    CK_SESSION_INFO info;

    (void)state;
    OK(C_GetSessionInfo(fake_session, &info));
    OK(C_CloseSession(fake_session));
    OK(C_OpenSession(info.slotID, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &fake_session));
    fake_region_fail_next(BW_OK);
    (void)fake_region_asked();
    return 0;
}

int fake_token_close(void **state)
{
    (void)state;
    OK(C_Finalize(NULL));
    fake_region_stop();
    (void)unlink(conf), (void)unlink(pem);
    return rmdir(folder);
}

size_t fake_token_count(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_OBJECT_HANDLE found[64];
    CK_ULONG found_count;

    OK(C_FindObjectsInit(fake_session, (CK_ATTRIBUTE *)(uintptr_t)template, count));
    OK(C_FindObjects(fake_session, found, ARRAY_LEN(found), &found_count));
    OK(C_FindObjectsFinal(fake_session));
    return found_count;
}

CK_OBJECT_HANDLE fake_token_find(CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count;

    OK(C_FindObjectsInit(fake_session, template, 2));
    OK(C_FindObjects(fake_session, found, 2, &count));
    OK(C_FindObjectsFinal(fake_session));
    assert_int_equal(count, 1);
    return found[0];
}
