/* Who shares a message with whom, and that each still gets what is his. The transport is a function here: it holds every
 * message back until the test lets it through, and answers a Batch as a region would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "batch.h"
#include "wire.h"

#define V1(type) Bailiwick__V1__##type

enum { CALLERS_MAX = 8, MESSAGES_MAX = 16, SOON_MS = 50, LATE_MS = 60 * 1000 };

static struct bw_batcher batcher;

/* The far end. Under the lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    unsigned        arrived, allowed;       /* messages */
    size_t          carried[MESSAGES_MAX];  /* operations in each; 0: it went as a call of its own */
    bool            fails, forgets_one;
} far = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

struct caller {
    pthread_t         thread;
    uint8_t           name;      /* what it sends, and is answered with one more; 0xff is refused */
    int64_t           patience_ms;
    struct bw_arena   arena;
    bw_result         result;
    bw_bytes          reply;
    struct bw_refusal refusal;
};

/* A clock that is far ahead of the one that waits go by: nobody's time is ever over. */
static int64_t ahead_ms;

int64_t bw_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + ahead_ms;
}

/* ---- the far end ---- */

static uint8_t name_in(ProtobufCBinaryData data)
{
    assert_int_equal(data.len, 1);
    return data.data[0];
}

static bw_result answer_batch(bw_bytes bytes, struct bw_arena *arena, size_t *ret_carried, bw_bytes *ret_reply)
{
    V1(BatchReply)   reply = BAILIWICK__V1__BATCH_REPLY__INIT;
    V1(BatchResult)  results[CALLERS_MAX], *all[CALLERS_MAX];
    V1(DecryptReply) plain[CALLERS_MAX];
    V1(BatchError)   error = BAILIWICK__V1__BATCH_ERROR__INIT;
    uint8_t answers[CALLERS_MAX];
    ProtobufCMessage *message;

    BW_TRY(bw_wire_unpack(&bailiwick__v1__batch_request__descriptor, bytes, arena, &message));
    const V1(BatchRequest) *request = (const void *)message;
    error.reason  = (char[]){ "KEY_DISABLED" };
    error.message = (char[]){ "it is disabled" };
    for (size_t i = 0; i < request->n_operations; i++) {
        assert_int_equal(request->operations[i]->operation_case, BW_METHOD_NR(Decrypt));
        answers[i] = (uint8_t)(name_in(request->operations[i]->decrypt->ciphertext) + 1);
        plain[i]   = (V1(DecryptReply))BAILIWICK__V1__DECRYPT_REPLY__INIT;
        results[i] = (V1(BatchResult))BAILIWICK__V1__BATCH_RESULT__INIT;
        plain[i].plaintext     = (ProtobufCBinaryData){ 1, &answers[i] };
        results[i].result_case = answers[i] == 0 ? BAILIWICK__V1__BATCH_RESULT__RESULT_ERROR : BAILIWICK__V1__BATCH_RESULT__RESULT_DECRYPT;
        if (answers[i] == 0)
            results[i].error = &error;
        else
            results[i].decrypt = &plain[i];
        all[i] = &results[i];
    }
    *ret_carried    = request->n_operations;
    reply.n_results = request->n_operations - far.forgets_one;
    reply.results   = all;
    return bw_wire_pack(&reply.base, arena, ret_reply);
}

static bw_result answer_one(bw_bytes bytes, struct bw_arena *arena, bw_bytes *ret_reply)
{
    V1(DecryptReply) reply = BAILIWICK__V1__DECRYPT_REPLY__INIT;
    ProtobufCMessage *message;

    BW_TRY(bw_wire_unpack(&bailiwick__v1__decrypt_request__descriptor, bytes, arena, &message));
    uint8_t answer = (uint8_t)(name_in(((const V1(DecryptRequest) *)message)->ciphertext) + 1);
    reply.plaintext = (ProtobufCBinaryData){ 1, &answer };
    return bw_wire_pack(&reply.base, arena, ret_reply);
}

bw_result bw_client_send(struct bw_client *client, const char *path, bw_bytes request, bool retry, int64_t deadline_ms,
                         struct bw_arena *arena, bw_bytes *ret_reply, struct bw_refusal *ret_refusal)
{
    const struct timespec until = { .tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000 };
    bool   batch = strcmp(path, "/bailiwick.v1.Crypto/Batch") == 0;
    size_t carried = 0;
    int    waited = 0;

