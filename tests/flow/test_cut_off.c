/* Promise 7: when disable, revoke, seal, a narrower policy, a higher minimum version or the end of a grant has returned, nothing is released any more, requests in flight included.
 *
 * Sixteen threads unwrap without pause while a custodian cuts them off, round after round, each way in turn. The receipt says
 * from which log index on; no result may have a higher one.
 *
 *     test_cut_off SECONDS [ROUNDS]     ends with whichever comes first */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)

enum { THREADS = 16, WARM = 64 /* results before the cut */ };

static struct live       live;
static struct bw_client *operator, *custodian, *first;
static struct bw_arena   lasting;
static const char       *key_name;
static bw_bytes          envelope;

/* ---- one round's applications ---- */

struct round {
    struct bw_client *app;
    enum bw_code      refusal;   /* that ends a thread */
    sem_t             results;
    atomic_ullong     highest;   /* index of a result, plus 1 */
    atomic_ullong     count;
    char              log[256];  /* all receipts' */
};

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "cut-off: %s\n", what);
    exit(1);
}

static void note(struct round *round, const Bailiwick__V1__Receipt *receipt)
{
    unsigned long long index = receipt->index + 1, highest = atomic_load(&round->highest);

    must(strcmp(receipt->log, round->log) == 0, "a receipt of another log");
    while (highest < index && !atomic_compare_exchange_weak(&round->highest, &highest, index))
        continue;
    atomic_fetch_add(&round->count, 1);
    (void)sem_post(&round->results);
}

static void *unwrap_until_refused(void *self)
{
    struct round *round = self;
    NEW(unwrap, Unwrap, request);

    request.envelope = bw_wire_data(envelope);
    for (;;) {
        struct bw_arena arena = { 0 };
        enum bw_code code;
        const void *reply = live_call(round->app, BW_METHOD_NR(Unwrap), &request.base, &arena, &code);
        if (reply != NULL)
            note(round, ((const Bailiwick__V1__UnwrapReply *)reply)->receipt);
        bw_arena_clear(&arena);
        if (reply == NULL) {
            must(code == round->refusal, bw_code_row(code)->name);
            return NULL;
        }
    }
}

/* ---- the ways to cut off, and back ---- */

static const Bailiwick__V1__Receipt *disable(const char *principal)
{
    NEW(disable_key, DisableKey, request);
    (void)principal;
    request.name = TEXT(key_name);
    return ((const Bailiwick__V1__DisableKeyReply *)(const void *)live_must(custodian, BW_METHOD_NR(DisableKey), &request.base, &lasting))->receipt;
}

static void enable(void)
{
    NEW(enable_key, EnableKey, request);
    request.name = TEXT(key_name);
    (void)live_must(custodian, BW_METHOD_NR(EnableKey), &request.base, &lasting);
}

static const Bailiwick__V1__Receipt *revoke(const char *principal)
{
    NEW(revoke_principal, RevokePrincipal, request);
    request.principal = TEXT(principal);
    return ((const Bailiwick__V1__RevokePrincipalReply *)(const void *)live_must(custodian, BW_METHOD_NR(RevokePrincipal), &request.base, &lasting))->receipt;
}

static void nothing(void) {}

static const Bailiwick__V1__Receipt *seal(const char *principal)
{
    NEW(seal_tenant, SealTenant, request);
    (void)principal;
    return ((const Bailiwick__V1__SealTenantReply *)(const void *)live_must(custodian, BW_METHOD_NR(SealTenant), &request.base, &lasting))->receipt;
}

static void activate(void)
{
    NEW(activate_tenant, ActivateTenant, request);
    (void)live_must(custodian, BW_METHOD_NR(ActivateTenant), &request.base, &lasting);
}

static const Bailiwick__V1__Receipt *set_policy(const char *policy)
{
    NEW(set_key_policy, SetKeyPolicy, request);
    request.name   = TEXT(key_name);
    request.policy = TEXT(policy);
    return ((const Bailiwick__V1__SetKeyPolicyReply *)(const void *)live_must(custodian, BW_METHOD_NR(SetKeyPolicy), &request.base, &lasting))->receipt;
}

#define ALL    "{\"rules\": [{\"name\": \"all\"}]}"
#define NOBODY "{\"rules\": []}"

static const Bailiwick__V1__Receipt *narrow(const char *principal)
{
    (void)principal;
    return set_policy(NOBODY);
}

static void widen(void) { (void)set_policy(ALL); }

