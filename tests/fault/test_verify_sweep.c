/* An exported log is not believed with any bit of it flipped, nor with a record deleted, swapped, inserted, renumbered or
 * rewritten; and the first record that is not what was signed is named. Every way is tried, and counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake/soft_signer.h"
#include "succession.h"
#include "verify.h"

enum { FEW = 5, MANY = 260, CLASS_ROOM = 64 }; /* MANY: two bundles, and a tile above */

/* A record as the files have it. */
struct sample {
    uint8_t entry[BW_AUDIT_ENTRY_LEN];
    uint8_t classes[3][CLASS_ROOM];
    size_t  class_lens[3];
    bw_hash leaf;
};

static struct bw_hasher  *hasher;
static struct soft_signer soft;
static struct bw_note_key key;
static struct soft_signer next;      /* the key that took the other's place */
static struct bw_note_key next_key;
static char               dir[] = "/dev/shm/bw-sweep-XXXXXX"; /* written to thousands of times */
static struct sample      samples[MANY + 1]; /* one more than is signed */
static unsigned           tried;

static void check_ok(bw_result r)
{
    if (!bw_ok(r))
        fail_msg("%s (%s)", r.what, r.where);
}

static bw_bytes class_of(const struct sample *sample, unsigned class)
{
    return bw_bytes_of(sample->classes[class], sample->class_lens[class]);
}

static void seal(struct sample *sample, uint64_t index)
{
    struct bw_leaf leaf;

    check_ok(bw_hasher_leaf(hasher, index, class_of(sample, 0), class_of(sample, 1), class_of(sample, 2), &leaf));
    bw_leaf_print(&leaf, sample->entry);
    check_ok(bw_merkle_leaf(hasher, bw_bytes_of(sample->entry, sizeof sample->entry), &sample->leaf));
}

static void make_samples(size_t count)
{
    unsigned seed = 1;

    for (size_t i = 0; i < count; i++) {
        for (unsigned class = 0; class < 3; class++) {
            samples[i].class_lens[class] = BW_AUDIT_SALT_LEN + (unsigned)rand_r(&seed) % 20;
            for (size_t b = 0; b < samples[i].class_lens[class]; b++)
                samples[i].classes[class][b] = (uint8_t)rand_r(&seed);
        }
        seal(&samples[i], i);
    }
}

static void sign_head_by(const struct soft_signer *by, const struct bw_checkpoint *checkpoint, struct bw_buf *ret_note)
{
    struct bw_buf text = { 0 };

    ret_note->len = 0;
    check_ok(bw_checkpoint_print(checkpoint, &text));
    check_ok(bw_note_sign(bw_buf_bytes(&text), &by->signer, ret_note));
    bw_buf_clear(&text);
}

static void sign_head(const struct bw_checkpoint *checkpoint, struct bw_buf *ret_note) { sign_head_by(&soft, checkpoint, ret_note); }

static void make_head(size_t count, struct bw_checkpoint *ret_checkpoint, struct bw_buf *ret_note)
{
    struct bw_frontier frontier = { 0 };

    *ret_checkpoint = (struct bw_checkpoint){ .origin = "eu.example/audit/t/sample", .size = count };
    for (size_t i = 0; i < count; i++)
        check_ok(bw_frontier_add(&frontier, hasher, &samples[i].leaf));
    check_ok(bw_frontier_root(&frontier, hasher, &ret_checkpoint->root));
    sign_head(ret_checkpoint, ret_note);
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    (void)file, (void)type, (void)walk;
    return remove(path);
}

static void export_samples(size_t count)
{
    struct bw_tlog_writer *writer;
    struct bw_checkpoint   checkpoint;
    struct bw_buf          note = { 0 };

    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    make_samples(count + 1);
    make_head(count, &checkpoint, &note);
    check_ok(bw_tlog_writer_new(dir, &writer));
    for (size_t i = 0; i < count; i++)
        check_ok(bw_tlog_write(writer, bw_bytes_of(samples[i].entry, sizeof samples[i].entry), class_of(&samples[i], 0), class_of(&samples[i], 1), class_of(&samples[i], 2)));
    check_ok(bw_tlog_finish(writer, &checkpoint, bw_buf_bytes(&note), bw_bytes_text("unused"), bw_bytes_of(NULL, 0)));
    bw_tlog_writer_free(writer);
    bw_buf_clear(&note);
}

