/* Mechanisms as applications hand them in: both sizes of CK_GCM_PARAMS, odd addresses, garbage where nobody looks, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "bailiwick/limits.h"
#include "parameters.h"

static CK_BYTE iv[300] = { 1, 2, 3 };
static CK_GCM_PARAMS gcm            = { iv, 12, 0xdeadbeef, iv, 4, 128 };
static struct { CK_BYTE *iv; CK_ULONG iv_len; CK_BYTE *aad; CK_ULONG aad_len, tag_bits; } brief_gcm = { iv, 12, NULL, 0, 96 };
static CK_GCM_PARAMS gcm_tag_0      = { iv, 12, 96, NULL, 0, 0 };
static CK_GCM_PARAMS gcm_tag_129    = { iv, 12, 96, NULL, 0, 129 };
static CK_GCM_PARAMS gcm_tag_huge   = { iv, 12, 96, NULL, 0, ((CK_ULONG)1 << 32) + 128 };
static CK_GCM_PARAMS gcm_long_iv    = { iv, 257, 96, NULL, 0, 128 };
static CK_GCM_PARAMS gcm_null_iv    = { NULL, 12, 96, NULL, 0, 128 };
static CK_GCM_PARAMS gcm_drawn      = { iv, 0, 96, NULL, 0, 128 };
static CK_GCM_PARAMS gcm_nowhere    = { NULL, 0, 96, NULL, 0, 128 };
static CK_GCM_PARAMS gcm_big_aad    = { iv, 12, 96, iv, BW_AAD_MAX + 1, 128 };
static CK_AES_CTR_PARAMS ctr        = { 128, { 1 } }, ctr_0 = { 0, { 1 } }, ctr_129 = { 129, { 1 } };
static CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA256, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, iv, 7 };
static CK_RSA_PKCS_OAEP_PARAMS oaep_no_source   = { CKM_SHA_1, CKG_MGF1_SHA1, 0, NULL, 0 };
static CK_RSA_PKCS_OAEP_PARAMS oaep_md5         = { CKM_MD5, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0 };
static CK_RSA_PKCS_OAEP_PARAMS oaep_long_label  = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, iv, BW_OAEP_LABEL_MAX + 1 };
static CK_RSA_PKCS_PSS_PARAMS pss    = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
static CK_RSA_PKCS_PSS_PARAMS pss_salt = { CKM_SHA256, CKG_MGF1_SHA256, (CK_ULONG)-1 };
static CK_ECDH1_DERIVE_PARAMS ecdh     = { CKD_NULL, 0, NULL, 65, iv };
static CK_ECDH1_DERIVE_PARAMS ecdh_kdf = { CKD_SHA1_KDF, 0, NULL, 65, iv };
static struct { CK_ULONG bits; CK_RSA_PKCS_OAEP_PARAMS *oaep; } rsa_aes = { 256, &oaep_no_source }, rsa_aes_100 = { 100, &oaep_no_source }, rsa_aes_null = { 256, NULL };
static struct { CK_BBOOL ph; CK_ULONG len; CK_BYTE *context; } eddsa = { CK_FALSE, 0, NULL }, eddsa_ph = { CK_TRUE, 0, NULL };
static CK_BAILIWICK_PAIR pair       = { iv, 3, iv, 5 };
static CK_BAILIWICK_ENVELOPE_PARAMS envelope = { &pair, 1 }, envelope_many = { &pair, 33 }, envelope_null = { NULL, 1 };
static CK_BYTE wrap_iv[8] = { 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6 };

#define IS(params) &params, sizeof params

static const struct { const char *why; CK_MECHANISM mechanism; unsigned use; enum bw_code code; } cases[] = {
    { "GCM, garbage in ulIvBits",            { CKM_AES_GCM, IS(gcm) },                  BW_USE_ENCRYPT, BW_OK },
    { "GCM without ulIvBits",                { CKM_AES_GCM, IS(brief_gcm) },            BW_USE_DECRYPT, BW_OK },
    { "GCM of neither size",                 { CKM_AES_GCM, &gcm, 44 },                 BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM without parameters",              { CKM_AES_GCM, NULL, 0 },                  BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM without a tag",                   { CKM_AES_GCM, IS(gcm_tag_0) },            BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM with a tag of 129 bits",          { CKM_AES_GCM, IS(gcm_tag_129) },          BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM with a tag that wraps to 128",    { CKM_AES_GCM, IS(gcm_tag_huge) },         BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM with an IV of 257 bytes",         { CKM_AES_GCM, IS(gcm_long_iv) },          BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM with an IV that is not there",    { CKM_AES_GCM, IS(gcm_null_iv) },          BW_USE_ENCRYPT, BW_BAD_ARGUMENT },
    { "GCM with an IV to be drawn",          { CKM_AES_GCM, IS(gcm_drawn) },            BW_USE_ENCRYPT, BW_OK },
    { "GCM, drawn on decryption",            { CKM_AES_GCM, IS(gcm_drawn) },            BW_USE_DECRYPT, BW_MECHANISM_PARAM },
    { "GCM, drawn with nowhere to put it",   { CKM_AES_GCM, IS(gcm_nowhere) },          BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "GCM with too much to authenticate",   { CKM_AES_GCM, IS(gcm_big_aad) },          BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "CBC",                                 { CKM_AES_CBC, iv, 16 },                   BW_USE_ENCRYPT, BW_OK },
    { "CBC with half an IV",                 { CKM_AES_CBC, iv, 8 },                    BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "ECB",                                 { CKM_AES_ECB, NULL, 0 },                  BW_USE_ENCRYPT, BW_OK },
    { "ECB with an IV",                      { CKM_AES_ECB, iv, 16 },                   BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "CTR",                                 { CKM_AES_CTR, IS(ctr) },                  BW_USE_ENCRYPT, BW_OK },
    { "CTR without a counter",               { CKM_AES_CTR, IS(ctr_0) },                BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "CTR with more counter than block",    { CKM_AES_CTR, IS(ctr_129) },              BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "OAEP with a label and another MGF",   { CKM_RSA_PKCS_OAEP, IS(oaep) },           BW_USE_DECRYPT, BW_OK },
    { "OAEP without a source",               { CKM_RSA_PKCS_OAEP, IS(oaep_no_source) }, BW_USE_DECRYPT, BW_OK },
    { "OAEP with MD5",                       { CKM_RSA_PKCS_OAEP, IS(oaep_md5) },       BW_USE_DECRYPT, BW_MECHANISM_PARAM },
    { "OAEP with a label without end",       { CKM_RSA_PKCS_OAEP, IS(oaep_long_label) }, BW_USE_DECRYPT, BW_MECHANISM_PARAM },
    { "PSS",                                 { CKM_RSA_PKCS_PSS, IS(pss) },             BW_USE_SIGN,    BW_OK },
    { "PSS with the hash of another",        { CKM_SHA384_RSA_PKCS_PSS, IS(pss) },      BW_USE_SIGN,    BW_MECHANISM_PARAM },
    { "PSS with salt without end",           { CKM_RSA_PKCS_PSS, IS(pss_salt) },        BW_USE_SIGN,    BW_MECHANISM_PARAM },
    { "ECDH",                                { CKM_ECDH1_DERIVE, IS(ecdh) },            BW_USE_DERIVE,  BW_OK },
    { "ECDH with a KDF",                     { CKM_ECDH1_DERIVE, IS(ecdh_kdf) },        BW_USE_DERIVE,  BW_MECHANISM_PARAM },
    { "RSA-AES key wrap",                    { CKM_RSA_AES_KEY_WRAP, IS(rsa_aes) },     BW_USE_UNWRAP,  BW_OK },
    { "RSA-AES with 100 bits",               { CKM_RSA_AES_KEY_WRAP, IS(rsa_aes_100) }, BW_USE_UNWRAP,  BW_MECHANISM_PARAM },
    { "RSA-AES without OAEP",                { CKM_RSA_AES_KEY_WRAP, IS(rsa_aes_null) }, BW_USE_UNWRAP, BW_MECHANISM_PARAM },
    { "key wrap",                            { CKM_AES_KEY_WRAP, NULL, 0 },             BW_USE_WRAP,    BW_OK },
    { "key wrap with the IV it has anyway",  { CKM_AES_KEY_WRAP, IS(wrap_iv) },         BW_USE_WRAP,    BW_OK },
    { "key wrap with another IV",            { CKM_AES_KEY_WRAP, iv, 8 },               BW_USE_WRAP,    BW_MECHANISM_PARAM },
    { "EdDSA",                               { CKM_EDDSA, NULL, 0 },                    BW_USE_SIGN,    BW_OK },
    { "EdDSA, said at length",               { CKM_EDDSA, IS(eddsa) },                  BW_USE_SIGN,    BW_OK },
    { "EdDSA over a hash",                   { CKM_EDDSA, IS(eddsa_ph) },               BW_USE_SIGN,    BW_MECHANISM_PARAM },
    { "an envelope",                         { CKM_BAILIWICK_ENVELOPE, IS(envelope) },  BW_USE_ENCRYPT, BW_OK },
    { "an envelope without a context",       { CKM_BAILIWICK_ENVELOPE, NULL, 0 },       BW_USE_DECRYPT, BW_OK },
    { "an envelope with 33 pairs",           { CKM_BAILIWICK_ENVELOPE, IS(envelope_many) }, BW_USE_ENCRYPT, BW_MECHANISM_PARAM },
    { "an envelope with pairs nowhere",      { CKM_BAILIWICK_ENVELOPE, IS(envelope_null) }, BW_USE_ENCRYPT, BW_BAD_ARGUMENT },
    { "what cannot encrypt",                 { CKM_SHA256_RSA_PKCS, NULL, 0 },          BW_USE_ENCRYPT, BW_MECHANISM_INVALID },
    { "what nobody offers",                  { CKM_DES3_CBC, iv, 8 },                   BW_USE_ENCRYPT, BW_MECHANISM_INVALID },
    { "a length without parameters",         { CKM_AES_GCM, NULL, sizeof gcm },         BW_USE_ENCRYPT, BW_BAD_ARGUMENT },
};

static bw_result parse(const CK_MECHANISM *mechanism, unsigned use, struct bw_arena *arena, struct bw_parameters *p)
{
    return bw_parameters_parse(mechanism, use, arena, p);
}

static void parameters_are_taken_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bw_arena arena = { 0 };
        struct bw_parameters p;
        bw_result r = parse(&cases[i].mechanism, cases[i].use, &arena, &p);

        if (r.code != cases[i].code)
            fail_msg("%s: %s", cases[i].why, bw_code_row(r.code)->name);
        bw_arena_clear(&arena);
    }
    assert_int_equal(parse(NULL, BW_USE_SIGN, NULL, NULL).code, BW_BAD_ARGUMENT);
}

/* Every structure, and the mechanism itself, at an address that no compiler would choose. */
static void addresses_may_be_odd(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bw_arena arena = { 0 };
        struct bw_parameters p;
        uint8_t mechanism[1 + sizeof(CK_MECHANISM)], parameter[1 + 512];
        CK_MECHANISM m = cases[i].mechanism;

        if (m.pParameter != NULL && m.ulParameterLen < 512) {
            memcpy(parameter + 1, m.pParameter, m.ulParameterLen);
            m.pParameter = parameter + 1;
        }
        memcpy(mechanism + 1, &m, sizeof m);
        if (parse((const CK_MECHANISM *)(const void *)(mechanism + 1), cases[i].use, &arena, &p).code != cases[i].code)
            fail_msg("%s", cases[i].why);
        bw_arena_clear(&arena);
    }
}

