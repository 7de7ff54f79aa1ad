/* bailiwick doctor: one finding after the other, from the file to the module, each with what to do. */
#ifndef BW_TOOLS_DOCTOR_H
#define BW_TOOLS_DOCTOR_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "cli.h"
#include "provider_conf.h"

enum bw_finding { BW_FINE, BW_NOTE, BW_WRONG };

/* What is known so far of one slot of the configuration. */
struct bw_doctor {
    struct bw_cli             *cli;
    const struct bw_conf      *conf;
    const struct bw_conf_slot *slot;
    const char                *check;       /* the title of the check that runs */
    X509                      *ca;
    X509                      *certificate;
    struct bw_secret          *passphrase;  /* of the private key; NULL: it needs none, or none was given */
    bool                       key_opened;
    bool                       answers[BW_ENDPOINTS_MAX]; /* endpoints of the slot that are nodes of the home region */
    struct bw_client          *client;
    size_t                     wrong;       /* findings of the whole run */
};

/* Tells it. what_to_do may be NULL; both are of this moment only. */
void bw_doctor_found(struct bw_doctor *doctor, enum bw_finding finding, const char *what_to_do, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A check tells what it finds. false: what comes after it makes no sense. */
typedef bool bw_check_fn(struct bw_doctor *doctor);
bw_check_fn bw_check_ca, bw_check_certificate, bw_check_identity, bw_check_key;
bw_check_fn bw_check_endpoints, bw_check_describe, bw_check_tenant, bw_check_keys;

/* Of the whole file, not of one slot. */
bool bw_check_module(struct bw_doctor *doctor, const char *module_path);
bool bw_check_p11_kit(struct bw_doctor *doctor);

/* The only SPIFFE id in a certificate. false: there is none, there are several, or it is none of ours. */
bool bw_doctor_identity(const X509 *certificate, char id[static BW_SPIFFE_MAX + 1], struct bw_identity *ret_identity);

/* Whether it is valid now, and says so when it is not or soon will not be. what: "the CA's certificate" */
bool bw_doctor_validity(struct bw_doctor *doctor, const X509 *certificate, const char *what);

#endif
