/* The HSM layer against the real SoftHSM, and its results against OpenSSL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake/softhsm.h"
#include "hsm.h"

/* SoftHSM 2.6.1 leaks the curve's name at every C_SignInit and C_VerifyInit of an Ed25519 key; not ours to fix. It has no
 * frame pointers. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libsofthsm2.so\n"; }
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }

#define OK(expression) assert_int_equal((expression).code, BW_OK)
#define REFUSED(expression, code_) assert_int_equal((expression).code, code_)
#define SO_PIN   bw_bytes_text("so-pin-0")
#define USER_PIN bw_bytes_text("user-pin-0")
#define LABEL    "bw:eu:acme"

static struct softhsm softhsm;
static struct bw_hsm *hsm;
static struct bw_token *token;   /* of tenant acme, open between the cases */
static struct bw_arena arena;    /* cleared after every case */
static const char *module;
static uint8_t next_id = 1;

static const bw_region eu = { "eu" };
static const bw_tenant acme = { "acme" }, umbra = { "umbra" };

/* ---- helpers ---- */

static bw_key_id new_id(void)
{
    bw_key_id id = { { 0xa0, next_id++ } };
    return id;
}

static bw_bytes text(const char *t) { return bw_bytes_text(t); }

/* A new key version 1; ret_spki may be NULL for secret keys. */
static struct bw_hsm_object *new_key(enum bw_spec spec, bw_key_id *ret_id, struct bw_buf *ret_spki)
{
    struct bw_hsm_object *key = NULL;
    bw_key_id id = new_id();

    OK(bw_hsm_generate(token, bw_spec_row(spec), &id, 1, "a key", ret_spki));
    OK(bw_hsm_key(token, &id, 1, &key));
    if (ret_id != NULL)
        *ret_id = id;
    return key;
}

static struct bw_mechanism mechanism_of(CK_MECHANISM_TYPE type)
{
    static const uint8_t iv[16] = "0123456789abcde";
    struct bw_mechanism m = { .row = bw_mechanism_row(type) };

    assert_non_null(m.row);
    switch (m.row->params) {
    case BW_PARAMS_IV:      m.iv = bw_bytes_of(iv, 16); break;
    case BW_PARAMS_GCM:     m.iv = bw_bytes_of(iv, 12); m.tag_bits = 128; m.aad = text("who asks"); break;
    case BW_PARAMS_COUNTER: m.iv = bw_bytes_of(iv, 16); m.counter_bits = 128; break;
    case BW_PARAMS_OAEP:    m.hash = m.mgf = BW_DIGEST_SHA256; m.label = text("a label"); m.aes_bits = 256; break;
    case BW_PARAMS_PSS:     m.hash = m.mgf = BW_DIGEST_SHA256; m.salt_len = 32; break;
    default: break;
    }
    return m;
}

static EVP_PKEY *public_key(const struct bw_buf *spki)
{
    const uint8_t *at = spki->data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki->len);

    assert_non_null(key);
    assert_ptr_equal(at, spki->data + spki->len);
    return key;
}

/* A session key of a known value. */
static struct bw_hsm_object *known_key(CK_KEY_TYPE type, bw_bytes value, bool extractable)
{
    struct bw_session_key what = { .key_type = type, .uses = 0x7f & ~(unsigned)BW_USE_DERIVE, .extractable = extractable, .region = eu, .tenant = acme };
    struct bw_hsm_object *key = NULL;

    OK(bw_hsm_import_session(token, value, &what, &key));
    return key;
}

static const bw_bytes key32 = { (const uint8_t *)"an AES key of thirty-two bytes!!", 32 };

/* ---- every mechanism ---- */

static void the_self_test_finds_what_the_table_promises(void **state)
{
    (void)state;
    OK(bw_hsm_self_test(hsm, token));
    for (size_t i = 0; bw_mechanism_at(i) != NULL; i++) {
        const struct bw_mechanism_row *row = bw_mechanism_at(i);
        if (!bw_hsm_offers(hsm, row->type, row->uses))
            fail_msg("%s is not offered for all its uses", row->name);
    }
    assert_false(bw_hsm_offers(hsm, CKM_AES_GCM, BW_USE_SIGN));
    assert_false(bw_hsm_offers(hsm, CKM_DES3_CBC, BW_USE_ENCRYPT));
    OK(bw_hsm_ping(token));
}

static const struct { CK_MECHANISM_TYPE type; enum bw_spec spec; size_t len; } ciphers[] = {
    { CKM_AES_GCM,       BW_SPEC_AES_256,  0       }, { CKM_AES_GCM,       BW_SPEC_AES_128,  33      },
    { CKM_AES_GCM,       BW_SPEC_AES_192,  BW_DATA_MAX },
    { CKM_AES_CBC,       BW_SPEC_AES_256,  32      }, { CKM_AES_CBC_PAD,   BW_SPEC_AES_256,  0       },
    { CKM_AES_CBC_PAD,   BW_SPEC_AES_256,  32      }, { CKM_AES_CBC_PAD,   BW_SPEC_AES_256,  33      },
    { CKM_AES_CTR,       BW_SPEC_AES_256,  33      }, { CKM_AES_ECB,       BW_SPEC_AES_256,  32      },
    { CKM_RSA_PKCS,      BW_SPEC_RSA_2048, 245     }, { CKM_RSA_PKCS_OAEP, BW_SPEC_RSA_2048, 0       },
    { CKM_RSA_PKCS_OAEP, BW_SPEC_RSA_2048, 190     },
};

static void what_is_encrypted_decrypts(void **state)
{
    uint8_t *data = malloc(BW_DATA_MAX);
    (void)state;

    memset(data, 0x5a, BW_DATA_MAX);
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        struct bw_mechanism m = mechanism_of(ciphers[i].type);
        struct bw_buf spki = { 0 };
        struct bw_hsm_object *key = new_key(ciphers[i].spec, NULL, &spki);
        bw_bytes plaintext = bw_bytes_of(data, ciphers[i].len), ciphertext, back;

        OK(bw_hsm_encrypt(key, &m, plaintext, &arena, &ciphertext));
        OK(bw_hsm_decrypt(key, &m, ciphertext, &arena, &back));
        if (!bw_bytes_equal(plaintext, back))
            fail_msg("%s of %zu bytes", m.row->name, ciphers[i].len);
        bw_hsm_object_unref(key);
        bw_buf_clear(&spki);
    }
    free(data);
}

