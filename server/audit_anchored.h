/* An epoch as it is given out: the region's slots, what stands in each log's, and the anchor log's checkpoint over the entry.
 * Slot n is log n's, for good; those without a log hold random bytes, so that their number tells no more than a power of two. */
#ifndef BW_SERVER_AUDIT_ANCHORED_H
#define BW_SERVER_AUDIT_ANCHORED_H

#include "audit_anchor.h"
#include "audit_logs.h"

struct bw_anchored_log { uint8_t slot_key[BW_AUDIT_HASH_LEN]; struct bw_buf note; };

enum { BW_SLOTS_MIN = 16 };

/* All zero is a valid empty one. */
struct bw_anchored {
    struct bw_epoch         epoch;
    uint64_t                index;      /* of its entry in the anchor log */
    struct bw_proof         inclusion;
    struct bw_buf           note;       /* the anchor log's checkpoint that ends with it */
    bw_hash                *slots;      /* their leaf hashes */
    struct bw_anchored_log *logs;       uint32_t log_count;
};

/* A new epoch over so many logs, all slots random. */
bw_result bw_anchored_begin(struct bw_anchored *anchored, struct bw_hasher *hasher, uint64_t epoch, int64_t time_us, uint32_t log_count);
bw_result bw_anchored_put(struct bw_anchored *anchored, struct bw_hasher *hasher, const struct bw_audit_log *log, const struct bw_checkpoint *checkpoint, bw_bytes note);
bw_result bw_anchored_finish(struct bw_anchored *anchored, struct bw_hasher *hasher); /* the root over the slots */
void      bw_anchored_clear(struct bw_anchored *anchored);

/* Of a log's slot, in the tree of slots. */
bw_result bw_anchored_path(const struct bw_anchored *anchored, struct bw_hasher *hasher, uint32_t log, struct bw_proof *ret_path);

#endif
