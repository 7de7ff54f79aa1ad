/* Many threads on the same token, in sessions of their own and in one that all share: sessions open and close, objects come and go,
 * are found and used, all at once. Run with TSan, too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "fake_token.h"

enum { THREADS = 8, ROUNDS = 1000 };

static CK_SLOT_ID       slot;
static CK_OBJECT_HANDLE aes;
static CK_BYTE          iv[16];
static CK_MECHANISM     cbc = { CKM_AES_CBC, iv, sizeof iv }, sha = { CKM_SHA256, NULL, 0 };
static _Atomic CK_OBJECT_HANDLE passed_on; /* a data object of the shared session, which any thread may use or destroy */

struct worker {
    pthread_t         thread;
    unsigned          nr;
    CK_SESSION_HANDLE own;
    CK_BYTE           expected[16]; /* of 16 zeros */
    const char       *wrong;        /* NULL: nothing */
};

static int open_token(void **state)
{
    CK_SESSION_INFO info;

    if (fake_token_open(state) != 0)
        return -1;
    fake_region_add_key(BW_SPEC_AES_256, "aes", "\x01");
    fake_region_add_key(BW_SPEC_RSA_2048, "rsa", "\x02");
    aes = fake_token_find(CKO_SECRET_KEY, "aes");
    OK(C_GetSessionInfo(fake_session, &info));
    slot = info.slotID;
    return 0;
}

/* ---- what threads do; false: it went wrong ---- */

static bool encrypts(struct worker *w)
{
    CK_BYTE block[16] = { 0 };
    CK_ULONG len = sizeof block;

    return C_EncryptInit(w->own, &cbc, aes) == CKR_OK && C_Encrypt(w->own, block, 16, block, &len) == CKR_OK && memcmp(block, w->expected, 16) == 0;
}

/* Another thread's call may come in between: whatever is told, it is one of these, and what comes out is right. */
static bool encrypts_in_the_shared_session(struct worker *w)
{
    CK_BYTE block[16] = { 0 };
    CK_ULONG len = sizeof block;
    CK_RV begun = C_EncryptInit(fake_session, &cbc, aes), rv = C_Encrypt(fake_session, block, 16, block, &len);

    return (begun == CKR_OK || begun == CKR_OPERATION_ACTIVE)
        && (rv == CKR_OPERATION_NOT_INITIALIZED || (rv == CKR_OK && memcmp(block, w->expected, 16) == 0));
}

static bool digests(struct worker *w)
{
    static const CK_BYTE abc[4] = { 0xba, 0x78, 0x16, 0xbf };
    CK_BYTE digest[32];
    CK_ULONG len = sizeof digest;

    return C_DigestInit(w->own, &sha) == CKR_OK && C_DigestUpdate(w->own, (CK_BYTE *)"ab", 2) == CKR_OK
        && C_DigestUpdate(w->own, (CK_BYTE *)"c", 1) == CKR_OK && C_DigestFinal(w->own, digest, &len) == CKR_OK && memcmp(digest, abc, 4) == 0;
}

static CK_RV make_data(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *ret_object)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };

    return C_CreateObject(session, t, 2, ret_object);
}

static bool makes_copies_changes_and_destroys(struct worker *w)
{
    CK_BYTE label[8] = { 0 };
    CK_ATTRIBUTE new_label = { CKA_LABEL, "after", 5 }, read = { CKA_LABEL, label, sizeof label };
    CK_OBJECT_HANDLE object, copy;

    return make_data(w->own, "before", &object) == CKR_OK && C_CopyObject(w->own, object, &new_label, 1, &copy) == CKR_OK
        && C_GetAttributeValue(w->own, copy, &read, 1) == CKR_OK && read.ulValueLen == 5 && C_SetAttributeValue(w->own, object, &new_label, 1) == CKR_OK
        && C_DestroyObject(w->own, object) == CKR_OK && C_DestroyObject(w->own, copy) == CKR_OK;
}

/* One that others may destroy, or put another in its place, while it is looked at. */
static bool uses_what_others_destroy(struct worker *w)
{
    CK_BYTE label[8];
    CK_ATTRIBUTE read = { CKA_LABEL, label, sizeof label };
    CK_OBJECT_HANDLE mine, before;
    CK_RV rv = make_data(fake_session, "shared", &mine);

    if (rv != CKR_OK)
        return false;
    before = atomic_exchange(&passed_on, mine);
    rv = C_GetAttributeValue(w->own, mine, &read, 1);
    if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
        return false;
    rv = before != 0 ? C_DestroyObject(w->own, before) : CKR_OK;
    return rv == CKR_OK || rv == CKR_OBJECT_HANDLE_INVALID;
}

static bool finds(struct worker *w)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE by_class = { CKA_CLASS, &class, sizeof class };
    CK_OBJECT_HANDLE found[4];
    CK_ULONG count = 0;

    return C_FindObjectsInit(w->own, &by_class, 1) == CKR_OK && C_FindObjects(w->own, found, 4, &count) == CKR_OK
        && C_FindObjectsFinal(w->own) == CKR_OK && count == 1;
}

static bool searches_for_nothing(struct worker *w)
{
    CK_ATTRIBUTE by_label = { CKA_LABEL, "there is none", 13 };
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 1;

    return C_FindObjectsInit(w->own, &by_label, 1) == CKR_OK && C_FindObjects(w->own, &found, 1, &count) == CKR_OK
        && C_FindObjectsFinal(w->own) == CKR_OK && count == 0;
}

static bool opens_and_closes(struct worker *w)
{
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE object;
    CK_SESSION_INFO info;

    return C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK && make_data(session, "gone with it", &object) == CKR_OK
        && C_DigestInit(session, &sha) == CKR_OK && C_GetSessionInfo(w->own, &info) == CKR_OK && C_CloseSession(session) == CKR_OK;
}

static const struct { bool (*run)(struct worker *); const char *name; } works[] = {
    { encrypts, "encrypts" }, { encrypts_in_the_shared_session, "encrypts in the shared session" }, { digests, "digests" },
    { makes_copies_changes_and_destroys, "makes, copies, changes and destroys" }, { uses_what_others_destroy, "uses what others destroy" },
    { finds, "finds" }, { searches_for_nothing, "searches for nothing" }, { opens_and_closes, "opens and closes" },
};

static void *work(void *argument)
{
    struct worker *w = argument;

    for (unsigned i = 0; i < ROUNDS && w->wrong == NULL; i++)
        if (!works[(i + w->nr) % ARRAY_LEN(works)].run(w))
            w->wrong = works[(i + w->nr) % ARRAY_LEN(works)].name;
    return NULL;
}

static void threads_do_not_disturb_one_another(void **state)
{
    (void)state;
    struct worker workers[THREADS] = { 0 };
    CK_BYTE block[16] = { 0 };
    CK_ULONG len = sizeof block;
    size_t before = fake_token_count(NULL, 0);

    OK(C_EncryptInit(fake_session, &cbc, aes));
    OK(C_Encrypt(fake_session, block, 16, block, &len));
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].nr = i;
        memcpy(workers[i].expected, block, 16);
        OK(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &workers[i].own));
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        if (workers[i].wrong != NULL)
            fail_msg("a thread %s, and something is wrong", workers[i].wrong);
        OK(C_CloseSession(workers[i].own));
    }
    if (passed_on != 0)
        OK(C_DestroyObject(fake_session, passed_on));
    assert_int_equal(fake_token_count(NULL, 0), before); /* nothing is left of all that */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(threads_do_not_disturb_one_another, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, open_token, fake_token_close);
}