/* Lengths are refused before the HSM is asked, damage by the HSM. */
static const struct { const char *why; CK_MECHANISM_TYPE type; enum bw_spec spec; size_t len; bool decrypt; enum bw_code code; } refused[] = {
    { "GCM shorter than its tag",        CKM_AES_GCM,       BW_SPEC_AES_256,  15,              true,  BW_CIPHERTEXT_LENGTH  },
    { "GCM with a wrong tag",            CKM_AES_GCM,       BW_SPEC_AES_256,  48,              true,  BW_CIPHERTEXT_INVALID },
    { "CBC-PAD of nothing",              CKM_AES_CBC_PAD,   BW_SPEC_AES_256,  0,               true,  BW_CIPHERTEXT_LENGTH  },
    { "CBC-PAD of half a block",         CKM_AES_CBC_PAD,   BW_SPEC_AES_256,  24,              true,  BW_CIPHERTEXT_LENGTH  },
    { "CBC of half a block",             CKM_AES_CBC,       BW_SPEC_AES_256,  24,              false, BW_DATA_LENGTH        },
    { "ECB of half a block",             CKM_AES_ECB,       BW_SPEC_AES_256,  24,              true,  BW_CIPHERTEXT_LENGTH  },
    { "PKCS#1 v1.5 of one byte too many",CKM_RSA_PKCS,      BW_SPEC_RSA_2048, 246,             false, BW_DATA_LENGTH        },
    { "PKCS#1 v1.5 of noise",            CKM_RSA_PKCS,      BW_SPEC_RSA_2048, 256,             true,  BW_CIPHERTEXT_INVALID },
    { "OAEP of one byte too many",       CKM_RSA_PKCS_OAEP, BW_SPEC_RSA_2048, 191,             false, BW_DATA_LENGTH        },
    { "OAEP of noise",                   CKM_RSA_PKCS_OAEP, BW_SPEC_RSA_2048, 256,             true,  BW_CIPHERTEXT_INVALID },
    { "OAEP shorter than the modulus",   CKM_RSA_PKCS_OAEP, BW_SPEC_RSA_2048, 255,             true,  BW_CIPHERTEXT_LENGTH  },
    { "AES with an RSA key",             CKM_AES_GCM,       BW_SPEC_RSA_2048, 32,              true,  BW_KEY_TYPE           },
    { "RSA with an EC key",              CKM_RSA_PKCS,      BW_SPEC_EC_P256,  32,              false, BW_KEY_TYPE           },
    { "encrypting with a signature",     CKM_ECDSA,         BW_SPEC_EC_P256,  32,              false, BW_MECHANISM_INVALID  },
    { "more than one call takes",        CKM_AES_GCM,       BW_SPEC_AES_256,  BW_DATA_MAX + 1, false, BW_TOO_LARGE          },
};

static void bad_input_is_refused_by_name(void **state)
{
    uint8_t *data = calloc(1, BW_DATA_MAX + 1);
    (void)state;

    memset(data, 0x11, 512);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct bw_mechanism m = mechanism_of(refused[i].type);
        struct bw_buf spki = { 0 };
        struct bw_hsm_object *key = new_key(refused[i].spec, NULL, &spki);
        bw_bytes in = bw_bytes_of(data, refused[i].len), out;

        bw_result r = refused[i].decrypt ? bw_hsm_decrypt(key, &m, in, &arena, &out) : bw_hsm_encrypt(key, &m, in, &arena, &out);
        if (r.code != refused[i].code)
            fail_msg("%s: %s", refused[i].why, bw_code_row(r.code)->name);
        bw_hsm_object_unref(key);
        bw_buf_clear(&spki);
    }
    free(data);
}

/* ---- against OpenSSL ---- */

static void openssl_gcm(bw_bytes key, const struct bw_mechanism *m, bw_bytes plaintext, uint8_t *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len;

    assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key.data, m->iv.data), 1);
    assert_int_equal(EVP_EncryptUpdate(c, NULL, &len, m->aad.data, (int)m->aad.len), 1);
    assert_int_equal(EVP_EncryptUpdate(c, out, &len, plaintext.data, (int)plaintext.len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(c, out + len, &len), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, out + plaintext.len), 1);
    EVP_CIPHER_CTX_free(c);
}

static void gcm_is_openssls_gcm_and_covers_its_aad(void **state)
{
    struct bw_hsm_object *key = known_key(CKK_AES, key32, false);
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    bw_bytes plaintext = text("to be or not to be"), ciphertext, back;
    uint8_t expected[64];
    (void)state;

    openssl_gcm(key32, &m, plaintext, expected);
    OK(bw_hsm_encrypt(key, &m, plaintext, &arena, &ciphertext));
    assert_int_equal(ciphertext.len, plaintext.len + 16);
    assert_memory_equal(ciphertext.data, expected, ciphertext.len);

    for (size_t bit = 0; bit < 8 * ciphertext.len; bit++) {
        expected[bit / 8] ^= (uint8_t)(1 << bit % 8);
        REFUSED(bw_hsm_decrypt(key, &m, bw_bytes_of(expected, ciphertext.len), &arena, &back), BW_CIPHERTEXT_INVALID);
        expected[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    m.aad = text("who asks?");
    REFUSED(bw_hsm_decrypt(key, &m, ciphertext, &arena, &back), BW_CIPHERTEXT_INVALID);
    m.iv = bw_bytes_of(NULL, 0);
    REFUSED(bw_hsm_encrypt(key, &m, plaintext, &arena, &back), BW_MECHANISM_PARAM);
    bw_hsm_object_unref(key);
}

static const struct { enum bw_digest hash, mgf; const EVP_MD *(*openssl_hash)(void), *(*openssl_mgf)(void); const char *label; } oaeps[] = {
    { BW_DIGEST_SHA1,   BW_DIGEST_SHA1,   EVP_sha1,   EVP_sha1,   ""        },
    { BW_DIGEST_SHA1,   BW_DIGEST_SHA1,   EVP_sha1,   EVP_sha1,   "a label" },
    { BW_DIGEST_SHA256, BW_DIGEST_SHA256, EVP_sha256, EVP_sha256, "a label" },
    { BW_DIGEST_SHA256, BW_DIGEST_SHA1,   EVP_sha256, EVP_sha1,   ""        },
    { BW_DIGEST_SHA512, BW_DIGEST_SHA384, EVP_sha512, EVP_sha384, "x"       },
};

static EVP_PKEY_CTX *oaep_context(EVP_PKEY *key, size_t row)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);

    assert_int_equal(EVP_PKEY_encrypt_init(c), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(c, oaeps[row].openssl_hash()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(c, oaeps[row].openssl_mgf()), 1);
    if (oaeps[row].label[0] != '\0')
        assert_int_equal(EVP_PKEY_CTX_set0_rsa_oaep_label(c, strdup(oaeps[row].label), (int)strlen(oaeps[row].label)), 1);
    return c;
}

static void what_openssl_encrypts_with_oaep_decrypts(void **state)
{
    struct bw_buf spki = { 0 };
    struct bw_hsm_object *key = new_key(BW_SPEC_RSA_2048, NULL, &spki);
    EVP_PKEY *openssl_key = public_key(&spki);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(oaeps); i++) {
        struct bw_mechanism m = mechanism_of(CKM_RSA_PKCS_OAEP);
        EVP_PKEY_CTX *c = oaep_context(openssl_key, i);
        uint8_t ciphertext[256];
        size_t len = sizeof ciphertext;
        bw_bytes back;

        m.hash = oaeps[i].hash, m.mgf = oaeps[i].mgf, m.label = text(oaeps[i].label);
        assert_int_equal(EVP_PKEY_encrypt(c, ciphertext, &len, key32.data, key32.len), 1);
        OK(bw_hsm_decrypt(key, &m, bw_bytes_of(ciphertext, len), &arena, &back));
        assert_true(bw_bytes_equal(back, key32));
        m.label = text("another label");
        REFUSED(bw_hsm_decrypt(key, &m, bw_bytes_of(ciphertext, len), &arena, &back), BW_CIPHERTEXT_INVALID);
        EVP_PKEY_CTX_free(c);
    }
    EVP_PKEY_free(openssl_key);
    bw_buf_clear(&spki);
    bw_hsm_object_unref(key);
}

