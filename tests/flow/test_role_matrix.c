/* Who may call what: every role, every RPC, own and other tenant, callers at home and abroad, keys of this region and of
 * another, over mutual TLS against a live daemon. Trap 34: the certificate decides, and the server does.
 *
 * The answers follow from methods.def's columns and from the promises; nothing is listed cell by cell. A new RPC joins by
 * its row: without a function here that fills its request the test does not compile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "bailiwick/v1/proposals.pb-c.h"
#include "bailiwick/v1/region.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "fake/live.h"

#define ABROAD "us-eastern" /* as long as LIVE_HOME, so that an envelope can be moved there */

/* Requests are built of borrowed text, and protobuf-c knows no const. */
#define TEXT(text) ((char *)(uintptr_t)(text))
#define NEW(snake, Method, name)                                                 \
    Bailiwick__V1__##Method##Request name;                                       \
    bailiwick__v1__##snake##_request__init(&name)
#define REPLY(Method) const Bailiwick__V1__##Method##Reply *

/* ---- what there is: keys, and what was made with them ---- */

struct things {
    const char       *tenant;
    struct bw_client *maker;       /* of the keys and the object */
    struct bw_client *user;        /* an application that may use them */
    struct bw_client *custodian;
    struct bw_client *proposer;    /* another one */
    const char       *aes, *mac, *ec;
    bw_bytes          iv, ciphertext, wrapped, envelope, signature, peer, object, proposal;
};

static struct live     live;
static struct bw_arena lasting;    /* as long as the test */
static unsigned        serial;     /* makes names that were not there before */

static const char *create_key(const struct things *things, int spec)
{
    NEW(create_key, CreateKey, request);
    request.spec = (Bailiwick__V1__KeySpec)spec;
    return ((REPLY(CreateKey))live_must(things->maker, BW_METHOD_NR(CreateKey), &request.base, &lasting))->key->name;
}

static Bailiwick__V1__KeyRef *key_ref(const char *name, struct bw_arena *arena)
{
    Bailiwick__V1__KeyRef *ref = bw_arena_alloc(arena, sizeof *ref);
    bailiwick__v1__key_ref__init(ref);
    ref->name = TEXT(name);
    return ref;
}

static Bailiwick__V1__Mechanism *mechanism(unsigned long type, struct bw_arena *arena)
{
    Bailiwick__V1__Mechanism *m = bw_arena_alloc(arena, sizeof *m);
    bailiwick__v1__mechanism__init(m);
    m->type     = (Bailiwick__V1__MechanismType)type;
    m->tag_bits = type == CKM_AES_GCM ? 128 : 0;
    return m;
}

static const char text[] = "sixteen bytes ..";

static void encrypt_with(struct things *t)
{
    NEW(encrypt, Encrypt, request);
    request.key       = key_ref(t->aes, &lasting);
    request.mechanism = mechanism(CKM_AES_GCM, &lasting);
    request.plaintext = bw_wire_data(bw_bytes_text(text));
    REPLY(Encrypt) reply = (void *)live_must(t->user, BW_METHOD_NR(Encrypt), &request.base, &lasting);
    t->iv         = bw_wire_bytes(reply->iv);
    t->ciphertext = bw_wire_bytes(reply->ciphertext);
}

static void wrap_with(struct things *t)
{
    NEW(wrap_key, WrapKey, key);
    key.key       = key_ref(t->aes, &lasting);
    key.mechanism = mechanism(CKM_AES_KEY_WRAP_PAD, &lasting);
    key.value     = bw_wire_data(bw_bytes_text(text));
    t->wrapped    = bw_wire_bytes(((REPLY(WrapKey))live_must(t->user, BW_METHOD_NR(WrapKey), &key.base, &lasting))->wrapped);

    NEW(wrap, Wrap, blob);
    blob.key       = key_ref(t->aes, &lasting);
    blob.plaintext = bw_wire_data(bw_bytes_text(text));
    t->envelope    = bw_wire_bytes(((REPLY(Wrap))live_must(t->user, BW_METHOD_NR(Wrap), &blob.base, &lasting))->envelope);
}

