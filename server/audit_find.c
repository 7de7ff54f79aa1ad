#include "audit_find.h"

#include <assert.h>
#include <string.h>

#include "audit_index_db.h"
#include "audit_lists.h"

/* Records whose list of this kind is that of one of the values. */
struct filter { enum bw_list_kind kind; bw_list_value *values; size_t count; };

struct search {
    struct bw_index_reader *reader;
    struct bw_arena        *arena;
    uint32_t                log;
    uint64_t                size;          /* of the log */
    uint64_t                moved;         /* segments, from the log's start */
    uint64_t                low, high;     /* indexes wanted; high not included */
    struct filter           filters[BW_LIST_KINDS];
    size_t                  filter_count;
    uint64_t               *indexes;       /* found, in the order wanted */
    size_t                  count, room;
};

/* ---- what is asked for ---- */

/* The first record at or after a time: times of a log grow with its indexes. */
static bw_result first_since(struct search *search, int64_t time_us, uint64_t *ret_index)
{
    struct bw_sql *sql = &search->reader->index;
    uint64_t low = 0, high = search->size;
    bool     row = true;

    while (low < high && row) {
        uint64_t middle = low + (high - low) / 2;
        bw_sql_bind_number(sql, BW_INDEX_ENTRY, 1, search->log);
        bw_sql_bind_number(sql, BW_INDEX_ENTRY, 2, (int64_t)middle);
        BW_TRY(bw_sql_step(sql, BW_INDEX_ENTRY, &row));
        if (row && bw_sql_get_number(sql, BW_INDEX_ENTRY, 1) < time_us)
            low = middle + 1;
        else
            high = middle;
        bw_sql_reset(sql, BW_INDEX_ENTRY);
    }
    BW_CHECK(row, BW_AUDIT_UNAVAILABLE, "the query index is damaged");
    *ret_index = low;
    return bw_success();
}

static bw_result read_size(struct search *search)
{
    struct bw_sql *sql = &search->reader->index;
    bool row;

    bw_sql_bind_number(sql, BW_INDEX_SIZE, 1, search->log);
    BW_TRY(bw_sql_step(sql, BW_INDEX_SIZE, &row));
    if (row) {
        search->size  = (uint64_t)bw_sql_get_number(sql, BW_INDEX_SIZE, 0);
        search->moved = (uint64_t)bw_sql_get_number(sql, BW_INDEX_SIZE, 1);
    }
    bw_sql_reset(sql, BW_INDEX_SIZE);
    return bw_success();
}

static bw_result set_bounds(struct search *search, const struct bw_audit_query *query)
{
    uint64_t at;

    BW_TRY(read_size(search));
    BW_CHECK(query->from_index <= search->size, BW_LOG_POSITION, "the log ends before the position asked for");
    search->low  = query->newest_first ? 0 : query->from_index;
    search->high = query->newest_first && query->from_index > 0 ? query->from_index : search->size;
    if (query->from_us != 0) {
        BW_TRY(first_since(search, query->from_us, &at));
        search->low = at > search->low ? at : search->low;
    }
    if (query->to_us != 0) {
        BW_TRY(first_since(search, query->to_us, &at));
        search->high = at < search->high ? at : search->high;
    }
    return bw_success();
}

static bw_result add_filter(struct search *search, enum bw_list_kind kind, size_t count, bw_list_value **ret_values)
{
    bw_list_value *values = bw_arena_alloc(search->arena, count * sizeof *values);

    BW_CHECK(values != NULL, BW_NO_MEMORY, "query");
    search->filters[search->filter_count++] = (struct filter){ kind, values, count };
    *ret_values = values;
    return bw_success();
}

static bw_result add_filter_of(struct search *search, enum bw_list_kind kind, const void *bytes, size_t len)
{
    bw_list_value *value;

    BW_TRY(add_filter(search, kind, 1, &value));
    *value = bw_list_value_of(bytes, len);
    return bw_success();
}

