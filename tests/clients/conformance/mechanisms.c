/* Every mechanism, in everything that it can do, and what comes out compared with OpenSSL's own result. Chapters are called by
 * their mechanism: main.c looks whether each row of mechanisms.def has one. */
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "openssl.h"

enum { FIRST_PART = 20 };

static struct pair { CK_OBJECT_HANDLE private, public; EVP_PKEY *openssl; const char *group; } rsa, p256, p384, p521, ed25519;
static struct bytes aes_value[3], hmac_value; /* of 16, 24 and 32 bytes */
static CK_OBJECT_HANDLE aes[3], hmac;

/* ---- keys that the module makes ---- */

static void make_pair(struct pair *pair, CK_MECHANISM_TYPE generator, CK_KEY_TYPE type, CK_ATTRIBUTE what, const char *group)
{
    CK_MECHANISM m = { generator, NULL, 0 };
    CK_BBOOL *is_rsa = type == CKK_RSA ? &yes : &no, *is_ec = type == CKK_EC ? &yes : &no;
    CK_ATTRIBUTE public[] = {
        { CKA_TOKEN, &yes, 1 }, { CKA_VERIFY, &yes, 1 }, { CKA_ENCRYPT, is_rsa, 1 }, { CKA_WRAP, is_rsa, 1 }, { CKA_LABEL, (void *)"made", 4 }, what,
    };
    CK_ATTRIBUTE private[] = {
        { CKA_TOKEN, &yes, 1 }, { CKA_SIGN, &yes, 1 }, { CKA_DECRYPT, is_rsa, 1 }, { CKA_UNWRAP, is_rsa, 1 }, { CKA_DERIVE, is_ec, 1 },
        { CKA_SENSITIVE, &yes, 1 }, { CKA_PRIVATE, &yes, 1 }, { CKA_LABEL, (void *)"made", 4 },
    };

    OK("C_GenerateKeyPair", p11->C_GenerateKeyPair(session, &m, public, ARRAY_LEN(public), private, ARRAY_LEN(private), &pair->public, &pair->private));
    pair->openssl = ossl_public_key(pair->public, type, group);
    pair->group   = group;
}

static void make_pairs(void)
{
    static CK_ULONG bits = 2048, odd_bits = 1024;
    const struct { struct pair *pair; const char *group, *oid; CK_ULONG oid_len; } curves[] = {
        { &p256, "P-256", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10 }, { &p384, "P-384", "\x06\x05\x2b\x81\x04\x00\x22", 7 },
        { &p521, "P-521", "\x06\x05\x2b\x81\x04\x00\x23", 7 },
    };
    CK_MECHANISM rsa_gen = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 }, ec_gen = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_ATTRIBUTE small = { CKA_MODULUS_BITS, &odd_bits, sizeof odd_bits }, no_curve = { CKA_EC_PARAMS, (void *)"\x06\x03\x2a\x03\x04", 5 };
    CK_ATTRIBUTE on_token = { CKA_TOKEN, &yes, 1 };
    CK_OBJECT_HANDLE a, b;

    begin("CKM_RSA_PKCS_KEY_PAIR_GEN");
    make_pair(&rsa, CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, (CK_ATTRIBUTE){ CKA_MODULUS_BITS, &bits, sizeof bits }, NULL);
    say("C_GenerateKeyPair without a length", p11->C_GenerateKeyPair(session, &rsa_gen, NULL, 0, &on_token, 1, &a, &b));
    say("C_GenerateKeyPair(NULL handle)", p11->C_GenerateKeyPair(session, &rsa_gen, &small, 1, &on_token, 1, &a, NULL));
    begin("CKM_EC_KEY_PAIR_GEN");
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        make_pair(curves[i].pair, CKM_EC_KEY_PAIR_GEN, CKK_EC, (CK_ATTRIBUTE){ CKA_EC_PARAMS, (void *)curves[i].oid, curves[i].oid_len }, curves[i].group);
    say("C_GenerateKeyPair of no curve", p11->C_GenerateKeyPair(session, &ec_gen, &no_curve, 1, &on_token, 1, &a, &b));
    begin("CKM_EC_EDWARDS_KEY_PAIR_GEN");
    make_pair(&ed25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, (CK_ATTRIBUTE){ CKA_EC_PARAMS, (void *)"\x06\x03\x2b\x65\x70", 5 }, NULL);
}

static void destroy_pairs(void)
{
    struct pair *pairs[] = { &rsa, &p256, &p384, &p521, &ed25519 };

    begin("the end of key pairs");
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        OK("C_DestroyObject, private", p11->C_DestroyObject(session, pairs[i]->private));
        OK("C_DestroyObject, public", p11->C_DestroyObject(session, pairs[i]->public));
        EVP_PKEY_free(pairs[i]->openssl);
    }
}

