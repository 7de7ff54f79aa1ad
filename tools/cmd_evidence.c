/* bailiwick audit checkpoint, proof, export: a log's evidence, fetched and checked before it is kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "cmd_common.h"
#include "epoch.h"
#include "file.h"
#include "tlog_dir.h"
#include "verify.h"

typedef Bailiwick__V1__Checkpoint CheckpointMessage;

/* A checkpoint as it came, once its signature holds under the key that came with it. */
struct head { struct bw_checkpoint checkpoint; struct bw_note_key key; bw_bytes note; };

static bw_bytes bytes_of(ProtobufCBinaryData data) { return bw_bytes_of(data.data, data.len); }

/* --key: the one that the caller knows the region by. Without it, the region's word is taken for it. */
static bw_result check_key(struct bw_cli *cli, const struct bw_note_key *key, const char *text)
{
    const char *known = bw_args_text(&cli->args, "key");

    BW_CHECK(known == NULL || strcmp(known, text) == 0, BW_SIGNATURE_INVALID, "the region signs with another key than the one given");
    BW_CHECK(key->name[0] != '\0', BW_PROTOCOL_BROKEN, "a key without a name");
    return bw_success();
}

static bw_result read_head(struct bw_cli *cli, const CheckpointMessage *message, struct head *ret_head)
{
    struct head head;
    bw_bytes    text;

    BW_CHECK(message != NULL, BW_PROTOCOL_BROKEN, "the reply holds no checkpoint");
    BW_TRY(bw_note_key_parse(bw_bytes_text(message->key), &head.key));
    BW_TRY(check_key(cli, &head.key, message->key));
    head.note = bytes_of(message->note);
    BW_TRY(bw_note_verify(head.note, &head.key, 1, &text));
    BW_TRY(bw_checkpoint_parse(text, &head.checkpoint));
    BW_CHECK(strcmp(head.checkpoint.origin, head.key.name) == 0, BW_SIGNATURE_INVALID, "a checkpoint of another log than its key is of");
    *ret_head = head;
    return bw_success();
}

static bw_result read_proof(ProtobufCBinaryData *hashes, size_t count, struct bw_proof *ret_proof)
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

/* ---- checkpoint ---- */

const struct bw_option bw_cmd_audit_checkpoint_options[] = {
    { "last",   BW_OPTION_TEXT, "FILE", "the caller's last checkpoint: the new one must go on from it, and takes its place; made when missing" },
    { "key",    BW_OPTION_TEXT, "KEY",  "the log's key, known from elsewhere: name+id+base64" },
    { "region", BW_OPTION_FLAG, NULL,   "the region's own log, for operators" },
    { 0 }
};

/* The body of a note that was checked when it was kept. */
static bw_result load_last(struct bw_cli *cli, const char *path, struct bw_checkpoint *ret_last)
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

static bw_result check_consistency(const struct bw_checkpoint *last, const struct head *head, const CheckpointMessage *message)
{
    BW_AUTO(hasher) hasher = NULL;
    struct bw_proof proof;

    if (last->origin[0] == '\0')
        return bw_success();
    BW_CHECK(strcmp(last->origin, head->checkpoint.origin) == 0, BW_DATA_INVALID, "the last checkpoint is of another log");
    if (last->size == 0)
        return bw_success();
    BW_TRY(bw_hasher_new(&hasher));
    BW_TRY(read_proof(message->consistency, message->n_consistency, &proof));
    return bw_merkle_check_consistency(hasher, last->size, &last->root, head->checkpoint.size, &head->checkpoint.root, &proof);
}

/* The anchor log's key is the log's own under another name: the region has one. */
static bw_result check_anchor_key(const struct bw_note_key *anchor, const struct bw_note_key *log)
{
    BW_CHECK(anchor->type == log->type && bw_bytes_equal(bw_bytes_of(anchor->key, anchor->key_len), bw_bytes_of(log->key, log->key_len)),
             BW_SIGNATURE_INVALID, "the region signs its anchor log with another key");
    return bw_success();
}

