/* One call of one of our methods: from the completion queue to bw_serve, and its reply back. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "daemon.h"
#include "log.h"
#include "serve.h"
#include "transport.h"

/* Unpacked requests, results and their packed form, and the jobs of a full Batch: each at most a message or two. */
enum { ARENA_MAX = 8 * BW_MESSAGE_MAX };

/* A request that is posted and waits for its call. */
struct acceptor {
    struct bw_tag           tag;
    struct bw_listener     *listener;
    const struct bw_method *method;      /* NULL: any unknown */
    grpc_call              *call;
    gpr_timespec            deadline;
    grpc_metadata_array     metadata;
    grpc_byte_buffer       *payload;
    grpc_call_details       details;     /* of unknown methods */
};

/* The reply's bytes stand in the call's arena until the C core has let go of them. */
struct unary {
    struct bw_call      call;
    struct bw_tag       closed, sent, part;
    struct bw_listener *listener;
    grpc_call          *grpc;
    unsigned            pending;         /* of closed and sent; the listener's thread alone */
    atomic_uint         references;      /* pending operations, the reply's slice, who sends it */
    int                 cancelled;
    bool                greeted;         /* initial metadata are sent */
    grpc_auth_context  *peer;
    grpc_slice          message;
};

/* ---- the end ---- */

/* The C core calls it from threads of its own: what they may read is ordered by the count alone. */
static void release(void *self)
{
    struct unary *unary = self;

    if (atomic_fetch_sub_explicit(&unary->references, 1, memory_order_acq_rel) != 1)
        return;
    struct bw_listener *listener = unary->listener;
    for (size_t i = 0; i < unary->call.job_count; i++)
        bw_arena_clear(&unary->call.jobs[i].own_arena);
    bw_arena_clear(&unary->call.arena);
    grpc_slice_unref(unary->message);
    grpc_auth_context_release(unary->peer);
    free(unary);
    (void)pthread_mutex_lock(&listener->lock);
    if (--listener->in_flight == 0)
        (void)pthread_cond_broadcast(&listener->changed);
    (void)pthread_mutex_unlock(&listener->lock);
}

static void operation_over(struct unary *unary)
{
    if (--unary->pending == 0)
        grpc_call_unref(unary->grpc);
    release(unary);
}

static void on_sent(struct bw_tag *tag, bool ok)
{
    (void)ok; /* false: the caller is gone, and so is its reply */
    operation_over(BW_TAG_OWNER(tag, struct unary, sent));
}

static void on_closed(struct bw_tag *tag, bool ok)
{
    struct unary *unary = BW_TAG_OWNER(tag, struct unary, closed);

    (void)ok;
    if (unary->cancelled)
        atomic_store_explicit(&unary->call.abandoned, true, memory_order_relaxed);
    operation_over(unary);
}

static grpc_byte_buffer *reply_buffer(struct unary *unary, bw_bytes reply)
{
    grpc_slice slice = grpc_empty_slice();

    if (reply.len > 0) {
        atomic_fetch_add_explicit(&unary->references, 1, memory_order_release);
        slice = grpc_slice_new_with_user_data((void *)(uintptr_t)reply.data, reply.len, release, unary);
    }
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* bw_call.send: any thread. */
static void send_reply(struct bw_call *call, bw_result result, bw_bytes details, bw_bytes reply)
{
    struct unary *unary = (struct unary *)call;
    const struct bw_code_row *row = bw_code_row(result.code);
    grpc_byte_buffer *message = bw_ok(result) ? reply_buffer(unary, reply) : NULL;
    grpc_metadata trailing = { .key   = grpc_slice_from_static_string("grpc-status-details-bin"),
                               .value = grpc_slice_from_copied_buffer((const char *)details.data, details.len) };
    grpc_slice text = grpc_slice_from_static_string(bw_ok(result) ? "" : row->told);
    grpc_op ops[3] = { { .op = GRPC_OP_SEND_INITIAL_METADATA } };
    size_t  count  = unary->greeted ? 0 : 1;

    if (message != NULL)
        ops[count++] = (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message };
    ops[count++] = (grpc_op){ .op = GRPC_OP_SEND_STATUS_FROM_SERVER, .data.send_status_from_server = {
        .trailing_metadata_count = details.len > 0, .trailing_metadata = &trailing,
        .status = (grpc_status_code)row->grpc, .status_details = &text } };

    /* the call may end on the listener's thread before this returns: what was written here is ordered before that by the count */
    atomic_fetch_add_explicit(&unary->references, 1, memory_order_release);
    grpc_call_error error = grpc_call_start_batch(unary->grpc, ops, count, &unary->sent, NULL);
    assert(error == GRPC_CALL_OK);
    grpc_slice_unref(trailing.value);
    if (message != NULL)
        grpc_byte_buffer_destroy(message);
    release(unary);
}

/* ---- a stream's messages ---- */

static void on_part(struct bw_tag *tag, bool ok)
{
    struct unary *unary = BW_TAG_OWNER(tag, struct unary, part);

    unary->call.part_sent(&unary->call, ok);
    release(unary);
}

/* bw_call.send_part: any thread. */
static void send_part(struct bw_call *call, bw_bytes bytes)
{
    struct unary     *unary   = (struct unary *)call;
    grpc_slice        slice   = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.len);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op ops[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA } };
    size_t  count  = unary->greeted ? 0 : 1;

    grpc_slice_unref(slice);
    ops[count++] = (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message };
    unary->greeted = true;
    atomic_fetch_add_explicit(&unary->references, 1, memory_order_release);
    grpc_call_error error = grpc_call_start_batch(unary->grpc, ops, count, &unary->part, NULL);
    assert(error == GRPC_CALL_OK);
    grpc_byte_buffer_destroy(message);
}

