#include "audit_db.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum statement { BEGIN, READ, COMMIT, ADD_REGION, APPEND, ADD_LOG, SET_HEAD, EACH_LOG, LENGTH, EACH_ROW };

static const char *const statements[] = {
    [BEGIN]       = "BEGIN IMMEDIATE",
    [READ]        = "BEGIN",
    [COMMIT]      = "COMMIT",
    [ADD_REGION]  = "INSERT INTO audit_region (region) VALUES (?1)",
    [APPEND]      = "INSERT INTO audit_record (position, log, idx, essential, who, context) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [ADD_LOG]     = "INSERT INTO audit_log (log, tenant, origin, pseudonym_key, tag_key) VALUES (?1, ?2, ?3, ?4, ?5)",
    [SET_HEAD]    = "REPLACE INTO audit_head (log, size, last_us) VALUES (?1, ?2, ?3)",
    [EACH_LOG]    = "SELECT log, tenant, origin, pseudonym_key, tag_key, size, last_us FROM audit_log JOIN audit_head USING (log) ORDER BY log",
    [LENGTH]      = "SELECT max(position) FROM audit_record",
    [EACH_ROW]    = "SELECT position, log, idx, essential, who, context FROM audit_record WHERE position BETWEEN ?1 AND ?2 ORDER BY position",
};

/* Nothing but the position is indexed: that is what makes a commit cheap. */
static const char schema[] =
    "CREATE TABLE audit_region (region TEXT NOT NULL);"
    "CREATE TABLE audit_log (log INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE, origin TEXT NOT NULL UNIQUE,"
    " pseudonym_key BLOB NOT NULL, tag_key BLOB NOT NULL);"
    "CREATE TABLE audit_head (log INTEGER PRIMARY KEY REFERENCES audit_log, size INTEGER NOT NULL, last_us INTEGER NOT NULL);"
    "CREATE TABLE audit_record (position INTEGER PRIMARY KEY, log INTEGER NOT NULL, idx INTEGER NOT NULL,"
    " essential BLOB NOT NULL, who BLOB NOT NULL, context BLOB NOT NULL);"
    "PRAGMA application_id = 0x42574c31;"
    "PRAGMA user_version = 1;";

/* FULL: a commit is acknowledged when the disk has it. Checkpoints are somebody else's, never a committer's. */
static const char setup[] =
    "PRAGMA busy_timeout = 5000;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = ON;"
    "PRAGMA wal_autocheckpoint = 0;"
    "PRAGMA cache_size = -8192;";

enum { APPLICATION_ID = 0x42574c31, SCHEMA_VERSION = 1, PATH_ROOM = 4096 + 8 };

/* ---- create ---- */

/* What must be settled before a database's first transaction. */
static const char form[] = "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;";

static bw_result fill_new(struct bw_audit_db *db, const bw_region *region, const struct bw_audit_log_row *own)
{
    int64_t application;

    BW_TRY(bw_sql_ask(&db->sql, "PRAGMA application_id", NULL, &application));
    BW_CHECK(application == 0, BW_ALREADY_EXISTS, "there is an audit log already");
    BW_TRY(bw_sql_execute(&db->sql, form));
    BW_TRY(bw_sql_execute(&db->sql, setup));
    BW_TRY(bw_sql_execute(&db->sql, "BEGIN IMMEDIATE"));
    BW_TRY(bw_sql_execute(&db->sql, schema));
    BW_TRY(bw_sql_prepare(&db->sql, statements, ARRAY_LEN(statements)));
    bw_sql_bind_text(&db->sql, ADD_REGION, 1, bw_bytes_text(region->text));
    BW_TRY(bw_sql_run(&db->sql, ADD_REGION));
    BW_TRY(bw_audit_db_add_log(db, own));
    return bw_audit_db_commit(db);
}

