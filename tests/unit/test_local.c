/* Public-key operations of the application's process: published vectors, what must be refused, and what OpenSSL's
 * default context makes and reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "local.h"
#include "spki.h"

enum { BYTES_MAX = 1024 };

struct bytes { uint8_t data[BYTES_MAX]; size_t len; };

static bw_bytes unhex(const char *text, struct bytes *bytes)
{
    bytes->len = strlen(text) / 2;
    assert_true(bw_unhex(text, strlen(text), bytes->data));
    return bw_bytes_of(bytes->data, bytes->len);
}

static int open_local(void **state)
{
    struct bw_local *local = NULL;
    if (!bw_ok(bw_local_new(&local)))
        return -1;
    *state = local;
    return 0;
}

static int close_local(void **state)
{
    bw_local_free(*state);
    return 0;
}

/* ---- signatures over curves ---- */

static const char p256[] = "06082a8648ce3d030107", ed25519[] = "06032b6570";

static const struct { const char *why; CK_MECHANISM_TYPE type; CK_KEY_TYPE key_type; const char *params, *point, *data, *signature; enum bw_code code; } curves[] = {
    /* RFC 6979, A.2.5: P-256, SHA-256 of "sample" */
    { "RFC 6979's signature", CKM_ECDSA, CKK_EC, p256,
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
      "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", BW_OK },
    { "the same of another digest", CKM_ECDSA, CKK_EC, p256,
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
      "bf2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", BW_SIGNATURE_INVALID },
    { "the same a byte short", CKM_ECDSA, CKK_EC, p256,
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
      "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acd", BW_SIGNATURE_LENGTH },
    { "a signature of zeros", CKM_ECDSA, CKK_EC, p256,
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
      "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
      "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", BW_SIGNATURE_INVALID },
    { "a point that is not on the curve", CKM_ECDSA, CKK_EC, p256,
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462290",
      "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", BW_DATA_INVALID },
    /* RFC 8032, 7.1: TEST 1 and TEST 2 */
    { "RFC 8032's TEST 1", CKM_EDDSA, CKK_EC_EDWARDS, ed25519, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b", BW_OK },
    { "RFC 8032's TEST 2", CKM_EDDSA, CKK_EC_EDWARDS, ed25519, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00", BW_OK },
    { "TEST 2 of another message", CKM_EDDSA, CKK_EC_EDWARDS, ed25519, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "73",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00", BW_SIGNATURE_INVALID },
    { "TEST 2 a byte short", CKM_EDDSA, CKK_EC_EDWARDS, ed25519, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c", BW_SIGNATURE_LENGTH },
};

static void signatures_over_curves_verify_or_not(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        struct bytes params, point, data, signature;
        struct bw_buf spki = { 0 };
        struct bw_public key = { .type = curves[i].key_type, .params = unhex(curves[i].params, &params), .point = unhex(curves[i].point, &point) };
        struct bw_mechanism m = { .row = bw_mechanism_row(curves[i].type) };

        assert_true(bw_ok(bw_spki_build(&key, &spki)));
        bw_result r = bw_local_verify(*state, bw_buf_bytes(&spki), &m, unhex(curves[i].data, &data), unhex(curves[i].signature, &signature));
        if (r.code != curves[i].code)
            fail_msg("%s: %s", curves[i].why, bw_code_row(r.code)->name);
        bw_buf_clear(&spki);
    }
}

/* ---- RSA, against OpenSSL's default context ---- */

static EVP_PKEY *rsa;
static struct bytes rsa_spki;

static int make_rsa(void **state)
{
    uint8_t *der = NULL;

    rsa = EVP_RSA_gen(2048);
    int len = i2d_PUBKEY(rsa, &der);
    assert_in_range(len, 1, BYTES_MAX);
    memcpy(rsa_spki.data, der, (size_t)len);
    rsa_spki.len = (size_t)len;
    OPENSSL_free(der);
    return open_local(state);
}

static int free_rsa(void **state)
{
    EVP_PKEY_free(rsa);
    return close_local(state);
}

static bw_bytes spki(void)
{
    return bw_bytes_of(rsa_spki.data, rsa_spki.len);
}

static const EVP_MD *md_of(enum bw_digest digest)
{
    return digest == BW_DIGEST_NONE ? NULL : EVP_get_digestbyname(digest == BW_DIGEST_SHA1 ? "SHA1" : digest == BW_DIGEST_SHA256 ? "SHA256" : "SHA512");
}

static const struct rsa_case { const char *why; CK_MECHANISM_TYPE type; int padding; enum bw_digest hash, mgf; unsigned salt_len; const char *label; size_t len; } rsa_cases[] = {
    { "OAEP, SHA-1",                      CKM_RSA_PKCS_OAEP, RSA_PKCS1_OAEP_PADDING, BW_DIGEST_SHA1,   BW_DIGEST_SHA1,   0, NULL,    32 },
    { "OAEP, SHA-256 with a label",       CKM_RSA_PKCS_OAEP, RSA_PKCS1_OAEP_PADDING, BW_DIGEST_SHA256, BW_DIGEST_SHA256, 0, "label", 32 },
    { "OAEP, SHA-512 over MGF1 of SHA-1", CKM_RSA_PKCS_OAEP, RSA_PKCS1_OAEP_PADDING, BW_DIGEST_SHA512, BW_DIGEST_SHA1,   0, NULL,    0 },
    { "OAEP, as much as fits",            CKM_RSA_PKCS_OAEP, RSA_PKCS1_OAEP_PADDING, BW_DIGEST_SHA1,   BW_DIGEST_SHA1,   0, NULL,    256 - 42 },
    { "PKCS#1",                           CKM_RSA_PKCS,      RSA_PKCS1_PADDING,      BW_DIGEST_NONE,   BW_DIGEST_NONE,   0, NULL,    245 },
    { "raw, shorter than the modulus",    CKM_RSA_X_509,     RSA_NO_PADDING,         BW_DIGEST_NONE,   BW_DIGEST_NONE,   0, NULL,    100 },
};

static struct bw_mechanism rsa_mechanism(const struct rsa_case *c)
{
    return (struct bw_mechanism){ .row = bw_mechanism_row(c->type), .hash = c->hash, .mgf = c->mgf, .salt_len = c->salt_len, .label = bw_bytes_text(c->label) };
}

static size_t open_with_openssl(const struct rsa_case *c, bw_bytes ciphertext, uint8_t *plaintext)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(rsa, NULL);
    size_t len = BYTES_MAX;

    assert_int_equal(EVP_PKEY_decrypt_init(context), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, c->padding), 1);
    if (c->padding == RSA_PKCS1_OAEP_PADDING) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(context, md_of(c->hash)), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(context, md_of(c->mgf)), 1);
        if (c->label != NULL)
            assert_int_equal(EVP_PKEY_CTX_set0_rsa_oaep_label(context, OPENSSL_strdup(c->label), (int)strlen(c->label)), 1);
    }
    assert_int_equal(EVP_PKEY_decrypt(context, plaintext, &len, ciphertext.data, ciphertext.len), 1);
    EVP_PKEY_CTX_free(context);
    return len;
}

