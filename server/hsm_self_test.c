/* What this HSM can do, found by doing it with throw-away keys. A mechanism is offered for a use when what one side makes the
 * other takes: it decrypts to what was encrypted, verifies what was signed, unwraps what was wrapped. */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#include "byok.h"
#include "hsm_internal.h"

enum { DATA_LEN = 32, P256_POINT_LEN = 65 };

struct bench {
    struct bw_token      *token;
    struct bw_hsm_object *aes, *hmac, *rsa, *ec, *edwards; /* NULL: the HSM makes none */
    struct bw_arena       arena;
    uint8_t               data[BW_MODULUS_MAX];            /* starts with a zero, so that it is less than any modulus */
};

/* ---- throw-away keys ---- */

/* A refusal says that the HSM lacks something; the rest, that it cannot be asked now. */
static bool is_refusal(bw_result r)
{
    return !bw_ok(r) && r.code != BW_HSM_UNAVAILABLE && r.code != BW_OVERLOADED && r.code != BW_NO_MEMORY && r.code != BW_TENANT_SEALED;
}

static bw_result make_secret(struct bw_token *token, enum bw_spec spec, struct bw_hsm_object **ret_key)
{
    const struct bw_spec_row *row = bw_spec_row(spec);
    struct bw_session_key what = { .key_type = row->key_type, .length = row->bits / 8, .uses = row->uses, .extractable = true };

    bw_result r = bw_hsm_generate_session(token, &what, ret_key);
    return is_refusal(r) ? bw_success() : r;
}

static bw_result make_pair(struct bw_token *token, enum bw_spec spec, struct bw_hsm_object **ret_key)
{
    bw_result r = bw_object_generate_pair(token, bw_spec_row(spec), ret_key);
    return is_refusal(r) ? bw_success() : r;
}

static bw_result make_keys(struct bench *bench)
{
    BW_TRY(make_secret(bench->token, BW_SPEC_AES_256, &bench->aes));
    BW_TRY(make_secret(bench->token, BW_SPEC_HMAC_512, &bench->hmac));
    BW_TRY(make_pair(bench->token, BW_SPEC_RSA_2048, &bench->rsa));
    BW_TRY(make_pair(bench->token, BW_SPEC_EC_P256, &bench->ec));
    return make_pair(bench->token, BW_SPEC_ED25519, &bench->edwards);
}

static void drop_keys(struct bench *bench)
{
    bw_hsm_object_unref(bench->aes);
    bw_hsm_object_unref(bench->hmac);
    bw_hsm_object_unref(bench->rsa);
    bw_hsm_object_unref(bench->ec);
    bw_hsm_object_unref(bench->edwards);
    bw_arena_clear(&bench->arena);
}

static struct bw_hsm_object *key_for(const struct bench *bench, CK_KEY_TYPE key_type)
{
    switch (key_type) {
    case CKK_AES:            return bench->aes;
    case CKK_GENERIC_SECRET: return bench->hmac;
    case CKK_RSA:            return bench->rsa;
    case CKK_EC:             return bench->ec;
    case CKK_EC_EDWARDS:     return bench->edwards;
    default:                 return NULL;
    }
}

static struct bw_mechanism with_params(const struct bw_mechanism_row *row)
{
    static const uint8_t iv[BW_AES_BLOCK] = { 1 };
    struct bw_mechanism m = { .row = row };

    switch (row->params) {
    case BW_PARAMS_NOTHING:
    case BW_PARAMS_PEER:    break;
    case BW_PARAMS_IV:      m.iv = bw_bytes_of(iv, sizeof iv); break;
    case BW_PARAMS_GCM:     m.iv = bw_bytes_of(iv, BW_GCM_IV_LEN); m.tag_bits = 128; m.aad = bw_bytes_text("aad"); break;
    case BW_PARAMS_COUNTER: m.iv = bw_bytes_of(iv, sizeof iv); m.counter_bits = 128; break;
    case BW_PARAMS_OAEP:    m.hash = m.mgf = BW_DIGEST_SHA256; m.aes_bits = 256; break;
    case BW_PARAMS_PSS:     m.hash = m.mgf = BW_DIGEST_SHA256; m.salt_len = 32; break;
    }
    return m;
}

/* ---- probes: BW_OK when it works ---- */

