/* What the module asks of its region, message by message: the transport is a function here, the messages are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <string.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/region.pb-c.h"
#include "rpc.h"
#include "wire.h"

#define KEY_NAME "bw:eu-central:acme:key/00112233445566778899aabbccddeeff"
#define V1(type) Bailiwick__V1__##type

static struct {
    enum bw_method_nr nr;
    struct bw_arena   arena;                       /* holds the requests */
    ProtobufCMessage *request;                     /* the last one, as it arrives */
    uint8_t           ids[8][BW_REQUEST_ID_LEN];
    int64_t           began_ms[8];                 /* what each call's deadline counts from */
    unsigned          calls;
    const ProtobufCMessage *replies[8];            /* what to answer, in order; NULL: refuse */
} far;

bw_result bw_call_since(struct bw_client *client, const struct bw_method *method, const ProtobufCMessage *request, int64_t began_ms,
                        struct bw_arena *arena, ProtobufCMessage **ret_reply, struct bw_refusal *ret_refusal)
{
    far.began_ms[far.calls] = began_ms;
    const ProtobufCMessage *reply = far.replies[far.calls];
    bw_bytes packed;

    assert_null(client);
    assert_ptr_equal(request->descriptor, method->request);
    far.nr = method->number;
    BW_TRY(bw_wire_pack(request, &far.arena, &packed));
    BW_TRY(bw_wire_unpack(method->request, packed, &far.arena, &far.request));
    /* every request begins with its id, so this reads any of them */
    const ProtobufCBinaryData *id = &((const V1(DescribeRequest) *)(const void *)request)->request_id;
    assert_int_equal(id->len, BW_REQUEST_ID_LEN);
    memcpy(far.ids[far.calls++], id->data, BW_REQUEST_ID_LEN);
    if (reply == NULL) {
        memcpy(ret_refusal->home_region, "us-east", 8);
        return bw_fail(BW_WRONG_REGION, "refused");
    }
    assert_ptr_equal(reply->descriptor, method->reply);
    BW_TRY(bw_wire_pack(reply, arena, &packed));
    return bw_wire_unpack(method->reply, packed, arena, ret_reply);
}

static const struct bw_remote remote = { .name = "eu-central" };
static struct bw_arena arena;

static int forget(void **state)
{
    (void)state;
    bw_arena_clear(&far.arena);
    bw_arena_clear(&arena);
    memset(&far, 0, sizeof far);
    return 0;
}

static struct bw_key_ref key_ref(void)
{
    struct bw_key_ref ref = { .version = 3 };

    assert_true(bw_ok(bw_key_name_parse(bw_bytes_text(KEY_NAME), &ref.name)));
    return ref;
}

static ProtobufCBinaryData data(const char *text)
{
    return bw_wire_data(bw_bytes_text(text));
}

static void assert_text(bw_bytes bytes, const char *text)
{
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.len);
}

/* ---- using keys ---- */

static void a_mechanism_arrives_with_its_parameters(void **state)
{
    V1(EncryptReply) reply = BAILIWICK__V1__ENCRYPT_REPLY__INIT;
    struct bw_mechanism gcm = { .row = bw_mechanism_row(CKM_AES_GCM), .aad = bw_bytes_text("aad"), .tag_bits = 96 };
    struct bw_key_ref key = key_ref();
    bw_bytes ciphertext, iv;

    (void)state;
    reply.ciphertext = data("sealed");
    reply.iv         = data("drawn");
    far.replies[0]   = &reply.base;
    assert_true(bw_ok(bw_rpc_encrypt(&remote, &arena, &key, &gcm, bw_bytes_text("plain"), &ciphertext, &iv)));
    assert_text(ciphertext, "sealed");
    assert_text(iv, "drawn");

    const V1(EncryptRequest) *request = (void *)far.request;
    assert_int_equal(far.nr, BW_METHOD_NR(Encrypt));
    assert_string_equal(request->key->name, KEY_NAME);
    assert_int_equal(request->key->version, 3);
    assert_int_equal(request->key->sealed.len, 0);
    assert_int_equal(request->mechanism->type, CKM_AES_GCM);
    assert_int_equal(request->mechanism->tag_bits, 96);
    assert_text(bw_wire_bytes(request->mechanism->aad), "aad");
    assert_int_equal(request->mechanism->iv.len, 0);
    assert_text(bw_wire_bytes(request->plaintext), "plain");
}

