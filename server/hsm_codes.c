#include "hsm_internal.h"

/* What a CKR_ of the module means for us. Absent: BW_HSM_FAILED.
 * INPUT is blamed on what the module was given, and becomes the code that the call at hand has for that. */
enum fault { SURELY, INPUT, LOST };

static const struct row {
    CK_RV        rv;
    const char  *name;
    enum fault   fault;
    enum bw_code code;   /* not for INPUT */
} rows[] = {
#define ROW(rv, fault, code) { rv, #rv, fault, code }
    ROW(CKR_HOST_MEMORY,                SURELY, BW_NO_MEMORY),
    ROW(CKR_DEVICE_MEMORY,              SURELY, BW_HSM_FAILED),
    ROW(CKR_ARGUMENTS_BAD,              SURELY, BW_MECHANISM_PARAM),  /* SoftHSM, of OAEP and PSS parameters */
    ROW(CKR_MECHANISM_INVALID,          SURELY, BW_MECHANISM_INVALID),
    ROW(CKR_MECHANISM_PARAM_INVALID,    SURELY, BW_MECHANISM_PARAM),
    ROW(CKR_KEY_TYPE_INCONSISTENT,      SURELY, BW_KEY_TYPE),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, SURELY, BW_NOT_PERMITTED),
    ROW(CKR_WRAPPING_KEY_TYPE_INCONSISTENT,   SURELY, BW_KEY_TYPE),
    ROW(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, SURELY, BW_KEY_TYPE),
    ROW(CKR_KEY_SIZE_RANGE,             SURELY, BW_KEY_SIZE),
    ROW(CKR_KEY_UNEXTRACTABLE,          SURELY, BW_NOT_PERMITTED),
    ROW(CKR_KEY_NOT_WRAPPABLE,          SURELY, BW_NOT_PERMITTED),
    ROW(CKR_CURVE_NOT_SUPPORTED,        SURELY, BW_KEY_SIZE),
    ROW(CKR_DATA_LEN_RANGE,             SURELY, BW_DATA_LENGTH),
    ROW(CKR_ENCRYPTED_DATA_LEN_RANGE,   SURELY, BW_CIPHERTEXT_LENGTH),
    ROW(CKR_SIGNATURE_INVALID,          SURELY, BW_SIGNATURE_INVALID),
    ROW(CKR_SIGNATURE_LEN_RANGE,        SURELY, BW_SIGNATURE_LENGTH),
    ROW(CKR_WRAPPED_KEY_LEN_RANGE,      SURELY, BW_WRAPPED_KEY_INVALID),
    ROW(CKR_PIN_INCORRECT,              SURELY, BW_CREDENTIAL_INVALID),
    ROW(CKR_PIN_INVALID,                SURELY, BW_CREDENTIAL_INVALID),
    ROW(CKR_PIN_LEN_RANGE,              SURELY, BW_CREDENTIAL_INVALID),
    ROW(CKR_PIN_LOCKED,                 SURELY, BW_CREDENTIAL_INVALID),
    ROW(CKR_PIN_EXPIRED,                SURELY, BW_CREDENTIAL_INVALID),

    ROW(CKR_GENERAL_ERROR,              INPUT,  0),
    ROW(CKR_FUNCTION_FAILED,            INPUT,  0),
    ROW(CKR_DATA_INVALID,               INPUT,  0),
    ROW(CKR_ENCRYPTED_DATA_INVALID,     INPUT,  0),
    ROW(CKR_WRAPPED_KEY_INVALID,        INPUT,  0),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID,    INPUT,  0),
    ROW(CKR_TEMPLATE_INCONSISTENT,      INPUT,  0),

    ROW(CKR_DEVICE_ERROR,               LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_DEVICE_REMOVED,             LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_TOKEN_NOT_PRESENT,          LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_TOKEN_NOT_RECOGNIZED,       LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_SLOT_ID_INVALID,            LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_SESSION_CLOSED,             LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_SESSION_HANDLE_INVALID,     LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_USER_NOT_LOGGED_IN,         LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_OPERATION_ACTIVE,           LOST,   BW_HSM_UNAVAILABLE),  /* even in the session's replacement */
    ROW(CKR_OBJECT_HANDLE_INVALID,      LOST,   BW_HSM_UNAVAILABLE),  /* after a logout; or destroyed by another node */
    ROW(CKR_KEY_HANDLE_INVALID,         LOST,   BW_HSM_UNAVAILABLE),
    ROW(CKR_WRAPPING_KEY_HANDLE_INVALID,   LOST, BW_HSM_UNAVAILABLE),
    ROW(CKR_UNWRAPPING_KEY_HANDLE_INVALID, LOST, BW_HSM_UNAVAILABLE),
#undef ROW
};

static const struct row *row_of(CK_RV rv)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].rv == rv)
            return &rows[i];
    return NULL;
}

bw_result bw_rv_result(CK_RV rv, enum bw_code input_fault, const char *where)
{
    const struct row *row = row_of(rv);

    if (rv == CKR_OK)
        return bw_success();
    if (row == NULL)
        return (bw_result){ .code = BW_HSM_FAILED, .what = "the HSM module returned an error", .where = where };
    return (bw_result){ .code = row->fault == INPUT ? input_fault : row->code, .what = row->name, .where = where };
}

bool bw_rv_means_lost(CK_RV rv)
{
    const struct row *row = rv == CKR_OK ? NULL : row_of(rv);
    return row != NULL && row->fault == LOST;
}
