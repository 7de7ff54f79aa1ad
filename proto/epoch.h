/* The entries of a region's anchor log, and the slots that they commit to (AUDIT_FORMAT.md). */
#ifndef BW_PROTO_EPOCH_H
#define BW_PROTO_EPOCH_H

#include "note.h"

enum { BW_EPOCH_ENTRY_LEN = 64 };

struct bw_epoch {
    uint64_t epoch;          /* grows; gaps are times without a daemon */
    int64_t  time_us;        /* wall clock */
    uint32_t clock_error_us; /* as the kernel estimates it; UINT32_MAX: not synchronised */
    uint32_t slots;          /* a power of two */
    bw_hash  root;           /* RFC 6962 root over the slots */
};
void      bw_epoch_print(const struct bw_epoch *epoch, uint8_t entry[static BW_EPOCH_ENTRY_LEN]);
/* BW_DATA_INVALID: not such an entry. */
bw_result bw_epoch_parse(bw_bytes entry, struct bw_epoch *ret_epoch);

/* A log's slot: a MAC under the log's own slot key, so that only who has that knows what is in it. note: the checkpoint, signed. */
bw_result bw_slot_of(struct bw_hasher *hasher, bw_bytes slot_key, uint64_t epoch, const struct bw_checkpoint *checkpoint, bw_bytes note, bw_hash *ret_slot);

/* What proves that an epoch commits to a log's checkpoint. */
struct bw_anchor_proof {
    bw_bytes        note, entry;         /* the anchor log's checkpoint, signed; the epoch's entry */
    uint64_t        index;               /* of the entry */
    struct bw_proof inclusion;
    uint32_t        slot;
    bw_bytes        slot_key;
    struct bw_proof slot_path;
    bw_bytes        checkpoint;          /* the log's, signed */
};

/* Both keys known from elsewhere. BW_SIGNATURE_INVALID, BW_DATA_INVALID: it is not proven. */
bw_result bw_anchor_verify(const struct bw_anchor_proof *proof, const struct bw_note_key *anchor_key, const struct bw_note_key *log_key,
                           struct bw_epoch *ret_epoch, struct bw_checkpoint *ret_checkpoint);

#endif
