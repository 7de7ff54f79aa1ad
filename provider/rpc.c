#include "rpc.h"

#include <string.h>
#include <sys/random.h>

#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "bailiwick/v1/region.pb-c.h"
#include "trace.h"
#include "wire.h"

#define V1(type)            Bailiwick__V1__##type
#define AS(type, message)   ((const V1(type) *)(const void *)(message))

enum {
    KEYS_PAGE    = 250,   /* rows; with the public halves of a few versions they stay under BW_MESSAGE_MAX */
    OBJECTS_PAGE = 100,
    PAGES_MAX    = 4096,  /* a server that never ends is broken */
    USES         = 7      /* bits of enum bw_use that a key can have, ENCRYPT to DERIVE */
};

/* ---- one call ---- */

static _Thread_local int64_t thread_began_ms; /* 0: each call has a deadline of its own */

void bw_rpc_begin(void)
{
    thread_began_ms = bw_now_us() / 1000;
}

void bw_rpc_end(void)
{
    thread_began_ms = 0;
}

static void trace(const struct bw_remote *remote, const struct bw_method *method, bw_bytes request_id, int64_t took_us,
                  bw_result result, const struct bw_refusal *refusal)
{
    char id[2 * BW_REQUEST_ID_LEN + 1];

    bw_hex(request_id, id);
    bw_trace("%s slot=%s request=%s %ld us %s%s%s%s%s%s%s", method->name, remote->name, id, (long)took_us,
             bw_code_row(result.code)->name, bw_ok(result) ? "" : ": ", bw_ok(result) ? "" : result.what,
             refusal->home_region[0] ? " home=" : "", refusal->home_region, refusal->message[0] ? " said: " : "", refusal->message);
}

/* id  the request's request_id, which is filled here */
static bw_result call(const struct bw_remote *remote, struct bw_arena *arena, enum bw_method_nr nr, const ProtobufCMessage *request,
                      ProtobufCBinaryData *id, ProtobufCMessage **ret_reply)
{
    const struct bw_method *method = bw_method_by_number(nr);
    uint8_t bytes[BW_REQUEST_ID_LEN];
    struct bw_refusal refusal;
    int64_t began_us = bw_now_us();

    BW_CHECK(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes, BW_INTERNAL, "request id");
    *id = (ProtobufCBinaryData){ sizeof bytes, bytes };
    memset(&refusal, 0, sizeof refusal);
    bw_result result = bw_call_since(remote->client, method, request, thread_began_ms ? thread_began_ms : began_us / 1000, arena, ret_reply, &refusal);
    if (remote->trace)
        trace(remote, method, bw_bytes_of(bytes, sizeof bytes), bw_now_us() - began_us, result, &refusal);
    return result;
}

#define CALL(remote, arena, method, request, ret_reply) \
    call(remote, arena, BW_METHOD_NR(method), &(request).base, &(request).request_id, ret_reply)

/* ---- our structs into messages ---- */

struct key_ref_message {
    V1(KeyRef) base;
    char       name[BW_KEY_NAME_MAX + 1];
};

static V1(KeyRef) *put_key_ref(const struct bw_key_ref *ref, struct key_ref_message *message)
{
    message->base = (V1(KeyRef))BAILIWICK__V1__KEY_REF__INIT;
    message->base.version = ref->version;
    if (ref->sealed.len > 0) {
        message->base.sealed = bw_wire_data(ref->sealed);
    } else {
        bw_key_name_print(&ref->name, message->name);
        message->base.name = message->name;
    }
    return &message->base;
}

static V1(Mechanism) put_mechanism(const struct bw_mechanism *mechanism)
{
    V1(Mechanism) message = BAILIWICK__V1__MECHANISM__INIT;

    message.type         = (V1(MechanismType))mechanism->row->travels_as;
    message.iv           = bw_wire_data(mechanism->iv);
    message.aad          = bw_wire_data(mechanism->aad);
    message.tag_bits     = mechanism->tag_bits;
    message.counter_bits = mechanism->counter_bits;
    message.hash         = (V1(Hash))mechanism->hash; /* numbered alike */
    message.mgf          = (V1(Hash))mechanism->mgf;
    message.label        = bw_wire_data(mechanism->label);
    message.salt_len     = mechanism->salt_len;
    message.aes_bits     = mechanism->aes_bits;
    message.peer         = bw_wire_data(mechanism->peer);
    return message;
}

