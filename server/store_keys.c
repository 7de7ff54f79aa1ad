/* Keys with their versions, aliases, tags and grants: rows to drafts and back. */
#include <string.h>

#include "key_grant.h"
#include "store_sql.h"

/* ---- writing ---- */

static bw_result put_row(struct bw_store *store, const struct bw_key *key)
{
    bool new_key = key->generation == 1;
    int  changed;
    const struct bw_query_value values[] = {
        bw_query_id(key->name.id.bytes), bw_query_text(key->name.tenant.text), bw_query_count(key->generation),
        bw_query_text(key->label), bw_query_blob(key->cka_id), bw_query_number(key->uses), bw_query_number(key->state),
        bw_query_text(key->description), bw_query_text(key->policy_text), bw_query_number(key->deletion_us), bw_query_number(key->rotation_days),
        bw_query_number(key->minimum_version),
        /* what never changes */
        bw_query_number(key->spec->spec), bw_query_number(key->origin), bw_query_text(key->owner), bw_query_number(key->created_us),
    };

    bw_result result = new_key ? bw_query_run(store, BW_SQL_ADD_KEY, values, ARRAY_LEN(values), &changed)
                               : bw_query_run(store, BW_SQL_SET_KEY, values, ARRAY_LEN(values) - 4, &changed);
    BW_CHECK(result.code != BW_ALREADY_EXISTS, BW_CONFLICT, "the key id was used before");
    BW_TRY(result);
    BW_CHECK(changed == 1, BW_CONFLICT, "the key is not of the generation before");
    return bw_success();
}

static bw_result put_versions(struct bw_store *store, const struct bw_key *key)
{
    for (size_t i = 0; i < key->version_count; i++) {
        const struct bw_key_version *version = &key->versions[i];
        BW_TRY(bw_query_run(store, BW_SQL_PUT_VERSION,
                          BW_SQL_VALUES(bw_query_id(key->name.id.bytes), bw_query_number(version->number), bw_query_number(version->state),
                                        bw_query_number(version->created_us), bw_query_blob(version->public_key),
                                        bw_query_blob(bw_bytes_of(version->made_by, version->has_made_by ? sizeof version->made_by : 0))), NULL));
    }
    return bw_success();
}

static bw_result put_aliases(struct bw_store *store, const struct bw_key *key)
{
    BW_TRY(bw_query_run(store, BW_SQL_CLEAR_ALIASES, BW_SQL_VALUES(bw_query_id(key->name.id.bytes)), NULL));
    for (size_t i = 0; i < key->alias_count; i++) {
        bw_result result = bw_query_run(store, BW_SQL_ADD_ALIAS,
                                      BW_SQL_VALUES(bw_query_text(key->name.tenant.text), bw_query_text(key->aliases[i]),
                                                    bw_query_id(key->name.id.bytes)), NULL);
        BW_CHECK_AT(result.code != BW_ALREADY_EXISTS, BW_ALREADY_EXISTS, "aliases", "another key of the tenant has this alias");
        BW_TRY(result);
    }
    return bw_success();
}

static bw_result put_tags(struct bw_store *store, const struct bw_key *key)
{
    BW_TRY(bw_query_run(store, BW_SQL_CLEAR_TAGS, BW_SQL_VALUES(bw_query_id(key->name.id.bytes)), NULL));
    for (size_t i = 0; i < key->tag_count; i++)
        BW_TRY(bw_query_run(store, BW_SQL_ADD_TAG,
                          BW_SQL_VALUES(bw_query_id(key->name.id.bytes), bw_query_text(key->tags[i].name), bw_query_text(key->tags[i].value)), NULL));
    return bw_success();
}

