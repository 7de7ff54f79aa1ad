/* Grants on a key: given, listed, revoked. */
#include <string.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "intent.h"
#include "key_grant.h"
#include "making.h"
#include "op.h"
#include "stages.h"

#include "bailiwick/v1/keys.pb-c.h"

typedef Bailiwick__V1__Grant              Message;
typedef Bailiwick__V1__CreateGrantRequest CreateRequest;
typedef Bailiwick__V1__CreateGrantReply   CreateReply;
typedef Bailiwick__V1__ListGrantsReply    ListReply;
typedef Bailiwick__V1__RevokeGrantRequest RevokeRequest;
typedef Bailiwick__V1__RevokeGrantReply   RevokeReply;

enum { ID_LEN = 16, HANDED_ON_MAX = BW_GRANTS_MAX / 2 /* the rest is for custodians: no grantee can use up a key's grants */ };

static bool is_app(const struct bw_job *job) { return job->caller.identity.role == BW_ROLE_APP; }

/* ---- as text ---- */

static bw_result read_id(const char *text, uint8_t id[static ID_LEN])
{
    BW_CHECK(strlen(text) == 2 * ID_LEN && bw_unhex(text, 2 * ID_LEN, id), BW_BAD_ARGUMENT, "not the id of a grant");
    return bw_success();
}

static bw_result print_id(const uint8_t id[static ID_LEN], struct bw_arena *arena, char **ret_text)
{
    char *text = bw_arena_alloc(arena, 2 * ID_LEN + 1);

    BW_CHECK(text != NULL, BW_NO_MEMORY, "reply");
    bw_hex(bw_bytes_of(id, ID_LEN), text);
    *ret_text = text;
    return bw_success();
}

