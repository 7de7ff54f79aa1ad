/* The threads of the daemon, once.
 *
 * role         how many   owns                                  may block on
 * main         1          start and stop order; looks whether   signals; the listener's answer
 *                         the listener still lives
 * listener     1          the gRPC completion queue: drains all its events, runs the stages of what is FAST, then flushes
 *                         the audit log once for all of them    the queue; the audit log's commit
 * worker       workers    a job at a time                       the HSM, the store, the audit log's commit
 * vitals       1          what health says                      the HSM, the store
 * indexer      1          the query index, the logs' trees      its own database
 * follower     1          the streams of the log: gives each   the index
 *                         what is new, a message at a time
 * notary       1          the guard file; signs checkpoints     the HSM, the index, the guard file
 * scrubber     1          reads the whole log again, slowly     its own reading of the databases
 * housekeeper  1          what falls due by itself              the HSM, the store, the audit log's commit
 * gRPC's own   a few      sockets; let go of replies' bytes,    the files of [tls] being read anew
 *                         which frees the call; ask for certificates in handshakes
 *
 * Data crosses threads by handing over ownership: a call and its jobs belong to the listener, then a slow job to one worker,
 * then the call to whoever gives back the last share in it, as its jobs are over and on record, then to gRPC, whose last
 * slice of it frees it. Lock order, outermost first; no lock is held over a call into another module that is not below it:
 *   recovery, making, changes, store, registry (write), hsm token, audit queue, registry (read), hsm session, worker queue, trust, log
 * making and changes are the registry's: who adds key material, who changes a key or tenant. Making alone is held over the
 * HSM's work. Nobody holds a lock while he calls bw_audit_flush or bw_audit_write, but for recovery, which nothing that
 * waits for a record ever takes. A request's claim (store.h) is no lock but comes before all of them: only workers wait for
 * it, and who has it is at work. */
#ifndef BW_SERVER_THREADS_H
#define BW_SERVER_THREADS_H

#if defined(__clang__)
#define BW_HOLDS(lock) __attribute__((exclusive_locks_required(lock)))
#else
#define BW_HOLDS(lock)
#endif

#endif