static const struct { CK_MECHANISM_TYPE type; enum bw_spec spec; } signatures[] = {
    { CKM_RSA_PKCS_PSS,   BW_SPEC_RSA_2048 }, { CKM_RSA_PKCS_PSS,   BW_SPEC_RSA_3072 }, { CKM_RSA_PKCS, BW_SPEC_RSA_2048 },
    { CKM_ECDSA,          BW_SPEC_EC_P256  }, { CKM_ECDSA,          BW_SPEC_EC_P384  }, { CKM_ECDSA,    BW_SPEC_EC_P521  },
    { CKM_EDDSA,          BW_SPEC_ED25519  },
};

/* OpenSSL wants ECDSA's numbers in DER. */
static size_t ecdsa_der(bw_bytes raw, uint8_t *der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.data, (int)raw.len / 2, NULL), *s = BN_bin2bn(raw.data + raw.len / 2, (int)raw.len / 2, NULL);

    assert_int_equal(ECDSA_SIG_set0(sig, r, s), 1);
    int len = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    return (size_t)len;
}

static int openssl_verifies(EVP_PKEY *key, CK_MECHANISM_TYPE type, bw_bytes digest, bw_bytes signature)
{
    uint8_t der[256];
    int verified;

    if (type == CKM_EDDSA) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit(md, NULL, NULL, NULL, key), 1);
        verified = EVP_DigestVerify(md, signature.data, signature.len, digest.data, digest.len);
        EVP_MD_CTX_free(md);
        return verified;
    }
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_verify_init(c), 1);
    if (type == CKM_RSA_PKCS_PSS) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(c, 32), 1);
    }
    if (type == CKM_ECDSA)
        signature = bw_bytes_of(der, ecdsa_der(signature, der));
    verified = EVP_PKEY_verify(c, signature.data, signature.len, digest.data, digest.len);
    EVP_PKEY_CTX_free(c);
    return verified;
}

static void openssl_verifies_our_signatures_with_the_public_key_returned(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        struct bw_mechanism m = mechanism_of(signatures[i].type);
        struct bw_buf spki = { 0 };
        struct bw_hsm_object *key = new_key(signatures[i].spec, NULL, &spki);
        EVP_PKEY *openssl_key = public_key(&spki);
        bw_bytes signature;

        OK(bw_hsm_sign(key, &m, key32, &arena, &signature));
        if (openssl_verifies(openssl_key, signatures[i].type, key32, signature) != 1)
            fail_msg("%s with %s", m.row->name, bw_spec_row(signatures[i].spec)->name);
        OK(bw_hsm_verify(key, &m, key32, signature));
        ((uint8_t *)signature.data)[signature.len / 2] ^= 1;
        REFUSED(bw_hsm_verify(key, &m, key32, signature), BW_SIGNATURE_INVALID);
        REFUSED(bw_hsm_verify(key, &m, key32, bw_bytes_of(signature.data, signature.len - 1)), BW_SIGNATURE_LENGTH);
        EVP_PKEY_free(openssl_key);
        bw_buf_clear(&spki);
        bw_hsm_object_unref(key);
    }
}

static void macs_verify_and_notice_damage(void **state)
{
    static const struct { CK_MECHANISM_TYPE type; enum bw_spec spec; size_t len; } macs[] = {
        { CKM_AES_CMAC, BW_SPEC_AES_256, 16 }, { CKM_SHA_1_HMAC, BW_SPEC_HMAC_256, 20 }, { CKM_SHA256_HMAC, BW_SPEC_HMAC_256, 32 },
        { CKM_SHA384_HMAC, BW_SPEC_HMAC_384, 48 }, { CKM_SHA512_HMAC, BW_SPEC_HMAC_512, 64 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(macs); i++) {
        struct bw_mechanism m = mechanism_of(macs[i].type);
        struct bw_hsm_object *key = new_key(macs[i].spec, NULL, NULL);
        bw_bytes mac;

        OK(bw_hsm_sign(key, &m, text(""), &arena, &mac));
        OK(bw_hsm_sign(key, &m, text("message"), &arena, &mac));
        assert_int_equal(mac.len, macs[i].len);
        OK(bw_hsm_verify(key, &m, text("message"), mac));
        REFUSED(bw_hsm_verify(key, &m, text("massage"), mac), BW_SIGNATURE_INVALID);
        bw_hsm_object_unref(key);
    }
}

/* ---- session keys ---- */

static const struct { CK_MECHANISM_TYPE type; enum bw_spec spec; enum bw_digest hash; } wrappings[] = {
    { CKM_AES_KEY_WRAP,     BW_SPEC_AES_256,  BW_DIGEST_NONE }, { CKM_AES_KEY_WRAP_PAD, BW_SPEC_AES_256,  BW_DIGEST_NONE   },
    { CKM_AES_KEY_WRAP_KWP, BW_SPEC_AES_128,  BW_DIGEST_NONE }, { CKM_AES_GCM,          BW_SPEC_AES_256,  BW_DIGEST_NONE   },
    { CKM_RSA_PKCS_OAEP,    BW_SPEC_RSA_2048, BW_DIGEST_SHA1 }, { CKM_RSA_PKCS_OAEP,    BW_SPEC_RSA_2048, BW_DIGEST_SHA256 },
    { CKM_RSA_AES_KEY_WRAP, BW_SPEC_RSA_2048, BW_DIGEST_SHA1 }, { CKM_RSA_AES_KEY_WRAP, BW_SPEC_RSA_2048, BW_DIGEST_SHA256 },
};

static void wrapped_keys_come_back_and_damaged_ones_do_not(void **state)
{
    struct bw_hsm_object *target = known_key(CKK_AES, key32, true), *kept = known_key(CKK_AES, key32, false);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(wrappings); i++) {
        struct bw_mechanism m = mechanism_of(wrappings[i].type);
        struct bw_session_key what = { .key_type = CKK_AES, .uses = BW_USE_ENCRYPT, .extractable = true };
        struct bw_buf spki = { 0 };
        struct bw_hsm_object *key = new_key(wrappings[i].spec, NULL, &spki), *back = NULL;
        bw_bytes wrapped, value;

        m.hash = m.mgf = wrappings[i].hash;
        if (m.hash == BW_DIGEST_SHA1)
            m.label = text(""); /* what the module unwraps by itself */
        OK(bw_hsm_wrap(key, &m, target, &arena, &wrapped));
        OK(bw_hsm_unwrap(key, &m, wrapped, &what, &back));
        assert_int_equal(what.length, 32);
        OK(bw_hsm_reveal(back, &arena, &value));
        assert_true(bw_bytes_equal(value, key32));
        bw_hsm_object_unref(back);
        REFUSED(bw_hsm_wrap(key, &m, kept, &arena, &wrapped), BW_NOT_PERMITTED);
        REFUSED(bw_hsm_wrap(key, &m, key, &arena, &wrapped), BW_NOT_PERMITTED);
        what.length = 16;
        REFUSED(bw_hsm_unwrap(key, &m, wrapped, &what, &back), BW_KEY_SIZE);
        what.length = 0;
        ((uint8_t *)wrapped.data)[wrapped.len - 1] ^= 1;
        REFUSED(bw_hsm_unwrap(key, &m, wrapped, &what, &back), BW_WRAPPED_KEY_INVALID);
        REFUSED(bw_hsm_unwrap(key, &m, bw_bytes_of(wrapped.data, 7), &what, &back), BW_WRAPPED_KEY_INVALID);
        bw_buf_clear(&spki);
        bw_hsm_object_unref(key);
    }
    bw_hsm_object_unref(target);
    bw_hsm_object_unref(kept);
}

