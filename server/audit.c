#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "audit_anchor.h"
#include "audit_flood.h"
#include "audit_index.h"
#include "audit_logs.h"
#include "audit_notary.h"
#include "audit_proof.h"
#include "audit_scrub.h"
#include "audit_space.h"

enum {
    BATCH_MAX       = 512,           /* records in a commit: bounds how long one takes */
    RANDOM_LEN      = BW_RECORD_SALTS_LEN + BW_RECORD_EVENT_ID_LEN,
    PATH_ROOM       = 4096,
    WAL_PAGES_WANTS = 1000,          /* then the write-ahead log is checkpointed beside the committer, */
    WAL_PAGES_NEEDS = 16 * 1024,     /* and then with the committer stopped, so that it can start again from its beginning */
    WAL_PAGE_LEN    = 4096 + 24,     /* with its frame's header */
    CLOCK_BACK_US   = 60 * 1000 * 1000,
    EPOCH_MS        = 60 * 1000
};

struct bw_audit {
    bw_region              region;
    char                   node[BW_PRINCIPAL_MAX + 1];
    char                  *host;
    int                    lock;         /* the file that keeps other processes out */
    struct bw_audit_logs  *logs;
    struct bw_audit_space *space;
    struct bw_audit_index *index;
    struct bw_audit_notary *notary;      /* NULL: nothing is signed */
    struct bw_audit_scrub *scrub;        /* NULL: nothing is read again */

    pthread_mutex_t        queue_lock;   /* over the next three */
    struct bw_audit_entry *first, **last;
    bool                   committing;   /* somebody is the committer: he takes along what is queued meanwhile */

    pthread_mutex_t        write_lock;   /* over what follows; taken before queue_lock, never within it */
    struct bw_audit_db     db;
    struct bw_hasher      *hasher;
    struct bw_flood       *flood;
    bool                   in_doubt;     /* memory may differ from the database: read heads again before writing */
    uint64_t               length;       /* position of the last record */
    struct bw_audit_log   *touched;
    struct bw_record_bytes bytes;
    uint8_t                random[BATCH_MAX * RANDOM_LEN];

    pthread_mutex_t        watch_lock;   /* over the next two; innermost */
    void                 (*grown)(void *self);
    void                  *watcher;

    struct bw_audit_db     checkpointer; /* these two are the index's thread's */
    unsigned               checkpointed; /* pages of the write-ahead log that are in the file; 0: not all are */

    atomic_uint_fast64_t   records, commits;
    atomic_bool            flooded;      /* the flood has something to write later */
    atomic_int_fast64_t    failed_us;    /* CLOCK_MONOTONIC of the last failed commit; 0: none */
    atomic_int_fast64_t    last_us;      /* time of the newest record of any log */
};

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool clock_is_unsure(void)
{
    struct timex state = { .modes = 0 };
    return adjtimex(&state) == TIME_ERROR;
}

/* ---- writing, with write_lock held: reading back ---- */

static bw_result put_log(void *self, const struct bw_audit_log_row *row)
{
    struct bw_audit *audit = self;

    if (row->last_us > atomic_load(&audit->last_us))
        atomic_store(&audit->last_us, row->last_us);
    return bw_audit_logs_put(audit->logs, row);
}

/* The database has the last word on what was committed. */
static bw_result read_heads(struct bw_audit *audit)
{
    uint64_t length, sum = 0;

    BW_TRY(bw_audit_db_each_log(&audit->db, put_log, audit));
    BW_TRY(bw_audit_db_length(&audit->db, &length));
    for (uint32_t i = 0; i < bw_audit_logs_count(audit->logs); i++)
        sum += bw_audit_logs_get(audit->logs, i)->row.size;
    BW_CHECK(sum == length, BW_AUDIT_UNAVAILABLE, "the audit log is damaged: records and heads disagree");
    audit->length   = length;
    audit->in_doubt = false;
    return bw_success();
}

