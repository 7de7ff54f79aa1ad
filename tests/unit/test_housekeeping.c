/* What falls due by itself, with a real HSM, store and log. The clock is the test's: a pass is told what time it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "change.h"
#include "fake/region.h"
#include "hsm_internal.h"
#include "housekeeping.h"
#include "recover.h"
#include "stages.h"
#include "store.h"

#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/proposals.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"

#define OPERATOR  "spiffe://ex.org/region/eu-central/operator/ops"
#define CUSTODIAN "spiffe://ex.org/region/eu-central/tenant/acme/custodian/ann"
#define SECOND    "spiffe://ex.org/region/eu-central/tenant/acme/custodian/bob"
#define NODE      "spiffe://ex.org/region/eu-central/node/n1"

static struct region region;
static struct asked  asked;
static char key_name[BW_KEY_NAME_MAX + 1]; /* of the last key that was made */

static bw_result ask(const char *caller, enum bw_method_nr method, const void *message, const char *key, region_operation_fn operation)
{
    asked_clear(&asked);
    return region_ask(&region, &(struct asking){ .caller = caller, .method = method, .message = message, .key = key }, operation, &asked);
}

static void create_tenant(void)
{
    Bailiwick__V1__CreateTenantRequest message = BAILIWICK__V1__CREATE_TENANT_REQUEST__INIT;
    message.name       = (char *)(uintptr_t)"acme";
    message.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    assert_int_equal(ask(OPERATOR, BW_METHOD_NR(CreateTenant), &message, NULL, bw_op_create_tenant).code, BW_OK);
}

static void create_key(uint32_t rotation_days)
{
    char *aliases[] = { (char *)(uintptr_t)"orders" };
    Bailiwick__V1__CreateKeyRequest message = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;
    message.spec          = BAILIWICK__V1__KEY_SPEC__AES_256;
    message.rotation_days = rotation_days;
    message.aliases       = aliases;
    message.n_aliases     = 1;
    assert_int_equal(ask(CUSTODIAN, BW_METHOD_NR(CreateKey), &message, NULL, bw_op_create_key).code, BW_OK);
    (void)snprintf(key_name, sizeof key_name, "%s", ((Bailiwick__V1__CreateKeyReply *)(void *)asked.job.reply.message)->key->name);
}

#define SIMPLE(snake, Method)                                                                              \
    static bw_result snake(void)                                                                           \
    {                                                                                                      \
        Bailiwick__V1__##Method##Request message;                                                          \
        bailiwick__v1__##snake##_request__init(&message);                                                  \
        message.name = key_name;                                                                           \
        return ask(CUSTODIAN, BW_METHOD_NR(Method), &message, key_name, bw_op_##snake);                    \
    }
SIMPLE(rotate_key, RotateKey)
SIMPLE(disable_key, DisableKey)
SIMPLE(schedule_deletion, ScheduleDeletion)
SIMPLE(cancel_deletion, CancelDeletion)

static bw_result seal_tenant(void)
{
    Bailiwick__V1__SealTenantRequest message = BAILIWICK__V1__SEAL_TENANT_REQUEST__INIT;
    return ask(CUSTODIAN, BW_METHOD_NR(SealTenant), &message, NULL, bw_op_seal_tenant);
}

static int setup(void **state)
{
    (void)state;
    region_make(&region);
    create_tenant();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    asked_clear(&asked);
    region_remove(&region);
    return 0;
}

/* ---- looking behind ---- */

static const struct bw_key *stands(void)
{
    struct bw_key_name name;
    const struct bw_key *key;

    assert_int_equal(bw_key_name_parse(bw_bytes_text(key_name), &name).code, BW_OK);
    assert_int_equal(bw_registry_key(region.daemon.registry, &name.tenant, &name.id, &key).code, BW_OK);
    bw_key_unref(key); /* the registry still has it */
    return key;
}

static bw_result count_one(void *self, const bw_key_id *id, uint32_t version)
{
    (void)id, (void)version;
    ++*(int *)self;
    return bw_success();
}

static struct bw_token *token(void)
{
    const struct bw_tenant_info *tenant;

    assert_int_equal(bw_registry_tenant(region.daemon.registry, &(bw_tenant){ "acme" }, &tenant).code, BW_OK);
    struct bw_token *open = tenant->token;
    bw_tenant_info_unref(tenant);
    return open;
}

static int material(void)
{
    int count = 0;
    assert_int_equal(bw_hsm_each_key(token(), count_one, &count).code, BW_OK);
    return count;
}

static uint64_t on_record(uint32_t operation, enum bw_outcome outcome)
{
    struct bw_arena arena = { 0 };
    struct bw_audit_query query = { .principal = NODE, .operations = &operation, .operation_count = 1, .outcomes = &outcome, .outcome_count = 1, .limit = 100 };
    struct bw_audit_found found;

    assert_int_equal(bw_audit_log_of(region.daemon.audit, &(bw_tenant){ "acme" }, &query.log).code, BW_OK);
    assert_int_equal(bw_audit_find(region.daemon.audit, &query, &arena, &found).code, BW_OK);
    bw_arena_clear(&arena);
    return found.count;
}

static int failures;

static void count_failure(struct bw_daemon *daemon, const char *chore, const struct bw_key *key, bw_result why)
{
    (void)daemon, (void)chore, (void)key, (void)why;
    failures++;
}

/* A pass so many days from now. */
static int64_t pass_after(double days)
{
    failures = 0;
    return bw_housekeeping_run(&region.daemon, bw_now_us() + (int64_t)(days * (double)BW_DAY_US), count_failure);
}

/* ---- deletion ---- */

static void a_key_is_destroyed_when_its_waiting_time_is_over_and_not_before(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(rotate_key().code, BW_OK);
    assert_int_equal(schedule_deletion().code, BW_OK);
    (void)pass_after(29.9);
    assert_int_equal(stands()->state, BW_STATE_PENDING_DELETION);
    assert_int_equal(material(), 2);

    (void)pass_after(30.1);
    assert_int_equal(failures, 0);
    assert_int_equal(stands()->state, BW_STATE_DESTROYED);
    assert_int_equal(stands()->versions[0].state, BW_VERSION_DESTROYED);
    assert_int_equal(stands()->versions[1].state, BW_VERSION_DESTROYED);
    assert_int_equal(material(), 0);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_INTENT), 1);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_GRANTED), 1);

    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(stands()->state, BW_STATE_DESTROYED);
    assert_int_equal(cancel_deletion().code, BW_NO_SUCH_KEY);
    create_key(0); /* the alias is free again */
}

