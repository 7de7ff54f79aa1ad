/* Signatures, MACs and digests through the C_ functions: they verify, the payload does not travel, and one signature is one RPC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "fake_token.h"

enum { ROOM = 1024 };

static CK_OBJECT_HANDLE signing[6], verifying[6];
enum { RSA_KEY, P256, P521, ED, AES, HMAC_KEY };

static int open_token(void **state)
{
    static const struct { enum bw_spec spec; const char *label, *id; bool pair; } keys[] = {
        { BW_SPEC_RSA_2048, "rsa", "\x01", true },  { BW_SPEC_EC_P256, "p256", "\x02", true }, { BW_SPEC_EC_P521, "p521", "\x03", true },
        { BW_SPEC_ED25519,  "ed",  "\x04", true },  { BW_SPEC_AES_256, "aes", "\x05", false }, { BW_SPEC_HMAC_256, "hmac", "\x06", false },
    };

    if (fake_token_open(state) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        fake_region_add_key(keys[i].spec, keys[i].label, keys[i].id);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        signing[i]   = fake_token_find(keys[i].pair ? CKO_PRIVATE_KEY : CKO_SECRET_KEY, keys[i].label);
        verifying[i] = keys[i].pair ? fake_token_find(CKO_PUBLIC_KEY, keys[i].label) : signing[i];
    }
    return 0;
}

static CK_RSA_PKCS_PSS_PARAMS pss256 = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
static CK_RSA_PKCS_PSS_PARAMS pss1   = { CKM_SHA_1, CKG_MGF1_SHA1, 20 };

static const struct sign_case {
    const char  *why;
    CK_MECHANISM mechanism;
    int          key;
    size_t       data_len, travels, signature_len;
    bool         verified_at_region;
} cases[] = {
    { "RSA PKCS#1 of what the application hashed", { CKM_RSA_PKCS, NULL, 0 },                             RSA_KEY,   51,  51, 256, false },
    { "RSA PKCS#1 with SHA-256",                   { CKM_SHA256_RSA_PKCS, NULL, 0 },                      RSA_KEY, 1000,  51, 256, false },
    { "RSA PKCS#1 with SHA-512",                   { CKM_SHA512_RSA_PKCS, NULL, 0 },                      RSA_KEY, 1000,  83, 256, false },
    { "RSA without padding",                       { CKM_RSA_X_509, NULL, 0 },                            RSA_KEY,  256, 256, 256, false },
    { "RSA without padding, zeros before it",      { CKM_RSA_X_509, NULL, 0 },                            RSA_KEY,  200, 256, 256, false },
    { "RSA PSS of a digest",                       { CKM_RSA_PKCS_PSS, &pss256, sizeof pss256 },          RSA_KEY,   32,  32, 256, false },
    { "RSA PSS with SHA-256",                      { CKM_SHA256_RSA_PKCS_PSS, &pss256, sizeof pss256 },   RSA_KEY, 1000,  32, 256, false },
    { "RSA PSS with SHA-1",                        { CKM_SHA1_RSA_PKCS_PSS, &pss1, sizeof pss1 },         RSA_KEY, 1000,  20, 256, false },
    { "ECDSA of a digest",                         { CKM_ECDSA, NULL, 0 },                                P256,  32,  32,  64, false },
    { "ECDSA with SHA-256",                        { CKM_ECDSA_SHA256, NULL, 0 },                         P256, 1000, 32,  64, false },
    { "ECDSA with SHA-512 over P-521",             { CKM_ECDSA_SHA512, NULL, 0 },                         P521, 1000, 64, 132, false },
    { "Ed25519",                                   { CKM_EDDSA, NULL, 0 },                                ED,   100, 100,  64, false },
    { "HMAC-SHA256",                               { CKM_SHA256_HMAC, NULL, 0 },                          HMAC_KEY, 100, 100,  32, true },
    { "HMAC-SHA512",                               { CKM_SHA512_HMAC, NULL, 0 },                          HMAC_KEY, 100, 100,  64, true },
    { "AES-CMAC",                                  { CKM_AES_CMAC, NULL, 0 },                             AES,  100, 100,  16, true },
};

static void fill(CK_BYTE *data)
{
    memset(data, 0, ROOM);
    data[1] = 0x55; /* as a raw RSA number it is smaller than the modulus */
    data[999] = 0x77;
}

