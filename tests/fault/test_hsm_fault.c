/* Every call into the HSM fails in its turn: nothing crashes or leaks, the error is typed, and the layer recovers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "fake/softhsm.h"
#include "hsm.h"

/* ---- a function list between the layer and SoftHSM ---- */

static CK_FUNCTION_LIST *real;
static struct { _Atomic unsigned calls; unsigned fail_at; CK_RV with; bool pin_is_refused; unsigned logins; } fault; /* fail_at 0: never */

static bool fails_now(void)
{
    return ++fault.calls == fault.fail_at;
}

#define THROUGH(name, parameters, arguments)          \
    static CK_RV faulty_##name parameters             \
    {                                                 \
        return fails_now() ? fault.with : real->name arguments; \
    }
THROUGH(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count), (present, slots, count))
THROUGH(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
THROUGH(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *self, CK_NOTIFY notify, CK_SESSION_HANDLE *s), (slot, flags, self, notify, s))
THROUGH(C_CloseSession, (CK_SESSION_HANDLE s), (s))
THROUGH(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))
THROUGH(C_Logout, (CK_SESSION_HANDLE s), (s))
THROUGH(C_CreateObject, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *o), (s, t, n, o))
THROUGH(C_CopyObject, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE from, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *o), (s, from, t, n, o))
THROUGH(C_DestroyObject, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o), (s, o))
THROUGH(C_GetAttributeValue, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t, CK_ULONG n), (s, o, t, n))
THROUGH(C_SetAttributeValue, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t, CK_ULONG n), (s, o, t, n))
THROUGH(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n), (s, t, n))
THROUGH(C_FindObjects, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *o, CK_ULONG room, CK_ULONG *n), (s, o, room, n))
THROUGH(C_FindObjectsFinal, (CK_SESSION_HANDLE s), (s))
THROUGH(C_EncryptInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k), (s, m, k))
THROUGH(C_Encrypt, (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len), (s, in, in_len, out, out_len))
THROUGH(C_DecryptInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k), (s, m, k))
THROUGH(C_Decrypt, (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len), (s, in, in_len, out, out_len))
THROUGH(C_SignInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k), (s, m, k))
THROUGH(C_Sign, (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len), (s, in, in_len, out, out_len))
THROUGH(C_VerifyInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k), (s, m, k))
THROUGH(C_Verify, (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *sig, CK_ULONG sig_len), (s, in, in_len, sig, sig_len))
THROUGH(C_GenerateKey, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *o), (s, m, t, n, o))
THROUGH(C_GenerateKeyPair, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_ATTRIBUTE *u, CK_ULONG k,
                            CK_OBJECT_HANDLE *o, CK_OBJECT_HANDLE *p), (s, m, t, n, u, k, o, p))
THROUGH(C_WrapKey, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k, CK_OBJECT_HANDLE o, CK_BYTE *out, CK_ULONG *len), (s, m, k, o, out, len))
THROUGH(C_UnwrapKey, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE k, CK_BYTE *in, CK_ULONG len, CK_ATTRIBUTE *t, CK_ULONG n,
                      CK_OBJECT_HANDLE *o), (s, m, k, in, len, t, n, o))

static CK_RV faulty_C_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
    fault.logins++;
    if (fault.pin_is_refused)
        return CKR_PIN_INCORRECT;
    return fails_now() ? fault.with : real->C_Login(s, user, pin, len);
}

static sem_t entered, leave; /* one byte of random waits inside the HSM until it is let go */

static CK_RV faulty_C_GenerateRandom(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    if (len == 1) {
        (void)sem_post(&entered);
        (void)sem_wait(&leave);
    }
    return fails_now() ? fault.with : real->C_GenerateRandom(s, out, len);
}

