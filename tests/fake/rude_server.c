#include "rude_server.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "rude_server: %s failed\n", what);
    abort();
}

/* ---- what it says ---- */

/* SETTINGS_INITIAL_WINDOW_SIZE of 2 MiB, WINDOW_UPDATE of 64 MiB: RFC 9113 6.5, 6.9. The client may send all it has. */
static const unsigned char settings[] = { 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0x20, 0, 0, /**/ 0, 0, 4, 8, 0, 0, 0, 0, 0, 4, 0, 0, 0 };
static const unsigned char cancel[]   = { 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8 };        /* RST_STREAM of stream 1: 6.4, 7 */

/* A HEADERS frame for stream 1: ":status: 200" (HPACK index 8), "content-type: application/grpc" as a literal */
static const unsigned char headers[] = "\0\0\x14\x01\x04\0\0\0\x01" "\x88\x0f\x10\x10" "application/grpc";
static const unsigned char compressed[] = "\0\0\x06\0\0\0\0\0\x01" "\x01\0\0\0\x01" "x";
static const unsigned char endless[]    = "\0\0\x06\0\0\0\0\0\x01" "\0\xff\xff\xff\xff" "x";
static const unsigned char nothing[]    = "\0\0\0\0\x01\0\0\0\x01"; /* DATA, END_STREAM, empty */

static void say(SSL *ssl, const void *bytes, size_t len)
{
    (void)!SSL_write(ssl, bytes, (int)len);
}

/* Until the client's first DATA frame has certainly come: its preface and HEADERS take less than 512 bytes, the tests' requests more. */
static void hear_request(struct rude_server *server, SSL *ssl)
{
    char bytes[4096];

    for (unsigned heard = 0; heard < 512;) {
        int n = SSL_read(ssl, bytes, sizeof bytes);
        if (n <= 0)
            return;
        heard += (unsigned)n;
        server->bytes += (unsigned)n;
    }
}

static void hear_out(struct rude_server *server, SSL *ssl)
{
    char bytes[4096];

    for (int n; (n = SSL_read(ssl, bytes, sizeof bytes)) > 0;) {
        server->bytes += (unsigned)n;
        server->cancelled += memmem(bytes, (size_t)n, cancel, sizeof cancel) != NULL;
    }
}

static void answer(struct rude_server *server, SSL *ssl, const unsigned char *data, size_t len)
{
    say(ssl, settings, sizeof settings);
    hear_request(server, ssl);
    say(ssl, headers, sizeof headers - 1);
    say(ssl, data, len);
    hear_out(server, ssl);
}

static void wait_for_end(struct rude_server *server)
{
    while (!server->ending)
        (void)poll(NULL, 0, 5);
}

static void converse(struct rude_server *server, SSL *ssl)
{
    switch (server->rudeness) {
    case RUDE_NO_HTTP2:
        say(ssl, "220 mail.example.org ESMTP at your service\r\n", 44);
        hear_out(server, ssl);
        break;
    case RUDE_LEAVES:
        say(ssl, settings, sizeof settings);
        hear_request(server, ssl);
        (void)poll(NULL, 0, 20); /* large requests have filled the client's socket by now */
        break;
    case RUDE_SILENT:
        say(ssl, settings, sizeof settings);
        wait_for_end(server);
        break;
    case RUDE_DEAF:
        say(ssl, settings, sizeof settings);
        hear_out(server, ssl);
        break;
    case RUDE_COMPRESSES:
        answer(server, ssl, compressed, sizeof compressed - 1);
        break;
    case RUDE_ENDLESS:
        answer(server, ssl, endless, sizeof endless - 1);
        break;
    case RUDE_NO_ANSWER:
        answer(server, ssl, nothing, sizeof nothing - 1);
        break;
    default:
        hear_out(server, ssl);
    }
}

/* ---- TLS ---- */

static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *data)
{
    static const unsigned char h2[] = { 2, 'h', '2' };

    (void)ssl;
    if (*(const enum rudeness *)data == RUDE_OTHER_PROTOCOL)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, h2, sizeof h2, in, in_len) == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static SSL_CTX *new_context(struct rude_server *server)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    must(context != NULL && SSL_CTX_use_certificate_chain_file(context, server->certificate_file) == 1 &&
         SSL_CTX_use_PrivateKey_file(context, server->key_file, SSL_FILETYPE_PEM) == 1 &&
         SSL_CTX_load_verify_locations(context, server->ca_file, NULL) == 1 && SSL_CTX_set_session_id_context(context, (const unsigned char *)"rude", 4) == 1 &&
         SSL_CTX_set_max_proto_version(context, server->rudeness == RUDE_OLD_TLS ? TLS1_2_VERSION : TLS1_3_VERSION) == 1, "SSL_CTX");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_alpn_select_cb(context, choose, &server->rudeness);
    return context;
}

static void with_tls(struct rude_server *server, SSL_CTX *context, int fd)
{
    SSL *ssl = SSL_new(context);

    must(ssl != NULL && SSL_set_fd(ssl, fd) == 1, "SSL_new");
    if (SSL_accept(ssl) == 1) {
        server->resumed += (unsigned)SSL_session_reused(ssl);
        converse(server, ssl);
    }
    SSL_free(ssl);
}

/* ---- TCP ---- */

static void reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    (void)close(fd);
}

static void receive_one(struct rude_server *server, SSL_CTX *context, int fd)
{
    struct timeval patience = { .tv_sec = 2 };

    server->connections++;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (server->rudeness == RUDE_NO_TLS)
        (void)!send(fd, "SSH-2.0-OpenSSH_9.2\r\n", 21, MSG_NOSIGNAL);
    else if (server->rudeness != RUDE_HANGS_UP)
        with_tls(server, context, fd);
    if (server->rudeness == RUDE_NO_TLS)
        (void)close(fd);
    else
        reset(fd);
}

static void *run(void *data)
{
    struct rude_server *server = data;
    SSL_CTX *context = new_context(server);
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL); /* its own SIGPIPE must not be taken for the client's */
    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0;)
        receive_one(server, context, fd);
    SSL_CTX_free(context);
    return NULL;
}

void rude_server_start(struct rude_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int little = 4096;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(server->listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof little); /* so that a client's socket fills up */
    must(server->listener >= 0 && bind(server->listener, (struct sockaddr *)&address, len) == 0 && listen(server->listener, 16) == 0 &&
         getsockname(server->listener, (struct sockaddr *)&address, &len) == 0, "listen");
    server->port = ntohs(address.sin_port);
    must(pthread_create(&server->thread, NULL, run, server) == 0, "pthread_create");
}

void rude_server_stop(struct rude_server *server)
{
    server->ending = true;
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
}