static size_t put_uses(unsigned uses, V1(KeyUse) messages[static USES])
{
    size_t count = 0;

    for (unsigned bit = 0; bit < USES; bit++)
        if ((uses & 1u << bit) != 0)
            messages[count++] = (V1(KeyUse))(1u << bit); /* numbered alike */
    return count;
}

struct template_message {
    V1(SessionKeyTemplate) base;
    V1(KeyUse)             uses[USES];
};

static V1(SessionKeyTemplate) *put_template(const struct bw_session_key *key, struct template_message *message)
{
    message->base = (V1(SessionKeyTemplate))BAILIWICK__V1__SESSION_KEY_TEMPLATE__INIT;
    message->base.key_type    = (uint32_t)key->key_type;
    message->base.length      = key->length;
    message->base.n_uses      = put_uses(key->uses, message->uses);
    message->base.uses        = message->uses;
    message->base.extractable = key->extractable;
    message->base.release     = key->release;
    message->base.spec        = (V1(KeySpec))key->spec; /* numbered alike */
    return &message->base;
}

/* Protobuf's strings end at their first NUL here; what has one inside would arrive as something else. */
static bw_result put_text(struct bw_arena *arena, bw_bytes text, char **ret_text)
{
    BW_CHECK(text.len == 0 || memchr(text.data, 0, text.len) == NULL, BW_ATTRIBUTE_VALUE, "a NUL in a text");
    char *copy = bw_arena_copy(arena, text);
    BW_CHECK(copy != NULL, BW_NO_MEMORY, "text");
    *ret_text = copy;
    return bw_success();
}

/* ---- messages into our structs ---- */

static bw_result take_sealed(const V1(SealedKey) *message, struct bw_sealed_key *ret_key)
{
    BW_CHECK(message != NULL && message->sealed.len > 0 && message->sealed.len <= BW_SEALED_MAX, BW_PROTOCOL_BROKEN, "no sealed key in the reply");
    *ret_key = (struct bw_sealed_key){
        .sealed = bw_wire_bytes(message->sealed),
        .value  = bw_wire_bytes(message->value),
        .length = message->length,
        .check  = bw_wire_bytes(message->check),
        .spec   = bw_spec_row((enum bw_spec)message->spec),
        .public_key = bw_wire_bytes(message->public_key),
    };
    return bw_success();
}

static unsigned take_uses(const V1(KeyUse) *uses, size_t count)
{
    unsigned set = 0;

    for (size_t i = 0; i < count; i++)
        set |= (unsigned)uses[i] & ((1u << USES) - 1);
    return set;
}

static bw_bytes take_public_key(const V1(Key) *message)
{
    for (size_t i = 0; i < message->n_versions; i++)
        if (message->versions[i]->number == message->primary_version)
            return bw_wire_bytes(message->versions[i]->public_key);
    return (bw_bytes){ NULL, 0 };
}

static bw_result take_key(const V1(Key) *message, struct bw_remote_key *ret_key)
{
    struct bw_key_name name;

    BW_CHECK(message != NULL && bw_ok(bw_key_name_parse(bw_bytes_text(message->name), &name)), BW_PROTOCOL_BROKEN, "no key in the reply");
    *ret_key = (struct bw_remote_key){
        .name       = name,
        .label      = bw_bytes_text(message->label),
        .cka_id     = bw_wire_bytes(message->cka_id),
        .spec       = bw_spec_row((enum bw_spec)message->spec),
        .uses       = take_uses(message->uses, message->n_uses),
        .enabled    = message->state == BAILIWICK__V1__KEY_STATE__ENABLED,
        .imported   = message->origin == BAILIWICK__V1__KEY_ORIGIN__IMPORTED,
        .version    = message->primary_version,
        .public_key = take_public_key(message),
        .owner      = bw_bytes_text(message->owner),
        .created_us = message->created_us,
        .generation = message->generation,
    };
    return bw_success();
}

/* ---- using keys ---- */

