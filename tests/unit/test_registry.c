/* The registry: snapshots that stay as they are, lookups that find what stands, changes that nobody half sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "fake/drafts.h"
#include "hsm.h"
#include "store.h"

static const bw_region home = { "eu-central" };
static const bw_tenant acme = { "acme" }, umbra = { "umbra" };

/* Stands for the HSM's: all that the registry does with a token is to free it. */
static int tokens_closed;
void bw_token_free(struct bw_token *token) { tokens_closed += token != NULL; }

static void put_tenant(struct bw_registry *registry, const char *name, uint32_t log)
{
    struct bw_tenant_info draft, *tenant;

    draft_tenant(&draft, name, log);
    assert_int_equal(bw_tenant_info_new(&draft, &tenant).code, BW_OK);
    assert_int_equal(bw_registry_put_tenant(registry, tenant).code, BW_OK);
}

static bw_result put(struct bw_registry *registry, const struct bw_key *draft)
{
    struct bw_key *key;

    assert_int_equal(bw_key_new(registry, draft, &key).code, BW_OK);
    return bw_registry_put_key(registry, key);
}

static void put_key(struct bw_registry *registry, const char *tenant, uint32_t number)
{
    struct bw_key draft;

    draft_key(&draft, tenant, number);
    assert_int_equal(put(registry, &draft).code, BW_OK);
}

static bw_key_id id_of(uint32_t number)
{
    struct bw_key draft;
    draft_key(&draft, "acme", number);
    return draft.name.id;
}

static int setup(void **state)
{
    struct bw_registry *registry;

    assert_int_equal(bw_registry_new(&registry).code, BW_OK);
    put_tenant(registry, "acme", 1);
    put_tenant(registry, "umbra", 2);
    *state = registry;
    return 0;
}

static int teardown(void **state)
{
    bw_registry_free(*state);
    return 0;
}

/* ---- finding ---- */

static void a_key_is_found_in_its_own_tenant_only(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_key *key;
    bw_key_id id = id_of(7), other = id_of(8);

    put_key(registry, "acme", 7);
    assert_int_equal(bw_registry_key(registry, &acme, &id, &key).code, BW_OK);
    assert_true(bw_key_id_equal(&key->name.id, &id));
    bw_key_unref(key);
    assert_int_equal(bw_registry_key(registry, &umbra, &id, &key).code, BW_NO_SUCH_KEY);
    assert_int_equal(bw_registry_key(registry, &acme, &other, &key).code, BW_NO_SUCH_KEY);
}

static void an_alias_leads_to_its_key_until_it_is_taken_away(void **state)
{
    struct bw_registry *registry = *state;
    const char *aliases[] = { "orders", "payments" };
    const struct bw_key *key;
    struct bw_key draft;

    draft_key(&draft, "acme", 1);
    draft.aliases = aliases, draft.alias_count = 2;
    assert_int_equal(put(registry, &draft).code, BW_OK);
    assert_int_equal(bw_registry_key_by_alias(registry, &acme, bw_bytes_text("payments"), &key).code, BW_OK);
    bw_key_unref(key);
    assert_int_equal(bw_registry_key_by_alias(registry, &umbra, bw_bytes_text("payments"), &key).code, BW_NO_SUCH_KEY);

    draft_key(&draft, "acme", 2);
    draft.aliases = aliases, draft.alias_count = 1;
    assert_int_equal(put(registry, &draft).code, BW_ALREADY_EXISTS);
    assert_int_equal(bw_registry_key(registry, &acme, &draft.name.id, &key).code, BW_NO_SUCH_KEY);

    draft_key(&draft, "acme", 1);
    draft.aliases = aliases + 1, draft.alias_count = 1, draft.generation = 2;
    assert_int_equal(put(registry, &draft).code, BW_OK);
    assert_int_equal(bw_registry_key_by_alias(registry, &acme, bw_bytes_text("orders"), &key).code, BW_NO_SUCH_KEY);
    assert_int_equal(bw_registry_key_by_alias(registry, &acme, bw_bytes_text("payments"), &key).code, BW_OK);
    assert_int_equal(key->generation, 2);
    bw_key_unref(key);
}

