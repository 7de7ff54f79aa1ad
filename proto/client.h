/* One RPC to the home region: gRPC over HTTP/2 (libnghttp2) and TLS 1.3 (OpenSSL), without the gRPC C core.
 *
 * Starts no thread, installs no signal handler, touches neither the host's OpenSSL configuration nor its error queue.
 * Any number of threads may call at once over one shared connection: a caller submits under the client's mutex, the
 * first to wait polls for all without it ("leader"), feeds what arrived to nghttp2 and wakes the owners.
 * No lock is held over a system call that can block. */
#ifndef BW_PROTO_CLIENT_H
#define BW_PROTO_CLIENT_H

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "bailiwick/secret.h"

enum { BW_ENDPOINTS_MAX = 16 };

/* Copied by bw_client_new. */
struct bw_client_options {
    bw_region   home;                          /* the server's certificate must name it, or nothing is sent */
    const char *trust_domain;                  /* of its SPIFFE id, and ours */
    const char *endpoints[BW_ENDPOINTS_MAX];   /* "host:port" or "[v6]:port", all of the home region; NULL ends the list */
    const char *ca_file;                       /* PEM */
    const char *certificate_file;              /* PEM, leaf first */
    const char *key_file;                      /* PEM; encrypted when a passphrase is needed */
    unsigned    deadline_ms;                   /* for a whole call with its retries; 0: BW_DEADLINE_DEFAULT_MS */
    unsigned    idle_ms;                       /* a connection idle longer is not trusted; 0: 60000 */

    /* Borrowed: what OpenSSL works in. A thread that called leaves its generator's state behind in it, and OpenSSL 3.0
     * looks for it there when the thread ends; so it must outlive every thread that ever called. NULL: one that goes with
     * the client, for those who end their threads first. */
    struct ossl_lib_ctx_st *library;
};

struct bw_client;

/* Reads no file and opens no connection: that is left to the first call. */
bw_result bw_client_new(const struct bw_client_options *options, struct bw_client **ret_client);

/* Callers still inside return BW_CANCELLED; waits for them, at most one second, and leaks rather than hangs. */
void bw_client_free(struct bw_client *client);
BW_DEFINE_AUTO(client)

/* Around fork, as pthread_atfork's prepare and parent handlers: no thread is inside OpenSSL for us, nor in the middle
 * of a change, while the process is copied. Waits for a handshake's arithmetic at most, never for the network. */
void bw_client_before_fork(struct bw_client *client);
void bw_client_after_fork(struct bw_client *client);

/* In a forked child, where the parent's client must not be used: closes descriptors, says nothing on them, frees
 * nothing that another thread may have held. The client is gone. */
void bw_client_abandon(struct bw_client *client);

/* Makes callers inside return BW_CANCELLED, now and from now on. */
void bw_client_cancel(struct bw_client *client);

/* The passphrase of the private key; copied. Fails with BW_CREDENTIAL_INVALID when it does not open the key (the file
 * is read at once), leaving what was there. passphrase empty: forget it, and take no new call over what it opened. */
bw_result bw_client_unlock(struct bw_client *client, bw_bytes passphrase);

/* Whether the private key file is encrypted, so that it needs a passphrase. Reads the file. */
bw_result bw_client_key_is_encrypted(const struct bw_client *client, bool *ret_encrypted);

/* What a server said of a call that failed. */
struct bw_refusal {
    char reason[48];               /* our code's name, as sent; empty: the server named none */
    char field[64];                /* of the request, or empty */
    char home_region[BW_REGION_MAX + 1]; /* with BW_WRONG_REGION, or empty */
    char proposal[2 * BW_PROPOSAL_ID_LEN + 1]; /* with BW_NOT_APPROVED, or empty: hexadecimal */
    char expired_at[24];           /* with BW_EXPIRED of a key, or empty: RFC 3339 */
    char message[256];             /* for people */
    int  grpc_status;
};

/* One unary call.
 * path       "/bailiwick.v1.Crypto/Decrypt"
 * request    the message; at most BW_MESSAGE_MAX
 * retry      the request may be sent again when the connection was lost under it: it carries a request id or changes nothing.
 *            When the server surely did not see it, it is sent again whatever retry says.
 * arena      takes the reply
 * ret_refusal  may be NULL; all zero when the failure is our own
 * Fails with   BW_UNREACHABLE, BW_TLS_REFUSED, BW_SERVER_REGION (wrong region: no byte of the request was sent),
 *              BW_DEADLINE, BW_CANCELLED, BW_PROTOCOL_BROKEN, BW_CREDENTIAL_INVALID, BW_NO_MEMORY, or the server's code. */
bw_result bw_client_call(struct bw_client *client, const char *path, bw_bytes request, bool retry,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

/* How long a call may take, with its retries: the client's own deadline. */
unsigned bw_client_patience_ms(const struct bw_client *client);

/* The same, until then and no longer, whatever the client's own deadline is. Milliseconds of CLOCK_MONOTONIC. */
bw_result bw_client_call_until(struct bw_client *client, const char *path, bw_bytes request, bool retry, int64_t deadline_ms,
                               struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

/* One call that is answered by a stream of messages, until the server ends it, which is BW_OK or its code, or each fails, which
 * ends it with that. It is not made again. quiet_ms: who says nothing for so long is BW_DEADLINE. each may not call on the
 * client; what it is given is the call's. Else as bw_client_call. */
typedef bw_result (*bw_client_each_fn)(void *self, bw_bytes message);
bw_result bw_client_receive(struct bw_client *client, const char *path, bw_bytes request, unsigned quiet_ms,
                            bw_client_each_fn each, void *self, struct bw_refusal *ret_refusal);

/* The same as bw_client_call_until, in one message with what others of the same cost ask at that moment (batch.h).
 * number     of the method, one that Crypto.Batch carries; the request has its request id */
bw_result bw_client_call_shared(struct bw_client *client, unsigned number, enum bw_cost cost, bw_bytes request, int64_t deadline_ms,
                                struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal);

/* For doctor and tests. */
struct bw_client_stats {
    uint64_t calls;        /* that reached a server */
    uint64_t connections;  /* made */
    uint64_t retries;
    uint64_t bytes_sent, bytes_received; /* inside TLS */
};
void bw_client_stats(const struct bw_client *client, struct bw_client_stats *ret_stats);

#endif
