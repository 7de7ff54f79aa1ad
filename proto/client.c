#include "client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "connection.h"
#include "host.h"

enum {
    IDLE_DEFAULT_MS = 60 * 1000, /* below what firewalls keep an idle connection for */
    LEAVE_MS        = 1000       /* how long bw_client_free waits for callers inside */
};

struct bw_client {
    bw_region             home;
    char                 *ca_file, *certificate_file, *key_file;
    unsigned              deadline_ms, idle_ms;

    pthread_mutex_t       lock;        /* all below, and all that OpenSSL and nghttp2 do for us */
    pthread_cond_t        changed;     /* a connection came or failed, someone left, or all is cancelled */
    bool                  cancelled;
    unsigned              inside;      /* callers in bw_client_call */
    struct bw_tls        *tls;
    struct bw_secret     *passphrase;  /* NULL: none */

    struct bw_endpoint    endpoints[BW_ENDPOINTS_MAX];
    size_t                endpoints_len, current;
    bool                  connecting;  /* a caller makes a connection, for all */
    uint64_t              attempts;    /* how often that has ended, */
    bw_result             attempted;   /* and how it did last */
    struct bw_connection *connection;  /* that new calls go to; NULL: none */
    struct bw_connection *connections; /* all that are open, with those that only finish their streams */
    struct bw_counters    counters;
};

/* One bw_client_call. */
struct call {
    struct bw_client  *client;
    const char        *path;
    bw_bytes           request;
    bool               retry;
    int64_t            deadline_ms;    /* on bw_now_ms's clock */
    unsigned           failures;
    pthread_cond_t     wake;
    struct bw_arena   *arena;
    struct bw_stream   stream;
    bw_bytes           reply;
    struct bw_refusal  refusal;
};

/* ---- waiting ---- */

static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return made;
}

static void wait_until(struct bw_client *client, pthread_cond_t *condition, int64_t until_ms)
{
    struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

    (void)pthread_cond_timedwait(condition, &client->lock, &until);
}

static bw_result check_cancelled(const struct bw_client *client)
{
    BW_CHECK(!client->cancelled, BW_CANCELLED, "the client is being closed");
    return bw_success();
}