/* Those that let the fewest through come first. */
static bw_result set_filters(struct search *search, const struct bw_audit_log *log, const struct bw_audit_query *query)
{
    bw_list_value *values;
    uint8_t tag[BW_RECORD_TAG_LEN];

    if (query->request_id != NULL)
        BW_TRY(add_filter_of(search, BW_LIST_REQUEST, query->request_id, BW_REQUEST_ID_LEN));
    if (query->has_key)
        BW_TRY(add_filter_of(search, BW_LIST_KEY, query->key.bytes, sizeof query->key.bytes));
    if (query->principal != NULL) {
        BW_TRY(bw_audit_log_pseudonym(log, search->reader->hasher, query->principal, tag));
        BW_TRY(add_filter_of(search, BW_LIST_PRINCIPAL, tag, sizeof tag));
    }
    if (query->outcome_count > 0) {
        BW_TRY(add_filter(search, BW_LIST_OUTCOME, query->outcome_count, &values));
        for (size_t i = 0; i < query->outcome_count; i++)
            values[i] = bw_list_value_of_number((uint32_t)query->outcomes[i]);
    }
    if (query->operation_count > 0) {
        BW_TRY(add_filter(search, BW_LIST_OPERATION, query->operation_count, &values));
        for (size_t i = 0; i < query->operation_count; i++)
            values[i] = bw_list_value_of_number(query->operations[i]);
    }
    return bw_success();
}

/* ---- searching ---- */

/* Which statement knows a list of the segment. */
static enum bw_index_statement place_of(const struct search *search, uint64_t segment, enum bw_list_kind kind)
{
    if (kind == BW_LIST_REQUEST || segment >= search->size >> BW_SEGMENT_BITS)
        return BW_INDEX_NEW_LIST;
    return segment < search->moved ? BW_INDEX_MOVED_LIST : BW_INDEX_LIST;
}

static bw_result pass_filters(struct search *search, uint64_t segment, struct bw_bits *bits)
{
    for (size_t f = 0; f < search->filter_count && bw_bits_next(bits, 0) < BW_SEGMENT; f++) {
        const struct filter *filter = &search->filters[f];
        struct bw_bits       passing;

        bw_bits_clear(&passing);
        for (size_t v = 0; v < filter->count; v++)
            BW_TRY(bw_list_read(&search->reader->index, place_of(search, segment, filter->kind), search->log, segment, filter->kind, &filter->values[v], &passing));
        bw_bits_intersect(bits, &passing);
    }
    return bw_success();
}

static bw_result search_segment(struct search *search, uint64_t segment, bool newest_first)
{
    uint64_t       start = segment << BW_SEGMENT_BITS;
    uint32_t       from  = search->low > start ? (uint32_t)(search->low - start) : 0;
    uint32_t       to    = search->high - start < BW_SEGMENT ? (uint32_t)(search->high - start) : BW_SEGMENT;
    struct bw_bits bits;

    bw_bits_clear(&bits);
    bw_bits_add_range(&bits, from, to);
    BW_TRY(pass_filters(search, segment, &bits));
    uint32_t at = newest_first ? bw_bits_before(&bits, BW_SEGMENT) : bw_bits_next(&bits, 0);
    while (at < BW_SEGMENT && search->count < search->room) {
        search->indexes[search->count++] = start + at;
        at = newest_first ? bw_bits_before(&bits, at) : bw_bits_next(&bits, at + 1);
    }
    return bw_success();
}

static bw_result search_all(struct search *search, bool newest_first)
{
    if (search->low >= search->high)
        return bw_success();

    uint64_t first = search->low >> BW_SEGMENT_BITS, last = (search->high - 1) >> BW_SEGMENT_BITS;
    for (uint64_t i = 0; i <= last - first && search->count < search->room; i++)
        BW_TRY(search_segment(search, newest_first ? last - i : first + i, newest_first));
    return bw_success();
}

/* ---- records ---- */

struct taking { struct bw_arena *arena; const struct search *search; struct bw_audit_row *row; bool taken; };

static bw_result keep(struct bw_arena *arena, bw_bytes bytes, bw_bytes *ret_copy)
{
    const uint8_t *copy = bw_arena_copy(arena, bytes);

    BW_CHECK(copy != NULL, BW_TOO_LARGE, "the answer is too large; ask for fewer records");
    *ret_copy = bw_bytes_of(copy, bytes.len);
    return bw_success();
}

