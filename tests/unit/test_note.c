/* Signed notes and checkpoints: the published examples, and every way to mangle them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "note.h"

/* golang.org/x/mod v0.7.0, sumdb/note/note_test.go (BSD-3-Clause) */
#define TEXT  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
#define PETER "\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define ENOCH "\xe2\x80\x94 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
static const char peter_key[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char enoch_key[] = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
static const char peter_seed_base64[] = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"; /* type, then the private key */

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

static struct bw_note_key key_of(const char *text)
{
    struct bw_note_key key;

    check_ok(bw_note_key_parse(bw_bytes_text(text), &key));
    return key;
}

/* ---- keys ---- */

static void keys_read_and_print_the_same(void **state)
{
    (void)state;
    struct bw_note_key key  = key_of(peter_key);
    struct bw_buf      text = { 0 };

    assert_string_equal(key.name, "PeterNeumann");
    assert_int_equal(key.id, 0xc74f20a3);
    check_ok(bw_note_key_print(&key, &text));
    assert_int_equal(text.len, strlen(peter_key));
    assert_memory_equal(text.data, peter_key, text.len);
    bw_buf_clear(&text);
}

static void no_mangled_key_is_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", /* key too long, id adjusted */
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",         /* unknown type, id adjusted */
    };
    struct bw_note_key key;
    char               text[sizeof peter_key];
    size_t             len = strlen(peter_key);

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(bw_note_key_parse(bw_bytes_text(bad[i]), &key).code, BW_DATA_INVALID);
    for (size_t from = 0; from <= len; from++)
        for (size_t to = from; to <= len; to++)
            if (from != 0 || to != len)
                assert_int_equal(bw_note_key_parse(bw_bytes_of(peter_key + from, to - from), &key).code, BW_DATA_INVALID);
    memcpy(text, peter_key, sizeof text);
    for (size_t i = 0; i < len; i++) {
        text[i]++;
        assert_int_equal(bw_note_key_parse(bw_bytes_of(text, len), &key).code, BW_DATA_INVALID);
        text[i]--;
    }
}

/* ---- signing ---- */

static bw_result sign_with(EVP_PKEY *key, bw_bytes text, uint8_t *signature, size_t *len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const EVP_MD *digest = EVP_PKEY_is_a(key, "EC") ? EVP_sha256() : NULL;

    assert_int_equal(EVP_DigestSignInit(context, NULL, digest, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, len, text.data, text.len), 1);
    EVP_MD_CTX_free(context);
    return bw_success();
}

static bw_result sign_ed25519(void *self, bw_bytes text, struct bw_buf *ret_signature)
{
    uint8_t signature[64];
    size_t  len = sizeof signature;

    check_ok(sign_with(self, text, signature, &len));
    return bw_buf_add(ret_signature, bw_bytes_of(signature, len));
}

/* As an HSM does: r || s. */
static bw_result sign_ecdsa(void *self, bw_bytes text, struct bw_buf *ret_signature)
{
    uint8_t        der[128], halves[64];
    const uint8_t *at  = der;
    size_t         len = sizeof der;

    check_ok(sign_with(self, text, der, &len));
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);
    assert_non_null(pair);
    (void)BN_bn2binpad(ECDSA_SIG_get0_r(pair), halves, 32);
    (void)BN_bn2binpad(ECDSA_SIG_get0_s(pair), halves + 32, 32);
    ECDSA_SIG_free(pair);
    return bw_buf_add(ret_signature, bw_bytes_of(halves, sizeof halves));
}

static bw_result sign_badly(void *self, bw_bytes text, struct bw_buf *ret_signature)
{
    bw_result r = sign_ed25519(self, text, ret_signature);

    ret_signature->data[3] ^= 1;
    return r;
}

static bw_result sign_not(void *self, bw_bytes text, struct bw_buf *ret_signature)
{
    (void)self;
    (void)text;
    (void)ret_signature;
    return bw_fail(BW_HSM_UNAVAILABLE, "no HSM");
}

static EVP_PKEY *peter_private(void)
{
    uint8_t typed[36];

    assert_int_equal(EVP_DecodeBlock(typed, (const unsigned char *)peter_seed_base64, (int)strlen(peter_seed_base64)), 33);
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, typed + 1, 32);
}

static void the_published_note_is_signed_the_same(void **state)
{
    (void)state;
    EVP_PKEY             *private_key = peter_private();
    struct bw_note_signer signer      = { .key = key_of(peter_key), .sign = sign_ed25519, .self = private_key };
    struct bw_buf         note        = { 0 };

    check_ok(bw_note_sign(bw_bytes_text(TEXT), &signer, &note));
    assert_int_equal(note.len, strlen(TEXT "\n" PETER));
    assert_memory_equal(note.data, TEXT "\n" PETER, note.len);
    bw_buf_clear(&note);
    EVP_PKEY_free(private_key);
}

