/* Stage decode: bytes to a request, all or nothing.
 *
 * requests.def says of each field of each message what it must be, in the message's own order. A field without a row, or
 * a row without its field, does not get past the assertion in check_fields, so a new field cannot slip by unchecked. After
 * the rows a walk over the whole message refuses what only the schema knows: fields and enum numbers that it has not. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "stages.h" /* before the messages: p11-kit's header has macros named as some of their fields */
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "envelope.h"
#include "registry.h"
#include "wire.h"

typedef Bailiwick__V1__KeyRef             KeyRef;
typedef Bailiwick__V1__Mechanism          Mechanism;
typedef Bailiwick__V1__SessionKeyTemplate Template;
typedef Bailiwick__V1__Pair               Pair;
typedef Bailiwick__V1__Page               Page;
typedef Bailiwick__V1__Object             Object;
typedef Bailiwick__V1__Trust              Trust;
typedef Bailiwick__V1__BatchRequest       BatchRequest;
typedef Bailiwick__V1__BatchOperation     BatchOperation;

/* The field at hand. */
struct at {
    struct bw_job      *job;
    struct bw_arena    *arena;
    const struct field *field;
    const void         *value;  /* the member of the protobuf-c struct */
    size_t              count;  /* of a repeated field */
};

typedef bw_result (*rule_fn)(const struct at *at);

struct field {
    const char *name;
    rule_fn     rule;
    size_t      least, most;
};

/* Names come from our own tables and schema, never from the caller, so they may stand in an error. */
static bw_result refuse_named(enum bw_code code, const char *field, const char *what)
{
    return (bw_result){ .code = code, .what = what, .field = field, .where = "decode.c" };
}

static bw_result refuse(const struct at *at, enum bw_code code, const char *what)
{
    return refuse_named(code, at->field->name, what);
}

/* "mechanism" and "iv" make "mechanism.iv" */
static bw_result refuse_inside(const struct at *at, enum bw_code code, const char *inner, const char *what)
{
    const char *name = bw_arena_text(at->arena, "%s.%s", at->field->name, inner);
    return refuse_named(code, name ? name : at->field->name, what);
}

static bool is_long(size_t len, size_t most)
{
    return most != 0 && len > most;
}

static bw_result check_len(const struct at *at, size_t len)
{
    if (len == 0 && at->field->least > 0)
        return refuse(at, BW_BAD_ARGUMENT, "missing");
    if (len < at->field->least)
        return refuse(at, BW_BAD_ARGUMENT, "too short");
    if (is_long(len, at->field->most))
        return refuse(at, BW_TOO_LARGE, "too long");
    return bw_success();
}

static const char *text_of(const struct at *at)           { return *(char *const *)at->value; }
static bw_bytes    bytes_of(const struct at *at)          { return bw_wire_bytes(*(const ProtobufCBinaryData *)at->value); }
static void       *const *elements_of(const struct at *at) { return *(void *const *const *)at->value; }

/* UTF-8 (RFC 3629: shortest form, no surrogates) without control characters, line breaks and tabs only where lines may be */
static bool is_utf8(const char *text, bool lines)
{
    const uint8_t *c = (const uint8_t *)text;

    while (*c != 0) {
        unsigned more = *c < 0x80 ? 0 : *c >= 0xc2 && *c <= 0xdf ? 1 : (*c & 0xf0) == 0xe0 ? 2 : *c >= 0xf0 && *c <= 0xf4 ? 3 : 4;
        uint32_t point = more == 0 ? *c : *c & (0x3fu >> more);
        bool is_break = *c == '\n' || *c == '\r' || *c == '\t';
        if (more == 4 || *c == 0x7f || (*c < 0x20 && !(lines && is_break)))
            return false;
        c++;
        for (unsigned i = 0; i < more; i++, c++) {
            if ((*c & 0xc0) != 0x80)
                return false;
            point = point << 6 | (*c & 0x3f);
        }
        if ((more == 2 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) ||
            (more == 3 && (point < 0x10000 || point > 0x10ffff)))
            return false;
    }
    return true;
}

static bool is_text(const char *text)
{
    return is_utf8(text, false);
}

/* ---- rules: what a field must be, and where it goes ---- */

