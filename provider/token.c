#include "token.h"

#include <stdio.h>
#include <string.h>

#include "spki.h"

/* ---- uses ---- */

/* A pair's uses are those of its private half; the public half is for what undoes or checks them. */
static const struct use_row {
    CK_ATTRIBUTE_TYPE type;
    unsigned          own;    /* of a secret or private key */
    unsigned          public; /* of a public key, by the pair's uses */
} use_rows[] = {
    { CKA_ENCRYPT,        BW_USE_ENCRYPT, BW_USE_ENCRYPT | BW_USE_DECRYPT },
    { CKA_DECRYPT,        BW_USE_DECRYPT, 0 },
    { CKA_SIGN,           BW_USE_SIGN,    0 },
    { CKA_SIGN_RECOVER,   BW_USE_SIGN,    0 },
    { CKA_VERIFY,         BW_USE_VERIFY,  BW_USE_SIGN | BW_USE_VERIFY },
    { CKA_VERIFY_RECOVER, 0,              BW_USE_SIGN | BW_USE_VERIFY },
    { CKA_WRAP,           BW_USE_WRAP,    BW_USE_WRAP | BW_USE_UNWRAP },
    { CKA_UNWRAP,         BW_USE_UNWRAP,  0 },
    { CKA_DERIVE,         BW_USE_DERIVE,  0 },
};

static bool is_public(enum bw_shape shape)
{
    return (shape & (BW_SHAPE_RSA_PUB | BW_SHAPE_EC_PUB)) != 0;
}

static bool is_rsa(enum bw_shape shape)
{
    return (shape & (BW_SHAPE_RSA_PUB | BW_SHAPE_RSA_PRIV)) != 0;
}

static bool recovers(CK_ATTRIBUTE_TYPE type)
{
    return type == CKA_SIGN_RECOVER || type == CKA_VERIFY_RECOVER;
}

static bw_result allow_mechanisms(struct bw_attributes *attributes, unsigned uses)
{
    CK_MECHANISM_TYPE types[128];
    CK_ULONG          count = 0, key_type = bw_attributes_ulong(attributes, CKA_KEY_TYPE);
    const struct bw_mechanism_row *row;
    bw_bytes          given;

    if (bw_attributes_stored(attributes, CKA_ALLOWED_MECHANISMS, &given))
        return bw_success();
    for (size_t i = 0; (row = bw_mechanism_at(i)) != NULL && count < ARRAY_LEN(types); i++)
        if (row->key_type == key_type && (row->uses & uses) != 0)
            types[count++] = row->type;
    return bw_attributes_set(attributes, CKA_ALLOWED_MECHANISMS, bw_bytes_of(types, count * sizeof types[0]));
}

bw_result bw_token_allow(struct bw_attributes *attributes, unsigned uses)
{
    enum bw_shape shape   = bw_attributes_shape(attributes);
    unsigned      allowed = 0;

    for (size_t i = 0; i < ARRAY_LEN(use_rows); i++) {
        const struct use_row *row = &use_rows[i];
        unsigned needed = is_public(shape) ? row->public : row->own;

        if (bw_attribute_row(row->type, shape) == NULL || (recovers(row->type) && !is_rsa(shape)))
            continue;
        BW_TRY(bw_attributes_set_bool(attributes, row->type, (uses & needed) != 0));
        if ((uses & needed) != 0)
            allowed |= row->own;
    }
    return allow_mechanisms(attributes, allowed);
}

unsigned bw_token_uses_wanted(const struct bw_attributes *attributes)
{
    enum bw_shape shape = bw_attributes_shape(attributes);
    unsigned      uses  = 0;
    bw_bytes      value;

    for (size_t i = 0; i < ARRAY_LEN(use_rows); i++) {
        CK_ATTRIBUTE_TYPE type = use_rows[i].type;
        if (recovers(type) || bw_attribute_row(type, shape) == NULL || (is_public(shape) && use_rows[i].public == 0))
            continue;
        if (!bw_attributes_stored(attributes, type, &value) || bw_attributes_bool(attributes, type))
            uses |= use_rows[i].own;
    }
    return uses;
}

