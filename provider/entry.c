/* The three symbols that the module exports, and the lists they hand out. No work is done here: hosts call these before
 * C_Initialize, and some only to look. */
#include <string.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

#define EXPORTED __attribute__((visibility("default")))

/* ---- functions that are not offered ---- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define STUB_HERE(function, parameters)   CK_RV function parameters; /* declared again: the row's parameters are the header's */
#define STUB_ABSENT(function, parameters) static CK_RV absent_##function parameters { return CKR_FUNCTION_NOT_SUPPORTED; }
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) STUB_##offered(function, parameters)
#include "functions.def"
#undef BW_FUNCTION
#pragma GCC diagnostic pop

/* ---- the lists ---- */

#define ENTRY_HERE(function)   .function = function,
#define ENTRY_ABSENT(function) .function = absent_##function,

static CK_FUNCTION_LIST list_2_40 = {
    .version = { 2, 40 },
#define LIST_V2_40(offered, function) ENTRY_##offered(function)
#define LIST_V3_0(offered, function)
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) LIST_##since(offered, function)
#include "functions.def"
#undef BW_FUNCTION
#undef LIST_V3_0
};

static CK_FUNCTION_LIST_3_0 list_3_0 = {
    .version = { 3, 0 },
#define LIST_V3_0(offered, function) ENTRY_##offered(function)
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) LIST_##since(offered, function)
#include "functions.def"
#undef BW_FUNCTION
};

/* The default first. CKF_INTERFACE_FORK_SAFE would promise a child its parent's sessions and logins (v3.0, 3.7); ours
 * begins afresh with C_Initialize. */
static CK_UTF8CHAR name[] = "PKCS 11";
static CK_INTERFACE interfaces[] = {
    { name, &list_3_0,  0 },
    { name, &list_2_40, 0 },
};

/* ---- handing them out ---- */

EXPORTED CK_RV C_GetFunctionList(CK_FUNCTION_LIST **function_list)
{
    if (function_list == NULL)
        return CKR_ARGUMENTS_BAD;
    *function_list = &list_2_40;
    return CKR_OK;
}

EXPORTED CK_RV C_GetInterfaceList(CK_INTERFACE *ret_interfaces, CK_ULONG *count)
{
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    CK_ULONG room = *count;
    *count = ARRAY_LEN(interfaces);
    if (ret_interfaces == NULL)
        return CKR_OK;
    if (room < ARRAY_LEN(interfaces))
        return CKR_BUFFER_TOO_SMALL;
    memcpy(ret_interfaces, interfaces, sizeof interfaces);
    return CKR_OK;
}

static bool answers(const CK_INTERFACE *interface, const CK_UTF8CHAR *wanted, const CK_VERSION *version, CK_FLAGS flags)
{
    const CK_VERSION *ours = interface->pFunctionList; /* each list begins with its version */

    if (wanted != NULL && strcmp((const char *)wanted, (const char *)name) != 0)
        return false;
    if (version != NULL && (version->major != ours->major || version->minor != ours->minor))
        return false;
    return (interface->flags & flags) == flags;
}

/* PKCS#11 v3.0, 5.4.5: NULL name: any; NULL version: any; the flags are the least that is wanted. */
EXPORTED CK_RV C_GetInterface(CK_UTF8CHAR *wanted, CK_VERSION *version, CK_INTERFACE **ret_interface, CK_FLAGS flags)
{
    if (ret_interface == NULL)
        return CKR_ARGUMENTS_BAD;
    for (size_t i = 0; i < ARRAY_LEN(interfaces); i++) {
        if (!answers(&interfaces[i], wanted, version, flags))
            continue;
        *ret_interface = &interfaces[i];
        return CKR_OK;
    }
    return CKR_FUNCTION_FAILED;
}
