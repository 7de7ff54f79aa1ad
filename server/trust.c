#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bailiwick/secret.h"

enum { FILE_MAX = 1024 * 1024, VERDICTS = 256, PEM_MAX = 16 * 1024 };

/* What the files said at one reading. */
struct files {
    struct bw_secret    *ca, *certificate, *key;  /* PEM, NUL-terminated; only the key is secret, but one kind is enough */
    STACK_OF(X509)      *authorities;
    STACK_OF(X509_CRL)  *revocations;             /* NULL: none configured */
};

/* What was found out about one certificate. */
struct verdict {
    char            *pem;
    size_t           pem_len;
    time_t           not_after;
    struct bw_caller caller;
    bw_result        result;
};

struct bw_trust {
    const struct bw_config *config;
    pthread_mutex_t         lock;       /* over all below */
    struct files            files;
    uint64_t                readings;
    struct verdict         *verdicts;   /* VERDICTS, by a hash of the certificate */
};

struct complaint { char *message; size_t room; };

__attribute__((format(printf, 3, 4)))
static bw_result complain(const struct complaint *to, enum bw_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(to->message, to->room, format, args);
    va_end(args);
    return (bw_result){ .code = code, .what = "a certificate file is not valid", .where = "trust.c" };
}

/* ---- reading files ---- */

static bw_result read_whole(int fd, struct bw_secret *into)
{
    size_t done = 0, len = bw_secret_len(into) - 1;

    while (done < len) {
        ssize_t more = read(fd, bw_secret_reveal(into) + done, len - done);
        BW_CHECK(more > 0, BW_CONFIG_INVALID, "file shrank");
        done += (size_t)more;
    }
    return bw_success();
}

/* private_file: nobody but its owner may read it */
static bw_result read_file(const char *path, bool private_file, struct bw_secret **ret_text, const struct complaint *to)
{
    BW_AUTO(secret) text = NULL;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) != 0) {
        int why = errno;
        if (fd >= 0)
            (void)close(fd);
        return complain(to, BW_CONFIG_INVALID, "%s: cannot be read: %s", path, strerror(why));
    }
    bw_result result = bw_success();
    if (private_file && (status.st_mode & 077) != 0)
        result = complain(to, BW_CONFIG_INVALID, "%s: others may read it: chmod 600 it", path);
    else if (status.st_size <= 0 || status.st_size > FILE_MAX)
        result = complain(to, BW_CONFIG_INVALID, "%s: is empty, or larger than 1 MiB", path);
    else if (!bw_ok(bw_secret_new((size_t)status.st_size + 1, &text)) || !bw_ok(read_whole(fd, text)))
        result = complain(to, BW_CONFIG_INVALID, "%s: cannot be read", path);
    (void)close(fd);
    BW_TRY(result);

    *ret_text = bw_take(&text);
    return bw_success();
}

static BIO *bio_of(struct bw_secret *text)
{
    return BIO_new_mem_buf(bw_secret_reveal(text), (int)bw_secret_len(text) - 1);
}

/* OpenSSL would ask on the terminal */
static int no_passphrase(char *buf, int size, int writing, void *self)
{
    (void)buf, (void)size, (void)writing, (void)self;
    return 0;
}

static X509 *first_certificate(struct bw_secret *text)
{
    BIO  *bio  = bio_of(text);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return leaf;
}

static STACK_OF(X509) *all_certificates(struct bw_secret *text)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO  *bio = bio_of(text);
    X509 *one;

    while (all != NULL && bio != NULL && (one = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
        if (sk_X509_push(all, one) == 0)
            X509_free(one);
    BIO_free(bio);
    return all;
}

static STACK_OF(X509_CRL) *all_revocations(struct bw_secret *text)
{
    STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
    BIO *bio = bio_of(text);
    X509_CRL *one;

    while (all != NULL && bio != NULL && (one = PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL)) != NULL)
        if (sk_X509_CRL_push(all, one) == 0)
            X509_CRL_free(one);
    BIO_free(bio);
    return all;
}

/* ---- checking them ---- */

