/* bailiwick audit checkpoint, proof, export: a log's evidence, fetched and checked before it is kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "cmd_common.h"
#include "epoch.h"
#include "file.h"
#include "head.h"
#include "tlog_dir.h"
#include "verify.h"

static bw_bytes bytes_of(ProtobufCBinaryData data) { return bw_bytes_of(data.data, data.len); }

/* ---- checkpoint ---- */

const struct bw_option bw_cmd_audit_checkpoint_options[] = {
    { "last",   BW_OPTION_TEXT, "FILE", "the caller's last checkpoint: the new one must go on from it, and takes its place; made when missing" },
    { "key",    BW_OPTION_TEXT, "KEY",  "the log's key, known from elsewhere: name+id+base64" },
    { "region", BW_OPTION_FLAG, NULL,   "the region's own log, for operators" },
    { 0 }
};

/* The anchor log's key is the log's own under another name: the region has one. */
static bw_result check_anchor_key(const struct bw_note_key *anchor, const struct bw_note_key *log)
{
    BW_CHECK(bw_note_key_is_same(anchor, log), BW_SIGNATURE_INVALID, "the region signs its anchor log with another key");
    return bw_success();
}

static bw_result check_anchor(const Bailiwick__V1__Anchor *message, const struct bw_head *head)
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
    BW_TRY(bw_head_read_proof(message->inclusion, message->n_inclusion, &proof.inclusion));
    BW_TRY(bw_head_read_proof(message->slot_path, message->n_slot_path, &proof.slot_path));
    BW_TRY(bw_anchor_verify(&proof, &key, &head->key, &epoch, &anchored));
    BW_CHECK(anchored.size <= head->checkpoint.size, BW_DATA_INVALID, "the region anchored a longer log than it shows: keep both as evidence");
    return bw_success();
}

/* How many records there are now; the newest checkpoint may be of a second ago. */
static bw_result get_log_size(struct bw_cli *cli, uint64_t *ret_size)
{
    Bailiwick__V1__QueryRequest request = BAILIWICK__V1__QUERY_REQUEST__INIT;
    ProtobufCMessage *message;

    request.region = bw_args_flag(&cli->args, "region");
    request.limit  = 1;
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(Query), &request.base, &message));
    *ret_size = ((const Bailiwick__V1__QueryReply *)(const void *)message)->log_size;
    return bw_success();
}

/* The head over all that is on record when it is asked for; kept in path, unless that is NULL. */
static bw_result get_head(struct bw_cli *cli, const char *path, struct bw_head *ret_head)
{
    Bailiwick__V1__GetCheckpointRequest request = BAILIWICK__V1__GET_CHECKPOINT_REQUEST__INIT;
    struct bw_checkpoint last;
    ProtobufCMessage    *message;

    BW_TRY(bw_head_load_last(cli, path, &last));
    BW_TRY(get_log_size(cli, &request.size));
    request.region    = bw_args_flag(&cli->args, "region");
    request.from_size = last.size;
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetCheckpoint), &request.base, &message));
    const Bailiwick__V1__GetCheckpointReply *reply = (const void *)message;
    BW_TRY(bw_head_read(reply->checkpoint, bw_args_text(&cli->args, "key"), ret_head));
    BW_TRY(check_anchor(reply->anchor, ret_head));
    return bw_head_go_on(cli, path, bw_args_text(&cli->args, "key"), reply->checkpoint, &last, ret_head);
}

bw_result bw_cmd_audit_checkpoint(struct bw_cli *cli)
{
    struct bw_head head;

    BW_TRY(get_head(cli, bw_args_text(&cli->args, "last"), &head));
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
    struct bw_head head;

    BW_TRY(read_index(cli, cli->args.operands[0], &request.index));
    request.region = bw_args_flag(&cli->args, "region");
    BW_TRY(bw_cli_call(cli, BW_METHOD_NR(GetRecord), &request.base, &message));
    const Bailiwick__V1__GetRecordReply *reply = (const void *)message;
    BW_CHECK(reply->disclosure != NULL, BW_PROTOCOL_BROKEN, "the reply holds no record");
    BW_TRY(bw_head_read(reply->checkpoint, bw_args_text(&cli->args, "key"), &head));
    BW_TRY(bw_head_read_proof(reply->inclusion, reply->n_inclusion, &proof.inclusion));
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

static bw_result export_log(struct bw_cli *cli, const char *dir, const struct bw_head *head)
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
        r = bw_tlog_finish(writer, &head->checkpoint, head->note, bw_buf_bytes(&key), head->keys);
    bw_buf_clear(&key);
    return r;
}

bw_result bw_cmd_audit_export(struct bw_cli *cli)
{
    const char *dir = bw_args_text(&cli->args, "dir");
    struct bw_head head;

    bw_cli_about(cli, "%s", dir);
    BW_CHECK(access(dir, F_OK) != 0, BW_ALREADY_EXISTS, "is there already");
    cli->about[0] = '\0';
    BW_TRY(get_head(cli, NULL, &head));
    head.note.data = bw_arena_copy(&cli->arena, head.note);
    head.keys.data = bw_arena_copy(&cli->arena, head.keys);
    BW_CHECK(head.note.data != NULL && head.keys.data != NULL, BW_NO_MEMORY, "checkpoint");
    BW_TRY(export_log(cli, dir, &head));
    return bw_file_write(cli, STDOUT_FILENO, "standard output", head.note);
}
