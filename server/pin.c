#include "pin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bailiwick/limits.h"

struct path { char text[4096]; };

static bw_result path_of(const char *pin_dir, const char *name, const char *suffix, struct path *ret_path)
{
    int len = snprintf(ret_path->text, sizeof ret_path->text, "%s/%s.pin%s", pin_dir, name, suffix);

    BW_CHECK(len > 0 && (size_t)len < sizeof ret_path->text, BW_HSM_UNAVAILABLE, "the path of a PIN file is too long");
    return bw_success();
}

/* ---- reading ---- */

static bw_result check_file(int fd)
{
    struct stat st;

    BW_CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode), BW_HSM_UNAVAILABLE, "a PIN file is not a file");
    BW_CHECK(st.st_uid == geteuid() || st.st_uid == 0, BW_HSM_UNAVAILABLE, "a PIN file belongs to another user");
    BW_CHECK((st.st_mode & 077) == 0, BW_HSM_UNAVAILABLE, "others may read a PIN file");
    return bw_success();
}

static bw_result read_line(int fd, struct bw_secret *pin)
{
    uint8_t *bytes = bw_secret_reveal(pin);
    ssize_t  len   = read(fd, bytes, bw_secret_len(pin));

    BW_CHECK(len > 0, BW_HSM_UNAVAILABLE, "a PIN file is empty or cannot be read");
    const uint8_t *end = memchr(bytes, '\n', (size_t)len);
    size_t line = end ? (size_t)(end - bytes) : (size_t)len;
    BW_CHECK(line > 0 && line <= BW_PIN_MAX, BW_HSM_UNAVAILABLE, "a PIN file's first line is empty or too long");
    bw_secret_shorten(pin, line);
    return bw_success();
}

bw_result bw_pin_read(const char *pin_dir, const char *name, struct bw_secret **ret_pin)
{
    BW_AUTO(secret) pin = NULL;
    struct path path;

    BW_TRY(path_of(pin_dir, name, "", &path));
    BW_TRY(bw_secret_new(BW_PIN_MAX + 2, &pin));
    int fd = open(path.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    BW_CHECK(fd >= 0, BW_HSM_UNAVAILABLE, "a PIN file is not there");
    bw_result result = check_file(fd);
    if (bw_ok(result))
        result = read_line(fd, pin);
    (void)close(fd);
    BW_TRY(result);
    *ret_pin = bw_take(&pin);
    return bw_success();
}

/* ---- writing ---- */

static bw_result sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    BW_CHECK(fd >= 0, BW_HSM_UNAVAILABLE, "the folder of PIN files cannot be opened");
    int failed = fsync(fd);
    (void)close(fd);
    BW_CHECK(failed == 0, BW_HSM_UNAVAILABLE, "the folder of PIN files cannot be synced");
    return bw_success();
}

static bw_result write_file(const char *path, bw_bytes pin)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    BW_CHECK(fd >= 0, BW_HSM_UNAVAILABLE, "a PIN file cannot be made");
    bool written = write(fd, pin.data, pin.len) == (ssize_t)pin.len && fsync(fd) == 0;
    (void)close(fd);
    BW_CHECK(written, BW_HSM_UNAVAILABLE, "a PIN file cannot be written");
    return bw_success();
}

bw_result bw_pin_write(const char *pin_dir, const char *name, bw_bytes pin)
{
    struct path path, draft;

    BW_TRY(path_of(pin_dir, name, "", &path));
    BW_TRY(path_of(pin_dir, name, ".new", &draft));
    (void)unlink(draft.text); /* of a crash before */
    BW_TRY(write_file(draft.text, pin));
    if (renameat2(AT_FDCWD, draft.text, AT_FDCWD, path.text, RENAME_NOREPLACE) != 0) {
        bool there = errno == EEXIST;
        (void)unlink(draft.text);
        BW_CHECK(!there, BW_ALREADY_EXISTS, "there is a PIN file of this name");
        return bw_fail(BW_HSM_UNAVAILABLE, "a PIN file cannot be named");
    }
    return sync_dir(pin_dir);
}
