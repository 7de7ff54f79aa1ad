#include "budget.h"

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Several threads may come here at once; the store keeps the highest, and so do we. */
static bw_result reserve(struct bw_store *store, const struct bw_key *key, const struct bw_key_version *version, uint64_t needed)
{
    uint64_t blocks = (needed + BW_USES_BLOCK - 1) / BW_USES_BLOCK;
    uint64_t up_to  = least(blocks * BW_USES_BLOCK, BW_USES_MAX);

    BW_TRY(bw_store_reserve_uses(store, &key->name.id, version->number, up_to));
    uint_least64_t reserved = atomic_load(&version->budget->reserved);
    while (reserved < up_to && !atomic_compare_exchange_weak(&version->budget->reserved, &reserved, up_to))
        continue;
    return bw_success();
}

bw_result bw_key_take_uses(struct bw_store *store, const struct bw_key *key, const struct bw_key_version *version, uint64_t n)
{
    struct bw_budget *budget = version->budget;

    /* What fails here is not given back: who is at the end stays there. */
    BW_CHECK(n <= BW_USES_MAX && atomic_load(&budget->taken) <= BW_USES_MAX - n, BW_KEY_EXHAUSTED, "the key version's use budget is spent");
    uint64_t taken = atomic_fetch_add(&budget->taken, n) + n;
    BW_CHECK(taken <= BW_USES_MAX, BW_KEY_EXHAUSTED, "the key version's use budget is spent");
    if (taken > atomic_load(&budget->reserved))
        return reserve(store, key, version, taken);
    return bw_success();
}
