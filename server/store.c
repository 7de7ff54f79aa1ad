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
static const char setup[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA page_size = 4096;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = ON;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA recursive_triggers = ON;"  /* or a REPLACE would delete past them */
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;";

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
    BW_TRY(bw_sql_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, BW_STORE_UNAVAILABLE, setup, &store->sql));
    BW_CHECK(sqlite3_db_config(store->sql.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) == SQLITE_OK, BW_STORE_UNAVAILABLE, "SQLite is too old");
    return bw_success();
}

static bw_result prepare_all(struct bw_store *store)
{
    static const char *const texts[] = {
#define BW_SQL(name, text) text,
#include "store.def"
#undef BW_SQL
    };

    return bw_sql_prepare(&store->sql, texts, ARRAY_LEN(texts));
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
    bw_sql_close(&store->sql);
    (void)pthread_cond_destroy(&store->released);
    (void)pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- schema ---- */

static bw_result run_step(struct bw_store *store, size_t step)
{
    char count[64];

    (void)snprintf(count, sizeof count, "UPDATE meta SET schema = %zu", step + 1);
    BW_TRY(bw_sql_execute(&store->sql, "BEGIN IMMEDIATE"));
    bw_result result = bw_sql_execute(&store->sql, steps[step].sql);
    if (bw_ok(result))
        result = bw_sql_execute(&store->sql, count);
    if (bw_ok(result))
        result = bw_sql_execute(&store->sql, "COMMIT");
    if (!bw_ok(result))
        bw_sql_roll_back(&store->sql);
    return result;
}

static bw_result migrate(struct bw_store *store, const bw_region *region)
{
    int64_t version, same;

    BW_TRY(bw_sql_ask(&store->sql, "SELECT schema FROM meta", NULL, &version));
    BW_TRY(bw_sql_ask(&store->sql, "SELECT count(*) FROM meta WHERE region = ?1", region->text, &same));
    BW_CHECK(same == 1, BW_WRONG_REGION, "store.db was made for another region");
    store->region = *region;
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
    BW_TRY(bw_sql_execute(&store->sql, "BEGIN IMMEDIATE"));
    BW_TRY(bw_sql_execute(&store->sql, steps[0].sql));
    BW_TRY(bw_sql_execute(&store->sql, meta));
    return bw_sql_execute(&store->sql, "COMMIT");
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
