/* bailiwick audit verify: no region, no network, no configuration. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "file.h"
#include "verify.h"

enum { PROOF_MAX = 1024 * 1024, KEYS_MAX = 8 };

const struct bw_option bw_cmd_audit_verify_options[] = {
    { "key",  BW_OPTION_MANY, "KEY",  "what may have signed it, known from elsewhere: name+id+base64, or a file that holds it" },
    { "last", BW_OPTION_TEXT, "FILE", "an older checkpoint that the log must go on from, signed by one of the keys (directories)" },
    { 0 }
};

struct keys { struct bw_note_key at[KEYS_MAX]; size_t count; };

/* ---- what it is held against ---- */

static bw_result parse_key(bw_bytes text, struct keys *keys)
{
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    BW_CHECK(keys->count < KEYS_MAX, BW_BAD_ARGUMENT, "too many keys");
    BW_TRY(bw_note_key_parse(text, &keys->at[keys->count]));
    keys->count++;
    return bw_success();
}

static bw_result take_key(struct bw_cli *cli, const char *given, struct keys *keys)
{
    BW_AUTO(secret) content = NULL;

    if (access(given, R_OK) != 0) {
        bw_cli_about(cli, "--key %s", given);
        return parse_key(bw_bytes_text(given), keys);
    }
    BW_TRY(bw_file_load(cli, given, BW_NOTE_MAX, &content));
    bw_cli_about(cli, "%s", given);
    return parse_key(bw_bytes_of(bw_secret_reveal(content), bw_secret_len(content)), keys);
}

static bw_result take_keys(struct bw_cli *cli, struct keys *keys)
{
    const char *given;
    size_t      at = 0;

    while ((given = bw_args_next(&cli->args, "key", &at)) != NULL)
        BW_TRY(take_key(cli, given, keys));
    cli->about[0] = '\0';
    BW_CHECK(keys->count > 0, BW_BAD_ARGUMENT, "--key is missing: a key that came with the log proves nothing");
    return bw_success();
}

/* ---- verifying ---- */

static bw_result verify_dir(struct bw_cli *cli, const char *dir, const struct keys *keys)
{
    const char            *last  = bw_args_text(&cli->args, "last");
    BW_AUTO(secret)        older = NULL;
    struct bw_checkpoint   checkpoint;
    struct bw_verify_fault fault;

    if (last != NULL)
        BW_TRY(bw_file_load(cli, last, BW_NOTE_MAX, &older));
    const bw_bytes note = older != NULL ? bw_bytes_of(bw_secret_reveal(older), bw_secret_len(older)) : bw_bytes_of(NULL, 0);
    bw_result r = bw_verify_dir(dir, keys->at, keys->count, older != NULL ? &note : NULL, &fault, &checkpoint);
    if (!bw_ok(r) && fault.has_index)
        bw_cli_about(cli, "record %" PRIu64 ": %s", fault.index, fault.file);
    else if (!bw_ok(r))
        bw_cli_about(cli, "%s", fault.file[0] != '\0' ? fault.file : dir);
    BW_TRY(r);
    (void)printf("%s: %" PRIu64 " records, all as they were signed\n", checkpoint.origin, checkpoint.size);
    return bw_success();
}

static bw_result verify_proof(struct bw_cli *cli, const char *path, const struct keys *keys)
{
    BW_AUTO(secret) content = NULL;
    struct bw_buf          extra = { 0 };
    struct bw_record_proof proof;
    struct bw_checkpoint   checkpoint;

    BW_TRY(bw_file_load(cli, path, PROOF_MAX, &content));
    bw_cli_about(cli, "%s", path);
    bw_result r = bw_verify_proof(bw_bytes_of(bw_secret_reveal(content), bw_secret_len(content)), keys->at, keys->count, &extra, &proof, &checkpoint);
    bw_buf_clear(&extra);
    BW_TRY(r);
    cli->about[0] = '\0';
    (void)printf("%s: record %" PRIu64 " of %" PRIu64 ", as it was signed\n", checkpoint.origin, proof.index, checkpoint.size);
    return bw_success();
}

bw_result bw_cmd_audit_verify(struct bw_cli *cli)
{
    const char *path = cli->args.operands[0];
    struct keys keys = { .count = 0 };
    struct stat what;

    BW_TRY(take_keys(cli, &keys));
    bw_cli_about(cli, "%s", path);
    BW_CHECK(stat(path, &what) == 0, BW_BAD_ARGUMENT, "there is no such file or directory");
    cli->about[0] = '\0';
    return S_ISDIR(what.st_mode) ? verify_dir(cli, path, &keys) : verify_proof(cli, path, &keys);
}
