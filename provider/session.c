#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "bailiwick/limits.h"
#include "object.h"
#include "operation.h"
#include "slot.h"

/* A handle is serial << PLACE_BITS | place: the place finds the session, the serial makes it never come again. */
enum { PLACE_BITS = 20, PLACES_MAX = 1 << PLACE_BITS };

/* ---- states: PKCS#11 v3.0, 5.6.1 ---- */

static const struct {
    enum bw_login login;
    bool          read_write;
    CK_STATE      state;
} states[] = {
    { BW_LOGIN_NONE, false, CKS_RO_PUBLIC_SESSION },
    { BW_LOGIN_NONE, true,  CKS_RW_PUBLIC_SESSION },
    { BW_LOGIN_USER, false, CKS_RO_USER_FUNCTIONS },
    { BW_LOGIN_USER, true,  CKS_RW_USER_FUNCTIONS },
};

/* What becomes of a login, from each state. CKU_SO is nobody here: a token is set up by its custodian, with the tools. */
static const struct {
    enum bw_login login;
    CK_USER_TYPE  user;
    enum bw_code  with_read_only; /* while a read-only session is open */
    enum bw_code  without;
} logins[] = {
    { BW_LOGIN_NONE, CKU_USER,             BW_OK,                   BW_OK                },
    { BW_LOGIN_NONE, CKU_SO,               BW_SESSION_READ_ONLY_SO, BW_USER_TYPE         },
    { BW_LOGIN_NONE, CKU_CONTEXT_SPECIFIC, BW_OPERATION_MISSING,    BW_OPERATION_MISSING },
    { BW_LOGIN_USER, CKU_USER,             BW_LOGGED_IN_ALREADY,    BW_LOGGED_IN_ALREADY },
    { BW_LOGIN_USER, CKU_SO,               BW_OTHER_LOGGED_IN,      BW_OTHER_LOGGED_IN   },
    { BW_LOGIN_USER, CKU_CONTEXT_SPECIFIC, BW_OPERATION_MISSING,    BW_OPERATION_MISSING },
};

static enum bw_login slot_login(struct bw_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    enum bw_login login = slot->login;
    pthread_mutex_unlock(&slot->lock);
    return login;
}

CK_STATE bw_session_state(const struct bw_session *session)
{
    enum bw_login login = slot_login(session->slot);

    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (states[i].login == login && states[i].read_write == session->read_write)
            return states[i].state;
    return CKS_RO_PUBLIC_SESSION;
}

bool bw_session_sees_private(const struct bw_session *session)
{
    return !session->slot->login_required || slot_login(session->slot) == BW_LOGIN_USER;
}

bw_result bw_login_allowed(enum bw_login login, CK_USER_TYPE user, bool read_only_exists)
{
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        if (logins[i].login != login || logins[i].user != user)
            continue;
        enum bw_code code = read_only_exists ? logins[i].with_read_only : logins[i].without;
        return code == BW_OK ? bw_success() : bw_fail(code, "login in this state");
    }
    return bw_fail(BW_USER_TYPE, "user type");
}

/* With the slot's lock held, so that of two logins at once one comes second. Takes as long as the key file's
 * key derivation does. */
static bw_result login_locked(struct bw_slot *slot, CK_USER_TYPE user, bw_bytes pin)
{
    BW_TRY(bw_login_allowed(slot->login, user, slot->sessions > slot->rw_sessions));
    BW_CHECK(pin.len <= BW_PIN_MAX, BW_PIN_LENGTH, "PIN");
    if (slot->key_encrypted) {
        BW_CHECK(pin.len > 0, BW_CREDENTIAL_INVALID, "the private key needs its passphrase");
        BW_TRY(bw_client_unlock(slot->remote.client, pin));
    }
    slot->login = BW_LOGIN_USER;
    return bw_success();
}

bw_result bw_session_login(struct bw_session *session, CK_USER_TYPE user, bw_bytes pin)
{
    pthread_mutex_lock(&session->slot->lock);
    bw_result result = login_locked(session->slot, user, pin);
    pthread_mutex_unlock(&session->slot->lock);
    return result;
}

static bw_result logout_locked(struct bw_slot *slot)
{
    BW_CHECK(slot->login != BW_LOGIN_NONE, BW_NOT_LOGGED_IN, "logout");
    slot->login = BW_LOGIN_NONE;
    if (slot->key_encrypted)
        BW_TRY(bw_client_unlock(slot->remote.client, (bw_bytes){ NULL, 0 }));
    return bw_success();
}

static bw_result slot_logout(struct bw_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    bw_result result = logout_locked(slot);
    pthread_mutex_unlock(&slot->lock);
    BW_TRY(result);
    bw_objects_logged_out(slot->objects);
    return bw_success();
}

bw_result bw_session_logout(struct bw_session *session)
{
    return slot_logout(session->slot);
}

void bw_session_end(struct bw_session *session, enum bw_operation_kind kind)
{
    bw_operation_free(session->operations[kind]);
    session->operations[kind] = NULL;
}

/* ---- one session ---- */

static void session_free(struct bw_session *session)
{
    for (int kind = 0; kind < BW_OPERATION_KINDS; kind++)
        bw_operation_free(session->operations[kind]);
    pthread_mutex_destroy(&session->lock);
    free(session);
}

static bw_result session_new(struct bw_slot *slot, CK_FLAGS flags, struct bw_session **ret_session)
{
    struct bw_session *session = calloc(1, sizeof *session);

    BW_CHECK(session != NULL, BW_NO_MEMORY, "session");
    if (pthread_mutex_init(&session->lock, NULL) != 0) {
        free(session);
        return bw_fail(BW_NO_MEMORY, "session's lock");
    }
    session->slot       = slot;
    session->read_write = (flags & CKF_RW_SESSION) != 0;
    session->references = 1; /* the table's */
    *ret_session = session;
    return bw_success();
}