/* ---- what the verifier says ---- */

enum { NO_INDEX = -1 };

static void expect_fault(const char *what, size_t where, int64_t index)
{
    struct bw_verify_fault fault;
    struct bw_checkpoint   checkpoint;

    tried++;
    bw_result r = bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint);
    if (r.code != BW_DATA_INVALID && r.code != BW_SIGNATURE_INVALID)
        fail_msg("%s %zu: %s", what, where, bw_code_row(r.code)->name);
    if (index == NO_INDEX ? fault.has_index : !fault.has_index || fault.index != (uint64_t)index)
        fail_msg("%s %zu: names record %" PRIu64 " instead of %" PRIi64, what, where, fault.index, index);
}

/* ---- bits ---- */

struct file { char path[256]; uint8_t content[1 << 17]; size_t len; };

static void load(struct file *file, const char *name)
{
    (void)snprintf(file->path, sizeof file->path, "%s/%s", dir, name);
    FILE *from = fopen(file->path, "r");
    assert_non_null(from);
    file->len = fread(file->content, 1, sizeof file->content, from);
    (void)fclose(from);
}

static void store(const struct file *file)
{
    FILE *to = fopen(file->path, "w");

    assert_non_null(to);
    assert_int_equal(fwrite(file->content, 1, file->len, to), file->len);
    assert_int_equal(fclose(to), 0);
}

/* Which record a byte of a file belongs to. */
static int64_t by_entry(size_t offset) { return (int64_t)(offset / (2 + BW_AUDIT_ENTRY_LEN)); }
static int64_t by_leaf(size_t offset)  { return (int64_t)(offset / sizeof(bw_hash)); }
static int64_t by_first(size_t offset) { (void)offset; return 0; }
static int64_t by_none(size_t offset)  { (void)offset; return NO_INDEX; }
static int64_t by_classes(size_t offset)
{
    size_t end = 0;

    for (int64_t i = 0;; i++) {
        for (unsigned class = 0; class < 3; class++)
            end += 2 + samples[i].class_lens[class];
        if (offset < end)
            return i;
    }
}

static void flip_every_bit(const char *name, int64_t (*index_of)(size_t offset))
{
    static struct file file;
    unsigned before = tried;

    load(&file, name);
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        file.content[bit / 8] ^= (uint8_t)(1 << bit % 8);
        store(&file);
        expect_fault(name, bit, index_of(bit / 8));
        file.content[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    store(&file);
    print_message("%-24s %6u bits\n", name, tried - before);
}

static void every_flipped_bit_is_found(void **state)
{
    struct bw_verify_fault fault;
    struct bw_checkpoint   checkpoint;

    (void)state;
    export_samples(FEW);
    flip_every_bit("tile/entries/000.p/5", by_entry);
    flip_every_bit("disclosures/000.p/5", by_classes);
    flip_every_bit("tile/0/000.p/5", by_leaf);
    flip_every_bit("checkpoint", by_none);
    check_ok(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint)); /* all is as it was */
    export_samples(MANY);
    flip_every_bit("tile/1/000.p/1", by_first);
    check_ok(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint));
}

static void every_file_cut_off_or_missing_is_found(void **state)
{
    static const char *const names[] = { "tile/entries/000", "disclosures/000", "tile/0/000", "tile/1/000.p/1", "checkpoint" };
    static struct file file;

    (void)state;
    export_samples(MANY);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct bw_verify_fault fault;
        struct bw_checkpoint   checkpoint;
        load(&file, names[i]);
        size_t len = file.len;
        for (file.len = 0; file.len < len; file.len += 1 + len / 50, tried++) {
            store(&file);
            assert_false(bw_ok(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint)));
        }
        assert_int_equal(remove(file.path), 0);
        assert_int_equal(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint).code, BW_DATA_INVALID);
        tried++;
        file.len = len;
        store(&file);
        check_ok(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint));
    }
}

