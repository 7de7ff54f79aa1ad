/* Encrypt, decrypt, sign, verify, random. Lengths are checked here, because SoftHSM answers CKR_GENERAL_ERROR to most that
 * are wrong; what is left of that code is then blamed on the bytes themselves. */
#include <string.h>

#include "hsm_internal.h"

/* ---- mechanisms ---- */

static void set_gcm(CK_GCM_PARAMS *p, const struct bw_mechanism *m)
{
    *p = (CK_GCM_PARAMS){ .pIv = (CK_BYTE *)m->iv.data, .ulIvLen = m->iv.len, .ulIvBits = 8 * m->iv.len,
                          .pAAD = (CK_BYTE *)m->aad.data, .ulAADLen = m->aad.len, .ulTagBits = m->tag_bits };
}

static void set_counter(CK_AES_CTR_PARAMS *p, const struct bw_mechanism *m)
{
    p->ulCounterBits = m->counter_bits;
    memcpy(p->cb, m->iv.data, sizeof p->cb);
}

void bw_ck_mechanism_set(struct bw_ck_mechanism *ck, const struct bw_mechanism *m)
{
    const struct bw_digest_row *hash = bw_digest_row(m->hash), *mgf = bw_digest_row(m->mgf);

    *ck = (struct bw_ck_mechanism){ .mechanism = { m->row->travels_as, &ck->params, 0 } };
    switch (m->row->params) {
    case BW_PARAMS_NOTHING:
        ck->mechanism.pParameter = NULL;
        break;
    case BW_PARAMS_IV:
        ck->mechanism.pParameter     = (void *)m->iv.data;
        ck->mechanism.ulParameterLen = m->iv.len;
        break;
    case BW_PARAMS_GCM:
        set_gcm(&ck->params.gcm, m);
        ck->mechanism.ulParameterLen = sizeof ck->params.gcm;
        break;
    case BW_PARAMS_COUNTER:
        set_counter(&ck->params.counter, m);
        ck->mechanism.ulParameterLen = sizeof ck->params.counter;
        break;
    case BW_PARAMS_OAEP:
        ck->params.oaep = (CK_RSA_PKCS_OAEP_PARAMS){ hash->mechanism, mgf->mgf, CKZ_DATA_SPECIFIED, NULL, 0 }; /* see bw_oaep_is_native */
        ck->mechanism.ulParameterLen = sizeof ck->params.oaep;
        break;
    case BW_PARAMS_PSS:
        ck->params.pss = (CK_RSA_PKCS_PSS_PARAMS){ hash->mechanism, mgf->mgf, m->salt_len };
        ck->mechanism.ulParameterLen = sizeof ck->params.pss;
        break;
    case BW_PARAMS_PEER:
        ck->params.ecdh = (CK_ECDH1_DERIVE_PARAMS){ CKD_NULL, 0, NULL, m->peer.len, (CK_BYTE *)m->peer.data };
        ck->mechanism.ulParameterLen = sizeof ck->params.ecdh;
        break;
    }
}

static bw_result fits(const struct bw_hsm_object *key, const struct bw_mechanism *m, unsigned use)
{
    BW_CHECK(m->row->uses & use, BW_MECHANISM_INVALID, "not a mechanism for this");
    BW_CHECK(m->row->key_type == key->key_type, BW_KEY_TYPE, "the mechanism wants a key of another type");
    BW_CHECK(m->row->params != BW_PARAMS_GCM || m->iv.len > 0, BW_MECHANISM_PARAM, "GCM without an IV");
    return bw_success();
}

/* ---- one operation ---- */

