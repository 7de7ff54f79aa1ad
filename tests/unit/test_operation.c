/* The active operation: every move from every stage, and what becomes of it by its result. PKCS#11 v3.0, 5.2 and 5.8 to 5.16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "operation.h"

#define NEW     BW_STAGE_NEW
#define PART    BW_STAGE_PART
#define ONCE    BW_STAGE_HELD_ONCE
#define FINAL   BW_STAGE_HELD_FINAL
#define MSG     BW_STAGE_MESSAGE
#define OVER    BW_STAGE_END
enum { BUSY = 100, NONE }; /* refused: another call is due; no message was begun */

static const struct { const char *why; enum bw_stage from; enum bw_move move; int to; } moves[] = {
    { "all at once",                                        NEW,   BW_MOVE_ONCE,          OVER },
    { "the first part",                                     NEW,   BW_MOVE_UPDATE,        PART },
    { "an end without a part is empty data",                NEW,   BW_MOVE_FINAL,         OVER },
    { "a message",                                          NEW,   BW_MOVE_MESSAGE,       NEW  },
    { "a message in parts begins",                          NEW,   BW_MOVE_MESSAGE_BEGIN, MSG  },
    { "a message's part without its beginning",             NEW,   BW_MOVE_MESSAGE_NEXT,  NONE },
    { "a message's last part without its beginning",        NEW,   BW_MOVE_MESSAGE_LAST,  NONE },
    { "no more messages",                                   NEW,   BW_MOVE_MESSAGE_FINAL, OVER },
    { "all at once after a part",                           PART,  BW_MOVE_ONCE,          BUSY },
    { "another part",                                       PART,  BW_MOVE_UPDATE,        PART },
    { "the end of the parts",                               PART,  BW_MOVE_FINAL,         OVER },
    { "the held result is fetched",                         ONCE,  BW_MOVE_ONCE,          OVER },
    { "a part while a result is held",                      ONCE,  BW_MOVE_UPDATE,        BUSY },
    { "an end of parts while a result is held",             ONCE,  BW_MOVE_FINAL,         BUSY },
    { "the held end is fetched",                            FINAL, BW_MOVE_FINAL,         OVER },
    { "all at once while an end is held",                   FINAL, BW_MOVE_ONCE,          BUSY },
    { "a part after the end",                               FINAL, BW_MOVE_UPDATE,        BUSY },
    { "a message inside a message",                         MSG,   BW_MOVE_MESSAGE,       BUSY },
    { "a beginning inside a message",                       MSG,   BW_MOVE_MESSAGE_BEGIN, BUSY },
    { "the message's next part",                            MSG,   BW_MOVE_MESSAGE_NEXT,  MSG  },
    { "the message's last part",                            MSG,   BW_MOVE_MESSAGE_LAST,  NEW  },
    { "no more messages, in the middle of one",             MSG,   BW_MOVE_MESSAGE_FINAL, OVER },
};

static struct bw_operation *begin(struct bw_session *session, enum bw_operation_kind kind, enum bw_stage stage)
{
    struct bw_operation *operation;

    assert_true(bw_ok(bw_operation_new(session, kind, &operation)));
    operation->stage = stage;
    return operation;
}

static void moves_lead_where_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        struct bw_session session = { 0 };
        struct bw_operation *operation = begin(&session, BW_OPERATION_ENCRYPT, moves[i].from);
        enum bw_code code = bw_operation_may(operation, moves[i].move).code;
        enum bw_code expected = moves[i].to == BUSY ? BW_OPERATION_ACTIVE : moves[i].to == NONE ? BW_OPERATION_MISSING : BW_OK;

        if (code != expected)
            fail_msg("%s: %s", moves[i].why, bw_code_row(code)->name);
        if (code == BW_OK) {
            (void)bw_operation_settle(&session, BW_OPERATION_ENCRYPT, moves[i].move, bw_success()); /* its result is its argument */
            int to = session.operations[BW_OPERATION_ENCRYPT] ? (int)session.operations[BW_OPERATION_ENCRYPT]->stage : OVER;
            if (to != moves[i].to)
                fail_msg("%s: led to %d", moves[i].why, to);
        }
        bw_operation_free(session.operations[BW_OPERATION_ENCRYPT]);
    }
}

