#include "audit_signer.h"

#include <unistd.h>

#include <openssl/sha.h>

enum { ED25519_LEN = 32 };

static bw_result sign_with(const struct bw_audit_signer *signer, CK_MECHANISM_TYPE type, bw_bytes data, struct bw_buf *signature)
{
    const struct bw_mechanism mechanism = { .row = bw_mechanism_row(type) };
    struct bw_arena       arena      = { 0 };
    struct bw_buf         public_key = { 0 };
    struct bw_hsm_object *key;
    bw_bytes              made;

    bw_result r = bw_hsm_log_key(signer->token, signer->number, &key, &public_key); /* asked for anew: the token may have been lost meanwhile */
    bw_buf_clear(&public_key);
    BW_TRY(r);
    r = bw_hsm_sign(key, &mechanism, data, &arena, &made);
    if (bw_ok(r))
        r = bw_buf_add(signature, made);
    bw_hsm_object_unref(key);
    bw_arena_clear(&arena);
    return r;
}

static bw_result sign_ed25519(void *self, bw_bytes text, struct bw_buf *signature)
{
    return sign_with(self, CKM_EDDSA, text, signature);
}

static bw_result sign_p256(void *self, bw_bytes text, struct bw_buf *signature)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    (void)SHA256(text.data, text.len, digest);
    return sign_with(self, CKM_ECDSA, bw_bytes_of(digest, sizeof digest), signature);
}

/* RFC 8410: an Ed25519 key is the last 32 bytes of its SubjectPublicKeyInfo. */
static bw_result make_key(const char *name, bool is_ed25519, bw_bytes spki, struct bw_note_key *ret_key)
{
    if (!is_ed25519)
        return bw_note_key_make(name, BW_NOTE_ECDSA_P256, spki, ret_key);
    BW_CHECK(spki.len > ED25519_LEN, BW_HSM_FAILED, "the HSM's Ed25519 key");
    return bw_note_key_make(name, BW_NOTE_ED25519, bw_bytes_of(spki.data + spki.len - ED25519_LEN, ED25519_LEN), ret_key);
}

bw_result bw_audit_signer_of(struct bw_token *token, const char *name, uint32_t number, struct bw_audit_signer *signer)
{
    struct bw_buf         spki = { 0 };
    struct bw_hsm_object *key;

    *signer = (struct bw_audit_signer){ .token = token, .number = number, .note = { .self = signer } };
    bw_result r = bw_hsm_log_key(token, number, &key, &spki);
    if (bw_ok(r)) {
        bool is_ed25519 = bw_hsm_object_key_type(key) == CKK_EC_EDWARDS;
        signer->note.sign = is_ed25519 ? sign_ed25519 : sign_p256;
        r = make_key(name, is_ed25519, bw_buf_bytes(&spki), &signer->note.key);
        bw_hsm_object_unref(key);
    }
    bw_buf_clear(&spki);
    BW_TRY(r);
    sync(); /* in case it was made just now: modules that keep files do not sync them, and a lost log key is a change of keys */
    return bw_success();
}
