/* What only the region can tell: whether it can be reached, which region it is, what it thinks of us. */
#include <errno.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/region.pb-c.h"
#include "bailiwick/v1/tenants.pb-c.h"
#include "doctor.h"
#include "endpoint.h"
#include "moment.h"

enum {
    CONNECT_MS   = 3000,
    CLOCK_OFF_US = 5 * 1000000   /* callers' and region's clocks; certificates and logs are read across both */
};

/* ---- one endpoint ---- */

/* -1: none of the addresses can be reached; errno says why the last could not */
static int connect_to(const struct addrinfo *address)
{
    int error = EHOSTUNREACH, socket;

    for (; address != NULL; address = address->ai_next) {
        if (!bw_ok(bw_endpoint_connect(address, CONNECT_MS, &socket)))
            continue;
        struct pollfd waiting = { .fd = socket, .events = POLLOUT };
        socklen_t     len     = sizeof error;
        if (poll(&waiting, 1, CONNECT_MS) != 1)
            error = ETIMEDOUT;
        else if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
            return socket;
        (void)close(socket);
    }
    errno = error;
    return -1;
}

/* Shows no certificate of ours: in TLS 1.3 the server has named itself before it asks for one. */
static SSL *shake_hands(const struct bw_doctor *doctor, SSL_CTX *context, int socket)
{
    static const unsigned char h2[] = "\x02h2";
    struct timeval patience = { .tv_sec = CONNECT_MS / 1000 };
    SSL *ssl = NULL;

    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set_alpn_protos(context, h2, sizeof h2 - 1) == 0 &&
        SSL_CTX_load_verify_file(context, doctor->slot->ca_file) == 1)
        ssl = SSL_new(context);
    bool blocking = setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 && BIO_socket_nbio(socket, 0) == 1;
    if (ssl != NULL && blocking && SSL_set_fd(ssl, socket) == 1 && SSL_connect(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

/* which region it is: said even when its certificate is not trusted, as that is the likelier slip */
static bool judge_server(struct bw_doctor *doctor, const char *endpoint, const SSL *ssl)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    long  verified    = SSL_get_verify_result(ssl);
    const char *home  = doctor->slot->region.text;
    struct bw_identity identity;
    char id[BW_SPIFFE_MAX + 1];

    if (certificate == NULL || !bw_doctor_identity(certificate, id, &identity) || identity.role != BW_ROLE_NODE) {
        bw_doctor_found(doctor, BW_WRONG, "is it a bailiwickd? name one in 'endpoints'", "%s names itself as no node of ours", endpoint);
        return false;
    }
    if (strcmp(identity.region.text, home) != 0) {
        bw_doctor_found(doctor, BW_WRONG, "name endpoints of the home region only; the module would send nothing here",
                        "%s is region %s, not the home region %s", endpoint, identity.region.text, home);
        return false;
    }
    if (verified != X509_V_OK || strcmp(identity.trust_domain, doctor->slot->trust_domain) != 0) {
        bw_doctor_found(doctor, BW_WRONG, "'ca' and 'trust_domain' must be those of the region", "%s (%s): %s", endpoint, id,
                        verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "another trust domain");
        return false;
    }
    return bw_doctor_validity(doctor, certificate, endpoint);
}

static bool check_tls(struct bw_doctor *doctor, const char *endpoint, int socket)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL     *ssl     = context ? shake_hands(doctor, context, socket) : NULL;
    bool     fine    = ssl != NULL && judge_server(doctor, endpoint, ssl);

    if (ssl == NULL)
        bw_doctor_found(doctor, BW_WRONG, "it must speak TLS 1.3 itself; a proxy may pass TCP on, but not end TLS",
                        "%s: the TLS handshake failed", endpoint);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return fine;
}

static bool check_endpoint(struct bw_doctor *doctor, const char *text)
{
    struct bw_endpoint endpoint;
    struct addrinfo   *addresses;

    if (!bw_ok(bw_endpoint_parse(text, &endpoint)) || !bw_ok(bw_endpoint_resolve(&endpoint, &addresses))) {
        bw_doctor_found(doctor, BW_WRONG, "correct 'endpoints', or the name server", "%s: the name cannot be resolved", text);
        return false;
    }
    int64_t started = bw_moment_now();
    int     socket  = connect_to(addresses);
    int     why     = errno;
    int64_t took    = bw_moment_now() - started;
    freeaddrinfo(addresses);
    if (socket < 0) {
        bw_doctor_found(doctor, BW_WRONG, "check that bailiwickd runs there and that no firewall is between", "%s: %s", text, strerror(why));
        return false;
    }
    bool fine = check_tls(doctor, text, socket);
    (void)close(socket);
    if (fine)
        bw_doctor_found(doctor, BW_FINE, NULL, "%s is region %s, %lld.%lld ms away", text, doctor->slot->region.text,
                        (long long)(took / 1000), (long long)(took / 100 % 10));
    return fine;
}

bool bw_check_endpoints(struct bw_doctor *doctor)
{
    bool one_is_fine = false;

    for (size_t i = 0; i < BW_ENDPOINTS_MAX && doctor->slot->endpoints[i] != NULL; i++) {
        doctor->answers[i] = check_endpoint(doctor, doctor->slot->endpoints[i]);
        one_is_fine |= doctor->answers[i];
    }
    return one_is_fine;
}

/* ---- calls ---- */

static bool unlock(struct bw_doctor *doctor, struct bw_client *client)
{
    if (doctor->passphrase == NULL)
        return true;
    return bw_ok(bw_client_unlock(client, bw_bytes_of(bw_secret_reveal(doctor->passphrase), bw_secret_len(doctor->passphrase))));
}

