/* Import tokens and statements: what a region hands out before a customer's key material comes in.
 *
 * A token names nothing by itself: it is an expiry, the key's generation, and an HMAC over both and over region, tenant and
 * key. So it is good for this key alone, and for one import: importing counts the generation up, as any change of the key. */
#ifndef BW_SERVER_IMPORT_H
#define BW_SERVER_IMPORT_H

#include "hsm.h"
#include "registry.h"

bw_result bw_import_token_make(struct bw_token *token, const struct bw_key *key, int64_t expires_us, struct bw_arena *arena,
                               uint8_t ret_bytes[static BW_IMPORT_TOKEN_LEN]);
/* BW_IMPORT_TOKEN_INVALID, BW_EXPIRED. */
bw_result bw_import_token_check(struct bw_token *token, const struct bw_key *key, const uint8_t bytes[static BW_IMPORT_TOKEN_LEN],
                                int64_t now_us, struct bw_arena *arena);

/* The statement about a wrapping key (PROTOCOL.md, "Import"), and the region's signature of it, DER. From the arena. */
struct bw_statement { const char *text; bw_bytes signature; };
bw_result bw_import_attest(const struct bw_hsm *hsm, struct bw_token *region_token, const struct bw_key_name *name, bw_bytes wrapping_key, int64_t expires_us,
                           struct bw_arena *arena, struct bw_statement *ret_statement);

#endif
