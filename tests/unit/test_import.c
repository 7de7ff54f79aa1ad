/* Import tokens, the region's statement, and what a crash in the middle of an import leaves; with a real HSM, store and log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "change.h"
#include "fake/region.h"
#include "hsm.h"
#include "import.h"
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

static void create_key(void)
{
    Bailiwick__V1__CreateKeyRequest message = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;
    message.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    message.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    assert_int_equal(ask(CUSTODIAN, BW_METHOD_NR(CreateKey), &message, NULL, 0, bw_op_create_key).code, BW_OK);
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
    create_key();
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

/* An import whose last record is lost, when crash; else a whole one. */
static bw_result import(Bailiwick__V1__Hash hash, bool crash)
{
    Bailiwick__V1__ImportKeyMaterialRequest message = BAILIWICK__V1__IMPORT_KEY_MATERIAL_REQUEST__INIT;
    const Bailiwick__V1__GetImportParametersReply *p = parameters();
    uint8_t import_token[BW_IMPORT_TOKEN_LEN], wrapped[512];
    struct asking asking = { .caller = CUSTODIAN, .method = BW_METHOD_NR(ImportKeyMaterial), .message = &message.base, .key = key_name };

    memcpy(import_token, p->import_token.data, sizeof import_token);
    size_t len = wrap(bw_wire_bytes(p->wrapping_key), wrapped);
    message.name         = key_name;
    message.import_token = bw_wire_data(bw_bytes_of(import_token, sizeof import_token));
    asked_clear(&asked);
    asking.mechanism = (struct bw_mechanism){ .row = bw_mechanism_row(CKM_RSA_PKCS_OAEP), .hash = (enum bw_digest)hash, .mgf = (enum bw_digest)hash };
    asking.data      = bw_bytes_of(wrapped, len);
    return crash ? region_ask_and_crash(&region, &asking, bw_op_import_key_material, &asked)
                 : region_ask(&region, &asking, bw_op_import_key_material, &asked);
}

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
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA256, false).code, BW_MECHANISM_INVALID);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(keys_on_token(), 0);
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
    uint8_t wrapped[512], check[3];
    uint64_t index;

    (void)state;
    size_t len = wrap(bw_wire_bytes(parameters()->wrapping_key), wrapped);
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &stands()->name.tenant, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    assert_int_equal(bw_hsm_import(token(), &oaep, bw_bytes_of(wrapped, len), stands()->spec, &stands()->name.id, 1, key_name, check).code, BW_OK);
    assert_int_equal(keys_on_token(), 1);
    restart();
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(keys_on_token(), 0);
    assert_int_equal(stands()->state, BW_STATE_PENDING_IMPORT);
    assert_int_equal(import(BAILIWICK__V1__HASH__SHA1, false).code, BW_OK);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
