#include "module.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "enter.h"
#include "trace.h"

enum phase {
    PHASE_OUT,      /* before C_Initialize, after C_Finalize */
    PHASE_IN,
    PHASE_CLOSING,  /* C_Finalize waits for calls to end */
    PHASE_FORKED    /* a child that has its parent's memory, and must not use it */
};

enum { DRAIN_SECONDS = 1 };

static struct {
    pthread_mutex_t     lock;     /* one C_Initialize or C_Finalize at a time; no other call takes it */
    pthread_cond_t      changed;  /* the last call left, or the phase changed */
    atomic_int          phase;    /* enum phase */
    atomic_int          pid;      /* who initialised: a raw clone() runs no atfork handler */
    atomic_uint         inside;   /* calls in progress */
    bool                watches_forks;
    OSSL_LIB_CTX       *library;  /* made once and never freed: see struct bw_client_options */

    /* constant while PHASE_IN, but for what the objects guard themselves */
    char               *config;   /* what C_Initialize was given, or NULL */
    struct bw_conf      conf;
    struct bw_slot    **slots;
    struct bw_sessions  sessions;
    bool                traces;
} module = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .sessions = BW_SESSIONS_EMPTY };

/* ---- fork ----
 *
 * The forking thread waits until no other is in the middle of C_Initialize or C_Finalize, or inside OpenSSL on a client's
 * behalf: what such a thread holds would stay held in the child, OpenSSL's own locks among it. A signal handler that forks
 * out of one of our calls cannot wait for itself; its child gets a module that answers, and no more. */

static void before_fork(void)
{
    if (bw_thread_is_inside())
        return;
    pthread_mutex_lock(&module.lock);
    for (size_t i = 0; module.slots != NULL && i < module.conf.slot_count; i++)
        bw_client_before_fork(module.slots[i]->remote.client);
}

static void after_fork(void)
{
    if (bw_thread_is_inside())
        return;
    for (size_t i = 0; module.slots != NULL && i < module.conf.slot_count; i++)
        bw_client_after_fork(module.slots[i]->remote.client);
    pthread_mutex_unlock(&module.lock);
}

/* All of it stays where it is until C_Initialize abandons it. */
static void in_child(void)
{
    if (atomic_load(&module.phase) != PHASE_OUT)
        atomic_store(&module.phase, PHASE_FORKED);
    atomic_store(&module.inside, 0);
    module.changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER; /* without the parent's waiters */
    after_fork();
}

static bool is_in(void)
{
    return atomic_load(&module.phase) == PHASE_IN && atomic_load(&module.pid) == getpid();
}

/* Forgets what the parent, or threads that will not leave, may have been changing. Its memory stays behind. */
static void abandon(void)
{
    for (size_t i = 0; i < module.conf.slot_count && module.slots != NULL; i++)
        if (module.slots[i] != NULL)
            bw_slot_abandon(module.slots[i]);
    bw_sessions_abandon(&module.sessions);
    module.slots   = NULL;
    module.library = NULL;
    module.conf    = (struct bw_conf){ .path = NULL };
}

/* ---- in ---- */

static bw_result remember(const char *config)
{
    if (config == NULL || config[0] == '\0')
        return bw_success();
    char *copy = strdup(config);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "configuration");
    free(module.config);
    module.config = copy;
    return bw_success();
}

static bw_result load_conf(void)
{
    char message[BW_CONF_MESSAGE_MAX] = "out of memory";
    struct bw_arena arena = { .blocks = NULL };
    const char *path;

    bw_result result = bw_conf_find(module.config, &arena, &path, message);
    if (bw_ok(result))
        result = bw_conf_load(path, &module.conf, message);
    bw_arena_clear(&arena);
    if (!bw_ok(result))
        bw_trace("%s", message);
    return result;
}

static void free_slots(void)
{
    for (size_t i = 0; i < module.conf.slot_count && module.slots != NULL; i++)
        bw_slot_free(module.slots[i]);
    free(module.slots);
    module.slots = NULL;
}

/* Two sections' names may hash alike: the later one moves on, in the child as in the parent. */
static void make_id_unique(size_t index)
{
    for (size_t i = 0; i < index;) {
        if (module.slots[i]->id != module.slots[index]->id) {
            i++;
            continue;
        }
        module.slots[index]->id++;
        i = 0;
    }
}

