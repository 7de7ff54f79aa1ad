/* Queries on the log's index: what audit_index.h promises, once the index holds what it must. */
#ifndef BW_SERVER_AUDIT_FIND_H
#define BW_SERVER_AUDIT_FIND_H

#include "audit.h"
#include "audit_logs.h"

/* What one query at a time needs. */
struct bw_index_reader {
    struct bw_index_reader *next;
    struct bw_sql           index;
    struct bw_audit_db      db;
    struct bw_hasher       *hasher;
};

bw_result bw_index_search(struct bw_index_reader *reader, const struct bw_audit_log *log, const struct bw_audit_query *query,
                        struct bw_arena *arena, struct bw_audit_found *ret_found);
bw_result bw_index_each_open_intent(struct bw_index_reader *reader, bw_audit_intent_fn each, void *self);

#endif
