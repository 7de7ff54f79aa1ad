/* Tenants: making, showing, sealing, and who is cut off. */
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "authorise.h"
#include "change.h"
#include "daemon.h"
#include "hsm.h"
#include "intent.h"
#include "op.h"
#include "recover.h"
#include "stages.h"
#include "store.h"
#include "tenant_policy.h"
#include "tenants.h"
#include "wire.h"

#include "bailiwick/v1/tenants.pb-c.h"

/* ---- as they stand in replies ---- */

static bw_result copy_text(struct bw_arena *arena, const char *text, char **ret_copy)
{
    *ret_copy = bw_arena_copy(arena, bw_bytes_text(text));
    BW_CHECK(*ret_copy != NULL, BW_NO_MEMORY, "reply");
    return bw_success();
}

static bw_result describe(struct bw_daemon *daemon, const struct bw_tenant_info *tenant, struct bw_arena *arena, Bailiwick__V1__Tenant **ret_message)
{
    Bailiwick__V1__Tenant *message = bw_arena_alloc(arena, sizeof *message);

    BW_CHECK(message != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__tenant__init(message);
    message->activation = (Bailiwick__V1__Activation)tenant->activation;
    message->state      = (Bailiwick__V1__TenantState)tenant->state;
    message->created_us = tenant->created_us;
    message->generation = tenant->generation;
    message->token_open = tenant->token != NULL;
    BW_TRY(copy_text(arena, tenant->name.text, &message->name));
    BW_TRY(copy_text(arena, daemon->region.text, &message->region));
    BW_TRY(copy_text(arena, tenant->policy_text, &message->policy));
    BW_TRY(copy_text(arena, bw_audit_origin(daemon->audit, tenant->log), &message->log));
    *ret_message = message;
    return bw_success();
}

/* Replies to changes have the same fields; the receipt is filled when the record is written. */
static bw_result answer(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant)
{
    Bailiwick__V1__CreateTenantReply *reply = bw_op_reply(job);

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    return describe(daemon, tenant, bw_job_arena(job), &reply->tenant);
}
#define SAME_REPLY(other) \
    _Static_assert(sizeof(Bailiwick__V1__##other##Reply) == sizeof(Bailiwick__V1__CreateTenantReply) && \
                   offsetof(Bailiwick__V1__##other##Reply, tenant) == offsetof(Bailiwick__V1__CreateTenantReply, tenant), #other)
SAME_REPLY(SealTenant);
SAME_REPLY(ActivateTenant);
SAME_REPLY(SetTenantPolicy);

/* The tenant a request is about: the caller's own, unless he is an operator. A reference. */
static bw_result find(struct bw_daemon *daemon, const struct bw_job *job, const char *name, const struct bw_tenant_info **ret_tenant)
{
    const struct bw_tenant_info *own = bw_grant_tenant(job->grant);
    bw_tenant wanted;

    if (own != NULL) {
        BW_CHECK_AT(name[0] == '\0' || strcmp(name, own->name.text) == 0, BW_NO_SUCH_TENANT, "name", "not the caller's tenant");
        return bw_registry_tenant(daemon->registry, &own->name, ret_tenant);
    }
    BW_CHECK_AT(name[0] != '\0', BW_BAD_ARGUMENT, "name", "an operator has no tenant of his own");
    BW_TRY(bw_tenant_parse(bw_bytes_text(name), &wanted));
    return bw_registry_tenant(daemon->registry, &wanted, ret_tenant);
}

/* What concerns a tenant goes into its own log, whoever does it. */
static bw_result intend(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant)
{
    job->entry.record.log = tenant->log;
    return bw_intent_write(daemon, job, NULL, 0);
}

/* ---- CreateTenant ---- */

static bw_result check_pin(const Bailiwick__V1__CreateTenantRequest *request)
{
    bool customer = request->activation == BAILIWICK__V1__ACTIVATION__CUSTOMER_HELD;

    BW_CHECK_AT(customer || request->activation == BAILIWICK__V1__ACTIVATION__OPERATOR_HELD, BW_BAD_ARGUMENT, "activation", "missing or unknown");
    BW_CHECK_AT(customer || request->pin.len == 0, BW_BAD_ARGUMENT, "pin", "only a customer-held tenant brings one");
    BW_CHECK_AT(!customer || (request->pin.len >= BW_PIN_MIN && request->pin.len <= BW_PIN_MAX), BW_BAD_ARGUMENT, "pin", "not 8 to 255 bytes");
    return bw_success();
}

static bw_result copy_pin(ProtobufCBinaryData pin, struct bw_secret **ret_pin)
{
    return pin.len > 0 ? bw_secret_copy(bw_wire_bytes(pin), ret_pin) : bw_success();
}

static bool is_there(struct bw_daemon *daemon, const bw_tenant *name)
{
    const struct bw_tenant_info *tenant;

    if (!bw_ok(bw_registry_tenant(daemon->registry, name, &tenant)))
        return false;
    bw_tenant_info_unref(tenant);
    return true;
}

bw_result bw_op_create_tenant(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__CreateTenantRequest *request = (const void *)job->request.message;
    const struct bw_tenant_info *tenant = NULL;
    BW_AUTO(secret) pin = NULL;
    bw_tenant name;
    uint32_t log;

    BW_TRY(bw_tenant_parse(bw_bytes_text(request->name), &name));
    BW_TRY(check_pin(request));
    BW_TRY(copy_pin(request->pin, &pin));
    BW_CHECK_AT(!is_there(daemon, &name), BW_ALREADY_EXISTS, "name", "there is a tenant of this name");
    BW_TRY(bw_audit_log_of(daemon->audit, &name, &log));
    job->entry.record.log = log;
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));

    bw_registry_begin_making(daemon->registry);
    bw_result result = is_there(daemon, &name) ? bw_fail_at(BW_ALREADY_EXISTS, "name", "there is a tenant of this name")
                                               : bw_tenant_make(daemon, &name, log, pin, &tenant);
    bw_registry_end_making(daemon->registry);
    if (bw_ok(result))
        result = answer(daemon, job, tenant);
    bw_tenant_info_unref(tenant);
    return result;
}

/* ---- GetTenant, ListTenants ---- */

bw_result bw_op_get_tenant(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetTenantRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetTenantReply *reply = bw_op_reply(job);
    const struct bw_tenant_info *tenant = NULL;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(find(daemon, job, request->name, &tenant));
    bw_result result = describe(daemon, tenant, bw_job_arena(job), &reply->tenant);
    bw_tenant_info_unref(tenant);
    return result;
}

static size_t page_size(const Bailiwick__V1__Page *page)
{
    return page && page->size ? page->size : BW_PAGE_DEFAULT;
}

bw_result bw_op_list_tenants(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ListTenantsRequest *request = (const void *)job->request.message;
    Bailiwick__V1__ListTenantsReply *reply = bw_op_reply(job);
    struct bw_arena *arena = bw_job_arena(job);
    size_t limit = page_size(request->page);
    const struct bw_tenant_info **found = bw_arena_alloc(arena, (limit + 1) * sizeof *found);
    bw_tenant after = { "" };

    BW_CHECK(reply != NULL && found != NULL, BW_NO_MEMORY, "reply");
    reply->tenants = bw_arena_alloc(arena, limit * sizeof *reply->tenants);
    BW_CHECK(reply->tenants != NULL, BW_NO_MEMORY, "reply");
    if (request->page != NULL && request->page->token[0] != '\0')
        BW_CHECK_AT(bw_ok(bw_tenant_parse(bw_bytes_text(request->page->token), &after)), BW_BAD_ARGUMENT, "page.token", "not a token of ours");

    size_t count = bw_registry_tenants(daemon->registry, &after, found, limit + 1);
    bw_result result = bw_success();
    for (size_t i = 0; i < count; i++) {
        if (bw_ok(result) && i < limit)
            result = describe(daemon, found[i], arena, &reply->tenants[reply->n_tenants++]);
        bw_tenant_info_unref(found[i]);
    }
    if (bw_ok(result) && count > limit)
        reply->next_token = reply->tenants[limit - 1]->name;
    return result;
}

/* ---- SealTenant, ActivateTenant ---- */

static bw_result seal(struct bw_tenant_info *draft, const void *how)
{
    (void)how;
    draft->state  = BW_TENANT_STATE_SEALED;
    draft->holder = NULL;
    return bw_success();
}

/* First nobody finds the token any more, then it closes under those who have it. */
static bw_result seal_and_close(struct bw_daemon *daemon, const struct bw_tenant_info *tenant, const struct bw_tenant_info **ret_sealed)
{
    BW_TRY(bw_change_tenant(daemon, &tenant->name, &(struct bw_tenant_change){ .alter = seal }, ret_sealed));
    if (tenant->token != NULL)
        bw_token_close(tenant->token);
    return bw_success();
}

/* Between reading the tenant and closing its token nobody may open another: hence the lock. */
static bw_result seal_alone(struct bw_daemon *daemon, const bw_tenant *name, const struct bw_tenant_info **ret_sealed)
{
    const struct bw_tenant_info *now = NULL;

    bw_registry_begin_making(daemon->registry);
    bw_result result = bw_registry_tenant(daemon->registry, name, &now);
    if (bw_ok(result))
        result = seal_and_close(daemon, now, ret_sealed);
    bw_registry_end_making(daemon->registry);
    bw_tenant_info_unref(now);
    return result;
}

bw_result bw_op_seal_tenant(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__SealTenantRequest *request = (const void *)job->request.message;
    const struct bw_tenant_info *tenant = NULL, *sealed = NULL;

    BW_TRY(find(daemon, job, request->name, &tenant));
    bw_result result = intend(daemon, job, tenant);
    if (bw_ok(result))
        result = seal_alone(daemon, &tenant->name, &sealed);
    if (bw_ok(result))
        result = answer(daemon, job, sealed);
    bw_tenant_info_unref(tenant);
    bw_tenant_info_unref(sealed);
    return result;
}

static bw_result activate(struct bw_tenant_info *draft, const void *how)
{
    draft->state  = BW_TENANT_STATE_ACTIVE;
    draft->holder = (struct bw_token_holder *)(uintptr_t)how;
    return bw_success();
}

static bw_result open_and_activate(struct bw_daemon *daemon, const struct bw_tenant_info *tenant, struct bw_secret *pin,
                                   const struct bw_tenant_info **ret_active)
{
    struct bw_token_holder *holder;
    struct bw_token *token;

    if (tenant->token != NULL && tenant->state == BW_TENANT_STATE_ACTIVE) {
        bw_tenant_info_ref(tenant);
        *ret_active = tenant;
        return bw_success();
    }
    bw_result opened = bw_tenant_open_token(daemon, &tenant->name, tenant->token_serial, pin, &token);
    BW_CHECK_AT(opened.code != BW_CREDENTIAL_INVALID || pin == NULL, BW_PIN_INCORRECT, "pin", "not the token's PIN"); /* else the operator's file is wrong */
    BW_TRY(opened);
    BW_TRY(bw_token_hold(token, &holder));
    bw_result result = bw_change_tenant(daemon, &tenant->name, &(struct bw_tenant_change){ .alter = activate, .how = holder }, ret_active);
    bw_token_let_go(holder);
    return result;
}

static bw_result activate_alone(struct bw_daemon *daemon, const bw_tenant *name, struct bw_secret *pin, const struct bw_tenant_info **ret_active)
{
    const struct bw_tenant_info *now = NULL;

    bw_registry_begin_making(daemon->registry);
    bw_result result = bw_registry_tenant(daemon->registry, name, &now);
    if (bw_ok(result))
        result = open_and_activate(daemon, now, pin, ret_active);
    bw_registry_end_making(daemon->registry);
    bw_tenant_info_unref(now);
    return result;
}

/* A customer-held PIN comes from the customer or not at all. */
static bw_result check_activation(const struct bw_job *job, const struct bw_tenant_info *tenant, size_t pin_len)
{
    if (tenant->activation == BW_OPERATOR_HELD) {
        BW_CHECK_AT(pin_len == 0, BW_BAD_ARGUMENT, "pin", "the operator holds this tenant's");
        return bw_success();
    }
    BW_CHECK(job->caller.identity.role == BW_ROLE_CUSTODIAN, BW_NOT_PERMITTED, "only the customer activates a customer-held tenant");
    BW_CHECK_AT(pin_len >= BW_PIN_MIN && pin_len <= BW_PIN_MAX, BW_BAD_ARGUMENT, "pin", "not 8 to 255 bytes");
    return bw_success();
}

static bw_result activate_tenant(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant, struct bw_secret *pin)
{
    const struct bw_tenant_info *active = NULL;

    BW_TRY(check_activation(job, tenant, bw_secret_len(pin)));
    BW_TRY(intend(daemon, job, tenant));
    bw_result result = activate_alone(daemon, &tenant->name, pin, &active);
    if (bw_ok(result))
        result = bw_recovery_go_on(daemon, daemon->recovery, &tenant->name);
    if (bw_ok(result))
        result = answer(daemon, job, active);
    bw_tenant_info_unref(active);
    return result;
}

bw_result bw_op_activate_tenant(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ActivateTenantRequest *request = (const void *)job->request.message;
    const struct bw_tenant_info *tenant = NULL;
    BW_AUTO(secret) pin = NULL;

    BW_TRY(copy_pin(request->pin, &pin));
    BW_TRY(find(daemon, job, request->name, &tenant));
    bw_result result = activate_tenant(daemon, job, tenant, pin);
    bw_tenant_info_unref(tenant);
    return result;
}

/* ---- SetTenantPolicy ---- */

static bw_result set_policy(struct bw_tenant_info *draft, const void *how)
{
    draft->policy_text = how;
    return bw_success();
}

static bw_result change_policy(struct bw_daemon *daemon, struct bw_job *job, const struct bw_tenant_info *tenant,
                               const Bailiwick__V1__SetTenantPolicyRequest *request)
{
    /* What was asked whether one custodian may is what must still stand: dual control that came meanwhile is not switched off. */
    struct bw_tenant_change change = { .generation = request->generation ? request->generation : tenant->generation,
                                       .alter = set_policy, .how = request->policy };
    const struct bw_tenant_info *changed = NULL;

    BW_TRY(intend(daemon, job, tenant));
    change.warrant = job->warrant;
    BW_TRY(bw_change_tenant(daemon, &tenant->name, &change, &changed));
    bw_result result = answer(daemon, job, changed);
    bw_tenant_info_unref(changed);
    return result;
}

bw_result bw_op_set_tenant_policy(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__SetTenantPolicyRequest *request = (const void *)job->request.message;
    const struct bw_tenant_info *tenant = NULL;
    struct bw_tenant_policy policy;

    BW_TRY(bw_tenant_policy_parse(bw_bytes_text(request->policy), &policy));
    BW_TRY(find(daemon, job, request->name, &tenant));
    bw_result result = change_policy(daemon, job, tenant, request);
    bw_tenant_info_unref(tenant);
    return result;
}

/* ---- RevokePrincipal, ListRevoked ---- */

/* Custodians and auditors know their own tenant's principals; operators all of the region. */
static bool is_about(const struct bw_job *job, const struct bw_identity *principal)
{
    return job->caller.identity.role == BW_ROLE_OPERATOR || bw_tenant_equal(&principal->tenant, &job->caller.identity.tenant);
}

static bw_result revoke(struct bw_daemon *daemon, const char *spiffe_id)
{
    BW_TRY(bw_store_revoke(daemon->store, spiffe_id, bw_now_us()));
    return bw_registry_revoke(daemon->registry, spiffe_id);
}

bw_result bw_op_revoke_principal(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__RevokePrincipalRequest *request = (const void *)job->request.message;
    struct bw_identity principal;
    char text[BW_SPIFFE_MAX + 1];

    BW_CHECK_AT(bw_ok(bw_identity_parse(bw_bytes_text(request->principal), &principal)), BW_BAD_ARGUMENT, "principal", "not a SPIFFE id of ours");
    BW_CHECK_AT(is_about(job, &principal), BW_NOT_PERMITTED, "principal", "not of the caller's tenant");
    BW_TRY(bw_intent_write(daemon, job, NULL, 0));
    /* as certificates are compared: in the one way that it prints */
    bw_identity_print(&principal, text, sizeof text);
    BW_TRY(revoke(daemon, text));
    bw_registry_touch(daemon->registry, &principal.tenant); /* what he handed on shows keys to nobody any more */
    BW_CHECK(bw_op_reply(job) != NULL, BW_NO_MEMORY, "reply");
    return bw_success();
}

struct revoked_page {
    const struct bw_job *job;
    struct bw_arena     *arena;
    Bailiwick__V1__ListRevokedReply *reply;
    size_t               limit;
    bool                 more;
};

static bw_result list_revoked(void *self, const char *spiffe_id, int64_t revoked_us)
{
    struct revoked_page *page = self;
    struct bw_identity principal;

    if (page->more || !bw_ok(bw_identity_parse(bw_bytes_text(spiffe_id), &principal)) || !is_about(page->job, &principal))
        return bw_success();
    page->more = page->reply->n_revoked == page->limit;
    if (page->more)
        return bw_success();
    Bailiwick__V1__Revoked *row = bw_arena_alloc(page->arena, sizeof *row);
    BW_CHECK(row != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__revoked__init(row);
    BW_TRY(copy_text(page->arena, spiffe_id, &row->principal));
    row->revoked_us = revoked_us;
    page->reply->revoked[page->reply->n_revoked++] = row;
    return bw_success();
}

bw_result bw_op_list_revoked(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__ListRevokedRequest *request = (const void *)job->request.message;
    struct revoked_page page = { .job = job, .arena = bw_job_arena(job), .reply = bw_op_reply(job), .limit = page_size(request->page) };

    BW_CHECK(page.reply != NULL, BW_NO_MEMORY, "reply");
    page.reply->revoked = bw_arena_alloc(page.arena, page.limit * sizeof *page.reply->revoked);
    BW_CHECK(page.reply->revoked != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_store_each_revoked(daemon->store, request->page ? request->page->token : NULL, list_revoked, &page));
    if (page.more)
        page.reply->next_token = page.reply->revoked[page.reply->n_revoked - 1]->principal;
    return bw_success();
}
