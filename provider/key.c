#include "key.h"

#include <string.h>

#include "bailiwick/limits.h"
#include "object.h"
#include "parameters.h"
#include "sealed.h"
#include "slot.h"
#include "spki.h"
#include "token.h"

/* RFC 8410 names Ed25519 by an OID, PKCS#11 v3.0 (Current Mechanisms 2.3.10) also by this PrintableString. */
static const uint8_t edwards25519[] = "\x13\x0c" "edwards25519";

/* ---- what the template asks for ---- */

static bw_result check_mechanism(struct bw_session *session, const CK_MECHANISM *mechanism, unsigned use,
                                 struct bw_arena *arena, struct bw_parameters *ret_parameters)
{
    BW_TRY(bw_parameters_parse(mechanism, use, arena, ret_parameters));
    BW_CHECK(bw_slot_offers(session->slot, ret_parameters->mechanism.row->type), BW_MECHANISM_INVALID, "the region's HSM does not offer it");
    return bw_success();
}

static bw_result take_template(struct bw_attributes *a, CK_OBJECT_CLASS class, enum bw_occasion occasion,
                               struct bw_template wanted)
{
    BW_TRY(bw_attributes_set_ulong(a, CKA_CLASS, class));
    return bw_attributes_take(a, occasion, wanted.attributes, wanted.count);
}

static bw_result check_writable(struct bw_session *session, const struct bw_attributes *a)
{
    BW_CHECK(!bw_attributes_bool(a, CKA_TOKEN) || session->read_write, BW_SESSION_READ_ONLY, "a token object in a read-only session");
    return bw_success();
}

static bw_result check_length(const struct bw_attributes *a, bool required)
{
    CK_ULONG len = bw_attributes_ulong(a, CKA_VALUE_LEN);

    if (len == CK_UNAVAILABLE_INFORMATION && !required)
        return bw_success();
    BW_CHECK(len != CK_UNAVAILABLE_INFORMATION, BW_TEMPLATE_INCOMPLETE, "no CKA_VALUE_LEN");
    bool is_aes = bw_attributes_ulong(a, CKA_KEY_TYPE) == CKK_AES;
    BW_CHECK(is_aes ? len == 16 || len == 24 || len == 32 : len >= 1 && len <= 512, BW_KEY_SIZE, "CKA_VALUE_LEN");
    return bw_success();
}

/* ---- session keys ---- */

static bw_result generate_session_key(struct bw_session *session, const struct bw_mechanism *mechanism,
                                      const struct bw_attributes *a, struct bw_arena *arena, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_session_key template = bw_sealed_template(a);
    struct bw_sealed_key  key;

    BW_TRY(bw_rpc_generate_key(&session->slot->remote, arena, mechanism, &template, &key));
    return bw_sealed_add(session, a, &key, (struct bw_birth){ mechanism->row->type, template.uses }, ret_key);
}

static bw_result import(struct bw_session *session, struct bw_attributes *a, struct bw_template given, struct bw_arena *arena, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_sealed_key key;

    BW_TRY(bw_attributes_take(a, BW_GIVEN_CREATE, given.attributes, given.count));
    BW_CHECK(!bw_attributes_bool(a, CKA_TOKEN), BW_TEMPLATE_INVALID, "a key on the token comes another way");
    bw_bytes value = bw_bytes_of(bw_secret_reveal(a->hidden), bw_secret_len(a->hidden));
    BW_CHECK(value.len > 0, BW_TEMPLATE_INCOMPLETE, "no CKA_VALUE");
    BW_CHECK(value.len <= BW_SESSION_KEY_MAX, BW_KEY_SIZE, "CKA_VALUE");
    struct bw_session_key template = bw_sealed_template(a);
    BW_TRY(bw_rpc_import_session_key(&session->slot->remote, arena, value, &template, &key));
    return bw_sealed_add(session, a, &key, (struct bw_birth){ CK_UNAVAILABLE_INFORMATION, template.uses }, ret_key);
}

bw_result bw_key_import(struct bw_session *session, struct bw_template given, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_arena arena = { 0 };
    struct bw_attributes attributes = { 0 };

    bw_result r = import(session, &attributes, given, &arena, ret_key);
    bw_attributes_clear(&attributes);
    bw_arena_clear(&arena);
    return r;
}

/* ---- master keys ---- */

