/* Stage authorise: may this caller do this, to this key, from there? A grant is the answer; only authorise.c makes one.
 *
 * Order of the questions: role (methods.def), region of key or envelope (WRONG_REGION, home named: it stands in what the
 * caller sent, so it tells nothing), the caller's tenant and region, tenant sealed, the key (another tenant's does not
 * exist), key state and version, key usage, key policy. */
#ifndef BW_SERVER_AUTHORISE_H
#define BW_SERVER_AUTHORISE_H

#include "job.h"
#include "policy.h"
#include "registry.h"

struct bw_session_key;

bw_result bw_authorise(struct bw_daemon *daemon, struct bw_job *job);

/* A sealed session key, once the HSM has opened it: it answers as its origin does, so that disabling a master key cuts off
 * the session keys that came out of it. The job's grant then holds the origin. */
bw_result bw_authorise_sealed(struct bw_daemon *daemon, struct bw_job *job, const struct bw_session_key *what, unsigned use);

/* The same for a session key that another one is to wrap. The grant holds its origin as target. */
bw_result bw_authorise_wrapped(struct bw_daemon *daemon, struct bw_job *job, const struct bw_session_key *what);

/* Whether the value of a session key that comes out of the granted key may go to the application. */
bw_result bw_authorise_release(struct bw_daemon *daemon, struct bw_job *job);

/* For Rewrap: the key to wrap with, and the encryption context that it will be wrapped with. The job's grant then holds both keys. */
bw_result bw_authorise_target(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key_name *name, struct bw_context context);

/* Under the log's order: whether what was granted still holds. Cheap when nothing changed. */
bw_result bw_authorise_again(struct bw_daemon *daemon, struct bw_job *job);

const struct bw_tenant_info *bw_grant_tenant(const struct bw_grant *grant);   /* NULL: the method is about the region */
const struct bw_key         *bw_grant_key(const struct bw_grant *grant);      /* NULL: the method names none, or a sealed one */
const struct bw_key_version *bw_grant_version(const struct bw_grant *grant);
/* On to the next older version that may still open what it made; false: there is none, and the primary is granted again. */
bool                         bw_grant_step_back(struct bw_grant *grant);
const struct bw_key         *bw_grant_target(const struct bw_grant *grant);
void                         bw_grant_note_use(const struct bw_grant *grant); /* the versions' last use is now */
const char                  *bw_grant_rule(const struct bw_grant *grant);     /* of the policy that decided, or grant/<id>; "" when none was asked */
void                         bw_grant_free(struct bw_grant *grant);

#endif
