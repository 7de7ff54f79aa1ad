#include "cli.h"

#include <stdarg.h>
#include <stdio.h>

static const struct advice { enum bw_code code; enum bw_exit exit; const char *what_to_do; } advices[] = {
#define BW_ADVICE(code, exit, what_to_do) { BW_##code, BW_EXIT_##exit, what_to_do },
#include "advice.def"
#undef BW_ADVICE
};

void bw_cli_about(struct bw_cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cli->about, sizeof cli->about, format, args);
    va_end(args);
}

/* what we found wrong ourselves is wrong on the command line, unless the table says otherwise */
static struct advice advice_for(enum bw_code code, bool server_said)
{
    for (size_t i = 0; i < ARRAY_LEN(advices); i++)
        if (advices[i].code == code)
            return advices[i];
    return (struct advice){ code, server_said ? BW_EXIT_REFUSED : BW_EXIT_USAGE, NULL };
}

static void tell(const char *title, const char *text)
{
    if (text != NULL && text[0] != '\0')
        (void)fprintf(stderr, "  %-9s%s\n", title, text);
}

enum bw_exit bw_cli_report(const struct bw_cli *cli, bw_result result)
{
    bool          server_said = cli->refusal.reason[0] != '\0';
    struct advice advice      = advice_for(result.code, server_said);

    if (bw_ok(result))
        return BW_EXIT_DONE;
    (void)fprintf(stderr, "bailiwick%s%s: ", cli->command ? " " : "", cli->command ? cli->command : "");
    if (cli->about[0] != '\0')
        (void)fprintf(stderr, "%s: ", cli->about);
    (void)fprintf(stderr, "%s\n", server_said ? cli->refusal.message : result.what);
    if (server_said || result.code >= BW_UNREACHABLE)
        tell("reason", bw_code_row(result.code)->name);
    tell("field", server_said ? cli->refusal.field : result.field);
    tell("home", cli->refusal.home_region);
    tell("to do", advice.what_to_do);
    return advice.exit;
}

void bw_cli_clear(struct bw_cli *cli)
{
    bw_arena_clear(&cli->arena);
    *cli = (struct bw_cli){ 0 };
}