static void what_is_encrypted_here_openssl_opens(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rsa_cases); i++) {
        const struct rsa_case *c = &rsa_cases[i];
        struct bw_mechanism m = rsa_mechanism(c);
        struct bw_buf ciphertext = { 0 };
        uint8_t plaintext[256], opened[BYTES_MAX];

        memset(plaintext, 0x5a, sizeof plaintext);
        assert_true(bw_ok(bw_local_encrypt(*state, spki(), &m, bw_bytes_of(plaintext, c->len), &ciphertext)));
        size_t len = open_with_openssl(c, bw_buf_bytes(&ciphertext), opened);
        size_t zeros = c->padding == RSA_NO_PADDING ? 256 - c->len : 0; /* a raw number has them in front */
        if (len != c->len + zeros || memcmp(opened + zeros, plaintext, c->len) != 0)
            fail_msg("%s", c->why);
        bw_buf_clear(&ciphertext);
    }
}

static const struct { const char *why; CK_MECHANISM_TYPE type; enum bw_digest hash; size_t len; } too_long[] = {
    { "PKCS#1 needs 11 bytes",    CKM_RSA_PKCS,      BW_DIGEST_NONE,   246 },
    { "OAEP needs twice its hash", CKM_RSA_PKCS_OAEP, BW_DIGEST_SHA256, 191 },
    { "more than the modulus",    CKM_RSA_X_509,     BW_DIGEST_NONE,   257 },
};

