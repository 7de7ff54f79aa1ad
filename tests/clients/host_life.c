/* Hosts that ask much of a module: threads, C_Finalize under way, signals, narrow limits, and things of theirs that must stay as
 * they were. */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are what OpenSSL 3.0's hosts have */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "bailiwick/bytes.h"
#include "host.h"

enum { MANY = 64 /* threads */ };

static struct host host;
static atomic_long done;

/* ---- threads ---- */

static void run_threads(int count, void *(*run)(void *))
{
    pthread_t threads[MANY];

    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, run, NULL) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *work_on_own_session(void *unused)
{
    struct host own = host;

    own.session = host_open(own.slot);
    for (int i = 0; i < 25; i++)
        host_works(&own);
    MUST(p11->C_CloseSession(own.session));
    return unused;
}

/* One operation at a time belongs to a session: who finds another's there is told so, or completes it. */
static void *work_on_shared_session(void *unused)
{
    CK_BYTE cipher[HOST_CIPHER];

    for (int i = 0; i < 25; i++) {
        CK_RV rv = host_encrypt(host.session, host.aes, cipher);
        host_must(rv == CKR_OK || rv == CKR_OPERATION_ACTIVE || rv == CKR_OPERATION_NOT_INITIALIZED, "C_Encrypt", rv);
        CHECK(rv != CKR_OK || memcmp(cipher, host.cipher, sizeof cipher) == 0);
        atomic_fetch_add(&done, rv == CKR_OK);
    }
    return unused;
}

/* trap 31: no lock over the RPC */
static void threads_by_the_dozen(void)
{
    host_start(&host);
    int descriptors = host_entries("/proc/self/fd");
    run_threads(MANY, work_on_own_session);
    run_threads(MANY, work_on_shared_session);
    CHECK(atomic_load(&done) > 0);
    CHECK(host_entries("/proc/self/task") == 3); /* with . and .. */
    CHECK(host_entries("/proc/self/fd") == descriptors);
}

/* ---- C_Finalize while others are in calls: trap 6 ---- */

static void *work_until_finalised(void *unused)
{
    CK_BYTE cipher[HOST_CIPHER];
    CK_SESSION_HANDLE session;

    CK_RV rv = p11->C_OpenSession(host.slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
    while (rv == CKR_OK) {
        rv = host_encrypt(session, host.aes, cipher);
        atomic_fetch_add(&done, 1);
    }
    host_must(rv == CKR_CRYPTOKI_NOT_INITIALIZED, "a call that C_Finalize overtakes", rv);
    return unused;
}

static void finalised_in_mid_call(void)
{
    enum { BUSY = 8 };
    pthread_t threads[BUSY];

    for (int round = 0; round < 20; round++) {
        host_start(&host);
        atomic_store(&done, 0);
        for (int i = 0; i < BUSY; i++)
            CHECK(pthread_create(&threads[i], NULL, work_until_finalised, NULL) == 0);
        while (atomic_load(&done) < BUSY)
            (void)sched_yield();
        long began = host_now_ms();
        MUST(p11->C_Finalize(NULL));
        CHECK(host_now_ms() - began < 2000);
        for (int i = 0; i < BUSY; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        MUST_BE(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_Finalize(NULL));
    }
}

/* ---- signals: trap 11 ---- */

static atomic_long signals;

static void note_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static bool handlers_are(const struct sigaction expected[static NSIG])
{
    struct sigaction now;

    for (int i = 1; i < NSIG; i++)
        if (sigaction(i, NULL, &now) == 0 && now.sa_handler != expected[i].sa_handler)
            return false;
    return true;
}

static void note_handlers(struct sigaction ret_handlers[static NSIG])
{
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, NULL, &ret_handlers[i]); /* fails where a number stands for none */
}

/* Every system call of the module is interrupted sooner or later, as none is restarted. */
static void storm_of_signals(void)
{
    static struct sigaction handlers[NSIG];
    const struct sigaction storm = { .sa_handler = note_signal };
    const struct itimerval often = { .it_interval.tv_usec = 300, .it_value.tv_usec = 300 }, never = { .it_value.tv_usec = 0 };
    sigset_t mask, after;

    CHECK(sigaction(SIGALRM, &storm, NULL) == 0);
    note_handlers(handlers);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int round = 0; round < 10; round++) {
        host_start(&host);
        for (int i = 0; i < 30; i++)
            host_works(&host);
        MUST(p11->C_Finalize(NULL));
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(atomic_load(&signals) > 100);
    CHECK(handlers_are(handlers));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (int i = 1; i < NSIG; i++)
        CHECK(sigismember(&mask, i) == sigismember(&after, i));
}

/* ---- limits ---- */

/* select() would write past its set. All of ours are closed when the host executes another program. */
static void descriptors_over_1024(void)
{
    const struct rlimit room = { 4096, 4096 };

    CHECK(setrlimit(RLIMIT_NOFILE, &room) == 0);
    for (int i = 0; i < 1500; i++)
        CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
    int first = open("/dev/null", O_RDONLY | O_CLOEXEC);
    host_start(&host);
    host_works(&host);
    int open_ones = 0;
    for (int fd = first; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFD);
        open_ones += flags >= 0;
        CHECK(flags < 0 || (flags & FD_CLOEXEC) != 0);
    }
    CHECK(open_ones > 1);
}

