/* Attributes of HSM objects, read and written. */
#include <assert.h>

#include "hsm_internal.h"

/* BW_ATTRIBUTE_TYPE: the object has no such attribute. SoftHSM says the second of one that has no class. */
static bw_result get_attribute(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *row)
{
    CK_RV rv = session->token->hsm->f->C_GetAttributeValue(session->handle, object, row, 1);

    BW_CHECK(rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_VALUE_INVALID, BW_ATTRIBUTE_TYPE, "an HSM object lacks an attribute");
    return BW_RV(session, rv, BW_HSM_FAILED);
}

bw_result bw_attribute_number(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_ULONG *ret_number)
{
    CK_ULONG number = 0;
    CK_ATTRIBUTE row = { type, &number, sizeof number };

    BW_TRY(get_attribute(session, object, &row));
    BW_CHECK(row.ulValueLen == sizeof number, BW_HSM_FAILED, "an attribute has another length");
    *ret_number = number;
    return bw_success();
}

bw_result bw_attribute_bytes(struct bw_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, uint8_t *bytes, size_t *len)
{
    CK_ATTRIBUTE row = { type, bytes, *len };

    BW_TRY(get_attribute(session, object, &row));
    BW_CHECK(row.ulValueLen <= *len, BW_HSM_FAILED, "an attribute is missing or too long");
    *len = row.ulValueLen;
    return bw_success();
}

void bw_template_add(struct bw_template *t, CK_ATTRIBUTE_TYPE type, bw_bytes value)
{
    assert(t->count < ARRAY_LEN(t->rows));
    t->rows[t->count++] = (CK_ATTRIBUTE){ type, (void *)value.data, value.len };
}

void bw_template_flag(struct bw_template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    static const CK_BBOOL flags[] = { CK_FALSE, CK_TRUE };
    bw_template_add(t, type, bw_bytes_of(&flags[value], sizeof flags[value]));
}

void bw_template_number(struct bw_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    assert(t->count < ARRAY_LEN(t->rows));
    t->numbers[t->count] = value;
    bw_template_add(t, type, bw_bytes_of(&t->numbers[t->count], sizeof value));
}

void bw_template_uses(struct bw_template *t, unsigned uses)
{
    static const struct { unsigned use; CK_ATTRIBUTE_TYPE type; } rows[] = {
        { BW_USE_ENCRYPT, CKA_ENCRYPT }, { BW_USE_DECRYPT, CKA_DECRYPT }, { BW_USE_WRAP,   CKA_WRAP   }, { BW_USE_UNWRAP, CKA_UNWRAP },
        { BW_USE_SIGN,    CKA_SIGN    }, { BW_USE_VERIFY,  CKA_VERIFY  }, { BW_USE_DERIVE, CKA_DERIVE },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (uses & rows[i].use)
            bw_template_flag(t, rows[i].type, true);
}
