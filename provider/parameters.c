#include "parameters.h"

#include <string.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "bailiwick/limits.h"
#include "output.h"

const struct bw_mechanism_row bw_envelope_row = {
    .type = CKM_BAILIWICK_ENVELOPE, .name = "CKM_BAILIWICK_ENVELOPE", .key_type = CKK_AES, .uses = BW_USE_ENCRYPT | BW_USE_DECRYPT,
    .travels_as = CKM_BAILIWICK_ENVELOPE, .params = BW_PARAMS_NOTHING, .least_bits = 256, .most_bits = 256, .cost = BW_COST_FAST,
};

/* RFC 3394, 2.2.3.1: an application may name the IV that is used anyway. */
static const uint8_t key_wrap_iv[8] = { 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6 };

/* PKCS#11 v3.0, Current Mechanisms 2.3.5 and 2.1.20; p11-kit's header has them not. */
struct eddsa_params {
    CK_BBOOL ph_flag;
    CK_ULONG context_len;
    CK_BYTE *context;
};
struct rsa_aes_params {
    CK_ULONG                  aes_bits;
    CK_RSA_PKCS_OAEP_PARAMS  *oaep;
};
/* CK_GCM_PARAMS as PKCS#11 2.20 had it. */
struct short_gcm_params {
    CK_BYTE *iv;
    CK_ULONG iv_len;
    CK_BYTE *aad;
    CK_ULONG aad_len;
    CK_ULONG tag_bits;
};

/* What the parsers share: the parameter's bytes, where copies go, what comes out. */
struct parse {
    bw_bytes              given;
    unsigned              use;
    struct bw_arena      *arena;
    struct bw_parameters *out;
};

static bw_result keep(struct parse *p, const void *data, CK_ULONG len, size_t most, bw_bytes *ret_copy)
{
    bw_bytes bytes;

    BW_TRY(bw_input(data, len, &bytes));
    BW_CHECK(bytes.len <= most, BW_MECHANISM_PARAM, "a parameter that is too long");
    void *copy = bw_arena_copy(p->arena, bytes);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "mechanism parameters");
    *ret_copy = bw_bytes_of(copy, bytes.len);
    return bw_success();
}

/* Copies the structure out of what was given, for it may be unaligned. */
static bw_result take(struct parse *p, void *params, size_t size)
{
    BW_CHECK(p->given.len == size, BW_MECHANISM_PARAM, "parameters of another size");
    memcpy(params, p->given.data, size);
    return bw_success();
}

static bw_result narrow(CK_ULONG value, unsigned *ret_value)
{
    BW_CHECK(value <= UINT16_MAX, BW_MECHANISM_PARAM, "a number out of range");
    *ret_value = (unsigned)value;
    return bw_success();
}

/* ---- one parser for each row of enum bw_params ---- */

static bw_result parse_eddsa(struct parse *p)
{
    struct eddsa_params params;

    BW_TRY(take(p, &params, sizeof params));
    BW_CHECK(params.ph_flag == CK_FALSE && params.context_len == 0, BW_MECHANISM_PARAM, "only Ed25519 itself, without a context");
    return bw_success();
}

static bw_result parse_nothing(struct parse *p)
{
    CK_MECHANISM_TYPE type = p->out->mechanism.row->type;

    if (p->given.len == 0)
        return bw_success();
    if (type == CKM_EDDSA)
        return parse_eddsa(p);
    bool named = type == CKM_AES_KEY_WRAP && bw_bytes_equal(p->given, bw_bytes_of(key_wrap_iv, sizeof key_wrap_iv));
    BW_CHECK(named, BW_MECHANISM_PARAM, "this mechanism takes no parameters");
    return bw_success();
}

static bw_result parse_iv(struct parse *p)
{
    BW_CHECK(p->given.len == BW_AES_BLOCK, BW_MECHANISM_PARAM, "the IV is not 16 bytes");
    return keep(p, p->given.data, p->given.len, BW_AES_BLOCK, &p->out->mechanism.iv);
}

static bw_result take_gcm(struct parse *p, CK_GCM_PARAMS *ret_params)
{
    struct short_gcm_params brief;

    if (p->given.len == sizeof *ret_params)
        return take(p, ret_params, sizeof *ret_params);
    BW_TRY(take(p, &brief, sizeof brief));
    *ret_params = (CK_GCM_PARAMS){
        .pIv = brief.iv, .ulIvLen = brief.iv_len, .pAAD = brief.aad, .ulAADLen = brief.aad_len, .ulTagBits = brief.tag_bits,
    };
    return bw_success();
}