static bw_result take_row(void *self, const struct bw_audit_db_row *from)
{
    struct taking *taking = self;

    BW_CHECK(from->log == taking->search->log && from->index == taking->row->index, BW_AUDIT_UNAVAILABLE, "the query index is damaged");
    BW_TRY(keep(taking->arena, from->essential, &taking->row->essential));
    BW_TRY(keep(taking->arena, from->who, &taking->row->who));
    BW_TRY(keep(taking->arena, from->context, &taking->row->context));
    taking->taken = true;
    return bw_success();
}

static bw_result fetch(struct search *search, uint64_t index, struct bw_audit_row *ret_row)
{
    struct bw_sql *sql = &search->reader->index;
    struct bw_audit_row row = { .index = index };
    struct taking taking = { .arena = search->arena, .search = search, .row = &row };
    int64_t position;

    bw_sql_bind_number(sql, BW_INDEX_ENTRY, 1, search->log);
    bw_sql_bind_number(sql, BW_INDEX_ENTRY, 2, (int64_t)index);
    BW_TRY(bw_sql_number(sql, BW_INDEX_ENTRY, 0, &position));
    BW_TRY(bw_audit_db_each_row(&search->reader->db, (uint64_t)position, (uint64_t)position, take_row, &taking));
    BW_CHECK(taking.taken, BW_AUDIT_UNAVAILABLE, "the query index is damaged");

    *ret_row = row;
    return bw_success();
}

static bw_result run(struct search *search, const struct bw_audit_log *log, const struct bw_audit_query *query, struct bw_audit_found *ret_found)
{
    struct bw_audit_found found = { 0 };

    BW_TRY(set_bounds(search, query));
    BW_TRY(set_filters(search, log, query));
    BW_TRY(search_all(search, query->newest_first));
    found.log_size = search->size;
    found.more     = search->count > query->limit;
    found.count    = found.more ? query->limit : search->count;
    found.rows     = bw_arena_alloc(search->arena, found.count * sizeof *found.rows);
    BW_CHECK(found.rows != NULL, BW_NO_MEMORY, "query");
    for (size_t i = 0; i < found.count; i++)
        BW_TRY(fetch(search, search->indexes[i], &found.rows[i]));
    if (found.more)
        found.next_index = search->indexes[found.count - 1] + (query->newest_first ? 0 : 1);

    *ret_found = found;
    return bw_success();
}

bw_result bw_index_search(struct bw_index_reader *reader, const struct bw_audit_log *log, const struct bw_audit_query *query,
                        struct bw_arena *arena, struct bw_audit_found *ret_found)
{
    struct search search = { .reader = reader, .arena = arena, .log = log->row.number, .room = (size_t)query->limit + 1 };

    assert(query->limit > 0);
    search.indexes = bw_arena_alloc(arena, search.room * sizeof *search.indexes);
    BW_CHECK(search.indexes != NULL, BW_NO_MEMORY, "query");
    BW_TRY(bw_sql_run(&reader->index, BW_INDEX_READ)); /* one state of the index for the whole query */
    bw_result r = run(&search, log, query, ret_found);
    bw_sql_roll_back(&reader->index);
    return r;
}

/* ---- open intents ---- */

struct telling { bw_audit_intent_fn each; void *self; };

static bw_result tell_intent(void *self, const struct bw_audit_db_row *row)
{
    struct telling        *telling = self;
    struct bw_arena        arena   = { 0 };
    struct bw_record       record;
    struct bw_record_stamp stamp;

    bw_result r = bw_record_decode(row->essential, row->who, row->context, &arena, &record, &stamp);
    if (bw_ok(r)) {
        record.log = row->log;
        r = telling->each(telling->self, row->log, row->index, &record);
    }
    bw_arena_clear(&arena);
    return r;
}

bw_result bw_index_each_open_intent(struct bw_index_reader *reader, bw_audit_intent_fn each, void *self)
{
    struct telling telling = { each, self };
    bw_result r   = bw_success();
    bool      row = true;

    while (bw_ok(r)) {
        BW_TRY(bw_sql_step(&reader->index, BW_INDEX_EACH_INTENT, &row));
        if (!row)
            break;
        uint64_t position = (uint64_t)bw_sql_get_number(&reader->index, BW_INDEX_EACH_INTENT, 0);
        r = bw_audit_db_each_row(&reader->db, position, position, tell_intent, &telling);
    }
    bw_sql_reset(&reader->index, BW_INDEX_EACH_INTENT);
    return r;
}
