/* A small file of the log that stands for itself: one region's, one kind's, no write-ahead log beside it that could be taken
 * away. The guard and the anchor log are such files. */
#ifndef BW_SERVER_AUDIT_FILE_H
#define BW_SERVER_AUDIT_FILE_H

#include "bailiwick/names.h"
#include "sql.h"

struct bw_audit_file_kind {
    const char        *tables;          /* CREATE TABLE ...; */
    int32_t            application_id;
    const char *const *statements;      size_t statement_count;
};

/* On purpose, once per region. BW_ALREADY_EXISTS: there is one. */
bw_result bw_audit_file_create(const char *path, const struct bw_audit_file_kind *kind, const bw_region *region);

/* Ready for the kind's statements. BW_AUDIT_UNAVAILABLE: it is missing, damaged or of another kind; BW_WRONG_REGION. */
bw_result bw_audit_file_open(const char *path, const struct bw_audit_file_kind *kind, const bw_region *region, struct bw_sql *ret_sql);

#endif