static void a_key_agreed_with_openssl_is_the_same(void **state)
{
    struct bw_buf spki = { 0 };
    struct bw_hsm_object *key = new_key(BW_SPEC_EC_P384, NULL, &spki), *shared = NULL;
    EVP_PKEY *theirs = EVP_EC_gen("P-384"), *ours = public_key(&spki);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(theirs, NULL);
    struct bw_mechanism m = { .row = bw_mechanism_row(CKM_ECDH1_DERIVE) };
    struct bw_session_key what = { .key_type = CKK_GENERIC_SECRET, .extractable = true };
    uint8_t der[2 + 97] = { 0x04, 97 }, secret[48];
    size_t len = sizeof secret, point_len;
    bw_bytes value;
    (void)state;

    assert_int_equal(EVP_PKEY_get_octet_string_param(theirs, "pub", der + 2, 97, &point_len), 1);
    assert_true(EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, ours) == 1 && EVP_PKEY_derive(c, secret, &len) == 1);
    for (size_t skip = 0; skip <= 2; skip += 2) { /* with its DER, and bare */
        m.peer = bw_bytes_of(der + skip, sizeof der - skip);
        what.length = 0;
        OK(bw_hsm_derive(key, &m, &what, &shared));
        OK(bw_hsm_reveal(shared, &arena, &value));
        assert_int_equal(value.len, 48);
        assert_memory_equal(value.data, secret, 48);
        bw_hsm_object_unref(shared);
    }
    der[50] ^= 1;
    REFUSED(bw_hsm_derive(key, &m, &what, &shared), BW_MECHANISM_PARAM);
    m.peer.len--;
    REFUSED(bw_hsm_derive(key, &m, &what, &shared), BW_MECHANISM_PARAM);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(ours);
    bw_buf_clear(&spki);
    bw_hsm_object_unref(key);
}

static struct bw_hsm_object *sealed_key(bw_bytes *ret_sealed)
{
    struct bw_session_key what = { .key_type = CKK_AES, .length = 32, .uses = BW_USE_ENCRYPT | BW_USE_DECRYPT, .region = eu, .tenant = acme };
    struct bw_hsm_object *key = NULL;

    OK(bw_hsm_generate_session(token, &what, &key));
    OK(bw_hsm_seal(key, &arena, ret_sealed));
    return key;
}

/* Closes and opens, so that no copy and no cache is left. */
static void reopen(void)
{
    bw_token_free(token);
    OK(bw_token_open(hsm, LABEL, "", USER_PIN, &token));
}

static void a_sealed_key_opens_again_even_after_the_token_was_closed(void **state)
{
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    bw_bytes sealed, ciphertext, back, value;
    struct bw_hsm_object *key = sealed_key(&sealed), *again = NULL;
    struct bw_session_key what;
    (void)state;

    OK(bw_hsm_encrypt(key, &m, text("hello"), &arena, &ciphertext));
    OK(bw_hsm_unseal(token, &eu, &acme, sealed, &again, &what));
    assert_ptr_equal(again, key); /* the cache's */
    bw_hsm_object_unref(again);
    bw_hsm_object_unref(key);

    reopen();
    OK(bw_hsm_unseal(token, &eu, &acme, sealed, &again, &what));
    assert_int_equal(what.length, 32);
    assert_int_equal(what.uses, BW_USE_ENCRYPT | BW_USE_DECRYPT);
    assert_false(what.extractable);
    OK(bw_hsm_decrypt(again, &m, ciphertext, &arena, &back));
    assert_true(bw_bytes_equal(back, text("hello")));
    REFUSED(bw_hsm_reveal(again, &arena, &value), BW_NOT_PERMITTED);
    bw_hsm_object_unref(again);
}

/* ---- private session keys ---- */

static EVP_PKEY *session_public(struct bw_hsm_object *key, const struct bw_spec_row *spec)
{
    const struct bw_spec_row *told = NULL;
    struct bw_buf spki = { 0 };

    OK(bw_hsm_session_public(key, &told, &spki));
    assert_ptr_equal(told, spec);
    EVP_PKEY *public = spki.len > 0 ? public_key(&spki) : NULL;
    bw_buf_clear(&spki);
    return public;
}

