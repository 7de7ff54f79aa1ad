/* The vendor's module: loading it, its slots and tokens. */
#include <assert.h>
#include <dlfcn.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hsm_internal.h"

#define RV(rv) bw_rv_result(rv, BW_HSM_FAILED, __FILE__ ":" BW_STRING(__LINE__))

/* ---- opening ---- */

/* Padded with blanks, without a NUL. */
static void unpad(const CK_UTF8CHAR *padded, size_t len, char *text)
{
    while (len > 0 && (padded[len - 1] == ' ' || padded[len - 1] == '\0'))
        len--;
    memcpy(text, padded, len);
    text[len] = '\0';
}

static void describe(struct bw_hsm *hsm)
{
    CK_INFO info;

    if (hsm->f->C_GetInfo(&info) != CKR_OK) {
        (void)snprintf(hsm->description, sizeof hsm->description, "unknown");
        return;
    }
    char maker[33], library[33];
    unpad(info.manufacturerID, sizeof info.manufacturerID, maker);
    unpad(info.libraryDescription, sizeof info.libraryDescription, library);
    (void)snprintf(hsm->description, sizeof hsm->description, "%s, %s, %u.%u", maker, library,
                   info.libraryVersion.major, info.libraryVersion.minor);
}

static bw_result initialize(struct bw_hsm *hsm)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_RV rv = hsm->f->C_Initialize(&args);

    BW_CHECK(rv != CKR_CRYPTOKI_ALREADY_INITIALIZED, BW_HSM_UNAVAILABLE, "the HSM module is in use in this process already");
    BW_TRY(RV(rv));
    describe(hsm);
    return bw_success();
}

static bw_result new_hsm(void *library, CK_FUNCTION_LIST *functions, const struct bw_hsm_options *options, struct bw_hsm **ret_hsm)
{
    struct bw_hsm *hsm = calloc(1, sizeof *hsm);

    BW_CHECK(hsm != NULL, BW_NO_MEMORY, "HSM");
    *hsm = (struct bw_hsm){ .f = functions, .sessions = options->sessions };
    (void)pthread_mutex_init(&hsm->creation, NULL);
    (void)pthread_mutex_init(&hsm->open_lock, NULL);
    bw_result r = initialize(hsm);
    if (!bw_ok(r)) {
        free(hsm);
        return r;
    }
    hsm->library = library;
    *ret_hsm = hsm;
    return bw_success();
}

bw_result bw_hsm_open_with(CK_FUNCTION_LIST *functions, const struct bw_hsm_options *options, struct bw_hsm **ret_hsm)
{
    assert(options->sessions > 0);
    return new_hsm(NULL, functions, options, ret_hsm);
}

static bw_result functions_of(void *library, CK_FUNCTION_LIST **ret_functions)
{
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");

    BW_CHECK(get != NULL, BW_CONFIG_INVALID, "the HSM module has no C_GetFunctionList");
    return RV(get(ret_functions));
}

bw_result bw_hsm_open(const struct bw_hsm_options *options, struct bw_hsm **ret_hsm)
{
    CK_FUNCTION_LIST *functions = NULL;

    assert(options->sessions > 0);
    void *library = dlopen(options->module, RTLD_NOW | RTLD_LOCAL);
    BW_CHECK(library != NULL, BW_CONFIG_INVALID, "the HSM module cannot be loaded");
    bw_result r = functions_of(library, &functions);
    if (bw_ok(r))
        r = new_hsm(library, functions, options, ret_hsm);
    if (!bw_ok(r))
        (void)dlclose(library);
    return r;
}

void bw_hsm_close(struct bw_hsm *hsm)
{
    if (hsm == NULL)
        return;
    assert(hsm->open == NULL);
    (void)hsm->f->C_Finalize(NULL); /* nothing is left to be done about a failure */
    if (hsm->library != NULL)
        (void)dlclose(hsm->library);
    (void)pthread_mutex_destroy(&hsm->creation);
    (void)pthread_mutex_destroy(&hsm->open_lock);
    free(hsm);
}

const char *bw_hsm_description(const struct bw_hsm *hsm)
{
    return hsm->description;
}

