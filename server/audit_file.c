#include "audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 2 };

/* EXTRA syncs the folder too, where the journal was. */
static const char setup[] = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA;";

static bw_result fill(struct bw_sql *sql, const struct bw_audit_file_kind *kind, const bw_region *region)
{
    static const char *const add_region = "INSERT INTO region (region) VALUES (?1)";
    char mark[96];

    (void)snprintf(mark, sizeof mark, "PRAGMA application_id = %" PRId32 "; PRAGMA user_version = %d", kind->application_id, SCHEMA_VERSION);
    BW_TRY(bw_sql_execute(sql, "BEGIN IMMEDIATE; CREATE TABLE region (region TEXT NOT NULL)"));
    BW_TRY(bw_sql_execute(sql, kind->tables));
    BW_TRY(bw_sql_execute(sql, mark));
    BW_TRY(bw_sql_prepare(sql, &add_region, 1));
    bw_sql_bind_text(sql, 0, 1, bw_bytes_text(region->text));
    BW_TRY(bw_sql_run(sql, 0));
    return bw_sql_execute(sql, "COMMIT");
}

bw_result bw_audit_file_create(const char *path, const struct bw_audit_file_kind *kind, const bw_region *region)
{
    struct bw_sql sql;

    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    BW_CHECK(file >= 0 || errno != EEXIST, BW_ALREADY_EXISTS, "the audit log has such a file already");
    BW_CHECK(file >= 0, BW_AUDIT_UNAVAILABLE, "a file of the audit log cannot be created there");
    (void)close(file);
    BW_TRY(bw_sql_open(path, SQLITE_OPEN_READWRITE, BW_AUDIT_UNAVAILABLE, setup, &sql));
    bw_result r = fill(&sql, kind, region);
    bw_sql_close(&sql);
    return r;
}

static bw_result check(struct bw_sql *sql, const struct bw_audit_file_kind *kind, const bw_region *region)
{
    int64_t same;

    BW_TRY(bw_sql_check_kind(sql, kind->application_id, SCHEMA_VERSION));
    BW_TRY(bw_sql_ask(sql, "SELECT count(*) FROM region WHERE region = ?1", region->text, &same));
    BW_CHECK(same == 1, BW_WRONG_REGION, "a file of the audit log was made for another region");
    return bw_sql_prepare(sql, kind->statements, kind->statement_count);
}

bw_result bw_audit_file_open(const char *path, const struct bw_audit_file_kind *kind, const bw_region *region, struct bw_sql *ret_sql)
{
    struct bw_sql sql;

    BW_TRY(bw_sql_open(path, SQLITE_OPEN_READWRITE, BW_AUDIT_UNAVAILABLE, setup, &sql));
    bw_result r = check(&sql, kind, region);
    if (!bw_ok(r)) {
        bw_sql_close(&sql);
        return r;
    }
    *ret_sql = sql;
    return bw_success();
}
