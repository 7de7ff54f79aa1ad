/* Dual control, over mutual TLS against a live daemon: custodians who find together, and every way in which one of them alone
 * might get around the others. Each refusal must be on record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/proposals.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)
#define REPLY(Method) const Bailiwick__V1__##Method##Reply *

#define HOME   LIVE_TRUST LIVE_HOME "/tenant/"
#define ABROAD LIVE_TRUST "us-eastern/tenant/"

static struct live     live;
static struct bw_arena lasting;
static char            tenant[32];       /* of this test alone */
static unsigned        serial;

enum who { ANN, BOB, CAS, DAN, EVE, APP_ANN, AUDITOR, BOB_ABROAD, STRANGER, OPERATOR, EVERYBODY };
static const struct { const char *prefix, *rest; } ids[] = {
    [ANN]        = { HOME,                              "/custodian/ann" },
    [BOB]        = { HOME,                              "/custodian/bob" },
    [CAS]        = { HOME,                              "/custodian/cas" },
    [DAN]        = { HOME,                              "/custodian/dan" },
    [EVE]        = { HOME,                              "/custodian/eve" },
    [APP_ANN]    = { HOME,                              "/app/ann"       },
    [AUDITOR]    = { HOME,                              "/auditor/al"    },
    [BOB_ABROAD] = { ABROAD,                            "/custodian/bob" },
    [STRANGER]   = { HOME,                              "-x/custodian/bob" },
    [OPERATOR]   = { LIVE_TRUST LIVE_HOME "/operator/ops", NULL          },
};
static struct bw_client *callers[EVERYBODY];

static const char *id_of(enum who who)
{
    return ids[who].rest ? bw_arena_text(&lasting, "%s%s%s", ids[who].prefix, tenant, ids[who].rest) : ids[who].prefix;
}

static struct bw_client *as(enum who who)
{
    if (callers[who] == NULL)
        callers[who] = live_caller(&live, id_of(who));
    return callers[who];
}

static void forget_callers(void)
{
    for (size_t i = 0; i < EVERYBODY; i++) {
        bw_client_free(callers[i]);
        callers[i] = NULL;
    }
}

/* ---- asking ---- */

static struct bw_refusal refusal; /* of the last call */

static enum bw_code ask(enum who who, enum bw_method_nr method, void *request, const void **ret_reply)
{
    ProtobufCMessage *reply = NULL;
    bw_result result = bw_call(as(who), bw_method_by_number(method), request, &lasting, &reply, &refusal);

    if (ret_reply != NULL)
        *ret_reply = reply;
    return result.code;
}

static enum bw_code set_key_policy(enum who who, const char *key, const char *policy)
{
    NEW(set_key_policy, SetKeyPolicy, request);
    request.name   = TEXT(key);
    request.policy = TEXT(policy);
    return ask(who, BW_METHOD_NR(SetKeyPolicy), &request, NULL);
}

static enum bw_code set_tenant_policy(enum who who, const char *policy)
{
    NEW(set_tenant_policy, SetTenantPolicy, request);
    request.policy = TEXT(policy);
    return ask(who, BW_METHOD_NR(SetTenantPolicy), &request, NULL);
}

static const char *numbered_policy(unsigned number)
{
    return bw_arena_text(&lasting, "{\"rules\": [{\"name\": \"%u\"}]}", number);
}

static enum bw_code purge(enum who who, const char *key)
{
    NEW(purge_key, PurgeKey, request);
    request.name = TEXT(key);
    return ask(who, BW_METHOD_NR(PurgeKey), &request, NULL);
}

