#include "fake_region.h"

#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bailiwick/limits.h"
#include "spki.h"

enum { KEYS_MAX = 64, OBJECTS_MAX = 16, SECRET_MAX = 64 };

struct fake_key {
    char      label[64];
    uint8_t   cka_id[64];
    size_t    cka_id_len;
    struct bw_remote_key facts;
    EVP_PKEY *pkey;
    uint8_t   secret[SECRET_MAX];
    struct bw_buf spki;
    bool      there;
};

struct fake_object {
    uint8_t       id[BW_KEY_ID_LEN];
    struct bw_buf label, cka_id, value, application, object_id;
    CK_OBJECT_CLASS class;
    uint64_t      generation;
    bool          there;
};

static struct {
    struct fake_key    keys[KEYS_MAX];
    size_t             key_count;
    struct fake_object objects[OBJECTS_MAX];
    size_t             object_count;
    atomic_uint        asked[FAKE_METHODS];
    unsigned           told;
    uint64_t           generation;
    _Atomic(enum bw_code) fail_next, fail_next_of[FAKE_METHODS];
    bool               releases;
    struct bw_buf      last_signed;
    EVP_PKEY          *wrapping; /* for imports, made when it is asked for */
    struct bw_buf      wrapping_spki;
} region;

/* ---- for tests ---- */

void fake_region_start(void)
{
    memset(&region, 0, sizeof region);
}

void fake_region_stop(void)
{
    for (size_t i = 0; i < region.key_count; i++) {
        EVP_PKEY_free(region.keys[i].pkey);
        bw_buf_clear(&region.keys[i].spki);
    }
    for (size_t i = 0; i < region.object_count; i++) {
        struct fake_object *o = &region.objects[i];
        bw_buf_clear(&o->label), bw_buf_clear(&o->cka_id), bw_buf_clear(&o->value), bw_buf_clear(&o->application), bw_buf_clear(&o->object_id);
    }
    bw_buf_clear(&region.last_signed);
    bw_buf_clear(&region.wrapping_spki);
    EVP_PKEY_free(region.wrapping);
}

static void make_material(struct fake_key *key)
{
    const struct bw_spec_row *spec = key->facts.spec;
    static const char curve[][6] = { "P-256", "P-384", "P-521" };
    uint8_t *der = NULL;

    assert_int_equal(RAND_bytes(key->secret, sizeof key->secret), 1);
    if (!bw_spec_is_pair(spec))
        return;
    if (spec->key_type == CKK_RSA)
        key->pkey = EVP_RSA_gen(spec->bits);
    else if (spec->key_type == CKK_EC)
        key->pkey = EVP_EC_gen(curve[spec->bits == 256 ? 0 : spec->bits == 384 ? 1 : 2]);
    else
        key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int len = i2d_PUBKEY(key->pkey, &der);
    assert_true(len > 0 && bw_ok(bw_buf_add(&key->spki, bw_bytes_of(der, (size_t)len))));
    OPENSSL_free(der);
}

static struct fake_key *add_key(enum bw_spec spec, bw_bytes label, bw_bytes id, unsigned uses)
{
    assert_true(region.key_count < KEYS_MAX && label.len < sizeof region.keys[0].label && id.len <= sizeof region.keys[0].cka_id);
    struct fake_key *key = &region.keys[region.key_count++];

    memcpy(key->label, label.data ? label.data : (const uint8_t *)"", label.len);
    key->facts.spec = bw_spec_row(spec);
    key->facts.uses = uses != 0 ? uses : key->facts.spec->uses;
    assert_int_equal(RAND_bytes(key->facts.name.id.bytes, BW_KEY_ID_LEN), 1);
    (void)bw_region_parse(bw_bytes_text("eu"), &key->facts.name.region);   /* fixed texts */
    (void)bw_tenant_parse(bw_bytes_text("acme"), &key->facts.name.tenant);
    key->cka_id_len = id.len > 0 ? id.len : BW_KEY_ID_LEN;
    memcpy(key->cka_id, id.len > 0 ? id.data : key->facts.name.id.bytes, key->cka_id_len);
    make_material(key);
    key->facts.enabled    = key->there = true;
    key->facts.version    = 1;
    key->facts.generation = ++region.generation;
    key->facts.public_key = bw_buf_bytes(&key->spki);
    return key;
}

