#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema.h"
#include "store_sql.h"

/* From schema version n to n + 1, one row each, from 0. Each runs in a transaction with the count of it. */
static const struct { const char *sql; } steps[] = {
    { bw_schema_sql },
};

/* What every connection is told before it touches a table. The exclusive lock keeps a second daemon out, whose registry
 * would not see our changes. secure_delete: what is deleted is overwritten, not only unlinked. */
static const char *const pragmas[] = {
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  /* or a REPLACE would delete past them */
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
};

static bw_result exec(struct bw_store *store, const char *sql)
{
    BW_CHECK(sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK, BW_STORE_UNAVAILABLE, "a statement failed");
    return bw_success();
}

/* ---- the folder and the file ---- */

static bw_result check_dir(const char *dir)
{
    struct stat st;

    BW_CHECK(stat(dir, &st) == 0, BW_STORE_UNAVAILABLE, "the store's folder is not there");
    BW_CHECK(S_ISDIR(st.st_mode), BW_STORE_UNAVAILABLE, "the store's folder is not a folder");
    BW_CHECK(st.st_uid == geteuid(), BW_STORE_UNAVAILABLE, "the store's folder belongs to another user");
    BW_CHECK((st.st_mode & (S_IWGRP | S_IWOTH)) == 0, BW_STORE_UNAVAILABLE, "others may write to the store's folder");
    return bw_success();
}

static bw_result check_file(const char *path)
{
    struct stat st;

    BW_CHECK(lstat(path, &st) == 0, BW_STORE_UNAVAILABLE, "there is no store.db; a region's first start makes it");
    BW_CHECK(S_ISREG(st.st_mode) && st.st_uid == geteuid(), BW_STORE_UNAVAILABLE, "store.db is not a file of ours");
    BW_CHECK((st.st_mode & 077) == 0, BW_STORE_UNAVAILABLE, "others may read store.db");
    return bw_success();
}

static bw_result sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    BW_CHECK(fd >= 0, BW_STORE_UNAVAILABLE, "the store's folder cannot be opened");
    int failed = fsync(fd);
    (void)close(fd);
    BW_CHECK(failed == 0, BW_STORE_UNAVAILABLE, "the store's folder cannot be synced");
    return bw_success();
}

struct path { char text[4096]; };

static bw_result path_of(const char *dir, const char *name, struct path *ret_path)
{
    int len = snprintf(ret_path->text, sizeof ret_path->text, "%s/%s", dir, name);

    BW_CHECK(len > 0 && (size_t)len < sizeof ret_path->text, BW_STORE_UNAVAILABLE, "the store's path is too long");
    return bw_success();
}

/* ---- connections ---- */

static bw_result connect_to(struct bw_store *store, const char *path)
{
    /* Our own lock serialises, so SQLite needs none. */
    int rc = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);

    BW_CHECK(rc == SQLITE_OK, BW_STORE_UNAVAILABLE, "store.db cannot be opened");
    BW_CHECK(sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) == SQLITE_OK, BW_STORE_UNAVAILABLE, "SQLite is too old");
    for (size_t i = 0; i < ARRAY_LEN(pragmas); i++)
        BW_TRY(exec(store, pragmas[i]));
    return bw_success();
}

/* For what runs before the tables are there and statements can be prepared. */
static bw_result ask_once(struct bw_store *store, const char *sql, bw_region *ret_region, int64_t *ret_number)
{
    sqlite3_stmt *statement;

    BW_CHECK(sqlite3_prepare_v3(store->db, sql, -1, 0, &statement, NULL) == SQLITE_OK, BW_STORE_UNAVAILABLE, "store.db is not a store");
    int rc = sqlite3_step(statement);
    const unsigned char *text = rc == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    bw_result result = bw_region_parse(bw_bytes_text((const char *)text), ret_region);
    *ret_number = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 1) : 0;
    (void)sqlite3_finalize(statement);
    BW_CHECK(bw_ok(result), BW_STORE_UNAVAILABLE, "store.db does not say whose it is");
    return bw_success();
}

static bw_result prepare_all(struct bw_store *store)
{
    static const char *const texts[] = {
#define BW_SQL(name, text) text,
#include "store.def"
#undef BW_SQL
    };

    for (size_t i = 0; i < BW_SQL_COUNT; i++)
        BW_CHECK(sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL) == SQLITE_OK,
                 BW_STORE_UNAVAILABLE, "store.db lacks a table");
    return bw_success();
}

