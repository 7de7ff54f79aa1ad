#include "audit_guard.h"

#include <string.h>
#include <unistd.h>

enum statement { BEGIN, COMMIT, EACH, ADD, MOVE, SUCCEED, LONGEST };

static const char *const statements[] = {
    [BEGIN]  = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [EACH]   = "SELECT origin, size, root, note, signed_us, keys FROM signed ORDER BY origin",
    [ADD]    = "INSERT INTO signed (origin, size, root, note, signed_us, keys) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    [MOVE]   = "UPDATE signed SET size = ?2, root = ?3, note = ?4, signed_us = ?5 WHERE origin = ?1 AND size = ?6 AND root = ?7",
    [SUCCEED] = "UPDATE signed SET keys = ?2 WHERE origin = ?1 AND size = ?3 AND root = ?4 AND keys = ?5",
    [LONGEST] = "SELECT keys FROM signed ORDER BY length(keys) DESC LIMIT 1", /* the region's own log has had all of its keys */
};

static const struct bw_audit_file_kind kind = {
    .tables = "CREATE TABLE signed (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, signed_us INTEGER NOT NULL,"
              " keys BLOB NOT NULL)",
    .application_id = 0x42574731, .statements = statements, .statement_count = ARRAY_LEN(statements),
};

bw_result bw_audit_guard_create(const char *path, const bw_region *region)
{
    return bw_audit_file_create(path, &kind, region);
}

bw_result bw_audit_guard_open(const char *path, const bw_region *region, struct bw_audit_guard *ret_guard)
{
    BW_CHECK(access(path, F_OK) == 0, BW_AUDIT_UNAVAILABLE, "the guard file is missing");
    return bw_audit_file_open(path, &kind, region, &ret_guard->sql);
}

void bw_audit_guard_close(struct bw_audit_guard *guard)
{
    bw_sql_close(&guard->sql);
}

/* ---- reading ---- */

bw_result bw_guarded_of_row(struct bw_sql *sql, unsigned statement, struct bw_guarded *ret_row)
{
    struct bw_guarded row = { .note = bw_sql_get_bytes(sql, statement, 3), .signed_us = bw_sql_get_number(sql, statement, 4),
                              .keys = bw_sql_get_bytes(sql, statement, 5) };
    bw_bytes origin = bw_sql_get_bytes(sql, statement, 0), root = bw_sql_get_bytes(sql, statement, 2);

    BW_CHECK(origin.len > 0 && origin.len < sizeof row.checkpoint.origin && root.len == sizeof row.checkpoint.root && row.note.len <= BW_NOTE_MAX,
             BW_AUDIT_UNAVAILABLE, "a checkpoint that was kept is damaged");
    memcpy(row.checkpoint.origin, origin.data, origin.len);
    memcpy(row.checkpoint.root.bytes, root.data, root.len);
    row.checkpoint.size = (uint64_t)bw_sql_get_number(sql, statement, 1);

    *ret_row = row;
    return bw_success();
}

bw_result bw_audit_guard_each(struct bw_audit_guard *guard, bw_result (*each)(void *self, const struct bw_guarded *row), void *self)
{
    struct bw_guarded row;
    bw_result r    = bw_success();
    bool      more = true;

    while (bw_ok(r)) {
        BW_TRY(bw_sql_step(&guard->sql, EACH, &more));
        if (!more)
            break;
        r = bw_guarded_of_row(&guard->sql, EACH, &row);
        if (bw_ok(r))
            r = each(self, &row);
    }
    bw_sql_reset(&guard->sql, EACH);
    return r;
}

static bool notes_checkpoint_is(const struct bw_checkpoint *noted, const struct bw_checkpoint *row)
{
    return strcmp(noted->origin, row->origin) == 0 && noted->size == row->size && bw_hash_equal(&noted->root, &row->root);
}

static bw_result check_by(const struct bw_note_key *key, bw_bytes note, struct bw_checkpoint *ret_checkpoint)
{
    bw_bytes text;

    BW_TRY(bw_note_verify(note, key, 1, &text));
    return bw_checkpoint_parse(text, ret_checkpoint);
}

