/* PKCS#11 v3.0, 5.12: digests, which are taken in this process. */
#include "enter.h"
#include "object.h"
#include "operation.h"
#include "output.h"

static bw_result end_hash(struct bw_operation *operation, bw_bytes last, struct bw_out out)
{
    uint8_t digest[BW_HASH_MAX];

    BW_TRY(bw_out_room(out, bw_hash_len(operation->hash)));
    BW_TRY(bw_hash_add(operation->hash, last));
    BW_TRY(bw_hash_end(operation->hash, digest));
    return bw_out_write(out, bw_bytes_of(digest, bw_hash_len(operation->hash)));
}

static bw_result end(struct bw_session *session, enum bw_move move, const CK_BYTE *data, CK_ULONG len, struct bw_out out)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_DIGEST];
    bw_bytes last;

    BW_TRY(bw_operation_may(operation, move));
    BW_TRY(bw_out_check(out));
    BW_TRY(bw_input(data, len, &last));
    if (bw_out_is_query(out)) {
        bw_out_tell(out, bw_hash_len(operation->hash));
        return bw_success();
    }
    return bw_operation_settle(session, BW_OPERATION_DIGEST, move, end_hash(operation, last, out));
}

CK_RV C_Digest(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *digest, CK_ULONG *digest_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_Digest, session);

    if (bw_ok(r))
        r = end(e.session, BW_MOVE_ONCE, data, data_len, (struct bw_out){ digest, digest_len });
    return bw_leave(&e, r);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
    struct bw_entry e;
    bw_bytes  input;
    bw_result r = bw_enter(&e, BW_FN_C_DigestUpdate, session);

    if (bw_ok(r))
        r = bw_input(part, part_len, &input);
    if (bw_ok(r))
        r = bw_operation_update(e.session, BW_OPERATION_DIGEST, input);
    return bw_leave(&e, r);
}

/* A key's value can be hashed where it can be read. */
static bw_result digest_key(struct bw_session *session, CK_OBJECT_HANDLE handle)
{
    BW_AUTO(object) key = NULL;

    BW_TRY(bw_objects_key(session, handle, &key));
    struct bw_secret *value = key->attributes.hidden;
    BW_CHECK(value != NULL, BW_KEY_INDIGESTIBLE, "the key's value is not here");
    return bw_operation_update(session, BW_OPERATION_DIGEST, bw_bytes_of(bw_secret_reveal(value), bw_secret_len(value)));
}

CK_RV C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DigestKey, session);

    if (bw_ok(r))
        r = digest_key(e.session, key);
    return bw_leave(&e, r);
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE *digest, CK_ULONG *digest_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DigestFinal, session);

    if (bw_ok(r))
        r = end(e.session, BW_MOVE_FINAL, NULL, 0, (struct bw_out){ digest, digest_len });
    return bw_leave(&e, r);
}
