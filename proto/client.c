#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "batch.h"
#include "host.h"
#include "pool.h"

enum { LEAVE_MS = 1000 }; /* how long bw_client_free waits for callers inside */

#define CLOSING (1u << 31) /* in pool.asking: bw_client_free waits for the last to leave */

struct bw_client {
    struct bw_pool    pool;
    sem_t             empty;   /* the last has left */
    struct bw_batcher batchers[BW_COSTS];
};

/* One bw_client_call. */
struct call {
    struct bw_pool    *pool;
    const char        *path;
    bw_bytes           request;
    bool               retry;
    int64_t            deadline_ms;    /* on bw_now_ms's clock; of a stream: when it was quiet for too long */
    unsigned           quiet_ms;
    bw_client_each_fn  each;           /* of a stream; NULL: there is one reply */
    void              *self;
    unsigned           failures;
    pthread_cond_t     wake;
    struct bw_arena   *arena;
    struct bw_stream   stream;
    bw_bytes           reply;
    struct bw_refusal  refusal;
};

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

/* The messages that came, without the lock. */
static bw_result give_parts(struct call *call)
{
    struct bw_part *part;

    while ((part = bw_stream_take_part(&call->stream)) != NULL) {
        (void)pthread_mutex_unlock(&call->pool->lock);
        bw_result r = call->each(call->self, bw_bytes_of(part->bytes, part->len));
        free(part);
        (void)pthread_mutex_lock(&call->pool->lock);
        BW_TRY(r);
        call->deadline_ms = bw_now_ms() + call->quiet_ms;
    }
    return bw_success();
}

/* Nobody else wants anything of the region. */
static bool is_alone(const struct call *call)
{
    return atomic_load_explicit(&call->pool->asking, memory_order_relaxed) == 1 && call->each == NULL;
}

/* The first to wait polls for all who do; the others sleep until it, or whoever comes after it, wakes them. */
static bw_result wait_for_answer(struct call *call, struct bw_connection *connection)
{
    struct bw_pool *pool = call->pool;

    while (call->stream.fate == BW_FATE_OPEN) {
        BW_TRY(bw_pool_check(pool));
        BW_CHECK(bw_now_ms() < call->deadline_ms, BW_DEADLINE, "the server did not answer in time");
        if (connection->led) {
            bw_pool_wait(pool, &call->wake, call->deadline_ms);
            continue;
        }
        connection->led = true;
        bw_pool_poll(pool, connection, call->deadline_ms, is_alone(call));
        connection->led = false;
        (void)bw_connection_step(connection); /* how it went is in each stream's fate */
        BW_TRY(give_parts(call));
    }
    return give_parts(call);
}

/* Fails when the call has no answer; the stream's fate says whether another attempt makes sense. */
static bw_result attempt(struct call *call, struct bw_connection *connection)
{
    bw_stream_begin(&call->stream, call->request, call->arena, &call->wake);
    call->stream.many = call->each != NULL;
    bw_connection_submit(connection, &call->stream, call->path, call->each != NULL ? INT64_MAX : call->deadline_ms - bw_now_ms());
    bw_result r = wait_for_answer(call, connection);
    bw_connection_withdraw(connection, &call->stream);
    bw_stream_drop_parts(&call->stream);
    hand_over(connection);
    BW_TRY(r);
    if (call->stream.fate == BW_FATE_ANSWERED)
        return bw_stream_answer(&call->stream, &call->reply, &call->refusal);
    return call->stream.result;
}

/* A node that stops still finishes what it has; new calls go elsewhere. So do they when it owes us a sign of life. */
static bool must_try_again(struct call *call, struct bw_connection *connection, bw_result result)
{
    bool transport = call->stream.fate == BW_FATE_ANSWERED && bw_stream_answer_is_transport(&call->refusal);

    if (transport || connection->asked_ms != 0)
        bw_pool_leave(call->pool, connection, result);
    return call->stream.fate == BW_FATE_UNSEEN || (call->retry && (call->stream.fate == BW_FATE_LOST || transport));
}

