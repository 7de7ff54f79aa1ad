/* Proofs that somebody else made: as text, and as hashes for a tree of any size. */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "verify.h"

/* index, size, then hashes: the first two are leaf and root, or both roots */
static void check_hashes(struct bw_hasher *hasher, bw_bytes bytes)
{
    struct bw_reader reader = { .rest = bytes };
    uint64_t         from = bw_read_be(&reader, 8), size = bw_read_be(&reader, 8);
    struct bw_proof  proof = { .count = 0 };
    bw_hash          hashes[BW_PROOF_MAX + 2] = { { { 0 } } };
    size_t           count = reader.rest.len / sizeof *hashes < ARRAY_LEN(hashes) ? reader.rest.len / sizeof *hashes : ARRAY_LEN(hashes);

    if (count > 0)
        memcpy(hashes, reader.rest.data, count * sizeof *hashes);
    if (count > 2) {
        proof.count = count - 2;
        memcpy(proof.hashes, hashes + 2, proof.count * sizeof *hashes);
    }
    bool included   = bw_ok(bw_merkle_check_inclusion(hasher, from, &hashes[0], size, &hashes[1], &proof));
    bool consistent = bw_ok(bw_merkle_check_consistency(hasher, from, &hashes[0], size, &hashes[1], &proof));
    assert(!included || from < size);
    assert(!consistent || (from > 0 && from <= size));
    assert(!consistent || from < size || bw_hash_equal(&hashes[0], &hashes[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t public_key[32] = { 1 };
    static struct bw_hasher *hasher;
    struct bw_note_key     key;
    struct bw_record_proof proof;
    struct bw_checkpoint   checkpoint;
    struct bw_buf          extra = { 0 };

    if (hasher == NULL)
        assert(bw_ok(bw_hasher_new(&hasher)));
    assert(bw_ok(bw_note_key_make("example.com/audit/t/1", BW_NOTE_ED25519, bw_bytes_of(public_key, sizeof public_key), &key)));
    assert(!bw_ok(bw_verify_proof(bw_bytes_of(data, size), &key, 1, &extra, &proof, &checkpoint)));
    bw_buf_clear(&extra);
    check_hashes(hasher, bw_bytes_of(data, size));
    return 0;
}
