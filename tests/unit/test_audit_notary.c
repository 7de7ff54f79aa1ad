/* Checkpoints: signed soon, each going on from the one before, and never over a log that went back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake/audit_case.h"
#include "fake/soft_signer.h"
#include "method.h"
#include "rotate_log_key.h"
#include "succession.h"

enum { NO_EPOCH_MS = 2000000000, EPOCH_MS = 100 }; /* the first is weeks, so that no signature but the first one's is an epoch's */

static struct audit_case  at;
static struct soft_signer soft, next; /* next: key 1 */
static struct bw_hasher  *hasher;
static uint32_t           log_nr;

/* ---- the clock, as the notary sees it ---- */

static atomic_llong clock_shift_s;
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = __real_clock_gettime(clock, ret);

    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        ret->tv_sec += clock_shift_s;
    return result;
}

/* ---- alarms ---- */

static atomic_int  alarms;      /* how many there were */
static atomic_uint alarm_code;  /* of the last */
static char        alarm_note[2000];

static void take_alarm(void *self, bw_result what, bw_bytes checkpoint)
{
    (void)self;
    (void)snprintf(alarm_note, sizeof alarm_note, "%.*s", (int)checkpoint.len, (const char *)checkpoint.data);
    alarms++;
    alarm_code = (unsigned)what.code; /* last: who waits for it finds it counted */
}

static void await_alarm(enum bw_code code)
{
    for (time_t end = time(NULL) + 10; alarm_code != (unsigned)code || alarms == 0; (void)sched_yield())
        if (time(NULL) > end)
            fail_msg("no alarm %s within 10 s", bw_code_row(code)->name);
}

/* ---- a log, and what happens to it ---- */

static void shell(const char *format, const char *dir)
{
    char command[400];

    (void)snprintf(command, sizeof command, format, dir, dir, dir, dir);
    assert_int_equal(system(command), 0);
}

static void write_records(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct bw_record record = audit_case_record(log_nr, i);
        (void)audit_case_write(&at, &record);
    }
}

static struct bw_checkpoint checkpoint_of(uint64_t size, char *note, size_t room)
{
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint got;
    struct bw_checkpoint       read;
    bw_bytes                   text;

    check_ok(bw_audit_checkpoint(at.audit, log_nr, size, &arena, &got));
    check_ok(bw_note_verify(got.note, &got.key, 1, &text));
    check_ok(bw_checkpoint_parse(text, &read));
    assert_string_equal(read.origin, bw_audit_origin(at.audit, log_nr));
    assert_string_equal(got.key.name, read.origin);
    assert_true(read.size >= size);
    if (note != NULL)
        (void)snprintf(note, room, "%.*s", (int)got.note.len, (const char *)got.note.data);
    bw_arena_clear(&arena);
    return read;
}

static int make(void **state)
{
    (void)state;
    alarms     = 0;
    alarm_code = BW_OK;
    clock_shift_s = 0;
    soft_signer_make(&soft);
    soft_signer_make_numbered(&next, 1);
    at = (struct audit_case){ .signer = &soft.signer, .alarm = take_alarm, .epoch_ms = NO_EPOCH_MS };
    audit_case_make(&at);
    log_nr = audit_case_log(&at, "acme");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

static int make_hasher(void **state)
{
    (void)state;
    return bw_ok(bw_hasher_new(&hasher)) ? 0 : 1;
}

static int drop_hasher(void **state)
{
    (void)state;
    bw_hasher_free(hasher);
    return 0;
}

/* ---- signing ---- */

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void a_record_is_signed_within_a_second(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        int64_t from = now_ms();
        write_records(1);
        (void)checkpoint_of(i + 1, NULL, 0);
        assert_true(now_ms() - from < 1000);
    }
}

static void a_checkpoint_has_the_trees_root_and_goes_on_from_the_one_before(void **state)
{
    struct bw_checkpoint last = { 0 };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct bw_proof proof;
        bw_hash         root;
        write_records(5 + i);
        struct bw_checkpoint now = checkpoint_of(last.size + 5 + i, NULL, 0);
        check_ok(bw_audit_root(at.audit, log_nr, now.size, &root));
        assert_true(bw_hash_equal(&root, &now.root));
        if (last.size > 0) {
            check_ok(bw_audit_prove_consistency(at.audit, log_nr, last.size, now.size, &proof));
            check_ok(bw_merkle_check_consistency(hasher, last.size, &last.root, now.size, &now.root, &proof));
        }
        last = now;
    }
}

