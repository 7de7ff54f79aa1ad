/* Drives a PKCS#11 module: bench_module <module.so> <token label> <pin or ""> [cold <operation> | fill <count>]
 *
 * cold: once only, and tells how long it took from dlopen to the first result, and what that left in the process.
 * fill: makes that many keys of the kind that the daemon makes, in its token, and prints their ids. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "slice.h"

enum { DATA_MAX = 256 * 1024, SLACK = 1024, SESSIONS_KEPT = BW_BENCH_CALLERS_MAX, MANY_MAX = 1 << 16 };

enum kind { DECRYPT, SIGN, UNWRAP, USE_ANY, FIND_ANY };

static const struct operation {
    const char       *name;
    enum kind         kind;
    const char       *key;      /* label */
    CK_OBJECT_CLASS   class;
    CK_MECHANISM_TYPE mechanism;
    size_t            len;      /* of what is decrypted, signed or unwrapped, bytes */
} operations[] = {
    { "gcm-32",        DECRYPT, "aes",     CKO_SECRET_KEY,  CKM_AES_GCM,            32         },
    { "gcm-4k",        DECRYPT, "aes",     CKO_SECRET_KEY,  CKM_AES_GCM,            4096       },
    { "gcm-256k",      DECRYPT, "aes",     CKO_SECRET_KEY,  CKM_AES_GCM,            256 * 1024 },
    { "envelope-32",   DECRYPT, "aes",     CKO_SECRET_KEY,  CKM_BAILIWICK_ENVELOPE, 32         },
    { "kwp-32",        UNWRAP,  "aes",     CKO_SECRET_KEY,  CKM_AES_KEY_WRAP_PAD,   32         },
    { "oaep-2048",     DECRYPT, "rsa2048", CKO_PRIVATE_KEY, CKM_RSA_PKCS_OAEP,      32         },
    { "oaep-4096",     DECRYPT, "rsa4096", CKO_PRIVATE_KEY, CKM_RSA_PKCS_OAEP,      32         },
    { "rsa-2048",      SIGN,    "rsa2048", CKO_PRIVATE_KEY, CKM_RSA_PKCS,           51         },
    { "pss-2048",      SIGN,    "rsa2048", CKO_PRIVATE_KEY, CKM_RSA_PKCS_PSS,       32         },
    { "ecdsa-p256",    SIGN,    "ec",      CKO_PRIVATE_KEY, CKM_ECDSA,              32         },
    { "hmac-sha256",   SIGN,    "hmac",    CKO_SECRET_KEY,  CKM_SHA256_HMAC,        32         },
    { "use-any",       USE_ANY, NULL,      CKO_SECRET_KEY,  CKM_AES_GCM,            32         }, /* encrypts with one of all AES keys */
    { "find-any",      FIND_ANY, "any-%u", CKO_SECRET_KEY,  CKM_AES_GCM,            0          }, /* one of all by its label */
};

struct module {
    CK_FUNCTION_LIST *f;
    CK_SLOT_ID        slot;
    CK_SESSION_HANDLE idle[SESSIONS_KEPT]; /* the first holds the login and is not given out */
    unsigned          idle_count;
};

struct caller {
    struct module          *module;
    const struct operation *operation;
    CK_SESSION_HANDLE       session;
    CK_OBJECT_HANDLE        key;
    CK_MECHANISM            mechanism;
    union { CK_GCM_PARAMS gcm; CK_RSA_PKCS_OAEP_PARAMS oaep; CK_RSA_PKCS_PSS_PARAMS pss; } params;
    CK_BYTE                 iv[12];
    CK_OBJECT_HANDLE       *many;          /* all AES keys, where any is used */
    CK_ULONG                many_count;
    unsigned                seed;
    CK_ULONG                in_len;
    CK_BYTE                 in[DATA_MAX + SLACK], out[DATA_MAX + SLACK];
};

/* ---- the module ---- */

