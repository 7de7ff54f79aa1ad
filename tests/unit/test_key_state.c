/* A key's life, move by move: every state, every action, written down a second time as a custodian would read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "key_state.h"

enum { PENDING_IMPORT = 1, ENABLED, DISABLED, PENDING_DELETION, DESTROYED };

static const struct { int from; enum bw_key_action action; enum bw_code code; int to; } moves[] = {
    { PENDING_IMPORT,   BW_KEY_IMPORT,     BW_OK,           ENABLED },
    { PENDING_IMPORT,   BW_KEY_ENABLE,     BW_KEY_STATE,    0 },
    { PENDING_IMPORT,   BW_KEY_DISABLE,    BW_KEY_STATE,    0 },
    { PENDING_IMPORT,   BW_KEY_ROTATE,     BW_KEY_STATE,    0 },
    { PENDING_IMPORT,   BW_KEY_UPDATE,     BW_OK,           PENDING_IMPORT },
    { PENDING_IMPORT,   BW_KEY_SET_POLICY, BW_OK,           PENDING_IMPORT },
    { PENDING_IMPORT,   BW_KEY_SCHEDULE,   BW_OK,           PENDING_DELETION },
    { PENDING_IMPORT,   BW_KEY_CANCEL,     BW_KEY_STATE,    0 },
    { PENDING_IMPORT,   BW_KEY_DESTROY,    BW_OK,           DESTROYED },
    { PENDING_IMPORT,   BW_KEY_PURGE,      BW_KEY_STATE,   0 },

    { ENABLED,          BW_KEY_IMPORT,     BW_KEY_STATE,    0 },
    { ENABLED,          BW_KEY_ENABLE,     BW_OK,           ENABLED },
    { ENABLED,          BW_KEY_DISABLE,    BW_OK,           DISABLED },
    { ENABLED,          BW_KEY_ROTATE,     BW_OK,           ENABLED },
    { ENABLED,          BW_KEY_UPDATE,     BW_OK,           ENABLED },
    { ENABLED,          BW_KEY_SET_POLICY, BW_OK,           ENABLED },
    { ENABLED,          BW_KEY_SCHEDULE,   BW_OK,           PENDING_DELETION },
    { ENABLED,          BW_KEY_CANCEL,     BW_KEY_STATE,    0 },
    { ENABLED,          BW_KEY_DESTROY,    BW_OK,           DESTROYED },
    { ENABLED,          BW_KEY_PURGE,      BW_KEY_STATE,   0 },

    { DISABLED,         BW_KEY_IMPORT,     BW_KEY_STATE,    0 },
    { DISABLED,         BW_KEY_ENABLE,     BW_OK,           ENABLED },
    { DISABLED,         BW_KEY_DISABLE,    BW_OK,           DISABLED },
    { DISABLED,         BW_KEY_ROTATE,     BW_KEY_DISABLED, 0 },
    { DISABLED,         BW_KEY_UPDATE,     BW_OK,           DISABLED },
    { DISABLED,         BW_KEY_SET_POLICY, BW_OK,           DISABLED },
    { DISABLED,         BW_KEY_SCHEDULE,   BW_OK,           PENDING_DELETION },
    { DISABLED,         BW_KEY_CANCEL,     BW_KEY_STATE,    0 },
    { DISABLED,         BW_KEY_DESTROY,    BW_OK,           DESTROYED },
    { DISABLED,         BW_KEY_PURGE,      BW_KEY_STATE,   0 },

    { PENDING_DELETION, BW_KEY_IMPORT,     BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_ENABLE,     BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_DISABLE,    BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_ROTATE,     BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_UPDATE,     BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_SET_POLICY, BW_KEY_STATE,    0 },
    { PENDING_DELETION, BW_KEY_SCHEDULE,   BW_OK,           PENDING_DELETION },
    { PENDING_DELETION, BW_KEY_CANCEL,     BW_OK,           DISABLED },
    { PENDING_DELETION, BW_KEY_DESTROY,    BW_OK,           DESTROYED },
    { PENDING_DELETION, BW_KEY_PURGE,      BW_OK,          DESTROYED },

    { DESTROYED,        BW_KEY_IMPORT,     BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_ENABLE,     BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_DISABLE,    BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_ROTATE,     BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_UPDATE,     BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_SET_POLICY, BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_SCHEDULE,   BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_CANCEL,     BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_DESTROY,    BW_KEY_STATE,    0 },
    { DESTROYED,        BW_KEY_PURGE,      BW_KEY_STATE,   0 },
};

static void every_move_leads_where_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        enum bw_key_state to = 0;
        bw_result result = bw_key_state_next((enum bw_key_state)moves[i].from, moves[i].action, &to);
        if (result.code != moves[i].code || (int)to != moves[i].to)
            fail_msg("row %zu: code %d, to %d", i, result.code, (int)to);
    }
}

static void every_cell_has_a_row(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(moves), (size_t)DESTROYED * BW_KEY_ACTIONS);
}

static void what_is_no_state_allows_nothing(void **state)
{
    enum bw_key_state to;

    (void)state;
    assert_int_equal(bw_key_state_next((enum bw_key_state)0, BW_KEY_UPDATE, &to).code, BW_KEY_STATE);
    assert_int_equal(bw_key_state_next((enum bw_key_state)6, BW_KEY_UPDATE, &to).code, BW_KEY_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_move_leads_where_it_should),
        cmocka_unit_test(every_cell_has_a_row),
        cmocka_unit_test(what_is_no_state_allows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
