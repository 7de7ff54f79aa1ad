/* A mechanism as the application hands it in, to a struct bw_mechanism of ours.
 *
 * Structures and pointers may be unaligned, and both sizes of CK_GCM_PARAMS are met in the wild (with and without
 * ulIvBits). Everything is copied at C_xxxInit, for the application may free it then. The one exception is a GCM IV that
 * the HSM is to draw: ulIvLen 0, ulIvBits 96 and a pIv with room for 12 bytes, which must live until C_Encrypt wrote them. */
#ifndef BW_PROVIDER_PARAMETERS_H
#define BW_PROVIDER_PARAMETERS_H

#include "bailiwick/mechanism.h"
#include "rpc.h"

struct bw_parameters {
    struct bw_mechanism   mechanism;
    CK_BYTE              *iv_back;        /* the application's: where a drawn IV goes, BW_GCM_IV_LEN bytes; or NULL */
    const struct bw_pair *context;        /* CKM_BAILIWICK_ENVELOPE */
    size_t                context_count;
};

/* use      one of enum bw_use: what the mechanism is asked for
 * arena    takes the copies
 * Fails with  BW_MECHANISM_INVALID  not offered for that use;  BW_MECHANISM_PARAM  its parameters;  BW_BAD_ARGUMENT  a length
 *             without a pointer;  BW_NO_MEMORY. */
bw_result bw_parameters_parse(const CK_MECHANISM *mechanism, unsigned use, struct bw_arena *arena,
                              struct bw_parameters *ret_parameters);

/* CKM_BAILIWICK_ENVELOPE, which is no row of mechanisms.def: it has methods of its own instead of a number on the wire. */
extern const struct bw_mechanism_row bw_envelope_row;

/* For C_MessageEncryptInit and C_MessageDecryptInit: AES-GCM, whose parameters come with each message. */
bw_result bw_parameters_parse_messages(const CK_MECHANISM *mechanism, unsigned use, struct bw_parameters *ret_parameters);

/* Message-based encryption (PKCS#11 v3.0, 5.10): the parameter of one message.
 * iv_back  where C_EncryptMessage writes the IV that the HSM drew, when its generator is not CKG_NO_GENERATE
 * tag      the application's, tag_bits long: written on encryption, read on decryption */
struct bw_message {
    bw_bytes  iv;        /* borrowed; empty: the HSM draws it */
    CK_BYTE  *iv_back;
    CK_BYTE  *tag;
    unsigned  tag_bits;
};
bw_result bw_message_parse(const void *parameter, CK_ULONG parameter_len, bool encrypts, struct bw_message *ret_message);

#endif
