/* PKCS#11 v3.0, 5.19: random numbers, from the region's HSM. */
#include "enter.h"
#include "random.h"

CK_RV C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG seed_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SeedRandom, session);

    (void)seed, (void)seed_len;
    return bw_leave(&e, bw_ok(r) ? bw_fail(BW_NO_RANDOM_SEED, "the HSM seeds itself") : r);
}

static bw_result generate(struct bw_slot *slot, CK_BYTE *ret_random, CK_ULONG len)
{
    BW_CHECK(ret_random != NULL || len == 0, BW_BAD_ARGUMENT, "pRandomData");
    return bw_random_draw(slot, ret_random, len);
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *random_data, CK_ULONG random_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GenerateRandom, session);

    if (bw_ok(r))
        r = generate(e.slot, random_data, random_len);
    return bw_leave(&e, r);
}