/* bw_call.cut: any thread. */
static void cut(struct bw_call *call, bw_result result)
{
    const struct bw_code_row *row = bw_code_row(result.code);
    (void)grpc_call_cancel_with_status(((struct unary *)call)->grpc, (grpc_status_code)row->grpc, row->told, NULL);
}

/* ---- the beginning ---- */

/* A request in one piece is read where it lies. */
static bool read_message(struct unary *unary, grpc_byte_buffer *payload)
{
    grpc_byte_buffer_reader reader;

    unary->message = grpc_empty_slice();
    if (payload == NULL)
        return true; /* the caller went away; the stages find no request */
    if (!grpc_byte_buffer_reader_init(&reader, payload))
        return false;
    unary->message = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    unary->call.message = bw_bytes_of(GRPC_SLICE_START_PTR(unary->message), GRPC_SLICE_LENGTH(unary->message));
    return true;
}

/* The only value of a property; empty when there is none or more than one. */
static bw_bytes property(const grpc_auth_context *context, const char *name)
{
    grpc_auth_property_iterator at = grpc_auth_context_find_properties_by_name(context, name);
    const grpc_auth_property *first = grpc_auth_property_iterator_next(&at);

    if (first == NULL || grpc_auth_property_iterator_next(&at) != NULL)
        return (bw_bytes){ 0 };
    return bw_bytes_of(first->value, first->value_length);
}

/* "ipv4:192.0.2.1:1234", "ipv6:%5B2001:db8::1%5D:1234" */
static void copy_address(const char *from, char *to, size_t room)
{
    size_t used = 0;

    from += strncmp(from, "ipv4:", 5) == 0 || strncmp(from, "ipv6:", 5) == 0 ? 5 : 0;
    while (*from != '\0' && used + 1 < room) {
        bool open = strncmp(from, "%5B", 3) == 0, close = strncmp(from, "%5D", 3) == 0;
        to[used++] = open ? '[' : close ? ']' : *from;
        from += open || close ? 3 : 1;
    }
    to[used] = '\0';
}

static void read_peer(struct unary *unary)
{
    struct bw_peer *peer = &unary->call.peer;
    char *address = grpc_call_get_peer(unary->grpc);

    unary->peer = grpc_call_auth_context(unary->grpc);
    if (grpc_auth_context_peer_is_authenticated(unary->peer)) {
        peer->spiffe_id   = property(unary->peer, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
        peer->certificate = property(unary->peer, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    }
    copy_address(address, peer->address, sizeof peer->address);
    gpr_free(address);
}

static int64_t deadline_us(gpr_timespec deadline)
{
    deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0)
        return INT64_MAX;
    return deadline.tv_sec * 1000000 + deadline.tv_nsec / 1000;
}

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void watch_close(struct unary *unary)
{
    grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &unary->cancelled };
    grpc_call_error error = grpc_call_start_batch(unary->grpc, &op, 1, &unary->closed, NULL);
    assert(error == GRPC_CALL_OK);
}

