/* Room for the log. Below a floor of free space the daemon takes no more work; a file of ballast, given up when a commit
 * finds no room at all, lets what is under way still be recorded. When there is room again, so is the ballast. */
#ifndef BW_SERVER_AUDIT_SPACE_H
#define BW_SERVER_AUDIT_SPACE_H

#include "bailiwick/bytes.h"

#define BW_AUDIT_FLOOR   (128ull * 1024 * 1024) /* bytes free */
#define BW_AUDIT_BALLAST (32ull * 1024 * 1024)

struct bw_audit_space;

/* dir: where the log and the ballast are. Makes the ballast when there is room. */
bw_result bw_audit_space_new(const char *dir, struct bw_audit_space **ret_space);
void      bw_audit_space_free(struct bw_audit_space *space);
BW_DEFINE_AUTO(audit_space)

/* Looks at the disk at most once a second. Any thread. */
bool bw_audit_space_is_low(struct bw_audit_space *space);

/* Gives up the ballast. false: there was none. */
bool bw_audit_space_give_up(struct bw_audit_space *space);

#endif
