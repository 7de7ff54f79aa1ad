/* Templates of any shape, over objects of every shape: taken, matched, read. What is read must fit where it is read to. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attributes.h"
#include "bailiwick/limits.h"
#include "token.h"

enum { ENTRIES = 16, ROOM = 64 };

/* From the input: for each entry a type, where its value lies in the input, and how much room the reader gets. */
struct entry { uint8_t row, high, at, len, room; };

static const CK_ATTRIBUTE_TYPE types[] = {
#define BW_ATTRIBUTE(attribute, kind, shapes, given, unset) attribute,
#include "attributes.def"
#undef BW_ATTRIBUTE
};

static CK_ULONG make_template(const uint8_t *data, size_t size, CK_ATTRIBUTE *template, uint8_t (*rooms)[ROOM])
{
    CK_ULONG count = 0;

    for (; count < ENTRIES && size >= sizeof(struct entry); count++) {
        struct entry e;
        memcpy(&e, data, sizeof e);
        data += sizeof e, size -= sizeof e;
        size_t len = e.len < size ? e.len : size;
        template[count] = (CK_ATTRIBUTE){ e.high > 200 ? (CK_ULONG)e.high << 24 | e.row : types[e.row % ARRAY_LEN(types)], (void *)(uintptr_t)data, len };
        if (e.at == 0)
            template[count].pValue = NULL;
        if (rooms != NULL)
            template[count] = (CK_ATTRIBUTE){ template[count].type, e.at == 0 ? NULL : rooms[count], e.room % ROOM };
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bw_attributes a = { 0 }, copy = { 0 };
    CK_ATTRIBUTE template[ENTRIES];
    uint8_t rooms[ENTRIES][ROOM];

    if (size < 1)
        return 0;
    unsigned occasion = 1u << (data[0] & 3);
    CK_ULONG count = make_template(data + 1, size - 1, template, NULL);
    bw_result taken = bw_attributes_take(&a, (enum bw_occasion)occasion, template, count);
    if (bw_ok(taken) && bw_ok(bw_attributes_copy(&a, &copy))) {
        (void)bw_attributes_match(&copy, template, count);
        (void)bw_token_uses_wanted(&copy);
        count = make_template(data + 1, size - 1, template, rooms);
        CK_ATTRIBUTE before[ENTRIES];
        memcpy(before, template, sizeof before);
        (void)bw_attributes_read(&copy, template, count); /* any answer will do */
        for (CK_ULONG i = 0; i < count; i++)
            if (before[i].pValue != NULL && template[i].ulValueLen != CK_UNAVAILABLE_INFORMATION && template[i].ulValueLen > before[i].ulValueLen)
                abort();
    }
    bw_attributes_clear(&a);
    bw_attributes_clear(&copy);
    return 0;
}
