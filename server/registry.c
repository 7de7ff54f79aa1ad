#include "registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "key_grant.h"
#include "snapshot.h"
#include "store.h"

/* A tenant and its keys in order of id. The key references are those of the table of keys. */
struct place {
    struct bw_tenant_info  *info;
    uint64_t                contents;
    struct bw_key         **keys;
    size_t                  key_count, key_room;
};

struct bw_registry {
    pthread_mutex_t      making;
    pthread_mutex_t      changes;
    pthread_rwlock_t     lock;       /* of what follows */
    struct bw_table      tenants;    /* struct place */
    struct bw_table      keys;       /* struct bw_key, by id: one reference each */
    struct bw_table      aliases;    /* struct bw_key, by tenant and alias: borrowed from keys */
    struct bw_table      revoked;    /* text */
    struct place       **places;     /* tenants in order of name */
    size_t               place_count, place_room;
    uint8_t              seed[16];
    struct bw_rules_pool rules;
};

/* ---- hashes and matches ---- */

/* Ids that stand in the table come from a hash function or the HSM, so their first bytes are as good as a hash. */
static uint64_t hash_id(const bw_key_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->bytes, sizeof hash);
    return hash;
}

static uint64_t hash_text(const struct bw_registry *registry, const char *text)
{
    return bw_siphash(registry->seed, bw_bytes_text(text));
}

struct wanted_key   { const bw_tenant *tenant; const bw_key_id *id; };
struct wanted_alias { const bw_tenant *tenant; bw_bytes alias; };

static uint64_t hash_alias(const struct bw_registry *registry, const struct wanted_alias *wanted)
{
    uint8_t joined[sizeof(bw_tenant) + BW_ALIAS_MAX];

    memcpy(joined, wanted->tenant, sizeof(bw_tenant));
    if (wanted->alias.len > 0)
        memcpy(joined + sizeof(bw_tenant), wanted->alias.data, wanted->alias.len);
    return bw_siphash(registry->seed, (bw_bytes){ joined, sizeof(bw_tenant) + wanted->alias.len });
}

static bool is_place(const void *value, const void *wanted)
{
    return bw_tenant_equal(&((const struct place *)value)->info->name, wanted);
}

static bool is_key(const void *value, const void *wanted_)
{
    const struct bw_key     *key    = value;
    const struct wanted_key *wanted = wanted_;
    return bw_key_id_equal(&key->name.id, wanted->id) && bw_tenant_equal(&key->name.tenant, wanted->tenant);
}

static bool has_alias(const void *value, const void *wanted_)
{
    const struct bw_key       *key    = value;
    const struct wanted_alias *wanted = wanted_;

    if (!bw_tenant_equal(&key->name.tenant, wanted->tenant))
        return false;
    for (size_t i = 0; i < key->alias_count; i++)
        if (bw_bytes_equal(bw_bytes_text(key->aliases[i]), wanted->alias))
            return true;
    return false;
}

static bool is_text(const void *value, const void *wanted) { return strcmp(value, wanted) == 0; }

static struct place *place_of(struct bw_registry *registry, const bw_tenant *tenant)
{
    return bw_table_find(&registry->tenants, hash_text(registry, tenant->text), is_place, tenant);
}

static struct bw_key *key_of(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *id)
{
    return bw_table_find(&registry->keys, hash_id(id), is_key, &(struct wanted_key){ tenant, id });
}

/* ---- life ---- */

