#include "tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>

struct bw_tls {
    bw_region     home;
    char          trust_domain[BW_TRUST_DOMAIN_MAX + 1];
    OSSL_LIB_CTX *library;
    bool          library_is_ours;
    BIO_METHOD   *socket_bio;
    SSL_CTX      *context;         /* of the credentials in use; NULL before the first */
    uint8_t       credential[32];  /* their digest */
    SSL_SESSION  *ticket;          /* from the last server that gave one; made with those credentials */
};

struct bw_channel {
    struct bw_tls *tls;
    SSL           *ssl;
    int            socket;
    enum bw_wait   wait;         /* what the socket could not do during the last call */
    bool           drained;      /* the last recv took less than it could: the next would find nothing */
    bool           lost;         /* the socket was closed or broken */
    bool           wrong_region;
    int            alert;        /* description of a fatal alert received, or 0 */
};

/* ---- the socket as a BIO ---- */

/* OpenSSL's own socket BIO uses write(2), whose SIGPIPE could end the host. */

static int note_io(BIO *bio, struct bw_channel *channel, ssize_t n, enum bw_wait wait)
{
    if (n > 0)
        return (int)n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        channel->wait = wait;
        BIO_set_flags(bio, BIO_FLAGS_SHOULD_RETRY | (wait == BW_WAIT_READABLE ? BIO_FLAGS_READ : BIO_FLAGS_WRITE));
        return -1;
    }
    channel->lost = true;
    return -1;
}

static int socket_read(BIO *bio, char *to, int room)
{
    struct bw_channel *channel = BIO_get_data(bio);
    ssize_t n = -1;

    BIO_clear_retry_flags(bio);
    if (room <= 0)
        return 0;
    if (channel->drained) {
        errno = EAGAIN;
        return note_io(bio, channel, -1, BW_WAIT_READABLE);
    }
    do
        n = recv(channel->socket, to, (size_t)room, 0);
    while (n < 0 && errno == EINTR);
    channel->drained = n > 0 && n < room;
    return note_io(bio, channel, n, BW_WAIT_READABLE);
}

static int socket_write(BIO *bio, const char *from, int len)
{
    struct bw_channel *channel = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    do
        n = send(channel->socket, from, (size_t)len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return note_io(bio, channel, n, BW_WAIT_WRITABLE);
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *make_socket_bio(void)
{
    /* No index of its own: there are 127 of them for a process, and hosts initialise us over and over. */
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bailiwick socket");

    if (method != NULL) {
        BIO_meth_set_read(method, socket_read);
        BIO_meth_set_write(method, socket_write);
        BIO_meth_set_ctrl(method, socket_control);
    }
    return method;
}

/* ---- who the server is ---- */

static bool is_home_node(const struct bw_tls *tls, const ASN1_STRING *uri)
{
    struct bw_identity identity;
    bw_bytes text = bw_bytes_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri));

    return bw_ok(bw_identity_parse(text, &identity)) && identity.role == BW_ROLE_NODE &&
           strcmp(identity.trust_domain, tls->trust_domain) == 0 && bw_region_equal(&identity.region, &tls->home);
}

/* Exactly one URI, and that a node of our home region: two would let one certificate speak for two regions. */
static bool names_home(const struct bw_tls *tls, const X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    unsigned uris = 0, homes = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uris++;
        homes += is_home_node(tls, name->d.uniformResourceIdentifier);
    }
    GENERAL_NAMES_free(names);
    return uris == 1 && homes == 1;
}

/* Called for each certificate of the chain; the leaf comes last, when the chain above it holds. Refusing here ends the
 * handshake before we have said who we are. */
static int verify(int chain_ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct bw_channel *channel = SSL_get_app_data(ssl);

    if (!chain_ok || X509_STORE_CTX_get_error_depth(store) > 0)
        return chain_ok;
    if (names_home(channel->tls, X509_STORE_CTX_get_current_cert(store)))
        return 1;
    channel->wrong_region = true;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* A resumed handshake shows no certificate; what is known of the server is what the session remembers, and it counts
 * only as long as that certificate does. */
static bw_result check_server(struct bw_channel *channel)
{
    X509 *certificate = SSL_get0_peer_certificate(channel->ssl);

    BW_CHECK(certificate != NULL && SSL_get_verify_result(channel->ssl) == X509_V_OK, BW_TLS_REFUSED, "the server showed no valid certificate");
    BW_CHECK(X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0, BW_TLS_REFUSED, "the server's certificate has expired");
    BW_CHECK(names_home(channel->tls, certificate), BW_SERVER_REGION, "the server's certificate does not name the home region");
    return bw_success();
}

static bw_result check_protocol(const struct bw_channel *channel)
{
    const unsigned char *chosen;
    unsigned len;

    SSL_get0_alpn_selected(channel->ssl, &chosen, &len);
    BW_CHECK(bw_bytes_equal(bw_bytes_of(chosen, len), bw_bytes_text("h2")), BW_TLS_REFUSED, "the server does not speak HTTP/2");
    return bw_success();
}

/* ---- why it failed ---- */

static bw_result judge_certificate(long verdict)
{
    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return bw_fail(BW_TLS_REFUSED, "the server's certificate has expired");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return bw_fail(BW_TLS_REFUSED, "the server's certificate is not valid yet");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return bw_fail(BW_TLS_REFUSED, "the server's certificate was not issued by a CA of the CA file");
    default:
        return bw_fail(BW_TLS_REFUSED, "the server's certificate is not valid for a server");
    }
}

