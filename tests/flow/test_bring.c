/* Keys that an application brings to the token, through C_CreateObject: what arrives at the region is the key, and what is no key
 * never leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "fake_token.h"

enum { PARTS = 8, PART_ROOM = 520 };

static CK_BBOOL yes = CK_TRUE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY, private_key = CKO_PRIVATE_KEY;
static CK_KEY_TYPE type_aes = CKK_AES, type_rsa = CKK_RSA, type_ec = CKK_EC;
static CK_BYTE p256[] = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", k256[] = "\x06\x05\x2b\x81\x04\x00\x0a"; /* secp256k1 is not offered */

/* ---- templates of OpenSSL's keys ---- */

static const struct { CK_ATTRIBUTE_TYPE type; const char *name; } parts[PARTS] = {
    { CKA_MODULUS,    OSSL_PKEY_PARAM_RSA_N         }, { CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E         }, { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D },
    { CKA_PRIME_1,    OSSL_PKEY_PARAM_RSA_FACTOR1   }, { CKA_PRIME_2,         OSSL_PKEY_PARAM_RSA_FACTOR2   },
    { CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1 }, { CKA_EXPONENT_2,      OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
};

struct key_template { CK_ATTRIBUTE rows[16]; CK_ULONG count; CK_BYTE bytes[PARTS][PART_ROOM]; };

static void add(struct key_template *t, CK_ATTRIBUTE_TYPE type, void *value, size_t len)
{
    t->rows[t->count++] = (CK_ATTRIBUTE){ type, value, len };
}

static void start(struct key_template *t, CK_OBJECT_CLASS *class, CK_KEY_TYPE *type)
{
    t->count = 0;
    add(t, CKA_CLASS, class, sizeof *class);
    add(t, CKA_KEY_TYPE, type, sizeof *type);
    add(t, CKA_TOKEN, &yes, 1);
    add(t, CKA_LABEL, (CK_BYTE *)"brought", 7);
}

static void add_number(struct key_template *t, const EVP_PKEY *key, size_t i, CK_ATTRIBUTE_TYPE type, const char *name)
{
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    add(t, type, t->bytes[i], (size_t)BN_bn2bin(number, t->bytes[i]));
    BN_clear_free(number);
}

static void rsa_template(struct key_template *t, const EVP_PKEY *key)
{
    start(t, &private_key, &type_rsa);
    for (size_t i = 0; i < PARTS; i++)
        add_number(t, key, i, parts[i].type, parts[i].name);
}

static void ec_template(struct key_template *t, const EVP_PKEY *key)
{
    start(t, &private_key, &type_ec);
    add(t, CKA_EC_PARAMS, p256, sizeof p256 - 1);
    add_number(t, key, 0, CKA_VALUE, OSSL_PKEY_PARAM_PRIV_KEY);
}

static CK_RV create(struct key_template *t, CK_OBJECT_HANDLE *ret_key)
{
    return C_CreateObject(fake_session, t->rows, t->count, ret_key);
}

/* ---- what arrives ---- */

static void private_keys_arrive_whole(void **state)
{
    EVP_PKEY *keys[] = { EVP_RSA_gen(2048u), EVP_EC_gen("P-256") };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct key_template t;
        CK_OBJECT_HANDLE key;

        (i == 0 ? rsa_template : ec_template)(&t, keys[i]);
        t.rows[3].pValue = i == 0 ? "the rsa" : "the ec!";
        (void)fake_region_asked();
        OK(create(&t, &key));
        ASKED(3);
        assert_int_equal(EVP_PKEY_eq(fake_region_pkey(i == 0 ? "the rsa" : "the ec!"), keys[i]), 1);
        assert_int_equal(fake_token_find(CKO_PRIVATE_KEY, t.rows[3].pValue), key);
        (void)fake_token_find(CKO_PUBLIC_KEY, t.rows[3].pValue); /* fails when there is none */
        EVP_PKEY_free(keys[i]);
    }
}

