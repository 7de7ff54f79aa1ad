/* Objects through the C_ functions: finding, attributes, handles, what applications make, change and destroy, and session keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/x509.h>

#include "fake_token.h"
#include "object.h"

enum { ROOM = 2048 };

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY, private_key = CKO_PRIVATE_KEY, public_key = CKO_PUBLIC_KEY, certificate = CKO_CERTIFICATE, data = CKO_DATA;
static CK_KEY_TYPE type_aes = CKK_AES, type_rsa = CKK_RSA, type_ec = CKK_EC;

static int open_token(void **state)
{
    if (fake_token_open(state) != 0)
        return -1;
    fake_region_add_key(BW_SPEC_AES_256, "aes", "\x01");
    fake_region_add_key(BW_SPEC_RSA_2048, "rsa", "\x02");
    fake_region_add_key(BW_SPEC_EC_P256, "ec", "\x03");
    return 0;
}

static size_t read_bytes(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_BYTE *value)
{
    CK_ATTRIBUTE a = { type, value, ROOM };

    OK(C_GetAttributeValue(fake_session, object, &a, 1));
    return a.ulValueLen;
}

static CK_ULONG read_ulong(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG value;
    CK_ATTRIBUTE a = { type, &value, sizeof value };

    OK(C_GetAttributeValue(fake_session, object, &a, 1));
    return value;
}

static bool read_bool(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value;
    CK_ATTRIBUTE a = { type, &value, sizeof value };

    OK(C_GetAttributeValue(fake_session, object, &a, 1));
    assert_int_equal(a.ulValueLen, 1);
    return value == CK_TRUE;
}

/* ---- finding ---- */

static void what_the_region_has_is_found(void **state)
{
    (void)state;
    CK_ATTRIBUTE by_id[] = { { CKA_ID, (CK_BYTE *)"\x02", 1 } };
    CK_ATTRIBUTE by_class[] = { { CKA_CLASS, &private_key, sizeof private_key } };
    CK_ATTRIBUTE unknown[] = { { CKA_VENDOR_DEFINED | 7, &yes, 1 } };
    CK_ATTRIBUTE session_only[] = { { CKA_TOKEN, &no, 1 } };

    assert_int_equal(fake_token_count(NULL, 0), 7); /* two are profiles */
    ASKED(2); /* keys, and certificates and data */
    assert_int_equal(fake_token_count(by_id, 1), 2);
    assert_int_equal(fake_token_count(by_class, 1), 2);
    assert_int_equal(fake_token_count(NULL, 0), 7);
    assert_int_equal(fake_token_count(unknown, 1), 0);
    assert_int_equal(fake_token_count(session_only, 1), 0);
    ASKED(0); /* all of it was known */
}

/* What there is none of is not asked for either. */
static void classes_of_the_library_are_answered_here(void **state)
{
    (void)state;
    static const struct { CK_OBJECT_CLASS class; size_t count; } classes[] = {
        { CKO_PROFILE, 2 }, { CKO_MECHANISM, 0 }, { CKO_HW_FEATURE, 0 }, { CKO_DOMAIN_PARAMETERS, 0 }, { 0xce534352 /* CKO_NSS_CRL */, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        CK_ATTRIBUTE by_class = { CKA_CLASS, (void *)(uintptr_t)&classes[i].class, sizeof classes[i].class };
        assert_int_equal(fake_token_count(&by_class, 1), classes[i].count);
    }
    ASKED(0);
}

static void profiles_stay_as_they_are(void **state)
{
    (void)state;
    CK_OBJECT_CLASS class = CKO_PROFILE;
    CK_ULONG baseline = CKP_BASELINE_PROVIDER, count;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_PROFILE_ID, &baseline, sizeof baseline } }, label = { CKA_LABEL, "x", 1 };
    CK_OBJECT_HANDLE found, other;

    OK(C_FindObjectsInit(fake_session, template, 2));
    OK(C_FindObjects(fake_session, &found, 1, &count));
    OK(C_FindObjectsFinal(fake_session));
    assert_int_equal(count, 1);
    CODE(C_SetAttributeValue(fake_session, found, &label, 1), CKR_ACTION_PROHIBITED);
    CODE(C_CopyObject(fake_session, found, &label, 1, &other), CKR_ACTION_PROHIBITED);
    CODE(C_DestroyObject(fake_session, found), CKR_ACTION_PROHIBITED);
    CODE(C_CreateObject(fake_session, template, 1, &other), CKR_ATTRIBUTE_VALUE_INVALID);
    ASKED(0);
}

