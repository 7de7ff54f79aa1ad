/* bailiwick tenant: made by the region's operator, governed by their custodians. */
#include "bailiwick/v1/tenants.pb-c.h"
#include "cmd_common.h"
#include "file.h"
#include "prompt.h"

enum { POLICY_MAX = 64 * 1024 };

static char *name_operand(const struct bw_cli *cli)
{
    return (char *)(uintptr_t)(cli->args.operands_count > 0 ? cli->args.operands[0] : "");
}

/* the PIN of a token whose activation the customer holds: from a file, or from the person at the terminal */
static bw_result read_pin(struct bw_cli *cli, struct bw_secret **ret_pin)
{
    const char *file = bw_args_text(&cli->args, "pin-file");

    if (file != NULL)
        return bw_file_passphrase(cli, file, ret_pin);
    return bw_prompt_secret(cli, "PIN of tenant", name_operand(cli), ret_pin);
}

static ProtobufCBinaryData reveal(struct bw_secret *pin)
{
    return (ProtobufCBinaryData){ bw_secret_len(pin), bw_secret_reveal(pin) };
}

#define PIN_OPTION { "pin-file", BW_OPTION_TEXT, "FILE", "its first line is the PIN; else the terminal is asked" }

const struct bw_option bw_cmd_tenant_create_options[] = {
    { "customer-held", BW_OPTION_FLAG, NULL, "the customer alone holds the PIN: nothing works before a custodian activates" },
    PIN_OPTION,
    { 0 }
};

bw_result bw_cmd_tenant_create(struct bw_cli *cli)
{
    Bailiwick__V1__CreateTenantRequest request = BAILIWICK__V1__CREATE_TENANT_REQUEST__INIT;
    BW_AUTO(secret) pin = NULL;

    request.name       = name_operand(cli);
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    if (bw_args_flag(&cli->args, "customer-held")) {
        request.activation = BAILIWICK__V1__ACTIVATION__CUSTOMER_HELD;
        BW_TRY(read_pin(cli, &pin));
        request.pin = reveal(pin);
    }
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(CreateTenant), &request.base);
}

const struct bw_option bw_cmd_tenant_show_options[] = { { 0 } };

bw_result bw_cmd_tenant_show(struct bw_cli *cli)
{
    Bailiwick__V1__GetTenantRequest request = BAILIWICK__V1__GET_TENANT_REQUEST__INIT;

    request.name = name_operand(cli);
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(GetTenant), &request.base);
}

const struct bw_option bw_cmd_tenant_list_options[] = { { 0 } };

bw_result bw_cmd_tenant_list(struct bw_cli *cli)
{
    static const struct bw_column columns[] = {
        { "NAME", "name" }, { "REGION", "region" }, { "STATE", "state" }, { "ACTIVATION", "activation" }, { "CREATED", "created" }, { 0 }
    };
    Bailiwick__V1__ListTenantsRequest request = BAILIWICK__V1__LIST_TENANTS_REQUEST__INIT;
    Bailiwick__V1__Page page = BAILIWICK__V1__PAGE__INIT;

    request.page = &page;
    return bw_cmd_list(cli, BW_METHOD_NR(ListTenants), &request.base, &page, "tenants", columns);
}

const struct bw_option bw_cmd_tenant_seal_options[] = {
    { "yes", BW_OPTION_FLAG, NULL, "do not ask back" },
    { 0 }
};

bw_result bw_cmd_tenant_seal(struct bw_cli *cli)
{
    Bailiwick__V1__SealTenantRequest request = BAILIWICK__V1__SEAL_TENANT_REQUEST__INIT;
    const char *question = bw_arena_text(&cli->arena, "Stop every key of tenant %s until it is activated again?", name_operand(cli));

    BW_CHECK(question != NULL, BW_NO_MEMORY, "question");
    BW_TRY(bw_cli_confirm(cli, question));
    request.name = name_operand(cli);
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(SealTenant), &request.base);
}

