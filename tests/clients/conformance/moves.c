/* Every legal and illegal move of an operation: each function in each state, and what the state is afterwards. */
#include <stdio.h>
#include <string.h>

#include "case.h"

/* One kind of operation, by its functions, and what it is fed. */
struct kind {
    const char      *name;
    const char      *function;   /* "C_Encrypt" */
    bool             gives_out;  /* not verification */
    CK_RV          (*init)(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE);
    CK_RV          (*once)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV          (*update)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
    CK_RV          (*final)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG *);
    CK_MECHANISM     mechanism;
    CK_OBJECT_HANDLE key;
    struct bytes     in;
};

static struct bytes signature; /* of what verification is fed */

static CK_RV sign_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out, (void)ret_len;
    return p11->C_SignUpdate(s, in, len);
}

static CK_RV verify_once(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out, (void)ret_len;
    return p11->C_Verify(s, in, len, signature.data, signature.len);
}

static CK_RV verify_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out, (void)ret_len;
    return p11->C_VerifyUpdate(s, in, len);
}

static CK_RV verify_final(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out, (void)ret_len;
    return p11->C_VerifyFinal(s, signature.data, signature.len);
}

static CK_RV digest_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    (void)key;
    return p11->C_DigestInit(s, m);
}

static CK_RV digest_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *ret_len)
{
    (void)out, (void)ret_len;
    return p11->C_DigestUpdate(s, in, len);
}

enum state { NONE, NEW, PART, STATES };
static const char *const state_names[STATES] = { "none", "new", "part" };

enum move { INIT, CANCEL, ONCE, ONCE_ASKING, ONCE_SHORT, ONCE_NO_LENGTH, UPDATE, UPDATE_NOTHING, FINAL, FINAL_ASKING, FINAL_SHORT, FINAL_NO_LENGTH, MOVES };
static const struct { const char *format; bool gives_out; } move_rows[MOVES] = {
    [INIT]           = { "%s: %sInit", false },                 [CANCEL]          = { "%s: %sInit(NULL mechanism)", false },
    [ONCE]           = { "%s: %s", false },                     [ONCE_ASKING]     = { "%s: %s asking", true },
    [ONCE_SHORT]     = { "%s: %s, no room", true },             [ONCE_NO_LENGTH]  = { "%s: %s(NULL length)", true },
    [UPDATE]         = { "%s: %sUpdate", false },               [UPDATE_NOTHING]  = { "%s: %sUpdate of nothing", false },
    [FINAL]          = { "%s: %sFinal", false },                [FINAL_ASKING]    = { "%s: %sFinal asking", true },
    [FINAL_SHORT]    = { "%s: %sFinal, no room", true },        [FINAL_NO_LENGTH] = { "%s: %sFinal(NULL length)", true },
};

static CK_RV do_move(const struct kind *k, CK_SESSION_HANDLE s, enum move move)
{
    CK_MECHANISM m = k->mechanism;
    struct bytes in = k->in, out;
    CK_ULONG len = sizeof out.data, little = 1;

    switch (move) {
    case INIT:            return k->init(s, &m, k->key);
    case CANCEL:          return k->init(s, NULL, k->key);
    case ONCE:            return k->once(s, in.data, in.len, out.data, &len);
    case ONCE_ASKING:     return k->once(s, in.data, in.len, NULL, &len);
    case ONCE_SHORT:      return k->once(s, in.data, in.len, out.data, &little);
    case ONCE_NO_LENGTH:  return k->once(s, in.data, in.len, out.data, NULL);
    case UPDATE:          return k->update(s, in.data, in.len, out.data, &len);
    case UPDATE_NOTHING:  return k->update(s, in.data, 0, out.data, &len);
    case FINAL:           return k->final(s, out.data, &len);
    case FINAL_ASKING:    return k->final(s, NULL, &len);
    case FINAL_SHORT:     return k->final(s, out.data, &little);
    case FINAL_NO_LENGTH: return k->final(s, out.data, NULL);
    default:              return CKR_GENERAL_ERROR;
    }
}

/* A session of its own, so that nothing is left from the move before. */
static void try_move(const struct kind *k, enum state state, enum move move)
{
    CK_SESSION_HANDLE s = 0;
    char line[96], then[112];

    (void)p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s);
    if (state != NONE)
        (void)do_move(k, s, INIT);
    if (state == PART)
        (void)do_move(k, s, UPDATE);
    snprintf(line, sizeof line, move_rows[move].format, state_names[state], k->function);
    snprintf(then, sizeof then, "%s, then Init", line);
    say(line, do_move(k, s, move));
    say(then, do_move(k, s, INIT));
    (void)p11->C_CloseSession(s);
}

