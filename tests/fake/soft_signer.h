/* A log's signer without an HSM: an Ed25519 key that is the same in every run. */
#ifndef BW_TESTS_SOFT_SIGNER_H
#define BW_TESTS_SOFT_SIGNER_H

#include <stdatomic.h>

#include "note.h"

struct soft_signer { struct bw_note_signer signer; atomic_bool broken; /* signs nothing */ atomic_uint signatures; };

void soft_signer_make(struct soft_signer *soft); /* ends the program when libcrypto cannot */

#endif
