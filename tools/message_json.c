#include "message_json.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/v1/common.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "bailiwick/v1/record.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "method.h"
#include "moment.h"

/* ---- fields that say more than their type does ---- */

static json_t *name_of_operation(const void *value)
{
    const char *name = bw_operation_name(*(const uint32_t *)value);
    return name ? json_string(name) : json_integer(*(const uint32_t *)value);
}

/* an unknown number has the row of INTERNAL, which would be a lie */
static json_t *name_of_code(const void *value)
{
    uint32_t number = *(const uint32_t *)value;
    const struct bw_code_row *row = bw_code_row((enum bw_code)number);
    return (uint32_t)row->code == number ? json_string(row->name) : json_integer(number);
}

/* 0: nothing was refused */
static json_t *name_of_refusal(const void *value)
{
    return *(const uint32_t *)value ? name_of_code(value) : NULL;
}

static json_t *name_of_mechanism(const void *value)
{
    uint32_t number = *(const uint32_t *)value;
    const struct bw_mechanism_row *row = bw_mechanism_row(number);

    if (row != NULL && number != 0)
        return json_string(row->name);
    return number ? json_integer(number) : NULL; /* 0: none named */
}

static json_t *json_inside(const void *value)
{
    const char *text = *(char *const *)value;
    return text[0] ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

static json_t *pem(const char *title, ProtobufCBinaryData der)
{
    BIO    *bio    = BIO_new(BIO_s_mem());
    json_t *string = NULL;
    char   *text;

    if (bio != NULL && der.len > 0 && PEM_write_bio(bio, title, "", der.data, (long)der.len) > 0) {
        long len = BIO_get_mem_data(bio, &text);
        string = json_stringn(text, (size_t)len);
    }
    BIO_free(bio);
    return string;
}

static json_t *pem_public_key(const void *value)
{
    return pem("PUBLIC KEY", *(const ProtobufCBinaryData *)value);
}

static json_t *hex(ProtobufCBinaryData bytes)
{
    char   *text   = bytes.len > 0 ? malloc(2 * bytes.len + 1) : NULL;
    json_t *string = NULL;

    if (text != NULL) {
        bw_hex(bw_bytes_of(bytes.data, bytes.len), text);
        string = json_string(text);
    }
    free(text);
    return string;
}

/* the value of a certificate object is one; any other object's is anything */
static json_t *pem_certificate(const void *value)
{
    ProtobufCBinaryData  bytes = *(const ProtobufCBinaryData *)value;
    const unsigned char *der   = bytes.data;
    X509 *certificate = d2i_X509(NULL, &der, (long)bytes.len);
    bool  is_one      = certificate != NULL && der == bytes.data + bytes.len;

    X509_free(certificate);
    return is_one ? pem("CERTIFICATE", bytes) : hex(bytes);
}

typedef json_t *render_fn(const void *value);

static const struct { const ProtobufCMessageDescriptor *message; const char *field; render_fn *render; } special[] = {
    { &bailiwick__v1__record_essential__descriptor, "operation",  name_of_operation    },
    { &bailiwick__v1__record_essential__descriptor, "reason",     name_of_code      },
    { &bailiwick__v1__record_essential__descriptor, "mechanism",  name_of_mechanism },
    { &bailiwick__v1__policy_count__descriptor,     "operation",  name_of_operation },
    { &bailiwick__v1__policy_example__descriptor,   "operation",  name_of_operation },
    { &bailiwick__v1__policy_example__descriptor,   "mechanism",  name_of_mechanism },
    { &bailiwick__v1__policy_example__descriptor,   "reason",     name_of_refusal   },
    { &bailiwick__v1__grant__descriptor,            "terms",      json_inside       },
    { &bailiwick__v1__key_version__descriptor,      "public_key", pem_public_key    },
    { &bailiwick__v1__object__descriptor,           "value",      pem_certificate   },
    { &bailiwick__v1__key__descriptor,              "policy",     json_inside       },
    { &bailiwick__v1__tenant__descriptor,           "policy",     json_inside       },
    { &bailiwick__v1__create_key_request__descriptor,        "policy", json_inside  },
    { &bailiwick__v1__set_key_policy_request__descriptor,    "policy", json_inside  },
    { &bailiwick__v1__set_tenant_policy_request__descriptor, "policy", json_inside  },
};

static render_fn *special_for(const ProtobufCMessageDescriptor *message, const char *field)
{
    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].message == message && strcmp(special[i].field, field) == 0)
            return special[i].render;
    return NULL;
}