void fake_region_add_key(enum bw_spec spec, const char *label, const char *id)
{
    (void)add_key(spec, bw_bytes_text(label), bw_bytes_text(id), 0);
}

static struct fake_key *by_label(const char *label)
{
    for (size_t i = 0; i < region.key_count; i++)
        if (strcmp(region.keys[i].label, label) == 0)
            return &region.keys[i];
    fail_msg("no key %s", label);
    return NULL;
}

void fake_region_remove_key(const char *label)
{
    by_label(label)->there = false;
    region.generation++;
}

EVP_PKEY *fake_region_pkey(const char *label) { return by_label(label)->pkey; }
unsigned fake_region_asked_for(enum fake_method method) { return region.asked[method]; }
void fake_region_fail_next(enum bw_code code) { region.fail_next = code; }
void fake_region_fail_next_of(enum fake_method method, enum bw_code code) { region.fail_next_of[method] = code; }
void fake_region_release(bool allowed) { region.releases = allowed; }
bw_bytes fake_region_last_signed(void) { return bw_buf_bytes(&region.last_signed); }

unsigned fake_region_asked(void)
{
    unsigned all = 0;

    for (size_t i = 0; i < FAKE_METHODS; i++)
        all += i == FAKE_DESCRIBE ? 0 : region.asked[i];
    unsigned since = all - region.told;
    region.told = all;
    return since;
}

/* ---- what every call goes through ---- */

static bw_result answer(enum fake_method method)
{
    enum bw_code now = atomic_exchange(&region.fail_next, BW_OK), of_method = atomic_exchange(&region.fail_next_of[method], BW_OK);
    bw_result r = { .code = now ? now : of_method, .what = "told to fail", .where = "fake_region.c" };

    region.asked[method]++;
    return bw_ok(r) ? bw_success() : r;
}

static bw_bytes keep(struct bw_arena *arena, const void *data, size_t len)
{
    return bw_bytes_of(bw_arena_copy(arena, bw_bytes_of(data, len)), len);
}

/* A sealed key is its own value, disguised: type, whether extractable, then the bytes. */
enum { SEAL = 2 };

struct material { const uint8_t *bytes; size_t len; EVP_PKEY *pkey; uint8_t unsealed[SECRET_MAX * 8]; bool extractable; };

static bw_result open_key(const struct bw_key_ref *ref, struct material *ret)
{
    if (ref->sealed.len > 0) {
        ret->len = ref->sealed.len - SEAL;
        for (size_t i = 0; i < ret->len; i++)
            ret->unsealed[i] = ref->sealed.data[SEAL + i] ^ 0xa5;
        ret->bytes = ret->unsealed;
        ret->extractable = ref->sealed.data[1] != 0;
        return bw_success();
    }
    for (size_t i = 0; i < region.key_count; i++)
        if (region.keys[i].there && bw_key_id_equal(&region.keys[i].facts.name.id, &ref->name.id)) {
            *ret = (struct material){ .bytes = region.keys[i].secret, .len = region.keys[i].facts.spec->bits / 8, .pkey = region.keys[i].pkey };
            return bw_success();
        }
    return bw_fail(BW_NO_SUCH_KEY, "no such key");
}

/* ---- symmetric ---- */

static const EVP_CIPHER *cipher_of(CK_MECHANISM_TYPE type, size_t key_len)
{
    char name[24];
    const char *mode = type == CKM_AES_GCM ? "GCM" : type == CKM_AES_CTR ? "CTR" : type == CKM_AES_ECB ? "ECB" : "CBC";

    (void)snprintf(name, sizeof name, "AES-%zu-%s", 8 * key_len, mode);
    return EVP_get_cipherbyname(name);
}