/* With the private half inside and OpenSSL's outside. */
static void signs_for(struct bw_hsm_object *key, EVP_PKEY *public)
{
    struct bw_mechanism m = mechanism_of(bw_hsm_object_key_type(key) == CKK_RSA ? CKM_RSA_PKCS : CKM_ECDSA);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(public, NULL);
    bw_bytes signature;

    OK(bw_hsm_sign(key, &m, key32, &arena, &signature));
    assert_int_equal(EVP_PKEY_verify_init(context), 1);
    if (m.row->type == CKM_RSA_PKCS) {
        assert_int_equal(EVP_PKEY_verify(context, signature.data, signature.len, key32.data, key32.len), 1);
    } else {
        unsigned char *der = NULL;
        ECDSA_SIG *parts = ECDSA_SIG_new();
        size_t half = signature.len / 2;
        assert_int_equal(ECDSA_SIG_set0(parts, BN_bin2bn(signature.data, (int)half, NULL), BN_bin2bn(signature.data + half, (int)half, NULL)), 1);
        int len = i2d_ECDSA_SIG(parts, &der);
        assert_int_equal(EVP_PKEY_verify(context, der, (size_t)len, key32.data, key32.len), 1);
        OPENSSL_free(der);
        ECDSA_SIG_free(parts);
    }
    EVP_PKEY_CTX_free(context);
}

static struct bw_session_key private_key(unsigned uses, bool extractable)
{
    return (struct bw_session_key){ .uses = uses, .extractable = extractable, .region = eu, .tenant = acme };
}

static void a_pair_for_a_session_signs_before_and_after_its_seal(void **state)
{
    static const enum bw_spec specs[] = { BW_SPEC_RSA_2048, BW_SPEC_EC_P256, BW_SPEC_EC_P384, BW_SPEC_EC_P521 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const struct bw_spec_row *spec = bw_spec_row(specs[i]);
        struct bw_session_key what = private_key(BW_USE_SIGN, false), told;
        struct bw_hsm_object *key = NULL, *again = NULL;
        bw_bytes sealed;

        OK(bw_hsm_generate_session_pair(token, spec, &what, &key));
        EVP_PKEY *public = session_public(key, spec);
        signs_for(key, public);
        OK(bw_hsm_seal(key, &arena, &sealed));
        bw_hsm_object_unref(key);
        reopen();
        OK(bw_hsm_unseal(token, &eu, &acme, sealed, &again, &told));
        assert_int_equal(told.key_type, spec->key_type);
        assert_int_equal(told.uses, BW_USE_SIGN);
        signs_for(again, public);
        bw_hsm_object_unref(again);
        EVP_PKEY_free(public);
    }
}

static void a_private_key_comes_in_as_pkcs8_and_leaves_wrapped_or_not_at_all(void **state)
{
    static const struct { enum bw_spec spec; const char *type, *group; } kinds[] = {
        { BW_SPEC_RSA_2048, "RSA", NULL }, { BW_SPEC_RSA_4096, "RSA", NULL }, { BW_SPEC_EC_P256, "EC", "P-256" }, { BW_SPEC_EC_P521, "EC", "P-521" },
    };
    struct bw_hsm_object *aes = known_key(CKK_AES, key32, false);
    const struct bw_mechanism kwp = mechanism_of(CKM_AES_KEY_WRAP_PAD);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct bw_spec_row *spec = bw_spec_row(kinds[i].spec);
        EVP_PKEY *ours = kinds[i].group ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", kinds[i].group) : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)spec->bits);
        struct bw_session_key what = private_key(BW_USE_SIGN, true), other = private_key(BW_USE_SIGN, false);
        struct bw_hsm_object *key = NULL, *again = NULL;
        bw_bytes sealed, wrapped, value;
        unsigned char *der = NULL;
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(ours);
        int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);

        what.key_type = other.key_type = spec->key_type;
        OK(bw_hsm_import_session(token, bw_bytes_of(der, (size_t)len), &what, &key));
        EVP_PKEY_free(session_public(key, spec));
        signs_for(key, ours);
        OK(bw_hsm_seal(key, &arena, &sealed));
        OK(bw_hsm_wrap(aes, &kwp, key, &arena, &wrapped));
        assert_int_equal(wrapped.len, bw_hsm_session_key(key)->length + 8);
        REFUSED(bw_hsm_reveal(key, &arena, &value), BW_NOT_PERMITTED);
        OK(bw_hsm_unwrap(aes, &kwp, wrapped, &other, &again));
        signs_for(again, ours);
        REFUSED(bw_hsm_wrap(aes, &kwp, again, &arena, &wrapped), BW_NOT_PERMITTED);
        bw_hsm_object_unref(key);
        bw_hsm_object_unref(again);
        PKCS8_PRIV_KEY_INFO_free(info);
        OPENSSL_free(der);
        EVP_PKEY_free(ours);
    }
    bw_hsm_object_unref(aes);
}

static void what_is_no_private_key_for_a_session_is_refused(void **state)
{
    struct bw_session_key what = private_key(BW_USE_SIGN, false);
    struct bw_hsm_object *key = NULL;
    (void)state;

    REFUSED(bw_hsm_generate_session_pair(token, bw_spec_row(BW_SPEC_ED25519), &what, &key), BW_KEY_TYPE);
    REFUSED(bw_hsm_generate_session_pair(token, NULL, &what, &key), BW_KEY_TYPE);
    what.uses = BW_USE_ENCRYPT;
    REFUSED(bw_hsm_generate_session_pair(token, bw_spec_row(BW_SPEC_RSA_2048), &what, &key), BW_TEMPLATE_INVALID);
    what.key_type = CKK_EC;
    REFUSED(bw_hsm_import_session(token, key32, &what, &key), BW_DATA_INVALID);
}

static void a_seal_with_any_bit_changed_is_refused(void **state)
{
    bw_bytes sealed;
    struct bw_hsm_object *key = sealed_key(&sealed), *opened = NULL;
    struct bw_session_key what;
    uint8_t *bytes = (uint8_t *)sealed.data;
    (void)state;

    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bw_hsm_unseal(token, &eu, &acme, sealed, &opened, &what).code != BW_SEALED_KEY_INVALID)
            fail_msg("bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        REFUSED(bw_hsm_unseal(token, &eu, &acme, bw_bytes_of(sealed.data, len), &opened, &what), BW_SEALED_KEY_INVALID);
    bw_hsm_object_unref(key);
}

static void another_tenants_seal_is_refused(void **state)
{
    struct bw_token *other = NULL;
    bw_bytes sealed;
    struct bw_hsm_object *key = sealed_key(&sealed), *opened = NULL;
    struct bw_session_key what;
    bw_region us = { "us" };
    char serial[17];
    (void)state;

    REFUSED(bw_hsm_unseal(token, &eu, &umbra, sealed, &opened, &what), BW_SEALED_KEY_INVALID);
    REFUSED(bw_hsm_unseal(token, &us, &acme, sealed, &opened, &what), BW_SEALED_KEY_INVALID);
    OK(bw_token_create(hsm, "bw:eu:umbra", SO_PIN, USER_PIN, serial));
    OK(bw_token_open(hsm, "bw:eu:umbra", serial, USER_PIN, &other));
    REFUSED(bw_hsm_unseal(other, &eu, &acme, sealed, &opened, &what), BW_SEALED_KEY_INVALID); /* whatever it claims */
    bw_token_free(other);
    bw_hsm_object_unref(key);
}

