/* Requests as bytes: what is refused, with which code, and that the field at fault is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "stages.h" /* before the messages: p11-kit's header has macros named as some of their fields */
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "registry.h"
#include "wire.h"

#define KEY "bw:eu-central:acme:key/00112233445566778899aabbccddeeff"

/* ---- building requests: protobuf by hand, so that what no writer would write can be written ---- */

struct wire { uint8_t bytes[2 * BW_MESSAGE_MAX]; size_t len; };
static struct wire wire;

static void put_number(uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        wire.bytes[wire.len++] = (uint8_t)(value | 0x80);
    wire.bytes[wire.len++] = (uint8_t)value;
}

static void put_field(unsigned number, const void *bytes, size_t len)
{
    put_number(number << 3 | 2);
    put_number(len);
    memcpy(wire.bytes + wire.len, bytes, len);
    wire.len += len;
}

static bw_result decode(const char *method, bw_bytes message, struct bw_call *call, struct bw_job *job)
{
    *call = (struct bw_call){ .arena.ceiling = 8 * BW_MESSAGE_MAX, .message = message };
    *job  = (struct bw_job){ .call = call, .method = bw_method_by_name(method) };
    assert_non_null(job->method);
    return bw_decode(NULL, job);
}

static void check_refused(const char *why, const char *method, bw_bytes message, enum bw_code code, const char *field)
{
    struct bw_call call;
    struct bw_job *job = calloc(1, sizeof *job);
    bw_result result = decode(method, message, &call, job);

    if (result.code != code || (field == NULL) != (result.field == NULL) || (field != NULL && strcmp(result.field, field) != 0))
        fail_msg("%s (%s): %s at %s: %s", why, method, bw_code_row(result.code)->name, result.field ? result.field : "-", result.what);
    bw_arena_clear(&call.arena);
    free(job);
}

/* ---- refusals that are a few bytes ---- */


