/* The client against a real gRPC server, and against servers that no gRPC library can be asked to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "fake/echo_server.h"
#include "fake/rude_server.h"
#include "fake/test_ca.h"

/* ---- the world: one CA, a node of eu-central, an application ---- */

static struct {
    char              *folder;
    struct test_ca    *ca, *other_ca;
    struct echo_server server;
    const char        *ca_file, *certificate, *key, *node_certificate, *node_key;
    atomic_uint        sigpipes;
} world;

#define NODE "spiffe://example.org/region/eu-central/node/n1"
#define APP  "spiffe://example.org/region/eu-central/tenant/acme/app/web"

static void note_sigpipe(int signal)
{
    (void)signal;
    world.sigpipes++;
}

static const char *own_path(const char *name)
{
    return strdup(test_path(world.folder, name));
}

static int build_world(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, note_sigpipe);
    world.folder           = test_folder_new();
    world.ca               = test_ca_new("Test CA");
    world.other_ca         = test_ca_new("Other CA");
    world.ca_file          = own_path("ca.pem");
    world.certificate      = own_path("app.pem");
    world.key              = own_path("app.key");
    world.node_certificate = own_path("node.pem");
    world.node_key         = own_path("node.key");
    test_ca_write(world.ca, world.ca_file);
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = NODE, .dns = "localhost", .ip = "127.0.0.1" }, world.node_certificate, world.node_key);
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = APP }, world.certificate, world.key);
    world.server = (struct echo_server){ .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };
    echo_server_start(&world.server);
    return 0;
}

static int raze_world(void **state)
{
    (void)state;
    echo_server_free(&world.server);
    test_ca_free(world.ca);
    test_ca_free(world.other_ca);
    test_folder_free(world.folder);
    free((void *)(uintptr_t)world.ca_file);
    free((void *)(uintptr_t)world.certificate);
    free((void *)(uintptr_t)world.key);
    free((void *)(uintptr_t)world.node_certificate);
    free((void *)(uintptr_t)world.node_key);
    return 0;
}

/* ---- making clients and calls ---- */

static char endpoint_texts[BW_ENDPOINTS_MAX][32];

static struct bw_client_options options_for(const int *ports, size_t count, unsigned deadline_ms)
{
    struct bw_client_options options = { .trust_domain = "example.org", .ca_file = world.ca_file, .certificate_file = world.certificate,
                                         .key_file = world.key, .deadline_ms = deadline_ms };

    assert_true(bw_ok(bw_region_parse(bw_bytes_text("eu-central"), &options.home)));
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(endpoint_texts[i], sizeof endpoint_texts[i], "127.0.0.1:%d", ports[i]);
        options.endpoints[i] = endpoint_texts[i];
    }
    return options;
}

static struct bw_client *new_client(const struct bw_client_options *options)
{
    struct bw_client *client = NULL;

    assert_true(bw_ok(bw_client_new(options, &client)));
    return client;
}

static struct bw_client *client_of(int port, unsigned deadline_ms)
{
    struct bw_client_options options = options_for(&port, 1, deadline_ms);

    return new_client(&options);
}

/* A call whose reply does not matter. */
static bw_result call(struct bw_client *client, const char *path, bool retry)
{
    static const uint8_t request[1024];
    struct bw_arena arena = { 0 };
    bw_bytes reply;

    bw_result r = bw_client_call(client, path, bw_bytes_of(request, sizeof request), retry, &arena, &reply, NULL);
    bw_arena_clear(&arena);
    return r;
}

static void expect(bw_result r, enum bw_code code)
{
    if (r.code != code)
        fail_msg("%s (%s, %s) instead of %s", bw_code_row(r.code)->name, r.what ? r.what : "", r.where ? r.where : "", bw_code_row(code)->name);
}

static struct bw_client_stats stats_of(const struct bw_client *client)
{
    struct bw_client_stats stats;

    bw_client_stats(client, &stats);
    return stats;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the server has seen so many requests in all. */
static void await_requests(const struct echo_server *server, unsigned count)
{
    int64_t begun = now_ms();

    while (server->notes->requests < count) {
        if (now_ms() - begun > 10 * 1000)
            fail_msg("%u requests instead of %u", server->notes->requests, count);
        (void)usleep(1000);
    }
}

static unsigned open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

/* ---- messages ---- */

static void whatever_size_a_message_has_it_comes_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 11, 16 * 1024 - 5, 16 * 1024, 65535, 65536, 300000, BW_MESSAGE_MAX };
    struct bw_client *client = client_of(world.server.port, 0);
    uint8_t *request = malloc(BW_MESSAGE_MAX);

    (void)state;
    for (size_t i = 0; i < BW_MESSAGE_MAX; i++)
        request[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bw_arena arena = { 0 };
        bw_bytes reply;

        expect(bw_client_call(client, "/test/Echo", bw_bytes_of(request, sizes[i]), false, &arena, &reply, NULL), BW_OK);
        assert_int_equal(reply.len, sizes[i]);
        assert_true(bw_bytes_equal(reply, bw_bytes_of(request, sizes[i])));
        bw_arena_clear(&arena);
    }
    assert_int_equal(stats_of(client).connections, 1);
    assert_int_equal(stats_of(client).calls, ARRAY_LEN(sizes));
    free(request);
    bw_client_free(client);
}

