#include "making.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "change.h"
#include "hsm.h"

void bw_make_id(const bw_region *region, const bw_tenant *tenant, const uint8_t request_id[static BW_REQUEST_ID_LEN], uint8_t ret_id[static 16])
{
    static const char purpose[] = "bailiwick: id of what a request makes";
    uint8_t joined[sizeof purpose + sizeof *region + sizeof *tenant + BW_REQUEST_ID_LEN], digest[32];
    uint8_t *at = joined;

    at = (uint8_t *)memcpy(at, purpose, sizeof purpose) + sizeof purpose;
    at = (uint8_t *)memcpy(at, region, sizeof *region) + sizeof *region;
    at = (uint8_t *)memcpy(at, tenant, sizeof *tenant) + sizeof *tenant;
    memcpy(at, request_id, BW_REQUEST_ID_LEN);
    if (EVP_Digest(joined, sizeof joined, digest, NULL, EVP_sha256(), NULL) != 1)
        memset(digest, 0, sizeof digest); /* out of memory: the store refuses an id that is taken */
    memcpy(ret_id, digest, 16);
}

bw_result bw_make_version(struct bw_token *token, const struct bw_spec_row *spec, const struct bw_key_name *name, uint32_t number,
                          struct bw_arena *arena, struct bw_key_version *ret_version)
{
    struct bw_buf public_key = { .ceiling = BW_WRAPPED_MAX };
    char label[BW_KEY_NAME_MAX + 1];

    bw_key_name_print(name, label);
    bw_result result = bw_hsm_generate(token, spec, &name->id, number, label, &public_key);
    void *copy = bw_ok(result) ? bw_arena_copy(arena, bw_buf_bytes(&public_key)) : NULL;
    size_t len = public_key.len;
    bw_buf_clear(&public_key);
    BW_TRY(result);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "public key");
    /* PKCS#11 has no call for this, and modules that keep files (SoftHSM) sync none of them. Which files, only they know. */
    sync();
    *ret_version = (struct bw_key_version){ .number = number, .state = BW_VERSION_PRIMARY, .created_us = bw_now_us(),
                                            .public_key = { copy, len } };
    return bw_success();
}
