#include "note.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

enum { ID_LEN = 4, HALF_LEN = 32, SIGNATURE_ROOM = 256 };

static const char dash[] = "\xe2\x80\x94 "; /* U+2014 and a space begin a signature line */

/* ---- base64, RFC 4648 section 4 ---- */

bw_result bw_base64_add(struct bw_buf *buf, bw_bytes bytes)
{
    size_t   len = (bytes.len + 2) / 3 * 4;
    uint8_t *tail;

    BW_TRY(bw_buf_grow(buf, len + 1, &tail)); /* EVP_EncodeBlock ends with a zero */
    (void)EVP_EncodeBlock(tail, bytes.data, (int)bytes.len);
    buf->len--;
    return bw_success();
}

static bw_result is_what_we_write(bw_bytes text, bw_bytes bytes)
{
    struct bw_buf again = { 0 };

    bw_result r    = bw_base64_add(&again, bytes);
    bool      same = bw_ok(r) && bw_bytes_equal(bw_buf_bytes(&again), text);
    bw_buf_clear(&again);
    BW_TRY(r);
    BW_CHECK(same, BW_DATA_INVALID, "not base64");
    return bw_success();
}

/* EVP_DecodeBlock alone would pass over blanks and stray bits. */
bw_result bw_base64_read(bw_bytes text, struct bw_buf *ret_bytes)
{
    size_t   before = ret_bytes->len;
    uint8_t *tail;

    BW_CHECK(text.len > 0 && text.len % 4 == 0 && text.len <= BW_NOTE_MAX * 2, BW_DATA_INVALID, "not base64");
    BW_TRY(bw_buf_grow(ret_bytes, text.len / 4 * 3, &tail));
    int len = EVP_DecodeBlock(tail, text.data, (int)text.len);
    for (size_t i = 1; len > 0 && i <= 2 && text.data[text.len - i] == '='; i++)
        len--;
    bw_result r = len > 0 ? is_what_we_write(text, bw_bytes_of(tail, (size_t)len)) : bw_fail(BW_DATA_INVALID, "not base64");
    ret_bytes->len = before + (bw_ok(r) ? (size_t)len : 0);
    return r;
}

static bw_result read_base64(bw_bytes text, uint8_t *bytes, size_t room, size_t *ret_len)
{
    struct bw_buf decoded = { .ceiling = SIGNATURE_ROOM + 3 };

    bw_result r = bw_base64_read(text, &decoded);
    if (bw_ok(r) && decoded.len > room)
        r = bw_fail(BW_DATA_INVALID, "base64 of too many bytes");
    if (bw_ok(r)) {
        memcpy(bytes, decoded.data, decoded.len);
        *ret_len = decoded.len;
    }
    bw_buf_clear(&decoded);
    return r;
}

/* ---- keys ---- */

static bool name_is_fit(bw_bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] == '+' || name.data[i] >= 0x7f)
            return false;
    return name.len > 0 && name.len <= BW_NOTE_NAME_MAX;
}

static EVP_PKEY *public_key_of(const struct bw_note_key *key)
{
    const uint8_t *der = key->key;

    if (key->type == BW_NOTE_ED25519)
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->key, key->key_len);
    EVP_PKEY *public_key = d2i_PUBKEY(NULL, &der, (long)key->key_len);
    if (public_key != NULL && (der != key->key + key->key_len || !EVP_PKEY_is_a(public_key, "EC") || EVP_PKEY_get_bits(public_key) != 256)) {
        EVP_PKEY_free(public_key);
        return NULL;
    }
    return public_key;
}

