#include "intent.h"

#include "daemon.h"
#include "job_record.h"
#include "proposal.h"

bw_result bw_intent_write(struct bw_daemon *daemon, struct bw_job *job, const bw_key_id *key, uint32_t version)
{
    struct bw_record *own = &job->entry.record;
    uint64_t index;

    BW_TRY(bw_proposal_check(daemon, job));
    if (key != NULL) {
        own->has_key     = true;
        own->key         = *key;
        own->key_version = version;
    }
    bw_job_fill_record(job);
    struct bw_record intent = *own;
    intent.outcome = BW_OUTCOME_INTENT;
    intent.reason  = BW_OK;
    BW_TRY(bw_audit_write(daemon->audit, &intent, &index));
    own->intent_index = index + 1;
    return bw_success();
}
