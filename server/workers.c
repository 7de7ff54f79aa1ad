#include "workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "serve.h"

struct bw_workers {
    struct bw_daemon *daemon;
    pthread_mutex_t   lock;            /* over the queue */
    pthread_cond_t    filled;
    struct bw_job    *first, **last;   /* singly linked by job->next */
    unsigned          waiting, queue_max;
    bool              stopping;
    unsigned          count;
    pthread_t         threads[];
};

/* NULL: nothing is left and the workers are to stop. */
static struct bw_job *take_job(struct bw_workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    while (workers->first == NULL && !workers->stopping)
        (void)pthread_cond_wait(&workers->filled, &workers->lock);
    struct bw_job *job = workers->first;
    if (job != NULL) {
        workers->first = job->next;
        workers->waiting--;
        if (workers->first == NULL)
            workers->last = &workers->first;
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return job;
}

static void *work(void *self)
{
    struct bw_workers *workers = self;
    struct bw_job *job;

    (void)pthread_setname_np(pthread_self(), "bw-worker");
    while ((job = take_job(workers)) != NULL) {
        if (!bw_serve_resume(job))
            continue;
        bw_audit_flush(workers->daemon->audit);
        bw_log_flush(workers->daemon->log);
    }
    return NULL;
}

bool bw_workers_put(struct bw_workers *workers, struct bw_job *job)
{
    job->next = NULL;
    (void)pthread_mutex_lock(&workers->lock);
    bool taken = workers->waiting < workers->queue_max;
    if (taken) {
        *workers->last = job;
        workers->last  = &job->next;
        workers->waiting++;
        (void)pthread_cond_signal(&workers->filled);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return taken;
}

bw_result bw_workers_start(struct bw_daemon *daemon, unsigned count, unsigned queue_max, struct bw_workers **ret_workers)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = count ? count : processors > 0 ? (unsigned)processors : 1;
    struct bw_workers *workers = calloc(1, sizeof *workers + wanted * sizeof workers->threads[0]);

    BW_CHECK(workers != NULL, BW_NO_MEMORY, "workers");
    workers->daemon    = daemon;
    workers->queue_max = queue_max;
    workers->last      = &workers->first;
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_cond_init(&workers->filled, NULL);
    while (workers->count < wanted && pthread_create(&workers->threads[workers->count], NULL, work, workers) == 0)
        workers->count++;
    if (workers->count < wanted) {
        bw_workers_stop(workers);
        return bw_fail(BW_NO_MEMORY, "worker threads");
    }
    *ret_workers = workers;
    return bw_success();
}

void bw_workers_stop(struct bw_workers *workers)
{
    if (workers == NULL)
        return;
    (void)pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    (void)pthread_cond_broadcast(&workers->filled);
    (void)pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->count; i++)
        (void)pthread_join(workers->threads[i], NULL);
    (void)pthread_cond_destroy(&workers->filled);
    (void)pthread_mutex_destroy(&workers->lock);
    free(workers);
}
