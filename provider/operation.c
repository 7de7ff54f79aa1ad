#include "operation.h"

#include <stdlib.h>
#include <string.h>

#include "bailiwick/limits.h"
#include "object.h"
#include "slot.h"
#include "trace.h"

/* ---- legal moves ---- */

enum { ACTIVE = BW_STAGES + 1, MISSING = BW_STAGES + 2 }; /* refusals, beside the stages that a move leads to */

static const uint8_t moves[BW_STAGES][BW_MOVES] = {
#define NEW   BW_STAGE_NEW
#define PART  BW_STAGE_PART
#define MSG   BW_STAGE_MESSAGE
#define END   BW_STAGE_END
    /*                        ONCE    UPDATE  FINAL   MESSAGE BEGIN   NEXT     LAST     MESSAGE_FINAL */
    [BW_STAGE_NEW]        = { END,    PART,   END,    NEW,    MSG,    MISSING, MISSING, END },
    [BW_STAGE_PART]       = { ACTIVE, PART,   END,    ACTIVE, ACTIVE, ACTIVE,  ACTIVE,  ACTIVE },
    [BW_STAGE_HELD_ONCE]  = { END,    ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE,  ACTIVE,  ACTIVE },
    [BW_STAGE_HELD_FINAL] = { ACTIVE, ACTIVE, END,    ACTIVE, ACTIVE, ACTIVE,  ACTIVE,  ACTIVE },
    [BW_STAGE_MESSAGE]    = { ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE, MSG,     NEW,     END },
#undef NEW
#undef PART
#undef MSG
#undef END
};

bw_result bw_operation_may(const struct bw_operation *operation, enum bw_move move)
{
    BW_CHECK(operation != NULL, BW_OPERATION_MISSING, "C_xxxInit was not called");
    uint8_t next = moves[operation->stage][move];
    BW_CHECK(next != MISSING, BW_OPERATION_MISSING, "no message was begun");
    BW_CHECK(next != ACTIVE, BW_OPERATION_ACTIVE, "the operation waits for another call");
    return bw_success();
}

/* ---- life ---- */

void bw_operation_free(struct bw_operation *operation)
{
    if (operation == NULL)
        return;
    bw_object_unref(operation->key);
    bw_hash_free(operation->hash);
    bw_secret_free(operation->held);
    bw_buf_clear(&operation->input);
    bw_buf_clear(&operation->message_iv);
    bw_buf_clear(&operation->message_aad);
    bw_arena_clear(&operation->arena);
    free(operation);
}

bw_result bw_operation_new(struct bw_session *session, enum bw_operation_kind kind, struct bw_operation **ret_operation)
{
    BW_CHECK(session->operations[kind] == NULL, BW_OPERATION_ACTIVE, "an operation of this kind is active");
    struct bw_operation *operation = calloc(1, sizeof *operation);
    BW_CHECK(operation != NULL, BW_NO_MEMORY, "operation");
    operation->kind          = kind;
    operation->input.ceiling = BW_DATA_MAX;
    session->operations[kind] = operation;
    *ret_operation = operation;
    return bw_success();
}

/* What a kind asks of its mechanism, and of its key. */
static const struct kind_row {
    unsigned          use;
    CK_ATTRIBUTE_TYPE allowed;    /* the key must have it true */
    bool              recovers;   /* RSA without a hash only */
    bool              by_message;
} kinds[BW_OPERATION_KINDS] = {
    [BW_OPERATION_ENCRYPT]         = { BW_USE_ENCRYPT, CKA_ENCRYPT,        false, false },
    [BW_OPERATION_DECRYPT]         = { BW_USE_DECRYPT, CKA_DECRYPT,        false, false },
    [BW_OPERATION_DIGEST]          = { BW_USE_DIGEST,  0,                  false, false },
    [BW_OPERATION_SIGN]            = { BW_USE_SIGN,    CKA_SIGN,           false, false },
    [BW_OPERATION_VERIFY]          = { BW_USE_VERIFY,  CKA_VERIFY,         false, false },
    [BW_OPERATION_SIGN_RECOVER]    = { BW_USE_SIGN,    CKA_SIGN_RECOVER,   true,  false },
    [BW_OPERATION_VERIFY_RECOVER]  = { BW_USE_VERIFY,  CKA_VERIFY_RECOVER, true,  false },
    [BW_OPERATION_MESSAGE_ENCRYPT] = { BW_USE_ENCRYPT, CKA_ENCRYPT,        false, true },
    [BW_OPERATION_MESSAGE_DECRYPT] = { BW_USE_DECRYPT, CKA_DECRYPT,        false, true },
    [BW_OPERATION_MESSAGE_SIGN]    = { BW_USE_SIGN,    CKA_SIGN,           false, true },
    [BW_OPERATION_MESSAGE_VERIFY]  = { BW_USE_VERIFY,  CKA_VERIFY,         false, true },
};

