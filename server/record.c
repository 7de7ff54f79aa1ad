#include "record.h"

#include <string.h>

#include "bailiwick/v1/record.pb-c.h"
#include "wire.h"

typedef Bailiwick__V1__RecordEssential essential_message;
typedef Bailiwick__V1__RecordWho       who_message;
typedef Bailiwick__V1__RecordContext   context_message;

/* ---- text ---- */

static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1];
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0); /* U+0080 to U+009F */
}

/* A reader's protobuf library refuses a whole record for one bad string, so none gets in. */
static char *checked(const char *text)
{
    const char *end = text + strlen(text);

    for (const char *at = text; at < end;) {
        size_t len = bw_utf8_len(bw_bytes_of(at, (size_t)(end - at)));
        if (len == 0 || is_control(at))
            return (char *)(uintptr_t)"?";
        at += len;
    }
    return (char *)(uintptr_t)text;
}

static ProtobufCBinaryData given(const uint8_t *bytes, size_t len, bool present)
{
    return present ? bw_wire_data(bw_bytes_of(bytes, len)) : (ProtobufCBinaryData){ 0, NULL };
}

static bool any_set(const uint8_t *bytes, size_t len)
{
    uint8_t all = 0;

    for (size_t i = 0; i < len; i++)
        all |= bytes[i];
    return all != 0;
}

/* ---- struct to messages ---- */

static essential_message essential_of(const struct bw_record *record, const struct bw_record_stamp *stamp)
{
    essential_message m = BAILIWICK__V1__RECORD_ESSENTIAL__INIT;

    m.event_id       = given(stamp->event_id, sizeof stamp->event_id, true);
    m.time_us        = stamp->time_us;
    m.wall_us        = stamp->wall_us;
    m.operation      = record->operation;
    m.key_id         = given(record->key.bytes, sizeof record->key.bytes, record->has_key);
    m.key_version    = record->key_version;
    m.mechanism      = record->mechanism;
    m.outcome        = (Bailiwick__V1__Outcome)record->outcome;
    m.reason         = (uint32_t)record->reason;
    m.policy_version = record->policy_version;
    m.region         = checked(stamp->region);
    m.node           = checked(stamp->node);
    m.principal_tag  = given(stamp->principal_tag, sizeof stamp->principal_tag, record->principal[0] != '\0');
    m.intent_index   = record->intent_index;
    m.count          = record->count;
    m.last_us        = record->last_us;
    m.clock_unsure   = stamp->clock_unsure;
    m.proposal_id    = given(record->proposal, sizeof record->proposal, record->has_proposal);
    return m;
}

static who_message who_of(const struct bw_record *record)
{
    who_message m = BAILIWICK__V1__RECORD_WHO__INIT;

    m.principal   = checked(record->principal);
    m.certificate = given(record->certificate, sizeof record->certificate, any_set(record->certificate, sizeof record->certificate));
    m.address     = checked(record->address);
    m.request_id  = given(record->request_id, sizeof record->request_id, any_set(record->request_id, sizeof record->request_id));
    return m;
}

/* names: BW_CONTEXT_PAIRS_MAX of them, borrowed by the message */
static context_message context_of(const struct bw_record *record, char **names)
{
    context_message m = BAILIWICK__V1__RECORD_CONTEXT__INIT;

    for (size_t i = 0; i < record->context_name_count; i++)
        names[i] = checked(record->context_names[i]);
    m.aad_tag         = given(record->aad_tag, sizeof record->aad_tag, record->has_aad_tag);
    m.n_context_names = record->context_name_count;
    m.context_names   = names;
    m.purpose         = checked(record->purpose);
    m.released        = record->released;
    m.rule            = checked(record->rule);
    return m;
}

/* ---- messages to bytes ---- */

static bw_result append_class(const ProtobufCMessage *message, const uint8_t *salt, struct bw_record_bytes *bytes, size_t *used, bw_bytes *ret_class)
{
    size_t len = BW_AUDIT_SALT_LEN + protobuf_c_message_get_packed_size(message);
    uint8_t *at = bytes->room + *used;

    BW_CHECK(len <= sizeof bytes->room - *used, BW_TOO_LARGE, "an audit record over its limits");
    memcpy(at, salt, BW_AUDIT_SALT_LEN);
    (void)protobuf_c_message_pack(message, at + BW_AUDIT_SALT_LEN);
    *used += len;
    *ret_class = bw_bytes_of(at, len);
    return bw_success();
}

bw_result bw_record_encode(const struct bw_record *record, const struct bw_record_stamp *stamp,
                           const uint8_t salts[static BW_RECORD_SALTS_LEN], struct bw_record_bytes *bytes)
{
    char  *names[BW_CONTEXT_PAIRS_MAX];
    size_t used = 0;

    BW_CHECK(record->context_name_count <= BW_CONTEXT_PAIRS_MAX, BW_TOO_LARGE, "an audit record over its limits");
    const essential_message essential = essential_of(record, stamp);
    const who_message       who       = who_of(record);
    const context_message   context   = context_of(record, names);

    BW_TRY(append_class(&essential.base, salts, bytes, &used, &bytes->essential));
    BW_TRY(append_class(&who.base, salts + BW_AUDIT_SALT_LEN, bytes, &used, &bytes->who));
    return append_class(&context.base, salts + 2 * BW_AUDIT_SALT_LEN, bytes, &used, &bytes->context);
}

