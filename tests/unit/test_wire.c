/* The wire: messages survive the trip, damaged ones are refused, and a refusal arrives as what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "wire.h"

/* ---- messages ---- */

static char key_name[] = "bw:eu-central:acme:key/00112233445566778899aabbccddeeff";

static bw_bytes pack_decrypt(struct bw_arena *arena, bw_bytes data)
{
    Bailiwick__V1__KeyRef key = BAILIWICK__V1__KEY_REF__INIT;
    Bailiwick__V1__DecryptRequest request = BAILIWICK__V1__DECRYPT_REQUEST__INIT;
    bw_bytes bytes;

    key.name     = key_name;
    request.key  = &key;
    request.ciphertext = bw_wire_data(data);
    assert_true(bw_ok(bw_wire_pack(&request.base, arena, &bytes)));
    return bytes;
}

static void a_message_survives_the_trip(void **state)
{
    struct bw_arena arena = { 0 };
    bw_bytes data = bw_bytes_text("ciphertext");
    ProtobufCMessage *message;

    (void)state;
    bw_bytes bytes = pack_decrypt(&arena, data);
    assert_true(bw_ok(bw_wire_unpack(&bailiwick__v1__decrypt_request__descriptor, bytes, &arena, &message)));
    const Bailiwick__V1__DecryptRequest *request = (const Bailiwick__V1__DecryptRequest *)message;
    assert_string_equal(request->key->name, key_name);
    assert_true(bw_bytes_equal(bw_wire_bytes(request->ciphertext), data));
    bw_arena_clear(&arena);
}

static void a_message_cut_short_is_refused(void **state)
{
    struct bw_arena arena = { 0 };
    bw_bytes bytes = pack_decrypt(&arena, bw_bytes_text("ciphertext"));
    ProtobufCMessage *message = NULL;

    (void)state;
    bw_result r = bw_wire_unpack(&bailiwick__v1__decrypt_request__descriptor, bw_bytes_of(bytes.data, bytes.len - 1), &arena, &message);
    assert_int_equal(r.code, BW_BAD_ARGUMENT);
    assert_null(message);
    bw_arena_clear(&arena);
}

static void a_message_larger_than_its_arena_is_refused(void **state)
{
    static const uint8_t data[4096];
    struct bw_arena roomy = { 0 }, tight = { .ceiling = 1024 };
    bw_bytes bytes = pack_decrypt(&roomy, bw_bytes_of(data, sizeof data));
    ProtobufCMessage *message = NULL;

    (void)state;
    bw_result r = bw_wire_unpack(&bailiwick__v1__decrypt_request__descriptor, bytes, &tight, &message);
    assert_int_equal(r.code, BW_TOO_LARGE);
    assert_null(message);
    bw_arena_clear(&roomy);
    bw_arena_clear(&tight);
}

/* So that what was decrypted is still there to be wiped when the arena is cleared. */
static void the_allocator_frees_nothing(void **state)
{
    struct bw_arena arena = { 0 };
    ProtobufCAllocator *allocator = bw_wire_allocator(&arena);
    char *memory = allocator->alloc(allocator->allocator_data, 8);

    (void)state;
    strcpy(memory, "secret");
    allocator->free(allocator->allocator_data, memory);
    assert_string_equal(memory, "secret");
    assert_true(arena.total >= 8);
    bw_arena_clear(&arena);
}

/* ---- refusals ---- */

static const uint8_t request_id[BW_REQUEST_ID_LEN] = { 0xab };

