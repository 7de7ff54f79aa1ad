/* The built module as a host sees it: loaded by name, initialised, forked, finalised while busy, and looked at with nm.
 * No daemon runs: the region's endpoint is a port that nobody answers on, or one that takes connections and says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "bailiwick/bytes.h"

static char folder[] = "/tmp/bw-module-XXXXXX";
static char conf_path[64], given[80];
static void *library;
static CK_FUNCTION_LIST *p11;
static CK_FUNCTION_LIST_3_0 *p11_3;

/* ---- setting up ---- */

static void write_file(const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Two slots; the second's key has the passphrase "secret". Both endpoints are this port of 127.0.0.1. */
static void write_conf(unsigned port, const char *deadline_ms)
{
    char text[2048];

    (void)snprintf(text, sizeof text,
        "[first]\nregion = eu-central\ntenant = acme\ntrust_domain = example.org\nendpoints = 127.0.0.1:%u\n"
        "ca = %s/app.pem\ncertificate = %s/app.pem\nkey = %s/app.key\nlabel = acme keys\ndeadline_ms = %s\n"
        "[second]\nregion = us-east\ntenant = umbra\ntrust_domain = example.org\nendpoints = 127.0.0.1:%u\n"
        "ca = %s/app.pem\ncertificate = %s/app.pem\nkey = %s/shut.key\n",
        port, folder, folder, folder, deadline_ms, port, folder, folder, folder);
    write_file("pkcs11.conf", text);
}

static int in_folder(const char *command)
{
    char line[512];

    (void)snprintf(line, sizeof line, "cd %s && %s 2>/dev/null", folder, command);
    return system(line);
}

static int load(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(conf_path, sizeof conf_path, "%s/pkcs11.conf", folder);
    (void)snprintf(given, sizeof given, "config=%s", conf_path);
    if (in_folder("umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout app.key -out app.pem -days 1"
                  " -subj /CN=app -addext subjectAltName=URI:spiffe://example.org/region/eu-central/tenant/acme/app/test"
                  " && openssl pkey -in app.key -aes256 -passout pass:secret -out shut.key") != 0)
        return -1;
    write_conf(1, "200");

    library = dlopen(MODULE_PATH, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return -1;
    CK_C_GetFunctionList get_list = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    CK_C_GetInterface get_interface = (CK_C_GetInterface)dlsym(library, "C_GetInterface");
    CK_INTERFACE *interface;
    if (get_list(&p11) != CKR_OK || get_interface(NULL, NULL, &interface, 0) != CKR_OK)
        return -1;
    p11_3 = interface->pFunctionList;
    return 0;
}

static int unload(void **state)
{
    (void)state;
    return in_folder("rm -f app.key app.pem shut.key pkcs11.conf bad.conf") + rmdir(folder) + dlclose(library);
}

static CK_RV initialize(void)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = given };

    return p11->C_Initialize(&args);
}

static CK_RV finalize(void)
{
    return p11->C_Finalize(NULL);
}

static int finalize_if_needed(void **state)
{
    (void)state;
    (void)finalize(); /* most tests did already */
    write_conf(1, "200");
    return 0;
}

static CK_SLOT_ID slot_at(CK_ULONG index)
{
    CK_SLOT_ID slots[2];
    CK_ULONG count = 2;

    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(count, 2);
    return slots[index];
}