static bw_bytes data_for(const struct bench *bench, const struct bw_mechanism *m)
{
    return bw_bytes_of(bench->data, m->row->type == CKM_RSA_X_509 ? bw_object_bytes(bench->rsa) : DATA_LEN);
}

static bw_result probe_encryption(struct bench *bench, const struct bw_mechanism *m)
{
    struct bw_hsm_object *key = key_for(bench, m->row->key_type);
    bw_bytes plaintext = data_for(bench, m), ciphertext, back;

    BW_TRY(bw_hsm_encrypt(key, m, plaintext, &bench->arena, &ciphertext));
    BW_TRY(bw_hsm_decrypt(key, m, ciphertext, &bench->arena, &back));
    BW_CHECK(bw_bytes_equal(plaintext, back), BW_HSM_FAILED, "the HSM decrypts to something else");
    return bw_success();
}

static bw_result probe_signature(struct bench *bench, const struct bw_mechanism *m)
{
    struct bw_hsm_object *key = key_for(bench, m->row->key_type);
    bw_bytes data = data_for(bench, m), signature;

    BW_TRY(bw_hsm_sign(key, m, data, &bench->arena, &signature));
    BW_TRY(bw_hsm_verify(key, m, data, signature));
    ((uint8_t *)signature.data)[signature.len - 1] ^= 1;
    BW_CHECK(!bw_ok(bw_hsm_verify(key, m, data, signature)), BW_HSM_FAILED, "the HSM verifies a wrong signature");
    return bw_success();
}

static bw_result same_value(struct bench *bench, struct bw_hsm_object *a, struct bw_hsm_object *b)
{
    bw_bytes value_a, value_b;

    BW_TRY(bw_hsm_reveal(a, &bench->arena, &value_a));
    BW_TRY(bw_hsm_reveal(b, &bench->arena, &value_b));
    BW_CHECK(bw_bytes_equal(value_a, value_b), BW_HSM_FAILED, "the HSM came to two keys where there should be one");
    return bw_success();
}

static bw_result probe_wrapping(struct bench *bench, const struct bw_mechanism *m)
{
    struct bw_hsm_object *key = key_for(bench, m->row->key_type), *back;
    struct bw_session_key what = { .key_type = CKK_GENERIC_SECRET, .extractable = true };
    bw_bytes wrapped;

    BW_CHECK(bench->hmac != NULL, BW_HSM_FAILED, "no key to wrap");
    BW_TRY(bw_hsm_wrap(key, m, bench->hmac, &bench->arena, &wrapped));
    BW_TRY(bw_hsm_unwrap(key, m, wrapped, &what, &back));
    bw_result r = same_value(bench, bench->hmac, back);
    bw_hsm_object_unref(back);
    return r;
}

static bw_result point_of(struct bw_hsm_object *pair, struct bw_buf *spki, bw_bytes *ret_point)
{
    struct bw_session *session;

    BW_TRY(bw_object_use(pair, &session));
    bw_result r = bw_public_key_read(session, pair->public_key, pair->key_type, spki);
    bw_session_give(session);
    BW_TRY(r);
    BW_CHECK(spki->len > P256_POINT_LEN, BW_HSM_FAILED, "the HSM's public key");
    *ret_point = bw_bytes_of(spki->data + spki->len - P256_POINT_LEN, P256_POINT_LEN);
    return bw_success();
}

static bw_result derive_with(struct bw_hsm_object *own, struct bw_hsm_object *other, const struct bw_mechanism *m, struct bw_hsm_object **ret_key)
{
    struct bw_session_key what = { .key_type = CKK_GENERIC_SECRET, .extractable = true };
    struct bw_mechanism with_peer = *m;
    struct bw_buf spki = { 0 };

    bw_result r = point_of(other, &spki, &with_peer.peer);
    if (bw_ok(r))
        r = bw_hsm_derive(own, &with_peer, &what, ret_key);
    bw_buf_clear(&spki);
    return r;
}

/* Both sides of an agreement. */
static bw_result probe_derivation(struct bench *bench, const struct bw_mechanism *m)
{
    struct bw_hsm_object *peer, *here = NULL, *there = NULL;

    BW_TRY(bw_object_generate_pair(bench->token, bw_spec_row(BW_SPEC_EC_P256), &peer));
    bw_result r = derive_with(bench->ec, peer, m, &here);
    if (bw_ok(r))
        r = derive_with(peer, bench->ec, m, &there);
    if (bw_ok(r))
        r = same_value(bench, here, there);
    bw_hsm_object_unref(here);
    bw_hsm_object_unref(there);
    bw_hsm_object_unref(peer);
    return r;
}