static void a_request_over_the_limit_is_not_sent(void **state)
{
    static const uint8_t request[BW_MESSAGE_MAX + 1];
    struct bw_client *client = client_of(world.server.port, 0);
    struct bw_arena arena = { 0 };
    bw_bytes reply;

    (void)state;
    expect(bw_client_call(client, "/test/Echo", bw_bytes_of(request, sizeof request), false, &arena, &reply, NULL), BW_TOO_LARGE);
    assert_int_equal(stats_of(client).connections, 0);
    bw_client_free(client);
}

static void a_reply_larger_than_its_arena_fails_alone(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);
    struct bw_arena arena = { .ceiling = 512 };
    uint8_t request[1024] = { 0 };
    bw_bytes reply;

    (void)state;
    expect(bw_client_call(client, "/test/Echo", bw_bytes_of(request, sizeof request), false, &arena, &reply, NULL), BW_NO_MEMORY);
    bw_arena_clear(&arena);
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(stats_of(client).connections, 1);
    bw_client_free(client);
}

/* ---- refusals ---- */

static void a_refusal_brings_its_details(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);
    struct bw_arena arena = { 0 };
    struct bw_refusal refusal;
    bw_bytes reply;

    (void)state;
    expect(bw_client_call(client, "/test/Refuse", bw_bytes_text("x"), true, &arena, &reply, &refusal), BW_WRONG_REGION);
    assert_string_equal(refusal.reason, "WRONG_REGION");
    assert_string_equal(refusal.home_region, "ch");
    assert_string_equal(refusal.field, "envelope");
    assert_int_equal(refusal.grpc_status, 9);
    assert_int_equal(stats_of(client).retries, 0);
    bw_arena_clear(&arena);
    bw_client_free(client);
}

static const struct { const char *why; uint8_t status; enum bw_code code; } bare[] = {
    { "a method that is not there",  12, BW_UNIMPLEMENTED },
    { "a message that is too large", 8,  BW_OVERLOADED },
    { "a role that may not",         7,  BW_NOT_PERMITTED },
    { "a failure without details",   13, BW_INTERNAL },
    { "a node that is going away",   14, BW_UNREACHABLE },
};

static void a_bare_status_has_its_result_and_message(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bare); i++) {
        struct bw_arena arena = { 0 };
        struct bw_refusal refusal;
        bw_bytes reply;

        print_message("%s\n", bare[i].why);
        expect(bw_client_call(client, "/test/Bare", bw_bytes_of(&bare[i].status, 1), false, &arena, &reply, &refusal), bare[i].code);
        assert_string_equal(refusal.reason, "");
        assert_string_equal(refusal.message, "no%0a");
        assert_int_equal(refusal.grpc_status, bare[i].status);
        bw_arena_clear(&arena);
    }
    bw_client_free(client);
}

/* ---- who the server is ---- */

static const struct { const char *why; struct test_leaf leaf; bool of_other_ca; enum bw_code code; } impostors[] = {
    { "a node of another region",          { .uri = "spiffe://example.org/region/us-east/node/n1" },     false, BW_SERVER_REGION },
    { "a region that ours begins with",    { .uri = "spiffe://example.org/region/eu/node/n1" },          false, BW_SERVER_REGION },
    { "an application of our region",      { .uri = APP },                                               false, BW_SERVER_REGION },
    { "an operator of our region",         { .uri = "spiffe://example.org/region/eu-central/operator/o" }, false, BW_SERVER_REGION },
    { "a node of another trust domain",    { .uri = "spiffe://example.com/region/eu-central/node/n1" },  false, BW_SERVER_REGION },
    { "a node of two regions",             { .uri = NODE, .second_uri = "spiffe://example.org/region/us-east/node/n1" }, false, BW_SERVER_REGION },
    { "a node that is named twice",        { .uri = NODE, .second_uri = NODE },                          false, BW_SERVER_REGION },
    { "a host name instead of an id",      { .dns = "localhost", .ip = "127.0.0.1" },                    false, BW_SERVER_REGION },
    { "a certificate without names",       { .uri = NULL },                                              false, BW_SERVER_REGION },
    { "a certificate of another CA",       { .uri = NODE },                                              true,  BW_TLS_REFUSED },
    { "another CA and another region",     { .uri = "spiffe://example.org/region/us-east/node/n1" },     true,  BW_TLS_REFUSED },
    { "a certificate that has expired",    { .uri = NODE, .begins_s = -7200, .ends_s = -60 },            false, BW_TLS_REFUSED },
    { "a certificate of tomorrow",         { .uri = NODE, .begins_s = 3600, .ends_s = 7200 },            false, BW_TLS_REFUSED },
};

static void an_impostor_hears_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(impostors); i++) {
        struct rude_server server = { .rudeness = RUDE_SILENT, .ca_file = world.ca_file, .certificate_file = test_path(world.folder, "impostor.pem"),
                                      .key_file = test_path(world.folder, "impostor.key") };

        print_message("%s\n", impostors[i].why);
        test_ca_issue(impostors[i].of_other_ca ? world.other_ca : world.ca, &impostors[i].leaf, server.certificate_file, server.key_file);
        rude_server_start(&server);
        struct bw_client *client = client_of(server.port, 3000);
        int64_t begun = now_ms();
        expect(call(client, "/test/Echo", true), impostors[i].code);
        assert_in_range(now_ms() - begun, 0, 1500); /* waiting would not help */
        bw_client_free(client);
        rude_server_stop(&server);
        assert_int_equal(server.connections, 1);
        assert_int_equal(server.bytes, 0);
    }
}

