/* bailiwick key: keys and their life. A key is named by its name or by an alias. */
#include <string.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "cmd_common.h"

enum { POLICY_MAX = 64 * 1024 };

/* ---- what a key is described by, when it is made and when it is changed ---- */

#define DESCRIPTION_OPTIONS                                                                                                     \
    { "use",         BW_OPTION_MANY, "USE",        "encrypt, decrypt, wrap, unwrap, sign, verify, derive; else all that it can" },  \
    { "label",       BW_OPTION_TEXT, "TEXT",       "CKA_LABEL, by which PKCS#11 applications find it" },                         \
    { "cka-id",      BW_OPTION_TEXT, "HEX",        "CKA_ID; else the key's own id" },                                           \
    { "description", BW_OPTION_TEXT, "TEXT",       "for people" },                                                              \
    { "alias",       BW_OPTION_MANY, "NAME",       "another name for it, unique in the tenant" },                               \
    { "tag",         BW_OPTION_MANY, "NAME=VALUE", "for searching and billing" },                                              \
    { "rotation-days", BW_OPTION_TEXT, "DAYS",     "make a new version when the newest is so old; 0: not for its age" },       \
    { "expires",     BW_OPTION_TEXT, "TIME",       "of no use from then on: 2030-01-01T00:00:00Z, +90d, or never" }
#define UPDATE_OPTIONS                                                                                                    \
    { "minimum-version", BW_OPTION_TEXT, "NUMBER", "older versions are of no use, until it is lowered; 0: all are" },       \
    { "material-expires", BW_OPTION_TEXT, "TIME",  "when imported material is destroyed: as --expires, or now" }

struct description {
    int                *uses;
    char              **aliases;
    size_t              uses_count, aliases_count;
    uint32_t            rotation_days;
    int64_t             expires_us;
    ProtobufCBinaryData cka_id;
    struct bw_pairs     tags;
};

static bw_result read_description(struct bw_cli *cli, struct description *ret)
{
    BW_TRY(bw_cmd_enums(cli, "use", &bailiwick__v1__key_use__descriptor, &ret->uses, &ret->uses_count));
    BW_TRY(bw_cmd_texts(cli, "alias", BW_ALIASES_MAX, &ret->aliases, &ret->aliases_count));
    BW_TRY(bw_cmd_hex(cli, "cka-id", BW_CKA_ID_MAX, &ret->cka_id));
    BW_TRY(bw_cmd_number(cli, "rotation-days", BW_ROTATION_DAYS_MAX, &ret->rotation_days));
    BW_TRY(bw_cmd_time(cli, "expires", &ret->expires_us));
    return bw_pairs_read(cli, "tag", BW_TAGS_MAX, BW_TAG_MAX, &ret->tags);
}

/* the same members in CreateKeyRequest and UpdateKeyRequest, which are different types */
#define DESCRIBE(request, cli, d)                                            \
    do {                                                                     \
        (request)->label       = bw_cmd_text(cli, "label");                  \
        (request)->description = bw_cmd_text(cli, "description");            \
        (request)->cka_id      = (d)->cka_id;                                \
        (request)->rotation_days = (d)->rotation_days;                       \
        (request)->expires_us  = (d)->expires_us;                            \
        (request)->uses        = (Bailiwick__V1__KeyUse *)(void *)(d)->uses; \
        (request)->n_uses      = (d)->uses_count;                            \
        (request)->aliases     = (d)->aliases;                               \
        (request)->n_aliases   = (d)->aliases_count;                         \
        (request)->tags        = (d)->tags.list;                             \
        (request)->n_tags      = (d)->tags.count;                            \
    } while (0)

const struct bw_option bw_cmd_key_create_options[] = {
    { "spec",   BW_OPTION_NEEDED, "SPEC", "AES_256, RSA_2048, EC_P256 ...: 'bailiwick describe' shows all" },
    DESCRIPTION_OPTIONS,
    { "imported", BW_OPTION_FLAG, NULL,   "make none: its material will be imported" },
    { "policy", BW_OPTION_TEXT,   "FILE", "key policy in JSON; else every application of the tenant in the home region" },
    { 0 }
};

bw_result bw_cmd_key_create(struct bw_cli *cli)
{
    Bailiwick__V1__CreateKeyRequest request = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;
    struct description description;
    const char *policy = bw_args_text(&cli->args, "policy");
    int spec;

    BW_TRY(bw_cmd_enum(cli, "spec", bw_args_text(&cli->args, "spec"), &bailiwick__v1__key_spec__descriptor, &spec));
    BW_TRY(read_description(cli, &description));
    DESCRIBE(&request, cli, &description);
    request.spec = (Bailiwick__V1__KeySpec)spec;
    if (bw_args_flag(&cli->args, "imported"))
        request.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    if (policy != NULL)
        BW_TRY(bw_cmd_load_text(cli, policy, POLICY_MAX, &request.policy));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(CreateKey), &request.base);
}