/* Until then, or the client is cancelled. */
static bw_result pause_until(struct bw_client *client, int64_t until_ms)
{
    while (!client->cancelled && bw_now_ms() < until_ms)
        wait_until(client, &client->changed, until_ms);
    return check_cancelled(client);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- the connections there are ---- */

static void drop(struct bw_client *client, struct bw_connection *connection)
{
    if (connection->refs == 1) {
        struct bw_connection **at = &client->connections;
        while (*at != connection)
            at = &(*at)->next;
        *at = connection->next;
    }
    bw_connection_unref(connection);
}

/* Takes no new call; those on it may finish. */
static void retire(struct bw_client *client, struct bw_connection *connection)
{
    if (client->connection != connection)
        return;
    client->connection = NULL;
    drop(client, connection);
}

/* A connection whose server went away, or that was idle for so long that a firewall may have forgotten it, is
 * replaced before the request is sent, so that the caller never sees it. Who leads, reads; then there is no need to. */
static bool connection_is_good(struct bw_client *client)
{
    struct bw_connection *connection = client->connection;

    if (connection == NULL)
        return false;
    bool good = connection->led || (bw_ok(bw_connection_step(connection)) &&
                                    (connection->streams != NULL || bw_now_ms() - connection->used_ms <= client->idle_ms));
    if (good && bw_connection_takes(connection))
        return true;
    retire(client, connection);
    return false;
}

/* ---- making one ---- */

/* Waits without the lock. */
static void poll_unlocked(struct bw_client *client, const struct bw_connection *connection, int64_t until_ms)
{
    short events = bw_connection_events(connection);

    (void)pthread_mutex_unlock(&client->lock);
    bw_connection_poll(connection, events, until_ms);
    (void)pthread_mutex_lock(&client->lock);
}

static bw_result drive(struct bw_client *client, struct bw_connection *connection, int64_t until_ms)
{
    for (;;) {
        BW_TRY(check_cancelled(client));
        BW_TRY(bw_connection_step(connection));
        if (bw_connection_takes(connection))
            return bw_success();
        BW_CHECK(bw_now_ms() < until_ms, BW_UNREACHABLE, "the server did not answer in time");
        poll_unlocked(client, connection, until_ms);
    }
}

/* A node that does not like our certificate may say so with an alert, or just hang up once the handshake is over. So may
 * one that stops at that moment; hence only the second time in a row counts. */
static bw_result judge_hangup(struct bw_endpoint *endpoint, const struct bw_connection *connection, bw_result r)
{
    endpoint->hangups = connection->hung_up ? endpoint->hangups + 1 : 0;
    if (endpoint->hangups < 2)
        return r;
    return bw_fail(BW_TLS_REFUSED, "the server hangs up after the handshake: it seems to refuse the client certificate");
}

static bw_result connect_address(struct bw_client *client, struct bw_endpoint *endpoint, const struct addrinfo *address, int64_t until_ms)
{
    struct bw_connection *connection;
    unsigned patience_ms = client->deadline_ms / 3; /* so that a vanished peer is noticed while there is time for another */

    BW_TRY(bw_connection_new(client->tls, endpoint, address, patience_ms, &client->counters, &connection));
    connection->next    = client->connections;
    client->connections = connection;
    bw_result r = drive(client, connection, until_ms);
    if (!bw_ok(r)) {
        r = judge_hangup(endpoint, connection, r);
        drop(client, connection);
        return r;
    }
    client->counters.connections++;
    client->connection = connection;
    return r;
}

/* Of the time that is left, half when something else could still be tried. */
static int64_t share(int64_t until_ms, bool something_else)
{
    int64_t now = bw_now_ms();

    return something_else ? now + (until_ms - now) / 2 : until_ms;
}

static bw_result connect_addresses(struct bw_client *client, struct bw_endpoint *endpoint, const struct addrinfo *addresses, int64_t until_ms)
{
    bw_result r = bw_fail(BW_UNREACHABLE, "the endpoint's name has no address");

    for (const struct addrinfo *at = addresses; at != NULL; at = at->ai_next) {
        r = connect_address(client, endpoint, at, share(until_ms, at->ai_next != NULL));
        if (bw_ok(r) || r.code == BW_CANCELLED)
            return r;
    }
    return r;
}

/* Files and name servers may block, so the lock is not held. */
static bw_result prepare(struct bw_client *client, const struct bw_endpoint *endpoint, struct bw_credential *credential, struct addrinfo **ret_addresses)
{
    (void)pthread_mutex_unlock(&client->lock);
    bw_tls_prepare_process();
    bw_result r = bw_credential_read(client->ca_file, client->certificate_file, client->key_file, credential);
    if (bw_ok(r))
        r = bw_endpoint_resolve(endpoint, ret_addresses);
    (void)pthread_mutex_lock(&client->lock);
    return r;
}

static bw_result connect_endpoint(struct bw_client *client, struct bw_endpoint *endpoint, int64_t until_ms)
{
    struct bw_credential credential = { 0 };
    struct addrinfo *addresses = NULL;

    bw_result r = prepare(client, endpoint, &credential, &addresses);
    if (bw_ok(r))
        r = bw_tls_use(client->tls, &credential, client->passphrase);
    bw_credential_clear(&credential);
    if (bw_ok(r))
        r = connect_addresses(client, endpoint, addresses, until_ms);
    if (addresses != NULL)
        freeaddrinfo(addresses);
    return r;
}

/* When each endpoint has refused us, waiting does not help. */
static bool all_refuse(const struct bw_client *client)
{
    for (size_t i = 0; i < client->endpoints_len; i++)
        if (!bw_endpoint_refused(client->endpoints[i].last))
            return false;
    return true;
}

/* The failure that tells most: one that refused us rather than one that was not there. */
static bw_result why_not(const struct bw_client *client)
{
    for (size_t i = 0; i < client->endpoints_len; i++)
        if (bw_endpoint_refused(client->endpoints[i].last))
            return client->endpoints[i].last;
    if (!bw_ok(client->endpoints[client->current].last))
        return client->endpoints[client->current].last;
    return bw_fail(BW_UNREACHABLE, "no endpoint answered in time");
}

static bw_result connect_any(struct bw_client *client, int64_t deadline_ms)
{
    while (bw_now_ms() < deadline_ms) {
        size_t picked = bw_endpoint_pick(client->endpoints, client->endpoints_len, client->current);
        struct bw_endpoint *endpoint = &client->endpoints[picked];

        BW_TRY(pause_until(client, earlier(endpoint->not_before_ms, deadline_ms)));
        if (bw_now_ms() >= deadline_ms)
            break;
        bw_result r = connect_endpoint(client, endpoint, share(deadline_ms, client->endpoints_len > 1));
        if (r.code == BW_CANCELLED || r.code == BW_CREDENTIAL_INVALID || r.code == BW_NO_MEMORY)
            return r; /* no endpoint's doing */
        if (bw_ok(r)) {
            bw_endpoint_succeeded(endpoint);
            client->current = picked;
            return r;
        }
        bw_endpoint_failed(endpoint, r);
        if (all_refuse(client))
            return why_not(client);
    }
    return why_not(client);
}

/* One caller connects, the others wait for what comes of it. A caller who only ran out of its own time leaves the task
 * to another; any other failure is everybody's. */
static bw_result get_connection(struct bw_client *client, int64_t deadline_ms, struct bw_connection **ret_connection)
{
    for (;;) {
        BW_TRY(check_cancelled(client));
        if (connection_is_good(client))
            break;
        if (bw_now_ms() >= deadline_ms)
            return why_not(client);
        if (client->connecting) {
            uint64_t before = client->attempts;
            wait_until(client, &client->changed, deadline_ms);
            if (client->attempts != before && !bw_ok(client->attempted) && client->attempted.code != BW_UNREACHABLE)
                return client->attempted;
            continue;
        }
        client->connecting = true;
        client->attempted  = connect_any(client, deadline_ms);
        client->connecting = false;
        client->attempts++;
        (void)pthread_cond_broadcast(&client->changed);
        BW_TRY(client->attempted);
        break;
    }
    *ret_connection = client->connection;
    (*ret_connection)->refs++;
    return bw_success();
}

/* ---- one attempt ---- */

/* Some caller of the connection becomes its leader when the last one leaves. */
static void hand_over(struct bw_connection *connection)
{
    if (connection->led)
        return;
    for (struct bw_stream *stream = connection->streams; stream != NULL; stream = stream->next) {
        if (stream->fate == BW_FATE_OPEN) {
            (void)pthread_cond_signal(stream->wake);
            return;
        }
    }
}

/* The first to wait polls for all who do; the others sleep until it, or whoever comes after it, wakes them. */
static bw_result wait_for_answer(struct call *call, struct bw_connection *connection)
{
    struct bw_client *client = call->client;

    while (call->stream.fate == BW_FATE_OPEN) {
        BW_TRY(check_cancelled(client));
        BW_CHECK(bw_now_ms() < call->deadline_ms, BW_DEADLINE, "the server did not answer in time");
        if (connection->led) {
            wait_until(client, &call->wake, call->deadline_ms);
            continue;
        }
        connection->led = true;
        poll_unlocked(client, connection, call->deadline_ms);
        connection->led = false;
        (void)bw_connection_step(connection); /* how it went is in each stream's fate */
    }
    return bw_success();
}

/* Fails when the call has no answer; the stream's fate says whether another attempt makes sense. */
static bw_result attempt(struct call *call, struct bw_connection *connection)
{
    int64_t begun_ms = bw_now_ms();

    bw_stream_begin(&call->stream, call->request, call->arena, &call->wake);
    bw_connection_submit(connection, &call->stream, call->path, call->deadline_ms - begun_ms);
    bw_result r = wait_for_answer(call, connection);
    bw_connection_withdraw(connection, &call->stream);
    hand_over(connection);
    if (r.code == BW_DEADLINE && connection->heard_ms <= begun_ms)
        retire(call->client, connection); /* silent all along: the next call does not wait for it */
    BW_TRY(r);
    if (call->stream.fate == BW_FATE_ANSWERED)
        return bw_stream_answer(&call->stream, &call->reply, &call->refusal);
    return call->stream.result;
}

/* A node that stops still finishes what it has; new calls go elsewhere. */
static bool must_try_again(struct call *call, struct bw_connection *connection, bw_result result)
{
    bool transport = call->stream.fate == BW_FATE_ANSWERED && bw_stream_answer_is_transport(&call->refusal);

    if (transport && call->client->connection == connection) {
        bw_endpoint_failed(&call->client->endpoints[call->client->current], result);
        retire(call->client, connection);
    }
    return call->stream.fate == BW_FATE_UNSEEN || (call->retry && (call->stream.fate == BW_FATE_LOST || transport));
}

static bw_result run(struct call *call)
{
    struct bw_client *client = call->client;

    for (;;) {
        struct bw_connection *connection = NULL;

        BW_TRY(get_connection(client, call->deadline_ms, &connection));
        bw_result r = attempt(call, connection);
        bool again = !bw_ok(r) && must_try_again(call, connection, r);
        drop(client, connection);
        if (!again || bw_now_ms() >= call->deadline_ms)
            return r;
        client->counters.retries++;
        call->refusal = (struct bw_refusal){ 0 };
        if (call->failures > 0) /* at first at once: a restart takes no time when another node is there */
            BW_TRY(pause_until(client, earlier(bw_now_ms() + bw_backoff_ms(call->failures), call->deadline_ms)));
        call->failures++;
    }
}

static bw_result enter_and_run(struct call *call)
{
    struct bw_client *client = call->client;

    (void)pthread_mutex_lock(&client->lock);
    client->inside++;
    bw_result r = run(call);
    client->inside--;
    if (client->cancelled)
        (void)pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->lock);
    return r;
}

