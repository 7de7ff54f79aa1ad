#include "ca.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"

enum {
    CA_DAYS           = 3650,
    LEAF_DAYS         = 365,
    CRL_DAYS          = 365,
    BACKDATED_SECONDS = 300,      /* for machines whose clock is behind */
    PBKDF2_ROUNDS     = 210000,   /* OWASP's figure for SHA-512, a tenth of a second; ours is SHA-256 */
    PEM_MAX           = 64 * 1024
};

void bw_ca_clear(struct bw_ca *ca)
{
    X509_free(ca->certificate);
    EVP_PKEY_free(ca->key);
    *ca = (struct bw_ca){ 0 };
}

static void free_x509(X509 **at) { X509_free(*at); }
static void free_pkey(EVP_PKEY **at) { EVP_PKEY_free(*at); }
static void free_crl(X509_CRL **at) { X509_CRL_free(*at); }
static void free_bio(BIO **at) { BIO_free_all(*at); }
#define AUTO(type) __attribute__((cleanup(free_##type)))

static bw_result in_dir(struct bw_cli *cli, const char *dir, const char *stem, const char *suffix, const char **ret_path)
{
    *ret_path = bw_arena_text(&cli->arena, "%s/%s%s", dir, stem, suffix);
    BW_CHECK(*ret_path != NULL, BW_NO_MEMORY, "file name");
    return bw_success();
}

/* ---- PEM files ---- */

static bw_bytes bio_bytes(BIO *bio)
{
    char *data;
    long  len = BIO_get_mem_data(bio, &data);

    return (bw_bytes){ (const uint8_t *)data, (size_t)len };
}

static bw_result write_certificate(struct bw_cli *cli, const char *path, X509 *certificate)
{
    AUTO(bio) BIO *bio = BIO_new(BIO_s_mem());

    BW_CHECK(PEM_write_bio_X509(bio, certificate) == 1, BW_INTERNAL, "the certificate cannot be made");
    return bw_file_create(cli, path, 0644, bio_bytes(bio));
}

static bw_result encrypt_key(BIO *bio, PKCS8_PRIV_KEY_INFO *plain, struct bw_secret *passphrase)
{
    X509_SIG *encrypted = PKCS8_encrypt(-1, EVP_aes_256_cbc(), (const char *)bw_secret_reveal(passphrase),
                                        (int)bw_secret_len(passphrase), NULL, 0, PBKDF2_ROUNDS, plain);
    int written = encrypted ? PEM_write_bio_PKCS8(bio, encrypted) : 0;

    X509_SIG_free(encrypted);
    BW_CHECK(written == 1, BW_INTERNAL, "the private key cannot be written");
    return bw_success();
}

static bw_result write_key(struct bw_cli *cli, const char *path, EVP_PKEY *key, struct bw_secret *passphrase)
{
    AUTO(bio) BIO *bio = BIO_new(BIO_s_secmem());

    if (passphrase != NULL) {
        PKCS8_PRIV_KEY_INFO *plain  = EVP_PKEY2PKCS8(key);
        bw_result            result = encrypt_key(bio, plain, passphrase);
        PKCS8_PRIV_KEY_INFO_free(plain);
        BW_TRY(result);
    } else {
        BW_CHECK(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, BW_INTERNAL, "the private key cannot be written");
    }
    return bw_file_create(cli, path, 0600, bio_bytes(bio));
}

static bw_result open_pem(struct bw_cli *cli, const char *path, BIO **ret_bio)
{
    BW_AUTO(secret) content = NULL;

    BW_TRY(bw_file_load(cli, path, PEM_MAX, &content));
    BIO *bio = BIO_new(BIO_s_secmem());
    BW_CHECK(bio != NULL && BIO_write(bio, bw_secret_reveal(content), (int)bw_secret_len(content)) >= 0, BW_NO_MEMORY, "file");
    bw_cli_about(cli, "%s", path);
    *ret_bio = bio;
    return bw_success();
}

static bw_result load_certificate(struct bw_cli *cli, const char *path, X509 **ret_certificate)
{
    AUTO(bio) BIO *bio = NULL;

    BW_TRY(open_pem(cli, path, &bio));
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BW_CHECK(certificate != NULL, BW_BAD_ARGUMENT, "holds no certificate in PEM");
    *ret_certificate = certificate;
    return bw_success();
}

/* ---- parts of a certificate ---- */