bool bw_hsm_offers(const struct bw_hsm *hsm, CK_MECHANISM_TYPE mechanism, unsigned use)
{
    const struct bw_mechanism_row *row = bw_mechanism_row(mechanism);

    if (row == NULL || (row->uses & use) != use)
        return false;
    if (row->key_type == CKK_NONE)
        return true; /* digests are the application's own work */
    for (size_t i = 0; i < BW_MECHANISM_ROWS; i++)
        if (bw_mechanism_at(i)->type == row->travels_as)
            return (atomic_load(&hsm->offers[i]) & use) == use;
    return false;
}

bool bw_hsm_imports(const struct bw_hsm *hsm, const struct bw_spec_row *spec)
{
    return (atomic_load(&hsm->imports) >> spec->spec & 1) != 0;
}

const char *bw_hsm_why_no_import(const struct bw_hsm *hsm, const struct bw_spec_row *spec)
{
    return bw_hsm_imports(hsm, spec) ? NULL : hsm->why_no_import[spec->spec];
}

bool bw_hsm_imports_by(const struct bw_hsm *hsm, enum bw_digest oaep_hash)
{
    return (atomic_load(&hsm->oaep_hashes) >> oaep_hash & 1) != 0;
}

/* ---- slots ---- */

/* ret_slot->flags 0: no token there. */
static bw_result slot_at(struct bw_hsm *hsm, CK_SLOT_ID id, struct bw_slot *ret_slot)
{
    CK_TOKEN_INFO info;
    CK_RV rv = hsm->f->C_GetTokenInfo(id, &info);

    *ret_slot = (struct bw_slot){ .id = id };
    if (rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_TOKEN_NOT_RECOGNIZED || rv == CKR_SLOT_ID_INVALID)
        return bw_success();
    BW_TRY(RV(rv));
    ret_slot->flags = info.flags;
    unpad(info.label, sizeof info.label, ret_slot->label);
    unpad(info.serialNumber, sizeof info.serialNumber, ret_slot->serial);
    return bw_success();
}

/* Asking for the count first is what makes SoftHSM look for new tokens. */
static bw_result list_slots(struct bw_hsm *hsm, CK_SLOT_ID **ret_ids, CK_ULONG *ret_count)
{
    CK_ULONG count = 0;

    BW_TRY(RV(hsm->f->C_GetSlotList(CK_TRUE, NULL, &count)));
    CK_ULONG room = count + 1;
    CK_SLOT_ID *ids = calloc(room, sizeof *ids);
    BW_CHECK(ids != NULL, BW_NO_MEMORY, "slot list");
    bw_result r = RV(hsm->f->C_GetSlotList(CK_TRUE, ids, &room));
    if (!bw_ok(r)) {
        free(ids);
        return r;
    }
    *ret_ids   = ids;
    *ret_count = room;
    return bw_success();
}

static bw_result each_slot(struct bw_hsm *hsm, bw_result (*each)(void *self, const struct bw_slot *slot), void *self)
{
    CK_SLOT_ID *ids;
    CK_ULONG count;
    bw_result r = bw_success();

    BW_TRY(list_slots(hsm, &ids, &count));
    for (CK_ULONG i = 0; i < count && bw_ok(r); i++) {
        struct bw_slot slot;
        r = slot_at(hsm, ids[i], &slot);
        if (bw_ok(r) && slot.flags != 0)
            r = each(self, &slot);
    }
    free(ids);
    return r;
}

struct search {
    const char    *label, *serial;
    unsigned       found;
    struct bw_slot slot;
    bool           has_free;
    struct bw_slot free;
};

static bw_result compare(void *self, const struct bw_slot *slot)
{
    struct search *search = self;

    if (!(slot->flags & CKF_TOKEN_INITIALIZED)) {
        search->has_free = true;
        search->free     = *slot;
        return bw_success();
    }
    if (strcmp(slot->label, search->label) != 0 || (search->serial[0] != '\0' && strcmp(slot->serial, search->serial) != 0))
        return bw_success();
    search->found++;
    search->slot = *slot;
    return bw_success();
}

bw_result bw_slot_find(struct bw_hsm *hsm, const char *label, const char *serial, struct bw_slot *ret_slot)
{
    struct search search = { .label = label, .serial = serial };

    BW_TRY(each_slot(hsm, compare, &search));
    BW_CHECK(search.found > 0, BW_HSM_UNAVAILABLE, "the HSM has no token of this label and serial");
    BW_CHECK(search.found == 1, BW_HSM_UNAVAILABLE, "the HSM has several tokens of this label");
    *ret_slot = search.slot;
    return bw_success();
}

