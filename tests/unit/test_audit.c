/* The append path: order, gapless indexes, one answer per entry, refusals, floods, and what survives a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "fake/audit_case.h"

/* ---- the disk, as the log sees it ---- */

static atomic_ullong free_space; /* 0: as it is */
int __real_statvfs(const char *path, struct statvfs *ret);
int __wrap_statvfs(const char *path, struct statvfs *ret);
int __wrap_statvfs(const char *path, struct statvfs *ret)
{
    int result = __real_statvfs(path, ret);

    if (free_space != 0)
        ret->f_bavail = free_space / ret->f_frsize;
    return result;
}

/* ---- the clock, as the log sees it ---- */

static atomic_llong clock_shift_s;  /* of the wall clock */
static atomic_llong coarse_shift_s; /* of what decides when to look at the disk again */
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = __real_clock_gettime(clock, ret);

    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        ret->tv_sec += clock_shift_s;
    if (clock == CLOCK_MONOTONIC_COARSE)
        ret->tv_sec += coarse_shift_s;
    return result;
}

static struct audit_case at;

static int make(void **state)
{
    (void)state;
    free_space    = 0;
    clock_shift_s = 0;
    audit_case_make(&at);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

/* ---- entries that tell what became of them ---- */

struct job {
    struct bw_audit_entry entry;
    atomic_int            answers;
    enum bw_code          code;
    atomic_int           *left;
};

static void note(struct bw_audit_entry *entry, bw_result written)
{
    struct job *job = (struct job *)entry;

    job->code = written.code;
    job->answers++;
    if (job->left != NULL)
        (*job->left)--;
}

static void deny(struct bw_audit_entry *entry)
{
    entry->record.outcome = BW_OUTCOME_DENIED;
    entry->record.reason  = BW_KEY_DISABLED;
}

static struct bw_record read_back(uint32_t log, uint64_t index)
{
    struct bw_audit_query  query = { .log = log, .from_index = index, .limit = 1 };
    struct bw_arena        arena = { 0 };
    struct bw_audit_found  found;
    struct bw_record       record;
    struct bw_record_stamp stamp;

    check_ok(bw_audit_find(at.audit, &query, &arena, &found));
    assert_int_equal(found.count, 1);
    check_ok(bw_record_decode(found.rows[0].essential, found.rows[0].who, found.rows[0].context, &arena, &record, &stamp));
    bw_arena_clear(&arena);
    return record;
}

static void a_record_is_written_and_read(void **state)
{
    (void)state;
    uint32_t         log    = audit_case_log(&at, "acme");
    struct bw_record record = audit_case_record(log, 5);

    assert_int_equal(audit_case_write(&at, &record), 0);
    assert_int_equal(audit_case_write(&at, &record), 1);
    struct bw_record back = read_back(log, 1);
    back.log = log;
    assert_memory_equal(&back, &record, sizeof record);
}

static void nothing_happens_before_a_flush_and_one_commit_takes_all(void **state)
{
    (void)state;
    static struct job    jobs[100];
    struct bw_audit_stats stats;
    uint32_t             log = audit_case_log(&at, "acme");

    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
        jobs[i] = (struct job){ .entry = { .record = audit_case_record(log, i), .done = note } };
        bw_audit_put(at.audit, &jobs[i].entry);
    }
    assert_int_equal(jobs[0].answers, 0);
    bw_audit_flush(at.audit);
    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
        assert_int_equal(jobs[i].answers, 1);
        assert_int_equal(jobs[i].code, BW_OK);
        assert_int_equal(jobs[i].entry.index, i);
    }
    bw_audit_stats(at.audit, &stats);
    assert_int_equal(stats.records, 100);
    assert_int_equal(stats.commits, 1);
}

static void a_grant_that_no_longer_holds_is_recorded_as_a_denial(void **state)
{
    (void)state;
    uint32_t   log = audit_case_log(&at, "acme");
    struct job job = { .entry = { .record = audit_case_record(log, 1), .confirm = deny, .done = note } };

    bw_audit_put(at.audit, &job.entry);
    bw_audit_flush(at.audit);
    assert_int_equal(job.code, BW_OK);
    struct bw_record back = read_back(log, job.entry.index);
    assert_int_equal(back.outcome, BW_OUTCOME_DENIED);
    assert_int_equal(back.reason, BW_KEY_DISABLED);
}

