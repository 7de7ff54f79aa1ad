/* The store: what goes in comes out, what must never change cannot, and whatever SQLite call fails, nothing is half done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake/drafts.h"
#include "store.h"

static const bw_region home = { "eu-central" };

/* ---- faults: the linker sends these calls of ours here first ---- */

static long calls_until_fault = -1; /* 0: the next one fails; negative: none does */

static bool fails_now(void)
{
    return calls_until_fault >= 0 && calls_until_fault-- == 0;
}

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement) { return fails_now() ? SQLITE_IOERR : __real_sqlite3_step(statement); }

int __real_sqlite3_bind_int64(sqlite3_stmt *statement, int at, sqlite3_int64 value);
int __wrap_sqlite3_bind_int64(sqlite3_stmt *statement, int at, sqlite3_int64 value);
int __wrap_sqlite3_bind_int64(sqlite3_stmt *statement, int at, sqlite3_int64 value)
{
    return fails_now() ? SQLITE_NOMEM : __real_sqlite3_bind_int64(statement, at, value);
}

int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *self, char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *self, char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *self, char **message)
{
    return fails_now() ? SQLITE_IOERR : __real_sqlite3_exec(db, sql, each, self, message);
}

int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags, sqlite3_stmt **statement, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags, sqlite3_stmt **statement, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags, sqlite3_stmt **statement, const char **tail)
{
    return fails_now() ? SQLITE_CORRUPT : __real_sqlite3_prepare_v3(db, sql, len, flags, statement, tail);
}

int __real_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs)
{
    return fails_now() ? SQLITE_CANTOPEN : __real_sqlite3_open_v2(path, db, flags, vfs);
}

/* ---- a store of its own for each test ---- */

struct fixture {
    char             dir[64];
    struct bw_store *store;
};

static void reopen(struct fixture *f)
{
    bw_store_close(f->store);
    f->store = NULL;
    assert_int_equal(bw_store_open(f->dir, &home, &f->store).code, BW_OK);
}

static void add_tenant(struct bw_store *store, const char *name, uint32_t log)
{
    struct bw_tenant_info tenant;

    draft_tenant(&tenant, name, log);
    assert_int_equal(bw_store_put_tenant(store, &tenant, NULL).code, BW_OK);
}

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){ 0 };
    calls_until_fault = -1;
    make_folder(f.dir);
    assert_int_equal(bw_store_create(f.dir, &home, 7).code, BW_OK);
    reopen(&f);
    add_tenant(f.store, "acme", 1);
    add_tenant(f.store, "umbra", 2);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bw_store_close(f->store);
    remove_folder(f->dir);
    return 0;
}

/* ---- proposals ---- */

static const bw_tenant acme = { "acme" };

static struct bw_proposal proposal_of(uint8_t id)
{
    return (struct bw_proposal){ .tenant = acme, .id = { id }, .method = 45, .request = bw_bytes_text("request"), .generation = 1, .proposer = "ann",
                                 .created_us = 1000, .expires_us = 5000 };
}

/* ---- keys ---- */

static const char *two_aliases[] = { "orders", "payments" };
static struct bw_text_pair two_tags[] = { { "cost", "42" }, { "team", "blue" } };
static struct bw_key_version two_versions[] = {
    { .number = 1, .state = BW_VERSION_DECRYPT_ONLY, .created_us = 11, .public_key = { (const uint8_t *)"one", 3 } },
    { .number = 3, .state = BW_VERSION_PRIMARY,      .created_us = 22, .public_key = { (const uint8_t *)"two", 3 } },
};

static void draft_rich(struct bw_key *key, uint64_t generation)
{
    draft_key(key, "acme", 5);
    key->label         = "a label";
    key->cka_id        = (bw_bytes){ (const uint8_t *)"\0\1", 2 };
    key->spec          = bw_spec_row(BW_SPEC_RSA_2048);
    key->uses          = BW_USE_SIGN | BW_USE_VERIFY;
    key->owner         = "spiffe://ex.org/region/eu-central/tenant/acme/app/web";
    key->description   = "what it is for";
    key->aliases       = two_aliases;  key->alias_count   = 2;
    key->tags          = two_tags;     key->tag_count     = 2;
    key->versions      = two_versions; key->version_count = 2;
    key->generation    = generation;
}

