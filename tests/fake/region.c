#include "fake/region.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit.h"
#include "authorise.h"
#include "dedup.h"
#include "fake/drafts.h"
#include "hsm.h"
#include "job_record.h"
#include "recover.h"
#include "registry.h"
#include "store.h"
#include "tenants.h"

/* SoftHSM 2.6.1 leaks the curve's name at every C_SignInit and C_VerifyInit of an Ed25519 key, which the self-test does; not
 * ours to fix. It has no frame pointers, and may be unloaded before anybody counts: then hsm_crypt.c, which calls it, tells. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libsofthsm2.so\nleak:hsm_crypt.c\n"; }
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }

static void must(bw_result result)
{
    if (bw_ok(result))
        return;
    (void)fprintf(stderr, "region: %s (%s)\n", result.what, result.where);
    exit(1);
}

static void tenant_failed(void *self, const bw_tenant *tenant, bw_result why)
{
    (void)self;
    (void)fprintf(stderr, "region: tenant %s: %s (%s)\n", tenant->text, why.what, why.where);
    exit(1);
}

static void start(struct region *region)
{
    struct bw_daemon *daemon = &region->daemon;
    struct bw_audit_options audit = { .dir = region->dir, .region = region->config.region, .node = "n1", .host = "eu.example.org" };

    *daemon = (struct bw_daemon){ .config = &region->config, .region = region->config.region };
    must(bw_hsm_open(&(struct bw_hsm_options){ .module = region->module, .sessions = 2 }, &daemon->hsm));
    must(bw_token_open(daemon->hsm, "bw:eu-central", "", bw_bytes_text("regionpin"), &daemon->token));
    must(bw_hsm_self_test(daemon->hsm, daemon->token));
    must(bw_store_open(region->dir, &daemon->region, &daemon->store));
    must(bw_audit_open(&audit, &daemon->audit));
    must(bw_registry_new(&daemon->registry));
    must(bw_registry_load(daemon->registry, daemon->store));
    bw_tenants_open_all(daemon, tenant_failed, NULL);
    must(bw_recovery_start(daemon, &daemon->recovery));
}

static void stop(struct region *region)
{
    struct bw_daemon *daemon = &region->daemon;

    bw_recovery_free(daemon->recovery);
    bw_registry_free(daemon->registry);
    bw_audit_close(daemon->audit);
    bw_store_close(daemon->store);
    bw_token_free(daemon->token);
    bw_hsm_close(daemon->hsm);
}

void region_make(struct region *region)
{
    struct bw_audit_options audit = { .dir = region->dir, .region = { "eu-central" }, .node = "n1", .host = "eu.example.org" };
    struct bw_hsm *hsm;
    char serial[17];

    memset(region, 0, sizeof *region);
    make_folder(region->dir);
    region->module         = softhsm_start(&region->softhsm);
    region->config.region  = audit.region;
    region->config.pin_dir = region->dir;
    region->config.node    = (char *)(uintptr_t)audit.node;
    region->config.trust_domain = (char *)(uintptr_t)"ex.org";
    must(bw_hsm_open(&(struct bw_hsm_options){ .module = region->module, .sessions = 2 }, &hsm));
    must(bw_token_create(hsm, "bw:eu-central", bw_bytes_text("regionso"), bw_bytes_text("regionpin"), serial));
    bw_hsm_close(hsm);
    must(bw_store_create(region->dir, &audit.region, 1));
    must(bw_audit_create(&audit));
    start(region);
}

void region_remove(struct region *region)
{
    stop(region);
    softhsm_stop(&region->softhsm);
    remove_folder(region->dir);
}

void region_restart(struct region *region)
{
    stop(region);
    start(region);
}

/* ---- jobs ---- */

static void prepare(struct region *region, const struct asking *asking, struct asked *asked)
{
    struct bw_job *job = &asked->job;

    memset(asked, 0, sizeof *asked);
    job->call   = &asked->call;
    job->daemon = &region->daemon;
    job->method = bw_method_by_number(asking->method);
    job->request.message   = asking->message;
    job->request.mechanism = asking->mechanism;
    job->request.data      = asking->data;
    job->request.purpose   = "";
    job->request.request_id_given = asking->request_id != 0;
    memset(job->request.request_id, asking->request_id, sizeof job->request.request_id);
    if (asking->request_id == 0)
        must(bw_hsm_random(region->daemon.token, job->request.request_id, sizeof job->request.request_id));
    must(bw_identity_parse(bw_bytes_text(asking->caller), &job->caller.identity));
    (void)snprintf(job->caller.spiffe_id, sizeof job->caller.spiffe_id, "%s", asking->caller);
    job->caller.known = true;
    if (asking->key != NULL) {
        must(bw_key_name_parse(bw_bytes_text(asking->key), &job->request.key));
        job->request.has_key = true;
    }
}

bw_result region_ask_and_crash(struct region *region, const struct asking *asking, region_operation_fn operation, struct asked *ret_asked)
{
    struct bw_job *job = &ret_asked->job;

    prepare(region, asking, ret_asked);
    job->result = bw_authorise(&region->daemon, job);
    if (bw_ok(job->result) && job->method->effect == BW_EFFECT_CHANGES)
        job->result = bw_dedup_run(&region->daemon, job, operation);
    else if (bw_ok(job->result))
        job->result = operation(&region->daemon, job);
    return job->result;
}

bw_result region_ask(struct region *region, const struct asking *asking, region_operation_fn operation, struct asked *ret_asked)
{
    struct bw_job *job = &ret_asked->job;
    bw_result result = region_ask_and_crash(region, asking, operation, ret_asked);

    bw_job_fill_record(job);
    must(bw_audit_write(region->daemon.audit, &job->entry.record, &job->entry.index));
    return result;
}

void asked_clear(struct asked *asked)
{
    bw_grant_free(asked->job.grant);
    bw_arena_clear(&asked->call.arena);
    memset(asked, 0, sizeof *asked);
}
