/* Refusals: google.rpc.Status with its details, and the result that stands for one. */
#include "wire.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/status.pb-c.h"

static char DOMAIN[]      = "bailiwick";
static char HOME_REGION[] = "home_region"; /* the keys in ErrorInfo's metadata */
static char PROPOSAL[]    = "proposal";

enum { GRPC_UNKNOWN = 2 };         /* gRPC doc/statuscodes.md */
enum { DETAILS_ROOM = 64 * 1024 }; /* bytes of arena to read a refusal in; ours take less than 1 KiB */

static char type_prefix[] = "type.googleapis.com/";

/* results.def: 100 and up never leave the process that met them */
static bool travels(enum bw_code code)
{
    return (int)code < 100;
}

/* ---- packing ---- */

static bw_result pack_detail(const ProtobufCMessage *detail, struct bw_arena *arena, Google__Protobuf__Any **ret_any)
{
    Google__Protobuf__Any *any = bw_arena_alloc(arena, sizeof *any);
    bw_bytes value;

    BW_CHECK(any != NULL, BW_NO_MEMORY, "refusal");
    BW_TRY(bw_wire_pack(detail, arena, &value));
    google__protobuf__any__init(any);
    any->type_url = bw_arena_text(arena, "%s%s", type_prefix, detail->descriptor->name);
    any->value    = bw_wire_data(value);
    BW_CHECK(any->type_url != NULL, BW_NO_MEMORY, "refusal");

    *ret_any = any;
    return bw_success();
}

/* protobuf-c's structs are not const though packing only reads them */
static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static bw_result pack_error_info(const struct bw_code_row *row, const struct bw_refusal_parts *parts, struct bw_arena *arena, Google__Protobuf__Any **ret_any)
{
    const struct { char *key; const char *value; } pairs[] = { { HOME_REGION, parts->home_region }, { PROPOSAL, parts->proposal } };
    Google__Rpc__ErrorInfo__MetadataEntry entries[ARRAY_LEN(pairs)], *given[ARRAY_LEN(pairs)];
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    info.reason   = unconst(row->name);
    info.domain   = DOMAIN;
    info.metadata = given;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (pairs[i].value == NULL)
            continue;
        google__rpc__error_info__metadata_entry__init(&entries[i]);
        entries[i].key   = pairs[i].key;
        entries[i].value = unconst(pairs[i].value);
        given[info.n_metadata++] = &entries[i];
    }
    return pack_detail(&info.base, arena, ret_any);
}

/* What exactly was wrong is said of the caller's own mistakes alone: of other refusals it could tell, for example,
 * a key of another tenant from one that never was. */
static bw_result pack_bad_request(const struct bw_code_row *row, bw_result result, struct bw_arena *arena, Google__Protobuf__Any **ret_any)
{
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Rpc__BadRequest__FieldViolation violation = GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT, *violations[] = { &violation };
    bool callers_mistake = row->grpc == bw_code_row(BW_BAD_ARGUMENT)->grpc;

    violation.field        = unconst(result.field);
    violation.description  = unconst(callers_mistake ? result.what : row->told);
    bad.field_violations   = violations;
    bad.n_field_violations = 1;
    return pack_detail(&bad.base, arena, ret_any);
}

static bw_result pack_request_info(bw_bytes request_id, struct bw_arena *arena, Google__Protobuf__Any **ret_any)
{
    Google__Rpc__RequestInfo info = GOOGLE__RPC__REQUEST_INFO__INIT;

    info.request_id = bw_arena_alloc(arena, 2 * request_id.len + 1);
    BW_CHECK(info.request_id != NULL, BW_NO_MEMORY, "refusal");
    bw_hex(request_id, info.request_id);
    return pack_detail(&info.base, arena, ret_any);
}

bw_result bw_wire_pack_refusal(const struct bw_refusal_parts *parts, struct bw_arena *arena, bw_bytes *ret_details)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any *details[3];

    assert(!bw_ok(parts->result));
    const struct bw_code_row *row = bw_code_row(travels(parts->result.code) ? parts->result.code : BW_INTERNAL);
    status.code    = row->grpc;
    status.message = unconst(row->told);
    status.details = details;
    BW_TRY(pack_error_info(row, parts, arena, &details[status.n_details++]));
    if (parts->result.field != NULL)
        BW_TRY(pack_bad_request(row, parts->result, arena, &details[status.n_details++]));
    if (parts->request_id.len > 0)
        BW_TRY(pack_request_info(parts->request_id, arena, &details[status.n_details++]));
    return bw_wire_pack(&status.base, arena, ret_details);
}

/* ---- reading ---- */

/* Cut to the room there is; what would move a terminal's cursor or colour it becomes '?'. */
static void copy_text(char *to, size_t room, const char *from)
{
    size_t len = strnlen(from, room - 1);

    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)from[i] < ' ' || from[i] == 0x7f ? '?' : from[i];
    to[len] = '\0';
}

/* false: the detail is of another type, or damaged. */
static bool open_detail(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *descriptor, struct bw_arena *arena, ProtobufCMessage **ret_detail)
{
    size_t prefix = strlen(type_prefix);

    return strncmp(any->type_url, type_prefix, prefix) == 0 && strcmp(any->type_url + prefix, descriptor->name) == 0 &&
           bw_ok(bw_wire_unpack(descriptor, bw_wire_bytes(any->value), arena, ret_detail));
}

