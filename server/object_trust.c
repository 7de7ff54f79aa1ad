#include "object_trust.h"

#include <openssl/evp.h>
#include <string.h>

#include "daemon.h"
#include "wire.h"

/* Each part with its length before it, so that no two sets of parts make the same bytes. */
static bw_result join(bw_bytes *parts, size_t count, struct bw_buf *joined)
{
    for (size_t i = 0; i < count; i++) {
        BW_TRY(bw_buf_add_be(joined, parts[i].len, 4));
        BW_TRY(bw_buf_add(joined, parts[i]));
    }
    return bw_success();
}

bw_result bw_object_trust_id(const struct bw_daemon *daemon, const bw_tenant *tenant, bw_bytes owner,
                             const Bailiwick__V1__Trust *trust, uint8_t ret_id[static 16])
{
    struct bw_buf joined = { 0 };
    uint8_t digest[32];
    bw_bytes parts[] = {
        bw_bytes_text("bailiwick: id of what is said of a certificate"), bw_bytes_text(daemon->region.text), bw_bytes_text(tenant->text),
        owner, bw_wire_bytes(trust->issuer), bw_wire_bytes(trust->serial),
    };

    bw_result result = join(parts, ARRAY_LEN(parts), &joined);
    bool done = bw_ok(result) && EVP_Digest(joined.data, joined.len, digest, NULL, EVP_sha256(), NULL) == 1;
    bw_buf_clear(&joined);
    BW_TRY(result);
    BW_CHECK(done, BW_NO_MEMORY, "digest");
    memcpy(ret_id, digest, 16);
    return bw_success();
}

bw_result bw_object_trust_read(const struct bw_object *object, struct bw_arena *arena, Bailiwick__V1__Trust **ret_trust)
{
    ProtobufCMessage *message;

    bw_result result = bw_wire_unpack(&bailiwick__v1__trust__descriptor, object->value, arena, &message);
    BW_CHECK(result.code != BW_BAD_ARGUMENT, BW_STORE_UNAVAILABLE, "a trust object in the store is damaged");
    BW_TRY(result);
    *ret_trust = (Bailiwick__V1__Trust *)(void *)message;
    return bw_success();
}

/* Whether a custodian of the caller's tenant says something of the certificate. */
static bw_result custodian_says(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__Trust *trust, bool *ret_says)
{
    const bw_tenant *tenant = &job->caller.identity.tenant;
    struct bw_object found;
    uint8_t id[16];

    BW_TRY(bw_object_trust_id(daemon, tenant, (bw_bytes){ NULL, 0 }, trust, id));
    bw_result result = bw_store_get_object(daemon->store, tenant, id, bw_job_arena(job), &found);
    *ret_says = bw_ok(result);
    return result.code == BW_NO_SUCH_OBJECT ? bw_success() : result;
}

static bool is_app(const struct bw_job *job) { return job->caller.identity.role == BW_ROLE_APP; }

bw_result bw_object_trust_may_say(struct bw_daemon *daemon, struct bw_job *job, const Bailiwick__V1__Trust *trust)
{
    bool says = false;

    if (is_app(job))
        BW_TRY(custodian_says(daemon, job, trust, &says));
    BW_CHECK(!says, BW_NOT_PERMITTED, "a custodian says what the certificate is trusted for");
    return bw_success();
}

bw_result bw_object_trust_is_shown(struct bw_daemon *daemon, struct bw_job *job, const struct bw_object *object, bool *ret_shown)
{
    Bailiwick__V1__Trust *trust;
    bool says;

    *ret_shown = true;
    if (object->class != BAILIWICK__V1__OBJECT_CLASS__TRUST || !is_app(job) || object->owner.len == 0)
        return bw_success();
    *ret_shown = false;
    if (!bw_bytes_equal(object->owner, bw_bytes_text(job->caller.spiffe_id)))
        return bw_success();
    BW_TRY(bw_object_trust_read(object, bw_job_arena(job), &trust));
    BW_TRY(custodian_says(daemon, job, trust, &says));
    *ret_shown = !says;
    return bw_success();
}
