/* What the region keeps, as PKCS#11 objects: keys, certificates and data to attributes. */
#ifndef BW_PROVIDER_TOKEN_H
#define BW_PROVIDER_TOKEN_H

#include "object.h"

/* A secret key gives one object, a pair two: its private and its public half, in this order. */
struct bw_halves {
    struct bw_object *object[2]; /* the caller's references */
    size_t            count;
};
/* is_private  the token asks for a login, and shows private and secret keys only to those who did */
bw_result bw_token_key(const struct bw_remote_key *key, bool is_private, struct bw_halves *ret_halves);
bw_result bw_token_stored(const struct bw_remote_object *stored, struct bw_object **ret_object);

/* A profile object (PKCS#11 v3.0, 4.13): what the token says that applications may rely on. No region is asked for it. */
bw_result bw_token_profile(CK_ULONG profile, const char *label, struct bw_object **ret_object);

/* What the bytes of a public key, or of a certificate, say of it: modulus, exponent, point, subject, issuer ...
 * BW_DATA_INVALID: they are none. */
bw_result bw_token_describe_public(struct bw_attributes *attributes, bw_bytes spki);
bw_result bw_token_describe_certificate(struct bw_attributes *attributes, bw_bytes der);

/* What a CKO_NSS_TRUST says; borrowed from the attributes. */
struct bw_remote_trust bw_token_trust(const struct bw_attributes *attributes);

/* Sets the attributes (CKA_ENCRYPT ...) that those uses allow, where the object has them, and CKA_ALLOWED_MECHANISMS where it is not
 * set yet. */
bw_result bw_token_allow(struct bw_attributes *attributes, unsigned uses);

/* The uses that a template asks for: what it does not speak of is asked for too. */
unsigned bw_token_uses_wanted(const struct bw_attributes *attributes);

/* All that keys of that type can be used for. */
unsigned bw_token_uses_of(CK_KEY_TYPE key_type);

#endif
