/* Mechanisms with parameters of any bytes and any length. Pointers inside the structures lead into the input or nowhere, as an
 * application's do; lengths are whatever they are, up to what lies behind the pointer. */
#include <stdint.h>
#include <string.h>

#include "bailiwick/bailiwick_pkcs11.h"
#include "parameters.h"

enum { FIELDS = 6, BEHIND = 70000 };

static uint8_t behind[BEHIND]; /* what the pointers lead to */

static CK_MECHANISM_TYPE type_of(uint8_t number)
{
    size_t count = 0;

    while (bw_mechanism_at(count) != NULL)
        count++;
    size_t row = number % (count + 2);
    return row < count ? bw_mechanism_at(row)->type : row == count ? CKM_BAILIWICK_ENVELOPE : number;
}

/* Words that are pointers in some structure become pointers in all of them: a length that is one is beyond every limit. */
static void fill(CK_ULONG *words, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < FIELDS; i++) {
        uint8_t how = i < size ? data[i] : 0;
        CK_ULONG value = 3 * i + 1 < size ? (CK_ULONG)data[3 * i] << 8 | data[3 * i + 1] : how;
        words[i] = how & 0x80 ? (CK_ULONG)(uintptr_t)behind : how & 0x40 ? 0 : value % (BEHIND - 1);
    }
}

static void run(CK_MECHANISM_TYPE type, void *parameter, CK_ULONG len, unsigned use)
{
    struct bw_arena arena = { 0 };
    struct bw_parameters p;
    CK_MECHANISM mechanism = { type, parameter, len };

    if (bw_ok(bw_parameters_parse(&mechanism, use, &arena, &p)) && !bw_ok(bw_mechanism_check(&p.mechanism)))
        __builtin_trap(); /* what is taken is in range */
    bw_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t sizes[] = { 8, 16, 24, 32, 40, 48 };
    CK_ULONG words[FIELDS];

    if (size < 3)
        return 0;
    CK_MECHANISM_TYPE type = type_of(data[0]);
    const struct bw_mechanism_row *row = bw_mechanism_row(type);
    unsigned use = 1u << (data[1] % 10);
    bool has_pointers = type == CKM_BAILIWICK_ENVELOPE || (row != NULL && row->params != BW_PARAMS_NOTHING && row->params != BW_PARAMS_IV);

    if (!has_pointers) {
        run(type, (void *)(uintptr_t)(data + 2), size - 2, use);
        return 0;
    }
    fill(words, data + 3, size - 3);
    /* only words that the structure has as pointers may be followed: numbers there must be NULL or real */
    static const struct { enum bw_params params; size_t pointers[2]; } layouts[] = {
        { BW_PARAMS_GCM, { 0, 3 } }, { BW_PARAMS_OAEP, { 3, 3 } }, { BW_PARAMS_PEER, { 2, 4 } },
    };
    for (size_t i = 0; row != NULL && i < ARRAY_LEN(layouts); i++)
        for (size_t k = 0; layouts[i].params == row->params && k < 2; k++)
            if (words[layouts[i].pointers[k]] != (CK_ULONG)(uintptr_t)behind)
                words[layouts[i].pointers[k]] = 0;
    size_t len = sizes[data[2] % ARRAY_LEN(sizes)];
    if (row != NULL && row->params == BW_PARAMS_GCM && len == 40) { /* the older structure: its second pointer is the third word */
        words[2] = words[3];
        words[3] = words[4] % BEHIND, words[4] = 128;
    }
    if (type == CKM_BAILIWICK_ENVELOPE || type == CKM_RSA_AES_KEY_WRAP)
        words[type == CKM_BAILIWICK_ENVELOPE ? 0 : 1] = data[2] & 0x80 ? (CK_ULONG)(uintptr_t)behind : 0;
    run(type, words, len, use);
    return 0;
}
