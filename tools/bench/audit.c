/* How fast the audit log takes records, how long queries and proofs take, and how fast a log is exported and verified:
 * bench_audit <records> <threads> [<keys>]
 * Each thread writes one record at a time and waits for it, as a caller does. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "audit.h"
#include "fake/soft_signer.h"
#include "tlog_dir.h"
#include "verify.h"

enum { WINDOW_MAX = 512, RARE_EVERY = 3333333, RARE_KEY = 0x7fffffff }; /* one key is used once in so many records */

static struct bw_audit *audit;
static uint32_t         log_nr;
static unsigned         keys = 100;
static atomic_ulong     left;
static char             bench_dir[] = "/tmp/bw-bench-XXXXXX";

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(bw_result r)
{
    if (bw_ok(r))
        return;
    (void)fprintf(stderr, "bench_audit: %s (%s)\n", r.what, r.where);
    exit(1);
}

static struct bw_record record_of(unsigned long n)
{
    struct bw_record record = {
        .log = log_nr, .operation = n % 5 ? 2 : 1, .has_key = true, .key_version = 1, .mechanism = 0x1087,
        .outcome = n % 1000 ? BW_OUTCOME_GRANTED : BW_OUTCOME_DENIED, .policy_version = 3,
        .address = "ipv4:192.0.2.7:40000", .certificate = { 1, 2, 3 }, .has_aad_tag = true, .aad_tag = { 7 },
    };
    uint64_t spread = n * 0x9e3779b97f4a7c15u;
    unsigned key    = (unsigned)(spread >> 33) % keys;

    (void)snprintf(record.principal, sizeof record.principal, "spiffe://example.org/region/eu-central/tenant/acme/app/web-%lu", n % 20);
    if (n % RARE_EVERY == 1)
        key = RARE_KEY;
    memcpy(record.key.bytes, &key, sizeof key);
    memcpy(record.request_id, &spread, sizeof spread);
    memcpy(record.request_id + 8, &n, sizeof n);
    return record;
}

static void *write_records(void *self)
{
    (void)self;
    for (;;) {
        unsigned long n = atomic_fetch_sub(&left, 1);
        uint64_t      index;
        if (n == 0 || n > 1ul << 62)
            return NULL;
        const struct bw_record record = record_of(n);
        check(bw_audit_write(audit, &record, &index));
    }
}

struct slot { struct bw_audit_entry entry; atomic_bool busy; };

static void slot_done(struct bw_audit_entry *entry, bw_result written)
{
    check(written);
    ((struct slot *)entry)->busy = false;
}

/* One thread with a window of records under way, as the listener has: to load many. */
static void load(unsigned long count)
{
    static struct slot slots[WINDOW_MAX];

    for (unsigned long n = count; n > 0;) {
        for (size_t i = 0; i < WINDOW_MAX && n > 0; i++, n--) {
            while (slots[i].busy)
                (void)sched_yield(); /* another thread is committing it */
            slots[i].entry = (struct bw_audit_entry){ .record = record_of(n), .done = slot_done };
            slots[i].busy  = true;
            bw_audit_put(audit, &slots[i].entry);
        }
        bw_audit_flush(audit);
    }
    for (size_t i = 0; i < WINDOW_MAX; i++)
        while (slots[i].busy)
            (void)sched_yield();
}

/* The kernel no longer holds what is on the disk, as after a start. */
static void forget_files(void)
{
    static const char *const names[] = { "audit.db", "audit-index.db", "audit-index.db-wal" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s", bench_dir, names[i]);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            (void)fdatasync(file);
            (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
            (void)close(file);
        }
    }
}

static void query(const char *what, struct bw_audit_query q)
{
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;
    double best = 1e9, worst = 0, first = 0;

    q.log   = log_nr;
    q.limit = 100;
    forget_files();
    for (int i = 0; i < 20; i++) {
        double from = now_s();
        check(bw_audit_find(audit, &q, &arena, &found));
        double took = now_s() - from;
        best  = took < best ? took : best;
        first = i == 0 ? took : first;
        worst = i > 0 && took > worst ? took : worst;
        bw_arena_clear(&arena);
    }
    (void)printf("  %-44s %4zu%s of %lu  from the disk %7.2f ms, then best %7.2f ms, worst %7.2f ms\n", what, found.count, found.more ? "+" : " ", (unsigned long)found.log_size, first * 1e3, best * 1e3, worst * 1e3);
}