static const char *create_key(const char *policy)
{
    NEW(create_key, CreateKey, request);
    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.policy = TEXT(policy);
    return ((REPLY(CreateKey))(const void *)live_must(as(ANN), BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

static const char *doomed_key(void)
{
    NEW(schedule_deletion, ScheduleDeletion, request);
    request.name = TEXT(create_key(""));
    (void)live_must(as(ANN), BW_METHOD_NR(ScheduleDeletion), &request.base, &lasting);
    return request.name;
}

static enum bw_code revoke(enum who by, enum who whom)
{
    NEW(revoke_principal, RevokePrincipal, request);
    request.principal = TEXT(id_of(whom));
    return ask(by, BW_METHOD_NR(RevokePrincipal), &request, NULL);
}

/* ---- proposals ---- */

static ProtobufCBinaryData unhex(const char *text)
{
    uint8_t *id = bw_arena_alloc(&lasting, BW_PROPOSAL_ID_LEN);
    assert_true(strlen(text) == 2 * BW_PROPOSAL_ID_LEN && bw_unhex(text, strlen(text), id));
    return bw_wire_data(bw_bytes_of(id, BW_PROPOSAL_ID_LEN));
}

/* The proposal that the last call was refused with. */
static const char *proposed(void)
{
    assert_string_equal(refusal.reason, "NOT_APPROVED");
    assert_int_equal(strlen(refusal.proposal), 2 * BW_PROPOSAL_ID_LEN);
    return bw_arena_text(&lasting, "%s", refusal.proposal);
}

static enum bw_code approve(enum who who, const char *proposal)
{
    NEW(approve_proposal, ApproveProposal, request);
    request.id = unhex(proposal);
    return ask(who, BW_METHOD_NR(ApproveProposal), &request, NULL);
}

static enum bw_code reject(enum who who, const char *proposal)
{
    NEW(reject_proposal, RejectProposal, request);
    request.id = unhex(proposal);
    return ask(who, BW_METHOD_NR(RejectProposal), &request, NULL);
}

static const Bailiwick__V1__Proposal *look_at(const char *proposal)
{
    NEW(get_proposal, GetProposal, request);
    const void *reply;
    request.id = unhex(proposal);
    assert_int_equal(ask(AUDITOR, BW_METHOD_NR(GetProposal), &request, &reply), BW_OK);
    return ((REPLY(GetProposal))reply)->proposal;
}

static size_t waiting(void)
{
    NEW(list_proposals, ListProposals, request);
    const void *reply;
    assert_int_equal(ask(AUDITOR, BW_METHOD_NR(ListProposals), &request, &reply), BW_OK);
    return ((REPLY(ListProposals))reply)->n_proposals;
}

/* ---- what is on record ---- */

/* Records of the tenant's log that are about this proposal; reason and outcome 0: any. */
static unsigned on_record(const char *operation, enum bw_code reason, int outcome, const char *proposal)
{
    char *operations[] = { TEXT(operation) };
    NEW(query, Query, request);
    const void *reply;
    unsigned count = 0;

    request.operations   = operations;
    request.n_operations = 1;
    request.limit        = BW_PAGE_MAX;
    assert_int_equal(ask(AUDITOR, BW_METHOD_NR(Query), &request, &reply), BW_OK);
    for (size_t i = 0; i < ((REPLY(Query))reply)->n_records; i++) {
        const Bailiwick__V1__RecordEssential *record = ((REPLY(Query))reply)->records[i]->essential;
        count += (outcome == 0 || (int)record->outcome == outcome) && (reason == 0 || record->reason == (uint32_t)reason) &&
                 (proposal == NULL || bw_bytes_equal(bw_wire_bytes(record->proposal_id), bw_wire_bytes(unhex(proposal))));
    }
    return count;
}
enum { GRANTED = BAILIWICK__V1__OUTCOME__GRANTED, DENIED = BAILIWICK__V1__OUTCOME__DENIED };

/* ---- finding together ---- */

static void two_custodians_purge_a_key_at_once(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_string_equal(proposed(), proposal);
    assert_int_equal(waiting(), 1);
    assert_string_equal(look_at(proposal)->method, "PurgeKey");
    assert_string_equal(look_at(proposal)->key, key);
    assert_string_equal(look_at(proposal)->proposer, id_of(ANN));
    assert_int_equal(look_at(proposal)->state, BAILIWICK__V1__PROPOSAL_STATE__WAITING);
    assert_int_equal(look_at(proposal)->needed, 2);

    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(look_at(proposal)->state, BAILIWICK__V1__PROPOSAL_STATE__APPROVED);
    assert_int_equal(look_at(proposal)->n_approvals, 2);
    assert_int_equal(purge(BOB, key), BW_OK);
    assert_int_equal(purge(BOB, key), BW_NO_SUCH_KEY);
    assert_int_equal(waiting(), 0);
    assert_int_equal(on_record("PurgeKey", BW_NOT_APPROVED, DENIED, proposal), 2);
    assert_int_equal(on_record("ApproveProposal", BW_OK, GRANTED, proposal), 1);
    assert_int_equal(on_record("PurgeKey", BW_OK, GRANTED, proposal), 1);
}

static void only_a_key_that_is_to_be_deleted_is_purged(void **state)
{
    const char *key = create_key("");

    (void)state;
    assert_int_equal(purge(ANN, key), BW_KEY_STATE);
    assert_int_equal(waiting(), 0);
}

static void three_custodians_where_the_policy_says_three(void **state)
{
    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"purge\"], \"approvals\": 3}}"), BW_OK);
    const char *key = doomed_key();
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(approve(BOB, proposal), BW_OK); /* twice is once */
    assert_int_equal(look_at(proposal)->approved, 2);
    assert_int_equal(purge(BOB, key), BW_NOT_APPROVED);
    assert_int_equal(approve(CAS, proposal), BW_OK);
    assert_int_equal(purge(ANN, key), BW_OK);
}

static const struct { const char *why, *policy, *guarded, *free; } policies[] = {
    { "policies",               "{\"dual_control\": {\"actions\": [\"key_policy\"]}}", "{\"rules\": [{\"name\": \"a\"}]}",                       NULL },
    { "those that let keys out", "{\"dual_control\": {\"actions\": [\"release\"]}}",   "{\"rules\": [{\"name\": \"a\", \"release\": true}]}",    "{\"rules\": [{\"name\": \"b\", \"release\": false}]}" },
    { "nothing but its own",    "{\"dual_control\": {}}",                              NULL,                                                     "{\"rules\": [{\"name\": \"a\", \"release\": true}]}" },
};

static void key_policies_are_guarded_as_the_tenants_policy_says(void **state)
{
    enum who next = ANN;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        const char *key = create_key("");
        enum bw_code set = set_tenant_policy(ANN, policies[i].policy);
        if (set == BW_NOT_APPROVED && approve(BOB, proposed()) == BW_OK)
            set = set_tenant_policy(next, policies[i].policy);
        assert_int_equal(set, BW_OK);
        if (policies[i].free != NULL && set_key_policy(ANN, key, policies[i].free) != BW_OK)
            fail_msg("guards %s: a policy that is free takes several", policies[i].why);
        if (policies[i].guarded != NULL && set_key_policy(ANN, key, policies[i].guarded) != BW_NOT_APPROVED)
            fail_msg("guards %s: one custodian set it", policies[i].why);
        if (policies[i].guarded != NULL && (approve(BOB, proposed()) != BW_OK || set_key_policy(ANN, key, policies[i].guarded) != BW_OK))
            fail_msg("guards %s: two did not set it", policies[i].why);
    }
}

