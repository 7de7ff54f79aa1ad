/* The HSM, through any vendor's PKCS#11 module: tokens, sessions, keys and what is done with them.
 *
 * The seam for tests is PKCS#11 itself: bw_hsm_open_with takes a function list, so a test can put one between us and
 * SoftHSM that fails the nth call.
 *
 * Sessions are pooled per token; one owner logs in and rebuilds the pool when the device errs. Handles come from one
 * enumeration when a token is opened and from creation, never from a search per request. A key version is copied into a
 * session object on first use (bounded cache); forgetting a key destroys the copy. Any thread may call anything.
 *
 * PKCS#11 has no way to make a new token object durable: whoever generates a key or creates a token has to sync the module's
 * storage, where that is a local folder, before he tells anyone. */
#ifndef BW_SERVER_HSM_H
#define BW_SERVER_HSM_H

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "bailiwick/secret.h"

struct bw_hsm;
struct bw_token;
struct bw_hsm_object;

struct bw_hsm_options {
    const char *module;    /* path of the vendor's PKCS#11 module */
    unsigned    sessions;  /* per token, in the pool */
};
bw_result bw_hsm_open(const struct bw_hsm_options *options, struct bw_hsm **ret_hsm);
bw_result bw_hsm_open_with(CK_FUNCTION_LIST *functions, const struct bw_hsm_options *options, struct bw_hsm **ret_hsm);
void      bw_hsm_close(struct bw_hsm *hsm);

/* "manufacturer, library, version", for Describe; borrowed. */
const char *bw_hsm_description(const struct bw_hsm *hsm);

/* Whether this HSM does the mechanism for this use (one of enum bw_use): what bw_hsm_self_test found, never what
 * C_GetMechanismInfo claims. What we compose ourselves (OAEP with other hashes, RSA_AES_KEY_WRAP) counts. */
bool bw_hsm_offers(const struct bw_hsm *hsm, CK_MECHANISM_TYPE mechanism, unsigned use);

/* What it unwraps inside, so that an import can come that way: likewise found by the self-test. */
bool bw_hsm_imports(const struct bw_hsm *hsm, const struct bw_spec_row *spec);
const char *bw_hsm_why_no_import(const struct bw_hsm *hsm, const struct bw_spec_row *spec); /* a literal; NULL: it imports them */
bool bw_hsm_imports_by(const struct bw_hsm *hsm, enum bw_digest oaep_hash);

/* ---- tokens ---- */

/* Labels: "bw:<region>" is the region's own token, "bw:<region>:<tenant>" a tenant's; where that has more than the 32
 * bytes a label has, "bw:<region>:#" and as much of the tenant's SHA-256 in hexadecimal as fits. tenant NULL: the region's. */
void bw_token_label(const bw_region *region, const bw_tenant *tenant, char label[static 33]);

/* Initialises a free slot. Fails with BW_ALREADY_EXISTS when a token has that label. ret_serial: 16 characters. */
bw_result bw_token_create(struct bw_hsm *hsm, const char *label, bw_bytes so_pin, bw_bytes user_pin, char ret_serial[static 17]);

/* Finds by label (and serial, when not empty), logs in, enumerates. Fails with BW_HSM_UNAVAILABLE when there is none or
 * more than one, BW_CREDENTIAL_INVALID when the PIN is wrong, BW_CONFLICT while the token is open already. The PIN is kept
 * (struct bw_secret) for re-login. */
bw_result bw_token_open(struct bw_hsm *hsm, const char *label, const char *serial, bw_bytes user_pin, struct bw_token **ret_token);

const char *bw_token_serial(const struct bw_token *token); /* 16 characters; borrowed */

/* Seals: waits for the calls that are in the HSM, logs out, destroys copies and session keys, forgets the PIN. All use of the
 * token and its objects, now and later, fails with BW_TENANT_SEALED. The token may be opened anew at once; this one stays
 * what its owner has to free. Any thread, while others are in calls; again is harmless. */
void bw_token_close(struct bw_token *token);
/* Closes it, if that was not done. The memory goes with the last object; nobody may name the token any more. NULL is fine. */
void bw_token_free(struct bw_token *token);

/* Labels of all tokens present that begin with "bw:", for the check that a node serves only its own region. */
bw_result bw_hsm_each_label(struct bw_hsm *hsm, bw_result (*each)(void *self, const char *label), void *self);

/* Makes throw-away session keys on this token and tries every mechanism with them; bw_hsm_offers answers afterwards. */
bw_result bw_hsm_self_test(struct bw_hsm *hsm, struct bw_token *token);

/* One encryption with the region's own test key: for health. Never a customer's key. */
bw_result bw_hsm_ping(struct bw_token *token);

/* ---- keys: CKA_ID is the key id (16 bytes) and the version (4 bytes, big-endian), CKA_LABEL the key's name ---- */

/* Generates inside, SENSITIVE and not EXTRACTABLE. ret_public_key: SubjectPublicKeyInfo, appended; nothing for secret keys.
 * Serialised: some HSMs fail concurrent creation. */
