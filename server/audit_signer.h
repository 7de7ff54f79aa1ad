/* The audit log's signer: the log key in the HSM's region token, as notes want it. */
#ifndef BW_SERVER_AUDIT_SIGNER_H
#define BW_SERVER_AUDIT_SIGNER_H

#include "hsm.h"
#include "note.h"

/* note.self is the whole of it. */
struct bw_audit_signer { struct bw_token *token; uint32_t number; struct bw_note_signer note; };

/* The log key of that number, 0 the first; makes it where there is none. token and signer must outlive who signs with it; its
 * key goes by name. Any thread may sign. */
bw_result bw_audit_signer_of(struct bw_token *token, const char *name, uint32_t number, struct bw_audit_signer *signer);

#endif
