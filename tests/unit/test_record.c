/* Audit records: every field survives, nothing else gets in, and commitments are what AUDIT_FORMAT.md says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bailiwick/v1/record.pb-c.h"
#include "record.h"

static const struct bw_record full = {
    .operation = 2, .has_key = true, .key = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } }, .key_version = 7,
    .mechanism = 0x1087, .outcome = BW_OUTCOME_DENIED, .reason = BW_KEY_DISABLED, .policy_version = 12, .intent_index = 100,
    .has_proposal = true, .proposal = { 0x9a, [15] = 1 },
    .count = 3, .last_us = 1700000000000009, .principal = "spiffe://ex.org/region/eu/tenant/acme/app/web-1",
    .certificate = { 0xce }, .address = "192.0.2.7:40000", .request_id = { 0x1d }, .has_aad_tag = true, .aad_tag = { 0xaa },
    .rule = "web encrypts", .purpose = "backup gr\xc3\xb6\xc3\x9f" "e", .context_names = { "file", "owner" }, .context_name_count = 2, .released = true,
};
static const struct bw_record_stamp stamp = {
    .event_id = { 0xee }, .time_us = 1700000000000002, .wall_us = 1700000000000001, .clock_unsure = true,
    .region = "eu-central", .node = "n1", .principal_tag = { 0x77 },
};
static const uint8_t salts[BW_RECORD_SALTS_LEN] = { [0] = 1, [BW_AUDIT_SALT_LEN] = 2, [2 * BW_AUDIT_SALT_LEN] = 3 };

static struct bw_record_bytes bytes;

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

static void every_field_survives(void **state)
{
    (void)state;
    struct bw_arena        arena = { 0 };
    struct bw_record       back;
    struct bw_record_stamp back_stamp;

    check_ok(bw_record_encode(&full, &stamp, salts, &bytes));
    check_ok(bw_record_decode(bytes.essential, bytes.who, bytes.context, &arena, &back, &back_stamp));
    for (size_t i = 0; i < full.context_name_count; i++)
        assert_string_equal(back.context_names[i], full.context_names[i]);
    memcpy(back.context_names, full.context_names, sizeof back.context_names);
    assert_memory_equal(&back, &full, sizeof full);
    assert_memory_equal(back_stamp.event_id, stamp.event_id, sizeof stamp.event_id);
    assert_memory_equal(back_stamp.principal_tag, stamp.principal_tag, sizeof stamp.principal_tag);
    assert_int_equal(back_stamp.time_us, stamp.time_us);
    assert_int_equal(back_stamp.wall_us, stamp.wall_us);
    assert_true(back_stamp.clock_unsure);
    assert_string_equal(back_stamp.region, stamp.region);
    assert_string_equal(back_stamp.node, stamp.node);
    bw_arena_clear(&arena);
}

static void each_class_starts_with_its_own_salt(void **state)
{
    (void)state;
    check_ok(bw_record_encode(&full, &stamp, salts, &bytes));
    assert_memory_equal(bytes.essential.data, salts, BW_AUDIT_SALT_LEN);
    assert_memory_equal(bytes.who.data, salts + BW_AUDIT_SALT_LEN, BW_AUDIT_SALT_LEN);
    assert_memory_equal(bytes.context.data, salts + 2 * BW_AUDIT_SALT_LEN, BW_AUDIT_SALT_LEN);
}

static void an_absent_class_is_its_salt_alone(void **state)
{
    (void)state;
    static const struct bw_record bare = { .operation = 1, .outcome = BW_OUTCOME_DENIED };

    check_ok(bw_record_encode(&bare, &stamp, salts, &bytes));
    assert_int_equal(bytes.who.len, BW_AUDIT_SALT_LEN);
    assert_int_equal(bytes.context.len, BW_AUDIT_SALT_LEN);
}

/* What may vary in length, and how long it may be at most. Everything else is a number, or bytes of fixed size. */
static const struct { const char *message, *field; } texts[] = {
    { "RecordEssential", "region" }, { "RecordEssential", "node" }, { "RecordWho", "principal" }, { "RecordWho", "address" },
    { "RecordContext", "context_names" }, { "RecordContext", "purpose" },
    { "RecordContext", "rule" }, /* a name in a key's policy, which custodians give */
};
static const struct { const char *message, *field; } fixed_bytes[] = {
    { "RecordEssential", "event_id" }, { "RecordEssential", "key_id" }, { "RecordEssential", "principal_tag" }, { "RecordEssential", "proposal_id" },
    { "RecordWho", "certificate" }, { "RecordWho", "request_id" }, { "RecordContext", "aad_tag" },
};

