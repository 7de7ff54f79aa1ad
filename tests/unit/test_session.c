/* Sessions: handles, the table of states walked move by move, login over all sessions of a slot, operations that end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "operation.h"
#include "session.h"
#include "slot.h"

/* ---- what sessions lean on: one key file with a passphrase, and counters ---- */

static struct { char passphrase[16]; int unlocked; int forgotten; int logged_out; int closed; int ended; } seen;

bw_result bw_client_unlock(struct bw_client *client, bw_bytes passphrase)
{
    (void)client;
    if (passphrase.len == 0) {
        seen.forgotten++;
        return bw_success();
    }
    BW_CHECK(bw_bytes_equal(passphrase, bw_bytes_text("open sesame")), BW_CREDENTIAL_INVALID, "passphrase");
    seen.unlocked++;
    return bw_success();
}

void bw_objects_session_closed(struct bw_objects *objects, CK_SESSION_HANDLE session)
{
    (void)objects;
    assert_int_not_equal(session, 0);
    seen.closed++;
}

void bw_objects_logged_out(struct bw_objects *objects)
{
    (void)objects;
    seen.logged_out++;
}

void bw_operation_free(struct bw_operation *operation)
{
    seen.ended += operation != NULL;
    free(operation);
}

/* ---- one slot, fresh for each test ---- */

static struct bw_slot slot;
static struct bw_sessions sessions = BW_SESSIONS_EMPTY;

static int fresh(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    memset(&slot, 0, sizeof slot);
    slot.key_encrypted = slot.login_required = true;
    return pthread_mutex_init(&slot.lock, NULL);
}

static int clear(void **state)
{
    (void)state;
    bw_sessions_clear(&sessions);
    return pthread_mutex_destroy(&slot.lock);
}

static CK_SESSION_HANDLE open_one(CK_FLAGS flags)
{
    CK_SESSION_HANDLE handle;

    assert_true(bw_ok(bw_session_open(&sessions, &slot, CKF_SERIAL_SESSION | flags, &handle)));
    return handle;
}

static struct bw_session *get(CK_SESSION_HANDLE handle)
{
    struct bw_session *session;

    assert_true(bw_ok(bw_session_get(&sessions, handle, &session)));
    return session;
}

static CK_STATE state_of(CK_SESSION_HANDLE handle)
{
    struct bw_session *session = get(handle);
    CK_STATE state = bw_session_state(session);

    bw_session_put(session);
    return state;
}

static enum bw_code login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, const char *pin)
{
    struct bw_session *session = get(handle);
    bw_result result = bw_session_login(session, user, bw_bytes_text(pin));

    bw_session_put(session);
    return result.code;
}

static enum bw_code logout(CK_SESSION_HANDLE handle)
{
    struct bw_session *session = get(handle);
    bw_result result = bw_session_logout(session);

    bw_session_put(session);
    return result.code;
}

/* ---- the moves ---- */

#define PIN "open sesame"
enum move { USER, SO, CONTEXT, NOBODY_KNOWN, WRONG, NO_PIN, OUT };
static const struct { enum move move; CK_USER_TYPE user; const char *pin; } moves[] = {
    { USER, CKU_USER, PIN }, { SO, CKU_SO, PIN }, { CONTEXT, CKU_CONTEXT_SPECIFIC, PIN }, { NOBODY_KNOWN, 7, PIN },
    { WRONG, CKU_USER, "open barley" }, { NO_PIN, CKU_USER, "" },
};

