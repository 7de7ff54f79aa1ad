/* What the hsm_*.c files share; nobody else includes it.
 *
 * Three things keep calls apart. A pooled session in hand is the right to call the HSM: whoever rebuilds or closes the token
 * first waits until all of them are back. token->tables guards the index and the objects, and is held over no HSM call.
 * token->holder_lock guards the one session in which session objects are made, because they die with the session that made
 * them and pooled ones may be replaced.
 * Lock order: hsm->creation, holder_lock, tables; pool alone. No thread holds two pooled sessions of a token. */
#ifndef BW_SERVER_HSM_INTERNAL_H
#define BW_SERVER_HSM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hsm.h"

enum {
    BW_MECHANISM_ROWS = 0
#define BW_MECH(type, key_type, uses, digest, travels_as, params, least, most, cost, default_) + 1
#include "bailiwick/mechanisms.def"
#undef BW_MECH
    ,
    BW_SPECS = 1
#define BW_SPEC(number, spec, key_type, bits, uses, generator, curve) + 1
#include "bailiwick/specs.def"
#undef BW_SPEC
    ,
    BW_CKA_ID_LEN     = BW_KEY_ID_LEN + 4, /* key id, version */
    BW_OBJECTS_CACHED = 512,               /* per token: SoftHSM closes sessions in time proportional to the session objects */
    BW_CACHE_BUCKETS  = 1024,
    BW_SESSION_WAIT_MS = 2000,
    BW_MODULUS_MAX    = 512                /* bytes: RSA-4096 */
};

/* ---- the module ---- */

struct bw_hsm {
    void             *library;     /* NULL: the function list was given */
    CK_FUNCTION_LIST *f;
    unsigned          sessions;
    char              description[128];
    pthread_mutex_t   creation;    /* of tokens and token objects: one at a time */
    pthread_mutex_t   open_lock;   /* the list of open tokens */
    struct bw_token  *open;
    atomic_uint       offers[BW_MECHANISM_ROWS]; /* enum bw_use, by the table's order */
    atomic_uint       oaep_hashes;   /* of OAEP that it does by itself: a bit for each enum bw_digest */
    atomic_uint       imports;       /* a bit for each enum bw_spec */
    const char       *why_no_import[BW_SPECS]; /* written by the self-test alone, before others ask */
};

struct bw_slot {
    CK_SLOT_ID id;
    CK_FLAGS   flags;        /* of its token */
    char       label[33];    /* without its padding */
    char       serial[17];
};

/* Reads the slot list anew and finds the one token of that label (and serial, when not empty).
 * BW_HSM_UNAVAILABLE: none, or several. */
bw_result bw_slot_find(struct bw_hsm *hsm, const char *label, const char *serial, struct bw_slot *ret_slot);

/* ---- results ---- */

/* Our result of the HSM's. input_fault: the code when the module blames what it was given, or does not say (SoftHSM answers
 * CKR_GENERAL_ERROR to a ciphertext that does not decrypt); BW_HSM_FAILED where input cannot be at fault. */
bw_result bw_rv_result(CK_RV rv, enum bw_code input_fault, const char *where);
bool      bw_rv_means_lost(CK_RV rv); /* sessions, login or handles are gone: the token has to be opened again */

/* ---- sessions ---- */

struct bw_session {
    struct bw_token   *token;
    CK_SESSION_HANDLE  handle;
    struct bw_session *next;   /* free ones */
};

/* BW_OVERLOADED after 2 s; BW_TENANT_SEALED when the token is closed; BW_HSM_UNAVAILABLE when it cannot be reached.
 * Opens the token again when the last one found it lost. */
bw_result bw_session_take(struct bw_token *token, struct bw_session **ret_session);
void      bw_session_give(struct bw_session *session);
/* Another handle in place of one with an operation stuck in it. */
bw_result bw_session_replace(struct bw_session *session);
/* bw_rv_result, and the token is marked lost when that is what rv says. */
bw_result bw_session_result(struct bw_session *session, CK_RV rv, enum bw_code input_fault, const char *where);
#define BW_RV(session, rv, input_fault) bw_session_result(session, rv, input_fault, __FILE__ ":" BW_STRING(__LINE__))