bw_result bw_rpc_encrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                         const struct bw_mechanism *mechanism, bw_bytes plaintext, bw_bytes *ret_ciphertext, bw_bytes *ret_iv)
{
    V1(EncryptRequest) request = BAILIWICK__V1__ENCRYPT_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    request.plaintext = bw_wire_data(plaintext);
    BW_TRY(CALL(remote, arena, Encrypt, request, &reply));
    *ret_ciphertext = bw_wire_bytes(AS(EncryptReply, reply)->ciphertext);
    *ret_iv         = bw_wire_bytes(AS(EncryptReply, reply)->iv);
    return bw_success();
}

bw_result bw_rpc_decrypt(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                         const struct bw_mechanism *mechanism, bw_bytes ciphertext, bw_bytes *ret_plaintext)
{
    V1(DecryptRequest) request = BAILIWICK__V1__DECRYPT_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key        = put_key_ref(key, &ref);
    request.mechanism  = &mechanism_message;
    request.ciphertext = bw_wire_data(ciphertext);
    BW_TRY(CALL(remote, arena, Decrypt, request, &reply));
    *ret_plaintext = bw_wire_bytes(AS(DecryptReply, reply)->plaintext);
    return bw_success();
}

bw_result bw_rpc_sign(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                      const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes *ret_signature)
{
    V1(SignRequest) request = BAILIWICK__V1__SIGN_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    request.data      = bw_wire_data(data);
    BW_TRY(CALL(remote, arena, Sign, request, &reply));
    *ret_signature = bw_wire_bytes(AS(SignReply, reply)->signature);
    return bw_success();
}

bw_result bw_rpc_verify(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                        const struct bw_mechanism *mechanism, bw_bytes data, bw_bytes signature)
{
    V1(VerifyRequest) request = BAILIWICK__V1__VERIFY_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    request.data      = bw_wire_data(data);
    request.signature = bw_wire_data(signature);
    return CALL(remote, arena, Verify, request, &reply);
}

/* ---- session keys ---- */

bw_result bw_rpc_wrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                          const struct bw_mechanism *mechanism, const struct bw_key_ref *target, bw_bytes value, bw_bytes *ret_wrapped)
{
    V1(WrapKeyRequest) request = BAILIWICK__V1__WRAP_KEY_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct key_ref_message ref, target_ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    if (target != NULL)
        request.target = put_key_ref(target, &target_ref);
    else
        request.value = bw_wire_data(value);
    BW_TRY(CALL(remote, arena, WrapKey, request, &reply));
    *ret_wrapped = bw_wire_bytes(AS(WrapKeyReply, reply)->wrapped);
    return bw_success();
}

bw_result bw_rpc_unwrap_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                            const struct bw_mechanism *mechanism, bw_bytes wrapped, const struct bw_session_key *template,
                            struct bw_sealed_key *ret_key)
{
    V1(UnwrapKeyRequest) request = BAILIWICK__V1__UNWRAP_KEY_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct template_message template_message;
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    request.wrapped   = bw_wire_data(wrapped);
    request.template_ = put_template(template, &template_message);
    BW_TRY(CALL(remote, arena, UnwrapKey, request, &reply));
    return take_sealed(AS(UnwrapKeyReply, reply)->key, ret_key);
}

bw_result bw_rpc_generate_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_mechanism *mechanism,
                              const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    V1(GenerateKeyRequest) request = BAILIWICK__V1__GENERATE_KEY_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct template_message template_message;
    ProtobufCMessage *reply;

    request.mechanism = &mechanism_message;
    request.template_ = put_template(template, &template_message);
    BW_TRY(CALL(remote, arena, GenerateKey, request, &reply));
    return take_sealed(AS(GenerateKeyReply, reply)->key, ret_key);
}

bw_result bw_rpc_import_session_key(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes value,
                                    const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    V1(ImportSessionKeyRequest) request = BAILIWICK__V1__IMPORT_SESSION_KEY_REQUEST__INIT;
    struct template_message template_message;
    ProtobufCMessage *reply;

    request.value     = bw_wire_data(value);
    request.template_ = put_template(template, &template_message);
    BW_TRY(CALL(remote, arena, ImportSessionKey, request, &reply));
    return take_sealed(AS(ImportSessionKeyReply, reply)->key, ret_key);
}

