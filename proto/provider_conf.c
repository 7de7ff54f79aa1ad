#include "provider_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/conf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 256 * 1024, LABEL_MAX = 32 };

#define ETC_PATH  "/etc/bailiwick/pkcs11.conf"
#define HOME_PATH ".config/bailiwick/pkcs11.conf"
#define ENV_NAME  "BAILIWICK_PKCS11_CONFIG"

/* ---- the settings ----
 *
 * A setter stores a value that it likes and returns NULL; else it says what is wrong with it, or what it must be. */

struct setting {
    const char *name;
    const char *(*set)(struct bw_arena *arena, const struct setting *setting, const char *value, void *into);
    size_t      into;
    const char *fallback;     /* NULL: must be given */
    unsigned    least, most;  /* numbers */
};

static const char *set_region(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    (void)arena, (void)setting;
    return bw_ok(bw_region_parse(bw_bytes_text(value), into)) ? NULL : "must be a region: a-z, 0-9 and '-', at most 16 of them";
}

static const char *set_tenant(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    (void)arena, (void)setting;
    return bw_ok(bw_tenant_parse(bw_bytes_text(value), into)) ? NULL : "must be a tenant: a-z, 0-9 and '-', at most 36 of them";
}

static const char *set_text(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    size_t len = strlen(value);

    if (len < setting->least)
        return "may not be empty";
    if (len > setting->most)
        return "is too long";
    char *copy = bw_arena_copy(arena, bw_bytes_text(value));
    if (copy == NULL)
        return "out of memory";
    *(const char **)into = copy;
    return NULL;
}

static const char *set_file(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    struct stat st;

    if (value[0] != '/')
        return "must be an absolute path";
    if (stat(value, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "is not a file";
    return set_text(arena, setting, value, into);
}

/* Who can write it can make us be somebody else; who can read it can be us. A group may read: hosts that drop privileges need that. */
static const char *set_key_file(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    struct stat st;

    if (value[0] == '/' && stat(value, &st) == 0 && (st.st_mode & (S_IWGRP | S_IRWXO)) != 0)
        return "others can read or write this private key; run chmod g-w,o-rwx on it";
    return set_file(arena, setting, value, into);
}

static const char *set_number(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    char *end;

    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < setting->least || number > setting->most) {
        const char *text = bw_arena_text(arena, "must be milliseconds, %u to %u", setting->least, setting->most);
        return text ? text : "out of memory";
    }
    *(unsigned *)into = (unsigned)number;
    return NULL;
}

static const char *set_yes_no(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    bool yes = strcmp(value, "yes") == 0;

    (void)arena, (void)setting;
    if (!yes && strcmp(value, "no") != 0)
        return "must be yes or no";
    *(bool *)into = yes;
    return NULL;
}

static const char *set_login_rule(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    static const char *const words[] = { [BW_LOGIN_AUTO] = "auto", [BW_LOGIN_ALWAYS] = "yes", [BW_LOGIN_NEVER] = "no" };

    (void)arena, (void)setting;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            *(enum bw_login_rule *)into = (enum bw_login_rule)i;
            return NULL;
        }
    }
    return "must be auto, yes or no";
}

static bool endpoint_is_valid(const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end;

    if (colon == NULL || colon == text || colon[1] < '0' || colon[1] > '9')
        return false;
    if (memchr(text, ':', (size_t)(colon - text)) != NULL && (text[0] != '[' || colon[-1] != ']'))
        return false; /* an IPv6 address needs its brackets */
    unsigned long port = strtoul(colon + 1, &end, 10);
    return *end == '\0' && port >= 1 && port <= 65535;
}

static const char *set_endpoints(struct bw_arena *arena, const struct setting *setting, const char *value, void *into)
{
    const char **endpoints = into;
    size_t count = 0;
    char *rest = bw_arena_copy(arena, bw_bytes_text(value));

    (void)setting;
    if (rest == NULL)
        return "out of memory";
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        word += strspn(word, " \t");
        char *end = word + strcspn(word, " \t");
        bool one_word = end[strspn(end, " \t")] == '\0';
        *end = '\0';
        if (!one_word || !endpoint_is_valid(word))
            return "must be host:port, several with commas between";
        if (count == BW_ENDPOINTS_MAX)
            return "names too many endpoints; 16 is the most";
        endpoints[count++] = word;
    }
    endpoints[count] = NULL;
    return NULL;
}

