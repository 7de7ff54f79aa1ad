/* bailiwick policy: what a key's policy would have meant, before it is set. */
#include <string.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "cmd_common.h"
#include "message_json.h"

typedef Bailiwick__V1__TestKeyPolicyReply Reply;

enum { EXAMPLES_DEFAULT = 20, EXAMPLES_MAX = 100 };

const struct bw_option bw_cmd_policy_test_options[] = {
    { "key",      BW_OPTION_NEEDED, "KEY",   "whose past uses are put to it, by name or alias" },
    { "file",     BW_OPTION_NEEDED, "FILE",  "the policy, JSON; - is standard input" },
    { "from",     BW_OPTION_TEXT,   "TIME",  "uses from then on: 2026-01-02T03:04:05Z, or -1h; else -7d" },
    { "to",       BW_OPTION_TEXT,   "TIME",  "uses before then; else until now" },
    { "examples", BW_OPTION_TEXT,   "COUNT", "how many refusals to show, at most 100; else 20" },
    { 0 }
};

/* ---- answers to one, which adds them up ---- */

struct sum { json_t *counts, *examples; json_int_t refused, depends, records; };

static void add_to(json_t *row, const json_t *more, const char *member)
{
    json_int_t number = json_integer_value(json_object_get(row, member)) + json_integer_value(json_object_get(more, member));
    (void)json_object_set_new(row, member, json_integer(number)); /* out of memory: caught when the row is shown without it */
}

static json_t *row_like(const json_t *rows, const json_t *wanted)
{
    size_t  i;
    json_t *row;

    json_array_foreach(rows, i, row)
        if (json_equal(json_object_get(row, "principal"), json_object_get(wanted, "principal")) &&
            json_equal(json_object_get(row, "operation"), json_object_get(wanted, "operation")))
            return row;
    return NULL;
}

static bw_result add_count(struct sum *sum, json_t *count)
{
    json_t *row = row_like(sum->counts, count);

    sum->refused += json_integer_value(json_object_get(count, "refused"));
    sum->depends += json_integer_value(json_object_get(count, "depends"));
    if (row == NULL) {
        BW_CHECK(json_array_append(sum->counts, count) == 0, BW_NO_MEMORY, "counts");
        return bw_success();
    }
    add_to(row, count, "allowed");
    add_to(row, count, "refused");
    add_to(row, count, "depends");
    return bw_success();
}

static bw_result add_answer(struct sum *sum, const Reply *reply)
{
    json_t *json = bw_message_json(&reply->base), *count;
    size_t  i;

    BW_CHECK(json != NULL, BW_NO_MEMORY, "counts");
    bw_result result = bw_success();
    json_array_foreach(json_object_get(json, "counts"), i, count)
        if (bw_ok(result))
            result = add_count(sum, count);
    if (bw_ok(result) && json_array_extend(sum->examples, json_object_get(json, "examples")) != 0)
        result = bw_fail(BW_NO_MEMORY, "examples");
    sum->records += (json_int_t)reply->records;
    json_decref(json);
    return result;
}

/* What earlier answers showed, later ones need not. */
static bw_result ask_all(struct bw_cli *cli, Bailiwick__V1__TestKeyPolicyRequest *request, struct sum *sum)
{
    const Reply *reply;

    do {
        ProtobufCMessage *message;
        BW_TRY(bw_cli_call(cli, BW_METHOD_NR(TestKeyPolicy), &request->base, &message));
        reply = (const void *)message;
        BW_TRY(add_answer(sum, reply));
        while (json_array_size(sum->examples) > request->examples)
            (void)json_array_remove(sum->examples, json_array_size(sum->examples) - 1); /* cannot fail: it is there */
        request->from_index = reply->next_index;
    } while (reply->more);
    return bw_success();
}

/* ---- shown ---- */

static bw_result show_tables(struct bw_cli *cli, const struct sum *sum)
{
    static const struct bw_column counts[] = {
        { "CALLER", "principal" }, { "OPERATION", "operation" }, { "ALLOWED", "allowed" }, { "REFUSED", "refused" }, { "DEPENDS", "depends" }, { 0 }
    };
    static const struct bw_column examples[] = {
        { "INDEX", "index" }, { "TIME", "time" }, { "CALLER", "principal" }, { "OPERATION", "operation" }, { "MECHANISM", "mechanism" },
        { "VERDICT", "verdict" }, { "REASON", "reason" }, { "CONTEXT", "context_names" }, { 0 }
    };
    struct bw_table first = bw_table_for(cli, counts), second = bw_table_for(cli, examples);

    BW_TRY(bw_table_print(&first, sum->counts));
    if (json_array_size(sum->examples) == 0)
        return bw_success();
    (void)putchar('\n');
    return bw_table_print(&second, sum->examples);
}

static bw_result show(struct bw_cli *cli, const struct sum *sum)
{
    if (!cli->json)
        return show_tables(cli, sum);
    json_t *whole = json_pack("{s:O, s:O, s:I, s:I, s:I}", "counts", sum->counts, "examples", sum->examples, "records", sum->records,
                              "refused", sum->refused, "depends", sum->depends);
    BW_CHECK(whole != NULL, BW_NO_MEMORY, "counts");
    bw_result result = bw_show(cli, whole);
    json_decref(whole);
    return result;
}

static bw_result read_request(struct bw_cli *cli, Bailiwick__V1__TestKeyPolicyRequest *request)
{
    BW_TRY(bw_cmd_load_text(cli, bw_args_text(&cli->args, "file"), BW_OBJECT_MAX, &request->policy));
    BW_TRY(bw_cmd_time(cli, "from", &request->from_us));
    BW_TRY(bw_cmd_time(cli, "to", &request->to_us));
    BW_TRY(bw_cmd_number(cli, "examples", EXAMPLES_MAX, &request->examples));
    cli->about[0] = '\0';
    if (request->examples == 0)
        request->examples = EXAMPLES_DEFAULT;
    return bw_cmd_key_name(cli, bw_args_text(&cli->args, "key"), &request->name);
}

static bw_result test(struct bw_cli *cli, struct sum *sum)
{
    Bailiwick__V1__TestKeyPolicyRequest request = BAILIWICK__V1__TEST_KEY_POLICY_REQUEST__INIT;

    BW_CHECK(sum->counts != NULL && sum->examples != NULL, BW_NO_MEMORY, "counts");
    BW_TRY(read_request(cli, &request));
    BW_TRY(ask_all(cli, &request, sum));
    BW_TRY(show(cli, sum));
    BW_CHECK(sum->refused == 0, BW_DATA_INVALID, "this policy would have refused what was allowed");
    return bw_success();
}

bw_result bw_cmd_policy_test(struct bw_cli *cli)
{
    struct sum sum = { .counts = json_array(), .examples = json_array() };

    bw_result result = test(cli, &sum);
    json_decref(sum.counts);
    json_decref(sum.examples);
    return result;
}