static bool is_listed(const char *message, const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; field->type == PROTOBUF_C_TYPE_STRING && i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].message, message) == 0 && strcmp(texts[i].field, field->name) == 0)
            return true;
    for (size_t i = 0; field->type == PROTOBUF_C_TYPE_BYTES && i < ARRAY_LEN(fixed_bytes); i++)
        if (strcmp(fixed_bytes[i].message, message) == 0 && strcmp(fixed_bytes[i].field, field->name) == 0)
            return true;
    return field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_MESSAGE;
}

static void no_payload_has_a_place(void **state)
{
    (void)state;
    static const ProtobufCMessageDescriptor *const classes[] = {
        &bailiwick__v1__record_essential__descriptor, &bailiwick__v1__record_who__descriptor, &bailiwick__v1__record_context__descriptor,
    };

    for (size_t c = 0; c < ARRAY_LEN(classes); c++)
        for (unsigned f = 0; f < classes[c]->n_fields; f++)
            if (!is_listed(classes[c]->short_name, &classes[c]->fields[f]))
                fail_msg("%s.%s could carry a payload", classes[c]->short_name, classes[c]->fields[f].name);
}

static const struct { const char *why, *purpose, *kept; } purposes[] = {
    { "plain text",                         "backup",            "backup" },
    { "text beyond ASCII",                  "gr\xc3\xb6\xc3\x9f" "e", "gr\xc3\xb6\xc3\x9f" "e" },
    { "four-byte text",                     "\xf0\x9f\x94\x91",  "\xf0\x9f\x94\x91" },
    { "a line break",                       "a\nb",              "?" },
    { "an escape sequence",                 "\x1b[2J",           "?" },
    { "a delete",                           "a\x7f",             "?" },
    { "a C1 control character",             "\xc2\x85",          "?" },
    { "a stray continuation byte",          "\x80",              "?" },
    { "a sequence cut short",               "a\xc3",             "?" },
    { "an overlong slash",                  "\xc0\xaf",          "?" },
    { "a surrogate",                        "\xed\xa0\x80",      "?" },
    { "a character past the end of Unicode","\xf4\x90\x80\x80",  "?" },
};

static void text_that_would_break_a_reader_is_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(purposes); i++) {
        struct bw_arena        arena = { 0 };
        struct bw_record       record = { .outcome = BW_OUTCOME_GRANTED }, back;
        struct bw_record_stamp back_stamp;

        strcpy(record.purpose, purposes[i].purpose);
        check_ok(bw_record_encode(&record, &stamp, salts, &bytes));
        check_ok(bw_record_decode(bytes.essential, bytes.who, bytes.context, &arena, &back, &back_stamp));
        if (strcmp(back.purpose, purposes[i].kept) != 0)
            fail_msg("%s: kept as %s", purposes[i].why, back.purpose);
        bw_arena_clear(&arena);
    }
}

static void the_largest_record_fits_and_a_larger_one_is_refused(void **state)
{
    (void)state;
    static char name[BW_CONTEXT_TEXT_MAX + 1], longer[BW_RECORD_ROOM];
    struct bw_record *record = calloc(1, sizeof *record);

    *record = full;
    memset(name, 'n', sizeof name - 1);
    memset(longer, 'n', sizeof longer - 1);
    memset(record->principal, 'p', sizeof record->principal - 1);
    memset(record->address, 'a', sizeof record->address - 1);
    memset(record->rule, 'r', sizeof record->rule - 1);
    memset(record->purpose, 'u', sizeof record->purpose - 1);
    record->context_name_count = BW_CONTEXT_PAIRS_MAX;
    for (size_t i = 0; i < BW_CONTEXT_PAIRS_MAX; i++)
        record->context_names[i] = name;
    check_ok(bw_record_encode(record, &stamp, salts, &bytes));

    record->context_names[0] = longer;
    assert_int_equal(bw_record_encode(record, &stamp, salts, &bytes).code, BW_TOO_LARGE);
    free(record);
}

static void a_damaged_record_is_not_decoded(void **state)
{
    (void)state;
    struct bw_arena        arena = { 0 };
    struct bw_record       back;
    struct bw_record_stamp back_stamp;
    uint8_t                long_key[BW_AUDIT_SALT_LEN + 19] = { [BW_AUDIT_SALT_LEN] = 0x2a, 17 }; /* field 5, 17 bytes */

    check_ok(bw_record_encode(&full, &stamp, salts, &bytes));
    bw_bytes cut = { bytes.essential.data, bytes.essential.len - 1 }, salt_less = { bytes.who.data, BW_AUDIT_SALT_LEN - 1 };
    assert_int_equal(bw_record_decode(cut, bytes.who, bytes.context, &arena, &back, &back_stamp).code, BW_DATA_INVALID);
    assert_int_equal(bw_record_decode(bytes.essential, salt_less, bytes.context, &arena, &back, &back_stamp).code, BW_DATA_INVALID);
    assert_int_equal(bw_record_decode(bw_bytes_of(long_key, sizeof long_key), bytes.who, bytes.context, &arena, &back, &back_stamp).code, BW_DATA_INVALID);
    bw_arena_clear(&arena);
}