/* A session's key, for use at once, and a token's. */
static void try_generator(const char *name, CK_MECHANISM_TYPE type, CK_ULONG len, bool on_token, CK_MECHANISM *use, const char *what)
{
    CK_MECHANISM m = { type, NULL, 0 };
    CK_ATTRIBUTE template[] = {
        { CKA_VALUE_LEN, &len, sizeof len }, { CKA_TOKEN, on_token ? &yes : &no, 1 }, { CKA_SIGN, &yes, 1 }, { CKA_VERIFY, &yes, 1 },
        { CKA_ENCRYPT, &yes, 1 }, { CKA_DECRYPT, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 },
    };
    CK_OBJECT_HANDLE key = 0, other = 0;
    struct bytes in = filled(32), out = { .len = sizeof out.data };

    begin("%s %s", name, what);
    OK("C_GenerateKey", p11->C_GenerateKey(session, &m, template, ARRAY_LEN(template), &key));
    OK("its use, C_SignInit", p11->C_SignInit(session, use, key));
    OK("its use, C_Sign", p11->C_Sign(session, in.data, in.len, out.data, &out.len));
    say("its use, length", out.len);
    len = 17;
    say("C_GenerateKey of 17 bytes", type == CKM_AES_KEY_GEN ? p11->C_GenerateKey(session, &m, template, ARRAY_LEN(template), &other) : CKR_OK);
    say("C_GenerateKey(NULL handle)", p11->C_GenerateKey(session, &m, template, ARRAY_LEN(template), NULL));
    say("C_GenerateKey without a length", p11->C_GenerateKey(session, &m, template + 1, ARRAY_LEN(template) - 1, &other));
    OK("C_DestroyObject", p11->C_DestroyObject(session, key));
}

static void generators(void)
{
    CK_MECHANISM cmac = { CKM_AES_CMAC, NULL, 0 }, mac = { CKM_SHA256_HMAC, NULL, 0 };

    for (CK_ULONG len = 16; len <= 32; len += 8)
        try_generator("CKM_AES_KEY_GEN", CKM_AES_KEY_GEN, len, false, &cmac, len == 16 ? "128" : len == 24 ? "192" : "256");
    try_generator("CKM_AES_KEY_GEN", CKM_AES_KEY_GEN, 32, true, &cmac, "on the token");
    try_generator("CKM_GENERIC_SECRET_KEY_GEN", CKM_GENERIC_SECRET_KEY_GEN, 64, false, &mac, "512");
    try_generator("CKM_GENERIC_SECRET_KEY_GEN", CKM_GENERIC_SECRET_KEY_GEN, 32, true, &mac, "on the token");
}

/* ---- encryption and decryption ---- */

struct two_ways { CK_RV (*init)(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE);
                  CK_RV (*update)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
                  CK_RV (*final)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG *); const char *names[3]; };

/* All that comes out of two parts and the end. */
static struct bytes in_parts(const struct two_ways *way, CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *in)
{
    struct bytes out = { 0 };
    const CK_ULONG cuts[] = { 0, FIRST_PART, in->len };
    CK_ULONG part;

    OK(way->names[0], way->init(session, m, key));
    for (int i = 0; i < 2; i++) {
        part = sizeof out.data - out.len;
        OK(way->names[1], way->update(session, (CK_BYTE *)in->data + cuts[i], cuts[i + 1] - cuts[i], out.data + out.len, &part));
        out.len += part <= sizeof out.data ? part : 0;
    }
    part = sizeof out.data - out.len;
    OK(way->names[2], way->final(session, out.data + out.len, &part));
    out.len += part <= sizeof out.data ? part : 0;
    return out;
}

static struct two_ways encryption(void)
{
    return (struct two_ways){ p11->C_EncryptInit, p11->C_EncryptUpdate, p11->C_EncryptFinal, { "C_EncryptInit", "C_EncryptUpdate", "C_EncryptFinal" } };
}

static struct two_ways decryption(void)
{
    return (struct two_ways){ p11->C_DecryptInit, p11->C_DecryptUpdate, p11->C_DecryptFinal, { "C_DecryptInit", "C_DecryptUpdate", "C_DecryptFinal" } };
}

static struct bytes encrypt(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *in)
{
    struct bytes out = { .len = sizeof out.data };

    OK("C_EncryptInit", p11->C_EncryptInit(session, m, key));
    OK("C_Encrypt", p11->C_Encrypt(session, (CK_BYTE *)in->data, in->len, out.data, &out.len));
    return out;
}

static struct bytes decrypt(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *in)
{
    struct bytes out = { .len = sizeof out.data };

    OK("C_DecryptInit", p11->C_DecryptInit(session, m, key));
    OK("C_Decrypt", p11->C_Decrypt(session, (CK_BYTE *)in->data, in->len, out.data, &out.len));
    return out;
}

static void decrypt_damaged(CK_MECHANISM *m, CK_OBJECT_HANDLE key, struct bytes in)
{
    struct bytes out = { .len = sizeof out.data };

    say("C_DecryptInit for less", p11->C_DecryptInit(session, m, key));
    say("C_Decrypt of too little", p11->C_Decrypt(session, in.data, in.len - 1, out.data, &out.len));
    say("C_DecryptInit after that", p11->C_DecryptInit(session, m, key));
    out.len = sizeof out.data;
    say("C_Decrypt after that", p11->C_Decrypt(session, in.data, in.len, out.data, &out.len));
}

