#include "tenant_policy.h"

#include <jansson.h>
#include <string.h>

#include "bailiwick/limits.h"

const char bw_tenant_policy_default[] = "{}";

/* ---- dual control ---- */

static const char *const actions[] = {
#define BW_DUAL_ACTION(action, method, when) #action,
#include "dual_actions.def"
#undef BW_DUAL_ACTION
};

static bw_result read_action(const char *name, unsigned *set)
{
    unsigned bits = 0;

    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (strcmp(name, actions[i]) == 0)
            bits |= 1u << i;
    BW_CHECK_AT(bits != 0, BW_BAD_ARGUMENT, "policy.dual_control.actions", "no such action");
    *set |= bits;
    return bw_success();
}

static bw_result read_actions(const json_t *value, struct bw_dual_control *dual)
{
    size_t  i;
    json_t *name;

    BW_CHECK_AT(json_is_array(value), BW_BAD_ARGUMENT, "policy.dual_control.actions", "not an array");
    json_array_foreach(value, i, name) {
        BW_CHECK_AT(json_is_string(name), BW_BAD_ARGUMENT, "policy.dual_control.actions", "an action is not text");
        BW_TRY(read_action(json_string_value(name), &dual->actions));
    }
    return bw_success();
}

static bool is_within(const json_t *value, json_int_t least, json_int_t most)
{
    return json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) <= most;
}

static bw_result read_approvals(const json_t *value, struct bw_dual_control *dual)
{
    BW_CHECK_AT(is_within(value, BW_CUSTODIANS_MIN, BW_CUSTODIANS_MAX), BW_BAD_ARGUMENT, "policy.dual_control.approvals", "not 2 to 8");
    dual->approvals = (unsigned)json_integer_value(value);
    return bw_success();
}

static bw_result read_expiry(const json_t *value, struct bw_dual_control *dual)
{
    BW_CHECK_AT(is_within(value, 1, BW_PROPOSAL_HOURS_MAX), BW_BAD_ARGUMENT, "policy.dual_control.expires_hours", "not 1 to 720");
    dual->expires_hours = (unsigned)json_integer_value(value);
    return bw_success();
}

static const struct { const char *name; bw_result (*read)(const json_t *value, struct bw_dual_control *dual); } dual_members[] = {
    { "actions",       read_actions   },
    { "approvals",     read_approvals },
    { "expires_hours", read_expiry    },
};

const char *bw_dual_control_member(size_t index)
{
    return index < ARRAY_LEN(dual_members) ? dual_members[index].name : NULL;
}

static bw_result read_dual_member(const char *name, const json_t *value, struct bw_dual_control *dual)
{
    for (size_t i = 0; i < ARRAY_LEN(dual_members); i++)
        if (strcmp(name, dual_members[i].name) == 0)
            return dual_members[i].read(value, dual);
    return bw_fail_at(BW_BAD_ARGUMENT, "policy.dual_control", "no such member in dual control");
}

static bw_result read_dual_control(json_t *value, struct bw_tenant_policy *policy)
{
    struct bw_dual_control dual = { .approvals = BW_CUSTODIANS_MIN, .expires_hours = BW_PROPOSAL_HOURS };
    const char *name;
    json_t     *member;

    BW_CHECK_AT(json_is_object(value), BW_BAD_ARGUMENT, "policy.dual_control", "not a JSON object");
    json_object_foreach(value, name, member)
        BW_TRY(read_dual_member(name, member, &dual));
    policy->dual_control = dual;
    return bw_success();
}

/* ---- the policy ---- */

static bw_result read_apps_own_keys(json_t *value, struct bw_tenant_policy *policy)
{
    BW_CHECK_AT(json_is_boolean(value), BW_BAD_ARGUMENT, "policy.apps_own_keys", "not true or false");
    policy->apps_own_keys = json_is_true(value);
    return bw_success();
}

/* One row for each member there is. */
static const struct { const char *name; bw_result (*read)(json_t *value, struct bw_tenant_policy *policy); } members[] = {
    { "apps_own_keys", read_apps_own_keys },
    { "dual_control",  read_dual_control  },
};

const char *bw_tenant_policy_member(size_t index)
{
    return index < ARRAY_LEN(members) ? members[index].name : NULL;
}

static bw_result read_member(const char *name, json_t *value, struct bw_tenant_policy *policy)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (strcmp(name, members[i].name) == 0)
            return members[i].read(value, policy);
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
