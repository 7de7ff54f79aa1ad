#include "prompt.h"

#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* one read returns one line: the terminal is in canonical mode */
static bw_result read_line(int tty, struct bw_secret **ret_line)
{
    BW_AUTO(secret) line = NULL;

    BW_TRY(bw_secret_new(BW_PIN_MAX + 2, &line));
    uint8_t *text = bw_secret_reveal(line);
    ssize_t  len  = read(tty, text, BW_PIN_MAX + 2);
    BW_CHECK(len > 1 && text[len - 1] == '\n', BW_CREDENTIAL_INVALID, "no passphrase, or one that is too long");
    bw_secret_shorten(line, (size_t)len - 1);
    *ret_line = bw_take(&line);
    return bw_success();
}

static bw_result ask(struct bw_cli *cli, int tty, const char *what, const char *of, struct bw_secret **ret_secret)
{
    const char *question = bw_arena_text(&cli->arena, "%s %s: ", what, of);
    struct termios before, quiet;

    BW_CHECK(question != NULL, BW_NO_MEMORY, "prompt");
    BW_CHECK(tcgetattr(tty, &before) == 0, BW_CREDENTIAL_INVALID, "needs a terminal to ask for its passphrase");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ICANON | ECHONL;
    (void)tcsetattr(tty, TCSAFLUSH, &quiet); /* an echoed passphrase is better than none */
    (void)!write(tty, question, strlen(question));
    bw_result result = read_line(tty, ret_secret);
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    return result;
}

bw_result bw_prompt_secret(struct bw_cli *cli, const char *what, const char *of, struct bw_secret **ret_secret)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    BW_CHECK(tty >= 0, BW_CREDENTIAL_INVALID, "is encrypted, and there is no terminal to ask for its passphrase");
    bw_result result = ask(cli, tty, what, of, ret_secret);
    (void)close(tty);
    return result;
}
