/* Audit.GetCheckpoint, GetRecord, GetTile, GetEntries: what they answer is enough to verify the log, and only one's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "bailiwick/v1/audit.pb-c.h"
#include "daemon.h"
#include "fake/audit_case.h"
#include "fake/soft_signer.h"
#include "stages.h"

enum { RECORDS = 300 };

static struct audit_case  at;
static struct soft_signer soft;
static struct bw_daemon   daemon_of_region = { .region = { "eu-central" } };
static struct bw_hasher  *hasher;

typedef bw_result op_fn(struct bw_daemon *daemon, struct bw_job *job);

static int make(void **state)
{
    (void)state;
    soft_signer_make(&soft);
    at.signer = &soft.signer;
    audit_case_make(&at);
    daemon_of_region.audit = at.audit;
    check_ok(bw_hasher_new(&hasher));
    for (unsigned i = 0; i < RECORDS; i++) {
        struct bw_record record = audit_case_record(audit_case_log(&at, "acme"), i);
        (void)audit_case_write(&at, &record);
    }
    struct bw_record own = audit_case_record(0, 1);
    (void)audit_case_write(&at, &own);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    audit_case_remove(&at);
    bw_hasher_free(hasher);
    return 0;
}

/* What the daemon does with a request from such a caller; *call's arena holds the reply. */
static bw_result ask(enum bw_method_nr method, op_fn *op, enum bw_role role, const char *tenant, const ProtobufCMessage *request, struct bw_call *call, const void *ret_reply)
{
    static struct bw_job job;

    job = (struct bw_job){ .daemon = &daemon_of_region, .call = call, .method = bw_method_by_number(method), .request = { .message = request } };
    job.caller.identity.role = role;
    strcpy(job.caller.identity.tenant.text, tenant);
    bw_result r = op(&daemon_of_region, &job);
    *(const ProtobufCMessage **)(uintptr_t)ret_reply = job.reply.message;
    return r;
}
#define ASK(method, op, role, tenant, request, call, reply) ask(BW_METHOD_NR(method), op, role, tenant, &(request)->base, call, reply)

static struct bw_checkpoint read_checkpoint(const Bailiwick__V1__Checkpoint *message)
{
    struct bw_checkpoint checkpoint;
    struct bw_note_key   key;
    bw_bytes             text;

    check_ok(bw_note_key_parse(bw_bytes_text(message->key), &key));
    assert_memory_equal(key.key, soft.signer.key.key, key.key_len);
    check_ok(bw_note_verify(bw_bytes_of(message->note.data, message->note.len), &key, 1, &text));
    check_ok(bw_checkpoint_parse(text, &checkpoint));
    assert_string_equal(checkpoint.origin, message->log);
    assert_int_equal(checkpoint.size, message->size);
    return checkpoint;
}

static struct bw_proof read_proof(const ProtobufCBinaryData *hashes, size_t count)
{
    struct bw_proof proof = { .count = count };

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hashes[i].len, sizeof *proof.hashes);
        memcpy(&proof.hashes[i], hashes[i].data, sizeof *proof.hashes);
    }
    return proof;
}

static void a_record_comes_with_all_it_takes_to_prove_it(void **state)
{
    static const uint64_t indexes[] = { 0, 1, 255, 256, RECORDS - 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        Bailiwick__V1__GetRecordRequest      request = BAILIWICK__V1__GET_RECORD_REQUEST__INIT;
        const Bailiwick__V1__GetRecordReply *reply = NULL;
        struct bw_call call = { 0 };
        struct bw_leaf leaf;
        uint8_t entry[BW_AUDIT_ENTRY_LEN];
        bw_hash hash;

        request.index = indexes[i];
        check_ok(ASK(GetRecord, bw_op_get_record, BW_ROLE_AUDITOR, "acme", &request, &call, &reply));
        struct bw_checkpoint checkpoint = read_checkpoint(reply->checkpoint);
        struct bw_proof      proof      = read_proof(reply->inclusion, reply->n_inclusion);
        const Bailiwick__V1__Disclosure *d = reply->disclosure;
        check_ok(bw_hasher_leaf(hasher, indexes[i], bw_bytes_of(d->essential.data, d->essential.len), bw_bytes_of(d->who.data, d->who.len),
                                bw_bytes_of(d->context.data, d->context.len), &leaf));
        bw_leaf_print(&leaf, entry);
        assert_int_equal(reply->entry.len, sizeof entry);
        assert_memory_equal(reply->entry.data, entry, sizeof entry);
        check_ok(bw_merkle_leaf(hasher, bw_bytes_of(entry, sizeof entry), &hash));
        check_ok(bw_merkle_check_inclusion(hasher, indexes[i], &hash, checkpoint.size, &checkpoint.root, &proof));
        bw_arena_clear(&call.arena);
    }
}

static void a_checkpoint_is_proven_to_go_on_from_the_callers(void **state)
{
    Bailiwick__V1__GetCheckpointRequest      request = BAILIWICK__V1__GET_CHECKPOINT_REQUEST__INIT;
    const Bailiwick__V1__GetCheckpointReply *reply = NULL;
    struct bw_call call = { 0 };
    bw_hash        from_root;

    (void)state;
    request.from_size = 17;
    request.size      = RECORDS;
    check_ok(ASK(GetCheckpoint, bw_op_get_checkpoint, BW_ROLE_CUSTODIAN, "acme", &request, &call, &reply));
    struct bw_checkpoint checkpoint = read_checkpoint(reply->checkpoint);
    struct bw_proof      proof      = read_proof(reply->checkpoint->consistency, reply->checkpoint->n_consistency);
    check_ok(bw_audit_root(at.audit, audit_case_log(&at, "acme"), 17, &from_root));
    check_ok(bw_merkle_check_consistency(hasher, 17, &from_root, checkpoint.size, &checkpoint.root, &proof));

    request.from_size = RECORDS + 1; /* the caller saw more than there is */
    assert_int_equal(ASK(GetCheckpoint, bw_op_get_checkpoint, BW_ROLE_CUSTODIAN, "acme", &request, &call, &reply).code, BW_LOG_POSITION);
    bw_arena_clear(&call.arena);
}

