#include "key_state.h"

enum cell {
    IMPORT__ = BW_STATE_PENDING_IMPORT, ENABLED_ = BW_STATE_ENABLED, DISABLED = BW_STATE_DISABLED,
    DELETION = BW_STATE_PENDING_DELETION, DESTROYED = BW_STATE_DESTROYED,
    no, /* BW_KEY_STATE */
    dis /* BW_KEY_DISABLED: enable it first */
};

static const unsigned char table[][BW_KEY_ACTIONS] = {
    /*                               IMPORT    ENABLE    DISABLE   ROTATE    UPDATE    POLICY    SCHEDULE  CANCEL    DESTROY    PURGE     */
    [BW_STATE_PENDING_IMPORT]   = {  ENABLED_, no,       no,       no,       IMPORT__, IMPORT__, DELETION, no,       DESTROYED, no        },
    [BW_STATE_ENABLED]          = {  no,       ENABLED_, DISABLED, ENABLED_, ENABLED_, ENABLED_, DELETION, no,       DESTROYED, no        },
    [BW_STATE_DISABLED]         = {  no,       ENABLED_, DISABLED, dis,      DISABLED, DISABLED, DELETION, no,       DESTROYED, no        },
    [BW_STATE_PENDING_DELETION] = {  no,       no,       no,       no,       no,       no,       DELETION, DISABLED, DESTROYED, DESTROYED },
    [BW_STATE_DESTROYED]        = {  no,       no,       no,       no,       no,       no,       no,       no,       no,        no        },
};

bw_result bw_key_state_next(enum bw_key_state from, enum bw_key_action action, enum bw_key_state *ret_to)
{
    BW_CHECK((size_t)from < ARRAY_LEN(table) && from != 0 && (unsigned)action < BW_KEY_ACTIONS, BW_KEY_STATE, "no such state or action");
    unsigned to = table[from][action];
    BW_CHECK(to != dis, BW_KEY_DISABLED, "the key is disabled");
    BW_CHECK(to != no, BW_KEY_STATE, "the key's state does not allow this");
    *ret_to = (enum bw_key_state)to;
    return bw_success();
}
