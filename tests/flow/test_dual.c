/* Two operations over one pass of the data, keys that are hashed, and digests that are saved: each must come to what the same
 * calls one by one come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "fake_token.h"

enum { PLAIN_LEN = 100, ROOM = 200 };

static CK_OBJECT_HANDLE aes, hmac;
static CK_BYTE      iv[16];
static CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof iv }, sha = { CKM_SHA256, NULL, 0 }, mac = { CKM_SHA256_HMAC, NULL, 0 };
static CK_BYTE      plain[PLAIN_LEN];

static int open_token(void **state)
{
    if (fake_token_open(state) != 0)
        return -1;
    fake_region_add_key(BW_SPEC_AES_256, "aes", "\x01");
    fake_region_add_key(BW_SPEC_HMAC_256, "hmac", "\x02");
    aes  = fake_token_find(CKO_SECRET_KEY, "aes");
    hmac = fake_token_find(CKO_SECRET_KEY, "hmac");
    memset(plain, 'p', sizeof plain);
    return 0;
}

struct sum { CK_BYTE bytes[ROOM]; CK_ULONG len; };

static struct sum digest_of(const CK_BYTE *data, CK_ULONG len)
{
    struct sum sum = { .len = ROOM };

    OK(C_DigestInit(fake_session, &sha));
    OK(C_Digest(fake_session, (CK_BYTE *)(uintptr_t)data, len, sum.bytes, &sum.len));
    return sum;
}

static struct sum mac_of(const CK_BYTE *data, CK_ULONG len)
{
    struct sum sum = { .len = ROOM };

    OK(C_SignInit(fake_session, &mac, hmac));
    OK(C_Sign(fake_session, (CK_BYTE *)(uintptr_t)data, len, sum.bytes, &sum.len));
    return sum;
}

static struct sum ciphertext_of(const CK_BYTE *data, CK_ULONG len)
{
    struct sum sum = { .len = ROOM };

    OK(C_EncryptInit(fake_session, &cbc, aes));
    OK(C_Encrypt(fake_session, (CK_BYTE *)(uintptr_t)data, len, sum.bytes, &sum.len));
    return sum;
}

static void is_sum(const struct sum *sum, const CK_BYTE *bytes, CK_ULONG len)
{
    assert_int_equal(len, sum->len);
    assert_memory_equal(bytes, sum->bytes, len);
}

typedef CK_RV (*update_fn)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);

/* In two parts, the ciphertext written over the plaintext. Returns how much came out before the end. */
static CK_ULONG in_place(update_fn update, CK_BYTE *data, CK_ULONG len, CK_ULONG room)
{
    CK_ULONG first = room, second;

    OK(update(fake_session, data, 40, data, &first));
    second = room - first;
    OK(update(fake_session, data + 40, len - 40, data + first, &second));
    return first + second;
}

static void digest_and_encrypt(void **state)
{
    (void)state;
    struct sum digest = digest_of(plain, sizeof plain), ciphertext = ciphertext_of(plain, sizeof plain);
    CK_BYTE data[ROOM], out[ROOM];
    CK_ULONG len, rest, digest_len = sizeof out;

    memcpy(data, plain, sizeof plain);
    OK(C_DigestInit(fake_session, &sha));
    OK(C_EncryptInit(fake_session, &cbc, aes));
    len  = in_place(C_DigestEncryptUpdate, data, sizeof plain, sizeof data);
    rest = sizeof data - len;
    OK(C_EncryptFinal(fake_session, data + len, &rest));
    is_sum(&ciphertext, data, len + rest);
    OK(C_DigestFinal(fake_session, out, &digest_len));
    is_sum(&digest, out, digest_len);
}

static void sign_and_encrypt(void **state)
{
    (void)state;
    struct sum signature = mac_of(plain, sizeof plain);
    CK_BYTE data[ROOM], out[ROOM];
    CK_ULONG out_len = sizeof out;

    memcpy(data, plain, sizeof plain);
    OK(C_SignInit(fake_session, &mac, hmac));
    OK(C_EncryptInit(fake_session, &cbc, aes));
    (void)in_place(C_SignEncryptUpdate, data, sizeof plain, sizeof data);
    OK(C_SignFinal(fake_session, out, &out_len));
    is_sum(&signature, out, out_len);
}

/* The last block comes with the end, and is fed by the caller: PKCS#11 v3.0, 5.17.2. */
static void decrypt_and_digest(void **state)
{
    (void)state;
    struct sum digest = digest_of(plain, sizeof plain), ciphertext = ciphertext_of(plain, sizeof plain);
    CK_BYTE out[ROOM], sum[ROOM];
    CK_ULONG len = sizeof out, rest, sum_len = sizeof sum;

    OK(C_DigestInit(fake_session, &sha));
    OK(C_DecryptInit(fake_session, &cbc, aes));
    OK(C_DecryptDigestUpdate(fake_session, ciphertext.bytes, ciphertext.len, out, &len));
    rest = sizeof out - len;
    OK(C_DecryptFinal(fake_session, out + len, &rest));
    OK(C_DigestUpdate(fake_session, out + len, rest));
    assert_int_equal(len + rest, sizeof plain);
    assert_memory_equal(out, plain, sizeof plain);
    OK(C_DigestFinal(fake_session, sum, &sum_len));
    is_sum(&digest, sum, sum_len);
}

