#include "audit_scrub.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "audit_anchor.h"
#include "audit_find.h"
#include "audit_guard.h"
#include "audit_index_db.h"
#include "audit_lists.h"
#include "audit_tiles.h"

enum {
    CHUNK       = 256,             /* records looked at between two rests */
    REST_FACTOR = 31,              /* a rest is so many times as long as the work before it, */
    REST_MIN_MS = 10,              /* and at least this */
    PAUSE_MS    = 60 * 60 * 1000,
    NICENESS    = 19
};

static const uint32_t NO_LOG = UINT32_MAX;

/* What a log is held against, as it was when the pass began, and how far the pass got. */
struct seen_log {
    uint64_t           size;       /* its head's */
    struct bw_frontier frontier;   /* over the records read */
    bool               is_signed;
    uint64_t           signed_size;
    bw_hash            signed_root;
};

struct bw_audit_scrub {
    struct bw_audit_scrub_options options;
    char                   *guard_path, *anchor_path;
    struct bw_note_key      key;
    struct bw_audit_db      db;
    struct bw_hasher       *hasher;
    struct bw_hasher       *own_hasher;
    struct bw_checkpoint    anchored;    /* the anchor log's last; no origin: none */
    struct seen_log        *seen;        uint32_t seen_count;
    struct bw_list_place   *places;      size_t place_count; /* of the chunk at hand */
    struct bw_tile          tile;        /* the last one looked into */
    uint32_t                tile_log;
    bool                    has_tile;
    uint64_t                next;        /* position of the next record */
    struct bw_audit_damage  damage;

    pthread_t               thread;
    pthread_mutex_t         lock;        /* over stop */
    pthread_cond_t          wanted;
    bool                    stop;
    atomic_bool             found;       /* damage */
    atomic_uint_fast64_t    at, target, passes;
    atomic_int_fast64_t     finished_us;
};

/* ---- what was found ---- */

/* The first one is told; it names the place. */
static bw_result report(struct bw_audit_scrub *scrub, uint32_t log, uint64_t index, bw_result what)
{
    const struct bw_audit_log *of = bw_audit_logs_get(scrub->options.logs, log);

    scrub->damage = (struct bw_audit_damage){ .origin = of != NULL ? of->row.origin : "", .index = index, .what = what };
    atomic_store(&scrub->found, true);
    scrub->options.damaged(scrub->options.self, &scrub->damage);
    return what;
}

#define FOUND(scrub, log, index, text) report(scrub, log, index, bw_fail(BW_AUDIT_UNAVAILABLE, text))

/* ---- records ---- */

static bw_result check_entry(struct bw_audit_scrub *scrub, struct bw_sql *index, const struct bw_audit_db_row *row, int64_t time_us)
{
    bool there;

    bw_sql_bind_number(index, BW_INDEX_ENTRY, 1, row->log);
    bw_sql_bind_number(index, BW_INDEX_ENTRY, 2, (int64_t)row->index);
    BW_TRY(bw_sql_step(index, BW_INDEX_ENTRY, &there));
    bool same = there && (uint64_t)bw_sql_get_number(index, BW_INDEX_ENTRY, 0) == row->position
                && bw_sql_get_number(index, BW_INDEX_ENTRY, 1) == time_us;
    bw_sql_reset(index, BW_INDEX_ENTRY);
    return same ? bw_success() : FOUND(scrub, row->log, row->index, "the query index has not this record");
}

static bw_result turn_to(struct bw_audit_scrub *scrub, struct bw_sql *index, uint32_t log, unsigned level, uint64_t number)
{
    if (scrub->has_tile && scrub->tile_log == log && scrub->tile.level == level && scrub->tile.number == number)
        return bw_success();
    scrub->has_tile = false;
    BW_TRY(bw_tile_read(index, log, level, number, &scrub->tile));
    scrub->tile_log = log;
    scrub->has_tile = true;
    return bw_success();
}