static void a_cancelled_deletion_is_not_carried_out(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(schedule_deletion().code, BW_OK);
    assert_int_equal(cancel_deletion().code, BW_OK);
    (void)pass_after(100);
    assert_int_equal(stands()->state, BW_STATE_DISABLED);
    assert_int_equal(material(), 1);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_INTENT), 0);
}

static void a_pass_tells_when_to_look_again(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(schedule_deletion().code, BW_OK);
    int64_t due = stands()->deletion_us, minute = 60 * 1000000;
    assert_int_equal(bw_housekeeping_run(&region.daemon, due - minute, count_failure), due);
    assert_int_equal(bw_housekeeping_run(&region.daemon, due - 11 * minute, count_failure), due - minute);
}

static void what_is_sealed_waits_for_its_token(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(schedule_deletion().code, BW_OK);
    assert_int_equal(seal_tenant().code, BW_OK);
    (void)pass_after(31);
    assert_int_equal(failures, 0);
    assert_int_equal(stands()->state, BW_STATE_PENDING_DELETION);
}

/* The store has said DESTROYED and the daemon died before the HSM was asked. */
static void a_crash_in_the_middle_is_finished_at_the_next_start(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(schedule_deletion().code, BW_OK);
    struct bw_record intent = { .operation = BW_DEED_NR(DestroyKey), .outcome = BW_OUTCOME_INTENT, .has_key = true, .key = stands()->name.id,
                                .policy_version = stands()->generation, .principal = NODE };
    struct bw_key_change change = { .action = BW_KEY_DESTROY };
    const struct bw_key *key = stands(), *changed;
    uint64_t index;

    assert_int_equal(bw_audit_log_of(region.daemon.audit, &key->name.tenant, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    assert_int_equal(bw_change_key(&region.daemon, &key->name.tenant, &key->name.id, &change, &changed).code, BW_OK);
    bw_key_unref(changed);
    assert_int_equal(material(), 1);
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(material(), 0);
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_GRANTED), 1);
}

static void an_hsm_that_fails_in_the_middle_is_asked_again(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(schedule_deletion().code, BW_OK);
    bw_token_close(token());
    (void)pass_after(31);
    assert_int_equal(failures, 1);
    assert_int_equal(stands()->state, BW_STATE_DESTROYED);
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 1);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_GRANTED), 0);
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(material(), 0);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_GRANTED), 1);
}

/* ---- early purge ---- */

static bw_result purge_key(void)
{
    Bailiwick__V1__PurgeKeyRequest message = BAILIWICK__V1__PURGE_KEY_REQUEST__INIT;
    message.name = key_name;
    return ask(CUSTODIAN, BW_METHOD_NR(PurgeKey), &message, key_name, bw_op_purge_key);
}

