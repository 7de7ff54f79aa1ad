/* One gRPC call on an HTTP/2 stream: the request's bytes going out, the reply's coming in, and how it ended.
 * Pure: it moves no bytes itself. (gRPC over HTTP/2, PROTOCOL-HTTP2.md of the gRPC project.) */
#ifndef BW_PROTO_STREAM_H
#define BW_PROTO_STREAM_H

#include <pthread.h>

#include "client.h"

enum { BW_FRAME_PREFIX = 5 }; /* compressed flag, length as 4 bytes */

enum bw_fate {
    BW_FATE_OPEN,
    BW_FATE_ANSWERED,  /* by the service: a reply or a refusal */
    BW_FATE_UNSEEN,    /* surely not seen by the service, so it may be sent again */
    BW_FATE_LOST,      /* nobody knows whether the service acted on it */
    BW_FATE_FAILED     /* it makes no sense to send it again */
};

/* A whole message of a stream of them; freed with free. */
struct bw_part { struct bw_part *next; size_t len; uint8_t bytes[]; };

/* On the caller's stack for one attempt; the connection points to it while that lasts. */
struct bw_stream {
    struct bw_stream *next, *previous; /* the connection's */
    int32_t          id;
    pthread_cond_t  *wake;             /* the owner's */

    bw_bytes         request;          /* borrowed */
    size_t           sent;             /* of prefix and request */
    bool             headers_sent;

    struct bw_arena *arena;            /* the owner's, who waits and does not touch it */
    uint8_t          prefix[BW_FRAME_PREFIX];
    size_t           prefix_len;
    uint8_t         *reply;            /* NULL before the prefix is complete */
    size_t           reply_len, reply_got;
    bool             many;             /* set after begin: the reply is a stream of messages */
    struct bw_part  *parts, *coming;   /* that the owner has not taken, the first first; the one that is not whole */

    bool             http_ok, type_ok; /* :status 200, content-type application/grpc */
    bool             encoded;          /* grpc-encoding other than identity */
    int              grpc_status;      /* -1: none seen */
    bw_bytes         message, details; /* grpc-message and grpc-status-details-bin as they came; in the arena */

    enum bw_fate     fate;
    bw_result        result;           /* with BW_FATE_LOST and BW_FATE_FAILED */
};

void bw_stream_begin(struct bw_stream *stream, bw_bytes request, struct bw_arena *arena, pthread_cond_t *wake);

/* Of prefix and request: how much is still to go, and the next len bytes of it. */
size_t bw_stream_unsent(const struct bw_stream *stream);
void   bw_stream_take(struct bw_stream *stream, uint8_t *to, size_t len);

/* What arrived. Data fails when the stream should be reset; its fate is set then. */
void      bw_stream_header(struct bw_stream *stream, bw_bytes name, bw_bytes value);
bw_result bw_stream_data(struct bw_stream *stream, bw_bytes data);

/* The next message of many, or NULL: none came yet. The caller's to free. */
struct bw_part *bw_stream_take_part(struct bw_stream *stream);
void            bw_stream_drop_parts(struct bw_stream *stream);

/* The stream ended with this HTTP/2 error code (RFC 9113 7). */
void bw_stream_close(struct bw_stream *stream, uint32_t error_code);

/* It ended otherwise. Once it has a fate, it keeps it. */
void bw_stream_end(struct bw_stream *stream, enum bw_fate fate, bw_result result);

/* Of an answered stream: the reply, or the refusal and the result that stands for it. */
bw_result bw_stream_answer(const struct bw_stream *stream, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

/* A refusal that came from the gRPC library of a node that stops or is overrun, not from the service. */
bool bw_stream_answer_is_transport(const struct bw_refusal *refusal);

#endif