/* In an envelope the key wraps rather than encrypts. */
static CK_ATTRIBUTE_TYPE allowed_by(const struct kind_row *kind, const struct bw_mechanism_row *mechanism)
{
    if (mechanism != &bw_envelope_row)
        return kind->allowed;
    return kind->use == BW_USE_ENCRYPT ? CKA_WRAP : CKA_UNWRAP;
}

/* CKA_ALLOWED_MECHANISMS, PKCS#11 v3.0, 4.7.2: empty is any. */
static bool mechanism_allowed(const struct bw_attributes *key, CK_MECHANISM_TYPE type)
{
    bw_bytes allowed = bw_attributes_bytes(key, CKA_ALLOWED_MECHANISMS);

    for (size_t at = 0; at < allowed.len; at += sizeof type)
        if (bw_ulong_at(allowed.data + at) == type)
            return true;
    return allowed.len == 0;
}

/* A session's own public key, or a generic secret, may have any size; the region's keys have those of their specs. */
static bool size_fits(const struct bw_attributes *key, const struct bw_mechanism_row *mechanism)
{
    CK_ULONG bits = 8 * (mechanism->key_type == CKK_RSA ? bw_attributes_bytes(key, CKA_MODULUS).len : bw_attributes_ulong(key, CKA_VALUE_LEN));
    bool     told = mechanism->key_type == CKK_RSA || mechanism->key_type == CKK_AES;

    return !told || (bits >= mechanism->least_bits && bits <= mechanism->most_bits);
}

static bw_result take_key(struct bw_session *session, struct bw_operation *operation, const struct kind_row *kind,
                          CK_OBJECT_HANDLE handle)
{
    const struct bw_mechanism_row *mechanism = operation->parameters.mechanism.row;

    if (mechanism->key_type == CKK_NONE)
        return bw_success();
    BW_TRY(bw_objects_key(session, handle, &operation->key));
    const struct bw_attributes *key = &operation->key->attributes;
    BW_CHECK(bw_attributes_ulong(key, CKA_KEY_TYPE) == mechanism->key_type, BW_KEY_TYPE, "the mechanism takes another type of key");
    BW_CHECK(size_fits(key, mechanism), BW_KEY_SIZE, "the mechanism takes keys of another size");
    BW_CHECK(bw_attributes_bool(key, allowed_by(kind, mechanism)), BW_NOT_PERMITTED, "the key is not for this");
    bool allowed = mechanism == &bw_envelope_row || mechanism_allowed(key, mechanism->type);
    BW_CHECK(allowed, BW_MECHANISM_INVALID, "not among the key's mechanisms");
    return bw_success();
}

/* With messages, parameters come with each message, so the mechanism's own may be left out (PKCS#11 v3.0, 5.10.1). */
static bw_result take_mechanism(struct bw_operation *operation, const struct kind_row *kind, const CK_MECHANISM *mechanism)
{
    const struct bw_mechanism_row *row;

    if (kind->by_message && (kind->use & (BW_USE_ENCRYPT | BW_USE_DECRYPT)) != 0)
        return bw_parameters_parse_messages(mechanism, kind->use, &operation->parameters);
    BW_TRY(bw_parameters_parse(mechanism, kind->use, &operation->arena, &operation->parameters));
    row = operation->parameters.mechanism.row;
    BW_CHECK(!kind->recovers || row->type == CKM_RSA_PKCS || row->type == CKM_RSA_X_509, BW_MECHANISM_INVALID, "no data is recovered from this");
    return bw_success();
}