static const struct { const char *why; CK_FLAGS flags; bool in; enum move move; enum bw_code code; CK_STATE after; } walk[] = {
    { "a read-only session logs in",            0,              false, USER,         BW_OK,                   CKS_RO_USER_FUNCTIONS },
    { "a read-write session logs in",           CKF_RW_SESSION, false, USER,         BW_OK,                   CKS_RW_USER_FUNCTIONS },
    { "twice is once too often",                CKF_RW_SESSION, true,  USER,         BW_LOGGED_IN_ALREADY,    CKS_RW_USER_FUNCTIONS },
    { "a second login is not tried",            0,              true,  WRONG,        BW_LOGGED_IN_ALREADY,    CKS_RO_USER_FUNCTIONS },
    { "a wrong PIN",                            0,              false, WRONG,        BW_CREDENTIAL_INVALID,   CKS_RO_PUBLIC_SESSION },
    { "no PIN where one is needed",             CKF_RW_SESSION, false, NO_PIN,       BW_CREDENTIAL_INVALID,   CKS_RW_PUBLIC_SESSION },
    { "an officer beside a read-only session",  0,              false, SO,           BW_SESSION_READ_ONLY_SO, CKS_RO_PUBLIC_SESSION },
    { "an officer, whom no token knows",        CKF_RW_SESSION, false, SO,           BW_USER_TYPE,            CKS_RW_PUBLIC_SESSION },
    { "an officer after the user",              CKF_RW_SESSION, true,  SO,           BW_OTHER_LOGGED_IN,      CKS_RW_USER_FUNCTIONS },
    { "for one operation, before any login",    CKF_RW_SESSION, false, CONTEXT,      BW_OPERATION_MISSING,    CKS_RW_PUBLIC_SESSION },
    { "for one operation that asks for none",   CKF_RW_SESSION, true,  CONTEXT,      BW_OPERATION_MISSING,    CKS_RW_USER_FUNCTIONS },
    { "a user type that there is not",          0,              false, NOBODY_KNOWN, BW_USER_TYPE,            CKS_RO_PUBLIC_SESSION },
    { "logout",                                 0,              true,  OUT,          BW_OK,                   CKS_RO_PUBLIC_SESSION },
    { "logout of a read-write session",         CKF_RW_SESSION, true,  OUT,          BW_OK,                   CKS_RW_PUBLIC_SESSION },
    { "logout of nobody",                       CKF_RW_SESSION, false, OUT,          BW_NOT_LOGGED_IN,        CKS_RW_PUBLIC_SESSION },
};

static void every_move_of_the_state_table(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(walk); i++) {
        assert_int_equal(fresh(state), 0);
        CK_SESSION_HANDLE handle = open_one(walk[i].flags);
        if (walk[i].in)
            assert_int_equal(login(handle, CKU_USER, PIN), BW_OK);
        enum bw_code code = walk[i].move == OUT ? logout(handle) : login(handle, moves[walk[i].move].user, moves[walk[i].move].pin);
        if (code != walk[i].code || state_of(handle) != walk[i].after)
            fail_msg("%s: code %d, state %lu", walk[i].why, (int)code, state_of(handle));
        assert_int_equal(clear(state), 0);
    }
    assert_int_equal(fresh(state), 0);
}

static void login_is_the_application_s(void **state)
{
    (void)state;
    CK_SESSION_HANDLE first = open_one(0), second = open_one(CKF_RW_SESSION);

    assert_int_equal(login(first, CKU_USER, PIN), BW_OK);
    assert_int_equal(state_of(second), CKS_RW_USER_FUNCTIONS);
    CK_SESSION_HANDLE later = open_one(0);
    assert_int_equal(state_of(later), CKS_RO_USER_FUNCTIONS);
    assert_int_equal(logout(later), BW_OK);
    assert_int_equal(state_of(first), CKS_RO_PUBLIC_SESSION);
    assert_int_equal(seen.logged_out, 1);
    assert_int_equal(seen.forgotten, 1);
}

static void the_last_session_logs_out(void **state)
{
    (void)state;
    CK_SESSION_HANDLE first = open_one(0), second = open_one(CKF_RW_SESSION);

    assert_int_equal(login(first, CKU_USER, PIN), BW_OK);
    assert_true(bw_ok(bw_session_close(&sessions, first)));
    assert_int_equal(state_of(second), CKS_RW_USER_FUNCTIONS);
    assert_true(bw_ok(bw_session_close(&sessions, second)));
    assert_int_equal(slot.login, BW_LOGIN_NONE);
    assert_int_equal(seen.forgotten, 1);
    assert_int_equal(seen.closed, 2);
    assert_int_equal(slot.sessions + slot.rw_sessions, 0);
}

static void a_key_without_a_passphrase_takes_any_pin(void **state)
{
    (void)state;
    slot.key_encrypted = false;
    CK_SESSION_HANDLE handle = open_one(0);

    assert_int_equal(login(handle, CKU_USER, "1234"), BW_OK);
    assert_int_equal(logout(handle), BW_OK);
    assert_int_equal(login(handle, CKU_USER, NULL), BW_OK);
    assert_int_equal(seen.unlocked + seen.forgotten, 0);
}

static void private_objects_show_when_the_token_s_rule_is_met(void **state)
{
    (void)state;
    struct bw_session *session = get(open_one(0));

    assert_false(bw_session_sees_private(session));
    assert_true(bw_ok(bw_session_login(session, CKU_USER, bw_bytes_text(PIN))));
    assert_true(bw_session_sees_private(session));
    assert_true(bw_ok(bw_session_logout(session)));
    slot.login_required = false;
    assert_true(bw_session_sees_private(session));
    bw_session_put(session);
}

