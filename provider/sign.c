#include "sign.h"

#include <string.h>

#include "bailiwick/limits.h"
#include "local.h"
#include "object.h"
#include "slot.h"
#include "spki.h"

/* A DigestInfo is the longest of what a hash travels as. */
enum { PAYLOAD_MAX = BW_SIGNATURE_MAX }; /* a number as long as the longest modulus */

static bool has_public_key(const struct bw_operation *operation)
{
    return bw_attributes_ulong(&operation->key->attributes, CKA_CLASS) == CKO_PUBLIC_KEY;
}

/* ---- lengths ---- */

static size_t mac_len(CK_MECHANISM_TYPE type)
{
    switch (type) {
    case CKM_SHA_1_HMAC:  return 20;
    case CKM_SHA224_HMAC: return 28;
    case CKM_SHA256_HMAC: return 32;
    case CKM_SHA384_HMAC: return 48;
    case CKM_SHA512_HMAC: return 64;
    default:              return BW_AES_BLOCK; /* CKM_AES_CMAC */
    }
}

/* Always exactly this long. */
static size_t signature_len(const struct bw_operation *operation)
{
    const struct bw_attributes    *a   = &operation->key->attributes;
    const struct bw_mechanism_row *row = operation->parameters.mechanism.row;

    switch (row->key_type) {
    case CKK_RSA:        return bw_attributes_bytes(a, CKA_MODULUS).len;
    case CKK_EC:
    case CKK_EC_EDWARDS: return 2 * bw_spki_curve_len(bw_attributes_bytes(a, CKA_EC_PARAMS));
    default:             return mac_len(row->type);
    }
}

/* What fits under the padding: RFC 8017, 9.2 and 9.1.1. */
static bw_result check_payload(const struct bw_operation *operation, const struct bw_mechanism *travels, bw_bytes payload)
{
    const struct bw_digest_row *hash = bw_digest_row(travels->hash);
    size_t modulus = signature_len(operation);
    bool   fits    = payload.len <= BW_DATA_MAX;

    if (travels->row->type == CKM_RSA_PKCS)
        fits = payload.len + 11 <= modulus;
    else if (travels->row->type == CKM_RSA_X_509)
        fits = payload.len <= modulus;
    else if (travels->row->type == CKM_RSA_PKCS_PSS)
        fits = hash != NULL && payload.len == hash->len;
    BW_CHECK(fits, BW_DATA_LENGTH, "the data's length does not suit the mechanism");
    return bw_success();
}

/* ---- what travels ---- */

static bw_result hash_payload(struct bw_operation *operation, const struct bw_mechanism *travels, bw_bytes data, uint8_t *room,
                              bw_bytes *ret_payload)
{
    const struct bw_digest_row *row = bw_digest_row(operation->parameters.mechanism.row->digest);
    size_t prefix = travels->row->type == CKM_RSA_PKCS ? row->der_prefix.len : 0;

    BW_TRY(bw_hash_add(operation->hash, data));
    if (prefix > 0)
        memcpy(room, row->der_prefix.data, prefix);
    BW_TRY(bw_hash_end(operation->hash, room + prefix));
    *ret_payload = bw_bytes_of(room, prefix + row->len);
    return bw_success();
}

/* A number as long as the modulus: zeros go before it (PKCS#11 v3.0, Current Mechanisms 2.1.7). */
static bw_bytes number_of(bw_bytes data, size_t len, uint8_t room[static PAYLOAD_MAX])
{
    memset(room, 0, len - data.len);
    if (data.len > 0)
        memcpy(room + len - data.len, data.data, data.len);
    return bw_bytes_of(room, len);
}

/* The whole of the data is here; room is for what is made of it. */
static bw_result payload_of(struct bw_operation *operation, const struct bw_mechanism *travels, bw_bytes data,
                            uint8_t room[static PAYLOAD_MAX], bw_bytes *ret_payload)
{
    *ret_payload = data;
    if (operation->hash != NULL)
        BW_TRY(hash_payload(operation, travels, data, room, ret_payload));
    BW_TRY(check_payload(operation, travels, *ret_payload));
    if (travels->row->type == CKM_RSA_X_509)
        *ret_payload = number_of(*ret_payload, signature_len(operation), room);
    return bw_success();
}

/* ---- sign ---- */