static bw_result judge_alert(int alert)
{
    switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_HANDSHAKE_FAILURE:
        return bw_fail(BW_TLS_REFUSED, "the server does not speak TLS 1.3 as we do");
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_CERTIFICATE_REQUIRED:
        return bw_fail(BW_TLS_REFUSED, "the server refused the client certificate");
    default:
        return bw_fail(BW_TLS_REFUSED, "the server ended TLS with an alert");
    }
}

/* Asks our own notes, which say more than SSL_get_error. */
static bw_result judge(const struct bw_channel *channel)
{
    long certificate = SSL_get_verify_result(channel->ssl);

    if (channel->wrong_region)
        return bw_fail(BW_SERVER_REGION, "the server's certificate does not name the home region");
    if (certificate != X509_V_OK)
        return judge_certificate(certificate);
    if (channel->alert != 0)
        return judge_alert(channel->alert);
    if (channel->lost || (SSL_get_shutdown(channel->ssl) & SSL_RECEIVED_SHUTDOWN) != 0)
        return bw_fail(BW_UNREACHABLE, "the connection was lost");
    return bw_fail(BW_TLS_REFUSED, "the server does not speak TLS 1.3");
}

static void note_alert(const SSL *ssl, int where, int value)
{
    struct bw_channel *channel = SSL_get_app_data(ssl);
    int description = value & 0xff;

    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && description != SSL_AD_CLOSE_NOTIFY)
        channel->alert = description;
}

/* ---- contexts ---- */

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct bw_channel *channel = SSL_get_app_data(ssl);

    if (SSL_get_SSL_CTX(ssl) != channel->tls->context)
        return 0; /* made with credentials that were replaced since */
    SSL_SESSION_free(channel->tls->ticket);
    channel->tls->ticket = session;
    return 1;     /* the reference is ours now */
}

/* The host's openssl.cnf reaches every SSL_CTX of the process through its system_default section; hence all is set. */
static bool configure(SSL_CTX *context)
{
    static const unsigned char alpn[] = { 2, 'h', '2' };

    SSL_CTX_clear_options(context, SSL_CTX_get_options(context));
    SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION | SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_security_level(context, 2);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verify);
    SSL_CTX_set_info_callback(context, note_alert);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set1_groups_list(context, "P-256:X25519:P-384:P-521") == 1 && /* the gRPC core's first: a guess that is wrong costs a round trip */
           SSL_CTX_set1_sigalgs_list(context, "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"
                                              "RSA+SHA256:RSA+SHA384:RSA+SHA512") == 1 &&
           SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn) == 0;
}

static bw_result new_context(struct bw_tls *tls, const struct bw_credential *credential, struct bw_secret *passphrase, SSL_CTX **ret_context)
{
    SSL_CTX *context = SSL_CTX_new_ex(tls->library, NULL, TLS_client_method());
    bw_result r = bw_success();

    BW_CHECK(context != NULL, BW_NO_MEMORY, "TLS context");
    if (!configure(context))
        r = bw_fail(BW_TLS_REFUSED, "this OpenSSL cannot do TLS 1.3 as we need it");
    if (bw_ok(r))
        r = bw_credential_install(credential, passphrase, tls->library, context);
    if (bw_ok(r))
        *ret_context = context;
    else
        SSL_CTX_free(context);
    return r;
}

/* The same files again keep the context, and with it the ticket. A ticket stands for the certificate that earned it,
 * so other files start without one. */
bw_result bw_tls_use(struct bw_tls *tls, const struct bw_credential *credential, struct bw_secret *passphrase)
{
    uint8_t digest[sizeof tls->credential];
    SSL_CTX *context;

    BW_TRY(bw_credential_digest(credential, tls->library, digest));
    if (tls->context != NULL && memcmp(digest, tls->credential, sizeof digest) == 0)
        return bw_success();
    BW_TRY(new_context(tls, credential, passphrase, &context));
    bw_tls_forget(tls);
    tls->context = context;
    memcpy(tls->credential, digest, sizeof digest);
    return bw_success();
}

void bw_tls_forget(struct bw_tls *tls)
{
    SSL_CTX_free(tls->context);
    SSL_SESSION_free(tls->ticket);
    tls->context = NULL;
    tls->ticket  = NULL;
}

bw_result bw_tls_try_key(struct bw_tls *tls, bw_bytes key_pem, struct bw_secret *passphrase)
{
    EVP_PKEY *key = NULL;

    bw_result r = bw_credential_open_key(key_pem, passphrase, tls->library, &key);
    EVP_PKEY_free(key);
    return r;
}