static void a_search_is_a_snapshot_handed_out_piece_by_piece(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE found[7];
    CK_ULONG count;

    CODE(C_FindObjects(fake_session, found, 1, &count), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_FindObjectsInit(fake_session, NULL, 0));
    CODE(C_FindObjectsInit(fake_session, NULL, 0), CKR_OPERATION_ACTIVE);
    for (int i = 0; i < 7; i++) {
        OK(C_FindObjects(fake_session, &found[i], 1, &count));
        assert_int_equal(count, 1);
        assert_int_not_equal(found[i], CK_INVALID_HANDLE);
    }
    for (int i = 0; i < 3; i++) {
        OK(C_FindObjects(fake_session, found, 7, &count));
        assert_int_equal(count, 0);
    }
    OK(C_FindObjectsFinal(fake_session));
    CODE(C_FindObjectsFinal(fake_session), CKR_OPERATION_NOT_INITIALIZED);
}

static void a_new_key_is_found_though_the_list_is_fresh(void **state)
{
    (void)state;
    CK_ATTRIBUTE by_label[] = { { CKA_LABEL, (CK_BYTE *)"late", 4 }, { CKA_CLASS, &secret_key, sizeof secret_key } };

    (void)fake_token_count(NULL, 0);
    assert_int_equal(fake_token_count(by_label, 2), 0);
    fake_region_add_key(BW_SPEC_AES_128, "late", "\x09");
    fake_token_later(BW_RETRY_MS + 1);
    assert_int_equal(fake_token_count(by_label, 2), 1);
    fake_region_remove_key("late");
}

static void handles_outlive_refreshes_and_absence(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE before = fake_token_find(CKO_SECRET_KEY, "aes");
    CK_MECHANISM m = { CKM_AES_ECB, NULL, 0 };
    CK_BYTE block[16];
    CK_ULONG len = sizeof block;

    OK(C_EncryptInit(fake_session, &m, before));
    fake_region_fail_next(BW_KEY_DISABLED); /* distrusts the list, so that the next search asks */
    CODE(C_Encrypt(fake_session, block, 16, block, &len), CKR_KEY_HANDLE_INVALID);
    (void)fake_region_asked();
    assert_int_equal(fake_token_find(CKO_SECRET_KEY, "aes"), before);
    assert_true(fake_region_asked() > 0);
    assert_int_equal(read_bool(before, CKA_SENSITIVE), true);
}

/* ---- attributes ---- */

