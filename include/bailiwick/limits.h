/* Every size and count we accept, with its reason. Bytes unless the name says otherwise. */
#ifndef BAILIWICK_LIMITS_H
#define BAILIWICK_LIMITS_H

#include <stdint.h>

enum {
    BW_REGION_MAX       = 16,           /* with BW_TENANT_MAX it must leave a token label its 32 bytes */
    BW_TENANT_MAX       = 36,           /* a UUID as text fits */
    BW_PRINCIPAL_MAX    = 64,           /* the name at the end of a SPIFFE id */
    BW_TRUST_DOMAIN_MAX = 253,          /* RFC 1035 name */
    BW_SPIFFE_MAX       = 2048,         /* SPIFFE-ID 2.3 */
    BW_KEY_ID_LEN       = 16,           /* random; 32 hexadecimal digits in a key name */
    BW_KEY_NAME_MAX     = 3 + BW_REGION_MAX + 1 + BW_TENANT_MAX + 5 + 32, /* bw:<region>:<tenant>:key/<id> */
    BW_REQUEST_ID_LEN   = 16,
    BW_LABEL_MAX        = 128,          /* CKA_LABEL */
    BW_CKA_ID_MAX       = 100,          /* libp11 breaks beyond */
    BW_ALIAS_MAX        = 64,
    BW_ALIASES_MAX      = 16,           /* count, per key */
    BW_TAG_MAX          = 128,          /* name and value each */
    BW_TAGS_MAX         = 32,           /* count, per key */
    BW_DESCRIPTION_MAX  = 1024,
    BW_RULE_NAME_MAX    = 256,          /* of a key policy; records carry it */
    BW_GRANTS_MAX       = 64,           /* count, per key: a list of them fits into a message */
    BW_GRANT_TERMS_MAX  = 8 * 1024,
    BW_GRANT_DEPTH_MAX  = 8,            /* how often a grant may be handed on */
    BW_GRANT_DAYS_MAX   = 366,          /* no grant lasts longer */

    BW_DATA_MAX         = 512 * 1024,   /* what one operation takes; larger files go by envelope */
    BW_MESSAGE_MAX      = 1024 * 1024,  /* a gRPC message, with room for BW_DATA_MAX and its frame */
    BW_BATCH_MAX        = 256,          /* operations in one Batch */
    BW_AAD_MAX          = 64 * 1024,
    BW_OAEP_LABEL_MAX   = 1024,
    BW_IV_MAX           = 256,          /* SP 800-38D allows more; nobody uses it */
    BW_RANDOM_MAX       = 64 * 1024,    /* one Random call */
    BW_CONTEXT_PAIRS_MAX= 32,           /* encryption context */
    BW_CONTEXT_TEXT_MAX = 512,          /* key and value each */
    BW_SEALED_MAX       = 3 * 1024,     /* a sealed session key: a private key of RSA-4096 with room */
    BW_SESSION_KEY_MAX  = 512,          /* a secret key for a session */
    BW_PRIVATE_KEY_MAX  = 2560,         /* a private key for a session, PKCS#8 of RSA-4096 with room */
    BW_WRAPPED_MAX      = 8 * 1024,     /* a wrapped private key of RSA-4096 with room */
    BW_PUBLIC_KEY_MAX   = 1024,         /* a SubjectPublicKeyInfo of RSA-4096 with room */
    BW_SIGNATURE_MAX    = 1024,
    BW_OBJECT_MAX       = 64 * 1024,    /* a certificate or data object's value */
    BW_DER_NAME_MAX     = 4 * 1024,     /* an issuer or subject in DER; RFC 5280 has no limit, few reach 500 */
    BW_DER_SERIAL_MAX   = 128,          /* a serial number in DER; RFC 5280 allows 20 bytes and a head */
    BW_TEMPLATE_MAX     = 256,          /* attributes in one template; PKCS#11 has about 100 */
    BW_PIN_MAX          = 255,          /* CK_ULONG in theory, 255 in every module met */

    BW_AES_BLOCK        = 16,
    BW_GCM_IV_LEN       = 12,
    BW_GCM_TAG_MAX      = 16,

    BW_PAGE_DEFAULT     = 100,          /* rows of a list call */
    BW_PAGE_MAX         = 1000,

    BW_USES_BLOCK       = 65536,        /* random-nonce encryptions reserved in the store at once */

    BW_DELETION_DAYS_MIN     = 7,       /* between asking for a key's deletion and it */
    BW_DELETION_DAYS_MAX     = 90,
    BW_DELETION_DAYS_DEFAULT = 30,
    BW_VERSION_MAX           = 1000000, /* of a key: more than a rotation a minute for a year */
    BW_ROTATION_DAYS_MAX     = 3650,    /* between automatic rotations */
    BW_IMPORT_TOKEN_LEN      = 48,      /* expiry, generation, HMAC-SHA-256 */
    BW_PIN_MIN               = 8,       /* a customer-held token's */

    BW_CUSTODIANS_MIN        = 2,       /* that an action under dual control takes */
    BW_CUSTODIANS_MAX        = 8,       /* that a tenant's policy may ask for: more would hardly ever be found */
    BW_PROPOSAL_MAX          = 128 * 1024, /* a request that is proposed: a policy of BW_OBJECT_MAX, with room */
    BW_PROPOSALS_MAX         = 64,      /* of a tenant */
    BW_PROPOSALS_EACH_MAX    = 16,      /* of a custodian, so that one cannot keep the others from proposing */
    BW_APPROVALS_MAX         = 32,      /* of a proposal */
    BW_PROPOSAL_HOURS        = 72,      /* that a proposal stands, where the tenant's policy does not say */
    BW_PROPOSAL_HOURS_MAX    = 720,
    BW_PROPOSAL_ID_LEN       = 16,

    BW_DEADLINE_DEFAULT_MS = 5000,      /* PKCS#11 callers name none */
    BW_DEADLINE_MAX_MS     = 600 * 1000
};

/* What one version of a key may encrypt with random nonces of 96 bits: half of what SP 800-38D, 8.3 allows. */
#define BW_USES_MAX         ((uint64_t)1 << 31)
#define BW_USES_ROTATE      (BW_USES_MAX / 4 * 3) /* from here on the key is rotated by itself: what is left lasts for hours */
#define BW_DAY_US           ((int64_t)24 * 3600 * 1000000)
#define BW_HOUR_US          ((int64_t)3600 * 1000000)
#define BW_IMPORT_TOKEN_US  BW_DAY_US   /* how long an import token is good */
#define BW_REQUEST_KEPT_US  BW_DAY_US   /* how long a retry finds its first answer */

#endif
