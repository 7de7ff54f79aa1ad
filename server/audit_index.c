#include "audit_index.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "audit_find.h"
#include "audit_index_db.h"
#include "audit_lists.h"
#include "audit_move.h"
#include "audit_tiles.h"

enum {
    ROUND_MAX    = 4096,             /* records fed in one transaction */
    PLACES_MAX   = ROUND_MAX * BW_LIST_PLACES_MAX,
    GATHER_MS    = 200,              /* how long a few records wait for more: feeding many at once is cheaper */
    TICK_MS      = 1000,
    CATCH_UP_MS  = 30 * 1000,        /* how long a query waits for the index */
    NICENESS     = 10                /* the release path goes first */
};

/* A log's records in the index, and what this round added to. */
struct fed_log { uint64_t size, moved; bool grown; struct bw_tile *partial; }; /* moved: in segments */

struct bw_audit_index {
    struct bw_audit_index_options options; /* with paths of our own */
    char                   *db_path, *index_path;
    pthread_t               thread;
    bool                    has_thread;

    /* the thread's own */
    struct bw_sql           sql;
    struct bw_audit_db      db;
    struct bw_hasher       *hasher;
    uint64_t                position;      /* of the last record fed */
    uint8_t                 mark[BW_AUDIT_SALT_LEN];
    struct fed_log         *logs;          size_t log_room;
    struct bw_list_place   *places;        size_t place_count;
    struct bw_list_mover   *mover;
    bool                    moves;         /* lists wait to be moved */

    pthread_mutex_t         lock;          /* over what follows */
    pthread_cond_t          wanted;        /* wakes the thread */
    pthread_cond_t          fed;           /* wakes who waits for the index */
    bool                    asleep;        /* the thread waits for wanted, without a time */
    bool                    urgent;        /* somebody waits */
    bool                    stop;
    uint64_t                durable, indexed;
    bw_result               state;         /* of the last round */
    struct bw_index_reader *readers;       /* not in use */
};

/* ---- feeding: one record ---- */

static bw_result grow_logs(struct bw_audit_index *index, uint32_t log)
{
    size_t room = index->log_room ? index->log_room : 64;

    while (room <= log)
        room *= 2;
    struct fed_log *logs = realloc(index->logs, room * sizeof *logs);
    BW_CHECK(logs != NULL, BW_NO_MEMORY, "query index");
    memset(logs + index->log_room, 0, (room - index->log_room) * sizeof *logs);
    index->logs     = logs;
    index->log_room = room;
    return bw_success();
}

static bw_result add_entry(struct bw_audit_index *index, const struct bw_audit_db_row *row, int64_t time_us)
{
    bw_sql_bind_number(&index->sql, BW_INDEX_ADD_ENTRY, 1, row->log);
    bw_sql_bind_number(&index->sql, BW_INDEX_ADD_ENTRY, 2, (int64_t)row->index);
    bw_sql_bind_number(&index->sql, BW_INDEX_ADD_ENTRY, 3, (int64_t)row->position);
    bw_sql_bind_number(&index->sql, BW_INDEX_ADD_ENTRY, 4, time_us);
    return bw_sql_run(&index->sql, BW_INDEX_ADD_ENTRY);
}

/* An intent is open until the record of its outcome. */
static bw_result note_intent(struct bw_audit_index *index, const struct bw_audit_db_row *row, const struct bw_record *record)
{
    if (record->outcome == BW_OUTCOME_INTENT) {
        bw_sql_bind_number(&index->sql, BW_INDEX_ADD_INTENT, 1, (int64_t)row->position);
        bw_sql_bind_number(&index->sql, BW_INDEX_ADD_INTENT, 2, row->log);
        bw_sql_bind_number(&index->sql, BW_INDEX_ADD_INTENT, 3, (int64_t)row->index);
        return bw_sql_run(&index->sql, BW_INDEX_ADD_INTENT);
    }
    if (record->intent_index == 0)
        return bw_success();
    bw_sql_bind_number(&index->sql, BW_INDEX_CLOSE_INTENT, 1, row->log);
    bw_sql_bind_number(&index->sql, BW_INDEX_CLOSE_INTENT, 2, (int64_t)(record->intent_index - 1));
    return bw_sql_run(&index->sql, BW_INDEX_CLOSE_INTENT);
}