static void keys_say_what_clients_ask(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE private = fake_token_find(CKO_PRIVATE_KEY, "rsa"), public = fake_token_find(CKO_PUBLIC_KEY, "rsa");
    CK_OBJECT_HANDLE ec = fake_token_find(CKO_PUBLIC_KEY, "ec"), secret = fake_token_find(CKO_SECRET_KEY, "aes");
    CK_BYTE one[ROOM], two[ROOM];

    assert_true(read_bool(private, CKA_SENSITIVE) && !read_bool(private, CKA_EXTRACTABLE) && read_bool(private, CKA_NEVER_EXTRACTABLE));
    assert_true(!read_bool(private, CKA_ALWAYS_AUTHENTICATE) && !read_bool(private, CKA_COPYABLE) && read_bool(private, CKA_LOCAL));
    assert_int_equal(read_ulong(private, CKA_KEY_GEN_MECHANISM), CKM_RSA_PKCS_KEY_PAIR_GEN);
    assert_int_equal(read_ulong(public, CKA_MODULUS_BITS), 2048);
    assert_int_equal(read_ulong(secret, CKA_VALUE_LEN), 32);
    assert_int_equal(read_bytes(private, CKA_ID, one), read_bytes(public, CKA_ID, two));
    assert_memory_equal(one, two, 1);
    assert_int_equal(read_bytes(private, CKA_MODULUS, one), 256);
    assert_int_not_equal(one[0], 0);
    assert_int_equal(read_bytes(private, CKA_PUBLIC_KEY_INFO, one), i2d_PUBKEY(fake_region_pkey("rsa"), NULL));
    assert_int_equal(read_bytes(ec, CKA_EC_POINT, one), 67);
    assert_memory_equal(one, "\x04\x41\x04", 3); /* an OCTET STRING of an uncompressed point */
    assert_int_equal(read_bytes(secret, CKA_ALLOWED_MECHANISMS, one) % sizeof(CK_MECHANISM_TYPE), 0);
    assert_int_equal(read_bytes(private, CKA_START_DATE, one), 0);
    assert_int_not_equal(read_bytes(private, CKA_UNIQUE_ID, one), read_bytes(public, CKA_UNIQUE_ID, two));
}

static void the_whole_template_is_walked(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE private = fake_token_find(CKO_PRIVATE_KEY, "rsa");
    CK_BYTE label[8], modulus[16], exponent[8];
    CK_ATTRIBUTE a[] = {
        { CKA_LABEL, label, sizeof label },
        { CKA_PRIVATE_EXPONENT, modulus, sizeof modulus },
        { CKA_MODULUS, modulus, sizeof modulus },
        { CKA_VALUE_LEN, modulus, sizeof modulus },
        { CKA_PUBLIC_EXPONENT, exponent, sizeof exponent },
        { CKA_MODULUS, NULL, 0 },
    };

    CODE(C_GetAttributeValue(fake_session, private, a, ARRAY_LEN(a)), CKR_ATTRIBUTE_SENSITIVE);
    assert_int_equal(a[0].ulValueLen, 3);
    assert_memory_equal(label, "rsa", 3);
    for (int i = 1; i < 4; i++)
        assert_int_equal(a[i].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(a[4].ulValueLen, 3);
    assert_memory_equal(exponent, "\1\0\1", 3);
    assert_int_equal(a[5].ulValueLen, 256);
    CODE(C_GetAttributeValue(fake_session, private, a + 3, 1), CKR_ATTRIBUTE_TYPE_INVALID);
    a[2].ulValueLen = 16;
    CODE(C_GetAttributeValue(fake_session, private, a + 2, 1), CKR_BUFFER_TOO_SMALL);
    CODE(C_GetAttributeValue(fake_session, 4711, a, 1), CKR_OBJECT_HANDLE_INVALID);
    CODE(C_GetAttributeValue(fake_session, private, NULL, 1), CKR_ARGUMENTS_BAD);
}

/* ---- session keys ---- */

static CK_OBJECT_HANDLE generate(CK_BBOOL *extractable, CK_BBOOL *sensitive)
{
    CK_MECHANISM m = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ULONG len = 32;
    CK_ATTRIBUTE t[] = { { CKA_VALUE_LEN, &len, sizeof len }, { CKA_EXTRACTABLE, extractable, 1 }, { CKA_SENSITIVE, sensitive, 1 }, { CKA_LABEL, (CK_BYTE *)"dek", 3 } };
    CK_OBJECT_HANDLE key;

    OK(C_GenerateKey(fake_session, &m, t, ARRAY_LEN(t), &key));
    return key;
}

static void a_session_key_is_wrapped_and_unwrapped_in_the_region(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE kek = fake_token_find(CKO_SECRET_KEY, "aes"), key = generate(&yes, &yes), again;
    CK_MECHANISM wrap = { CKM_AES_KEY_WRAP_PAD, NULL, 0 }, ecb = { CKM_AES_ECB, NULL, 0 };
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &secret_key, sizeof secret_key }, { CKA_KEY_TYPE, &type_aes, sizeof type_aes }, { CKA_TOKEN, &yes, 1 }, { CKA_DECRYPT, &no, 1 } };
    CK_BYTE wrapped[64], one[16] = { 0 }, two[16] = { 0 };
    CK_ULONG len = 0, block = 16;

    (void)fake_region_asked();
    OK(C_WrapKey(fake_session, &wrap, kek, key, NULL, &len));
    assert_int_equal(len, 40);
    len = 39;
    CODE(C_WrapKey(fake_session, &wrap, kek, key, wrapped, &len), CKR_BUFFER_TOO_SMALL);
    ASKED(0);
    OK(C_WrapKey(fake_session, &wrap, kek, key, wrapped, &len));
    OK(C_UnwrapKey(fake_session, &wrap, kek, wrapped, len, t, ARRAY_LEN(t), &again));
    ASKED(2);
    assert_false(read_bool(again, CKA_TOKEN));   /* a session object, and it says so */
    assert_false(read_bool(again, CKA_DECRYPT)); /* as asked */
    assert_true(read_bool(again, CKA_ENCRYPT));  /* not spoken of */
    OK(C_EncryptInit(fake_session, &ecb, key));
    OK(C_Encrypt(fake_session, one, 16, one, &block));
    OK(C_EncryptInit(fake_session, &ecb, again));
    OK(C_Encrypt(fake_session, two, 16, two, &block));
    assert_memory_equal(one, two, 16);
    CODE(C_DecryptInit(fake_session, &ecb, again), CKR_KEY_FUNCTION_NOT_PERMITTED);
    wrapped[3] ^= 1;
    CODE(C_UnwrapKey(fake_session, &wrap, kek, wrapped, len, t, ARRAY_LEN(t), &again), CKR_WRAPPED_KEY_INVALID);
}

