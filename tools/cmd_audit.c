/* bailiwick audit: who used which key, when, from where, with what outcome. */
#include <string.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "cmd_common.h"
#include "message_json.h"

enum { OPERATIONS_MAX = 64 };

const struct bw_option bw_cmd_audit_query_options[] = {
    { "key",        BW_OPTION_TEXT, "KEY",       "only records of this key, by name or alias" },
    { "principal",  BW_OPTION_TEXT, "SPIFFE-ID", "only records of this caller" },
    { "operation",  BW_OPTION_MANY, "METHOD",    "only such calls: Decrypt, RotateKey ..." },
    { "outcome",    BW_OPTION_MANY, "OUTCOME",   "granted, denied, error, intent, unknown" },
    { "from",       BW_OPTION_TEXT, "TIME",      "from then on: 2026-01-02T03:04:05Z, or -1h, -7d" },
    { "to",         BW_OPTION_TEXT, "TIME",      "before then" },
    { "request-id", BW_OPTION_TEXT, "HEX",       "only records of this request" },
    { "limit",      BW_OPTION_TEXT, "COUNT",     "at most so many; else all" },
    { "newest",     BW_OPTION_FLAG, NULL,        "newest first" },
    { "region",     BW_OPTION_FLAG, NULL,        "the region's own log, for operators" },
    { 0 }
};

static const struct bw_column columns[] = {
    { "INDEX",   "index"             }, { "TIME",      "essential.time"      }, { "OPERATION", "essential.operation" },
    { "OUTCOME", "essential.outcome" }, { "REASON",    "essential.reason"    }, { "KEY",       "essential.key_id"    },
    { "CALLER",  "who.principal"     }, { "FROM",      "who.address"         }, { 0 }
};

/* misspelt, it would silently match nothing */
static bw_result check_operations(struct bw_cli *cli, char *const *operations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bw_cli_about(cli, "--operation %s", operations[i]);
        BW_CHECK(bw_operation_number(operations[i]) != 0, BW_BAD_ARGUMENT, "no such method; bailiwick(1) lists them");
    }
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result read_request(struct bw_cli *cli, Bailiwick__V1__QueryRequest *request)
{
    const char *key = bw_args_text(&cli->args, "key");
    int *outcomes;

    BW_TRY(bw_cmd_texts(cli, "operation", OPERATIONS_MAX, &request->operations, &request->n_operations));
    BW_TRY(check_operations(cli, request->operations, request->n_operations));
    BW_TRY(bw_cmd_enums(cli, "outcome", &bailiwick__v1__outcome__descriptor, &outcomes, &request->n_outcomes));
    BW_TRY(bw_cmd_moment(cli, "from", &request->from_us));
    BW_TRY(bw_cmd_moment(cli, "to", &request->to_us));
    BW_TRY(bw_cmd_hex(cli, "request-id", BW_REQUEST_ID_LEN, &request->of_request_id));
    request->outcomes     = (Bailiwick__V1__Outcome *)(void *)outcomes;
    request->principal    = bw_cmd_text(cli, "principal");
    request->newest_first = bw_args_flag(&cli->args, "newest");
    request->region       = bw_args_flag(&cli->args, "region");
    if (key != NULL)
        BW_TRY(bw_cmd_key_name(cli, key, &request->key));
    return bw_success();
}

static bw_result print_records(const Bailiwick__V1__QueryReply *reply, struct bw_table *table)
{
    json_t *json = bw_message_json(&reply->base);

    BW_CHECK(json != NULL, BW_NO_MEMORY, "records");
    bw_result result = bw_table_print(table, json_object_get(json, "records"));
    json_decref(json);
    return result;
}

bw_result bw_cmd_audit_query(struct bw_cli *cli)
{
    Bailiwick__V1__QueryRequest request = BAILIWICK__V1__QUERY_REQUEST__INIT;
    struct bw_table table = bw_table_for(cli, columns);
    const Bailiwick__V1__QueryReply *reply;
    uint32_t left;

    BW_TRY(read_request(cli, &request));
    BW_TRY(bw_cmd_number(cli, "limit", UINT32_MAX, &left));
    cli->about[0] = '\0';
    do {
        ProtobufCMessage *message;
        request.limit = left > 0 && left < BW_PAGE_MAX ? left : BW_PAGE_MAX;
        BW_TRY(bw_cli_call(cli, BW_METHOD_NR(Query), &request.base, &message));
        reply = (const void *)message;
        BW_TRY(print_records(reply, &table));
        request.from_index = reply->next_index;
        if (left > 0 && (left -= (uint32_t)reply->n_records) == 0)
            break;
    } while (reply->more);
    return bw_success();
}
