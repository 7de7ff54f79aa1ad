/* Keys: making, showing, changing. */
#include <stdlib.h>
#include <string.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "destruction.h"
#include "housekeeping.h"
#include "hsm.h"
#include "intent.h"
#include "key_grant.h"
#include "making.h"
#include "material.h"
#include "op.h"
#include "rotation.h"
#include "stages.h"
#include "wire.h"

#include "key_message.h"

enum { LIST_BYTES = BW_MESSAGE_MAX - 64 * 1024 }; /* what a page may have, so that the reply fits into a message */

/* ---- the change itself, and the answer ---- */

/* All replies to changes of a key have the same two fields; the receipt is filled when the record is written. */
static bw_result answer(struct bw_job *job, const struct bw_key *key)
{
    Bailiwick__V1__CreateKeyReply *reply = bw_op_reply(job);

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return bw_key_message(key, false, bw_job_arena(job), &reply->key);
}
#define SAME_REPLY(other) \
    _Static_assert(sizeof(Bailiwick__V1__##other##Reply) == sizeof(Bailiwick__V1__CreateKeyReply) && \
                   offsetof(Bailiwick__V1__##other##Reply, key) == offsetof(Bailiwick__V1__CreateKeyReply, key), #other)
SAME_REPLY(UpdateKey);
SAME_REPLY(RotateKey);
SAME_REPLY(EnableKey);
SAME_REPLY(DisableKey);
SAME_REPLY(ScheduleDeletion);
SAME_REPLY(CancelDeletion);
SAME_REPLY(SetKeyPolicy);
SAME_REPLY(PurgeKey);

static bw_result change(struct bw_daemon *daemon, struct bw_job *job, const struct bw_key_change *what)
{
    const struct bw_key *key = bw_grant_key(job->grant), *changed = NULL;
    struct bw_key_change warranted = *what;
    enum bw_key_state next;

    BW_TRY(bw_key_state_next(key->state, what->action, &next)); /* no intent for what cannot be */
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 0));
    warranted.warrant = job->warrant;
    BW_TRY(bw_change_key(daemon, &key->name.tenant, &key->name.id, &warranted, &changed));
    bw_result result = answer(job, changed);
    bw_key_unref(changed);
    return result;
}

/* ---- what a request says about a key ---- */

static unsigned uses_of(const Bailiwick__V1__KeyUse *uses, size_t count)
{
    unsigned set = 0;

    for (size_t i = 0; i < count; i++)
        set |= (unsigned)uses[i];
    return set;
}

static bw_result check_aliases(char *const *aliases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            BW_CHECK_AT(strcmp(aliases[i], aliases[j]) != 0, BW_BAD_ARGUMENT, "aliases", "the same alias twice");
    return bw_success();
}

static bw_result pairs_of(Bailiwick__V1__Pair *const *tags, size_t count, struct bw_arena *arena, struct bw_text_pair **ret_pairs)
{
    struct bw_text_pair *pairs = bw_arena_alloc(arena, count * sizeof *pairs);

    BW_CHECK(pairs != NULL, BW_NO_MEMORY, "tags");
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct bw_text_pair){ tags[i]->name, tags[i]->value };
    *ret_pairs = pairs;
    return bw_success();
}

static bool is_app(const struct bw_job *job) { return job->caller.identity.role == BW_ROLE_APP; }

/* ---- CreateKey ---- */

/* An application's own key is its own: what others may do with it is for the custodians to say, with SetKeyPolicy. */
static bw_result choose_policy(struct bw_job *job, const char *asked, const char **ret_text)
{
    if (is_app(job)) {
        BW_CHECK_AT(asked[0] == '\0', BW_NOT_PERMITTED, "policy", "applications set no policies");
        *ret_text = bw_arena_text(bw_job_arena(job), "{\"rules\": [{\"name\": \"its owner\", \"principals\": [\"app/%s\"]}]}",
                                  job->caller.identity.principal.text);
        BW_CHECK(*ret_text != NULL, BW_NO_MEMORY, "policy");
        return bw_success();
    }
    *ret_text = asked[0] != '\0' ? asked : BW_POLICY_DEFAULT;
    return bw_success();
}