static void a_key_that_is_made_with_release_takes_two(void **state)
{
    NEW(create_key, CreateKey, request);
    const void *reply;

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"release\"]}}"), BW_OK);
    (void)create_key("{\"rules\": [{\"name\": \"a\"}]}");
    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.policy = TEXT("{\"rules\": [{\"name\": \"a\"}, {\"name\": \"b\", \"release\": true}]}");
    assert_int_equal(ask(ANN, BW_METHOD_NR(CreateKey), &request, &reply), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(ask(ANN, BW_METHOD_NR(CreateKey), &request, &reply), BW_OK);
    assert_int_equal(ask(ANN, BW_METHOD_NR(CreateKey), &request, &reply), BW_NOT_APPROVED); /* another key */
}

/* A grant lets somebody use the key as a policy does. What he hands on was granted before, and takes nobody. */
static void a_grant_is_guarded_as_a_policy_is(void **state)
{
    NEW(create_grant, CreateGrant, request);
    const void *reply;

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    request.name        = TEXT(create_key(""));
    request.terms       = TEXT("{\"principals\": [\"app/ann\"]}");
    request.expires_us  = ((int64_t)time(NULL) + 3600) * 1000000;
    request.delegations = 1;
    assert_int_equal(ask(ANN, BW_METHOD_NR(CreateGrant), &request, &reply), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(ask(ANN, BW_METHOD_NR(CreateGrant), &request, &reply), BW_OK);
    request.parent      = ((REPLY(CreateGrant))reply)->grant->id;
    request.delegations = 0;
    assert_int_equal(ask(APP_ANN, BW_METHOD_NR(CreateGrant), &request, &reply), BW_OK);
}

static void what_is_malformed_is_refused_and_not_proposed(void **state)
{
    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    assert_int_equal(set_key_policy(ANN, create_key(""), "{\"rules\": [{}]}"), BW_BAD_ARGUMENT);
    assert_int_equal(set_tenant_policy(ANN, "{\"dual\": {}}"), BW_BAD_ARGUMENT);
    assert_int_equal(waiting(), 0);
}

static const struct { const char *policy, *field; } bad_policies[] = {
    { "{\"dual_control\": true}",                                 "policy.dual_control"               },
    { "{\"dual_control\": {\"action\": []}}",                     "policy.dual_control"               },
    { "{\"dual_control\": {\"actions\": \"purge\"}}",             "policy.dual_control.actions"       },
    { "{\"dual_control\": {\"actions\": [1]}}",                   "policy.dual_control.actions"       },
    { "{\"dual_control\": {\"actions\": [\"perge\"]}}",           "policy.dual_control.actions"       },
    { "{\"dual_control\": {\"approvals\": 1}}",                   "policy.dual_control.approvals"     },
    { "{\"dual_control\": {\"approvals\": 9}}",                   "policy.dual_control.approvals"     },
    { "{\"dual_control\": {\"approvals\": \"2\"}}",               "policy.dual_control.approvals"     },
    { "{\"dual_control\": {\"expires_hours\": 0}}",               "policy.dual_control.expires_hours" },
    { "{\"dual_control\": {\"expires_hours\": 721}}",             "policy.dual_control.expires_hours" },
};

static void a_policy_that_is_none_is_refused_by_its_member(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_policies); i++)
        if (set_tenant_policy(ANN, bad_policies[i].policy) != BW_BAD_ARGUMENT || strcmp(refusal.field, bad_policies[i].field) != 0)
            fail_msg("%s: %s at %s", bad_policies[i].policy, refusal.reason, refusal.field);
}

