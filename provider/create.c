#include "create.h"

#include <string.h>

#include "bring.h"
#include "output.h"
#include "session.h"
#include "slot.h"
#include "spki.h"
#include "token.h"

/* ---- making ---- */

static CK_OBJECT_CLASS class_of(const struct bw_object *object)
{
    return bw_attributes_ulong(&object->attributes, CKA_CLASS);
}

static bool is_on_token(const struct bw_object *object)
{
    return object->origin == BW_ORIGIN_KEY || object->origin == BW_ORIGIN_STORED;
}

static bw_result check_writable(const struct bw_session *session, bool on_token)
{
    BW_CHECK(!on_token || session->read_write, BW_SESSION_READ_ONLY, "a token object in a read-only session");
    return bw_success();
}

static struct bw_public public_of(const struct bw_attributes *a)
{
    return (struct bw_public){
        .type     = bw_attributes_ulong(a, CKA_KEY_TYPE),
        .modulus  = bw_attributes_bytes(a, CKA_MODULUS),
        .exponent = bw_attributes_bytes(a, CKA_PUBLIC_EXPONENT),
        .params   = bw_attributes_bytes(a, CKA_EC_PARAMS),
        .point    = bw_spki_bare_point(bw_attributes_bytes(a, CKA_EC_POINT)),
    };
}

/* The parts make the whole, which in turn makes the parts what they should be: no leading zeros, the point in its OCTET STRING. */
static bw_result complete_public(struct bw_attributes *a)
{
    struct bw_buf    spki  = { 0 };
    struct bw_public key   = public_of(a);
    bool             whole = key.type == CKK_RSA ? key.modulus.len > 0 && key.exponent.len > 0 : key.params.len > 0 && key.point.len > 0;

    BW_CHECK(whole, BW_TEMPLATE_INCOMPLETE, "parts of the public key");
    bw_result r = bw_spki_build(&key, &spki);
    if (bw_ok(r))
        r = bw_token_describe_public(a, bw_buf_bytes(&spki));
    bw_buf_clear(&spki);
    BW_CHECK(bw_ok(r) || r.code == BW_CURVE, BW_ATTRIBUTE_VALUE, "no such public key");
    BW_TRY(r);
    return bw_token_allow(a, bw_token_uses_wanted(a) & bw_token_uses_of(key.type));
}

/* What the certificate says of itself goes before what the template says of it. */
static bw_result complete_certificate(struct bw_attributes *a)
{
    struct bw_buf der = { 0 };
    bw_bytes value = bw_attributes_bytes(a, CKA_VALUE);

    BW_CHECK(bw_attributes_ulong(a, CKA_CERTIFICATE_TYPE) == CKC_X_509, BW_ATTRIBUTE_VALUE, "only X.509 certificates");
    BW_CHECK(value.len > 0, BW_TEMPLATE_INCOMPLETE, "a certificate without its value");
    BW_TRY(bw_buf_add(&der, value));
    bw_result r = bw_token_describe_certificate(a, bw_buf_bytes(&der));
    bw_buf_clear(&der);
    BW_CHECK(r.code != BW_DATA_INVALID, BW_ATTRIBUTE_VALUE, "no X.509 certificate");
    return r;
}

/* NSS looks for it by these two. */
static bw_result complete_trust(const struct bw_attributes *a)
{
    bw_bytes sha1 = bw_attributes_bytes(a, CKA_CERT_SHA1_HASH), md5 = bw_attributes_bytes(a, CKA_CERT_MD5_HASH);
    bool is_whole = bw_attributes_bytes(a, CKA_ISSUER).len > 0 && bw_attributes_bytes(a, CKA_SERIAL_NUMBER).len > 0;

    BW_CHECK(is_whole, BW_TEMPLATE_INCOMPLETE, "trust in no certificate");
    BW_CHECK(sha1.len == 0 || sha1.len == 20, BW_ATTRIBUTE_VALUE, "no SHA-1 hash");
    BW_CHECK(md5.len == 0 || md5.len == 16, BW_ATTRIBUTE_VALUE, "no MD5 hash");
    return bw_success();
}

