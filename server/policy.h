/* Key policy: who may do what with a key. Text (JSON) compiled once, decided often. Pure: no I/O, no clock of its own.
 *
 * {"rules": [{"name": "web decrypts", "principals": ["app/web-*"], "regions": ["eu-central"],
 *             "operations": ["decrypt", "unwrap"], "mechanisms": ["CKM_AES_GCM", "envelope"],
 *             "context": {"tenant-table": "orders"}, "purposes": ["billing"],
 *             "not_before": "2026-01-01T00:00:00Z", "not_after": "...", "release": false}]}
 *
 * A request is allowed when one rule allows all of it; no rule, no access. Absent members: every application
 * (principals), the home region only (regions), all of the key's uses (operations), all mechanisms, no required context,
 * no purpose asked, always, no release. Unknown members are refused. A mechanism that is off by default (mechanisms.def) is
 * allowed only by a rule that names it.
 *
 * The terms of a grant are one such rule, without name, not_after and release: key_grant.h. */
#ifndef BW_SERVER_POLICY_H
#define BW_SERVER_POLICY_H

#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"

struct bw_policy;
struct bw_text_pair; /* registry.h */

/* Encryption context, sorted by name. Borrowed. */
struct bw_context {
    const struct bw_text_pair *pairs;
    size_t                     count;
    bool                       unknown_fits; /* a pair whose value is NULL has the one that a rule wants; else it has another */
};

struct bw_policy_question {
    const struct bw_identity  *caller;
    const bw_region           *home;
    unsigned                   use;        /* one of enum bw_use */
    const struct bw_mechanism_row *mechanism; /* NULL for envelopes */
    struct bw_context          context;
    const char                *purpose;    /* "" when none was stated */
    bool                       release;    /* a session key's value is to go to the application */
    int64_t                    now_us;
};

/* BW_BAD_ARGUMENT with the member at fault in field ("policy.operations"). */
bw_result bw_policy_compile(bw_bytes text, struct bw_policy **ret_policy);
void      bw_policy_free(struct bw_policy *policy);
BW_DEFINE_AUTO(policy)

/* The text of the policy that a key has when none was given. */
#define BW_POLICY_DEFAULT "{\"rules\": [{\"name\": \"applications at home\", \"principals\": [\"app/*\"]}]}"

/* The members that a rule may have, and what operations may hold; NULL past the end. The schema is held against them. */
const char *bw_policy_member(size_t index);
const char *bw_policy_operation(size_t index);

/* Whether a rule lets session keys' values go to applications. */
bool bw_policy_releases(const struct bw_policy *policy);

/* Whether any rule is about this caller at all, whatever the operation: keys that have none are not shown to it. Where a
 * mechanism is given that is off by default, only rules count that name it. */
bool bw_policy_concerns(const struct bw_policy *policy, const struct bw_identity *caller, const bw_region *home,
                        const struct bw_mechanism_row *mechanism);

/* BW_OK and the rule's name; else BW_NOT_PERMITTED, BW_CALLER_REGION when only the caller's region stands against it, or
 * BW_MECHANISM_OFF when only that the mechanism is off and no rule names it. */
bw_result bw_policy_decide(const struct bw_policy *policy, const struct bw_policy_question *question, const char **ret_rule);

/* ---- the terms of a grant ---- */

/* A policy of one rule: the text's, of this name, until not_after_us. BW_BAD_ARGUMENT with the field "terms.<member>". */
bw_result bw_policy_compile_terms(bw_bytes text, const char *name, int64_t not_after_us, struct bw_policy **ret_policy);

/* That the terms name nothing that a key of these uses and this type cannot do. BW_BAD_ARGUMENT, as above. */
bw_result bw_policy_check_terms(const struct bw_policy *terms, unsigned uses, CK_KEY_TYPE key_type);

/* That every request which the inner terms allow, whoever asks, the outer ones would allow one whom they name. Exact.
 * BW_GRANT_WIDER with the field that says more. */
bw_result bw_policy_check_narrower(const struct bw_policy *inner, const struct bw_policy *outer, const bw_region *home);

#endif
