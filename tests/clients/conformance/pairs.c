/* Key pairs of a session alone, and keys that an application brings: to the session, and to the token. OpenSSL looks at what they sign. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#include "openssl.h"

struct kind {
    const char       *name, *group; /* group NULL: RSA */
    CK_KEY_TYPE       type;
    CK_MECHANISM_TYPE generator, signs;
    CK_ATTRIBUTE      made_of;
};
struct key { EVP_PKEY *openssl; CK_BYTE bytes[8][300]; CK_ATTRIBUTE rows[20]; CK_ULONG count; };

static CK_ULONG        bits = 2048;
static CK_OBJECT_CLASS private_class = CKO_PRIVATE_KEY;
static const struct kind kinds[] = {
    { "RSA-2048", NULL,    CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS, { CKA_MODULUS_BITS, &bits, sizeof bits } },
    { "P-256",    "P-256", CKK_EC,  CKM_EC_KEY_PAIR_GEN,       CKM_ECDSA,    { CKA_EC_PARAMS, (void *)"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10 } },
    { "P-384",    "P-384", CKK_EC,  CKM_EC_KEY_PAIR_GEN,       CKM_ECDSA,    { CKA_EC_PARAMS, (void *)"\x06\x05\x2b\x81\x04\x00\x22", 7 } },
    { "P-521",    "P-521", CKK_EC,  CKM_EC_KEY_PAIR_GEN,       CKM_ECDSA,    { CKA_EC_PARAMS, (void *)"\x06\x05\x2b\x81\x04\x00\x23", 7 } },
};

static void signs_for(const struct kind *kind, CK_OBJECT_HANDLE key, EVP_PKEY *public)
{
    static const struct rsa_how pkcs1 = { .padding = RSA_PKCS1_PADDING };
    CK_MECHANISM m = { kind->signs, NULL, 0 };
    struct bytes data = filled(32), out = { .len = sizeof out.data };

    OK("C_SignInit", p11->C_SignInit(session, &m, key));
    OK("C_Sign", p11->C_Sign(session, data.data, data.len, out.data, &out.len));
    expect("OpenSSL verifies", ossl_verifies(public, NULL, kind->group ? NULL : &pkcs1, &data, &out), true);
}

static void read_flags(CK_OBJECT_HANDLE key)
{
    static const struct { const char *name; CK_ATTRIBUTE_TYPE type; } flags[] = {
        { "CKA_TOKEN", CKA_TOKEN }, { "CKA_LOCAL", CKA_LOCAL }, { "CKA_SENSITIVE", CKA_SENSITIVE }, { "CKA_EXTRACTABLE", CKA_EXTRACTABLE },
        { "CKA_ALWAYS_SENSITIVE", CKA_ALWAYS_SENSITIVE }, { "CKA_NEVER_EXTRACTABLE", CKA_NEVER_EXTRACTABLE }, { "CKA_SIGN", CKA_SIGN },
    };

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        CK_BBOOL value = 2;
        CK_ATTRIBUTE a = { flags[i].type, &value, 1 };
        OK(flags[i].name, p11->C_GetAttributeValue(session, key, &a, 1));
        say(flags[i].name, value);
    }
}

/* ---- pairs of the session ---- */

static void wrap_and_unwrap(const struct kind *kind, CK_OBJECT_HANDLE key, EVP_PKEY *public)
{
    struct bytes value = filled(32);
    CK_OBJECT_HANDLE aes = secret_key(CKK_AES, value.data, value.len), back = 0;
    CK_MECHANISM kwp = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    CK_BYTE wrapped[3000];
    CK_ULONG asked = 0, len = sizeof wrapped;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &private_class, sizeof private_class }, { CKA_KEY_TYPE, (void *)&kind->type, sizeof kind->type }, { CKA_TOKEN, &no, 1 },
        { CKA_SENSITIVE, &yes, 1 }, { CKA_EXTRACTABLE, &no, 1 }, { CKA_SIGN, &yes, 1 },
    };

    OK("C_WrapKey, its length", p11->C_WrapKey(session, &kwp, aes, key, NULL, &asked));
    OK("C_WrapKey", p11->C_WrapKey(session, &kwp, aes, key, wrapped, &len));
    expect("has that length", asked == len, true);
    OK("C_UnwrapKey", p11->C_UnwrapKey(session, &kwp, aes, wrapped, len, template, ARRAY_LEN(template), &back));
    signs_for(kind, back, public);
    read_flags(back);
    say("C_WrapKey of what is not extractable", p11->C_WrapKey(session, &kwp, aes, back, NULL, &asked));
    wrapped[9] ^= 1;
    say("C_UnwrapKey, damaged", p11->C_UnwrapKey(session, &kwp, aes, wrapped, len, template, ARRAY_LEN(template), &key));
    OK("C_DestroyObject", p11->C_DestroyObject(session, back));
    OK("C_DestroyObject, AES", p11->C_DestroyObject(session, aes));
}

