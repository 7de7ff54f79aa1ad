/* PKCS#11 v3.0, 5.4 and 5.5: general purpose, slots and tokens. All of it is local. */
#include <stdlib.h>
#include <string.h>

#include "enter.h"
#include "module.h"

/* 5.4.1. We lock with the system's mutexes and nothing else, so a host that allows only its own is told so. */
static bw_result check_locking(const CK_C_INITIALIZE_ARGS *args)
{
    int own = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) + (args->UnlockMutex != NULL);

    BW_CHECK(own == 0 || own == 4, BW_BAD_ARGUMENT, "some mutex functions are missing");
    BW_CHECK(own == 0 || (args->flags & CKF_OS_LOCKING_OK) != 0, BW_CANT_LOCK, "only the host's mutexes are allowed");
    return bw_success();
}

static bw_result initialize(const CK_C_INITIALIZE_ARGS *args)
{
    if (args == NULL)
        return bw_module_initialize(NULL);
    BW_TRY(check_locking(args));
    return bw_module_initialize(args->pReserved);
}

CK_RV C_Initialize(void *init_args)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Initialize, 0);

    if (bw_ok(r))
        r = initialize(init_args);
    return bw_leave(&e, r);
}

CK_RV C_Finalize(void *reserved)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Finalize, 0);

    if (bw_ok(r))
        r = reserved == NULL ? bw_module_finalize() : bw_fail(BW_BAD_ARGUMENT, "pReserved");
    return bw_leave(&e, r);
}

static void pad(CK_UTF8CHAR *field, size_t width, const char *text)
{
    memset(field, ' ', width);
    memcpy(field, text, strlen(text));
}

static bw_result get_info(CK_INFO *ret_info)
{
    char *rest;

    BW_CHECK(ret_info != NULL, BW_BAD_ARGUMENT, "pInfo");
    memset(ret_info, 0, sizeof *ret_info);
    ret_info->cryptokiVersion = (CK_VERSION){ 2, 40 }; /* some hosts turn others away; C_GetInterface tells of 3.0 */
    pad(ret_info->manufacturerID, sizeof ret_info->manufacturerID, "Bailiwick");
    pad(ret_info->libraryDescription, sizeof ret_info->libraryDescription, "Bailiwick regional key service");
    ret_info->libraryVersion.major = (CK_BYTE)strtoul(BW_VERSION, &rest, 10);
    ret_info->libraryVersion.minor = (CK_BYTE)strtoul(rest + 1, NULL, 10);
    return bw_success();
}

CK_RV C_GetInfo(CK_INFO *info)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetInfo, 0);

    if (bw_ok(r))
        r = get_info(info);
    return bw_leave(&e, r);
}

/* Every token is present, always. */
static bw_result get_slot_list(CK_SLOT_ID *ret_slots, CK_ULONG *count)
{
    BW_CHECK(count != NULL, BW_BAD_ARGUMENT, "pulCount");
    CK_ULONG room = *count;
    *count = bw_module_slot_count();
    if (ret_slots == NULL)
        return bw_success();
    BW_CHECK(room >= *count, BW_BUFFER_SMALL, "slot list");
    for (size_t i = 0; i < *count; i++)
        ret_slots[i] = bw_module_slot_at(i)->id;
    return bw_success();
}

CK_RV C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *slot_list, CK_ULONG *count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetSlotList, 0);

    (void)token_present;
    if (bw_ok(r))
        r = get_slot_list(slot_list, count);
    return bw_leave(&e, r);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot_id, CK_SLOT_INFO *info)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetSlotInfo, slot_id);

    if (bw_ok(r) && info == NULL)
        r = bw_fail(BW_BAD_ARGUMENT, "pInfo");
    if (bw_ok(r))
        bw_slot_info(e.slot, info);
    return bw_leave(&e, r);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot_id, CK_TOKEN_INFO *info)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetTokenInfo, slot_id);

    if (bw_ok(r) && info == NULL)
        r = bw_fail(BW_BAD_ARGUMENT, "pInfo");
    if (bw_ok(r))
        bw_slot_token_info(e.slot, info);
    return bw_leave(&e, r);
}

static bw_result get_mechanism_list(struct bw_slot *slot, CK_MECHANISM_TYPE *ret_types, CK_ULONG *count)
{
    BW_CHECK(count != NULL, BW_BAD_ARGUMENT, "pulCount");
    CK_ULONG room = ret_types ? *count : 0;
    *count = bw_slot_mechanisms(slot, ret_types, room);
    BW_CHECK(ret_types == NULL || *count <= room, BW_BUFFER_SMALL, "mechanism list");
    return bw_success();
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot_id, CK_MECHANISM_TYPE *mechanism_list, CK_ULONG *count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetMechanismList, slot_id);

    if (bw_ok(r))
        r = get_mechanism_list(e.slot, mechanism_list, count);
    return bw_leave(&e, r);
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot_id, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetMechanismInfo, slot_id);

    if (bw_ok(r))
        r = info ? bw_slot_mechanism_info(e.slot, type, info) : bw_fail(BW_BAD_ARGUMENT, "pInfo");
    return bw_leave(&e, r);
}

/* Slots never change. A blocking wait would never end; hosts that loop over this call stop at "not supported". */
CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_WaitForSlotEvent, 0);

    if (bw_ok(r) && (slot == NULL || reserved != NULL))
        r = bw_fail(BW_BAD_ARGUMENT, "pSlot or pReserved");
    if (bw_ok(r))
        r = (flags & CKF_DONT_BLOCK) != 0 ? bw_fail(BW_NO_EVENT, "slots never change") : bw_fail(BW_UNIMPLEMENTED, "waiting for slots");
    return bw_leave(&e, r);
}

/* 5.20: legacy of parallel sessions, which there are none of */
CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetFunctionStatus, session);

    return bw_leave(&e, bw_ok(r) ? bw_fail(BW_NOT_PARALLEL, "legacy") : r);
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_CancelFunction, session);

    return bw_leave(&e, bw_ok(r) ? bw_fail(BW_NOT_PARALLEL, "legacy") : r);
}
