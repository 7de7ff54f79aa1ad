#include "local.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/limits.h"
#include "spki.h"

struct bw_local {
    OSSL_LIB_CTX *library;
};

/* Frees with the function of its type when it leaves its scope. */
static void pkey_auto(EVP_PKEY **at) { EVP_PKEY_free(*at); }
static void pkey_ctx_auto(EVP_PKEY_CTX **at) { EVP_PKEY_CTX_free(*at); }
static void md_ctx_auto(EVP_MD_CTX **at) { EVP_MD_CTX_free(*at); }
#define AUTO_PKEY     __attribute__((cleanup(pkey_auto))) EVP_PKEY *
#define AUTO_PKEY_CTX __attribute__((cleanup(pkey_ctx_auto))) EVP_PKEY_CTX *
#define AUTO_MD_CTX   __attribute__((cleanup(md_ctx_auto))) EVP_MD_CTX *

/* What OpenSSL puts on the thread's error queue between these two is taken off again: the queue is the host's. */
static void begin_errors(void) { (void)ERR_set_mark(); }
static bw_result end_errors(bw_result r)
{
    (void)ERR_pop_to_mark();
    return r;
}

bw_result bw_local_new(struct bw_local **ret_local)
{
    struct bw_local *local = calloc(1, sizeof *local);

    BW_CHECK(local != NULL, BW_NO_MEMORY, "public-key operations");
    local->library = OSSL_LIB_CTX_new();
    if (local->library == NULL) {
        free(local);
        return bw_fail(BW_NO_MEMORY, "OpenSSL's library context");
    }
    *ret_local = local;
    return bw_success();
}

void bw_local_free(struct bw_local *local)
{
    if (local == NULL)
        return;
    OSSL_LIB_CTX_free(local->library);
    free(local);
}

/* ---- keys ---- */

/* OpenSSL wants numbers in the machine's byte order. */
static bool native_number(bw_bytes number, uint8_t *native, size_t room)
{
    BIGNUM *bn = number.len <= room ? BN_bin2bn(number.data, (int)number.len, NULL) : NULL;
    bool done = bn != NULL && BN_bn2nativepad(bn, native, (int)number.len) == (int)number.len;

    BN_free(bn);
    return done;
}

/* Key types by their object identifiers. By their short names OpenSSL would first ask the host's engines, whatever the
 * library context, and one that takes all algorithms, ours maybe, cannot make keys of parameters. */
#define RSA_TYPE "1.2.840.113549.1.1.1" /* rsaEncryption, RFC 8017 A.1 */
#define EC_TYPE  "1.2.840.10045.2.1"    /* id-ecPublicKey, RFC 5480 2.1.1 */

static EVP_PKEY *pkey_from(struct bw_local *local, const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    AUTO_PKEY_CTX context = EVP_PKEY_CTX_new_from_name(local->library, type, NULL);

    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 || EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return pkey;
}

static EVP_PKEY *rsa_pkey(struct bw_local *local, const struct bw_public *key)
{
    uint8_t n[BW_SIGNATURE_MAX], e[BW_SIGNATURE_MAX];

    if (!native_number(key->modulus, n, sizeof n) || !native_number(key->exponent, e, sizeof e))
        return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, key->modulus.len),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, key->exponent.len),
        OSSL_PARAM_construct_end(),
    };
    return pkey_from(local, RSA_TYPE, params);
}

static EVP_PKEY *ec_pkey(struct bw_local *local, const struct bw_public *key)
{
    char  name[] = "P-???";
    void *point  = (void *)(uintptr_t)key->point.data; /* OpenSSL only reads it */

    (void)BIO_snprintf(name, sizeof name, "P-%u", key->bits);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, key->point.len),
        OSSL_PARAM_construct_end(),
    };
    return pkey_from(local, EC_TYPE, params);
}

