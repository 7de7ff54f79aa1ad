/* The daemon's configuration: an INI file, one table of settings in config.c. */
#ifndef BW_SERVER_CONFIG_H
#define BW_SERVER_CONFIG_H

#include <stdio.h>

#include "bailiwick/names.h"

struct bw_config {
    bw_region   region;            /* [region] name */
    char       *node;              /*          node */
    char       *trust_domain;      /*          trust_domain */
    char       *listen;            /* [listen] address, "host:port" */
    char       *certificate;       /* [tls]    certificate */
    char       *key;               /*          key */
    char       *ca;                /*          ca */
    char       *crl;               /*          crl, or NULL */
    char       *hsm_module;        /* [hsm]    module */
    char       *pin_dir;           /*          pin_dir: region.pin, tenant-<name>.pin, mode 0600 */
    unsigned    hsm_sessions;      /*          sessions, per token */
    char       *store_dir;         /* [store]  dir */
    char       *audit_dir;         /* [audit]  dir */
    char       *audit_guard;       /*          guard: a file on another volume, or NULL */
    unsigned    in_flight;         /* [limits] in_flight: calls at once */
    unsigned    workers;           /*          workers; 0: as many as processors */
    unsigned    lame_duck_ms;      /*          lame_duck_ms: at stop, from "not serving" to the closed door */
    unsigned    grace_ms;          /*          grace_ms: at stop, what running calls have to end */
    bool        log_json;          /* [log]    format = text | json */
    bool        log_all;           /*          requests = refused | all: which get a line each; the audit log has all in any case */
};

/* Unknown, missing and malformed settings are refused with BW_CONFIG_INVALID. message (at most room bytes) then has a line
 * for each: file, section, setting and what to do; the file's line too where its syntax is at fault. */
bw_result bw_config_load(const char *path, struct bw_config **ret_config, char *message, size_t room);
void      bw_config_free(struct bw_config *config);
BW_DEFINE_AUTO(config)

/* Every setting with its default and meaning, as an example file. */
void bw_config_explain(FILE *to);

#endif
