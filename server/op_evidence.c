/* Audit.GetCheckpoint, GetRecord, GetTile, GetEntries: what it takes to verify a log elsewhere. */
#include <string.h>

#include "audit.h"
#include "daemon.h"
#include "op.h"
#include "op_audit.h"
#include "stages.h"
#include "wire.h"

typedef Bailiwick__V1__Checkpoint checkpoint_message;
typedef Bailiwick__V1__Disclosure disclosure_message;

enum { ENTRIES_MAX = 256, ENTRIES_ROOM = BW_MESSAGE_MAX / 2 };

bw_result bw_op_audit_log(struct bw_daemon *daemon, const struct bw_job *job, bool region, uint32_t *ret_log)
{
    const struct bw_identity *identity = &job->caller.identity;

    if (identity->role == BW_ROLE_OPERATOR) {
        BW_CHECK_AT(region, BW_NOT_PERMITTED, "region", "operators read the region's own log only");
        *ret_log = 0;
        return bw_success();
    }
    BW_CHECK_AT(!region, BW_NOT_PERMITTED, "region", "only operators read the region's own log");
    return bw_audit_log_of(daemon->audit, &identity->tenant, ret_log);
}

/* ---- checkpoints ---- */

static bw_result put_hashes(struct bw_arena *arena, const struct bw_proof *proof, ProtobufCBinaryData **ret_hashes, size_t *ret_count)
{
    ProtobufCBinaryData *hashes = bw_arena_alloc(arena, proof->count * sizeof *hashes);
    const uint8_t       *copy   = bw_arena_copy(arena, bw_bytes_of(proof->hashes, proof->count * sizeof *proof->hashes));

    BW_CHECK(hashes != NULL && copy != NULL, BW_NO_MEMORY, "proof");
    for (size_t i = 0; i < proof->count; i++)
        hashes[i] = bw_wire_data(bw_bytes_of(copy + i * sizeof *proof->hashes, sizeof *proof->hashes));
    *ret_hashes = hashes;
    *ret_count  = proof->count;
    return bw_success();
}

static bw_result key_text(struct bw_arena *arena, const struct bw_note_key *key, char **ret_text)
{
    struct bw_buf text = { 0 };

    bw_result r = bw_note_key_print(key, &text);
    *ret_text = bw_arena_copy(arena, bw_buf_bytes(&text));
    bw_buf_clear(&text);
    BW_TRY(r);
    BW_CHECK(*ret_text != NULL, BW_NO_MEMORY, "key");
    return bw_success();
}

static bw_result checkpoint_of(struct bw_arena *arena, const struct bw_audit_checkpoint *from, checkpoint_message **ret_message)
{
    checkpoint_message *message = bw_arena_alloc(arena, sizeof *message);

    BW_CHECK(message != NULL, BW_NO_MEMORY, "checkpoint");
    bailiwick__v1__checkpoint__init(message);
    message->log  = bw_arena_copy(arena, bw_bytes_text(from->checkpoint.origin));
    message->note = bw_wire_data(from->note);
    message->size = from->checkpoint.size;
    message->keys = bw_wire_data(from->keys);
    BW_CHECK(message->log != NULL, BW_NO_MEMORY, "checkpoint");
    BW_TRY(key_text(arena, &from->key, &message->key));
    *ret_message = message;
    return bw_success();
}

bw_result bw_op_audit_checkpoint(struct bw_daemon *daemon, struct bw_arena *arena, uint32_t log, uint64_t from, uint64_t size,
                                 checkpoint_message **ret_checkpoint)
{
    struct bw_audit_checkpoint last;
    checkpoint_message        *message;
    struct bw_proof            proof;

    BW_TRY(bw_audit_checkpoint(daemon->audit, log, from > size ? from : size, arena, &last));
    BW_TRY(checkpoint_of(arena, &last, &message));
    if (from > 0) {
        BW_TRY(bw_audit_prove_consistency(daemon->audit, log, from, last.checkpoint.size, &proof));
        BW_TRY(put_hashes(arena, &proof, &message->consistency, &message->n_consistency));
        message->from_size = from;
    }
    *ret_checkpoint = message;
    return bw_success();
}

