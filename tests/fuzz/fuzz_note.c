/* Notes, keys, checkpoints and the notes on a log's keys from wherever a verifier got them. What is read prints as it was, and what nobody signed does
 * not verify. */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "succession.h"

static void check_key(bw_bytes bytes)
{
    struct bw_note_key key, again;
    struct bw_buf      text = { 0 };

    if (!bw_ok(bw_note_key_parse(bytes, &key)))
        return;
    assert(bw_ok(bw_note_key_print(&key, &text)) && bw_ok(bw_note_key_parse(bw_buf_bytes(&text), &again)));
    assert(again.id == key.id && strcmp(again.name, key.name) == 0 && again.key_len == key.key_len);
    bw_buf_clear(&text);
}

static void check_checkpoint(bw_bytes bytes)
{
    struct bw_checkpoint checkpoint, again;
    struct bw_buf        text = { 0 };

    if (!bw_ok(bw_checkpoint_parse(bytes, &checkpoint)))
        return;
    assert(bw_ok(bw_checkpoint_print(&checkpoint, &text)) && bw_ok(bw_checkpoint_parse(bw_buf_bytes(&text), &again)));
    assert(again.size == checkpoint.size && strcmp(again.origin, checkpoint.origin) == 0 && bw_hash_equal(&again.root, &checkpoint.root));
    bw_buf_clear(&text);
}

static void check_base64(bw_bytes bytes)
{
    struct bw_buf read = { 0 }, text = { 0 };

    if (bw_ok(bw_base64_read(bytes, &read)))
        assert(bw_ok(bw_base64_add(&text, bw_buf_bytes(&read))) && bw_bytes_equal(bw_buf_bytes(&text), bytes));
    bw_buf_clear(&read);
    bw_buf_clear(&text);
}

static void check_succession(bw_bytes bytes)
{
    struct bw_succession succession;

    if (!bw_ok(bw_succession_read(bytes, &succession)) || bytes.len == 0)
        return;
    assert(succession.count >= 2 && succession.count <= BW_SUCCESSION_MAX + 1);
    for (size_t i = 1; i + 1 < succession.count; i++)
        assert(succession.until[i].size >= succession.until[i - 1].size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t public_key[32] = { 1 }; /* whose private key nobody has */
    const bw_bytes bytes = bw_bytes_of(data, size);
    struct bw_note_key key;
    bw_bytes text;

    assert(bw_ok(bw_note_key_make("example.com/audit/t/1", BW_NOTE_ED25519, bw_bytes_of(public_key, sizeof public_key), &key)));
    assert(!bw_ok(bw_note_verify(bytes, &key, 1, &text)));
    check_key(bytes);
    check_checkpoint(bytes);
    check_succession(bytes);
    check_base64(bytes);
    return 0;
}
