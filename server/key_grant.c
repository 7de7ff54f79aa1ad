#include "key_grant.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(BW_GRANTS_MAX <= 64, "a set of grants is a word");

/* ---- life ---- */

static const uint8_t no_grant[16];

static bw_result compile(struct bw_key_grant *grant)
{
    char name[sizeof "grant/" + 2 * sizeof grant->id] = "grant/";

    bw_hex(bw_bytes_of(grant->id, sizeof grant->id), name + strlen(name));
    return bw_policy_compile_terms(bw_bytes_text(grant->terms), name, grant->expires_us, &grant->policy);
}

bw_result bw_key_grant_new(const struct bw_key_grant *draft, struct bw_key_grant **ret_grant)
{
    size_t granter_len = strlen(draft->granter) + 1, terms_len = strlen(draft->terms) + 1;
    BW_AUTO(key_grant) grant = calloc(1, sizeof *grant + granter_len + terms_len);

    BW_CHECK(grant != NULL, BW_NO_MEMORY, "grant");
    atomic_init(&grant->references, 1);
    memcpy(grant->id, draft->id, sizeof grant->id);
    memcpy(grant->parent, draft->parent, sizeof grant->parent);
    grant->granter     = memcpy(grant + 1, draft->granter, granter_len);
    grant->terms       = memcpy((char *)(grant + 1) + granter_len, draft->terms, terms_len);
    grant->delegations = draft->delegations;
    grant->created_us  = draft->created_us;
    grant->expires_us  = draft->expires_us;
    BW_TRY(compile(grant));

    *ret_grant = bw_take(&grant);
    return bw_success();
}

void bw_key_grant_ref(struct bw_key_grant *grant)
{
    atomic_fetch_add(&grant->references, 1);
}

void bw_key_grant_unref(struct bw_key_grant *grant)
{
    if (grant == NULL || atomic_fetch_sub(&grant->references, 1) > 1)
        return;
    bw_policy_free(grant->policy);
    free(grant);
}

/* ---- family ---- */

static bool is_id(const uint8_t one[static 16], const uint8_t other[static 16])
{
    return memcmp(one, other, 16) == 0;
}

bool bw_key_grant_is_handed_on(const struct bw_key_grant *grant)
{
    return !is_id(grant->parent, no_grant);
}

const struct bw_key_grant *bw_key_grant_find(const struct bw_key *key, const uint8_t id[static 16], int64_t now_us)
{
    for (size_t i = 0; i < key->grant_count; i++)
        if (is_id(key->grants[i]->id, id))
            return key->grants[i]->expires_us > now_us ? key->grants[i] : NULL;
    return NULL;
}

/* A grant stands behind what it was made from, because lists of grants only grow at their end: one pass finds all. */
uint64_t bw_key_grant_family(const struct bw_key *key, const struct bw_key_grant *grant)
{
    uint64_t family = 0;

    for (size_t i = 0; i < key->grant_count; i++) {
        bool belongs = key->grants[i] == grant;
        for (size_t j = 0; j < i; j++)
            belongs = belongs || ((family >> j & 1) && is_id(key->grants[i]->parent, key->grants[j]->id));
        family |= (uint64_t)belongs << i;
    }
    return family;
}

uint64_t bw_key_grants_over(const struct bw_key *key, struct bw_registry *registry)
{
    uint64_t over = 0;

    for (size_t i = 0; i < key->grant_count; i++)
        if (bw_key_grant_is_handed_on(key->grants[i]) && bw_registry_is_revoked(registry, key->grants[i]->granter))
            over |= bw_key_grant_family(key, key->grants[i]);
    return over;
}

/* ---- asking ---- */

bw_result bw_key_decide(const struct bw_key *key, uint64_t over, const struct bw_policy_question *question, const char **ret_rule)
{
    bw_result decided = bw_policy_decide(key->policy, question, ret_rule);

    for (size_t i = 0; i < key->grant_count && !bw_ok(decided); i++) {
        if (over >> i & 1)
            continue;
        bw_result granted = bw_policy_decide(key->grants[i]->policy, question, ret_rule);
        if (granted.code != BW_NOT_PERMITTED)
            decided = granted; /* allowed, or a better reason why not */
    }
    return decided;
}

bool bw_key_concerns(const struct bw_key *key, uint64_t over, const struct bw_identity *caller, const bw_region *home,
                     const struct bw_mechanism_row *mechanism, int64_t now_us)
{
    if (bw_policy_concerns(key->policy, caller, home, mechanism))
        return true;
    for (size_t i = 0; i < key->grant_count; i++)
        if (!(over >> i & 1) && key->grants[i]->expires_us > now_us && bw_policy_concerns(key->grants[i]->policy, caller, home, mechanism))
            return true;
    return false;
}
