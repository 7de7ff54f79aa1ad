/* The configuration: what is taken, and that every refusal names file, section and setting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

/* A complete file; a case replaces one line of it by another text. */
static const char complete[] =
    "[region]\nname = eu-central\nnode = n1\ntrust_domain = example.org\n"
    "[listen]\naddress = 127.0.0.1:7443\n"
    "[tls]\ncertificate = /c/node.pem\nkey = /c/node.key\nca = /c/ca.pem\n"
    "[hsm]\nmodule = /lib/p11.so\npin_dir = /c/pins\n"
    "[store]\ndir = /d/store\n"
    "[audit]\ndir = /d/audit\n"
    "[limits]\nin_flight = 10\n"
    "[log]\nformat = text\n";

static const struct { const char *why, *line, *instead, *told; } refusals[] = {
    { "a region in capitals",              "name = eu-central\n",           "name = EU\n",                  "[region] name: is not a region's name" },
    { "no region",                         "name = eu-central\n",           "",                             "[region] name: is missing" },
    { "an empty region",                   "name = eu-central\n",           "name =\n",                     "[region] name: is missing" },
    { "no node",                           "node = n1\n",                   "",                             "[region] node: is missing" },
    { "a node's name with a slash",        "node = n1\n",                   "node = a/b\n",                 "[region] node: is not a node's name" },
    { "no trust domain",                   "trust_domain = example.org\n",  "",                             "[region] trust_domain: is missing" },
    { "a trust domain with a slash",       "trust_domain = example.org\n",  "trust_domain = a/b\n",         "[region] trust_domain: is not a trust domain" },
    { "no address",                        "address = 127.0.0.1:7443\n",    "",                             "[listen] address: is missing" },
    { "an address without a port",         "address = 127.0.0.1:7443\n",    "address = 127.0.0.1\n",        "[listen] address: is not an address" },
    { "a port that is none",               "address = 127.0.0.1:7443\n",    "address = 127.0.0.1:70000\n",  "[listen] address: is not an address" },
    { "no certificate",                    "certificate = /c/node.pem\n",   "",                             "[tls] certificate: is missing" },
    { "a relative path",                   "certificate = /c/node.pem\n",   "certificate = node.pem\n",     "[tls] certificate: must be an absolute path" },
    { "no key",                            "key = /c/node.key\n",           "",                             "[tls] key: is missing" },
    { "no CA",                             "ca = /c/ca.pem\n",              "",                             "[tls] ca: is missing" },
    { "a relative CRL",                    "ca = /c/ca.pem\n",              "ca = /c/ca.pem\ncrl = x\n",    "[tls] crl: must be an absolute path" },
    { "no module",                         "module = /lib/p11.so\n",        "",                             "[hsm] module: is missing" },
    { "no folder for PINs",                "pin_dir = /c/pins\n",           "",                             "[hsm] pin_dir: is missing" },
    { "no sessions at all",                "pin_dir = /c/pins\n",           "pin_dir = /c\nsessions = 0\n", "[hsm] sessions: is out of range" },
    { "no store",                          "dir = /d/store\n",              "",                             "[store] dir: is missing" },
    { "no audit log",                      "dir = /d/audit\n",              "",                             "[audit] dir: is missing" },
    { "a relative guard",                  "dir = /d/audit\n",              "dir = /d\nguard = g\n",        "[audit] guard: must be an absolute path" },
    { "a limit that is no number",         "in_flight = 10\n",              "in_flight = many\n",           "[limits] in_flight: is not a number" },
    { "a limit below zero",                "in_flight = 10\n",              "in_flight = -1\n",             "[limits] in_flight: is not a number" },
    { "a limit past all reason",           "in_flight = 10\n",              "in_flight = 9999999\n",        "[limits] in_flight: is out of range" },
    { "too many workers",                  "in_flight = 10\n",              "workers = 257\n",              "[limits] workers: is out of range" },
    { "a lame duck of an hour",            "in_flight = 10\n",              "lame_duck_ms = 3600000\n",     "[limits] lame_duck_ms: is out of range" },
    { "a grace of an hour",                "in_flight = 10\n",              "grace_ms = 3600000\n",         "[limits] grace_ms: is out of range" },
    { "an unknown format",                 "format = text\n",               "format = xml\n",               "[log] format: is neither text nor json" },
    { "a setting that we do not have",     "format = text\n",               "colour = red\n",               "[log] colour: there is no such setting" },
    { "a setting in another's section",    "format = text\n",               "dir = /d\n",                   "[log] dir: there is no such setting" },
    { "a section that we do not have",     "[log]\n",                       "[logs]\n",                     "[logs]: there is no such section" },
    { "a setting outside of all sections", "[region]\n",                    "",                             "name: stands before the first section" },
    { "neither refused nor all",           "format = text\n",               "requests = some\n",            "[log] requests: is neither refused nor all" },
    { "a line that is neither",            "node = n1\n",                   "node n1\n",                    ":3: not in the form of" },
};

