/* A token: one tenant's share of the HSM, opened, lost and opened again, closed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hsm_internal.h"

enum { FIND_BATCH = 64 };

/* ---- enumeration ---- */

static unsigned curve_bits(bw_bytes params)
{
    for (enum bw_spec spec = BW_SPEC_EC_P256; spec <= BW_SPEC_ED25519; spec++)
        if (bw_bytes_equal(bw_spec_row(spec)->curve, params))
            return bw_spec_row(spec)->bits;
    return 0;
}

static bw_result key_bits(struct bw_session *session, CK_OBJECT_HANDLE object, CK_KEY_TYPE key_type, unsigned *ret_bits)
{
    uint8_t bytes[BW_MODULUS_MAX + 1];
    size_t len = sizeof bytes;
    CK_ULONG value_len;

    switch (key_type) {
    case CKK_RSA:
        BW_TRY(bw_attribute_bytes(session, object, CKA_MODULUS, bytes, &len));
        *ret_bits = (unsigned)len * 8;
        return bw_success();
    case CKK_EC:
    case CKK_EC_EDWARDS:
        BW_TRY(bw_attribute_bytes(session, object, CKA_EC_PARAMS, bytes, &len));
        *ret_bits = curve_bits(bw_bytes_of(bytes, len));
        return bw_success();
    default:
        BW_TRY(bw_attribute_number(session, object, CKA_VALUE_LEN, &value_len));
        *ret_bits = (unsigned)value_len * 8;
        return bw_success();
    }
}

/* Objects that are not ours (another CKA_ID, another class) are left alone. */
static bw_result index_object(struct bw_session *session, CK_OBJECT_HANDLE object, struct bw_index *index)
{
    struct bw_reader reader = { 0 };
    uint8_t cka_id[BW_CKA_ID_MAX + 1];
    size_t len = sizeof cka_id;
    CK_ULONG class, key_type;
    unsigned bits = 0;
    bw_key_id id;

    BW_TRY(bw_attribute_number(session, object, CKA_CLASS, &class));
    if (class != CKO_SECRET_KEY && class != CKO_PRIVATE_KEY && class != CKO_PUBLIC_KEY)
        return bw_success();
    if (!bw_ok(bw_attribute_bytes(session, object, CKA_ID, cka_id, &len)) || len != BW_CKA_ID_LEN)
        return bw_success();
    BW_TRY(bw_attribute_number(session, object, CKA_KEY_TYPE, &key_type));
    if (class != CKO_PUBLIC_KEY)
        BW_TRY(key_bits(session, object, key_type, &bits));

    reader.rest = bw_bytes_of(cka_id, len);
    memcpy(id.bytes, bw_read_bytes(&reader, BW_KEY_ID_LEN).data, BW_KEY_ID_LEN);
    struct bw_hsm_index_entry *entry = bw_hsm_index_add(index, &id, (uint32_t)bw_read_be(&reader, 4));
    BW_CHECK(entry != NULL, BW_NO_MEMORY, "index of the token's keys");
    entry->key_type = key_type;
    if (class == CKO_PUBLIC_KEY)
        entry->public_key = object;
    else {
        entry->own  = object;
        entry->bits = bits;
    }
    return bw_success();
}

/* A process that is killed while the module writes an object leaves half of one. No key of ours can be in it: it was never told. */
static bw_result index_whole(struct bw_session *session, CK_OBJECT_HANDLE object, struct bw_index *index)
{
    bw_result r = index_object(session, object, index);

    return r.code == BW_ATTRIBUTE_TYPE ? bw_success() : r;
}

static bw_result index_found(struct bw_session *session, struct bw_index *index)
{
    CK_FUNCTION_LIST *f = session->token->hsm->f;
    CK_OBJECT_HANDLE found[FIND_BATCH];
    CK_ULONG count;

    do {
        BW_TRY(BW_RV(session, f->C_FindObjects(session->handle, found, FIND_BATCH, &count), BW_HSM_FAILED));
        for (CK_ULONG i = 0; i < count; i++)
            BW_TRY(index_whole(session, found[i], index));
    } while (count > 0);
    return bw_success();
}

