/* A log as a directory: c2sp.org/tlog-tiles (checkpoint, tile/<level>/<n>, tile/entries/<n>), and beside it what the entries
 * commit to (disclosures/<n>), the key that verifies the checkpoint (key), and the notes that lead to it (keys). AUDIT_FORMAT.md has the bytes. */
#ifndef BW_TOOLS_TLOG_DIR_H
#define BW_TOOLS_TLOG_DIR_H

#include "note.h"

enum { BW_TLOG_PATH_MAX = 4096, BW_TLOG_WIDTH = 256, BW_TLOG_LEVELS = 8 };

/* <dir>/<part>/x001/x234/067 for number 1234067; with .p/<width> where width is less than 256. part: "tile/0", "tile/entries",
 * "disclosures". BW_TOO_LARGE: longer than path has room for. */
bw_result bw_tlog_path(const char *dir, const char *part, uint64_t number, size_t width, char path[static BW_TLOG_PATH_MAX]);
bw_result bw_tlog_level_path(const char *dir, unsigned level, uint64_t number, size_t width, char path[static BW_TLOG_PATH_MAX]);

struct bw_tlog_writer;
bw_result bw_tlog_writer_new(const char *dir, struct bw_tlog_writer **ret_writer); /* dir is borrowed */
void      bw_tlog_writer_free(struct bw_tlog_writer *writer);
BW_DEFINE_AUTO(tlog_writer)

/* The next record: its entry (112 bytes), and its classes as they are hashed. BW_BAD_ARGUMENT: it cannot be written there. */
bw_result bw_tlog_write(struct bw_tlog_writer *writer, bw_bytes entry, bw_bytes essential, bw_bytes who, bw_bytes context);

/* What is left, then the key and what leads to it (succession.h; empty: it is the log's first), then the checkpoint: a directory without one is not finished. BW_DATA_INVALID: the checkpoint
 * is not of what was written. */
bw_result bw_tlog_finish(struct bw_tlog_writer *writer, const struct bw_checkpoint *checkpoint, bw_bytes note, bw_bytes key, bw_bytes keys);

#endif
