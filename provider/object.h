/* The objects of one slot: master keys and their public halves, certificates and data that the region keeps, and what an
 * application made for a session.
 *
 * Handles are nonzero, never pointers, never reused, and the same for the same object in every session, over every refresh
 * and while the object comes and goes. Objects are counted and do not change once they are in the table: a change puts
 * another in their place.
 *
 * What the region keeps is listed when an application searches, and remembered for BW_FRESH_MS. A search that finds nothing
 * there asks the region once more before it says so. Attributes are always answered from here. */
#ifndef BW_PROVIDER_OBJECT_H
#define BW_PROVIDER_OBJECT_H

#include <stdatomic.h>

#include "attributes.h"
#include "rpc.h"

struct bw_slot;
struct bw_session;

enum {
    BW_FRESH_MS = 10 * 1000, /* a listing answers searches that long */
    BW_RETRY_MS = 250        /* and is not asked again sooner than that because something was not in it */
};

/* What a key's attributes stand for. */
enum bw_origin {
    BW_ORIGIN_SESSION, /* made here, gone with its session: a public key, a certificate, data */
    BW_ORIGIN_SEALED,  /* likewise, but a key that the region sealed: key.sealed */
    BW_ORIGIN_KEY,     /* a master key: key.name */
    BW_ORIGIN_STORED   /* a certificate or data that the region keeps: id */
};

struct bw_object {
    atomic_uint          references;
    CK_OBJECT_HANDLE     handle;
    enum bw_origin       origin;
    CK_SESSION_HANDLE    session;     /* that made it; 0 for what the region keeps */
    struct bw_attributes attributes;
    struct bw_key_ref    key;
    uint8_t              id[BW_KEY_ID_LEN]; /* at the region: of the key or the object */
    uint64_t             generation;  /* at the region */
    unsigned             uses;        /* enum bw_use, of a master key */
    struct bw_buf        sealed;      /* what key.sealed borrows from */
    unsigned             length;      /* of a sealed key, bytes; of a private one as AES-KWP pads its PKCS#8 */
};

/* One reference, the caller's. */
bw_result bw_object_new(enum bw_origin origin, struct bw_object **ret_object);
void      bw_object_ref(struct bw_object *object);
void      bw_object_unref(struct bw_object *object); /* takes NULL */
static inline void bw_object_free(struct bw_object *object) { bw_object_unref(object); }
BW_DEFINE_AUTO(object)

/* ---- the table ---- */

struct bw_objects;

bw_result bw_objects_new(CK_SLOT_ID slot, struct bw_objects **ret_objects);
void      bw_objects_free(struct bw_objects *objects);

/* Forgets the objects that lived in that session. */
void bw_objects_session_closed(struct bw_objects *objects, CK_SESSION_HANDLE session);

/* Forgets private session objects. */
void bw_objects_logged_out(struct bw_objects *objects);

/* Counted; give it back with bw_object_unref. Private objects are only there for those who may see them.
 * BW_OBJECT_INVALID: no such object. */
bw_result bw_objects_get(struct bw_session *session, CK_OBJECT_HANDLE handle, struct bw_object **ret_object);

/* Likewise, for a key to be used. BW_KEY_HANDLE: no such key. */
bw_result bw_objects_key(struct bw_session *session, CK_OBJECT_HANDLE handle, struct bw_object **ret_key);

/* Adds an object of a session, which gets its handle. The table takes a reference of its own. */
bw_result bw_objects_add(struct bw_session *session, struct bw_object *object, CK_OBJECT_HANDLE *ret_handle);

/* Puts another object in the place of one, under its handle. The table takes a reference of its own. */
bw_result bw_objects_replace(struct bw_objects *objects, CK_OBJECT_HANDLE handle, struct bw_object *object);

/* Forgets the object. A later listing may bring what the region keeps back, under the same handle. */
void bw_objects_forget(struct bw_objects *objects, const struct bw_object *object);

/* Hands on what the use of a key came to. When the region says that it has no such key, or not for use, what is remembered is
 * not to be trusted: the next search asks. */
bw_result bw_objects_heed(struct bw_objects *objects, bw_result result);

/* ---- what the region keeps ---- */

/* What a listing, or a creation, brought. */
struct bw_listing {
    const struct bw_remote_key    *keys;
    size_t                         key_count;
    const struct bw_remote_object *stored;
    size_t                         stored_count;
    struct bw_filter               filter;     /* that it was made with */
    bool                           all_keys;   /* it has every key that suits the filter: others that do are gone */
    bool                           all_stored; /* likewise of certificates and data */
};
/* Takes it over. Objects of another generation replace what was there. */
bw_result bw_objects_learn(struct bw_slot *slot, const struct bw_listing *listing);

/* The handles of a master key's object of that class; CK_INVALID_HANDLE: it has none. */
CK_OBJECT_HANDLE bw_objects_handle(struct bw_objects *objects, const uint8_t id[static BW_KEY_ID_LEN], CK_OBJECT_CLASS class);

/* Handles of all that match, a snapshot, in the arena. At most one listing of keys and one of other objects.
 * Fails with  BW_BAD_ARGUMENT  no template;  what a listing fails with. */
bw_result bw_objects_find(struct bw_session *session, const CK_ATTRIBUTE *template, CK_ULONG count, struct bw_arena *arena,
                          const CK_OBJECT_HANDLE **ret_found, size_t *ret_count);

#endif
