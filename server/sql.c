#include "sql.h"

#include <assert.h>

/* In words an operator can do something about. */
static bw_result failed(struct bw_sql *sql, int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:  return bw_fail(sql->unavailable, "another process has the database open: is another daemon there?");
    case SQLITE_FULL:    return bw_fail(sql->unavailable, "the database's disk is full");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:  return bw_fail(sql->unavailable, "the database is damaged");
    case SQLITE_IOERR:   return bw_fail(sql->unavailable, "the database's disk fails");
    default:             return bw_fail(sql->unavailable, "the database refused a statement");
    }
}

bw_result bw_sql_execute(struct bw_sql *sql, const char *text)
{
    int code = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? bw_success() : failed(sql, code);
}

void bw_sql_roll_back(struct bw_sql *sql)
{
    if (sqlite3_get_autocommit(sql->db) == 0) /* SQLite ends a transaction itself on some failures */
        (void)sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
}

bw_result bw_sql_open(const char *path, int flags, enum bw_code unavailable, const char *setup, struct bw_sql *ret_sql)
{
    struct bw_sql sql = { .unavailable = unavailable };

    int code = sqlite3_open_v2(path, &sql.db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    bw_result r = code == SQLITE_OK ? bw_sql_execute(&sql, setup) : bw_fail(unavailable, "the database does not open");
    if (!bw_ok(r)) {
        bw_sql_close(&sql);
        return r;
    }
    *ret_sql = sql;
    return bw_success();
}

bw_result bw_sql_prepare(struct bw_sql *sql, const char *const *texts, size_t count)
{
    assert(sql->statement_count + count <= BW_SQL_STATEMENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        int code = sqlite3_prepare_v3(sql->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &sql->statements[sql->statement_count++], NULL);
        BW_CHECK((code & 0xff) != SQLITE_ERROR, sql->unavailable, "the database has another schema");
        if (code != SQLITE_OK)
            return failed(sql, code);
    }
    return bw_success();
}

void bw_sql_close(struct bw_sql *sql)
{
    for (size_t i = 0; i < sql->statement_count; i++)
        (void)sqlite3_finalize(sql->statements[i]);
    (void)sqlite3_close(sql->db);
    *sql = (struct bw_sql){ 0 };
}

bw_result bw_sql_step(struct bw_sql *sql, unsigned statement, bool *ret_row)
{
    int code = sql->unbound ? SQLITE_NOMEM : sqlite3_step(sql->statements[statement]);

    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *ret_row = code == SQLITE_ROW;
        return bw_success();
    }
    bw_sql_reset(sql, statement);
    BW_CHECK(code != SQLITE_CONSTRAINT_PRIMARYKEY && code != SQLITE_CONSTRAINT_UNIQUE, BW_ALREADY_EXISTS, "a row of this key is there");
    return failed(sql, code);
}

void bw_sql_reset(struct bw_sql *sql, unsigned statement)
{
    (void)sqlite3_reset(sql->statements[statement]); /* tells the step's failure once more */
    (void)sqlite3_clear_bindings(sql->statements[statement]);
    sql->unbound = false;
}

bw_result bw_sql_run(struct bw_sql *sql, unsigned statement)
{
    bool row;

    BW_TRY(bw_sql_step(sql, statement, &row));
    bw_sql_reset(sql, statement);
    assert(!row);
    return bw_success();
}

bw_result bw_sql_number(struct bw_sql *sql, unsigned statement, int64_t none, int64_t *ret_number)
{
    bool row;

    BW_TRY(bw_sql_step(sql, statement, &row));
    bool given = row && sqlite3_column_type(sql->statements[statement], 0) == SQLITE_INTEGER;
    *ret_number = given ? bw_sql_get_number(sql, statement, 0) : none;
    bw_sql_reset(sql, statement);
    return bw_success();
}

bw_result bw_sql_ask(struct bw_sql *sql, const char *query, const char *text, int64_t *ret_number)
{
    unsigned statement = (unsigned)sql->statement_count;

    BW_TRY(bw_sql_prepare(sql, &query, 1));
    if (text != NULL)
        bw_sql_bind_text(sql, statement, 1, bw_bytes_text(text));
    bw_result r = bw_sql_number(sql, statement, 0, ret_number);
    (void)sqlite3_finalize(sql->statements[statement]);
    sql->statements[statement] = NULL;
    sql->statement_count--;
    return r;
}

bw_result bw_sql_check_kind(struct bw_sql *sql, int64_t application_id, int64_t version)
{
    int64_t application, number;

    BW_TRY(bw_sql_ask(sql, "PRAGMA application_id", NULL, &application));
    BW_TRY(bw_sql_ask(sql, "PRAGMA user_version", NULL, &number));
    BW_CHECK(application == application_id && number == version, sql->unavailable, "the database is of another kind or version");
    return bw_success();
}

/* Out of memory, or a parameter that the statement does not have: it would still run, with NULL in its place. */
static void bound(struct bw_sql *sql, int code)
{
    sql->unbound = sql->unbound || code != SQLITE_OK;
}

void bw_sql_bind_number(struct bw_sql *sql, unsigned statement, int parameter, int64_t value)
{
    bound(sql, sqlite3_bind_int64(sql->statements[statement], parameter, value));
}

void bw_sql_bind_bytes(struct bw_sql *sql, unsigned statement, int parameter, bw_bytes bytes)
{
    static const uint8_t nothing;
    bound(sql, sqlite3_bind_blob64(sql->statements[statement], parameter, bytes.len ? bytes.data : &nothing, bytes.len, SQLITE_STATIC));
}

void bw_sql_bind_text(struct bw_sql *sql, unsigned statement, int parameter, bw_bytes text)
{
    bound(sql, sqlite3_bind_text64(sql->statements[statement], parameter, text.len ? (const char *)text.data : "", text.len, SQLITE_STATIC, SQLITE_UTF8));
}

int64_t bw_sql_get_number(struct bw_sql *sql, unsigned statement, int column)
{
    return sqlite3_column_int64(sql->statements[statement], column);
}

bw_bytes bw_sql_get_bytes(struct bw_sql *sql, unsigned statement, int column)
{
    const void *data = sqlite3_column_blob(sql->statements[statement], column);
    return bw_bytes_of(data, (size_t)sqlite3_column_bytes(sql->statements[statement], column));
}