static CK_SESSION_HANDLE open_session(CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session;

    assert_int_equal(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
    return session;
}

static int entries_in(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    assert_int_equal(closedir(dir), 0);
    return count;
}

static int threads(void)     { return entries_in("/proc/self/task") - 2; }
static int descriptors(void) { return entries_in("/proc/self/fd") - 2 - 1; }

/* ---- the lists ---- */

static void only_three_symbols_are_exported(void **state)
{
    static const char *const expected[] = { "C_GetFunctionList\n", "C_GetInterface\n", "C_GetInterfaceList\n" };
    FILE *nm = popen("nm -D --defined-only --format=posix " MODULE_PATH " | cut -d' ' -f1 | sort", "r");
    char line[256];
    size_t count = 0;

    (void)state;
    assert_non_null(nm);
    for (; fgets(line, sizeof line, nm) != NULL; count++) {
        assert_true(count < ARRAY_LEN(expected));
        assert_string_equal(line, expected[count]);
    }
    assert_int_equal(pclose(nm), 0);
    assert_int_equal(count, ARRAY_LEN(expected));
}

static void no_entry_of_a_list_is_null(void **state)
{
    const size_t head = offsetof(CK_FUNCTION_LIST, C_Initialize);
    const void *entry;

    (void)state;
    assert_int_equal((sizeof(CK_FUNCTION_LIST) - head) / sizeof entry, 68);
    assert_int_equal((sizeof(CK_FUNCTION_LIST_3_0) - head) / sizeof entry, 68 + 24);
    for (size_t at = head; at < sizeof(CK_FUNCTION_LIST); at += sizeof entry) {
        memcpy(&entry, (const char *)p11 + at, sizeof entry);
        assert_non_null(entry);
        assert_memory_equal((const char *)p11_3 + at, &entry, sizeof entry);
    }
    for (size_t at = sizeof(CK_FUNCTION_LIST); at < sizeof(CK_FUNCTION_LIST_3_0); at += sizeof entry) {
        memcpy(&entry, (const char *)p11_3 + at, sizeof entry);
        assert_non_null(entry);
    }
}

/* As libp11-kit in the host's process does: a function of the same name, which comes first in the search order. */
__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **function_list)
{
    (void)function_list;
    return CKR_GENERAL_ERROR;
}

static void every_entry_is_the_module_s_own(void **state)
{
    const void *entry;
    Dl_info info, own;

    (void)state;
    assert_int_not_equal(dladdr(p11, &own), 0);
    assert_ptr_equal(dlsym(RTLD_DEFAULT, "C_GetFunctionList"), C_GetFunctionList);
    for (size_t at = offsetof(CK_FUNCTION_LIST, C_Initialize); at < sizeof(CK_FUNCTION_LIST_3_0); at += sizeof entry) {
        memcpy(&entry, (const char *)p11_3 + at, sizeof entry);
        assert_int_not_equal(dladdr(entry, &info), 0);
        assert_ptr_equal(info.dli_fbase, own.dli_fbase);
    }
}

static void interfaces_are_found_by_name_and_version(void **state)
{
    static CK_UTF8CHAR ours[] = "PKCS 11", others[] = "Vendor NSS FIPS Interface";
    static const struct { CK_UTF8CHAR *name; CK_VERSION version; CK_FLAGS flags; CK_RV rv; CK_BYTE major; } asked[] = {
        { ours,   { 3, 0 },  0,                       CKR_OK,              3 },
        { ours,   { 2, 40 }, 0,                       CKR_OK,              2 },
        { NULL,   { 2, 40 }, 0,                       CKR_OK,              2 },
        { ours,   { 3, 2 },  0,                       CKR_FUNCTION_FAILED, 0 },
        { others, { 3, 0 },  0,                       CKR_FUNCTION_FAILED, 0 },
        { ours,   { 3, 0 },  CKF_INTERFACE_FORK_SAFE, CKR_FUNCTION_FAILED, 0 },
    };
    CK_INTERFACE list[2], *found;
    CK_ULONG count = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        CK_VERSION version = asked[i].version;
        assert_int_equal(p11_3->C_GetInterface(asked[i].name, &version, &found, asked[i].flags), asked[i].rv);
        if (asked[i].rv == CKR_OK)
            assert_int_equal(((CK_VERSION *)found->pFunctionList)->major, asked[i].major);
    }
    assert_int_equal(p11_3->C_GetInterface(NULL, NULL, &found, 0), CKR_OK);
    assert_ptr_equal(found->pFunctionList, p11_3);
    assert_int_equal(p11_3->C_GetInterface(NULL, NULL, NULL, 0), CKR_ARGUMENTS_BAD);

    assert_int_equal(p11_3->C_GetInterfaceList(NULL, &count), CKR_OK);
    assert_int_equal(count, 2);
    count = 1;
    assert_int_equal(p11_3->C_GetInterfaceList(list, &count), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(p11_3->C_GetInterfaceList(list, &count), CKR_OK);
    assert_int_equal(p11_3->C_GetInterfaceList(list, NULL), CKR_ARGUMENTS_BAD);
    assert_string_equal(list[1].pInterfaceName, "PKCS 11");
    assert_int_equal(p11->C_GetFunctionList(NULL), CKR_ARGUMENTS_BAD);
}

