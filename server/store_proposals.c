/* Proposals and their approvals: rows to structs and back, and the one statement that spends them. */
#include <string.h>

#include "store_sql.h"

static bw_bytes id_of(const uint8_t id[static BW_PROPOSAL_ID_LEN])
{
    return bw_bytes_of(id, BW_PROPOSAL_ID_LEN);
}

/* ---- writing ---- */

static bw_result check_room(struct bw_store *store, const struct bw_proposal *proposal)
{
    const enum bw_store_sql sql = BW_SQL_COUNT_PROPOSALS;
    bool row;

    bw_result result = bw_query_start(store, sql, BW_SQL_VALUES(bw_query_text(proposal->tenant.text), bw_query_text(proposal->proposer), bw_query_number(proposal->created_us)));
    if (bw_ok(result))
        result = bw_query_row(store, sql, &row);
    int64_t all = bw_query_get_number(store, sql, 0), own = bw_query_get_number(store, sql, 1);
    bw_query_done(store, sql);
    BW_TRY(result);
    BW_CHECK(all < BW_PROPOSALS_MAX, BW_QUOTA, "the tenant has as many proposals as it may have");
    BW_CHECK(own < BW_PROPOSALS_EACH_MAX, BW_QUOTA, "the custodian has as many proposals as one may have");
    return bw_success();
}

struct wish { const bw_tenant *tenant; const uint8_t *id; const char *custodian; int64_t now_us; };

static bw_result add_approval(struct bw_store *store, const struct wish *wish)
{
    return bw_query_run(store, BW_SQL_ADD_APPROVAL,
                        BW_SQL_VALUES(bw_query_text(wish->tenant->text), bw_query_blob(id_of(wish->id)), bw_query_text(wish->custodian),
                                      bw_query_number(wish->now_us)), NULL);
}

static bw_result propose(struct bw_store *store, const void *what)
{
    const struct bw_proposal *p = what;
    bw_bytes key = bw_bytes_of(p->key.bytes, p->has_key ? sizeof p->key.bytes : 0);

    BW_TRY(check_room(store, p));
    BW_TRY(bw_query_run(store, BW_SQL_ADD_PROPOSAL,
                        BW_SQL_VALUES(bw_query_text(p->tenant.text), bw_query_blob(id_of(p->id)), bw_query_number(p->method), bw_query_blob(p->request),
                                      bw_query_blob(key), bw_query_count(p->generation), bw_query_text(p->proposer), bw_query_number(p->created_us),
                                      bw_query_number(p->expires_us)), NULL));
    return add_approval(store, &(struct wish){ &p->tenant, p->id, p->proposer, p->created_us });
}

bw_result bw_store_propose(struct bw_store *store, const struct bw_proposal *proposal)
{
    bw_result result = bw_store_change(store, propose, proposal);
    return result.code == BW_ALREADY_EXISTS ? bw_success() : result;
}

static bw_result drop(struct bw_store *store, const void *what)
{
    const struct wish *wish = what;
    int changed;

    BW_TRY(bw_query_run(store, BW_SQL_DROP_PROPOSAL, BW_SQL_VALUES(bw_query_text(wish->tenant->text), bw_query_blob(id_of(wish->id)), bw_query_number(wish->now_us)), &changed));
    BW_CHECK(changed == 1, BW_NO_SUCH_PROPOSAL, "no such proposal in the tenant");
    return bw_success();
}

bw_result bw_store_drop_proposal(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN], int64_t over_us)
{
    return bw_store_change(store, drop, &(struct wish){ .tenant = tenant, .id = id, .now_us = over_us });
}

/* Spends what it is asked about when all of it holds; what holds is the statement's to say, so that nothing moves in between. */
bw_result bw_warrant_spend(struct bw_store *store, const struct bw_warrant *warrant)
{
    int changed;

    if (warrant == NULL)
        return bw_success();
    BW_TRY(bw_query_run(store, BW_SQL_SPEND_PROPOSAL,
                        BW_SQL_VALUES(bw_query_text(warrant->tenant->text), bw_query_blob(id_of(warrant->proposal)), bw_query_number(warrant->now_us),
                                      bw_query_count(warrant->tenant_generation), bw_query_number(warrant->needed), bw_query_text(warrant->caller)), &changed));
    BW_CHECK(changed == 1, BW_NOT_APPROVED, "the approvals do not hold any more");
    return bw_success();
}

/* ---- reading ---- */

static bw_result read_proposal(struct bw_store *store, enum bw_store_sql sql, struct bw_arena *arena, struct bw_proposal *proposal)
{
    bw_bytes id = bw_query_get_bytes(store, sql, 1), key = bw_query_get_bytes(store, sql, 4);

    memset(proposal, 0, sizeof *proposal);
    BW_TRY(bw_tenant_parse(bw_bytes_text(bw_query_get_text(store, sql, 0)), &proposal->tenant));
    BW_CHECK(id.len == sizeof proposal->id && (key.len == 0 || key.len == sizeof proposal->key.bytes), BW_STORE_UNAVAILABLE,
             "a proposal in the store is damaged");
    memcpy(proposal->id, id.data, id.len);
    proposal->has_key = key.len > 0;
    if (proposal->has_key)
        memcpy(proposal->key.bytes, key.data, key.len);
    proposal->method     = (unsigned)bw_query_get_number(store, sql, 2);
    proposal->generation = (uint64_t)bw_query_get_number(store, sql, 5);
    proposal->created_us = bw_query_get_number(store, sql, 7);
    proposal->expires_us = bw_query_get_number(store, sql, 8);
    BW_TRY(bw_query_copy_bytes(store, sql, 3, arena, &proposal->request));
    return bw_query_copy_text(store, sql, 6, arena, &proposal->proposer);
}

