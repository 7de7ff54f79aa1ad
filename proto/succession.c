#include "succession.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The notes are signed under a name of their own, so that none of them is ever read as a checkpoint. */
static const char suffix[] = "/keys";

static bw_bytes key_bytes(const struct bw_note_key *key)
{
    return bw_bytes_of(key->key, key->key_len);
}

static bw_result name_of_notes(const char *origin, char name[static BW_NOTE_NAME_MAX + 1])
{
    int len = snprintf(name, BW_NOTE_NAME_MAX + 1, "%s%s", origin, suffix);

    BW_CHECK(len > 0 && len <= BW_NOTE_NAME_MAX, BW_TOO_LARGE, "a log's origin");
    return bw_success();
}

/* ---- writing ---- */

static bw_result print_key(const char *origin, const struct bw_note_key *key, struct bw_buf *text)
{
    struct bw_note_key named;

    BW_TRY(bw_note_key_make(origin, key->type, key_bytes(key), &named));
    BW_TRY(bw_note_key_print(&named, text));
    return bw_buf_add(text, bw_bytes_text("\n"));
}

static bw_result print_link(const char *name, const struct bw_checkpoint *last, uint64_t number, const struct bw_note_key *old,
                            const struct bw_note_key *next, struct bw_buf *text)
{
    char line[24];

    (void)snprintf(line, sizeof line, "\n%" PRIu64 "\n", number);
    BW_TRY(bw_buf_add(text, bw_bytes_text(name)));
    BW_TRY(bw_buf_add(text, bw_bytes_text(line)));
    BW_TRY(print_key(last->origin, old, text));
    BW_TRY(print_key(last->origin, next, text));
    return bw_checkpoint_print(last, text);
}

bw_result bw_succession_add(const struct bw_checkpoint *last, uint64_t number, const struct bw_note_signer *old, const struct bw_note_key *next,
                            struct bw_buf *text)
{
    struct bw_note_signer signer = *old;
    struct bw_buf         link   = { 0 };
    char name[BW_NOTE_NAME_MAX + 1];

    BW_TRY(name_of_notes(last->origin, name));
    BW_TRY(bw_note_key_make(name, old->key.type, key_bytes(&old->key), &signer.key));
    bw_result r = print_link(name, last, number, &old->key, next, &link);
    if (bw_ok(r) && text->len > 0)
        r = bw_buf_add(text, bw_bytes_text("\n"));
    if (bw_ok(r))
        r = bw_note_sign(bw_buf_bytes(&link), &signer, text);
    bw_buf_clear(&link);
    BW_TRY(r);
    BW_CHECK(text->len <= BW_SUCCESSION_TEXT_MAX, BW_TOO_LARGE, "a log had too many keys");
    return bw_success();
}

/* ---- reading ---- */

/* Up to and with the signature line: each note has one empty line, and one signature. */
static bw_result next_note(struct bw_reader *reader, bw_bytes *ret_note)
{
    const uint8_t *from = reader->rest.data;

    while (!reader->failed && bw_read_line(reader).len > 0)
        ;
    (void)bw_read_line(reader);
    BW_CHECK(!reader->failed, BW_DATA_INVALID, "not a note about a log's key");
    *ret_note = bw_bytes_of(from, (size_t)(reader->rest.data - from));
    if (reader->rest.len > 0)
        BW_CHECK(bw_read_line(reader).len == 0 && reader->rest.len > 0, BW_DATA_INVALID, "not a note about a log's key");
    return bw_success();
}

struct link { uint64_t number; struct bw_note_key old, next; struct bw_checkpoint last; };

static bw_result read_number(bw_bytes digits, uint64_t *ret_number)
{
    uint64_t number = 0;

    BW_CHECK(digits.len > 0 && digits.len < 10 && digits.data[0] != '0', BW_DATA_INVALID, "a note about a log's key without its number");
    for (size_t i = 0; i < digits.len; i++) {
        BW_CHECK(digits.data[i] >= '0' && digits.data[i] <= '9', BW_DATA_INVALID, "a note about a log's key without its number");
        number = number * 10 + (uint64_t)(digits.data[i] - '0');
    }
    *ret_number = number;
    return bw_success();
}

static bw_result read_text(bw_bytes note, char name[static BW_NOTE_NAME_MAX + 1], struct link *link)
{
    const uint8_t   *end    = memmem(note.data, note.len, "\n\n", 2);
    struct bw_reader reader = { .rest = bw_bytes_of(note.data, end != NULL ? (size_t)(end - note.data) + 1 : 0) };
    bw_bytes         named  = bw_read_line(&reader);

    BW_TRY(read_number(bw_read_line(&reader), &link->number));
    BW_TRY(bw_note_key_parse(bw_read_line(&reader), &link->old));
    BW_TRY(bw_note_key_parse(bw_read_line(&reader), &link->next));
    BW_TRY(bw_checkpoint_parse(reader.rest, &link->last));
    BW_TRY(name_of_notes(link->last.origin, name));
    BW_CHECK(bw_bytes_equal(named, bw_bytes_text(name)) && strcmp(link->old.name, link->last.origin) == 0 && strcmp(link->next.name, link->last.origin) == 0,
             BW_DATA_INVALID, "a note about another log's key");
    return bw_success();
}

