#include "bailiwick/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bw_bytes bw_bytes_text(const char *text)
{
    return (bw_bytes){ (const uint8_t *)text, text ? strlen(text) : 0 };
}

bool bw_bytes_equal(bw_bytes a, bw_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void bw_wipe(void *memory, size_t len)
{
    if (memory == NULL || len == 0)
        return;
    memset(memory, 0, len);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* ---- owned, growing ---- */

void bw_buf_clear(struct bw_buf *buf)
{
    bw_wipe(buf->data, buf->room);
    free(buf->data);
    *buf = (struct bw_buf){ .ceiling = buf->ceiling };
}

/* realloc may leave the old bytes behind, so the old block is wiped by hand */
static bw_result make_room(struct bw_buf *buf, size_t room)
{
    uint8_t *data = malloc(room);

    BW_CHECK(data != NULL, BW_NO_MEMORY, "buffer");
    if (buf->len > 0)
        memcpy(data, buf->data, buf->len);
    bw_wipe(buf->data, buf->room);
    free(buf->data);
    buf->data = data;
    buf->room = room;
    return bw_success();
}

bw_result bw_buf_grow(struct bw_buf *buf, size_t len, uint8_t **ret_tail)
{
    size_t ceiling = buf->ceiling ? buf->ceiling : SIZE_MAX / 2;

    BW_CHECK(buf->len <= ceiling && len <= ceiling - buf->len, BW_TOO_LARGE, "buffer over its ceiling");
    if (buf->len + len > buf->room) {
        size_t room = buf->room ? buf->room : 64;
        while (room < buf->len + len)
            room *= 2;
        BW_TRY(make_room(buf, room));
    }
    *ret_tail = buf->data + buf->len;
    buf->len += len;
    return bw_success();
}

bw_result bw_buf_add(struct bw_buf *buf, bw_bytes more)
{
    uint8_t *tail;

    if (more.len == 0)
        return bw_success();
    BW_TRY(bw_buf_grow(buf, more.len, &tail));
    memcpy(tail, more.data, more.len);
    return bw_success();
}

bw_result bw_buf_add_be(struct bw_buf *buf, uint64_t value, unsigned width)
{
    uint8_t *tail;

    assert(width >= 1 && width <= 8);
    BW_TRY(bw_buf_grow(buf, width, &tail));
    for (unsigned i = 0; i < width; i++)
        tail[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return bw_success();
}

/* ---- reading ---- */

bw_bytes bw_read_bytes(struct bw_reader *reader, size_t len)
{
    bw_bytes front = { reader->rest.data, len };

    if (reader->failed || len > reader->rest.len) {
        reader->failed = true;
        reader->rest   = (bw_bytes){ NULL, 0 };
        return (bw_bytes){ NULL, 0 };
    }
    if (len > 0)
        reader->rest.data += len;
    reader->rest.len -= len;
    return front;
}

bw_bytes bw_read_line(struct bw_reader *reader)
{
    const uint8_t *end = reader->rest.len > 0 ? memchr(reader->rest.data, '\n', reader->rest.len) : NULL;

    if (end == NULL) {
        reader->failed = true;
        return bw_bytes_of(NULL, 0);
    }
    bw_bytes line = bw_read_bytes(reader, (size_t)(end - reader->rest.data));
    (void)bw_read_bytes(reader, 1);
    return line;
}

uint64_t bw_read_be(struct bw_reader *reader, unsigned width)
{
    uint64_t value = 0;

    assert(width >= 1 && width <= 8);
    bw_bytes bytes = bw_read_bytes(reader, width);
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.data[i];
    return value;
}

/* ---- arena ---- */

struct bw_arena_block {
    struct bw_arena_block *next;
    size_t                 size;
    size_t                 used;
    _Alignas(max_align_t) uint8_t bytes[];
};

enum { ARENA_BLOCK = 4096 };

static size_t aligned(size_t size)
{
    size_t unit = _Alignof(max_align_t);
    return (size + unit - 1) / unit * unit;
}

static struct bw_arena_block *add_block(struct bw_arena *arena, size_t least)
{
    size_t size = least > ARENA_BLOCK ? least : ARENA_BLOCK;
    struct bw_arena_block *block = calloc(1, sizeof *block + size);

    if (block == NULL)
        return NULL;
    block->size   = size;
    block->next   = arena->blocks;
    arena->blocks = block;
    return block;
}

void *bw_arena_alloc(struct bw_arena *arena, size_t size)
{
    struct bw_arena_block *block = arena->blocks;
    size_t ceiling = arena->ceiling ? arena->ceiling : SIZE_MAX / 2;

    if (size > ceiling - _Alignof(max_align_t))
        return NULL;
    size = aligned(size ? size : 1);
    if (arena->total > ceiling || size > ceiling - arena->total)
        return NULL;
    if (block == NULL || block->size - block->used < size)
        block = add_block(arena, size);
    if (block == NULL)
        return NULL;

    void *memory = block->bytes + block->used;
    block->used  += size;
    arena->total += size;
    return memory;
}

void *bw_arena_copy(struct bw_arena *arena, bw_bytes bytes)
{
    char *copy = bytes.len < SIZE_MAX ? bw_arena_alloc(arena, bytes.len + 1) : NULL;

    if (copy != NULL && bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

char *bw_arena_text(struct bw_arena *arena, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len >= 0 ? bw_arena_alloc(arena, (size_t)len + 1) : NULL;
    if (text != NULL)
        (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

void bw_arena_clear(struct bw_arena *arena)
{
    struct bw_arena_block *block = arena->blocks;

    while (block != NULL) {
        struct bw_arena_block *next = block->next;
        bw_wipe(block->bytes, block->used);
        free(block);
        block = next;
    }
    *arena = (struct bw_arena){ .ceiling = arena->ceiling };
}

/* ---- hexadecimal ---- */

void bw_hex(bw_bytes bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.len; i++) {
        *text++ = digits[bytes.data[i] >> 4];
        *text++ = digits[bytes.data[i] & 15];
    }
    *text = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool bw_unhex(const char *text, size_t text_len, uint8_t *bytes)
{
    if (text_len % 2 != 0)
        return false;
    for (size_t i = 0; i < text_len / 2; i++) {
        int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- text ---- */

size_t bw_utf8_len(bw_bytes text)
{
    static const struct { uint8_t mask, lead; uint32_t least; } forms[] = {
        { 0x80, 0x00, 0x0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 },
    };

    for (size_t more = 0; more < ARRAY_LEN(forms) && more < text.len; more++) {
        if ((text.data[0] & forms[more].mask) != forms[more].lead)
            continue;
        uint32_t point = text.data[0] & (uint8_t)~forms[more].mask;
        for (size_t i = 1; i <= more; i++) {
            if ((text.data[i] & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (text.data[i] & 0x3f);
        }
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        return point >= forms[more].least && point <= 0x10ffff && !surrogate ? more + 1 : 0;
    }
    return 0;
}
