/* An application whose connection is cut after every so many bytes of each of its calls, on their way to the region and back.
 *
 * cut_calls <module> <the proxy's mode file> <step> <how> <deadline in ms>
 *
 * how    "reset", "closed" or "silent" (tests/lib/fault_proxy.py)
 *
 * Each must succeed before its deadline, and what it answers must be right: over another connection, as this one ended or gave no
 * sign of life. The session stays all along.
 * Prints how many calls of each kind there were: "Encrypt 123", under the name of the RPC that each makes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bytes.h"
#include "host.h"

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE aes, rsa, ec, ec_public, session_key, made;
static CK_BYTE cipher[HOST_CIPHER]; /* the right one */
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA;
static CK_ULONG aes_len = 32;

/* ---- the calls: each makes one RPC, and checks what it answers ---- */

/* Over a connection of its own, so that the handshake is cut too. */
static CK_RV find_anew(void)
{
    CK_ATTRIBUTE template = { CKA_LABEL, "aes", 3 };
    CK_ULONG count;

    MUST(p11->C_Finalize(NULL));
    MUST(p11->C_Initialize(NULL));
    session = host_open(host_slot());
    CK_RV rv = p11->C_FindObjectsInit(session, &template, 1);
    if (rv != CKR_OK)
        return rv;
    MUST(p11->C_FindObjects(session, &aes, 1, &count));
    CHECK(count == 1);
    return p11->C_FindObjectsFinal(session);
}

static CK_RV encrypt(void)
{
    CK_BYTE again[HOST_CIPHER];

    CK_RV rv = host_encrypt(session, aes, again);
    CHECK(rv != CKR_OK || memcmp(cipher, again, sizeof cipher) == 0);
    return rv;
}

static CK_RV decrypt(void)
{
    static const CK_BYTE zeros[1000];
    CK_BYTE iv[16] = { 0 }, text[HOST_CIPHER];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv };
    CK_ULONG len = sizeof text;

    MUST(p11->C_DecryptInit(session, &cbc, aes));
    CK_RV rv = p11->C_Decrypt(session, cipher, sizeof cipher, text, &len);
    CHECK(rv != CKR_OK || (len == sizeof zeros && memcmp(text, zeros, len) == 0));
    return rv;
}

static CK_RV sign_rsa(void)
{
    static CK_BYTE first[256];
    static bool known;
    CK_MECHANISM pkcs = { CKM_SHA256_RSA_PKCS, NULL, 0 };
    CK_BYTE again[256], text[] = "text";
    CK_ULONG len = sizeof again;

    MUST(p11->C_SignInit(session, &pkcs, rsa));
    CK_RV rv = p11->C_Sign(session, text, sizeof text, known ? again : first, &len);
    CHECK(rv != CKR_OK || !known || memcmp(first, again, sizeof first) == 0);
    known |= rv == CKR_OK;
    return rv;
}

static CK_RV sign_ec(void)
{
    CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
    CK_BYTE digest[32] = { 1 }, signature[64];
    CK_ULONG len = sizeof signature;

    MUST(p11->C_SignInit(session, &ecdsa, ec));
    CK_RV rv = p11->C_Sign(session, digest, sizeof digest, signature, &len);
    if (rv != CKR_OK)
        return rv;
    MUST(p11->C_VerifyInit(session, &ecdsa, ec_public)); /* in the module */
    MUST(p11->C_Verify(session, digest, sizeof digest, signature, len));
    return rv;
}

static CK_RV draw(void)
{
    static CK_BYTE bytes[16 * 1024]; /* more than is kept in store */
    return p11->C_GenerateRandom(session, bytes, sizeof bytes);
}

static CK_RV generate(void)
{
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &aes_len, sizeof aes_len }, { CKA_TOKEN, &no, 1 }, { CKA_ENCRYPT, &yes, 1 }, { CKA_EXTRACTABLE, &yes, 1 } };
    CK_OBJECT_HANDLE key;

    CK_RV rv = p11->C_GenerateKey(session, &mechanism, template, ARRAY_LEN(template), &key);
    if (rv == CKR_OK && session_key == 0)
        session_key = key;
    else if (rv == CKR_OK)
        MUST(p11->C_DestroyObject(session, key));
    return rv;
}

