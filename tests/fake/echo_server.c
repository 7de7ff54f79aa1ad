#include "echo_server.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

static void must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "echo_server: %s failed\n", what);
    abort();
}

/* ---- one call ---- */

struct rpc {
    enum { ARRIVED, READ, ANSWERED } stage;
    grpc_call          *call;
    grpc_call_details   details;
    grpc_metadata_array metadata;
    grpc_byte_buffer   *request;
    grpc_metadata       trailer;
    int                 cancelled;
};

struct loop {
    grpc_server           *server;
    grpc_completion_queue *queue;
    struct echo_notes     *notes;
};

static void await_call(struct loop *loop)
{
    struct rpc *rpc = calloc(1, sizeof *rpc);

    must(rpc != NULL, "calloc");
    grpc_call_details_init(&rpc->details);
    grpc_metadata_array_init(&rpc->metadata);
    must(grpc_server_request_call(loop->server, &rpc->call, &rpc->details, &rpc->metadata, loop->queue, loop->queue, rpc) == GRPC_CALL_OK, "request_call");
}

static void free_rpc(struct rpc *rpc)
{
    grpc_call_details_destroy(&rpc->details);
    grpc_metadata_array_destroy(&rpc->metadata);
    if (rpc->request != NULL)
        grpc_byte_buffer_destroy(rpc->request);
    if (rpc->call != NULL)
        grpc_call_unref(rpc->call);
    free(rpc);
}

static void read_request(struct rpc *rpc)
{
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };

    op.data.recv_message.recv_message = &rpc->request;
    rpc->stage = READ;
    must(grpc_call_start_batch(rpc->call, &op, 1, rpc, NULL) == GRPC_CALL_OK, "start_batch");
}

static void answer(struct rpc *rpc, grpc_byte_buffer *reply, grpc_status_code status, size_t trailers)
{
    grpc_slice why = grpc_slice_from_static_string("no%0a"); /* arrives escaped once more */
    grpc_op ops[4] = { { .op = GRPC_OP_SEND_INITIAL_METADATA }, { .op = GRPC_OP_SEND_STATUS_FROM_SERVER }, { .op = GRPC_OP_RECV_CLOSE_ON_SERVER }, { .op = GRPC_OP_SEND_MESSAGE } };

    ops[1].data.send_status_from_server.status                  = status;
    ops[1].data.send_status_from_server.status_details          = status == GRPC_STATUS_OK ? NULL : &why;
    ops[1].data.send_status_from_server.trailing_metadata       = &rpc->trailer;
    ops[1].data.send_status_from_server.trailing_metadata_count = trailers;
    ops[2].data.recv_close_on_server.cancelled                  = &rpc->cancelled;
    ops[3].data.send_message.send_message                       = reply;
    rpc->stage = ANSWERED;
    must(grpc_call_start_batch(rpc->call, ops, reply ? 4 : 3, rpc, NULL) == GRPC_CALL_OK, "start_batch");
}

static void refuse(struct rpc *rpc)
{
    struct bw_refusal_parts parts = { .result = bw_fail_at(BW_WRONG_REGION, "envelope", "not ours"), .home_region = "ch" };
    struct bw_arena arena = { 0 };
    bw_bytes details;

    must(bw_ok(bw_wire_pack_refusal(&parts, &arena, &details)), "pack_refusal");
    rpc->trailer.key   = grpc_slice_from_static_string("grpc-status-details-bin");
    rpc->trailer.value = grpc_slice_from_copied_buffer((const char *)details.data, details.len);
    answer(rpc, NULL, GRPC_STATUS_FAILED_PRECONDITION, 1);
    bw_arena_clear(&arena);
}

static grpc_status_code first_byte(const struct rpc *rpc)
{
    grpc_byte_buffer_reader reader;

    must(grpc_byte_buffer_reader_init(&reader, rpc->request) == 1, "byte_buffer_reader");
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_status_code status = (grpc_status_code)*GRPC_SLICE_START_PTR(bytes);

    grpc_byte_buffer_reader_destroy(&reader);
    grpc_slice_unref(bytes);
    return status;
}

static void serve(struct loop *loop, struct rpc *rpc)
{
    char *path = grpc_slice_to_c_string(rpc->details.method);

    loop->notes->requests++;
    loop->notes->deadline_ms = (unsigned)gpr_time_to_millis(gpr_time_sub(gpr_convert_clock_type(rpc->details.deadline, GPR_CLOCK_MONOTONIC), gpr_now(GPR_CLOCK_MONOTONIC)));
    bool first = (strcmp(path, "/test/Die") == 0 || strcmp(path, "/test/Cancel") == 0) && !atomic_exchange(&loop->notes->done_once, true);
    if (first && strcmp(path, "/test/Die") == 0)
        _exit(0);
    if (strcmp(path, "/test/Refuse") == 0)
        refuse(rpc);
    else if (strcmp(path, "/test/Bare") == 0)
        answer(rpc, NULL, first_byte(rpc), 0);
    else if (first)
        answer(rpc, NULL, GRPC_STATUS_CANCELLED, 0);
    else if (strcmp(path, "/test/Hold") != 0)
        answer(rpc, rpc->request, GRPC_STATUS_OK, 0);
    gpr_free(path);
}

static void handle(struct loop *loop, struct rpc *rpc, bool success)
{
    if (rpc->stage == ARRIVED && success) {
        await_call(loop);
        read_request(rpc);
    } else if (rpc->stage == READ && success && rpc->request != NULL) {
        serve(loop, rpc);
    } else {
        free_rpc(rpc);
    }
}

/* ---- the process ---- */

static volatile sig_atomic_t asked_to_end;