/* Ed25519: over name, newline, type and key. ECDSA: over the key alone. */
static bw_result set_id(struct bw_note_key *key)
{
    const uint8_t  newline_and_type[] = { '\n', (uint8_t)key->type };
    const bw_bytes public_key         = { key->key, key->key_len };
    const bw_bytes parts[]            = { bw_bytes_text(key->name), { newline_and_type, sizeof newline_and_type }, public_key };
    BW_AUTO(hasher) hasher = NULL;
    uint8_t hash[BW_AUDIT_HASH_LEN];

    BW_TRY(bw_hasher_new(&hasher));
    if (key->type == BW_NOTE_ED25519)
        BW_TRY(bw_hasher_digest(hasher, parts, ARRAY_LEN(parts), hash));
    else
        BW_TRY(bw_hasher_digest(hasher, &public_key, 1, hash));
    key->id = (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
    return bw_success();
}

bw_result bw_note_key_make(const char *name, enum bw_note_type type, bw_bytes public_key, struct bw_note_key *ret_key)
{
    struct bw_note_key key = { .type = type, .key_len = public_key.len };

    BW_CHECK(name_is_fit(bw_bytes_text(name)), BW_BAD_ARGUMENT, "a note key's name may have no blank and no '+'");
    BW_CHECK(type == BW_NOTE_ED25519 || type == BW_NOTE_ECDSA_P256, BW_BAD_ARGUMENT, "no such type of note key");
    BW_CHECK(public_key.len > 0 && public_key.len <= sizeof key.key, BW_BAD_ARGUMENT, "a note key of another length");
    strcpy(key.name, name);
    memcpy(key.key, public_key.data, public_key.len);
    EVP_PKEY *readable = public_key_of(&key);
    BW_CHECK(readable != NULL, BW_BAD_ARGUMENT, "not a public key of this type");
    EVP_PKEY_free(readable);
    BW_TRY(set_id(&key));

    *ret_key = key;
    return bw_success();
}

bool bw_note_key_is_same(const struct bw_note_key *a, const struct bw_note_key *b)
{
    return a->type == b->type && bw_bytes_equal(bw_bytes_of(a->key, a->key_len), bw_bytes_of(b->key, b->key_len));
}

bw_result bw_note_key_print(const struct bw_note_key *key, struct bw_buf *ret_text)
{
    uint8_t typed[1 + BW_NOTE_KEY_MAX] = { (uint8_t)key->type };
    char    id[11];

    memcpy(typed + 1, key->key, key->key_len);
    (void)snprintf(id, sizeof id, "+%08x+", key->id);
    BW_TRY(bw_buf_add(ret_text, bw_bytes_text(key->name)));
    BW_TRY(bw_buf_add(ret_text, bw_bytes_text(id)));
    return bw_base64_add(ret_text, bw_bytes_of(typed, 1 + key->key_len));
}

/* What stands before the next end, which is taken too; failed when there is none. */
static bw_bytes read_until(struct bw_reader *reader, char end)
{
    const uint8_t *at = reader->rest.len > 0 ? memchr(reader->rest.data, end, reader->rest.len) : NULL;

    if (at == NULL) {
        reader->failed = true;
        return (bw_bytes){ NULL, 0 };
    }
    bw_bytes before = bw_read_bytes(reader, (size_t)(at - reader->rest.data));
    (void)bw_read_bytes(reader, 1);
    return before;
}

bw_result bw_note_key_parse(bw_bytes text, struct bw_note_key *ret_key)
{
    struct bw_reader   reader = { .rest = text };
    struct bw_note_key key;
    uint8_t            typed[1 + BW_NOTE_KEY_MAX];
    size_t             typed_len;
    char               name[BW_NOTE_NAME_MAX + 1] = "", id[9];

    bw_bytes name_text = read_until(&reader, '+'), id_text = read_until(&reader, '+');
    BW_CHECK(!reader.failed && name_is_fit(name_text) && id_text.len == 8, BW_DATA_INVALID, "not a note key");
    memcpy(name, name_text.data, name_text.len);
    BW_CHECK(bw_ok(read_base64(reader.rest, typed, sizeof typed, &typed_len)) && typed_len > 1, BW_DATA_INVALID, "not a note key");
    BW_CHECK(bw_ok(bw_note_key_make(name, (enum bw_note_type)typed[0], bw_bytes_of(typed + 1, typed_len - 1), &key)), BW_DATA_INVALID, "not a note key");
    (void)snprintf(id, sizeof id, "%08x", key.id);
    BW_CHECK(memcmp(id, id_text.data, 8) == 0, BW_DATA_INVALID, "a note key whose id is another's");

    *ret_key = key;
    return bw_success();
}

/* ---- signatures ---- */

static bool signature_is_good(const struct bw_note_key *key, bw_bytes text, bw_bytes signature)
{
    EVP_PKEY     *public_key = public_key_of(key);
    EVP_MD_CTX   *context    = EVP_MD_CTX_new();
    const EVP_MD *digest     = key->type == BW_NOTE_ED25519 ? NULL : EVP_sha256();

    bool good = public_key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, digest, NULL, public_key) == 1
             && EVP_DigestVerify(context, signature.data, signature.len, text.data, text.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return good;
}

/* Notes carry ECDSA signatures as X9.62 has them, HSMs give r || s. */
static bw_result add_x962(bw_bytes halves, struct bw_buf *buf)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM    *r    = halves.len == 2 * HALF_LEN ? BN_bin2bn(halves.data, HALF_LEN, NULL) : NULL;
    BIGNUM    *s    = halves.len == 2 * HALF_LEN ? BN_bin2bn(halves.data + HALF_LEN, HALF_LEN, NULL) : NULL;
    uint8_t   *der  = NULL;
    int        len  = -1;

    if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL; /* the pair's now */
        len = i2d_ECDSA_SIG(pair, &der);
    }
    bw_result result = len > 0 ? bw_buf_add(buf, bw_bytes_of(der, (size_t)len)) : bw_fail(BW_HSM_FAILED, "an ECDSA signature of another length");
    OPENSSL_free(der);
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return result;
}

