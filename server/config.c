#include "config.h"

#include <errno.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What a value must be. Returns what is wrong and what to do, NULL when nothing is; then it stands in *at. */
struct setting;
typedef const char *(*accept_fn)(const struct setting *setting, const char *value, void *at);

struct setting {
    const char *section, *name;
    accept_fn   accept;
    size_t      offset;         /* in struct bw_config */
    const char *value;          /* when the file has none; "": it stays unset; NULL: the file must have one */
    unsigned    least, most;    /* number: its range; text: of its length, in bytes */
    const char *help;
};

static const char *accept_text(const struct setting *setting, const char *value, void *at)
{
    if (strlen(value) < setting->least || strlen(value) > setting->most)
        return "is too short or too long";
    *(char **)at = strdup(value);
    return *(char **)at ? NULL : "does not fit into memory";
}

/* the daemon's working directory is nobody's business, so it does not decide which file is meant */
static const char *accept_path(const struct setting *setting, const char *value, void *at)
{
    return value[0] == '/' ? accept_text(setting, value, at) : "must be an absolute path: begin it with /";
}

static const char *accept_region(const struct setting *setting, const char *value, void *at)
{
    (void)setting;
    return bw_ok(bw_region_parse(bw_bytes_text(value), at)) ? NULL
        : "is not a region's name: use 1 to 16 of a-z, 0-9 and inner hyphens, a letter first";
}

static const char *accept_name(const struct setting *setting, const char *value, void *at)
{
    bw_principal name;
    return bw_ok(bw_principal_parse(bw_bytes_text(value), &name)) ? accept_text(setting, value, at)
        : "is not a node's name: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'";
}

static const char *accept_trust_domain(const struct setting *setting, const char *value, void *at)
{
    if (value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789.-_")] != '\0')
        return "is not a trust domain: use a-z, 0-9, '.', '-' and '_'";
    return accept_text(setting, value, at);
}

static const char *accept_number(const struct setting *setting, const char *value, void *at)
{
    char *end;

    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || value[0] == '-')
        return "is not a number: write digits only";
    if (number < setting->least || number > setting->most)
        return "is out of range; bailiwickd --help tells the range";
    *(unsigned *)at = (unsigned)number;
    return NULL;
}

static const char *accept_address(const struct setting *setting, const char *value, void *at)
{
    const char *colon = strrchr(value, ':');
    unsigned    port;
    const struct setting range = { .least = 0, .most = 65535 };

    if (colon == NULL || colon == value || accept_number(&range, colon + 1, &port) != NULL)
        return "is not an address: write host:port, for example 0.0.0.0:7443 or [::]:7443";
    return accept_text(setting, value, at);
}

/* Whether it is the second of two words. */
static const char *accept_either(const char *value, const char *first, const char *second, const char *complaint, bool *ret_second)
{
    bool is_second = strcmp(value, second) == 0;

    if (!is_second && strcmp(value, first) != 0)
        return complaint;
    *ret_second = is_second;
    return NULL;
}

static const char *accept_format(const struct setting *setting, const char *value, void *at)
{
    (void)setting;
    return accept_either(value, "text", "json", "is neither text nor json", at);
}

static const char *accept_requests(const struct setting *setting, const char *value, void *at)
{
    (void)setting;
    return accept_either(value, "refused", "all", "is neither refused nor all", at);
}

static bool is_text(const struct setting *setting)
{
    const accept_fn others[] = { accept_number, accept_region, accept_format, accept_requests };

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (setting->accept == others[i])
            return false;
    return true;
}

#define AT(member) offsetof(struct bw_config, member)

static const struct setting settings[] = {
    /* section   setting         must be              goes to           default    least most    meaning */
    { "region", "name",         accept_region,       AT(region),       NULL,      0,    0,      "the legal region that this node serves; never changes" },
    { "region", "node",         accept_name,         AT(node),         NULL,      1,    64,     "this node's name, as in its certificate" },
    { "region", "trust_domain", accept_trust_domain, AT(trust_domain), NULL,      1,    253,    "the SPIFFE trust domain of nodes and callers" },
    { "listen", "address",      accept_address,      AT(listen),       NULL,      3,    300,    "where callers connect, host:port; port 0 takes any" },
    { "tls",    "certificate",  accept_path,         AT(certificate),  NULL,      2,    4095,   "this node's certificate, PEM, leaf first" },
    { "tls",    "key",          accept_path,         AT(key),          NULL,      2,    4095,   "its private key, PEM, unencrypted, mode 0600" },
    { "tls",    "ca",           accept_path,         AT(ca),           NULL,      2,    4095,   "whose certificates callers must have, PEM" },
    { "tls",    "crl",          accept_path,         AT(crl),          "",        2,    4095,   "revoked certificates of that CA, PEM" },
    { "hsm",    "module",       accept_path,         AT(hsm_module),   NULL,      2,    4095,   "the HSM vendor's PKCS#11 module" },
    { "hsm",    "pin_dir",      accept_path,         AT(pin_dir),      NULL,      2,    4095,   "folder of region.pin and tenant-<name>.pin, mode 0600 each" },
    { "hsm",    "sessions",     accept_number,       AT(hsm_sessions), "16",      1,    1024,   "PKCS#11 sessions per token" },
    { "store",  "dir",          accept_path,         AT(store_dir),    NULL,      2,    4095,   "folder of the key store, on a local file system" },
    { "audit",  "dir",          accept_path,         AT(audit_dir),    NULL,      2,    4095,   "folder of the audit log, on a local file system" },
    { "audit",  "guard",        accept_path,         AT(audit_guard),  "",        2,    4095,   "a file on another volume that notices a log put back; else audit-guard.db in dir" },
    { "limits", "in_flight",    accept_number,       AT(in_flight),    "1024",    1,    100000, "calls at once; more are refused as overloaded" },
    { "limits", "workers",      accept_number,       AT(workers),      "0",       0,    256,    "threads for slow operations; 0: one per processor" },
    { "limits", "lame_duck_ms", accept_number,       AT(lame_duck_ms), "300",     0,    60000,  "at stop: time for load balancers to look elsewhere" },
    { "limits", "grace_ms",     accept_number,       AT(grace_ms),     "10000",   0,    600000, "at stop: time for running calls to end" },
    { "log",    "format",       accept_format,       AT(log_json),     "text",    0,    0,      "text or json, on standard error" },
    { "log",    "requests",     accept_requests,     AT(log_all),      "refused", 0,    0,      "which requests get a line each: refused or all" },
};