static void a_hashing_mechanism_travels_as_the_bare_one(void **state)
{
    static const struct { CK_MECHANISM_TYPE asked, travels; } cases[] = {
        { CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS }, { CKM_ECDSA_SHA384, CKM_ECDSA }, { CKM_SHA512_RSA_PKCS_PSS, CKM_RSA_PKCS_PSS },
        { CKM_EDDSA, CKM_EDDSA }, { CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD },
    };
    V1(SignReply) reply = BAILIWICK__V1__SIGN_REPLY__INIT;
    struct bw_key_ref key = key_ref();
    bw_bytes signature;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bw_mechanism mechanism = { .row = bw_mechanism_row(cases[i].asked) };
        far.calls      = 0;
        far.replies[0] = &reply.base;
        assert_true(bw_ok(bw_rpc_sign(&remote, &arena, &key, &mechanism, bw_bytes_text("digest"), &signature)));
        assert_int_equal(((V1(SignRequest) *)(void *)far.request)->mechanism->type, cases[i].travels);
    }
}

static void a_sealed_key_travels_without_a_name(void **state)
{
    V1(DecryptReply) reply = BAILIWICK__V1__DECRYPT_REPLY__INIT;
    struct bw_mechanism cbc = { .row = bw_mechanism_row(CKM_AES_CBC) };
    struct bw_key_ref key = { .sealed = bw_bytes_text("opaque") };
    bw_bytes plaintext;

    (void)state;
    far.replies[0] = &reply.base;
    assert_true(bw_ok(bw_rpc_decrypt(&remote, &arena, &key, &cbc, bw_bytes_text("x"), &plaintext)));
    const V1(DecryptRequest) *request = (void *)far.request;
    assert_string_equal(request->key->name, "");
    assert_text(bw_wire_bytes(request->key->sealed), "opaque");
    assert_int_equal(plaintext.len, 0);
}

static void every_call_has_an_id_of_its_own(void **state)
{
    V1(RandomReply) reply = BAILIWICK__V1__RANDOM_REPLY__INIT;
    bw_bytes random;

    (void)state;
    reply.random = data("12345678");
    for (unsigned i = 0; i < ARRAY_LEN(far.ids); i++) {
        far.replies[i] = &reply.base;
        assert_true(bw_ok(bw_rpc_random(&remote, &arena, 8, &random)));
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(far.ids[i], far.ids[j], BW_REQUEST_ID_LEN);
    }
}

static void random_bytes_are_as_many_as_asked_for(void **state)
{
    V1(RandomReply) reply = BAILIWICK__V1__RANDOM_REPLY__INIT;
    bw_bytes random;

    (void)state;
    reply.random   = data("1234567");
    far.replies[0] = &reply.base;
    assert_int_equal(bw_rpc_random(&remote, &arena, 8, &random).code, BW_PROTOCOL_BROKEN);
    assert_int_equal(bw_rpc_random(&remote, &arena, 0, &random).code, BW_BAD_ARGUMENT);
    assert_int_equal(bw_rpc_random(&remote, &arena, BW_RANDOM_MAX + 1, &random).code, BW_BAD_ARGUMENT);
    assert_int_equal(far.calls, 1);
}

static void a_refusal_is_passed_on(void **state)
{
    struct bw_mechanism ecdsa = { .row = bw_mechanism_row(CKM_ECDSA) };
    struct bw_key_ref key = key_ref();

    (void)state;
    assert_int_equal(bw_rpc_verify(&remote, &arena, &key, &ecdsa, bw_bytes_text("d"), bw_bytes_text("s")).code, BW_WRONG_REGION);
}

/* ---- session keys ---- */