static const struct { const char *why, *method; enum bw_code code; const char *field; uint8_t bytes[48]; size_t len; } refusals[] = {
    { "bytes that are no message",           "Encrypt",          BW_BAD_ARGUMENT,      NULL,                 { 0xff, 0xff, 0xff },                        3 },
    { "a length beyond the end",             "Describe",         BW_BAD_ARGUMENT,      NULL,                 { 0x0a, 0x7f, 0x00 },                        3 },
    { "a request id of 3 bytes",             "Describe",         BW_BAD_ARGUMENT,      "request_id",         { 0x0a, 3, 1, 2, 3 },                        5 },
    { "a field that there is not",           "Describe",         BW_BAD_ARGUMENT,      "(unknown)",          { 0x7a, 1, 'x' },                            3 },
    { "no key",                              "Encrypt",          BW_BAD_ARGUMENT,      "key",                { 0 },                                       0 },
    { "a key that has neither name nor is sealed", "Sign",       BW_BAD_ARGUMENT,      "key",                { 0x12, 0 },                                 2 },
    { "a key name that is none",             "Decrypt",          BW_BAD_ARGUMENT,      "key.name",           { 0x12, 5, 0x0a, 3, 'b', 'w', ':' },         7 },
    { "a key with a name and sealed",        "Decrypt",          BW_BAD_ARGUMENT,      "key.sealed",         { 0x12, 6, 0x0a, 1, 'b', 0x1a, 1, 's' },     8 },
    { "a sealed key with a version",         "Decrypt",          BW_BAD_ARGUMENT,      "key.version",        { 0x12, 5, 0x10, 1, 0x1a, 1, 's' },          7 },
    { "no mechanism",                        "Verify",           BW_MECHANISM_INVALID, "mechanism.type",     { 0x12, 3, 0x1a, 1, 's' },                   5 },
    { "a mechanism that there is not",       "Verify",           BW_MECHANISM_INVALID, "mechanism.type",     { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0xff, 0x7f }, 10 },
    { "an IV that is too short",             "Encrypt",          BW_MECHANISM_PARAM,   "mechanism.iv",       { 0x12, 3, 0x1a, 1, 's', 0x1a, 6, 0x08, 0x82, 0x21, 0x12, 1, 7 }, 13 },
    { "GCM without a tag's length",          "Encrypt",          BW_MECHANISM_PARAM,   "mechanism.tag_bits", { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0x87, 0x21 }, 10 },
    { "no signature",                        "Verify",           BW_BAD_ARGUMENT,      "signature",          { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0xc1, 0x20 }, 10 },
    { "nothing to unwrap",                   "UnwrapKey",        BW_BAD_ARGUMENT,      "wrapped",            { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0x89, 0x42 }, 10 },
    { "no template",                         "GenerateKey",      BW_BAD_ARGUMENT,      "template",           { 0x12, 3, 0x08, 0x80, 0x21 },               5 },
    { "a template of an Edwards key",        "GenerateKey",      BW_TEMPLATE_INVALID,  "template.key_type",  { 0x12, 3, 0x08, 0x80, 0x21, 0x1a, 2, 0x08, 0x40 }, 9 },
    { "a session key of 513 bytes",          "GenerateKey",      BW_TEMPLATE_INVALID,  "template.length",    { 0x12, 3, 0x08, 0x80, 0x21, 0x1a, 5, 0x08, 0x1f, 0x10, 0x81, 0x04 }, 12 },
    { "a use that there is not",             "GenerateKey",      BW_BAD_ARGUMENT,      "template.uses",      { 0x12, 3, 0x08, 0x80, 0x21, 0x1a, 4, 0x08, 0x1f, 0x18, 0x7f }, 11 },
    { "no envelope",                         "Unwrap",           BW_BAD_ARGUMENT,      "envelope",           { 0 },                                       0 },
    { "an envelope that is none",            "Unwrap",           BW_ENVELOPE_INVALID,  "envelope",           { 0x12, 4, 'B', 'W', 'K', '1' },             6 },
    { "the same for Rewrap",                 "Rewrap",           BW_ENVELOPE_INVALID,  "envelope",           { 0x12, 1, 'x' },                            3 },
    { "a context with an empty name",        "Wrap",             BW_BAD_ARGUMENT,      "context",            { 0x12, 3, 0x1a, 1, 's', 0x22, 2, 0x12, 0 }, 9 },
    { "a context with a name twice",         "Wrap",             BW_BAD_ARGUMENT,      "context",            { 0x12, 3, 0x1a, 1, 's', 0x22, 3, 0x0a, 1, 'a', 0x22, 3, 0x0a, 1, 'a' }, 15 },
    { "a context that is not UTF-8",         "Wrap",             BW_BAD_ARGUMENT,      "context",            { 0x12, 3, 0x1a, 1, 's', 0x22, 3, 0x0a, 1, 0xff }, 10 },
    { "a purpose with a line break",         "Wrap",             BW_BAD_ARGUMENT,      "purpose",            { 0x12, 3, 0x1a, 1, 's', 0x2a, 1, '\n' },    8 },
    { "a data key of 1025 bytes",            "GenerateDataKey",  BW_BAD_ARGUMENT,      "length",             { 0x12, 3, 0x1a, 1, 's', 0x18, 0x81, 8 },    8 },
    { "no random bytes at all",              "Random",           BW_BAD_ARGUMENT,      "length",             { 0 },                                       0 },
    { "too many random bytes",               "Random",           BW_BAD_ARGUMENT,      "length",             { 0x10, 0x81, 0x80, 4 },                     4 },
    { "a derivation without a peer",         "DeriveKey",        BW_MECHANISM_PARAM,   "mechanism.peer",     { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0xd0, 0x20 }, 10 },
    { "a target that is no key",             "WrapKey",          BW_BAD_ARGUMENT,      "target.name",        { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0x89, 0x42, 0x22, 3, 0x0a, 1, 'x' }, 15 },
    { "a version of no target",              "WrapKey",          BW_BAD_ARGUMENT,      "target.version",     { 0x12, 3, 0x1a, 1, 's', 0x1a, 3, 0x08, 0x89, 0x42, 0x22, 2, 0x10, 1 }, 14 },
    { "a purpose with a NUL in it",          "Wrap",             BW_BAD_ARGUMENT,      "purpose",            { 0x12, 3, 0x1a, 1, 's', 0x2a, 3, 'a', 0, 'b' }, 10 },
    { "a key name with a NUL at its end",    "Decrypt",          BW_BAD_ARGUMENT,      "key.name",           { 0x12, 5, 0x0a, 3, 'b', 'w', 0 },           7 },
    { "a NUL inside a batch",                "Batch",            BW_BAD_ARGUMENT,      "operations.wrap.key.name", { 0x0a, 7, 0x4a, 5, 0x12, 3, 0x0a, 1, 0 }, 9 },
    { "a batch of nothing",                  "Batch",            BW_BAD_ARGUMENT,      "operations",         { 0 },                                       0 },
    { "a batch with an empty operation",     "Batch",            BW_BAD_ARGUMENT,      "operations",         { 0x0a, 0 },                                 2 },
    { "a batch with an unknown operation",   "Batch",            BW_BAD_ARGUMENT,      "operations",         { 0x0a, 2, 0x72, 0 },                        4 },

    { "a key of nothing",                    "CreateKey",        BW_BAD_ARGUMENT,      "spec",               { 0 },                                       0 },
    { "a key of what there is not",          "CreateKey",        BW_BAD_ARGUMENT,      "spec",               { 0x10, 0x63 },                              2 },
    { "a use that is none",                  "CreateKey",        BW_BAD_ARGUMENT,      "uses",               { 0x10, 3, 0x18, 0 },                        4 },
    { "an empty alias",                      "CreateKey",        BW_BAD_ARGUMENT,      "aliases",            { 0x10, 3, 0x3a, 0 },                        4 },
    { "a tag without a name",                "CreateKey",        BW_BAD_ARGUMENT,      "tags",               { 0x10, 3, 0x42, 0 },                        4 },
    { "a label with a control character",    "CreateKey",        BW_BAD_ARGUMENT,      "label",              { 0x10, 3, 0x22, 1, 7 },                     5 },
    { "neither a name nor an alias",         "GetKey",           BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "a page too large",                    "ListKeys",         BW_BAD_ARGUMENT,      "page.size",          { 0x12, 3, 0x08, 0xe9, 7 },                  5 },
    { "a state that there is not",           "ListKeys",         BW_BAD_ARGUMENT,      "state",              { 0x30, 99 },                                2 },
    { "nothing to update",                   "UpdateKey",        BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "a rotation of nothing",               "RotateKey",        BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "enabling what is no key",             "EnableKey",        BW_BAD_ARGUMENT,      "name",               { 0x12, 1, 'x' },                            3 },
    { "disabling nothing",                   "DisableKey",       BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "deleting nothing",                    "ScheduleDeletion", BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "cancelling nothing",                  "CancelDeletion",   BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "a policy for nothing",                "SetKeyPolicy",     BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },

    { "a tenant without a name",             "CreateTenant",     BW_BAD_ARGUMENT,      "name",               { 0 },                                       0 },
    { "a tenant in capitals",                "CreateTenant",     BW_BAD_ARGUMENT,      "name",               { 0x12, 1, 'A' },                            3 },
    { "a tenant whose PIN nobody holds",     "CreateTenant",     BW_BAD_ARGUMENT,      "activation",         { 0x12, 1, 'a' },                            3 },
    { "a tenant that is none",               "GetTenant",        BW_BAD_ARGUMENT,      "name",               { 0x12, 1, '/' },                            3 },
    { "a page of tenants too large",         "ListTenants",      BW_BAD_ARGUMENT,      "page.size",          { 0x12, 3, 0x08, 0xe9, 7 },                  5 },
    { "sealing a tenant that is none",       "SealTenant",       BW_BAD_ARGUMENT,      "name",               { 0x12, 1, '/' },                            3 },
    { "activating a tenant that is none",    "ActivateTenant",   BW_BAD_ARGUMENT,      "name",               { 0x12, 1, '/' },                            3 },
    { "no tenant policy",                    "SetTenantPolicy",  BW_BAD_ARGUMENT,      "policy",             { 0 },                                       0 },
    { "revoking nobody",                     "RevokePrincipal",  BW_BAD_ARGUMENT,      "principal",          { 0 },                                       0 },
    { "revoking what is no caller",          "RevokePrincipal",  BW_BAD_ARGUMENT,      "principal",          { 0x12, 1, 'x' },                            3 },
    { "a page of the revoked too large",     "ListRevoked",      BW_BAD_ARGUMENT,      "page.size",          { 0x12, 3, 0x08, 0xe9, 7 },                  5 },

    { "no object",                           "PutObject",        BW_BAD_ARGUMENT,      "object",             { 0 },                                       0 },
    { "an object with an id of 1 byte",      "PutObject",        BW_BAD_ARGUMENT,      "object.id",          { 0x12, 3, 0x0a, 1, 'i' },                   5 },
    { "an object without a value",           "PutObject",        BW_BAD_ARGUMENT,      "object.value",       { 0x12, 2, 0x10, 1 },                        4 },
    { "an object of another class",          "PutObject",        BW_BAD_ARGUMENT,      "object.class",       { 0x12, 5, 0x10, 9, 0x2a, 1, 'v' },          7 },
    { "trust that says nothing",             "PutObject",        BW_BAD_ARGUMENT,      "object.trust",        { 0x12, 2, 0x10, 2 },                        4 },
    { "trust in no issuer",                  "PutObject",        BW_BAD_ARGUMENT,      "object.trust",        { 0x12, 7, 0x10, 2, 0x5a, 3, 0x12, 1, 's' }, 9 },
    { "trust in no serial number",           "PutObject",        BW_BAD_ARGUMENT,      "object.trust",        { 0x12, 7, 0x10, 2, 0x5a, 3, 0x0a, 1, 'i' }, 9 },
    { "trust with half a hash",              "PutObject",        BW_BAD_ARGUMENT,      "object.trust",        { 0x12, 13, 0x10, 2, 0x5a, 9, 0x0a, 1, 'i', 0x12, 1, 's', 0x22, 1, 'h' },15 },
    { "trust of a level there is not",       "PutObject",        BW_BAD_ARGUMENT,      "trust.server_auth",   { 0x12, 12, 0x10, 2, 0x5a, 8, 0x0a, 1, 'i', 0x12, 1, 's', 0x30, 9 },14 },
    { "trust beside a value",                "PutObject",        BW_BAD_ARGUMENT,      "object.value",        { 0x12, 13, 0x10, 2, 0x2a, 1, 'v', 0x5a, 6, 0x0a, 1, 'i', 0x12, 1, 's' },15 },
    { "data with trust",                     "PutObject",        BW_BAD_ARGUMENT,      "object.trust",        { 0x12, 5, 0x2a, 1, 'v', 0x5a, 0 },          7 },
    { "a page of objects too large",         "ListObjects",      BW_BAD_ARGUMENT,      "page.size",          { 0x12, 3, 0x08, 0xe9, 7 },                  5 },
    { "deleting no object",                  "DeleteObject",     BW_BAD_ARGUMENT,      "id",                 { 0 },                                       0 },
    { "deleting what has no such id",        "DeleteObject",     BW_BAD_ARGUMENT,      "id",                 { 0x12, 1, 'i' },                            3 },

    { "records of what is no key",           "Query",            BW_BAD_ARGUMENT,      "key",                { 0x12, 1, 'x' },                            3 },
    { "records of what is no caller",        "Query",            BW_BAD_ARGUMENT,      "principal",          { 0x1a, 1, 'x' },                            3 },
    { "an outcome that there is not",        "Query",            BW_BAD_ARGUMENT,      "outcomes",           { 0x28, 77 },                                2 },
    { "a time before all time",              "Query",            BW_BAD_ARGUMENT,      "from_us",            { 0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1 }, 11 },
    { "too many records at once",            "Query",            BW_BAD_ARGUMENT,      "limit",              { 0x50, 0xe9, 7 },                           3 },
};