static bw_result complete(struct bw_object *object)
{
    switch (class_of(object)) {
    case CKO_PUBLIC_KEY:  return complete_public(&object->attributes);
    case CKO_CERTIFICATE: return complete_certificate(&object->attributes);
    case CKO_NSS_TRUST:   return complete_trust(&object->attributes);
    case CKO_DATA:        return bw_success();
    case CKO_PROFILE:     return bw_fail(BW_ATTRIBUTE_VALUE, "profiles are the token's to have");
    default:              return bw_fail(BW_ATTRIBUTE_VALUE, "not a class that applications make");
    }
}

static struct bw_remote_object stored_of(const struct bw_object *object)
{
    const struct bw_attributes *a = &object->attributes;
    static const uint8_t none[BW_KEY_ID_LEN];
    bw_bytes id = bw_bytes_of(object->id, sizeof object->id);

    return (struct bw_remote_object){
        .id          = bw_bytes_equal(id, bw_bytes_of(none, sizeof none)) ? (bw_bytes){ NULL, 0 } : id,
        .class       = class_of(object),
        .label       = bw_attributes_bytes(a, CKA_LABEL),
        .cka_id      = bw_attributes_bytes(a, CKA_ID),
        .value       = bw_attributes_bytes(a, CKA_VALUE),
        .application = bw_attributes_bytes(a, CKA_APPLICATION),
        .object_id   = bw_attributes_bytes(a, CKA_OBJECT_ID),
        .trust       = bw_token_trust(a),
    };
}

/* The region keeps it, new or in the place of what has that id. */
static bw_result put_at_region(struct bw_session *session, const struct bw_object *object, CK_OBJECT_HANDLE *ret_handle)
{
    struct bw_slot         *slot  = session->slot;
    struct bw_arena         arena = { 0 };
    struct bw_remote_object sent  = stored_of(object), kept;

    bw_result r = bw_rpc_put_object(&slot->remote, &arena, &sent, &kept);
    if (bw_ok(r))
        r = bw_objects_learn(slot, &(struct bw_listing){ .stored = &kept, .stored_count = 1 });
    if (bw_ok(r))
        *ret_handle = bw_objects_handle(slot->objects, kept.id.data, kept.class);
    bw_arena_clear(&arena);
    return r;
}

static bw_result add(struct bw_session *session, struct bw_object *object, CK_OBJECT_HANDLE *ret_handle)
{
    bool on_token = bw_attributes_bool(&object->attributes, CKA_TOKEN);

    BW_TRY(check_writable(session, on_token));
    if (!on_token)
        return bw_objects_add(session, object, ret_handle);
    BW_CHECK(class_of(object) != CKO_PUBLIC_KEY, BW_TOKEN_READ_ONLY, "a public key without its private key is not kept");
    return put_at_region(session, object, ret_handle);
}

static bool says_class(struct bw_template t, CK_OBJECT_CLASS wanted)
{
    bw_bytes class;
    return bw_template_find(t.attributes, t.count, CKA_CLASS, &class) && bw_bytes_equal(class, bw_bytes_of(&wanted, sizeof wanted));
}

static bool is_for_token(struct bw_template t)
{
    static const CK_BBOOL yes = CK_TRUE;
    bw_bytes token;

    return bw_template_find(t.attributes, t.count, CKA_TOKEN, &token) && bw_bytes_equal(token, bw_bytes_of(&yes, sizeof yes));
}

bw_result bw_create(struct bw_session *session, const CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *ret_object)
{
    BW_AUTO(object) object = NULL;
    const struct bw_template t = { template, count };

    BW_CHECK(ret_object != NULL, BW_BAD_ARGUMENT, "no place for the handle");
    BW_TRY(bw_template_check(template, count));
    bool is_secret = says_class(t, CKO_SECRET_KEY);
    if (says_class(t, CKO_PRIVATE_KEY) || (is_secret && is_for_token(t)))
        return bw_bring(session, t, ret_object);
    if (is_secret)
        return bw_key_import(session, t, ret_object);
    BW_TRY(bw_object_new(BW_ORIGIN_SESSION, &object));
    BW_TRY(bw_attributes_take(&object->attributes, BW_GIVEN_CREATE, template, count));
    BW_TRY(complete(object));
    return add(session, object, ret_object);
}