static void each_log_counts_for_itself(void **state)
{
    (void)state;
    uint32_t         acme = audit_case_log(&at, "acme"), umbra = audit_case_log(&at, "umbra");
    struct bw_record a = audit_case_record(acme, 1), u = audit_case_record(umbra, 1);

    assert_int_not_equal(acme, umbra);
    assert_int_not_equal(acme, 0);
    assert_int_equal(audit_case_log(&at, "acme"), acme);
    assert_string_not_equal(bw_audit_origin(at.audit, acme), bw_audit_origin(at.audit, umbra));
    assert_memory_equal(bw_audit_origin(at.audit, acme), "eu-central.example/audit/t/", 27);
    assert_null(strstr(bw_audit_origin(at.audit, acme), "acme"));
    assert_int_equal(audit_case_write(&at, &a), 0);
    assert_int_equal(audit_case_write(&at, &u), 0);
    assert_int_equal(audit_case_write(&at, &a), 1);
}

static void a_record_that_breaks_its_limits_is_refused_alone(void **state)
{
    (void)state;
    static char long_name[BW_CONTEXT_TEXT_MAX + 2];
    uint32_t    log = audit_case_log(&at, "acme");
    struct job  good = { .entry = { .record = audit_case_record(log, 1), .done = note } };
    struct job  long_named = good, logless = good;

    memset(long_name, 'n', sizeof long_name - 1);
    long_named.entry.record.context_names[0] = long_name;
    long_named.entry.record.context_name_count = 1;
    logless.entry.record.log = 99;
    bw_audit_put(at.audit, &long_named.entry);
    bw_audit_put(at.audit, &logless.entry);
    bw_audit_put(at.audit, &good.entry);
    bw_audit_flush(at.audit);
    assert_int_equal(long_named.code, BW_AUDIT_UNAVAILABLE);
    assert_int_equal(logless.code, BW_AUDIT_UNAVAILABLE);
    assert_int_equal(good.code, BW_OK);
    assert_int_equal(good.entry.index, 0);
}

/* ---- many at once ---- */

enum { THREADS = 16, PER_THREAD = 200, LOGS = 3 };
static uint32_t many_logs[LOGS];

static void *put_many(void *self)
{
    struct job *jobs = self;
    atomic_int  left = PER_THREAD;

    for (unsigned i = 0; i < PER_THREAD; i++) {
        jobs[i] = (struct job){ .entry = { .record = audit_case_record(many_logs[i % LOGS], i), .done = note }, .left = &left };
        bw_audit_put(at.audit, &jobs[i].entry);
        if (i % 7 == 0)
            bw_audit_flush(at.audit);
    }
    bw_audit_flush(at.audit);
    while (left > 0)
        sched_yield();
    return NULL;
}

static void every_entry_of_every_thread_is_answered_once_and_no_index_is_missing(void **state)
{
    (void)state;
    static struct job jobs[THREADS][PER_THREAD];
    static bool       seen[LOGS][THREADS * PER_THREAD];
    pthread_t         threads[THREADS];
    uint64_t          total = 0;

    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < LOGS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "tenant-%u", i);
        many_logs[i] = audit_case_log(&at, name);
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, put_many, jobs[t]), 0);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < PER_THREAD; i++) {
            assert_int_equal(jobs[t][i].answers, 1);
            assert_int_equal(jobs[t][i].code, BW_OK);
            assert_false(seen[i % LOGS][jobs[t][i].entry.index]);
            seen[i % LOGS][jobs[t][i].entry.index] = true;
        }
    for (unsigned i = 0; i < LOGS; i++)
        total += audit_case_check_log(&at, many_logs[i]);
    assert_int_equal(total, THREADS * PER_THREAD);
}

static void *log_of_new_tenants(void *self)
{
    (void)self;
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "new-%u", i);
        struct bw_record record = audit_case_record(audit_case_log(&at, name), i);
        (void)audit_case_write(&at, &record);
    }
    return NULL;
}

static void threads_that_meet_a_new_tenant_make_one_log(void **state)
{
    (void)state;
    pthread_t threads[4];

    for (unsigned t = 0; t < ARRAY_LEN(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, log_of_new_tenants, NULL), 0);
    for (unsigned t = 0; t < ARRAY_LEN(threads); t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "new-%u", i);
        assert_int_equal(audit_case_check_log(&at, audit_case_log(&at, name)), 4);
    }
    assert_int_equal(audit_case_log(&at, "one-more"), 21);
}

/* ---- restart ---- */

static bw_result collect_intent(void *self, uint32_t log, uint64_t index, const struct bw_record *record)
{
    char *text = self;

    (void)sprintf(text + strlen(text), "%u/%llu:%u ", log, (unsigned long long)index, record->operation);
    return bw_success();
}