static bw_result compare_rich(void *self, const struct bw_key *key)
{
    int *seen = self;

    ++*seen;
    assert_string_equal(key->name.region.text, "eu-central");
    assert_string_equal(key->name.tenant.text, "acme");
    assert_int_equal(key->name.id.bytes[3], 5);
    assert_string_equal(key->label, "a label");
    assert_true(bw_bytes_equal(key->cka_id, (bw_bytes){ (const uint8_t *)"\0\1", 2 }));
    assert_int_equal(key->spec->spec, BW_SPEC_RSA_2048);
    assert_int_equal(key->uses, BW_USE_SIGN | BW_USE_VERIFY);
    assert_int_equal(key->state, BW_STATE_ENABLED);
    assert_int_equal(key->origin, BW_ORIGIN_GENERATED);
    assert_string_equal(key->owner, "spiffe://ex.org/region/eu-central/tenant/acme/app/web");
    assert_string_equal(key->description, "what it is for");
    assert_int_equal(key->alias_count, 2);
    assert_string_equal(key->aliases[1], "payments");
    assert_int_equal(key->tag_count, 2);
    assert_string_equal(key->tags[0].name, "cost");
    assert_string_equal(key->tags[0].value, "42");
    assert_int_equal(key->version_count, 2);
    assert_int_equal(key->versions[0].state, BW_VERSION_DECRYPT_ONLY);
    assert_true(bw_bytes_equal(key->versions[1].public_key, bw_bytes_text("two")));
    assert_int_equal(key->versions[1].created_us, 22);
    assert_int_equal(key->generation, 1);
    return bw_success();
}

static void a_key_comes_out_as_it_went_in(void **state)
{
    struct fixture *f = *state;
    struct bw_key key;
    int seen = 0;

    draft_rich(&key, 1);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
    reopen(f);
    assert_int_equal(bw_store_each_key(f->store, compare_rich, &seen).code, BW_OK);
    assert_int_equal(seen, 1);
}

static void a_key_is_changed_from_its_last_generation_only(void **state)
{
    struct fixture *f = *state;
    struct bw_key key;

    draft_rich(&key, 1);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_CONFLICT);
    key.generation = 3;
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_CONFLICT);
    key.generation = 2;
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
}

static void an_alias_is_one_keys_in_its_tenant(void **state)
{
    struct fixture *f = *state;
    struct bw_key first, second;

    draft_rich(&first, 1);
    assert_int_equal(bw_store_put_key(f->store, &first, NULL).code, BW_OK);

    draft_key(&second, "acme", 6);
    second.aliases = two_aliases, second.alias_count = 1;
    assert_int_equal(bw_store_put_key(f->store, &second, NULL).code, BW_ALREADY_EXISTS);

    draft_key(&second, "umbra", 7);
    second.aliases = two_aliases, second.alias_count = 1;
    assert_int_equal(bw_store_put_key(f->store, &second, NULL).code, BW_OK);

    first.generation = 2, first.alias_count = 0;
    assert_int_equal(bw_store_put_key(f->store, &first, NULL).code, BW_OK);
    draft_key(&second, "acme", 8);
    second.aliases = two_aliases, second.alias_count = 1;
    assert_int_equal(bw_store_put_key(f->store, &second, NULL).code, BW_OK);
}

static bw_result read_reserved(void *self, const struct bw_key *key)
{
    *(uint64_t *)self = key->versions[0].reserved;
    return bw_success();
}

static void reserved_uses_only_grow(void **state)
{
    struct fixture *f = *state;
    struct bw_key key;
    bw_key_id nobody = { { 9 } };
    uint64_t reserved = 0;

    draft_key(&key, "acme", 1);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
    assert_int_equal(bw_store_reserve_uses(f->store, &key.name.id, 1, 1000).code, BW_OK);
    assert_int_equal(bw_store_reserve_uses(f->store, &key.name.id, 1, 500).code, BW_OK);
    assert_int_equal(bw_store_reserve_uses(f->store, &key.name.id, 2, 500).code, BW_NO_SUCH_KEY);
    assert_int_equal(bw_store_reserve_uses(f->store, &nobody, 1, 500).code, BW_NO_SUCH_KEY);
    reopen(f);
    assert_int_equal(bw_store_each_key(f->store, read_reserved, &reserved).code, BW_OK);
    assert_int_equal(reserved, 1000);
}

/* ---- tenants, revoked ---- */

static bw_result compare_tenant(void *self, const struct bw_tenant_info *tenant)
{
    int *seen = self;

    ++*seen;
    if (strcmp(tenant->name.text, "acme") != 0)
        return bw_success();
    assert_int_equal(tenant->state, BW_TENANT_STATE_SEALED);
    assert_int_equal(tenant->activation, BW_OPERATOR_HELD);
    assert_string_equal(tenant->token_serial, "0000000000000001");
    assert_string_equal(tenant->policy_text, "{\"apps_own_keys\": true}");
    assert_int_equal(tenant->log, 1);
    assert_int_equal(tenant->generation, 2);
    assert_int_equal(tenant->contents, 3); /* made, a key, changed */
    return bw_success();
}

