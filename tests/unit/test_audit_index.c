/* Queries: every answer is that of a plain search through everything, however the index came to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit_lists.h"
#include "fake/audit_case.h"

enum { RECORDS = 5000, KEYS = 40, PRINCIPALS = 5, REQUESTS = 2000, LOGS = 2, QUERIES = 400, LONG = 5 * BW_SEGMENT / 2, AT_ONCE = 5000 };

static struct audit_case at;
static unsigned          seed = 1;

static unsigned draw(unsigned below)
{
    return (unsigned)rand_r(&seed) % below;
}

/* ---- a log, and all of it in memory ---- */

struct known { struct bw_record record; int64_t time_us; };
static struct known *known[LOGS];
static uint64_t      known_count[LOGS];
static uint32_t      logs[LOGS];

static void principal_name(unsigned n, char *text, size_t room)
{
    (void)snprintf(text, room, "spiffe://example.org/region/eu-central/tenant/acme/app/web-%u", n);
}

static void some_done(struct bw_audit_entry *entry, bw_result written)
{
    (void)entry;
    check_ok(written);
}

static struct bw_record random_record(uint32_t log)
{
    static const enum bw_outcome outcomes[] = { BW_OUTCOME_GRANTED, BW_OUTCOME_GRANTED, BW_OUTCOME_GRANTED, BW_OUTCOME_DENIED, BW_OUTCOME_ERROR, BW_OUTCOME_INTENT };
    struct bw_record record = { .log = log, .operation = 1 + draw(6), .outcome = outcomes[draw(ARRAY_LEN(outcomes))] };
    unsigned request = draw(REQUESTS);

    record.has_key      = draw(10) > 0;
    record.key.bytes[0] = record.has_key ? (uint8_t)draw(KEYS) : 0;
    if (draw(10) > 0)
        principal_name(draw(PRINCIPALS), record.principal, sizeof record.principal);
    memcpy(record.request_id, &request, sizeof request); /* request 0 is none */
    return record;
}

static void write_random(size_t count, unsigned per_commit)
{
    struct bw_audit_entry *entries = calloc(count, sizeof *entries);

    for (size_t i = 0; i < count; i++) {
        entries[i].record = random_record(logs[draw(LOGS)]);
        entries[i].done   = some_done;
        bw_audit_put(at.audit, &entries[i]);
        if (draw(per_commit) == 0)
            bw_audit_flush(at.audit);
    }
    bw_audit_flush(at.audit);
    free(entries);
}

static void read_page(size_t which, const struct bw_audit_found *found, struct bw_arena *arena)
{
    known[which] = realloc(known[which], (known_count[which] + found->count + 1) * sizeof *known[which]);
    for (size_t i = 0; i < found->count; i++) {
        struct known          *k = &known[which][known_count[which]];
        struct bw_record_stamp stamp;
        check_ok(bw_record_decode(found->rows[i].essential, found->rows[i].who, found->rows[i].context, arena, &k->record, &stamp));
        k->time_us = stamp.time_us;
        assert_int_equal(found->rows[i].index, known_count[which]++);
    }
}

static void read_all(size_t which)
{
    struct bw_audit_query query = { .log = logs[which], .limit = AT_ONCE };
    struct bw_audit_found found = { .more = true };

    for (known_count[which] = 0; found.more; query.from_index = found.next_index) {
        struct bw_arena arena = { 0 };
        check_ok(bw_audit_find(at.audit, &query, &arena, &found));
        read_page(which, &found, &arena);
        bw_arena_clear(&arena);
    }
}

static int make(void **state)
{
    (void)state;
    seed = 1;
    audit_case_make(&at);
    logs[0] = audit_case_log(&at, "acme");
    logs[1] = audit_case_log(&at, "umbra");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    for (size_t i = 0; i < LOGS; i++) {
        free(known[i]);
        known[i] = NULL;
    }
    audit_case_remove(&at);
    return 0;
}

/* ---- questions ---- */

struct question {
    struct bw_audit_query query;
    size_t                which;
    char                  principal[BW_SPIFFE_MAX + 1];
    uint32_t              operations[2];
    enum bw_outcome       outcomes[2];
    uint8_t               request_id[BW_REQUEST_ID_LEN];
};