static void a_grpc_node_of_another_region_sees_no_request(void **state)
{
    struct echo_server abroad = world.server;

    (void)state;
    abroad.certificate_file = test_path(world.folder, "abroad.pem");
    abroad.key_file         = test_path(world.folder, "abroad.key");
    abroad.port             = 0;
    abroad.notes            = NULL;
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = "spiffe://example.org/region/us-east/node/n1", .ip = "127.0.0.1" }, abroad.certificate_file, abroad.key_file);
    echo_server_start(&abroad);
    struct bw_client *client = client_of(abroad.port, 3000);
    expect(call(client, "/test/Echo", true), BW_SERVER_REGION);
    assert_int_equal(abroad.notes->requests, 0);
    bw_client_free(client);
    echo_server_free(&abroad);
}

/* ---- who we are ---- */

static void a_node_that_refuses_our_certificate_says_so_at_once(void **state)
{
    struct bw_client_options options = options_for(&world.server.port, 1, 3000);
    unsigned before = world.server.notes->requests;

    (void)state;
    options.certificate_file = test_path(world.folder, "stranger.pem");
    options.key_file         = test_path(world.folder, "stranger.key");
    test_ca_issue(world.other_ca, &(struct test_leaf){ .uri = APP }, options.certificate_file, options.key_file);
    struct bw_client *client = new_client(&options);
    int64_t begun = now_ms();
    expect(call(client, "/test/Echo", true), BW_TLS_REFUSED);
    assert_in_range(now_ms() - begun, 0, 1500);
    assert_int_equal(world.server.notes->requests, before);
    bw_client_free(client);
}

static void the_pin_is_the_passphrase_of_the_key(void **state)
{
    struct bw_client_options options = options_for(&world.server.port, 1, 0);
    bool encrypted = false;

    (void)state;
    options.certificate_file = test_path(world.folder, "pin.pem");
    options.key_file         = test_path(world.folder, "pin.key");
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = APP, .passphrase = "123456" }, options.certificate_file, options.key_file);
    struct bw_client *client = new_client(&options);
    assert_true(bw_ok(bw_client_key_is_encrypted(client, &encrypted)) && encrypted);
    expect(call(client, "/test/Echo", true), BW_CREDENTIAL_INVALID);
    expect(bw_client_unlock(client, bw_bytes_text("654321")), BW_CREDENTIAL_INVALID);
    expect(call(client, "/test/Echo", true), BW_CREDENTIAL_INVALID);
    expect(bw_client_unlock(client, bw_bytes_text("123456")), BW_OK);
    expect(call(client, "/test/Echo", true), BW_OK);
    expect(bw_client_unlock(client, bw_bytes_text("654321")), BW_CREDENTIAL_INVALID); /* what was there stays */
    expect(call(client, "/test/Echo", true), BW_OK);
    expect(bw_client_unlock(client, bw_bytes_text("")), BW_OK);
    expect(call(client, "/test/Echo", true), BW_CREDENTIAL_INVALID);
    bw_client_free(client);
}

static void a_key_without_passphrase_needs_no_pin(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);
    bool encrypted = true;

    (void)state;
    assert_true(bw_ok(bw_client_key_is_encrypted(client, &encrypted)) && !encrypted);
    bw_client_free(client);
}

static const struct { const char *why; const char *key; mode_t mode; const char *certificate; const char *ca; } credentials[] = {
    { "a key that the group can write",   "lax.key",     0660, NULL,        NULL },
    { "a key that others can read",       "lax.key",     0604, NULL,        NULL },
    { "a key that others can write",      "lax.key",     0602, NULL,        NULL },
    { "a key that is not there",          "none.key",    0,    NULL,        NULL },
    { "a key of another certificate",     "lax.key",     0600, "app.pem",   NULL },
    { "a certificate that is not there",  NULL,          0,    "none.pem",  NULL },
    { "a certificate that is a key",      NULL,          0,    "app.key",   NULL },
    { "a CA that is not there",           NULL,          0,    NULL,        "none.pem" },
    { "a CA file without certificate",    NULL,          0,    NULL,        "app.key" },
    { "a folder instead of a CA file",    NULL,          0,    NULL,        "" },
};

static void a_credential_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = APP }, test_path(world.folder, "lax.pem"), test_path(world.folder, "lax.key"));
    for (size_t i = 0; i < ARRAY_LEN(credentials); i++) {
        struct bw_client_options options = options_for(&world.server.port, 1, 3000);

        print_message("%s\n", credentials[i].why);
        if (credentials[i].key != NULL) {
            options.key_file         = test_path(world.folder, credentials[i].key);
            options.certificate_file = test_path(world.folder, "lax.pem");
            (void)chmod(options.key_file, credentials[i].mode);
        }
        if (credentials[i].certificate != NULL)
            options.certificate_file = test_path(world.folder, credentials[i].certificate);
        if (credentials[i].ca != NULL)
            options.ca_file = test_path(world.folder, credentials[i].ca);
        struct bw_client *client = new_client(&options);
        expect(call(client, "/test/Echo", true), BW_CREDENTIAL_INVALID);
        bw_client_free(client);
    }
}

