/* grpc.health.v1: whether this node serves. One answer for all of its services: they need the same things. */
#include "bailiwick/bytes.h"
#include "grpc/health/v1/health.pb-c.h"
#include "transport.h"
#include "wire.h"

typedef Grpc__Health__V1__HealthCheckRequest  Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;

enum { REQUEST_ROOM = 4096 }; /* bytes of arena: a service's name */

static bool is_ours(const char *service)
{
    const struct bw_method *method;

    if (*service == '\0')
        return true; /* the node as a whole */
    for (size_t i = 0; (method = bw_method_at(i)) != NULL; i++)
        if (bw_bytes_equal(bw_bytes_text(method->service), bw_bytes_text(service)))
            return true;
    return false;
}

static void answer(struct bw_stream *stream, Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status;
    bw_stream_send(stream, &response.base);
}

static void answer_serving(struct bw_stream *stream)
{
    answer(stream, stream->listener->serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                                             : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
}

/* false: it was no request, and the stream is at its end. */
static bool read_request(struct bw_stream *stream, bw_bytes bytes, bool *ret_ours)
{
    struct bw_arena arena = { .ceiling = REQUEST_ROOM };
    ProtobufCMessage *message;
    bool read = bw_ok(bw_wire_unpack(&grpc__health__v1__health_check_request__descriptor, bytes, &arena, &message));

    if (read)
        *ret_ours = is_ours(((const Request *)message)->service);
    else
        bw_stream_finish(stream, GRPC_STATUS_INVALID_ARGUMENT, "not a HealthCheckRequest");
    bw_arena_clear(&arena);
    return read;
}

static void check(struct bw_stream *stream, bw_bytes bytes)
{
    bool ours;

    if (!read_request(stream, bytes, &ours))
        return;
    if (ours)
        answer_serving(stream);
    bw_stream_finish(stream, ours ? GRPC_STATUS_OK : GRPC_STATUS_NOT_FOUND, ours ? NULL : "no such service");
}

static void watch(struct bw_stream *stream, bw_bytes bytes)
{
    bool ours;

    if (!read_request(stream, bytes, &ours))
        return;
    stream->watching = true;
    if (ours)
        answer_serving(stream);
    else
        answer(stream, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
    stream->told_serving = ours; /* who asked for a service that we have not hears nothing more */
}

static void ended_early(struct bw_stream *stream)
{
    bw_stream_finish(stream, GRPC_STATUS_INVALID_ARGUMENT, "no HealthCheckRequest came");
}

void bw_health_tell(struct bw_listener *listener)
{
    for (struct bw_stream *stream = listener->streams; stream != NULL; stream = stream->next)
        if (stream->told_serving)
            answer_serving(stream);
}

const struct bw_stream_kind bw_health_check = { "/grpc.health.v1.Health/Check", check, ended_early };
const struct bw_stream_kind bw_health_watch = { "/grpc.health.v1.Health/Watch", watch, ended_early };
