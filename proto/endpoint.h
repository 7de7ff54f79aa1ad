/* One endpoint of the home region: its name, its addresses, and when it may be tried again. */
#ifndef BW_PROTO_ENDPOINT_H
#define BW_PROTO_ENDPOINT_H

#include <netdb.h>

#include "bailiwick/bytes.h"

enum { BW_HOST_MAX = 253 }; /* RFC 1035 name */

struct bw_endpoint {
    char      authority[BW_HOST_MAX + 9]; /* as configured: "host:port", "[v6]:port" */
    char      host[BW_HOST_MAX + 1];
    char      port[6];
    unsigned  failures;                   /* in a row */
    unsigned  hangups;                    /* in a row, after the handshake */
    int64_t   not_before_ms;              /* on bw_now_ms's clock; 0: at once */
    bw_result last;                       /* why it failed last; BW_OK: it did not */
};

/* Fails with BW_CONFIG_INVALID. */
bw_result bw_endpoint_parse(const char *text, struct bw_endpoint *ret_endpoint);

/* May ask the name server, so it can block beyond any deadline of ours; addresses given as numbers never do.
 * *ret_addresses is for freeaddrinfo. Fails with BW_UNREACHABLE. */
bw_result bw_endpoint_resolve(const struct bw_endpoint *endpoint, struct addrinfo **ret_addresses);

/* A non-blocking socket on its way to the address. user_timeout_ms: how long sent bytes may stay unacknowledged. */
bw_result bw_endpoint_connect(const struct addrinfo *address, unsigned user_timeout_ms, int *ret_socket);

void bw_endpoint_succeeded(struct bw_endpoint *endpoint);
void bw_endpoint_failed(struct bw_endpoint *endpoint, bw_result why); /* waits longer after each, up to a second */

/* Which to try next: from the one at current on, the first that may be tried now; else the one that may be soonest. */
size_t bw_endpoint_pick(const struct bw_endpoint *endpoints, size_t count, size_t current);

/* Trying again by itself does not help against such a failure. */
bool bw_endpoint_refused(bw_result why);

int64_t  bw_now_ms(void);                  /* CLOCK_MONOTONIC */
unsigned bw_backoff_ms(unsigned failures); /* for the nth failure in a row, from 1; jittered */
static inline int64_t bw_earlier(int64_t a_ms, int64_t b_ms) { return a_ms < b_ms ? a_ms : b_ms; }

#endif
