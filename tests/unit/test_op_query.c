/* Audit.Query: who sees which log, what a request may ask, and that an answer carries whole records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "daemon.h"
#include "fake/audit_case.h"
#include "stages.h"

static struct audit_case at;
static struct bw_daemon  daemon_of_region = { .region = { "eu-central" } };

static int make(void **state)
{
    (void)state;
    audit_case_make(&at);
    daemon_of_region.audit = at.audit;

    struct bw_record acme = audit_case_record(audit_case_log(&at, "acme"), 1), umbra = audit_case_record(audit_case_log(&at, "umbra"), 1);
    struct bw_record own = audit_case_record(0, 1);
    strcpy(acme.purpose, "acme's");
    strcpy(umbra.purpose, "umbra's");
    strcpy(own.purpose, "the region's");
    (void)audit_case_write(&at, &acme);
    (void)audit_case_write(&at, &umbra);
    (void)audit_case_write(&at, &own);
    acme.outcome = BW_OUTCOME_DENIED;
    (void)audit_case_write(&at, &acme);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    return 0;
}

/* What the daemon does with a request from such a caller; *call's arena holds the reply. */
static bw_result query(enum bw_role role, const char *tenant, const Bailiwick__V1__QueryRequest *request, struct bw_call *call, const Bailiwick__V1__QueryReply **ret_reply)
{
    static struct bw_job job;

    job = (struct bw_job){ .daemon = &daemon_of_region, .call = call, .request = { .message = &request->base } };
    job.caller.identity.role = role;
    strcpy(job.caller.identity.tenant.text, tenant);
    bw_result r = bw_op_query(&daemon_of_region, &job);
    *ret_reply = (const Bailiwick__V1__QueryReply *)job.reply.message;
    if (r.code == BW_WRONG_REGION)
        assert_string_equal(job.reply.home_region, "us-east");
    return r;
}

static const struct { const char *why; enum bw_role role; const char *tenant; bool region; enum bw_code code; const char *sees; } callers[] = {
    { "a custodian reads its tenant's log",              BW_ROLE_CUSTODIAN, "acme",  false, BW_OK,            "acme's"       },
    { "an auditor reads its tenant's log",               BW_ROLE_AUDITOR,   "umbra", false, BW_OK,            "umbra's"      },
    { "an operator reads the region's log",              BW_ROLE_OPERATOR,  "",      true,  BW_OK,            "the region's" },
    { "an operator reads no tenant's log",               BW_ROLE_OPERATOR,  "",      false, BW_NOT_PERMITTED, NULL           },
    { "a custodian does not read the region's log",      BW_ROLE_CUSTODIAN, "acme",  true,  BW_NOT_PERMITTED, NULL           },
    { "a tenant that did nothing yet has an empty log",  BW_ROLE_AUDITOR,   "quiet", false, BW_OK,            NULL           },
};

static void everybody_sees_his_own_log_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(callers); i++) {
        Bailiwick__V1__QueryRequest      request = BAILIWICK__V1__QUERY_REQUEST__INIT;
        const Bailiwick__V1__QueryReply *reply;
        struct bw_call                   call = { 0 };

        request.region = callers[i].region;
        bw_result r = query(callers[i].role, callers[i].tenant, &request, &call, &reply);
        if (r.code != callers[i].code)
            fail_msg("%s: %s", callers[i].why, bw_code_row(r.code)->name);
        for (size_t n = 0; reply != NULL && n < reply->n_records; n++)
            assert_string_equal(reply->records[n]->context->purpose, callers[i].sees);
        if (callers[i].sees != NULL)
            assert_true(reply->n_records > 0);
        bw_arena_clear(&call.arena);
    }
}

