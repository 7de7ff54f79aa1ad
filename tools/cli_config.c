#include "cli_config.h"

#include <openssl/conf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- which file ---- */

static bw_result find_file(struct bw_cli *cli, const char **ret_path)
{
    static const char system_path[] = "/etc/bailiwick/cli.conf";
    const char *given = bw_args_text(&cli->args, "config"), *home = getenv("HOME");

    if (given == NULL)
        given = getenv("BAILIWICK_CONFIG");
    if (given == NULL && home != NULL) {
        const char *own = bw_arena_text(&cli->arena, "%s/.config/bailiwick/cli.conf", home);
        BW_CHECK(own != NULL, BW_NO_MEMORY, "configuration");
        if (access(own, F_OK) == 0)
            given = own;
    }
    *ret_path = given ? given : system_path;
    return bw_success();
}

/* ---- one setting each ---- */

static bw_result parse_region(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    (void)cli;
    return bw_region_parse(bw_bytes_text(value), &config->region);
}

static bw_result copy(struct bw_cli *cli, const char *value, size_t len, const char **ret_copy)
{
    *ret_copy = bw_arena_copy(&cli->arena, bw_bytes_of(value, len));
    BW_CHECK(*ret_copy != NULL, BW_NO_MEMORY, "configuration");
    return bw_success();
}

static bw_result parse_trust_domain(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    return copy(cli, value, strlen(value), &config->trust_domain);
}

static bw_result parse_endpoints(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    size_t count = 0;

    for (value += strspn(value, " ,"); *value != '\0'; value += strspn(value, " ,")) {
        size_t len = strcspn(value, " ,");
        BW_CHECK(count < BW_ENDPOINTS_MAX, BW_CONFIG_INVALID, "too many endpoints");
        BW_TRY(copy(cli, value, len, &config->endpoints[count++]));
        value += len;
    }
    BW_CHECK(count > 0, BW_CONFIG_INVALID, "no endpoint");
    return bw_success();
}

static bw_result parse_file(struct bw_cli *cli, const char *value, const char **ret_path)
{
    BW_CHECK(value[0] == '/', BW_CONFIG_INVALID, "must be an absolute path");
    return copy(cli, value, strlen(value), ret_path);
}

static bw_result parse_ca(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    return parse_file(cli, value, &config->ca);
}

static bw_result parse_certificate(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    return parse_file(cli, value, &config->certificate);
}

static bw_result parse_key(struct bw_cli *cli, struct bw_cli_config *config, const char *value)
{
    return parse_file(cli, value, &config->key);
}

static const struct setting { const char *name; bw_result (*parse)(struct bw_cli *, struct bw_cli_config *, const char *value); } settings[] = {
    { "region",       parse_region       },
    { "trust_domain", parse_trust_domain },
    { "endpoints",    parse_endpoints    },
    { "ca",           parse_ca           },
    { "certificate",  parse_certificate  },
    { "key",          parse_key          },
};

/* ---- all of them ---- */

static bool is_setting(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return true;
    return false;
}

static bw_result check_sections(struct bw_cli *cli, const CONF *conf, const char *path)
{
    STACK_OF(OPENSSL_CSTRING) *sections = NCONF_get_section_names(conf);
    bool only_default = true;

    for (int i = 0; i < sk_OPENSSL_CSTRING_num(sections); i++)
        only_default &= strcmp(sk_OPENSSL_CSTRING_value(sections, i), "default") == 0;
    sk_OPENSSL_CSTRING_free(sections);
    bw_cli_about(cli, "%s", path);
    BW_CHECK(only_default, BW_CONFIG_INVALID, "has a [section]; this file has none (the PKCS#11 module's has)");
    return bw_success();
}

static bw_result check_names(struct bw_cli *cli, const CONF *conf, const char *path)
{
    STACK_OF(CONF_VALUE) *values = NCONF_get_section(conf, "default");

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const char *name = sk_CONF_VALUE_value(values, i)->name;
        bw_cli_about(cli, "%s: %s", path, name);
        BW_CHECK(is_setting(name), BW_CONFIG_INVALID, "no such setting");
    }
    return bw_success();
}

static bw_result read_settings(struct bw_cli *cli, const CONF *conf, struct bw_cli_config *config)
{
    BW_TRY(check_sections(cli, conf, config->path));
    BW_TRY(check_names(cli, conf, config->path));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *value = NCONF_get_string(conf, "default", settings[i].name);
        bw_cli_about(cli, "%s: %s", config->path, settings[i].name);
        BW_CHECK(value != NULL && *value != '\0', BW_CONFIG_INVALID, "this setting is missing");
        bw_result parsed = settings[i].parse(cli, config, value);
        if (!bw_ok(parsed) && parsed.code == BW_BAD_ARGUMENT)
            parsed.code = BW_CONFIG_INVALID; /* it was not on the command line */
        BW_TRY(parsed);
    }
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_cli_config_load(struct bw_cli *cli, struct bw_cli_config *ret_config)
{
    struct bw_cli_config config = { 0 };
    long             line   = 0;

    BW_TRY(find_file(cli, &config.path));
    bw_cli_about(cli, "%s", config.path);
    BW_CHECK(access(config.path, R_OK) == 0, BW_CONFIG_INVALID, "there is no such file, or it cannot be read; see bailiwick(1), CONFIGURATION");
    CONF *conf = NCONF_new(NULL);
    BW_CHECK(conf != NULL, BW_NO_MEMORY, "configuration");
    bw_result result = bw_success();
    if (NCONF_load(conf, config.path, &line) != 1) {
        bw_cli_about(cli, "%s:%ld", config.path, line);
        result = bw_fail(BW_CONFIG_INVALID, "not a line of the form name = value");
    }
    if (bw_ok(result))
        result = read_settings(cli, conf, &config);
    NCONF_free(conf);
    BW_TRY(result);
    *ret_config = config;
    return bw_success();
}
