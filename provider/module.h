/* The process: whether C_Initialize was called in it, its configuration, slots and sessions. The only globals there are. */
#ifndef BW_PROVIDER_MODULE_H
#define BW_PROVIDER_MODULE_H

#include "session.h"
#include "slot.h"

/* config  where the configuration is: "config=/path" or "/path"; NULL or empty: look for it. A forked child that names none
 *         gets what its parent named.
 * Fails with  BW_ALREADY_INITIALIZED;  BW_CONFIG_INVALID  said in full on stderr;  BW_NO_MEMORY. */
bw_result bw_module_initialize(const char *config);

/* Calls in other threads return BW_CANCELLED; waits for them, at most a second, and leaks rather than hangs.
 * Fails with BW_NOT_INITIALIZED. */
bw_result bw_module_finalize(void);

/* A call begins and ends. Between the two nothing that it can reach is freed. Fails with BW_NOT_INITIALIZED. */
bw_result bw_module_enter(void);
void      bw_module_leave(void);

/* Inside a call. */
struct bw_sessions *bw_module_sessions(void);
size_t              bw_module_slot_count(void);
struct bw_slot     *bw_module_slot_at(size_t index);      /* in the configuration's order; NULL past the end */
struct bw_slot     *bw_module_slot(CK_SLOT_ID id);        /* NULL: none */
bool                bw_module_traces(void);               /* some slot wants a trace */

#endif