static void untouch(struct bw_audit *audit)
{
    while (audit->touched != NULL) {
        audit->touched->touched = false;
        audit->touched = audit->touched->next_touched;
    }
}

/* What a transaction must begin and end with. A failed commit may have taken all the same; then its records stay, without
 * a release: never the reverse. */
static bw_result begin(struct bw_audit *audit)
{
    if (audit->in_doubt)
        BW_TRY(read_heads(audit));
    return bw_audit_db_begin(&audit->db);
}

static void abandon(struct bw_audit *audit)
{
    bw_audit_db_roll_back(&audit->db);
    untouch(audit);
    audit->in_doubt = true;
    atomic_store(&audit->failed_us, clock_us(CLOCK_MONOTONIC));
}

/* ---- writing: a transaction ---- */

static bw_result append(struct bw_audit *audit, struct bw_audit_entry *entry, struct bw_record_stamp *stamp, const uint8_t *random)
{
    struct bw_audit_log *log = bw_audit_logs_get(audit->logs, entry->record.log);

    stamp->time_us = stamp->wall_us > log->row.last_us ? stamp->wall_us : log->row.last_us + 1;
    memcpy(stamp->event_id, random + BW_RECORD_SALTS_LEN, sizeof stamp->event_id);
    BW_TRY(bw_audit_log_pseudonym(log, audit->hasher, entry->record.principal, stamp->principal_tag));
    BW_TRY(bw_record_encode(&entry->record, stamp, random, &audit->bytes));
    const struct bw_audit_db_row row = { audit->length + 1, log->row.number, log->row.size, audit->bytes.essential, audit->bytes.who, audit->bytes.context };
    BW_TRY(bw_audit_db_append(&audit->db, &row));

    audit->length++;
    entry->index     = log->row.size++;
    log->row.last_us = stamp->time_us;
    if (!log->touched) {
        log->touched      = true;
        log->next_touched = audit->touched;
        audit->touched    = log;
    }
    return bw_success();
}

static bw_result append_all(struct bw_audit *audit, struct bw_audit_entry *batch, size_t count)
{
    struct bw_record_stamp stamp = { .wall_us = clock_us(CLOCK_REALTIME), .clock_unsure = clock_is_unsure(),
                                     .region = audit->region.text, .node = audit->node };
    const uint8_t *random = audit->random;

    BW_CHECK(RAND_bytes(audit->random, (int)(count * RANDOM_LEN)) == 1, BW_AUDIT_UNAVAILABLE, "no random bytes");
    for (struct bw_audit_entry *entry = batch; entry != NULL; entry = entry->next, random += RANDOM_LEN)
        BW_TRY(append(audit, entry, &stamp, random));
    for (struct bw_audit_log *log = audit->touched; log != NULL; log = log->next_touched) {
        BW_TRY(bw_audit_db_set_head(&audit->db, log->row.number, log->row.size, log->row.last_us));
        if (log->row.last_us > atomic_load(&audit->last_us))
            atomic_store(&audit->last_us, log->row.last_us);
    }
    return bw_audit_db_commit(&audit->db);
}

static bw_result write_once(struct bw_audit *audit, struct bw_audit_entry *batch, size_t count)
{
    bw_result r = begin(audit);

    if (bw_ok(r))
        r = append_all(audit, batch, count);
    if (!bw_ok(r))
        abandon(audit);
    else
        untouch(audit);
    return r;
}

static bw_result write_batch(struct bw_audit *audit, struct bw_audit_entry *batch)
{
    size_t count = 0;

    for (struct bw_audit_entry *entry = batch; entry != NULL; entry = entry->next)
        count++;
    if (count == 0)
        return bw_success();
    bw_result r = write_once(audit, batch, count);
    if (!bw_ok(r) && audit->db.full && bw_audit_space_give_up(audit->space))
        r = write_once(audit, batch, count);
    if (bw_ok(r)) {
        atomic_fetch_add(&audit->records, count);
        atomic_fetch_add(&audit->commits, 1);
    }
    return r;
}