bw_result bw_audit_db_create(const char *path, const bw_region *region, const struct bw_audit_log_row *own)
{
    struct bw_audit_db db = { 0 };

    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite gives its other files the same mode */
    BW_CHECK(file >= 0, BW_AUDIT_UNAVAILABLE, "the audit log cannot be created there");
    (void)close(file);
    BW_TRY(bw_sql_open(path, SQLITE_OPEN_READWRITE, BW_AUDIT_UNAVAILABLE, "", &db.sql));
    bw_result r = fill_new(&db, region, own);
    bw_audit_db_close(&db);
    return r;
}

/* ---- open ---- */

/* A file system or a build of SQLite that silently has it otherwise would break the promise that a record is on disk. */
static bw_result check_durability(struct bw_audit_db *db)
{
    int64_t synchronous;

    BW_TRY(bw_sql_ask(&db->sql, "PRAGMA synchronous", NULL, &synchronous));
    BW_CHECK(synchronous == 2, BW_AUDIT_UNAVAILABLE, "the log's database does not sync each commit");
    return bw_success();
}

static bw_result check_file(struct bw_audit_db *db, const bw_region *region)
{
    int64_t application, version, same;

    BW_TRY(bw_sql_ask(&db->sql, "PRAGMA application_id", NULL, &application));
    BW_TRY(bw_sql_ask(&db->sql, "PRAGMA user_version", NULL, &version));
    BW_CHECK(application == APPLICATION_ID, BW_AUDIT_UNAVAILABLE, "this file is not an audit log");
    BW_CHECK(version == SCHEMA_VERSION, BW_AUDIT_UNAVAILABLE, "the audit log has a schema that this version does not know");
    BW_TRY(bw_sql_ask(&db->sql, "SELECT count(*) FROM audit_region WHERE region = ?1", region->text, &same));
    BW_CHECK(same == 1, BW_WRONG_REGION, "the audit log was made for another region");
    return bw_success();
}

static bw_result set_up(struct bw_audit_db *db, const bw_region *region, enum bw_audit_db_use use)
{
    BW_TRY(bw_sql_execute(&db->sql, setup));
    BW_TRY(check_file(db, region));
    BW_TRY(bw_sql_prepare(&db->sql, statements, ARRAY_LEN(statements)));
    return use == BW_AUDIT_DB_WRITES ? check_durability(db) : bw_success();
}

/* Instead of SQLite's own hook, which would checkpoint in the committer. */
static int note_pages(void *self, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    atomic_store((atomic_uint *)self, (unsigned)pages);
    return SQLITE_OK;
}

bw_result bw_audit_db_open(const char *path, const bw_region *region, enum bw_audit_db_use use, struct bw_audit_db *ret_db)
{
    int flags = use == BW_AUDIT_DB_READS ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    struct bw_audit_db db = { 0 };

    BW_TRY(bw_sql_open(path, flags, BW_AUDIT_UNAVAILABLE, "", &db.sql));
    bw_result r = set_up(&db, region, use);
    if (bw_ok(r)) {
        db.wal_pages = calloc(1, sizeof *db.wal_pages);
        r = db.wal_pages != NULL ? bw_success() : bw_fail(BW_NO_MEMORY, "audit log");
    }
    if (!bw_ok(r)) {
        bw_audit_db_close(&db);
        return r;
    }
    (void)sqlite3_wal_hook(db.sql.db, note_pages, db.wal_pages);
    *ret_db = db;
    return bw_success();
}

/* Zeros are no frames, so SQLite sees the log end where it ended before. There are no locks on this file that closing it
 * would drop: they are on the other two. */
void bw_audit_db_lay_out(const char *path, size_t len)
{
    static const uint8_t zeros[256 * 1024];
    char        name[PATH_ROOM];
    struct stat file;

    int cut = snprintf(name, sizeof name, "%s-wal", path);
    int fd  = cut > 0 && cut < PATH_ROOM ? open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return;
    if (fstat(fd, &file) == 0) {
        bool good = true;
        for (size_t at = (size_t)file.st_size; good && at < len; at += sizeof zeros)
            good = pwrite(fd, zeros, sizeof zeros, (off_t)at) == (ssize_t)sizeof zeros;
        (void)fdatasync(fd);
    }
    (void)close(fd);
}