static void signatures_verify_and_payloads_stay(void **state)
{
    (void)state;
    CK_BYTE data[ROOM], signature[ROOM];

    fill(data);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct sign_case *c = &cases[i];
        CK_MECHANISM m = c->mechanism;
        CK_ULONG len = 0, asked = c->verified_at_region ? 1 : 0;

        print_message("           %s\n", c->why);
        OK(C_SignInit(fake_session, &m, signing[c->key]));
        OK(C_Sign(fake_session, data, c->data_len, NULL, &len));
        assert_int_equal(len, c->signature_len);
        len--;
        CODE(C_Sign(fake_session, data, c->data_len, signature, &len), CKR_BUFFER_TOO_SMALL);
        ASKED(0);
        OK(C_Sign(fake_session, data, c->data_len, signature, &len));
        assert_int_equal(len, c->signature_len);
        ASKED(1);
        assert_int_equal(fake_region_last_signed().len, c->travels);
        CODE(C_Sign(fake_session, data, c->data_len, signature, &len), CKR_OPERATION_NOT_INITIALIZED);

        OK(C_VerifyInit(fake_session, &m, verifying[c->key]));
        OK(C_Verify(fake_session, data, c->data_len, signature, len));
        ASKED(asked);
        OK(C_VerifyInit(fake_session, &m, verifying[c->key]));
        data[1] ^= 1;
        CODE(C_Verify(fake_session, data, c->data_len, signature, len), CKR_SIGNATURE_INVALID);
        data[1] ^= 1;
        ASKED(asked);
        OK(C_VerifyInit(fake_session, &m, verifying[c->key]));
        CODE(C_Verify(fake_session, data, c->data_len, signature, len - 1), CKR_SIGNATURE_LEN_RANGE);
        ASKED(0);
    }
}

static void parts_sign_as_the_whole(void **state)
{
    (void)state;
    static const size_t steps[] = { 1, 33, 999 };
    CK_BYTE data[ROOM], signature[ROOM];

    fill(data);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            const struct sign_case *c = &cases[i];
            CK_MECHANISM m = c->mechanism;
            CK_ULONG len = sizeof signature;

            OK(C_SignInit(fake_session, &m, signing[c->key]));
            OK(C_VerifyInit(fake_session, &m, verifying[c->key]));
            for (size_t at = 0; at < c->data_len; at += steps[k]) {
                size_t part = c->data_len - at < steps[k] ? c->data_len - at : steps[k];
                OK(C_SignUpdate(fake_session, data + at, part));
                OK(C_VerifyUpdate(fake_session, data + at, part));
            }
            CODE(C_Sign(fake_session, data, 1, signature, &len), CKR_OPERATION_ACTIVE);
            len = sizeof signature;
            OK(C_SignFinal(fake_session, signature, &len));
            if (C_VerifyFinal(fake_session, signature, len) != CKR_OK)
                fail_msg("%s in steps of %zu", c->why, steps[k]);
        }
}

static const struct { const char *why; CK_MECHANISM mechanism; int key; size_t len; CK_RV rv; } lengths[] = {
    { "PKCS#1 leaves 245 bytes",      { CKM_RSA_PKCS, NULL, 0 },                    RSA_KEY, 246, CKR_DATA_LEN_RANGE },
    { "PSS takes exactly a digest",   { CKM_RSA_PKCS_PSS, &pss256, sizeof pss256 }, RSA_KEY,  31, CKR_DATA_LEN_RANGE },
    { "a number over the modulus",    { CKM_RSA_X_509, NULL, 0 },                   RSA_KEY, 257, CKR_DATA_LEN_RANGE },
};

static void what_cannot_be_signed_is_refused_here(void **state)
{
    (void)state;
    CK_BYTE data[ROOM] = { 0 }, signature[ROOM];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        CK_MECHANISM m = lengths[i].mechanism;
        CK_ULONG len = sizeof signature;
        OK(C_SignInit(fake_session, &m, signing[lengths[i].key]));
        if (C_Sign(fake_session, data, lengths[i].len, signature, &len) != lengths[i].rv)
            fail_msg("%s", lengths[i].why);
    }
    ASKED(0);
}

static void a_pss_hash_must_be_the_mechanisms_own(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_SHA256_RSA_PKCS_PSS, &pss1, sizeof pss1 };

    CODE(C_SignInit(fake_session, &m, signing[RSA_KEY]), CKR_MECHANISM_PARAM_INVALID);
}

static void attributes_are_read_between_init_and_sign(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_BBOOL always = CK_TRUE;
    CK_ATTRIBUTE a = { CKA_ALWAYS_AUTHENTICATE, &always, sizeof always };
    CK_BYTE digest[32] = { 1 }, signature[64];
    CK_ULONG len = sizeof signature;

    OK(C_SignInit(fake_session, &m, signing[P256])); /* as OpenSSH does */
    OK(C_GetAttributeValue(fake_session, signing[P256], &a, 1));
    assert_int_equal(always, CK_FALSE);
    assert_int_equal(fake_token_count(&a, 1), 4); /* four private keys; finding disturbs nothing either */
    OK(C_Sign(fake_session, digest, sizeof digest, signature, &len));
}