static void a_signer_that_errs_signs_nothing(void **state)
{
    (void)state;
    EVP_PKEY             *private_key = peter_private();
    struct bw_note_signer signer      = { .key = key_of(peter_key), .sign = sign_badly, .self = private_key };
    struct bw_buf         note        = { 0 };

    assert_int_equal(bw_note_sign(bw_bytes_text(TEXT), &signer, &note).code, BW_HSM_FAILED);
    signer.sign = sign_not;
    assert_int_equal(bw_note_sign(bw_bytes_text(TEXT), &signer, &note).code, BW_HSM_UNAVAILABLE);
    assert_int_equal(bw_note_sign(bw_bytes_text("no newline"), &signer, &note).code, BW_BAD_ARGUMENT);
    assert_int_equal(note.len, 0);
    EVP_PKEY_free(private_key);
}

static void ecdsa_notes_verify_too(void **state)
{
    (void)state;
    EVP_PKEY             *private_key = EVP_EC_gen("P-256");
    uint8_t              *spki        = NULL;
    int                   spki_len    = i2d_PUBKEY(private_key, &spki);
    struct bw_note_signer signer      = { .sign = sign_ecdsa, .self = private_key };
    struct bw_note_key    key;
    struct bw_buf         note = { 0 }, vkey = { 0 };
    bw_bytes              text;

    assert_true(spki_len > 0);
    check_ok(bw_note_key_make("eu.example/audit", BW_NOTE_ECDSA_P256, bw_bytes_of(spki, (size_t)spki_len), &signer.key));
    check_ok(bw_note_key_print(&signer.key, &vkey));
    check_ok(bw_note_key_parse(bw_buf_bytes(&vkey), &key));
    for (int i = 0; i < 50; i++) { /* r and s are short now and then */
        note.len = 0;
        check_ok(bw_note_sign(bw_bytes_text(TEXT), &signer, &note));
        check_ok(bw_note_verify(bw_buf_bytes(&note), &key, 1, &text));
    }
    note.data[3] ^= 1;
    assert_int_equal(bw_note_verify(bw_buf_bytes(&note), &key, 1, &text).code, BW_SIGNATURE_INVALID);
    bw_buf_clear(&note);
    bw_buf_clear(&vkey);
    OPENSSL_free(spki);
    EVP_PKEY_free(private_key);
}

/* ---- verifying ---- */

#define PETER_LONG "\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcABCDElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define MISNAMED   "\xe2\x80\x94 CarmenSandiego x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define OTHER_ID   "\xe2\x80\x94 PeterNeumann xxxxo/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define STRAY_BITS "\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAN=\n"

static const struct { const char *why, *note; enum bw_code code; } notes[] = {
    { "signed by the key",                         TEXT "\n" PETER,                      BW_OK                },
    { "signed by an unknown key too",              TEXT "\n" PETER ENOCH,                BW_OK                },
    { "signed twice",                              TEXT "\n" PETER PETER,                BW_OK                },
    { "an empty line in the text",                 "a\n\nb\n\n" PETER,                   BW_SIGNATURE_INVALID },
    { "signed by an unknown key only",             TEXT "\n" ENOCH,                      BW_SIGNATURE_INVALID },
    { "another text",                              "Another.\n\n" PETER,                 BW_SIGNATURE_INVALID },
    { "a signature with bytes put in",             TEXT "\n" PETER_LONG,                 BW_SIGNATURE_INVALID },
    { "a good one and a bad one of the same key",  TEXT "\n" PETER PETER_LONG,           BW_SIGNATURE_INVALID },
    { "signed under another name",                 TEXT "\n" MISNAMED,                   BW_SIGNATURE_INVALID },
    { "signed under another id",                   TEXT "\n" OTHER_ID,                   BW_SIGNATURE_INVALID },
    { "stray bits at the end of the base64",       TEXT "\n" STRAY_BITS,                 BW_SIGNATURE_INVALID },
    { "text alone",                                TEXT,                                 BW_DATA_INVALID      },
    { "no signatures",                             TEXT "\n",                            BW_DATA_INVALID      },
    { "nothing",                                   "",                                   BW_DATA_INVALID      },
    { "newlines",                                  "\n\n\n",                             BW_DATA_INVALID      },
    { "a control character",                       "\x01" TEXT "\n" PETER,               BW_DATA_INVALID      },
    { "text that is not UTF-8",                    "\xff" TEXT "\n" PETER,               BW_DATA_INVALID      },
    { "a name with a blank",                       TEXT "\n\xe2\x80\x94 Bad Name x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n", BW_DATA_INVALID },
    { "a line that is no signature",               TEXT "\n" PETER "Unexpected line.\n", BW_DATA_INVALID      },
};

static void notes_verify_or_say_why(void **state)
{
    (void)state;
    struct bw_note_key key = key_of(peter_key);

    for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
        bw_bytes  text;
        bw_result r = bw_note_verify(bw_bytes_text(notes[i].note), &key, 1, &text);
        if (r.code != notes[i].code)
            fail_msg("%s: %s", notes[i].why, bw_code_row(r.code)->name);
        if (bw_ok(r))
            assert_true(bw_bytes_equal(text, bw_bytes_text(TEXT)));
    }
}