static const struct { const char *why; bw_result result; const char *home, *proposal; const char *reason; const char *message; enum bw_code code; } trips[] = {
    { "a malformed field says what is wrong",  bw_fail_at(BW_BAD_ARGUMENT, "mechanism.iv", "not 16 bytes"), NULL, NULL,
      "BAD_ARGUMENT", "not 16 bytes", BW_BAD_ARGUMENT },
    { "a foreign envelope names its home",     bw_fail(BW_WRONG_REGION, "envelope of another region"), "ch", NULL,
      "WRONG_REGION", "this belongs to another region; only its home region can serve it", BW_WRONG_REGION },
    { "why there is no such key is not told",  bw_fail_at(BW_NO_SUCH_KEY, "key.name", "of another tenant"), NULL, NULL,
      "NO_SUCH_KEY", "there is no such key", BW_NO_SUCH_KEY },
    { "our own failure tells nothing of us",   bw_fail(BW_STORE_UNAVAILABLE, "disk full"), NULL, NULL,
      "STORE_UNAVAILABLE", "the key store cannot be read or written", BW_STORE_UNAVAILABLE },
    { "a code of one process does not travel", bw_fail(BW_SESSION_INVALID, "handle 7"), NULL, NULL,
      "INTERNAL", "the service failed; its operator's log says why", BW_INTERNAL },
    { "what waits for custodians names its proposal", bw_fail(BW_NOT_APPROVED, "one of two"), NULL, "00112233445566778899aabbccddeeff",
      "NOT_APPROVED", "this waits for the approval of more custodians", BW_NOT_APPROVED },
};

static void a_refusal_arrives_as_what_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trips); i++) {
        struct bw_refusal_parts parts = { .result = trips[i].result, .home_region = trips[i].home, .proposal = trips[i].proposal,
                                          .request_id = bw_bytes_of(request_id, sizeof request_id) };
        struct bw_arena arena = { 0 };
        struct bw_refusal refusal;
        bw_bytes details;

        print_message("%s\n", trips[i].why);
        assert_true(bw_ok(bw_wire_pack_refusal(&parts, &arena, &details)));
        bw_wire_unpack_refusal(details, &refusal);
        assert_string_equal(refusal.reason, trips[i].reason);
        assert_string_equal(refusal.message, trips[i].message);
        assert_string_equal(refusal.home_region, trips[i].home ? trips[i].home : "");
        assert_string_equal(refusal.proposal, trips[i].proposal ? trips[i].proposal : "");
        assert_string_equal(refusal.field, trips[i].result.field ? trips[i].result.field : "");
        assert_int_equal(refusal.grpc_status, bw_code_row(trips[i].code)->grpc);
        assert_int_equal(bw_wire_result(&refusal).code, trips[i].code);
        bw_arena_clear(&arena);
    }
}

static void the_request_id_travels_in_hexadecimal(void **state)
{
    struct bw_refusal_parts parts = { .result = bw_fail(BW_NO_SUCH_KEY, "x"), .request_id = bw_bytes_of(request_id, sizeof request_id) };
    struct bw_arena arena = { 0 };
    ProtobufCMessage *message;
    bw_bytes details;

    (void)state;
    assert_true(bw_ok(bw_wire_pack_refusal(&parts, &arena, &details)));
    assert_true(bw_ok(bw_wire_unpack(&google__rpc__status__descriptor, details, &arena, &message)));
    const Google__Rpc__Status *status = (const Google__Rpc__Status *)message;
    assert_int_equal(status->n_details, 2);
    assert_string_equal(status->details[1]->type_url, "type.googleapis.com/google.rpc.RequestInfo");
    assert_true(bw_ok(bw_wire_unpack(&google__rpc__request_info__descriptor, bw_wire_bytes(status->details[1]->value), &arena, &message)));
    assert_string_equal(((const Google__Rpc__RequestInfo *)message)->request_id, "ab000000000000000000000000000000");
    bw_arena_clear(&arena);
}

static void a_damaged_refusal_is_an_empty_one(void **state)
{
    struct bw_refusal refusal, none = { 0 };

    (void)state;
    bw_wire_unpack_refusal(bw_bytes_text("\xff\xff\xff"), &refusal);
    assert_memory_equal(&refusal, &none, sizeof none);
}

