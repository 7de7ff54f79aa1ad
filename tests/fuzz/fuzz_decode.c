/* Any bytes as a request of any method: the first byte chooses it. Nothing but a result may come of it. */
#include "stages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bw_call call = { .arena.ceiling = 8 * BW_MESSAGE_MAX };
    struct bw_job  job  = { .call = &call };

    if (size == 0)
        return 0;
    job.method   = bw_method_at(data[0]);
    call.message = bw_bytes_of(data + 1, size - 1);
    if (job.method != NULL)
        (void)bw_decode(NULL, &job); /* any answer will do */
    bw_arena_clear(&call.arena);
    return 0;
}