/* NULL: it failed, which has been told */
static const ProtobufCMessage *call(struct bw_doctor *doctor, struct bw_client *client, enum bw_method_nr method, const ProtobufCMessage *request)
{
    struct bw_refusal refusal = { 0 };
    ProtobufCMessage *reply;
    bw_result result = bw_call(client, bw_method_by_number(method), request, &doctor->cli->arena, &reply, &refusal);

    if (bw_ok(result))
        return reply;
    bw_doctor_found(doctor, BW_WRONG, bw_cli_what_to_do(result.code), "%s: %s", bw_code_row(result.code)->name,
                    refusal.message[0] ? refusal.message : result.what);
    return NULL;
}

static void judge_clock(struct bw_doctor *doctor, int64_t asked_us, int64_t answered_us, int64_t told_us)
{
    int64_t off = told_us - (asked_us + answered_us) / 2;
    int64_t by  = off < 0 ? -off : off;

    if (by > CLOCK_OFF_US)
        bw_doctor_found(doctor, BW_NOTE, "synchronise this machine's clock", "the region's clock is %lld s %s", (long long)(by / 1000000),
                        off < 0 ? "behind" : "ahead");
}

/* Without its HSM, or room for its audit log, a node answers this and little else. Nothing is recorded for it. */
static void judge_health(struct bw_doctor *doctor, const Bailiwick__V1__DescribeReply *reply)
{
    enum bw_code why = bw_code_by_name(reply->not_serving);

    if (reply->not_serving[0] != '\0')
        bw_doctor_found(doctor, BW_WRONG, bw_cli_what_to_do(why), "%s, node %s, does not serve: %s: %s", reply->region, reply->node,
                        reply->not_serving, bw_code_row(why)->told);
}

static bool describe_node(struct bw_doctor *doctor, struct bw_client *client)
{
    Bailiwick__V1__DescribeRequest request = BAILIWICK__V1__DESCRIBE_REQUEST__INIT;
    int64_t asked = bw_moment_now();
    const Bailiwick__V1__DescribeReply *reply = unlock(doctor, client) ? (const void *)call(doctor, client, BW_METHOD_NR(Describe), &request.base) : NULL;

    if (reply == NULL)
        return false;
    judge_clock(doctor, asked, bw_moment_now(), reply->time_us);
    bw_doctor_found(doctor, BW_FINE, NULL, "%s, node %s, bailiwickd %s, %s; it takes us for %s", reply->region, reply->node, reply->version,
                    reply->hsm, reply->caller);
    judge_health(doctor, reply);
    return true;
}

/* Each node by itself: one that ails makes some of an application's calls fail and others not. */
static bool describe_endpoint(struct bw_doctor *doctor, const char *endpoint)
{
    struct bw_client_options options = bw_conf_client_options(doctor->slot);
    BW_AUTO(client) client = NULL;

    memset(options.endpoints, 0, sizeof options.endpoints);
    options.endpoints[0] = endpoint;
    return bw_ok(bw_client_new(&options, &client)) && describe_node(doctor, client);
}

bool bw_check_describe(struct bw_doctor *doctor)
{
    bool one_is_fine = false;

    for (size_t i = 0; i < BW_ENDPOINTS_MAX; i++)
        one_is_fine |= doctor->answers[i] && describe_endpoint(doctor, doctor->slot->endpoints[i]);
    return one_is_fine && unlock(doctor, doctor->client);
}

/* Callers in other regions are told of the keys that are open to them, and of nothing else. */
static bool is_abroad(const struct bw_doctor *doctor)
{
    struct bw_identity identity;
    char id[BW_SPIFFE_MAX + 1];

    return bw_doctor_identity(doctor->certificate, id, &identity) && !bw_region_equal(&identity.region, &doctor->slot->region);
}

bool bw_check_tenant(struct bw_doctor *doctor)
{
    Bailiwick__V1__GetTenantRequest request = BAILIWICK__V1__GET_TENANT_REQUEST__INIT;

    if (is_abroad(doctor))
        return true;
    const Bailiwick__V1__GetTenantReply *reply = (const void *)call(doctor, doctor->client, BW_METHOD_NR(GetTenant), &request.base);
    if (reply == NULL)
        return false;
    if (reply->tenant == NULL || reply->tenant->state != BAILIWICK__V1__TENANT_STATE__ACTIVE) {
        bw_doctor_found(doctor, BW_WRONG, bw_cli_what_to_do(BW_TENANT_SEALED), "%s is sealed: none of its keys works", doctor->slot->tenant.text);
        return false;
    }
    if (!reply->tenant->token_open) {
        bw_doctor_found(doctor, BW_WRONG, "the region's operator finds in the daemon's log why; once that is mended, 'bailiwick tenant activate' opens it",
                        "%s is active, but its token in the HSM is not open: none of its keys works", doctor->slot->tenant.text);
        return false;
    }
    bw_doctor_found(doctor, BW_FINE, NULL, "%s is active", doctor->slot->tenant.text);
    return true;
}

bool bw_check_keys(struct bw_doctor *doctor)
{
    Bailiwick__V1__ListKeysRequest request = BAILIWICK__V1__LIST_KEYS_REQUEST__INIT;

    request.usable = 1;
    const Bailiwick__V1__ListKeysReply *reply = (const void *)call(doctor, doctor->client, BW_METHOD_NR(ListKeys), &request.base);
    if (reply == NULL)
        return false;
    if (reply->n_keys == 0)
        bw_doctor_found(doctor, BW_NOTE, "a custodian makes one: 'bailiwick key create'; or its policy keeps it from this caller",
                        "there is no key that this caller may use");
    else
        bw_doctor_found(doctor, BW_FINE, NULL, "%zu%s that this caller may use", reply->n_keys, reply->next_token[0] ? " or more" : "");
    return true;
}
