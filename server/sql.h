/* A SQLite connection with its statements, for the store and for the log's files. One thread at a time uses a connection. */
#ifndef BW_SERVER_SQL_H
#define BW_SERVER_SQL_H

#include <sqlite3.h>

#include "bailiwick/bytes.h"

enum { BW_SQL_STATEMENTS_MAX = 64 };

/* All zero is a valid closed connection. */
struct bw_sql {
    sqlite3      *db;
    sqlite3_stmt *statements[BW_SQL_STATEMENTS_MAX];
    size_t        statement_count;
    enum bw_code  unavailable; /* what every failure is, whatever SQLite's reason */
    bool          unbound;     /* a parameter was not taken: the next step fails instead of running without it */
};

/* setup: executed first, may be empty. Waits for nobody, unless setup has a busy_timeout. */
bw_result bw_sql_open(const char *path, int flags, enum bw_code unavailable, const char *setup, struct bw_sql *ret_sql);
bw_result bw_sql_prepare(struct bw_sql *sql, const char *const *texts, size_t count);
void      bw_sql_close(struct bw_sql *sql);

bw_result bw_sql_execute(struct bw_sql *sql, const char *text);

/* Ends a transaction that is open without it; none: nothing. It cannot fail in a way that leaves it open. */
void bw_sql_roll_back(struct bw_sql *sql);

/* Whether the file says that it is of this kind, in this version. */
bw_result bw_sql_check_kind(struct bw_sql *sql, int64_t application_id, int64_t version);

/* Runs a statement that gives no row, and makes it ready for the next time, whether it worked or not.
 * BW_ALREADY_EXISTS: a row of that primary key or unique value is there. */
bw_result bw_sql_run(struct bw_sql *sql, unsigned statement);

/* The next row, if there is one; the caller resets when done with it. */
bw_result bw_sql_step(struct bw_sql *sql, unsigned statement, bool *ret_row);
void      bw_sql_reset(struct bw_sql *sql, unsigned statement);

/* A statement that gives at most one row of one number; absent and NULL give none. */
bw_result bw_sql_number(struct bw_sql *sql, unsigned statement, int64_t none, int64_t *ret_number);

/* The number that a query run once gives, its only parameter bound to text when it has one; 0 when it gives no row. */
bw_result bw_sql_ask(struct bw_sql *sql, const char *query, const char *text, int64_t *ret_number);

/* Parameters count from 1, columns from 0. Bytes are borrowed until the statement is reset. */
void     bw_sql_bind_number(struct bw_sql *sql, unsigned statement, int parameter, int64_t value);
void     bw_sql_bind_bytes(struct bw_sql *sql, unsigned statement, int parameter, bw_bytes bytes);
void     bw_sql_bind_text(struct bw_sql *sql, unsigned statement, int parameter, bw_bytes text);
int64_t  bw_sql_get_number(struct bw_sql *sql, unsigned statement, int column);
bw_bytes bw_sql_get_bytes(struct bw_sql *sql, unsigned statement, int column);

#endif
