#include "proposal.h"

#include <openssl/evp.h>
#include <string.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "dedup.h"
#include "deed.h"
#include "wire.h"

#include "bailiwick/v1/keys.pb-c.h"

/* ---- what takes more than one ---- */

typedef bool (*when_fn)(const ProtobufCMessage *message);

static bool always(const ProtobufCMessage *message)
{
    (void)message;
    return true;
}

static bool text_releases(const char *text)
{
    BW_AUTO(policy) policy = NULL;

    if (text[0] == '\0')
        return false; /* the policy of who names none */
    return !bw_ok(bw_policy_compile(bw_bytes_text(text), &policy)) || bw_policy_releases(policy);
}

/* CreateKey and SetKeyPolicy, which both have a policy */
static bool releases(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *policy = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "policy");

    return text_releases(*(char *const *)(const void *)((const uint8_t *)message + policy->offset));
}

/* CreateGrant by a custodian. What is handed on was granted before. */
static bool grants(const ProtobufCMessage *message)
{
    return ((const Bailiwick__V1__CreateGrantRequest *)(const void *)message)->parent[0] == '\0';
}

static const struct { enum bw_method_nr method; when_fn when; } actions[] = {
#define BW_DUAL_ACTION(action, method, when) { BW_METHOD_NR(method), when },
#include "dual_actions.def"
#undef BW_DUAL_ACTION
};

static bool is_named(const struct bw_dual_control *dual, const struct bw_method *method, const ProtobufCMessage *message)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if ((dual->actions & 1u << i) && actions[i].method == method->number && actions[i].when(message))
            return true;
    return false;
}

/* Without the rule about SetTenantPolicy one custodian could switch dual control off. */
unsigned bw_proposal_needs(const struct bw_tenant_info *tenant, const struct bw_method *method, const ProtobufCMessage *message)
{
    const struct bw_dual_control *dual = &tenant->policy.dual_control;

    if (method->number == BW_METHOD_NR(SetTenantPolicy) || is_named(dual, method, message))
        return dual->approvals;
    return method->number == BW_METHOD_NR(PurgeKey) ? BW_CUSTODIANS_MIN : 0;
}

/* ---- a request as a proposal ---- */

uint64_t bw_proposal_generation(struct bw_daemon *daemon, const struct bw_proposal *proposal)
{
    const struct bw_tenant_info *tenant;
    const struct bw_key *key;
    uint64_t generation = 0;

    if (proposal->has_key && bw_ok(bw_registry_key(daemon->registry, &proposal->tenant, &proposal->key, &key))) {
        generation = key->generation;
        bw_key_unref(key);
    }
    if (proposal->method == BW_METHOD_NR(SetTenantPolicy) && bw_ok(bw_registry_tenant(daemon->registry, &proposal->tenant, &tenant))) {
        generation = tenant->generation;
        bw_tenant_info_unref(tenant);
    }
    return generation;
}

/* Texts with their NUL, the number in eight bytes, so that no two ways of putting them together look the same. */
static bw_result make_id(struct bw_proposal *proposal, const char *path)
{
    static const char purpose[] = "bailiwick: id of a proposal";
    uint8_t generation[8], digest[32];
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    for (size_t i = 0; i < sizeof generation; i++)
        generation[i] = (uint8_t)(proposal->generation >> (56 - 8 * i));
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) && EVP_DigestUpdate(context, purpose, sizeof purpose) &&
                EVP_DigestUpdate(context, proposal->tenant.text, strlen(proposal->tenant.text) + 1) && EVP_DigestUpdate(context, path, strlen(path) + 1) &&
                EVP_DigestUpdate(context, generation, sizeof generation) &&
                EVP_DigestUpdate(context, proposal->request.data, proposal->request.len) && EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    BW_CHECK(done, BW_INTERNAL, "SHA-256 failed");
    memcpy(proposal->id, digest, sizeof proposal->id);
    return bw_success();
}

static bw_result draft_of(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant, struct bw_proposal *proposal)
{
    unsigned hours = tenant->policy.dual_control.expires_hours ? tenant->policy.dual_control.expires_hours : BW_PROPOSAL_HOURS;

    *proposal = (struct bw_proposal){ .tenant = tenant->name, .method = job->method->number, .has_key = job->request.has_key, .key = job->request.key.id,
                                      .proposer = job->caller.spiffe_id, .created_us = bw_now_us() };
    proposal->expires_us = proposal->created_us + hours * BW_HOUR_US;
    proposal->generation = bw_proposal_generation(daemon, proposal);
    BW_TRY(bw_dedup_asked(job, bw_job_arena(job), &proposal->request));
    BW_CHECK(proposal->request.len <= BW_PROPOSAL_MAX, BW_TOO_LARGE, "a request that is too long to be proposed");
    return make_id(proposal, job->method->path);
}

void bw_proposal_note(struct bw_job *job, const uint8_t id[static BW_PROPOSAL_ID_LEN])
{
    job->entry.record.has_proposal = true;
    memcpy(job->entry.record.proposal, id, BW_PROPOSAL_ID_LEN);
}

static bw_result tell(struct bw_job *job, const uint8_t id[static BW_PROPOSAL_ID_LEN])
{
    char *text = bw_arena_alloc(bw_job_arena(job), 2 * BW_PROPOSAL_ID_LEN + 1);

    BW_CHECK(text != NULL, BW_NO_MEMORY, "proposal");
    bw_hex(bw_bytes_of(id, BW_PROPOSAL_ID_LEN), text);
    job->reply.proposal = text;
    bw_proposal_note(job, id);
    return bw_success();
}

