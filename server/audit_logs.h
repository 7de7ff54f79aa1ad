/* The region's logs in memory: numbers, origins, keys, and heads as of the last commit and in the batch being written. */
#ifndef BW_SERVER_AUDIT_LOGS_H
#define BW_SERVER_AUDIT_LOGS_H

#include "audit_db.h"
#include "record.h"

/* Never moves and never goes while the logs live. All but the heads is constant. */
struct bw_audit_log {
    struct bw_audit_log_row row;       /* row.size and row.last_us: the committer's alone */
    bool                    touched;   /* in the batch being written */
    struct bw_audit_log    *next_touched;
};

struct bw_audit_logs;

bw_result bw_audit_logs_new(struct bw_audit_logs **ret_logs);
void      bw_audit_logs_free(struct bw_audit_logs *logs);
BW_DEFINE_AUTO(audit_logs)

/* Fresh uuid and keys for a tenant's log, or the region's own when tenant is NULL. */
bw_result bw_audit_logs_draw(const char *host, const bw_tenant *tenant, uint32_t number, struct bw_audit_log_row *ret_row);

/* A log of a known number takes the row's head; the next number is added; others are refused (BW_AUDIT_UNAVAILABLE). */
bw_result bw_audit_logs_put(struct bw_audit_logs *logs, const struct bw_audit_log_row *row);

/* NULL: none. Any thread. */
struct bw_audit_log *bw_audit_logs_get(struct bw_audit_logs *logs, uint32_t number);
struct bw_audit_log *bw_audit_logs_of(struct bw_audit_logs *logs, const bw_tenant *tenant);
uint32_t             bw_audit_logs_count(struct bw_audit_logs *logs);

/* What stands for a principal where its name may not: the same for the same name in one log, unlinkable between logs. */
bw_result bw_audit_log_pseudonym(const struct bw_audit_log *log, struct bw_hasher *hasher, const char *principal, uint8_t ret_tag[static BW_RECORD_TAG_LEN]);

#endif
