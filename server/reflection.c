/* grpc.reflection.v1alpha: our protocol as descriptors, so that stock tools can call it without our files. */
#include <grpc/grpc.h>
#include <stdio.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "transport.h"
#include "wire.h"

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest  Request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse Response;
typedef Grpc__Reflection__V1alpha__ServiceResponse          Service;
typedef Google__Protobuf__FileDescriptorSet                 Files;
typedef Google__Protobuf__FileDescriptorProto               File;
typedef Google__Protobuf__DescriptorProto                   Message;

enum { ARENA_ROOM = 4 * 1024 * 1024, SERVICES_MAX = 32 };

/* The descriptor set that the build makes of all .proto files, as protoc wrote it. */
__asm__(".section .rodata\n"
        "bw_protoset_begin:\n"
        ".incbin \"" BW_PROTOSET "\"\n"
        "bw_protoset_end:\n"
        ".previous\n");
extern const uint8_t bw_protoset_begin[], bw_protoset_end[];

/* ---- finding ---- */

/* Whether full is scope.name, scope may be empty; or, for whole false, lies inside it. */
static bool names(const char *full, const char *scope, const char *name, const char **ret_rest)
{
    size_t scope_len = strlen(scope), name_len = strlen(name);

    if (scope_len > 0) {
        if (strncmp(full, scope, scope_len) != 0 || full[scope_len] != '.')
            return false;
        full += scope_len + 1;
    }
    if (strncmp(full, name, name_len) != 0 || (full[name_len] != '\0' && full[name_len] != '.'))
        return false;
    *ret_rest = full[name_len] == '.' ? full + name_len + 1 : "";
    return true;
}

static bool message_has(const Message *message, const char *rest)
{
    const char *inner;

    if (*rest == '\0')
        return true;
    for (size_t i = 0; i < message->n_field; i++)
        if (strcmp(message->field[i]->name, rest) == 0)
            return true;
    for (size_t i = 0; i < message->n_enum_type; i++)
        if (strcmp(message->enum_type[i]->name, rest) == 0)
            return true;
    for (size_t i = 0; i < message->n_nested_type; i++)
        if (names(rest, "", message->nested_type[i]->name, &inner) && message_has(message->nested_type[i], inner))
            return true;
    return false;
}

static bool service_has(const Google__Protobuf__ServiceDescriptorProto *service, const char *rest)
{
    for (size_t i = 0; i < service->n_method; i++)
        if (strcmp(service->method[i]->name, rest) == 0)
            return true;
    return *rest == '\0';
}

static bool file_has(const File *file, const char *symbol)
{
    const char *scope = file->package ? file->package : "", *rest;

    for (size_t i = 0; i < file->n_service; i++)
        if (names(symbol, scope, file->service[i]->name, &rest) && service_has(file->service[i], rest))
            return true;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (names(symbol, scope, file->message_type[i]->name, &rest) && message_has(file->message_type[i], rest))
            return true;
    for (size_t i = 0; i < file->n_enum_type; i++)
        if (names(symbol, scope, file->enum_type[i]->name, &rest) && *rest == '\0')
            return true;
    return false;
}

static const File *find_file(const Files *files, const char *filename, const char *symbol)
{
    for (size_t i = 0; i < files->n_file; i++)
        if (filename ? strcmp(files->file[i]->name, filename) == 0 : file_has(files->file[i], symbol))
            return files->file[i];
    return NULL;
}

/* ---- answering ---- */

static void answer_error(struct bw_stream *stream, Response *response, grpc_status_code code, const char *text)
{
    Grpc__Reflection__V1alpha__ErrorResponse error = GRPC__REFLECTION__V1ALPHA__ERROR_RESPONSE__INIT;

    error.error_code    = (int)code;
    error.error_message = (char *)(uintptr_t)text;
    response->message_response_case = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response        = &error;
    bw_stream_send(stream, &response->base);
}

static void answer_file(struct bw_stream *stream, Response *response, const File *file, struct bw_arena *arena)
{
    Grpc__Reflection__V1alpha__FileDescriptorResponse found = GRPC__REFLECTION__V1ALPHA__FILE_DESCRIPTOR_RESPONSE__INIT;
    ProtobufCBinaryData data;
    bw_bytes bytes;

    if (file == NULL || !bw_ok(bw_wire_pack(&file->base, arena, &bytes))) {
        answer_error(stream, response, GRPC_STATUS_NOT_FOUND, "not found");
        return;
    }
    data = bw_wire_data(bytes);
    found.n_file_descriptor_proto = 1;
    found.file_descriptor_proto   = &data;
    response->message_response_case    = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &found;
    bw_stream_send(stream, &response->base);
}

static void answer_services(struct bw_stream *stream, Response *response, const Files *files, struct bw_arena *arena)
{
    Grpc__Reflection__V1alpha__ListServiceResponse list = GRPC__REFLECTION__V1ALPHA__LIST_SERVICE_RESPONSE__INIT;
    Service services[SERVICES_MAX], *all[SERVICES_MAX];

    for (size_t i = 0; i < files->n_file; i++)
        for (size_t k = 0; k < files->file[i]->n_service && list.n_service < SERVICES_MAX; k++) {
            Service *service = &services[list.n_service];
            grpc__reflection__v1alpha__service_response__init(service);
            char *name = bw_arena_text(arena, "%s.%s", files->file[i]->package, files->file[i]->service[k]->name);
            if (name != NULL)
                service->name = name;
            all[list.n_service++] = service;
        }
    list.service = all;
    response->message_response_case  = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    bw_stream_send(stream, &response->base);
}

static void answer(struct bw_stream *stream, Request *request, const Files *files, struct bw_arena *arena)
{
    Response response = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__INIT;

    response.valid_host       = request->host;
    response.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(stream, &response, find_file(files, request->file_by_filename, NULL), arena);
        break;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(stream, &response, find_file(files, NULL, request->file_containing_symbol), arena);
        break;
    case GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(stream, &response, files, arena);
        break;
    default:
        answer_error(stream, &response, GRPC_STATUS_UNIMPLEMENTED, "our protocol has no extensions");
        break;
    }
}

/* Rare, so the set is read anew for each request and nothing is kept. */
static void reflect(struct bw_stream *stream, bw_bytes bytes)
{
    bw_bytes protoset = bw_bytes_of(bw_protoset_begin, (size_t)(bw_protoset_end - bw_protoset_begin));
    struct bw_arena arena = { .ceiling = ARENA_ROOM };
    ProtobufCMessage *request, *files;

    if (!bw_ok(bw_wire_unpack(&grpc__reflection__v1alpha__server_reflection_request__descriptor, bytes, &arena, &request)))
        bw_stream_finish(stream, GRPC_STATUS_INVALID_ARGUMENT, "not a ServerReflectionRequest");
    else if (!bw_ok(bw_wire_unpack(&google__protobuf__file_descriptor_set__descriptor, protoset, &arena, &files)))
        bw_stream_finish(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    else
        answer(stream, (Request *)request, (const Files *)files, &arena);
    bw_arena_clear(&arena);
}

static void ended(struct bw_stream *stream)
{
    bw_stream_finish(stream, GRPC_STATUS_OK, NULL);
}

const struct bw_stream_kind bw_reflection = { "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", reflect, ended };