static bw_result text(const struct at *at)
{
    BW_TRY(check_len(at, strlen(text_of(at))));
    return is_text(text_of(at)) ? bw_success() : refuse(at, BW_BAD_ARGUMENT, "not UTF-8 text, or with control characters");
}

/* JSON, which another stage reads */
static bw_result document(const struct at *at)
{
    BW_TRY(check_len(at, strlen(text_of(at))));
    return is_utf8(text_of(at), true) ? bw_success() : refuse(at, BW_BAD_ARGUMENT, "not UTF-8 text, or with control characters");
}

static bw_result bytes(const struct at *at)
{
    return check_len(at, bytes_of(at).len);
}

static bw_result data(const struct at *at)
{
    BW_TRY(bytes(at));
    at->job->request.data = bytes_of(at);
    return bw_success();
}

static bw_result signature(const struct at *at)
{
    BW_TRY(bytes(at));
    at->job->request.signature = bytes_of(at);
    return bw_success();
}

static bw_result purpose(const struct at *at)
{
    BW_TRY(text(at));
    at->job->request.purpose = text_of(at);
    return bw_success();
}

static bw_result number(const struct at *at)
{
    uint32_t value = *(const uint32_t *)at->value;
    return value < at->field->least || is_long(value, at->field->most) ? refuse(at, BW_BAD_ARGUMENT, "out of range") : bw_success();
}

/* An enum that must be named. That it is a known one is what the walk checks. */
static bw_result chosen(const struct at *at)
{
    return *(const uint32_t *)at->value == 0 ? refuse(at, BW_BAD_ARGUMENT, "missing") : bw_success();
}

/* Every value that the type has will do. */
static bw_result any(const struct at *at)
{
    (void)at;
    return bw_success();
}

static bw_result time_us(const struct at *at)
{
    return *(const int64_t *)at->value < 0 ? refuse(at, BW_BAD_ARGUMENT, "before 1970") : bw_success();
}

static bw_result request_id(const struct at *at)
{
    bw_bytes id = bytes_of(at);

    if (id.len != 0 && id.len != BW_REQUEST_ID_LEN)
        return refuse(at, BW_BAD_ARGUMENT, "not 16 bytes");
    if (id.len == 0)
        return bw_success(); /* one was made already */
    memcpy(at->job->request.request_id, id.data, id.len);
    at->job->request.request_id_given = true;
    return bw_success();
}

static bw_result optional_request_id(const struct at *at)
{
    size_t len = bytes_of(at).len;
    return len != 0 && len != BW_REQUEST_ID_LEN ? refuse(at, BW_BAD_ARGUMENT, "not 16 bytes") : bw_success();
}

static bw_result take_key_name(const struct at *at, const char *name)
{
    if (!bw_ok(bw_key_name_parse(bw_bytes_text(name), &at->job->request.key)))
        return bw_fail(BW_BAD_ARGUMENT, "not a key name");
    at->job->request.has_key = true;
    return bw_success();
}

static bw_result key_name(const struct at *at)
{
    BW_TRY(check_len(at, strlen(text_of(at))));
    if (*text_of(at) != '\0' && !bw_ok(take_key_name(at, text_of(at))))
        return refuse(at, BW_BAD_ARGUMENT, "not a key name");
    return bw_success();
}

/* A key that records are looked for by. The request is not about it: it may be gone, and its records are there all the same. */
static bw_result sought_key(const struct at *at)
{
    struct bw_key_name name;

    BW_TRY(check_len(at, strlen(text_of(at))));
    if (*text_of(at) != '\0' && !bw_ok(bw_key_name_parse(bw_bytes_text(text_of(at)), &name)))
        return refuse(at, BW_BAD_ARGUMENT, "not a key name");
    return bw_success();
}

