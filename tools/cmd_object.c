/* bailiwick object: certificates that PKCS#11 clients find beside the keys. */
#include <openssl/pem.h>
#include <string.h>

#include "bailiwick/v1/keys.pb-c.h"
#include "bailiwick/v1/objects.pb-c.h"
#include "cmd_common.h"
#include "file.h"

/* ---- a certificate in PEM or DER, as DER in the arena ---- */

static X509 *parse_certificate(const uint8_t *data, size_t len)
{
    BIO  *bio         = BIO_new_mem_buf(data, (int)len);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return certificate ? certificate : d2i_X509(NULL, &data, (long)len);
}

static bw_result encode(struct bw_cli *cli, X509 *certificate, ProtobufCBinaryData *ret_der)
{
    unsigned char *der = NULL;
    int            len = i2d_X509(certificate, &der);

    BW_CHECK(len > 0, BW_NO_MEMORY, "certificate");
    *ret_der = (ProtobufCBinaryData){ (size_t)len, bw_arena_copy(&cli->arena, bw_bytes_of(der, (size_t)len)) };
    OPENSSL_free(der);
    BW_CHECK(ret_der->data != NULL, BW_NO_MEMORY, "certificate");
    return bw_success();
}

static bw_result load_certificate(struct bw_cli *cli, const char *path, ProtobufCBinaryData *ret_der)
{
    BW_AUTO(secret) content = NULL;

    BW_TRY(bw_file_load(cli, path, 2 * BW_OBJECT_MAX, &content));
    X509 *certificate = parse_certificate(bw_secret_reveal(content), bw_secret_len(content));
    bw_cli_about(cli, "%s", path);
    BW_CHECK(certificate != NULL, BW_BAD_ARGUMENT, "holds no certificate in PEM or DER");
    bw_result result = encode(cli, certificate, ret_der);
    X509_free(certificate);
    cli->about[0] = '\0';
    return result;
}

/* ---- the commands ---- */

const struct bw_option bw_cmd_object_put_options[] = {
    { "key",    BW_OPTION_TEXT, "KEY",  "whose certificate it is, by name or alias: takes CKA_ID and label from there" },
    { "label",  BW_OPTION_TEXT, "TEXT", "CKA_LABEL" },
    { "cka-id", BW_OPTION_TEXT, "HEX",  "CKA_ID" },
    { 0 }
};

/* PKCS#11 clients find a key's certificate by its CKA_ID */
static bw_result take_from_key(struct bw_cli *cli, const char *name, Bailiwick__V1__Object *object)
{
    Bailiwick__V1__GetKeyRequest request = BAILIWICK__V1__GET_KEY_REQUEST__INIT;
    ProtobufCMessage *reply;

    BW_TRY(bw_cmd_key_name(cli, name, &request.name));
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetKey), &request.base, &reply));
    const Bailiwick__V1__Key *key = ((const Bailiwick__V1__GetKeyReply *)(const void *)reply)->key;
    BW_CHECK(key != NULL, BW_PROTOCOL_BROKEN, "the reply holds no key");
    object->cka_id = key->cka_id;
    object->label  = key->label;
    return bw_success();
}

bw_result bw_cmd_object_put(struct bw_cli *cli)
{
    Bailiwick__V1__PutObjectRequest request = BAILIWICK__V1__PUT_OBJECT_REQUEST__INIT;
    Bailiwick__V1__Object object = BAILIWICK__V1__OBJECT__INIT;
    const char *key = bw_args_text(&cli->args, "key");

    object.class_ = BAILIWICK__V1__OBJECT_CLASS__CERTIFICATE;
    BW_TRY(load_certificate(cli, cli->args.operands[0], &object.value));
    if (key != NULL)
        BW_TRY(take_from_key(cli, key, &object));
    if (bw_args_flag(&cli->args, "label"))
        object.label = bw_cmd_text(cli, "label");
    if (bw_args_flag(&cli->args, "cka-id"))
        BW_TRY(bw_cmd_hex(cli, "cka-id", BW_CKA_ID_MAX, &object.cka_id));
    request.object = &object;
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(PutObject), &request.base);
}

const struct bw_option bw_cmd_object_list_options[] = {
    { "label",  BW_OPTION_TEXT, "TEXT", "only objects of this label" },
    { "cka-id", BW_OPTION_TEXT, "HEX",  "only objects of this CKA_ID" },
    { 0 }
};

bw_result bw_cmd_object_list(struct bw_cli *cli)
{
    static const struct bw_column columns[] = {
        { "ID", "id" }, { "CLASS", "class" }, { "LABEL", "label" }, { "CKA_ID", "cka_id" }, { "CREATED", "created" }, { 0 }
    };
    Bailiwick__V1__ListObjectsRequest request = BAILIWICK__V1__LIST_OBJECTS_REQUEST__INIT;
    Bailiwick__V1__Page page = BAILIWICK__V1__PAGE__INIT;

    BW_TRY(bw_cmd_hex(cli, "cka-id", BW_CKA_ID_MAX, &request.cka_id));
    request.page  = &page;
    request.label = bw_cmd_text(cli, "label");
    return bw_cmd_list(cli, BW_METHOD_NR(ListObjects), &request.base, &page, "objects", columns);
}

const struct bw_option bw_cmd_object_delete_options[] = {
    { "yes", BW_OPTION_FLAG, NULL, "do not ask back" },
    { 0 }
};

bw_result bw_cmd_object_delete(struct bw_cli *cli)
{
    Bailiwick__V1__DeleteObjectRequest request = BAILIWICK__V1__DELETE_OBJECT_REQUEST__INIT;
    const char *text = cli->args.operands[0], *question = bw_arena_text(&cli->arena, "Delete object %s?", text);
    uint8_t id[16];

    BW_CHECK(question != NULL, BW_NO_MEMORY, "question");
    bw_cli_about(cli, "%s", text);
    BW_CHECK(strlen(text) == 2 * sizeof id && bw_unhex(text, strlen(text), id), BW_BAD_ARGUMENT, "not an object's id: 32 hexadecimal digits");
    cli->about[0] = '\0';
    BW_TRY(bw_cli_confirm(cli, question));
    request.id = bw_wire_data(bw_bytes_of(id, sizeof id));
    return bw_cmd_call_and_show(cli, BW_METHOD_NR(DeleteObject), &request.base);
}
