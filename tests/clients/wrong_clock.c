/* Preloaded: a machine whose clock is $WRONG_CLOCK seconds ahead. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *time)
{
    const char *ahead = getenv("WRONG_CLOCK");
    int result = (int)syscall(SYS_clock_gettime, clock, time);

    if (result == 0 && clock == CLOCK_REALTIME && ahead != NULL)
        time->tv_sec += atol(ahead);
    return result;
}