static bool aes(const struct material *key, const struct bw_mechanism *m, bool encrypts, bw_bytes input, bw_bytes iv,
                uint8_t *out, size_t *ret_len)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool gcm = m->row->type == CKM_AES_GCM;
    size_t tag = gcm ? m->tag_bits / 8 : 0, text = encrypts ? input.len : input.len - tag;
    int len = 0, more = 0;
    bool ok = EVP_CipherInit_ex(c, cipher_of(m->row->type, key->len), NULL, NULL, NULL, encrypts) == 1;

    if (gcm)
        ok = ok && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, (int)iv.len, NULL) == 1;
    ok = ok && EVP_CipherInit_ex(c, NULL, NULL, key->bytes, iv.data, encrypts) == 1;
    EVP_CIPHER_CTX_set_padding(c, m->row->type == CKM_AES_CBC_PAD);
    if (gcm && m->aad.len > 0)
        ok = ok && EVP_CipherUpdate(c, NULL, &more, m->aad.data, (int)m->aad.len) == 1;
    ok = ok && EVP_CipherUpdate(c, out, &len, input.data, (int)text) == 1;
    if (gcm && !encrypts)
        ok = ok && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, (int)tag, (void *)(uintptr_t)(input.data + text)) == 1;
    more = 0;
    ok = ok && EVP_CipherFinal_ex(c, out + len, &more) == 1;
    *ret_len = (size_t)len + (size_t)more;
    if (gcm && encrypts && ok) {
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, (int)tag, out + *ret_len) == 1;
        *ret_len += tag;
    }
    EVP_CIPHER_CTX_free(c);
    return ok;
}

static bool rsa_decrypt(const struct material *key, const struct bw_mechanism *m, bw_bytes input, uint8_t *out, size_t *ret_len)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key->pkey, NULL);
    bool oaep = m->row->type == CKM_RSA_PKCS_OAEP;
    bool ok = EVP_PKEY_decrypt_init(c) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(c, oaep ? RSA_PKCS1_OAEP_PADDING : m->row->type == CKM_RSA_PKCS ? RSA_PKCS1_PADDING : RSA_NO_PADDING) == 1;

    if (oaep) {
        ok = ok && EVP_PKEY_CTX_set_rsa_oaep_md_name(c, bw_digest_row(m->hash)->name, NULL) == 1;
        ok = ok && EVP_PKEY_CTX_set_rsa_mgf1_md_name(c, bw_digest_row(m->mgf)->name, NULL) == 1;
        if (m->label.len > 0)
            ok = ok && EVP_PKEY_CTX_set0_rsa_oaep_label(c, OPENSSL_memdup(m->label.data, m->label.len), (int)m->label.len) == 1;
    }
    ok = ok && EVP_PKEY_decrypt(c, out, ret_len, input.data, input.len) == 1;
    EVP_PKEY_CTX_free(c);
    return ok;
}

bw_result bw_rpc_encrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m,
                         bw_bytes plaintext, bw_bytes *ret_ciphertext, bw_bytes *ret_iv)
{
    (void)remote;
    struct material key = { 0 };
    uint8_t drawn[BW_GCM_IV_LEN];
    bw_bytes iv = m->iv;
    size_t len;

    BW_TRY(answer(FAKE_ENCRYPT));
    BW_TRY(open_key(ref, &key));
    assert_int_equal(RAND_bytes(drawn, sizeof drawn), 1);
    if (m->row->type == CKM_AES_GCM && iv.len == 0)
        iv = *ret_iv = keep(arena, drawn, sizeof drawn);
    uint8_t *out = bw_arena_alloc(arena, plaintext.len + 64);
    BW_CHECK(aes(&key, m, true, plaintext, iv, out, &len), BW_DATA_INVALID, "encrypt");
    *ret_ciphertext = bw_bytes_of(out, len);
    return bw_success();
}

bw_result bw_rpc_decrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m,
                         bw_bytes ciphertext, bw_bytes *ret_plaintext)
{
    (void)remote;
    struct material key = { 0 };

    BW_TRY(answer(FAKE_DECRYPT));
    BW_TRY(open_key(ref, &key));
    size_t   len = ciphertext.len + 512;
    uint8_t *out = bw_arena_alloc(arena, len);
    bool ok = key.pkey != NULL ? rsa_decrypt(&key, m, ciphertext, out, &len) : aes(&key, m, false, ciphertext, m->iv, out, &len);
    BW_CHECK(ok, BW_CIPHERTEXT_INVALID, "decrypt");
    *ret_plaintext = bw_bytes_of(out, len);
    return bw_success();
}

/* ---- signatures and MACs ---- */

