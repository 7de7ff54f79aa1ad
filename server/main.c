/* bailiwickd: arguments, start, signals, stop. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "audit_repair.h"
#include "config.h"
#include "daemon.h"
#include "init_region.h"
#include "log.h"
#include "process.h"
#include "rotate_log_key.h"
#include "trust.h"

enum { MESSAGE_ROOM = 16 * 1024, PROBE_EVERY_MS = 5000, PROBE_WAIT_MS = 2000, PROBES_FAILED_MAX = 3 };
enum { EXIT_USAGE = 2, CHECKPOINTS_MAX = 64 };

/* What the command line says, beside what to do. */
struct arguments { const char *config; const char *checkpoints[CHECKPOINTS_MAX]; size_t checkpoint_count; };

/* ---- signals ---- */

/* Blocked before there is any thread, so that all of them inherit it and signals are read here alone. */
static int take_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void reload(struct bw_daemon *daemon)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    bw_daemon_reload(daemon);
    (void)sd_notify(0, "READY=1");
}

/* How often we look whether the listener still lives, and tell systemd's watchdog that it does. */
static int probe_every_ms(void)
{
    uint64_t limit_us;

    if (sd_watchdog_enabled(0, &limit_us) > 0 && limit_us / 2000 < PROBE_EVERY_MS)
        return (int)(limit_us / 2000);
    return PROBE_EVERY_MS;
}

/* true: asked to stop. false: the listener is dead, and only a restart helps. */
static bool run_until_stopped(struct bw_daemon *daemon, int signals)
{
    struct pollfd polled = { .fd = signals, .events = POLLIN };
    unsigned failed = 0;

    while (failed < PROBES_FAILED_MAX) {
        int ready = poll(&polled, 1, probe_every_ms());
        struct signalfd_siginfo info;
        if (ready > 0 && read(signals, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGHUP)
                reload(daemon);
            else if (info.ssi_signo == SIGUSR1)
                bw_daemon_tell_counters(daemon);
            else
                return true;
        } else if (ready == 0) {
            failed = bw_process_is_answering(daemon->config->listen, daemon->port, PROBE_WAIT_MS) ? 0 : failed + 1;
            if (failed == 0)
                (void)sd_notify(0, "WATCHDOG=1");
        }
    }
    bw_log(daemon->log, BW_LOG_ERROR, "the listener accepts no more connections",
           { "instead", "stops, so that the service manager starts it anew; raise LimitNOFILE if this comes again" });
    return false;
}

/* ---- what the program does ---- */

