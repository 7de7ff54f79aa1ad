/* Encryption and decryption through the C_ functions: what comes out, how often the region is asked, and that buffers of any size, and
 * queries, follow the convention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/rsa.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "fake_token.h"
#include "operation.h"

enum { ROOM = 4096 };

static CK_OBJECT_HANDLE aes, rsa_public, rsa_private;

static int open_token(void **state)
{
    if (fake_token_open(state) != 0)
        return -1;
    fake_region_add_key(BW_SPEC_AES_256, "aes", "\x01");
    fake_region_add_key(BW_SPEC_RSA_2048, "rsa", "\x02");
    aes         = fake_token_find(CKO_SECRET_KEY, "aes");
    rsa_public  = fake_token_find(CKO_PUBLIC_KEY, "rsa");
    rsa_private = fake_token_find(CKO_PRIVATE_KEY, "rsa");
    (void)fake_region_asked();
    return 0;
}

/* ---- every mechanism, there and back ---- */

static CK_BYTE iv[16] = { 1, 2, 3 };
static CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 0, .pAAD = iv, .ulAADLen = 5, .ulTagBits = 128 };
static struct { CK_BYTE *iv; CK_ULONG iv_len; CK_BYTE *aad; CK_ULONG aad_len; CK_ULONG tag_bits; } short_gcm = { iv, 12, NULL, 0, 96 };
static CK_AES_CTR_PARAMS ctr = { .ulCounterBits = 32 };
static CK_RSA_PKCS_OAEP_PARAMS oaep_sha1 = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0 };
static CK_RSA_PKCS_OAEP_PARAMS oaep_sha256 = { CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, iv, 9 };

static const struct mechanism_case {
    const char  *why;
    CK_MECHANISM mechanism;
    bool         is_rsa;
    size_t       len;
    size_t       encrypted;     /* bytes that C_Encrypt makes */
    size_t       query;         /* what a query for C_Decrypt answers */
} mechanisms[] = {
    { "AES-GCM",                         { CKM_AES_GCM, &gcm, sizeof gcm },                          false,  33, 49,  33 },
    { "AES-GCM of nothing",              { CKM_AES_GCM, &gcm, sizeof gcm },                          false,   0, 16,   0 },
    { "AES-GCM with the older parameters", { CKM_AES_GCM, &short_gcm, sizeof short_gcm },            false,  33, 45,  33 },
    { "AES-CBC",                         { CKM_AES_CBC, iv, 16 },                                    false,  32, 32,  32 },
    { "AES-CBC-PAD",                     { CKM_AES_CBC_PAD, iv, 16 },                                false,  33, 48,  48 },
    { "AES-CBC-PAD of whole blocks",     { CKM_AES_CBC_PAD, iv, 16 },                                false,  32, 48,  48 },
    { "AES-CBC-PAD of nothing",          { CKM_AES_CBC_PAD, iv, 16 },                                false,   0, 16,  16 },
    { "AES-CTR",                         { CKM_AES_CTR, &ctr, sizeof ctr },                          false,  33, 33,  33 },
    { "AES-ECB",                         { CKM_AES_ECB, NULL, 0 },                                   false,  48, 48,  48 },
    { "RSA PKCS#1",                      { CKM_RSA_PKCS, NULL, 0 },                                  true,   32, 256, 256 },
    { "RSA OAEP with SHA-1",             { CKM_RSA_PKCS_OAEP, &oaep_sha1, sizeof oaep_sha1 },        true,   32, 256, 256 },
    { "RSA OAEP with SHA-256 and label", { CKM_RSA_PKCS_OAEP, &oaep_sha256, sizeof oaep_sha256 },    true,   32, 256, 256 },
    { "RSA without padding",             { CKM_RSA_X_509, NULL, 0 },                                 true,  256, 256, 256 },
};

static CK_OBJECT_HANDLE encrypting(const struct mechanism_case *c) { return c->is_rsa ? rsa_public : aes; }
static CK_OBJECT_HANDLE decrypting(const struct mechanism_case *c) { return c->is_rsa ? rsa_private : aes; }

static void plain(CK_BYTE *plaintext)
{
    for (size_t i = 0; i < ROOM; i++)
        plaintext[i] = (CK_BYTE)(i % 251);
}

