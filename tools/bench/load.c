/* Fills a tenant's log through the daemon's own append path, with the daemon stopped: bench_load <audit folder> <tenant> <records>
 * Ends when the index has caught up, and tells how long both took.
 * The records look like those of uses of a thousand keys by twenty applications. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "slice.h"

enum { WINDOW = 512, KEYS = 1000, APPLICATIONS = 20 };

struct slot { struct bw_audit_entry entry; atomic_bool busy; };

static void check(bw_result r)
{
    if (!bw_ok(r))
        bw_bench_die(r.what);
}

static struct bw_record record_of(uint32_t log, unsigned long n)
{
    struct bw_record record = {
        .log = log, .operation = 2, .has_key = true, .key_version = 1, .mechanism = 0x1087, .outcome = BW_OUTCOME_GRANTED,
        .policy_version = 1, .address = "ipv4:192.0.2.7:40000",
    };
    uint64_t spread = n * 0x9e3779b97f4a7c15u;
    unsigned key    = (unsigned)(spread >> 33) % KEYS;

    (void)snprintf(record.principal, sizeof record.principal, "spiffe://bench.example/region/eu-central/tenant/acme/app/web-%lu", n % APPLICATIONS);
    memcpy(record.key.bytes, &key, sizeof key);
    memcpy(record.request_id, &spread, sizeof spread);
    return record;
}

static void slot_done(struct bw_audit_entry *entry, bw_result written)
{
    check(written);
    ((struct slot *)entry)->busy = false;
}

/* One thread with a window of records under way, as the listener has. */
static void load(struct bw_audit *audit, uint32_t log, unsigned long count)
{
    static struct slot slots[WINDOW];

    for (unsigned long n = count; n > 0;) {
        for (size_t i = 0; i < WINDOW && n > 0; i++, n--) {
            while (slots[i].busy)
                (void)sched_yield(); /* another thread is committing it */
            slots[i].entry = (struct bw_audit_entry){ .record = record_of(log, n), .done = slot_done };
            slots[i].busy  = true;
            bw_audit_put(audit, &slots[i].entry);
        }
        bw_audit_flush(audit);
    }
}

static void await_index(struct bw_audit *audit, uint32_t log)
{
    const struct bw_audit_query any = { .log = log, .limit = 1 };
    struct bw_audit_found found;
    bw_result r;

    do {
        struct bw_arena arena = { 0 };
        r = bw_audit_find(audit, &any, &arena, &found);
        bw_arena_clear(&arena);
    } while (r.code == BW_DEADLINE); /* it waits a while itself */
    check(r);
}

int main(int argc, char **argv)
{
    bw_tenant tenant = { { 0 } };
    struct bw_audit *audit;
    uint32_t log;

    if (argc != 4 || strlen(argv[2]) >= sizeof tenant.text)
        bw_bench_die("usage: bench_load <audit folder> <tenant> <records>");
    strcpy(tenant.text, argv[2]);
    const struct bw_audit_options options = { .dir = argv[1], .region = { "eu-central" }, .node = "n1", .host = "bench.example" };
    check(bw_audit_open(&options, &audit));
    check(bw_audit_log_of(audit, &tenant, &log));
    double from = bw_bench_now_us();
    load(audit, log, strtoul(argv[3], NULL, 10));
    double loaded = bw_bench_now_us();
    await_index(audit, log);
    (void)printf("{\"load_s\":%.3f,\"index_s\":%.3f}\n", (loaded - from) / 1e6, (bw_bench_now_us() - loaded) / 1e6);
    bw_audit_close(audit);
    return 0;
}