typedef CK_RV (*init_fn)(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
typedef CK_RV (*once_fn)(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len);

struct operation {
    init_fn              init;
    once_fn              once;
    const struct bw_mechanism *mechanism;
    CK_OBJECT_HANDLE     handle;
    enum bw_code         input_fault;
    bw_bytes             in;
    size_t               room;        /* of what comes out, bytes */
};

/* A session in which an earlier call got stuck is replaced, once. */
static bw_result start(struct bw_session *session, const struct operation *op)
{
    struct bw_ck_mechanism ck;

    bw_ck_mechanism_set(&ck, op->mechanism);
    CK_RV rv = op->init(session->handle, &ck.mechanism, op->handle);
    if (rv == CKR_OPERATION_ACTIVE) {
        BW_TRY(bw_session_replace(session));
        rv = op->init(session->handle, &ck.mechanism, op->handle);
    }
    return BW_RV(session, rv, BW_MECHANISM_PARAM);
}

static bw_result run(struct bw_session *session, const struct operation *op, struct bw_arena *arena, bw_bytes *ret_out)
{
    CK_ULONG len = op->room;
    uint8_t *out = bw_arena_alloc(arena, op->room);

    BW_CHECK(out != NULL, BW_NO_MEMORY, "HSM output");
    BW_TRY(start(session, op));
    CK_RV rv = op->once(session->handle, bw_ck_bytes(op->in), op->in.len, out, &len);
    BW_TRY(BW_RV(session, rv, op->input_fault));
    BW_CHECK(len <= op->room, BW_HSM_FAILED, "the HSM wrote more than there was room");
    *ret_out = bw_bytes_of(out, len);
    return bw_success();
}

static bw_result run_on(struct bw_hsm_object *key, const struct operation *op, struct bw_arena *arena, bw_bytes *ret_out)
{
    struct bw_session *session;

    BW_TRY(bw_object_use(key, &session));
    bw_result r = run(session, op, arena, ret_out);
    bw_session_give(session);
    return r;
}

static CK_FUNCTION_LIST *functions_of(const struct bw_hsm_object *key)
{
    return key->token->hsm->f;
}

/* ---- encrypt and decrypt ---- */

/* RSA takes its public half; what it writes is as long as the modulus. */
static bw_result encrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes in, struct bw_arena *arena, bw_bytes *ret_out)
{
    bool is_rsa = key->key_type == CKK_RSA;
    const struct operation op = { functions_of(key)->C_EncryptInit, functions_of(key)->C_Encrypt, m, is_rsa ? key->public_key : key->own,
                                  BW_DATA_INVALID, in, is_rsa ? bw_object_bytes(key) : in.len + BW_AES_BLOCK };
    return run_on(key, &op, arena, ret_out);
}

static bw_result decrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes in, struct bw_arena *arena, bw_bytes *ret_out)
{
    const struct operation op = { functions_of(key)->C_DecryptInit, functions_of(key)->C_Decrypt, m, key->own,
                                  BW_CIPHERTEXT_INVALID, in, in.len + BW_AES_BLOCK };
    return run_on(key, &op, arena, ret_out);
}

static bw_result check_plaintext(const struct bw_hsm_object *key, const struct bw_mechanism *m, size_t len)
{
    switch (m->row->type) {
    case CKM_AES_CBC:
    case CKM_AES_ECB:
        BW_CHECK(len % BW_AES_BLOCK == 0, BW_DATA_LENGTH, "not whole blocks");
        break;
    case CKM_RSA_PKCS:
        BW_CHECK(len + 11 <= bw_object_bytes(key), BW_DATA_LENGTH, "longer than the modulus takes"); /* RFC 8017 7.2.1 */
        break;
    case CKM_RSA_X_509:
        BW_CHECK(len == bw_object_bytes(key), BW_DATA_LENGTH, "not as long as the modulus");
        break;
    default:
        break;
    }
    return bw_success();
}

static bw_result check_ciphertext(const struct bw_hsm_object *key, const struct bw_mechanism *m, size_t len)
{
    switch (m->row->type) {
    case CKM_AES_GCM:
        BW_CHECK(len >= m->tag_bits / 8, BW_CIPHERTEXT_LENGTH, "shorter than its tag");
        break;
    case CKM_AES_CBC_PAD:
        BW_CHECK(len > 0, BW_CIPHERTEXT_LENGTH, "no blocks");
        BW_CHECK(len % BW_AES_BLOCK == 0, BW_CIPHERTEXT_LENGTH, "not whole blocks");
        break;
    case CKM_AES_CBC:
    case CKM_AES_ECB:
        BW_CHECK(len % BW_AES_BLOCK == 0, BW_CIPHERTEXT_LENGTH, "not whole blocks");
        break;
    default:
        BW_CHECK(key->key_type != CKK_RSA || len == bw_object_bytes(key), BW_CIPHERTEXT_LENGTH, "not as long as the modulus");
        break;
    }
    return bw_success();
}

bw_result bw_hsm_encrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes plaintext,
                         struct bw_arena *arena, bw_bytes *ret_ciphertext)
{
    BW_TRY(fits(key, m, BW_USE_ENCRYPT));
    BW_CHECK(plaintext.len <= BW_DATA_MAX, BW_TOO_LARGE, "plaintext");
    BW_TRY(check_plaintext(key, m, plaintext.len));
    if (m->row->type == CKM_RSA_PKCS_OAEP)
        return bw_oaep_encrypt(key, m, plaintext, arena, ret_ciphertext);
    return encrypt(key, m, plaintext, arena, ret_ciphertext);
}

/* One refusal for whatever is wrong with RSA padding or a tag, so that no padding is told from another. */
static bw_result uniform(bw_result r)
{
    return r.code == BW_CIPHERTEXT_INVALID || r.code == BW_CIPHERTEXT_LENGTH
         ? bw_fail(BW_CIPHERTEXT_INVALID, "it does not decrypt") : r;
}

