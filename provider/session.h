/* Sessions: their table, their states, and the operations that are active in them.
 *
 * Handles are never reused in a process, not even after C_Finalize or by a forked child, and are never pointers.
 * A session is counted: it stays in memory while a call uses it, though another thread closes it meanwhile. */
#ifndef BW_PROVIDER_SESSION_H
#define BW_PROVIDER_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

struct bw_slot;
struct bw_operation;

/* One operation of each kind may be active at once in a session. */
enum bw_operation_kind {
    BW_OPERATION_FIND,
    BW_OPERATION_ENCRYPT,
    BW_OPERATION_DECRYPT,
    BW_OPERATION_DIGEST,
    BW_OPERATION_SIGN,
    BW_OPERATION_VERIFY,
    BW_OPERATION_SIGN_RECOVER,
    BW_OPERATION_VERIFY_RECOVER,
    BW_OPERATION_MESSAGE_ENCRYPT,
    BW_OPERATION_MESSAGE_DECRYPT,
    BW_OPERATION_MESSAGE_SIGN,
    BW_OPERATION_MESSAGE_VERIFY,
    BW_OPERATION_KINDS,
    BW_OPERATION_ANY  = BW_OPERATION_KINDS, /* columns of functions.def that are no kind */
    BW_OPERATION_NONE
};

struct bw_session {
    CK_SESSION_HANDLE    handle;
    struct bw_slot      *slot;
    bool                 read_write;
    atomic_uint          device_error;  /* enum bw_code of the last call that failed at, or on the way to, the region */

    pthread_mutex_t      lock;          /* over the operations */
    struct bw_operation *operations[BW_OPERATION_KINDS]; /* owned; NULL: none of that kind is active */

    atomic_uint          references;
};

/* Whether private objects may be seen and used: the token asks for no login, or the user is logged in. */
bool bw_session_sees_private(const struct bw_session *session);

/* CKS_: from the table of states in session.c. */
CK_STATE bw_session_state(const struct bw_session *session);

/* Ends the operation of that kind, if one is active. The session is locked. */
void bw_session_end(struct bw_session *session, enum bw_operation_kind kind);

/* ---- login, which is the slot's: PKCS#11 v3.0, 5.6.6 ---- */

enum bw_login { BW_LOGIN_NONE, BW_LOGIN_USER };

/* What the table in session.c says of a login; BW_OK when it may be tried. read_only_exists: of the slot's sessions. */
bw_result bw_login_allowed(enum bw_login login, CK_USER_TYPE user, bool read_only_exists);

/* pin  the passphrase of the client's private key; empty where it has none
 * Fails with  BW_LOGGED_IN_ALREADY; BW_CREDENTIAL_INVALID  not the passphrase;  BW_SESSION_READ_ONLY_SO and BW_USER_TYPE  CKU_SO, which
 *             no token of ours knows;  BW_OPERATION_MISSING  CKU_CONTEXT_SPECIFIC, which no key of ours asks for;  BW_USER_TYPE  others */
bw_result bw_session_login(struct bw_session *session, CK_USER_TYPE user, bw_bytes pin);
bw_result bw_session_logout(struct bw_session *session); /* BW_NOT_LOGGED_IN */

/* ---- the table ---- */

struct bw_sessions {
    pthread_mutex_t     lock;
    struct bw_session **open;   /* room places, NULL where free; a handle's low bits are its place */
    size_t              room;
    size_t              hint;   /* no place before it is free */
    CK_ULONG            serial; /* the high bits of the next handle; outlives bw_sessions_clear */
};

/* All zero but for its lock: BW_SESSIONS_EMPTY. */
#define BW_SESSIONS_EMPTY { .lock = PTHREAD_MUTEX_INITIALIZER }

/* Closes every session and frees the table. */
void bw_sessions_clear(struct bw_sessions *sessions);

/* Forgets all of it and frees nothing: in a forked child, where other threads of the parent may have been in the middle of a
 * change, or when a thread will not leave. */
void bw_sessions_abandon(struct bw_sessions *sessions);

/* Fails with  BW_SESSION_PARALLEL  without CKF_SERIAL_SESSION;  BW_NO_MEMORY. */
bw_result bw_session_open(struct bw_sessions *sessions, struct bw_slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *ret_handle);

/* The last session of a slot logs out. A call that is inside the session ends in its own time. Fails with BW_SESSION_INVALID. */
bw_result bw_session_close(struct bw_sessions *sessions, CK_SESSION_HANDLE handle);
void      bw_session_close_all(struct bw_sessions *sessions, struct bw_slot *slot);

/* Counted; give it back with bw_session_put. Fails with BW_SESSION_INVALID. */
bw_result bw_session_get(struct bw_sessions *sessions, CK_SESSION_HANDLE handle, struct bw_session **ret_session);
void      bw_session_put(struct bw_session *session);

#endif
