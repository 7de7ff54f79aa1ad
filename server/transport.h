/* What the files share that know gRPC: listen.c, unary.c, stream.c, credentials.c, health.c, reflection.c. Everything here
 * happens on the listener's thread, except where it says otherwise. */
#ifndef BW_SERVER_TRANSPORT_H
#define BW_SERVER_TRANSPORT_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stddef.h>

#include "job.h"

/* What the completion queue hands back: what to do when the operation is over. */
struct bw_tag { void (*run)(struct bw_tag *tag, bool ok); };

#define BW_TAG_OWNER(tag, type, member) ((type *)(void *)((char *)(tag) - offsetof(type, member)))

struct bw_stream;

struct bw_listener {
    struct bw_daemon      *daemon;
    grpc_completion_queue *queue;
    grpc_server           *server;
    pthread_t              thread;
    bool                   has_thread, is_open;
    void                  *methods[128];      /* registered, by method number */
    uint64_t               trust_seen;        /* bw_trust_read's */
    pthread_mutex_t        lock;              /* over the next five */
    pthread_cond_t         changed;
    bool                   started;           /* the thread may take events */
    bool                   takes_no_more;     /* calls: the server was told to shut down, and none is on its way here */
    bool                   server_is_down;
    size_t                 in_flight;         /* calls whose memory is in use */
    atomic_bool            wants_serving, wants_closing; /* by other threads */
    bool                   serving, is_closing;          /* what became of it */
    size_t                 unflushed;         /* jobs that ended since the last commit */
    struct bw_stream      *streams;
    size_t                 stream_count;
};

/* ---- credentials.c ---- */
grpc_server_credentials *bw_credentials_new(struct bw_listener *listener);

/* ---- unary.c: calls of our own methods ---- */
void bw_unary_accept(struct bw_listener *listener, const struct bw_method *method); /* posts a request; NULL: any unknown method */

/* ---- stream.c: calls of the two gRPC services that every stock tool expects; both speak in messages, out and in ---- */
struct bw_stream_kind {
    const char *path;
    void (*message)(struct bw_stream *stream, bw_bytes bytes);  /* one came */
    void (*ended)(struct bw_stream *stream);                    /* no more will come */
};
/* NULL: no such path. */
const struct bw_stream_kind *bw_stream_kind_of(bw_bytes path);

struct bw_stream {
    struct bw_tag       received, sent, finished, closed;
    struct bw_listener *listener;
    const struct bw_stream_kind *kind;
    grpc_call          *call;
    struct bw_stream   *next, **link;         /* all streams of the listener */
    grpc_byte_buffer   *incoming;
    grpc_byte_buffer   *outgoing[16];         /* the first is on its way */
    size_t              outgoing_count;
    unsigned            pending;              /* operations that the queue has not given back */
    bool                greeted;              /* initial metadata are sent */
    bool                ended;                /* the other side says no more */
    bool                finishing;
    grpc_status_code    status;
    const char         *text;                 /* literal, or NULL */
    int                 cancelled;
    bool                watching;             /* says no more than it did; hears what we say */
    bool                told_serving;         /* health: hears of changes */
};

void bw_stream_accept(struct bw_listener *listener, grpc_call *call, const struct bw_stream_kind *kind); /* owns the call now */
void bw_stream_send(struct bw_stream *stream, const ProtobufCMessage *message);
void bw_stream_finish(struct bw_stream *stream, grpc_status_code status, const char *text); /* after what is being sent */
void bw_stream_finish_all(struct bw_listener *listener);

/* ---- health.c, reflection.c ---- */
extern const struct bw_stream_kind bw_health_check, bw_health_watch, bw_reflection;
void bw_health_tell(struct bw_listener *listener); /* listener->serving has changed */

#endif