static const struct { const char *why; const char *endpoint; } no_endpoints[] = {
    { "no port", "localhost" },          { "an empty host", ":443" },   { "port 0", "localhost:0" },   { "a port beyond 65535", "localhost:65536" },
    { "a word for a port", "host:grpc" }, { "bare IPv6", "::1:443" },    { "an open bracket", "[::1:443" }, { "a URL", "https://host:443" },
};

static void an_endpoint_is_host_and_port(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no_endpoints); i++) {
        struct bw_client_options options = options_for(NULL, 0, 0);
        struct bw_client *client = NULL;

        print_message("%s\n", no_endpoints[i].why);
        options.endpoints[0] = no_endpoints[i].endpoint;
        expect(bw_client_new(&options, &client), BW_CONFIG_INVALID);
        assert_null(client);
    }
}

/* ---- servers that misbehave ---- */

static const struct { const char *why; enum rudeness rudeness; enum bw_code code; } rude[] = {
    { "hangs up on everybody",             RUDE_HANGS_UP,       BW_UNREACHABLE },
    { "speaks something else than TLS",    RUDE_NO_TLS,         BW_TLS_REFUSED },
    { "speaks TLS 1.2",                    RUDE_OLD_TLS,        BW_TLS_REFUSED },
    { "speaks something inside TLS",       RUDE_NO_HTTP2,       BW_PROTOCOL_BROKEN },
    { "does not offer HTTP/2",             RUDE_OTHER_PROTOCOL, BW_TLS_REFUSED },
    { "leaves when the request comes",     RUDE_LEAVES,         BW_UNREACHABLE },
    { "stops reading",                     RUDE_SILENT,         BW_UNREACHABLE },
    { "never answers",                     RUDE_DEAF,           BW_UNREACHABLE },
    { "compresses though nobody asked",    RUDE_COMPRESSES,     BW_PROTOCOL_BROKEN },
    { "announces an endless message",      RUDE_ENDLESS,        BW_PROTOCOL_BROKEN },
    { "ends the stream without an answer", RUDE_NO_ANSWER,      BW_PROTOCOL_BROKEN },
};

static void a_server_that_misbehaves_harms_only_the_call(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    for (size_t i = 0; i < ARRAY_LEN(rude); i++) {
        struct rude_server server = { .rudeness = rude[i].rudeness, .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };

        print_message("%s\n", rude[i].why);
        rude_server_start(&server);
        struct bw_client *client = client_of(server.port, 400);
        int64_t begun = now_ms();
        expect(call(client, "/test/Echo", false), rude[i].code);
        assert_in_range(now_ms() - begun, 0, 600);
        bw_client_free(client);
        rude_server_stop(&server);
    }
    assert_int_equal(world.sigpipes, 0);
    assert_int_equal(open_descriptors(), before);
}

static void *send_much(void *data)
{
    static const uint8_t request[BW_MESSAGE_MAX];
    struct bw_arena arena = { 0 };
    bw_bytes reply;
    enum bw_code code = bw_client_call(data, "/test/Echo", bw_bytes_of(request, sizeof request), false, &arena, &reply, NULL).code;

    bw_arena_clear(&arena);
    return (void *)(uintptr_t)code;
}

/* Together they fill the client's socket, so that there is something left to send into it after the reset. */
static void a_reset_in_the_middle_of_large_requests_raises_no_signal(void **state)
{
    struct rude_server server = { .rudeness = RUDE_LEAVES, .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };
    pthread_t threads[8];
    void *code;

    (void)state;
    rude_server_start(&server);
    struct bw_client *client = client_of(server.port, 1000);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_much, client), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        (void)pthread_join(threads[i], &code);
        assert_int_equal((uintptr_t)code, BW_UNREACHABLE);
    }
    bw_client_free(client);
    rude_server_stop(&server);
    assert_int_equal(world.sigpipes, 0);
}

static void a_server_that_never_answers_is_told_to_stop(void **state)
{
    struct rude_server server = { .rudeness = RUDE_DEAF, .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };

    (void)state;
    rude_server_start(&server);
    struct bw_client *client = client_of(server.port, 200);
    expect(call(client, "/test/Echo", true), BW_DEADLINE);
    bw_client_free(client);
    rude_server_stop(&server);
    assert_int_equal(server.cancelled, 1);
}

static void a_session_is_resumed(void **state)
{
    struct rude_server server = { .rudeness = RUDE_LEAVES, .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };

    (void)state;
    rude_server_start(&server);
    struct bw_client *client = client_of(server.port, 1000);
    expect(call(client, "/test/Echo", false), BW_UNREACHABLE);
    expect(call(client, "/test/Echo", false), BW_UNREACHABLE);
    bw_client_free(client);
    rude_server_stop(&server);
    assert_int_equal(server.connections, 2);
    assert_int_equal(server.resumed, 1);
}

/* ---- time ---- */

/* On a busy machine a wake-up may come late; the best of a few calls tells what the client itself adds. */
static void the_deadline_holds_and_the_server_knows_it(void **state)
{
    struct bw_client *client = client_of(world.server.port, 300);
    int64_t best = INT64_MAX;

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    for (int i = 0; i < 4; i++) {
        int64_t begun = now_ms();
        expect(call(client, "/test/Hold", true), BW_DEADLINE);
        int64_t took = now_ms() - begun;
        assert_in_range(took, 290, 450); /* the server may see it come first */
        assert_in_range(world.server.notes->deadline_ms, 200, 300);
        best = took < best ? took : best;
    }
    assert_in_range(best, 290, 303);
    bw_client_free(client);
}