static void a_tenant_counts_its_changes_and_those_in_it(void **state)
{
    struct fixture *f = *state;
    struct bw_tenant_info tenant;
    struct bw_key key;
    int seen = 0;

    draft_key(&key, "acme", 1);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
    draft_tenant(&tenant, "acme", 1);
    assert_int_equal(bw_store_put_tenant(f->store, &tenant, NULL).code, BW_ALREADY_EXISTS);
    tenant.generation  = 2;
    tenant.state       = BW_TENANT_STATE_SEALED;
    tenant.policy_text = "{\"apps_own_keys\": true}";
    assert_int_equal(bw_store_put_tenant(f->store, &tenant, NULL).code, BW_OK);
    assert_int_equal(bw_store_put_tenant(f->store, &tenant, NULL).code, BW_CONFLICT);
    reopen(f);
    assert_int_equal(bw_store_each_tenant(f->store, compare_tenant, &seen).code, BW_OK);
    assert_int_equal(seen, 2);
}

static bw_result count_revoked(void *self, const char *spiffe_id, int64_t revoked_us)
{
    int *seen = self;

    ++*seen;
    assert_string_equal(spiffe_id, "spiffe://b");
    assert_int_equal(revoked_us, 6);
    return bw_success();
}

static void who_is_revoked_stays_revoked(void **state)
{
    struct fixture *f = *state;
    int seen = 0;

    assert_int_equal(bw_store_revoke(f->store, "spiffe://a", 5).code, BW_OK);
    assert_int_equal(bw_store_revoke(f->store, "spiffe://b", 6).code, BW_OK);
    assert_int_equal(bw_store_revoke(f->store, "spiffe://b", 7).code, BW_OK);
    reopen(f);
    assert_int_equal(bw_store_each_revoked(f->store, "spiffe://a", count_revoked, &seen).code, BW_OK);
    assert_int_equal(seen, 1);
}

/* ---- objects, requests ---- */

static struct bw_object object_of(const char *tenant, uint8_t number, const char *label)
{
    struct bw_object object = { .id = { number }, .class = 1, .label = bw_bytes_text(label), .cka_id = { (const uint8_t *)"id", 2 },
                                .value = { (const uint8_t *)"DER", 3 }, .created_us = 9, .generation = 1 };
    (void)snprintf(object.tenant.text, sizeof object.tenant.text, "%s", tenant);
    return object;
}

static void objects_are_listed_in_order_and_by_filter(void **state)
{
    struct fixture *f = *state;
    struct bw_arena arena = { 0 };
    struct bw_object rows[8], object;
    const char *labels[] = { "server", "ca", "server" };
    size_t count;

    for (uint8_t i = 0; i < 3; i++) {
        object = object_of("acme", (uint8_t)(3 - i), labels[i]);
        assert_int_equal(bw_store_put_object(f->store, &object).code, BW_OK);
    }
    assert_int_equal(bw_store_list_objects(f->store, &object.tenant, NULL, (bw_bytes){ 0 }, (bw_bytes){ 0 }, &arena, rows, 8, &count).code, BW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].id[0], 1);
    assert_true(bw_bytes_equal(rows[0].value, bw_bytes_text("DER")));

    assert_int_equal(bw_store_list_objects(f->store, &object.tenant, rows[0].id, bw_bytes_text("server"), bw_bytes_text("id"), &arena, rows, 8, &count).code, BW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].id[0], 3);

    assert_int_equal(bw_store_get_object(f->store, &(bw_tenant){ "umbra" }, rows[0].id, &arena, &object).code, BW_NO_SUCH_OBJECT);
    assert_int_equal(bw_store_delete_object(f->store, &(bw_tenant){ "umbra" }, rows[0].id).code, BW_NO_SUCH_OBJECT);
    assert_int_equal(bw_store_delete_object(f->store, &(bw_tenant){ "acme" }, rows[0].id).code, BW_OK);
    assert_int_equal(bw_store_get_object(f->store, &(bw_tenant){ "acme" }, rows[0].id, &arena, &object).code, BW_NO_SUCH_OBJECT);
    bw_arena_clear(&arena);
}

