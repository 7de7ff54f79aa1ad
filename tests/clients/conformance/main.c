/* What a PKCS#11 module answers, case by case: every function, every legal and illegal move, every mechanism, every attribute. Run
 * on two modules, and compared:
 *
 * conformance <module> <pin or ->          prints a line for each case: its name, what came (a CKR_ or a number), what it must be or -
 * conformance --compare <reference> <ours> what differs must be a row of differences[]; what only we have must be as it must be; and
 *                                          each row of functions.def and mechanisms.def must have a case that works
 *
 * The token has keys labelled "aes" (AES-256), "rsa" (RSA-2048, CKA_ID 02) and "ec" (P-256), and lets us make more. */
#include <dlfcn.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/mechanism.h"
#include "case.h"

/* case (with * as in the shell), what SoftHSM 2.6.1 answers, what we answer, and why that is right. ANY: whatever it is. */
enum { ANY = -2 };
static const struct { const char *name; long theirs, ours; const char *why; } differences[] = {
    { "*: C_InitToken",                                ANY,   0x54, "custodians manage tokens, keys and people, not applications; said whatever the state is" },
    { "*: C_InitPIN",                                  ANY,   0x54, "the same" },
    { "*: C_SetPIN",                                   ANY,   0x54, "the same: a PIN is the passphrase of the application's key file" },
    { "*: C_SeedRandom",                               0,     0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED: the HSM's generator takes none" },
    { "sessions: C_Logout before C_Login",             0,     0x101, "CKR_USER_NOT_LOGGED_IN, as v3.0 5.6.10 has it" },
    { "sessions: C_Login with a wrong PIN",            0xa0,  0,     "the application's key file has no passphrase, so that there is no PIN to be wrong" },
    { "sessions: C_Login as SO then",                  0xb7,  0x104, "both hold: a user is logged in, and a session is read-only" },
    { "objects: C_CopyObject without changes",         0x07,  0,     "a template of no attributes is a template" },
    { "secrecy: C_DigestKey of a sensitive key",       0,     0x67,  "CKR_KEY_INDIGESTIBLE: a master key's value is not where digests are made" },
    { "secrecy: the digest of the value",              0,     1,     "follows from that" },
    { "*: CKA_UNIQUE_ID",                              0x12,  ANY,   "an attribute of 3.0" },
    { "a certificate, made without: *",                0xd0,  0,     "the certificate says itself what it is of, and X.509 is the only type" },
    { "a certificate, made with: CKA_CHECK_VALUE",     0x05,  0,     "kept as it was given, where SoftHSM has CKR_GENERAL_ERROR" },
    { "a certificate, c*ed*: CKA_ISSUER",              0,     0x10,  "the certificate says itself whose it is" },
    { "a certificate, c*ed*: CKA_SERIAL_NUMBER",       0,     0x10,  "the same" },
    { "objects: C_SetAttributeValue: not to be copied", 0x10, 0,     "true may become false: v3.0 4.4" },
    { "objects: C_CopyObject of what is not to be copied", 0, 0x1b,  "CKR_ACTION_PROHIBITED; follows from that" },
    { "*, c*ed*: CKA_COPYABLE",                        0x10,  0,     "true it was already, and nothing is changed" },
    { "*, changed: CKA_DESTROYABLE",                   0x10,  0,     "the same" },
    { "a* key, *: CKA_CHECK_VALUE",                     0x13,  0x10,  "it cannot be given there, whatever the value" },
    { "a secret key, c*ed*: CKA_WRAP_WITH_TRUSTED",    0x10,  0,     "false may become true: v3.0 4.10" },
    { "a token's EC private key, read: CKA_EC_POINT",  0x12,  0,     "some applications read the point where they found the private key" },
    { "moves of *Init(NULL mechanism)",                0x07,  0,     "cancels the operation, as 3.0 has it" },
    { "moves of *Init(NULL mechanism), then Init",     0x90,  0,     "follows from that" },
    { "moves of *: none: *(NULL length)",              0x07,  0x91,  "CKR_OPERATION_NOT_INITIALIZED is wrong as well" },
    { "moves of *Final(NULL length), then Init",       0,     0x90,  "a bad argument does not end the operation" },
    { "moves of *: part: C_*",                         ANY,   0x90,  "once after Update is CKR_OPERATION_ACTIVE, and the parts are kept; SoftHSM forgets them" },
    { "moves of decryption: new: C_DecryptUpdate of nothing", 0x150, 0, "nothing comes out of nothing" },
    { "moves of decryption: new: C_DecryptFinal*",     0x150, 0x41,  "CKR_ENCRYPTED_DATA_LEN_RANGE: there is no padding where there was no ciphertext" },
    { "moves of decryption: new: C_DecryptFinal*, then Init", 0x90, 0, "follows from that" },
    { "moves of decryption: part: C_DecryptFinal, no room*", ANY, 0, "the last block is all padding, so that no room is enough" },
    { "wrong Init: a short IV",                        0x70,  0x71,  "CKR_MECHANISM_PARAM_INVALID is what is wrong" },
    { "wrong Init: no * parameters",                   0x07,  0x71,  "the same" },
    { "wrong Init: another mechanism's parameters",    0x07,  0x71,  "the same" },
    { "wrong Init: no IV",                             0x07,  0x71,  "the same" },
    { "wrong Init: a key that there is not",           0x82,  0x60,  "CKR_KEY_HANDLE_INVALID, as v3.0 5.13.1 has it" },
    { "wrong Init: no key",                            0x82,  0x60,  "the same" },
    { "wrong Init: data too long",                     0x05,  0x21,  "CKR_DATA_LEN_RANGE, where SoftHSM has CKR_GENERAL_ERROR" },
    { "CKM_AES_KEY_GEN *: C_GenerateKey of 17 bytes",  0x13,  0x62,  "CKR_KEY_SIZE_RANGE says more than that a value is wrong" },
    { "CKM_EC_KEY_PAIR_GEN: C_GenerateKeyPair of no curve", 0x05, 0x140, "CKR_CURVE_NOT_SUPPORTED, where SoftHSM has CKR_GENERAL_ERROR" },
    { "CKM_AES_GCM *: C_Decrypt of too little",        0x05,  0x40,  "CKR_ENCRYPTED_DATA_INVALID, where SoftHSM has CKR_GENERAL_ERROR" },
    { "CKM_RSA_*: C_Decrypt of too little",            0x05,  0x41,  "CKR_ENCRYPTED_DATA_LEN_RANGE, where SoftHSM has CKR_GENERAL_ERROR" },
    { "CKM_*: C_UnwrapKey, damaged",                   0x05,  0x110, "CKR_WRAPPED_KEY_INVALID, where SoftHSM has CKR_GENERAL_ERROR" },
    { "a pair of the session, *: C_UnwrapKey, damaged", 0x05, 0x110, "the same" },
    { "a private key * RSA-2048: C_CreateObject without its last part", 0, 0xd0, "an RSA key comes with all its parts: Current Mechanisms 2.1.3 lets a token ask for them" },
    { "CKM_ECDH1_DERIVE *: C_DeriveKey with half a point", 0x05, 0x71, "CKR_MECHANISM_PARAM_INVALID, where SoftHSM has CKR_GENERAL_ERROR" },
};

const CK_FUNCTION_LIST_3_0 *p11;
bool              has_3_0;
CK_SLOT_ID        slot;
CK_SESSION_HANDLE session;
const char       *pin;
CK_BBOOL          yes = CK_TRUE, no = CK_FALSE;

/* ---- cases ---- */

static char chapter[100];

void begin(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(chapter, sizeof chapter, format, args);
    va_end(args);
}

bool begin_ours(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    chapter[0] = '!';
    vsnprintf(chapter + 1, sizeof chapter - 1, format, args);
    va_end(args);
    return has_3_0;
}

void say(const char *name, CK_ULONG value)
{
    printf("%s: %s\t%ld\t-\n", chapter, name, (long)value);
}

void expect(const char *name, CK_ULONG value, CK_ULONG expected)
{
    printf("%s: %s\t%ld\t%ld\n", chapter, name, (long)value, (long)expected);
}

bool same(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

struct bytes filled(CK_ULONG len)
{
    struct bytes out = { .len = len };

    for (CK_ULONG i = 0; i < len; i++)
        out.data[i] = (CK_BYTE)(i * 7 + 1);
    return out;
}

CK_OBJECT_HANDLE find_key(CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, (void *)label, strlen(label) } };
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;

    (void)p11->C_FindObjectsInit(session, template, 2);
    (void)p11->C_FindObjects(session, &found, 1, &count);
    (void)p11->C_FindObjectsFinal(session);
    if (count != 1) {
        fprintf(stderr, "no key %s\n", label);
        exit(1);
    }
    return found;
}

