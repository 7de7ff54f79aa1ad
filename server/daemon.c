#include "daemon.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit.h"
#include "audit_signer.h"
#include "config.h"
#include "followers.h"
#include "housekeeping.h"
#include "hsm.h"
#include "listen.h"
#include "log.h"
#include "pin.h"
#include "recover.h"
#include "registry.h"
#include "store.h"
#include "tenants.h"
#include "trust.h"
#include "vitals.h"
#include "workers.h"

enum { MESSAGE_ROOM = 4096, SLOW_QUEUE = 4096 };

/* ---- one function a step: what fails has left nothing behind, and tells by itself what only it knows ---- */

static bw_result start_tls(struct bw_daemon *daemon)
{
    (void)daemon;
    return bw_listener_prepare_tls();
}

static bw_result start_trust(struct bw_daemon *daemon)
{
    char message[MESSAGE_ROOM];
    bw_result result = bw_trust_load(daemon->config, &daemon->trust, message, sizeof message);

    if (!bw_ok(result))
        bw_log(daemon->log, BW_LOG_ERROR, "certificates", { "wrong", message });
    return result;
}

static void stop_trust(struct bw_daemon *daemon)
{
    bw_trust_free(daemon->trust);
}

static bw_result start_hsm(struct bw_daemon *daemon)
{
    const struct bw_hsm_options options = { .module = daemon->config->hsm_module, .sessions = daemon->config->hsm_sessions };
    return bw_hsm_open(&options, &daemon->hsm);
}

static void stop_hsm(struct bw_daemon *daemon)
{
    bw_hsm_close(daemon->hsm);
}

/* "bw:<region>" or "bw:<region>:..." */
static bool label_is_of(const char *label, const bw_region *region)
{
    size_t len = strlen(region->text);
    return strncmp(label + 3, region->text, len) == 0 && (label[3 + len] == ':' || label[3 + len] == '\0');
}

/* Promise 3: keys of two regions must not be in reach of one node. */
static bw_result refuse_other_region(void *self, const char *label)
{
    struct bw_daemon *daemon = self;

    if (label_is_of(label, &daemon->region))
        return bw_success();
    bw_log(daemon->log, BW_LOG_ERROR, "the HSM differs", { "configured", daemon->region.text }, { "token", label },
           { "wrong", "a token of another region is in reach of this node: give each region an HSM partition of its own" });
    return bw_fail(BW_WRONG_REGION, "the HSM holds a token of another region");
}

static bw_result start_token(struct bw_daemon *daemon)
{
    BW_AUTO(secret) pin = NULL;
    char label[33];

    BW_TRY(bw_hsm_each_label(daemon->hsm, refuse_other_region, daemon));
    BW_TRY(bw_pin_read(daemon->config->pin_dir, "region", &pin));
    bw_token_label(&daemon->region, NULL, label);
    bw_result result = bw_token_open(daemon->hsm, label, "", bw_bytes_of(bw_secret_reveal(pin), bw_secret_len(pin)), &daemon->token);
    if (!bw_ok(result))
        bw_log(daemon->log, BW_LOG_ERROR, "the region's token cannot be opened", { "token", label },
               { "wrong", "make it with bailiwickd --init-region, or correct [hsm] module and region.pin in [hsm] pin_dir" });
    return result;
}

static void stop_token(struct bw_daemon *daemon)
{
    bw_token_free(daemon->token);
}

static bw_result test_hsm(struct bw_daemon *daemon)
{
    const struct bw_spec_row *spec;

    BW_TRY(bw_hsm_self_test(daemon->hsm, daemon->token));
    for (enum bw_spec i = 1; (spec = bw_spec_row(i)) != NULL; i++)
        if (!bw_hsm_imports(daemon->hsm, spec))
            bw_log(daemon->log, BW_LOG_NOTICE, "the HSM imports no such keys", { "spec", spec->name }, { "what", bw_hsm_why_no_import(daemon->hsm, spec) });
    return bw_success();
}

static bw_result start_store(struct bw_daemon *daemon)
{
    bw_result result = bw_store_open(daemon->config->store_dir, &daemon->region, &daemon->store);

    if (result.code == BW_WRONG_REGION)
        bw_log(daemon->log, BW_LOG_ERROR, "the store differs", { "configured", daemon->region.text }, { "store", daemon->config->store_dir },
               { "wrong", "it was made for another region" });
    return result;
}

static void stop_store(struct bw_daemon *daemon)
{
    bw_store_close(daemon->store);
}

static bw_result start_registry(struct bw_daemon *daemon)
{
    BW_TRY(bw_registry_new(&daemon->registry));
    return bw_registry_load(daemon->registry, daemon->store);
}

static void stop_registry(struct bw_daemon *daemon)
{
    bw_registry_free(daemon->registry);
}