/* Every page of an answer, as an auditor reads it. */
static void query_all(const char *what, struct bw_audit_query q)
{
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found = { .more = true };
    unsigned long records = 0, pages = 0;
    double worst = 0, from = now_s();

    q.log   = log_nr;
    q.limit = 1000;
    for (; found.more; pages++, q.from_index = found.next_index) {
        double begun = now_s(), took;
        check(bw_audit_find(audit, &q, &arena, &found));
        took  = now_s() - begun;
        worst = took > worst ? took : worst;
        records += found.count;
        bw_arena_clear(&arena);
    }
    (void)printf("  %-44s %lu records in %lu pages of 1000: %.2f ms a page, worst %.2f ms\n", what, records, pages, (now_s() - from) * 1e3 / (double)pages, worst * 1e3);
}

static void queries(unsigned long count, int64_t from_us, int64_t to_us)
{
    static const enum bw_outcome denied[] = { BW_OUTCOME_DENIED };
    static const uint32_t nobody[] = { 24 }, encrypt[] = { 1 };
    struct bw_record middle = record_of(count / 2 + 1);
    int64_t half_us = from_us + (to_us - from_us) / 2;

    query("newest", (struct bw_audit_query){ .newest_first = true });
    query("key", (struct bw_audit_query){ .has_key = true, .key = middle.key });
    query("key, newest", (struct bw_audit_query){ .has_key = true, .key = middle.key, .newest_first = true });
    query("key, second half in time", (struct bw_audit_query){ .has_key = true, .key = middle.key, .from_us = half_us });
    query("key, denied", (struct bw_audit_query){ .has_key = true, .key = middle.key, .outcomes = denied, .outcome_count = 1 });
    query("key and principal", (struct bw_audit_query){ .has_key = true, .key = middle.key, .principal = middle.principal });
    query("principal, denied, encrypt", (struct bw_audit_query){ .principal = middle.principal, .outcomes = denied, .outcome_count = 1, .operations = encrypt, .operation_count = 1 });
    const bw_key_id rare = record_of(1).key;
    query("a rare key, the whole log", (struct bw_audit_query){ .has_key = true, .key = rare });
    query("a rare key, first half in time", (struct bw_audit_query){ .has_key = true, .key = rare, .to_us = half_us });
    query_all("key, second half in time, every page", (struct bw_audit_query){ .has_key = true, .key = middle.key, .from_us = half_us });
    query_all("a rare key, the whole log, every page", (struct bw_audit_query){ .has_key = true, .key = rare });
    query("request id", (struct bw_audit_query){ .request_id = middle.request_id });
    query("a key never used", (struct bw_audit_query){ .has_key = true, .key = { { 0xff, 0xff, 0xff, 0xff } } });
    query("an operation never done", (struct bw_audit_query){ .operations = nobody, .operation_count = 1 });
}

/* ---- evidence ---- */

struct times { double best, worst, sum; };

static void take_time(struct times *times, double from)
{
    double took = now_s() - from;

    times->best  = times->sum == 0 || took < times->best ? took : times->best;
    times->worst = took > times->worst ? took : times->worst;
    times->sum  += took;
}

static void print_times(const char *what, const struct times *times, unsigned count)
{
    (void)printf("  %-44s best %7.3f ms, mean %7.3f ms, worst %7.3f ms\n", what, times->best * 1e3, times->sum / count * 1e3, times->worst * 1e3);
}

static void prove_some(unsigned long count)
{
    enum { PROOFS = 1000 };
    struct times    inclusion = { 0 }, consistency = { 0 };
    struct bw_proof proof;

    for (unsigned long i = 0; i < PROOFS; i++) {
        uint64_t index = i * 0x9e3779b97f4a7c15u % count;
        double   from  = now_s();
        check(bw_audit_prove_inclusion(audit, log_nr, index, count, &proof));
        take_time(&inclusion, from);
        from = now_s();
        check(bw_audit_prove_consistency(audit, log_nr, index + 1, count, &proof));
        take_time(&consistency, from);
    }
    print_times("inclusion proof", &inclusion, PROOFS);
    print_times("consistency proof", &consistency, PROOFS);
}

