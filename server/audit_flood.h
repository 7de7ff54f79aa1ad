/* Floods of denials in the region's own log cannot fill the disk. Of denials with the same principal, address (without
 * its port), operation and reason, the first in a second gets a record of its own. The others of that second share one,
 * written when it is over: its count says how many they were, its last_us when the last came, and it names a key only if
 * all were about that one. Their receipts name the first one's record. So a caller who repeats himself costs two records
 * a second; and when more than BW_FLOOD_KINDS kinds of denials come in a second, all further kinds are one kind (principal
 * empty, reason OVERLOADED), so that nobody costs more than 2 * (BW_FLOOD_KINDS + 1).
 *
 * What a crash loses is the count of the last second's repetitions, never a first. Only the committer comes here. */
#ifndef BW_SERVER_AUDIT_FLOOD_H
#define BW_SERVER_AUDIT_FLOOD_H

#include "audit.h"

enum { BW_FLOOD_KINDS = 64, BW_FLOOD_WINDOW_US = 1000 * 1000 };

struct bw_flood;
bw_result bw_flood_new(struct bw_flood **ret_flood);
void      bw_flood_free(struct bw_flood *flood);
BW_DEFINE_AUTO(flood)

/* Before a batch is written: takes out what needs no record of its own. *at is a list; the order of what stays is kept.
 * now_us: CLOCK_MONOTONIC; wall_us: for last_us. */
struct bw_audit_entry *bw_flood_take(struct bw_flood *flood, struct bw_audit_entry **at, int64_t now_us, int64_t wall_us);

/* When the batch's fate is known: taken, as given by bw_flood_take, get their index; a batch that failed leaves no trace. */
void bw_flood_settle(struct bw_flood *flood, struct bw_audit_entry *taken, bool written);

/* The records that stand for what was taken, of windows that are over (or of all), as entries to be written; NULL: none.
 * The next call comes when all of them are done. Those that could not be written come again. */
struct bw_audit_entry *bw_flood_due(struct bw_flood *flood, int64_t now_us, bool all);

/* Whether bw_flood_due may give something, now or later. */
bool bw_flood_is_waiting(const struct bw_flood *flood);

#endif
