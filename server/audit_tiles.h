/* A log's Merkle tree in the index: tiles of 256 hashes side by side (c2sp.org/tlog-tiles). Tile n of level l holds the roots
 * of the complete subtrees over 256^l leaves, from leaf n * 256^(l + 1) on; so a full tile's own root stands in the level
 * above. The last tile of a level is partial. Whatever a proof needs, it is in at most two tiles of each level. */
#ifndef BW_SERVER_AUDIT_TILES_H
#define BW_SERVER_AUDIT_TILES_H

#include "sql.h"
#include "merkle.h"

enum { BW_TILE_BITS = 8, BW_TILE_HASHES = 1 << BW_TILE_BITS, BW_TILE_LEVELS = 8 };

struct bw_tile {
    struct bw_tile *next;    /* the partial tile of the level above, while a tree grows */
    unsigned        level;
    uint64_t        number;
    size_t          count;
    bw_hash         hashes[BW_TILE_HASHES];
};

/* BW_AUDIT_UNAVAILABLE: it is not there, or no tile. */
bw_result bw_tile_read(struct bw_sql *index, uint32_t log, unsigned level, uint64_t number, struct bw_tile *ret_tile);

/* ---- growing: within a transaction of the index's thread ---- */

/* Adds the leaf of that index, which is the log's next. *partial: the log's partial tiles, the lowest first; read when they
 * are needed, kept until they are written or dropped. */
bw_result bw_tiles_add(struct bw_sql *index, uint32_t log, struct bw_tile **partial, struct bw_hasher *hasher, uint64_t leaf_index, const bw_hash *leaf);
bw_result bw_tiles_write(struct bw_sql *index, uint32_t log, const struct bw_tile *partial);
void      bw_tiles_drop(struct bw_tile **partial);

/* ---- reading: struct bw_tree over it ---- */

struct bw_tile_tree {
    struct bw_sql *index;
    uint32_t             log;
    struct bw_hasher    *hasher;
    bool                 has_tile;
    struct bw_tile       tile;   /* the last one read: a proof asks a tile for several of its nodes, one after the other */
};

/* What struct bw_tree wants, self being a struct bw_tile_tree. BW_AUDIT_UNAVAILABLE: the tree does not reach that far. */
bw_result bw_tile_tree_fetch(void *self, unsigned level, uint64_t index, bw_hash *ret_hash);

#endif
