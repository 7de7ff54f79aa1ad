/* Where the query index keeps lists of the past. While a segment fills, its lists are written segment by segment: what is
 * written lies together. When it is full, they move to where a value's lists of 16 segments lie together: what is read lies
 * together, and one list replaces the pieces it came in. Lists of request ids stay: each is of one record. */
#ifndef BW_SERVER_AUDIT_MOVE_H
#define BW_SERVER_AUDIT_MOVE_H

#include "audit_index_db.h"
#include "audit_lists.h"

/* One segment's offsets of one value. */
struct bw_list_mover { uint8_t offsets[BW_SEGMENT * BW_OFFSET_LEN]; };

/* Moves some of a full segment's lists, in the caller's transaction. *ret_all: nothing of it is left to move. */
bw_result bw_lists_move(struct bw_list_mover *mover, struct bw_sql *sql, uint32_t log, uint64_t segment, bool *ret_all);

#endif
