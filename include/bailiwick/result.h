/* What every function of ours that can fail returns. */
#ifndef BAILIWICK_RESULT_H
#define BAILIWICK_RESULT_H

#include <stdbool.h>

enum bw_code {
#define BW_CODE(number, code, ckr, grpc, told) BW_##code = (number),
#include "bailiwick/results.def"
#undef BW_CODE
};

#if defined(__clang__)
#define BW_MUST_CHECK __attribute__((warn_unused_result))
#else
#define BW_MUST_CHECK [[nodiscard]]
#endif

/* By value: nothing to allocate, nothing to free. Every pointer is to a string literal, so no secret and nothing
 * that a caller sent can ride in an error. */
typedef struct BW_MUST_CHECK bw_result {
    enum bw_code code;   /* a row of results.def */
    const char  *what;   /* what was refused or broke; never NULL when code != BW_OK */
    const char  *field;  /* the request's field at fault ("mechanism.iv"), or NULL */
    const char  *where;  /* "authorise.c:88": for our log, never for the caller */
} bw_result;

static inline bw_result bw_success(void) { return (bw_result){ .code = BW_OK }; }
static inline bool      bw_ok(bw_result r) { return r.code == BW_OK; }

#define BW_STRING_(x) #x
#define BW_STRING(x)  BW_STRING_(x)

/* what and field must be literals: pasting "" keeps variables from compiling */
#define bw_fail(code_, what_)               ((bw_result){ .code = (code_), .what = "" what_, .where = __FILE__ ":" BW_STRING(__LINE__) })
#define bw_fail_at(code_, field_, what_)    ((bw_result){ .code = (code_), .what = "" what_, .field = "" field_, .where = __FILE__ ":" BW_STRING(__LINE__) })

#define BW_TRY(expression)                                  \
    do {                                                    \
        bw_result bw_try_result_ = (expression);            \
        if (!bw_ok(bw_try_result_)) return bw_try_result_;  \
    } while (0)

#define BW_CHECK(condition, code, what)                     \
    do {                                                    \
        if (!(condition)) return bw_fail(code, what);       \
    } while (0)

#define BW_CHECK_AT(condition, code, field, what)           \
    do {                                                    \
        if (!(condition)) return bw_fail_at(code, field, what); \
    } while (0)

/* The row of results.def. Every enum bw_code has one; another number gives the row of BW_INTERNAL. */
struct bw_code_row {
    enum bw_code  code;
    const char   *name;   /* "WRONG_REGION" */
    unsigned long ckr;    /* CK_RV */
    int           grpc;   /* grpc_status_code, 0 to 16 */
    const char   *told;   /* a sentence for the caller */
};
const struct bw_code_row *bw_code_row(enum bw_code code);

/* The code of that name; BW_INTERNAL when no row has it (a newer peer may know more codes than we). */
enum bw_code bw_code_by_name(const char *name);

#endif
