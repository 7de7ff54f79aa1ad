#include "tenants.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "change.h"
#include "config.h"
#include "hsm.h"
#include "pin.h"
#include "tenant_policy.h"

enum { PIN_RANDOM = 24 }; /* bytes, in hexadecimal in the file and as the PIN */

struct pin_name { char text[8 + BW_TENANT_MAX]; };

static struct pin_name pin_name_of(const bw_tenant *tenant)
{
    struct pin_name name;

    (void)snprintf(name.text, sizeof name.text, "tenant-%s", tenant->text);
    return name;
}

static bw_bytes reveal(struct bw_secret *pin)
{
    return (bw_bytes){ bw_secret_reveal(pin), bw_secret_len(pin) };
}

/* ---- opening ---- */

bw_result bw_tenant_open_token(struct bw_daemon *daemon, const bw_tenant *tenant, const char *serial, struct bw_secret *pin,
                               struct bw_token **ret_token)
{
    BW_AUTO(secret) read = NULL;
    char label[33];

    if (pin == NULL) {
        BW_TRY(bw_pin_read(daemon->config->pin_dir, pin_name_of(tenant).text, &read));
        pin = read;
    }
    bw_token_label(&daemon->region, tenant, label);
    return bw_token_open(daemon->hsm, label, serial, reveal(pin), ret_token);
}

/* No change that the store or anybody's cache would have to know. */
static bw_result open_one(struct bw_daemon *daemon, const struct bw_tenant_info *tenant)
{
    struct bw_token_holder *holder;
    struct bw_tenant_info  *opened;
    struct bw_tenant_info   draft;
    struct bw_token        *token;

    BW_TRY(bw_tenant_open_token(daemon, &tenant->name, tenant->token_serial, NULL, &token));
    BW_TRY(bw_token_hold(token, &holder));
    bw_tenant_info_draft(tenant, &draft);
    draft.holder = holder;
    bw_result result = bw_tenant_info_new(&draft, &opened);
    bw_token_let_go(holder);
    BW_TRY(result);
    return bw_registry_put_tenant(daemon->registry, opened);
}

void bw_tenants_open_all(struct bw_daemon *daemon, bw_tenant_failed_fn failed, void *self)
{
    const struct bw_tenant_info *tenant;
    bw_tenant name;

    for (const bw_tenant *after = NULL; bw_registry_tenants(daemon->registry, after, &tenant, 1) == 1; after = &name) {
        name = tenant->name;
        bool opens = tenant->state == BW_TENANT_STATE_ACTIVE && tenant->activation == BW_OPERATOR_HELD;
        bw_result result = opens ? open_one(daemon, tenant) : bw_success();
        bw_tenant_info_unref(tenant);
        if (!bw_ok(result))
            failed(self, &name, result);
    }
}

/* ---- making ---- */

static bw_result draw_pin(struct bw_daemon *daemon, struct bw_secret **ret_pin)
{
    BW_AUTO(secret) raw = NULL;
    BW_AUTO(secret) pin = NULL;

    BW_TRY(bw_secret_new(PIN_RANDOM, &raw));
    BW_TRY(bw_secret_new(2 * PIN_RANDOM + 1, &pin));
    BW_TRY(bw_hsm_random(daemon->token, bw_secret_reveal(raw), PIN_RANDOM));
    bw_hex(reveal(raw), (char *)bw_secret_reveal(pin));
    bw_secret_shorten(pin, 2 * PIN_RANDOM);
    *ret_pin = bw_take(&pin);
    return bw_success();
}

/* On disk before it is used: a token whose PIN is lost is lost. */
static bw_result operator_pin(struct bw_daemon *daemon, const bw_tenant *tenant, struct bw_secret **ret_pin)
{
    const char *dir = daemon->config->pin_dir;
    struct pin_name name = pin_name_of(tenant);
    BW_AUTO(secret) pin = NULL;

    BW_TRY(draw_pin(daemon, &pin));
    bw_result written = bw_pin_write(dir, name.text, reveal(pin));
    if (written.code == BW_ALREADY_EXISTS)
        return bw_pin_read(dir, name.text, ret_pin);
    BW_TRY(written);
    *ret_pin = bw_take(&pin);
    return bw_success();
}

/* Nobody keeps the security officer's PIN: with it a token could be emptied, and nothing else we want could be done. */
static bw_result make_token(struct bw_daemon *daemon, const bw_tenant *tenant, struct bw_secret *pin)
{
    BW_AUTO(secret) so_pin = NULL;
    char label[33], serial[17];

    bw_token_label(&daemon->region, tenant, label);
    BW_TRY(draw_pin(daemon, &so_pin));
    bw_result made = bw_token_create(daemon->hsm, label, reveal(so_pin), reveal(pin), serial);
    if (made.code == BW_ALREADY_EXISTS)
        return bw_success(); /* of an attempt before; that the PIN opens it is what comes next */
    BW_TRY(made);
    sync(); /* PKCS#11 has no call for this: making.c */
    return bw_success();
}

static bw_result open_new(struct bw_daemon *daemon, const bw_tenant *name, struct bw_secret *pin, struct bw_token **ret_token)
{
    BW_TRY(make_token(daemon, name, pin));
    bw_result opened = bw_tenant_open_token(daemon, name, "", pin, ret_token);
    BW_CHECK_AT(opened.code != BW_CREDENTIAL_INVALID, BW_ALREADY_EXISTS, "pin", "the tenant has a token already, and this PIN does not open it");
    return opened;
}

static bw_result keep(struct bw_daemon *daemon, const bw_tenant *name, uint32_t log, enum bw_activation activation,
                      struct bw_token_holder *holder, const char *serial, const struct bw_tenant_info **ret_tenant)
{
    struct bw_tenant_info draft;

    memset(&draft, 0, sizeof draft);
    (void)snprintf(draft.token_serial, sizeof draft.token_serial, "%s", serial);
    draft.name        = *name;
    draft.state       = BW_TENANT_STATE_ACTIVE;
    draft.activation  = activation;
    draft.holder      = holder;
    draft.policy_text = bw_tenant_policy_default;
    draft.log         = log;
    draft.created_us  = bw_now_us();
    draft.generation  = 1;
    return bw_change_add_tenant(daemon, &draft, ret_tenant);
}

bw_result bw_tenant_make(struct bw_daemon *daemon, const bw_tenant *name, uint32_t log, struct bw_secret *pin,
                         const struct bw_tenant_info **ret_tenant)
{
    enum bw_activation activation = pin ? BW_CUSTOMER_HELD : BW_OPERATOR_HELD;
    BW_AUTO(secret) drawn = NULL;
    struct bw_token_holder *holder;
    struct bw_token *token;

    if (pin == NULL) {
        BW_TRY(operator_pin(daemon, name, &drawn));
        pin = drawn;
    }
    BW_TRY(open_new(daemon, name, pin, &token));
    BW_TRY(bw_token_hold(token, &holder));
    bw_result result = keep(daemon, name, log, activation, holder, bw_token_serial(token), ret_tenant);
    bw_token_let_go(holder);
    return result;
}