static void decrypt_and_verify(void **state)
{
    (void)state;
    struct sum signature = mac_of(plain, sizeof plain), ciphertext = ciphertext_of(plain, sizeof plain);
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof out, rest;

    OK(C_VerifyInit(fake_session, &mac, hmac));
    OK(C_DecryptInit(fake_session, &cbc, aes));
    OK(C_DecryptVerifyUpdate(fake_session, ciphertext.bytes, ciphertext.len, out, &len));
    rest = sizeof out - len;
    OK(C_DecryptFinal(fake_session, out + len, &rest));
    OK(C_VerifyUpdate(fake_session, out + len, rest));
    OK(C_VerifyFinal(fake_session, signature.bytes, signature.len));
}

static void both_operations_must_be_active(void **state)
{
    (void)state;
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof out;

    CODE(C_DigestEncryptUpdate(fake_session, plain, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_EncryptInit(fake_session, &cbc, aes));
    CODE(C_DigestEncryptUpdate(fake_session, plain, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    CODE(C_SignEncryptUpdate(fake_session, plain, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(fake_session, &sha));
    CODE(C_DecryptDigestUpdate(fake_session, plain, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestEncryptUpdate(fake_session, plain, 16, out, &len));
}

static void asking_and_too_little_room_feed_neither(void **state)
{
    (void)state;
    struct sum digest = digest_of(plain, 32);
    CK_BYTE out[ROOM];
    CK_ULONG len = 0, digest_len = sizeof out;

    OK(C_DigestInit(fake_session, &sha));
    OK(C_EncryptInit(fake_session, &cbc, aes));
    OK(C_DigestEncryptUpdate(fake_session, plain, 32, NULL, &len));
    assert_int_equal(len, 32);
    len = 31;
    CODE(C_DigestEncryptUpdate(fake_session, plain, 32, out, &len), CKR_BUFFER_TOO_SMALL);
    len = 32;
    OK(C_DigestEncryptUpdate(fake_session, plain, 32, out, &len));
    OK(C_DigestFinal(fake_session, out, &digest_len));
    is_sum(&digest, out, digest_len);
}

static void a_key_is_hashed_where_its_value_can_be_read(void **state)
{
    (void)state;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type }, { CKA_VALUE, plain, sizeof plain },
        { CKA_SENSITIVE, &no, 1 }, { CKA_EXTRACTABLE, &yes, 1 },
    };
    struct sum digest = digest_of(plain, sizeof plain);
    CK_OBJECT_HANDLE open, shut;
    CK_BYTE out[ROOM];
    CK_ULONG len = sizeof out;

    OK(C_CreateObject(fake_session, template, 5, &open));
    OK(C_CreateObject(fake_session, template, 3, &shut));
    CODE(C_DigestKey(fake_session, open), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(fake_session, &sha));
    CODE(C_DigestKey(fake_session, shut), CKR_KEY_INDIGESTIBLE);
    CODE(C_DigestKey(fake_session, aes), CKR_KEY_INDIGESTIBLE);
    CODE(C_DigestKey(fake_session, 4711), CKR_KEY_HANDLE_INVALID);
    OK(C_DigestKey(fake_session, open));
    OK(C_DigestFinal(fake_session, out, &len));
    is_sum(&digest, out, len);
}

static void a_digest_is_saved_and_taken_up_in_another_session(void **state)
{
    (void)state;
    struct sum digest = digest_of(plain, sizeof plain);
    CK_SESSION_INFO info;
    CK_SESSION_HANDLE other;
    CK_BYTE saved[512], out[ROOM];
    CK_ULONG len = 1, out_len = sizeof out;

    OK(C_GetSessionInfo(fake_session, &info));
    OK(C_OpenSession(info.slotID, CKF_SERIAL_SESSION, NULL, NULL, &other));
    CODE(C_GetOperationState(fake_session, saved, &len), CKR_OPERATION_NOT_INITIALIZED);
    OK(C_DigestInit(fake_session, &sha));
    OK(C_DigestUpdate(fake_session, plain, 70));
    CODE(C_GetOperationState(fake_session, saved, &len), CKR_BUFFER_TOO_SMALL);
    OK(C_GetOperationState(fake_session, NULL, &len));
    OK(C_GetOperationState(fake_session, saved, &len));
    CODE(C_SetOperationState(other, saved, len - 1, 0, 0), CKR_SAVED_STATE_INVALID);
    CODE(C_SetOperationState(other, saved, len, aes, 0), CKR_KEY_NOT_NEEDED);
    OK(C_SetOperationState(other, saved, len, 0, 0));
    OK(C_DigestUpdate(other, plain + 70, sizeof plain - 70));
    OK(C_DigestFinal(other, out, &out_len));
    is_sum(&digest, out, out_len);
    OK(C_CloseSession(other));
    OK(C_SignInit(fake_session, &mac, hmac));
    CODE(C_GetOperationState(fake_session, saved, &len), CKR_STATE_UNSAVEABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(digest_and_encrypt, fake_token_renew),
        cmocka_unit_test_setup(sign_and_encrypt, fake_token_renew),
        cmocka_unit_test_setup(decrypt_and_digest, fake_token_renew),
        cmocka_unit_test_setup(decrypt_and_verify, fake_token_renew),
        cmocka_unit_test_setup(both_operations_must_be_active, fake_token_renew),
        cmocka_unit_test_setup(asking_and_too_little_room_feed_neither, fake_token_renew),
        cmocka_unit_test_setup(a_key_is_hashed_where_its_value_can_be_read, fake_token_renew),
        cmocka_unit_test_setup(a_digest_is_saved_and_taken_up_in_another_session, fake_token_renew),
    };
    return cmocka_run_group_tests(tests, open_token, fake_token_close);
}
