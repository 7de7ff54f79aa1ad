/* TestKeyPolicy: what another policy would have said to what a key was used for. The records tell who asked, from where, for
 * which operation, with which mechanism and purpose, and the names in the encryption context; never its values. */
#include <string.h>

#include "audit.h"
#include "change.h"
#include "daemon.h"
#include "authorise.h"
#include "op.h"
#include "op_audit.h"
#include "policy.h"
#include "record.h"
#include "registry.h"
#include "stages.h"

#include "bailiwick/v1/keys.pb-c.h"

typedef Bailiwick__V1__TestKeyPolicyRequest Request;
typedef Bailiwick__V1__TestKeyPolicyReply   Reply;
typedef Bailiwick__V1__PolicyCount          Count;
typedef Bailiwick__V1__PolicyExample        Example;

enum {
    RECORDS_MAX      = 8192, /* looked at in one call: less than a second */
    CHUNK            = 256,  /* of them in memory */
    COUNTS_MAX       = 512,  /* callers and operations in one answer */
    EXAMPLES_DEFAULT = 20
};

enum verdict { ALLOWED = BAILIWICK__V1__VERDICT__ALLOWED, REFUSED = BAILIWICK__V1__VERDICT__REFUSED, DEPENDS = BAILIWICK__V1__VERDICT__DEPENDS };

struct trial {
    struct bw_daemon       *daemon;
    struct bw_arena        *arena;    /* the reply's */
    const struct bw_policy *policy;
    Reply                  *reply;
    size_t                  examples; /* wanted */
    bool                    full;     /* the answer holds no other caller and operation */
};

/* ---- one record ---- */

/* Every session key of a master key answers as that does, to whom its policy is about. */
static enum bw_code judge_session_key(const struct trial *trial, const struct bw_policy_question *question)
{
    const bw_region *home = &trial->daemon->region;

    if (!bw_policy_concerns(trial->policy, question->caller, home, NULL))
        return BW_NOT_PERMITTED;
    return bw_policy_concerns(trial->policy, question->caller, home, question->mechanism) ? BW_OK : BW_MECHANISM_OFF;
}

/* At worst each value of the context is another than a rule wants, at best it is that one. */
static enum verdict judge_question(const struct trial *trial, struct bw_policy_question *question, enum bw_code *ret_reason)
{
    const char *rule;

    if (bw_ok(bw_policy_decide(trial->policy, question, &rule)))
        return ALLOWED;
    question->context.unknown_fits = true;
    *ret_reason = bw_policy_decide(trial->policy, question, &rule).code;
    return *ret_reason == BW_OK ? DEPENDS : REFUSED;
}

static bool was_granted(const struct bw_record *record) { return strncmp(record->rule, "grant/", strlen("grant/")) == 0; }

static enum verdict judge(const struct trial *trial, const struct bw_record *record, const struct bw_record_stamp *stamp, enum bw_code *ret_reason)
{
    struct bw_text_pair pairs[BW_CONTEXT_PAIRS_MAX];
    struct bw_identity  caller;
    struct bw_policy_question question = {
        .caller = &caller, .home = &trial->daemon->region, .use = bw_method_by_number(record->operation)->use,
        .mechanism = record->mechanism ? bw_mechanism_row(record->mechanism) : NULL, .context = { .pairs = pairs, .count = record->context_name_count },
        .purpose = record->purpose, .release = record->released, .now_us = stamp->time_us,
    };

    *ret_reason = BW_OK;
    if (was_granted(record))
        return ALLOWED; /* whatever the policy says */
    if (!bw_ok(bw_identity_parse(bw_bytes_text(record->principal), &caller)))
        return DEPENDS; /* who it was is no longer on record */
    for (size_t i = 0; i < record->context_name_count; i++)
        pairs[i] = (struct bw_text_pair){ record->context_names[i], NULL };
    if (record->key_version > 0)
        return judge_question(trial, &question, ret_reason);
    *ret_reason = judge_session_key(trial, &question);
    return *ret_reason == BW_OK ? ALLOWED : REFUSED;
}

/* ---- the answer ---- */