static void the_revoked_are_known(void **state)
{
    struct bw_registry *registry = *state;

    assert_false(bw_registry_is_revoked(registry, "spiffe://a"));
    assert_int_equal(bw_registry_revoke(registry, "spiffe://a").code, BW_OK);
    assert_int_equal(bw_registry_revoke(registry, "spiffe://a").code, BW_OK);
    assert_true(bw_registry_is_revoked(registry, "spiffe://a"));
    assert_false(bw_registry_is_revoked(registry, "spiffe://b"));
}

/* ---- snapshots ---- */

static void a_snapshot_stays_as_it_was_and_knows_that_it_is_old(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_key *before, *after;
    struct bw_key draft;

    put_key(registry, "acme", 1);
    bw_key_id id = id_of(1);
    assert_int_equal(bw_registry_key(registry, &acme, &id, &before).code, BW_OK);
    assert_false(atomic_load(&before->superseded));

    bw_key_draft(before, &draft);
    draft.state = BW_STATE_DISABLED;
    draft.label = "changed";
    draft.generation++;
    assert_int_equal(put(registry, &draft).code, BW_OK);
    assert_true(atomic_load(&before->superseded));
    assert_int_equal(before->state, BW_STATE_ENABLED);
    assert_string_equal(before->label, "");

    assert_int_equal(bw_registry_key(registry, &acme, &id, &after).code, BW_OK);
    assert_int_equal(after->state, BW_STATE_DISABLED);
    assert_string_equal(after->label, "changed");
    assert_ptr_equal(after->versions[0].budget, before->versions[0].budget);
    assert_ptr_equal(after->policy, before->policy);
    bw_key_unref(before);
    bw_key_unref(after);
}

static void a_policy_that_does_not_compile_makes_no_key(void **state)
{
    struct bw_key draft, *key = NULL;

    draft_key(&draft, "acme", 1);
    draft.policy_text = "{\"rules\": 5}";
    assert_int_equal(bw_key_new(*state, &draft, &key).code, BW_BAD_ARGUMENT);
    assert_null(key);
}

static void the_primary_is_the_last_version_that_is_primary(void **state)
{
    struct bw_registry *registry = *state;
    struct bw_key_version versions[] = {
        { .number = 1, .state = BW_VERSION_DESTROYED }, { .number = 2, .state = BW_VERSION_DECRYPT_ONLY }, { .number = 4, .state = BW_VERSION_PRIMARY },
    };
    struct bw_key draft, *key;

    draft_key(&draft, "acme", 1);
    draft.versions = versions, draft.version_count = ARRAY_LEN(versions);
    assert_int_equal(bw_key_new(registry, &draft, &key).code, BW_OK);
    assert_int_equal(bw_key_primary(key)->number, 4);
    assert_int_equal(bw_key_version_of(key, 0)->number, 4);
    assert_int_equal(bw_key_version_of(key, 2)->number, 2);
    assert_null(bw_key_version_of(key, 1));
    assert_null(bw_key_version_of(key, 3));
    bw_key_unref(key);
}

static void a_token_closes_with_the_last_snapshot_that_has_it(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_tenant_info *before, *in_flight;
    struct bw_tenant_info draft, *tenant;
    struct bw_token_holder *holder;
    static char stand_in;

    tokens_closed = 0;
    assert_int_equal(bw_token_hold((struct bw_token *)&stand_in, &holder).code, BW_OK);
    assert_int_equal(bw_registry_tenant(registry, &acme, &before).code, BW_OK);
    bw_tenant_info_draft(before, &draft);
    draft.holder = holder;
    assert_int_equal(bw_tenant_info_new(&draft, &tenant).code, BW_OK);
    bw_token_let_go(holder);
    assert_int_equal(bw_registry_put_tenant(registry, tenant).code, BW_OK);
    assert_true(atomic_load(&before->superseded));
    bw_tenant_info_unref(before);

    assert_int_equal(bw_registry_tenant(registry, &acme, &in_flight).code, BW_OK);
    assert_ptr_equal(in_flight->token, &stand_in);
    bw_tenant_info_draft(in_flight, &draft);
    draft.holder = NULL;
    draft.state  = BW_TENANT_STATE_SEALED;
    assert_int_equal(bw_tenant_info_new(&draft, &tenant).code, BW_OK);
    assert_null(tenant->token);
    assert_int_equal(bw_registry_put_tenant(registry, tenant).code, BW_OK);
    assert_int_equal(tokens_closed, 0);
    bw_tenant_info_unref(in_flight);
    assert_int_equal(tokens_closed, 1);
}

