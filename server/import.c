#include "import.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <string.h>

enum { TOKEN_MAC = 32 };

/* ---- tokens: expiry (8) | generation (8) | HMAC (32), integers big-endian ---- */

static bw_result mac_of(struct bw_token *token, const struct bw_key *key, int64_t expires_us, struct bw_arena *arena, bw_bytes *ret_mac)
{
    char name[BW_KEY_NAME_MAX + 1];

    bw_key_name_print(&key->name, name); /* region, tenant and id */
    const char *text = bw_arena_text(arena, "bailiwick import token 1\n%s\n%llu\n%lld\n", name, (unsigned long long)key->generation, (long long)expires_us);
    BW_CHECK(text != NULL, BW_NO_MEMORY, "import token");
    return bw_hsm_mac(token, bw_bytes_text(text), arena, ret_mac);
}

bw_result bw_import_token_make(struct bw_token *token, const struct bw_key *key, int64_t expires_us, struct bw_arena *arena,
                               uint8_t ret_bytes[static BW_IMPORT_TOKEN_LEN])
{
    struct bw_buf bytes = { .ceiling = BW_IMPORT_TOKEN_LEN };
    bw_bytes mac;

    BW_TRY(mac_of(token, key, expires_us, arena, &mac));
    bw_result result = bw_buf_add_be(&bytes, (uint64_t)expires_us, 8);
    if (bw_ok(result))
        result = bw_buf_add_be(&bytes, key->generation, 8);
    if (bw_ok(result))
        result = bw_buf_add(&bytes, mac);
    if (bw_ok(result))
        memcpy(ret_bytes, bytes.data, BW_IMPORT_TOKEN_LEN);
    bw_buf_clear(&bytes);
    return result;
}

bw_result bw_import_token_check(struct bw_token *token, const struct bw_key *key, const uint8_t bytes[static BW_IMPORT_TOKEN_LEN],
                                int64_t now_us, struct bw_arena *arena)
{
    struct bw_reader reader = { bw_bytes_of(bytes, BW_IMPORT_TOKEN_LEN), false };
    int64_t  expires_us = (int64_t)bw_read_be(&reader, 8);
    uint64_t generation = bw_read_be(&reader, 8);
    bw_bytes mac;

    BW_TRY(mac_of(token, key, expires_us, arena, &mac));
    bool same = CRYPTO_memcmp(mac.data, reader.rest.data, TOKEN_MAC) == 0;
    BW_CHECK_AT(generation == key->generation && same, BW_IMPORT_TOKEN_INVALID, "import_token", "not a token for this key as it stands");
    BW_CHECK_AT(now_us < expires_us, BW_EXPIRED, "import_token", "the import token has expired");
    return bw_success();
}

/* ---- statements ---- */

/* " SHA1 SHA2-256": as OpenSSL calls them. NULL: out of memory. */
static const char *hashes_of(const struct bw_hsm *hsm, struct bw_arena *arena)
{
    const char *list = "";

    for (enum bw_digest hash = BW_DIGEST_SHA1; bw_digest_row(hash) != NULL && list != NULL; hash++)
        if (bw_hsm_imports_by(hsm, hash))
            list = bw_arena_text(arena, "%s %s", list, bw_digest_row(hash)->name);
    return list;
}

static const char *statement_of(const struct bw_hsm *hsm, const struct bw_key_name *name, bw_bytes wrapping_key, int64_t expires_us, struct bw_arena *arena)
{
    char key[BW_KEY_NAME_MAX + 1], hex[2 * 32 + 1];
    const char *hashes = hashes_of(hsm, arena);
    uint8_t digest[32];

    if (hashes == NULL || EVP_Digest(wrapping_key.data, wrapping_key.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    bw_hex(bw_bytes_of(digest, sizeof digest), hex);
    bw_key_name_print(name, key);
    return bw_arena_text(arena, "bailiwick import parameters 1\nregion %s\ntenant %s\nkey %s\nexpires %lld\nwrapping-key sha256:%s\noaep-hashes%s\n",
                         name->region.text, name->tenant.text, key, (long long)(expires_us / 1000000), hex, hashes);
}

/* r || s to the SEQUENCE of RFC 3279 2.2.3, which OpenSSL's commands verify. */
static bw_result to_der(bw_bytes raw, struct bw_arena *arena, bw_bytes *ret_der)
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.data, 32, NULL), *s = BN_bin2bn(raw.data + 32, 32, NULL);
    unsigned char *der = NULL;

    if (signature == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(signature);
        return bw_fail(BW_NO_MEMORY, "attestation");
    }
    int len = i2d_ECDSA_SIG(signature, &der);
    void *copy = len > 0 ? bw_arena_copy(arena, bw_bytes_of(der, (size_t)len)) : NULL;
    OPENSSL_free(der);
    ECDSA_SIG_free(signature);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "attestation");
    *ret_der = bw_bytes_of(copy, (size_t)len);
    return bw_success();
}

bw_result bw_import_attest(const struct bw_hsm *hsm, struct bw_token *region_token, const struct bw_key_name *name, bw_bytes wrapping_key, int64_t expires_us,
                           struct bw_arena *arena, struct bw_statement *ret_statement)
{
    const char *text = statement_of(hsm, name, wrapping_key, expires_us, arena);
    uint8_t digest[32];
    bw_bytes raw;

    BW_CHECK(text != NULL && EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1, BW_NO_MEMORY, "statement");
    BW_TRY(bw_hsm_attest(region_token, digest, arena, &raw));
    BW_CHECK(raw.len == 64, BW_HSM_FAILED, "an ECDSA signature has another length");
    BW_TRY(to_der(raw, arena, &ret_statement->signature));
    ret_statement->text = text;
    return bw_success();
}