static bw_result read_proposals(struct bw_store *store, enum bw_store_sql sql, struct bw_arena *arena, struct bw_proposal *proposals, size_t limit, size_t *ret_count)
{
    size_t count = 0;

    for (bool row; count < limit; count++) {
        BW_TRY(bw_query_row(store, sql, &row));
        if (!row)
            break;
        BW_TRY(read_proposal(store, sql, arena, &proposals[count]));
    }
    *ret_count = count;
    return bw_success();
}

static bw_result select_proposals(struct bw_store *store, enum bw_store_sql sql, const struct bw_query_value *values, size_t value_count, struct bw_arena *arena,
                                  struct bw_proposal *ret_proposals, size_t limit, size_t *ret_count)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = bw_query_start(store, sql, values, value_count);
    if (bw_ok(result))
        result = read_proposals(store, sql, arena, ret_proposals, limit, ret_count);
    bw_query_done(store, sql);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}

bw_result bw_store_get_proposal(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN],
                                struct bw_arena *arena, struct bw_proposal *ret_proposal)
{
    size_t count;

    BW_TRY(select_proposals(store, BW_SQL_GET_PROPOSAL, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_blob(id_of(id))), arena, ret_proposal, 1, &count));
    BW_CHECK_AT(count == 1, BW_NO_SUCH_PROPOSAL, "id", "no such proposal in the tenant");
    return bw_success();
}

bw_result bw_store_list_proposals(struct bw_store *store, const bw_tenant *tenant, int64_t now_us, struct bw_arena *arena, struct bw_proposal *ret_proposals,
                                  size_t *ret_count)
{
    return select_proposals(store, BW_SQL_LIST_PROPOSALS, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_number(now_us)), arena, ret_proposals, BW_PROPOSALS_MAX, ret_count);
}

bw_result bw_store_list_over(struct bw_store *store, int64_t now_us, struct bw_arena *arena, struct bw_proposal *ret_proposals, size_t limit, size_t *ret_count)
{
    return select_proposals(store, BW_SQL_OVER_PROPOSALS, BW_SQL_VALUES(bw_query_number(now_us), bw_query_count(limit)), arena, ret_proposals, limit, ret_count);
}

/* ---- approvals ---- */

static bw_result count_approvals(struct bw_store *store, const struct wish *wish, int64_t *ret_count)
{
    const enum bw_store_sql sql = BW_SQL_COUNT_APPROVALS;
    bool row;

    bw_result result = bw_query_start(store, sql, BW_SQL_VALUES(bw_query_text(wish->tenant->text), bw_query_blob(id_of(wish->id))));
    if (bw_ok(result))
        result = bw_query_row(store, sql, &row);
    *ret_count = bw_query_get_number(store, sql, 0);
    bw_query_done(store, sql);
    return result;
}

/* What a proposal had from its beginning is its proposer's approval, so one without any is none. */
static bw_result approve(struct bw_store *store, const void *what)
{
    int64_t count;

    BW_TRY(count_approvals(store, what, &count));
    BW_CHECK_AT(count > 0, BW_NO_SUCH_PROPOSAL, "id", "no such proposal in the tenant");
    BW_CHECK(count < BW_APPROVALS_MAX, BW_QUOTA, "the proposal has as many approvals as it may have");
    return add_approval(store, what);
}

bw_result bw_store_approve(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN], const char *custodian, int64_t now_us)
{
    return bw_store_change(store, approve, &(struct wish){ tenant, id, custodian, now_us });
}

static bw_result read_approvals(struct bw_store *store, struct bw_arena *arena, struct bw_approval *approvals, size_t *ret_count)
{
    const enum bw_store_sql sql = BW_SQL_APPROVALS_OF;
    size_t count = 0;

    for (bool row; count < BW_APPROVALS_MAX; count++) {
        BW_TRY(bw_query_row(store, sql, &row));
        if (!row)
            break;
        approvals[count].approved_us = bw_query_get_number(store, sql, 1);
        approvals[count].revoked     = bw_query_get_number(store, sql, 2) != 0;
        BW_TRY(bw_query_copy_text(store, sql, 0, arena, &approvals[count].custodian));
    }
    *ret_count = count;
    return bw_success();
}

bw_result bw_store_list_approvals(struct bw_store *store, const bw_tenant *tenant, const uint8_t id[static BW_PROPOSAL_ID_LEN],
                                  struct bw_arena *arena, struct bw_approval *ret_approvals, size_t *ret_count)
{
    (void)pthread_mutex_lock(&store->lock);
    bw_result result = bw_query_start(store, BW_SQL_APPROVALS_OF, BW_SQL_VALUES(bw_query_text(tenant->text), bw_query_blob(id_of(id))));
    if (bw_ok(result))
        result = read_approvals(store, arena, ret_approvals, ret_count);
    bw_query_done(store, BW_SQL_APPROVALS_OF);
    (void)pthread_mutex_unlock(&store->lock);
    return result;
}
