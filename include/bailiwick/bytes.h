/* Byte strings: borrowed, owned, and taken from an arena. */
#ifndef BAILIWICK_BYTES_H
#define BAILIWICK_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "bailiwick/result.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

/* Borrowed until the call returns; whoever keeps, copies. { NULL, 0 } is empty. */
typedef struct bw_bytes {
    const uint8_t *data;
    size_t         len;
} bw_bytes;

static inline bw_bytes bw_bytes_of(const void *data, size_t len) { return (bw_bytes){ data, len }; }
bw_bytes bw_bytes_text(const char *text);        /* without its NUL; NULL is empty */
bool     bw_bytes_equal(bw_bytes a, bw_bytes b); /* not constant time: not for secrets */

/* Owned, growing up to a ceiling. All zero is a valid empty buffer without a ceiling (SIZE_MAX).
 * Wiped when it grows, shrinks or is cleared, so it may hold a secret for a moment. */
struct bw_buf {
    uint8_t *data;
    size_t   len;
    size_t   room;
    size_t   ceiling; /* in bytes; 0 means none */
};
void      bw_buf_clear(struct bw_buf *buf);
bw_result bw_buf_add(struct bw_buf *buf, bw_bytes more);                        /* BW_TOO_LARGE past the ceiling */
bw_result bw_buf_grow(struct bw_buf *buf, size_t len, uint8_t **ret_tail);      /* len more bytes, not yet written */
bw_result bw_buf_add_be(struct bw_buf *buf, uint64_t value, unsigned width);    /* width bytes, big-endian */
static inline bw_bytes bw_buf_bytes(const struct bw_buf *buf) { return (bw_bytes){ buf->data, buf->len }; }

/* Reads a byte string from its front, every length checked. After a failed read nothing more can be read. */
struct bw_reader {
    bw_bytes rest;
    bool     failed;
};
bw_bytes bw_read_bytes(struct bw_reader *reader, size_t len);     /* empty and failed when fewer are left */
bw_bytes bw_read_line(struct bw_reader *reader);                  /* without its newline; empty and failed when there is none */
uint64_t bw_read_be(struct bw_reader *reader, unsigned width);    /* width 1 to 8; 0 when failed */

/* Memory that lives as long as one request. Allocation moves a pointer; freeing frees all at once, wiped.
 * All zero is a valid empty arena. Not thread-safe: an arena moves between threads with its request. */
struct bw_arena {
    struct bw_arena_block *blocks;
    size_t                 total;
    size_t                 ceiling; /* in bytes over all blocks; 0 means none */
};
void *bw_arena_alloc(struct bw_arena *arena, size_t size);        /* zeroed, aligned for any type; NULL: out of memory or past the ceiling */
void *bw_arena_copy(struct bw_arena *arena, bw_bytes bytes);      /* NUL-terminated copy; NULL as above */
char *bw_arena_text(struct bw_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void  bw_arena_clear(struct bw_arena *arena);

/* Lower-case hexadecimal. text needs 2 * len + 1 bytes. */
void bw_hex(bw_bytes bytes, char *text);
bool bw_unhex(const char *text, size_t text_len, uint8_t *bytes); /* text_len even, lower or upper case; false: not hexadecimal */

/* Length of the UTF-8 character (RFC 3629) at the front, 1 to 4 bytes; 0: there is none. */
size_t bw_utf8_len(bw_bytes text);

/* memset that the compiler keeps. */
void bw_wipe(void *memory, size_t len);

/* BW_AUTO(key) x = NULL; frees with bw_key_free when x leaves its scope, unless bw_take took it.
 * A type takes part with BW_DEFINE_AUTO(key). */
#define BW_DEFINE_AUTO(noun)                                                \
    static inline void bw_##noun##_auto(struct bw_##noun **at)              \
    {                                                                       \
        bw_##noun##_free(*at);                                              \
    }
#define BW_AUTO(noun) __attribute__((cleanup(bw_##noun##_auto))) struct bw_##noun *
#define bw_take(at)                            \
    __extension__({                            \
        __typeof__(*(at)) bw_taken_ = *(at);   \
        *(at) = NULL;                          \
        bw_taken_;                             \
    })

#endif
