#include "credential.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_ROOM = 1024 * 1024 }; /* bytes; the largest CA bundles take a quarter of it */

/* ---- files ---- */

static bw_result read_open_file(int fd, struct bw_buf *buf)
{
    struct stat status;
    uint8_t *tail;

    BW_CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode), BW_CREDENTIAL_INVALID, "a certificate or key file is not a regular file");
    BW_CHECK(status.st_size <= FILE_ROOM, BW_CREDENTIAL_INVALID, "a certificate or key file is larger than 1 MiB");
    BW_TRY(bw_buf_grow(buf, (size_t)status.st_size, &tail));
    for (size_t got = 0; got < (size_t)status.st_size;) {
        ssize_t n = read(fd, tail + got, (size_t)status.st_size - got);
        if (n < 0 && errno == EINTR)
            continue;
        BW_CHECK(n > 0, BW_CREDENTIAL_INVALID, "a certificate or key file cannot be read");
        got += (size_t)n;
    }
    return bw_success();
}

static int open_to_read(const char *path)
{
    int fd;

    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
    while (fd < 0 && errno == EINTR);
    return fd;
}

static bw_result read_public_file(const char *path, struct bw_buf *buf)
{
    int fd = open_to_read(path);

    BW_CHECK(fd >= 0, BW_CREDENTIAL_INVALID, "the CA's or the client's certificate file cannot be opened");
    bw_result r = read_open_file(fd, buf);
    (void)close(fd);
    return r;
}

/* Asked of the open file, so that it cannot be another one when it is read. Servers read it again after they gave up being root,
 * so it may be root's, and readable by a group. */
static bw_result check_private(int fd)
{
    struct stat status;

    BW_CHECK(fstat(fd, &status) == 0, BW_CREDENTIAL_INVALID, "the private key file cannot be examined");
    BW_CHECK(status.st_uid == geteuid() || status.st_uid == 0, BW_CREDENTIAL_INVALID, "the private key file belongs to another user");
    BW_CHECK((status.st_mode & (S_IWGRP | S_IRWXO)) == 0, BW_CREDENTIAL_INVALID, "others can read or write the private key file: chmod g-w,o-rwx");
    return bw_success();
}

bw_result bw_credential_read_key(const char *key_file, struct bw_buf *ret_key)
{
    struct bw_buf key = { 0 };
    int fd = open_to_read(key_file);

    BW_CHECK(fd >= 0, BW_CREDENTIAL_INVALID, "the private key file cannot be opened");
    bw_result r = check_private(fd);
    if (bw_ok(r))
        r = read_open_file(fd, &key);
    (void)close(fd);
    if (bw_ok(r))
        *ret_key = key;
    else
        bw_buf_clear(&key);
    return r;
}

void bw_credential_clear(struct bw_credential *credential)
{
    bw_buf_clear(&credential->ca);
    bw_buf_clear(&credential->certificate);
    bw_buf_clear(&credential->key);
}

static bw_result read_all(const char *ca_file, const char *certificate_file, const char *key_file, struct bw_credential *credential)
{
    BW_TRY(read_public_file(ca_file, &credential->ca));
    BW_TRY(read_public_file(certificate_file, &credential->certificate));
    return bw_credential_read_key(key_file, &credential->key);
}

bw_result bw_credential_read(const char *ca_file, const char *certificate_file, const char *key_file, struct bw_credential *ret_credential)
{
    struct bw_credential credential = { 0 };
    bw_result r = read_all(ca_file, certificate_file, key_file, &credential);

    if (bw_ok(r))
        *ret_credential = credential;
    else
        bw_credential_clear(&credential);
    return r;
}

/* ---- the private key ---- */

bool bw_credential_key_is_encrypted(bw_bytes pem)
{
    static const char *const marks[] = { "-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED" }; /* RFC 7468 11, RFC 1421 4.6.1.1 */

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (pem.len > 0 && memmem(pem.data, pem.len, marks[i], strlen(marks[i])) != NULL)
            return true;
    return false;
}

/* Without a callback of ours OpenSSL would ask on the host's terminal. */
static int give_passphrase(char *to, int room, int writing, void *data)
{
    struct bw_secret *passphrase = data;
    size_t len = bw_secret_len(passphrase);

    (void)writing;
    if (len == 0 || room < 0 || len > (size_t)room)
        return -1;
    memcpy(to, bw_secret_reveal(passphrase), len);
    return (int)len;
}

/* Borrows. NULL: out of memory. */
static BIO *reader_of(bw_bytes bytes)
{
    return bytes.len <= FILE_ROOM ? BIO_new_mem_buf(bytes.data ? (const void *)bytes.data : "", (int)bytes.len) : NULL;
}