static void session_keys_have_sizes_of_their_type(void **state)
{
    static const struct { CK_KEY_TYPE type; uint32_t len; enum bw_code code; } sizes[] = {
        { CKK_AES, 16, BW_OK }, { CKK_AES, 24, BW_OK }, { CKK_AES, 32, BW_OK }, { CKK_AES, 33, BW_KEY_SIZE }, { CKK_AES, 0, BW_KEY_SIZE },
        { CKK_GENERIC_SECRET, 33, BW_OK }, { CKK_GENERIC_SECRET, 15, BW_KEY_SIZE }, { CKK_GENERIC_SECRET, 513, BW_KEY_SIZE },
        { CKK_DES3, 24, BW_TEMPLATE_INVALID },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bw_session_key what = { .key_type = sizes[i].type, .length = sizes[i].len };
        struct bw_hsm_object *key = NULL;
        REFUSED(bw_hsm_generate_session(token, &what, &key), sizes[i].code);
        bw_hsm_object_unref(key);
    }
}

static void check_values_are_those_of_openssl(void **state)
{
    static const uint8_t zeros[16];
    struct bw_hsm_object *key = known_key(CKK_AES, key32, false);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t block[32], check[3];
    int len;
    (void)state;

    assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_ecb(), NULL, key32.data, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(c, block, &len, zeros, 16), 1);
    EVP_CIPHER_CTX_free(c);
    bool has_check;
    OK(bw_hsm_check_value(key, check, &has_check));
    assert_true(has_check);
    assert_memory_equal(check, block, 3);
    bw_hsm_object_unref(key);
}

/* ---- keys ---- */

static bw_result count_key(void *self, const bw_key_id *id, uint32_t version)
{
    unsigned *sum = self;
    *sum += (unsigned)(1000000 + id->bytes[1] * 1000) + version;
    return bw_success();
}

static void reopening_finds_the_same_keys(void **state)
{
    unsigned before = 0, after = 0;
    bw_key_id id;
    struct bw_hsm_object *key = new_key(BW_SPEC_AES_256, &id, NULL);
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    bw_bytes ciphertext, back;
    (void)state;

    OK(bw_hsm_generate(token, bw_spec_row(BW_SPEC_AES_256), &id, 2, "a key", NULL));
    REFUSED(bw_hsm_generate(token, bw_spec_row(BW_SPEC_AES_256), &id, 2, "a key", NULL), BW_ALREADY_EXISTS);
    OK(bw_hsm_encrypt(key, &m, text("kept"), &arena, &ciphertext));
    bw_hsm_object_unref(key);
    OK(bw_hsm_each_key(token, count_key, &before));
    reopen();
    OK(bw_hsm_each_key(token, count_key, &after));
    assert_int_equal(before, after);

    OK(bw_hsm_key(token, &id, 1, &key));
    assert_int_equal(bw_hsm_object_key_type(key), CKK_AES);
    assert_int_equal(bw_hsm_object_bits(key), 256);
    OK(bw_hsm_decrypt(key, &m, ciphertext, &arena, &back));
    assert_true(bw_bytes_equal(back, text("kept")));
    bw_hsm_object_unref(key);
    OK(bw_hsm_key(token, &id, 2, &key));
    REFUSED(bw_hsm_decrypt(key, &m, ciphertext, &arena, &back), BW_CIPHERTEXT_INVALID);
    bw_hsm_object_unref(key);
    REFUSED(bw_hsm_key(token, &id, 3, &key), BW_NO_SUCH_KEY);
    REFUSED(bw_hsm_key(token, &id, 0, &key), BW_NO_SUCH_KEY);
}

static void a_destroyed_key_is_gone_for_those_who_hold_it_too(void **state)
{
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    bw_key_id id, pair_id;
    struct bw_hsm_object *key = new_key(BW_SPEC_AES_256, &id, NULL), *again;
    struct bw_buf spki = { 0 };
    struct bw_hsm_object *pair = new_key(BW_SPEC_EC_P256, &pair_id, &spki);
    bw_bytes out;
    (void)state;

    OK(bw_hsm_destroy(token, &id, 1));
    OK(bw_hsm_destroy(token, &id, 1));
    OK(bw_hsm_destroy(token, &pair_id, 1));
    REFUSED(bw_hsm_encrypt(key, &m, text("x"), &arena, &out), BW_KEY_STATE);
    REFUSED(bw_hsm_key(token, &id, 1, &again), BW_NO_SUCH_KEY);
    bw_hsm_object_unref(key);
    bw_hsm_object_unref(pair);
    bw_buf_clear(&spki);
    reopen();
    REFUSED(bw_hsm_key(token, &id, 1, &again), BW_NO_SUCH_KEY);
    REFUSED(bw_hsm_key(token, &pair_id, 1, &again), BW_NO_SUCH_KEY);
}

static void a_forgotten_key_is_refused_to_holders_and_found_anew(void **state)
{
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    struct bw_session_key what = { .key_type = CKK_AES, .length = 32, .uses = BW_USE_ENCRYPT };
    bw_key_id id;
    struct bw_hsm_object *key = new_key(BW_SPEC_AES_256, &id, NULL), *from_it = NULL, *again = NULL;
    bw_bytes out;
    (void)state;

    what.origin = id;
    OK(bw_hsm_generate_session(token, &what, &from_it));
    bw_hsm_forget(token, &id, BW_KEY_STATE);
    REFUSED(bw_hsm_encrypt(key, &m, text("x"), &arena, &out), BW_KEY_STATE);
    REFUSED(bw_hsm_encrypt(from_it, &m, text("x"), &arena, &out), BW_KEY_STATE);
    OK(bw_hsm_key(token, &id, 1, &again));
    OK(bw_hsm_encrypt(again, &m, text("x"), &arena, &out));
    bw_hsm_object_unref(key);
    bw_hsm_object_unref(from_it);
    bw_hsm_object_unref(again);
}

/* The module's own functions: the layer and this test share one loaded module. */
static CK_FUNCTION_LIST *behind_the_layer(void)
{
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *f;

    assert_int_equal(get(&f), CKR_OK);
    (void)dlclose(library);
    return f;
}

