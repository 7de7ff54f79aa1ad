/* Import tokens, the region's statement, and what a crash in the middle of an import leaves; with a real HSM, store and log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "change.h"
#include "fake/region.h"
#include "byok.h"
#include "housekeeping.h"
#include "hsm.h"
#include "import.h"
#include "material.h"
#include "recover.h"
#include "stages.h"
#include "wire.h"

#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"

#define OPERATOR  "spiffe://ex.org/region/eu-central/operator/ops"
#define CUSTODIAN "spiffe://ex.org/region/eu-central/tenant/acme/custodian/ann"

static struct region   region;
static struct asked    asked;
static struct bw_arena lasting;
static char            key_name[BW_KEY_NAME_MAX + 1];

static const uint8_t material[32] = "thirty-two bytes of the customer";

static bw_result ask(const char *caller, enum bw_method_nr method, const void *message, const char *key, uint8_t request_id, region_operation_fn operation)
{
    asked_clear(&asked);
    return region_ask(&region, &(struct asking){ .caller = caller, .method = method, .message = message, .key = key, .request_id = request_id }, operation, &asked);
}

static bw_result try_to_create(enum bw_spec spec)
{
    Bailiwick__V1__CreateKeyRequest message = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;
    message.spec   = (Bailiwick__V1__KeySpec)spec;
    message.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    return ask(CUSTODIAN, BW_METHOD_NR(CreateKey), &message, NULL, 0, bw_op_create_key);
}

static void create_key(enum bw_spec spec)
{
    assert_int_equal(try_to_create(spec).code, BW_OK);
    (void)snprintf(key_name, sizeof key_name, "%s", ((Bailiwick__V1__CreateKeyReply *)(void *)asked.job.reply.message)->key->name);
}

static int setup(void **state)
{
    Bailiwick__V1__CreateTenantRequest message = BAILIWICK__V1__CREATE_TENANT_REQUEST__INIT;

    (void)state;
    region_make(&region);
    message.name       = (char *)(uintptr_t)"acme";
    message.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    assert_int_equal(ask(OPERATOR, BW_METHOD_NR(CreateTenant), &message, NULL, 0, bw_op_create_tenant).code, BW_OK);
    create_key(BW_SPEC_AES_256);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    asked_clear(&asked);
    bw_arena_clear(&lasting);
    region_remove(&region);
    return 0;
}

static void restart(void)
{
    asked_clear(&asked);
    region_restart(&region);
}

static const struct bw_key *stands(void)
{
    struct bw_key_name name;
    const struct bw_key *key;

    assert_int_equal(bw_key_name_parse(bw_bytes_text(key_name), &name).code, BW_OK);
    assert_int_equal(bw_registry_key(region.daemon.registry, &name.tenant, &name.id, &key).code, BW_OK);
    bw_key_unref(key); /* the registry still has it */
    return key;
}

static struct bw_token *token(void)
{
    const struct bw_tenant_info *tenant;

    assert_int_equal(bw_registry_tenant(region.daemon.registry, &(bw_tenant){ "acme" }, &tenant).code, BW_OK);
    struct bw_token *open = tenant->token;
    bw_tenant_info_unref(tenant);
    return open;
}

static bw_result count_one(void *self, const bw_key_id *id, uint32_t version)
{
    (void)id, (void)version;
    ++*(int *)self;
    return bw_success();
}

static int keys_on_token(void)
{
    int count = 0;
    assert_int_equal(bw_hsm_each_key(token(), count_one, &count).code, BW_OK);
    return count;
}

/* ---- tokens ---- */

static const struct { const char *why; int64_t later_us; int flipped; bool other_key, changed; enum bw_code code; } tokens[] = {
    { "as it was made",              0, -1, false, false, BW_OK },
    { "a microsecond before its end", 999, -1, false, false, BW_OK },
    { "at its end",                  1000, -1, false, false, BW_EXPIRED },
    { "with a later end",            0,  7, false, false, BW_IMPORT_TOKEN_INVALID },
    { "of another generation",       0, 15, false, false, BW_IMPORT_TOKEN_INVALID },
    { "with another MAC",            0, 47, false, false, BW_IMPORT_TOKEN_INVALID },
    { "for another key",             0, -1, true,  false, BW_IMPORT_TOKEN_INVALID },
    { "after the key changed",       0, -1, false, true,  BW_IMPORT_TOKEN_INVALID },
};