static bw_result set_serial(ASN1_INTEGER *serial)
{
    unsigned char bytes[16];
    BIGNUM       *number;

    BW_CHECK(RAND_bytes(bytes, sizeof bytes) == 1, BW_INTERNAL, "no random bytes");
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always as long (RFC 5280 4.1.2.2) */
    number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool set = number != NULL && BN_to_ASN1_INTEGER(number, serial) != NULL;
    BN_free(number);
    BW_CHECK(set, BW_NO_MEMORY, "serial number");
    return bw_success();
}

static bw_result add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int added = extension ? X509_add_ext(certificate, extension, -1) : 0;
    X509_EXTENSION_free(extension);
    BW_CHECK(added == 1, BW_INTERNAL, "the extension cannot be added");
    return bw_success();
}

/* takes value; NULL fails */
static bw_result add_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();

    if (name == NULL || value == NULL || !sk_GENERAL_NAME_push(names, name)) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return bw_fail(BW_NO_MEMORY, "subject alternative name");
    }
    GENERAL_NAME_set0_value(name, type, value);
    return bw_success();
}

static ASN1_STRING *ia5(const char *text)
{
    ASN1_STRING *string = ASN1_IA5STRING_new();

    if (string != NULL && !ASN1_STRING_set(string, text, -1)) {
        ASN1_STRING_free(string);
        return NULL;
    }
    return string;
}

static bw_result fill_names(struct bw_cli *cli, GENERAL_NAMES *names, const char *uri, const struct bw_ca_request *request)
{
    BW_TRY(add_name(names, GEN_URI, ia5(uri)));
    for (size_t i = 0; request != NULL && i < BW_CA_NAMES_MAX && request->dns[i] != NULL; i++)
        BW_TRY(add_name(names, GEN_DNS, ia5(request->dns[i])));
    for (size_t i = 0; request != NULL && i < BW_CA_NAMES_MAX && request->addresses[i] != NULL; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(request->addresses[i]);
        bw_cli_about(cli, "%s", request->addresses[i]);
        BW_CHECK(address != NULL, BW_BAD_ARGUMENT, "not an IP address");
        BW_TRY(add_name(names, GEN_IPADD, address));
    }
    return bw_success();
}

/* built by hand, not from a text of OpenSSL's configuration language: what a caller typed stays one name */
static bw_result add_names(struct bw_cli *cli, X509 *certificate, const char *uri, const struct bw_ca_request *request)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

    BW_CHECK(names != NULL, BW_NO_MEMORY, "subject alternative name");
    bw_result result = fill_names(cli, names, uri, request);
    if (bw_ok(result) && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) != 1)
        result = bw_fail(BW_NO_MEMORY, "subject alternative name");
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return result;
}

static bw_result add_name_part(X509_NAME *name, int nid, const char *text)
{
    BW_CHECK(X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1,
             BW_INTERNAL, "the subject cannot be made");
    return bw_success();
}

static bw_result set_subject(X509 *certificate, const char *organisation, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(certificate);

    BW_TRY(add_name_part(name, NID_organizationName, organisation));
    return add_name_part(name, NID_commonName, common_name);
}

static bw_result start_certificate(EVP_PKEY *key, int days, X509 **ret_certificate)
{
    AUTO(x509) X509 *certificate = X509_new();

    BW_CHECK(certificate != NULL && key != NULL, BW_NO_MEMORY, "certificate");
    BW_CHECK(X509_set_version(certificate, X509_VERSION_3) == 1, BW_INTERNAL, "the certificate cannot be made");
    BW_TRY(set_serial(X509_get_serialNumber(certificate)));
    BW_CHECK(X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATED_SECONDS) != NULL &&
             X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, NULL) != NULL, BW_NO_MEMORY, "certificate");
    BW_CHECK(X509_set_pubkey(certificate, key) == 1, BW_INTERNAL, "the certificate cannot be made");
    *ret_certificate = bw_take(&certificate);
    return bw_success();
}

/* ---- the revocation list ---- */

