#include "followers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "reply.h"
#include "stages.h"
#include "wire.h"

enum {
    STREAMS_MAX  = 256,
    PER_LOG_MAX  = 32,
    LOOK_MS      = 1000,               /* at heartbeats, checkpoints, certificates and callers that left */
    PATIENCE_MS  = 1000,               /* with who does not read, when we stop */
    MESSAGE_ROOM = 4 * BW_MESSAGE_MAX,
    NICENESS     = 5                   /* keys go first */
};

struct bw_followers {
    struct bw_daemon *daemon;
    pthread_t         thread;
    pthread_mutex_t   lock;            /* over what follows; the thread alone takes streams off the list */
    pthread_cond_t    wanted;
    struct bw_follow *first;
    bool              awake;           /* there may be something to do */
    bool              closing, stopping;
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wake(void *self)
{
    struct bw_followers *followers = self;

    (void)pthread_mutex_lock(&followers->lock);
    followers->awake = true;
    (void)pthread_cond_signal(&followers->wanted);
    (void)pthread_mutex_unlock(&followers->lock);
}

/* ---- one stream ---- */

/* bw_call.part_sent. After busy is cleared the stream may end at any time. */
static void part_sent(struct bw_call *call, bool sent)
{
    struct bw_followers *followers = call->daemon->followers;

    if (!sent)
        atomic_store(&call->abandoned, true);
    atomic_store(&call->follow->busy, false);
    wake(followers);
}

static void send_part(struct bw_follow *follow, bw_bytes bytes)
{
    atomic_store(&follow->busy, true);
    follow->said_ms = now_ms();
    follow->call->send_part(follow->call, bytes);
}

static bw_result say_next(struct bw_daemon *daemon, struct bw_follow *follow, struct bw_arena *arena)
{
    bool              heartbeat = now_ms() - follow->said_ms >= (int64_t)follow->heartbeat_ms;
    ProtobufCMessage *message;
    bw_bytes          bytes;

    BW_TRY(bw_follow_next(daemon, follow, heartbeat, arena, &message));
    if (message == NULL)
        return bw_success();
    BW_TRY(bw_wire_pack(message, arena, &bytes));
    send_part(follow, bytes);
    return bw_success();
}

/* What fails ends the stream. */
static bw_result tend(struct bw_followers *followers, struct bw_follow *follow, bool closing)
{
    struct bw_arena arena = { .ceiling = MESSAGE_ROOM };

    BW_CHECK(!closing, BW_SHUTTING_DOWN, "this node is shutting down");
    BW_CHECK(!atomic_load(&follow->call->abandoned), BW_CANCELLED, "the caller is gone");
    BW_TRY(bw_authenticate(followers->daemon, follow->call->jobs));
    if (atomic_load(&follow->busy))
        return bw_success();
    bw_result r = say_next(followers->daemon, follow, &arena);
    bw_arena_clear(&arena);
    return r;
}

static void take_off(struct bw_followers *followers, struct bw_follow *follow)
{
    (void)pthread_mutex_lock(&followers->lock);
    struct bw_follow **at = &followers->first;
    while (*at != follow)
        at = &(*at)->next;
    *at = follow->next;
    (void)pthread_mutex_unlock(&followers->lock);
}

/* Once nothing is on its way any more; what is, and may stay for ever, is given up first. */
static void end(struct bw_followers *followers, struct bw_follow *follow, bw_result why)
{
    struct bw_call *call = follow->call;

    if (atomic_load(&follow->busy)) {
        bool patient = why.code == BW_SHUTTING_DOWN && now_ms() - follow->said_ms < PATIENCE_MS;
        if (!patient && !follow->is_cut)
            call->cut(call, why);
        follow->is_cut = follow->is_cut || !patient;
        return;
    }
    take_off(followers, follow);
    bw_log(followers->daemon->log, BW_LOG_INFO, "stream ended", { "code", bw_code_row(why.code)->name }, { "what", why.what },
           { "tenant", call->jobs->caller.identity.tenant.text }, { "principal", call->jobs->caller.spiffe_id }, { "peer", call->peer.address });
    bw_reply_refuse(call, call->jobs, why);
}

/* ---- the thread ---- */

/* false: to stop, and there are no streams any more. */
static bool wait_for_work(struct bw_followers *followers, struct bw_follow **ret_first, bool *ret_closing)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_MS / 1000;
    (void)pthread_mutex_lock(&followers->lock);
    while (!followers->awake && (followers->first == NULL ? pthread_cond_wait(&followers->wanted, &followers->lock)
                                                          : pthread_cond_timedwait(&followers->wanted, &followers->lock, &until)) == 0)
        continue;
    followers->awake = false;
    *ret_first   = followers->first;
    *ret_closing = followers->closing;
    bool go_on   = !followers->stopping || followers->first != NULL;
    (void)pthread_mutex_unlock(&followers->lock);
    return go_on;
}

