/* What goes wrong on the disk while the log is open is found in the background, and the first bad record named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fake/audit_case.h"
#include "fake/soft_signer.h"

enum { RECORDS = 700, OTHERS = 20, WAIT_S = 20 };

static struct audit_case  at;
static struct soft_signer soft;
static atomic_uint        findings;
static struct bw_audit_damage found;
static char               found_origin[400];

static void take_damage(void *self, const struct bw_audit_damage *damage)
{
    (void)self;
    found = *damage;
    (void)snprintf(found_origin, sizeof found_origin, "%s", damage->origin);
    atomic_fetch_add(&findings, 1);
}

static uint64_t passes(void)
{
    struct bw_audit_progress progress;

    bw_audit_progress(at.audit, &progress);
    return progress.passes;
}

static void await_pass(void)
{
    uint64_t before = passes();

    for (time_t end = time(NULL) + WAIT_S; passes() < before + 2; (void)sched_yield()) /* one that began after this */
        if (time(NULL) > end || findings > 0)
            fail_msg("no pass: %s", findings > 0 ? found.what.what : "none ended");
}

static void await_finding(const char *sentence)
{
    for (time_t end = time(NULL) + WAIT_S; findings == 0; (void)sched_yield())
        if (time(NULL) > end)
            fail_msg("%s: not found", sentence);
}

