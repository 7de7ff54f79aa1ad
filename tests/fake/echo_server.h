/* A gRPC server on the C core with mutual TLS, in a process of its own, so that it can be stopped and killed. The
 * process runs the test program again, since a mere fork of one with threads may hang in a sanitizer's allocator.
 *
 *   /test/Echo    the request comes back
 *   /test/Refuse  WRONG_REGION, home region "ch", with its details
 *   /test/Bare    the gRPC status that the request's first byte names, without details
 *   /test/Hold    no answer, ever
 *   /test/Die     the process ends in the middle of the call, once; afterwards an echo
 *   /test/Cancel  CANCELLED as from a draining C core, once; afterwards an echo */
#ifndef BW_TESTS_ECHO_SERVER_H
#define BW_TESTS_ECHO_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* Shared with the process, and outlives it. */
struct echo_notes {
    atomic_uint requests;
    atomic_uint deadline_ms; /* what the last request left the server, as the server saw it */
    atomic_bool done_once;
};

struct echo_server {
    const char *ca_file, *certificate_file, *key_file;
    unsigned    most_streams;   /* MAX_CONCURRENT_STREAMS; 0: the C core's default */
    int         port;           /* 0: chosen at start */
    pid_t       pid;
    struct echo_notes *notes;
    int         notes_fd;
};

/* First thing in main: does not return when this process is to be the server. */
void echo_server_main(int argc, char **argv);

/* Returns when it listens. */
void echo_server_start(struct echo_server *server);
void echo_server_signal(struct echo_server *server, int signal); /* SIGSTOP, SIGCONT; SIGTERM drains */
void echo_server_kill(struct echo_server *server);               /* SIGKILL, and waits for its end */
void echo_server_reap(struct echo_server *server);               /* waits for one that ends by itself */
void echo_server_free(struct echo_server *server);               /* kills it when it runs */

#endif
