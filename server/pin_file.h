/* PINs in files of a root-only folder: region.pin, region.so-pin, tenant-<name>.pin. */
#ifndef BW_SERVER_PIN_FILE_H
#define BW_SERVER_PIN_FILE_H

#include "bailiwick/secret.h"

/* The file's first line. BW_CONFIG_INVALID: it is not there, empty, too long, or others may read it. */
bw_result bw_pin_file_read(const char *dir, const char *name, struct bw_secret **ret_pin);

/* A new random PIN in a new file, mode 0600, durable when this returns. BW_ALREADY_EXISTS. */
bw_result bw_pin_file_create(const char *dir, const char *name, struct bw_secret **ret_pin);

#endif