static void the_regions_own_log_and_empty_logs_are_signed_too(void **state)
{
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint got;

    (void)state;
    check_ok(bw_audit_checkpoint(at.audit, 0, 0, &arena, &got));
    assert_int_equal(got.checkpoint.size, 0);
    bw_arena_clear(&arena);
}

static void what_the_log_has_not_got_is_not_waited_for(void **state)
{
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint got;

    (void)state;
    write_records(1);
    assert_int_equal(bw_audit_checkpoint(at.audit, log_nr, 2, &arena, &got).code, BW_LOG_POSITION);
    bw_arena_clear(&arena);
}

static void a_checkpoint_is_the_same_after_a_restart(void **state)
{
    char before[2000], after[2000];

    (void)state;
    write_records(3);
    (void)checkpoint_of(3, before, sizeof before);
    audit_case_close(&at);
    unsigned signatures = soft.signatures;
    audit_case_open(&at);
    (void)checkpoint_of(3, after, sizeof after);
    assert_string_equal(before, after);
    assert_int_equal(soft.signatures, signatures);
    assert_int_equal(alarms, 0);
}

/* The first epoch over that log whose entry is that one or a later one. */
static struct bw_audit_anchor await_anchor(uint32_t log, uint64_t index, struct bw_arena *arena)
{
    struct bw_audit_anchor anchor;

    for (time_t end = time(NULL) + 10;; (void)sched_yield()) {
        bw_arena_clear(arena);
        bw_result r = bw_audit_anchor(at.audit, log, arena, &anchor);
        if (bw_ok(r) && anchor.proof.index >= index)
            return anchor;
        if (!bw_ok(r))
            assert_int_equal(r.code, BW_DEADLINE);
        assert_true(time(NULL) <= end);
    }
}

/* ---- a signer that fails ---- */

static void records_go_on_while_nobody_signs(void **state)
{
    (void)state;
    write_records(1);
    (void)checkpoint_of(1, NULL, 0);
    soft.broken = true;
    write_records(5); /* durable all the same */
    await_alarm(BW_HSM_UNAVAILABLE);
    check_ok(bw_audit_health(at.audit));
    assert_int_equal(audit_case_check_log(&at, log_nr), 6);
    soft.broken = false;
    assert_int_equal(checkpoint_of(6, NULL, 0).size, 6);
    await_alarm(BW_OK);
    assert_int_equal(alarms, 2);
}

static void nothing_is_signed_while_the_clock_is_behind(void **state)
{
    struct bw_arena arena = { 0 };

    (void)state;
    write_records(1);
    (void)checkpoint_of(1, NULL, 0);
    (void)await_anchor(0, 0, &arena); /* the only epoch here: nothing is left to sign */
    bw_arena_clear(&arena);
    unsigned signatures = soft.signatures;
    clock_shift_s = -120;
    write_records(1);
    await_alarm(BW_CLOCK_UNAVAILABLE);
    assert_int_equal(soft.signatures, signatures);
    clock_shift_s = -30;
    (void)checkpoint_of(2, NULL, 0);
}

/* ---- a log that was put back; all begin with five records signed, of which a copy was taken, and three more ---- */

static bw_result reopen(void)
{
    const struct bw_audit_options options = audit_case_options(&at);
    return bw_audit_open(&options, &at.audit);
}

static void put_back(void)          { shell("cp %s/copy.db %s/audit.db && rm -f %s/audit.db-wal %s/audit.db-shm", at.dir); }
static void put_back_anew(void)     { put_back(); shell("rm %s/audit-index.db", at.dir); }
static void put_back_indexed(void)  { put_back(); shell("cp %s/copy-index.db %s/audit-index.db", at.dir); }
static void lose_guard(void)        { shell("rm %s/audit-guard.db", at.dir); }
static void lose_log(void)          { shell("rm -f %s/audit.db", at.dir); }
static void leave_it(void)          { }

