/* What every driver does: callers that repeat one operation for a slice of time, and what that took.
 *
 * A driver reads commands from its standard input, one a line, and answers each with a line of JSON:
 *     <operation> <callers> <milliseconds>
 *     {"operations":1234,"seconds":2.000,"p50_us":20.1,"p99_us":35.9,"p999_us":80.0,"cpu_us":40000,"failed":0}
 * Several drivers stand side by side and take turns, so that what else the machine does falls on all of them alike.
 * An operation that the driver does not know, or that cannot be prepared: {"error":"..."}. */
#ifndef BW_BENCH_SLICE_H
#define BW_BENCH_SLICE_H

#include <stdbool.h>

enum { BW_BENCH_CALLERS_MAX = 256 };

struct bw_bench_side {
    void *self;
    /* A caller of the operation, used by one thread at a time. NULL: cannot be had, *ret_why says so. */
    void *(*caller_new)(void *self, const char *operation, const char **ret_why);
    bool  (*call)(void *caller);   /* once; false: it failed */
    void  (*caller_free)(void *caller);
};

/* Until the standard input ends. */
void bw_bench_serve(const struct bw_bench_side *side);

double bw_bench_now_us(void);                                      /* CLOCK_MONOTONIC */
void   bw_bench_die(const char *what) __attribute__((noreturn));

#endif