static bw_result check_origin(const struct bw_daemon *daemon, const Bailiwick__V1__CreateKeyRequest *request, const struct bw_spec_row *spec)
{
    if (request->origin != BAILIWICK__V1__KEY_ORIGIN__IMPORTED)
        return bw_success();
    BW_CHECK_AT(bw_hsm_imports(daemon->hsm, spec), BW_NOT_IMPORTABLE, "spec", "this region's HSM does not unwrap keys of this kind inside");
    BW_CHECK_AT(request->rotation_days == 0, BW_BAD_ARGUMENT, "rotation_days", "imported keys do not rotate by themselves");
    return bw_success();
}

static bw_result draft_of(struct bw_daemon *daemon, struct bw_job *job, struct bw_key *draft)
{
    const Bailiwick__V1__CreateKeyRequest *request = (const void *)job->request.message;

    memset(draft, 0, sizeof *draft);
    draft->spec = bw_spec_row((enum bw_spec)request->spec);
    BW_CHECK_AT(draft->spec != NULL, BW_BAD_ARGUMENT, "spec", "no such kind of key");
    draft->uses = request->n_uses ? uses_of(request->uses, request->n_uses) : draft->spec->uses;
    BW_CHECK_AT((draft->uses & ~draft->spec->uses) == 0, BW_TEMPLATE_INVALID, "uses", "keys of this kind cannot do that");
    BW_TRY(check_origin(daemon, request, draft->spec));
    BW_CHECK_AT(request->expires_us == 0 || request->expires_us > bw_now_us(), BW_BAD_ARGUMENT, "expires_us", "it has passed");
    BW_TRY(check_aliases(request->aliases, request->n_aliases));
    BW_TRY(pairs_of(request->tags, request->n_tags, bw_job_arena(job), &draft->tags));
    BW_TRY(choose_policy(job, request->policy, &draft->policy_text));
    draft->name.region = daemon->region;
    draft->name.tenant = job->caller.identity.tenant;
    bw_make_id(&daemon->region, &draft->name.tenant, job->request.request_id, draft->name.id.bytes);
    draft->tag_count   = request->n_tags;
    draft->aliases     = (const char **)request->aliases;
    draft->alias_count = request->n_aliases;
    draft->label       = request->label;
    draft->cka_id      = bw_wire_bytes(request->cka_id);
    draft->description = request->description;
    draft->owner       = is_app(job) ? job->caller.spiffe_id : "";
    draft->origin      = request->origin ? (enum bw_key_origin)request->origin : BW_ORIGIN_GENERATED;
    draft->state       = draft->origin == BW_ORIGIN_IMPORTED ? BW_STATE_PENDING_IMPORT : BW_STATE_ENABLED;
    draft->created_us  = bw_now_us();
    draft->expires_us  = request->expires_us;
    draft->rotation_days = request->rotation_days;
    draft->generation  = 1;
    return bw_success();
}

/* Compiles the policy and checks the rest before the HSM makes anything. */
static bw_result rehearse(struct bw_daemon *daemon, const struct bw_key *draft)
{
    struct bw_key *key;
    const struct bw_key *holder;

    BW_TRY(bw_key_new(daemon->registry, draft, &key));
    bw_key_unref(key);
    for (size_t i = 0; i < draft->alias_count; i++) {
        if (!bw_ok(bw_registry_key_by_alias(daemon->registry, &draft->name.tenant, bw_bytes_text(draft->aliases[i]), &holder)))
            continue;
        bw_key_unref(holder);
        return bw_fail_at(BW_ALREADY_EXISTS, "aliases", "another key of the tenant has this alias");
    }
    return bw_success();
}

/* A key without material: it waits for its import. */
static bw_result announce(struct bw_daemon *daemon, struct bw_job *job, struct bw_key *draft)
{
    const struct bw_key *key = NULL;

    BW_TRY(rehearse(daemon, draft));
    BW_TRY(bw_intent_write(daemon, job, &draft->name.id, 0));
    BW_TRY(bw_change_add_key(daemon, draft, job->warrant, &key));
    bw_housekeeping_wake(daemon->housekeeping); /* makes what the material will be wrapped with */
    bw_result result = answer(job, key);
    bw_key_unref(key);
    return result;
}