static bw_result enumerate(struct bw_session *session)
{
    struct bw_token *token = session->token;
    CK_FUNCTION_LIST *f = token->hsm->f;
    struct bw_index index = { 0 };

    BW_TRY(BW_RV(session, f->C_FindObjectsInit(session->handle, NULL, 0), BW_HSM_FAILED));
    bw_result r = index_found(session, &index);
    (void)f->C_FindObjectsFinal(session->handle); /* a search left open is met by bw_session_replace */
    if (bw_ok(r)) {
        (void)pthread_mutex_lock(&token->tables);
        struct bw_index before = token->index;
        token->index = index;
        index = before;
        (void)pthread_mutex_unlock(&token->tables);
    }
    bw_hsm_index_clear(&index);
    return r;
}

/* ---- opening ---- */

static bw_result open_session(struct bw_token *token, CK_SESSION_HANDLE *ret_handle)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    return bw_rv_result(token->hsm->f->C_OpenSession(token->slot, flags, NULL, NULL, ret_handle), BW_HSM_FAILED, "hsm_token.c: open_session");
}

static bw_result open_sessions(struct bw_token *token)
{
    token->free = NULL;
    BW_TRY(open_session(token, &token->holder));
    for (unsigned i = 0; i < token->hsm->sessions; i++) {
        struct bw_session *session = &token->sessions[i];
        session->token = token;
        BW_TRY(open_session(token, &session->handle));
        session->next = token->free;
        token->free   = session;
    }
    return bw_success();
}

/* CKR_USER_ALREADY_LOGGED_IN is a failure too: the PIN would go unchecked. */
static bw_result login(struct bw_token *token)
{
    CK_UTF8CHAR *pin = bw_secret_reveal(token->pin);
    CK_RV rv = token->hsm->f->C_Login(token->holder, CKU_USER, pin, bw_secret_len(token->pin));

    return bw_rv_result(rv, BW_HSM_FAILED, "hsm_token.c: login");
}

static bw_result connect_slot(struct bw_token *token)
{
    BW_TRY(open_sessions(token));
    BW_TRY(login(token));
    return enumerate(&token->sessions[0]);
}

bw_result bw_token_connect(struct bw_token *token)
{
    struct bw_slot slot;

    bw_objects_kill(token, NULL, BW_HSM_UNAVAILABLE, NULL, NULL); /* those made by calls that were still out when it was lost */
    BW_TRY(bw_slot_find(token->hsm, token->label, token->serial, &slot));
    memcpy(token->serial, slot.serial, sizeof slot.serial);
    token->slot = slot.id;
    (void)token->hsm->f->C_CloseAllSessions(slot.id); /* there may be none */
    atomic_fetch_add(&token->epoch, 1);
    bw_result r = connect_slot(token);
    if (!bw_ok(r))
        (void)token->hsm->f->C_CloseAllSessions(slot.id);
    return r;
}

