/* One HTTP/2 connection to a node: socket, TLS, nghttp2, and the streams on it.
 *
 * Never blocks and starts nothing by itself: bw_connection_step moves everything on as far as it goes, and
 * bw_connection_poll waits, without any lock, until another step is due. All other functions are called with the
 * client's mutex held. */
#ifndef BW_PROTO_CONNECTION_H
#define BW_PROTO_CONNECTION_H

#include <netdb.h>
#include <nghttp2/nghttp2.h>
#include <stdatomic.h>

#include "endpoint.h"
#include "stream.h"
#include "tls.h"

enum bw_stage {
    BW_STAGE_TCP,    /* connecting */
    BW_STAGE_TLS,    /* in the handshake */
    BW_STAGE_HTTP2,  /* our preface is out; the server's SETTINGS say that it took us */
    BW_STAGE_OPEN,
    BW_STAGE_CLOSED  /* broken, or said goodbye and empty: broken says why */
};

/* Written by whoever holds the mutex, read by bw_client_stats without it. */
struct bw_counters {
    atomic_uint_fast64_t calls, connections, retries, bytes_sent, bytes_received;
};

/* A TLS record holds 16 KiB; out takes several frames so that callers who come together leave in one record. */
enum { BW_IN_ROOM = 16 * 1024, BW_OUT_ROOM = 32 * 1024 };

struct bw_connection {
    struct bw_connection *next;      /* the client's */
    unsigned              refs;      /* the client's while it gives out streams, and one for each caller on it */
    int                   socket;
    int                   bell;      /* an eventfd: rung to end another thread's poll */
    enum bw_stage         stage;
    enum bw_wait          wait;      /* what the handshake waits for */
    bool                  blocked;   /* the socket takes no more for now */
    bool                  offended;  /* we told the server that it breaks the protocol */
    bool                  hung_up;   /* the server went away between the handshake and its SETTINGS */
    bool                  led;       /* a caller is the leader: it polls for all */
    unsigned              slow;      /* polls for which it is not worth looking before sleeping: the region answers too late */
    unsigned              quiet_ms;  /* silent for so long in mid-call, it is asked for a sign of life; for so long again, it is dead */
    int64_t               heard_ms;  /* when bytes came last */
    int64_t               busy_ms;   /* since when there has always been a stream */
    int64_t               asked_ms;  /* when it was asked for a sign of life; 0: it gave one since */
    int64_t               used_ms;   /* when a stream ended last */
    bw_result             broken;
    struct bw_channel    *channel;
    nghttp2_session      *http2;
    struct bw_stream     *streams;
    struct bw_tls        *tls;       /* borrowed from the client */
    const struct bw_endpoint *endpoint; /* likewise */
    struct bw_counters   *counters;  /* likewise */
    size_t                out_len, out_sent;
    uint8_t               out[BW_OUT_ROOM];
    uint8_t               in[BW_IN_ROOM];
};

/* On its way to the address. refs is 1. */
bw_result bw_connection_new(struct bw_tls *tls, const struct bw_endpoint *endpoint, const struct addrinfo *address, unsigned deadline_ms,
                            struct bw_counters *counters, struct bw_connection **ret_connection);
void      bw_connection_unref(struct bw_connection *connection);

/* As far as it goes without waiting. What fails closes the connection and ends its streams. */
bw_result bw_connection_step(struct bw_connection *connection);

/* Without the mutex, by the leader or the connecting thread alone: until a step is due, the bell rings, or the time
 * has come. events is of bw_connection_events, asked with the mutex held. spins: looks for a while before it sleeps; false,
 * and it had to sleep all the same. */
short bw_connection_events(const struct bw_connection *connection);
bool  bw_connection_poll(const struct bw_connection *connection, short events, int64_t until_ms, bool spins);
void  bw_connection_ring(const struct bw_connection *connection);

/* When a step is due though nothing happens: to ask a silent server for a sign of life, or to give it up. INT64_MAX: never. */
int64_t bw_connection_due_ms(const struct bw_connection *connection);

/* Whether it takes new streams: open, and the server has not said goodbye. */
bool bw_connection_takes(const struct bw_connection *connection);

/* Sends the stream's request, or queues it when the server allows no more streams at once. What fails is its fate.
 * timeout_ms is told to the server; INT64_MAX: there is none. */
void bw_connection_submit(struct bw_connection *connection, struct bw_stream *stream, const char *path, int64_t timeout_ms);

/* The owner takes the stream back: resets it when it is not over. */
void bw_connection_withdraw(struct bw_connection *connection, struct bw_stream *stream);

/* In a forked child: closes the descriptors, says nothing on them and frees nothing. */
void bw_connection_abandon(struct bw_connection *connection);

#endif