bw_result bw_client_call(struct bw_client *client, const char *path, bw_bytes request, bool retry,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    struct call call = { .client = client, .path = path, .request = request, .retry = retry, .arena = arena };
    struct bw_host host;

    if (ret_refusal != NULL)
        *ret_refusal = (struct bw_refusal){ 0 };
    BW_CHECK(request.len <= BW_MESSAGE_MAX, BW_TOO_LARGE, "the request is larger than 1 MiB");
    BW_CHECK(init_condition(&call.wake), BW_NO_MEMORY, "condition variable");
    bw_host_enter(&host);
    call.deadline_ms = bw_now_ms() + client->deadline_ms;
    bw_result r = enter_and_run(&call);
    (void)pthread_cond_destroy(&call.wake);
    bw_host_leave(&host);

    if (ret_refusal != NULL)
        *ret_refusal = call.refusal;
    BW_TRY(r);
    *ret_reply = call.reply;
    return bw_success();
}

/* ---- the passphrase ---- */

bw_result bw_client_key_is_encrypted(const struct bw_client *client, bool *ret_encrypted)
{
    struct bw_buf key = { 0 };
    struct bw_host host;

    bw_host_enter(&host);
    bw_result r = bw_credential_read_key(client->key_file, &key);
    if (bw_ok(r))
        *ret_encrypted = bw_credential_key_is_encrypted(bw_buf_bytes(&key));
    bw_buf_clear(&key);
    bw_host_leave(&host);
    return r;
}

