#include "attributes.h"

#include <string.h>

#include "bailiwick/limits.h"
#include "output.h"

/* the words of the table's columns */
#define DATA     BW_SHAPE_DATA
#define CERT     BW_SHAPE_CERT
#define RSA_PUB  BW_SHAPE_RSA_PUB
#define EC_PUB   BW_SHAPE_EC_PUB
#define RSA_PRIV BW_SHAPE_RSA_PRIV
#define EC_PRIV  BW_SHAPE_EC_PRIV
#define SECRET   BW_SHAPE_SECRET
#define PROFILE  BW_SHAPE_PROFILE
#define TRUST    BW_SHAPE_TRUST
#define PUB      (RSA_PUB | EC_PUB)
#define PRIV     (RSA_PRIV | EC_PRIV)
#define KEYS     (PUB | PRIV | SECRET)
#define ALL      (DATA | CERT | TRUST | KEYS | PROFILE)
#define CREATE   BW_GIVEN_CREATE
#define GENERATE BW_GIVEN_GENERATE
#define UNWRAP   BW_GIVEN_UNWRAP
#define CHANGE   (BW_GIVEN_CHANGE | BW_GIVEN_COPY)
#define COPY     BW_GIVEN_COPY
#define NEVER    0

static const struct bw_attribute_row rows[] = {
#define BW_ATTRIBUTE(attribute, kind, shapes, given, unset) { attribute, #attribute, BW_KIND_##kind, shapes, given, BW_UNSET_##unset },
#include "attributes.def"
#undef BW_ATTRIBUTE
};

const struct bw_attribute_row *bw_attribute_row(CK_ATTRIBUTE_TYPE type, enum bw_shape shape)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].type == type && (rows[i].shapes & shape) != 0)
            return &rows[i];
    return NULL;
}

bool bw_attribute_is_known(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].type == type)
            return true;
    return false;
}

/* ---- the attributes of one object ---- */

struct head {
    CK_ATTRIBUTE_TYPE type;
    size_t            len;
};

void bw_attributes_clear(struct bw_attributes *attributes)
{
    bw_buf_clear(&attributes->packed);
    bw_secret_free(attributes->hidden);
    attributes->hidden = NULL;
}

bw_result bw_attributes_copy(const struct bw_attributes *from, struct bw_attributes *ret_copy)
{
    BW_TRY(bw_buf_add(&ret_copy->packed, bw_buf_bytes(&from->packed)));
    if (from->hidden == NULL)
        return bw_success();
    return bw_secret_copy(bw_bytes_of(bw_secret_reveal(from->hidden), bw_secret_len(from->hidden)), &ret_copy->hidden);
}

/* One stored attribute, and where the next one begins. */
static bool next_stored(struct bw_reader *r, CK_ATTRIBUTE_TYPE *ret_type, bw_bytes *ret_value)
{
    struct head head;

    if (r->rest.len < sizeof head)
        return false;
    memcpy(&head, bw_read_bytes(r, sizeof head).data, sizeof head);
    *ret_type  = head.type;
    *ret_value = bw_read_bytes(r, head.len);
    return !r->failed;
}

bool bw_attributes_stored(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bw_bytes *ret_value)
{
    struct bw_reader  r = { .rest = bw_buf_bytes(&attributes->packed) };
    CK_ATTRIBUTE_TYPE found;
    bw_bytes          value;

    while (next_stored(&r, &found, &value))
        if (found == type) {
            *ret_value = value;
            return true;
        }
    return false;
}

static void forget(struct bw_attributes *attributes, bw_bytes value)
{
    struct bw_buf *packed = &attributes->packed;
    size_t begin = (size_t)(value.data - packed->data) - sizeof(struct head);
    size_t end   = begin + sizeof(struct head) + value.len;

    memmove(packed->data + begin, packed->data + end, packed->len - end);
    packed->len -= end - begin;
}

bw_result bw_attributes_set(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bw_bytes value)
{
    struct head head = { type, value.len };
    bw_bytes    old;
    uint8_t    *tail;

    if (bw_attributes_stored(attributes, type, &old))
        forget(attributes, old);
    BW_TRY(bw_buf_grow(&attributes->packed, sizeof head + value.len, &tail));
    memcpy(tail, &head, sizeof head);
    if (value.len > 0)
        memcpy(tail + sizeof head, value.data, value.len);
    return bw_success();
}

bw_result bw_attributes_set_bool(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bool value)
{
    CK_BBOOL byte = value ? CK_TRUE : CK_FALSE;
    return bw_attributes_set(attributes, type, bw_bytes_of(&byte, sizeof byte));
}