/* The same key once more, out of the token's own, whose policy conformance.sh lets name what is off by default. A session key
 * that came out of no master key has no policy. */
static CK_OBJECT_HANDLE out_of_master_key(CK_OBJECT_HANDLE key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_OBJECT_HANDLE master = find_key(CKO_SECRET_KEY, "aes"), again = 0;
    CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_DECRYPT, &yes, 1 },
    };
    struct bytes wrapped = { .len = sizeof wrapped.data };

    OK("C_WrapKey by the master key", p11->C_WrapKey(session, &wrap, master, key, wrapped.data, &wrapped.len));
    OK("C_UnwrapKey by the master key", p11->C_UnwrapKey(session, &wrap, master, wrapped.data, wrapped.len, t, ARRAY_LEN(t), &again));
    return again;
}

static void try_cipher(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *expected, const struct bytes *plain)
{
    const struct two_ways encrypts = encryption(), decrypts = decryption();
    struct bytes out = encrypt(m, key, plain);

    say("length", out.len);
    expect("as OpenSSL has it", same(&out, expected), true);
    struct bytes back = decrypt(m, key, expected);
    expect("decrypted as it was", same(&back, plain), true);
    out = in_parts(&encrypts, m, key, plain);
    expect("in parts as OpenSSL has it", same(&out, expected), true);
    back = in_parts(&decrypts, m, key, expected);
    expect("decrypted in parts as it was", same(&back, plain), true);
    decrypt_damaged(m, key, *expected);
}

static void ciphers(void)
{
    static CK_BYTE iv[16] = "initial vector.";
    CK_AES_CTR_PARAMS ctr = { .ulCounterBits = 128 };
    CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .pAAD = iv, .ulAADLen = 5, .ulTagBits = 128 };
    const struct { const char *name; CK_MECHANISM m; const char *openssl; bool padding; CK_ULONG iv_len, aad_len, len; } rows[] = {
        { "CKM_AES_CBC",     { CKM_AES_CBC, iv, 16 },           "CBC", false, 16, 0, 48 },
        { "CKM_AES_CBC_PAD", { CKM_AES_CBC_PAD, iv, 16 },       "CBC", true,  16, 0, 50 },
        { "CKM_AES_CTR",     { CKM_AES_CTR, &ctr, sizeof ctr }, "CTR", false, 16, 0, 50 },
        { "CKM_AES_GCM",     { CKM_AES_GCM, &gcm, sizeof gcm }, "GCM", false, 12, 5, 50 },
    };

    memcpy(ctr.cb, iv, 16);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t size = 0; size < 3; size++) {
            struct bytes plain = filled(rows[i].len), expected;
            CK_MECHANISM m = rows[i].m;
            char cipher[32];

            snprintf(cipher, sizeof cipher, "AES-%lu-%s", 8 * aes_value[size].len, rows[i].openssl);
            expected = ossl_encrypt(cipher, rows[i].padding, &aes_value[size], bw_bytes_of(iv, rows[i].iv_len), bw_bytes_of(iv, rows[i].aad_len), &plain);
            begin("%s %lu", rows[i].name, 8 * aes_value[size].len);
            try_cipher(&m, m.mechanism == CKM_AES_ECB ? out_of_master_key(aes[size]) : aes[size], &expected, &plain);
        }
}

/* AES-ECB is off unless a key's policy names it, as that of "aes" does. Its value is not known: but a block in ECB is that block in CBC
 * after a vector of zeros. */
