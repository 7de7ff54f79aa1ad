/* Sealed session keys: what lets the daemon keep no session of any client.
 *
 *   "BWS1" | key type u32 | length u32 | uses u32 | flags u8 | origin 16 | region length u8, region | tenant length u8, tenant
 *   | wrapped key: AES-KWP (RFC 5649) under the token's sealing key | HMAC-SHA-256 of all before, under its MAC key
 *
 * Integers are big-endian. Both keys are made in the tenant's token and never leave it, so what one tenant's token sealed no
 * other opens. */
#include <openssl/crypto.h>
#include <string.h>

#include "hsm_internal.h"

enum { FLAG_EXTRACTABLE = 1, MAC_LEN = 32 };

/* ---- the bytes ---- */

static bw_result add_name(struct bw_buf *to, const char *name)
{
    bw_bytes text = bw_bytes_text(name);

    BW_TRY(bw_buf_add_be(to, text.len, 1));
    return bw_buf_add(to, text);
}

static bw_result add_header(struct bw_buf *to, const struct bw_session_key *what)
{
    BW_TRY(bw_buf_add(to, bw_bytes_text("BWS1")));
    BW_TRY(bw_buf_add_be(to, what->key_type, 4));
    BW_TRY(bw_buf_add_be(to, what->length, 4));
    BW_TRY(bw_buf_add_be(to, what->uses, 4));
    BW_TRY(bw_buf_add_be(to, what->extractable ? FLAG_EXTRACTABLE : 0, 1));
    BW_TRY(bw_buf_add(to, bw_bytes_of(what->origin.bytes, BW_KEY_ID_LEN)));
    BW_TRY(add_name(to, what->region.text));
    return add_name(to, what->tenant.text);
}

struct sealed {
    struct bw_session_key what;
    bw_bytes              authenticated, wrapped, mac;
};

static bw_bytes read_name(struct bw_reader *reader)
{
    return bw_read_bytes(reader, (size_t)bw_read_be(reader, 1));
}

static bw_result parse(bw_bytes bytes, struct sealed *ret)
{
    BW_CHECK(bytes.len > MAC_LEN && bytes.len <= BW_SEALED_MAX, BW_SEALED_KEY_INVALID, "no sealed key has this length");
    bw_bytes authenticated = bw_bytes_of(bytes.data, bytes.len - MAC_LEN);
    struct bw_reader reader = { authenticated, false };
    struct bw_session_key what = { 0 };

    bw_bytes magic   = bw_read_bytes(&reader, 4);
    what.key_type    = bw_read_be(&reader, 4);
    what.length      = (uint32_t)bw_read_be(&reader, 4);
    what.uses        = (uint32_t)bw_read_be(&reader, 4);
    what.extractable = bw_read_be(&reader, 1) == FLAG_EXTRACTABLE;
    bw_bytes origin  = bw_read_bytes(&reader, BW_KEY_ID_LEN);
    bw_bytes region  = read_name(&reader), tenant = read_name(&reader);

    BW_CHECK(!reader.failed && bw_bytes_equal(magic, bw_bytes_text("BWS1")), BW_SEALED_KEY_INVALID, "its header");
    BW_CHECK(bw_ok(bw_region_parse(region, &what.region)), BW_SEALED_KEY_INVALID, "its region");
    BW_CHECK(bw_ok(bw_tenant_parse(tenant, &what.tenant)), BW_SEALED_KEY_INVALID, "its tenant");
    memcpy(what.origin.bytes, origin.data, BW_KEY_ID_LEN);
    *ret = (struct sealed){ what, authenticated, reader.rest, bw_bytes_of(bytes.data + authenticated.len, MAC_LEN) };
    return bw_success();
}

const struct bw_session_key *bw_hsm_session_key(const struct bw_hsm_object *object)
{
    return object->is_session_key ? &object->what : NULL;
}

/* ---- sealing ---- */

/* Past our own flag on purpose: sealed bytes only ever come back into this token. */
static bw_result wrap(struct bw_hsm_object *object, struct bw_arena *arena, bw_bytes *ret_wrapped)
{
    CK_MECHANISM kwp = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
    CK_ULONG len = bw_session_wrapped_room(&object->what);
    uint8_t *wrapped = bw_arena_alloc(arena, len);
    struct bw_hsm_object *key;
    struct bw_session *session;

    BW_CHECK(wrapped != NULL, BW_NO_MEMORY, "sealed key");
    BW_TRY(bw_service_key(object->token, BW_SERVICE_SEAL, &key));
    bw_result r = bw_object_use(object, &session);
    if (bw_ok(r)) {
        r = BW_RV(session, session->token->hsm->f->C_WrapKey(session->handle, &kwp, key->own, object->own, wrapped, &len), BW_HSM_FAILED);
        bw_session_give(session);
    }
    bw_hsm_object_unref(key);
    BW_TRY(r);
    *ret_wrapped = bw_bytes_of(wrapped, len);
    return bw_success();
}

