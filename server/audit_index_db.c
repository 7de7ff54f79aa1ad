#include "audit_index_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "audit_lists.h"

enum { APPLICATION_ID = 0x42574958, SCHEMA_VERSION = 3, PATH_ROOM = 4096 + 8 };

#define NEW_LIST   "SELECT offsets FROM list WHERE log = ?1 AND segment = ?2 AND kind = ?3 AND value = ?4"
#define MOVED_LIST "SELECT offsets FROM moved WHERE log = ?1 AND chunk = ?2 >> 4 AND kind = ?3 AND value = ?4 AND segment = ?2"
_Static_assert(BW_CHUNK_BITS == 4, "as in the statement");

static const char *const statements[] = {
    [BW_INDEX_BEGIN]        = "BEGIN IMMEDIATE",
    [BW_INDEX_READ]         = "BEGIN",
    [BW_INDEX_COMMIT]       = "COMMIT",
    [BW_INDEX_ADD_ENTRY]    = "INSERT INTO entry (log, idx, position, time_us) VALUES (?1, ?2, ?3, ?4)",
    [BW_INDEX_ADD_LIST]     = "INSERT INTO list (log, segment, kind, value, first, offsets) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [BW_INDEX_EACH_PIECE]   = "SELECT kind, value, offsets FROM list WHERE log = ?1 AND segment = ?2 AND kind < ?3 ORDER BY kind, value, first",
    [BW_INDEX_ADD_MOVED]    = "INSERT INTO moved (log, chunk, kind, value, segment, offsets) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [BW_INDEX_DROP_PIECES]  = "DELETE FROM list WHERE log = ?1 AND segment = ?2 AND (kind, value) <= (?3, ?4)",
    [BW_INDEX_SET_MOVED]    = "UPDATE fed SET moved = ?2 WHERE log = ?1",
    [BW_INDEX_ADD_INTENT]   = "INSERT INTO intent (position, log, idx) VALUES (?1, ?2, ?3)",
    [BW_INDEX_CLOSE_INTENT] = "DELETE FROM intent WHERE log = ?1 AND idx = ?2",
    [BW_INDEX_SET_FED]      = "INSERT INTO fed (log, size) VALUES (?1, ?2) ON CONFLICT (log) DO UPDATE SET size = excluded.size",
    [BW_INDEX_SET_POSITION] = "UPDATE state SET position = ?1, mark = ?2",
    [BW_INDEX_POSITION]     = "SELECT position, mark FROM state",
    [BW_INDEX_SIZE]         = "SELECT size, moved FROM fed WHERE log = ?1",
    [BW_INDEX_EACH_FED]     = "SELECT log, size, moved FROM fed ORDER BY log",
    [BW_INDEX_ENTRY]        = "SELECT position, time_us FROM entry WHERE log = ?1 AND idx = ?2",
    [BW_INDEX_LIST]         = NEW_LIST " UNION ALL " MOVED_LIST,
    [BW_INDEX_NEW_LIST]     = NEW_LIST,
    [BW_INDEX_MOVED_LIST]   = MOVED_LIST,
    [BW_INDEX_EACH_INTENT]  = "SELECT position FROM intent ORDER BY position",
    [BW_INDEX_PUT_TILE]     = ("INSERT INTO tile (log, level, number, hashes) VALUES (?1, ?2, ?3, ?4)"
                               " ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes"),
    [BW_INDEX_TILE]         = "SELECT hashes FROM tile WHERE log = ?1 AND level = ?2 AND number = ?3",
};

/* A list's rows of one segment lie side by side, and only a log's newest segment is written to, so that inserts stay in
 * few pages however large the index is; moved: audit_move.h. intent is small: open ones only. mark: the first bytes of the last record fed. */
static const char schema[] =
    "PRAGMA page_size = 4096;"
    "PRAGMA journal_mode = WAL;"
    "BEGIN;"
    "CREATE TABLE state (position INTEGER NOT NULL, mark BLOB NOT NULL);"
    "INSERT INTO state (position, mark) VALUES (0, x'');"
    "CREATE TABLE fed (log INTEGER PRIMARY KEY, size INTEGER NOT NULL, moved INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE entry (log INTEGER, idx INTEGER, position INTEGER NOT NULL, time_us INTEGER NOT NULL, PRIMARY KEY (log, idx)) WITHOUT ROWID;"
    "CREATE TABLE list (log INTEGER, segment INTEGER, kind INTEGER, value BLOB, first INTEGER, offsets BLOB NOT NULL,"
    " PRIMARY KEY (log, segment, kind, value, first)) WITHOUT ROWID;"
    "CREATE TABLE moved (log INTEGER, chunk INTEGER, kind INTEGER, value BLOB, segment INTEGER, offsets BLOB NOT NULL,"
    " PRIMARY KEY (log, chunk, kind, value, segment)) WITHOUT ROWID;"
    "CREATE TABLE intent (position INTEGER PRIMARY KEY, log INTEGER NOT NULL, idx INTEGER NOT NULL, UNIQUE (log, idx));"
    "CREATE TABLE tile (log INTEGER, level INTEGER, number INTEGER, hashes BLOB NOT NULL, PRIMARY KEY (log, level, number)) WITHOUT ROWID;"
    "PRAGMA application_id = 0x42574958;"
    "PRAGMA user_version = 3;"
    "COMMIT;";

/* NORMAL: a power cut may take the newest commits, which are then fed again, and never damages the file. */
static const char setup[] =
    "PRAGMA busy_timeout = 5000;"
    "PRAGMA synchronous = NORMAL;"
    "PRAGMA secure_delete = ON;"
    "PRAGMA wal_autocheckpoint = 4000;"
    "PRAGMA cache_size = -16384;";

static bw_result set_up(struct bw_sql *sql)
{
    BW_TRY(bw_sql_execute(sql, setup));
    BW_TRY(bw_sql_check_kind(sql, APPLICATION_ID, SCHEMA_VERSION));
    return bw_sql_prepare(sql, statements, ARRAY_LEN(statements));
}

bw_result bw_index_db_open(const char *path, bool to_write, struct bw_sql *ret_sql)
{
    struct bw_sql sql;

    BW_TRY(bw_sql_open(path, to_write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, BW_AUDIT_UNAVAILABLE, "", &sql));
    bw_result r = set_up(&sql);
    if (!bw_ok(r)) {
        bw_sql_close(&sql);
        return r;
    }
    *ret_sql = sql;
    return bw_success();
}

static bw_result remove_file(const char *path, const char *suffix)
{
    char name[PATH_ROOM];
    int  len = snprintf(name, sizeof name, "%s%s", path, suffix);

    BW_CHECK(len > 0 && (size_t)len < sizeof name, BW_CONFIG_INVALID, "the audit directory's name is too long");
    BW_CHECK(unlink(name) == 0 || errno == ENOENT, BW_AUDIT_UNAVAILABLE, "the query index cannot be removed to make it again");
    return bw_success();
}

bw_result bw_index_db_create(const char *path, struct bw_sql *ret_sql)
{
    BW_TRY(remove_file(path, "-wal"));
    BW_TRY(remove_file(path, "-shm"));
    BW_TRY(remove_file(path, ""));
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    BW_CHECK(file >= 0, BW_AUDIT_UNAVAILABLE, "the query index cannot be created");
    (void)close(file);

    struct bw_sql sql;
    BW_TRY(bw_sql_open(path, SQLITE_OPEN_READWRITE, BW_AUDIT_UNAVAILABLE, schema, &sql));
    bw_sql_close(&sql);
    return bw_index_db_open(path, true, ret_sql);
}
