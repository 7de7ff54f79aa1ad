/* PKCS#11 v3.0, 5.18: keys generated, wrapped, unwrapped and derived. */
#include "enter.h"
#include "key.h"
#include "output.h"

CK_RV C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attributes, CK_ULONG count,
                    CK_OBJECT_HANDLE *key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GenerateKey, session);

    if (bw_ok(r))
        r = bw_key_generate(e.session, mechanism, (struct bw_template){ attributes, count }, key);
    return bw_leave(&e, r);
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_key_template,
                        CK_ULONG public_key_attribute_count, CK_ATTRIBUTE *private_key_template,
                        CK_ULONG private_key_attribute_count, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    struct bw_template public = { public_key_template, public_key_attribute_count }, private = { private_key_template, private_key_attribute_count };
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_GenerateKeyPair, session);

    if (bw_ok(r))
        r = bw_key_generate_pair(e.session, mechanism, public, private, public_key, private_key);
    return bw_leave(&e, r);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
                CK_BYTE *wrapped_key, CK_ULONG *wrapped_key_len)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_WrapKey, session);

    if (bw_ok(r))
        r = bw_key_wrap(e.session, mechanism, wrapping_key, key, (struct bw_out){ wrapped_key, wrapped_key_len });
    return bw_leave(&e, r);
}

static bw_result unwrap(struct bw_session *session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping, const CK_BYTE *wrapped, CK_ULONG len,
                        struct bw_template wanted, CK_OBJECT_HANDLE *ret_key)
{
    bw_bytes input;

    BW_TRY(bw_input(wrapped, len, &input));
    return bw_key_unwrap(session, mechanism, unwrapping, input, wanted, ret_key);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped_key,
                  CK_ULONG wrapped_key_len, CK_ATTRIBUTE *attributes, CK_ULONG attribute_count, CK_OBJECT_HANDLE *key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_UnwrapKey, session);

    if (bw_ok(r))
        r = unwrap(e.session, mechanism, unwrapping_key, wrapped_key, wrapped_key_len, (struct bw_template){ attributes, attribute_count }, key);
    return bw_leave(&e, r);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *attributes,
                  CK_ULONG attribute_count, CK_OBJECT_HANDLE *key)
{
    struct bw_entry e;
    bw_result r = bw_enter(&e, BW_FN_C_DeriveKey, session);

    if (bw_ok(r))
        r = bw_key_derive(e.session, mechanism, base_key, (struct bw_template){ attributes, attribute_count }, key);
    return bw_leave(&e, r);
}