static void sign_with(struct things *t)
{
    NEW(sign, Sign, request);
    request.key       = key_ref(t->mac, &lasting);
    request.mechanism = mechanism(CKM_SHA256_HMAC, &lasting);
    request.data      = bw_wire_data(bw_bytes_text(text));
    t->signature = bw_wire_bytes(((REPLY(Sign))live_must(t->user, BW_METHOD_NR(Sign), &request.base, &lasting))->signature);
}

/* The uncompressed point is what a P-256 SubjectPublicKeyInfo ends in. */
static void make_peer(struct things *t)
{
    NEW(get_key, GetKey, request);
    request.name = TEXT(t->ec);
    bw_bytes spki = bw_wire_bytes(((REPLY(GetKey))live_must(t->user, BW_METHOD_NR(GetKey), &request.base, &lasting))->key->versions[0]->public_key);
    t->peer = bw_bytes_of(spki.data + spki.len - 65, 65);
}

static bw_bytes put_object(const struct things *t)
{
    Bailiwick__V1__Object object = BAILIWICK__V1__OBJECT__INIT;
    NEW(put_object, PutObject, request);
    object.value   = bw_wire_data(bw_bytes_text(text));
    request.object = &object;
    return bw_wire_bytes(((REPLY(PutObject))live_must(t->maker, BW_METHOD_NR(PutObject), &request.base, &lasting))->object->id);
}

/* Keys whose deletion is scheduled are what a proposal can be made of without any policy: it always takes two to purge one. */
static char *doomed_key(const struct things *t)
{
    NEW(schedule_deletion, ScheduleDeletion, request);
    request.name = TEXT(create_key(t, BW_SPEC_AES_256));
    (void)live_must(t->custodian, BW_METHOD_NR(ScheduleDeletion), &request.base, &lasting);
    return request.name;
}

static bw_bytes propose(const struct things *t)
{
    uint8_t *id = bw_arena_alloc(&lasting, BW_PROPOSAL_ID_LEN);
    struct bw_refusal refusal;
    ProtobufCMessage *reply;
    NEW(purge_key, PurgeKey, request);
    request.name = doomed_key(t);
    bw_result result = bw_call(t->proposer, bw_method_by_number(BW_METHOD_NR(PurgeKey)), &request.base, &lasting, &reply, &refusal);
    assert_int_equal(result.code, BW_NOT_APPROVED);
    assert_true(bw_unhex(refusal.proposal, strlen(refusal.proposal), id));
    return bw_bytes_of(id, BW_PROPOSAL_ID_LEN);
}

static struct bw_client *caller(const char *region, const char *rest)
{
    const char *id = bw_arena_text(&lasting, LIVE_TRUST "%s/%s", region, rest);
    return live_caller(&live, id);
}

static void make_things(struct things *t)
{
    t->aes = create_key(t, BW_SPEC_AES_256);
    t->mac = create_key(t, BW_SPEC_HMAC_256);
    t->ec  = create_key(t, BW_SPEC_EC_P256);
    encrypt_with(t);
    wrap_with(t);
    sign_with(t);
    make_peer(t);
    t->object = put_object(t);
    t->proposal = propose(t);
}

/* ---- who calls ---- */

enum { APP = BW_WHO_APP, APP_OWN = BW_WHO_APP_OWN, CUSTODIAN = BW_WHO_CUSTODIAN, AUDITOR = BW_WHO_AUDITOR, OPERATOR = BW_WHO_OPERATOR };
enum { ACME, KEEPS_OWN, KEEPS_OTHERS, UMBRA, ALL_THINGS };
static struct things things[ALL_THINGS];

static const struct role { const char *name, *id; unsigned who; bool may_keep; int own; } roles[] = {
    { "an application",                                    "tenant/acme/app/web",       APP | APP_OWN, false, ACME         },
    { "an application that may keep keys, with its own",   "tenant/keeps/app/web",      APP | APP_OWN, true,  KEEPS_OWN    },
    { "an application that may keep keys, with another's", "tenant/keeps/app/web",      APP | APP_OWN, true,  KEEPS_OTHERS },
    { "a custodian",                                       "tenant/acme/custodian/ann", CUSTODIAN,     false, ACME         },
    { "an auditor",                                        "tenant/acme/auditor/al",    AUDITOR,       false, ACME         },
    { "an operator",                                       "operator/ops",              OPERATOR,      false, ACME         },
    { "another node",                                      "node/n2",                   0,             false, ACME         },
};