static bw_result sign_to(struct bw_session *session, struct bw_operation *operation, bw_bytes data, struct bw_arena *arena,
                         bw_bytes *ret_signature)
{
    struct bw_mechanism travels = bw_operation_travels(operation);
    uint8_t  room[PAYLOAD_MAX];
    bw_bytes payload;

    BW_TRY(payload_of(operation, &travels, data, room, &payload));
    bw_result r = bw_rpc_sign(&session->slot->remote, arena, &operation->key->key, &travels, payload, ret_signature);
    BW_TRY(bw_objects_heed(session->slot->objects, r));
    BW_CHECK(ret_signature->len == signature_len(operation), BW_PROTOCOL_BROKEN, "a signature of another length");
    return bw_success();
}

static bw_result sign(struct bw_session *session, struct bw_operation *operation, bw_bytes data, struct bw_out out)
{
    struct bw_arena arena = { 0 };
    bw_bytes signature;

    BW_TRY(bw_out_room(out, signature_len(operation)));
    bw_result r = sign_to(session, operation, data, &arena, &signature);
    if (bw_ok(r))
        r = bw_out_write(out, signature);
    bw_arena_clear(&arena);
    return r;
}

/* A query changes nothing. */
static bw_result sign_by(struct bw_session *session, enum bw_operation_kind kind, enum bw_move move, bw_bytes data,
                         struct bw_out out)
{
    struct bw_operation *operation = session->operations[kind];

    BW_TRY(bw_out_check(out));
    if (bw_out_is_query(out)) {
        bw_out_tell(out, signature_len(operation));
        return bw_success();
    }
    return bw_operation_settle(session, kind, move, sign(session, operation, data, out));
}

bw_result bw_sign_once(struct bw_session *session, enum bw_operation_kind kind, bw_bytes data, struct bw_out out)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_ONCE));
    return sign_by(session, kind, BW_MOVE_ONCE, data, out);
}

bw_result bw_sign_final(struct bw_session *session, struct bw_out out)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_SIGN];

    BW_TRY(bw_operation_may(operation, BW_MOVE_FINAL));
    return sign_by(session, BW_OPERATION_SIGN, BW_MOVE_FINAL, bw_buf_bytes(&operation->input), out);
}

/* ---- verify ---- */

static bw_result verify(struct bw_session *session, struct bw_operation *operation, bw_bytes data, bw_bytes signature)
{
    struct bw_mechanism travels = bw_operation_travels(operation);
    uint8_t  room[PAYLOAD_MAX];
    bw_bytes payload;

    BW_CHECK(signature.len == signature_len(operation), BW_SIGNATURE_LENGTH, "a signature of another length");
    BW_TRY(payload_of(operation, &travels, data, room, &payload));
    bw_bytes spki = bw_attributes_bytes(&operation->key->attributes, CKA_PUBLIC_KEY_INFO);
    if (has_public_key(operation))
        return bw_local_verify(session->slot->local, spki, &travels, payload, signature);
    struct bw_arena arena = { 0 };
    bw_result r = bw_rpc_verify(&session->slot->remote, &arena, &operation->key->key, &travels, payload, signature);
    bw_arena_clear(&arena);
    return bw_objects_heed(session->slot->objects, r);
}

static bw_result verify_by(struct bw_session *session, enum bw_operation_kind kind, enum bw_move move, bw_bytes data,
                           bw_bytes signature)
{
    return bw_operation_settle(session, kind, move, verify(session, session->operations[kind], data, signature));
}

bw_result bw_verify_once(struct bw_session *session, bw_bytes data, bw_bytes signature)
{
    BW_TRY(bw_operation_may(session->operations[BW_OPERATION_VERIFY], BW_MOVE_ONCE));
    return verify_by(session, BW_OPERATION_VERIFY, BW_MOVE_ONCE, data, signature);
}

bw_result bw_verify_final(struct bw_session *session, bw_bytes signature)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_VERIFY];

    BW_TRY(bw_operation_may(operation, BW_MOVE_FINAL));
    return verify_by(session, BW_OPERATION_VERIFY, BW_MOVE_FINAL, bw_buf_bytes(&operation->input), signature);
}

