/* Streams of the log: Audit.Follow. One thread gives each caller what is new, a message at a time and the next only once that
 * one is out: who does not read costs one message, and nobody waits for him. Whether a caller may still listen is asked
 * anew before each message; a revocation is a record, so it wakes the thread as well. */
#ifndef BW_SERVER_FOLLOWERS_H
#define BW_SERVER_FOLLOWERS_H

#include "job.h"

struct bw_followers;

/* On the call's arena. The operation fills query, told and heartbeat_ms; the rest is the thread's. */
struct bw_follow {
    struct bw_audit_query query;        /* from_index: what was not told yet */
    uint64_t              told;         /* size of the last checkpoint told, or that the caller has; 0: none */
    unsigned              heartbeat_ms;

    struct bw_follow     *next;
    struct bw_call       *call;
    int64_t               said_ms;      /* CLOCK_MONOTONIC, of the last message */
    atomic_bool           busy;         /* it is on its way */
    bool                  is_cut;
};

bw_result bw_followers_start(struct bw_daemon *daemon, struct bw_followers **ret_followers);
void      bw_followers_stop(struct bw_followers *followers);  /* after close; waits until the last stream ended; NULL is fine */

/* Ends all streams and takes no more. Does not wait. Any thread. */
void bw_followers_close(struct bw_followers *followers);

/* Sends the first message and takes the call over. BW_OVERLOADED: there are too many streams, or too many of that log;
 * BW_SHUTTING_DOWN. Then the call is still the caller's. */
bw_result bw_followers_take(struct bw_followers *followers, struct bw_call *call, bw_bytes first);

/* What there is to say: a message in the arena, or NULL. op_follow.c. */
bw_result bw_follow_next(struct bw_daemon *daemon, struct bw_follow *follow, bool heartbeat, struct bw_arena *arena, ProtobufCMessage **ret_message);

#endif
