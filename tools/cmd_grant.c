/* bailiwick grant: rights on one key beside its policy. */
#include <stdlib.h>
#include <time.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "cmd_common.h"

enum { VALUES_MAX = 64 /* of one option, as the terms take them */ };

/* ---- what is granted, as terms ---- */

static bw_result add_texts(struct bw_cli *cli, const char *option, const char *member, json_t *terms)
{
    char **texts;
    size_t count;

    BW_TRY(bw_cmd_texts(cli, option, VALUES_MAX, &texts, &count));
    if (count == 0)
        return bw_success();
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        BW_CHECK(json_array_append_new(list, json_string(texts[i])) == 0, BW_BAD_ARGUMENT, "not UTF-8 text");
    BW_CHECK(json_object_set_new(terms, member, list) == 0, BW_NO_MEMORY, "terms");
    return bw_success();
}

static bw_result add_context(struct bw_cli *cli, json_t *terms)
{
    struct bw_pairs pairs;

    BW_TRY(bw_pairs_read(cli, "context", BW_CONTEXT_PAIRS_MAX, BW_CONTEXT_TEXT_MAX, &pairs));
    if (pairs.count == 0)
        return bw_success();
    json_t *object = json_object();
    for (size_t i = 0; i < pairs.count; i++)
        BW_CHECK(json_object_set_new(object, pairs.list[i]->name, json_string(pairs.list[i]->value)) == 0, BW_BAD_ARGUMENT, "not UTF-8 text");
    BW_CHECK(json_object_set_new(terms, "context", object) == 0, BW_NO_MEMORY, "terms");
    return bw_success();
}

static bw_result add_beginning(struct bw_cli *cli, json_t *terms)
{
    char      text[sizeof "2026-01-31T00:00:00Z" + 8];
    struct tm when;
    int64_t   us;

    BW_TRY(bw_cmd_time(cli, "not-before", &us));
    if (us == 0)
        return bw_success();
    time_t seconds = (time_t)(us / 1000000);
    BW_CHECK(gmtime_r(&seconds, &when) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &when) > 0, BW_BAD_ARGUMENT, "not such a time");
    BW_CHECK(json_object_set_new(terms, "not_before", json_string(text)) == 0, BW_NO_MEMORY, "terms");
    return bw_success();
}

static bw_result fill_terms(struct bw_cli *cli, json_t *terms)
{
    static const struct { const char *option, *member; } lists[] = {
        { "to", "principals" }, { "operation", "operations" }, { "mechanism", "mechanisms" }, { "region", "regions" }, { "purpose", "purposes" },
    };

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        BW_TRY(add_texts(cli, lists[i].option, lists[i].member, terms));
    BW_TRY(add_context(cli, terms));
    return add_beginning(cli, terms);
}

static bw_result make_terms(struct bw_cli *cli, char **ret_text)
{
    json_t *terms = json_object();
    char   *text  = NULL;

    bw_result result = fill_terms(cli, terms);
    if (bw_ok(result)) {
        text      = json_dumps(terms, JSON_COMPACT);
        *ret_text = text ? bw_arena_copy(&cli->arena, bw_bytes_text(text)) : NULL;
        if (*ret_text == NULL)
            result = bw_fail(BW_NO_MEMORY, "terms");
    }
    free(text);
    json_decref(terms);
    return result;
}

/* ---- the commands ---- */

const struct bw_option bw_cmd_grant_create_options[] = {
    { "to",          BW_OPTION_MANY,   "APP",        "app/<name>, where * stands for anything" },
    { "operation",   BW_OPTION_MANY,   "OPERATION",  "encrypt, decrypt, wrap, unwrap, sign, verify, derive; else all that the key can do" },
    { "mechanism",   BW_OPTION_MANY,   "MECHANISM",  "CKM_AES_GCM ..., or envelope; else all that are not off by default" },
    { "context",     BW_OPTION_MANY,   "NAME=VALUE", "a pair that the encryption context must have" },
    { "region",      BW_OPTION_MANY,   "REGION",     "where the caller may run; else home only" },
    { "purpose",     BW_OPTION_MANY,   "TEXT",       "one that the caller must state; else none need be" },
    { "not-before",  BW_OPTION_TEXT,   "TIME",       "when it begins; else now" },
    { "expires",     BW_OPTION_NEEDED, "TIME",       "when it ends: 2026-01-02T03:04:05Z, or +12h, +30d; within 366 days" },
    { "delegations", BW_OPTION_TEXT,   "COUNT",      "how often it may be handed on, at most 8; else not at all" },
    { "parent",      BW_OPTION_TEXT,   "ID",         "applications: the grant to hand on" },
    { 0 }
};

bw_result bw_cmd_grant_create(struct bw_cli *cli)
{
    Bailiwick__V1__CreateGrantRequest request = BAILIWICK__V1__CREATE_GRANT_REQUEST__INIT;

    BW_TRY(make_terms(cli, &request.terms));
    BW_TRY(bw_cmd_time(cli, "expires", &request.expires_us));
    BW_TRY(bw_cmd_number(cli, "delegations", BW_GRANT_DEPTH_MAX, &request.delegations));
    cli->about[0] = '\0';
    request.parent = bw_cmd_text(cli, "parent");
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(CreateGrant), &request.base);
}

const struct bw_option bw_cmd_grant_list_options[] = { { 0 } };

bw_result bw_cmd_grant_list(struct bw_cli *cli)
{
    static const struct bw_column columns[] = {
        { "ID", "id" }, { "TO", "terms.principals" }, { "OPERATIONS", "terms.operations" }, { "EXPIRES", "expires" }, { "DELEGATIONS", "delegations" },
        { "PARENT", "parent" }, { "BY", "granter" }, { 0 }
    };
    Bailiwick__V1__ListGrantsRequest request = BAILIWICK__V1__LIST_GRANTS_REQUEST__INIT;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_list(cli, BW_METHOD_NR(ListGrants), &request.base, "grants", columns);
}

const struct bw_option bw_cmd_grant_revoke_options[] = { { 0 } };

bw_result bw_cmd_grant_revoke(struct bw_cli *cli)
{
    Bailiwick__V1__RevokeGrantRequest request = BAILIWICK__V1__REVOKE_GRANT_REQUEST__INIT;

    request.id = (char *)(uintptr_t)cli->args.operands[1];
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(RevokeGrant), &request.base);
}
