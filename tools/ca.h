/* A development CA in a folder: ca.pem, ca.key and crl.pem, and beside them what it issued. For quick starts and
 * tests: its private key lies in a file. Production brings a CA of its own.
 *
 * Keys are ECDSA P-256, files of keys 0600, nothing is ever overwritten but the revocation list. The CA's own
 * certificate carries the trust domain as spiffe://<trust domain>, as SPIFFE's X.509-SVID 4.1 wants it. */
#ifndef BW_TOOLS_CA_H
#define BW_TOOLS_CA_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "bailiwick/names.h"
#include "bailiwick/secret.h"
#include "cli.h"

struct bw_ca {
    const char *dir;
    X509       *certificate;
    EVP_PKEY   *key;
    char        trust_domain[BW_TRUST_DOMAIN_MAX + 1];
};
void bw_ca_clear(struct bw_ca *ca);

/* Makes the folder when it is missing, and the CA with an empty revocation list in it. */
bw_result bw_ca_create(struct bw_cli *cli, const char *dir, const char *trust_domain);
bw_result bw_ca_open(struct bw_cli *cli, const char *dir, struct bw_ca *ret_ca);

enum { BW_CA_NAMES_MAX = 8 };
struct bw_ca_request {
    struct bw_identity identity;               /* trust_domain is filled in by the CA */
    const char *dns[BW_CA_NAMES_MAX];          /* NULL ends the list */
    const char *addresses[BW_CA_NAMES_MAX];    /* "127.0.0.1", "::1"; NULL ends the list */
    struct bw_secret *passphrase;              /* encrypts the private key; NULL: not encrypted */
};

/* Writes <dir>/<stem>.pem and <dir>/<stem>.key. *ret_stem lives in the run's arena. */
bw_result bw_ca_issue(struct bw_cli *cli, const struct bw_ca *ca, const struct bw_ca_request *request, const char **ret_stem);

/* Puts the certificate in that file on the list, which is signed anew. */
bw_result bw_ca_revoke(struct bw_cli *cli, const struct bw_ca *ca, const char *certificate_path);

#endif
