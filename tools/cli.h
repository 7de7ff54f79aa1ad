/* One run of the command line tool: its arguments, its connection to the region, and how it ends. */
#ifndef BW_TOOLS_CLI_H
#define BW_TOOLS_CLI_H

#include "args.h"
#include "wire.h"

enum bw_exit {
    BW_EXIT_DONE        = 0,
    BW_EXIT_REFUSED     = 1,  /* the region said no, or the person at the terminal did */
    BW_EXIT_USAGE       = 2,  /* the command line, or what it names, is wrong */
    BW_EXIT_UNREACHABLE = 3,  /* the region cannot be reached or cannot serve now: try again later */
    BW_EXIT_CONFIG      = 4,  /* configuration, certificate or key; doctor found a fault */
    BW_EXIT_FAILED      = 5,  /* something broke, here or there */
    BW_EXIT_FORKED      = 6,  /* a log does not go on from the caller's last checkpoint: evidence against the region */
    BW_EXIT_WAITING     = 7   /* kept as a proposal, for more custodians to approve */
};

/* All zero is a run that has not begun. */
struct bw_cli {
    const char       *command;    /* "key create" */
    struct bw_args    args;
    bool              json;       /* for scripts, not for people */
    struct bw_arena   arena;      /* lives as long as the run */
    struct bw_client *client;     /* NULL before the first call */
    struct bw_refusal refusal;    /* of the call that failed, in the server's words */
    uint8_t           request_id[BW_REQUEST_ID_LEN]; /* of the last call; all zero: there was none */
    char              about[512]; /* what a failure is about: a file, an option */
};

/* Says what the failure that is about to be returned is about. */
void bw_cli_about(struct bw_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One RPC. Gives the request an id of its own; connects first when nothing was called before, which reads the
 * configuration and, on a terminal, asks for the private key's passphrase. The reply lives as long as the run. */
bw_result bw_cli_call(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, ProtobufCMessage **ret_reply);

/* One RPC that is answered by a stream; each as in bw_client_receive. */
bw_result bw_cli_receive(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, bw_client_each_fn each, void *self);

/* Whether the same may work later, without anybody doing anything about it here. */
bool bw_cli_may_pass(enum bw_code code);

/* Asks on the terminal; --yes answers for it. Fails with BW_CANCELLED when the answer is no, and with BW_BAD_ARGUMENT
 * when there is neither a terminal nor --yes. */
bw_result bw_cli_confirm(struct bw_cli *cli, const char *question);

/* Tells people on stderr what went wrong and what to do. */
enum bw_exit bw_cli_report(const struct bw_cli *cli, bw_result result);

/* A sentence; NULL: there is none for it. */
const char *bw_cli_what_to_do(enum bw_code code);

void bw_cli_clear(struct bw_cli *cli);

#endif