static bool mac(const struct material *key, CK_MECHANISM_TYPE type, bw_bytes data, uint8_t *out, size_t *ret_len)
{
    char cbc[] = "AES-256-CBC";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cbc, 0), OSSL_PARAM_construct_end() };
    unsigned len = 0;

    if (type != CKM_AES_CMAC) {
        const char *name = type == CKM_SHA_1_HMAC ? "SHA1" : type == CKM_SHA256_HMAC ? "SHA256" : type == CKM_SHA384_HMAC ? "SHA384" : "SHA512";
        bool ok = HMAC(EVP_get_digestbyname(name), key->bytes, (int)key->len, data.data ? data.data : (const uint8_t *)"", data.len, out, &len) != NULL;
        *ret_len = len;
        return ok;
    }
    EVP_MAC *cmac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *c = EVP_MAC_CTX_new(cmac);
    bool ok = EVP_MAC_init(c, key->bytes, key->len, params) == 1 && EVP_MAC_update(c, data.data, data.len) == 1 && EVP_MAC_final(c, out, ret_len, 64) == 1;
    EVP_MAC_CTX_free(c);
    EVP_MAC_free(cmac);
    return ok;
}

static bool rsa_sign(const struct material *key, const struct bw_mechanism *m, bw_bytes data, uint8_t *out, size_t *ret_len)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key->pkey, NULL);
    bool pss = m->row->type == CKM_RSA_PKCS_PSS;
    bool ok = EVP_PKEY_sign_init(c) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(c, pss ? RSA_PKCS1_PSS_PADDING : m->row->type == CKM_RSA_PKCS ? RSA_PKCS1_PADDING : RSA_NO_PADDING) == 1;

    if (pss)
        ok = ok && EVP_PKEY_CTX_set_signature_md(c, EVP_get_digestbyname(bw_digest_row(m->hash)->name)) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(c, (int)m->salt_len) == 1;
    ok = ok && EVP_PKEY_sign(c, out, ret_len, data.data, data.len) == 1;
    EVP_PKEY_CTX_free(c);
    return ok;
}

static bool ecdsa_sign(const struct material *key, bw_bytes data, uint8_t *out, size_t *ret_len)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key->pkey, NULL);
    uint8_t der[256];
    size_t  der_len = sizeof der, half = (size_t)(EVP_PKEY_get_bits(key->pkey) + 7) / 8;
    bool ok = EVP_PKEY_sign_init(c) == 1 && EVP_PKEY_sign(c, der, &der_len, data.data, data.len) == 1;
    const uint8_t *at = der;
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &at, (long)der_len) : NULL;

    ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) > 0 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) > 0;
    *ret_len = 2 * half;
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(c);
    return ok;
}

static bool eddsa_sign(const struct material *key, bw_bytes data, uint8_t *out, size_t *ret_len)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(c, NULL, NULL, NULL, key->pkey) == 1 && EVP_DigestSign(c, out, ret_len, data.data, data.len) == 1;

    EVP_MD_CTX_free(c);
    return ok;
}

static bool sign(const struct material *key, const struct bw_mechanism *m, bw_bytes data, uint8_t *out, size_t *ret_len)
{
    switch (m->row->key_type) {
    case CKK_RSA:        return rsa_sign(key, m, data, out, ret_len);
    case CKK_EC:         return ecdsa_sign(key, data, out, ret_len);
    case CKK_EC_EDWARDS: return eddsa_sign(key, data, out, ret_len);
    default:             return mac(key, m->row->type, data, out, ret_len);
    }
}

bw_result bw_rpc_sign(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m, bw_bytes data,
                      bw_bytes *ret_signature)
{
    (void)remote;
    struct material key = { 0 };
    size_t len = BW_SIGNATURE_MAX;

    BW_TRY(answer(FAKE_SIGN));
    BW_TRY(open_key(ref, &key));
    assert_int_equal(m->row->digest, BW_DIGEST_NONE); /* hashed before it travelled */
    bw_buf_clear(&region.last_signed);
    BW_TRY(bw_buf_add(&region.last_signed, data));
    uint8_t *out = bw_arena_alloc(arena, len);
    BW_CHECK(sign(&key, m, data, out, &len), BW_DATA_INVALID, "sign");
    *ret_signature = bw_bytes_of(out, len);
    return bw_success();
}