static void read_metadata(const Google__Rpc__ErrorInfo__MetadataEntry *entry, struct bw_refusal *refusal)
{
    uint8_t id[BW_PROPOSAL_ID_LEN];
    bw_region home;

    if (strcmp(entry->key, HOME_REGION) == 0 && bw_ok(bw_region_parse(bw_bytes_text(entry->value), &home)))
        memcpy(refusal->home_region, home.text, sizeof refusal->home_region);
    if (strcmp(entry->key, PROPOSAL) == 0 && strlen(entry->value) == 2 * sizeof id && bw_unhex(entry->value, 2 * sizeof id, id))
        bw_hex(bw_bytes_of(id, sizeof id), refusal->proposal);
}

static void read_error_info(const Google__Rpc__ErrorInfo *info, struct bw_refusal *refusal)
{
    if (strcmp(info->domain, DOMAIN) != 0)
        return;
    copy_text(refusal->reason, sizeof refusal->reason, info->reason);
    for (size_t i = 0; i < info->n_metadata; i++)
        read_metadata(info->metadata[i], refusal);
}

static void read_bad_request(const Google__Rpc__BadRequest *bad, struct bw_refusal *refusal)
{
    if (bad->n_field_violations == 0)
        return;
    copy_text(refusal->field, sizeof refusal->field, bad->field_violations[0]->field);
    copy_text(refusal->message, sizeof refusal->message, bad->field_violations[0]->description);
}

static void read_status(const Google__Rpc__Status *status, struct bw_arena *arena, struct bw_refusal *refusal)
{
    ProtobufCMessage *detail;

    refusal->grpc_status = status->code;
    copy_text(refusal->message, sizeof refusal->message, status->message);
    for (size_t i = 0; i < status->n_details; i++) {
        if (open_detail(status->details[i], &google__rpc__error_info__descriptor, arena, &detail))
            read_error_info((const Google__Rpc__ErrorInfo *)detail, refusal);
        else if (open_detail(status->details[i], &google__rpc__bad_request__descriptor, arena, &detail))
            read_bad_request((const Google__Rpc__BadRequest *)detail, refusal);
    }
}

void bw_wire_unpack_refusal(bw_bytes details, struct bw_refusal *ret_refusal)
{
    struct bw_arena arena = { .ceiling = DETAILS_ROOM };
    ProtobufCMessage *status;

    *ret_refusal = (struct bw_refusal){ 0 };
    if (bw_ok(bw_wire_unpack(&google__rpc__status__descriptor, details, &arena, &status)))
        read_status((const Google__Rpc__Status *)status, &arena, ret_refusal);
    bw_arena_clear(&arena);
}

void bw_wire_unpack_batch_error(bw_bytes bytes, struct bw_refusal *ret_refusal)
{
    struct bw_arena arena = { .ceiling = DETAILS_ROOM };
    ProtobufCMessage *message;
    bw_region home;

    *ret_refusal = (struct bw_refusal){ .grpc_status = GRPC_UNKNOWN };
    if (bw_ok(bw_wire_unpack(&bailiwick__v1__batch_error__descriptor, bytes, &arena, &message))) {
        const Bailiwick__V1__BatchError *error = (const void *)message;
        copy_text(ret_refusal->reason, sizeof ret_refusal->reason, error->reason);
        copy_text(ret_refusal->field, sizeof ret_refusal->field, error->field);
        copy_text(ret_refusal->message, sizeof ret_refusal->message, error->message);
        if (bw_ok(bw_region_parse(bw_bytes_text(error->home_region), &home)))
            memcpy(ret_refusal->home_region, home.text, sizeof ret_refusal->home_region);
        ret_refusal->grpc_status = bw_code_row(bw_code_by_name(ret_refusal->reason))->grpc;
    }
    bw_arena_clear(&arena);
}

/* ---- as a result ---- */

/* gRPC statuses without a reason of ours: they come from the gRPC library at the other end, not from the service. */
static const enum bw_code bare_statuses[] = {
    [0]  = BW_PROTOCOL_BROKEN, /* OK is no refusal */
    [1]  = BW_SHUTTING_DOWN,   /* CANCELLED: so the C core answers while it drains */
    [2]  = BW_INTERNAL,        /* UNKNOWN */
    [3]  = BW_BAD_ARGUMENT,
    [4]  = BW_DEADLINE,
    [5]  = BW_NO_SUCH_OBJECT,
    [6]  = BW_ALREADY_EXISTS,
    [7]  = BW_NOT_PERMITTED,
    [8]  = BW_OVERLOADED,      /* RESOURCE_EXHAUSTED */
    [9]  = BW_KEY_STATE,       /* FAILED_PRECONDITION */
    [10] = BW_CONFLICT,        /* ABORTED */
    [11] = BW_BAD_ARGUMENT,    /* OUT_OF_RANGE */
    [12] = BW_UNIMPLEMENTED,
    [13] = BW_INTERNAL,
    [14] = BW_UNREACHABLE,     /* UNAVAILABLE */
    [15] = BW_INTERNAL,        /* DATA_LOSS */
    [16] = BW_UNAUTHENTICATED,
};

static enum bw_code code_of(const struct bw_refusal *refusal)
{
    const struct bw_code_row *row = bw_code_row(bw_code_by_name(refusal->reason));
    size_t status = (size_t)refusal->grpc_status;

    /* BW_OK and codes of our own side are nothing that a server may say; an unknown reason is a newer server's. */
    if (strcmp(row->name, refusal->reason) == 0 && row->code != BW_OK && travels(row->code))
        return row->code;
    return status < ARRAY_LEN(bare_statuses) ? bare_statuses[status] : BW_PROTOCOL_BROKEN;
}

bw_result bw_wire_result(const struct bw_refusal *refusal)
{
    const struct bw_code_row *row = bw_code_row(code_of(refusal));

    return (bw_result){ .code = row->code, .what = row->told, .where = __FILE__ ":" BW_STRING(__LINE__) };
}