static CK_FUNCTION_LIST *load(const char *path)
{
    CK_FUNCTION_LIST *f;
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;

    if (library == NULL)
        bw_bench_die(dlerror());
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&f) != CKR_OK || f->C_Initialize(&args) != CKR_OK)
        bw_bench_die("the module does not start");
    return f;
}

static CK_SLOT_ID find_slot(CK_FUNCTION_LIST *f, const char *label)
{
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    CK_TOKEN_INFO info;

    if (f->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        bw_bench_die("no slots");
    for (CK_ULONG i = 0; i < count; i++)
        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, label, strlen(label)) == 0)
            return slots[i];
    bw_bench_die("no token of that label");
}

static CK_SESSION_HANDLE take_session(struct module *module)
{
    CK_SESSION_HANDLE session = 0;

    if (module->idle_count > 1)
        return module->idle[--module->idle_count];
    if (module->f->C_OpenSession(module->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK)
        bw_bench_die("no session");
    return session;
}

static void open_module(struct module *module, char **argv)
{
    module->f    = load(argv[1]);
    module->slot = find_slot(module->f, argv[2]);
    module->idle[module->idle_count++] = take_session(module);
    if (argv[3][0] == '\0')
        return;
    CK_RV rv = module->f->C_Login(module->idle[0], CKU_USER, (CK_UTF8CHAR *)argv[3], strlen(argv[3]));
    if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN)
        bw_bench_die("no login");
}

/* ---- a caller ---- */

static bool find_labelled(struct caller *caller, CK_OBJECT_CLASS class, const char *label, CK_OBJECT_HANDLE *ret_key)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_ULONG count = 0;

    if (f->C_FindObjectsInit(caller->session, template, 2) != CKR_OK)
        return false;
    CK_RV rv = f->C_FindObjects(caller->session, ret_key, 1, &count);
    return f->C_FindObjectsFinal(caller->session) == CKR_OK && rv == CKR_OK && count == 1;
}

static bool find_key(struct caller *caller, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *ret_key)
{
    return find_labelled(caller, class, caller->operation->key, ret_key);
}

static bool find_many(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template = { CKA_KEY_TYPE, &type, sizeof type };

    caller->many = calloc(MANY_MAX, sizeof *caller->many);
    if (caller->many == NULL || f->C_FindObjectsInit(caller->session, &template, 1) != CKR_OK)
        return false;
    CK_RV rv = f->C_FindObjects(caller->session, caller->many, MANY_MAX, &caller->many_count);
    return f->C_FindObjectsFinal(caller->session) == CKR_OK && rv == CKR_OK && caller->many_count > 0;
}

static void set_mechanism(struct caller *caller)
{
    CK_MECHANISM_TYPE type = caller->operation->mechanism;

    caller->mechanism.mechanism  = type;
    caller->mechanism.pParameter = &caller->params;
    if (type == CKM_AES_GCM) {
        caller->params.gcm = (CK_GCM_PARAMS){ .pIv = caller->iv, .ulIvLen = sizeof caller->iv, .ulIvBits = 96, .ulTagBits = 128 };
        caller->mechanism.ulParameterLen = sizeof caller->params.gcm;
    } else if (type == CKM_RSA_PKCS_OAEP) {
        caller->params.oaep = (CK_RSA_PKCS_OAEP_PARAMS){ .hashAlg = CKM_SHA_1, .mgf = CKG_MGF1_SHA1, .source = CKZ_DATA_SPECIFIED };
        caller->mechanism.ulParameterLen = sizeof caller->params.oaep;
    } else if (type == CKM_RSA_PKCS_PSS) {
        caller->params.pss = (CK_RSA_PKCS_PSS_PARAMS){ CKM_SHA256, CKG_MGF1_SHA256, 32 };
        caller->mechanism.ulParameterLen = sizeof caller->params.pss;
    } else {
        caller->mechanism.pParameter = NULL;
    }
}

