#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    QUIET_LEAST_MS    = 120,                         /* the way around the world and back, which is not yet silence */
    SPIN_US           = 400,                         /* what a region in the same building needs for an answer, and some more */
    STREAM_WINDOW     = BW_MESSAGE_MAX + 64 * 1024,  /* a whole reply without waiting for us */
    CONNECTION_WINDOW = 16 * 1024 * 1024,            /* all callers together; replies are taken as they come */
    HEADERS_MAX       = 16 * 1024,                   /* bytes of a header list, advisory */
    CONTROL_ROOM      = 2 * 1024,                    /* bytes of out that DATA leaves for other frames */
    FRAME_HEADER      = 9,                           /* RFC 9113 4.1 */
    DATA_MAX          = 16 * 1024 - FRAME_HEADER     /* a frame of it fills one TLS record */
};

/* ---- streams ---- */

static void link_stream(struct bw_connection *connection, struct bw_stream *stream)
{
    stream->previous = NULL;
    stream->next     = connection->streams;
    if (stream->next != NULL)
        stream->next->previous = stream;
    connection->streams = stream;
}

static void unlink_stream(struct bw_connection *connection, struct bw_stream *stream)
{
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        connection->streams = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    stream->next = stream->previous = NULL;
}

/* Before its server's SETTINGS a connection carries no request; after, only one whose HEADERS stayed here is surely unseen. */
static bw_result close_with(struct bw_connection *connection, bw_result why)
{
    if (connection->stage == BW_STAGE_CLOSED)
        return connection->broken;
    connection->hung_up = connection->stage == BW_STAGE_HTTP2 && why.code == BW_UNREACHABLE;
    connection->stage   = BW_STAGE_CLOSED;
    connection->broken  = why;
    for (struct bw_stream *stream = connection->streams; stream != NULL; stream = stream->next) {
        if (!stream->headers_sent)
            bw_stream_end(stream, BW_FATE_UNSEEN, why);
        else
            bw_stream_end(stream, bw_endpoint_refused(why) ? BW_FATE_FAILED : BW_FATE_LOST, why);
    }
    bw_connection_ring(connection);
    return why;
}

/* ---- what nghttp2 asks and tells ---- */

static struct bw_stream *stream_of(nghttp2_session *http2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(http2, id); /* NULL once its owner has withdrawn it */
}

static int on_header(nghttp2_session *http2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
    struct bw_stream *stream = stream_of(http2, frame->hd.stream_id);

    (void)flags;
    (void)data;
    if (stream != NULL)
        bw_stream_header(stream, bw_bytes_of(name, name_len), bw_bytes_of(value, value_len));
    return 0;
}

static int on_data(nghttp2_session *http2, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *data)
{
    struct bw_stream *stream = stream_of(http2, id);

    (void)flags;
    (void)data;
    if (stream != NULL && !bw_ok(bw_stream_data(stream, bw_bytes_of(bytes, len))))
        return nghttp2_submit_rst_stream(http2, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    return 0;
}

static int on_frame(nghttp2_session *http2, const nghttp2_frame *frame, void *data)
{
    struct bw_connection *connection = data;

    (void)http2;
    if (frame->hd.type == NGHTTP2_SETTINGS && connection->stage == BW_STAGE_HTTP2) {
        connection->stage   = BW_STAGE_OPEN;
        connection->used_ms = bw_now_ms();
    }
    return 0;
}

static int on_frame_sent(nghttp2_session *http2, const nghttp2_frame *frame, void *data)
{
    struct bw_connection *connection = data;
    struct bw_stream *stream = stream_of(http2, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_HEADERS && stream != NULL)
        stream->headers_sent = true;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        connection->offended = true;
    return 0;
}

static int on_stream_closed(nghttp2_session *http2, int32_t id, uint32_t error_code, void *data)
{
    struct bw_connection *connection = data;
    struct bw_stream *stream = stream_of(http2, id);

    if (stream != NULL)
        bw_stream_close(stream, error_code);
    connection->used_ms = bw_now_ms();
    return 0;
}

static ssize_t offer_request(nghttp2_session *http2, int32_t id, uint8_t *buf, size_t room, uint32_t *flags, nghttp2_data_source *source, void *data)
{
    const struct bw_stream *stream = stream_of(http2, id);

    (void)buf;
    (void)source;
    (void)data;
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t unsent = bw_stream_unsent(stream);
    if (room > DATA_MAX)
        room = DATA_MAX;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY; /* nghttp2 keeps nothing that we could not wipe */
    if (unsent <= room)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)(unsent < room ? unsent : room);
}

/* The frame was promised before its owner may have withdrawn: then zeros take the place of the request, and the
 * RST_STREAM follows. */
