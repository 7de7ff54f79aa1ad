/* protobuf-c messages in arenas, and errors as gRPC carries them.
 *
 * An error travels as grpc-status, grpc-message and grpc-status-details-bin: a google.rpc.Status with an ErrorInfo
 * (reason: the code's name, domain: "bailiwick", metadata: home_region, proposal, expired_at), a BadRequest when a field is at fault, and a
 * RequestInfo with the request id in hexadecimal. */
#ifndef BW_PROTO_WIRE_H
#define BW_PROTO_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "bailiwick/names.h"
#include "client.h"
#include "method.h"

/* An allocator that takes from the arena; its free does nothing. Lives in the arena. NULL: out of memory. */
ProtobufCAllocator *bw_wire_allocator(struct bw_arena *arena);

/* BW_BAD_ARGUMENT: not such a message; BW_TOO_LARGE: the arena's ceiling. */
bw_result bw_wire_unpack(const ProtobufCMessageDescriptor *descriptor, bw_bytes bytes, struct bw_arena *arena, ProtobufCMessage **ret_message);
/* protobuf-c ends text at its first NUL, so that what was read is not what was sent. Of bytes that bw_wire_unpack took: the
 * path of the first such field ("key.name"), in the arena; NULL: there is none. */
const char *bw_wire_cut_text(const ProtobufCMessageDescriptor *descriptor, bw_bytes bytes, struct bw_arena *arena);
bw_result bw_wire_pack(const ProtobufCMessage *message, struct bw_arena *arena, bw_bytes *ret_bytes);

static inline bw_bytes           bw_wire_bytes(ProtobufCBinaryData data) { return (bw_bytes){ data.data, data.len }; }
static inline ProtobufCBinaryData bw_wire_data(bw_bytes bytes) { return (ProtobufCBinaryData){ bytes.len, (uint8_t *)(uintptr_t)bytes.data }; }

/* A refusal as bytes of grpc-status-details-bin (not yet base64). */
struct bw_refusal_parts {
    bw_result   result;
    const char *home_region; /* or NULL */
    const char *proposal;    /* or NULL */
    const char *expired_at;  /* or NULL */
    bw_bytes    request_id;  /* or empty */
};
bw_result bw_wire_pack_refusal(const struct bw_refusal_parts *parts, struct bw_arena *arena, bw_bytes *ret_details);

/* And back. Never fails: what cannot be read leaves its part of *ret_refusal empty. */
void bw_wire_unpack_refusal(bw_bytes details, struct bw_refusal *ret_refusal);

/* The same from a BatchError: what one operation of a Batch was refused with. */
void bw_wire_unpack_batch_error(bw_bytes error, struct bw_refusal *ret_refusal);

/* The result that stands for a refusal, or for a bare gRPC status from something that is not ours. */
bw_result bw_wire_result(const struct bw_refusal *refusal);

/* Packs, calls, unpacks. *ret_reply lives in the arena and is of method->reply. */
bw_result bw_call(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request,
                  struct bw_arena *arena, ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal);

/* The same, with a deadline that counts from then on: one for all that a caller asks in a row. On bw_now_ms's clock. */
bw_result bw_call_since(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request, int64_t began_ms,
                        struct bw_arena *arena, ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal);

#endif
