/* The PEM files of a client: read and judged, then made into what OpenSSL needs. */
#ifndef BW_PROTO_CREDENTIAL_H
#define BW_PROTO_CREDENTIAL_H

#include <openssl/ssl.h>

#include "bailiwick/secret.h"

/* The files' contents as they were at one moment. All zero is empty. */
struct bw_credential {
    struct bw_buf ca;
    struct bw_buf certificate;
    struct bw_buf key;
};

/* Reads the three files, so it may block; may be done without any lock.
 * Fails with BW_CREDENTIAL_INVALID: a file cannot be read, or others than its owner, us, could read the key. */
bw_result bw_credential_read(const char *ca_file, const char *certificate_file, const char *key_file, struct bw_credential *ret_credential);
void      bw_credential_clear(struct bw_credential *credential);

/* The key file alone, with the same checks. */
bw_result bw_credential_read_key(const char *key_file, struct bw_buf *ret_key);

/* Whether the PEM says that its key is encrypted, as PKCS#8 or in the older way. */
bool bw_credential_key_is_encrypted(bw_bytes key_pem);

/* passphrase may be NULL. Fails with BW_CREDENTIAL_INVALID. */
bw_result bw_credential_open_key(bw_bytes key_pem, struct bw_secret *passphrase, OSSL_LIB_CTX *library, EVP_PKEY **ret_key);

/* Gives the context our certificate with its chain, our key, and whom to trust. */
bw_result bw_credential_install(const struct bw_credential *credential, struct bw_secret *passphrase, OSSL_LIB_CTX *library, SSL_CTX *context);

/* What tells one set of files from another. */
bw_result bw_credential_digest(const struct bw_credential *credential, OSSL_LIB_CTX *library, uint8_t digest[static 32]);

#endif
