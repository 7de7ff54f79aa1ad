/* What time it is, for what cannot be taken back: a clock that jumps forward must destroy nothing early.
 *
 * The wall clock is believed as long as it goes on as fast as the machine has been running, and when the daemon starts, as
 * long as it is not more than BW_CLOCK_AWAY ahead of the last time that was believed. A time beyond that has to be held, without
 * another jump, for BW_CLOCK_HELD; until then time goes on from where it was believed. A clock that goes back is believed at
 * once: things then happen late, which harms nobody. Pure: callers read the clocks. */
#ifndef BW_SERVER_CLOCK_H
#define BW_SERVER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "bailiwick/limits.h"

#define BW_CLOCK_AWAY BW_DAY_US
#define BW_CLOCK_HELD BW_DAY_US

struct bw_clock_reading {
    int64_t wall_us; /* CLOCK_REALTIME */
    int64_t ran_us;  /* CLOCK_BOOTTIME */
};
struct bw_clock {
    struct bw_clock_reading believed; /* the last */
    struct bw_clock_reading claimed;  /* since when the wall clock has said something else */
    bool                    doubted;
};

struct bw_clock_reading bw_clock_now(void);

/* before_us: what was last believed before the daemon started; 0: nothing yet. */
void    bw_clock_start(struct bw_clock *clock, int64_t before_us, struct bw_clock_reading now);
/* The time to go by. */
int64_t bw_clock_read(struct bw_clock *clock, struct bw_clock_reading now);

#endif