/* ---- writing: a batch ---- */

/* A record that breaks its own limits is our own mistake: it is refused alone, so that it cannot take others with it. */
static bool is_fit(struct bw_audit *audit, const struct bw_record *record)
{
    bool fit = bw_audit_logs_get(audit->logs, record->log) != NULL && record->context_name_count <= BW_CONTEXT_PAIRS_MAX;

    for (size_t i = 0; fit && i < record->context_name_count; i++)
        fit = strlen(record->context_names[i]) <= BW_CONTEXT_TEXT_MAX;
    return fit;
}

/* Asks each entry whether it still holds, and takes out what cannot be written. */
static struct bw_audit_entry *confirm_all(struct bw_audit *audit, struct bw_audit_entry **at)
{
    struct bw_audit_entry *unfit = NULL;

    while (*at != NULL) {
        struct bw_audit_entry *entry = *at;
        if (entry->confirm != NULL)
            entry->confirm(entry);
        if (is_fit(audit, &entry->record)) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        entry->next = unfit;
        unfit = entry;
    }
    return unfit;
}

static void tell(struct bw_audit_entry *list, bw_result written)
{
    if (!bw_ok(written))
        written.code = BW_AUDIT_UNAVAILABLE;
    while (list != NULL) {
        struct bw_audit_entry *entry = list;
        list = entry->next; /* done gives the entry away */
        entry->next = NULL;
        entry->done(entry, written);
    }
}

/* Lets the index's thread know what there is for it to do. */
static void make_known(struct bw_audit *audit)
{
    atomic_store(&audit->flooded, bw_flood_is_waiting(audit->flood));
    if (!audit->in_doubt)
        bw_audit_index_grown(audit->index, audit->length);
}

static void commit_batch(struct bw_audit *audit, struct bw_audit_entry *batch)
{
    (void)pthread_mutex_lock(&audit->write_lock);
    struct bw_audit_entry *unfit   = confirm_all(audit, &batch);
    struct bw_audit_entry *taken   = bw_flood_take(audit->flood, &batch, clock_us(CLOCK_MONOTONIC), clock_us(CLOCK_REALTIME));
    bw_result              written = write_batch(audit, batch);
    bw_flood_settle(audit->flood, taken, bw_ok(written));
    make_known(audit);
    (void)pthread_mutex_unlock(&audit->write_lock);

    tell(batch, written);
    tell(taken, written);
    tell(unfit, bw_fail(BW_AUDIT_UNAVAILABLE, "a record that breaks its own limits"));
}

/* ---- who is the committer ---- */

/* The queue's front, at most BATCH_MAX; when there is nothing, the caller is not the committer any more. */
static struct bw_audit_entry *take_batch(struct bw_audit *audit)
{
    struct bw_audit_entry *batch, **end;

    (void)pthread_mutex_lock(&audit->queue_lock);
    batch = audit->first;
    end   = &batch;
    for (size_t i = 0; i < BATCH_MAX && *end != NULL; i++)
        end = &(*end)->next;
    audit->first = *end;
    if (audit->first == NULL)
        audit->last = &audit->first;
    audit->committing = batch != NULL;
    (void)pthread_mutex_unlock(&audit->queue_lock);
    *end = NULL;
    return batch;
}

void bw_audit_put(struct bw_audit *audit, struct bw_audit_entry *entry)
{
    entry->next = NULL;
    (void)pthread_mutex_lock(&audit->queue_lock);
    *audit->last = entry;
    audit->last  = &entry->next;
    (void)pthread_mutex_unlock(&audit->queue_lock);
}