static CK_FUNCTION_LIST faulty_functions(void)
{
    CK_FUNCTION_LIST list = *real;

#define PUT(name) list.name = faulty_##name
    PUT(C_GetSlotList), PUT(C_GetTokenInfo), PUT(C_OpenSession), PUT(C_CloseSession), PUT(C_CloseAllSessions), PUT(C_Login), PUT(C_Logout);
    PUT(C_CreateObject), PUT(C_CopyObject), PUT(C_DestroyObject), PUT(C_GetAttributeValue), PUT(C_SetAttributeValue);
    PUT(C_FindObjectsInit), PUT(C_FindObjects), PUT(C_FindObjectsFinal);
    PUT(C_EncryptInit), PUT(C_Encrypt), PUT(C_DecryptInit), PUT(C_Decrypt), PUT(C_SignInit), PUT(C_Sign), PUT(C_VerifyInit), PUT(C_Verify);
    PUT(C_GenerateKey), PUT(C_GenerateKeyPair), PUT(C_WrapKey), PUT(C_UnwrapKey), PUT(C_GenerateRandom);
    return list;
}

/* ---- what is run: a day in the life of a token ---- */

#define OK(expression) assert_int_equal((expression).code, BW_OK)
#define USER_PIN bw_bytes_text("user-pin-0")

static struct softhsm softhsm;
static CK_FUNCTION_LIST functions;
static struct bw_hsm *hsm;
static uint32_t version;
static const bw_region eu = { "eu" };
static const bw_tenant acme = { "acme" };
static const bw_key_id id = { { 0xc0 } };

static bw_result use(struct bw_token *token, bool is_pair, struct bw_arena *arena, struct bw_hsm_object *key)
{
    static const uint8_t iv[12] = { 1 };
    struct bw_mechanism gcm = { .row = bw_mechanism_row(CKM_AES_GCM), .iv = bw_bytes_of(iv, 12), .tag_bits = 128 };
    struct bw_mechanism ecdsa = { .row = bw_mechanism_row(CKM_ECDSA) };
    bw_bytes text = bw_bytes_text("thirty-two bytes of plain text !"), out, back;
    uint8_t nonce[12];

    BW_TRY(bw_hsm_random(token, nonce, sizeof nonce));
    if (is_pair) {
        BW_TRY(bw_hsm_sign(key, &ecdsa, text, arena, &out));
        return bw_hsm_verify(key, &ecdsa, text, out);
    }
    BW_TRY(bw_hsm_encrypt(key, &gcm, text, arena, &out));
    BW_TRY(bw_hsm_decrypt(key, &gcm, out, arena, &back));
    assert_true(bw_bytes_equal(text, back));
    return bw_success();
}

static bw_result with_key(struct bw_token *token, enum bw_spec spec, struct bw_arena *arena)
{
    struct bw_buf spki = { 0 };
    struct bw_hsm_object *key = NULL;

    version++;
    bw_result r = bw_hsm_generate(token, bw_spec_row(spec), &id, version, "k", &spki);
    if (bw_ok(r))
        r = bw_hsm_key(token, &id, version, &key);
    if (bw_ok(r))
        r = use(token, spec == BW_SPEC_EC_P256, arena, key);
    if (bw_ok(r))
        r = bw_hsm_destroy(token, &id, version);
    bw_hsm_object_unref(key);
    bw_buf_clear(&spki);
    return r;
}

static bw_result with_session_key(struct bw_token *token, struct bw_arena *arena)
{
    static const uint8_t value[32] = { 7 };
    struct bw_session_key what = { .key_type = CKK_AES, .length = 32, .uses = BW_USE_ENCRYPT | BW_USE_DECRYPT, .region = eu, .tenant = acme };
    struct bw_hsm_object *made = NULL, *opened = NULL, *imported = NULL;
    bw_bytes sealed, resealed;

    bw_result r = bw_hsm_generate_session(token, &what, &made);
    if (bw_ok(r))
        r = bw_hsm_seal(made, arena, &sealed);
    if (bw_ok(r)) {
        bw_hsm_forget(token, &what.origin, BW_KEY_STATE); /* drops the cached one, so that it is unwrapped */
        r = bw_hsm_unseal(token, &eu, &acme, sealed, &opened, &what);
    }
    if (bw_ok(r))
        r = use(token, false, arena, opened);
    if (bw_ok(r))
        r = bw_hsm_import_session(token, bw_bytes_of(value, sizeof value), &what, &imported);
    if (bw_ok(r))
        r = bw_hsm_seal(imported, arena, &resealed);
    bw_hsm_object_unref(made);
    bw_hsm_object_unref(opened);
    bw_hsm_object_unref(imported);
    return r;
}