static void anybody_of_the_custodians_rejects(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(reject(CAS, proposal), BW_OK);
    assert_int_equal(reject(CAS, proposal), BW_NO_SUCH_PROPOSAL);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_string_equal(proposed(), proposal);
    assert_int_equal(look_at(proposal)->approved, 1); /* what bob said before counts no more */
    assert_int_equal(reject(ANN, proposal), BW_OK);
    assert_int_equal(on_record("RejectProposal", BW_OK, GRANTED, proposal), 2);
}

/* ---- cheating ---- */

static const struct { const char *why; enum who who; enum bw_code code; bool elsewhere; } cheats[] = {
    { "the proposer approves what he proposed",          ANN,        BW_NOT_PERMITTED,    false },
    { "an application of the proposer's name approves",  APP_ANN,    BW_NOT_PERMITTED,    false },
    { "an auditor approves",                             AUDITOR,    BW_NOT_PERMITTED,    false },
    { "an operator approves",                            OPERATOR,   BW_NOT_PERMITTED,    true  },
    { "a custodian of another tenant approves",          STRANGER,   BW_NO_SUCH_PROPOSAL, true  },
    { "a custodian calls from abroad",                   BOB_ABROAD, BW_CALLER_REGION,    false },
};

static void nobody_but_another_custodian_of_the_tenant_approves(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    unsigned recorded = 0;
    for (size_t i = 0; i < ARRAY_LEN(cheats); i++) {
        enum bw_code code = approve(cheats[i].who, proposal);
        if (code != cheats[i].code)
            fail_msg("%s: %s", cheats[i].why, bw_code_row(code)->name);
        recorded += !cheats[i].elsewhere;
        if (on_record("ApproveProposal", 0, DENIED, NULL) != recorded)
            fail_msg("%s: not on record", cheats[i].why);
    }
    assert_int_equal(look_at(proposal)->approved, 1);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
}

