#include "job_record.h"

#include <stdio.h>
#include <string.h>

#include "authorise.h"
#include "daemon.h"
#include "registry.h"

enum { SERVICE_CODES = 60 }; /* results.def: from here on it is the service's doing */

/* What was refused because the log has no room takes none: else whoever goes on asking would fill what is left. */
bool bw_job_is_recorded(const struct bw_job *job)
{
    if (job->result.code == BW_AUDIT_UNAVAILABLE)
        return false;
    return job->method->effect != BW_EFFECT_READS || !bw_ok(job->result);
}

void bw_job_set_outcome(struct bw_job *job)
{
    struct bw_record *record = &job->entry.record;

    record->reason   = job->result.code;
    record->outcome  = bw_ok(job->result)                    ? BW_OUTCOME_GRANTED
                     : (int)job->result.code < SERVICE_CODES ? BW_OUTCOME_DENIED
                                                             : BW_OUTCOME_ERROR;
    record->released = bw_ok(job->result) && job->reply.released;
    (void)snprintf(record->rule, sizeof record->rule, "%s", bw_ok(job->result) && job->grant ? bw_grant_rule(job->grant) : "");
}

/* A tenant's log holds what its own principals did, and tried with its own keys. Who reaches for another tenant's key, or is
 * of no tenant here, goes on record with the region. */
static uint32_t log_of(const struct bw_job *job)
{
    const struct bw_tenant_info *tenant = job->grant ? bw_grant_tenant(job->grant) : NULL;
    const bw_tenant *own = &job->caller.identity.tenant;
    uint32_t log = 0;

    if (job->request.has_key && !bw_tenant_equal(&job->request.key.tenant, own) && job->caller.identity.role != BW_ROLE_OPERATOR)
        return 0;
    if (tenant != NULL)
        return tenant->log;
    if (job->caller.known && bw_ok(bw_registry_tenant(job->daemon->registry, own, &tenant))) {
        log = tenant->log;
        bw_tenant_info_unref(tenant);
    }
    return log;
}

static void fill_key(struct bw_job *job)
{
    struct bw_record *record = &job->entry.record;
    const struct bw_key *key = job->grant ? bw_grant_key(job->grant) : NULL;
    const struct bw_key_version *version = job->grant ? bw_grant_version(job->grant) : NULL;

    if (!record->has_key && (key != NULL || job->request.has_key)) {
        record->has_key = true;
        record->key     = key ? key->name.id : job->request.key.id;
    }
    if (record->key_version == 0)
        record->key_version = version ? version->number : job->request.version;
    if (key != NULL)
        record->policy_version = key->generation;
}

static void fill_who(struct bw_job *job)
{
    struct bw_record *record = &job->entry.record;

    (void)snprintf(record->principal, sizeof record->principal, "%s", job->caller.spiffe_id);
    (void)snprintf(record->address, sizeof record->address, "%s", job->call->peer.address);
    memcpy(record->certificate, job->caller.certificate, sizeof record->certificate);
    memcpy(record->request_id, job->request.request_id, sizeof record->request_id);
}

static void fill_context(struct bw_job *job)
{
    struct bw_record *record = &job->entry.record;
    const struct bw_request *request = &job->request;

    (void)snprintf(record->purpose, sizeof record->purpose, "%s", request->purpose ? request->purpose : "");
    record->context_name_count = request->context_count;
    for (size_t i = 0; i < request->context_count; i++) /* decode let no more than BW_CONTEXT_PAIRS_MAX pass */
        record->context_names[i] = request->context[i].name;
    if (job->reply.authenticated.len > 0) {
        record->has_aad_tag = true;
        bw_audit_tag(job->daemon->audit, record->log, job->reply.authenticated, record->aad_tag);
    }
}

void bw_job_fill_record(struct bw_job *job)
{
    struct bw_record *record = &job->entry.record;

    if (record->log == 0)
        record->log = log_of(job);
    record->operation = (uint32_t)job->method->number;
    record->mechanism = job->request.mechanism.row ? (uint32_t)job->request.mechanism.row->type : 0;
    fill_key(job);
    fill_who(job);
    fill_context(job);
    bw_job_set_outcome(job);
}