const struct bw_spec_row *bw_key_spec(CK_KEY_TYPE key_type, CK_ULONG bits, bw_bytes curve)
{
    const struct bw_spec_row *row;

    if (bw_bytes_equal(curve, bw_bytes_of(edwards25519, sizeof edwards25519 - 1)))
        curve = bw_spec_row(BW_SPEC_ED25519)->curve;
    for (unsigned i = 1; (row = bw_spec_row((enum bw_spec)i)) != NULL; i++)
        if (row->key_type == key_type && (curve.len > 0 ? bw_bytes_equal(row->curve, curve) : row->bits == bits))
            return row;
    return NULL;
}

/* Sensitive it will be whatever the template says: that is stricter than asked. Extractable it will not. */
static bw_result check_secrecy(const struct bw_attributes *a)
{
    BW_CHECK(!bw_attributes_bool(a, CKA_EXTRACTABLE), BW_TEMPLATE_INVALID, "a master key cannot be extractable");
    return bw_success();
}

static bw_result create_master_key(struct bw_session *session, const struct bw_attributes *a, const struct bw_spec_row *spec,
                                   unsigned uses, struct bw_arena *arena, bw_key_id *ret_id)
{
    struct bw_new_key new_key = {
        .spec   = spec->spec,
        .uses   = uses & spec->uses,
        .label  = bw_attributes_bytes(a, CKA_LABEL),
        .cka_id = bw_attributes_bytes(a, CKA_ID),
    };
    struct bw_remote_key key;

    BW_TRY(check_writable(session, a));
    BW_TRY(check_secrecy(a));
    BW_CHECK(new_key.uses != 0, BW_TEMPLATE_INVALID, "a key for nothing");
    BW_TRY(bw_rpc_create_key(&session->slot->remote, arena, &new_key, &key));
    *ret_id = key.name.id;
    return bw_objects_learn(session->slot, &(struct bw_listing){ .keys = &key, .key_count = 1 });
}

bw_result bw_key_handle(struct bw_session *session, const bw_key_id *id, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *ret_handle)
{
    CK_OBJECT_HANDLE handle = bw_objects_handle(session->slot->objects, id->bytes, class);

    BW_CHECK(handle != CK_INVALID_HANDLE, BW_PROTOCOL_BROKEN, "the new key is of another kind");
    *ret_handle = handle;
    return bw_success();
}

static bw_result generate_master_key(struct bw_session *session, const struct bw_attributes *a, struct bw_arena *arena,
                                     CK_OBJECT_HANDLE *ret_key)
{
    CK_KEY_TYPE type = bw_attributes_ulong(a, CKA_KEY_TYPE);
    const struct bw_spec_row *spec = bw_key_spec(type, 8 * bw_attributes_ulong(a, CKA_VALUE_LEN), (bw_bytes){ NULL, 0 });
    bw_key_id id;

    BW_CHECK(spec != NULL, BW_KEY_SIZE, "master keys of this size are not offered");
    BW_TRY(create_master_key(session, a, spec, bw_token_uses_wanted(a), arena, &id));
    return bw_key_handle(session, &id, CKO_SECRET_KEY, ret_key);
}

static bw_result generate(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template wanted,
                          struct bw_attributes *a, struct bw_arena *arena, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_parameters p;

    BW_TRY(check_mechanism(session, mechanism, BW_USE_GENERATE, arena, &p));
    BW_TRY(bw_attributes_set_ulong(a, CKA_KEY_TYPE, p.mechanism.row->key_type));
    BW_TRY(take_template(a, CKO_SECRET_KEY, BW_GIVEN_GENERATE, wanted));
    BW_TRY(check_length(a, true));
    if (bw_attributes_bool(a, CKA_TOKEN))
        return generate_master_key(session, a, arena, ret_key);
    return generate_session_key(session, &p.mechanism, a, arena, ret_key);
}

bw_result bw_key_generate(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template wanted,
                          CK_OBJECT_HANDLE *ret_key)
{
    struct bw_arena arena = { 0 };
    struct bw_attributes attributes = { 0 };

    BW_CHECK(ret_key != NULL, BW_BAD_ARGUMENT, "no place for the handle");
    bw_result r = generate(session, mechanism, wanted, &attributes, &arena, ret_key);
    bw_attributes_clear(&attributes);
    bw_arena_clear(&arena);
    return r;
}