static bw_result store_new(struct bw_store **ret_store)
{
    struct bw_store *store = calloc(1, sizeof *store);

    BW_CHECK(store != NULL, BW_NO_MEMORY, "store");
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_cond_init(&store->released, NULL);
    *ret_store = store;
    return bw_success();
}

void bw_store_close(struct bw_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < BW_SQL_COUNT; i++)
        (void)sqlite3_finalize(store->statements[i]);
    (void)sqlite3_close(store->db);
    (void)pthread_cond_destroy(&store->released);
    (void)pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- schema ---- */

static bw_result run_step(struct bw_store *store, size_t step)
{
    char count[64];

    (void)snprintf(count, sizeof count, "UPDATE meta SET schema = %zu", step + 1);
    BW_TRY(exec(store, "BEGIN IMMEDIATE"));
    bw_result result = exec(store, steps[step].sql);
    if (bw_ok(result))
        result = exec(store, count);
    if (bw_ok(result))
        result = exec(store, "COMMIT");
    if (!bw_ok(result) && sqlite3_get_autocommit(store->db) == 0)
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

static bw_result migrate(struct bw_store *store, const bw_region *region)
{
    int64_t version;

    BW_TRY(ask_once(store, "SELECT region, schema FROM meta", &store->region, &version));
    BW_CHECK(bw_region_equal(&store->region, region), BW_WRONG_REGION, "store.db was made for another region");
    BW_CHECK(version >= 1 && version <= (int64_t)ARRAY_LEN(steps), BW_STORE_UNAVAILABLE, "store.db was migrated by a newer daemon");
    for (size_t step = (size_t)version; step < ARRAY_LEN(steps); step++)
        BW_TRY(run_step(store, step));
    return bw_success();
}

/* ---- open and create ---- */

bw_result bw_store_open(const char *dir, const bw_region *region, struct bw_store **ret_store)
{
    BW_AUTO(store) store = NULL;
    struct path path;

    BW_TRY(check_dir(dir));
    BW_TRY(path_of(dir, "store.db", &path));
    BW_TRY(check_file(path.text));
    BW_TRY(store_new(&store));
    BW_TRY(connect_to(store, path.text));
    BW_TRY(migrate(store, region));
    BW_TRY(prepare_all(store));
    *ret_store = bw_take(&store);
    return bw_success();
}

static bw_result fill(const char *path, const bw_region *region, int64_t now_us)
{
    BW_AUTO(store) store = NULL;
    char meta[128];

    BW_TRY(store_new(&store));
    BW_TRY(connect_to(store, path));
    /* A region's name has nothing that SQL would take for anything else. */
    (void)snprintf(meta, sizeof meta, "INSERT INTO meta VALUES (1, '%s', 1, %lld)", region->text, (long long)now_us);
    BW_TRY(exec(store, "BEGIN IMMEDIATE"));
    BW_TRY(exec(store, steps[0].sql));
    BW_TRY(exec(store, meta));
    return exec(store, "COMMIT");
}

static bw_result make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    BW_CHECK(fd >= 0, BW_STORE_UNAVAILABLE, "the store's file cannot be made");
    (void)close(fd);
    return bw_success();
}

/* Under another name until it is whole, so that a crash leaves either a store or none. */
bw_result bw_store_create(const char *dir, const bw_region *region, int64_t now_us)
{
    struct path path, draft, wal;

    BW_TRY(check_dir(dir));
    BW_TRY(path_of(dir, "store.db", &path));
    BW_TRY(path_of(dir, "store.db.new", &draft));
    BW_TRY(path_of(dir, "store.db.new-wal", &wal));
    BW_CHECK(access(path.text, F_OK) != 0, BW_ALREADY_EXISTS, "there is a store.db");
    (void)unlink(draft.text); /* of a crash before */
    (void)unlink(wal.text);
    BW_TRY(make_file(draft.text));
    BW_TRY(fill(draft.text, region, now_us));
    BW_CHECK(access(wal.text, F_OK) != 0, BW_STORE_UNAVAILABLE, "the new store could not be written out");
    BW_CHECK(renameat2(AT_FDCWD, draft.text, AT_FDCWD, path.text, RENAME_NOREPLACE) == 0, BW_STORE_UNAVAILABLE, "the store's file cannot be named");
    return sync_dir(dir);
}
