#include "crypt.h"

#include <string.h>

#include "bailiwick/limits.h"
#include "local.h"
#include "object.h"
#include "slot.h"

enum { ENVELOPE_OVERHEAD = 256 }; /* header, nonce and tag, with room: PROTOCOL.md, "Envelope" */

/* What an operation is asked to do with some bytes. */
struct task {
    struct bw_session   *session;
    struct bw_operation *operation;
    bool                 encrypts;
    struct bw_mechanism  mechanism;
    bw_bytes             input;
};

static bool does_encrypt(enum bw_operation_kind kind)
{
    return kind == BW_OPERATION_ENCRYPT || kind == BW_OPERATION_MESSAGE_ENCRYPT;
}

static struct task task_of(struct bw_session *session, enum bw_operation_kind kind, bw_bytes input)
{
    struct bw_operation *operation = session->operations[kind];

    return (struct task){ session, operation, does_encrypt(kind), bw_operation_travels(operation), input };
}

static bool is_envelope(const struct task *t)
{
    return t->mechanism.row == &bw_envelope_row;
}

static bool has_public_key(const struct task *t)
{
    return bw_attributes_ulong(&t->operation->key->attributes, CKA_CLASS) == CKO_PUBLIC_KEY;
}

static size_t modulus_len(const struct task *t)
{
    return bw_attributes_bytes(&t->operation->key->attributes, CKA_MODULUS).len;
}

static size_t padded(size_t len)
{
    return (len / BW_AES_BLOCK + 1) * BW_AES_BLOCK;
}

/* ---- lengths ---- */

/* How long the output can get, without asking the region. */
static size_t output_most(const struct task *t)
{
    size_t len = t->input.len, tag = t->mechanism.tag_bits / 8;

    if (is_envelope(t))
        return t->encrypts ? len + ENVELOPE_OVERHEAD : len;
    if (t->mechanism.row->key_type == CKK_RSA)
        return modulus_len(t);
    switch (t->mechanism.row->type) {
    case CKM_AES_GCM:     return t->encrypts ? len + tag : len > tag ? len - tag : 0;
    case CKM_AES_CBC_PAD: return t->encrypts ? padded(len) : len;
    default:              return len;
    }
}

/* Whether it is always that long, so that a short buffer can be refused before the region is asked. */
static bool output_is_exact(const struct task *t)
{
    if (is_envelope(t))
        return false;
    return t->encrypts || (t->mechanism.row->key_type != CKK_RSA && t->mechanism.row->type != CKM_AES_CBC_PAD);
}

static bool length_fits(const struct task *t)
{
    size_t len = t->input.len;
    bool   whole = len % BW_AES_BLOCK == 0;

    if (len > BW_DATA_MAX)
        return false;
    if (is_envelope(t) || (t->encrypts && t->mechanism.row->key_type == CKK_RSA))
        return true;
    if (t->mechanism.row->key_type == CKK_RSA)
        return len == modulus_len(t);
    switch (t->mechanism.row->type) {
    case CKM_AES_GCM:     return t->encrypts || len >= t->mechanism.tag_bits / 8;
    case CKM_AES_CBC_PAD: return t->encrypts || (whole && len > 0);
    case CKM_AES_CBC:
    case CKM_AES_ECB:     return whole;
    default:              return true;
    }
}

static bw_result check_length(const struct task *t)
{
    bool fits = length_fits(t);

    BW_CHECK(fits || !t->encrypts, BW_DATA_LENGTH, "the data's length does not suit the mechanism");
    BW_CHECK(fits || t->encrypts, BW_CIPHERTEXT_LENGTH, "the ciphertext's length does not suit the mechanism");
    return bw_success();
}

/* ---- doing it ---- */

static bw_result encrypt_here(const struct task *t, struct bw_arena *arena, bw_bytes *ret_output)
{
    struct bw_buf buf  = { 0 };
    bw_bytes      spki = bw_attributes_bytes(&t->operation->key->attributes, CKA_PUBLIC_KEY_INFO);
    bw_result     r    = bw_local_encrypt(t->session->slot->local, spki, &t->mechanism, t->input, &buf);

    *ret_output = bw_bytes_of(bw_arena_copy(arena, bw_buf_bytes(&buf)), buf.len);
    bw_buf_clear(&buf);
    BW_TRY(r);
    BW_CHECK(ret_output->data != NULL, BW_NO_MEMORY, "ciphertext");
    return bw_success();
}

static bw_result ask_for_envelope(const struct task *t, struct bw_arena *arena, bw_bytes *ret_output)
{
    const struct bw_remote     *remote = &t->session->slot->remote;
    const struct bw_parameters *p      = &t->operation->parameters;
    const struct bw_key_ref    *key    = &t->operation->key->key;

    if (t->encrypts)
        return bw_rpc_envelope_wrap(remote, arena, key, p->context, p->context_count, t->input, ret_output);
    return bw_rpc_envelope_unwrap(remote, arena, key, p->context, p->context_count, t->input, ret_output);
}