static bw_result make(struct bw_daemon *daemon, struct bw_job *job, struct bw_key *draft)
{
    struct bw_token *token = bw_grant_tenant(job->grant)->token;
    struct bw_key_version version;
    const struct bw_key *key = NULL;

    BW_CHECK(token != NULL, BW_TENANT_SEALED, "the tenant has no open token");
    BW_TRY(rehearse(daemon, draft));
    BW_TRY(bw_intent_write(daemon, job, &draft->name.id, 1));
    BW_TRY(bw_make_version(token, draft->spec, &draft->name, 1, bw_job_arena(job), &version));
    draft->versions      = &version;
    draft->version_count = 1;
    bw_result result = bw_change_add_key(daemon, draft, job->warrant, &key);
    if (!bw_ok(result)) {
        (void)bw_hsm_destroy(token, &draft->name.id, 1); /* should that fail too, the next start finds the intent */
        return result;
    }
    result = answer(job, key);
    bw_key_unref(key);
    return result;
}

/* The request made this key before, and its answer was lost. */
static bool is_same(const struct bw_key *key, const struct bw_key *draft)
{
    return key->spec == draft->spec && strcmp(key->owner, draft->owner) == 0 && key->state == draft->state && key->origin == draft->origin &&
           strcmp(key->label, draft->label) == 0 && key->uses == draft->uses && key->rotation_days == draft->rotation_days && key->expires_us == draft->expires_us &&
           strcmp(key->policy_text, draft->policy_text) == 0;
}

bw_result bw_op_create_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *before = NULL;
    struct bw_key draft;

    BW_TRY(draft_of(daemon, job, &draft));
    if (!bw_ok(bw_registry_key(daemon->registry, &draft.name.tenant, &draft.name.id, &before)))
        return draft.origin == BW_ORIGIN_IMPORTED ? announce(daemon, job, &draft) : make(daemon, job, &draft);
    job->entry.record.has_key = true;
    job->entry.record.key     = draft.name.id;
    bw_result result = is_same(before, &draft) ? answer(job, before) : bw_fail_at(BW_REQUEST_REUSED, "request_id", "it made another key");
    bw_key_unref(before);
    return result;
}

/* ---- RotateKey ---- */

bw_result bw_op_rotate_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *granted = bw_grant_key(job->grant), *rotated = NULL;
    const uint8_t *request_id = job->request.request_id;
    enum bw_key_state next;

    if (bw_rotation_was(granted, request_id))
        return answer(job, granted); /* of a daemon that died before it kept the answer */
    BW_TRY(bw_key_state_next(granted->state, BW_KEY_ROTATE, &next));
    BW_TRY(bw_intent_write(daemon, job, &granted->name.id, 0));
    BW_TRY(bw_rotation_run(daemon, &granted->name, 0, request_id, bw_job_arena(job), &rotated));
    job->entry.record.key_version = bw_key_primary(rotated)->number;
    bw_result result = answer(job, rotated);
    bw_key_unref(rotated);
    return result;
}

/* ---- life ---- */

static bw_result check_material(struct bw_key *draft, const void *how)
{
    (void)how;
    BW_CHECK(bw_key_primary(draft) != NULL, BW_KEY_STATE, "the key has no material yet");
    return bw_success();
}

bw_result bw_op_enable_key(struct bw_daemon *daemon, struct bw_job *job)
{
    return change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_ENABLE, .alter = check_material });
}

/* Once the registry says so nothing more is released; the copies in the HSM go as well. */
static void cut_off(struct bw_daemon *daemon, const struct bw_key *key, enum bw_code reason)
{
    const struct bw_tenant_info *tenant;

    if (!bw_ok(bw_registry_tenant(daemon->registry, &key->name.tenant, &tenant)))
        return;
    if (tenant->token != NULL)
        bw_hsm_forget(tenant->token, &key->name.id, reason);
    bw_tenant_info_unref(tenant);
}

bw_result bw_op_disable_key(struct bw_daemon *daemon, struct bw_job *job)
{
    BW_TRY(change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_DISABLE }));
    cut_off(daemon, bw_grant_key(job->grant), BW_KEY_DISABLED);
    return bw_success();
}

/* Never sooner than was said before. */
static bw_result put_off(struct bw_key *draft, const void *how)
{
    const int64_t *when = how;

    BW_CHECK_AT(*when >= draft->deletion_us, BW_KEY_STATE, "days", "a deletion is put off, never brought forward");
    draft->deletion_us = *when;
    return bw_success();
}