bw_result bw_credential_open_key(bw_bytes pem, struct bw_secret *passphrase, OSSL_LIB_CTX *library, EVP_PKEY **ret_key)
{
    bool encrypted = bw_credential_key_is_encrypted(pem);

    BW_CHECK(!encrypted || bw_secret_len(passphrase) > 0, BW_CREDENTIAL_INVALID, "the private key is encrypted and its passphrase was not given");
    BIO *bio = reader_of(pem);
    BW_CHECK(bio != NULL, BW_NO_MEMORY, "private key");
    EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(bio, NULL, give_passphrase, passphrase, library, NULL);
    BIO_free(bio);
    BW_CHECK(key != NULL || !encrypted, BW_CREDENTIAL_INVALID, "the passphrase does not open the private key");
    BW_CHECK(key != NULL, BW_CREDENTIAL_INVALID, "the private key file holds no private key");

    *ret_key = key;
    return bw_success();
}

/* ---- certificates ---- */

/* NULL at the end, or where no certificate can be read. */
static X509 *next_certificate(BIO *bio, OSSL_LIB_CTX *library)
{
    X509 *certificate = X509_new_ex(library, NULL);

    if (certificate != NULL && PEM_read_bio_X509(bio, &certificate, NULL, NULL) == NULL) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

static bw_result trust(BIO *bio, OSSL_LIB_CTX *library, X509_STORE *store)
{
    unsigned count = 0;

    for (X509 *ca; (ca = next_certificate(bio, library)) != NULL; count++) {
        int added = X509_STORE_add_cert(store, ca);
        X509_free(ca);
        BW_CHECK(added == 1, BW_NO_MEMORY, "CA certificate");
    }
    BW_CHECK(count > 0, BW_CREDENTIAL_INVALID, "the CA file holds no certificate");
    return bw_success();
}

static bw_result use_certificates(BIO *bio, OSSL_LIB_CTX *library, SSL_CTX *context)
{
    X509 *leaf = next_certificate(bio, library);

    BW_CHECK(leaf != NULL, BW_CREDENTIAL_INVALID, "the client certificate file holds no certificate");
    int used = SSL_CTX_use_certificate(context, leaf);
    X509_free(leaf);
    BW_CHECK(used == 1, BW_CREDENTIAL_INVALID, "the client certificate cannot be used: key too small, or signed with a weak digest");
    for (X509 *issuer; (issuer = next_certificate(bio, library)) != NULL;) {
        if (SSL_CTX_add0_chain_cert(context, issuer) != 1) {
            X509_free(issuer);
            return bw_fail(BW_CREDENTIAL_INVALID, "a certificate of the client's chain cannot be used");
        }
    }
    return bw_success();
}

static bw_result with_reader(bw_bytes pem, OSSL_LIB_CTX *library, SSL_CTX *context, bool is_ca)
{
    BIO *bio = reader_of(pem);

    BW_CHECK(bio != NULL, BW_NO_MEMORY, "certificate");
    bw_result r = is_ca ? trust(bio, library, SSL_CTX_get_cert_store(context)) : use_certificates(bio, library, context);
    BIO_free(bio);
    return r;
}

bw_result bw_credential_install(const struct bw_credential *credential, struct bw_secret *passphrase, OSSL_LIB_CTX *library, SSL_CTX *context)
{
    EVP_PKEY *key = NULL;

    BW_TRY(with_reader(bw_buf_bytes(&credential->ca), library, context, true));
    BW_TRY(with_reader(bw_buf_bytes(&credential->certificate), library, context, false));
    BW_TRY(bw_credential_open_key(bw_buf_bytes(&credential->key), passphrase, library, &key));
    int used = SSL_CTX_use_PrivateKey(context, key);
    EVP_PKEY_free(key);
    BW_CHECK(used == 1 && SSL_CTX_check_private_key(context) == 1, BW_CREDENTIAL_INVALID, "the private key does not belong to the client certificate");
    return bw_success();
}

bw_result bw_credential_digest(const struct bw_credential *credential, OSSL_LIB_CTX *library, uint8_t digest[static 32])
{
    const struct bw_buf *files[] = { &credential->ca, &credential->certificate, &credential->key };
    EVP_MD *sha256 = EVP_MD_fetch(library, "SHA2-256", NULL);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool done = sha256 != NULL && hash != NULL && EVP_DigestInit_ex(hash, sha256, NULL) == 1;

    for (size_t i = 0; done && i < ARRAY_LEN(files); i++)
        done = EVP_DigestUpdate(hash, &files[i]->len, sizeof files[i]->len) == 1 && EVP_DigestUpdate(hash, files[i]->data, files[i]->len) == 1;
    done = done && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    EVP_MD_free(sha256);
    BW_CHECK(done, BW_NO_MEMORY, "digest of the credential");
    return bw_success();
}
