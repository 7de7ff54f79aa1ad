#include "bailiwick/names.h"

#include <stdio.h>
#include <string.h>

static bool is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }
static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_upper(uint8_t c) { return c >= 'A' && c <= 'Z'; }

/* lower-case letters, digits and inner hyphens */
static bool is_label(bw_bytes text, size_t max)
{
    if (text.len == 0 || text.len > max || text.data[0] == '-' || text.data[text.len - 1] == '-')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_lower(text.data[i]) && !is_digit(text.data[i]) && text.data[i] != '-')
            return false;
    return true;
}

bw_result bw_region_parse(bw_bytes text, bw_region *ret_region)
{
    BW_CHECK(is_label(text, BW_REGION_MAX) && is_lower(text.data[0]), BW_BAD_ARGUMENT, "not a region name");
    *ret_region = (bw_region){ 0 };
    memcpy(ret_region->text, text.data, text.len);
    return bw_success();
}

bw_result bw_tenant_parse(bw_bytes text, bw_tenant *ret_tenant)
{
    BW_CHECK(is_label(text, BW_TENANT_MAX), BW_BAD_ARGUMENT, "not a tenant name");
    *ret_tenant = (bw_tenant){ 0 };
    memcpy(ret_tenant->text, text.data, text.len);
    return bw_success();
}

bw_result bw_principal_parse(bw_bytes text, bw_principal *ret_principal)
{
    BW_CHECK(text.len > 0 && text.len <= BW_PRINCIPAL_MAX, BW_BAD_ARGUMENT, "not a principal's name");
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        BW_CHECK(is_lower(c) || is_upper(c) || is_digit(c) || c == '.' || c == '_' || c == '-',
                 BW_BAD_ARGUMENT, "not a principal's name");
    }
    *ret_principal = (bw_principal){ 0 };
    memcpy(ret_principal->text, text.data, text.len);
    return bw_success();
}

/* Takes what stands before the next separator, and the separator. false: there is none. */
static bool take_until(bw_bytes *rest, char separator, bw_bytes *ret_part)
{
    const uint8_t *at = rest->len ? memchr(rest->data, separator, rest->len) : NULL;

    if (at == NULL)
        return false;
    *ret_part = (bw_bytes){ rest->data, (size_t)(at - rest->data) };
    *rest     = (bw_bytes){ at + 1, rest->len - ret_part->len - 1 };
    return true;
}

static bool take_word(bw_bytes *rest, const char *word)
{
    size_t len = strlen(word);

    if (rest->len < len || memcmp(rest->data, word, len) != 0)
        return false;
    *rest = (bw_bytes){ rest->data + len, rest->len - len };
    return true;
}

bw_result bw_key_name_parse(bw_bytes text, struct bw_key_name *ret_name)
{
    struct bw_key_name name = { 0 };
    bw_bytes region, tenant;

    BW_CHECK(text.len <= BW_KEY_NAME_MAX && take_word(&text, "bw:") && take_until(&text, ':', &region) &&
             take_until(&text, ':', &tenant) && take_word(&text, "key/"), BW_BAD_ARGUMENT, "not a key name");
    BW_TRY(bw_region_parse(region, &name.region));
    BW_TRY(bw_tenant_parse(tenant, &name.tenant));
    BW_CHECK(text.len == 2 * BW_KEY_ID_LEN, BW_BAD_ARGUMENT, "not a key name");
    for (size_t i = 0; i < text.len; i++)
        BW_CHECK(!is_upper(text.data[i]), BW_BAD_ARGUMENT, "not a key name: digits are lower case");
    BW_CHECK(bw_unhex((const char *)text.data, text.len, name.id.bytes), BW_BAD_ARGUMENT, "not a key name");

    *ret_name = name;
    return bw_success();
}