/* ret_iv  empty unless the HSM drew it */
static bw_result ask_region(const struct task *t, struct bw_arena *arena, bw_bytes *ret_output, bw_bytes *ret_iv)
{
    const struct bw_remote *remote = &t->session->slot->remote;

    *ret_iv = (bw_bytes){ NULL, 0 };
    if (is_envelope(t))
        return ask_for_envelope(t, arena, ret_output);
    if (t->encrypts)
        return bw_rpc_encrypt(remote, arena, &t->operation->key->key, &t->mechanism, t->input, ret_output, ret_iv);
    return bw_rpc_decrypt(remote, arena, &t->operation->key->key, &t->mechanism, t->input, ret_output);
}

static bw_result give_iv_back(bw_bytes drawn, CK_BYTE *iv_back)
{
    if (iv_back == NULL)
        return bw_success();
    BW_CHECK(drawn.len == BW_GCM_IV_LEN, BW_PROTOCOL_BROKEN, "the drawn IV's length");
    memcpy(iv_back, drawn.data, drawn.len);
    return bw_success();
}

static bw_result transform(const struct task *t, struct bw_arena *arena, CK_BYTE *iv_back, bw_bytes *ret_output)
{
    bw_bytes iv;

    if (has_public_key(t))
        return encrypt_here(t, arena, ret_output);
    BW_TRY(bw_objects_heed(t->session->slot->objects, ask_region(t, arena, ret_output, &iv)));
    BW_CHECK(ret_output->len <= output_most(t), BW_PROTOCOL_BROKEN, "more output than there can be");
    BW_CHECK(ret_output->len == output_most(t) || !output_is_exact(t), BW_PROTOCOL_BROKEN, "less output than there must be");
    return give_iv_back(iv, iv_back);
}

/* ---- at once, and the end of what came in parts ---- */

static bw_result tell_length(const struct task *t, struct bw_out out)
{
    bw_result answered;

    if (!bw_operation_answer(t->operation, t->input, out, &answered)) {
        bw_out_tell(out, output_most(t));
        return bw_success();
    }
    return answered;
}

static bw_result run(const struct task *t, enum bw_move move, struct bw_out out)
{
    struct bw_arena arena = { 0 };
    bw_bytes  output;
    bw_result r;

    if (bw_operation_answer(t->operation, t->input, out, &r))
        return r;
    BW_TRY(check_length(t));
    if (output_is_exact(t))
        BW_TRY(bw_out_room(out, output_most(t)));
    r = transform(t, &arena, t->operation->parameters.iv_back, &output);
    if (bw_ok(r))
        r = bw_operation_deliver(t->operation, move, t->input, output, out);
    bw_arena_clear(&arena);
    return r;
}

bw_result bw_crypt_once(struct bw_session *session, enum bw_operation_kind kind, bw_bytes input, struct bw_out out)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_ONCE));
    BW_TRY(bw_out_check(out));
    struct task t = task_of(session, kind, input);
    if (bw_out_is_query(out))
        return tell_length(&t, out);
    return bw_operation_settle(session, kind, BW_MOVE_ONCE, run(&t, BW_MOVE_ONCE, out));
}

/* ---- in parts ---- */

static bool goes_by_blocks(const struct task *t)
{
    CK_MECHANISM_TYPE type = t->mechanism.row->type;
    return type == CKM_AES_CBC || type == CKM_AES_CBC_PAD || type == CKM_AES_CTR || type == CKM_AES_ECB;
}

/* How much of what is there can go now. The last block of padded ciphertext waits for the end, for it has the padding. */
static size_t ready(const struct task *t, size_t len)
{
    size_t kept = t->mechanism.row->type == CKM_AES_CBC_PAD && !t->encrypts && len > 0 ? 1 : 0;
    return (len - kept) / BW_AES_BLOCK * BW_AES_BLOCK;
}

/* The counter block after so many blocks. BW_DATA_LENGTH: the counter would repeat (PKCS#11 v3.0, Current Mechanisms 2.12). */
static bw_result count_on(uint8_t block[static BW_AES_BLOCK], unsigned counter_bits, size_t blocks)
{
    uint64_t carry = blocks;

    for (unsigned i = 0, bits = counter_bits; bits > 0; i++, bits -= bits < 8 ? bits : 8) {
        uint8_t *byte = &block[BW_AES_BLOCK - 1 - i];
        uint8_t  mask = (uint8_t)(bits < 8 ? (1u << bits) - 1 : 0xff);
        uint64_t sum  = (*byte & mask) + carry;

        *byte = (uint8_t)((*byte & ~mask) | (sum & mask));
        carry = sum >> (bits < 8 ? bits : 8);
    }
    BW_CHECK(carry == 0, BW_DATA_LENGTH, "the counter would repeat");
    return bw_success();
}