static bw_result sign_crl(const struct bw_ca *ca, X509_CRL *crl)
{
    ASN1_TIME *now   = X509_gmtime_adj(NULL, -BACKDATED_SECONDS);
    ASN1_TIME *later = X509_time_adj_ex(NULL, CRL_DAYS, 0, NULL);
    bool dated = now != NULL && later != NULL && X509_CRL_set1_lastUpdate(crl, now) && X509_CRL_set1_nextUpdate(crl, later);

    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    BW_CHECK(dated, BW_NO_MEMORY, "revocation list");
    BW_CHECK(X509_CRL_sort(crl) == 1, BW_INTERNAL, "the revocation list cannot be made");
    BW_CHECK(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0, BW_INTERNAL, "the revocation list cannot be signed");
    return bw_success();
}

/* RFC 5280 5.2.3: each list of a CA has a higher number */
static bw_result set_crl_number(X509_CRL *crl, long number)
{
    ASN1_INTEGER *value = ASN1_INTEGER_new();
    bool set = value != NULL && ASN1_INTEGER_set(value, number) && X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, X509V3_ADD_REPLACE);

    ASN1_INTEGER_free(value);
    BW_CHECK(set, BW_NO_MEMORY, "revocation list");
    return bw_success();
}

static long crl_number(X509_CRL *crl)
{
    ASN1_INTEGER *value  = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    long          number = value ? ASN1_INTEGER_get(value) : 0;

    ASN1_INTEGER_free(value);
    return number;
}

static bw_result pem_crl(X509_CRL *crl, BIO **ret_bio)
{
    AUTO(bio) BIO *bio = BIO_new(BIO_s_mem());

    BW_CHECK(PEM_write_bio_X509_CRL(bio, crl) == 1, BW_INTERNAL, "the revocation list cannot be made");
    *ret_bio = bw_take(&bio);
    return bw_success();
}

static bw_result create_crl(struct bw_cli *cli, const struct bw_ca *ca)
{
    AUTO(crl) X509_CRL *crl = X509_CRL_new();
    AUTO(bio) BIO *bio = NULL;
    const char *path;

    BW_CHECK(crl != NULL, BW_NO_MEMORY, "revocation list");
    BW_CHECK(X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1, BW_INTERNAL, "the revocation list cannot be made");
    BW_CHECK(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate)) == 1, BW_INTERNAL, "the revocation list cannot be made");
    BW_TRY(set_crl_number(crl, 1));
    BW_TRY(sign_crl(ca, crl));
    BW_TRY(pem_crl(crl, &bio));
    BW_TRY(in_dir(cli, ca->dir, "crl", ".pem", &path));
    return bw_file_create(cli, path, 0644, bio_bytes(bio));
}

static bw_result add_revoked(struct bw_cli *cli, const struct bw_ca *ca, X509 *certificate, X509_CRL *crl)
{
    X509_REVOKED *found;

    BW_CHECK(X509_verify(certificate, ca->key) == 1, BW_BAD_ARGUMENT, "was not issued by this CA");
    BW_CHECK(X509_CRL_get0_by_cert(crl, &found, certificate) == 0, BW_ALREADY_EXISTS, "is on the list already");
    ASN1_TIME    *now     = X509_gmtime_adj(NULL, 0);
    X509_REVOKED *revoked = X509_REVOKED_new();
    bool filled = now != NULL && revoked != NULL && X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(certificate)) &&
                  X509_REVOKED_set_revocationDate(revoked, now) && X509_CRL_add0_revoked(crl, revoked);
    ASN1_TIME_free(now);
    if (!filled)
        X509_REVOKED_free(revoked);
    BW_CHECK(filled, BW_NO_MEMORY, "revocation list");
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_ca_revoke(struct bw_cli *cli, const struct bw_ca *ca, const char *certificate_path)
{
    AUTO(x509) X509 *certificate = NULL;
    AUTO(crl) X509_CRL *crl = NULL;
    AUTO(bio) BIO *old = NULL;
    AUTO(bio) BIO *new = NULL;
    const char *path;

    BW_TRY(in_dir(cli, ca->dir, "crl", ".pem", &path));
    BW_TRY(open_pem(cli, path, &old));
    crl = PEM_read_bio_X509_CRL(old, NULL, NULL, NULL);
    BW_CHECK(crl != NULL, BW_BAD_ARGUMENT, "holds no revocation list in PEM");
    BW_TRY(load_certificate(cli, certificate_path, &certificate));
    BW_TRY(add_revoked(cli, ca, certificate, crl));
    BW_TRY(set_crl_number(crl, crl_number(crl) + 1));
    BW_TRY(sign_crl(ca, crl));
    BW_TRY(pem_crl(crl, &new));
    return bw_file_replace(cli, path, 0644, bio_bytes(new));
}