static void one_call_is_one_rpc_and_a_query_none(void **state)
{
    (void)state;
    CK_BYTE plaintext[ROOM], ciphertext[ROOM], opened[ROOM];

    plain(plaintext);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        const struct mechanism_case *c = &mechanisms[i];
        CK_MECHANISM m = c->mechanism;
        CK_ULONG len = 77777;

        print_message("           %s\n", c->why);
        OK(C_EncryptInit(fake_session, &m, encrypting(c)));
        OK(C_Encrypt(fake_session, plaintext, c->len, NULL, &len));
        assert_int_equal(len, c->encrypted);
        ASKED(0);
        OK(C_Encrypt(fake_session, plaintext, c->len, ciphertext, &len));
        assert_int_equal(len, c->encrypted);
        ASKED(c->is_rsa ? 0 : 1);

        OK(C_DecryptInit(fake_session, &m, decrypting(c)));
        OK(C_Decrypt(fake_session, ciphertext, len, NULL, &(CK_ULONG){ 1 }));
        ASKED(0);
        CK_ULONG opened_len = ROOM, query = 0;
        OK(C_Decrypt(fake_session, ciphertext, len, NULL, &query));
        assert_int_equal(query, c->query);
        OK(C_Decrypt(fake_session, ciphertext, len, opened, &opened_len));
        assert_int_equal(opened_len, c->len);
        assert_memory_equal(opened, plaintext, c->len);
        ASKED(1);
        CODE(C_Decrypt(fake_session, ciphertext, len, opened, &opened_len), CKR_OPERATION_NOT_INITIALIZED);
    }
}

static void a_short_buffer_costs_no_second_rpc(void **state)
{
    (void)state;
    CK_BYTE plaintext[ROOM], ciphertext[ROOM], opened[ROOM];

    plain(plaintext);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        const struct mechanism_case *c = &mechanisms[i];
        CK_MECHANISM m = c->mechanism;
        CK_ULONG len = c->encrypted - 1, opened_len = c->len > 0 ? c->len - 1 : 0;

        if (c->len == 0)
            continue;
        print_message("           %s\n", c->why);
        OK(C_EncryptInit(fake_session, &m, encrypting(c)));
        CODE(C_Encrypt(fake_session, plaintext, c->len, ciphertext, &len), CKR_BUFFER_TOO_SMALL);
        assert_int_equal(len, c->encrypted);
        OK(C_Encrypt(fake_session, plaintext, c->len, ciphertext, &len));
        ASKED(c->is_rsa ? 0 : 1);

        OK(C_DecryptInit(fake_session, &m, decrypting(c)));
        CODE(C_Decrypt(fake_session, ciphertext, len, opened, &opened_len), CKR_BUFFER_TOO_SMALL);
        assert_int_equal(opened_len, c->len);
        OK(C_Decrypt(fake_session, ciphertext, len, opened, &opened_len));
        assert_memory_equal(opened, plaintext, c->len);
        ASKED(1);
    }
}

static void a_held_plaintext_is_for_the_same_ciphertext_only(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_CBC_PAD, iv, 16 };
    CK_BYTE one[48], two[48], opened[64];
    CK_ULONG len = sizeof one;

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)"the first of two plaintexts", 27, one, &len));
    len = sizeof two;
    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)"and the other, not the same", 27, two, &len));
    (void)fake_region_asked();

    OK(C_DecryptInit(fake_session, &m, aes));
    CODE(C_Decrypt(fake_session, one, len, opened, &(CK_ULONG){ 3 }), CKR_BUFFER_TOO_SMALL);
    CK_ULONG opened_len = sizeof opened;
    OK(C_Decrypt(fake_session, two, len, opened, &opened_len));
    assert_memory_equal(opened, "and the other, not the same", 27);
    ASKED(2);
}

static void a_plaintext_is_not_held_for_ever(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_CBC_PAD, iv, 16 };
    CK_BYTE ciphertext[16], opened[16];
    CK_ULONG len = sizeof ciphertext;

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)"short", 5, ciphertext, &len));
    OK(C_DecryptInit(fake_session, &m, aes));
    CODE(C_Decrypt(fake_session, ciphertext, len, opened, &(CK_ULONG){ 1 }), CKR_BUFFER_TOO_SMALL);
    fake_token_later(BW_HELD_MS + 1);
    OK(C_Decrypt(fake_session, ciphertext, len, opened, &(CK_ULONG){ 16 }));
    ASKED(3);
}

