#include "policy.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bailiwick/mechanism.h"
#include "registry.h"

enum { POLICY_TEXT_MAX = 64 * 1024, RULES_MAX = 64, LIST_MAX = 64, TEXT_MAX = BW_RULE_NAME_MAX };

static const char grant_prefix[] = "grant/"; /* of names that only grants have */

/* A list that is absent restricts nothing. */
struct texts {
    const char **at;
    size_t       count;
};

struct rule {
    const char          *name;
    struct texts         principals;   /* "role/name", with * */
    struct texts         regions;
    struct texts         purposes;
    unsigned             uses;         /* 0: all */
    unsigned long       *mechanisms;
    size_t               mechanism_count;
    struct bw_text_pair *context;
    size_t               context_count;
    int64_t              not_before_us, not_after_us; /* 0: open */
    bool                 release;
};

struct bw_policy {
    struct bw_arena arena;
    struct rule    *rules;
    size_t          rule_count;
};

void bw_policy_free(struct bw_policy *policy)
{
    if (policy == NULL)
        return;
    bw_arena_clear(&policy->arena);
    free(policy);
}

/* ---- compile ---- */

static bw_result compile_text(struct bw_policy *policy, const json_t *value, const char **ret_text)
{
    const char *text = json_string_value(value);

    BW_CHECK(text != NULL && json_string_length(value) == strlen(text) && strlen(text) <= TEXT_MAX && text[0] != '\0',
             BW_BAD_ARGUMENT, "not a text of 1 to 256 bytes");
    *ret_text = bw_arena_copy(&policy->arena, bw_bytes_text(text));
    BW_CHECK(*ret_text != NULL, BW_NO_MEMORY, "policy");
    return bw_success();
}

static bw_result compile_texts(struct bw_policy *policy, const json_t *list, struct texts *ret_texts)
{
    size_t count = json_array_size(list);

    BW_CHECK(json_is_array(list) && count >= 1 && count <= LIST_MAX, BW_BAD_ARGUMENT, "not a list of 1 to 64 texts");
    ret_texts->at = bw_arena_alloc(&policy->arena, count * sizeof *ret_texts->at);
    BW_CHECK(ret_texts->at != NULL, BW_NO_MEMORY, "policy");
    for (; ret_texts->count < count; ret_texts->count++)
        BW_TRY(compile_text(policy, json_array_get(list, ret_texts->count), &ret_texts->at[ret_texts->count]));
    return bw_success();
}

/* Records name what decided: no rule can pass for a grant. */
static bw_result compile_name(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    BW_TRY(compile_text(policy, value, &rule->name));
    BW_CHECK(strncmp(rule->name, grant_prefix, strlen(grant_prefix)) != 0, BW_BAD_ARGUMENT, "names that begin with grant/ are those of grants");
    return bw_success();
}

