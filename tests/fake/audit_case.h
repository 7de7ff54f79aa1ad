/* An audit log in a directory of its own, and records to put into it. */
#ifndef BW_TESTS_AUDIT_CASE_H
#define BW_TESTS_AUDIT_CASE_H

#include "audit.h"

struct audit_case {
    char             dir[64];
    struct bw_audit *audit;
    const struct bw_note_signer *signer; /* set before it is made; NULL: nothing is signed */
    const char      *guard;              /* NULL: in dir */
    unsigned         epoch_ms;           /* 0: a minute */
    bw_audit_alarm_fn alarm;
    bw_audit_damage_fn damaged;          /* with it the log is read again, without a pause */
};

struct bw_audit_options audit_case_options(const struct audit_case *at);

/* Fail the test when they fail. */
void audit_case_make(struct audit_case *at);    /* an empty log, open */
void audit_case_open(struct audit_case *at);
void audit_case_close(struct audit_case *at);
void audit_case_remove(struct audit_case *at);  /* closed or not */
uint32_t audit_case_log(struct audit_case *at, const char *tenant);
uint64_t audit_case_write(struct audit_case *at, const struct bw_record *record);

void check_ok(bw_result r);

/* What an application does all day. */
struct bw_record audit_case_record(uint32_t log, unsigned key);

/* Every record of a log is there once, in order, with times that grow. Gives their number. */
uint64_t audit_case_check_log(struct audit_case *at, uint32_t log);

#endif
