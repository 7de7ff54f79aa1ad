/* bailiwick: the command line tool. Which commands there are is commands.def. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

static const struct command {
    const char             *words;
    const char             *operands;
    const char             *help;
    const struct bw_option *options;
    bw_command_fn          *run;
} commands[] = {
#define BW_COMMAND(function, words, operands, help) { words, operands, help, bw_cmd_##function##_options, bw_cmd_##function },
#include "commands.def"
#undef BW_COMMAND
};

static const struct bw_option global_options[] = {
    { "config",  BW_OPTION_TEXT, "FILE", "configuration; else $BAILIWICK_CONFIG, ~/.config/bailiwick/cli.conf, /etc/bailiwick/cli.conf" },
    { "json",    BW_OPTION_FLAG, NULL,   "print JSON, a line for each thing, as is done when the output is no terminal" },
    { "table",   BW_OPTION_FLAG, NULL,   "print for people, as is done when the output is a terminal" },
    { "help",    BW_OPTION_FLAG, NULL,   "print this" },
    { "version", BW_OPTION_FLAG, NULL,   "print the version" },
    { 0 }
};

static void print_options(FILE *to, const char *title, const struct bw_option *row)
{
    if (row->name != NULL)
        (void)fprintf(to, "\n%s\n", title);
    for (; row->name != NULL; row++) {
        char left[48];
        (void)snprintf(left, sizeof left, "--%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
        (void)fprintf(to, "  %-24s %s%s\n", left, row->help,
                      row->kind == BW_OPTION_NEEDED ? " (needed)" : row->kind == BW_OPTION_MANY ? " (may be repeated)" : "");
    }
}

static void print_command(const struct command *command)
{
    (void)printf("usage: bailiwick %s%s%s [option...]\n\n%s\n", command->words, *command->operands ? " " : "", command->operands, command->help);
    print_options(stdout, "options", command->options);
    print_options(stdout, "options of every command", global_options);
}

static bool is_of_family(const struct command *command, const char *family)
{
    size_t len = family ? strlen(family) : 0;
    return len == 0 || (strncmp(command->words, family, len) == 0 && strchr(" ", command->words[len]) != NULL);
}

static void print_commands(FILE *to, const char *family)
{
    (void)fprintf(to, "usage: bailiwick [option...] command [operand...] [option...]\n\ncommands\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (is_of_family(&commands[i], family)) {
            char left[64];
            (void)snprintf(left, sizeof left, "%s %s", commands[i].words, commands[i].operands);
            (void)fprintf(to, "  %-34s %s\n", left, commands[i].help);
        }
    print_options(to, "options of every command", global_options);
    (void)fprintf(to, "\nbailiwick COMMAND --help tells a command's options; bailiwick(1) tells everything.\n");
}

/* moves *words past the command's words */
static const struct command *find_command(char *const **words)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char *const *word = *words;
        const char  *rest = commands[i].words;

        while (*word != NULL && strncmp(rest, *word, strlen(*word)) == 0 && strchr(" ", rest[strlen(*word)]) != NULL) {
            rest += strlen(*word++);
            if (*rest == '\0') {
                *words = word;
                return &commands[i];
            }
            rest++;
        }
    }
    return NULL;
}

static bool is_family(const char *word)
{
    for (size_t i = 0; word != NULL && *word != '\0' && i < ARRAY_LEN(commands); i++)
        if (is_of_family(&commands[i], word))
            return true;
    return false;
}

static bw_result run_command(struct bw_cli *cli, const struct command *command, char *const *words)
{
    cli->command  = command->words;
    cli->args.own = command->options;
    bw_result read = bw_args_read_all(&cli->args, words, command->operands);
    if (!bw_ok(read)) {
        bw_cli_about(cli, "%s", cli->args.at_fault);
        return read;
    }
    if (bw_args_flag(&cli->args, "help")) {
        print_command(command);
        return bw_success();
    }
    cli->json = bw_args_flag(&cli->args, "json") || (!isatty(STDOUT_FILENO) && !bw_args_flag(&cli->args, "table"));
    return command->run(cli);
}

static bw_result run(struct bw_cli *cli, char *const *words)
{
    cli->args.global = global_options;
    bw_result read = bw_args_read_options(&cli->args, words, &words);
    if (!bw_ok(read)) {
        bw_cli_about(cli, "%s", cli->args.at_fault);
        return read;
    }
    if (bw_args_flag(&cli->args, "version")) {
        (void)puts("bailiwick " BW_VERSION);
        return bw_success();
    }
    const struct command *command = find_command(&words);
    if (command != NULL)
        return run_command(cli, command, words);

    bool help = bw_args_flag(&cli->args, "help") || (words[0] != NULL && words[1] != NULL && strcmp(words[1], "--help") == 0);
    const char *family = is_family(words[0]) ? words[0] : NULL;
    print_commands(help ? stdout : stderr, family);
    if (!help && words[0] != NULL && family == NULL)
        bw_cli_about(cli, "%s", words[0]);
    return help ? bw_success() : bw_fail(BW_BAD_ARGUMENT, "no such command");
}

int main(int argc, char **argv)
{
    struct bw_cli cli = { 0 };

    (void)argc;
    enum bw_exit status = bw_cli_report(&cli, run(&cli, argv + (argv[0] != NULL)));
    bw_cli_clear(&cli);
    if (fflush(stdout) != 0 && status == BW_EXIT_DONE) {
        (void)fprintf(stderr, "bailiwick: standard output cannot be written\n");
        return BW_EXIT_FAILED;
    }
    return (int)status;
}