/* One proposes it and another approves. */
static void agree_to_purge(void)
{
    Bailiwick__V1__ApproveProposalRequest message = BAILIWICK__V1__APPROVE_PROPOSAL_REQUEST__INIT;
    uint8_t id[BW_PROPOSAL_ID_LEN];

    create_key(0);
    assert_int_equal(rotate_key().code, BW_OK);
    assert_int_equal(schedule_deletion().code, BW_OK);
    assert_int_equal(purge_key().code, BW_NOT_APPROVED);
    memcpy(id, asked.job.entry.record.proposal, sizeof id);
    message.id = (ProtobufCBinaryData){ sizeof id, id };
    assert_int_equal(ask(SECOND, BW_METHOD_NR(ApproveProposal), &message, NULL, bw_op_approve_proposal).code, BW_OK);
}

static void a_purge_leaves_nothing_in_the_hsm(void **state)
{
    (void)state;
    agree_to_purge();
    assert_int_equal(material(), 2);
    assert_int_equal(purge_key().code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_DESTROYED);
    assert_int_equal(material(), 0);
    (void)pass_after(100);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_INTENT), 0);
}

/* The answer says that it failed; the region goes on by itself, and the key is gone for everybody else. */
static void an_hsm_that_fails_in_a_purge_is_asked_again(void **state)
{
    (void)state;
    agree_to_purge();
    bw_token_close(token());
    assert_int_not_equal(purge_key().code, BW_OK);
    assert_int_equal(stands()->state, BW_STATE_DESTROYED);
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 1);
    assert_int_equal(purge_key().code, BW_NO_SUCH_KEY);
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(material(), 0);
    assert_int_equal(bw_recovery_open(region.daemon.recovery), 0);
    assert_int_equal(on_record(BW_DEED_NR(DestroyKey), BW_OUTCOME_GRANTED), 1);
}

/* The store has said DESTROYED, and the daemon died before the HSM was asked. */
static void a_crash_in_a_purge_is_finished_at_the_next_start(void **state)
{
    struct bw_record intent = { .operation = BW_METHOD_NR(PurgeKey), .outcome = BW_OUTCOME_INTENT, .has_key = true, .principal = NODE };
    const struct bw_key_change change = { .action = BW_KEY_PURGE };
    const struct bw_key *changed;
    uint64_t index;

    (void)state;
    agree_to_purge();
    intent.key            = stands()->name.id;
    intent.policy_version = stands()->generation;
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &(bw_tenant){ "acme" }, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    assert_int_equal(bw_change_key(&region.daemon, &(bw_tenant){ "acme" }, &intent.key, &change, &changed).code, BW_OK);
    bw_key_unref(changed);
    assert_int_equal(material(), 2);
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(material(), 0);
    assert_int_equal(on_record(BW_METHOD_NR(PurgeKey), BW_OUTCOME_GRANTED), 1);
}

/* The intent was written, and the daemon died before the store was asked: the approvals are there, and so is the key. */
static void a_crash_before_a_purge_leaves_the_approvals(void **state)
{
    struct bw_record intent = { .operation = BW_METHOD_NR(PurgeKey), .outcome = BW_OUTCOME_INTENT, .has_key = true, .principal = NODE };
    uint64_t index;

    (void)state;
    agree_to_purge();
    intent.key            = stands()->name.id;
    intent.policy_version = stands()->generation;
    assert_int_equal(bw_audit_log_of(region.daemon.audit, &(bw_tenant){ "acme" }, &intent.log).code, BW_OK);
    assert_int_equal(bw_audit_write(region.daemon.audit, &intent, &index).code, BW_OK);
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(on_record(BW_METHOD_NR(PurgeKey), BW_OUTCOME_UNKNOWN), 1);
    assert_int_equal(material(), 2);
    assert_int_equal(purge_key().code, BW_OK);
    assert_int_equal(material(), 0);
}