struct cell {
    const struct role      *role;
    const struct bw_method *method;
    bool                    other_tenant, from_abroad, key_abroad;
};

static const struct things *things_of(const struct cell *cell) { return &things[cell->other_tenant ? UMBRA : cell->role->own]; }

/* ---- what a request can name ---- */

enum names { NOTHING, KEY, TENANT, PRINCIPAL, OBJECT, PROPOSAL };

static bool has_field(const struct bw_method *method, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(method->request, name) != NULL;
}

static enum names names_of(const struct bw_method *method)
{
    if (method->about == BW_ABOUT_KEY || method->about == BW_ABOUT_ENVELOPE)
        return KEY;
    if (strcmp(method->service, "bailiwick.v1.Tenants") == 0 && method->about == BW_ABOUT_TENANT)
        return has_field(method, "name") ? TENANT : has_field(method, "principal") ? PRINCIPAL : NOTHING;
    if (strcmp(method->service, "bailiwick.v1.Proposals") == 0)
        return has_field(method, "id") ? PROPOSAL : NOTHING;
    return method->number == BW_METHOD_NR(DeleteObject) ? OBJECT : NOTHING;
}

/* ---- what must be answered ---- */

static bool is_app(const struct cell *cell) { return (cell->role->who & APP) != 0; }

/* Applications act on what is theirs, where the method is for custodians otherwise. */
static bool acts_on_its_own(const struct cell *cell) { return is_app(cell) && !(cell->method->who & APP); }

/* Promise 5: a key answers only callers of the regions that its policy allows, and these allow home alone. What from abroad can
 * be asked is what the node is, and lists, which then are empty or public. */
static enum bw_code answer_abroad(const struct cell *cell)
{
    unsigned number = (unsigned)cell->method->number;

    if (number == BW_METHOD_NR(Describe) || (is_app(cell) && (number == BW_METHOD_NR(ListKeys) || number == BW_METHOD_NR(ListObjects))))
        return BW_OK;
    if (is_app(cell) && names_of(cell->method) == KEY && cell->method->effect != BW_EFFECT_CHANGES) {
        if (cell->other_tenant)
            return BW_NO_SUCH_KEY;
        return cell->method->use != 0 ? BW_CALLER_REGION : BW_NOT_PERMITTED; /* GetKey: no rule is about this caller */
    }
    return BW_CALLER_REGION;
}

/* Promise 6: another tenant's things do not exist. */
static enum bw_code answer_other_tenant(const struct cell *cell)
{
    static const enum bw_code answers[] = { [NOTHING] = BW_OK, [KEY] = BW_NO_SUCH_KEY, [TENANT] = BW_NO_SUCH_TENANT,
                                            [PRINCIPAL] = BW_NOT_PERMITTED, [OBJECT] = BW_NO_SUCH_OBJECT, [PROPOSAL] = BW_NO_SUCH_PROPOSAL };
    return cell->role->who & OPERATOR ? BW_OK : answers[names_of(cell->method)];
}

/* Who may import is told that this token is none, and who may purge that one custodian is not enough; clients/import.sh
 * imports, and test_dual_control purges. */
static enum bw_code answer_when_all_may(const struct bw_method *method)
{
    return method->number == BW_METHOD_NR(ImportKeyMaterial) ? BW_IMPORT_TOKEN_INVALID
         : method->number == BW_METHOD_NR(PurgeKey)          ? BW_NOT_APPROVED
                                                             : BW_OK;
}

static enum bw_code answer_to(const struct cell *cell)
{
    enum names names = names_of(cell->method);

    if (!(cell->method->who & cell->role->who))
        return BW_NOT_PERMITTED;
    if (cell->key_abroad)
        return BW_WRONG_REGION; /* promise 10 */
    if (cell->from_abroad)
        return answer_abroad(cell);
    if (acts_on_its_own(cell) && !cell->role->may_keep)
        return BW_NOT_PERMITTED;
    if (cell->other_tenant)
        return answer_other_tenant(cell);
    if (acts_on_its_own(cell) && cell->role->own == KEEPS_OTHERS && (names == KEY || names == OBJECT))
        return BW_NOT_PERMITTED;
    return answer_when_all_may(cell->method);
}

/* ---- the requests ---- */

