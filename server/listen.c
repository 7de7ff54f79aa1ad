#include "listen.h"

#include <assert.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "daemon.h"
#include "followers.h"
#include "log.h"
#include "transport.h"

enum {
    DRAIN_MAX         = 128, /* events between two commits: bounds how long the first of them waits */
    COMMIT_AT         = 16,  /* jobs that are worth a commit of their own, though more may be there */
    POSTED_PER_METHOD = 4,   /* requests posted; each is posted anew before its call is served */
    POSTED_UNKNOWN    = 4,
    SPIN_US           = 100, /* in which a lone caller is back with its next request */
    TICK_MS           = 100  /* how long other threads' wishes wait at most */
};

/* ---- the loop ---- */

static bool run_event(const grpc_event *event)
{
    if (event->type != GRPC_OP_COMPLETE)
        return false;
    struct bw_tag *tag = event->tag;
    tag->run(tag, event->success != 0);
    return true;
}

struct down { struct bw_tag tag; struct bw_listener *listener; };

static void on_down(struct bw_tag *tag, bool ok)
{
    struct down *down = BW_TAG_OWNER(tag, struct down, tag);
    struct bw_listener *listener = down->listener;

    (void)ok;
    (void)pthread_mutex_lock(&listener->lock);
    listener->server_is_down = true;
    (void)pthread_cond_broadcast(&listener->changed);
    (void)pthread_mutex_unlock(&listener->lock);
    free(down);
}

static void shut_down(struct bw_listener *listener)
{
    struct down *down = calloc(1, sizeof *down);

    if (down == NULL)
        abort();
    *down = (struct down){ .tag.run = on_down, .listener = listener };
    listener->is_closing = true;
    bw_stream_finish_all(listener);
    bw_followers_close(listener->daemon->followers);
    grpc_server_shutdown_and_notify(listener->server, listener->queue, &down->tag);
}

/* The C core has no public way to put something into its queue, so what other threads want is looked at between events. */
static void heed_wishes(struct bw_listener *listener)
{
    bool serve = atomic_load_explicit(&listener->wants_serving, memory_order_acquire);

    if (serve != listener->serving) {
        listener->serving = serve;
        bw_health_tell(listener);
    }
    if (atomic_load_explicit(&listener->wants_closing, memory_order_acquire) && !listener->is_closing)
        shut_down(listener);
}

/* Once the queue has run dry after the shutdown, no call is in flight that is not counted. */
static void note_quiet(struct bw_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    listener->takes_no_more = true;
    (void)pthread_cond_broadcast(&listener->changed);
    (void)pthread_mutex_unlock(&listener->lock);
}

/* A lone caller comes back sooner than this thread would wake up again. */
static grpc_event next_event(struct bw_listener *listener, gpr_timespec spin_until)
{
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);

    for (; gpr_time_cmp(now, spin_until) < 0; now = gpr_now(GPR_CLOCK_MONOTONIC)) {
        grpc_event event = grpc_completion_queue_next(listener->queue, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type != GRPC_QUEUE_TIMEOUT)
            return event;
    }
    return grpc_completion_queue_next(listener->queue, gpr_time_add(now, gpr_time_from_millis(TICK_MS, GPR_TIMESPAN)), NULL);
}

/* What is posted is another thread's until this one is let go: the C core orders it too, but where no tool sees it. */
static void await_start(struct bw_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    while (!listener->started)
        (void)pthread_cond_wait(&listener->changed, &listener->lock);
    (void)pthread_mutex_unlock(&listener->lock);
}

static void let_start(struct bw_listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    listener->started = true;
    (void)pthread_cond_broadcast(&listener->changed);
    (void)pthread_mutex_unlock(&listener->lock);
}

static void *loop(void *self)
{
    struct bw_listener *listener = self;
    grpc_event event;
    gpr_timespec spin_until = gpr_inf_past(GPR_CLOCK_MONOTONIC);

    (void)pthread_setname_np(pthread_self(), "bw-listener");
    await_start(listener);
    do {
        unsigned drained = 0;
        event = next_event(listener, spin_until);
        heed_wishes(listener);
        while (run_event(&event) && ++drained < DRAIN_MAX && listener->unflushed < COMMIT_AT)
            event = grpc_completion_queue_next(listener->queue, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL);
        if (listener->is_closing && event.type == GRPC_QUEUE_TIMEOUT)
            note_quiet(listener);
        bool alone = listener->unflushed == 1;
        if (listener->unflushed > 0) /* else what is queued is workers', who know when it is worth a commit */
            bw_audit_flush(listener->daemon->audit);
        listener->unflushed = 0;
        bw_log_flush(listener->daemon->log);
        if (alone)
            spin_until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(SPIN_US, GPR_TIMESPAN));
    } while (event.type != GRPC_QUEUE_SHUTDOWN);
    return NULL;
}

void bw_listener_announce(struct bw_listener *listener, bool serving)
{
    atomic_store_explicit(&listener->wants_serving, serving, memory_order_release);
}

/* ---- the C core's own log ---- */

/* Its hook takes no argument of ours, so the log stands here; set once, before there is a thread. */
static struct bw_log *core_log;

static void log_core(gpr_log_func_args *args)
{
    bw_log(core_log, BW_LOG_WARNING, "grpc", { "what", args->message });
}

/* ---- beginning ---- */

static grpc_arg number(const char *name, int value)
{
    return (grpc_arg){ .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)name, .value.integer = value };
}