bw_result bw_hsm_decrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes ciphertext,
                         struct bw_arena *arena, bw_bytes *ret_plaintext)
{
    BW_TRY(fits(key, m, BW_USE_DECRYPT));
    BW_CHECK(ciphertext.len <= BW_DATA_MAX + BW_GCM_TAG_MAX, BW_TOO_LARGE, "ciphertext");
    BW_TRY(check_ciphertext(key, m, ciphertext.len));
    if (m->row->type == CKM_RSA_PKCS_OAEP && !bw_oaep_is_native(key->token->hsm, m))
        return uniform(bw_oaep_decrypt(key, m, ciphertext, arena, ret_plaintext));
    return uniform(decrypt(key, m, ciphertext, arena, ret_plaintext));
}

/* ---- sign and verify ---- */

/* What may be signed, in bytes. */
static bw_result check_data(const struct bw_hsm_object *key, const struct bw_mechanism *m, size_t len)
{
    const struct bw_digest_row *hash = bw_digest_row(m->hash);

    BW_CHECK(len <= BW_DATA_MAX, BW_TOO_LARGE, "data to sign");
    switch (m->row->travels_as) {
    case CKM_RSA_PKCS_PSS: /* RFC 8017 9.1.1 */
        BW_CHECK(len == hash->len, BW_DATA_LENGTH, "not as long as the hash");
        BW_CHECK(hash->len + m->salt_len + 2 <= bw_object_bytes(key), BW_MECHANISM_PARAM, "the salt is longer than the modulus takes");
        break;
    case CKM_ECDSA: /* a digest, cut to the order by the HSM */
        BW_CHECK(len > 0 && len <= 66, BW_DATA_LENGTH, "not a digest");
        break;
    case CKM_RSA_PKCS:
    case CKM_RSA_X_509:
        return check_plaintext(key, m, len);
    default:
        break;
    }
    return bw_success();
}

static struct bw_mechanism as_it_travels(const struct bw_mechanism *m)
{
    struct bw_mechanism travelling = *m;

    travelling.row = bw_mechanism_row(m->row->travels_as);
    return travelling;
}

bw_result bw_hsm_sign(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes data,
                      struct bw_arena *arena, bw_bytes *ret_signature)
{
    const struct bw_mechanism m = as_it_travels(mechanism);
    const struct operation op = { functions_of(key)->C_SignInit, functions_of(key)->C_Sign, &m, key->own, BW_DATA_INVALID, data, BW_SIGNATURE_MAX };

    BW_TRY(fits(key, &m, BW_USE_SIGN));
    BW_TRY(check_data(key, &m, data.len));
    return run_on(key, &op, arena, ret_signature);
}

static bw_result verify(struct bw_session *session, const struct operation *op, bw_bytes signature)
{
    CK_FUNCTION_LIST *f = session->token->hsm->f;

    BW_TRY(start(session, op));
    CK_RV rv = f->C_Verify(session->handle, bw_ck_bytes(op->in), op->in.len, bw_ck_bytes(signature), signature.len);
    return BW_RV(session, rv, BW_SIGNATURE_INVALID);
}

bw_result bw_hsm_verify(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes signature)
{
    const struct bw_mechanism m = as_it_travels(mechanism);
    const bool is_pair = key->public_key != CK_INVALID_HANDLE;
    const struct operation op = { .init = functions_of(key)->C_VerifyInit, .mechanism = &m, .handle = is_pair ? key->public_key : key->own, .in = data };
    struct bw_session *session;

    BW_TRY(fits(key, &m, BW_USE_VERIFY));
    BW_TRY(check_data(key, &m, data.len));
    BW_CHECK(signature.len > 0 && signature.len <= BW_SIGNATURE_MAX, BW_SIGNATURE_LENGTH, "no signature has this length");
    BW_TRY(bw_object_use(key, &session));
    bw_result r = verify(session, &op, signature);
    bw_session_give(session);
    return r;
}

/* ---- random ---- */

bw_result bw_hsm_random(struct bw_token *token, uint8_t *bytes, size_t len)
{
    struct bw_session *session;

    if (len == 0)
        return bw_success();
    BW_TRY(bw_session_take(token, &session));
    bw_result r = BW_RV(session, token->hsm->f->C_GenerateRandom(session->handle, bytes, len), BW_HSM_FAILED);
    bw_session_give(session);
    return r;
}

/* ---- the raw RSA operation ---- */

static struct bw_mechanism raw_rsa(void)
{
    return (struct bw_mechanism){ .row = bw_mechanism_row(CKM_RSA_X_509) };
}

bw_result bw_rsa_public(struct bw_hsm_object *key, bw_bytes block, struct bw_arena *arena, bw_bytes *ret_block)
{
    const struct bw_mechanism m = raw_rsa();
    return encrypt(key, &m, block, arena, ret_block);
}

bw_result bw_rsa_private(struct bw_hsm_object *key, bw_bytes block, struct bw_arena *arena, bw_bytes *ret_block)
{
    const struct bw_mechanism m = raw_rsa();
    return decrypt(key, &m, block, arena, ret_block);
}