static bw_result check_hash(struct bw_audit_scrub *scrub, struct bw_sql *index, uint32_t log, unsigned level, uint64_t place, const bw_hash *hash, bool *ret_same)
{
    bw_result r = turn_to(scrub, index, log, level, place >> BW_TILE_BITS);

    if (!bw_ok(r) && r.code != BW_AUDIT_UNAVAILABLE)
        return r;
    size_t at = place % BW_TILE_HASHES;
    *ret_same = bw_ok(r) && at < scrub->tile.count && bw_hash_equal(&scrub->tile.hashes[at], hash);
    return bw_success();
}

/* Each full tile's root stands in the tile above. Level 0 is held against the records, so by induction all are. */
static bw_result check_tiles_above(struct bw_audit_scrub *scrub, struct bw_sql *index, uint32_t log, uint64_t size)
{
    bw_hash root;
    bool    same = true;

    for (unsigned level = 0; size > 0 && size % BW_TILE_HASHES == 0 && same; level++) {
        size >>= BW_TILE_BITS;
        scrub->has_tile = false; /* as it is now: with its last hash */
        BW_TRY(turn_to(scrub, index, log, level, size - 1));
        scrub->has_tile = false; /* folding overwrites it */
        BW_TRY(bw_merkle_fold(scrub->hasher, scrub->tile.hashes, scrub->tile.count, &root));
        BW_TRY(check_hash(scrub, index, log, level + 1, size - 1, &root, &same));
    }
    return same ? bw_success() : FOUND(scrub, log, scrub->seen[log].frontier.size - 1, "a tile of the tree is not what those below it hash to");
}

static bw_result check_signed(struct bw_audit_scrub *scrub, uint32_t log)
{
    const struct seen_log *seen = &scrub->seen[log];
    bw_hash root;

    if (!seen->is_signed || seen->frontier.size != seen->signed_size)
        return bw_success();
    BW_TRY(bw_frontier_root(&seen->frontier, scrub->hasher, &root));
    return bw_hash_equal(&root, &seen->signed_root) ? bw_success()
                                                    : FOUND(scrub, log, seen->signed_size, "the records up to here are not what was signed");
}

static bw_result check_leaf(struct bw_audit_scrub *scrub, struct bw_sql *index, const struct bw_audit_db_row *row)
{
    uint8_t        entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf leaf;
    bw_hash        hash;
    bool           same;

    BW_TRY(bw_hasher_leaf(scrub->hasher, row->index, row->essential, row->who, row->context, &leaf));
    bw_leaf_print(&leaf, entry);
    BW_TRY(bw_merkle_leaf(scrub->hasher, bw_bytes_of(entry, sizeof entry), &hash));
    BW_TRY(check_hash(scrub, index, row->log, 0, row->index, &hash, &same));
    if (!same)
        return FOUND(scrub, row->log, row->index, "the record is not the one in the tree");
    BW_TRY(bw_frontier_add(&scrub->seen[row->log].frontier, scrub->hasher, &hash));
    BW_TRY(check_tiles_above(scrub, index, row->log, row->index + 1));
    return check_signed(scrub, row->log);
}

static bw_result check_decoded(struct bw_audit_scrub *scrub, struct bw_sql *index, const struct bw_audit_db_row *row, struct bw_arena *arena)
{
    struct bw_record       record;
    struct bw_record_stamp stamp;

    if (!bw_ok(bw_record_decode(row->essential, row->who, row->context, arena, &record, &stamp)))
        return FOUND(scrub, row->log, row->index, "the record cannot be read");
    scrub->place_count += bw_list_places_of(row->log, row->index, &record, &stamp, scrub->places + scrub->place_count);
    return check_entry(scrub, index, row, stamp.time_us);
}

struct chunk { struct bw_audit_scrub *scrub; struct bw_sql *index; };