static void change(const char *file, const char *statement)
{
    char     path[128];
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/%s", at.dir, file);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void truncate_log(void)
{
    change("audit.db", "DELETE FROM audit_record WHERE position = (SELECT max(position) FROM audit_record); UPDATE audit_head SET size = size - 1 WHERE log = 1");
}
static void remove_log(void)    { change("audit.db", "UPDATE audit_log SET origin = 'eu-central.example/audit/t/another' WHERE log = 1"); }
static void damage_trees(void)  { change("audit-index.db", "UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE log = 1"); }
static void forge_record(void)
{
    change("audit.db", "UPDATE audit_record SET who = substr(who, 1, 31) || x'00' || substr(who, 33) WHERE position = 2");
    damage_trees(); /* so that they are made again, from what is there now */
}

static void lose_anchor(void)  { shell("rm %s/audit-anchor.db", at.dir); }
static void forge_anchor(void) { change("audit-anchor.db", "UPDATE epoch SET entry = substr(entry, 1, 40) || x'00' || substr(entry, 42)"); }
static void cut_anchor(void)   { change("audit-anchor.db", "DELETE FROM epoch"); }

/* Another history of the same length: the copy goes on by itself, without the guard, and is put in the log's place. */
static void put_fork(void)
{
    put_back();
    at.signer = NULL;
    audit_case_open(&at);
    write_records(10);
    audit_case_close(&at);
    at.signer = &soft.signer;
}

static const struct { const char *what; void (*happens)(void); enum bw_code code; bool names_checkpoint; } mishaps[] = {
    { "nothing",                                            leave_it,         BW_OK,                false },
    { "the database restored from a copy",                  put_back,         BW_LOG_POSITION,      true  },
    { "the database restored and the index made again",     put_back_anew,    BW_LOG_POSITION,      true  },
    { "both restored",                                      put_back_indexed, BW_LOG_POSITION,      true  },
    { "the newest record cut off",                          truncate_log,     BW_LOG_POSITION,      true  },
    { "the log's origin changed",                           remove_log,       BW_LOG_POSITION,      true  },
    { "another history of the same log",                    put_fork,         BW_LOG_POSITION,      true  },
    { "a signed record rewritten",                          forge_record,     BW_LOG_POSITION,      true  },
    { "the trees damaged, the log whole",                   damage_trees,     BW_OK,                false },
    { "the guard file lost",                                lose_guard,       BW_AUDIT_UNAVAILABLE, false },
    { "the anchor log lost",                                lose_anchor,      BW_AUDIT_UNAVAILABLE, false },
    { "an entry of the anchor log rewritten",               forge_anchor,     BW_LOG_POSITION,      false },
    { "an entry of the anchor log deleted",                 cut_anchor,       BW_LOG_POSITION,      false },
    { "the database lost",                                  lose_log,         BW_AUDIT_UNAVAILABLE, false },
};

static void a_log_that_is_not_what_was_signed_does_not_open(void **state)
{
    char note[2000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mishaps); i++) {
        print_message("%s\n", mishaps[i].what);
        write_records(5);
        (void)checkpoint_of(5, NULL, 0);
        audit_case_close(&at);
        shell("cp %s/audit.db %s/copy.db && cp %s/audit-index.db %s/copy-index.db", at.dir);
        audit_case_open(&at);
        write_records(3);
        (void)checkpoint_of(8, note, sizeof note);
        audit_case_close(&at);

        mishaps[i].happens();
        alarms = 0;
        alarm_note[0] = '\0';
        bw_result r = reopen();
        assert_int_equal(r.code, mishaps[i].code);
        if (mishaps[i].names_checkpoint)
            assert_string_equal(alarm_note, note);
        (void)drop(state);
        (void)make(state);
    }
}

/* ---- split view ---- */

static void of_two_daemons_on_copies_one_signs(void **state)
{
    struct audit_case copy = { .signer = &soft.signer, .alarm = take_alarm, .epoch_ms = NO_EPOCH_MS };
    char guard[256];

    (void)state;
    write_records(5);
    (void)checkpoint_of(5, NULL, 0);
    audit_case_close(&at);
    strcpy(copy.dir, "/tmp/bw-audit-XXXXXX");
    assert_non_null(mkdtemp(copy.dir));
    (void)snprintf(guard, sizeof guard, "cp %s/audit.db %s/audit-anchor.db %s", at.dir, at.dir, copy.dir);
    assert_int_equal(system(guard), 0);
    (void)snprintf(guard, sizeof guard, "%s/audit-guard.db", at.dir);
    copy.guard = guard;
    audit_case_open(&at);
    audit_case_open(&copy);

    write_records(1);
    (void)checkpoint_of(6, NULL, 0);
    struct bw_record record = audit_case_record(log_nr, 99);
    (void)audit_case_write(&copy, &record);
    await_alarm(BW_CONFLICT);
    while (bw_ok(bw_audit_health(copy.audit)))
        (void)sched_yield();
    assert_int_equal(bw_audit_health(copy.audit).code, BW_AUDIT_UNAVAILABLE);
    check_ok(bw_audit_health(at.audit));
    write_records(1);
    (void)checkpoint_of(7, NULL, 0);
    audit_case_remove(&copy);
}