static void a_retry_finds_its_first_answer(void **state)
{
    struct fixture *f = *state;
    struct bw_arena arena = { 0 };
    const bw_tenant umbra = { "umbra" };
    const bw_bytes id = { (const uint8_t *)"0123456789abcdef", 16 };
    const uint8_t digest[32] = { 1 }, other[32] = { 2 };
    bw_bytes reply;
    bool found;

    assert_int_equal(bw_store_find_request(f->store, &acme, id, digest, &arena, &found, &reply).code, BW_OK);
    assert_false(found);
    assert_int_equal(bw_store_keep_request(f->store, &acme, id, digest, bw_bytes_text("answer"), 1).code, BW_OK);
    assert_int_equal(bw_store_find_request(f->store, &acme, id, digest, &arena, &found, &reply).code, BW_OK);
    assert_true(found);
    assert_true(bw_bytes_equal(reply, bw_bytes_text("answer")));
    assert_int_equal(bw_store_find_request(f->store, &acme, id, other, &arena, &found, &reply).code, BW_REQUEST_REUSED);
    assert_int_equal(bw_store_keep_request(f->store, &acme, id, other, bw_bytes_text("answer"), 1).code, BW_REQUEST_REUSED);
    assert_int_equal(bw_store_find_request(f->store, &umbra, id, other, &arena, &found, &reply).code, BW_OK);
    assert_false(found);

    /* a day later it is forgotten with the next one that is kept */
    assert_int_equal(bw_store_keep_request(f->store, &umbra, id, other, bw_bytes_text("other"), 2 + BW_REQUEST_KEPT_US).code, BW_OK);
    assert_int_equal(bw_store_find_request(f->store, &acme, id, digest, &arena, &found, &reply).code, BW_OK);
    assert_false(found);
    bw_arena_clear(&arena);
}

/* ---- what must never change, attacked below our code ---- */

#define THE_KEY "x'00000005000000000000000000000000'"

static const struct { const char *why; const char *sql; } attacks[] = {
    { "the region of the store",              "UPDATE meta SET region = 'us-east'" },
    { "the store's birth",                    "UPDATE meta SET made_us = 0" },
    { "forgetting whose store it is",         "DELETE FROM meta" },
    { "a second region",                      "INSERT INTO meta VALUES (2, 'us-east', 1, 0)" },
    { "an older schema",                      "UPDATE meta SET schema = 0" },
    { "a tenant of another region",           "INSERT INTO tenant VALUES ('x', 'us-east', 1, 1, '', '{}', 9, 0, 1, 1)" },
    { "moving a tenant to another region",    "UPDATE tenant SET region = 'us-east'" },
    { "renaming a tenant",                    "UPDATE tenant SET name = 'x' WHERE name = 'acme'" },
    { "another token for a tenant",           "UPDATE tenant SET token_serial = 'x'" },
    { "another log for a tenant",             "UPDATE tenant SET log = 77 WHERE name = 'acme'" },
    { "two tenants with one log",             "INSERT INTO tenant VALUES ('x', 'eu-central', 1, 1, '', '{}', 1, 0, 1, 1)" },
    { "another holder of the tenant's PIN",   "UPDATE tenant SET activation = 2" },
    { "forgetting a tenant",                  "DELETE FROM tenant WHERE name = 'umbra'" },
    { "a tenant's count going back",          "UPDATE tenant SET contents = contents - 1" },
    { "moving a key to another tenant",       "UPDATE key SET tenant = 'umbra', generation = generation + 1" },
    { "renaming a key",                       "UPDATE key SET id = x'00000006000000000000000000000000', generation = generation + 1" },
    { "making a key another kind",            "UPDATE key SET spec = 3, generation = generation + 1" },
    { "making a key one's own",               "UPDATE key SET owner = 'me', generation = generation + 1" },
    { "making an imported key a generated",   "UPDATE key SET origin = 2, generation = generation + 1" },
    { "a use that the key did not have",      "UPDATE key SET uses = uses | 64, generation = generation + 1" },
    { "a change that is not counted",         "UPDATE key SET label = 'x'" },
    { "forgetting a key",                     "DELETE FROM key" },
    { "a key in no tenant",                   "INSERT INTO key SELECT x'00000007000000000000000000000000', 'nobody', label, cka_id, spec, uses, state, "
                                              "origin, owner, description, policy, created_us, deletion_us, 1, 0, 0, 0 FROM key" },
    { "a key id of 15 bytes",                 "INSERT INTO key SELECT x'000000070000000000000000000000', tenant, label, cka_id, spec, uses, state, "
                                              "origin, owner, description, policy, created_us, deletion_us, 1, 0, 0, 0 FROM key" },
    { "a key in a state that is none",        "UPDATE key SET state = 6, generation = generation + 1" },
    { "reviving a destroyed key",             "UPDATE key SET state = 5, generation = generation + 1; UPDATE key SET state = 2, generation = generation + 1" },
    { "using a destroyed key's id again",     "UPDATE key SET state = 5, generation = generation + 1; INSERT INTO key SELECT id, tenant, label, cka_id, spec, "
                                              "uses, 2, origin, owner, description, policy, created_us, deletion_us, 1, 0, 0, 0 FROM key" },
    { "replacing a key's row",                "REPLACE INTO key SELECT id, 'umbra', label, cka_id, spec, uses, state, origin, owner, description, policy, "
                                              "created_us, deletion_us, 1, 0, 0, 0 FROM key" },
    { "forgetting a version",                 "DELETE FROM key_version" },
    { "renumbering a version",                "UPDATE key_version SET number = 9 WHERE number = 3" },
    { "another public key",                   "UPDATE key_version SET public_key = x'00'" },
    { "another fingerprint",                  "UPDATE key_version SET fingerprint = x'00'" },
    { "a version before the last",            "INSERT INTO key_version VALUES (" THE_KEY ", 2, 1, 0, x'', x'', 0, 0, 0, x'')" },
    { "reviving a destroyed version",         "UPDATE key_version SET state = 3; UPDATE key_version SET state = 1" },
    { "giving uses back",                     "UPDATE key_version SET reserved = 10; UPDATE key_version SET reserved = 9" },
    { "an alias in another tenant",           "INSERT INTO key_alias VALUES ('umbra', 'x', " THE_KEY ")" },
    { "moving an alias",                      "UPDATE key_alias SET tenant = 'umbra'" },
    { "moving an object",                     "UPDATE object SET tenant = 'umbra'" },
    { "making an object one's own",           "UPDATE object SET owner = 'me'" },
    { "pardoning the revoked",                "DELETE FROM revoked" },
    { "revoking somebody else instead",       "UPDATE revoked SET principal = 'x'" },
    { "another request under a proposal",     "UPDATE proposal SET request = x'00'" },
    { "a proposal that stands for longer",    "UPDATE proposal SET expires_us = expires_us + 1" },
    { "an approval by somebody else",         "UPDATE approval SET custodian = 'x'" },
    { "an approval of no proposal",           "INSERT INTO approval VALUES ('acme', x'00000000000000000000000000000000', 'x', 0)" },
    { "an approval of another tenant's",      "INSERT INTO approval SELECT 'umbra', proposal, 'x', 0 FROM approval" },
    { "an approval by one who is revoked",    "INSERT INTO approval SELECT tenant, proposal, 'spiffe://a', 0 FROM approval" },
};

