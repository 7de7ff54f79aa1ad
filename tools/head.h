/* A log's signed head as the region shows it: its signature checked, and that it goes on from the one the caller kept. */
#ifndef BW_TOOLS_HEAD_H
#define BW_TOOLS_HEAD_H

#include "bailiwick/v1/audit.pb-c.h"
#include "cli.h"
#include "note.h"

struct bw_head { struct bw_checkpoint checkpoint; struct bw_note_key key; bw_bytes note, keys; /* borrowed from the reply */ };

/* known_key: the one that the caller knows the region by, or one that led to it; NULL: the region's word is taken for it. */
bw_result bw_head_read(const Bailiwick__V1__Checkpoint *message, const char *known_key, struct bw_head *ret_head);

bw_result bw_head_read_proof(ProtobufCBinaryData *hashes, size_t count, struct bw_proof *ret_proof);

/* What was kept, whose signature was checked then. All zero when path is NULL or there is no such file yet. */
bw_result bw_head_load_last(struct bw_cli *cli, const char *path, struct bw_checkpoint *ret_last);

/* Reads, checks that it goes on from *last, keeps it in path (unless NULL) and in *last. BW_LOG_POSITION: it does not, and
 * what the region shows now is kept beside path, as evidence with it. */
bw_result bw_head_go_on(struct bw_cli *cli, const char *path, const char *known_key, const Bailiwick__V1__Checkpoint *message,
                        struct bw_checkpoint *last, struct bw_head *ret_head);

#endif
