/* The guard: a small file, best on another volume than the log, that holds the last checkpoint signed of each log. A
 * checkpoint is published only after the guard was moved from the one before to it, in one step; so a log that was put back,
 * or a second daemon on a copy of it, cannot go on as if nothing had been signed. */
#ifndef BW_SERVER_AUDIT_GUARD_H
#define BW_SERVER_AUDIT_GUARD_H

#include "audit_file.h"
#include "succession.h"

/* All zero is a valid closed one. */
struct bw_audit_guard { struct bw_sql sql; };

struct bw_guarded {
    struct bw_checkpoint checkpoint;
    bw_bytes             note;       /* the checkpoint, signed; borrowed */
    int64_t              signed_us;  /* wall clock */
    bw_bytes             keys;       /* the keys before the one that signs now: notes (succession.h); borrowed; empty: none */
};

/* A row of a statement that gives origin, size, root, note, signed_us, keys, as the last checkpoints are kept wherever they are. */
bw_result bw_guarded_of_row(struct bw_sql *sql, unsigned statement, struct bw_guarded *ret_row);

/* That the note is the checkpoint's, signed by key or by one before it, in its turn. BW_LOG_POSITION: it is not, or the keys
 * do not lead to this one. ret_by_key: by this very one. */
bw_result bw_guarded_check(const struct bw_guarded *row, const struct bw_note_key *key, bool *ret_by_key);

/* On purpose, once per region. BW_ALREADY_EXISTS: there is one. */
bw_result bw_audit_guard_create(const char *path, const bw_region *region);

/* BW_AUDIT_UNAVAILABLE: there is none, or it is damaged; BW_WRONG_REGION: another region's. */
bw_result bw_audit_guard_open(const char *path, const bw_region *region, struct bw_audit_guard *ret_guard);
void      bw_audit_guard_close(struct bw_audit_guard *guard);

/* What it holds; borrowed until the callback returns. */
bw_result bw_audit_guard_each(struct bw_audit_guard *guard, bw_result (*each)(void *self, const struct bw_guarded *row), void *self);

/* The number of the key that signs: 0 for a region's first. */
bw_result bw_audit_guard_key_number(struct bw_audit_guard *guard, uint64_t *ret_number);

/* Begin, move any number of logs, commit: all or nothing; on any failure roll back. before: what the caller takes for the
 * last one; NULL: none was signed. Who moves a log does not change its keys, and the other way round. BW_CONFLICT: the guard
 * holds another. */
bw_result bw_audit_guard_begin(struct bw_audit_guard *guard);
bw_result bw_audit_guard_move(struct bw_audit_guard *guard, const struct bw_checkpoint *before, const struct bw_guarded *now);
bw_result bw_audit_guard_succeed(struct bw_audit_guard *guard, const struct bw_checkpoint *last, bw_bytes keys_before, bw_bytes keys);
bw_result bw_audit_guard_commit(struct bw_audit_guard *guard);
void      bw_audit_guard_roll_back(struct bw_audit_guard *guard);

#endif
