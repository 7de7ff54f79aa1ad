#include "cli.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli_config.h"
#include "prompt.h"
#include "show.h"

enum { BW_EXIT_ARGUMENT = -1 }; /* by whom it was found */

static const struct advice { enum bw_code code; int exit; const char *what_to_do; } advices[] = {
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
    struct advice advice = { .code = code, .exit = BW_EXIT_ARGUMENT };

    for (size_t i = 0; i < ARRAY_LEN(advices); i++)
        if (advices[i].code == code)
            advice = advices[i];
    if (advice.exit == BW_EXIT_ARGUMENT)
        return (struct advice){ code, server_said ? BW_EXIT_REFUSED : BW_EXIT_USAGE, server_said ? advice.what_to_do : NULL };
    return advice;
}

const char *bw_cli_what_to_do(enum bw_code code)
{
    return advice_for(code, true).what_to_do;
}

bool bw_cli_may_pass(enum bw_code code)
{
    return advice_for(code, true).exit == BW_EXIT_UNREACHABLE;
}

/* ---- calling ---- */

static bw_result unlock(struct bw_cli *cli, struct bw_client *client, const char *key_file)
{
    BW_AUTO(secret) passphrase = NULL;
    bool encrypted;

    bw_cli_about(cli, "%s", key_file);
    BW_TRY(bw_client_key_is_encrypted(client, &encrypted));
    if (encrypted) {
        BW_TRY(bw_prompt_secret(cli, "Passphrase of", key_file, &passphrase));
        BW_TRY(bw_client_unlock(client, bw_bytes_of(bw_secret_reveal(passphrase), bw_secret_len(passphrase))));
    }
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result connect_once(struct bw_cli *cli)
{
    BW_AUTO(client) client = NULL;
    struct bw_cli_config config;

    if (cli->client != NULL)
        return bw_success();
    BW_TRY(bw_cli_config_load(cli, &config));
    struct bw_client_options options = { .home = config.region, .trust_domain = config.trust_domain, .ca_file = config.ca,
                                         .certificate_file = config.certificate, .key_file = config.key };
    memcpy(options.endpoints, config.endpoints, sizeof options.endpoints);
    BW_TRY(bw_client_new(&options, &client));
    BW_TRY(unlock(cli, client, config.key));
    cli->client = bw_take(&client);
    return bw_success();
}

/* every request of ours begins with one */
static bw_result set_request_id(struct bw_cli *cli, ProtobufCMessage *request)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "request_id");

    BW_CHECK(RAND_bytes(cli->request_id, sizeof cli->request_id) == 1, BW_INTERNAL, "no random bytes");
    ProtobufCBinaryData *id = (void *)((char *)request + field->offset);
    *id = bw_wire_data(bw_bytes_of(cli->request_id, sizeof cli->request_id));
    return bw_success();
}

bw_result bw_cli_call(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, ProtobufCMessage **ret_reply)
{
    BW_TRY(connect_once(cli));
    BW_TRY(set_request_id(cli, request));
    return bw_call(cli->client, bw_method_by_number(method), request, &cli->arena, ret_reply, &cli->refusal);
}

bw_result bw_cli_receive(struct bw_cli *cli, enum bw_method_nr method, ProtobufCMessage *request, bw_client_each_fn each, void *self)
{
    enum { QUIET_MS = 60 * 1000 }; /* four heartbeats */
    struct bw_arena arena = { 0 };
    bw_bytes packed;

    BW_TRY(connect_once(cli));
    BW_TRY(set_request_id(cli, request));
    bw_result r = bw_wire_pack(request, &arena, &packed);
    if (bw_ok(r))
        r = bw_client_receive(cli->client, bw_method_by_number(method)->path, packed, QUIET_MS, each, self, &cli->refusal);
    bw_arena_clear(&arena);
    return r;
}

bw_result bw_cli_confirm(struct bw_cli *cli, const char *question)
{
    char answer[8] = "";

    if (bw_args_flag(&cli->args, "yes"))
        return bw_success();
    BW_CHECK(isatty(STDIN_FILENO) && isatty(STDERR_FILENO), BW_BAD_ARGUMENT, "cannot ask back without a terminal; --yes answers");
    bw_show_text(stderr, question);
    (void)fputs(" [yes/no] ", stderr);
    bool yes = fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0;
    BW_CHECK(yes, BW_CANCELLED, "nothing was changed");
    return bw_success();
}

/* ---- telling ---- */

static void tell(const char *title, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    (void)fprintf(stderr, "  %-9s", title);
    bw_show_text(stderr, text);
    (void)fputc('\n', stderr);
}

static void tell_request(const struct bw_cli *cli)
{
    static const uint8_t none[BW_REQUEST_ID_LEN];
    char text[2 * BW_REQUEST_ID_LEN + 1];

    bw_hex(bw_bytes_of(cli->request_id, sizeof cli->request_id), text);
    if (memcmp(cli->request_id, none, sizeof none) != 0)
        tell("request", text);
}

enum bw_exit bw_cli_report(const struct bw_cli *cli, bw_result result)
{
    bool          server_said = cli->refusal.reason[0] != '\0';
    struct advice advice      = advice_for(result.code, server_said);

    if (bw_ok(result))
        return BW_EXIT_DONE;
    (void)fprintf(stderr, "bailiwick%s%s: ", cli->command ? " " : "", cli->command ? cli->command : "");
    if (cli->about[0] != '\0') {
        bw_show_text(stderr, cli->about);
        (void)fputs(": ", stderr);
    }
    bw_show_text(stderr, server_said ? cli->refusal.message : result.what);
    (void)fputc('\n', stderr);
    if (server_said || result.code >= BW_UNREACHABLE)
        tell("reason", bw_code_row(result.code)->name);
    tell("field", server_said ? cli->refusal.field : result.field);
    tell("home", cli->refusal.home_region);
    tell("proposal", cli->refusal.proposal);
    tell("expired", cli->refusal.expired_at);
    tell_request(cli);
    tell("to do", advice.what_to_do);
    return (enum bw_exit)advice.exit;
}

void bw_cli_clear(struct bw_cli *cli)
{
    bw_client_free(cli->client);
    bw_arena_clear(&cli->arena);
    *cli = (struct bw_cli){ 0 };
}
