/* A live region: bailiwickd as a process on SoftHSM in a folder of its own, and callers over mutual TLS with certificates
 * of its CA. What fails ends the test program, with the daemon's log. */
#ifndef BW_TESTS_LIVE_H
#define BW_TESTS_LIVE_H

#include <sys/types.h>

#include "wire.h"

#define LIVE_TRUST "spiffe://ex.org/region/"
#define LIVE_HOME  "eu-central"

struct live {
    char           *folder;
    struct test_ca *ca;
    pid_t           pid;
    int             port;
    unsigned        callers; /* so many certificates were issued */
};

/* Initialises the region and starts its daemon: BAILIWICKD, which CMake defines. */
void live_make(struct live *live);
void live_remove(struct live *live);

/* Ends the daemon well, and starts it again on the same folder. */
void live_stop(struct live *live);
void live_start(struct live *live);
/* Ends it as a crash would. */
void live_kill(struct live *live);

/* A client with a certificate of this SPIFFE id: LIVE_TRUST and what follows. Freed with bw_client_free. */
struct bw_client *live_caller(struct live *live, const char *id);

/* One call. The reply, or NULL with *ret_code, lives in the arena. */
const ProtobufCMessage *live_call(struct bw_client *client, enum bw_method_nr method, const ProtobufCMessage *request,
                                  struct bw_arena *arena, enum bw_code *ret_code);
/* One that must be granted. */
const ProtobufCMessage *live_must(struct bw_client *client, enum bw_method_nr method, const ProtobufCMessage *request, struct bw_arena *arena);

#endif
