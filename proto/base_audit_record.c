#include "bailiwick/audit_record.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

static const uint8_t magic[4] = { 'B', 'W', 'A', '1' };

/* ---- entry ---- */

static uint8_t *put_be(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return at + width;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

void bw_leaf_print(const struct bw_leaf *leaf, uint8_t entry[static BW_AUDIT_ENTRY_LEN])
{
    uint8_t *at = put(entry, magic, sizeof magic);

    at = put_be(at, BW_AUDIT_VERSION, 1);
    at = put_be(at, leaf->kind, 1);
    at = put_be(at, leaf->suite, 2);
    at = put_be(at, leaf->index, 8);
    at = put(at, leaf->essential, sizeof leaf->essential);
    at = put(at, leaf->who, sizeof leaf->who);
    (void)put(at, leaf->context, sizeof leaf->context);
}

bw_result bw_leaf_parse(bw_bytes entry, struct bw_leaf *ret_leaf)
{
    struct bw_reader reader = { .rest = entry };
    struct bw_leaf   leaf;

    BW_CHECK(entry.len == BW_AUDIT_ENTRY_LEN, BW_DATA_INVALID, "a log entry has another length");
    BW_CHECK(bw_bytes_equal(bw_read_bytes(&reader, sizeof magic), bw_bytes_of(magic, sizeof magic)), BW_DATA_INVALID, "not a log entry");
    BW_CHECK(bw_read_be(&reader, 1) == BW_AUDIT_VERSION, BW_DATA_INVALID, "log entry of an unknown version");
    leaf.kind  = (uint8_t)bw_read_be(&reader, 1);
    leaf.suite = (uint16_t)bw_read_be(&reader, 2);
    leaf.index = bw_read_be(&reader, 8);
    BW_CHECK(leaf.kind == BW_AUDIT_KIND_RECORD || leaf.kind == BW_AUDIT_KIND_LOG_END, BW_DATA_INVALID, "log entry of an unknown kind");
    BW_CHECK(leaf.suite == BW_AUDIT_SUITE_SHA256, BW_DATA_INVALID, "log entry of an unknown suite");
    memcpy(leaf.essential, bw_read_bytes(&reader, BW_AUDIT_HASH_LEN).data, BW_AUDIT_HASH_LEN);
    memcpy(leaf.who, bw_read_bytes(&reader, BW_AUDIT_HASH_LEN).data, BW_AUDIT_HASH_LEN);
    memcpy(leaf.context, bw_read_bytes(&reader, BW_AUDIT_HASH_LEN).data, BW_AUDIT_HASH_LEN);

    *ret_leaf = leaf;
    return bw_success();
}

/* ---- hashes ---- */

struct bw_hasher {
    EVP_MD      *sha256;
    EVP_MD_CTX  *digest;
    EVP_MAC_CTX *mac;
};

static EVP_MAC_CTX *new_mac(void)
{
    char         sha256[]  = "SHA256";
    OSSL_PARAM   params[]  = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0), OSSL_PARAM_construct_end() };
    EVP_MAC     *hmac      = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac       = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;

    EVP_MAC_free(hmac); /* the context keeps its own reference */
    if (mac != NULL && EVP_MAC_CTX_set_params(mac, params) != 1) {
        EVP_MAC_CTX_free(mac);
        return NULL;
    }
    return mac;
}

bw_result bw_hasher_new(struct bw_hasher **ret_hasher)
{
    BW_AUTO(hasher) hasher = calloc(1, sizeof *hasher);

    BW_CHECK(hasher != NULL, BW_NO_MEMORY, "hasher");
    hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hasher->digest = EVP_MD_CTX_new();
    hasher->mac    = new_mac();
    BW_CHECK(hasher->sha256 != NULL && hasher->digest != NULL && hasher->mac != NULL, BW_INTERNAL, "libcrypto has no SHA-256");

    *ret_hasher = bw_take(&hasher);
    return bw_success();
}

void bw_hasher_free(struct bw_hasher *hasher)
{
    if (hasher == NULL)
        return;
    EVP_MD_CTX_free(hasher->digest);
    EVP_MD_free(hasher->sha256);
    EVP_MAC_CTX_free(hasher->mac);
    free(hasher);
}

bw_result bw_hasher_digest(struct bw_hasher *hasher, const bw_bytes *parts, size_t count, uint8_t ret_hash[static BW_AUDIT_HASH_LEN])
{
    bool ok = EVP_DigestInit_ex2(hasher->digest, hasher->sha256, NULL) == 1;

    for (size_t i = 0; ok && i < count; i++)
        ok = parts[i].len == 0 || EVP_DigestUpdate(hasher->digest, parts[i].data, parts[i].len) == 1;
    BW_CHECK(ok && EVP_DigestFinal_ex(hasher->digest, ret_hash, NULL) == 1, BW_INTERNAL, "SHA-256 failed");
    return bw_success();
}

bw_result bw_hasher_mac(struct bw_hasher *hasher, bw_bytes key, const bw_bytes *parts, size_t count, uint8_t ret_mac[static BW_AUDIT_HASH_LEN])
{
    size_t len;
    bool   ok = EVP_MAC_init(hasher->mac, key.data, key.len, NULL) == 1;

    for (size_t i = 0; ok && i < count; i++)
        ok = parts[i].len == 0 || EVP_MAC_update(hasher->mac, parts[i].data, parts[i].len) == 1;
    BW_CHECK(ok && EVP_MAC_final(hasher->mac, ret_mac, &len, BW_AUDIT_HASH_LEN) == 1, BW_INTERNAL, "HMAC failed");
    return bw_success();
}

/* The label's terminating zero and the one after the letter keep label, class and bytes apart whatever the bytes are. */
bw_result bw_hasher_commit(struct bw_hasher *hasher, enum bw_audit_class class, bw_bytes stored, uint8_t ret_commitment[static BW_AUDIT_HASH_LEN])
{
    static const char label[] = "bw-audit-v1";
    const uint8_t letter[2]   = { (uint8_t)class, 0 };

    BW_CHECK(stored.len >= BW_AUDIT_SALT_LEN, BW_DATA_INVALID, "a class is shorter than its salt");
    const bw_bytes salt    = { stored.data, BW_AUDIT_SALT_LEN };
    const bw_bytes parts[] = {
        { (const uint8_t *)label, sizeof label },
        { letter, sizeof letter },
        { stored.data + BW_AUDIT_SALT_LEN, stored.len - BW_AUDIT_SALT_LEN },
    };
    return bw_hasher_mac(hasher, salt, parts, ARRAY_LEN(parts), ret_commitment);
}

bw_result bw_hasher_leaf(struct bw_hasher *hasher, uint64_t index, bw_bytes essential, bw_bytes who, bw_bytes context, struct bw_leaf *ret_leaf)
{
    struct bw_leaf leaf = { .kind = BW_AUDIT_KIND_RECORD, .suite = BW_AUDIT_SUITE_SHA256, .index = index };

    BW_TRY(bw_hasher_commit(hasher, BW_AUDIT_ESSENTIAL, essential, leaf.essential));
    BW_TRY(bw_hasher_commit(hasher, BW_AUDIT_WHO, who, leaf.who));
    BW_TRY(bw_hasher_commit(hasher, BW_AUDIT_CONTEXT, context, leaf.context));

    *ret_leaf = leaf;
    return bw_success();
}
