#include "bailiwick/result.h"

#include <string.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

/* grpc_status_code, from the gRPC specification (doc/statuscodes.md) */
enum {
    GRPC_OK = 0, GRPC_CANCELLED = 1, GRPC_INVALID_ARGUMENT = 3, GRPC_DEADLINE_EXCEEDED = 4, GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6, GRPC_PERMISSION_DENIED = 7, GRPC_RESOURCE_EXHAUSTED = 8, GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14, GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16
};

static const struct bw_code_row rows[] = {
#define BW_CODE(number, code, ckr, grpc, told) { BW_##code, #code, ckr, GRPC_##grpc, told },
#include "bailiwick/results.def"
#undef BW_CODE
};

const struct bw_code_row *bw_code_row(enum bw_code code)
{
    const struct bw_code_row *internal = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].code == code)
            return &rows[i];
        if (rows[i].code == BW_INTERNAL)
            internal = &rows[i];
    }
    return internal;
}

enum bw_code bw_code_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].code;
    return BW_INTERNAL;
}