static bw_result run(struct call *call)
{
    struct bw_pool *pool = call->pool;

    for (;;) {
        struct bw_connection *connection = NULL;

        BW_TRY(bw_pool_get(pool, call->deadline_ms, &connection));
        bw_result r = attempt(call, connection);
        bool again = !bw_ok(r) && must_try_again(call, connection, r);
        bw_pool_drop(pool, connection);
        if (!again || bw_now_ms() >= call->deadline_ms)
            return r;
        pool->counters.retries++;
        call->refusal = (struct bw_refusal){ 0 };
        if (call->failures > 0) /* at first at once: a restart takes no time when another node is there */
            BW_TRY(bw_pool_pause(pool, bw_now_ms() + bw_backoff_ms(call->failures), call->deadline_ms));
        call->failures++;
    }
}

static void enter(struct bw_client *client)
{
    atomic_fetch_add_explicit(&client->pool.asking, 1, memory_order_relaxed);
}

/* Touches the client last: from then on bw_client_free may be done with it. */
static void leave(struct bw_client *client)
{
    if (atomic_fetch_sub_explicit(&client->pool.asking, 1, memory_order_acq_rel) == (CLOSING | 1))
        (void)sem_post(&client->empty);
}

static bw_result make_call(struct call *call, struct bw_refusal *ret_refusal)
{
    struct bw_host host;

    if (ret_refusal != NULL)
        *ret_refusal = (struct bw_refusal){ 0 };
    BW_CHECK(call->request.len <= BW_MESSAGE_MAX, BW_TOO_LARGE, "the request is larger than 1 MiB");
    BW_CHECK(bw_pool_init_condition(&call->wake), BW_NO_MEMORY, "condition variable");
    bw_host_enter(&host);
    (void)pthread_mutex_lock(&call->pool->lock);
    bw_result r = run(call);
    (void)pthread_mutex_unlock(&call->pool->lock);
    (void)pthread_cond_destroy(&call->wake);
    bw_host_leave(&host);
    if (ret_refusal != NULL)
        *ret_refusal = call->refusal;
    return r;
}

bw_result bw_client_send(struct bw_client *client, const char *path, bw_bytes request, bool retry, int64_t deadline_ms,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    struct call call = { .pool = &client->pool, .path = path, .request = request, .retry = retry, .deadline_ms = deadline_ms, .arena = arena };

    BW_TRY(make_call(&call, ret_refusal));
    *ret_reply = call.reply;
    return bw_success();
}

bw_result bw_client_call_until(struct bw_client *client, const char *path, bw_bytes request, bool retry, int64_t deadline_ms,
                               struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    enter(client);
    bw_result r = bw_client_send(client, path, request, retry, deadline_ms, arena, ret_reply, ret_refusal);
    leave(client);
    return r;
}

bw_result bw_client_call(struct bw_client *client, const char *path, bw_bytes request, bool retry,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    return bw_client_call_until(client, path, request, retry, bw_now_ms() + client->pool.deadline_ms, arena, ret_reply, ret_refusal);
}

bw_result bw_client_receive(struct bw_client *client, const char *path, bw_bytes request, unsigned quiet_ms,
                            bw_client_each_fn each, void *self, struct bw_refusal *ret_refusal)
{
    struct bw_arena arena = { 0 };
    struct call call = { .pool = &client->pool, .path = path, .request = request, .deadline_ms = bw_now_ms() + quiet_ms, .arena = &arena,
                         .quiet_ms = quiet_ms, .each = each, .self = self };

    enter(client);
    bw_result r = make_call(&call, ret_refusal);
    leave(client);
    bw_arena_clear(&arena);
    return r;
}

unsigned bw_client_patience_ms(const struct bw_client *client)
{
    return client->pool.deadline_ms;
}

bw_result bw_client_call_shared(struct bw_client *client, unsigned number, enum bw_cost cost, bw_bytes request, int64_t deadline_ms,
                                struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    enter(client);
    bw_result r = bw_batcher_call(&client->batchers[cost], client, number, request, deadline_ms, arena, ret_reply, ret_refusal);
    leave(client);
    return r;
}

/* ---- the passphrase ---- */

bw_result bw_client_key_is_encrypted(const struct bw_client *client, bool *ret_encrypted)
{
    struct bw_buf key = { 0 };
    struct bw_host host;

    bw_host_enter(&host);
    bw_result r = bw_credential_read_key(client->pool.key_file, &key);
    if (bw_ok(r))
        *ret_encrypted = bw_credential_key_is_encrypted(bw_buf_bytes(&key));
    bw_buf_clear(&key);
    bw_host_leave(&host);
    return r;
}