static void a_server_that_is_not_there_is_waited_for_until_the_deadline(void **state)
{
    struct echo_server server = world.server;

    (void)state;
    server.port  = 0;
    server.notes = NULL;
    echo_server_start(&server);
    echo_server_kill(&server);
    struct bw_client *client = client_of(server.port, 300);
    int64_t begun = now_ms();
    expect(call(client, "/test/Echo", false), BW_UNREACHABLE);
    assert_in_range(now_ms() - begun, 299, 450);
    bw_client_free(client);
    echo_server_free(&server);
}

/* deadline: in milliseconds; of the shortest calls it says itself that the node is silent */
static void a_node_that_stands_still_is_left_after_one_call(void **state)
{
    static const struct { unsigned deadline; enum bw_code code; } calls[] = { { 200, BW_DEADLINE }, { 400, BW_UNREACHABLE } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct bw_client *client = client_of(world.server.port, calls[i].deadline);
        expect(call(client, "/test/Echo", false), BW_OK);
        echo_server_signal(&world.server, SIGSTOP);
        enum bw_code code = call(client, "/test/Echo", false).code;
        echo_server_signal(&world.server, SIGCONT);
        assert_int_equal(code, calls[i].code);
        expect(call(client, "/test/Echo", false), BW_OK);
        assert_int_equal(stats_of(client).connections, 2);
        bw_client_free(client);
    }
}

static void an_operation_that_takes_its_time_is_no_silence(void **state)
{
    struct bw_client *client = client_of(world.server.port, 800);

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    expect(call(client, "/test/Hold", true), BW_DEADLINE); /* three times it is asked for a sign of life, and gives one */
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(stats_of(client).connections, 1);
    bw_client_free(client);
}

static void an_idle_connection_is_not_trusted(void **state)
{
    struct bw_client_options options = options_for(&world.server.port, 1, 0);

    (void)state;
    options.idle_ms = 1;
    struct bw_client *client = new_client(&options);
    expect(call(client, "/test/Echo", false), BW_OK);
    for (int64_t begun = now_ms(); now_ms() - begun < 5;)
        ;
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(stats_of(client).connections, 2);
    bw_client_free(client);
}

/* ---- servers that come and go ---- */

static struct echo_server own_server(void)
{
    struct echo_server server = world.server;

    server.port  = 0;
    server.pid   = 0;
    server.notes = NULL;
    echo_server_start(&server);
    return server;
}

static void a_crash_between_two_calls_is_unseen(void **state)
{
    struct echo_server server = own_server();
    struct bw_client *client = client_of(server.port, 3000);

    (void)state;
    for (int i = 0; i < 3; i++) {
        expect(call(client, "/test/Echo", false), BW_OK);
        echo_server_kill(&server);
        echo_server_start(&server);
    }
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(stats_of(client).connections, 4);
    assert_int_equal(stats_of(client).retries, 0);
    bw_client_free(client);
    echo_server_free(&server);
}

static void *restart_when_it_died(void *data)
{
    struct echo_server *server = data;

    echo_server_reap(server);
    echo_server_start(server);
    return NULL;
}

/* It says goodbye and waits for its clients to go; the next call notices, and goes. The C core cancels what arrives
 * after its goodbye, hence a call that may be repeated. */
static void a_drain_and_restart_is_unseen(void **state)
{
    struct echo_server server = own_server();
    struct bw_client *client = client_of(server.port, 3000);
    pthread_t thread;

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    echo_server_signal(&server, SIGTERM);
    assert_int_equal(pthread_create(&thread, NULL, restart_when_it_died, &server), 0);
    while (stats_of(client).connections < 2)
        expect(call(client, "/test/Echo", true), BW_OK);
    (void)pthread_join(thread, NULL);
    bw_client_free(client);
    echo_server_free(&server);
}

static void a_server_that_dies_in_mid_call_is_asked_again_if_it_may(void **state)
{
    struct echo_server server = own_server();
    struct bw_client *client = client_of(server.port, 5000);
    pthread_t thread;

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(pthread_create(&thread, NULL, restart_when_it_died, &server), 0);
    expect(call(client, "/test/Die", true), BW_OK);
    (void)pthread_join(thread, NULL);
    assert_int_equal(stats_of(client).retries, 1);
    bw_client_free(client);
    echo_server_free(&server);
}

static void a_server_that_dies_in_mid_call_is_not_asked_again_otherwise(void **state)
{
    struct echo_server server = own_server();
    struct bw_client *client = client_of(server.port, 5000);

    (void)state;
    expect(call(client, "/test/Die", false), BW_UNREACHABLE);
    assert_int_equal(stats_of(client).retries, 0);
    echo_server_reap(&server);
    bw_client_free(client);
    echo_server_free(&server);
}

