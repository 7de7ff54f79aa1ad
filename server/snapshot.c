#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "hsm.h"
#include "key_grant.h"
#include "tenant_policy.h"

/* Runs twice over the same fields: without a block it measures, with one it copies. */
struct packer {
    uint8_t *block;
    size_t   used;
};

static void *pack(struct packer *packer, const void *data, size_t len, size_t align)
{
    size_t at = (packer->used + align - 1) / align * align;

    packer->used = at + len;
    if (packer->block == NULL)
        return NULL;
    if (len > 0)
        memcpy(packer->block + at, data, len);
    return packer->block + at;
}

static const char *pack_text(struct packer *packer, const char *text)
{
    return text == NULL || *text == '\0' ? "" : pack(packer, text, strlen(text) + 1, 1);
}

static bw_bytes pack_bytes(struct packer *packer, bw_bytes bytes)
{
    return bytes.len == 0 ? (bw_bytes){ NULL, 0 } : (bw_bytes){ pack(packer, bytes.data, bytes.len, 1), bytes.len };
}

static void pack_aliases(struct packer *packer, const struct bw_key *draft, struct bw_key *key)
{
    const char **aliases = pack(packer, draft->aliases, draft->alias_count * sizeof *aliases, _Alignof(char *));

    for (size_t i = 0; i < draft->alias_count; i++) {
        const char *alias = pack_text(packer, draft->aliases[i]);
        if (aliases != NULL)
            aliases[i] = alias;
    }
    key->aliases = aliases;
}

static void pack_tags(struct packer *packer, const struct bw_key *draft, struct bw_key *key)
{
    struct bw_text_pair *tags = pack(packer, draft->tags, draft->tag_count * sizeof *tags, _Alignof(struct bw_text_pair));

    for (size_t i = 0; i < draft->tag_count; i++) {
        struct bw_text_pair tag = { pack_text(packer, draft->tags[i].name), pack_text(packer, draft->tags[i].value) };
        if (tags != NULL)
            tags[i] = tag;
    }
    key->tags = tags;
}

static void pack_versions(struct packer *packer, const struct bw_key *draft, struct bw_key *key)
{
    struct bw_key_version *versions =
        pack(packer, draft->versions, draft->version_count * sizeof *versions, _Alignof(struct bw_key_version));

    for (size_t i = 0; i < draft->version_count; i++) {
        bw_bytes public_key = pack_bytes(packer, draft->versions[i].public_key);
        if (versions != NULL)
            versions[i].public_key = public_key;
    }
    key->versions = versions;
}

static void pack_grants(struct packer *packer, const struct bw_key *draft, struct bw_key *key)
{
    key->grants = pack(packer, draft->grants, draft->grant_count * sizeof *key->grants, _Alignof(struct bw_key_grant *));
}

static void pack_key(struct packer *packer, const struct bw_key *draft, struct bw_key *key)
{
    key->label       = pack_text(packer, draft->label);
    key->owner       = pack_text(packer, draft->owner);
    key->description = pack_text(packer, draft->description);
    key->cka_id      = pack_bytes(packer, draft->cka_id);
    pack_aliases(packer, draft, key);
    pack_tags(packer, draft, key);
    pack_versions(packer, draft, key);
    pack_grants(packer, draft, key);
}

/* ---- budgets ---- */

static struct bw_budget *budget_of(const struct bw_key_version *version)
{
    if (version->budget != NULL) {
        atomic_fetch_add(&version->budget->references, 1);
        return version->budget;
    }
    struct bw_budget *budget = calloc(1, sizeof *budget);
    if (budget == NULL)
        return NULL;
    atomic_init(&budget->references, 1);
    atomic_init(&budget->taken, version->reserved);
    atomic_init(&budget->reserved, version->reserved);
    atomic_init(&budget->last_used_us, version->last_used_us);
    atomic_init(&budget->last_kept_us, version->last_used_us);
    return budget;
}

static void let_budget_go(struct bw_budget *budget)
{
    if (budget != NULL && atomic_fetch_sub(&budget->references, 1) == 1)
        free(budget);
}

static bool share_budgets(struct bw_key *key)
{
    bool all = true;

    for (size_t i = 0; i < key->version_count; i++) {
        key->versions[i].budget = budget_of(&key->versions[i]);
        all = all && key->versions[i].budget != NULL;
    }
    return all;
}

/* ---- keys ---- */

/* Without the counts in front, which other threads change while we copy. */
void bw_key_draft(const struct bw_key *key, struct bw_key *ret_draft)
{
    size_t counts = offsetof(struct bw_key, name);

    memset(ret_draft, 0, counts);
    memcpy((uint8_t *)ret_draft + counts, (const uint8_t *)key + counts, sizeof *key - counts);
}

