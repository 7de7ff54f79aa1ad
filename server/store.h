/* The store: what must survive a restart besides keys' material (HSM) and the log (audit). SQLite, one file.
 *
 * Off the release path: only what changes keys and tenants comes here, on worker threads, serialised by the store's own
 * lock. Region and tenant columns cannot be changed, which triggers in schema.sql enforce. */
#ifndef BW_SERVER_STORE_H
#define BW_SERVER_STORE_H

#include "registry.h"

struct bw_store;

/* Opens or creates <dir>/store.db and migrates it to the newest schema. Fails with BW_WRONG_REGION when the store was
 * made for another region, BW_STORE_UNAVAILABLE otherwise. */
bw_result bw_store_open(const char *dir, const bw_region *region, struct bw_store **ret_store);
void      bw_store_close(struct bw_store *store);
static inline void bw_store_free(struct bw_store *store) { bw_store_close(store); }
BW_DEFINE_AUTO(store)

/* A new store is made only on purpose (bailiwickd --init-region); open refuses when there is none. */
bw_result bw_store_create(const char *dir, const bw_region *region);

/* Everything, for the registry. Snapshots given to the callback are the callback's. */
typedef bw_result (*bw_store_key_fn)(void *self, struct bw_key *key);
typedef bw_result (*bw_store_tenant_fn)(void *self, struct bw_tenant_info *tenant);
bw_result bw_store_each_key(struct bw_store *store, bw_store_key_fn each, void *self);
bw_result bw_store_each_tenant(struct bw_store *store, bw_store_tenant_fn each, void *self);
bw_result bw_store_each_revoked(struct bw_store *store, bw_result (*each)(void *self, const char *spiffe_id, int64_t revoked_us), void *self);

/* Writes the key with its versions, aliases and tags; all or nothing. BW_CONFLICT: the stored generation is not key->generation - 1;
 * BW_ALREADY_EXISTS: an alias is taken. */
bw_result bw_store_put_key(struct bw_store *store, const struct bw_key *key);
bw_result bw_store_put_tenant(struct bw_store *store, const struct bw_tenant_info *tenant);
bw_result bw_store_revoke(struct bw_store *store, const char *spiffe_id, int64_t now_us);

/* Certificates and data objects. */
struct bw_object {
    bw_tenant tenant;
    uint8_t   id[16];
    unsigned  class;            /* objects.proto, ObjectClass */
    bw_bytes  label, cka_id, value, application, object_id, owner;
    int64_t   created_us;
    uint64_t  generation;
};
bw_result bw_store_put_object(struct bw_store *store, const struct bw_object *object);
bw_result bw_store_delete_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16]);
bw_result bw_store_get_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16], struct bw_arena *arena, struct bw_object *ret_object);
/* A page in order of id after the given one (NULL: from the start); label and cka_id filter, empty matches all. */
bw_result bw_store_list_objects(struct bw_store *store, const bw_tenant *tenant, const uint8_t *after, bw_bytes label, bw_bytes cka_id,
                                struct bw_arena *arena, struct bw_object *ret_objects, size_t limit, size_t *ret_count);

/* Request ids of changes, so that a retry finds its first answer. digest: SHA-256 of method and request without its id.
 * BW_REQUEST_REUSED: the id stands for another request. *ret_reply empty: not seen before. Kept for 24 hours. */
bw_result bw_store_find_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                struct bw_arena *arena, bw_bytes *ret_reply);
bw_result bw_store_keep_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                bw_bytes reply, int64_t now_us);

/* Reserves use-budget of a key version ahead of use, so that a crash never gives uses back: the stored count becomes
 * at least up_to. */
bw_result bw_store_reserve_uses(struct bw_store *store, const bw_key_id *key, uint32_t version, uint64_t up_to);

#endif
