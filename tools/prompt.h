/* What only a person at a terminal can say. */
#ifndef BW_TOOLS_PROMPT_H
#define BW_TOOLS_PROMPT_H

#include "bailiwick/secret.h"
#include "cli.h"

/* Asks on /dev/tty without echo: "<what> <of>: ". At most BW_PIN_MAX bytes. Fails with BW_CREDENTIAL_INVALID when there
 * is no terminal, or nothing was typed. */
bw_result bw_prompt_secret(struct bw_cli *cli, const char *what, const char *of, struct bw_secret **ret_secret);

#endif