static void one_custodian_does_not_switch_dual_control_off(void **state)
{
    static const char *const looser[] = { "{}", "{\"dual_control\": {\"approvals\": 2}}", "{\"apps_own_keys\": true}",
                                          "{\"dual_control\": {\"actions\": [\"key_policy\"], \"approvals\": 3, \"expires_hours\": 1}}" };

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"], \"approvals\": 3}}"), BW_OK);
    for (size_t i = 0; i < ARRAY_LEN(looser); i++) {
        assert_int_equal(set_tenant_policy(ANN, looser[i]), BW_NOT_APPROVED);
        assert_int_equal(on_record("SetTenantPolicy", BW_NOT_APPROVED, DENIED, proposed()), 1);
    }
    /* three, not two as the new one would have it */
    assert_int_equal(set_tenant_policy(BOB, looser[1]), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(set_tenant_policy(ANN, looser[1]), BW_NOT_APPROVED);
    assert_int_equal(approve(CAS, proposed()), BW_OK);
    assert_int_equal(set_tenant_policy(ANN, looser[1]), BW_OK);
}

static void who_revokes_the_others_is_alone_and_gets_nowhere(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"purge\"]}}"), BW_OK);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(revoke(ANN, BOB), BW_OK);
    assert_int_equal(look_at(proposal)->approved, 1);
    assert_true(look_at(proposal)->approvals[1]->revoked);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposal), BW_REVOKED);
    assert_int_equal(set_tenant_policy(ANN, "{}"), BW_NOT_APPROVED);
    assert_int_equal(approve(CAS, proposal), BW_OK);
    assert_int_equal(purge(CAS, key), BW_OK);
}

static void who_did_not_approve_does_not_carry_out(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(purge(CAS, key), BW_NOT_APPROVED);
    assert_int_equal(purge(ANN, key), BW_OK);
}

