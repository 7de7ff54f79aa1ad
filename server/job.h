/* What travels through the stages. A call is one RPC as it came; a job is one operation in it: a plain call has one, a
 * Batch has several, each with its own grant, result and record. Everything hangs on arenas that are wiped with the call. */
#ifndef BW_SERVER_JOB_H
#define BW_SERVER_JOB_H

#include <stdatomic.h>

#include "audit.h"
#include "bailiwick/mechanism.h"
#include "bailiwick/names.h"
#include "envelope.h"
#include "method.h"

struct bw_daemon;
struct bw_follow;
struct bw_grant;
struct bw_key;
struct bw_text_pair;
struct bw_warrant;

/* The other end, as the transport knows it. Filled by listen.c. */
struct bw_peer {
    bw_bytes spiffe_id;      /* empty: the certificate has none, or more than one */
    bw_bytes certificate;    /* PEM */
    char     address[64];
};

/* Stage authenticate. */
struct bw_caller {
    struct bw_identity identity;
    char               spiffe_id[BW_SPIFFE_MAX + 1];
    uint8_t            certificate[32];  /* SHA-256 of its DER */
    bool               known;
};

/* Stage decode. Borrowed from the arena; all bounds checked. */
struct bw_request {
    uint8_t             request_id[BW_REQUEST_ID_LEN];
    bool                request_id_given;
    bool                has_key;
    struct bw_key_name  key;          /* has_key: as named, or as the envelope names it */
    uint32_t            version;      /* 0: primary */
    bw_bytes            sealed;       /* instead of key */
    struct bw_mechanism mechanism;    /* row NULL: none named */
    bw_bytes            data;         /* plaintext, ciphertext, wrapped key, message or digest to sign */
    struct bw_envelope  envelope;     /* methods about an ENVELOPE; key and version are its own then */
    bw_bytes            signature;
    struct bw_text_pair *context;     size_t context_count;     /* encryption context, sorted by name */
    struct bw_text_pair *new_context; size_t new_context_count; /* Rewrap: the one to wrap with */
    const char         *purpose;      /* "" when none */
    const ProtobufCMessage *message;  /* of method->request: what is particular to the method */
};

/* Stage operate. */
struct bw_reply {
    ProtobufCMessage *message;        /* of method->reply, or NULL; its receipt is filled after the commit */
    const char       *home_region;    /* told with BW_WRONG_REGION */
    const char       *proposal;       /* told with BW_NOT_APPROVED, in hexadecimal */
    const char       *expired_at;     /* told with BW_EXPIRED of a key: RFC 3339, UTC */
    bool              released;       /* a session key's value is in it: goes on record as such */
    bw_bytes          authenticated;  /* additional data or encryption context; its keyed hash goes on record */
};

struct bw_job {
    struct bw_audit_entry  entry;     /* first: the committer hands back this */
    struct bw_daemon      *daemon;
    struct bw_call        *call;
    const struct bw_method *method;
    struct bw_caller       caller;
    struct bw_request      request;
    struct bw_grant       *grant;     /* stage authorise; freed with the job */
    struct bw_warrant     *warrant;   /* proposal.h: what the change that follows is to spend, or NULL. In the arena */
    struct bw_reply        reply;
    bw_result              result;
    const char            *stage;     /* name of the last one entered, for the log */
    unsigned               next_stage;
    bool                   apart;     /* from the call's other jobs, on a worker: takes memory from its own arena, not the call's */
    struct bw_arena        own_arena; /* cleared with the call */
    struct bw_job         *next;      /* in the workers' queue */
};

struct bw_call {
    struct bw_arena         arena;        /* one thread at a time: not a worker's when the call has other jobs */
    struct bw_daemon       *daemon;
    const struct bw_method *method;       /* NULL: we have no such */
    bw_bytes                message;      /* the request's bytes */
    struct bw_peer          peer;
    int64_t                 started_us;   /* CLOCK_MONOTONIC */
    int64_t                 deadline_us;  /* CLOCK_MONOTONIC; INT64_MAX: none */
    atomic_bool             abandoned;    /* the caller hung up: what has not begun need not */
    struct bw_job          *jobs;         size_t job_count;
    atomic_size_t           unrun;        /* jobs whose stages are not over */
    atomic_size_t           shares;       /* in the reply: two of each job, its runner's and its record's. Who gives back the last one sends */
    /* How the reply leaves. details: google.rpc.Status bytes. Called once; the call is the transport's again. */
    void                  (*send)(struct bw_call *call, bw_result result, bw_bytes details, bw_bytes reply);

    /* Of a stream (followers.h), before it ends as above. One message at a time: the next when part_sent was told, on the
     * transport's thread, that this one is out, or that it never will be. message is copied. */
    struct bw_follow       *follow;       /* NULL: the reply is all there is */
    void                  (*send_part)(struct bw_call *call, bw_bytes message);
    void                  (*part_sent)(struct bw_call *call, bool sent);
    void                  (*cut)(struct bw_call *call, bw_result result); /* gives up what is on its way; part_sent hears of it */
};

/* Where the job's memory comes from. */
static inline struct bw_arena *bw_job_arena(struct bw_job *job)
{
    return job->apart ? &job->own_arena : &job->call->arena;
}

#endif