static void try_kind(const struct kind *k)
{
    begin("moves of %s", k->name);
    for (enum state state = NONE; state < STATES; state++)
        for (enum move move = INIT; move < MOVES; move++)
            if (k->gives_out || !move_rows[move].gives_out)
                try_move(k, state, move);
}

static struct bytes encrypted(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *in)
{
    struct bytes out = { .len = sizeof out.data };

    begin("moves: what is decrypted");
    OK("C_EncryptInit", p11->C_EncryptInit(session, m, key));
    OK("C_Encrypt", p11->C_Encrypt(session, (CK_BYTE *)in->data, in->len, out.data, &out.len));
    return out;
}

static void sign_to(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *in)
{
    begin("moves: what is verified");
    signature.len = sizeof signature.data;
    OK("C_SignInit", p11->C_SignInit(session, m, key));
    OK("C_Sign", p11->C_Sign(session, (CK_BYTE *)in->data, in->len, signature.data, &signature.len));
}

void moves(void)
{
    static CK_BYTE iv[16];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, 16 }, mac = { CKM_SHA256_HMAC, NULL, 0 }, sha = { CKM_SHA256, NULL, 0 }, rsa_hash = { CKM_SHA256_RSA_PKCS, NULL, 0 };
    struct bytes in = filled(96);
    CK_OBJECT_HANDLE aes = secret_key(CKK_AES, in.data, 32), hmac = secret_key(CKK_GENERIC_SECRET, in.data, 32);
    CK_OBJECT_HANDLE rsa = find_key(CKO_PRIVATE_KEY, "rsa"), rsa_public = find_key(CKO_PUBLIC_KEY, "rsa");
    struct bytes ciphertext = encrypted(&cbc, aes, &in);
    const struct kind kinds[] = {
        { "encryption", "C_Encrypt", true, p11->C_EncryptInit, p11->C_Encrypt, p11->C_EncryptUpdate, p11->C_EncryptFinal, cbc, aes, in },
        { "decryption", "C_Decrypt", true, p11->C_DecryptInit, p11->C_Decrypt, p11->C_DecryptUpdate, p11->C_DecryptFinal, cbc, aes, ciphertext },
        { "digests",    "C_Digest",  true, digest_init,        p11->C_Digest,  digest_update,        p11->C_DigestFinal,  sha, 0, in },
        { "signatures", "C_Sign",    true, p11->C_SignInit,    p11->C_Sign,    sign_update,          p11->C_SignFinal,    rsa_hash, rsa, in },
        { "MACs",       "C_Sign",    true, p11->C_SignInit,    p11->C_Sign,    sign_update,          p11->C_SignFinal,    mac, hmac, in },
    };
    const struct kind verifying = { "verification", "C_Verify", false, p11->C_VerifyInit, verify_once, verify_update, verify_final, rsa_hash, rsa_public, in };
    const struct kind checking  = { "MACs verified", "C_Verify", false, p11->C_VerifyInit, verify_once, verify_update, verify_final, mac, hmac, in };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        try_kind(&kinds[i]);
    sign_to(&rsa_hash, rsa, &in);
    try_kind(&verifying);
    sign_to(&mac, hmac, &in);
    try_kind(&checking);
}

/* ---- what C_xxxInit refuses ---- */