/* fnmatch knows more than *; no character that it treats specially gets through. */
static bool is_pattern(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/*";

    return text[strspn(text, allowed)] == '\0' && (strncmp(text, "app/", 4) == 0 || strcmp(text, "*") == 0);
}

static bw_result compile_principals(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    BW_TRY(compile_texts(policy, value, &rule->principals));
    for (size_t i = 0; i < rule->principals.count; i++)
        BW_CHECK(is_pattern(rule->principals.at[i]), BW_BAD_ARGUMENT, "not app/<name>, where * stands for anything");
    return bw_success();
}

static bw_result compile_regions(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    bw_region region;

    BW_TRY(compile_texts(policy, value, &rule->regions));
    for (size_t i = 0; i < rule->regions.count; i++)
        BW_CHECK(bw_ok(bw_region_parse(bw_bytes_text(rule->regions.at[i]), &region)), BW_BAD_ARGUMENT, "not a region name");
    return bw_success();
}

static bw_result compile_purposes(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    return compile_texts(policy, value, &rule->purposes);
}

static const struct { const char *name; unsigned use; } operations[] = {
    { "encrypt", BW_USE_ENCRYPT }, { "decrypt", BW_USE_DECRYPT }, { "wrap", BW_USE_WRAP },     { "unwrap", BW_USE_UNWRAP },
    { "sign", BW_USE_SIGN },       { "verify", BW_USE_VERIFY },   { "derive", BW_USE_DERIVE },
};

const char *bw_policy_operation(size_t index)
{
    return index < ARRAY_LEN(operations) ? operations[index].name : NULL;
}

static bw_result compile_operations(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    struct texts names = { 0 };

    BW_TRY(compile_texts(policy, value, &names));
    for (size_t i = 0; i < names.count; i++) {
        unsigned use = 0;
        for (size_t j = 0; j < ARRAY_LEN(operations); j++)
            if (strcmp(names.at[i], operations[j].name) == 0)
                use = operations[j].use;
        BW_CHECK(use != 0, BW_BAD_ARGUMENT, "not encrypt, decrypt, wrap, unwrap, sign, verify or derive");
        rule->uses |= use;
    }
    return bw_success();
}

static bool find_mechanism(const char *name, unsigned long *ret_type)
{
    if (strcmp(name, "envelope") == 0) {
        *ret_type = CK_UNAVAILABLE_INFORMATION;
        return true;
    }
    for (size_t i = 0; bw_mechanism_at(i) != NULL; i++)
        if (strcmp(bw_mechanism_at(i)->name, name) == 0) {
            *ret_type = bw_mechanism_at(i)->type;
            return true;
        }
    return false;
}

static bw_result compile_mechanisms(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    struct texts names = { 0 };

    BW_TRY(compile_texts(policy, value, &names));
    rule->mechanisms = bw_arena_alloc(&policy->arena, names.count * sizeof *rule->mechanisms);
    BW_CHECK(rule->mechanisms != NULL, BW_NO_MEMORY, "policy");
    for (; rule->mechanism_count < names.count; rule->mechanism_count++)
        BW_CHECK(find_mechanism(names.at[rule->mechanism_count], &rule->mechanisms[rule->mechanism_count]),
                 BW_BAD_ARGUMENT, "not a mechanism as PKCS#11 names it, nor \"envelope\"");
    return bw_success();
}

static bw_result compile_context(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    const char *name;
    json_t *required;

    BW_CHECK(json_is_object(value) && json_object_size(value) <= BW_CONTEXT_PAIRS_MAX, BW_BAD_ARGUMENT, "not an object of at most 32 texts");
    rule->context = bw_arena_alloc(&policy->arena, json_object_size(value) * sizeof *rule->context);
    BW_CHECK(rule->context != NULL, BW_NO_MEMORY, "policy");
    json_object_foreach((json_t *)(uintptr_t)value, name, required) {
        struct bw_text_pair *pair = &rule->context[rule->context_count++];
        BW_TRY(compile_text(policy, required, &pair->value));
        pair->name = bw_arena_copy(&policy->arena, bw_bytes_text(name));
        BW_CHECK(pair->name != NULL, BW_NO_MEMORY, "policy");
    }
    return bw_success();
}

/* Just as it would be printed: strptime takes more than that, and days that no month has. */
static bool read_time(const char *text, time_t *ret_time)
{
    static const char form[] = "%Y-%m-%dT%H:%M:%SZ";
    struct tm when = { 0 };
    char same[sizeof "2026-01-31T00:00:00Z"];

    if (text == NULL || strptime(text, form, &when) == NULL)
        return false;
    *ret_time = timegm(&when);
    return strftime(same, sizeof same, form, &when) > 0 && strcmp(same, text) == 0;
}

static bw_result compile_time(const json_t *value, int64_t *ret_us)
{
    time_t when;

    BW_CHECK(read_time(json_string_value(value), &when), BW_BAD_ARGUMENT, "not a time as in 2026-01-31T00:00:00Z");
    BW_CHECK(when > 0, BW_BAD_ARGUMENT, "not after 1970 began"); /* 0 stands for none */
    *ret_us = (int64_t)when * 1000000;
    return bw_success();
}

static bw_result compile_not_before(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    (void)policy;
    return compile_time(value, &rule->not_before_us);
}

static bw_result compile_not_after(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    (void)policy;
    return compile_time(value, &rule->not_after_us);
}

static bw_result compile_release(struct bw_policy *policy, const json_t *value, struct rule *rule)
{
    (void)policy;
    BW_CHECK(json_is_boolean(value), BW_BAD_ARGUMENT, "not true or false");
    rule->release = json_is_true(value);
    return bw_success();
}

#define MEMBER(name, in_terms) { #name, { "policy." #name, "terms." #name }, in_terms, compile_##name }
enum where { IN_POLICY, IN_TERMS };

static const struct member {
    const char *name;
    const char *field[2]; /* where it is at fault, by where it stands */
    bool        in_terms;
    bw_result (*compile)(struct bw_policy *, const json_t *, struct rule *);
} members[] = {
    MEMBER(name,       false),
    MEMBER(principals, true),
    MEMBER(regions,    true),
    MEMBER(operations, true),
    MEMBER(mechanisms, true),
    MEMBER(context,    true),
    MEMBER(purposes,   true),
    MEMBER(not_before, true),
    MEMBER(not_after,  false), /* a grant expires */
    MEMBER(release,    false), /* nor does it let a value out */
};

const char *bw_policy_member(size_t index)
{
    return index < ARRAY_LEN(members) ? members[index].name : NULL;
}

static const struct member *find_member(const char *name, enum where where)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return where == IN_POLICY || members[i].in_terms ? &members[i] : NULL;
    return NULL;
}

