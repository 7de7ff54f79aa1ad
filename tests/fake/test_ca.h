/* A certificate authority for tests, and a folder to keep its files in. What fails aborts the test program. */
#ifndef BW_TESTS_TEST_CA_H
#define BW_TESTS_TEST_CA_H

#include <stddef.h>

/* A fresh folder under TMPDIR or /tmp, and gone again with all that is in it. */
char *test_folder_new(void);
void  test_folder_free(char *folder);
/* "<folder>/<name>"; one of the last eight asked for. */
const char *test_path(const char *folder, const char *name);

struct test_ca;
struct test_ca *test_ca_new(const char *common_name); /* a P-256 key and its self-signed certificate */
void            test_ca_free(struct test_ca *ca);
void            test_ca_write(const struct test_ca *ca, const char *certificate_path);
void            test_ca_write_key(const struct test_ca *ca, const char *key_path);

/* Fields left out are left out of the certificate. */
struct test_leaf {
    const char *uri;         /* SPIFFE id */
    const char *second_uri;
    const char *dns;
    const char *ip;
    const char *passphrase;  /* the key file is encrypted with it */
    long        begins_s;    /* from now; 0: an hour ago */
    long        ends_s;      /* from now; 0: in an hour */
};

/* A P-256 key and a certificate for both sides of TLS. The key file's mode is 0600. */
void test_ca_issue(const struct test_ca *ca, const struct test_leaf *leaf, const char *certificate_path, const char *key_path);

#endif