static bw_result try_passphrase(struct bw_pool *pool, struct bw_secret *passphrase)
{
    struct bw_buf key = { 0 };

    BW_TRY(bw_credential_read_key(pool->key_file, &key));
    (void)pthread_mutex_lock(&pool->lock);
    bw_result r = bw_tls_try_key(pool->tls, bw_buf_bytes(&key), passphrase);
    (void)pthread_mutex_unlock(&pool->lock);
    bw_buf_clear(&key);
    return r;
}

static bw_result unlock(struct bw_pool *pool, bw_bytes bytes)
{
    BW_AUTO(secret) passphrase = NULL;

    if (bytes.len > 0) {
        BW_TRY(bw_secret_copy(bytes, &passphrase));
        BW_TRY(try_passphrase(pool, passphrase));
    }
    (void)pthread_mutex_lock(&pool->lock);
    bw_pool_set_passphrase(pool, bw_take(&passphrase));
    (void)pthread_mutex_unlock(&pool->lock);
    return bw_success();
}

bw_result bw_client_unlock(struct bw_client *client, bw_bytes passphrase)
{
    struct bw_host host;

    bw_host_enter(&host);
    bw_result r = unlock(&client->pool, passphrase);
    bw_host_leave(&host);
    return r;
}

/* ---- life ---- */

/* What a message costs is much beside what the HSM does of a fast one, and nothing beside a slow one. */
static const size_t enough[BW_COSTS] = { [BW_COST_FAST] = 16, [BW_COST_MEDIUM] = 16, [BW_COST_SLOW] = 1 };

static bw_result create(const struct bw_client_options *options, struct bw_client **ret_client)
{
    struct bw_client *client = calloc(1, sizeof *client);

    BW_CHECK(client != NULL, BW_NO_MEMORY, "client");
    bw_result r = sem_init(&client->empty, 0, 0) == 0 ? bw_success() : bw_fail(BW_NO_MEMORY, "semaphore");
    for (size_t i = 0; i < BW_COSTS && bw_ok(r); i++)
        r = bw_batcher_init(enough[i], &client->batchers[i]);
    if (bw_ok(r))
        r = bw_pool_init(&client->pool, options);
    if (bw_ok(r))
        *ret_client = client;
    else
        free(client);
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

void bw_client_cancel(struct bw_client *client)
{
    (void)pthread_mutex_lock(&client->pool.lock);
    bw_pool_cancel(&client->pool);
    (void)pthread_mutex_unlock(&client->pool.lock);
}

/* false: some did not leave in time. */
static bool everybody_left(struct bw_client *client)
{
    int64_t until_ms = bw_now_ms() + LEAVE_MS;
    const struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    int status;

    bw_client_cancel(client);
    if (atomic_fetch_or_explicit(&client->pool.asking, CLOSING, memory_order_acq_rel) == 0)
        return true;
    do
        status = sem_clockwait(&client->empty, CLOCK_MONOTONIC, &until);
    while (status != 0 && errno == EINTR);
    return status == 0 && atomic_load_explicit(&client->pool.asking, memory_order_acquire) == CLOSING;
}

void bw_client_free(struct bw_client *client)
{
    struct bw_host host;

    if (client == NULL)
        return;
    bw_host_enter(&host);
    if (everybody_left(client)) {
        for (size_t i = 0; i < BW_COSTS; i++)
            bw_batcher_clear(&client->batchers[i]);
        bw_pool_clear(&client->pool);
        (void)sem_destroy(&client->empty);
        free(client);
    }
    bw_host_leave(&host);
}

/* ---- fork ---- */

void bw_client_before_fork(struct bw_client *client)
{
    (void)pthread_mutex_lock(&client->pool.lock);
}

void bw_client_after_fork(struct bw_client *client)
{
    (void)pthread_mutex_unlock(&client->pool.lock);
}

void bw_client_abandon(struct bw_client *client)
{
    for (struct bw_connection *at = client->pool.connections; at != NULL; at = at->next)
        bw_connection_abandon(at);
}

void bw_client_stats(const struct bw_client *client, struct bw_client_stats *ret_stats)
{
    const struct bw_counters *counters = &client->pool.counters;

    *ret_stats = (struct bw_client_stats){ counters->calls, counters->connections, counters->retries, counters->bytes_sent, counters->bytes_received };
}
