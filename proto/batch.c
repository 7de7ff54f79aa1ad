#include "batch.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>

#include "endpoint.h"
#include "wire.h"

enum {
    UNDER_WAY_MAX = 2,         /* messages: one is served while the other travels and its callers do what they do */
    LONG_MS       = 3,         /* who has waited for so long does not go on waiting for the first */
    BYTES_MAX     = 64 * 1024, /* of a message; what is larger goes alone */
    FIELD_ROOM    = 2 * 6,     /* bytes of the two field headers around an operation (protobuf: tag and length) */
    OPERATIONS    = 1,         /* BatchRequest.operations, BatchReply.results */
    ERROR         = 15         /* BatchResult.error; the other numbers are methods' */
};

enum role { WAITS, SENDS, TAKEN, ANSWERED };

/* A caller, on his own stack. Whoever takes him out of the queue is the only one to touch him, until he is answered. */
struct bw_shared {
    struct bw_shared  *next;
    unsigned           number;
    bw_bytes           request;
    int64_t            deadline_ms;
    struct bw_arena   *arena;
    sem_t              wake;
    bool               overdue;  /* has waited for LONG_MS */
    _Atomic enum role  role;     /* changed under the batcher's lock, but for ANSWERED, which hands all of this back */
    bw_result          result;
    bw_bytes           reply;
    struct bw_refusal *refusal;  /* or NULL */
};

/* ---- the message: protobuf by hand, since each request is packed already ---- */

static uint8_t *put_varint(uint8_t *to, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (uint8_t)(value | 0x80);
    *to++ = (uint8_t)value;
    return to;
}

static size_t varint_len(size_t value)
{
    size_t len = 1;

    while (value >>= 7)
        len++;
    return len;
}

static uint8_t *put_field(uint8_t *to, unsigned number, size_t len)
{
    *to++ = (uint8_t)(number << 3 | 2); /* numbers below 16, length-delimited */
    return put_varint(to, len);
}

static bw_result pack(const struct bw_shared *all, struct bw_arena *arena, bw_bytes *ret_request)
{
    size_t room = 0;

    for (const struct bw_shared *at = all; at != NULL; at = at->next)
        room += FIELD_ROOM + at->request.len;
    uint8_t *bytes = bw_arena_alloc(arena, room), *to = bytes;
    BW_CHECK(bytes != NULL, BW_NO_MEMORY, "batch");
    for (const struct bw_shared *at = all; at != NULL; at = at->next) {
        to = put_field(to, OPERATIONS, 1 + varint_len(at->request.len) + at->request.len);
        to = put_field(to, at->number, at->request.len);
        memcpy(to, at->request.data, at->request.len);
        to += at->request.len;
    }
    *ret_request = bw_bytes_of(bytes, (size_t)(to - bytes));
    return bw_success();
}

static size_t read_varint(struct bw_reader *reader)
{
    size_t value = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        size_t byte = bw_read_be(reader, 1);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->failed = true;
    return 0;
}

static bw_bytes read_field(struct bw_reader *reader, unsigned *ret_number)
{
    size_t tag = read_varint(reader);

    reader->failed = reader->failed || (tag & 7) != 2 || tag >> 3 > ERROR;
    *ret_number = (unsigned)(tag >> 3);
    return bw_read_bytes(reader, read_varint(reader));
}

static bw_result refused(struct bw_shared *shared, bw_bytes error)
{
    struct bw_refusal refusal;

    bw_wire_unpack_batch_error(error, &refusal);
    bw_result result = bw_wire_result(&refusal);
    if (shared->refusal != NULL)
        *shared->refusal = refusal;
    return result;
}

/* The owner of the arena waits, and does not touch it. */
static bw_result unpack_one(struct bw_shared *shared, bw_bytes result)
{
    struct bw_reader reader = { .rest = result };
    unsigned number;
    bw_bytes bytes = read_field(&reader, &number);

    BW_CHECK(!reader.failed && reader.rest.len == 0, BW_PROTOCOL_BROKEN, "a result of a batch that cannot be read");
    if (number == ERROR)
        return refused(shared, bytes);
    BW_CHECK(number == shared->number, BW_PROTOCOL_BROKEN, "a batch's results are not in order");
    void *copy = bw_arena_copy(shared->arena, bytes);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "reply");
    shared->reply = bw_bytes_of(copy, bytes.len);
    return bw_success();
}

static void unpack(struct bw_shared *all, bw_bytes reply)
{
    struct bw_reader reader = { .rest = reply };

    for (struct bw_shared *at = all; at != NULL; at = at->next) {
        unsigned number;
        bw_bytes result = read_field(&reader, &number);
        at->result = !reader.failed && number == OPERATIONS ? unpack_one(at, result)
                                                             : bw_fail(BW_PROTOCOL_BROKEN, "a batch with fewer results than operations");
    }
}