/* ---- one value ---- */

static json_t *name_of_enum(const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value(descriptor, value);
    return row ? json_string(row->name) : json_integer(value);
}

static bool is_time(const ProtobufCFieldDescriptor *field)
{
    size_t len = strlen(field->name);
    return field->type == PROTOBUF_C_TYPE_INT64 && len > 3 && strcmp(field->name + len - 3, "_us") == 0;
}

static json_t *time_text(int64_t us)
{
    char text[BW_MOMENT_TEXT];

    bw_moment_print(us, text);
    return us ? json_string(text) : NULL;
}

static json_t *text_or_nothing(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : NULL;
}

/* NULL: there is nothing to say */
static json_t *render(const ProtobufCFieldDescriptor *field, const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:   return json_integer(*(const int32_t *)value);
    case PROTOBUF_C_TYPE_UINT32:  return json_integer(*(const uint32_t *)value);
    case PROTOBUF_C_TYPE_INT64:   return is_time(field) ? time_text(*(const int64_t *)value) : json_integer(*(const int64_t *)value);
    case PROTOBUF_C_TYPE_UINT64:  return json_integer((json_int_t)*(const uint64_t *)value);
    case PROTOBUF_C_TYPE_BOOL:    return json_boolean(*(const protobuf_c_boolean *)value);
    case PROTOBUF_C_TYPE_ENUM:    return name_of_enum(field->descriptor, *(const int *)value);
    case PROTOBUF_C_TYPE_STRING:  return text_or_nothing(*(char *const *)value);
    case PROTOBUF_C_TYPE_BYTES:   return hex(*(const ProtobufCBinaryData *)value);
    case PROTOBUF_C_TYPE_MESSAGE: return *(void *const *)value ? bw_message_json(*(ProtobufCMessage *const *)value) : NULL;
    default:                      return NULL; /* types that no message of ours has */
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:   return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:  return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:    return sizeof(protobuf_c_boolean);
    default:                      return sizeof(uint32_t);
    }
}

/* ---- fields and messages ---- */

static json_t *render_pairs(Bailiwick__V1__Pair *const *pairs, size_t count)
{
    json_t *object = json_object();

    for (size_t i = 0; object != NULL && i < count; i++)
        if (json_object_set_new(object, pairs[i]->name, json_string(pairs[i]->value)) != 0)
            return json_decref(object), NULL;
    return object;
}

static json_t *render_repeated(const ProtobufCFieldDescriptor *field, const char *values, size_t count)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->descriptor == &bailiwick__v1__pair__descriptor)
        return render_pairs((Bailiwick__V1__Pair *const *)(const void *)values, count);

    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < count; i++)
        if (json_array_append_new(array, render(field, values + i * size_of(field))) != 0)
            return json_decref(array), NULL;
    return array;
}

static json_t *render_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base    = (const char *)message;
    const void *value   = base + field->offset;
    render_fn  *special_render = special_for(message->descriptor, field->name);

    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return render_repeated(field, *(char *const *)value, *(const size_t *)(const void *)(base + field->quantifier_offset));
    return special_render ? special_render(value) : render(field, value);
}

json_t *bw_message_json(const ProtobufCMessage *message)
{
    json_t *object = json_object();

    for (unsigned i = 0; object != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        json_t *value = render_field(message, field);
        int     cut   = is_time(field) ? 3 : 0;

        if (value != NULL && json_object_setn_new_nocheck(object, field->name, strlen(field->name) - (size_t)cut, value) != 0)
            return json_decref(object), NULL;
    }
    return object;
}
