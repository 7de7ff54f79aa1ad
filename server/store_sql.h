/* What the store's files share: the statements of store.def, how values go in and come out, transactions. */
#ifndef BW_SERVER_STORE_SQL_H
#define BW_SERVER_STORE_SQL_H

#include <pthread.h>

#include "sql.h"
#include "store.h"

enum bw_store_sql {
#define BW_SQL(name, text) BW_SQL_##name,
#include "store.def"
#undef BW_SQL
    BW_SQL_COUNT
};

struct bw_store {
    pthread_mutex_t lock;      /* of all that follows */
    struct bw_sql   sql;       /* statements in the order of store.def */
    bw_region       region;
    struct bw_request_claim *claims;
    pthread_cond_t           released; /* a claim was */
};

/* A parameter. Borrowed until the statement has run. */
struct bw_query_value {
    enum { BW_SQL_NUMBER, BW_SQL_TEXT, BW_SQL_BLOB } kind;
    int64_t  number;
    bw_bytes bytes;
};
static inline struct bw_query_value bw_query_number(int64_t number)   { return (struct bw_query_value){ .kind = BW_SQL_NUMBER, .number = number }; }
static inline struct bw_query_value bw_query_count(uint64_t count)    { return bw_query_number((int64_t)count); }
static inline struct bw_query_value bw_query_text(const char *text)   { return (struct bw_query_value){ .kind = BW_SQL_TEXT, .bytes = bw_bytes_text(text) }; }
static inline struct bw_query_value bw_query_string(bw_bytes bytes)   { return (struct bw_query_value){ .kind = BW_SQL_TEXT, .bytes = bytes }; }
static inline struct bw_query_value bw_query_blob(bw_bytes bytes)     { return (struct bw_query_value){ .kind = BW_SQL_BLOB, .bytes = bytes }; }
static inline struct bw_query_value bw_query_id(const uint8_t id[static 16]) { return bw_query_blob((bw_bytes){ id, 16 }); }

/* BW_SQL_VALUES(bw_query_text("a"), bw_query_number(1)): the last two arguments of the functions below. */
#define BW_SQL_VALUES(...) (const struct bw_query_value[]){ __VA_ARGS__ }, ARRAY_LEN(((const struct bw_query_value[]){ __VA_ARGS__ }))

/* All of the following hold store->lock. */

/* A statement that gives no rows. ret_changed: rows that it changed; NULL: the caller does not ask.
 * BW_ALREADY_EXISTS: a row of that primary key or unique value is there. */
bw_result bw_query_run(struct bw_store *store, enum bw_store_sql sql, const struct bw_query_value *values, size_t count, int *ret_changed);

/* A statement that gives rows: start, row until it says false, done on every path. One run of a statement at a time. */
bw_result bw_query_start(struct bw_store *store, enum bw_store_sql sql, const struct bw_query_value *values, size_t count);
bw_result bw_query_row(struct bw_store *store, enum bw_store_sql sql, bool *ret_row);
void      bw_query_done(struct bw_store *store, enum bw_store_sql sql);

/* Columns of the row, from 0. Borrowed until the next row or done; _copy from the arena. */
int64_t     bw_query_get_number(struct bw_store *store, enum bw_store_sql sql, int column);
const char *bw_query_get_text(struct bw_store *store, enum bw_store_sql sql, int column);
bw_bytes    bw_query_get_bytes(struct bw_store *store, enum bw_store_sql sql, int column);
bw_result   bw_query_copy_text(struct bw_store *store, enum bw_store_sql sql, int column, struct bw_arena *arena, const char **ret_text);
bw_result   bw_query_copy_bytes(struct bw_store *store, enum bw_store_sql sql, int column, struct bw_arena *arena, bw_bytes *ret_bytes);

/* In the transaction of the change that a warrant is for; NULL: it takes none. BW_NOT_APPROVED. */
bw_result bw_warrant_spend(struct bw_store *store, const struct bw_warrant *warrant);

/* Runs the body under the lock in a transaction, which stands when the body succeeds. */
typedef bw_result (*bw_store_body_fn)(struct bw_store *store, const void *what);
bw_result bw_store_change(struct bw_store *store, bw_store_body_fn body, const void *what);

#endif
