#include "enter.h"

#include "module.h"
#include "rpc.h"
#include "trace.h"

/* the words of the table's columns */
#define NOTHING BW_NEED_NOTHING
#define INIT    BW_NEED_INIT
#define SLOT    BW_NEED_SLOT
#define SESSION BW_NEED_SESSION
#define IDLE    BW_NEED_IDLE
#define ACTIVE  BW_NEED_ACTIVE

static const struct bw_function functions[] = {
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) { #function, needs, BW_OPERATION_##operation },
#include "functions.def"
#undef BW_FUNCTION
};

const struct bw_function *bw_function(enum bw_function_nr nr)
{
    return &functions[nr];
}

/* OpenSSL of the host may be configured to use us as its provider or engine; then what we ask of it comes back to us.
 * initial-exec: a byte of what each thread keeps for modules that are loaded late, so that its first call allocates nothing. */
static _Thread_local __attribute__((tls_model("initial-exec"))) bool thread_is_inside;

bool bw_thread_is_inside(void)
{
    return thread_is_inside;
}

/* ---- in ---- */

static bw_result check_operation(struct bw_entry *entry)
{
    enum bw_operation_kind kind = entry->function->operation;

    if (kind == BW_OPERATION_NONE)
        return bw_success();
    pthread_mutex_lock(&entry->session->lock);
    entry->locked = true;
    if (kind == BW_OPERATION_ANY)
        return bw_success();
    entry->operation = &entry->session->operations[kind];
    if ((entry->function->needs & BW_NEED_IDLE) != 0)
        BW_CHECK(*entry->operation == NULL, BW_OPERATION_ACTIVE, "one is active already");
    if ((entry->function->needs & BW_NEED_ACTIVE) != 0)
        BW_CHECK(*entry->operation != NULL, BW_OPERATION_MISSING, "none was begun");
    return bw_success();
}

static bw_result enter(struct bw_entry *entry, CK_ULONG handle)
{
    unsigned needs = entry->function->needs;

    if ((needs & BW_NEED_INIT) == 0)
        return bw_success();
    BW_TRY(bw_module_enter());
    entry->counted = true;
    if ((needs & BW_NEED_SLOT) == BW_NEED_SLOT) {
        entry->slot = bw_module_slot(handle);
        BW_CHECK(entry->slot != NULL, BW_SLOT_INVALID, "slot");
    }
    if ((needs & BW_NEED_SESSION) == BW_NEED_SESSION) {
        BW_TRY(bw_session_get(bw_module_sessions(), handle, &entry->session));
        entry->slot = entry->session->slot;
        return check_operation(entry);
    }
    return bw_success();
}

bw_result bw_enter(struct bw_entry *ret_entry, enum bw_function_nr nr, CK_ULONG handle)
{
    *ret_entry = (struct bw_entry){ .nr = nr, .function = bw_function(nr), .handle = handle };
    BW_CHECK(!thread_is_inside, BW_REENTERED, "called by what it called"); /* and touches nothing of OpenSSL's, which may be at work */
    thread_is_inside = ret_entry->inside = true;
    bw_host_enter(&ret_entry->host);
    bw_rpc_begin();
    bw_result result = enter(ret_entry, handle);
    if (ret_entry->counted && bw_module_traces())
        ret_entry->began_us = bw_now_us();
    return result;
}

/* ---- out ---- */

