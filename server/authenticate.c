/* Stage authenticate: the client certificate says who calls; the CRL and the region's own list say whether that still holds. */
#include "daemon.h"
#include "registry.h"
#include "stages.h"
#include "trust.h"

bw_result bw_authenticate(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_TRY(bw_trust_identify(daemon->trust, &job->call->peer, &job->caller));
    BW_CHECK(!bw_registry_is_revoked(daemon->registry, job->caller.spiffe_id), BW_REVOKED, "the principal is revoked");
    return bw_success();
}
