/* Describe: what this node is, and what its HSM does. */
#include <time.h>

#include "stages.h"
#include "bailiwick/v1/region.pb-c.h"
#include "audit.h"
#include "config.h"
#include "daemon.h"
#include "hsm.h"
#include "op.h"

typedef Bailiwick__V1__DescribeReply DescribeReply;

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's structs are not const though packing only reads them */
}

static bool is_offered(const struct bw_hsm *hsm, const struct bw_mechanism_row *mechanism)
{
    if (mechanism->travels_as != mechanism->type || mechanism->uses == BW_USE_DIGEST)
        return false; /* hashes are taken in the application */
    for (unsigned use = 1; use <= BW_USE_GENERATE_PAIR; use <<= 1)
        if ((mechanism->uses & use) != 0 && bw_hsm_offers(hsm, mechanism->type, use))
            return true;
    return false;
}

static bw_result list_mechanisms(const struct bw_hsm *hsm, struct bw_arena *arena, DescribeReply *reply)
{
    const struct bw_mechanism_row *mechanism;
    size_t count = 0;

    while (bw_mechanism_at(count) != NULL)
        count++;
    reply->mechanisms = bw_arena_alloc(arena, count * sizeof *reply->mechanisms);
    BW_CHECK(reply->mechanisms != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; (mechanism = bw_mechanism_at(i)) != NULL; i++)
        if (is_offered(hsm, mechanism))
            reply->mechanisms[reply->n_mechanisms++] = (Bailiwick__V1__MechanismType)mechanism->type;
    return bw_success();
}

static bw_result list_specs(const struct bw_hsm *hsm, struct bw_arena *arena, DescribeReply *reply)
{
    static const enum bw_spec specs[] = {
#define BW_SPEC(number, spec, key_type, bits, uses, generator, curve) BW_SPEC_##spec,
#include "bailiwick/specs.def"
#undef BW_SPEC
    };

    reply->specs   = bw_arena_alloc(arena, sizeof specs);
    reply->imports = bw_arena_alloc(arena, sizeof specs);
    BW_CHECK(reply->specs != NULL && reply->imports != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const struct bw_spec_row *row = bw_spec_row(specs[i]);
        if (bw_hsm_offers(hsm, row->generator, bw_spec_is_pair(row) ? BW_USE_GENERATE_PAIR : BW_USE_GENERATE))
            reply->specs[reply->n_specs++] = (Bailiwick__V1__KeySpec)row->spec;
        if (bw_hsm_imports(hsm, row))
            reply->imports[reply->n_imports++] = (Bailiwick__V1__KeySpec)row->spec;
    }
    return bw_success();
}

/* Health's reason, in words that say no more than a refusal would. */
static char *not_serving(struct bw_daemon *daemon)
{
    enum bw_code unwell = (enum bw_code)atomic_load(&daemon->unwell);
    return unconst(unwell == BW_OK ? "" : bw_code_row(unwell)->name);
}

bw_result bw_op_describe(struct bw_daemon *daemon, struct bw_job *job)
{
    struct bw_audit_progress scrubbed;
    struct timespec now;
    DescribeReply *reply = bw_op_reply(job);

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    (void)clock_gettime(CLOCK_REALTIME, &now);
    reply->region    = daemon->region.text;
    reply->node      = daemon->config->node;
    reply->version   = unconst(BW_VERSION);
    reply->hsm       = unconst(bw_hsm_description(daemon->hsm));
    reply->data_max  = BW_DATA_MAX;
    reply->batch_max = BW_BATCH_MAX;
    reply->caller    = job->caller.spiffe_id;
    bw_audit_progress(daemon->audit, &scrubbed);
    reply->log_verified_us = scrubbed.finished_us;
    reply->not_serving = not_serving(daemon);
    reply->time_us   = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    BW_TRY(list_mechanisms(daemon->hsm, bw_job_arena(job), reply));
    return list_specs(daemon->hsm, bw_job_arena(job), reply);
}
