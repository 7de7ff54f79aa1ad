/* The module in this process, over a fake region: C_Initialize with a configuration made for it, one session. */
#ifndef BW_TESTS_FAKE_TOKEN_H
#define BW_TESTS_FAKE_TOKEN_H

#include "bailiwick/bytes.h"
#include "bailiwick/pkcs11.h"
#include "fake_region.h"

extern CK_SESSION_HANDLE fake_session; /* read-write */

int fake_token_open(void **state);
int fake_token_close(void **state);
int fake_token_renew(void **state); /* before each test: a new session, nothing counted */

/* The module's clock goes on by that much. */
void fake_token_later(int64_t ms);

/* The one object of that class and label. */
CK_OBJECT_HANDLE fake_token_find(CK_OBJECT_CLASS class, const char *label);
size_t           fake_token_count(const CK_ATTRIBUTE *template, CK_ULONG count);

#define OK(call)          assert_int_equal(call, CKR_OK)
#define CODE(call, rv)    assert_int_equal(call, rv)
#define ASKED(count)      assert_int_equal(fake_region_asked(), count)

#endif