static bw_result at_field(bw_result result, const char *field)
{
    if (!bw_ok(result))
        result.field = field;
    return result;
}

static bw_result compile_members(struct bw_policy *policy, const json_t *object, enum where where, struct rule *rule)
{
    const char *name;
    json_t *value;

    BW_CHECK(json_is_object(object), BW_BAD_ARGUMENT, "a rule is not an object");
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        const struct member *member = find_member(name, where);
        BW_CHECK(member != NULL, BW_BAD_ARGUMENT, "a rule has an unknown member");
        BW_TRY(at_field(member->compile(policy, value, rule), member->field[where]));
    }
    return bw_success();
}

static bw_result compile_rule(struct bw_policy *policy, const json_t *object, struct rule *rule)
{
    bw_result result = compile_members(policy, object, IN_POLICY, rule);

    if (bw_ok(result) && rule->name == NULL)
        result = bw_fail(BW_BAD_ARGUMENT, "a rule has no name");
    return result.field ? result : at_field(result, "policy.rules");
}

static bw_result compile_rules(struct bw_policy *policy, const json_t *document)
{
    const json_t *rules = json_object_get(document, "rules");

    BW_CHECK_AT(json_is_object(document) && json_is_array(rules) && json_object_size(document) == 1, BW_BAD_ARGUMENT, "policy",
                "not an object with the one member \"rules\", a list");
    BW_CHECK_AT(json_array_size(rules) <= RULES_MAX, BW_BAD_ARGUMENT, "policy.rules", "more than 64 rules");
    policy->rules = bw_arena_alloc(&policy->arena, (json_array_size(rules) + 1) * sizeof *policy->rules);
    BW_CHECK(policy->rules != NULL, BW_NO_MEMORY, "policy");
    for (; policy->rule_count < json_array_size(rules); policy->rule_count++)
        BW_TRY(compile_rule(policy, json_array_get(rules, policy->rule_count), &policy->rules[policy->rule_count]));
    return bw_success();
}

bw_result bw_policy_compile(bw_bytes text, struct bw_policy **ret_policy)
{
    BW_CHECK_AT(text.len <= POLICY_TEXT_MAX, BW_TOO_LARGE, "policy", "longer than 65536 bytes");
    BW_AUTO(policy) policy = calloc(1, sizeof *policy);
    BW_CHECK(policy != NULL, BW_NO_MEMORY, "policy");

    json_t *document = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    BW_CHECK_AT(document != NULL, BW_BAD_ARGUMENT, "policy", "not JSON, or a member stands twice");
    bw_result compiled = compile_rules(policy, document);
    json_decref(document);
    BW_TRY(compiled);

    *ret_policy = bw_take(&policy);
    return bw_success();
}

/* ---- the terms of a grant ---- */