static void init_locks(struct bw_token *token)
{
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&token->pool, NULL);
    (void)pthread_mutex_init(&token->holder_lock, NULL);
    (void)pthread_mutex_init(&token->tables, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&token->pool_changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static bw_result new_token(struct bw_hsm *hsm, const char *label, const char *serial, bw_bytes pin, struct bw_token **ret_token)
{
    struct bw_token *token = calloc(1, sizeof *token);

    BW_CHECK(token != NULL, BW_NO_MEMORY, "HSM token");
    token->hsm   = hsm;
    token->state = BW_TOKEN_OPENING;
    memcpy(token->label, label, strlen(label));
    memcpy(token->serial, serial, strlen(serial));
    atomic_init(&token->references, 1);
    init_locks(token);
    token->sessions = calloc(hsm->sessions, sizeof *token->sessions);
    bw_result r = token->sessions ? bw_secret_copy(pin, &token->pin) : bw_fail(BW_NO_MEMORY, "HSM session pool");
    if (!bw_ok(r)) {
        token->state = BW_TOKEN_CLOSED;
        bw_token_unref(token);
        return r;
    }
    *ret_token = token;
    return bw_success();
}

/* A token is open once, so that the one who closes it logs out nobody else, and every PIN is checked by the HSM. */
static bw_result claim(struct bw_hsm *hsm, struct bw_token *token)
{
    (void)pthread_mutex_lock(&hsm->open_lock);
    bool is_open = false;
    for (const struct bw_token *other = hsm->open; other != NULL; other = other->next_open)
        is_open = is_open || strcmp(other->label, token->label) == 0;
    if (!is_open) {
        token->next_open = hsm->open;
        hsm->open = token;
    }
    (void)pthread_mutex_unlock(&hsm->open_lock);
    BW_CHECK(!is_open, BW_CONFLICT, "the HSM token is open already");
    return bw_success();
}

static void unclaim(struct bw_hsm *hsm, struct bw_token *token)
{
    (void)pthread_mutex_lock(&hsm->open_lock);
    for (struct bw_token **at = &hsm->open; *at != NULL; at = &(*at)->next_open)
        if (*at == token) {
            *at = token->next_open;
            break;
        }
    (void)pthread_mutex_unlock(&hsm->open_lock);
}

bw_result bw_token_open(struct bw_hsm *hsm, const char *label, const char *serial, bw_bytes user_pin, struct bw_token **ret_token)
{
    struct bw_token *token;

    BW_CHECK(strlen(label) <= 32 && strlen(serial) <= 16, BW_BAD_ARGUMENT, "a token's label or serial");
    BW_TRY(new_token(hsm, label, serial, user_pin, &token));
    bw_result r = claim(hsm, token);
    if (bw_ok(r))
        r = bw_token_connect(token);
    if (!bw_ok(r)) {
        unclaim(hsm, token);
        token->state = BW_TOKEN_CLOSED;
        bw_token_unref(token);
        return r;
    }
    token->state = BW_TOKEN_READY;
    *ret_token = token;
    return bw_success();
}

/* ---- closing ---- */

/* False: it was closed before. Comes back when no call is in the HSM any more. */
static bool shut_pool(struct bw_token *token)
{
    (void)pthread_mutex_lock(&token->pool);
    while (token->state == BW_TOKEN_OPENING)
        (void)pthread_cond_wait(&token->pool_changed, &token->pool);
    bool was_open = token->state != BW_TOKEN_CLOSED;
    token->state = BW_TOKEN_CLOSED;
    (void)pthread_cond_broadcast(&token->pool_changed);
    while (token->out > 0)
        (void)pthread_cond_wait(&token->pool_changed, &token->pool);
    (void)pthread_mutex_unlock(&token->pool);
    return was_open;
}

const char *bw_token_serial(const struct bw_token *token)
{
    return token->serial;
}

void bw_token_close(struct bw_token *token)
{
    if (!shut_pool(token))
        return;
    bw_objects_kill(token, NULL, BW_TENANT_SEALED, NULL, NULL);
    (void)token->hsm->f->C_Logout(token->holder);          /* closing the last session does it too */
    (void)token->hsm->f->C_CloseAllSessions(token->slot);  /* and destroys every session object */
    bw_secret_free(bw_take(&token->pin));
    (void)pthread_mutex_lock(&token->tables);
    bw_hsm_index_clear(&token->index);
    (void)pthread_mutex_unlock(&token->tables);
    unclaim(token->hsm, token);
}

void bw_token_free(struct bw_token *token)
{
    if (token == NULL)
        return;
    bw_token_close(token);
    bw_token_unref(token);
}

void bw_token_ref(struct bw_token *token)
{
    atomic_fetch_add(&token->references, 1);
}

void bw_token_unref(struct bw_token *token)
{
    if (atomic_fetch_sub(&token->references, 1) != 1)
        return;
    assert(token->state == BW_TOKEN_CLOSED);
    bw_secret_free(token->pin);
    bw_hsm_index_clear(&token->index);
    (void)pthread_cond_destroy(&token->pool_changed);
    (void)pthread_mutex_destroy(&token->pool);
    (void)pthread_mutex_destroy(&token->holder_lock);
    (void)pthread_mutex_destroy(&token->tables);
    free(token->sessions);
    free(token);
}