bw_result bw_rpc_derive_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                            const struct bw_mechanism *mechanism, const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    V1(DeriveKeyRequest) request = BAILIWICK__V1__DERIVE_KEY_REQUEST__INIT;
    V1(Mechanism) mechanism_message = put_mechanism(mechanism);
    struct template_message template_message;
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    request.key       = put_key_ref(key, &ref);
    request.mechanism = &mechanism_message;
    request.template_ = put_template(template, &template_message);
    BW_TRY(CALL(remote, arena, DeriveKey, request, &reply));
    return take_sealed(AS(DeriveKeyReply, reply)->key, ret_key);
}

/* ---- envelopes ---- */

static bw_result put_context(struct bw_arena *arena, const struct bw_pair *context, size_t count, V1(Pair) ***ret_messages)
{
    V1(Pair) *pairs     = bw_arena_alloc(arena, (count + 1) * sizeof *pairs);
    V1(Pair) **messages = bw_arena_alloc(arena, (count + 1) * sizeof *messages);

    BW_CHECK(pairs != NULL && messages != NULL, BW_NO_MEMORY, "encryption context");
    for (size_t i = 0; i < count; i++) {
        pairs[i]    = (V1(Pair))BAILIWICK__V1__PAIR__INIT;
        messages[i] = &pairs[i];
        BW_TRY(put_text(arena, context[i].name, &pairs[i].name));
        BW_TRY(put_text(arena, context[i].value, &pairs[i].value));
    }
    *ret_messages = messages;
    return bw_success();
}

bw_result bw_rpc_envelope_wrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                               const struct bw_pair *context, size_t context_count, bw_bytes plaintext, bw_bytes *ret_envelope)
{
    V1(WrapRequest) request = BAILIWICK__V1__WRAP_REQUEST__INIT;
    struct key_ref_message ref;
    ProtobufCMessage *reply;

    BW_TRY(put_context(arena, context, context_count, &request.context));
    request.n_context = context_count;
    request.key       = put_key_ref(key, &ref);
    request.plaintext = bw_wire_data(plaintext);
    BW_TRY(CALL(remote, arena, Wrap, request, &reply));
    *ret_envelope = bw_wire_bytes(AS(WrapReply, reply)->envelope);
    return bw_success();
}

bw_result bw_rpc_envelope_unwrap(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_ref *key,
                                 const struct bw_pair *context, size_t context_count, bw_bytes envelope, bw_bytes *ret_plaintext)
{
    V1(UnwrapRequest) request = BAILIWICK__V1__UNWRAP_REQUEST__INIT;
    char wanted[BW_KEY_NAME_MAX + 1];
    ProtobufCMessage *reply;

    BW_TRY(put_context(arena, context, context_count, &request.context));
    request.n_context = context_count;
    request.envelope  = bw_wire_data(envelope);
    BW_TRY(CALL(remote, arena, Unwrap, request, &reply));

    const V1(UnwrapReply) *unwrapped = AS(UnwrapReply, reply);
    bw_key_name_print(&key->name, wanted);
    if (strcmp(unwrapped->key, wanted) != 0) {
        bw_wipe(unwrapped->plaintext.data, unwrapped->plaintext.len);
        return bw_fail(BW_ENVELOPE_INVALID, "the envelope is another key's");
    }
    *ret_plaintext = bw_wire_bytes(unwrapped->plaintext);
    return bw_success();
}

bw_result bw_rpc_random(const struct bw_remote *remote, struct bw_arena *arena, size_t len, bw_bytes *ret_random)
{
    V1(RandomRequest) request = BAILIWICK__V1__RANDOM_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_CHECK(len >= 1 && len <= BW_RANDOM_MAX, BW_BAD_ARGUMENT, "random length");
    request.length = (uint32_t)len;
    BW_TRY(CALL(remote, arena, Random, request, &reply));
    BW_CHECK(AS(RandomReply, reply)->random.len == len, BW_PROTOCOL_BROKEN, "random bytes of another length");
    *ret_random = bw_wire_bytes(AS(RandomReply, reply)->random);
    return bw_success();
}

/* ---- keys on the token ---- */

