#include "fake/live.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/test_ca.h"

extern char **environ;

static pid_t running; /* the daemon that must not outlive us; 0: none */

static void end_daemon(void)
{
    if (running != 0)
        (void)kill(running, SIGKILL);
}

static void fail(const char *what, const char *detail)
{
    (void)fprintf(stderr, "live region: %s: %s\n", what, detail);
    exit(1);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        fail("cannot write", path);
}

static void write_configuration(const struct live *live)
{
    char text[8192];
    const char *dir = live->folder;

    (void)snprintf(text, sizeof text, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", dir);
    write_text(test_path(dir, "softhsm2.conf"), text);
    (void)snprintf(text, sizeof text,
                   "[region]\nname = " LIVE_HOME "\nnode = n1\ntrust_domain = ex.org\n[listen]\naddress = 127.0.0.1:0\n"
                   "[tls]\ncertificate = %s/node.pem\nkey = %s/node.key\nca = %s/ca.pem\n"
                   "[hsm]\nmodule = /usr/lib/softhsm/libsofthsm2.so\npin_dir = %s/pins\n"
                   "[store]\ndir = %s/store\n[audit]\ndir = %s/audit\n[limits]\nlame_duck_ms = 0\n", dir, dir, dir, dir, dir, dir);
    write_text(test_path(dir, "bailiwickd.conf"), text);
    write_text(test_path(dir, "lsan"), "leak:hsm_crypt.c\n"); /* SoftHSM's own, in EdDSA */
    if (mkdir(test_path(dir, "tokens"), 0700) != 0)
        fail("cannot make a folder", strerror(errno));
}

static void issue(const struct live *live, const char *id, const char *name)
{
    char certificate[64], key[64];
    const struct test_leaf leaf = { .uri = id, .dns = "localhost", .ip = "127.0.0.1" };

    (void)snprintf(certificate, sizeof certificate, "%s.pem", name);
    (void)snprintf(key, sizeof key, "%s.key", name);
    test_ca_issue(live->ca, &leaf, test_path(live->folder, certificate), test_path(live->folder, key));
}

/* ---- the process ---- */

/* For the daemon; our own sanitizer has read its options long since. */
static void set(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        fail("setenv", strerror(errno));
}

/* Its standard error goes to fd. */
static pid_t spawn(const struct live *live, const char *option, int fd)
{
    char *with[]    = { (char *)(uintptr_t)BAILIWICKD, (char *)(uintptr_t)option, (char *)(uintptr_t)"--config",
                        (char *)(uintptr_t)test_path(live->folder, "bailiwickd.conf"), NULL };
    char *without[] = { with[0], with[2], with[3], NULL };
    posix_spawn_file_actions_t actions;
    char lsan[512];
    pid_t pid;

    set("SOFTHSM2_CONF", test_path(live->folder, "softhsm2.conf"));
    set("ASAN_OPTIONS", "fast_unwind_on_malloc=0");
    (void)snprintf(lsan, sizeof lsan, "print_suppressions=0:suppressions=%s", test_path(live->folder, "lsan"));
    set("LSAN_OPTIONS", lsan);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO);
    int error = posix_spawn(&pid, BAILIWICKD, &actions, NULL, option ? with : without, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        fail(BAILIWICKD, strerror(error));
    return pid;
}

static void reap(pid_t pid, const char *what)
{
    int status;

    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail(what, "did not end well");
}

/* Reads the log up to the line that tells the port, and lets a copy of it go on to our standard error when it must. */
static int read_port(int fd)
{
    char log[64 * 1024];
    size_t used = 0;

    for (;;) {
        ssize_t got = read(fd, log + used, sizeof log - 1 - used);
        if (got <= 0)
            fail("the daemon did not start", log);
        used += (size_t)got;
        log[used] = '\0';
        const char *started = strstr(log, " started"), *port = started ? strstr(started, "port=") : NULL;
        if (port != NULL && strchr(port, '\n') != NULL)
            return atoi(port + strlen("port="));
    }
}

void live_start(struct live *live)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        fail("pipe", strerror(errno));
    live->pid = running = spawn(live, NULL, fds[1]);
    (void)close(fds[1]);
    live->port = read_port(fds[0]);
    /* Somebody has to read on, or the daemon would stand still when the pipe is full: a child that lives as long as it. */
    pid_t reader = fork();
    if (reader == 0) {
        char nothing[4096];
        (void)close(STDOUT_FILENO); /* who waits for the end of our output waits for us alone */
        (void)close(STDERR_FILENO);
        while (read(fds[0], nothing, sizeof nothing) > 0)
            continue;
        _exit(0);
    }
    (void)close(fds[0]);
}

