/* Tenants, keys and revocations, in memory: what the release path asks. Loaded from the store at start; the store is
 * changed first, then the registry, so after a crash the store is right.
 *
 * What it hands out are snapshots: immutable, counted references. A change replaces the snapshot and marks the old one
 * as superseded, which is how a request in flight learns that the ground has moved (see authorise.h, bw_authorise_again). */
#ifndef BW_SERVER_REGISTRY_H
#define BW_SERVER_REGISTRY_H

#include <stdatomic.h>

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"

struct bw_policy;
struct bw_token;

/* Numbers as on the wire (keys.proto), kept in stores. */
enum bw_key_state     { BW_STATE_PENDING_IMPORT = 1, BW_STATE_ENABLED, BW_STATE_DISABLED, BW_STATE_PENDING_DELETION, BW_STATE_DESTROYED };
enum bw_version_state { BW_VERSION_PRIMARY = 1, BW_VERSION_DECRYPT_ONLY, BW_VERSION_DESTROYED };
enum bw_key_origin    { BW_ORIGIN_GENERATED = 1, BW_ORIGIN_IMPORTED };

struct bw_key_version {
    uint32_t              number;      /* from 1 */
    enum bw_version_state state;
    int64_t               created_us;
    bw_bytes              public_key;  /* SubjectPublicKeyInfo, DER; empty for secret keys */
    _Atomic uint64_t     *uses;        /* random-nonce encryptions so far; shared by all snapshots of the key */
};

struct bw_text_pair { const char *name, *value; };

/* All that it points to lives as long as it does. */
struct bw_key {
    atomic_uint                references;
    atomic_bool                superseded;
    struct bw_key_name         name;
    const char                *label;         /* "" when none */
    bw_bytes                   cka_id;
    const struct bw_spec_row  *spec;
    unsigned                   uses;          /* enum bw_use */
    enum bw_key_state          state;
    enum bw_key_origin         origin;
    const char                *owner;         /* SPIFFE id of the application that made it for itself, or "" */
    const char                *description;
    const char               **aliases;       size_t alias_count;
    struct bw_text_pair       *tags;          size_t tag_count;
    const char                *policy_text;   /* JSON */
    const struct bw_policy    *policy;        /* the same, compiled */
    int64_t                    created_us;
    int64_t                    deletion_us;   /* BW_STATE_PENDING_DELETION: not before; else 0 */
    uint64_t                   generation;    /* counts every change */
    struct bw_key_version     *versions;      size_t version_count; /* ascending; the last one is primary */
    struct bw_arena           *arena;         /* holds all of the above */
};
void bw_key_ref(const struct bw_key *key);
void bw_key_unref(const struct bw_key *key); /* NULL is fine */
const struct bw_key_version *bw_key_primary(const struct bw_key *key);                    /* NULL: none yet */
const struct bw_key_version *bw_key_version_of(const struct bw_key *key, uint32_t number); /* 0: primary; NULL: no such */

enum bw_tenant_state { BW_TENANT_STATE_ACTIVE = 1, BW_TENANT_STATE_SEALED };
enum bw_activation   { BW_OPERATOR_HELD = 1, BW_CUSTOMER_HELD };

struct bw_tenant_info {
    atomic_uint           references;
    atomic_bool           superseded;
    bw_tenant             name;
    enum bw_tenant_state  state;
    enum bw_activation    activation;
    char                  token_serial[17];   /* of its HSM token */
    struct bw_token      *token;              /* logged in; NULL while sealed. Owned by the registry, closed when the last snapshot of the tenant that holds it goes */
    bool                  apps_own_keys;      /* tenant policy: applications may make keys of their own */
    const char           *policy_text;
    uint32_t              log;                /* number of its audit log */
    int64_t               created_us;
    uint64_t              generation;         /* counts changes of the tenant and of any of its keys or objects */
    struct bw_arena      *arena;
};
void bw_tenant_info_ref(const struct bw_tenant_info *tenant);
void bw_tenant_info_unref(const struct bw_tenant_info *tenant);

struct bw_registry;
struct bw_store;

bw_result bw_registry_new(struct bw_registry **ret_registry);
void      bw_registry_free(struct bw_registry *registry);
BW_DEFINE_AUTO(registry)

/* Everything from the store. Tokens are not opened here. */
bw_result bw_registry_load(struct bw_registry *registry, struct bw_store *store);

/* Found: a reference that the caller gives back with _unref. Any thread; a hash lookup under a read lock. */
bw_result bw_registry_key(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *id, const struct bw_key **ret_key);
bw_result bw_registry_key_by_alias(struct bw_registry *registry, const bw_tenant *tenant, bw_bytes alias, const struct bw_key **ret_key);
bw_result bw_registry_tenant(struct bw_registry *registry, const bw_tenant *name, const struct bw_tenant_info **ret_tenant);
bool      bw_registry_is_revoked(struct bw_registry *registry, const char *spiffe_id);

/* Takes the caller's reference; what stood there before is superseded. For keys the tenant's generation moves too. */
bw_result bw_registry_put_key(struct bw_registry *registry, struct bw_key *key);
bw_result bw_registry_put_tenant(struct bw_registry *registry, struct bw_tenant_info *tenant);
bw_result bw_registry_revoke(struct bw_registry *registry, const char *spiffe_id);
void      bw_registry_touch(struct bw_registry *registry, const bw_tenant *tenant); /* an object changed */

/* A page of a tenant's keys in order of id, after the given one (NULL: from the start). ret_keys: room for limit
 * references. Filters: NULL or empty matches all. */
struct bw_key_filter { bw_bytes label, cka_id; enum bw_spec spec; enum bw_key_state state; };
bw_result bw_registry_list(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *after,
                           const struct bw_key_filter *filter, const struct bw_key **ret_keys, size_t limit, size_t *ret_count);

#endif