void bw_audit_flush(struct bw_audit *audit)
{
    (void)pthread_mutex_lock(&audit->queue_lock);
    bool ours = !audit->committing && audit->first != NULL;
    if (ours)
        audit->committing = true;
    (void)pthread_mutex_unlock(&audit->queue_lock);
    if (!ours)
        return;
    for (struct bw_audit_entry *batch = take_batch(audit); batch != NULL; batch = take_batch(audit))
        commit_batch(audit, batch);
}

struct waiting_entry {
    struct bw_audit_entry entry; /* first: done gets this */
    sem_t                 written;
    bw_result             result;
};

static void wake(struct bw_audit_entry *entry, bw_result written)
{
    struct waiting_entry *waiting = (struct waiting_entry *)entry;

    waiting->result = written;
    (void)sem_post(&waiting->written);
}

bw_result bw_audit_write(struct bw_audit *audit, const struct bw_record *record, uint64_t *ret_index)
{
    struct waiting_entry waiting = { .entry = { .record = *record, .done = wake } };

    BW_CHECK(sem_init(&waiting.written, 0, 0) == 0, BW_AUDIT_UNAVAILABLE, "no semaphore");
    bw_audit_put(audit, &waiting.entry);
    bw_audit_flush(audit);
    while (sem_wait(&waiting.written) != 0 && errno == EINTR)
        ;
    (void)sem_destroy(&waiting.written);
    BW_TRY(waiting.result);

    *ret_index = waiting.entry.index;
    return bw_success();
}

/* ---- logs ---- */

static bw_result store_log(struct bw_audit *audit, const struct bw_audit_log_row *row)
{
    bw_result r = begin(audit);

    if (bw_ok(r))
        r = bw_audit_db_add_log(&audit->db, row);
    if (bw_ok(r))
        r = bw_audit_db_commit(&audit->db);
    if (!bw_ok(r)) {
        abandon(audit);
        return r;
    }
    return bw_audit_logs_put(audit->logs, row);
}

static bw_result add_log(struct bw_audit *audit, const bw_tenant *tenant)
{
    struct bw_audit_log_row row;

    if (audit->in_doubt)
        BW_TRY(read_heads(audit));
    if (bw_audit_logs_of(audit->logs, tenant) != NULL) /* somebody was faster */
        return bw_success();
    BW_TRY(bw_audit_logs_draw(audit->host, tenant, bw_audit_logs_count(audit->logs), &row));
    bw_result r = store_log(audit, &row);
    bw_wipe(&row, sizeof row);
    return r;
}

bw_result bw_audit_log_of(struct bw_audit *audit, const bw_tenant *tenant, uint32_t *ret_log)
{
    struct bw_audit_log *log = bw_audit_logs_of(audit->logs, tenant);

    if (log == NULL) {
        (void)pthread_mutex_lock(&audit->write_lock);
        bw_result r = add_log(audit, tenant);
        (void)pthread_mutex_unlock(&audit->write_lock);
        BW_TRY(r);
        log = bw_audit_logs_of(audit->logs, tenant);
    }
    *ret_log = log->row.number;
    return bw_success();
}

const char *bw_audit_origin(struct bw_audit *audit, uint32_t log)
{
    return bw_audit_logs_get(audit->logs, log)->row.origin;
}

uint32_t bw_audit_log_count(struct bw_audit *audit)
{
    return bw_audit_logs_count(audit->logs);
}

void bw_audit_tag(struct bw_audit *audit, uint32_t log, bw_bytes data, uint8_t ret_tag[static 32])
{
    const struct bw_audit_log *at = bw_audit_logs_get(audit->logs, log);
    BW_AUTO(hasher) hasher = NULL;

    memset(ret_tag, 0, 32); /* what a reader sees if libcrypto fails: no tag */
    if (bw_ok(bw_hasher_new(&hasher)))
        (void)bw_hasher_mac(hasher, bw_bytes_of(at->row.tag_key, sizeof at->row.tag_key), &data, 1, ret_tag);
}

/* ---- health ---- */