/* From now on the chain is the IV. */
static bw_result chain_on(const struct task *t, bw_bytes output)
{
    struct bw_operation *operation  = t->operation;
    struct bw_mechanism *mechanism  = &operation->parameters.mechanism;
    bw_bytes             ciphertext = t->encrypts ? output : t->input;

    if (mechanism->row->type == CKM_AES_ECB)
        return bw_success();
    if (mechanism->row->type != CKM_AES_CTR)
        memcpy(operation->chain, ciphertext.data + ciphertext.len - BW_AES_BLOCK, BW_AES_BLOCK);
    else if (mechanism->iv.data != operation->chain)
        memcpy(operation->chain, mechanism->iv.data, BW_AES_BLOCK);
    mechanism->iv = bw_bytes_of(operation->chain, BW_AES_BLOCK);
    if (mechanism->row->type == CKM_AES_CTR)
        return count_on(operation->chain, mechanism->counter_bits, t->input.len / BW_AES_BLOCK);
    return bw_success();
}

static void drop_front(struct bw_buf *buf, size_t len)
{
    memmove(buf->data, buf->data + len, buf->len - len);
    bw_wipe(buf->data + buf->len - len, len);
    buf->len -= len;
}

static bw_result run_blocks(struct task *t, struct bw_out out)
{
    struct bw_arena arena = { 0 };
    bw_bytes output;

    if (t->mechanism.row->type == CKM_AES_CBC_PAD)
        t->mechanism.row = bw_mechanism_row(CKM_AES_CBC); /* the padding is the end's business */
    bw_result r = transform(t, &arena, NULL, &output);
    if (bw_ok(r))
        r = bw_out_write(out, output);
    if (bw_ok(r))
        r = chain_on(t, output);
    bw_arena_clear(&arena);
    return r;
}

static bw_result update_blocks(struct task *t, bw_bytes part, struct bw_out out)
{
    struct bw_buf *input = &t->operation->input;
    size_t len = ready(t, input->len + part.len);

    BW_TRY(bw_out_room(out, len));
    BW_TRY(bw_operation_feed(t->operation, part));
    if (len == 0)
        return bw_out_write(out, (bw_bytes){ NULL, 0 });
    t->input = (bw_bytes){ input->data, len };
    BW_TRY(run_blocks(t, out));
    drop_front(input, len);
    return bw_success();
}

static bw_result update_collects(struct task *t, bw_bytes part, struct bw_out out)
{
    BW_TRY(bw_operation_feed(t->operation, part));
    return bw_out_write(out, (bw_bytes){ NULL, 0 });
}

/* Never answers zero: a caller who then hands in no buffer would only be asking again, and its part would be lost. */
static bw_result tell_part_length(const struct task *t, bw_bytes part, struct bw_out out)
{
    size_t len = goes_by_blocks(t) ? ready(t, t->operation->input.len + part.len) : 0;

    bw_out_tell(out, len > 0 ? len : BW_AES_BLOCK);
    return bw_success();
}

bw_result bw_crypt_update(struct bw_session *session, enum bw_operation_kind kind, bw_bytes part, struct bw_out out)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_UPDATE));
    BW_TRY(bw_out_check(out));
    struct task t = task_of(session, kind, part);
    if (bw_out_is_query(out))
        return tell_part_length(&t, part, out);
    bw_result r = goes_by_blocks(&t) ? update_blocks(&t, part, out) : update_collects(&t, part, out);
    return bw_operation_settle(session, kind, BW_MOVE_UPDATE, r);
}

bw_result bw_crypt_final(struct bw_session *session, enum bw_operation_kind kind, struct bw_out out)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_FINAL));
    BW_TRY(bw_out_check(out));
    struct task t = task_of(session, kind, bw_buf_bytes(&session->operations[kind]->input));
    if (bw_out_is_query(out))
        return tell_length(&t, out);
    bool nothing_left = goes_by_blocks(&t) && t.input.len == 0 && t.mechanism.row->type != CKM_AES_CBC_PAD;
    bw_result r = nothing_left ? bw_out_write(out, t.input) : run(&t, BW_MOVE_FINAL, out);
    return bw_operation_settle(session, kind, BW_MOVE_FINAL, r);
}

/* ---- message by message ---- */

static bw_result message_task(struct task *t, const struct bw_message *message, bw_bytes iv, bw_bytes aad)
{
    t->mechanism.iv       = iv;
    t->mechanism.aad      = aad;
    t->mechanism.tag_bits = message->tag_bits;
    return bw_mechanism_check(&t->mechanism);
}

