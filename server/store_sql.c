#include "store_sql.h"

bw_result bw_query_start(struct bw_store *store, enum bw_store_sql sql, const struct bw_query_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int at = (int)i + 1;
        switch (values[i].kind) {
        case BW_SQL_NUMBER: bw_sql_bind_number(&store->sql, sql, at, values[i].number); break;
        case BW_SQL_TEXT:   bw_sql_bind_text(&store->sql, sql, at, values[i].bytes);    break;
        case BW_SQL_BLOB:   bw_sql_bind_bytes(&store->sql, sql, at, values[i].bytes);   break;
        }
    }
    return bw_success();
}

bw_result bw_query_row(struct bw_store *store, enum bw_store_sql sql, bool *ret_row)
{
    return bw_sql_step(&store->sql, sql, ret_row);
}

void bw_query_done(struct bw_store *store, enum bw_store_sql sql)
{
    bw_sql_reset(&store->sql, sql);
}

bw_result bw_query_run(struct bw_store *store, enum bw_store_sql sql, const struct bw_query_value *values, size_t count, int *ret_changed)
{
    bw_result result = bw_query_start(store, sql, values, count);

    if (bw_ok(result))
        result = bw_sql_run(&store->sql, sql);
    if (bw_ok(result) && ret_changed != NULL)
        *ret_changed = sqlite3_changes(store->sql.db);
    return result;
}

int64_t bw_query_get_number(struct bw_store *store, enum bw_store_sql sql, int column)
{
    return bw_sql_get_number(&store->sql, sql, column);
}

const char *bw_query_get_text(struct bw_store *store, enum bw_store_sql sql, int column)
{
    const unsigned char *text = sqlite3_column_text(store->sql.statements[sql], column);
    return text ? (const char *)text : "";
}

bw_bytes bw_query_get_bytes(struct bw_store *store, enum bw_store_sql sql, int column)
{
    return bw_sql_get_bytes(&store->sql, sql, column);
}

bw_result bw_query_copy_bytes(struct bw_store *store, enum bw_store_sql sql, int column, struct bw_arena *arena, bw_bytes *ret_bytes)
{
    bw_bytes here = bw_query_get_bytes(store, sql, column);
    void    *copy = bw_arena_copy(arena, here);

    BW_CHECK(copy != NULL, BW_NO_MEMORY, "a row of the store");
    *ret_bytes = (bw_bytes){ copy, here.len };
    return bw_success();
}

bw_result bw_query_copy_text(struct bw_store *store, enum bw_store_sql sql, int column, struct bw_arena *arena, const char **ret_text)
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
    if (!bw_ok(result)) /* a commit that failed may have ended the transaction or not */
        bw_sql_roll_back(&store->sql);
    return result;
}

bw_result bw_store_change(struct bw_store *store, bw_store_body_fn body, const void *what)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = change_locked(store, body, what);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
