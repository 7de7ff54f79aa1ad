#include "audit_logs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

struct bw_audit_logs {
    pthread_rwlock_t      lock;
    struct bw_audit_log **by_number;
    struct bw_audit_log **by_tenant; /* sorted */
    uint32_t              count, room;
};

bw_result bw_audit_logs_new(struct bw_audit_logs **ret_logs)
{
    struct bw_audit_logs *logs = calloc(1, sizeof *logs);

    BW_CHECK(logs != NULL, BW_NO_MEMORY, "logs");
    if (pthread_rwlock_init(&logs->lock, NULL) != 0) {
        free(logs);
        return bw_fail(BW_NO_MEMORY, "logs");
    }
    *ret_logs = logs;
    return bw_success();
}

void bw_audit_logs_free(struct bw_audit_logs *logs)
{
    if (logs == NULL)
        return;
    for (uint32_t i = 0; i < logs->count; i++) {
        bw_wipe(logs->by_number[i], sizeof *logs->by_number[i]);
        free(logs->by_number[i]);
    }
    free(logs->by_number);
    free(logs->by_tenant);
    (void)pthread_rwlock_destroy(&logs->lock);
    free(logs);
}

/* ---- drawing ---- */

/* A random UUID, RFC 9562 5.4 */
static bw_result draw_uuid(char text[static 37])
{
    uint8_t uuid[16];
    char    hex[33];

    BW_CHECK(RAND_bytes(uuid, sizeof uuid) == 1, BW_INTERNAL, "no random bytes");
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    bw_hex(bw_bytes_of(uuid, sizeof uuid), hex);
    (void)snprintf(text, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return bw_success();
}

bw_result bw_audit_logs_draw(const char *host, const bw_tenant *tenant, uint32_t number, struct bw_audit_log_row *ret_row)
{
    struct bw_audit_log_row row = { .number = number };
    char uuid[37];

    BW_TRY(draw_uuid(uuid));
    int len = snprintf(row.origin, sizeof row.origin, "%s/audit/t/%s", host, uuid);
    BW_CHECK(len > 0 && (size_t)len < sizeof row.origin, BW_CONFIG_INVALID, "the host's name is too long for a log's origin");
    BW_CHECK(RAND_priv_bytes(row.pseudonym_key, sizeof row.pseudonym_key) == 1, BW_INTERNAL, "no random bytes");
    BW_CHECK(RAND_priv_bytes(row.tag_key, sizeof row.tag_key) == 1, BW_INTERNAL, "no random bytes");
    if (tenant != NULL)
        row.tenant = *tenant;

    *ret_row = row;
    bw_wipe(&row, sizeof row);
    return bw_success();
}

/* ---- keeping ---- */

static bw_result make_room(struct bw_audit_logs *logs)
{
    if (logs->count < logs->room)
        return bw_success();

    uint32_t room = logs->room ? 2 * logs->room : 16;
    struct bw_audit_log **by_number = realloc(logs->by_number, room * sizeof(struct bw_audit_log *));
    if (by_number != NULL)
        logs->by_number = by_number;
    struct bw_audit_log **by_tenant = realloc(logs->by_tenant, room * sizeof(struct bw_audit_log *));
    if (by_tenant != NULL)
        logs->by_tenant = by_tenant;
    BW_CHECK(by_number != NULL && by_tenant != NULL, BW_NO_MEMORY, "logs");
    logs->room = room;
    return bw_success();
}

/* Where the tenant's log is among those sorted, or would be. */
static uint32_t place_of(const struct bw_audit_logs *logs, const bw_tenant *tenant)
{
    uint32_t low = 0, high = logs->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(logs->by_tenant[middle]->row.tenant.text, tenant->text, sizeof tenant->text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bw_result add(struct bw_audit_logs *logs, const struct bw_audit_log_row *row)
{
    BW_TRY(make_room(logs));
    struct bw_audit_log *log = calloc(1, sizeof *log);
    BW_CHECK(log != NULL, BW_NO_MEMORY, "log");

    uint32_t place = place_of(logs, &row->tenant);
    log->row = *row;
    memmove(logs->by_tenant + place + 1, logs->by_tenant + place, (logs->count - place) * sizeof(struct bw_audit_log *));
    logs->by_tenant[place] = log;
    logs->by_number[logs->count++] = log;
    return bw_success();
}

bw_result bw_audit_logs_put(struct bw_audit_logs *logs, const struct bw_audit_log_row *row)
{
    bw_result r = bw_success();

    (void)pthread_rwlock_wrlock(&logs->lock);
    if (row->number < logs->count) {
        logs->by_number[row->number]->row.size    = row->size;
        logs->by_number[row->number]->row.last_us = row->last_us;
    } else if (row->number == logs->count) {
        r = add(logs, row);
    } else {
        r = bw_fail(BW_AUDIT_UNAVAILABLE, "a log is missing from the list of logs");
    }
    (void)pthread_rwlock_unlock(&logs->lock);
    return r;
}

struct bw_audit_log *bw_audit_logs_get(struct bw_audit_logs *logs, uint32_t number)
{
    (void)pthread_rwlock_rdlock(&logs->lock);
    struct bw_audit_log *log = number < logs->count ? logs->by_number[number] : NULL;
    (void)pthread_rwlock_unlock(&logs->lock);
    return log;
}

struct bw_audit_log *bw_audit_logs_of(struct bw_audit_logs *logs, const bw_tenant *tenant)
{
    (void)pthread_rwlock_rdlock(&logs->lock);
    uint32_t place = place_of(logs, tenant);
    struct bw_audit_log *log = place < logs->count && bw_tenant_equal(&logs->by_tenant[place]->row.tenant, tenant) ? logs->by_tenant[place] : NULL;
    (void)pthread_rwlock_unlock(&logs->lock);
    return log;
}

uint32_t bw_audit_logs_count(struct bw_audit_logs *logs)
{
    (void)pthread_rwlock_rdlock(&logs->lock);
    uint32_t count = logs->count;
    (void)pthread_rwlock_unlock(&logs->lock);
    return count;
}

bw_result bw_audit_log_pseudonym(const struct bw_audit_log *log, struct bw_hasher *hasher, const char *principal, uint8_t ret_tag[static BW_RECORD_TAG_LEN])
{
    const bw_bytes name = bw_bytes_text(principal);
    uint8_t        mac[BW_AUDIT_HASH_LEN];

    BW_TRY(bw_hasher_mac(hasher, bw_bytes_of(log->row.pseudonym_key, sizeof log->row.pseudonym_key), &name, 1, mac));
    memcpy(ret_tag, mac, BW_RECORD_TAG_LEN);
    return bw_success();
}
