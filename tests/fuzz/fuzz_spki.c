/* Public keys and certificates: DER that the region or an application hands in. What parses, builds the same key again. */
#include <stdint.h>
#include <stdlib.h>

#include "spki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bw_certificate certificate;
    struct bw_public key, again;
    struct bw_buf built = { 0 };
    bw_bytes der = bw_bytes_of(data, size);

    (void)bw_ok(bw_certificate_parse(der, &certificate));
    (void)bw_spki_bare_point(der);
    if (bw_ok(bw_spki_parse(der, &key)) && bw_ok(bw_spki_build(&key, &built))) {
        if (!bw_ok(bw_spki_parse(bw_buf_bytes(&built), &again)) || again.bits != key.bits || !bw_bytes_equal(again.modulus, key.modulus) || !bw_bytes_equal(again.point, key.point))
            abort();
    }
    bw_buf_clear(&built);
    return 0;
}