static void note_end(int signal)
{
    (void)signal;
    asked_to_end = 1;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 65536);

    must(file != NULL && text != NULL && fread(text, 1, 65535, file) > 0, path);
    (void)fclose(file);
    return text;
}

static grpc_server_credentials *credentials(const struct echo_server *server)
{
    grpc_ssl_pem_key_cert_pair pair = { read_file(server->key_file), read_file(server->certificate_file) };

    return grpc_ssl_server_credentials_create_ex(read_file(server->ca_file), &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
}

static int listen_on(const struct echo_server *server, struct loop *loop)
{
    grpc_arg args[] = {
        { .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = BW_MESSAGE_MAX },
        { .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_MAX_CONCURRENT_STREAMS, .value.integer = (int)server->most_streams },
    };
    grpc_channel_args all = { server->most_streams ? 2 : 1, args };
    char address[32];

    (void)snprintf(address, sizeof address, "127.0.0.1:%d", server->port);
    loop->notes  = server->notes;
    loop->queue  = grpc_completion_queue_create_for_next(NULL);
    loop->server = grpc_server_create(&all, NULL);
    grpc_server_register_completion_queue(loop->server, loop->queue, NULL);
    int port = grpc_server_add_http2_port(loop->server, address, credentials(server));
    grpc_server_start(loop->server);
    return port;
}

static void run(const struct echo_server *server, int report, pid_t parent)
{
    struct loop loop;
    bool ending = false;

    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR + 1); /* clients that hang up are what the tests are about */
    (void)signal(SIGTERM, note_end);
    grpc_init();
    int port = listen_on(server, &loop);
    for (int i = 0; i < 64; i++)
        await_call(&loop);
    must(write(report, &port, sizeof port) == sizeof port, "write");
    for (;;) {
        grpc_event event = grpc_completion_queue_next(loop.queue, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(20, GPR_TIMESPAN)), NULL);
        if (event.type == GRPC_OP_COMPLETE && event.tag == &loop)
            _exit(0); /* drained */
        if (event.type == GRPC_OP_COMPLETE)
            handle(&loop, event.tag, event.success != 0);
        if (getppid() != parent)
            _exit(1); /* the test program is gone */
        if (asked_to_end && !ending) {
            grpc_server_shutdown_and_notify(loop.server, loop.queue, &loop);
            ending = true;
        }
    }
}

static struct echo_notes *map_notes(int fd)
{
    struct echo_notes *notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    must(notes != MAP_FAILED, "mmap");
    return notes;
}

enum { SERVER_NOTES_FD = 100, SERVER_REPORT_FD = 101 }; /* of the new process; above any that a test has open */

/* echo-server <CA file> <certificate file> <key file> <port> <most streams> <parent> */
void echo_server_main(int argc, char **argv)
{
    if (argc != 7 || strcmp(argv[0], "echo-server") != 0)
        return;
    struct echo_server server = { .ca_file = argv[1], .certificate_file = argv[2], .key_file = argv[3], .port = atoi(argv[4]),
                                  .most_streams = (unsigned)atoi(argv[5]), .notes = map_notes(SERVER_NOTES_FD) };
    run(&server, SERVER_REPORT_FD, (pid_t)atoi(argv[6]));
}

/* ---- from outside ---- */

static void spawn(struct echo_server *server, int report)
{
    char port[16], streams[16], parent[16], name[] = "echo-server";
    char *argv[] = { name, (char *)(uintptr_t)server->ca_file, (char *)(uintptr_t)server->certificate_file, (char *)(uintptr_t)server->key_file,
                     port, streams, parent, NULL };
    posix_spawn_file_actions_t actions;

    (void)snprintf(port, sizeof port, "%d", server->port);
    (void)snprintf(streams, sizeof streams, "%u", server->most_streams);
    (void)snprintf(parent, sizeof parent, "%d", getpid());
    must(posix_spawn_file_actions_init(&actions) == 0 && posix_spawn_file_actions_adddup2(&actions, server->notes_fd, SERVER_NOTES_FD) == 0 &&
         posix_spawn_file_actions_adddup2(&actions, report, SERVER_REPORT_FD) == 0 &&
         posix_spawn(&server->pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0, "posix_spawn");
    (void)posix_spawn_file_actions_destroy(&actions);
}

void echo_server_start(struct echo_server *server)
{
    int report[2];

    if (server->notes == NULL) {
        server->notes_fd = memfd_create("notes", MFD_CLOEXEC);
        must(server->notes_fd >= 0 && ftruncate(server->notes_fd, sizeof *server->notes) == 0, "memfd_create");
        server->notes = map_notes(server->notes_fd);
    }
    must(pipe2(report, O_CLOEXEC) == 0, "pipe");
    spawn(server, report[1]);
    (void)close(report[1]);
    must(read(report[0], &server->port, sizeof server->port) == sizeof server->port && server->port > 0, "listening");
    (void)close(report[0]);
}

void echo_server_signal(struct echo_server *server, int signal)
{
    must(kill(server->pid, signal) == 0, "kill");
}

void echo_server_reap(struct echo_server *server)
{
    int status;

    if (server->pid > 0)
        must(waitpid(server->pid, &status, 0) == server->pid, "waitpid");
    server->pid = 0;
}

void echo_server_kill(struct echo_server *server)
{
    if (server->pid > 0)
        echo_server_signal(server, SIGKILL);
    echo_server_reap(server);
}


void echo_server_free(struct echo_server *server)
{
    echo_server_kill(server);
    if (server->notes == NULL)
        return;
    (void)munmap(server->notes, sizeof *server->notes);
    (void)close(server->notes_fd);
    server->notes = NULL;
}
