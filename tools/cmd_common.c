#include "cmd_common.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "file.h"
#include "message_json.h"
#include "moment.h"

char *bw_cmd_text(const struct bw_cli *cli, const char *option)
{
    const char *text = bw_args_text(&cli->args, option);
    return (char *)(uintptr_t)(text ? text : ""); /* protobuf-c knows no const */
}

/* ---- calling ---- */

bw_result bw_cmd_show(struct bw_cli *cli, const ProtobufCMessage *reply)
{
    json_t *json = bw_message_json(reply);

    BW_CHECK(json != NULL, BW_NO_MEMORY, "reply");
    bw_result result = bw_show(cli, json);
    json_decref(json);
    return result;
}

bw_result bw_cmd_call_and_show(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request)
{
    ProtobufCMessage *reply;

    BW_TRY(bw_cli_call(cli, method, request, &reply));
    return bw_cmd_show(cli, reply);
}

/* prints one page and remembers where the next begins; "" ends */
static bw_result print_page(struct bw_cli *cli, const ProtobufCMessage *reply, const char *rows, struct bw_table *table, char **ret_token)
{
    json_t *json = bw_message_json(reply);

    BW_CHECK(json != NULL, BW_NO_MEMORY, "reply");
    const char *token = json_string_value(json_object_get(json, "next_token"));
    *ret_token = bw_arena_copy(&cli->arena, bw_bytes_text(token));
    bw_result result = *ret_token ? bw_table_print(table, json_object_get(json, rows)) : bw_fail(BW_NO_MEMORY, "reply");
    json_decref(json);
    return result;
}

bw_result bw_cmd_list(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, Bailiwick__V1__Page *page,
                      const char *rows, const struct bw_column *columns)
{
    struct bw_table   table = bw_table_for(cli, columns);
    ProtobufCMessage *reply;

    page->size = BW_PAGE_MAX;
    do {
        BW_TRY(bw_cli_call(cli, method, request, &reply));
        BW_TRY(print_page(cli, reply, rows, &table, &page->token));
    } while (page->token[0] != '\0');
    return bw_success();
}

bw_result bw_cmd_call_and_list(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, const char *rows,
                               const struct bw_column *columns)
{
    struct bw_table   table = bw_table_for(cli, columns);
    ProtobufCMessage *reply;
    char             *token;

    BW_TRY(bw_cli_call(cli, method, request, &reply));
    return print_page(cli, reply, rows, &table, &token);
}

bw_result bw_cmd_key_name(struct bw_cli *cli, const char *name_or_alias, char **ret_name)
{
    Bailiwick__V1__GetKeyRequest request = BAILIWICK__V1__GET_KEY_REQUEST__INIT;
    ProtobufCMessage *reply;

    *ret_name = (char *)(uintptr_t)name_or_alias;
    if (strncmp(name_or_alias, "bw:", 3) == 0)
        return bw_success();
    request.alias = *ret_name;
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetKey), &request.base, &reply));
    const Bailiwick__V1__Key *key = ((const Bailiwick__V1__GetKeyReply *)(const void *)reply)->key;
    BW_CHECK(key != NULL, BW_PROTOCOL_BROKEN, "the reply holds no key");
    *ret_name = key->name;
    return bw_success();
}

/* ---- options ---- */

bw_result bw_cmd_number(struct bw_cli *cli, const char *option, uint32_t most, uint32_t *ret_number)
{
    const char *text = bw_args_text(&cli->args, option);
    char       *end  = NULL;

    *ret_number = 0;
    if (text == NULL)
        return bw_success();
    bw_cli_about(cli, "--%s %s", option, text);
    unsigned long number = strtoul(text, &end, 10);
    BW_CHECK(text[0] >= '0' && text[0] <= '9' && *end == '\0', BW_BAD_ARGUMENT, "not a number");
    BW_CHECK(number <= most, BW_BAD_ARGUMENT, "more than may be asked for");
    *ret_number = (uint32_t)number;
    return bw_success();
}