/* ---- telling ---- */

struct complaints { const char *path; char *message; size_t room, count; };

__attribute__((format(printf, 2, 3))) static void complain(struct complaints *to, const char *format, ...)
{
    size_t used = strlen(to->message);
    va_list args;

    to->count++;
    if (used + 1 >= to->room)
        return;
    va_start(args, format);
    (void)vsnprintf(to->message + used, to->room - used, format, args);
    va_end(args);
}

/* ---- reading ---- */

static const struct setting *find_setting(const char *section, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].section, section) == 0 && (name == NULL || strcmp(settings[i].name, name) == 0))
            return &settings[i];
    return NULL;
}

static void refuse_unknown(const CONF *file, const char *section, struct complaints *to)
{
    const STACK_OF(CONF_VALUE) *values = NCONF_get_section(file, section);
    bool known = find_setting(section, NULL) != NULL;

    if (!known && strcmp(section, "default") != 0)
        complain(to, "%s: [%s]: there is no such section: remove it or correct its name\n", to->path, section);
    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const char *name = sk_CONF_VALUE_value(values, i)->name;
        if (strcmp(section, "default") == 0)
            complain(to, "%s: %s: stands before the first section: move it into one\n", to->path, name);
        else if (known && find_setting(section, name) == NULL)
            complain(to, "%s: [%s] %s: there is no such setting: remove it or correct its name\n", to->path, section, name);
    }
}

static void take_setting(const CONF *file, const struct setting *setting, struct bw_config *config, struct complaints *to)
{
    const char *value = NCONF_get_string(file, setting->section, setting->name);

    if (value == NULL || value[0] == '\0')
        value = setting->value;
    if (value == NULL) {
        complain(to, "%s: [%s] %s: is missing: add it (%s)\n", to->path, setting->section, setting->name, setting->help);
        return;
    }
    if (value[0] == '\0')
        return;
    const char *wrong = setting->accept(setting, value, (char *)config + setting->offset);
    if (wrong != NULL)
        complain(to, "%s: [%s] %s: %s\n", to->path, setting->section, setting->name, wrong);
}

static bw_result read_file(CONF *file, struct complaints *to)
{
    long line = 0;
    int  loaded;

    (void)ERR_set_mark();
    errno  = 0;
    loaded = NCONF_load(file, to->path, &line);
    int why = errno;
    (void)ERR_pop_to_mark();
    if (loaded > 0)
        return bw_success();
    if (line > 0)
        complain(to, "%s:%ld: not in the form of [section] and name = value: correct this line\n", to->path, line);
    else
        complain(to, "%s: cannot be read: %s\n", to->path, why ? strerror(why) : "not a configuration file");
    return bw_fail(BW_CONFIG_INVALID, "the configuration cannot be read");
}

static void take_all(const CONF *file, struct bw_config *config, struct complaints *to)
{
    STACK_OF(OPENSSL_CSTRING) *sections = NCONF_get_section_names(file);

    for (int i = 0; i < sk_OPENSSL_CSTRING_num(sections); i++)
        refuse_unknown(file, sk_OPENSSL_CSTRING_value(sections, i), to);
    sk_OPENSSL_CSTRING_free(sections);

    (void)ERR_set_mark(); /* OpenSSL counts a setting that is not there as an error */
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        take_setting(file, &settings[i], config, to);
    (void)ERR_pop_to_mark();
}

bw_result bw_config_load(const char *path, struct bw_config **ret_config, char *message, size_t room)
{
    struct complaints complaints = { .path = path, .message = message, .room = room };
    BW_AUTO(config) config = calloc(1, sizeof *config);
    CONF *file = NCONF_new(NULL);
    bw_result result;

    message[0] = '\0';
    if (config == NULL || file == NULL) {
        NCONF_free(file);
        return bw_fail(BW_NO_MEMORY, "configuration");
    }
    result = read_file(file, &complaints);
    if (bw_ok(result))
        take_all(file, config, &complaints);
    NCONF_free(file);
    BW_TRY(result);
    BW_CHECK(complaints.count == 0, BW_CONFIG_INVALID, "the configuration is not valid");

    *ret_config = bw_take(&config);
    return bw_success();
}

void bw_config_free(struct bw_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (is_text(&settings[i]))
            free(*(char **)(void *)((char *)config + settings[i].offset));
    free(config);
}

void bw_config_explain(FILE *to)
{
    const char *section = "";

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        if (strcmp(section, s->section) != 0)
            (void)fprintf(to, "%s[%s]\n", i ? "\n" : "", s->section);
        section = s->section;
        (void)fprintf(to, "# %s", s->help);
        if (s->accept == accept_number)
            (void)fprintf(to, "; %u to %u", s->least, s->most);
        (void)fprintf(to, "\n%s%s = %s\n", s->value ? "#" : "", s->name, s->value ? s->value : "");
    }
}