static void a_query_answers_with_a_checkpoint_when_asked(void **state)
{
    Bailiwick__V1__QueryRequest      request = BAILIWICK__V1__QUERY_REQUEST__INIT;
    const Bailiwick__V1__QueryReply *reply = NULL;
    struct bw_call call = { 0 };

    (void)state;
    request.limit = 1;
    check_ok(ASK(Query, bw_op_query, BW_ROLE_AUDITOR, "acme", &request, &call, &reply));
    assert_null(reply->checkpoint);
    request.checkpoint      = true;
    request.checkpoint_size = 200;
    check_ok(ASK(Query, bw_op_query, BW_ROLE_AUDITOR, "acme", &request, &call, &reply));
    assert_true(read_checkpoint(reply->checkpoint).size >= 200);
    assert_int_equal(reply->checkpoint->from_size, 200);
    assert_true(reply->checkpoint->n_consistency > 0);
    request.checkpoint_size = RECORDS + 1;
    assert_int_equal(ASK(Query, bw_op_query, BW_ROLE_AUDITOR, "acme", &request, &call, &reply).code, BW_LOG_POSITION);
    bw_arena_clear(&call.arena);
}

static void entries_and_tiles_are_those_of_the_log(void **state)
{
    Bailiwick__V1__GetEntriesRequest      entries_request = BAILIWICK__V1__GET_ENTRIES_REQUEST__INIT;
    Bailiwick__V1__GetTileRequest         tile_request    = BAILIWICK__V1__GET_TILE_REQUEST__INIT;
    const Bailiwick__V1__GetEntriesReply *entries = NULL;
    const Bailiwick__V1__GetTileReply    *tile    = NULL;
    struct bw_call call = { 0 };
    bw_hash        hash;

    (void)state;
    entries_request.from_index = 256;
    tile_request.number = 1;
    tile_request.width  = RECORDS - 256;
    check_ok(ASK(GetEntries, bw_op_get_entries, BW_ROLE_AUDITOR, "acme", &entries_request, &call, &entries));
    check_ok(ASK(GetTile, bw_op_get_tile, BW_ROLE_AUDITOR, "acme", &tile_request, &call, &tile));
    assert_int_equal(entries->n_disclosures, RECORDS - 256);
    assert_int_equal(entries->entries.len, (RECORDS - 256) * BW_AUDIT_ENTRY_LEN);
    assert_int_equal(tile->hashes.len, (RECORDS - 256) * sizeof hash);
    for (size_t i = 0; i < RECORDS - 256; i++) {
        check_ok(bw_merkle_leaf(hasher, bw_bytes_of(entries->entries.data + i * BW_AUDIT_ENTRY_LEN, BW_AUDIT_ENTRY_LEN), &hash));
        assert_memory_equal(tile->hashes.data + i * sizeof hash, &hash, sizeof hash);
    }
    tile_request.width = 0;
    assert_int_equal(ASK(GetTile, bw_op_get_tile, BW_ROLE_AUDITOR, "acme", &tile_request, &call, &tile).code, BW_LOG_POSITION);
    bw_arena_clear(&call.arena);
}

static const struct { const char *why; enum bw_role role; const char *tenant; bool region; uint64_t index; enum bw_code code; } callers[] = {
    { "an operator has the region's log",          BW_ROLE_OPERATOR,  "",      true,  0,          BW_OK            },
    { "an operator has no tenant's log",           BW_ROLE_OPERATOR,  "",      false, 0,          BW_NOT_PERMITTED },
    { "an auditor has not the region's log",       BW_ROLE_AUDITOR,   "acme",  true,  0,          BW_NOT_PERMITTED },
    { "another tenant has a log of its own",       BW_ROLE_AUDITOR,   "umbra", false, 0,          BW_LOG_POSITION  },
    { "a record beyond the end",                   BW_ROLE_AUDITOR,   "acme",  false, RECORDS,    BW_LOG_POSITION  },
    { "a record beyond all ends",                  BW_ROLE_AUDITOR,   "acme",  false, UINT64_MAX, BW_LOG_POSITION  },
};

static void nobody_gets_more_than_his_own_log(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(callers); i++) {
        Bailiwick__V1__GetRecordRequest      request = BAILIWICK__V1__GET_RECORD_REQUEST__INIT;
        const Bailiwick__V1__GetRecordReply *reply = NULL;
        struct bw_call call = { 0 };

        request.region = callers[i].region;
        request.index  = callers[i].index;
        bw_result r = ASK(GetRecord, bw_op_get_record, callers[i].role, callers[i].tenant, &request, &call, &reply);
        if (r.code != callers[i].code)
            fail_msg("%s: %s", callers[i].why, bw_code_row(r.code)->name);
        bw_arena_clear(&call.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_with_all_it_takes_to_prove_it),
        cmocka_unit_test(a_checkpoint_is_proven_to_go_on_from_the_callers),
        cmocka_unit_test(a_query_answers_with_a_checkpoint_when_asked),
        cmocka_unit_test(entries_and_tiles_are_those_of_the_log),
        cmocka_unit_test(nobody_gets_more_than_his_own_log),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