static void ecb(void)
{
    static CK_BYTE zeros[16];
    CK_MECHANISM m = { CKM_AES_ECB, NULL, 0 }, cbc = { CKM_AES_CBC, zeros, sizeof zeros };
    const struct two_ways encrypts = encryption(), decrypts = decryption();
    CK_OBJECT_HANDLE key = find_key(CKO_SECRET_KEY, "aes");
    struct bytes plain = filled(48), first = filled(16), out, back, parts;

    begin("CKM_AES_ECB");
    out   = encrypt(&m, key, &plain);
    back  = decrypt(&m, key, &out);
    parts = in_parts(&encrypts, &m, key, &plain);
    expect("decrypted as it was", same(&back, &plain), true);
    expect("the same in parts", same(&parts, &out), true);
    back = in_parts(&decrypts, &m, key, &out);
    expect("decrypted in parts as it was", same(&back, &plain), true);
    first = encrypt(&cbc, key, &first);
    expect("its first block is that of CBC", memcmp(first.data, out.data, 16) == 0, true);
    decrypt_damaged(&m, key, out);
    if (begin_ours("CKM_AES_ECB with a session key")) {
        OK("C_EncryptInit", p11->C_EncryptInit(session, &m, aes[2]));
        expect("C_Encrypt", p11->C_Encrypt(session, plain.data, plain.len, out.data, &out.len), CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
}

/* ---- RSA encryption ---- */

static const struct hash { const char *name, *openssl; CK_MECHANISM_TYPE type; CK_RSA_PKCS_MGF_TYPE mgf; CK_ULONG len; } hashes[] = {
    { "SHA1", "SHA1", CKM_SHA_1, CKG_MGF1_SHA1, 20 },         { "SHA224", "SHA224", CKM_SHA224, CKG_MGF1_SHA224, 28 },
    { "SHA256", "SHA256", CKM_SHA256, CKG_MGF1_SHA256, 32 },  { "SHA384", "SHA384", CKM_SHA384, CKG_MGF1_SHA384, 48 },
    { "SHA512", "SHA512", CKM_SHA512, CKG_MGF1_SHA512, 64 },
};

static void try_rsa(CK_MECHANISM *m, const struct rsa_how *how, CK_ULONG len)
{
    struct bytes plain = filled(len), out = encrypt(m, rsa.public, &plain), back = decrypt(m, rsa.private, &out);

    say("length", out.len);
    expect("decrypted as it was", same(&back, &plain), true);
    out  = ossl_rsa_encrypt(rsa.openssl, how, &plain);
    back = decrypt(m, rsa.private, &out);
    expect("OpenSSL's decrypted as it was", same(&back, &plain), true);
    decrypt_damaged(m, rsa.private, out);
}

static void try_oaep(const struct hash *hash, const struct hash *mgf, const char *label)
{
    CK_RSA_PKCS_OAEP_PARAMS params = { hash->type, mgf->mgf, CKZ_DATA_SPECIFIED, (void *)label, label ? strlen(label) : 0 };
    struct rsa_how how = { RSA_PKCS1_OAEP_PADDING, hash->openssl, mgf->openssl, label, 0 };
    CK_MECHANISM m = { CKM_RSA_PKCS_OAEP, &params, sizeof params };
    bool theirs = hash->type == CKM_SHA_1 && label == NULL && mgf == hash;

    if (theirs)
        begin("CKM_RSA_PKCS_OAEP");
    if (theirs || begin_ours("CKM_RSA_PKCS_OAEP %s, MGF1 with %s%s", hash->name, mgf->name, label ? ", label" : ""))
        try_rsa(&m, &how, 50);
}

/* However the padding is wrong, the answer is the same: which it is would tell an attacker about the plaintext. */
static void wrong_paddings(void)
{
    static const struct { const char *what; CK_BYTE first, second, middle, end; } blocks[] = {
        { "another type", 0, 1, 7, 0 }, { "no zero before it", 1, 2, 7, 0 }, { "no end", 0, 2, 7, 7 }, { "an early end", 0, 2, 0, 0 }, { "nothing", 0, 0, 0, 0 },
    };
    struct rsa_how raw = { .padding = RSA_NO_PADDING };
    CK_MECHANISM m = { CKM_RSA_PKCS, NULL, 0 };

    if (!begin_ours("CKM_RSA_PKCS, wrong paddings"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        struct bytes block = { .len = 256 }, out = { .len = sizeof out.data };

        memset(block.data, 7, 256);
        block.data[0] = blocks[i].first, block.data[1] = blocks[i].second, block.data[5] = blocks[i].middle, block.data[200] = blocks[i].end;
        struct bytes wrong = ossl_rsa_encrypt(rsa.openssl, &raw, &block);
        OK("C_DecryptInit", p11->C_DecryptInit(session, &m, rsa.private));
        expect(blocks[i].what, p11->C_Decrypt(session, wrong.data, wrong.len, out.data, &out.len), CKR_ENCRYPTED_DATA_INVALID);
    }
}

static void rsa_encryption(void)
{
    CK_MECHANISM pkcs = { CKM_RSA_PKCS, NULL, 0 }, raw = { CKM_RSA_X_509, NULL, 0 };

    begin("CKM_RSA_PKCS encryption");
    try_rsa(&pkcs, &(struct rsa_how){ .padding = RSA_PKCS1_PADDING }, 50);
    wrong_paddings();
    begin("CKM_RSA_X_509 encryption");
    try_rsa(&raw, &(struct rsa_how){ .padding = RSA_NO_PADDING }, 256);
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        try_oaep(&hashes[i], &hashes[i], NULL);
        try_oaep(&hashes[i], &hashes[i], "a label");
    }
    try_oaep(&hashes[2], &hashes[0], NULL); /* as older Java has it */
}

/* ---- signatures and MACs ---- */

static void verify_in_parts(CK_MECHANISM *m, CK_OBJECT_HANDLE key, struct bytes in, struct bytes signature)
{
    OK("C_VerifyInit in parts", p11->C_VerifyInit(session, m, key));
    OK("C_VerifyUpdate", p11->C_VerifyUpdate(session, in.data, FIRST_PART));
    OK("C_VerifyUpdate", p11->C_VerifyUpdate(session, in.data + FIRST_PART, in.len - FIRST_PART));
    OK("C_VerifyFinal", p11->C_VerifyFinal(session, signature.data, signature.len));
}

static struct bytes sign_in_parts(CK_MECHANISM *m, CK_OBJECT_HANDLE key, struct bytes in)
{
    struct bytes out = { .len = sizeof out.data };

    OK("C_SignInit in parts", p11->C_SignInit(session, m, key));
    OK("C_SignUpdate", p11->C_SignUpdate(session, in.data, FIRST_PART));
    OK("C_SignUpdate", p11->C_SignUpdate(session, in.data + FIRST_PART, in.len - FIRST_PART));
    OK("C_SignFinal", p11->C_SignFinal(session, out.data, &out.len));
    return out;
}

static void verify_wrong(CK_MECHANISM *m, CK_OBJECT_HANDLE key, struct bytes in, struct bytes signature)
{
    say("C_VerifyInit for less", p11->C_VerifyInit(session, m, key));
    say("C_Verify of too short a signature", p11->C_Verify(session, in.data, in.len, signature.data, signature.len - 1));
    in.data[in.len - 1] ^= 1;
    say("C_VerifyInit for others", p11->C_VerifyInit(session, m, key));
    say("C_Verify of something else", p11->C_Verify(session, in.data, in.len, signature.data, signature.len));
}

static struct bytes try_signature(CK_MECHANISM *m, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public, const struct bytes *in, bool parts)
{
    struct bytes out = { .len = sizeof out.data };

    OK("C_SignInit", p11->C_SignInit(session, m, private));
    OK("C_Sign", p11->C_Sign(session, (CK_BYTE *)in->data, in->len, out.data, &out.len));
    say("length", out.len);
    OK("C_VerifyInit", p11->C_VerifyInit(session, m, public));
    OK("C_Verify", p11->C_Verify(session, (CK_BYTE *)in->data, in->len, out.data, out.len));
    verify_wrong(m, public, *in, out);
    if (parts) {
        struct bytes again = sign_in_parts(m, private, *in);
        verify_in_parts(m, public, *in, again);
    }
    return out;
}

static void rsa_signatures(void)
{
    static const CK_MECHANISM_TYPE pkcs[] = { CKM_SHA1_RSA_PKCS, CKM_SHA224_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS };
    static const CK_MECHANISM_TYPE pss[] = {
        CKM_SHA1_RSA_PKCS_PSS, CKM_SHA224_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA512_RSA_PKCS_PSS,
    };
    struct rsa_how pkcs1 = { .padding = RSA_PKCS1_PADDING }, raw = { .padding = RSA_NO_PADDING };
    CK_MECHANISM plain = { CKM_RSA_PKCS, NULL, 0 }, none = { CKM_RSA_X_509, NULL, 0 };
    struct bytes data = filled(50), number = filled(255), out;

    begin("CKM_RSA_PKCS signatures");
    out = try_signature(&plain, rsa.private, rsa.public, &data, false);
    expect("OpenSSL verifies", ossl_verifies(rsa.openssl, NULL, &pkcs1, &data, &out), true);
    begin("CKM_RSA_X_509 signatures");
    out = try_signature(&none, rsa.private, rsa.public, &number, false);
    expect("OpenSSL verifies", ossl_verifies(rsa.openssl, NULL, &raw, &number, &out), true);
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        CK_RSA_PKCS_PSS_PARAMS params = { hashes[i].type, hashes[i].mgf, hashes[i].len };
        struct rsa_how how = { RSA_PKCS1_PSS_PADDING, hashes[i].openssl, hashes[i].openssl, NULL, (int)hashes[i].len };
        CK_MECHANISM hashed = { pkcs[i], NULL, 0 }, pss_hashed = { pss[i], &params, sizeof params }, pss_plain = { CKM_RSA_PKCS_PSS, &params, sizeof params };
        struct bytes digest = ossl_digest(hashes[i].openssl, &data);

        begin("CKM_%s_RSA_PKCS", hashes[i].name);
        out = try_signature(&hashed, rsa.private, rsa.public, &data, true);
        expect("OpenSSL verifies", ossl_verifies(rsa.openssl, hashes[i].openssl, &pkcs1, &data, &out), true);
        begin("CKM_%s_RSA_PKCS_PSS", hashes[i].name);
        out = try_signature(&pss_hashed, rsa.private, rsa.public, &data, true);
        expect("OpenSSL verifies", ossl_verifies(rsa.openssl, hashes[i].openssl, &how, &data, &out), true);
        begin("CKM_RSA_PKCS_PSS %s", hashes[i].name);
        out = try_signature(&pss_plain, rsa.private, rsa.public, &digest, false);
        expect("OpenSSL verifies", ossl_verifies(rsa.openssl, NULL, &how, &digest, &out), true);
    }
}

static void curve_signatures(void)
{
    static const struct { struct pair *pair; const char *curve; } curves[] = { { &p256, "P-256" }, { &p384, "P-384" }, { &p521, "P-521" } };
    static const CK_MECHANISM_TYPE hashed[] = { CKM_ECDSA_SHA1, CKM_ECDSA_SHA224, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512 };
    CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 }, eddsa = { CKM_EDDSA, NULL, 0 };
    struct bytes data = filled(50), digest = filled(32), out;

    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        begin("CKM_ECDSA %s", curves[i].curve);
        out = try_signature(&ecdsa, curves[i].pair->private, curves[i].pair->public, &digest, false);
        expect("OpenSSL verifies", ossl_verifies(curves[i].pair->openssl, NULL, NULL, &digest, &out), true);
        for (size_t k = 0; k < ARRAY_LEN(hashes); k++) {
            CK_MECHANISM m = { hashed[k], NULL, 0 };
            if (!begin_ours("CKM_ECDSA_%s %s", hashes[k].name, curves[i].curve))
                continue;
            out = try_signature(&m, curves[i].pair->private, curves[i].pair->public, &data, true);
            expect("OpenSSL verifies", ossl_verifies(curves[i].pair->openssl, hashes[k].openssl, NULL, &data, &out), true);
        }
    }
    begin("CKM_EDDSA");
    out = try_signature(&eddsa, ed25519.private, ed25519.public, &data, false);
    expect("OpenSSL verifies", ossl_verifies(ed25519.openssl, NULL, NULL, &data, &out), true);
}

