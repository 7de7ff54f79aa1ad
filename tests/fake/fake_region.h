/* A region in this process, behind the functions of rpc.h: real cryptography by OpenSSL, no network. Counts what it is asked. */
#ifndef BW_TESTS_FAKE_REGION_H
#define BW_TESTS_FAKE_REGION_H

#include <openssl/evp.h>

#include "rpc.h"

enum fake_method {
    FAKE_ENCRYPT, FAKE_DECRYPT, FAKE_SIGN, FAKE_VERIFY, FAKE_WRAP, FAKE_UNWRAP, FAKE_GENERATE, FAKE_IMPORT, FAKE_DERIVE, FAKE_ENVELOPE, FAKE_RANDOM,
    FAKE_IMPORT_PARAMETERS, FAKE_IMPORT_MATERIAL, FAKE_LIST_KEYS, FAKE_CREATE_KEY, FAKE_UPDATE_KEY, FAKE_DELETE_KEY, FAKE_LIST_OBJECTS, FAKE_PUT_OBJECT, FAKE_DELETE_OBJECT, FAKE_DESCRIBE,
    FAKE_METHODS
};

void fake_region_start(void);
void fake_region_stop(void);

/* id  CKA_ID; "" for the key's own */
void fake_region_add_key(enum bw_spec spec, const char *label, const char *id);
void fake_region_remove_key(const char *label);
void fake_region_release(bool allowed); /* whether policies let values out */

/* The pair's private half. */
EVP_PKEY *fake_region_pkey(const char *label);

/* How often it was asked since the last time this was asked, Describe left out. */
unsigned fake_region_asked(void);
unsigned fake_region_asked_for(enum fake_method method); /* since the start */

/* What it was last asked to sign. */
bw_bytes fake_region_last_signed(void);

/* The next call fails so; the next of that method. */
void fake_region_fail_next(enum bw_code code);
void fake_region_fail_next_of(enum fake_method method, enum bw_code code);

#endif