static bw_result set_up(struct bw_session *session, struct bw_operation *operation, const CK_MECHANISM *mechanism,
                        CK_OBJECT_HANDLE key)
{
    const struct kind_row *kind = &kinds[operation->kind];

    BW_TRY(take_mechanism(operation, kind, mechanism));
    const struct bw_mechanism_row *row = operation->parameters.mechanism.row;
    BW_CHECK(row == &bw_envelope_row || bw_slot_offers(session->slot, row->type), BW_MECHANISM_INVALID, "the region's HSM does not offer it");
    BW_TRY(take_key(session, operation, kind, key));
    if (row->digest != BW_DIGEST_NONE)
        BW_TRY(bw_hash_new(row->digest, &operation->hash));
    return bw_success();
}

bw_result bw_operation_init(struct bw_session *session, enum bw_operation_kind kind, const CK_MECHANISM *mechanism,
                            CK_OBJECT_HANDLE key)
{
    struct bw_operation *operation;

    if (mechanism == NULL) {
        bw_session_end(session, kind);
        return bw_success();
    }
    BW_TRY(bw_operation_new(session, kind, &operation));
    bw_result r = set_up(session, operation, mechanism, key);
    if (!bw_ok(r))
        bw_session_end(session, kind);
    return r;
}

/* A message is over, and nothing of it stays. */
static void forget_message(struct bw_operation *operation)
{
    bw_buf_clear(&operation->input);
    bw_buf_clear(&operation->message_iv);
    bw_buf_clear(&operation->message_aad);
    operation->message_iv_back = NULL;
}

bw_result bw_operation_settle(struct bw_session *session, enum bw_operation_kind kind, enum bw_move move, bw_result result)
{
    struct bw_operation *operation = session->operations[kind];

    if (operation == NULL || result.code == BW_BUFFER_SMALL)
        return result;
    uint8_t next = bw_ok(result) ? moves[operation->stage][move] : kinds[kind].by_message ? BW_STAGE_NEW : BW_STAGE_END;
    if (next == BW_STAGE_END) {
        bw_session_end(session, kind);
        return result;
    }
    operation->stage = (enum bw_stage)next;
    if (operation->stage == BW_STAGE_NEW)
        forget_message(operation);
    return result;
}

/* ---- input and output ---- */

bw_result bw_operation_feed(struct bw_operation *operation, bw_bytes part)
{
    if (operation->hash != NULL)
        return bw_hash_add(operation->hash, part);
    return bw_buf_add(&operation->input, part);
}

bw_result bw_operation_update(struct bw_session *session, enum bw_operation_kind kind, bw_bytes part)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_UPDATE));
    return bw_operation_settle(session, kind, BW_MOVE_UPDATE, bw_operation_feed(session->operations[kind], part));
}

static void forget_held(struct bw_operation *operation)
{
    bw_secret_free(operation->held);
    operation->held = NULL;
}

/* The input stays beside the result, to tell whether the caller comes back with the same. */
static bw_result hold(struct bw_operation *operation, enum bw_move move, bw_bytes input, bw_bytes result)
{
    forget_held(operation);
    if (move == BW_MOVE_ONCE) {
        bw_buf_clear(&operation->input);
        BW_TRY(bw_buf_add(&operation->input, input));
    }
    BW_TRY(bw_secret_copy(result, &operation->held));
    operation->held_until = bw_now_us() + BW_HELD_MS * 1000;
    operation->stage      = move == BW_MOVE_ONCE ? BW_STAGE_HELD_ONCE : BW_STAGE_HELD_FINAL;
    return bw_success();
}

bw_result bw_operation_deliver(struct bw_operation *operation, enum bw_move move, bw_bytes input, bw_bytes result,
                               struct bw_out out)
{
    bw_result written = bw_out_write(out, result);

    if (written.code == BW_BUFFER_SMALL)
        BW_TRY(hold(operation, move, input, result));
    return written;
}

bool bw_operation_answer(struct bw_operation *operation, bw_bytes input, struct bw_out out, bw_result *ret_result)
{
    if (operation->held == NULL)
        return false;
    if (bw_now_us() > operation->held_until || !bw_bytes_equal(bw_buf_bytes(&operation->input), input)) {
        forget_held(operation);
        return false;
    }
    *ret_result = bw_out_write(out, bw_bytes_of(bw_secret_reveal(operation->held), bw_secret_len(operation->held)));
    return true;
}

struct bw_mechanism bw_operation_travels(const struct bw_operation *operation)
{
    struct bw_mechanism mechanism = operation->parameters.mechanism;
    const struct bw_mechanism_row *travels = bw_mechanism_row(mechanism.row->travels_as);

    if (travels != NULL)
        mechanism.row = travels;
    return mechanism;
}
