#include "endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKOFF_FIRST_MS = 20, BACKOFF_MOST_MS = 1000 };

int64_t bw_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Between half and all of a time that doubles, so that callers who failed together do not come back together. */
unsigned bw_backoff_ms(unsigned failures)
{
    unsigned most = failures > 6 ? BACKOFF_MOST_MS : (unsigned)BACKOFF_FIRST_MS << (failures > 0 ? failures - 1 : 0);

    if (most > BACKOFF_MOST_MS)
        most = BACKOFF_MOST_MS;
    return most / 2 + arc4random_uniform(most / 2 + 1);
}

/* ---- names ---- */

static bool is_port(bw_bytes text)
{
    unsigned number = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > 65535)
            return false;
        number = number * 10 + (unsigned)(text.data[i] - '0');
    }
    return number > 0 && number <= 65535 && text.len <= 5;
}

static bool is_host(bw_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || strchr("[]/@\"", text.data[i]) != NULL)
            return false;
    return text.len > 0 && text.len <= BW_HOST_MAX;
}

bw_result bw_endpoint_parse(const char *text, struct bw_endpoint *ret_endpoint)
{
    struct bw_endpoint endpoint = { 0 };
    const char *colon = strrchr(text, ':');

    BW_CHECK(colon != NULL, BW_CONFIG_INVALID, "an endpoint is not host:port");
    bw_bytes host = bw_bytes_of(text, (size_t)(colon - text)), port = bw_bytes_text(colon + 1);
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        host = bw_bytes_of(host.data + 1, host.len - 2);
    BW_CHECK(is_host(host) && is_port(port), BW_CONFIG_INVALID, "an endpoint is not host:port");
    BW_CHECK(bracketed == (memchr(host.data, ':', host.len) != NULL), BW_CONFIG_INVALID, "an IPv6 endpoint is not [address]:port");
    memcpy(endpoint.authority, text, strlen(text));
    memcpy(endpoint.host, host.data, host.len);
    memcpy(endpoint.port, port.data, port.len);

    *ret_endpoint = endpoint;
    return bw_success();
}

bw_result bw_endpoint_resolve(const struct bw_endpoint *endpoint, struct addrinfo **ret_addresses)
{
    struct addrinfo number = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo name   = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG };

    if (getaddrinfo(endpoint->host, endpoint->port, &number, ret_addresses) == 0)
        return bw_success();
    BW_CHECK(getaddrinfo(endpoint->host, endpoint->port, &name, ret_addresses) == 0, BW_UNREACHABLE, "the endpoint's name has no address");
    return bw_success();
}

/* ---- sockets ---- */

static bool set_options(int fd, unsigned user_timeout_ms)
{
    int on = 1;

    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms) == 0;
}

bw_result bw_endpoint_connect(const struct addrinfo *address, unsigned user_timeout_ms, int *ret_socket)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    BW_CHECK(fd >= 0, BW_UNREACHABLE, "no socket can be opened");
    bool begun = set_options(fd, user_timeout_ms) &&
                 (connect(fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS || errno == EINTR);
    if (!begun) {
        (void)close(fd);
        return bw_fail(BW_UNREACHABLE, "the connection was refused");
    }
    *ret_socket = fd;
    return bw_success();
}

/* ---- which, and when ---- */

bool bw_endpoint_refused(bw_result why)
{
    return why.code == BW_TLS_REFUSED || why.code == BW_SERVER_REGION || why.code == BW_PROTOCOL_BROKEN;
}

void bw_endpoint_succeeded(struct bw_endpoint *endpoint)
{
    endpoint->failures      = 0;
    endpoint->hangups       = 0;
    endpoint->not_before_ms = 0;
    endpoint->last          = bw_success();
}

void bw_endpoint_failed(struct bw_endpoint *endpoint, bw_result why)
{
    endpoint->failures++;
    endpoint->not_before_ms = bw_now_ms() + bw_backoff_ms(endpoint->failures);
    endpoint->last          = why;
}

size_t bw_endpoint_pick(const struct bw_endpoint *endpoints, size_t count, size_t current)
{
    size_t  soonest = current;
    int64_t now = bw_now_ms();

    for (size_t i = 0; i < count; i++) {
        size_t at = (current + i) % count;
        if (endpoints[at].not_before_ms <= now)
            return at;
        if (endpoints[at].not_before_ms < endpoints[soonest].not_before_ms)
            soonest = at;
    }
    return soonest;
}
