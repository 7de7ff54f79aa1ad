/* The connections of a client: the one that new calls go to, those that only finish what they carry, and the making of
 * new ones from endpoint to endpoint. One mutex for all of it; no system call that blocks is made with it held. */
#ifndef BW_PROTO_POOL_H
#define BW_PROTO_POOL_H

#include "connection.h"

struct bw_pool {
    char                 *ca_file, *certificate_file, *key_file;
    unsigned              deadline_ms, idle_ms;
    atomic_uint           asking;      /* callers that want something of the region, whether or not it is on its way */

    pthread_mutex_t       lock;        /* all below, and all that OpenSSL and nghttp2 do for us */
    pthread_cond_t        changed;     /* a connection came or failed, or all is cancelled */
    bool                  cancelled;
    struct bw_tls        *tls;
    struct bw_secret     *passphrase;  /* of the key file; NULL: none */

    struct bw_endpoint    endpoints[BW_ENDPOINTS_MAX];
    size_t                endpoints_len, current;
    bool                  connecting;  /* a caller makes a connection, for all */
    uint64_t              attempts;    /* how often that has ended, */
    bw_result             attempted;   /* and how it did last */
    struct bw_connection *connection;  /* that new calls go to; NULL: none */
    struct bw_connection *connections; /* all that are open */
    struct bw_counters    counters;
};

bw_result bw_pool_init(struct bw_pool *ret_pool, const struct bw_client_options *options);
void      bw_pool_clear(struct bw_pool *pool); /* nobody may be inside */

/* From here on with pool->lock held. */

/* A connection that takes a stream, made when there is none. Give it back with bw_pool_drop.
 * Fails as bw_client_call does for want of a server. */
bw_result bw_pool_get(struct bw_pool *pool, int64_t deadline_ms, struct bw_connection **ret_connection);
void      bw_pool_drop(struct bw_pool *pool, struct bw_connection *connection);

/* It gets no new call; those on it may finish. */
void bw_pool_retire(struct bw_pool *pool, struct bw_connection *connection);

/* The same, when its node said that it stops, or fell silent: others are asked first. */
void bw_pool_leave(struct bw_pool *pool, struct bw_connection *connection, bw_result why);

/* Takes ownership of the passphrase. NULL: what the one before opened is forgotten. */
void bw_pool_set_passphrase(struct bw_pool *pool, struct bw_secret *passphrase);

/* All callers return BW_CANCELLED, now and from now on. */
void      bw_pool_cancel(struct bw_pool *pool);
bw_result bw_pool_check(const struct bw_pool *pool); /* BW_CANCELLED after that */

/* These let go of the lock while they wait. */
void      bw_pool_wait(struct bw_pool *pool, pthread_cond_t *condition, int64_t until_ms);
bw_result bw_pool_pause(struct bw_pool *pool, int64_t until_ms, int64_t deadline_ms); /* a quarter of the time left at most; BW_CANCELLED */
void      bw_pool_poll(struct bw_pool *pool, struct bw_connection *connection, int64_t until_ms, bool alone); /* alone: with nobody else's request */

/* For bw_pool_wait: on bw_now_ms's clock. */
bool bw_pool_init_condition(pthread_cond_t *condition);

#endif
