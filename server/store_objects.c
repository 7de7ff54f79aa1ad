/* Certificates and data objects: rows to structs and back. */
#include <string.h>

#include "store_sql.h"

static bw_result touch(struct bw_store *store, const bw_tenant *tenant)
{
    return bw_query_run(store, BW_SQL_TOUCH_TENANT, BW_SQL_VALUES(bw_query_text(tenant->text)), NULL);
}

static bw_result put_object(struct bw_store *store, const void *what)
{
    const struct bw_object *object = what;
    int changed;
    const struct bw_query_value values[] = {
        bw_query_text(object->tenant.text), bw_query_id(object->id), bw_query_count(object->generation), bw_query_string(object->label),
        bw_query_blob(object->cka_id), bw_query_blob(object->value), bw_query_string(object->application), bw_query_blob(object->object_id),
        /* what never changes */
        bw_query_number(object->class), bw_query_string(object->owner), bw_query_number(object->created_us),
    };

    bw_result result = object->generation == 1 ? bw_query_run(store, BW_SQL_ADD_OBJECT, values, ARRAY_LEN(values), &changed)
                                               : bw_query_run(store, BW_SQL_SET_OBJECT, values, ARRAY_LEN(values) - 3, &changed);
    BW_CHECK(result.code != BW_ALREADY_EXISTS, BW_CONFLICT, "an object of this id is there");
    BW_TRY(result);
    BW_CHECK(changed == 1, BW_CONFLICT, "the object is not of the generation before");
    return touch(store, &object->tenant);
}

bw_result bw_store_put_object(struct bw_store *store, const struct bw_object *object)
{
    return bw_store_change(store, put_object, object);
}

struct object_name { const bw_tenant *tenant; const uint8_t *id; };

static bw_result delete_object(struct bw_store *store, const void *what)
{
    const struct object_name *name = what;
    int changed;

    BW_TRY(bw_query_run(store, BW_SQL_DELETE_OBJECT, BW_SQL_VALUES(bw_query_text(name->tenant->text), bw_query_id(name->id)), &changed));
    BW_CHECK(changed == 1, BW_NO_SUCH_OBJECT, "no such object in the tenant");
    return touch(store, name->tenant);
}

bw_result bw_store_delete_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16])
{
    return bw_store_change(store, delete_object, &(struct object_name){ tenant, id });
}

static bw_result read_object(struct bw_store *store, enum bw_store_sql sql, const bw_tenant *tenant, struct bw_arena *arena, struct bw_object *object)
{
    bw_bytes id = bw_query_get_bytes(store, sql, 0);

    BW_CHECK(id.len == sizeof object->id, BW_STORE_UNAVAILABLE, "an object's id in the store is damaged");
    memcpy(object->id, id.data, id.len);
    object->tenant     = *tenant;
    object->class      = (unsigned)bw_query_get_number(store, sql, 1);
    object->created_us = bw_query_get_number(store, sql, 8);
    object->generation = (uint64_t)bw_query_get_number(store, sql, 9);
    BW_TRY(bw_query_copy_bytes(store, sql, 2, arena, &object->label));
    BW_TRY(bw_query_copy_bytes(store, sql, 3, arena, &object->cka_id));
    BW_TRY(bw_query_copy_bytes(store, sql, 4, arena, &object->value));
    BW_TRY(bw_query_copy_bytes(store, sql, 5, arena, &object->application));
    BW_TRY(bw_query_copy_bytes(store, sql, 6, arena, &object->object_id));
    return bw_query_copy_bytes(store, sql, 7, arena, &object->owner);
}

static bw_result read_objects(struct bw_store *store, enum bw_store_sql sql, const bw_tenant *tenant, struct bw_arena *arena,
                              struct bw_object *ret_objects, size_t limit, size_t *ret_count)
{
    size_t count = 0;

    for (bool row; count < limit; count++) {
        BW_TRY(bw_query_row(store, sql, &row));
        if (!row)
            break;
        BW_TRY(read_object(store, sql, tenant, arena, &ret_objects[count]));
    }
    *ret_count = count;
    return bw_success();
}

bw_result bw_store_get_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16],
                              struct bw_arena *arena, struct bw_object *ret_object)
{
    const enum bw_store_sql sql = BW_SQL_GET_OBJECT;
    struct bw_object object;
    size_t count = 0;

    (void)pthread_mutex_lock(&store->lock);
    bw_result result = bw_query_start(store, sql, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_id(id)));
    if (bw_ok(result))
        result = read_objects(store, sql, tenant, arena, &object, 1, &count);
    bw_query_done(store, sql);
    (void)pthread_mutex_unlock(&store->lock);
    BW_TRY(result);
    BW_CHECK(count == 1, BW_NO_SUCH_OBJECT, "no such object in the tenant");
    *ret_object = object;
    return bw_success();
}

bw_result bw_store_list_objects(struct bw_store *store, const bw_tenant *tenant, const uint8_t *after, bw_bytes label, bw_bytes cka_id,
                                struct bw_arena *arena, struct bw_object *ret_objects, size_t limit, size_t *ret_count)
{
    const enum bw_store_sql sql = BW_SQL_LIST_OBJECTS;
    bw_bytes from = { after, after ? 16 : 0 }; /* every id comes after no bytes */

    (void)pthread_mutex_lock(&store->lock);
    bw_result result = bw_query_start(store, sql, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_blob(from), bw_query_string(label),
                                                              bw_query_blob(cka_id), bw_query_count(limit)));
    if (bw_ok(result))
        result = read_objects(store, sql, tenant, arena, ret_objects, limit, ret_count);
    bw_query_done(store, sql);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