/* Where a function may not return the code that others do, or where its own says more. PKCS#11 v3.0, 5.6 to 5.20. */
static const struct {
    enum bw_function_nr nr;
    CK_RV               rv;
    CK_RV               instead;
} exceptions[] = {
    { BW_FN_C_CopyObject,        CKR_KEY_HANDLE_INVALID,    CKR_OBJECT_HANDLE_INVALID            },
    { BW_FN_C_DestroyObject,     CKR_KEY_HANDLE_INVALID,    CKR_OBJECT_HANDLE_INVALID            },
    { BW_FN_C_GetObjectSize,     CKR_KEY_HANDLE_INVALID,    CKR_OBJECT_HANDLE_INVALID            },
    { BW_FN_C_GetAttributeValue, CKR_KEY_HANDLE_INVALID,    CKR_OBJECT_HANDLE_INVALID            },
    { BW_FN_C_SetAttributeValue, CKR_KEY_HANDLE_INVALID,    CKR_OBJECT_HANDLE_INVALID            },
    { BW_FN_C_Decrypt,           CKR_DATA_LEN_RANGE,        CKR_ENCRYPTED_DATA_LEN_RANGE         },
    { BW_FN_C_DecryptUpdate,     CKR_DATA_LEN_RANGE,        CKR_ENCRYPTED_DATA_LEN_RANGE         },
    { BW_FN_C_DecryptFinal,      CKR_DATA_LEN_RANGE,        CKR_ENCRYPTED_DATA_LEN_RANGE         },
    { BW_FN_C_WrapKey,           CKR_KEY_TYPE_INCONSISTENT, CKR_WRAPPING_KEY_TYPE_INCONSISTENT   },
    { BW_FN_C_UnwrapKey,         CKR_KEY_HANDLE_INVALID,    CKR_UNWRAPPING_KEY_HANDLE_INVALID    },
    { BW_FN_C_UnwrapKey,         CKR_KEY_TYPE_INCONSISTENT, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT },
    { BW_FN_C_UnwrapKey,         CKR_KEY_SIZE_RANGE,        CKR_UNWRAPPING_KEY_SIZE_RANGE        },
    { BW_FN_C_UnwrapKey,         CKR_DATA_LEN_RANGE,        CKR_WRAPPED_KEY_LEN_RANGE            },
};

static bool is_login(enum bw_function_nr nr)
{
    return nr == BW_FN_C_Login || nr == BW_FN_C_LoginUser;
}

/* Outside C_Login a key file that stays shut means: log in first, where there is a PIN to give. Hosts take that code as
 * an invitation, so it is kept from where no PIN would help. */
static CK_RV shut_out(const struct bw_entry *entry)
{
    return entry->slot != NULL && entry->slot->key_encrypted ? CKR_USER_NOT_LOGGED_IN : CKR_DEVICE_ERROR;
}

static CK_RV rv_of(const struct bw_entry *entry, bw_result result)
{
    CK_RV rv = bw_code_row(result.code)->ckr;

    if (result.code == BW_CREDENTIAL_INVALID && !is_login(entry->nr))
        return shut_out(entry);
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
        if (exceptions[i].nr == entry->nr && exceptions[i].rv == rv)
            return exceptions[i].instead;
    return rv;
}

static void trace(const struct bw_entry *entry, bw_result result, CK_RV rv)
{
    const char *slot = entry->slot ? entry->slot->conf->name : "-";
    long took_us = (long)(bw_now_us() - entry->began_us);

    if (bw_ok(result))
        bw_trace("%s slot=%s handle=%lu %ld us CKR_OK", entry->function->name, slot, entry->handle, took_us);
    else
        bw_trace("%s slot=%s handle=%lu %ld us CKR 0x%lx %s: %s (%s)", entry->function->name, slot, entry->handle, took_us, rv,
                 bw_code_row(result.code)->name, result.what, bw_code_row(result.code)->told);
}

CK_RV bw_leave(struct bw_entry *entry, bw_result result)
{
    CK_RV rv = rv_of(entry, result);

    if (entry->began_us != 0)
        trace(entry, result, rv);
    if (entry->session != NULL) {
        if (result.code != BW_OK && result.code < BW_NOT_INITIALIZED)
            atomic_store(&entry->session->device_error, (unsigned)result.code);
        if (entry->locked)
            pthread_mutex_unlock(&entry->session->lock);
        bw_session_put(entry->session);
    }
    if (entry->counted)
        bw_module_leave();
    if (!entry->inside)
        return rv;
    bw_host_leave(&entry->host);
    bw_rpc_end();
    thread_is_inside = false;
    return rv;
}
