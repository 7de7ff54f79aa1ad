/* From a job that has run, or was refused, to its audit record. */
#ifndef BW_SERVER_JOB_RECORD_H
#define BW_SERVER_JOB_RECORD_H

#include "job.h"

/* Uses and changes always go on record, reads when they were refused. */
bool bw_job_is_recorded(const struct bw_job *job);

/* Fills job->entry.record, but for what an operation wrote there itself: the key it made (has_key), the log of the tenant it
 * made, the intent that it closes. Again is harmless. */
void bw_job_fill_record(struct bw_job *job);

/* After job->result has changed. */
void bw_job_set_outcome(struct bw_job *job);

#endif