bw_result bw_attributes_set_ulong(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    return bw_attributes_set(attributes, type, bw_bytes_of(&value, sizeof value));
}

static bw_bytes unset_value(enum bw_unset unset)
{
    static const CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    static const CK_ULONG zero = 0, unknown = CK_UNAVAILABLE_INFORMATION, undecided = CKT_NSS_TRUST_UNKNOWN;

    switch (unset) {
    case BW_UNSET_NO:        return bw_bytes_of(&no, sizeof no);
    case BW_UNSET_YES:       return bw_bytes_of(&yes, sizeof yes);
    case BW_UNSET_ZERO:      return bw_bytes_of(&zero, sizeof zero);
    case BW_UNSET_UNKNOWN:   return bw_bytes_of(&unknown, sizeof unknown);
    case BW_UNSET_UNDECIDED: return bw_bytes_of(&undecided, sizeof undecided);
    case BW_UNSET_ABSENT:
    case BW_UNSET_EMPTY:   break;
    }
    return (bw_bytes){ NULL, 0 };
}

/* As it reads, hidden or not. False: this object has no such attribute. */
static bool value_of(const struct bw_attributes *attributes, const struct bw_attribute_row *row, bw_bytes *ret_value)
{
    if (row == NULL)
        return false;
    if (row->kind == BW_KIND_HIDDEN) {
        *ret_value = bw_bytes_of(bw_secret_reveal(attributes->hidden), bw_secret_len(attributes->hidden));
        return attributes->hidden != NULL && row->type == CKA_VALUE;
    }
    if (bw_attributes_stored(attributes, row->type, ret_value))
        return true;
    *ret_value = unset_value(row->unset);
    return row->unset != BW_UNSET_ABSENT;
}

bw_bytes bw_attributes_bytes(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    bw_bytes value;

    if (!value_of(attributes, bw_attribute_row(type, bw_attributes_shape(attributes)), &value))
        return (bw_bytes){ NULL, 0 };
    return value;
}

bool bw_attributes_bool(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    bw_bytes value = bw_attributes_bytes(attributes, type);
    return value.len == sizeof(CK_BBOOL) && value.data[0] != CK_FALSE;
}

CK_ULONG bw_attributes_ulong(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    bw_bytes value = bw_attributes_bytes(attributes, type);
    return value.len == sizeof(CK_ULONG) ? bw_ulong_at(value.data) : CK_UNAVAILABLE_INFORMATION;
}

static CK_ULONG stored_ulong(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    bw_bytes value;
    return bw_attributes_stored(attributes, type, &value) ? bw_ulong_at(value.data) : CK_UNAVAILABLE_INFORMATION;
}

enum bw_shape bw_attributes_shape(const struct bw_attributes *attributes)
{
    static const struct { CK_OBJECT_CLASS class; CK_KEY_TYPE key_type; enum bw_shape shape; } shapes[] = {
        { CKO_PUBLIC_KEY,  CKK_RSA,            RSA_PUB  },
        { CKO_PUBLIC_KEY,  CKK_EC,             EC_PUB   },
        { CKO_PUBLIC_KEY,  CKK_EC_EDWARDS,     EC_PUB   },
        { CKO_PRIVATE_KEY, CKK_RSA,            RSA_PRIV },
        { CKO_PRIVATE_KEY, CKK_EC,             EC_PRIV  },
        { CKO_PRIVATE_KEY, CKK_EC_EDWARDS,     EC_PRIV  },
        { CKO_SECRET_KEY,  CKK_AES,            SECRET   },
        { CKO_SECRET_KEY,  CKK_GENERIC_SECRET, SECRET   },
    };
    CK_OBJECT_CLASS class = stored_ulong(attributes, CKA_CLASS);

    switch (class) {
    case CKO_DATA:        return DATA;
    case CKO_CERTIFICATE: return CERT;
    case CKO_PROFILE:     return PROFILE;
    case CKO_NSS_TRUST:   return TRUST;
    }
    CK_KEY_TYPE key_type = stored_ulong(attributes, CKA_KEY_TYPE);
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (shapes[i].class == class && shapes[i].key_type == key_type)
            return shapes[i].shape;
    return BW_SHAPE_NONE;
}

/* ---- templates ---- */

bw_result bw_template_check(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    BW_CHECK(template != NULL || count == 0, BW_BAD_ARGUMENT, "a count without a template");
    BW_CHECK(count <= BW_TEMPLATE_MAX, BW_BAD_ARGUMENT, "more attributes than there are");
    return bw_success();
}

/* A template's entries may be unaligned, so they are copied before they are looked at. */
static CK_ATTRIBUTE entry_at(const CK_ATTRIBUTE *template, CK_ULONG index)
{
    CK_ATTRIBUTE entry;

    memcpy(&entry, (const uint8_t *)template + index * sizeof entry, sizeof entry);
    return entry;
}

