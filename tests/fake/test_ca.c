#include "test_ca.h"

#include <fcntl.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_ca {
    EVP_PKEY *key;
    X509     *certificate;
};

static void must(int done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "test_ca: %s failed\n", what);
    abort();
}

/* ---- folders ---- */

char *test_folder_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder;

    must(asprintf(&folder, "%s/bailiwick-test-XXXXXX", parent ? parent : "/tmp") > 0 && mkdtemp(folder) != NULL, "mkdtemp");
    return folder;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void test_folder_free(char *folder)
{
    if (folder != NULL)
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

const char *test_path(const char *folder, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* ---- certificates ---- */

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static X509 *new_certificate(EVP_PKEY *key, const char *common_name, long begins_s, long ends_s)
{
    X509 *certificate = X509_new();
    uint64_t serial;

    must(certificate != NULL && RAND_bytes((unsigned char *)&serial, sizeof serial) == 1, "X509_new");
    must(X509_set_version(certificate, 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), begins_s) != NULL && X509_gmtime_adj(X509_getm_notAfter(certificate), ends_s) != NULL &&
         X509_set_pubkey(certificate, key) == 1 &&
         X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1, "certificate");
    return certificate;
}

struct test_ca *test_ca_new(const char *common_name)
{
    struct test_ca *ca = calloc(1, sizeof *ca);

    must(ca != NULL && (ca->key = EVP_EC_gen("P-256")) != NULL, "EVP_EC_gen");
    ca->certificate = new_certificate(ca->key, common_name, -24 * 3600, 24 * 3600);
    must(X509_set_issuer_name(ca->certificate, X509_get_subject_name(ca->certificate)) == 1, "issuer");
    add_extension(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash");
    must(X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0, "X509_sign");
    return ca;
}

void test_ca_free(struct test_ca *ca)
{
    if (ca == NULL)
        return;
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
    free(ca);
}

static FILE *create(const char *path, mode_t mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

    must(file != NULL, path);
    return file;
}

static void write_certificate(X509 *certificate, const char *path)
{
    FILE *file = create(path, 0644);

    must(PEM_write_X509(file, certificate) == 1 && fclose(file) == 0, path);
}

static void write_key(EVP_PKEY *key, const char *passphrase, const char *path)
{
    FILE *file = create(path, 0600);
    int len = passphrase ? (int)strlen(passphrase) : 0;

    must(PEM_write_PKCS8PrivateKey(file, key, passphrase ? EVP_aes_256_cbc() : NULL, passphrase, len, NULL, NULL) == 1 && fclose(file) == 0, path);
}

void test_ca_write(const struct test_ca *ca, const char *certificate_path)
{
    write_certificate(ca->certificate, certificate_path);
}

void test_ca_write_key(const struct test_ca *ca, const char *key_path)
{
    write_key(ca->key, NULL, key_path);
}

/* "URI:a,URI:b,DNS:c,IP:d" of what the leaf names */
static void name_leaf(X509 *certificate, X509 *issuer, const struct test_leaf *leaf)
{
    const struct { const char *kind, *value; } names[] = { { "URI", leaf->uri }, { "URI", leaf->second_uri }, { "DNS", leaf->dns }, { "IP", leaf->ip } };
    char text[4096] = "";
    size_t len = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].value != NULL)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s:%s", len > 0 ? "," : "", names[i].kind, names[i].value);
    if (len > 0)
        add_extension(certificate, issuer, NID_subject_alt_name, text);
}

void test_ca_issue(const struct test_ca *ca, const struct test_leaf *leaf, const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    must(key != NULL, "EVP_EC_gen");
    X509 *certificate = new_certificate(key, "leaf", leaf->begins_s ? leaf->begins_s : -3600, leaf->ends_s ? leaf->ends_s : 3600);
    must(X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate)) == 1, "issuer");
    add_extension(certificate, ca->certificate, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(certificate, ca->certificate, NID_key_usage, "critical,digitalSignature");
    add_extension(certificate, ca->certificate, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(certificate, ca->certificate, NID_authority_key_identifier, "keyid");
    name_leaf(certificate, ca->certificate, leaf);
    must(X509_sign(certificate, ca->key, EVP_sha256()) > 0, "X509_sign");
    write_certificate(certificate, certificate_path);
    write_key(key, leaf->passphrase, key_path);
    X509_free(certificate);
    EVP_PKEY_free(key);
}
