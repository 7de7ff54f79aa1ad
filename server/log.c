#include "log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 8 * 1024, BUFFER_LEN = 64 * 1024 };

enum form { FORM_TEXT, FORM_JSON, FORM_JOURNAL };

struct bw_log {
    pthread_mutex_t lock;
    enum form       form;
    size_t          used;
    char            buffer[BUFFER_LEN];
};

/* One line being written. What does not fit is cut. */
struct line {
    size_t used;
    char   text[LINE_MAX_LEN];
};

static void put_char(struct line *line, char c)
{
    if (line->used < sizeof line->text - 1)
        line->text[line->used++] = c;
}

static void put(struct line *line, const char *text)
{
    while (*text != '\0')
        put_char(line, *text++);
}

/* ASCII without controls, so that no value can begin a line or a pair of its own, or drive a terminal */
static void put_quoted(struct line *line, const char *value)
{
    static const char hex[] = "0123456789abcdef";

    put_char(line, '"');
    for (size_t i = 0; value[i] != '\0' && i < BW_LOG_VALUE_MAX; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c == '"' || c == '\\')
            put_char(line, '\\');
        if (c >= ' ' && c < 0x7f) {
            put_char(line, (char)c);
            continue;
        }
        put(line, "\\u00");
        put_char(line, hex[c >> 4]);
        put_char(line, hex[c & 15]);
    }
    put_char(line, '"');
}

static bool is_plain(const char *value)
{
    return value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/@+-")] == '\0';
}

static void put_value(struct line *line, enum form form, const char *value)
{
    if (form != FORM_JSON && is_plain(value) && strlen(value) <= BW_LOG_VALUE_MAX)
        put(line, value);
    else
        put_quoted(line, value);
}

static void put_pair(struct line *line, enum form form, const struct bw_log_pair *pair)
{
    if (pair->value == NULL || pair->value[0] == '\0')
        return;
    put(line, form == FORM_JSON ? ",\"" : " ");
    put(line, pair->name);
    put(line, form == FORM_JSON ? "\":" : "=");
    put_value(line, form, pair->value);
}

/* RFC 3339, UTC, microseconds */
static void put_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[40], fraction[32];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(fraction, sizeof fraction, ".%06ldZ", now.tv_nsec / 1000);
    put(line, text);
    put(line, fraction);
}

static const char *level_name(enum bw_log_level level)
{
    switch (level) {
    case BW_LOG_ERROR:   return "error";
    case BW_LOG_WARNING: return "warning";
    case BW_LOG_NOTICE:  return "notice";
    case BW_LOG_INFO:    break;
    }
    return "info";
}

static void put_line(struct line *line, enum form form, enum bw_log_level level, const char *message,
                     const struct bw_log_pair *pairs, size_t count)
{
    put(line, form == FORM_JSON ? "{\"time\":\"" : "");
    put_time(line);
    put(line, form == FORM_JSON ? "\",\"level\":\"" : " ");
    put(line, level_name(level));
    put(line, form == FORM_JSON ? "\",\"message\":" : " ");
    put_value(line, form, message);
    for (size_t i = 0; i < count; i++)
        put_pair(line, form, &pairs[i]);
    put(line, form == FORM_JSON ? "}\n" : "\n");
    line->text[line->used - 1] = '\n'; /* also when it was cut */
}

/* ---- where to ---- */

/* sd_journal_stream_fd's counterpart: systemd.exec(5), JOURNAL_STREAM */
static bool stderr_is_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
           status.st_dev == device && status.st_ino == inode;
}

static void write_all(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDERR_FILENO, text, len);
        if (written <= 0)
            return; /* nobody listens: the service goes on, ignoring */
        text += written;
        len  -= (size_t)written;
    }
}

static void flush_locked(struct bw_log *log)
{
    write_all(log->buffer, log->used);
    log->used = 0;
}

static void add_to_buffer(struct bw_log *log, enum bw_log_level level, const struct line *line)
{
    (void)pthread_mutex_lock(&log->lock);
    if (log->used + line->used > sizeof log->buffer)
        flush_locked(log);
    memcpy(log->buffer + log->used, line->text, line->used);
    log->used += line->used;
    if (level < BW_LOG_INFO)
        flush_locked(log);
    (void)pthread_mutex_unlock(&log->lock);
}

/* The journal takes fields; names in capitals, ours with a prefix. */
static void put_field(struct line *to, struct iovec *field, const char *prefix, const char *name, const char *value)
{
    size_t begin = to->used;

    put(to, prefix);
    for (; *name != '\0'; name++)
        put_char(to, *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name);
    put_char(to, '=');
    for (size_t i = 0; value[i] != '\0' && i < BW_LOG_VALUE_MAX; i++)
        put_char(to, value[i]);
    *field = (struct iovec){ to->text + begin, to->used - begin };
}

static void send_to_journal(enum bw_log_level level, const char *message, const struct bw_log_pair *pairs, size_t count)
{
    struct line  line = { 0 };
    struct iovec fields[BW_LOG_PAIRS_MAX + 2];
    const char   priority[] = { (char)('0' + level), '\0' };
    int n = 0;

    put_field(&line, &fields[n++], "", "message", message);
    put_field(&line, &fields[n++], "", "priority", priority);
    for (size_t i = 0; i < count && i < BW_LOG_PAIRS_MAX; i++)
        if (pairs[i].value != NULL && pairs[i].value[0] != '\0')
            put_field(&line, &fields[n++], "BAILIWICK_", pairs[i].name, pairs[i].value);
    (void)sd_journal_sendv(fields, n);
}

void bw_log_write(struct bw_log *log, enum bw_log_level level, const char *message, const struct bw_log_pair *pairs, size_t count)
{
    if (log->form == FORM_JOURNAL) {
        send_to_journal(level, message, pairs, count);
        return;
    }
    struct line line;
    line.used = 0; /* the text is not cleared first: this runs for every request */
    put_line(&line, log->form, level, message, pairs, count);
    add_to_buffer(log, level, &line);
}

void bw_log_flush(struct bw_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    flush_locked(log);
    (void)pthread_mutex_unlock(&log->lock);
}

bw_result bw_log_new(bool json, struct bw_log **ret_log)
{
    struct bw_log *log = calloc(1, sizeof *log);

    BW_CHECK(log != NULL, BW_NO_MEMORY, "log");
    (void)pthread_mutex_init(&log->lock, NULL);
    log->form = json ? FORM_JSON : stderr_is_the_journal() ? FORM_JOURNAL : FORM_TEXT;
    *ret_log  = log;
    return bw_success();
}

void bw_log_free(struct bw_log *log)
{
    if (log == NULL)
        return;
    bw_log_flush(log);
    (void)pthread_mutex_destroy(&log->lock);
    free(log);
}