/* ---- in parts ---- */

static size_t feed(bool encrypts, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, const CK_BYTE *in, size_t len, size_t step, CK_BYTE *out)
{
    CK_MECHANISM m = *mechanism;
    size_t done = 0;
    CK_ULONG room;

    OK(encrypts ? C_EncryptInit(fake_session, &m, key) : C_DecryptInit(fake_session, &m, key));
    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;
        room = ROOM - done;
        OK(encrypts ? C_EncryptUpdate(fake_session, (CK_BYTE *)(uintptr_t)(in + at), part, NULL, &room)
                    : C_DecryptUpdate(fake_session, (CK_BYTE *)(uintptr_t)(in + at), part, NULL, &room));
        assert_true(room > 0); /* else the caller would have no buffer for the call itself */
        OK(encrypts ? C_EncryptUpdate(fake_session, (CK_BYTE *)(uintptr_t)(in + at), part, out + done, &room)
                    : C_DecryptUpdate(fake_session, (CK_BYTE *)(uintptr_t)(in + at), part, out + done, &room));
        done += room;
    }
    room = ROOM - done;
    OK(encrypts ? C_EncryptFinal(fake_session, out + done, &room) : C_DecryptFinal(fake_session, out + done, &room));
    return done + room;
}

static void parts_of_any_size_make_the_same(void **state)
{
    (void)state;
    static const size_t steps[] = { 1, 7, 15, 16, 17, 32, 1000 };
    CK_BYTE plaintext[ROOM], whole[ROOM], parts[ROOM], opened[ROOM];

    plain(plaintext);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            const struct mechanism_case *c = &mechanisms[i];
            CK_MECHANISM m = c->mechanism;
            CK_ULONG len = ROOM;

            OK(C_EncryptInit(fake_session, &m, encrypting(c)));
            OK(C_Encrypt(fake_session, plaintext, c->len, whole, &len));
            size_t parts_len = feed(true, &m, encrypting(c), plaintext, c->len, steps[k], parts);
            if (parts_len != len || (!c->is_rsa && memcmp(parts, whole, len) != 0))
                fail_msg("%s in steps of %zu", c->why, steps[k]);
            size_t opened_len = feed(false, &m, decrypting(c), parts, parts_len, steps[k], opened);
            if (opened_len != c->len || memcmp(opened, plaintext, c->len) != 0)
                fail_msg("%s opened in steps of %zu", c->why, steps[k]);
        }
}

static void a_part_comes_out_in_a_buffer_of_its_own_size(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_CBC_PAD, iv, 16 };
    CK_BYTE in[1024] = { 5 }, out[1024];
    CK_ULONG len;

    OK(C_EncryptInit(fake_session, &m, aes));
    for (int i = 0; i < 3; i++) { /* as pkcs11-tool does with files */
        len = sizeof out;
        OK(C_EncryptUpdate(fake_session, in, sizeof in, out, &len));
        assert_int_equal(len, sizeof in);
    }
    len = sizeof out;
    OK(C_EncryptFinal(fake_session, out, &len));
    assert_int_equal(len, 16);
    ASKED(4);
}

static void counters_go_on_over_their_own_bits_only(void **state)
{
    (void)state;
    CK_AES_CTR_PARAMS params = { .ulCounterBits = 12 };
    CK_MECHANISM m = { CKM_AES_CTR, &params, sizeof params };
    CK_BYTE in[64] = { 0 }, out[64];
    CK_ULONG len = sizeof out;

    memset(params.cb, 0xff, sizeof params.cb);
    params.cb[15] = 0xfd; /* three blocks are left of 4096 */
    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_EncryptUpdate(fake_session, in, 16, out, &len));
    len = sizeof out;
    OK(C_EncryptUpdate(fake_session, in, 16, out, &len));
    len = sizeof out;
    CODE(C_EncryptUpdate(fake_session, in, 32, out, &len), CKR_DATA_LEN_RANGE);
    CODE(C_EncryptFinal(fake_session, out, &len), CKR_OPERATION_NOT_INITIALIZED);
}