static void a_token_is_good_for_one_key_as_it_stands_and_for_a_while(void **state)
{
    const int64_t now = 5000000;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        uint8_t bytes[BW_IMPORT_TOKEN_LEN];
        struct bw_key key;

        bw_key_draft(stands(), &key);
        assert_int_equal(bw_import_token_make(token(), &key, now + 1000, &lasting, bytes).code, BW_OK);
        if (tokens[i].flipped >= 0)
            bytes[tokens[i].flipped] ^= 1;
        key.name.id.bytes[3] ^= tokens[i].other_key;
        key.generation += tokens[i].changed;
        bw_result result = bw_import_token_check(token(), &key, bytes, now + tokens[i].later_us, &lasting);
        if (result.code != tokens[i].code)
            fail_msg("%s: %s", tokens[i].why, bw_code_row(result.code)->name);
    }
}

/* ---- the customer's half, with libcrypto ---- */

static const Bailiwick__V1__GetImportParametersReply *parameters(void)
{
    Bailiwick__V1__GetImportParametersRequest message = BAILIWICK__V1__GET_IMPORT_PARAMETERS_REQUEST__INIT;
    message.name = key_name;
    assert_int_equal(ask(CUSTODIAN, BW_METHOD_NR(GetImportParameters), &message, key_name, 0, bw_op_get_import_parameters).code, BW_OK);
    return (void *)asked.job.reply.message;
}

static size_t wrap(bw_bytes wrapping_key, uint8_t wrapped[static 512])
{
    const unsigned char *der = wrapping_key.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)wrapping_key.len);
    size_t len = 512;

    assert_non_null(key);
    assert_int_equal(EVP_PKEY_get_bits(key), 4096);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(context), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_encrypt(context, wrapped, &len, material, sizeof material), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    return len;
}

static void the_region_signs_what_it_hands_out(void **state)
{
    (void)state;
    const Bailiwick__V1__GetImportParametersReply *p = parameters();
    const unsigned char *der = p->attestation_key.data;
    EVP_PKEY   *key     = d2i_PUBKEY(NULL, &der, (long)p->attestation_key.len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(context, p->attestation.data, p->attestation.len, (const unsigned char *)p->statement, strlen(p->statement)), 1);
    assert_non_null(strstr(p->statement, key_name));
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

static bw_result send(const struct bw_mechanism *mechanism, bw_bytes import_token, bw_bytes wrapped, bw_bytes public_key, int64_t ends_us, bool crash)
{
    Bailiwick__V1__ImportKeyMaterialRequest message = BAILIWICK__V1__IMPORT_KEY_MATERIAL_REQUEST__INIT;
    const struct asking asking = { .caller = CUSTODIAN, .method = BW_METHOD_NR(ImportKeyMaterial), .message = &message.base, .key = key_name,
                                   .mechanism = *mechanism, .data = wrapped };

    message.name         = key_name;
    message.import_token = bw_wire_data(import_token);
    message.public_key   = bw_wire_data(public_key);
    message.material_expires_us = ends_us;
    return crash ? region_ask_and_crash(&region, &asking, bw_op_import_key_material, &asked)
                 : region_ask(&region, &asking, bw_op_import_key_material, &asked);
}

/* An import whose last record is lost, when crash; else a whole one. */
static bw_result import(Bailiwick__V1__Hash hash, bool crash)
{
    const struct bw_mechanism oaep = { .row = bw_mechanism_row(CKM_RSA_PKCS_OAEP), .hash = (enum bw_digest)hash, .mgf = (enum bw_digest)hash };
    const Bailiwick__V1__GetImportParametersReply *p = parameters();
    uint8_t import_token[BW_IMPORT_TOKEN_LEN], wrapped[512];

    memcpy(import_token, p->import_token.data, sizeof import_token);
    size_t len = wrap(bw_wire_bytes(p->wrapping_key), wrapped);
    asked_clear(&asked);
    return send(&oaep, bw_bytes_of(import_token, sizeof import_token), bw_bytes_of(wrapped, len), bw_bytes_of(NULL, 0), 0, crash);
}

/* By RSA_AES_KEY_WRAP. */
static bw_result bring(bw_bytes bytes, bw_bytes public_key, int64_t ends_us)
{
    const struct bw_mechanism both = { .row = bw_mechanism_row(CKM_RSA_AES_KEY_WRAP), .hash = BW_DIGEST_SHA1, .mgf = BW_DIGEST_SHA1, .aes_bits = 256 };
    const Bailiwick__V1__GetImportParametersReply *p = parameters();
    uint8_t import_token[BW_IMPORT_TOKEN_LEN];
    bw_bytes wrapped;

    memcpy(import_token, p->import_token.data, sizeof import_token);
    assert_int_equal(bw_byok_wrap(NULL, bw_wire_bytes(p->wrapping_key), BW_DIGEST_SHA1, bytes, &lasting, &wrapped).code, BW_OK);
    asked_clear(&asked);
    return send(&both, bw_bytes_of(import_token, sizeof import_token), wrapped, public_key, ends_us, false);
}

static const bw_bytes secret = { material, sizeof material };
static const bw_bytes nothing;

static void imported_material_encrypts_as_openssl_does(void **state)
{
    const struct bw_mechanism ecb = { .row = bw_mechanism_row(CKM_AES_ECB) };
    uint8_t expected[16];
    struct bw_hsm_object *object;
    bw_bytes got;
    int len;

    (void)state;
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA1, false).code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    restart();
    assert_int_equal(bw_hsm_key(token(), &stands()->name.id, 1, &object).code, BW_OK);
    assert_int_equal(bw_hsm_reveal(object, &lasting, &got).code, BW_NOT_PERMITTED);
    assert_int_equal(bw_hsm_encrypt(object, &ecb, bw_bytes_of(material, 16), &lasting, &got).code, BW_OK);
    bw_hsm_object_unref(object);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, material, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(context, expected, &len, material, 16), 1);
    EVP_CIPHER_CTX_free(context);
    assert_memory_equal(got.data, expected, 16);
}

