#include "table.h"

#include <assert.h>
#include <stdlib.h>

struct bw_table_slot {
    uint64_t hash;
    void    *value; /* NULL: free */
};

void bw_table_clear(struct bw_table *table)
{
    free(table->slots);
    *table = (struct bw_table){ 0 };
}

/* At most three quarters full, so a probe always meets a free slot. */
static bool fits(size_t count, size_t room) { return count <= room / 4 * 3; }

static void place(struct bw_table_slot *slots, size_t room, struct bw_table_slot slot)
{
    size_t at = slot.hash & (room - 1);

    while (slots[at].value != NULL)
        at = (at + 1) & (room - 1);
    slots[at] = slot;
}

bw_result bw_table_reserve(struct bw_table *table, size_t more)
{
    size_t room = table->room ? table->room : 16;

    while (!fits(table->count + more, room))
        room *= 2;
    if (room == table->room)
        return bw_success();
    struct bw_table_slot *slots = calloc(room, sizeof *slots);
    BW_CHECK(slots != NULL, BW_NO_MEMORY, "hash table");
    for (size_t i = 0; i < table->room; i++)
        if (table->slots[i].value != NULL)
            place(slots, room, table->slots[i]);
    free(table->slots);
    table->slots = slots;
    table->room  = room;
    return bw_success();
}

void bw_table_put(struct bw_table *table, uint64_t hash, void *value)
{
    assert(value != NULL && table->room > 0 && fits(table->count + 1, table->room));
    place(table->slots, table->room, (struct bw_table_slot){ hash, value });
    table->count++;
}

void *bw_table_find(const struct bw_table *table, uint64_t hash, bw_table_match_fn match, const void *wanted)
{
    if (table->room == 0)
        return NULL;
    for (size_t at = hash & (table->room - 1); table->slots[at].value != NULL; at = (at + 1) & (table->room - 1))
        if (table->slots[at].hash == hash && match(table->slots[at].value, wanted))
            return table->slots[at].value;
    return NULL;
}

/* Closes the gap: what follows moves back unless that would put it before its own place. */
static void close_gap(struct bw_table *table, size_t gap)
{
    size_t mask = table->room - 1;

    for (size_t at = (gap + 1) & mask; table->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = table->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        table->slots[gap] = table->slots[at];
        gap = at;
    }
    table->slots[gap] = (struct bw_table_slot){ 0, NULL };
}

void bw_table_remove(struct bw_table *table, uint64_t hash, const void *value)
{
    if (table->room == 0)
        return;
    for (size_t at = hash & (table->room - 1); table->slots[at].value != NULL; at = (at + 1) & (table->room - 1)) {
        if (table->slots[at].value != value)
            continue;
        close_gap(table, at);
        table->count--;
        return;
    }
}

void *bw_table_at(const struct bw_table *table, size_t slot)
{
    return table->slots[slot].value;
}

/* ---- SipHash ---- */

static uint64_t rotate(uint64_t word, unsigned bits) { return word << bits | word >> (64 - bits); }

static uint64_t little_endian(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

static void rounds(uint64_t v[static 4], unsigned count)
{
    while (count-- > 0) {
        v[0] += v[1]; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32);
        v[2] += v[3]; v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3]; v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1]; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32);
    }
}

static void absorb(uint64_t v[static 4], uint64_t word)
{
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

uint64_t bw_siphash(const uint8_t key[static 16], bw_bytes data)
{
    uint64_t k0 = little_endian(key, 8), k1 = little_endian(key + 8, 8);
    uint64_t v[4] = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u };
    size_t   whole = data.len / 8 * 8;

    for (size_t at = 0; at < whole; at += 8)
        absorb(v, little_endian(data.data + at, 8));
    absorb(v, (uint64_t)data.len << 56 | little_endian(data.data + whole, data.len - whole));
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