static bw_result message_of(const struct bw_key *key, const struct bw_key_grant *grant, struct bw_arena *arena, Message **ret_message)
{
    Message *message = bw_arena_alloc(arena, sizeof *message);
    char name[BW_KEY_NAME_MAX + 1];

    BW_CHECK(message != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__grant__init(message);
    bw_key_name_print(&key->name, name);
    BW_TRY(print_id(grant->id, arena, &message->id));
    if (bw_key_grant_is_handed_on(grant))
        BW_TRY(print_id(grant->parent, arena, &message->parent));
    message->key         = bw_arena_copy(arena, bw_bytes_text(name));
    message->granter     = bw_arena_copy(arena, bw_bytes_text(grant->granter));
    message->terms       = bw_arena_copy(arena, bw_bytes_text(grant->terms));
    message->delegations = grant->delegations;
    message->created_us  = grant->created_us;
    message->expires_us  = grant->expires_us;
    BW_CHECK(message->key != NULL && message->granter != NULL && message->terms != NULL, BW_NO_MEMORY, "reply");
    *ret_message = message;
    return bw_success();
}

/* ---- CreateGrant ---- */

struct giving {
    const struct bw_daemon *daemon;
    const struct bw_job    *job;
    struct bw_key_grant    *grant;
    struct bw_key_grant    *list[BW_GRANTS_MAX]; /* of the key that follows */
};

static bw_result draft_of(struct bw_daemon *daemon, struct bw_job *job, struct bw_key_grant *draft)
{
    const CreateRequest *request = (const void *)job->request.message;

    *draft = (struct bw_key_grant){ .granter = job->caller.spiffe_id, .terms = request->terms, .delegations = request->delegations,
                                    .created_us = bw_now_us(), .expires_us = request->expires_us };
    BW_CHECK_AT(request->parent[0] == '\0' || bw_ok(read_id(request->parent, draft->parent)), BW_BAD_ARGUMENT, "parent", "not the id of a grant");
    bw_make_id(&daemon->region, &job->caller.identity.tenant, job->request.request_id, draft->id);
    return bw_success();
}

static bw_result check_time(const struct bw_key_grant *grant)
{
    BW_CHECK_AT(grant->expires_us > grant->created_us, BW_BAD_ARGUMENT, "expires_us", "missing, or over already");
    BW_CHECK_AT(grant->expires_us <= grant->created_us + BW_GRANT_DAYS_MAX * BW_DAY_US, BW_BAD_ARGUMENT, "expires_us", "more than 366 days from now");
    return bw_success();
}

static bool is_over(const struct bw_daemon *daemon, const struct bw_key *key, const struct bw_key_grant *grant)
{
    const uint64_t over = bw_key_grants_over(key, daemon->registry);

    for (size_t i = 0; i < key->grant_count; i++)
        if (key->grants[i] == grant)
            return over >> i & 1;
    return false;
}

/* What somebody has who is no custodian, he has from another grant: that one must name him and may be handed on. */
static bw_result check_parent(const struct giving *giving, const struct bw_key *key)
{
    const struct bw_key_grant *grant = giving->grant, *parent = bw_key_grant_find(key, grant->parent, grant->created_us);
    const bw_region *home = &giving->daemon->region;

    if (parent != NULL && is_over(giving->daemon, key, parent))
        parent = NULL;
    BW_CHECK_AT(bw_key_grant_is_handed_on(grant), BW_NOT_PERMITTED, "parent", "an application hands on what it was granted");
    BW_CHECK_AT(parent != NULL && bw_policy_concerns(parent->policy, &giving->job->caller.identity, home, NULL), BW_NO_SUCH_GRANT, "parent",
                "no such grant to the caller");
    BW_CHECK_AT(grant->delegations < parent->delegations, BW_GRANT_WIDER, "delegations", "not fewer than those of what it is made from");
    return bw_policy_check_narrower(grant->policy, parent->policy, home);
}

static bw_result check_giver(const struct giving *giving, const struct bw_key *key)
{
    if (is_app(giving->job))
        return check_parent(giving, key);
    BW_CHECK_AT(!bw_key_grant_is_handed_on(giving->grant), BW_BAD_ARGUMENT, "parent", "custodians hand on nothing: they grant");
    return bw_success();
}

static size_t count_handed_on(const struct bw_key *key)
{
    size_t count = 0;

    for (size_t i = 0; i < key->grant_count; i++)
        count += bw_key_grant_is_handed_on(key->grants[i]);
    return count;
}

/* Those that are over, by time or because who handed them on was revoked. */
static void drop_over(struct bw_key *key, struct bw_key_grant **list, const struct bw_daemon *daemon, int64_t now_us)
{
    const uint64_t over = bw_key_grants_over(key, daemon->registry);
    size_t count = 0;

    for (size_t i = 0; i < key->grant_count; i++)
        if (!(over >> i & 1) && key->grants[i]->expires_us > now_us)
            list[count++] = key->grants[i];
    key->grants      = list;
    key->grant_count = count;
}

/* Asked twice: before the intent, and of the key as it stands when it changes. */
static bw_result give(struct bw_key *draft, const void *how)
{
    struct giving *giving = (struct giving *)(uintptr_t)how;
    struct bw_key_grant *grant = giving->grant;

    BW_TRY(check_time(grant));
    BW_TRY(bw_policy_check_terms(grant->policy, draft->uses, draft->spec->key_type));
    BW_TRY(check_giver(giving, draft));
    drop_over(draft, giving->list, giving->daemon, grant->created_us);
    BW_CHECK(draft->grant_count < BW_GRANTS_MAX, BW_QUOTA, "the key has as many grants as it may have");
    BW_CHECK(!bw_key_grant_is_handed_on(grant) || count_handed_on(draft) < HANDED_ON_MAX, BW_QUOTA, "as many grants of the key were handed on as may be");
    giving->list[draft->grant_count++] = grant;
    return bw_success();
}

static bool is_same(const struct bw_key_grant *one, const struct bw_key_grant *other)
{
    return strcmp(one->terms, other->terms) == 0 && strcmp(one->granter, other->granter) == 0 && one->delegations == other->delegations &&
           one->expires_us == other->expires_us && memcmp(one->parent, other->parent, sizeof one->parent) == 0;
}

static bw_result answer_create(struct bw_job *job, const struct bw_key *key, const struct bw_key_grant *grant)
{
    CreateReply *reply = bw_op_reply(job);

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return message_of(key, grant, bw_job_arena(job), &reply->grant);
}

static bw_result change(struct bw_daemon *daemon, struct bw_job *job, bw_key_change_fn alter, void *how)
{
    const struct bw_key *key = bw_grant_key(job->grant), *changed = NULL;
    enum bw_key_state next;
    struct bw_key rehearsal;

    BW_TRY(bw_key_state_next(key->state, BW_KEY_SET_POLICY, &next));
    bw_key_draft(key, &rehearsal);
    BW_TRY(alter(&rehearsal, how));
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 0));
    BW_TRY(bw_change_key(daemon, &key->name.tenant, &key->name.id, &(struct bw_key_change){ .action = BW_KEY_SET_POLICY, .alter = alter, .how = how,
                                                                                                     .warrant = job->warrant }, &changed));
    bw_key_unref(changed);
    return bw_success();
}