/* ---- copying ---- */

static bw_result duplicate(const struct bw_object *from, enum bw_origin origin, struct bw_object **ret_duplicate)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(origin, &object));
    BW_TRY(bw_attributes_copy(&from->attributes, &object->attributes));
    BW_TRY(bw_buf_add(&object->sealed, bw_buf_bytes(&from->sealed)));
    object->key        = from->key;
    object->key.sealed = bw_buf_bytes(&object->sealed);
    object->length     = from->length;
    *ret_duplicate = bw_take(&object);
    return bw_success();
}

/* What goes one way only (PKCS#11 v3.0, 4.4, 4.9 and 4.10): a key may become more secret, an object more fixed. */
static bw_result check_one_way(const struct bw_attributes *before, const struct bw_attributes *after)
{
    static const struct { CK_ATTRIBUTE_TYPE type; bool stays; } one_way[] = {
        { CKA_SENSITIVE, true }, { CKA_WRAP_WITH_TRUSTED, true }, { CKA_EXTRACTABLE, false }, { CKA_COPYABLE, false }, { CKA_DESTROYABLE, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(one_way); i++) {
        bool was = bw_attributes_bool(before, one_way[i].type), is = bw_attributes_bool(after, one_way[i].type);
        BW_CHECK(was == is || is == one_way[i].stays, BW_ATTRIBUTE_READ_ONLY, "the attribute changes in the other direction only");
    }
    return bw_success();
}

bw_result bw_create_copy(struct bw_session *session, CK_OBJECT_HANDLE handle, const CK_ATTRIBUTE *template, CK_ULONG count,
                         CK_OBJECT_HANDLE *ret_copy)
{
    BW_AUTO(object) from = NULL;
    BW_AUTO(object) copy = NULL;

    BW_CHECK(ret_copy != NULL, BW_BAD_ARGUMENT, "no place for the handle");
    BW_TRY(bw_objects_get(session, handle, &from));
    BW_CHECK(bw_attributes_bool(&from->attributes, CKA_COPYABLE), BW_ACTION_PROHIBITED, "the object is not copyable");
    BW_TRY(duplicate(from, from->origin == BW_ORIGIN_SEALED ? BW_ORIGIN_SEALED : BW_ORIGIN_SESSION, &copy));
    BW_TRY(bw_attributes_set_bool(&copy->attributes, CKA_TOKEN, false));
    BW_TRY(bw_attributes_take(&copy->attributes, BW_GIVEN_COPY, template, count));
    BW_TRY(check_one_way(&from->attributes, &copy->attributes));
    BW_CHECK(copy->origin != BW_ORIGIN_SEALED || !bw_attributes_bool(&copy->attributes, CKA_TOKEN), BW_TEMPLATE_INVALID, "a session key stays one");
    return add(session, copy, ret_copy);
}

/* ---- changing ---- */

static bw_result change_key(struct bw_session *session, const struct bw_object *before, const struct bw_object *after)
{
    struct bw_slot  *slot  = session->slot;
    struct bw_arena  arena = { 0 };
    bw_bytes label = bw_attributes_bytes(&after->attributes, CKA_LABEL), id = bw_attributes_bytes(&after->attributes, CKA_ID);
    bool new_label = !bw_bytes_equal(label, bw_attributes_bytes(&before->attributes, CKA_LABEL));
    bool new_id    = !bw_bytes_equal(id, bw_attributes_bytes(&before->attributes, CKA_ID));
    unsigned lost  = bw_token_uses_wanted(&before->attributes) & ~bw_token_uses_wanted(&after->attributes);
    unsigned uses  = before->uses & ~lost;
    struct bw_key_change change = { new_label ? &label : NULL, new_id ? &id : NULL, lost != 0 ? &uses : NULL };
    struct bw_remote_key kept;

    if (!new_label && !new_id && lost == 0)
        return bw_success();
    bw_result r = bw_objects_heed(slot->objects, bw_rpc_update_key(&slot->remote, &arena, &before->key.name, &change, &kept));
    if (bw_ok(r))
        r = bw_objects_learn(slot, &(struct bw_listing){ .keys = &kept, .key_count = 1 });
    bw_arena_clear(&arena);
    return r;
}

/* What the template may say of a master key: the rest is as the region has it. */
static bw_result check_key_change(const struct bw_object *before, const struct bw_object *after)
{
    static const CK_ATTRIBUTE_TYPE fixed[] = {
        CKA_COPYABLE, CKA_DESTROYABLE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE,
    };

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        bw_bytes was = bw_attributes_bytes(&before->attributes, fixed[i]), wanted = bw_attributes_bytes(&after->attributes, fixed[i]);
        BW_CHECK(bw_bytes_equal(was, wanted), BW_ATTRIBUTE_READ_ONLY, "the region keeps no such change");
    }
    unsigned gained = bw_token_uses_wanted(&after->attributes) & ~bw_token_uses_wanted(&before->attributes);
    BW_CHECK(gained == 0, BW_ATTRIBUTE_READ_ONLY, "a key's uses may only be narrowed");
    return bw_success();
}

