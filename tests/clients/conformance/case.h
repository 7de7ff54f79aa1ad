/* What the cases of the conformance program have in common. Each case is a line: chapter, name, and what the module answered. */
#ifndef BW_TESTS_CONFORMANCE_CASE_H
#define BW_TESTS_CONFORMANCE_CASE_H

#include <stdbool.h>

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"

/* The module's functions; those of 3.0 are there when has_3_0 is set. Both lists begin alike (PKCS#11 v3.0, 3.6). */
extern const CK_FUNCTION_LIST_3_0 *p11;
extern bool              has_3_0;
extern CK_SLOT_ID        slot;
extern CK_SESSION_HANDLE session;  /* read-write, logged in, once sessions() has run */
extern const char       *pin;      /* NULL: none */
extern CK_BBOOL          yes, no;

/* Chapters whose lines are compared with the reference's, and chapters of what the reference has not: there each line has what it must
 * be. False: this is the reference, so leave them out. */
void begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool begin_ours(const char *format, ...) __attribute__((format(printf, 1, 2)));

void say(const char *name, CK_ULONG value);
void expect(const char *name, CK_ULONG value, CK_ULONG expected); /* beside being compared */
#define OK(name, call) expect(name, call, CKR_OK)
#define SAY(function, arguments) say(#function, p11->function arguments)

struct bytes { CK_BYTE data[700]; CK_ULONG len; };
bool same(const struct bytes *a, const struct bytes *b);
struct bytes filled(CK_ULONG len);

CK_OBJECT_HANDLE find_key(CK_OBJECT_CLASS class, const char *label); /* ends the program when it is not there */
CK_OBJECT_HANDLE secret_key(CK_KEY_TYPE type, const CK_BYTE *value, CK_ULONG len); /* for all uses, a session's, extractable */

/* ---- the chapters ---- */

void every_function(const char *when, CK_SESSION_HANDLE s, CK_SLOT_ID at, CK_RV refused); /* refused: what 3.0 must answer */
void general(void);
void interfaces(void *module); /* as dlopen gave it */
void mechanism_list(void);
void sessions(void);
void objects(void);
void every_attribute(void);
void finding(void);
void moves(void);
void wrong_inits(void);
void messages(void);
void dual_functions(void);
void every_mechanism(void);
void key_pairs(void);
void randomness(void);

#endif
