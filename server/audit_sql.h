/* A SQLite connection with its statements, for the log's files. One thread at a time uses a connection. */
#ifndef BW_SERVER_AUDIT_SQL_H
#define BW_SERVER_AUDIT_SQL_H

#include <sqlite3.h>

#include "bailiwick/bytes.h"

enum { BW_SQL_STATEMENTS_MAX = 24 };

/* All zero is a valid closed connection. */
struct bw_audit_sql {
    sqlite3      *db;
    sqlite3_stmt *statements[BW_SQL_STATEMENTS_MAX];
    size_t        statement_count;
};

/* setup: executed first, may be empty. Everything here fails with BW_AUDIT_UNAVAILABLE, whatever SQLite's reason. */
bw_result bw_audit_sql_open(const char *path, int flags, const char *setup, struct bw_audit_sql *ret_sql);
bw_result bw_audit_sql_prepare(struct bw_audit_sql *sql, const char *const *texts, size_t count);
void      bw_audit_sql_close(struct bw_audit_sql *sql);

bw_result bw_audit_sql_execute(struct bw_audit_sql *sql, const char *text);

/* Runs a statement that gives no row, and makes it ready for the next time, whether it worked or not. */
bw_result bw_audit_sql_run(struct bw_audit_sql *sql, unsigned statement);

/* The next row, if there is one; the caller resets when done with it. */
bw_result bw_audit_sql_step(struct bw_audit_sql *sql, unsigned statement, bool *ret_row);
void      bw_audit_sql_reset(struct bw_audit_sql *sql, unsigned statement);

/* A statement that gives at most one row of one number; absent and NULL give none. */
bw_result bw_audit_sql_number(struct bw_audit_sql *sql, unsigned statement, int64_t none, int64_t *ret_number);

/* The number that a query run once gives, its only parameter bound to text when it has one; 0 when it gives no row. */
bw_result bw_audit_sql_ask(struct bw_audit_sql *sql, const char *query, const char *text, int64_t *ret_number);

/* Parameters count from 1, columns from 0. Bytes are borrowed until the statement is reset. */
void     bw_audit_sql_bind_number(struct bw_audit_sql *sql, unsigned statement, int parameter, int64_t value);
void     bw_audit_sql_bind_bytes(struct bw_audit_sql *sql, unsigned statement, int parameter, bw_bytes bytes);
void     bw_audit_sql_bind_text(struct bw_audit_sql *sql, unsigned statement, int parameter, const char *text);
int64_t  bw_audit_sql_get_number(struct bw_audit_sql *sql, unsigned statement, int column);
bw_bytes bw_audit_sql_get_bytes(struct bw_audit_sql *sql, unsigned statement, int column);

#endif