static bool encrypt_input(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_OBJECT_HANDLE key = caller->key;

    caller->in_len = sizeof caller->in;
    if (caller->operation->class == CKO_PRIVATE_KEY && !find_key(caller, CKO_PUBLIC_KEY, &key))
        return false;
    return f->C_EncryptInit(caller->session, &caller->mechanism, key) == CKR_OK &&
           f->C_Encrypt(caller->session, caller->out, caller->operation->len, caller->in, &caller->in_len) == CKR_OK;
}

static bool wrap_input(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG len = caller->operation->len;
    CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, 1 }, { CKA_EXTRACTABLE, &yes, 1 }, { CKA_VALUE_LEN, &len, sizeof len }, { CKA_DECRYPT, &yes, 1 } };
    CK_OBJECT_HANDLE key;

    caller->in_len = sizeof caller->in;
    return f->C_GenerateKey(caller->session, &generate, template, 4, &key) == CKR_OK &&
           f->C_WrapKey(caller->session, &caller->mechanism, caller->key, key, caller->in, &caller->in_len) == CKR_OK;
}

static bool prepare(struct caller *caller)
{
    static const CK_BYTE sha256_prefix[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
    const struct operation *operation = caller->operation;

    set_mechanism(caller);
    if (operation->kind == USE_ANY || operation->kind == FIND_ANY)
        return find_many(caller);
    if (!find_key(caller, operation->class, &caller->key))
        return false;
    if (operation->kind == DECRYPT)
        return encrypt_input(caller);
    if (operation->kind == UNWRAP)
        return wrap_input(caller);
    caller->in_len = operation->len;
    memset(caller->in, 0x5a, operation->len);
    if (operation->mechanism == CKM_RSA_PKCS)
        memcpy(caller->in, sha256_prefix, sizeof sha256_prefix); /* RFC 8017 9.2, note 1 */
    return true;
}

static void caller_free(void *state)
{
    struct caller *caller = state;

    caller->module->idle[caller->module->idle_count++] = caller->session;
    free(caller->many);
    free(caller);
}

static const struct operation *find_operation(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

static bool call(void *state);

/* The first one is not measured: it fetches what is fetched once. */
static void *caller_new(void *self, const char *name, const char **ret_why)
{
    struct caller *caller = calloc(1, sizeof *caller);

    if (caller == NULL)
        bw_bench_die("out of memory");
    caller->module    = self;
    caller->operation = find_operation(name);
    caller->session   = take_session(self);
    memset(caller->iv, 7, sizeof caller->iv);
    if (caller->operation != NULL && prepare(caller) && call(caller))
        return caller;
    caller_free(caller);
    *ret_why = "this module does not do it";
    return NULL;
}

/* ---- one call, in two or three steps as PKCS#11 has them ---- */

static bool decrypt(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_ULONG len = sizeof caller->out;

    return f->C_DecryptInit(caller->session, &caller->mechanism, caller->key) == CKR_OK &&
           f->C_Decrypt(caller->session, caller->in, caller->in_len, caller->out, &len) == CKR_OK && len == caller->operation->len;
}

static bool sign(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_ULONG len = sizeof caller->out;

    return f->C_SignInit(caller->session, &caller->mechanism, caller->key) == CKR_OK &&
           f->C_Sign(caller->session, caller->in, caller->in_len, caller->out, &len) == CKR_OK;
}

static bool unwrap(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_DECRYPT, &yes, 1 } };
    CK_OBJECT_HANDLE key;

    return f->C_UnwrapKey(caller->session, &caller->mechanism, caller->key, caller->in, caller->in_len, template, 4, &key) == CKR_OK &&
           f->C_DestroyObject(caller->session, key) == CKR_OK;
}

static CK_ULONG any(struct caller *caller)
{
    return (CK_ULONG)rand_r(&caller->seed) % caller->many_count;
}

