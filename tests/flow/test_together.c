/* Threads of one client that call at the same moment: small operations then share a message, and those that no Batch carries must
 * not be put into one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "bailiwick/pkcs11.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

enum { THREADS = 8, ROUNDS = 50, LENGTH = 32 };

static struct live       live;
static struct bw_client *app;

/* ---- the operations: each is made by all threads at once; what it answers is right, or the thread stops ---- */

static uint8_t value[LENGTH];
static Bailiwick__V1__SessionKeyTemplate template = BAILIWICK__V1__SESSION_KEY_TEMPLATE__INIT;
static Bailiwick__V1__Mechanism generator = BAILIWICK__V1__MECHANISM__INIT;

static ProtobufCBinaryData new_id(struct bw_arena *arena)
{
    uint8_t *id = bw_arena_alloc(arena, BW_REQUEST_ID_LEN);

    arc4random_buf(id, BW_REQUEST_ID_LEN);
    return bw_wire_data(bw_bytes_of(id, BW_REQUEST_ID_LEN));
}

static bool draws(struct bw_arena *arena, enum bw_code *ret_code)
{
    Bailiwick__V1__RandomRequest request = BAILIWICK__V1__RANDOM_REQUEST__INIT;

    request.request_id = new_id(arena);
    request.length     = LENGTH;
    const Bailiwick__V1__RandomReply *reply = (const void *)live_call(app, BW_METHOD_NR(Random), &request.base, arena, ret_code);
    return reply != NULL && reply->random.len == LENGTH;
}

static bool is_sealed(const Bailiwick__V1__SealedKey *key)
{
    return key != NULL && key->sealed.len > LENGTH && key->length == LENGTH;
}

static bool generates(struct bw_arena *arena, enum bw_code *ret_code)
{
    Bailiwick__V1__GenerateKeyRequest request = BAILIWICK__V1__GENERATE_KEY_REQUEST__INIT;

    request.request_id = new_id(arena);
    request.mechanism  = &generator;
    request.template_  = &template;
    const Bailiwick__V1__GenerateKeyReply *reply = (const void *)live_call(app, BW_METHOD_NR(GenerateKey), &request.base, arena, ret_code);
    return reply != NULL && is_sealed(reply->key);
}

static bool imports(struct bw_arena *arena, enum bw_code *ret_code)
{
    Bailiwick__V1__ImportSessionKeyRequest request = BAILIWICK__V1__IMPORT_SESSION_KEY_REQUEST__INIT;

    request.request_id = new_id(arena);
    request.value      = bw_wire_data(bw_bytes_of(value, sizeof value));
    request.template_  = &template;
    const Bailiwick__V1__ImportSessionKeyReply *reply = (const void *)live_call(app, BW_METHOD_NR(ImportSessionKey), &request.base, arena, ret_code);
    return reply != NULL && is_sealed(reply->key);
}

static const struct operation { const char *why; bool (*run)(struct bw_arena *, enum bw_code *); bool shares; } operations[] = {
    { "random bytes share messages",              draws,     true  },
    { "so do keys of a session that are made",    generates, true  },
    { "those that are brought have none to share", imports,  false },
};

struct worker { const struct operation *operation; unsigned right; enum bw_code code; };

static void *work(void *data)
{
    struct worker *self = data;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bw_arena arena = { 0 };
        self->right += self->operation->run(&arena, &self->code);
        bw_arena_clear(&arena);
    }
    return NULL;
}

static uint64_t calls(void)
{
    struct bw_client_stats stats;
    bw_client_stats(app, &stats);
    return stats.calls;
}

static void threads_that_call_together_all_get_their_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        struct worker workers[THREADS];
        pthread_t threads[THREADS];
        uint64_t before = calls();

        print_message("%s\n", operations[i].why);
        for (size_t t = 0; t < THREADS; t++) {
            workers[t] = (struct worker){ .operation = &operations[i] };
            assert_int_equal(pthread_create(&threads[t], NULL, work, &workers[t]), 0);
        }
        for (size_t t = 0; t < THREADS; t++) {
            (void)pthread_join(threads[t], NULL);
            assert_int_equal(workers[t].code, BW_OK);
            assert_int_equal(workers[t].right, ROUNDS);
        }
        assert_true(operations[i].shares ? calls() - before < THREADS * ROUNDS : calls() - before == THREADS * ROUNDS);
    }
}

/* ---- the region ---- */

static int setup(void **state)
{
    Bailiwick__V1__CreateTenantRequest request = BAILIWICK__V1__CREATE_TENANT_REQUEST__INIT;
    struct bw_arena arena = { 0 };

    (void)state;
    live_make(&live);
    struct bw_client *operator = live_caller(&live, LIVE_TRUST LIVE_HOME "/operator/ops");
    app = live_caller(&live, LIVE_TRUST LIVE_HOME "/tenant/acme/app/web");
    request.name       = (char *)(uintptr_t)"acme";
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(operator, BW_METHOD_NR(CreateTenant), &request.base, &arena);
    bw_client_free(operator);
    bw_arena_clear(&arena);

    generator.type    = (Bailiwick__V1__MechanismType)CKM_AES_KEY_GEN;
    template.key_type = CKK_AES;
    template.length   = LENGTH;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bw_client_free(app);
    live_remove(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(threads_that_call_together_all_get_their_answers) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