/* ---- another key ---- */

static void rotate(void) { check_ok(bw_audit_rotate_key(at.audit, "n1", &next.signer, 1)); }

static uint32_t key_number(void)
{
    const struct bw_audit_options options = audit_case_options(&at);
    uint32_t number;

    check_ok(bw_audit_key_number(&options, &number));
    return number;
}

/* By which key, and that the keys lead from the first one to it. */
static const struct bw_note_signer *signer_of(uint32_t log, uint64_t size)
{
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint got;
    struct bw_succession       keys;
    struct bw_checkpoint       again;
    bw_bytes                   text;

    check_ok(bw_audit_checkpoint(at.audit, log, size, &arena, &got));
    check_ok(bw_note_verify(got.note, &got.key, 1, &text));
    check_ok(bw_succession_read(got.keys, &keys));
    if (keys.count > 0) {
        assert_true(bw_note_key_is_same(&keys.keys[0], &soft.signer.key));
        check_ok(bw_succession_verify(&keys, got.note, &again));
    }
    bool by_next = bw_note_key_is_same(&got.key, &next.signer.key);
    assert_true(by_next || bw_note_key_is_same(&got.key, &soft.signer.key));
    assert_int_equal(keys.count, by_next ? 2 : 0);
    bw_arena_clear(&arena);
    return by_next ? &next.signer : &soft.signer;
}

static void the_next_key_goes_on_from_where_the_one_before_ended(void **state)
{
    (void)state;
    write_records(5);
    struct bw_checkpoint before = checkpoint_of(5, NULL, 0);
    assert_ptr_equal(signer_of(log_nr, 5), &soft.signer);
    rotate();
    assert_ptr_equal(signer_of(log_nr, 5), &next.signer); /* the same tree, signed anew */
    assert_ptr_equal(signer_of(0, 2), &next.signer);
    write_records(3);
    assert_ptr_equal(signer_of(log_nr, 8), &next.signer);
    struct bw_checkpoint after = checkpoint_of(8, NULL, 0);
    struct bw_proof      proof;
    check_ok(bw_audit_prove_consistency(at.audit, log_nr, before.size, after.size, &proof));
    check_ok(bw_merkle_check_consistency(hasher, before.size, &before.root, after.size, &after.root, &proof));

    unsigned signatures = soft.signatures;
    audit_case_close(&at);
    assert_int_equal(key_number(), 1);
    at.signer = &next.signer;
    audit_case_open(&at);
    assert_ptr_equal(signer_of(log_nr, 8), &next.signer);
    assert_int_equal(soft.signatures, signatures);
    assert_int_equal(alarms, 0);
}

static void a_log_made_later_begins_with_the_key_of_its_day(void **state)
{
    struct bw_arena            arena = { 0 };
    struct bw_audit_checkpoint got;

    (void)state;
    rotate();
    uint32_t log = audit_case_log(&at, "late");
    struct bw_record record = audit_case_record(log, 1);
    (void)audit_case_write(&at, &record);
    check_ok(bw_audit_checkpoint(at.audit, log, 1, &arena, &got));
    assert_int_equal(got.keys.len, 0);
    assert_true(bw_note_key_is_same(&got.key, &next.signer.key));
    bw_arena_clear(&arena);
}

/* What an open log shall not be opened with, after a rotation. */
static void keep_old_key(void)    { at.signer = &soft.signer; }
static void guard_before(void)    { shell("cp %s/copy-guard.db %s/audit-guard.db", at.dir); at.signer = &soft.signer; }
static void forge_keys(void)      { change("audit-guard.db", "UPDATE signed SET keys = substr(keys, 1, length(keys) - 9) || x'41' || substr(keys, length(keys) - 7) WHERE size = 5"); }
static void forget_keys(void)     { change("audit-guard.db", "UPDATE signed SET keys = x'' WHERE size = 5"); }
static void forget_all(void)      { forget_keys(); change("audit-anchor.db", "UPDATE kept SET keys = x''"); at.signer = &soft.signer; }

static const struct { const char *what; void (*happens)(void); enum bw_code code; } after_rotation[] = {
    { "nothing",                                                leave_it,     BW_OK           },
    { "the retired key signs on",                               keep_old_key, BW_LOG_POSITION },
    { "the guard of before is put back, with the retired key",  guard_before, BW_LOG_POSITION },
    { "a note on a key is forged",                              forge_keys,   BW_LOG_POSITION },
    { "a log's keys are taken away",                            forget_keys,  BW_LOG_POSITION },
    { "everywhere, and the retired key signs on",               forget_all,   BW_LOG_POSITION },
};