/* FIPS 197, appendix C.1 */
static void a_session_key_with_a_given_value_is_used_in_the_region(void **state)
{
    (void)state;
    static CK_BYTE value[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    static CK_BYTE block[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    static const CK_BYTE expected[16] = { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a };
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &secret_key, sizeof secret_key }, { CKA_KEY_TYPE, &type_aes, sizeof type_aes }, { CKA_VALUE, value, 16 }, { CKA_TOKEN, &no, 1 } };
    CK_ATTRIBUTE read = { CKA_VALUE, NULL, 0 };
    CK_MECHANISM ecb = { CKM_AES_ECB, NULL, 0 };
    CK_BYTE cipher[16];
    CK_ULONG len = sizeof cipher;
    CK_OBJECT_HANDLE key;

    (void)fake_region_asked();
    OK(C_CreateObject(fake_session, t, ARRAY_LEN(t), &key));
    ASKED(1);
    OK(C_EncryptInit(fake_session, &ecb, key));
    OK(C_Encrypt(fake_session, block, 16, cipher, &len));
    ASKED(1);
    assert_memory_equal(cipher, expected, 16);
    CODE(C_GetAttributeValue(fake_session, key, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
    t[2].ulValueLen = 0;
    CODE(C_CreateObject(fake_session, t, 3, &key), CKR_TEMPLATE_INCOMPLETE);
    ASKED(0);
}

static void keys_that_may_not_leave_do_not(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE kek = fake_token_find(CKO_SECRET_KEY, "aes"), key = generate(&no, &yes);
    CK_MECHANISM wrap = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    CK_BYTE wrapped[64];
    CK_ULONG len = sizeof wrapped;

    (void)fake_region_asked();
    CODE(C_WrapKey(fake_session, &wrap, kek, key, wrapped, &len), CKR_KEY_UNEXTRACTABLE);
    CODE(C_WrapKey(fake_session, &wrap, kek, kek, wrapped, &len), CKR_KEY_UNEXTRACTABLE);
    ASKED(0);
}

static const struct { const char *why; CK_BBOOL *extractable, *sensitive; bool released; CK_RV rv; } values[] = {
    { "released to a readable key",             &yes, &no,  true,  CKR_OK },
    { "not released",                           &yes, &no,  false, CKR_ATTRIBUTE_SENSITIVE },
    { "released, but the key is to be sensitive", &yes, &yes, true,  CKR_ATTRIBUTE_SENSITIVE },
    { "never extractable",                      &no,  &no,  true,  CKR_ATTRIBUTE_SENSITIVE },
};

static void a_value_is_read_only_where_the_region_released_it(void **state)
{
    (void)state;
    CK_BYTE value[32];

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        fake_region_release(values[i].released);
        CK_OBJECT_HANDLE key = generate(values[i].extractable, values[i].sensitive);
        CK_ATTRIBUTE a = { CKA_VALUE, value, sizeof value };
        CK_RV rv = C_GetAttributeValue(fake_session, key, &a, 1);
        if (rv != values[i].rv)
            fail_msg("%s: 0x%lx", values[i].why, rv);
    }
}

static void two_sides_derive_the_same_secret(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE private = fake_token_find(CKO_PRIVATE_KEY, "ec"), public = fake_token_find(CKO_PUBLIC_KEY, "ec"), secret;
    CK_BYTE point[ROOM];
    size_t point_len = read_bytes(public, CKA_EC_POINT, point);
    CK_ECDH1_DERIVE_PARAMS p = { .kdf = CKD_NULL, .ulPublicDataLen = point_len, .pPublicData = point };
    CK_MECHANISM m = { CKM_ECDH1_DERIVE, &p, sizeof p };
    CK_ATTRIBUTE t[] = { { CKA_EXTRACTABLE, &yes, 1 }, { CKA_SENSITIVE, &no, 1 } };
    CK_BYTE one[ROOM], two[ROOM];

    fake_region_release(true);
    OK(C_DeriveKey(fake_session, &m, private, t, ARRAY_LEN(t), &secret));
    assert_int_equal(read_bytes(secret, CKA_VALUE, one), 32);
    p.pPublicData += 2, p.ulPublicDataLen -= 2; /* without its OCTET STRING */
    OK(C_DeriveKey(fake_session, &m, private, t, ARRAY_LEN(t), &secret));
    assert_int_equal(read_bytes(secret, CKA_VALUE, two), 32);
    assert_memory_equal(one, two, 32);
}

static void session_objects_go_with_their_session_and_no_handle_comes_twice(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE one = generate(&no, &yes), two;
    CK_SESSION_HANDLE other, first = fake_session;
    CK_SESSION_INFO info;

    OK(C_GetSessionInfo(fake_session, &info));
    OK(C_OpenSession(info.slotID, CKF_SERIAL_SESSION, NULL, NULL, &other));
    fake_session = other;
    assert_true(read_bool(one, CKA_ENCRYPT)); /* seen by all sessions */
    fake_session = first;
    (void)fake_token_renew(NULL);
    CODE(C_DestroyObject(fake_session, one), CKR_OBJECT_HANDLE_INVALID);
    two = generate(&no, &yes);
    assert_true(two > one);
    OK(C_CloseSession(other));
}

/* ---- keys of the application's own ---- */

static void an_application_makes_renames_and_destroys_its_keys(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_BYTE curve[] = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", id[] = "\x21";
    CK_ATTRIBUTE public[] = { { CKA_EC_PARAMS, curve, sizeof curve - 1 }, { CKA_VERIFY, &yes, 1 }, { CKA_TOKEN, &yes, 1 }, { CKA_ID, id, 1 } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 }, { CKA_SIGN, &yes, 1 }, { CKA_DERIVE, &no, 1 }, { CKA_SENSITIVE, &yes, 1 }, { CKA_LABEL, (CK_BYTE *)"own", 3 }, { CKA_ID, id, 1 } };
    CK_ATTRIBUTE renamed[] = { { CKA_LABEL, (CK_BYTE *)"ours", 4 } };
    CK_ATTRIBUTE widened[] = { { CKA_DERIVE, &yes, 1 } };
    CK_OBJECT_HANDLE pub, priv;

    OK(C_GenerateKeyPair(fake_session, &m, public, ARRAY_LEN(public), private, ARRAY_LEN(private), &pub, &priv));
    assert_true(read_bool(priv, CKA_TOKEN) && read_bool(priv, CKA_SIGN) && !read_bool(priv, CKA_DERIVE) && read_bool(pub, CKA_VERIFY));
    OK(C_SetAttributeValue(fake_session, priv, renamed, 1));
    assert_int_equal(fake_token_find(CKO_PRIVATE_KEY, "ours"), priv);
    assert_int_equal(fake_token_find(CKO_PUBLIC_KEY, "ours"), pub); /* both halves are one key */
    CODE(C_SetAttributeValue(fake_session, priv, widened, 1), CKR_ATTRIBUTE_READ_ONLY);
    OK(C_DestroyObject(fake_session, priv));
    assert_int_equal(fake_region_asked_for(FAKE_DELETE_KEY), 1);
    OK(C_DestroyObject(fake_session, pub));
    assert_int_equal(fake_region_asked_for(FAKE_DELETE_KEY), 1);
    CODE(C_DestroyObject(fake_session, priv), CKR_OBJECT_HANDLE_INVALID);
}

