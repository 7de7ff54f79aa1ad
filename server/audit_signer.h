/* The audit log's signer: the log key in the HSM's region token, as notes want it. */
#ifndef BW_SERVER_AUDIT_SIGNER_H
#define BW_SERVER_AUDIT_SIGNER_H

#include "hsm.h"
#include "note.h"

/* Makes the key, on a new token. token must outlive the signer; its key goes by name. Any thread may sign. */
bw_result bw_audit_signer_of(struct bw_token *token, const char *name, struct bw_note_signer *ret_signer);

#endif