CK_OBJECT_HANDLE secret_key(CK_KEY_TYPE type, const CK_BYTE *value, CK_ULONG len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_TOKEN, &no, 1 }, { CKA_VALUE, (void *)value, len },
        { CKA_ENCRYPT, &yes, 1 }, { CKA_DECRYPT, &yes, 1 }, { CKA_SIGN, &yes, 1 }, { CKA_VERIFY, &yes, 1 }, { CKA_WRAP, &yes, 1 }, { CKA_UNWRAP, &yes, 1 },
        { CKA_EXTRACTABLE, &yes, 1 }, { CKA_SENSITIVE, &no, 1 },
    };
    CK_OBJECT_HANDLE key = 0;
    CK_RV rv = p11->C_CreateObject(session, t, ARRAY_LEN(t), &key);

    if (rv != CKR_OK) {
        fprintf(stderr, "a secret key of a given value: 0x%lx\n", rv);
        exit(1);
    }
    return key;
}

/* ---- one module ---- */

/* 3.0 where the module has it. */
static bool open_module(const char *path, void **ret_handle)
{
    void *handle = dlopen(path, RTLD_NOW);
    CK_C_GetInterface get_interface = handle ? (CK_C_GetInterface)dlsym(handle, "C_GetInterface") : NULL;
    CK_C_GetFunctionList get_list = handle ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
    CK_FUNCTION_LIST *list = NULL;
    CK_INTERFACE *interface;

    *ret_handle = handle;
    if (get_interface != NULL && get_interface(NULL, NULL, &interface, 0) == CKR_OK) {
        p11     = interface->pFunctionList;
        has_3_0 = p11->version.major == 3;
        return true;
    }
    if (get_list == NULL || get_list(&list) != CKR_OK)
        return false;
    p11 = (const CK_FUNCTION_LIST_3_0 *)(const void *)list;
    return true;
}