static int run(const struct bw_config *config, const struct arguments *arguments)
{
    (void)arguments;
    struct bw_daemon daemon;

    bw_process_prepare();
    int signals = take_signals();
    if (signals < 0 || !bw_ok(bw_daemon_start(&daemon, config)))
        return EXIT_FAILURE;
    (void)sd_notifyf(0, "READY=1\nSTATUS=region %s, port %d", config->region.text, daemon.port);
    bool asked = run_until_stopped(&daemon, signals);
    (void)sd_notify(0, "STOPPING=1");
    bw_daemon_stop(&daemon);
    return asked ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int check_config(const struct bw_config *config, const struct arguments *arguments)
{
    (void)arguments;
    BW_AUTO(trust) trust = NULL;
    char message[MESSAGE_ROOM];

    if (!bw_ok(bw_trust_load(config, &trust, message, sizeof message))) {
        (void)fprintf(stderr, "bailiwickd: %s\n", message);
        return EXIT_FAILURE;
    }
    (void)printf("region %s, node %s: the configuration and its certificates are valid\n", config->region.text, config->node);
    return EXIT_SUCCESS;
}

static int init_region(const struct bw_config *config, const struct arguments *arguments)
{
    (void)arguments;
    char message[MESSAGE_ROOM];

    bw_process_prepare();
    if (!bw_ok(bw_init_region(config, message, sizeof message))) {
        (void)fprintf(stderr, "bailiwickd: %s\n", message);
        return EXIT_FAILURE;
    }
    (void)printf("region %s is initialised: token, PIN files in %s, store and audit log\n", config->region.text, config->pin_dir);
    return EXIT_SUCCESS;
}

static void tell_checkpoint(void *self, const struct bw_checkpoint *checkpoint)
{
    (void)self;
    (void)printf("must go on from %" PRIu64 " records: %s\n", checkpoint->size, checkpoint->origin);
}

/* notes: buffers to clear, as many as there are arguments. */
static bool read_notes(const struct arguments *arguments, struct bw_buf *notes)
{
    static uint8_t room[BW_NOTE_MAX];

    for (size_t i = 0; i < arguments->checkpoint_count; i++) {
        FILE  *file = fopen(arguments->checkpoints[i], "re");
        size_t len  = file != NULL ? fread(room, 1, sizeof room, file) : 0;
        if (file != NULL)
            (void)fclose(file);
        if (len == 0 || !bw_ok(bw_buf_add(&notes[i], bw_bytes_of(room, len)))) {
            (void)fprintf(stderr, "bailiwickd: %s: cannot be read\n", arguments->checkpoints[i]);
            return false;
        }
    }
    return true;
}

static bw_result repair_with(const struct bw_config *config, const struct bw_buf *notes, size_t count)
{
    const struct bw_audit_options options = { .dir = config->audit_dir, .region = config->region, .node = config->node,
                                              .host = config->trust_domain, .guard = config->audit_guard };
    bw_bytes bytes[CHECKPOINTS_MAX];

    for (size_t i = 0; i < count; i++)
        bytes[i] = bw_buf_bytes(&notes[i]);
    return bw_audit_repair_guard(&options, bytes, count, tell_checkpoint, NULL);
}

static int repair_guard(const struct bw_config *config, const struct arguments *arguments)
{
    struct bw_buf notes[CHECKPOINTS_MAX] = { { 0 } };

    bw_process_prepare();
    if (!read_notes(arguments, notes))
        return EXIT_FAILURE;
    bw_result result = repair_with(config, notes, arguments->checkpoint_count);
    for (size_t i = 0; i < arguments->checkpoint_count; i++)
        bw_buf_clear(&notes[i]);
    if (!bw_ok(result)) {
        (void)fprintf(stderr, "bailiwickd: the guard file was not made again: %s\n", result.what);
        return EXIT_FAILURE;
    }
    (void)printf("all do; the guard file holds the last epoch's checkpoints again, and the region's log has a record of it\n");
    return EXIT_SUCCESS;
}

static int rotate_log_key(const struct bw_config *config, const struct arguments *arguments)
{
    (void)arguments;
    char message[MESSAGE_ROOM];
    uint32_t number;

    bw_process_prepare();
    if (!bw_ok(bw_rotate_log_key(config, &number, message, sizeof message))) {
        (void)fprintf(stderr, "bailiwickd: %s\n", message);
        return EXIT_FAILURE;
    }
    (void)printf("log key %" PRIu32 " signs from now on: tell those who verify; the one before it vouches for it\n", number);
    return EXIT_SUCCESS;
}

/* ---- arguments ---- */

static const struct action { const char *option; int (*run)(const struct bw_config *config, const struct arguments *arguments); const char *help; } actions[] = {
    { NULL,             run,          "serves the region until SIGTERM; SIGHUP reads the certificates anew, SIGUSR1 logs counters" },
    { "--check-config", check_config, "says what is wrong with the configuration and its certificates"      },
    { "--init-region",  init_region,  "makes a new region's token, PIN files, store and audit log, once"    },
    { "--repair-guard", repair_guard, "makes a lost guard file again, if the log goes on from the last epoch and each --checkpoint FILE" },
    { "--rotate-log-key", rotate_log_key, "makes a new log key, which the old one vouches for, and retires that" },
};

static int help(void)
{
    (void)printf("bailiwickd, version " BW_VERSION ": serves the keys of one legal region\n\n");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        (void)printf("  bailiwickd %-16s --config FILE   %s\n", actions[i].option ? actions[i].option : "", actions[i].help);
    (void)printf("\nThe configuration, with every setting; what begins with # may be left out:\n\n");
    bw_config_explain(stdout);
    return EXIT_SUCCESS;
}

static int refuse(const char *argument, const char *why)
{
    (void)fprintf(stderr, "bailiwickd: %s: %s; see bailiwickd --help\n", argument, why);
    return EXIT_USAGE;
}

static const struct action *find_action(const char *option)
{
    for (size_t i = 1; i < ARRAY_LEN(actions); i++)
        if (strcmp(actions[i].option, option) == 0)
            return &actions[i];
    return NULL;
}

static int act(const struct action *action, const struct arguments *arguments)
{
    BW_AUTO(config) config = NULL;
    char message[MESSAGE_ROOM];

    if (!bw_ok(bw_config_load(arguments->config, &config, message, sizeof message))) {
        (void)fprintf(stderr, "%s", message);
        return EXIT_FAILURE;
    }
    return action->run(config, arguments);
}

int main(int argc, char **argv)
{
    const struct action *action = &actions[0], *named;
    struct arguments arguments = { .config = NULL };

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return help();
        if (strcmp(argv[i], "--version") == 0)
            return printf("bailiwickd " BW_VERSION "\n") > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            arguments.config = argv[++i];
        else if (strcmp(argv[i], "--checkpoint") == 0 && i + 1 < argc && arguments.checkpoint_count < CHECKPOINTS_MAX)
            arguments.checkpoints[arguments.checkpoint_count++] = argv[++i];
        else if ((named = find_action(argv[i])) != NULL)
            action = named;
        else
            return refuse(argv[i], "not an option, or without its value");
    }
    return arguments.config ? act(action, &arguments) : refuse("--config", "missing");
}