void wrong_inits(void)
{
    static CK_BYTE iv[16];
    CK_MECHANISM cbc = { CKM_AES_CBC, iv, 16 }, short_iv = { CKM_AES_CBC, iv, 15 }, no_iv = { CKM_AES_CBC, NULL, 0 }, no_pointer = { CKM_AES_CBC, NULL, 16 };
    CK_MECHANISM rsa_pkcs = { CKM_RSA_PKCS, NULL, 0 }, unknown = { CKM_VENDOR_DEFINED + 4711, NULL, 0 }, sha = { CKM_SHA256, NULL, 0 };
    CK_MECHANISM oaep = { CKM_RSA_PKCS_OAEP, NULL, 0 }, pss = { CKM_RSA_PKCS_PSS, NULL, 0 }, gcm = { CKM_AES_GCM, NULL, 0 }, ctr = { CKM_AES_CTR, iv, 16 };
    CK_OBJECT_HANDLE aes = secret_key(CKK_AES, iv, 16), rsa = find_key(CKO_PRIVATE_KEY, "rsa"), rsa_public = find_key(CKO_PUBLIC_KEY, "rsa");
    struct bytes out = filled(300);

    begin("wrong Init");
    say("a short IV", p11->C_EncryptInit(session, &short_iv, aes));
    say("no IV", p11->C_EncryptInit(session, &no_iv, aes));
    say("an IV's length and no IV", p11->C_EncryptInit(session, &no_pointer, aes));
    say("no GCM parameters", p11->C_EncryptInit(session, &gcm, aes));
    say("another mechanism's parameters", p11->C_EncryptInit(session, &ctr, aes));
    say("no OAEP parameters", p11->C_DecryptInit(session, &oaep, rsa));
    say("no PSS parameters", p11->C_SignInit(session, &pss, rsa));
    say("a mechanism that there is not", p11->C_EncryptInit(session, &unknown, aes));
    say("a mechanism of another kind", p11->C_EncryptInit(session, &sha, aes));
    say("a digest that there is not", p11->C_DigestInit(session, &unknown));
    say("a digest that is none", p11->C_DigestInit(session, &rsa_pkcs));
    say("a key of another type", p11->C_EncryptInit(session, &cbc, rsa_public));
    say("a key of another class", p11->C_SignInit(session, &rsa_pkcs, rsa_public));
    say("a key that there is not", p11->C_SignInit(session, &rsa_pkcs, 4711));
    say("no key", p11->C_SignInit(session, &rsa_pkcs, CK_INVALID_HANDLE));
    say("a public key that decrypts", p11->C_DecryptInit(session, &rsa_pkcs, rsa_public));
    say("a private key that verifies", p11->C_VerifyInit(session, &rsa_pkcs, rsa));
    say("still usable", p11->C_SignInit(session, &rsa_pkcs, rsa));
    say("data too long", p11->C_Sign(session, out.data, 300, out.data, &out.len));
    say("which ended it", p11->C_Sign(session, out.data, 10, out.data, &out.len));
}

/* ---- what 3.0 has beside: cancelling, recovery, messages ---- */

static const struct { const char *name; CK_FLAGS flag; } cancelled[] = {
    { "encryption", CKF_ENCRYPT }, { "digest", CKF_DIGEST }, { "search", CKF_FIND_OBJECTS }, { "message encryption", CKF_MESSAGE_ENCRYPT },
};

