#include "envelope.h"

#include <string.h>

#include "registry.h"

enum { MAGIC_LEN = 4, NONCE_LEN = BW_GCM_IV_LEN, TAG_LEN = BW_GCM_TAG_MAX };
static const uint8_t magic[MAGIC_LEN] = { 'B', 'W', 'K', '1' };

static bw_bytes read_short(struct bw_reader *reader)
{
    return bw_read_bytes(reader, bw_read_be(reader, 1));
}

/* The header, whose length is known and whose bytes are all there. */
static bw_result parse_header(bw_bytes header, struct bw_envelope *envelope)
{
    struct bw_reader reader = { .rest = header };

    (void)bw_read_bytes(&reader, MAGIC_LEN + 2);
    envelope->algorithm = (enum bw_envelope_algorithm)bw_read_be(&reader, 1);
    uint64_t flags      = bw_read_be(&reader, 1);
    bw_bytes region     = read_short(&reader);
    bw_bytes tenant     = read_short(&reader);
    bw_bytes id         = bw_read_bytes(&reader, BW_KEY_ID_LEN);
    envelope->version   = (uint32_t)bw_read_be(&reader, 4);
    envelope->nonce     = read_short(&reader);

    BW_CHECK(!reader.failed && reader.rest.len == 0, BW_ENVELOPE_INVALID, "header lengths do not add up");
    BW_CHECK(envelope->algorithm == BW_ENVELOPE_AES_256_GCM && flags == 0, BW_ENVELOPE_INVALID, "algorithm or flags unknown");
    BW_CHECK(envelope->nonce.len == NONCE_LEN && envelope->version != 0, BW_ENVELOPE_INVALID, "nonce or version out of range");
    BW_CHECK(bw_ok(bw_region_parse(region, &envelope->key.region)), BW_ENVELOPE_INVALID, "region name malformed");
    BW_CHECK(bw_ok(bw_tenant_parse(tenant, &envelope->key.tenant)), BW_ENVELOPE_INVALID, "tenant name malformed");
    memcpy(envelope->key.id.bytes, id.data, BW_KEY_ID_LEN);
    return bw_success();
}

bw_result bw_envelope_parse(bw_bytes blob, struct bw_envelope *ret_envelope)
{
    struct bw_envelope envelope = { 0 };
    struct bw_reader reader = { .rest = blob };

    bw_bytes begin = bw_read_bytes(&reader, MAGIC_LEN);
    BW_CHECK(begin.len == MAGIC_LEN && memcmp(begin.data, magic, MAGIC_LEN) == 0, BW_ENVELOPE_INVALID, "not an envelope of ours");
    uint64_t header_len = bw_read_be(&reader, 2);
    BW_CHECK(!reader.failed && header_len <= blob.len, BW_ENVELOPE_INVALID, "cut off in its header");

    envelope.header     = (bw_bytes){ blob.data, header_len };
    envelope.ciphertext = (bw_bytes){ blob.data + header_len, blob.len - header_len };
    BW_TRY(parse_header(envelope.header, &envelope));
    BW_CHECK(envelope.ciphertext.len >= TAG_LEN, BW_ENVELOPE_INVALID, "cut off in its ciphertext");

    *ret_envelope = envelope;
    return bw_success();
}

static bw_result add_short(struct bw_buf *buf, bw_bytes bytes)
{
    BW_TRY(bw_buf_add_be(buf, bytes.len, 1));
    return bw_buf_add(buf, bytes);
}

static bw_result write_header(struct bw_buf *buf, const struct bw_key_name *key, uint32_t version, bw_bytes nonce)
{
    bw_bytes region = bw_bytes_text(key->region.text);
    bw_bytes tenant = bw_bytes_text(key->tenant.text);
    size_t   len    = MAGIC_LEN + 2 + 1 + 1 + 1 + region.len + 1 + tenant.len + BW_KEY_ID_LEN + 4 + 1 + nonce.len;

    BW_TRY(bw_buf_add(buf, bw_bytes_of(magic, MAGIC_LEN)));
    BW_TRY(bw_buf_add_be(buf, len, 2));
    BW_TRY(bw_buf_add_be(buf, BW_ENVELOPE_AES_256_GCM, 1));
    BW_TRY(bw_buf_add_be(buf, 0, 1));
    BW_TRY(add_short(buf, region));
    BW_TRY(add_short(buf, tenant));
    BW_TRY(bw_buf_add(buf, bw_bytes_of(key->id.bytes, BW_KEY_ID_LEN)));
    BW_TRY(bw_buf_add_be(buf, version, 4));
    return add_short(buf, nonce);
}

static bw_result write_authenticated(struct bw_buf *buf, bw_bytes header, const struct bw_text_pair *context, size_t context_count)
{
    BW_TRY(bw_buf_add(buf, header));
    BW_TRY(bw_buf_add_be(buf, context_count, 2));
    for (size_t i = 0; i < context_count; i++) {
        bw_bytes name = bw_bytes_text(context[i].name), value = bw_bytes_text(context[i].value);

        BW_CHECK_AT(i == 0 || strcmp(context[i - 1].name, context[i].name) < 0, BW_BAD_ARGUMENT, "context", "names must be distinct");
        BW_TRY(bw_buf_add_be(buf, name.len, 2));
        BW_TRY(bw_buf_add(buf, name));
        BW_TRY(bw_buf_add_be(buf, value.len, 2));
        BW_TRY(bw_buf_add(buf, value));
    }
    return bw_success();
}

/* Moves what a writer wrote into the arena; the buffer is gone either way. */
static bw_result into_arena(bw_result written, struct bw_buf *buf, struct bw_arena *arena, bw_bytes *ret_bytes)
{
    uint8_t *copy = bw_ok(written) ? bw_arena_copy(arena, bw_buf_bytes(buf)) : NULL;
    size_t   len  = buf->len;

    bw_buf_clear(buf);
    BW_TRY(written);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "envelope");
    *ret_bytes = (bw_bytes){ copy, len };
    return bw_success();
}

bw_result bw_envelope_header(const struct bw_key_name *key, uint32_t version, bw_bytes nonce, struct bw_arena *arena, bw_bytes *ret_header)
{
    struct bw_buf buf = { 0 };

    return into_arena(write_header(&buf, key, version, nonce), &buf, arena, ret_header);
}

bw_result bw_envelope_authenticated(bw_bytes header, const struct bw_text_pair *context, size_t context_count,
                                    struct bw_arena *arena, bw_bytes *ret_data)
{
    struct bw_buf buf = { 0 };

    return into_arena(write_authenticated(&buf, header, context, context_count), &buf, arena, ret_data);
}
