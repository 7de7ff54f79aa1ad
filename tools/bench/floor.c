/* What no service that keeps the promises can go below: a bare TLS 1.3 ping-pong with certificates on both sides, one row
 * appended to a table like the audit log's and synced, and the HSM's AES-GCM with a key that is a session object.
 *
 *     bench_floor <hsm.so> <token label> <pin> <database> <ca.pem> <server.pem> <server.key> <client.pem> <client.key>
 *
 * Operations, each with all before it: tls, tls+sync, tls+sync+hsm. One caller. The server is a process of its own. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "bailiwick/pkcs11.h"
#include "slice.h"

enum { REQUEST_LEN = 240, REPLY_LEN = 200, ESSENTIAL_LEN = 170, WHO_LEN = 180, CONTEXT_LEN = 50 };
enum { TLS, TLS_SYNC, TLS_SYNC_HSM };

static const char *const operations[] = { [TLS] = "tls", [TLS_SYNC] = "tls+sync", [TLS_SYNC_HSM] = "tls+sync+hsm" };

static void check(bool good, const char *what)
{
    if (!good)
        bw_bench_die(what);
}

/* ---- the table ---- */

struct table {
    sqlite3      *db;
    sqlite3_stmt *begin, *append, *head, *commit;
    long long     length;
};

static sqlite3_stmt *prepared(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement;

    check(sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) == SQLITE_OK, text);
    return statement;
}

/* Schema and settings are those of server/audit_db.c. */
static void open_table(struct table *table, const char *path)
{
    check(sqlite3_open_v2(path, &table->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK, path);
    check(sqlite3_exec(table->db,
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
        "CREATE TABLE record (position INTEGER PRIMARY KEY, log INTEGER NOT NULL, idx INTEGER NOT NULL,"
        " essential BLOB NOT NULL, who BLOB NOT NULL, context BLOB NOT NULL);"
        "CREATE TABLE head (log INTEGER PRIMARY KEY, size INTEGER NOT NULL, last_us INTEGER NOT NULL);", NULL, NULL, NULL) == SQLITE_OK, path);
    table->begin  = prepared(table->db, "BEGIN IMMEDIATE");
    table->append = prepared(table->db, "INSERT INTO record VALUES (?1, 1, ?1, ?2, ?3, ?4)");
    table->head   = prepared(table->db, "REPLACE INTO head VALUES (1, ?1, ?1)");
    table->commit = prepared(table->db, "COMMIT");
}

static void run(sqlite3_stmt *statement)
{
    check(sqlite3_step(statement) == SQLITE_DONE, "the table");
    (void)sqlite3_reset(statement);
}

static void append(struct table *table)
{
    static const char row[WHO_LEN] = "who";

    table->length++;
    (void)sqlite3_bind_int64(table->append, 1, table->length);
    (void)sqlite3_bind_blob(table->append, 2, row, ESSENTIAL_LEN, SQLITE_STATIC);
    (void)sqlite3_bind_blob(table->append, 3, row, WHO_LEN, SQLITE_STATIC);
    (void)sqlite3_bind_blob(table->append, 4, row, CONTEXT_LEN, SQLITE_STATIC);
    (void)sqlite3_bind_int64(table->head, 1, table->length);
    run(table->begin);
    run(table->append);
    run(table->head);
    run(table->commit);
}

/* ---- the HSM ---- */

struct hsm {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE  key;
    CK_GCM_PARAMS     gcm;
    CK_MECHANISM      mechanism;
    CK_BYTE           iv[12], in[48], out[64];
};

static CK_FUNCTION_LIST *load(const char *path)
{
    CK_FUNCTION_LIST *f = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;

    check(library != NULL, path);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    check(get != NULL && get(&f) == CKR_OK && f->C_Initialize(NULL) == CKR_OK, "the HSM's module does not start");
    return f;
}

static CK_SLOT_ID find_slot(CK_FUNCTION_LIST *f, const char *label)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;
    CK_TOKEN_INFO info;

    check(f->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "no slots");
    for (CK_ULONG i = 0; i < count; i++)
        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, label, strlen(label)) == 0)
            return slots[i];
    bw_bench_die("no token of that label");
}

