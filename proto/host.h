/* What of the host's thread we must leave as it was: errno, and OpenSSL's error queue. */
#ifndef BW_PROTO_HOST_H
#define BW_PROTO_HOST_H

#include <stddef.h>

enum { BW_HOST_ERRORS_MAX = 16 }; /* OpenSSL's queue keeps no more */

struct bw_host {
    int error_number;
    size_t errors_len;
    struct bw_host_error {
        unsigned long code;
        int           line;
        char         *file, *function, *data; /* copies, or NULL */
    } errors[BW_HOST_ERRORS_MAX];
};

/* Between the two the queue is ours, and empty at first. OpenSSL's own marks are not enough: a handshake clears the
 * whole queue, marks and all. */
void bw_host_enter(struct bw_host *ret_host);
void bw_host_leave(struct bw_host *host);

#endif