static CK_RV wrap_key(void)
{
    static CK_BYTE first[40];
    static bool known;
    CK_MECHANISM kwp = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    CK_BYTE again[40];
    CK_ULONG len = sizeof again;

    CK_RV rv = p11->C_WrapKey(session, &kwp, aes, session_key, known ? again : first, &len);
    CHECK(rv != CKR_OK || !known || memcmp(first, again, sizeof first) == 0);
    known |= rv == CKR_OK;
    return rv;
}

static CK_RV make_key(void)
{
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &aes_len, sizeof aes_len }, { CKA_TOKEN, &yes, 1 }, { CKA_LABEL, "made", 4 } };

    return p11->C_GenerateKey(session, &mechanism, template, ARRAY_LEN(template), &made);
}

static CK_RV rename_key(void)
{
    static char name = 'a'; /* another each time */
    CK_ATTRIBUTE label = { CKA_LABEL, &name, 1 };

    name = (char)(name == 'z' ? 'a' : name + 1);
    return p11->C_SetAttributeValue(session, made, &label, 1);
}

static CK_RV put_data(void)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &data_class, sizeof data_class }, { CKA_TOKEN, &yes, 1 }, { CKA_LABEL, "made", 4 }, { CKA_VALUE, "value", 5 } };
    CK_OBJECT_HANDLE object;

    return p11->C_CreateObject(session, template, ARRAY_LEN(template), &object);
}

/* coarse: how many times longer the step is, where calls are slow or long */
static struct { const char *rpc; CK_RV (*run)(void); long coarse; long count; } calls[] = {
    { "Encrypt",     encrypt,    1, 0 },
    { "Decrypt",     decrypt,    1, 0 },
    { "Sign",        sign_rsa,   1, 0 },
    { "Sign",        sign_ec,    1, 0 },
    { "Random",      draw,       25, 0 },
    { "GenerateKey", generate,   1, 0 },
    { "WrapKey",     wrap_key,   1, 0 },
    { "CreateKey",   make_key,   5, 0 },
    { "UpdateKey",   rename_key, 5, 0 },
    { "PutObject",   put_data,   5, 0 },
    { "ListKeys",    find_anew,  5, 0 }, /* forgets all handles but "aes" */
};

/* ---- cutting ---- */

static const char *mode_file, *how;
static long deadline_ms;

static void order_cut(const char *way, long bytes)
{
    static unsigned number; /* so that no order is taken for the one before */
    char text[64];

    (void)snprintf(text, sizeof text, "cut %s %ld %s %u\n", way, bytes, how, number++);
    host_set_mode(mode_file, text);
}

static CK_RV run(size_t at)
{
    long began = host_now_ms();
    CK_RV rv = calls[at].run();
    long took = host_now_ms() - began;

    calls[at].count++;
    host_must(took <= deadline_ms + HOST_LATE_MS, "it took too long (ms)", (CK_RV)took);
    return rv;
}

static void run_well(size_t at)
{
    CK_RV rv = run(at);
    host_must(rv == CKR_OK, calls[at].rpc, rv);
}

/* false: the call was over before it came to that byte */
static bool cut_once(size_t at, const char *way, long bytes)
{
    order_cut(way, bytes);
    run_well(at);
    bool over = host_is_to_cut(mode_file);
    host_set_mode(mode_file, "pass\n");
    return !over;
}

static void cut_all(size_t at, long step)
{
    static const char *const ways[] = { "up", "down" };

    for (size_t way = 0; way < ARRAY_LEN(ways); way++)
        for (long bytes = 0; cut_once(at, ways[way], bytes); bytes += step)
            run_well(at); /* so that there is a connection */
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    mode_file   = argv[2];
    how         = argv[4];
    deadline_ms = atol(argv[5]);

    host_load(argv[1]);
    MUST(p11->C_Initialize(NULL));
    session   = host_open(host_slot());
    aes       = host_find(session, CKO_SECRET_KEY, "aes");
    rsa       = host_find(session, CKO_PRIVATE_KEY, "rsa");
    ec        = host_find(session, CKO_PRIVATE_KEY, "ec");
    ec_public = host_find(session, CKO_PUBLIC_KEY, "ec");
    MUST(host_encrypt(session, aes, cipher));
    calls[0].count++;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        run_well(i);
        cut_all(i, atol(argv[3]) * calls[i].coarse);
        printf("%s %ld\n", calls[i].rpc, calls[i].count);
    }
    MUST(p11->C_Finalize(NULL));
    return 0;
}