/* ---- bytes to struct ---- */

static bw_result unpack_class(const ProtobufCMessageDescriptor *descriptor, bw_bytes stored, struct bw_arena *arena, ProtobufCMessage **ret_message)
{
    BW_CHECK(stored.len >= BW_AUDIT_SALT_LEN, BW_DATA_INVALID, "a class is shorter than its salt");
    bw_bytes message = { stored.data + BW_AUDIT_SALT_LEN, stored.len - BW_AUDIT_SALT_LEN };
    BW_CHECK(bw_ok(bw_wire_unpack(descriptor, message, arena, ret_message)), BW_DATA_INVALID, "a class of an audit record cannot be read");
    return bw_success();
}

/* A field of fixed size that may be absent; absent is zero. */
static bw_result take_fixed(ProtobufCBinaryData from, uint8_t *to, size_t len, bool *ret_present)
{
    BW_CHECK(from.len == 0 || from.len == len, BW_DATA_INVALID, "a field of an audit record has another length");
    if (from.len > 0)
        memcpy(to, from.data, len);
    *ret_present = from.len > 0;
    return bw_success();
}

static bw_result take_text(const char *from, char *to, size_t room)
{
    BW_CHECK(strlen(from) < room, BW_DATA_INVALID, "a text of an audit record is too long");
    strcpy(to, from);
    return bw_success();
}

static bw_result take_essential(const essential_message *m, struct bw_record *record, struct bw_record_stamp *stamp)
{
    bool present;

    BW_TRY(take_fixed(m->event_id, stamp->event_id, sizeof stamp->event_id, &present));
    BW_TRY(take_fixed(m->principal_tag, stamp->principal_tag, sizeof stamp->principal_tag, &present));
    BW_TRY(take_fixed(m->key_id, record->key.bytes, sizeof record->key.bytes, &record->has_key));
    BW_TRY(take_fixed(m->proposal_id, record->proposal, sizeof record->proposal, &record->has_proposal));
    stamp->time_us         = m->time_us;
    stamp->wall_us         = m->wall_us;
    stamp->clock_unsure    = m->clock_unsure;
    stamp->region          = m->region;
    stamp->node            = m->node;
    record->operation      = m->operation;
    record->key_version    = m->key_version;
    record->mechanism      = m->mechanism;
    record->outcome        = (enum bw_outcome)m->outcome;
    record->reason         = (enum bw_code)m->reason;
    record->policy_version = m->policy_version;
    record->intent_index   = m->intent_index;
    record->count          = m->count;
    record->last_us        = m->last_us;
    return bw_success();
}

static bw_result take_who(const who_message *m, struct bw_record *record)
{
    bool present;

    BW_TRY(take_text(m->principal, record->principal, sizeof record->principal));
    BW_TRY(take_fixed(m->certificate, record->certificate, sizeof record->certificate, &present));
    BW_TRY(take_text(m->address, record->address, sizeof record->address));
    return take_fixed(m->request_id, record->request_id, sizeof record->request_id, &present);
}

static bw_result take_context(const context_message *m, struct bw_record *record)
{
    BW_TRY(take_fixed(m->aad_tag, record->aad_tag, sizeof record->aad_tag, &record->has_aad_tag));
    BW_TRY(take_text(m->purpose, record->purpose, sizeof record->purpose));
    BW_TRY(take_text(m->rule, record->rule, sizeof record->rule));
    BW_CHECK(m->n_context_names <= BW_CONTEXT_PAIRS_MAX, BW_DATA_INVALID, "an audit record names too many context keys");
    for (size_t i = 0; i < m->n_context_names; i++)
        record->context_names[i] = m->context_names[i];
    record->context_name_count = m->n_context_names;
    record->released           = m->released;
    return bw_success();
}

bw_result bw_record_decode(bw_bytes essential, bw_bytes who, bw_bytes context, struct bw_arena *arena,
                           struct bw_record *ret_record, struct bw_record_stamp *ret_stamp)
{
    ProtobufCMessage      *messages[3];
    struct bw_record       record = { 0 };
    struct bw_record_stamp stamp  = { 0 };

    BW_TRY(unpack_class(&bailiwick__v1__record_essential__descriptor, essential, arena, &messages[0]));
    BW_TRY(unpack_class(&bailiwick__v1__record_who__descriptor, who, arena, &messages[1]));
    BW_TRY(unpack_class(&bailiwick__v1__record_context__descriptor, context, arena, &messages[2]));
    BW_TRY(take_essential((const essential_message *)messages[0], &record, &stamp));
    BW_TRY(take_who((const who_message *)messages[1], &record));
    BW_TRY(take_context((const context_message *)messages[2], &record));

    *ret_record = record;
    *ret_stamp  = stamp;
    return bw_success();
}
