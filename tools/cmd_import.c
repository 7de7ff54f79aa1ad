/* bailiwick import, key import-parameters, key import-material: the customer's own key material. "import" does the
 * customer's half here, with OpenSSL's library; the other two carry files to and from a machine that has OpenSSL alone. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/stat.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "cmd_common.h"
#include "file.h"

enum { MATERIAL_MAX = 64 };

typedef Bailiwick__V1__GetImportParametersReply parameters;
typedef Bailiwick__V1__ImportKeyMaterialReply   imported;

static bw_result ask_parameters(struct bw_cli *cli, const char *key, char **ret_name, const parameters **ret_parameters)
{
    Bailiwick__V1__GetImportParametersRequest request = BAILIWICK__V1__GET_IMPORT_PARAMETERS_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(bw_cmd_key_name(cli, key, &request.name));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetImportParameters), &request.base, &reply));
    *ret_name       = request.name;
    *ret_parameters = (const void *)reply;
    return bw_success();
}

static EVP_PKEY *public_key(ProtobufCBinaryData spki)
{
    const unsigned char *der = spki.data;
    return d2i_PUBKEY(NULL, &der, (long)spki.len);
}

/* ---- what the region attests (PROTOCOL.md, "Import") ---- */

/* The statement as it must be, from what the caller knows by itself. */
static const char *expected_statement(struct bw_cli *cli, const char *name, const parameters *p)
{
    char hex[2 * 32 + 1];
    uint8_t digest[32];
    struct bw_key_name key;

    if (!bw_ok(bw_key_name_parse(bw_bytes_text(name), &key)) || EVP_Digest(p->wrapping_key.data, p->wrapping_key.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    bw_hex(bw_bytes_of(digest, sizeof digest), hex);
    return bw_arena_text(&cli->arena, "bailiwick import parameters 1\nregion %s\ntenant %s\nkey %s\nexpires %lld\nwrapping-key sha256:%s\n",
                         key.region.text, key.tenant.text, name, (long long)(p->expires_us / 1000000), hex);
}

static bool signature_holds(const parameters *p)
{
    EVP_PKEY   *key     = public_key(p->attestation_key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    bool holds = key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestVerify(context, p->attestation.data, p->attestation.len, (const unsigned char *)p->statement, strlen(p->statement)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return holds;
}

static bw_result check_pinned(struct bw_cli *cli, const char *path, const parameters *p)
{
    BW_AUTO(secret) content = NULL;

    BW_TRY(bw_file_load(cli, path, 4096, &content));
    BIO      *bio    = BIO_new_mem_buf(bw_secret_reveal(content), (int)bw_secret_len(content));
    EVP_PKEY *pinned = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL, *told = public_key(p->attestation_key);
    bool same = pinned != NULL && told != NULL && EVP_PKEY_eq(pinned, told) == 1;
    BIO_free(bio);
    EVP_PKEY_free(pinned);
    EVP_PKEY_free(told);
    bw_cli_about(cli, "%s", path);
    BW_CHECK(same, BW_CREDENTIAL_INVALID, "is not the key that attests");
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result check_attestation(struct bw_cli *cli, const char *name, const parameters *p)
{
    const char *pinned   = bw_args_text(&cli->args, "attestation-key");
    const char *expected = expected_statement(cli, name, p);

    BW_CHECK(expected != NULL && strcmp(expected, p->statement) == 0, BW_PROTOCOL_BROKEN, "the region attests something else than it handed out");
    BW_CHECK(signature_holds(p), BW_PROTOCOL_BROKEN, "the attestation's signature does not verify");
    return pinned ? check_pinned(cli, pinned, p) : bw_success();
}

#define PINNED_OPTION { "attestation-key", BW_OPTION_TEXT, "FILE", "PEM: the region's attestation key, as known from elsewhere" }

/* ---- key import-parameters ---- */

static bw_result write_into(struct bw_cli *cli, const char *dir, const char *name, bw_bytes content)
{
    const char *path = bw_arena_text(&cli->arena, "%s/%s", dir, name);

    BW_CHECK(path != NULL, BW_NO_MEMORY, "path");
    return bw_file_create(cli, path, 0600, content);
}

static bw_result write_public_key(struct bw_cli *cli, const char *dir, const char *name, ProtobufCBinaryData spki)
{
    EVP_PKEY *key = public_key(spki);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;

    bw_result result = bw_fail(BW_PROTOCOL_BROKEN, "a public key in the reply cannot be read");
    if (key != NULL && bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1) {
        long len = BIO_get_mem_data(bio, &pem);
        result = write_into(cli, dir, name, bw_bytes_of(pem, (size_t)len));
    }
    BIO_free(bio);
    EVP_PKEY_free(key);
    return result;
}

const struct bw_option bw_cmd_key_import_parameters_options[] = { PINNED_OPTION, { 0 } };

bw_result bw_cmd_key_import_parameters(struct bw_cli *cli)
{
    const char *dir = cli->args.operands[1];
    const parameters *p;
    char *name;

    BW_TRY(ask_parameters(cli, cli->args.operands[0], &name, &p));
    BW_TRY(check_attestation(cli, name, p));
    bw_cli_about(cli, "%s", dir);
    BW_CHECK(mkdir(dir, 0700) == 0 || errno == EEXIST, BW_BAD_ARGUMENT, "cannot be made");
    BW_TRY(write_public_key(cli, dir, "wrapping-key.pem", p->wrapping_key));
    BW_TRY(write_public_key(cli, dir, "attestation-key.pem", p->attestation_key));
    BW_TRY(write_into(cli, dir, "import-token", bw_wire_bytes(p->import_token)));
    BW_TRY(write_into(cli, dir, "statement", bw_bytes_text(p->statement)));
    return write_into(cli, dir, "attestation", bw_wire_bytes(p->attestation));
}

/* ---- key import-material ---- */

static bw_result send_material(struct bw_cli *cli, char *name, bw_bytes token, bw_bytes wrapped, unsigned aes_bits, const imported **ret_reply)
{
    Bailiwick__V1__ImportKeyMaterialRequest request = BAILIWICK__V1__IMPORT_KEY_MATERIAL_REQUEST__INIT;
    Bailiwick__V1__Mechanism mechanism = BAILIWICK__V1__MECHANISM__INIT;
    ProtobufCMessage *reply;

    mechanism.type = aes_bits ? BAILIWICK__V1__MECHANISM_TYPE__RSA_AES_KEY_WRAP : BAILIWICK__V1__MECHANISM_TYPE__RSA_PKCS_OAEP;
    mechanism.hash = mechanism.mgf = BAILIWICK__V1__HASH__SHA1;
    mechanism.aes_bits   = aes_bits;
    request.name         = name;
    request.import_token = bw_wire_data(token);
    request.mechanism    = &mechanism;
    request.wrapped      = bw_wire_data(wrapped);
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(ImportKeyMaterial), &request.base, &reply));
    *ret_reply = (const void *)reply;
    return bw_cmd_show(cli, reply);
}

const struct bw_option bw_cmd_key_import_material_options[] = {
    { "token",    BW_OPTION_NEEDED, "FILE", "the import token" },
    { "aes-wrap", BW_OPTION_FLAG,   NULL,   "FILE is an AES-256 key by RSA-OAEP, followed by the material by AES-KWP under it" },
    { 0 }
};

bw_result bw_cmd_key_import_material(struct bw_cli *cli)
{
    BW_AUTO(secret) token = NULL;
    BW_AUTO(secret) wrapped = NULL;
    const imported *reply;
    char *name;

    BW_TRY(bw_file_load(cli, bw_args_text(&cli->args, "token"), BW_IMPORT_TOKEN_LEN, &token));
    BW_TRY(bw_file_load(cli, cli->args.operands[1], BW_WRAPPED_MAX, &wrapped));
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &name));
    return send_material(cli, name, bw_bytes_of(bw_secret_reveal(token), bw_secret_len(token)),
                         bw_bytes_of(bw_secret_reveal(wrapped), bw_secret_len(wrapped)), bw_args_flag(&cli->args, "aes-wrap") ? 256 : 0, &reply);
}

/* ---- import ---- */

/* RSA-OAEP with SHA-1, which is what HSMs unwrap inside; OAEP does not need the hash to resist collisions. */
static bw_result wrap(struct bw_cli *cli, ProtobufCBinaryData wrapping_key, struct bw_secret *material, bw_bytes *ret_wrapped)
{
    EVP_PKEY     *key     = public_key(wrapping_key);
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    uint8_t      *wrapped = bw_arena_alloc(&cli->arena, BW_WRAPPED_MAX);
    size_t        len     = BW_WRAPPED_MAX;

    bool done = context != NULL && wrapped != NULL && EVP_PKEY_encrypt_init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_encrypt(context, wrapped, &len, bw_secret_reveal(material), bw_secret_len(material)) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    BW_CHECK(done, BW_PROTOCOL_BROKEN, "the wrapping key in the reply does not wrap");
    *ret_wrapped = bw_bytes_of(wrapped, len);
    return bw_success();
}

static bool check_of_aes(struct bw_secret *material, uint8_t check[static 16])
{
    static const uint8_t zeros[16];
    size_t bits = 8 * bw_secret_len(material);
    const EVP_CIPHER *cipher = bits == 128 ? EVP_aes_128_ecb() : bits == 192 ? EVP_aes_192_ecb() : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len;

    bool done = context != NULL && EVP_EncryptInit_ex(context, cipher, NULL, bw_secret_reveal(material), NULL) == 1 &&
                EVP_CIPHER_CTX_set_padding(context, 0) == 1 && EVP_EncryptUpdate(context, check, &len, zeros, sizeof zeros) == 1;
    EVP_CIPHER_CTX_free(context);
    return done;
}

static bool check_of_hmac(struct bw_secret *material, uint8_t check[static 32])
{
    return HMAC(EVP_sha256(), bw_secret_reveal(material), (int)bw_secret_len(material), (const uint8_t *)"", 0, check, NULL) != NULL;
}

/* Whether what the region has is what the file has. */
static bw_result compare(struct bw_secret *material, const imported *reply)
{
    uint8_t check[32];
    bool is_hmac = reply->key != NULL && reply->key->spec >= BAILIWICK__V1__KEY_SPEC__HMAC_256;

    bool done = is_hmac ? check_of_hmac(material, check) : check_of_aes(material, check);
    BW_CHECK(done && reply->check.len == 3 && memcmp(reply->check.data, check, 3) == 0, BW_PROTOCOL_BROKEN, "the region's check value is not the material's");
    return bw_success();
}

const struct bw_option bw_cmd_import_options[] = { PINNED_OPTION, { 0 } };

bw_result bw_cmd_import(struct bw_cli *cli)
{
    BW_AUTO(secret) material = NULL;
    const parameters *p;
    const imported *reply;
    bw_bytes wrapped;
    char *name;

    BW_TRY(bw_file_load(cli, cli->args.operands[1], MATERIAL_MAX, &material));
    BW_TRY(ask_parameters(cli, cli->args.operands[0], &name, &p));
    BW_TRY(check_attestation(cli, name, p));
    BW_TRY(wrap(cli, p->wrapping_key, material, &wrapped));
    BW_TRY(send_material(cli, name, bw_wire_bytes(p->import_token), wrapped, 0, &reply));
    return compare(material, reply);
}
