/* The module's configuration file: what is read from it, and that every mistake is named with its line and its cure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provider_conf.h"

static char folder[] = "/tmp/bw-conf-XXXXXX";
static char path[64], pem[64], open_key[64];

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, mode), 0);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/pkcs11.conf", folder);
    (void)snprintf(pem, sizeof pem, "%s/app.pem", folder);
    (void)snprintf(open_key, sizeof open_key, "%s/open.key", folder);
    write_file(pem, "-", 0600);
    write_file(open_key, "-", 0644);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path), (void)unlink(pem), (void)unlink(open_key);
    return rmdir(folder);
}

/* in the texts below, PEM and OPEN stand for files of the folder */
static void write_conf(const char *text)
{
    char real[4096] = "";

    while (*text != '\0') {
        size_t len = strlen(real);
        const char *with = strncmp(text, "PEM", 3) == 0 ? pem : strncmp(text, "OPEN", 4) == 0 ? open_key : NULL;
        assert_true(len + sizeof pem < sizeof real);
        if (with != NULL) {
            strcpy(real + len, with);
            text += with == pem ? 3 : 4;
        } else {
            real[len] = *text++;
        }
    }
    write_file(path, real, 0600);
}

#define WHO   "region = eu-central\ntenant = acme\ntrust_domain = example.org\n"
#define FILES "ca = PEM\ncertificate = PEM\nkey = PEM\n"
#define WHERE "endpoints = kms:7443\n"

static void a_slot_is_read_with_its_defaults(void **state)
{
    char message[BW_CONF_MESSAGE_MAX] = "";
    struct bw_conf conf;

    (void)state;
    write_conf("# two slots\n[b]\n" WHO WHERE FILES "[a]\n" WHO FILES
               "endpoints = 127.0.0.1:7443 , [::1]:7444,kms.example.org:443\nlabel = acme keys\ndeadline_ms = 100\nidle_ms = 1000\n"
               "login_required = yes\ntrace = yes\n");
    assert_true(bw_ok(bw_conf_load(path, &conf, message)));
    assert_string_equal(message, "");
    assert_int_equal(conf.slot_count, 2);

    const struct bw_conf_slot *b = &conf.slots[0], *a = &conf.slots[1];
    assert_string_equal(b->name, "b");
    assert_string_equal(b->region.text, "eu-central");
    assert_string_equal(b->tenant.text, "acme");
    assert_string_equal(b->trust_domain, "example.org");
    assert_string_equal(b->endpoints[0], "kms:7443");
    assert_null(b->endpoints[1]);
    assert_string_equal(b->key_file, pem);
    assert_string_equal(b->label, "bw acme");
    assert_int_equal(b->deadline_ms, 5000);
    assert_int_equal(b->idle_ms, 60000);
    assert_int_equal(b->login_rule, BW_LOGIN_AUTO);
    assert_false(b->trace);

    assert_string_equal(a->name, "a");
    assert_string_equal(a->endpoints[0], "127.0.0.1:7443");
    assert_string_equal(a->endpoints[1], "[::1]:7444");
    assert_string_equal(a->endpoints[2], "kms.example.org:443");
    assert_null(a->endpoints[3]);
    assert_string_equal(a->label, "acme keys");
    assert_int_equal(a->login_rule, BW_LOGIN_ALWAYS);
    assert_true(a->trace);

    struct bw_client_options options = bw_conf_client_options(a);
    assert_string_equal(options.endpoints[2], "kms.example.org:443");
    assert_null(options.endpoints[3]);
    assert_string_equal(options.home.text, "eu-central");
    assert_int_equal(options.deadline_ms, 100);
    bw_conf_clear(&conf);
}