static bw_result parse_gcm(struct parse *p)
{
    CK_GCM_PARAMS params;

    BW_TRY(take_gcm(p, &params));
    BW_TRY(keep(p, params.pIv, params.ulIvLen, BW_IV_MAX, &p->out->mechanism.iv));
    BW_TRY(keep(p, params.pAAD, params.ulAADLen, BW_AAD_MAX, &p->out->mechanism.aad));
    BW_TRY(narrow(params.ulTagBits, &p->out->mechanism.tag_bits));
    if (params.ulIvLen > 0)
        return bw_success();
    bool room = params.pIv != NULL && params.ulIvBits == 8 * BW_GCM_IV_LEN;
    BW_CHECK(p->use == BW_USE_ENCRYPT && room, BW_MECHANISM_PARAM, "no IV, and no room for one");
    p->out->iv_back = params.pIv;
    return bw_success();
}

static bw_result parse_counter(struct parse *p)
{
    CK_AES_CTR_PARAMS params;

    BW_TRY(take(p, &params, sizeof params));
    BW_TRY(narrow(params.ulCounterBits, &p->out->mechanism.counter_bits));
    return keep(p, params.cb, sizeof params.cb, BW_AES_BLOCK, &p->out->mechanism.iv);
}

static bw_result parse_hashes(struct parse *p, CK_MECHANISM_TYPE hash, CK_RSA_PKCS_MGF_TYPE mgf)
{
    const struct bw_digest_row *hash_row = bw_digest_by_mechanism(hash), *mgf_row = bw_digest_by_mgf(mgf);

    BW_CHECK(hash_row != NULL && mgf_row != NULL, BW_MECHANISM_PARAM, "a hash that is not offered");
    p->out->mechanism.hash = hash_row->digest;
    p->out->mechanism.mgf  = mgf_row->digest;
    return bw_success();
}

static bw_result parse_oaep(struct parse *p)
{
    CK_RSA_PKCS_OAEP_PARAMS params;

    BW_TRY(take(p, &params, sizeof params));
    BW_CHECK(params.source == CKZ_DATA_SPECIFIED || (params.source == 0 && params.ulSourceDataLen == 0), BW_MECHANISM_PARAM, "the label's source");
    BW_TRY(parse_hashes(p, params.hashAlg, params.mgf));
    return keep(p, params.pSourceData, params.ulSourceDataLen, BW_OAEP_LABEL_MAX, &p->out->mechanism.label);
}

static bw_result parse_rsa_aes(struct parse *p)
{
    struct rsa_aes_params params;

    BW_TRY(take(p, &params, sizeof params));
    BW_CHECK(params.aes_bits == 128 || params.aes_bits == 192 || params.aes_bits == 256, BW_MECHANISM_PARAM, "the AES key's length");
    BW_CHECK(params.oaep != NULL, BW_MECHANISM_PARAM, "no OAEP parameters");
    p->out->mechanism.aes_bits = (unsigned)params.aes_bits;
    p->given = bw_bytes_of(params.oaep, sizeof *params.oaep);
    return parse_oaep(p);
}

static bw_result parse_pss(struct parse *p)
{
    enum bw_digest digest = p->out->mechanism.row->digest;
    CK_RSA_PKCS_PSS_PARAMS params;

    BW_TRY(take(p, &params, sizeof params));
    BW_TRY(parse_hashes(p, params.hashAlg, params.mgf));
    BW_CHECK(digest == BW_DIGEST_NONE || digest == p->out->mechanism.hash, BW_MECHANISM_PARAM, "another hash than the mechanism's own");
    return narrow(params.sLen, &p->out->mechanism.salt_len);
}

static bw_result parse_peer(struct parse *p)
{
    CK_ECDH1_DERIVE_PARAMS params;

    BW_TRY(take(p, &params, sizeof params));
    BW_CHECK(params.kdf == CKD_NULL && params.ulSharedDataLen == 0, BW_MECHANISM_PARAM, "only CKD_NULL, without shared data");
    return keep(p, params.pPublicData, params.ulPublicDataLen, 160, &p->out->mechanism.peer);
}

static bw_result parse_pair(struct parse *p, const CK_BAILIWICK_PAIR *from, struct bw_pair *ret_pair)
{
    CK_BAILIWICK_PAIR pair;

    memcpy(&pair, from, sizeof pair);
    BW_TRY(keep(p, pair.pName, pair.ulNameLen, BW_CONTEXT_TEXT_MAX, &ret_pair->name));
    return keep(p, pair.pValue, pair.ulValueLen, BW_CONTEXT_TEXT_MAX, &ret_pair->value);
}

