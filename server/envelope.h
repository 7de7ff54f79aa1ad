/* The envelope: our wrapped blob. Published format (PROTOCOL.md, "Envelope"), so that customers have an exit.
 *
 *   magic "BWK1" | header length u16 | algorithm u8 | flags u8 | region length u8, region | tenant length u8, tenant |
 *   key id 16 | key version u32 | nonce length u8, nonce | ciphertext | tag 16
 *
 * Integers are big-endian; header length counts from the magic to the nonce's end. Authenticated data: the header, then the
 * canonical encryption context: pair count u16, then for each pair in order of its name: name length u16, name, value
 * length u16, value (UTF-8, names distinct). Pure: no HSM, no I/O. */
#ifndef BW_SERVER_ENVELOPE_H
#define BW_SERVER_ENVELOPE_H

#include "bailiwick/names.h"

struct bw_text_pair;

enum bw_envelope_algorithm { BW_ENVELOPE_AES_256_GCM = 1 };

struct bw_envelope {
    enum bw_envelope_algorithm algorithm;
    struct bw_key_name         key;
    uint32_t                   version;
    bw_bytes                   nonce;       /* 12 bytes */
    bw_bytes                   header;      /* as it stands in the blob */
    bw_bytes                   ciphertext;  /* with its tag */
};

/* Bounds first. BW_ENVELOPE_INVALID. Borrowed from blob. */
bw_result bw_envelope_parse(bw_bytes blob, struct bw_envelope *ret_envelope);

/* The header for a new envelope; nonce 12 bytes. */
bw_result bw_envelope_header(const struct bw_key_name *key, uint32_t version, bw_bytes nonce, struct bw_arena *arena, bw_bytes *ret_header);

/* What is authenticated. context sorted by name; BW_BAD_ARGUMENT: a name twice. */
bw_result bw_envelope_authenticated(bw_bytes header, const struct bw_text_pair *context, size_t context_count,
                                    struct bw_arena *arena, bw_bytes *ret_data);

#endif