static const struct { const char *why; CK_ULONG len; CK_BBOOL *token, *extractable; CK_RV rv; } wanted[] = {
    { "a master key of 256 bits",              32, &yes, &no,  CKR_OK },
    { "a master key of 40 bits",                5, &yes, &no,  CKR_KEY_SIZE_RANGE },
    { "a master key that can leave",           32, &yes, &yes, CKR_TEMPLATE_INCONSISTENT },
    { "a session key of 192 bits",             24, &no,  &yes, CKR_OK },
};

static void templates_are_checked_before_the_region_is_asked(void **state)
{
    (void)state;
    CK_MECHANISM m = { CKM_AES_KEY_GEN, NULL, 0 };

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        CK_ULONG len = wanted[i].len;
        CK_ATTRIBUTE t[] = { { CKA_VALUE_LEN, &len, sizeof len }, { CKA_TOKEN, wanted[i].token, 1 }, { CKA_EXTRACTABLE, wanted[i].extractable, 1 } };
        CK_OBJECT_HANDLE key;
        CK_RV rv = C_GenerateKey(fake_session, &m, t, ARRAY_LEN(t), &key);
        if (rv != wanted[i].rv || fake_region_asked() != (rv == CKR_OK ? 1 : 0))
            fail_msg("%s: 0x%lx", wanted[i].why, rv);
        if (rv == CKR_OK)
            OK(C_DestroyObject(fake_session, key));
        (void)fake_region_asked();
    }
}