static void what_must_never_change_cannot(void **state)
{
    struct fixture *f = *state;
    struct bw_key key;
    struct bw_object object = object_of("acme", 1, "x");
    struct bw_proposal proposal = proposal_of(1);
    char path[128];
    sqlite3 *db;

    draft_rich(&key, 1);
    assert_int_equal(bw_store_propose(f->store, &proposal).code, BW_OK);
    assert_int_equal(bw_store_put_key(f->store, &key, NULL).code, BW_OK);
    assert_int_equal(bw_store_put_object(f->store, &object).code, BW_OK);
    assert_int_equal(bw_store_revoke(f->store, "spiffe://a", 5).code, BW_OK);
    bw_store_close(f->store);
    f->store = NULL;

    (void)snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    /* as our connections do; without recursive triggers a REPLACE would delete past the triggers */
    assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON", NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
        assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        if (sqlite3_exec(db, attacks[i].sql, NULL, NULL, NULL) != SQLITE_CONSTRAINT)
            fail_msg("%s: %s", attacks[i].why, sqlite3_errmsg(db));
        assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    }
    sqlite3_close(db);
}

/* ---- opening ---- */

static void run_sql(const char *dir, const char *sql)
{
    char path[128];
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void another_regions_store_is_refused(void **state)
{
    struct fixture *f = *state;
    const bw_region us = { "us-east" };
    struct bw_store *store;

    bw_store_close(f->store);
    f->store = NULL;
    assert_int_equal(bw_store_open(f->dir, &us, &store).code, BW_WRONG_REGION);
}

static void a_newer_schema_is_refused(void **state)
{
    struct fixture *f = *state;
    struct bw_store *store;

    bw_store_close(f->store);
    f->store = NULL;
    run_sql(f->dir, "UPDATE meta SET schema = 999");
    assert_int_equal(bw_store_open(f->dir, &home, &store).code, BW_STORE_UNAVAILABLE);
}

static void a_store_has_one_daemon(void **state)
{
    struct fixture *f = *state;
    struct bw_store *again;

    bw_result second = bw_store_open(f->dir, &home, &again);
    assert_int_equal(second.code, BW_STORE_UNAVAILABLE);
    assert_string_equal(second.what, "another process has the database open: is another daemon there?");
}

static void a_store_is_made_once_and_on_purpose(void **state)
{
    struct fixture *f = *state;
    struct bw_store *store;
    char path[128];

    assert_int_equal(bw_store_create(f->dir, &home, 7).code, BW_ALREADY_EXISTS);
    bw_store_close(f->store);
    f->store = NULL;
    (void)snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(bw_store_open(f->dir, &home, &store).code, BW_STORE_UNAVAILABLE);
    assert_int_equal(bw_store_create("/nonexistent", &home, 7).code, BW_STORE_UNAVAILABLE);
}

static void nobody_else_may_read_or_write_it(void **state)
{
    struct fixture *f = *state;
    struct bw_store *store;
    struct stat st;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    bw_store_close(f->store);
    f->store = NULL;

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(bw_store_open(f->dir, &home, &store).code, BW_STORE_UNAVAILABLE);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(f->dir, 0770), 0);
    assert_int_equal(bw_store_open(f->dir, &home, &store).code, BW_STORE_UNAVAILABLE);
}