/* ---- the CA itself ---- */

static bw_result make_ca_certificate(struct bw_cli *cli, const char *trust_domain, EVP_PKEY *key, X509 **ret_certificate)
{
    AUTO(x509) X509 *certificate = NULL;
    const char *uri = bw_arena_text(&cli->arena, "spiffe://%s", trust_domain);

    BW_CHECK(uri != NULL, BW_NO_MEMORY, "certificate");
    BW_TRY(start_certificate(key, CA_DAYS, &certificate));
    BW_TRY(set_subject(certificate, "Bailiwick", "development CA"));
    BW_CHECK(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1, BW_INTERNAL, "the certificate cannot be made");
    BW_TRY(add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
    BW_TRY(add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign"));
    BW_TRY(add_extension(certificate, certificate, NID_subject_key_identifier, "hash"));
    BW_TRY(add_names(cli, certificate, uri, NULL));
    BW_CHECK(X509_sign(certificate, key, EVP_sha256()) > 0, BW_INTERNAL, "the certificate cannot be signed");
    *ret_certificate = bw_take(&certificate);
    return bw_success();
}

/* the parser of SPIFFE ids is the one judge of trust domains */
static bw_result parse_trust_domain(struct bw_cli *cli, const char *text, char *ret_domain)
{
    struct bw_identity identity;
    const char *id = bw_arena_text(&cli->arena, "spiffe://%s/region/x/node/x", text);

    bw_cli_about(cli, "%s", text);
    BW_CHECK(id != NULL, BW_NO_MEMORY, "trust domain");
    BW_CHECK(bw_ok(bw_identity_parse(bw_bytes_text(id), &identity)) && strcmp(identity.trust_domain, text) == 0, BW_BAD_ARGUMENT,
             "not a trust domain: lower-case letters, digits, dots, hyphens and underscores");
    memcpy(ret_domain, identity.trust_domain, sizeof identity.trust_domain);
    return bw_success();
}

bw_result bw_ca_create(struct bw_cli *cli, const char *dir, const char *trust_domain)
{
    __attribute__((cleanup(bw_ca_clear))) struct bw_ca ca = { .dir = dir };
    const char *key_path, *certificate_path;

    BW_TRY(parse_trust_domain(cli, trust_domain, ca.trust_domain));
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        bw_cli_about(cli, "%s: %s", dir, strerror(errno));
        return bw_fail(BW_INTERNAL, "the folder cannot be made");
    }
    ca.key = EVP_EC_gen("P-256");
    BW_TRY(make_ca_certificate(cli, ca.trust_domain, ca.key, &ca.certificate));
    BW_TRY(in_dir(cli, dir, "ca", ".key", &key_path));
    BW_TRY(in_dir(cli, dir, "ca", ".pem", &certificate_path));
    BW_TRY(write_key(cli, key_path, ca.key, NULL));
    BW_TRY(write_certificate(cli, certificate_path, ca.certificate));
    return create_crl(cli, &ca);
}

/* the trust domain is the certificate's only URI */
static bw_result read_trust_domain(struct bw_cli *cli, struct bw_ca *ca)
{
    static const char scheme[] = "spiffe://";
    GENERAL_NAMES *names = X509_get_ext_d2i(ca->certificate, NID_subject_alt_name, NULL, NULL);
    const GENERAL_NAME *name = names && sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
    char text[BW_TRUST_DOMAIN_MAX + sizeof scheme] = "";

    if (name != NULL && name->type == GEN_URI && ASN1_STRING_length(name->d.ia5) < (int)sizeof text)
        memcpy(text, ASN1_STRING_get0_data(name->d.ia5), (size_t)ASN1_STRING_length(name->d.ia5));
    GENERAL_NAMES_free(names);
    BW_CHECK(strncmp(text, scheme, strlen(scheme)) == 0, BW_BAD_ARGUMENT,
             "this CA's certificate names no trust domain; was it made by 'bailiwick ca init'?");
    return parse_trust_domain(cli, text + strlen(scheme), ca->trust_domain);
}

static bw_result load_ca(struct bw_cli *cli, const char *dir, struct bw_ca *ca)
{
    AUTO(bio) BIO *key = NULL;
    const char *key_path, *certificate_path;

    ca->dir = dir;
    BW_TRY(in_dir(cli, dir, "ca", ".key", &key_path));
    BW_TRY(in_dir(cli, dir, "ca", ".pem", &certificate_path));
    BW_TRY(open_pem(cli, key_path, &key));
    ca->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    BW_CHECK(ca->key != NULL, BW_BAD_ARGUMENT, "holds no private key in PEM");
    BW_TRY(load_certificate(cli, certificate_path, &ca->certificate));
    BW_CHECK(X509_check_private_key(ca->certificate, ca->key) == 1, BW_BAD_ARGUMENT, "ca.key is not this certificate's key");
    BW_TRY(read_trust_domain(cli, ca));
    cli->about[0] = '\0';
    return bw_success();
}

bw_result bw_ca_open(struct bw_cli *cli, const char *dir, struct bw_ca *ret_ca)
{
    struct bw_ca ca = { 0 };
    bw_result result = load_ca(cli, dir, &ca);

    if (!bw_ok(result)) {
        bw_ca_clear(&ca);
        return result;
    }
    *ret_ca = ca;
    return result;
}

/* ---- issuing ---- */

static bw_result make_leaf(struct bw_cli *cli, const struct bw_ca *ca, const struct bw_ca_request *request, EVP_PKEY *key, X509 **ret_leaf)
{
    AUTO(x509) X509 *leaf = NULL;
    const struct bw_identity *who = &request->identity;
    char uri[BW_SPIFFE_MAX + 1];

    bw_identity_print(who, uri, sizeof uri);
    BW_TRY(start_certificate(key, LEAF_DAYS, &leaf));
    BW_TRY(set_subject(leaf, who->tenant.text[0] ? who->tenant.text : bw_role_name(who->role), who->principal.text));
    BW_CHECK(X509_set_issuer_name(leaf, X509_get_subject_name(ca->certificate)) == 1, BW_INTERNAL, "the certificate cannot be made");
    BW_TRY(add_extension(leaf, ca->certificate, NID_basic_constraints, "critical,CA:FALSE"));
    BW_TRY(add_extension(leaf, ca->certificate, NID_key_usage, "critical,digitalSignature"));
    BW_TRY(add_extension(leaf, ca->certificate, NID_ext_key_usage, who->role == BW_ROLE_NODE ? "serverAuth" : "clientAuth"));
    BW_TRY(add_extension(leaf, ca->certificate, NID_subject_key_identifier, "hash"));
    BW_TRY(add_extension(leaf, ca->certificate, NID_authority_key_identifier, "keyid:always"));
    BW_TRY(add_names(cli, leaf, uri, request));
    BW_CHECK(X509_sign(leaf, ca->key, EVP_sha256()) > 0, BW_INTERNAL, "the certificate cannot be signed");
    *ret_leaf = bw_take(&leaf);
    return bw_success();
}

/* region.tenant.role.name; the first three hold no dot, so that names stay apart */
static bw_result stem_of(struct bw_cli *cli, const struct bw_identity *who, const char **ret_stem)
{
    const char *tenant = who->tenant.text;

    *ret_stem = bw_arena_text(&cli->arena, "%s.%s%s%s.%s", who->region.text, tenant, *tenant ? "." : "", bw_role_name(who->role),
                              who->principal.text);
    BW_CHECK(*ret_stem != NULL, BW_NO_MEMORY, "file name");
    return bw_success();
}

bw_result bw_ca_issue(struct bw_cli *cli, const struct bw_ca *ca, const struct bw_ca_request *request, const char **ret_stem)
{
    AUTO(pkey) EVP_PKEY *key = EVP_EC_gen("P-256");
    AUTO(x509) X509 *leaf = NULL;
    struct bw_ca_request ours = *request;
    const char *stem, *key_path, *certificate_path;

    memcpy(ours.identity.trust_domain, ca->trust_domain, sizeof ca->trust_domain);
    BW_TRY(stem_of(cli, &ours.identity, &stem));
    BW_TRY(in_dir(cli, ca->dir, stem, ".key", &key_path));
    BW_TRY(in_dir(cli, ca->dir, stem, ".pem", &certificate_path));
    BW_TRY(make_leaf(cli, ca, &ours, key, &leaf));
    BW_TRY(write_key(cli, key_path, key, ours.passphrase));
    BW_TRY(write_certificate(cli, certificate_path, leaf));
    *ret_stem = stem;
    return bw_success();
}
