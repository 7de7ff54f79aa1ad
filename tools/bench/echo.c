/* Drives the daemon's echo, grpc.health.v1.Health/Check, through our own client: what transport and TLS cost alone.
 * bench_echo <the module's configuration> [<idle connections>]: that many are opened and kept, and the callers share another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider_conf.h"
#include "slice.h"

static bw_result check(struct bw_client *client)
{
    struct bw_arena arena = { 0 };
    bw_bytes reply;
    bw_result r = bw_client_call(client, "/grpc.health.v1.Health/Check", (bw_bytes){ 0 }, true, &arena, &reply, NULL);

    bw_arena_clear(&arena);
    return r;
}

static bool call(void *state)
{
    return bw_ok(check(state));
}

static void *caller_new(void *self, const char *operation, const char **ret_why)
{
    if (strcmp(operation, "echo") == 0 && call(self))
        return self;
    *ret_why = "the daemon does not answer";
    return NULL;
}

static void caller_free(void *state)
{
    (void)state;
}

static struct bw_client *connect_to(const struct bw_conf *conf)
{
    struct bw_client_options options = bw_conf_client_options(&conf->slots[0]);
    struct bw_client *client;

    bw_result r = bw_client_new(&options, &client);
    if (bw_ok(r))
        r = check(client);
    if (!bw_ok(r))
        bw_bench_die(r.what);
    return client;
}

int main(int argc, char **argv)
{
    char why[BW_CONF_MESSAGE_MAX] = "usage: bench_echo <configuration> [<idle connections>]";
    struct bw_conf conf;

    if (argc < 2 || !bw_ok(bw_conf_load(argv[1], &conf, why)))
        bw_bench_die(why);
    for (long idle = argc > 2 ? strtol(argv[2], NULL, 10) : 0; idle > 0; idle--)
        (void)connect_to(&conf); /* lives as long as this process */
    const struct bw_bench_side side = { connect_to(&conf), caller_new, call, caller_free };
    bw_bench_serve(&side);
    return 0;
}