static void macs(void)
{
    static const struct { const char *name, *with; CK_MECHANISM_TYPE type; } rows[] = {
        { "CKM_SHA_1_HMAC", "SHA1", CKM_SHA_1_HMAC },      { "CKM_SHA224_HMAC", "SHA224", CKM_SHA224_HMAC }, { "CKM_SHA256_HMAC", "SHA256", CKM_SHA256_HMAC },
        { "CKM_SHA384_HMAC", "SHA384", CKM_SHA384_HMAC },  { "CKM_SHA512_HMAC", "SHA512", CKM_SHA512_HMAC },
    };
    CK_MECHANISM cmac = { CKM_AES_CMAC, NULL, 0 };
    struct bytes data = filled(50), out, expected;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CK_MECHANISM m = { rows[i].type, NULL, 0 };
        begin("%s", rows[i].name);
        out      = try_signature(&m, hmac, hmac, &data, true);
        expected = ossl_mac("HMAC", rows[i].with, &hmac_value, &data);
        expect("as OpenSSL has it", same(&out, &expected), true);
    }
    for (size_t size = 0; size < 3; size++) {
        static const char *ciphers[] = { "AES-128-CBC", "AES-192-CBC", "AES-256-CBC" };
        begin("CKM_AES_CMAC %lu", 8 * aes_value[size].len);
        out      = try_signature(&cmac, aes[size], aes[size], &data, true);
        expected = ossl_mac("CMAC", ciphers[size], &aes_value[size], &data);
        expect("as OpenSSL has it", same(&out, &expected), true);
    }
}

