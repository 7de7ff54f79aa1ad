#define OPENSSL_SUPPRESS_DEPRECATED /* for the older functions of SHA: OpenSSL 3.0 has no others whose state can be saved */
#include "hash.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[4] = { 'B', 'W', 'H', '1' };

struct bw_hash {
    uint8_t magic[sizeof magic];
    uint8_t digest;              /* enum bw_digest */
    union sha { SHA_CTX sha1; SHA256_CTX sha256; SHA512_CTX sha512; } sha;
};

/* One digest's functions, for the table. sound: whether a state that came from outside can be gone on with. */
#define SHA_FUNCTIONS(name, member, openssl, its_sound)                                                                     \
    static int name##_init(union sha *s) { return openssl##_Init(&s->member); }                                             \
    static int name##_add(union sha *s, bw_bytes more) { return openssl##_Update(&s->member, more.data, more.len); }        \
    static int name##_end(union sha *s, uint8_t *digest) { return openssl##_Final(digest, &s->member); }                    \
    static bool name##_sound(const union sha *s) { return its_sound; }
SHA_FUNCTIONS(sha1,   sha1,   SHA1,   s->sha1.num < SHA_CBLOCK)
SHA_FUNCTIONS(sha224, sha256, SHA224, s->sha256.num < SHA256_CBLOCK && s->sha256.md_len == SHA224_DIGEST_LENGTH)
SHA_FUNCTIONS(sha256, sha256, SHA256, s->sha256.num < SHA256_CBLOCK && s->sha256.md_len == SHA256_DIGEST_LENGTH)
SHA_FUNCTIONS(sha384, sha512, SHA384, s->sha512.num < SHA512_CBLOCK && s->sha512.md_len == SHA384_DIGEST_LENGTH)
SHA_FUNCTIONS(sha512, sha512, SHA512, s->sha512.num < SHA512_CBLOCK && s->sha512.md_len == SHA512_DIGEST_LENGTH)
#undef SHA_FUNCTIONS

static const struct {
    int  (*init)(union sha *);
    int  (*add)(union sha *, bw_bytes);
    int  (*end)(union sha *, uint8_t *);
    bool (*sound)(const union sha *);
} rows[] = {
    [BW_DIGEST_SHA1]   = { sha1_init,   sha1_add,   sha1_end,   sha1_sound   },
    [BW_DIGEST_SHA224] = { sha224_init, sha224_add, sha224_end, sha224_sound },
    [BW_DIGEST_SHA256] = { sha256_init, sha256_add, sha256_end, sha256_sound },
    [BW_DIGEST_SHA384] = { sha384_init, sha384_add, sha384_end, sha384_sound },
    [BW_DIGEST_SHA512] = { sha512_init, sha512_add, sha512_end, sha512_sound },
};

void bw_hash_free(struct bw_hash *hash)
{
    if (hash == NULL)
        return;
    bw_wipe(hash, sizeof *hash);
    free(hash);
}

bw_result bw_hash_new(enum bw_digest digest, struct bw_hash **ret_hash)
{
    BW_CHECK(bw_digest_row(digest) != NULL, BW_MECHANISM_INVALID, "no such digest");
    BW_AUTO(hash) hash = calloc(1, sizeof *hash);
    BW_CHECK(hash != NULL, BW_NO_MEMORY, "digest");
    memcpy(hash->magic, magic, sizeof magic);
    hash->digest = (uint8_t)digest;
    BW_CHECK(rows[digest].init(&hash->sha) == 1, BW_INTERNAL, "digest");
    *ret_hash = bw_take(&hash);
    return bw_success();
}

bw_result bw_hash_add(struct bw_hash *hash, bw_bytes more)
{
    BW_CHECK(more.len == 0 || rows[hash->digest].add(&hash->sha, more) == 1, BW_INTERNAL, "digest update");
    return bw_success();
}

size_t bw_hash_len(const struct bw_hash *hash)
{
    return bw_digest_row((enum bw_digest)hash->digest)->len;
}

bw_result bw_hash_end(struct bw_hash *hash, uint8_t digest[static BW_HASH_MAX])
{
    BW_CHECK(rows[hash->digest].end(&hash->sha, digest) == 1, BW_INTERNAL, "digest final");
    return bw_success();
}

/* ---- saved ---- */

bw_bytes bw_hash_state(const struct bw_hash *hash)
{
    return bw_bytes_of(hash, sizeof *hash);
}

bw_result bw_hash_load(bw_bytes state, struct bw_hash **ret_hash)
{
    BW_CHECK(state.len == sizeof(struct bw_hash), BW_SAVED_STATE, "length");
    BW_AUTO(hash) hash = malloc(sizeof *hash);
    BW_CHECK(hash != NULL, BW_NO_MEMORY, "digest");
    memcpy(hash, state.data, sizeof *hash);
    BW_CHECK(memcmp(hash->magic, magic, sizeof magic) == 0, BW_SAVED_STATE, "magic");
    BW_CHECK(bw_digest_row((enum bw_digest)hash->digest) != NULL && rows[hash->digest].sound(&hash->sha), BW_SAVED_STATE, "state");
    *ret_hash = bw_take(&hash);
    return bw_success();
}