unsigned bw_token_uses_of(CK_KEY_TYPE key_type)
{
    unsigned uses = 0;
    const struct bw_mechanism_row *row;

    for (size_t i = 0; (row = bw_mechanism_at(i)) != NULL; i++)
        if (row->key_type == key_type)
            uses |= row->uses & ~(unsigned)(BW_USE_GENERATE | BW_USE_GENERATE_PAIR);
    return uses;
}

/* ---- public keys and certificates ---- */

static bw_result describe_rsa(struct bw_attributes *a, const struct bw_public *key)
{
    BW_TRY(bw_attributes_set(a, CKA_MODULUS, key->modulus));
    BW_TRY(bw_attributes_set(a, CKA_PUBLIC_EXPONENT, key->exponent));
    if (is_public(bw_attributes_shape(a)))
        BW_TRY(bw_attributes_set_ulong(a, CKA_MODULUS_BITS, key->bits));
    return bw_success();
}

static bw_result describe_ec(struct bw_attributes *a, const struct bw_public *key)
{
    struct bw_buf der = { 0 };
    bw_result r = bw_spki_point(key->point, &der);

    if (bw_ok(r))
        r = bw_attributes_set(a, CKA_EC_POINT, bw_buf_bytes(&der));
    bw_buf_clear(&der);
    BW_TRY(r);
    return bw_attributes_set(a, CKA_EC_PARAMS, key->params);
}

bw_result bw_token_describe_public(struct bw_attributes *attributes, bw_bytes spki)
{
    struct bw_public key;

    BW_TRY(bw_spki_parse(spki, &key));
    BW_TRY(bw_attributes_set(attributes, CKA_PUBLIC_KEY_INFO, spki));
    return key.type == CKK_RSA ? describe_rsa(attributes, &key) : describe_ec(attributes, &key);
}

bw_result bw_token_describe_certificate(struct bw_attributes *attributes, bw_bytes der)
{
    struct bw_certificate certificate;

    BW_TRY(bw_certificate_parse(der, &certificate));
    BW_TRY(bw_attributes_set(attributes, CKA_VALUE, der));
    BW_TRY(bw_attributes_set(attributes, CKA_SUBJECT, certificate.subject));
    BW_TRY(bw_attributes_set(attributes, CKA_ISSUER, certificate.issuer));
    BW_TRY(bw_attributes_set(attributes, CKA_SERIAL_NUMBER, certificate.serial));
    return bw_attributes_set(attributes, CKA_PUBLIC_KEY_INFO, certificate.spki);
}

/* ---- what the region keeps ---- */

static bw_result set_common(struct bw_attributes *a, CK_OBJECT_CLASS class, bw_bytes label)
{
    BW_TRY(bw_attributes_set_ulong(a, CKA_CLASS, class));
    BW_TRY(bw_attributes_set_bool(a, CKA_TOKEN, true));
    return bw_attributes_set(a, CKA_LABEL, label);
}

/* Two objects of one key need two ids: the public half's ends in "/public". */
static bw_result set_key_unique_id(struct bw_attributes *a, CK_OBJECT_CLASS class, const struct bw_key_name *name)
{
    char text[BW_KEY_NAME_MAX + 1], unique[BW_KEY_NAME_MAX + 8];

    bw_key_name_print(name, text);
    (void)snprintf(unique, sizeof unique, "%s%s", text, class == CKO_PUBLIC_KEY ? "/public" : "");
    return bw_attributes_set(a, CKA_UNIQUE_ID, bw_bytes_text(unique));
}

static bw_result set_key_facts(struct bw_attributes *a, const struct bw_remote_key *key)
{
    bw_bytes id = key->cka_id.len > 0 ? key->cka_id : bw_bytes_of(key->name.id.bytes, sizeof key->name.id.bytes);

    BW_TRY(bw_attributes_set_ulong(a, CKA_KEY_TYPE, key->spec->key_type));
    BW_TRY(bw_attributes_set(a, CKA_ID, id));
    BW_TRY(bw_attributes_set_bool(a, CKA_COPYABLE, false));
    BW_TRY(bw_attributes_set_bool(a, CKA_LOCAL, !key->imported));
    if (!key->imported)
        BW_TRY(bw_attributes_set_ulong(a, CKA_KEY_GEN_MECHANISM, key->spec->generator));
    return bw_token_allow(a, key->uses);
}