static bw_result pair_spec(const struct bw_attributes *public, const struct bw_spec_row **ret_spec)
{
    static const uint8_t f4[] = { 1, 0, 1 };
    CK_KEY_TYPE type = bw_attributes_ulong(public, CKA_KEY_TYPE);
    CK_ULONG    bits = bw_attributes_ulong(public, CKA_MODULUS_BITS);
    bw_bytes    curve = bw_attributes_bytes(public, CKA_EC_PARAMS), exponent = bw_attributes_bytes(public, CKA_PUBLIC_EXPONENT);

    BW_CHECK(type == CKK_RSA ? bits != CK_UNAVAILABLE_INFORMATION : curve.len > 0, BW_TEMPLATE_INCOMPLETE, "no modulus length, or no curve");
    BW_CHECK(exponent.len == 0 || bw_bytes_equal(exponent, bw_bytes_of(f4, sizeof f4)), BW_TEMPLATE_INVALID, "only the exponent 65537");
    *ret_spec = bw_key_spec(type, bits, curve);
    BW_CHECK(*ret_spec != NULL || type != CKK_RSA, BW_KEY_SIZE, "keys of this size are not offered");
    BW_CHECK(*ret_spec != NULL, BW_CURVE, "curve is not offered");
    return bw_success();
}

struct pair {
    struct bw_attributes public;
    struct bw_attributes private;
    struct bw_arena      arena;
    CK_OBJECT_HANDLE     public_handle, private_handle;
};

static bw_result take_pair(struct pair *pair, CK_KEY_TYPE type, struct bw_template public, struct bw_template private)
{
    BW_TRY(bw_attributes_set_ulong(&pair->public, CKA_KEY_TYPE, type));
    BW_TRY(bw_attributes_set_ulong(&pair->private, CKA_KEY_TYPE, type));
    BW_TRY(take_template(&pair->public, CKO_PUBLIC_KEY, BW_GIVEN_GENERATE, public));
    BW_TRY(take_template(&pair->private, CKO_PRIVATE_KEY, BW_GIVEN_GENERATE, private));
    bool on_token = bw_attributes_bool(&pair->private, CKA_TOKEN);
    BW_CHECK(on_token || !bw_attributes_bool(&pair->public, CKA_TOKEN), BW_TEMPLATE_INVALID, "a public key without its private key is not kept");
    return bw_success();
}

static bw_result generate_master_pair(struct bw_session *session, struct pair *pair, const struct bw_spec_row *spec)
{
    unsigned  uses = bw_token_uses_wanted(&pair->private) | bw_token_uses_wanted(&pair->public);
    bw_key_id id;

    BW_TRY(create_master_key(session, &pair->private, spec, uses, &pair->arena, &id));
    BW_TRY(bw_key_handle(session, &id, CKO_PUBLIC_KEY, &pair->public_handle));
    return bw_key_handle(session, &id, CKO_PRIVATE_KEY, &pair->private_handle);
}

static bw_result generate_session_pair(struct bw_session *session, const struct bw_mechanism *mechanism, struct pair *pair,
                                       const struct bw_spec_row *spec)
{
    struct bw_session_key template = bw_sealed_template(&pair->private);
    const struct bw_birth birth = { spec->generator, template.uses };
    struct bw_sealed_key  key;

    BW_CHECK(spec->key_type != CKK_EC_EDWARDS, BW_TEMPLATE_INVALID, "an Edwards key for a session: HSMs unwrap none");
    template.spec = spec->spec;
    BW_TRY(bw_rpc_generate_key(&session->slot->remote, &pair->arena, mechanism, &template, &key));
    BW_TRY(bw_sealed_add(session, &pair->private, &key, birth, &pair->private_handle));
    return bw_sealed_add_public(session, &pair->public, key.public_key, spec->generator, &pair->public_handle);
}

static bw_result generate_pair(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template public, struct bw_template private,
                               struct pair *pair)
{
    struct bw_parameters p;
    const struct bw_spec_row *spec;

    BW_TRY(check_mechanism(session, mechanism, BW_USE_GENERATE_PAIR, &pair->arena, &p));
    BW_TRY(take_pair(pair, p.mechanism.row->key_type, public, private));
    BW_TRY(pair_spec(&pair->public, &spec));
    if (bw_attributes_bool(&pair->private, CKA_TOKEN))
        return generate_master_pair(session, pair, spec);
    return generate_session_pair(session, &p.mechanism, pair, spec);
}

bw_result bw_key_generate_pair(struct bw_session *session, const CK_MECHANISM *mechanism, struct bw_template public, struct bw_template private,
                               CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
    struct pair pair = { 0 };

    BW_CHECK(ret_public != NULL && ret_private != NULL, BW_BAD_ARGUMENT, "no place for the handles");
    bw_result r = generate_pair(session, mechanism, public, private, &pair);
    bw_attributes_clear(&pair.public);
    bw_attributes_clear(&pair.private);
    bw_arena_clear(&pair.arena);
    BW_TRY(r);
    *ret_public  = pair.public_handle;
    *ret_private = pair.private_handle;
    return bw_success();
}

