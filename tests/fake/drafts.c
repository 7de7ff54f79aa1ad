#include "drafts.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

void draft_key(struct bw_key *ret_draft, const char *tenant, uint32_t number)
{
    static struct bw_key_version version = { .number = 1, .state = BW_VERSION_PRIMARY, .created_us = 1000 };

    memset(ret_draft, 0, sizeof *ret_draft);
    (void)snprintf(ret_draft->name.region.text, sizeof ret_draft->name.region.text, "eu-central");
    (void)snprintf(ret_draft->name.tenant.text, sizeof ret_draft->name.tenant.text, "%s", tenant);
    for (unsigned i = 0; i < 4; i++)
        ret_draft->name.id.bytes[i] = (uint8_t)(number >> (24 - 8 * i));
    ret_draft->label         = "";
    ret_draft->owner         = "";
    ret_draft->description   = "";
    ret_draft->policy_text   = BW_POLICY_DEFAULT;
    ret_draft->spec          = bw_spec_row(BW_SPEC_AES_256);
    ret_draft->uses          = ret_draft->spec->uses;
    ret_draft->state         = BW_STATE_ENABLED;
    ret_draft->origin        = BW_ORIGIN_GENERATED;
    ret_draft->created_us    = 1000;
    ret_draft->generation    = 1;
    ret_draft->versions      = &version;
    ret_draft->version_count = 1;
}

void draft_tenant(struct bw_tenant_info *ret_draft, const char *name, uint32_t log)
{
    memset(ret_draft, 0, sizeof *ret_draft);
    (void)snprintf(ret_draft->name.text, sizeof ret_draft->name.text, "%s", name);
    (void)snprintf(ret_draft->token_serial, sizeof ret_draft->token_serial, "%016x", log);
    ret_draft->state       = BW_TENANT_STATE_ACTIVE;
    ret_draft->activation  = BW_OPERATOR_HELD;
    ret_draft->policy_text = "{}";
    ret_draft->log         = log;
    ret_draft->created_us  = 1000;
    ret_draft->generation  = 1;
}

void make_folder(char path[static 64])
{
    (void)snprintf(path, 64, "/tmp/bailiwick-test-XXXXXX");
    if (mkdtemp(path) == NULL)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
