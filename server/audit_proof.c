#include "audit_proof.h"

#include "audit_find.h"
#include "audit_index_db.h"
#include "audit_tiles.h"

/* One question to one log's tree: what is set is asked for. */
struct question {
    uint32_t         log;
    uint64_t         size, leaf, from;
    bw_hash         *root;
    struct bw_proof *inclusion, *consistency;
};

static bw_result check_size(struct bw_index_reader *reader, const struct question *question)
{
    int64_t size;

    bw_sql_bind_number(&reader->index, BW_INDEX_SIZE, 1, question->log);
    BW_TRY(bw_sql_number(&reader->index, BW_INDEX_SIZE, 0, &size));
    BW_CHECK(question->size <= (uint64_t)size, BW_LOG_POSITION, "the log is shorter than that");
    return bw_success();
}

static bw_result answer(void *self, struct bw_index_reader *reader)
{
    const struct question *question = self;
    struct bw_tile_tree    tiles    = { .index = &reader->index, .log = question->log, .hasher = reader->hasher };
    const struct bw_tree   tree     = { .fetch = bw_tile_tree_fetch, .self = &tiles, .hasher = reader->hasher };

    BW_TRY(check_size(reader, question));
    if (question->root != NULL)
        BW_TRY(bw_tree_root(&tree, question->size, question->root));
    if (question->inclusion != NULL)
        BW_TRY(bw_tree_prove_inclusion(&tree, question->leaf, question->size, question->inclusion));
    if (question->consistency != NULL)
        BW_TRY(bw_tree_prove_consistency(&tree, question->from, question->size, question->consistency));
    return bw_success();
}

bw_result bw_audit_index_root(struct bw_audit_index *index, uint32_t log, uint64_t size, bw_hash *ret_root)
{
    struct question question = { .log = log, .size = size, .root = ret_root };
    return bw_audit_index_read(index, answer, &question);
}

bw_result bw_audit_index_prove_inclusion(struct bw_audit_index *index, uint32_t log, uint64_t leaf, uint64_t size, struct bw_proof *ret_proof)
{
    struct question question = { .log = log, .size = size, .leaf = leaf, .inclusion = ret_proof };

    BW_CHECK(leaf < size, BW_LOG_POSITION, "the log has no such record");
    return bw_audit_index_read(index, answer, &question);
}

bw_result bw_audit_index_prove_consistency(struct bw_audit_index *index, uint32_t log, uint64_t from, uint64_t size, struct bw_proof *ret_proof)
{
    struct question question = { .log = log, .size = size, .from = from, .consistency = ret_proof };

    BW_CHECK(from > 0 && from <= size, BW_LOG_POSITION, "the log is shorter than that");
    return bw_audit_index_read(index, answer, &question);
}

/* ---- tiles ---- */

struct tile_question { uint32_t log; unsigned level; uint64_t number; size_t width; struct bw_arena *arena; bw_bytes hashes; };

static bw_result answer_tile(void *self, struct bw_index_reader *reader)
{
    struct tile_question *question = self;
    struct bw_tile        tile;

    bw_result r = bw_tile_read(&reader->index, question->log, question->level, question->number, &tile);
    BW_CHECK(bw_ok(r) && question->width <= tile.count, BW_LOG_POSITION, "the log's tree has no such tile");
    question->hashes.len  = question->width * sizeof *tile.hashes;
    question->hashes.data = bw_arena_copy(question->arena, bw_bytes_of(tile.hashes, question->hashes.len));
    BW_CHECK(question->hashes.data != NULL, BW_NO_MEMORY, "tile");
    return bw_success();
}

bw_result bw_audit_index_tile(struct bw_audit_index *index, uint32_t log, unsigned level, uint64_t number, size_t width, struct bw_arena *arena,
                              bw_bytes *ret_hashes)
{
    struct tile_question question = { .log = log, .level = level, .number = number, .width = width, .arena = arena };

    BW_TRY(bw_audit_index_read(index, answer_tile, &question));
    *ret_hashes = question.hashes;
    return bw_success();
}