static void what_is_collected_has_a_limit(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_GCM, &gcm, sizeof gcm };
    static CK_BYTE big[256 * 1024];
    CK_ULONG len = ROOM;
    CK_BYTE out[ROOM];

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_EncryptUpdate(fake_session, big, sizeof big, out, &len));
    OK(C_EncryptUpdate(fake_session, big, sizeof big, out, &len));
    CODE(C_EncryptUpdate(fake_session, big, 1, out, &len), CKR_DATA_LEN_RANGE);
    ASKED(0);
}

/* ---- moves ---- */

static void moves_out_of_order_are_refused_and_end_nothing(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_CBC_PAD, iv, 16 };
    CK_BYTE out[64];
    CK_ULONG len = sizeof out;

    CODE(C_Encrypt(fake_session, out, 1, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    CODE(C_EncryptFinal(fake_session, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_EncryptInit(fake_session, &m, aes));
    CODE(C_EncryptInit(fake_session, &m, aes), CKR_OPERATION_ACTIVE);
    OK(C_DecryptInit(fake_session, &m, aes)); /* a place of its own */
    OK(C_EncryptUpdate(fake_session, out, 3, out, &len));
    CODE(C_Encrypt(fake_session, out, 1, out, &len), CKR_OPERATION_ACTIVE);
    len = sizeof out;
    OK(C_EncryptFinal(fake_session, out, &len));
    assert_int_equal(len, 16);
    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_EncryptInit(fake_session, NULL, 0)); /* cancels: v3.0, 5.8.1 */
    CODE(C_Encrypt(fake_session, out, 1, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DecryptInit(fake_session, NULL, 0));
    OK(C_DecryptInit(fake_session, NULL, 0));
}

static void any_other_failure_ends_the_operation(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_GCM, &gcm, sizeof gcm };
    CK_BYTE out[64];
    CK_ULONG len = sizeof out;

    OK(C_DecryptInit(fake_session, &m, aes));
    CODE(C_Decrypt(fake_session, iv, 15, out, &len), CKR_ENCRYPTED_DATA_LEN_RANGE);
    CODE(C_Decrypt(fake_session, iv, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    ASKED(0);
    OK(C_DecryptInit(fake_session, &m, aes));
    CODE(C_Decrypt(fake_session, iv, 16, out, &len), CKR_ENCRYPTED_DATA_INVALID);
    CODE(C_Decrypt(fake_session, iv, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    ASKED(1);
}

static const struct { enum bw_code code; CK_RV rv; } failures[] = {
    { BW_UNREACHABLE,   CKR_DEVICE_ERROR },
    { BW_DEADLINE,      CKR_DEVICE_ERROR },
    { BW_NOT_PERMITTED, CKR_KEY_FUNCTION_NOT_PERMITTED },
    { BW_SERVER_REGION, CKR_KEY_FUNCTION_NOT_PERMITTED },
    { BW_KEY_DISABLED,  CKR_KEY_HANDLE_INVALID },
};

static void what_goes_wrong_at_the_region_is_told_and_the_session_lives_on(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_CBC, iv, 16 };
    CK_BYTE out[16];
    CK_ULONG len;

    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        CK_SESSION_INFO info;
        OK(C_EncryptInit(fake_session, &m, aes));
        fake_region_fail_next(failures[i].code);
        len = sizeof out;
        CODE(C_Encrypt(fake_session, iv, 16, out, &len), failures[i].rv);
        OK(C_GetSessionInfo(fake_session, &info));
        assert_int_equal(info.ulDeviceError, failures[i].code);
        OK(C_EncryptInit(fake_session, &m, aes));
        len = sizeof out;
        OK(C_Encrypt(fake_session, iv, 16, out, &len));
    }
}

static const struct { const char *why; CK_MECHANISM mechanism; int key; CK_RV rv; } refused[] = {
    { "a mechanism that signs",            { CKM_SHA256_RSA_PKCS, NULL, 0 },   0, CKR_MECHANISM_INVALID },
    { "no mechanism at all",               { 0x12345678, NULL, 0 },            0, CKR_MECHANISM_INVALID },
    { "an IV of 15 bytes",                 { CKM_AES_CBC, iv, 15 },            0, CKR_MECHANISM_PARAM_INVALID },
    { "an IV that is not there",           { CKM_AES_CBC, NULL, 16 },          0, CKR_ARGUMENTS_BAD },
    { "another type of key",               { CKM_AES_CBC, iv, 16 },            1, CKR_KEY_TYPE_INCONSISTENT },
    { "the private key",                   { CKM_RSA_PKCS, NULL, 0 },          2, CKR_KEY_FUNCTION_NOT_PERMITTED },
    { "a handle of nothing",               { CKM_AES_CBC, iv, 16 },            3, CKR_KEY_HANDLE_INVALID },
};

static void init_checks_mechanism_and_key_without_asking(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE keys[] = { aes, rsa_public, rsa_private, 12345 };

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        CK_MECHANISM m = refused[i].mechanism;
        CK_RV rv = C_EncryptInit(fake_session, &m, keys[refused[i].key]);
        if (rv != refused[i].rv)
            fail_msg("%s: 0x%lx", refused[i].why, rv);
    }
    ASKED(0);
}

/* ---- GCM's own ---- */

static void the_hsm_draws_an_iv_when_it_is_asked_to(void **state)
{
    (void)state;
    CK_BYTE drawn[16] = { 0 }, out[64], opened[64];
    CK_GCM_PARAMS params = { .pIv = drawn, .ulIvLen = 0, .ulIvBits = 96, .ulTagBits = 128 };
    CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof params };
    CK_ULONG len = sizeof out, opened_len = sizeof opened;

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)"text", 4, out, &len));
    assert_memory_not_equal(drawn, ((CK_BYTE[12]){ 0 }), 12);
    params.ulIvLen = 12;
    OK(C_DecryptInit(fake_session, &m, aes));
    OK(C_Decrypt(fake_session, out, len, opened, &opened_len));
    assert_memory_equal(opened, "text", 4);
    params.ulIvLen = 0;
    CODE(C_DecryptInit(fake_session, &m, aes), CKR_MECHANISM_PARAM_INVALID);
    params.ulIvBits = 0; /* no room was promised */
    CODE(C_EncryptInit(fake_session, &m, aes), CKR_MECHANISM_PARAM_INVALID);
}