/* Only of secret and private keys. */
static bw_result set_secrecy(struct bw_attributes *a, const struct bw_remote_key *key, bool is_private)
{
    BW_TRY(bw_attributes_set_bool(a, CKA_PRIVATE, is_private));
    BW_TRY(bw_attributes_set_bool(a, CKA_SENSITIVE, true));
    BW_TRY(bw_attributes_set_bool(a, CKA_EXTRACTABLE, false));
    BW_TRY(bw_attributes_set_bool(a, CKA_ALWAYS_SENSITIVE, !key->imported));
    return bw_attributes_set_bool(a, CKA_NEVER_EXTRACTABLE, !key->imported);
}

static bw_result fill_key(struct bw_object *object, CK_OBJECT_CLASS class, const struct bw_remote_key *key, bool is_private)
{
    struct bw_attributes *a = &object->attributes;

    object->key.name   = key->name;
    object->generation = key->generation;
    object->uses       = key->uses;
    memcpy(object->id, key->name.id.bytes, sizeof object->id);
    BW_TRY(set_common(a, class, key->label));
    BW_TRY(set_key_unique_id(a, class, &key->name));
    BW_TRY(set_key_facts(a, key));
    if (class != CKO_PUBLIC_KEY)
        BW_TRY(set_secrecy(a, key, is_private));
    if (class == CKO_SECRET_KEY)
        return bw_attributes_set_ulong(a, CKA_VALUE_LEN, key->spec->bits / 8);
    return bw_token_describe_public(a, key->public_key);
}

static bw_result make_key(CK_OBJECT_CLASS class, const struct bw_remote_key *key, bool is_private,
                          struct bw_object **ret_object)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(BW_ORIGIN_KEY, &object));
    BW_TRY(fill_key(object, class, key, is_private));
    *ret_object = bw_take(&object);
    return bw_success();
}

bw_result bw_token_key(const struct bw_remote_key *key, bool is_private, struct bw_halves *ret_halves)
{
    BW_AUTO(object) private = NULL;
    BW_AUTO(object) public  = NULL;

    if (!bw_spec_is_pair(key->spec)) {
        BW_TRY(make_key(CKO_SECRET_KEY, key, is_private, &private));
        *ret_halves = (struct bw_halves){ { bw_take(&private) }, 1 };
        return bw_success();
    }
    BW_TRY(make_key(CKO_PRIVATE_KEY, key, is_private, &private));
    BW_TRY(make_key(CKO_PUBLIC_KEY, key, is_private, &public));
    *ret_halves = (struct bw_halves){ { bw_take(&private), bw_take(&public) }, 2 };
    return bw_success();
}

static bw_result describe_trust(struct bw_attributes *a, const struct bw_remote_trust *trust)
{
    BW_TRY(bw_attributes_set(a, CKA_ISSUER, trust->issuer));
    BW_TRY(bw_attributes_set(a, CKA_SERIAL_NUMBER, trust->serial));
    BW_TRY(bw_attributes_set(a, CKA_SUBJECT, trust->subject));
    BW_TRY(bw_attributes_set(a, CKA_CERT_SHA1_HASH, trust->sha1));
    BW_TRY(bw_attributes_set(a, CKA_CERT_MD5_HASH, trust->md5));
    BW_TRY(bw_attributes_set_ulong(a, CKA_TRUST_SERVER_AUTH, trust->server_auth));
    BW_TRY(bw_attributes_set_ulong(a, CKA_TRUST_CLIENT_AUTH, trust->client_auth));
    BW_TRY(bw_attributes_set_ulong(a, CKA_TRUST_CODE_SIGNING, trust->code_signing));
    BW_TRY(bw_attributes_set_ulong(a, CKA_TRUST_EMAIL_PROTECTION, trust->email_protection));
    return bw_attributes_set_bool(a, CKA_TRUST_STEP_UP_APPROVED, trust->step_up_approved);
}

