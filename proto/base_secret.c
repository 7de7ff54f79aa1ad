#include "bailiwick/secret.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each secret has pages of its own, because locking, dumping and forking are decided page by page.
 * Small and rare enough for that: a secret lives for one operation. */
struct bw_secret {
    uint8_t *pages;
    size_t   pages_len;
    size_t   len;
};

static size_t whole_pages(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len / page + 1) * page;
}

bw_result bw_secret_new(size_t len, struct bw_secret **ret_secret)
{
    BW_CHECK(len < SIZE_MAX / 2, BW_TOO_LARGE, "secret");
    struct bw_secret *secret = calloc(1, sizeof *secret);
    BW_CHECK(secret != NULL, BW_NO_MEMORY, "secret");

    secret->len       = len;
    secret->pages_len = whole_pages(len);
    secret->pages     = mmap(NULL, secret->pages_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (secret->pages == MAP_FAILED) {
        free(secret);
        return bw_fail(BW_NO_MEMORY, "secret's pages");
    }
    /* Best effort, on purpose: hosts with a tight RLIMIT_MEMLOCK still work. */
    (void)mlock(secret->pages, secret->pages_len);
    (void)madvise(secret->pages, secret->pages_len, MADV_DONTDUMP);
    (void)madvise(secret->pages, secret->pages_len, MADV_WIPEONFORK);
    *ret_secret = secret;
    return bw_success();
}

bw_result bw_secret_copy(bw_bytes bytes, struct bw_secret **ret_secret)
{
    BW_TRY(bw_secret_new(bytes.len, ret_secret));
    if (bytes.len > 0)
        memcpy((*ret_secret)->pages, bytes.data, bytes.len);
    return bw_success();
}

void bw_secret_free(struct bw_secret *secret)
{
    if (secret == NULL)
        return;
    bw_wipe(secret->pages, secret->pages_len);
    (void)munmap(secret->pages, secret->pages_len);
    free(secret);
}

uint8_t *bw_secret_reveal(struct bw_secret *secret)
{
    return secret ? secret->pages : NULL;
}

size_t bw_secret_len(const struct bw_secret *secret)
{
    return secret ? secret->len : 0;
}

void bw_secret_shorten(struct bw_secret *secret, size_t len)
{
    if (len >= secret->len)
        return;
    bw_wipe(secret->pages + len, secret->len - len);
    secret->len = len;
}

bool bw_secret_equal(const struct bw_secret *a, bw_bytes b)
{
    return bw_secret_len(a) == b.len && (b.len == 0 || CRYPTO_memcmp(a->pages, b.data, b.len) == 0);
}
