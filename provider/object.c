#include "object.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "session.h"
#include "slot.h"
#include "token.h"
#include "trace.h"

/* ---- one object ---- */

bw_result bw_object_new(enum bw_origin origin, struct bw_object **ret_object)
{
    struct bw_object *object = calloc(1, sizeof *object);

    BW_CHECK(object != NULL, BW_NO_MEMORY, "object");
    object->origin     = origin;
    object->references = 1;
    *ret_object = object;
    return bw_success();
}

void bw_object_ref(struct bw_object *object)
{
    atomic_fetch_add(&object->references, 1);
}

void bw_object_unref(struct bw_object *object)
{
    if (object == NULL || atomic_fetch_sub(&object->references, 1) != 1)
        return;
    bw_attributes_clear(&object->attributes);
    bw_buf_clear(&object->sealed);
    free(object);
}

/* ---- the table ---- */

/* A place in the table. It stays when what the region keeps goes away, so that the handle is the same when it comes back. */
struct place {
    CK_OBJECT_HANDLE  handle;
    uint8_t           id[BW_KEY_ID_LEN]; /* with class: what it is at the region; all zero for session objects */
    CK_OBJECT_CLASS   class;
    CK_SESSION_HANDLE session;           /* 0: at the region */
    unsigned          round;             /* of the listing that it was last seen in */
    struct bw_object *object;            /* counted; NULL: gone */
};

struct bw_objects {
    pthread_mutex_t  lock;      /* over all that follows; never held over an RPC */
    CK_OBJECT_HANDLE last;      /* handle given out */
    struct place   **places;   /* by handle, which only grow */
    size_t           count;
    size_t           room;
    void            *by_id;     /* tsearch's tree of what the region keeps */
    unsigned         round;
    int64_t          keys_us;   /* when all keys were last listed, CLOCK_MONOTONIC; 0: never, or not to be trusted */
    int64_t          stored_us; /* likewise of certificates and data */
};

static int compare_ids(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = memcmp(x->id, y->id, sizeof x->id);

    return order != 0 ? order : (x->class > y->class) - (x->class < y->class);
}

static void keep_node(void *node) { (void)node; } /* places are freed with the array */

/* The slot is in the high bits, then comes the time: a table that is made later, after C_Finalize or in a forked child,
 * begins where no table before it can have got to, at 65536 handles a millisecond. */
static CK_OBJECT_HANDLE first_handle(CK_SLOT_ID slot)
{
    uint64_t high = (uint64_t)slot & 0x7fff, now_ms = (uint64_t)bw_now_us() / 1000 & 0xffffffff;
    return (CK_OBJECT_HANDLE)(high << 48 | now_ms << 16);
}

static void place_free(struct place *place)
{
    bw_object_unref(place->object);
    free(place);
}

void bw_objects_free(struct bw_objects *objects)
{
    if (objects == NULL)
        return;
    tdestroy(objects->by_id, keep_node);
    for (size_t i = 0; i < objects->count; i++)
        place_free(objects->places[i]);
    free(objects->places);
    (void)pthread_mutex_destroy(&objects->lock);
    free(objects);
}

static bw_result place_new(struct bw_objects *objects, struct place **ret_entry)
{
    if (objects->count == objects->room) {
        size_t room = objects->room ? 2 * objects->room : 64;
        struct place **places = realloc(objects->places, room * sizeof *places);
        BW_CHECK(places != NULL, BW_NO_MEMORY, "objects");
        objects->places = places;
        objects->room    = room;
    }
    struct place *place = calloc(1, sizeof *place);
    BW_CHECK(place != NULL, BW_NO_MEMORY, "objects");
    place->handle = ++objects->last;
    objects->places[objects->count++] = place;
    *ret_entry = place;
    return bw_success();
}