void bw_session_put(struct bw_session *session)
{
    if (atomic_fetch_sub(&session->references, 1) == 1)
        session_free(session);
}

static void count_session(const struct bw_session *session)
{
    pthread_mutex_lock(&session->slot->lock);
    session->slot->sessions++;
    session->slot->rw_sessions += session->read_write;
    pthread_mutex_unlock(&session->slot->lock);
}

/* After it left the table. */
static void session_closed(struct bw_session *session)
{
    struct bw_slot *slot = session->slot;

    bw_objects_session_closed(slot->objects, session->handle);
    pthread_mutex_lock(&slot->lock);
    slot->rw_sessions -= session->read_write;
    bool last = --slot->sessions == 0;
    pthread_mutex_unlock(&slot->lock);
    if (last)
        (void)slot_logout(slot); /* nobody may be logged in: that is no error here */
    bw_session_put(session);
}

/* ---- the table ---- */

static size_t place_of(CK_SESSION_HANDLE handle)
{
    return handle & (PLACES_MAX - 1);
}

static struct bw_session *find(struct bw_sessions *sessions, CK_SESSION_HANDLE handle)
{
    size_t place = place_of(handle);
    struct bw_session *session = place < sessions->room ? sessions->open[place] : NULL;

    return session && session->handle == handle ? session : NULL;
}

static bw_result make_room(struct bw_sessions *sessions)
{
    size_t room = sessions->room ? sessions->room * 2 : 16;

    BW_CHECK(room <= PLACES_MAX, BW_NO_MEMORY, "too many sessions");
    struct bw_session **open = realloc(sessions->open, room * sizeof(struct bw_session *));
    BW_CHECK(open != NULL, BW_NO_MEMORY, "session table");
    memset(open + sessions->room, 0, (room - sessions->room) * sizeof *open);
    sessions->open = open;
    sessions->room = room;
    return bw_success();
}

static bw_result add_locked(struct bw_sessions *sessions, struct bw_session *session)
{
    size_t place = sessions->hint;

    while (place < sessions->room && sessions->open[place] != NULL)
        place++;
    if (place == sessions->room)
        BW_TRY(make_room(sessions));
    sessions->open[place] = session;
    sessions->hint        = place + 1;
    session->handle       = ++sessions->serial << PLACE_BITS | place;
    return bw_success();
}

static void remove_locked(struct bw_sessions *sessions, size_t place)
{
    sessions->open[place] = NULL;
    if (place < sessions->hint)
        sessions->hint = place;
}

bw_result bw_session_open(struct bw_sessions *sessions, struct bw_slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *ret_handle)
{
    struct bw_session *session;

    BW_CHECK((flags & CKF_SERIAL_SESSION) != 0, BW_SESSION_PARALLEL, "C_OpenSession's flags");
    BW_TRY(session_new(slot, flags, &session));
    count_session(session); /* before it can be found, so that closing it never counts below zero */
    pthread_mutex_lock(&sessions->lock);
    bw_result result = add_locked(sessions, session);
    CK_SESSION_HANDLE handle = session->handle;
    pthread_mutex_unlock(&sessions->lock);
    if (!bw_ok(result)) {
        session_closed(session);
        return result;
    }
    *ret_handle = handle;
    return bw_success();
}

bw_result bw_session_close(struct bw_sessions *sessions, CK_SESSION_HANDLE handle)
{
    pthread_mutex_lock(&sessions->lock);
    struct bw_session *session = find(sessions, handle);
    if (session != NULL)
        remove_locked(sessions, place_of(handle));
    pthread_mutex_unlock(&sessions->lock);
    BW_CHECK(session != NULL, BW_SESSION_INVALID, "session handle");
    session_closed(session);
    return bw_success();
}

/* slot NULL: of every slot */
static struct bw_session *take_one(struct bw_sessions *sessions, const struct bw_slot *slot)
{
    struct bw_session *taken = NULL;

    pthread_mutex_lock(&sessions->lock);
    for (size_t place = 0; place < sessions->room && taken == NULL; place++) {
        struct bw_session *session = sessions->open[place];
        if (session == NULL || (slot != NULL && session->slot != slot))
            continue;
        taken = session;
        remove_locked(sessions, place);
    }
    pthread_mutex_unlock(&sessions->lock);
    return taken;
}

void bw_session_close_all(struct bw_sessions *sessions, struct bw_slot *slot)
{
    for (struct bw_session *session; (session = take_one(sessions, slot)) != NULL;)
        session_closed(session);
}

bw_result bw_session_get(struct bw_sessions *sessions, CK_SESSION_HANDLE handle, struct bw_session **ret_session)
{
    pthread_mutex_lock(&sessions->lock);
    struct bw_session *session = find(sessions, handle);
    if (session != NULL)
        atomic_fetch_add(&session->references, 1);
    pthread_mutex_unlock(&sessions->lock);
    BW_CHECK(session != NULL, BW_SESSION_INVALID, "session handle");
    *ret_session = session;
    return bw_success();
}

void bw_sessions_clear(struct bw_sessions *sessions)
{
    bw_session_close_all(sessions, NULL);
    free(sessions->open);
    sessions->open = NULL;
    sessions->room = sessions->hint = 0;
}

void bw_sessions_abandon(struct bw_sessions *sessions)
{
    *sessions = (struct bw_sessions){ .lock = PTHREAD_MUTEX_INITIALIZER, .serial = sessions->serial };
}