#define SLOT(member) offsetof(struct bw_conf_slot, member)
static const struct setting settings[] = {
    /* name             value            into                    default  least  most */
    { "region",         set_region,      SLOT(region),           NULL,    0,     0 },
    { "tenant",         set_tenant,      SLOT(tenant),           NULL,    0,     0 },
    { "trust_domain",   set_text,        SLOT(trust_domain),     NULL,    1,     BW_TRUST_DOMAIN_MAX },
    { "endpoints",      set_endpoints,   SLOT(endpoints),        NULL,    0,     0 },
    { "ca",             set_file,        SLOT(ca_file),          NULL,    1,     4096 },
    { "certificate",    set_file,        SLOT(certificate_file), NULL,    1,     4096 },
    { "key",            set_key_file,    SLOT(key_file),         NULL,    1,     4096 },
    { "label",          set_text,        SLOT(label),            "",      0,     LABEL_MAX },  /* "": "bw <tenant>" */
    { "deadline_ms",    set_number,      SLOT(deadline_ms),      "5000",  100,   BW_DEADLINE_MAX_MS },
    { "idle_ms",        set_number,      SLOT(idle_ms),          "60000", 1000,  3600 * 1000 },
    { "login_required", set_login_rule,  SLOT(login_rule),       "auto",  0,     0 },
    { "trace",          set_yes_no,      SLOT(trace),            "no",    0,     0 },
};

static const struct setting *setting_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

/* ---- where ---- */

static bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* "config=/path" or "/path"; NULL for anything else */
static const char *path_in(const char *given)
{
    static const char prefix[] = "config=";

    if (strncmp(given, prefix, sizeof prefix - 1) == 0)
        given += sizeof prefix - 1;
    return given[0] == '/' ? given : NULL;
}

static bw_result find_named(const char *path, const char *by, struct bw_arena *arena, const char **ret_path,
                            char message[static BW_CONF_MESSAGE_MAX])
{
    if (path == NULL || !file_exists(path)) {
        (void)snprintf(message, BW_CONF_MESSAGE_MAX, "%s names %s; give it the absolute path of the module's configuration file",
                       by, path ? "a file that is not there" : "no absolute path");
        return bw_fail(BW_CONFIG_INVALID, "the configuration that was named is not there");
    }
    path = bw_arena_copy(arena, bw_bytes_text(path));
    BW_CHECK(path != NULL, BW_NO_MEMORY, "configuration");
    *ret_path = path;
    return bw_success();
}

bw_result bw_conf_find(const char *given, struct bw_arena *arena, const char **ret_path, char message[static BW_CONF_MESSAGE_MAX])
{
    const char *named = secure_getenv(ENV_NAME);
    const char *home  = geteuid() == 0 ? NULL : secure_getenv("HOME");

    if (given != NULL && given[0] != '\0')
        return find_named(path_in(given), "the initialisation string", arena, ret_path, message);
    if (named != NULL)
        return find_named(path_in(named), "$" ENV_NAME, arena, ret_path, message);

    const char *in_home = home ? bw_arena_text(arena, "%s/" HOME_PATH, home) : NULL;
    BW_CHECK(home == NULL || in_home != NULL, BW_NO_MEMORY, "configuration");
    if (in_home != NULL && file_exists(in_home)) {
        *ret_path = in_home;
        return bw_success();
    }
    if (file_exists(ETC_PATH)) {
        *ret_path = ETC_PATH;
        return bw_success();
    }
    (void)snprintf(message, BW_CONF_MESSAGE_MAX,
                   "no configuration found; looked for $" ENV_NAME " (not set), %s%s" ETC_PATH "; write one of them",
                   in_home ? in_home : "", in_home ? " and " : "");
    return bw_fail(BW_CONFIG_INVALID, "no configuration found");
}

/* ---- reading ---- */

struct reader {
    struct bw_conf *conf;
    const char     *text;   /* the whole file, to find lines in */
    CONF           *nconf;
    char           *message;
};

/* The line, from 1, where a section begins, or where a setting stands in it (name not NULL). 0: not found.
 * NCONF does not tell. */