struct written { const struct bw_key *key; const struct bw_warrant *warrant; };
static bw_result put_grants(struct bw_store *store, const struct bw_key *key)
{
    BW_TRY(bw_query_run(store, BW_SQL_CLEAR_GRANTS, BW_SQL_VALUES(bw_query_id(key->name.id.bytes)), NULL));
    for (size_t i = 0; i < key->grant_count; i++) {
        const struct bw_key_grant *grant = key->grants[i];
        bw_result result = bw_query_run(store, BW_SQL_ADD_GRANT,
                                        BW_SQL_VALUES(bw_query_id(grant->id), bw_query_id(key->name.id.bytes), bw_query_count(i), bw_query_id(grant->parent),
                                                      bw_query_text(grant->granter), bw_query_text(grant->terms), bw_query_number(grant->delegations),
                                                      bw_query_number(grant->created_us), bw_query_number(grant->expires_us)), NULL);
        BW_CHECK_AT(result.code != BW_ALREADY_EXISTS, BW_REQUEST_REUSED, "request_id", "it made a grant on another key");
        BW_TRY(result);
    }
    return bw_success();
}

static bw_result put_key(struct bw_store *store, const void *what)
{
    const struct written *written = what;
    const struct bw_key  *key     = written->key;

    BW_TRY(bw_warrant_spend(store, written->warrant));
    BW_TRY(put_row(store, key));
    BW_TRY(put_versions(store, key));
    BW_TRY(put_aliases(store, key));
    BW_TRY(put_tags(store, key));
    BW_TRY(put_grants(store, key));
    return bw_query_run(store, BW_SQL_TOUCH_TENANT, BW_SQL_VALUES(bw_query_text(key->name.tenant.text)), NULL);
}

bw_result bw_store_put_key(struct bw_store *store, const struct bw_key *key, struct bw_warrant *warrant)
{
    bw_result result = bw_store_change(store, put_key, &(struct written){ key, warrant });

    if (warrant != NULL)
        warrant->spent = bw_ok(result);
    return result;
}

struct reservation { const bw_key_id *key; uint32_t version; uint64_t up_to; };

static bw_result reserve_uses(struct bw_store *store, const void *what)
{
    const struct reservation *r = what;
    int changed;

    BW_TRY(bw_query_run(store, BW_SQL_RESERVE_USES, BW_SQL_VALUES(bw_query_id(r->key->bytes), bw_query_number(r->version), bw_query_count(r->up_to)), &changed));
    BW_CHECK(changed == 1, BW_NO_SUCH_KEY, "no such key version in the store");
    return bw_success();
}

bw_result bw_store_reserve_uses(struct bw_store *store, const bw_key_id *key, uint32_t version, uint64_t up_to)
{
    return bw_store_change(store, reserve_uses, &(struct reservation){ key, version, up_to });
}

struct last_use { const bw_key_id *key; uint32_t version; int64_t last_used_us; };

static bw_result keep_last_use(struct bw_store *store, const void *what)
{
    const struct last_use *use = what;
    return bw_query_run(store, BW_SQL_KEEP_LAST_USE,
                        BW_SQL_VALUES(bw_query_id(use->key->bytes), bw_query_number(use->version), bw_query_number(use->last_used_us)), NULL);
}

bw_result bw_store_keep_last_use(struct bw_store *store, const bw_key_id *key, uint32_t version, int64_t last_used_us)
{
    return bw_store_change(store, keep_last_use, &(struct last_use){ key, version, last_used_us });
}

/* ---- reading: the lists of one key, then the key ---- */

/* Reads the rows of one key's list into an array in the arena. */
struct list_kind {
    enum bw_store_sql sql;
    size_t      item_size;
    bw_result (*read)(struct bw_store *store, struct bw_arena *arena, void *item);
};