static void open_hsm(struct hsm *hsm, char **argv)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE wanted[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)"aes", 3 } };
    CK_ATTRIBUTE in_session = { CKA_TOKEN, &no, 1 };
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG count = 0, len = sizeof hsm->in;

    hsm->f = load(argv[1]);
    check(hsm->f->C_OpenSession(find_slot(hsm->f, argv[2]), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &hsm->session) == CKR_OK, "no session");
    check(hsm->f->C_Login(hsm->session, CKU_USER, (CK_UTF8CHAR *)argv[3], strlen(argv[3])) == CKR_OK, "no login");
    check(hsm->f->C_FindObjectsInit(hsm->session, wanted, 2) == CKR_OK && hsm->f->C_FindObjects(hsm->session, &key, 1, &count) == CKR_OK &&
          hsm->f->C_FindObjectsFinal(hsm->session) == CKR_OK && count == 1, "no key aes");
    check(hsm->f->C_CopyObject(hsm->session, key, &in_session, 1, &hsm->key) == CKR_OK, "the key cannot be copied");
    hsm->gcm       = (CK_GCM_PARAMS){ .pIv = hsm->iv, .ulIvLen = sizeof hsm->iv, .ulIvBits = 96, .ulTagBits = 128 };
    hsm->mechanism = (CK_MECHANISM){ CKM_AES_GCM, &hsm->gcm, sizeof hsm->gcm };
    check(hsm->f->C_EncryptInit(hsm->session, &hsm->mechanism, hsm->key) == CKR_OK &&
          hsm->f->C_Encrypt(hsm->session, hsm->out, 32, hsm->in, &len) == CKR_OK, "the HSM does not encrypt");
}

static void decrypt(struct hsm *hsm)
{
    CK_ULONG len = sizeof hsm->out;

    check(hsm->f->C_DecryptInit(hsm->session, &hsm->mechanism, hsm->key) == CKR_OK &&
          hsm->f->C_Decrypt(hsm->session, hsm->in, sizeof hsm->in, hsm->out, &len) == CKR_OK, "the HSM does not decrypt");
}

/* ---- TLS ---- */

static SSL *new_tls(const SSL_METHOD *method, const char *ca, const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(method);

    check(context != NULL && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) && SSL_CTX_load_verify_locations(context, ca, NULL) &&
          SSL_CTX_use_certificate_chain_file(context, certificate) && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), "TLS");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_new(context);
}

static void attach(SSL *tls, int socket)
{
    int on = 1;

    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    check(SSL_set_fd(tls, socket) == 1, "TLS");
}

static bool read_whole(SSL *tls, char *bytes, int len)
{
    for (int got = 0, n; got < len; got += n)
        if ((n = SSL_read(tls, bytes + got, len - got)) <= 0)
            return false;
    return true;
}

static void serve(int listening, char **argv)
{
    static struct table table;
    static struct hsm hsm;
    char bytes[REQUEST_LEN];
    SSL *tls = new_tls(TLS_server_method(), argv[5], argv[6], argv[7]);

    open_table(&table, argv[4]);
    open_hsm(&hsm, argv);
    attach(tls, accept(listening, NULL, NULL));
    check(SSL_accept(tls) == 1, "TLS accept");
    while (read_whole(tls, bytes, REQUEST_LEN)) {
        if (bytes[0] >= TLS_SYNC_HSM)
            decrypt(&hsm);
        if (bytes[0] >= TLS_SYNC)
            append(&table);
        check(SSL_write(tls, bytes, REPLY_LEN) == REPLY_LEN, "TLS write");
    }
    exit(0);
}

static SSL *connect_to(const struct sockaddr_in *address, char **argv)
{
    SSL *tls = new_tls(TLS_client_method(), argv[5], argv[8], argv[9]);
    int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(connect(connected, (const struct sockaddr *)address, sizeof *address) == 0, "connect");
    attach(tls, connected);
    check(SSL_connect(tls) == 1, "TLS connect");
    return tls;
}

/* ---- the caller ---- */

struct caller { SSL *tls; char stages; };

static void *caller_new(void *self, const char *operation, const char **ret_why)
{
    struct caller *caller = self;

    for (caller->stages = TLS; caller->stages <= TLS_SYNC_HSM; caller->stages++)
        if (strcmp(operations[(int)caller->stages], operation) == 0)
            return caller;
    *ret_why = "the floor does not do it";
    return NULL;
}

static bool call(void *state)
{
    struct caller *caller = state;
    char bytes[REQUEST_LEN] = { caller->stages };

    return SSL_write(caller->tls, bytes, REQUEST_LEN) == REQUEST_LEN && read_whole(caller->tls, bytes, REPLY_LEN);
}

static void caller_free(void *state)
{
    (void)state;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct caller caller;

    check(argc == 10, "usage: bench_floor <hsm.so> <token label> <pin> <database> <ca.pem> <server.pem> <server.key> <client.pem> <client.key>");
    check(bind(listening, (struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 1) == 0 &&
          getsockname(listening, (struct sockaddr *)&address, &len) == 0, "no port");
    pid_t server = fork();
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listening, argv);
    }
    check(server > 0, "fork");
    caller.tls = connect_to(&address, argv);
    const struct bw_bench_side side = { &caller, caller_new, call, caller_free };
    bw_bench_serve(&side);
    return 0;
}
