#include "openssl.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "OpenSSL: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

#define MUST(call) must((call), #call)

struct bytes ossl_encrypt(const char *name, bool padding, const struct bytes *key, bw_bytes iv, bw_bytes aad, const struct bytes *plain)
{
    EVP_CIPHER     *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool is_aead = cipher != NULL && EVP_CIPHER_get_mode(cipher) == EVP_CIPH_GCM_MODE;
    struct bytes out = { 0 };
    int len = 0, rest = 0;

    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    MUST(EVP_EncryptInit_ex2(c, cipher, NULL, NULL, NULL) == 1);
    if (is_aead)
        MUST(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, (int)iv.len, NULL) == 1);
    MUST(EVP_EncryptInit_ex2(c, NULL, key->data, iv.len > 0 ? iv.data : NULL, NULL) == 1);
    MUST(EVP_CIPHER_CTX_set_padding(c, padding) == 1);
    if (aad.len > 0)
        MUST(EVP_EncryptUpdate(c, NULL, &len, aad.data, (int)aad.len) == 1);
    MUST(EVP_EncryptUpdate(c, out.data, &len, plain->data, (int)plain->len) == 1);
    MUST(EVP_EncryptFinal_ex(c, out.data + len, &rest) == 1);
    out.len = (CK_ULONG)(len + rest);
    if (is_aead) {
        MUST(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out.data + out.len) == 1);
        out.len += 16;
    }
    EVP_CIPHER_CTX_free(c);
    EVP_CIPHER_free(cipher);
    return out;
}

struct bytes ossl_digest(const char *name, const struct bytes *data)
{
    struct bytes out;
    size_t len;

    MUST(EVP_Q_digest(NULL, name, NULL, data->data, data->len, out.data, &len) == 1);
    out.len = len;
    return out;
}

struct bytes ossl_mac(const char *mac, const char *with, const struct bytes *key, const struct bytes *data)
{
    struct bytes out;
    size_t len = 0;

    MUST(EVP_Q_mac(NULL, mac, NULL, with, NULL, key->data, key->len, data->data, data->len, out.data, sizeof out.data, &len) != NULL);
    out.len = len;
    return out;
}

/* ---- public keys ---- */

static void set_rsa(EVP_PKEY_CTX *c, const struct rsa_how *how, bool signs)
{
    MUST(EVP_PKEY_CTX_set_rsa_padding(c, how->padding) == 1);
    if (how->padding == RSA_PKCS1_PSS_PADDING)
        MUST(EVP_PKEY_CTX_set_rsa_pss_saltlen(c, how->salt_len) == 1);
    if (how->padding == RSA_PKCS1_OAEP_PADDING && !signs)
        MUST(EVP_PKEY_CTX_set_rsa_oaep_md_name(c, how->hash, NULL) == 1);
    if (how->mgf != NULL)
        MUST(EVP_PKEY_CTX_set_rsa_mgf1_md_name(c, how->mgf, NULL) == 1);
    if (how->label != NULL)
        MUST(EVP_PKEY_CTX_set0_rsa_oaep_label(c, OPENSSL_strdup(how->label), (int)strlen(how->label)) == 1);
}

struct bytes ossl_rsa_encrypt(EVP_PKEY *key, const struct rsa_how *how, const struct bytes *plain)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    struct bytes out;
    size_t len = sizeof out.data;

    MUST(EVP_PKEY_encrypt_init(c) == 1);
    set_rsa(c, how, false);
    MUST(EVP_PKEY_encrypt(c, out.data, &len, plain->data, plain->len) == 1);
    out.len = len;
    EVP_PKEY_CTX_free(c);
    return out;
}

/* r and s to the DER that OpenSSL wants. */
static struct bytes der_signature(const struct bytes *signature)
{
    struct bytes der;
    unsigned char *at = der.data;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int half = (int)signature->len / 2;

    MUST(ECDSA_SIG_set0(sig, BN_bin2bn(signature->data, half, NULL), BN_bin2bn(signature->data + half, half, NULL)) == 1);
    der.len = (CK_ULONG)i2d_ECDSA_SIG(sig, &at);
    ECDSA_SIG_free(sig);
    return der;
}

