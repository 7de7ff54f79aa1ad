/* Objects that applications make, copy, change and destroy.
 *
 * For a session: public keys, certificates and data; they stay in this process. On the token: certificates and data, which the
 * region keeps. Secret keys for a session are imported (key.h); private keys, and secret keys on the token, are brought there (bring.h). */
#ifndef BW_PROVIDER_CREATE_H
#define BW_PROVIDER_CREATE_H

#include "object.h"

bw_result bw_create(struct bw_session *session, const CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *ret_object);

/* The copy is a session object. Keys of the region are not copied: their CKA_COPYABLE is false. */
bw_result bw_create_copy(struct bw_session *session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *template, CK_ULONG count,
                         CK_OBJECT_HANDLE *ret_copy);

/* A master key's label and id; its uses may be narrowed. All that CHANGE says of a session object; label and id of the rest. */
bw_result bw_create_change(struct bw_session *session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *template, CK_ULONG count);

/* A master key is scheduled for deletion, with its public half. Destroying the public half alone only hides it, until the key is
 * listed again: clients destroy both, and the private key is what counts. */
bw_result bw_create_destroy(struct bw_session *session, CK_OBJECT_HANDLE object);

/* Roughly what the object takes, in bytes. */
bw_result bw_create_size(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ULONG *ret_size);

#endif