/* A key by name or sealed. Absent is fine when the row's least is 0. */
static bw_result check_key_ref(const struct at *at, const KeyRef *key)
{
    if (key == NULL || (key->name[0] == '\0' && key->sealed.len == 0)) {
        if (at->field->least > 0)
            return refuse(at, BW_BAD_ARGUMENT, "missing");
        return key && key->version != 0 ? refuse_inside(at, BW_BAD_ARGUMENT, "version", "of no key") : bw_success();
    }
    if (key->sealed.len > 0 && key->name[0] != '\0')
        return refuse_inside(at, BW_BAD_ARGUMENT, "sealed", "a key has a name or is sealed, not both");
    if (key->sealed.len > 0 && key->version != 0)
        return refuse_inside(at, BW_BAD_ARGUMENT, "version", "a sealed key has no versions");
    if (key->sealed.len > BW_SEALED_MAX)
        return refuse_inside(at, BW_TOO_LARGE, "sealed", "too long");
    return bw_success();
}

static bw_result key(const struct at *at)
{
    const KeyRef *ref = *(KeyRef *const *)at->value;
    struct bw_request *request = &at->job->request;

    BW_TRY(check_key_ref(at, ref));
    if (ref == NULL)
        return bw_success();
    request->version = ref->version;
    request->sealed  = bw_wire_bytes(ref->sealed);
    if (ref->name[0] != '\0' && !bw_ok(take_key_name(at, ref->name)))
        return refuse_inside(at, BW_BAD_ARGUMENT, "name", "not a key name");
    return bw_success();
}

/* A second key, which the operation reads from the message. */
static bw_result other_key(const struct at *at)
{
    const KeyRef *ref = *(KeyRef *const *)at->value;
    struct bw_key_name name;

    BW_TRY(check_key_ref(at, ref));
    if (ref != NULL && ref->name[0] != '\0' && !bw_ok(bw_key_name_parse(bw_bytes_text(ref->name), &name)))
        return refuse_inside(at, BW_BAD_ARGUMENT, "name", "not a key name");
    return bw_success();
}

static bw_result read_mechanism(const struct at *at)
{
    const Mechanism *m = *(Mechanism *const *)at->value;
    struct bw_mechanism *to = &at->job->request.mechanism;

    *to = (struct bw_mechanism){
        .row = bw_mechanism_row((CK_MECHANISM_TYPE)m->type), .iv = bw_wire_bytes(m->iv), .aad = bw_wire_bytes(m->aad),
        .tag_bits = m->tag_bits, .counter_bits = m->counter_bits, .hash = (enum bw_digest)m->hash, .mgf = (enum bw_digest)m->mgf,
        .label = bw_wire_bytes(m->label), .salt_len = m->salt_len, .aes_bits = m->aes_bits, .peer = bw_wire_bytes(m->peer),
    };
    return bw_mechanism_check(to);
}

static bw_result mechanism(const struct at *at)
{
    const Mechanism *m = *(Mechanism *const *)at->value;

    if (m == NULL || m->type == 0)
        return refuse_inside(at, BW_MECHANISM_INVALID, "type", "missing");
    return read_mechanism(at);
}

/* Its 0 is CKM_RSA_PKCS_KEY_PAIR_GEN. */
static bw_result generator(const struct at *at)
{
    if (*(Mechanism *const *)at->value == NULL)
        return refuse(at, BW_MECHANISM_INVALID, "missing");
    return read_mechanism(at);
}

static bw_result envelope(const struct at *at)
{
    struct bw_request *request = &at->job->request;

    BW_TRY(bytes(at));
    bw_result result = bw_envelope_parse(bytes_of(at), &request->envelope);
    if (!bw_ok(result))
        return refuse(at, result.code, "not an envelope");
    request->key     = request->envelope.key;
    request->version = request->envelope.version;
    request->has_key = true;
    return bw_success();
}

static bw_result session_template(const struct at *at)
{
    const Template *t = *(Template *const *)at->value;

    if (t == NULL)
        return refuse(at, BW_BAD_ARGUMENT, "missing");
    if (t->key_type != CKK_AES && t->key_type != CKK_GENERIC_SECRET && t->key_type != CKK_RSA && t->key_type != CKK_EC)
        return refuse_inside(at, BW_TEMPLATE_INVALID, "key_type", "not CKK_AES, CKK_GENERIC_SECRET, CKK_RSA or CKK_EC");
    if (t->length > 512)
        return refuse_inside(at, BW_TEMPLATE_INVALID, "length", "more than 512 bytes");
    if (t->n_uses > 7)
        return refuse_inside(at, BW_TEMPLATE_INVALID, "uses", "more than there are");
    return bw_success();
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct bw_text_pair *)a)->name, ((const struct bw_text_pair *)b)->name);
}