const struct bw_option bw_cmd_key_update_options[] = { DESCRIPTION_OPTIONS, UPDATE_OPTIONS, { 0 } };

enum { FIELDS_MAX = 10 };

/* an option that was given names a field that is to be set, be it to nothing */
static size_t collect_fields(const struct bw_cli *cli, char *fields[static FIELDS_MAX])
{
    static const struct { const char *option, *field; } rows[] = {
        { "use", "uses" }, { "label", "label" }, { "cka-id", "cka_id" },
        { "description", "description" }, { "alias", "aliases" }, { "tag", "tags" },
        { "rotation-days", "rotation_days" },
        { "minimum-version", "minimum_version" },
        { "expires", "expires_us" }, { "material-expires", "material_expires_us" },
    };
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (bw_args_flag(&cli->args, rows[i].option))
            fields[count++] = (char *)(uintptr_t)rows[i].field;
    return count;
}

bw_result bw_cmd_key_update(struct bw_cli *cli)
{
    Bailiwick__V1__UpdateKeyRequest request = BAILIWICK__V1__UPDATE_KEY_REQUEST__INIT;
    struct description description;
    char *fields[FIELDS_MAX];

    request.fields   = fields;
    request.n_fields = collect_fields(cli, fields);
    BW_TRY(bw_cmd_number(cli, "minimum-version", BW_VERSION_MAX, &request.minimum_version));
    BW_TRY(bw_cmd_time(cli, "material-expires", &request.material_expires_us));
    BW_CHECK(request.n_fields > 0, BW_BAD_ARGUMENT, "nothing to change was named; --help tells what can be");
    BW_TRY(read_description(cli, &description));
    DESCRIBE(&request, cli, &description);
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(UpdateKey), &request.base);
}

/* ---- looking ---- */

const struct bw_option bw_cmd_key_list_options[] = {
    { "label",  BW_OPTION_TEXT, "TEXT",  "only keys of this label" },
    { "cka-id", BW_OPTION_TEXT, "HEX",   "only keys of this CKA_ID" },
    { "spec",   BW_OPTION_TEXT, "SPEC",  "only such keys" },
    { "state",  BW_OPTION_TEXT, "STATE", "pending_import, enabled, disabled, pending_deletion, destroyed" },
    { "usable", BW_OPTION_FLAG, NULL,    "only keys that this caller may use now" },
    { 0 }
};

bw_result bw_cmd_key_list(struct bw_cli *cli)
{
    static const struct bw_column columns[] = {
        { "NAME", "name" }, { "LABEL", "label" }, { "SPEC", "spec" }, { "STATE", "state" }, { "VERSION", "primary_version" },
        { "ALIASES", "aliases" }, { "CREATED", "created" }, { 0 }
    };
    Bailiwick__V1__ListKeysRequest request = BAILIWICK__V1__LIST_KEYS_REQUEST__INIT;
    Bailiwick__V1__Page page = BAILIWICK__V1__PAGE__INIT;
    const char *spec = bw_args_text(&cli->args, "spec"), *state = bw_args_text(&cli->args, "state");
    int spec_value = 0, state_value = 0;

    if (spec != NULL)
        BW_TRY(bw_cmd_enum(cli, "spec", spec, &bailiwick__v1__key_spec__descriptor, &spec_value));
    if (state != NULL)
        BW_TRY(bw_cmd_enum(cli, "state", state, &bailiwick__v1__key_state__descriptor, &state_value));
    BW_TRY(bw_cmd_hex(cli, "cka-id", BW_CKA_ID_MAX, &request.cka_id));
    request.page   = &page;
    request.label  = bw_cmd_text(cli, "label");
    request.spec   = (Bailiwick__V1__KeySpec)spec_value;
    request.state  = (Bailiwick__V1__KeyState)state_value;
    request.usable = bw_args_flag(&cli->args, "usable");
    return bw_cmd_list(cli, BW_METHOD_NR(ListKeys), &request.base, &page, "keys", columns);
}

const struct bw_option bw_cmd_key_show_options[] = { { 0 } };