static void an_answer_carries_whole_records(void **state)
{
    (void)state;
    Bailiwick__V1__QueryRequest      request = BAILIWICK__V1__QUERY_REQUEST__INIT;
    const Bailiwick__V1__QueryReply *reply;
    struct bw_call                   call = { 0 };
    char                            *operations[] = { (char *)(uintptr_t)"Decrypt" };
    Bailiwick__V1__Outcome           outcomes[]   = { BAILIWICK__V1__OUTCOME__DENIED };

    request.key          = (char *)(uintptr_t)"bw:eu-central:acme:key/01000000000000000000000000000000";
    request.principal    = (char *)(uintptr_t)"spiffe://example.org/region/eu-central/tenant/acme/app/web-1";
    request.operations   = operations;
    request.n_operations = 1;
    request.outcomes     = outcomes;
    request.n_outcomes   = 1;
    check_ok(query(BW_ROLE_AUDITOR, "acme", &request, &call, &reply));
    assert_int_equal(reply->n_records, 1);
    assert_int_equal(reply->log_size, 2);
    assert_memory_equal(reply->log, "eu-central.example/audit/t/", 27);
    const Bailiwick__V1__Record *record = reply->records[0];
    assert_int_equal(record->index, 1);
    assert_int_equal(record->essential->operation, 2);
    assert_int_equal(record->essential->outcome, BAILIWICK__V1__OUTCOME__DENIED);
    assert_int_equal(record->essential->event_id.len, 16);
    assert_string_equal(record->essential->region, "eu-central");
    assert_string_equal(record->who->principal, request.principal);
    assert_int_equal(record->context->aad_tag.len, 32);
    bw_arena_clear(&call.arena);
}

static void ask_bad_operation(Bailiwick__V1__QueryRequest *request)
{
    static char *operations[] = { (char *)(uintptr_t)"Explode" };
    request->operations   = operations;
    request->n_operations = 1;
}

static void ask_bad_outcome(Bailiwick__V1__QueryRequest *request)
{
    static Bailiwick__V1__Outcome outcomes[] = { (Bailiwick__V1__Outcome)6 };
    request->outcomes   = outcomes;
    request->n_outcomes = 1;
}

static void ask_bad_key(Bailiwick__V1__QueryRequest *request)      { request->key = (char *)(uintptr_t)"my key"; }
static void ask_abroad(Bailiwick__V1__QueryRequest *request)       { request->key = (char *)(uintptr_t)"bw:us-east:acme:key/01000000000000000000000000000000"; }
static void ask_bad_limit(Bailiwick__V1__QueryRequest *request)    { request->limit = 1001; }
static void ask_bad_time(Bailiwick__V1__QueryRequest *request)     { request->from_us = -1; }
static void ask_bad_id(Bailiwick__V1__QueryRequest *request)       { request->of_request_id = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t)"abc" }; }
static void ask_beyond(Bailiwick__V1__QueryRequest *request)       { request->from_index = 3; }

static const struct { const char *why; void (*ask)(Bailiwick__V1__QueryRequest *); enum bw_code code; const char *field; } refused[] = {
    { "an operation there is not",       ask_bad_operation, BW_BAD_ARGUMENT, "operations"    },
    { "an outcome there is not",         ask_bad_outcome,   BW_BAD_ARGUMENT, "outcomes"      },
    { "a key's name that is none",       ask_bad_key,       BW_BAD_ARGUMENT, "key"           },
    { "a key of another region",         ask_abroad,        BW_WRONG_REGION, "key"           },
    { "more records than a page holds",  ask_bad_limit,     BW_BAD_ARGUMENT, "limit"         },
    { "a time before 1970",              ask_bad_time,      BW_BAD_ARGUMENT, "from_us"       },
    { "a request id cut short",          ask_bad_id,        BW_BAD_ARGUMENT, "of_request_id" },
    { "a position beyond the log's end", ask_beyond,        BW_LOG_POSITION, NULL            },
};

static void a_bad_request_is_refused_and_its_field_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        Bailiwick__V1__QueryRequest      request = BAILIWICK__V1__QUERY_REQUEST__INIT;
        const Bailiwick__V1__QueryReply *reply;
        struct bw_call                   call = { 0 };

        refused[i].ask(&request);
        bw_result r = query(BW_ROLE_AUDITOR, "acme", &request, &call, &reply);
        if (r.code != refused[i].code)
            fail_msg("%s: %s", refused[i].why, bw_code_row(r.code)->name);
        if (refused[i].field != NULL)
            assert_string_equal(r.field, refused[i].field);
        assert_null(reply);
        bw_arena_clear(&call.arena);
    }
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_log(everybody_sees_his_own_log_only),
        with_log(an_answer_carries_whole_records),
        with_log(a_bad_request_is_refused_and_its_field_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