static bw_result check_pair(const struct at *at, const Pair *pair)
{
    if (pair->name[0] == '\0')
        return refuse(at, BW_BAD_ARGUMENT, "a name is empty");
    if (strlen(pair->name) > BW_CONTEXT_TEXT_MAX || strlen(pair->value) > BW_CONTEXT_TEXT_MAX)
        return refuse(at, BW_TOO_LARGE, "a name or value is longer than 512 bytes");
    if (!is_text(pair->name) || !is_text(pair->value))
        return refuse(at, BW_BAD_ARGUMENT, "not UTF-8 text, or with control characters");
    return bw_success();
}

static bw_result sorted_pairs(const struct at *at, struct bw_text_pair **ret_pairs, size_t *ret_count)
{
    struct bw_text_pair *pairs = bw_arena_alloc(at->arena, at->count * sizeof *pairs);

    BW_TRY(check_len(at, at->count));
    BW_CHECK(pairs != NULL, BW_NO_MEMORY, "pairs");
    for (size_t i = 0; i < at->count; i++) {
        const Pair *pair = elements_of(at)[i];
        BW_TRY(check_pair(at, pair));
        pairs[i] = (struct bw_text_pair){ pair->name, pair->value };
    }
    qsort(pairs, at->count, sizeof *pairs, by_name);
    for (size_t i = 1; i < at->count; i++)
        if (strcmp(pairs[i - 1].name, pairs[i].name) == 0)
            return refuse(at, BW_BAD_ARGUMENT, "a name stands there twice");
    *ret_pairs = pairs;
    *ret_count = at->count;
    return bw_success();
}

static bw_result context(const struct at *at)
{
    return sorted_pairs(at, &at->job->request.context, &at->job->request.context_count);
}

static bw_result new_context(const struct at *at)
{
    return sorted_pairs(at, &at->job->request.new_context, &at->job->request.new_context_count);
}

static bw_result tags(const struct at *at)
{
    struct bw_text_pair *pairs;
    size_t count;

    BW_TRY(sorted_pairs(at, &pairs, &count));
    for (size_t i = 0; i < count; i++)
        if (strlen(pairs[i].name) > BW_TAG_MAX || strlen(pairs[i].value) > BW_TAG_MAX)
            return refuse(at, BW_TOO_LARGE, "a name or value is longer than 128 bytes");
    return bw_success();
}

static bw_result texts(const struct at *at)
{
    BW_TRY(check_len(at, at->count));
    for (size_t i = 0; i < at->count; i++) {
        const char *element = elements_of(at)[i];
        if (element[0] == '\0' || strlen(element) > BW_ALIAS_MAX || !is_text(element))
            return refuse(at, BW_BAD_ARGUMENT, "an element is empty, longer than 64 bytes or not text");
    }
    return bw_success();
}

/* Repeated enums: each one named and known. */
static bw_result enums(const struct at *at)
{
    BW_TRY(check_len(at, at->count));
    const int *values = *(const int *const *)at->value;
    for (size_t i = 0; i < at->count; i++)
        if (values[i] == 0)
            return refuse(at, BW_BAD_ARGUMENT, "an element is none");
    return bw_success();
}

static bw_result page(const struct at *at)
{
    const Page *p = *(Page *const *)at->value;

    if (p == NULL)
        return bw_success();
    if (p->size > BW_PAGE_MAX)
        return refuse_inside(at, BW_BAD_ARGUMENT, "size", "more than 1000");
    if (strlen(p->token) > BW_SPIFFE_MAX || !is_text(p->token))
        return refuse_inside(at, BW_BAD_ARGUMENT, "token", "not a token of ours");
    return bw_success();
}

static bw_result tenant(const struct at *at)
{
    bw_tenant name;

    BW_TRY(check_len(at, strlen(text_of(at))));
    if (*text_of(at) != '\0' && !bw_ok(bw_tenant_parse(bw_bytes_text(text_of(at)), &name)))
        return refuse(at, BW_BAD_ARGUMENT, "not a tenant's name");
    return bw_success();
}