static void what_the_hsm_does_not_unwrap_inside_is_refused(void **state)
{
    (void)state;
    assert_int_equal(try_to_create(BW_SPEC_ED25519).code, BW_NOT_IMPORTABLE);
    assert_non_null(bw_hsm_why_no_import(region.daemon.hsm, bw_spec_row(BW_SPEC_ED25519)));
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA256, false).code, BW_MECHANISM_INVALID);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(keys_on_token(), 0);
}

/* ---- pairs ---- */

/* A customer's own pair, in memory that lasts as long as the test. */
struct pair { bw_bytes private_key, public_key; };

static struct pair make_pair(const char *kind)
{
    BW_AUTO(secret) der = NULL;
    struct bw_buf spki = { 0 };
    struct pair pair;
    EVP_PKEY *key = strncmp(kind, "RSA", 3) == 0 ? EVP_RSA_gen((unsigned)atoi(kind + 3)) : EVP_EC_gen(kind);

    assert_int_equal(bw_byok_private(key, &der).code, BW_OK);
    assert_int_equal(bw_byok_public(key, &spki).code, BW_OK);
    pair.private_key = bw_bytes_of(bw_arena_copy(&lasting, bw_bytes_of(bw_secret_reveal(der), bw_secret_len(der))), bw_secret_len(der));
    pair.public_key  = bw_bytes_of(bw_arena_copy(&lasting, bw_buf_bytes(&spki)), spki.len);
    bw_buf_clear(&spki);
    EVP_PKEY_free(key);
    return pair;
}

static bool hsm_signs_for(bw_bytes public_key)
{
    const bool is_rsa = bw_key_primary(stands()) != NULL && stands()->spec->key_type == CKK_RSA;
    const struct bw_mechanism mechanism = { .row = bw_mechanism_row(is_rsa ? CKM_RSA_PKCS : CKM_ECDSA) };
    const unsigned char *der = public_key.data;
    struct bw_hsm_object *object;
    unsigned char signature[512];
    size_t len = sizeof signature;
    bw_bytes raw;

    assert_int_equal(bw_hsm_key(token(), &stands()->name.id, 1, &object).code, BW_OK);
    assert_int_equal(bw_hsm_sign(object, &mechanism, secret, &lasting, &raw).code, BW_OK);
    assert_int_equal(bw_hsm_verify(object, &mechanism, secret, raw).code, BW_OK);
    bw_hsm_object_unref(object);
    if (is_rsa) {
        memcpy(signature, raw.data, len = raw.len);
    } else { /* r || s to ECDSA-Sig-Value */
        ECDSA_SIG *both = ECDSA_SIG_new();
        unsigned char *at = signature;
        assert_int_equal(ECDSA_SIG_set0(both, BN_bin2bn(raw.data, (int)raw.len / 2, NULL), BN_bin2bn(raw.data + raw.len / 2, (int)raw.len / 2, NULL)), 1);
        len = (size_t)i2d_ECDSA_SIG(both, &at);
        ECDSA_SIG_free(both);
    }
    EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long)public_key.len);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_verify_init(context), 1);
    bool verified = EVP_PKEY_verify(context, signature, len, secret.data, secret.len) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    return verified;
}