static bw_result try_passphrase(struct bw_client *client, struct bw_secret *passphrase)
{
    struct bw_buf key = { 0 };

    BW_TRY(bw_credential_read_key(client->key_file, &key));
    (void)pthread_mutex_lock(&client->lock);
    bw_result r = bw_tls_try_key(client->tls, bw_buf_bytes(&key), passphrase);
    (void)pthread_mutex_unlock(&client->lock);
    bw_buf_clear(&key);
    return r;
}

/* Forgetting it ends what it opened: the next call needs it again. */
static void set_passphrase(struct bw_client *client, struct bw_secret *passphrase)
{
    (void)pthread_mutex_lock(&client->lock);
    struct bw_secret *before = client->passphrase;
    client->passphrase = passphrase;
    if (passphrase == NULL) {
        bw_tls_forget(client->tls);
        if (client->connection != NULL)
            retire(client, client->connection);
    }
    (void)pthread_mutex_unlock(&client->lock);
    bw_secret_free(before);
}

static bw_result unlock(struct bw_client *client, bw_bytes bytes)
{
    BW_AUTO(secret) passphrase = NULL;

    if (bytes.len > 0) {
        BW_TRY(bw_secret_copy(bytes, &passphrase));
        BW_TRY(try_passphrase(client, passphrase));
    }
    set_passphrase(client, bw_take(&passphrase));
    return bw_success();
}

bw_result bw_client_unlock(struct bw_client *client, bw_bytes passphrase)
{
    struct bw_host host;

    bw_host_enter(&host);
    bw_result r = unlock(client, passphrase);
    bw_host_leave(&host);
    return r;
}

/* ---- life ---- */

static bw_result copy_text(const char *from, char **ret_copy)
{
    BW_CHECK(from != NULL && from[0] != '\0', BW_CONFIG_INVALID, "the CA, certificate and key files must be named");
    *ret_copy = strdup(from);
    BW_CHECK(*ret_copy != NULL, BW_NO_MEMORY, "client");
    return bw_success();
}