static bw_result spiffe_id(const struct at *at)
{
    struct bw_identity identity;

    BW_TRY(check_len(at, strlen(text_of(at))));
    if (*text_of(at) != '\0' && !bw_ok(bw_identity_parse(bw_bytes_text(text_of(at)), &identity)))
        return refuse(at, BW_BAD_ARGUMENT, "not a SPIFFE id of a caller");
    return bw_success();
}

/* GetKey: the name came before; one of the two. */
static bw_result alias_instead(const struct at *at)
{
    bool named = at->job->request.has_key, aliased = *text_of(at) != '\0';

    if (!named && !aliased)
        return refuse_named(BW_BAD_ARGUMENT, "name", "missing, and no alias instead");
    if (named && aliased)
        return refuse(at, BW_BAD_ARGUMENT, "a name or an alias, not both");
    return text(at);
}

static bw_result trust(const struct at *at, const Trust *t)
{
    if (t == NULL)
        return refuse_inside(at, BW_BAD_ARGUMENT, "trust", "missing");
    if (t->issuer.len == 0 || t->issuer.len > BW_DER_NAME_MAX || t->subject.len > BW_DER_NAME_MAX)
        return refuse_inside(at, BW_BAD_ARGUMENT, "trust", "no issuer, or a name longer than 4096 bytes");
    if (t->serial.len == 0 || t->serial.len > BW_DER_SERIAL_MAX)
        return refuse_inside(at, BW_BAD_ARGUMENT, "trust", "no serial number, or longer than 128 bytes");
    if ((t->sha1.len != 0 && t->sha1.len != 20) || (t->md5.len != 0 && t->md5.len != 16))
        return refuse_inside(at, BW_BAD_ARGUMENT, "trust", "a hash of another length");
    return bw_success();
}

/* What an object is: trust alone, or a value alone. */
static bw_result content(const struct at *at, const Object *o)
{
    bool is_trust = o->class_ == BAILIWICK__V1__OBJECT_CLASS__TRUST;

    if (is_trust && o->value.len == 0)
        return trust(at, o->trust);
    if (is_trust || o->value.len == 0 || o->value.len > BW_OBJECT_MAX)
        return refuse_inside(at, o->value.len > BW_OBJECT_MAX ? BW_TOO_LARGE : BW_BAD_ARGUMENT, "value", "missing, longer than 65536 bytes, or beside trust");
    if (o->trust != NULL)
        return refuse_inside(at, BW_BAD_ARGUMENT, "trust", "of another class");
    return bw_success();
}

static bw_result object(const struct at *at)
{
    const Object *o = *(Object *const *)at->value;

    if (o == NULL)
        return refuse(at, BW_BAD_ARGUMENT, "missing");
    if (o->id.len != 0 && o->id.len != 16)
        return refuse_inside(at, BW_BAD_ARGUMENT, "id", "not 16 bytes");
    if (strlen(o->label) > BW_LABEL_MAX || !is_text(o->label))
        return refuse_inside(at, BW_BAD_ARGUMENT, "label", "longer than 128 bytes, or not text");
    if (o->cka_id.len > BW_CKA_ID_MAX)
        return refuse_inside(at, BW_TOO_LARGE, "cka_id", "longer than 100 bytes");
    if (strlen(o->application) > BW_LABEL_MAX || !is_text(o->application))
        return refuse_inside(at, BW_BAD_ARGUMENT, "application", "longer than 128 bytes, or not text");
    if (o->object_id.len > BW_CKA_ID_MAX)
        return refuse_inside(at, BW_TOO_LARGE, "object_id", "longer than 100 bytes");
    return content(at, o);
}

/* Each operation is decoded by itself later, and refused by itself: here only how many there are, and that each is one. */
static bw_result operations(const struct at *at)
{
    const BatchRequest *batch = (const BatchRequest *)at->job->request.message;

    BW_TRY(check_len(at, at->count));
    if (batch->base.n_unknown_fields > 0)
        return refuse_named(BW_BAD_ARGUMENT, "operations", "a field beside them that this version does not know");
    for (size_t i = 0; i < at->count; i++) {
        const BatchOperation *operation = elements_of(at)[i];
        if (operation->operation_case == 0 || operation->base.n_unknown_fields > 0)
            return refuse(at, BW_BAD_ARGUMENT, "one of them is none that this version knows");
    }
    return bw_success();
}