/* SoftHSM has the functions, and says of each that it is not supported. */
static void recovering(void)
{
    static const struct { const char *name; CK_MECHANISM_TYPE type; CK_ULONG len; } rows[] = { { "CKM_RSA_PKCS", CKM_RSA_PKCS, 50 }, { "CKM_RSA_X_509", CKM_RSA_X_509, 256 } };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CK_MECHANISM m = { rows[i].type, NULL, 0 };
        struct bytes in = filled(rows[i].len), out = { .len = sizeof out.data }, back = { .len = sizeof back.data };

        if (!begin_ours("%s with recovery", rows[i].name))
            continue;
        OK("C_SignRecoverInit", p11->C_SignRecoverInit(session, &m, rsa.private));
        OK("C_SignRecover", p11->C_SignRecover(session, in.data, in.len, out.data, &out.len));
        OK("C_VerifyRecoverInit", p11->C_VerifyRecoverInit(session, &m, rsa.public));
        OK("C_VerifyRecover", p11->C_VerifyRecover(session, out.data, out.len, back.data, &back.len));
        expect("the same", same(&in, &back), true);
        OK("C_VerifyRecoverInit", p11->C_VerifyRecoverInit(session, &m, rsa.public));
        expect("C_VerifyRecover of too little", p11->C_VerifyRecover(session, out.data, out.len - 1, back.data, &back.len), CKR_SIGNATURE_LEN_RANGE);
    }
}

/* ---- digests ---- */

static void digests(void)
{
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        CK_MECHANISM m = { hashes[i].type, NULL, 0 };
        struct bytes in = filled(300), expected = ossl_digest(hashes[i].openssl, &in), out = { .len = sizeof out.data };

        begin("CKM_%s", hashes[i].type == CKM_SHA_1 ? "SHA_1" : hashes[i].name);
        OK("C_DigestInit", p11->C_DigestInit(session, &m));
        OK("C_Digest", p11->C_Digest(session, in.data, in.len, out.data, &out.len));
        expect("as OpenSSL has it", same(&out, &expected), true);
        OK("C_DigestInit", p11->C_DigestInit(session, &m));
        OK("C_DigestUpdate", p11->C_DigestUpdate(session, in.data, FIRST_PART));
        OK("C_DigestUpdate", p11->C_DigestUpdate(session, in.data + FIRST_PART, in.len - FIRST_PART));
        out.len = sizeof out.data;
        OK("C_DigestFinal", p11->C_DigestFinal(session, out.data, &out.len));
        expect("in parts as OpenSSL has it", same(&out, &expected), true);
    }
}

