#include "deed.h"

#include <stdio.h>

#include "config.h"
#include "hsm.h"

static void name_node(const struct bw_daemon *daemon, char *text, size_t room)
{
    struct bw_identity node = { .region = daemon->region, .role = BW_ROLE_NODE };

    (void)snprintf(node.trust_domain, sizeof node.trust_domain, "%s", daemon->config->trust_domain);
    (void)snprintf(node.principal.text, sizeof node.principal.text, "%s", daemon->config->node);
    bw_identity_print(&node, text, room);
}

static bw_result log_of(struct bw_daemon *daemon, const bw_tenant *name, uint32_t *ret_log)
{
    const struct bw_tenant_info *tenant;

    BW_TRY(bw_registry_tenant(daemon->registry, name, &tenant));
    *ret_log = tenant->log;
    bw_tenant_info_unref(tenant);
    return bw_success();
}

bw_result bw_deed_begin_other(struct bw_daemon *daemon, const bw_tenant *tenant, struct bw_record *record)
{
    uint64_t index;

    record->outcome = BW_OUTCOME_INTENT;
    BW_TRY(log_of(daemon, tenant, &record->log));
    BW_TRY(bw_hsm_random(daemon->token, record->request_id, sizeof record->request_id));
    name_node(daemon, record->principal, sizeof record->principal);
    BW_TRY(bw_audit_write(daemon->audit, record, &index));
    record->intent_index = index + 1;
    return bw_success();
}

bw_result bw_deed_begin(struct bw_daemon *daemon, unsigned operation, const struct bw_key *key, struct bw_record *ret_record)
{
    struct bw_record record = { .operation = operation, .has_key = true, .key = key->name.id, .policy_version = key->generation };

    BW_TRY(bw_deed_begin_other(daemon, &key->name.tenant, &record));
    *ret_record = record;
    return bw_success();
}

bw_result bw_deed_end(struct bw_daemon *daemon, struct bw_record *record, bw_result result)
{
    uint64_t index;

    record->outcome = bw_ok(result) ? BW_OUTCOME_GRANTED : BW_OUTCOME_ERROR;
    record->reason  = result.code;
    bw_result written = bw_audit_write(daemon->audit, record, &index);
    return bw_ok(result) ? written : result;
}