static bw_result check_anchor(const Bailiwick__V1__Anchor *message, const struct head *head)
{
    struct bw_anchor_proof proof;
    struct bw_note_key     key;
    struct bw_epoch        epoch;
    struct bw_checkpoint   anchored;

    if (message == NULL)
        return bw_success();
    proof = (struct bw_anchor_proof){ .note = bytes_of(message->note), .entry = bytes_of(message->entry), .index = message->index, .slot = message->slot,
                                      .slot_key = bytes_of(message->slot_key), .checkpoint = bytes_of(message->checkpoint) };
    BW_TRY(bw_note_key_parse(bw_bytes_text(message->key), &key));
    BW_TRY(check_anchor_key(&key, &head->key));
    BW_TRY(read_proof(message->inclusion, message->n_inclusion, &proof.inclusion));
    BW_TRY(read_proof(message->slot_path, message->n_slot_path, &proof.slot_path));
    BW_TRY(bw_anchor_verify(&proof, &key, &head->key, &epoch, &anchored));
    BW_CHECK(anchored.size <= head->checkpoint.size, BW_DATA_INVALID, "the region anchored a longer log than it shows: keep both as evidence");
    return bw_success();
}

static bw_result get_head(struct bw_cli *cli, const struct bw_checkpoint *last, struct head *ret_head)
{
    Bailiwick__V1__GetCheckpointRequest request = BAILIWICK__V1__GET_CHECKPOINT_REQUEST__INIT;
    ProtobufCMessage *message;

    request.region    = bw_args_flag(&cli->args, "region");
    request.from_size = last->size;
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetCheckpoint), &request.base, &message));
    const Bailiwick__V1__GetCheckpointReply *reply = (const void *)message;
    BW_TRY(read_head(cli, reply->checkpoint, ret_head));
    BW_TRY(check_anchor(reply->anchor, ret_head));
    return check_consistency(last, ret_head, reply->checkpoint);
}

bw_result bw_cmd_audit_checkpoint(struct bw_cli *cli)
{
    const char *path = bw_args_text(&cli->args, "last");
    struct bw_checkpoint last;
    struct head head;

    BW_TRY(load_last(cli, path, &last));
    BW_TRY(get_head(cli, &last, &head));
    if (path != NULL)
        BW_TRY(bw_file_replace(cli, path, 0644, head.note));
    return bw_file_write(cli, STDOUT_FILENO, "standard output", head.note);
}

/* ---- proof ---- */

const struct bw_option bw_cmd_audit_proof_options[] = {
    { "key",    BW_OPTION_TEXT, "KEY", "the log's key, known from elsewhere: name+id+base64" },
    { "region", BW_OPTION_FLAG, NULL,  "the region's own log, for operators" },
    { 0 }
};

static bw_result read_index(struct bw_cli *cli, const char *text, uint64_t *ret_index)
{
    char *end;

    bw_cli_about(cli, "%s", text);
    *ret_index = strtoull(text, &end, 10);
    BW_CHECK(text[0] >= '0' && text[0] <= '9' && *end == '\0', BW_BAD_ARGUMENT, "not a record's index");
    cli->about[0] = '\0';
    return bw_success();
}

/* Printed, and verified as its reader will, before it is given out. */
static bw_result print_proof(struct bw_cli *cli, const struct bw_record_proof *proof, const struct bw_note_key *key)
{
    struct bw_buf text = { 0 }, extra = { 0 };
    struct bw_record_proof again;
    struct bw_checkpoint   checkpoint;

    bw_result r = bw_record_proof_print(proof, &text);
    if (bw_ok(r))
        r = bw_verify_proof(bw_buf_bytes(&text), key, 1, &extra, &again, &checkpoint);
    if (bw_ok(r))
        r = bw_file_write(cli, STDOUT_FILENO, "standard output", bw_buf_bytes(&text));
    bw_buf_clear(&text);
    bw_buf_clear(&extra);
    return r;
}

bw_result bw_cmd_audit_proof(struct bw_cli *cli)
{
    Bailiwick__V1__GetRecordRequest request = BAILIWICK__V1__GET_RECORD_REQUEST__INIT;
    struct bw_record_proof proof = { 0 };
    ProtobufCMessage *message;
    struct head head;

    BW_TRY(read_index(cli, cli->args.operands[0], &request.index));
    request.region = bw_args_flag(&cli->args, "region");
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetRecord), &request.base, &message));
    const Bailiwick__V1__GetRecordReply *reply = (const void *)message;
    BW_CHECK(reply->disclosure != NULL, BW_PROTOCOL_BROKEN, "the reply holds no record");
    BW_TRY(read_head(cli, reply->checkpoint, &head));
    BW_TRY(read_proof(reply->inclusion, reply->n_inclusion, &proof.inclusion));
    proof.index     = request.index;
    proof.note      = head.note;
    proof.essential = bytes_of(reply->disclosure->essential);
    proof.who       = bytes_of(reply->disclosure->who);
    proof.context   = bytes_of(reply->disclosure->context);
    return print_proof(cli, &proof, &head.key);
}