/* ---- wrapping and deriving ---- */

/* A key is the expected one when it encrypts as that does. */
static bool is_key(CK_OBJECT_HANDLE key, const struct bytes *value)
{
    static CK_BYTE iv[16];
    CK_MECHANISM m = { CKM_AES_CBC, iv, sizeof iv };
    struct bytes in = filled(32), out = { .len = sizeof out.data };
    char cipher[32];

    snprintf(cipher, sizeof cipher, "AES-%lu-CBC", 8 * value->len);
    struct bytes expected = ossl_encrypt(cipher, false, value, bw_bytes_of(iv, sizeof iv), (bw_bytes){ NULL, 0 }, &in);
    return p11->C_EncryptInit(session, &m, key) == CKR_OK && p11->C_Encrypt(session, in.data, in.len, out.data, &out.len) == CKR_OK && same(&out, &expected);
}

static CK_RV unwrap(CK_MECHANISM *m, CK_OBJECT_HANDLE key, const struct bytes *wrapped, CK_OBJECT_HANDLE *ret_key)
{
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 },
    };

    return p11->C_UnwrapKey(session, m, key, (CK_BYTE *)wrapped->data, wrapped->len, template, ARRAY_LEN(template), ret_key);
}

/* expected  what it must be wrapped as; NULL: it is another each time */
static void try_wrap(CK_MECHANISM *m, CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE from, const struct bytes *expected)
{
    struct bytes out = { .len = sizeof out.data }, damaged;
    CK_OBJECT_HANDLE key = 0, other = 0;
    CK_ULONG len = 0, little = 1;

    OK("C_WrapKey asking", p11->C_WrapKey(session, m, to, aes[2], NULL, &len));
    say("C_WrapKey, no room", p11->C_WrapKey(session, m, to, aes[2], out.data, &little));
    OK("C_WrapKey", p11->C_WrapKey(session, m, to, aes[2], out.data, &out.len));
    say("length", out.len);
    expect("there was room", out.len <= len, true);
    if (expected != NULL)
        expect("as OpenSSL has it", same(&out, expected), true);
    OK("C_UnwrapKey", unwrap(m, from, &out, &key));
    expect("the same key", is_key(key, &aes_value[2]), true);
    damaged = out;
    damaged.data[9] ^= 1;
    say("C_UnwrapKey, damaged", unwrap(m, from, &damaged, &other));
    say("C_WrapKey of a key that is not extractable", p11->C_WrapKey(session, m, to, key, out.data, &out.len));
    say("C_WrapKey of a key that there is not", p11->C_WrapKey(session, m, to, 4711, out.data, &out.len));
    say("C_WrapKey with a key that there is not", p11->C_WrapKey(session, m, 4711, aes[2], out.data, &out.len));
    OK("C_DestroyObject", p11->C_DestroyObject(session, key));
}

static void aes_wrapping(void)
{
    static CK_BYTE iv[12] = "some vector";
    CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128 };
    CK_MECHANISM kw = { CKM_AES_KEY_WRAP, NULL, 0 }, pad = { CKM_AES_KEY_WRAP_PAD, NULL, 0 }, kwp = { CKM_AES_KEY_WRAP_KWP, NULL, 0 };
    CK_MECHANISM in_gcm = { CKM_AES_GCM, &gcm, sizeof gcm };
    bw_bytes none = { NULL, 0 };
    struct bytes wrapped;

    wrapped = ossl_encrypt("AES-128-WRAP", false, &aes_value[0], none, none, &aes_value[2]);
    begin("CKM_AES_KEY_WRAP");
    try_wrap(&kw, aes[0], aes[0], &wrapped);
    wrapped = ossl_encrypt("AES-128-WRAP-PAD", false, &aes_value[0], none, none, &aes_value[2]);
    begin("CKM_AES_KEY_WRAP_PAD");
    try_wrap(&pad, aes[0], aes[0], &wrapped);
    if (begin_ours("CKM_AES_KEY_WRAP_KWP"))
        try_wrap(&kwp, aes[0], aes[0], &wrapped);
    wrapped = ossl_encrypt("AES-128-GCM", false, &aes_value[0], bw_bytes_of(iv, sizeof iv), none, &aes_value[2]);
    if (begin_ours("CKM_AES_GCM wrapping"))
        try_wrap(&in_gcm, aes[0], aes[0], &wrapped);
}

static void unwrap_openssl(CK_MECHANISM *m, const struct rsa_how *how)
{
    struct bytes wrapped = ossl_rsa_encrypt(rsa.openssl, how, &aes_value[1]);
    CK_OBJECT_HANDLE key = 0;

    OK("C_UnwrapKey of OpenSSL's", unwrap(m, rsa.private, &wrapped, &key));
    expect("OpenSSL's is the same key", is_key(key, &aes_value[1]), true);
    OK("C_DestroyObject", p11->C_DestroyObject(session, key));
}