static void logs_tags_and_open_intents_survive_a_restart(void **state)
{
    (void)state;
    uint32_t         log    = audit_case_log(&at, "acme");
    struct bw_record intent = audit_case_record(log, 1), outcome;
    uint8_t          before[32], after[32], other[32];
    char             open[64] = "", origin[128];

    intent.outcome   = BW_OUTCOME_INTENT;
    intent.operation = 24;
    assert_int_equal(audit_case_write(&at, &intent), 0);
    intent.operation = 26;
    assert_int_equal(audit_case_write(&at, &intent), 1);
    outcome = intent;
    outcome.outcome      = BW_OUTCOME_GRANTED;
    outcome.intent_index = 0 + 1;
    assert_int_equal(audit_case_write(&at, &outcome), 2);
    bw_audit_tag(at.audit, log, bw_bytes_text("aad"), before);
    strcpy(origin, bw_audit_origin(at.audit, log));

    audit_case_close(&at);
    audit_case_open(&at);
    assert_int_equal(audit_case_log(&at, "acme"), log);
    assert_string_equal(bw_audit_origin(at.audit, log), origin);
    bw_audit_tag(at.audit, log, bw_bytes_text("aad"), after);
    bw_audit_tag(at.audit, 0, bw_bytes_text("aad"), other);
    assert_memory_equal(before, after, sizeof before);
    assert_memory_not_equal(after, other, sizeof after);
    check_ok(bw_audit_each_open_intent(at.audit, collect_intent, open));
    assert_string_equal(open, "1/1:26 ");
    assert_int_equal(audit_case_write(&at, &outcome), 3);
}

static void another_process_another_region_and_nothing_there_are_refused(void **state)
{
    (void)state;
    struct bw_audit_options options = { .dir = at.dir, .region = { "eu-central" }, .node = "n1", .host = "h" };
    struct bw_audit        *second  = NULL;

    assert_int_equal(bw_audit_open(&options, &second).code, BW_AUDIT_UNAVAILABLE);
    audit_case_close(&at);
    assert_int_equal(bw_audit_create(&options).code, BW_ALREADY_EXISTS);
    options.region = (bw_region){ "us-east" };
    assert_int_equal(bw_audit_open(&options, &second).code, BW_WRONG_REGION);
    options.dir = "/nonexistent";
    assert_int_equal(bw_audit_open(&options, &second).code, BW_AUDIT_UNAVAILABLE);
    assert_null(second);
}

/* ---- time ---- */

static void times_grow_even_when_the_clock_does_not(void **state)
{
    (void)state;
    uint32_t         log    = audit_case_log(&at, "acme");
    struct bw_record record = audit_case_record(log, 1);

    for (int i = 0; i < 3; i++)
        (void)audit_case_write(&at, &record);
    check_ok(bw_audit_health(at.audit));
    clock_shift_s = -50;
    check_ok(bw_audit_health(at.audit));
    for (int i = 0; i < 3; i++)
        (void)audit_case_write(&at, &record);
    assert_int_equal(audit_case_check_log(&at, log), 6);
    clock_shift_s = -70;
    assert_int_equal(bw_audit_health(at.audit).code, BW_CLOCK_UNAVAILABLE);
    clock_shift_s = 0;
    check_ok(bw_audit_health(at.audit));
}

/* ---- space ---- */

static void health_refuses_before_the_disk_is_full_and_resumes(void **state)
{
    (void)state;
    struct bw_record record = audit_case_record(0, 1);

    check_ok(bw_audit_health(at.audit));
    free_space = 100ull * 1024 * 1024;
    coarse_shift_s += 1;
    assert_int_equal(bw_audit_health(at.audit).code, BW_AUDIT_UNAVAILABLE);
    (void)audit_case_write(&at, &record); /* what is under way is still recorded */
    free_space = 0;
    coarse_shift_s += 1;
    check_ok(bw_audit_health(at.audit));
}

/* ---- floods ---- */

static struct bw_record denial(const char *address)
{
    struct bw_record record = audit_case_record(0, 1);

    record.outcome = BW_OUTCOME_DENIED;
    record.reason  = BW_NO_SUCH_KEY;
    (void)snprintf(record.address, sizeof record.address, "%s", address);
    return record;
}

static uint64_t size_of(uint32_t log)
{
    struct bw_audit_query query = { .log = log, .limit = 1 };
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;

    check_ok(bw_audit_find(at.audit, &query, &arena, &found));
    bw_arena_clear(&arena);
    return found.log_size;
}

static void a_thousand_denials_of_one_caller_are_two_records(void **state)
{
    (void)state;
    static struct job jobs[1000];
    struct bw_record  record = denial("ipv4:192.0.2.7:1");

    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
        char address[32];
        (void)snprintf(address, sizeof address, "ipv4:192.0.2.7:%u", i); /* a port is no other caller */
        jobs[i] = (struct job){ .entry = { .record = denial(address), .done = note } };
        bw_audit_put(at.audit, &jobs[i].entry);
    }
    bw_audit_flush(at.audit);
    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++)
        assert_int_equal(jobs[i].entry.index, 0);
    assert_int_equal(size_of(0), 1);
    audit_case_close(&at); /* writes what is open */
    audit_case_open(&at);
    assert_int_equal(size_of(0), 2);
    struct bw_record sum = read_back(0, 1);
    assert_int_equal(sum.count, 999);
    assert_true(sum.last_us > 0);
    assert_true(sum.has_key);
    assert_int_equal(sum.reason, BW_NO_SUCH_KEY);
    assert_string_equal(sum.principal, record.principal);
}

