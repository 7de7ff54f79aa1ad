/* Signed notes (c2sp.org/signed-note) and the checkpoints that travel as such (c2sp.org/tlog-checkpoint). */
#ifndef BW_PROTO_NOTE_H
#define BW_PROTO_NOTE_H

#include "merkle.h"

enum {
    BW_NOTE_NAME_MAX       = 255 + 48, /* an origin */
    BW_NOTE_KEY_MAX        = 128,      /* a public key: 32 bytes, or a P-256 SubjectPublicKeyInfo */
    BW_NOTE_MAX            = 64 * 1024,
    BW_NOTE_SIGNATURES_MAX = 100
};

/* The signature types that we make and check; the number is part of a key's id. */
enum bw_note_type { BW_NOTE_ED25519 = 1, BW_NOTE_ECDSA_P256 = 2 };

struct bw_note_key {
    char              name[BW_NOTE_NAME_MAX + 1];
    uint32_t          id;
    enum bw_note_type type;
    uint8_t           key[BW_NOTE_KEY_MAX];  /* Ed25519: RFC 8032's 32 bytes; ECDSA: SubjectPublicKeyInfo, DER */
    size_t            key_len;
};

/* BW_BAD_ARGUMENT: no such type, no such key, or a name with a blank, a '+' or a control character. */
bw_result bw_note_key_make(const char *name, enum bw_note_type type, bw_bytes public_key, struct bw_note_key *ret_key);

/* Whatever their names. */
bool bw_note_key_is_same(const struct bw_note_key *a, const struct bw_note_key *b);

/* As text, "name+id+base64", which is how keys are handed to verifiers. Reading refuses an id that is not the key's. */
bw_result bw_note_key_print(const struct bw_note_key *key, struct bw_buf *ret_text);
bw_result bw_note_key_parse(bw_bytes text, struct bw_note_key *ret_key);

/* Whoever signs: usually the HSM. signature is appended to: Ed25519 64 bytes, ECDSA r || s, 32 bytes each, over SHA-256. */
struct bw_note_signer {
    struct bw_note_key key;
    bw_result        (*sign)(void *self, bw_bytes text, struct bw_buf *signature);
    void              *self;
};

/* text, ending in a newline, and one signature line, appended. The signature is checked before it is given out. */
bw_result bw_note_sign(bw_bytes text, const struct bw_note_signer *signer, struct bw_buf *ret_note);

/* The text, borrowed from note, once a key of these has signed it. Signatures of other keys are passed over; one of these
 * keys that does not verify spoils the note. BW_DATA_INVALID: not a note; BW_SIGNATURE_INVALID: not signed by these. */
bw_result bw_note_verify(bw_bytes note, const struct bw_note_key *keys, size_t count, bw_bytes *ret_text);

/* ---- base64, RFC 4648 section 4 ----
 * Appended to. Reading takes what is written, and only that; BW_DATA_INVALID else. */
bw_result bw_base64_add(struct bw_buf *buf, bw_bytes bytes);
bw_result bw_base64_read(bw_bytes text, struct bw_buf *ret_bytes);

/* ---- checkpoints ---- */

struct bw_checkpoint {
    char     origin[BW_NOTE_NAME_MAX + 1];
    uint64_t size;
    bw_hash  root;
};

bw_result bw_checkpoint_print(const struct bw_checkpoint *checkpoint, struct bw_buf *ret_text);
/* BW_DATA_INVALID: not a checkpoint. Lines after the third are allowed, and left out. */
bw_result bw_checkpoint_parse(bw_bytes text, struct bw_checkpoint *ret_checkpoint);

#endif