static int send_request(nghttp2_session *http2, nghttp2_frame *frame, const uint8_t *header, size_t len, nghttp2_data_source *source, void *data)
{
    struct bw_connection *connection = data;
    struct bw_stream *stream = stream_of(http2, frame->hd.stream_id);

    (void)source;
    if (FRAME_HEADER + len > BW_OUT_ROOM - CONTROL_ROOM - connection->out_len)
        return NGHTTP2_ERR_WOULDBLOCK;
    memcpy(connection->out + connection->out_len, header, FRAME_HEADER);
    connection->out_len += FRAME_HEADER;
    if (stream != NULL)
        bw_stream_take(stream, connection->out + connection->out_len, len);
    else
        memset(connection->out + connection->out_len, 0, len);
    connection->out_len += len;
    return 0;
}

static bw_result start_http2(struct bw_connection *connection)
{
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX },
    };
    nghttp2_session_callbacks *callbacks;

    BW_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0, BW_NO_MEMORY, "HTTP/2 session");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_request);
    int made = nghttp2_session_client_new(&connection->http2, callbacks, connection);
    nghttp2_session_callbacks_del(callbacks);
    BW_CHECK(made == 0, BW_NO_MEMORY, "HTTP/2 session");
    BW_CHECK(nghttp2_submit_settings(connection->http2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) == 0 &&
             nghttp2_session_set_local_window_size(connection->http2, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0,
             BW_NO_MEMORY, "HTTP/2 session");
    return bw_success();
}

/* ---- bytes out and in ---- */

/* Takes frames from nghttp2 until it has no more or out is full. */
static bw_result fill(struct bw_connection *connection)
{
    const uint8_t *frame;
    ssize_t len;

    while (BW_OUT_ROOM - connection->out_len >= CONTROL_ROOM && (len = nghttp2_session_mem_send(connection->http2, &frame)) != 0) {
        BW_CHECK(len > 0, BW_PROTOCOL_BROKEN, "HTTP/2 to the server");
        BW_CHECK((size_t)len <= BW_OUT_ROOM - connection->out_len, BW_INTERNAL, "an HTTP/2 control frame larger than any we make");
        memcpy(connection->out + connection->out_len, frame, (size_t)len);
        connection->out_len += (size_t)len;
    }
    return bw_success();
}

static bw_result send_out(struct bw_connection *connection)
{
    connection->blocked = false;
    while (connection->out_sent < connection->out_len && !connection->blocked) {
        bw_bytes rest = bw_bytes_of(connection->out + connection->out_sent, connection->out_len - connection->out_sent);
        enum bw_wait wait;
        size_t len;

        BW_TRY(bw_channel_write(connection->channel, rest, &len, &wait));
        connection->blocked   = wait != BW_WAIT_NOTHING;
        connection->out_sent += len;
        connection->counters->bytes_sent += len;
    }
    if (!connection->blocked) {
        bw_wipe(connection->out, connection->out_len);
        connection->out_len = connection->out_sent = 0;
    }
    return bw_success();
}

static bw_result flush(struct bw_connection *connection)
{
    for (;;) {
        BW_TRY(fill(connection));
        if (connection->out_len == 0)
            return bw_success();
        BW_TRY(send_out(connection));
        if (connection->blocked)
            return bw_success();
    }
}

static bw_result feed(struct bw_connection *connection, size_t len)
{
    ssize_t taken = nghttp2_session_mem_recv(connection->http2, connection->in, len);

    bw_wipe(connection->in, len);
    connection->counters->bytes_received += len;
    connection->heard_ms = bw_now_ms();
    connection->asked_ms = 0;
    BW_CHECK(taken == (ssize_t)len, BW_PROTOCOL_BROKEN, "the server does not speak HTTP/2");
    return bw_success();
}

static bw_result receive(struct bw_connection *connection)
{
    for (;;) {
        enum bw_wait wait;
        size_t len;

        BW_TRY(bw_channel_read(connection->channel, connection->in, sizeof connection->in, &len, &wait));
        if (wait != BW_WAIT_NOTHING)
            return bw_success();
        BW_TRY(feed(connection, len));
    }
}

/* ---- silence ---- */

/* A quarter of a call's time to notice, a quarter to be sure, and half of it to be answered by somebody else. */
static unsigned quiet_ms(unsigned deadline_ms)
{
    unsigned least = deadline_ms / 2 < QUIET_LEAST_MS ? deadline_ms / 2 + 1 : QUIET_LEAST_MS; /* of a short call the deadline tells */

    return deadline_ms / 4 > least ? deadline_ms / 4 : least;
}