struct filling {
    const struct cell   *cell;
    const struct things *things;
    struct bw_arena     *arena;
    bool                 granted; /* it will change what it names, so that has to be fresh */
};

static const char *moved(const struct filling *f, const char *key)
{
    return f->cell->key_abroad ? bw_arena_text(f->arena, "bw:" ABROAD "%s", strchr(key + 3, ':')) : key;
}

static char *changed_key(const struct filling *f)
{
    return TEXT(moved(f, f->granted ? create_key(f->things, BW_SPEC_AES_256) : f->things->aes));
}

static ProtobufCBinaryData moved_envelope(const struct filling *f)
{
    uint8_t *copy = bw_arena_copy(f->arena, f->things->envelope);

    if (f->cell->key_abroad)
        memcpy(copy + 9, ABROAD, strlen(ABROAD)); /* magic, header length, algorithm, flags, length of the region */
    return bw_wire_data(bw_bytes_of(copy, f->things->envelope.len));
}

static ProtobufCBinaryData bytes_of(const char *bytes) { return bw_wire_data(bw_bytes_text(bytes)); }

static Bailiwick__V1__SessionKeyTemplate *template_of(const struct filling *f, unsigned long key_type, uint32_t length)
{
    Bailiwick__V1__SessionKeyTemplate *t = bw_arena_alloc(f->arena, sizeof *t);
    bailiwick__v1__session_key_template__init(t);
    t->key_type = (uint32_t)key_type;
    t->length   = length;
    return t;
}

#define FILL(snake, Method) static void fill_##snake(const struct filling *f, Bailiwick__V1__##Method##Request *r)
#define USING(key_name, type) r->key = key_ref(moved(f, f->things->key_name), f->arena), r->mechanism = mechanism(type, f->arena)
#define NOTHING_TO_FILL(snake, Method) FILL(snake, Method) { (void)f, (void)r; }

FILL(encrypt, Encrypt) { USING(aes, CKM_AES_GCM); r->plaintext = bytes_of(text); }
FILL(decrypt, Decrypt)
{
    USING(aes, CKM_AES_GCM);
    r->mechanism->iv = bw_wire_data(f->things->iv);
    r->ciphertext    = bw_wire_data(f->things->ciphertext);
}
FILL(sign, Sign)             { USING(mac, CKM_SHA256_HMAC); r->data = bytes_of(text); }
FILL(verify, Verify)         { USING(mac, CKM_SHA256_HMAC); r->data = bytes_of(text); r->signature = bw_wire_data(f->things->signature); }
FILL(wrap_key, WrapKey)      { USING(aes, CKM_AES_KEY_WRAP_PAD); r->value = bytes_of(text); }
FILL(unwrap_key, UnwrapKey)  { USING(aes, CKM_AES_KEY_WRAP_PAD); r->wrapped = bw_wire_data(f->things->wrapped); r->template_ = template_of(f, CKK_AES, 0); }
FILL(generate_key, GenerateKey) { r->mechanism = mechanism(CKM_AES_KEY_GEN, f->arena); r->template_ = template_of(f, CKK_AES, 32); }
FILL(derive_key, DeriveKey)
{
    USING(ec, CKM_ECDH1_DERIVE);
    r->mechanism->peer = bw_wire_data(f->things->peer);
    r->template_       = template_of(f, CKK_GENERIC_SECRET, 32);
}
FILL(import_session_key, ImportSessionKey) { r->value = bytes_of(text); r->template_ = template_of(f, CKK_GENERIC_SECRET, 0); }
FILL(wrap, Wrap)             { r->key = key_ref(moved(f, f->things->aes), f->arena); r->plaintext = bytes_of(text); }
FILL(unwrap, Unwrap)         { r->envelope = moved_envelope(f); }
FILL(rewrap, Rewrap)         { r->envelope = moved_envelope(f); }
FILL(generate_data_key, GenerateDataKey) { r->key = key_ref(moved(f, f->things->aes), f->arena); }
FILL(random, Random)         { (void)f; r->length = 16; }
FILL(batch, Batch)
{
    Bailiwick__V1__BatchOperation *operation = bw_arena_alloc(f->arena, sizeof *operation);
    bailiwick__v1__batch_operation__init(operation);
    operation->operation_case = BAILIWICK__V1__BATCH_OPERATION__OPERATION_RANDOM;
    operation->random         = bw_arena_alloc(f->arena, sizeof *operation->random);
    bailiwick__v1__random_request__init(operation->random);
    fill_random(f, operation->random);
    r->operations    = bw_arena_alloc(f->arena, sizeof *r->operations);
    r->operations[0] = operation;
    r->n_operations  = 1;
}

