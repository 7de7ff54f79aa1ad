/* Verifies a log, or a record of one, from files alone: no server, no network, libcrypto only.
 *
 * Nothing is believed but the keys: what a checkpoint says is held against every byte that stands beside it. */
#ifndef BW_TOOLS_VERIFY_H
#define BW_TOOLS_VERIFY_H

#include "note.h"
#include "tlog_dir.h"

/* Where verifying stopped. */
struct bw_verify_fault {
    bool     has_index;
    uint64_t index;                        /* of the first record that is not what was signed */
    char     file[BW_TLOG_PATH_MAX];       /* "": none in particular */
};

/* A whole directory (tlog_dir.h), replayed: every record's entry, commitments and leaf, every tile, the root, the signature;
 * and that it goes on from an older checkpoint, a note, when that is not NULL. keys: what may have signed them, or a key that
 * led to the one that did, by the notes beside the log (succession.h); what a key handed over to the next is held against the
 * records too.
 * BW_SIGNATURE_INVALID: not signed by these; BW_DATA_INVALID: not what was signed; *fault tells where. */
bw_result bw_verify_dir(const char *dir, const struct bw_note_key *keys, size_t key_count, const bw_bytes *older,
                        struct bw_verify_fault *fault, struct bw_checkpoint *ret_checkpoint);

/* One record's proof, as text (c2sp.org/tlog-proof; its extra data is the record's three classes, each with its length in
 * front as in a directory). index and classes point into extra. */
struct bw_record_proof {
    uint64_t        index;
    bw_bytes        essential, who, context; /* salt and message */
    struct bw_proof inclusion;
    bw_bytes        note;
};
bw_result bw_record_proof_print(const struct bw_record_proof *proof, struct bw_buf *ret_text);

/* Fails as bw_verify_dir does. extra holds what the classes point to; the caller clears it. */
bw_result bw_verify_proof(bw_bytes text, const struct bw_note_key *keys, size_t key_count, struct bw_buf *extra,
                          struct bw_record_proof *ret_proof, struct bw_checkpoint *ret_checkpoint);

#endif
