/* What can be judged without the network: CA, certificate, who it says we are, private key. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"
#include "prompt.h"

enum { SOON_DAYS = 30 };

/* ---- certificates ---- */

static X509 *load_certificate(struct bw_doctor *doctor, const char *path)
{
    BIO  *bio         = BIO_new_file(path, "r");
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    if (bio == NULL)
        bw_doctor_found(doctor, BW_WRONG, "give the user who runs the application the right to read it", "%s: %s", path, strerror(errno));
    else if (certificate == NULL)
        bw_doctor_found(doctor, BW_WRONG, "it must hold a certificate in PEM: -----BEGIN CERTIFICATE-----", "%s holds no certificate", path);
    BIO_free(bio);
    return certificate;
}

static int days_until(const ASN1_TIME *when)
{
    int days = 0, seconds = 0;
    return ASN1_TIME_diff(&days, &seconds, NULL, when) == 1 ? days : 0;
}

bool bw_doctor_validity(struct bw_doctor *doctor, const X509 *certificate, const char *what)
{
    const ASN1_TIME *from = X509_get0_notBefore(certificate), *to = X509_get0_notAfter(certificate);
    int days = days_until(to);

    if (X509_cmp_current_time(from) > 0) {
        bw_doctor_found(doctor, BW_WRONG, "set this machine's clock, or wait", "%s is not valid yet", what);
        return false;
    }
    if (X509_cmp_current_time(to) < 0) {
        bw_doctor_found(doctor, BW_WRONG, "get a new one from the region's CA", "%s expired %d days ago", what, -days);
        return false;
    }
    if (days < SOON_DAYS)
        bw_doctor_found(doctor, BW_NOTE, "get a new one from the region's CA", "%s expires in %d days", what, days);
    return true;
}

bool bw_check_ca(struct bw_doctor *doctor)
{
    doctor->ca = load_certificate(doctor, doctor->slot->ca_file);
    if (doctor->ca == NULL || !bw_doctor_validity(doctor, doctor->ca, "the CA's certificate"))
        return false;
    if (X509_check_ca((X509 *)(uintptr_t)doctor->ca) == 0) {
        bw_doctor_found(doctor, BW_WRONG, "name the certificate of the region's CA in 'ca'", "%s is not a CA's certificate", doctor->slot->ca_file);
        return false;
    }
    bw_doctor_found(doctor, BW_FINE, NULL, "%s, %d days left", doctor->slot->ca_file, days_until(X509_get0_notAfter(doctor->ca)));
    return true;
}

static int verify(const struct bw_doctor *doctor)
{
    X509_STORE     *store   = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int error = X509_V_ERR_UNSPECIFIED;

    if (store != NULL && context != NULL && X509_STORE_load_file(store, doctor->slot->ca_file) == 1 &&
        X509_STORE_CTX_init(context, store, doctor->certificate, NULL) == 1 &&
        X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1)
        error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return error;
}

bool bw_check_certificate(struct bw_doctor *doctor)
{
    const char *path = doctor->slot->certificate_file;

    doctor->certificate = load_certificate(doctor, path);
    if (doctor->certificate == NULL || !bw_doctor_validity(doctor, doctor->certificate, "the application's certificate"))
        return false;
    int error = verify(doctor);
    if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) /* intermediate CAs come in the same file; the server is told them */
        bw_doctor_found(doctor, BW_NOTE, "if the file holds no intermediate certificates either, the region will refuse it",
                        "%s is not issued by the CA in %s itself", path, doctor->slot->ca_file);
    else if (error != X509_V_OK)
        bw_doctor_found(doctor, BW_WRONG, "get a client certificate from the region's CA", "%s: %s", path, X509_verify_cert_error_string(error));
    else
        bw_doctor_found(doctor, BW_FINE, NULL, "%s, %d days left", path, days_until(X509_get0_notAfter(doctor->certificate)));
    return error == X509_V_OK || error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
}

/* ---- who it says we are ---- */

/* false: not exactly one URI, or one too long to be a SPIFFE id */
static bool only_uri(const GENERAL_NAMES *names, char id[static BW_SPIFFE_MAX + 1])
{
    size_t uris = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        int len = ASN1_STRING_length(name->d.ia5);
        if (++uris > 1 || len > BW_SPIFFE_MAX)
            return false;
        memcpy(id, ASN1_STRING_get0_data(name->d.ia5), (size_t)len);
        id[len] = '\0';
    }
    return uris == 1;
}

