/* RSA-OAEP (RFC 8017 7.1) with any hash and label, over the HSM's raw RSA operation. SoftHSM's own knows SHA-1 without a
 * label alone, which the self-test finds. The padded block is seen in this process, in the arena, which wipes it. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "hsm_internal.h"

bool bw_oaep_is_native(const struct bw_hsm *hsm, const struct bw_mechanism *m)
{
    return m->hash == m->mgf && m->label.len == 0 && bw_hsm_imports_by(hsm, m->hash);
}

/* ---- hashing ---- */

/* Of two parts, one after the other. */
static bw_result hash_of(const EVP_MD *md, bw_bytes first, bw_bytes second, uint8_t *digest)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    bool done = context != NULL && EVP_DigestInit_ex(context, md, NULL) == 1
             && EVP_DigestUpdate(context, bw_ck_bytes(first), first.len) == 1
             && EVP_DigestUpdate(context, bw_ck_bytes(second), second.len) == 1 && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    BW_CHECK(done, BW_INTERNAL, "OpenSSL does not hash");
    return bw_success();
}

/* MGF1 (RFC 8017 B.2.1), added to the target. */
static bw_result mask(const EVP_MD *md, size_t digest_len, bw_bytes seed, uint8_t *target, size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    bw_result r = bw_success();

    for (size_t done = 0; done < len && bw_ok(r); done += digest_len) {
        size_t count = done / digest_len;
        uint8_t counter[4] = { (uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8), (uint8_t)count };
        r = hash_of(md, seed, bw_bytes_of(counter, sizeof counter), digest);
        for (size_t i = 0; bw_ok(r) && i < digest_len && done + i < len; i++)
            target[done + i] ^= digest[i];
    }
    bw_wipe(digest, sizeof digest);
    return r;
}

struct hashes {
    EVP_MD *hash, *mgf;
    size_t  hash_len, mgf_len;
};

static bw_result fetch(const struct bw_mechanism *m, struct hashes *ret)
{
    const struct bw_digest_row *hash = bw_digest_row(m->hash), *mgf = bw_digest_row(m->mgf);

    *ret = (struct hashes){ EVP_MD_fetch(NULL, hash->name, NULL), EVP_MD_fetch(NULL, mgf->name, NULL), hash->len, mgf->len };
    BW_CHECK(ret->hash != NULL && ret->mgf != NULL, BW_MECHANISM_PARAM, "OpenSSL has no such hash");
    return bw_success();
}

static void hashes_clear(struct hashes *h)
{
    EVP_MD_free(h->hash);
    EVP_MD_free(h->mgf);
}

/* ---- padding: 00 | seed, masked | label hash, zeros, 01, plaintext; masked ---- */

static bw_result pad(const struct hashes *h, const struct bw_mechanism *m, bw_bytes plaintext, const uint8_t *seed, uint8_t *block, size_t block_len)
{
    uint8_t *masked_seed = block + 1, *db = block + 1 + h->hash_len;
    size_t db_len = block_len - 1 - h->hash_len;

    memset(block, 0, block_len);
    BW_TRY(hash_of(h->hash, m->label, bw_bytes_of(NULL, 0), db));
    db[db_len - plaintext.len - 1] = 1;
    if (plaintext.len > 0)
        memcpy(db + db_len - plaintext.len, plaintext.data, plaintext.len);
    memcpy(masked_seed, seed, h->hash_len);
    BW_TRY(mask(h->mgf, h->mgf_len, bw_bytes_of(seed, h->hash_len), db, db_len));
    return mask(h->mgf, h->mgf_len, bw_bytes_of(db, db_len), masked_seed, h->hash_len);
}

bw_result bw_oaep_pad(const struct bw_mechanism *m, bw_bytes plaintext, const uint8_t *seed, uint8_t *block, size_t block_len)
{
    struct hashes h;

    bw_result r = fetch(m, &h);
    if (bw_ok(r) && (block_len < 2 * h.hash_len + 2 || plaintext.len > block_len - 2 * h.hash_len - 2))
        r = bw_fail(BW_DATA_LENGTH, "longer than the modulus takes");
    if (bw_ok(r))
        r = pad(&h, m, plaintext, seed, block, block_len);
    hashes_clear(&h);
    return r;
}