static int observe(const char *path)
{
    void *module;

    if (!open_module(path, &module)) {
        fprintf(stderr, "%s is no module\n", path);
        return 1;
    }
    interfaces(module);
    every_function("before C_Initialize", 1, 0, CKR_CRYPTOKI_NOT_INITIALIZED);
    general();
    every_function("without a session or slot", 4711, 4711, CKR_SESSION_HANDLE_INVALID);
    mechanism_list();
    sessions();
    objects();
    every_attribute();
    finding();
    moves();
    wrong_inits();
    messages();
    dual_functions();
    every_mechanism();
    key_pairs();
    randomness();
    begin("end");
    say("C_Finalize", p11->C_Finalize(NULL));
    say("C_Finalize again", p11->C_Finalize(NULL));
    every_function("after C_Finalize", session, slot, CKR_CRYPTOKI_NOT_INITIALIZED);
    return 0;
}

/* ---- two modules compared ---- */

struct line { char name[200]; long value, expected; };
struct lines { struct line *line; size_t count; };

static bool is_ours_alone(const struct line *line)
{
    return line->name[0] == '!';
}

static struct lines read_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    struct lines lines = { 0 };
    char expected[32];
    struct line l;

    if (file == NULL) {
        perror(path);
        exit(2);
    }
    while (fscanf(file, "%199[^\t]\t%ld\t%31s\n", l.name, &l.value, expected) == 3) {
        l.expected = strcmp(expected, "-") == 0 ? ANY : strtol(expected, NULL, 10);
        lines.line = realloc(lines.line, (lines.count + 1) * sizeof l);
        lines.line[lines.count++] = l;
    }
    fclose(file);
    return lines;
}

