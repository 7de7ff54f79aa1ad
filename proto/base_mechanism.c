#include "bailiwick/mechanism.h"

#include <string.h>

#include "bailiwick/limits.h"

/* the words of the table's columns */
#define ENCRYPT       BW_USE_ENCRYPT
#define DECRYPT       BW_USE_DECRYPT
#define WRAP          BW_USE_WRAP
#define UNWRAP        BW_USE_UNWRAP
#define SIGN          BW_USE_SIGN
#define VERIFY        BW_USE_VERIFY
#define DERIVE        BW_USE_DERIVE
#define DIGEST        BW_USE_DIGEST
#define GENERATE      BW_USE_GENERATE
#define GENERATE_PAIR BW_USE_GENERATE_PAIR

static const struct bw_mechanism_row rows[] = {
#define BW_MECH(type, key_type, uses, digest, travels_as, params, least, most, cost, default_) \
    { type, #type, key_type, uses, BW_DIGEST_##digest, travels_as, BW_PARAMS_##params, least, most, BW_COST_##cost, BW_DEFAULT_##default_ },
#include "bailiwick/mechanisms.def"
#undef BW_MECH
};

const struct bw_mechanism_row *bw_mechanism_row(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].type == type)
            return &rows[i];
    return NULL;
}

const struct bw_mechanism_row *bw_mechanism_at(size_t index)
{
    return index < ARRAY_LEN(rows) ? &rows[index] : NULL;
}

