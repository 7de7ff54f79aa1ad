/* Attributes as data: the rows of attributes.def, the attributes of one object, and templates.
 *
 * Templates come from the application: their pointers may be unaligned, their counts and lengths are checked first. */
#ifndef BW_PROVIDER_ATTRIBUTES_H
#define BW_PROVIDER_ATTRIBUTES_H

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"
#include "bailiwick/secret.h"

enum bw_attribute_kind { BW_KIND_BOOL, BW_KIND_ULONG, BW_KIND_BYTES, BW_KIND_TEXT, BW_KIND_DATE, BW_KIND_MECHANISMS, BW_KIND_TRUST, BW_KIND_HIDDEN };

/* What an object is, for the column "objects": its class, and for pairs of keys their type. */
enum bw_shape {
    BW_SHAPE_NONE     = 0,
    BW_SHAPE_DATA     = 1u << 0,
    BW_SHAPE_CERT     = 1u << 1,
    BW_SHAPE_RSA_PUB  = 1u << 2,
    BW_SHAPE_EC_PUB   = 1u << 3, /* Edwards curves too */
    BW_SHAPE_RSA_PRIV = 1u << 4,
    BW_SHAPE_EC_PRIV  = 1u << 5,
    BW_SHAPE_SECRET   = 1u << 6,
    BW_SHAPE_PROFILE  = 1u << 7,
    BW_SHAPE_TRUST    = 1u << 8
};

/* The column "given". */
enum bw_occasion { BW_GIVEN_CREATE = 1u << 0, BW_GIVEN_GENERATE = 1u << 1, BW_GIVEN_UNWRAP = 1u << 2, BW_GIVEN_CHANGE = 1u << 3,
                   BW_GIVEN_COPY = 1u << 4 };

enum bw_unset { BW_UNSET_ABSENT, BW_UNSET_EMPTY, BW_UNSET_NO, BW_UNSET_YES, BW_UNSET_ZERO, BW_UNSET_UNKNOWN, BW_UNSET_UNDECIDED };

struct bw_attribute_row {
    CK_ATTRIBUTE_TYPE      type;
    const char            *name;   /* "CKA_LABEL" */
    enum bw_attribute_kind kind;
    unsigned               shapes; /* enum bw_shape */
    unsigned               given;  /* enum bw_occasion */
    enum bw_unset          unset;
};

/* NULL: objects of that shape have no such attribute. */
const struct bw_attribute_row *bw_attribute_row(CK_ATTRIBUTE_TYPE type, enum bw_shape shape);
bool bw_attribute_is_known(CK_ATTRIBUTE_TYPE type);

/* The attributes of one object that differ from what the table says of unset ones. All zero is none. */
struct bw_attributes {
    struct bw_buf     packed; /* one after the other: type, length, value */
    struct bw_secret *hidden; /* CKA_VALUE of a secret key, where it is known in this process; owned */
};
void bw_attributes_clear(struct bw_attributes *attributes);
bw_result bw_attributes_copy(const struct bw_attributes *from, struct bw_attributes *ret_copy);

/* Replaces. The value must suit the row; we call these with what we made or checked ourselves. */
bw_result bw_attributes_set(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bw_bytes value);
bw_result bw_attributes_set_bool(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bool value);
bw_result bw_attributes_set_ulong(struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, CK_ULONG value);

/* Only what was stored; borrowed until the next change. */
bool bw_attributes_stored(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type, bw_bytes *ret_value);

/* As an application would read them, what is unset included. A bool that the object does not have is false, a number that it
 * does not have CK_UNAVAILABLE_INFORMATION, bytes empty. */
bool     bw_attributes_bool(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type);
CK_ULONG bw_attributes_ulong(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type);
bw_bytes bw_attributes_bytes(const struct bw_attributes *attributes, CK_ATTRIBUTE_TYPE type);

/* From CKA_CLASS and CKA_KEY_TYPE; BW_SHAPE_NONE while they are missing or not ours. */
enum bw_shape bw_attributes_shape(const struct bw_attributes *attributes);

/* C_GetAttributeValue: walks the whole template, fills what can be read and marks what cannot.
 * Fails with  BW_ATTRIBUTE_SENSITIVE, BW_ATTRIBUTE_TYPE, BW_BUFFER_SMALL  for at least one attribute, in this order;
 *             BW_BAD_ARGUMENT  no template. */
bw_result bw_attributes_read(const struct bw_attributes *attributes, CK_ATTRIBUTE *template, CK_ULONG count);

/* Whether the object has every attribute of the template with that very value. Hidden values never match. */
bool bw_attributes_match(const struct bw_attributes *attributes, const CK_ATTRIBUTE *template, CK_ULONG count);

/* Whether a template can be walked at all. BW_BAD_ARGUMENT: it cannot. */
bw_result bw_template_check(const CK_ATTRIBUTE *template, CK_ULONG count);

/* The template's value of that attribute, if it has one. The template was checked. */
bool bw_template_find(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bw_bytes *ret_value);

/* The type of the template's attribute at that index. */
CK_ATTRIBUTE_TYPE bw_template_type(const CK_ATTRIBUTE *template, CK_ULONG index);

/* Takes a template into attributes, which may hold some already: those may be repeated, not contradicted (CHANGE and COPY replace).
 * The caller sets CKA_CLASS and CKA_KEY_TYPE where the function implies them.
 * Fails with  BW_ATTRIBUTE_TYPE       no object, or none of that shape, has it
 *             BW_ATTRIBUTE_VALUE      the value is not of the attribute's kind
 *             BW_ATTRIBUTE_READ_ONLY  it cannot be given on this occasion
 *             BW_TEMPLATE_INVALID     it contradicts what is there already
 *             BW_TEMPLATE_INCOMPLETE  no class, or a key without its type
 * and leaves attributes half filled then. */
bw_result bw_attributes_take(struct bw_attributes *attributes, enum bw_occasion occasion, const CK_ATTRIBUTE *template,
                             CK_ULONG count);

#endif