/* Rows of all pages, in the arena. */
struct rows {
    struct bw_arena *arena;
    void            *data;
    size_t           size;  /* bytes of one */
    size_t           count;
    size_t           room;
};

static bw_result rows_reserve(struct rows *rows, size_t more)
{
    if (more <= rows->room - rows->count)
        return bw_success();
    size_t room = 2 * rows->room + more;
    void *data = bw_arena_alloc(rows->arena, room * rows->size);
    BW_CHECK(data != NULL, BW_NO_MEMORY, "list");
    if (rows->count > 0)
        memcpy(data, rows->data, rows->count * rows->size);
    rows->data = data;
    rows->room = room;
    return bw_success();
}

static bw_result add_keys(struct rows *rows, const V1(ListKeysReply) *reply)
{
    BW_TRY(rows_reserve(rows, reply->n_keys));
    for (size_t i = 0; i < reply->n_keys; i++) {
        struct bw_remote_key key;
        BW_TRY(take_key(reply->keys[i], &key));
        if (key.spec != NULL)
            ((struct bw_remote_key *)rows->data)[rows->count++] = key;
    }
    return bw_success();
}

/* Whether there is a page after the one that ended in next_token. */
static bw_result turn_page(V1(Page) *page, char *next_token, unsigned number, bool *ret_more)
{
    *ret_more = next_token[0] != '\0';
    BW_CHECK(!*ret_more || number + 1 < PAGES_MAX, BW_PROTOCOL_BROKEN, "a list without end");
    page->token = next_token;
    return bw_success();
}

bw_result bw_rpc_list_keys(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter,
                           struct bw_remote_key **ret_keys, size_t *ret_count, uint64_t *ret_generation)
{
    V1(ListKeysRequest) request = BAILIWICK__V1__LIST_KEYS_REQUEST__INIT;
    V1(Page) page = BAILIWICK__V1__PAGE__INIT;
    struct rows rows = { .arena = arena, .size = sizeof(struct bw_remote_key) };
    ProtobufCMessage *reply;
    bool more = true;

    page.size      = KEYS_PAGE;
    request.page   = &page;
    request.cka_id = bw_wire_data(filter->cka_id);
    request.usable = true;
    BW_TRY(put_text(arena, filter->label, &request.label));
    for (unsigned number = 0; more; number++) {
        BW_TRY(CALL(remote, arena, ListKeys, request, &reply));
        BW_TRY(add_keys(&rows, AS(ListKeysReply, reply)));
        BW_TRY(turn_page(&page, AS(ListKeysReply, reply)->next_token, number, &more));
    }
    *ret_keys       = rows.data;
    *ret_count      = rows.count;
    *ret_generation = AS(ListKeysReply, reply)->generation;
    return bw_success();
}

bw_result bw_rpc_create_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_new_key *key,
                            struct bw_remote_key *ret_key)
{
    V1(CreateKeyRequest) request = BAILIWICK__V1__CREATE_KEY_REQUEST__INIT;
    V1(KeyUse) uses[USES];
    ProtobufCMessage *reply;

    request.spec   = (V1(KeySpec))key->spec; /* numbered alike */
    request.n_uses = put_uses(key->uses, uses);
    request.uses   = uses;
    request.cka_id = bw_wire_data(key->cka_id);
    if (key->imported)
        request.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    BW_TRY(put_text(arena, key->label, &request.label));
    BW_TRY(CALL(remote, arena, CreateKey, request, &reply));
    return take_key(AS(CreateKeyReply, reply)->key, ret_key);
}

static enum bw_digest best_hash(const V1(GetImportParametersReply) *reply)
{
    enum bw_digest best = BW_DIGEST_NONE;

    for (size_t i = 0; i < reply->n_oaep_hashes; i++)
        if ((enum bw_digest)reply->oaep_hashes[i] > best && bw_digest_row((enum bw_digest)reply->oaep_hashes[i]) != NULL)
            best = (enum bw_digest)reply->oaep_hashes[i];
    return best;
}