static const struct { const char *why; const char *text; const char *line; const char *said; } mistakes[] = {
    { "an unknown setting",          "[a]\n" WHO WHERE FILES "colour = red\n",        ":9: ", "[a] there is no setting \"colour\"; remove it" },
    { "a missing setting",           "\n[a]\n" WHO FILES,                             ":2: ", "[a] \"endpoints\" is missing; add it" },
    { "a region that is none",       "[a]\nregion = EU\n",                            ":2: ", "[a] region = EU: must be a region" },
    { "a tenant that is none",       "[a]\nregion = eu\n  tenant = A!\n",             ":3: ", "[a] tenant = A!: must be a tenant" },
    { "an empty trust domain",       "[a]\nregion = eu\ntenant = a\ntrust_domain =\n",":4: ", "[a] trust_domain = : may not be empty" },
    { "an endpoint without a port",  "[a]\n" WHO FILES "endpoints = kms\n",           ":8: ", "must be host:port" },
    { "a port that is none",         "[a]\n" WHO FILES "endpoints = kms:70000\n",     ":8: ", "must be host:port" },
    { "an endpoint too few",         "[a]\n" WHO FILES "endpoints = kms:1,,kms:2\n",  ":8: ", "must be host:port" },
    { "endpoints without a comma",   "[a]\n" WHO FILES "endpoints = kms:1 kms:2\n",   ":8: ", "must be host:port" },
    { "IPv6 without brackets",       "[a]\n" WHO FILES "endpoints = ::1:7443\n",      ":8: ", "must be host:port" },
    { "a file that is not there",    "[a]\n" WHO WHERE "ca = /nowhere/ca.pem\n",      ":6: ", "[a] ca = /nowhere/ca.pem: No such file or directory" },
    { "a path that is relative",     "[a]\n" WHO WHERE "ca = ca.pem\ncertificate = PEM\nkey = PEM\n", ":6: ", "ca = ca.pem: must be an absolute path" },
    { "a folder for a file",         "[a]\n" WHO WHERE "ca = /tmp\ncertificate = PEM\nkey = PEM\n",   ":6: ", "is not a file" },
    { "a private key for everybody", "[a]\n" WHO WHERE "ca = PEM\ncertificate = PEM\nkey = OPEN\n",   ":8: ", "run chmod g-w,o-rwx on it" },
    { "a label of 33 bytes",         "[a]\n" WHO WHERE FILES "label = 123456789012345678901234567890123\n", ":9: ", "is too long" },
    { "a deadline too short",        "[a]\n" WHO WHERE FILES "deadline_ms = 99\n",    ":9: ", "must be milliseconds, 100 to 600000" },
    { "a deadline with a unit",      "[a]\n" WHO WHERE FILES "deadline_ms = 5s\n",    ":9: ", "must be milliseconds" },
    { "a negative number",           "[a]\n" WHO WHERE FILES "idle_ms = -1\n",        ":9: ", "must be milliseconds" },
    { "a login rule that is none",   "[a]\n" WHO WHERE FILES "login_required = 1\n",  ":9: ", "must be auto, yes or no" },
    { "a switch that is none",       "[a]\n" WHO WHERE FILES "trace = on\n",          ":9: ", "must be yes or no" },
    { "a mistake in the second slot","[a]\n" WHO WHERE FILES "[b]\n" WHO WHERE FILES "trace = on\n", ":17: ", "[b] trace = on" },
    { "a setting in no section",     "region = eu\n[a]\n" WHO WHERE FILES,            ":1: ", "\"region\" stands in no section" },
    { "no section at all",           "# nothing\n",                                   ": ",   "there is no slot" },
    { "a line that is no setting",   "[a]\nregion\n",                                 ":2: ", "cannot be read" },
    { "a header without its end",    "[a\n",                                          ":1: ", "cannot be read" },
};

static void every_mistake_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        char message[BW_CONF_MESSAGE_MAX] = "", start[128];
        struct bw_conf conf;

        write_conf(mistakes[i].text);
        bw_result r = bw_conf_load(path, &conf, message);
        (void)snprintf(start, sizeof start, "%s%s", path, mistakes[i].line);
        if (r.code != BW_CONFIG_INVALID || strncmp(message, start, strlen(start)) != 0 || strstr(message, mistakes[i].said) == NULL)
            fail_msg("%s: code %d, \"%s\"", mistakes[i].why, (int)r.code, message);
    }
}

static void a_file_that_others_can_write_is_refused(void **state)
{
    static const mode_t modes[] = { 0620, 0602, 0666 };
    char message[BW_CONF_MESSAGE_MAX];
    struct bw_conf conf;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        write_conf("[a]\n" WHO WHERE FILES);
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(bw_conf_load(path, &conf, message).code, BW_CONFIG_INVALID);
        assert_non_null(strstr(message, "run chmod go-w on it"));
    }
    assert_int_equal(bw_conf_load("/nowhere/x.conf", &conf, message).code, BW_CONFIG_INVALID);
    assert_string_equal(message, "/nowhere/x.conf: No such file or directory");
}

static void the_first_place_wins(void **state)
{
    char message[BW_CONF_MESSAGE_MAX] = "", given[128];
    struct bw_arena arena = { .blocks = NULL };
    const char *found;

    (void)state;
    write_conf("-");
    (void)snprintf(given, sizeof given, "config=%s", path);
    assert_int_equal(setenv("BAILIWICK_PKCS11_CONFIG", "/nowhere", 1), 0);

    assert_true(bw_ok(bw_conf_find(given, &arena, &found, message)));
    assert_string_equal(found, path);
    assert_true(bw_ok(bw_conf_find(path, &arena, &found, message)));
    assert_string_equal(found, path);

    assert_int_equal(bw_conf_find("", &arena, &found, message).code, BW_CONFIG_INVALID);
    assert_string_equal(message, "$BAILIWICK_PKCS11_CONFIG names a file that is not there; give it the absolute path of the module's configuration file");
    assert_int_equal(bw_conf_find("pkcs11.conf", &arena, &found, message).code, BW_CONFIG_INVALID);
    assert_non_null(strstr(message, "the initialisation string names no absolute path"));

    assert_int_equal(setenv("BAILIWICK_PKCS11_CONFIG", path, 1), 0);
    assert_true(bw_ok(bw_conf_find(NULL, &arena, &found, message)));
    assert_string_equal(found, path);
    assert_int_equal(unsetenv("BAILIWICK_PKCS11_CONFIG"), 0);
    bw_arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_is_read_with_its_defaults),
        cmocka_unit_test(every_mistake_is_named),
        cmocka_unit_test(a_file_that_others_can_write_is_refused),
        cmocka_unit_test(the_first_place_wins),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