CK_ATTRIBUTE_TYPE bw_template_type(const CK_ATTRIBUTE *template, CK_ULONG index)
{
    return entry_at(template, index).type;
}

static void put_length(CK_ATTRIBUTE *template, CK_ULONG index, CK_ULONG len)
{
    uint8_t *entry = (uint8_t *)template + index * sizeof *template;
    bw_ulong_put(entry + offsetof(CK_ATTRIBUTE, ulValueLen), len);
}

bool bw_template_find(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bw_bytes *ret_value)
{
    for (CK_ULONG i = 0; i < count; i++) {
        CK_ATTRIBUTE entry = entry_at(template, i);
        if (entry.type == type)
            return bw_ok(bw_input(entry.pValue, entry.ulValueLen, ret_value));
    }
    return false;
}

/* Whether an application may not see what is hidden in this object. */
static bool is_hidden(const struct bw_attributes *attributes, const struct bw_attribute_row *row)
{
    return row != NULL && row->kind == BW_KIND_HIDDEN
        && (bw_attributes_bool(attributes, CKA_SENSITIVE) || !bw_attributes_bool(attributes, CKA_EXTRACTABLE));
}

static bw_result read_one(const struct bw_attributes *attributes, enum bw_shape shape, const CK_ATTRIBUTE *entry,
                          CK_ULONG *ret_len)
{
    const struct bw_attribute_row *row = bw_attribute_row(entry->type, shape);
    bw_bytes value;

    BW_CHECK(!is_hidden(attributes, row), BW_ATTRIBUTE_SENSITIVE, "the value does not leave the region");
    BW_CHECK(value_of(attributes, row, &value), BW_ATTRIBUTE_TYPE, "the object has no such attribute");
    if (entry->pValue != NULL) {
        BW_CHECK(entry->ulValueLen >= value.len, BW_BUFFER_SMALL, "attribute");
        if (value.len > 0)
            memcpy(entry->pValue, value.data, value.len);
    }
    *ret_len = value.len;
    return bw_success();
}

bw_result bw_attributes_read(const struct bw_attributes *attributes, CK_ATTRIBUTE *template, CK_ULONG count)
{
    static const enum bw_code told_first[] = { BW_ATTRIBUTE_SENSITIVE, BW_ATTRIBUTE_TYPE, BW_BUFFER_SMALL };
    bw_result met[ARRAY_LEN(told_first)] = { 0 };
    enum bw_shape shape = bw_attributes_shape(attributes);

    BW_TRY(bw_template_check(template, count));
    for (CK_ULONG i = 0; i < count; i++) {
        CK_ATTRIBUTE entry = entry_at(template, i);
        CK_ULONG     len   = CK_UNAVAILABLE_INFORMATION;
        bw_result    r     = read_one(attributes, shape, &entry, &len);

        put_length(template, i, len);
        for (size_t k = 0; k < ARRAY_LEN(told_first); k++)
            if (r.code == told_first[k])
                met[k] = r;
    }
    for (size_t k = 0; k < ARRAY_LEN(met); k++)
        BW_TRY(met[k]);
    return bw_success();
}

static bool value_is(bw_bytes value, enum bw_attribute_kind kind, bw_bytes wanted)
{
    if (kind == BW_KIND_BOOL)
        return wanted.len == 1 && (value.data[0] != CK_FALSE) == (wanted.data[0] != CK_FALSE);
    return bw_bytes_equal(value, wanted);
}

bool bw_attributes_match(const struct bw_attributes *attributes, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    enum bw_shape shape = bw_attributes_shape(attributes);

    for (CK_ULONG i = 0; i < count; i++) {
        CK_ATTRIBUTE entry = entry_at(template, i);
        const struct bw_attribute_row *row = bw_attribute_row(entry.type, shape);
        bw_bytes value, wanted;

        if (!bw_ok(bw_input(entry.pValue, entry.ulValueLen, &wanted)) || row == NULL || row->kind == BW_KIND_HIDDEN)
            return false;
        if (!value_of(attributes, row, &value) || !value_is(value, row->kind, wanted))
            return false;
    }
    return true;
}

static bool is_trust(bw_bytes value)
{
    static const CK_ULONG levels[] = {
        CKT_NSS_TRUSTED, CKT_NSS_TRUSTED_DELEGATOR, CKT_NSS_VALID_DELEGATOR, CKT_NSS_MUST_VERIFY_TRUST, CKT_NSS_NOT_TRUSTED, CKT_NSS_TRUST_UNKNOWN,
    };

    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (bw_bytes_equal(value, bw_bytes_of(&levels[i], sizeof levels[i])))
            return true;
    return false;
}

