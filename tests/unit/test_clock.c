/* The clock by which things are destroyed: what it believes, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "clock.h"

#define SECOND ((int64_t)1000000)
#define HOUR   (3600 * SECOND)
#define NOW    (1800000000 * SECOND)

static struct bw_clock clock_;
static struct bw_clock_reading now;

static int start_well(void **state)
{
    (void)state;
    now = (struct bw_clock_reading){ NOW, 5000 * SECOND };
    bw_clock_start(&clock_, 0, now);
    return 0;
}

/* The machine runs on, and the wall clock goes on by that much. */
static int64_t after(int64_t ran_us, int64_t wall_us)
{
    now.ran_us  += ran_us;
    now.wall_us += wall_us;
    return bw_clock_read(&clock_, now);
}

static const struct { const char *why; int64_t ran_us, wall_us, told_us; bool doubted; } steps[] = {
    { "time goes by",                        HOUR,       HOUR,              HOUR,              false },
    { "a leap second",                       HOUR,       HOUR + SECOND,     HOUR + SECOND,     false },
    { "a clock that is slewed forward",      24 * HOUR,  24 * HOUR + 60 * SECOND, 24 * HOUR + 60 * SECOND, false },
    { "a jump of three seconds",             0,          3 * SECOND,        0,                 true  },
    { "a jump of ten years",                 HOUR,       87600 * HOUR,      HOUR,              true  },
    { "a clock that goes back",              HOUR,       -HOUR,             -HOUR,             false },
    { "a machine that slept",                100 * HOUR, 100 * HOUR,        100 * HOUR,        false },
};

static void a_jump_is_doubted_and_going_on_is_not(void **state)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        (void)start_well(state);
        int64_t told = after(steps[i].ran_us, steps[i].wall_us);
        if (told != NOW + steps[i].told_us || clock_.doubted != steps[i].doubted)
            fail_msg("%s: %lld", steps[i].why, (long long)(told - NOW));
    }
}

static void a_jump_is_believed_when_it_was_held_for_a_day(void **state)
{
    (void)state;
    assert_int_equal(after(0, 1000 * HOUR), NOW);
    assert_int_equal(after(23 * HOUR, 23 * HOUR), NOW + 23 * HOUR);
    assert_true(clock_.doubted);
    assert_int_equal(after(HOUR, HOUR), NOW + 1024 * HOUR);
    assert_false(clock_.doubted);
    assert_int_equal(after(HOUR, HOUR), NOW + 1025 * HOUR);
}

static void another_jump_begins_another_day(void **state)
{
    (void)state;
    (void)after(0, 1000 * HOUR);
    (void)after(23 * HOUR, 23 * HOUR);
    assert_int_equal(after(HOUR, 2000 * HOUR), NOW + 24 * HOUR);
    assert_int_equal(after(23 * HOUR, 23 * HOUR), NOW + 47 * HOUR);
    assert_int_equal(after(HOUR, HOUR), NOW + 3047 * HOUR);
}

static void a_clock_that_is_set_right_again_is_believed_at_once(void **state)
{
    (void)state;
    (void)after(0, 1000 * HOUR);
    assert_int_equal(after(HOUR, -999 * HOUR), NOW + HOUR);
    assert_false(clock_.doubted);
}

/* A daemon that starts: how far ahead of what was believed before, and what it then goes by. */
static const struct { const char *why; int64_t ahead_us, told_us; bool doubted; } starts[] = {
    { "after an hour",             HOUR,         HOUR,          false },
    { "after a day",               24 * HOUR,    24 * HOUR,     false },
    { "after a day and an hour",   25 * HOUR,    0,             true  },
    { "after ten years",           87600 * HOUR, 0,             true  },
    { "before the time it was",    -HOUR,        -HOUR,         false },
};

static void a_start_believes_a_day(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        now = (struct bw_clock_reading){ NOW + starts[i].ahead_us, 0 };
        bw_clock_start(&clock_, NOW, now);
        int64_t told = after(0, 0);
        if (told != NOW + starts[i].told_us || clock_.doubted != starts[i].doubted)
            fail_msg("%s: %lld", starts[i].why, (long long)(told - NOW));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_jump_is_doubted_and_going_on_is_not, start_well),
        cmocka_unit_test_setup(a_jump_is_believed_when_it_was_held_for_a_day, start_well),
        cmocka_unit_test_setup(another_jump_begins_another_day, start_well),
        cmocka_unit_test_setup(a_clock_that_is_set_right_again_is_believed_at_once, start_well),
        cmocka_unit_test(a_start_believes_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
