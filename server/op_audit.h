/* What the operations on the audit log share. */
#ifndef BW_SERVER_OP_AUDIT_H
#define BW_SERVER_OP_AUDIT_H

#include "bailiwick/v1/audit.pb-c.h"
#include "job.h"

/* A tenant's own log for its custodians and auditors, the region's own for its operators. It is found by the caller's
 * certificate, never by anything in the request, so there is no way to ask for another's. */
bw_result bw_op_audit_log(struct bw_daemon *daemon, const struct bw_job *job, bool region, uint32_t *ret_log);

/* The log's last checkpoint that covers size records, with the proof that it goes on from the caller's; from 0: he has none.
 * BW_LOG_POSITION: the caller's is of a longer log than this. */
bw_result bw_op_audit_checkpoint(struct bw_daemon *daemon, struct bw_arena *arena, uint32_t log, uint64_t from, uint64_t size,
                                 Bailiwick__V1__Checkpoint **ret_checkpoint);

/* What a request of a query asks for, checked; but for whose log. */
bw_result bw_op_audit_query(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__QueryRequest *request, struct bw_audit_query *query);

bw_result bw_op_audit_records(const struct bw_audit_found *found, struct bw_arena *arena, Bailiwick__V1__Record ***ret_records);

#endif