/* A key of the type that the mechanism takes. */
static bw_result pkey_open(struct bw_local *local, bw_bytes spki, CK_KEY_TYPE type, EVP_PKEY **ret_pkey)
{
    struct bw_public key;
    EVP_PKEY *pkey = NULL;

    BW_TRY(bw_spki_parse(spki, &key));
    BW_CHECK(key.type == type, BW_KEY_TYPE, "the mechanism takes another type of key");
    if (type == CKK_RSA)
        pkey = rsa_pkey(local, &key);
    else if (type == CKK_EC)
        pkey = ec_pkey(local, &key);
    else if (type == CKK_EC_EDWARDS)
        pkey = EVP_PKEY_new_raw_public_key_ex(local->library, "ED25519", NULL, key.point.data, key.point.len);
    BW_CHECK(pkey != NULL, BW_DATA_INVALID, "public key");
    *ret_pkey = pkey;
    return bw_success();
}

static const char *digest_name(enum bw_digest digest)
{
    const struct bw_digest_row *row = bw_digest_row(digest);
    return row ? row->name : "none";
}

/* ---- RSA ---- */

static bool set_padding(EVP_PKEY_CTX *context, const struct bw_mechanism *m)
{
    switch (m->row->type) {
    case CKM_RSA_PKCS:  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    case CKM_RSA_X_509: return EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING) == 1;
    default:            return false;
    }
}

/* One by one, and not as OSSL_PARAMs: those an engine of the host's, which may have taken the context, does not understand. */
static bool set_pss(EVP_PKEY_CTX *context, const struct bw_mechanism *m)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(context, EVP_get_digestbyname(digest_name(m->hash))) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_get_digestbyname(digest_name(m->mgf))) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, (int)m->salt_len) == 1;
}

/* The number under an RSA signature, unpadded. */
static bw_result recover(EVP_PKEY_CTX *context, const struct bw_mechanism *m, bw_bytes signature, struct bw_buf *ret_data)
{
    uint8_t data[BW_SIGNATURE_MAX];
    size_t  len = sizeof data;

    BW_CHECK(EVP_PKEY_verify_recover_init(context) == 1 && set_padding(context, m), BW_INTERNAL, "RSA verification");
    BW_CHECK(EVP_PKEY_verify_recover(context, data, &len, signature.data, signature.len) == 1, BW_SIGNATURE_INVALID, "RSA signature");
    return bw_buf_add(ret_data, (bw_bytes){ data, len });
}

/* Compares from the right: a raw RSA number that is shorter than the modulus stands for one with zeros in front. */
static bool same_number(bw_bytes number, bw_bytes data)
{
    size_t zeros = number.len - (data.len < number.len ? data.len : number.len);

    for (size_t i = 0; i < zeros; i++)
        if (number.data[i] != 0)
            return false;
    return bw_bytes_equal((bw_bytes){ number.data + zeros, number.len - zeros }, data);
}

static bw_result verify_recovered(EVP_PKEY_CTX *context, const struct bw_mechanism *m, bw_bytes data, bw_bytes signature)
{
    struct bw_buf found = { 0 };
    bw_result r = recover(context, m, signature, &found);
    bw_bytes  got = bw_buf_bytes(&found);
    bool      same = m->row->type == CKM_RSA_X_509 ? same_number(got, data) : bw_bytes_equal(got, data);

    if (bw_ok(r) && !same)
        r = bw_fail(BW_SIGNATURE_INVALID, "RSA signature of other data");
    bw_buf_clear(&found);
    return r;
}

static bw_result verify_pss(EVP_PKEY_CTX *context, const struct bw_mechanism *m, bw_bytes data, bw_bytes signature)
{
    const struct bw_digest_row *hash = bw_digest_row(m->hash);

    BW_CHECK(hash != NULL && data.len == hash->len, BW_DATA_LENGTH, "not a digest of the mechanism's hash");
    BW_CHECK(EVP_PKEY_verify_init(context) == 1 && set_pss(context, m), BW_MECHANISM_PARAM, "PSS parameters");
    BW_CHECK(EVP_PKEY_verify(context, signature.data, signature.len, data.data, data.len) == 1, BW_SIGNATURE_INVALID, "PSS signature");
    return bw_success();
}

