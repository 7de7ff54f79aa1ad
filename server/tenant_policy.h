/* Tenant policy: what a tenant's custodians allow in their tenant as a whole. JSON; unknown members are refused.
 *
 * {"apps_own_keys": true}   applications may make, use and destroy keys and objects of their own; absent: they may not */
#ifndef BW_SERVER_TENANT_POLICY_H
#define BW_SERVER_TENANT_POLICY_H

#include "bailiwick/bytes.h"

struct bw_tenant_policy {
    bool apps_own_keys;
};

extern const char bw_tenant_policy_default[];

/* BW_BAD_ARGUMENT with the field "policy". */
bw_result bw_tenant_policy_parse(bw_bytes text, struct bw_tenant_policy *ret_policy);

#endif