FILL(create_key, CreateKey)  { (void)f; r->spec = BAILIWICK__V1__KEY_SPEC__AES_256; }
FILL(get_key, GetKey)        { r->name = TEXT(moved(f, f->things->aes)); }
NOTHING_TO_FILL(list_keys, ListKeys)
FILL(update_key, UpdateKey)
{
    static char *fields[] = { (char *)(uintptr_t)"label" };
    r->name     = changed_key(f);
    r->fields   = fields;
    r->n_fields = 1;
}
FILL(rotate_key, RotateKey)   { r->name = changed_key(f); }
FILL(enable_key, EnableKey)   { r->name = changed_key(f); }
FILL(disable_key, DisableKey) { r->name = changed_key(f); }
FILL(schedule_deletion, ScheduleDeletion) { r->name = changed_key(f); }
FILL(cancel_deletion, CancelDeletion)
{
    NEW(schedule_deletion, ScheduleDeletion, before);
    r->name     = changed_key(f);
    before.name = r->name;
    if (f->granted)
        (void)live_must(f->things->custodian, BW_METHOD_NR(ScheduleDeletion), &before.base, f->arena);
}
FILL(set_key_policy, SetKeyPolicy) { r->name = changed_key(f); r->policy = TEXT("{\"rules\": []}"); }

FILL(test_key_policy, TestKeyPolicy) { r->name = TEXT(moved(f, f->things->aes)); r->policy = TEXT("{\"rules\": []}"); }

/* ---- grants: an application hands on what a custodian granted it ---- */

static const char terms[] = "{\"principals\": [\"app/*\"]}";

static int64_t in_an_hour(void) { return ((int64_t)time(NULL) + 3600) * 1000000; }

static char *granted(struct bw_client *by, const char *key, const char *parent, struct bw_arena *arena)
{
    NEW(create_grant, CreateGrant, request);
    request.name        = TEXT(key);
    request.terms       = TEXT(terms);
    request.expires_us  = in_an_hour();
    request.delegations = parent ? 1 : 2;
    request.parent      = TEXT(parent ? parent : "");
    return ((REPLY(CreateGrant))live_must(by, BW_METHOD_NR(CreateGrant), &request.base, arena))->grant->id;
}

FILL(create_grant, CreateGrant)
{
    r->name       = changed_key(f);
    r->terms      = TEXT(terms);
    r->expires_us = in_an_hour();
    if (f->granted && is_app(f->cell))
        r->parent = granted(f->things->custodian, r->name, NULL, f->arena);
}
FILL(list_grants, ListGrants) { r->name = TEXT(moved(f, f->things->aes)); }
FILL(revoke_grant, RevokeGrant)
{
    r->name = changed_key(f);
    r->id   = f->granted ? granted(f->things->custodian, r->name, NULL, f->arena) : TEXT("00000000000000000000000000000000");
    if (f->granted && is_app(f->cell))
        r->id = granted(f->things->user, r->name, r->id, f->arena);
}

/* A key that waits for its material; else any will do. */
static char *waiting_key(const struct filling *f)
{
    NEW(create_key, CreateKey, request);
    request.spec   = BAILIWICK__V1__KEY_SPEC__AES_256;
    request.origin = BAILIWICK__V1__KEY_ORIGIN__IMPORTED;
    if (!f->granted)
        return TEXT(moved(f, f->things->aes));
    return ((REPLY(CreateKey))live_must(f->things->maker, BW_METHOD_NR(CreateKey), &request.base, f->arena))->key->name;
}

FILL(get_import_parameters, GetImportParameters) { r->name = waiting_key(f); }
FILL(import_key_material, ImportKeyMaterial)
{
    static const uint8_t no_token[BW_IMPORT_TOKEN_LEN];
    r->name            = waiting_key(f);
    r->import_token    = bw_wire_data(bw_bytes_of(no_token, sizeof no_token));
    r->mechanism       = mechanism(CKM_RSA_PKCS_OAEP, f->arena);
    r->mechanism->hash = r->mechanism->mgf = BAILIWICK__V1__HASH__SHA1;
    r->wrapped         = bytes_of(text);
}

