/* A hash table of pointers: open addressing, linear probing. The owner brings hash and comparison; keys live in what the
 * pointers point to. No lock. All zero is a valid empty table. */
#ifndef BW_SERVER_TABLE_H
#define BW_SERVER_TABLE_H

#include "bailiwick/bytes.h"

struct bw_table {
    struct bw_table_slot *slots;
    size_t                count;
    size_t                room;   /* a power of two, or 0 */
};
typedef bool (*bw_table_match_fn)(const void *value, const void *wanted);

void      bw_table_clear(struct bw_table *table); /* not what it points to */
void     *bw_table_find(const struct bw_table *table, uint64_t hash, bw_table_match_fn match, const void *wanted); /* NULL: none */
/* After this, as many puts cannot fail. */
bw_result bw_table_reserve(struct bw_table *table, size_t more);
void      bw_table_put(struct bw_table *table, uint64_t hash, void *value); /* room was reserved */
void      bw_table_remove(struct bw_table *table, uint64_t hash, const void *value); /* that very pointer; absent is fine */
void     *bw_table_at(const struct bw_table *table, size_t slot); /* slot < room; NULL: free */

/* SipHash-2-4 (Aumasson, Bernstein, 2012): for keys that a caller chooses, so that he cannot make them collide. */
uint64_t bw_siphash(const uint8_t key[static 16], bw_bytes data);

#endif