bw_result bw_rpc_import_parameters(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                   struct bw_import_parameters *ret_parameters)
{
    V1(GetImportParametersRequest) request = BAILIWICK__V1__GET_IMPORT_PARAMETERS_REQUEST__INIT;
    char text[BW_KEY_NAME_MAX + 1];
    ProtobufCMessage *reply;

    bw_key_name_print(name, text);
    request.name = text;
    BW_TRY(CALL(remote, arena, GetImportParameters, request, &reply));
    *ret_parameters = (struct bw_import_parameters){
        .wrapping_key = bw_wire_bytes(AS(GetImportParametersReply, reply)->wrapping_key),
        .token        = bw_wire_bytes(AS(GetImportParametersReply, reply)->import_token),
        .hash         = best_hash(AS(GetImportParametersReply, reply)),
    };
    BW_CHECK(ret_parameters->hash != BW_DIGEST_NONE, BW_PROTOCOL_BROKEN, "no hash of OAEP that is known here");
    return bw_success();
}

bw_result bw_rpc_import_material(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                                 const struct bw_import_parameters *parameters, bw_bytes wrapped, bw_bytes public_key, struct bw_remote_key *ret_key)
{
    V1(ImportKeyMaterialRequest) request = BAILIWICK__V1__IMPORT_KEY_MATERIAL_REQUEST__INIT;
    const struct bw_mechanism both = { .row = bw_mechanism_row(CKM_RSA_AES_KEY_WRAP), .hash = parameters->hash, .mgf = parameters->hash, .aes_bits = 256 };
    V1(Mechanism) mechanism_message = put_mechanism(&both);
    char text[BW_KEY_NAME_MAX + 1];
    ProtobufCMessage *reply;

    bw_key_name_print(name, text);
    request.name         = text;
    request.import_token = bw_wire_data(parameters->token);
    request.mechanism    = &mechanism_message;
    request.wrapped      = bw_wire_data(wrapped);
    request.public_key   = bw_wire_data(public_key);
    BW_TRY(CALL(remote, arena, ImportKeyMaterial, request, &reply));
    return take_key(AS(ImportKeyMaterialReply, reply)->key, ret_key);
}

bw_result bw_rpc_update_key(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name,
                            const struct bw_key_change *change, struct bw_remote_key *ret_key)
{
    V1(UpdateKeyRequest) request = BAILIWICK__V1__UPDATE_KEY_REQUEST__INIT;
    static char label[] = "label", cka_id[] = "cka_id", uses[] = "uses";
    char text[BW_KEY_NAME_MAX + 1], *fields[3];
    V1(KeyUse) use_messages[USES];
    ProtobufCMessage *reply;

    bw_key_name_print(name, text);
    request.name   = text;
    request.fields = fields;
    if (change->label != NULL) {
        fields[request.n_fields++] = label;
        BW_TRY(put_text(arena, *change->label, &request.label));
    }
    if (change->cka_id != NULL) {
        fields[request.n_fields++] = cka_id;
        request.cka_id = bw_wire_data(*change->cka_id);
    }
    if (change->uses != NULL) {
        fields[request.n_fields++] = uses;
        request.n_uses = put_uses(*change->uses, use_messages);
        request.uses   = use_messages;
    }
    BW_TRY(CALL(remote, arena, UpdateKey, request, &reply));
    return take_key(AS(UpdateKeyReply, reply)->key, ret_key);
}

bw_result bw_rpc_schedule_deletion(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_key_name *name)
{
    V1(ScheduleDeletionRequest) request = BAILIWICK__V1__SCHEDULE_DELETION_REQUEST__INIT;
    char text[BW_KEY_NAME_MAX + 1];
    ProtobufCMessage *reply;

    bw_key_name_print(name, text);
    request.name = text;
    return CALL(remote, arena, ScheduleDeletion, request, &reply);
}

/* ---- certificates, trust and data on the token ---- */

static const struct { CK_OBJECT_CLASS class; V1(ObjectClass) travels_as; } classes[] = {
    { CKO_DATA,        BAILIWICK__V1__OBJECT_CLASS__DATA        },
    { CKO_CERTIFICATE, BAILIWICK__V1__OBJECT_CLASS__CERTIFICATE },
    { CKO_NSS_TRUST,   BAILIWICK__V1__OBJECT_CLASS__TRUST       },
};

