/* One run of the command line tool: its arguments, its connection to the region, and how it ends. */
#ifndef BW_TOOLS_CLI_H
#define BW_TOOLS_CLI_H

#include "args.h"
#include "client.h"

enum bw_exit {
    BW_EXIT_DONE        = 0,
    BW_EXIT_REFUSED     = 1,  /* the region said no; doctor found a fault; the person at the terminal said no */
    BW_EXIT_USAGE       = 2,  /* the command line, or what it names, is wrong */
    BW_EXIT_UNREACHABLE = 3,  /* the region cannot be reached or cannot serve now: try again later */
    BW_EXIT_CONFIG      = 4,  /* configuration, certificate or key */
    BW_EXIT_FAILED      = 5   /* something broke, here or there */
};

/* All zero is a run that has not begun. */
struct bw_cli {
    const char       *command;    /* "key create" */
    struct bw_args    args;
    struct bw_arena   arena;      /* lives as long as the run */
    struct bw_client *client;     /* NULL before the first call */
    struct bw_refusal refusal;    /* of the call that failed, in the server's words */
    char              about[512]; /* what a failure is about: a file, an option */
};

/* Says what the failure that is about to be returned is about. */
void bw_cli_about(struct bw_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells people on stderr what went wrong and what to do. */
enum bw_exit bw_cli_report(const struct bw_cli *cli, bw_result result);

void bw_cli_clear(struct bw_cli *cli);

#endif
