#include "stream.h"

#include <openssl/evp.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum {
    GRPC_CANCELLED   = 1,  /* grpc_status_code (gRPC doc/statuscodes.md) */
    GRPC_UNAVAILABLE = 14,
    DETAILS_MAX      = 16 * 1024 /* bytes of a header we keep; the server's own limit is lower */
};

void bw_stream_begin(struct bw_stream *stream, bw_bytes request, struct bw_arena *arena, pthread_cond_t *wake)
{
    *stream = (struct bw_stream){ .request = request, .arena = arena, .wake = wake, .grpc_status = -1 };
}

/* ---- out ---- */

size_t bw_stream_unsent(const struct bw_stream *stream)
{
    return BW_FRAME_PREFIX + stream->request.len - stream->sent;
}

void bw_stream_take(struct bw_stream *stream, uint8_t *to, size_t len)
{
    uint32_t size = (uint32_t)stream->request.len;
    const uint8_t prefix[BW_FRAME_PREFIX] = { 0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size };

    for (; len > 0 && stream->sent < BW_FRAME_PREFIX; len--)
        *to++ = prefix[stream->sent++];
    if (len > 0)
        memcpy(to, stream->request.data + (stream->sent - BW_FRAME_PREFIX), len);
    stream->sent += len;
}

/* ---- in ---- */

void bw_stream_end(struct bw_stream *stream, enum bw_fate fate, bw_result result)
{
    if (stream->fate != BW_FATE_OPEN)
        return;
    stream->fate   = fate;
    stream->result = result;
    (void)pthread_cond_signal(stream->wake);
}

static bw_result fail(struct bw_stream *stream, bw_result result)
{
    bw_stream_end(stream, BW_FATE_FAILED, result);
    return result;
}

static bool is(bw_bytes name, const char *text)
{
    return bw_bytes_equal(name, bw_bytes_text(text));
}

/* Of 16 values at most; anything else is UNKNOWN, as gRPC asks for. */
static int parse_status(bw_bytes value)
{
    int status = 0;

    if (value.len == 0 || value.len > 2)
        return 2;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 2;
        status = status * 10 + (value.data[i] - '0');
    }
    return status;
}

static bw_bytes keep(struct bw_stream *stream, bw_bytes value)
{
    const void *copy = value.len <= DETAILS_MAX ? bw_arena_copy(stream->arena, value) : NULL;

    return copy ? bw_bytes_of(copy, value.len) : bw_bytes_of(NULL, 0);
}

void bw_stream_header(struct bw_stream *stream, bw_bytes name, bw_bytes value)
{
    static const char type[] = "application/grpc"; /* may go on with "+proto" */

    if (stream->fate != BW_FATE_OPEN)
        return;
    if (is(name, ":status"))
        stream->http_ok = is(value, "200");
    else if (is(name, "content-type"))
        stream->type_ok = value.len >= strlen(type) && memcmp(value.data, type, strlen(type)) == 0;
    else if (is(name, "grpc-encoding"))
        stream->encoded = !is(value, "identity");
    else if (is(name, "grpc-status"))
        stream->grpc_status = parse_status(value);
    else if (is(name, "grpc-message"))
        stream->message = keep(stream, value);
    else if (is(name, "grpc-status-details-bin"))
        stream->details = keep(stream, value);
}

/* ---- many messages ---- */

static uint8_t *open_part(struct bw_stream *stream)
{
    struct bw_part *part = malloc(sizeof *part + stream->reply_len);

    if (part == NULL)
        return NULL;
    part->next     = NULL;
    part->len      = stream->reply_len;
    stream->coming = part;
    return part->bytes;
}

static void close_part(struct bw_stream *stream)
{
    struct bw_part **end = &stream->parts;

    while (*end != NULL)
        end = &(*end)->next;
    *end = stream->coming;
    stream->coming     = NULL;
    stream->reply      = NULL;
    stream->prefix_len = stream->reply_got = 0;
    (void)pthread_cond_signal(stream->wake);
}

struct bw_part *bw_stream_take_part(struct bw_stream *stream)
{
    struct bw_part *part = stream->parts;

    if (part != NULL)
        stream->parts = part->next;
    return part;
}

void bw_stream_drop_parts(struct bw_stream *stream)
{
    for (struct bw_part *part; (part = bw_stream_take_part(stream)) != NULL;)
        free(part);
    free(stream->coming);
    stream->coming = NULL;
}

static bw_result open_reply(struct bw_stream *stream)
{
    struct bw_reader reader = { .rest = bw_bytes_of(stream->prefix, sizeof stream->prefix) };
    bool compressed = bw_read_be(&reader, 1) != 0;

    stream->reply_len = bw_read_be(&reader, 4);
    if (!stream->http_ok || !stream->type_ok)
        return fail(stream, bw_fail(BW_PROTOCOL_BROKEN, "the server does not speak gRPC"));
    if (compressed || stream->encoded)
        return fail(stream, bw_fail(BW_PROTOCOL_BROKEN, "the server compressed its reply, which we did not ask for"));
    if (stream->reply_len > BW_MESSAGE_MAX)
        return fail(stream, bw_fail(BW_PROTOCOL_BROKEN, "the reply is larger than 1 MiB"));
    stream->reply = stream->many ? open_part(stream) : bw_arena_alloc(stream->arena, stream->reply_len);
    if (stream->reply == NULL)
        return fail(stream, bw_fail(BW_NO_MEMORY, "reply"));
    return bw_success();
}