/* HMAC-SHA256, key 00 01 .. 1f, message "bw-audit-v1" 00 class 00 bytes; computed with Python's hmac. */
static const struct { enum bw_audit_class class; const char *bytes, *commitment; } commitments[] = {
    { BW_AUDIT_ESSENTIAL, "bytes", "e236bcb891d35fda229bbf94cc0176cdc4449a820617cc7a0d4d94bc0efaaf57" },
    { BW_AUDIT_ESSENTIAL, "", "883dc3bb86a0f09c49115fc6cd32d069c58ee2ebd2f42edf33dee3f0b0a6d273" },
    { BW_AUDIT_WHO, "bytes", "e2e3e998d19129be734758c3fbca1e0e66261c839a3fa2bdc7b52237573b0721" },
    { BW_AUDIT_WHO, "", "19b066e42bc30ef7f9eda8d73880cc9c3719296c916c5e4d84812400ef2cf795" },
    { BW_AUDIT_CONTEXT, "bytes", "e929ef68f9a96e007640bb65bbf4e7f8814fc351300fba45c99679940762f1d4" },
    { BW_AUDIT_CONTEXT, "", "f69cae1995f25e4d410bfd31ed21a78dd5384c4bda1d97ca441451e8b942fb24" },
};

static void commitments_are_the_documented_hmac(void **state)
{
    (void)state;
    BW_AUTO(hasher) hasher = NULL;

    check_ok(bw_hasher_new(&hasher));
    for (size_t i = 0; i < ARRAY_LEN(commitments); i++) {
        uint8_t stored[64], commitment[BW_AUDIT_HASH_LEN];
        char    text[2 * BW_AUDIT_HASH_LEN + 1];
        size_t  len = strlen(commitments[i].bytes);

        for (size_t b = 0; b < BW_AUDIT_SALT_LEN; b++)
            stored[b] = (uint8_t)b;
        memcpy(stored + BW_AUDIT_SALT_LEN, commitments[i].bytes, len);
        check_ok(bw_hasher_commit(hasher, commitments[i].class, bw_bytes_of(stored, BW_AUDIT_SALT_LEN + len), commitment));
        bw_hex(bw_bytes_of(commitment, sizeof commitment), text);
        assert_string_equal(text, commitments[i].commitment);
    }
}

static void an_entry_reads_back_and_every_changed_byte_of_its_head_is_noticed(void **state)
{
    (void)state;
    const struct bw_leaf leaf = { .kind = BW_AUDIT_KIND_RECORD, .suite = BW_AUDIT_SUITE_SHA256, .index = 0x0102030405060708,
                                  .essential = { 1 }, .who = { 2 }, .context = { 3 } };
    static const uint8_t head[16] = { 'B', 'W', 'A', '1', 1, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t              entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf       back;

    bw_leaf_print(&leaf, entry);
    assert_memory_equal(entry, head, sizeof head);
    check_ok(bw_leaf_parse(bw_bytes_of(entry, sizeof entry), &back));
    assert_int_equal(back.index, leaf.index);
    assert_memory_equal(back.essential, leaf.essential, sizeof leaf.essential);
    assert_memory_equal(back.who, leaf.who, sizeof leaf.who);
    assert_memory_equal(back.context, leaf.context, sizeof leaf.context);
    assert_int_equal(bw_leaf_parse(bw_bytes_of(entry, sizeof entry - 1), &back).code, BW_DATA_INVALID);
    for (size_t i = 0; i < 8; i++) {
        entry[i] ^= 0x40;
        assert_int_equal(bw_leaf_parse(bw_bytes_of(entry, sizeof entry), &back).code, BW_DATA_INVALID);
        entry[i] ^= 0x40;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(each_class_starts_with_its_own_salt),
        cmocka_unit_test(an_absent_class_is_its_salt_alone),
        cmocka_unit_test(no_payload_has_a_place),
        cmocka_unit_test(text_that_would_break_a_reader_is_replaced),
        cmocka_unit_test(the_largest_record_fits_and_a_larger_one_is_refused),
        cmocka_unit_test(a_damaged_record_is_not_decoded),
        cmocka_unit_test(commitments_are_the_documented_hmac),
        cmocka_unit_test(an_entry_reads_back_and_every_changed_byte_of_its_head_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