    (void)client, (void)ret_refusal;
    assert_true(retry);
    (void)pthread_mutex_lock(&far.lock);
    unsigned mine = far.arrived++;
    bw_result r = batch ? answer_batch(request, arena, &carried, ret_reply) : answer_one(request, arena, ret_reply);
    far.carried[mine] = carried;
    (void)pthread_cond_broadcast(&far.changed);
    while (far.allowed <= mine && waited == 0)
        waited = pthread_cond_clockwait(&far.changed, &far.lock, CLOCK_MONOTONIC, &until);
    bool fails = far.fails;
    (void)pthread_mutex_unlock(&far.lock);
    BW_CHECK(waited == 0, BW_DEADLINE, "held back");
    BW_CHECK(!fails, BW_UNREACHABLE, "nobody there");
    return r;
}

static void await_messages(unsigned count)
{
    (void)pthread_mutex_lock(&far.lock);
    while (far.arrived < count)
        (void)pthread_cond_wait(&far.changed, &far.lock);
    (void)pthread_mutex_unlock(&far.lock);
}

static void let_through(unsigned count)
{
    (void)pthread_mutex_lock(&far.lock);
    far.allowed = count;
    (void)pthread_cond_broadcast(&far.changed);
    (void)pthread_mutex_unlock(&far.lock);
}

/* ---- callers ---- */

static void *call(void *self)
{
    struct caller *caller = self;
    V1(DecryptRequest) request = BAILIWICK__V1__DECRYPT_REQUEST__INIT;
    bw_bytes packed;

    request.ciphertext = (ProtobufCBinaryData){ 1, &caller->name };
    assert_true(bw_ok(bw_wire_pack(&request.base, &caller->arena, &packed)));
    caller->result = bw_batcher_call(&batcher, NULL, BW_METHOD_NR(Decrypt), packed, bw_now_ms() + caller->patience_ms, &caller->arena,
                                     &caller->reply, &caller->refusal);
    return NULL;
}

static void begin(struct caller *caller, uint8_t name, int64_t patience_ms)
{
    *caller = (struct caller){ .name = name, .patience_ms = patience_ms };
    assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
}

static void await_waiting(size_t count)
{
    size_t waiting;

    do {
        (void)sched_yield();
        (void)pthread_mutex_lock(&batcher.lock);
        waiting = batcher.waiting;
        (void)pthread_mutex_unlock(&batcher.lock);
    } while (waiting != count);
}

static void end(struct caller *caller, enum bw_code code)
{
    ProtobufCMessage *message;

    (void)pthread_join(caller->thread, NULL);
    assert_int_equal(caller->result.code, code);
    if (code == BW_OK) {
        assert_true(bw_ok(bw_wire_unpack(&bailiwick__v1__decrypt_reply__descriptor, caller->reply, &caller->arena, &message)));
        assert_int_equal(name_in(((const V1(DecryptReply) *)message)->plaintext), caller->name + 1);
    }
    bw_arena_clear(&caller->arena);
}

/* Two messages under way, each with one caller, and count callers who wait for the third. */
static void fill(struct caller *callers, const uint8_t *names, size_t count)
{
    begin(&callers[0], 101, LATE_MS);
    await_messages(1);
    begin(&callers[1], 102, LATE_MS);
    await_messages(2);
    for (size_t i = 0; i < count; i++) {
        begin(&callers[2 + i], names[i], LATE_MS);
        await_waiting(i + 1);
    }
}

/* The first is answered, so that one of those who wait sends the third message. */
static void let_third_come(struct caller *callers)
{
    let_through(1);
    end(&callers[0], BW_OK);
    await_messages(3);
}

static int set_up(void **state)
{
    (void)state;
    far.arrived = far.allowed = 0;
    far.fails = far.forgets_one = false;
    ahead_ms = 0;
    return bw_ok(bw_batcher_init(1, &batcher)) ? 0 : -1;
}

static int set_up_for_three(void **state)
{
    (void)set_up(state);
    bw_batcher_clear(&batcher);
    return bw_ok(bw_batcher_init(3, &batcher)) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    size_t inside = batcher.inside;
    bw_batcher_clear(&batcher);
    return inside == 0 ? 0 : -1;
}

/* ---- cases ---- */

static void a_lone_caller_sends_a_call_of_its_own(void **state)
{
    struct caller caller;

    (void)state;
    let_through(1);
    begin(&caller, 7, LATE_MS);
    end(&caller, BW_OK);
    assert_int_equal(far.arrived, 1);
    assert_int_equal(far.carried[0], 0);
}

static void who_waits_shares_the_next_message(void **state)
{
    struct caller callers[5];

    (void)state;
    fill(callers, (const uint8_t[]){ 1, 2, 3 }, 3);
    let_third_come(callers);
    let_through(3);
    for (size_t i = 1; i < 5; i++)
        end(&callers[i], BW_OK);
    assert_int_equal(far.arrived, 3);
    assert_int_equal(far.carried[2], 3);
}