/* Without a padding what was signed comes back as long as the modulus. */
static bool recovers(EVP_PKEY *key, const struct bytes *data, const struct bytes *signature)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    struct bytes out;
    size_t len = sizeof out.data;

    MUST(EVP_PKEY_verify_recover_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_NO_PADDING) == 1);
    bool done = EVP_PKEY_verify_recover(c, out.data, &len, signature->data, signature->len) == 1;
    EVP_PKEY_CTX_free(c);
    return done && len >= data->len && memcmp(out.data + len - data->len, data->data, data->len) == 0;
}

bool ossl_verifies(EVP_PKEY *key, const char *hash, const struct rsa_how *how, const struct bytes *data, const struct bytes *signature)
{
    struct bytes digest = hash != NULL ? ossl_digest(hash, data) : *data;
    struct bytes given  = EVP_PKEY_is_a(key, "EC") ? der_signature(signature) : *signature;
    bool right;

    if (how != NULL && how->padding == RSA_NO_PADDING)
        return recovers(key, data, signature);
    if (EVP_PKEY_is_a(key, "ED25519")) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        MUST(EVP_DigestVerifyInit_ex(md, NULL, NULL, NULL, NULL, key, NULL) == 1);
        right = EVP_DigestVerify(md, given.data, given.len, data->data, data->len) == 1;
        EVP_MD_CTX_free(md);
        return right;
    }
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    const char *inside = hash != NULL ? hash : how != NULL ? how->hash : NULL;
    MUST(EVP_PKEY_verify_init(c) == 1);
    if (inside != NULL && how != NULL)
        MUST(EVP_PKEY_CTX_set_signature_md(c, EVP_get_digestbyname(inside)) == 1);
    if (how != NULL)
        set_rsa(c, how, true);
    right = EVP_PKEY_verify(c, given.data, given.len, digest.data, digest.len) == 1;
    EVP_PKEY_CTX_free(c);
    return right;
}

static struct bytes attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    struct bytes out;
    CK_ATTRIBUTE a = { type, out.data, sizeof out.data };

    must(p11->C_GetAttributeValue(session, object, &a, 1) == CKR_OK, "an attribute of a public key");
    out.len = a.ulValueLen;
    return out;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM   *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY     *key = NULL;

    MUST(EVP_PKEY_fromdata_init(c) == 1);
    MUST(EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    EVP_PKEY_CTX_free(c);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *ec_key(const char *group, const CK_BYTE *point, CK_ULONG len)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();

    MUST(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1);
    MUST(OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, len) == 1);
    EVP_PKEY *key = from_params("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *rsa_key(const struct bytes *modulus, const struct bytes *exponent)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(modulus->data, (int)modulus->len, NULL), *e = BN_bin2bn(exponent->data, (int)exponent->len, NULL);

    MUST(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1);
    MUST(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1);
    EVP_PKEY *key = from_params("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
    BN_free(e);
    return key;
}

EVP_PKEY *ossl_public_key(CK_OBJECT_HANDLE public_key, CK_KEY_TYPE type, const char *group)
{
    if (type == CKK_RSA) {
        struct bytes modulus = attribute(public_key, CKA_MODULUS), exponent = attribute(public_key, CKA_PUBLIC_EXPONENT);
        return rsa_key(&modulus, &exponent);
    }
    struct bytes point = attribute(public_key, CKA_EC_POINT);
    CK_ULONG head = point.data[1] < 0x80 ? 2 : 3; /* of the OCTET STRING */
    if (type == CKK_EC)
        return ec_key(group, point.data + head, point.len - head);
    return EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, point.data + head, point.len - head);
}

struct bytes ossl_shared_secret(EVP_PKEY *peer, const char *group, struct bytes *ret_point)
{
    EVP_PKEY     *mine = EVP_EC_gen(group);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);
    struct bytes  out;
    size_t len = sizeof out.data, point_len;

    MUST(EVP_PKEY_get_octet_string_param(mine, OSSL_PKEY_PARAM_PUB_KEY, ret_point->data, sizeof ret_point->data, &point_len) == 1);
    ret_point->len = point_len;
    MUST(EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, peer) == 1);
    MUST(EVP_PKEY_derive(c, out.data, &len) == 1);
    out.len = len;
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(mine);
    return out;
}