struct labels { bw_result (*each)(void *self, const char *label); void *self; };

static bw_result pass_label(void *self, const struct bw_slot *slot)
{
    const struct labels *labels = self;

    if (!(slot->flags & CKF_TOKEN_INITIALIZED) || strncmp(slot->label, "bw:", 3) != 0)
        return bw_success();
    return labels->each(labels->self, slot->label);
}

bw_result bw_hsm_each_label(struct bw_hsm *hsm, bw_result (*each)(void *self, const char *label), void *self)
{
    return each_slot(hsm, pass_label, &(struct labels){ each, self });
}

/* ---- new tokens ---- */

void bw_token_label(const bw_region *region, const bw_tenant *tenant, char label[static 33])
{
    char text[4 + BW_REGION_MAX + 1 + BW_TENANT_MAX + 1];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];

    int len = snprintf(text, sizeof text, tenant ? "bw:%s:%s" : "bw:%s", region->text, tenant ? tenant->text : "");
    if (len <= 32) {
        memcpy(label, text, (size_t)len + 1);
        return;
    }
    (void)SHA256((const uint8_t *)tenant->text, strlen(tenant->text), hash);
    bw_hex(bw_bytes_of(hash, sizeof hash), hex);
    (void)snprintf(text, sizeof text, "bw:%s:#%.32s", region->text, hex);
    memcpy(label, text, 32);
    label[32] = '\0';
}

static bw_result init_token(struct bw_hsm *hsm, CK_SLOT_ID slot, const char *label, bw_bytes so_pin)
{
    CK_UTF8CHAR padded[32];

    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strlen(label));
    return RV(hsm->f->C_InitToken(slot, (CK_UTF8CHAR *)so_pin.data, so_pin.len, padded));
}

static bw_result init_pin(struct bw_hsm *hsm, CK_SESSION_HANDLE session, bw_bytes so_pin, bw_bytes user_pin)
{
    BW_TRY(RV(hsm->f->C_Login(session, CKU_SO, (CK_UTF8CHAR *)so_pin.data, so_pin.len)));
    bw_result r = RV(hsm->f->C_InitPIN(session, (CK_UTF8CHAR *)user_pin.data, user_pin.len));
    (void)hsm->f->C_Logout(session); /* closing the session does it too */
    return r;
}

/* A token without a user PIN is one whose creation was cut short: it is finished, if the SO PIN is the same. */
static bw_result create(struct bw_hsm *hsm, const char *label, bw_bytes so_pin, bw_bytes user_pin, struct bw_slot *ret_slot)
{
    struct search search = { .label = label, .serial = "" };
    CK_SESSION_HANDLE session;

    BW_TRY(each_slot(hsm, compare, &search));
    if (search.found == 0) {
        BW_CHECK(search.has_free, BW_QUOTA, "the HSM has no free slot");
        BW_TRY(init_token(hsm, search.free.id, label, so_pin));
        BW_TRY(bw_slot_find(hsm, label, "", &search.slot));
    }
    BW_CHECK(!(search.slot.flags & CKF_USER_PIN_INITIALIZED), BW_ALREADY_EXISTS, "a token of this label");

    BW_TRY(RV(hsm->f->C_OpenSession(search.slot.id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session)));
    bw_result r = init_pin(hsm, session, so_pin, user_pin);
    (void)hsm->f->C_CloseSession(session); /* the token is made; a session left over goes with the process */
    *ret_slot = search.slot;
    return r;
}

bw_result bw_token_create(struct bw_hsm *hsm, const char *label, bw_bytes so_pin, bw_bytes user_pin, char ret_serial[static 17])
{
    struct bw_slot slot;

    BW_CHECK(label[0] != '\0' && strlen(label) <= 32, BW_BAD_ARGUMENT, "a token label has 1 to 32 characters");
    BW_CHECK(so_pin.len > 0 && so_pin.len <= BW_PIN_MAX && user_pin.len > 0 && user_pin.len <= BW_PIN_MAX, BW_BAD_ARGUMENT, "a PIN's length");
    (void)pthread_mutex_lock(&hsm->creation);
    bw_result r = create(hsm, label, so_pin, user_pin, &slot);
    (void)pthread_mutex_unlock(&hsm->creation);
    if (bw_ok(r))
        memcpy(ret_serial, slot.serial, sizeof slot.serial);
    return r;
}
