#include "tlog_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A level's last tile. */
struct level { uint64_t number; size_t count; bw_hash hashes[BW_TLOG_WIDTH]; };

struct bw_tlog_writer {
    const char        *dir;
    struct bw_hasher  *hasher;
    struct bw_frontier frontier;
    struct level       levels[BW_TLOG_LEVELS];
    struct bw_buf      entries, disclosures; /* of the last bundle */
};

/* ---- paths ---- */

bw_result bw_tlog_path(const char *dir, const char *part, uint64_t number, size_t width, char path[static BW_TLOG_PATH_MAX])
{
    char     digits[40] = "", partial[16] = "";
    size_t   len  = 0;
    uint64_t unit = 1;

    while (number / unit >= 1000)
        unit *= 1000;
    for (; unit > 1; unit /= 1000)
        len += (size_t)snprintf(digits + len, sizeof digits - len, "x%03u/", (unsigned)(number / unit % 1000));
    (void)snprintf(digits + len, sizeof digits - len, "%03u", (unsigned)(number % 1000));
    if (width < BW_TLOG_WIDTH)
        (void)snprintf(partial, sizeof partial, ".p/%zu", width);
    int path_len = snprintf(path, BW_TLOG_PATH_MAX, "%s/%s/%s%s", dir, part, digits, partial);
    BW_CHECK(path_len > 0 && path_len < BW_TLOG_PATH_MAX, BW_TOO_LARGE, "the directory's name is too long");
    return bw_success();
}

bw_result bw_tlog_level_path(const char *dir, unsigned level, uint64_t number, size_t width, char path[static BW_TLOG_PATH_MAX])
{
    char part[16];

    (void)snprintf(part, sizeof part, "tile/%u", level);
    return bw_tlog_path(dir, part, number, width, path);
}

/* ---- files ---- */

static bw_result make_parents(const char *path)
{
    char   folder[BW_TLOG_PATH_MAX];
    size_t len = strlen(path);

    memcpy(folder, path, len + 1);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        BW_CHECK(mkdir(folder, 0777) == 0 || errno == EEXIST, BW_BAD_ARGUMENT, "a folder cannot be made there");
        *slash = '/';
    }
    return bw_success();
}

static int open_new(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

static bool write_all(int file, bw_bytes content)
{
    while (content.len > 0) {
        ssize_t written = write(file, content.data, content.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        content = bw_bytes_of(content.data + written, content.len - (size_t)written);
    }
    return true;
}

static bw_result write_file(const char *path, bw_bytes content)
{
    int file = open_new(path);

    if (file < 0 && errno == ENOENT) {
        BW_TRY(make_parents(path));
        file = open_new(path);
    }
    BW_CHECK(file >= 0, BW_BAD_ARGUMENT, "a file cannot be written there");
    bool written = write_all(file, content);
    BW_CHECK(close(file) == 0 && written, BW_BAD_ARGUMENT, "a file cannot be written there");
    return bw_success();
}

static bw_result write_named(const char *dir, const char *name, bw_bytes content)
{
    char path[BW_TLOG_PATH_MAX];
    int  len = snprintf(path, sizeof path, "%s/%s", dir, name);

    BW_CHECK(len > 0 && (size_t)len < sizeof path, BW_TOO_LARGE, "the directory's name is too long");
    return write_file(path, content);
}

/* ---- tiles and bundles ---- */

static bw_result write_tile(struct bw_tlog_writer *writer, unsigned level)
{
    const struct level *tile = &writer->levels[level];
    char path[BW_TLOG_PATH_MAX];

    BW_TRY(bw_tlog_level_path(writer->dir, level, tile->number, tile->count, path));
    return write_file(path, bw_bytes_of(tile->hashes, tile->count * sizeof *tile->hashes));
}

static bw_result write_bundles(struct bw_tlog_writer *writer)
{
    const struct level *tile = &writer->levels[0];
    char path[BW_TLOG_PATH_MAX];

    BW_TRY(bw_tlog_path(writer->dir, "tile/entries", tile->number, tile->count, path));
    BW_TRY(write_file(path, bw_buf_bytes(&writer->entries)));
    BW_TRY(bw_tlog_path(writer->dir, "disclosures", tile->number, tile->count, path));
    BW_TRY(write_file(path, bw_buf_bytes(&writer->disclosures)));
    writer->entries.len = writer->disclosures.len = 0;
    return bw_success();
}

static bw_result add_hash(struct bw_tlog_writer *writer, bw_hash hash)
{
    for (unsigned level = 0;; level++) {
        struct level *tile = &writer->levels[level];
        tile->hashes[tile->count++] = hash;
        if (tile->count < BW_TLOG_WIDTH)
            return bw_success();
        BW_TRY(write_tile(writer, level));
        if (level == 0)
            BW_TRY(write_bundles(writer));
        BW_TRY(bw_merkle_fold(writer->hasher, tile->hashes, tile->count, &hash));
        tile->count = 0;
        tile->number++;
    }
}

static bw_result add_lengthened(struct bw_buf *buf, bw_bytes bytes)
{
    BW_CHECK(bytes.len <= UINT16_MAX, BW_TOO_LARGE, "a class of a record");
    BW_TRY(bw_buf_add_be(buf, bytes.len, 2));
    return bw_buf_add(buf, bytes);
}

/* ---- the writer ---- */

bw_result bw_tlog_writer_new(const char *dir, struct bw_tlog_writer **ret_writer)
{
    BW_AUTO(tlog_writer) writer = calloc(1, sizeof *writer);

    BW_CHECK(writer != NULL, BW_NO_MEMORY, "export");
    writer->dir = dir;
    BW_TRY(bw_hasher_new(&writer->hasher));
    *ret_writer = bw_take(&writer);
    return bw_success();
}

void bw_tlog_writer_free(struct bw_tlog_writer *writer)
{
    if (writer == NULL)
        return;
    bw_hasher_free(writer->hasher);
    bw_buf_clear(&writer->entries);
    bw_buf_clear(&writer->disclosures);
    free(writer);
}

bw_result bw_tlog_write(struct bw_tlog_writer *writer, bw_bytes entry, bw_bytes essential, bw_bytes who, bw_bytes context)
{
    bw_hash hash;

    BW_TRY(add_lengthened(&writer->entries, entry));
    BW_TRY(add_lengthened(&writer->disclosures, essential));
    BW_TRY(add_lengthened(&writer->disclosures, who));
    BW_TRY(add_lengthened(&writer->disclosures, context));
    BW_TRY(bw_merkle_leaf(writer->hasher, entry, &hash));
    BW_TRY(bw_frontier_add(&writer->frontier, writer->hasher, &hash));
    return add_hash(writer, hash);
}

bw_result bw_tlog_finish(struct bw_tlog_writer *writer, const struct bw_checkpoint *checkpoint, bw_bytes note, bw_bytes key, bw_bytes keys)
{
    bw_hash root;

    if (writer->levels[0].count > 0)
        BW_TRY(write_bundles(writer));
    for (unsigned level = 0; level < BW_TLOG_LEVELS; level++)
        if (writer->levels[level].count > 0)
            BW_TRY(write_tile(writer, level));
    BW_TRY(bw_frontier_root(&writer->frontier, writer->hasher, &root));
    BW_CHECK(writer->frontier.size == checkpoint->size && bw_hash_equal(&root, &checkpoint->root), BW_DATA_INVALID, "the checkpoint is not of these records");
    BW_TRY(write_named(writer->dir, "key", key));
    if (keys.len > 0)
        BW_TRY(write_named(writer->dir, "keys", keys));
    return write_named(writer->dir, "checkpoint", note);
}