/* Session objects on acme's token, which is the first that was made. */
static CK_ULONG session_objects(CK_BBOOL sensitive)
{
    CK_FUNCTION_LIST *f = behind_the_layer();
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE rows[] = { { CKA_TOKEN, &no, 1 }, { CKA_CLASS, &secret, sizeof secret }, { CKA_SENSITIVE, &sensitive, 1 } };
    CK_OBJECT_HANDLE found[2000];
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slots[32];
    CK_ULONG count = ARRAY_LEN(slots);

    assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    assert_int_equal(f->C_FindObjectsInit(session, rows, ARRAY_LEN(rows)), CKR_OK);
    assert_int_equal(f->C_FindObjects(session, found, ARRAY_LEN(found), &count), CKR_OK);
    (void)f->C_FindObjectsFinal(session);
    (void)f->C_CloseSession(session);
    return count;
}

static void session_keys_are_sensitive_unless_made_extractable(void **state)
{
    struct bw_mechanism m = mechanism_of(CKM_AES_KEY_WRAP_PAD);
    struct bw_hsm_object *key = new_key(BW_SPEC_AES_256, NULL, NULL), *target = known_key(CKK_AES, key32, true), *kept = NULL, *loose = NULL;
    struct bw_session_key what = { .key_type = CKK_AES };
    bw_bytes wrapped;
    (void)state;

    OK(bw_hsm_wrap(key, &m, target, &arena, &wrapped));
    CK_ULONG sensitive = session_objects(CK_TRUE), readable = session_objects(CK_FALSE);
    OK(bw_hsm_unwrap(key, &m, wrapped, &what, &kept));
    assert_int_equal(session_objects(CK_TRUE), sensitive + 1);
    what.extractable = true;
    OK(bw_hsm_unwrap(key, &m, wrapped, &what, &loose));
    assert_int_equal(session_objects(CK_FALSE), readable + 1);
    bw_hsm_object_unref(kept);
    bw_hsm_object_unref(loose);
    bw_hsm_object_unref(target);
    bw_hsm_object_unref(key);
    assert_int_equal(session_objects(CK_FALSE), readable - 1); /* nothing is left of them */
}

/* More keys than the cache holds: all of them still work. */
static void the_cache_of_copies_is_bounded(void **state)
{
    enum { KEYS = 600 };
    struct bw_mechanism m = mechanism_of(CKM_AES_ECB);
    static bw_bytes sealed[KEYS];
    bw_bytes out;
    (void)state;

    for (size_t i = 0; i < KEYS; i++)
        bw_hsm_object_unref(sealed_key(&sealed[i]));
    for (size_t i = 0; i < KEYS; i++) {
        struct bw_hsm_object *key = NULL;
        struct bw_session_key what;
        OK(bw_hsm_unseal(token, &eu, &acme, sealed[i], &key, &what));
        OK(bw_hsm_encrypt(key, &m, key32, &arena, &out));
        bw_hsm_object_unref(key);
    }
    assert_in_range(session_objects(CK_TRUE), 500, 512);
}

/* ---- tokens ---- */

static bw_result collect_label(void *self, const char *label)
{
    unsigned *seen = self;
    *seen += strcmp(label, LABEL) == 0;
    return bw_success();
}

static void tokens_are_found_by_label_serial_and_pin(void **state)
{
    struct bw_token *other = NULL;
    char serial[17], label[33];
    unsigned seen = 0;
    bw_tenant uuid = { "6f1f0a2e-9c39-4d2c-8a35-6a2a9f4d9a11" };
    (void)state;

    REFUSED(bw_token_create(hsm, LABEL, SO_PIN, USER_PIN, serial), BW_ALREADY_EXISTS);
    OK(bw_token_create(hsm, "bw:eu:pinned", SO_PIN, USER_PIN, serial));
    REFUSED(bw_token_open(hsm, "bw:eu:nobody", "", USER_PIN, &other), BW_HSM_UNAVAILABLE);
    REFUSED(bw_token_open(hsm, "bw:eu:pinned", "0000000000000000", USER_PIN, &other), BW_HSM_UNAVAILABLE);
    REFUSED(bw_token_open(hsm, "bw:eu:pinned", serial, text("user-pin-1"), &other), BW_CREDENTIAL_INVALID);
    OK(bw_token_open(hsm, "bw:eu:pinned", serial, USER_PIN, &other));
    bw_token_free(other);
    REFUSED(bw_token_open(hsm, LABEL, "", text("no matter, it is open"), &other), BW_CONFLICT);

    OK(bw_hsm_each_label(hsm, collect_label, &seen));
    assert_int_equal(seen, 1);
    bw_token_label(&eu, NULL, label);
    assert_string_equal(label, "bw:eu");
    bw_token_label(&eu, &acme, label);
    assert_string_equal(label, LABEL);
    bw_token_label(&eu, &uuid, label);
    assert_int_equal(strlen(label), 32);
    assert_memory_equal(label, "bw:eu:#", 7);
    assert_non_null(strstr(bw_hsm_description(hsm), "SoftHSM"));
}

/* Behind the layer's back, which refuses to make the second. */
static void init_twin(const char *label)
{
    CK_FUNCTION_LIST *f = behind_the_layer();
    CK_SLOT_ID slots[32];
    CK_ULONG count = ARRAY_LEN(slots);
    CK_UTF8CHAR padded[32];

    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strlen(label));
    assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(f->C_InitToken(slots[count - 1], (CK_UTF8CHAR *)SO_PIN.data, SO_PIN.len, padded), CKR_OK); /* SoftHSM's free slot is the last */
}

static void two_tokens_of_one_label_are_told_apart_by_serial_only(void **state)
{
    struct bw_token *twin = NULL;
    char serial[17];
    (void)state;

    OK(bw_token_create(hsm, "bw:eu:twin", SO_PIN, USER_PIN, serial));
    init_twin("bw:eu:twin");
    REFUSED(bw_token_open(hsm, "bw:eu:twin", "", USER_PIN, &twin), BW_HSM_UNAVAILABLE);
    OK(bw_token_open(hsm, "bw:eu:twin", serial, USER_PIN, &twin));
    bw_token_free(twin);
}

/* ---- threads ---- */

struct crowd { bw_key_id id; bw_bytes sealed; atomic_bool closing; atomic_uint served, refused, wrong; };

static void one_round(struct crowd *crowd, struct bw_arena *a)
{
    struct bw_mechanism m = mechanism_of(CKM_AES_GCM);
    struct bw_hsm_object *key = NULL, *session_key = NULL;
    struct bw_session_key what;
    bw_bytes out = { 0 }, back = { 0 };

    bw_result r = bw_hsm_key(token, &crowd->id, 1, &key);
    if (bw_ok(r))
        r = bw_hsm_encrypt(key, &m, key32, a, &out);
    if (bw_ok(r))
        r = bw_hsm_decrypt(key, &m, out, a, &back);
    if (bw_ok(r))
        r = bw_hsm_unseal(token, &eu, &acme, crowd->sealed, &session_key, &what);
    if (bw_ok(r))
        r = bw_hsm_encrypt(session_key, &m, key32, a, &out);
    bw_hsm_object_unref(key);
    bw_hsm_object_unref(session_key);
    if (bw_ok(r))
        atomic_fetch_add(bw_bytes_equal(back, key32) ? &crowd->served : &crowd->wrong, 1);
    else
        atomic_fetch_add(r.code == BW_TENANT_SEALED && atomic_load(&crowd->closing) ? &crowd->refused : &crowd->wrong, 1);
}