static void verify_with(const struct kind *kind, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public)
{
    CK_MECHANISM m = { kind->signs, NULL, 0 };
    struct bytes data = filled(32), out = { .len = sizeof out.data };

    OK("C_SignInit", p11->C_SignInit(session, &m, private));
    OK("C_Sign", p11->C_Sign(session, data.data, data.len, out.data, &out.len));
    OK("C_VerifyInit", p11->C_VerifyInit(session, &m, public));
    OK("C_Verify", p11->C_Verify(session, data.data, data.len, out.data, out.len));
}

static void session_pair(const struct kind *kind)
{
    CK_MECHANISM m = { kind->generator, NULL, 0 };
    CK_OBJECT_HANDLE public = 0, private = 0, copy = 0;
    CK_ATTRIBUTE of_public[] = { { CKA_TOKEN, &no, 1 }, { CKA_VERIFY, &yes, 1 }, kind->made_of };
    CK_ATTRIBUTE of_private[] = { { CKA_TOKEN, &no, 1 }, { CKA_SIGN, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 }, { CKA_EXTRACTABLE, &yes, 1 } };

    begin("a pair of the session, %s", kind->name);
    OK("C_GenerateKeyPair", p11->C_GenerateKeyPair(session, &m, of_public, ARRAY_LEN(of_public), of_private, ARRAY_LEN(of_private), &public, &private));
    EVP_PKEY *openssl = ossl_public_key(public, kind->type, kind->group);
    read_flags(private);
    signs_for(kind, private, openssl);
    verify_with(kind, private, public);
    wrap_and_unwrap(kind, private, openssl);
    OK("C_CopyObject", p11->C_CopyObject(session, private, (CK_ATTRIBUTE[]){ { CKA_LABEL, (void *)"copy", 4 } }, 1, &copy));
    OK("C_DestroyObject, private", p11->C_DestroyObject(session, private));
    signs_for(kind, copy, openssl);
    say("C_DestroyObject, private, again", p11->C_DestroyObject(session, private));
    OK("C_DestroyObject, public", p11->C_DestroyObject(session, public));
    OK("C_DestroyObject, copy", p11->C_DestroyObject(session, copy));
    EVP_PKEY_free(openssl);
}

static void session_pair_ends_with_its_session(void)
{
    CK_MECHANISM m = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_SESSION_HANDLE other = 0;
    CK_OBJECT_HANDLE public = 0, private = 0;
    CK_ATTRIBUTE of_public[] = { kinds[1].made_of }, of_private[] = { { CKA_TOKEN, &no, 1 } };

    begin("a pair of another session");
    OK("C_OpenSession, read-only", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &other));
    OK("C_GenerateKeyPair", p11->C_GenerateKeyPair(other, &m, of_public, 1, of_private, 1, &public, &private));
    OK("C_CloseSession", p11->C_CloseSession(other));
    say("C_DestroyObject of its private key", p11->C_DestroyObject(session, private));
    say("C_DestroyObject of its public key", p11->C_DestroyObject(session, public));
}

/* ---- keys that the application brings ---- */

static void add(struct key *key, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
    key->rows[key->count++] = (CK_ATTRIBUTE){ type, (void *)value, len };
}

static void add_number(struct key *key, size_t at, CK_ATTRIBUTE_TYPE type, const char *name)
{
    BIGNUM *number = NULL;

    (void)EVP_PKEY_get_bn_param(key->openssl, name, &number);
    add(key, type, key->bytes[at], (CK_ULONG)BN_bn2bin(number, key->bytes[at]));
    BN_free(number);
}

