/* bailiwick ca: a development CA. */
#include <stdio.h>

#include "ca.h"
#include "commands.h"
#include "file.h"

const struct bw_option bw_cmd_ca_init_options[] = {
    { "trust-domain", BW_OPTION_NEEDED, "DOMAIN", "of the SPIFFE ids that this CA issues: keys.example" },
    { 0 }
};

bw_result bw_cmd_ca_init(struct bw_cli *cli)
{
    const char *dir = cli->args.operands[0];

    BW_TRY(bw_ca_create(cli, dir, bw_args_text(&cli->args, "trust-domain")));
    (void)fprintf(stderr, "%s/ca.key can sign as anyone: a development CA, not one for production.\n", dir);
    (void)printf("%s/ca.pem\n%s/ca.key\n%s/crl.pem\n", dir, dir, dir);
    return bw_success();
}

/* ---- issuing ---- */

static bw_result parse_common(struct bw_cli *cli, struct bw_ca_request *request)
{
    const char *region = bw_args_text(&cli->args, "region"), *name = bw_args_text(&cli->args, "name");

    bw_cli_about(cli, "--region %s", region);
    BW_TRY(bw_region_parse(bw_bytes_text(region), &request->identity.region));
    bw_cli_about(cli, "--name %s", name);
    return bw_principal_parse(bw_bytes_text(name), &request->identity.principal);
}

static bw_result issue(struct bw_cli *cli, const struct bw_ca_request *request)
{
    __attribute__((cleanup(bw_ca_clear))) struct bw_ca ca = { 0 };
    const char *stem;

    BW_TRY(bw_ca_open(cli, cli->args.operands[0], &ca));
    BW_TRY(bw_ca_issue(cli, &ca, request, &stem));
    (void)printf("%s/%s.pem\n%s/%s.key\n", ca.dir, stem, ca.dir, stem);
    return bw_success();
}

const struct bw_option bw_cmd_ca_node_options[] = {
    { "region", BW_OPTION_NEEDED, "REGION",  "that the node serves" },
    { "name",   BW_OPTION_NEEDED, "NAME",    "of the node" },
    { "dns",    BW_OPTION_MANY,   "NAME",    "that clients reach it by" },
    { "ip",     BW_OPTION_MANY,   "ADDRESS", "that clients reach it by" },
    { 0 }
};

static bw_result collect(struct bw_cli *cli, const char *option, const char *ret_values[static BW_CA_NAMES_MAX])
{
    const char *value;
    size_t      at = 0, n = 0;

    bw_cli_about(cli, "--%s", option);
    while ((value = bw_args_next(&cli->args, option, &at)) != NULL) {
        BW_CHECK(n < BW_CA_NAMES_MAX, BW_BAD_ARGUMENT, "too many of these");
        ret_values[n++] = value;
    }
    return bw_success();
}

bw_result bw_cmd_ca_node(struct bw_cli *cli)
{
    struct bw_ca_request request = { .identity.role = BW_ROLE_NODE };

    BW_TRY(parse_common(cli, &request));
    BW_TRY(collect(cli, "dns", request.dns));
    BW_TRY(collect(cli, "ip", request.addresses));
    return issue(cli, &request);
}

const struct bw_option bw_cmd_ca_caller_options[] = {
    { "region",          BW_OPTION_NEEDED, "REGION", "that the caller runs in" },
    { "tenant",          BW_OPTION_NEEDED, "TENANT", "that the caller acts for" },
    { "role",            BW_OPTION_NEEDED, "ROLE",   "app, custodian or auditor" },
    { "name",            BW_OPTION_NEEDED, "NAME",   "of the caller" },
    { "passphrase-file", BW_OPTION_TEXT,   "FILE",   "its first line encrypts the private key; it is the PIN of C_Login" },
    { 0 }
};

static bw_result parse_role(struct bw_cli *cli, enum bw_role *ret_role)
{
    static const enum bw_role of_tenant[] = { BW_ROLE_APP, BW_ROLE_CUSTODIAN, BW_ROLE_AUDITOR };
    bw_bytes role = bw_bytes_text(bw_args_text(&cli->args, "role"));

    for (size_t i = 0; i < ARRAY_LEN(of_tenant); i++)
        if (bw_bytes_equal(role, bw_bytes_text(bw_role_name(of_tenant[i])))) {
            *ret_role = of_tenant[i];
            return bw_success();
        }
    bw_cli_about(cli, "--role %s", bw_args_text(&cli->args, "role"));
    return bw_fail(BW_BAD_ARGUMENT, "the role is app, custodian or auditor");
}

bw_result bw_cmd_ca_caller(struct bw_cli *cli)
{
    struct bw_ca_request request = { 0 };
    BW_AUTO(secret) passphrase = NULL;
    const char *tenant = bw_args_text(&cli->args, "tenant"), *file = bw_args_text(&cli->args, "passphrase-file");

    BW_TRY(parse_common(cli, &request));
    bw_cli_about(cli, "--tenant %s", tenant);
    BW_TRY(bw_tenant_parse(bw_bytes_text(tenant), &request.identity.tenant));
    BW_TRY(parse_role(cli, &request.identity.role));
    if (file != NULL)
        BW_TRY(bw_file_passphrase(cli, file, &passphrase));
    request.passphrase = passphrase;
    return issue(cli, &request);
}

const struct bw_option bw_cmd_ca_operator_options[] = {
    { "region", BW_OPTION_NEEDED, "REGION", "that the operator runs" },
    { "name",   BW_OPTION_NEEDED, "NAME",   "of the operator" },
    { 0 }
};

bw_result bw_cmd_ca_operator(struct bw_cli *cli)
{
    struct bw_ca_request request = { .identity.role = BW_ROLE_OPERATOR };

    BW_TRY(parse_common(cli, &request));
    return issue(cli, &request);
}

/* ---- revoking ---- */

const struct bw_option bw_cmd_ca_revoke_options[] = { { 0 } };

bw_result bw_cmd_ca_revoke(struct bw_cli *cli)
{
    __attribute__((cleanup(bw_ca_clear))) struct bw_ca ca = { 0 };

    BW_TRY(bw_ca_open(cli, cli->args.operands[0], &ca));
    BW_TRY(bw_ca_revoke(cli, &ca, cli->args.operands[1]));
    (void)printf("%s/crl.pem\n", ca.dir);
    return bw_success();
}
