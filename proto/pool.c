#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SLOW            = 16,        /* answers that are slept for after one that was not worth looking for */
    IDLE_DEFAULT_MS = 60 * 1000, /* below what firewalls keep an idle connection for */
    PAUSE_LEAST_MS  = 20,        /* however little time is left */
    SHARE_LEAST_MS  = 100        /* a handshake across the world takes that long */
};

/* ---- waiting ---- */

bool bw_pool_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return made;
}

void bw_pool_wait(struct bw_pool *pool, pthread_cond_t *condition, int64_t until_ms)
{
    struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

    (void)pthread_cond_timedwait(condition, &pool->lock, &until);
}

bw_result bw_pool_check(const struct bw_pool *pool)
{
    BW_CHECK(!pool->cancelled, BW_CANCELLED, "the client is being closed");
    return bw_success();
}

/* A long pause late in a call would be its end: another attempt is worth more. */
bw_result bw_pool_pause(struct bw_pool *pool, int64_t until_ms, int64_t deadline_ms)
{
    int64_t now = bw_now_ms(), most = (deadline_ms - now) / 4;

    until_ms = bw_earlier(bw_earlier(until_ms, deadline_ms), now + (most > PAUSE_LEAST_MS ? most : PAUSE_LEAST_MS));
    while (!pool->cancelled && bw_now_ms() < until_ms)
        bw_pool_wait(pool, &pool->changed, until_ms);
    return bw_pool_check(pool);
}

/* ---- the connections there are ---- */

void bw_pool_drop(struct bw_pool *pool, struct bw_connection *connection)
{
    if (connection->refs == 1) {
        struct bw_connection **at = &pool->connections;
        while (*at != connection)
            at = &(*at)->next;
        *at = connection->next;
    }
    bw_connection_unref(connection);
}

void bw_pool_retire(struct bw_pool *pool, struct bw_connection *connection)
{
    if (pool->connection != connection)
        return;
    pool->connection = NULL;
    bw_pool_drop(pool, connection);
}

void bw_pool_leave(struct bw_pool *pool, struct bw_connection *connection, bw_result why)
{
    if (pool->connection != connection)
        return;
    bw_endpoint_failed(&pool->endpoints[pool->current], why);
    bw_pool_retire(pool, connection);
}

/* A connection whose server went away, or that was idle for so long that a firewall may have forgotten it, is
 * replaced before the request is sent, so that the caller never sees it. Who leads, reads; then there is no need to. */
static bool connection_is_good(struct bw_pool *pool)
{
    struct bw_connection *connection = pool->connection;

    if (connection == NULL)
        return false;
    bool good = connection->led || (bw_ok(bw_connection_step(connection)) &&
                                    (connection->streams != NULL || bw_now_ms() - connection->used_ms <= pool->idle_ms));
    if (good && bw_connection_takes(connection))
        return true;
    bw_pool_retire(pool, connection);
    return false;
}

/* ---- making one ---- */

void bw_pool_poll(struct bw_pool *pool, struct bw_connection *connection, int64_t until_ms, bool alone)
{
    short events = bw_connection_events(connection);
    bool  spins  = alone && connection->slow == 0;

    until_ms = bw_earlier(until_ms, bw_connection_due_ms(connection));
    (void)pthread_mutex_unlock(&pool->lock);
    bool in_time = bw_connection_poll(connection, events, until_ms, spins);
    (void)pthread_mutex_lock(&pool->lock);
    if (spins && !in_time)
        connection->slow = SLOW;
    else if (connection->slow > 0)
        connection->slow--;
}