static void imported_pairs_sign_as_openssl_verifies(void **state)
{
    static const struct { enum bw_spec spec; const char *kind; } rows[] = {
        { BW_SPEC_RSA_2048, "RSA2048" }, { BW_SPEC_RSA_3072, "RSA3072" }, { BW_SPEC_EC_P256, "P-256" }, { BW_SPEC_EC_P384, "P-384" }, { BW_SPEC_EC_P521, "P-521" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair pair = make_pair(rows[i].kind);
        create_key(rows[i].spec);
        assert_int_equal(bring(pair.private_key, pair.public_key, 0).code, BW_OK);
        restart();
        assert_true(bw_bytes_equal(stands()->versions[0].public_key, pair.public_key));
        assert_true(hsm_signs_for(pair.public_key));
    }
}

static void halves_of_two_pairs_are_refused_and_nothing_stays(void **state)
{
    (void)state;
    struct pair mine = make_pair("P-256"), other = make_pair("P-256"), longer = make_pair("P-384"), rsa = make_pair("RSA2048");
    const struct { const char *why; bw_bytes private_key, public_key; enum bw_code code; } rows[] = {
        { "another key's public half",  mine.private_key,   other.public_key,  BW_OTHER_MATERIAL },
        { "a key of another curve",     longer.private_key, longer.public_key, BW_KEY_SIZE       },
        { "the half of another curve",  mine.private_key,   longer.public_key, BW_DATA_INVALID   },
        { "a key of another kind",      rsa.private_key,    mine.public_key,   BW_WRAPPED_KEY_INVALID },
        { "no private key",             secret,             mine.public_key,   BW_WRAPPED_KEY_INVALID },
        { "no public half",             mine.private_key,   nothing,           BW_BAD_ARGUMENT   },
        { "a public half cut short",    mine.private_key,   { mine.public_key.data, mine.public_key.len - 1 }, BW_DATA_INVALID },
    };

    create_key(BW_SPEC_EC_P256);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bw_result result = bring(rows[i].private_key, rows[i].public_key, 0);
        if (result.code != rows[i].code)
            fail_msg("%s: %s (%s)", rows[i].why, bw_code_row(result.code)->name, result.what);
        assert_int_equal(keys_on_token(), 0);
        assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    }
    assert_int_equal(bring(mine.private_key, mine.public_key, 0).code, BW_OK);
}

/* ---- the same material again ---- */

static void ignore_failure(struct bw_daemon *daemon, const char *chore, const struct bw_key *key, bw_result why)
{
    (void)daemon, (void)chore, (void)key, (void)why;
}

static void pass_at(int64_t now_us)
{
    (void)bw_housekeeping_run(&region.daemon, now_us, ignore_failure);
}

static void material_ends_at_its_time_and_the_same_may_come_again(void **state)
{
    static const uint8_t other[32] = "thirty-two other bytes of theirs";
    const int64_t end_us = bw_now_us() + BW_DAY_US;

    (void)state;
    assert_int_equal(bring(secret, nothing, end_us).code, BW_OK);
    pass_at(end_us - 1);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    pass_at(end_us);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(stands()->versions[0].state, BW_VERSION_AWAITED);
    assert_int_equal(keys_on_token(), 0);
    restart();

    assert_int_equal(bring(bw_bytes_of(other, sizeof other), nothing, 0).code, BW_OTHER_MATERIAL);
    assert_int_equal(keys_on_token(), 0);
    assert_int_equal(bring(secret, nothing, 0).code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    assert_int_equal(stands()->version_count, 1);
    assert_int_equal(stands()->versions[0].material_expires_us, 0);
    pass_at(end_us + BW_DAY_US);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
}

static void a_pair_comes_again_as_the_same_pair(void **state)
{
    struct pair mine = make_pair("P-256"), other = make_pair("P-256");
    const int64_t end_us = bw_now_us() + BW_DAY_US;

    (void)state;
    create_key(BW_SPEC_EC_P256);
    assert_int_equal(bring(mine.private_key, mine.public_key, end_us).code, BW_OK);
    pass_at(end_us);
    assert_int_equal(bring(other.private_key, other.public_key, 0).code, BW_OTHER_MATERIAL);
    assert_int_equal(bring(mine.private_key, mine.public_key, 0).code, BW_OK);
    assert_true(hsm_signs_for(mine.public_key));
}

static bw_result simple(enum bw_method_nr method, ProtobufCMessage *message, region_operation_fn operation)
{
    return ask(CUSTODIAN, method, message, key_name, 0, operation);
}

/* A deletion that is cancelled gives back what there was: here, nothing. */
static void a_key_without_material_waits_on_after_a_cancelled_deletion(void **state)
{
    Bailiwick__V1__ScheduleDeletionRequest deletion = BAILIWICK__V1__SCHEDULE_DELETION_REQUEST__INIT;
    Bailiwick__V1__CancelDeletionRequest   cancel   = BAILIWICK__V1__CANCEL_DELETION_REQUEST__INIT;

    (void)state;
    deletion.name = cancel.name = key_name;
    assert_int_equal(simple(BW_METHOD_NR(ScheduleDeletion), &deletion.base, bw_op_schedule_deletion).code, BW_OK);
    assert_int_equal(simple(BW_METHOD_NR(CancelDeletion), &cancel.base, bw_op_cancel_deletion).code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(bring(secret, nothing, 0).code, BW_OK);
}

/* ---- crashes ---- */

static void a_crash_before_the_answer_leaves_a_whole_key(void **state)
{
    (void)state;
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA1, true).code, BW_OK);
    restart();
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(stands()->state, BW_STATE_ENABLED);
    assert_int_equal(keys_on_token(), 1);
}