static void a_read_only_session_makes_nothing_on_the_token(void **state)
{
    (void)state;
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &data, sizeof data }, { CKA_TOKEN, &yes, 1 } };
    CK_SESSION_HANDLE read_only;
    CK_OBJECT_HANDLE object;
    CK_SESSION_INFO info;

    OK(C_GetSessionInfo(fake_session, &info));
    OK(C_OpenSession(info.slotID, CKF_SERIAL_SESSION, NULL, NULL, &read_only));
    CODE(C_CreateObject(read_only, t, 2, &object), CKR_SESSION_READ_ONLY);
    CODE(C_DestroyObject(read_only, fake_token_find(CKO_SECRET_KEY, "aes")), CKR_SESSION_READ_ONLY);
    t[1].pValue = &no;
    OK(C_CreateObject(read_only, t, 2, &object));
    OK(C_CloseSession(read_only));
}

/* ---- objects without secrets ---- */

static size_t self_signed(CK_BYTE *der)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    CK_BYTE *at = der;

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const CK_BYTE *)"test", -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(x, name), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 77);
    X509_gmtime_adj(X509_getm_notBefore(x), 0), X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    assert_int_equal(X509_set_pubkey(x, fake_region_pkey("rsa")), 1);
    assert_true(X509_sign(x, fake_region_pkey("rsa"), EVP_sha256()) > 0);
    int len = i2d_X509(x, &at);
    X509_free(x);
    return (size_t)len;
}

