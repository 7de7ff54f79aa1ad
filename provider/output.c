#include "output.h"

#include <string.h>

CK_ULONG bw_ulong_at(const void *at)
{
    CK_ULONG value;

    memcpy(&value, at, sizeof value);
    return value;
}

void bw_ulong_put(void *at, CK_ULONG value)
{
    memcpy(at, &value, sizeof value);
}

bw_result bw_input(const void *data, CK_ULONG len, bw_bytes *ret_bytes)
{
    BW_CHECK(data != NULL || len == 0, BW_BAD_ARGUMENT, "a length without data");
    *ret_bytes = (bw_bytes){ len > 0 ? data : NULL, len };
    return bw_success();
}

bw_result bw_out_check(struct bw_out out)
{
    BW_CHECK(out.len != NULL, BW_BAD_ARGUMENT, "no place for the length");
    return bw_success();
}

void bw_out_tell(struct bw_out out, size_t len)
{
    bw_ulong_put(out.len, len);
}

bw_result bw_out_room(struct bw_out out, size_t len)
{
    if (bw_ulong_at(out.len) >= len)
        return bw_success();
    bw_out_tell(out, len);
    return bw_fail(BW_BUFFER_SMALL, "output");
}

bw_result bw_out_write(struct bw_out out, bw_bytes bytes)
{
    if (!bw_out_is_query(out)) {
        BW_TRY(bw_out_room(out, bytes.len));
        if (bytes.len > 0)
            memcpy(out.data, bytes.data, bytes.len);
    }
    bw_out_tell(out, bytes.len);
    return bw_success();
}
