/* A slot is a tenant in a region, with its token always present: C_GetSlotList to C_GetMechanismInfo.
 * All of it is local and constant; a dead region has slots and tokens like any other. */
#ifndef BW_PROVIDER_SLOT_H
#define BW_PROVIDER_SLOT_H

#include <pthread.h>
#include <stdatomic.h>

#include "bailiwick/mechanism.h"
#include "bailiwick/secret.h"
#include "provider_conf.h"
#include "rpc.h"
#include "session.h"

struct bw_local;
struct bw_objects;

struct bw_slot {
    CK_SLOT_ID                  id;         /* made of the section's name: the same in a forked child and after a restart */
    const struct bw_conf_slot  *conf;       /* the module's, which outlives its slots */
    char                        serial[17]; /* of the token: trust domain, region, tenant and section's name, hashed */
    struct bw_remote            remote;     /* the region; owns remote.client */
    struct bw_objects          *objects;    /* owned */
    struct bw_local            *local;      /* owned: public-key operations */

    bool                        key_encrypted;   /* the private key file needs a passphrase: C_Login's PIN */
    bool                        login_required;  /* CKF_LOGIN_REQUIRED */

    pthread_mutex_t             lock;       /* over what follows */
    enum bw_login               login;      /* of the application, over all its sessions */
    size_t                      sessions;
    size_t                      rw_sessions;
    struct bw_secret           *random;     /* drawn in advance: random_left bytes at its end are unused */
    size_t                      random_left;
    CK_MECHANISM_TYPE          *told;       /* what the region's HSM can do, as it said; NULL: not asked yet */
    size_t                      told_count;
};

/* Reads no more than the private key file; opens no connection. Both are borrowed; library: see client.h. */
bw_result bw_slot_new(const struct bw_conf_slot *conf, struct ossl_lib_ctx_st *library, struct bw_slot **ret_slot);
void      bw_slot_free(struct bw_slot *slot);    /* its sessions are closed already */
BW_DEFINE_AUTO(slot)
void      bw_slot_abandon(struct bw_slot *slot); /* in a forked child: closes descriptors, forgets the rest */

void bw_slot_info(const struct bw_slot *slot, CK_SLOT_INFO *ret_info);
void bw_slot_token_info(struct bw_slot *slot, CK_TOKEN_INFO *ret_info);

/* Asks the region once what its HSM can do, so that the mechanism list tells it from then on. Called before the first
 * listing of keys. A region that cannot be reached is asked again the next time. */
void bw_slot_learn(struct bw_slot *slot);

/* Whether the slot offers that mechanism at all. Until the region was asked: every row of mechanisms.def. */
bool bw_slot_offers(struct bw_slot *slot, CK_MECHANISM_TYPE type);

/* Up to room mechanisms in the table's order. Returns how many there are. */
size_t    bw_slot_mechanisms(struct bw_slot *slot, CK_MECHANISM_TYPE *ret_types, size_t room);
bw_result bw_slot_mechanism_info(struct bw_slot *slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *ret_info); /* BW_MECHANISM_INVALID */

#endif