/* ---- the index: which key versions the token has ---- */

struct bw_hsm_index_entry {
    struct bw_hsm_index_entry *next;
    bw_key_id              id;
    uint32_t               version;
    CK_OBJECT_HANDLE       own;        /* secret or private key; CK_INVALID_HANDLE: only the public half is there */
    CK_OBJECT_HANDLE       public_key; /* pairs; else CK_INVALID_HANDLE */
    CK_KEY_TYPE            key_type;
    unsigned               bits;
};
struct bw_index {
    struct bw_hsm_index_entry **buckets;
    size_t                  bucket_count; /* a power of two, or 0 */
    size_t                  count;
};
struct bw_hsm_index_entry *bw_hsm_index_find(const struct bw_index *index, const bw_key_id *id, uint32_t version);
/* Found, or new and zeroed but for its name. NULL: out of memory. */
struct bw_hsm_index_entry *bw_hsm_index_add(struct bw_index *index, const bw_key_id *id, uint32_t version);
void bw_hsm_index_remove(struct bw_index *index, const bw_key_id *id, uint32_t version);
void bw_hsm_index_clear(struct bw_index *index);

/* ---- objects: what operations use ---- */

/* Key versions by name, session keys by the SHA-256 of their sealed bytes. */
struct bw_cache_key { uint8_t bytes[33]; };
struct bw_cache_key bw_cache_key_of_version(const bw_key_id *id, uint32_t version);
struct bw_cache_key bw_cache_key_of_sealed(bw_bytes sealed);

struct bw_hsm_object {
    struct bw_token     *token;
    atomic_uint          references;
    atomic_int           gone;        /* enum bw_code of the refusal; BW_OK while it may be used */
    uint64_t             epoch;       /* of the token, when the handles were made */
    CK_OBJECT_HANDLE     own, public_key;
    bool                 handles_are_ours; /* session objects, destroyed with it */
    CK_KEY_TYPE          key_type;
    unsigned             bits;
    bw_key_id            id;          /* of the key, or of the one that a session key came out of */
    uint32_t             version;     /* session keys: 0 */
    bool                 is_session_key;
    struct bw_session_key what;       /* is_session_key */
    bool                 is_cached;   /* the cache holds a reference */
    struct bw_cache_key  cache_key;
    struct bw_hsm_object *chain;                  /* of its bucket, or of those to release */
    struct bw_hsm_object *newer, *older;          /* is_cached: by last use */
    struct bw_hsm_object *live_next, **live_link; /* all of the token's */
};
struct bw_cache {
    struct bw_hsm_object *buckets[BW_CACHE_BUCKETS];
    struct bw_hsm_object *newest, *oldest;
    unsigned              count;
};

/* Takes over the handles (they are destroyed when this fails). like: key type, bits, names. */
bw_result bw_object_new(struct bw_session *session, const struct bw_hsm_object *like, struct bw_hsm_object **ret_object);
/* A reference, or NULL. Any thread, one short lock. */
struct bw_hsm_object *bw_object_cached(struct bw_token *token, const struct bw_cache_key *key);
/* Keeps it for the next caller, unless its key version left the index or someone was faster. Session in hand. */
void bw_object_cache(struct bw_session *session, struct bw_hsm_object *object, const struct bw_cache_key *key);
/* Gives back a reference with a session in hand. */
void bw_object_release(struct bw_session *session, struct bw_hsm_object *object);
/* Takes a session with which the object may be used. */
bw_result bw_object_use(struct bw_hsm_object *object, struct bw_session **ret_session);
/* Refuses all further use of the objects that match (match NULL: all), for that reason, and forgets them. session: NULL
 * takes one where it has to. */
typedef bool (*bw_object_match_fn)(const struct bw_hsm_object *object, const void *argument);
void bw_objects_kill(struct bw_token *token, struct bw_session *session, enum bw_code reason, bw_object_match_fn match, const void *argument);

/* ---- tokens ---- */

