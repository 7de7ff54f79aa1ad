#include "audit_lists.h"

#include <stdlib.h>
#include <string.h>

enum { VALUE_AT = 4 + 6 + 1, OFFSET_AT = VALUE_AT + BW_LIST_VALUE_LEN, RUN_MAX = BW_LIST_MAP_LEN / BW_OFFSET_LEN - 1 };

bw_list_value bw_list_value_of(const void *bytes, size_t len)
{
    bw_list_value value = { { 0 } };

    memcpy(value.bytes, bytes, len < sizeof value.bytes ? len : sizeof value.bytes);
    return value;
}

static uint8_t *put_be(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return at + width;
}

static uint64_t get_be(const uint8_t *at, unsigned width)
{
    struct bw_reader reader = { .rest = { at, width } };
    return bw_read_be(&reader, width);
}

bw_list_value bw_list_value_of_number(uint32_t number)
{
    bw_list_value value = { { 0 } };

    (void)put_be(value.bytes, number, 4);
    return value;
}

/* ---- writing ---- */

struct bw_list_place bw_list_place_of(uint32_t log, uint64_t index, enum bw_list_kind kind, const bw_list_value *value)
{
    struct bw_list_place place;
    uint8_t *at = put_be(place.bytes, log, 4);

    at = put_be(at, index >> BW_SEGMENT_BITS, 6);
    at = put_be(at, kind, 1);
    memcpy(at, value->bytes, sizeof value->bytes);
    (void)put_be(at + sizeof value->bytes, index & (BW_SEGMENT - 1), BW_OFFSET_LEN);
    return place;
}

uint32_t bw_list_place_log(const struct bw_list_place *place)
{
    return (uint32_t)get_be(place->bytes, 4);
}

uint64_t bw_list_place_index(const struct bw_list_place *place)
{
    return get_be(place->bytes + 4, 6) << BW_SEGMENT_BITS | get_be(place->bytes + OFFSET_AT, BW_OFFSET_LEN);
}

size_t bw_list_places_of(uint32_t log, uint64_t index, const struct bw_record *record, const struct bw_record_stamp *stamp, struct bw_list_place *ret_places)
{
    static const uint8_t none[BW_REQUEST_ID_LEN];
    const bw_list_value operation = bw_list_value_of_number(record->operation), outcome = bw_list_value_of_number((uint32_t)record->outcome);
    const bw_list_value key       = bw_list_value_of(record->key.bytes, sizeof record->key.bytes);
    const bw_list_value principal = bw_list_value_of(stamp->principal_tag, sizeof stamp->principal_tag);
    const bw_list_value request   = bw_list_value_of(record->request_id, sizeof record->request_id);
    size_t count = 0;

    ret_places[count++] = bw_list_place_of(log, index, BW_LIST_OPERATION, &operation);
    ret_places[count++] = bw_list_place_of(log, index, BW_LIST_OUTCOME, &outcome);
    if (record->has_key)
        ret_places[count++] = bw_list_place_of(log, index, BW_LIST_KEY, &key);
    if (record->principal[0] != '\0')
        ret_places[count++] = bw_list_place_of(log, index, BW_LIST_PRINCIPAL, &principal);
    if (memcmp(record->request_id, none, sizeof none) != 0)
        ret_places[count++] = bw_list_place_of(log, index, BW_LIST_REQUEST, &request);
    return count;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct bw_list_place));
}

/* Zeros at the end are not stored. */
static size_t value_len(const uint8_t *value)
{
    size_t len = BW_LIST_VALUE_LEN;

    while (len > 0 && value[len - 1] == 0)
        len--;
    return len;
}

/* places: all of one list and segment */
static bw_result write_run(struct bw_sql *sql, unsigned statement, const struct bw_list_place *places, size_t count)
{
    const uint8_t *list = places[0].bytes;
    uint8_t offsets[RUN_MAX * BW_OFFSET_LEN];

    for (size_t i = 0; i < count; i++)
        memcpy(offsets + i * BW_OFFSET_LEN, places[i].bytes + OFFSET_AT, BW_OFFSET_LEN);
    bw_sql_bind_number(sql, statement, 1, (int64_t)get_be(list, 4));
    bw_sql_bind_number(sql, statement, 2, (int64_t)get_be(list + 4, 6));
    bw_sql_bind_number(sql, statement, 3, list[10]);
    bw_sql_bind_bytes(sql, statement, 4, bw_bytes_of(list + VALUE_AT, value_len(list + VALUE_AT)));
    bw_sql_bind_number(sql, statement, 5, (int64_t)get_be(list + OFFSET_AT, BW_OFFSET_LEN));
    bw_sql_bind_bytes(sql, statement, 6, bw_bytes_of(offsets, count * BW_OFFSET_LEN));
    return bw_sql_run(sql, statement);
}

bw_result bw_lists_write(struct bw_sql *sql, unsigned statement, struct bw_list_place *places, size_t count)
{
    qsort(places, count, sizeof *places, compare);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && to - from < RUN_MAX && memcmp(places[from].bytes, places[to].bytes, OFFSET_AT) == 0; to++)
            ;
        BW_TRY(write_run(sql, statement, places + from, to - from));
    }
    return bw_success();
}

/* ---- sets ---- */

