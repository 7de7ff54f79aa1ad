#include "trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* One write, so that lines of several threads and processes do not mix; past stdio, whose locks and buffers are the host's. */
void bw_trace(const char *format, ...)
{
    char line[2048];
    va_list args;

    int head = snprintf(line, sizeof line, "bailiwick-pkcs11[%ld]: ", (long)getpid());
    va_start(args, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
    va_end(args);
    if (body < 0)
        return;
    size_t len = (size_t)head + (size_t)body;
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nobody to tell */
}

int64_t bw_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
