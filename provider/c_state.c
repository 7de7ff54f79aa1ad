/* PKCS#11 v3.0, 5.6.5 and 5.6.6: the state of a session's operations, saved and taken up again, in this session or another. Only that of a
 * digest, which is all in this process; what was fed to a key is not given out again. */
#include "enter.h"
#include "operation.h"
#include "output.h"

static bw_result check_saveable(const struct bw_session *session)
{
    size_t active = 0;

    for (size_t kind = 0; kind < BW_OPERATION_KINDS; kind++)
        active += session->operations[kind] != NULL;
    BW_CHECK(active > 0, BW_OPERATION_MISSING, "no operation is active");
    BW_CHECK(active == 1 && session->operations[BW_OPERATION_DIGEST] != NULL, BW_STATE_UNSAVEABLE, "only a digest can be saved");
    return bw_success();
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *operation_state, CK_ULONG *operation_state_len)
{
    struct bw_entry e;
    struct bw_out   out = { operation_state, operation_state_len };
    bw_result r = bw_enter(&e, BW_FN_C_GetOperationState, session);

    if (bw_ok(r))
        r = bw_out_check(out);
    if (bw_ok(r))
        r = check_saveable(e.session);
    if (bw_ok(r))
        r = bw_out_write(out, bw_hash_state(e.session->operations[BW_OPERATION_DIGEST]->hash));
    return bw_leave(&e, r);
}

/* Whatever was active in the session is over. */
static bw_result resume(struct bw_session *session, bw_bytes state)
{
    BW_AUTO(hash) hash = NULL;
    struct bw_operation *operation;

    BW_TRY(bw_hash_load(state, &hash));
    for (size_t kind = 0; kind < BW_OPERATION_KINDS; kind++)
        bw_session_end(session, (enum bw_operation_kind)kind);
    BW_TRY(bw_operation_new(session, BW_OPERATION_DIGEST, &operation));
    operation->stage = BW_STAGE_PART;
    operation->hash  = bw_take(&hash);
    return bw_success();
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *operation_state, CK_ULONG operation_state_len, CK_OBJECT_HANDLE encryption_key,
                          CK_OBJECT_HANDLE authentication_key)
{
    struct bw_entry e;
    bw_bytes  state;
    bw_result r = bw_enter(&e, BW_FN_C_SetOperationState, session);

    if (bw_ok(r))
        r = bw_input(operation_state, operation_state_len, &state);
    if (bw_ok(r) && (encryption_key != CK_INVALID_HANDLE || authentication_key != CK_INVALID_HANDLE))
        r = bw_fail(BW_KEY_NOT_NEEDED, "a digest has no key");
    if (bw_ok(r))
        r = resume(e.session, state);
    return bw_leave(&e, r);
}
