/* Certificates, what they are trusted for, and data that PKCS#11 clients keep beside keys. Nothing secret. */
#include <stdlib.h>
#include <string.h>

#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "intent.h"
#include "making.h"
#include "object_trust.h"
#include "op.h"
#include "stages.h"
#include "store.h"
#include "wire.h"

#include "bailiwick/v1/objects.pb-c.h"

enum { LIST_BYTES = BW_MESSAGE_MAX - 2 * BW_OBJECT_MAX, CHUNK = 8 };

/* ---- as they stand in replies ---- */

/* What the object points to is in the arena already, each with a NUL behind it. */
static char *text_of(bw_bytes bytes) { return bytes.len > 0 ? (char *)(uintptr_t)bytes.data : (char *)(uintptr_t)""; }

static bw_result describe(const struct bw_object *object, struct bw_arena *arena, Bailiwick__V1__Object **ret_message)
{
    Bailiwick__V1__Object *message = bw_arena_alloc(arena, sizeof *message);
    uint8_t *id = bw_arena_copy(arena, (bw_bytes){ object->id, sizeof object->id });

    BW_CHECK(message != NULL && id != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__object__init(message);
    message->id          = bw_wire_data((bw_bytes){ id, sizeof object->id });
    message->class_      = (Bailiwick__V1__ObjectClass)object->class;
    message->label       = text_of(object->label);
    message->cka_id      = bw_wire_data(object->cka_id);
    message->application = text_of(object->application);
    message->object_id   = bw_wire_data(object->object_id);
    message->owner       = text_of(object->owner);
    message->created_us  = object->created_us;
    message->generation  = object->generation;
    if (object->class == BAILIWICK__V1__OBJECT_CLASS__TRUST)
        BW_TRY(bw_object_trust_read(object, arena, &message->trust));
    else
        message->value = bw_wire_data(object->value);
    *ret_message = message;
    return bw_success();
}

/* ---- PutObject, DeleteObject ---- */

static bool is_app(const struct bw_job *job) { return job->caller.identity.role == BW_ROLE_APP; }

static bw_result check_owner(const struct bw_job *job, const struct bw_object *object)
{
    BW_CHECK(!is_app(job) || bw_bytes_equal(object->owner, bw_bytes_text(job->caller.spiffe_id)), BW_NOT_PERMITTED,
             "the object belongs to another principal");
    return bw_success();
}

static bw_bytes owner_of_new(const struct bw_job *job) { return is_app(job) ? bw_bytes_text(job->caller.spiffe_id) : (bw_bytes){ NULL, 0 }; }

static struct bw_object new_object(const struct bw_job *job, const Bailiwick__V1__Object *asked)
{
    return (struct bw_object){ .tenant = job->caller.identity.tenant, .class = (unsigned)asked->class_, .owner = owner_of_new(job), .created_us = bw_now_us() };
}

/* What the caller says of that certificate: its object if there is one, or a new one. */
static bw_result begin_trust(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__Object *asked, struct bw_object *ret_object)
{
    const bw_tenant *tenant = &job->caller.identity.tenant;
    uint8_t id[16];

    BW_TRY(bw_object_trust_may_say(daemon, job, asked->trust));
    BW_TRY(bw_object_trust_id(daemon, tenant, owner_of_new(job), asked->trust, id));
    bw_result result = bw_store_get_object(daemon->store, tenant, id, bw_job_arena(job), ret_object);
    if (result.code != BW_NO_SUCH_OBJECT)
        return result;
    *ret_object = new_object(job, asked);
    memcpy(ret_object->id, id, sizeof id);
    return bw_success();
}

static bw_result check_certificate(struct bw_daemon *daemon, const struct bw_object *object, const Bailiwick__V1__Object *asked)
{
    uint8_t id[16];

    if (object->class != BAILIWICK__V1__OBJECT_CLASS__TRUST)
        return bw_success();
    BW_TRY(bw_object_trust_id(daemon, &object->tenant, object->owner, asked->trust, id));
    BW_CHECK_AT(memcmp(id, object->id, sizeof id) == 0, BW_TEMPLATE_INVALID, "object.trust", "trust stays with its certificate");
    return bw_success();
}

/* What the request leaves as it is, or makes new. */
static bw_result begin_object(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__Object *asked, struct bw_object *ret_object)
{
    const bw_tenant *tenant = &job->caller.identity.tenant;

    if (asked->id.len == 0 && asked->class_ == BAILIWICK__V1__OBJECT_CLASS__TRUST)
        return begin_trust(daemon, job, asked, ret_object);
    if (asked->id.len == 0) {
        *ret_object = new_object(job, asked);
        bw_make_id(&daemon->region, tenant, job->request.request_id, ret_object->id);
        return bw_success();
    }
    BW_CHECK_AT(asked->id.len == sizeof ret_object->id, BW_BAD_ARGUMENT, "object.id", "not 16 bytes");
    BW_TRY(bw_store_get_object(daemon->store, tenant, asked->id.data, bw_job_arena(job), ret_object));
    BW_TRY(check_owner(job, ret_object));
    BW_CHECK_AT((unsigned)asked->class_ == ret_object->class, BW_TEMPLATE_INVALID, "object.class", "an object never changes its class");
    BW_TRY(check_certificate(daemon, ret_object, asked));
    BW_CHECK_AT(asked->generation == 0 || asked->generation == ret_object->generation, BW_CONFLICT, "object.generation",
                "the object has changed meanwhile");
    return bw_success();
}

bw_result bw_op_put_object(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__Object *asked = ((const Bailiwick__V1__PutObjectRequest *)(const void *)job->request.message)->object;
    Bailiwick__V1__PutObjectReply *reply = bw_op_reply(job);
    struct bw_object object;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(begin_object(daemon, job, asked, &object));
    object.label       = bw_bytes_text(asked->label);
    object.cka_id      = bw_wire_bytes(asked->cka_id);
    object.value       = bw_wire_bytes(asked->value);
    if (asked->trust != NULL)
        BW_TRY(bw_wire_pack(&asked->trust->base, bw_job_arena(job), &object.value));
    object.application = bw_bytes_text(asked->application);
    object.object_id   = bw_wire_bytes(asked->object_id);
    object.generation++;
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));
    BW_TRY(bw_store_put_object(daemon->store, &object));
    bw_registry_touch(daemon->registry, &object.tenant);
    return describe(&object, bw_job_arena(job), &reply->object);
}

