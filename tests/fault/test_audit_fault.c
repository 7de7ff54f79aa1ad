/* When the disk fails: nothing is acknowledged that is not durable, everybody is told once, and work resumes by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fake/audit_case.h"
#include "fault/fault_vfs.h"

/* ---- a commit that takes and says that it did not ---- */

static bool commit_lies;
int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
    int  code   = __real_sqlite3_step(statement);
    bool commit = strcmp(sqlite3_sql(statement), "COMMIT") == 0 && strstr(sqlite3_db_filename(sqlite3_db_handle(statement), NULL), "audit.db") != NULL;

    if (!commit || !commit_lies)
        return code;
    commit_lies = false;
    return SQLITE_IOERR;
}

static struct audit_case at;
static uint32_t          acme;

static int make(void **state)
{
    (void)state;
    audit_case_make(&at);
    acme = audit_case_log(&at, "acme");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    fault_vfs_heal();
    audit_case_remove(&at);
    return 0;
}

enum { BATCH = 10 };
struct job { struct bw_audit_entry entry; unsigned answers; enum bw_code code; };

static void note(struct bw_audit_entry *entry, bw_result written)
{
    struct job *job = (struct job *)entry;

    job->answers++;
    job->code = written.code;
}

/* Writes BATCH records in one commit; all have the same fate. */
static enum bw_code write_batch(struct job *jobs)
{
    for (unsigned i = 0; i < BATCH; i++) {
        jobs[i] = (struct job){ .entry = { .record = audit_case_record(acme, i), .done = note } };
        bw_audit_put(at.audit, &jobs[i].entry);
    }
    bw_audit_flush(at.audit);
    for (unsigned i = 0; i < BATCH; i++) {
        assert_int_equal(jobs[i].answers, 1);
        assert_int_equal(jobs[i].code, jobs[0].code);
    }
    return jobs[0].code;
}

static const struct { const char *why; enum fault_call call; int code; } faults[] = {
    { "a write fails",               FAULT_WRITE, SQLITE_IOERR_WRITE },
    { "a sync fails",                FAULT_SYNC,  SQLITE_IOERR_FSYNC },
    { "the disk is gone for a write",FAULT_WRITE, SQLITE_IOERR       },
};

/* Each call of a commit fails in turn, until a commit has no such call left. */
static void whichever_call_fails_the_results_are_withheld_and_the_next_commit_works(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        uint64_t acknowledged = audit_case_check_log(&at, acme);
        unsigned nth;
        for (nth = 1; nth < 1000; nth++) {
            struct job jobs[BATCH];
            fault_vfs_fail(faults[f].call, nth, faults[f].code, false, "audit.db-wal");
            enum bw_code code = write_batch(jobs);
            bool failed = fault_vfs_has_failed();
            fault_vfs_heal();
            if ((code == BW_OK) == failed)
                fail_msg("%s, call %u: told %s", faults[f].why, nth, bw_code_row(code)->name);
            if (failed)
                assert_int_equal(bw_audit_health(at.audit).code, BW_AUDIT_UNAVAILABLE);
            acknowledged += failed ? 0 : BATCH;
            assert_int_equal(write_batch(jobs), BW_OK);
            acknowledged += BATCH;
            if (!failed)
                break;
        }
        assert_in_range(nth, 2, 999);
        assert_int_equal(audit_case_check_log(&at, acme), acknowledged);
    }
    audit_case_close(&at);
    audit_case_open(&at);
    (void)audit_case_check_log(&at, acme);
}

static void a_disk_that_stays_broken_refuses_until_it_is_well(void **state)
{
    (void)state;
    struct job jobs[BATCH];

    assert_int_equal(write_batch(jobs), BW_OK);
    fault_vfs_fail(FAULT_SYNC, 1, SQLITE_IOERR_FSYNC, true, "audit.db-wal");
    for (int i = 0; i < 5; i++)
        assert_int_equal(write_batch(jobs), BW_AUDIT_UNAVAILABLE);
    fault_vfs_heal();
    assert_int_equal(write_batch(jobs), BW_OK);
    assert_int_equal(jobs[0].entry.index, BATCH);
    assert_int_equal(audit_case_check_log(&at, acme), 2 * BATCH);
}

static void a_commit_that_took_though_it_failed_is_found_and_not_repeated(void **state)
{
    (void)state;
    struct job jobs[BATCH];

    commit_lies = true;
    assert_int_equal(write_batch(jobs), BW_AUDIT_UNAVAILABLE); /* recorded, not released: never the reverse */
    assert_int_equal(write_batch(jobs), BW_OK);
    assert_int_equal(jobs[0].entry.index, BATCH);
    assert_int_equal(audit_case_check_log(&at, acme), 2 * BATCH);
}