static bool is_known(const struct line *theirs, const struct line *ours, bool *used)
{
    for (size_t i = 0; i < ARRAY_LEN(differences); i++)
        if (fnmatch(differences[i].name, ours->name, 0) == 0 && (differences[i].theirs == ANY || differences[i].theirs == theirs->value)
            && (differences[i].ours == ANY || differences[i].ours == ours->value)) {
            used[i] = true;
            return true;
        }
    return false;
}

/* What both have. Returns how many are wrong. */
static size_t compare_lines(const struct lines *theirs, const struct lines *ours, size_t *ret_cases, size_t *ret_known)
{
    static bool used[ARRAY_LEN(differences)];
    size_t wrong = 0, t = 0;

    for (size_t o = 0; o < ours->count; o++) {
        const struct line *line = &ours->line[o];
        if (is_ours_alone(line))
            continue;
        if (t == theirs->count || strcmp(theirs->line[t].name, line->name) != 0) {
            printf("WRONG: the cases are not the same: %s, %s\n", t < theirs->count ? theirs->line[t].name : "the end", line->name);
            return wrong + 1;
        }
        const struct line *reference = &theirs->line[t++];
        ++*ret_cases;
        if (reference->value == line->value)
            continue;
        if (is_known(reference, line, used))
            ++*ret_known;
        else if (++wrong)
            printf("WRONG: %s: SoftHSM 0x%lx, ours 0x%lx\n", line->name, reference->value, line->value);
    }
    if (t < theirs->count && ++wrong)
        printf("WRONG: ours ends before %s\n", theirs->line[t].name);
    for (size_t i = 0; i < ARRAY_LEN(differences); i++)
        if (!used[i] && ++wrong)
            printf("WRONG: no such difference any more: %s\n", differences[i].name);
    return wrong;
}

/* What only we have, and what we must come to whatever the reference does. */
static size_t check_expected(const struct lines *ours, size_t *ret_cases)
{
    size_t wrong = 0;

    for (size_t i = 0; i < ours->count; i++) {
        const struct line *line = &ours->line[i];
        *ret_cases += is_ours_alone(line);
        if (line->expected != ANY && is_ours_alone(line) && line->value != line->expected && ++wrong)
            printf("WRONG: %s: 0x%lx, not 0x%lx\n", line->name, line->value, line->expected);
    }
    return wrong;
}

/* ---- nothing is left out ---- */

/* Whether the text has that word. */
static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        char after = at[len];
        if (!((after >= 'a' && after <= 'z') || (after >= 'A' && after <= 'Z') || (after >= '0' && after <= '9') || after == '_'))
            return true;
    }
    return false;
}

static const char *case_of(const struct line *line)
{
    const char *colon = strstr(line->name, ": ");
    return colon ? colon : line->name;
}

static bool was_seen(const struct lines *lines, const char *chapter_word, const char *function, long value)
{
    for (size_t i = 0; i < lines->count; i++)
        if (lines->line[i].value == value && has_word(case_of(&lines->line[i]), function)
            && (chapter_word == NULL || has_word(lines->line[i].name, chapter_word)))
            return true;
    return false;
}

enum offered { HERE, ABSENT };
static const struct { const char *name; enum offered offered; } functions[] = {
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) { #function, offered },
#include "functions.def"
#undef BW_FUNCTION
};

