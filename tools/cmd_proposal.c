/* bailiwick proposal: what waits until more custodians stand by it. */
#include <string.h>

#include "bailiwick/v1/proposals.pb-c.h"
#include "cmd_common.h"
#include "message_json.h"

static bw_result id_operand(struct bw_cli *cli, ProtobufCBinaryData *ret_id)
{
    const char *text = cli->args.operands[0];
    uint8_t *id = bw_arena_alloc(&cli->arena, BW_PROPOSAL_ID_LEN);

    BW_CHECK(id != NULL, BW_NO_MEMORY, "proposal");
    bw_cli_about(cli, "%s", text);
    BW_CHECK(strlen(text) == 2 * BW_PROPOSAL_ID_LEN && bw_unhex(text, strlen(text), id), BW_BAD_ARGUMENT, "not a proposal's id: 32 hexadecimal digits");
    cli->about[0] = '\0';
    *ret_id = bw_wire_data(bw_bytes_of(id, BW_PROPOSAL_ID_LEN));
    return bw_success();
}

/* ---- a proposal with what it asks for, in words ---- */

static bw_result render(struct bw_cli *cli, const Bailiwick__V1__Proposal *proposal, json_t **ret_json)
{
    const struct bw_method *method = bw_method_by_name(proposal->method);
    ProtobufCMessage *request;

    BW_CHECK(method != NULL, BW_PROTOCOL_BROKEN, "the proposal is of a method that this tool does not know; it may be older than the daemon");
    BW_TRY(bw_wire_unpack(method->request, bw_wire_bytes(proposal->request), &cli->arena, &request));
    json_t *json = bw_message_json(&proposal->base);
    if (json == NULL || json_object_set_new(json, "request", bw_message_json(request)) != 0) {
        json_decref(json);
        return bw_fail(BW_NO_MEMORY, "proposal");
    }
    *ret_json = json;
    return bw_success();
}

/* All replies about one proposal have it under that name, be it beside a receipt. */
static bw_result show(struct bw_cli *cli, const ProtobufCMessage *reply, const Bailiwick__V1__Proposal *proposal)
{
    json_t *json, *whole;

    BW_CHECK(proposal != NULL, BW_PROTOCOL_BROKEN, "the reply holds no proposal");
    BW_TRY(render(cli, proposal, &json));
    whole = bw_message_json(reply);
    bw_result result = whole != NULL && json_object_set(whole, "proposal", json) == 0 ? bw_show(cli, whole) : bw_fail(BW_NO_MEMORY, "reply");
    json_decref(whole);
    json_decref(json);
    return result;
}

static bw_result get(struct bw_cli *cli, ProtobufCBinaryData id, const Bailiwick__V1__GetProposalReply **ret_reply)
{
    Bailiwick__V1__GetProposalRequest request = BAILIWICK__V1__GET_PROPOSAL_REQUEST__INIT;
    ProtobufCMessage *reply;

    request.id = id;
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetProposal), &request.base, &reply));
    *ret_reply = (const void *)reply;
    return bw_success();
}

/* ---- the commands ---- */

const struct bw_option bw_cmd_proposal_list_options[] = { { 0 } };

bw_result bw_cmd_proposal_list(struct bw_cli *cli)
{
    static const struct bw_column columns[] = {
        { "ID", "id" }, { "STATE", "state" }, { "METHOD", "method" }, { "APPROVED", "approved" }, { "NEEDED", "needed" },
        { "EXPIRES", "expires" }, { "PROPOSER", "proposer" }, { "KEY", "key" }, { 0 }
    };
    Bailiwick__V1__ListProposalsRequest request = BAILIWICK__V1__LIST_PROPOSALS_REQUEST__INIT;
    struct bw_table   table = bw_table_for(cli, columns);
    ProtobufCMessage *reply;

    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(ListProposals), &request.base, &reply));
    json_t *json = bw_message_json(reply);
    BW_CHECK(json != NULL, BW_NO_MEMORY, "reply");
    bw_result result = bw_table_print(&table, json_object_get(json, "proposals"));
    json_decref(json);
    return result;
}

const struct bw_option bw_cmd_proposal_show_options[] = { { 0 } };

bw_result bw_cmd_proposal_show(struct bw_cli *cli)
{
    const Bailiwick__V1__GetProposalReply *reply;
    ProtobufCBinaryData id;

    BW_TRY(id_operand(cli, &id));
    BW_TRY(get(cli, id, &reply));
    return show(cli, &reply->base, reply->proposal);
}

const struct bw_option bw_cmd_proposal_approve_options[] = {
    { "yes", BW_OPTION_FLAG, NULL, "do not show it and ask back" },
    { 0 }
};

/* What will be done, before the person at the terminal agrees to it. */
static bw_result ask_back(struct bw_cli *cli, ProtobufCBinaryData id)
{
    const Bailiwick__V1__GetProposalReply *reply;
    json_t *json;

    if (bw_args_flag(&cli->args, "yes"))
        return bw_success();
    BW_TRY(get(cli, id, &reply));
    BW_CHECK(reply->proposal != NULL, BW_PROTOCOL_BROKEN, "the reply holds no proposal");
    BW_TRY(render(cli, reply->proposal, &json));
    bw_result shown = bw_show_lines(stderr, json);
    json_decref(json);
    BW_TRY(shown);
    return bw_cli_confirm(cli, "Stand by this?");
}

bw_result bw_cmd_proposal_approve(struct bw_cli *cli)
{
    Bailiwick__V1__ApproveProposalRequest request = BAILIWICK__V1__APPROVE_PROPOSAL_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(id_operand(cli, &request.id));
    BW_TRY(ask_back(cli, request.id));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(ApproveProposal), &request.base, &reply));
    return show(cli, reply, ((const Bailiwick__V1__ApproveProposalReply *)(const void *)reply)->proposal);
}

const struct bw_option bw_cmd_proposal_reject_options[] = { { 0 } };

bw_result bw_cmd_proposal_reject(struct bw_cli *cli)
{
    Bailiwick__V1__RejectProposalRequest request = BAILIWICK__V1__REJECT_PROPOSAL_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(id_operand(cli, &request.id));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(RejectProposal), &request.base, &reply));
    return show(cli, reply, ((const Bailiwick__V1__RejectProposalReply *)(const void *)reply)->proposal);
}
