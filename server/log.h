/* The operators' log: one line per event, name=value pairs or JSON on standard error, or fields in the journal when systemd
 * connected standard error to it. Not evidence: that is the audit log. Nothing that a caller sent goes in unless it was
 * checked; values are quoted and cut in any case. */
#ifndef BW_SERVER_LOG_H
#define BW_SERVER_LOG_H

#include <stddef.h>

#include "bailiwick/bytes.h"

/* as in syslog(3) and the journal */
enum bw_log_level { BW_LOG_ERROR = 3, BW_LOG_WARNING = 4, BW_LOG_NOTICE = 5, BW_LOG_INFO = 6 };

struct bw_log;
struct bw_log_pair { const char *name, *value; }; /* name: a-z and _; value NULL or empty: the pair is left out */

enum { BW_LOG_VALUE_MAX = 512, BW_LOG_PAIRS_MAX = 16 };

bw_result bw_log_new(bool json, struct bw_log **ret_log);
void      bw_log_free(struct bw_log *log); /* flushes */
BW_DEFINE_AUTO(log)

/* Any thread. What is worse than INFO is written at once, the rest when it is flushed or the buffer is full. */
void bw_log_write(struct bw_log *log, enum bw_log_level level, const char *message, const struct bw_log_pair *pairs, size_t count);
void bw_log_flush(struct bw_log *log);

/* bw_log(log, BW_LOG_NOTICE, "started", { "region", region->text }, { "node", node }) */
#define bw_log(log, level, message, ...) \
    bw_log_write(log, level, message, (const struct bw_log_pair[]){ __VA_ARGS__ }, \
                 sizeof((const struct bw_log_pair[]){ __VA_ARGS__ }) / sizeof(struct bw_log_pair))

#endif