static unsigned line_of(const char *text, const char *section, const char *name)
{
    bool inside = section == NULL;
    unsigned number = 0;

    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL) {
        const char *at = line + strspn(line, " \t");
        number++;
        if (*at == '[') {
            at++;
            at += strspn(at, " \t");
            size_t len = strcspn(at, " \t]\n");
            inside = section != NULL && len == strlen(section) && memcmp(at, section, len) == 0;
            if (inside && name == NULL)
                return number;
            continue;
        }
        size_t len = strcspn(at, " \t=\n");
        if (inside && name != NULL && len == strlen(name) && memcmp(at, name, len) == 0)
            return number;
    }
    return 0;
}

/* "/path:12: [section] " and then what is wrong */
static bw_result __attribute__((format(printf, 4, 5)))
refuse(const struct reader *reader, unsigned line, const char *section, const char *format, ...)
{
    char where[32] = "", said[BW_CONF_MESSAGE_MAX / 2];
    va_list args;

    if (line > 0)
        (void)snprintf(where, sizeof where, ":%u", line);
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    (void)snprintf(reader->message, BW_CONF_MESSAGE_MAX, "%s%s: %s%s%s%s", reader->conf->path, where, section ? "[" : "",
                   section ? section : "", section ? "] " : "", said);
    return bw_fail(BW_CONFIG_INVALID, "the configuration file is not valid");
}

static bw_result apply(const struct reader *reader, struct bw_conf_slot *slot, const struct setting *setting, const char *value)
{
    const char *wrong = setting->set(&reader->conf->arena, setting, value, (char *)slot + setting->into);

    if (wrong == NULL)
        return bw_success();
    return refuse(reader, line_of(reader->text, slot->name, setting->name), slot->name, "%s = %s: %s", setting->name, value, wrong);
}

static bw_result read_unknown(const struct reader *reader, const char *section)
{
    STACK_OF(CONF_VALUE) *values = NCONF_get_section(reader->nconf, section);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const char *name = sk_CONF_VALUE_value(values, i)->name;
        if (setting_by_name(name) == NULL)
            return refuse(reader, line_of(reader->text, section, name), section, "there is no setting \"%s\"; remove it", name);
    }
    return bw_success();
}

static bw_result read_slot(const struct reader *reader, const char *section, struct bw_conf_slot *slot)
{
    slot->name = bw_arena_copy(&reader->conf->arena, bw_bytes_text(section));
    BW_CHECK(slot->name != NULL, BW_NO_MEMORY, "configuration");
    BW_TRY(read_unknown(reader, section));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *value = NCONF_get_string(reader->nconf, section, settings[i].name);
        if (value == NULL)
            value = settings[i].fallback;
        if (value == NULL)
            return refuse(reader, line_of(reader->text, section, NULL), section, "\"%s\" is missing; add it", settings[i].name);
        BW_TRY(apply(reader, slot, &settings[i], value));
    }
    if (slot->label[0] == '\0') {
        slot->label = bw_arena_text(&reader->conf->arena, "bw %.*s", LABEL_MAX - 3, slot->tenant.text);
        BW_CHECK(slot->label != NULL, BW_NO_MEMORY, "configuration");
    }
    return bw_success();
}

static int by_line(const void *a, const void *b, void *text)
{
    unsigned line_a = line_of(text, *(const char *const *)a, NULL), line_b = line_of(text, *(const char *const *)b, NULL);
    return (line_a > line_b) - (line_a < line_b);
}

static bw_result read_sections(const struct reader *reader, STACK_OF(OPENSSL_CSTRING) *sections)
{
    const char *names[BW_CONF_SLOTS_MAX];
    size_t count = 0;

    for (int i = 0; i < sk_OPENSSL_CSTRING_num(sections); i++) {
        const char *name = sk_OPENSSL_CSTRING_value(sections, i);
        STACK_OF(CONF_VALUE) *values = NCONF_get_section(reader->nconf, name);
        if (strcmp(name, "default") == 0 && sk_CONF_VALUE_num(values) == 0)
            continue; /* NCONF's own, for what stands before the first section */
        if (strcmp(name, "default") == 0) {
            const char *stray = sk_CONF_VALUE_value(values, 0)->name;
            return refuse(reader, line_of(reader->text, NULL, stray), NULL, "\"%s\" stands in no section; begin one with [name] above it", stray);
        }
        if (count == ARRAY_LEN(names))
            return refuse(reader, 0, NULL, "there are more than %d slots", BW_CONF_SLOTS_MAX);
        names[count++] = name;
    }
    if (count == 0)
        return refuse(reader, 0, NULL, "there is no slot; begin one with [name]");
    qsort_r(names, count, sizeof *names, by_line, (void *)(uintptr_t)reader->text);

    struct bw_conf_slot *slots = bw_arena_alloc(&reader->conf->arena, count * sizeof *slots);
    BW_CHECK(slots != NULL, BW_NO_MEMORY, "configuration");
    for (size_t i = 0; i < count; i++)
        BW_TRY(read_slot(reader, names[i], &slots[i]));
    reader->conf->slots      = slots;
    reader->conf->slot_count = count;
    return bw_success();
}