static bw_result add_leaf(struct bw_audit_index *index, const struct bw_audit_db_row *row)
{
    uint8_t        entry[BW_AUDIT_ENTRY_LEN];
    struct bw_leaf leaf;
    bw_hash        hash;

    BW_TRY(bw_hasher_leaf(index->hasher, row->index, row->essential, row->who, row->context, &leaf));
    bw_leaf_print(&leaf, entry);
    BW_TRY(bw_merkle_leaf(index->hasher, bw_bytes_of(entry, sizeof entry), &hash));
    return bw_tiles_add(&index->sql, row->log, &index->logs[row->log].partial, index->hasher, row->index, &hash);
}

static bw_result feed_decoded(struct bw_audit_index *index, const struct bw_audit_db_row *row, struct bw_arena *arena)
{
    struct bw_record       record;
    struct bw_record_stamp stamp;

    BW_CHECK(bw_ok(bw_record_decode(row->essential, row->who, row->context, arena, &record, &stamp)), BW_AUDIT_UNAVAILABLE,
             "the audit log is damaged: a record cannot be read");
    BW_TRY(add_entry(index, row, stamp.time_us));
    BW_TRY(note_intent(index, row, &record));
    index->place_count += bw_list_places_of(row->log, row->index, &record, &stamp, index->places + index->place_count);
    return add_leaf(index, row);
}

static bw_result feed_row(void *self, const struct bw_audit_db_row *row)
{
    struct bw_audit_index *index = self;
    struct bw_arena        arena = { 0 };

    BW_CHECK(row->position == index->position + 1, BW_AUDIT_UNAVAILABLE, "the audit log is damaged: a record is missing");
    if (row->log >= index->log_room)
        BW_TRY(grow_logs(index, row->log));
    BW_CHECK(row->index == index->logs[row->log].size, BW_AUDIT_UNAVAILABLE, "the audit log is damaged: a log's records are not in order");
    bw_result r = feed_decoded(index, row, &arena);
    bw_arena_clear(&arena);
    BW_TRY(r);

    index->logs[row->log].size++;
    index->logs[row->log].grown = true;
    index->position = row->position;
    memcpy(index->mark, row->essential.data, sizeof index->mark); /* its salt: decoding checked the length */
    return bw_success();
}

/* ---- feeding: a round ---- */

static bw_result put_logs(struct bw_audit_index *index)
{
    for (size_t log = 0; log < index->log_room; log++) {
        if (!index->logs[log].grown)
            continue;
        BW_TRY(bw_tiles_write(&index->sql, (uint32_t)log, index->logs[log].partial));
        bw_tiles_drop(&index->logs[log].partial);
        bw_sql_bind_number(&index->sql, BW_INDEX_SET_FED, 1, (int64_t)log);
        bw_sql_bind_number(&index->sql, BW_INDEX_SET_FED, 2, (int64_t)index->logs[log].size);
        BW_TRY(bw_sql_run(&index->sql, BW_INDEX_SET_FED));
        index->logs[log].grown = false;
    }
    return bw_success();
}

static bw_result feed(struct bw_audit_index *index, uint64_t to)
{
    uint64_t last = to - index->position > ROUND_MAX ? index->position + ROUND_MAX : to;

    BW_TRY(bw_sql_run(&index->sql, BW_INDEX_BEGIN));
    index->place_count = 0;
    BW_TRY(bw_audit_db_each_row(&index->db, index->position + 1, last, feed_row, index));
    BW_CHECK(index->position == last, BW_AUDIT_UNAVAILABLE, "the audit log is damaged: records are missing at its end");
    BW_TRY(bw_lists_write(&index->sql, BW_INDEX_ADD_LIST, index->places, index->place_count));
    BW_TRY(put_logs(index));
    bw_sql_bind_number(&index->sql, BW_INDEX_SET_POSITION, 1, (int64_t)index->position);
    bw_sql_bind_bytes(&index->sql, BW_INDEX_SET_POSITION, 2, bw_bytes_of(index->mark, sizeof index->mark));
    BW_TRY(bw_sql_run(&index->sql, BW_INDEX_SET_POSITION));
    return bw_sql_run(&index->sql, BW_INDEX_COMMIT);
}

static void forget_logs(struct bw_audit_index *index)
{
    for (size_t log = 0; log < index->log_room; log++) {
        bw_tiles_drop(&index->logs[log].partial);
        index->logs[log] = (struct fed_log){ 0 };
    }
}