static bw_result verify_rsa(struct bw_local *local, EVP_PKEY *pkey, const struct bw_mechanism *m, bw_bytes data,
                            bw_bytes signature)
{
    AUTO_PKEY_CTX context = EVP_PKEY_CTX_new_from_pkey(local->library, pkey, NULL);

    BW_CHECK(context != NULL, BW_NO_MEMORY, "RSA verification");
    BW_CHECK(signature.len == (size_t)EVP_PKEY_get_size(pkey), BW_SIGNATURE_LENGTH, "not as long as the modulus");
    if (m->row->type == CKM_RSA_PKCS_PSS)
        return verify_pss(context, m, data, signature);
    BW_CHECK(data.len <= signature.len, BW_DATA_LENGTH, "longer than the modulus");
    return verify_recovered(context, m, data, signature);
}

/* ---- curves ---- */

static bw_result verify_ecdsa(struct bw_local *local, EVP_PKEY *pkey, bw_bytes data, bw_bytes signature)
{
    struct bw_buf der = { 0 };
    AUTO_PKEY_CTX context = EVP_PKEY_CTX_new_from_pkey(local->library, pkey, NULL);

    BW_CHECK(context != NULL && EVP_PKEY_verify_init(context) == 1, BW_NO_MEMORY, "ECDSA verification");
    BW_CHECK(signature.len == 2 * (size_t)((EVP_PKEY_get_bits(pkey) + 7) / 8), BW_SIGNATURE_LENGTH, "not r and s of the curve");
    bw_result r = bw_spki_signature(signature, &der);
    if (bw_ok(r) && EVP_PKEY_verify(context, der.data, der.len, data.data, data.len) != 1)
        r = bw_fail(BW_SIGNATURE_INVALID, "ECDSA signature");
    bw_buf_clear(&der);
    return r;
}

static bw_result verify_eddsa(struct bw_local *local, EVP_PKEY *pkey, bw_bytes data, bw_bytes signature)
{
    AUTO_MD_CTX context = EVP_MD_CTX_new();

    BW_CHECK(context != NULL, BW_NO_MEMORY, "EdDSA verification");
    BW_CHECK(signature.len == (size_t)EVP_PKEY_get_size(pkey), BW_SIGNATURE_LENGTH, "not 64 bytes");
    BW_CHECK(EVP_DigestVerifyInit_ex(context, NULL, NULL, local->library, NULL, pkey, NULL) == 1, BW_INTERNAL, "EdDSA verification");
    BW_CHECK(EVP_DigestVerify(context, signature.data, signature.len, data.data, data.len) == 1, BW_SIGNATURE_INVALID, "EdDSA signature");
    return bw_success();
}

/* ---- doors ---- */

static bw_result verify(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes data, bw_bytes signature)
{
    AUTO_PKEY pkey = NULL;

    BW_TRY(pkey_open(local, spki, m->row->key_type, &pkey));
    switch (m->row->key_type) {
    case CKK_RSA: return verify_rsa(local, pkey, m, data, signature);
    case CKK_EC:  return verify_ecdsa(local, pkey, data, signature);
    default:      return verify_eddsa(local, pkey, data, signature);
    }
}

bw_result bw_local_verify(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes data,
                          bw_bytes signature)
{
    begin_errors();
    return end_errors(verify(local, spki, m, data, signature));
}

static bw_result recover_key(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes signature,
                             struct bw_buf *ret_data)
{
    AUTO_PKEY pkey = NULL;

    BW_TRY(pkey_open(local, spki, CKK_RSA, &pkey));
    AUTO_PKEY_CTX context = EVP_PKEY_CTX_new_from_pkey(local->library, pkey, NULL);
    BW_CHECK(context != NULL, BW_NO_MEMORY, "RSA verification");
    BW_CHECK(signature.len == (size_t)EVP_PKEY_get_size(pkey), BW_SIGNATURE_LENGTH, "not as long as the modulus");
    return recover(context, m, signature, ret_data);
}

