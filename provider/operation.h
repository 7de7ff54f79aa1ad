/* An active operation as data: what was asked for at C_xxxInit, what was fed since, and which move is legal next.
 *
 * A C_ function asks whether its move is legal, does its work, and settles the move with the result: success leads to the
 * table's next stage, BW_BUFFER_SMALL leaves all as it is, any other failure ends the operation (PKCS#11 v3.0, 5.2), or
 * only the message where it goes message by message.
 * What is inside belongs to the session, which is locked. */
#ifndef BW_PROVIDER_OPERATION_H
#define BW_PROVIDER_OPERATION_H

#include "bailiwick/limits.h"
#include "bailiwick/secret.h"
#include "hash.h"
#include "output.h"
#include "parameters.h"
#include "session.h"

struct bw_object;

enum bw_stage {
    BW_STAGE_NEW,        /* nothing was fed */
    BW_STAGE_PART,       /* some was, by C_xxxUpdate */
    BW_STAGE_HELD_ONCE,  /* the result of a single-part call waits for a larger buffer */
    BW_STAGE_HELD_FINAL, /* likewise of C_xxxFinal */
    BW_STAGE_MESSAGE,    /* between C_xxxMessageBegin and the message's last part */
    BW_STAGES,
    BW_STAGE_END = BW_STAGES /* the operation is over */
};

enum bw_move {
    BW_MOVE_ONCE,          /* C_Encrypt, C_Sign ... */
    BW_MOVE_UPDATE,
    BW_MOVE_FINAL,
    BW_MOVE_MESSAGE,       /* C_EncryptMessage ... */
    BW_MOVE_MESSAGE_BEGIN,
    BW_MOVE_MESSAGE_NEXT,
    BW_MOVE_MESSAGE_LAST,  /* C_xxxMessageNext with the message's end */
    BW_MOVE_MESSAGE_FINAL, /* C_MessageEncryptFinal ... */
    BW_MOVES
};

enum { BW_HELD_MS = 60 * 1000 }; /* how long a result waits for a larger buffer */

struct bw_operation {
    enum bw_operation_kind kind;
    enum bw_stage          stage;
    struct bw_arena        arena;       /* the parameters' copies, and what was found */
    struct bw_parameters   parameters;
    struct bw_object      *key;         /* counted; NULL for finding and digests */

    struct bw_buf          input;       /* fed and not yet used, at most BW_DATA_MAX; wiped */
    struct bw_hash        *hash;        /* instead of input, where a digest of it is enough */

    struct bw_secret      *held;        /* the result that did not fit */
    int64_t                held_until;  /* bw_now_us */

    uint8_t                chain[BW_AES_BLOCK]; /* in parts: the next part's IV or counter block, once there was one */

    struct bw_buf          message_iv;  /* of the message in progress, BW_STAGE_MESSAGE; empty: the HSM draws it */
    struct bw_buf          message_aad;
    CK_BYTE               *message_iv_back; /* the application's */

    const CK_OBJECT_HANDLE *found;      /* BW_OPERATION_FIND: in the arena */
    size_t                  found_count;
    size_t                  found_next;
};

/* Puts a new operation of that kind into its place in the session. *ret_operation is the session's.
 * Fails with BW_OPERATION_ACTIVE: one is there; BW_NO_MEMORY. */
bw_result bw_operation_new(struct bw_session *session, enum bw_operation_kind kind, struct bw_operation **ret_operation);

/* Takes NULL. Wipes. */
void bw_operation_free(struct bw_operation *operation);

/* C_xxxInit for everything that has a mechanism: cancels when mechanism is NULL (PKCS#11 v3.0, 5.8 and following), else puts an
 * operation into the session, its parameters copied, its key counted and found fit for it. No RPC.
 * key  CK_INVALID_HANDLE for a digest
 * Fails with BW_OPERATION_ACTIVE, BW_MECHANISM_INVALID, BW_MECHANISM_PARAM, BW_KEY_HANDLE, BW_KEY_TYPE, BW_NOT_PERMITTED. */
bw_result bw_operation_init(struct bw_session *session, enum bw_operation_kind kind, const CK_MECHANISM *mechanism,
                            CK_OBJECT_HANDLE key);

/* Fails with  BW_OPERATION_MISSING  none of that kind is active, or no message is;  BW_OPERATION_ACTIVE  another move is due. */
bw_result bw_operation_may(const struct bw_operation *operation, enum bw_move move);

/* See above. Returns result. */
bw_result bw_operation_settle(struct bw_session *session, enum bw_operation_kind kind, enum bw_move move, bw_result result);

/* C_xxxUpdate of what gives nothing out before its end: digests, signatures, MACs. */
bw_result bw_operation_update(struct bw_session *session, enum bw_operation_kind kind, bw_bytes part);

/* Appends to the input. BW_TOO_LARGE: past BW_DATA_MAX. */
bw_result bw_operation_feed(struct bw_operation *operation, bw_bytes part);

/* Writes a result whose length was not known before. When it does not fit it is held, for BW_HELD_MS, until the caller comes again
 * with the same input and more room, and BW_BUFFER_SMALL is returned. */
bw_result bw_operation_deliver(struct bw_operation *operation, enum bw_move move, bw_bytes input, bw_bytes result,
                               struct bw_out out);

/* Answers from what is held, if that was made of this very input and is not too old. False: nothing is; it has to be made (again). */
bool bw_operation_answer(struct bw_operation *operation, bw_bytes input, struct bw_out out, bw_result *ret_result);

/* What travels: the mechanism that the region, or bw_local, is asked for once hashing is done. */
struct bw_mechanism bw_operation_travels(const struct bw_operation *operation);

#endif