/* None where the log is in no epoch yet. */
static bw_result anchor_of(struct bw_daemon *daemon, struct bw_arena *arena, uint32_t log, Bailiwick__V1__Anchor **ret_message)
{
    Bailiwick__V1__Anchor *message = bw_arena_alloc(arena, sizeof *message);
    struct bw_audit_anchor anchor;

    BW_CHECK(message != NULL, BW_NO_MEMORY, "anchor");
    bw_result r = bw_audit_anchor(daemon->audit, log, arena, &anchor);
    if (r.code == BW_DEADLINE)
        return bw_success();
    BW_TRY(r);
    bailiwick__v1__anchor__init(message);
    message->note       = bw_wire_data(anchor.proof.note);
    message->entry      = bw_wire_data(anchor.proof.entry);
    message->index      = anchor.proof.index;
    message->slot       = anchor.proof.slot;
    message->slot_key   = bw_wire_data(anchor.proof.slot_key);
    message->checkpoint = bw_wire_data(anchor.proof.checkpoint);
    BW_TRY(key_text(arena, &anchor.key, &message->key));
    BW_TRY(put_hashes(arena, &anchor.proof.inclusion, &message->inclusion, &message->n_inclusion));
    BW_TRY(put_hashes(arena, &anchor.proof.slot_path, &message->slot_path, &message->n_slot_path));
    *ret_message = message;
    return bw_success();
}

bw_result bw_op_get_checkpoint(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetCheckpointRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetCheckpointReply         *reply   = bw_op_reply(job);
    uint32_t log;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_op_audit_log(daemon, job, request->region, &log));
    BW_TRY(bw_op_audit_checkpoint(daemon, bw_job_arena(job), log, request->from_size, request->size, &reply->checkpoint));
    return anchor_of(daemon, bw_job_arena(job), log, &reply->anchor);
}

/* ---- records ---- */

static bw_result disclosure_of(struct bw_arena *arena, const struct bw_audit_row *row, disclosure_message **ret_disclosure)
{
    disclosure_message *disclosure = bw_arena_alloc(arena, sizeof *disclosure);

    BW_CHECK(disclosure != NULL, BW_NO_MEMORY, "record");
    bailiwick__v1__disclosure__init(disclosure);
    disclosure->essential = bw_wire_data(row->essential);
    disclosure->who       = bw_wire_data(row->who);
    disclosure->context   = bw_wire_data(row->context);
    *ret_disclosure = disclosure;
    return bw_success();
}

static bw_result print_entry(struct bw_hasher *hasher, const struct bw_audit_row *row, uint8_t entry[static BW_AUDIT_ENTRY_LEN])
{
    struct bw_leaf leaf;

    BW_TRY(bw_hasher_leaf(hasher, row->index, row->essential, row->who, row->context, &leaf));
    bw_leaf_print(&leaf, entry);
    return bw_success();
}

/* The entries of rows, one after the other. */
static bw_result entries_of(struct bw_arena *arena, const struct bw_audit_found *found, ProtobufCBinaryData *ret_entries)
{
    uint8_t *entries = bw_arena_alloc(arena, found->count * BW_AUDIT_ENTRY_LEN);
    BW_AUTO(hasher) hasher = NULL;

    BW_CHECK(entries != NULL, BW_NO_MEMORY, "entries");
    BW_TRY(bw_hasher_new(&hasher));
    for (size_t i = 0; i < found->count; i++)
        BW_TRY(print_entry(hasher, &found->rows[i], entries + i * BW_AUDIT_ENTRY_LEN));
    *ret_entries = bw_wire_data(bw_bytes_of(entries, found->count * BW_AUDIT_ENTRY_LEN));
    return bw_success();
}

