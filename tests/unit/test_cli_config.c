/* The tool's configuration file: every setting, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli_config.h"

#define GOOD "region=eu-central\ntrust_domain=dev.example\nca=/c/ca.pem\ncertificate=/c/me.pem\nkey=/c/me.key\n"
#define ENDPOINTS "endpoints = a:1, [::1]:2 ,b:3\n"

static const struct { const char *why; const char *text; bool accepted; const char *about; } files[] = {
    { "all settings",                GOOD ENDPOINTS,                              true,  "" },
    { "comments and blank lines",    "# mine\n\n" GOOD ENDPOINTS,                 true,  "" },
    { "nothing",                     "",                                          false, ": region" },
    { "a setting is missing",        GOOD,                                        false, ": endpoints" },
    { "a setting is empty",          GOOD "endpoints =\n",                        false, ": endpoints" },
    { "no endpoint but commas",      GOOD "endpoints = , ,\n",                    false, ": endpoints" },
    { "more endpoints than we take", GOOD "endpoints = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n", false, ": endpoints" },
    { "an unknown setting",          GOOD ENDPOINTS "colour = red\n",             false, ": colour" },
    { "a section",                   GOOD ENDPOINTS "[eu-central]\ntenant = x\n", false, "cli.conf" },
    { "not a region",                "region = EU\n" ENDPOINTS,                   false, ": region" },
    { "a relative path",             ENDPOINTS GOOD "ca = ca.pem\n",              false, ": ca" },
    { "no setting at all",           "region = eu\nthis is prose\n",              false, ":2" },
};

struct folder { char dir[32], path[64]; };

static void write_file(struct folder *folder, const char *text)
{
    strcpy(folder->dir, "/tmp/bw-test-XXXXXX");
    assert_non_null(mkdtemp(folder->dir));
    (void)snprintf(folder->path, sizeof folder->path, "%s/cli.conf", folder->dir);
    FILE *file = fopen(folder->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void remove_file(const struct folder *folder)
{
    assert_int_equal(unlink(folder->path), 0);
    assert_int_equal(rmdir(folder->dir), 0);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void files_are_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct bw_cli cli = { 0 };
        struct bw_cli_config config;
        struct folder folder;

        write_file(&folder, files[i].text);
        assert_int_equal(setenv("BAILIWICK_CONFIG", folder.path, 1), 0);
        bw_result result = bw_cli_config_load(&cli, &config);
        if (bw_ok(result) != files[i].accepted || !ends_with(cli.about, files[i].about))
            fail_msg("%s: %s", files[i].why, cli.about);
        if (!bw_ok(result))
            assert_int_equal(result.code, BW_CONFIG_INVALID);
        bw_cli_clear(&cli);
        remove_file(&folder);
    }
}

static void settings_arrive(void **state)
{
    struct bw_cli cli = { 0 };
    struct bw_cli_config config;
    struct folder folder;

    (void)state;
    write_file(&folder, GOOD ENDPOINTS);
    assert_int_equal(setenv("BAILIWICK_CONFIG", folder.path, 1), 0);
    assert_true(bw_ok(bw_cli_config_load(&cli, &config)));
    assert_string_equal(config.region.text, "eu-central");
    assert_string_equal(config.endpoints[0], "a:1");
    assert_string_equal(config.endpoints[1], "[::1]:2");
    assert_string_equal(config.endpoints[2], "b:3");
    assert_null(config.endpoints[3]);
    assert_string_equal(config.key, "/c/me.key");
    bw_cli_clear(&cli);
    remove_file(&folder);
}

static void the_option_outranks_the_environment(void **state)
{
    static const struct bw_option options[] = { { "config", BW_OPTION_TEXT, "FILE", "" }, { 0 } };
    struct bw_cli cli = { .args.own = options };
    struct bw_cli_config config;
    char *words[] = { "--config=/nowhere/at/all", NULL };

    (void)state;
    assert_int_equal(setenv("BAILIWICK_CONFIG", "/nowhere/else", 1), 0);
    assert_true(bw_ok(bw_args_read_all(&cli.args, words, "")));
    assert_int_equal(bw_cli_config_load(&cli, &config).code, BW_CONFIG_INVALID);
    assert_string_equal(cli.about, "/nowhere/at/all");
    bw_cli_clear(&cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_all_or_nothing),
        cmocka_unit_test(settings_arrive),
        cmocka_unit_test(the_option_outranks_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