static void make_key(struct key *key, const struct kind *kind, CK_BBOOL *on_token)
{
    static const struct { CK_ATTRIBUTE_TYPE type; const char *name; } parts[] = {
        { CKA_MODULUS,          OSSL_PKEY_PARAM_RSA_N },         { CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E },
        { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D },         { CKA_PRIME_1,         OSSL_PKEY_PARAM_RSA_FACTOR1 },
        { CKA_PRIME_2,          OSSL_PKEY_PARAM_RSA_FACTOR2 },   { CKA_EXPONENT_1,      OSSL_PKEY_PARAM_RSA_EXPONENT1 },
        { CKA_EXPONENT_2,       OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { CKA_COEFFICIENT,     OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
    };

    *key = (struct key){ .openssl = kind->group ? EVP_EC_gen(kind->group) : EVP_RSA_gen((unsigned)bits) };
    add(key, CKA_CLASS, &private_class, sizeof private_class);
    add(key, CKA_KEY_TYPE, &kind->type, sizeof kind->type);
    add(key, CKA_TOKEN, on_token, 1);
    add(key, CKA_SIGN, &yes, 1);
    add(key, CKA_SENSITIVE, &yes, 1);
    add(key, CKA_EXTRACTABLE, &no, 1);
    add(key, CKA_LABEL, "brought", 7);
    if (kind->group != NULL) {
        key->rows[key->count++] = kind->made_of;
        add_number(key, 0, CKA_VALUE, OSSL_PKEY_PARAM_PRIV_KEY);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        add_number(key, i, parts[i].type, parts[i].name);
}

static void brought_private_key(const struct kind *kind, CK_BBOOL *on_token)
{
    struct key key;
    CK_OBJECT_HANDLE handle = 0;

    begin("a private key that is brought to the %s, %s", *on_token ? "token" : "session", kind->name);
    make_key(&key, kind, on_token);
    OK("C_CreateObject", p11->C_CreateObject(session, key.rows, key.count, &handle));
    read_flags(handle);
    signs_for(kind, handle, key.openssl);
    expect("C_FindObjects finds it", find_key(CKO_PRIVATE_KEY, "brought") == handle, true);
    OK("C_DestroyObject", p11->C_DestroyObject(session, handle));
    say("C_DestroyObject again", p11->C_DestroyObject(session, handle));
    if (kind->group == NULL) { /* of an EC key SoftHSM says so and keeps what it has */
        say("C_CreateObject without its last part", p11->C_CreateObject(session, key.rows, key.count - 1, &handle));
        (void)p11->C_DestroyObject(session, handle);
    }
    EVP_PKEY_free(key.openssl);
}

static void brought_secret_key(void)
{
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_AES;
    CK_BYTE iv[16] = { 0 };
    CK_MECHANISM cbc = { CKM_AES_CBC, iv, sizeof iv };
    struct bytes value = filled(32), plain = filled(32), out = { .len = sizeof out.data };
    struct bytes right = ossl_encrypt("AES-256-CBC", false, &value, bw_bytes_of(iv, sizeof iv), (bw_bytes){ NULL, 0 }, &plain);
    CK_OBJECT_HANDLE key = 0;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &yes, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_LABEL, (void *)"brought", 7 },
        { CKA_SENSITIVE, &yes, 1 }, { CKA_EXTRACTABLE, &no, 1 }, { CKA_VALUE, value.data, value.len },
    };

    begin("a secret key that is brought to the token");
    OK("C_CreateObject", p11->C_CreateObject(session, template, ARRAY_LEN(template), &key));
    OK("C_EncryptInit", p11->C_EncryptInit(session, &cbc, key));
    OK("C_Encrypt", p11->C_Encrypt(session, plain.data, plain.len, out.data, &out.len));
    expect("OpenSSL encrypts alike", same(&out, &right), true);
    expect("C_FindObjects finds it", find_key(CKO_SECRET_KEY, "brought") == key, true);
    OK("C_DestroyObject", p11->C_DestroyObject(session, key));
    say("C_CreateObject without its value", p11->C_CreateObject(session, template, ARRAY_LEN(template) - 1, &key));
    (void)p11->C_DestroyObject(session, key);
}

void key_pairs(void)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        session_pair(&kinds[i]);
        brought_private_key(&kinds[i], &no);
        brought_private_key(&kinds[i], &yes);
    }
    session_pair_ends_with_its_session();
    brought_secret_key();
}