static bw_result check_row(void *self, const struct bw_audit_db_row *row)
{
    struct chunk          *chunk = self;
    struct bw_audit_scrub *scrub = chunk->scrub;
    struct bw_arena        arena = { 0 };

    if (row->log >= scrub->seen_count)
        return FOUND(scrub, row->log, row->index, "a record of a log that is not there");
    if (row->index != scrub->seen[row->log].frontier.size)
        return FOUND(scrub, row->log, scrub->seen[row->log].frontier.size, "the record is missing, or out of order");
    BW_TRY(check_leaf(scrub, chunk->index, row));
    bw_result r = check_decoded(scrub, chunk->index, row, &arena);
    bw_arena_clear(&arena);
    return r;
}

static bw_result check_lists(struct bw_audit_scrub *scrub, struct bw_sql *index)
{
    struct bw_list_place missing;
    bool found;

    BW_TRY(bw_lists_check(index, BW_INDEX_LIST, scrub->places, scrub->place_count, &found, &missing));
    if (!found)
        return bw_success();
    return FOUND(scrub, bw_list_place_log(&missing), bw_list_place_index(&missing), "the query index hides this record");
}

/* On one state of the index. */
static bw_result check_chunk(void *self, struct bw_index_reader *reader)
{
    struct bw_audit_scrub *scrub = self;
    struct chunk chunk = { scrub, &reader->index };
    uint64_t target = atomic_load(&scrub->target), last = target - scrub->next >= CHUNK ? scrub->next + CHUNK - 1 : target;

    scrub->place_count = 0;
    scrub->has_tile    = false; /* it may have grown since */
    scrub->hasher      = reader->hasher;
    BW_TRY(bw_audit_db_each_row(&reader->db, scrub->next, last, check_row, &chunk));
    BW_TRY(check_lists(scrub, &reader->index));
    scrub->next = last + 1;
    atomic_store(&scrub->at, last);
    return bw_success();
}

/* ---- a pass: what it is held against ---- */

static bw_result take_head(void *self, const struct bw_audit_log_row *row)
{
    struct bw_audit_scrub *scrub = self;

    if (row->number >= scrub->seen_count) {
        struct seen_log *seen = realloc(scrub->seen, (row->number + 1) * sizeof *seen);
        BW_CHECK(seen != NULL, BW_NO_MEMORY, "scrubber");
        scrub->seen = seen;
        memset(seen + scrub->seen_count, 0, (row->number + 1 - scrub->seen_count) * sizeof *seen);
        scrub->seen_count = row->number + 1;
    }
    scrub->seen[row->number].size = row->size;
    return bw_success();
}

/* Heads and length of one state of the log; then until the index has all of that. */
static bw_result take_heads(struct bw_audit_scrub *scrub)
{
    uint64_t length = 0;

    BW_TRY(bw_audit_db_read(&scrub->db));
    bw_result r = bw_audit_db_each_log(&scrub->db, take_head, scrub);
    if (bw_ok(r))
        r = bw_audit_db_length(&scrub->db, &length);
    bw_audit_db_roll_back(&scrub->db);
    atomic_store(&scrub->target, length);
    return r;
}

static bw_result check_note(struct bw_audit_scrub *scrub, uint32_t log, const struct bw_guarded *row)
{
    bool by_key;
    bool good = bw_ok(bw_guarded_check(row, &scrub->key, &by_key));

    return good ? bw_success() : FOUND(scrub, log, row->checkpoint.size, "the checkpoint in the guard file is not as it was signed");
}

static bw_result take_guarded(void *self, const struct bw_guarded *row)
{
    struct bw_audit_scrub *scrub = self;

    for (uint32_t log = 0; log < scrub->seen_count; log++) {
        struct seen_log *seen = &scrub->seen[log];
        if (strcmp(bw_audit_logs_get(scrub->options.logs, log)->row.origin, row->checkpoint.origin) != 0)
            continue;
        seen->is_signed   = row->checkpoint.size > 0;
        seen->signed_size = row->checkpoint.size;
        seen->signed_root = row->checkpoint.root;
        return check_note(scrub, log, row);
    }
    scrub->anchored = row->checkpoint;
    return check_note(scrub, NO_LOG, row);
}

