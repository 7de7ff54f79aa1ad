/* PKCS#11 types and constants: p11-kit's header, which is Cryptoki 2.40, and what v3.0 added that we use.
 * Our own vendor constants are in bailiwick_pkcs11.h. */
#ifndef BAILIWICK_PKCS11_H
#define BAILIWICK_PKCS11_H

#include <p11-kit/pkcs11.h>

#ifndef CKM_AES_KEY_WRAP_KWP
#define CKM_AES_KEY_WRAP_KWP 0x210bUL /* PKCS#11 v3.0, Current Mechanisms 2.16; same wrapping as CKM_AES_KEY_WRAP_PAD in 2.40 */
#endif
#ifndef CKA_UNIQUE_ID
#define CKA_UNIQUE_ID 0x4UL           /* PKCS#11 v3.0, Base 4.4 */
#endif

#endif
