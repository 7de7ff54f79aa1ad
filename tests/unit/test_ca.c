/* The development CA: what it issues verifies, says who it is for, and is refused once it is revoked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ca.h"

struct world { struct bw_cli cli; struct bw_ca ca; char dir[32]; };

static char *in_dir(struct world *w, const char *name, const char *suffix)
{
    char *path = bw_arena_text(&w->cli.arena, "%s/%s%s", w->dir, name, suffix);
    assert_non_null(path);
    return path;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    strcpy(w->dir, "/tmp/bw-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(bw_ok(bw_ca_create(&w->cli, w->dir, "dev.example")));
    assert_true(bw_ok(bw_ca_open(&w->cli, w->dir, &w->ca)));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[64];

    (void)snprintf(command, sizeof command, "rm -r '%s'", w->dir);
    assert_int_equal(system(command), 0);
    bw_ca_clear(&w->ca);
    bw_cli_clear(&w->cli);
    free(w);
    return 0;
}

static X509 *load(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    assert_int_equal(fclose(file), 0);
    assert_non_null(certificate);
    return certificate;
}

static struct bw_ca_request request_for(enum bw_role role, const char *name)
{
    struct bw_ca_request request = { .identity.role = role };

    assert_true(bw_ok(bw_region_parse(bw_bytes_text("eu-central"), &request.identity.region)));
    assert_true(bw_ok(bw_principal_parse(bw_bytes_text(name), &request.identity.principal)));
    if (role != BW_ROLE_NODE && role != BW_ROLE_OPERATOR)
        assert_true(bw_ok(bw_tenant_parse(bw_bytes_text("acme"), &request.identity.tenant)));
    return request;
}

/* X509_V_OK, or why not, as TLS would see it on 1 day from now */
static int verify(struct world *w, X509 *leaf, int purpose)
{
    X509_STORE     *store   = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_LOOKUP    *lookup  = X509_STORE_add_lookup(store, X509_LOOKUP_file());

    assert_int_equal(X509_load_cert_crl_file(lookup, in_dir(w, "ca", ".pem"), X509_FILETYPE_PEM), 1);
    assert_int_equal(X509_load_cert_crl_file(lookup, in_dir(w, "crl", ".pem"), X509_FILETYPE_PEM), 1);
    assert_int_equal(X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_X509_STRICT), 1);
    assert_int_equal(X509_STORE_set_purpose(store, purpose), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, leaf, NULL), 1);
    int error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return error;
}

static const struct { const char *why; enum bw_role role; const char *stem; const char *uri; int purpose, not_purpose; } leaves[] = {
    { "a node",         BW_ROLE_NODE,      "eu-central.node.x",           "spiffe://dev.example/region/eu-central/node/x",
      X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT },
    { "an operator",    BW_ROLE_OPERATOR,  "eu-central.operator.x",       "spiffe://dev.example/region/eu-central/operator/x",
      X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER },
    { "an application", BW_ROLE_APP,       "eu-central.acme.app.x",       "spiffe://dev.example/region/eu-central/tenant/acme/app/x",
      X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER },
    { "a custodian",    BW_ROLE_CUSTODIAN, "eu-central.acme.custodian.x", "spiffe://dev.example/region/eu-central/tenant/acme/custodian/x",
      X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER },
};

static void assert_only_uri(X509 *certificate, const char *expected)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int uris = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uris++;
        assert_int_equal(ASN1_STRING_length(name->d.ia5), strlen(expected));
        assert_memory_equal(ASN1_STRING_get0_data(name->d.ia5), expected, strlen(expected));
    }
    assert_int_equal(uris, 1);
    GENERAL_NAMES_free(names);
}

static void leaves_verify_for_their_purpose_only(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        struct bw_ca_request request = request_for(leaves[i].role, "x");
        const char *stem;

        assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &request, &stem)));
        assert_string_equal(stem, leaves[i].stem);
        X509 *leaf = load(in_dir(w, stem, ".pem"));
        assert_only_uri(leaf, leaves[i].uri);
        if (verify(w, leaf, leaves[i].purpose) != X509_V_OK || verify(w, leaf, leaves[i].not_purpose) != X509_V_ERR_INVALID_PURPOSE)
            fail_msg("%s", leaves[i].why);
        X509_free(leaf);
    }
}