static grpc_server *new_server(void)
{
    grpc_arg args[] = {
        number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, BW_MESSAGE_MAX),
        number(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),     /* secrets are not compressed, and bombs not unpacked */
        number(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256),             /* per connection; bounds what a rapid reset costs */
        number(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000),
        number(GRPC_ARG_MAX_CONNECTION_AGE_MS, 600 * 1000),       /* so that certificates are asked for again */
        number(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 60 * 1000),
        number(GRPC_ARG_KEEPALIVE_TIME_MS, 20 * 1000),            /* half-open connections go */
        number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10 * 1000),
        number(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        number(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 40), /* a client asks when we are silent for a quarter of its deadline */
        number(GRPC_ARG_HTTP2_BDP_PROBE, 0),                      /* with the next: flat memory under callers that do not read */
        number(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16384),
        number(GRPC_ARG_ALLOW_REUSEPORT, 0),                      /* a second daemon must not share the port unseen */
    };
    const grpc_channel_args all = { ARRAY_LEN(args), args };

    return grpc_server_create(&all, NULL);
}

static bw_result register_methods(struct bw_listener *listener)
{
    const struct bw_method *method;

    for (size_t i = 0; (method = bw_method_at(i)) != NULL; i++) {
        assert((size_t)method->number < ARRAY_LEN(listener->methods));
        listener->methods[method->number] = grpc_server_register_method(listener->server, method->path, NULL,
                                                                        GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
        BW_CHECK(listener->methods[method->number] != NULL, BW_INTERNAL, "a method cannot be registered");
    }
    return bw_success();
}

bw_result bw_listener_new(struct bw_daemon *daemon, struct bw_listener **ret_listener)
{
    struct bw_listener *listener = calloc(1, sizeof *listener);

    BW_CHECK(listener != NULL, BW_NO_MEMORY, "listener");
    core_log = daemon->log;
    gpr_set_log_function(log_core);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    grpc_init();
    listener->daemon = daemon;
    (void)pthread_mutex_init(&listener->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&listener->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    listener->queue  = grpc_completion_queue_create_for_next(NULL);
    listener->server = new_server();
    grpc_server_register_completion_queue(listener->server, listener->queue, NULL);
    bw_result result = register_methods(listener);
    if (bw_ok(result)) {
        listener->has_thread = pthread_create(&listener->thread, NULL, loop, listener) == 0;
        result = listener->has_thread ? bw_success() : bw_fail(BW_NO_MEMORY, "listener thread");
    }
    if (!bw_ok(result)) {
        bw_listener_free(listener);
        return result;
    }
    *ret_listener = listener;
    return bw_success();
}

static void post_requests(struct bw_listener *listener)
{
    const struct bw_method *method;

    for (size_t i = 0; (method = bw_method_at(i)) != NULL; i++)
        for (unsigned n = 0; n < POSTED_PER_METHOD; n++)
            bw_unary_accept(listener, method);
    for (unsigned n = 0; n < POSTED_UNKNOWN; n++)
        bw_unary_accept(listener, NULL);
}

bw_result bw_listener_open(struct bw_listener *listener, int *ret_port)
{
    grpc_server_credentials *credentials = bw_credentials_new(listener);
    int port = credentials ? grpc_server_add_http2_port(listener->server, listener->daemon->config->listen, credentials) : 0;

    grpc_server_credentials_release(credentials);
    BW_CHECK(port != 0, BW_CONFIG_INVALID, "[listen] address cannot be had: is another daemon there?");
    grpc_server_start(listener->server);
    listener->is_open = true;
    post_requests(listener);
    let_start(listener);
    *ret_port = port;
    return bw_success();
}

/* ---- end ---- */

static bool calls_ended(const struct bw_listener *listener)
{
    return listener->takes_no_more && listener->in_flight == 0;
}

static bool all_ended(const struct bw_listener *listener)
{
    return listener->server_is_down && listener->in_flight == 0;
}

/* until_us: CLOCK_MONOTONIC; INT64_MAX: for ever. */
static void wait_until(struct bw_listener *listener, bool (*is_so)(const struct bw_listener *), int64_t until_us)
{
    struct timespec until = { .tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000 };
    int waited = 0;

    (void)pthread_mutex_lock(&listener->lock);
    while (waited == 0 && !is_so(listener))
        waited = until_us == INT64_MAX ? pthread_cond_wait(&listener->changed, &listener->lock)
                                       : pthread_cond_timedwait(&listener->changed, &listener->lock, &until);
    (void)pthread_mutex_unlock(&listener->lock);
}

void bw_listener_drain(struct bw_listener *listener)
{
    struct timespec now;

    if (!listener->is_open)
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t until_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + (int64_t)listener->daemon->config->grace_ms * 1000;
    atomic_store_explicit(&listener->wants_closing, true, memory_order_release);
    wait_until(listener, calls_ended, until_us);
    grpc_server_cancel_all_calls(listener->server); /* and closes the connections of callers that do not listen, as idle modules */
    wait_until(listener, all_ended, INT64_MAX);     /* what is on a worker still ends; the HSM has deadlines of its own */
    listener->is_open = false;
}

void bw_listener_free(struct bw_listener *listener)
{
    if (listener == NULL)
        return;
    let_start(listener); /* to its end, when the door never opened */
    grpc_completion_queue_shutdown(listener->queue);
    if (listener->has_thread)
        (void)pthread_join(listener->thread, NULL);
    grpc_server_destroy(listener->server);
    grpc_completion_queue_destroy(listener->queue);
    grpc_shutdown_blocking();
    (void)pthread_cond_destroy(&listener->changed);
    (void)pthread_mutex_destroy(&listener->lock);
    free(listener);
}