static void export_row(struct bw_tlog_writer *writer, struct bw_hasher *hasher, const struct bw_audit_row *row)
{
    uint8_t        entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf leaf;

    check(bw_hasher_leaf(hasher, row->index, row->essential, row->who, row->context, &leaf));
    bw_leaf_print(&leaf, entry);
    check(bw_tlog_write(writer, bw_bytes_of(entry, sizeof entry), row->essential, row->who, row->context));
}

static void export_all(unsigned long count, const char *dir, const struct bw_audit_checkpoint *checkpoint)
{
    struct bw_audit_query  query = { .log = log_nr, .limit = 256 };
    struct bw_tlog_writer *writer;
    struct bw_hasher      *hasher;
    struct bw_buf          key = { 0 };

    check(bw_tlog_writer_new(dir, &writer));
    check(bw_hasher_new(&hasher));
    while (query.from_index < count) {
        struct bw_arena       arena = { 0 };
        struct bw_audit_found found;
        check(bw_audit_find(audit, &query, &arena, &found));
        for (size_t i = 0; i < found.count; i++)
            export_row(writer, hasher, &found.rows[i]);
        query.from_index += found.count;
        bw_arena_clear(&arena);
    }
    check(bw_note_key_print(&checkpoint->key, &key));
    check(bw_tlog_finish(writer, &checkpoint->checkpoint, checkpoint->note, bw_buf_bytes(&key), checkpoint->keys));
    bw_buf_clear(&key);
    bw_hasher_free(hasher);
    bw_tlog_writer_free(writer);
}

static void evidence(unsigned long count, const char *dir)
{
    char   export_dir[256];
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint checkpoint;
    struct bw_verify_fault     fault;
    struct bw_checkpoint       verified;

    prove_some(count);
    check(bw_audit_checkpoint(audit, log_nr, count, &arena, &checkpoint));
    (void)snprintf(export_dir, sizeof export_dir, "%s/export", dir);
    double from = now_s();
    export_all(count, export_dir, &checkpoint);
    double took = now_s() - from;
    (void)printf("  export: %.0f records/s\n", (double)count / took);
    from = now_s();
    check(bw_verify_dir(export_dir, &checkpoint.key, 1, NULL, &fault, &verified));
    took = now_s() - from;
    (void)printf("  verify: %.0f records/s, %lu records\n", (double)count / took, (unsigned long)verified.size);
    bw_arena_clear(&arena);
}

static void print_size(const char *dir, const char *name, unsigned long count)
{
    char        path[256];
    struct stat file;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &file) == 0)
        (void)printf("  %-20s %8.1f MB, %6.1f bytes per record\n", name, (double)file.st_size / 1e6, (double)file.st_size / (double)count);
}

int main(int argc, char **argv)
{
    unsigned long count   = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    unsigned      threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    struct bw_audit_stats stats;
    struct soft_signer soft;
    pthread_t running[256];

    keys = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : keys;
    if (mkdtemp(bench_dir) == NULL || threads > 256)
        return 1;
    const struct bw_audit_options options = { .dir = bench_dir, .region = { "eu-central" }, .node = "n1", .host = "eu-central.example", .signer = &soft.signer };
    soft_signer_make(&soft);
    check(bw_audit_create(&options));
    check(bw_audit_open(&options, &audit));
    check(bw_audit_log_of(audit, &(bw_tenant){ "acme" }, &log_nr));

    double from = now_s();
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    left = count;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, write_records, NULL) != 0)
            return 1;
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(running[i], NULL);
    if (threads == 0)
        load(count);
    double took = now_s() - from;
    bw_audit_stats(audit, &stats);
    (void)printf("%lu records, %u threads: %.0f records/s, %.1f records per commit, %.0f commits/s\n", count, threads, (double)count / took,
                 (double)stats.records / (double)stats.commits, (double)stats.commits / took);
    from = now_s();
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;
    struct bw_audit_query any = { .log = log_nr, .limit = 1 };
    bw_result r;
    do
        r = bw_audit_find(audit, &any, &arena, &found);
    while (r.code == BW_DEADLINE);
    check(r);
    (void)printf("  index caught up after %.1f s more\n", now_s() - from);
    queries(count, (int64_t)wall.tv_sec * 1000000, (int64_t)wall.tv_sec * 1000000 + (int64_t)(took * 1e6));
    bw_arena_clear(&arena);
    evidence(count, bench_dir);
    bw_audit_close(audit);
    print_size(bench_dir, "audit.db", count);
    print_size(bench_dir, "audit-index.db", count);
    return 0;
}
