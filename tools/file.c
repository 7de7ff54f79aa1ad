#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bw_result bw_file_write(struct bw_cli *cli, int fd, const char *name, bw_bytes content)
{
    while (content.len > 0) {
        ssize_t n = write(fd, content.data, content.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            bw_cli_about(cli, "%s: %s", name, strerror(errno));
            return bw_fail(BW_INTERNAL, "cannot be written");
        }
        content.data += n;
        content.len  -= (size_t)n;
    }
    return bw_success();
}

static bw_result write_and_close(struct bw_cli *cli, int fd, const char *path, bw_bytes content)
{
    bw_result result = bw_file_write(cli, fd, path, content);

    if (bw_ok(result) && fsync(fd) != 0)
        result = bw_fail(BW_INTERNAL, "cannot be brought to the disk");
    if (close(fd) != 0 && bw_ok(result))
        result = bw_fail(BW_INTERNAL, "cannot be written");
    if (!bw_ok(result))
        (void)unlink(path); /* half a file is worse than none */
    return result;
}

bw_result bw_file_create(struct bw_cli *cli, const char *path, mode_t mode, bw_bytes content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

    bw_cli_about(cli, "%s", path);
    BW_CHECK(fd >= 0 || errno != EEXIST, BW_ALREADY_EXISTS, "is there already; nothing is overwritten");
    if (fd < 0) {
        bw_cli_about(cli, "%s: %s", path, strerror(errno));
        return bw_fail(BW_INTERNAL, "cannot be made");
    }
    return write_and_close(cli, fd, path, content);
}

bw_result bw_file_replace(struct bw_cli *cli, const char *path, mode_t mode, bw_bytes content)
{
    char *new_path = bw_arena_text(&cli->arena, "%s.new", path);

    BW_CHECK(new_path != NULL, BW_NO_MEMORY, "file name");
    BW_TRY(bw_file_create(cli, new_path, mode, content));
    if (rename(new_path, path) != 0) {
        bw_cli_about(cli, "%s: %s", path, strerror(errno));
        (void)unlink(new_path);
        return bw_fail(BW_INTERNAL, "cannot be replaced");
    }
    return bw_success();
}

bw_result bw_file_read(struct bw_cli *cli, int fd, const char *name, size_t max, struct bw_secret **ret_content)
{
    BW_AUTO(secret) content = NULL;
    size_t          len     = 0;

    BW_TRY(bw_secret_new(max + 1, &content));
    for (;;) {
        ssize_t n = read(fd, bw_secret_reveal(content) + len, max + 1 - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            bw_cli_about(cli, "%s: %s", name, strerror(errno));
            return bw_fail(BW_BAD_ARGUMENT, "cannot be read");
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > max) {
            bw_cli_about(cli, "%s: more than %zu bytes", name, max);
            return bw_fail(BW_TOO_LARGE, "is too large");
        }
    }
    bw_secret_shorten(content, len);
    *ret_content = bw_take(&content);
    return bw_success();
}

bw_result bw_file_load(struct bw_cli *cli, const char *path, size_t max, struct bw_secret **ret_content)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        bw_cli_about(cli, "%s: %s", path, strerror(errno));
        return bw_fail(BW_BAD_ARGUMENT, "cannot be opened");
    }
    bw_result result = bw_file_read(cli, fd, path, max, ret_content);
    (void)close(fd); /* only read */
    return result;
}

bw_result bw_file_passphrase(struct bw_cli *cli, const char *path, struct bw_secret **ret_passphrase)
{
    BW_AUTO(secret) content = NULL;

    BW_TRY(bw_file_load(cli, path, 4096, &content));
    const uint8_t *text = bw_secret_reveal(content);
    const uint8_t *end  = memchr(text, '\n', bw_secret_len(content));
    if (end != NULL)
        bw_secret_shorten(content, (size_t)(end - text));
    bw_cli_about(cli, "%s", path);
    BW_CHECK(bw_secret_len(content) > 0, BW_BAD_ARGUMENT, "its first line is empty; it must be the passphrase");
    BW_CHECK(bw_secret_len(content) <= BW_PIN_MAX, BW_BAD_ARGUMENT, "its first line is longer than a passphrase may be");
    *ret_passphrase = bw_take(&content);
    return bw_success();
}