bw_result bw_audit_health(struct bw_audit *audit)
{
    int64_t failed_us = atomic_load(&audit->failed_us);

    BW_CHECK(!bw_audit_space_is_low(audit->space), BW_AUDIT_UNAVAILABLE, "the audit log's disk is nearly full");
    BW_CHECK(failed_us == 0 || clock_us(CLOCK_MONOTONIC_COARSE) - failed_us > 1000000, BW_AUDIT_UNAVAILABLE, "the last record could not be written");
    if (audit->notary != NULL)
        BW_TRY(bw_audit_notary_health(audit->notary));
    if (audit->scrub != NULL)
        BW_TRY(bw_audit_scrub_health(audit->scrub));
    BW_CHECK(clock_us(CLOCK_REALTIME_COARSE) > atomic_load(&audit->last_us) - CLOCK_BACK_US, BW_CLOCK_UNAVAILABLE, "the clock went back behind the audit log");
    return bw_success();
}

void bw_audit_progress(struct bw_audit *audit, struct bw_audit_progress *ret_progress)
{
    *ret_progress = (struct bw_audit_progress){ 0 };
    if (audit->scrub != NULL)
        bw_audit_scrub_progress(audit->scrub, ret_progress);
}

void bw_audit_stats(struct bw_audit *audit, struct bw_audit_stats *ret_stats)
{
    ret_stats->records = atomic_load(&audit->records);
    ret_stats->commits = atomic_load(&audit->commits);
}

/* ---- queries ---- */

bw_result bw_audit_find(struct bw_audit *audit, const struct bw_audit_query *query, struct bw_arena *arena, struct bw_audit_found *ret_found)
{
    return bw_audit_index_find(audit->index, query, arena, ret_found);
}

bw_result bw_audit_each_open_intent(struct bw_audit *audit, bw_audit_intent_fn each, void *self)
{
    return bw_audit_index_each_open_intent(audit->index, each, self);
}

bw_result bw_audit_root(struct bw_audit *audit, uint32_t log, uint64_t size, bw_hash *ret_root)
{
    return bw_audit_index_root(audit->index, log, size, ret_root);
}

bw_result bw_audit_prove_inclusion(struct bw_audit *audit, uint32_t log, uint64_t index, uint64_t size, struct bw_proof *ret_proof)
{
    return bw_audit_index_prove_inclusion(audit->index, log, index, size, ret_proof);
}

bw_result bw_audit_prove_consistency(struct bw_audit *audit, uint32_t log, uint64_t from, uint64_t size, struct bw_proof *ret_proof)
{
    return bw_audit_index_prove_consistency(audit->index, log, from, size, ret_proof);
}

bw_result bw_audit_tile(struct bw_audit *audit, uint32_t log, unsigned level, uint64_t number, size_t width, struct bw_arena *arena, bw_bytes *ret_hashes)
{
    return bw_audit_index_tile(audit->index, log, level, number, width, arena, ret_hashes);
}

bw_result bw_audit_checkpoint(struct bw_audit *audit, uint32_t log, uint64_t size, struct bw_arena *arena, struct bw_audit_checkpoint *ret_checkpoint)
{
    bw_hash root;

    BW_CHECK(audit->notary != NULL, BW_AUDIT_UNAVAILABLE, "this region signs no checkpoints");
    BW_TRY(bw_audit_index_root(audit->index, log, size, &root)); /* whether it has so many */
    return bw_audit_notary_checkpoint(audit->notary, log, size, arena, ret_checkpoint);
}

bw_result bw_audit_succeed(struct bw_audit *audit, const struct bw_note_signer *next, uint64_t number)
{
    BW_CHECK(audit->notary != NULL, BW_AUDIT_UNAVAILABLE, "this region signs no checkpoints");
    return bw_audit_notary_succeed(audit->notary, next, number);
}

bool bw_audit_signed_size(struct bw_audit *audit, uint32_t log, uint64_t *ret_size)
{
    return audit->notary != NULL && bw_audit_notary_signed_size(audit->notary, log, ret_size);
}

