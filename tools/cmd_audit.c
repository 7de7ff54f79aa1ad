/* bailiwick audit query: who used which key, when, from where, with what outcome. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "cmd_common.h"
#include "head.h"
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
    { "from-index", BW_OPTION_TEXT, "INDEX",     "from this record of the log on" },
    { "follow",     BW_OPTION_FLAG, NULL,        "then each record as it comes, without end; goes on by itself when the region was away" },
    { "last",       BW_OPTION_TEXT, "FILE",      "the caller's last checkpoint: the log must go on from it, and the new one takes its place; made when missing" },
    { "log-key",    BW_OPTION_TEXT, "KEY",       "the log's key, known from elsewhere: name+id+base64" },
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

static bw_result read_index(struct bw_cli *cli, uint64_t *ret_index)
{
    const char *text = bw_args_text(&cli->args, "from-index");
    char *end = NULL;

    *ret_index = 0;
    if (text == NULL)
        return bw_success();
    bw_cli_about(cli, "--from-index %s", text);
    *ret_index = strtoull(text, &end, 10);
    BW_CHECK(text[0] >= '0' && text[0] <= '9' && *end == '\0', BW_BAD_ARGUMENT, "not a record's index");
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
    BW_TRY(bw_cmd_time(cli, "from", &request->from_us));
    BW_TRY(bw_cmd_time(cli, "to", &request->to_us));
    BW_TRY(read_index(cli, &request->from_index));
    BW_TRY(bw_cmd_hex(cli, "request-id", BW_REQUEST_ID_LEN, &request->of_request_id));
    request->outcomes     = (Bailiwick__V1__Outcome *)(void *)outcomes;
    request->principal    = bw_cmd_text(cli, "principal");
    request->newest_first = bw_args_flag(&cli->args, "newest");
    request->region       = bw_args_flag(&cli->args, "region");
    if (key != NULL)
        BW_TRY(bw_cmd_key_name(cli, key, &request->key));
    return bw_success();
}

/* ---- what both ways of asking do with an answer ---- */

/* A run: what is printed, how much, and the log's head that it goes on from. */
struct run {
    struct bw_cli       *cli;
    struct bw_table      table;
    const char          *last_path, *log_key;
    struct bw_checkpoint last;
    uint32_t             limit, left;     /* limit 0: all */
    uint64_t             next_index;
    bool                 heard, done;
};

static bw_result begin(struct bw_cli *cli, struct run *ret_run)
{
    struct run run = { .cli = cli, .table = bw_table_for(cli, columns), .last_path = bw_args_text(&cli->args, "last"),
                       .log_key = bw_args_text(&cli->args, "log-key") };

    BW_TRY(bw_cmd_number(cli, "limit", UINT32_MAX, &run.limit));
    cli->about[0] = '\0';
    run.left = run.limit;
    BW_TRY(bw_head_load_last(cli, run.last_path, &run.last));
    *ret_run = run;
    return bw_success();
}

static bw_result print_records(struct run *run, const ProtobufCMessage *reply, size_t count)
{
    json_t *json = bw_message_json(reply), *rows = json_object_get(json, "records");

    BW_CHECK(json != NULL, BW_NO_MEMORY, "records");
    while (run->limit > 0 && json_array_size(rows) > run->left)
        (void)json_array_remove(rows, json_array_size(rows) - 1);
    bw_result result = bw_table_print(&run->table, rows);
    json_decref(json);
    if (run->limit > 0)
        run->left -= count < run->left ? (uint32_t)count : run->left;
    run->done = run->limit > 0 && run->left == 0;
    return result;
}

static bw_result check_head(struct run *run, const Bailiwick__V1__Checkpoint *message)
{
    struct bw_head head;
    return message != NULL ? bw_head_go_on(run->cli, run->last_path, run->log_key, message, &run->last, &head) : bw_success();
}

/* ---- page by page ---- */

