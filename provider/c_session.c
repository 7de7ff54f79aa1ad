/* PKCS#11 v3.0, 5.6: sessions and login. All of it is local. */
#include "enter.h"
#include "module.h"

/* The host's callback is never called: nothing of ours is surrendered or removed. */
CK_RV C_OpenSession(CK_SLOT_ID slot_id, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_OpenSession, slot_id);

    (void)application, (void)notify;
    if (bw_ok(r))
        r = session ? bw_session_open(bw_module_sessions(), e.slot, flags, session) : bw_fail(BW_BAD_ARGUMENT, "phSession");
    return bw_leave(&e, r);
}

CK_RV C_CloseSession(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_CloseSession, session);

    if (bw_ok(r))
        r = bw_session_close(bw_module_sessions(), session);
    return bw_leave(&e, r);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot_id)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_CloseAllSessions, slot_id);

    if (bw_ok(r))
        bw_session_close_all(bw_module_sessions(), e.slot);
    return bw_leave(&e, r);
}

static bw_result get_session_info(const struct bw_session *session, CK_SESSION_INFO *ret_info)
{
    BW_CHECK(ret_info != NULL, BW_BAD_ARGUMENT, "pInfo");
    *ret_info = (CK_SESSION_INFO){
        .slotID        = session->slot->id,
        .state         = bw_session_state(session),
        .flags         = CKF_SERIAL_SESSION | (session->read_write ? CKF_RW_SESSION : 0),
        .ulDeviceError = atomic_load(&session->device_error),
    };
    return bw_success();
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GetSessionInfo, session);

    if (bw_ok(r))
        r = get_session_info(e.session, info);
    return bw_leave(&e, r);
}

static bw_result login(struct bw_session *session, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG pin_len)
{
    BW_CHECK(pin != NULL || pin_len == 0, BW_BAD_ARGUMENT, "pPin");
    return bw_session_login(session, user, bw_bytes_of(pin, pin_len));
}

CK_RV C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user_type, CK_BYTE *pin, CK_ULONG pin_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Login, session);

    if (bw_ok(r))
        r = login(e.session, user_type, pin, pin_len);
    return bw_leave(&e, r);
}

/* Who the user is, the certificate says; a name given here adds nothing. */
CK_RV C_LoginUser(CK_SESSION_HANDLE session, CK_USER_TYPE user_type, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *user_name,
                  CK_ULONG user_name_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_LoginUser, session);

    if (bw_ok(r) && user_name == NULL && user_name_len > 0)
        r = bw_fail(BW_BAD_ARGUMENT, "pUsername");
    if (bw_ok(r))
        r = login(e.session, user_type, pin, pin_len);
    return bw_leave(&e, r);
}

CK_RV C_Logout(CK_SESSION_HANDLE session)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Logout, session);

    if (bw_ok(r))
        r = bw_session_logout(e.session);
    return bw_leave(&e, r);
}

static const struct { CK_FLAGS flag; enum bw_operation_kind kind; } cancellable[] = {
    { CKF_FIND_OBJECTS,    BW_OPERATION_FIND            },
    { CKF_ENCRYPT,         BW_OPERATION_ENCRYPT         },
    { CKF_DECRYPT,         BW_OPERATION_DECRYPT         },
    { CKF_DIGEST,          BW_OPERATION_DIGEST          },
    { CKF_SIGN,            BW_OPERATION_SIGN            },
    { CKF_VERIFY,          BW_OPERATION_VERIFY          },
    { CKF_SIGN_RECOVER,    BW_OPERATION_SIGN_RECOVER    },
    { CKF_VERIFY_RECOVER,  BW_OPERATION_VERIFY_RECOVER  },
    { CKF_MESSAGE_ENCRYPT, BW_OPERATION_MESSAGE_ENCRYPT },
    { CKF_MESSAGE_DECRYPT, BW_OPERATION_MESSAGE_DECRYPT },
    { CKF_MESSAGE_SIGN,    BW_OPERATION_MESSAGE_SIGN    },
    { CKF_MESSAGE_VERIFY,  BW_OPERATION_MESSAGE_VERIFY  },
};

/* 5.6.11. What is not active is cancelled already. */
CK_RV C_SessionCancel(CK_SESSION_HANDLE session, CK_FLAGS flags)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_SessionCancel, session);

    for (size_t i = 0; i < ARRAY_LEN(cancellable) && bw_ok(r); i++) {
        if ((flags & cancellable[i].flag) != 0)
            bw_session_end(e.session, cancellable[i].kind);
        flags &= ~cancellable[i].flag;
    }
    if (bw_ok(r) && flags != 0)
        r = bw_fail(BW_CANCEL_FAILED, "flags");
    return bw_leave(&e, r);
}
