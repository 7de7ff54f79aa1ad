/* One RPC with messages instead of bytes. */
#include <assert.h>
#include <string.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "endpoint.h"
#include "wire.h"

/* Whether the request carries an id of its own: its first field, in all but Batch. */
static bool is_named(const ProtobufCMessage *request)
{
    const ProtobufCFieldDescriptor *first = &request->descriptor->fields[0];

    if (request->descriptor->n_fields == 0 || strcmp(first->name, "request_id") != 0)
        return false;
    const ProtobufCBinaryData *id = (const void *)((const char *)request + first->offset);
    return id->len == BW_REQUEST_ID_LEN;
}

static bool fits_in_batch(const struct bw_method *method)
{
    return protobuf_c_message_descriptor_get_field(&bailiwick__v1__batch_operation__descriptor, method->number) != NULL;
}

/* Small operations that use a key share a message with others of the same cost: what is slower would keep them waiting. */
static bool may_share(const struct bw_method *method, const ProtobufCMessage *request, size_t len, enum bw_cost *ret_cost)
{
    enum { SHARED_MAX = 8 * 1024 };
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(method->request, "mechanism");

    if (method->effect != BW_EFFECT_USES || method->cost == BW_METHOD_SLOW || !fits_in_batch(method) || len > SHARED_MAX || !is_named(request))
        return false;
    *ret_cost = BW_COST_FAST;
    if (method->cost == BW_METHOD_FAST)
        return true;
    const Bailiwick__V1__Mechanism *mechanism = *(Bailiwick__V1__Mechanism *const *)(const void *)((const char *)request + field->offset);
    const struct bw_mechanism_row *row = mechanism ? bw_mechanism_row(mechanism->type) : NULL;
    if (row == NULL || (row->uses & BW_USE_GENERATE_PAIR) != 0) /* an RSA key may take seconds to make */
        return false;
    *ret_cost = row->cost;
    return true;
}

bw_result bw_call_since(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request, int64_t began_ms,
                        struct bw_arena *arena, ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal)
{
    int64_t deadline_ms = began_ms + bw_client_patience_ms(client);
    bw_bytes packed, reply;
    enum bw_cost cost;

    assert(request->descriptor == method->request);
    BW_TRY(bw_wire_pack(request, arena, &packed));
    /* By its id the server knows a repetition; what reads leaves no trace when it is asked twice. */
    bool retry = method->effect == BW_EFFECT_READS || is_named(request);
    if (may_share(method, request, packed.len, &cost))
        BW_TRY(bw_client_call_shared(client, method->number, cost, packed, deadline_ms, arena, &reply, ret_refusal));
    else
        BW_TRY(bw_client_call_until(client, method->path, packed, retry, deadline_ms, arena, &reply, ret_refusal));

    bw_result unpacked = bw_wire_unpack(method->reply, reply, arena, ret_reply);
    BW_CHECK(unpacked.code != BW_BAD_ARGUMENT, BW_PROTOCOL_BROKEN, "the reply is not a message of its type");
    return unpacked;
}

bw_result bw_call(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request,
                  struct bw_arena *arena, ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal)
{
    return bw_call_since(client, method, request, bw_now_ms(), arena, ret_reply, ret_refusal);
}