/* id || signature as it stands in the note, appended to line */
static bw_result add_signature(bw_bytes text, const struct bw_note_signer *signer, struct bw_buf *raw, struct bw_buf *line)
{
    BW_TRY(bw_buf_add_be(line, signer->key.id, ID_LEN));
    BW_TRY(signer->sign(signer->self, text, raw));
    if (signer->key.type == BW_NOTE_ECDSA_P256)
        BW_TRY(add_x962(bw_buf_bytes(raw), line));
    else
        BW_TRY(bw_buf_add(line, bw_buf_bytes(raw)));
    const bw_bytes signature = { line->data + ID_LEN, line->len - ID_LEN };
    BW_CHECK(signature_is_good(&signer->key, text, signature), BW_HSM_FAILED, "the log's signer gave a signature that does not verify");
    return bw_success();
}

static bw_result print_note(bw_bytes text, const char *name, bw_bytes signature, struct bw_buf *note)
{
    BW_TRY(bw_buf_add(note, text));
    BW_TRY(bw_buf_add(note, bw_bytes_text("\n")));
    BW_TRY(bw_buf_add(note, bw_bytes_text(dash)));
    BW_TRY(bw_buf_add(note, bw_bytes_text(name)));
    BW_TRY(bw_buf_add(note, bw_bytes_text(" ")));
    BW_TRY(bw_base64_add(note, signature));
    return bw_buf_add(note, bw_bytes_text("\n"));
}

bw_result bw_note_sign(bw_bytes text, const struct bw_note_signer *signer, struct bw_buf *ret_note)
{
    struct bw_buf raw = { .ceiling = SIGNATURE_ROOM }, signature = { .ceiling = SIGNATURE_ROOM };

    BW_CHECK(text.len > 0 && text.data[text.len - 1] == '\n', BW_BAD_ARGUMENT, "a note's text ends in a newline");
    bw_result r = add_signature(text, signer, &raw, &signature);
    if (bw_ok(r))
        r = print_note(text, signer->key.name, bw_buf_bytes(&signature), ret_note);
    bw_buf_clear(&raw);
    bw_buf_clear(&signature);
    return r;
}

/* ---- verifying ---- */

static bool is_note_text(bw_bytes note)
{
    while (note.len > 0) {
        size_t len = bw_utf8_len(note);
        if (len == 0 || (note.data[0] < ' ' && note.data[0] != '\n'))
            return false;
        note.data += len;
        note.len  -= len;
    }
    return true;
}

/* At the last empty line: it belongs to neither part. */
static bw_result split_note(bw_bytes note, bw_bytes *ret_text, bw_bytes *ret_lines)
{
    BW_CHECK(note.len > 0 && note.len <= BW_NOTE_MAX && note.data[note.len - 1] == '\n' && is_note_text(note), BW_DATA_INVALID, "not a signed note");
    for (size_t at = note.len - 1; at >= 2; at--)
        if (note.data[at - 1] == '\n' && note.data[at - 2] == '\n') {
            *ret_text  = bw_bytes_of(note.data, at - 1);
            *ret_lines = bw_bytes_of(note.data + at, note.len - at);
            return bw_success();
        }
    return bw_fail(BW_DATA_INVALID, "a note without signatures");
}

struct line { bw_bytes name; uint32_t id; uint8_t signature[SIGNATURE_ROOM]; size_t signature_len; };

