/* The commands: the rows of commands.def. */
#ifndef BW_TOOLS_COMMANDS_H
#define BW_TOOLS_COMMANDS_H

#include "cli.h"

typedef bw_result bw_command_fn(struct bw_cli *cli);

#define BW_COMMAND(function, words, operands, help)         \
    extern const struct bw_option bw_cmd_##function##_options[]; \
    bw_command_fn bw_cmd_##function;
#include "commands.def"
#undef BW_COMMAND

#endif