static CK_OBJECT_CLASS class_told(V1(ObjectClass) told)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (classes[i].travels_as == told)
            return classes[i].class;
    return CK_UNAVAILABLE_INFORMATION;
}

static V1(ObjectClass) class_to_tell(CK_OBJECT_CLASS class)
{
    size_t i = 0;

    while (classes[i].class != class)
        i++; /* no other class gets here */
    return classes[i].travels_as;
}

static const struct { CK_ULONG level; V1(TrustLevel) travels_as; } levels[] = {
    { CKT_NSS_TRUST_UNKNOWN,     BAILIWICK__V1__TRUST_LEVEL__TRUST_UNKNOWN     },
    { CKT_NSS_TRUSTED,           BAILIWICK__V1__TRUST_LEVEL__TRUSTED           },
    { CKT_NSS_TRUSTED_DELEGATOR, BAILIWICK__V1__TRUST_LEVEL__TRUSTED_DELEGATOR },
    { CKT_NSS_VALID_DELEGATOR,   BAILIWICK__V1__TRUST_LEVEL__VALID_DELEGATOR   },
    { CKT_NSS_MUST_VERIFY_TRUST, BAILIWICK__V1__TRUST_LEVEL__MUST_VERIFY_TRUST },
    { CKT_NSS_NOT_TRUSTED,       BAILIWICK__V1__TRUST_LEVEL__NOT_TRUSTED       },
};

/* A level of a newer region is one that nobody can rely on here. */
static CK_ULONG level_told(V1(TrustLevel) told)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (levels[i].travels_as == told)
            return levels[i].level;
    return CKT_NSS_NOT_TRUSTED;
}

static V1(TrustLevel) level_to_tell(CK_ULONG level)
{
    size_t i = 0;

    while (levels[i].level != level)
        i++; /* attributes.def lets no other level in */
    return levels[i].travels_as;
}

static struct bw_remote_trust take_trust(const V1(Trust) *message)
{
    return (struct bw_remote_trust){
        .issuer           = bw_wire_bytes(message->issuer),
        .serial           = bw_wire_bytes(message->serial),
        .subject          = bw_wire_bytes(message->subject),
        .sha1             = bw_wire_bytes(message->sha1),
        .md5              = bw_wire_bytes(message->md5),
        .server_auth      = level_told(message->server_auth),
        .client_auth      = level_told(message->client_auth),
        .code_signing     = level_told(message->code_signing),
        .email_protection = level_told(message->email_protection),
        .step_up_approved = message->step_up_approved,
    };
}

static void put_trust(const struct bw_remote_trust *trust, V1(Trust) *message)
{
    message->issuer           = bw_wire_data(trust->issuer);
    message->serial           = bw_wire_data(trust->serial);
    message->subject          = bw_wire_data(trust->subject);
    message->sha1             = bw_wire_data(trust->sha1);
    message->md5              = bw_wire_data(trust->md5);
    message->server_auth      = level_to_tell(trust->server_auth);
    message->client_auth      = level_to_tell(trust->client_auth);
    message->code_signing     = level_to_tell(trust->code_signing);
    message->email_protection = level_to_tell(trust->email_protection);
    message->step_up_approved = trust->step_up_approved;
}

static bw_result take_object(const V1(Object) *message, struct bw_remote_object *ret_object)
{
    BW_CHECK(message != NULL && message->id.len > 0, BW_PROTOCOL_BROKEN, "no object in the reply");
    bool is_trust = message->class_ == BAILIWICK__V1__OBJECT_CLASS__TRUST;
    BW_CHECK(!is_trust || message->trust != NULL, BW_PROTOCOL_BROKEN, "trust without what it says");
    *ret_object = (struct bw_remote_object){
        .id          = bw_wire_bytes(message->id),
        .class       = class_told(message->class_),
        .label       = bw_bytes_text(message->label),
        .cka_id      = bw_wire_bytes(message->cka_id),
        .value       = bw_wire_bytes(message->value),
        .application = bw_bytes_text(message->application),
        .object_id   = bw_wire_bytes(message->object_id),
        .owner       = bw_bytes_text(message->owner),
        .generation  = message->generation,
    };
    if (is_trust)
        ret_object->trust = take_trust(message->trust);
    return bw_success();
}

