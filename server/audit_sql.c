#include "audit_sql.h"

#include <assert.h>

enum { BUSY_MS = 5000 };

bw_result bw_audit_sql_execute(struct bw_audit_sql *sql, const char *text)
{
    BW_CHECK(sqlite3_exec(sql->db, text, NULL, NULL, NULL) == SQLITE_OK, BW_AUDIT_UNAVAILABLE, "the log's database refused a command");
    return bw_success();
}

bw_result bw_audit_sql_open(const char *path, int flags, const char *setup, struct bw_audit_sql *ret_sql)
{
    struct bw_audit_sql sql = { 0 };

    int code = sqlite3_open_v2(path, &sql.db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK || sqlite3_busy_timeout(sql.db, BUSY_MS) != SQLITE_OK) {
        bw_audit_sql_close(&sql);
        return bw_fail(BW_AUDIT_UNAVAILABLE, "the log's database does not open");
    }
    bw_result r = bw_audit_sql_execute(&sql, setup);
    if (!bw_ok(r)) {
        bw_audit_sql_close(&sql);
        return r;
    }
    *ret_sql = sql;
    return bw_success();
}

bw_result bw_audit_sql_prepare(struct bw_audit_sql *sql, const char *const *texts, size_t count)
{
    assert(sql->statement_count + count <= BW_SQL_STATEMENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        sqlite3_stmt **at = &sql->statements[sql->statement_count++];
        BW_CHECK(sqlite3_prepare_v3(sql->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, at, NULL) == SQLITE_OK,
                 BW_AUDIT_UNAVAILABLE, "the log's database has another schema");
    }
    return bw_success();
}

void bw_audit_sql_close(struct bw_audit_sql *sql)
{
    for (size_t i = 0; i < sql->statement_count; i++)
        (void)sqlite3_finalize(sql->statements[i]);
    (void)sqlite3_close(sql->db);
    *sql = (struct bw_audit_sql){ 0 };
}

bw_result bw_audit_sql_step(struct bw_audit_sql *sql, unsigned statement, bool *ret_row)
{
    int code = sqlite3_step(sql->statements[statement]);

    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *ret_row = code == SQLITE_ROW;
        return bw_success();
    }
    bw_audit_sql_reset(sql, statement);
    return bw_fail(BW_AUDIT_UNAVAILABLE, "the log's database failed");
}

void bw_audit_sql_reset(struct bw_audit_sql *sql, unsigned statement)
{
    (void)sqlite3_reset(sql->statements[statement]); /* tells the step's failure once more */
}

bw_result bw_audit_sql_run(struct bw_audit_sql *sql, unsigned statement)
{
    bool row;

    BW_TRY(bw_audit_sql_step(sql, statement, &row));
    bw_audit_sql_reset(sql, statement);
    assert(!row);
    return bw_success();
}

bw_result bw_audit_sql_number(struct bw_audit_sql *sql, unsigned statement, int64_t none, int64_t *ret_number)
{
    bool row;

    BW_TRY(bw_audit_sql_step(sql, statement, &row));
    bool given = row && sqlite3_column_type(sql->statements[statement], 0) == SQLITE_INTEGER;
    *ret_number = given ? bw_audit_sql_get_number(sql, statement, 0) : none;
    bw_audit_sql_reset(sql, statement);
    return bw_success();
}

bw_result bw_audit_sql_ask(struct bw_audit_sql *sql, const char *query, const char *text, int64_t *ret_number)
{
    unsigned statement = (unsigned)sql->statement_count;

    BW_TRY(bw_audit_sql_prepare(sql, &query, 1));
    if (text != NULL)
        bw_audit_sql_bind_text(sql, statement, 1, text);
    bw_result r = bw_audit_sql_number(sql, statement, 0, ret_number);
    (void)sqlite3_finalize(sql->statements[statement]);
    sql->statements[statement] = NULL;
    sql->statement_count--;
    return r;
}

/* Binding fails only for a parameter that the statement does not have, or out of memory: then the statement still runs,
 * with what was bound before, so it may not be passed over. */
static void bound(int code)
{
    assert(code == SQLITE_OK);
    (void)code;
}

void bw_audit_sql_bind_number(struct bw_audit_sql *sql, unsigned statement, int parameter, int64_t value)
{
    bound(sqlite3_bind_int64(sql->statements[statement], parameter, value));
}

void bw_audit_sql_bind_bytes(struct bw_audit_sql *sql, unsigned statement, int parameter, bw_bytes bytes)
{
    static const uint8_t nothing;
    bound(sqlite3_bind_blob64(sql->statements[statement], parameter, bytes.len ? bytes.data : &nothing, bytes.len, SQLITE_STATIC));
}

void bw_audit_sql_bind_text(struct bw_audit_sql *sql, unsigned statement, int parameter, const char *text)
{
    bound(sqlite3_bind_text(sql->statements[statement], parameter, text, -1, SQLITE_STATIC));
}

int64_t bw_audit_sql_get_number(struct bw_audit_sql *sql, unsigned statement, int column)
{
    return sqlite3_column_int64(sql->statements[statement], column);
}

bw_bytes bw_audit_sql_get_bytes(struct bw_audit_sql *sql, unsigned statement, int column)
{
    const void *data = sqlite3_column_blob(sql->statements[statement], column);
    return bw_bytes_of(data, (size_t)sqlite3_column_bytes(sql->statements[statement], column));
}
