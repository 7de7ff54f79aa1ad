/* What a region's daemon owns, and the order in which it starts and stops. */
#ifndef BW_SERVER_DAEMON_H
#define BW_SERVER_DAEMON_H

#include "bailiwick/names.h"

struct bw_config;
struct bw_log;
struct bw_hsm;
struct bw_token;
struct bw_store;
struct bw_registry;
struct bw_audit;
struct bw_workers;
struct bw_listener;
struct bw_trust;
struct bw_recovery;

struct bw_daemon {
    const struct bw_config *config;
    struct bw_log          *log;
    bw_region               region;
    struct bw_hsm          *hsm;
    struct bw_token        *token;      /* the region's own */
    struct bw_store        *store;
    struct bw_registry     *registry;
    struct bw_audit        *audit;
    struct bw_recovery     *recovery;   /* what a crash left open */
    struct bw_trust        *trust;      /* certificates, CRL */
    struct bw_workers      *workers;
    struct bw_listener     *listener;
};

#endif