static void change(const char *file, const char *statements)
{
    char path[200], *wrong = NULL;
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/%s", at.dir, file);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    if (sqlite3_exec(db, statements, NULL, NULL, &wrong) != SQLITE_OK)
        fail_msg("%s: %s", statements, wrong);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void written(struct bw_audit_entry *entry, bw_result r)
{
    (void)entry;
    check_ok(r);
}

static void write_records(uint32_t log, unsigned count)
{
    static struct bw_audit_entry entries[RECORDS];

    for (unsigned i = 0; i < count; i++) {
        entries[i] = (struct bw_audit_entry){ .record = audit_case_record(log, i % 7), .done = written };
        bw_audit_put(at.audit, &entries[i]);
    }
    bw_audit_flush(at.audit);
}

static int make(void **state)
{
    (void)state;
    findings   = 0;
    at.signer  = &soft.signer;
    at.damaged = take_damage;
    audit_case_make(&at);
    uint32_t log = audit_case_log(&at, "acme"), other = audit_case_log(&at, "umbra");
    write_records(log, RECORDS);
    write_records(other, OTHERS);
    struct bw_arena arena = { 0 };
    struct bw_audit_checkpoint last;
    check_ok(bw_audit_checkpoint(at.audit, log, RECORDS, &arena, &last)); /* all is signed */
    check_ok(bw_audit_checkpoint(at.audit, other, OTHERS, &arena, &last));
    bw_arena_clear(&arena);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

static void a_sound_log_is_read_again_and_again(void **state)
{
    (void)state;
    await_pass();
    await_pass();
    assert_int_equal(findings, 0);
    assert_true(bw_ok(bw_audit_health(at.audit)));
}

static const struct damage { const char *sentence, *file, *statements, *log; uint64_t index; } damages[] = {
    { "one bit of an essential class",      "audit.db", "UPDATE audit_record SET essential = substr(essential, 1, 40) || x'ff' || substr(essential, 42) WHERE log = 1 AND idx = 300", "/t/", 300 },
    { "another salt",                       "audit.db", "UPDATE audit_record SET who = zeroblob(32) || substr(who, 33) WHERE log = 1 AND idx = 0", "/t/", 0 },
    { "a context class cut off",            "audit.db", "UPDATE audit_record SET context = substr(context, 1, length(context) - 1) WHERE log = 1 AND idx = 699", "/t/", 699 },
    { "a record deleted",                   "audit.db", "DELETE FROM audit_record WHERE log = 1 AND idx = 257", "/t/", 257 },
    { "the last record deleted",            "audit.db", "DELETE FROM audit_record WHERE log = 2 AND idx = 19", "/t/", 19 },
    { "two records swapped",                "audit.db", "UPDATE audit_record SET idx = CASE idx WHEN 10 THEN 11 ELSE 10 END WHERE log = 1 AND idx IN (10, 11)", "/t/", 10 },
    { "a record renumbered",                "audit.db", "UPDATE audit_record SET idx = 9999 WHERE log = 1 AND idx = 512", "/t/", 512 },
    { "a record moved to another log",      "audit.db", "UPDATE audit_record SET log = 2, idx = 0 WHERE log = 1 AND idx = 5", "/t/", 0 },
    { "a head that counts too many",        "audit.db", "UPDATE audit_head SET size = 701 WHERE log = 1", "/t/", 700 },
    { "a record put in between",            "audit.db", "UPDATE audit_record SET position = position + 100000 WHERE position > 400; UPDATE audit_record SET position = position - 99999 WHERE position > 100000;"
                                                        "INSERT INTO audit_record SELECT 401, log, idx, essential, who, context FROM audit_record WHERE position = 400", "/t/", 400 },
    { "a hash of a full tile",              "audit-index.db", "UPDATE tile SET hashes = zeroblob(32) || substr(hashes, 33) WHERE log = 1 AND level = 0 AND number = 1", "/t/", 256 },
    { "a hash of the tiles above",          "audit-index.db", "UPDATE tile SET hashes = zeroblob(32) || substr(hashes, 33) WHERE log = 1 AND level = 1", "/t/", 255 },
    { "a tile that is gone",                "audit-index.db", "DELETE FROM tile WHERE log = 2", "/t/", 0 },
    { "a record that no query finds",       "audit-index.db", "DELETE FROM entry WHERE log = 1 AND idx = 123", "/t/", 123 },
    { "another time in the index",          "audit-index.db", "UPDATE entry SET time_us = time_us + 1 WHERE log = 1 AND idx = 44", "/t/", 44 },
    { "a key's list without its first",     "audit-index.db", "UPDATE list SET offsets = substr(offsets, 3) WHERE log = 2 AND kind = 1 AND first = 3", "/t/", 3 },
    { "a checkpoint's note",                "audit-guard.db", "UPDATE signed SET note = substr(note, 1, length(note) - 8) || x'41' || substr(note, length(note) - 6) WHERE origin LIKE '%/t/%' AND size = 700", "/t/", 700 },
    { "a checkpoint's root",                "audit-guard.db", "UPDATE signed SET root = zeroblob(32) WHERE size = 20", "/t/", 20 },
    { "an epoch of the anchor log",         "audit-anchor.db", "UPDATE epoch SET entry = substr(entry, 1, 30) || x'00' || substr(entry, 32)", "", 1 },
};

static void every_damage_is_found_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        const struct damage *damage = &damages[i];
        (void)make(NULL);
        await_pass();
        change(damage->file, damage->statements);
        await_finding(damage->sentence);
        if (found.index != damage->index || strstr(found_origin, damage->log) == NULL)
            fail_msg("%s: %s %llu: %s", damage->sentence, found_origin, (unsigned long long)found.index, found.what.what);
        assert_int_equal(bw_audit_health(at.audit).code, BW_AUDIT_UNAVAILABLE);
        assert_int_equal(findings, 1);
        (void)drop(NULL);
    }
    print_message("%zu damages\n", ARRAY_LEN(damages));
}

/* Records go on while it reads, and none of them is taken for damage. */
static void it_keeps_up_with_a_log_that_grows(void **state)
{
    (void)state;
    uint32_t log = audit_case_log(&at, "acme");
    for (unsigned i = 0; i < 10; i++)
        write_records(log, RECORDS);
    await_pass();
    assert_int_equal(findings, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_log_is_read_again_and_again, make, drop),
        cmocka_unit_test(every_damage_is_found_and_named),
        cmocka_unit_test_setup_teardown(it_keeps_up_with_a_log_that_grows, make, drop),
    };
    soft_signer_make(&soft);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
