/* bailiwick wrap, unwrap: standard input to standard output. Nothing is written unless all of it is there. */
#include <unistd.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "cmd_common.h"
#include "file.h"

enum { ENVELOPE_ROOM = 4096 }; /* what an envelope adds to its plaintext, with room to spare */

#define CONTEXT_OPTION { "context", BW_OPTION_MANY, "NAME=VALUE", "encryption context: authenticated, not stored; the same to unwrap" }
#define PURPOSE_OPTION { "purpose", BW_OPTION_TEXT, "TEXT",       "why, where the key's policy demands it; goes on record" }

static bw_result read_input(struct bw_cli *cli, size_t most, struct bw_secret **ret_input, ProtobufCBinaryData *ret_bytes)
{
    BW_TRY(bw_file_read(cli, STDIN_FILENO, "standard input", most, ret_input));
    *ret_bytes = (ProtobufCBinaryData){ bw_secret_len(*ret_input), bw_secret_reveal(*ret_input) };
    return bw_success();
}

const struct bw_option bw_cmd_wrap_options[] = {
    { "key", BW_OPTION_NEEDED, "KEY", "by name or alias" },
    CONTEXT_OPTION, PURPOSE_OPTION,
    { 0 }
};

bw_result bw_cmd_wrap(struct bw_cli *cli)
{
    Bailiwick__V1__WrapRequest request = BAILIWICK__V1__WRAP_REQUEST__INIT;
    Bailiwick__V1__KeyRef key = BAILIWICK__V1__KEY_REF__INIT;
    BW_AUTO(secret) input = NULL;
    struct bw_pairs context;
    ProtobufCMessage *reply;

    BW_TRY(bw_pairs_read(cli, "context", BW_CONTEXT_PAIRS_MAX, BW_CONTEXT_TEXT_MAX, &context));
    BW_TRY(read_input(cli, BW_DATA_MAX, &input, &request.plaintext));
    BW_TRY(bw_cmd_key_name(cli, bw_args_text(&cli->args, "key"), &key.name));
    request.key       = &key;
    request.context   = context.list;
    request.n_context = context.count;
    request.purpose   = bw_cmd_text(cli, "purpose");
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(Wrap), &request.base, &reply));
    return bw_file_write(cli, STDOUT_FILENO, "standard output", bw_wire_bytes(((Bailiwick__V1__WrapReply *)(void *)reply)->envelope));
}

const struct bw_option bw_cmd_unwrap_options[] = { CONTEXT_OPTION, PURPOSE_OPTION, { 0 } };

bw_result bw_cmd_unwrap(struct bw_cli *cli)
{
    Bailiwick__V1__UnwrapRequest request = BAILIWICK__V1__UNWRAP_REQUEST__INIT;
    BW_AUTO(secret) input = NULL;
    struct bw_pairs context;
    ProtobufCMessage *reply;

    BW_TRY(bw_pairs_read(cli, "context", BW_CONTEXT_PAIRS_MAX, BW_CONTEXT_TEXT_MAX, &context));
    BW_TRY(read_input(cli, BW_DATA_MAX + ENVELOPE_ROOM, &input, &request.envelope));
    request.context   = context.list;
    request.n_context = context.count;
    request.purpose   = bw_cmd_text(cli, "purpose");
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(Unwrap), &request.base, &reply));
    return bw_file_write(cli, STDOUT_FILENO, "standard output", bw_wire_bytes(((Bailiwick__V1__UnwrapReply *)(void *)reply)->plaintext));
}