const struct bw_option bw_cmd_tenant_activate_options[] = {
    { "customer-held", BW_OPTION_FLAG, NULL, "the customer holds the PIN, so that it must be given now" },
    PIN_OPTION,
    { 0 }
};

bw_result bw_cmd_tenant_activate(struct bw_cli *cli)
{
    Bailiwick__V1__ActivateTenantRequest request = BAILIWICK__V1__ACTIVATE_TENANT_REQUEST__INIT;
    BW_AUTO(secret) pin = NULL;

    request.name = name_operand(cli);
    if (bw_args_flag(&cli->args, "customer-held") || bw_args_flag(&cli->args, "pin-file")) {
        BW_TRY(read_pin(cli, &pin));
        request.pin = reveal(pin);
    }
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(ActivateTenant), &request.base);
}

const struct bw_option bw_cmd_tenant_policy_get_options[] = { { 0 } };

bw_result bw_cmd_tenant_policy_get(struct bw_cli *cli)
{
    Bailiwick__V1__GetTenantRequest request = BAILIWICK__V1__GET_TENANT_REQUEST__INIT;
    ProtobufCMessage *reply;

    request.name = name_operand(cli);
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetTenant), &request.base, &reply));
    const Bailiwick__V1__Tenant *tenant = ((const Bailiwick__V1__GetTenantReply *)(const void *)reply)->tenant;
    BW_CHECK(tenant != NULL, BW_PROTOCOL_BROKEN, "the reply holds no tenant");
    return bw_cmd_print_text(tenant->policy);
}

const struct bw_option bw_cmd_tenant_policy_set_options[] = {
    { "generation", BW_OPTION_TEXT, "NUMBER", "only if the tenant is still of it ('tenant show' tells); else whatever it is" },
    { 0 }
};

bw_result bw_cmd_tenant_policy_set(struct bw_cli *cli)
{
    Bailiwick__V1__SetTenantPolicyRequest request = BAILIWICK__V1__SET_TENANT_POLICY_REQUEST__INIT;
    uint32_t generation;

    BW_TRY(bw_cmd_number(cli, "generation", UINT32_MAX, &generation));
    BW_TRY(bw_cmd_load_text(cli, cli->args.operands[1], POLICY_MAX, &request.policy));
    request.name       = name_operand(cli);
    request.generation = generation;
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(SetTenantPolicy), &request.base);
}

const struct bw_option bw_cmd_tenant_revoke_principal_options[] = {
    { "yes", BW_OPTION_FLAG, NULL, "do not ask back" },
    { 0 }
};

bw_result bw_cmd_tenant_revoke_principal(struct bw_cli *cli)
{
    Bailiwick__V1__RevokePrincipalRequest request = BAILIWICK__V1__REVOKE_PRINCIPAL_REQUEST__INIT;
    const char *question = bw_arena_text(&cli->arena, "Refuse %s for good?", cli->args.operands[0]);

    BW_CHECK(question != NULL, BW_NO_MEMORY, "question");
    BW_TRY(bw_cli_confirm(cli, question));
    request.principal = name_operand(cli);
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(RevokePrincipal), &request.base);
}

const struct bw_option bw_cmd_tenant_list_revoked_options[] = { { 0 } };

bw_result bw_cmd_tenant_list_revoked(struct bw_cli *cli)
{
    static const struct bw_column columns[] = { { "PRINCIPAL", "principal" }, { "REVOKED", "revoked" }, { 0 } };
    Bailiwick__V1__ListRevokedRequest request = BAILIWICK__V1__LIST_REVOKED_REQUEST__INIT;
    Bailiwick__V1__Page page = BAILIWICK__V1__PAGE__INIT;

    request.page = &page;
    return bw_cmd_list(cli, BW_METHOD_NR(ListRevoked), &request.base, &page, "revoked", columns);
}
