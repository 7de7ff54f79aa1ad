/* Tenants, keys and revocations, in memory: what the release path asks. Loaded from the store at start; the store is
 * changed first, then the registry, so after a crash the store is right.
 *
 * What it hands out are snapshots: immutable, counted references. A change replaces the snapshot and marks the old one
 * as superseded, which is how a request in flight learns that the ground has moved (see authorise.h, bw_authorise_again).
 *
 * To change something: bw_registry_begin_change, take a draft of the snapshot, alter it, make a new snapshot of that, give it
 * to the store, then to the registry, bw_registry_end_change. change.h does it. */
#ifndef BW_SERVER_REGISTRY_H
#define BW_SERVER_REGISTRY_H

#include <stdatomic.h>

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "tenant_policy.h"

struct bw_key_grant;
struct bw_policy;
struct bw_registry;
struct bw_rules;
struct bw_store;
struct bw_token;
struct bw_token_holder;

/* Numbers as on the wire (keys.proto), kept in stores. */
enum bw_key_state     { BW_STATE_PENDING_IMPORT = 1, BW_STATE_ENABLED, BW_STATE_DISABLED, BW_STATE_PENDING_DELETION, BW_STATE_DESTROYED };
enum bw_version_state { BW_VERSION_PRIMARY = 1, BW_VERSION_DECRYPT_ONLY, BW_VERSION_DESTROYED };
enum bw_key_origin    { BW_ORIGIN_GENERATED = 1, BW_ORIGIN_IMPORTED };

/* What is counted per key version while it is used, shared by all its snapshots: encryptions with a random nonce (budget.h),
 * and when it was last used, which the store learns later (housekeeping.h). */
struct bw_budget {
    atomic_uint              references;
    atomic_uint_least64_t    taken;      /* so far; starts at what was reserved, so a crash never gives uses back */
    atomic_uint_least64_t    reserved;   /* in the store: never less than what was taken and granted */
    atomic_int_least64_t     last_used_us, last_kept_us; /* to the second; and what the store has of it */
};

struct bw_key_version {
    uint32_t              number;      /* from 1 */
    enum bw_version_state state;
    int64_t               created_us;
    bw_bytes              public_key;  /* SubjectPublicKeyInfo, DER; empty for secret keys */
    uint64_t              reserved;    /* of a draft without budget: where the budget starts */
    int64_t               last_used_us; /* of a draft without budget: as the store knew it */
    bool                  has_made_by;
    uint8_t               made_by[BW_REQUEST_ID_LEN]; /* the request that rotated the key, so that its retry does not again */
    struct bw_budget     *budget;
};

struct bw_text_pair { const char *name, *value; };

/* All that it points to lives as long as it does. */
struct bw_key {
    atomic_uint                references;
    atomic_bool                superseded;
    struct bw_key_name         name;
    const char                *label;         /* "" when none */
    bw_bytes                   cka_id;        /* empty when none was given: the key's own id then stands for it */
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
    struct bw_rules           *rules;         /* owns the two above; keys with the same text share it */
    int64_t                    created_us;
    int64_t                    deletion_us;   /* BW_STATE_PENDING_DELETION: not before; else 0 */
    uint32_t                   rotation_days; /* 0: not for its age */
    uint32_t                   minimum_version; /* older ones are of no use; 0: all are */
    uint64_t                   generation;    /* counts every change */
    struct bw_key_version     *versions;      size_t version_count; /* ascending */
    struct bw_key_grant      **grants;        size_t grant_count;   /* key_grant.h, oldest first; shared with other snapshots */
};

/* A snapshot of the draft, with everything it points to in one block; the caller's reference. Compiles policy_text unless
 * a key in the registry has the same: BW_BAD_ARGUMENT when it does not compile, or an alias is none. The draft's rules and policy do not count. */
bw_result bw_key_new(struct bw_registry *registry, const struct bw_key *draft, struct bw_key **ret_key);
/* Where a change starts: all that the snapshot says, borrowed from it. */
void      bw_key_draft(const struct bw_key *key, struct bw_key *ret_draft);
void      bw_key_ref(const struct bw_key *key);
void      bw_key_unref(const struct bw_key *key); /* NULL is fine */
static inline void bw_key_free(struct bw_key *key) { bw_key_unref(key); }
BW_DEFINE_AUTO(key)
const struct bw_key_version *bw_key_primary(const struct bw_key *key);                    /* NULL: none yet */
const struct bw_key_version *bw_key_version_of(const struct bw_key *key, uint32_t number); /* 0: primary; NULL: no such, or destroyed */
void     bw_key_note_use(const struct bw_key_version *version, int64_t now_us);           /* any thread */
bw_bytes bw_key_cka_id(const struct bw_key *key);                                         /* as clients see it; borrowed from key */

enum bw_tenant_state { BW_TENANT_STATE_ACTIVE = 1, BW_TENANT_STATE_SEALED };
enum bw_activation   { BW_OPERATOR_HELD = 1, BW_CUSTOMER_HELD };