static off_t ballast_size(void)
{
    char        path[128];
    struct stat file;

    (void)snprintf(path, sizeof path, "%s/audit.ballast", at.dir);
    assert_int_equal(stat(path, &file), 0);
    return file.st_size;
}

static void a_full_disk_still_records_what_is_under_way(void **state)
{
    (void)state;
    struct job jobs[BATCH];

    assert_true(ballast_size() > 0);
    fault_vfs_fail(FAULT_WRITE, 1, SQLITE_FULL, false, "audit.db-wal");
    assert_int_equal(write_batch(jobs), BW_OK);
    assert_true(fault_vfs_has_failed());
    assert_int_equal(ballast_size(), 0);
    assert_int_equal(audit_case_check_log(&at, acme), BATCH);
}

static void a_disk_that_stays_full_refuses(void **state)
{
    (void)state;
    struct job jobs[BATCH];

    fault_vfs_fail(FAULT_WRITE, 1, SQLITE_FULL, true, "audit.db-wal");
    assert_int_equal(write_batch(jobs), BW_AUDIT_UNAVAILABLE);
    assert_int_equal(bw_audit_health(at.audit).code, BW_AUDIT_UNAVAILABLE);
    fault_vfs_heal();
    assert_int_equal(write_batch(jobs), BW_OK);
    assert_int_equal(jobs[0].entry.index, 0);
}

static void a_new_log_that_cannot_be_stored_is_not_there(void **state)
{
    (void)state;
    bw_tenant umbra = { "umbra" };
    uint32_t  log;

    fault_vfs_fail(FAULT_SYNC, 1, SQLITE_IOERR_FSYNC, false, "audit.db-wal");
    assert_int_equal(bw_audit_log_of(at.audit, &umbra, &log).code, BW_AUDIT_UNAVAILABLE);
    check_ok(bw_audit_log_of(at.audit, &umbra, &log));
    assert_int_equal(log, acme + 1);
}

static void a_log_that_cannot_be_opened_says_so(void **state)
{
    (void)state;
    struct bw_audit_options options = { .dir = at.dir, .region = { "eu-central" }, .node = "n1", .host = "eu-central.example" };
    struct bw_audit        *audit   = NULL;
    unsigned                nth;

    audit_case_close(&at);
    for (nth = 1; nth < 100; nth++) {
        fault_vfs_fail(FAULT_OPEN, nth, SQLITE_CANTOPEN, false, "audit.db");
        bw_result r = bw_audit_open(&options, &audit);
        bool failed = fault_vfs_has_failed();
        fault_vfs_heal();
        if (!failed)
            check_ok(r);
        if (bw_ok(r))
            bw_audit_close(bw_take(&audit));
        else
            assert_int_equal(r.code, BW_AUDIT_UNAVAILABLE);
        if (!failed)
            break;
    }
    assert_in_range(nth, 2, 99);
}

static void a_failing_index_delays_queries_and_nothing_else(void **state)
{
    (void)state;
    struct bw_audit_query query = { .log = acme, .limit = 1 };
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;
    struct job            jobs[BATCH];

    fault_vfs_fail(FAULT_WRITE, 1, SQLITE_IOERR_WRITE, true, "audit-index.db-wal");
    assert_int_equal(write_batch(jobs), BW_OK);
    assert_int_equal(bw_audit_find(at.audit, &query, &arena, &found).code, BW_AUDIT_UNAVAILABLE);
    check_ok(bw_audit_health(at.audit));
    fault_vfs_heal();
    bw_result r;
    do
        r = bw_audit_find(at.audit, &query, &arena, &found); /* until the index's next round */
    while (!bw_ok(r));
    assert_int_equal(found.log_size, BATCH);
    bw_arena_clear(&arena);
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(whichever_call_fails_the_results_are_withheld_and_the_next_commit_works),
        with_log(a_disk_that_stays_broken_refuses_until_it_is_well),
        with_log(a_commit_that_took_though_it_failed_is_found_and_not_repeated),
        with_log(a_full_disk_still_records_what_is_under_way),
        with_log(a_disk_that_stays_full_refuses),
        with_log(a_new_log_that_cannot_be_stored_is_not_there),
        with_log(a_log_that_cannot_be_opened_says_so),
        with_log(a_failing_index_delays_queries_and_nothing_else),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
