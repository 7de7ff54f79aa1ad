#include "moment.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECOND = 1000000 };
static const int64_t EARLIEST = -62167219200 * SECOND;          /* year 0 */
static const int64_t LATEST   = 253402300800 * SECOND - 1;      /* the end of year 9999 */

/* Takes exactly that many digits. false: other characters stand there. */
static bool take_number(const char **text, int digits, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < digits; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *text += digits;
    *ret_number = number;
    return true;
}

static bool take_one_of(const char **text, const char *accepted)
{
    if (**text == '\0' || strchr(accepted, **text) == NULL)
        return false;
    ++*text;
    return true;
}

static bool take_date_time(const char **text, struct tm *tm)
{
    bool read = take_number(text, 4, &tm->tm_year) && take_one_of(text, "-") && take_number(text, 2, &tm->tm_mon) &&
                take_one_of(text, "-") && take_number(text, 2, &tm->tm_mday) && take_one_of(text, "Tt ") &&
                take_number(text, 2, &tm->tm_hour) && take_one_of(text, ":") && take_number(text, 2, &tm->tm_min) &&
                take_one_of(text, ":") && take_number(text, 2, &tm->tm_sec);
    tm->tm_year -= 1900;
    tm->tm_mon  -= 1;
    return read && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60;
}

/* nothing, or a point and digits; what is finer than a microsecond is cut off */
static bool take_fraction(const char **text, int64_t *ret_us)
{
    int64_t us = 0, unit = SECOND / 10;
    int     digit;

    *ret_us = 0;
    if (!take_one_of(text, "."))
        return true;
    if (!take_number(text, 1, &digit))
        return false;
    do {
        us  += digit * unit;
        unit /= 10;
    } while (take_number(text, 1, &digit));
    *ret_us = us;
    return true;
}

static bool take_offset(const char **text, int64_t *ret_us)
{
    int64_t sign = **text == '-' ? -1 : 1;
    int     hours, minutes;

    *ret_us = 0;
    if (take_one_of(text, "Zz"))
        return true;
    if (!take_one_of(text, "+-") || !take_number(text, 2, &hours) || !take_one_of(text, ":") || !take_number(text, 2, &minutes))
        return false;
    *ret_us = sign * (hours * 3600 + minutes * 60) * (int64_t)SECOND;
    return hours < 24 && minutes < 60;
}

/* timegm makes 31 April the 1 May: what it changed was no date */
static bool is_date(const struct tm *asked, const struct tm *got)
{
    return asked->tm_mday == got->tm_mday && asked->tm_mon == got->tm_mon && asked->tm_year == got->tm_year;
}

static bw_result parse_absolute(const char *text, int64_t *ret_us)
{
    struct tm asked = { 0 }, got;
    int64_t   fraction, offset;

    BW_CHECK(take_date_time(&text, &asked) && take_fraction(&text, &fraction) && take_offset(&text, &offset) && *text == '\0',
             BW_BAD_ARGUMENT, "not a time: RFC 3339 as 2026-01-02T03:04:05Z, or relative as -1h (s, m, h, d, w)");
    got = asked;
    int64_t seconds = timegm(&got);
    BW_CHECK(is_date(&asked, &got), BW_BAD_ARGUMENT, "no such date");
    *ret_us = seconds * SECOND + fraction - offset;
    return bw_success();
}

static int64_t unit_seconds(char unit)
{
    static const struct { char name; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].name == unit)
            return units[i].seconds;
    return 0;
}

static bw_result parse_relative(const char *text, int64_t now_us, int64_t *ret_us)
{
    int64_t sign = *text++ == '-' ? -1 : 1, number = 0;
    int     digit;

    BW_CHECK(take_number(&text, 1, &digit), BW_BAD_ARGUMENT, "not a relative time: -90s, -15m, -1h, -7d, +2w");
    do
        number = number * 10 + digit;
    while (number < SECOND && take_number(&text, 1, &digit));
    BW_CHECK(unit_seconds(*text) != 0 && text[1] == '\0', BW_BAD_ARGUMENT, "not a relative time: -90s, -15m, -1h, -7d, +2w");
    *ret_us = now_us + sign * number * unit_seconds(*text) * SECOND;
    return bw_success();
}

bw_result bw_moment_parse(const char *text, int64_t now_us, int64_t *ret_us)
{
    if (strcmp(text, "now") == 0) {
        *ret_us = now_us;
        return bw_success();
    }
    if (*text == '-' || *text == '+')
        return parse_relative(text, now_us, ret_us);
    return parse_absolute(text, ret_us);
}

void bw_moment_print(int64_t us, char text[static BW_MOMENT_TEXT])
{
    struct tm tm;

    us = us < EARLIEST ? EARLIEST : us > LATEST ? LATEST : us;
    int64_t fraction = (us % SECOND + SECOND) % SECOND;
    time_t  seconds  = (us - fraction) / SECOND;
    (void)gmtime_r(&seconds, &tm);
    (void)snprintf(text, BW_MOMENT_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)(tm.tm_year + 1900) % 10000,
                   (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)fraction % SECOND); /* % shows gcc that it fits */
}

int64_t bw_moment_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}