bw_result bw_audit_anchor(struct bw_audit *audit, uint32_t log, struct bw_arena *arena, struct bw_audit_anchor *ret_anchor)
{
    BW_CHECK(audit->notary != NULL, BW_AUDIT_UNAVAILABLE, "this region signs no checkpoints");
    return bw_audit_notary_anchor(audit->notary, log, arena, ret_anchor);
}

void bw_audit_watch(struct bw_audit *audit, void (*grown)(void *self), void *self)
{
    (void)pthread_mutex_lock(&audit->watch_lock);
    audit->grown   = grown;
    audit->watcher = self;
    (void)pthread_mutex_unlock(&audit->watch_lock);
}

/* ---- what the index's thread does for us ---- */

static void tell_watcher(struct bw_audit *audit)
{
    (void)pthread_mutex_lock(&audit->watch_lock);
    if (audit->grown != NULL)
        audit->grown(audit->watcher);
    (void)pthread_mutex_unlock(&audit->watch_lock);
}

/* A checkpoint beside a busy committer never catches up with it, and the write-ahead log would grow without end: so past
 * a point the rest, which is little, is done with the committer stopped. One that fails is tried again at the next tick. */
static void checkpoint(struct bw_audit *audit)
{
    unsigned pages = bw_audit_db_wal_pages(&audit->db);
    bool     all   = false;

    if (pages < WAL_PAGES_WANTS || pages == audit->checkpointed)
        return;
    bw_result r = bw_audit_db_checkpoint(&audit->checkpointer, &all);
    if (bw_ok(r) && !all && pages >= WAL_PAGES_NEEDS) {
        (void)pthread_mutex_lock(&audit->write_lock);
        r = bw_audit_db_checkpoint(&audit->checkpointer, &all);
        (void)pthread_mutex_unlock(&audit->write_lock);
    }
    audit->checkpointed = bw_ok(r) && all ? pages : 0;
}

/* Aggregates are never taken into others, so they go past confirming and the flood. */
static void write_aggregates(struct bw_audit *audit, bool all)
{
    (void)pthread_mutex_lock(&audit->write_lock);
    struct bw_audit_entry *due = bw_flood_due(audit->flood, clock_us(CLOCK_MONOTONIC), all);
    tell(due, write_batch(audit, due));
    make_known(audit);
    (void)pthread_mutex_unlock(&audit->write_lock);
}

static bool wants_tick(void *self)
{
    struct bw_audit *audit = self;
    return atomic_load(&audit->flooded);
}

static void tick(void *self)
{
    struct bw_audit *audit = self;

    if (atomic_load(&audit->flooded))
        write_aggregates(audit, false);
    if (audit->notary != NULL)
        bw_audit_notary_wake(audit->notary);
    tell_watcher(audit);
    checkpoint(audit);
}

/* ---- open, close, create ---- */

static bw_result path_in(const char *dir, const char *name, char path[static PATH_ROOM])
{
    int len = snprintf(path, PATH_ROOM, "%s/%s", dir, name);
    BW_CHECK(len > 0 && len < PATH_ROOM, BW_CONFIG_INVALID, "the audit directory's name is too long");
    return bw_success();
}

static bw_result guard_path(const struct bw_audit_options *options, char path[static PATH_ROOM])
{
    if (options->guard == NULL)
        return path_in(options->dir, "audit-guard.db", path);
    BW_CHECK(strlen(options->guard) < PATH_ROOM, BW_CONFIG_INVALID, "the guard file's name is too long");
    strcpy(path, options->guard);
    return bw_success();
}

bw_result bw_audit_key_number(const struct bw_audit_options *options, uint32_t *ret_number)
{
    struct bw_audit_guard guard;
    char     path[PATH_ROOM];
    uint64_t number;

    BW_TRY(guard_path(options, path));
    BW_TRY(bw_audit_guard_open(path, &options->region, &guard));
    bw_result r = bw_audit_guard_key_number(&guard, &number);
    bw_audit_guard_close(&guard);
    BW_TRY(r);
    *ret_number = (uint32_t)number;
    return bw_success();
}