static bool use_any(struct caller *caller)
{
    CK_FUNCTION_LIST *f = caller->module->f;
    CK_ULONG len = sizeof caller->out;

    return f->C_EncryptInit(caller->session, &caller->mechanism, caller->many[any(caller)]) == CKR_OK &&
           f->C_Encrypt(caller->session, caller->in, caller->operation->len, caller->out, &len) == CKR_OK;
}

/* "aes" is one of all, and has no number. */
static bool find_any(struct caller *caller)
{
    CK_OBJECT_HANDLE key;
    char label[32];

    (void)snprintf(label, sizeof label, "any-%lu", any(caller) % (caller->many_count - 1));
    return find_labelled(caller, CKO_SECRET_KEY, label, &key);
}

static bool call(void *state)
{
    static bool (*const kinds[])(struct caller *) = {
        [DECRYPT] = decrypt, [SIGN] = sign, [UNWRAP] = unwrap, [USE_ANY] = use_any, [FIND_ANY] = find_any,
    };
    struct caller *caller = state;

    return kinds[caller->operation->kind](caller);
}

/* ---- cold start ---- */

static long status_of(const char *name)
{
    char line[128];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name) + 1, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return value;
}

static void start_cold(struct module *module, char **argv)
{
    struct caller *caller = calloc(1, sizeof *caller);
    long rss = status_of("VmRSS"), threads = status_of("Threads");
    double from = bw_bench_now_us();

    open_module(module, argv);
    double opened = bw_bench_now_us();
    *caller = (struct caller){ .module = module, .operation = find_operation(argv[5]), .session = take_session(module) };
    bool ok = caller->operation != NULL && prepare(caller);
    double prepared = bw_bench_now_us();
    ok = ok && call(caller);
    (void)printf("{\"open_us\":%.0f,\"prepare_us\":%.0f,\"first_us\":%.0f,\"rss_kib\":%ld,\"threads\":%ld,\"failed\":%d}\n", opened - from,
                 prepared - opened, bw_bench_now_us() - prepared, status_of("VmRSS") - rss, status_of("Threads") - threads, !ok);
    free(caller);
}

/* ---- many keys ---- */

/* As server/hsm_key.c makes an AES key: CKA_ID is the key's id and its version, 1. */
static void fill(struct module *module, unsigned long count)
{
    CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG len = 32;
    CK_BYTE  id[20];
    CK_ATTRIBUTE template[] = {
        { CKA_TOKEN, &yes, 1 }, { CKA_PRIVATE, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 }, { CKA_EXTRACTABLE, &no, 1 }, { CKA_ENCRYPT, &yes, 1 },
        { CKA_DECRYPT, &yes, 1 }, { CKA_WRAP, &yes, 1 }, { CKA_UNWRAP, &yes, 1 }, { CKA_VALUE_LEN, &len, sizeof len }, { CKA_ID, id, sizeof id },
    };
    CK_OBJECT_HANDLE key;

    for (; count > 0; count--) {
        if (module->f->C_GenerateRandom(module->idle[0], id, 16) != CKR_OK)
            bw_bench_die("no random bytes");
        memcpy(id + 16, (const CK_BYTE[]){ 0, 0, 0, 1 }, 4);
        if (module->f->C_GenerateKey(module->idle[0], &generate, template, sizeof template / sizeof *template, &key) != CKR_OK)
            bw_bench_die("no key");
        for (size_t i = 0; i < 16; i++)
            (void)printf("%02x", id[i]);
        (void)printf("\n");
    }
}

int main(int argc, char **argv)
{
    static struct module module;
    const struct bw_bench_side side = { &module, caller_new, call, caller_free };

    if (argc != 4 && argc != 6)
        bw_bench_die("usage: bench_module <module.so> <token label> <pin or \"\"> [cold <operation> | fill <count>]");
    if (argc == 6 && strcmp(argv[4], "cold") == 0) {
        start_cold(&module, argv);
        return 0;
    }
    open_module(&module, argv);
    if (argc == 6)
        fill(&module, strtoul(argv[5], NULL, 10));
    else
        bw_bench_serve(&side);
    return 0;
}