static void a_draining_node_is_asked_again_if_it_may(void **state)
{
    struct echo_server server = own_server();
    struct bw_client *client = client_of(server.port, 3000);

    (void)state;
    expect(call(client, "/test/Cancel", true), BW_OK);
    server.notes->done_once = false;
    expect(call(client, "/test/Cancel", false), BW_SHUTTING_DOWN);
    assert_int_equal(stats_of(client).retries, 1);
    bw_client_free(client);
    echo_server_free(&server);
}

static void another_endpoint_takes_over(void **state)
{
    struct echo_server first = own_server(), second = own_server();
    int ports[] = { first.port, second.port };
    struct bw_client_options options = options_for(ports, 2, 3000);
    struct bw_client *client = new_client(&options);

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(first.notes->requests, 1);
    echo_server_kill(&first);
    int64_t begun = now_ms();
    for (int i = 0; i < 5; i++)
        expect(call(client, "/test/Echo", false), BW_OK);
    assert_in_range(now_ms() - begun, 0, 500);
    assert_int_equal(second.notes->requests, 5);
    echo_server_kill(&second);
    echo_server_start(&first);
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(first.notes->requests, 2);
    bw_client_free(client);
    echo_server_free(&first);
    echo_server_free(&second);
}

static void another_endpoint_answers_for_one_that_fell_silent(void **state)
{
    struct echo_server first = own_server();
    int ports[] = { first.port, world.server.port };
    struct bw_client_options options = options_for(ports, 2, 1000);
    struct bw_client *client = new_client(&options);

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(first.notes->requests, 1);
    echo_server_signal(&first, SIGSTOP);
    int64_t begun = now_ms();
    bw_result silent = call(client, "/test/Echo", true);
    int64_t took = now_ms() - begun;
    begun = now_ms();
    bw_result after = call(client, "/test/Echo", false);
    int64_t took_after = now_ms() - begun;
    echo_server_signal(&first, SIGCONT);
    expect(silent, BW_OK);
    assert_in_range(took, 500, 900); /* a quarter to notice, a quarter to be sure */
    expect(after, BW_OK);
    assert_in_range(took_after, 0, 200);
    bw_client_free(client);
    echo_server_free(&first);
}

static void an_endpoint_of_another_region_does_not_spoil_the_others(void **state)
{
    struct rude_server abroad = { .rudeness = RUDE_SILENT, .ca_file = world.ca_file, .certificate_file = test_path(world.folder, "abroad.pem"),
                                  .key_file = test_path(world.folder, "abroad.key") };

    (void)state;
    test_ca_issue(world.ca, &(struct test_leaf){ .uri = "spiffe://example.org/region/us-east/node/n1" }, abroad.certificate_file, abroad.key_file);
    rude_server_start(&abroad);
    int ports[] = { abroad.port, world.server.port };
    struct bw_client_options options = options_for(ports, 2, 3000);
    struct bw_client *client = new_client(&options);
    expect(call(client, "/test/Echo", false), BW_OK);
    bw_client_free(client);
    rude_server_stop(&abroad);
    assert_int_equal(abroad.bytes, 0);
}

/* A kernel that accepts for a process that does not is what a hung node looks like. */
static void an_endpoint_that_hangs_takes_at_most_half_the_time(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int mute = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_true(bind(mute, (struct sockaddr *)&address, len) == 0 && listen(mute, 4) == 0 && getsockname(mute, (struct sockaddr *)&address, &len) == 0);
    int ports[] = { ntohs(address.sin_port), world.server.port };
    struct bw_client_options options = options_for(ports, 2, 600);
    struct bw_client *client = new_client(&options);
    int64_t begun = now_ms();
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_in_range(now_ms() - begun, 299, 550);
    bw_client_free(client);
    (void)close(mute);
}

/* ---- many threads ---- */

struct worker {
    struct bw_client *client;
    unsigned          calls, number;
    atomic_uint      *failed;
};

static void *work(void *data)
{
    const struct worker *worker = data;

    for (unsigned i = 0; i < worker->calls; i++) {
        struct bw_arena arena = { 0 };
        unsigned request[64] = { worker->number, i };
        bw_bytes reply = { 0 }, bytes = bw_bytes_of(request, sizeof request);
        bw_result r = bw_client_call(worker->client, "/test/Echo", bytes, true, &arena, &reply, NULL);

        if (!bw_ok(r) || !bw_bytes_equal(reply, bytes)) {
            (*worker->failed)++;
            print_message("%s: %s\n", bw_code_row(r.code)->name, r.what ? r.what : "another reply");
        }
        bw_arena_clear(&arena);
    }
    return NULL;
}

enum { WORKERS = 16 };

static void start_workers(struct bw_client *client, unsigned calls, struct worker workers[WORKERS], pthread_t threads[WORKERS], atomic_uint *failed)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ client, calls, i, failed };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
}

static void join_workers(const pthread_t threads[WORKERS])
{
    for (unsigned i = 0; i < WORKERS; i++)
        (void)pthread_join(threads[i], NULL);
}

static void many_threads_share_a_connection(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    atomic_uint failed = 0;

    (void)state;
    start_workers(client, 500, workers, threads, &failed);
    join_workers(threads);
    assert_int_equal(failed, 0);
    assert_int_equal(stats_of(client).connections, 1);
    assert_int_equal(stats_of(client).calls, WORKERS * 500);
    bw_client_free(client);
}