/* ---- sending ---- */

static void send_alone(struct bw_client *client, struct bw_shared *shared)
{
    shared->result = bw_client_send(client, bw_method_by_number(shared->number)->path, shared->request, true, shared->deadline_ms,
                                    shared->arena, &shared->reply, shared->refusal);
}

/* The message ends with the first deadline in it: who has time left asks again. */
static void send_together(struct bw_client *client, struct bw_shared *all)
{
    struct bw_arena arena = { 0 };
    struct bw_refusal refusal = { 0 };
    bw_bytes request, reply = { 0 };
    int64_t until_ms = all->deadline_ms;

    for (const struct bw_shared *at = all; at != NULL; at = at->next)
        until_ms = bw_earlier(until_ms, at->deadline_ms);
    bw_result r = pack(all, &arena, &request);
    if (bw_ok(r))
        r = bw_client_send(client, bw_method_by_number(BW_METHOD_NR(Batch))->path, request, true, until_ms, &arena, &reply, &refusal);
    if (bw_ok(r)) {
        unpack(all, reply);
    } else {
        for (struct bw_shared *at = all; at != NULL; at = at->next) {
            at->result = r;
            if (at->refusal != NULL)
                *at->refusal = refusal;
        }
    }
    bw_arena_clear(&arena);
}

/* ---- who goes together ---- */

static void put(struct bw_batcher *batcher, struct bw_shared *shared)
{
    shared->next   = NULL;
    *batcher->last = shared;
    batcher->last  = &shared->next;
    batcher->waiting++;
}

static void take_out(struct bw_batcher *batcher, struct bw_shared **at)
{
    struct bw_shared *shared = *at;

    *at = shared->next;
    if (*at == NULL)
        batcher->last = at;
    batcher->waiting--;
}

/* Those whom the last message brought their results are likely to come again at once: as long as letting others run brings
 * more of them, it is worth it. A lone caller has no company, and sends. */
static void let_others_come(struct bw_batcher *batcher)
{
    for (size_t seen = 0; batcher->company && seen < batcher->waiting && batcher->waiting < BW_BATCH_MAX;) {
        seen = batcher->waiting;
        (void)pthread_mutex_unlock(&batcher->lock);
        (void)sched_yield();
        (void)pthread_mutex_lock(&batcher->lock);
    }
}

/* The sender himself, and of those who wait, in order, as many as fit. Another who is about to send is left alone. */
static struct bw_shared *take_message(struct bw_batcher *batcher, struct bw_shared *sender)
{
    struct bw_shared **at = &batcher->first, **end = &sender->next;
    size_t count = 1, bytes = FIELD_ROOM + sender->request.len;
    size_t most = batcher->under_way == 1 ? BW_BATCH_MAX : batcher->inside / 2 + 1; /* an even share: else the other message has nobody */

    while (*at != sender)
        at = &(*at)->next;
    take_out(batcher, at);
    at = &batcher->first;
    while (*at != NULL && count < BW_BATCH_MAX && count < most) {
        struct bw_shared *shared = *at;
        size_t size = FIELD_ROOM + shared->request.len;
        if (shared->role != WAITS || bytes + size > BYTES_MAX) {
            at = &shared->next;
            continue;
        }
        take_out(batcher, at);
        shared->role = TAKEN;
        *end   = shared;
        end    = &shared->next;
        bytes += size;
        count++;
    }
    *end = NULL;
    batcher->collecting--;
    return sender;
}

/* Becomes a sender when there is room for his message among those under way. */
static bool may_send(struct bw_batcher *batcher, struct bw_shared *shared)
{
    bool room = batcher->under_way == 0 || (batcher->under_way < UNDER_WAY_MAX && batcher->collecting == 0 &&
                                            (shared->overdue || batcher->waiting >= batcher->enough));

    if (!room || shared->role != WAITS)
        return false;
    shared->role = SENDS;
    batcher->under_way++;
    batcher->collecting++;
    return true;
}

/* The longest waiting sends next. */
static void appoint(struct bw_batcher *batcher)
{
    for (struct bw_shared *at = batcher->first; at != NULL && batcher->under_way < UNDER_WAY_MAX; at = at->next)
        if (may_send(batcher, at))
            (void)sem_post(&at->wake);
}

/* They are gone once they are woken. */
static size_t wake_others(struct bw_shared *all, const struct bw_shared *sender)
{
    size_t count = 0;

    while (all != NULL) {
        struct bw_shared *shared = all;
        all = shared->next;
        count++;
        if (shared == sender)
            continue;
        shared->role = ANSWERED;
        (void)sem_post(&shared->wake);
    }
    return count;
}