static bw_result compose(struct bw_hsm_object *object, struct bw_arena *arena, struct bw_buf *sealed)
{
    bw_bytes wrapped, mac;

    BW_TRY(wrap(object, arena, &wrapped));
    if (bw_session_key_is_private(&object->what))
        object->what.length = (uint32_t)wrapped.len - 8; /* nobody else has the object yet */
    BW_TRY(add_header(sealed, &object->what));
    BW_TRY(bw_buf_add(sealed, wrapped));
    BW_TRY(bw_hsm_mac(object->token, bw_buf_bytes(sealed), arena, &mac));
    return bw_buf_add(sealed, mac);
}

/* The caller's next use finds it in the cache. */
static bw_result keep(struct bw_hsm_object *object, bw_bytes sealed)
{
    struct bw_cache_key name = bw_cache_key_of_sealed(sealed);
    struct bw_session *session;

    BW_TRY(bw_object_use(object, &session));
    bw_object_cache(session, object, &name);
    bw_session_give(session);
    return bw_success();
}

bw_result bw_hsm_seal(struct bw_hsm_object *object, struct bw_arena *arena, bw_bytes *ret_sealed)
{
    struct bw_buf sealed = { .ceiling = BW_SEALED_MAX };

    BW_CHECK(object->is_session_key, BW_NOT_PERMITTED, "only session keys are sealed");
    bw_result r = compose(object, arena, &sealed);
    uint8_t *copy = bw_ok(r) ? bw_arena_copy(arena, bw_buf_bytes(&sealed)) : NULL;
    if (bw_ok(r) && copy == NULL)
        r = bw_fail(BW_NO_MEMORY, "sealed key");
    size_t len = sealed.len;
    bw_buf_clear(&sealed);
    BW_TRY(r);
    BW_TRY(keep(object, bw_bytes_of(copy, len)));
    *ret_sealed = bw_bytes_of(copy, len);
    return bw_success();
}

/* ---- unsealing ---- */

static bw_result check_mac(struct bw_token *token, const struct sealed *sealed)
{
    struct bw_arena arena = { 0 };
    bw_bytes mac;

    bw_result r = bw_hsm_mac(token, sealed->authenticated, &arena, &mac);
    if (bw_ok(r) && CRYPTO_memcmp(mac.data, sealed->mac.data, MAC_LEN) != 0)
        r = bw_fail(BW_SEALED_KEY_INVALID, "it is damaged, or another token's");
    bw_arena_clear(&arena);
    return r;
}

static bw_result unwrap(struct bw_token *token, const struct sealed *sealed, struct bw_hsm_object **ret_object)
{
    const struct bw_mechanism kwp = { .row = bw_mechanism_row(CKM_AES_KEY_WRAP_PAD) };
    struct bw_session_key what = sealed->what;
    struct bw_hsm_object *key;

    BW_TRY(bw_service_key(token, BW_SERVICE_SEAL, &key));
    bw_result r = bw_hsm_unwrap(key, &kwp, sealed->wrapped, &what, ret_object);
    bw_hsm_object_unref(key);
    return r.code == BW_WRAPPED_KEY_INVALID ? bw_fail(BW_SEALED_KEY_INVALID, "it does not unwrap") : r;
}

static bw_result check_home(const struct bw_session_key *what, const bw_region *region, const bw_tenant *tenant)
{
    BW_CHECK(bw_region_equal(&what->region, region) && bw_tenant_equal(&what->tenant, tenant), BW_SEALED_KEY_INVALID, "it is another tenant's");
    return bw_success();
}

static bw_result open_sealed(struct bw_token *token, const bw_region *region, const bw_tenant *tenant, bw_bytes bytes,
                             struct bw_hsm_object **ret_object)
{
    struct sealed sealed;

    BW_TRY(parse(bytes, &sealed));
    BW_TRY(check_home(&sealed.what, region, tenant));
    BW_TRY(check_mac(token, &sealed));
    BW_TRY(unwrap(token, &sealed, ret_object));
    (void)keep(*ret_object, bytes); /* at worst it is unwrapped again */
    return bw_success();
}

bw_result bw_hsm_unseal(struct bw_token *token, const bw_region *region, const bw_tenant *tenant, bw_bytes sealed,
                        struct bw_hsm_object **ret_object, struct bw_session_key *ret_what)
{
    struct bw_cache_key name = bw_cache_key_of_sealed(sealed);
    struct bw_hsm_object *object = bw_object_cached(token, &name);

    bw_result r = object ? check_home(&object->what, region, tenant) : open_sealed(token, region, tenant, sealed, &object);
    if (!bw_ok(r)) {
        bw_hsm_object_unref(object);
        return r;
    }
    *ret_object = object;
    *ret_what   = object->what;
    return bw_success();
}