static const Bailiwick__V1__Receipt *set_minimum(uint32_t version)
{
    static char *fields[] = { (char *)(uintptr_t)"minimum_version" };
    NEW(update_key, UpdateKey, request);
    request.name            = TEXT(key_name);
    request.fields          = fields;
    request.n_fields        = 1;
    request.minimum_version = version;
    return ((const Bailiwick__V1__UpdateKeyReply *)(const void *)live_must(custodian, BW_METHOD_NR(UpdateKey), &request.base, &lasting))->receipt;
}

/* The envelope is of version 1, and there is a second. */
static const Bailiwick__V1__Receipt *raise_minimum(const char *principal)
{
    (void)principal;
    return set_minimum(2);
}

static void lower_minimum(void) { (void)set_minimum(1); }

/* ---- grants: the policy lets nobody, so they are all there is ---- */

static char grant_id[33];

static const char *grant(struct bw_client *by, const char *terms, const char *parent)
{
    NEW(create_grant, CreateGrant, request);
    request.name        = TEXT(key_name);
    request.terms       = TEXT(terms);
    request.expires_us  = ((int64_t)time(NULL) + (parent ? 3000 : 3600)) * 1000000;
    request.parent      = TEXT(parent ? parent : "");
    request.delegations = parent ? 0 : 1;
    return ((const Bailiwick__V1__CreateGrantReply *)(const void *)live_must(by, BW_METHOD_NR(CreateGrant), &request.base, &lasting))->grant->id;
}

static void give_grant(void)
{
    (void)set_policy(NOBODY);
    (void)snprintf(grant_id, sizeof grant_id, "%s", grant(custodian, "{\"principals\": [\"app/a*\"], \"operations\": [\"unwrap\"]}", NULL));
}

/* What the threads use was handed on, what is revoked is what it was made from. */
static void hand_grant_on(void)
{
    (void)set_policy(NOBODY);
    (void)snprintf(grant_id, sizeof grant_id, "%s", grant(custodian, "{\"principals\": [\"app/first\"], \"operations\": [\"unwrap\"]}", NULL));
    (void)grant(first, "{\"principals\": [\"app/a*\"], \"operations\": [\"unwrap\"]}", grant_id);
}

static const Bailiwick__V1__Receipt *revoke_grant(const char *principal)
{
    NEW(revoke_grant, RevokeGrant, request);
    (void)principal;
    request.name = TEXT(key_name);
    request.id   = grant_id;
    return ((const Bailiwick__V1__RevokeGrantReply *)(const void *)live_must(custodian, BW_METHOD_NR(RevokeGrant), &request.base, &lasting))->receipt;
}

/* The threads use what an application handed on that is revoked; it stays so, hence a new one each time. */
static char giver[256];

static void have_another_hand_it_on(void)
{
    static unsigned givers;

    (void)snprintf(giver, sizeof giver, LIVE_TRUST LIVE_HOME "/tenant/acme/app/giver-%u", givers++);
    struct bw_client *by = live_caller(&live, giver);
    (void)set_policy(NOBODY);
    (void)snprintf(grant_id, sizeof grant_id, "%s", grant(custodian, "{\"principals\": [\"app/giver-*\"], \"operations\": [\"unwrap\"]}", NULL));
    (void)grant(by, "{\"principals\": [\"app/a*\"], \"operations\": [\"unwrap\"]}", grant_id);
    bw_client_free(by);
}

static const Bailiwick__V1__Receipt *revoke_giver(const char *principal)
{
    (void)principal;
    return revoke(giver);
}

/* A key has room for so many grants. */
static void take_grant_back(void)
{
    (void)revoke_grant(NULL);
    widen();
}

static const struct way {
    const char *name;
    void      (*prepare)(void);
    const Bailiwick__V1__Receipt *(*cut)(const char *principal);
    void      (*restore)(void);
    enum bw_code refusal;
} ways[] = {
    { "disable",            nothing,       disable,       enable,        BW_KEY_DISABLED  },
    { "revoke",             nothing,       revoke,        nothing,       BW_REVOKED       },
    { "seal",               nothing,       seal,          activate,      BW_TENANT_SEALED },
    { "set policy",         nothing,       narrow,        widen,         BW_NOT_PERMITTED },
    { "raise the minimum",  nothing,       raise_minimum, lower_minimum, BW_KEY_STATE     },
    { "revoke a grant",     give_grant,    revoke_grant,  widen,         BW_NOT_PERMITTED },
    { "revoke its parent",  hand_grant_on, revoke_grant,  widen,         BW_NOT_PERMITTED },
    { "revoke its giver",   have_another_hand_it_on, revoke_giver, take_grant_back, BW_NOT_PERMITTED },
};