static bw_result change(struct bw_session *session, struct bw_object *before, struct bw_object *after)
{
    CK_OBJECT_HANDLE handle;

    switch (before->origin) {
    case BW_ORIGIN_KEY:
        BW_TRY(check_key_change(before, after));
        return change_key(session, before, after);
    case BW_ORIGIN_STORED:
        memcpy(after->id, before->id, sizeof after->id);
        return put_at_region(session, after, &handle);
    case BW_ORIGIN_SESSION:
    case BW_ORIGIN_SEALED:
        BW_CHECK(!bw_attributes_bool(&after->attributes, CKA_TOKEN), BW_ATTRIBUTE_READ_ONLY, "a session object stays one");
        return bw_objects_replace(session->slot->objects, before->handle, after);
    }
    return bw_fail(BW_INTERNAL, "an object of unknown origin");
}

bw_result bw_create_change(struct bw_session *session, CK_OBJECT_HANDLE handle, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    BW_AUTO(object) before = NULL;
    BW_AUTO(object) after  = NULL;

    BW_TRY(bw_objects_get(session, handle, &before));
    BW_CHECK(bw_attributes_bool(&before->attributes, CKA_MODIFIABLE), BW_ACTION_PROHIBITED, "the object is not modifiable");
    BW_TRY(check_writable(session, is_on_token(before)));
    BW_TRY(duplicate(before, before->origin, &after));
    BW_TRY(bw_attributes_take(&after->attributes, BW_GIVEN_CHANGE, template, count));
    BW_TRY(check_one_way(&before->attributes, &after->attributes));
    return change(session, before, after);
}

/* ---- destroying ---- */

static bw_result destroy_at_region(struct bw_session *session, const struct bw_object *object)
{
    struct bw_arena arena = { 0 };
    bw_result r = object->origin == BW_ORIGIN_KEY
        ? bw_rpc_schedule_deletion(&session->slot->remote, &arena, &object->key.name)
        : bw_rpc_delete_object(&session->slot->remote, &arena, bw_bytes_of(object->id, sizeof object->id));

    bw_arena_clear(&arena);
    return bw_objects_heed(session->slot->objects, r);
}

bw_result bw_create_destroy(struct bw_session *session, CK_OBJECT_HANDLE handle)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_objects_get(session, handle, &object));
    BW_CHECK(bw_attributes_bool(&object->attributes, CKA_DESTROYABLE), BW_ACTION_PROHIBITED, "the object is not destroyable");
    BW_TRY(check_writable(session, is_on_token(object)));
    bool hides = object->origin == BW_ORIGIN_KEY && class_of(object) == CKO_PUBLIC_KEY;
    if (is_on_token(object) && !hides)
        BW_TRY(destroy_at_region(session, object));
    bw_objects_forget(session->slot->objects, object);
    return bw_success();
}

bw_result bw_create_size(struct bw_session *session, CK_OBJECT_HANDLE handle, CK_ULONG *ret_size)
{
    BW_AUTO(object) object = NULL;

    BW_CHECK(ret_size != NULL, BW_BAD_ARGUMENT, "no place for the size");
    BW_TRY(bw_objects_get(session, handle, &object));
    bw_ulong_put(ret_size, object->attributes.packed.len + object->sealed.len + bw_secret_len(object->attributes.hidden));
    return bw_success();
}
