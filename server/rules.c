#include "rules.h"

#include <stdlib.h>
#include <string.h>

enum { SWEEP_LEAST = 64 };

void bw_rules_pool_init(struct bw_rules_pool *pool, const uint8_t seed[static 16])
{
    *pool = (struct bw_rules_pool){ .sweep_at = SWEEP_LEAST };
    (void)pthread_mutex_init(&pool->lock, NULL);
    memcpy(pool->seed, seed, sizeof pool->seed);
}

void bw_rules_pool_clear(struct bw_rules_pool *pool)
{
    for (size_t i = 0; i < pool->table.room; i++)
        bw_rules_unref(bw_table_at(&pool->table, i));
    bw_table_clear(&pool->table);
    (void)pthread_mutex_destroy(&pool->lock);
}

void bw_rules_unref(struct bw_rules *rules)
{
    if (rules == NULL || atomic_fetch_sub(&rules->references, 1) > 1)
        return;
    bw_policy_free(rules->policy);
    free(rules);
}

static bw_result compile(const char *text, struct bw_rules **ret_rules)
{
    size_t len = strlen(text);
    struct bw_rules *rules = calloc(1, sizeof *rules + len + 1);

    BW_CHECK(rules != NULL, BW_NO_MEMORY, "policy");
    atomic_init(&rules->references, 1);
    memcpy(rules->text, text, len);
    bw_result result = bw_policy_compile(bw_bytes_text(text), &rules->policy);
    if (!bw_ok(result)) {
        free(rules);
        return result;
    }
    *ret_rules = rules;
    return bw_success();
}

static bool same_text(const void *value, const void *wanted)
{
    return strcmp(((const struct bw_rules *)value)->text, wanted) == 0;
}

/* New references are only made under the lock, so what has one reference here is the pool's alone and stays so. */
static void sweep(struct bw_rules_pool *pool)
{
    struct bw_table kept = { 0 };

    if (pool->table.count < pool->sweep_at || !bw_ok(bw_table_reserve(&kept, pool->table.count)))
        return;
    for (size_t i = 0; i < pool->table.room; i++) {
        struct bw_rules *rules = bw_table_at(&pool->table, i);
        if (rules == NULL)
            continue;
        if (atomic_load(&rules->references) > 1)
            bw_table_put(&kept, bw_siphash(pool->seed, bw_bytes_text(rules->text)), rules);
        else
            bw_rules_unref(rules);
    }
    bw_table_clear(&pool->table);
    pool->table    = kept;
    pool->sweep_at = kept.count * 2 > SWEEP_LEAST ? kept.count * 2 : SWEEP_LEAST;
}

static bw_result find_or_compile(struct bw_rules_pool *pool, const char *text, struct bw_rules **ret_rules)
{
    uint64_t hash = bw_siphash(pool->seed, bw_bytes_text(text));
    struct bw_rules *rules = bw_table_find(&pool->table, hash, same_text, text);

    if (rules == NULL) {
        sweep(pool);
        BW_TRY(bw_table_reserve(&pool->table, 1));
        BW_TRY(compile(text, &rules));
        bw_table_put(&pool->table, hash, rules);
    }
    atomic_fetch_add(&rules->references, 1);
    *ret_rules = rules;
    return bw_success();
}

bw_result bw_rules_get(struct bw_rules_pool *pool, const char *text, struct bw_rules **ret_rules)
{
    (void)pthread_mutex_lock(&pool->lock);
    bw_result result = find_or_compile(pool, text, ret_rules);
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}