static size_t place_index(const struct bw_objects *objects, CK_OBJECT_HANDLE handle)
{
    size_t low = 0, high = objects->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (objects->places[middle]->handle < handle)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* NULL: no such handle, or its object is gone. */
static struct place *place_find(const struct bw_objects *objects, CK_OBJECT_HANDLE handle)
{
    size_t i = place_index(objects, handle);

    if (i == objects->count || objects->places[i]->handle != handle || objects->places[i]->object == NULL)
        return NULL;
    return objects->places[i];
}

static void place_put(struct place *place, struct bw_object *object)
{
    bw_object_unref(place->object);
    place->object = object;
    if (object != NULL) {
        bw_object_ref(object);
        object->handle = place->handle;
    }
}

/* Session objects that some rule no longer wants leave the table; their handles are not used again. */
static void drop_session_objects(struct bw_objects *objects, bool (*unwanted)(const struct place *, const void *),
                                 const void *rule)
{
    size_t kept = 0;

    (void)pthread_mutex_lock(&objects->lock);
    for (size_t i = 0; i < objects->count; i++)
        if (objects->places[i]->session != 0 && unwanted(objects->places[i], rule))
            place_free(objects->places[i]);
        else
            objects->places[kept++] = objects->places[i];
    objects->count = kept;
    (void)pthread_mutex_unlock(&objects->lock);
}

static bool lives_in(const struct place *place, const void *session)
{
    return place->session == *(const CK_SESSION_HANDLE *)session;
}

static bool is_private(const struct place *place, const void *unused)
{
    (void)unused;
    return bw_attributes_bool(&place->object->attributes, CKA_PRIVATE);
}

void bw_objects_session_closed(struct bw_objects *objects, CK_SESSION_HANDLE session)
{
    drop_session_objects(objects, lives_in, &session);
}

void bw_objects_logged_out(struct bw_objects *objects)
{
    drop_session_objects(objects, is_private, NULL);
}

static bool visible(bool sees_private, const struct bw_object *object)
{
    return sees_private || !bw_attributes_bool(&object->attributes, CKA_PRIVATE);
}

bw_result bw_objects_get(struct bw_session *session, CK_OBJECT_HANDLE handle, struct bw_object **ret_object)
{
    struct bw_objects *objects = session->slot->objects;
    struct bw_object  *object  = NULL;
    bool sees_private = bw_session_sees_private(session);

    (void)pthread_mutex_lock(&objects->lock);
    struct place *place = place_find(objects, handle);
    if (place != NULL && visible(sees_private, place->object)) {
        object = place->object;
        bw_object_ref(object);
    }
    (void)pthread_mutex_unlock(&objects->lock);
    BW_CHECK(object != NULL, BW_OBJECT_INVALID, "no such object");
    *ret_object = object;
    return bw_success();
}

bw_result bw_objects_key(struct bw_session *session, CK_OBJECT_HANDLE handle, struct bw_object **ret_key)
{
    BW_AUTO(object) object = NULL;
    bw_result r = bw_objects_get(session, handle, &object);

    BW_CHECK(bw_ok(r), BW_KEY_HANDLE, "no such key");
    BW_CHECK(bw_attributes_ulong(&object->attributes, CKA_KEY_TYPE) != CK_UNAVAILABLE_INFORMATION, BW_KEY_HANDLE, "the object is no key");
    *ret_key = bw_take(&object);
    return bw_success();
}

bw_result bw_objects_add(struct bw_session *session, struct bw_object *object, CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_objects *objects = session->slot->objects;
    struct place      *place;

    (void)pthread_mutex_lock(&objects->lock);
    bw_result r = place_new(objects, &place);
    if (bw_ok(r)) {
        object->session = place->session = session->handle;
        place->class    = bw_attributes_ulong(&object->attributes, CKA_CLASS);
        place_put(place, object);
        *ret_handle = place->handle;
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

bw_result bw_objects_replace(struct bw_objects *objects, CK_OBJECT_HANDLE handle, struct bw_object *object)
{
    (void)pthread_mutex_lock(&objects->lock);
    struct place *place = place_find(objects, handle);
    if (place != NULL) {
        object->session = place->session;
        place_put(place, object);
    }
    (void)pthread_mutex_unlock(&objects->lock);
    BW_CHECK(place != NULL, BW_OBJECT_INVALID, "the object is gone");
    return bw_success();
}

static bool is_the_one(const struct place *place, const void *object)
{
    return place->object == object;
}

static struct place *place_by_id(struct bw_objects *objects, const uint8_t *id, CK_OBJECT_CLASS class)
{
    struct place wanted = { .class = class };
    void        *found;

    memcpy(wanted.id, id, sizeof wanted.id);
    found = tfind(&wanted, &objects->by_id, compare_ids);
    return found ? *(struct place **)found : NULL;
}

void bw_objects_forget(struct bw_objects *objects, const struct bw_object *object)
{
    if (object->session != 0) {
        drop_session_objects(objects, is_the_one, object);
        return;
    }
    (void)pthread_mutex_lock(&objects->lock);
    struct place *place = place_find(objects, object->handle);
    if (place != NULL)
        place_put(place, NULL);
    (void)pthread_mutex_unlock(&objects->lock);
}

bw_result bw_objects_heed(struct bw_objects *objects, bw_result result)
{
    if (result.code != BW_NO_SUCH_KEY && result.code != BW_KEY_DISABLED && result.code != BW_KEY_STATE)
        return result;
    (void)pthread_mutex_lock(&objects->lock);
    objects->keys_us = objects->stored_us = 0;
    (void)pthread_mutex_unlock(&objects->lock);
    return result;
}

CK_OBJECT_HANDLE bw_objects_handle(struct bw_objects *objects, const uint8_t id[static BW_KEY_ID_LEN], CK_OBJECT_CLASS class)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    (void)pthread_mutex_lock(&objects->lock);
    struct place *place = place_by_id(objects, id, class);
    if (place != NULL && place->object != NULL)
        handle = place->handle;
    (void)pthread_mutex_unlock(&objects->lock);
    return handle;
}

/* ---- what the region keeps ---- */

/* The place of something at the region; made when it is seen for the first time. */
static bw_result place_at_region(struct bw_objects *objects, const uint8_t *id, CK_OBJECT_CLASS class, struct place **ret_entry)
{
    struct place *place = place_by_id(objects, id, class);

    if (place == NULL) {
        BW_TRY(place_new(objects, &place));
        memcpy(place->id, id, sizeof place->id);
        place->class = class;
        BW_CHECK(tsearch(place, &objects->by_id, compare_ids) != NULL, BW_NO_MEMORY, "objects");
    }
    place->round = objects->round;
    *ret_entry = place;
    return bw_success();
}

static bw_result learn_object(struct bw_objects *objects, struct bw_object *object)
{
    struct place *place;

    BW_TRY(place_at_region(objects, object->id, bw_attributes_ulong(&object->attributes, CKA_CLASS), &place));
    place_put(place, object);
    return bw_success();
}

/* Baseline, and that certificates are seen without a login: some hosts look for that before they ask for a PIN. */
static const struct { CK_ULONG id; const char *label; } profiles[] = {
    { CKP_BASELINE_PROVIDER, "baseline provider" }, { CKP_PUBLIC_CERTIFICATES_TOKEN, "public certificates" },
};

static bw_result add_profiles(struct bw_objects *objects)
{
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
        BW_AUTO(object) object = NULL;
        BW_TRY(bw_token_profile(profiles[i].id, profiles[i].label, &object));
        BW_TRY(learn_object(objects, object));
    }
    return bw_success();
}

bw_result bw_objects_new(CK_SLOT_ID slot, struct bw_objects **ret_objects)
{
    struct bw_objects *objects = calloc(1, sizeof *objects);

    BW_CHECK(objects != NULL, BW_NO_MEMORY, "objects");
    (void)pthread_mutex_init(&objects->lock, NULL); /* cannot fail without attributes */
    objects->last = first_handle(slot);
    bw_result r = add_profiles(objects);
    if (bw_ok(r))
        *ret_objects = objects;
    else
        bw_objects_free(objects);
    return r;
}

/* Marks what is there already, in this very generation, as seen. */
static bool known_already(struct bw_objects *objects, const uint8_t *id, const CK_OBJECT_CLASS *classes, size_t count,
                          uint64_t generation)
{
    for (size_t i = 0; i < count; i++) {
        struct place *place = place_by_id(objects, id, classes[i]);
        if (place == NULL || place->object == NULL || place->object->generation != generation)
            return false;
        place->round = objects->round;
    }
    return true;
}

static bw_result learn_key(struct bw_slot *slot, const struct bw_remote_key *key)
{
    static const CK_OBJECT_CLASS pair[] = { CKO_PRIVATE_KEY, CKO_PUBLIC_KEY }, secret[] = { CKO_SECRET_KEY };
    bool   is_pair = bw_spec_is_pair(key->spec);
    struct bw_halves halves = { 0 };

    if (known_already(slot->objects, key->name.id.bytes, is_pair ? pair : secret, is_pair ? 2 : 1, key->generation))
        return bw_success();
    bw_result r = bw_token_key(key, slot->login_required, &halves);
    for (size_t i = 0; i < halves.count; i++) {
        if (bw_ok(r))
            r = learn_object(slot->objects, halves.object[i]);
        bw_object_unref(halves.object[i]);
    }
    return r;
}

static bw_result learn_stored(struct bw_slot *slot, const struct bw_remote_object *stored)
{
    BW_AUTO(object) object = NULL;

    BW_CHECK(stored->id.len == BW_KEY_ID_LEN, BW_PROTOCOL_BROKEN, "an object's id");
    if (known_already(slot->objects, stored->id.data, &stored->class, 1, stored->generation))
        return bw_success();
    BW_TRY(bw_token_stored(stored, &object));
    return learn_object(slot->objects, object);
}

/* One thing that cannot be read does not hide the others: it is left out. */
static bw_result learn_all(struct bw_slot *slot, const struct bw_listing *listing)
{
    for (size_t i = 0; i < listing->key_count; i++) {
        bw_result r = learn_key(slot, &listing->keys[i]);
        if (r.code == BW_NO_MEMORY)
            return r;
    }
    for (size_t i = 0; i < listing->stored_count; i++) {
        bw_result r = learn_stored(slot, &listing->stored[i]);
        if (r.code == BW_NO_MEMORY)
            return r;
    }
    return bw_success();
}

static bool is_key_class(CK_OBJECT_CLASS class)
{
    return class == CKO_SECRET_KEY || class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY;
}

static bool is_stored_class(CK_OBJECT_CLASS class)
{
    return class == CKO_CERTIFICATE || class == CKO_NSS_TRUST || class == CKO_DATA;
}

/* Whether a listing made with that filter would have had it. */
static bool would_be_listed(const struct bw_object *object, const struct bw_filter *filter)
{
    return (filter->label.len == 0 || bw_bytes_equal(filter->label, bw_attributes_bytes(&object->attributes, CKA_LABEL)))
        && (filter->cka_id.len == 0 || bw_bytes_equal(filter->cka_id, bw_attributes_bytes(&object->attributes, CKA_ID)));
}

static void drop_unseen(struct bw_objects *objects, const struct bw_listing *listing)
{
    for (size_t i = 0; i < objects->count; i++) {
        struct place *place = objects->places[i];
        bool listed  = is_key_class(place->class) ? listing->all_keys : is_stored_class(place->class) && listing->all_stored;
        bool covered = place->session == 0 && listed;
        bool unseen  = place->object != NULL && place->round != objects->round;

        if (covered && unseen && would_be_listed(place->object, &listing->filter))
            place_put(place, NULL);
    }
}

bw_result bw_objects_learn(struct bw_slot *slot, const struct bw_listing *listing)
{
    struct bw_objects *objects = slot->objects;
    bool everything = listing->filter.label.len == 0 && listing->filter.cka_id.len == 0;

    (void)pthread_mutex_lock(&objects->lock);
    objects->round++;
    bw_result r = learn_all(slot, listing);
    if (bw_ok(r))
        drop_unseen(objects, listing);
    if (bw_ok(r) && everything && listing->all_keys)
        objects->keys_us = bw_now_us();
    if (bw_ok(r) && everything && listing->all_stored)
        objects->stored_us = bw_now_us();
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

/* ---- finding ---- */

/* What a search is about: decides what the region has to be asked for. */
struct search {
    struct bw_session  *session;
    const CK_ATTRIBUTE *template;
    CK_ULONG            count;
    struct bw_filter    filter;
    bool                keys;   /* keys may match */
    bool                stored; /* certificates, trust and data may */
};

static void look_at_class(struct search *s)
{
    bw_bytes value;
    CK_OBJECT_CLASS class;

    s->keys = s->stored = true;
    if (bw_template_find(s->template, s->count, CKA_CLASS, &value) && value.len == sizeof class) {
        class     = bw_ulong_at(value.data);
        s->keys   = is_key_class(class);
        s->stored = is_stored_class(class);
    }
    if (bw_template_find(s->template, s->count, CKA_TOKEN, &value) && value.len == 1 && value.data[0] == CK_FALSE)
        s->keys = s->stored = false;
    for (CK_ULONG i = 0; i < s->count; i++)
        if (!bw_attribute_is_known(bw_template_type(s->template, i)))
            s->keys = s->stored = false;
}

static struct search search_of(struct bw_session *session, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct search s = { .session = session, .template = template, .count = count };

    look_at_class(&s);
    (void)bw_template_find(template, count, CKA_LABEL, &s.filter.label);  /* absent: not filtered by */
    (void)bw_template_find(template, count, CKA_ID, &s.filter.cka_id);
    if (s.filter.label.len > BW_LABEL_MAX)
        s.filter.label = (bw_bytes){ NULL, 0 };
    if (s.filter.cka_id.len > BW_CKA_ID_MAX)
        s.filter.cka_id = (bw_bytes){ NULL, 0 };
    return s;
}

static bw_result ask_region(struct search *s, struct bw_arena *arena)
{
    struct bw_slot   *slot    = s->session->slot;
    struct bw_listing listing = { .filter = s->filter, .all_keys = s->keys, .all_stored = s->stored };
    struct bw_remote_key    *keys   = NULL;
    struct bw_remote_object *stored = NULL;
    uint64_t generation;

    if (s->keys)
        BW_TRY(bw_rpc_list_keys(&slot->remote, arena, &s->filter, &keys, &listing.key_count, &generation));
    if (s->stored)
        BW_TRY(bw_rpc_list_objects(&slot->remote, arena, &s->filter, &stored, &listing.stored_count));
    if (s->keys)
        bw_slot_learn(slot);
    listing.keys   = keys;
    listing.stored = stored;
    return bw_objects_learn(slot, &listing);
}

static bool listed_within(struct search *s, int64_t ms)
{
    struct bw_objects *objects = s->session->slot->objects;
    int64_t since = bw_now_us() - 1000 * ms;

    (void)pthread_mutex_lock(&objects->lock);
    bool fresh = (!s->keys || (objects->keys_us != 0 && objects->keys_us >= since))
              && (!s->stored || (objects->stored_us != 0 && objects->stored_us >= since));
    (void)pthread_mutex_unlock(&objects->lock);
    return fresh;
}

static bw_result collect(struct search *s, struct bw_arena *arena, const CK_OBJECT_HANDLE **ret_found, size_t *ret_count)
{
    struct bw_objects *objects = s->session->slot->objects;
    bool   sees_private = bw_session_sees_private(s->session);
    size_t count = 0;

    (void)pthread_mutex_lock(&objects->lock);
    CK_OBJECT_HANDLE *found = bw_arena_alloc(arena, objects->count * sizeof *found);
    for (size_t i = 0; found != NULL && i < objects->count; i++) {
        const struct bw_object *object = objects->places[i]->object;
        if (object != NULL && visible(sees_private, object) && bw_attributes_match(&object->attributes, s->template, s->count))
            found[count++] = objects->places[i]->handle;
    }
    (void)pthread_mutex_unlock(&objects->lock);
    BW_CHECK(found != NULL, BW_NO_MEMORY, "what was found");
    *ret_found = found;
    *ret_count = count;
    return bw_success();
}

bw_result bw_objects_find(struct bw_session *session, const CK_ATTRIBUTE *template, CK_ULONG count, struct bw_arena *arena,
                          const CK_OBJECT_HANDLE **ret_found, size_t *ret_count)
{
    BW_TRY(bw_template_check(template, count));
    struct search s = search_of(session, template, count);
    if (listed_within(&s, BW_FRESH_MS)) {
        BW_TRY(collect(&s, arena, ret_found, ret_count));
        if (*ret_count > 0 || listed_within(&s, BW_RETRY_MS))
            return bw_success();
    }
    struct bw_arena reply = { 0 };
    bw_result r = ask_region(&s, &reply);
    bw_arena_clear(&reply);
    BW_TRY(r);
    return collect(&s, arena, ret_found, ret_count);
}
