/* Objects: what callers hold while they use a key. Counted, so that handles outlive the calls that use them; cached, so that
 * the next caller need not copy or unwrap again; all on one list, so that a destroyed key or a closed token takes every one
 * of them out of use at once. */
#include <assert.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "hsm_internal.h"

/* ---- names in the cache ---- */

enum { KIND_VERSION = 1, KIND_SEALED = 2 };

struct bw_cache_key bw_cache_key_of_version(const bw_key_id *id, uint32_t version)
{
    struct bw_cache_key key = { { KIND_VERSION } };

    memcpy(key.bytes + 1, id->bytes, BW_KEY_ID_LEN);
    memcpy(key.bytes + 1 + BW_KEY_ID_LEN, &version, sizeof version);
    return key;
}

struct bw_cache_key bw_cache_key_of_sealed(bw_bytes sealed)
{
    struct bw_cache_key key = { { KIND_SEALED } };

    static_assert(sizeof key.bytes == 1 + SHA256_DIGEST_LENGTH, "a hash fits");
    (void)SHA256(bw_ck_bytes(sealed), sealed.len, key.bytes + 1);
    return key;
}

/* ---- the cache; with token->tables held ---- */

static struct bw_hsm_object **bucket_of(struct bw_cache *cache, const struct bw_cache_key *key)
{
    uint64_t hash, version;

    memcpy(&hash, key->bytes + 1, sizeof hash);
    memcpy(&version, key->bytes + 1 + BW_KEY_ID_LEN, sizeof version);
    return &cache->buckets[(hash ^ version) % BW_CACHE_BUCKETS];
}

static struct bw_hsm_object *cache_find(struct bw_cache *cache, const struct bw_cache_key *key)
{
    struct bw_hsm_object *object = *bucket_of(cache, key);

    while (object != NULL && memcmp(&object->cache_key, key, sizeof *key) != 0)
        object = object->chain;
    return object;
}

static void age_unlink(struct bw_cache *cache, struct bw_hsm_object *object)
{
    *(object->newer ? &object->newer->older : &cache->newest) = object->older;
    *(object->older ? &object->older->newer : &cache->oldest) = object->newer;
}

static void age_link(struct bw_cache *cache, struct bw_hsm_object *object)
{
    object->newer = NULL;
    object->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = object;
    cache->newest = object;
}

static void cache_remove(struct bw_cache *cache, struct bw_hsm_object *object)
{
    struct bw_hsm_object **at = bucket_of(cache, &object->cache_key);

    while (*at != object)
        at = &(*at)->chain;
    *at = object->chain;
    age_unlink(cache, object);
    object->chain     = NULL;
    object->is_cached = false;
    cache->count--;
}

static void cache_insert(struct bw_cache *cache, struct bw_hsm_object *object, const struct bw_cache_key *key)
{
    struct bw_hsm_object **bucket = bucket_of(cache, key);

    object->cache_key = *key;
    object->is_cached = true;
    object->chain     = *bucket;
    *bucket = object;
    age_link(cache, object);
    cache->count++;
}

struct bw_hsm_object *bw_object_cached(struct bw_token *token, const struct bw_cache_key *key)
{
    (void)pthread_mutex_lock(&token->tables);
    struct bw_hsm_object *object = cache_find(&token->cache, key);
    if (object != NULL) {
        atomic_fetch_add(&object->references, 1);
        age_unlink(&token->cache, object);
        age_link(&token->cache, object);
    }
    (void)pthread_mutex_unlock(&token->tables);
    return object;
}

static bool may_be_cached(struct bw_token *token, const struct bw_hsm_object *object, const struct bw_cache_key *key)
{
    if (object->is_cached || atomic_load(&object->gone) != BW_OK || cache_find(&token->cache, key) != NULL)
        return false;
    return object->is_session_key || bw_hsm_index_find(&token->index, &object->id, object->version) != NULL;
}

void bw_object_cache(struct bw_session *session, struct bw_hsm_object *object, const struct bw_cache_key *key)
{
    struct bw_token *token = object->token;
    struct bw_hsm_object *oldest = NULL;

    (void)pthread_mutex_lock(&token->tables);
    if (may_be_cached(token, object, key)) {
        if (token->cache.count >= BW_OBJECTS_CACHED) {
            oldest = token->cache.oldest;
            cache_remove(&token->cache, oldest);
        }
        atomic_fetch_add(&object->references, 1);
        cache_insert(&token->cache, object, key);
    }
    (void)pthread_mutex_unlock(&token->tables);
    bw_object_release(session, oldest);
}

/* ---- life ---- */

static void link_live(struct bw_token *token, struct bw_hsm_object *object)
{
    (void)pthread_mutex_lock(&token->tables);
    object->live_next = token->live;
    object->live_link = &token->live;
    if (token->live != NULL)
        token->live->live_link = &object->live_next;
    token->live = object;
    (void)pthread_mutex_unlock(&token->tables);
}

