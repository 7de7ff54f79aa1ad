#include "housekeeping.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "audit.h"
#include "clock.h"
#include "deed.h"
#include "destruction.h"
#include "hsm.h"
#include "log.h"
#include "material.h"
#include "method.h"
#include "proposal.h"
#include "recover.h"
#include "rotation.h"
#include "store.h"

#define PAUSE_US ((int64_t)10 * 60 * 1000000)
enum { CHUNK = 64 }; /* keys looked at under one reading of the registry */

/* ---- chores ---- */

static bw_result rotate(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us)
{
    const struct bw_key *rotated = NULL;
    struct bw_arena arena = { 0 };
    struct bw_record record;

    (void)now_us;
    BW_TRY(bw_deed_begin(daemon, BW_METHOD_NR(RotateKey), key, &record));
    bw_result result = bw_rotation_run(daemon, &key->name, bw_key_primary(key)->number, NULL, &arena, &rotated);
    if (bw_ok(result))
        record.key_version = bw_key_primary(rotated)->number;
    bw_key_unref(rotated);
    bw_arena_clear(&arena);
    return bw_deed_end(daemon, &record, result);
}

static int64_t material_due(const struct bw_key *key, int64_t now_us)
{
    (void)now_us;
    return bw_material_due(key);
}

/* A key has one thing due at a time; the next pass finds the next. */
static const struct chore {
    const char *name;
    int64_t   (*due)(const struct bw_key *key, int64_t now_us); /* INT64_MAX: never */
    bw_result (*run)(struct bw_daemon *daemon, const struct bw_key *key, int64_t now_us);
} chores[] = {
    { "destroy", bw_destruction_due, bw_destruction_run },
    { "expire",  material_due,       bw_material_expire },
    { "rotate",  bw_rotation_due,    rotate             },
};

/* What was used since the store last heard of it. */
static bw_result keep_last_uses(struct bw_daemon *daemon, const struct bw_key *key)
{
    for (size_t i = 0; i < key->version_count; i++) {
        struct bw_budget *budget = key->versions[i].budget;
        int64_t used_us = atomic_load(&budget->last_used_us);
        if (used_us <= atomic_load(&budget->last_kept_us))
            continue;
        BW_TRY(bw_store_keep_last_use(daemon->store, &key->name.id, key->versions[i].number, used_us));
        atomic_store(&budget->last_kept_us, used_us);
    }
    return bw_success();
}

/* A key waits for its material: soon somebody asks for what to wrap it with, which takes longer to make than a caller waits.
 * Where this is cut short, who asks has it made. */
static bw_result prepare_import(struct bw_daemon *daemon, const struct bw_key *key)
{
    const struct bw_tenant_info *tenant;

    if (key->state != BW_STATE_PENDING_IMPORT)
        return bw_success();
    BW_TRY(bw_registry_tenant(daemon->registry, &key->name.tenant, &tenant));
    bw_result prepared = tenant->token != NULL ? bw_hsm_prepare_wrapping_key(tenant->token) : bw_success();
    bw_tenant_info_unref(tenant);
    return prepared;
}

/* ---- a pass ---- */

struct pass {
    struct bw_daemon         *daemon;
    int64_t                   now_us, next_us;
    bool                      open;   /* the tenant's token */
    bw_housekeeping_failed_fn failed;
};

static void tend(struct pass *pass, const struct bw_key *key)
{
    bw_result kept = keep_last_uses(pass->daemon, key);

    if (!bw_ok(kept))
        pass->failed(pass->daemon, "keep last uses", key, kept);
    bw_result prepared = prepare_import(pass->daemon, key);
    if (!bw_ok(prepared))
        pass->failed(pass->daemon, "prepare import", key, prepared);
    for (size_t i = 0; pass->open && i < ARRAY_LEN(chores); i++) {
        int64_t due_us = chores[i].due(key, pass->now_us);
        if (due_us <= pass->now_us) {
            bw_result result = chores[i].run(pass->daemon, key, pass->now_us);
            if (!bw_ok(result))
                pass->failed(pass->daemon, chores[i].name, key, result);
            return;
        }
        if (due_us < pass->next_us)
            pass->next_us = due_us;
    }
}

static bw_result tend_chunk(struct pass *pass, const bw_tenant *tenant, const bw_key_id *after, bw_key_id *ret_last, size_t *ret_count)
{
    const struct bw_key_filter all = { 0 };
    const struct bw_key *keys[CHUNK];

    BW_TRY(bw_registry_list(pass->daemon->registry, tenant, after, &all, keys, CHUNK, ret_count));
    for (size_t i = 0; i < *ret_count; i++) {
        *ret_last = keys[i]->name.id;
        tend(pass, keys[i]);
        bw_key_unref(keys[i]);
    }
    return bw_success();
}

static void tend_keys(struct pass *pass, const bw_tenant *tenant)
{
    bw_key_id last;
    size_t count;

    for (const bw_key_id *after = NULL;; after = &last)
        if (!bw_ok(tend_chunk(pass, tenant, after, &last, &count)) || count < CHUNK)
            return; /* a tenant that is gone has no keys to tend */
}

/* Without a log nothing is done, and a clock that went back may go forward again by too much. */
static bool log_is_well(struct pass *pass)
{
    bw_result result = bw_audit_health(pass->daemon->audit);

    if (!bw_ok(result))
        pass->failed(pass->daemon, "look", NULL, result);
    return bw_ok(result);
}