static void what_does_not_fit_is_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(too_long); i++) {
        struct bw_mechanism m = { .row = bw_mechanism_row(too_long[i].type), .hash = too_long[i].hash, .mgf = too_long[i].hash };
        struct bw_buf ciphertext = { 0 };
        uint8_t plaintext[300] = { 0 };

        if (bw_local_encrypt(*state, spki(), &m, bw_bytes_of(plaintext, too_long[i].len), &ciphertext).code != BW_DATA_LENGTH)
            fail_msg("%s", too_long[i].why);
        bw_buf_clear(&ciphertext);
    }
}

static size_t sign_with_openssl(int padding, const EVP_MD *md, int salt_len, bw_bytes data, uint8_t *signature)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(rsa, NULL);
    size_t len = BYTES_MAX;

    assert_int_equal(EVP_PKEY_sign_init(context), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, padding), 1);
    if (md != NULL)
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(context, md), 1);
    if (padding == RSA_PKCS1_PSS_PADDING)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt_len), 1);
    assert_int_equal(EVP_PKEY_sign(context, signature, &len, data.data, data.len), 1);
    EVP_PKEY_CTX_free(context);
    return len;
}

static enum bw_code verify(struct bw_local *local, const struct bw_mechanism *m, bw_bytes data, bw_bytes signature)
{
    return bw_local_verify(local, spki(), m, data, signature).code;
}

static void pkcs1_signatures_carry_their_digest_info(void **state)
{
    const struct bw_digest_row *sha256 = bw_digest_row(BW_DIGEST_SHA256);
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_RSA_PKCS) };
    uint8_t digest[32] = { 1, 2, 3 }, info[64], signature[BYTES_MAX];

    memcpy(info, sha256->der_prefix.data, sha256->der_prefix.len);
    memcpy(info + sha256->der_prefix.len, digest, sizeof digest);
    bw_bytes data = bw_bytes_of(info, sha256->der_prefix.len + sizeof digest);
    size_t len = sign_with_openssl(RSA_PKCS1_PADDING, EVP_sha256(), 0, bw_bytes_of(digest, sizeof digest), signature);

    assert_int_equal(verify(*state, &m, data, bw_bytes_of(signature, len)), BW_OK);
    assert_int_equal(verify(*state, &m, bw_bytes_of(digest, sizeof digest), bw_bytes_of(signature, len)), BW_SIGNATURE_INVALID);
    assert_int_equal(verify(*state, &m, data, bw_bytes_of(signature, len - 1)), BW_SIGNATURE_LENGTH);
    signature[5] ^= 1;
    assert_int_equal(verify(*state, &m, data, bw_bytes_of(signature, len)), BW_SIGNATURE_INVALID);
}

static void what_was_signed_is_recovered(void **state)
{
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_RSA_PKCS) };
    struct bw_buf found = { 0 };
    uint8_t signature[BYTES_MAX];
    size_t  len = sign_with_openssl(RSA_PKCS1_PADDING, NULL, 0, bw_bytes_of("any bytes", 9), signature);

    assert_true(bw_ok(bw_local_recover(*state, spki(), &m, bw_bytes_of(signature, len), &found)));
    assert_true(bw_bytes_equal(bw_buf_bytes(&found), bw_bytes_of("any bytes", 9)));
    bw_buf_clear(&found);
}

static void raw_signatures_compare_as_numbers(void **state)
{
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_RSA_X_509) };
    uint8_t number[256] = { 0 }, signature[BYTES_MAX];

    memcpy(number + 200, "a short number", 14);
    size_t len = sign_with_openssl(RSA_NO_PADDING, NULL, 0, bw_bytes_of(number, sizeof number), signature);
    assert_int_equal(verify(*state, &m, bw_bytes_of(number, sizeof number), bw_bytes_of(signature, len)), BW_OK);
    assert_int_equal(verify(*state, &m, bw_bytes_of(number + 200, 56), bw_bytes_of(signature, len)), BW_OK);
    assert_int_equal(verify(*state, &m, bw_bytes_of(number + 201, 55), bw_bytes_of(signature, len)), BW_SIGNATURE_INVALID);
}