static void what_was_signed_is_recovered(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_RSA_PKCS, NULL, 0 }, hashed = { CKM_SHA256_RSA_PKCS, NULL, 0 };
    CK_BYTE signature[256], data[256];
    CK_ULONG len = sizeof signature, data_len = 3;

    CODE(C_SignRecoverInit(fake_session, &hashed, signing[RSA_KEY]), CKR_MECHANISM_INVALID);
    OK(C_SignRecoverInit(fake_session, &m, signing[RSA_KEY]));
    OK(C_SignRecover(fake_session, (CK_BYTE *)"recover me", 10, signature, &len));
    OK(C_VerifyRecoverInit(fake_session, &m, verifying[RSA_KEY]));
    CODE(C_VerifyRecover(fake_session, signature, len, data, &data_len), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(data_len, 10);
    OK(C_VerifyRecover(fake_session, signature, len, data, &data_len));
    assert_memory_equal(data, "recover me", 10);
    ASKED(1);
}

static void messages_are_signed_one_by_one(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_ECDSA_SHA256, NULL, 0 };
    CK_BYTE signature[64];
    CK_ULONG len;

    OK(C_MessageSignInit(fake_session, &m, signing[P256]));
    OK(C_MessageVerifyInit(fake_session, &m, verifying[P256]));
    for (int i = 0; i < 3; i++) {
        len = sizeof signature;
        OK(C_SignMessage(fake_session, NULL, 0, (CK_BYTE *)"one message", 11, signature, &len));
        OK(C_VerifyMessage(fake_session, NULL, 0, (CK_BYTE *)"one message", 11, signature, len));
        CODE(C_VerifyMessage(fake_session, NULL, 0, (CK_BYTE *)"one Message", 11, signature, len), CKR_SIGNATURE_INVALID);
        ASKED(1);
    }
    OK(C_SignMessageBegin(fake_session, NULL, 0));
    OK(C_SignMessageNext(fake_session, NULL, 0, (CK_BYTE *)"one ", 4, NULL, NULL));
    OK(C_SignMessageNext(fake_session, NULL, 0, (CK_BYTE *)"message", 7, NULL, &len));
    assert_int_equal(len, 64);
    OK(C_SignMessageNext(fake_session, NULL, 0, (CK_BYTE *)"message", 7, signature, &len));
    OK(C_VerifyMessageBegin(fake_session, NULL, 0));
    OK(C_VerifyMessageNext(fake_session, NULL, 0, (CK_BYTE *)"one mess", 8, NULL, 0));
    OK(C_VerifyMessageNext(fake_session, NULL, 0, (CK_BYTE *)"age", 3, signature, len));
    OK(C_MessageSignFinal(fake_session));
    OK(C_MessageVerifyFinal(fake_session));
    CODE(C_MessageSignFinal(fake_session), CKR_OPERATION_NOT_INITIALIZED);
}

static void digests_are_local(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_SHA256, NULL, 0 };
    static const CK_BYTE abc[4] = { 0xba, 0x78, 0x16, 0xbf };
    CK_BYTE digest[32];
    CK_ULONG len = 31;

    OK(C_DigestInit(fake_session, &m));
    CODE(C_Digest(fake_session, (CK_BYTE *)"abc", 3, digest, &len), CKR_BUFFER_TOO_SMALL);
    OK(C_Digest(fake_session, (CK_BYTE *)"abc", 3, digest, &len));
    assert_memory_equal(digest, abc, 4);
    OK(C_DigestInit(fake_session, &m));
    OK(C_DigestUpdate(fake_session, (CK_BYTE *)"ab", 2));
    CODE(C_Digest(fake_session, (CK_BYTE *)"c", 1, digest, &len), CKR_OPERATION_ACTIVE);
    OK(C_DigestUpdate(fake_session, (CK_BYTE *)"c", 1));
    OK(C_DigestFinal(fake_session, NULL, &len));
    OK(C_DigestFinal(fake_session, digest, &len));
    assert_memory_equal(digest, abc, 4);
    CODE(C_DigestFinal(fake_session, digest, &len), CKR_OPERATION_NOT_INITIALIZED);
    ASKED(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(signatures_verify_and_payloads_stay, fake_token_renew),
        cmocka_unit_test_setup(parts_sign_as_the_whole, fake_token_renew),
        cmocka_unit_test_setup(what_cannot_be_signed_is_refused_here, fake_token_renew),
        cmocka_unit_test_setup(a_pss_hash_must_be_the_mechanisms_own, fake_token_renew),
        cmocka_unit_test_setup(attributes_are_read_between_init_and_sign, fake_token_renew),
        cmocka_unit_test_setup(what_was_signed_is_recovered, fake_token_renew),
        cmocka_unit_test_setup(messages_are_signed_one_by_one, fake_token_renew),
        cmocka_unit_test_setup(digests_are_local, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, open_token, fake_token_close);
}