static unsigned long long run_round(const struct way *way, unsigned number, const char *log)
{
    struct round round = { .refusal = way->refusal };
    pthread_t threads[THREADS];
    char principal[256];

    /* who is revoked stays revoked, so every round has an application of its own */
    (void)snprintf(principal, sizeof principal, LIVE_TRUST LIVE_HOME "/tenant/acme/app/a%u", number);
    (void)snprintf(round.log, sizeof round.log, "%s", log);
    round.app = live_caller(&live, principal);
    way->prepare();
    must(sem_init(&round.results, 0, 0) == 0, "semaphore");
    for (size_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, unwrap_until_refused, &round) == 0, "thread");
    for (size_t i = 0; i < WARM; i++)
        while (sem_wait(&round.results) != 0)
            continue;
    const Bailiwick__V1__Receipt *receipt = way->cut(principal);
    must(strcmp(receipt->log, log) == 0, "the cut is in another log");
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    if (atomic_load(&round.highest) > receipt->index) {
        (void)fprintf(stderr, "cut-off: round %u, %s at %llu: a result at %llu\n", number, way->name, (unsigned long long)receipt->index,
                      (unsigned long long)atomic_load(&round.highest) - 1);
        exit(1);
    }
    way->restore();
    bw_client_free(round.app);
    (void)sem_destroy(&round.results);
    bw_arena_clear(&lasting);
    return atomic_load(&round.count);
}

/* ---- the region ---- */

/* What outlives the rounds is copied out of the arena, which they clear. */
static char key_text[BW_KEY_NAME_MAX + 1], log_text[256];
static uint8_t envelope_bytes[512];

static void prepare(void)
{
    NEW(create_tenant, CreateTenant, tenant);
    NEW(create_key, CreateKey, key);
    NEW(wrap, Wrap, wrap);
    NEW(rotate_key, RotateKey, rotate);
    Bailiwick__V1__KeyRef ref = BAILIWICK__V1__KEY_REF__INIT;

    tenant.name       = TEXT("acme");
    tenant.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(operator, BW_METHOD_NR(CreateTenant), &tenant.base, &lasting);
    key.spec = BAILIWICK__V1__KEY_SPEC__AES_256;
    const Bailiwick__V1__CreateKeyReply *made = (const void *)live_must(custodian, BW_METHOD_NR(CreateKey), &key.base, &lasting);
    (void)snprintf(key_text, sizeof key_text, "%s", made->key->name);
    (void)snprintf(log_text, sizeof log_text, "%s", made->receipt->log);

    first = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/app/first");
    ref.name       = key_text;
    wrap.key       = &ref;
    wrap.plaintext = bw_wire_data(bw_bytes_text("what is wrapped"));
    const Bailiwick__V1__WrapReply *wrapped = (const void *)live_must(first, BW_METHOD_NR(Wrap), &wrap.base, &lasting);
    must(wrapped->envelope.len <= sizeof envelope_bytes, "a longer envelope");
    memcpy(envelope_bytes, wrapped->envelope.data, wrapped->envelope.len);
    envelope = bw_bytes_of(envelope_bytes, wrapped->envelope.len);
    key_name = key_text;
    rotate.name = key_text;
    (void)live_must(custodian, BW_METHOD_NR(RotateKey), &rotate.base, &lasting);
}

int main(int argc, char **argv)
{
    long seconds = argc > 1 ? atol(argv[1]) : 0;
    unsigned rounds = argc > 2 ? (unsigned)atol(argv[2]) : UINT32_MAX, number = 0;
    unsigned long long results = 0;

    if (seconds <= 0) {
        (void)fprintf(stderr, "usage: test_cut_off SECONDS [ROUNDS]\n");
        return 2;
    }
    live_make(&live);
    operator  = live_caller(&live, LIVE_TRUST LIVE_HOME "/operator/ops");
    custodian = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/custodian/ann");
    prepare();
    for (time_t end = time(NULL) + seconds; number < rounds && time(NULL) < end; number++)
        results += run_round(&ways[number % ARRAY_LEN(ways)], number, log_text);
    (void)printf("%u rounds, %llu results, none after its cut\n", number, results);
    bw_client_free(operator);
    bw_client_free(custodian);
    bw_client_free(first);
    live_remove(&live);
    return 0;
}
