#include "rotate_log_key.h"

#include <stdio.h>

#include "audit_signer.h"
#include "hsm.h"
#include "method.h"
#include "pin.h"

static void bw_hsm_free(struct bw_hsm *hsm) { bw_hsm_close(hsm); }
BW_DEFINE_AUTO(hsm)
BW_DEFINE_AUTO(token)

/* ---- on record ---- */

static struct bw_record record_of(const char *node, uint32_t number, enum bw_outcome outcome)
{
    struct bw_record record = { .operation = BW_DEED_NR(RotateLogKey), .outcome = outcome, .key_version = number };

    (void)snprintf(record.principal, sizeof record.principal, "%s", node);
    return record;
}

static bw_result close_intent(struct bw_audit *audit, const char *node, uint32_t number, uint64_t intent, enum bw_outcome outcome)
{
    struct bw_record record = record_of(node, number, outcome);
    uint64_t index;

    record.intent_index = intent + 1;
    return bw_audit_write(audit, &record, &index);
}

/* The first one found: the log is asked to the end before anything is written to it. */
struct open_rotation { bool found; uint64_t index; uint32_t number; };

static bw_result take_open(void *self, uint32_t log, uint64_t index, const struct bw_record *record)
{
    struct open_rotation *open = self;

    if (log == 0 && !open->found && record->operation == BW_DEED_NR(RotateLogKey))
        *open = (struct open_rotation){ true, index, record->key_version };
    return bw_success();
}

bw_result bw_audit_close_rotations(struct bw_audit *audit, const char *node, uint32_t number, bool *ret_was_done)
{
    bool was_done = false;

    for (;;) {
        struct open_rotation open = { .found = false };
        BW_TRY(bw_audit_each_open_intent(audit, take_open, &open));
        if (!open.found)
            break;
        bool done = open.number <= number;
        BW_TRY(close_intent(audit, node, open.number, open.index, done ? BW_OUTCOME_GRANTED : BW_OUTCOME_UNKNOWN));
        was_done = was_done || done;
    }
    *ret_was_done = was_done;
    return bw_success();
}

/* ---- the switch ---- */

static bw_result await_checkpoint(struct bw_audit *audit, uint64_t size)
{
    struct bw_arena arena = { 0 };
    struct bw_audit_checkpoint checkpoint;

    bw_result r = bw_audit_checkpoint(audit, 0, size, &arena, &checkpoint);
    bw_arena_clear(&arena);
    return r;
}

bw_result bw_audit_rotate_key(struct bw_audit *audit, const char *node, const struct bw_note_signer *next, uint32_t number)
{
    const struct bw_record intent = record_of(node, number, BW_OUTCOME_INTENT);
    uint64_t index;

    BW_TRY(bw_audit_write(audit, &intent, &index));
    BW_TRY(await_checkpoint(audit, index + 1)); /* so that the old key's last one covers it */
    BW_TRY(bw_audit_succeed(audit, next, number));
    BW_TRY(close_intent(audit, node, number, index, BW_OUTCOME_GRANTED));
    return await_checkpoint(audit, index + 2);
}

/* ---- all of it ---- */

static bw_result rotate(struct bw_token *token, struct bw_audit_options *options, const char *domain, uint32_t *ret_number)
{
    struct bw_audit_signer old, next; /* they outlive audit */
    BW_AUTO(audit) audit = NULL;
    uint32_t number;
    bool     was_done;

    BW_TRY(bw_audit_key_number(options, &number));
    BW_TRY(bw_audit_signer_of(token, domain, number, &old));
    options->signer = &old.note;
    BW_TRY(bw_audit_open(options, &audit));
    BW_TRY(bw_audit_close_rotations(audit, options->node, number, &was_done));
    if (!was_done) {
        number++;
        BW_TRY(bw_audit_signer_of(token, domain, number, &next));
        BW_TRY(bw_audit_rotate_key(audit, options->node, &next.note, number));
    }
    *ret_number = number;
    return bw_success();
}

static bw_result open_token(const struct bw_config *config, struct bw_hsm *hsm, struct bw_token **ret_token)
{
    BW_AUTO(secret) pin = NULL;
    char label[33];

    BW_TRY(bw_pin_read(config->pin_dir, "region", &pin));
    bw_token_label(&config->region, NULL, label);
    return bw_token_open(hsm, label, "", bw_bytes_of(bw_secret_reveal(pin), bw_secret_len(pin)), ret_token);
}

static bw_result run(const struct bw_config *config, uint32_t *ret_number)
{
    const struct bw_hsm_options hsm_options = { .module = config->hsm_module, .sessions = config->hsm_sessions };
    struct bw_audit_options     options     = { .dir = config->audit_dir, .region = config->region, .node = config->node,
                                                .host = config->trust_domain, .guard = config->audit_guard };
    BW_AUTO(hsm)   hsm   = NULL;
    BW_AUTO(token) token = NULL;

    BW_TRY(bw_hsm_open(&hsm_options, &hsm));
    BW_TRY(open_token(config, hsm, &token));
    BW_TRY(bw_hsm_self_test(hsm, token));
    return rotate(token, &options, config->trust_domain, ret_number);
}

bw_result bw_rotate_log_key(const struct bw_config *config, uint32_t *ret_number, char *message, size_t room)
{
    bw_result r = run(config, ret_number);

    if (!bw_ok(r))
        (void)snprintf(message, room, "the log key was not replaced, or not seen to be; the next run or start tells: %s (%s)", r.what, bw_code_row(r.code)->told);
    return r;
}