static bw_result parse(struct reader *reader)
{
    long bad_line = 0;
    BIO *bio = BIO_new_mem_buf(reader->text, -1);

    if (bio == NULL)
        return bw_fail(BW_NO_MEMORY, "configuration");
    int loaded = NCONF_load_bio(reader->nconf, bio, &bad_line);
    BIO_free(bio);
    if (loaded != 1)
        return refuse(reader, (unsigned)bad_line, NULL, "this line cannot be read; it must be [name] or name = value");

    STACK_OF(OPENSSL_CSTRING) *sections = NCONF_get_section_names(reader->nconf);
    if (sections == NULL)
        return bw_fail(BW_NO_MEMORY, "configuration");
    bw_result result = read_sections(reader, sections);
    sk_OPENSSL_CSTRING_free(sections);
    return result;
}

/* What others can write is not ours: it would let them choose who we are and whom we trust. */
static bw_result read_file(struct reader *reader, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return refuse(reader, 0, NULL, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(reader, 0, NULL, "this is not a file");
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return refuse(reader, 0, NULL, "this file belongs to another user; only root and the one who runs the application may own it");
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse(reader, 0, NULL, "others can write this file; run chmod go-w on it");
    if (st.st_size > FILE_MAX)
        return refuse(reader, 0, NULL, "this file is larger than %d bytes", FILE_MAX);

    size_t len = 0, room = (size_t)st.st_size;
    char *text = bw_arena_alloc(&reader->conf->arena, room + 1);
    BW_CHECK(text != NULL, BW_NO_MEMORY, "configuration");
    while (len < room) {
        ssize_t got = read(fd, text + len, room - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return refuse(reader, 0, NULL, "%s", strerror(errno));
        if (got == 0)
            break;
        len += (size_t)got;
    }
    reader->text = text;
    return bw_success();
}

static bw_result load(struct reader *reader)
{
    int fd = open(reader->conf->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return refuse(reader, 0, NULL, "%s", strerror(errno));
    bw_result result = read_file(reader, fd);
    (void)close(fd); /* read only: nothing is lost */
    BW_TRY(result);

    /* a library context of our own, so that the host's OpenSSL configuration is neither read nor changed */
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    reader->nconf = NCONF_new_ex(library, NULL);
    result = reader->nconf ? parse(reader) : bw_fail(BW_NO_MEMORY, "configuration");
    NCONF_free(reader->nconf);
    OSSL_LIB_CTX_free(library);
    return result;
}

bw_result bw_conf_load(const char *path, struct bw_conf *ret_conf, char message[static BW_CONF_MESSAGE_MAX])
{
    struct bw_conf conf = { .path = NULL };
    struct reader reader = { .conf = &conf, .message = message };

    conf.path = bw_arena_copy(&conf.arena, bw_bytes_text(path));
    BW_CHECK(conf.path != NULL, BW_NO_MEMORY, "configuration");
    bw_result result = load(&reader);
    if (!bw_ok(result)) {
        if (result.code == BW_NO_MEMORY)
            (void)snprintf(message, BW_CONF_MESSAGE_MAX, "%s: out of memory", path);
        bw_conf_clear(&conf);
        return result;
    }
    *ret_conf = conf;
    return bw_success();
}

void bw_conf_clear(struct bw_conf *conf)
{
    bw_arena_clear(&conf->arena);
    *conf = (struct bw_conf){ .path = NULL };
}

struct bw_client_options bw_conf_client_options(const struct bw_conf_slot *slot)
{
    struct bw_client_options options = {
        .home             = slot->region,
        .trust_domain     = slot->trust_domain,
        .ca_file          = slot->ca_file,
        .certificate_file = slot->certificate_file,
        .key_file         = slot->key_file,
        .deadline_ms      = slot->deadline_ms,
        .idle_ms          = slot->idle_ms,
    };

    memcpy(options.endpoints, slot->endpoints, sizeof options.endpoints);
    return options;
}
