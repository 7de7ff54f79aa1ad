/* The PKCS#11 module's configuration file: where it is, what may stand in it, what is wrong with it.
 *
 * One section per slot; the section's name is the slot's. The table of settings is in provider_conf.c.
 *
 *     [eu-central]
 *     region       = eu-central
 *     tenant       = acme
 *     trust_domain = example.org
 *     endpoints    = kms1.example.org:7443, kms2.example.org:7443
 *     ca           = /etc/bailiwick/ca.pem
 *     certificate  = /etc/bailiwick/app.pem
 *     key          = /etc/bailiwick/app.key */
#ifndef BW_PROTO_PROVIDER_CONF_H
#define BW_PROTO_PROVIDER_CONF_H

#include "bailiwick/names.h"
#include "client.h"

enum { BW_CONF_MESSAGE_MAX = 1024, BW_CONF_SLOTS_MAX = 64 };

/* Whether the token says CKF_LOGIN_REQUIRED. */
enum bw_login_rule { BW_LOGIN_AUTO, BW_LOGIN_ALWAYS, BW_LOGIN_NEVER };  /* AUTO: when the private key is encrypted */

struct bw_conf_slot {
    const char        *name;
    bw_region          region;
    bw_tenant          tenant;
    const char        *trust_domain;
    const char        *endpoints[BW_ENDPOINTS_MAX + 1]; /* NULL ends them */
    const char        *ca_file;
    const char        *certificate_file;
    const char        *key_file;
    const char        *label;           /* of the token; at most 32 bytes */
    unsigned           deadline_ms;
    unsigned           idle_ms;
    enum bw_login_rule login_rule;
    bool               trace;
};

struct bw_conf {
    struct bw_arena      arena;    /* holds all the rest */
    const char          *path;
    struct bw_conf_slot *slots;    /* in the file's order */
    size_t               slot_count;
};

/* Where the configuration is. The first of these that exists; nothing is merged.
 *   given                       "config=/path" or "/path", from C_Initialize; NULL or empty: not given
 *   $BAILIWICK_PKCS11_CONFIG    not in setuid programs
 *   ~/.config/bailiwick/pkcs11.conf       neither for root nor in setuid programs
 *   /etc/bailiwick/pkcs11.conf
 * What is given, or named by the environment, must exist.
 * Fails with BW_CONFIG_INVALID, the places that were looked at in message. */
bw_result bw_conf_find(const char *given, struct bw_arena *arena, const char **ret_path, char message[static BW_CONF_MESSAGE_MAX]);

/* Reads and checks the whole file, and that the files it names are there. message: what is wrong, in which file, line and
 * section, and what to do; set only on failure. Fails with BW_CONFIG_INVALID, BW_NO_MEMORY. */
bw_result bw_conf_load(const char *path, struct bw_conf *ret_conf, char message[static BW_CONF_MESSAGE_MAX]);
void      bw_conf_clear(struct bw_conf *conf);

/* The slot's settings as the client wants them; borrows from conf. */
struct bw_client_options bw_conf_client_options(const struct bw_conf_slot *slot);

#endif