/* Whether bytes can be a value of that kind. */
static bool value_fits(enum bw_attribute_kind kind, bw_bytes value)
{
    switch (kind) {
    case BW_KIND_BOOL:       return value.len == sizeof(CK_BBOOL);
    case BW_KIND_ULONG:      return value.len == sizeof(CK_ULONG);
    case BW_KIND_DATE:       return value.len == 0 || value.len == sizeof(CK_DATE);
    case BW_KIND_TRUST:      return is_trust(value);
    case BW_KIND_MECHANISMS: return value.len % sizeof(CK_MECHANISM_TYPE) == 0 && value.len <= BW_OBJECT_MAX;
    case BW_KIND_BYTES:
    case BW_KIND_TEXT:
    case BW_KIND_HIDDEN:     return value.len <= BW_OBJECT_MAX;
    }
    return false;
}

static bw_result take_one(struct bw_attributes *attributes, enum bw_shape shape, enum bw_occasion occasion,
                          const CK_ATTRIBUTE *entry)
{
    const struct bw_attribute_row *row = bw_attribute_row(entry->type, shape);
    bw_bytes value, old;

    BW_CHECK(row != NULL, BW_ATTRIBUTE_TYPE, "such an object has no such attribute");
    BW_CHECK((row->given & occasion) != 0, BW_ATTRIBUTE_READ_ONLY, "attribute cannot be given here");
    BW_CHECK(bw_ok(bw_input(entry->pValue, entry->ulValueLen, &value)), BW_ATTRIBUTE_VALUE, "a length without a value");
    BW_CHECK(value_fits(row->kind, value), BW_ATTRIBUTE_VALUE, "attribute's value");
    if (row->kind == BW_KIND_HIDDEN) {
        BW_CHECK(attributes->hidden == NULL, BW_TEMPLATE_INVALID, "attribute given twice");
        return bw_secret_copy(value, &attributes->hidden);
    }
    if (row->kind == BW_KIND_BOOL)
        value = unset_value(value.data[0] != CK_FALSE ? BW_UNSET_YES : BW_UNSET_NO); /* any other byte is true */
    if ((occasion & CHANGE) == 0 && bw_attributes_stored(attributes, row->type, &old))
        BW_CHECK(bw_bytes_equal(old, value), BW_TEMPLATE_INVALID, "attribute given twice, differently");
    return bw_attributes_set(attributes, row->type, value);
}

/* Class and type decide which rows count, so they come first wherever they stand. */
static bw_result take_class(struct bw_attributes *attributes, const CK_ATTRIBUTE *template, CK_ULONG count)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_CLASS, CKA_KEY_TYPE };
    bw_bytes old, value;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (!bw_template_find(template, count, types[i], &value) || bw_attributes_stored(attributes, types[i], &old))
            continue;
        BW_CHECK(value.len == sizeof(CK_ULONG), BW_ATTRIBUTE_VALUE, "class or key type");
        BW_TRY(bw_attributes_set(attributes, types[i], value));
    }
    return bw_success();
}

static bw_result check_class(const struct bw_attributes *attributes)
{
    bw_bytes value;
    CK_OBJECT_CLASS class = stored_ulong(attributes, CKA_CLASS);
    bool is_key = class == CKO_PUBLIC_KEY || class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY;

    BW_CHECK(class != CK_UNAVAILABLE_INFORMATION, BW_TEMPLATE_INCOMPLETE, "no class");
    BW_CHECK(!is_key || bw_attributes_stored(attributes, CKA_KEY_TYPE, &value), BW_TEMPLATE_INCOMPLETE, "a key without its type");
    BW_CHECK(bw_attributes_shape(attributes) != BW_SHAPE_NONE, BW_ATTRIBUTE_VALUE, "a class or type of key that is not offered");
    return bw_success();
}

bw_result bw_attributes_take(struct bw_attributes *attributes, enum bw_occasion occasion, const CK_ATTRIBUTE *template,
                             CK_ULONG count)
{
    BW_TRY(bw_template_check(template, count));
    BW_TRY(take_class(attributes, template, count));
    BW_TRY(check_class(attributes));
    enum bw_shape shape = bw_attributes_shape(attributes);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_ATTRIBUTE entry = entry_at(template, i);
        BW_TRY(take_one(attributes, shape, occasion, &entry));
    }
    BW_CHECK(!bw_attributes_bool(attributes, CKA_TRUSTED), BW_ATTRIBUTE_READ_ONLY, "only a security officer trusts, and there is none");
    return bw_success();
}
