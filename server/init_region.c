#include "init_region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit.h"
#include "change.h"
#include "hsm.h"
#include "pin.h"
#include "store.h"

static void bw_hsm_free(struct bw_hsm *hsm) { bw_hsm_close(hsm); }
BW_DEFINE_AUTO(hsm)

static bool is_there(const char *dir, const char *name)
{
    char path[4300];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static bw_result say(char *message, size_t room, bw_result result, const char *what)
{
    (void)snprintf(message, room, "%s: %s (%s)", what, result.what, bw_code_row(result.code)->told);
    return result;
}

/* ---- nothing may be there ---- */

static bw_result refuse_label(void *self, const char *label)
{
    BW_CHECK(strcmp(label, self) != 0, BW_ALREADY_EXISTS, "a token of this region is there already");
    return bw_success();
}

static bw_result check_files(const struct bw_config *config, char *message, size_t room)
{
    const struct { const char *dir, *name; } files[] = {
        { config->pin_dir, "region.pin" }, { config->pin_dir, "region-so.pin" }, { config->store_dir, "store.db" }, { config->audit_dir, "audit.db" },
        { config->audit_dir, "audit-anchor.db" }, { config->audit_dir, "audit-guard.db" },
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (is_there(files[i].dir, files[i].name)) {
            (void)snprintf(message, room, "%s/%s is there already: this region was initialised before", files[i].dir, files[i].name);
            return bw_fail(BW_ALREADY_EXISTS, "the region was initialised before");
        }
    if (config->audit_guard != NULL && access(config->audit_guard, F_OK) == 0) {
        (void)snprintf(message, room, "%s is there already: this region was initialised before", config->audit_guard);
        return bw_fail(BW_ALREADY_EXISTS, "the region was initialised before");
    }
    return bw_success();
}

static bw_result make_folders(const struct bw_config *config, char *message, size_t room)
{
    const char *const folders[] = { config->pin_dir, config->store_dir, config->audit_dir };

    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        if (mkdir(folders[i], 0700) != 0 && errno != EEXIST) {
            (void)snprintf(message, room, "%s: cannot be made: %s", folders[i], strerror(errno));
            return bw_fail(BW_CONFIG_INVALID, "a folder cannot be made");
        }
    return bw_success();
}

/* ---- making it ---- */

enum { PIN_BYTES = 16 }; /* random; as hexadecimal twice as many characters, which every HSM met takes */

/* From the kernel: there is no token yet that could draw it. */
static bw_result draw_pin(struct bw_secret **ret_pin)
{
    BW_AUTO(secret) random = NULL;
    BW_AUTO(secret) pin = NULL;

    BW_TRY(bw_secret_new(PIN_BYTES, &random));
    BW_TRY(bw_secret_new(2 * PIN_BYTES + 1, &pin));
    BW_CHECK(getrandom(bw_secret_reveal(random), PIN_BYTES, 0) == PIN_BYTES, BW_INTERNAL, "no random bytes");
    bw_hex(bw_bytes_of(bw_secret_reveal(random), PIN_BYTES), (char *)bw_secret_reveal(pin));
    bw_secret_shorten(pin, 2 * PIN_BYTES);
    *ret_pin = bw_take(&pin);
    return bw_success();
}

static bw_bytes reveal(struct bw_secret *pin)
{
    return bw_bytes_of(bw_secret_reveal(pin), bw_secret_len(pin));
}

static bw_result make_token(const struct bw_config *config, struct bw_hsm *hsm, const char *label)
{
    BW_AUTO(secret) pin = NULL;
    BW_AUTO(secret) so_pin = NULL;
    char serial[17];

    BW_TRY(draw_pin(&pin));
    BW_TRY(draw_pin(&so_pin));
    BW_TRY(bw_pin_write(config->pin_dir, "region-so", reveal(so_pin)));
    BW_TRY(bw_pin_write(config->pin_dir, "region", reveal(pin)));
    return bw_token_create(hsm, label, reveal(so_pin), reveal(pin), serial);
}

bw_result bw_init_region(const struct bw_config *config, char *message, size_t room)
{
    const struct bw_hsm_options   hsm_options   = { .module = config->hsm_module, .sessions = config->hsm_sessions };
    const struct bw_audit_options audit_options = { .dir = config->audit_dir, .region = config->region, .node = config->node,
                                                    .host = config->trust_domain, .guard = config->audit_guard };
    BW_AUTO(hsm) hsm = NULL;
    char label[33];
    bw_result result;

    message[0] = '\0';
    BW_TRY(make_folders(config, message, room));
    BW_TRY(check_files(config, message, room));
    if (!bw_ok(result = bw_hsm_open(&hsm_options, &hsm)))
        return say(message, room, result, "[hsm] module");
    bw_token_label(&config->region, NULL, label);
    if (!bw_ok(result = bw_hsm_each_label(hsm, refuse_label, label)))
        return say(message, room, result, label);
    if (!bw_ok(result = make_token(config, hsm, label)))
        return say(message, room, result, label);
    if (!bw_ok(result = bw_store_create(config->store_dir, &config->region, bw_now_us())))
        return say(message, room, result, config->store_dir);
    if (!bw_ok(result = bw_audit_create(&audit_options)))
        return say(message, room, result, config->audit_dir);
    return bw_success();
}
