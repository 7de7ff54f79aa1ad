/* Files that commands read and write, all in one piece. Failures name the file. */
#ifndef BW_TOOLS_FILE_H
#define BW_TOOLS_FILE_H

#include <sys/types.h>

#include "bailiwick/secret.h"
#include "cli.h"

/* A new file of that mode; BW_ALREADY_EXISTS when there is one, which then is not touched. */
bw_result bw_file_create(struct bw_cli *cli, const char *path, mode_t mode, bw_bytes content);

/* Puts a new content in the place of the old, so that a reader sees the one or the other. */
bw_result bw_file_replace(struct bw_cli *cli, const char *path, mode_t mode, bw_bytes content);

/* The rest of an open file or pipe, at most max bytes: BW_TOO_LARGE beyond. name is for the complaint. */
bw_result bw_file_read(struct bw_cli *cli, int fd, const char *name, size_t max, struct bw_secret **ret_content);
bw_result bw_file_load(struct bw_cli *cli, const char *path, size_t max, struct bw_secret **ret_content);

/* All of content, to an open file or pipe. */
bw_result bw_file_write(struct bw_cli *cli, int fd, const char *name, bw_bytes content);

/* A passphrase or PIN: a file's first line, at most BW_PIN_MAX bytes, not empty. */
bw_result bw_file_passphrase(struct bw_cli *cli, const char *path, struct bw_secret **ret_passphrase);

#endif
