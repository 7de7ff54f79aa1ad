/* bailiwickd --rotate-log-key: the region's log key retires, and a new one in the HSM signs its logs from then on. The daemon must
 * not run. The region's own log has an intent and an outcome of it (RotateLogKey); what a crash left open the next run, or the
 * next start, closes by what the guard tells. */
#ifndef BW_SERVER_ROTATE_LOG_KEY_H
#define BW_SERVER_ROTATE_LOG_KEY_H

#include "audit.h"
#include "config.h"

/* What was open is on record as carried out, or as not. ret_was_done: a run before was carried out that did not live to say so. */
bw_result bw_audit_close_rotations(struct bw_audit *audit, const char *node, uint32_t number, bool *ret_was_done);

/* number: of next, one more than that of the key that signs; next must outlive audit. */
bw_result bw_audit_rotate_key(struct bw_audit *audit, const char *node, const struct bw_note_signer *next, uint32_t number);

/* All of it. ret_number: of the key that signs from now on. message: what is wrong, when it fails. */
bw_result bw_rotate_log_key(const struct bw_config *config, uint32_t *ret_number, char *message, size_t room);

#endif