enum bw_token_state { BW_TOKEN_READY, BW_TOKEN_LOST, BW_TOKEN_OPENING, BW_TOKEN_LOCKED_OUT, BW_TOKEN_CLOSED };

struct bw_token {
    struct bw_hsm       *hsm;
    char                 label[33], serial[17];
    CK_SLOT_ID           slot;
    atomic_uint          references;
    struct bw_token     *next_open;
    struct bw_secret    *pin;

    pthread_mutex_t      pool;         /* the fields up to sessions */
    pthread_cond_t       pool_changed; /* CLOCK_MONOTONIC */
    enum bw_token_state  state;
    _Atomic uint64_t     epoch;        /* counts openings; stands still while a session is out */
    unsigned             out;          /* sessions in callers' hands */
    struct bw_session   *free;
    struct bw_session   *sessions;     /* hsm->sessions of them */

    pthread_mutex_t      holder_lock;
    CK_SESSION_HANDLE    holder;

    pthread_mutex_t      tables;       /* index, cache, live */
    struct bw_index      index;
    struct bw_cache      cache;
    struct bw_hsm_object *live;
};
void bw_token_ref(struct bw_token *token);
void bw_token_unref(struct bw_token *token);
/* Finds the slot, opens the sessions, logs in, enumerates. Nobody has a session out. */
bw_result bw_token_connect(struct bw_token *token);

/* ---- attributes ---- */

bw_result bw_attribute_number(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_ULONG *ret_number);
/* len: room, then what there is. Fails when it does not fit. */
bw_result bw_attribute_bytes(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, uint8_t *bytes, size_t *len);

