#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "succession.h"

enum {
    CLASS_MAX       = UINT16_MAX,
    BUNDLE_MAX      = BW_TLOG_WIDTH * (2 + BW_AUDIT_ENTRY_LEN),
    DISCLOSURES_MAX = BW_TLOG_WIDTH * 3 * (2 + CLASS_MAX),
    TILE_MAX        = BW_TLOG_WIDTH * BW_AUDIT_HASH_LEN
};

/* The hashes of a level that its next tile file must hold. */
struct level { uint64_t number; size_t count; bw_hash hashes[BW_TLOG_WIDTH]; };

struct replay {
    const char                 *dir;
    const struct bw_checkpoint *older;                      /* NULL: none is known */
    struct bw_checkpoint        older_one;
    struct bw_succession        succession;
    struct bw_verify_fault     *fault;
    struct bw_hasher           *hasher;
    struct bw_frontier          frontier;
    struct level                levels[BW_TLOG_LEVELS];
    struct bw_buf               entries, disclosures, tile; /* files, as they are read */
};

/* ---- files ---- */

static bw_result read_open(int file, size_t max, struct bw_buf *buf)
{
    ssize_t  got = 1;
    uint8_t *tail;

    buf->len = 0;
    while (got > 0) {
        size_t room = max - buf->len < 65536 ? max - buf->len + 1 : 65536;
        BW_TRY(bw_buf_grow(buf, room, &tail));
        buf->len -= room;
        got = read(file, tail, room);
        BW_CHECK(got >= 0, BW_BAD_ARGUMENT, "the file cannot be read");
        buf->len += (size_t)got;
        BW_CHECK(buf->len <= max, BW_DATA_INVALID, "the file is longer than it may be");
    }
    return bw_success();
}

static bw_result read_file(struct bw_verify_fault *fault, const char *path, size_t max, struct bw_buf *buf)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);

    (void)snprintf(fault->file, sizeof fault->file, "%s", path);
    BW_CHECK(file >= 0 || errno != ENOENT, BW_DATA_INVALID, "the file is missing");
    BW_CHECK(file >= 0, BW_BAD_ARGUMENT, "the file cannot be read");
    bw_result r = read_open(file, max, buf);
    (void)close(file);
    return r;
}

static bw_result bad_record(struct replay *replay, uint64_t index, const char *part, bw_result why)
{
    char path[BW_TLOG_PATH_MAX];
    size_t width = replay->levels[0].count;

    replay->fault->has_index = true;
    replay->fault->index     = index;
    if (bw_ok(bw_tlog_path(replay->dir, part, replay->levels[0].number, width, path)))
        memcpy(replay->fault->file, path, sizeof path);
    return why;
}

/* ---- a bundle: up to 256 records, their entries, disclosures and leaves side by side ---- */

static bw_bytes read_lengthened(struct bw_reader *reader)
{
    return bw_read_bytes(reader, (size_t)bw_read_be(reader, 2));
}

static bw_result check_commitment(struct bw_hasher *hasher, enum bw_audit_class class, bw_bytes stored, const uint8_t committed[static BW_AUDIT_HASH_LEN])
{
    uint8_t commitment[BW_AUDIT_HASH_LEN];

    BW_TRY(bw_hasher_commit(hasher, class, stored, commitment));
    BW_CHECK(memcmp(commitment, committed, sizeof commitment) == 0, BW_DATA_INVALID, "a record is not what its entry commits to");
    return bw_success();
}

static bw_result check_entry(bw_bytes entry, uint64_t index, struct bw_leaf *ret_leaf)
{
    BW_TRY(bw_leaf_parse(entry, ret_leaf));
    BW_CHECK(ret_leaf->index == index, BW_DATA_INVALID, "an entry stands where another belongs");
    return bw_success();
}

static bw_result check_classes(struct bw_hasher *hasher, struct bw_reader *classes, const struct bw_leaf *leaf)
{
    bw_bytes essential = read_lengthened(classes), who = read_lengthened(classes), context = read_lengthened(classes);

    BW_CHECK(!classes->failed, BW_DATA_INVALID, "a record is cut off");
    BW_TRY(check_commitment(hasher, BW_AUDIT_ESSENTIAL, essential, leaf->essential));
    BW_TRY(check_commitment(hasher, BW_AUDIT_WHO, who, leaf->who));
    return check_commitment(hasher, BW_AUDIT_CONTEXT, context, leaf->context);
}

