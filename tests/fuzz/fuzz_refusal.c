/* The details of a refusal are read from bytes that a server chose. Whatever they are: every text ends inside its
 * field and holds nothing that a terminal obeys, a home region is a region's name, and the result is a refusal. */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "wire.h"

static void check_text(const char *text, size_t room)
{
    size_t len = strnlen(text, room);

    assert(len < room);
    for (size_t i = 0; i < len; i++)
        assert((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bw_refusal refusal;
    bw_region region;

    bw_wire_unpack_refusal(bw_bytes_of(data, size), &refusal);
    check_text(refusal.reason, sizeof refusal.reason);
    check_text(refusal.field, sizeof refusal.field);
    check_text(refusal.message, sizeof refusal.message);
    check_text(refusal.home_region, sizeof refusal.home_region);
    assert(refusal.home_region[0] == '\0' || bw_ok(bw_region_parse(bw_bytes_text(refusal.home_region), &region)));

    bw_result result = bw_wire_result(&refusal);
    assert(!bw_ok(result) && result.what != NULL);
    return 0;
}
