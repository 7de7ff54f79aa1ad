/* Mechanisms: the rows of mechanisms.def, and one mechanism as a caller asks for it, with its parameters. */
#ifndef BAILIWICK_MECHANISM_H
#define BAILIWICK_MECHANISM_H

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

#define CKK_NONE CK_UNAVAILABLE_INFORMATION

/* What a key or a mechanism may be used for. A key's usage is a set of these too; its numbers are kept in stores. */
enum bw_use {
    BW_USE_ENCRYPT       = 1u << 0,
    BW_USE_DECRYPT       = 1u << 1,
    BW_USE_WRAP          = 1u << 2,
    BW_USE_UNWRAP        = 1u << 3,
    BW_USE_SIGN          = 1u << 4,  /* signatures and MACs */
    BW_USE_VERIFY        = 1u << 5,
    BW_USE_DERIVE        = 1u << 6,
    BW_USE_DIGEST        = 1u << 7,
    BW_USE_GENERATE      = 1u << 8,
    BW_USE_GENERATE_PAIR = 1u << 9
};

enum bw_digest { BW_DIGEST_NONE, BW_DIGEST_SHA1, BW_DIGEST_SHA224, BW_DIGEST_SHA256, BW_DIGEST_SHA384, BW_DIGEST_SHA512 };

enum bw_params { BW_PARAMS_NOTHING, BW_PARAMS_IV, BW_PARAMS_GCM, BW_PARAMS_COUNTER, BW_PARAMS_OAEP, BW_PARAMS_PSS, BW_PARAMS_PEER };

enum bw_cost { BW_COST_FAST, BW_COST_MEDIUM, BW_COST_SLOW };
enum { BW_COSTS = BW_COST_SLOW + 1 };

enum bw_default { BW_DEFAULT_ON, BW_DEFAULT_OFF };

struct bw_mechanism_row {
    CK_MECHANISM_TYPE type;
    const char       *name;      /* "CKM_AES_GCM" */
    CK_KEY_TYPE       key_type;
    unsigned          uses;      /* enum bw_use */
    enum bw_digest    digest;
    CK_MECHANISM_TYPE travels_as;
    enum bw_params    params;
    unsigned          least_bits;
    unsigned          most_bits;
    enum bw_cost      cost;
    enum bw_default   by_default; /* OFF: only where a policy names it */
};

/* NULL: not offered. */
const struct bw_mechanism_row *bw_mechanism_row(CK_MECHANISM_TYPE type);
/* In the table's order; NULL past its end. */
const struct bw_mechanism_row *bw_mechanism_at(size_t index);

/* What a key is made of: a row of specs.def. */
enum bw_spec {
    BW_SPEC_NONE,
#define BW_SPEC(number, spec, key_type, bits, uses, generator, curve) BW_SPEC_##spec = (number),
#include "bailiwick/specs.def"
#undef BW_SPEC
};

struct bw_spec_row {
    enum bw_spec      spec;
    const char       *name;      /* "AES_256" */
    CK_KEY_TYPE       key_type;
    unsigned          bits;
    unsigned          uses;      /* all that such a key can do */
    CK_MECHANISM_TYPE generator;
    bw_bytes          curve;     /* DER of the curve's OID, as CKA_EC_PARAMS wants it; empty for others */
};

/* NULL: no such spec. */
const struct bw_spec_row *bw_spec_row(enum bw_spec spec);
const struct bw_spec_row *bw_spec_by_name(const char *name);
bool bw_spec_is_pair(const struct bw_spec_row *spec); /* private and public key, not a secret key */

struct bw_digest_row {
    enum bw_digest    digest;
    const char       *name;       /* as OpenSSL fetches it: "SHA2-256" */
    CK_MECHANISM_TYPE mechanism;  /* CKM_SHA256 */
    CK_RSA_PKCS_MGF_TYPE mgf;     /* CKG_MGF1_SHA256 */
    size_t            len;        /* bytes */
    bw_bytes          der_prefix; /* of a PKCS#1 DigestInfo, RFC 8017 9.2 note 1 */
};
/* NULL for BW_DIGEST_NONE. */
const struct bw_digest_row *bw_digest_row(enum bw_digest digest);
const struct bw_digest_row *bw_digest_by_mechanism(CK_MECHANISM_TYPE mechanism);
const struct bw_digest_row *bw_digest_by_mgf(CK_RSA_PKCS_MGF_TYPE mgf);

/* A mechanism asked for. Fields that its row's params do not name are empty. Bytes are borrowed. */
struct bw_mechanism {
    const struct bw_mechanism_row *row;
    bw_bytes       iv;            /* IV: 16 bytes; GCM: 1 to BW_IV_MAX, empty lets the HSM draw 12; COUNTER: 16, the first block */
    bw_bytes       aad;           /* GCM */
    unsigned       tag_bits;      /* GCM: 32, 64, 96 to 128 by 8 */
    unsigned       counter_bits;  /* COUNTER: 1 to 128 */
    enum bw_digest hash;          /* OAEP, PSS */
    enum bw_digest mgf;           /* OAEP, PSS: hash inside MGF1 */
    bw_bytes       label;         /* OAEP */
    unsigned       salt_len;      /* PSS, bytes */
    unsigned       aes_bits;      /* RSA_AES_KEY_WRAP */
    bw_bytes       peer;          /* PEER: the other side's public point, X9.62 uncompressed, with or without its DER OCTET STRING */
};

/* Whether the parameters are complete, in range and the row's own. Names the field at fault. */
bw_result bw_mechanism_check(const struct bw_mechanism *mechanism);

#endif