void bw_key_name_print(const struct bw_key_name *name, char text[static BW_KEY_NAME_MAX + 1])
{
    char id[2 * BW_KEY_ID_LEN + 1];

    bw_hex(bw_bytes_of(name->id.bytes, BW_KEY_ID_LEN), id);
    (void)snprintf(text, BW_KEY_NAME_MAX + 1, "bw:%s:%s:key/%s", name->region.text, name->tenant.text, id);
}

bool bw_region_equal(const bw_region *a, const bw_region *b) { return memcmp(a, b, sizeof *a) == 0; }
bool bw_tenant_equal(const bw_tenant *a, const bw_tenant *b) { return memcmp(a, b, sizeof *a) == 0; }
bool bw_key_id_equal(const bw_key_id *a, const bw_key_id *b) { return memcmp(a, b, sizeof *a) == 0; }

/* ---- SPIFFE ids ---- */

static const char *const role_names[] = {
    [BW_ROLE_NONE] = "nobody",       [BW_ROLE_NODE] = "node",           [BW_ROLE_OPERATOR] = "operator",
    [BW_ROLE_APP]  = "app",          [BW_ROLE_CUSTODIAN] = "custodian", [BW_ROLE_AUDITOR]  = "auditor",
};

const char *bw_role_name(enum bw_role role)
{
    return role_names[role];
}

static bool is_trust_domain(bw_bytes text)
{
    if (text.len == 0 || text.len > BW_TRUST_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!is_lower(c) && !is_digit(c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

static bw_result take_role(bw_bytes *rest, struct bw_identity *identity)
{
    static const enum bw_role of_tenant[] = { BW_ROLE_APP, BW_ROLE_CUSTODIAN, BW_ROLE_AUDITOR };
    bw_bytes tenant, role;

    if (take_word(rest, "node/")) {
        identity->role = BW_ROLE_NODE;
        return bw_success();
    }
    if (take_word(rest, "operator/")) {
        identity->role = BW_ROLE_OPERATOR;
        return bw_success();
    }
    BW_CHECK(take_word(rest, "tenant/") && take_until(rest, '/', &tenant) && take_until(rest, '/', &role),
             BW_BAD_ARGUMENT, "not a SPIFFE id of ours");
    BW_TRY(bw_tenant_parse(tenant, &identity->tenant));
    for (size_t i = 0; i < ARRAY_LEN(of_tenant); i++)
        if (bw_bytes_equal(role, bw_bytes_text(role_names[of_tenant[i]])))
            identity->role = of_tenant[i];
    BW_CHECK(identity->role != BW_ROLE_NONE, BW_BAD_ARGUMENT, "a SPIFFE id with an unknown role");
    return bw_success();
}

bw_result bw_identity_parse(bw_bytes id, struct bw_identity *ret_identity)
{
    struct bw_identity identity = { 0 };
    bw_bytes domain, region;

    BW_CHECK(id.len <= BW_SPIFFE_MAX && take_word(&id, "spiffe://") && take_until(&id, '/', &domain) &&
             is_trust_domain(domain) && take_word(&id, "region/") && take_until(&id, '/', &region),
             BW_BAD_ARGUMENT, "not a SPIFFE id of ours");
    memcpy(identity.trust_domain, domain.data, domain.len);
    BW_TRY(bw_region_parse(region, &identity.region));
    BW_TRY(take_role(&id, &identity));
    BW_TRY(bw_principal_parse(id, &identity.principal));

    *ret_identity = identity;
    return bw_success();
}

void bw_identity_print(const struct bw_identity *identity, char *text, size_t room)
{
    const char *role = bw_role_name(identity->role);

    if (identity->tenant.text[0] != '\0')
        (void)snprintf(text, room, "spiffe://%s/region/%s/tenant/%s/%s/%s", identity->trust_domain, identity->region.text,
                       identity->tenant.text, role, identity->principal.text);
    else
        (void)snprintf(text, room, "spiffe://%s/region/%s/%s/%s", identity->trust_domain, identity->region.text, role,
                       identity->principal.text);
}