/* ---- wrap ---- */

static bw_result wrapping_key(struct bw_session *session, CK_OBJECT_HANDLE handle, const struct bw_mechanism_row *mechanism,
                              CK_ATTRIBUTE_TYPE allowed, struct bw_object **ret_key)
{
    BW_AUTO(object) key = NULL;

    BW_TRY(bw_objects_key(session, handle, &key));
    BW_CHECK(bw_attributes_ulong(&key->attributes, CKA_KEY_TYPE) == mechanism->key_type, BW_KEY_TYPE, "the mechanism takes another type of key");
    BW_CHECK(bw_attributes_bool(&key->attributes, allowed), BW_NOT_PERMITTED, "the key is not for this");
    *ret_key = bw_take(&key);
    return bw_success();
}

static size_t wrapped_len(const struct bw_mechanism *m, const struct bw_object *wrapping, size_t len)
{
    size_t modulus = bw_attributes_bytes(&wrapping->attributes, CKA_MODULUS).len;
    size_t padded  = (len + 7) / 8 * 8 + 8; /* RFC 5649 */

    switch (m->row->type) {
    case CKM_RSA_PKCS_OAEP:    return modulus;
    case CKM_RSA_AES_KEY_WRAP: return modulus + padded;
    case CKM_AES_GCM:          return len + m->tag_bits / 8;
    default:                   return padded;
    }
}

struct wrap {
    struct bw_parameters parameters;
    struct bw_object    *wrapping;
    struct bw_object    *target;
    struct bw_arena      arena;
};

static bw_result open_wrap(struct bw_session *session, struct wrap *w, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                           CK_OBJECT_HANDLE key)
{
    BW_TRY(check_mechanism(session, mechanism, BW_USE_WRAP, &w->arena, &w->parameters));
    bw_result r = wrapping_key(session, wrapping, w->parameters.mechanism.row, CKA_WRAP, &w->wrapping);
    BW_CHECK(r.code != BW_KEY_HANDLE, BW_WRAPPING_KEY, "no such wrapping key");
    BW_TRY(r);
    BW_TRY(bw_objects_key(session, key, &w->target));
    BW_CHECK(bw_attributes_bool(&w->target->attributes, CKA_EXTRACTABLE), BW_KEY_UNWRAPPABLE, "the key is not extractable");
    return bw_success();
}

/* A key of the region is wrapped there; the value of one that the application gave us goes along. */
static bw_result ask_for_wrap(struct bw_session *session, struct wrap *w, bw_bytes *ret_wrapped)
{
    const struct bw_key_ref *target = w->target->origin == BW_ORIGIN_SEALED ? &w->target->key : NULL;
    struct bw_secret *hidden = w->target->attributes.hidden;
    bw_bytes value = target == NULL ? bw_bytes_of(bw_secret_reveal(hidden), bw_secret_len(hidden)) : (bw_bytes){ NULL, 0 };
    struct bw_mechanism mechanism = w->parameters.mechanism;

    BW_CHECK(target != NULL || value.len > 0, BW_KEY_UNWRAPPABLE, "nothing to wrap is known of this key");
    BW_CHECK(w->wrapping->origin != BW_ORIGIN_SESSION, BW_NOT_PERMITTED, "only the region's keys wrap");
    bw_result r = bw_rpc_wrap_key(&session->slot->remote, &w->arena, &w->wrapping->key, &mechanism, target, value, ret_wrapped);
    return bw_objects_heed(session->slot->objects, r);
}

static bw_result wrap(struct bw_session *session, struct wrap *w, struct bw_out out)
{
    size_t   exact = wrapped_len(&w->parameters.mechanism, w->wrapping, w->target->length);
    bw_bytes wrapped;

    if (bw_out_is_query(out)) {
        bw_out_tell(out, exact);
        return bw_success();
    }
    BW_TRY(bw_out_room(out, exact));
    BW_TRY(ask_for_wrap(session, w, &wrapped));
    return bw_out_write(out, wrapped);
}

bw_result bw_key_wrap(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                      CK_OBJECT_HANDLE key, struct bw_out out)
{
    struct wrap w = { 0 };

    BW_TRY(bw_out_check(out));
    bw_result r = open_wrap(session, &w, mechanism, wrapping, key);
    if (bw_ok(r))
        r = wrap(session, &w, out);
    bw_object_unref(w.wrapping);
    bw_object_unref(w.target);
    bw_arena_clear(&w.arena);
    return r;
}