static bw_result compile_only_rule(struct bw_policy *policy, const json_t *document, const char *name, int64_t not_after_us)
{
    struct rule *rule = policy->rules = bw_arena_alloc(&policy->arena, sizeof *rule);

    BW_CHECK(rule != NULL, BW_NO_MEMORY, "terms");
    policy->rule_count = 1;
    bw_result result = compile_members(policy, document, IN_TERMS, rule);
    if (bw_ok(result) && rule->principals.count == 0)
        return bw_fail_at(BW_BAD_ARGUMENT, "terms.principals", "missing: to whom it is granted");
    rule->name         = bw_arena_copy(&policy->arena, bw_bytes_text(name));
    rule->not_after_us = not_after_us;
    BW_CHECK(rule->name != NULL, BW_NO_MEMORY, "terms");
    return result.field ? result : at_field(result, "terms");
}

bw_result bw_policy_compile_terms(bw_bytes text, const char *name, int64_t not_after_us, struct bw_policy **ret_policy)
{
    BW_AUTO(policy) policy = calloc(1, sizeof *policy);

    BW_CHECK(policy != NULL, BW_NO_MEMORY, "terms");
    json_t *document = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    BW_CHECK_AT(document != NULL, BW_BAD_ARGUMENT, "terms", "not JSON, or a member stands twice");
    bw_result compiled = compile_only_rule(policy, document, name, not_after_us);
    json_decref(document);
    BW_TRY(compiled);

    *ret_policy = bw_take(&policy);
    return bw_success();
}

bw_result bw_policy_check_terms(const struct bw_policy *terms, unsigned uses, CK_KEY_TYPE key_type)
{
    const struct rule *rule = &terms->rules[0];

    BW_CHECK_AT((rule->uses & ~uses) == 0, BW_BAD_ARGUMENT, "terms.operations", "the key has no such use");
    for (size_t i = 0; i < rule->mechanism_count; i++) {
        const struct bw_mechanism_row *row = bw_mechanism_row(rule->mechanisms[i]);
        BW_CHECK_AT((row ? row->key_type : CKK_AES) == key_type, BW_BAD_ARGUMENT, "terms.mechanisms", "not for keys of this type");
    }
    return bw_success();
}

/* ---- decide ---- */

static bool stands_in(const struct texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->at[i], text) == 0)
            return true;
    return false;
}

static bool names_caller(const struct rule *rule, const struct bw_identity *caller)
{
    char principal[16 + BW_PRINCIPAL_MAX];

    (void)snprintf(principal, sizeof principal, "%s/%s", bw_role_name(caller->role), caller->principal.text);
    if (rule->principals.count == 0)
        return caller->role == BW_ROLE_APP;
    for (size_t i = 0; i < rule->principals.count; i++)
        if (fnmatch(rule->principals.at[i], principal, FNM_NOESCAPE) == 0)
            return true;
    return false;
}

static bool admits_region(const struct rule *rule, const bw_region *region, const bw_region *home)
{
    return rule->regions.count == 0 ? bw_region_equal(region, home) : stands_in(&rule->regions, region->text);
}

static bool is_off(const struct bw_mechanism_row *mechanism)
{
    return mechanism != NULL && mechanism->by_default == BW_DEFAULT_OFF;
}

static bool admits_mechanism(const struct rule *rule, const struct bw_mechanism_row *mechanism)
{
    unsigned long type = mechanism ? mechanism->type : CK_UNAVAILABLE_INFORMATION;

    for (size_t i = 0; i < rule->mechanism_count; i++)
        if (rule->mechanisms[i] == type)
            return true;
    return rule->mechanism_count == 0 && !is_off(mechanism);
}

static bool has_pair(const struct bw_context *context, const struct bw_text_pair *required)
{
    for (size_t i = 0; i < context->count; i++)
        if (strcmp(context->pairs[i].name, required->name) == 0)
            return context->pairs[i].value ? strcmp(context->pairs[i].value, required->value) == 0 : context->unknown_fits;
    return false;
}

static bool has_context(const struct rule *rule, const struct bw_context *context)
{
    for (size_t i = 0; i < rule->context_count; i++)
        if (!has_pair(context, &rule->context[i]))
            return false;
    return true;
}

/* All but region and mechanism. */
static bool admits_rest(const struct rule *rule, const struct bw_policy_question *q)
{
    return names_caller(rule, q->caller) &&
           (rule->uses == 0 || (rule->uses & q->use)) &&
           has_context(rule, &q->context) &&
           (rule->purposes.count == 0 || stands_in(&rule->purposes, q->purpose)) &&
           (rule->not_before_us == 0 || q->now_us >= rule->not_before_us) &&
           (rule->not_after_us == 0 || q->now_us < rule->not_after_us) &&
           (rule->release || !q->release);
}