/* The HSM has the material, the store does not know: it goes, and the key waits on. */
static void a_crash_between_hsm_and_store_leaves_nothing(void **state)
{
    const struct bw_mechanism oaep = { .row = bw_mechanism_row(CKM_RSA_PKCS_OAEP), .hash = BW_DIGEST_SHA1, .mgf = BW_DIGEST_SHA1 };
    struct bw_record intent = { .operation = BW_METHOD_NR(ImportKeyMaterial), .outcome = BW_OUTCOME_INTENT, .has_key = true,
                                .key = stands()->name.id, .key_version = 1, .policy_version = stands()->generation, .principal = CUSTODIAN };
    uint8_t wrapped[512];
    struct bw_import coming = { .mechanism = &oaep, .spec = stands()->spec, .id = &stands()->name.id, .version = 1, .label = key_name };
    struct bw_imported came;
    uint64_t index;

    (void)state;
    size_t len = wrap(bw_wire_bytes(parameters()->wrapping_key), wrapped);
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &stands()->name.tenant, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    coming.wrapped = bw_bytes_of(wrapped, len);
    assert_int_equal(bw_hsm_import(token(), &coming, &came).code, BW_OK);
    assert_int_equal(keys_on_token(), 1);
    restart();
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(keys_on_token(), 0);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA1, false).code, BW_OK);
}

/* The store has said that it is gone, and the daemon died before the HSM was asked. */
static void a_crash_in_an_expiry_is_finished_at_the_next_start(void **state)
{
    struct bw_record intent = { .operation = BW_DEED_NR(ExpireMaterial), .outcome = BW_OUTCOME_INTENT, .has_key = true, .principal = CUSTODIAN };
    const struct bw_key *forgotten;
    uint64_t index;

    (void)state;
    assert_int_equal(bring(secret, nothing, bw_now_us() + BW_DAY_US).code, BW_OK);
    intent.key            = stands()->name.id;
    intent.policy_version = stands()->generation;
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &stands()->name.tenant, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    assert_int_equal(bw_material_forget(&region.daemon, stands(), 0, &forgotten).code, BW_OK);
    bw_key_unref(forgotten);
    assert_int_equal(keys_on_token(), 1);
    restart();
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(keys_on_token(), 0);
    assert_int_equal(bring(secret, nothing, 0).code, BW_OK);
}

/* The store has the key, the HSM lost it with the power: no destruction, for the customer has it still. */
static void lost_material_is_waited_for_again(void **state)
{
    (void)state;
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA1, true).code, BW_OK);
    assert_int_equal(bw_hsm_destroy(token(), &stands()->name.id, 1).code, BW_OK);
    restart();
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(bring(secret, nothing, 0).code, BW_OK);
}

#define REGION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGION_TEST(a_token_is_good_for_one_key_as_it_stands_and_for_a_while),
        REGION_TEST(the_region_signs_what_it_hands_out),
        REGION_TEST(imported_material_encrypts_as_openssl_does),
        REGION_TEST(what_the_hsm_does_not_unwrap_inside_is_refused),
        REGION_TEST(a_crash_before_the_answer_leaves_a_whole_key),
        REGION_TEST(a_crash_between_hsm_and_store_leaves_nothing),
        REGION_TEST(imported_pairs_sign_as_openssl_verifies),
        REGION_TEST(halves_of_two_pairs_are_refused_and_nothing_stays),
        REGION_TEST(material_ends_at_its_time_and_the_same_may_come_again),
        REGION_TEST(a_pair_comes_again_as_the_same_pair),
        REGION_TEST(a_key_without_material_waits_on_after_a_cancelled_deletion),
        REGION_TEST(a_crash_in_an_expiry_is_finished_at_the_next_start),
        REGION_TEST(lost_material_is_waited_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
