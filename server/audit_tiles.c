#include "audit_tiles.h"

#include <stdlib.h>
#include <string.h>

#include "audit_index_db.h"

static void bind_place(struct bw_sql *index, unsigned statement, uint32_t log, unsigned level, uint64_t number)
{
    bw_sql_bind_number(index, statement, 1, log);
    bw_sql_bind_number(index, statement, 2, level);
    bw_sql_bind_number(index, statement, 3, (int64_t)number);
}

bw_result bw_tile_read(struct bw_sql *index, uint32_t log, unsigned level, uint64_t number, struct bw_tile *ret_tile)
{
    bw_bytes hashes = { NULL, 0 };
    bool     row;

    bind_place(index, BW_INDEX_TILE, log, level, number);
    BW_TRY(bw_sql_step(index, BW_INDEX_TILE, &row));
    if (row)
        hashes = bw_sql_get_bytes(index, BW_INDEX_TILE, 0);
    bool fits = hashes.len > 0 && hashes.len % sizeof(bw_hash) == 0 && hashes.len <= sizeof ret_tile->hashes;
    if (fits) {
        *ret_tile = (struct bw_tile){ .level = level, .number = number, .count = hashes.len / sizeof(bw_hash) };
        memcpy(ret_tile->hashes, hashes.data, hashes.len);
    }
    bw_sql_reset(index, BW_INDEX_TILE);
    BW_CHECK(fits, BW_AUDIT_UNAVAILABLE, "the query index is damaged: a tile of the tree is missing");
    return bw_success();
}

/* ---- growing ---- */

static bw_result write_tile(struct bw_sql *index, uint32_t log, const struct bw_tile *tile)
{
    bind_place(index, BW_INDEX_PUT_TILE, log, tile->level, tile->number);
    bw_sql_bind_bytes(index, BW_INDEX_PUT_TILE, 4, bw_bytes_of(tile->hashes, tile->count * sizeof *tile->hashes));
    return bw_sql_run(index, BW_INDEX_PUT_TILE);
}

/* The partial tile that hash number place of the level goes into; an empty one where a tile begins. */
static bw_result open_tile(struct bw_sql *index, uint32_t log, unsigned level, uint64_t place, struct bw_tile **ret_tile)
{
    struct bw_tile *tile = calloc(1, sizeof *tile);
    size_t          had  = place % BW_TILE_HASHES;

    BW_CHECK(tile != NULL, BW_NO_MEMORY, "tree");
    tile->level  = level;
    tile->number = place >> BW_TILE_BITS;
    bw_result r = had > 0 ? bw_tile_read(index, log, level, tile->number, tile) : bw_success();
    if (bw_ok(r) && tile->count != had)
        r = bw_fail(BW_AUDIT_UNAVAILABLE, "the query index is damaged: a tile of the tree has another length");
    if (!bw_ok(r)) {
        free(tile);
        return r;
    }
    *ret_tile = tile;
    return bw_success();
}

/* Gives the tile's root and begins the next one in its place. */
static bw_result close_tile(struct bw_sql *index, uint32_t log, struct bw_tile *tile, struct bw_hasher *hasher, bw_hash *ret_root)
{
    BW_TRY(write_tile(index, log, tile));
    BW_TRY(bw_merkle_fold(hasher, tile->hashes, tile->count, ret_root));
    tile->number++;
    tile->count = 0;
    return bw_success();
}

bw_result bw_tiles_add(struct bw_sql *index, uint32_t log, struct bw_tile **partial, struct bw_hasher *hasher, uint64_t leaf_index, const bw_hash *leaf)
{
    bw_hash  hash  = *leaf;
    uint64_t place = leaf_index;

    for (unsigned level = 0;; level++, partial = &(*partial)->next, place >>= BW_TILE_BITS) {
        if (*partial == NULL)
            BW_TRY(open_tile(index, log, level, place, partial));
        struct bw_tile *tile = *partial;
        tile->hashes[tile->count++] = hash;
        if (tile->count < BW_TILE_HASHES)
            return bw_success();
        BW_TRY(close_tile(index, log, tile, hasher, &hash));
    }
}

bw_result bw_tiles_write(struct bw_sql *index, uint32_t log, const struct bw_tile *partial)
{
    for (; partial != NULL; partial = partial->next)
        if (partial->count > 0)
            BW_TRY(write_tile(index, log, partial));
    return bw_success();
}

void bw_tiles_drop(struct bw_tile **partial)
{
    while (*partial != NULL) {
        struct bw_tile *tile = *partial;
        *partial = tile->next;
        free(tile);
    }
}

/* ---- reading ---- */

static bw_result turn_to(struct bw_tile_tree *tree, unsigned level, uint64_t number)
{
    if (tree->has_tile && tree->tile.level == level && tree->tile.number == number)
        return bw_success();
    tree->has_tile = false;
    BW_TRY(bw_tile_read(tree->index, tree->log, level, number, &tree->tile));
    tree->has_tile = true;
    return bw_success();
}

bw_result bw_tile_tree_fetch(void *self, unsigned level, uint64_t index, bw_hash *ret_hash)
{
    struct bw_tile_tree *tree = self;
    unsigned height = level % BW_TILE_BITS; /* above the tile's own hashes */
    uint64_t first  = index << height;
    size_t   offset = first % BW_TILE_HASHES, count = (size_t)1 << height;
    bw_hash  nodes[BW_TILE_HASHES / 2];

    BW_TRY(turn_to(tree, level / BW_TILE_BITS, first >> BW_TILE_BITS));
    BW_CHECK(offset + count <= tree->tile.count, BW_AUDIT_UNAVAILABLE, "the tree does not reach that far");
    memcpy(nodes, tree->tile.hashes + offset, count * sizeof *nodes);
    return bw_merkle_fold(tree->hasher, nodes, count, ret_hash);
}
