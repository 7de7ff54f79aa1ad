/* Drafts of keys and tenants that make a test case one line. What they point to is static. */
#ifndef BW_TESTS_DRAFTS_H
#define BW_TESTS_DRAFTS_H

#include "registry.h"

/* An AES-256 key of generation 1 with one version; its id is the number, big-endian, in its first bytes. */
void draft_key(struct bw_key *ret_draft, const char *tenant, uint32_t number);

/* An operator-held tenant of generation 1 with an empty policy. */
void draft_tenant(struct bw_tenant_info *ret_draft, const char *name, uint32_t log);

/* A new folder under /tmp of mode 0700; removed with all in it by remove_folder. */
void make_folder(char path[static 64]);
void remove_folder(const char *path);

#endif