static bw_result parse_envelope(struct parse *p)
{
    CK_BAILIWICK_ENVELOPE_PARAMS params;

    if (p->given.len == 0)
        return bw_success();
    BW_TRY(take(p, &params, sizeof params));
    BW_CHECK(params.ulContextCount <= BW_CONTEXT_PAIRS_MAX, BW_MECHANISM_PARAM, "too many pairs in the encryption context");
    BW_CHECK(params.pContext != NULL || params.ulContextCount == 0, BW_BAD_ARGUMENT, "a count without an encryption context");
    struct bw_pair *pairs = bw_arena_alloc(p->arena, params.ulContextCount * sizeof *pairs);
    BW_CHECK(pairs != NULL, BW_NO_MEMORY, "encryption context");
    for (CK_ULONG i = 0; i < params.ulContextCount; i++)
        BW_TRY(parse_pair(p, (const void *)((const uint8_t *)params.pContext + i * sizeof(CK_BAILIWICK_PAIR)), &pairs[i]));
    p->out->context       = pairs;
    p->out->context_count = params.ulContextCount;
    return bw_success();
}

static bw_result parse_by_row(struct parse *p)
{
    const struct bw_mechanism_row *row = p->out->mechanism.row;

    if (row->type == CKM_BAILIWICK_ENVELOPE)
        return parse_envelope(p);
    switch (row->params) {
    case BW_PARAMS_NOTHING: return parse_nothing(p);
    case BW_PARAMS_IV:      return parse_iv(p);
    case BW_PARAMS_GCM:     return parse_gcm(p);
    case BW_PARAMS_COUNTER: return parse_counter(p);
    case BW_PARAMS_OAEP:    return row->type == CKM_RSA_AES_KEY_WRAP ? parse_rsa_aes(p) : parse_oaep(p);
    case BW_PARAMS_PSS:     return parse_pss(p);
    case BW_PARAMS_PEER:    return parse_peer(p);
    }
    return bw_fail(BW_MECHANISM_INVALID, "parameters of an unknown kind");
}

bw_result bw_parameters_parse(const CK_MECHANISM *mechanism, unsigned use, struct bw_arena *arena,
                              struct bw_parameters *ret_parameters)
{
    CK_MECHANISM         given;
    struct bw_parameters out = { 0 };
    struct parse         p   = { .use = use, .arena = arena, .out = &out };

    BW_CHECK(mechanism != NULL, BW_BAD_ARGUMENT, "no mechanism");
    memcpy(&given, mechanism, sizeof given);
    out.mechanism.row = given.mechanism == CKM_BAILIWICK_ENVELOPE ? &bw_envelope_row : bw_mechanism_row(given.mechanism);
    BW_CHECK(out.mechanism.row != NULL && (out.mechanism.row->uses & use) != 0, BW_MECHANISM_INVALID, "mechanism not offered for this");
    BW_TRY(bw_input(given.pParameter, given.ulParameterLen, &p.given));
    BW_TRY(parse_by_row(&p));
    BW_TRY(bw_mechanism_check(&out.mechanism));
    *ret_parameters = out;
    return bw_success();
}

bw_result bw_parameters_parse_messages(const CK_MECHANISM *mechanism, unsigned use, struct bw_parameters *ret_parameters)
{
    CK_MECHANISM given;

    BW_CHECK(mechanism != NULL, BW_BAD_ARGUMENT, "no mechanism");
    memcpy(&given, mechanism, sizeof given);
    const struct bw_mechanism_row *row = bw_mechanism_row(given.mechanism);
    BW_CHECK(row != NULL && row->params == BW_PARAMS_GCM && (row->uses & use) != 0, BW_MECHANISM_INVALID, "not for messages");
    *ret_parameters = (struct bw_parameters){ .mechanism.row = row };
    return bw_success();
}

bw_result bw_message_parse(const void *parameter, CK_ULONG parameter_len, bool encrypts, struct bw_message *ret_message)
{
    CK_GCM_MESSAGE_PARAMS params;
    struct bw_message     message = { 0 };

    BW_CHECK(parameter != NULL && parameter_len == sizeof params, BW_MECHANISM_PARAM, "not a CK_GCM_MESSAGE_PARAMS");
    memcpy(&params, parameter, sizeof params);
    BW_CHECK(params.pIv != NULL && params.pTag != NULL, BW_MECHANISM_PARAM, "no IV or no tag");
    BW_CHECK(params.ulIvLen > 0 && params.ulIvLen <= BW_IV_MAX, BW_MECHANISM_PARAM, "the IV's length");
    BW_TRY(narrow(params.ulTagBits, &message.tag_bits));
    message.tag = params.pTag;
    if (encrypts && params.ivGenerator != CKG_NO_GENERATE) {
        bool whole = params.ulIvFixedBits == 0 && params.ulIvLen == BW_GCM_IV_LEN && params.ivGenerator != CKG_GENERATE_COUNTER;
        BW_CHECK(whole, BW_MECHANISM_PARAM, "only whole IVs of 12 random bytes are drawn");
        message.iv_back = params.pIv;
    } else {
        message.iv = bw_bytes_of(params.pIv, params.ulIvLen);
    }
    *ret_message = message;
    return bw_success();
}