static void handles_never_come_again(void **state)
{
    CK_SESSION_HANDLE last = 0;
    struct bw_session *session;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        CK_SESSION_HANDLE handle = open_one(0);
        assert_true(handle > last);
        assert_true(bw_ok(bw_session_close(&sessions, handle)));
        assert_int_equal(bw_session_get(&sessions, handle, &session).code, BW_SESSION_INVALID);
        assert_int_equal(bw_session_close(&sessions, handle).code, BW_SESSION_INVALID);
        last = handle;
    }
    assert_int_equal(sessions.room, 16); /* places are used again, handles are not */
    bw_sessions_clear(&sessions);
    assert_true(open_one(0) > last);
    bw_sessions_clear(&sessions);

    static const CK_SESSION_HANDLE never[] = { 0, 1, (CK_SESSION_HANDLE)-1, 1ul << 20, 0xfffff };
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        assert_int_equal(bw_session_get(&sessions, never[i], &session).code, BW_SESSION_INVALID);
}

static void many_sessions_are_all_there(void **state)
{
    static CK_SESSION_HANDLE handles[3000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        handles[i] = open_one(i % 2 ? CKF_RW_SESSION : 0);
    for (size_t i = 0; i < ARRAY_LEN(handles); i += 3)
        assert_true(bw_ok(bw_session_close(&sessions, handles[i])));
    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        struct bw_session *session;
        assert_int_equal(bw_session_get(&sessions, handles[i], &session).code, i % 3 ? BW_OK : BW_SESSION_INVALID);
        if (i % 3)
            bw_session_put(session);
    }
    assert_int_equal(slot.sessions, 2000);
    assert_int_equal(slot.rw_sessions, 1000);
    bw_session_close_all(&sessions, &slot);
    assert_int_equal(slot.sessions + slot.rw_sessions, 0);
}

static void other_slots_keep_their_sessions(void **state)
{
    static struct bw_slot other = { .lock = PTHREAD_MUTEX_INITIALIZER };
    CK_SESSION_HANDLE theirs;

    (void)state;
    CK_SESSION_HANDLE ours = open_one(0);
    assert_true(bw_ok(bw_session_open(&sessions, &other, CKF_SERIAL_SESSION, &theirs)));
    bw_session_close_all(&sessions, &slot);
    bw_session_put(get(theirs));
    assert_int_equal(bw_session_close(&sessions, ours).code, BW_SESSION_INVALID);
    assert_true(bw_ok(bw_session_close(&sessions, theirs)));
}

static void parallel_sessions_are_refused(void **state)
{
    CK_SESSION_HANDLE handle = 77;

    (void)state;
    assert_int_equal(bw_session_open(&sessions, &slot, CKF_RW_SESSION, &handle).code, BW_SESSION_PARALLEL);
    assert_int_equal(handle, 77);
    assert_int_equal(slot.sessions, 0);
}

static void closing_waits_for_nobody_and_frees_last(void **state)
{
    (void)state;
    CK_SESSION_HANDLE handle = open_one(0);
    struct bw_session *inside = get(handle); /* as a call does */

    inside->operations[BW_OPERATION_SIGN] = malloc(1);
    inside->operations[BW_OPERATION_FIND] = malloc(1);
    assert_true(bw_ok(bw_session_close(&sessions, handle)));
    assert_int_equal(seen.ended, 0);
    bw_session_end(inside, BW_OPERATION_FIND);
    assert_null(inside->operations[BW_OPERATION_FIND]);
    assert_int_equal(seen.ended, 1);
    bw_session_put(inside);
    assert_int_equal(seen.ended, 2);
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, fresh, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(every_move_of_the_state_table),
        SESSION_TEST(login_is_the_application_s),
        SESSION_TEST(the_last_session_logs_out),
        SESSION_TEST(a_key_without_a_passphrase_takes_any_pin),
        SESSION_TEST(private_objects_show_when_the_token_s_rule_is_met),
        SESSION_TEST(handles_never_come_again),
        SESSION_TEST(many_sessions_are_all_there),
        SESSION_TEST(other_slots_keep_their_sessions),
        SESSION_TEST(parallel_sessions_are_refused),
        SESSION_TEST(closing_waits_for_nobody_and_frees_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
