/* Keys that applications bring to the token: C_CreateObject of a private or secret key with CKA_TOKEN, as far as the tenant's
 * policy lets them keep keys of their own.
 *
 * The value crosses the wire wrapped for the region's HSM and in no other form; here it lives in the template, and in memory that
 * is wiped. Three RPCs: CreateKey, GetImportParameters, ImportKeyMaterial. Where one fails, what was made is scheduled for
 * deletion. RSA keys come with all their parts (PKCS#11 Current Mechanisms 2.1.3). */
#ifndef BW_PROVIDER_BRING_H
#define BW_PROVIDER_BRING_H

#include "key.h"

bw_result bw_bring(struct bw_session *session, struct bw_template given, CK_OBJECT_HANDLE *ret_key);

#endif
