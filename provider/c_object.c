/* PKCS#11 v3.0, 5.7: objects, their attributes, and finding them. */
#include "create.h"
#include "enter.h"
#include "object.h"
#include "operation.h"
#include "output.h"

CK_RV C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_CreateObject, session);

    if (bw_ok(r))
        r = bw_create(e.session, attributes, count, object);
    return bw_leave(&e, r);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count,
                   CK_OBJECT_HANDLE *new_object)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_CopyObject, session);

    if (bw_ok(r))
        r = bw_create_copy(e.session, object, attributes, count, new_object);
    return bw_leave(&e, r);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DestroyObject, session);

    if (bw_ok(r))
        r = bw_create_destroy(e.session, object);
    return bw_leave(&e, r);
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetObjectSize, session);

    if (bw_ok(r))
        r = bw_create_size(e.session, object, size);
    return bw_leave(&e, r);
}

static bw_result get_attributes(struct bw_session *session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_objects_get(session, handle, &object));
    return bw_attributes_read(&object->attributes, attributes, count);
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetAttributeValue, session);

    if (bw_ok(r))
        r = get_attributes(e.session, object, attributes, count);
    return bw_leave(&e, r);
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SetAttributeValue, session);

    if (bw_ok(r))
        r = bw_create_change(e.session, object, attributes, count);
    return bw_leave(&e, r);
}

/* All is found now: a snapshot, which C_FindObjects hands out. */
static bw_result begin_finding(struct bw_session *session, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    struct bw_operation *find;

    BW_TRY(bw_operation_new(session, BW_OPERATION_FIND, &find));
    bw_result r = bw_objects_find(session, attributes, count, &find->arena, &find->found, &find->found_count);
    if (!bw_ok(r))
        bw_session_end(session, BW_OPERATION_FIND);
    return r;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_FindObjectsInit, session);

    if (bw_ok(r))
        r = begin_finding(e.session, attributes, count);
    return bw_leave(&e, r);
}

static bw_result hand_out(struct bw_operation *find, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *ret_count)
{
    CK_ULONG count = 0;

    BW_CHECK((objects != NULL || most == 0) && ret_count != NULL, BW_BAD_ARGUMENT, "no place for what is found");
    for (; count < most && find->found_next < find->found_count; count++)
        bw_ulong_put(&objects[count], find->found[find->found_next++]);
    bw_ulong_put(ret_count, count);
    return bw_success();
}

CK_RV C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *object, CK_ULONG max_object_count, CK_ULONG *object_count)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_FindObjects, session);

    if (bw_ok(r))
        r = hand_out(*e.operation, object, max_object_count, object_count);
    return bw_leave(&e, r);
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_FindObjectsFinal, session);

    if (bw_ok(r))
        bw_session_end(e.session, BW_OPERATION_FIND);
    return bw_leave(&e, r);
}
