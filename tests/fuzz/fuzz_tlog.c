/* An exported log whose tiles, entry bundles and disclosures are anything at all, under a checkpoint that is signed: it is
 * refused, and nothing worse. Two bytes say how many records, then what goes into which file is cut off by length. */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake/soft_signer.h"
#include "verify.h"

static char dir[] = "/dev/shm/fuzz-tlog-XXXXXX";

static void remove_all(void)
{
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    (void)!system(command);
}

static void put(const char *path, bw_bytes content)
{
    char parent[BW_TLOG_PATH_MAX];

    (void)snprintf(parent, sizeof parent, "%s", path);
    for (char *at = parent + sizeof dir; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(parent, 0700);
        *at = '/';
    }
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(file >= 0 && write(file, content.data, content.len) == (ssize_t)content.len);
    (void)close(file);
}

static bw_bytes cut(struct bw_reader *reader)
{
    size_t   len   = bw_read_be(reader, 2), left = reader->rest.len;
    bw_bytes bytes = bw_bytes_of(reader->rest.data, len < left ? len : left);

    if (bytes.len > 0)
        reader->rest = bw_bytes_of(reader->rest.data + bytes.len, left - bytes.len);
    return bytes;
}

static void put_checkpoint(const struct bw_note_signer *signer, uint64_t size, bw_bytes root)
{
    struct bw_checkpoint checkpoint = { .size = size };
    struct bw_buf text = { 0 }, note = { 0 };
    char path[BW_TLOG_PATH_MAX];

    (void)snprintf(checkpoint.origin, sizeof checkpoint.origin, "%s", signer->key.name);
    if (root.len > 0)
        memcpy(checkpoint.root.bytes, root.data, root.len < sizeof checkpoint.root.bytes ? root.len : sizeof checkpoint.root.bytes);
    assert(bw_ok(bw_checkpoint_print(&checkpoint, &text)) && bw_ok(bw_note_sign(bw_buf_bytes(&text), signer, &note)));
    (void)snprintf(path, sizeof path, "%s/checkpoint", dir);
    put(path, bw_buf_bytes(&note));
    bw_buf_clear(&text);
    bw_buf_clear(&note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const parts[] = { "tile/entries", "disclosures", "tile/0" };
    static struct soft_signer soft;
    struct bw_reader reader = { .rest = bw_bytes_of(data, size) };
    size_t records = bw_read_be(&reader, 2) % 300;
    char   path[BW_TLOG_PATH_MAX];
    struct bw_verify_fault fault;
    struct bw_checkpoint   checkpoint;

    if (soft.signer.sign == NULL) {
        soft_signer_make(&soft);
        assert(mkdtemp(dir) != NULL && atexit(remove_all) == 0);
    }
    put_checkpoint(&soft.signer, records, cut(&reader));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t width = records < BW_TLOG_WIDTH ? records : BW_TLOG_WIDTH;
        if (width > 0 && bw_ok(bw_tlog_path(dir, parts[i], 0, width, path)))
            put(path, cut(&reader));
    }
    assert(records == 0 || !bw_ok(bw_verify_dir(dir, &soft.signer.key, 1, NULL, &fault, &checkpoint)));
    return 0;
}