bw_result bw_op_schedule_deletion(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ScheduleDeletionRequest *request = (const void *)job->request.message;
    uint32_t days = request->days ? request->days : BW_DELETION_DAYS_DEFAULT;
    int64_t  when = bw_now_us() + (int64_t)days * BW_DAY_US;

    BW_CHECK_AT(days >= BW_DELETION_DAYS_MIN && days <= BW_DELETION_DAYS_MAX, BW_BAD_ARGUMENT, "days", "not 7 to 90");
    BW_TRY(change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_SCHEDULE, .alter = put_off, .how = &when }));
    cut_off(daemon, bw_grant_key(job->grant), BW_KEY_STATE);
    return bw_success();
}

/* A key whose material did not come, or has expired meanwhile, waits for it again. */
static bw_result forget_deletion(struct bw_key *draft, const void *how)
{
    (void)how;
    draft->deletion_us = 0;
    if (bw_key_primary(draft) == NULL)
        draft->state = BW_STATE_PENDING_IMPORT;
    return bw_success();
}

bw_result bw_op_cancel_deletion(struct bw_daemon *daemon, struct bw_job *job)
{
    return change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_CANCEL, .alter = forget_deletion });
}

/* The purge is on record when the key's end is in the store. What an HSM that fails leaves of the material is the region's to
 * destroy, as after a crash. */
bw_result bw_op_purge_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const struct bw_key *key = bw_grant_key(job->grant), *purged = NULL;
    enum bw_key_state next;

    BW_TRY(bw_key_state_next(key->state, BW_KEY_PURGE, &next));
    BW_CHECK(bw_grant_tenant(job->grant)->token != NULL, BW_TENANT_SEALED, "the tenant has no open token");
    BW_TRY(bw_intent_write(daemon, job, &key->name.id, 0));
    BW_TRY(bw_destruction_purge(daemon, key, job->warrant, &purged));
    bw_result result = answer(job, purged);
    bw_key_unref(purged);
    return result;
}

/* ---- UpdateKey, SetKeyPolicy ---- */

/* One row for each field that UpdateKey can set. */
struct update {
    const Bailiwick__V1__UpdateKeyRequest *request;
    struct bw_text_pair   *tags;
    struct bw_key_version *version; /* room for one */
};

static bw_result set_label(struct bw_key *draft, const struct update *u)       { draft->label = u->request->label; return bw_success(); }
static bw_result set_cka_id(struct bw_key *draft, const struct update *u)      { draft->cka_id = bw_wire_bytes(u->request->cka_id); return bw_success(); }
static bw_result set_description(struct bw_key *draft, const struct update *u) { draft->description = u->request->description; return bw_success(); }

static bw_result set_rotation(struct bw_key *draft, const struct update *u)    { draft->rotation_days = u->request->rotation_days; return bw_success(); }

static bw_result set_minimum(struct bw_key *draft, const struct update *u)
{
    const struct bw_key_version *primary = bw_key_primary(draft);
    uint32_t minimum = u->request->minimum_version;

    BW_CHECK_AT(minimum == 0 || (primary != NULL && minimum <= primary->number), BW_BAD_ARGUMENT, "minimum_version", "newer than the primary version");
    draft->minimum_version = minimum;
    return bw_success();
}

static bw_result set_expiry(struct bw_key *draft, const struct update *u)      { draft->expires_us = u->request->expires_us; return bw_success(); }

static bw_result set_material_expiry(struct bw_key *draft, const struct update *u)
{
    BW_CHECK_AT(draft->origin == BW_ORIGIN_IMPORTED && bw_key_primary(draft) != NULL, BW_KEY_STATE, "material_expires_us", "the key has no imported material");
    *u->version = draft->versions[0]; /* an imported key has one */
    u->version->material_expires_us = u->request->material_expires_us;
    draft->versions = u->version;
    return bw_success();
}

static bw_result set_aliases(struct bw_key *draft, const struct update *u)
{
    BW_TRY(check_aliases(u->request->aliases, u->request->n_aliases));
    draft->aliases     = (const char **)u->request->aliases;
    draft->alias_count = u->request->n_aliases;
    return bw_success();
}

static bw_result set_tags(struct bw_key *draft, const struct update *u)
{
    draft->tags      = u->tags;
    draft->tag_count = u->request->n_tags;
    return bw_success();
}