bw_result bw_guarded_check(const struct bw_guarded *row, const struct bw_note_key *key, bool *ret_by_key)
{
    struct bw_note_key   named;
    struct bw_succession succession;
    struct bw_checkpoint noted;

    BW_TRY(bw_note_key_make(row->checkpoint.origin, key->type, bw_bytes_of(key->key, key->key_len), &named));
    BW_CHECK(bw_ok(bw_succession_read(row->keys, &succession)), BW_LOG_POSITION, "the notes on a log's keys are not as they were signed");
    BW_CHECK(succession.count == 0 || bw_note_key_is_same(bw_succession_last(&succession), &named), BW_LOG_POSITION,
             "the HSM's log key is not the one that the log's keys lead to");
    bool by_key = bw_ok(check_by(&named, row->note, &noted));
    bool good   = succession.count == 0 ? by_key : bw_ok(bw_succession_verify(&succession, row->note, &noted));
    BW_CHECK(good && notes_checkpoint_is(&noted, &row->checkpoint), BW_LOG_POSITION, "a checkpoint that was kept is not one that the region's key signed");

    *ret_by_key = by_key;
    return bw_success();
}

bw_result bw_audit_guard_key_number(struct bw_audit_guard *guard, uint64_t *ret_number)
{
    struct bw_succession succession = { 0 };
    bool there;

    BW_TRY(bw_sql_step(&guard->sql, LONGEST, &there));
    bw_result r = there ? bw_succession_read(bw_sql_get_bytes(&guard->sql, LONGEST, 0), &succession) : bw_success();
    bw_sql_reset(&guard->sql, LONGEST);
    BW_CHECK(bw_ok(r), BW_LOG_POSITION, "the notes on a log's keys are not as they were signed");
    *ret_number = bw_succession_number(&succession);
    return bw_success();
}

/* ---- moving ---- */

bw_result bw_audit_guard_begin(struct bw_audit_guard *guard)
{
    return bw_sql_run(&guard->sql, BEGIN);
}

bw_result bw_audit_guard_move(struct bw_audit_guard *guard, const struct bw_checkpoint *before, const struct bw_guarded *now)
{
    const unsigned statement = before == NULL ? ADD : MOVE;
    struct bw_sql *sql = &guard->sql;

    bw_sql_bind_text(sql, statement, 1, bw_bytes_text(now->checkpoint.origin));
    bw_sql_bind_number(sql, statement, 2, (int64_t)now->checkpoint.size);
    bw_sql_bind_bytes(sql, statement, 3, bw_bytes_of(now->checkpoint.root.bytes, sizeof now->checkpoint.root.bytes));
    bw_sql_bind_bytes(sql, statement, 4, now->note);
    bw_sql_bind_number(sql, statement, 5, now->signed_us);
    if (before == NULL)
        bw_sql_bind_bytes(sql, ADD, 6, now->keys);
    if (before != NULL) {
        bw_sql_bind_number(sql, statement, 6, (int64_t)before->size);
        bw_sql_bind_bytes(sql, statement, 7, bw_bytes_of(before->root.bytes, sizeof before->root.bytes));
    }
    BW_TRY(bw_sql_run(sql, statement));
    BW_CHECK(sqlite3_changes(sql->db) == 1, BW_CONFLICT, "the guard file holds another checkpoint: somebody else signs this log");
    return bw_success();
}

bw_result bw_audit_guard_succeed(struct bw_audit_guard *guard, const struct bw_checkpoint *last, bw_bytes keys_before, bw_bytes keys)
{
    struct bw_sql *sql = &guard->sql;

    bw_sql_bind_text(sql, SUCCEED, 1, bw_bytes_text(last->origin));
    bw_sql_bind_bytes(sql, SUCCEED, 2, keys);
    bw_sql_bind_number(sql, SUCCEED, 3, (int64_t)last->size);
    bw_sql_bind_bytes(sql, SUCCEED, 4, bw_bytes_of(last->root.bytes, sizeof last->root.bytes));
    bw_sql_bind_bytes(sql, SUCCEED, 5, keys_before);
    BW_TRY(bw_sql_run(sql, SUCCEED));
    BW_CHECK(sqlite3_changes(sql->db) == 1, BW_CONFLICT, "the guard file holds another checkpoint: somebody else signs this log");
    return bw_success();
}

bw_result bw_audit_guard_commit(struct bw_audit_guard *guard)
{
    return bw_sql_run(&guard->sql, COMMIT);
}

void bw_audit_guard_roll_back(struct bw_audit_guard *guard)
{
    bw_sql_roll_back(&guard->sql);
}