/* FIPS 197, appendix C.1 */
static void secret_keys_arrive_whole(void **state)
{
    static CK_BYTE value[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    static CK_BYTE block[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    static const CK_BYTE expected[16] = { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a };
    CK_ATTRIBUTE read = { CKA_VALUE, NULL, 0 };
    CK_MECHANISM ecb = { CKM_AES_ECB, NULL, 0 };
    struct key_template t;
    CK_OBJECT_HANDLE key;
    CK_BYTE cipher[16];
    CK_ULONG len = sizeof cipher;

    (void)state;
    start(&t, &secret_key, &type_aes);
    add(&t, CKA_VALUE, value, sizeof value);
    OK(create(&t, &key));
    OK(C_EncryptInit(fake_session, &ecb, key));
    OK(C_Encrypt(fake_session, block, 16, cipher, &len));
    assert_memory_equal(cipher, expected, 16);
    CODE(C_GetAttributeValue(fake_session, key, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
}

static void what_does_not_arrive_is_taken_back(void **state)
{
    static CK_BYTE value[16];
    unsigned deleted = fake_region_asked_for(FAKE_DELETE_KEY);
    struct key_template t;
    CK_OBJECT_HANDLE key;

    (void)state;
    start(&t, &secret_key, &type_aes);
    add(&t, CKA_VALUE, value, sizeof value);
    fake_region_fail_next_of(FAKE_IMPORT_MATERIAL, BW_HSM_FAILED);
    CODE(create(&t, &key), CKR_DEVICE_ERROR);
    assert_int_equal(fake_region_asked_for(FAKE_DELETE_KEY), deleted + 1);
}

/* ---- what is no key ---- */

static void no_secret_of_its_own(struct key_template *t)  { t->count--; }
static void extractable(struct key_template *t)           { add(t, CKA_EXTRACTABLE, &yes, 1); }
static void value_too_long(struct key_template *t)        { memset(t->bytes[0], 1, 40); t->rows[t->count - 1].ulValueLen = 40; }
static void value_zero(struct key_template *t)            { memset(t->bytes[0], 0, 32); t->rows[t->count - 1].ulValueLen = 32; }
static void another_curve(struct key_template *t)         { t->rows[4] = (CK_ATTRIBUTE){ CKA_EC_PARAMS, k256, sizeof k256 - 1 }; }
static void a_short_modulus(struct key_template *t)       { t->rows[4].ulValueLen = 128; }
static void a_public_attribute(struct key_template *t)    { add(t, CKA_ENCRYPT, &yes, 1); }

static const struct { const char *why; bool rsa; void (*spoil)(struct key_template *); CK_RV rv; } refused[] = {
    { "RSA without its coefficient",       true,  no_secret_of_its_own,  CKR_TEMPLATE_INCOMPLETE        },
    { "EC without its value",              false, no_secret_of_its_own,  CKR_TEMPLATE_INCOMPLETE        },
    { "a key that could leave",            true,  extractable,           CKR_TEMPLATE_INCONSISTENT      },
    { "a value longer than the order",     false, value_too_long,        CKR_ATTRIBUTE_VALUE_INVALID    },
    { "a value of zero",                   false, value_zero,            CKR_ATTRIBUTE_VALUE_INVALID    },
    { "a curve that is not offered",       false, another_curve,         CKR_CURVE_NOT_SUPPORTED        },
    { "RSA of 1024 bits",                  true,  a_short_modulus,       CKR_KEY_SIZE_RANGE             },
    { "what private keys do not have",     true,  a_public_attribute,    CKR_ATTRIBUTE_TYPE_INVALID     },
};

static void what_is_no_key_never_leaves(void **state)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048u), *ec = EVP_EC_gen("P-256");

    (void)state;
    (void)fake_region_asked();
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct key_template t;
        CK_OBJECT_HANDLE key;

        if (refused[i].rsa)
            rsa_template(&t, rsa);
        else
            ec_template(&t, ec);
        refused[i].spoil(&t);
        CK_RV rv = create(&t, &key);
        if (rv != refused[i].rv)
            fail_msg("%s: %lx", refused[i].why, rv);
    }
    ASKED(0);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
}

static void a_read_only_session_brings_nothing(void **state)
{
    static CK_BYTE value[16];
    CK_SESSION_INFO info;
    CK_SESSION_HANDLE read_only;
    struct key_template t;
    CK_OBJECT_HANDLE key;

    (void)state;
    start(&t, &secret_key, &type_aes);
    add(&t, CKA_VALUE, value, sizeof value);
    OK(C_GetSessionInfo(fake_session, &info));
    OK(C_OpenSession(info.slotID, CKF_SERIAL_SESSION, NULL, NULL, &read_only));
    CODE(C_CreateObject(read_only, t.rows, t.count, &key), CKR_SESSION_READ_ONLY);
    OK(C_CloseSession(read_only));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(private_keys_arrive_whole, fake_token_renew),
        cmocka_unit_test_setup(secret_keys_arrive_whole, fake_token_renew),
        cmocka_unit_test_setup(what_does_not_arrive_is_taken_back, fake_token_renew),
        cmocka_unit_test_setup(what_is_no_key_never_leaves, fake_token_renew),
        cmocka_unit_test_setup(a_read_only_session_brings_nothing, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, fake_token_open, fake_token_close);
}