/* As much of data as belongs to the message at hand. */
static bw_result take_data(struct bw_stream *stream, bw_bytes *data)
{
    while (data->len > 0 && stream->prefix_len < sizeof stream->prefix) {
        stream->prefix[stream->prefix_len++] = *data->data++;
        data->len--;
    }
    if (stream->prefix_len == sizeof stream->prefix && stream->reply == NULL)
        BW_TRY(open_reply(stream));
    size_t missing = stream->reply_len - stream->reply_got, len = data->len < missing ? data->len : missing;
    if (stream->reply == NULL)
        return bw_success();
    if (len > 0)
        memcpy(stream->reply + stream->reply_got, data->data, len);
    stream->reply_got += len;
    *data = bw_bytes_of(data->data + len, data->len - len);
    return bw_success();
}

bw_result bw_stream_data(struct bw_stream *stream, bw_bytes data)
{
    if (stream->fate != BW_FATE_OPEN)
        return bw_success();
    do {
        BW_TRY(take_data(stream, &data));
        bool whole = stream->reply != NULL && stream->reply_got == stream->reply_len;
        if (whole && stream->many)
            close_part(stream);
        else if (data.len > 0)
            return fail(stream, bw_fail(BW_PROTOCOL_BROKEN, "more than one message came back"));
    } while (data.len > 0);
    return bw_success();
}

/* ---- how it ended ---- */

static void judge_reset(struct bw_stream *stream, uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_REFUSED_STREAM: /* also what nghttp2 gives to streams above a GOAWAY's last one */
        bw_stream_end(stream, BW_FATE_UNSEEN, bw_fail(BW_UNREACHABLE, "the server refused the stream"));
        return;
    case NGHTTP2_CANCEL:
        bw_stream_end(stream, BW_FATE_LOST, bw_fail(BW_UNREACHABLE, "the server cancelled the stream"));
        return;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        bw_stream_end(stream, BW_FATE_FAILED, bw_fail(BW_OVERLOADED, "the server asks for calm"));
        return;
    default:
        bw_stream_end(stream, BW_FATE_FAILED, bw_fail(BW_PROTOCOL_BROKEN, "the server broke the stream off"));
    }
}

void bw_stream_close(struct bw_stream *stream, uint32_t error_code)
{
    bool whole = stream->reply != NULL && stream->reply_got == stream->reply_len;

    if (stream->grpc_status > 0 || (stream->grpc_status == 0 && (whole || stream->many)))
        bw_stream_end(stream, BW_FATE_ANSWERED, bw_success());
    else if (!stream->headers_sent)
        bw_stream_end(stream, BW_FATE_UNSEEN, bw_fail(BW_UNREACHABLE, "the request was not sent"));
    else if (error_code != NGHTTP2_NO_ERROR)
        judge_reset(stream, error_code);
    else
        bw_stream_end(stream, BW_FATE_FAILED, bw_fail(BW_PROTOCOL_BROKEN, "the server ended the stream without an answer"));
}

/* ---- the answer ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* grpc-message: percent-encoded, RFC 3986 2.1. Cut to the room; what is not printable becomes '?'. */
static void read_message(bw_bytes from, char *to, size_t room)
{
    size_t len = 0;

    for (size_t i = 0; i < from.len && len + 1 < room; i++) {
        uint8_t c = from.data[i];
        if (c == '%' && i + 2 < from.len && hex_digit(from.data[i + 1]) >= 0 && hex_digit(from.data[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(from.data[i + 1]) << 4 | hex_digit(from.data[i + 2]));
            i += 2;
        }
        to[len++] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    to[len] = '\0';
}

/* Base64 with or without its padding: gRPC sends binary headers either way. Empty when it is not base64. */
static bw_bytes unbase64(bw_bytes text, struct bw_arena *arena)
{
    size_t len = text.len;

    while (len > 0 && text.data[len - 1] == '=')
        len--;
    size_t quads = (len + 3) / 4;
    char    *padded = bw_arena_alloc(arena, 4 * quads);
    uint8_t *bytes  = bw_arena_alloc(arena, 3 * quads);
    if (len == 0 || len % 4 == 1 || padded == NULL || bytes == NULL)
        return bw_bytes_of(NULL, 0);
    memset(padded, '=', 4 * quads);
    memcpy(padded, text.data, len);
    if (EVP_DecodeBlock(bytes, (const unsigned char *)padded, (int)(4 * quads)) < 0)
        return bw_bytes_of(NULL, 0);
    return bw_bytes_of(bytes, len * 3 / 4);
}

bw_result bw_stream_answer(const struct bw_stream *stream, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    if (stream->grpc_status == 0) {
        *ret_reply = bw_bytes_of(stream->reply, stream->reply_len);
        return bw_success();
    }
    bw_wire_unpack_refusal(unbase64(stream->details, stream->arena), ret_refusal);
    if (ret_refusal->message[0] == '\0')
        read_message(stream->message, ret_refusal->message, sizeof ret_refusal->message);
    ret_refusal->grpc_status = stream->grpc_status;
    return bw_wire_result(ret_refusal);
}

bool bw_stream_answer_is_transport(const struct bw_refusal *refusal)
{
    bool bare = refusal->reason[0] == '\0';

    return (bare && (refusal->grpc_status == GRPC_CANCELLED || refusal->grpc_status == GRPC_UNAVAILABLE)) ||
           strcmp(refusal->reason, bw_code_row(BW_SHUTTING_DOWN)->name) == 0;
}
