#include "epoch.h"

#include <string.h>

static const char magic[4] = "BWE1";

/* ---- entries ---- */

static uint8_t *put_be(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return at + width;
}

void bw_epoch_print(const struct bw_epoch *epoch, uint8_t entry[static BW_EPOCH_ENTRY_LEN])
{
    memset(entry, 0, BW_EPOCH_ENTRY_LEN);
    memcpy(entry, magic, sizeof magic);
    uint8_t *at = put_be(entry + sizeof magic, epoch->epoch, 8);
    at = put_be(at, (uint64_t)epoch->time_us, 8);
    at = put_be(at, epoch->clock_error_us, 4);
    at = put_be(at, epoch->slots, 4);
    memcpy(at, epoch->root.bytes, sizeof epoch->root.bytes);
}

bw_result bw_epoch_parse(bw_bytes entry, struct bw_epoch *ret_epoch)
{
    struct bw_reader reader = { entry, false };
    struct bw_epoch  epoch;

    BW_CHECK(entry.len == BW_EPOCH_ENTRY_LEN, BW_DATA_INVALID, "an epoch's entry has another length");
    BW_CHECK(memcmp(bw_read_bytes(&reader, sizeof magic).data, magic, sizeof magic) == 0, BW_DATA_INVALID, "not an epoch's entry");
    epoch.epoch          = bw_read_be(&reader, 8);
    epoch.time_us        = (int64_t)bw_read_be(&reader, 8);
    epoch.clock_error_us = (uint32_t)bw_read_be(&reader, 4);
    epoch.slots          = (uint32_t)bw_read_be(&reader, 4);
    memcpy(epoch.root.bytes, bw_read_bytes(&reader, sizeof epoch.root.bytes).data, sizeof epoch.root.bytes);
    BW_CHECK(epoch.slots > 0 && (epoch.slots & (epoch.slots - 1)) == 0 && bw_read_be(&reader, 4) == 0, BW_DATA_INVALID, "not an epoch's entry");
    *ret_epoch = epoch;
    return bw_success();
}

/* ---- slots ---- */

bw_result bw_slot_of(struct bw_hasher *hasher, bw_bytes slot_key, uint64_t epoch, const struct bw_checkpoint *checkpoint, bw_bytes note, bw_hash *ret_slot)
{
    uint8_t numbers[16], note_hash[BW_AUDIT_HASH_LEN];

    (void)put_be(put_be(numbers, epoch, 8), checkpoint->size, 8);
    BW_TRY(bw_hasher_digest(hasher, &note, 1, note_hash));
    const bw_bytes parts[] = {
        { numbers, sizeof numbers }, { checkpoint->root.bytes, sizeof checkpoint->root.bytes }, { note_hash, sizeof note_hash },
        bw_bytes_text(checkpoint->origin),
    };
    return bw_hasher_mac(hasher, slot_key, parts, ARRAY_LEN(parts), ret_slot->bytes);
}

/* ---- proofs ---- */

static bw_result read_checkpoint(bw_bytes note, const struct bw_note_key *key, struct bw_checkpoint *ret_checkpoint)
{
    bw_bytes text;

    BW_TRY(bw_note_verify(note, key, 1, &text));
    BW_TRY(bw_checkpoint_parse(text, ret_checkpoint));
    BW_CHECK(strcmp(ret_checkpoint->origin, key->name) == 0, BW_SIGNATURE_INVALID, "a checkpoint of another log than its key is of");
    return bw_success();
}

static bw_result check_leaf(struct bw_hasher *hasher, bw_bytes leaf, uint64_t index, uint64_t size, const bw_hash *root, const struct bw_proof *path)
{
    bw_hash hash;

    BW_TRY(bw_merkle_leaf(hasher, leaf, &hash));
    return bw_merkle_check_inclusion(hasher, index, &hash, size, root, path);
}

bw_result bw_anchor_verify(const struct bw_anchor_proof *proof, const struct bw_note_key *anchor_key, const struct bw_note_key *log_key,
                           struct bw_epoch *ret_epoch, struct bw_checkpoint *ret_checkpoint)
{
    BW_AUTO(hasher) hasher = NULL;
    struct bw_checkpoint anchor, checkpoint;
    struct bw_epoch      epoch;
    bw_hash              slot;

    BW_TRY(bw_hasher_new(&hasher));
    BW_TRY(read_checkpoint(proof->note, anchor_key, &anchor));
    BW_TRY(read_checkpoint(proof->checkpoint, log_key, &checkpoint));
    BW_TRY(bw_epoch_parse(proof->entry, &epoch));
    BW_TRY(check_leaf(hasher, proof->entry, proof->index, anchor.size, &anchor.root, &proof->inclusion));
    BW_TRY(bw_slot_of(hasher, proof->slot_key, epoch.epoch, &checkpoint, proof->checkpoint, &slot));
    BW_TRY(check_leaf(hasher, bw_bytes_of(slot.bytes, sizeof slot.bytes), proof->slot, epoch.slots, &epoch.root, &proof->slot_path));
    *ret_epoch      = epoch;
    *ret_checkpoint = checkpoint;
    return bw_success();
}