bw_result bw_proposal_request(const struct bw_proposal *proposal, struct bw_arena *arena, ProtobufCMessage **ret_message)
{
    const struct bw_method *method = bw_method_by_number(proposal->method);

    BW_CHECK(method != NULL, BW_STORE_UNAVAILABLE, "a proposal in the store is of a method that this daemon does not know");
    return bw_wire_unpack(method->request, proposal->request, arena, ret_message);
}

/* ---- the end of those that nobody wanted ---- */

enum { OVER_MAX = 64 }; /* looked up at once */

static bw_result expire(struct bw_daemon *daemon, const struct bw_proposal *proposal, int64_t now_us)
{
    struct bw_record record = { .operation = BW_DEED_NR(ExpireProposal), .has_proposal = true };

    memcpy(record.proposal, proposal->id, sizeof record.proposal);
    BW_TRY(bw_deed_begin_other(daemon, &proposal->tenant, &record));
    bw_result dropped = bw_store_drop_proposal(daemon->store, &proposal->tenant, proposal->id, now_us);
    /* gone is gone: another thread may have met it at the same time */
    return bw_deed_end(daemon, &record, dropped.code == BW_NO_SUCH_PROPOSAL ? bw_success() : dropped);
}

bw_result bw_proposals_expire(struct bw_daemon *daemon, int64_t now_us)
{
    struct bw_proposal over[OVER_MAX];
    bw_result result;
    size_t count;

    do {
        struct bw_arena arena = { 0 };
        count  = 0;
        result = bw_store_list_over(daemon->store, now_us, &arena, over, OVER_MAX, &count);
        for (size_t i = 0; bw_ok(result) && i < count; i++)
            result = expire(daemon, &over[i], now_us);
        bw_arena_clear(&arena);
    } while (bw_ok(result) && count == OVER_MAX);
    return result;
}

/* ---- whether it is approved ---- */

/* What is found here the store looks at once more when the change is made. */
static bool is_approved(const struct bw_approval *approvals, size_t count, const char *caller, unsigned needed)
{
    unsigned valid = 0;
    bool among = false;

    for (size_t i = 0; i < count; i++) {
        valid += !approvals[i].revoked;
        among = among || (!approvals[i].revoked && strcmp(approvals[i].custodian, caller) == 0);
    }
    return among && valid >= needed;
}

static bw_result write_warrant(struct bw_job *job, const struct bw_tenant_info *tenant, const struct bw_proposal *proposal, unsigned needed)
{
    struct bw_warrant *warrant = bw_arena_alloc(bw_job_arena(job), sizeof *warrant);

    BW_CHECK(warrant != NULL, BW_NO_MEMORY, "warrant");
    *warrant = (struct bw_warrant){ .tenant = &job->caller.identity.tenant, .caller = job->caller.spiffe_id, .needed = needed,
                                    .tenant_generation = tenant->generation, .generation = proposal->generation, .now_us = bw_now_us() };
    memcpy(warrant->proposal, proposal->id, sizeof warrant->proposal);
    job->warrant = warrant;
    return bw_success();
}

static bw_result find(struct bw_daemon *daemon, struct bw_job *job, const struct bw_proposal *wanted, bool *ret_found, struct bw_proposal *ret_proposal)
{
    bw_result found = bw_store_get_proposal(daemon->store, &wanted->tenant, wanted->id, bw_job_arena(job), ret_proposal);

    *ret_found = bw_ok(found);
    if (found.code == BW_NO_SUCH_PROPOSAL)
        return bw_success();
    BW_TRY(found);
    /* a digest is not the thing itself */
    BW_CHECK(ret_proposal->method == wanted->method && bw_bytes_equal(ret_proposal->request, wanted->request), BW_CONFLICT, "another request has this proposal's id");
    return bw_success();
}

static bw_result ask(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant, unsigned needed)
{
    struct bw_approval approvals[BW_APPROVALS_MAX];
    struct bw_proposal wanted, proposal;
    size_t count;
    bool found;

    BW_CHECK(job->caller.identity.role == BW_ROLE_CUSTODIAN, BW_NOT_PERMITTED, "takes several custodians, and the caller is none");
    BW_TRY(draft_of(daemon, job, tenant, &wanted));
    BW_TRY(tell(job, wanted.id));
    BW_TRY(find(daemon, job, &wanted, &found, &proposal));
    bool over = found && proposal.expires_us <= wanted.created_us;
    if (over)
        BW_TRY(expire(daemon, &proposal, wanted.created_us)); /* the housekeeper has not come by yet */
    if (!found || over)
        BW_TRY(bw_store_propose(daemon->store, &wanted));
    BW_TRY(bw_store_list_approvals(daemon->store, &wanted.tenant, wanted.id, bw_job_arena(job), approvals, &count));
    BW_CHECK(is_approved(approvals, count, job->caller.spiffe_id, needed), BW_NOT_APPROVED, "waits for the approval of more custodians");
    return write_warrant(job, tenant, &wanted, needed);
}

bw_result bw_proposal_check(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_tenant_info *granted = bw_grant_tenant(job->grant), *tenant;

    if (granted == NULL)
        return bw_success(); /* what operators do is nothing that custodians control */
    BW_TRY(bw_registry_tenant(daemon->registry, &granted->name, &tenant));
    unsigned needed = bw_proposal_needs(tenant, job->method, job->request.message);
    bw_result result = needed > 1 ? ask(daemon, job, tenant, needed) : bw_success();
    bw_tenant_info_unref(tenant);
    return result;
}