bw_result bw_audit_create(const struct bw_audit_options *options)
{
    struct bw_audit_log_row own;
    char path[PATH_ROOM], guard[PATH_ROOM], anchor[PATH_ROOM];

    BW_TRY(path_in(options->dir, "audit.db", path));
    BW_TRY(path_in(options->dir, "audit-anchor.db", anchor));
    BW_TRY(guard_path(options, guard));
    BW_TRY(bw_audit_logs_draw(options->host, NULL, 0, &own));
    bw_result r = bw_audit_db_create(path, &options->region, &own);
    bw_wipe(&own, sizeof own);
    BW_TRY(r);
    BW_TRY(bw_anchor_create(anchor, &options->region));
    return bw_audit_guard_create(guard, &options->region);
}

static bw_result lock_dir(struct bw_audit *audit, const char *dir)
{
    char path[PATH_ROOM];

    BW_TRY(path_in(dir, "audit.lock", path));
    audit->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    BW_CHECK(audit->lock >= 0, BW_AUDIT_UNAVAILABLE, "the audit directory cannot be written");
    BW_CHECK(flock(audit->lock, LOCK_EX | LOCK_NB) == 0, BW_AUDIT_UNAVAILABLE, "another process has this audit log");
    return bw_success();
}

static bw_result init(struct bw_audit *audit, const struct bw_audit_options *options)
{
    BW_CHECK(strlen(options->node) < sizeof audit->node, BW_CONFIG_INVALID, "the node's name is too long");
    strcpy(audit->node, options->node);
    audit->region = options->region;
    audit->lock   = -1;
    audit->last   = &audit->first;
    audit->host   = strdup(options->host);
    BW_CHECK(audit->host != NULL && pthread_mutex_init(&audit->queue_lock, NULL) == 0 && pthread_mutex_init(&audit->write_lock, NULL) == 0
             && pthread_mutex_init(&audit->watch_lock, NULL) == 0,
             BW_NO_MEMORY, "audit");
    BW_TRY(bw_hasher_new(&audit->hasher));
    BW_TRY(bw_flood_new(&audit->flood));
    return bw_audit_logs_new(&audit->logs);
}

static bw_result open_notary(struct bw_audit *audit, const struct bw_audit_options *options)
{
    char guard[PATH_ROOM], anchor[PATH_ROOM];

    if (options->signer == NULL)
        return bw_success();
    BW_TRY(guard_path(options, guard));
    BW_TRY(path_in(options->dir, "audit-anchor.db", anchor));
    const struct bw_audit_notary_options notary = { .guard_path = guard, .anchor_path = anchor, .host = audit->host,
                                                    .epoch_ms = options->epoch_ms ? options->epoch_ms : EPOCH_MS, .region = audit->region, .logs = audit->logs, .signer = options->signer,
                                                    .alarm = options->alarm, .self = options->self };
    return bw_audit_notary_new(&notary, &audit->notary);
}

static bw_result open_index(struct bw_audit *audit, const char *dir, const char *db_path, bool anew)
{
    char index_path[PATH_ROOM];

    BW_TRY(path_in(dir, "audit-index.db", index_path));
    const struct bw_audit_index_options index = { .db_path = db_path, .index_path = index_path, .region = audit->region, .logs = audit->logs,
                                                  .length = audit->length, .anew = anew, .tick = tick, .wants_tick = wants_tick, .self = audit };
    BW_TRY(bw_audit_index_new(&index, &audit->index));
    return audit->notary != NULL ? bw_audit_notary_check(audit->notary, audit->index) : bw_success();
}

/* When the trees are not what was signed, it may be the index alone that is damaged: it is made again, once. What takes
 * longer than anyone waits, the notary finds before it signs. */
