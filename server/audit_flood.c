#include "audit_flood.h"

#include <stdlib.h>
#include <string.h>

/* One kind of denial, in its second. The aggregate's count is how many were taken. */
struct kind {
    bool                   used;
    int64_t                opened_us;
    struct bw_audit_entry *opener;   /* in the batch being written; NULL: its record is durable */
    uint64_t               index;    /* of the opener's record */
    bool                   due;      /* its aggregate is being written */
    struct bw_audit_entry  aggregate;
};

struct bw_flood {
    struct kind kinds[BW_FLOOD_KINDS + 1]; /* the last one is for all that find no place */
};

bw_result bw_flood_new(struct bw_flood **ret_flood)
{
    struct bw_flood *flood = calloc(1, sizeof *flood);

    BW_CHECK(flood != NULL, BW_NO_MEMORY, "flood");
    *ret_flood = flood;
    return bw_success();
}

void bw_flood_free(struct bw_flood *flood)
{
    free(flood);
}

/* ---- which kind ---- */

/* "192.0.2.7:40000" and "[2001:db8::7]:40000" without the port */
static size_t host_len(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon != NULL ? (size_t)(colon - address) : strlen(address);
}

static bool same_host(const char *a, const char *b)
{
    size_t len = host_len(a);
    return len == host_len(b) && strncmp(a, b, len) == 0;
}

static bool same_kind(const struct bw_record *a, const struct bw_record *b)
{
    return a->operation == b->operation && a->reason == b->reason && same_host(a->address, b->address) && strcmp(a->principal, b->principal) == 0;
}

static bool is_over(const struct kind *kind, int64_t now_us)
{
    return now_us - kind->opened_us >= BW_FLOOD_WINDOW_US;
}

/* A kind that is over and took nothing is forgotten; one that took waits for its aggregate. */
static void forget_old(struct bw_flood *flood, int64_t now_us)
{
    for (size_t i = 0; i < ARRAY_LEN(flood->kinds); i++) {
        struct kind *kind = &flood->kinds[i];
        if (kind->used && kind->opener == NULL && kind->aggregate.record.count == 0 && is_over(kind, now_us))
            kind->used = false;
    }
}

/* The kind to count the record in; else the place where to open one, unused. */
static struct kind *place_for(struct bw_flood *flood, const struct bw_record *record, int64_t now_us)
{
    struct kind *unused = NULL, *rest = &flood->kinds[BW_FLOOD_KINDS];

    for (size_t i = 0; i < BW_FLOOD_KINDS; i++) {
        struct kind *kind = &flood->kinds[i];
        if (!kind->used)
            unused = kind;
        else if (!kind->due && !is_over(kind, now_us) && same_kind(&kind->aggregate.record, record))
            return kind;
    }
    return unused != NULL ? unused : rest;
}

/* ---- taking ---- */

static void open_kind(struct bw_flood *flood, struct kind *kind, struct bw_audit_entry *opener, int64_t now_us)
{
    *kind = (struct kind){ .used = true, .opened_us = now_us, .opener = opener };
    if (kind == &flood->kinds[BW_FLOOD_KINDS]) {
        kind->aggregate.record = (struct bw_record){ .outcome = BW_OUTCOME_DENIED, .reason = BW_OVERLOADED };
        return;
    }
    kind->aggregate.record = opener->record;
    kind->aggregate.record.count              = 0;
    kind->aggregate.record.has_aad_tag        = false;
    kind->aggregate.record.context_name_count = 0; /* they are the opener's, and borrowed */
    memset(kind->aggregate.record.request_id, 0, sizeof kind->aggregate.record.request_id);
}

/* While it waits for the batch, a taken entry's index is the number of its kind. */
static void count_in(struct bw_flood *flood, struct kind *kind, struct bw_audit_entry *entry, int64_t wall_us)
{
    struct bw_record *sum = &kind->aggregate.record;

    sum->count++;
    sum->last_us = wall_us;
    if (sum->has_key && !(entry->record.has_key && bw_key_id_equal(&sum->key, &entry->record.key))) {
        sum->has_key = false;
        sum->key     = (bw_key_id){ { 0 } };
    }
    entry->index = (uint64_t)(kind - flood->kinds);
}

/* Aggregates, and what already stands for several, are never taken. The rest's own window is open as long as it must be. */
static bool is_taken(struct bw_flood *flood, struct bw_audit_entry *entry, int64_t now_us, int64_t wall_us)
{
    const struct bw_record *record = &entry->record;

    if (record->log != 0 || record->outcome != BW_OUTCOME_DENIED || record->count != 0)
        return false;
    struct kind *kind = place_for(flood, record, now_us);
    if (!kind->used) {
        open_kind(flood, kind, entry, now_us);
        return false;
    }
    count_in(flood, kind, entry, wall_us);
    return true;
}

struct bw_audit_entry *bw_flood_take(struct bw_flood *flood, struct bw_audit_entry **at, int64_t now_us, int64_t wall_us)
{
    struct bw_audit_entry *taken = NULL, **last = &taken;

    forget_old(flood, now_us);
    while (*at != NULL) {
        struct bw_audit_entry *entry = *at;
        if (!is_taken(flood, entry, now_us, wall_us)) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        entry->next = NULL;
        *last = entry;
        last  = &entry->next;
    }
    return taken;
}

void bw_flood_settle(struct bw_flood *flood, struct bw_audit_entry *taken, bool written)
{
    for (size_t i = 0; i < ARRAY_LEN(flood->kinds); i++) {
        struct kind *kind = &flood->kinds[i];
        if (kind->opener == NULL)
            continue;
        kind->index  = kind->opener->index;
        kind->opener = NULL;
        kind->used   = written;
    }
    for (struct bw_audit_entry *entry = taken; entry != NULL; entry = entry->next) {
        struct kind *kind = &flood->kinds[entry->index];
        entry->index = kind->index;
        if (!written)
            kind->aggregate.record.count--;
    }
}

/* ---- aggregates ---- */

static void aggregate_done(struct bw_audit_entry *entry, bw_result written)
{
    struct kind *kind = (struct kind *)((char *)entry - offsetof(struct kind, aggregate));

    kind->due = false;
    if (bw_ok(written))
        kind->used = false;
}

struct bw_audit_entry *bw_flood_due(struct bw_flood *flood, int64_t now_us, bool all)
{
    struct bw_audit_entry *due = NULL, **last = &due;

    for (size_t i = 0; i < ARRAY_LEN(flood->kinds); i++) {
        struct kind *kind = &flood->kinds[i];
        if (!kind->used || kind->aggregate.record.count == 0 || !(all || is_over(kind, now_us)))
            continue;
        kind->due            = true;
        kind->aggregate.done = aggregate_done;
        kind->aggregate.next = NULL;
        *last = &kind->aggregate;
        last  = &kind->aggregate.next;
    }
    return due;
}

bool bw_flood_is_waiting(const struct bw_flood *flood)
{
    for (size_t i = 0; i < ARRAY_LEN(flood->kinds); i++)
        if (flood->kinds[i].used && flood->kinds[i].aggregate.record.count > 0)
            return true;
    return false;
}
