/* Hosts that fork, unload the module, and end: at any moment, from any thread, with and without C_Finalize. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bailiwick/bytes.h"
#include "host.h"

enum { PATIENCE = 20 /* seconds for a child */, BUSY = 4 /* threads */ };

static struct host parent;
static CK_INFO     parents_info;

/* A child that runs this ends by itself, well, and without a complaint. */
static void in_child(void (*run)(void))
{
    pid_t child = fork();
    int status = 0;

    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(PATIENCE);
        run();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    host_must(status == 0, "the child's status", (CK_RV)status);
}

/* ---- children ---- */

/* trap 1: what the parent had is gone, and says so */
static void is_uninitialised(void)
{
    CK_SESSION_INFO info;
    CK_BYTE cipher[HOST_CIPHER];

    MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetInfo(&parents_info));
    MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetSessionInfo(parent.session, &info));
    MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, host_encrypt(parent.session, parent.aes, cipher));
    MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_CloseSession(parent.session));
}

/* trap 2: initialised without C_Finalize; trap 3: with other arguments than the parent's; trap 4: the parent's slot, as
 * each worker of nginx does. The parent's session and object handles stay invalid. */
static void begins_anew(void)
{
    struct host own = { .slot = parent.slot };
    CK_BYTE cipher[HOST_CIPHER];
    CK_INFO info;

    MUST(p11->C_Initialize(NULL));
    MUST(p11->C_GetInfo(&info));
    CHECK(memcmp(&info, &parents_info, sizeof info) == 0);
    own.session = host_open(own.slot);
    CHECK(own.session != parent.session);
    MUST_BE(CKR_SESSION_HANDLE_INVALID, host_encrypt(parent.session, parent.aes, cipher));
    MUST_BE(CKR_KEY_HANDLE_INVALID, host_encrypt(own.session, parent.aes, cipher));
    own.aes = host_find(own.session, CKO_SECRET_KEY, "aes");
    memcpy(own.cipher, parent.cipher, sizeof own.cipher);
    host_works(&own);
}

static void finalises_first(void)
{
    CK_RV rv = p11->C_Finalize(NULL);

    host_must(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED, "C_Finalize in a child", rv);
    begins_anew();
    MUST(p11->C_Finalize(NULL));
}

static void becomes_a_parent(void)
{
    begins_anew();
    in_child(is_uninitialised);
    in_child(begins_anew);
    in_child(finalises_first);
    MUST(p11->C_Finalize(NULL));
}

static void (*const children[])(void) = { is_uninitialised, begins_anew, finalises_first, becomes_a_parent };

/* ---- forking ---- */

/* The configuration is known from C_Initialize alone, so that a child has it from nowhere else (trap 3). */
static void start_parent(void)
{
    static char config[4096];
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = config };
    const char *path = getenv("BAILIWICK_PKCS11_CONFIG");

    CHECK(path != NULL);
    (void)snprintf(config, sizeof config, "config=%s", path);
    CHECK(unsetenv("BAILIWICK_PKCS11_CONFIG") == 0);
    MUST(p11->C_Initialize(&args));
    memset(config, 'x', sizeof config - 1); /* it is the caller's again */
    MUST(p11->C_GetInfo(&parents_info));
    parent.slot    = host_slot();
    parent.session = host_open(parent.slot);
    parent.aes     = host_find(parent.session, CKO_SECRET_KEY, "aes");
    MUST(host_encrypt(parent.session, parent.aes, parent.cipher));
}

static void after_initialize(void)
{
    start_parent();
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        in_child(children[i]);
        host_works(&parent); /* on the connection that it had */
    }
    MUST(p11->C_Finalize(NULL));
    in_child(is_uninitialised);
}

static void starts(void)
{
    struct host own;

    host_start(&own);
    host_works(&own);
}

static void before_initialize(void)
{
    in_child(starts);
    starts();
    in_child(is_uninitialised);
}