void live_stop(struct live *live)
{
    (void)kill(live->pid, SIGTERM);
    running = 0;
    reap(live->pid, "the daemon");
}

void live_kill(struct live *live)
{
    (void)kill(live->pid, SIGKILL);
    running = 0;
    if (waitpid(live->pid, NULL, 0) != live->pid)
        fail("the daemon", "did not die");
}

void live_make(struct live *live)
{
    *live = (struct live){ .folder = test_folder_new(), .ca = test_ca_new("live") };
    if (atexit(end_daemon) != 0)
        fail("atexit", "no room");
    test_ca_write(live->ca, test_path(live->folder, "ca.pem"));
    issue(live, LIVE_TRUST LIVE_HOME "/node/n1", "node");
    write_configuration(live);
    reap(spawn(live, "--init-region", STDERR_FILENO), "--init-region");
    live_start(live);
}

void live_remove(struct live *live)
{
    live_stop(live);
    test_ca_free(live->ca);
    test_folder_free(live->folder);
}

/* ---- callers ---- */

struct bw_client *live_caller(struct live *live, const char *id)
{
    struct bw_client_options options = { .home = { LIVE_HOME }, .trust_domain = "ex.org", .ca_file = test_path(live->folder, "ca.pem"), .deadline_ms = 60000 };
    char name[32], file[40], endpoint[32], certificate[512], key[512];
    struct bw_client *client;

    (void)snprintf(name, sizeof name, "caller-%u", live->callers++);
    issue(live, id, name);
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", live->port);
    (void)snprintf(file, sizeof file, "%s.pem", name);
    (void)snprintf(certificate, sizeof certificate, "%s", test_path(live->folder, file));
    (void)snprintf(file, sizeof file, "%s.key", name);
    (void)snprintf(key, sizeof key, "%s", test_path(live->folder, file));
    options.endpoints[0]     = endpoint;
    options.certificate_file = certificate;
    options.key_file         = key;
    bw_result made = bw_client_new(&options, &client);
    if (!bw_ok(made))
        fail("client", made.what);
    return client;
}

/* Of a stream the first message stands for all. */
static bw_result keep_first(void *self, bw_bytes message)
{
    struct bw_buf *first = self;

    BW_TRY(bw_buf_add(first, message));
    return bw_fail(BW_CANCELLED, "enough");
}

static bw_result call_stream(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request, struct bw_arena *arena,
                             ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal)
{
    struct bw_buf first = { 0 };
    bw_bytes packed;

    BW_TRY(bw_wire_pack(request, arena, &packed));
    bw_result r = bw_client_receive(client, method->path, packed, 60 * 1000, keep_first, &first, ret_refusal);
    if (first.len > 0)
        r = bw_wire_unpack(method->reply, bw_buf_bytes(&first), arena, ret_reply);
    bw_buf_clear(&first);
    return r;
}

const ProtobufCMessage *live_call(struct bw_client *client, enum bw_method_nr method, const ProtobufCMessage *request,
                                  struct bw_arena *arena, enum bw_code *ret_code)
{
    struct bw_refusal refusal;
    ProtobufCMessage *reply;

    bw_result result = (method == BW_METHOD_NR(Follow) ? call_stream : bw_call)(client, bw_method_by_number(method), request, arena, &reply, &refusal);
    *ret_code = result.code;
    return bw_ok(result) ? reply : NULL;
}

const ProtobufCMessage *live_must(struct bw_client *client, enum bw_method_nr method, const ProtobufCMessage *request, struct bw_arena *arena)
{
    enum bw_code code;
    const ProtobufCMessage *reply = live_call(client, method, request, arena, &code);

    if (reply == NULL)
        fail(bw_method_by_number(method)->name, bw_code_row(code)->name);
    return reply;
}
