#include "audit_move.h"

#include <string.h>

enum { PIECES_MAX = 4096 }; /* read at a time: some milliseconds, for which the records that come wait */

struct moving {
    struct bw_list_mover *mover;
    struct bw_sql        *sql;
    uint32_t              log;
    uint64_t              segment;
    int64_t               kind;      /* of the list under way, none while len is 0 */
    uint8_t               value[BW_LIST_VALUE_LEN];
    size_t                value_len, len;
};

static void bind_list(const struct moving *moving, unsigned statement, uint64_t part)
{
    bw_sql_bind_number(moving->sql, statement, 1, moving->log);
    bw_sql_bind_number(moving->sql, statement, 2, (int64_t)part);
    bw_sql_bind_number(moving->sql, statement, 3, moving->kind);
    bw_sql_bind_bytes(moving->sql, statement, 4, bw_bytes_of(moving->value, moving->value_len));
}

/* A set of bits where that is shorter. */
static bw_bytes shortest(struct bw_list_mover *mover, size_t len)
{
    uint8_t map[BW_LIST_MAP_LEN] = { 0 };

    if (len < sizeof map)
        return bw_bytes_of(mover->offsets, len);
    for (size_t i = 0; i < len; i += BW_OFFSET_LEN)
        map[mover->offsets[i] << 5 | mover->offsets[i + 1] >> 3] |= (uint8_t)(1 << mover->offsets[i + 1] % 8);
    memcpy(mover->offsets, map, sizeof map);
    return bw_bytes_of(mover->offsets, sizeof map);
}

static bw_result put_list(struct moving *moving)
{
    bind_list(moving, BW_INDEX_ADD_MOVED, moving->segment >> BW_CHUNK_BITS);
    bw_sql_bind_number(moving->sql, BW_INDEX_ADD_MOVED, 5, (int64_t)moving->segment);
    bw_sql_bind_bytes(moving->sql, BW_INDEX_ADD_MOVED, 6, shortest(moving->mover, moving->len));
    BW_TRY(bw_sql_run(moving->sql, BW_INDEX_ADD_MOVED));
    moving->len = 0;
    return bw_success();
}

static bool goes_on(const struct moving *moving, int64_t kind, bw_bytes value)
{
    return moving->kind == kind && bw_bytes_equal(bw_bytes_of(moving->value, moving->value_len), value);
}

/* The row that stands in BW_INDEX_EACH_PIECE. Pieces of a list come in order, and each is in order itself. */
static bw_result take_piece(struct moving *moving)
{
    bw_bytes value   = bw_sql_get_bytes(moving->sql, BW_INDEX_EACH_PIECE, 1);
    bw_bytes offsets = bw_sql_get_bytes(moving->sql, BW_INDEX_EACH_PIECE, 2);

    BW_CHECK(value.len <= sizeof moving->value && offsets.len > 0 && offsets.len % BW_OFFSET_LEN == 0 &&
             offsets.len <= sizeof moving->mover->offsets - moving->len, BW_AUDIT_UNAVAILABLE, "the query index is damaged");
    if (moving->len == 0) {
        moving->kind      = bw_sql_get_number(moving->sql, BW_INDEX_EACH_PIECE, 0);
        moving->value_len = value.len;
        if (value.len > 0) /* else it is all zeros, and there is nothing to point at */
            memcpy(moving->value, value.data, value.len);
    }
    memcpy(moving->mover->offsets + moving->len, offsets.data, offsets.len);
    moving->len += offsets.len;
    return bw_success();
}

/* Whole lists only. */
static bw_result put_lists(struct moving *moving, bool *ret_all)
{
    bool row = true;

    for (unsigned pieces = 0;; pieces++) {
        BW_TRY(bw_sql_step(moving->sql, BW_INDEX_EACH_PIECE, &row));
        bool ends = !row || !goes_on(moving, bw_sql_get_number(moving->sql, BW_INDEX_EACH_PIECE, 0), bw_sql_get_bytes(moving->sql, BW_INDEX_EACH_PIECE, 1));
        if (moving->len > 0 && ends)
            BW_TRY(put_list(moving));
        if (!row || (ends && pieces >= PIECES_MAX))
            break;
        BW_TRY(take_piece(moving));
    }
    *ret_all = !row;
    return bw_success();
}

bw_result bw_lists_move(struct bw_list_mover *mover, struct bw_sql *sql, uint32_t log, uint64_t segment, bool *ret_all)
{
    struct moving moving = { .mover = mover, .sql = sql, .log = log, .segment = segment };
    bool all;

    bw_sql_bind_number(sql, BW_INDEX_EACH_PIECE, 1, log);
    bw_sql_bind_number(sql, BW_INDEX_EACH_PIECE, 2, (int64_t)segment);
    bw_sql_bind_number(sql, BW_INDEX_EACH_PIECE, 3, BW_LIST_REQUEST);
    bw_result r = put_lists(&moving, &all);
    bw_sql_reset(sql, BW_INDEX_EACH_PIECE);
    BW_TRY(r);
    bind_list(&moving, BW_INDEX_DROP_PIECES, segment);
    BW_TRY(bw_sql_run(sql, BW_INDEX_DROP_PIECES));
    *ret_all = all;
    return bw_success();
}