/* NULL in *ret_count: the answer is full. */
static bw_result count_of(struct trial *trial, const struct bw_record *record, Count **ret_count)
{
    Reply *reply = trial->reply;

    *ret_count = NULL;
    for (size_t i = 0; i < reply->n_counts; i++)
        if (reply->counts[i]->operation == record->operation && strcmp(reply->counts[i]->principal, record->principal) == 0) {
            *ret_count = reply->counts[i];
            return bw_success();
        }
    if (reply->n_counts == COUNTS_MAX)
        return bw_success();
    Count *count = bw_arena_alloc(trial->arena, sizeof *count);
    BW_CHECK(count != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__policy_count__init(count);
    count->operation = record->operation;
    count->principal = bw_arena_copy(trial->arena, bw_bytes_text(record->principal));
    BW_CHECK(count->principal != NULL, BW_NO_MEMORY, "reply");
    reply->counts[reply->n_counts++] = *ret_count = count;
    return bw_success();
}

static bw_result add_example(struct trial *trial, uint64_t index, const struct bw_record *record, const struct bw_record_stamp *stamp,
                             enum verdict verdict, enum bw_code reason, const Count *count)
{
    Example *example = bw_arena_alloc(trial->arena, sizeof *example);

    BW_CHECK(example != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__policy_example__init(example);
    example->index     = index;
    example->time_us   = stamp->time_us;
    example->principal = count->principal;
    example->operation = record->operation;
    example->mechanism = record->mechanism;
    example->verdict   = (Bailiwick__V1__Verdict)verdict;
    example->reason    = (uint32_t)reason;
    example->purpose   = bw_arena_copy(trial->arena, bw_bytes_text(record->purpose));
    example->context_names = bw_arena_alloc(trial->arena, record->context_name_count * sizeof *example->context_names);
    BW_CHECK(example->purpose != NULL && example->context_names != NULL, BW_NO_MEMORY, "reply");
    for (; example->n_context_names < record->context_name_count; example->n_context_names++) {
        char *name = bw_arena_copy(trial->arena, bw_bytes_text(record->context_names[example->n_context_names]));
        BW_CHECK(name != NULL, BW_NO_MEMORY, "reply");
        example->context_names[example->n_context_names] = name;
    }
    trial->reply->examples[trial->reply->n_examples++] = example;
    return bw_success();
}

static bw_result try_record(struct trial *trial, const struct bw_audit_row *row, struct bw_arena *arena)
{
    struct bw_record       record;
    struct bw_record_stamp stamp;
    enum bw_code           reason;
    Count                 *count;

    BW_TRY(bw_record_decode(row->essential, row->who, row->context, arena, &record, &stamp));
    BW_TRY(count_of(trial, &record, &count));
    trial->full             = count == NULL;
    trial->reply->next_index = trial->full ? row->index : row->index + 1;
    if (trial->full)
        return bw_success();
    enum verdict verdict = judge(trial, &record, &stamp, &reason);
    *(verdict == ALLOWED ? &count->allowed : verdict == REFUSED ? &count->refused : &count->depends) += 1;
    if (verdict != ALLOWED && trial->reply->n_examples < trial->examples)
        return add_example(trial, row->index, &record, &stamp, verdict, reason, count);
    return bw_success();
}

/* ---- all of them ---- */

static bw_result try_rows(struct trial *trial, const struct bw_audit_found *found, struct bw_arena *arena)
{
    for (size_t i = 0; i < found->count && !trial->full; i++) {
        BW_TRY(try_record(trial, &found->rows[i], arena));
        trial->reply->records += !trial->full;
    }
    return bw_success();
}

static bw_result try_all(struct trial *trial, struct bw_audit_query *query)
{
    Reply *reply = trial->reply;

    reply->more = true;
    while (reply->more && !trial->full && reply->records < RECORDS_MAX) {
        struct bw_arena       arena = { 0 };
        struct bw_audit_found found;
        bw_result result = bw_audit_find(trial->daemon->audit, query, &arena, &found);
        if (bw_ok(result))
            result = try_rows(trial, &found, &arena);
        bw_arena_clear(&arena);
        BW_TRY(result);
        reply->more = found.more || trial->full;
        query->from_index = reply->next_index;
    }
    return bw_success();
}

/* Uses of keys; what was refused then is no loss. */
static size_t uses_of_keys(uint32_t operations[static 64])
{
    const struct bw_method *method;
    size_t count = 0;

    for (size_t i = 0; (method = bw_method_at(i)) != NULL && count < 64; i++)
        if (method->effect == BW_EFFECT_USES && method->use != 0)
            operations[count++] = (uint32_t)method->number;
    return count;
}

bw_result bw_op_test_key_policy(struct bw_daemon *daemon, struct bw_job *job)
{
    static const enum bw_outcome granted = BW_OUTCOME_GRANTED;
    const Request *request = (const void *)job->request.message;
    uint32_t operations[64];
    BW_AUTO(policy) policy = NULL;
    struct trial trial = { .daemon = daemon, .arena = bw_job_arena(job), .reply = bw_op_reply(job),
                           .examples = request->examples ? request->examples : EXAMPLES_DEFAULT };
    struct bw_audit_query query = {
        .has_key = true, .key = bw_grant_key(job->grant)->name.id, .operations = operations, .operation_count = uses_of_keys(operations),
        .outcomes = &granted, .outcome_count = 1, .from_us = request->from_us ? request->from_us : bw_now_us() - 7 * BW_DAY_US,
        .to_us = request->to_us, .from_index = request->from_index, .limit = CHUNK,
    };

    BW_CHECK(trial.reply != NULL, BW_NO_MEMORY, "reply");
    trial.reply->counts   = bw_arena_alloc(trial.arena, COUNTS_MAX * sizeof *trial.reply->counts);
    trial.reply->examples = bw_arena_alloc(trial.arena, trial.examples * sizeof *trial.reply->examples);
    BW_CHECK(trial.reply->counts != NULL && trial.reply->examples != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_policy_compile(bw_bytes_text(request->policy), &policy));
    trial.policy = policy;
    BW_TRY(bw_op_audit_log(daemon, job, false, &query.log));
    return try_all(&trial, &query);
}
