/* One function per RPC that the module makes, in our own types. No protobuf-c type leaves rpc.c.
 *
 * arena   takes the reply, which lives until the arena is cleared (and wiped). It must be empty or the caller's own.
 * Every request carries a fresh request id, so that a retry inside the call stays one operation and one audit record.
 * Blocks at most for the configured deadline, retries included; all that one C_ function asks has one deadline. Any thread, holding no lock but its session's.
 * Fails with  what bw_client_call fails with, and the region's own refusals (results.def, 1 to 99). */
#ifndef BW_PROVIDER_RPC_H
#define BW_PROVIDER_RPC_H

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "client.h"

/* The far end of a slot. */
struct bw_remote {
    struct bw_client *client;
    const char       *name;   /* the slot's, for trace lines */
    bool              trace;  /* a line on stderr for every RPC */
};

/* What the calling thread asks between these two has one deadline, which counts from the first. */
void bw_rpc_begin(void);
void bw_rpc_end(void);

/* A master key by name, or a session key that the region sealed. */
struct bw_key_ref {
    struct bw_key_name name;
    bw_bytes           sealed;  /* empty: by name */
    unsigned           version; /* 0: the primary version */
};

/* ---- using keys; the mechanism travels as its row's travels_as, so data is what comes after local hashing ---- */

bw_result bw_rpc_encrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                         const struct bw_mechanism *mechanism, bw_bytes plaintext,
                         bw_bytes *ret_ciphertext, bw_bytes *ret_iv); /* ret_iv: empty unless the HSM drew it */
bw_result bw_rpc_decrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                         const struct bw_mechanism *mechanism, bw_bytes ciphertext, bw_bytes *ret_plaintext);
bw_result bw_rpc_sign(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                      const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes *ret_signature);
bw_result bw_rpc_verify(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                        const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes signature); /* BW_SIGNATURE_INVALID */

/* ---- session keys ---- */

struct bw_session_key {
    CK_KEY_TYPE key_type;
    unsigned    length;      /* bytes; 0: what comes out */
    unsigned    uses;        /* enum bw_use */
    bool        extractable; /* another key may wrap it */
    bool        release;     /* ask for the value itself */
    enum bw_spec spec;       /* of a pair that is generated */
};

struct bw_sealed_key {
    bw_bytes sealed;
    bw_bytes value;   /* empty unless the region released it */
    unsigned length;  /* bytes; of a private key as AES-KWP pads its PKCS#8 */
    bw_bytes check;   /* CKA_CHECK_VALUE */
    const struct bw_spec_row *spec; /* of a private key; else NULL */
    bw_bytes public_key;            /* of a private key, SubjectPublicKeyInfo; empty where the region cannot tell */
};

/* target  the key to wrap, or NULL: value is wrapped, which the application holds itself */
bw_result bw_rpc_wrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                          const struct bw_mechanism *mechanism, const struct bw_key_ref *target, bw_bytes value,
                          bw_bytes *ret_wrapped);
bw_result bw_rpc_unwrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                            const struct bw_mechanism *mechanism, bw_bytes wrapped, const struct bw_session_key *template,
                            struct bw_sealed_key *ret_key);
bw_result bw_rpc_generate_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_mechanism *mechanism,
                              const struct bw_session_key *template, struct bw_sealed_key *ret_key);
/* The value is the application's own. */
bw_result bw_rpc_import_session_key(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes value,
                                    const struct bw_session_key *template, struct bw_sealed_key *ret_key);
bw_result bw_rpc_derive_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                            const struct bw_mechanism *mechanism, const struct bw_session_key *template,
                            struct bw_sealed_key *ret_key);

/* ---- envelopes ---- */

/* One pair of an encryption context, UTF-8. */
struct bw_pair {
    bw_bytes name;
    bw_bytes value;
};

bw_result bw_rpc_envelope_wrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                               const struct bw_pair *context, size_t context_count, bw_bytes plaintext, bw_bytes *ret_envelope);
/* key  which key the caller named: an envelope of another is refused with BW_ENVELOPE_INVALID, its plaintext wiped */
bw_result bw_rpc_envelope_unwrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                                 const struct bw_pair *context, size_t context_count, bw_bytes envelope, bw_bytes *ret_plaintext);

/* Exactly len bytes, 1 to BW_RANDOM_MAX. */
bw_result bw_rpc_random(const struct bw_remote *remote, struct bw_arena *arena, size_t len, bw_bytes *ret_random);

