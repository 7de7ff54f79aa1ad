/* The log key in a real SoftHSM: what it signs verifies, it does nothing else, and of each number there is one key for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "audit_signer.h"
#include "fake/softhsm.h"

/* SoftHSM 2.6.1 leaks the curve's name at every C_SignInit of an Ed25519 key; not ours to fix. It has no frame pointers. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libsofthsm2.so\n"; }
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }

#define SO_PIN   bw_bytes_text("so-pin-0")
#define USER_PIN bw_bytes_text("user-pin-0")

static struct softhsm    softhsm;
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST  without_eddsa;
static struct bw_hsm    *hsm;
static struct bw_token  *token;

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return mechanism->mechanism == CKM_EDDSA ? CKR_MECHANISM_INVALID : real->C_SignInit(session, mechanism, key);
}

static void open_hsm(CK_FUNCTION_LIST *functions, const char *label, bool create)
{
    const struct bw_hsm_options options = { .sessions = 2 };
    char serial[17];

    check_ok(bw_hsm_open_with(functions, &options, &hsm));
    if (create)
        check_ok(bw_token_create(hsm, label, SO_PIN, USER_PIN, serial));
    check_ok(bw_token_open(hsm, label, "", USER_PIN, &token));
    check_ok(bw_hsm_self_test(hsm, token));
}

static void close_hsm(void)
{
    bw_token_free(token);
    bw_hsm_close(hsm);
}

static int start(void **state)
{
    CK_C_GetFunctionList get;

    (void)state;
    void *library = dlopen(softhsm_start(&softhsm), RTLD_NOW | RTLD_LOCAL);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real) != CKR_OK)
        return 1;
    without_eddsa = *real;
    without_eddsa.C_SignInit = sign_init;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    softhsm_stop(&softhsm);
    return 0;
}

static const struct { const char *label; CK_FUNCTION_LIST *functions; enum bw_note_type type; } hsms[] = {
    { "bw:eu", NULL,           BW_NOTE_ED25519    },
    { "bw:ch", &without_eddsa, BW_NOTE_ECDSA_P256 },
};

static struct bw_note_key sign_and_verify(uint32_t number)
{
    struct bw_audit_signer signer;
    struct bw_buf          note = { 0 };
    bw_bytes               text;

    check_ok(bw_audit_signer_of(token, "region.example", number, &signer));
    check_ok(bw_note_sign(bw_bytes_text("region.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"), &signer.note, &note));
    check_ok(bw_note_verify(bw_buf_bytes(&note), &signer.note.key, 1, &text));
    bw_buf_clear(&note);
    return signer.note.key;
}

static void it_signs_what_verifies_with_one_key_of_a_number_for_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hsms); i++) {
        CK_FUNCTION_LIST *functions = hsms[i].functions ? hsms[i].functions : real;
        open_hsm(functions, hsms[i].label, true);
        struct bw_note_key first = sign_and_verify(0), second = sign_and_verify(1);
        assert_int_equal(first.type, hsms[i].type);
        close_hsm();
        open_hsm(functions, hsms[i].label, false);
        struct bw_note_key again = sign_and_verify(0), next = sign_and_verify(1);
        assert_memory_equal(again.key, first.key, first.key_len);
        assert_memory_equal(next.key, second.key, second.key_len);
        assert_memory_not_equal(first.key, second.key, second.key_len);
        close_hsm();
    }
}

static bool flag_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL     flag = 2;
    CK_ATTRIBUTE row  = { type, &flag, sizeof flag };

    assert_int_equal(real->C_GetAttributeValue(session, object, &row, 1), CKR_OK);
    return flag == CK_TRUE;
}

static void it_never_leaves_and_does_nothing_but_sign(void **state)
{
    static const struct { CK_ATTRIBUTE_TYPE type; bool set; } flags[] = {
        { CKA_SENSITIVE, true },  { CKA_ALWAYS_SENSITIVE, true }, { CKA_EXTRACTABLE, false }, { CKA_NEVER_EXTRACTABLE, true }, { CKA_SIGN, true },
        { CKA_DECRYPT, false },   { CKA_UNWRAP, false },          { CKA_DERIVE, false },      { CKA_PRIVATE, true },           { CKA_TOKEN, true },
    };
    CK_OBJECT_CLASS   class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE      wanted[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)"bailiwick log key", 17 } };
    CK_SLOT_ID        slots[8];
    CK_ULONG          slot_count = 8, found = 0, keys = 0;
    CK_OBJECT_HANDLE  object;
    CK_SESSION_HANDLE session;

    (void)state;
    open_hsm(real, "bw:eu", false);
    assert_int_equal(real->C_GetSlotList(CK_TRUE, slots, &slot_count), CKR_OK);
    for (CK_ULONG i = 0; i < slot_count; i++) {
        if (real->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
            continue; /* the slot that has no token yet */
        assert_int_equal(real->C_FindObjectsInit(session, wanted, 2), CKR_OK);
        while (real->C_FindObjects(session, &object, 1, &found) == CKR_OK && found == 1) {
            keys++;
            for (size_t f = 0; f < ARRAY_LEN(flags); f++)
                assert_int_equal(flag_of(session, object, flags[f].type), flags[f].set);
        }
        (void)real->C_FindObjectsFinal(session);
        (void)real->C_CloseSession(session);
    }
    assert_int_equal(keys, 2); /* only of the token that is logged into */
    close_hsm();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_signs_what_verifies_with_one_key_of_a_number_for_good),
        cmocka_unit_test(it_never_leaves_and_does_nothing_but_sign),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
