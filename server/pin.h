/* PINs that the operator holds: files <pin_dir>/<name>.pin, mode 0600, ours. "region" is the region's own token's,
 * "tenant-<tenant>" a tenant's. The PIN is the file's first line. */
#ifndef BW_SERVER_PIN_H
#define BW_SERVER_PIN_H

#include "bailiwick/secret.h"

/* BW_HSM_UNAVAILABLE: there is none, or others may read it. */
bw_result bw_pin_read(const char *pin_dir, const char *name, struct bw_secret **ret_pin);

/* Keeps a PIN: written under another name, synced, then named; the folder synced. BW_ALREADY_EXISTS: there is one. */
bw_result bw_pin_write(const char *pin_dir, const char *name, bw_bytes pin);

#endif
