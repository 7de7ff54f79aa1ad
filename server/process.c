#include "process.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* With a limit, locking all memory to come would make allocations fail once it is reached. */
static bool may_lock_all(void)
{
    struct rlimit limit;
    return geteuid() == 0 || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void bw_process_prepare(void)
{
    const struct rlimit nothing = { 0, 0 };

    (void)umask(077);
    (void)setrlimit(RLIMIT_CORE, &nothing);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (may_lock_all())
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    raise_descriptors();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
}

/* ---- is anybody there ---- */

static bool wait_for(int fd, short events, int wait_ms)
{
    struct pollfd polled = { .fd = fd, .events = events };
    int ready;

    while ((ready = poll(&polled, 1, wait_ms)) < 0 && errno == EINTR)
        continue;
    return ready == 1;
}

static bool is_hung_up_on(const struct addrinfo *to, int wait_ms)
{
    int  fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char byte;

    if (fd < 0)
        return false; /* out of descriptors: what the listener dies of */
    bool answered = (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS) && wait_for(fd, POLLOUT, wait_ms) &&
                    shutdown(fd, SHUT_WR) == 0 && wait_for(fd, POLLIN, wait_ms) && read(fd, &byte, 1) >= 0;
    (void)close(fd);
    return answered;
}

bool bw_process_is_answering(const char *address, int port, int wait_ms)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    const char *colon = strrchr(address, ':');
    struct addrinfo *found = NULL;
    char host[256], service[16];

    bool bracketed = address[0] == '[' && colon[-1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * bracketed, address + bracketed);
    (void)snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return false;
    bool answered = is_hung_up_on(found, wait_ms);
    freeaddrinfo(found);
    return answered;
}
