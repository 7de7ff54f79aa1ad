/* Load that remembers what it was given: threads that encrypt with one key until standard input ends, and write a line for
 * each result they received: index in the log, and request id. Refusals and lost connections are tried again, with a new id.
 *
 *     load CONFIG KEY THREADS > results
 *
 * CONFIG is a provider's configuration; its first section is used. The log must hold a record for every line. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "provider_conf.h"
#include "wire.h"

enum { THREADS_MAX = 64 };

struct load {
    struct bw_client *client;
    const char       *key;
    atomic_bool       stop;
};

static bool encrypt_once(struct load *load, struct bw_arena *arena, char line[static 96])
{
    static const char plaintext[] = "what every application has: thirty-two bytes";
    Bailiwick__V1__EncryptRequest request = BAILIWICK__V1__ENCRYPT_REQUEST__INIT;
    Bailiwick__V1__KeyRef key = BAILIWICK__V1__KEY_REF__INIT;
    Bailiwick__V1__Mechanism mechanism = BAILIWICK__V1__MECHANISM__INIT;
    uint8_t id[BW_REQUEST_ID_LEN];
    char hex[2 * BW_REQUEST_ID_LEN + 1];
    ProtobufCMessage *message;
    struct bw_refusal refusal;

    if (getrandom(id, sizeof id, 0) != sizeof id)
        abort();
    key.name           = (char *)(uintptr_t)load->key;
    mechanism.type     = BAILIWICK__V1__MECHANISM_TYPE__AES_GCM;
    mechanism.tag_bits = 128;
    request.request_id = bw_wire_data(bw_bytes_of(id, sizeof id));
    request.key        = &key;
    request.mechanism  = &mechanism;
    request.plaintext  = bw_wire_data(bw_bytes_of(plaintext, 32));
    if (!bw_ok(bw_call(load->client, bw_method_by_name("Encrypt"), &request.base, arena, &message, &refusal)))
        return false;

    const Bailiwick__V1__EncryptReply *reply = (const void *)message;
    bw_hex(bw_bytes_of(id, sizeof id), hex);
    (void)snprintf(line, 96, "%llu %s\n", (unsigned long long)reply->receipt->index, hex);
    return true;
}

static void *work(void *self)
{
    struct load *load = self;
    char line[96];

    while (!atomic_load(&load->stop)) {
        struct bw_arena arena = { 0 };
        /* one write a line: lines of several threads do not mix */
        if (encrypt_once(load, &arena, line) && write(STDOUT_FILENO, line, strlen(line)) < 0)
            abort();
        bw_arena_clear(&arena);
    }
    return NULL;
}

static void wait_for_end_of_input(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    struct load load = { 0 };
    struct bw_conf conf = { 0 };
    char message[BW_CONF_MESSAGE_MAX];

    if (argc != 4 || atoi(argv[3]) < 1 || atoi(argv[3]) > THREADS_MAX) {
        (void)fprintf(stderr, "usage: load CONFIG KEY THREADS\n");
        return 2;
    }
    size_t count = (size_t)atoi(argv[3]);
    if (!bw_ok(bw_conf_load(argv[1], &conf, message))) {
        (void)fprintf(stderr, "load: %s\n", message);
        return 2;
    }
    load.key = argv[2];
    struct bw_client_options options = bw_conf_client_options(&conf.slots[0]);
    if (!bw_ok(bw_client_new(&options, &load.client)))
        return 2;
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, &load) != 0)
            return 2;
    wait_for_end_of_input();
    atomic_store(&load.stop, true);
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    bw_client_free(load.client);
    bw_conf_clear(&conf);
    return 0;
}
