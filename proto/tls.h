/* TLS 1.3 to a node of the home region, over a non-blocking socket.
 *
 * All of it in an OSSL_LIB_CTX of our own, and with every setting spelt out, so that neither the host's providers and
 * engines nor its openssl.cnf decide how we talk. Errors may be left in OpenSSL's queue (see host.h).
 * Nothing here locks: the client's mutex is held around each call (but around bw_tls_prepare_process). */
#ifndef BW_PROTO_TLS_H
#define BW_PROTO_TLS_H

#include "bailiwick/names.h"
#include "credential.h"

/* One per client: library context, whom to expect, and the last session ticket. */
struct bw_tls;
bw_result bw_tls_new(const bw_region *home, const char *trust_domain, OSSL_LIB_CTX *library, struct bw_tls **ret_tls); /* library: see client.h */
void      bw_tls_free(struct bw_tls *tls);
BW_DEFINE_AUTO(tls)

/* Does what OpenSSL does once per process; holding no lock, because a host's configuration may load engines that
 * come back to the module we are part of. */
void bw_tls_prepare_process(void);

/* Whether the passphrase opens the key. */
bw_result bw_tls_try_key(struct bw_tls *tls, bw_bytes key_pem, struct bw_secret *passphrase);

/* Takes these credentials for the channels to come. passphrase is borrowed during the call. */
bw_result bw_tls_use(struct bw_tls *tls, const struct bw_credential *credential, struct bw_secret *passphrase);

/* Forgets credentials and ticket; channels that have them keep them. */
void bw_tls_forget(struct bw_tls *tls);

/* What a channel waits for before it can go on. */
enum bw_wait { BW_WAIT_NOTHING, BW_WAIT_READABLE, BW_WAIT_WRITABLE };

/* One TLS connection. Does not own the socket. */
struct bw_channel;
bw_result bw_channel_new(struct bw_tls *tls, int socket, const char *host, struct bw_channel **ret_channel);
void      bw_channel_free(struct bw_channel *channel); /* says nothing on the socket */
BW_DEFINE_AUTO(channel)

/* Fails with BW_SERVER_REGION, BW_TLS_REFUSED, or BW_UNREACHABLE when the connection broke. Done: BW_WAIT_NOTHING. */
bw_result bw_channel_handshake(struct bw_channel *channel, enum bw_wait *ret_wait);

/* *ret_len is 0 when *ret_wait is not BW_WAIT_NOTHING. Fail with BW_UNREACHABLE: closed or broken; BW_TLS_REFUSED:
 * the server sent an alert, as it does after the handshake when it does not like our certificate (RFC 8446 4.4.2.4). */
bw_result bw_channel_read(struct bw_channel *channel, uint8_t *to, size_t room, size_t *ret_len, enum bw_wait *ret_wait);
bw_result bw_channel_write(struct bw_channel *channel, bw_bytes bytes, size_t *ret_len, enum bw_wait *ret_wait);

#endif