static void nodes_carry_the_names_that_clients_reach_them_by(void **state)
{
    struct world *w = *state;
    struct bw_ca_request request = request_for(BW_ROLE_NODE, "n1");
    const char *stem;

    request.dns[0]       = "kms.example";
    request.addresses[0] = "127.0.0.1";
    request.addresses[1] = "::1";
    assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &request, &stem)));
    X509 *leaf = load(in_dir(w, stem, ".pem"));
    assert_int_equal(X509_check_host(leaf, "kms.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "::1", 0), 1);
    assert_int_equal(X509_check_host(leaf, "other.example", 0, 0, NULL), 0);
    X509_free(leaf);

    request.addresses[1] = "not-an-address";
    assert_int_equal(bw_ca_issue(&w->cli, &w->ca, &request, &stem).code, BW_BAD_ARGUMENT);
}

static void keys_are_for_their_owner_alone_and_nothing_is_overwritten(void **state)
{
    struct world *w = *state;
    struct bw_ca_request request = request_for(BW_ROLE_APP, "x");
    struct stat st;
    const char *stem;

    assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &request, &stem)));
    assert_int_equal(stat(in_dir(w, stem, ".key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(in_dir(w, "ca", ".key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(bw_ca_issue(&w->cli, &w->ca, &request, &stem).code, BW_ALREADY_EXISTS);
    assert_int_equal(bw_ca_create(&w->cli, w->dir, "dev.example").code, BW_ALREADY_EXISTS);
}

static EVP_PKEY *open_key(const char *path, char *passphrase)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, passphrase);
    assert_int_equal(fclose(file), 0);
    return key;
}

static void a_passphrase_is_needed_where_one_was_given(void **state)
{
    struct world *w = *state;
    struct bw_ca_request request = request_for(BW_ROLE_APP, "x");
    const char *stem;

    assert_true(bw_ok(bw_secret_copy(bw_bytes_text("open sesame"), &request.passphrase)));
    assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &request, &stem)));
    EVP_PKEY *key = open_key(in_dir(w, stem, ".key"), "open sesame");
    assert_non_null(key);
    assert_null(open_key(in_dir(w, stem, ".key"), "open barley"));
    EVP_PKEY_free(key);
    bw_secret_free(request.passphrase);
}

static void the_revoked_are_refused_and_only_they(void **state)
{
    struct world *w = *state;
    struct bw_ca_request one = request_for(BW_ROLE_APP, "one"), two = request_for(BW_ROLE_APP, "two");
    const char *one_stem, *two_stem;

    assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &one, &one_stem)));
    assert_true(bw_ok(bw_ca_issue(&w->cli, &w->ca, &two, &two_stem)));
    X509 *first = load(in_dir(w, one_stem, ".pem")), *second = load(in_dir(w, two_stem, ".pem"));
    assert_int_equal(verify(w, first, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_true(bw_ok(bw_ca_revoke(&w->cli, &w->ca, in_dir(w, one_stem, ".pem"))));
    assert_int_equal(verify(w, first, X509_PURPOSE_SSL_CLIENT), X509_V_ERR_CERT_REVOKED);
    assert_int_equal(verify(w, second, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(bw_ca_revoke(&w->cli, &w->ca, in_dir(w, one_stem, ".pem")).code, BW_ALREADY_EXISTS);
    assert_int_equal(bw_ca_revoke(&w->cli, &w->ca, in_dir(w, "crl", ".pem")).code, BW_BAD_ARGUMENT);
    X509_free(first);
    X509_free(second);
}

static void trust_domains_are_checked(void **state)
{
    static const char *const bad[] = { "", "Dev.example", "a/b", "spiffe://x", "a b" };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(bw_ca_create(&w->cli, in_dir(w, "new", ""), bad[i]).code, BW_BAD_ARGUMENT);
    assert_string_equal(w->ca.trust_domain, "dev.example");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(leaves_verify_for_their_purpose_only),
        TEST(nodes_carry_the_names_that_clients_reach_them_by),
        TEST(keys_are_for_their_owner_alone_and_nothing_is_overwritten),
        TEST(a_passphrase_is_needed_where_one_was_given),
        TEST(the_revoked_are_refused_and_only_they),
        TEST(trust_domains_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
