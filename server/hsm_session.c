/* The pool of a token's sessions, and who opens the token again after it was lost.
 *
 * Having a session means that the token is open and stays so: whoever opens it anew or closes it waits until none is out. */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "hsm_internal.h"

static struct timespec wait_until(void)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec  += BW_SESSION_WAIT_MS / 1000;
    until.tv_nsec += BW_SESSION_WAIT_MS % 1000 * 1000000L;
    until.tv_sec  += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return until;
}

static bool wait_for_change(struct bw_token *token, const struct timespec *until)
{
    return pthread_cond_timedwait(&token->pool_changed, &token->pool, until) != ETIMEDOUT;
}

/* With token->pool held; let go while the HSM works. A PIN that is refused now is not tried again, which would lock it. */
static bw_result reopen(struct bw_token *token, const struct timespec *until)
{
    token->state = BW_TOKEN_OPENING;
    bool alone = true;
    while (token->out > 0 && alone)
        alone = wait_for_change(token, until);
    if (token->out > 0) {
        token->state = BW_TOKEN_LOST;
        (void)pthread_cond_broadcast(&token->pool_changed);
        return bw_fail(BW_HSM_UNAVAILABLE, "calls into the lost HSM token have not come back");
    }
    (void)pthread_mutex_unlock(&token->pool);
    bw_result r = bw_token_connect(token);
    (void)pthread_mutex_lock(&token->pool);
    token->state = bw_ok(r) ? BW_TOKEN_READY : r.code == BW_CREDENTIAL_INVALID ? BW_TOKEN_LOCKED_OUT : BW_TOKEN_LOST;
    (void)pthread_cond_broadcast(&token->pool_changed);
    return bw_ok(r) ? r : bw_fail(BW_HSM_UNAVAILABLE, "the HSM token cannot be opened again");
}

static bw_result take(struct bw_token *token, struct bw_session **ret_session)
{
    struct timespec until = wait_until();

    for (;;) {
        BW_CHECK(token->state != BW_TOKEN_CLOSED, BW_TENANT_SEALED, "its HSM token is closed");
        BW_CHECK(token->state != BW_TOKEN_LOCKED_OUT, BW_HSM_UNAVAILABLE, "the HSM token no longer takes its PIN");
        if (token->state == BW_TOKEN_LOST) {
            BW_TRY(reopen(token, &until));
        } else if (token->state == BW_TOKEN_READY && token->free != NULL) {
            *ret_session = token->free;
            token->free  = token->free->next;
            token->out++;
            return bw_success();
        } else {
            BW_CHECK(wait_for_change(token, &until), BW_OVERLOADED, "no HSM session became free");
        }
    }
}

bw_result bw_session_take(struct bw_token *token, struct bw_session **ret_session)
{
    (void)pthread_mutex_lock(&token->pool);
    bw_result r = take(token, ret_session);
    (void)pthread_mutex_unlock(&token->pool);
    return r;
}

void bw_session_give(struct bw_session *session)
{
    struct bw_token *token = session->token;

    (void)pthread_mutex_lock(&token->pool);
    assert(token->out > 0);
    session->next = token->free;
    token->free   = session;
    token->out--;
    if (token->state == BW_TOKEN_READY)
        (void)pthread_cond_signal(&token->pool_changed);
    else
        (void)pthread_cond_broadcast(&token->pool_changed);
    (void)pthread_mutex_unlock(&token->pool);
}

/* Its objects go at once, so that the next caller finds none in the cache and opens the token again. */
static void mark_lost(struct bw_session *session)
{
    struct bw_token *token = session->token;

    (void)pthread_mutex_lock(&token->pool);
    if (token->state == BW_TOKEN_READY)
        token->state = BW_TOKEN_LOST;
    (void)pthread_mutex_unlock(&token->pool);
    bw_objects_kill(token, session, BW_HSM_UNAVAILABLE, NULL, NULL);
}

bw_result bw_session_result(struct bw_session *session, CK_RV rv, enum bw_code input_fault, const char *where)
{
    if (bw_rv_means_lost(rv))
        mark_lost(session);
    return bw_rv_result(rv, input_fault, where);
}

bw_result bw_session_replace(struct bw_session *session)
{
    struct bw_token *token = session->token;
    CK_FUNCTION_LIST *f = token->hsm->f;

    (void)f->C_CloseSession(session->handle); /* if that fails, the new one is the better for it */
    CK_RV rv = f->C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session->handle);
    if (rv != CKR_OK)
        mark_lost(session);
    return bw_rv_result(rv, BW_HSM_UNAVAILABLE, __FILE__ ":" BW_STRING(__LINE__));
}