FILL(purge_key, PurgeKey)    { r->name = f->granted ? doomed_key(f->things) : TEXT(moved(f, f->things->aes)); }
NOTHING_TO_FILL(list_proposals, ListProposals)
FILL(get_proposal, GetProposal)         { r->id = bw_wire_data(f->things->proposal); }
FILL(approve_proposal, ApproveProposal) { r->id = bw_wire_data(f->things->proposal); }
FILL(reject_proposal, RejectProposal)   { r->id = bw_wire_data(f->granted ? propose(f->things) : f->things->proposal); }

FILL(create_tenant, CreateTenant)
{
    r->name       = bw_arena_text(f->arena, "new-%u", serial++);
    r->activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
}
FILL(get_tenant, GetTenant)            { r->name = TEXT(f->things->tenant); }
NOTHING_TO_FILL(list_tenants, ListTenants)
FILL(seal_tenant, SealTenant)          { r->name = TEXT(f->things->tenant); }
FILL(activate_tenant, ActivateTenant)  { r->name = TEXT(f->things->tenant); }
FILL(set_tenant_policy, SetTenantPolicy) { r->name = TEXT(f->things->tenant); r->policy = TEXT("{}"); }
FILL(revoke_principal, RevokePrincipal)
{
    r->principal = bw_arena_text(f->arena, LIVE_TRUST LIVE_HOME "/tenant/%s/app/gone-%u", f->things->tenant, serial++);
}
NOTHING_TO_FILL(list_revoked, ListRevoked)
FILL(put_object, PutObject)
{
    r->object = bw_arena_alloc(f->arena, sizeof *r->object);
    bailiwick__v1__object__init(r->object);
    r->object->value = bytes_of(text);
}
NOTHING_TO_FILL(list_objects, ListObjects)
FILL(delete_object, DeleteObject)      { r->id = bw_wire_data(f->granted ? put_object(f->things) : f->things->object); }
FILL(query, Query)                     { r->region = f->cell->role->who == OPERATOR; }
FILL(get_checkpoint, GetCheckpoint)    { r->region = f->cell->role->who == OPERATOR; r->size = 1; }
FILL(get_record, GetRecord)            { r->region = f->cell->role->who == OPERATOR; }
FILL(get_tile, GetTile)                { r->region = f->cell->role->who == OPERATOR; r->width = 1; }
FILL(get_entries, GetEntries)          { r->region = f->cell->role->who == OPERATOR; r->count = 1; }
FILL(follow, Follow)                   { r->region = f->cell->role->who == OPERATOR; }
NOTHING_TO_FILL(describe, Describe)

typedef void (*fill_fn)(const struct filling *filling, ProtobufCMessage *request);
static const fill_fn fillers[] = {
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost) [number] = (fill_fn)(void (*)(void))fill_##snake,
#include "methods.def"
#undef BW_METHOD
};

/* ---- a cell ---- */

/* A Batch as such is always read; what counts is the result of its one operation. */
static const char *name_of(enum bw_code code, const struct bw_method *method, const ProtobufCMessage *reply)
{
    if (reply != NULL && method->number == BW_METHOD_NR(Batch)) {
        const Bailiwick__V1__BatchResult *result = ((REPLY(Batch))(const void *)reply)->results[0];
        if (result->result_case == BAILIWICK__V1__BATCH_RESULT__RESULT_ERROR)
            return result->error->reason;
    }
    return bw_code_row(code)->name;
}

static void wake_up(const struct things *t, struct bw_arena *arena)
{
    NEW(activate_tenant, ActivateTenant, request);
    (void)live_must(t->custodian, BW_METHOD_NR(ActivateTenant), &request.base, arena);
}

static const char *ask(struct bw_client *client, const struct cell *cell, enum bw_code expected, struct bw_arena *arena)
{
    struct filling filling = { cell, things_of(cell), arena, expected == BW_OK || expected == answer_when_all_may(cell->method) };
    ProtobufCMessage *request = bw_arena_alloc(arena, cell->method->request->sizeof_message);
    enum bw_code code;

    cell->method->request->message_init(request);
    fillers[cell->method->number](&filling, request);
    const ProtobufCMessage *reply = live_call(client, cell->method->number, request, arena, &code);
    if (reply != NULL && cell->method->number == BW_METHOD_NR(SealTenant))
        wake_up(filling.things, arena);
    return name_of(code, cell->method, reply);
}