static bw_result set_uses(struct bw_key *draft, const struct update *u)
{
    unsigned uses = uses_of(u->request->uses, u->request->n_uses);

    BW_CHECK_AT((uses & ~draft->uses) == 0, BW_TEMPLATE_INVALID, "uses", "a key never gains a use");
    draft->uses = uses;
    return bw_success();
}

static const struct { const char *name; bw_result (*set)(struct bw_key *, const struct update *); } updates[] = {
    { "label",         set_label       },
    { "cka_id",        set_cka_id      },
    { "description",   set_description },
    { "aliases",       set_aliases     },
    { "tags",          set_tags        },
    { "uses",          set_uses        },
    { "rotation_days", set_rotation    },
    { "minimum_version", set_minimum   },
    { "expires_us",    set_expiry      },
    { "material_expires_us", set_material_expiry },
};

static bw_result update_field(struct bw_key *draft, const struct update *u, const char *field)
{
    for (size_t i = 0; i < ARRAY_LEN(updates); i++)
        if (strcmp(field, updates[i].name) == 0)
            return updates[i].set(draft, u);
    return bw_fail_at(BW_BAD_ARGUMENT, "fields", "no such field, or one that cannot be set");
}

static bw_result update(struct bw_key *draft, const void *how)
{
    const struct update *u = how;

    for (size_t i = 0; i < u->request->n_fields; i++)
        BW_TRY(update_field(draft, u, u->request->fields[i]));
    return bw_success();
}

bw_result bw_op_update_key(struct bw_daemon *daemon, struct bw_job *job)
{
    struct bw_key_version version;
    struct update u = { .request = (const void *)job->request.message, .version = &version };
    struct bw_key rehearsal;

    BW_TRY(pairs_of(u.request->tags, u.request->n_tags, bw_job_arena(job), &u.tags));
    bw_key_draft(bw_grant_key(job->grant), &rehearsal);
    BW_TRY(update(&rehearsal, &u));
    BW_TRY(change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_UPDATE, .generation = u.request->generation, .alter = update, .how = &u }));
    bw_housekeeping_wake(daemon->housekeeping); /* something may be due by now */
    return bw_success();
}

static bw_result set_policy(struct bw_key *draft, const void *how)
{
    draft->policy_text = how;
    return bw_success();
}

bw_result bw_op_set_key_policy(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__SetKeyPolicyRequest *request = (const void *)job->request.message;
    BW_AUTO(policy) compiled = NULL;

    BW_TRY(bw_policy_compile(bw_bytes_text(request->policy), &compiled));
    return change(daemon, job, &(struct bw_key_change){ .action = BW_KEY_SET_POLICY, .generation = request->generation,
                                                        .alter = set_policy, .how = request->policy });
}

/* ---- GetKey, ListKeys ---- */

/* Custodians and auditors see all keys of their tenant; applications those whose policy is about them. */
static bool may_see(const struct bw_daemon *daemon, const struct bw_job *job, const struct bw_key *key)
{
    return !is_app(job) || bw_key_concerns(key, bw_key_grants_over(key, daemon->registry), &job->caller.identity, &daemon->region, NULL, bw_now_us());
}

static bw_result find(struct bw_daemon *daemon, struct bw_job *job, const char *alias, const struct bw_key **ret_key)
{
    const struct bw_key *key = bw_grant_key(job->grant);

    if (key != NULL) {
        bw_key_ref(key);
        *ret_key = key;
        return bw_success();
    }
    BW_TRY(bw_registry_key_by_alias(daemon->registry, &job->caller.identity.tenant, bw_bytes_text(alias), &key));
    if (key->state == BW_STATE_DESTROYED || !may_see(daemon, job, key)) {
        bw_key_unref(key);
        return bw_fail(BW_NO_SUCH_KEY, "no such alias that the caller may see");
    }
    *ret_key = key;
    return bw_success();
}

bw_result bw_op_get_key(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetKeyRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetKeyReply *reply = bw_op_reply(job);
    const struct bw_key *key;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(find(daemon, job, request->alias, &key));
    bw_result result = bw_key_message(key, false, bw_job_arena(job), &reply->key);
    bw_key_unref(key);
    return result;
}