bw_result bw_hsm_generate(struct bw_token *token, const struct bw_spec_row *spec, const bw_key_id *id, uint32_t version,
                          const char *label, struct bw_buf *ret_public_key);

/* Destroys the token object (and its public half) and every copy. No such object: BW_OK, so that it can be repeated. */
bw_result bw_hsm_destroy(struct bw_token *token, const bw_key_id *id, uint32_t version);

/* Destroys the session copies of all versions and the session keys that came out of the key, and refuses those in callers'
 * hands for that reason; the token objects stay, so that bw_hsm_key finds the key again. For disable. */
void bw_hsm_forget(struct bw_token *token, const bw_key_id *id, enum bw_code reason);

/* Every key version on the token: for resolving intents at start. */
bw_result bw_hsm_each_key(struct bw_token *token, bw_result (*each)(void *self, const bw_key_id *id, uint32_t version), void *self);

/* A usable key: a reference, given back with bw_hsm_object_unref. BW_NO_SUCH_KEY. */
bw_result bw_hsm_key(struct bw_token *token, const bw_key_id *id, uint32_t version, struct bw_hsm_object **ret_object);
void      bw_hsm_object_unref(struct bw_hsm_object *object); /* NULL is fine */
CK_KEY_TYPE bw_hsm_object_key_type(const struct bw_hsm_object *object);
unsigned    bw_hsm_object_bits(const struct bw_hsm_object *object);

/* ---- import ---- */

/* The token's wrapping key, RSA-4096, made on first use: its SubjectPublicKeyInfo, appended. */
bw_result bw_hsm_wrapping_key(struct bw_token *token, struct bw_buf *ret_public_key);
/* Makes it when it is not there: seconds. */
bw_result bw_hsm_prepare_wrapping_key(struct bw_token *token);

enum { BW_FINGERPRINT_LEN = 32 };

struct bw_import {
    const struct bw_mechanism *mechanism;   /* RSA_PKCS_OAEP; RSA_AES_KEY_WRAP, which alone takes private keys (PKCS#8) */
    bw_bytes                   wrapped;
    const struct bw_spec_row  *spec;
    bw_bytes                   public_key;  /* SubjectPublicKeyInfo of a pair; secret keys: empty */
    const bw_key_id           *id;
    uint32_t                   version;
    const char                *label;       /* the key's name */
    bw_bytes                   fingerprint; /* of what it has to be; empty: anything */
};
struct bw_imported {
    uint8_t check[3];                       /* PROTOCOL.md, "Import" */
    uint8_t fingerprint[BW_FINGERPRINT_LEN];
};

/* A key that was wrapped by it, unwrapped inside: SENSITIVE, not EXTRACTABLE, not LOCAL. What the module would have to be
 * helped with outside the HSM is refused with BW_MECHANISM_INVALID or BW_NOT_IMPORTABLE. A pair's halves are shown to belong
 * together, by a signature, before anything is kept.
 * BW_WRAPPED_KEY_INVALID, BW_KEY_SIZE, BW_DATA_INVALID: not such a key; BW_OTHER_MATERIAL: the halves of two pairs, or not
 * what has that fingerprint; BW_ALREADY_EXISTS. Then nothing is left of it. */
bw_result bw_hsm_import(struct bw_token *token, const struct bw_import *import, struct bw_imported *ret_imported);

/* HMAC-SHA-256 by the token's own MAC key, 32 bytes from the arena. */
bw_result bw_hsm_mac(struct bw_token *token, bw_bytes data, struct bw_arena *arena, bw_bytes *ret_mac);

/* The token's attestation key, EC P-256, made on first use. The signature is r || s over a SHA-256 digest. */
bw_result bw_hsm_attestation_key(struct bw_token *token, struct bw_buf *ret_public_key);
bw_result bw_hsm_attest(struct bw_token *token, const uint8_t digest[static 32], struct bw_arena *arena, bw_bytes *ret_signature);

/* ---- the log ---- */

/* The region's key of that number for signing checkpoints of its logs, 0 the first: made on first use, SENSITIVE, not EXTRACTABLE, signs and nothing else;
 * Ed25519, or NIST P-256 where the HSM does no CKM_EDDSA. ret_public_key: SubjectPublicKeyInfo, appended. Use it with
 * CKM_EDDSA over what is to be signed, or CKM_ECDSA over its SHA-256, as its key type tells. */
bw_result bw_hsm_log_key(struct bw_token *token, uint32_t number, struct bw_hsm_object **ret_object, struct bw_buf *ret_public_key);

/* ---- session keys, sealed ---- */

/* What a session key is; travels authenticated inside its sealed bytes. */
struct bw_session_key {
    CK_KEY_TYPE key_type;     /* CKK_AES, CKK_GENERIC_SECRET; CKK_RSA, CKK_EC: a private key */
    uint32_t    length;       /* bytes; of private keys that are sealed: of their PKCS#8, padded as AES-KWP does */
    uint32_t    uses;         /* enum bw_use */
    bool        extractable;  /* may be wrapped by another key */
    bw_region   region;
    bw_tenant   tenant;
    bw_key_id   origin;       /* the master key that it came out of; zero: generated */
};