static void pss_signatures_verify_with_their_own_parameters(void **state)
{
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_RSA_PKCS_PSS), .hash = BW_DIGEST_SHA256, .mgf = BW_DIGEST_SHA256, .salt_len = 32 };
    uint8_t digest[32] = { 9, 8, 7 }, signature[BYTES_MAX];
    bw_bytes data = bw_bytes_of(digest, sizeof digest);
    size_t len = sign_with_openssl(RSA_PKCS1_PSS_PADDING, EVP_sha256(), 32, data, signature);

    assert_int_equal(verify(*state, &m, data, bw_bytes_of(signature, len)), BW_OK);
    assert_int_equal(verify(*state, &m, bw_bytes_of(digest, 20), bw_bytes_of(signature, len)), BW_DATA_LENGTH);
    m.salt_len = 20;
    assert_int_equal(verify(*state, &m, data, bw_bytes_of(signature, len)), BW_SIGNATURE_INVALID);
}

static void the_hosts_error_queue_stays_as_it_was(void **state)
{
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_RSA_PKCS) };
    uint8_t signature[256] = { 1 };

    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    unsigned long hosts = ERR_peek_last_error();
    assert_int_equal(verify(*state, &m, bw_bytes_of("x", 1), bw_bytes_of(signature, sizeof signature)), BW_SIGNATURE_INVALID);
    assert_int_equal(ERR_peek_last_error(), hosts);
    ERR_clear_error();
    assert_int_equal(verify(*state, &m, bw_bytes_of("x", 1), bw_bytes_of(signature, sizeof signature)), BW_SIGNATURE_INVALID);
    assert_int_equal(ERR_peek_last_error(), 0);
}

/* ---- public keys as DER ---- */

static void spki_parts_build_the_same_again(void **state)
{
    (void)state;
    struct bw_public key;
    struct bw_buf built = { 0 };

    assert_true(bw_ok(bw_spki_parse(spki(), &key)));
    assert_int_equal(key.bits, 2048);
    assert_int_equal(key.modulus.len, 256);
    assert_int_not_equal(key.modulus.data[0], 0);
    assert_true(bw_ok(bw_spki_build(&key, &built)));
    assert_true(bw_bytes_equal(bw_buf_bytes(&built), spki()));
    bw_buf_clear(&built);
}

static void a_cut_or_padded_spki_is_refused(void **state)
{
    (void)state;
    struct bw_public key;

    for (size_t len = 0; len < rsa_spki.len; len++)
        assert_false(bw_ok(bw_spki_parse(bw_bytes_of(rsa_spki.data, len), &key)));
}

static void points_are_known_with_and_without_their_octet_string(void **state)
{
    (void)state;
    uint8_t point[65] = { 4, 63, 4, 4 }; /* looks like an OCTET STRING itself */
    struct bw_buf der = { 0 };

    assert_true(bw_ok(bw_spki_point(bw_bytes_of(point, sizeof point), &der)));
    assert_int_equal(der.len, sizeof point + 2);
    assert_true(bw_bytes_equal(bw_spki_bare_point(bw_buf_bytes(&der)), bw_bytes_of(point, sizeof point)));
    assert_true(bw_bytes_equal(bw_spki_bare_point(bw_bytes_of(point, sizeof point)), bw_bytes_of(point, sizeof point)));
    bw_buf_clear(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_over_curves_verify_or_not),
        cmocka_unit_test(what_is_encrypted_here_openssl_opens),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(pkcs1_signatures_carry_their_digest_info),
        cmocka_unit_test(what_was_signed_is_recovered),
        cmocka_unit_test(raw_signatures_compare_as_numbers),
        cmocka_unit_test(pss_signatures_verify_with_their_own_parameters),
        cmocka_unit_test(the_hosts_error_queue_stays_as_it_was),
        cmocka_unit_test(spki_parts_build_the_same_again),
        cmocka_unit_test(a_cut_or_padded_spki_is_refused),
        cmocka_unit_test(points_are_known_with_and_without_their_octet_string),
    };
    return cmocka_run_group_tests(tests, make_rsa, free_rsa);
}
