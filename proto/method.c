#include "method.h"

#include <string.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "bailiwick/v1/crypto.pb-c.h"
#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "bailiwick/v1/proposals.pb-c.h"
#include "bailiwick/v1/region.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"

/* the words of the table's columns */
#define APP       BW_WHO_APP
#define APP_OWN   BW_WHO_APP_OWN
#define CUSTODIAN BW_WHO_CUSTODIAN
#define AUDITOR   BW_WHO_AUDITOR
#define OPERATOR  BW_WHO_OPERATOR

static const struct bw_method rows[] = {
#define BW_METHOD(number, service, method, snake, who, use, about, effect, cost)                               \
    { number, "/bailiwick.v1." #service "/" #method, "bailiwick.v1." #service, #method, who, use,              \
      BW_ABOUT_##about, BW_EFFECT_##effect, BW_METHOD_##cost,                                                   \
      &bailiwick__v1__##snake##_request__descriptor, &bailiwick__v1__##snake##_reply__descriptor },
#include "methods.def"
#undef BW_METHOD
};

const struct bw_method *bw_method_at(size_t index)
{
    return index < ARRAY_LEN(rows) ? &rows[index] : NULL;
}

const struct bw_method *bw_method_by_number(unsigned number)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if ((unsigned)rows[i].number == number)
            return &rows[i];
    return NULL;
}

const struct bw_method *bw_method_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static const struct { unsigned number; const char *name; } deeds[] = {
#define BW_DEED(number, deed) { number, #deed },
#include "deeds.def"
#undef BW_DEED
};

const char *bw_operation_name(unsigned number)
{
    const struct bw_method *method = bw_method_by_number(number);

    for (size_t i = 0; i < ARRAY_LEN(deeds); i++)
        if (deeds[i].number == number)
            return deeds[i].name;
    return method ? method->name : NULL;
}

unsigned bw_operation_number(const char *name)
{
    const struct bw_method *method = bw_method_by_name(name);

    for (size_t i = 0; i < ARRAY_LEN(deeds); i++)
        if (strcmp(deeds[i].name, name) == 0)
            return deeds[i].number;
    return method ? (unsigned)method->number : 0;
}