bw_result bw_rpc_verify(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m, bw_bytes data,
                        bw_bytes signature)
{
    (void)remote, (void)arena;
    struct material key = { 0 };
    uint8_t out[BW_SIGNATURE_MAX];
    size_t len = sizeof out;

    BW_TRY(answer(FAKE_VERIFY));
    BW_TRY(open_key(ref, &key));
    BW_CHECK(mac(&key, m->row->type, data, out, &len), BW_DATA_INVALID, "verify");
    BW_CHECK(bw_bytes_equal(bw_bytes_of(out, len), signature), BW_SIGNATURE_INVALID, "verify");
    return bw_success();
}

void bw_rpc_begin(void) { }
void bw_rpc_end(void) { }

/* ---- session keys ---- */

static bw_result seal(struct bw_arena *arena, const uint8_t *value, size_t len, const struct bw_session_key *template,
                      struct bw_sealed_key *ret_key)
{
    uint8_t *sealed = bw_arena_alloc(arena, SEAL + len);

    BW_CHECK(template->length == 0 || template->length == len, BW_TEMPLATE_INVALID, "length");
    sealed[0] = (uint8_t)template->key_type;
    sealed[1] = template->extractable;
    for (size_t i = 0; i < len; i++)
        sealed[SEAL + i] = value[i] ^ 0xa5;
    *ret_key = (struct bw_sealed_key){ .sealed = bw_bytes_of(sealed, SEAL + len), .length = (unsigned)len, .check = keep(arena, "\1\2\3", 3) };
    if (template->extractable && region.releases)
        ret_key->value = keep(arena, value, len);
    return bw_success();
}

static bool key_wrap(const struct material *key, bool wraps, bw_bytes input, uint8_t *out, size_t *ret_len)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0, more = 0;

    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool ok = EVP_CipherInit_ex(c, key->len == 32 ? EVP_aes_256_wrap_pad() : EVP_aes_128_wrap_pad(), NULL, key->bytes, NULL, wraps) == 1 &&
              EVP_CipherUpdate(c, out, &len, input.data, (int)input.len) == 1 && EVP_CipherFinal_ex(c, out + len, &more) == 1;
    *ret_len = (size_t)(len + more);
    EVP_CIPHER_CTX_free(c);
    return ok;
}

bw_result bw_rpc_wrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m,
                          const struct bw_key_ref *target, bw_bytes value, bw_bytes *ret_wrapped)
{
    (void)remote, (void)m;
    struct material key = { 0 }, wrapped = { 0 };
    size_t len;

    BW_TRY(answer(FAKE_WRAP));
    BW_TRY(open_key(ref, &key));
    if (target != NULL) {
        BW_TRY(open_key(target, &wrapped));
        BW_CHECK(wrapped.extractable, BW_NOT_PERMITTED, "not extractable");
        value = bw_bytes_of(wrapped.bytes, wrapped.len);
    }
    uint8_t *out = bw_arena_alloc(arena, value.len + 64);
    BW_CHECK(key_wrap(&key, true, value, out, &len), BW_DATA_INVALID, "wrap");
    *ret_wrapped = bw_bytes_of(out, len);
    return bw_success();
}

bw_result bw_rpc_unwrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m, bw_bytes wrapped,
                            const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    (void)remote, (void)m;
    struct material key = { 0 };
    uint8_t value[BW_WRAPPED_MAX];
    size_t len;

    BW_TRY(answer(FAKE_UNWRAP));
    BW_TRY(open_key(ref, &key));
    BW_CHECK(key_wrap(&key, false, wrapped, value, &len), BW_WRAPPED_KEY_INVALID, "unwrap");
    return seal(arena, value, len, template, ret_key);
}

bw_result bw_rpc_generate_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_mechanism *m, const struct bw_session_key *template,
                              struct bw_sealed_key *ret_key)
{
    (void)remote, (void)m;
    uint8_t value[512];

    BW_TRY(answer(FAKE_GENERATE));
    assert_int_equal(RAND_bytes(value, (int)template->length), 1);
    return seal(arena, value, template->length, template, ret_key);
}

bw_result bw_rpc_import_session_key(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes value, const struct bw_session_key *template,
                                    struct bw_sealed_key *ret_key)
{
    (void)remote;

    BW_TRY(answer(FAKE_IMPORT));
    return seal(arena, value.data, value.len, template, ret_key);
}

