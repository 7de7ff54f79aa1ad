/* An application whose threads call without a break while its daemon goes and comes: restarts <module>
 *
 * Each thread has a session of its own and one kind of call, whose answer is known. Standard output has a line for each call: when
 * it began (CLOCK_MONOTONIC), how many milliseconds it took, the RPC that it makes, the CKR_ and, of one that failed,
 * CK_SESSION_INFO's ulDeviceError. A wrong answer, a lost session or another CKR_ than CKR_DEVICE_ERROR ends it with status 1.
 * Ends when standard input does; then it looks for the keys that it made, and each must be there once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/bytes.h"
#include "host.h"

struct worker {
    pthread_t         thread;
    CK_SESSION_HANDLE session;
    unsigned          made;    /* keys of "CreateKey" that were acknowledged */
};

static struct host host;
static CK_OBJECT_HANDLE rsa, session_key;
static CK_BYTE signature[256], session_cipher[HOST_CIPHER];
static atomic_bool ending;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_ULONG aes_len = 32;

/* ---- the calls ---- */

static CK_RV encrypt(struct worker *self)
{
    CK_BYTE cipher[HOST_CIPHER];

    CK_RV rv = host_encrypt(self->session, host.aes, cipher);
    CHECK(rv != CKR_OK || memcmp(cipher, host.cipher, sizeof cipher) == 0);
    return rv;
}

static CK_RV decrypt(struct worker *self)
{
    static const CK_BYTE zeros[1000];
    CK_BYTE iv[16] = { 0 }, text[HOST_CIPHER];
    CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv };
    CK_ULONG len = sizeof text;

    MUST(p11->C_DecryptInit(self->session, &cbc, host.aes));
    CK_RV rv = p11->C_Decrypt(self->session, host.cipher, sizeof host.cipher, text, &len);
    CHECK(rv != CKR_OK || (len == sizeof zeros && memcmp(text, zeros, len) == 0));
    return rv;
}

static CK_RV sign_into(CK_SESSION_HANDLE session, CK_BYTE *into)
{
    CK_MECHANISM pkcs = { CKM_SHA256_RSA_PKCS, NULL, 0 };
    CK_BYTE text[] = "text";
    CK_ULONG len = sizeof signature;

    MUST(p11->C_SignInit(session, &pkcs, rsa));
    return p11->C_Sign(session, text, sizeof text, into, &len);
}

static CK_RV sign(struct worker *self)
{
    CK_BYTE again[sizeof signature];

    CK_RV rv = sign_into(self->session, again);
    CHECK(rv != CKR_OK || memcmp(signature, again, sizeof again) == 0);
    return rv;
}

/* The region keeps nothing of a session's key, so that one made before the restart works after it. */
static CK_RV encrypt_with_session_key(struct worker *self)
{
    CK_BYTE cipher[HOST_CIPHER];

    CK_RV rv = host_encrypt(self->session, session_key, cipher);
    CHECK(rv != CKR_OK || memcmp(cipher, session_cipher, sizeof cipher) == 0);
    return rv;
}

static CK_RV draw(struct worker *self)
{
    CK_BYTE bytes[16 * 1024]; /* more than is kept in store */
    return p11->C_GenerateRandom(self->session, bytes, sizeof bytes);
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_BBOOL on_token, const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &aes_len, sizeof aes_len }, { CKA_TOKEN, &on_token, 1 }, { CKA_ENCRYPT, &yes, 1 },
                                { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };

    return p11->C_GenerateKey(session, &mechanism, template, ARRAY_LEN(template), ret_key);
}

static CK_RV make_key(struct worker *self)
{
    CK_OBJECT_HANDLE key;

    CK_RV rv = generate(self->session, yes, "made", &key);
    self->made += rv == CKR_OK;
    return rv;
}

static const struct { const char *rpc; CK_RV (*run)(struct worker *); } kinds[] = {
    { "Encrypt",     encrypt                  },
    { "Encrypt",     encrypt                  },
    { "Decrypt",     decrypt                  },
    { "Sign",        sign                     },
    { "Encrypt",     encrypt_with_session_key },
    { "Random",      draw                     },
    { "CreateKey",   make_key                 },
};
static struct worker workers[ARRAY_LEN(kinds)];

/* ---- the threads ---- */

static void *work(void *argument)
{
    struct worker *self = argument;
    size_t kind = (size_t)(self - workers);
    CK_SESSION_INFO info;

    while (!atomic_load(&ending)) {
        long began = host_now_ms();
        CK_RV rv = kinds[kind].run(self);
        long took = host_now_ms() - began;
        host_must(rv == CKR_OK || rv == CKR_DEVICE_ERROR, kinds[kind].rpc, rv);
        MUST(p11->C_GetSessionInfo(self->session, &info));
        dprintf(STDOUT_FILENO, "%ld %ld %s 0x%lx %lu\n", began, took, kinds[kind].rpc, rv, rv == CKR_OK ? 0 : info.ulDeviceError);
    }
    return NULL;
}

static unsigned count_made(void)
{
    CK_ATTRIBUTE label = { CKA_LABEL, "made", 4 };
    CK_OBJECT_HANDLE found[64];
    CK_ULONG count;
    unsigned all = 0;

    MUST(p11->C_FindObjectsInit(host.session, &label, 1));
    do {
        MUST(p11->C_FindObjects(host.session, found, ARRAY_LEN(found), &count));
        all += (unsigned)count;
    } while (count > 0);
    MUST(p11->C_FindObjectsFinal(host.session));
    return all;
}

int main(int argc, char **argv)
{
    unsigned made = 0;
    char byte;

    if (argc != 2)
        return 2;
    host_load(argv[1]);
    host_start(&host);
    rsa = host_find(host.session, CKO_PRIVATE_KEY, "rsa");
    MUST(sign_into(host.session, signature));
    MUST(generate(host.session, no, "session", &session_key));
    MUST(host_encrypt(host.session, session_key, session_cipher));

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        workers[i].session = host_open(host.slot);
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    atomic_store(&ending, true);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        (void)pthread_join(workers[i].thread, NULL);
        made += workers[i].made;
    }
    (void)fprintf(stderr, "made %u there %u\n", made, count_made());
    MUST(p11->C_Finalize(NULL));
    return 0;
}
