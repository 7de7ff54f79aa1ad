/* The objects of one slot: handles, attributes, cache. */
#ifndef BW_PROVIDER_OBJECT_H
#define BW_PROVIDER_OBJECT_H

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

struct bw_objects;

bw_result bw_objects_new(struct bw_objects **ret_objects);
void      bw_objects_free(struct bw_objects *objects);

/* Forgets the objects that lived in that session. */
void bw_objects_session_closed(struct bw_objects *objects, CK_SESSION_HANDLE session);

/* Forgets private session objects. */
void bw_objects_logged_out(struct bw_objects *objects);

#endif