/* ---- export ---- */

const struct bw_option bw_cmd_audit_export_options[] = {
    { "dir",    BW_OPTION_NEEDED, "DIR", "a new directory, in the form of c2sp.org/tlog-tiles" },
    { "key",    BW_OPTION_TEXT,   "KEY", "the log's key, known from elsewhere: name+id+base64" },
    { "region", BW_OPTION_FLAG,   NULL,  "the region's own log, for operators" },
    { 0 }
};

static bw_result write_entries(struct bw_tlog_writer *writer, const Bailiwick__V1__GetEntriesReply *reply, uint64_t most, uint64_t *written)
{
    size_t count = reply->n_disclosures < most ? reply->n_disclosures : (size_t)most;

    BW_CHECK(count > 0 && reply->entries.len == reply->n_disclosures * BW_AUDIT_ENTRY_LEN, BW_PROTOCOL_BROKEN, "the reply holds other entries than asked for");
    for (size_t i = 0; i < count; i++) {
        const Bailiwick__V1__Disclosure *d = reply->disclosures[i];
        BW_TRY(bw_tlog_write(writer, bw_bytes_of(reply->entries.data + i * BW_AUDIT_ENTRY_LEN, BW_AUDIT_ENTRY_LEN),
                             bytes_of(d->essential), bytes_of(d->who), bytes_of(d->context)));
    }
    *written += count;
    return bw_success();
}

/* What a call leaves in the run's arena is not kept: a log has many. */
static bw_result fetch_entries(struct bw_cli *cli, struct bw_tlog_writer *writer, uint64_t size, uint64_t *written)
{
    Bailiwick__V1__GetEntriesRequest request = BAILIWICK__V1__GET_ENTRIES_REQUEST__INIT;
    struct bw_arena   kept = cli->arena;
    ProtobufCMessage *message;

    request.region     = bw_args_flag(&cli->args, "region");
    request.from_index = *written;
    cli->arena = (struct bw_arena){ 0 };
    bw_result r = bw_cli_call(cli, BW_METHOD_NR(GetEntries), &request.base, &message);
    if (bw_ok(r))
        r = write_entries(writer, (const void *)message, size - *written, written);
    if (bw_ok(r)) { /* a refusal's words live there */
        bw_arena_clear(&cli->arena);
        cli->arena = kept;
    } else {
        bw_arena_clear(&kept);
    }
    return r;
}

static bw_result export_log(struct bw_cli *cli, const char *dir, const struct head *head)
{
    BW_AUTO(tlog_writer) writer = NULL;
    struct bw_buf key     = { 0 };
    uint64_t      written = 0;

    BW_TRY(bw_tlog_writer_new(dir, &writer));
    while (written < head->checkpoint.size)
        BW_TRY(fetch_entries(cli, writer, head->checkpoint.size, &written));
    bw_result r = bw_note_key_print(&head->key, &key);
    if (bw_ok(r))
        r = bw_buf_add(&key, bw_bytes_text("\n"));
    if (bw_ok(r))
        r = bw_tlog_finish(writer, &head->checkpoint, head->note, bw_buf_bytes(&key));
    bw_buf_clear(&key);
    return r;
}

bw_result bw_cmd_audit_export(struct bw_cli *cli)
{
    static const struct bw_checkpoint none;
    const char *dir = bw_args_text(&cli->args, "dir");
    struct head head;

    bw_cli_about(cli, "%s", dir);
    BW_CHECK(access(dir, F_OK) != 0, BW_ALREADY_EXISTS, "is there already");
    cli->about[0] = '\0';
    BW_TRY(get_head(cli, &none, &head));
    head.note.data = bw_arena_copy(&cli->arena, head.note);
    BW_CHECK(head.note.data != NULL, BW_NO_MEMORY, "checkpoint");
    BW_TRY(export_log(cli, dir, &head));
    return bw_file_write(cli, STDOUT_FILENO, "standard output", head.note);
}