/* ---- what custodians approved is spent with the change, once ---- */

/* Proposed by ann, approved by bob and cas; cas was revoked then. The tenant is of generation 1. */
static void put_proposal(struct bw_store *store)
{
    struct bw_proposal p = proposal_of(1);

    assert_int_equal(bw_store_propose(store, &p).code, BW_OK);
    assert_int_equal(bw_store_approve(store, &acme, p.id, "bob", 1001).code, BW_OK);
    assert_int_equal(bw_store_approve(store, &acme, p.id, "cas", 1002).code, BW_OK);
    assert_int_equal(bw_store_revoke(store, "cas", 1003).code, BW_OK);
}

static const struct { const char *why, *tenant; uint8_t proposal; const char *caller; unsigned needed; uint64_t generation; int64_t now_us; enum bw_code code; } warrants[] = {
    { "three where one of them is revoked",  "acme",  1, "ann", 3, 1, 4999, BW_NOT_APPROVED },
    { "by the one who is revoked",           "acme",  1, "cas", 2, 1, 4999, BW_NOT_APPROVED },
    { "by one who did not approve",          "acme",  1, "dan", 2, 1, 4999, BW_NOT_APPROVED },
    { "when its time is over",               "acme",  1, "ann", 2, 1, 5000, BW_NOT_APPROVED },
    { "when the tenant has changed",         "acme",  1, "ann", 2, 2, 4999, BW_NOT_APPROVED },
    { "another proposal",                    "acme",  2, "ann", 2, 1, 4999, BW_NOT_APPROVED },
    { "in another tenant",                   "umbra", 1, "ann", 2, 1, 4999, BW_NOT_APPROVED },
    { "two of them",                         "acme",  1, "bob", 2, 1, 4999, BW_OK           },
    { "and once more",                       "acme",  1, "bob", 2, 1, 4999, BW_NOT_APPROVED },
};

static void a_warrant_is_good_once_and_only_while_its_custodians_are(void **state)
{
    struct fixture *f = *state;

    put_proposal(f->store);
    for (size_t i = 0; i < ARRAY_LEN(warrants); i++) {
        bw_tenant tenant = { "" };
        struct bw_key key;
        (void)snprintf(tenant.text, sizeof tenant.text, "%s", warrants[i].tenant);
        struct bw_warrant warrant = { .tenant = &tenant, .proposal = { warrants[i].proposal }, .caller = warrants[i].caller, .needed = warrants[i].needed,
                                      .tenant_generation = warrants[i].generation, .now_us = warrants[i].now_us };
        draft_key(&key, "acme", (uint32_t)i + 1);
        bw_result result = bw_store_put_key(f->store, &key, &warrant);
        if (result.code != warrants[i].code || warrant.spent != (result.code == BW_OK))
            fail_msg("%s: %d", warrants[i].why, result.code);
    }
}

static void a_change_that_fails_spends_nothing(void **state)
{
    struct fixture *f = *state;
    struct bw_warrant warrant = { .tenant = &acme, .proposal = { 1 }, .caller = "ann", .needed = 2, .tenant_generation = 1, .now_us = 2000 };
    struct bw_key key;

    put_proposal(f->store);
    draft_key(&key, "acme", 1);
    key.generation = 7;
    assert_int_equal(bw_store_put_key(f->store, &key, &warrant).code, BW_CONFLICT);
    key.generation = 1;
    assert_int_equal(bw_store_put_key(f->store, &key, &warrant).code, BW_OK);
}