static void unlink_live(struct bw_token *token, struct bw_hsm_object *object)
{
    (void)pthread_mutex_lock(&token->tables);
    *object->live_link = object->live_next;
    if (object->live_next != NULL)
        object->live_next->live_link = object->live_link;
    (void)pthread_mutex_unlock(&token->tables);
}

/* Failures leave a session object behind, which goes when the token is closed or opened anew. */
static void destroy_handles(struct bw_session *session, const struct bw_hsm_object *object)
{
    CK_FUNCTION_LIST *f = session->token->hsm->f;

    if (object->epoch != atomic_load(&session->token->epoch))
        return;
    (void)f->C_DestroyObject(session->handle, object->own);
    if (object->public_key != CK_INVALID_HANDLE)
        (void)f->C_DestroyObject(session->handle, object->public_key);
}

static bool handles_need_destroying(const struct bw_hsm_object *object)
{
    int gone = atomic_load(&object->gone);
    return object->handles_are_ours && gone != BW_HSM_UNAVAILABLE && gone != BW_TENANT_SEALED; /* those went with their sessions */
}

bw_result bw_object_new(struct bw_session *session, const struct bw_hsm_object *like, struct bw_hsm_object **ret_object)
{
    struct bw_hsm_object *object = malloc(sizeof *object);

    if (object == NULL) {
        struct bw_hsm_object lost = *like;
        lost.epoch = atomic_load(&session->token->epoch);
        if (like->handles_are_ours)
            destroy_handles(session, &lost);
        return bw_fail(BW_NO_MEMORY, "HSM object");
    }
    *object = *like;
    object->token = session->token;
    object->epoch = atomic_load(&session->token->epoch);
    atomic_init(&object->references, 1);
    atomic_init(&object->gone, BW_OK);
    bw_token_ref(object->token);
    link_live(object->token, object);
    *ret_object = object;
    return bw_success();
}

static void release_last(struct bw_session *session, struct bw_hsm_object *object)
{
    struct bw_token *token = object->token;
    struct bw_session *taken = NULL;

    unlink_live(token, object);
    if (handles_need_destroying(object)) {
        if (session == NULL && bw_ok(bw_session_take(token, &taken)))
            session = taken;
        if (session != NULL)
            destroy_handles(session, object);
        if (taken != NULL)
            bw_session_give(taken);
    }
    free(object);
    bw_token_unref(token);
}

void bw_object_release(struct bw_session *session, struct bw_hsm_object *object)
{
    if (object != NULL && atomic_fetch_sub(&object->references, 1) == 1)
        release_last(session, object);
}

void bw_hsm_object_unref(struct bw_hsm_object *object)
{
    bw_object_release(NULL, object);
}

void bw_objects_kill(struct bw_token *token, struct bw_session *session, enum bw_code reason, bw_object_match_fn match, const void *argument)
{
    struct bw_hsm_object *dropped = NULL;

    (void)pthread_mutex_lock(&token->tables);
    for (struct bw_hsm_object *object = token->live; object != NULL; object = object->live_next) {
        int usable = BW_OK;
        if (match != NULL && !match(object, argument))
            continue;
        (void)atomic_compare_exchange_strong(&object->gone, &usable, (int)reason); /* the first reason stays */
        if (object->is_cached) {
            cache_remove(&token->cache, object);
            object->chain = dropped;
            dropped = object;
        }
    }
    (void)pthread_mutex_unlock(&token->tables);

    while (dropped != NULL) {
        struct bw_hsm_object *next = dropped->chain;
        bw_object_release(session, dropped);
        dropped = next;
    }
}

/* ---- use ---- */

static bw_result still_usable(const struct bw_hsm_object *object)
{
    int gone = atomic_load(&object->gone);

    BW_CHECK(gone != BW_KEY_DISABLED, BW_KEY_DISABLED, "the key was disabled");
    BW_CHECK(gone != BW_KEY_STATE, BW_KEY_STATE, "the key was destroyed");
    BW_CHECK(gone != BW_TENANT_SEALED, BW_TENANT_SEALED, "its HSM token is closed");
    BW_CHECK(gone == BW_OK && object->epoch == atomic_load(&object->token->epoch), BW_HSM_UNAVAILABLE, "the HSM token was lost");
    return bw_success();
}

bw_result bw_object_use(struct bw_hsm_object *object, struct bw_session **ret_session)
{
    struct bw_session *session;

    BW_TRY(still_usable(object));
    BW_TRY(bw_session_take(object->token, &session));
    bw_result r = still_usable(object);
    if (!bw_ok(r)) {
        bw_session_give(session);
        return r;
    }
    *ret_session = session;
    return bw_success();
}

CK_KEY_TYPE bw_hsm_object_key_type(const struct bw_hsm_object *object)
{
    return object->key_type;
}

unsigned bw_hsm_object_bits(const struct bw_hsm_object *object)
{
    return object->bits;
}