static void ask_something(struct question *q)
{
    *q = (struct question){ .which = draw(LOGS) };
    const struct known *some = &known[q->which][draw((unsigned)known_count[q->which])], *other = &known[q->which][draw((unsigned)known_count[q->which])];

    q->query = (struct bw_audit_query){ .log = logs[q->which], .limit = 1 + draw(50), .newest_first = draw(2) };
    q->query.has_key      = draw(3) == 0;
    q->query.key.bytes[0] = (uint8_t)draw(KEYS + 2);
    if (draw(3) == 0) {
        principal_name(draw(PRINCIPALS + 1), q->principal, sizeof q->principal);
        q->query.principal = q->principal;
    }
    for (size_t i = 0; i < 2; i++) {
        q->operations[i] = 1 + draw(8);
        q->outcomes[i]   = (enum bw_outcome)(1 + draw(5));
    }
    q->query.operations      = q->operations;
    q->query.operation_count = draw(3) == 0 ? 1 + draw(2) : 0;
    q->query.outcomes        = q->outcomes;
    q->query.outcome_count   = draw(3) == 0 ? 1 + draw(2) : 0;
    q->query.from_us         = draw(3) == 0 ? some->time_us + (int64_t)draw(3) - 1 : 0;
    q->query.to_us           = draw(3) == 0 ? other->time_us + (int64_t)draw(3) - 1 : 0;
    if (draw(4) == 0) {
        memcpy(q->request_id, some->record.request_id, sizeof q->request_id);
        q->query.request_id = q->request_id;
    }
}

static bool is_asked_for(const struct question *q, const struct known *k)
{
    static const uint8_t none[BW_REQUEST_ID_LEN];
    const struct bw_audit_query *query = &q->query;
    bool operation = query->operation_count == 0, outcome = query->outcome_count == 0;

    for (size_t i = 0; i < query->operation_count; i++)
        operation |= k->record.operation == q->operations[i];
    for (size_t i = 0; i < query->outcome_count; i++)
        outcome |= k->record.outcome == q->outcomes[i];
    return operation && outcome
        && (!query->has_key || (k->record.has_key && bw_key_id_equal(&query->key, &k->record.key)))
        && (query->principal == NULL || strcmp(query->principal, k->record.principal) == 0)
        && (query->request_id == NULL || (memcmp(query->request_id, k->record.request_id, sizeof none) == 0 && memcmp(query->request_id, none, sizeof none) != 0))
        && (query->from_us == 0 || k->time_us >= query->from_us) && (query->to_us == 0 || k->time_us < query->to_us);
}

/* Page by page, the answer is exactly the records of a plain search, in order. */
static void check_answer(struct question *q)
{
    struct bw_audit_found found = { .more = true };
    uint64_t count = known_count[q->which], next = 0;

    while (found.more) {
        struct bw_arena arena = { 0 };
        check_ok(bw_audit_find(at.audit, &q->query, &arena, &found));
        assert_int_equal(found.log_size, count);
        for (size_t i = 0; i < found.count; i++, next++) {
            while (next < count && !is_asked_for(q, &known[q->which][q->query.newest_first ? count - 1 - next : next]))
                next++;
            assert_true(next < count);
            assert_int_equal(found.rows[i].index, q->query.newest_first ? count - 1 - next : next);
        }
        bw_arena_clear(&arena);
        q->query.from_index = found.next_index;
    }
    for (; next < count; next++)
        assert_false(is_asked_for(q, &known[q->which][q->query.newest_first ? count - 1 - next : next]));
}

static void ask_many(int queries)
{
    for (size_t i = 0; i < LOGS; i++)
        read_all(i);
    for (int i = 0; i < queries; i++) {
        struct question q;
        ask_something(&q);
        check_answer(&q);
    }
}

static void answers_are_those_of_a_plain_search(void **state)
{
    (void)state;
    write_random(RECORDS, 20);
    ask_many(QUERIES);
}

static void index_path(char path[static 128])
{
    (void)snprintf(path, 128, "%s/audit-index.db", at.dir);
}

static int64_t ask_index(const char *question)
{
    char path[128];
    struct bw_sql sql;
    int64_t answer;

    index_path(path);
    check_ok(bw_sql_open(path, SQLITE_OPEN_READONLY, BW_AUDIT_UNAVAILABLE, "", &sql));
    check_ok(bw_sql_ask(&sql, question, NULL, &answer));
    bw_sql_close(&sql);
    return answer;
}

/* Two logs of more than a segment each. */
static void answers_are_the_same_when_lists_have_moved(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LONG / AT_ONCE; i++)
        write_random(AT_ONCE, AT_ONCE / 10);
    ask_many(QUERIES / 20); /* while they move */
    while (ask_index("SELECT count(*) FROM fed WHERE moved = 1") < LOGS)
        (void)sched_yield();
    assert_true(ask_index("SELECT count(*) FROM moved WHERE length(offsets) = 8192") > 0);
    assert_int_equal(ask_index("SELECT count(*) FROM list WHERE segment = 0 AND kind < 5"), 0);
    ask_many(QUERIES / 20);
}

