/* A key's life over the wire: every state, every action, against a live daemon. What must be answered is the daemon's own
 * table (key_state.h); test_key_state says that this table is the right one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/proposals.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"
#include "key_state.h"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)

static struct live       live;
static struct bw_client *operator, *custodian, *second, *app;
static struct bw_arena   lasting;

static void connect_callers(void)
{
    operator  = live_caller(&live, LIVE_TRUST LIVE_HOME "/operator/ops");
    custodian = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/custodian/ann");
    second    = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/custodian/bob");
    app       = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/app/web");
}

static void let_callers_go(void)
{
    bw_client_free(operator);
    bw_client_free(custodian);
    bw_client_free(second);
    bw_client_free(app);
}

/* ---- actions ---- */

/* The requests of most of them have the same two fields. */
static enum bw_code simple(enum bw_method_nr method, const char *key)
{
    NEW(enable_key, EnableKey, request);
    enum bw_code code;

    request.name = TEXT(key);
    request.base.descriptor = bw_method_by_number(method)->request;
    (void)live_call(custodian, method, &request.base, &lasting, &code);
    return code;
}
_Static_assert(sizeof(Bailiwick__V1__EnableKeyRequest) == sizeof(Bailiwick__V1__RotateKeyRequest) &&
               offsetof(Bailiwick__V1__EnableKeyRequest, name) == offsetof(Bailiwick__V1__RotateKeyRequest, name), "the same fields");

static enum bw_code enable(const char *key)  { return simple(BW_METHOD_NR(EnableKey), key); }
static enum bw_code disable(const char *key) { return simple(BW_METHOD_NR(DisableKey), key); }
static enum bw_code rotate(const char *key)  { return simple(BW_METHOD_NR(RotateKey), key); }
static enum bw_code cancel(const char *key)  { return simple(BW_METHOD_NR(CancelDeletion), key); }

static enum bw_code update(const char *key)
{
    char *fields[] = { TEXT("label") };
    NEW(update_key, UpdateKey, request);
    enum bw_code code;

    request.name     = TEXT(key);
    request.fields   = fields;
    request.n_fields = 1;
    (void)live_call(custodian, BW_METHOD_NR(UpdateKey), &request.base, &lasting, &code);
    return code;
}

static enum bw_code set_policy(const char *key)
{
    NEW(set_key_policy, SetKeyPolicy, request);
    enum bw_code code;

    request.name   = TEXT(key);
    request.policy = TEXT("{\"rules\": [{\"name\": \"all\"}]}");
    (void)live_call(custodian, BW_METHOD_NR(SetKeyPolicy), &request.base, &lasting, &code);
    return code;
}

static enum bw_code schedule(const char *key)
{
    NEW(schedule_deletion, ScheduleDeletion, request);
    enum bw_code code;

    request.name = TEXT(key);
    (void)live_call(custodian, BW_METHOD_NR(ScheduleDeletion), &request.base, &lasting, &code);
    return code;
}

/* The one proposes, the other approves, and then the one does it. */
static enum bw_code purge(const char *key)
{
    NEW(purge_key, PurgeKey, request);
    NEW(approve_proposal, ApproveProposal, approval);
    uint8_t id[BW_PROPOSAL_ID_LEN];
    struct bw_refusal refusal;
    ProtobufCMessage *reply;
    enum bw_code code;

    request.name = TEXT(key);
    bw_result asked = bw_call(custodian, bw_method_by_number(BW_METHOD_NR(PurgeKey)), &request.base, &lasting, &reply, &refusal);
    if (asked.code != BW_NOT_APPROVED || !bw_unhex(refusal.proposal, strlen(refusal.proposal), id))
        return asked.code;
    approval.id = bw_wire_data(bw_bytes_of(id, sizeof id));
    (void)live_must(second, BW_METHOD_NR(ApproveProposal), &approval.base, &lasting);
    (void)live_call(custodian, BW_METHOD_NR(PurgeKey), &request.base, &lasting, &code);
    return code;
}

static const struct { const char *name; enum bw_key_action action; enum bw_code (*run)(const char *key); } actions[] = {
    { "EnableKey",        BW_KEY_ENABLE,     enable     },
    { "DisableKey",       BW_KEY_DISABLE,    disable    },
    { "RotateKey",        BW_KEY_ROTATE,     rotate     },
    { "UpdateKey",        BW_KEY_UPDATE,     update     },
    { "SetKeyPolicy",     BW_KEY_SET_POLICY, set_policy },
    { "ScheduleDeletion", BW_KEY_SCHEDULE,   schedule   },
    { "CancelDeletion",   BW_KEY_CANCEL,     cancel     },
    { "PurgeKey",         BW_KEY_PURGE,      purge      },
};

/* ---- states ---- */