static void an_unwrapped_key_comes_back_sealed(void **state)
{
    V1(UnwrapKeyReply) reply = BAILIWICK__V1__UNWRAP_KEY_REPLY__INIT;
    V1(SealedKey) sealed = BAILIWICK__V1__SEALED_KEY__INIT;
    struct bw_mechanism kwp = { .row = bw_mechanism_row(CKM_AES_KEY_WRAP_PAD) };
    struct bw_session_key template = { .key_type = CKK_AES, .length = 32, .uses = BW_USE_ENCRYPT | BW_USE_DECRYPT };
    struct bw_key_ref key = key_ref();
    struct bw_sealed_key made;

    (void)state;
    sealed.sealed  = data("opaque");
    sealed.length  = 32;
    reply.key      = &sealed;
    far.replies[0] = &reply.base;
    assert_true(bw_ok(bw_rpc_unwrap_key(&remote, &arena, &key, &kwp, bw_bytes_text("wrapped"), &template, &made)));
    assert_text(made.sealed, "opaque");
    assert_int_equal(made.length, 32);
    assert_int_equal(made.value.len, 0);

    const V1(UnwrapKeyRequest) *request = (void *)far.request;
    assert_int_equal(request->template_->key_type, CKK_AES);
    assert_int_equal(request->template_->n_uses, 2);
    assert_int_equal(request->template_->uses[1], BAILIWICK__V1__KEY_USE__DECRYPT);
    assert_false(request->template_->extractable);

    reply.key      = NULL;
    far.replies[1] = &reply.base;
    assert_int_equal(bw_rpc_unwrap_key(&remote, &arena, &key, &kwp, bw_bytes_text("wrapped"), &template, &made).code, BW_PROTOCOL_BROKEN);
}

/* ---- envelopes ---- */

static void an_envelope_of_another_key_is_refused(void **state)
{
    static char other[] = "bw:eu-central:acme:key/ffeeddccbbaa99887766554433221100", same[] = KEY_NAME;
    V1(UnwrapReply) reply = BAILIWICK__V1__UNWRAP_REPLY__INIT;
    struct bw_pair context[] = { { bw_bytes_text("file"), bw_bytes_text("report.pdf") } };
    struct bw_key_ref key = key_ref();
    bw_bytes plaintext;

    (void)state;
    reply.plaintext = data("secret");
    reply.key       = same;
    far.replies[0]  = &reply.base;
    assert_true(bw_ok(bw_rpc_envelope_unwrap(&remote, &arena, &key, context, 1, bw_bytes_text("BWK1"), &plaintext)));
    assert_text(plaintext, "secret");
    const V1(UnwrapRequest) *request = (void *)far.request;
    assert_int_equal(request->n_context, 1);
    assert_string_equal(request->context[0]->value, "report.pdf");

    reply.key      = other;
    far.replies[1] = &reply.base;
    plaintext      = (bw_bytes){ NULL, 0 };
    assert_int_equal(bw_rpc_envelope_unwrap(&remote, &arena, &key, context, 1, bw_bytes_text("BWK1"), &plaintext).code, BW_ENVELOPE_INVALID);
    assert_null(plaintext.data);

    context[0].value = bw_bytes_of("a\0b", 3);
    assert_int_equal(bw_rpc_envelope_unwrap(&remote, &arena, &key, context, 1, bw_bytes_text("BWK1"), &plaintext).code, BW_ATTRIBUTE_VALUE);
    assert_int_equal(far.calls, 2);
}

/* ---- lists ---- */

