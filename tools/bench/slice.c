#include "slice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Latencies of one caller, nanoseconds. What comes after the room is full is counted, not kept. */
enum { SAMPLES_MAX = 1 << 20 };

struct caller {
    const struct bw_bench_side *side;
    void              *state;
    pthread_t          thread;
    pthread_barrier_t *start;
    atomic_bool       *stop;
    uint64_t           done, failed;
    uint32_t          *samples;
    size_t             count;
};

double bw_bench_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

void bw_bench_die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static double cpu_us(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* What is under way when the time is over still counts, and so does the time it takes. */
static void *repeat(void *self)
{
    struct caller *caller = self;

    (void)pthread_barrier_wait(caller->start);
    for (double from = bw_bench_now_us(), to; !atomic_load_explicit(caller->stop, memory_order_relaxed); from = to) {
        bool ok = caller->side->call(caller->state);
        to = bw_bench_now_us();
        caller->done   += ok;
        caller->failed += !ok;
        if (caller->count < SAMPLES_MAX)
            caller->samples[caller->count++] = (uint32_t)((to - from) * 1e3);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(const uint32_t *sorted, size_t count, double share)
{
    return count ? (double)sorted[(size_t)((double)(count - 1) * share)] / 1e3 : 0;
}

static void report(const struct caller *callers, unsigned count, double seconds, double cpu)
{
    uint64_t  done = 0, failed = 0;
    size_t    kept = 0;

    for (unsigned i = 0; i < count; i++)
        kept += callers[i].count;
    uint32_t *all = malloc((kept + 1) * sizeof *all);
    if (all == NULL)
        bw_bench_die("out of memory");
    kept = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(all + kept, callers[i].samples, callers[i].count * sizeof *all);
        kept   += callers[i].count;
        done   += callers[i].done;
        failed += callers[i].failed;
    }
    qsort(all, kept, sizeof *all, by_size);
    (void)printf("{\"operations\":%llu,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"cpu_us\":%.0f,\"failed\":%llu}\n",
                 (unsigned long long)done, seconds, quantile_us(all, kept, 0.5), quantile_us(all, kept, 0.99), quantile_us(all, kept, 0.999),
                 cpu, (unsigned long long)failed);
    free(all);
}

static void run(struct caller *callers, unsigned count, unsigned ms)
{
    const struct timespec slice = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
    pthread_barrier_t start;
    atomic_bool stop = false;

    (void)pthread_barrier_init(&start, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        callers[i].start = &start;
        callers[i].stop  = &stop;
        if (pthread_create(&callers[i].thread, NULL, repeat, &callers[i]) != 0)
            bw_bench_die("no thread");
    }
    (void)pthread_barrier_wait(&start);
    double from = bw_bench_now_us(), cpu = cpu_us();
    (void)nanosleep(&slice, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < count; i++)
        (void)pthread_join(callers[i].thread, NULL);
    double seconds = (bw_bench_now_us() - from) / 1e6;
    report(callers, count, seconds, cpu_us() - cpu);
    (void)pthread_barrier_destroy(&start);
}

static void slice(const struct bw_bench_side *side, const char *operation, unsigned count, unsigned ms)
{
    static struct caller callers[BW_BENCH_CALLERS_MAX];
    const char *why = "too many callers";
    unsigned made = 0;

    while (made < count && count <= BW_BENCH_CALLERS_MAX) {
        void *state = side->caller_new(side->self, operation, &why);
        if (state == NULL)
            break;
        callers[made] = (struct caller){ .side = side, .state = state, .samples = malloc(SAMPLES_MAX * sizeof(uint32_t)) };
        if (callers[made++].samples == NULL)
            bw_bench_die("out of memory");
    }
    if (made == count)
        run(callers, count, ms);
    else
        (void)printf("{\"error\":\"%s\"}\n", why);
    while (made-- > 0) {
        side->caller_free(callers[made].state);
        free(callers[made].samples);
    }
    (void)fflush(stdout);
}

void bw_bench_serve(const struct bw_bench_side *side)
{
    char line[128], operation[64];
    unsigned callers, ms;

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%63s %u %u", operation, &callers, &ms) != 3)
            bw_bench_die("a command is: operation callers milliseconds");
        slice(side, operation, callers, ms);
    }
}