/* ---- records: the files are written anew over what is signed, as somebody would who has the directory but not the key ---- */

static void add_record(const struct sample *sample, struct bw_buf *entries, struct bw_buf *disclosures, struct bw_buf *leaves)
{
    check_ok(bw_buf_add_be(entries, sizeof sample->entry, 2));
    check_ok(bw_buf_add(entries, bw_bytes_of(sample->entry, sizeof sample->entry)));
    for (unsigned class = 0; class < 3; class++) {
        check_ok(bw_buf_add_be(disclosures, sample->class_lens[class], 2));
        check_ok(bw_buf_add(disclosures, class_of(sample, class)));
    }
    check_ok(bw_buf_add(leaves, bw_bytes_of(sample->leaf.bytes, sizeof sample->leaf.bytes)));
}

static void put_file(const char *name, struct bw_buf *content)
{
    static struct file file;

    (void)snprintf(file.path, sizeof file.path, "%s/%s", dir, name);
    memcpy(file.content, content->data, content->len);
    file.len = content->len;
    store(&file);
    content->len = 0;
}

/* order: count indexes into samples. The files keep their names, whatever is in them. */
static void put_records(const struct sample *from, const size_t *order, size_t count)
{
    struct bw_buf entries = { 0 }, disclosures = { 0 }, leaves = { 0 };

    for (size_t i = 0; i < count; i++) {
        add_record(&from[order[i]], &entries, &disclosures, &leaves);
        if (i == 255) {
            put_file("tile/entries/000", &entries);
            put_file("disclosures/000", &disclosures);
            put_file("tile/0/000", &leaves);
        }
    }
    put_file("tile/entries/001.p/4", &entries);
    put_file("disclosures/001.p/4", &disclosures);
    put_file("tile/0/001.p/4", &leaves);
    bw_buf_clear(&entries);
    bw_buf_clear(&disclosures);
    bw_buf_clear(&leaves);
}

static void every_change_of_records_is_found(void **state)
{
    static struct sample changed[MANY + 1];
    size_t   order[MANY + 1];
    unsigned before = tried;

    (void)state;
    export_samples(MANY);
    for (size_t k = 0; k < MANY; k++) {
        for (size_t i = 0; i < MANY; i++)
            order[i] = i < k ? i : i + 1;
        put_records(samples, order, MANY - 1);
        expect_fault("deleted", k, (int64_t)k);
        put_records(samples, order, MANY); /* and another record at the end */
        expect_fault("deleted and made up for", k, (int64_t)k);

        for (size_t i = 0; i <= MANY; i++)
            order[i] = i <= k ? i : i - 1;
        put_records(samples, order, MANY + 1);
        expect_fault("inserted", k, k + 1 < MANY ? (int64_t)k + 1 : (int64_t)k);

        for (size_t i = 0; i < MANY; i++)
            order[i] = i;
        size_t other = (k + 1) % MANY;
        order[k] = other, order[other] = k;
        put_records(samples, order, MANY);
        expect_fault("swapped", k, other == 0 ? 0 : (int64_t)k);

        for (size_t i = 0; i < MANY; i++)
            order[i] = i;
        memcpy(changed, samples, sizeof changed);
        seal(&changed[k], k + 1);
        put_records(changed, order, MANY);
        expect_fault("renumbered", k, (int64_t)k);
    }
    print_message("%-24s %6u\n", "changes of records", tried - before);
}

/* Rewritten with its entry and its leaf: nothing below says which it was, but the tile above or the root says that one was. */
static void a_record_rewritten_all_through_is_found(void **state)
{
    static struct sample changed[MANY + 1];
    size_t order[MANY];

    (void)state;
    export_samples(MANY);
    for (size_t i = 0; i < MANY; i++)
        order[i] = i;
    for (size_t k = 0; k < MANY; k++) {
        memcpy(changed, samples, sizeof changed);
        changed[k].classes[1][BW_AUDIT_SALT_LEN - 1] ^= 1;
        seal(&changed[k], k);
        put_records(changed, order, MANY);
        expect_fault("rewritten", k, k < 256 ? 0 : NO_INDEX);
    }
}

