#include "fake/audit_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const bw_region region = { "eu-central" };

void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

struct bw_audit_options audit_case_options(const struct audit_case *at)
{
    return (struct bw_audit_options){ .dir = at->dir, .region = region, .node = "n1", .host = "eu-central.example",
                                      .guard = at->guard, .signer = at->signer, .epoch_ms = at->epoch_ms, .alarm = at->alarm,
                                      .damaged = at->damaged, .scrub_pause_ms = 1 };
}

void audit_case_make(struct audit_case *at)
{
    strcpy(at->dir, "/tmp/bw-audit-XXXXXX");
    assert_non_null(mkdtemp(at->dir));
    const struct bw_audit_options options = audit_case_options(at);
    check_ok(bw_audit_create(&options));
    audit_case_open(at);
}

void audit_case_open(struct audit_case *at)
{
    const struct bw_audit_options options = audit_case_options(at);
    check_ok(bw_audit_open(&options, &at->audit));
}

void audit_case_close(struct audit_case *at)
{
    bw_audit_close(bw_take(&at->audit));
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    (void)file;
    (void)type;
    (void)walk;
    return remove(path);
}

void audit_case_remove(struct audit_case *at)
{
    audit_case_close(at);
    assert_int_equal(nftw(at->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

uint32_t audit_case_log(struct audit_case *at, const char *tenant)
{
    bw_tenant name;
    uint32_t  log;

    check_ok(bw_tenant_parse(bw_bytes_text(tenant), &name));
    check_ok(bw_audit_log_of(at->audit, &name, &log));
    return log;
}

uint64_t audit_case_write(struct audit_case *at, const struct bw_record *record)
{
    uint64_t index;

    check_ok(bw_audit_write(at->audit, record, &index));
    return index;
}

struct bw_record audit_case_record(uint32_t log, unsigned key)
{
    struct bw_record record = {
        .log = log, .operation = 2, .has_key = true, .key_version = 1, .mechanism = 0x1087, .outcome = BW_OUTCOME_GRANTED, .policy_version = 3,
        .principal = "spiffe://example.org/region/eu-central/tenant/acme/app/web-1", .address = "ipv4:192.0.2.7:40000",
        .certificate = { 1, 2, 3 }, .request_id = { 9 }, .has_aad_tag = true, .aad_tag = { 7 },
    };
    memcpy(record.key.bytes, &key, sizeof key);
    return record;
}

uint64_t audit_case_check_log(struct audit_case *at, uint32_t log)
{
    struct bw_audit_query query = { .log = log, .limit = 1000 };
    struct bw_audit_found found = { .more = true };
    int64_t last_us = 0;

    for (uint64_t index = 0; found.more; query.from_index = found.next_index) {
        struct bw_arena arena = { 0 };
        check_ok(bw_audit_find(at->audit, &query, &arena, &found));
        for (size_t i = 0; i < found.count; i++, index++) {
            struct bw_record       record;
            struct bw_record_stamp stamp;
            const struct bw_audit_row *row = &found.rows[i];
            assert_int_equal(row->index, index);
            check_ok(bw_record_decode(row->essential, row->who, row->context, &arena, &record, &stamp));
            assert_true(stamp.time_us > last_us);
            last_us = stamp.time_us;
        }
        bw_arena_clear(&arena);
        if (!found.more)
            assert_int_equal(index, found.log_size);
    }
    return found.log_size;
}
