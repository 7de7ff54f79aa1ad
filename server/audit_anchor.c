#include "audit_anchor.h"

#include <string.h>
#include <unistd.h>

enum statement { BEGIN, COMMIT, EACH, ADD, KEEP, EACH_KEPT, KEPT_KEYS };

static const char *const statements[] = {
    [BEGIN]     = "BEGIN IMMEDIATE",
    [COMMIT]    = "COMMIT",
    [EACH]      = "SELECT number, epoch, entry FROM epoch ORDER BY number",
    [ADD]       = "INSERT INTO epoch (number, epoch, entry) VALUES (?1, ?2, ?3)",
    [KEEP]      = "REPLACE INTO kept (origin, size, root, note, signed_us, keys) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [EACH_KEPT] = "SELECT origin, size, root, note, signed_us, keys FROM kept ORDER BY origin",
    [KEPT_KEYS] = "SELECT keys FROM kept WHERE origin = ?1",
};

static const struct bw_audit_file_kind kind = {
    .tables = "CREATE TABLE epoch (number INTEGER PRIMARY KEY, epoch INTEGER NOT NULL UNIQUE, entry BLOB NOT NULL);"
              "CREATE TABLE kept (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, signed_us INTEGER NOT NULL,"
              " keys BLOB NOT NULL)",
    .application_id = 0x42574531, .statements = statements, .statement_count = ARRAY_LEN(statements),
};

bw_result bw_anchor_create(const char *path, const bw_region *region)
{
    return bw_audit_file_create(path, &kind, region);
}

/* ---- reading ---- */

static bw_result add_leaf(struct bw_frontier *frontier, struct bw_hasher *hasher, bw_bytes entry)
{
    bw_hash leaf;

    BW_TRY(bw_merkle_leaf(hasher, entry, &leaf));
    return bw_frontier_add(frontier, hasher, &leaf);
}

/* The first size entries, or all when there are fewer, counted from 0 without a gap. */
static bw_result read_entries(struct bw_anchor *anchor, struct bw_hasher *hasher, uint64_t size, struct bw_frontier *frontier, uint64_t *ret_epoch)
{
    bw_result r   = bw_success();
    bool      row = true;

    while (bw_ok(r) && frontier->size < size) {
        BW_TRY(bw_sql_step(&anchor->sql, EACH, &row));
        if (!row)
            break;
        bw_bytes entry  = bw_sql_get_bytes(&anchor->sql, EACH, 2);
        bool     in_row = (uint64_t)bw_sql_get_number(&anchor->sql, EACH, 0) == frontier->size && entry.len == BW_EPOCH_ENTRY_LEN;
        *ret_epoch = (uint64_t)bw_sql_get_number(&anchor->sql, EACH, 1);
        r = in_row ? add_leaf(frontier, hasher, entry) : bw_fail(BW_AUDIT_UNAVAILABLE, "the anchor log is damaged");
    }
    bw_sql_reset(&anchor->sql, EACH);
    return r;
}

bw_result bw_anchor_open(const char *path, const bw_region *region, struct bw_hasher *hasher, struct bw_anchor *ret_anchor)
{
    struct bw_anchor anchor = { .epoch = 0 };

    BW_CHECK(access(path, F_OK) == 0, BW_AUDIT_UNAVAILABLE, "the anchor log is missing");
    BW_TRY(bw_audit_file_open(path, &kind, region, &anchor.sql));
    bw_result r = read_entries(&anchor, hasher, UINT64_MAX, &anchor.frontier, &anchor.epoch);
    if (!bw_ok(r)) {
        bw_sql_close(&anchor.sql);
        return r;
    }
    *ret_anchor = anchor;
    return bw_success();
}

void bw_anchor_close(struct bw_anchor *anchor)
{
    bw_sql_close(&anchor->sql);
}

bw_result bw_anchor_root(struct bw_anchor *anchor, struct bw_hasher *hasher, uint64_t size, bw_hash *ret_root)
{
    struct bw_frontier frontier = { .size = 0 };
    uint64_t epoch;

    BW_CHECK(size <= anchor->frontier.size, BW_LOG_POSITION, "the anchor log is shorter than its last checkpoint");
    BW_TRY(read_entries(anchor, hasher, size, &frontier, &epoch));
    return bw_frontier_root(&frontier, hasher, ret_root);
}

/* ---- adding ---- */

/* The newest leaf's path is the right edge before it came: what is to its left, from the lowest level up. */
static void path_of_newest(const struct bw_frontier *before, struct bw_proof *ret_inclusion)
{
    struct bw_proof path = { .count = 0 };

    for (unsigned level = 0; level < 64; level++)
        if (before->size >> level & 1)
            path.hashes[path.count++] = before->edge[level];
    *ret_inclusion = path;
}