static bw_result init_locks(struct bw_registry *registry)
{
    pthread_rwlockattr_t attributes;

    /* Readers never take the lock twice, so writers may go first: a change is not kept waiting by load. */
    (void)pthread_rwlockattr_init(&attributes);
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int failed = pthread_rwlock_init(&registry->lock, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
    (void)pthread_mutex_init(&registry->changes, NULL);
    (void)pthread_mutex_init(&registry->making, NULL);
    BW_CHECK(failed == 0, BW_NO_MEMORY, "registry's lock");
    return bw_success();
}

bw_result bw_registry_new(struct bw_registry **ret_registry)
{
    struct bw_registry *registry = calloc(1, sizeof *registry);

    BW_CHECK(registry != NULL, BW_NO_MEMORY, "registry");
    bw_result result = init_locks(registry);
    if (bw_ok(result) && getentropy(registry->seed, sizeof registry->seed) != 0)
        result = bw_fail(BW_INTERNAL, "no random numbers from the system");
    bw_rules_pool_init(&registry->rules, registry->seed);
    if (!bw_ok(result)) {
        bw_registry_free(registry);
        return result;
    }
    *ret_registry = registry;
    return bw_success();
}

static void free_place(struct place *place)
{
    for (size_t i = 0; i < place->key_count; i++)
        bw_key_unref(place->keys[i]);
    bw_tenant_info_unref(place->info);
    free(place->keys);
    free(place);
}

void bw_registry_free(struct bw_registry *registry)
{
    if (registry == NULL)
        return;
    for (size_t i = 0; i < registry->place_count; i++)
        free_place(registry->places[i]);
    for (size_t i = 0; i < registry->revoked.room; i++)
        free(bw_table_at(&registry->revoked, i));
    bw_table_clear(&registry->tenants);
    bw_table_clear(&registry->keys);
    bw_table_clear(&registry->aliases);
    bw_table_clear(&registry->revoked);
    free(registry->places);
    bw_rules_pool_clear(&registry->rules);
    (void)pthread_rwlock_destroy(&registry->lock);
    (void)pthread_mutex_destroy(&registry->changes);
    (void)pthread_mutex_destroy(&registry->making);
    free(registry);
}

bw_result bw_key_new(struct bw_registry *registry, const struct bw_key *draft, struct bw_key **ret_key)
{
    struct bw_rules *rules;

    for (size_t i = 0; i < draft->alias_count; i++) {
        size_t len = strlen(draft->aliases[i]);
        BW_CHECK_AT(len > 0 && len <= BW_ALIAS_MAX, BW_BAD_ARGUMENT, "aliases", "an alias is empty or longer than 64 bytes");
    }
    BW_TRY(bw_rules_get(&registry->rules, draft->policy_text, &rules));
    return bw_key_pack(draft, rules, ret_key);
}

static bw_result load_tenant(void *self, const struct bw_tenant_info *draft)
{
    struct bw_tenant_info *tenant, sealed;

    bw_tenant_info_draft(draft, &sealed);
    if (sealed.activation == BW_CUSTOMER_HELD)
        sealed.state = BW_TENANT_STATE_SEALED;
    BW_TRY(bw_tenant_info_new(&sealed, &tenant));
    return bw_registry_put_tenant(self, tenant);
}

/* Takes no reference to the grants: the snapshot has its own. */
static bw_result load_granted_key(struct bw_registry *registry, const struct bw_key *draft, struct bw_key_grant **grants)
{
    struct bw_key with_grants, *key;

    bw_key_draft(draft, &with_grants);
    with_grants.grants = grants;
    BW_TRY(bw_key_new(registry, &with_grants, &key));
    return bw_registry_put_key(registry, key);
}

static bw_result load_key(void *self, const struct bw_key *draft)
{
    struct bw_key_grant *grants[BW_GRANTS_MAX] = { NULL };
    bw_result result = bw_success();

    BW_CHECK(draft->grant_count <= BW_GRANTS_MAX, BW_STORE_UNAVAILABLE, "a key in the store has too many grants");
    for (size_t i = 0; i < draft->grant_count && bw_ok(result); i++)
        result = bw_key_grant_new(draft->grants[i], &grants[i]);
    if (bw_ok(result))
        result = load_granted_key(self, draft, grants);
    for (size_t i = 0; i < draft->grant_count; i++)
        bw_key_grant_unref(grants[i]);
    return result;
}

static bw_result load_revoked(void *self, const char *spiffe_id, int64_t revoked_us)
{
    (void)revoked_us;
    return bw_registry_revoke(self, spiffe_id);
}

/* Loading counts as no change: what was counted is in the store. */
static void restore_contents(struct bw_registry *registry)
{
    for (size_t i = 0; i < registry->place_count; i++)
        registry->places[i]->contents = registry->places[i]->info->contents;
}

bw_result bw_registry_load(struct bw_registry *registry, struct bw_store *store)
{
    BW_TRY(bw_store_each_tenant(store, load_tenant, registry));
    BW_TRY(bw_store_each_key(store, load_key, registry));
    restore_contents(registry);
    return bw_store_each_revoked(store, NULL, load_revoked, registry);
}

/* ---- asking ---- */

bw_result bw_registry_key(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *id, const struct bw_key **ret_key)
{
    (void)pthread_rwlock_rdlock(&registry->lock);
    const struct bw_key *key = key_of(registry, tenant, id);
    if (key != NULL)
        bw_key_ref(key);
    (void)pthread_rwlock_unlock(&registry->lock);
    BW_CHECK(key != NULL, BW_NO_SUCH_KEY, "no such key in the tenant");
    *ret_key = key;
    return bw_success();
}

bw_result bw_registry_key_by_alias(struct bw_registry *registry, const bw_tenant *tenant, bw_bytes alias, const struct bw_key **ret_key)
{
    struct wanted_alias wanted = { tenant, alias };

    BW_CHECK(alias.len <= BW_ALIAS_MAX, BW_NO_SUCH_KEY, "longer than an alias can be");
    (void)pthread_rwlock_rdlock(&registry->lock);
    const struct bw_key *key = bw_table_find(&registry->aliases, hash_alias(registry, &wanted), has_alias, &wanted);
    if (key != NULL)
        bw_key_ref(key);
    (void)pthread_rwlock_unlock(&registry->lock);
    BW_CHECK(key != NULL, BW_NO_SUCH_KEY, "no such alias in the tenant");
    *ret_key = key;
    return bw_success();
}

bw_result bw_registry_tenant(struct bw_registry *registry, const bw_tenant *name, const struct bw_tenant_info **ret_tenant)
{
    (void)pthread_rwlock_rdlock(&registry->lock);
    const struct place *place = place_of(registry, name);
    const struct bw_tenant_info *tenant = place ? place->info : NULL;
    if (tenant != NULL)
        bw_tenant_info_ref(tenant);
    (void)pthread_rwlock_unlock(&registry->lock);
    BW_CHECK(tenant != NULL, BW_NO_SUCH_TENANT, "no such tenant in this region");
    *ret_tenant = tenant;
    return bw_success();
}

bool bw_registry_is_revoked(struct bw_registry *registry, const char *spiffe_id)
{
    (void)pthread_rwlock_rdlock(&registry->lock);
    bool revoked = registry->revoked.count > 0 &&
                   bw_table_find(&registry->revoked, hash_text(registry, spiffe_id), is_text, spiffe_id) != NULL;
    (void)pthread_rwlock_unlock(&registry->lock);
    return revoked;
}

bw_result bw_registry_contents(struct bw_registry *registry, const bw_tenant *tenant, uint64_t *ret_contents)
{
    (void)pthread_rwlock_rdlock(&registry->lock);
    const struct place *place = place_of(registry, tenant);
    if (place != NULL)
        *ret_contents = place->contents;
    (void)pthread_rwlock_unlock(&registry->lock);
    BW_CHECK(place != NULL, BW_NO_SUCH_TENANT, "no such tenant in this region");
    return bw_success();
}

/* ---- changing ---- */

void bw_registry_begin_change(struct bw_registry *registry) { (void)pthread_mutex_lock(&registry->changes); }
void bw_registry_end_change(struct bw_registry *registry)   { (void)pthread_mutex_unlock(&registry->changes); }
void bw_registry_begin_making(struct bw_registry *registry) { (void)pthread_mutex_lock(&registry->making); }
void bw_registry_end_making(struct bw_registry *registry)   { (void)pthread_mutex_unlock(&registry->making); }

/* Position of the first key whose id is not less. */
static size_t position(const struct place *place, const bw_key_id *id)
{
    size_t low = 0, high = place->key_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(place->keys[middle]->name.id.bytes, id->bytes, sizeof id->bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bw_result reserve_position(struct place *place)
{
    if (place->key_count < place->key_room)
        return bw_success();
    size_t room = place->key_room ? place->key_room * 2 : 8;
    struct bw_key **keys = realloc(place->keys, room * sizeof *keys);
    BW_CHECK(keys != NULL, BW_NO_MEMORY, "tenant's keys");
    place->keys     = keys;
    place->key_room = room;
    return bw_success();
}

static uint64_t hash_alias_of(const struct bw_registry *registry, const struct bw_key *key, size_t i)
{
    return hash_alias(registry, &(struct wanted_alias){ &key->name.tenant, bw_bytes_text(key->aliases[i]) });
}

static bw_result check_aliases(struct bw_registry *registry, const struct bw_key *key, const struct bw_key *old)
{
    for (size_t i = 0; i < key->alias_count; i++) {
        struct wanted_alias wanted = { &key->name.tenant, bw_bytes_text(key->aliases[i]) };
        const struct bw_key *holder = bw_table_find(&registry->aliases, hash_alias(registry, &wanted), has_alias, &wanted);
        BW_CHECK_AT(holder == NULL || holder == old, BW_ALREADY_EXISTS, "aliases", "another key of the tenant has this alias");
    }
    return bw_success();
}

/* All that can fail, before anything is changed. */
static bw_result reserve_for(struct bw_registry *registry, struct place *place, const struct bw_key *key, const struct bw_key *old)
{
    size_t aliases = old ? old->alias_count : 0;

    BW_TRY(check_aliases(registry, key, old));
    if (key->alias_count > aliases)
        BW_TRY(bw_table_reserve(&registry->aliases, key->alias_count - aliases));
    if (old != NULL)
        return bw_success();
    BW_TRY(bw_table_reserve(&registry->keys, 1));
    return reserve_position(place);
}

static void take_out(struct bw_registry *registry, struct bw_key *old)
{
    for (size_t i = 0; i < old->alias_count; i++)
        bw_table_remove(&registry->aliases, hash_alias_of(registry, old, i), old);
    bw_table_remove(&registry->keys, hash_id(&old->name.id), old);
    atomic_store(&old->superseded, true);
}

static void put_in(struct bw_registry *registry, struct place *place, struct bw_key *key, bool replaces)
{
    size_t at = position(place, &key->name.id);

    if (!replaces) {
        memmove(place->keys + at + 1, place->keys + at, (place->key_count - at) * sizeof *place->keys);
        place->key_count++;
    }
    place->keys[at] = key;
    bw_table_put(&registry->keys, hash_id(&key->name.id), key);
    for (size_t i = 0; i < key->alias_count; i++)
        bw_table_put(&registry->aliases, hash_alias_of(registry, key, i), key);
    place->contents++;
}

static bw_result replace_key(struct bw_registry *registry, struct bw_key *key, struct bw_key **ret_old)
{
    struct place  *place = place_of(registry, &key->name.tenant);
    struct bw_key *old   = key_of(registry, &key->name.tenant, &key->name.id);

    BW_CHECK(place != NULL, BW_NO_SUCH_TENANT, "no such tenant in this region");
    BW_TRY(reserve_for(registry, place, key, old));
    if (old != NULL)
        take_out(registry, old);
    put_in(registry, place, key, old != NULL);
    *ret_old = old;
    return bw_success();
}

bw_result bw_registry_put_key(struct bw_registry *registry, struct bw_key *key)
{
    struct bw_key *leaving = NULL;

    (void)pthread_rwlock_wrlock(&registry->lock);
    bw_result result = replace_key(registry, key, &leaving);
    (void)pthread_rwlock_unlock(&registry->lock);
    bw_key_unref(bw_ok(result) ? leaving : key);
    return result;
}

static bw_result add_place(struct bw_registry *registry, struct bw_tenant_info *tenant)
{
    BW_TRY(bw_table_reserve(&registry->tenants, 1));
    if (registry->place_count == registry->place_room) {
        size_t room = registry->place_room ? registry->place_room * 2 : 16;
        struct place **places = realloc(registry->places, room * sizeof *places);
        BW_CHECK(places != NULL, BW_NO_MEMORY, "tenants");
        registry->places     = places;
        registry->place_room = room;
    }
    struct place *place = calloc(1, sizeof *place);
    BW_CHECK(place != NULL, BW_NO_MEMORY, "tenant");

    size_t at = registry->place_count++;
    for (; at > 0 && strcmp(registry->places[at - 1]->info->name.text, tenant->name.text) > 0; at--)
        registry->places[at] = registry->places[at - 1];
    registry->places[at] = place;
    place->info     = tenant;
    place->contents = 1;
    bw_table_put(&registry->tenants, hash_text(registry, tenant->name.text), place);
    return bw_success();
}

bw_result bw_registry_put_tenant(struct bw_registry *registry, struct bw_tenant_info *tenant)
{
    struct bw_tenant_info *leaving = NULL;
    bw_result result = bw_success();

    (void)pthread_rwlock_wrlock(&registry->lock);
    struct place *place = place_of(registry, &tenant->name);
    if (place == NULL) {
        result = add_place(registry, tenant);
    } else {
        leaving     = place->info;
        place->info = tenant;
        /* A token that opens is no change that the store counts. */
        if (tenant->generation != leaving->generation)
            place->contents++;
        atomic_store(&leaving->superseded, true);
    }
    (void)pthread_rwlock_unlock(&registry->lock);
    bw_tenant_info_unref(bw_ok(result) ? leaving : tenant);
    return result;
}

static bw_result add_revoked(struct bw_registry *registry, const char *spiffe_id)
{
    uint64_t hash = hash_text(registry, spiffe_id);

    if (bw_table_find(&registry->revoked, hash, is_text, spiffe_id) != NULL)
        return bw_success();
    BW_TRY(bw_table_reserve(&registry->revoked, 1));
    char *kept = strdup(spiffe_id);
    BW_CHECK(kept != NULL, BW_NO_MEMORY, "revocation");
    bw_table_put(&registry->revoked, hash, kept);
    return bw_success();
}

bw_result bw_registry_revoke(struct bw_registry *registry, const char *spiffe_id)
{
    (void)pthread_rwlock_wrlock(&registry->lock);
    bw_result result = add_revoked(registry, spiffe_id);
    (void)pthread_rwlock_unlock(&registry->lock);
    return result;
}

void bw_registry_touch(struct bw_registry *registry, const bw_tenant *tenant)
{
    (void)pthread_rwlock_wrlock(&registry->lock);
    struct place *place = place_of(registry, tenant);
    if (place != NULL)
        place->contents++;
    (void)pthread_rwlock_unlock(&registry->lock);
}

/* ---- listing ---- */

static bool matches(const struct bw_key *key, const struct bw_key_filter *filter)
{
    if (filter == NULL)
        return true;
    return (filter->spec == BW_SPEC_NONE || key->spec->spec == filter->spec) &&
           (filter->state == 0 || key->state == filter->state) &&
           (filter->label.len == 0 || bw_bytes_equal(filter->label, bw_bytes_text(key->label))) &&
           (filter->cka_id.len == 0 || bw_bytes_equal(filter->cka_id, bw_key_cka_id(key)));
}

static size_t list_keys(const struct place *place, const bw_key_id *after, const struct bw_key_filter *filter,
                        const struct bw_key **ret_keys, size_t limit)
{
    size_t count = 0, at = after ? position(place, after) : 0;

    if (after != NULL && at < place->key_count && bw_key_id_equal(&place->keys[at]->name.id, after))
        at++;
    for (; at < place->key_count && count < limit; at++) {
        if (!matches(place->keys[at], filter))
            continue;
        bw_key_ref(place->keys[at]);
        ret_keys[count++] = place->keys[at];
    }
    return count;
}

bw_result bw_registry_list(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *after,
                           const struct bw_key_filter *filter, const struct bw_key **ret_keys, size_t limit, size_t *ret_count)
{
    (void)pthread_rwlock_rdlock(&registry->lock);
    const struct place *place = place_of(registry, tenant);
    if (place != NULL)
        *ret_count = list_keys(place, after, filter, ret_keys, limit);
    (void)pthread_rwlock_unlock(&registry->lock);
    BW_CHECK(place != NULL, BW_NO_SUCH_TENANT, "no such tenant in this region");
    return bw_success();
}

size_t bw_registry_tenants(struct bw_registry *registry, const bw_tenant *after, const struct bw_tenant_info **ret_tenants, size_t limit)
{
    size_t count = 0;

    (void)pthread_rwlock_rdlock(&registry->lock);
    for (size_t i = 0; i < registry->place_count && count < limit; i++) {
        const struct bw_tenant_info *tenant = registry->places[i]->info;
        if (after != NULL && strcmp(tenant->name.text, after->text) <= 0)
            continue;
        bw_tenant_info_ref(tenant);
        ret_tenants[count++] = tenant;
    }
    (void)pthread_rwlock_unlock(&registry->lock);
    return count;
}