static void callers_queue_when_the_server_takes_few_streams(void **state)
{
    struct echo_server server = world.server;
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    atomic_uint failed = 0;

    (void)state;
    server.port         = 0;
    server.notes        = NULL;
    server.most_streams = 2;
    echo_server_start(&server);
    struct bw_client *client = client_of(server.port, 0);
    start_workers(client, 50, workers, threads, &failed);
    join_workers(threads);
    assert_int_equal(failed, 0);
    assert_int_equal(stats_of(client).connections, 1);
    assert_int_equal(stats_of(client).retries, 0);
    bw_client_free(client);
    echo_server_free(&server);
}

static void *hold(void *data)
{
    return (void *)(uintptr_t)call(data, "/test/Hold", true).code;
}

/* The server takes one stream and holds it; at its deadline it is reset, and that lets the next one through. */
static void a_call_that_gives_up_makes_room(void **state)
{
    struct echo_server server = world.server;
    pthread_t thread;
    void *code;

    (void)state;
    server.port         = 0;
    server.notes        = NULL;
    server.most_streams = 1;
    echo_server_start(&server);
    struct bw_client *client = client_of(server.port, 300);
    assert_int_equal(pthread_create(&thread, NULL, hold, client), 0);
    await_requests(&server, 1);
    (void)usleep(50 * 1000); /* so that the second call has time left when the first gives up */
    expect(call(client, "/test/Echo", false), BW_OK);
    assert_int_equal(server.notes->requests, 2);
    (void)pthread_join(thread, &code);
    assert_int_equal((uintptr_t)code, BW_DEADLINE);
    bw_client_free(client);
    echo_server_free(&server);
}

static void kills_and_restarts_lose_no_retryable_call(void **state)
{
    struct echo_server first = own_server(), second = own_server();
    int ports[] = { first.port, second.port };
    struct bw_client_options options = options_for(ports, 2, 5000);
    struct bw_client *client = new_client(&options);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    atomic_uint failed = 0;

    (void)state;
    start_workers(client, 1000, workers, threads, &failed);
    for (int i = 0; i < 4; i++) {
        struct echo_server *server = i % 2 == 0 ? &first : &second;
        unsigned seen = server->notes->requests;
        for (int64_t begun = now_ms(); server->notes->requests < seen + 50 && now_ms() - begun < 1000;)
            (void)usleep(1000);
        echo_server_kill(server);
        echo_server_start(server);
    }
    join_workers(threads);
    assert_int_equal(failed, 0);
    bw_client_free(client);
    echo_server_free(&first);
    echo_server_free(&second);
}

static void cancelling_frees_those_inside(void **state)
{
    struct bw_client *client = client_of(world.server.port, 5000);
    pthread_t threads[4];
    unsigned before = world.server.notes->requests;
    void *code;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold, client), 0);
    await_requests(&world.server, before + ARRAY_LEN(threads));
    int64_t begun = now_ms();
    bw_client_cancel(client);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        (void)pthread_join(threads[i], &code);
        assert_int_equal((uintptr_t)code, BW_CANCELLED);
    }
    assert_in_range(now_ms() - begun, 0, 200);
    expect(call(client, "/test/Echo", true), BW_CANCELLED);
    bw_client_free(client);
}

static void freeing_waits_for_those_inside(void **state)
{
    struct bw_client_options options = options_for(&world.server.port, 1, 5000);
    options.library = OSSL_LIB_CTX_new(); /* which outlives the thread, as client.h asks for */
    struct bw_client *client = new_client(&options);
    unsigned before = world.server.notes->requests;
    pthread_t thread;
    void *code;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, hold, client), 0);
    await_requests(&world.server, before + 1);
    bw_client_free(client);
    (void)pthread_join(thread, &code);
    assert_int_equal((uintptr_t)code, BW_CANCELLED);
    OSSL_LIB_CTX_free(options.library);
}

/* ---- fork ---- */

/* AddressSanitizer's allocator does not take its locks around fork, as the C library's does. */
#if defined(__SANITIZE_ADDRESS__)
#define ALLOCATOR_HANGS_AFTER_FORK true
#elif defined(__has_feature)
#define ALLOCATOR_HANGS_AFTER_FORK __has_feature(address_sanitizer)
#else
#define ALLOCATOR_HANGS_AFTER_FORK false
#endif

/* The child: lets go of its parent's client and makes its own. Exits with 0 when all is well. */
static void live_as_child(struct bw_client *parents)
{
    struct bw_client_options options = options_for(&world.server.port, 1, 5000);
    struct bw_client *client = NULL;

    bw_client_abandon(parents);
    if (!bw_ok(bw_client_new(&options, &client)))
        _exit(1);
    for (int i = 0; i < 3; i++)
        if (call(client, "/test/Echo", true).code != BW_OK)
            _exit(2);
    bw_client_free(client);
    _exit(0);
}