static bw_result open_trees(struct bw_audit *audit, const char *dir, const char *db_path)
{
    bw_result r = open_index(audit, dir, db_path, false);

    if (!bw_ok(r) && r.code != BW_DEADLINE && audit->index != NULL) {
        bw_audit_index_free(bw_take(&audit->index));
        r = open_index(audit, dir, db_path, true);
    }
    if (!bw_ok(r) && r.code != BW_DEADLINE)
        return r;
    return audit->notary != NULL ? bw_audit_notary_start(audit->notary, audit->index) : bw_success();
}

static bw_result start_scrub(struct bw_audit *audit, const struct bw_audit_options *options, const char *db_path)
{
    char guard[PATH_ROOM], anchor[PATH_ROOM];

    if (options->damaged == NULL)
        return bw_success();
    BW_TRY(guard_path(options, guard));
    BW_TRY(path_in(options->dir, "audit-anchor.db", anchor));
    const struct bw_audit_scrub_options scrub = { .db_path = db_path, .guard_path = options->signer ? guard : NULL, .anchor_path = anchor,
                                                  .region = audit->region, .logs = audit->logs, .index = audit->index,
                                                  .key = options->signer ? &options->signer->key : NULL, .pause_ms = options->scrub_pause_ms,
                                                  .damaged = options->damaged, .self = options->self };
    return bw_audit_scrub_start(&scrub, &audit->scrub);
}

static bw_result open_files(struct bw_audit *audit, const struct bw_audit_options *options)
{
    char db_path[PATH_ROOM];

    BW_TRY(lock_dir(audit, options->dir));
    BW_TRY(path_in(options->dir, "audit.db", db_path));
    BW_TRY(bw_audit_db_open(db_path, &audit->region, BW_AUDIT_DB_WRITES, &audit->db));
    BW_TRY(bw_audit_db_open(db_path, &audit->region, BW_AUDIT_DB_CHECKPOINTS, &audit->checkpointer));
    if (options->lay_out)
        bw_audit_db_lay_out(db_path, (size_t)WAL_PAGES_NEEDS * WAL_PAGE_LEN);
    BW_TRY(bw_audit_space_new(options->dir, &audit->space));
    BW_TRY(read_heads(audit));
    BW_TRY(open_notary(audit, options));
    BW_TRY(open_trees(audit, options->dir, db_path));
    return start_scrub(audit, options, db_path);
}

bw_result bw_audit_open(const struct bw_audit_options *options, struct bw_audit **ret_audit)
{
    BW_AUTO(audit) audit = calloc(1, sizeof *audit);

    BW_CHECK(audit != NULL, BW_NO_MEMORY, "audit");
    BW_TRY(init(audit, options));
    BW_TRY(open_files(audit, options));

    *ret_audit = bw_take(&audit);
    return bw_success();
}

void bw_audit_close(struct bw_audit *audit)
{
    if (audit == NULL)
        return;
    if (audit->index != NULL)
        write_aggregates(audit, true);
    bw_audit_scrub_stop(audit->scrub);
    bw_audit_notary_stop(audit->notary);
    bw_audit_index_free(audit->index);
    bw_audit_notary_free(audit->notary);
    bw_audit_db_close(&audit->checkpointer);
    bw_audit_db_close(&audit->db); /* the last connection to close checkpoints */
    bw_audit_space_free(audit->space);
    bw_audit_logs_free(audit->logs);
    bw_flood_free(audit->flood);
    bw_hasher_free(audit->hasher);
    if (audit->lock >= 0)
        (void)close(audit->lock);
    (void)pthread_mutex_destroy(&audit->watch_lock);
    (void)pthread_mutex_destroy(&audit->write_lock);
    (void)pthread_mutex_destroy(&audit->queue_lock);
    free(audit->host);
    bw_wipe(audit->random, sizeof audit->random);
    free(audit);
}
