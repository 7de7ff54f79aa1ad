#include "audit_repair.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit_anchor.h"
#include "method.h"

enum { PATH_ROOM = 4096 };

struct repair {
    const struct bw_audit_options *options;
    struct bw_audit               *audit;
    struct bw_anchor               anchor;
    struct bw_audit_guard          guard;   /* the new one */
    bw_audit_repaired_fn           told;
    void                          *self;
    char                           anchor_path[PATH_ROOM], path[PATH_ROOM], draft[PATH_ROOM];
};

/* ---- what must hold ---- */

static bw_result find_log(struct bw_audit *audit, const char *origin, uint32_t *ret_log)
{
    for (uint32_t log = 0; log < bw_audit_log_count(audit); log++)
        if (strcmp(bw_audit_origin(audit, log), origin) == 0) {
            *ret_log = log;
            return bw_success();
        }
    return bw_fail(BW_LOG_POSITION, "a log that was signed is gone");
}

/* told names it first, so that a refusal's last line is the one that it is about. */
static bw_result check(struct repair *repair, const struct bw_checkpoint *checkpoint)
{
    uint32_t log;
    bw_hash  root;

    repair->told(repair->self, checkpoint);
    BW_TRY(find_log(repair->audit, checkpoint->origin, &log));
    if (checkpoint->size == 0)
        return bw_success();
    BW_TRY(bw_audit_root(repair->audit, log, checkpoint->size, &root));
    BW_CHECK(bw_hash_equal(&root, &checkpoint->root), BW_LOG_POSITION, "the log is not the one that was signed");
    return bw_success();
}

static bw_result check_kept(void *self, const struct bw_guarded *row)
{
    return check(self, &row->checkpoint);
}

/* Whoever signed it: what the log does not go on from, it does not go on from. */
static bw_result check_note(struct repair *repair, bw_bytes note)
{
    struct bw_checkpoint checkpoint;
    const uint8_t *end = memmem(note.data, note.len, "\n\n", 2);

    BW_CHECK(end != NULL, BW_DATA_INVALID, "not a checkpoint");
    BW_TRY(bw_checkpoint_parse(bw_bytes_of(note.data, (size_t)(end - note.data) + 1), &checkpoint));
    return check(repair, &checkpoint);
}

/* ---- the new file ---- */

static bw_result guard_kept(void *self, const struct bw_guarded *row)
{
    struct repair *repair = self;
    return bw_audit_guard_move(&repair->guard, NULL, row);
}

static bw_result fill_guard(struct repair *repair)
{
    BW_TRY(bw_audit_guard_begin(&repair->guard));
    BW_TRY(bw_anchor_each_kept(&repair->anchor, guard_kept, repair));
    return bw_audit_guard_commit(&repair->guard);
}

/* Under another name until it is whole: an empty guard would guard nothing. */
static bw_result make_guard(struct repair *repair)
{
    (void)unlink(repair->draft); /* of a crash before */
    BW_TRY(bw_audit_guard_create(repair->draft, &repair->options->region));
    BW_TRY(bw_audit_guard_open(repair->draft, &repair->options->region, &repair->guard));
    bw_result r = fill_guard(repair);
    bw_audit_guard_close(&repair->guard);
    BW_TRY(r);
    BW_CHECK(renameat2(AT_FDCWD, repair->draft, AT_FDCWD, repair->path, RENAME_NOREPLACE) == 0, BW_AUDIT_UNAVAILABLE, "the guard file cannot be named");
    sync();
    return bw_success();
}

static bw_result put_on_record(struct repair *repair)
{
    struct bw_record record = { .log = 0, .operation = BW_DEED_NR(RepairGuard), .outcome = BW_OUTCOME_GRANTED };
    uint64_t index;

    (void)snprintf(record.principal, sizeof record.principal, "%s", repair->options->node);
    return bw_audit_write(repair->audit, &record, &index);
}

/* ---- all of it ---- */

static bw_result set_paths(struct repair *repair)
{
    const struct bw_audit_options *options = repair->options;
    int lens[] = {
        snprintf(repair->anchor_path, PATH_ROOM, "%s/audit-anchor.db", options->dir),
        options->guard != NULL ? snprintf(repair->path, PATH_ROOM, "%s", options->guard) : snprintf(repair->path, PATH_ROOM, "%s/audit-guard.db", options->dir),
        snprintf(repair->draft, PATH_ROOM, "%.*s.new", PATH_ROOM - 8, repair->path),
    };

    for (size_t i = 0; i < ARRAY_LEN(lens); i++)
        BW_CHECK(lens[i] > 0 && lens[i] < PATH_ROOM, BW_CONFIG_INVALID, "a file's name is too long");
    BW_CHECK(access(repair->path, F_OK) != 0, BW_ALREADY_EXISTS, "there is a guard file: nothing is lost");
    return bw_success();
}

static bw_result run(struct repair *repair, const bw_bytes *notes, size_t note_count)
{
    BW_TRY(bw_anchor_each_kept(&repair->anchor, check_kept, repair));
    for (size_t i = 0; i < note_count; i++)
        BW_TRY(check_note(repair, notes[i]));
    BW_TRY(put_on_record(repair));
    return make_guard(repair);
}

bw_result bw_audit_repair_guard(const struct bw_audit_options *options, const bw_bytes *notes, size_t note_count, bw_audit_repaired_fn told, void *self)
{
    struct repair repair = { .options = options, .told = told, .self = self };
    struct bw_audit_options unsigned_options = *options;
    BW_AUTO(hasher) hasher = NULL;

    unsigned_options.signer  = NULL;
    unsigned_options.damaged = NULL;
    BW_TRY(set_paths(&repair));
    BW_TRY(bw_hasher_new(&hasher));
    BW_TRY(bw_audit_open(&unsigned_options, &repair.audit));
    bw_result r = bw_anchor_open(repair.anchor_path, &options->region, hasher, &repair.anchor);
    if (bw_ok(r))
        r = run(&repair, notes, note_count);
    bw_anchor_close(&repair.anchor);
    bw_audit_close(repair.audit);
    return r;
}
