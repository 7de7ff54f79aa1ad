/* bailiwick import, key import-parameters, key import-material: the customer's own key material. "import" does the
 * customer's half here, with OpenSSL's library; the other two carry files to and from a machine that has OpenSSL alone. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "byok.h"
#include "cmd_common.h"
#include "credential.h"
#include "file.h"

enum { MATERIAL_MAX = 16 * 1024 };

typedef Bailiwick__V1__GetImportParametersReply parameters;
typedef Bailiwick__V1__ImportKeyMaterialReply   imported;

/* When a tenant asks for the first time its HSM makes the wrapping key, RSA-4096, which may take longer than a call; the region
 * goes on making it. */
static bw_result call_patiently(struct bw_cli *cli, ProtobufCMessage *request, ProtobufCMessage **ret_reply)
{
    enum { TRIES = 6 };
    bw_result result = bw_cli_call(cli, BW_METHOD_NR(GetImportParameters), request, ret_reply);

    for (int i = 1; result.code == BW_DEADLINE && i < TRIES; i++)
        result = bw_cli_call(cli, BW_METHOD_NR(GetImportParameters), request, ret_reply);
    return result;
}

static bw_result ask_parameters(struct bw_cli *cli, const char *key, char **ret_name, const parameters **ret_parameters)
{
    Bailiwick__V1__GetImportParametersRequest request = BAILIWICK__V1__GET_IMPORT_PARAMETERS_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(bw_cmd_key_name(cli, key, &request.name));
    BW_TRY(call_patiently(cli, &request.base, &reply));
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

/* " SHA1 SHA2-256". NULL: out of memory. */
static const char *hashes_of(struct bw_cli *cli, const parameters *p)
{
    const char *list = "";

    for (size_t i = 0; i < p->n_oaep_hashes && list != NULL; i++) {
        const struct bw_digest_row *row = bw_digest_row((enum bw_digest)p->oaep_hashes[i]);
        if (row != NULL)
            list = bw_arena_text(&cli->arena, "%s %s", list, row->name);
    }
    return list;
}

/* The statement as it must be, from what the caller knows by itself. */
static const char *expected_statement(struct bw_cli *cli, const char *name, const parameters *p)
{
    char hex[2 * 32 + 1];
    uint8_t digest[32];
    struct bw_key_name key;
    const char *hashes = hashes_of(cli, p);

    if (hashes == NULL || !bw_ok(bw_key_name_parse(bw_bytes_text(name), &key)) || EVP_Digest(p->wrapping_key.data, p->wrapping_key.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    bw_hex(bw_bytes_of(digest, sizeof digest), hex);
    return bw_arena_text(&cli->arena, "bailiwick import parameters 1\nregion %s\ntenant %s\nkey %s\nexpires %lld\nwrapping-key sha256:%s\noaep-hashes%s\n",
                         key.region.text, key.tenant.text, name, (long long)(p->expires_us / 1000000), hex, hashes);
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

/* What goes to the region. */
struct parcel {
    char          *name;
    bw_bytes       token, wrapped, public_key; /* public_key: of pairs */
    enum bw_digest hash;                       /* of OAEP */
    bool           aes_wrap;                   /* RSA_AES_KEY_WRAP with AES-256 */
};

static bw_result send(struct bw_cli *cli, const struct parcel *parcel, const imported **ret_reply)
{
    Bailiwick__V1__ImportKeyMaterialRequest request = BAILIWICK__V1__IMPORT_KEY_MATERIAL_REQUEST__INIT;
    Bailiwick__V1__Mechanism mechanism = BAILIWICK__V1__MECHANISM__INIT;
    ProtobufCMessage *reply;

    mechanism.type = parcel->aes_wrap ? BAILIWICK__V1__MECHANISM_TYPE__RSA_AES_KEY_WRAP : BAILIWICK__V1__MECHANISM_TYPE__RSA_PKCS_OAEP;
    mechanism.hash = mechanism.mgf = (Bailiwick__V1__Hash)parcel->hash;
    mechanism.aes_bits   = parcel->aes_wrap ? 256 : 0;
    request.name         = parcel->name;
    request.import_token = bw_wire_data(parcel->token);
    request.mechanism    = &mechanism;
    request.wrapped      = bw_wire_data(parcel->wrapped);
    request.public_key   = bw_wire_data(parcel->public_key);
    BW_TRY(bw_cmd_time(cli, "expires", &request.material_expires_us));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(ImportKeyMaterial), &request.base, &reply));
    *ret_reply = (const void *)reply;
    return bw_cmd_show(cli, reply);
}

/* PEM to the DER that travels. path NULL: none. */
static bw_result load_public_key(struct bw_cli *cli, const char *path, bw_bytes *ret_der)
{
    BW_AUTO(secret) pem = NULL;
    struct bw_buf spki = { 0 };

    if (path == NULL)
        return bw_success();
    BW_TRY(bw_file_load(cli, path, MATERIAL_MAX, &pem));
    BIO      *bio = BIO_new_mem_buf(bw_secret_reveal(pem), (int)bw_secret_len(pem));
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    bw_cli_about(cli, "%s", path);
    bw_result result = key ? bw_byok_public(key, &spki) : bw_fail(BW_BAD_ARGUMENT, "is no public key in PEM");
    *ret_der = bw_bytes_of(bw_ok(result) ? bw_arena_copy(&cli->arena, bw_buf_bytes(&spki)) : NULL, spki.len);
    bw_buf_clear(&spki);
    EVP_PKEY_free(key);
    BIO_free(bio);
    BW_TRY(result);
    BW_CHECK(ret_der->data != NULL, BW_NO_MEMORY, "public key");
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result hash_asked_for(struct bw_cli *cli, enum bw_digest *ret_hash)
{
    const char *name = bw_args_text(&cli->args, "hash");
    int value = BAILIWICK__V1__HASH__SHA1;

    if (name != NULL)
        BW_TRY(bw_cmd_enum(cli, "hash", name, &bailiwick__v1__hash__descriptor, &value));
    *ret_hash = (enum bw_digest)value;
    return bw_success();
}

#define EXPIRES_OPTION { "expires", BW_OPTION_TEXT, "TIME", "when the material is destroyed: 2030-01-01T00:00:00Z, +90d, or never" }

const struct bw_option bw_cmd_key_import_material_options[] = {
    { "token",      BW_OPTION_NEEDED, "FILE", "the import token" },
    { "aes-wrap",   BW_OPTION_FLAG,   NULL,   "FILE is an AES-256 key by RSA-OAEP, followed by the material by AES-KWP under it" },
    { "public-key", BW_OPTION_TEXT,   "FILE", "PEM: the public half, where the material is a private key; it comes with --aes-wrap" },
    { "hash",       BW_OPTION_TEXT,   "HASH", "of RSA-OAEP, one of those in the statement: sha1 (default), sha256 ..." },
    EXPIRES_OPTION,
    { 0 }
};

bw_result bw_cmd_key_import_material(struct bw_cli *cli)
{
    BW_AUTO(secret) token = NULL;
    BW_AUTO(secret) wrapped = NULL;
    struct parcel parcel = { .aes_wrap = bw_args_flag(&cli->args, "aes-wrap") };
    const imported *reply;

    BW_TRY(bw_file_load(cli, bw_args_text(&cli->args, "token"), BW_IMPORT_TOKEN_LEN, &token));
    BW_TRY(bw_file_load(cli, cli->args.operands[1], BW_WRAPPED_MAX, &wrapped));
    BW_TRY(load_public_key(cli, bw_args_text(&cli->args, "public-key"), &parcel.public_key));
    BW_TRY(hash_asked_for(cli, &parcel.hash));
    BW_TRY(bw_cmd_key_name(cli, cli->args.operands[0], &parcel.name));
    parcel.token   = bw_bytes_of(bw_secret_reveal(token), bw_secret_len(token));
    parcel.wrapped = bw_bytes_of(bw_secret_reveal(wrapped), bw_secret_len(wrapped));
    return send(cli, &parcel, &reply);
}

/* ---- import ---- */

/* What the file holds: raw bytes, or a private key in PEM. */
struct material {
    struct bw_secret *bytes;      /* as it is wrapped */
    struct bw_buf     public_key; /* SubjectPublicKeyInfo; empty: a secret key */
};

static void material_clear(struct material *material)
{
    bw_secret_free(material->bytes);
    bw_buf_clear(&material->public_key);
}

static bw_result open_private_key(struct bw_cli *cli, bw_bytes pem, struct material *ret)
{
    EVP_PKEY *key = NULL;

    bw_cli_about(cli, "%s", cli->args.operands[1]);
    BW_TRY(bw_credential_open_key(pem, NULL, NULL, &key));
    bw_result result = bw_byok_public(key, &ret->public_key);
    if (bw_ok(result))
        result = bw_byok_private(key, &ret->bytes);
    EVP_PKEY_free(key);
    BW_TRY(result);
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result load_material(struct bw_cli *cli, struct material *ret)
{
    static const char begin[] = "-----BEGIN ";
    BW_AUTO(secret) content = NULL;

    BW_TRY(bw_file_load(cli, cli->args.operands[1], MATERIAL_MAX, &content));
    bw_bytes bytes = bw_bytes_of(bw_secret_reveal(content), bw_secret_len(content));
    if (bytes.len > strlen(begin) && memcmp(bytes.data, begin, strlen(begin)) == 0)
        return open_private_key(cli, bytes, ret);
    ret->bytes = bw_take(&content);
    return bw_success();
}

/* The best of the hashes that the region's HSM takes. For OAEP SHA-1 is good enough: it does not need to resist collisions. */
static enum bw_digest best_hash(const parameters *p)
{
    enum bw_digest best = BW_DIGEST_SHA1;

    for (size_t i = 0; i < p->n_oaep_hashes; i++)
        if ((enum bw_digest)p->oaep_hashes[i] > best && bw_digest_row((enum bw_digest)p->oaep_hashes[i]) != NULL)
            best = (enum bw_digest)p->oaep_hashes[i];
    return best;
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

static bool check_of_pair(bw_bytes public_key, uint8_t check[static 32])
{
    return EVP_Digest(public_key.data, public_key.len, check, NULL, EVP_sha256(), NULL) == 1;
}

/* Whether what the region has is what the file has. */
static bw_result compare(const struct material *material, const imported *reply)
{
    uint8_t check[32];
    bool is_hmac = reply->key != NULL && reply->key->spec >= BAILIWICK__V1__KEY_SPEC__HMAC_256;

    bool done = material->public_key.len > 0 ? check_of_pair(bw_buf_bytes(&material->public_key), check)
              : is_hmac ? check_of_hmac(material->bytes, check) : check_of_aes(material->bytes, check);
    BW_CHECK(done && reply->check.len == 3 && memcmp(reply->check.data, check, 3) == 0, BW_PROTOCOL_BROKEN, "the region's check value is not the material's");
    return bw_success();
}

static bw_result import(struct bw_cli *cli, const struct material *material)
{
    struct parcel parcel = { .aes_wrap = true, .public_key = bw_buf_bytes(&material->public_key) };
    const parameters *p;
    const imported *reply;

    BW_TRY(ask_parameters(cli, cli->args.operands[0], &parcel.name, &p));
    BW_TRY(check_attestation(cli, parcel.name, p));
    parcel.token = bw_wire_bytes(p->import_token);
    parcel.hash  = best_hash(p);
    BW_TRY(bw_byok_wrap(NULL, bw_wire_bytes(p->wrapping_key), parcel.hash, bw_bytes_of(bw_secret_reveal(material->bytes), bw_secret_len(material->bytes)),
                        &cli->arena, &parcel.wrapped));
    BW_TRY(send(cli, &parcel, &reply));
    return compare(material, reply);
}

const struct bw_option bw_cmd_import_options[] = { PINNED_OPTION, EXPIRES_OPTION, { 0 } };

bw_result bw_cmd_import(struct bw_cli *cli)
{
    struct material material = { 0 };

    bw_result result = load_material(cli, &material);
    if (bw_ok(result))
        result = import(cli, &material);
    material_clear(&material);
    return result;
}