static void no_operation_takes_no_move(void **state)
{
    (void)state;
    for (int move = 0; move < BW_MOVES; move++)
        assert_int_equal(bw_operation_may(NULL, (enum bw_move)move).code, BW_OPERATION_MISSING);
}

static const struct { const char *why; enum bw_operation_kind kind; enum bw_code result; bool goes_on; } results[] = {
    { "a short buffer changes nothing",       BW_OPERATION_SIGN,            BW_BUFFER_SMALL,       true  },
    { "bad data ends the operation",          BW_OPERATION_DECRYPT,         BW_CIPHERTEXT_INVALID, false },
    { "a dead region ends the operation",     BW_OPERATION_SIGN,            BW_UNREACHABLE,        false },
    { "a bad message ends only itself",       BW_OPERATION_MESSAGE_DECRYPT, BW_CIPHERTEXT_INVALID, true  },
};

static void failures_end_what_they_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct bw_session session = { 0 };
        bool message = results[i].kind >= BW_OPERATION_MESSAGE_ENCRYPT;

        (void)begin(&session, results[i].kind, NEW);
        bw_result r = bw_operation_settle(&session, results[i].kind, message ? BW_MOVE_MESSAGE : BW_MOVE_ONCE, (bw_result){ .code = results[i].result, .what = "test" });
        assert_int_equal(r.code, results[i].result);
        if ((session.operations[results[i].kind] != NULL) != results[i].goes_on)
            fail_msg("%s", results[i].why);
        bw_operation_free(session.operations[results[i].kind]);
    }
}

static void kinds_have_places_of_their_own(void **state)
{
    (void)state;
    struct bw_session session = { 0 };
    struct bw_operation *second;

    (void)begin(&session, BW_OPERATION_ENCRYPT, NEW);
    (void)begin(&session, BW_OPERATION_FIND, NEW);
    assert_int_equal(bw_operation_new(&session, BW_OPERATION_ENCRYPT, &second).code, BW_OPERATION_ACTIVE);
    bw_operation_free(session.operations[BW_OPERATION_ENCRYPT]);
    bw_operation_free(session.operations[BW_OPERATION_FIND]);
}

static void a_result_that_does_not_fit_is_held(void **state)
{
    (void)state;
    struct bw_session session = { 0 };
    struct bw_operation *operation = begin(&session, BW_OPERATION_DECRYPT, NEW);
    uint8_t room[8];
    CK_ULONG len = 2;
    struct bw_out out = { room, &len };
    bw_result answered;

    assert_int_equal(bw_operation_deliver(operation, BW_MOVE_ONCE, bw_bytes_of("input", 5), bw_bytes_of("result", 6), out).code, BW_BUFFER_SMALL);
    assert_int_equal(len, 6);
    assert_int_equal(operation->stage, ONCE);
    assert_false(bw_operation_answer(operation, bw_bytes_of("other", 5), out, &answered)); /* and forgotten with that */
    len = 2;
    (void)bw_operation_deliver(operation, BW_MOVE_ONCE, bw_bytes_of("input", 5), bw_bytes_of("result", 6), out); /* as above */
    len = sizeof room;
    assert_true(bw_operation_answer(operation, bw_bytes_of("input", 5), out, &answered));
    assert_int_equal(answered.code, BW_OK);
    assert_memory_equal(room, "result", 6);
    bw_operation_free(operation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_lead_where_the_table_says),
        cmocka_unit_test(no_operation_takes_no_move),
        cmocka_unit_test(failures_end_what_they_should),
        cmocka_unit_test(kinds_have_places_of_their_own),
        cmocka_unit_test(a_result_that_does_not_fit_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