/* RSA_AES_KEY_WRAP: an AES key under OAEP, and after it the key wrapped under that (v3.0, Current Mechanisms 2.1.21). */
static void unwrap_both(CK_MECHANISM *m, const struct rsa_how *how)
{
    struct bytes wrapped = ossl_rsa_encrypt(rsa.openssl, how, &aes_value[2]);
    struct bytes inner   = ossl_encrypt("AES-256-WRAP-PAD", false, &aes_value[2], (bw_bytes){ NULL, 0 }, (bw_bytes){ NULL, 0 }, &aes_value[1]);
    CK_OBJECT_HANDLE key = 0;

    memcpy(wrapped.data + wrapped.len, inner.data, inner.len);
    wrapped.len += inner.len;
    OK("C_UnwrapKey of OpenSSL's", unwrap(m, rsa.private, &wrapped, &key));
    expect("OpenSSL's is the same key", is_key(key, &aes_value[1]), true);
}

static void rsa_wrapping(void)
{
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        CK_RSA_PKCS_OAEP_PARAMS params = { hashes[i].type, hashes[i].mgf, CKZ_DATA_SPECIFIED, NULL, 0 };
        struct { CK_ULONG bits; CK_RSA_PKCS_OAEP_PARAMS *oaep; } both = { 256, &params }; /* CK_RSA_AES_KEY_WRAP_PARAMS */
        struct rsa_how how = { RSA_PKCS1_OAEP_PADDING, hashes[i].openssl, hashes[i].openssl, NULL, 0 };
        CK_MECHANISM oaep = { CKM_RSA_PKCS_OAEP, &params, sizeof params }, rsa_aes = { CKM_RSA_AES_KEY_WRAP, &both, sizeof both };

        if (i == 0)
            begin("CKM_RSA_PKCS_OAEP wrapping");
        if (i == 0 || begin_ours("CKM_RSA_PKCS_OAEP wrapping %s", hashes[i].name)) {
            try_wrap(&oaep, rsa.public, rsa.private, NULL);
            unwrap_openssl(&oaep, &how);
        }
        if (begin_ours("CKM_RSA_AES_KEY_WRAP %s", hashes[i].name)) {
            try_wrap(&rsa_aes, rsa.public, rsa.private, NULL);
            unwrap_both(&rsa_aes, &how);
        }
    }
}

static void try_derive(const char *curve, struct pair *pair, bool der)
{
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_AES;
    CK_ULONG len = 32;
    struct bytes point, secret = ossl_shared_secret(pair->openssl, pair->group, &point), expected = secret;
    CK_BYTE wrapped[3 + sizeof point.data] = { 0x04, (CK_BYTE)point.len };
    CK_ULONG head = point.len < 0x80 ? 2 : 3;
    CK_OBJECT_HANDLE key = 0;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_VALUE_LEN, &len, sizeof len },
    };

    if (head == 3)
        wrapped[1] = 0x81, wrapped[2] = (CK_BYTE)point.len;
    memcpy(wrapped + head, point.data, point.len);
    CK_ECDH1_DERIVE_PARAMS params = { CKD_NULL, 0, NULL, der ? point.len + head : point.len, der ? wrapped : point.data };
    CK_MECHANISM m = { CKM_ECDH1_DERIVE, &params, sizeof params };
    begin("CKM_ECDH1_DERIVE %s%s", curve, der ? ", DER" : "");
    OK("C_DeriveKey", p11->C_DeriveKey(session, &m, pair->private, template, ARRAY_LEN(template), &key));
    expected.len = 32;
    memcpy(expected.data, secret.data + (curve[2] == '2' ? 0 : secret.len - 32), 32);
    say("the key is of the end of the secret", is_key(key, &expected));
    memcpy(expected.data, secret.data, 32);
    say("the key is of its beginning", is_key(key, &expected));
    params.ulPublicDataLen--;
    say("C_DeriveKey with half a point", p11->C_DeriveKey(session, &m, pair->private, template, ARRAY_LEN(template), &key));
    params.ulPublicDataLen++;
    say("C_DeriveKey with a public key", p11->C_DeriveKey(session, &m, pair->public, template, ARRAY_LEN(template), &key));
}

static void deriving(void)
{
    try_derive("P-256", &p256, false);
    try_derive("P-256", &p256, true);
    try_derive("P-384", &p384, false);
    try_derive("P-521", &p521, false);
}

void every_mechanism(void)
{
    for (size_t size = 0; size < 3; size++) {
        aes_value[size] = filled(16 + 8 * size);
        aes[size] = secret_key(CKK_AES, aes_value[size].data, aes_value[size].len);
    }
    hmac_value = filled(64);
    hmac = secret_key(CKK_GENERIC_SECRET, hmac_value.data, hmac_value.len);
    make_pairs();
    generators();
    ciphers();
    ecb();
    rsa_encryption();
    rsa_signatures();
    curve_signatures();
    macs();
    recovering();
    digests();
    aes_wrapping();
    rsa_wrapping();
    deriving();
    destroy_pairs();
}