static void an_answer_holds_what_was_just_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct bw_record      record = audit_case_record(logs[0], i);
        struct bw_audit_query query  = { .log = logs[0], .has_key = true, .key = record.key, .limit = 1 };
        struct bw_arena       arena  = { 0 };
        struct bw_audit_found found;
        uint64_t              index  = audit_case_write(&at, &record);

        check_ok(bw_audit_find(at.audit, &query, &arena, &found));
        assert_int_equal(found.count, 1);
        assert_int_equal(found.rows[0].index, index);
        bw_arena_clear(&arena);
    }
}

static void a_position_beyond_the_end_is_evidence(void **state)
{
    (void)state;
    struct bw_audit_query query = { .log = logs[0], .from_index = 1, .limit = 1 };
    struct bw_record      record = audit_case_record(logs[0], 1);
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;

    assert_int_equal(bw_audit_find(at.audit, &query, &arena, &found).code, BW_LOG_POSITION);
    (void)audit_case_write(&at, &record);
    check_ok(bw_audit_find(at.audit, &query, &arena, &found));
    assert_int_equal(found.count, 0);
    bw_arena_clear(&arena);
}

/* ---- made again ---- */

static void remove_index(void)
{
    char path[128];

    index_path(path);
    assert_int_equal(unlink(path), 0);
}