static void *run(void *self)
{
    struct bw_followers *followers = self;
    struct bw_follow    *at, *next;
    bool closing;

    (void)pthread_setname_np(pthread_self(), "bw-follower");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    while (wait_for_work(followers, &at, &closing))
        for (; at != NULL; at = next) {
            next = at->next; /* newcomers stand in front of those that are here */
            bw_result r = tend(followers, at, closing);
            if (!bw_ok(r))
                end(followers, at, r);
        }
    return NULL;
}

/* ---- others ---- */

static bw_result find_room(const struct bw_followers *followers, uint32_t log)
{
    size_t all = 0, of_log = 0;

    for (const struct bw_follow *at = followers->first; at != NULL; at = at->next) {
        all++;
        of_log += at->query.log == log;
    }
    BW_CHECK(!followers->closing, BW_SHUTTING_DOWN, "this node is shutting down");
    BW_CHECK(all < STREAMS_MAX && of_log < PER_LOG_MAX, BW_OVERLOADED, "too many streams");
    return bw_success();
}

bw_result bw_followers_take(struct bw_followers *followers, struct bw_call *call, bw_bytes first)
{
    struct bw_follow *follow = call->follow;

    follow->call    = call;
    call->part_sent = part_sent;
    (void)pthread_mutex_lock(&followers->lock);
    bw_result r = find_room(followers, follow->query.log);
    if (bw_ok(r)) {
        send_part(follow, first); /* before the thread sees it */
        follow->next     = followers->first;
        followers->first = follow;
    }
    (void)pthread_mutex_unlock(&followers->lock);
    if (!bw_ok(r))
        call->follow = NULL;
    return r;
}

void bw_followers_close(struct bw_followers *followers)
{
    (void)pthread_mutex_lock(&followers->lock);
    followers->closing = true;
    (void)pthread_mutex_unlock(&followers->lock);
    wake(followers);
}

static bw_result init(struct bw_followers *followers, struct bw_daemon *daemon)
{
    pthread_condattr_t monotonic;

    followers->daemon = daemon;
    BW_CHECK(pthread_condattr_init(&monotonic) == 0 && pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0
             && pthread_mutex_init(&followers->lock, NULL) == 0 && pthread_cond_init(&followers->wanted, &monotonic) == 0, BW_NO_MEMORY, "followers");
    (void)pthread_condattr_destroy(&monotonic);
    BW_CHECK(pthread_create(&followers->thread, NULL, run, followers) == 0, BW_NO_MEMORY, "followers");
    return bw_success();
}

bw_result bw_followers_start(struct bw_daemon *daemon, struct bw_followers **ret_followers)
{
    struct bw_followers *followers = calloc(1, sizeof *followers);

    BW_CHECK(followers != NULL, BW_NO_MEMORY, "followers");
    bw_result r = init(followers, daemon);
    if (!bw_ok(r)) {
        free(followers);
        return r;
    }
    bw_audit_watch(daemon->audit, wake, followers);
    *ret_followers = followers;
    return bw_success();
}

void bw_followers_stop(struct bw_followers *followers)
{
    if (followers == NULL)
        return;
    bw_audit_watch(followers->daemon->audit, NULL, NULL);
    (void)pthread_mutex_lock(&followers->lock);
    followers->closing = followers->stopping = true;
    (void)pthread_mutex_unlock(&followers->lock);
    wake(followers);
    (void)pthread_join(followers->thread, NULL);
    (void)pthread_cond_destroy(&followers->wanted);
    (void)pthread_mutex_destroy(&followers->lock);
    free(followers);
}