static const struct bw_spec_row specs[] = {
#define BW_SPEC(number, spec, key_type, bits, uses, generator, curve) \
    { BW_SPEC_##spec, #spec, key_type, bits, uses, generator, { (const uint8_t *)curve, sizeof(curve) - 1 } },
#include "bailiwick/specs.def"
#undef BW_SPEC
};

const struct bw_spec_row *bw_spec_row(enum bw_spec spec)
{
    for (size_t i = 0; i < ARRAY_LEN(specs); i++)
        if (specs[i].spec == spec)
            return &specs[i];
    return NULL;
}

const struct bw_spec_row *bw_spec_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(specs); i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

bool bw_spec_is_pair(const struct bw_spec_row *spec)
{
    return spec->key_type == CKK_RSA || spec->key_type == CKK_EC || spec->key_type == CKK_EC_EDWARDS;
}

/* RFC 8017, 9.2 note 1 */
#define DER(...) { (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) }
static const struct bw_digest_row digests[] = {
    { BW_DIGEST_SHA1,   "SHA1",     CKM_SHA_1,  CKG_MGF1_SHA1,   20, DER(0x30,0x21,0x30,0x09,0x06,0x05,0x2b,0x0e,0x03,0x02,0x1a,0x05,0x00,0x04,0x14) },
    { BW_DIGEST_SHA224, "SHA2-224", CKM_SHA224, CKG_MGF1_SHA224, 28, DER(0x30,0x2d,0x30,0x0d,0x06,0x09,0x60,0x86,0x48,0x01,0x65,0x03,0x04,0x02,0x04,0x05,0x00,0x04,0x1c) },
    { BW_DIGEST_SHA256, "SHA2-256", CKM_SHA256, CKG_MGF1_SHA256, 32, DER(0x30,0x31,0x30,0x0d,0x06,0x09,0x60,0x86,0x48,0x01,0x65,0x03,0x04,0x02,0x01,0x05,0x00,0x04,0x20) },
    { BW_DIGEST_SHA384, "SHA2-384", CKM_SHA384, CKG_MGF1_SHA384, 48, DER(0x30,0x41,0x30,0x0d,0x06,0x09,0x60,0x86,0x48,0x01,0x65,0x03,0x04,0x02,0x02,0x05,0x00,0x04,0x30) },
    { BW_DIGEST_SHA512, "SHA2-512", CKM_SHA512, CKG_MGF1_SHA512, 64, DER(0x30,0x51,0x30,0x0d,0x06,0x09,0x60,0x86,0x48,0x01,0x65,0x03,0x04,0x02,0x03,0x05,0x00,0x04,0x40) },
};

const struct bw_digest_row *bw_digest_row(enum bw_digest digest)
{
    for (size_t i = 0; i < ARRAY_LEN(digests); i++)
        if (digests[i].digest == digest)
            return &digests[i];
    return NULL;
}

const struct bw_digest_row *bw_digest_by_mechanism(CK_MECHANISM_TYPE mechanism)
{
    for (size_t i = 0; i < ARRAY_LEN(digests); i++)
        if (digests[i].mechanism == mechanism)
            return &digests[i];
    return NULL;
}

const struct bw_digest_row *bw_digest_by_mgf(CK_RSA_PKCS_MGF_TYPE mgf)
{
    for (size_t i = 0; i < ARRAY_LEN(digests); i++)
        if (digests[i].mgf == mgf)
            return &digests[i];
    return NULL;
}

static bw_result check_gcm(const struct bw_mechanism *m)
{
    BW_CHECK_AT(m->iv.len <= BW_IV_MAX, BW_MECHANISM_PARAM, "mechanism.iv", "longer than 256 bytes");
    BW_CHECK_AT(m->aad.len <= BW_AAD_MAX, BW_MECHANISM_PARAM, "mechanism.aad", "longer than 65536 bytes");
    BW_CHECK_AT(m->tag_bits == 32 || m->tag_bits == 64 || (m->tag_bits >= 96 && m->tag_bits <= 128 && m->tag_bits % 8 == 0),
                BW_MECHANISM_PARAM, "mechanism.tag_bits", "not 32, 64, 96, 104, 112, 120 or 128");
    return bw_success();
}

static bw_result check_rsa_hashes(const struct bw_mechanism *m)
{
    BW_CHECK_AT(bw_digest_row(m->hash) != NULL, BW_MECHANISM_PARAM, "mechanism.hash", "missing or unknown");
    BW_CHECK_AT(bw_digest_row(m->mgf) != NULL, BW_MECHANISM_PARAM, "mechanism.mgf", "missing or unknown");
    BW_CHECK_AT(m->label.len <= BW_OAEP_LABEL_MAX, BW_MECHANISM_PARAM, "mechanism.label", "longer than 1024 bytes");
    BW_CHECK_AT(m->salt_len <= 512, BW_MECHANISM_PARAM, "mechanism.salt_len", "longer than any modulus");
    return bw_success();
}

bw_result bw_mechanism_check(const struct bw_mechanism *m)
{
    BW_CHECK_AT(m->row != NULL, BW_MECHANISM_INVALID, "mechanism.type", "not offered");
    if (m->row->params != BW_PARAMS_GCM)
        BW_CHECK_AT(m->aad.len == 0 && m->tag_bits == 0, BW_MECHANISM_PARAM, "mechanism.aad", "this mechanism takes none");
    if (m->row->params != BW_PARAMS_OAEP)
        BW_CHECK_AT(m->label.len == 0, BW_MECHANISM_PARAM, "mechanism.label", "this mechanism takes none");

    switch (m->row->params) {
    case BW_PARAMS_NOTHING:
        BW_CHECK_AT(m->iv.len == 0, BW_MECHANISM_PARAM, "mechanism.iv", "this mechanism takes none");
        break;
    case BW_PARAMS_IV:
        BW_CHECK_AT(m->iv.len == BW_AES_BLOCK, BW_MECHANISM_PARAM, "mechanism.iv", "not 16 bytes");
        break;
    case BW_PARAMS_COUNTER:
        BW_CHECK_AT(m->iv.len == BW_AES_BLOCK, BW_MECHANISM_PARAM, "mechanism.iv", "not 16 bytes");
        BW_CHECK_AT(m->counter_bits >= 1 && m->counter_bits <= 128, BW_MECHANISM_PARAM, "mechanism.counter_bits", "not 1 to 128");
        break;
    case BW_PARAMS_GCM:
        return check_gcm(m);
    case BW_PARAMS_OAEP:
    case BW_PARAMS_PSS:
        return check_rsa_hashes(m);
    case BW_PARAMS_PEER:
        BW_CHECK_AT(m->peer.len >= 32 && m->peer.len <= 160, BW_MECHANISM_PARAM, "mechanism.peer", "not a public point");
        break;
    }
    return bw_success();
}