/* Makes the details of a server that is not ours. */
static void foreign_refusal(char *domain, char *reason, char *home, char *text, struct bw_refusal *ret_refusal)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT, *entries[] = { &entry };
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *details[] = { &any };
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    char key[] = "home_region", type[] = "type.googleapis.com/google.rpc.ErrorInfo";
    struct bw_arena arena = { 0 };
    bw_bytes bytes;

    entry.key = key, entry.value = home;
    info.domain = domain, info.reason = reason, info.metadata = entries, info.n_metadata = 1;
    assert_true(bw_ok(bw_wire_pack(&info.base, &arena, &bytes)));
    any.type_url = type, any.value = bw_wire_data(bytes);
    status.code = 7, status.message = text, status.details = details, status.n_details = 1;
    assert_true(bw_ok(bw_wire_pack(&status.base, &arena, &bytes)));
    bw_wire_unpack_refusal(bytes, ret_refusal);
    bw_arena_clear(&arena);
}

static void a_refusal_of_another_domain_has_no_reason(void **state)
{
    char domain[] = "example.org", reason[] = "NO_SUCH_KEY", home[] = "ch", text[] = "no";
    struct bw_refusal refusal;

    (void)state;
    foreign_refusal(domain, reason, home, text, &refusal);
    assert_string_equal(refusal.reason, "");
    assert_string_equal(refusal.home_region, "");
    assert_int_equal(bw_wire_result(&refusal).code, BW_NOT_PERMITTED);
}

static void what_a_server_says_cannot_drive_a_terminal(void **state)
{
    char domain[] = "bailiwick", reason[] = "NO_SUCH_KEY", home[] = "\033[2J", text[] = "\033[31mred\n";
    struct bw_refusal refusal;

    (void)state;
    foreign_refusal(domain, reason, home, text, &refusal);
    assert_string_equal(refusal.message, "?[31mred?");
    assert_string_equal(refusal.home_region, "");
}

static const struct { const char *why; struct bw_refusal refusal; enum bw_code code; } verdicts[] = {
    { "a reason of ours decides",                     { .reason = "KEY_DISABLED", .grpc_status = 9 },  BW_KEY_DISABLED },
    { "a newer server's reason falls to its status",  { .reason = "MOON_PHASE",   .grpc_status = 7 },  BW_NOT_PERMITTED },
    { "a server cannot refuse with success",          { .reason = "OK",           .grpc_status = 13 }, BW_INTERNAL },
    { "nor with a code of our side",                  { .reason = "PIN_LENGTH",   .grpc_status = 16 }, BW_UNAUTHENTICATED },
    { "a bare UNAVAILABLE",                           { .grpc_status = 14 }, BW_UNREACHABLE },
    { "a bare CANCELLED comes from a draining node",  { .grpc_status = 1 },  BW_SHUTTING_DOWN },
    { "a bare DEADLINE_EXCEEDED",                     { .grpc_status = 4 },  BW_DEADLINE },
    { "a status beyond gRPC's",                       { .grpc_status = 99 }, BW_PROTOCOL_BROKEN },
    { "a negative status",                            { .grpc_status = -1 }, BW_PROTOCOL_BROKEN },
    { "a refusal that says OK",                       { .grpc_status = 0 },  BW_PROTOCOL_BROKEN },
};

static void every_refusal_has_its_result(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        print_message("%s\n", verdicts[i].why);
        assert_int_equal(bw_wire_result(&verdicts[i].refusal).code, verdicts[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_survives_the_trip),
        cmocka_unit_test(a_message_cut_short_is_refused),
        cmocka_unit_test(a_message_larger_than_its_arena_is_refused),
        cmocka_unit_test(the_allocator_frees_nothing),
        cmocka_unit_test(a_refusal_arrives_as_what_it_was),
        cmocka_unit_test(the_request_id_travels_in_hexadecimal),
        cmocka_unit_test(a_damaged_refusal_is_an_empty_one),
        cmocka_unit_test(a_refusal_of_another_domain_has_no_reason),
        cmocka_unit_test(what_a_server_says_cannot_drive_a_terminal),
        cmocka_unit_test(every_refusal_has_its_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