static void a_retired_key_does_not_come_back(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(after_rotation); i++) {
        print_message("%s\n", after_rotation[i].what);
        write_records(5);
        (void)checkpoint_of(5, NULL, 0);
        audit_case_close(&at);
        shell("cp %s/audit-guard.db %s/copy-guard.db", at.dir);
        audit_case_open(&at);
        rotate();
        (void)checkpoint_of(5, NULL, 0);
        audit_case_close(&at);
        at.signer = &next.signer;
        after_rotation[i].happens();
        assert_int_equal(reopen().code, after_rotation[i].code);
        (void)drop(state);
        (void)make(state);
    }
}

/* A crash leaves an intent, and the guard with the switch or without it. */
static void what_a_crash_left_open_is_closed_by_what_the_guard_tells(void **state)
{
    const struct bw_record intent = { .operation = BW_DEED_NR(RotateLogKey), .outcome = BW_OUTCOME_INTENT, .key_version = 1, .principal = "n1" };
    uint64_t index;
    bool     was_done;

    (void)state;
    check_ok(bw_audit_write(at.audit, &intent, &index));
    check_ok(bw_audit_close_rotations(at.audit, "n1", 0, &was_done)); /* before the switch */
    assert_false(was_done);
    check_ok(bw_audit_write(at.audit, &intent, &index));
    (void)signer_of(0, index + 1);
    check_ok(bw_audit_succeed(at.audit, &next.signer, 1));
    audit_case_close(&at);                                            /* after it */
    at.signer = &next.signer;
    audit_case_open(&at);
    check_ok(bw_audit_close_rotations(at.audit, "n1", key_number(), &was_done));
    assert_true(was_done);
    check_ok(bw_audit_close_rotations(at.audit, "n1", key_number(), &was_done));
    assert_false(was_done);
}

static void an_hsm_that_does_not_sign_leaves_the_key_as_it_was(void **state)
{
    (void)state;
    write_records(2);
    (void)checkpoint_of(2, NULL, 0);
    (void)signer_of(0, 0);
    soft.broken = true;
    assert_int_equal(bw_audit_succeed(at.audit, &next.signer, 1).code, BW_HSM_UNAVAILABLE);
    soft.broken = false;
    assert_int_equal(key_number(), 0);
    write_records(1);
    assert_ptr_equal(signer_of(log_nr, 3), &soft.signer);
}

/* ---- the anchor log ---- */

static struct bw_note_key key_of(uint32_t log)
{
    struct bw_note_key key;

    check_ok(bw_note_key_make(bw_audit_origin(at.audit, log), BW_NOTE_ED25519, bw_bytes_of(soft.signer.key.key, soft.signer.key.key_len), &key));
    return key;
}

static int make_with_epochs(void **state)
{
    (void)make(state);
    audit_case_close(&at);
    at.epoch_ms = EPOCH_MS;
    audit_case_open(&at);
    return 0;
}

static void an_epoch_commits_to_every_log(void **state)
{
    struct bw_arena      arena = { 0 };
    struct bw_epoch      epoch;
    struct bw_checkpoint anchored;

    (void)state;
    write_records(3);
    struct bw_checkpoint last = checkpoint_of(3, NULL, 0);
    (void)await_anchor(log_nr, 0, &arena);
    uint32_t logs[] = { 0, log_nr };
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        struct bw_audit_anchor anchor = await_anchor(logs[i], 3, &arena);
        struct bw_note_key     key    = key_of(logs[i]);
        check_ok(bw_anchor_verify(&anchor.proof, &anchor.key, &key, &epoch, &anchored));
        assert_string_equal(anchor.key.name, "eu-central.example/audit/anchor");
        assert_int_equal(anchored.size, i == 0 ? 0 : last.size);
        assert_int_equal(anchor.proof.entry.len, BW_EPOCH_ENTRY_LEN);
    }
    bw_arena_clear(&arena);
}

