/* What a region's daemon owns, and the order in which it starts and stops. */
#ifndef BW_SERVER_DAEMON_H
#define BW_SERVER_DAEMON_H

#include <stdatomic.h>

#include "bailiwick/names.h"

struct bw_config;
struct bw_log;
struct bw_hsm;
struct bw_token;
struct bw_store;
struct bw_registry;
struct bw_audit;
struct bw_audit_signer;
struct bw_followers;
struct bw_workers;
struct bw_listener;
struct bw_trust;
struct bw_vitals;
struct bw_recovery;
struct bw_housekeeping;

struct bw_daemon {
    const struct bw_config *config;
    bw_region               region;
    struct bw_log          *log;
    struct bw_trust        *trust;      /* certificates, CRL */
    struct bw_hsm          *hsm;
    struct bw_token        *token;      /* the region's own */
    struct bw_store        *store;
    struct bw_registry     *registry;
    struct bw_audit        *audit;
    struct bw_audit_signer *log_signer; /* of audit's checkpoints */
    struct bw_recovery     *recovery;   /* what a crash left open */
    struct bw_housekeeping *housekeeping; /* what falls due by itself */
    struct bw_followers    *followers;
    struct bw_workers      *workers;
    struct bw_listener     *listener;
    struct bw_vitals       *vitals;
    atomic_int              unwell;     /* a bw_code, of vitals: why health says NOT_SERVING; BW_OK when it says SERVING */
    atomic_uint_fast64_t    calls;      /* taken since the start; a Batch is one */
    int                     port;       /* that it listens on */
};

/* Starts everything, or nothing: what cannot start is told in the log, with what to do, and what had started is stopped.
 * config must outlive the daemon. Call once, before the process has threads. */
bw_result bw_daemon_start(struct bw_daemon *daemon, const struct bw_config *config);

/* Tells health first, lets running calls end, then stops in reverse order. */
void bw_daemon_stop(struct bw_daemon *daemon);

/* Certificate, key, CA and CRL anew; what is not valid is told in the log and what was there stays. */
void bw_daemon_reload(struct bw_daemon *daemon);

/* Into the log: records written and the commits that took them, since the start. */
void bw_daemon_tell_counters(struct bw_daemon *daemon);

#endif
