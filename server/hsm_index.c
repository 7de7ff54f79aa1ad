/* Which key versions a token has, by id and version. Ids are random, so their own bytes serve as the hash. */
#include <stdlib.h>
#include <string.h>

#include "hsm_internal.h"

enum { FIRST_BUCKETS = 64 };

static struct bw_hsm_index_entry **bucket_of(const struct bw_index *index, const bw_key_id *id, uint32_t version)
{
    uint64_t hash;

    memcpy(&hash, id->bytes, sizeof hash);
    return &index->buckets[(hash + version) & (index->bucket_count - 1)];
}

static bool is_it(const struct bw_hsm_index_entry *entry, const bw_key_id *id, uint32_t version)
{
    return entry->version == version && bw_key_id_equal(&entry->id, id);
}

struct bw_hsm_index_entry *bw_hsm_index_find(const struct bw_index *index, const bw_key_id *id, uint32_t version)
{
    if (index->bucket_count == 0)
        return NULL;
    for (struct bw_hsm_index_entry *entry = *bucket_of(index, id, version); entry != NULL; entry = entry->next)
        if (is_it(entry, id, version))
            return entry;
    return NULL;
}

static bool grow(struct bw_index *index)
{
    struct bw_index bigger = { .bucket_count = index->bucket_count ? 2 * index->bucket_count : FIRST_BUCKETS, .count = index->count };

    bigger.buckets = calloc(bigger.bucket_count, sizeof(struct bw_hsm_index_entry *));
    if (bigger.buckets == NULL)
        return false;
    for (size_t i = 0; i < index->bucket_count; i++) {
        struct bw_hsm_index_entry *entry = index->buckets[i];
        while (entry != NULL) {
            struct bw_hsm_index_entry *next = entry->next, **to = bucket_of(&bigger, &entry->id, entry->version);
            entry->next = *to;
            *to   = entry;
            entry = next;
        }
    }
    free(index->buckets);
    *index = bigger;
    return true;
}

struct bw_hsm_index_entry *bw_hsm_index_add(struct bw_index *index, const bw_key_id *id, uint32_t version)
{
    struct bw_hsm_index_entry *entry = bw_hsm_index_find(index, id, version);

    if (entry != NULL)
        return entry;
    if (index->count == index->bucket_count && !grow(index))
        return NULL;
    entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->id      = *id;
    entry->version = version;
    struct bw_hsm_index_entry **to = bucket_of(index, id, version);
    entry->next = *to;
    *to = entry;
    index->count++;
    return entry;
}

void bw_hsm_index_remove(struct bw_index *index, const bw_key_id *id, uint32_t version)
{
    if (index->bucket_count == 0)
        return;
    for (struct bw_hsm_index_entry **at = bucket_of(index, id, version); *at != NULL; at = &(*at)->next)
        if (is_it(*at, id, version)) {
            struct bw_hsm_index_entry *entry = *at;
            *at = entry->next;
            index->count--;
            free(entry);
            return;
        }
}

void bw_hsm_index_clear(struct bw_index *index)
{
    for (size_t i = 0; i < index->bucket_count; i++) {
        struct bw_hsm_index_entry *entry = index->buckets[i];
        while (entry != NULL) {
            struct bw_hsm_index_entry *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    free(index->buckets);
    *index = (struct bw_index){ 0 };
}