static bw_result read_again(struct bw_anchor *anchor, struct bw_hasher *hasher)
{
    struct bw_frontier frontier = { .size = 0 };

    if (!anchor->in_doubt)
        return bw_success();
    BW_TRY(read_entries(anchor, hasher, UINT64_MAX, &frontier, &anchor->epoch));
    anchor->frontier = frontier;
    anchor->in_doubt = false;
    return bw_success();
}

static bw_result keep(struct bw_sql *sql, const struct bw_guarded *row)
{
    bw_sql_bind_text(sql, KEEP, 1, bw_bytes_text(row->checkpoint.origin));
    bw_sql_bind_number(sql, KEEP, 2, (int64_t)row->checkpoint.size);
    bw_sql_bind_bytes(sql, KEEP, 3, bw_bytes_of(row->checkpoint.root.bytes, sizeof row->checkpoint.root.bytes));
    bw_sql_bind_bytes(sql, KEEP, 4, row->note);
    bw_sql_bind_number(sql, KEEP, 5, row->signed_us);
    bw_sql_bind_bytes(sql, KEEP, 6, row->keys);
    return bw_sql_run(sql, KEEP);
}

static bw_result store(struct bw_anchor *anchor, uint64_t epoch, bw_bytes entry, const struct bw_guarded *kept, size_t kept_count)
{
    for (size_t i = 0; i < kept_count; i++)
        BW_TRY(keep(&anchor->sql, &kept[i]));
    bw_sql_bind_number(&anchor->sql, ADD, 1, (int64_t)anchor->frontier.size);
    bw_sql_bind_number(&anchor->sql, ADD, 2, (int64_t)epoch);
    bw_sql_bind_bytes(&anchor->sql, ADD, 3, entry);
    BW_TRY(bw_sql_run(&anchor->sql, ADD));
    return bw_sql_run(&anchor->sql, COMMIT);
}

bw_result bw_anchor_keep_keys(struct bw_anchor *anchor, const struct bw_guarded *row)
{
    bool there;

    bw_sql_bind_text(&anchor->sql, KEPT_KEYS, 1, bw_bytes_text(row->checkpoint.origin));
    BW_TRY(bw_sql_step(&anchor->sql, KEPT_KEYS, &there));
    bw_bytes kept = there ? bw_sql_get_bytes(&anchor->sql, KEPT_KEYS, 0) : bw_bytes_of(NULL, 0);
    bool goes_on = kept.len <= row->keys.len && (kept.len == 0 || memcmp(kept.data, row->keys.data, kept.len) == 0);
    bool same    = kept.len == row->keys.len;
    bw_sql_reset(&anchor->sql, KEPT_KEYS);
    BW_CHECK(goes_on, BW_LOG_POSITION, "the guard file was put back: the log's key was replaced since");
    return same ? bw_success() : keep(&anchor->sql, row);
}

bw_result bw_anchor_each_kept(struct bw_anchor *anchor, bw_result (*each)(void *self, const struct bw_guarded *row), void *self)
{
    struct bw_guarded row;
    bw_result r    = bw_success();
    bool      more = true;

    while (bw_ok(r)) {
        BW_TRY(bw_sql_step(&anchor->sql, EACH_KEPT, &more));
        if (!more)
            break;
        r = bw_guarded_of_row(&anchor->sql, EACH_KEPT, &row);
        if (bw_ok(r))
            r = each(self, &row);
    }
    bw_sql_reset(&anchor->sql, EACH_KEPT);
    return r;
}

bw_result bw_anchor_add(struct bw_anchor *anchor, struct bw_hasher *hasher, const struct bw_epoch *epoch, const struct bw_guarded *kept, size_t kept_count,
                        struct bw_proof *ret_inclusion)
{
    struct bw_frontier grown;
    uint8_t entry[BW_EPOCH_ENTRY_LEN];

    BW_TRY(read_again(anchor, hasher));
    grown = anchor->frontier;
    bw_epoch_print(epoch, entry);
    BW_TRY(add_leaf(&grown, hasher, bw_bytes_of(entry, sizeof entry)));
    BW_TRY(bw_sql_run(&anchor->sql, BEGIN));
    anchor->in_doubt = true;
    bw_result r = store(anchor, epoch->epoch, bw_bytes_of(entry, sizeof entry), kept, kept_count);
    if (!bw_ok(r)) {
        bw_sql_roll_back(&anchor->sql);
        return r;
    }
    anchor->in_doubt = false;
    path_of_newest(&anchor->frontier, ret_inclusion);
    anchor->frontier = grown;
    anchor->epoch    = epoch->epoch;
    return bw_success();
}