bw_result bw_cmd_time(struct bw_cli *cli, const char *option, int64_t *ret_us)
{
    const char *text = bw_args_text(&cli->args, option);

    *ret_us = 0;
    if (text == NULL || strcmp(text, "never") == 0)
        return bw_success();
    bw_cli_about(cli, "--%s %s", option, text);
    BW_TRY(bw_moment_parse(text, bw_moment_now(), ret_us));
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_cmd_hex(struct bw_cli *cli, const char *option, size_t most, ProtobufCBinaryData *ret_bytes)
{
    const char *text = bw_cmd_text(cli, option);
    size_t      len  = strlen(text) / 2;

    bw_cli_about(cli, "--%s %s", option, text);
    BW_CHECK(len <= most, BW_BAD_ARGUMENT, "too long");
    uint8_t *bytes = bw_arena_alloc(&cli->arena, len);
    BW_CHECK(bytes != NULL, BW_NO_MEMORY, "option");
    BW_CHECK(bw_unhex(text, strlen(text), bytes), BW_BAD_ARGUMENT, "not hexadecimal");
    *ret_bytes = bw_wire_data(bw_bytes_of(bytes, len));
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_cmd_texts(struct bw_cli *cli, const char *option, size_t most, char ***ret_texts, size_t *ret_count)
{
    char      **texts = bw_arena_alloc(&cli->arena, most * sizeof *texts);
    const char *text;
    size_t      at = 0, count = 0;

    BW_CHECK(texts != NULL, BW_NO_MEMORY, "options");
    while ((text = bw_args_next(&cli->args, option, &at)) != NULL) {
        bw_cli_about(cli, "--%s", option);
        BW_CHECK(count < most, BW_BAD_ARGUMENT, "too many of these");
        if (*text != '\0')
            texts[count++] = (char *)(uintptr_t)text;
    }
    cli->about[0] = '\0';
    *ret_texts = texts;
    *ret_count = count;
    return bw_success();
}

static void tell_names(struct bw_cli *cli, const char *option, const char *name, const ProtobufCEnumDescriptor *names)
{
    const char *all = "";

    for (unsigned i = 0; i < names->n_values && all != NULL; i++)
        if (names->values[i].value != 0)
            all = bw_arena_text(&cli->arena, "%s%s%s", all, *all ? ", " : "", names->values[i].name);
    bw_cli_about(cli, "--%s %s: there is %s", option, name, all ? all : "another");
}

bw_result bw_cmd_enum(struct bw_cli *cli, const char *option, const char *name, const ProtobufCEnumDescriptor *names, int *ret_value)
{
    for (unsigned i = 0; i < names->n_values; i++)
        if (names->values[i].value != 0 && strcasecmp(names->values[i].name, name) == 0) {
            *ret_value = names->values[i].value;
            return bw_success();
        }
    tell_names(cli, option, name, names);
    return bw_fail(BW_BAD_ARGUMENT, "no such name");
}

bw_result bw_cmd_enums(struct bw_cli *cli, const char *option, const ProtobufCEnumDescriptor *names, int **ret_values, size_t *ret_count)
{
    char **texts;
    size_t count;

    BW_TRY(bw_cmd_texts(cli, option, names->n_values, &texts, &count));
    int *values = bw_arena_alloc(&cli->arena, count * sizeof *values);
    BW_CHECK(values != NULL, BW_NO_MEMORY, "options");
    for (size_t i = 0; i < count; i++)
        BW_TRY(bw_cmd_enum(cli, option, texts[i], names, &values[i]));
    *ret_values = values;
    *ret_count  = count;
    return bw_success();
}

/* ---- files ---- */

bw_result bw_cmd_load_text(struct bw_cli *cli, const char *path, size_t most, char **ret_text)
{
    BW_AUTO(secret) content = NULL;

    if (strcmp(path, "-") == 0)
        BW_TRY(bw_file_read(cli, STDIN_FILENO, "standard input", most, &content));
    else
        BW_TRY(bw_file_load(cli, path, most, &content));
    bw_cli_about(cli, "%s", path);
    const uint8_t *bytes = bw_secret_reveal(content);
    size_t         len   = bw_secret_len(content);
    BW_CHECK(memchr(bytes, '\0', len) == NULL, BW_BAD_ARGUMENT, "is no text");
    *ret_text = bw_arena_copy(&cli->arena, bw_bytes_of(bytes, len));
    BW_CHECK(*ret_text != NULL, BW_NO_MEMORY, "file");
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_cmd_print_text(const char *text)
{
    BW_CHECK(fputs(text, stdout) >= 0, BW_INTERNAL, "standard output cannot be written");
    return bw_success();
}
