/* Grants on a key: rights that custodians, and grantees who may, give to applications beside the key's policy, until they
 * expire or are revoked. A grant's terms are one rule of a policy, compiled by policy.c and asked as its rules are.
 *
 * A grant that is handed on is never more than what it is made from, and ends with it: it expires no later, and who revokes a
 * grant revokes what was made from it in the same change. Only what a revoked application handed on stays in the snapshot:
 * whoever asks first finds out which grants are over. */
#ifndef BW_SERVER_KEY_GRANT_H
#define BW_SERVER_KEY_GRANT_H

#include <stdatomic.h>

#include "policy.h"
#include "registry.h"

/* Shared by the snapshots of its key. Immutable but for the count. */
struct bw_key_grant {
    atomic_uint       references;
    uint8_t           id[16];
    uint8_t           parent[16];  /* the grant that it was made from; zero: a custodian's */
    const char       *granter;     /* SPIFFE id of who made it */
    const char       *terms;       /* JSON */
    uint32_t          delegations; /* how often it may still be handed on */
    int64_t           created_us, expires_us;
    struct bw_policy *policy;      /* the terms, compiled: one rule, "grant/<id>" */
};

/* A copy of the draft, whose policy and references do not count; the caller's reference. BW_BAD_ARGUMENT: as
 * bw_policy_compile_terms. */
bw_result bw_key_grant_new(const struct bw_key_grant *draft, struct bw_key_grant **ret_grant);
void      bw_key_grant_ref(struct bw_key_grant *grant);
void      bw_key_grant_unref(struct bw_key_grant *grant); /* NULL is fine */
static inline void bw_key_grant_free(struct bw_key_grant *grant) { bw_key_grant_unref(grant); }
BW_DEFINE_AUTO(key_grant)

bool bw_key_grant_is_handed_on(const struct bw_key_grant *grant); /* it has a parent */
/* NULL: the key has no such grant, or it has expired. */
const struct bw_key_grant *bw_key_grant_find(const struct bw_key *key, const uint8_t id[static 16], int64_t now_us);
/* The grants of the key that are made from this one, at any depth, and itself: a set of positions in key->grants. */
uint64_t bw_key_grant_family(const struct bw_key *key, const struct bw_key_grant *grant);

/* The grants of the key that revoked applications handed on, and what was made from them: a set as above. Nobody is asked
 * about keys without such grants. */
uint64_t bw_key_grants_over(const struct bw_key *key, struct bw_registry *registry);

/* The key's policy or one of its grants allows it, all of it: BW_OK and the name of the rule, or of the grant as
 * "grant/<id>". Else what bw_policy_decide says. over: grants that no longer count. */
bw_result bw_key_decide(const struct bw_key *key, uint64_t over, const struct bw_policy_question *question, const char **ret_rule);

/* Whether the key's policy or a grant that is good at now_us is about this caller: bw_policy_concerns. */
bool bw_key_concerns(const struct bw_key *key, uint64_t over, const struct bw_identity *caller, const bw_region *home,
                     const struct bw_mechanism_row *mechanism, int64_t now_us);

#endif