/* The certificate's only URI; several or none are no identity (SPIFFE X509-SVID 2). */
static bool only_uri(X509 *certificate, char *uri, size_t room)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int found = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;
        size_t len = (size_t)ASN1_STRING_length(text);
        found++;
        if (len >= room || memchr(ASN1_STRING_get0_data(text), '\0', len) != NULL) {
            found = 2;
            break;
        }
        memcpy(uri, ASN1_STRING_get0_data(text), len);
        uri[len] = '\0';
    }
    GENERAL_NAMES_free(names);
    return found == 1;
}

static bw_result check_identity(const struct bw_config *config, X509 *leaf, const struct complaint *to)
{
    char uri[BW_SPIFFE_MAX + 1];
    struct bw_identity node;

    if (!only_uri(leaf, uri, sizeof uri) || !bw_ok(bw_identity_parse(bw_bytes_text(uri), &node)) || node.role != BW_ROLE_NODE)
        return complain(to, BW_CONFIG_INVALID, "%s: names no node: its only URI must be spiffe://%s/region/%s/node/%s",
                        config->certificate, config->trust_domain, config->region.text, config->node);
    if (!bw_region_equal(&node.region, &config->region))
        return complain(to, BW_WRONG_REGION, "the node's certificate differs: region %s is configured, %s names region %s",
                        config->region.text, config->certificate, node.region.text);
    if (strcmp(node.trust_domain, config->trust_domain) != 0)
        return complain(to, BW_CONFIG_INVALID, "the node's certificate differs: trust domain %s is configured, %s names %s",
                        config->trust_domain, config->certificate, node.trust_domain);
    if (strcmp(node.principal.text, config->node) != 0)
        return complain(to, BW_CONFIG_INVALID, "the node's certificate differs: node %s is configured, %s names %s",
                        config->node, config->certificate, node.principal.text);
    return bw_success();
}

static bw_result check_pair(const struct bw_config *config, const struct files *files, X509 *leaf, const struct complaint *to)
{
    BIO *bio = bio_of(files->key);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    bool fits = key != NULL && X509_check_private_key(leaf, key) == 1;

    BIO_free(bio);
    EVP_PKEY_free(key);
    if (key == NULL)
        return complain(to, BW_CONFIG_INVALID, "%s: holds no private key, or an encrypted one", config->key);
    if (!fits)
        return complain(to, BW_CONFIG_INVALID, "%s: is not the key of %s", config->key, config->certificate);
    return bw_success();
}