static bw_result read_version(struct bw_store *store, struct bw_arena *arena, void *item)
{
    struct bw_key_version *version = item;

    version->number     = (uint32_t)bw_query_get_number(store, BW_SQL_VERSIONS_OF, 0);
    version->state      = (enum bw_version_state)bw_query_get_number(store, BW_SQL_VERSIONS_OF, 1);
    version->created_us = bw_query_get_number(store, BW_SQL_VERSIONS_OF, 2);
    version->reserved   = (uint64_t)bw_query_get_number(store, BW_SQL_VERSIONS_OF, 4);
    version->last_used_us = bw_query_get_number(store, BW_SQL_VERSIONS_OF, 5);
    bw_bytes made_by = bw_query_get_bytes(store, BW_SQL_VERSIONS_OF, 6);
    version->has_made_by = made_by.len == sizeof version->made_by;
    if (version->has_made_by)
        memcpy(version->made_by, made_by.data, made_by.len);
    return bw_query_copy_bytes(store, BW_SQL_VERSIONS_OF, 3, arena, &version->public_key);
}

static bw_result read_alias(struct bw_store *store, struct bw_arena *arena, void *item)
{
    return bw_query_copy_text(store, BW_SQL_ALIASES_OF, 0, arena, item);
}

static bw_result read_tag(struct bw_store *store, struct bw_arena *arena, void *item)
{
    struct bw_text_pair *tag = item;

    BW_TRY(bw_query_copy_text(store, BW_SQL_TAGS_OF, 0, arena, &tag->name));
    return bw_query_copy_text(store, BW_SQL_TAGS_OF, 1, arena, &tag->value);
}

static bw_result read_grant_id(struct bw_store *store, int column, uint8_t id[static 16])
{
    bw_bytes bytes = bw_query_get_bytes(store, BW_SQL_GRANTS_OF, column);

    BW_CHECK(bytes.len == 16, BW_STORE_UNAVAILABLE, "a grant id in the store is damaged");
    memcpy(id, bytes.data, 16);
    return bw_success();
}

static bw_result read_grant(struct bw_store *store, struct bw_arena *arena, void *item)
{
    struct bw_key_grant **ret_draft = item, *draft = bw_arena_alloc(arena, sizeof *draft);
    const enum bw_store_sql sql = BW_SQL_GRANTS_OF;

    BW_CHECK(draft != NULL, BW_NO_MEMORY, "a grant of the store");
    BW_TRY(read_grant_id(store, 0, draft->id));
    BW_TRY(read_grant_id(store, 1, draft->parent));
    BW_TRY(bw_query_copy_text(store, sql, 2, arena, &draft->granter));
    BW_TRY(bw_query_copy_text(store, sql, 3, arena, &draft->terms));
    draft->delegations = (uint32_t)bw_query_get_number(store, sql, 4);
    draft->created_us  = bw_query_get_number(store, sql, 5);
    draft->expires_us  = bw_query_get_number(store, sql, 6);
    *ret_draft = draft;
    return bw_success();
}

static const struct list_kind versions_of = { BW_SQL_VERSIONS_OF, sizeof(struct bw_key_version), read_version };
static const struct list_kind aliases_of  = { BW_SQL_ALIASES_OF,  sizeof(const char *),          read_alias };
static const struct list_kind tags_of     = { BW_SQL_TAGS_OF,     sizeof(struct bw_text_pair),   read_tag };
static const struct list_kind grants_of   = { BW_SQL_GRANTS_OF,   sizeof(struct bw_key_grant *), read_grant };

static bw_result read_rows(struct bw_store *store, const struct list_kind *kind, struct bw_arena *arena, void **ret_items, size_t *ret_count)
{
    size_t   count = 0, room = 0;
    uint8_t *items = NULL;
    bool     row;

    for (;; count++) {
        BW_TRY(bw_query_row(store, kind->sql, &row));
        if (!row)
            break;
        if (count == room) {
            room = room ? room * 2 : 4;
            uint8_t *wider = bw_arena_alloc(arena, room * kind->item_size);
            BW_CHECK(wider != NULL, BW_NO_MEMORY, "a key of the store");
            if (count > 0)
                memcpy(wider, items, count * kind->item_size);
            items = wider;
        }
        BW_TRY(kind->read(store, arena, items + count * kind->item_size));
    }
    *ret_items = items;
    *ret_count = count;
    return bw_success();
}