static void what_was_approved_is_what_was_shown(void **state)
{
    static const char shown[] = "{\"rules\": [{\"name\": \"shown\"}]}", other[] = "{\"rules\": [{\"name\": \"other\"}]}";
    const char *key = create_key("");
    ProtobufCMessage *request;

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    assert_int_equal(set_key_policy(ANN, key, shown), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(bw_wire_unpack(&bailiwick__v1__set_key_policy_request__descriptor, bw_wire_bytes(look_at(proposal)->request), &lasting, &request).code, BW_OK);
    assert_string_equal(((Bailiwick__V1__SetKeyPolicyRequest *)(void *)request)->policy, shown);
    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(set_key_policy(ANN, key, other), BW_NOT_APPROVED);
    assert_string_not_equal(proposed(), proposal);
    assert_int_equal(set_key_policy(ANN, create_key(""), shown), BW_NOT_APPROVED);
    assert_string_not_equal(proposed(), proposal);
    assert_int_equal(set_key_policy(ANN, key, shown), BW_OK);
}

static void an_approval_is_good_once(void **state)
{
    static const char first[] = "{\"rules\": [{\"name\": \"first\"}]}";
    const char *key = create_key("");

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    assert_int_equal(set_key_policy(ANN, key, first), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(approve(BOB, proposal), BW_OK);
    assert_int_equal(set_key_policy(ANN, key, first), BW_OK);
    assert_int_equal(approve(CAS, proposal), BW_NO_SUCH_PROPOSAL);
    assert_int_equal(set_key_policy(ANN, key, first), BW_NOT_APPROVED);
    assert_string_not_equal(proposed(), proposal); /* the key is of another generation */
}

static void a_retry_gets_the_first_answer(void **state)
{
    uint8_t request_id[BW_REQUEST_ID_LEN] = "sixteen bytes...";
    NEW(set_key_policy, SetKeyPolicy, request);
    const void *first, *again;

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    request.request_id = bw_wire_data(bw_bytes_of(request_id, sizeof request_id));
    request.name       = TEXT(create_key(""));
    request.policy     = TEXT("{\"rules\": []}");
    assert_int_equal(ask(ANN, BW_METHOD_NR(SetKeyPolicy), &request, &first), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(ask(ANN, BW_METHOD_NR(SetKeyPolicy), &request, &first), BW_OK); /* under the id that was refused before */
    assert_int_equal(ask(ANN, BW_METHOD_NR(SetKeyPolicy), &request, &again), BW_OK);
    assert_int_equal(((REPLY(SetKeyPolicy))again)->key->generation, ((REPLY(SetKeyPolicy))first)->key->generation);
}

static void a_proposal_comes_to_nothing_when_its_key_changes(void **state)
{
    NEW(schedule_deletion, ScheduleDeletion, later);
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    later.name = TEXT(key);
    later.days = 60;
    assert_int_equal(ask(CAS, BW_METHOD_NR(ScheduleDeletion), &later, NULL), BW_OK);
    assert_int_equal(look_at(proposal)->state, BAILIWICK__V1__PROPOSAL_STATE__STALE);
    assert_int_equal(approve(BOB, proposal), BW_CONFLICT);
    assert_int_equal(on_record("ApproveProposal", BW_CONFLICT, DENIED, proposal), 1);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_string_not_equal(proposed(), proposal);
}

/* Two policies for the same tenant, both with enough approvals: the second was approved of another tenant than there is now. */
static void of_two_proposals_that_race_one_wins(void **state)
{
    static const char left[] = "{}", right[] = "{\"apps_own_keys\": true}";

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {}}"), BW_OK);
    assert_int_equal(set_tenant_policy(ANN, left), BW_NOT_APPROVED);
    assert_int_equal(approve(BOB, proposed()), BW_OK);
    assert_int_equal(set_tenant_policy(BOB, right), BW_NOT_APPROVED);
    const char *late = proposed();
    assert_int_equal(approve(CAS, late), BW_OK);
    assert_int_equal(set_tenant_policy(ANN, left), BW_OK);
    assert_int_equal(look_at(late)->state, BAILIWICK__V1__PROPOSAL_STATE__STALE);
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {}}"), BW_OK);
    assert_int_equal(set_tenant_policy(BOB, right), BW_NOT_APPROVED);
}

struct runner { enum who who; const char *policy, *key; struct bw_arena arena; enum bw_code code; };

static void *run_it(void *self)
{
    struct runner *r = self;
    NEW(set_tenant_policy, SetTenantPolicy, tenants);
    NEW(set_key_policy, SetKeyPolicy, keys);

    keys.name      = TEXT(r->key);
    tenants.policy = keys.policy = TEXT(r->policy);
    (void)live_call(callers[r->who], r->key ? BW_METHOD_NR(SetKeyPolicy) : BW_METHOD_NR(SetTenantPolicy), r->key ? &keys.base : &tenants.base,
                    &r->arena, &r->code);
    bw_arena_clear(&r->arena);
    return NULL;
}

/* How many of them were granted; the others were not for want of approvals, or because somebody was first. */
static unsigned run_all(struct runner *runners, size_t count)
{
    pthread_t threads[8];
    unsigned done = 0;

    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_it, &runners[i]), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        done += runners[i].code == BW_OK;
        assert_true(runners[i].code == BW_OK || runners[i].code == BW_NOT_APPROVED || runners[i].code == BW_CONFLICT);
    }
    return done;
}

