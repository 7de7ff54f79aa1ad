/* Points in time: microseconds since 1970 in UTC, and the texts people write and read for them. */
#ifndef BW_TOOLS_MOMENT_H
#define BW_TOOLS_MOMENT_H

#include "bailiwick/bytes.h"

enum { BW_MOMENT_TEXT = 28 }; /* "2026-01-02T03:04:05.678901Z" and its NUL */

/* RFC 3339 ("2026-01-02T03:04:05Z", with fractions and offsets, a blank for the T), "now", or so long before or after
 * now_us: "-90s", "-15m", "-1h", "-7d", "+2w". Fails with BW_BAD_ARGUMENT. */
bw_result bw_moment_parse(const char *text, int64_t now_us, int64_t *ret_us);

/* RFC 3339 in UTC, microseconds always shown. Years outside 0 to 9999 print as their nearest. */
void bw_moment_print(int64_t us, char text[static BW_MOMENT_TEXT]);

int64_t bw_moment_now(void);

#endif