/* ---- the messages ---- */

#define BW_REQUEST(snake)                    static const struct field snake##_fields[] = {
#define BW_FIELD(name, rule, least, most)    { #name, rule, least, most },
#define BW_END                               };
#include "requests.def"
#undef BW_REQUEST
#undef BW_FIELD
#undef BW_END

static const struct message { const struct field *fields; size_t count; } messages[] = {
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost) [number] = { snake##_fields, ARRAY_LEN(snake##_fields) },
#include "methods.def"
#undef BW_METHOD
};

/* ---- the schema ---- */

static bw_result refuse_path(struct bw_arena *arena, const char *path, const char *name, const char *what)
{
    const char *field = *path ? bw_arena_text(arena, "%s.%s", path, name) : name;
    return refuse_named(BW_BAD_ARGUMENT, field ? field : name, what);
}

static bool enum_is_known(const ProtobufCFieldDescriptor *field, int value)
{
    return protobuf_c_enum_descriptor_get_value(field->descriptor, value) != NULL;
}

/* Only what the schema has, all the way down. Depth is the schema's: our messages do not nest in themselves. */
static bw_result check_schema(const ProtobufCMessage *message, const char *path, struct bw_arena *arena)
{
    if (message->n_unknown_fields > 0)
        return refuse_path(arena, path, "(unknown)", "a field that this version does not know");

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const uint8_t *member = (const uint8_t *)message + field->offset;
        bool   repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        size_t count    = repeated ? *(const size_t *)(const void *)((const uint8_t *)message + field->quantifier_offset) : 1;

        for (size_t k = 0; k < count; k++) {
            if (field->type == PROTOBUF_C_TYPE_ENUM) {
                const int *values = repeated ? *(const int *const *)(const void *)member : (const int *)(const void *)member;
                if (!enum_is_known(field, values[k]))
                    return refuse_path(arena, path, field->name, "a number that this version does not know");
            } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                const ProtobufCMessage *const *inner = (const void *)member;
                const ProtobufCMessage *one = repeated ? ((const ProtobufCMessage *const *)(const void *)*inner)[k] : *inner;
                if (one != NULL)
                    BW_TRY(check_schema(one, field->name, arena));
            }
        }
    }
    return bw_success();
}

/* ---- the stage ---- */

static bw_result check_fields(struct bw_job *job)
{
    const ProtobufCMessage *message = job->request.message;
    const struct message *rows = &messages[job->method->number];

    assert(rows->count == message->descriptor->n_fields);
    for (size_t i = 0; i < rows->count; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const uint8_t *base = (const uint8_t *)message;
        struct at at = { .job = job, .arena = bw_job_arena(job), .field = &rows->fields[i], .value = base + field->offset };

        assert(strcmp(field->name, rows->fields[i].name) == 0);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            at.count = *(const size_t *)(const void *)(base + field->quantifier_offset);
        BW_TRY(rows->fields[i].rule(&at));
    }
    return bw_success();
}

bw_result bw_decode(struct bw_daemon *daemon, struct bw_job *job)
{
    struct bw_request *request = &job->request;
    (void)daemon;

    request->purpose = "";
    BW_CHECK(job->method->request != NULL, BW_UNIMPLEMENTED, "no such method");
    if (request->message == NULL) { /* the operations of a Batch have theirs */
        ProtobufCMessage *message;
        BW_TRY(bw_wire_unpack(job->method->request, job->call->message, bw_job_arena(job), &message));
        request->message = message;
        const char *cut = bw_wire_cut_text(job->method->request, job->call->message, bw_job_arena(job));
        if (cut != NULL)
            return refuse_named(BW_BAD_ARGUMENT, cut, "text with a NUL byte");
    }
    BW_TRY(check_fields(job));
    return job->method->number == BW_METHOD_NR_Batch ? bw_success() : check_schema(request->message, "", bw_job_arena(job));
}
