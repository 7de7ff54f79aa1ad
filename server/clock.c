#include "clock.h"

#include <time.h>

static int64_t clock_us(clockid_t which)
{
    struct timespec now;

    (void)clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct bw_clock_reading bw_clock_now(void)
{
    return (struct bw_clock_reading){ clock_us(CLOCK_REALTIME), clock_us(CLOCK_BOOTTIME) };
}

/* No later than it could be by going on from there: two seconds for a leap and for reading two clocks, and a thousandth for
 * clocks that are being slewed. */
static bool goes_on(const struct bw_clock_reading *from, struct bw_clock_reading now)
{
    int64_t ran_us = now.ran_us - from->ran_us;
    return now.wall_us - from->wall_us <= ran_us + ran_us / 1000 + 2000000;
}

void bw_clock_start(struct bw_clock *clock, int64_t before_us, struct bw_clock_reading now)
{
    *clock = (struct bw_clock){ .believed = now };
    if (before_us != 0 && now.wall_us > before_us + BW_CLOCK_AWAY)
        clock->believed.wall_us = before_us;
}

static void doubt(struct bw_clock *clock, struct bw_clock_reading now)
{
    if (!clock->doubted || !goes_on(&clock->claimed, now))
        clock->claimed = now;
    clock->doubted = now.ran_us - clock->claimed.ran_us < BW_CLOCK_HELD;
}

int64_t bw_clock_read(struct bw_clock *clock, struct bw_clock_reading now)
{
    if (goes_on(&clock->believed, now))
        clock->doubted = false;
    else
        doubt(clock, now);
    if (clock->doubted)
        return clock->believed.wall_us + (now.ran_us - clock->believed.ran_us);
    clock->believed = now;
    return now.wall_us;
}