/* ---- keys on the token ---- */

struct bw_remote_key {
    struct bw_key_name        name;
    bw_bytes                  label;
    bw_bytes                  cka_id;
    const struct bw_spec_row *spec;
    unsigned                  uses;       /* enum bw_use */
    bool                      enabled;    /* else disabled, or on its way out or in: it cannot be used */
    bool                      imported;
    unsigned                  version;    /* the primary one */
    bw_bytes                  public_key; /* the primary version's SubjectPublicKeyInfo, DER; empty for secret keys */
    bw_bytes                  owner;      /* the application that made it for itself; empty for most */
    int64_t                   created_us; /* microseconds since 1970, UTC */
    uint64_t                  generation; /* grows with every change */
};

/* Both empty: everything. */
struct bw_filter {
    bw_bytes label;   /* exact; empty: any */
    bw_bytes cka_id;  /* exact; empty: any */
};

/* All pages. Only keys that this caller may use now; keys of specs that this build does not know are left out.
 * ret_generation  the tenant's: while it stays, so does the list */
bw_result bw_rpc_list_keys(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter,
                           struct bw_remote_key **ret_keys, size_t *ret_count, uint64_t *ret_generation);

struct bw_new_key {
    enum bw_spec spec;
    unsigned     uses;   /* 0: all that the spec has */
    bw_bytes     label;
    bw_bytes     cka_id; /* empty: the key's own id */
    bool         imported; /* without material, which is imported then */
};
bw_result bw_rpc_create_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_new_key *key,
                            struct bw_remote_key *ret_key);

/* What it takes to bring a key's material (PROTOCOL.md, "Import"). */
struct bw_import_parameters {
    bw_bytes       wrapping_key; /* SubjectPublicKeyInfo */
    bw_bytes       token;
    enum bw_digest hash;         /* of OAEP, the best that the region's HSM takes */
};
bw_result bw_rpc_import_parameters(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                   struct bw_import_parameters *ret_parameters);
/* wrapped by RSA_AES_KEY_WRAP with AES-256. public_key: of pairs. */
bw_result bw_rpc_import_material(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                 const struct bw_import_parameters *parameters, bw_bytes wrapped, bw_bytes public_key, struct bw_remote_key *ret_key);

/* NULL leaves a field as it is. */
struct bw_key_change {
    const bw_bytes *label;
    const bw_bytes *cka_id;
    const unsigned *uses;   /* may only lose some */
};
bw_result bw_rpc_update_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                            const struct bw_key_change *change, struct bw_remote_key *ret_key);

/* After the region's default delay. */
bw_result bw_rpc_schedule_deletion(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name);

/* ---- certificates, trust and data on the token ---- */

/* CKO_NSS_TRUST: in the place of a value. */
struct bw_remote_trust {
    bw_bytes issuer, serial, subject, sha1, md5;
    CK_ULONG server_auth, client_auth, code_signing, email_protection; /* CKT_NSS_ values */
    bool     step_up_approved;
};

struct bw_remote_object {
    bw_bytes        id;          /* 16 bytes; empty: a new one */
    CK_OBJECT_CLASS class;       /* CKO_CERTIFICATE, CKO_NSS_TRUST or CKO_DATA; else CK_UNAVAILABLE_INFORMATION */
    bw_bytes        label;
    bw_bytes        cka_id;
    bw_bytes        value;
    bw_bytes        application; /* CKO_DATA: CKA_APPLICATION */
    bw_bytes        object_id;   /* CKO_DATA: CKA_OBJECT_ID */
    struct bw_remote_trust trust; /* CKO_NSS_TRUST */
    bw_bytes        owner;
    uint64_t        generation;
};

/* All pages. */
bw_result bw_rpc_list_objects(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter,
                              struct bw_remote_object **ret_objects, size_t *ret_count);
bw_result bw_rpc_put_object(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_remote_object *object,
                            struct bw_remote_object *ret_object);
bw_result bw_rpc_delete_object(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes id);

/* ---- the region ---- */

struct bw_region_facts {
    bw_bytes                 hsm;             /* manufacturer, library, version */
    const CK_MECHANISM_TYPE *mechanisms;      /* that the HSM passed its self-test for */
    size_t                   mechanism_count;
};
bw_result bw_rpc_describe(const struct bw_remote *remote, struct bw_arena *arena, struct bw_region_facts *ret_facts);

#endif