static bw_result check_older(struct replay *replay)
{
    bw_hash root;

    if (replay->older == NULL || replay->frontier.size != replay->older->size)
        return bw_success();
    BW_TRY(bw_frontier_root(&replay->frontier, replay->hasher, &root));
    replay->fault->file[0] = '\0';
    BW_CHECK(bw_hash_equal(&root, &replay->older->root), BW_DATA_INVALID, "this log does not go on from the older checkpoint: keep both as evidence");
    return bw_success();
}

/* What a key ended with, its next goes on from: whoever has that one alone cannot sign another past. */
static bw_result check_handed_over(struct replay *replay)
{
    const struct bw_succession *succession = &replay->succession;
    bw_hash root;

    for (size_t i = 0; i + 1 < succession->count; i++) {
        if (succession->until[i].size != replay->frontier.size)
            continue;
        BW_TRY(bw_frontier_root(&replay->frontier, replay->hasher, &root));
        (void)snprintf(replay->fault->file, sizeof replay->fault->file, "%s/keys", replay->dir);
        BW_CHECK(bw_hash_equal(&root, &succession->until[i].root), BW_DATA_INVALID, "this log is not the one that a key before handed over: keep it as evidence");
    }
    return check_older(replay);
}

/* What is left of the bundle's files; a record takes its share of each. */
struct bundle { struct bw_reader entries, disclosures, leaves; };

static bw_result replay_record(struct replay *replay, uint64_t index, struct bundle *bundle)
{
    struct bw_leaf leaf = { 0 };
    bw_bytes       entry = read_lengthened(&bundle->entries), tiled = bw_read_bytes(&bundle->leaves, BW_AUDIT_HASH_LEN);
    bw_hash        hash;

    bw_result r = bundle->entries.failed ? bw_fail(BW_DATA_INVALID, "an entry is cut off") : check_entry(entry, index, &leaf);
    if (!bw_ok(r))
        return bad_record(replay, index, "tile/entries", r);
    r = check_classes(replay->hasher, &bundle->disclosures, &leaf);
    if (!bw_ok(r))
        return bad_record(replay, index, "disclosures", r);
    BW_TRY(bw_merkle_leaf(replay->hasher, entry, &hash));
    if (!bw_bytes_equal(bw_bytes_of(hash.bytes, sizeof hash.bytes), tiled))
        return bad_record(replay, index, "tile/0", bw_fail(BW_DATA_INVALID, "an entry and its leaf in the tree differ"));
    replay->levels[0].hashes[index % BW_TLOG_WIDTH] = hash;
    BW_TRY(bw_frontier_add(&replay->frontier, replay->hasher, &hash));
    return check_handed_over(replay);
}

static bw_result read_bundle(struct replay *replay, size_t width)
{
    const uint64_t number = replay->levels[0].number;
    char path[BW_TLOG_PATH_MAX];

    BW_TRY(bw_tlog_path(replay->dir, "tile/entries", number, width, path));
    BW_TRY(read_file(replay->fault, path, BUNDLE_MAX, &replay->entries));
    BW_TRY(bw_tlog_path(replay->dir, "disclosures", number, width, path));
    BW_TRY(read_file(replay->fault, path, DISCLOSURES_MAX, &replay->disclosures));
    BW_TRY(bw_tlog_level_path(replay->dir, 0, number, width, path));
    return read_file(replay->fault, path, TILE_MAX, &replay->tile);
}

static bw_result replay_bundle(struct replay *replay, size_t width)
{
    const uint64_t first = replay->levels[0].number * BW_TLOG_WIDTH;

    replay->levels[0].count = width;
    bw_result r = read_bundle(replay, width);
    if (!bw_ok(r)) {
        replay->fault->has_index = true;
        replay->fault->index     = first;
        return r;
    }
    struct bundle bundle = { { bw_buf_bytes(&replay->entries), false }, { bw_buf_bytes(&replay->disclosures), false }, { bw_buf_bytes(&replay->tile), false } };
    for (size_t i = 0; i < width; i++)
        BW_TRY(replay_record(replay, first + i, &bundle));
    if (bundle.entries.rest.len + bundle.disclosures.rest.len + bundle.leaves.rest.len > 0)
        return bad_record(replay, first + width - 1, "tile/entries", bw_fail(BW_DATA_INVALID, "there is more than the bundle's records"));
    return bw_success();
}

/* ---- tiles above the leaves ---- */

/* A hash of a tile stands for many records; the first of them is named. */
static bw_result bad_hash(struct replay *replay, unsigned level, size_t offset)
{
    replay->fault->has_index = true;
    replay->fault->index     = (replay->levels[level].number * BW_TLOG_WIDTH + offset) << (8 * level);
    return bw_fail(BW_DATA_INVALID, "a tile of the tree is not what the entries hash to");
}