static void parameters_may_be_gone_after_init(void **state)
{
    (void)state;
    CK_BYTE nonce[12] = { 7 }, aad[3] = { 8 }, one[64], two[64];
    CK_GCM_PARAMS params = { .pIv = nonce, .ulIvLen = 12, .pAAD = aad, .ulAADLen = 3, .ulTagBits = 128 };
    CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof params };
    CK_ULONG len = sizeof one;

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, iv, 16, one, &len));
    OK(C_EncryptInit(fake_session, &m, aes));
    memset(nonce, 0xee, sizeof nonce), memset(aad, 0xee, sizeof aad), memset(&params, 0xee, sizeof params);
    len = sizeof two;
    OK(C_Encrypt(fake_session, iv, 16, two, &len));
    assert_memory_equal(one, two, len);
}

static void messages_go_one_by_one(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_GCM, NULL, 0 };
    CK_BYTE nonce[12], tag[16], out[64], opened[64];
    CK_GCM_MESSAGE_PARAMS p = { nonce, sizeof nonce, 0, CKG_GENERATE, tag, 128 };

    OK(C_MessageEncryptInit(fake_session, &m, aes));
    OK(C_MessageDecryptInit(fake_session, &m, aes));
    for (int i = 0; i < 3; i++) {
        CK_ULONG len = sizeof out, opened_len = sizeof opened;
        p.ivGenerator = CKG_GENERATE;
        OK(C_EncryptMessage(fake_session, &p, sizeof p, iv, 5, (CK_BYTE *)"message", 7, out, &len));
        assert_int_equal(len, 7);
        p.ivGenerator = CKG_NO_GENERATE;
        OK(C_DecryptMessage(fake_session, &p, sizeof p, iv, 5, out, len, opened, &opened_len));
        assert_memory_equal(opened, "message", 7);
        ASKED(2);
    }
    tag[0] ^= 1;
    CODE(C_DecryptMessage(fake_session, &p, sizeof p, iv, 5, out, 7, opened, &(CK_ULONG){ 64 }), CKR_ENCRYPTED_DATA_INVALID);
    tag[0] ^= 1; /* one bad message does not end the others */
    OK(C_DecryptMessage(fake_session, &p, sizeof p, iv, 5, out, 7, opened, &(CK_ULONG){ 64 }));
    OK(C_MessageEncryptFinal(fake_session));
    OK(C_MessageDecryptFinal(fake_session));
}