static void it_goes_on_from_older_checkpoints_alone(void **state)
{
    struct bw_verify_fault fault;
    struct bw_checkpoint   older, checkpoint;
    struct bw_buf          note = { 0 };
    bw_bytes               given;

    (void)state;
    export_samples(MANY);
    for (size_t size = 0; size <= MANY; size += 13) {
        make_head(size, &older, &note);
        given = bw_buf_bytes(&note);
        check_ok(bw_verify_dir(dir, &key, 1, &given, &fault, &checkpoint));
        older.root.bytes[7] ^= 1;
        sign_head(&older, &note);
        given = bw_buf_bytes(&note);
        assert_int_equal(bw_verify_dir(dir, &key, 1, &given, &fault, &checkpoint).code, BW_DATA_INVALID);
    }
    make_head(MANY + 1, &older, &note);
    given = bw_buf_bytes(&note);
    assert_int_equal(bw_verify_dir(dir, &key, 1, &given, &fault, &checkpoint).code, BW_DATA_INVALID);
    bw_buf_clear(&note);
}

/* ---- another key took over ---- */

enum { HANDED_OVER = 100 }; /* records */

/* The key is replaced at that size. another_past: what the old key ended with is not what the records are now, as when who has
 * the new key alone rewrites what is older and signs it again. */
static void hand_over(bool another_past, const struct soft_signer *by)
{
    struct bw_checkpoint last, now;
    struct bw_buf        note = { 0 }, keys = { 0 };

    make_head(HANDED_OVER, &last, &note);
    last.root.bytes[0] ^= another_past;
    check_ok(bw_succession_add(&last, 1, &soft.signer, &next.signer.key, &keys));
    make_head(MANY, &now, &note);
    sign_head_by(by, &now, &note);
    put_file("keys", &keys);
    put_file("checkpoint", &note);
    bw_buf_clear(&note);
    bw_buf_clear(&keys);
}

static const struct { const char *what; bool another_past; const struct soft_signer *by; const struct bw_note_key *known; enum bw_code code; } turns[] = {
    { "the next key goes on, for who knows the first",       false, &next, &key,      BW_OK                },
    { "and for who knows it",                                false, &next, &next_key, BW_OK                },
    { "an old range signed again by the next key",           true,  &next, &key,      BW_DATA_INVALID      },
    { "for who knows the next key alone",                    true,  &next, &next_key, BW_OK                },
    { "the retired key signs on",                            false, &soft, &key,      BW_SIGNATURE_INVALID },
};

static void a_key_signs_in_its_turn_what_was_handed_over(void **state)
{
    struct bw_verify_fault fault;
    struct bw_checkpoint   checkpoint;

    (void)state;
    export_samples(MANY);
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        print_message("%s\n", turns[i].what);
        hand_over(turns[i].another_past, turns[i].by);
        assert_int_equal(bw_verify_dir(dir, turns[i].known, 1, NULL, &fault, &checkpoint).code, turns[i].code);
    }
}