static void either_key_will_do_and_no_more_than_a_hundred_signatures(void **state)
{
    (void)state;
    struct bw_note_key keys[2] = { key_of(enoch_key), key_of(peter_key) };
    struct bw_buf      many    = { 0 };
    bw_bytes           text;

    check_ok(bw_note_verify(bw_bytes_text(TEXT "\n" PETER ENOCH), keys, 2, &text));
    check_ok(bw_note_verify(bw_bytes_text(TEXT "\n" ENOCH), keys, 2, &text));
    check_ok(bw_buf_add(&many, bw_bytes_text(TEXT "\n")));
    for (int i = 0; i < BW_NOTE_SIGNATURES_MAX; i++)
        check_ok(bw_buf_add(&many, bw_bytes_text(PETER)));
    check_ok(bw_note_verify(bw_buf_bytes(&many), keys, 2, &text));
    check_ok(bw_buf_add(&many, bw_bytes_text(PETER)));
    assert_int_equal(bw_note_verify(bw_buf_bytes(&many), keys, 2, &text).code, BW_DATA_INVALID);
    bw_buf_clear(&many);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct bw_note_key key = key_of(peter_key);
    char               note[] = TEXT "\n" PETER;
    bw_bytes           text;

    for (size_t bit = 0; bit < 8 * strlen(TEXT "\n" PETER); bit++) {
        note[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(bw_ok(bw_note_verify(bw_bytes_of(note, sizeof note - 1), &key, 1, &text)));
        note[bit / 8] ^= (char)(1 << bit % 8);
    }
}

/* ---- checkpoints ---- */

#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="

static const struct { const char *why, *text; bool read; uint64_t size; } checkpoints[] = {
    { "the specification's",           "example.com/behind-the-sofa\n20852163\n" ROOT "\n",         true,  20852163   },
    { "an empty tree",                 "example.com/log\n0\n" ROOT "\n",                           true,  0          },
    { "the largest tree",              "example.com/log\n18446744073709551615\n" ROOT "\n",        true,  UINT64_MAX },
    { "an extension line",             "example.com/log\n1\n" ROOT "\nmore\n",                     true,  1          },
    { "a tree too large",              "example.com/log\n18446744073709551616\n" ROOT "\n",        false, 0          },
    { "a leading zero",                "example.com/log\n01\n" ROOT "\n",                          false, 0          },
    { "a sign",                        "example.com/log\n+1\n" ROOT "\n",                          false, 0          },
    { "no size",                       "example.com/log\n\n" ROOT "\n",                            false, 0          },
    { "no origin",                     "\n1\n" ROOT "\n",                                          false, 0          },
    { "an origin with a blank",        "example.com log\n1\n" ROOT "\n",                           false, 0          },
    { "a root cut short",              "example.com/log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jx\n", false, 0     },
    { "an unfinished last line",       "example.com/log\n1\n" ROOT,                                false, 0          },
    { "an empty extension line",       "example.com/log\n1\n" ROOT "\n\n",                         false, 0          },
    { "two lines",                     "example.com/log\n1\n",                                     false, 0          },
};

static void checkpoints_read_or_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(checkpoints); i++) {
        struct bw_checkpoint checkpoint;
        bw_result r = bw_checkpoint_parse(bw_bytes_text(checkpoints[i].text), &checkpoint);
        if (bw_ok(r) != checkpoints[i].read)
            fail_msg("%s", checkpoints[i].why);
        if (bw_ok(r))
            assert_true(checkpoint.size == checkpoints[i].size);
    }
}

static void a_checkpoint_prints_as_it_reads(void **state)
{
    (void)state;
    struct bw_checkpoint checkpoint;
    struct bw_buf        text = { 0 };

    check_ok(bw_checkpoint_parse(bw_bytes_text(checkpoints[0].text), &checkpoint));
    assert_string_equal(checkpoint.origin, "example.com/behind-the-sofa");
    check_ok(bw_checkpoint_print(&checkpoint, &text));
    assert_int_equal(text.len, strlen(checkpoints[0].text));
    assert_memory_equal(text.data, checkpoints[0].text, text.len);
    bw_buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_read_and_print_the_same),
        cmocka_unit_test(no_mangled_key_is_read),
        cmocka_unit_test(the_published_note_is_signed_the_same),
        cmocka_unit_test(a_signer_that_errs_signs_nothing),
        cmocka_unit_test(ecdsa_notes_verify_too),
        cmocka_unit_test(notes_verify_or_say_why),
        cmocka_unit_test(either_key_will_do_and_no_more_than_a_hundred_signatures),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(checkpoints_read_or_are_refused),
        cmocka_unit_test(a_checkpoint_prints_as_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