/* In one line of the log; it has the origin, the size and the root that an operator has to look for in his backups. */
static void tell_checkpoint(void *self, bw_result what, bw_bytes checkpoint)
{
    struct bw_daemon *daemon = self;
    char text[BW_LOG_VALUE_MAX];
    size_t len = checkpoint.len < sizeof text - 1 ? checkpoint.len : sizeof text - 1;

    for (size_t i = 0; i < len; i++)
        text[i] = checkpoint.data[i] == '\n' ? '|' : (char)checkpoint.data[i];
    text[len] = '\0';
    if (bw_ok(what))
        bw_log(daemon->log, BW_LOG_NOTICE, "checkpoints are signed again", { "region", daemon->region.text });
    else
        bw_log(daemon->log, BW_LOG_ERROR, "checkpoints are not signed", { "code", bw_code_row(what.code)->name }, { "what", what.what },
               { "last_good", text });
}

static void tell_damage(void *self, const struct bw_audit_damage *damage)
{
    struct bw_daemon *daemon = self;
    char index[24];

    (void)snprintf(index, sizeof index, "%" PRIu64, damage->index);
    bw_log(daemon->log, BW_LOG_ERROR, "the audit log on the disk is damaged", { "log", damage->origin }, { "index", index }, { "what", damage->what.what },
           { "instead", "nothing more is served: export what verifies, then put back a copy that goes on from the last checkpoint" });
}

static bw_result open_audit(struct bw_daemon *daemon)
{
    const struct bw_audit_options options = {
        .dir = daemon->config->audit_dir, .region = daemon->region, .node = daemon->config->node, .host = daemon->config->trust_domain,
        .guard = daemon->config->audit_guard, .signer = &daemon->log_signer->note, .alarm = tell_checkpoint, .damaged = tell_damage, .self = daemon,
        .lay_out = true,
    };
    uint32_t number;

    BW_TRY(bw_audit_key_number(&options, &number));
    BW_TRY(bw_audit_signer_of(daemon->token, daemon->config->trust_domain, number, daemon->log_signer));
    return bw_audit_open(&options, &daemon->audit);
}

static bw_result start_audit(struct bw_daemon *daemon)
{
    daemon->log_signer = calloc(1, sizeof *daemon->log_signer);
    BW_CHECK(daemon->log_signer != NULL, BW_NO_MEMORY, "log key");
    bw_result result = open_audit(daemon);

    if (!bw_ok(result))
        free(bw_take(&daemon->log_signer));
    if (result.code == BW_WRONG_REGION)
        bw_log(daemon->log, BW_LOG_ERROR, "the audit log differs", { "configured", daemon->region.text }, { "audit", daemon->config->audit_dir },
               { "wrong", "it was made for another region" });
    return result;
}

static void stop_audit(struct bw_daemon *daemon)
{
    bw_audit_close(daemon->audit);
    free(daemon->log_signer);
}

static void tell_sealed(void *self, const bw_tenant *tenant, bw_result why)
{
    struct bw_daemon *daemon = self;

    bw_log(daemon->log, BW_LOG_WARNING, "a tenant's token does not open", { "tenant", tenant->text }, { "code", bw_code_row(why.code)->name },
           { "what", why.what }, { "instead", "the others are served" });
}

static bw_result open_tenants(struct bw_daemon *daemon)
{
    bw_tenants_open_all(daemon, tell_sealed, daemon);
    return bw_success();
}

static bw_result start_recovery(struct bw_daemon *daemon)
{
    return bw_recovery_start(daemon, &daemon->recovery);
}

static void stop_recovery(struct bw_daemon *daemon)
{
    bw_recovery_free(daemon->recovery);
}

static bw_result start_housekeeping(struct bw_daemon *daemon)
{
    return bw_housekeeping_start(daemon, &daemon->housekeeping);
}

static void stop_housekeeping(struct bw_daemon *daemon)
{
    bw_housekeeping_stop(daemon->housekeeping);
}

static bw_result start_listener(struct bw_daemon *daemon)
{
    return bw_listener_new(daemon, &daemon->listener);
}

static void stop_listener(struct bw_daemon *daemon)
{
    bw_listener_free(daemon->listener);
}

static bw_result start_followers(struct bw_daemon *daemon)
{
    return bw_followers_start(daemon, &daemon->followers);
}

static void stop_followers(struct bw_daemon *daemon)
{
    bw_followers_stop(daemon->followers);
}

static bw_result start_workers(struct bw_daemon *daemon)
{
    return bw_workers_start(daemon, daemon->config->workers, SLOW_QUEUE, &daemon->workers);
}

static void stop_workers(struct bw_daemon *daemon)
{
    bw_workers_stop(daemon->workers);
}

static bw_result open_door(struct bw_daemon *daemon)
{
    return bw_listener_open(daemon->listener, &daemon->port);
}

static void close_door(struct bw_daemon *daemon)
{
    bw_listener_drain(daemon->listener);
}

static bw_result start_vitals(struct bw_daemon *daemon)
{
    return bw_vitals_start(daemon, &daemon->vitals);
}

