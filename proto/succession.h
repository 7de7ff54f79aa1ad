/* The keys that signed a log, one after the other. When a key is replaced, it signs a last note: which key follows, and the
 * log's size and root at that moment (AUDIT_FORMAT.md, "A new log key"). The notes together lead from any key of the log to
 * the one that signs today; as text they stand one after the other, with an empty line between. */
#ifndef BW_PROTO_SUCCESSION_H
#define BW_PROTO_SUCCESSION_H

#include "note.h"

enum { BW_SUCCESSION_MAX = 64, BW_SUCCESSION_TEXT_MAX = BW_NOTE_MAX }; /* notes; bytes */

/* All zero: no key was ever replaced. */
struct bw_succession {
    uint64_t             first;                         /* number of keys[0] */
    size_t               count;                         /* of keys; 0, or at least 2 */
    struct bw_note_key   keys[BW_SUCCESSION_MAX + 1];   /* named as the log */
    struct bw_checkpoint until[BW_SUCCESSION_MAX];      /* keys[i]'s last one, from which keys[i + 1] goes on */
};

/* A note of old's, appended to text: next, which is the log's key of that number, goes on from last. Both keys' names are not
 * used: a log's keys are named as the log. */
bw_result bw_succession_add(const struct bw_checkpoint *last, uint64_t number, const struct bw_note_signer *old, const struct bw_note_key *next,
                            struct bw_buf *text);

/* BW_DATA_INVALID: not such text; another log's between; a number is missing or a size goes back. BW_SIGNATURE_INVALID: a note
 * is not signed by the key that it retires. */
bw_result bw_succession_read(bw_bytes text, struct bw_succession *ret_succession);

/* Leaves out what was before the first of the keys that are known from elsewhere. BW_SIGNATURE_INVALID: it leads on from none. */
bw_result bw_succession_trust(struct bw_succession *succession, const struct bw_note_key *known, size_t count);

/* A checkpoint that one of these keys signed while it was its turn. BW_SIGNATURE_INVALID: by none, or by one that was retired
 * before the log had that size, or had not begun; BW_DATA_INVALID: it is not the one that a key ended with. */
bw_result bw_succession_verify(const struct bw_succession *succession, bw_bytes note, struct bw_checkpoint *ret_checkpoint);

static inline const struct bw_note_key *bw_succession_last(const struct bw_succession *succession) { return &succession->keys[succession->count - 1]; }
static inline uint64_t bw_succession_number(const struct bw_succession *succession) { return succession->count > 0 ? succession->first + succession->count - 1 : 0; }

#endif