struct bw_tenant_info {
    atomic_uint             references;
    atomic_bool             superseded;
    bw_tenant               name;
    enum bw_tenant_state    state;
    enum bw_activation      activation;
    char                    token_serial[17];   /* of its HSM token */
    struct bw_token        *token;              /* logged in; NULL while sealed. holder's */
    struct bw_token_holder *holder;             /* frees the token when the last snapshot of the tenant that shares it goes */
    const char             *policy_text;        /* JSON: tenant_policy.h */
    struct bw_tenant_policy policy;             /* what it says */
    uint32_t                log;                /* number of its audit log */
    int64_t                 created_us;
    uint64_t                generation;         /* counts changes of the tenant itself */
    uint64_t                contents;           /* of a draft from the store: see bw_registry_contents */
};

/* Takes the token; frees it with its last reference. Who seals closes it himself, at once: bw_token_close. */
bw_result bw_token_hold(struct bw_token *token, struct bw_token_holder **ret_holder);
void      bw_token_let_go(struct bw_token_holder *holder); /* NULL is fine */

/* A snapshot of the draft; shares its holder (token is set from it) and reads policy out of policy_text. */
bw_result bw_tenant_info_new(const struct bw_tenant_info *draft, struct bw_tenant_info **ret_tenant);
void bw_tenant_info_draft(const struct bw_tenant_info *tenant, struct bw_tenant_info *ret_draft);
void bw_tenant_info_ref(const struct bw_tenant_info *tenant);
void bw_tenant_info_unref(const struct bw_tenant_info *tenant);
static inline void bw_tenant_info_free(struct bw_tenant_info *tenant) { bw_tenant_info_unref(tenant); }
BW_DEFINE_AUTO(tenant_info)

bw_result bw_registry_new(struct bw_registry **ret_registry);
void      bw_registry_free(struct bw_registry *registry);
BW_DEFINE_AUTO(registry)

/* Everything from the store. Tokens are not opened here; a customer-held tenant starts sealed. */
bw_result bw_registry_load(struct bw_registry *registry, struct bw_store *store);

/* Found: a reference that the caller gives back with _unref. Any thread; a hash lookup under a read lock.
 * BW_NO_SUCH_KEY, BW_NO_SUCH_TENANT. */
bw_result bw_registry_key(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *id, const struct bw_key **ret_key);
bw_result bw_registry_key_by_alias(struct bw_registry *registry, const bw_tenant *tenant, bw_bytes alias, const struct bw_key **ret_key);
bw_result bw_registry_tenant(struct bw_registry *registry, const bw_tenant *name, const struct bw_tenant_info **ret_tenant);
bool      bw_registry_is_revoked(struct bw_registry *registry, const char *spiffe_id);

/* Counts changes of the tenant and of any of its keys and objects: while it stays, so does every list. */
bw_result bw_registry_contents(struct bw_registry *registry, const bw_tenant *tenant, uint64_t *ret_contents);

/* One change at a time, from reading what stands to putting what follows; held over the store's write, never over the
 * HSM's or the audit log's. Outermost of the locks but for making. */
void bw_registry_begin_change(struct bw_registry *registry);
void bw_registry_end_change(struct bw_registry *registry);

/* Who adds key material to what exists (a version, a tenant's token) holds this, so that two never make the same one.
 * Held over the HSM's work, which is serialised anyway. Outermost. */
void bw_registry_begin_making(struct bw_registry *registry);
void bw_registry_end_making(struct bw_registry *registry);

/* Takes the caller's reference, on failure too; what stood there before is superseded. Cannot fail when it replaces a key
 * and adds no alias, or replaces a tenant. BW_NO_MEMORY; BW_ALREADY_EXISTS: an alias is another key's. */
bw_result bw_registry_put_key(struct bw_registry *registry, struct bw_key *key);
bw_result bw_registry_put_tenant(struct bw_registry *registry, struct bw_tenant_info *tenant);
bw_result bw_registry_revoke(struct bw_registry *registry, const char *spiffe_id);
void      bw_registry_touch(struct bw_registry *registry, const bw_tenant *tenant); /* an object changed */

/* A page of a tenant's keys in order of id, after the given one (NULL: from the start). ret_keys: room for limit
 * references. Filters: NULL, empty and 0 match all. */
struct bw_key_filter { bw_bytes label, cka_id; enum bw_spec spec; enum bw_key_state state; };
bw_result bw_registry_list(struct bw_registry *registry, const bw_tenant *tenant, const bw_key_id *after,
                           const struct bw_key_filter *filter, const struct bw_key **ret_keys, size_t limit, size_t *ret_count);

/* A page of tenants in order of name. ret_tenants: room for limit references. */
size_t bw_registry_tenants(struct bw_registry *registry, const bw_tenant *after, const struct bw_tenant_info **ret_tenants, size_t limit);

#endif