static bw_result drive(struct bw_pool *pool, struct bw_connection *connection, int64_t until_ms)
{
    for (;;) {
        BW_TRY(bw_pool_check(pool));
        BW_TRY(bw_connection_step(connection));
        if (bw_connection_takes(connection))
            return bw_success();
        BW_CHECK(bw_now_ms() < until_ms, BW_UNREACHABLE, "the server did not answer in time");
        bw_pool_poll(pool, connection, until_ms, false);
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

static bw_result connect_address(struct bw_pool *pool, struct bw_endpoint *endpoint, const struct addrinfo *address, int64_t until_ms)
{
    struct bw_connection *connection;

    BW_TRY(bw_connection_new(pool->tls, endpoint, address, pool->deadline_ms, &pool->counters, &connection));
    connection->next    = pool->connections;
    pool->connections = connection;
    bw_result r = drive(pool, connection, until_ms);
    if (!bw_ok(r)) {
        r = judge_hangup(endpoint, connection, r);
        bw_pool_drop(pool, connection);
        return r;
    }
    pool->counters.connections++;
    pool->connection = connection;
    return r;
}

/* Of the time that is left, half when something else could still be tried. */
static int64_t share(int64_t until_ms, bool something_else)
{
    int64_t now = bw_now_ms(), half = (until_ms - now) / 2;

    return something_else ? bw_earlier(now + (half > SHARE_LEAST_MS ? half : SHARE_LEAST_MS), until_ms) : until_ms;
}

static bw_result connect_addresses(struct bw_pool *pool, struct bw_endpoint *endpoint, const struct addrinfo *addresses, int64_t until_ms)
{
    bw_result r = bw_fail(BW_UNREACHABLE, "the endpoint's name has no address");

    for (const struct addrinfo *at = addresses; at != NULL; at = at->ai_next) {
        r = connect_address(pool, endpoint, at, share(until_ms, at->ai_next != NULL));
        if (bw_ok(r) || r.code == BW_CANCELLED)
            return r;
    }
    return r;
}

/* Files and name servers may block, so the lock is not held. */
static bw_result prepare(struct bw_pool *pool, const struct bw_endpoint *endpoint, struct bw_credential *credential, struct addrinfo **ret_addresses)
{
    (void)pthread_mutex_unlock(&pool->lock);
    bw_tls_prepare_process();
    bw_result r = bw_credential_read(pool->ca_file, pool->certificate_file, pool->key_file, credential);
    if (bw_ok(r))
        r = bw_endpoint_resolve(endpoint, ret_addresses);
    (void)pthread_mutex_lock(&pool->lock);
    return r;
}

static bw_result connect_endpoint(struct bw_pool *pool, struct bw_endpoint *endpoint, int64_t until_ms)
{
    struct bw_credential credential = { 0 };
    struct addrinfo *addresses = NULL;

    bw_result r = prepare(pool, endpoint, &credential, &addresses);
    if (bw_ok(r))
        r = bw_tls_use(pool->tls, &credential, pool->passphrase);
    bw_credential_clear(&credential);
    if (bw_ok(r))
        r = connect_addresses(pool, endpoint, addresses, until_ms);
    if (addresses != NULL)
        freeaddrinfo(addresses);
    return r;
}

/* When each endpoint has refused us, waiting does not help. */
static bool all_refuse(const struct bw_pool *pool)
{
    for (size_t i = 0; i < pool->endpoints_len; i++)
        if (!bw_endpoint_refused(pool->endpoints[i].last))
            return false;
    return true;
}

/* The failure that tells most: one that refused us rather than one that was not there. */
static bw_result why_not(const struct bw_pool *pool)
{
    for (size_t i = 0; i < pool->endpoints_len; i++)
        if (bw_endpoint_refused(pool->endpoints[i].last))
            return pool->endpoints[i].last;
    if (!bw_ok(pool->endpoints[pool->current].last))
        return pool->endpoints[pool->current].last;
    return bw_fail(BW_UNREACHABLE, "no endpoint answered in time");
}

static bw_result connect_any(struct bw_pool *pool, int64_t deadline_ms)
{
    while (bw_now_ms() < deadline_ms) {
        size_t picked = bw_endpoint_pick(pool->endpoints, pool->endpoints_len, pool->current);
        struct bw_endpoint *endpoint = &pool->endpoints[picked];

        BW_TRY(bw_pool_pause(pool, endpoint->not_before_ms, deadline_ms));
        if (bw_now_ms() >= deadline_ms)
            break;
        bw_result r = connect_endpoint(pool, endpoint, share(deadline_ms, true));
        if (r.code == BW_CANCELLED || r.code == BW_CREDENTIAL_INVALID || r.code == BW_NO_MEMORY)
            return r; /* no endpoint's doing */
        if (bw_ok(r)) {
            bw_endpoint_succeeded(endpoint);
            pool->current = picked;
            return r;
        }
        if (r.code == BW_UNREACHABLE && bw_now_ms() >= deadline_ms)
            break; /* the end of the call says nothing about the endpoint */
        bw_endpoint_failed(endpoint, r);
        if (all_refuse(pool))
            return why_not(pool);
    }
    return why_not(pool);
}

/* One caller connects, the others wait for what comes of it. A caller who only ran out of its own time leaves the task
 * to another; any other failure is everybody's. */
bw_result bw_pool_get(struct bw_pool *pool, int64_t deadline_ms, struct bw_connection **ret_connection)
{
    for (;;) {
        BW_TRY(bw_pool_check(pool));
        if (connection_is_good(pool))
            break;
        if (bw_now_ms() >= deadline_ms)
            return why_not(pool);
        if (pool->connecting) {
            uint64_t before = pool->attempts;
            bw_pool_wait(pool, &pool->changed, deadline_ms);
            if (pool->attempts != before && !bw_ok(pool->attempted) && pool->attempted.code != BW_UNREACHABLE)
                return pool->attempted;
            continue;
        }
        pool->connecting = true;
        pool->attempted  = connect_any(pool, deadline_ms);
        pool->connecting = false;
        pool->attempts++;
        (void)pthread_cond_broadcast(&pool->changed);
        BW_TRY(pool->attempted);
        break;
    }
    *ret_connection = pool->connection;
    (*ret_connection)->refs++;
    return bw_success();
}

/* ---- life ---- */

static bw_result copy_text(const char *from, char **ret_copy)
{
    BW_CHECK(from != NULL && from[0] != '\0', BW_CONFIG_INVALID, "the CA, certificate and key files must be named");
    *ret_copy = strdup(from);
    BW_CHECK(*ret_copy != NULL, BW_NO_MEMORY, "client");
    return bw_success();
}

static bw_result copy_options(const struct bw_client_options *options, struct bw_pool *pool)
{
    pool->deadline_ms = options->deadline_ms ? options->deadline_ms : BW_DEADLINE_DEFAULT_MS;
    pool->idle_ms     = options->idle_ms ? options->idle_ms : IDLE_DEFAULT_MS;
    BW_CHECK(pool->deadline_ms <= BW_DEADLINE_MAX_MS, BW_CONFIG_INVALID, "the deadline is longer than ten minutes");
    BW_TRY(copy_text(options->ca_file, &pool->ca_file));
    BW_TRY(copy_text(options->certificate_file, &pool->certificate_file));
    BW_TRY(copy_text(options->key_file, &pool->key_file));
    for (; pool->endpoints_len < BW_ENDPOINTS_MAX && options->endpoints[pool->endpoints_len] != NULL; pool->endpoints_len++)
        BW_TRY(bw_endpoint_parse(options->endpoints[pool->endpoints_len], &pool->endpoints[pool->endpoints_len]));
    BW_CHECK(pool->endpoints_len > 0, BW_CONFIG_INVALID, "no endpoint");
    return bw_tls_new(&options->home, options->trust_domain, options->library, &pool->tls);
}

bw_result bw_pool_init(struct bw_pool *ret_pool, const struct bw_client_options *options)
{
    *ret_pool = (struct bw_pool){ 0 };
    BW_CHECK(pthread_mutex_init(&ret_pool->lock, NULL) == 0, BW_NO_MEMORY, "mutex");
    if (!bw_pool_init_condition(&ret_pool->changed)) {
        (void)pthread_mutex_destroy(&ret_pool->lock);
        return bw_fail(BW_NO_MEMORY, "condition variable");
    }
    bw_result r = copy_options(options, ret_pool);
    if (!bw_ok(r))
        bw_pool_clear(ret_pool);
    return r;
}

void bw_pool_clear(struct bw_pool *pool)
{
    if (pool->connection != NULL)
        bw_pool_retire(pool, pool->connection);
    bw_tls_free(pool->tls);
    bw_secret_free(pool->passphrase);
    free(pool->ca_file);
    free(pool->certificate_file);
    free(pool->key_file);
    (void)pthread_cond_destroy(&pool->changed);
    (void)pthread_mutex_destroy(&pool->lock);
}

void bw_pool_set_passphrase(struct bw_pool *pool, struct bw_secret *passphrase)
{
    bw_secret_free(pool->passphrase);
    pool->passphrase = passphrase;
    if (passphrase != NULL)
        return;
    bw_tls_forget(pool->tls);
    if (pool->connection != NULL)
        bw_pool_retire(pool, pool->connection);
}

void bw_pool_cancel(struct bw_pool *pool)
{
    pool->cancelled = true;
    (void)pthread_cond_broadcast(&pool->changed);
    for (struct bw_connection *at = pool->connections; at != NULL; at = at->next) {
        bw_connection_ring(at);
        for (struct bw_stream *stream = at->streams; stream != NULL; stream = stream->next)
            (void)pthread_cond_signal(stream->wake);
    }
}