static void a_certificate_on_the_token_is_found_by_what_is_in_it(void **state)
{
    (void)state;
    CK_BYTE der[ROOM], serial[] = { 2, 1, 77 }, read[ROOM];
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &certificate, sizeof certificate }, { CKA_TOKEN, &yes, 1 }, { CKA_ID, (CK_BYTE *)"\x02", 1 }, { CKA_VALUE, der, self_signed(der) } };
    CK_ATTRIBUTE by_serial[] = { { CKA_CLASS, &certificate, sizeof certificate }, { CKA_SERIAL_NUMBER, serial, sizeof serial } };
    CK_ATTRIBUTE by_id[] = { { CKA_ID, (CK_BYTE *)"\x02", 1 } };
    CK_OBJECT_HANDLE object;

    OK(C_CreateObject(fake_session, t, ARRAY_LEN(t), &object));
    assert_int_equal(fake_token_count(by_serial, 2), 1);
    assert_int_equal(fake_token_count(by_id, 1), 3); /* with both halves of its key */
    assert_int_equal(read_bytes(object, CKA_SUBJECT, read), read_bytes(object, CKA_ISSUER, read));
    OK(C_DestroyObject(fake_session, object));
    assert_int_equal(fake_token_count(by_serial, 2), 0);
    t[3].ulValueLen -= 400;
    CODE(C_CreateObject(fake_session, t, ARRAY_LEN(t), &object), CKR_ATTRIBUTE_VALUE_INVALID);
}

static void a_public_key_of_a_session_verifies(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE kept = fake_token_find(CKO_PUBLIC_KEY, "ec"), made;
    CK_BYTE point[ROOM], params[ROOM], digest[32] = { 3 }, signature[64];
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &public_key, sizeof public_key }, { CKA_KEY_TYPE, &type_ec, sizeof type_ec },
        { CKA_EC_PARAMS, params, read_bytes(kept, CKA_EC_PARAMS, params) }, { CKA_EC_POINT, point, read_bytes(kept, CKA_EC_POINT, point) },
    };
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_ULONG len = sizeof signature;

    OK(C_CreateObject(fake_session, t, ARRAY_LEN(t), &made));
    OK(C_SignInit(fake_session, &m, fake_token_find(CKO_PRIVATE_KEY, "ec")));
    OK(C_Sign(fake_session, digest, 32, signature, &len));
    OK(C_VerifyInit(fake_session, &m, made));
    OK(C_Verify(fake_session, digest, 32, signature, len));
    t[1] = (CK_ATTRIBUTE){ CKA_KEY_TYPE, &type_rsa, sizeof type_rsa };
    CODE(C_CreateObject(fake_session, t, ARRAY_LEN(t), &made), CKR_ATTRIBUTE_TYPE_INVALID);
    CODE(C_CreateObject(fake_session, t, 1, &made), CKR_TEMPLATE_INCOMPLETE);
}