static bw_result recover(struct bw_session *session, struct bw_operation *operation, bw_bytes signature, struct bw_out out)
{
    struct bw_buf data = { 0 };
    bw_bytes      spki = bw_attributes_bytes(&operation->key->attributes, CKA_PUBLIC_KEY_INFO);
    bw_result     r    = bw_local_recover(session->slot->local, spki, &operation->parameters.mechanism, signature, &data);

    if (bw_ok(r))
        r = bw_out_write(out, bw_buf_bytes(&data));
    bw_buf_clear(&data);
    return r;
}

bw_result bw_verify_recover(struct bw_session *session, bw_bytes signature, struct bw_out out)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_VERIFY_RECOVER];

    BW_TRY(bw_operation_may(operation, BW_MOVE_ONCE));
    BW_TRY(bw_out_check(out));
    bw_result r = recover(session, operation, signature, out);
    return bw_out_is_query(out) && bw_ok(r) ? r : bw_operation_settle(session, BW_OPERATION_VERIFY_RECOVER, BW_MOVE_ONCE, r);
}

/* ---- message by message ---- */

/* Every message has its own hash. */
static bw_result start_message(struct bw_operation *operation)
{
    enum bw_digest digest = operation->parameters.mechanism.row->digest;

    bw_hash_free(operation->hash);
    operation->hash = NULL;
    return digest == BW_DIGEST_NONE ? bw_success() : bw_hash_new(digest, &operation->hash);
}

bw_result bw_sign_message(struct bw_session *session, bw_bytes data, struct bw_out out)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_MESSAGE_SIGN];

    BW_TRY(bw_operation_may(operation, BW_MOVE_MESSAGE));
    BW_TRY(start_message(operation));
    return sign_by(session, BW_OPERATION_MESSAGE_SIGN, BW_MOVE_MESSAGE, data, out);
}

bw_result bw_sign_message_begin(struct bw_session *session, enum bw_operation_kind kind)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE_BEGIN));
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE_BEGIN, start_message(session->operations[kind]));
}

static bw_result message_goes_on(struct bw_session *session, enum bw_operation_kind kind, bw_bytes part)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE_NEXT));
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE_NEXT, bw_operation_feed(session->operations[kind], part));
}

/* Where there is no hash, the last part joins the others; where there is, it is hashed with them. */
static bw_result last_part(struct bw_operation *operation, bw_bytes part, bw_bytes *ret_data)
{
    *ret_data = part;
    if (operation->hash != NULL)
        return bw_success();
    BW_TRY(bw_operation_feed(operation, part));
    *ret_data = bw_buf_bytes(&operation->input);
    return bw_success();
}

bw_result bw_sign_message_next(struct bw_session *session, bw_bytes part, struct bw_out out)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_MESSAGE_SIGN];
    bw_bytes data = part;

    if (out.len == NULL)
        return message_goes_on(session, BW_OPERATION_MESSAGE_SIGN, part);
    BW_TRY(bw_operation_may(operation, BW_MOVE_MESSAGE_LAST));
    if (!bw_out_is_query(out)) {
        BW_TRY(bw_out_room(out, signature_len(operation)));
        BW_TRY(last_part(operation, part, &data));
    }
    return sign_by(session, BW_OPERATION_MESSAGE_SIGN, BW_MOVE_MESSAGE_LAST, data, out);
}

bw_result bw_verify_message(struct bw_session *session, bw_bytes data, bw_bytes signature)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_MESSAGE_VERIFY];

    BW_TRY(bw_operation_may(operation, BW_MOVE_MESSAGE));
    BW_TRY(start_message(operation));
    return verify_by(session, BW_OPERATION_MESSAGE_VERIFY, BW_MOVE_MESSAGE, data, signature);
}

bw_result bw_verify_message_next(struct bw_session *session, bw_bytes part, const bw_bytes *signature)
{
    struct bw_operation *operation = session->operations[BW_OPERATION_MESSAGE_VERIFY];
    bw_bytes data;

    if (signature == NULL)
        return message_goes_on(session, BW_OPERATION_MESSAGE_VERIFY, part);
    BW_TRY(bw_operation_may(operation, BW_MOVE_MESSAGE_LAST));
    BW_TRY(last_part(operation, part, &data));
    return verify_by(session, BW_OPERATION_MESSAGE_VERIFY, BW_MOVE_MESSAGE_LAST, data, *signature);
}

bw_result bw_sign_message_final(struct bw_session *session, enum bw_operation_kind kind)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE_FINAL));
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE_FINAL, bw_success());
}