/* The keys on the bench were made this way. */
static bw_result probe_generation(struct bench *bench, const struct bw_mechanism *m)
{
    (void)bench, (void)m;
    return bw_success();
}

static const struct probe {
    unsigned uses;
    bw_result (*run)(struct bench *bench, const struct bw_mechanism *mechanism);
} probes[] = {
    { BW_USE_ENCRYPT | BW_USE_DECRYPT,        probe_encryption },
    { BW_USE_SIGN | BW_USE_VERIFY,            probe_signature  },
    { BW_USE_WRAP | BW_USE_UNWRAP,            probe_wrapping   },
    { BW_USE_DERIVE,                          probe_derivation },
    { BW_USE_GENERATE | BW_USE_GENERATE_PAIR, probe_generation },
};

/* ---- import: what must come to light nowhere but inside ---- */

/* OAEP of the module's own, with this hash. Without the bit ours would be tried, and work. */
static bw_result probe_oaep(struct bench *bench, enum bw_digest hash)
{
    struct bw_mechanism oaep = with_params(bw_mechanism_row(CKM_RSA_PKCS_OAEP));
    struct bw_hsm *hsm = bench->token->hsm;

    if (bench->rsa == NULL)
        return bw_success();
    oaep.hash = oaep.mgf = hash;
    atomic_fetch_or(&hsm->oaep_hashes, 1u << hash);
    bw_result r = probe_wrapping(bench, &oaep);
    if (!bw_ok(r))
        atomic_fetch_and(&hsm->oaep_hashes, ~(1u << hash));
    return is_refusal(r) ? bw_success() : r;
}

static enum bw_digest any_oaep_hash(const struct bw_hsm *hsm)
{
    enum bw_digest hash = BW_DIGEST_SHA1;

    while (bw_digest_row(hash) != NULL && !bw_hsm_imports_by(hsm, hash))
        hash++;
    return bw_digest_row(hash) ? hash : BW_DIGEST_NONE;
}

static bw_result wrap_for_bench(struct bench *bench, EVP_PKEY *key, enum bw_digest hash, struct bw_buf *spki, bw_bytes *ret_wrapped)
{
    BW_AUTO(secret) private_key = NULL;
    struct bw_buf wrapping_key = { 0 };
    struct bw_session *session;

    BW_TRY(bw_byok_public(key, spki));
    BW_TRY(bw_byok_private(key, &private_key));
    BW_TRY(bw_object_use(bench->rsa, &session));
    bw_result r = bw_public_key_read(session, bench->rsa->public_key, CKK_RSA, &wrapping_key);
    bw_session_give(session);
    if (bw_ok(r))
        r = bw_byok_wrap(NULL, bw_buf_bytes(&wrapping_key), hash, bw_bytes_of(bw_secret_reveal(private_key), bw_secret_len(private_key)),
                         &bench->arena, ret_wrapped);
    bw_buf_clear(&wrapping_key);
    return r;
}

/* A key of OpenSSL's comes in as a customer's does. */
static bw_result import_pair(struct bench *bench, EVP_PKEY *key, const struct bw_spec_row *spec)
{
    struct bw_mechanism m = with_params(bw_mechanism_row(CKM_RSA_AES_KEY_WRAP));
    struct bw_hsm_object *aes, *pair = NULL;
    struct bw_buf spki = { 0 };
    bw_bytes wrapped, rest;

    m.hash = m.mgf = any_oaep_hash(bench->token->hsm);
    BW_CHECK(m.hash != BW_DIGEST_NONE && bench->rsa != NULL, BW_HSM_FAILED, "the HSM does no OAEP by itself");
    bw_result r = wrap_for_bench(bench, key, m.hash, &spki, &wrapped);
    if (bw_ok(r))
        r = bw_rsa_aes_open(bench->rsa, &m, wrapped, &aes, &rest);
    if (bw_ok(r)) {
        r = bw_pair_unwrap(aes, rest, spec, bw_buf_bytes(&spki), &pair);
        bw_hsm_object_unref(aes);
    }
    bw_hsm_object_unref(pair);
    bw_buf_clear(&spki);
    return r;
}

