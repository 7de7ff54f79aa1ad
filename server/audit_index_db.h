/* The file audit-index.db: its schema and statements, for the thread that feeds it and for those who query it. */
#ifndef BW_SERVER_AUDIT_INDEX_DB_H
#define BW_SERVER_AUDIT_INDEX_DB_H

#include "sql.h"

enum bw_index_statement {
    BW_INDEX_BEGIN,          /* to write */
    BW_INDEX_READ,           /* begins a transaction that reads */
    BW_INDEX_COMMIT,
    BW_INDEX_ADD_ENTRY,      /* log, index, position, time_us */
    BW_INDEX_ADD_LIST,       /* as bw_lists_write wants it */
    BW_INDEX_EACH_PIECE,     /* log, segment, kinds below -> kind, value, offsets: of a segment's lists, in order */
    BW_INDEX_ADD_MOVED,      /* log, chunk, kind, value, segment, offsets */
    BW_INDEX_DROP_PIECES,    /* log, segment, kind, value: up to there */
    BW_INDEX_SET_MOVED,      /* log, segments */
    BW_INDEX_ADD_INTENT,     /* position, log, index */
    BW_INDEX_CLOSE_INTENT,   /* log, index */
    BW_INDEX_SET_FED,        /* log, size */
    BW_INDEX_SET_POSITION,   /* position, mark */
    BW_INDEX_POSITION,       /* -> position, mark */
    BW_INDEX_SIZE,           /* log -> size, segments moved */
    BW_INDEX_EACH_FED,       /* -> log, size, segments moved */
    BW_INDEX_ENTRY,          /* log, index -> position, time_us */
    BW_INDEX_LIST,           /* as bw_list_read wants it: wherever it is */
    BW_INDEX_NEW_LIST,       /* the same, of a segment that is not full */
    BW_INDEX_MOVED_LIST,     /* the same, of a segment whose lists were moved, but for request ids */
    BW_INDEX_EACH_INTENT,    /* -> position */
    BW_INDEX_PUT_TILE,       /* log, level, number, hashes */
    BW_INDEX_TILE            /* log, level, number -> hashes */
};

/* BW_AUDIT_UNAVAILABLE: there is no index that could be used. */
bw_result bw_index_db_open(const char *path, bool to_write, struct bw_sql *ret_sql);

/* Removes what is there and makes an empty one. */
bw_result bw_index_db_create(const char *path, struct bw_sql *ret_sql);

#endif
