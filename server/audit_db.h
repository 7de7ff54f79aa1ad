/* The file audit.db: one append-only table of records, the logs, and their heads. What is in it is evidence; everything
 * else about the log can be made again from it.
 *
 * Records are counted by position, from 1, over all logs of the region; a log counts its own by index, from 0. */
#ifndef BW_SERVER_AUDIT_DB_H
#define BW_SERVER_AUDIT_DB_H

#include <stdatomic.h>

#include "sql.h"
#include "bailiwick/names.h"

enum { BW_AUDIT_KEY_LEN = 32, BW_AUDIT_ORIGIN_MAX = 255 + 48 };

/* A log as it is kept. */
struct bw_audit_log_row {
    uint32_t  number;
    bw_tenant tenant;                        /* empty: the region's own */
    char      origin[BW_AUDIT_ORIGIN_MAX + 1];
    uint8_t   pseudonym_key[BW_AUDIT_KEY_LEN]; /* of principal tags */
    uint8_t   tag_key[BW_AUDIT_KEY_LEN];       /* of tags of additional data and encryption context */
    uint64_t  size;
    int64_t   last_us;
};

struct bw_audit_db_row { uint64_t position; uint32_t log; uint64_t index; bw_bytes essential, who, context; };

struct bw_audit_db {
    struct bw_sql   sql;
    bool            full;      /* the last failure was for want of space */
    atomic_uint    *wal_pages; /* in the write-ahead log since it began, as this connection's commits see it */
};

enum bw_audit_db_use { BW_AUDIT_DB_WRITES, BW_AUDIT_DB_READS, BW_AUDIT_DB_CHECKPOINTS };

/* Makes the file and the region's own log, all or nothing. BW_ALREADY_EXISTS: there is one. */
bw_result bw_audit_db_create(const char *path, const bw_region *region, const struct bw_audit_log_row *own);

/* BW_AUDIT_UNAVAILABLE: there is none, or it is damaged; BW_WRONG_REGION: another region's. All zero is a valid closed one. */
bw_result bw_audit_db_open(const char *path, const bw_region *region, enum bw_audit_db_use use, struct bw_audit_db *ret_db);
void      bw_audit_db_close(struct bw_audit_db *db);

/* Lays out the write-ahead log's blocks: it is that long from now on, with nothing in it behind what is there. A commit
 * then writes where something was already, and syncing it need not wait for the file system's journal as well, which takes
 * half of the time again. Best effort: without it the file grows as it is needed. Before the first commit. */
void bw_audit_db_lay_out(const char *path, size_t len);

/* Whoever writes: begin, any of the next three, commit; on any failure roll back. After a commit that failed it is not
 * known whether it took: read the heads again before the next. */
bw_result bw_audit_db_begin(struct bw_audit_db *db);
bw_result bw_audit_db_add_log(struct bw_audit_db *db, const struct bw_audit_log_row *log);
bw_result bw_audit_db_append(struct bw_audit_db *db, const struct bw_audit_db_row *row);
bw_result bw_audit_db_set_head(struct bw_audit_db *db, uint32_t log, uint64_t size, int64_t last_us);
bw_result bw_audit_db_commit(struct bw_audit_db *db);
void      bw_audit_db_roll_back(struct bw_audit_db *db);

/* From here to rolling back, all that is read is of one state. */
bw_result bw_audit_db_read(struct bw_audit_db *db);

/* Reading. Rows and what they point to are borrowed until the callback returns. */
bw_result bw_audit_db_each_log(struct bw_audit_db *db, bw_result (*each)(void *self, const struct bw_audit_log_row *log), void *self);
bw_result bw_audit_db_length(struct bw_audit_db *db, uint64_t *ret_length); /* position of the last record */
bw_result bw_audit_db_each_row(struct bw_audit_db *db, uint64_t from_position, uint64_t to_position,
                               bw_result (*each)(void *self, const struct bw_audit_db_row *row), void *self); /* both inclusive */

/* Moves what the write-ahead log holds into the file, as far as readers and the writer allow; never makes them wait.
 * *ret_all: nothing is left, so the next commit starts it again from its beginning. */
bw_result bw_audit_db_checkpoint(struct bw_audit_db *db, bool *ret_all);

/* Length of the write-ahead log after this connection's last commit. Any thread. */
unsigned bw_audit_db_wal_pages(const struct bw_audit_db *db);

#endif
