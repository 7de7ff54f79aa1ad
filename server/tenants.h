/* Tenants' tokens: made, opened, closed. */
#ifndef BW_SERVER_TENANTS_H
#define BW_SERVER_TENANTS_H

#include "bailiwick/secret.h"
#include "daemon.h"
#include "registry.h"

/* At start: opens the token of every tenant that is active and whose PIN the operator holds. A tenant whose token does not
 * open stays cut off, the others are served; failed is told of each. */
typedef void (*bw_tenant_failed_fn)(void *self, const bw_tenant *tenant, bw_result why);
void bw_tenants_open_all(struct bw_daemon *daemon, bw_tenant_failed_fn failed, void *self);

/* Opens the token of a tenant. pin NULL: the operator's file has it. serial "": whichever has the tenant's label. */
bw_result bw_tenant_open_token(struct bw_daemon *daemon, const bw_tenant *tenant, const char *serial, struct bw_secret *pin,
                               struct bw_token **ret_token);

/* Makes a new tenant with its token, or goes on where an attempt before was cut short: with the PIN file and the token that
 * it finds. pin NULL: the operator is to hold one. The caller holds bw_registry_begin_making.
 * BW_ALREADY_EXISTS: the tenant is there, or a token that another PIN opens. */
bw_result bw_tenant_make(struct bw_daemon *daemon, const bw_tenant *name, uint32_t log, struct bw_secret *pin,
                         const struct bw_tenant_info **ret_tenant);

#endif
