/* The scrubber: a thread that reads the whole log again and again, in the background, and holds what is on the disk against
 * itself: records against the tree's tiles and the query index, tiles against the tiles above them, heads against the records
 * there are, the guard's checkpoints against the records and their signatures, the anchor log against its checkpoint.
 *
 * It works a small part of the time at the lowest priority and holds no lock that a record waits for. */
#ifndef BW_SERVER_AUDIT_SCRUB_H
#define BW_SERVER_AUDIT_SCRUB_H

#include "audit_index.h"

struct bw_audit_scrub_options {
    const char           *db_path;
    const char           *guard_path, *anchor_path; /* copied. guard_path NULL: nothing is signed */
    bw_region             region;
    struct bw_audit_logs *logs;     /* must outlive the scrubber, as must the index */
    struct bw_audit_index *index;
    const struct bw_note_key *key;  /* copied; that signs */
    unsigned              pause_ms; /* between two passes; 0: an hour */
    bw_audit_damage_fn    damaged;
    void                 *self;
};

struct bw_audit_scrub;
bw_result bw_audit_scrub_start(const struct bw_audit_scrub_options *options, struct bw_audit_scrub **ret_scrub);
void      bw_audit_scrub_stop(struct bw_audit_scrub *scrub); /* NULL is fine */

/* BW_AUDIT_UNAVAILABLE: damage was found. Any thread. */
bw_result bw_audit_scrub_health(const struct bw_audit_scrub *scrub);

void bw_audit_scrub_progress(const struct bw_audit_scrub *scrub, struct bw_audit_progress *ret_progress);

#endif