/* What the index says of itself: how far it got. */
static bw_result read_state(struct bw_audit_index *index)
{
    bool row;

    forget_logs(index);
    memset(index->mark, 0, sizeof index->mark);
    BW_TRY(bw_sql_step(&index->sql, BW_INDEX_POSITION, &row));
    if (row) {
        bw_bytes mark = bw_sql_get_bytes(&index->sql, BW_INDEX_POSITION, 1);
        index->position = (uint64_t)bw_sql_get_number(&index->sql, BW_INDEX_POSITION, 0);
        if (mark.len == sizeof index->mark)
            memcpy(index->mark, mark.data, mark.len);
    }
    bw_sql_reset(&index->sql, BW_INDEX_POSITION);
    BW_CHECK(row, BW_AUDIT_UNAVAILABLE, "the query index is damaged");
    for (;;) {
        BW_TRY(bw_sql_step(&index->sql, BW_INDEX_EACH_FED, &row));
        if (!row)
            break;
        uint32_t log = (uint32_t)bw_sql_get_number(&index->sql, BW_INDEX_EACH_FED, 0);
        if (log >= index->log_room)
            BW_TRY(grow_logs(index, log));
        index->logs[log].size  = (uint64_t)bw_sql_get_number(&index->sql, BW_INDEX_EACH_FED, 1);
        index->logs[log].moved = (uint64_t)bw_sql_get_number(&index->sql, BW_INDEX_EACH_FED, 2);
    }
    bw_sql_reset(&index->sql, BW_INDEX_EACH_FED);
    return bw_success();
}

static bw_result feed_round(struct bw_audit_index *index, uint64_t to)
{
    bw_result r = feed(index, to);

    if (!bw_ok(r)) {
        bw_sql_roll_back(&index->sql);
        (void)read_state(index); /* when this fails too, the next round fails as this one did */
    }
    return r;
}

/* ---- moving ---- */

static bw_result move_some(struct bw_audit_index *index, uint32_t log)
{
    uint64_t segment = index->logs[log].moved;
    bool     all;

    BW_TRY(bw_sql_run(&index->sql, BW_INDEX_BEGIN));
    BW_TRY(bw_lists_move(index->mover, &index->sql, log, segment, &all));
    if (all) {
        bw_sql_bind_number(&index->sql, BW_INDEX_SET_MOVED, 1, log);
        bw_sql_bind_number(&index->sql, BW_INDEX_SET_MOVED, 2, (int64_t)(segment + 1));
        BW_TRY(bw_sql_run(&index->sql, BW_INDEX_SET_MOVED));
    }
    BW_TRY(bw_sql_run(&index->sql, BW_INDEX_COMMIT));
    index->logs[log].moved += all;
    return bw_success();
}

/* A little, of the first log that has a full segment to move. *ret_more: there is more to do. */
static bw_result move_round(struct bw_audit_index *index, bool *ret_more)
{
    size_t log = 0;

    while (log < index->log_room && index->logs[log].size >> BW_SEGMENT_BITS == index->logs[log].moved)
        log++;
    *ret_more = log < index->log_room;
    if (!*ret_more)
        return bw_success();
    bw_result r = move_some(index, (uint32_t)log);
    if (!bw_ok(r))
        bw_sql_roll_back(&index->sql);
    return r;
}

/* ---- the thread ---- */