static void an_aggregate_names_a_key_only_if_all_were_about_it(void **state)
{
    (void)state;
    struct bw_record record = denial("ipv4:192.0.2.7:1");

    for (uint8_t i = 0; i < 5; i++) {
        record.key.bytes[0] = i;
        (void)audit_case_write(&at, &record);
    }
    audit_case_close(&at);
    audit_case_open(&at);
    assert_int_equal(read_back(0, 1).count, 4);
    assert_false(read_back(0, 1).has_key);
}

static void an_aggregate_is_written_when_its_second_is_over(void **state)
{
    (void)state;
    const struct timespec moment = { .tv_nsec = 20 * 1000 * 1000 };
    struct bw_record record = denial("ipv4:192.0.2.7:1");

    (void)audit_case_write(&at, &record);
    (void)audit_case_write(&at, &record);
    for (int i = 0; i < 250 && size_of(0) < 2; i++) /* 5 s, should take 1 to 2 */
        (void)nanosleep(&moment, NULL);
    assert_int_equal(size_of(0), 2);
    assert_int_equal(read_back(0, 1).count, 1);
    assert_int_equal(audit_case_write(&at, &record), 2); /* and the next one has its own record again */
}

static void however_many_callers_flood_the_log_grows_slowly(void **state)
{
    (void)state;
    static struct job jobs[5000];

    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
        char address[32];
        (void)snprintf(address, sizeof address, "ipv4:10.0.%u.%u:1", i / 256, i % 256);
        jobs[i] = (struct job){ .entry = { .record = denial(address), .done = note } };
        bw_audit_put(at.audit, &jobs[i].entry);
    }
    bw_audit_flush(at.audit);
    for (unsigned i = 0; i < ARRAY_LEN(jobs); i++)
        assert_int_equal(jobs[i].code, BW_OK);
    assert_in_range(size_of(0), 65, 3 * 65); /* one second's kinds, two if the flush crossed a second */
}

static const struct { const char *why; unsigned tenant; enum bw_outcome outcome; enum bw_code reason; uint64_t records; } not_flood[] = {
    { "denials in a tenant's log",           1, BW_OUTCOME_DENIED,  BW_KEY_DISABLED, 10 },
    { "grants in the region's log",          0, BW_OUTCOME_GRANTED, BW_OK,           10 },
    { "our own failures",                    0, BW_OUTCOME_ERROR,   BW_HSM_FAILED,   10 },
};

static void only_denials_in_the_regions_log_are_aggregated(void **state)
{
    (void)state;
    uint64_t before[2] = { 0, 0 };
    uint32_t logs[2]   = { 0, audit_case_log(&at, "acme") };

    for (size_t i = 0; i < ARRAY_LEN(not_flood); i++) {
        uint32_t         log    = logs[not_flood[i].tenant];
        struct bw_record record = audit_case_record(log, 1);
        record.outcome = not_flood[i].outcome;
        record.reason  = not_flood[i].reason;
        for (int n = 0; n < 10; n++)
            (void)audit_case_write(&at, &record);
        if (size_of(log) != before[not_flood[i].tenant] + not_flood[i].records)
            fail_msg("%s", not_flood[i].why);
        before[not_flood[i].tenant] = size_of(log);
    }
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(a_record_is_written_and_read),
        with_log(nothing_happens_before_a_flush_and_one_commit_takes_all),
        with_log(a_grant_that_no_longer_holds_is_recorded_as_a_denial),
        with_log(each_log_counts_for_itself),
        with_log(a_record_that_breaks_its_limits_is_refused_alone),
        with_log(every_entry_of_every_thread_is_answered_once_and_no_index_is_missing),
        with_log(threads_that_meet_a_new_tenant_make_one_log),
        with_log(logs_tags_and_open_intents_survive_a_restart),
        with_log(another_process_another_region_and_nothing_there_are_refused),
        with_log(times_grow_even_when_the_clock_does_not),
        with_log(health_refuses_before_the_disk_is_full_and_resumes),
        with_log(a_thousand_denials_of_one_caller_are_two_records),
        with_log(an_aggregate_names_a_key_only_if_all_were_about_it),
        with_log(an_aggregate_is_written_when_its_second_is_over),
        with_log(however_many_callers_flood_the_log_grows_slowly),
        with_log(only_denials_in_the_regions_log_are_aggregated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