bw_result bw_cmd_key_show(struct bw_cli *cli)
{
    Bailiwick__V1__GetKeyRequest request = BAILIWICK__V1__GET_KEY_REQUEST__INIT;
    char *operand = (char *)(uintptr_t)cli->args.operands[0];

    if (strncmp(operand, "bw:", 3) == 0)
        request.name = operand;
    else
        request.alias = operand;
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(GetKey), &request.base);
}

/* ---- life ---- */

const struct bw_option bw_cmd_key_rotate_options[] = { { 0 } };

bw_result bw_cmd_key_rotate(struct bw_cli *cli)
{
    Bailiwick__V1__RotateKeyRequest request = BAILIWICK__V1__ROTATE_KEY_REQUEST__INIT;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(RotateKey), &request.base);
}

const struct bw_option bw_cmd_key_enable_options[] = { { 0 } };

bw_result bw_cmd_key_enable(struct bw_cli *cli)
{
    Bailiwick__V1__EnableKeyRequest request = BAILIWICK__V1__ENABLE_KEY_REQUEST__INIT;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(EnableKey), &request.base);
}

const struct bw_option bw_cmd_key_disable_options[] = { { 0 } };

bw_result bw_cmd_key_disable(struct bw_cli *cli)
{
    Bailiwick__V1__DisableKeyRequest request = BAILIWICK__V1__DISABLE_KEY_REQUEST__INIT;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(DisableKey), &request.base);
}

const struct bw_option bw_cmd_key_delete_options[] = {
    { "days", BW_OPTION_TEXT, "DAYS", "until it is destroyed, 7 to 90; else 30" },
    { "yes",  BW_OPTION_FLAG, NULL,   "do not ask back" },
    { 0 }
};

bw_result bw_cmd_key_delete(struct bw_cli *cli)
{
    Bailiwick__V1__ScheduleDeletionRequest request = BAILIWICK__V1__SCHEDULE_DELETION_REQUEST__INIT;
    const char *question = bw_arena_text(&cli->arena, "Stop using key %s now and destroy it later?", cli->args.operands[0]);

    BW_CHECK(question != NULL, BW_NO_MEMORY, "question");
    BW_TRY(bw_cmd_number(cli, "days", 90, &request.days));
    BW_TRY(bw_cli_confirm(cli, question));
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(ScheduleDeletion), &request.base);
}

const struct bw_option bw_cmd_key_cancel_deletion_options[] = { { 0 } };

bw_result bw_cmd_key_cancel_deletion(struct bw_cli *cli)
{
    Bailiwick__V1__CancelDeletionRequest request = BAILIWICK__V1__CANCEL_DELETION_REQUEST__INIT;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(CancelDeletion), &request.base);
}

const struct bw_option bw_cmd_key_purge_options[] = {
    { "yes", BW_OPTION_FLAG, NULL, "do not ask back" },
    { 0 }
};

bw_result bw_cmd_key_purge(struct bw_cli *cli)
{
    Bailiwick__V1__PurgeKeyRequest request = BAILIWICK__V1__PURGE_KEY_REQUEST__INIT;
    const char *question = bw_arena_text(&cli->arena, "Destroy key %s, and with it all that it encrypts, for good?", cli->args.operands[0]);

    BW_CHECK(question != NULL, BW_NO_MEMORY, "question");
    BW_TRY(bw_cli_confirm(cli, question));
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(PurgeKey), &request.base);
}

const struct bw_option bw_cmd_key_policy_get_options[] = { { 0 } };

bw_result bw_cmd_key_policy_get(struct bw_cli *cli)
{
    Bailiwick__V1__GetKeyRequest request = BAILIWICK__V1__GET_KEY_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetKey), &request.base, &reply));
    const Bailiwick__V1__Key *key = ((const Bailiwick__V1__GetKeyReply *)(const void *)reply)->key;
    BW_CHECK(key != NULL, BW_PROTOCOL_BROKEN, "the reply holds no key");
    return bw_cmd_print_text(key->policy);
}

const struct bw_option bw_cmd_key_policy_set_options[] = {
    { "generation", BW_OPTION_TEXT, "NUMBER", "only if the key is still of it ('key show' tells); else whatever it is" },
    { 0 }
};

bw_result bw_cmd_key_policy_set(struct bw_cli *cli)
{
    Bailiwick__V1__SetKeyPolicyRequest request = BAILIWICK__V1__SET_KEY_POLICY_REQUEST__INIT;
    uint32_t generation;

    BW_TRY(bw_cmd_number(cli, "generation", UINT32_MAX, &generation));
    BW_TRY(bw_cmd_load_text(cli, cli->args.operands[1], POLICY_MAX, &request.policy));
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &request.name));
    request.generation = generation;
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(SetKeyPolicy), &request.base);
}
