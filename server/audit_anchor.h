/* The region's anchor log: one entry of fixed size per epoch, also when nothing happened, that commits to the last checkpoint
 * of every log without telling anything about it (AUDIT_FORMAT.md). So an idle log that was cut off is missed too, and one
 * small log is all that others need to watch. File audit-anchor.db; only the notary's thread comes here. */
#ifndef BW_SERVER_AUDIT_ANCHOR_H
#define BW_SERVER_AUDIT_ANCHOR_H

#include "audit_guard.h"
#include "epoch.h"

/* On purpose, once per region. BW_ALREADY_EXISTS: there is one. */
bw_result bw_anchor_create(const char *path, const bw_region *region);

/* All zero is a valid closed one. */
struct bw_anchor {
    struct bw_sql sql;
    struct bw_frontier  frontier;  /* over all entries */
    uint64_t            epoch;     /* of the last one; 0: there is none */
    bool                in_doubt;  /* an entry may have been added that is not in frontier: read again before the next */
};

/* BW_AUDIT_UNAVAILABLE: there is none, or it is damaged; BW_WRONG_REGION:
 * another region's. */
bw_result bw_anchor_open(const char *path, const bw_region *region, struct bw_hasher *hasher, struct bw_anchor *ret_anchor);
void      bw_anchor_close(struct bw_anchor *anchor);

/* The root of the first size entries. BW_LOG_POSITION: there are fewer. */
bw_result bw_anchor_root(struct bw_anchor *anchor, struct bw_hasher *hasher, uint64_t size, bw_hash *ret_root);

/* Durable when it returns. ret_inclusion: of the new entry, in the tree that it ends. kept: the checkpoints that it is about,
 * which are kept in case that the guard is lost. */
bw_result bw_anchor_add(struct bw_anchor *anchor, struct bw_hasher *hasher, const struct bw_epoch *epoch, const struct bw_guarded *kept, size_t kept_count,
                        struct bw_proof *ret_inclusion);

/* The same of one log, between two epochs, so that its keys are known without the guard. BW_LOG_POSITION: other keys than
 * these, or more, are kept of it. Nothing is done when these are. */
bw_result bw_anchor_keep_keys(struct bw_anchor *anchor, const struct bw_guarded *row);

/* The checkpoints of the last epoch; borrowed until the callback returns. */
bw_result bw_anchor_each_kept(struct bw_anchor *anchor, bw_result (*each)(void *self, const struct bw_guarded *row), void *self);

#endif