static bool has_room(struct bw_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    bool room = ++listener->in_flight <= listener->daemon->config->in_flight;
    (void)pthread_mutex_unlock(&listener->lock);
    return room;
}

/* Not on record: whoever floods would have the log written for it. The operators' log tells. */
static void refuse(struct unary *unary, bw_result why)
{
    bw_log(unary->listener->daemon->log, BW_LOG_INFO, "refused", { "code", bw_code_row(why.code)->name }, { "peer", unary->call.peer.address });
    send_reply(&unary->call, why, (bw_bytes){ 0 }, (bw_bytes){ 0 });
}

static void begin(struct acceptor *acceptor)
{
    struct bw_listener *listener = acceptor->listener;
    struct unary *unary = calloc(1, sizeof *unary);

    if (unary == NULL) {
        grpc_call_cancel_with_status(acceptor->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory", NULL);
        grpc_call_unref(acceptor->call);
        return;
    }
    unary->listener           = listener;
    unary->grpc               = acceptor->call;
    unary->closed.run         = on_closed;
    unary->sent.run           = on_sent;
    unary->part.run           = on_part;
    unary->pending            = 2;
    unary->references         = 2;
    unary->call.arena.ceiling = ARENA_MAX;
    unary->call.method        = acceptor->method;
    unary->call.started_us    = now_us();
    unary->call.deadline_us   = deadline_us(acceptor->method ? acceptor->deadline : acceptor->details.deadline);
    unary->call.send          = send_reply;
    unary->call.send_part     = send_part;
    unary->call.cut           = cut;
    bool room     = has_room(listener);
    bool readable = read_message(unary, acceptor->payload);
    read_peer(unary);
    watch_close(unary);
    if (!room)
        refuse(unary, bw_fail(BW_OVERLOADED, "too many calls in flight"));
    else if (!readable)
        refuse(unary, bw_fail(BW_BAD_ARGUMENT, "compressed requests are not read"));
    else
        listener->unflushed += bw_serve(listener->daemon, &unary->call);
}

static void free_acceptor(struct acceptor *acceptor)
{
    grpc_metadata_array_destroy(&acceptor->metadata);
    if (acceptor->method == NULL)
        grpc_call_details_destroy(&acceptor->details);
    if (acceptor->payload != NULL)
        grpc_byte_buffer_destroy(acceptor->payload);
    free(acceptor);
}

static const struct bw_stream_kind *stream_kind(const struct acceptor *acceptor)
{
    const grpc_slice *path = &acceptor->details.method;
    return acceptor->method ? NULL : bw_stream_kind_of(bw_bytes_of(GRPC_SLICE_START_PTR(*path), GRPC_SLICE_LENGTH(*path)));
}

static void on_call(struct bw_tag *tag, bool ok)
{
    struct acceptor *acceptor = BW_TAG_OWNER(tag, struct acceptor, tag);

    if (ok) { /* else the server is shutting down, and no more is to come */
        const struct bw_stream_kind *kind = stream_kind(acceptor);
        bw_unary_accept(acceptor->listener, acceptor->method);
        if (kind != NULL)
            bw_stream_accept(acceptor->listener, acceptor->call, kind);
        else
            begin(acceptor);
    }
    free_acceptor(acceptor);
}

void bw_unary_accept(struct bw_listener *listener, const struct bw_method *method)
{
    struct acceptor *acceptor = calloc(1, sizeof *acceptor);
    grpc_call_error error;

    if (acceptor == NULL)
        abort(); /* a listener that does not listen is worse than a restart */
    acceptor->tag.run  = on_call;
    acceptor->listener = listener;
    acceptor->method   = method;
    grpc_metadata_array_init(&acceptor->metadata);
    if (method != NULL) {
        error = grpc_server_request_registered_call(listener->server, listener->methods[method->number], &acceptor->call, &acceptor->deadline,
                                                    &acceptor->metadata, &acceptor->payload, listener->queue, listener->queue, &acceptor->tag);
    } else {
        grpc_call_details_init(&acceptor->details);
        error = grpc_server_request_call(listener->server, &acceptor->call, &acceptor->details, &acceptor->metadata, listener->queue,
                                         listener->queue, &acceptor->tag);
    }
    assert(error == GRPC_CALL_OK);
}