static void what_is_not_offered_says_so(void **state)
{
    (void)state;
    assert_int_equal(p11->C_InitToken(0, NULL, 0, NULL), CKR_FUNCTION_NOT_SUPPORTED);
    assert_int_equal(p11->C_InitPIN(0, NULL, 0), CKR_FUNCTION_NOT_SUPPORTED);
    assert_int_equal(p11->C_SetPIN(0, NULL, 0, NULL, 0), CKR_FUNCTION_NOT_SUPPORTED);
}

/* ---- C_Initialize ---- */

static CK_RV create_mutex(void **mutex)  { (void)mutex; return CKR_OK; }
static CK_RV any_mutex(void *mutex)      { (void)mutex; return CKR_OK; }

/* trap 10 */
static void initialisation_arguments(void **state)
{
    static const struct { const char *why; CK_C_INITIALIZE_ARGS args; CK_RV rv; } cases[] = {
        { "no locking asked for",             { .flags = 0 },                                                    CKR_OK },
        { "the system's locks",               { .flags = CKF_OS_LOCKING_OK },                                    CKR_OK },
        { "the host's locks or the system's", { create_mutex, any_mutex, any_mutex, any_mutex, CKF_OS_LOCKING_OK, NULL }, CKR_OK },
        { "the host's locks and no others",   { create_mutex, any_mutex, any_mutex, any_mutex, 0, NULL },        CKR_CANT_LOCK },
        { "some locks are missing",           { create_mutex, any_mutex, NULL, any_mutex, CKF_OS_LOCKING_OK, NULL }, CKR_ARGUMENTS_BAD },
        { "threads are forbidden",            { .flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS }, CKR_OK },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CK_C_INITIALIZE_ARGS args = cases[i].args;
        args.pReserved = given;
        CK_RV rv = p11->C_Initialize(&args);
        if (rv != cases[i].rv)
            fail_msg("%s: 0x%lx", cases[i].why, rv);
        if (rv == CKR_OK)
            assert_int_equal(finalize(), CKR_OK);
    }
    assert_int_equal(setenv("BAILIWICK_PKCS11_CONFIG", conf_path, 1), 0);
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    assert_int_equal(finalize(), CKR_OK);
    assert_int_equal(unsetenv("BAILIWICK_PKCS11_CONFIG"), 0);
}

