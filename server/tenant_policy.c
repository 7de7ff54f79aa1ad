#include "tenant_policy.h"

#include <jansson.h>
#include <string.h>

const char bw_tenant_policy_default[] = "{}";

/* One row for each member there is. */
static const struct { const char *name; size_t offset; } members[] = {
    { "apps_own_keys", offsetof(struct bw_tenant_policy, apps_own_keys) },
};

static bw_result read_member(const char *name, const json_t *value, struct bw_tenant_policy *policy)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (strcmp(name, members[i].name) != 0)
            continue;
        BW_CHECK_AT(json_is_boolean(value), BW_BAD_ARGUMENT, "policy", "a member is not true or false");
        *(bool *)((char *)policy + members[i].offset) = json_is_true(value);
        return bw_success();
    }
    return bw_fail_at(BW_BAD_ARGUMENT, "policy", "no such member in a tenant's policy");
}

static bw_result read_members(json_t *root, struct bw_tenant_policy *policy)
{
    const char *name;
    json_t     *value;

    BW_CHECK_AT(json_is_object(root), BW_BAD_ARGUMENT, "policy", "not a JSON object");
    json_object_foreach(root, name, value)
        BW_TRY(read_member(name, value, policy));
    return bw_success();
}

bw_result bw_tenant_policy_parse(bw_bytes text, struct bw_tenant_policy *ret_policy)
{
    struct bw_tenant_policy policy = { 0 };
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);

    BW_CHECK_AT(root != NULL, BW_BAD_ARGUMENT, "policy", "not JSON");
    bw_result result = read_members(root, &policy);
    json_decref(root);
    if (bw_ok(result))
        *ret_policy = policy;
    return result;
}
