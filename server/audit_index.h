/* The query index and the logs' trees: audit-index.db, fed from audit.db by a thread of its own, off the release path. All of
 * it can be made again from audit.db, and is when it is missing, damaged, of another schema, or does not belong to that audit.db.
 *
 * Every record is in a few lists, by what a query may ask for: its key, its principal's pseudonym, its operation, its
 * outcome, its request id. A query intersects the lists it names, 65,536 records of the log at a time. Times of a log only
 * grow, so a time range is a range of indexes. */
#ifndef BW_SERVER_AUDIT_INDEX_H
#define BW_SERVER_AUDIT_INDEX_H

#include "audit.h"
#include "audit_logs.h"

struct bw_audit_index_options {
    const char           *db_path;
    const char           *index_path;
    bw_region             region;
    struct bw_audit_logs *logs;      /* must outlive the index */
    uint64_t              length;    /* position of the last durable record */
    bool                  anew;      /* whatever index is there */
    void                (*tick)(void *self); /* on the index's thread, after each round and once a second while there is a reason to */
    bool                (*wants_tick)(void *self);
    void                 *self;
};

struct bw_audit_index;
bw_result bw_audit_index_new(const struct bw_audit_index_options *options, struct bw_audit_index **ret_index); /* starts the thread */
void      bw_audit_index_free(struct bw_audit_index *index);                                                   /* ends it */
BW_DEFINE_AUTO(audit_index)

/* Records up to length are durable now. After every commit; costs next to nothing. */
void bw_audit_index_grown(struct bw_audit_index *index, uint64_t length);

/* All first wait until the index holds all that was durable when they were called. BW_AUDIT_UNAVAILABLE: the log is
 * damaged, or cannot be read; BW_DEADLINE: the index is being made again and needs longer; BW_LOG_POSITION: the query
 * starts beyond the log's end. Any thread. */
bw_result bw_audit_index_find(struct bw_audit_index *index, const struct bw_audit_query *query, struct bw_arena *arena, struct bw_audit_found *ret_found);
bw_result bw_audit_index_each_open_intent(struct bw_audit_index *index, bw_audit_intent_fn each, void *self);

/* Runs read on one state of the index; fails as read does. */
struct bw_index_reader;
typedef bw_result (*bw_index_read_fn)(void *self, struct bw_index_reader *reader);
bw_result bw_audit_index_read(struct bw_audit_index *index, bw_index_read_fn read, void *self);

/* The two halves of it: waits; and runs read on what the index holds already. */
bw_result bw_audit_index_wait(struct bw_audit_index *index);
bw_result bw_audit_index_look(struct bw_audit_index *index, bw_index_read_fn read, void *self);

#endif