static bw_result make_slots(void)
{
    module.traces = false;
    module.slots  = calloc(module.conf.slot_count, sizeof(struct bw_slot *));
    BW_CHECK(module.slots != NULL, BW_NO_MEMORY, "slots");
    if (module.library == NULL)
        module.library = OSSL_LIB_CTX_new();
    BW_CHECK(module.library != NULL, BW_NO_MEMORY, "OpenSSL's library context");
    for (size_t i = 0; i < module.conf.slot_count; i++) {
        BW_TRY(bw_slot_new(&module.conf.slots[i], module.library, &module.slots[i]));
        make_id_unique(i);
        module.traces |= module.conf.slots[i].trace;
    }
    return bw_success();
}

static void set_phase(enum phase phase)
{
    atomic_store(&module.phase, phase);
    pthread_cond_broadcast(&module.changed);
}

static void free_all(void)
{
    bw_sessions_clear(&module.sessions);
    free_slots();
    bw_conf_clear(&module.conf);
}

static bw_result initialize_locked(const char *config)
{
    while (atomic_load(&module.phase) == PHASE_CLOSING && atomic_load(&module.pid) == getpid())
        pthread_cond_wait(&module.changed, &module.lock); /* a second at most */
    BW_CHECK(!is_in(), BW_ALREADY_INITIALIZED, "C_Initialize");
    if (atomic_load(&module.phase) != PHASE_OUT) {
        abandon();
        set_phase(PHASE_OUT);
    }
    BW_CHECK(module.watches_forks || pthread_atfork(before_fork, after_fork, in_child) == 0, BW_NO_MEMORY, "fork handler");
    module.watches_forks = true;

    BW_TRY(remember(config));
    BW_TRY(load_conf());
    bw_result result = make_slots();
    if (!bw_ok(result)) {
        free_all();
        return result;
    }
    atomic_store(&module.pid, getpid());
    set_phase(PHASE_IN);
    return bw_success();
}

bw_result bw_module_initialize(const char *config)
{
    pthread_mutex_lock(&module.lock);
    bw_result result = initialize_locked(config);
    pthread_mutex_unlock(&module.lock);
    return result;
}

/* ---- out ---- */

/* Whether all calls ended in time. */
static bool drain_locked(void)
{
    struct timespec until;
    int waited = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail: the clock exists */
    until.tv_sec += DRAIN_SECONDS;
    while (atomic_load(&module.inside) > 0 && waited != ETIMEDOUT)
        waited = pthread_cond_clockwait(&module.changed, &module.lock, CLOCK_MONOTONIC, &until);
    return atomic_load(&module.inside) == 0;
}

/* OpenSSL cleans up at exit, in a handler that may run before the host's that calls us. Then it must not be touched. */
static bool openssl_is_gone(void)
{
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1;
}

static bw_result finalize_locked(void)
{
    BW_CHECK(is_in(), BW_NOT_INITIALIZED, "C_Finalize");
    set_phase(PHASE_CLOSING);
    for (size_t i = 0; i < module.conf.slot_count; i++)
        bw_client_cancel(module.slots[i]->remote.client);
    if (drain_locked() && !openssl_is_gone())
        free_all();
    else
        abandon();
    free(module.config);
    module.config = NULL;
    set_phase(PHASE_OUT);
    return bw_success();
}

bw_result bw_module_finalize(void)
{
    pthread_mutex_lock(&module.lock);
    bw_result result = finalize_locked();
    pthread_mutex_unlock(&module.lock);
    return result;
}

/* ---- a call ---- */

/* Counted first, looked at second: C_Finalize changes the phase first and looks at the count second. */
bw_result bw_module_enter(void)
{
    atomic_fetch_add(&module.inside, 1);
    if (is_in())
        return bw_success();
    bw_module_leave();
    return bw_fail(BW_NOT_INITIALIZED, "not initialised in this process");
}

void bw_module_leave(void)
{
    if (atomic_fetch_sub(&module.inside, 1) != 1 || atomic_load(&module.phase) != PHASE_CLOSING)
        return;
    pthread_mutex_lock(&module.lock);
    pthread_cond_broadcast(&module.changed);
    pthread_mutex_unlock(&module.lock);
}

struct bw_sessions *bw_module_sessions(void)
{
    return &module.sessions;
}

size_t bw_module_slot_count(void)
{
    return module.conf.slot_count;
}

struct bw_slot *bw_module_slot_at(size_t index)
{
    return index < module.conf.slot_count ? module.slots[index] : NULL;
}

struct bw_slot *bw_module_slot(CK_SLOT_ID id)
{
    for (size_t i = 0; i < module.conf.slot_count; i++)
        if (module.slots[i]->id == id)
            return module.slots[i];
    return NULL;
}

bool bw_module_traces(void)
{
    return module.traces;
}