static inline bool bw_session_key_is_private(const struct bw_session_key *what)
{
    return what->key_type == CKK_RSA || what->key_type == CKK_EC;
}

/* What an object was made as, or found to be: borrowed. NULL: not a session key. */
const struct bw_session_key *bw_hsm_session_key(const struct bw_hsm_object *object);

/* Sealed bytes: a header of what the object was made with, the key wrapped by the tenant's sealing key (AES-KWP,
 * non-extractable, made on first use), and an HMAC over both by its MAC key, all inside the HSM. At most BW_SEALED_MAX bytes,
 * from the arena. BW_NOT_PERMITTED: not a session key. */
bw_result bw_hsm_seal(struct bw_hsm_object *object, struct bw_arena *arena, bw_bytes *ret_sealed);

/* A usable object from sealed bytes; a bounded cache keyed by their hash answers the second time.
 * BW_SEALED_KEY_INVALID: damaged, or of another tenant or region. */
bw_result bw_hsm_unseal(struct bw_token *token, const bw_region *region, const bw_tenant *tenant, bw_bytes sealed,
                        struct bw_hsm_object **ret_object, struct bw_session_key *ret_what);

/* New session keys, living in the HSM. what->length 0 means what comes out; it is set then. bw_hsm_wrap and bw_hsm_reveal
 * refuse keys that are not what->extractable with BW_NOT_PERMITTED. BW_KEY_SIZE, BW_WRAPPED_KEY_INVALID, BW_TEMPLATE_INVALID. */
bw_result bw_hsm_generate_session(struct bw_token *token, struct bw_session_key *what, struct bw_hsm_object **ret_object);
bw_result bw_hsm_unwrap(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes wrapped,
                        struct bw_session_key *what, struct bw_hsm_object **ret_object);
bw_result bw_hsm_derive(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_session_key *what,
                        struct bw_hsm_object **ret_object);
bw_result bw_hsm_wrap(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, struct bw_hsm_object *target,
                      struct bw_arena *arena, bw_bytes *ret_wrapped);
/* A session object of a value that a caller holds itself, so that it can be wrapped (when what->extractable): an AES key, 1 to
 * 4096 bytes of CKK_GENERIC_SECRET, or a private key as PKCS#8 (BW_DATA_INVALID: it is none of that type). */
bw_result bw_hsm_import_session(struct bw_token *token, bw_bytes value, const struct bw_session_key *what, struct bw_hsm_object **ret_object);
/* CKA_CHECK_VALUE (PKCS#11 v3.0, Base 4.10.2). ret_has_check false: the HSM tells none, and the key
 * is none that could encrypt a block. */
bw_result bw_hsm_check_value(struct bw_hsm_object *object, uint8_t ret_check[static 3], bool *ret_has_check);
/* A pair for a session; what->uses are its private half's. Session keys that are private come in by bw_hsm_unwrap and
 * bw_hsm_import_session like the others. Ed25519 is refused with BW_KEY_TYPE: HSMs do not unwrap such keys. */
bw_result bw_hsm_generate_session_pair(struct bw_token *token, const struct bw_spec_row *spec, struct bw_session_key *what,
                                       struct bw_hsm_object **ret_object);
/* Of a private session key: what it is made of, and its SubjectPublicKeyInfo, appended; nothing of an EC key that came in, whose
 * point HSMs do not tell. */
bw_result bw_hsm_session_public(struct bw_hsm_object *object, const struct bw_spec_row **ret_spec, struct bw_buf *ret_public_key);
/* The value itself, only of secret keys made extractable for an allowed release. */
bw_result bw_hsm_reveal(struct bw_hsm_object *object, struct bw_arena *arena, bw_bytes *ret_value);

/* ---- use ----
 * Outputs come from the arena, which wipes them. mechanism has passed bw_mechanism_check and fits the key.
 * GCM wants its IV here (draw it with bw_hsm_random) and has its tag at the ciphertext's end. ECDSA: r || s.
 * Fails with BW_CIPHERTEXT_INVALID, BW_CIPHERTEXT_LENGTH, BW_DATA_LENGTH, BW_SIGNATURE_INVALID..., BW_KEY_TYPE, BW_KEY_STATE
 * when the object is gone, BW_TENANT_SEALED when its token is, BW_OVERLOADED when no session became free within 2 s,
 * BW_HSM_UNAVAILABLE (the token was lost: the next call opens it again, objects have to be asked for anew), BW_HSM_FAILED.
 * RSA PKCS#1 v1.5 and OAEP decryption fail uniformly. */
bw_result bw_hsm_encrypt(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes plaintext,
                         struct bw_arena *arena, bw_bytes *ret_ciphertext);
bw_result bw_hsm_decrypt(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes ciphertext,
                         struct bw_arena *arena, bw_bytes *ret_plaintext);
bw_result bw_hsm_sign(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes data,
                      struct bw_arena *arena, bw_bytes *ret_signature);
bw_result bw_hsm_verify(struct bw_hsm_object *key, const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes signature);

bw_result bw_hsm_random(struct bw_token *token, uint8_t *bytes, size_t len);

#endif