static bw_result query(struct run *run, Bailiwick__V1__QueryRequest *request)
{
    const Bailiwick__V1__QueryReply *reply;
    ProtobufCMessage *message;

    do {
        request->limit           = run->limit > 0 && run->left < BW_PAGE_MAX ? run->left : BW_PAGE_MAX;
        request->checkpoint      = run->last_path != NULL;
        request->checkpoint_size = run->last.size;
        BW_TRY(bw_cli_call(run->cli, BW_METHOD_NR(Query), &request->base, &message));
        reply = (const void *)message;
        BW_CHECK(reply->checkpoint != NULL || run->last_path == NULL, BW_PROTOCOL_BROKEN, "the reply holds no checkpoint");
        BW_TRY(check_head(run, reply->checkpoint));
        BW_TRY(print_records(run, &reply->base, reply->n_records));
        request->from_index = reply->next_index;
    } while (reply->more && !run->done);
    return bw_success();
}

/* ---- without end ---- */

static bw_result take(struct run *run, const Bailiwick__V1__FollowReply *reply)
{
    run->heard = true;
    BW_TRY(check_head(run, reply->checkpoint));
    if (reply->n_records > 0)
        BW_TRY(print_records(run, &reply->base, reply->n_records));
    BW_CHECK(fflush(stdout) == 0, BW_CANCELLED, "nobody reads any more");
    run->next_index = reply->next_index;
    BW_CHECK(!run->done, BW_CANCELLED, "that is all that was asked for");
    return bw_success();
}

static bw_result take_message(void *self, bw_bytes bytes)
{
    struct run       *run   = self;
    struct bw_arena   arena = { 0 };
    ProtobufCMessage *message;

    bw_result r = bw_wire_unpack(&bailiwick__v1__follow_reply__descriptor, bytes, &arena, &message);
    if (r.code == BW_BAD_ARGUMENT)
        r = bw_fail(BW_PROTOCOL_BROKEN, "the reply is not a message of its type");
    if (bw_ok(r))
        r = take(run, (const void *)message);
    bw_arena_clear(&arena);
    return r;
}

static bw_result follow_once(struct run *run, const Bailiwick__V1__QueryRequest *query)
{
    Bailiwick__V1__FollowRequest request = BAILIWICK__V1__FOLLOW_REQUEST__INIT;

    request.key             = query->key;
    request.principal       = query->principal;
    request.n_operations    = query->n_operations;
    request.operations      = query->operations;
    request.n_outcomes      = query->n_outcomes;
    request.outcomes        = query->outcomes;
    request.from_us         = query->from_us;
    request.region          = query->region;
    request.from_index      = run->next_index;
    request.checkpoint_size = run->last.size;
    return bw_cli_receive(run->cli, BW_METHOD_NR(Follow), &request.base, take_message, run);
}

/* A region that was there once is waited for. */
static bw_result follow(struct run *run, const Bailiwick__V1__QueryRequest *query)
{
    const struct timespec pause = { .tv_sec = 1 };
    bw_result r;

    run->next_index = query->from_index;
    for (;;) {
        r = follow_once(run, query);
        if (run->done)
            return bw_success();
        if (!bw_ok(r) && !(run->heard && bw_cli_may_pass(r.code)))
            return r;
        (void)nanosleep(&pause, NULL);
    }
}

static bw_result check_follow(struct bw_cli *cli)
{
    static const char *const ends[] = { "to", "newest", "request-id" };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        bw_cli_about(cli, "--%s", ends[i]);
        BW_CHECK(!bw_args_flag(&cli->args, ends[i]), BW_BAD_ARGUMENT, "does not go with --follow");
    }
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_cmd_audit_query(struct bw_cli *cli)
{
    Bailiwick__V1__QueryRequest request = BAILIWICK__V1__QUERY_REQUEST__INIT;
    bool       follows = bw_args_flag(&cli->args, "follow");
    struct run run;

    if (follows)
        BW_TRY(check_follow(cli));
    BW_TRY(read_request(cli, &request));
    BW_TRY(begin(cli, &run));
    return follows ? follow(&run, &request) : query(&run, &request);
}
