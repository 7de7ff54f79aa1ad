/* bailiwick doctor: what is wrong with a provider's configuration, and what to do. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "show.h"

const struct bw_option bw_cmd_doctor_options[] = {
    { "provider-config", BW_OPTION_TEXT, "FILE", "the PKCS#11 module's configuration; else the one that it would find itself" },
    { "module",          BW_OPTION_TEXT, "PATH", "the PKCS#11 module; else " BW_MODULE_PATH },
    { "reason",          BW_OPTION_TEXT, "REASON", "explain only this: a refusal's reason, or the number in CK_SESSION_INFO's ulDeviceError" },
    { 0 }
};

/* in this order, for each slot; one that makes the rest pointless ends it */
static const struct { const char *title; bw_check_fn *run; } checks[] = {
    { "ca",          bw_check_ca          },
    { "certificate", bw_check_certificate },
    { "identity",    bw_check_identity    },
    { "key",         bw_check_key         },
    { "endpoints",   bw_check_endpoints   },
    { "describe",    bw_check_describe    },
    { "tenant",      bw_check_tenant      },
    { "keys",        bw_check_keys        },
};

/* ---- telling ---- */

static void print_finding(const struct bw_doctor *doctor, enum bw_finding finding, const char *what, const char *what_to_do)
{
    static const char *const marks[] = { [BW_FINE] = "ok", [BW_NOTE] = "note", [BW_WRONG] = "WRONG" };

    (void)printf("%-6s %-14s", marks[finding], doctor->check);
    bw_show_text(stdout, what);
    (void)fputc('\n', stdout);
    if (what_to_do != NULL)
        (void)printf("%21s-> %s\n", "", what_to_do);
}

static void print_finding_json(const struct bw_doctor *doctor, enum bw_finding finding, const char *what, const char *what_to_do)
{
    static const char *const names[] = { [BW_FINE] = "fine", [BW_NOTE] = "note", [BW_WRONG] = "wrong" };
    json_t *line = json_pack("{s:s*, s:s, s:s, s:s, s:s*}", "slot", doctor->slot ? doctor->slot->name : NULL, "check", doctor->check,
                             "finding", names[finding], "what", what, "to_do", what_to_do);

    if (line != NULL && json_dumpf(line, stdout, JSON_COMPACT) == 0)
        (void)fputc('\n', stdout);
    json_decref(line);
}

void bw_doctor_found(struct bw_doctor *doctor, enum bw_finding finding, const char *what_to_do, const char *format, ...)
{
    char what[BW_CONF_MESSAGE_MAX + BW_SPIFFE_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    doctor->wrong += finding == BW_WRONG;
    if (doctor->cli->json)
        print_finding_json(doctor, finding, what, what_to_do);
    else
        print_finding(doctor, finding, what, what_to_do);
    (void)fflush(stdout); /* before the next one waits for a network */
}

/* ---- checking ---- */

static void forget_slot(struct bw_doctor *doctor)
{
    X509_free(doctor->ca);
    X509_free(doctor->certificate);
    bw_secret_free(doctor->passphrase);
    bw_client_free(doctor->client);
    *doctor = (struct bw_doctor){ .cli = doctor->cli, .conf = doctor->conf, .wrong = doctor->wrong };
}

static bw_result check_slot(struct bw_doctor *doctor, const struct bw_conf_slot *slot)
{
    struct bw_client_options options = bw_conf_client_options(slot);

    doctor->slot = slot;
    BW_TRY(bw_client_new(&options, &doctor->client));
    if (!doctor->cli->json)
        (void)printf("\n[%s]\n", slot->name);
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        doctor->check = checks[i].title;
        if (!checks[i].run(doctor))
            break;
    }
    return bw_success();
}

static bw_result check_all(struct bw_doctor *doctor, const struct bw_conf *conf)
{
    const char *module = bw_args_text(&doctor->cli->args, "module");

    doctor->conf = conf;
    bw_doctor_found(doctor, BW_FINE, NULL, "%s, %zu section%s", conf->path, conf->slot_count, conf->slot_count == 1 ? "" : "s");
    for (size_t i = 0; i < conf->slot_count; i++) {
        bw_result result = check_slot(doctor, &conf->slots[i]);
        forget_slot(doctor);
        BW_TRY(result);
    }
    doctor->check = "module";
    if (!doctor->cli->json)
        (void)puts("");
    if (module == NULL && access(BW_MODULE_PATH, F_OK) != 0)
        bw_doctor_found(doctor, BW_NOTE, "name the module with --module to have it tried", "%s is not installed", BW_MODULE_PATH);
    else
        (void)bw_check_module(doctor, module ? module : BW_MODULE_PATH);
    doctor->check = "p11-kit";
    (void)bw_check_p11_kit(doctor);
    return bw_success();
}

/* a file that cannot be found or read is a finding, not a failure of doctor's */
static bw_result load(struct bw_doctor *doctor, struct bw_conf *ret_conf)
{
    char message[BW_CONF_MESSAGE_MAX] = "";
    const char *path = bw_args_text(&doctor->cli->args, "provider-config");
    char *given = path && path[0] != '/' ? realpath(path, NULL) : NULL;

    bw_result result = bw_conf_find(given ? given : path, &doctor->cli->arena, &path, message);
    free(given);
    if (bw_ok(result))
        result = bw_conf_load(path, ret_conf, message);
    if (!bw_ok(result))
        bw_doctor_found(doctor, BW_WRONG, NULL, "%s", message[0] ? message : result.what);
    return result;
}

/* ---- one reason, without any region ---- */

static const struct bw_code_row *row_of(const char *reason)
{
    char *end;
    unsigned long number = strtoul(reason, &end, 10);
    bool is_number = *reason != '\0' && *end == '\0';
    const struct bw_code_row *row = bw_code_row(is_number ? (enum bw_code)number : bw_code_by_name(reason));

    return (is_number ? row->code == number : strcmp(row->name, reason) == 0) ? row : NULL;
}

static bw_result explain(struct bw_doctor *doctor, const char *reason)
{
    const struct bw_code_row *row = row_of(reason);

    doctor->check = "reason";
    bw_cli_about(doctor->cli, "%s", reason);
    BW_CHECK(row != NULL, BW_BAD_ARGUMENT, "there is no such reason");
    bw_doctor_found(doctor, BW_NOTE, bw_cli_what_to_do(row->code), "%s (%d, CKR 0x%lx): %s", row->name, row->code, row->ckr, row->told);
    return bw_success();
}

bw_result bw_cmd_doctor(struct bw_cli *cli)
{
    struct bw_doctor doctor = { .cli = cli, .check = "configuration" };
    const char *reason = bw_args_text(&cli->args, "reason");
    struct bw_conf   conf;

    if (reason != NULL)
        return explain(&doctor, reason);
    BW_CHECK(bw_ok(load(&doctor, &conf)), BW_CONFIG_INVALID, "the configuration is not valid");
    bw_result result = check_all(&doctor, &conf);
    bw_conf_clear(&conf);
    BW_TRY(result);
    BW_CHECK(doctor.wrong == 0, BW_CONFIG_INVALID, "something is wrong; each finding says what to do");
    return bw_success();
}