bool bw_policy_releases(const struct bw_policy *policy)
{
    for (size_t i = 0; i < policy->rule_count; i++)
        if (policy->rules[i].release)
            return true;
    return false;
}

bool bw_policy_concerns(const struct bw_policy *policy, const struct bw_identity *caller, const bw_region *home,
                        const struct bw_mechanism_row *mechanism)
{
    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        if (names_caller(rule, caller) && admits_region(rule, &caller->region, home) && (!is_off(mechanism) || admits_mechanism(rule, mechanism)))
            return true;
    }
    return false;
}

bw_result bw_policy_decide(const struct bw_policy *policy, const struct bw_policy_question *question, const char **ret_rule)
{
    bool only_region = false, only_off = false;

    for (size_t i = 0; i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        if (!admits_rest(rule, question))
            continue;
        bool region = admits_region(rule, &question->caller->region, question->home), mechanism = admits_mechanism(rule, question->mechanism);
        if (region && mechanism) {
            *ret_rule = rule->name;
            return bw_success();
        }
        only_region = only_region || mechanism;
        only_off    = only_off || (region && rule->mechanism_count == 0);
    }
    BW_CHECK(!only_region, BW_CALLER_REGION, "key policy admits no caller of this region");
    BW_CHECK(!only_off, BW_MECHANISM_OFF, "off by default, and no rule of the key policy names it");
    return bw_fail(BW_NOT_PERMITTED, "no rule of the key policy allows this");
}

/* ---- narrower ---- */

static unsigned uses_of(const struct rule *rule)
{
    unsigned all = 0;

    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        all |= operations[i].use;
    return rule->uses ? rule->uses : all;
}

static bool has_fewer_operations(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    return (uses_of(inner) & ~uses_of(outer)) == 0;
}

static bool has_fewer_mechanisms(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    for (size_t i = 0; bw_mechanism_at(i) != NULL; i++)
        if (admits_mechanism(inner, bw_mechanism_at(i)) && !admits_mechanism(outer, bw_mechanism_at(i)))
            return false;
    return !admits_mechanism(inner, NULL) || admits_mechanism(outer, NULL);
}

static bool requires_more_context(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    return has_context(outer, &(struct bw_context){ .pairs = inner->context, .count = inner->context_count });
}

static bool has_fewer_regions(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    bw_region region;

    if (inner->regions.count == 0)
        return admits_region(outer, home, home);
    for (size_t i = 0; i < inner->regions.count; i++)
        if (!bw_ok(bw_region_parse(bw_bytes_text(inner->regions.at[i]), &region)) || !admits_region(outer, &region, home))
            return false;
    return true;
}

static bool has_fewer_purposes(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    for (size_t i = 0; i < inner->purposes.count && outer->purposes.count > 0; i++)
        if (!stands_in(&outer->purposes, inner->purposes.at[i]))
            return false;
    return outer->purposes.count == 0 || inner->purposes.count > 0;
}

static bool begins_no_sooner(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    return inner->not_before_us >= outer->not_before_us;
}

static bool ends_no_later(const struct rule *inner, const struct rule *outer, const bw_region *home)
{
    (void)home;
    return inner->not_after_us <= outer->not_after_us;
}

static const struct { const char *field; bool (*holds)(const struct rule *inner, const struct rule *outer, const bw_region *home); } demands[] = {
    { "terms.operations", has_fewer_operations  },
    { "terms.mechanisms", has_fewer_mechanisms  },
    { "terms.context",    requires_more_context },
    { "terms.regions",    has_fewer_regions     },
    { "terms.purposes",   has_fewer_purposes    },
    { "terms.not_before", begins_no_sooner      },
    { "expires_us",       ends_no_later         },
};

bw_result bw_policy_check_narrower(const struct bw_policy *inner, const struct bw_policy *outer, const bw_region *home)
{
    for (size_t i = 0; i < ARRAY_LEN(demands); i++)
        if (!demands[i].holds(&inner->rules[0], &outer->rules[0], home))
            return at_field(bw_fail(BW_GRANT_WIDER, "more than the grant that it is made from"), demands[i].field);
    return bw_success();
}