static void what_is_taken_is_a_copy(void **state)
{
    (void)state;
    struct bw_arena arena = { 0 };
    struct bw_parameters p;
    CK_BYTE nonce[12] = { 9 }, aad[4] = { 8 };
    CK_GCM_PARAMS params = { nonce, 12, 96, aad, 4, 120 };
    CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof params };

    assert_true(bw_ok(parse(&m, BW_USE_ENCRYPT, &arena, &p)));
    memset(nonce, 0, sizeof nonce), memset(aad, 0, sizeof aad);
    assert_int_equal(p.mechanism.iv.len, 12);
    assert_int_equal(p.mechanism.iv.data[0], 9);
    assert_int_equal(p.mechanism.aad.data[0], 8);
    assert_int_equal(p.mechanism.tag_bits, 120);
    assert_null(p.iv_back);
    bw_arena_clear(&arena);
}

static const struct { const char *why; CK_GCM_MESSAGE_PARAMS params; bool encrypts; enum bw_code code; } messages[] = {
    { "an IV of its own",             { iv, 12, 0,  CKG_NO_GENERATE,      iv, 128 }, true,  BW_OK },
    { "an IV to be drawn",            { iv, 12, 0,  CKG_GENERATE,         iv, 128 }, true,  BW_OK },
    { "a drawn IV, to decrypt",       { iv, 12, 0,  CKG_GENERATE,         iv, 128 }, false, BW_OK },
    { "an IV that counts",            { iv, 12, 32, CKG_GENERATE_COUNTER, iv, 128 }, true,  BW_MECHANISM_PARAM },
    { "no place for the IV",          { NULL, 12, 0, CKG_NO_GENERATE,     iv, 128 }, true,  BW_MECHANISM_PARAM },
    { "no place for the tag",         { iv, 12, 0,  CKG_NO_GENERATE,      NULL, 128 }, true, BW_MECHANISM_PARAM },
    { "an IV without length",         { iv, 0, 0,   CKG_NO_GENERATE,      iv, 128 }, true,  BW_MECHANISM_PARAM },
};

static void message_parameters_are_taken_or_refused(void **state)
{
    (void)state;
    struct bw_message message;

    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        if (bw_message_parse(&messages[i].params, sizeof messages[i].params, messages[i].encrypts, &message).code != messages[i].code)
            fail_msg("%s", messages[i].why);
    assert_int_equal(bw_message_parse(NULL, 0, true, &message).code, BW_MECHANISM_PARAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_taken_or_refused),
        cmocka_unit_test(addresses_may_be_odd),
        cmocka_unit_test(what_is_taken_is_a_copy),
        cmocka_unit_test(message_parameters_are_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