static void a_proposal_that_is_over_is_dropped_on_record(void **state)
{
    struct bw_proposal left[BW_PROPOSALS_MAX];
    struct bw_arena arena = { 0 };
    size_t count;

    (void)state;
    agree_to_purge();
    (void)pass_after(2.9);
    assert_int_equal(on_record(BW_DEED_NR(ExpireProposal), BW_OUTCOME_GRANTED), 0);
    (void)pass_after(3.1);
    assert_int_equal(failures, 0);
    assert_int_equal(on_record(BW_DEED_NR(ExpireProposal), BW_OUTCOME_GRANTED), 1);
    assert_int_equal(bw_store_list_proposals(region.daemon.store, &(bw_tenant){ "acme" }, 0, &arena, left, &count).code, BW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(purge_key().code, BW_NOT_APPROVED);
    bw_arena_clear(&arena);
}

/* ---- rotation ---- */

static void a_key_is_rotated_when_its_primary_is_old_enough(void **state)
{
    (void)state;
    create_key(90);
    (void)pass_after(89.9);
    assert_int_equal(bw_key_primary(stands())->number, 1);
    (void)pass_after(90.1);
    assert_int_equal(failures, 0);
    assert_int_equal(bw_key_primary(stands())->number, 2);
    assert_int_equal(stands()->versions[0].state, BW_VERSION_DECRYPT_ONLY);
    assert_int_equal(material(), 2);
    assert_int_equal(on_record(BW_METHOD_NR(RotateKey), BW_OUTCOME_GRANTED), 1);
}

static void a_key_without_a_period_is_rotated_only_when_its_budget_runs_out(void **state)
{
    (void)state;
    create_key(0);
    (void)pass_after(4000);
    assert_int_equal(bw_key_primary(stands())->number, 1);
    atomic_store(&stands()->versions[0].budget->taken, BW_USES_ROTATE - 1);
    (void)pass_after(0);
    assert_int_equal(bw_key_primary(stands())->number, 1);
    atomic_store(&stands()->versions[0].budget->taken, BW_USES_ROTATE);
    (void)pass_after(0);
    assert_int_equal(bw_key_primary(stands())->number, 2);
    (void)pass_after(0);
    assert_int_equal(bw_key_primary(stands())->number, 2);
}

static void a_disabled_key_is_not_rotated(void **state)
{
    (void)state;
    create_key(1);
    assert_int_equal(disable_key().code, BW_OK);
    (void)pass_after(5);
    assert_int_equal(failures, 0);
    assert_int_equal(bw_key_primary(stands())->number, 1);
}

/* ---- last uses ---- */

static void last_uses_reach_the_store_with_a_pass(void **state)
{
    (void)state;
    create_key(0);
    assert_int_equal(rotate_key().code, BW_OK);
    bw_key_note_use(&stands()->versions[0], 5000000);
    bw_key_note_use(&stands()->versions[0], 5999999); /* the same second counts once */
    asked_clear(&asked);
    region_restart(&region);
    assert_int_equal(atomic_load(&stands()->versions[0].budget->last_used_us), 0);

    bw_key_note_use(&stands()->versions[0], 5000000);
    (void)pass_after(0);
    region_restart(&region);
    assert_int_equal(atomic_load(&stands()->versions[0].budget->last_used_us), 5000000);
    assert_int_equal(atomic_load(&stands()->versions[1].budget->last_used_us), 0);
}

/* ---- the thread ---- */

static void the_thread_starts_and_ends(void **state)
{
    struct bw_housekeeping *house;

    (void)state;
    assert_int_equal(bw_housekeeping_start(&region.daemon, &house).code, BW_OK);
    bw_housekeeping_stop(house);
    bw_housekeeping_stop(NULL);
}

#define REGION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- import ---- */

static bool has_wrapping_key(void)
{
    struct bw_hsm_object *key;
    bw_result found = bw_object_of_version(token(), &(bw_key_id){ "bailiwick-imprt" }, 0, &key);

    if (bw_ok(found))
        bw_hsm_object_unref(key);
    return bw_ok(found);
}

static void a_key_that_waits_for_material_finds_the_wrapping_key_made(void **state)
{
    Bailiwick__V1__CreateKeyRequest message = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;

    (void)state;
    message.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    message.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    create_key(0);
    (void)pass_after(0);
    assert_false(has_wrapping_key()); /* nobody imports */
    assert_int_equal(ask(CUSTODIAN, BW_METHOD_NR(CreateKey), &message, NULL, bw_op_create_key).code, BW_OK);
    (void)pass_after(0);
    assert_int_equal(failures, 0);
    assert_true(has_wrapping_key());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGION_TEST(a_key_is_destroyed_when_its_waiting_time_is_over_and_not_before),
        REGION_TEST(a_cancelled_deletion_is_not_carried_out),
        REGION_TEST(a_pass_tells_when_to_look_again),
        REGION_TEST(what_is_sealed_waits_for_its_token),
        REGION_TEST(a_crash_in_the_middle_is_finished_at_the_next_start),
        REGION_TEST(an_hsm_that_fails_in_the_middle_is_asked_again),
        REGION_TEST(a_purge_leaves_nothing_in_the_hsm),
        REGION_TEST(an_hsm_that_fails_in_a_purge_is_asked_again),
        REGION_TEST(a_crash_in_a_purge_is_finished_at_the_next_start),
        REGION_TEST(a_crash_before_a_purge_leaves_the_approvals),
        REGION_TEST(a_proposal_that_is_over_is_dropped_on_record),
        REGION_TEST(a_key_is_rotated_when_its_primary_is_old_enough),
        REGION_TEST(a_key_without_a_period_is_rotated_only_when_its_budget_runs_out),
        REGION_TEST(a_disabled_key_is_not_rotated),
        REGION_TEST(last_uses_reach_the_store_with_a_pass),
        REGION_TEST(the_thread_starts_and_ends),
        REGION_TEST(a_key_that_waits_for_material_finds_the_wrapping_key_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