static struct timespec in_ms(unsigned ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec  += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

/* After a failed round the next one waits, whoever is in a hurry. */
static bool has_much_to_do(const struct bw_audit_index *index)
{
    bool urgent = index->urgent || index->durable - index->indexed >= ROUND_MAX;
    return index->stop || (index->durable > index->indexed && urgent && bw_ok(index->state));
}

/* Holding the lock. First for anything at all, then a little longer for company. */
static void wait_for_work(struct bw_audit_index *index)
{
    if (index->durable == index->indexed && !index->stop && !index->options.wants_tick(index->options.self)) {
        index->asleep = true;
        (void)pthread_cond_wait(&index->wanted, &index->lock);
        index->asleep = false;
    }
    struct timespec until = in_ms(index->durable == index->indexed ? TICK_MS : GATHER_MS);
    while (!has_much_to_do(index) && pthread_cond_timedwait(&index->wanted, &index->lock, &until) == 0)
        ;
}

/* Holding the lock, which is let go meanwhile. Who waits for records is told before lists move. */
static void do_round(struct bw_audit_index *index)
{
    uint64_t to = index->durable;

    (void)pthread_mutex_unlock(&index->lock);
    bw_result state = to > index->position ? feed_round(index, to) : bw_success();
    index->options.tick(index->options.self);
    (void)pthread_mutex_lock(&index->lock);
    index->state   = state;
    index->indexed = index->position;
    if (index->indexed >= to)
        index->urgent = false;
    (void)pthread_cond_broadcast(&index->fed);
    if (!bw_ok(state))
        return;
    (void)pthread_mutex_unlock(&index->lock);
    state = move_round(index, &index->moves);
    (void)pthread_mutex_lock(&index->lock);
    index->state = state;
}

static void *run(void *self)
{
    struct bw_audit_index *index = self;

    (void)pthread_setname_np(pthread_self(), "bw-indexer");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    (void)pthread_mutex_lock(&index->lock);
    while (!index->stop) {
        if (!index->moves || !bw_ok(index->state))
            wait_for_work(index);
        do_round(index);
    }
    (void)pthread_mutex_unlock(&index->lock);
    return NULL;
}

void bw_audit_index_grown(struct bw_audit_index *index, uint64_t length)
{
    (void)pthread_mutex_lock(&index->lock);
    index->durable = length;
    if (index->asleep || has_much_to_do(index))
        (void)pthread_cond_signal(&index->wanted);
    (void)pthread_mutex_unlock(&index->lock);
}

/* ---- whoever asks ---- */

static bw_result catch_up(struct bw_audit_index *index)
{
    struct timespec until = in_ms(CATCH_UP_MS);
    bool in_time = true;

    (void)pthread_mutex_lock(&index->lock);
    uint64_t target = index->durable;
    while (index->indexed < target && in_time && bw_ok(index->state)) {
        index->urgent = true;
        (void)pthread_cond_signal(&index->wanted);
        in_time = pthread_cond_timedwait(&index->fed, &index->lock, &until) != ETIMEDOUT;
    }
    bool      there = index->indexed >= target;
    bw_result state = index->state;
    (void)pthread_mutex_unlock(&index->lock);
    if (!there)
        BW_TRY(state);
    BW_CHECK(there, BW_DEADLINE, "the query index is being made again");
    return bw_success();
}

static void free_reader(struct bw_index_reader *reader)
{
    bw_sql_close(&reader->index);
    bw_audit_db_close(&reader->db);
    bw_hasher_free(reader->hasher);
    free(reader);
}

static bw_result open_reader(struct bw_audit_index *index, struct bw_index_reader *reader)
{
    BW_TRY(bw_index_db_open(index->index_path, false, &reader->index));
    BW_TRY(bw_audit_db_open(index->db_path, &index->options.region, BW_AUDIT_DB_READS, &reader->db));
    return bw_hasher_new(&reader->hasher);
}

static bw_result take_reader(struct bw_audit_index *index, struct bw_index_reader **ret_reader)
{
    (void)pthread_mutex_lock(&index->lock);
    struct bw_index_reader *reader = index->readers;
    if (reader != NULL)
        index->readers = reader->next;
    (void)pthread_mutex_unlock(&index->lock);

    if (reader == NULL) {
        reader = calloc(1, sizeof *reader);
        BW_CHECK(reader != NULL, BW_NO_MEMORY, "query");
        bw_result r = open_reader(index, reader);
        if (!bw_ok(r)) {
            free_reader(reader);
            return r;
        }
    }
    *ret_reader = reader;
    return bw_success();
}

static void give_back(struct bw_audit_index *index, struct bw_index_reader *reader)
{
    (void)pthread_mutex_lock(&index->lock);
    reader->next   = index->readers;
    index->readers = reader;
    (void)pthread_mutex_unlock(&index->lock);
}

bw_result bw_audit_index_find(struct bw_audit_index *index, const struct bw_audit_query *query, struct bw_arena *arena, struct bw_audit_found *ret_found)
{
    const struct bw_audit_log *log = bw_audit_logs_get(index->options.logs, query->log);
    struct bw_index_reader    *reader;

    BW_CHECK(log != NULL, BW_INTERNAL, "no such log");
    if (!query->as_indexed)
        BW_TRY(catch_up(index));
    BW_TRY(take_reader(index, &reader));
    bw_result r = bw_index_search(reader, log, query, arena, ret_found);
    give_back(index, reader);
    return r;
}

bw_result bw_audit_index_each_open_intent(struct bw_audit_index *index, bw_audit_intent_fn each, void *self)
{
    struct bw_index_reader *reader;

    BW_TRY(catch_up(index));
    BW_TRY(take_reader(index, &reader));
    bw_result r = bw_index_each_open_intent(reader, each, self);
    give_back(index, reader);
    return r;
}

bw_result bw_audit_index_wait(struct bw_audit_index *index)
{
    return catch_up(index);
}

bw_result bw_audit_index_look(struct bw_audit_index *index, bw_index_read_fn read, void *self)
{
    struct bw_index_reader *reader;

    BW_TRY(take_reader(index, &reader));
    bw_result r = bw_sql_run(&reader->index, BW_INDEX_READ);
    if (bw_ok(r))
        r = read(self, reader);
    bw_sql_roll_back(&reader->index);
    give_back(index, reader);
    return r;
}

bw_result bw_audit_index_read(struct bw_audit_index *index, bw_index_read_fn read, void *self)
{
    BW_TRY(catch_up(index));
    return bw_audit_index_look(index, read, self);
}

/* ---- open and close ---- */

static bw_result compare_mark(void *self, const struct bw_audit_db_row *row)
{
    struct bw_audit_index *index = self;

    BW_CHECK(row->essential.len >= sizeof index->mark && memcmp(row->essential.data, index->mark, sizeof index->mark) == 0,
             BW_AUDIT_UNAVAILABLE, "the query index is of another log");
    return bw_success();
}

/* Whether the index there is can be gone on with: it must know this very log, and nothing that the log does not. */
static bw_result reuse(struct bw_audit_index *index)
{
    BW_TRY(bw_index_db_open(index->index_path, true, &index->sql));
    BW_TRY(read_state(index));
    BW_CHECK(index->position <= index->options.length, BW_AUDIT_UNAVAILABLE, "the query index is ahead of the log");
    return bw_audit_db_each_row(&index->db, index->position, index->position, compare_mark, index); /* position 0 has no row */
}

static bw_result open_index(struct bw_audit_index *index)
{
    BW_TRY(bw_audit_db_open(index->db_path, &index->options.region, BW_AUDIT_DB_READS, &index->db));
    if (!index->options.anew && bw_ok(reuse(index)))
        return bw_success();
    bw_sql_close(&index->sql);
    BW_TRY(bw_index_db_create(index->index_path, &index->sql));
    return read_state(index);
}

static bw_result init(struct bw_audit_index *index, const struct bw_audit_index_options *options)
{
    pthread_condattr_t clock;

    index->options    = *options;
    index->durable    = options->length;
    index->state      = bw_success();
    index->db_path    = strdup(options->db_path);
    index->index_path = strdup(options->index_path);
    index->places     = malloc(PLACES_MAX * sizeof *index->places);
    index->mover      = malloc(sizeof *index->mover);
    BW_CHECK(index->db_path != NULL && index->index_path != NULL && index->places != NULL && index->mover != NULL, BW_NO_MEMORY, "query index");
    BW_TRY(bw_hasher_new(&index->hasher));
    BW_CHECK(pthread_condattr_init(&clock) == 0 && pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0, BW_NO_MEMORY, "query index");
    BW_CHECK(pthread_mutex_init(&index->lock, NULL) == 0 && pthread_cond_init(&index->wanted, &clock) == 0
             && pthread_cond_init(&index->fed, &clock) == 0, BW_NO_MEMORY, "query index");
    (void)pthread_condattr_destroy(&clock);
    return bw_success();
}

bw_result bw_audit_index_new(const struct bw_audit_index_options *options, struct bw_audit_index **ret_index)
{
    BW_AUTO(audit_index) index = calloc(1, sizeof *index);

    BW_CHECK(index != NULL, BW_NO_MEMORY, "query index");
    BW_TRY(init(index, options));
    BW_TRY(open_index(index));
    index->indexed = index->position;
    BW_CHECK(pthread_create(&index->thread, NULL, run, index) == 0, BW_NO_MEMORY, "query index");
    index->has_thread = true;

    *ret_index = bw_take(&index);
    return bw_success();
}

void bw_audit_index_free(struct bw_audit_index *index)
{
    if (index == NULL)
        return;
    if (index->has_thread) {
        (void)pthread_mutex_lock(&index->lock);
        index->stop = true;
        (void)pthread_cond_signal(&index->wanted);
        (void)pthread_mutex_unlock(&index->lock);
        (void)pthread_join(index->thread, NULL);
    }
    while (index->readers != NULL) {
        struct bw_index_reader *next = index->readers->next;
        free_reader(index->readers);
        index->readers = next;
    }
    bw_sql_close(&index->sql);
    bw_audit_db_close(&index->db);
    (void)pthread_cond_destroy(&index->fed);
    (void)pthread_cond_destroy(&index->wanted);
    (void)pthread_mutex_destroy(&index->lock);
    forget_logs(index);
    bw_hasher_free(index->hasher);
    free(index->logs);
    free(index->places);
    free(index->mover);
    free(index->db_path);
    free(index->index_path);
    free(index);
}