/* No descriptor to be had costs the call, and nothing else. */
static void no_descriptor_left(void)
{
    struct rlimit room;
    CK_BYTE cipher[HOST_CIPHER];
    CK_SESSION_INFO info;

    host_start(&host);
    MUST(p11->C_Finalize(NULL));
    CHECK(getrlimit(RLIMIT_NOFILE, &room) == 0);
    MUST(p11->C_Initialize(NULL));
    host.session = host_open(host.slot);
    const struct rlimit none = { 3, room.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CK_RV rv = p11->C_FindObjectsInit(host.session, NULL, 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &room) == 0);
    host_must(rv == CKR_DEVICE_ERROR, "C_FindObjectsInit without a descriptor", rv);
    MUST(p11->C_GetSessionInfo(host.session, &info));
    CHECK(info.ulDeviceError != 0);
    host.aes = host_find(host.session, CKO_SECRET_KEY, "aes");
    MUST(host_encrypt(host.session, host.aes, cipher));
}

/* The script takes away the right to lock more. */
static void no_memory_to_lock(void)
{
    const struct rlimit none = { 0, 0 };

    CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    host_start(&host);
    host_works(&host);
    MUST(p11->C_GenerateRandom(host.session, host.cipher, sizeof host.cipher));
}

/* ---- what C_Initialize is told: trap 10 ---- */

static void no_threads_of_its_own(void)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_LIBRARY_CANT_CREATE_OS_THREADS };

    MUST(p11->C_Initialize(&args));
    host.session = host_open(host_slot());
    host.aes     = host_find(host.session, CKO_SECRET_KEY, "aes");
    MUST(host_encrypt(host.session, host.aes, host.cipher));
    CHECK(host_entries("/proc/self/task") == 3);
}

static void only_initialises(void)
{
    MUST(p11->C_Initialize(NULL));
    CHECK(host_slot() != 0);
}

/* ---- the host's own things stay: trap 11 ---- */

