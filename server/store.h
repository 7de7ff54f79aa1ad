/* The store: what must survive a restart besides keys' material (HSM) and the log (audit). SQLite, one file, one daemon.
 *
 * Off the release path: only what changes keys and tenants comes here, on worker threads, serialised by the store's own
 * lock. Region and tenant columns cannot be changed, key ids and versions never go, which triggers in schema.sql enforce.
 * Whatever SQLite answers becomes BW_STORE_UNAVAILABLE, and then nothing has changed. */
#ifndef BW_SERVER_STORE_H
#define BW_SERVER_STORE_H

#include "registry.h"

struct bw_store;

/* A new store is made only on purpose (bailiwickd --init-region). The folder must be there, ours, and writable by nobody
 * else. BW_ALREADY_EXISTS: it holds one. */
bw_result bw_store_create(const char *dir, const bw_region *region, int64_t now_us);

/* Opens <dir>/store.db and migrates it to the newest schema. BW_WRONG_REGION: the store was made for another region.
 * BW_STORE_UNAVAILABLE: there is none, another daemon has it, or a newer daemon has migrated it. */
bw_result bw_store_open(const char *dir, const bw_region *region, struct bw_store **ret_store);
void      bw_store_close(struct bw_store *store); /* NULL is fine */
static inline void bw_store_free(struct bw_store *store) { bw_store_close(store); }
BW_DEFINE_AUTO(store)

/* Everything, for the registry. Drafts are borrowed until the callback returns; it may not call the store. Keys come in order of
 * id, the revoked in order of their text, after the given one (NULL: from the start). */
/* A draft of a key points to drafts of its grants. */
typedef bw_result (*bw_store_key_fn)(void *self, const struct bw_key *draft);
typedef bw_result (*bw_store_tenant_fn)(void *self, const struct bw_tenant_info *draft);
typedef bw_result (*bw_store_revoked_fn)(void *self, const char *spiffe_id, int64_t revoked_us);
bw_result bw_store_each_key(struct bw_store *store, bw_store_key_fn each, void *self);
bw_result bw_store_each_tenant(struct bw_store *store, bw_store_tenant_fn each, void *self);
bw_result bw_store_each_revoked(struct bw_store *store, const char *after, bw_store_revoked_fn each, void *self);

/* What a change under dual control spends: a proposal that enough custodians approved. */
struct bw_warrant {
    const bw_tenant *tenant;
    uint8_t          proposal[BW_PROPOSAL_ID_LEN];
    const char      *caller;             /* who carries it out: one of those who approved */
    unsigned         needed;             /* custodians */
    uint64_t         tenant_generation;  /* of the policy that says so */
    uint64_t         generation;         /* of the key that was approved to be changed, if it is about one: change.c */
    int64_t          now_us;
    bool             spent;              /* by the store */
};

/* Writes the key with its versions, aliases, tags and grants; all or nothing. With a warrant (else NULL) the proposal is gone
 * in the same transaction; BW_NOT_APPROVED: it is gone already, over, or too few of its custodians still count. Generation 1
 * is a new key. BW_CONFLICT: the stored generation is not key->generation - 1, or the id was used before; BW_ALREADY_EXISTS: an
 * alias is taken; BW_REQUEST_REUSED: a grant's id is. */
bw_result bw_store_put_key(struct bw_store *store, const struct bw_key *key, struct bw_warrant *warrant);
/* The same for a tenant; BW_ALREADY_EXISTS when one of generation 1 is there. */
bw_result bw_store_put_tenant(struct bw_store *store, const struct bw_tenant_info *tenant, struct bw_warrant *warrant);
bw_result bw_store_revoke(struct bw_store *store, const char *spiffe_id, int64_t now_us); /* again is fine */

/* The time as housekeeping last believed it (clock.h). 0: never yet. */
bw_result bw_store_trusted_time(struct bw_store *store, int64_t *ret_us);
bw_result bw_store_trust_time(struct bw_store *store, int64_t now_us);

/* Certificates, what they are trusted for (object_trust.h), and data objects. */
struct bw_object {
    bw_tenant tenant;
    uint8_t   id[16];
    unsigned  class;            /* objects.proto, ObjectClass */
    bw_bytes  label, cka_id, value, application, object_id, owner;
    int64_t   created_us;
    uint64_t  generation;
};
/* As with keys: generation 1 is new, BW_CONFLICT otherwise when the stored one is not the one before. */
bw_result bw_store_put_object(struct bw_store *store, const struct bw_object *object);
bw_result bw_store_delete_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16]);  /* BW_NO_SUCH_OBJECT */
bw_result bw_store_get_object(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static 16],
                              struct bw_arena *arena, struct bw_object *ret_object);                             /* BW_NO_SUCH_OBJECT */