static bw_result check_node(const struct bw_config *config, const struct files *files, const struct complaint *to)
{
    X509 *leaf = first_certificate(files->certificate);
    bw_result result;

    if (leaf == NULL)
        return complain(to, BW_CONFIG_INVALID, "%s: holds no certificate", config->certificate);
    result = check_identity(config, leaf, to);
    if (bw_ok(result) && X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
        result = complain(to, BW_CONFIG_INVALID, "%s: has expired", config->certificate);
    if (bw_ok(result) && X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
        result = complain(to, BW_CONFIG_INVALID, "%s: is not valid yet", config->certificate);
    if (bw_ok(result))
        result = check_pair(config, files, leaf, to);
    X509_free(leaf);
    return result;
}

static const X509_CRL *revocations_of(const struct files *files, const X509_NAME *issuer)
{
    for (int i = 0; i < sk_X509_CRL_num(files->revocations); i++)
        if (X509_NAME_cmp(X509_CRL_get_issuer(sk_X509_CRL_value(files->revocations, i)), issuer) == 0)
            return sk_X509_CRL_value(files->revocations, i);
    return NULL;
}

static bool is_current(const X509_CRL *crl)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
    return next == NULL || X509_cmp_current_time(next) > 0;
}

/* A CRL that is missing, forged or stale must not let anyone in who was revoked. */
static bw_result check_revocations(const struct bw_config *config, const struct files *files, const struct complaint *to)
{
    for (int i = 0; i < sk_X509_num(files->authorities); i++) {
        X509 *authority = sk_X509_value(files->authorities, i);
        const X509_CRL *crl = revocations_of(files, X509_get_subject_name(authority));
        if (crl == NULL)
            return complain(to, BW_CONFIG_INVALID, "%s: has no list of certificate %d of %s", config->crl, i + 1, config->ca);
        if (X509_CRL_verify((X509_CRL *)(uintptr_t)crl, X509_get0_pubkey(authority)) != 1)
            return complain(to, BW_CONFIG_INVALID, "%s: is not signed by certificate %d of %s", config->crl, i + 1, config->ca);
        if (!is_current(crl))
            return complain(to, BW_CONFIG_INVALID, "%s: has expired: fetch a newer one", config->crl);
    }
    return bw_success();
}

static void clear_files(struct files *files)
{
    bw_secret_free(files->ca);
    bw_secret_free(files->certificate);
    bw_secret_free(files->key);
    sk_X509_pop_free(files->authorities, X509_free);
    sk_X509_CRL_pop_free(files->revocations, X509_CRL_free);
    *files = (struct files){ 0 };
}

static bw_result read_revocations(const struct bw_config *config, struct files *files, const struct complaint *to)
{
    BW_AUTO(secret) text = NULL;

    if (config->crl == NULL)
        return bw_success();
    BW_TRY(read_file(config->crl, false, &text, to));
    files->revocations = all_revocations(text);
    return check_revocations(config, files, to);
}

static bw_result read_files(const struct bw_config *config, struct files *files, const struct complaint *to)
{
    BW_TRY(read_file(config->certificate, false, &files->certificate, to));
    BW_TRY(read_file(config->key, true, &files->key, to));
    BW_TRY(read_file(config->ca, false, &files->ca, to));
    BW_TRY(check_node(config, files, to));
    files->authorities = all_certificates(files->ca);
    if (sk_X509_num(files->authorities) <= 0)
        return complain(to, BW_CONFIG_INVALID, "%s: holds no certificate", config->ca);
    return read_revocations(config, files, to);
}

/* ---- loading ---- */

static void forget_verdicts(struct bw_trust *trust)
{
    for (size_t i = 0; i < VERDICTS; i++)
        free(trust->verdicts[i].pem);
    memset(trust->verdicts, 0, VERDICTS * sizeof *trust->verdicts);
}

bw_result bw_trust_reload(struct bw_trust *trust, char *message, size_t room)
{
    struct complaint complaint = { message, room };
    struct files files = { 0 };

    message[0] = '\0';
    (void)ERR_set_mark();
    bw_result result = read_files(trust->config, &files, &complaint);
    (void)ERR_pop_to_mark();
    if (!bw_ok(result)) {
        clear_files(&files);
        return result;
    }
    (void)pthread_mutex_lock(&trust->lock);
    struct files before = trust->files;
    trust->files = files;
    trust->readings++;
    forget_verdicts(trust);
    (void)pthread_mutex_unlock(&trust->lock);
    clear_files(&before);
    return bw_success();
}

bw_result bw_trust_load(const struct bw_config *config, struct bw_trust **ret_trust, char *message, size_t room)
{
    BW_AUTO(trust) trust = calloc(1, sizeof *trust);

    message[0] = '\0';
    BW_CHECK(trust != NULL, BW_NO_MEMORY, "trust");
    (void)pthread_mutex_init(&trust->lock, NULL);
    trust->config   = config;
    trust->verdicts = calloc(VERDICTS, sizeof *trust->verdicts);
    BW_CHECK(trust->verdicts != NULL, BW_NO_MEMORY, "trust");
    BW_TRY(bw_trust_reload(trust, message, room));

    *ret_trust = bw_take(&trust);
    return bw_success();
}

void bw_trust_free(struct bw_trust *trust)
{
    if (trust == NULL)
        return;
    if (trust->verdicts != NULL)
        forget_verdicts(trust);
    free(trust->verdicts);
    clear_files(&trust->files);
    (void)pthread_mutex_destroy(&trust->lock);
    free(trust);
}

bool bw_trust_read(struct bw_trust *trust, uint64_t *seen, bw_trust_use_fn use, void *self)
{
    (void)pthread_mutex_lock(&trust->lock);
    bool is_new = *seen != trust->readings;
    if (is_new)
        use(self, (const char *)bw_secret_reveal(trust->files.ca), (const char *)bw_secret_reveal(trust->files.certificate),
            (const char *)bw_secret_reveal(trust->files.key));
    *seen = trust->readings;
    (void)pthread_mutex_unlock(&trust->lock);
    return is_new;
}

/* ---- callers ---- */

static bw_result check_not_revoked(const struct files *files, X509 *certificate)
{
    X509_REVOKED *entry = NULL;

    if (files->revocations == NULL)
        return bw_success();
    const X509_CRL *crl = revocations_of(files, X509_get_issuer_name(certificate));
    BW_CHECK(crl != NULL, BW_UNAUTHENTICATED, "no CRL covers the certificate's issuer");
    BW_CHECK(is_current(crl), BW_UNAUTHENTICATED, "the CRL has expired");
    BW_CHECK(X509_CRL_get0_by_cert((X509_CRL *)(uintptr_t)crl, &entry, certificate) == 0, BW_REVOKED, "the certificate is in the CRL");
    return bw_success();
}

static time_t time_of(const ASN1_TIME *when)
{
    struct tm utc;
    return ASN1_TIME_to_tm(when, &utc) == 1 ? timegm(&utc) : 0;
}

static bool hash_der(X509 *certificate, uint8_t hash[static 32])
{
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);

    if (len > 0)
        (void)SHA256(der, (size_t)len, hash);
    OPENSSL_free(der);
    return len > 0;
}

