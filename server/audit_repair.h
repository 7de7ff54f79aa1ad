/* A guard file that was lost: made again from what the anchor log kept of the last epoch, once the log on the disk goes on
 * from all of it. Nothing is signed. The daemon must not run; the region's own log has a record of it (RepairGuard).
 *
 * What was signed after the last epoch is known to those alone who got it: the more of their checkpoints are given, the less
 * can have been taken back unseen. */
#ifndef BW_SERVER_AUDIT_REPAIR_H
#define BW_SERVER_AUDIT_REPAIR_H

#include "audit.h"

/* Each log with the checkpoint that it is guarded by from now on. */
typedef void (*bw_audit_repaired_fn)(void *self, const struct bw_checkpoint *checkpoint);

/* notes: checkpoints of these logs, signed, from wherever the operator has them. BW_ALREADY_EXISTS: there is a guard file;
 * BW_LOG_POSITION: a log does not go on from a checkpoint, which told has named last; nothing was changed. */
bw_result bw_audit_repair_guard(const struct bw_audit_options *options, const bw_bytes *notes, size_t note_count, bw_audit_repaired_fn told, void *self);

#endif
