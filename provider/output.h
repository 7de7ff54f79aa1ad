/* "NULL asks the length, a short buffer says so" (PKCS#11 v3.0, 5.2), in one place.
 *
 * Callers hand in packed structures, so the pointer to the length may be unaligned, and a length they never set when
 * they only ask. What they offer is read before anything is written over it. */
#ifndef BW_PROVIDER_OUTPUT_H
#define BW_PROVIDER_OUTPUT_H

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

struct bw_out {
    CK_BYTE_PTR  data; /* NULL: the caller asks for the length */
    CK_ULONG_PTR len;  /* in: room, out: length */
};

/* An unaligned CK_ULONG. */
CK_ULONG bw_ulong_at(const void *at);
void     bw_ulong_put(void *at, CK_ULONG value);

/* What PKCS#11 hands us as pointer and length. BW_BAD_ARGUMENT: a length without a pointer. */
bw_result bw_input(const void *data, CK_ULONG len, bw_bytes *ret_bytes);

/* BW_BAD_ARGUMENT: there is no place for the length. */
bw_result bw_out_check(struct bw_out out);
static inline bool bw_out_is_query(struct bw_out out) { return out.data == NULL; }

/* Tells a length without writing bytes: the answer to a query. */
void bw_out_tell(struct bw_out out, size_t len);

/* Whether len bytes fit. BW_BUFFER_SMALL: they do not, and the caller is told how many there are. Not for queries. */
bw_result bw_out_room(struct bw_out out, size_t len);

/* Checks the room, then writes bytes and length. A query only gets the length. */
bw_result bw_out_write(struct bw_out out, bw_bytes bytes);

#endif
