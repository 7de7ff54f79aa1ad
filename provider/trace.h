/* A line on stderr, for those who asked for one and for a configuration that cannot be used. Never a PIN, never data. */
#ifndef BW_PROVIDER_TRACE_H
#define BW_PROVIDER_TRACE_H

#include <stdint.h>

void    bw_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t bw_now_us(void); /* monotonic */

#endif