static void a_proposal_comes_out_as_it_went_in(void **state)
{
    struct fixture *f = *state;
    struct bw_arena arena = { 0 };
    struct bw_approval approvals[BW_APPROVALS_MAX];
    struct bw_proposal back;
    size_t count;

    put_proposal(f->store);
    back = proposal_of(1);
    back.expires_us = 9000;
    assert_int_equal(bw_store_propose(f->store, &back).code, BW_OK);                     /* what is there stays, */
    assert_int_equal(bw_store_approve(f->store, &acme, back.id, "bob", 2000).code, BW_OK); /* and twice is once */
    reopen(f);
    assert_int_equal(bw_store_get_proposal(f->store, &acme, back.id, &arena, &back).code, BW_OK);
    assert_int_equal(back.method, 45);
    assert_true(bw_bytes_equal(back.request, bw_bytes_text("request")));
    assert_string_equal(back.proposer, "ann");
    assert_int_equal(back.expires_us, 5000);
    assert_int_equal(bw_store_list_approvals(f->store, &acme, back.id, &arena, approvals, &count).code, BW_OK);
    assert_int_equal(count, 3);
    assert_string_equal(approvals[0].custodian, "ann");
    assert_false(approvals[1].revoked);
    assert_true(approvals[2].revoked);
    assert_int_equal(bw_store_approve(f->store, &acme, back.id, "cas", 1).code, BW_STORE_UNAVAILABLE); /* the schema's own guard */
    assert_int_equal(bw_store_list_over(f->store, 4999, &arena, &back, 1, &count).code, BW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(bw_store_list_over(f->store, 5000, &arena, &back, 1, &count).code, BW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(bw_store_drop_proposal(f->store, &acme, back.id, 4999).code, BW_NO_SUCH_PROPOSAL);
    assert_int_equal(bw_store_drop_proposal(f->store, &acme, back.id, 5000).code, BW_OK);
    assert_int_equal(bw_store_drop_proposal(f->store, &acme, back.id, INT64_MAX).code, BW_NO_SUCH_PROPOSAL);
    assert_int_equal(bw_store_approve(f->store, &acme, back.id, "bob", 1).code, BW_NO_SUCH_PROPOSAL);
    bw_arena_clear(&arena);
}

/* ---- every SQLite call fails in turn ---- */

static bw_result put_rich(struct bw_store *store)
{
    struct bw_key key;
    draft_rich(&key, 1);
    return bw_store_put_key(store, &key, NULL);
}

static bw_result put_object(struct bw_store *store)
{
    struct bw_object object = object_of("acme", 1, "x");
    return bw_store_put_object(store, &object);
}

static bw_result put_third_tenant(struct bw_store *store)
{
    struct bw_tenant_info tenant;
    draft_tenant(&tenant, "third", 3);
    return bw_store_put_tenant(store, &tenant, NULL);
}

static bw_result revoke_one(struct bw_store *store) { return bw_store_revoke(store, "spiffe://a", 1); }

static bw_result keep(struct bw_store *store)
{
    static const uint8_t digest[32];
    return bw_store_keep_request(store, &(bw_tenant){ "acme" }, bw_bytes_text("0123456789abcdef"), digest, bw_bytes_text("r"), 1);
}

static bw_result propose_one(struct bw_store *store)
{
    struct bw_proposal p = proposal_of(1);
    return bw_store_propose(store, &p);
}

static bw_result approve_one(struct bw_store *store) { return bw_store_approve(store, &acme, proposal_of(1).id, "bob", 1); }

static bw_result carry_out(struct bw_store *store)
{
    struct bw_warrant warrant = { .tenant = &acme, .proposal = { 1 }, .caller = "ann", .needed = 2, .tenant_generation = 1, .now_us = 2000 };
    struct bw_key key;

    draft_key(&key, "acme", 9);
    return bw_store_put_key(store, &key, &warrant);
}

static const struct { const char *what; bw_result (*run)(struct bw_store *); const char *trace; } changes[] = {
    { "a key",        put_rich,         "SELECT (SELECT count(*) FROM key) + (SELECT count(*) FROM key_version) + (SELECT count(*) FROM key_alias)" },
    { "an object",    put_object,       "SELECT (SELECT count(*) FROM object) + (SELECT sum(contents) FROM tenant)" },
    { "a tenant",     put_third_tenant, "SELECT count(*) FROM tenant" },
    { "a revocation", revoke_one,           "SELECT count(*) FROM revoked" },
    { "an answer",    keep,             "SELECT count(*) FROM request" },
    { "a proposal",   propose_one,      "SELECT (SELECT count(*) FROM proposal) + (SELECT count(*) FROM approval)" },
    { "an approval",  approve_one,      "SELECT count(*) FROM approval" },
    { "what is approved", carry_out,    "SELECT (SELECT count(*) FROM key) - (SELECT count(*) FROM proposal) - (SELECT count(*) FROM approval)" },
};

static int read_count(void *self, int columns, char **values, char **names)
{
    (void)columns, (void)names;
    *(int *)self = atoi(values[0]);
    return 0;
}

/* A number that the change moves, read from the file. */
static int traces(struct fixture *f, const char *sql)
{
    char path[128];
    sqlite3 *db;
    int count = -1;

    bw_store_close(f->store);
    f->store = NULL;
    (void)snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, read_count, &count, NULL), SQLITE_OK);
    sqlite3_close(db);
    reopen(f);
    return count;
}