static void contents_count_every_change(void **state)
{
    struct bw_registry *registry = *state;
    uint64_t before, after, others_before, others_after;

    assert_int_equal(bw_registry_contents(registry, &umbra, &others_before).code, BW_OK);
    assert_int_equal(bw_registry_contents(registry, &acme, &before).code, BW_OK);
    put_key(registry, "acme", 1);
    bw_registry_touch(registry, &acme);
    assert_int_equal(bw_registry_contents(registry, &acme, &after).code, BW_OK);
    assert_int_equal(after, before + 2);
    assert_int_equal(bw_registry_contents(registry, &umbra, &others_after).code, BW_OK);
    assert_int_equal(others_after, others_before);
}

/* ---- listing ---- */

static void pages_follow_each_other_in_order_of_id(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_key *page[10];
    size_t count, seen = 0;
    bw_key_id after;

    for (uint32_t i = 25; i > 0; i--)
        put_key(registry, "acme", i * 2);
    put_key(registry, "umbra", 9);
    do {
        assert_int_equal(bw_registry_list(registry, &acme, seen ? &after : NULL, NULL, page, 10, &count).code, BW_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(page[i]->name.id.bytes[3], 2 * ++seen);
            after = page[i]->name.id;
            bw_key_unref(page[i]);
        }
    } while (count == 10);
    assert_int_equal(seen, 25);

    after = id_of(7); /* between two that are there */
    assert_int_equal(bw_registry_list(registry, &acme, &after, NULL, page, 1, &count).code, BW_OK);
    assert_int_equal(page[0]->name.id.bytes[3], 8);
    bw_key_unref(page[0]);
    assert_int_equal(bw_registry_list(registry, &(bw_tenant){ "nobody" }, NULL, NULL, page, 1, &count).code, BW_NO_SUCH_TENANT);
}

static const struct { const char *why; struct bw_key_filter filter; size_t found; } filters[] = {
    { "all",                  { .spec = 0 },                                          2 },
    { "by label",             { .label = { (const uint8_t *)"tls", 3 } },        1 },
    { "by a label of nobody", { .label = { (const uint8_t *)"tl", 2 } },         0 },
    { "by CKA_ID",            { .cka_id = { (const uint8_t *)"\1", 1 } },        1 },
    { "by the id that stands for CKA_ID", { .cka_id = { (const uint8_t *)"\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0", 16 } }, 1 },
    { "by spec",              { .spec = BW_SPEC_RSA_2048 },                      1 },
    { "by state",             { .state = BW_STATE_DISABLED },                    1 },
    { "by two that one has",  { .spec = BW_SPEC_RSA_2048, .state = BW_STATE_DISABLED }, 1 },
    { "by two that no one has", { .spec = BW_SPEC_AES_256, .state = BW_STATE_DISABLED }, 0 },
};

static void a_list_holds_what_its_filter_says(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_key *page[10];
    struct bw_key draft;
    size_t count;

    draft_key(&draft, "acme", 1);
    draft.label = "tls", draft.cka_id = (bw_bytes){ (const uint8_t *)"\1", 1 };
    draft.spec = bw_spec_row(BW_SPEC_RSA_2048), draft.state = BW_STATE_DISABLED;
    assert_int_equal(put(registry, &draft).code, BW_OK);
    put_key(registry, "acme", 2);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        assert_int_equal(bw_registry_list(registry, &acme, NULL, &filters[i].filter, page, 10, &count).code, BW_OK);
        if (count != filters[i].found)
            fail_msg("%s: %zu", filters[i].why, count);
        while (count > 0)
            bw_key_unref(page[--count]);
    }
}

static void tenants_are_listed_by_name(void **state)
{
    struct bw_registry *registry = *state;
    const struct bw_tenant_info *page[2];

    put_tenant(registry, "beta", 3);
    assert_int_equal(bw_registry_tenants(registry, NULL, page, 2), 2);
    assert_string_equal(page[0]->name.text, "acme");
    assert_string_equal(page[1]->name.text, "beta");
    bw_tenant_info_unref(page[0]);
    bw_tenant_info_unref(page[1]);
    assert_int_equal(bw_registry_tenants(registry, &(bw_tenant){ "beta" }, page, 2), 1);
    assert_string_equal(page[0]->name.text, "umbra");
    bw_tenant_info_unref(page[0]);
}