/* What no call may change. Two of it are set anew before each. */
static void note_host(char *to, size_t room)
{
    extern char **environ;
    char folder[4096] = "";
    sigset_t mask;
    size_t variables = 0;
    mode_t umask_now = umask(0);

    (void)umask(umask_now);
    while (environ[variables] != NULL)
        variables++;
    CHECK(getcwd(folder, sizeof folder) != NULL && pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    (void)snprintf(to, room, "errno %d error %lu threads %d umask %o locale %s folder %s variables %zu blocked %lx", errno, ERR_peek_last_error(),
                   host_entries("/proc/self/task"), umask_now, setlocale(LC_ALL, NULL), folder, variables, *(unsigned long *)(void *)&mask);
}

static void same_after(const char *what, CK_RV rv)
{
    static char before[8192]; /* empty: this is the first time */
    char after[8192];

    note_host(after, sizeof after);
    host_must(before[0] == '\0' || strcmp(before, after) == 0, what, rv);
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    errno = 77;
    if (before[0] == '\0')
        note_host(before, sizeof before);
}

#define STAYS(call) do { CK_RV rv_ = (call); same_after(#call, rv_); host_must(rv_ == CKR_OK, #call, rv_); } while (0)

/* Verifying is done with OpenSSL, in the module: also what does not verify, so that there are errors to report. */
static void same_after_verifying(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, const char *label)
{
    CK_MECHANISM mechanism = { type, NULL, 0 };
    CK_BYTE text[] = "text", other[] = "texts", signature[512];
    CK_ULONG len = sizeof signature;
    CK_OBJECT_HANDLE private = host_find(session, CKO_PRIVATE_KEY, label), public = host_find(session, CKO_PUBLIC_KEY, label);

    STAYS(p11->C_SignInit(session, &mechanism, private));
    STAYS(p11->C_Sign(session, text, sizeof text, signature, &len));
    STAYS(p11->C_VerifyInit(session, &mechanism, public));
    STAYS(p11->C_Verify(session, text, sizeof text, signature, len));
    STAYS(p11->C_VerifyInit(session, &mechanism, public));
    CK_RV rv = p11->C_Verify(session, other, sizeof other, signature, len);
    same_after("C_Verify of another text", rv);
    host_must(rv == CKR_SIGNATURE_INVALID, "C_Verify of another text", rv);
}

static void same_after_encrypting(CK_SESSION_HANDLE session)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0 };
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep };
    CK_BYTE text[] = "text", cipher[512];
    CK_ULONG len = sizeof cipher;

    STAYS(p11->C_EncryptInit(session, &mechanism, host_find(session, CKO_PUBLIC_KEY, "rsa")));
    STAYS(p11->C_Encrypt(session, text, sizeof text, cipher, &len));
    STAYS(p11->C_DecryptInit(session, &mechanism, host_find(session, CKO_PRIVATE_KEY, "rsa")));
    STAYS(p11->C_Decrypt(session, cipher, len, cipher, &len));
    CHECK(len == sizeof text && memcmp(cipher, text, len) == 0);
}

static void a_good_guest(void)
{
    CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
    CK_BYTE bytes[512] = { 0 };
    CK_ULONG len = sizeof bytes, count = 1;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE keys[32];
    CK_ATTRIBUTE label = { CKA_LABEL, bytes, sizeof bytes };

    same_after("nothing", CKR_OK);
    STAYS(p11->C_Initialize(NULL));
    STAYS(p11->C_GetSlotList(CK_TRUE, &slot, &count));
    STAYS(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    STAYS(p11->C_Login(session, CKU_USER, NULL, 0));
    STAYS(p11->C_FindObjectsInit(session, NULL, 0));
    STAYS(p11->C_FindObjects(session, keys, ARRAY_LEN(keys), &count));
    STAYS(p11->C_FindObjectsFinal(session));
    STAYS(p11->C_GetAttributeValue(session, keys[0], &label, 1));
    STAYS(p11->C_GenerateRandom(session, bytes, sizeof bytes));
    same_after_verifying(session, CKM_ECDSA_SHA256, "ec");
    same_after_verifying(session, CKM_SHA256_RSA_PKCS, "rsa");
    same_after_encrypting(session);
    STAYS(p11->C_DigestInit(session, &sha));
    STAYS(p11->C_Digest(session, bytes, sizeof bytes, bytes, &len));
    STAYS(p11->C_Logout(session));
    STAYS(p11->C_CloseAllSessions(slot));
    STAYS(p11->C_Finalize(NULL));
}

/* ---- OpenSSL that leads back to us: trap 8 ---- */

static void sign_with(EVP_PKEY *key)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char signature[512];
    size_t len = sizeof signature;

    CHECK(key != NULL && EVP_DigestSignInit(hash, NULL, EVP_sha256(), NULL, key) == 1);
    CHECK(EVP_DigestSign(hash, signature, &len, (const unsigned char *)"text", 4) == 1);
    EVP_MD_CTX_free(hash);
    EVP_PKEY_free(key);
}

/* OPENSSL_CONF makes us the host's engine, for every RSA and EC key there is: the host signs with a key of ours, and with one
 * of its own, and we with that of our TLS. */
static void engine_of_its_host(void)
{
    CHECK(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1);
    ENGINE *engine = ENGINE_by_id("pkcs11");
    CHECK(engine != NULL && ENGINE_get_default_RSA() != NULL);
    sign_with(ENGINE_load_private_key(engine, "pkcs11:object=rsa", NULL, NULL));
    sign_with(EVP_RSA_gen(2048));
    MUST_BE(CKR_CRYPTOKI_ALREADY_INITIALIZED, p11->C_Initialize(NULL)); /* by the engine */
    host.slot    = host_slot();
    host.session = host_open(host.slot);
    host.aes     = host_find(host.session, CKO_SECRET_KEY, "aes");
    MUST(host_encrypt(host.session, host.aes, host.cipher));
    run_threads(8, work_on_own_session);
    ENGINE_free(engine);
}

