/* Keys that come into being: generated, unwrapped, derived; and keys that leave, wrapped. One RPC each, asking for a length none.
 *
 * With CKA_TOKEN true, C_GenerateKey and C_GenerateKeyPair make master keys, as far as the tenant's policy lets the application.
 * All else is a session key that the region sealed; the public half of a pair stays here. What C_UnwrapKey and C_DeriveKey make is a session object even where the
 * template asks for CKA_TOKEN (pkcs11-tool always does), and says so when asked for that attribute.
 *
 * Uses that the template does not speak of are allowed, as in SoftHSM; CKA_SENSITIVE is true and CKA_EXTRACTABLE false unless it says
 * otherwise. Where it asks for a key that is extractable and not sensitive, and the master key's policy allows release, CKA_VALUE can
 * be read; where the policy does not, the key is sensitive all the same. */
#ifndef BW_PROVIDER_KEY_H
#define BW_PROVIDER_KEY_H

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "output.h"
#include "session.h"

struct bw_template {
    const CK_ATTRIBUTE *attributes;
    CK_ULONG            count;
};

/* C_CreateObject of a session key: its value goes to the region once, and the key is used there like the others. */
bw_result bw_key_import(struct bw_session *session, struct bw_template given, CK_OBJECT_HANDLE *ret_key);
bw_result bw_key_generate(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template wanted,
                          CK_OBJECT_HANDLE *ret_key);
bw_result bw_key_generate_pair(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template public, struct bw_template private,
                               CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private);
bw_result bw_key_wrap(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                      CK_OBJECT_HANDLE key, struct bw_out out);
bw_result bw_key_unwrap(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping, bw_bytes wrapped,
                        struct bw_template wanted, CK_OBJECT_HANDLE *ret_key);
bw_result bw_key_derive(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base, struct bw_template wanted,
                        CK_OBJECT_HANDLE *ret_key);

/* For keys that are made of values (bring.h). NULL: no such spec. The curve, where there is one, decides. */
const struct bw_spec_row *bw_key_spec(CK_KEY_TYPE key_type, CK_ULONG bits, bw_bytes curve);
/* The handle of a master key that the region has just made. */
bw_result bw_key_handle(struct bw_session *session, const bw_key_id *id, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *ret_handle);

#endif