static void initialised_once_and_finalised_once(void **state)
{
    (void)state;
    assert_int_equal(finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(initialize(), CKR_OK);
        assert_int_equal(initialize(), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_int_equal(p11->C_Finalize(given), CKR_ARGUMENTS_BAD);
        assert_int_equal(finalize(), CKR_OK);
        assert_int_equal(finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}

/* one call of each kind of row */
static void assert_all_answer(CK_RV rv)
{
    CK_SLOT_ID slot;
    CK_INFO info;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token_info;
    CK_SESSION_INFO session_info;
    CK_SESSION_HANDLE session;
    CK_ULONG count = 0;
    CK_BYTE byte;

    assert_int_equal(p11->C_GetInfo(&info), rv);
    assert_int_equal(p11->C_GetSlotList(CK_TRUE, NULL, &count), rv);
    assert_int_equal(p11->C_GetSlotInfo(1, &slot_info), rv);
    assert_int_equal(p11->C_GetTokenInfo(1, &token_info), rv);
    assert_int_equal(p11->C_GetMechanismList(1, NULL, &count), rv);
    assert_int_equal(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), rv);
    assert_int_equal(p11->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session), rv);
    assert_int_equal(p11->C_CloseSession(1), rv);
    assert_int_equal(p11->C_CloseAllSessions(1), rv);
    assert_int_equal(p11->C_GetSessionInfo(1, &session_info), rv);
    assert_int_equal(p11->C_Login(1, CKU_USER, NULL, 0), rv);
    assert_int_equal(p11->C_Logout(1), rv);
    assert_int_equal(p11->C_GenerateRandom(1, &byte, 1), rv);
    assert_int_equal(p11_3->C_SessionCancel(1, CKF_SIGN), rv);
    assert_int_equal(finalize(), rv);
}

static void nothing_works_before_and_after(void **state)
{
    (void)state;
    assert_all_answer(CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(finalize(), CKR_OK);
    assert_all_answer(CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void a_bad_configuration_is_told_on_stderr(void **state)
{
    char path[64], said[1024] = "";
    int ends[2], real = dup(STDERR_FILENO);

    (void)state;
    write_file("bad.conf", "[a]\nregion = eu\ncolour = red\n");
    (void)snprintf(path, sizeof path, "%s/bad.conf", folder);
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = path };
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    CK_RV rv = p11->C_Initialize(&args);
    assert_true(dup2(real, STDERR_FILENO) >= 0);
    assert_int_equal(close(ends[1]) | close(real), 0);
    ssize_t len = read(ends[0], said, sizeof said - 1);
    assert_int_equal(close(ends[0]), 0);
    assert_true(len > 0);
    assert_int_equal(rv, CKR_ARGUMENTS_BAD);
    assert_non_null(strstr(said, "bad.conf:3: [a] there is no setting \"colour\"; remove it\n"));
    assert_all_answer(CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* ---- slots and tokens ---- */

/* trap 9 */
static void slots_are_there_without_a_network(void **state)
{
    int fds = descriptors();
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    CK_INFO info;
    CK_ULONG count = 0;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(p11->C_GetInfo(&info), CKR_OK);
    assert_memory_equal(info.manufacturerID, "Bailiwick                       ", 32);
    assert_int_equal(p11->C_GetSlotInfo(slot_at(0), &slot), CKR_OK);
    assert_int_equal(slot.flags, CKF_TOKEN_PRESENT);

    assert_int_equal(p11->C_GetTokenInfo(slot_at(0), &token), CKR_OK);
    assert_memory_equal(token.label, "acme keys                       ", 32);
    assert_memory_equal(token.model, "eu-central      ", 16);
    assert_int_equal(token.flags, CKF_RNG | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED | CKF_PROTECTED_AUTHENTICATION_PATH);
    assert_int_equal(token.ulMaxSessionCount, CK_EFFECTIVELY_INFINITE);
    assert_int_equal(token.ulFreePublicMemory, CK_UNAVAILABLE_INFORMATION);

    assert_int_equal(p11->C_GetTokenInfo(slot_at(1), &token), CKR_OK);
    assert_memory_equal(token.label, "bw umbra                        ", 32);
    assert_int_equal(token.flags, CKF_RNG | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED);

    assert_int_equal(p11->C_GetSlotInfo(slot_at(0) + slot_at(1), &slot), CKR_SLOT_ID_INVALID);
    assert_int_equal(p11->C_GetSlotList(CK_FALSE, NULL, &count), CKR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(threads(), 1);
    assert_int_equal(descriptors(), fds);
    assert_int_equal(finalize(), CKR_OK);
}

static void a_slot_keeps_its_id_and_serial(void **state)
{
    CK_TOKEN_INFO before, after;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SLOT_ID first = slot_at(0), second = slot_at(1);
    assert_int_equal(p11->C_GetTokenInfo(first, &before), CKR_OK);
    assert_int_equal(p11->C_GetTokenInfo(second, &after), CKR_OK);
    assert_memory_not_equal(before.serialNumber, after.serialNumber, 16);
    assert_int_not_equal(first, second);
    assert_int_equal(finalize(), CKR_OK);

    write_conf(2, "300");
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(slot_at(0), first);
    assert_int_equal(slot_at(1), second);
    assert_int_equal(p11->C_GetTokenInfo(first, &after), CKR_OK);
    assert_memory_equal(before.serialNumber, after.serialNumber, 16);
    assert_int_equal(finalize(), CKR_OK);
}

static void mechanisms_need_no_network(void **state)
{
    static const struct { CK_MECHANISM_TYPE type; CK_ULONG least, most; CK_FLAGS flags; } expected[] = {
        { CKM_AES_GCM,             16,   32,   CKF_HW | CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP },
        { CKM_RSA_PKCS_PSS,        2048, 4096, CKF_HW | CKF_SIGN | CKF_VERIFY },
        { CKM_ECDSA,               256,  521,  CKF_HW | CKF_SIGN | CKF_VERIFY | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS },
        { CKM_SHA256,              0,    0,    CKF_DIGEST },
        { CKM_BAILIWICK_ENVELOPE,  32,   32,   CKF_ENCRYPT | CKF_DECRYPT },
    };
    CK_MECHANISM_TYPE types[128];
    CK_MECHANISM_INFO info;
    CK_ULONG count = 0;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(p11->C_GetMechanismList(slot_at(0), NULL, &count), CKR_OK);
    assert_true(count > 40 && count < ARRAY_LEN(types));
    CK_ULONG room = count - 1;
    assert_int_equal(p11->C_GetMechanismList(slot_at(0), types, &room), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(room, count);
    assert_int_equal(p11->C_GetMechanismList(slot_at(0), types, &room), CKR_OK);
    for (CK_ULONG i = 0; i < count; i++)
        assert_int_equal(p11->C_GetMechanismInfo(slot_at(0), types[i], &info), CKR_OK);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(p11->C_GetMechanismInfo(slot_at(0), expected[i].type, &info), CKR_OK);
        assert_int_equal(info.ulMinKeySize, expected[i].least);
        assert_int_equal(info.ulMaxKeySize, expected[i].most);
        assert_int_equal(info.flags, expected[i].flags);
    }
    assert_int_equal(p11->C_GetMechanismInfo(slot_at(0), CKM_MD5, &info), CKR_MECHANISM_INVALID);
    assert_int_equal(finalize(), CKR_OK);
}

static void slot_events_never_come(void **state)
{
    CK_SLOT_ID slot;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
    assert_int_equal(p11->C_WaitForSlotEvent(0, &slot, NULL), CKR_FUNCTION_NOT_SUPPORTED);
    CK_SESSION_HANDLE session = open_session(slot_at(0));
    assert_int_equal(p11->C_GetFunctionStatus(session), CKR_FUNCTION_NOT_PARALLEL);
    assert_int_equal(p11->C_CancelFunction(session), CKR_FUNCTION_NOT_PARALLEL);
    assert_int_equal(finalize(), CKR_OK);
}

/* ---- sessions and login, through the C_ functions ---- */

static void the_pin_is_the_key_s_passphrase(void **state)
{
    static CK_BYTE right[] = "secret", wrong[] = "terces", long_one[300];
    CK_SESSION_INFO info;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SESSION_HANDLE session = open_session(slot_at(1));
    assert_int_equal(p11->C_Login(session, CKU_USER, wrong, 6), CKR_PIN_INCORRECT);
    assert_int_equal(p11->C_Login(session, CKU_USER, NULL, 0), CKR_PIN_INCORRECT);
    assert_int_equal(p11->C_Login(session, CKU_USER, NULL, 6), CKR_ARGUMENTS_BAD);
    assert_int_equal(p11->C_Login(session, CKU_USER, long_one, sizeof long_one), CKR_PIN_LEN_RANGE);
    assert_int_equal(p11->C_Login(session, 99, right, 6), CKR_USER_TYPE_INVALID);
    assert_int_equal(p11->C_GetSessionInfo(session, &info), CKR_OK);
    assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
    assert_int_equal(p11->C_Login(session, CKU_USER, right, 6), CKR_OK);
    assert_int_equal(p11->C_GetSessionInfo(session, &info), CKR_OK);
    assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
    assert_int_equal(info.slotID, slot_at(1));
    assert_int_equal(info.flags, CKF_SERIAL_SESSION | CKF_RW_SESSION);
    assert_int_equal(p11_3->C_LoginUser(session, CKU_USER, right, 6, right, 6), CKR_USER_ALREADY_LOGGED_IN);
    assert_int_equal(p11->C_Logout(session), CKR_OK);
    assert_int_equal(p11->C_Logout(session), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(p11_3->C_LoginUser(session, CKU_USER, right, 6, right, 6), CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
    assert_int_equal(finalize(), CKR_OK);
}

static void what_can_be_cancelled(void **state)
{
    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SESSION_HANDLE session = open_session(slot_at(0));
    assert_int_equal(p11_3->C_SessionCancel(session, CKF_SIGN | CKF_FIND_OBJECTS | CKF_MESSAGE_DECRYPT), CKR_OK);
    assert_int_equal(p11_3->C_SessionCancel(session, CKF_SIGN | CKF_GENERATE), CKR_OPERATION_CANCEL_FAILED);
    assert_int_equal(finalize(), CKR_OK);
}

/* ---- the network is not there ---- */

static void an_unreachable_region_costs_the_call_and_nothing_else(void **state)
{
    CK_BYTE random[16];
    CK_SESSION_INFO info;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SESSION_HANDLE session = open_session(slot_at(0));
    assert_int_equal(p11->C_GenerateRandom(session, random, 0), CKR_OK);
    assert_int_equal(p11->C_GenerateRandom(session, random, sizeof random), CKR_DEVICE_ERROR);
    assert_int_equal(p11->C_GetSessionInfo(session, &info), CKR_OK);
    assert_int_equal(info.ulDeviceError, BAILIWICK_UNREACHABLE);
    assert_int_equal(p11->C_SeedRandom(session, random, sizeof random), CKR_RANDOM_SEED_NOT_SUPPORTED);

    CK_SESSION_HANDLE shut = open_session(slot_at(1));
    assert_int_equal(p11->C_GenerateRandom(shut, random, sizeof random), CKR_USER_NOT_LOGGED_IN);
    assert_int_equal(threads(), 1);
    assert_int_equal(finalize(), CKR_OK);
}

static void the_host_s_errno_and_error_queue_are_left_alone(void **state)
{
    CK_BYTE random[16];

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SESSION_HANDLE session = open_session(slot_at(0));
    ERR_clear_error();
    for (int queued = 0; queued < 2; queued++) {
        errno = 77;
        assert_int_equal(p11->C_GenerateRandom(session, random, sizeof random), CKR_DEVICE_ERROR);
        assert_int_equal(errno, 77);
        assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), queued ? 42 : 0);
        ERR_raise(ERR_LIB_USER, 42);
    }
    ERR_clear_error();
    assert_int_equal(finalize(), CKR_OK);
}

/* A region that takes connections and says nothing. */
static int listen_silently(unsigned *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void *draw(void *session)
{
    CK_BYTE random[16];

    return (void *)p11->C_GenerateRandom(*(CK_SESSION_HANDLE *)session, random, sizeof random);
}

/* A thread is inside once its connection arrived. */
static void wait_for_connection(int listener)
{
    struct pollfd ready = { .fd = listener, .events = POLLIN };

    assert_int_equal(poll(&ready, 1, 10000), 1);
}

static int64_t now_ms(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void finalize_wakes_the_threads_inside(void **state)
{
    unsigned port;
    int listener = listen_silently(&port);
    CK_SESSION_HANDLE sessions[4];
    pthread_t drawing[ARRAY_LEN(sessions)];

    (void)state;
    write_conf(port, "20000");
    assert_int_equal(initialize(), CKR_OK);
    for (size_t i = 0; i < ARRAY_LEN(sessions); i++) {
        sessions[i] = open_session(slot_at(0));
        assert_int_equal(pthread_create(&drawing[i], NULL, draw, &sessions[i]), 0);
    }
    wait_for_connection(listener);
    int64_t began = now_ms();
    assert_int_equal(finalize(), CKR_OK);
    assert_true(now_ms() - began < 2000);
    for (size_t i = 0; i < ARRAY_LEN(sessions); i++) {
        void *rv;
        assert_int_equal(pthread_join(drawing[i], &rv), 0);
        assert_int_equal((CK_RV)rv, CKR_CRYPTOKI_NOT_INITIALIZED);
    }
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(finalize(), CKR_OK);
    assert_int_equal(close(listener), 0);
}

/* ---- fork ---- */

/* Runs in_child in a child, which must end by itself within ten seconds and without a complaint. */
static void in_a_child(void (*in_child)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        alarm(10);
        in_child();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("the child ended with status 0x%x", (unsigned)status);
}

static CK_SLOT_ID old_slot;
static CK_SESSION_HANDLE old_session;

#define MUST(condition) do { if (!(condition)) { (void)dprintf(2, "line %d: %s\n", __LINE__, #condition); _exit(1); } } while (0)

static void use_it_uninitialised(void)
{
    CK_SESSION_INFO info;
    CK_ULONG count;
    CK_BYTE byte;

    MUST(p11->C_GetSlotList(CK_TRUE, NULL, &count) == CKR_CRYPTOKI_NOT_INITIALIZED);
    MUST(p11->C_GetSessionInfo(old_session, &info) == CKR_CRYPTOKI_NOT_INITIALIZED);
    MUST(p11->C_GenerateRandom(old_session, &byte, 1) == CKR_CRYPTOKI_NOT_INITIALIZED);
    MUST(p11->C_CloseSession(old_session) == CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* as libp11 does in each worker of a web server: no arguments, the parent's slot id, no C_Finalize ever */
static void initialise_anew(void)
{
    CK_SESSION_HANDLE session;
    CK_SESSION_INFO info;

    MUST(p11->C_Initialize(NULL) == CKR_OK);
    MUST(p11->C_GetSessionInfo(old_session, &info) == CKR_SESSION_HANDLE_INVALID);
    MUST(p11->C_OpenSession(old_slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK);
    MUST(session != old_session);
    MUST(p11->C_GetSessionInfo(old_session, &info) == CKR_SESSION_HANDLE_INVALID);
    MUST(p11->C_Login(session, CKU_USER, NULL, 0) == CKR_OK);
}

static void finalise_first(void)
{
    CK_RV rv = p11->C_Finalize(NULL);

    MUST(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED);
    initialise_anew();
    MUST(p11->C_Finalize(NULL) == CKR_OK);
}

static void *initialise_in_thread(void *unused)
{
    (void)unused;
    return (void *)p11->C_Initialize(NULL);
}

static void initialise_from_many_threads(void)
{
    pthread_t starting[8];
    int first = 0;

    for (size_t i = 0; i < ARRAY_LEN(starting); i++)
        MUST(pthread_create(&starting[i], NULL, initialise_in_thread, NULL) == 0);
    for (size_t i = 0; i < ARRAY_LEN(starting); i++) {
        void *rv;
        MUST(pthread_join(starting[i], &rv) == 0);
        MUST((CK_RV)rv == CKR_OK || (CK_RV)rv == CKR_CRYPTOKI_ALREADY_INITIALIZED);
        first += (CK_RV)rv == CKR_OK;
    }
    MUST(first == 1);
}

static void have_a_child_too(void)
{
    pid_t child;
    int status;

    initialise_anew();
    MUST((child = fork()) >= 0);
    if (child == 0) {
        use_it_uninitialised();
        finalise_first();
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child && status == 0);
    MUST(p11->C_Finalize(NULL) == CKR_OK);
}

static void (*const children[])(void) = {
    use_it_uninitialised, initialise_anew, finalise_first, initialise_from_many_threads, have_a_child_too,
};

static void every_kind_of_child(void **state)
{
    CK_SESSION_INFO info;

    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    old_slot    = slot_at(0);
    old_session = open_session(old_slot);
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        in_a_child(children[i]);
        assert_int_equal(p11->C_GetSessionInfo(old_session, &info), CKR_OK);
    }
    assert_int_equal(finalize(), CKR_OK);
}

/* ThreadSanitizer cannot follow threads of a child whose parent had some. */
#if defined(__SANITIZE_THREAD__)
enum { CHILD_MAY_START_THREADS = false };
#else
enum { CHILD_MAY_START_THREADS = true };
#endif

static void forked_while_another_thread_is_inside(void **state)
{
    unsigned port;
    int listener = listen_silently(&port);
    pthread_t drawing;
    void *rv;

    (void)state;
    write_conf(port, "20000");
    assert_int_equal(initialize(), CKR_OK);
    old_slot    = slot_at(0);
    old_session = open_session(old_slot);
    assert_int_equal(pthread_create(&drawing, NULL, draw, &old_session), 0);
    wait_for_connection(listener);
    for (size_t i = 0; i < ARRAY_LEN(children); i++)
        if (CHILD_MAY_START_THREADS || children[i] != initialise_from_many_threads)
            in_a_child(children[i]);
    assert_int_equal(finalize(), CKR_OK);
    assert_int_equal(pthread_join(drawing, &rv), 0);
    assert_int_equal((CK_RV)rv, CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_int_equal(close(listener), 0);
}

static void initialise_for_the_first_time(void)
{
    MUST(initialize() == CKR_OK);
    MUST(finalize() == CKR_OK);
}

static void a_child_of_a_parent_that_never_began(void **state)
{
    (void)state;
    in_a_child(initialise_for_the_first_time);
    assert_all_answer(CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void fork_after_dlclose(void)
{
    MUST(p11->C_GetInfo(NULL) == CKR_CRYPTOKI_NOT_INITIALIZED); /* the code is still mapped */
}

static void unloading_leaves_the_fork_handler_in_place(void **state)
{
    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    void *again = dlopen(MODULE_PATH, RTLD_NOW | RTLD_LOCAL);
    assert_int_equal(dlclose(again), 0);
    assert_int_equal(dlclose(library), 0);
    in_a_child(fork_after_dlclose);
    library = dlopen(MODULE_PATH, RTLD_NOW | RTLD_LOCAL);
    assert_int_equal(finalize(), CKR_OK);
}

/* ---- sessions by the thousand ---- */

static void descriptors_do_not_leak_over_sessions(void **state)
{
    (void)state;
    assert_int_equal(initialize(), CKR_OK);
    CK_SLOT_ID slot = slot_at(0);
    int fds = descriptors();
    for (int i = 0; i < 10000; i++)
        assert_int_equal(p11->C_CloseSession(open_session(slot)), CKR_OK);
    assert_int_equal(descriptors(), fds);
    assert_int_equal(finalize(), CKR_OK);
}

#define MODULE_TEST(test) cmocka_unit_test_teardown(test, finalize_if_needed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODULE_TEST(only_three_symbols_are_exported),
        MODULE_TEST(no_entry_of_a_list_is_null),
        MODULE_TEST(every_entry_is_the_module_s_own),
        MODULE_TEST(interfaces_are_found_by_name_and_version),
        MODULE_TEST(what_is_not_offered_says_so),
        MODULE_TEST(a_child_of_a_parent_that_never_began),
        MODULE_TEST(initialisation_arguments),
        MODULE_TEST(initialised_once_and_finalised_once),
        MODULE_TEST(nothing_works_before_and_after),
        MODULE_TEST(a_bad_configuration_is_told_on_stderr),
        MODULE_TEST(slots_are_there_without_a_network),
        MODULE_TEST(a_slot_keeps_its_id_and_serial),
        MODULE_TEST(mechanisms_need_no_network),
        MODULE_TEST(slot_events_never_come),
        MODULE_TEST(the_pin_is_the_key_s_passphrase),
        MODULE_TEST(what_can_be_cancelled),
        MODULE_TEST(an_unreachable_region_costs_the_call_and_nothing_else),
        MODULE_TEST(the_host_s_errno_and_error_queue_are_left_alone),
        MODULE_TEST(finalize_wakes_the_threads_inside),
        MODULE_TEST(every_kind_of_child),
        MODULE_TEST(forked_while_another_thread_is_inside),
        MODULE_TEST(unloading_leaves_the_fork_handler_in_place),
        MODULE_TEST(descriptors_do_not_leak_over_sessions),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