bw_result bw_op_get_record(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetRecordRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetRecordReply         *reply   = bw_op_reply(job);
    struct bw_arena       *arena = bw_job_arena(job);
    struct bw_audit_query  query = { .from_index = request->index, .limit = 1 };
    struct bw_audit_found  found;
    struct bw_proof        proof;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_CHECK_AT(request->index < UINT64_MAX, BW_LOG_POSITION, "index", "the log has no such record");
    BW_TRY(bw_op_audit_log(daemon, job, request->region, &query.log));
    BW_TRY(bw_op_audit_checkpoint(daemon, arena, query.log, request->checkpoint_size, request->index + 1, &reply->checkpoint));
    BW_TRY(bw_audit_find(daemon->audit, &query, arena, &found));
    BW_CHECK(found.count == 1, BW_LOG_POSITION, "the log has no such record");
    BW_TRY(entries_of(arena, &found, &reply->entry));
    BW_TRY(disclosure_of(arena, &found.rows[0], &reply->disclosure));
    BW_TRY(bw_audit_prove_inclusion(daemon->audit, query.log, request->index, reply->checkpoint->size, &proof));
    return put_hashes(arena, &proof, &reply->inclusion, &reply->n_inclusion);
}

/* For callers who have one, with what carries none by itself. */
static bw_result put_checkpoint(struct bw_daemon *daemon, struct bw_job *job, uint32_t log, uint64_t size, checkpoint_message **ret_checkpoint)
{
    return size > 0 ? bw_op_audit_checkpoint(daemon, bw_job_arena(job), log, size, size, ret_checkpoint) : bw_success();
}

/* How many of them go into one message; at least the first. */
static size_t count_that_fits(const struct bw_audit_found *found)
{
    size_t count = 0, used = 0;

    for (; count < found->count && (count == 0 || used < ENTRIES_ROOM); count++)
        used += BW_AUDIT_ENTRY_LEN + found->rows[count].essential.len + found->rows[count].who.len + found->rows[count].context.len;
    return count;
}

bw_result bw_op_get_entries(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetEntriesRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetEntriesReply         *reply   = bw_op_reply(job);
    struct bw_arena       *arena = bw_job_arena(job);
    struct bw_audit_query  query = { .from_index = request->from_index, .limit = request->count > 0 ? request->count : ENTRIES_MAX };
    struct bw_audit_found  found;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_op_audit_log(daemon, job, request->region, &query.log));
    BW_TRY(bw_audit_find(daemon->audit, &query, arena, &found));
    found.count = count_that_fits(&found);
    BW_TRY(entries_of(arena, &found, &reply->entries));
    reply->disclosures = bw_arena_alloc(arena, found.count * sizeof *reply->disclosures);
    BW_CHECK(reply->disclosures != NULL, BW_NO_MEMORY, "entries");
    for (size_t i = 0; i < found.count; i++)
        BW_TRY(disclosure_of(arena, &found.rows[i], &reply->disclosures[reply->n_disclosures++]));
    return put_checkpoint(daemon, job, query.log, request->checkpoint_size, &reply->checkpoint);
}

bw_result bw_op_get_tile(struct bw_daemon *daemon, struct bw_job *job)
{
    const Bailiwick__V1__GetTileRequest *request = (const void *)job->request.message;
    Bailiwick__V1__GetTileReply         *reply   = bw_op_reply(job);
    size_t   width = request->width > 0 ? request->width : 256;
    bw_bytes hashes;
    uint32_t log;

    BW_CHECK(reply != NULL, BW_NO_MEMORY, "reply");
    BW_TRY(bw_op_audit_log(daemon, job, request->region, &log));
    BW_TRY(bw_audit_tile(daemon->audit, log, request->level, request->number, width, bw_job_arena(job), &hashes));
    reply->hashes = bw_wire_data(hashes);
    return put_checkpoint(daemon, job, log, request->checkpoint_size, &reply->checkpoint);
}
