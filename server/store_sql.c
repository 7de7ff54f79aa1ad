#include "store_sql.h"

#include <string.h>

static bw_result bind(sqlite3_stmt *statement, int at, const struct bw_query_value *value)
{
    /* SQLite takes a NULL pointer for NULL, which no column of ours allows. */
    const void *bytes = value->bytes.data ? value->bytes.data : (const void *)"";
    int rc = SQLITE_ERROR;

    switch (value->kind) {
    case BW_SQL_NUMBER: rc = sqlite3_bind_int64(statement, at, value->number); break;
    case BW_SQL_TEXT:   rc = sqlite3_bind_text64(statement, at, bytes, value->bytes.len, SQLITE_STATIC, SQLITE_UTF8); break;
    case BW_SQL_BLOB:   rc = sqlite3_bind_blob64(statement, at, bytes, value->bytes.len, SQLITE_STATIC); break;
    }
    BW_CHECK(rc == SQLITE_OK, BW_STORE_UNAVAILABLE, "a value cannot be bound");
    return bw_success();
}

bw_result bw_query_start(struct bw_store *store, enum bw_sql sql, const struct bw_query_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        BW_TRY(bind(store->statements[sql], (int)i + 1, &values[i]));
    return bw_success();
}

bw_result bw_query_row(struct bw_store *store, enum bw_sql sql, bool *ret_row)
{
    int rc = sqlite3_step(store->statements[sql]);

    BW_CHECK(rc == SQLITE_ROW || rc == SQLITE_DONE, BW_STORE_UNAVAILABLE, "a row cannot be read");
    *ret_row = rc == SQLITE_ROW;
    return bw_success();
}

/* What reset returns is what step has told already. */
void bw_query_done(struct bw_store *store, enum bw_sql sql)
{
    (void)sqlite3_reset(store->statements[sql]);
    (void)sqlite3_clear_bindings(store->statements[sql]);
}

static bw_result run_bound(struct bw_store *store, enum bw_sql sql, int *ret_changed)
{
    int rc = sqlite3_step(store->statements[sql]);
    int extended = sqlite3_extended_errcode(store->db);

    if (rc == SQLITE_CONSTRAINT && (extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_UNIQUE))
        return bw_fail(BW_ALREADY_EXISTS, "a row of this key is there");
    BW_CHECK(rc == SQLITE_DONE, BW_STORE_UNAVAILABLE, "a statement failed");
    if (ret_changed != NULL)
        *ret_changed = sqlite3_changes(store->db);
    return bw_success();
}

bw_result bw_query_run(struct bw_store *store, enum bw_sql sql, const struct bw_query_value *values, size_t count, int *ret_changed)
{
    bw_result result = bw_query_start(store, sql, values, count);

    if (bw_ok(result))
        result = run_bound(store, sql, ret_changed);
    bw_query_done(store, sql);
    return result;
}

int64_t bw_query_get_number(struct bw_store *store, enum bw_sql sql, int column)
{
    return sqlite3_column_int64(store->statements[sql], column);
}

const char *bw_query_get_text(struct bw_store *store, enum bw_sql sql, int column)
{
    const unsigned char *text = sqlite3_column_text(store->statements[sql], column);
    return text ? (const char *)text : "";
}

bw_bytes bw_query_get_bytes(struct bw_store *store, enum bw_sql sql, int column)
{
    const void *data = sqlite3_column_blob(store->statements[sql], column);
    return (bw_bytes){ data, data ? (size_t)sqlite3_column_bytes(store->statements[sql], column) : 0 };
}

bw_result bw_query_copy_bytes(struct bw_store *store, enum bw_sql sql, int column, struct bw_arena *arena, bw_bytes *ret_bytes)
{
    bw_bytes here = bw_query_get_bytes(store, sql, column);
    void    *copy = bw_arena_copy(arena, here);

    BW_CHECK(copy != NULL, BW_NO_MEMORY, "a row of the store");
    *ret_bytes = (bw_bytes){ copy, here.len };
    return bw_success();
}

bw_result bw_query_copy_text(struct bw_store *store, enum bw_sql sql, int column, struct bw_arena *arena, const char **ret_text)
{
    char *copy = bw_arena_copy(arena, bw_bytes_text(bw_query_get_text(store, sql, column)));

    BW_CHECK(copy != NULL, BW_NO_MEMORY, "a row of the store");
    *ret_text = copy;
    return bw_success();
}

static bw_result change_locked(struct bw_store *store, bw_store_body_fn body, const void *what)
{
    BW_TRY(bw_query_run(store, BW_SQL_BEGIN, NULL, 0, NULL));
    bw_result result = body(store, what);
    if (bw_ok(result))
        result = bw_query_run(store, BW_SQL_COMMIT, NULL, 0, NULL);
    /* A commit that failed may have ended the transaction or not. */
    if (!bw_ok(result) && sqlite3_get_autocommit(store->db) == 0)
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

bw_result bw_store_change(struct bw_store *store, bw_store_body_fn body, const void *what)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = change_locked(store, body, what);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
