/* Key policy: who may do what with a key. Text (JSON) compiled once, decided often. Pure: no I/O, no clock of its own.
 *
 * {"rules": [{"name": "web decrypts", "principals": ["app/web-*"], "regions": ["eu-central"],
 *             "operations": ["decrypt", "unwrap"], "mechanisms": ["CKM_AES_GCM", "envelope"],
 *             "context": {"tenant-table": "orders"}, "purposes": ["billing"],
 *             "not_before": "2026-01-01T00:00:00Z", "not_after": "...", "release": false}]}
 *
 * A request is allowed when one rule allows all of it; no rule, no access. Absent members: every application
 * (principals), the home region only (regions), all of the key's uses (operations), all mechanisms, no required context,
 * no purpose asked, always, no release. Unknown members are refused. */
#ifndef BW_SERVER_POLICY_H
#define BW_SERVER_POLICY_H

#include "bailiwick/names.h"

struct bw_policy;
struct bw_text_pair; /* registry.h */

/* Encryption context, sorted by name. Borrowed. */
struct bw_context {
    const struct bw_text_pair *pairs;
    size_t                     count;
};

struct bw_policy_question {
    const struct bw_identity  *caller;
    const bw_region           *home;
    unsigned                   use;        /* one of enum bw_use */
    unsigned long              mechanism;  /* CKM_; CK_UNAVAILABLE_INFORMATION for envelopes */
    struct bw_context          context;
    const char                *purpose;    /* "" when none was stated */
    bool                       release;    /* a session key's value is to go to the application */
    int64_t                    now_us;
};

/* BW_BAD_ARGUMENT with the member at fault in field. */
bw_result bw_policy_compile(bw_bytes text, struct bw_policy **ret_policy);
void      bw_policy_free(struct bw_policy *policy);
BW_DEFINE_AUTO(policy)

/* The text of the policy that a key has when none was given. */
#define BW_POLICY_DEFAULT "{\"rules\": [{\"name\": \"applications at home\", \"principals\": [\"app/*\"]}]}"

/* Whether any rule is about this caller at all, whatever the operation: keys that have none are not shown to it. */
bool bw_policy_concerns(const struct bw_policy *policy, const struct bw_identity *caller, const bw_region *home);

/* Whether a rule lets session keys' values go to applications. */
bool bw_policy_releases(const struct bw_policy *policy);

/* BW_OK and the rule's name; else BW_NOT_PERMITTED, or BW_CALLER_REGION when only the caller's region stands against it. */
bw_result bw_policy_decide(const struct bw_policy *policy, const struct bw_policy_question *question, const char **ret_rule);

#endif
