/* The lists of the query index: which records of a log have a certain key, principal, operation, outcome or request id.
 * A list is kept in segments of BW_SEGMENT records of the log, as 16-bit offsets. */
#ifndef BW_SERVER_AUDIT_LISTS_H
#define BW_SERVER_AUDIT_LISTS_H

#include "record.h"
#include "sql.h"

enum { BW_SEGMENT_BITS = 16, BW_SEGMENT = 1 << BW_SEGMENT_BITS, BW_LIST_VALUE_LEN = 16 };

/* Offsets are stored as two bytes, big-endian; BW_LIST_MAP_LEN bytes are a bit for each record of the segment instead. */
enum { BW_OFFSET_LEN = 2, BW_LIST_MAP_LEN = BW_SEGMENT / 8 };

enum { BW_CHUNK_BITS = 4 }; /* segments of a chunk: audit_move.h */

/* What a list is of. Stored. */
enum bw_list_kind { BW_LIST_KEY = 1, BW_LIST_PRINCIPAL, BW_LIST_OPERATION, BW_LIST_OUTCOME, BW_LIST_REQUEST };
#define BW_LIST_KINDS (BW_LIST_REQUEST + 1)

/* Values shorter than BW_LIST_VALUE_LEN end in zeros. */
typedef struct bw_list_value { uint8_t bytes[BW_LIST_VALUE_LEN]; } bw_list_value;
bw_list_value bw_list_value_of(const void *bytes, size_t len);
bw_list_value bw_list_value_of_number(uint32_t number);

/* A record's place in one list, so laid out that sorting by bytes puts a list's places side by side and in order. */
struct bw_list_place { uint8_t bytes[4 + 6 + 1 + BW_LIST_VALUE_LEN + 2]; };
struct bw_list_place bw_list_place_of(uint32_t log, uint64_t index, enum bw_list_kind kind, const bw_list_value *value);

uint32_t bw_list_place_log(const struct bw_list_place *place);
uint64_t bw_list_place_index(const struct bw_list_place *place);

/* All places of a record, at most BW_LIST_PLACES_MAX; gives their number. */
enum { BW_LIST_PLACES_MAX = BW_LIST_KINDS - 1 };
size_t bw_list_places_of(uint32_t log, uint64_t index, const struct bw_record *record, const struct bw_record_stamp *stamp, struct bw_list_place *ret_places);

/* Sorts the places and writes them with statement, whose parameters are log, segment, kind, value, first offset, offsets. */
bw_result bw_lists_write(struct bw_sql *sql, unsigned statement, struct bw_list_place *places, size_t count);

/* Sorts the places and looks each up with statement, as bw_list_read wants it. *ret_missing: one that is not there, if *ret_found. */
bw_result bw_lists_check(struct bw_sql *sql, unsigned statement, struct bw_list_place *places, size_t count, bool *ret_found, struct bw_list_place *ret_missing);

/* A set of records of one segment. */
struct bw_bits { uint64_t words[BW_SEGMENT / 64]; };
void bw_bits_clear(struct bw_bits *bits);
void bw_bits_add_range(struct bw_bits *bits, uint32_t from, uint32_t to); /* to not included, at most BW_SEGMENT */
void bw_bits_intersect(struct bw_bits *bits, const struct bw_bits *with);

/* The first member at or above from, BW_SEGMENT when there is none; the last one below, or BW_SEGMENT. */
uint32_t bw_bits_next(const struct bw_bits *bits, uint32_t from);
uint32_t bw_bits_before(const struct bw_bits *bits, uint32_t below);

/* Adds what statement finds, whose parameters are log, segment, kind, value and whose column is the offsets.
 * BW_AUDIT_UNAVAILABLE: the index is damaged. */
bw_result bw_list_read(struct bw_sql *sql, unsigned statement, uint32_t log, uint64_t segment, enum bw_list_kind kind,
                       const bw_list_value *value, struct bw_bits *bits);

#endif