bw_result bw_local_recover(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes signature,
                           struct bw_buf *ret_data)
{
    begin_errors();
    return end_errors(recover_key(local, spki, m, signature, ret_data));
}

static bool set_label(EVP_PKEY_CTX *context, bw_bytes label)
{
    if (label.len == 0)
        return true;
    void *copy = OPENSSL_memdup(label.data, label.len);
    if (copy != NULL && EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy, (int)label.len) == 1)
        return true;
    OPENSSL_free(copy);
    return false;
}

static bool set_oaep(EVP_PKEY_CTX *context, const struct bw_mechanism *m)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_get_digestbyname(digest_name(m->hash))) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_get_digestbyname(digest_name(m->mgf))) == 1 && set_label(context, m->label);
}

/* How much the padding leaves of a modulus: RFC 8017, 7.1.1 and 7.2.1. */
static size_t most_plaintext(const struct bw_mechanism *m, size_t modulus_len)
{
    const struct bw_digest_row *hash = bw_digest_row(m->hash);
    size_t taken = m->row->type == CKM_RSA_X_509 ? 0 : m->row->type == CKM_RSA_PKCS ? 11 : 2 * (hash ? hash->len : 0) + 2;

    return modulus_len > taken ? modulus_len - taken : 0;
}

static bw_result encrypt_with(EVP_PKEY_CTX *context, bw_bytes plaintext, size_t modulus_len, struct bw_buf *ret_ciphertext)
{
    uint8_t *tail;
    size_t   len = modulus_len;

    BW_TRY(bw_buf_grow(ret_ciphertext, modulus_len, &tail));
    BW_CHECK(EVP_PKEY_encrypt(context, tail, &len, plaintext.data, plaintext.len) == 1 && len == modulus_len, BW_DATA_INVALID, "RSA encryption");
    return bw_success();
}

static bw_result encrypt_padded(EVP_PKEY_CTX *context, const struct bw_mechanism *m, bw_bytes plaintext, size_t modulus_len,
                                struct bw_buf *ret_ciphertext)
{
    struct bw_buf number = { 0 };
    uint8_t *tail;

    BW_CHECK(plaintext.len <= most_plaintext(m, modulus_len), BW_DATA_LENGTH, "more than the padding leaves");
    if (m->row->type != CKM_RSA_X_509)
        return encrypt_with(context, plaintext, modulus_len, ret_ciphertext);

    bw_result r = bw_buf_grow(&number, modulus_len, &tail);
    if (bw_ok(r)) {
        memset(tail, 0, modulus_len - plaintext.len);
        if (plaintext.len > 0)
            memcpy(tail + modulus_len - plaintext.len, plaintext.data, plaintext.len);
        r = encrypt_with(context, bw_buf_bytes(&number), modulus_len, ret_ciphertext);
    }
    bw_buf_clear(&number);
    return r;
}

static bw_result encrypt(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes plaintext,
                         struct bw_buf *ret_ciphertext)
{
    AUTO_PKEY pkey = NULL;

    BW_TRY(pkey_open(local, spki, CKK_RSA, &pkey));
    AUTO_PKEY_CTX context = EVP_PKEY_CTX_new_from_pkey(local->library, pkey, NULL);
    BW_CHECK(context != NULL && EVP_PKEY_encrypt_init(context) == 1, BW_NO_MEMORY, "RSA encryption");
    bool set = m->row->type == CKM_RSA_PKCS_OAEP ? set_oaep(context, m) : set_padding(context, m);
    BW_CHECK(set, BW_MECHANISM_PARAM, "RSA padding");
    return encrypt_padded(context, m, plaintext, (size_t)EVP_PKEY_get_size(pkey), ret_ciphertext);
}

bw_result bw_local_encrypt(struct bw_local *local, bw_bytes spki, const struct bw_mechanism *m, bw_bytes plaintext,
                           struct bw_buf *ret_ciphertext)
{
    begin_errors();
    return end_errors(encrypt(local, spki, m, plaintext, ret_ciphertext));
}