/* Signatures of types that we do not know may be longer than ours: those lines are checked for form alone. */
static bw_result read_line(struct bw_reader *lines, struct line *ret_line)
{
    bw_bytes         text   = read_until(lines, '\n');
    struct bw_reader reader = { .rest = text };
    uint8_t          bytes[ID_LEN + SIGNATURE_ROOM];
    size_t           len;

    BW_CHECK(!lines->failed, BW_DATA_INVALID, "a note's last line does not end");
    BW_CHECK(bw_bytes_equal(bw_read_bytes(&reader, sizeof dash - 1), bw_bytes_text(dash)), BW_DATA_INVALID, "not a signature line");
    *ret_line = (struct line){ .name = read_until(&reader, ' ') };
    BW_CHECK(!reader.failed && ret_line->name.len > 0 && memchr(ret_line->name.data, '+', ret_line->name.len) == NULL, BW_DATA_INVALID, "a signature line without a name");
    BW_CHECK(reader.rest.len >= 8 && memchr(reader.rest.data, ' ', reader.rest.len) == NULL, BW_DATA_INVALID, "a signature line without a signature");
    if (!bw_ok(read_base64(reader.rest, bytes, SIGNATURE_ROOM, &len)) || len <= ID_LEN)
        return bw_success(); /* of no key that we have */
    ret_line->id            = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    ret_line->signature_len = len - ID_LEN;
    memcpy(ret_line->signature, bytes + ID_LEN, len - ID_LEN);
    return bw_success();
}

static const struct bw_note_key *key_of(const struct line *line, const struct bw_note_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].id == line->id && bw_bytes_equal(bw_bytes_text(keys[i].name), line->name))
            return &keys[i];
    return NULL;
}

bw_result bw_note_verify(bw_bytes note, const struct bw_note_key *keys, size_t count, bw_bytes *ret_text)
{
    struct bw_reader lines = { 0 };
    bw_bytes text;
    size_t   signatures = 0, good = 0;

    BW_TRY(split_note(note, &text, &lines.rest));
    while (lines.rest.len > 0) {
        struct line line;
        BW_CHECK(signatures++ < BW_NOTE_SIGNATURES_MAX, BW_DATA_INVALID, "a note with too many signatures");
        BW_TRY(read_line(&lines, &line));
        const struct bw_note_key *key = key_of(&line, keys, count);
        if (key == NULL)
            continue;
        BW_CHECK(signature_is_good(key, text, bw_bytes_of(line.signature, line.signature_len)), BW_SIGNATURE_INVALID, "a note's signature does not verify");
        good++;
    }
    BW_CHECK(good > 0, BW_SIGNATURE_INVALID, "a note that none of these keys signed");

    *ret_text = text;
    return bw_success();
}

/* ---- checkpoints ---- */

bw_result bw_checkpoint_print(const struct bw_checkpoint *checkpoint, struct bw_buf *ret_text)
{
    char size[24];

    (void)snprintf(size, sizeof size, "\n%llu\n", (unsigned long long)checkpoint->size);
    BW_TRY(bw_buf_add(ret_text, bw_bytes_text(checkpoint->origin)));
    BW_TRY(bw_buf_add(ret_text, bw_bytes_text(size)));
    BW_TRY(bw_base64_add(ret_text, bw_bytes_of(checkpoint->root.bytes, sizeof checkpoint->root.bytes)));
    return bw_buf_add(ret_text, bw_bytes_text("\n"));
}

/* Decimal, without leading zeros and without anything else. */
static bool read_size(bw_bytes text, uint64_t *ret_size)
{
    uint64_t size = 0;

    if (text.len == 0 || (text.len > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(size, 10u, &size)
            || __builtin_add_overflow(size, (uint64_t)(text.data[i] - '0'), &size))
            return false;
    *ret_size = size;
    return true;
}

bw_result bw_checkpoint_parse(bw_bytes text, struct bw_checkpoint *ret_checkpoint)
{
    struct bw_reader     reader     = { .rest = text };
    struct bw_checkpoint checkpoint = { 0 };
    size_t               root_len   = 0;

    bw_bytes origin = read_until(&reader, '\n'), size = read_until(&reader, '\n'), root = read_until(&reader, '\n');
    BW_CHECK(!reader.failed && name_is_fit(origin), BW_DATA_INVALID, "not a checkpoint");
    BW_CHECK(read_size(size, &checkpoint.size), BW_DATA_INVALID, "a checkpoint without a size");
    BW_CHECK(bw_ok(read_base64(root, checkpoint.root.bytes, sizeof checkpoint.root.bytes, &root_len)) && root_len == sizeof checkpoint.root.bytes,
             BW_DATA_INVALID, "a checkpoint without a root");
    while (reader.rest.len > 0)
        BW_CHECK(read_until(&reader, '\n').len > 0, BW_DATA_INVALID, "a checkpoint with an empty line");
    memcpy(checkpoint.origin, origin.data, origin.len);

    *ret_checkpoint = checkpoint;
    return bw_success();
}