static const char *make(void)
{
    NEW(create_key, CreateKey, request);
    request.spec = BAILIWICK__V1__KEY_SPEC__AES_256;
    return ((const Bailiwick__V1__CreateKeyReply *)(const void *)live_must(custodian, BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

static const char *make_pending_import(void)
{
    NEW(create_key, CreateKey, request);
    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    return ((const Bailiwick__V1__CreateKeyReply *)(const void *)live_must(custodian, BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

static const char *make_disabled(void)
{
    const char *key = make();
    assert_int_equal(disable(key), BW_OK);
    return key;
}

static const char *make_pending_deletion(void)
{
    const char *key = make();
    assert_int_equal(schedule(key), BW_OK);
    return key;
}

/* 0: no such key, which is how a destroyed one looks. */
static enum bw_key_state state_of(const char *key)
{
    NEW(get_key, GetKey, request);
    enum bw_code code;

    request.name = TEXT(key);
    const void *reply = live_call(custodian, BW_METHOD_NR(GetKey), &request.base, &lasting, &code);
    if (code == BW_NO_SUCH_KEY)
        return 0;
    assert_int_equal(code, BW_OK);
    return (enum bw_key_state)((const Bailiwick__V1__GetKeyReply *)reply)->key->state;
}

/* Its waiting time is over while the daemon is down; the first thing that the new one does is to destroy it. */
static const char *make_destroyed(void)
{
    const char *key = make_pending_deletion();
    char command[512];

    let_callers_go();
    live_stop(&live);
    (void)snprintf(command, sizeof command, "sqlite3 %s/store/store.db \"UPDATE key SET deletion_us = 1, generation = generation + 1 WHERE state = 4 AND hex(id) = upper('%s')\"",
                   live.folder, strrchr(key, '/') + 1);
    assert_int_equal(system(command), 0);
    live_start(&live);
    connect_callers();
    time_t end = time(NULL) + 20;
    while (state_of(key) != 0)
        assert_true(time(NULL) < end);
    return key;
}

static const struct { const char *name; enum bw_key_state state; const char *(*make)(void); enum bw_code used; } states[] = {
    { "PENDING_IMPORT",   BW_STATE_PENDING_IMPORT,   make_pending_import,   BW_KEY_STATE    },
    { "ENABLED",          BW_STATE_ENABLED,          make,                  BW_OK           },
    { "DISABLED",         BW_STATE_DISABLED,         make_disabled,         BW_KEY_DISABLED },
    { "PENDING_DELETION", BW_STATE_PENDING_DELETION, make_pending_deletion, BW_KEY_STATE    },
    { "DESTROYED",        BW_STATE_DESTROYED,        make_destroyed,        BW_NO_SUCH_KEY  },
};

/* ---- the table ---- */

static unsigned check_cell(size_t s, size_t a, const char *key)
{
    enum bw_key_state to = states[s].state == BW_STATE_DESTROYED ? 0 : states[s].state;
    enum bw_code expected = bw_key_state_next(states[s].state, actions[a].action, &to).code;

    if (states[s].state == BW_STATE_DESTROYED)
        expected = BW_NO_SUCH_KEY; /* a destroyed key is shown to nobody */
    if (to == BW_STATE_DESTROYED)
        to = 0;
    enum bw_code got = actions[a].run(key);
    enum bw_key_state now = state_of(key);
    if (got == expected && now == to)
        return 0;
    print_error("%s when %s: %s instead of %s, then %d instead of %d\n", actions[a].name, states[s].name, bw_code_row(got)->name,
                bw_code_row(expected)->name, now, to);
    return 1;
}

static void every_action_leads_from_every_state_where_the_table_says(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(states); s++) {
        const char *key = states[s].make();
        for (size_t a = 0; a < ARRAY_LEN(actions); a++) {
            if (state_of(key) != states[s].state && states[s].state != BW_STATE_DESTROYED)
                key = states[s].make();
            wrong += check_cell(s, a, key);
        }
    }
    assert_int_equal(wrong, 0);
}

static void a_key_is_used_in_no_state_but_enabled(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(states); s++) {
        Bailiwick__V1__KeyRef key = BAILIWICK__V1__KEY_REF__INIT;
        NEW(wrap, Wrap, request);
        enum bw_code code;

        key.name    = TEXT(states[s].make());
        request.key = &key;
        (void)live_call(app, BW_METHOD_NR(Wrap), &request.base, &lasting, &code);
        if (code != states[s].used)
            fail_msg("%s: %s", states[s].name, bw_code_row(code)->name);
    }
}

static int setup(void **state)
{
    NEW(create_tenant, CreateTenant, request);

    (void)state;
    live_make(&live);
    connect_callers();
    request.name       = TEXT("acme");
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(operator, BW_METHOD_NR(CreateTenant), &request.base, &lasting);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    let_callers_go();
    bw_arena_clear(&lasting);
    live_remove(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action_leads_from_every_state_where_the_table_says),
        cmocka_unit_test(a_key_is_used_in_no_state_but_enabled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