static bw_result check_tile(struct replay *replay, unsigned level)
{
    const struct level *tile = &replay->levels[level];
    char path[BW_TLOG_PATH_MAX];

    BW_TRY(bw_tlog_level_path(replay->dir, level, tile->number, tile->count, path));
    bw_result r = read_file(replay->fault, path, TILE_MAX, &replay->tile);
    if (!bw_ok(r) || replay->tile.len != tile->count * sizeof *tile->hashes)
        return bad_hash(replay, level, 0);
    for (size_t i = 0; i < tile->count; i++)
        if (memcmp(replay->tile.data + i * sizeof *tile->hashes, &tile->hashes[i], sizeof *tile->hashes) != 0)
            return bad_hash(replay, level, i);
    return bw_success();
}

/* A full tile's root goes into the level above. */
static bw_result close_tiles(struct replay *replay)
{
    for (unsigned level = 0; replay->levels[level].count == BW_TLOG_WIDTH && level + 1 < BW_TLOG_LEVELS; level++) {
        struct level *tile = &replay->levels[level], *above = &replay->levels[level + 1];
        if (level > 0)
            BW_TRY(check_tile(replay, level));
        BW_TRY(bw_merkle_fold(replay->hasher, tile->hashes, BW_TLOG_WIDTH, &above->hashes[above->count]));
        above->count++;
        tile->count = 0;
        tile->number++;
    }
    return bw_success();
}

/* ---- a directory ---- */

static bw_result replay_all(struct replay *replay, const struct bw_checkpoint *checkpoint)
{
    bw_hash root;

    BW_TRY(check_handed_over(replay)); /* of size 0 */
    for (uint64_t left = checkpoint->size; left > 0;) {
        size_t width = left < BW_TLOG_WIDTH ? (size_t)left : BW_TLOG_WIDTH;
        BW_TRY(replay_bundle(replay, width));
        BW_TRY(close_tiles(replay));
        left -= width;
    }
    for (unsigned level = 1; level < BW_TLOG_LEVELS; level++)
        if (replay->levels[level].count > 0)
            BW_TRY(check_tile(replay, level));
    BW_TRY(bw_frontier_root(&replay->frontier, replay->hasher, &root));
    (void)snprintf(replay->fault->file, sizeof replay->fault->file, "%s/checkpoint", replay->dir);
    BW_CHECK(bw_hash_equal(&root, &checkpoint->root), BW_DATA_INVALID, "the records are not those that the checkpoint was signed over");
    return bw_success();
}

static bw_result check_note(bw_bytes note, const struct bw_note_key *keys, size_t key_count, struct bw_checkpoint *ret_checkpoint)
{
    struct bw_checkpoint checkpoint;
    bw_bytes             text;

    BW_TRY(bw_note_verify(note, keys, key_count, &text));
    BW_TRY(bw_checkpoint_parse(text, &checkpoint));
    for (size_t i = 0; i < key_count; i++)
        if (strcmp(keys[i].name, checkpoint.origin) == 0) {
            *ret_checkpoint = checkpoint;
            return bw_success();
        }
    return bw_fail(BW_SIGNATURE_INVALID, "a checkpoint of another log than the key is of");
}

/* One key of many, or of those that the log had in turn. */
static bw_result check_signed(const struct replay *replay, bw_bytes note, const struct bw_note_key *keys, size_t key_count, struct bw_checkpoint *ret_checkpoint)
{
    if (replay->succession.count > 0)
        return bw_succession_verify(&replay->succession, note, ret_checkpoint);
    return check_note(note, keys, key_count, ret_checkpoint);
}

static bw_result load_keys(struct replay *replay, const struct bw_note_key *keys, size_t key_count)
{
    char path[BW_TLOG_PATH_MAX];
    int  len = snprintf(path, sizeof path, "%s/keys", replay->dir);

    BW_CHECK(len > 0 && (size_t)len < sizeof path, BW_TOO_LARGE, "the directory's name is too long");
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return bw_success();
    BW_TRY(read_file(replay->fault, path, BW_SUCCESSION_TEXT_MAX, &replay->tile));
    BW_TRY(bw_succession_read(bw_buf_bytes(&replay->tile), &replay->succession));
    BW_CHECK(replay->succession.count > 0, BW_DATA_INVALID, "there are no keys in it");
    return bw_succession_trust(&replay->succession, keys, key_count);
}