static bool is_as_expected(struct bw_client *client, const struct cell *cell)
{
    enum bw_code expected = answer_to(cell);
    struct bw_arena arena = { 0 };
    const char *got = ask(client, cell, expected, &arena);
    bool same = strcmp(got, bw_code_row(expected)->name) == 0;

    if (!same)
        print_error("%s calls %s%s%s%s: %s instead of %s\n", cell->role->name, cell->method->name,
                    cell->other_tenant ? ", about another tenant" : "", cell->from_abroad ? ", from abroad" : "",
                    cell->key_abroad ? ", a key of another region" : "", got, bw_code_row(expected)->name);
    bw_arena_clear(&arena);
    return same;
}

/* What the request cannot name is no cell of its own. */
static bool is_a_cell(const struct cell *cell)
{
    enum names names = names_of(cell->method);
    return (!cell->other_tenant || names != NOTHING) && (!cell->key_abroad || names == KEY);
}

static void check_row(struct bw_client *client, struct cell cell, unsigned *cells, unsigned *wrong)
{
    for (unsigned axes = 0; axes < 4; axes++) {
        cell.other_tenant = (axes & 1) != 0;
        cell.key_abroad   = (axes & 2) != 0;
        if (!is_a_cell(&cell))
            continue;
        ++*cells;
        *wrong += !is_as_expected(client, &cell);
    }
}

static void every_cell_has_its_answer(void **state)
{
    const struct bw_method *method;
    unsigned cells = 0, wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        for (int from_abroad = 0; from_abroad < 2; from_abroad++) {
            struct bw_client *client = caller(from_abroad ? ABROAD : LIVE_HOME, roles[i].id);
            for (size_t m = 0; (method = bw_method_at(m)) != NULL; m++)
                check_row(client, (struct cell){ &roles[i], method, .from_abroad = from_abroad != 0 }, &cells, &wrong);
            bw_client_free(client);
        }
    print_message("%u cells\n", cells);
    assert_int_equal(wrong, 0);
}

/* ---- the region ---- */

static void make_tenant(struct bw_client *operator, const char *name)
{
    NEW(create_tenant, CreateTenant, request);
    request.name       = TEXT(name);
    request.activation = BAILIWICK__V1__ACTIVATION__OPERATOR_HELD;
    (void)live_must(operator, BW_METHOD_NR(CreateTenant), &request.base, &lasting);
}

static int setup(void **state)
{
    NEW(set_tenant_policy, SetTenantPolicy, keep);

    (void)state;
    live_make(&live);
    struct bw_client *operator = caller(LIVE_HOME, "operator/ops");
    for (size_t i = 0; i < ALL_THINGS; i++) {
        static const char *const tenants[] = { "acme", "keeps", "keeps", "umbra" };
        struct things *t = &things[i];
        if (i != KEEPS_OTHERS)
            make_tenant(operator, tenants[i]);
        t->tenant    = tenants[i];
        t->custodian = caller(LIVE_HOME, bw_arena_text(&lasting, "tenant/%s/custodian/ann", tenants[i]));
        t->user      = caller(LIVE_HOME, bw_arena_text(&lasting, "tenant/%s/app/web", tenants[i]));
        t->proposer  = caller(LIVE_HOME, bw_arena_text(&lasting, "tenant/%s/custodian/bob", tenants[i]));
        t->maker     = i == KEEPS_OWN ? t->user : t->custodian;
        keep.policy  = TEXT("{\"apps_own_keys\": true}");
        if (i == KEEPS_OWN)
            (void)live_must(t->custodian, BW_METHOD_NR(SetTenantPolicy), &keep.base, &lasting);
        make_things(t);
    }
    bw_client_free(operator);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALL_THINGS; i++) {
        bw_client_free(things[i].custodian);
        bw_client_free(things[i].proposer);
        bw_client_free(things[i].user);
    }
    bw_arena_clear(&lasting);
    live_remove(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_has_its_answer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
