/* Mutual TLS 1.3 for the C core. */
#include <openssl/conf.h>
#include <openssl/err.h>

#include "daemon.h"
#include "listen.h"
#include "transport.h"
#include "trust.h"

/* The C core sets a lowest version of its own, but leaves alone what "Protocol" switches off (SSL_OP_NO_TLSv1_2). As
 * system default it holds for every SSL_CTX of the process. */
bw_result bw_listener_prepare_tls(void)
{
    static const char text[] = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\nProtocol = -TLSv1.2\n";
    int done = OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    BIO  *bio  = BIO_new_mem_buf(text, -1);
    CONF *conf = NCONF_new(NULL);
    long  line;

    done = done == 1 && bio != NULL && conf != NULL && NCONF_load_bio(conf, bio, &line) > 0 && CONF_modules_load(conf, NULL, 0) > 0;
    NCONF_free(conf);
    BIO_free(bio);
    BW_CHECK(done, BW_INTERNAL, "OpenSSL did not take the lowest TLS version");
    return bw_success();
}

static void use_files(void *self, const char *ca, const char *certificate, const char *key)
{
    grpc_ssl_pem_key_cert_pair pair = { .private_key = key, .cert_chain = certificate };
    *(grpc_ssl_server_certificate_config **)self = grpc_ssl_server_certificate_config_create(ca, &pair, 1);
}

/* Asked at each handshake, on the C core's threads. Connections that stand go on with what they have. */
static grpc_ssl_certificate_config_reload_status fetch(void *self, grpc_ssl_server_certificate_config **ret_config)
{
    struct bw_listener *listener = self;

    if (!bw_trust_read(listener->daemon->trust, &listener->trust_seen, use_files, ret_config))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    return *ret_config ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
}

grpc_server_credentials *bw_credentials_new(struct bw_listener *listener)
{
    return grpc_ssl_server_credentials_create_with_options(grpc_ssl_server_credentials_create_options_using_config_fetcher(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch, listener));
}
