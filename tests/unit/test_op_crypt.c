/* Operations that use keys, with a real HSM: what happens to ciphertexts when their key is rotated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "authorise.h"
#include "fake/region.h"
#include "stages.h"
#include "wire.h"

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"

#define OPERATOR  "spiffe://ex.org/region/eu-central/operator/ops"
#define CUSTODIAN "spiffe://ex.org/region/eu-central/tenant/acme/custodian/ann"
#define APP       "spiffe://ex.org/region/eu-central/tenant/acme/app/web"

static struct region region;
static struct asked asked;
static char key_name[BW_KEY_NAME_MAX + 1];

static const uint8_t iv[16] = { 7 };

static struct bw_mechanism gcm(void)
{
    return (struct bw_mechanism){ .row = bw_mechanism_row(CKM_AES_GCM), .iv = { iv, BW_GCM_IV_LEN }, .tag_bits = 128 };
}

static struct bw_mechanism cbc_pad(void)
{
    return (struct bw_mechanism){ .row = bw_mechanism_row(CKM_AES_CBC_PAD), .iv = { iv, sizeof iv } };
}

static bw_result ask(struct asking asking, region_operation_fn operation)
{
    asked_clear(&asked);
    return region_ask(&region, &asking, operation, &asked);
}

static int set_up(void **state)
{
    Bailiwick__V1__CreateTenantRequest tenant = BAILIWICK__V1__CREATE_TENANT_REQUEST__INIT;
    Bailiwick__V1__CreateKeyRequest key = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;

    (void)state;
    region_make(&region);
    tenant.name       = (char *)(uintptr_t)"acme";
    tenant.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    assert_int_equal(ask((struct asking){ .caller = OPERATOR, .method = BW_METHOD_NR(CreateTenant), .message = &tenant.base }, bw_op_create_tenant).code, BW_OK);
    key.spec = BAILIWICK__V1__KEY_SPEC__AES_256;
    assert_int_equal(ask((struct asking){ .caller = CUSTODIAN, .method = BW_METHOD_NR(CreateKey), .message = &key.base }, bw_op_create_key).code, BW_OK);
    (void)snprintf(key_name, sizeof key_name, "%s", ((Bailiwick__V1__CreateKeyReply *)(void *)asked.job.reply.message)->key->name);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    asked_clear(&asked);
    region_remove(&region);
    return 0;
}

static void rotate(void)
{
    Bailiwick__V1__RotateKeyRequest message = BAILIWICK__V1__ROTATE_KEY_REQUEST__INIT;

    message.name = key_name;
    assert_int_equal(ask((struct asking){ .caller = CUSTODIAN, .method = BW_METHOD_NR(RotateKey), .message = &message.base, .key = key_name },
                         bw_op_rotate_key).code, BW_OK);
}

static size_t encrypt(struct bw_mechanism mechanism, uint8_t ciphertext[static 64])
{
    Bailiwick__V1__EncryptRequest message = BAILIWICK__V1__ENCRYPT_REQUEST__INIT;

    assert_int_equal(ask((struct asking){ .caller = APP, .method = BW_METHOD_NR(Encrypt), .message = &message.base, .key = key_name,
                                          .mechanism = mechanism, .data = bw_bytes_text("a data key of thirty-two bytes..") }, bw_op_encrypt).code, BW_OK);
    const Bailiwick__V1__EncryptReply *reply = (const void *)asked.job.reply.message;
    assert_in_range(reply->ciphertext.len, 1, 64);
    memcpy(ciphertext, reply->ciphertext.data, reply->ciphertext.len);
    return reply->ciphertext.len;
}

static bw_result decrypt(struct bw_mechanism mechanism, bw_bytes ciphertext)
{
    Bailiwick__V1__DecryptRequest message = BAILIWICK__V1__DECRYPT_REQUEST__INIT;

    return ask((struct asking){ .caller = APP, .method = BW_METHOD_NR(Decrypt), .message = &message.base, .key = key_name,
                                .mechanism = mechanism, .data = ciphertext }, bw_op_decrypt);
}

static void what_tells_a_wrong_key_opens_under_the_version_that_made_it(void **state)
{
    uint8_t ciphertext[64];

    (void)state;
    size_t len = encrypt(gcm(), ciphertext);
    rotate();
    rotate();
    assert_int_equal(decrypt(gcm(), bw_bytes_of(ciphertext, len)).code, BW_OK);
    const Bailiwick__V1__DecryptReply *reply = (const void *)asked.job.reply.message;
    assert_int_equal(reply->plaintext.len, 32);
    assert_memory_equal(reply->plaintext.data, "a data key of thirty-two bytes..", 32);
    assert_int_equal(bw_grant_version(asked.job.grant)->number, 1); /* and so says the record */
}

static void what_no_version_made_opens_under_none(void **state)
{
    uint8_t ciphertext[64];

    (void)state;
    size_t len = encrypt(gcm(), ciphertext);
    rotate();
    ciphertext[3] ^= 1;
    assert_int_equal(decrypt(gcm(), bw_bytes_of(ciphertext, len)).code, BW_CIPHERTEXT_INVALID);
    assert_int_equal(bw_grant_version(asked.job.grant)->number, 2);
}

/* CBC padding fits by chance in one of 256 cases, so trying keys with it would give away garbage. */
static void what_cannot_tell_a_wrong_key_is_tried_under_the_primary_alone(void **state)
{
    uint8_t ciphertext[64];

    (void)state;
    size_t len = encrypt(cbc_pad(), ciphertext);
    rotate();
    (void)decrypt(cbc_pad(), bw_bytes_of(ciphertext, len));
    assert_int_equal(bw_grant_version(asked.job.grant)->number, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_tells_a_wrong_key_opens_under_the_version_that_made_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_no_version_made_opens_under_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_tell_a_wrong_key_is_tried_under_the_primary_alone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
