/* A change of a key or tenant: read what stands, make what follows, store it, then let everybody see it. One at a time. */
#ifndef BW_SERVER_CHANGE_H
#define BW_SERVER_CHANGE_H

#include "daemon.h"
#include "key_state.h"
#include "registry.h"

struct bw_warrant;

/* Alters a draft of what stands; its state and generation are the new ones already. What it makes it point to must live
 * until bw_change_key returns. No lock may be taken, nothing slow done. */
typedef bw_result (*bw_key_change_fn)(struct bw_key *draft, const void *how);
typedef bw_result (*bw_tenant_change_fn)(struct bw_tenant_info *draft, const void *how);

struct bw_key_change {
    enum bw_key_action action;
    uint64_t           generation; /* what it must still be; 0: whatever */
    bw_key_change_fn   alter;      /* NULL: the action is all */
    const void        *how;
    struct bw_warrant *warrant;    /* under dual control: what it spends; else NULL */
};
/* ret_key: the caller's reference to what follows. BW_CONFLICT: another generation; BW_KEY_STATE, BW_KEY_DISABLED: not in
 * this state; BW_NOT_APPROVED: the warrant does not hold
 * any more; and what alter and the store say. Then nothing has changed. */
bw_result bw_change_key(struct bw_daemon *daemon, const bw_tenant *tenant, const bw_key_id *id, const struct bw_key_change *change,
                        const struct bw_key **ret_key);

/* A key that is not there yet. */
bw_result bw_change_add_key(struct bw_daemon *daemon, const struct bw_key *draft, struct bw_warrant *warrant, const struct bw_key **ret_key);

struct bw_tenant_change {
    uint64_t            generation; /* as above */
    bw_tenant_change_fn alter;
    const void         *how;
    struct bw_warrant  *warrant;    /* as above */
};
bw_result bw_change_tenant(struct bw_daemon *daemon, const bw_tenant *name, const struct bw_tenant_change *change,
                           const struct bw_tenant_info **ret_tenant);
bw_result bw_change_add_tenant(struct bw_daemon *daemon, const struct bw_tenant_info *draft, const struct bw_tenant_info **ret_tenant);

/* Microseconds since 1970, UTC. */
int64_t bw_now_us(void);

#endif
