/* The tool's configuration: whom to ask, and as whom. One INI file without sections:
 *
 *   region       = eu-central
 *   trust_domain = keys.example
 *   endpoints    = kms-1.example:7443, kms-2.example:7443
 *   ca           = /etc/bailiwick/ca.pem
 *   certificate  = /home/ann/eu-central.acme.custodian.ann.pem
 *   key          = /home/ann/eu-central.acme.custodian.ann.key
 *
 * All six are needed, others are refused. */
#ifndef BW_TOOLS_CLI_CONFIG_H
#define BW_TOOLS_CLI_CONFIG_H

#include "cli.h"

struct bw_cli_config {
    const char *path;            /* of the file that was read */
    bw_region   region;
    const char *trust_domain;
    const char *endpoints[BW_ENDPOINTS_MAX]; /* NULL ends the list */
    const char *ca, *certificate, *key;
};

/* The file that applies: --config, else $BAILIWICK_CONFIG, else the first there is of ~/.config/bailiwick/cli.conf and
 * /etc/bailiwick/cli.conf. All of *ret_config lives in the run's arena. Fails with BW_CONFIG_INVALID, file and line named. */
bw_result bw_cli_config_load(struct bw_cli *cli, struct bw_cli_config *ret_config);

#endif