void bw_tls_prepare_process(void)
{
    /* Left to itself, SSL_CTX_new would do this under our lock. It loads the host's configuration into the host's
     * default context, as the host's own first use of OpenSSL does; the flag that forbids it would forbid it to the
     * host too, for good. An OpenSSL of our own has no use for it. */
    (void)OPENSSL_init_ssl(BW_OPENSSL_INIT, NULL);
}

bw_result bw_tls_new(const bw_region *home, const char *trust_domain, OSSL_LIB_CTX *library, struct bw_tls **ret_tls)
{
    BW_CHECK(strlen(trust_domain) <= BW_TRUST_DOMAIN_MAX, BW_CONFIG_INVALID, "the trust domain is too long");
    BW_AUTO(tls) tls = calloc(1, sizeof *tls);
    BW_CHECK(tls != NULL, BW_NO_MEMORY, "TLS");
    tls->home = *home;
    memcpy(tls->trust_domain, trust_domain, strlen(trust_domain) + 1);
    tls->library_is_ours = library == NULL;
    tls->library    = library ? library : OSSL_LIB_CTX_new();
    tls->socket_bio = make_socket_bio();
    BW_CHECK(tls->library != NULL && tls->socket_bio != NULL, BW_NO_MEMORY, "TLS");

    *ret_tls = bw_take(&tls);
    return bw_success();
}

void bw_tls_free(struct bw_tls *tls)
{
    if (tls == NULL)
        return;
    bw_tls_forget(tls);
    BIO_meth_free(tls->socket_bio);
    if (tls->library_is_ours)
        OSSL_LIB_CTX_free(tls->library);
    free(tls);
}

/* ---- channels ---- */

static bool is_address(const char *host)
{
    struct in6_addr address; /* roomy enough for an IPv4 one */

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool set_up(struct bw_channel *channel, const char *host)
{
    const struct bw_tls *tls = channel->tls;

    channel->ssl = SSL_new(tls->context);
    BIO *bio = channel->ssl ? BIO_new_ex(tls->library, tls->socket_bio) : NULL;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, channel);
    BIO_set_init(bio, 1);
    SSL_set_bio(channel->ssl, bio, bio);
    SSL_set_app_data(channel->ssl, channel);
    SSL_set_connect_state(channel->ssl);
    if (!is_address(host) && SSL_set_tlsext_host_name(channel->ssl, host) != 1) /* RFC 6066 3: names only */
        return false;
    return tls->ticket == NULL || SSL_set_session(channel->ssl, tls->ticket) == 1;
}

bw_result bw_channel_new(struct bw_tls *tls, int socket, const char *host, struct bw_channel **ret_channel)
{
    BW_AUTO(channel) channel = calloc(1, sizeof *channel);

    BW_CHECK(channel != NULL, BW_NO_MEMORY, "TLS channel");
    channel->tls    = tls;
    channel->socket = socket;
    BW_CHECK(set_up(channel, host), BW_NO_MEMORY, "TLS channel");

    *ret_channel = bw_take(&channel);
    return bw_success();
}

void bw_channel_free(struct bw_channel *channel)
{
    if (channel == NULL)
        return;
    /* As if both had said goodbye: otherwise OpenSSL takes the session for broken, and its ticket with it. */
    if (channel->ssl != NULL)
        SSL_set_shutdown(channel->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(channel->ssl);
    free(channel);
}

/* What an SSL_ call that did not succeed means: wait for the socket, or broken for good. */
static bw_result unfinished(struct bw_channel *channel, enum bw_wait *ret_wait)
{
    if (channel->wait == BW_WAIT_NOTHING)
        return judge(channel);
    *ret_wait = channel->wait;
    channel->drained = false;
    return bw_success();
}

bw_result bw_channel_handshake(struct bw_channel *channel, enum bw_wait *ret_wait)
{
    channel->wait = BW_WAIT_NOTHING;
    if (SSL_do_handshake(channel->ssl) != 1)
        return unfinished(channel, ret_wait);
    BW_TRY(check_server(channel));
    BW_TRY(check_protocol(channel));
    *ret_wait = BW_WAIT_NOTHING;
    return bw_success();
}

bw_result bw_channel_read(struct bw_channel *channel, uint8_t *to, size_t room, size_t *ret_len, enum bw_wait *ret_wait)
{
    *ret_len = 0;
    channel->wait = BW_WAIT_NOTHING;
    if (SSL_read_ex(channel->ssl, to, room, ret_len) != 1)
        return unfinished(channel, ret_wait);
    *ret_wait = BW_WAIT_NOTHING;
    return bw_success();
}

bw_result bw_channel_write(struct bw_channel *channel, bw_bytes bytes, size_t *ret_len, enum bw_wait *ret_wait)
{
    *ret_len = 0;
    channel->wait = BW_WAIT_NOTHING;
    if (SSL_write_ex(channel->ssl, bytes.data, bytes.len, ret_len) != 1)
        return unfinished(channel, ret_wait);
    *ret_wait = BW_WAIT_NOTHING;
    return bw_success();
}