bool bw_doctor_identity(const X509 *certificate, char id[static BW_SPIFFE_MAX + 1], struct bw_identity *ret_identity)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    id[0] = '\0';
    bool one = only_uri(names, id);
    GENERAL_NAMES_free(names);
    return one && bw_ok(bw_identity_parse(bw_bytes_text(id), ret_identity));
}

static bool agrees(struct bw_doctor *doctor, const char *setting, const char *configured, const char *certified)
{
    if (strcmp(configured, certified) == 0)
        return true;
    bw_doctor_found(doctor, BW_WRONG, "correct the setting, or use the certificate that belongs to it",
                    "%s = %s, but the certificate says %s", setting, configured, certified);
    return false;
}

bool bw_check_identity(struct bw_doctor *doctor)
{
    const struct bw_conf_slot *slot = doctor->slot;
    struct bw_identity identity;
    char id[BW_SPIFFE_MAX + 1];

    if (!bw_doctor_identity(doctor->certificate, id, &identity)) {
        bw_doctor_found(doctor, BW_WRONG, "it needs one URI, spiffe://<trust domain>/region/<region>/tenant/<tenant>/app/<name>",
                        "%s: not one SPIFFE id of ours: %s", slot->certificate_file, id);
        return false;
    }
    if (!agrees(doctor, "trust_domain", slot->trust_domain, identity.trust_domain) ||
        !agrees(doctor, "tenant", slot->tenant.text, identity.tenant.text))
        return false;
    if (identity.role != BW_ROLE_APP)
        bw_doctor_found(doctor, BW_NOTE, "give applications certificates with the role app",
                        "the role %s may use no key", bw_role_name(identity.role));
    if (!bw_region_equal(&identity.region, &slot->region))
        bw_doctor_found(doctor, BW_NOTE, "keys answer it only if their policies allow callers of that region",
                        "the certificate is for callers in %s, the home region is %s", identity.region.text, slot->region.text);
    bw_doctor_found(doctor, BW_FINE, NULL, "%s", id);
    return true;
}

/* ---- the private key ---- */

static int passphrase_given(char *to, int room, int writing, void *user)
{
    struct bw_doctor *doctor = user;
    int len = (int)bw_secret_len(doctor->passphrase);

    (void)writing;
    if (len > room)
        return -1;
    memcpy(to, bw_secret_reveal(doctor->passphrase), (size_t)len);
    return len;
}

static EVP_PKEY *open_key(struct bw_doctor *doctor, const char *path)
{
    BIO      *bio = BIO_new_file(path, "r");
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, passphrase_given, doctor) : NULL;

    BIO_free(bio);
    return key;
}

/* with a terminal, the key can be tried; without one, that it needs a passphrase is all there is to say */
static bool ask_passphrase(struct bw_doctor *doctor, const char *path)
{
    bw_doctor_found(doctor, BW_NOTE, "applications give the passphrase as the PIN of C_Login", "%s is encrypted", path);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        bw_doctor_found(doctor, BW_NOTE, "run doctor at a terminal to go on from here", "the passphrase cannot be asked for without a terminal");
        return false;
    }
    return bw_ok(bw_prompt_secret(doctor->cli, "Passphrase of", path, &doctor->passphrase));
}

bool bw_check_key(struct bw_doctor *doctor)
{
    const char *path = doctor->slot->key_file;
    bool encrypted;

    bw_result readable = bw_client_key_is_encrypted(doctor->client, &encrypted);
    if (!bw_ok(readable)) {
        bw_doctor_found(doctor, BW_WRONG, "it must be readable by the user who runs the application, and by nobody else",
                        "%s: %s", path, readable.what);
        return false;
    }
    if (encrypted && !ask_passphrase(doctor, path))
        return false;
    EVP_PKEY *key = open_key(doctor, path);
    if (key == NULL) {
        bw_doctor_found(doctor, BW_WRONG, encrypted ? "type its passphrase" : "it must hold a private key in PEM",
                        "%s: %s", path, encrypted ? "the passphrase does not open it" : "holds no private key");
        return false;
    }
    bool fits = X509_check_private_key(doctor->certificate, key) == 1;
    EVP_PKEY_free(key);
    if (fits)
        bw_doctor_found(doctor, BW_FINE, NULL, "%s fits the certificate", path);
    else
        bw_doctor_found(doctor, BW_WRONG, "'certificate' and 'key' must be of one pair", "%s is another key than the certificate's", path);
    return fits;
}