static bw_result add_objects(struct rows *rows, const V1(ListObjectsReply) *reply)
{
    BW_TRY(rows_reserve(rows, reply->n_objects));
    for (size_t i = 0; i < reply->n_objects; i++) {
        struct bw_remote_object object;
        BW_TRY(take_object(reply->objects[i], &object));
        ((struct bw_remote_object *)rows->data)[rows->count++] = object;
    }
    return bw_success();
}

bw_result bw_rpc_list_objects(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_filter *filter,
                              struct bw_remote_object **ret_objects, size_t *ret_count)
{
    V1(ListObjectsRequest) request = BAILIWICK__V1__LIST_OBJECTS_REQUEST__INIT;
    V1(Page) page = BAILIWICK__V1__PAGE__INIT;
    struct rows rows = { .arena = arena, .size = sizeof(struct bw_remote_object) };
    ProtobufCMessage *reply;
    bool more = true;

    page.size      = OBJECTS_PAGE;
    request.page   = &page;
    request.cka_id = bw_wire_data(filter->cka_id);
    BW_TRY(put_text(arena, filter->label, &request.label));
    for (unsigned number = 0; more; number++) {
        BW_TRY(CALL(remote, arena, ListObjects, request, &reply));
        BW_TRY(add_objects(&rows, AS(ListObjectsReply, reply)));
        BW_TRY(turn_page(&page, AS(ListObjectsReply, reply)->next_token, number, &more));
    }
    *ret_objects = rows.data;
    *ret_count   = rows.count;
    return bw_success();
}

bw_result bw_rpc_put_object(const struct bw_remote *remote, struct bw_arena *arena, const struct bw_remote_object *object,
                            struct bw_remote_object *ret_object)
{
    V1(PutObjectRequest) request = BAILIWICK__V1__PUT_OBJECT_REQUEST__INIT;
    V1(Object) message = BAILIWICK__V1__OBJECT__INIT;
    V1(Trust)  trust   = BAILIWICK__V1__TRUST__INIT;
    ProtobufCMessage *reply;

    message.id        = bw_wire_data(object->id);
    message.class_    = class_to_tell(object->class);
    if (object->class == CKO_NSS_TRUST) {
        put_trust(&object->trust, &trust);
        message.trust = &trust;
    }
    message.cka_id    = bw_wire_data(object->cka_id);
    message.value     = bw_wire_data(object->value);
    message.object_id = bw_wire_data(object->object_id);
    BW_TRY(put_text(arena, object->label, &message.label));
    BW_TRY(put_text(arena, object->application, &message.application));
    request.object = &message;
    BW_TRY(CALL(remote, arena, PutObject, request, &reply));
    return take_object(AS(PutObjectReply, reply)->object, ret_object);
}

bw_result bw_rpc_delete_object(const struct bw_remote *remote, struct bw_arena *arena, bw_bytes id)
{
    V1(DeleteObjectRequest) request = BAILIWICK__V1__DELETE_OBJECT_REQUEST__INIT;
    ProtobufCMessage *reply;

    request.id = bw_wire_data(id);
    return CALL(remote, arena, DeleteObject, request, &reply);
}

/* ---- the region ---- */

bw_result bw_rpc_describe(const struct bw_remote *remote, struct bw_arena *arena, struct bw_region_facts *ret_facts)
{
    V1(DescribeRequest) request = BAILIWICK__V1__DESCRIBE_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(CALL(remote, arena, Describe, request, &reply));
    const V1(DescribeReply) *described = AS(DescribeReply, reply);
    CK_MECHANISM_TYPE *mechanisms = bw_arena_alloc(arena, (described->n_mechanisms + 1) * sizeof *mechanisms);
    BW_CHECK(mechanisms != NULL, BW_NO_MEMORY, "mechanisms");
    for (size_t i = 0; i < described->n_mechanisms; i++)
        mechanisms[i] = (CK_MECHANISM_TYPE)described->mechanisms[i];
    *ret_facts = (struct bw_region_facts){
        .hsm = bw_bytes_text(described->hsm), .mechanisms = mechanisms, .mechanism_count = described->n_mechanisms,
    };
    return bw_success();
}