static void fork_once(struct bw_client *client)
{
    int status = -1;

    bw_client_before_fork(client);
    pid_t child = fork();
    if (child == 0)
        live_as_child(client);
    bw_client_after_fork(client);
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void parent_and_child_both_go_on(void **state)
{
    struct bw_client *client = client_of(world.server.port, 5000);

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    for (int i = 0; i < 10; i++) {
        fork_once(client);
        expect(call(client, "/test/Echo", false), BW_OK);
    }
    assert_int_equal(stats_of(client).connections, 1);
    bw_client_free(client);
}

static void forking_while_threads_call_disturbs_nobody(void **state)
{
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    atomic_uint failed = 0;

    (void)state;
    if (ALLOCATOR_HANGS_AFTER_FORK)
        skip();
    struct bw_client *client = client_of(world.server.port, 5000);
    start_workers(client, 400, workers, threads, &failed);
    for (int i = 0; i < 50; i++)
        fork_once(client);
    join_workers(threads);
    assert_int_equal(failed, 0);
    assert_int_equal(stats_of(client).connections, 1);
    assert_int_equal(stats_of(client).retries, 0);
    bw_client_free(client);
}

/* ---- the host ---- */

static void the_host_notices_nothing(void **state)
{
    struct bw_client *client = client_of(world.server.port, 0);
    unsigned descriptors;

    (void)state;
    expect(call(client, "/test/Echo", false), BW_OK);
    bw_client_free(client);
    descriptors = open_descriptors();
    for (int i = 0; i < 20; i++) {
        client = client_of(world.server.port, 0);
        ERR_clear_error();
        ERR_raise(ERR_LIB_USER, 42);
        errno = ENOTTY;
        expect(call(client, i % 2 ? "/test/Echo" : "/test/Refuse", false), i % 2 ? BW_OK : BW_WRONG_REGION);
        expect(bw_client_unlock(client, bw_bytes_text("not encrypted")), BW_OK);
        assert_int_equal(errno, ENOTTY);
        assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
        assert_int_equal(ERR_get_error(), 0);
        bw_client_free(client);
    }
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(world.sigpipes, 0);
}

static void a_failed_handshake_leaves_the_error_queue_alone(void **state)
{
    struct rude_server server = { .rudeness = RUDE_OLD_TLS, .ca_file = world.ca_file, .certificate_file = world.node_certificate, .key_file = world.node_key };

    (void)state;
    rude_server_start(&server);
    struct bw_client *client = client_of(server.port, 1000);
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    expect(call(client, "/test/Echo", false), BW_TLS_REFUSED);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
    assert_int_equal(ERR_get_error(), 0);
    bw_client_free(client);
    rude_server_stop(&server);
}

int main(int argc, char **argv)
{
    echo_server_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_size_a_message_has_it_comes_back),
        cmocka_unit_test(a_request_over_the_limit_is_not_sent),
        cmocka_unit_test(a_reply_larger_than_its_arena_fails_alone),
        cmocka_unit_test(a_refusal_brings_its_details),
        cmocka_unit_test(a_bare_status_has_its_result_and_message),
        cmocka_unit_test(an_impostor_hears_nothing),
        cmocka_unit_test(a_grpc_node_of_another_region_sees_no_request),
        cmocka_unit_test(a_node_that_refuses_our_certificate_says_so_at_once),
        cmocka_unit_test(the_pin_is_the_passphrase_of_the_key),
        cmocka_unit_test(a_key_without_passphrase_needs_no_pin),
        cmocka_unit_test(a_credential_that_cannot_be_used_is_named),
        cmocka_unit_test(an_endpoint_is_host_and_port),
        cmocka_unit_test(a_server_that_misbehaves_harms_only_the_call),
        cmocka_unit_test(a_reset_in_the_middle_of_large_requests_raises_no_signal),
        cmocka_unit_test(a_server_that_never_answers_is_told_to_stop),
        cmocka_unit_test(a_session_is_resumed),
        cmocka_unit_test(the_deadline_holds_and_the_server_knows_it),
        cmocka_unit_test(a_server_that_is_not_there_is_waited_for_until_the_deadline),
        cmocka_unit_test(a_node_that_stands_still_is_left_after_one_call),
        cmocka_unit_test(an_operation_that_takes_its_time_is_no_silence),
        cmocka_unit_test(an_idle_connection_is_not_trusted),
        cmocka_unit_test(a_crash_between_two_calls_is_unseen),
        cmocka_unit_test(a_drain_and_restart_is_unseen),
        cmocka_unit_test(a_server_that_dies_in_mid_call_is_asked_again_if_it_may),
        cmocka_unit_test(a_server_that_dies_in_mid_call_is_not_asked_again_otherwise),
        cmocka_unit_test(a_draining_node_is_asked_again_if_it_may),
        cmocka_unit_test(another_endpoint_takes_over),
        cmocka_unit_test(another_endpoint_answers_for_one_that_fell_silent),
        cmocka_unit_test(an_endpoint_of_another_region_does_not_spoil_the_others),
        cmocka_unit_test(an_endpoint_that_hangs_takes_at_most_half_the_time),
        cmocka_unit_test(many_threads_share_a_connection),
        cmocka_unit_test(callers_queue_when_the_server_takes_few_streams),
        cmocka_unit_test(a_call_that_gives_up_makes_room),
        cmocka_unit_test(kills_and_restarts_lose_no_retryable_call),
        cmocka_unit_test(cancelling_frees_those_inside),
        cmocka_unit_test(freeing_waits_for_those_inside),
        cmocka_unit_test(parent_and_child_both_go_on),
        cmocka_unit_test(forking_while_threads_call_disturbs_nobody),
        cmocka_unit_test(the_host_notices_nothing),
        cmocka_unit_test(a_failed_handshake_leaves_the_error_queue_alone),
    };
    return cmocka_run_group_tests(tests, build_world, raze_world);
}
