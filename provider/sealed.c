#include "sealed.h"

#include "session.h"
#include "slot.h"
#include "token.h"

struct bw_session_key bw_sealed_template(const struct bw_attributes *a)
{
    CK_KEY_TYPE type = bw_attributes_ulong(a, CKA_KEY_TYPE);
    CK_ULONG    len  = bw_attributes_ulong(a, CKA_VALUE_LEN);

    return (struct bw_session_key){
        .key_type    = type,
        .length      = len == CK_UNAVAILABLE_INFORMATION ? 0 : (unsigned)len,
        .uses        = bw_token_uses_wanted(a) & bw_token_uses_of(type),
        .extractable = bw_attributes_bool(a, CKA_EXTRACTABLE),
        .release     = bw_attributes_bool(a, CKA_EXTRACTABLE) && !bw_attributes_bool(a, CKA_SENSITIVE),
    };
}

static bool is_private(const struct bw_attributes *a)
{
    return bw_attributes_ulong(a, CKA_CLASS) == CKO_PRIVATE_KEY;
}

static bw_result set_history(struct bw_attributes *a, struct bw_birth birth)
{
    bool local = birth.generator != CK_UNAVAILABLE_INFORMATION;

    BW_TRY(bw_attributes_set_bool(a, CKA_TOKEN, false));
    BW_TRY(bw_attributes_set_bool(a, CKA_LOCAL, local));
    BW_TRY(bw_attributes_set_ulong(a, CKA_KEY_GEN_MECHANISM, birth.generator));
    BW_TRY(bw_attributes_set_bool(a, CKA_ALWAYS_SENSITIVE, local && bw_attributes_bool(a, CKA_SENSITIVE)));
    BW_TRY(bw_attributes_set_bool(a, CKA_NEVER_EXTRACTABLE, local && !bw_attributes_bool(a, CKA_EXTRACTABLE)));
    return bw_token_allow(a, birth.uses);
}

/* A value, released or the application's own, that the template calls sensitive is not kept. A key whose value was not released is
 * sensitive, whatever the template says. */
static bw_result set_value(struct bw_object *object, const struct bw_sealed_key *key)
{
    struct bw_attributes *a = &object->attributes;
    bool readable = bw_attributes_bool(a, CKA_EXTRACTABLE) && !bw_attributes_bool(a, CKA_SENSITIVE);

    if (!readable) {
        bw_secret_free(a->hidden);
        a->hidden = NULL;
    }
    if (key->value.len > 0 && readable)
        BW_TRY(bw_secret_copy(key->value, &a->hidden));
    if (readable && a->hidden == NULL)
        return bw_attributes_set_bool(a, CKA_SENSITIVE, true);
    return bw_success();
}

static bw_result describe_secret(struct bw_attributes *a, const struct bw_sealed_key *key)
{
    bw_bytes told = bw_attributes_bytes(a, CKA_CHECK_VALUE); /* by the template */

    BW_CHECK(told.len == 0 || bw_bytes_equal(told, key->check), BW_ATTRIBUTE_VALUE, "the check value is another key's");
    BW_TRY(bw_attributes_set(a, CKA_CHECK_VALUE, key->check));
    return bw_attributes_set_ulong(a, CKA_VALUE_LEN, key->length);
}

/* The region cannot tell the point of an EC key that it only unwrapped. */
static bw_result describe_private(struct bw_attributes *a, const struct bw_sealed_key *key)
{
    BW_CHECK(key->spec != NULL && key->spec->key_type == bw_attributes_ulong(a, CKA_KEY_TYPE), BW_PROTOCOL_BROKEN, "a session key of another kind");
    if (key->public_key.len > 0)
        return bw_token_describe_public(a, key->public_key);
    BW_CHECK(key->spec->key_type == CKK_EC, BW_PROTOCOL_BROKEN, "no public half in the reply");
    return bw_attributes_set(a, CKA_EC_PARAMS, key->spec->curve);
}

bw_result bw_sealed_add(struct bw_session *session, const struct bw_attributes *a, const struct bw_sealed_key *key,
                        struct bw_birth birth, CK_OBJECT_HANDLE *ret_key)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(BW_ORIGIN_SEALED, &object));
    BW_TRY(bw_attributes_copy(a, &object->attributes));
    BW_TRY(bw_buf_add(&object->sealed, key->sealed));
    object->key.sealed = bw_buf_bytes(&object->sealed);
    object->length     = key->length;
    BW_TRY(is_private(a) ? describe_private(&object->attributes, key) : describe_secret(&object->attributes, key));
    BW_TRY(set_value(object, key));
    BW_TRY(set_history(&object->attributes, birth));
    return bw_objects_add(session, object, ret_key);
}

static bw_result describe_half(struct bw_attributes *a, bw_bytes spki, CK_MECHANISM_TYPE generator)
{
    BW_TRY(bw_attributes_set_bool(a, CKA_TOKEN, false));
    BW_TRY(bw_attributes_set_bool(a, CKA_LOCAL, true));
    BW_TRY(bw_attributes_set_ulong(a, CKA_KEY_GEN_MECHANISM, generator));
    bw_result r = bw_token_describe_public(a, spki);
    BW_CHECK(bw_ok(r) || r.code == BW_NO_MEMORY, BW_PROTOCOL_BROKEN, "no public half in the reply");
    BW_TRY(r);
    return bw_token_allow(a, bw_token_uses_wanted(a) & bw_token_uses_of(bw_attributes_ulong(a, CKA_KEY_TYPE)));
}

bw_result bw_sealed_add_public(struct bw_session *session, const struct bw_attributes *a, bw_bytes spki, CK_MECHANISM_TYPE generator,
                               CK_OBJECT_HANDLE *ret_key)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(BW_ORIGIN_SESSION, &object));
    BW_TRY(bw_attributes_copy(a, &object->attributes));
    BW_TRY(describe_half(&object->attributes, spki, generator));
    return bw_objects_add(session, object, ret_key);
}
