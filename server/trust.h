/* Certificates: this node's own, whose callers' we take, and which of them are revoked. Read again on reload, without a
 * restart and without dropping a call: what is not valid is refused and what was there before stays. */
#ifndef BW_SERVER_TRUST_H
#define BW_SERVER_TRUST_H

#include "config.h"
#include "job.h"

struct bw_trust;

/* Reads the files of section [tls] and checks that they fit each other, and that the node's certificate names this
 * configuration's region (promise 3), trust domain and node. BW_CONFIG_INVALID or BW_WRONG_REGION; message then says which
 * file and what differs. config must outlive the trust. */
bw_result bw_trust_load(const struct bw_config *config, struct bw_trust **ret_trust, char *message, size_t room);
bw_result bw_trust_reload(struct bw_trust *trust, char *message, size_t room);
void      bw_trust_free(struct bw_trust *trust);
BW_DEFINE_AUTO(trust)

/* For TLS handshakes: calls use, and sets *seen, when the files were read anew since *seen. Any thread. false: nothing new. */
typedef void (*bw_trust_use_fn)(void *self, const char *ca, const char *certificate, const char *key);
bool bw_trust_read(struct bw_trust *trust, uint64_t *seen, bw_trust_use_fn use, void *self);

/* Who the peer is. *ret_caller is filled as far as is known even when it is refused, for the record. BW_UNAUTHENTICATED;
 * BW_REVOKED: by the CRL. Remembers what it found by the certificate's bytes, until a reload. Any thread. */
bw_result bw_trust_identify(struct bw_trust *trust, const struct bw_peer *peer, struct bw_caller *ret_caller);

#endif