/* All ones when the values are equal, else zero; no branch. */
static size_t equal_mask(size_t a, size_t b)
{
    size_t differ = a ^ b;
    return (size_t)0 - (1 ^ ((differ | ((size_t)0 - differ)) >> (8 * sizeof differ - 1)));
}

/* Where the plaintext starts, and whether zeros and then a one stand before it. Looks at every byte. */
static size_t find_start(const uint8_t *db, size_t db_len, size_t from, size_t *ret_good)
{
    size_t start = 0, found = 0, good = ~(size_t)0;

    for (size_t i = from; i < db_len; i++) {
        size_t is_one = equal_mask(db[i], 1), is_zero = equal_mask(db[i], 0);
        start |= (i + 1) & is_one & ~found;
        good  &= found | is_one | is_zero;
        found |= is_one;
    }
    *ret_good = good & found;
    return start;
}

static bw_result unpad(const struct hashes *h, const struct bw_mechanism *m, uint8_t *block, size_t block_len, bw_bytes *ret_plaintext)
{
    uint8_t *seed = block + 1, *db = block + 1 + h->hash_len;
    size_t db_len = block_len - 1 - h->hash_len, good;
    uint8_t label_hash[EVP_MAX_MD_SIZE];

    BW_TRY(hash_of(h->hash, m->label, bw_bytes_of(NULL, 0), label_hash));
    BW_TRY(mask(h->mgf, h->mgf_len, bw_bytes_of(db, db_len), seed, h->hash_len));
    BW_TRY(mask(h->mgf, h->mgf_len, bw_bytes_of(seed, h->hash_len), db, db_len));

    size_t start = find_start(db, db_len, h->hash_len, &good);
    good &= equal_mask(block[0], 0);
    good &= equal_mask((size_t)CRYPTO_memcmp(db, label_hash, h->hash_len) != 0, 0);
    BW_CHECK(good, BW_CIPHERTEXT_INVALID, "it does not decrypt");
    *ret_plaintext = bw_bytes_of(db + start, db_len - start);
    return bw_success();
}

bw_result bw_oaep_unpad(const struct bw_mechanism *m, uint8_t *block, size_t block_len, bw_bytes *ret_plaintext)
{
    struct hashes h;

    bw_result r = fetch(m, &h);
    if (bw_ok(r) && block_len < 2 * h.hash_len + 2)
        r = bw_fail(BW_CIPHERTEXT_INVALID, "it does not decrypt");
    if (bw_ok(r))
        r = unpad(&h, m, block, block_len, ret_plaintext);
    hashes_clear(&h);
    return r;
}

/* ---- over the HSM ---- */

bw_result bw_oaep_encrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes plaintext,
                          struct bw_arena *arena, bw_bytes *ret_ciphertext)
{
    size_t block_len = bw_object_bytes(key);
    uint8_t *block = bw_arena_alloc(arena, block_len), *seed = bw_arena_alloc(arena, EVP_MAX_MD_SIZE);

    BW_CHECK(block != NULL && seed != NULL, BW_NO_MEMORY, "OAEP block");
    BW_TRY(bw_hsm_random(key->token, seed, bw_digest_row(m->hash)->len));
    BW_TRY(bw_oaep_pad(m, plaintext, seed, block, block_len));
    return bw_rsa_public(key, bw_bytes_of(block, block_len), arena, ret_ciphertext);
}

bw_result bw_oaep_decrypt(struct bw_hsm_object *key, const struct bw_mechanism *m, bw_bytes ciphertext,
                          struct bw_arena *arena, bw_bytes *ret_plaintext)
{
    bw_bytes block;

    BW_TRY(bw_rsa_private(key, ciphertext, arena, &block));
    BW_CHECK(block.len == bw_object_bytes(key), BW_HSM_FAILED, "a raw RSA block has another length");
    return bw_oaep_unpad(m, (uint8_t *)block.data, block.len, ret_plaintext); /* in place: the arena's own */
}