static void each_refusal_names_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        check_refused(refusals[i].why, refusals[i].method, bw_bytes_of(refusals[i].bytes, refusals[i].len), refusals[i].code, refusals[i].field);
}

/* ---- what is too long ---- */

static const struct { const char *why, *method; unsigned field; size_t len; const char *named; } oversized[] = {
    { "a purpose",          "Encrypt",      5, 64,                                "purpose"     },
    { "a label",            "CreateKey",    4, BW_LABEL_MAX + 1,                  "label"       },
    { "a CKA_ID",           "CreateKey",    5, BW_CKA_ID_MAX + 1,                 "cka_id"      },
    { "a description",      "CreateKey",    6, BW_DESCRIPTION_MAX + 1,            "description" },
    { "a policy",           "CreateKey",    9, BW_OBJECT_MAX + 1,                 "policy"      },
    { "a PIN",              "CreateTenant", 4, BW_PIN_MAX + 1,                    "pin"         },
    { "a label to look for","ListObjects",  3, BW_LABEL_MAX + 1,                  "label"       },
    { "an envelope",        "Unwrap",       2, BW_DATA_MAX + BW_SIGNATURE_MAX + 1,"envelope"   },
};

/* Complete requests of the methods above, but for the field that is too long. */
static void put_rest_of(const char *method)
{
    static const uint8_t sealed_and_gcm[] = { 0x12, 3, 0x1a, 1, 's', 0x1a, 6, 0x08, 0x87, 0x21, 0x20, 0x80, 1 };

    wire.len = 0;
    if (strcmp(method, "Encrypt") == 0) {
        memcpy(wire.bytes, sealed_and_gcm, sizeof sealed_and_gcm);
        wire.len = sizeof sealed_and_gcm;
    } else if (strcmp(method, "CreateKey") == 0) {
        memcpy(wire.bytes, "\x10\x03", 2);
        wire.len = 2;
    } else if (strcmp(method, "CreateTenant") == 0) {
        memcpy(wire.bytes, "\x12\x01" "a\x18\x01", 5);
        wire.len = 5;
    }
}