static bool is_damage(bw_result r)
{
    return r.code == BW_AUDIT_UNAVAILABLE || r.code == BW_LOG_POSITION || r.code == BW_WRONG_REGION;
}

static bw_result check_anchor(struct bw_audit_scrub *scrub)
{
    struct bw_anchor anchor = { .epoch = 0 };
    bw_hash root;

    bw_result r = bw_anchor_open(scrub->anchor_path, &scrub->options.region, scrub->own_hasher, &anchor);
    if (bw_ok(r) && scrub->anchored.origin[0] != '\0') {
        r = bw_anchor_root(&anchor, scrub->own_hasher, scrub->anchored.size, &root);
        if (bw_ok(r) && !bw_hash_equal(&root, &scrub->anchored.root))
            r = bw_fail(BW_LOG_POSITION, "another root");
    }
    bw_anchor_close(&anchor);
    return is_damage(r) ? FOUND(scrub, NO_LOG, scrub->anchored.size, "the anchor log on the disk is not what was signed") : r;
}

static bw_result take_signed(struct bw_audit_scrub *scrub)
{
    struct bw_audit_guard guard;

    if (scrub->guard_path == NULL)
        return bw_success();
    bw_result r = bw_audit_guard_open(scrub->guard_path, &scrub->options.region, &guard);
    if (!bw_ok(r))
        return is_damage(r) ? FOUND(scrub, NO_LOG, 0, "the guard file on the disk cannot be read") : r;
    r = bw_audit_guard_each(&guard, take_guarded, scrub);
    bw_audit_guard_close(&guard);
    return bw_ok(r) ? check_anchor(scrub) : r;
}

static bw_result check_heads(struct bw_audit_scrub *scrub)
{
    for (uint32_t log = 0; log < scrub->seen_count; log++)
        if (scrub->seen[log].frontier.size != scrub->seen[log].size)
            return FOUND(scrub, log, scrub->seen[log].frontier.size, "the record is missing: the log's head counts more");
    return bw_success();
}

/* ---- a pass ---- */