void bw_bits_clear(struct bw_bits *bits)
{
    memset(bits, 0, sizeof *bits);
}

void bw_bits_add_range(struct bw_bits *bits, uint32_t from, uint32_t to)
{
    for (uint32_t at = from; at < to;) {
        if (at % 64 == 0 && to - at >= 64) {
            bits->words[at / 64] = UINT64_MAX;
            at += 64;
        } else {
            bits->words[at / 64] |= 1ull << at % 64;
            at++;
        }
    }
}

void bw_bits_intersect(struct bw_bits *bits, const struct bw_bits *with)
{
    for (size_t i = 0; i < ARRAY_LEN(bits->words); i++)
        bits->words[i] &= with->words[i];
}

bool bw_bits_any(const struct bw_bits *bits)
{
    return bw_bits_next(bits, 0) < BW_SEGMENT;
}

uint32_t bw_bits_next(const struct bw_bits *bits, uint32_t from)
{
    if (from >= BW_SEGMENT)
        return BW_SEGMENT;
    uint64_t word = bits->words[from / 64] & (UINT64_MAX << from % 64);
    for (uint32_t at = from / 64;; word = bits->words[at]) {
        if (word != 0)
            return at * 64 + (uint32_t)__builtin_ctzll(word);
        if (++at == ARRAY_LEN(bits->words))
            return BW_SEGMENT;
    }
}

uint32_t bw_bits_before(const struct bw_bits *bits, uint32_t below)
{
    if (below == 0)
        return BW_SEGMENT;
    uint32_t at   = (below - 1) / 64;
    uint64_t word = bits->words[at] & (UINT64_MAX >> (63 - (below - 1) % 64));
    for (;; word = bits->words[at]) {
        if (word != 0)
            return at * 64 + 63 - (uint32_t)__builtin_clzll(word);
        if (at-- == 0)
            return BW_SEGMENT;
    }
}

/* ---- reading ---- */

static void add_offsets(struct bw_bits *bits, bw_bytes offsets)
{
    for (size_t i = 0; i < offsets.len; i += BW_OFFSET_LEN) {
        uint32_t offset = (uint32_t)(offsets.data[i] << 8 | offsets.data[i + 1]);
        bits->words[offset / 64] |= 1ull << offset % 64;
    }
}

static void add_map(struct bw_bits *bits, bw_bytes map)
{
    for (size_t i = 0; i < map.len; i++)
        bits->words[i / 8] |= (uint64_t)map.data[i] << 8 * (i % 8);
}

bw_result bw_list_read(struct bw_sql *sql, unsigned statement, uint32_t log, uint64_t segment, enum bw_list_kind kind,
                       const bw_list_value *value, struct bw_bits *bits)
{
    bool row = true, sound = true;

    bw_sql_bind_number(sql, statement, 1, log);
    bw_sql_bind_number(sql, statement, 2, (int64_t)segment);
    bw_sql_bind_number(sql, statement, 3, kind);
    bw_sql_bind_bytes(sql, statement, 4, bw_bytes_of(value->bytes, value_len(value->bytes)));
    while (sound) {
        BW_TRY(bw_sql_step(sql, statement, &row));
        if (!row)
            break;
        bw_bytes offsets = bw_sql_get_bytes(sql, statement, 0);
        sound = offsets.len % BW_OFFSET_LEN == 0 && offsets.len <= BW_LIST_MAP_LEN;
        if (sound)
            (offsets.len == BW_LIST_MAP_LEN ? add_map : add_offsets)(bits, offsets);
    }
    bw_sql_reset(sql, statement);
    BW_CHECK(sound, BW_AUDIT_UNAVAILABLE, "the query index is damaged");
    return bw_success();
}

/* places: all of one list and segment */
static bw_result find_missing(struct bw_sql *sql, unsigned statement, const struct bw_list_place *places, size_t count, const struct bw_list_place **ret_missing)
{
    const uint8_t *list = places[0].bytes;
    bw_list_value  value;
    struct bw_bits bits;

    bw_bits_clear(&bits);
    memcpy(value.bytes, list + VALUE_AT, sizeof value.bytes);
    BW_TRY(bw_list_read(sql, statement, (uint32_t)get_be(list, 4), get_be(list + 4, 6), list[10], &value, &bits));
    for (size_t i = 0; i < count; i++) {
        uint32_t offset = (uint32_t)get_be(places[i].bytes + OFFSET_AT, BW_OFFSET_LEN);
        if ((bits.words[offset / 64] >> offset % 64 & 1) == 0) {
            *ret_missing = &places[i];
            return bw_success();
        }
    }
    return bw_success();
}

bw_result bw_lists_check(struct bw_sql *sql, unsigned statement, struct bw_list_place *places, size_t count, bool *ret_found, struct bw_list_place *ret_missing)
{
    const struct bw_list_place *missing = NULL;

    qsort(places, count, sizeof *places, compare);
    for (size_t from = 0, to; from < count && missing == NULL; from = to) {
        for (to = from + 1; to < count && memcmp(places[from].bytes, places[to].bytes, OFFSET_AT) == 0; to++)
            ;
        BW_TRY(find_missing(sql, statement, places + from, to - from, &missing));
    }
    *ret_found = missing != NULL;
    if (missing != NULL)
        *ret_missing = *missing;
    return bw_success();
}