static void damage_index(void)
{
    char path[128];

    index_path(path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (int i = 0; i < 4096; i++)
        (void)fputc('x', file);
    (void)fclose(file);
}

static void change_index(const char *change)
{
    char     path[128];
    sqlite3 *db;

    index_path(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, change, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Each also empties the lists, so that an index that is used all the same gives wrong answers. */
static void put_index_ahead(void)   { change_index("DELETE FROM list; DELETE FROM moved; UPDATE state SET position = position + 1"); }
static void change_schema(void)     { change_index("DELETE FROM list; DELETE FROM moved; PRAGMA user_version = 99"); }
static void index_another_log(void) { change_index("DELETE FROM list; DELETE FROM moved; UPDATE state SET mark = zeroblob(32)"); }
static void leave_half_made(void)   { change_index("DELETE FROM list; DELETE FROM moved; DELETE FROM state"); }
static void leave_it(void)          { }

static const struct { const char *why; void (*spoil)(void); } spoilt[] = {
    { "as it was left",           leave_it          },
    { "missing",                  remove_index      },
    { "damaged",                  damage_index      },
    { "ahead of the log",         put_index_ahead   },
    { "of another schema",        change_schema     },
    { "of another log",           index_another_log },
    { "half made",                leave_half_made   },
};

static void an_index_that_cannot_be_used_is_made_again(void **state)
{
    (void)state;
    write_random(RECORDS / 5, 20);
    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        print_message("index %s\n", spoilt[i].why);
        audit_case_close(&at);
        spoilt[i].spoil();
        audit_case_open(&at);
        write_random(100, 20);
        ask_many(QUERIES);
    }
}

/* ---- what the log itself must not have ---- */

static const struct { const char *why, *change; } damages[] = {
    { "a record deleted in the middle",  "DELETE FROM audit_record WHERE position = 50" },
    { "a record deleted at the end",     "DELETE FROM audit_record WHERE position = (SELECT max(position) FROM audit_record)" },
    { "two records swapped",             "UPDATE audit_record SET position = -1 WHERE position = 50; UPDATE audit_record SET position = 50 WHERE position = 51;"
                                         "UPDATE audit_record SET position = 51 WHERE position = -1" },
    { "a record moved to another log",   "UPDATE audit_record SET log = 0 WHERE position = 50" },
    { "a record renumbered",             "UPDATE audit_record SET idx = idx + 1 WHERE position = 50" },
    { "a class that is no message",      "UPDATE audit_record SET essential = zeroblob(40) || x'ff' WHERE position = 50" },
    { "a head set back",                 "UPDATE audit_head SET size = size - 1 WHERE log = 1" },
};

/* Either the log does not open, or whoever asks is told. */
static bool damage_is_noticed(void)
{
    const struct bw_audit_options options = { .dir = at.dir, .region = { "eu-central" }, .node = "n1", .host = "eu-central.example" };
    struct bw_audit_query query = { .log = logs[0], .limit = 1 };
    struct bw_arena       arena = { 0 };
    struct bw_audit_found found;

    bw_result r = bw_audit_open(&options, &at.audit);
    if (bw_ok(r))
        r = bw_audit_find(at.audit, &query, &arena, &found);
    bw_arena_clear(&arena);
    audit_case_close(&at);
    return r.code == BW_AUDIT_UNAVAILABLE;
}

static void a_damaged_log_is_noticed_when_the_index_is_made_again(void **state)
{
    (void)state;
    char path[128], backup[160], command[400];

    write_random(200, 20);
    audit_case_close(&at);
    (void)snprintf(path, sizeof path, "%s/audit.db", at.dir);
    (void)snprintf(backup, sizeof backup, "%s.good", path);
    (void)snprintf(command, sizeof command, "cp %s %s", path, backup);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        sqlite3 *db;
        (void)snprintf(command, sizeof command, "cp %s %s && rm -f %s/audit-index.db*", backup, path, at.dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, damages[i].change, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        if (!damage_is_noticed())
            fail_msg("%s: not noticed", damages[i].why);
    }
}

/* ---- sets ---- */

static void sets_find_their_members_from_both_sides(void **state)
{
    (void)state;
    static struct bw_bits bits;
    static const uint32_t members[] = { 0, 1, 63, 64, 65, 127, 1000, 4095, 65471, 65472, 65535 };

    bw_bits_clear(&bits);
    assert_int_equal(bw_bits_next(&bits, 0), BW_SEGMENT);
    assert_int_equal(bw_bits_before(&bits, BW_SEGMENT), BW_SEGMENT);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        bw_bits_add_range(&bits, members[i], members[i] + 1);
    uint32_t up = bw_bits_next(&bits, 0), down = bw_bits_before(&bits, BW_SEGMENT);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        assert_int_equal(up, members[i]);
        assert_int_equal(down, members[ARRAY_LEN(members) - 1 - i]);
        up   = bw_bits_next(&bits, up + 1);
        down = bw_bits_before(&bits, down);
    }
    assert_int_equal(up, BW_SEGMENT);
    assert_int_equal(down, BW_SEGMENT);
}

/* A log longer than a segment would take long to write, so its lists are written and read by themselves. */
static void lists_keep_segments_and_values_apart(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "INSERT INTO list VALUES (?1, ?2, ?3, ?4, ?5, ?6)", "SELECT offsets FROM list WHERE log = ?1 AND segment = ?2 AND kind = ?3 AND value = ?4",
    };
    static struct bw_list_place places[3 * BW_SEGMENT];
    static struct bw_bits       bits;
    struct bw_sql sql;
    bw_list_value odd = bw_list_value_of_number(1), even = bw_list_value_of_number(0);
    size_t        count = 0;

    check_ok(bw_sql_open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, BW_AUDIT_UNAVAILABLE,
                         "CREATE TABLE list (log, segment, kind, value, first, offsets, PRIMARY KEY (log, segment, kind, value, first)) WITHOUT ROWID", &sql));
    check_ok(bw_sql_prepare(&sql, texts, ARRAY_LEN(texts)));
    for (uint64_t index = 3 * BW_SEGMENT; index-- > BW_SEGMENT / 2;)
        places[count++] = bw_list_place_of(7, index, BW_LIST_KEY, index % 2 ? &odd : &even);
    check_ok(bw_lists_write(&sql, 0, places, count));
    for (uint64_t segment = 0; segment < 4; segment++) {
        bw_bits_clear(&bits);
        check_ok(bw_list_read(&sql, 1, 7, segment, BW_LIST_KEY, &odd, &bits));
        uint32_t first = segment == 0 ? BW_SEGMENT / 2 : 0;
        for (uint32_t offset = 0; offset < BW_SEGMENT; offset++)
            assert_int_equal(bits.words[offset / 64] >> offset % 64 & 1, segment < 3 && offset >= first && offset % 2);
    }
    bw_sql_close(&sql);
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(answers_are_those_of_a_plain_search),
        with_log(answers_are_the_same_when_lists_have_moved),
        with_log(an_answer_holds_what_was_just_written),
        with_log(a_position_beyond_the_end_is_evidence),
        with_log(an_index_that_cannot_be_used_is_made_again),
        with_log(a_damaged_log_is_noticed_when_the_index_is_made_again),
        cmocka_unit_test(sets_find_their_members_from_both_sides),
        cmocka_unit_test(lists_keep_segments_and_values_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
