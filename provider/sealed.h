/* Session keys that the region sealed, as objects: secret ones and private ones, and the public halves that come with those. */
#ifndef BW_PROVIDER_SEALED_H
#define BW_PROVIDER_SEALED_H

#include "object.h"

/* What a template asks the region for. */
struct bw_session_key bw_sealed_template(const struct bw_attributes *attributes);

struct bw_birth {
    CK_MECHANISM_TYPE generator; /* CK_UNAVAILABLE_INFORMATION: it came from elsewhere */
    unsigned          uses;      /* enum bw_use */
};
/* The key as an object of the session; its attributes are copied. key->public_key: of a private key, where it is known. */
bw_result bw_sealed_add(struct bw_session *session, const struct bw_attributes *attributes, const struct bw_sealed_key *key,
                        struct bw_birth birth, CK_OBJECT_HANDLE *ret_key);
/* The public half of a pair that was generated: it stays in this process. */
bw_result bw_sealed_add_public(struct bw_session *session, const struct bw_attributes *attributes, bw_bytes spki, CK_MECHANISM_TYPE generator,
                               CK_OBJECT_HANDLE *ret_key);

#endif
