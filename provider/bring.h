/* Keys that applications bring to the region: C_CreateObject of a private key, or of a secret key with CKA_TOKEN.
 *
 * For a session alone, the region seals the private key: one RPC, which takes it as PKCS#8. On the token they are master keys, as
 * far as the tenant's policy lets applications keep keys of their own. There the value crosses the wire wrapped for the region's HSM and in no other form; here it lives in the template, and in memory that
 * is wiped. Three RPCs: CreateKey, GetImportParameters, ImportKeyMaterial. Where one fails, what was made is scheduled for
 * deletion. RSA keys come with all their parts (PKCS#11 Current Mechanisms 2.1.3). */
#ifndef BW_PROVIDER_BRING_H
#define BW_PROVIDER_BRING_H

#include "key.h"

bw_result bw_bring(struct bw_session *session, struct bw_template given, CK_OBJECT_HANDLE *ret_key);

#endif