static atomic_bool stop;

static void *encrypt_on(void *unused)
{
    struct host own = parent;

    own.session = host_open(own.slot);
    while (!atomic_load(&stop))
        host_works(&own);
    return unused;
}

static void start_threads(pthread_t threads[static BUSY], void *(*run)(void *))
{
    for (int i = 0; i < BUSY; i++)
        CHECK(pthread_create(&threads[i], NULL, run, NULL) == 0);
}

static void join_threads(const pthread_t threads[static BUSY])
{
    for (int i = 0; i < BUSY; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void in_mid_call(void)
{
    pthread_t threads[BUSY];

    start_parent();
    start_threads(threads, encrypt_on);
    for (int i = 0; i < 40; i++)
        in_child(children[(size_t)i % ARRAY_LEN(children)]);
    atomic_store(&stop, true);
    join_threads(threads);
    host_works(&parent);
}

/* ---- unloading: trap 7 ---- */

static void unloaded(void)
{
    host_start(&parent);
    MUST(p11->C_Finalize(NULL));
    CHECK(dlclose(host_handle) == 0);
    host_load(host_module);
    host_start(&parent);
    MUST(p11->C_Finalize(NULL));
}

static void unloaded_without_finalize(void)
{
    pthread_t threads[BUSY];

    host_start(&parent);
    start_threads(threads, encrypt_on);
    CHECK(dlclose(host_handle) == 0);
    in_child(is_uninitialised); /* the fork handler has its code still */
    atomic_store(&stop, true);
    join_threads(threads);
    host_load(host_module);
    MUST_BE(CKR_CRYPTOKI_ALREADY_INITIALIZED, p11->C_Initialize(NULL));
    host_works(&parent);
}

/* ---- ending: trap 5, C_Finalize is never called, or so late that OpenSSL is gone ---- */

static void *exit_in_thread(void *unused)
{
    exit(0);
    return unused;
}

static void start_busily(void)
{
    pthread_t threads[BUSY];

    host_start(&parent);
    start_threads(threads, encrypt_on);
}

static void ends_by_exit(void)
{
    start_busily();
    exit(0);
}

static void ends_idle(void)
{
    host_start(&parent);
    exit(0);
}

static void ends_at_once(void)
{
    start_busily();
    _exit(0);
}

static void ends_quickly(void)
{
    start_busily();
    quick_exit(0);
}

static void ends_from_a_thread(void)
{
    pthread_t thread;

    start_busily();
    CHECK(pthread_create(&thread, NULL, exit_in_thread, NULL) == 0);
    (void)pause(); /* until the other ends us */
}

static void ends_without_its_first_thread(void)
{
    pthread_t thread;

    start_busily();
    CHECK(pthread_create(&thread, NULL, exit_in_thread, NULL) == 0);
    pthread_exit(NULL);
}

static void finalize_at_exit(void)
{
    CK_BYTE cipher[HOST_CIPHER];

    MUST(p11->C_Finalize(NULL));
    MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, host_encrypt(parent.session, parent.aes, cipher));
}

/* Registered before OpenSSL's own handler, hence run after it. */
static void ends_and_finalises_then(void)
{
    CHECK(atexit(finalize_at_exit) == 0);
    host_start(&parent);
    exit(0);
}

static void ended(void)
{
    static void (*const ends[])(void) = {
        ends_idle, ends_by_exit, ends_at_once, ends_quickly, ends_from_a_thread, ends_without_its_first_thread, ends_and_finalises_then,
    };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        in_child(ends[i]);
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        { "forked-after-initialize",   after_initialize          },
        { "forked-before-initialize",  before_initialize         },
        { "forked-in-mid-call",        in_mid_call               },
        { "unloaded",                  unloaded                  },
        { "unloaded-without-finalize", unloaded_without_finalize },
        { "ended",                     ended                     },
    };

    return host_main(argc, argv, cases, ARRAY_LEN(cases));
}
