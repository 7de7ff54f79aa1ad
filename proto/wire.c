#include "wire.h"

#include <assert.h>

/* ---- protobuf-c's memory ---- */

/* base is first, so that the allocator handed out is the struct itself */
struct arena_allocator {
    ProtobufCAllocator base;
    struct bw_arena   *arena;
    bool               refused; /* the arena gave nothing at least once */
};

static void *allocate(void *data, size_t size)
{
    struct arena_allocator *allocator = data;
    void *memory = bw_arena_alloc(allocator->arena, size);

    if (memory == NULL)
        allocator->refused = true;
    return memory;
}

/* The arena frees, and wipes, all at once. */
static void keep(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

static struct arena_allocator *new_allocator(struct bw_arena *arena)
{
    struct arena_allocator *allocator = bw_arena_alloc(arena, sizeof *allocator);

    if (allocator != NULL)
        *allocator = (struct arena_allocator){ .base = { .alloc = allocate, .free = keep, .allocator_data = allocator }, .arena = arena };
    return allocator;
}

ProtobufCAllocator *bw_wire_allocator(struct bw_arena *arena)
{
    struct arena_allocator *allocator = new_allocator(arena);
    return allocator ? &allocator->base : NULL;
}

/* ---- messages ---- */

bw_result bw_wire_unpack(const ProtobufCMessageDescriptor *descriptor, bw_bytes bytes, struct bw_arena *arena, ProtobufCMessage **ret_message)
{
    struct arena_allocator *allocator = new_allocator(arena);

    BW_CHECK(allocator != NULL, BW_TOO_LARGE, "message larger than its arena");
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator->base, bytes.len, bytes.data);
    BW_CHECK(!allocator->refused, BW_TOO_LARGE, "message larger than its arena");
    BW_CHECK(message != NULL, BW_BAD_ARGUMENT, "not a message of this type");

    *ret_message = message;
    return bw_success();
}

bw_result bw_wire_pack(const ProtobufCMessage *message, struct bw_arena *arena, bw_bytes *ret_bytes)
{
    size_t   len   = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = bw_arena_alloc(arena, len);

    BW_CHECK(bytes != NULL, BW_TOO_LARGE, "message larger than its arena");
    size_t packed = protobuf_c_message_pack(message, bytes);
    assert(packed == len);

    *ret_bytes = bw_bytes_of(bytes, packed);
    return bw_success();
}