static int64_t now_ms(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* false: to stop. */
static bool rest(struct bw_audit_scrub *scrub, int64_t ms)
{
    int64_t until_ms = now_ms(CLOCK_MONOTONIC) + ms;
    struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

    (void)pthread_mutex_lock(&scrub->lock);
    while (!scrub->stop && pthread_cond_timedwait(&scrub->wanted, &scrub->lock, &until) != ETIMEDOUT)
        ;
    bool go_on = !scrub->stop;
    (void)pthread_mutex_unlock(&scrub->lock);
    return go_on;
}

static bw_result begin_pass(struct bw_audit_scrub *scrub)
{
    scrub->next   = 1;
    scrub->hasher = scrub->own_hasher;
    atomic_store(&scrub->at, 0);
    for (uint32_t log = 0; log < scrub->seen_count; log++)
        scrub->seen[log] = (struct seen_log){ 0 };
    BW_TRY(take_heads(scrub)); /* which logs there are */
    BW_TRY(take_signed(scrub));
    BW_TRY(take_heads(scrub)); /* at least what is signed */
    return bw_audit_index_wait(scrub->options.index);
}

/* What failed without a finding could not be read just now: the next pass begins anew. */
static bool pass(struct bw_audit_scrub *scrub)
{
    bw_result r = begin_pass(scrub);

    while (bw_ok(r) && scrub->next <= atomic_load(&scrub->target)) {
        int64_t begun_ms = now_ms(CLOCK_THREAD_CPUTIME_ID); /* waiting for others' work is a rest already */
        r = bw_audit_index_look(scrub->options.index, check_chunk, scrub);
        int64_t rest_ms = (now_ms(CLOCK_THREAD_CPUTIME_ID) - begun_ms) * REST_FACTOR;
        if (!rest(scrub, rest_ms > REST_MIN_MS ? rest_ms : REST_MIN_MS))
            return false;
    }
    if (bw_ok(r))
        r = check_heads(scrub);
    if (bw_ok(r)) {
        atomic_store(&scrub->finished_us, now_ms(CLOCK_REALTIME) * 1000);
        atomic_fetch_add(&scrub->passes, 1);
    }
    return !atomic_load(&scrub->found);
}

static void *run(void *self)
{
    struct bw_audit_scrub *scrub = self;

    (void)pthread_setname_np(pthread_self(), "bw-scrubber");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    while (pass(scrub) && rest(scrub, scrub->options.pause_ms))
        continue;
    return NULL;
}

/* ---- others ---- */

bw_result bw_audit_scrub_health(const struct bw_audit_scrub *scrub)
{
    BW_CHECK(!atomic_load(&scrub->found), BW_AUDIT_UNAVAILABLE, "the audit log on the disk is damaged: the alarm in the log tells where");
    return bw_success();
}

void bw_audit_scrub_progress(const struct bw_audit_scrub *scrub, struct bw_audit_progress *ret_progress)
{
    *ret_progress = (struct bw_audit_progress){ .at = atomic_load(&scrub->at), .of = atomic_load(&scrub->target),
                                                .passes = atomic_load(&scrub->passes), .finished_us = atomic_load(&scrub->finished_us) };
}

static void clear(struct bw_audit_scrub *scrub)
{
    bw_audit_db_close(&scrub->db);
    bw_hasher_free(scrub->own_hasher);
    free(scrub->guard_path);
    free(scrub->anchor_path);
    free(scrub->seen);
    free(scrub->places);
    (void)pthread_cond_destroy(&scrub->wanted);
    (void)pthread_mutex_destroy(&scrub->lock);
    free(scrub);
}

static bw_result init(struct bw_audit_scrub *scrub, const struct bw_audit_scrub_options *options)
{
    pthread_condattr_t monotonic;

    scrub->options = *options;
    scrub->options.pause_ms = options->pause_ms != 0 ? options->pause_ms : PAUSE_MS;
    if (options->guard_path != NULL) {
        scrub->key         = *options->key;
        scrub->guard_path  = strdup(options->guard_path);
        scrub->anchor_path = strdup(options->anchor_path);
        BW_CHECK(scrub->guard_path != NULL && scrub->anchor_path != NULL, BW_NO_MEMORY, "scrubber");
    }
    BW_CHECK(pthread_condattr_init(&monotonic) == 0 && pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0
             && pthread_mutex_init(&scrub->lock, NULL) == 0 && pthread_cond_init(&scrub->wanted, &monotonic) == 0, BW_NO_MEMORY, "scrubber");
    (void)pthread_condattr_destroy(&monotonic);
    scrub->places = malloc(CHUNK * BW_LIST_PLACES_MAX * sizeof *scrub->places);
    BW_CHECK(scrub->places != NULL, BW_NO_MEMORY, "scrubber");
    BW_TRY(bw_hasher_new(&scrub->own_hasher));
    return bw_audit_db_open(options->db_path, &options->region, BW_AUDIT_DB_READS, &scrub->db);
}

bw_result bw_audit_scrub_start(const struct bw_audit_scrub_options *options, struct bw_audit_scrub **ret_scrub)
{
    struct bw_audit_scrub *scrub = calloc(1, sizeof *scrub);

    BW_CHECK(scrub != NULL, BW_NO_MEMORY, "scrubber");
    bw_result r = init(scrub, options);
    if (bw_ok(r) && pthread_create(&scrub->thread, NULL, run, scrub) != 0)
        r = bw_fail(BW_NO_MEMORY, "scrubber");
    if (!bw_ok(r)) {
        clear(scrub);
        return r;
    }
    *ret_scrub = scrub;
    return bw_success();
}

void bw_audit_scrub_stop(struct bw_audit_scrub *scrub)
{
    if (scrub == NULL)
        return;
    (void)pthread_mutex_lock(&scrub->lock);
    scrub->stop = true;
    (void)pthread_cond_signal(&scrub->wanted);
    (void)pthread_mutex_unlock(&scrub->lock);
    (void)pthread_join(scrub->thread, NULL);
    clear(scrub);
}