static void no_bit_of_the_keys_can_be_flipped(void **state)
{
    static struct file file;

    (void)state;
    export_samples(MANY);
    hand_over(false, &next);
    load(&file, "keys");
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        file.content[bit / 8] ^= (uint8_t)(1 << bit % 8);
        store(&file);
        expect_fault("keys", bit, NO_INDEX);
        file.content[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* ---- one record's proof ---- */

static bw_result level_hash(void *self, unsigned level, uint64_t index, bw_hash *ret_hash)
{
    bw_hash nodes[256];

    (void)self;
    for (size_t i = 0; i < 1u << level; i++)
        nodes[i] = samples[(index << level) + i].leaf;
    return bw_merkle_fold(hasher, nodes, 1u << level, ret_hash);
}

static void no_changed_byte_of_a_proof_is_believed(void **state)
{
    const struct bw_tree   tree = { level_hash, NULL, hasher };
    struct bw_record_proof proof = { .index = 200 }, got;
    struct bw_checkpoint   checkpoint;
    struct bw_buf          note = { 0 }, text = { 0 }, extra = { 0 };

    (void)state;
    make_samples(MANY);
    make_head(MANY, &checkpoint, &note);
    proof.note      = bw_buf_bytes(&note);
    proof.essential = class_of(&samples[200], 0);
    proof.who       = class_of(&samples[200], 1);
    proof.context   = class_of(&samples[200], 2);
    check_ok(bw_tree_prove_inclusion(&tree, 200, MANY, &proof.inclusion));
    check_ok(bw_record_proof_print(&proof, &text));
    check_ok(bw_verify_proof(bw_buf_bytes(&text), &key, 1, &extra, &got, &checkpoint));
    assert_int_equal(got.index, 200);
    unsigned before = tried;
    for (size_t bit = 0; bit < 8 * text.len; bit++, tried++) {
        text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        extra.len = 0;
        if (bw_ok(bw_verify_proof(bw_buf_bytes(&text), &key, 1, &extra, &got, &checkpoint)))
            fail_msg("bit %zu", bit);
        text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < text.len; len++, tried++) {
        extra.len = 0;
        assert_false(bw_ok(bw_verify_proof(bw_bytes_of(text.data, len), &key, 1, &extra, &got, &checkpoint)));
    }
    print_message("%-24s %6u bits and ends\n", "a proof", tried - before);
    bw_buf_clear(&note);
    bw_buf_clear(&text);
    bw_buf_clear(&extra);
}

/* Sizes and indexes that would run a reader out of its arithmetic. */
static void absurd_sizes_are_refused(void **state)
{
    static const char *const sizes[] = { "18446744073709551615", "9223372036854775808", "18446744073709551616", "-1", "0x5", "05", "" };
    struct bw_verify_fault fault;
    struct bw_checkpoint   checkpoint;

    (void)state;
    export_samples(FEW);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++, tried++) {
        static struct file file;
        struct bw_buf text = { 0 }, note = { 0 };
        char line[BW_NOTE_NAME_MAX + 100];
        (void)snprintf(line, sizeof line, "%s\n%s\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", key.name, sizes[i]);
        check_ok(bw_buf_add(&text, bw_bytes_text(line)));
        check_ok(bw_note_sign(bw_buf_bytes(&text), &soft.signer, &note));
        load(&file, "checkpoint");
        memcpy(file.content, note.data, note.len);
        file.len = note.len;
        store(&file);
        assert_int_equal(bw_verify_dir(dir, &key, 1, NULL, &fault, &checkpoint).code, BW_DATA_INVALID);
        bw_buf_clear(&text);
        bw_buf_clear(&note);
    }
}

static int start(void **state)
{
    (void)state;
    soft_signer_make(&soft);
    check_ok(bw_note_key_make("eu.example/audit/t/sample", BW_NOTE_ED25519, bw_bytes_of(soft.signer.key.key, soft.signer.key.key_len), &key));
    soft_signer_make_numbered(&next, 1);
    check_ok(bw_note_key_make("eu.example/audit/t/sample", BW_NOTE_ED25519, bw_bytes_of(next.signer.key.key, next.signer.key.key_len), &next_key));
    soft.signer.key = key;
    next.signer.key = next_key;
    return mkdtemp(dir) != NULL && bw_ok(bw_hasher_new(&hasher)) ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    print_message("%u changes, all found\n", tried);
    bw_hasher_free(hasher);
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_file_cut_off_or_missing_is_found),
        cmocka_unit_test(every_change_of_records_is_found),
        cmocka_unit_test(a_record_rewritten_all_through_is_found),
        cmocka_unit_test(it_goes_on_from_older_checkpoints_alone),
        cmocka_unit_test(a_key_signs_in_its_turn_what_was_handed_over),
        cmocka_unit_test(no_bit_of_the_keys_can_be_flipped),
        cmocka_unit_test(no_changed_byte_of_a_proof_is_believed),
        cmocka_unit_test(absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
