/* A new region's first steps, once: PIN files, the region's HSM token, an empty store and audit log. */
#ifndef BW_SERVER_INIT_REGION_H
#define BW_SERVER_INIT_REGION_H

#include "config.h"

/* Makes the folders that are missing. Refuses with BW_ALREADY_EXISTS when any of the parts is there, and changes nothing then.
 * message says which, or where it failed. */
bw_result bw_init_region(const struct bw_config *config, char *message, size_t room);

#endif
