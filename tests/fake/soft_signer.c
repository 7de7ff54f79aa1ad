#include "fake/soft_signer.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

static const uint8_t seed[32] = "a seed for tests, nothing else";

static bw_result sign(void *self, bw_bytes text, struct bw_buf *signature)
{
    struct soft_signer *soft = self;
    uint8_t made[64];
    size_t  len = sizeof made;

    BW_CHECK(!soft->broken, BW_HSM_UNAVAILABLE, "the signer is broken on purpose");
    EVP_PKEY   *key     = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, soft->seed, sizeof soft->seed);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool signs = EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 && EVP_DigestSign(context, made, &len, text.data, text.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BW_CHECK(signs, BW_INTERNAL, "no signature");
    soft->signatures++;
    return bw_buf_add(signature, bw_bytes_of(made, len));
}

void soft_signer_make_numbered(struct soft_signer *soft, uint8_t number)
{
    uint8_t   public_key[32];
    size_t    len = sizeof public_key;

    *soft = (struct soft_signer){ .signer = { .sign = sign, .self = soft } };
    memcpy(soft->seed, seed, sizeof seed);
    soft->seed[sizeof seed - 1] = number;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, soft->seed, sizeof soft->seed);
    if (EVP_PKEY_get_raw_public_key(key, public_key, &len) != 1
        || !bw_ok(bw_note_key_make("test", BW_NOTE_ED25519, bw_bytes_of(public_key, len), &soft->signer.key)))
        abort();
    EVP_PKEY_free(key);
}

void soft_signer_make(struct soft_signer *soft)
{
    soft_signer_make_numbered(soft, 0);
}