static void whatever_call_fails_nothing_is_half_done(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        int  before = traces(f, changes[i].trace);
        long nth = 0;
        for (;; nth++) {
            calls_until_fault = nth;
            bw_result result = changes[i].run(f->store);
            bool failed = calls_until_fault < 0;
            calls_until_fault = -1;
            if (!failed) {
                assert_int_equal(result.code, BW_OK);
                break;
            }
            if (result.code != BW_STORE_UNAVAILABLE)
                fail_msg("%s, call %ld: %d", changes[i].what, nth, result.code);
            if (traces(f, changes[i].trace) != before)
                fail_msg("%s, call %ld: half done", changes[i].what, nth);
        }
        assert_true(nth >= 4); /* begin, a value, the statement, commit */
        assert_true(traces(f, changes[i].trace) > before);
    }
}

static void whatever_call_fails_a_store_opens_or_is_refused(void **state)
{
    struct fixture *f = *state;
    long nth = 0;

    for (bool failed = true; failed; nth++) {
        bw_store_close(f->store);
        f->store = NULL;
        calls_until_fault = nth;
        bw_result result = bw_store_open(f->dir, &home, &f->store);
        failed = calls_until_fault < 0;
        calls_until_fault = -1;
        assert_int_equal(result.code, failed ? BW_STORE_UNAVAILABLE : BW_OK);
    }
    assert_true(nth > 20);
}

static void whatever_call_fails_a_new_store_is_whole_or_absent(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct stat st;

    bw_store_close(f->store);
    f->store = NULL;
    (void)snprintf(path, sizeof path, "%s/store.db", f->dir);
    assert_int_equal(unlink(path), 0);
    for (long nth = 0;; nth++) {
        calls_until_fault = nth;
        bw_result result = bw_store_create(f->dir, &home, 7);
        bool failed = calls_until_fault < 0;
        calls_until_fault = -1;
        if (!failed) {
            assert_int_equal(result.code, BW_OK);
            break;
        }
        assert_int_equal(result.code, BW_STORE_UNAVAILABLE);
        assert_int_not_equal(stat(path, &st), 0);
    }
    reopen(f);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_key_comes_out_as_it_went_in),
        STORE_TEST(a_key_is_changed_from_its_last_generation_only),
        STORE_TEST(an_alias_is_one_keys_in_its_tenant),
        STORE_TEST(reserved_uses_only_grow),
        STORE_TEST(a_tenant_counts_its_changes_and_those_in_it),
        STORE_TEST(who_is_revoked_stays_revoked),
        STORE_TEST(objects_are_listed_in_order_and_by_filter),
        STORE_TEST(a_retry_finds_its_first_answer),
        STORE_TEST(what_must_never_change_cannot),
        STORE_TEST(another_regions_store_is_refused),
        STORE_TEST(a_newer_schema_is_refused),
        STORE_TEST(a_store_has_one_daemon),
        STORE_TEST(a_store_is_made_once_and_on_purpose),
        STORE_TEST(nobody_else_may_read_or_write_it),
        STORE_TEST(a_proposal_comes_out_as_it_went_in),
        STORE_TEST(a_warrant_is_good_once_and_only_while_its_custodians_are),
        STORE_TEST(a_change_that_fails_spends_nothing),
        STORE_TEST(whatever_call_fails_nothing_is_half_done),
        STORE_TEST(whatever_call_fails_a_store_opens_or_is_refused),
        STORE_TEST(whatever_call_fails_a_new_store_is_whole_or_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
