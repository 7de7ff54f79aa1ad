/* Compiled key policies, shared by all keys that have the same text: most keys of a tenant do. */
#ifndef BW_SERVER_RULES_H
#define BW_SERVER_RULES_H

#include <pthread.h>
#include <stdatomic.h>

#include "policy.h"
#include "table.h"

struct bw_rules {
    atomic_uint       references;
    struct bw_policy *policy;
    char              text[];
};

struct bw_rules_pool {
    pthread_mutex_t lock;
    struct bw_table table;    /* of struct bw_rules, one reference each */
    size_t          sweep_at; /* entries, at which those are dropped that nobody else has */
    uint8_t         seed[16];
};

void bw_rules_pool_init(struct bw_rules_pool *pool, const uint8_t seed[static 16]);
void bw_rules_pool_clear(struct bw_rules_pool *pool);

/* The caller's reference. BW_BAD_ARGUMENT as bw_policy_compile; BW_NO_MEMORY. Any thread. */
bw_result bw_rules_get(struct bw_rules_pool *pool, const char *text, struct bw_rules **ret_rules);
void      bw_rules_unref(struct bw_rules *rules); /* NULL is fine */

#endif