static void a_message_may_come_in_parts(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_GCM, NULL, 0 };
    CK_BYTE nonce[12] = { 1 }, tag[16], whole_tag[16], out[64], whole[64];
    CK_GCM_MESSAGE_PARAMS p = { nonce, sizeof nonce, 0, CKG_NO_GENERATE, whole_tag, 128 };
    CK_ULONG len = sizeof whole;

    OK(C_MessageEncryptInit(fake_session, &m, aes));
    OK(C_EncryptMessage(fake_session, &p, sizeof p, iv, 5, (CK_BYTE *)"message", 7, whole, &len));
    p.pTag = tag;
    OK(C_EncryptMessageBegin(fake_session, &p, sizeof p, iv, 5));
    CODE(C_EncryptMessage(fake_session, &p, sizeof p, iv, 5, (CK_BYTE *)"message", 7, whole, &len), CKR_OPERATION_ACTIVE);
    len = sizeof out;
    OK(C_EncryptMessageNext(fake_session, &p, sizeof p, (CK_BYTE *)"mess", 4, out, &len, 0));
    assert_int_equal(len, 0);
    len = sizeof out;
    OK(C_EncryptMessageNext(fake_session, &p, sizeof p, (CK_BYTE *)"age", 3, out, &len, CKF_END_OF_MESSAGE));
    assert_int_equal(len, 7);
    assert_memory_equal(out, whole, 7);
    assert_memory_equal(tag, whole_tag, 16);
    CODE(C_EncryptMessageNext(fake_session, &p, sizeof p, (CK_BYTE *)"age", 3, out, &len, 0), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_MessageEncryptFinal(fake_session));
}

static void envelopes_go_by_their_own_rpc(void **state)
{
    (void)state;
    CK_BAILIWICK_PAIR pair = { (CK_UTF8CHAR *)"file", 4, (CK_UTF8CHAR *)"report.pdf", 10 };
    CK_BAILIWICK_ENVELOPE_PARAMS params = { &pair, 1 };
    CK_MECHANISM m = { CKM_BAILIWICK_ENVELOPE, &params, sizeof params };
    CK_BYTE out[512], opened[64];
    CK_ULONG len = sizeof out, opened_len = sizeof opened;

    OK(C_EncryptInit(fake_session, &m, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)"text", 4, out, &len));
    OK(C_DecryptInit(fake_session, &m, aes));
    OK(C_Decrypt(fake_session, out, len, opened, &opened_len));
    assert_int_equal(opened_len, 4);
    assert_memory_equal(opened, "text", 4);
    assert_int_equal(fake_region_asked_for(FAKE_ENVELOPE), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_call_is_one_rpc_and_a_query_none, fake_token_renew),
        cmocka_unit_test_setup(a_short_buffer_costs_no_second_rpc, fake_token_renew),
        cmocka_unit_test_setup(a_held_plaintext_is_for_the_same_ciphertext_only, fake_token_renew),
        cmocka_unit_test_setup(a_plaintext_is_not_held_for_ever, fake_token_renew),
        cmocka_unit_test_setup(parts_of_any_size_make_the_same, fake_token_renew),
        cmocka_unit_test_setup(a_part_comes_out_in_a_buffer_of_its_own_size, fake_token_renew),
        cmocka_unit_test_setup(counters_go_on_over_their_own_bits_only, fake_token_renew),
        cmocka_unit_test_setup(what_is_collected_has_a_limit, fake_token_renew),
        cmocka_unit_test_setup(moves_out_of_order_are_refused_and_end_nothing, fake_token_renew),
        cmocka_unit_test_setup(any_other_failure_ends_the_operation, fake_token_renew),
        cmocka_unit_test_setup(what_goes_wrong_at_the_region_is_told_and_the_session_lives_on, fake_token_renew),
        cmocka_unit_test_setup(init_checks_mechanism_and_key_without_asking, fake_token_renew),
        cmocka_unit_test_setup(the_hsm_draws_an_iv_when_it_is_asked_to, fake_token_renew),
        cmocka_unit_test_setup(parameters_may_be_gone_after_init, fake_token_renew),
        cmocka_unit_test_setup(messages_go_one_by_one, fake_token_renew),
        cmocka_unit_test_setup(a_message_may_come_in_parts, fake_token_renew),
        cmocka_unit_test_setup(envelopes_go_by_their_own_rpc, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, open_token, fake_token_close);
}
