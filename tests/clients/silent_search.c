/* An application whose region falls silent in the middle of a search of several pages.
 *
 * silent_search <module> <mode file of the proxy that cuts> <mode file of the proxy that delays> <step> <deadline in ms>
 *
 * Puts objects enough for pages on the token. Then it searches for them again and again, by a slow way; each time the connection
 * falls silent after so many bytes more of the answers. However many pages came before, the search must be over at its one
 * deadline: another connection has answered the rest, or it is CKR_DEVICE_ERROR, and the next one finds all. Prints how many
 * searches were cut, and how many failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bytes.h"
#include "host.h"

enum { OBJECTS = 350, ROUND_TRIP_MS = 60 }; /* four pages of objects, after one of keys; a page is one round trip */

static const char *cutting, *delaying;
static CK_SESSION_HANDLE session;
static long failed;

static void put_objects(void)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL on_token = CK_TRUE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_TOKEN, &on_token, 1 }, { CKA_LABEL, "paged", 5 }, { CKA_VALUE, "value", 5 } };
    CK_OBJECT_HANDLE object;

    for (size_t i = 0; i < OBJECTS; i++)
        MUST(p11->C_CreateObject(session, template, ARRAY_LEN(template), &object));
}

/* The module begins anew, so that it knows no list; the connection is there. */
static void begin(void)
{
    CK_BYTE bytes[16];

    MUST(p11->C_Finalize(NULL));
    MUST(p11->C_Initialize(NULL));
    session = host_open(host_slot());
    MUST(p11->C_GenerateRandom(session, bytes, sizeof bytes));
}

static CK_RV search(long *ret_took_ms)
{
    CK_ATTRIBUTE label = { CKA_LABEL, "paged", 5 };
    CK_OBJECT_HANDLE found[OBJECTS + 1];
    CK_ULONG count;
    long began = host_now_ms();

    CK_RV rv = p11->C_FindObjectsInit(session, &label, 1);
    *ret_took_ms = host_now_ms() - began;
    if (rv != CKR_OK)
        return rv;
    MUST(p11->C_FindObjects(session, found, OBJECTS + 1, &count));
    host_must(count == OBJECTS, "objects found", count);
    MUST(p11->C_FindObjectsFinal(session));
    return rv;
}

/* false: the search was over before it came to that byte */
static bool cut_once(long bytes, long deadline_ms)
{
    char order[64], delay[32];
    CK_SESSION_INFO info;
    long took;

    begin();
    (void)snprintf(order, sizeof order, "cut down %ld silent\n", bytes);
    (void)snprintf(delay, sizeof delay, "delay %d\n", ROUND_TRIP_MS / 2);
    host_set_mode(delaying, delay);
    host_set_mode(cutting, order);
    CK_RV rv = search(&took);
    bool over = host_is_to_cut(cutting);
    host_set_mode(cutting, "pass\n");
    host_set_mode(delaying, "pass\n");
    host_must(took <= deadline_ms + HOST_LATE_MS, "the search took (ms)", (CK_RV)took);
    if (rv == CKR_OK)
        return !over;
    host_must(rv == CKR_DEVICE_ERROR && took >= deadline_ms, "a search that was cut", rv);
    MUST(p11->C_GetSessionInfo(session, &info));
    CHECK(info.ulDeviceError != 0);
    failed++;
    MUST(search(&took));
    return true;
}

int main(int argc, char **argv)
{
    long cut = 0;

    if (argc != 6)
        return 2;
    cutting  = argv[2];
    delaying = argv[3];
    host_load(argv[1]);
    MUST(p11->C_Initialize(NULL));
    session = host_open(host_slot());
    put_objects();
    for (long bytes = 0; cut_once(bytes, atol(argv[5])); bytes += atol(argv[4]))
        cut++;
    (void)printf("%ld cut, %ld of them failed\n", cut, failed);
    MUST(p11->C_Finalize(NULL));
    return 0;
}