bw_result bw_op_create_grant(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    struct giving giving = { .daemon = daemon, .job = job };
    BW_AUTO(key_grant) grant = NULL;
    struct bw_key_grant draft;

    BW_TRY(draft_of(daemon, job, &draft));
    BW_TRY(bw_key_grant_new(&draft, &grant));
    const struct bw_key_grant *before = bw_key_grant_find(key, grant->id, 0);
    if (before != NULL) {
        BW_CHECK_AT(is_same(before, grant), BW_REQUEST_REUSED, "request_id", "it made another grant");
        return answer_create(job, key, before);
    }
    giving.grant = grant;
    BW_TRY(change(daemon, job, give, &giving));
    return answer_create(job, key, grant);
}

/* ---- who may see and revoke a grant ---- */

/* Made by the application, or from what it made. */
static bool is_callers(const struct bw_job *job, const struct bw_key *key, const struct bw_key_grant *grant)
{
    for (const struct bw_key_grant *at = grant; at != NULL; at = bw_key_grant_find(key, at->parent, 0))
        if (strcmp(at->granter, job->caller.spiffe_id) == 0)
            return true;
    return false;
}

static bool may_see(const struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key *key, const struct bw_key_grant *grant)
{
    return !is_app(job) || is_callers(job, key, grant) || bw_policy_concerns(grant->policy, &job->caller.identity, &daemon->region, NULL);
}

/* ---- ListGrants ---- */

bw_result bw_op_list_grants(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *key = bw_grant_key(job->grant);
    ListReply *reply = bw_op_reply(job);
    const uint64_t over = bw_key_grants_over(key, daemon->registry);
    int64_t now_us = bw_now_us();

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    reply->grants = bw_arena_alloc(bw_job_arena(job), key->grant_count * sizeof *reply->grants);
    BW_CHECK(reply->grants != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; i < key->grant_count; i++)
        if (!(over >> i & 1) && key->grants[i]->expires_us > now_us && may_see(daemon, job, key, key->grants[i]))
            BW_TRY(message_of(key, key->grants[i], bw_job_arena(job), &reply->grants[reply->n_grants++]));
    return bw_success();
}

/* ---- RevokeGrant ---- */

struct taking {
    const struct bw_daemon *daemon;
    const struct bw_job    *job;
    uint8_t                 id[ID_LEN];
    struct bw_key_grant    *list[BW_GRANTS_MAX];          /* of the key that follows */
    uint8_t                 ended[BW_GRANTS_MAX][ID_LEN]; /* the grant and what was made from it */
    size_t                  ended_count;
};

static bw_result take(struct bw_key *draft, const void *how)
{
    struct taking *taking = (struct taking *)(uintptr_t)how;
    const struct bw_key_grant *grant = bw_key_grant_find(draft, taking->id, bw_now_us());
    size_t count = 0;

    BW_CHECK_AT(grant != NULL && may_see(taking->daemon, taking->job, draft, grant), BW_NO_SUCH_GRANT, "id", "no such grant on the key");
    BW_CHECK_AT(!is_app(taking->job) || is_callers(taking->job, draft, grant), BW_NOT_PERMITTED, "id", "it is another's to revoke");
    uint64_t family = bw_key_grant_family(draft, grant);
    taking->ended_count = 0;
    for (size_t i = 0; i < draft->grant_count; i++) {
        if (family >> i & 1)
            memcpy(taking->ended[taking->ended_count++], draft->grants[i]->id, ID_LEN);
        else
            taking->list[count++] = draft->grants[i];
    }
    draft->grants      = taking->list;
    draft->grant_count = count;
    return bw_success();
}

bw_result bw_op_revoke_grant(struct bw_daemon *daemon, struct bw_job *job)
{
    const RevokeRequest *request = (const void *)job->request.message;
    struct taking taking = { .daemon = daemon, .job = job };
    struct bw_arena *arena = bw_job_arena(job);

    BW_CHECK_AT(bw_ok(read_id(request->id, taking.id)), BW_BAD_ARGUMENT, "id", "not the id of a grant");
    BW_TRY(change(daemon, job, take, &taking));
    RevokeReply *reply = bw_op_reply(job);
    BW_CHECK(reply != NULL && (reply->ended = bw_arena_alloc(arena, taking.ended_count * sizeof *reply->ended)) != NULL, BW_NO_MEMORY, "reply");
    for (; reply->n_ended < taking.ended_count; reply->n_ended++)
        BW_TRY(print_id(taking.ended[reply->n_ended], arena, &reply->ended[reply->n_ended]));
    return bw_success();
}