struct bw_template {
    CK_ATTRIBUTE rows[24];
    CK_ULONG     count;
    CK_ULONG     numbers[24]; /* what rows of numbers point to */
};
void bw_template_add(struct bw_template *t, CK_ATTRIBUTE_TYPE type, bw_bytes value);
void bw_template_flag(struct bw_template *t, CK_ATTRIBUTE_TYPE type, bool value);
void bw_template_number(struct bw_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void bw_template_uses(struct bw_template *t, unsigned uses); /* CKA_ENCRYPT ... of enum bw_use */

/* ---- keys ---- */

/* SubjectPublicKeyInfo of a public key object, appended. */
bw_result bw_public_key_read(struct bw_session *session, CK_OBJECT_HANDLE public_key, CK_KEY_TYPE key_type, struct bw_buf *ret_spki);
/* Adds its parts to a template, from the arena. BW_DATA_INVALID: not the DER of a key of this kind. */
bw_result bw_public_key_parts(const struct bw_spec_row *spec, bw_bytes spki, struct bw_arena *arena, struct bw_template *t);
/* Any version: 0 is for our own keys. */
bw_result bw_object_of_version(struct bw_token *token, const bw_key_id *id, uint32_t version, struct bw_hsm_object **ret_object);

/* Our own keys on a token, made on first use. They have version 0, which no customer's key has; a log key that
 * took another's place has its number. */
enum bw_service { BW_SERVICE_SEAL, BW_SERVICE_MAC, BW_SERVICE_TEST, BW_SERVICE_LOG_ED25519, BW_SERVICE_LOG_P256, BW_SERVICE_IMPORT, BW_SERVICE_ATTEST };
bw_result bw_service_key(struct bw_token *token, enum bw_service service, struct bw_hsm_object **ret_object);
/* SubjectPublicKeyInfo of one that is a pair, appended. */
bw_result bw_service_public_key(struct bw_token *token, enum bw_service service, struct bw_buf *ret_spki);

/* Makes a session object the key version of this name, SENSITIVE and not EXTRACTABLE, and the index knows it. */
bw_result bw_object_keep(struct bw_hsm_object *object, const bw_key_id *id, uint32_t version, const char *label);

/* A throw-away pair of session keys, for the self-test. */
bw_result bw_object_generate_pair(struct bw_token *token, const struct bw_spec_row *spec, struct bw_hsm_object **ret_object);

/* ---- private session keys ---- */

/* What every session key's template begins with. */
void bw_session_template_start(struct bw_template *t, const struct bw_session_key *what);
/* What a pair of that kind is made of, for its public half's template. */
void bw_template_kind(struct bw_template *t, const struct bw_spec_row *spec);
/* Takes over the handle of a private key that came in, whatever it turned out to be. BW_KEY_SIZE, BW_CURVE: not one that is offered. */
bw_result bw_session_private(struct bw_session *session, CK_OBJECT_HANDLE handle, const struct bw_session_key *what,
                             struct bw_hsm_object **ret_object);
/* Adds the parts of a PKCS#8, from the arena. BW_DATA_INVALID: not a key of that type. */
bw_result bw_private_key_parts(CK_KEY_TYPE key_type, bw_bytes pkcs8, struct bw_arena *arena, struct bw_template *t);
/* Room for a session key that is wrapped by AES-KWP (RFC 5649): at most 8 bytes of padding and 8 more. */
static inline size_t bw_session_wrapped_room(const struct bw_session_key *what)
{
    return (bw_session_key_is_private(what) ? BW_PRIVATE_KEY_MAX : what->length) + 16;
}

/* ---- operations ---- */

/* A mechanism as the module takes it; borrows from the other. */
struct bw_ck_mechanism {
    CK_MECHANISM mechanism;
    union {
        CK_GCM_PARAMS            gcm;
        CK_AES_CTR_PARAMS        counter;
        CK_RSA_PKCS_OAEP_PARAMS  oaep;
        CK_RSA_PKCS_PSS_PARAMS   pss;
        CK_ECDH1_DERIVE_PARAMS   ecdh;
    } params;
};
void bw_ck_mechanism_set(struct bw_ck_mechanism *ck, const struct bw_mechanism *mechanism);

static inline CK_BYTE *bw_ck_bytes(bw_bytes bytes)
{
    return bytes.len > 0 ? (CK_BYTE *)bytes.data : (CK_BYTE *)""; /* modules refuse NULL even for no bytes */
}
static inline size_t bw_object_bytes(const struct bw_hsm_object *object) { return (object->bits + 7) / 8; }

/* The raw RSA operation: CKM_RSA_X_509, both sides as long as the modulus. */
bw_result bw_rsa_public(struct bw_hsm_object *key, bw_bytes block, struct bw_arena *arena, bw_bytes *ret_block);
bw_result bw_rsa_private(struct bw_hsm_object *key, bw_bytes block, struct bw_arena *arena, bw_bytes *ret_block);

/* CKM_RSA_AES_KEY_WRAP (PKCS#11 2.1.21): an AES key by OAEP, then something by KWP under it. The AES key, and the rest. */
bw_result bw_rsa_aes_open(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                          struct bw_hsm_object **ret_aes, bw_bytes *ret_rest);

/* A pair as session objects: its private half, PKCS#8 wrapped by AES-KWP, and its public half, which has to be the same key's.
 * Fails as bw_hsm_import. */
bw_result bw_pair_unwrap(struct bw_hsm_object *aes, bw_bytes wrapped, const struct bw_spec_row *spec, bw_bytes public_key,
                         struct bw_hsm_object **ret_pair);

/* OAEP as the module does it: with the hashes that it was seen to do, and no label. All else is composed over the raw operation. */
bool      bw_oaep_is_native(const struct bw_hsm *hsm, const struct bw_mechanism *mechanism);
bw_result bw_oaep_encrypt(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes plaintext,
                          struct bw_arena *arena, bw_bytes *ret_ciphertext);
bw_result bw_oaep_decrypt(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes ciphertext,
                          struct bw_arena *arena, bw_bytes *ret_plaintext);

/* RFC 8017 7.1. block: as long as the modulus. seed: as long as the hash. */
bw_result bw_oaep_pad(const struct bw_mechanism *mechanism, bw_bytes plaintext, const uint8_t *seed, uint8_t *block, size_t block_len);
/* In place and in constant time: one answer, BW_CIPHERTEXT_INVALID, whatever was wrong. */
bw_result bw_oaep_unpad(const struct bw_mechanism *mechanism, uint8_t *block, size_t block_len, bw_bytes *ret_plaintext);

#endif