static void session_objects_are_copied_and_changed(void **state)
{
    (void)state;
    CK_ATTRIBUTE t[] = { { CKA_CLASS, &data, sizeof data }, { CKA_LABEL, (CK_BYTE *)"one", 3 }, { CKA_VALUE, (CK_BYTE *)"value", 5 } };
    CK_ATTRIBUTE changed[] = { { CKA_LABEL, (CK_BYTE *)"two", 3 } };
    CK_OBJECT_HANDLE object, copy;
    CK_BYTE value[ROOM];
    CK_ULONG size = 0;

    OK(C_CreateObject(fake_session, t, ARRAY_LEN(t), &object));
    OK(C_CopyObject(fake_session, object, changed, 1, &copy));
    assert_int_equal(fake_token_find(CKO_DATA, "two"), copy);
    assert_int_equal(read_bytes(copy, CKA_VALUE, value), 5);
    OK(C_SetAttributeValue(fake_session, object, changed, 1));
    assert_int_equal(read_bytes(object, CKA_LABEL, value), 3);
    assert_memory_equal(value, "two", 3);
    OK(C_GetObjectSize(fake_session, object, &size));
    assert_true(size > 8);
    CODE(C_CopyObject(fake_session, fake_token_find(CKO_SECRET_KEY, "aes"), NULL, 0, &copy), CKR_ACTION_PROHIBITED);
}

static void a_dead_region_is_a_device_error_and_no_more(void **state)
{
    (void)state;
    CK_ATTRIBUTE by_label[] = { { CKA_LABEL, (CK_BYTE *)"nothing of that name", 20 } };

    fake_token_later(BW_RETRY_MS + 1);
    fake_region_fail_next(BW_UNREACHABLE);
    CODE(C_FindObjectsInit(fake_session, by_label, 1), CKR_DEVICE_ERROR);
    assert_int_equal(fake_token_count(by_label, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_the_region_has_is_found, fake_token_renew),
        cmocka_unit_test_setup(classes_of_the_library_are_answered_here, fake_token_renew),
        cmocka_unit_test_setup(profiles_stay_as_they_are, fake_token_renew),
        cmocka_unit_test_setup(a_search_is_a_snapshot_handed_out_piece_by_piece, fake_token_renew),
        cmocka_unit_test_setup(a_new_key_is_found_though_the_list_is_fresh, fake_token_renew),
        cmocka_unit_test_setup(handles_outlive_refreshes_and_absence, fake_token_renew),
        cmocka_unit_test_setup(keys_say_what_clients_ask, fake_token_renew),
        cmocka_unit_test_setup(the_whole_template_is_walked, fake_token_renew),
        cmocka_unit_test_setup(a_session_key_is_wrapped_and_unwrapped_in_the_region, fake_token_renew),
        cmocka_unit_test_setup(a_session_key_with_a_given_value_is_used_in_the_region, fake_token_renew),
        cmocka_unit_test_setup(keys_that_may_not_leave_do_not, fake_token_renew),
        cmocka_unit_test_setup(a_value_is_read_only_where_the_region_released_it, fake_token_renew),
        cmocka_unit_test_setup(two_sides_derive_the_same_secret, fake_token_renew),
        cmocka_unit_test_setup(session_objects_go_with_their_session_and_no_handle_comes_twice, fake_token_renew),
        cmocka_unit_test_setup(an_application_makes_renames_and_destroys_its_keys, fake_token_renew),
        cmocka_unit_test_setup(templates_are_checked_before_the_region_is_asked, fake_token_renew),
        cmocka_unit_test_setup(a_read_only_session_makes_nothing_on_the_token, fake_token_renew),
        cmocka_unit_test_setup(a_certificate_on_the_token_is_found_by_what_is_in_it, fake_token_renew),
        cmocka_unit_test_setup(a_public_key_of_a_session_verifies, fake_token_renew),
        cmocka_unit_test_setup(session_objects_are_copied_and_changed, fake_token_renew),
        cmocka_unit_test_setup(a_dead_region_is_a_device_error_and_no_more, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, open_token, fake_token_close);
}