/* The shortest key of a type stands for all. */
static bw_result probe_pair(struct bench *bench, const struct bw_spec_row *spec)
{
    EVP_PKEY *key = spec->key_type == CKK_RSA ? EVP_RSA_gen(2048u) : spec->key_type == CKK_EC ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    BW_CHECK(key != NULL, BW_NO_MEMORY, "a key to import");
    bw_result r = import_pair(bench, key, spec);
    EVP_PKEY_free(key);
    return r;
}

static bw_result try_imports(struct bw_hsm *hsm, struct bench *bench)
{
    const struct bw_spec_row *spec;
    bw_result r = bw_success(); /* of the specs of one type, which follow each other */

    for (enum bw_digest hash = BW_DIGEST_SHA1; bw_digest_row(hash) != NULL; hash++)
        BW_TRY(probe_oaep(bench, hash));
    for (enum bw_spec i = 1; (spec = bw_spec_row(i)) != NULL; i++) {
        if (!bw_spec_is_pair(spec))
            r = any_oaep_hash(hsm) != BW_DIGEST_NONE ? bw_success() : bw_fail(BW_HSM_FAILED, "the HSM does no OAEP by itself");
        else if (spec->key_type != bw_spec_row(i - 1)->key_type)
            r = probe_pair(bench, spec);
        if (!bw_ok(r) && !is_refusal(r))
            return r;
        hsm->why_no_import[i] = r.what;
        if (bw_ok(r))
            atomic_fetch_or(&hsm->imports, 1u << i);
    }
    return bw_success();
}

/* ---- all of them ---- */

static bw_result try_mechanism(struct bench *bench, const struct bw_mechanism_row *row, unsigned *ret_offers)
{
    const struct bw_mechanism m = with_params(row);

    *ret_offers = 0;
    if (row->travels_as != row->type || key_for(bench, row->key_type) == NULL)
        return bw_success();
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        if (!(row->uses & probes[i].uses))
            continue;
        bw_result r = probes[i].run(bench, &m);
        if (bw_ok(r))
            *ret_offers |= row->uses & probes[i].uses;
        else if (!is_refusal(r))
            return r;
    }
    return bw_success();
}

static bw_result try_all(struct bw_hsm *hsm, struct bench *bench)
{
    BW_TRY(make_keys(bench));
    BW_TRY(bw_hsm_random(bench->token, bench->data + 1, sizeof bench->data - 1));
    for (size_t i = 0; i < BW_MECHANISM_ROWS; i++) {
        unsigned offers;
        BW_TRY(try_mechanism(bench, bw_mechanism_at(i), &offers));
        atomic_store(&hsm->offers[i], offers);
    }
    return try_imports(hsm, bench);
}

/* What the daemon itself cannot do without. */
static bw_result check_needs(const struct bw_hsm *hsm)
{
    BW_CHECK(bw_hsm_offers(hsm, CKM_AES_GCM, BW_USE_ENCRYPT | BW_USE_DECRYPT), BW_HSM_FAILED, "the HSM does no AES-GCM, which envelopes need");
    BW_CHECK(bw_hsm_offers(hsm, CKM_AES_KEY_WRAP_PAD, BW_USE_WRAP | BW_USE_UNWRAP), BW_HSM_FAILED, "the HSM does no AES-KWP, which session keys need");
    BW_CHECK(bw_hsm_offers(hsm, CKM_SHA256_HMAC, BW_USE_SIGN), BW_HSM_FAILED, "the HSM does no HMAC-SHA-256, which session keys need");
    return bw_success();
}

bw_result bw_hsm_self_test(struct bw_hsm *hsm, struct bw_token *token)
{
    struct bench bench = { .token = token };

    bw_result r = try_all(hsm, &bench);
    drop_keys(&bench);
    BW_TRY(r);
    return check_needs(hsm);
}

bw_result bw_hsm_ping(struct bw_token *token)
{
    const struct bw_mechanism m = with_params(bw_mechanism_row(CKM_AES_ECB)); /* no nonce to run out of */
    static const uint8_t block[BW_AES_BLOCK];
    struct bw_arena arena = { 0 };
    struct bw_hsm_object *key;
    bw_bytes out;

    BW_TRY(bw_service_key(token, BW_SERVICE_TEST, &key));
    bw_result r = bw_hsm_encrypt(key, &m, bw_bytes_of(block, sizeof block), &arena, &out);
    bw_hsm_object_unref(key);
    bw_arena_clear(&arena);
    return r;
}