static void cancelling(CK_OBJECT_HANDLE aes)
{
    static CK_BYTE iv[16];
    CK_MECHANISM cbc = { CKM_AES_CBC, iv, sizeof iv }, sha = { CKM_SHA256, NULL, 0 }, gcm = { CKM_AES_GCM, NULL, 0 };

    if (!begin_ours("C_SessionCancel"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(cancelled); i++) {
        OK("C_EncryptInit", p11->C_EncryptInit(session, &cbc, aes));
        OK("C_DigestInit", p11->C_DigestInit(session, &sha));
        OK("C_FindObjectsInit", p11->C_FindObjectsInit(session, NULL, 0));
        OK("C_MessageEncryptInit", p11->C_MessageEncryptInit(session, &gcm, aes));
        OK("C_SessionCancel", p11->C_SessionCancel(session, cancelled[i].flag));
        CK_RV left = cancelled[i].flag;
        expect("encryption is active", p11->C_EncryptInit(session, &cbc, aes), left == CKF_ENCRYPT ? CKR_OK : CKR_OPERATION_ACTIVE);
        expect("a digest is active", p11->C_DigestInit(session, &sha), left == CKF_DIGEST ? CKR_OK : CKR_OPERATION_ACTIVE);
        expect("a search is active", p11->C_FindObjectsInit(session, NULL, 0), left == CKF_FIND_OBJECTS ? CKR_OK : CKR_OPERATION_ACTIVE);
        expect("message encryption is active", p11->C_MessageEncryptInit(session, &gcm, aes), left == CKF_MESSAGE_ENCRYPT ? CKR_OK : CKR_OPERATION_ACTIVE);
        OK("C_SessionCancel of all", p11->C_SessionCancel(session, CKF_ENCRYPT | CKF_DIGEST | CKF_FIND_OBJECTS | CKF_MESSAGE_ENCRYPT));
    }
    OK("C_SessionCancel of nothing", p11->C_SessionCancel(session, 0));
    expect("C_SessionCancel of what there is not", p11->C_SessionCancel(session, CKF_HW), CKR_OPERATION_CANCEL_FAILED);
}

static void message_encryption(CK_OBJECT_HANDLE aes)
{
    CK_BYTE iv[12] = "some vector", tag[16], tag_again[16], aad[] = "beside";
    CK_GCM_MESSAGE_PARAMS one = { iv, sizeof iv, 0, CKG_NO_GENERATE, tag, 128 }, other = { iv, sizeof iv, 0, CKG_NO_GENERATE, tag_again, 128 };
    CK_MECHANISM m = { CKM_AES_GCM, NULL, 0 };
    struct bytes in = filled(50), out = { .len = sizeof out.data }, again, back = { .len = sizeof back.data };

    if (!begin_ours("messages encrypted"))
        return;
    expect("C_EncryptMessage before Init", p11->C_EncryptMessage(session, &one, sizeof one, aad, 6, in.data, in.len, out.data, &out.len), CKR_OPERATION_NOT_INITIALIZED);
    OK("C_MessageEncryptInit", p11->C_MessageEncryptInit(session, &m, aes));
    expect("C_MessageEncryptInit twice", p11->C_MessageEncryptInit(session, &m, aes), CKR_OPERATION_ACTIVE);
    OK("C_EncryptMessage asking", p11->C_EncryptMessage(session, &one, sizeof one, aad, 6, in.data, in.len, NULL, &out.len));
    expect("length", out.len, in.len);
    out.len--;
    expect("C_EncryptMessage, no room", p11->C_EncryptMessage(session, &one, sizeof one, aad, 6, in.data, in.len, out.data, &out.len), CKR_BUFFER_TOO_SMALL);
    OK("C_EncryptMessage", p11->C_EncryptMessage(session, &one, sizeof one, aad, 6, in.data, in.len, out.data, &out.len));
    expect("C_EncryptMessageNext before Begin", p11->C_EncryptMessageNext(session, &other, sizeof other, in.data, 20, again.data, &again.len, 0), CKR_OPERATION_NOT_INITIALIZED);
    OK("C_EncryptMessageBegin", p11->C_EncryptMessageBegin(session, &other, sizeof other, aad, 6));
    expect("C_EncryptMessageBegin twice", p11->C_EncryptMessageBegin(session, &other, sizeof other, aad, 6), CKR_OPERATION_ACTIVE);
    expect("C_EncryptMessage within one", p11->C_EncryptMessage(session, &other, sizeof other, aad, 6, in.data, in.len, again.data, &again.len), CKR_OPERATION_ACTIVE);
    again.len = sizeof again.data;
    OK("C_EncryptMessageNext", p11->C_EncryptMessageNext(session, &other, sizeof other, in.data, 20, again.data, &again.len, 0));
    CK_ULONG first = again.len, rest = sizeof again.data - first;
    OK("C_EncryptMessageNext, the end", p11->C_EncryptMessageNext(session, &other, sizeof other, in.data + 20, in.len - 20, again.data + first, &rest, CKF_END_OF_MESSAGE));
    again.len = first + rest;
    expect("in parts the same", same(&out, &again) && memcmp(tag, tag_again, 16) == 0, true);
    OK("C_MessageEncryptFinal", p11->C_MessageEncryptFinal(session));
    expect("C_MessageEncryptFinal again", p11->C_MessageEncryptFinal(session), CKR_OPERATION_NOT_INITIALIZED);

    begin_ours("messages decrypted");
    OK("C_MessageDecryptInit", p11->C_MessageDecryptInit(session, &m, aes));
    OK("C_DecryptMessage", p11->C_DecryptMessage(session, &one, sizeof one, aad, 6, out.data, out.len, back.data, &back.len));
    expect("the same", same(&in, &back), true);
    tag_again[0] ^= 1;
    back.len = sizeof back.data;
    expect("C_DecryptMessage with another tag", p11->C_DecryptMessage(session, &other, sizeof other, aad, 6, out.data, out.len, back.data, &back.len), CKR_ENCRYPTED_DATA_INVALID);
    OK("C_DecryptMessageBegin, after that", p11->C_DecryptMessageBegin(session, &one, sizeof one, aad, 6));
    back.len = sizeof back.data;
    OK("C_DecryptMessageNext", p11->C_DecryptMessageNext(session, &one, sizeof one, out.data, 20, back.data, &back.len, 0));
    first = back.len, rest = sizeof back.data - first;
    OK("C_DecryptMessageNext, the end", p11->C_DecryptMessageNext(session, &one, sizeof one, out.data + 20, out.len - 20, back.data + first, &rest, CKF_END_OF_MESSAGE));
    back.len = first + rest;
    expect("in parts the same", same(&in, &back), true);
    OK("C_MessageDecryptFinal", p11->C_MessageDecryptFinal(session));
    OK("C_MessageDecryptInit", p11->C_MessageDecryptInit(session, &m, aes));
    OK("C_MessageDecryptInit(NULL mechanism)", p11->C_MessageDecryptInit(session, NULL, aes));
    expect("C_MessageDecryptFinal after that", p11->C_MessageDecryptFinal(session), CKR_OPERATION_NOT_INITIALIZED);
}

static void message_signatures(void)
{
    CK_OBJECT_HANDLE ec = find_key(CKO_PRIVATE_KEY, "ec"), ec_public = find_key(CKO_PUBLIC_KEY, "ec");
    CK_MECHANISM m = { CKM_ECDSA_SHA256, NULL, 0 };
    struct bytes in = filled(50), out = { .len = sizeof out.data };

    if (!begin_ours("messages signed"))
        return;
    expect("C_SignMessage before Init", p11->C_SignMessage(session, NULL, 0, in.data, in.len, out.data, &out.len), CKR_OPERATION_NOT_INITIALIZED);
    OK("C_MessageSignInit", p11->C_MessageSignInit(session, &m, ec));
    OK("C_MessageVerifyInit", p11->C_MessageVerifyInit(session, &m, ec_public));
    OK("C_SignMessage", p11->C_SignMessage(session, NULL, 0, in.data, in.len, out.data, &out.len));
    OK("C_VerifyMessage", p11->C_VerifyMessage(session, NULL, 0, in.data, in.len, out.data, out.len));
    expect("C_VerifyMessage of another", p11->C_VerifyMessage(session, NULL, 0, in.data, in.len - 1, out.data, out.len), CKR_SIGNATURE_INVALID);
    expect("C_SignMessageNext before Begin", p11->C_SignMessageNext(session, NULL, 0, in.data, 20, NULL, NULL), CKR_OPERATION_NOT_INITIALIZED);
    OK("C_SignMessageBegin", p11->C_SignMessageBegin(session, NULL, 0));
    expect("C_SignMessage within one", p11->C_SignMessage(session, NULL, 0, in.data, in.len, out.data, &out.len), CKR_OPERATION_ACTIVE);
    OK("C_SignMessageNext", p11->C_SignMessageNext(session, NULL, 0, in.data, 20, NULL, NULL));
    out.len = sizeof out.data;
    OK("C_SignMessageNext, the end", p11->C_SignMessageNext(session, NULL, 0, in.data + 20, in.len - 20, out.data, &out.len));
    OK("C_VerifyMessageBegin", p11->C_VerifyMessageBegin(session, NULL, 0));
    OK("C_VerifyMessageNext", p11->C_VerifyMessageNext(session, NULL, 0, in.data, 30, NULL, 0));
    OK("C_VerifyMessageNext, the end", p11->C_VerifyMessageNext(session, NULL, 0, in.data + 30, in.len - 30, out.data, out.len));
    OK("C_MessageSignFinal", p11->C_MessageSignFinal(session));
    OK("C_MessageVerifyFinal", p11->C_MessageVerifyFinal(session));
    expect("C_MessageSignFinal again", p11->C_MessageSignFinal(session), CKR_OPERATION_NOT_INITIALIZED);
}

void messages(void)
{
    struct bytes value = filled(32);
    CK_OBJECT_HANDLE aes = secret_key(CKK_AES, value.data, 32);

    cancelling(aes);
    message_encryption(aes);
    message_signatures();
}

/* ---- two operations at once, and saved ones ---- */

static struct bytes digest_of(const struct bytes *in)
{
    CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
    struct bytes out = { .len = sizeof out.data };

    OK("C_DigestInit", p11->C_DigestInit(session, &sha));
    OK("C_Digest", p11->C_Digest(session, (CK_BYTE *)in->data, in->len, out.data, &out.len));
    return out;
}

static void digest_beside(CK_OBJECT_HANDLE aes)
{
    CK_MECHANISM ctr = { CKM_AES_CTR, &(CK_AES_CTR_PARAMS){ .ulCounterBits = 128 }, sizeof(CK_AES_CTR_PARAMS) }, sha = { CKM_SHA256, NULL, 0 };
    struct bytes in = filled(64), digest = digest_of(&in), out = { .len = sizeof out.data }, back = { .len = sizeof back.data }, got = { .len = sizeof got.data };

    OK("C_DigestInit", p11->C_DigestInit(session, &sha));
    OK("C_EncryptInit", p11->C_EncryptInit(session, &ctr, aes));
    OK("C_DigestEncryptUpdate", p11->C_DigestEncryptUpdate(session, in.data, in.len, out.data, &out.len));
    OK("C_DigestFinal", p11->C_DigestFinal(session, got.data, &got.len));
    expect("the digest of the plaintext", same(&got, &digest), true);
    got.len = 0;
    OK("C_EncryptFinal", p11->C_EncryptFinal(session, got.data, &got.len));
    OK("C_DigestInit", p11->C_DigestInit(session, &sha));
    OK("C_DecryptInit", p11->C_DecryptInit(session, &ctr, aes));
    OK("C_DecryptDigestUpdate", p11->C_DecryptDigestUpdate(session, out.data, out.len, back.data, &back.len));
    expect("the plaintext", same(&back, &in), true);
    got.len = sizeof got.data;
    OK("C_DigestFinal", p11->C_DigestFinal(session, got.data, &got.len));
    expect("its digest", same(&got, &digest), true);
    OK("C_DecryptFinal", p11->C_DecryptFinal(session, got.data, &got.len));
}

static void mac_beside(CK_OBJECT_HANDLE aes, CK_OBJECT_HANDLE hmac)
{
    CK_MECHANISM ctr = { CKM_AES_CTR, &(CK_AES_CTR_PARAMS){ .ulCounterBits = 128 }, sizeof(CK_AES_CTR_PARAMS) }, mac = { CKM_SHA256_HMAC, NULL, 0 };
    struct bytes in = filled(64), out = { .len = sizeof out.data }, back = { .len = sizeof back.data }, got = { .len = sizeof got.data };
    CK_ULONG none = 0;

    OK("C_SignInit", p11->C_SignInit(session, &mac, hmac));
    OK("C_EncryptInit", p11->C_EncryptInit(session, &ctr, aes));
    OK("C_SignEncryptUpdate", p11->C_SignEncryptUpdate(session, in.data, in.len, out.data, &out.len));
    OK("C_SignFinal", p11->C_SignFinal(session, got.data, &got.len));
    OK("C_EncryptFinal", p11->C_EncryptFinal(session, back.data, &none));
    OK("C_VerifyInit", p11->C_VerifyInit(session, &mac, hmac));
    OK("C_DecryptInit", p11->C_DecryptInit(session, &ctr, aes));
    OK("C_DecryptVerifyUpdate", p11->C_DecryptVerifyUpdate(session, out.data, out.len, back.data, &back.len));
    OK("C_VerifyFinal", p11->C_VerifyFinal(session, got.data, got.len));
    expect("the plaintext", same(&back, &in), true);
    OK("C_DecryptFinal", p11->C_DecryptFinal(session, back.data, &none));
}

static void saved(void)
{
    CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
    struct bytes in = filled(64), digest = digest_of(&in), state = { .len = sizeof state.data }, got = { .len = sizeof got.data };

    OK("C_DigestInit", p11->C_DigestInit(session, &sha));
    OK("C_DigestUpdate", p11->C_DigestUpdate(session, in.data, 40));
    OK("C_GetOperationState", p11->C_GetOperationState(session, state.data, &state.len));
    OK("C_DigestFinal", p11->C_DigestFinal(session, got.data, &got.len));
    OK("C_SetOperationState", p11->C_SetOperationState(session, state.data, state.len, 0, 0));
    OK("C_DigestUpdate", p11->C_DigestUpdate(session, in.data + 40, 24));
    got.len = sizeof got.data;
    OK("C_DigestFinal", p11->C_DigestFinal(session, got.data, &got.len));
    expect("the digest of all", same(&got, &digest), true);
}

void dual_functions(void)
{
    struct bytes value = filled(32);
    CK_OBJECT_HANDLE aes = secret_key(CKK_AES, value.data, 32), hmac = secret_key(CKK_GENERIC_SECRET, value.data, 32);

    if (begin_ours("a digest beside encryption"))
        digest_beside(aes);
    if (begin_ours("a MAC beside encryption"))
        mac_beside(aes, hmac);
    if (begin_ours("a saved digest"))
        saved();
}
