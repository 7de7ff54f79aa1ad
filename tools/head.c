#include "head.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "succession.h"

enum { PATH_ROOM = 4096 };

/* Whether the one that signs is the one that is known, or was vouched for by it. */
static bw_result check_key(const struct bw_head *head, const char *known_key)
{
    struct bw_succession succession;
    struct bw_checkpoint again;
    struct bw_note_key   known;

    BW_TRY(bw_succession_read(head->keys, &succession));
    BW_CHECK(succession.count == 0 || bw_note_key_is_same(bw_succession_last(&succession), &head->key), BW_SIGNATURE_INVALID,
             "the region signs with another key than its keys lead to");
    if (known_key != NULL) {
        BW_CHECK(bw_ok(bw_note_key_parse(bw_bytes_text(known_key), &known)), BW_SIGNATURE_INVALID, "the region signs with another key than the one given");
        bool led = bw_ok(bw_succession_trust(&succession, &known, 1));
        BW_CHECK(led || (succession.count == 0 && strcmp(known.name, head->key.name) == 0 && bw_note_key_is_same(&known, &head->key)),
                 BW_SIGNATURE_INVALID, "the region signs with another key than the one given");
    }
    return succession.count > 0 ? bw_succession_verify(&succession, head->note, &again) : bw_success();
}

bw_result bw_head_read(const Bailiwick__V1__Checkpoint *message, const char *known_key, struct bw_head *ret_head)
{
    struct bw_head head;
    bw_bytes       text;

    BW_CHECK(message != NULL, BW_PROTOCOL_BROKEN, "the reply holds no checkpoint");
    BW_TRY(bw_note_key_parse(bw_bytes_text(message->key), &head.key));
    head.note = bw_wire_bytes(message->note);
    head.keys = bw_wire_bytes(message->keys);
    BW_TRY(check_key(&head, known_key));
    BW_TRY(bw_note_verify(head.note, &head.key, 1, &text));
    BW_TRY(bw_checkpoint_parse(text, &head.checkpoint));
    BW_CHECK(strcmp(head.checkpoint.origin, head.key.name) == 0, BW_SIGNATURE_INVALID, "a checkpoint of another log than its key is of");
    *ret_head = head;
    return bw_success();
}

bw_result bw_head_read_proof(ProtobufCBinaryData *hashes, size_t count, struct bw_proof *ret_proof)
{
    struct bw_proof proof = { .count = count };

    BW_CHECK(count <= BW_PROOF_MAX, BW_PROTOCOL_BROKEN, "a proof with too many hashes");
    for (size_t i = 0; i < count; i++) {
        BW_CHECK(hashes[i].len == BW_AUDIT_HASH_LEN, BW_PROTOCOL_BROKEN, "a proof with a hash of another length");
        memcpy(proof.hashes[i].bytes, hashes[i].data, BW_AUDIT_HASH_LEN);
    }
    *ret_proof = proof;
    return bw_success();
}

bw_result bw_head_load_last(struct bw_cli *cli, const char *path, struct bw_checkpoint *ret_last)
{
    BW_AUTO(secret) content = NULL;

    *ret_last = (struct bw_checkpoint){ 0 };
    if (path == NULL || access(path, F_OK) != 0)
        return bw_success();
    BW_TRY(bw_file_load(cli, path, BW_NOTE_MAX, &content));
    const char *note = (const char *)bw_secret_reveal(content), *end = memmem(note, bw_secret_len(content), "\n\n", 2);
    bw_cli_about(cli, "%s", path);
    BW_CHECK(end != NULL, BW_DATA_INVALID, "is no checkpoint");
    BW_TRY(bw_checkpoint_parse(bw_bytes_of(note, (size_t)(end - note) + 1), ret_last));
    cli->about[0] = '\0';
    return bw_success();
}

static bw_result check_consistency(const struct bw_checkpoint *last, const struct bw_head *head, const Bailiwick__V1__Checkpoint *message)
{
    BW_AUTO(hasher) hasher = NULL;
    struct bw_proof proof;

    if (last->origin[0] == '\0')
        return bw_success();
    BW_CHECK(strcmp(last->origin, head->checkpoint.origin) == 0, BW_DATA_INVALID, "the last checkpoint is of another log");
    if (last->size == 0)
        return bw_success();
    BW_TRY(bw_hasher_new(&hasher));
    BW_TRY(bw_head_read_proof(message->consistency, message->n_consistency, &proof));
    bw_result r = bw_merkle_check_consistency(hasher, last->size, &last->root, head->checkpoint.size, &head->checkpoint.root, &proof);
    BW_CHECK(r.code != BW_DATA_INVALID, BW_LOG_POSITION, "the log does not go on from the last checkpoint");
    return r;
}

/* Two checkpoints that do not go on from one another are the proof of a fork: neither may take the other's place. */
static bw_result keep_other(struct bw_cli *cli, const char *path, const struct bw_head *head)
{
    char other[PATH_ROOM];
    int  len = snprintf(other, sizeof other, "%s.other", path);

    BW_CHECK(len > 0 && (size_t)len < sizeof other, BW_BAD_ARGUMENT, "the file's name is too long");
    BW_TRY(bw_file_replace(cli, other, 0644, head->note));
    bw_cli_about(cli, "%s, %s", path, other);
    return bw_success();
}

bw_result bw_head_go_on(struct bw_cli *cli, const char *path, const char *known_key, const Bailiwick__V1__Checkpoint *message,
                        struct bw_checkpoint *last, struct bw_head *ret_head)
{
    struct bw_head head;

    BW_TRY(bw_head_read(message, known_key, &head));
    bw_result r = check_consistency(last, &head, message);
    if (r.code == BW_LOG_POSITION && path != NULL)
        BW_TRY(keep_other(cli, path, &head));
    BW_TRY(r);
    if (path != NULL)
        BW_TRY(bw_file_replace(cli, path, 0644, head.note));
    *last     = head.checkpoint;
    *ret_head = head;
    return bw_success();
}
