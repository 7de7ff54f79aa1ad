/* A file system for SQLite that fails when told to, and whose disk forgets at a power cut what was not synced. */
#ifndef BW_TESTS_FAULT_VFS_H
#define BW_TESTS_FAULT_VFS_H

#include <stdbool.h>

enum fault_call { FAULT_NONE, FAULT_OPEN, FAULT_WRITE, FAULT_SYNC };

/* For all connections opened from now on. */
void fault_vfs_install(void);

/* The nth such call from now (1 is the next) on a file whose name contains name returns code, a SQLITE_ one; and so does
 * every further one when stays. */
void fault_vfs_fail(enum fault_call call, unsigned nth, int code, bool stays, const char *name);
void fault_vfs_heal(void);
bool fault_vfs_has_failed(void); /* since it was told to */

/* From now on remembers what is written until it is synced. */
void fault_vfs_remember(void);

/* The power goes: of each write that was not synced, seed decides whether it reached the disk. Ends the process. */
_Noreturn void fault_vfs_cut(unsigned seed);

#endif
