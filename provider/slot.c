#include "slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "local.h"
#include "object.h"
#include "parameters.h"

/* ---- life ---- */

/* FNV-1a, 64 bits. Nothing secret, nobody to fool: it only has to be the same everywhere. */
static uint64_t hash_add(uint64_t hash, const char *text)
{
    do {
        hash ^= (uint8_t)*text;
        hash *= 0x100000001b3u;
    } while (*text++ != '\0'); /* with its NUL, so that "a" "bc" is not "ab" "c" */
    return hash;
}

static uint64_t slot_hash(const struct bw_conf_slot *conf)
{
    uint64_t hash = 0xcbf29ce484222325u;

    hash = hash_add(hash, conf->trust_domain);
    hash = hash_add(hash, conf->region.text);
    hash = hash_add(hash, conf->tenant.text);
    return hash_add(hash, conf->name);
}

static bw_result fill(struct bw_slot *slot, const struct bw_conf_slot *conf, struct ossl_lib_ctx_st *library)
{
    struct bw_client_options options = bw_conf_client_options(conf);
    uint64_t hash = slot_hash(conf);

    options.library = library;
    slot->conf = conf;
    slot->id   = hash & 0x7fffffff; /* fits the int that some hosts keep it in */
    (void)snprintf(slot->serial, sizeof slot->serial, "%016llx", (unsigned long long)hash);
    BW_TRY(bw_client_new(&options, &slot->remote.client));
    slot->remote.name  = conf->name;
    slot->remote.trace = conf->trace;

    /* a key that cannot be read now is told of by the first call that needs it */
    if (!bw_ok(bw_client_key_is_encrypted(slot->remote.client, &slot->key_encrypted)))
        slot->key_encrypted = false;
    slot->login_required = conf->login_rule == BW_LOGIN_ALWAYS || (conf->login_rule == BW_LOGIN_AUTO && slot->key_encrypted);
    BW_TRY(bw_local_new(&slot->local));
    return bw_objects_new(slot->id, &slot->objects);
}

bw_result bw_slot_new(const struct bw_conf_slot *conf, struct ossl_lib_ctx_st *library, struct bw_slot **ret_slot)
{
    struct bw_slot *slot = calloc(1, sizeof *slot);

    BW_CHECK(slot != NULL, BW_NO_MEMORY, "slot");
    if (pthread_mutex_init(&slot->lock, NULL) != 0) {
        free(slot);
        return bw_fail(BW_NO_MEMORY, "slot's lock");
    }
    bw_result result = fill(slot, conf, library);
    if (!bw_ok(result)) {
        bw_slot_free(slot);
        return result;
    }
    *ret_slot = slot;
    return bw_success();
}

void bw_slot_free(struct bw_slot *slot)
{
    if (slot == NULL)
        return;
    bw_objects_free(slot->objects);
    bw_local_free(slot->local);
    bw_client_free(slot->remote.client);
    bw_secret_free(slot->random);
    free(slot->told);
    pthread_mutex_destroy(&slot->lock);
    free(slot);
}

void bw_slot_abandon(struct bw_slot *slot)
{
    bw_client_abandon(slot->remote.client);
}

/* ---- what it says of itself ---- */

/* PKCS#11's fixed-width texts are padded with blanks and have no NUL */
static void pad(CK_UTF8CHAR *field, size_t width, const char *text)
{
    size_t len = strlen(text);

    memset(field, ' ', width);
    memcpy(field, text, len < width ? len : width);
}

void bw_slot_info(const struct bw_slot *slot, CK_SLOT_INFO *ret_info)
{
    char description[65];

    memset(ret_info, 0, sizeof *ret_info);
    (void)snprintf(description, sizeof description, "%s in %s", slot->conf->tenant.text, slot->conf->region.text);
    pad(ret_info->slotDescription, sizeof ret_info->slotDescription, description);
    pad(ret_info->manufacturerID, sizeof ret_info->manufacturerID, "Bailiwick");
    /* No CKF_HW_SLOT: the hardware is in the region, and NSS finds no trust objects on what says it is hardware. It keeps them
     * without their serial numbers then, which is what it looks for. */
    ret_info->flags = CKF_TOKEN_PRESENT;
}

static CK_FLAGS token_flags(const struct bw_slot *slot)
{
    CK_FLAGS flags = CKF_RNG | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED;

    if (slot->login_required)
        flags |= CKF_LOGIN_REQUIRED;
    if (!slot->key_encrypted) /* nothing to type: C_Login takes a NULL PIN, and hosts do not ask for one */
        flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
    return flags;
}

void bw_slot_token_info(struct bw_slot *slot, CK_TOKEN_INFO *ret_info)
{
    memset(ret_info, 0, sizeof *ret_info);
    pad(ret_info->label, sizeof ret_info->label, slot->conf->label);
    pad(ret_info->manufacturerID, sizeof ret_info->manufacturerID, "Bailiwick");
    pad(ret_info->model, sizeof ret_info->model, slot->conf->region.text);
    pad(ret_info->serialNumber, sizeof ret_info->serialNumber, slot->serial);
    pad(ret_info->utcTime, sizeof ret_info->utcTime, "");
    ret_info->flags                = token_flags(slot);
    ret_info->ulMaxSessionCount    = CK_EFFECTIVELY_INFINITE;
    ret_info->ulMaxRwSessionCount  = CK_EFFECTIVELY_INFINITE;
    ret_info->ulMaxPinLen          = BW_PIN_MAX;
    ret_info->ulMinPinLen          = 0;
    ret_info->ulTotalPublicMemory  = CK_UNAVAILABLE_INFORMATION;
    ret_info->ulFreePublicMemory   = CK_UNAVAILABLE_INFORMATION;
    ret_info->ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION;
    ret_info->ulFreePrivateMemory  = CK_UNAVAILABLE_INFORMATION;

    pthread_mutex_lock(&slot->lock);
    ret_info->ulSessionCount   = slot->sessions;
    ret_info->ulRwSessionCount = slot->rw_sessions;
    pthread_mutex_unlock(&slot->lock);
}