/* "Not serving" first, then some time with the door still open, so that nobody comes who could have known. */
static void stop_vitals(struct bw_daemon *daemon)
{
    unsigned ms = daemon->config->lame_duck_ms;
    struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    bw_vitals_stop(daemon->vitals);
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* ---- the order ---- */

static const struct step { const char *name; bw_result (*start)(struct bw_daemon *); void (*stop)(struct bw_daemon *); } steps[] = {
    { "tls",          start_tls,      NULL          },  /* 1.3 only, before anything uses OpenSSL          */
    { "certificates", start_trust,    stop_trust    },  /* name the configured region                      */
    { "hsm",          start_hsm,      stop_hsm      },
    { "store",        start_store,    stop_store    },  /* of the configured region                        */
    { "token",        start_token,    stop_token    },  /* of the configured region, none of another       */
    { "self-test",    test_hsm,       NULL          },  /* what this HSM does                              */
    { "registry",     start_registry, stop_registry },
    { "audit log",    start_audit,    stop_audit    },
    { "tenants",      open_tenants,   NULL          },  /* the registry closes their tokens                */
    { "recovery",     start_recovery, stop_recovery },  /* what a crash left between intent and outcome    */
    { "housekeeping", start_housekeeping, stop_housekeeping }, /* deletions and rotations that fall due    */
    { "listener",     start_listener, stop_listener },
    { "followers",    start_followers, stop_followers }, /* streams of the log                             */
    { "workers",      start_workers,  stop_workers  },
    { "door",         open_door,      close_door    },  /* from here on calls come                         */
    { "vitals",       start_vitals,   stop_vitals   },  /* from here on health says SERVING                */
};

static void stop_from(struct bw_daemon *daemon, size_t count)
{
    while (count-- > 0)
        if (steps[count].stop != NULL)
            steps[count].stop(daemon);
}

static void tell_failure(struct bw_daemon *daemon, const char *step, bw_result result)
{
    bw_log(daemon->log, BW_LOG_ERROR, "cannot start", { "part", step }, { "code", bw_code_row(result.code)->name },
           { "what", result.what }, { "told", bw_code_row(result.code)->told }, { "where", result.where });
}

static void tell_start(struct bw_daemon *daemon)
{
    char port[16];

    (void)snprintf(port, sizeof port, "%d", daemon->port);
    bw_log(daemon->log, BW_LOG_NOTICE, "started", { "version", BW_VERSION }, { "region", daemon->region.text },
           { "node", daemon->config->node }, { "listen", daemon->config->listen }, { "port", port }, { "hsm", bw_hsm_description(daemon->hsm) });
}

bw_result bw_daemon_start(struct bw_daemon *daemon, const struct bw_config *config)
{
    *daemon = (struct bw_daemon){ .config = config, .region = config->region };
    BW_TRY(bw_log_new(config->log_json, &daemon->log));
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        bw_result result = steps[i].start(daemon);
        if (bw_ok(result))
            continue;
        tell_failure(daemon, steps[i].name, result);
        stop_from(daemon, i);
        bw_log_free(daemon->log);
        return result;
    }
    tell_start(daemon);
    return bw_success();
}

void bw_daemon_stop(struct bw_daemon *daemon)
{
    bw_log(daemon->log, BW_LOG_NOTICE, "stopping", { "region", daemon->region.text });
    stop_from(daemon, ARRAY_LEN(steps));
    bw_log(daemon->log, BW_LOG_NOTICE, "stopped", { "region", daemon->region.text });
    bw_log_free(daemon->log);
    *daemon = (struct bw_daemon){ 0 };
}

void bw_daemon_reload(struct bw_daemon *daemon)
{
    char message[MESSAGE_ROOM];
    bw_result result = bw_trust_reload(daemon->trust, message, sizeof message);

    if (bw_ok(result))
        bw_log(daemon->log, BW_LOG_NOTICE, "reloaded", { "what", "certificate, key, CA and CRL" });
    else
        bw_log(daemon->log, BW_LOG_ERROR, "not reloaded", { "wrong", message }, { "instead", "what was there stays in use" });
}

void bw_daemon_tell_counters(struct bw_daemon *daemon)
{
    struct bw_audit_stats stats;
    struct bw_audit_progress scrubbed;
    char records[24], commits[24], calls[24], read_again[48], passes[24];

    bw_audit_stats(daemon->audit, &stats);
    (void)snprintf(records, sizeof records, "%" PRIu64, stats.records);
    (void)snprintf(commits, sizeof commits, "%" PRIu64, stats.commits);
    (void)snprintf(calls, sizeof calls, "%" PRIuFAST64, atomic_load(&daemon->calls));
    bw_audit_progress(daemon->audit, &scrubbed);
    (void)snprintf(read_again, sizeof read_again, "%" PRIu64 "/%" PRIu64, scrubbed.at, scrubbed.of);
    (void)snprintf(passes, sizeof passes, "%" PRIu64, scrubbed.passes);
    bw_log(daemon->log, BW_LOG_NOTICE, "counters", { "records", records }, { "commits", commits }, { "calls", calls },
           { "read_again", read_again }, { "passes", passes });
}
