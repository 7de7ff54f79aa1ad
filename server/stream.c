#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>
#include <string.h>

#include "transport.h"
#include "wire.h"

enum { STREAMS_MAX = 256 };

const struct bw_stream_kind *bw_stream_kind_of(bw_bytes path)
{
    static const struct bw_stream_kind *const kinds[] = { &bw_health_check, &bw_health_watch, &bw_reflection };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (bw_bytes_equal(path, bw_bytes_text(kinds[i]->path)))
            return kinds[i];
    return NULL;
}

static void start(struct bw_stream *stream, const grpc_op *op, struct bw_tag *tag)
{
    grpc_op ops[2];
    size_t  count = 0;

    if (!stream->greeted && op->op != GRPC_OP_RECV_CLOSE_ON_SERVER && op->op != GRPC_OP_RECV_MESSAGE) {
        ops[count++] = (grpc_op){ .op = GRPC_OP_SEND_INITIAL_METADATA };
        stream->greeted = true;
    }
    ops[count++] = *op;
    stream->pending++;
    grpc_call_error error = grpc_call_start_batch(stream->call, ops, count, tag, NULL);
    assert(error == GRPC_CALL_OK);
}

/* The last operation that comes back takes the stream with it. */
static void operation_over(struct bw_stream *stream)
{
    if (--stream->pending > 0)
        return;
    for (size_t i = 0; i < stream->outgoing_count; i++)
        grpc_byte_buffer_destroy(stream->outgoing[i]);
    *stream->link = stream->next;
    if (stream->next != NULL)
        stream->next->link = stream->link;
    stream->listener->stream_count--;
    grpc_call_unref(stream->call);
    free(stream);
}

/* ---- out ---- */

static void send_first(struct bw_stream *stream)
{
    grpc_op op = { .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = stream->outgoing[0] };
    start(stream, &op, &stream->sent);
}

static void send_status(struct bw_stream *stream)
{
    grpc_slice text = grpc_slice_from_static_string(stream->text ? stream->text : "");
    grpc_op op = { .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                   .data.send_status_from_server = { .status = stream->status, .status_details = &text } };
    start(stream, &op, &stream->finished);
}

/* Reading goes on once all is sent, so a peer that does not read cannot make us keep more. */
static void receive(struct bw_stream *stream)
{
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->incoming };
    start(stream, &op, &stream->received);
}

void bw_stream_finish(struct bw_stream *stream, grpc_status_code status, const char *text)
{
    if (stream->finishing)
        return;
    stream->finishing = true;
    stream->status    = status;
    stream->text      = text;
    if (stream->outgoing_count == 0)
        send_status(stream);
}

void bw_stream_send(struct bw_stream *stream, const ProtobufCMessage *message)
{
    struct bw_arena arena = { 0 };
    bw_bytes bytes;

    if (stream->finishing)
        return;
    if (stream->outgoing_count == ARRAY_LEN(stream->outgoing) || !bw_ok(bw_wire_pack(message, &arena, &bytes))) {
        bw_stream_finish(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "the other side does not read");
        return;
    }
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.len);
    stream->outgoing[stream->outgoing_count++] = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    bw_arena_clear(&arena);
    if (stream->outgoing_count == 1)
        send_first(stream);
}

static void on_sent(struct bw_tag *tag, bool ok)
{
    struct bw_stream *stream = BW_TAG_OWNER(tag, struct bw_stream, sent);

    grpc_byte_buffer_destroy(stream->outgoing[0]);
    memmove(&stream->outgoing[0], &stream->outgoing[1], --stream->outgoing_count * sizeof stream->outgoing[0]);
    if (ok && stream->outgoing_count > 0)
        send_first(stream);
    else if (ok && stream->finishing)
        send_status(stream);
    else if (ok && !stream->ended && !stream->watching)
        receive(stream);
    operation_over(stream);
}

static void on_finished(struct bw_tag *tag, bool ok)
{
    (void)ok;
    operation_over(BW_TAG_OWNER(tag, struct bw_stream, finished));
}

/* ---- in ---- */

static void hand_over(struct bw_stream *stream)
{
    grpc_byte_buffer_reader reader;

    if (!grpc_byte_buffer_reader_init(&reader, stream->incoming)) {
        bw_stream_finish(stream, GRPC_STATUS_INVALID_ARGUMENT, "compressed messages are not read");
        return;
    }
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    stream->kind->message(stream, bw_bytes_of(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)));
    grpc_slice_unref(slice);
}

static void on_received(struct bw_tag *tag, bool ok)
{
    struct bw_stream *stream = BW_TAG_OWNER(tag, struct bw_stream, received);

    stream->ended = !ok || stream->incoming == NULL;
    if (stream->ended && !stream->finishing)
        stream->kind->ended(stream);
    else if (!stream->ended && !stream->finishing)
        hand_over(stream);
    if (stream->incoming != NULL)
        grpc_byte_buffer_destroy(stream->incoming);
    stream->incoming = NULL;
    operation_over(stream);
}

static void on_closed(struct bw_tag *tag, bool ok)
{
    struct bw_stream *stream = BW_TAG_OWNER(tag, struct bw_stream, closed);

    (void)ok;
    stream->finishing = stream->finishing || stream->cancelled; /* nobody is left to tell */
    operation_over(stream);
}

/* ---- beginning and end ---- */

void bw_stream_accept(struct bw_listener *listener, grpc_call *call, const struct bw_stream_kind *kind)
{
    struct bw_stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL || listener->stream_count >= STREAMS_MAX) {
        grpc_call_cancel_with_status(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many streams", NULL);
        grpc_call_unref(call);
        free(stream);
        return;
    }
    *stream = (struct bw_stream){ .received.run = on_received, .sent.run = on_sent, .finished.run = on_finished, .closed.run = on_closed,
                                  .listener = listener, .kind = kind, .call = call, .next = listener->streams, .link = &listener->streams };
    if (stream->next != NULL)
        stream->next->link = &stream->next;
    listener->streams = stream;
    listener->stream_count++;

    grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &stream->cancelled };
    start(stream, &op, &stream->closed);
    receive(stream);
}

void bw_stream_finish_all(struct bw_listener *listener)
{
    for (struct bw_stream *stream = listener->streams; stream != NULL; stream = stream->next)
        bw_stream_finish(stream, GRPC_STATUS_UNAVAILABLE, "this node is shutting down");
}