static void what_is_carried_out_by_several_at_once_is_done_once(void **state)
{
    static const char policy[] = "{\"dual_control\": {\"actions\": [\"purge\"]}}";
    struct runner runners[] = { { .who = ANN, .policy = policy }, { .who = BOB, .policy = policy }, { .who = CAS, .policy = policy }, { .who = DAN, .policy = policy } };

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {}}"), BW_OK);
    assert_int_equal(set_tenant_policy(ANN, policy), BW_NOT_APPROVED);
    const char *proposal = proposed();
    for (enum who who = BOB; who <= DAN; who++)
        assert_int_equal(approve(who, proposal), BW_OK);
    assert_int_equal(run_all(runners, ARRAY_LEN(runners)), 1);
    assert_int_equal(on_record("SetTenantPolicy", BW_OK, GRANTED, proposal), 1);
}

/* All were approved of the key as it is: the first one makes it another. */
static void of_four_policies_for_one_key_that_race_one_is_set(void **state)
{
    struct runner runners[] = { { .who = ANN }, { .who = BOB }, { .who = CAS }, { .who = DAN } };
    const char *key = create_key("");

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    for (size_t i = 0; i < ARRAY_LEN(runners); i++) {
        runners[i].key    = key;
        runners[i].policy = numbered_policy((unsigned)i);
        assert_int_equal(set_key_policy(runners[i].who, key, runners[i].policy), BW_NOT_APPROVED);
        assert_int_equal(approve(EVE, proposed()), BW_OK);
    }
    assert_int_equal(run_all(runners, ARRAY_LEN(runners)), 1);
}

/* ---- bounds, time, crashes ---- */

static void proposals_are_bounded_for_each_custodian_and_for_all(void **state)
{
    const char *key = create_key("");
    unsigned number = 0;

    (void)state;
    assert_int_equal(set_tenant_policy(ANN, "{\"dual_control\": {\"actions\": [\"key_policy\"]}}"), BW_OK);
    for (enum who who = ANN; who <= DAN; who++) {
        for (unsigned i = 0; i < BW_PROPOSALS_EACH_MAX; i++)
            assert_int_equal(set_key_policy(who, key, numbered_policy(number++)), BW_NOT_APPROVED);
        assert_int_equal(set_key_policy(who, key, numbered_policy(number)), BW_QUOTA);
    }
    assert_int_equal(waiting(), BW_PROPOSALS_MAX);
    assert_int_equal(set_key_policy(EVE, key, numbered_policy(number)), BW_QUOTA);
    assert_int_equal(set_key_policy(EVE, key, numbered_policy(0)), BW_NOT_APPROVED); /* is there */
    assert_int_equal(reject(EVE, proposed()), BW_OK);
    assert_int_equal(set_key_policy(EVE, key, numbered_policy(number)), BW_NOT_APPROVED);
}

static void change_store(const char *sql)
{
    char command[512];

    (void)snprintf(command, sizeof command, "sqlite3 %s/store/store.db \"%s\"", live.folder, sql);
    assert_int_equal(system(command), 0);
}