static void what_is_too_long_is_too_large(void **state)
{
    char *filler = malloc(BW_MESSAGE_MAX);
    (void)state;

    memset(filler, 'a', BW_MESSAGE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(oversized); i++) {
        put_rest_of(oversized[i].method);
        put_field(oversized[i].field, filler, oversized[i].len);
        check_refused(oversized[i].why, oversized[i].method, bw_bytes_of(wire.bytes, wire.len), BW_TOO_LARGE, oversized[i].named);
    }
    free(filler);
}

static void data_over_the_limit_is_too_large(void **state)
{
    char *filler = calloc(1, BW_MESSAGE_MAX);
    (void)state;

    put_rest_of("Encrypt");
    put_field(4, filler, BW_DATA_MAX + 1);
    check_refused("a plaintext", "Encrypt", bw_bytes_of(wire.bytes, wire.len), BW_TOO_LARGE, "plaintext");
    free(filler);
}

/* ---- what is taken ---- */

static void a_complete_request_is_lifted(void **state)
{
    static const uint8_t id[16] = "0123456789abcdef", mechanism[] = { 0x08, 0x87, 0x21, 0x20, 0x80, 1 };
    struct bw_call call;
    struct bw_job *job = calloc(1, sizeof *job);
    uint8_t key[80] = { 0x0a, sizeof KEY - 1 };
    (void)state;

    memcpy(key + 2, KEY, sizeof KEY - 1);
    wire.len = 0;
    put_field(1, id, sizeof id);
    put_field(2, key, sizeof KEY + 1);
    put_field(3, mechanism, sizeof mechanism);
    put_field(4, "text", 4);
    put_field(5, "billing", 7);
    assert_true(bw_ok(decode("Encrypt", bw_bytes_of(wire.bytes, wire.len), &call, job)));
    assert_memory_equal(job->request.request_id, id, sizeof id);
    assert_true(job->request.request_id_given && job->request.has_key);
    assert_string_equal(job->request.key.tenant.text, "acme");
    assert_int_equal(job->request.mechanism.row->type, CKM_AES_GCM);
    assert_int_equal(job->request.mechanism.tag_bits, 128);
    assert_int_equal(job->request.data.len, 4);
    assert_string_equal(job->request.purpose, "billing");
    bw_arena_clear(&call.arena);
    free(job);
}

