/* A key's life: which action is allowed in which state, and where it leads. Pure. */
#ifndef BW_SERVER_KEY_STATE_H
#define BW_SERVER_KEY_STATE_H

#include "registry.h"

enum bw_key_action {
    BW_KEY_IMPORT,       /* its material has arrived */
    BW_KEY_ENABLE,
    BW_KEY_DISABLE,
    BW_KEY_ROTATE,
    BW_KEY_UPDATE,       /* names, tags, uses */
    BW_KEY_SET_POLICY,
    BW_KEY_SCHEDULE,     /* its deletion, or put it off */
    BW_KEY_CANCEL,       /* the deletion */
    BW_KEY_DESTROY,      /* its time has come, or its material is gone */
    BW_KEY_PURGE,        /* custodians do not wait for that time */
    BW_KEY_ACTIONS
};

/* BW_KEY_DISABLED, BW_KEY_STATE: not from there. */
bw_result bw_key_state_next(enum bw_key_state from, enum bw_key_action action, enum bw_key_state *ret_to);

#endif
