/* Tenant policy: what a tenant's custodians allow in their tenant as a whole. JSON; unknown members are refused.
 *
 * {"apps_own_keys": true}   applications may make, use and destroy keys and objects of their own; absent: they may not
 * {"dual_control": {"actions": ["key_policy", "import"], "approvals": 2, "expires_hours": 72}}
 *                           these take so many custodians, who find together within so many hours. Absent members: no
 *                           action, two, 72. actions are those of dual_actions.def. */
#ifndef BW_SERVER_TENANT_POLICY_H
#define BW_SERVER_TENANT_POLICY_H

#include "bailiwick/bytes.h"

struct bw_dual_control {
    unsigned actions;       /* rows of dual_actions.def, the first one's bit the lowest */
    unsigned approvals;     /* custodians, BW_CUSTODIANS_MIN to BW_CUSTODIANS_MAX; 0: there is no dual control */
    unsigned expires_hours;
};

struct bw_tenant_policy {
    bool                   apps_own_keys;
    struct bw_dual_control dual_control;
};

extern const char bw_tenant_policy_default[];

/* The members that there are, of the whole and of dual_control; NULL past the end. The schema is held against them. */
const char *bw_tenant_policy_member(size_t index);
const char *bw_dual_control_member(size_t index);

/* BW_BAD_ARGUMENT with the field "policy", or the member in it that is at fault. */
bw_result bw_tenant_policy_parse(bw_bytes text, struct bw_tenant_policy *ret_policy);

#endif