bw_result bw_rpc_derive_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_mechanism *m,
                            const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    (void)remote;
    struct material key = { 0 };
    uint8_t value[128];
    size_t len = sizeof value;
    EVP_PKEY *peer = EVP_PKEY_new();

    BW_TRY(answer(FAKE_DERIVE));
    BW_TRY(open_key(ref, &key));
    bool ok = EVP_PKEY_copy_parameters(peer, key.pkey) == 1 && EVP_PKEY_set1_encoded_public_key(peer, m->peer.data, m->peer.len) == 1;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key.pkey, NULL);
    ok = ok && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, peer) == 1 && EVP_PKEY_derive(c, value, &len) == 1;
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(peer);
    BW_CHECK(ok, BW_MECHANISM_PARAM, "derive");
    if (template->length > 0 && template->length < len)
        len = template->length;
    return seal(arena, value, len, template, ret_key);
}

/* ---- envelopes: here only a head before the plaintext ---- */

bw_result bw_rpc_envelope_wrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_pair *context, size_t count,
                               bw_bytes plaintext, bw_bytes *ret_envelope)
{
    (void)remote, (void)ref, (void)context;
    BW_TRY(answer(FAKE_ENVELOPE));
    uint8_t *out = bw_arena_alloc(arena, plaintext.len + 5);
    memcpy(out, "BWK1", 4);
    out[4] = (uint8_t)count;
    memcpy(out + 5, plaintext.data, plaintext.len);
    *ret_envelope = bw_bytes_of(out, plaintext.len + 5);
    return bw_success();
}

bw_result bw_rpc_envelope_unwrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *ref, const struct bw_pair *context, size_t count,
                                 bw_bytes envelope, bw_bytes *ret_plaintext)
{
    (void)remote, (void)ref, (void)context;
    BW_TRY(answer(FAKE_ENVELOPE));
    BW_CHECK(envelope.len >= 5 && memcmp(envelope.data, "BWK1", 4) == 0 && envelope.data[4] == count, BW_ENVELOPE_INVALID, "envelope");
    *ret_plaintext = keep(arena, envelope.data + 5, envelope.len - 5);
    return bw_success();
}

bw_result bw_rpc_random(const struct bw_remote *remote, struct bw_arena *arena, size_t len, bw_bytes *ret_random)
{
    (void)remote;
    BW_TRY(answer(FAKE_RANDOM));
    uint8_t *out = bw_arena_alloc(arena, len);
    assert_int_equal(RAND_bytes(out, (int)len), 1);
    *ret_random = bw_bytes_of(out, len);
    return bw_success();
}

/* ---- keys and objects ---- */

static struct bw_remote_key facts_of(struct fake_key *key)
{
    struct bw_remote_key facts = key->facts;

    facts.label  = bw_bytes_text(key->label);
    facts.cka_id = bw_bytes_of(key->cka_id, key->cka_id_len);
    return facts;
}

static bool suits(bw_bytes label, bw_bytes id, const struct bw_filter *filter)
{
    return (filter->label.len == 0 || bw_bytes_equal(filter->label, label)) && (filter->cka_id.len == 0 || bw_bytes_equal(filter->cka_id, id));
}

bw_result bw_rpc_list_keys(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter, struct bw_remote_key **ret_keys,
                           size_t *ret_count, uint64_t *ret_generation)
{
    (void)remote;
    BW_TRY(answer(FAKE_LIST_KEYS));
    struct bw_remote_key *keys = bw_arena_alloc(arena, KEYS_MAX * sizeof *keys);
    *ret_count = 0;
    for (size_t i = 0; i < region.key_count; i++) {
        struct bw_remote_key facts = facts_of(&region.keys[i]);
        if (region.keys[i].there && suits(facts.label, facts.cka_id, filter))
            keys[(*ret_count)++] = facts;
    }
    *ret_keys       = keys;
    *ret_generation = region.generation;
    return bw_success();
}

bw_result bw_rpc_create_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_new_key *wanted,
                            struct bw_remote_key *ret_key)
{
    (void)remote, (void)arena;
    BW_TRY(answer(FAKE_CREATE_KEY));
    *ret_key = facts_of(add_key(wanted->spec, wanted->label, wanted->cka_id, wanted->uses));
    return bw_success();
}

static struct fake_key *by_name(const struct bw_key_name *name)
{
    for (size_t i = 0; i < region.key_count; i++)
        if (region.keys[i].there && bw_key_id_equal(&region.keys[i].facts.name.id, &name->id))
            return &region.keys[i];
    return NULL;
}