/* ---- mechanisms ---- */

static const struct bw_mechanism_row *row_at(size_t index)
{
    const struct bw_mechanism_row *row = bw_mechanism_at(index);

    if (row == NULL && (index == 0 || bw_mechanism_at(index - 1) != NULL))
        return &bw_envelope_row;
    return row;
}

static bool needs_hsm(const struct bw_mechanism_row *row)
{
    return row != &bw_envelope_row && (row->uses & ~(unsigned)BW_USE_DIGEST) != 0;
}

/* Until the region was asked, every row counts: there is none that SoftHSM, or a region in front of it, cannot do. */
static bool offers(struct bw_slot *slot, const struct bw_mechanism_row *row)
{
    pthread_mutex_lock(&slot->lock);
    bool found = slot->told == NULL || !needs_hsm(row);
    for (size_t i = 0; i < slot->told_count && !found; i++)
        found = slot->told[i] == row->travels_as;
    pthread_mutex_unlock(&slot->lock);
    return found;
}

bool bw_slot_offers(struct bw_slot *slot, CK_MECHANISM_TYPE type)
{
    const struct bw_mechanism_row *row = type == CKM_BAILIWICK_ENVELOPE ? &bw_envelope_row : bw_mechanism_row(type);

    return row != NULL && offers(slot, row);
}

size_t bw_slot_mechanisms(struct bw_slot *slot, CK_MECHANISM_TYPE *ret_types, size_t room)
{
    size_t count = 0;

    for (size_t i = 0; row_at(i) != NULL; i++) {
        if (!offers(slot, row_at(i)))
            continue;
        if (count < room)
            ret_types[count] = row_at(i)->type;
        count++;
    }
    return count;
}

static const struct { unsigned use; CK_FLAGS flag; } use_flags[] = {
    { BW_USE_ENCRYPT,       CKF_ENCRYPT           },
    { BW_USE_DECRYPT,       CKF_DECRYPT           },
    { BW_USE_WRAP,          CKF_WRAP              },
    { BW_USE_UNWRAP,        CKF_UNWRAP            },
    { BW_USE_SIGN,          CKF_SIGN              },
    { BW_USE_VERIFY,        CKF_VERIFY            },
    { BW_USE_DERIVE,        CKF_DERIVE            },
    { BW_USE_DIGEST,        CKF_DIGEST            },
    { BW_USE_GENERATE,      CKF_GENERATE          },
    { BW_USE_GENERATE_PAIR, CKF_GENERATE_KEY_PAIR },
};

bw_result bw_slot_mechanism_info(struct bw_slot *slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *ret_info)
{
    const struct bw_mechanism_row *row = type == CKM_BAILIWICK_ENVELOPE ? &bw_envelope_row : bw_mechanism_row(type);

    BW_CHECK(row != NULL && offers(slot, row), BW_MECHANISM_INVALID, "mechanism");

    /* AES sizes are bytes (Current Mechanisms 2.9 to 2.16), all others bits */
    unsigned unit = row->key_type == CKK_AES ? 8 : 1;
    CK_FLAGS flags = needs_hsm(row) ? CKF_HW : 0;

    for (size_t i = 0; i < ARRAY_LEN(use_flags); i++)
        if ((row->uses & use_flags[i].use) != 0)
            flags |= use_flags[i].flag;
    if (row->key_type == CKK_EC || row->key_type == CKK_EC_EDWARDS)
        flags |= CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;
    *ret_info = (CK_MECHANISM_INFO){ .ulMinKeySize = row->least_bits / unit, .ulMaxKeySize = row->most_bits / unit, .flags = flags };
    return bw_success();
}

static void remember(struct bw_slot *slot, const struct bw_region_facts *facts)
{
    CK_MECHANISM_TYPE *told = calloc(facts->mechanism_count + 1, sizeof *told);

    if (told == NULL)
        return; /* asked again the next time */
    if (facts->mechanism_count > 0)
        memcpy(told, facts->mechanisms, facts->mechanism_count * sizeof *told);
    pthread_mutex_lock(&slot->lock);
    free(slot->told);
    slot->told       = told;
    slot->told_count = facts->mechanism_count;
    pthread_mutex_unlock(&slot->lock);
}

void bw_slot_learn(struct bw_slot *slot)
{
    struct bw_arena arena = { .blocks = NULL };
    struct bw_region_facts facts;

    pthread_mutex_lock(&slot->lock);
    bool learned = slot->told != NULL;
    pthread_mutex_unlock(&slot->lock);
    if (!learned && bw_ok(bw_rpc_describe(&slot->remote, &arena, &facts)))
        remember(slot, &facts);
    bw_arena_clear(&arena);
}
