/* gRPC on one side, bw_call on the other. One completion queue and one thread on it, which drains all that is ready, serves
 * it, and then commits the audit log once for all of it: measured to be faster than any other arrangement, because replies
 * share a commit and nothing changes threads on its way.
 *
 * Only mutual TLS 1.3 gets here. What the C core does not guard against by itself is guarded here: unknown methods, calls
 * without bound, slow handshakes, idle and old connections. */
#ifndef BW_SERVER_LISTEN_H
#define BW_SERVER_LISTEN_H

#include "job.h"

struct bw_listener;

/* Before anything else uses OpenSSL: no TLS below 1.3 in this process, nothing of the host's openssl.cnf. The C core has no
 * setting for it. BW_INTERNAL: OpenSSL did not take it. */
bw_result bw_listener_prepare_tls(void);

/* The queue and its thread; no port yet. */
bw_result bw_listener_new(struct bw_daemon *daemon, struct bw_listener **ret_listener);
void      bw_listener_free(struct bw_listener *listener); /* after the drain; NULL is fine */

/* Takes calls. BW_CONFIG_INVALID: the address cannot be had. ret_port: the real one where the configured one is 0. */
bw_result bw_listener_open(struct bw_listener *listener, int *ret_port);

/* Takes no more calls and waits for those running: at most grace, then they are cancelled. */
void bw_listener_drain(struct bw_listener *listener);

/* What grpc.health.v1 says from now on; who watches is told. Any thread. */
void bw_listener_announce(struct bw_listener *listener, bool serving);

#endif
