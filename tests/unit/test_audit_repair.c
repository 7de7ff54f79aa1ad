/* A guard file that was lost: made again from the last epoch, and never over a log that was taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit_repair.h"
#include "fake/audit_case.h"
#include "fake/soft_signer.h"
#include "method.h"

enum { EPOCH_MS = 100, RECORDS = 40 };

static struct audit_case  at;
static struct soft_signer soft;
static uint32_t           log_nr;
static struct bw_buf      note;   /* the customer's last checkpoint */
static unsigned           told;

static void shell(const char *format)
{
    char command[400];

    (void)snprintf(command, sizeof command, format, at.dir, at.dir, at.dir, at.dir);
    assert_int_equal(system(command), 0);
}

static void write_records(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct bw_record record = audit_case_record(log_nr, i);
        (void)audit_case_write(&at, &record);
    }
}

static uint64_t sign_all(uint64_t size)
{
    struct bw_arena arena = { 0 };
    struct bw_audit_checkpoint last;

    check_ok(bw_audit_checkpoint(at.audit, log_nr, size, &arena, &last));
    bw_buf_clear(&note);
    check_ok(bw_buf_add(&note, last.note));
    bw_arena_clear(&arena);
    return last.checkpoint.size;
}

/* An epoch that has a checkpoint of at least so many records. */
static void await_epoch(uint64_t size)
{
    for (time_t end = time(NULL) + 10;; (void)sched_yield()) {
        struct bw_arena        arena = { 0 };
        struct bw_audit_anchor anchor;
        struct bw_checkpoint   checkpoint = { .size = 0 };
        if (bw_ok(bw_audit_anchor(at.audit, log_nr, &arena, &anchor)))
            check_ok(bw_checkpoint_parse(bw_bytes_of(anchor.proof.checkpoint.data, (size_t)((const uint8_t *)memmem(anchor.proof.checkpoint.data, anchor.proof.checkpoint.len, "\n\n", 2)
                                         - anchor.proof.checkpoint.data) + 1), &checkpoint));
        bw_arena_clear(&arena);
        if (checkpoint.size >= size)
            return;
        if (time(NULL) > end)
            fail_msg("no epoch within 10 s");
    }
}

static int make(void **state)
{
    (void)state;
    told        = 0;
    at.signer   = &soft.signer;
    at.epoch_ms = EPOCH_MS;
    audit_case_make(&at);
    log_nr = audit_case_log(&at, "acme");
    write_records(RECORDS);
    (void)sign_all(RECORDS);
    await_epoch(RECORDS);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

static void take(void *self, const struct bw_checkpoint *checkpoint)
{
    (void)self;
    (void)checkpoint;
    told++;
}

static bw_result repair(bw_bytes customers)
{
    const struct bw_audit_options options = audit_case_options(&at);
    return bw_audit_repair_guard(&options, &customers, customers.len > 0, take, NULL);
}

static void a_lost_guard_is_made_again_and_on_record(void **state)
{
    struct bw_arena arena = { 0 };
    struct bw_audit_found found;
    const uint32_t operation = BW_DEED_NR(RepairGuard);
    const struct bw_audit_query query = { .log = 0, .operations = &operation, .operation_count = 1, .limit = 5 };

    (void)state;
    audit_case_close(&at);
    shell("rm %s/audit-guard.db");
    check_ok(repair(bw_buf_bytes(&note)));
    assert_int_equal(told, 3); /* both logs, and the customer's */
    audit_case_open(&at);
    check_ok(bw_audit_find(at.audit, &query, &arena, &found));
    assert_int_equal(found.count, 1);
    bw_arena_clear(&arena);
    write_records(3);
    assert_int_equal(sign_all(RECORDS + 3), RECORDS + 3);
}

static void a_guard_that_is_there_stays(void **state)
{
    (void)state;
    audit_case_close(&at);
    assert_int_equal(repair(bw_bytes_of(NULL, 0)).code, BW_ALREADY_EXISTS);
    audit_case_open(&at);
}

/* The copy is from before the last epoch. */
static void a_log_that_was_taken_back_is_refused(void **state)
{
    (void)state;
    audit_case_close(&at);
    shell("cp %s/audit.db %s/copy.db");
    audit_case_open(&at);
    write_records(5);
    (void)sign_all(RECORDS + 5);
    await_epoch(RECORDS + 5);
    audit_case_close(&at);
    shell("cp %s/copy.db %s/audit.db; rm -f %s/audit.db-wal %s/audit-guard.db");
    assert_int_equal(repair(bw_bytes_of(NULL, 0)).code, BW_LOG_POSITION);
    shell("test ! -e %s/audit-guard.db");
}

/* The copy is of all files, so that the last epoch is gone too; but the customer was there. */
static void a_customers_checkpoint_refuses_what_the_last_epoch_does_not(void **state)
{
    (void)state;
    audit_case_close(&at);
    shell("cp %s/audit.db %s/copy.db; cp %s/audit-anchor.db %s/copy-anchor.db");
    audit_case_open(&at);
    write_records(5);
    (void)sign_all(RECORDS + 5);
    audit_case_close(&at);
    shell("cp %s/copy.db %s/audit.db; cp %s/copy-anchor.db %s/audit-anchor.db");
    shell("rm -f %s/audit.db-wal %s/audit-guard.db");
    assert_int_equal(repair(bw_buf_bytes(&note)).code, BW_LOG_POSITION);
    check_ok(repair(bw_bytes_of(NULL, 0))); /* who is asked without it cannot know */
}

static void a_crash_leaves_no_guard_that_guards_nothing(void **state)
{
    (void)state;
    audit_case_close(&at);
    shell("rm %s/audit-guard.db; echo half >%s/audit-guard.db.new");
    check_ok(repair(bw_bytes_of(NULL, 0)));
    audit_case_open(&at);
    assert_int_equal(sign_all(RECORDS), RECORDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lost_guard_is_made_again_and_on_record, make, drop),
        cmocka_unit_test_setup_teardown(a_guard_that_is_there_stays, make, drop),
        cmocka_unit_test_setup_teardown(a_log_that_was_taken_back_is_refused, make, drop),
        cmocka_unit_test_setup_teardown(a_customers_checkpoint_refuses_what_the_last_epoch_does_not, make, drop),
        cmocka_unit_test_setup_teardown(a_crash_leaves_no_guard_that_guards_nothing, make, drop),
    };
    soft_signer_make(&soft);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
