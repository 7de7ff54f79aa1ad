/* A server that misbehaves in one way, on a thread: what no gRPC server can be asked to do. */
#ifndef BW_TESTS_RUDE_SERVER_H
#define BW_TESTS_RUDE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum rudeness {
    RUDE_HANGS_UP,        /* closes each connection at once, with a reset */
    RUDE_NO_TLS,          /* speaks garbage instead of TLS */
    RUDE_OLD_TLS,         /* TLS 1.2 at most */
    RUDE_NO_HTTP2,        /* TLS, then garbage */
    RUDE_OTHER_PROTOCOL,  /* TLS, and no h2 in ALPN */
    RUDE_LEAVES,          /* TLS and SETTINGS, then a reset when the first request comes */
    RUDE_SILENT,          /* TLS and SETTINGS, then never reads again */
    RUDE_DEAF,            /* TLS and SETTINGS, then reads and never answers */
    RUDE_COMPRESSES,      /* answers with a compressed message */
    RUDE_ENDLESS,         /* answers with a message that is said to have 4 GiB */
    RUDE_NO_ANSWER        /* ends the stream with neither message nor status */
};

struct rude_server {
    enum rudeness  rudeness;
    const char    *ca_file, *certificate_file, *key_file;
    int            port;
    int            listener;
    pthread_t      thread;
    atomic_bool    ending;
    atomic_uint    connections;  /* accepted */
    atomic_uint    resumed;      /* handshakes that took up an earlier session */
    atomic_uint    bytes;        /* received inside TLS */
    atomic_uint    cancelled;    /* RST_STREAM frames for stream 1 that said CANCEL; counted by RUDE_DEAF */
};

void rude_server_start(struct rude_server *server);
void rude_server_stop(struct rude_server *server);

#endif