static bw_result load_checkpoint(struct replay *replay, const struct bw_note_key *keys, size_t key_count, struct bw_checkpoint *ret_checkpoint)
{
    char path[BW_TLOG_PATH_MAX];
    int  len = snprintf(path, sizeof path, "%s/checkpoint", replay->dir);

    BW_CHECK(len > 0 && (size_t)len < sizeof path, BW_TOO_LARGE, "the directory's name is too long");
    BW_TRY(read_file(replay->fault, path, BW_NOTE_MAX, &replay->tile));
    return check_signed(replay, bw_buf_bytes(&replay->tile), keys, key_count, ret_checkpoint);
}

static bw_result take_older(struct replay *replay, bw_bytes note, const struct bw_note_key *keys, size_t key_count, const struct bw_checkpoint *checkpoint)
{
    (void)snprintf(replay->fault->file, sizeof replay->fault->file, "the older checkpoint");
    BW_TRY(check_signed(replay, note, keys, key_count, &replay->older_one));
    replay->older = &replay->older_one;
    BW_CHECK(strcmp(replay->older->origin, checkpoint->origin) == 0 && replay->older->size <= checkpoint->size, BW_DATA_INVALID,
             "the older checkpoint is of another log, or of a longer one: keep both as evidence");
    return bw_success();
}

static bw_result verify(struct replay *replay, const struct bw_note_key *keys, size_t key_count, const bw_bytes *older, struct bw_checkpoint *ret_checkpoint)
{
    struct bw_checkpoint checkpoint;

    BW_TRY(bw_hasher_new(&replay->hasher));
    BW_TRY(load_keys(replay, keys, key_count));
    BW_TRY(load_checkpoint(replay, keys, key_count, &checkpoint));
    if (older != NULL)
        BW_TRY(take_older(replay, *older, keys, key_count, &checkpoint));
    BW_TRY(replay_all(replay, &checkpoint));
    *ret_checkpoint = checkpoint;
    return bw_success();
}

bw_result bw_verify_dir(const char *dir, const struct bw_note_key *keys, size_t key_count, const bw_bytes *older,
                        struct bw_verify_fault *fault, struct bw_checkpoint *ret_checkpoint)
{
    struct replay *replay = calloc(1, sizeof *replay);

    *fault = (struct bw_verify_fault){ 0 };
    BW_CHECK(replay != NULL, BW_NO_MEMORY, "replay");
    replay->dir   = dir;
    replay->fault = fault;
    bw_result r = verify(replay, keys, key_count, older, ret_checkpoint);
    bw_hasher_free(replay->hasher);
    bw_buf_clear(&replay->entries);
    bw_buf_clear(&replay->disclosures);
    bw_buf_clear(&replay->tile);
    free(replay);
    return r;
}

/* ---- one record's proof ---- */

static const char proof_header[] = "c2sp.org/tlog-proof@v1\n", extra_word[] = "extra ", index_word[] = "index ";

static bw_result add_extra(const struct bw_record_proof *proof, struct bw_buf *extra)
{
    const bw_bytes classes[] = { proof->essential, proof->who, proof->context };

    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        BW_CHECK(classes[i].len <= CLASS_MAX, BW_TOO_LARGE, "a class of a record");
        BW_TRY(bw_buf_add_be(extra, classes[i].len, 2));
        BW_TRY(bw_buf_add(extra, classes[i]));
    }
    return bw_success();
}

static bw_result print_proof(const struct bw_record_proof *proof, bw_bytes extra, struct bw_buf *text)
{
    char index[40];

    (void)snprintf(index, sizeof index, "\nindex %" PRIu64 "\n", proof->index);
    BW_TRY(bw_buf_add(text, bw_bytes_text(proof_header)));
    BW_TRY(bw_buf_add(text, bw_bytes_text(extra_word)));
    BW_TRY(bw_base64_add(text, extra));
    BW_TRY(bw_buf_add(text, bw_bytes_text(index)));
    for (size_t i = 0; i < proof->inclusion.count; i++) {
        BW_TRY(bw_base64_add(text, bw_bytes_of(proof->inclusion.hashes[i].bytes, sizeof proof->inclusion.hashes[i].bytes)));
        BW_TRY(bw_buf_add(text, bw_bytes_text("\n")));
    }
    BW_TRY(bw_buf_add(text, bw_bytes_text("\n")));
    return bw_buf_add(text, proof->note);
}

bw_result bw_record_proof_print(const struct bw_record_proof *proof, struct bw_buf *ret_text)
{
    struct bw_buf extra = { 0 };

    bw_result r = add_extra(proof, &extra);
    if (bw_ok(r))
        r = print_proof(proof, bw_buf_bytes(&extra), ret_text);
    bw_buf_clear(&extra);
    return r;
}

