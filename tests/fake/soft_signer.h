/* A log's signer without an HSM: Ed25519 keys that are the same in every run. */
#ifndef BW_TESTS_SOFT_SIGNER_H
#define BW_TESTS_SOFT_SIGNER_H

#include <stdatomic.h>

#include "note.h"

struct soft_signer { struct bw_note_signer signer; uint8_t seed[32]; atomic_bool broken; /* signs nothing */ atomic_uint signatures; };

void soft_signer_make(struct soft_signer *soft); /* ends the program when libcrypto cannot */
void soft_signer_make_numbered(struct soft_signer *soft, uint8_t number); /* 0: that one; else others */

#endif