static bw_result read_link(bw_bytes note, struct link *ret_link)
{
    char name[BW_NOTE_NAME_MAX + 1];
    struct bw_note_key signer;
    bw_bytes text;

    BW_TRY(read_text(note, name, ret_link));
    BW_TRY(bw_note_key_make(name, ret_link->old.type, key_bytes(&ret_link->old), &signer));
    return bw_note_verify(note, &signer, 1, &text);
}

static bw_result append(struct bw_succession *succession, const struct link *link)
{
    if (succession->count == 0) {
        succession->first   = link->number - 1;
        succession->keys[0] = link->old;
        succession->count   = 1;
    }
    const struct bw_checkpoint *before = succession->count > 1 ? &succession->until[succession->count - 2] : NULL;
    BW_CHECK(succession->count <= BW_SUCCESSION_MAX, BW_DATA_INVALID, "a log had too many keys");
    BW_CHECK(bw_note_key_is_same(bw_succession_last(succession), &link->old) && strcmp(succession->keys[0].name, link->old.name) == 0, BW_DATA_INVALID,
             "a log's keys do not follow one another");
    BW_CHECK(link->number == succession->first + succession->count, BW_DATA_INVALID, "one of a log's keys is missing");
    BW_CHECK(before == NULL || link->last.size >= before->size, BW_DATA_INVALID, "a log was shorter when its next key came");
    succession->until[succession->count - 1] = link->last;
    succession->keys[succession->count++]    = link->next;
    return bw_success();
}

bw_result bw_succession_read(bw_bytes text, struct bw_succession *ret_succession)
{
    struct bw_reader reader = { .rest = text };

    *ret_succession = (struct bw_succession){ 0 };
    BW_CHECK(text.len <= BW_SUCCESSION_TEXT_MAX, BW_DATA_INVALID, "a log had too many keys");
    while (reader.rest.len > 0) {
        struct link link;
        bw_bytes    note;
        BW_TRY(next_note(&reader, &note));
        BW_TRY(read_link(note, &link));
        BW_TRY(append(ret_succession, &link));
    }
    return bw_success();
}

/* ---- what follows from it ---- */

bw_result bw_succession_trust(struct bw_succession *succession, const struct bw_note_key *known, size_t count)
{
    for (size_t at = 0; at < succession->count; at++)
        for (size_t i = 0; i < count; i++) {
            if (!bw_note_key_is_same(&succession->keys[at], &known[i]) || strcmp(succession->keys[at].name, known[i].name) != 0)
                continue;
            succession->first += at;
            succession->count -= at;
            memmove(succession->keys, succession->keys + at, succession->count * sizeof *succession->keys);
            memmove(succession->until, succession->until + at, (succession->count - 1) * sizeof *succession->until);
            return bw_success();
        }
    return bw_fail(BW_SIGNATURE_INVALID, "the log's keys do not lead on from one that is known");
}

/* The key's turn begins and ends with a checkpoint that is known to its root. */
static bw_result check_turn(const struct bw_succession *succession, size_t at, const struct bw_checkpoint *checkpoint)
{
    const struct bw_checkpoint *from = at > 0 ? &succession->until[at - 1] : NULL, *until = at + 1 < succession->count ? &succession->until[at] : NULL;

    BW_CHECK(until == NULL || checkpoint->size <= until->size, BW_SIGNATURE_INVALID, "a checkpoint by a key that was retired before");
    BW_CHECK(from == NULL || checkpoint->size >= from->size, BW_SIGNATURE_INVALID, "a checkpoint by a key whose turn had not come");
    BW_CHECK((until == NULL || checkpoint->size < until->size || bw_hash_equal(&checkpoint->root, &until->root))
             && (from == NULL || checkpoint->size > from->size || bw_hash_equal(&checkpoint->root, &from->root)), BW_DATA_INVALID,
             "a checkpoint that the log's keys did not hand over: keep both as evidence");
    return bw_success();
}

bw_result bw_succession_verify(const struct bw_succession *succession, bw_bytes note, struct bw_checkpoint *ret_checkpoint)
{
    struct bw_checkpoint checkpoint;
    bw_bytes             text;

    for (size_t at = succession->count; at-- > 0;) {
        if (!bw_ok(bw_note_verify(note, &succession->keys[at], 1, &text)))
            continue;
        BW_TRY(bw_checkpoint_parse(text, &checkpoint));
        BW_CHECK(strcmp(checkpoint.origin, succession->keys[0].name) == 0, BW_SIGNATURE_INVALID, "a checkpoint of another log than the keys are of");
        BW_TRY(check_turn(succession, at, &checkpoint));
        *ret_checkpoint = checkpoint;
        return bw_success();
    }
    return bw_fail(BW_SIGNATURE_INVALID, "a checkpoint that none of the log's keys signed");
}