static bw_result live(struct bw_token *token)
{
    struct bw_arena arena = { 0 };

    bw_result r = with_key(token, BW_SPEC_AES_256, &arena);
    if (bw_ok(r))
        r = with_key(token, BW_SPEC_EC_P256, &arena);
    if (bw_ok(r))
        r = with_session_key(token, &arena);
    if (bw_ok(r))
        r = bw_hsm_ping(token);
    bw_arena_clear(&arena);
    return r;
}

/* ---- the cases ---- */

static const struct { const char *name; CK_RV rv; } errors[] = {
    { "CKR_DEVICE_ERROR",           CKR_DEVICE_ERROR           },
    { "CKR_GENERAL_ERROR",          CKR_GENERAL_ERROR          },
    { "CKR_HOST_MEMORY",            CKR_HOST_MEMORY            },
    { "a vendor's own",             CKR_VENDOR_DEFINED | 77    },
};

static void arm(unsigned at, CK_RV with)
{
    fault.calls = 0;
    fault.fail_at = at;
    fault.with = with;
}

static void check_typed(bw_result r, const char *name, unsigned n)
{
    static const enum bw_code typed[] = { BW_OK, BW_HSM_UNAVAILABLE, BW_HSM_FAILED, BW_NO_MEMORY, BW_CIPHERTEXT_INVALID, BW_DATA_INVALID,
                                          BW_SIGNATURE_INVALID, BW_MECHANISM_PARAM, BW_WRAPPED_KEY_INVALID, BW_SEALED_KEY_INVALID };
    for (size_t i = 0; i < ARRAY_LEN(typed); i++)
        if (r.code == typed[i])
            return;
    fail_msg("%s at call %u gives %s: %s (%s)", name, n, bw_code_row(r.code)->name, r.what, r.where);
}

static void a_failing_call_is_typed_and_the_next_one_recovers(void **state)
{
    struct bw_token *token = NULL;
    (void)state;

    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        OK(bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token));
        OK(live(token));
        arm(0, CKR_OK);
        OK(live(token));
        for (unsigned n = 1, last = fault.calls; n <= last; n++) {
            arm(n, errors[e].rv);
            check_typed(live(token), errors[e].name, n);
            arm(0, CKR_OK);
            bw_result again = live(token);
            if (!bw_ok(again))
                fail_msg("after %s at call %u: %s: %s (%s)", errors[e].name, n, bw_code_row(again.code)->name, again.what, again.where);
        }
        bw_token_free(token);
    }
}

static void opening_fails_cleanly_at_every_call(void **state)
{
    struct bw_token *token = NULL;
    (void)state;

    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        arm(0, CKR_OK);
        OK(bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token));
        unsigned last = fault.calls;
        bw_token_free(token);
        for (unsigned n = 1; n <= last; n++) {
            arm(n, errors[e].rv);
            bw_result r = bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token);
            check_typed(r, errors[e].name, n);
            arm(0, CKR_OK);
            if (bw_ok(r)) {
                OK(live(token));
                bw_token_free(token);
            }
        }
    }
}