int64_t bw_connection_due_ms(const struct bw_connection *connection)
{
    if (connection->stage != BW_STAGE_OPEN || connection->streams == NULL)
        return INT64_MAX;
    if (connection->asked_ms != 0)
        return connection->asked_ms + connection->quiet_ms;
    return (connection->heard_ms > connection->busy_ms ? connection->heard_ms : connection->busy_ms) + connection->quiet_ms;
}

/* An operation may take its time; the node that is at it answers a PING all the same (RFC 9113 6.7). */
static bw_result heed_silence(struct bw_connection *connection)
{
    if (bw_now_ms() < bw_connection_due_ms(connection))
        return bw_success();
    BW_CHECK(connection->asked_ms == 0, BW_UNREACHABLE, "the server fell silent in mid-call");
    BW_CHECK(nghttp2_submit_ping(connection->http2, NGHTTP2_FLAG_NONE, NULL) == 0, BW_NO_MEMORY, "HTTP/2 PING");
    connection->asked_ms = bw_now_ms();
    return bw_success();
}

/* ---- stages ---- */

static bw_result step_tcp(struct bw_connection *connection)
{
    struct pollfd ready = { .fd = connection->socket, .events = POLLOUT };
    int error = 0;
    socklen_t len = sizeof error;

    connection->wait = BW_WAIT_WRITABLE;
    if (poll(&ready, 1, 0) <= 0)
        return bw_success();
    BW_CHECK(getsockopt(connection->socket, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0, BW_UNREACHABLE, "the connection was refused");
    BW_TRY(bw_channel_new(connection->tls, connection->socket, connection->endpoint->host, &connection->channel));
    connection->stage = BW_STAGE_TLS;
    return bw_success();
}

static bw_result step_tls(struct bw_connection *connection)
{
    BW_TRY(bw_channel_handshake(connection->channel, &connection->wait));
    if (connection->wait != BW_WAIT_NOTHING)
        return bw_success();
    BW_TRY(start_http2(connection));
    connection->stage = BW_STAGE_HTTP2;
    return bw_success();
}

/* What arrived first: it may free room in a window, or say goodbye. */
static bw_result step_http2(struct bw_connection *connection)
{
    bw_result received = receive(connection);

    if (bw_ok(received))
        received = heed_silence(connection);
    if (bw_ok(received))
        received = flush(connection);
    else if (connection->http2 != NULL)
        (void)flush(connection); /* tells the server what it did wrong, if it still listens */
    BW_CHECK(!connection->offended, BW_PROTOCOL_BROKEN, "the server does not keep to HTTP/2");
    BW_TRY(received);
    BW_CHECK(nghttp2_session_want_read(connection->http2) || nghttp2_session_want_write(connection->http2), BW_UNREACHABLE, "the server said goodbye");
    return bw_success();
}

static bw_result step(struct bw_connection *connection)
{
    if (connection->stage == BW_STAGE_TCP)
        BW_TRY(step_tcp(connection));
    if (connection->stage == BW_STAGE_TLS)
        BW_TRY(step_tls(connection));
    if (connection->stage == BW_STAGE_HTTP2 || connection->stage == BW_STAGE_OPEN)
        BW_TRY(step_http2(connection));
    return connection->stage == BW_STAGE_CLOSED ? connection->broken : bw_success();
}

bw_result bw_connection_step(struct bw_connection *connection)
{
    bw_result r = step(connection);

    return bw_ok(r) ? r : close_with(connection, r);
}

/* ---- waiting ---- */

short bw_connection_events(const struct bw_connection *connection)
{
    bool handshake = connection->stage == BW_STAGE_TCP || connection->stage == BW_STAGE_TLS;

    if (handshake)
        return connection->wait == BW_WAIT_WRITABLE ? POLLOUT : POLLIN;
    return connection->blocked ? POLLIN | POLLOUT : POLLIN;
}

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* To be woken takes longer than to look for a while. Who else wants the processor gets it. */
static int look(struct pollfd *fds, nfds_t count)
{
    int64_t until_us = now_us() + SPIN_US;
    int ready;

    while ((ready = poll(fds, count, 0)) == 0 && now_us() < until_us)
        (void)sched_yield();
    return ready;
}

bool bw_connection_poll(const struct bw_connection *connection, short events, int64_t until_ms, bool spins)
{
    struct pollfd fds[] = { { .fd = connection->socket, .events = events }, { .fd = connection->bell, .events = POLLIN } };
    int64_t left = until_ms - bw_now_ms();
    uint64_t rings;

    int ready = left > 0 && spins ? look(fds, ARRAY_LEN(fds)) : 0;
    bool in_time = ready != 0;
    if (left > 0 && ready == 0)
        ready = poll(fds, ARRAY_LEN(fds), (int)left);
    if (ready > 0 && (fds[1].revents & POLLIN) != 0)
        (void)!read(connection->bell, &rings, sizeof rings); /* its number does not matter */
    return in_time;
}

void bw_connection_ring(const struct bw_connection *connection)
{
    uint64_t once = 1;

    (void)!write(connection->bell, &once, sizeof once); /* fails only when it rings already */
}

/* ---- callers ---- */

bool bw_connection_takes(const struct bw_connection *connection)
{
    return connection->stage == BW_STAGE_OPEN && nghttp2_session_check_request_allowed(connection->http2) != 0;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static void send_now(struct bw_connection *connection)
{
    bw_result r = flush(connection);

    if (!bw_ok(r))
        (void)close_with(connection, r); /* its streams hear of it */
    else if (connection->blocked)
        bw_connection_ring(connection);  /* the leader must wait for room too */
}

void bw_connection_submit(struct bw_connection *connection, struct bw_stream *stream, const char *path, int64_t timeout_ms)
{
    char timeout[16];

    (void)snprintf(timeout, sizeof timeout, "%dm", timeout_ms > 0 && timeout_ms <= INT32_MAX ? (int)timeout_ms : 1);
    const nghttp2_nv headers[] = {
        header(":method", "POST"), header(":scheme", "https"), header(":path", path), header(":authority", connection->endpoint->authority),
        header("te", "trailers"), header("content-type", "application/grpc"), header("user-agent", "bailiwick/" BW_VERSION),
        header("grpc-timeout", timeout),
    };
    const size_t header_count = timeout_ms == INT64_MAX ? ARRAY_LEN(headers) - 1 : ARRAY_LEN(headers);
    const nghttp2_data_provider request = { .read_callback = offer_request };
    int32_t id = nghttp2_submit_request(connection->http2, NULL, headers, header_count, &request, stream);

    if (id < 0) {
        bw_stream_end(stream, BW_FATE_UNSEEN, bw_fail(BW_NO_MEMORY, "HTTP/2 stream"));
        return;
    }
    if (connection->streams == NULL)
        connection->busy_ms = bw_now_ms();
    stream->id = id;
    link_stream(connection, stream);
    connection->counters->calls++;
    send_now(connection);
}

void bw_connection_withdraw(struct bw_connection *connection, struct bw_stream *stream)
{
    if (stream->id == 0)
        return; /* never was on it */
    unlink_stream(connection, stream);
    (void)nghttp2_session_set_stream_user_data(connection->http2, stream->id, NULL); /* fails when the stream is gone already */
    if (stream->fate == BW_FATE_OPEN && connection->stage == BW_STAGE_OPEN &&
        nghttp2_submit_rst_stream(connection->http2, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL) == 0)
        send_now(connection);
}

/* ---- life ---- */

static struct bw_connection *allocate(void)
{
    struct bw_connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL)
        return NULL;
    connection->refs   = 1;
    connection->socket = -1;
    connection->bell   = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return connection;
}

bw_result bw_connection_new(struct bw_tls *tls, const struct bw_endpoint *endpoint, const struct addrinfo *address, unsigned deadline_ms,
                            struct bw_counters *counters, struct bw_connection **ret_connection)
{
    struct bw_connection *connection = allocate();
    bw_result r = bw_success();

    BW_CHECK(connection != NULL, BW_NO_MEMORY, "connection");
    connection->tls      = tls;
    connection->endpoint = endpoint;
    connection->counters = counters;
    connection->quiet_ms = quiet_ms(deadline_ms);
    connection->used_ms  = connection->heard_ms = bw_now_ms();
    if (connection->bell < 0)
        r = bw_fail(BW_UNREACHABLE, "no eventfd can be opened");
    if (bw_ok(r))
        r = bw_endpoint_connect(address, deadline_ms / 3, &connection->socket); /* a vanished peer is noticed while there is time for another */
    if (bw_ok(r))
        *ret_connection = connection;
    else
        bw_connection_unref(connection);
    return r;
}

void bw_connection_abandon(struct bw_connection *connection)
{
    if (connection->socket >= 0)
        (void)close(connection->socket);
    if (connection->bell >= 0)
        (void)close(connection->bell);
}

void bw_connection_unref(struct bw_connection *connection)
{
    if (connection == NULL || --connection->refs > 0)
        return;
    nghttp2_session_del(connection->http2);
    bw_channel_free(connection->channel);
    bw_connection_abandon(connection);
    bw_wipe(connection->out, sizeof connection->out);
    bw_wipe(connection->in, sizeof connection->in);
    free(connection);
}