static atomic_long calls_back, refusals;

/* OpenSSL's, when it is asked for memory on our behalf: then the thread is inside the module already. */
static void *allocate_and_call_back(size_t size, const char *file, int line)
{
    static _Thread_local bool calling;

    (void)file;
    (void)line;
    if (p11 != NULL && !calling) {
        CK_ULONG count;
        calling = true;
        atomic_fetch_add(&calls_back, 1);
        atomic_fetch_add(&refusals, p11->C_GetSlotList(CK_TRUE, NULL, &count) == CKR_FUNCTION_FAILED);
        calling = false;
    }
    return malloc(size);
}

static void *resize(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return realloc(old, size);
}

static void release(void *old, const char *file, int line)
{
    (void)file;
    (void)line;
    free(old);
}

static void called_by_what_it_called(void)
{
    CHECK(CRYPTO_set_mem_functions(allocate_and_call_back, resize, release) == 1);
    host_start(&host);
    host_works(&host);
    MUST(p11->C_Finalize(NULL));
    CHECK(atomic_load(&calls_back) == atomic_load(&refusals));
    CHECK(getenv("HOST_SHARES_OPENSSL") == NULL || atomic_load(&refusals) > 0);
}

/* ---- by the thousand ---- */

static void sessions_by_the_thousand(void)
{
    enum { SESSIONS = 10000 };
    static CK_SESSION_HANDLE sessions[SESSIONS];
    CK_TOKEN_INFO info;

    host_start(&host);
    int descriptors = host_entries("/proc/self/fd");
    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = host_open(host.slot);
    MUST(p11->C_GetTokenInfo(host.slot, &info));
    CHECK(info.ulSessionCount == SESSIONS + 1 && info.ulMaxSessionCount == CK_EFFECTIVELY_INFINITE);
    struct host last = host;
    last.session = sessions[SESSIONS - 1];
    host_works(&last);
    CHECK(host_entries("/proc/self/fd") == descriptors);
    MUST(p11->C_CloseAllSessions(host.slot));
    MUST_BE(CKR_SESSION_HANDLE_INVALID, p11->C_CloseSession(sessions[0]));
}

static void calls_and_lives(int calls, int lives)
{
    for (int i = 0; i < calls; i++) {
        CK_SESSION_HANDLE session = host_open(host.slot);
        host_works(&host);
        MUST(p11->C_CloseSession(session));
    }
    for (int i = 0; i < lives; i++) {
        MUST(p11->C_Finalize(NULL));
        host_start(&host);
    }
}

/* In use by malloc, of all arenas. */
static size_t memory_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void memory_stays_flat(void)
{
    host_start(&host);
    calls_and_lives(500, 300); /* OpenSSL's caches fill */
    size_t before = memory_in_use();
    int descriptors = host_entries("/proc/self/fd");
    calls_and_lives(3000, 200);
    size_t after = memory_in_use();
    host_must(after < before + 64 * 1024, "memory has grown by (bytes)", after - before);
    CHECK(host_entries("/proc/self/fd") == descriptors);
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        { "threads-by-the-dozen",     threads_by_the_dozen     },
        { "finalised-in-mid-call",    finalised_in_mid_call    },
        { "storm-of-signals",         storm_of_signals         },
        { "descriptors-over-1024",    descriptors_over_1024    },
        { "no-descriptor-left",       no_descriptor_left       },
        { "no-memory-to-lock",        no_memory_to_lock        },
        { "no-threads-of-its-own",    no_threads_of_its_own    },
        { "only-initialises",         only_initialises         },
        { "a-good-guest",             a_good_guest             },
        { "called-by-what-it-called", called_by_what_it_called },
        { "engine-of-its-host",       engine_of_its_host       },
        { "sessions-by-the-thousand", sessions_by_the_thousand },
        { "memory-stays-flat",        memory_stays_flat        },
    };

    return host_main(argc, argv, cases, ARRAY_LEN(cases));
}