static void send_message(struct bw_batcher *batcher, struct bw_client *client, struct bw_shared *sender)
{
    (void)pthread_mutex_lock(&batcher->lock);
    let_others_come(batcher);
    struct bw_shared *all = take_message(batcher, sender);
    appoint(batcher); /* for those whom it did not take */
    (void)pthread_mutex_unlock(&batcher->lock);

    if (all->next == NULL)
        send_alone(client, all);
    else
        send_together(client, all);

    size_t count = wake_others(all, sender);
    (void)pthread_mutex_lock(&batcher->lock);
    batcher->company = count > 1;
    batcher->under_way--;
    batcher->inside -= count;
    appoint(batcher);
    (void)pthread_mutex_unlock(&batcher->lock);
}

/* ---- a caller ---- */

/* false: his time is over, and nobody took him along. */
static bool give_up(struct bw_batcher *batcher, struct bw_shared *shared)
{
    (void)pthread_mutex_lock(&batcher->lock);
    bool waits = shared->role == WAITS;
    if (waits) {
        struct bw_shared **at = &batcher->first;
        while (*at != shared)
            at = &(*at)->next;
        take_out(batcher, at);
        batcher->inside--;
        shared->result = bw_fail(BW_DEADLINE, "no message was free to carry the request in time");
    }
    (void)pthread_mutex_unlock(&batcher->lock);
    return waits;
}

/* false: it is not his turn yet. */
static bool note_overdue(struct bw_batcher *batcher, struct bw_shared *shared)
{
    (void)pthread_mutex_lock(&batcher->lock);
    shared->overdue = true;
    bool sends = may_send(batcher, shared);
    (void)pthread_mutex_unlock(&batcher->lock);
    return sends;
}

/* false: not before that time. until_ms: INT64_MAX: for ever. */
static bool is_woken(struct bw_shared *shared, int64_t until_ms)
{
    const struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

    while ((until_ms == INT64_MAX ? sem_wait(&shared->wake) : sem_clockwait(&shared->wake, CLOCK_MONOTONIC, &until)) != 0)
        if (errno == ETIMEDOUT)
            return false;
    return true;
}

/* Until a message took him and came back, or he is to send the next one. */
static void wait_for_turn(struct bw_batcher *batcher, struct bw_shared *shared)
{
    if (is_woken(shared, bw_earlier(bw_now_ms() + LONG_MS, shared->deadline_ms)) || note_overdue(batcher, shared))
        return;
    if (is_woken(shared, shared->deadline_ms) || give_up(batcher, shared))
        return;
    (void)is_woken(shared, INT64_MAX); /* a message has him, and ends with his time */
}

static void join(struct bw_batcher *batcher, struct bw_client *client, struct bw_shared *shared)
{
    (void)pthread_mutex_lock(&batcher->lock);
    shared->role    = WAITS;
    shared->overdue = false;
    batcher->inside++;
    put(batcher, shared);
    bool sends = may_send(batcher, shared);
    (void)pthread_mutex_unlock(&batcher->lock);

    if (!sends)
        wait_for_turn(batcher, shared);
    if (shared->role == SENDS)
        send_message(batcher, client, shared);
}

bw_result bw_batcher_call(struct bw_batcher *batcher, struct bw_client *client, unsigned number, bw_bytes request, int64_t deadline_ms,
                          struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    struct bw_shared shared = { .number = number, .request = request, .deadline_ms = deadline_ms, .arena = arena, .refusal = ret_refusal };
    int error_number = errno;

    BW_CHECK(sem_init(&shared.wake, 0, 0) == 0, BW_NO_MEMORY, "semaphore");
    do
        join(batcher, client, &shared);
    while (shared.result.code == BW_DEADLINE && bw_now_ms() < deadline_ms); /* the time of another in his message */
    (void)sem_destroy(&shared.wake);
    errno = error_number;
    BW_TRY(shared.result);
    *ret_reply = shared.reply;
    return bw_success();
}

/* ---- life ---- */

bw_result bw_batcher_init(size_t enough, struct bw_batcher *ret_batcher)
{
    *ret_batcher = (struct bw_batcher){ .enough = enough };
    ret_batcher->last = &ret_batcher->first;
    BW_CHECK(pthread_mutex_init(&ret_batcher->lock, NULL) == 0, BW_NO_MEMORY, "batch");
    return bw_success();
}

void bw_batcher_clear(struct bw_batcher *batcher)
{
    (void)pthread_mutex_destroy(&batcher->lock);
}