static bw_result copy_options(const struct bw_client_options *options, struct bw_client *client)
{
    client->home        = options->home;
    client->deadline_ms = options->deadline_ms ? options->deadline_ms : BW_DEADLINE_DEFAULT_MS;
    client->idle_ms     = options->idle_ms ? options->idle_ms : IDLE_DEFAULT_MS;
    BW_CHECK(client->deadline_ms <= BW_DEADLINE_MAX_MS, BW_CONFIG_INVALID, "the deadline is longer than ten minutes");
    BW_TRY(copy_text(options->ca_file, &client->ca_file));
    BW_TRY(copy_text(options->certificate_file, &client->certificate_file));
    BW_TRY(copy_text(options->key_file, &client->key_file));
    for (; client->endpoints_len < BW_ENDPOINTS_MAX && options->endpoints[client->endpoints_len] != NULL; client->endpoints_len++)
        BW_TRY(bw_endpoint_parse(options->endpoints[client->endpoints_len], &client->endpoints[client->endpoints_len]));
    BW_CHECK(client->endpoints_len > 0, BW_CONFIG_INVALID, "no endpoint");
    return bw_tls_new(&options->home, options->trust_domain, options->library, &client->tls);
}

/* Of a client that nobody is inside of. */
static void destroy(struct bw_client *client)
{
    if (client->connection != NULL)
        retire(client, client->connection);
    bw_tls_free(client->tls);
    bw_secret_free(client->passphrase);
    free(client->ca_file);
    free(client->certificate_file);
    free(client->key_file);
    (void)pthread_cond_destroy(&client->changed);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

static bw_result create(const struct bw_client_options *options, struct bw_client **ret_client)
{
    struct bw_client *client = calloc(1, sizeof *client);

    BW_CHECK(client != NULL, BW_NO_MEMORY, "client");
    if (pthread_mutex_init(&client->lock, NULL) != 0 || !init_condition(&client->changed)) {
        free(client);
        return bw_fail(BW_NO_MEMORY, "client");
    }
    bw_result r = copy_options(options, client);
    if (bw_ok(r))
        *ret_client = client;
    else
        destroy(client);
    return r;
}

bw_result bw_client_new(const struct bw_client_options *options, struct bw_client **ret_client)
{
    struct bw_host host;

    bw_host_enter(&host);
    bw_result r = create(options, ret_client);
    bw_host_leave(&host);
    return r;
}

static void cancel(struct bw_client *client)
{
    client->cancelled = true;
    (void)pthread_cond_broadcast(&client->changed);
    for (struct bw_connection *at = client->connections; at != NULL; at = at->next) {
        bw_connection_ring(at);
        for (struct bw_stream *stream = at->streams; stream != NULL; stream = stream->next)
            (void)pthread_cond_signal(stream->wake);
    }
}

void bw_client_cancel(struct bw_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    cancel(client);
    (void)pthread_mutex_unlock(&client->lock);
}

/* false: some did not leave in time. */
static bool everybody_left(struct bw_client *client)
{
    int64_t until_ms = bw_now_ms() + LEAVE_MS;

    (void)pthread_mutex_lock(&client->lock);
    cancel(client);
    while (client->inside > 0 && bw_now_ms() < until_ms)
        wait_until(client, &client->changed, until_ms);
    bool empty = client->inside == 0;
    (void)pthread_mutex_unlock(&client->lock);
    return empty;
}

void bw_client_free(struct bw_client *client)
{
    struct bw_host host;

    if (client == NULL)
        return;
    bw_host_enter(&host);
    if (everybody_left(client))
        destroy(client);
    bw_host_leave(&host);
}

/* ---- fork ---- */

void bw_client_before_fork(struct bw_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
}

void bw_client_after_fork(struct bw_client *client)
{
    (void)pthread_mutex_unlock(&client->lock);
}

void bw_client_abandon(struct bw_client *client)
{
    for (struct bw_connection *at = client->connections; at != NULL; at = at->next)
        bw_connection_abandon(at);
}

void bw_client_stats(const struct bw_client *client, struct bw_client_stats *ret_stats)
{
    const struct bw_counters *counters = &client->counters;

    *ret_stats = (struct bw_client_stats){ counters->calls, counters->connections, counters->retries, counters->bytes_sent, counters->bytes_received };
}
