#include "byok.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "bailiwick/limits.h"

enum { BETWEEN_LEN = 32, KWP_BLOCK = 8 };

/* ---- keys as DER ---- */

static bw_result encode(const EVP_PKEY *key, struct bw_secret **ret_der)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;

    bw_result r = len > 0 ? bw_secret_copy(bw_bytes_of(der, (size_t)len), ret_der) : bw_fail(BW_DATA_INVALID, "not a private key");
    if (len > 0)
        OPENSSL_clear_free(der, (size_t)len);
    PKCS8_PRIV_KEY_INFO_free(info); /* OpenSSL wipes it */
    return r;
}

bw_result bw_byok_private(const EVP_PKEY *key, struct bw_secret **ret_der)
{
    (void)ERR_set_mark();
    bw_result r = encode(key, ret_der);
    (void)ERR_pop_to_mark();
    return r;
}

bw_result bw_byok_public(const EVP_PKEY *key, struct bw_buf *ret_spki)
{
    unsigned char *der = NULL;

    (void)ERR_set_mark();
    int len = i2d_PUBKEY(key, &der);
    (void)ERR_pop_to_mark();
    bw_result r = len > 0 ? bw_buf_add(ret_spki, bw_bytes_of(der, (size_t)len)) : bw_fail(BW_DATA_INVALID, "not a public key");
    OPENSSL_free(der);
    return r;
}

/* ---- wrapping ---- */

static bool by_oaep(OSSL_LIB_CTX *library, bw_bytes wrapping_key, enum bw_digest hash, const uint8_t *between, uint8_t *out, size_t *len)
{
    const char *name = bw_digest_row(hash)->name;
    const unsigned char *der = wrapping_key.data;
    EVP_PKEY     *key     = d2i_PUBKEY_ex(NULL, &der, (long)wrapping_key.len, library, NULL);
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new_from_pkey(library, key, NULL) : NULL;

    bool done = context != NULL && EVP_PKEY_encrypt_init(context) == 1 && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md_name(context, name, NULL) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, name, NULL) == 1 &&
                EVP_PKEY_encrypt(context, out, len, between, BETWEEN_LEN) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    return done;
}

static bool by_kwp(OSSL_LIB_CTX *library, const uint8_t *between, bw_bytes material, uint8_t *out, size_t *len)
{
    EVP_CIPHER     *cipher  = EVP_CIPHER_fetch(library, "AES-256-WRAP-PAD", NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0;

    if (context != NULL)
        EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool done = cipher != NULL && context != NULL && EVP_EncryptInit_ex(context, cipher, NULL, between, NULL) == 1 &&
                EVP_EncryptUpdate(context, out, &written, material.data, (int)material.len) == 1;
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
    *len = (size_t)written;
    return done;
}

static bw_result wrap(OSSL_LIB_CTX *library, bw_bytes wrapping_key, enum bw_digest hash, bw_bytes material, struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    uint8_t *wrapped = bw_arena_alloc(arena, BW_WRAPPED_MAX), between[BETWEEN_LEN];
    size_t head_len = BW_WRAPPED_MAX, tail_len = 0;

    BW_CHECK(wrapped != NULL, BW_NO_MEMORY, "wrapped key");
    BW_CHECK(material.len > 0 && material.len <= BW_WRAPPED_MAX / 2, BW_KEY_SIZE, "no key has this length");
    bool done = RAND_priv_bytes_ex(library, between, sizeof between, 256) == 1 &&
                by_oaep(library, wrapping_key, hash, between, wrapped, &head_len) && head_len + material.len + 2 * KWP_BLOCK <= BW_WRAPPED_MAX &&
                by_kwp(library, between, material, wrapped + head_len, &tail_len);
    bw_wipe(between, sizeof between);
    BW_CHECK(done, BW_PROTOCOL_BROKEN, "the region's wrapping key does not wrap");
    *ret_wrapped = bw_bytes_of(wrapped, head_len + tail_len);
    return bw_success();
}

bw_result bw_byok_wrap(OSSL_LIB_CTX *library, bw_bytes wrapping_key, enum bw_digest hash, bw_bytes material, struct bw_arena *arena,
                       bw_bytes *ret_wrapped)
{
    (void)ERR_set_mark();
    bw_result r = wrap(library, wrapping_key, hash, material, arena, ret_wrapped);
    (void)ERR_pop_to_mark();
    return r;
}