/* The token goes away and stays away for a while; what was held meanwhile is refused, what is asked for anew works. */
static void a_lost_token_is_opened_again_as_soon_as_it_is_back(void **state)
{
    struct bw_token *token = NULL;
    struct bw_hsm_object *key = NULL, *again = NULL;
    struct bw_arena arena = { 0 };
    (void)state;

    OK(bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token));
    version++;
    OK(bw_hsm_generate(token, bw_spec_row(BW_SPEC_AES_256), &id, version, "k", NULL));
    OK(bw_hsm_key(token, &id, version, &key));
    arm(1, CKR_DEVICE_REMOVED);
    assert_int_equal(use(token, false, &arena, key).code, BW_HSM_UNAVAILABLE);
    for (int i = 0; i < 3; i++) {
        arm(1, CKR_DEVICE_REMOVED);
        assert_int_equal(bw_hsm_key(token, &id, version, &again).code, BW_HSM_UNAVAILABLE);
    }
    arm(0, CKR_OK);
    OK(bw_hsm_key(token, &id, version, &again));
    OK(use(token, false, &arena, again));
    assert_int_equal(use(token, false, &arena, key).code, BW_HSM_UNAVAILABLE); /* the handle of before */
    bw_hsm_object_unref(key);
    bw_hsm_object_unref(again);
    bw_token_free(token);
    bw_arena_clear(&arena);
}

/* A PIN that was good and now is not must not be tried until the token locks it. */
static void a_pin_refused_on_the_way_back_is_tried_once(void **state)
{
    struct bw_token *token = NULL;
    uint8_t bytes[2];
    (void)state;

    OK(bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token));
    arm(1, CKR_DEVICE_ERROR);
    assert_int_equal(bw_hsm_random(token, bytes, 2).code, BW_HSM_UNAVAILABLE);
    arm(0, CKR_OK);
    fault.logins = 0;
    fault.pin_is_refused = true;
    for (int i = 0; i < 5; i++)
        assert_int_equal(bw_hsm_random(token, bytes, 2).code, BW_HSM_UNAVAILABLE);
    fault.pin_is_refused = false;
    assert_int_equal(fault.logins, 1);
    assert_int_equal(bw_hsm_random(token, bytes, 2).code, BW_HSM_UNAVAILABLE); /* until someone opens it with a PIN */
    bw_token_free(token);
}

static void *stuck(void *token)
{
    uint8_t byte;
    return bw_ok(bw_hsm_random(token, &byte, 1)) ? token : NULL;
}

static void who_finds_no_free_session_is_told_so_in_two_seconds(void **state)
{
    struct bw_token *token = NULL;
    pthread_t threads[2];
    uint8_t bytes[2];
    void *served;
    (void)state;

    OK(bw_token_open(hsm, "bw:eu:acme", "", USER_PIN, &token));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stuck, token), 0);
    for (size_t i = 0; i < 2; i++)
        (void)sem_wait(&entered);
    assert_int_equal(bw_hsm_random(token, bytes, 2).code, BW_OVERLOADED);
    for (size_t i = 0; i < 2; i++)
        (void)sem_post(&leave);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &served), 0);
        assert_ptr_equal(served, token);
    }
    OK(bw_hsm_random(token, bytes, 2));
    bw_token_free(token);
}

static int start(void **state)
{
    const struct bw_hsm_options options = { .sessions = 2 };
    char serial[17];
    CK_C_GetFunctionList get;
    (void)state;

    void *library = dlopen(softhsm_start(&softhsm), RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    assert_int_equal(get(&real), CKR_OK);
    (void)sem_init(&entered, 0, 0);
    (void)sem_init(&leave, 0, 0);
    functions = faulty_functions();
    OK(bw_hsm_open_with(&functions, &options, &hsm));
    OK(bw_token_create(hsm, "bw:eu:acme", bw_bytes_text("so-pin-0"), USER_PIN, serial));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bw_hsm_close(hsm);
    softhsm_stop(&softhsm);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call_is_typed_and_the_next_one_recovers),
        cmocka_unit_test(opening_fails_cleanly_at_every_call),
        cmocka_unit_test(a_lost_token_is_opened_again_as_soon_as_it_is_back),
        cmocka_unit_test(a_pin_refused_on_the_way_back_is_tried_once),
        cmocka_unit_test(who_finds_no_free_session_is_told_so_in_two_seconds),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