bw_result bw_key_pack(const struct bw_key *draft, struct bw_rules *rules, struct bw_key **ret_key)
{
    struct packer packer = { .used = sizeof(struct bw_key) };
    struct bw_key measured;

    pack_key(&packer, draft, &measured);
    struct bw_key *key = calloc(1, packer.used);
    if (key == NULL) {
        bw_rules_unref(rules);
        return bw_fail(BW_NO_MEMORY, "key");
    }
    bw_key_draft(draft, key);
    atomic_init(&key->references, 1);
    packer = (struct packer){ (uint8_t *)key, sizeof *key };
    pack_key(&packer, draft, key);
    for (size_t i = 0; i < key->grant_count; i++)
        bw_key_grant_ref(key->grants[i]);
    key->rules       = rules;
    key->policy      = rules->policy;
    key->policy_text = rules->text;
    if (!share_budgets(key)) {
        bw_key_unref(key);
        return bw_fail(BW_NO_MEMORY, "key's use budget");
    }
    *ret_key = key;
    return bw_success();
}

void bw_key_ref(const struct bw_key *key)
{
    /* The count is the one thing in a snapshot that changes after it was made. */
    atomic_fetch_add(&((struct bw_key *)(uintptr_t)key)->references, 1);
}

void bw_key_unref(const struct bw_key *borrowed)
{
    struct bw_key *key = (struct bw_key *)(uintptr_t)borrowed;

    if (key == NULL || atomic_fetch_sub(&key->references, 1) > 1)
        return;
    for (size_t i = 0; i < key->version_count; i++)
        let_budget_go(key->versions[i].budget);
    for (size_t i = 0; i < key->grant_count; i++)
        bw_key_grant_unref(key->grants[i]);
    bw_rules_unref(key->rules);
    free(key);
}

const struct bw_key_version *bw_key_primary(const struct bw_key *key)
{
    for (size_t i = key->version_count; i-- > 0;)
        if (key->versions[i].state == BW_VERSION_PRIMARY)
            return &key->versions[i];
    return NULL;
}

const struct bw_key_version *bw_key_version_of(const struct bw_key *key, uint32_t number)
{
    if (number == 0)
        return bw_key_primary(key);
    for (size_t i = 0; i < key->version_count; i++)
        if (key->versions[i].number == number && key->versions[i].state != BW_VERSION_DESTROYED)
            return &key->versions[i];
    return NULL;
}

/* Written once a second at most, so that threads that use one key do not fight for the line. */
void bw_key_note_use(const struct bw_key_version *version, int64_t now_us)
{
    int64_t before = atomic_load_explicit(&version->budget->last_used_us, memory_order_relaxed);

    if (now_us - before >= 1000000)
        atomic_store_explicit(&version->budget->last_used_us, now_us, memory_order_relaxed);
}

bw_bytes bw_key_cka_id(const struct bw_key *key)
{
    return key->cka_id.len > 0 ? key->cka_id : (bw_bytes){ key->name.id.bytes, sizeof key->name.id.bytes };
}

/* ---- tenants ---- */

struct bw_token_holder {
    atomic_uint      references;
    struct bw_token *token;
};

bw_result bw_token_hold(struct bw_token *token, struct bw_token_holder **ret_holder)
{
    struct bw_token_holder *holder = calloc(1, sizeof *holder);

    if (holder == NULL) {
        bw_token_free(token);
        return bw_fail(BW_NO_MEMORY, "token");
    }
    atomic_init(&holder->references, 1);
    holder->token = token;
    *ret_holder = holder;
    return bw_success();
}

void bw_token_let_go(struct bw_token_holder *holder)
{
    if (holder == NULL || atomic_fetch_sub(&holder->references, 1) > 1)
        return;
    bw_token_free(holder->token);
    free(holder);
}

void bw_tenant_info_draft(const struct bw_tenant_info *tenant, struct bw_tenant_info *ret_draft)
{
    size_t counts = offsetof(struct bw_tenant_info, name);

    memset(ret_draft, 0, counts);
    memcpy((uint8_t *)ret_draft + counts, (const uint8_t *)tenant + counts, sizeof *tenant - counts);
}

bw_result bw_tenant_info_new(const struct bw_tenant_info *draft, struct bw_tenant_info **ret_tenant)
{
    struct bw_tenant_policy policy;
    size_t policy_len = strlen(draft->policy_text);

    BW_TRY(bw_tenant_policy_parse(bw_bytes_text(draft->policy_text), &policy));
    struct bw_tenant_info *tenant = calloc(1, sizeof *tenant + policy_len + 1);
    BW_CHECK(tenant != NULL, BW_NO_MEMORY, "tenant");
    bw_tenant_info_draft(draft, tenant);
    atomic_init(&tenant->references, 1);
    tenant->policy_text   = memcpy(tenant + 1, draft->policy_text, policy_len + 1);
    tenant->policy        = policy;
    tenant->token         = tenant->holder ? tenant->holder->token : NULL;
    if (tenant->holder != NULL)
        atomic_fetch_add(&tenant->holder->references, 1);
    *ret_tenant = tenant;
    return bw_success();
}

void bw_tenant_info_ref(const struct bw_tenant_info *tenant)
{
    atomic_fetch_add(&((struct bw_tenant_info *)(uintptr_t)tenant)->references, 1);
}

void bw_tenant_info_unref(const struct bw_tenant_info *borrowed)
{
    struct bw_tenant_info *tenant = (struct bw_tenant_info *)(uintptr_t)borrowed;

    if (tenant == NULL || atomic_fetch_sub(&tenant->references, 1) > 1)
        return;
    bw_token_let_go(tenant->holder);
    free(tenant);
}