/* A page in order of id after the given one (NULL: from the start); label and cka_id filter, empty matches all. */
bw_result bw_store_list_objects(struct bw_store *store, const bw_tenant *tenant, const uint8_t *after, bw_bytes label, bw_bytes cka_id,
                                struct bw_arena *arena, struct bw_object *ret_objects, size_t limit, size_t *ret_count);

/* What custodians propose to each other. */
struct bw_proposal {
    bw_tenant   tenant;
    uint8_t     id[BW_PROPOSAL_ID_LEN];
    unsigned    method;         /* its number */
    bw_bytes    request;        /* its message, without request id */
    bool        has_key;
    bw_key_id   key;
    uint64_t    generation;     /* of the key or tenant that it is about, as it was; 0: of none */
    const char *proposer;       /* SPIFFE id */
    int64_t     created_us, expires_us;
};
struct bw_approval {
    const char *custodian;      /* SPIFFE id */
    int64_t     approved_us;
    bool        revoked;        /* since */
};
/* Keeps a proposal with its proposer's approval; one of this id that is there stays as it is. BW_QUOTA. */
bw_result bw_store_propose(struct bw_store *store, const struct bw_proposal *proposal);
bw_result bw_store_get_proposal(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN],
                                struct bw_arena *arena, struct bw_proposal *ret_proposal);                       /* BW_NO_SUCH_PROPOSAL */
/* A tenant's whose time is not over, oldest first, without their requests; ret_proposals: room for BW_PROPOSALS_MAX. */
bw_result bw_store_list_proposals(struct bw_store *store, const bw_tenant *tenant, int64_t now_us, struct bw_arena *arena,
                                  struct bw_proposal *ret_proposals, size_t *ret_count);
/* All tenants' whose time is over, at most limit of them, without their requests. */
bw_result bw_store_list_over(struct bw_store *store, int64_t now_us, struct bw_arena *arena, struct bw_proposal *ret_proposals, size_t limit, size_t *ret_count);
/* If it is over by then; INT64_MAX: in any case. BW_NO_SUCH_PROPOSAL. */
bw_result bw_store_drop_proposal(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN], int64_t over_us);
/* Approving twice is approving once. BW_NO_SUCH_PROPOSAL, BW_QUOTA. */
bw_result bw_store_approve(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN], const char *custodian, int64_t now_us);
/* In the order in which they came. ret_approvals: room for BW_APPROVALS_MAX. */
bw_result bw_store_list_approvals(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN],
                                  struct bw_arena *arena, struct bw_approval *ret_approvals, size_t *ret_count);

/* Request ids of changes, so that a retry finds its first answer: dedup.h. tenant empty: the region's operators.
 * BW_REQUEST_REUSED: the id stands for another request. *ret_found false: not seen before. Kept for BW_REQUEST_KEPT_US. */
bw_result bw_store_find_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                struct bw_arena *arena, bool *ret_found, bw_bytes *ret_reply);
bw_result bw_store_keep_request(struct bw_store *store, const bw_tenant *tenant, bw_bytes request_id, const uint8_t digest[static 32],
                                bw_bytes reply, int64_t now_us);

/* One at a time is at work for a request id: claiming waits while another has it. Bounded by what the other does. The claim
 * is the caller's and stays where it is until it is released; nothing is on disk, a crash releases all. */
struct bw_request_claim {
    const bw_tenant         *tenant;
    const uint8_t           *request_id; /* BW_REQUEST_ID_LEN bytes */
    struct bw_request_claim *next;       /* the store's */
};
void bw_store_claim_request(struct bw_store *store, struct bw_request_claim *claim);
void bw_store_release_request(struct bw_store *store, struct bw_request_claim *claim);

/* Reserves use-budget of a key version ahead of use, so that a crash never gives uses back: the stored count becomes
 * at least up_to. BW_NO_SUCH_KEY. */
bw_result bw_store_reserve_uses(struct bw_store *store, const bw_key_id *key, uint32_t version, uint64_t up_to);

/* When a key version was last used; never goes back. */
bw_result bw_store_keep_last_use(struct bw_store *store, const bw_key_id *key, uint32_t version, int64_t last_used_us);

#endif