struct bw_remote_trust bw_token_trust(const struct bw_attributes *a)
{
    return (struct bw_remote_trust){
        .issuer           = bw_attributes_bytes(a, CKA_ISSUER),
        .serial           = bw_attributes_bytes(a, CKA_SERIAL_NUMBER),
        .subject          = bw_attributes_bytes(a, CKA_SUBJECT),
        .sha1             = bw_attributes_bytes(a, CKA_CERT_SHA1_HASH),
        .md5              = bw_attributes_bytes(a, CKA_CERT_MD5_HASH),
        .server_auth      = bw_attributes_ulong(a, CKA_TRUST_SERVER_AUTH),
        .client_auth      = bw_attributes_ulong(a, CKA_TRUST_CLIENT_AUTH),
        .code_signing     = bw_attributes_ulong(a, CKA_TRUST_CODE_SIGNING),
        .email_protection = bw_attributes_ulong(a, CKA_TRUST_EMAIL_PROTECTION),
        .step_up_approved = bw_attributes_bool(a, CKA_TRUST_STEP_UP_APPROVED),
    };
}

static bw_result describe_data(struct bw_attributes *a, const struct bw_remote_object *stored)
{
    BW_TRY(bw_attributes_set(a, CKA_APPLICATION, stored->application));
    BW_TRY(bw_attributes_set(a, CKA_OBJECT_ID, stored->object_id));
    return bw_attributes_set(a, CKA_VALUE, stored->value);
}

static bw_result fill_stored(struct bw_object *object, const struct bw_remote_object *stored)
{
    struct bw_attributes *a = &object->attributes;
    char unique[2 * BW_KEY_ID_LEN + 1];

    BW_CHECK(stored->id.len == sizeof object->id, BW_PROTOCOL_BROKEN, "an object's id");
    memcpy(object->id, stored->id.data, sizeof object->id);
    object->generation = stored->generation;
    bw_hex(stored->id, unique);
    BW_TRY(set_common(a, stored->class, stored->label));
    BW_TRY(bw_attributes_set(a, CKA_UNIQUE_ID, bw_bytes_text(unique)));
    switch (stored->class) {
    case CKO_CERTIFICATE:
        BW_TRY(bw_attributes_set(a, CKA_ID, stored->cka_id));
        return bw_token_describe_certificate(a, stored->value);
    case CKO_NSS_TRUST: return describe_trust(a, &stored->trust);
    case CKO_DATA:      return describe_data(a, stored);
    default:            return bw_fail(BW_PROTOCOL_BROKEN, "an object of a class that is not known here");
    }
}

bw_result bw_token_stored(const struct bw_remote_object *stored, struct bw_object **ret_object)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(BW_ORIGIN_STORED, &object));
    BW_TRY(fill_stored(object, stored));
    *ret_object = bw_take(&object);
    return bw_success();
}

/* Its id need only differ from other profiles': the class is part of the key that the table finds it by. */
static bw_result fill_profile(struct bw_object *object, CK_ULONG profile, const char *label)
{
    static const CK_ATTRIBUTE_TYPE never[] = { CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE };
    struct bw_attributes *a = &object->attributes;

    memcpy(object->id, &profile, sizeof profile);
    BW_TRY(bw_attributes_set_ulong(a, CKA_CLASS, CKO_PROFILE));
    BW_TRY(bw_attributes_set_ulong(a, CKA_PROFILE_ID, profile));
    BW_TRY(bw_attributes_set(a, CKA_LABEL, bw_bytes_text(label)));
    BW_TRY(bw_attributes_set_bool(a, CKA_TOKEN, true));
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        BW_TRY(bw_attributes_set_bool(a, never[i], false));
    return bw_success();
}

bw_result bw_token_profile(CK_ULONG profile, const char *label, struct bw_object **ret_object)
{
    BW_AUTO(object) object = NULL;

    BW_TRY(bw_object_new(BW_ORIGIN_STORED, &object));
    BW_TRY(fill_profile(object, profile, label));
    *ret_object = bw_take(&object);
    return bw_success();
}