/* ---- import: the token is the key's id ---- */

static void add_spki(const EVP_PKEY *key, struct bw_buf *spki)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key, &der);

    bw_buf_clear(spki);
    assert_true(len > 0 && bw_ok(bw_buf_add(spki, bw_bytes_of(der, (size_t)len))));
    OPENSSL_free(der);
}

bw_result bw_rpc_import_parameters(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                   struct bw_import_parameters *ret_parameters)
{
    (void)remote;
    BW_TRY(answer(FAKE_IMPORT_PARAMETERS));
    if (region.wrapping == NULL) {
        region.wrapping = EVP_RSA_gen(2048u);
        add_spki(region.wrapping, &region.wrapping_spki);
    }
    *ret_parameters = (struct bw_import_parameters){ bw_buf_bytes(&region.wrapping_spki), keep(arena, name->id.bytes, BW_KEY_ID_LEN), BW_DIGEST_SHA256 };
    return bw_success();
}

/* RSA_AES_KEY_WRAP undone. */
static size_t unwrap_import(enum bw_digest hash, bw_bytes wrapped, uint8_t material[static BW_WRAPPED_MAX])
{
    const char *name = bw_digest_row(hash)->name;
    EVP_PKEY_CTX   *oaep = EVP_PKEY_CTX_new(region.wrapping, NULL);
    EVP_CIPHER_CTX *kwp  = EVP_CIPHER_CTX_new();
    uint8_t between[256];
    size_t  between_len = sizeof between;
    int     len = 0;

    EVP_CIPHER_CTX_set_flags(kwp, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_true(wrapped.len > 256);
    assert_true(EVP_PKEY_decrypt_init(oaep) == 1 && EVP_PKEY_CTX_set_rsa_padding(oaep, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md_name(oaep, name, NULL) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md_name(oaep, name, NULL) == 1);
    assert_int_equal(EVP_PKEY_decrypt(oaep, between, &between_len, wrapped.data, 256), 1);
    assert_int_equal(between_len, 32);
    assert_int_equal(EVP_DecryptInit_ex(kwp, EVP_aes_256_wrap_pad(), NULL, between, NULL), 1);
    assert_int_equal(EVP_DecryptUpdate(kwp, material, &len, wrapped.data + 256, (int)wrapped.len - 256), 1);
    EVP_CIPHER_CTX_free(kwp);
    EVP_PKEY_CTX_free(oaep);
    return (size_t)len;
}

bw_result bw_rpc_import_material(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                 const struct bw_import_parameters *parameters, bw_bytes wrapped, bw_bytes public_key, struct bw_remote_key *ret_key)
{
    struct fake_key *key = by_name(name);
    uint8_t material[BW_WRAPPED_MAX];
    const unsigned char *der = material;

    (void)remote, (void)arena;
    BW_TRY(answer(FAKE_IMPORT_MATERIAL));
    assert_true(key != NULL && bw_bytes_equal(parameters->token, bw_bytes_of(name->id.bytes, BW_KEY_ID_LEN)));
    size_t len = unwrap_import(parameters->hash, wrapped, material);
    if (bw_spec_is_pair(key->facts.spec)) {
        EVP_PKEY_free(key->pkey);
        key->pkey = d2i_AutoPrivateKey(NULL, &der, (long)len);
        assert_non_null(key->pkey);
        add_spki(key->pkey, &key->spki);
        key->facts.public_key = bw_buf_bytes(&key->spki);
        BW_CHECK(bw_bytes_equal(public_key, key->facts.public_key), BW_OTHER_MATERIAL, "the public half");
    } else {
        assert_int_equal(len, key->facts.spec->bits / 8);
        memcpy(key->secret, material, len);
    }
    *ret_key = facts_of(key);
    return bw_success();
}

bw_result bw_rpc_update_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name, const struct bw_key_change *change,
                            struct bw_remote_key *ret_key)
{
    (void)remote, (void)arena;
    struct fake_key *key = by_name(name);

    BW_TRY(answer(FAKE_UPDATE_KEY));
    BW_CHECK(key != NULL, BW_NO_SUCH_KEY, "update");
    if (change->label != NULL) {
        memset(key->label, 0, sizeof key->label);
        memcpy(key->label, change->label->data, change->label->len);
    }
    if (change->cka_id != NULL) {
        memcpy(key->cka_id, change->cka_id->data, change->cka_id->len);
        key->cka_id_len = change->cka_id->len;
    }
    if (change->uses != NULL)
        key->facts.uses = *change->uses;
    key->facts.generation = ++region.generation;
    *ret_key = facts_of(key);
    return bw_success();
}

bw_result bw_rpc_schedule_deletion(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name)
{
    (void)remote, (void)arena;
    struct fake_key *key = by_name(name);

    BW_TRY(answer(FAKE_DELETE_KEY));
    BW_CHECK(key != NULL, BW_NO_SUCH_KEY, "delete");
    key->there = false;
    return bw_success();
}

static struct bw_remote_object facts_of_object(const struct fake_object *o)
{
    return (struct bw_remote_object){
        .id = bw_bytes_of(o->id, sizeof o->id), .class = o->class, .label = bw_buf_bytes(&o->label), .cka_id = bw_buf_bytes(&o->cka_id),
        .value = bw_buf_bytes(&o->value), .application = bw_buf_bytes(&o->application), .object_id = bw_buf_bytes(&o->object_id), .generation = o->generation,
    };
}

bw_result bw_rpc_list_objects(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter, struct bw_remote_object **ret_objects,
                              size_t *ret_count)
{
    (void)remote;
    BW_TRY(answer(FAKE_LIST_OBJECTS));
    struct bw_remote_object *objects = bw_arena_alloc(arena, OBJECTS_MAX * sizeof *objects);
    *ret_count = 0;
    for (size_t i = 0; i < region.object_count; i++) {
        struct bw_remote_object facts = facts_of_object(&region.objects[i]);
        if (region.objects[i].there && suits(facts.label, facts.cka_id, filter))
            objects[(*ret_count)++] = facts;
    }
    *ret_objects = objects;
    return bw_success();
}

static struct fake_object *object_by_id(bw_bytes id)
{
    for (size_t i = 0; i < region.object_count; i++)
        if (region.objects[i].there && bw_bytes_equal(bw_bytes_of(region.objects[i].id, BW_KEY_ID_LEN), id))
            return &region.objects[i];
    return NULL;
}

static void put(struct bw_buf *buf, bw_bytes bytes)
{
    bw_buf_clear(buf);
    assert_true(bw_ok(bw_buf_add(buf, bytes)));
}

bw_result bw_rpc_put_object(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_remote_object *object,
                            struct bw_remote_object *ret_object)
{
    (void)remote, (void)arena;
    struct fake_object *o = object->id.len > 0 ? object_by_id(object->id) : &region.objects[region.object_count];

    assert_int_not_equal(object->class, CKO_NSS_TRUST); /* kept by live regions only */
    BW_TRY(answer(FAKE_PUT_OBJECT));
    BW_CHECK(o != NULL, BW_NO_SUCH_OBJECT, "put");
    if (object->id.len == 0) {
        assert_true(++region.object_count < OBJECTS_MAX);
        assert_int_equal(RAND_bytes(o->id, sizeof o->id), 1);
    }
    o->class = object->class;
    o->there = true;
    put(&o->label, object->label), put(&o->cka_id, object->cka_id), put(&o->value, object->value);
    put(&o->application, object->application), put(&o->object_id, object->object_id);
    o->generation = ++region.generation;
    *ret_object = facts_of_object(o);
    return bw_success();
}

bw_result bw_rpc_delete_object(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes id)
{
    (void)remote, (void)arena;
    struct fake_object *o = object_by_id(id);

    BW_TRY(answer(FAKE_DELETE_OBJECT));
    BW_CHECK(o != NULL, BW_NO_SUCH_OBJECT, "delete");
    o->there = false;
    return bw_success();
}

/* Everything that the table has. */
bw_result bw_rpc_describe(const struct bw_remote *remote, struct bw_arena *arena, struct bw_region_facts *ret_facts)
{
    (void)remote;
    CK_MECHANISM_TYPE *types = bw_arena_alloc(arena, 128 * sizeof *types);
    size_t count = 0;

    BW_TRY(answer(FAKE_DESCRIBE));
    for (; bw_mechanism_at(count) != NULL; count++)
        types[count] = bw_mechanism_at(count)->travels_as;
    *ret_facts = (struct bw_region_facts){ .mechanisms = types, .mechanism_count = count };
    return bw_success();
}