static void a_message_takes_half_of_who_is_inside(void **state)
{
    struct caller callers[8];

    (void)state;
    fill(callers, (const uint8_t[]){ 1, 2, 3, 4, 5, 6 }, 6);
    let_third_come(callers); /* seven are inside: one in the second message, six who waited */
    let_through(MESSAGES_MAX);
    for (size_t i = 1; i < 8; i++)
        end(&callers[i], BW_OK);
    assert_int_equal(far.carried[2], 4);
}

static void a_second_message_waits_for_enough_of_them(void **state)
{
    struct caller callers[4];

    (void)state;
    ahead_ms = LATE_MS;
    begin(&callers[0], 1, LATE_MS);
    await_messages(1);
    for (uint8_t i = 1; i < 3; i++) {
        begin(&callers[i], i, LATE_MS);
        await_waiting(i);
    }
    assert_int_equal(far.arrived, 1);
    begin(&callers[3], 3, LATE_MS);
    await_messages(2);
    let_through(2);
    for (size_t i = 0; i < 4; i++)
        end(&callers[i], BW_OK);
    assert_int_equal(far.carried[1], 3);
}

static void who_has_waited_long_sends_though_they_are_few(void **state)
{
    struct caller callers[2];

    (void)state;
    begin(&callers[0], 1, LATE_MS);
    await_messages(1);
    begin(&callers[1], 2, LATE_MS);
    await_messages(2);
    let_through(2);
    end(&callers[0], BW_OK);
    end(&callers[1], BW_OK);
    assert_int_equal(far.carried[1], 0);
}

static void one_refused_leaves_the_others_their_results(void **state)
{
    struct caller callers[5];

    (void)state;
    fill(callers, (const uint8_t[]){ 1, 0xff, 3 }, 3);
    let_third_come(callers);
    let_through(3);
    for (size_t i = 1; i < 5; i++)
        end(&callers[i], i == 3 ? BW_KEY_DISABLED : BW_OK);
    assert_string_equal(callers[3].refusal.reason, "KEY_DISABLED");
    assert_string_equal(callers[3].refusal.message, "it is disabled");
}

static void a_message_that_fails_fails_for_all_in_it(void **state)
{
    struct caller callers[4];

    (void)state;
    fill(callers, (const uint8_t[]){ 1, 2 }, 2);
    let_third_come(callers);
    far.fails = true; /* under nobody's eyes: those that are there wait */
    let_through(3);
    for (size_t i = 1; i < 4; i++)
        end(&callers[i], BW_UNREACHABLE);
}

static void a_result_that_is_missing_is_noticed(void **state)
{
    struct caller callers[4];

    (void)state;
    far.forgets_one = true;
    fill(callers, (const uint8_t[]){ 1, 2 }, 2);
    let_third_come(callers);
    let_through(3);
    end(&callers[1], BW_OK);
    end(&callers[2], BW_OK);
    end(&callers[3], BW_PROTOCOL_BROKEN);
}

static void who_waits_gives_up_in_his_own_time(void **state)
{
    struct caller callers[2], hasty;

    (void)state;
    fill(callers, NULL, 0);
    begin(&hasty, 9, SOON_MS);
    end(&hasty, BW_DEADLINE);
    let_through(2);
    end(&callers[0], BW_OK);
    end(&callers[1], BW_OK);
    assert_int_equal(far.arrived, 2);
}

/* The third message is never let through, so it ends with the hasty one's time; the patient one is in another then. */
static void the_time_of_another_does_not_cut_mine_short(void **state)
{
    struct caller callers[3], hasty;

    (void)state;
    fill(callers, (const uint8_t[]){ 1 }, 1);
    begin(&hasty, 9, 10 * SOON_MS);
    await_waiting(2);
    let_third_come(callers);
    let_through(2);
    end(&callers[1], BW_OK);
    end(&hasty, BW_DEADLINE);
    await_messages(4);
    let_through(MESSAGES_MAX);
    end(&callers[2], BW_OK);
    assert_int_equal(far.carried[2], 2);
    assert_int_equal(far.carried[3], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lone_caller_sends_a_call_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_shares_the_next_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_takes_half_of_who_is_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_message_waits_for_enough_of_them, set_up_for_three, tear_down),
        cmocka_unit_test_setup_teardown(who_has_waited_long_sends_though_they_are_few, set_up_for_three, tear_down),
        cmocka_unit_test_setup_teardown(one_refused_leaves_the_others_their_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_fails_fails_for_all_in_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_result_that_is_missing_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_gives_up_in_his_own_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_time_of_another_does_not_cut_mine_short, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
