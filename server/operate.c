/* Stage operate: what was granted is done. */
#include <assert.h>
#include <time.h>

#include "audit.h"
#include "authorise.h"
#include "daemon.h"
#include "dedup.h"
#include "hsm.h"
#include "stages.h"
#include "store.h"

static bw_result (*const operations[])(struct bw_daemon *, struct bw_job *) = {
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost) [number] = bw_op_##snake,
#include "methods.def"
#undef BW_METHOD
};

/* serve.c serves the operations of a Batch in its place. */
bw_result bw_op_batch(struct bw_daemon *daemon, struct bw_job *job)
{
    (void)daemon, (void)job;
    return bw_fail(BW_INTERNAL, "a batch came to be operated");
}

/* What nobody waits for any more is not begun. */
static bw_result check_wanted(const struct bw_job *job)
{
    struct timespec now;

    BW_CHECK(!atomic_load_explicit(&job->call->abandoned, memory_order_relaxed), BW_DEADLINE, "the caller hung up");
    if (job->call->deadline_us == INT64_MAX)
        return bw_success();
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    BW_CHECK((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 < job->call->deadline_us, BW_DEADLINE, "the deadline passed before the operation");
    return bw_success();
}

/* Keys by name; what a session key is, the HSM tells its operation when it is unsealed. */
static bw_result check_key_fits(const struct bw_mechanism_row *mechanism, const struct bw_key *key)
{
    if (key == NULL)
        return bw_success();
    BW_CHECK_AT(mechanism->key_type == key->spec->key_type, BW_KEY_TYPE, "mechanism.type", "not for keys of this type");
    BW_CHECK_AT(key->spec->bits >= mechanism->least_bits && key->spec->bits <= mechanism->most_bits, BW_KEY_SIZE, "mechanism.type",
                "not for keys of this size");
    return bw_success();
}

static bw_result check_mechanism(struct bw_daemon *daemon, const struct bw_job *job)
{
    const struct bw_mechanism_row *mechanism = job->request.mechanism.row;
    const unsigned makes = BW_USE_GENERATE | BW_USE_GENERATE_PAIR;

    if (mechanism == NULL || job->method->number == BW_METHOD_NR(ImportKeyMaterial))
        return bw_success(); /* an import's mechanism is the wrapping key's, and its operation looks at it */
    unsigned use = job->method->use ? job->method->use : mechanism->uses & makes;
    BW_CHECK_AT((mechanism->uses & use) != 0, BW_MECHANISM_INVALID, "mechanism.type", "not for this operation");
    BW_TRY(check_key_fits(mechanism, bw_grant_key(job->grant)));
    BW_CHECK_AT(bw_hsm_offers(daemon->hsm, mechanism->type, use), BW_MECHANISM_INVALID, "mechanism.type", "this region's HSM does not do it");
    return bw_success();
}

/* Nothing is done that could not be recorded, or not under its time. */
static bw_result check_log(struct bw_daemon *daemon, const struct bw_job *job)
{
    return job->method->effect == BW_EFFECT_READS ? bw_success() : bw_audit_health(daemon->audit);
}

bw_result bw_operate(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_TRY(check_wanted(job));
    BW_TRY(check_log(daemon, job));
    BW_TRY(check_mechanism(daemon, job));
    if (job->method->effect != BW_EFFECT_CHANGES)
        return operations[job->method->number](daemon, job);
    bw_result result = bw_dedup_run(daemon, job, operations[job->method->number]);
    /* or the same approvals would be good for the same change again */
    assert(!bw_ok(result) || job->warrant == NULL || job->warrant->spent);
    return result;
}
