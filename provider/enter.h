/* The door of every C_ function: what its row of functions.def needs is made sure of on the way in, and its result becomes
 * a CKR_ on the way out.
 *
 *     CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
 *     {
 *         struct bw_entry e;
 *         bw_result r = bw_enter(&e, BW_FN_C_Sign, session);
 *         if (bw_ok(r))
 *             r = sign_once(&e, ...);
 *         return bw_leave(&e, r);
 *     }
 *
 * bw_leave is called after every bw_enter, also after one that failed. */
#ifndef BW_PROVIDER_ENTER_H
#define BW_PROVIDER_ENTER_H

#include "host.h"
#include "session.h"
#include "slot.h"

enum bw_function_nr {
#define BW_FUNCTION(since, offered, function, needs, operation, parameters) BW_FN_##function,
#include "functions.def"
#undef BW_FUNCTION
};

enum bw_need {
    BW_NEED_NOTHING = 0,
    BW_NEED_INIT    = 1u << 0,
    BW_NEED_SLOT    = 1u << 1 | BW_NEED_INIT,
    BW_NEED_SESSION = 1u << 2 | BW_NEED_INIT,
    BW_NEED_IDLE    = 1u << 3,
    BW_NEED_ACTIVE  = 1u << 4
};

struct bw_function {
    const char            *name;      /* "C_Sign" */
    unsigned               needs;     /* enum bw_need */
    enum bw_operation_kind operation; /* which kind it is about; BW_OPERATION_ANY, BW_OPERATION_NONE */
};
const struct bw_function *bw_function(enum bw_function_nr nr);

/* Whether the calling thread is between bw_enter and bw_leave. */
bool bw_thread_is_inside(void);

/* One call in progress; on the caller's stack. */
struct bw_entry {
    enum bw_function_nr        nr;
    const struct bw_function  *function;
    struct bw_slot            *slot;       /* the one named, or the session's; else NULL */
    struct bw_session         *session;    /* counted, and locked when the row names an operation; else NULL */
    struct bw_operation      **operation;  /* the session's place for the row's kind; NULL when it names none */

    /* bw_leave's own */
    CK_ULONG handle;
    bool     inside;     /* the thread was not inside the module before */
    bool     counted;    /* C_Finalize waits for it */
    bool     locked;     /* the session */
    int64_t  began_us;   /* 0: no trace */
    struct bw_host host; /* its errno and its OpenSSL error queue */
};

/* handle  the session or slot that the function was given; 0 for functions without.
 * Fails with  BW_REENTERED        OpenSSL, called by us, called us
 *             BW_NOT_INITIALIZED  before C_Initialize, after C_Finalize, in a forked child
 *             BW_SLOT_INVALID, BW_SESSION_INVALID, BW_OPERATION_ACTIVE, BW_OPERATION_MISSING. */
bw_result bw_enter(struct bw_entry *ret_entry, enum bw_function_nr nr, CK_ULONG handle);

/* Unlocks, remembers the code for ulDeviceError, traces, restores errno and the host's OpenSSL error queue.
 * The CKR_ is that of results.def, but where enter.c's table says that this function may not return it. */
CK_RV bw_leave(struct bw_entry *entry, bw_result result);

#endif
