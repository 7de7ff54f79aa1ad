/* Stage authorise: may this caller do this, to this key, from there? A grant is the answer; only authorise.c makes one.
 *
 * Order of the questions: role (methods.def), revocation, tenant (another tenant's key does not exist), region of key or
 * envelope (WRONG_REGION, home named), tenant sealed, key state, key usage and mechanism, key policy. */
#ifndef BW_SERVER_AUTHORISE_H
#define BW_SERVER_AUTHORISE_H

#include "job.h"
#include "registry.h"

bw_result bw_authorise(struct bw_daemon *daemon, struct bw_job *job);

/* For Rewrap: the second key. The job's grant then holds both. */
bw_result bw_authorise_target(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key_name *name, unsigned use);

/* Under the log's order: whether what was granted still holds. Cheap when nothing changed. */
bw_result bw_authorise_again(struct bw_daemon *daemon, struct bw_job *job);

const struct bw_tenant_info *bw_grant_tenant(const struct bw_grant *grant);   /* NULL: the method is about the region */
const struct bw_key         *bw_grant_key(const struct bw_grant *grant);      /* NULL: the method names none, or a sealed one */
const struct bw_key_version *bw_grant_version(const struct bw_grant *grant);
const struct bw_key         *bw_grant_target(const struct bw_grant *grant);
void                         bw_grant_free(struct bw_grant *grant);

#endif
