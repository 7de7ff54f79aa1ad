/* Snapshots in one block each, so that ten thousand keys cost little: what registry.c makes of drafts. */
#ifndef BW_SERVER_SNAPSHOT_H
#define BW_SERVER_SNAPSHOT_H

#include "registry.h"
#include "rules.h"

/* Takes the reference to rules, on failure too. */
bw_result bw_key_pack(const struct bw_key *draft, struct bw_rules *rules, struct bw_key **ret_key);

#endif
