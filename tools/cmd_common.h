/* What several commands do the same way. */
#ifndef BW_TOOLS_CMD_COMMON_H
#define BW_TOOLS_CMD_COMMON_H

#include "bailiwick/v1/common.pb-c.h"
#include "commands.h"
#include "pair.h"
#include "show.h"

/* Empty where the option was not given: what a message expects. */
char *bw_cmd_text(const struct bw_cli *cli, const char *option);

/* Shows a whole reply. */
bw_result bw_cmd_show(struct bw_cli *cli, const ProtobufCMessage *reply);

/* Calls and shows the whole reply. */
bw_result bw_cmd_call_and_show(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request);

/* Calls again and again until there is no next page, and prints the rows of each. page is the request's own. */
bw_result bw_cmd_list(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, Bailiwick__V1__Page *page,
                      const char *rows, const struct bw_column *columns);

/* The same for a list that is one page whatever it holds. */
bw_result bw_cmd_call_and_list(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, const char *rows,
                               const struct bw_column *columns);

/* A key is named by its name ("bw:...") or by an alias, which the region resolves. */
bw_result bw_cmd_key_name(struct bw_cli *cli, const char *name_or_alias, char **ret_name);

bw_result bw_cmd_number(struct bw_cli *cli, const char *option, uint32_t most, uint32_t *ret_number); /* 0 when not given */
/* As bw_moment_parse; 0 when not given, and for "never". */
bw_result bw_cmd_time(struct bw_cli *cli, const char *option, int64_t *ret_us);
bw_result bw_cmd_hex(struct bw_cli *cli, const char *option, size_t most, ProtobufCBinaryData *ret_bytes); /* empty when not given */
bw_result bw_cmd_texts(struct bw_cli *cli, const char *option, size_t most, char ***ret_texts, size_t *ret_count); /* "" is none */

/* Names of an enumeration, in either case: "aes_256", "granted". Unknown ones are refused with all names told. */
bw_result bw_cmd_enum(struct bw_cli *cli, const char *option, const char *name, const ProtobufCEnumDescriptor *names, int *ret_value);
bw_result bw_cmd_enums(struct bw_cli *cli, const char *option, const ProtobufCEnumDescriptor *names, int **ret_values, size_t *ret_count);

/* A file's whole text in the run's arena; "-" is standard input. */
bw_result bw_cmd_load_text(struct bw_cli *cli, const char *path, size_t most, char **ret_text);

/* On standard output byte by byte, so that it can be compared with what is under version control. */
bw_result bw_cmd_print_text(const char *text);

#endif