static void a_list_comes_in_pages(void **state)
{
    static char name[] = KEY_NAME, label[] = "disk key", token[] = "more";
    static V1(KeyUse) uses[] = { BAILIWICK__V1__KEY_USE__ENCRYPT, BAILIWICK__V1__KEY_USE__WRAP };
    V1(KeyVersion) old = BAILIWICK__V1__KEY_VERSION__INIT, primary = BAILIWICK__V1__KEY_VERSION__INIT;
    V1(KeyVersion) *versions[] = { &old, &primary };
    V1(Key) known = BAILIWICK__V1__KEY__INIT, unknown = BAILIWICK__V1__KEY__INIT;
    V1(Key) *keys[] = { &known, &unknown };
    V1(ListKeysReply) first = BAILIWICK__V1__LIST_KEYS_REPLY__INIT, last = BAILIWICK__V1__LIST_KEYS_REPLY__INIT;
    struct bw_filter filter = { .label = bw_bytes_text("disk key") };
    struct bw_remote_key *found;
    uint64_t generation;
    size_t count;

    (void)state;
    old.number = 1, old.public_key = data("old half");
    primary.number = 2, primary.public_key = data("new half");
    known.name = name, known.label = label, known.spec = BAILIWICK__V1__KEY_SPEC__RSA_2048, known.primary_version = 2;
    known.state = BAILIWICK__V1__KEY_STATE__ENABLED, known.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED, known.generation = 9;
    known.uses = uses, known.n_uses = ARRAY_LEN(uses), known.versions = versions, known.n_versions = ARRAY_LEN(versions);
    unknown = known;
    unknown.spec = 99;
    first.keys = keys, first.n_keys = 2, first.next_token = token;
    last.keys = keys, last.n_keys = 1, last.generation = 41;
    far.replies[0] = &first.base;
    far.replies[1] = &last.base;

    assert_true(bw_ok(bw_rpc_list_keys(&remote, &arena, &filter, &found, &count, &generation)));
    assert_int_equal(far.calls, 2);
    assert_int_equal(count, 2); /* the two of a spec that we do not know are left out */
    assert_int_equal(generation, 41);
    assert_text(found[1].label, "disk key");
    assert_text(found[1].public_key, "new half");
    assert_int_equal(found[1].spec->spec, BW_SPEC_RSA_2048);
    assert_int_equal(found[1].uses, BW_USE_ENCRYPT | BW_USE_WRAP);
    assert_true(found[1].enabled && found[1].imported);
    assert_int_equal(found[1].generation, 9);

    const V1(ListKeysRequest) *request = (void *)far.request;
    assert_string_equal(request->label, "disk key");
    assert_string_equal(request->page->token, "more");
    assert_true(request->usable);
}

static void an_update_names_what_it_changes(void **state)
{
    static char name[] = KEY_NAME;
    V1(UpdateKeyReply) reply = BAILIWICK__V1__UPDATE_KEY_REPLY__INIT;
    V1(Key) key = BAILIWICK__V1__KEY__INIT;
    bw_bytes cka_id = bw_bytes_text("id");
    struct bw_key_ref ref = key_ref();
    struct bw_remote_key updated;

    (void)state;
    key.name       = name;
    reply.key      = &key;
    far.replies[0] = &reply.base;
    assert_true(bw_ok(bw_rpc_update_key(&remote, &arena, &ref.name, &(struct bw_key_change){ .cka_id = &cka_id }, &updated)));
    const V1(UpdateKeyRequest) *request = (void *)far.request;
    assert_int_equal(request->n_fields, 1);
    assert_string_equal(request->fields[0], "cka_id");
    assert_text(bw_wire_bytes(request->cka_id), "id");
    assert_false(updated.enabled);
}

#define RPC_TEST(test) cmocka_unit_test_teardown(test, forget)

static void what_one_function_asks_has_one_deadline(void **state)
{
    const V1(RandomReply) reply = { PROTOBUF_C_MESSAGE_INIT(&bailiwick__v1__random_reply__descriptor), NULL, { 4, (uint8_t *)"rand" } };
    bw_bytes random;
    (void)state;

    for (size_t i = 0; i < 4; i++)
        far.replies[i] = &reply.base;
    bw_rpc_begin();
    for (size_t i = 0; i < 3; i++) {
        assert_true(bw_ok(bw_rpc_random(&remote, &arena, 4, &random)));
        (void)poll(NULL, 0, 5); /* time passes */
    }
    bw_rpc_end();
    assert_true(bw_ok(bw_rpc_random(&remote, &arena, 4, &random)));
    assert_true(far.began_ms[0] == far.began_ms[1] && far.began_ms[1] == far.began_ms[2]);
    assert_true(far.began_ms[3] >= far.began_ms[0] + 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RPC_TEST(a_mechanism_arrives_with_its_parameters),
        RPC_TEST(a_hashing_mechanism_travels_as_the_bare_one),
        RPC_TEST(a_sealed_key_travels_without_a_name),
        RPC_TEST(every_call_has_an_id_of_its_own),
        RPC_TEST(random_bytes_are_as_many_as_asked_for),
        RPC_TEST(a_refusal_is_passed_on),
        RPC_TEST(an_unwrapped_key_comes_back_sealed),
        RPC_TEST(an_envelope_of_another_key_is_refused),
        RPC_TEST(a_list_comes_in_pages),
        RPC_TEST(an_update_names_what_it_changes),
        RPC_TEST(what_one_function_asks_has_one_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