/* ---- from the store, and size ---- */

enum { MANY = 10000, TENANTS = 200, STATEMENTS = 20 /* at most, to read all there is */ };

static size_t steps; /* of statements */

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);

int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
    steps++;
    return __real_sqlite3_step(statement);
}

/* One after the other would take a sync each. */
static void fill_store(const char *dir)
{
    struct bw_store *store;
    struct bw_tenant_info tenant;
    struct bw_key key;
    char name[BW_TENANT_MAX + 1];

    assert_int_equal(bw_store_create(dir, &home, 1).code, BW_OK);
    assert_int_equal(bw_store_open(dir, &home, &store).code, BW_OK);
    for (uint32_t i = 1; i <= TENANTS; i++) {
        (void)snprintf(name, sizeof name, "tenant-%u", i);
        draft_tenant(&tenant, name, i);
        assert_int_equal(bw_store_put_tenant(store, &tenant, NULL).code, BW_OK);
    }
    draft_key(&key, "tenant-7", 0);
    assert_int_equal(bw_store_put_key(store, &key, NULL).code, BW_OK);
    bw_store_close(store);
}

static void copy_key_many_times(const char *dir)
{
    char command[1024];

    (void)snprintf(command, sizeof command,
        "sqlite3 %s/store.db \"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "INSERT INTO key SELECT randomblob(16), tenant, 'label ' || i, cka_id, spec, uses, state, origin, owner, description, policy, "
        "created_us, deletion_us, generation, rotation_days, minimum_version FROM n, key; "
        "INSERT INTO key_version SELECT key.id, 1, 1, 0, x'', 5, 0, x'' FROM key WHERE id NOT IN (SELECT key FROM key_version); "
        "INSERT INTO key_alias SELECT tenant, 'alias ' || label, id FROM key WHERE label <> '';\"", dir, MANY - 1);
    assert_int_equal(system(command), 0);
}

static void ten_thousand_keys_and_two_hundred_tenants_load_in_few_steps_and_are_small(void **state)
{
    struct bw_registry *registry;
    struct bw_store *store;
    const struct bw_key *key;
    const struct bw_key *page[1];
    char dir[64];
    size_t count;

    (void)state;
    make_folder(dir);
    fill_store(dir);
    copy_key_many_times(dir);
    assert_int_equal(bw_store_open(dir, &home, &store).code, BW_OK);
    assert_int_equal(bw_registry_new(&registry).code, BW_OK);

    size_t used = mallinfo2().uordblks;
    steps = 0;
    assert_int_equal(bw_registry_load(registry, store).code, BW_OK);
    size_t each = (mallinfo2().uordblks - used) / MANY;

    print_message("%d keys: %zu steps, %zu bytes each\n", MANY, steps, each);
    assert_int_equal(bw_registry_key_by_alias(registry, &(bw_tenant){ "tenant-7" }, bw_bytes_text("alias label 9999"), &key).code, BW_OK);
    assert_int_equal(atomic_load(&key->versions[0].budget->taken), 5);
    bw_key_unref(key);
    assert_int_equal(bw_registry_list(registry, &(bw_tenant){ "tenant-7" }, NULL, NULL, page, 1, &count).code, BW_OK);
    bw_key_unref(page[0]);
    assert_true(each <= 1024);
    /* of a key: its row, a version, an alias, and that there is no other version, alias, tag or grant */
    assert_true(steps <= 7 * MANY + TENANTS + STATEMENTS);
    bw_registry_free(registry);
    bw_store_close(store);
    remove_folder(dir);
}

/* ---- budgets ---- */