/* What follows the word that a line must begin with. */
static bw_result after_word(bw_bytes line, const char *word, bw_bytes *ret_rest)
{
    size_t len = strlen(word);

    BW_CHECK(line.len > len && memcmp(line.data, word, len) == 0, BW_DATA_INVALID, "not a record's proof");
    *ret_rest = bw_bytes_of(line.data + len, line.len - len);
    return bw_success();
}

/* Decimal, without leading zeros. */
static bw_result read_index(bw_bytes digits, uint64_t *ret_index)
{
    uint64_t index = 0;

    BW_CHECK(digits.len > 0 && (digits.len == 1 || digits.data[0] != '0'), BW_DATA_INVALID, "a proof without an index");
    for (size_t i = 0; i < digits.len; i++)
        BW_CHECK(digits.data[i] >= '0' && digits.data[i] <= '9' && !__builtin_mul_overflow(index, 10u, &index)
                 && !__builtin_add_overflow(index, (uint64_t)(digits.data[i] - '0'), &index), BW_DATA_INVALID, "a proof without an index");
    *ret_index = index;
    return bw_success();
}

static bw_result read_hash(bw_bytes line, struct bw_proof *proof)
{
    struct bw_buf hash = { 0 };

    BW_CHECK(proof->count < BW_PROOF_MAX, BW_DATA_INVALID, "a proof with too many hashes");
    bw_result r = bw_base64_read(line, &hash);
    if (bw_ok(r) && hash.len != BW_AUDIT_HASH_LEN)
        r = bw_fail(BW_DATA_INVALID, "a proof with a hash of another length");
    if (bw_ok(r))
        memcpy(proof->hashes[proof->count++].bytes, hash.data, hash.len);
    bw_buf_clear(&hash);
    return r;
}

static bw_result read_proof(bw_bytes text, struct bw_buf *extra, struct bw_record_proof *proof)
{
    struct bw_reader reader = { text, false };
    bw_bytes         rest;

    BW_CHECK(bw_bytes_equal(bw_read_bytes(&reader, sizeof proof_header - 1), bw_bytes_text(proof_header)), BW_DATA_INVALID, "not a record's proof");
    BW_TRY(after_word(bw_read_line(&reader), extra_word, &rest));
    BW_TRY(bw_base64_read(rest, extra));
    BW_TRY(after_word(bw_read_line(&reader), index_word, &rest));
    BW_TRY(read_index(rest, &proof->index));
    for (rest = bw_read_line(&reader); rest.len > 0; rest = bw_read_line(&reader))
        BW_TRY(read_hash(rest, &proof->inclusion));
    BW_CHECK(!reader.failed, BW_DATA_INVALID, "a proof without a checkpoint");
    proof->note = reader.rest;

    struct bw_reader classes = { bw_buf_bytes(extra), false };
    proof->essential = read_lengthened(&classes);
    proof->who       = read_lengthened(&classes);
    proof->context   = read_lengthened(&classes);
    BW_CHECK(!classes.failed && classes.rest.len == 0, BW_DATA_INVALID, "a proof without its record");
    return bw_success();
}

static bw_result check_inclusion(const struct bw_record_proof *proof, const struct bw_checkpoint *checkpoint)
{
    BW_AUTO(hasher) hasher = NULL;
    uint8_t         entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf  leaf;
    bw_hash         hash;

    BW_TRY(bw_hasher_new(&hasher));
    BW_TRY(bw_hasher_leaf(hasher, proof->index, proof->essential, proof->who, proof->context, &leaf));
    bw_leaf_print(&leaf, entry);
    BW_TRY(bw_merkle_leaf(hasher, bw_bytes_of(entry, sizeof entry), &hash));
    return bw_merkle_check_inclusion(hasher, proof->index, &hash, checkpoint->size, &checkpoint->root, &proof->inclusion);
}

bw_result bw_verify_proof(bw_bytes text, const struct bw_note_key *keys, size_t key_count, struct bw_buf *extra,
                          struct bw_record_proof *ret_proof, struct bw_checkpoint *ret_checkpoint)
{
    struct bw_record_proof proof = { 0 };
    struct bw_checkpoint   checkpoint;

    BW_TRY(read_proof(text, extra, &proof));
    BW_TRY(check_note(proof.note, keys, key_count, &checkpoint));
    BW_TRY(check_inclusion(&proof, &checkpoint));
    *ret_proof      = proof;
    *ret_checkpoint = checkpoint;
    return bw_success();
}