static void a_context_is_sorted(void **state)
{
    static const uint8_t request[] = { 0x12, 3, 0x1a, 1, 's', 0x22, 6, 0x0a, 1, 'b', 0x12, 1, '1', 0x22, 6, 0x0a, 1, 'a', 0x12, 1, '2' };
    struct bw_call call;
    struct bw_job *job = calloc(1, sizeof *job);
    (void)state;

    assert_true(bw_ok(decode("Wrap", bw_bytes_of(request, sizeof request), &call, job)));
    assert_int_equal(job->request.context_count, 2);
    assert_string_equal(job->request.context[0].name, "a");
    assert_string_equal(job->request.context[1].value, "1");
    bw_arena_clear(&call.arena);
    free(job);
}

/* An empty message reaches the assertion in check_fields for every method: rows and schema agree. */
static void every_field_of_every_request_has_its_row(void **state)
{
    const struct bw_method *method;
    (void)state;

    for (size_t i = 0; (method = bw_method_at(i)) != NULL; i++) {
        struct bw_call call;
        struct bw_job *job = calloc(1, sizeof *job);
        (void)decode(method->name, (bw_bytes){ 0 }, &call, job); /* refused or not: it came back */
        bw_arena_clear(&call.arena);
        free(job);
    }
}

static void a_method_that_we_have_not_is_unimplemented(void **state)
{
    static const struct bw_method none = { .name = "unknown" };
    struct bw_call call = { 0 };
    struct bw_job *job = calloc(1, sizeof *job);
    (void)state;

    job->call   = &call;
    job->method = &none;
    assert_int_equal(bw_decode(NULL, job).code, BW_UNIMPLEMENTED);
    free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_names_its_field),
        cmocka_unit_test(what_is_too_long_is_too_large),
        cmocka_unit_test(data_over_the_limit_is_too_large),
        cmocka_unit_test(a_complete_request_is_lifted),
        cmocka_unit_test(a_context_is_sorted),
        cmocka_unit_test(every_field_of_every_request_has_its_row),
        cmocka_unit_test(a_method_that_we_have_not_is_unimplemented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