/* A list being put together. */
struct listing {
    struct bw_daemon *daemon;
    struct bw_job    *job;
    const Bailiwick__V1__ListKeysRequest *request;
    Bailiwick__V1__ListKeysReply         *reply;
    size_t            limit, bytes;
    bw_key_id         last;      /* looked at */
    bool              full;
};

static bool has_expired(const struct bw_key *key, int64_t now_us)
{
    return (key->expires_us != 0 && key->expires_us <= now_us) || bw_material_due(key) <= now_us;
}

static bool is_listed(const struct listing *l, const struct bw_key *key)
{
    if (key->state == BW_STATE_DESTROYED && l->request->state != BAILIWICK__V1__KEY_STATE__DESTROYED)
        return false;
    if (l->request->usable)
        return key->state == BW_STATE_ENABLED && bw_key_primary(key) != NULL && !has_expired(key, bw_now_us()) &&
               bw_key_concerns(key, bw_key_grants_over(key, l->daemon->registry), &l->job->caller.identity, &l->daemon->region, NULL, bw_now_us());
    return may_see(l->daemon, l->job, key);
}

static bw_result list_one(struct listing *l, const struct bw_key *key)
{
    Bailiwick__V1__Key *message;

    if (is_listed(l, key)) {
        BW_TRY(bw_key_message(key, true, bw_job_arena(l->job), &message));
        l->bytes += protobuf_c_message_get_packed_size(&message->base) + 8;
        l->full   = l->reply->n_keys == l->limit || (l->bytes > LIST_BYTES && l->reply->n_keys > 0);
        if (l->full)
            return bw_success(); /* this one is the next page's first */
        l->reply->keys[l->reply->n_keys++] = message;
    }
    l->last = key->name.id;
    return bw_success();
}

static bw_result list_chunk(struct listing *l, const bw_key_id *after, bool *ret_more)
{
    const struct bw_key_filter filter = {
        .label = bw_bytes_text(l->request->label), .cka_id = bw_wire_bytes(l->request->cka_id),
        .spec = (enum bw_spec)l->request->spec, .state = (enum bw_key_state)l->request->state,
    };
    const struct bw_key *keys[64];
    size_t count;

    BW_TRY(bw_registry_list(l->daemon->registry, &l->job->caller.identity.tenant, after, &filter, keys, ARRAY_LEN(keys), &count));
    bw_result result = bw_success();
    for (size_t i = 0; i < count; i++) {
        if (bw_ok(result) && !l->full)
            result = list_one(l, keys[i]);
        bw_key_unref(keys[i]);
    }
    *ret_more = count == ARRAY_LEN(keys) && !l->full;
    return result;
}

static bw_result start_after(const Bailiwick__V1__Page *page, bw_key_id *after, bool *ret_given)
{
    const char *token = page ? page->token : "";

    *ret_given = token[0] != '\0';
    BW_CHECK_AT(!*ret_given || (strlen(token) == 2 * BW_KEY_ID_LEN && bw_unhex(token, strlen(token), after->bytes)),
                BW_BAD_ARGUMENT, "page.token", "not a token of ours");
    return bw_success();
}

bw_result bw_op_list_keys(struct bw_daemon *daemon, struct bw_job *job)
{
    struct listing l = { .daemon = daemon, .job = job, .request = (const void *)job->request.message, .reply = bw_op_reply(job) };
    struct bw_arena *arena = bw_job_arena(job);
    bool after, more = true;

    l.limit = l.request->page && l.request->page->size ? l.request->page->size : BW_PAGE_DEFAULT;
    BW_CHECK(l.reply != NULL && (l.reply->keys = bw_arena_alloc(arena, l.limit * sizeof *l.reply->keys)) != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(start_after(l.request->page, &l.last, &after));
    /* read first: a change while we list makes the next list differ from what this says */
    BW_TRY(bw_registry_contents(daemon->registry, &job->caller.identity.tenant, &l.reply->generation));
    for (; more; after = true)
        BW_TRY(list_chunk(&l, after ? &l.last : NULL, &more));
    if (l.full) {
        l.reply->next_token = bw_arena_alloc(arena, 2 * BW_KEY_ID_LEN + 1);
        BW_CHECK(l.reply->next_token != NULL, BW_NO_MEMORY, "reply");
        bw_hex((bw_bytes){ l.last.bytes, sizeof l.last.bytes }, l.reply->next_token);
    }
    return bw_success();
}
