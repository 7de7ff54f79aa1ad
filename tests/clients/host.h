/* What the applications of this folder that try the module as hosts have in common. The first failure ends them, with status 1. */
#ifndef BW_TESTS_HOST_H
#define BW_TESTS_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "bailiwick/pkcs11.h"

extern CK_FUNCTION_LIST     *p11;
extern CK_FUNCTION_LIST_3_0 *p11_3;

/* rv  shown with what went wrong */
void host_must(bool right, const char *what, CK_RV rv);
#define MUST(call)       do { CK_RV rv_ = (call); host_must(rv_ == CKR_OK, #call, rv_); } while (0)
#define MUST_BE(rv, call) do { CK_RV rv_ = (call); host_must(rv_ == (rv), #call, rv_); } while (0)
#define CHECK(right)     host_must((right), #right, 0)

void *host_load(const char *module); /* what dlopen gives; does not initialise */
CK_SLOT_ID        host_slot(void);   /* the first */
CK_SESSION_HANDLE host_open(CK_SLOT_ID slot);
CK_OBJECT_HANDLE  host_find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label);

/* The same text by AES-CBC-PAD with an IV of zeros, so that the ciphertext is always the same. */
enum { HOST_CIPHER = 1008 };
CK_RV host_encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE cipher[static HOST_CIPHER]);

/* Both as most cases begin: initialised, with a session and the key "aes" in it, which has encrypted once. */
struct host { CK_SLOT_ID slot; CK_SESSION_HANDLE session; CK_OBJECT_HANDLE aes; CK_BYTE cipher[HOST_CIPHER]; };
void host_start(struct host *ret_host);
void host_works(const struct host *host); /* encrypts, and the ciphertext is the same */

/* Cases, each in a process of its own: program <module> <case>. Without a case: their names, one a line. */
struct host_case { const char *name; void (*run)(void); };
int host_main(int argc, char **argv, const struct host_case *cases, size_t count);
extern const char *host_module; /* as it was named */
extern void       *host_handle; /* as it was loaded */

long host_now_ms(void);

/* The mode file of a proxy (tests/lib/fault_proxy.py), and whether what it orders to cut is still to be cut. */
void host_set_mode(const char *file, const char *text);
bool host_is_to_cut(const char *file);

/* How much later than its deadline a call may be over: 2 ms were measured on a quiet machine, 36 with two busy loops for each of its
 * cores. */
enum { HOST_LATE_MS = 100 };
int  host_entries(const char *path); /* of a folder, such as /proc/self/fd */

#endif