void bw_audit_db_close(struct bw_audit_db *db)
{
    bw_sql_close(&db->sql);
    free(db->wal_pages);
    *db = (struct bw_audit_db){ 0 };
}

/* ---- writing ---- */

/* Remembers whether it was for want of space, before another call hides it. */
static bw_result noted(struct bw_audit_db *db, bw_result r)
{
    if (!bw_ok(r))
        db->full = (sqlite3_errcode(db->sql.db) & 0xff) == SQLITE_FULL;
    return r;
}

bw_result bw_audit_db_begin(struct bw_audit_db *db)
{
    db->full = false;
    return noted(db, bw_sql_run(&db->sql, BEGIN));
}

bw_result bw_audit_db_add_log(struct bw_audit_db *db, const struct bw_audit_log_row *log)
{
    struct bw_sql *sql = &db->sql;

    bw_sql_bind_number(sql, ADD_LOG, 1, log->number);
    bw_sql_bind_text(sql, ADD_LOG, 2, bw_bytes_text(log->tenant.text));
    bw_sql_bind_text(sql, ADD_LOG, 3, bw_bytes_text(log->origin));
    bw_sql_bind_bytes(sql, ADD_LOG, 4, bw_bytes_of(log->pseudonym_key, sizeof log->pseudonym_key));
    bw_sql_bind_bytes(sql, ADD_LOG, 5, bw_bytes_of(log->tag_key, sizeof log->tag_key));
    BW_TRY(noted(db, bw_sql_run(sql, ADD_LOG)));
    return bw_audit_db_set_head(db, log->number, log->size, log->last_us);
}

bw_result bw_audit_db_append(struct bw_audit_db *db, const struct bw_audit_db_row *row)
{
    struct bw_sql *sql = &db->sql;

    bw_sql_bind_number(sql, APPEND, 1, (int64_t)row->position);
    bw_sql_bind_number(sql, APPEND, 2, row->log);
    bw_sql_bind_number(sql, APPEND, 3, (int64_t)row->index);
    bw_sql_bind_bytes(sql, APPEND, 4, row->essential);
    bw_sql_bind_bytes(sql, APPEND, 5, row->who);
    bw_sql_bind_bytes(sql, APPEND, 6, row->context);
    return noted(db, bw_sql_run(sql, APPEND));
}

bw_result bw_audit_db_set_head(struct bw_audit_db *db, uint32_t log, uint64_t size, int64_t last_us)
{
    bw_sql_bind_number(&db->sql, SET_HEAD, 1, log);
    bw_sql_bind_number(&db->sql, SET_HEAD, 2, (int64_t)size);
    bw_sql_bind_number(&db->sql, SET_HEAD, 3, last_us);
    return noted(db, bw_sql_run(&db->sql, SET_HEAD));
}

bw_result bw_audit_db_commit(struct bw_audit_db *db)
{
    return noted(db, bw_sql_run(&db->sql, COMMIT));
}

void bw_audit_db_roll_back(struct bw_audit_db *db)
{
    bw_sql_roll_back(&db->sql);
}

/* ---- reading ---- */

bw_result bw_audit_db_read(struct bw_audit_db *db)
{
    return bw_sql_run(&db->sql, READ);
}

