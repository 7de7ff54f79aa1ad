#include "wire.h"

#include <assert.h>
#include <string.h>

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

static uint64_t read_varint(struct bw_reader *reader)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && !reader->failed; shift += 7) {
        uint64_t byte = bw_read_be(reader, 1);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

/* A field's bytes, where its type has a length; else empty. */
static bw_bytes read_field(struct bw_reader *reader, unsigned wire_type)
{
    static const struct { bool varint, has_len; size_t skip; } types[8] = {
        [0] = { .varint = true }, [1] = { .skip = 8 }, [2] = { .varint = true, .has_len = true }, [5] = { .skip = 4 },
    };
    uint64_t value = types[wire_type].varint ? read_varint(reader) : 0;

    (void)bw_read_bytes(reader, types[wire_type].skip);
    return types[wire_type].has_len ? bw_read_bytes(reader, value) : (bw_bytes){ 0 };
}

static const char *cut_field(const ProtobufCFieldDescriptor *field, bw_bytes value, struct bw_arena *arena)
{
    if (field->type == PROTOBUF_C_TYPE_STRING && value.len > 0 && memchr(value.data, 0, value.len) != NULL)
        return field->name;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return NULL;
    const char *inner = bw_wire_cut_text(field->descriptor, value, arena);
    const char *path  = inner ? bw_arena_text(arena, "%s.%s", field->name, inner) : NULL;
    return inner && !path ? field->name : path;
}

/* Not deeper than the schema: what it does not know is skipped. */
const char *bw_wire_cut_text(const ProtobufCMessageDescriptor *descriptor, bw_bytes bytes, struct bw_arena *arena)
{
    struct bw_reader reader = { .rest = bytes };
    const char *path = NULL;

    while (path == NULL && reader.rest.len > 0 && !reader.failed) {
        uint64_t tag = read_varint(&reader);
        bw_bytes value = read_field(&reader, tag & 7);
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
        path = field ? cut_field(field, value, arena) : NULL;
    }
    return path;
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
