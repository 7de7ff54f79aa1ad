/* Names: regions, tenants, principals, keys, and the SPIFFE ids that say who is who.
 *
 * region      [a-z0-9-]{1,16}, starts with a letter, ends with no hyphen
 * tenant      [a-z0-9-]{1,36}, starts with a letter or digit, ends with no hyphen; opaque to us
 * principal   [A-Za-z0-9._-]{1,64}
 * key         bw:<region>:<tenant>:key/<32 lower-case hexadecimal digits>
 * SPIFFE ids  spiffe://<trust domain>/region/<region>/node/<name>
 *             spiffe://<trust domain>/region/<region>/tenant/<tenant>/<app|custodian|auditor>/<name>
 *             spiffe://<trust domain>/region/<region>/operator/<name>
 *
 * Parsing is all or nothing; what is parsed prints to the same text again. */
#ifndef BAILIWICK_NAMES_H
#define BAILIWICK_NAMES_H

#include "bailiwick/bytes.h"
#include "bailiwick/limits.h"

/* NUL-terminated, rest zero, so that structs of these compare with memcmp. */
typedef struct bw_region    { char text[BW_REGION_MAX + 1]; } bw_region;
typedef struct bw_tenant    { char text[BW_TENANT_MAX + 1]; } bw_tenant;
typedef struct bw_principal { char text[BW_PRINCIPAL_MAX + 1]; } bw_principal;
typedef struct bw_key_id    { uint8_t bytes[BW_KEY_ID_LEN]; } bw_key_id;

struct bw_key_name {
    bw_region region;
    bw_tenant tenant;
    bw_key_id id;
};

bw_result bw_region_parse(bw_bytes text, bw_region *ret_region);
bw_result bw_tenant_parse(bw_bytes text, bw_tenant *ret_tenant);
bw_result bw_principal_parse(bw_bytes text, bw_principal *ret_principal);
bw_result bw_key_name_parse(bw_bytes text, struct bw_key_name *ret_name);
void      bw_key_name_print(const struct bw_key_name *name, char text[static BW_KEY_NAME_MAX + 1]);

bool bw_region_equal(const bw_region *a, const bw_region *b);
bool bw_tenant_equal(const bw_tenant *a, const bw_tenant *b);
bool bw_key_id_equal(const bw_key_id *a, const bw_key_id *b);

enum bw_role { BW_ROLE_NONE, BW_ROLE_NODE, BW_ROLE_OPERATOR, BW_ROLE_APP, BW_ROLE_CUSTODIAN, BW_ROLE_AUDITOR };
const char *bw_role_name(enum bw_role role); /* "app"; BW_ROLE_NONE gives "nobody" */

struct bw_identity {
    char         trust_domain[BW_TRUST_DOMAIN_MAX + 1];
    bw_region    region;
    enum bw_role role;
    bw_tenant    tenant;     /* empty for nodes and operators */
    bw_principal principal;
};

bw_result bw_identity_parse(bw_bytes spiffe_id, struct bw_identity *ret_identity);
/* text: at most BW_SPIFFE_MAX + 1 bytes. */
void      bw_identity_print(const struct bw_identity *identity, char *text, size_t room);

#endif
