/* The RPCs: the rows of methods.def, for both ends of the wire. */
#ifndef BW_PROTO_METHOD_H
#define BW_PROTO_METHOD_H

#include <protobuf-c/protobuf-c.h>

#include "bailiwick/mechanism.h"

/* Roles that may call a method, as a set. */
enum bw_who {
    BW_WHO_APP       = 1u << 0,
    BW_WHO_APP_OWN   = 1u << 1,
    BW_WHO_CUSTODIAN = 1u << 2,
    BW_WHO_AUDITOR   = 1u << 3,
    BW_WHO_OPERATOR  = 1u << 4
};

enum bw_about       { BW_ABOUT_KEY, BW_ABOUT_ENVELOPE, BW_ABOUT_TENANT, BW_ABOUT_REGION };
enum bw_effect      { BW_EFFECT_READS, BW_EFFECT_USES, BW_EFFECT_CHANGES };
enum bw_method_cost { BW_METHOD_FAST, BW_METHOD_SLOW, BW_METHOD_BY_MECHANISM };

/* Number of each method: BW_METHOD_NR(Decrypt) */
#define BW_METHOD_NR(method) BW_METHOD_NR_##method
enum bw_method_nr {
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost) BW_METHOD_NR_##method = (number),
#include "methods.def"
#undef BW_METHOD
};

/* Number of what is on record and no method: BW_DEED_NR(DestroyKey) */
#define BW_DEED_NR(deed) BW_DEED_NR_##deed
enum bw_deed_nr {
#define BW_DEED(number, deed) BW_DEED_NR_##deed = (number),
#include "deeds.def"
#undef BW_DEED
};

struct bw_method {
    enum bw_method_nr   number;
    const char         *path;    /* "/bailiwick.v1.Crypto/Decrypt" */
    const char         *service; /* "bailiwick.v1.Crypto" */
    const char         *name;    /* "Decrypt" */
    unsigned            who;     /* enum bw_who */
    unsigned            use;     /* enum bw_use */
    enum bw_about       about;
    enum bw_effect      effect;
    enum bw_method_cost cost;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *reply;
};

const struct bw_method *bw_method_at(size_t index);              /* in the table's order; NULL past its end */
const struct bw_method *bw_method_by_number(unsigned number);    /* NULL: none */
const struct bw_method *bw_method_by_name(const char *name);     /* "Decrypt"; NULL: none */

/* What records call an operation: a method's name or a deed's. */
const char *bw_operation_name(unsigned number);      /* NULL: none */
unsigned    bw_operation_number(const char *name);   /* 0: none */

#endif