bw_result bw_op_delete_object(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__DeleteObjectRequest *request = (const void *)job->request.message;
    const bw_tenant *tenant = &job->caller.identity.tenant;
    struct bw_object object;

    BW_CHECK_AT(request->id.len == sizeof object.id, BW_BAD_ARGUMENT, "id", "not 16 bytes");
    BW_TRY(bw_store_get_object(daemon->store, tenant, request->id.data, bw_job_arena(job), &object));
    BW_TRY(check_owner(job, &object));
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));
    BW_TRY(bw_store_delete_object(daemon->store, tenant, object.id));
    bw_registry_touch(daemon->registry, tenant);
    BW_CHECK(bw_op_reply(job) != NULL, BW_NO_MEMORY, "reply");
    return bw_success();
}

/* ---- ListObjects ---- */

struct listing {
    struct bw_daemon *daemon;
    struct bw_job    *job;
    const Bailiwick__V1__ListObjectsRequest *request;
    Bailiwick__V1__ListObjectsReply         *reply;
    size_t            limit, bytes;
    uint8_t           last[16];
    bool              full;
};

static bw_result list_one(struct listing *l, const struct bw_object *object)
{
    Bailiwick__V1__Object *message;
    bool shown;

    BW_TRY(bw_object_trust_is_shown(l->daemon, l->job, object, &shown));
    if (shown) {
        BW_TRY(describe(object, bw_job_arena(l->job), &message));
        l->bytes += protobuf_c_message_get_packed_size(&message->base) + 8;
        l->full   = l->reply->n_objects == l->limit || (l->bytes > LIST_BYTES && l->reply->n_objects > 0);
        if (l->full)
            return bw_success(); /* this one is the next page's first */
        l->reply->objects[l->reply->n_objects++] = message;
    }
    memcpy(l->last, object->id, sizeof l->last);
    return bw_success();
}

static bw_result list_chunk(struct listing *l, const uint8_t *after, bool *ret_more)
{
    struct bw_object objects[CHUNK];
    size_t count;

    BW_TRY(bw_store_list_objects(l->daemon->store, &l->job->caller.identity.tenant, after, bw_bytes_text(l->request->label),
                                 bw_wire_bytes(l->request->cka_id), bw_job_arena(l->job), objects, CHUNK, &count));
    for (size_t i = 0; i < count && !l->full; i++)
        BW_TRY(list_one(l, &objects[i]));
    *ret_more = count == CHUNK && !l->full;
    return bw_success();
}

bw_result bw_op_list_objects(struct bw_daemon *daemon, struct bw_job *job)
{
    struct listing l = { .daemon = daemon, .job = job, .request = (const void *)job->request.message, .reply = bw_op_reply(job) };
    struct bw_arena *arena = bw_job_arena(job);
    const char *token = l.request->page ? l.request->page->token : "";
    bool after = token[0] != '\0', more = true;

    l.limit = l.request->page && l.request->page->size ? l.request->page->size : BW_PAGE_DEFAULT;
    BW_CHECK(l.reply != NULL && (l.reply->objects = bw_arena_alloc(arena, l.limit * sizeof *l.reply->objects)) != NULL, BW_NO_MEMORY, "reply");
    BW_CHECK_AT(!after || (strlen(token) == 2 * sizeof l.last && bw_unhex(token, strlen(token), l.last)), BW_BAD_ARGUMENT, "page.token",
                "not a token of ours");
    BW_TRY(bw_registry_contents(daemon->registry, &job->caller.identity.tenant, &l.reply->generation));
    for (; more; after = true)
        BW_TRY(list_chunk(&l, after ? l.last : NULL, &more));
    if (l.full) {
        l.reply->next_token = bw_arena_alloc(arena, 2 * sizeof l.last + 1);
        BW_CHECK(l.reply->next_token != NULL, BW_NO_MEMORY, "reply");
        bw_hex((bw_bytes){ l.last, sizeof l.last }, l.reply->next_token);
    }
    return bw_success();
}
