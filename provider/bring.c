#include "bring.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "bailiwick/limits.h"
#include "byok.h"
#include "local.h"
#include "object.h"
#include "pkcs8.h"
#include "sealed.h"
#include "slot.h"
#include "token.h"

struct brought {
    struct bw_attributes      attributes; /* all that is not secret */
    CK_OBJECT_CLASS           class;
    const struct bw_spec_row *spec;
    bw_bytes                  material;   /* as it is wrapped; in the arena, or still the application's */
    struct bw_buf             public_key; /* SubjectPublicKeyInfo of a pair */
    struct bw_arena           arena;
};

/* ---- what the template says ---- */

static const CK_ATTRIBUTE_TYPE rsa_parts[BW_RSA_PARTS] = {
    [BW_RSA_N] = CKA_MODULUS,  [BW_RSA_E] = CKA_PUBLIC_EXPONENT, [BW_RSA_D]  = CKA_PRIVATE_EXPONENT, [BW_RSA_P]    = CKA_PRIME_1,
    [BW_RSA_Q] = CKA_PRIME_2,  [BW_RSA_DP] = CKA_EXPONENT_1,     [BW_RSA_DQ] = CKA_EXPONENT_2,       [BW_RSA_QINV] = CKA_COEFFICIENT,
};

static bool is_secret(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = BW_RSA_D; i < BW_RSA_PARTS; i++)
        if (rsa_parts[i] == type)
            return true;
    return type == CKA_VALUE;
}

/* The rest of the template, which is checked as any other. */
static bw_result take_open_part(struct brought *b, struct bw_template given)
{
    CK_ATTRIBUTE *open = bw_arena_alloc(&b->arena, (given.count + 1) * sizeof *open);
    CK_ULONG count = 0;

    BW_CHECK(open != NULL, BW_NO_MEMORY, "template");
    for (CK_ULONG i = 0; i < given.count; i++)
        if (!is_secret(bw_template_type(given.attributes, i)))
            memcpy(&open[count++], &given.attributes[i], sizeof *open);
    BW_TRY(bw_attributes_take(&b->attributes, BW_GIVEN_CREATE, open, count));
    b->class = bw_attributes_ulong(&b->attributes, CKA_CLASS);
    return bw_success();
}

static bw_result part(struct bw_template given, CK_ATTRIBUTE_TYPE type, bw_bytes *ret_value)
{
    bool there = bw_template_find(given.attributes, given.count, type, ret_value) && ret_value->len > 0;

    BW_CHECK(there, BW_TEMPLATE_INCOMPLETE, "a part of the key");
    BW_CHECK(ret_value->len <= BW_WRAPPED_MAX / 16, BW_KEY_SIZE, "a part of the key is longer than any can be");
    return bw_success();
}

static CK_ULONG bits_of(bw_bytes number)
{
    while (number.len > 0 && number.data[0] == 0)
        number = bw_bytes_of(number.data + 1, number.len - 1);
    CK_ULONG bits = 8 * number.len;
    for (unsigned top = number.len > 0 ? number.data[0] : 0x80; !(top & 0x80); top <<= 1)
        bits--;
    return bits;
}

static bw_result take_rsa(struct brought *b, struct bw_template given)
{
    bw_bytes parts[BW_RSA_PARTS];

    for (size_t i = 0; i < BW_RSA_PARTS; i++)
        BW_TRY(part(given, rsa_parts[i], &parts[i]));
    b->spec = bw_key_spec(CKK_RSA, bits_of(parts[BW_RSA_N]), (bw_bytes){ NULL, 0 });
    BW_CHECK(b->spec != NULL, BW_KEY_SIZE, "keys of this size are not offered");
    return bw_pkcs8_rsa(parts, &b->arena, &b->material);
}

static bw_result take_ec(struct brought *b, CK_KEY_TYPE type, struct bw_template given)
{
    bw_bytes curve, value;

    BW_TRY(part(given, CKA_EC_PARAMS, &curve));
    BW_TRY(part(given, CKA_VALUE, &value));
    b->spec = bw_key_spec(type, 0, curve);
    BW_CHECK(b->spec != NULL, BW_CURVE, "curve is not offered");
    bw_result r = bw_pkcs8_ec(b->spec, value, &b->arena, &b->material);
    BW_CHECK(r.code != BW_DATA_INVALID, BW_ATTRIBUTE_VALUE, "no private key of that curve");
    return r;
}

static bw_result take_secret(struct brought *b, CK_KEY_TYPE type, struct bw_template given)
{
    BW_TRY(part(given, CKA_VALUE, &b->material));
    b->spec = bw_key_spec(type, 8 * b->material.len, (bw_bytes){ NULL, 0 });
    BW_CHECK(b->spec != NULL, BW_KEY_SIZE, "master keys of this size are not offered");
    return bw_success();
}

