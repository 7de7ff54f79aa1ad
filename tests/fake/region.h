/* A region's daemon without its network: real HSM, store, log and registry in a folder of the test's own, and jobs that go
 * through authorise and one operation. */
#ifndef BW_TESTS_REGION_H
#define BW_TESTS_REGION_H

#include "config.h"
#include "daemon.h"
#include "fake/softhsm.h"
#include "job.h"

struct region {
    char             dir[64];
    struct softhsm   softhsm;
    const char      *module;
    struct bw_config config;
    struct bw_daemon daemon;
};

/* A new region without tenants. Ends the test program when the machine cannot. */
void region_make(struct region *region);
void region_remove(struct region *region);

/* As after the process died: nothing is kept but what is on disk. */
void region_restart(struct region *region);

/* One job. Its message and reply live until asked_clear. */
struct asked {
    struct bw_call call;
    struct bw_job  job;
};
struct asking {
    const char             *caller;     /* SPIFFE id */
    enum bw_method_nr       method;
    const ProtobufCMessage *message;
    const char             *key;        /* its name, as decode lifts it, or NULL */
    uint8_t                 request_id; /* 0: one that nobody gave */
    struct bw_mechanism     mechanism;  /* as decode lifts them: row NULL, empty where there is none */
    bw_bytes                data;
};
typedef bw_result (*region_operation_fn)(struct bw_daemon *daemon, struct bw_job *job);

/* authorise, then the operation; then the record that ends it is written. crash: it is not, and the result is the operation's. */
bw_result region_ask(struct region *region, const struct asking *asking, region_operation_fn operation, struct asked *ret_asked);
bw_result region_ask_and_crash(struct region *region, const struct asking *asking, region_operation_fn operation, struct asked *ret_asked);
void      asked_clear(struct asked *asked);

#endif
