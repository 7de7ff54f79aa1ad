#include "serve.h"

#include <openssl/rand.h>

#include "authorise.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "daemon.h"
#include "job_record.h"
#include "reply.h"
#include "stages.h"
#include "workers.h"

static const struct stage { const char *name; bw_result (*run)(struct bw_daemon *, struct bw_job *); } stages[] = {
    { "authenticate", bw_authenticate },   /* who: the client certificate          */
    { "decode",       bw_decode       },   /* what: bounds-checked, all or nothing */
    { "authorise",    bw_authorise    },   /* may they: tenant, region, key policy */
    { "operate",      bw_operate      },   /* the HSM                              */
};
enum { AUTHENTICATE, DECODE, AUTHORISE, OPERATE, ALL_STAGES };

/* Stands for what methods.def has not: it passes authenticate, so that the refusal is on record with its caller. */
static const struct bw_method no_method = { .path = "", .service = "", .name = "unknown", .effect = BW_EFFECT_READS };

static void run_stages(struct bw_job *job, unsigned end)
{
    while (job->next_stage < end && bw_ok(job->result)) {
        const struct stage *stage = &stages[job->next_stage++];
        job->stage  = stage->name;
        job->result = stage->run(job->daemon, job);
    }
}

/* ---- the end: on record, then out ---- */

static void give_share(struct bw_call *call)
{
    if (atomic_fetch_sub_explicit(&call->shares, 1, memory_order_acq_rel) == 1)
        bw_reply_send(call);
}

/* Under the log's order: what was granted must still hold when the record gets its place, or it becomes a denial. */
static void confirm(struct bw_audit_entry *entry)
{
    struct bw_job *job = (struct bw_job *)entry;
    bw_result still = bw_authorise_again(job->daemon, job);

    if (bw_ok(still)) {
        bw_grant_note_use(job->grant);
        return;
    }
    job->result = still;
    job->stage  = "confirm";
    bw_reply_withhold(&job->reply);
    bw_job_set_outcome(job);
}

static void recorded(struct bw_audit_entry *entry, bw_result written)
{
    struct bw_job *job = (struct bw_job *)entry;

    if (!bw_ok(written)) {
        job->result = written;
        job->stage  = "record";
        bw_reply_withhold(&job->reply);
    }
    give_share(job->call);
}

static void hand_in(struct bw_job *job)
{
    if (!bw_job_is_recorded(job)) {
        give_share(job->call);
        return;
    }
    bw_job_fill_record(job);
    job->entry.confirm = bw_ok(job->result) && job->method->effect == BW_EFFECT_USES ? confirm : NULL;
    job->entry.done    = recorded;
    bw_audit_put(job->daemon->audit, &job->entry);
}

/* Whoever sees the last job run sees all records of the call in the queue. The runner's share keeps the call there until
 * then; nothing of it is touched after that. */
bool bw_serve_resume(struct bw_job *job)
{
    struct bw_call *call = job->call;

    run_stages(job, ALL_STAGES);
    hand_in(job);
    bool last = atomic_fetch_sub_explicit(&call->unrun, 1, memory_order_acq_rel) == 1;
    give_share(call);
    return last;
}

/* ---- the beginning ---- */

static bw_result make_jobs(struct bw_call *call, size_t count)
{
    struct bw_job *jobs = bw_arena_alloc(&call->arena, count * sizeof *jobs);

    BW_CHECK(jobs != NULL, BW_NO_MEMORY, "jobs");
    for (size_t i = 0; i < count; i++) {
        jobs[i].daemon = call->daemon;
        jobs[i].call   = call;
        jobs[i].method = call->method ? call->method : &no_method;
    }
    call->jobs      = jobs;
    call->job_count = count;
    atomic_store_explicit(&call->unrun, count, memory_order_relaxed);
    atomic_store_explicit(&call->shares, 2 * count, memory_order_relaxed);
    return bw_success();
}

/* The number of an operation in BatchOperation is its method's in methods.def. All members of the union are pointers. */
static bw_result expand(struct bw_call *call, const struct bw_job *batch)
{
    const Bailiwick__V1__BatchRequest *request = (const void *)batch->request.message;

    BW_TRY(make_jobs(call, request->n_operations));
    for (size_t i = 0; i < call->job_count; i++) {
        struct bw_job *job = &call->jobs[i];
        job->method          = bw_method_by_number((unsigned)request->operations[i]->operation_case);
        job->request.message = &request->operations[i]->encrypt->base;
        job->caller          = batch->caller;
        job->next_stage      = DECODE;
    }
    return bw_success();
}

/* A request that brought no id gets one: its record and its reply or refusal tell it. */
static void name_request(struct bw_job *job)
{
    struct bw_request *request = &job->request;

    if (!request->request_id_given && RAND_bytes(request->request_id, BW_REQUEST_ID_LEN) != 1 && bw_ok(job->result))
        job->result = bw_fail(BW_INTERNAL, "no random bytes");
}

static bool is_slow(const struct bw_job *job)
{
    const struct bw_mechanism_row *mechanism = job->request.mechanism.row;

    if (!bw_ok(job->result) || job->method->cost == BW_METHOD_FAST)
        return false;
    return job->method->cost == BW_METHOD_SLOW || (mechanism != NULL && mechanism->cost != BW_COST_FAST);
}

/* A worker's job may run beside others of its call, so it takes no memory from the call's arena. */
static bool leave_to_worker(struct bw_job *job)
{
    job->own_arena.ceiling = job->call->arena.ceiling;
    job->apart = true;
    if (bw_workers_put(job->daemon->workers, job))
        return true;
    job->result = bw_fail(BW_OVERLOADED, "the workers' queue is full");
    return false;
}

size_t bw_serve(struct bw_daemon *daemon, struct bw_call *call)
{
    call->daemon = daemon;
    atomic_fetch_add_explicit(&daemon->calls, 1, memory_order_relaxed);
    bw_result made = make_jobs(call, 1);
    if (!bw_ok(made)) {
        call->send(call, made, (bw_bytes){ 0 }, (bw_bytes){ 0 });
        return 0;
    }
    struct bw_job *first = call->jobs;
    run_stages(first, AUTHORISE);
    if (bw_ok(first->result) && first->method->number == BW_METHOD_NR(Batch))
        first->result = expand(call, first);
    for (size_t i = 0; i < call->job_count; i++) {
        run_stages(&call->jobs[i], OPERATE);
        name_request(&call->jobs[i]);
    }

    struct bw_job *jobs = call->jobs; /* the call ends with its last job, on whatever thread */
    size_t ended = 0;
    for (size_t i = 0, count = call->job_count; i < count; i++) {
        if (is_slow(&jobs[i]) && leave_to_worker(&jobs[i]))
            continue;
        (void)bw_serve_resume(&jobs[i]); /* our caller flushes */
        ended++;
    }
    return ended;
}