static void *rounds(void *argument)
{
    struct crowd *crowd = argument;
    struct bw_arena a = { 0 };

    while (atomic_load(&crowd->refused) < 64 && atomic_load(&crowd->wrong) == 0) {
        one_round(crowd, &a);
        bw_arena_clear(&a);
    }
    return NULL;
}

static void *mixed_load(void *argument)
{
    struct crowd *crowd = argument;
    struct bw_arena a = { 0 };

    for (int i = 0; i < 40; i++) {
        bw_key_id id = { { 0xb0, (uint8_t)i } };
        uint64_t self = (uint64_t)(uintptr_t)pthread_self();
        memcpy(id.bytes + 8, &self, 8);
        one_round(crowd, &a);
        if (i % 10 == 0 && (!bw_ok(bw_hsm_generate(token, bw_spec_row(BW_SPEC_AES_256), &id, 1, "", NULL)) || !bw_ok(bw_hsm_destroy(token, &id, 1))))
            atomic_fetch_add(&crowd->wrong, 1);
        if (i % 7 == 0)
            bw_hsm_forget(token, &id, BW_KEY_STATE);
        bw_arena_clear(&a);
    }
    return NULL;
}

static void eight_threads_with_mixed_load_all_get_their_answers(void **state)
{
    pthread_t threads[8];
    struct crowd crowd = { .id = { { 0 } } };
    (void)state;

    bw_hsm_object_unref(sealed_key(&crowd.sealed));
    bw_hsm_object_unref(new_key(BW_SPEC_AES_256, &crowd.id, NULL));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, mixed_load, &crowd), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(crowd.wrong, 0);
    assert_int_equal(crowd.served, 8 * 40);
}

static void closing_the_token_under_eight_threads_refuses_them_all(void **state)
{
    pthread_t threads[8];
    struct crowd crowd = { .id = { { 0 } } };
    (void)state;

    bw_hsm_object_unref(sealed_key(&crowd.sealed));
    bw_hsm_object_unref(new_key(BW_SPEC_AES_256, &crowd.id, NULL));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rounds, &crowd), 0);
    while (atomic_load(&crowd.served) < 200 && atomic_load(&crowd.wrong) == 0)
        sched_yield();
    atomic_store(&crowd.closing, true);
    bw_token_close(token);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(crowd.wrong, 0);
    reopen();
}

/* ---- ---- */

static int start(void **state)
{
    struct bw_hsm_options options = { .sessions = 4 };
    char serial[17];
    (void)state;

    module = softhsm_start(&softhsm);
    options.module = module;
    OK(bw_hsm_open(&options, &hsm));
    OK(bw_token_create(hsm, LABEL, SO_PIN, USER_PIN, serial));
    OK(bw_token_open(hsm, LABEL, serial, USER_PIN, &token));
    return 0;
}

static void start_again(void)
{
    bw_token_free(token);
    bw_hsm_close(hsm); /* SoftHSM looks at its files anew when it is opened */
    OK(bw_hsm_open(&(struct bw_hsm_options){ .module = module, .sessions = 4 }, &hsm));
    OK(bw_token_open(hsm, LABEL, "", USER_PIN, &token));
}

/* As a killed process leaves them: beside each object of the tokens, its first so many bytes. */
static void halve_objects(unsigned bytes)
{
    char command[256];

    (void)snprintf(command, sizeof command,
                   "find %s -name '*.object' ! -name token.object ! -name 'half*' | while read -r f; do "
                   "head -c %u \"$f\" >\"${f%%/*}/half-%u-${f##*/}\"; done", softhsm.folder, bytes, bytes);
    assert_int_equal(system(command), 0);
}

static void objects_that_were_half_written_are_passed_over(void **state)
{
    bw_key_id id;
    struct bw_hsm_object *key = new_key(BW_SPEC_AES_256, &id, NULL);
    (void)state;

    bw_hsm_object_unref(key);
    for (unsigned bytes = 0; bytes < 600; bytes += 60)
        halve_objects(bytes);
    start_again();
    OK(bw_hsm_key(token, &id, 1, &key));
    bw_hsm_object_unref(key);
}

static int stop(void **state)
{
    (void)state;
    bw_token_free(token);
    bw_hsm_close(hsm);
    softhsm_stop(&softhsm);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    bw_arena_clear(&arena);
    return 0;
}

#define CASE(name) cmocka_unit_test_teardown(name, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_self_test_finds_what_the_table_promises),
        CASE(what_is_encrypted_decrypts),
        CASE(bad_input_is_refused_by_name),
        CASE(gcm_is_openssls_gcm_and_covers_its_aad),
        CASE(what_openssl_encrypts_with_oaep_decrypts),
        CASE(openssl_verifies_our_signatures_with_the_public_key_returned),
        CASE(macs_verify_and_notice_damage),
        CASE(wrapped_keys_come_back_and_damaged_ones_do_not),
        CASE(a_key_agreed_with_openssl_is_the_same),
        CASE(a_sealed_key_opens_again_even_after_the_token_was_closed),
        CASE(a_seal_with_any_bit_changed_is_refused),
        CASE(another_tenants_seal_is_refused),
        CASE(a_pair_for_a_session_signs_before_and_after_its_seal),
        CASE(a_private_key_comes_in_as_pkcs8_and_leaves_wrapped_or_not_at_all),
        CASE(what_is_no_private_key_for_a_session_is_refused),
        CASE(session_keys_have_sizes_of_their_type),
        CASE(check_values_are_those_of_openssl),
        CASE(reopening_finds_the_same_keys),
        CASE(a_destroyed_key_is_gone_for_those_who_hold_it_too),
        CASE(a_forgotten_key_is_refused_to_holders_and_found_anew),
        CASE(session_keys_are_sensitive_unless_made_extractable),
        CASE(the_cache_of_copies_is_bounded),
        CASE(tokens_are_found_by_label_serial_and_pin),
        CASE(two_tokens_of_one_label_are_told_apart_by_serial_only),
        CASE(eight_threads_with_mixed_load_all_get_their_answers),
        CASE(closing_the_token_under_eight_threads_refuses_them_all),
        CASE(objects_that_were_half_written_are_passed_over), /* the last: it leaves them behind */
    };
    return cmocka_run_group_tests(tests, start, stop);
}