static bw_result read_list(struct bw_store *store, const struct list_kind *kind, const bw_key_id *id, struct bw_arena *arena,
                           void **ret_items, size_t *ret_count)
{
    bw_result result = bw_query_start(store, kind->sql, BW_SQL_VALUES(bw_query_id(id->bytes)));

    if (bw_ok(result))
        result = read_rows(store, kind, arena, ret_items, ret_count);
    bw_query_done(store, kind->sql);
    return result;
}

static bw_result read_lists(struct bw_store *store, struct bw_arena *arena, struct bw_key *draft)
{
    void *versions, *aliases, *tags, *grants;

    BW_TRY(read_list(store, &versions_of, &draft->name.id, arena, &versions, &draft->version_count));
    BW_TRY(read_list(store, &aliases_of, &draft->name.id, arena, &aliases, &draft->alias_count));
    BW_TRY(read_list(store, &tags_of, &draft->name.id, arena, &tags, &draft->tag_count));
    BW_TRY(read_list(store, &grants_of, &draft->name.id, arena, &grants, &draft->grant_count));
    draft->versions = versions;
    draft->aliases  = aliases;
    draft->tags     = tags;
    draft->grants   = grants;
    return bw_success();
}

static bw_result read_key(struct bw_store *store, struct bw_arena *arena, struct bw_key *draft)
{
    const enum bw_store_sql sql = BW_SQL_ALL_KEYS;
    bw_bytes id = bw_query_get_bytes(store, sql, 0);

    BW_CHECK(id.len == sizeof draft->name.id.bytes, BW_STORE_UNAVAILABLE, "a key id in the store is damaged");
    memcpy(draft->name.id.bytes, id.data, id.len);
    draft->name.region = store->region;
    BW_TRY(bw_tenant_parse(bw_bytes_text(bw_query_get_text(store, sql, 1)), &draft->name.tenant));
    draft->label       = bw_query_get_text(store, sql, 2);
    draft->cka_id      = bw_query_get_bytes(store, sql, 3);
    draft->spec        = bw_spec_row((enum bw_spec)bw_query_get_number(store, sql, 4));
    draft->uses        = (unsigned)bw_query_get_number(store, sql, 5);
    draft->state       = (enum bw_key_state)bw_query_get_number(store, sql, 6);
    draft->origin      = (enum bw_key_origin)bw_query_get_number(store, sql, 7);
    draft->owner       = bw_query_get_text(store, sql, 8);
    draft->description = bw_query_get_text(store, sql, 9);
    draft->policy_text = bw_query_get_text(store, sql, 10);
    draft->created_us  = bw_query_get_number(store, sql, 11);
    draft->deletion_us = bw_query_get_number(store, sql, 12);
    draft->generation  = (uint64_t)bw_query_get_number(store, sql, 13);
    draft->rotation_days   = (uint32_t)bw_query_get_number(store, sql, 14);
    draft->minimum_version = (uint32_t)bw_query_get_number(store, sql, 15);
    BW_CHECK(draft->spec != NULL, BW_STORE_UNAVAILABLE, "a key in the store is of a kind that this daemon does not know");
    return read_lists(store, arena, draft);
}

static bw_result each_key(struct bw_store *store, bw_store_key_fn each, void *self)
{
    for (bool row;;) {
        struct bw_arena arena = { 0 };
        struct bw_key   draft;

        BW_TRY(bw_query_row(store, BW_SQL_ALL_KEYS, &row));
        if (!row)
            return bw_success();
        memset(&draft, 0, sizeof draft);
        bw_result result = read_key(store, &arena, &draft);
        if (bw_ok(result))
            result = each(self, &draft);
        bw_arena_clear(&arena);
        BW_TRY(result);
    }
}

bw_result bw_store_each_key(struct bw_store *store, bw_store_key_fn each, void *self)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = each_key(store, each, self);
    bw_query_done(store, BW_SQL_ALL_KEYS);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
