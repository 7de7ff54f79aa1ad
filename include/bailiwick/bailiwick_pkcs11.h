/* What Bailiwick's PKCS#11 module has beyond the standard, for applications that want it.
 *
 * Envelopes: an envelope is ciphertext that names its own region, key and key version and binds an encryption context;
 * another region refuses it by name. C_EncryptInit and C_DecryptInit take CKM_BAILIWICK_ENVELOPE with an AES key whose
 * CKA_WRAP (or CKA_UNWRAP) is true:
 *
 *     CK_BAILIWICK_PAIR context[] = { { (CK_UTF8CHAR *)"file", 4, (CK_UTF8CHAR *)"report.pdf", 10 } };
 *     CK_BAILIWICK_ENVELOPE_PARAMS params = { context, 1 };
 *     CK_MECHANISM mechanism = { CKM_BAILIWICK_ENVELOPE, &params, sizeof params };
 *
 *     C_EncryptInit(session, &mechanism, key);
 *     C_Encrypt(session, data, data_len, envelope, &envelope_len);
 *
 * Decrypting needs the same pairs, in any order. The parameter may be left out: no context.
 *
 * Trust: the token keeps NSS's objects of class CKO_NSS_TRUST (pkcs11.h), which say what the certificate with CKA_ISSUER and
 * CKA_SERIAL_NUMBER is trusted for: CKA_TRUST_SERVER_AUTH, _CLIENT_AUTH, _CODE_SIGNING, _EMAIL_PROTECTION, each a CKT_NSS_ value
 * (C_SetAttributeValue changes them), and CKA_TRUST_STEP_UP_APPROVED; CKA_CERT_SHA1_HASH and CKA_CERT_MD5_HASH may be there too.
 * On the token there is one for a certificate: C_CreateObject for the same one replaces what it says, under the same handle. An
 * application finds its own and those of custodians; theirs go before, and then C_CreateObject is refused
 * (CKR_KEY_FUNCTION_NOT_PERMITTED). */
#ifndef BAILIWICK_BAILIWICK_PKCS11_H
#define BAILIWICK_BAILIWICK_PKCS11_H

#include "bailiwick/pkcs11.h"

#define CKM_BAILIWICK (CKM_VENDOR_DEFINED | 0x42570000UL) /* "BW" */

#define CKM_BAILIWICK_ENVELOPE (CKM_BAILIWICK | 0x1UL)

/* UTF-8, not NUL-terminated, at most 512 bytes each. Names are unique in a context. */
typedef struct CK_BAILIWICK_PAIR {
    CK_UTF8CHAR *pName;
    CK_ULONG     ulNameLen;
    CK_UTF8CHAR *pValue;
    CK_ULONG     ulValueLen;
} CK_BAILIWICK_PAIR;

typedef struct CK_BAILIWICK_ENVELOPE_PARAMS {
    CK_BAILIWICK_PAIR *pContext;
    CK_ULONG           ulContextCount; /* at most 32 */
} CK_BAILIWICK_ENVELOPE_PARAMS;

/* What CK_SESSION_INFO.ulDeviceError holds after a call that failed at or on the way to the region: BAILIWICK_WRONG_REGION,
 * BAILIWICK_UNREACHABLE ... 0 when none has. results.def says what each means. */
enum bailiwick_device_error {
#define BW_CODE(number, code, ckr, grpc, told) BAILIWICK_##code = (number),
#include "bailiwick/results.def"
#undef BW_CODE
};

#endif
