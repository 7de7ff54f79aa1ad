#include "pin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bailiwick/limits.h"

enum { PIN_BYTES = 16 }; /* random; as hexadecimal twice as many characters, which every HSM met takes */

static int open_in(const char *dir, const char *name, int flags)
{
    int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd     = folder >= 0 ? openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    int why    = errno;

    if (folder >= 0)
        (void)close(folder);
    errno = why;
    return fd;
}

/* What open gave up to the first line break. */
static bw_result read_line(int fd, struct bw_secret *text)
{
    struct stat status;
    ssize_t len;

    BW_CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode), BW_CONFIG_INVALID, "a PIN file is no file");
    BW_CHECK((status.st_mode & 077) == 0, BW_CONFIG_INVALID, "others may read a PIN file: chmod 600 it");
    len = read(fd, bw_secret_reveal(text), bw_secret_len(text));
    BW_CHECK(len > 0, BW_CONFIG_INVALID, "a PIN file is empty");
    const uint8_t *line_end = memchr(bw_secret_reveal(text), '\n', (size_t)len);
    size_t pin_len = line_end ? (size_t)(line_end - bw_secret_reveal(text)) : (size_t)len;
    BW_CHECK(pin_len > 0 && pin_len <= BW_PIN_MAX, BW_CONFIG_INVALID, "a PIN file's first line is empty or too long");
    bw_secret_shorten(text, pin_len);
    return bw_success();
}

bw_result bw_pin_file_read(const char *dir, const char *name, struct bw_secret **ret_pin)
{
    BW_AUTO(secret) text = NULL;
    int fd = open_in(dir, name, O_RDONLY);

    BW_CHECK(fd >= 0, BW_CONFIG_INVALID, "a PIN file cannot be read");
    bw_result result = bw_secret_new(BW_PIN_MAX + 2, &text);
    if (bw_ok(result))
        result = read_line(fd, text);
    (void)close(fd);
    BW_TRY(result);

    *ret_pin = bw_take(&text);
    return bw_success();
}

static bw_result draw(struct bw_secret **ret_pin)
{
    BW_AUTO(secret) random = NULL;
    BW_AUTO(secret) pin = NULL;

    BW_TRY(bw_secret_new(PIN_BYTES, &random));
    BW_TRY(bw_secret_new(2 * PIN_BYTES + 1, &pin));
    BW_CHECK(getrandom(bw_secret_reveal(random), PIN_BYTES, 0) == PIN_BYTES, BW_INTERNAL, "no random bytes");
    bw_hex(bw_bytes_of(bw_secret_reveal(random), PIN_BYTES), (char *)bw_secret_reveal(pin));
    bw_secret_shorten(pin, 2 * PIN_BYTES);
    *ret_pin = bw_take(&pin);
    return bw_success();
}

static bool sync_folder(const char *dir)
{
    int  folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = folder >= 0 && fsync(folder) == 0;

    if (folder >= 0)
        (void)close(folder);
    return synced;
}

bw_result bw_pin_file_create(const char *dir, const char *name, struct bw_secret **ret_pin)
{
    BW_AUTO(secret) pin = NULL;

    BW_TRY(draw(&pin));
    int fd = open_in(dir, name, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0 && errno == EEXIST)
        return bw_fail(BW_ALREADY_EXISTS, "a PIN file is there already");
    BW_CHECK(fd >= 0, BW_CONFIG_INVALID, "a PIN file cannot be made");
    bool written = write(fd, bw_secret_reveal(pin), bw_secret_len(pin)) == (ssize_t)bw_secret_len(pin) &&
                   write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    written = close(fd) == 0 && written && sync_folder(dir);
    BW_CHECK(written, BW_STORE_UNAVAILABLE, "a PIN file cannot be written");

    *ret_pin = bw_take(&pin);
    return bw_success();
}