static void uses_are_reserved_before_they_are_taken_and_run_out(void **state)
{
    struct bw_registry *registry = *state;
    struct bw_store *store;
    struct bw_tenant_info tenant;
    struct bw_key draft, *key;
    char dir[64];

    make_folder(dir);
    assert_int_equal(bw_store_create(dir, &home, 1).code, BW_OK);
    assert_int_equal(bw_store_open(dir, &home, &store).code, BW_OK);
    draft_tenant(&tenant, "acme", 1);
    assert_int_equal(bw_store_put_tenant(store, &tenant, NULL).code, BW_OK);
    draft_key(&draft, "acme", 1);
    assert_int_equal(bw_store_put_key(store, &draft, NULL).code, BW_OK);
    assert_int_equal(bw_key_new(registry, &draft, &key).code, BW_OK);
    struct bw_budget *budget = key->versions[0].budget;

    assert_int_equal(bw_key_take_uses(store, key, &key->versions[0], 1).code, BW_OK);
    assert_int_equal(atomic_load(&budget->reserved), BW_USES_BLOCK);
    assert_int_equal(bw_key_take_uses(store, key, &key->versions[0], BW_USES_BLOCK).code, BW_OK);
    assert_int_equal(atomic_load(&budget->reserved), 2 * BW_USES_BLOCK);

    atomic_store(&budget->taken, BW_USES_MAX - 1);
    assert_int_equal(bw_key_take_uses(store, key, &key->versions[0], 2).code, BW_KEY_EXHAUSTED);
    assert_int_equal(bw_key_take_uses(store, key, &key->versions[0], 1).code, BW_OK);
    assert_int_equal(atomic_load(&budget->reserved), BW_USES_MAX);
    assert_int_equal(bw_key_take_uses(store, key, &key->versions[0], 1).code, BW_KEY_EXHAUSTED);
    bw_key_unref(key);
    bw_store_close(store);
    remove_folder(dir);
}

/* ---- threads ---- */

enum { READERS = 4, CHANGES = 400 };

struct race {
    struct bw_registry *registry;
    atomic_bool         over;
    atomic_int          torn;  /* snapshots of which one part was of another change */
};

static void *read_on(void *arg)
{
    struct race *race = arg;
    bw_key_id id = id_of(1);

    while (!atomic_load(&race->over)) {
        const struct bw_key *key;
        char expected[32];
        if (!bw_ok(bw_registry_key(race->registry, &acme, &id, &key)))
            continue;
        (void)snprintf(expected, sizeof expected, "label %llu", (unsigned long long)key->generation);
        if (strcmp(key->label, expected) != 0)
            atomic_fetch_add(&race->torn, 1);
        bw_key_unref(key);
    }
    return NULL;
}

static void put_generation(struct bw_registry *registry, uint64_t generation)
{
    struct bw_key draft;
    char label[32], policy[128];

    draft_key(&draft, "acme", 1);
    (void)snprintf(label, sizeof label, "label %llu", (unsigned long long)generation);
    (void)snprintf(policy, sizeof policy, "{\"rules\": [{\"name\": \"rule %llu\"}]}", (unsigned long long)generation);
    draft.label       = label;
    draft.policy_text = policy;
    draft.generation  = generation;
    assert_int_equal(put(registry, &draft).code, BW_OK);
}

static void readers_see_a_change_whole_or_not_at_all(void **state)
{
    struct race race = { .registry = *state };
    pthread_t readers[READERS];

    put_generation(race.registry, 1);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &race), 0);
    for (uint64_t i = 2; i < CHANGES; i++)
        put_generation(race.registry, i);
    atomic_store(&race.over, true);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(atomic_load(&race.torn), 0);
}

#define REGISTRY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGISTRY_TEST(a_key_is_found_in_its_own_tenant_only),
        REGISTRY_TEST(an_alias_leads_to_its_key_until_it_is_taken_away),
        REGISTRY_TEST(the_revoked_are_known),
        REGISTRY_TEST(a_snapshot_stays_as_it_was_and_knows_that_it_is_old),
        REGISTRY_TEST(a_policy_that_does_not_compile_makes_no_key),
        REGISTRY_TEST(the_primary_is_the_last_version_that_is_primary),
        REGISTRY_TEST(a_token_closes_with_the_last_snapshot_that_has_it),
        REGISTRY_TEST(contents_count_every_change),
        REGISTRY_TEST(pages_follow_each_other_in_order_of_id),
        REGISTRY_TEST(a_list_holds_what_its_filter_says),
        REGISTRY_TEST(tenants_are_listed_by_name),
        cmocka_unit_test(ten_thousand_keys_and_two_hundred_tenants_load_in_few_steps_and_are_small),
        REGISTRY_TEST(uses_are_reserved_before_they_are_taken_and_run_out),
        REGISTRY_TEST(readers_see_a_change_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
