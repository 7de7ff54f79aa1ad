/* The process itself: what it must not leak, and what it needs of the system. */
#ifndef BW_SERVER_PROCESS_H
#define BW_SERVER_PROCESS_H

#include <stdbool.h>

/* No core dumps, no ptrace by others, files for nobody else, memory locked where the limits allow all of it, as many
 * descriptors as the hard limit has, SIGPIPE ignored. Best effort, before there are threads. */
void bw_process_prepare(void);

/* Whether somebody still accepts connections at the address: connects, says that nothing will come, and waits for the other
 * side to hang up. The C core's listener stops for ever when it once ran out of descriptors, and nothing else tells.
 * Blocks up to wait_ms. */
bool bw_process_is_answering(const char *address, int port, int wait_ms);

#endif