static bw_result check_caller(struct bw_trust *trust, const struct bw_peer *peer, X509 *certificate, struct verdict *verdict)
{
    struct bw_caller *caller = &verdict->caller;

    verdict->not_after = time_of(X509_get0_notAfter(certificate));
    BW_CHECK(hash_der(certificate, caller->certificate), BW_UNAUTHENTICATED, "the certificate does not encode");
    BW_CHECK(peer->spiffe_id.len > 0 && peer->spiffe_id.len <= BW_SPIFFE_MAX, BW_UNAUTHENTICATED, "the certificate has no single SPIFFE id");
    BW_CHECK(bw_ok(bw_identity_parse(peer->spiffe_id, &caller->identity)), BW_UNAUTHENTICATED, "the certificate's SPIFFE id is none of ours");
    bw_identity_print(&caller->identity, caller->spiffe_id, sizeof caller->spiffe_id);
    BW_CHECK(strcmp(caller->identity.trust_domain, trust->config->trust_domain) == 0, BW_UNAUTHENTICATED, "another trust domain");
    caller->known = true;
    return check_not_revoked(&trust->files, certificate);
}

static void judge(struct bw_trust *trust, const struct bw_peer *peer, struct verdict *verdict)
{
    (void)ERR_set_mark();
    BIO  *bio  = peer->certificate.len <= PEM_MAX ? BIO_new_mem_buf(peer->certificate.data, (int)peer->certificate.len) : NULL;
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

    verdict->result = certificate ? check_caller(trust, peer, certificate, verdict)
                                  : bw_fail(BW_UNAUTHENTICATED, "the caller's certificate cannot be read");
    (void)ERR_pop_to_mark();
    X509_free(certificate);
    BIO_free(bio);
}

/* The certificate's end is its signature, which is as good as random. Only the place depends on it: bytes are compared. */
static size_t place_of(bw_bytes pem)
{
    size_t hash = pem.len;

    for (size_t i = pem.len > 128 ? pem.len - 128 : 0; i < pem.len; i++)
        hash = hash * 31 + pem.data[i];
    return hash % VERDICTS;
}

static struct verdict *find_verdict(struct bw_trust *trust, const struct bw_peer *peer)
{
    struct verdict *verdict = &trust->verdicts[place_of(peer->certificate)];

    if (verdict->pem != NULL && bw_bytes_equal((bw_bytes){ (const uint8_t *)verdict->pem, verdict->pem_len }, peer->certificate))
        return verdict;
    free(verdict->pem);
    *verdict = (struct verdict){ .pem = malloc(peer->certificate.len + 1), .pem_len = peer->certificate.len };
    if (verdict->pem != NULL && peer->certificate.len > 0)
        memcpy(verdict->pem, peer->certificate.data, peer->certificate.len);
    judge(trust, peer, verdict);
    return verdict;
}

bw_result bw_trust_identify(struct bw_trust *trust, const struct bw_peer *peer, struct bw_caller *ret_caller)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    (void)pthread_mutex_lock(&trust->lock);
    const struct verdict *verdict = find_verdict(trust, peer);
    bw_result result    = verdict->result;
    time_t    not_after = verdict->not_after;
    *ret_caller = verdict->caller;
    (void)pthread_mutex_unlock(&trust->lock);
    BW_TRY(result);
    /* the handshake saw it valid, but a connection may outlive it */
    BW_CHECK(now.tv_sec <= not_after, BW_UNAUTHENTICATED, "the certificate has expired");
    return bw_success();
}