/* Zero, say, is in no range. Whether an RSA key's parts are one key's the HSM sees. */
static bool is_in_range(OSSL_LIB_CTX *library, EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new_from_pkey(library, key, NULL) : NULL;

    bool in_range = context != NULL && EVP_PKEY_private_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return in_range;
}

/* OpenSSL works the public half out. */
static bw_result find_public_half(struct bw_local *local, struct brought *b)
{
    OSSL_LIB_CTX *library = bw_local_library(local);
    const unsigned char *der = b->material.data;

    (void)ERR_set_mark();
    EVP_PKEY *key = d2i_AutoPrivateKey_ex(NULL, &der, (long)b->material.len, library, NULL);
    bw_result r = is_in_range(library, key) ? bw_byok_public(key, &b->public_key) : bw_fail(BW_ATTRIBUTE_VALUE, "no such private key");
    EVP_PKEY_free(key);
    (void)ERR_pop_to_mark();
    return r;
}

static bw_result take(struct bw_session *session, struct brought *b, struct bw_template given)
{
    BW_TRY(take_open_part(b, given));
    CK_KEY_TYPE type = bw_attributes_ulong(&b->attributes, CKA_KEY_TYPE);
    bool on_token = bw_attributes_bool(&b->attributes, CKA_TOKEN);
    BW_CHECK(!on_token || session->read_write, BW_SESSION_READ_ONLY, "a token object in a read-only session");
    BW_CHECK(!on_token || !bw_attributes_bool(&b->attributes, CKA_EXTRACTABLE), BW_TEMPLATE_INVALID, "a master key cannot be extractable");
    BW_CHECK(on_token || type != CKK_EC_EDWARDS, BW_TEMPLATE_INVALID, "an Edwards key for a session: HSMs unwrap none");
    if (b->class == CKO_SECRET_KEY)
        return take_secret(b, type, given);
    BW_TRY(type == CKK_RSA ? take_rsa(b, given) : take_ec(b, type, given));
    return find_public_half(session->slot->local, b);
}

/* ---- the way to the region ---- */

static bw_result import(struct bw_session *session, struct brought *b, const struct bw_key_name *name, struct bw_remote_key *ret_key)
{
    const struct bw_remote *remote = &session->slot->remote;
    struct bw_import_parameters parameters;
    bw_bytes wrapped;

    BW_TRY(bw_rpc_import_parameters(remote, &b->arena, name, &parameters));
    BW_TRY(bw_byok_wrap(bw_local_library(session->slot->local), parameters.wrapping_key, parameters.hash, b->material, &b->arena, &wrapped));
    return bw_rpc_import_material(remote, &b->arena, name, &parameters, wrapped, bw_buf_bytes(&b->public_key), ret_key);
}

static bw_result keep_on_token(struct bw_session *session, struct brought *b, CK_OBJECT_HANDLE *ret_key)
{
    const struct bw_remote *remote = &session->slot->remote;
    const struct bw_new_key new_key = {
        .spec = b->spec->spec, .uses = bw_token_uses_wanted(&b->attributes) & b->spec->uses, .imported = true,
        .label = bw_attributes_bytes(&b->attributes, CKA_LABEL), .cka_id = bw_attributes_bytes(&b->attributes, CKA_ID),
    };
    struct bw_remote_key made, key;

    BW_CHECK(new_key.uses != 0, BW_TEMPLATE_INVALID, "a key for nothing");
    BW_TRY(bw_rpc_create_key(remote, &b->arena, &new_key, &made));
    bw_result r = import(session, b, &made.name, &key);
    if (!bw_ok(r)) {
        (void)bw_rpc_schedule_deletion(remote, &b->arena, &made.name); /* what failed is told; what stays waits for a custodian */
        return r;
    }
    BW_TRY(bw_objects_learn(session->slot, &(struct bw_listing){ .keys = &key, .key_count = 1 }));
    return bw_key_handle(session, &key.name.id, b->class, ret_key);
}

static bw_result seal(struct bw_session *session, struct brought *b, CK_OBJECT_HANDLE *ret_key)
{
    struct bw_session_key template = bw_sealed_template(&b->attributes);
    struct bw_sealed_key  key;

    BW_TRY(bw_rpc_import_session_key(&session->slot->remote, &b->arena, b->material, &template, &key));
    key.public_key = bw_buf_bytes(&b->public_key); /* of an EC key the region knows it only from us */
    return bw_sealed_add(session, &b->attributes, &key, (struct bw_birth){ CK_UNAVAILABLE_INFORMATION, template.uses }, ret_key);
}

bw_result bw_bring(struct bw_session *session, struct bw_template given, CK_OBJECT_HANDLE *ret_key)
{
    struct brought b = { 0 };

    bw_result r = take(session, &b, given);
    if (bw_ok(r))
        r = bw_attributes_bool(&b.attributes, CKA_TOKEN) ? keep_on_token(session, &b, ret_key) : seal(session, &b, ret_key);
    bw_attributes_clear(&b.attributes);
    bw_buf_clear(&b.public_key);
    bw_arena_clear(&b.arena);
    return r;
}