static void epochs_go_on_while_nothing_happens(void **state)
{
    struct bw_arena arena = { 0 };
    struct bw_epoch epoch, before = { 0 };
    struct bw_checkpoint anchored;

    (void)state;
    struct bw_note_key key = key_of(log_nr);
    for (uint64_t index = 0; index < 5; index++) {
        struct bw_audit_anchor anchor = await_anchor(log_nr, index, &arena);
        check_ok(bw_anchor_verify(&anchor.proof, &anchor.key, &key, &epoch, &anchored));
        assert_int_equal(anchored.size, 0);
        assert_true(epoch.epoch > before.epoch && epoch.time_us > before.time_us);
        before = epoch;
        index  = anchor.proof.index;
    }
    bw_arena_clear(&arena);
}

static void nobody_takes_anothers_slot_for_his(void **state)
{
    struct bw_arena      arena = { 0 }, other_arena = { 0 };
    struct bw_epoch      epoch;
    struct bw_checkpoint anchored;

    (void)state;
    struct bw_audit_anchor anchor = await_anchor(log_nr, 0, &arena), other;
    for (;;) { /* of one epoch */
        other  = await_anchor(0, anchor.proof.index, &other_arena);
        anchor = await_anchor(log_nr, other.proof.index, &arena);
        if (anchor.proof.index == other.proof.index)
            break;
    }
    struct bw_note_key key = key_of(log_nr), other_key = key_of(0);
    struct bw_anchor_proof mixed = anchor.proof;
    mixed.slot      = other.proof.slot;
    mixed.slot_path = other.proof.slot_path;
    assert_int_equal(bw_anchor_verify(&mixed, &anchor.key, &key, &epoch, &anchored).code, BW_DATA_INVALID);
    assert_int_equal(bw_anchor_verify(&anchor.proof, &anchor.key, &other_key, &epoch, &anchored).code, BW_SIGNATURE_INVALID);
    for (size_t i = 0; i < 8 * anchor.proof.entry.len; i++) {
        ((uint8_t *)(uintptr_t)anchor.proof.entry.data)[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(bw_anchor_verify(&anchor.proof, &anchor.key, &key, &epoch, &anchored).code, BW_DATA_INVALID);
        ((uint8_t *)(uintptr_t)anchor.proof.entry.data)[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    check_ok(bw_anchor_verify(&anchor.proof, &anchor.key, &key, &epoch, &anchored));
    bw_arena_clear(&arena);
    bw_arena_clear(&other_arena);
}

/* CVE-2023-31438's shape: an idle log is cut off, together with the anchor log, and gone on with. */
static void an_anchor_log_that_was_put_back_does_not_open(void **state)
{
    struct bw_arena arena = { 0 };

    (void)state;
    (void)await_anchor(log_nr, 1, &arena);
    audit_case_close(&at);
    shell("cp %s/audit-anchor.db %s/copy-anchor.db", at.dir);
    audit_case_open(&at);
    (void)await_anchor(log_nr, 4, &arena);
    audit_case_close(&at);
    shell("cp %s/copy-anchor.db %s/audit-anchor.db", at.dir);
    assert_int_equal(reopen().code, BW_LOG_POSITION);
    assert_true(strstr(alarm_note, "eu-central.example/audit/anchor\n") == alarm_note);
    bw_arena_clear(&arena);
}

#define with_log(test)    cmocka_unit_test_setup_teardown(test, make, drop)
#define with_epochs(test) cmocka_unit_test_setup_teardown(test, make_with_epochs, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(a_record_is_signed_within_a_second),
        with_log(a_checkpoint_has_the_trees_root_and_goes_on_from_the_one_before),
        with_log(the_regions_own_log_and_empty_logs_are_signed_too),
        with_log(what_the_log_has_not_got_is_not_waited_for),
        with_log(a_checkpoint_is_the_same_after_a_restart),
        with_log(records_go_on_while_nobody_signs),
        with_log(nothing_is_signed_while_the_clock_is_behind),
        with_log(a_log_that_is_not_what_was_signed_does_not_open),
        with_log(of_two_daemons_on_copies_one_signs),
        with_log(the_next_key_goes_on_from_where_the_one_before_ended),
        with_log(a_log_made_later_begins_with_the_key_of_its_day),
        with_log(a_retired_key_does_not_come_back),
        with_log(what_a_crash_left_open_is_closed_by_what_the_guard_tells),
        with_log(an_hsm_that_does_not_sign_leaves_the_key_as_it_was),
        with_epochs(an_epoch_commits_to_every_log),
        with_epochs(epochs_go_on_while_nothing_happens),
        with_epochs(nobody_takes_anothers_slot_for_his),
        with_epochs(an_anchor_log_that_was_put_back_does_not_open),
    };
    return cmocka_run_group_tests(tests, make_hasher, drop_hasher);
}