int64_t bw_housekeeping_run(struct bw_daemon *daemon, int64_t now_us, bw_housekeeping_failed_fn failed)
{
    struct pass pass = { .daemon = daemon, .now_us = now_us, .next_us = now_us + PAUSE_US, .failed = failed };
    const struct bw_tenant_info *tenant;
    bw_tenant name;

    if (!log_is_well(&pass))
        return pass.next_us;
    bw_result result = bw_recovery_go_on(daemon, daemon->recovery, NULL);
    if (!bw_ok(result))
        failed(daemon, "recover", NULL, result);
    result = bw_proposals_expire(daemon, now_us);
    if (!bw_ok(result))
        failed(daemon, "expire proposals", NULL, result);
    for (const bw_tenant *after = NULL; bw_registry_tenants(daemon->registry, after, &tenant, 1) == 1; after = &name) {
        name = tenant->name;
        pass.open = tenant->token != NULL;
        bw_tenant_info_unref(tenant);
        tend_keys(&pass, &name);
    }
    return pass.next_us;
}

/* ---- the thread ---- */

struct bw_housekeeping {
    struct bw_daemon *daemon;
    pthread_t         thread;
    pthread_mutex_t   lock;
    pthread_cond_t    changed; /* CLOCK_MONOTONIC */
    bool              stopping, woken;
    struct bw_clock   clock;   /* the thread's own */
};

static void tell(struct bw_daemon *daemon, const char *chore, const struct bw_key *key, bw_result why)
{
    char name[BW_KEY_NAME_MAX + 1] = "";

    if (key != NULL)
        bw_key_name_print(&key->name, name);
    bw_log(daemon->log, BW_LOG_ERROR, "housekeeping failed", { "chore", chore }, { "key", name }, { "code", bw_code_row(why.code)->name },
           { "what", why.what }, { "where", why.where }, { "instead", "it is tried again" });
}

static void tell_doubt(struct bw_daemon *daemon, int64_t wall_us, int64_t now_us)
{
    char ahead[24];

    (void)snprintf(ahead, sizeof ahead, "%lld", (long long)((wall_us - now_us) / 1000000));
    bw_log(daemon->log, BW_LOG_ERROR, "the clock has jumped", { "seconds_ahead", ahead },
           { "instead", "deletions and expiries go by the time before the jump, for a day" }, { "wrong", "set the clock right, or let it stand" });
}

/* How long until the next pass, in microseconds. */
static int64_t do_pass(struct bw_housekeeping *house)
{
    struct bw_clock_reading reading = bw_clock_now();
    int64_t now_us = bw_clock_read(&house->clock, reading);

    if (house->clock.doubted)
        tell_doubt(house->daemon, reading.wall_us, now_us);
    bw_result kept = bw_store_trust_time(house->daemon->store, now_us);
    if (!bw_ok(kept))
        tell(house->daemon, "keep the time", NULL, kept);
    return bw_housekeeping_run(house->daemon, now_us, tell) - now_us;
}

/* The lock is held. */
static void sleep_for(struct bw_housekeeping *house, int64_t us)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t until_us = (int64_t)until.tv_sec * 1000000 + until.tv_nsec / 1000 + us;
    until = (struct timespec){ .tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000 };
    while (!house->stopping && !house->woken && pthread_cond_timedwait(&house->changed, &house->lock, &until) == 0)
        continue;
    house->woken = false;
}

static void *keep_house(void *self)
{
    struct bw_housekeeping *house = self;
    bool last;

    (void)pthread_mutex_lock(&house->lock);
    do {
        last = house->stopping; /* once more at the end, for the last uses */
        (void)pthread_mutex_unlock(&house->lock);
        int64_t pause_us = do_pass(house);
        (void)pthread_mutex_lock(&house->lock);
        sleep_for(house, pause_us);
    } while (!last);
    (void)pthread_mutex_unlock(&house->lock);
    return NULL;
}

static void init_locks(struct bw_housekeeping *house)
{
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&house->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&house->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

bw_result bw_housekeeping_start(struct bw_daemon *daemon, struct bw_housekeeping **ret_housekeeping)
{
    int64_t before_us;

    BW_TRY(bw_store_trusted_time(daemon->store, &before_us));
    struct bw_housekeeping *house = calloc(1, sizeof *house);
    BW_CHECK(house != NULL, BW_NO_MEMORY, "housekeeping");
    house->daemon = daemon;
    bw_clock_start(&house->clock, before_us, bw_clock_now());
    init_locks(house);
    if (pthread_create(&house->thread, NULL, keep_house, house) != 0) {
        free(house);
        return bw_fail(BW_NO_MEMORY, "housekeeping thread");
    }
    *ret_housekeeping = house;
    return bw_success();
}

void bw_housekeeping_wake(struct bw_housekeeping *house)
{
    if (house == NULL)
        return;
    (void)pthread_mutex_lock(&house->lock);
    house->woken = true;
    (void)pthread_cond_signal(&house->changed);
    (void)pthread_mutex_unlock(&house->lock);
}

void bw_housekeeping_stop(struct bw_housekeeping *house)
{
    if (house == NULL)
        return;
    (void)pthread_mutex_lock(&house->lock);
    house->stopping = true;
    (void)pthread_cond_signal(&house->changed);
    (void)pthread_mutex_unlock(&house->lock);
    (void)pthread_join(house->thread, NULL);
    (void)pthread_cond_destroy(&house->changed);
    (void)pthread_mutex_destroy(&house->lock);
    free(house);
}