static bw_result log_of(struct bw_sql *sql, struct bw_audit_log_row *ret_log)
{
    struct bw_audit_log_row log = { .number = (uint32_t)bw_sql_get_number(sql, EACH_LOG, 0) };
    bw_bytes tenant    = bw_sql_get_bytes(sql, EACH_LOG, 1), origin  = bw_sql_get_bytes(sql, EACH_LOG, 2);
    bw_bytes pseudonym = bw_sql_get_bytes(sql, EACH_LOG, 3), tagging = bw_sql_get_bytes(sql, EACH_LOG, 4);

    BW_CHECK(tenant.len < sizeof log.tenant.text && origin.len < sizeof log.origin && pseudonym.len == sizeof log.pseudonym_key
             && tagging.len == sizeof log.tag_key, BW_AUDIT_UNAVAILABLE, "the list of logs is damaged");
    if (tenant.len > 0)
        memcpy(log.tenant.text, tenant.data, tenant.len);
    if (origin.len > 0)
        memcpy(log.origin, origin.data, origin.len);
    memcpy(log.pseudonym_key, pseudonym.data, pseudonym.len);
    memcpy(log.tag_key, tagging.data, tagging.len);
    log.size    = (uint64_t)bw_sql_get_number(sql, EACH_LOG, 5);
    log.last_us = bw_sql_get_number(sql, EACH_LOG, 6);

    *ret_log = log;
    bw_wipe(&log, sizeof log);
    return bw_success();
}

bw_result bw_audit_db_each_log(struct bw_audit_db *db, bw_result (*each)(void *self, const struct bw_audit_log_row *log), void *self)
{
    bw_result r   = bw_success();
    bool      row = true;

    while (bw_ok(r) && row) {
        struct bw_audit_log_row log;
        BW_TRY(bw_sql_step(&db->sql, EACH_LOG, &row));
        if (row)
            r = log_of(&db->sql, &log);
        if (row && bw_ok(r))
            r = each(self, &log);
    }
    bw_sql_reset(&db->sql, EACH_LOG);
    return r;
}

bw_result bw_audit_db_length(struct bw_audit_db *db, uint64_t *ret_length)
{
    int64_t length;

    BW_TRY(bw_sql_number(&db->sql, LENGTH, 0, &length));
    *ret_length = (uint64_t)length;
    return bw_success();
}

static struct bw_audit_db_row row_of(struct bw_sql *sql)
{
    return (struct bw_audit_db_row){
        .position  = (uint64_t)bw_sql_get_number(sql, EACH_ROW, 0),
        .log       = (uint32_t)bw_sql_get_number(sql, EACH_ROW, 1),
        .index     = (uint64_t)bw_sql_get_number(sql, EACH_ROW, 2),
        .essential = bw_sql_get_bytes(sql, EACH_ROW, 3),
        .who       = bw_sql_get_bytes(sql, EACH_ROW, 4),
        .context   = bw_sql_get_bytes(sql, EACH_ROW, 5),
    };
}

bw_result bw_audit_db_each_row(struct bw_audit_db *db, uint64_t from_position, uint64_t to_position,
                               bw_result (*each)(void *self, const struct bw_audit_db_row *row), void *self)
{
    bw_result r   = bw_success();
    bool      row = true;

    bw_sql_bind_number(&db->sql, EACH_ROW, 1, (int64_t)from_position);
    bw_sql_bind_number(&db->sql, EACH_ROW, 2, (int64_t)to_position);
    while (bw_ok(r)) {
        BW_TRY(bw_sql_step(&db->sql, EACH_ROW, &row));
        if (!row)
            break;
        const struct bw_audit_db_row at = row_of(&db->sql);
        r = each(self, &at);
    }
    bw_sql_reset(&db->sql, EACH_ROW);
    return r;
}

bw_result bw_audit_db_checkpoint(struct bw_audit_db *db, bool *ret_all)
{
    int pages, moved;
    int code = sqlite3_wal_checkpoint_v2(db->sql.db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);

    BW_CHECK(code == SQLITE_OK || code == SQLITE_BUSY, BW_AUDIT_UNAVAILABLE, "the log's write-ahead log cannot be checkpointed");
    *ret_all = code == SQLITE_OK && pages == moved;
    return bw_success();
}

unsigned bw_audit_db_wal_pages(const struct bw_audit_db *db)
{
    return atomic_load(db->wal_pages);
}
