/* What people and scripts see: tables, lines, and messages as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "message_json.h"
#include "show.h"

struct page { char *text; size_t len; FILE *file; };

static FILE *page_open(struct page *page)
{
    page->file = open_memstream(&page->text, &page->len);
    assert_non_null(page->file);
    return page->file;
}

static void assert_page(struct page *page, const char *expected)
{
    assert_int_equal(fclose(page->file), 0);
    assert_string_equal(page->text, expected);
    free(page->text);
}

static const struct bw_column columns[] = { { "NAME", "name" }, { "STATE", "inner.state" }, { "ALIASES", "aliases" }, { 0 } };

static json_t *rows(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    struct page page;
    struct bw_table table = { .columns = columns, .to = page_open(&page) };
    json_t *first  = rows("[{\"name\":\"orders\",\"inner\":{\"state\":\"ENABLED\"},\"aliases\":[\"a\",\"b\"]},{\"name\":\"\\u00e4\"}]");
    json_t *second = rows("[{\"name\":\"x\",\"inner\":{\"state\":7}}]");

    (void)state;
    assert_true(bw_ok(bw_table_print(&table, first)));
    assert_true(bw_ok(bw_table_print(&table, second)));
    assert_page(&page, "NAME    STATE    ALIASES\n"
                       "orders  ENABLED  a, b\n"
                       "\xc3\xa4                \n"
                       "x       7        \n");
    json_decref(first);
    json_decref(second);
}

static void scripts_get_a_line_for_each_row(void **state)
{
    struct page page;
    struct bw_table table = { .columns = columns, .json = true, .to = page_open(&page) };
    json_t *all = rows("[{\"name\":\"a\"},{\"name\":\"b\",\"other\":1}]");

    (void)state;
    assert_true(bw_ok(bw_table_print(&table, all)));
    assert_page(&page, "{\"name\":\"a\"}\n{\"name\":\"b\",\"other\":1}\n");
    json_decref(all);
}

static void what_could_steer_a_terminal_is_not_printed(void **state)
{
    struct page page;

    (void)state;
    bw_show_text(page_open(&page), "a\x1b[2Jb\nc\x7f" "d\xc2\x9b" "e\xc3\xa9");
    assert_page(&page, "a?[2Jb?c?d?e\xc3\xa9");
}

static void one_thing_is_shown_member_by_member(void **state)
{
    struct page page;
    json_t *thing = rows("{\"name\":\"orders\",\"uses\":[\"SIGN\",\"VERIFY\"],\"versions\":[{\"number\":1,\"public_key\":\"a\\nb\\n\"}],\"usable\":true}");

    (void)state;
    assert_true(bw_ok(bw_show_lines(page_open(&page), thing)));
    assert_page(&page, "name                 orders\n"
                       "uses                 SIGN, VERIFY\n"
                       "versions 1\n"
                       "  number             1\n"
                       "  public_key         a\n"
                       "                     b\n"
                       "usable               yes\n");
    json_decref(thing);
}

static void assert_json(const ProtobufCMessage *message, const char *expected)
{
    json_t *json = bw_message_json(message);
    char   *text = json_dumps(json, JSON_COMPACT);

    assert_string_equal(text, expected);
    free(text);
    json_decref(json);
}

static void records_are_told_in_names(void **state)
{
    Bailiwick__V1__Record record = BAILIWICK__V1__RECORD__INIT;
    Bailiwick__V1__RecordEssential essential = BAILIWICK__V1__RECORD_ESSENTIAL__INIT;
    uint8_t key_id[] = { 0x0a, 0xff };

    (void)state;
    record.index           = 7;
    record.essential       = &essential;
    essential.time_us      = 1767323045678901;
    essential.operation    = 2;
    essential.key_id       = (ProtobufCBinaryData){ sizeof key_id, key_id };
    essential.mechanism    = 0x1087;
    essential.outcome      = BAILIWICK__V1__OUTCOME__DENIED;
    essential.reason       = 6;
    essential.region       = "eu-central";
    assert_json(&record.base, "{\"index\":7,\"essential\":{\"time\":\"2026-01-02T03:04:05.678901Z\",\"operation\":\"Decrypt\","
                "\"key_id\":\"0aff\",\"key_version\":0,\"mechanism\":\"CKM_AES_GCM\",\"outcome\":\"DENIED\",\"reason\":\"WRONG_REGION\","
                "\"policy_version\":0,\"region\":\"eu-central\",\"intent_index\":0,\"count\":0,\"clock_unsure\":false}}");
}

static void numbers_without_a_name_stay_numbers(void **state)
{
    Bailiwick__V1__RecordEssential essential = BAILIWICK__V1__RECORD_ESSENTIAL__INIT;

    (void)state;
    essential.operation = 4000;
    essential.reason    = 4001;
    essential.mechanism = 0x80001234;
    essential.outcome   = (Bailiwick__V1__Outcome)42;
    json_t *json = bw_message_json(&essential.base);
    assert_int_equal(json_integer_value(json_object_get(json, "operation")), 4000);
    assert_int_equal(json_integer_value(json_object_get(json, "reason")), 4001);
    assert_int_equal(json_integer_value(json_object_get(json, "mechanism")), 0x80001234);
    assert_int_equal(json_integer_value(json_object_get(json, "outcome")), 42);
    json_decref(json);
}

static void keys_show_pairs_policies_and_public_keys(void **state)
{
    Bailiwick__V1__Key key = BAILIWICK__V1__KEY__INIT;
    Bailiwick__V1__KeyVersion version = BAILIWICK__V1__KEY_VERSION__INIT, *versions[] = { &version };
    Bailiwick__V1__Pair tag = BAILIWICK__V1__PAIR__INIT, *tags[] = { &tag };
    Bailiwick__V1__KeyUse uses[] = { BAILIWICK__V1__KEY_USE__SIGN };
    uint8_t der[] = { 1, 2, 3 };

    (void)state;
    tag = (Bailiwick__V1__Pair){ tag.base, "team", "billing" };
    version.public_key = (ProtobufCBinaryData){ sizeof der, der };
    key.tags = tags,         key.n_tags = 1;
    key.versions = versions, key.n_versions = 1;
    key.uses = uses,         key.n_uses = 1;
    key.policy = "{\"regions\":[\"ch\"]}";
    json_t *json = bw_message_json(&key.base);
    json_t *pem  = json_object_get(json_array_get(json_object_get(json, "versions"), 0), "public_key");
    assert_string_equal(json_string_value(pem), "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "tags"), "team")), "billing");
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "uses"), 0)), "SIGN");
    assert_int_equal(json_array_size(json_object_get(json_object_get(json, "policy"), "regions")), 1);
    assert_null(json_object_get(json, "deletion"));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(scripts_get_a_line_for_each_row),
        cmocka_unit_test(what_could_steer_a_terminal_is_not_printed),
        cmocka_unit_test(one_thing_is_shown_member_by_member),
        cmocka_unit_test(records_are_told_in_names),
        cmocka_unit_test(numbers_without_a_name_stay_numbers),
        cmocka_unit_test(keys_show_pairs_policies_and_public_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