/* ---- unwrap and derive ---- */

struct coming {
    const CK_MECHANISM  *mechanism;
    CK_OBJECT_HANDLE     handle;    /* of the key it comes from */
    unsigned             use;
    CK_ATTRIBUTE_TYPE    allowed;
    bw_bytes             wrapped;
    struct bw_template   wanted;

    struct bw_object    *from;
    struct bw_attributes attributes;
    struct bw_arena      arena;
};

static bw_result ask_for_key(struct bw_session *session, struct coming *c, const struct bw_mechanism *mechanism,
                             const struct bw_session_key *template, struct bw_sealed_key *ret_key)
{
    const struct bw_remote *remote = &session->slot->remote;
    bw_result r = c->use == BW_USE_UNWRAP
        ? bw_rpc_unwrap_key(remote, &c->arena, &c->from->key, mechanism, c->wrapped, template, ret_key)
        : bw_rpc_derive_key(remote, &c->arena, &c->from->key, mechanism, template, ret_key);

    return bw_objects_heed(session->slot->objects, r);
}

static bool is_private(struct bw_template wanted)
{
    static const CK_OBJECT_CLASS private = CKO_PRIVATE_KEY;
    bw_bytes class;

    return bw_template_find(wanted.attributes, wanted.count, CKA_CLASS, &class) && bw_bytes_equal(class, bw_bytes_of(&private, sizeof private));
}

/* ECDH may be asked for a generic secret without saying so. */
static bw_result take_coming(struct coming *c)
{
    bw_bytes type;

    if (c->use == BW_USE_UNWRAP && is_private(c->wanted))
        return take_template(&c->attributes, CKO_PRIVATE_KEY, BW_GIVEN_UNWRAP, c->wanted);

    if (c->use == BW_USE_DERIVE && !bw_template_find(c->wanted.attributes, c->wanted.count, CKA_KEY_TYPE, &type))
        BW_TRY(bw_attributes_set_ulong(&c->attributes, CKA_KEY_TYPE, CKK_GENERIC_SECRET));
    BW_TRY(take_template(&c->attributes, CKO_SECRET_KEY, BW_GIVEN_UNWRAP, c->wanted));
    return check_length(&c->attributes, false);
}

static bw_result bring(struct bw_session *session, struct coming *c, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_parameters p;
    struct bw_sealed_key key;

    BW_TRY(bw_template_check(c->wanted.attributes, c->wanted.count));
    BW_TRY(check_mechanism(session, c->mechanism, c->use, &c->arena, &p));
    BW_TRY(wrapping_key(session, c->handle, p.mechanism.row, c->allowed, &c->from));
    BW_TRY(take_coming(c));
    BW_TRY(check_writable(session, &c->attributes));
    if (p.mechanism.row->params == BW_PARAMS_PEER)
        p.mechanism.peer = bw_spki_bare_point(p.mechanism.peer);
    struct bw_session_key template = bw_sealed_template(&c->attributes);
    BW_TRY(ask_for_key(session, c, &p.mechanism, &template, &key));
    return bw_sealed_add(session, &c->attributes, &key, (struct bw_birth){ CK_UNAVAILABLE_INFORMATION, template.uses }, ret_key);
}

static bw_result bring_and_clear(struct bw_session *session, struct coming *c, CK_OBJECT_HANDLE *ret_key)
{
    BW_CHECK(ret_key != NULL, BW_BAD_ARGUMENT, "no place for the handle");
    bw_result r = bring(session, c, ret_key);
    bw_object_unref(c->from);
    bw_attributes_clear(&c->attributes);
    bw_arena_clear(&c->arena);
    return r;
}

bw_result bw_key_unwrap(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping, bw_bytes wrapped,
                        struct bw_template wanted, CK_OBJECT_HANDLE *ret_key)
{
    struct coming c = {
        .mechanism = mechanism, .handle = unwrapping, .use = BW_USE_UNWRAP, .allowed = CKA_UNWRAP, .wrapped = wrapped, .wanted = wanted,
    };

    BW_CHECK(wrapped.len > 0 && wrapped.len <= BW_WRAPPED_MAX, BW_DATA_LENGTH, "the wrapped key's length");
    return bring_and_clear(session, &c, ret_key);
}

bw_result bw_key_derive(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                        struct bw_template wanted, CK_OBJECT_HANDLE *ret_key)
{
    struct coming c = { .mechanism = mechanism, .handle = base, .use = BW_USE_DERIVE, .allowed = CKA_DERIVE, .wanted = wanted };

    return bring_and_clear(session, &c, ret_key);
}
