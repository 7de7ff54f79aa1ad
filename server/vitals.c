#include "vitals.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "audit.h"
#include "daemon.h"
#include "hsm.h"
#include "listen.h"
#include "log.h"
#include "store.h"

struct bw_vitals {
    struct bw_daemon *daemon;
    pthread_t         thread;
    pthread_mutex_t   lock;
    pthread_cond_t    changed;
    bool              stopping;
    bool              serving;
};

static bw_result ask_audit(struct bw_daemon *daemon) { return bw_audit_health(daemon->audit); }
static bw_result ask_hsm(struct bw_daemon *daemon)   { return bw_hsm_ping(daemon->token); }

/* A request id that nobody has: one look into an index. */
static bw_result ask_store(struct bw_daemon *daemon)
{
    static const uint8_t nothing[32];
    static const bw_tenant nobody;
    struct bw_arena arena = { 0 };
    bw_bytes reply;
    bool found;

    bw_result result = bw_store_find_request(daemon->store, &nobody, bw_bytes_of(nothing, BW_REQUEST_ID_LEN), nothing, &arena, &found, &reply);
    bw_arena_clear(&arena);
    return result;
}

static const struct vital { const char *name; bw_result (*ask)(struct bw_daemon *daemon); } vitals_asked[] = {
    { "audit", ask_audit },
    { "hsm",   ask_hsm   },
    { "store", ask_store },
};

/* BW_OK: all are well. */
static enum bw_code first_unwell(struct bw_vitals *vitals)
{
    for (size_t i = 0; i < ARRAY_LEN(vitals_asked); i++) {
        bw_result result = vitals_asked[i].ask(vitals->daemon);
        if (bw_ok(result))
            continue;
        if (vitals->serving)
            bw_log(vitals->daemon->log, BW_LOG_ERROR, "not serving", { "part", vitals_asked[i].name },
                   { "code", bw_code_row(result.code)->name }, { "what", result.what }, { "where", result.where });
        return result.code;
    }
    return BW_OK;
}

static void examine(struct bw_vitals *vitals)
{
    enum bw_code unwell = first_unwell(vitals);
    bool serving = unwell == BW_OK;

    atomic_store(&vitals->daemon->unwell, unwell);
    if (serving == vitals->serving)
        return;
    vitals->serving = serving;
    if (serving)
        bw_log(vitals->daemon->log, BW_LOG_NOTICE, "serving", { "region", vitals->daemon->region.text });
    bw_listener_announce(vitals->daemon->listener, serving);
}

static void *watch(void *self)
{
    struct bw_vitals *vitals = self;
    struct timespec next;

    (void)pthread_setname_np(pthread_self(), "bw-vitals");
    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    (void)pthread_mutex_lock(&vitals->lock);
    while (!vitals->stopping) {
        (void)pthread_mutex_unlock(&vitals->lock);
        examine(vitals);
        (void)clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec++;
        (void)pthread_mutex_lock(&vitals->lock);
        while (!vitals->stopping && pthread_cond_timedwait(&vitals->changed, &vitals->lock, &next) == 0)
            continue;
    }
    (void)pthread_mutex_unlock(&vitals->lock);
    return NULL;
}

bw_result bw_vitals_start(struct bw_daemon *daemon, struct bw_vitals **ret_vitals)
{
    struct bw_vitals *vitals = calloc(1, sizeof *vitals);
    pthread_condattr_t monotonic;

    BW_CHECK(vitals != NULL, BW_NO_MEMORY, "vitals");
    vitals->daemon = daemon;
    (void)pthread_mutex_init(&vitals->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&vitals->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    examine(vitals);
    if (pthread_create(&vitals->thread, NULL, watch, vitals) != 0) {
        free(vitals);
        return bw_fail(BW_NO_MEMORY, "vitals thread");
    }
    *ret_vitals = vitals;
    return bw_success();
}

void bw_vitals_stop(struct bw_vitals *vitals)
{
    if (vitals == NULL)
        return;
    (void)pthread_mutex_lock(&vitals->lock);
    vitals->stopping = true;
    (void)pthread_cond_signal(&vitals->changed);
    (void)pthread_mutex_unlock(&vitals->lock);
    (void)pthread_join(vitals->thread, NULL);
    atomic_store(&vitals->daemon->unwell, BW_SHUTTING_DOWN);
    bw_listener_announce(vitals->daemon->listener, false);
    (void)pthread_cond_destroy(&vitals->changed);
    (void)pthread_mutex_destroy(&vitals->lock);
    free(vitals);
}