/* Ciphertext and tag, which our own callers keep apart, together as AES-GCM has them everywhere else. */
static bw_result join_tag(struct task *t, const struct bw_message *message, struct bw_arena *arena)
{
    size_t   tag_len = message->tag_bits / 8;
    uint8_t *joined  = bw_arena_alloc(arena, t->input.len + tag_len);

    BW_CHECK(joined != NULL, BW_NO_MEMORY, "message");
    if (t->input.len > 0)
        memcpy(joined, t->input.data, t->input.len);
    memcpy(joined + t->input.len, message->tag, tag_len);
    t->input = bw_bytes_of(joined, t->input.len + tag_len);
    return bw_success();
}

static bw_result run_message(struct task *t, const struct bw_message *message, struct bw_out out)
{
    struct bw_arena arena = { 0 };
    bw_bytes  output;
    size_t    tag_len = message->tag_bits / 8;
    bw_result r = bw_out_room(out, t->input.len);

    if (bw_ok(r) && !t->encrypts)
        r = join_tag(t, message, &arena);
    if (bw_ok(r))
        r = check_length(t);
    if (bw_ok(r))
        r = transform(t, &arena, message->iv_back, &output);
    if (bw_ok(r) && t->encrypts) {
        output.len -= tag_len;
        memcpy(message->tag, output.data + output.len, tag_len);
    }
    if (bw_ok(r))
        r = bw_out_write(out, output);
    bw_arena_clear(&arena);
    return r;
}

static bw_result message_once(struct task *t, const struct bw_message_in *in, struct bw_out out)
{
    struct bw_message message;

    BW_TRY(bw_message_parse(in->parameter, in->parameter_len, t->encrypts, &message));
    BW_TRY(message_task(t, &message, message.iv, in->aad));
    return run_message(t, &message, out);
}

bw_result bw_crypt_message(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                           bw_bytes input, struct bw_out out)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE));
    BW_TRY(bw_out_check(out));
    struct task t = task_of(session, kind, input);
    if (bw_out_is_query(out)) {
        bw_out_tell(out, input.len);
        return bw_success();
    }
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE, message_once(&t, in, out));
}

static bw_result begin_message(struct bw_operation *operation, bool encrypts, const struct bw_message_in *in)
{
    struct bw_message message;

    BW_TRY(bw_message_parse(in->parameter, in->parameter_len, encrypts, &message));
    BW_CHECK(in->aad.len <= BW_AAD_MAX, BW_MECHANISM_PARAM, "more additional data than we take");
    BW_TRY(bw_buf_add(&operation->message_iv, message.iv));
    BW_TRY(bw_buf_add(&operation->message_aad, in->aad));
    operation->message_iv_back = message.iv_back;
    return bw_success();
}

bw_result bw_crypt_message_begin(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE_BEGIN));
    bw_result r = begin_message(session->operations[kind], does_encrypt(kind), in);
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE_BEGIN, r);
}

/* The last part's parameter says where the tag is; IV and additional data are those that the message began with. */
static bw_result end_message(struct task *t, const struct bw_message_in *in, bw_bytes part, struct bw_out out)
{
    struct bw_operation *operation = t->operation;
    struct bw_message    message;

    BW_TRY(bw_message_parse(in->parameter, in->parameter_len, t->encrypts, &message));
    BW_TRY(bw_out_room(out, operation->input.len + part.len));
    BW_TRY(bw_operation_feed(operation, part));
    message.iv_back = operation->message_iv_back;
    t->input        = bw_buf_bytes(&operation->input);
    BW_TRY(message_task(t, &message, bw_buf_bytes(&operation->message_iv), bw_buf_bytes(&operation->message_aad)));
    return run_message(t, &message, out);
}

bw_result bw_crypt_message_next(struct bw_session *session, enum bw_operation_kind kind, const struct bw_message_in *in,
                                bw_bytes part, struct bw_out out, bool is_last)
{
    enum bw_move move = is_last ? BW_MOVE_MESSAGE_LAST : BW_MOVE_MESSAGE_NEXT;

    BW_TRY(bw_operation_may(session->operations[kind], move));
    BW_TRY(bw_out_check(out));
    struct task t = task_of(session, kind, part);
    if (bw_out_is_query(out)) {
        bw_out_tell(out, t.operation->input.len + part.len);
        return bw_success();
    }
    bw_result r = is_last ? end_message(&t, in, part, out) : update_collects(&t, part, out);
    return bw_operation_settle(session, kind, move, r);
}

bw_result bw_crypt_message_final(struct bw_session *session, enum bw_operation_kind kind)
{
    BW_TRY(bw_operation_may(session->operations[kind], BW_MOVE_MESSAGE_FINAL));
    return bw_operation_settle(session, kind, BW_MOVE_MESSAGE_FINAL, bw_success());
}
