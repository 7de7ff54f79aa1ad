/* What was acknowledged survives: kill -9 at random under load, and a power cut that takes what was not synced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/audit_case.h"
#include "fake/soft_signer.h"
#include "fault/fault_vfs.h"

enum { THREADS = 8, LOGS = 3, KILLS = 20, CUTS = 20, ACKS_MAX = 200 * 1000 };

/* Event: a request id that no other record has. */
struct ack { uint32_t log; uint64_t index, event; };

static struct audit_case  at;
static struct soft_signer soft;   /* checkpoints and epochs go on under all of it; a log that is not what was signed does not open */
static uint32_t           logs[LOGS];
static struct ack        acks[ACKS_MAX];
static size_t            ack_count;

static int make(void **state)
{
    static const char *const names[LOGS] = { "acme", "umbra", "initech" };

    (void)state;
    soft_signer_make(&soft);
    at = (struct audit_case){ .signer = &soft.signer, .epoch_ms = 50 };
    audit_case_make(&at);
    for (size_t i = 0; i < LOGS; i++)
        logs[i] = audit_case_log(&at, names[i]);
    audit_case_close(&at); /* so that there is no thread when we fork */
    ack_count = 0;
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

/* ---- the child: appends, and tells a pipe what was acknowledged ---- */

static int             ack_pipe;
static atomic_uint     acknowledged;
static atomic_uint     next_event;

struct job { struct bw_audit_entry entry; struct ack ack; atomic_bool done; };

static void tell(struct bw_audit_entry *entry, bw_result written)
{
    struct job *job = (struct job *)entry;

    if (bw_ok(written)) {
        job->ack.index = entry->index;
        if (write(ack_pipe, &job->ack, sizeof job->ack) != sizeof job->ack)
            _exit(1);
        acknowledged++;
    }
    job->done = true;
}

static void *append_for_ever(void *self)
{
    unsigned round = *(unsigned *)self;

    for (;;) {
        uint64_t   event = (uint64_t)round << 32 | next_event++;
        struct job job   = { .ack = { .log = logs[event % LOGS], .event = event } };

        job.entry.record = audit_case_record(job.ack.log, (unsigned)event);
        job.entry.done   = tell;
        memcpy(job.entry.record.request_id + 8, &event, sizeof event);
        bw_audit_put(at.audit, &job.entry);
        bw_audit_flush(at.audit);
        while (!job.done)
            sched_yield();
    }
    return NULL;
}

static sqlite3 *first_connection;

static int note_connection(sqlite3 *db, char **error, const struct sqlite3_api_routines *api)
{
    (void)error;
    (void)api;
    if (first_connection == NULL)
        first_connection = db;
    return SQLITE_OK;
}

struct load { unsigned round; bool cut; unsigned acks_before_cut; bool lowered; };

static void start_threads(unsigned *round)
{
    pthread_t thread;

    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, append_for_ever, round) != 0)
            _exit(1);
}

/* lowered: the committer's connection does not sync each commit any more. */
static _Noreturn void run_child(struct load *load)
{
    if (load->cut)
        fault_vfs_install();
    (void)sqlite3_auto_extension((void (*)(void))note_connection);
    audit_case_open(&at);
    if (load->lowered && sqlite3_exec(first_connection, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
    if (load->cut)
        fault_vfs_remember();
    start_threads(&load->round);
    while (!load->cut || acknowledged < load->acks_before_cut)
        sched_yield();
    fault_vfs_cut(load->round);
}

static pid_t start_child(struct load *load, int *ret_pipe)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        ack_pipe = ends[1];
        run_child(load);
    }
    (void)close(ends[1]);
    *ret_pipe = ends[0];
    return child;
}

/* Reads acknowledgements until there are enough or no more come. */
static void read_acks(int from, size_t enough)
{
    struct ack ack;
    ssize_t    len = sizeof ack;

    while (ack_count < enough && (len = read(from, &ack, sizeof ack)) == sizeof ack)
        acks[ack_count++] = ack;
    assert_true(ack_count >= enough || len == 0);
}

/* ---- the parent: what is there afterwards ---- */

struct found { uint64_t *events[LOGS]; uint64_t sizes[LOGS]; };

static void read_log(uint32_t log, uint64_t *events, uint64_t size)
{
    struct bw_audit_query query = { .log = log, .limit = 1000 };
    struct bw_audit_found found = { .more = true };

    for (; found.more; query.from_index = found.next_index) {
        struct bw_arena arena = { 0 };
        check_ok(bw_audit_find(at.audit, &query, &arena, &found));
        for (size_t i = 0; i < found.count; i++) {
            struct bw_record       record;
            struct bw_record_stamp stamp;
            check_ok(bw_record_decode(found.rows[i].essential, found.rows[i].who, found.rows[i].context, &arena, &record, &stamp));
            assert_true(found.rows[i].index < size);
            memcpy(&events[found.rows[i].index], record.request_id + 8, sizeof *events);
        }
        bw_arena_clear(&arena);
    }
}

static int compare_events(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* How many acknowledged records are not where they were said to be. Gaps and duplicates fail the test at once. */
static size_t count_lost(void)
{
    size_t lost = 0;

    audit_case_open(&at);
    for (size_t i = 0; i < LOGS; i++) {
        uint64_t  size   = audit_case_check_log(&at, logs[i]);
        uint64_t *events = calloc(size + 1, sizeof *events);
        read_log(logs[i], events, size);
        for (size_t a = 0; a < ack_count; a++)
            lost += acks[a].log == logs[i] && (acks[a].index >= size || events[acks[a].index] != acks[a].event);
        qsort(events, size, sizeof *events, compare_events);
        for (uint64_t e = 1; e < size; e++)
            assert_true(events[e] != events[e - 1]);
        free(events);
    }
    audit_case_close(&at);
    return lost;
}

static void kill_at_random_loses_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    srand((unsigned)getpid());
    for (unsigned round = 0; round < KILLS; round++) {
        struct load load = { .round = round + 1 };
        int         from;
        pid_t       child = start_child(&load, &from);

        read_acks(from, ack_count + 1 + (size_t)rand() % 500);
        assert_int_equal(kill(child, SIGKILL), 0);
        read_acks(from, ACKS_MAX);
        (void)close(from);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(count_lost(), 0);
    }
}

static size_t lost_by_power_cuts(bool lowered)
{
    size_t lost = 0;

    for (unsigned round = 0; round < CUTS && lost == 0; round++) {
        struct load load = { .round = round + 1, .cut = true, .acks_before_cut = 1 + round * 30, .lowered = lowered };
        int         from, status;
        pid_t       child = start_child(&load, &from);

        read_acks(from, ACKS_MAX);
        (void)close(from);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        lost += count_lost();
    }
    return lost;
}

static void a_power_cut_loses_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    assert_int_equal(lost_by_power_cuts(false), 0);
}

/* The control: if this found nothing lost, the test above would prove nothing. */
static void without_a_sync_per_commit_a_power_cut_does_lose_records(void **state)
{
    (void)state;
    assert_int_not_equal(lost_by_power_cuts(true), 0);
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(kill_at_random_loses_nothing_that_was_acknowledged),
        with_log(a_power_cut_loses_nothing_that_was_acknowledged),
        with_log(without_a_sync_per_commit_a_power_cut_does_lose_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