static void a_proposal_is_over_when_its_time_is(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(look_at(proposal)->expires_us - look_at(proposal)->created_us, BW_PROPOSAL_HOURS * BW_HOUR_US);
    assert_int_equal(approve(BOB, proposal), BW_OK);
    forget_callers();
    live_stop(&live);
    change_store("DROP TRIGGER proposal_stays_what_it_is; UPDATE proposal SET expires_us = 1");
    live_start(&live);
    /* the housekeeper comes by, or the custodians do first: neither approves nor carries out */
    enum bw_code late = approve(CAS, proposal);
    assert_true(late == BW_EXPIRED || late == BW_NO_SUCH_PROPOSAL);
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    assert_int_equal(look_at(proposed())->approved, 1);
    assert_true(on_record("ExpireProposal", BW_OK, GRANTED, proposal) >= 1);
}

static void approvals_outlive_a_crash(void **state)
{
    const char *key = doomed_key();

    (void)state;
    assert_int_equal(purge(ANN, key), BW_NOT_APPROVED);
    const char *proposal = proposed();
    assert_int_equal(approve(BOB, proposal), BW_OK);
    forget_callers();
    live_kill(&live);
    live_start(&live);
    assert_int_equal(look_at(proposal)->state, BAILIWICK__V1__PROPOSAL_STATE__APPROVED);
    assert_int_equal(purge(ANN, key), BW_OK);
    assert_int_equal(purge(ANN, key), BW_NO_SUCH_KEY);
}

/* ---- */

static void make_tenant(const char *name)
{
    NEW(create_tenant, CreateTenant, request);
    request.name       = TEXT(name);
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(as(OPERATOR), BW_METHOD_NR(CreateTenant), &request.base, &lasting);
}

/* Each test has a tenant of its own, and a second one beside it. */
static int setup(void **state)
{
    char beside[40];

    (void)state;
    (void)snprintf(tenant, sizeof tenant, "acme-%u", serial++);
    (void)snprintf(beside, sizeof beside, "%s-x", tenant);
    make_tenant(tenant);
    make_tenant(beside);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forget_callers();
    bw_arena_clear(&lasting);
    return 0;
}

static int start(void **state)
{
    (void)state;
    live_make(&live);
    return 0;
}

static int end(void **state)
{
    (void)state;
    live_remove(&live);
    return 0;
}

#define DUAL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DUAL_TEST(two_custodians_purge_a_key_at_once),
        DUAL_TEST(only_a_key_that_is_to_be_deleted_is_purged),
        DUAL_TEST(three_custodians_where_the_policy_says_three),
        DUAL_TEST(key_policies_are_guarded_as_the_tenants_policy_says),
        DUAL_TEST(a_key_that_is_made_with_release_takes_two),
        DUAL_TEST(a_grant_is_guarded_as_a_policy_is),
        DUAL_TEST(what_is_malformed_is_refused_and_not_proposed),
        DUAL_TEST(a_policy_that_is_none_is_refused_by_its_member),
        DUAL_TEST(anybody_of_the_custodians_rejects),
        DUAL_TEST(nobody_but_another_custodian_of_the_tenant_approves),
        DUAL_TEST(one_custodian_does_not_switch_dual_control_off),
        DUAL_TEST(who_revokes_the_others_is_alone_and_gets_nowhere),
        DUAL_TEST(who_did_not_approve_does_not_carry_out),
        DUAL_TEST(what_was_approved_is_what_was_shown),
        DUAL_TEST(an_approval_is_good_once),
        DUAL_TEST(a_retry_gets_the_first_answer),
        DUAL_TEST(a_proposal_comes_to_nothing_when_its_key_changes),
        DUAL_TEST(of_two_proposals_that_race_one_wins),
        DUAL_TEST(what_is_carried_out_by_several_at_once_is_done_once),
        DUAL_TEST(of_four_policies_for_one_key_that_race_one_is_set),
        DUAL_TEST(proposals_are_bounded_for_each_custodian_and_for_all),
        DUAL_TEST(a_proposal_is_over_when_its_time_is),
        DUAL_TEST(approvals_outlive_a_crash),
    };
    return cmocka_run_group_tests(tests, start, end);
}