/* Functions that never answer CKR_OK, and what they answer. */
static const struct { const char *name; long rv; } answers[] = {
    { "C_WaitForSlotEvent", CKR_NO_EVENT }, { "C_GetFunctionStatus", CKR_FUNCTION_NOT_PARALLEL }, { "C_CancelFunction", CKR_FUNCTION_NOT_PARALLEL },
    { "C_SeedRandom", CKR_RANDOM_SEED_NOT_SUPPORTED },
};

static size_t check_functions(const struct lines *ours)
{
    size_t wrong = 0;

    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        long rv = functions[i].offered == ABSENT ? CKR_FUNCTION_NOT_SUPPORTED : CKR_OK;
        for (size_t k = 0; k < ARRAY_LEN(answers); k++)
            if (strcmp(answers[k].name, functions[i].name) == 0)
                rv = answers[k].rv;
        if (!was_seen(ours, NULL, functions[i].name, rv) && ++wrong)
            printf("WRONG: no case in which %s answers 0x%lx\n", functions[i].name, rv);
    }
    return wrong;
}

static const struct { unsigned use; const char *function, *parts; } uses[] = {
    { BW_USE_ENCRYPT,  "C_Encrypt",     "C_EncryptUpdate" }, { BW_USE_DECRYPT,       "C_Decrypt",         "C_DecryptUpdate" },
    { BW_USE_WRAP,     "C_WrapKey",     NULL },              { BW_USE_UNWRAP,        "C_UnwrapKey",       NULL },
    { BW_USE_SIGN,     "C_Sign",        "C_SignUpdate" },    { BW_USE_VERIFY,        "C_Verify",          "C_VerifyUpdate" },
    { BW_USE_DERIVE,   "C_DeriveKey",   NULL },              { BW_USE_DIGEST,        "C_Digest",          "C_DigestUpdate" },
    { BW_USE_GENERATE, "C_GenerateKey", NULL },              { BW_USE_GENERATE_PAIR, "C_GenerateKeyPair", NULL },
};

/* RSA without a hash and EdDSA take one part only, by the specification. */
static bool has_parts(const struct bw_mechanism_row *row)
{
    return row->digest != BW_DIGEST_NONE || row->key_type == CKK_AES || row->key_type == CKK_GENERIC_SECRET;
}

static size_t check_mechanisms(const struct lines *ours)
{
    const struct bw_mechanism_row *row;
    size_t wrong = 0;

    for (size_t i = 0; (row = bw_mechanism_at(i)) != NULL; i++)
        for (size_t k = 0; k < ARRAY_LEN(uses); k++) {
            if ((row->uses & uses[k].use) == 0)
                continue;
            if (!was_seen(ours, row->name, uses[k].function, CKR_OK) && ++wrong)
                printf("WRONG: no case in which %s works with %s\n", uses[k].function, row->name);
            if (uses[k].parts != NULL && has_parts(row) && !was_seen(ours, row->name, uses[k].parts, CKR_OK) && ++wrong)
                printf("WRONG: no case in which %s works with %s\n", uses[k].parts, row->name);
        }
    return wrong;
}

static int compare(const char *reference, const char *module)
{
    struct lines theirs = read_lines(reference), ours = read_lines(module);
    size_t shared = 0, alone = 0, known = 0;
    size_t wrong = compare_lines(&theirs, &ours, &shared, &known);

    wrong += check_expected(&ours, &alone);
    wrong += check_functions(&ours);
    wrong += check_mechanisms(&ours);
    printf("%zu cases, %zu known differences for %zu reasons; %zu cases of what SoftHSM has not\n", shared, known, ARRAY_LEN(differences), alone);
    free(theirs.line);
    free(ours.line);
    return wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--compare") == 0)
        return compare(argv[2], argv[3]);
    if (argc != 3)
        return 2;
    pin = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
    return observe(argv[1]);
}