static char *with(const char *line, const char *instead)
{
    const char *at = strstr(complete, line);
    char *text = NULL;

    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - complete), complete, instead, at + strlen(line)) > 0);
    return text;
}

static bw_result load(const char *text, struct bw_config **config, char *path, char *message, size_t room)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    bw_result result = bw_config_load(path, config, message, room);
    (void)unlink(path);
    return result;
}

static void every_refusal_names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        char  path[] = "/tmp/test_config.XXXXXX", message[4096];
        char *text = with(refusals[i].line, refusals[i].instead);
        struct bw_config *config = NULL;
        bw_result result = load(text, &config, path, message, sizeof message);

        if (result.code != BW_CONFIG_INVALID || config != NULL)
            fail_msg("%s: was taken", refusals[i].why);
        if (strstr(message, refusals[i].told) == NULL || strncmp(message, path, strlen(path)) != 0)
            fail_msg("%s: told as: %s", refusals[i].why, message);
        free(text);
    }
}

static void all_that_is_wrong_is_told_at_once(void **state)
{
    char path[] = "/tmp/test_config.XXXXXX", message[4096];
    struct bw_config *config = NULL;
    (void)state;

    assert_false(bw_ok(load("[region]\nname = EU\n[logs]\n", &config, path, message, sizeof message)));
    assert_non_null(strstr(message, "[region] name: is not"));
    assert_non_null(strstr(message, "[logs]"));
    assert_non_null(strstr(message, "[audit] dir: is missing"));
}

static void what_does_not_fit_the_message_is_cut(void **state)
{
    char path[] = "/tmp/test_config.XXXXXX", message[64];
    struct bw_config *config = NULL;
    (void)state;

    assert_false(bw_ok(load("[logs]\n", &config, path, message, sizeof message)));
    assert_true(strlen(message) < sizeof message);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    char message[4096];
    struct bw_config *config = NULL;
    (void)state;

    assert_false(bw_ok(bw_config_load("/nowhere/bailiwickd.conf", &config, message, sizeof message)));
    assert_non_null(strstr(message, "/nowhere/bailiwickd.conf: cannot be read: No such file"));
}

static void a_complete_file_is_taken_with_its_defaults(void **state)
{
    char path[] = "/tmp/test_config.XXXXXX", message[4096];
    BW_AUTO(config) config = NULL;
    (void)state;

    assert_true(bw_ok(load(complete, &config, path, message, sizeof message)));
    assert_string_equal(message, "");
    assert_string_equal(config->region.text, "eu-central");
    assert_string_equal(config->listen, "127.0.0.1:7443");
    assert_string_equal(config->store_dir, "/d/store");
    assert_null(config->crl);
    assert_null(config->audit_guard);
    assert_int_equal(config->hsm_sessions, 16);
    assert_int_equal(config->in_flight, 10);
    assert_int_equal(config->workers, 0);
    assert_false(config->log_json);
    assert_false(config->log_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_names_what_is_wrong),
        cmocka_unit_test(all_that_is_wrong_is_told_at_once),
        cmocka_unit_test(what_does_not_fit_the_message_is_cut),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_complete_file_is_taken_with_its_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
