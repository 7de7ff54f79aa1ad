#include "key_message.h"

#include <stdio.h>

#include "wire.h"

typedef Bailiwick__V1__Key        Message;
typedef Bailiwick__V1__KeyVersion Version;
typedef Bailiwick__V1__Pair       Pair;

static bw_result copy_text(struct bw_arena *arena, const char *text, char **ret_copy)
{
    *ret_copy = bw_arena_copy(arena, bw_bytes_text(text));
    BW_CHECK(*ret_copy != NULL, BW_NO_MEMORY, "reply");
    return bw_success();
}

static bw_result copy_bytes(struct bw_arena *arena, bw_bytes bytes, ProtobufCBinaryData *ret_copy)
{
    void *copy = bw_arena_copy(arena, bytes);

    BW_CHECK(copy != NULL, BW_NO_MEMORY, "reply");
    *ret_copy = bw_wire_data((bw_bytes){ copy, bytes.len });
    return bw_success();
}

/* Pointers to count new messages. One allocation for the pointers, one for the messages. */
static bw_result make_list(struct bw_arena *arena, size_t count, size_t size, void ***ret_list)
{
    void   **list  = bw_arena_alloc(arena, count * sizeof *list);
    uint8_t *items = bw_arena_alloc(arena, count * size);

    BW_CHECK(list != NULL && items != NULL, BW_NO_MEMORY, "reply");
    for (size_t i = 0; i < count; i++)
        list[i] = items + i * size;
    *ret_list = list;
    return bw_success();
}

static bw_result fill_uses(const struct bw_key *key, struct bw_arena *arena, Message *message)
{
    message->uses = bw_arena_alloc(arena, 8 * sizeof *message->uses);
    BW_CHECK(message->uses != NULL, BW_NO_MEMORY, "reply");
    for (unsigned use = 1; use <= BW_USE_DERIVE; use <<= 1)
        if (key->uses & use)
            message->uses[message->n_uses++] = (Bailiwick__V1__KeyUse)use;
    return bw_success();
}

static bw_result fill_versions(const struct bw_key *key, struct bw_arena *arena, Message *message)
{
    const struct bw_key_version *primary = bw_key_primary(key);
    void **list;

    BW_TRY(make_list(arena, key->version_count, sizeof(Version), &list));
    for (size_t i = 0; i < key->version_count; i++) {
        Version *version = list[i];
        bailiwick__v1__key_version__init(version);
        version->number     = key->versions[i].number;
        version->state      = (Bailiwick__V1__KeyVersionState)key->versions[i].state;
        version->created_us = key->versions[i].created_us;
        version->material_expires_us = key->versions[i].material_expires_us;
        version->last_used_us = atomic_load(&key->versions[i].budget->last_used_us);
        BW_TRY(copy_bytes(arena, key->versions[i].public_key, &version->public_key));
    }
    message->versions        = (Version **)list;
    message->n_versions      = key->version_count;
    message->primary_version = primary ? primary->number : 0;
    return bw_success();
}

static bw_result fill_aliases(const struct bw_key *key, struct bw_arena *arena, Message *message)
{
    message->aliases = bw_arena_alloc(arena, key->alias_count * sizeof *message->aliases);
    BW_CHECK(message->aliases != NULL, BW_NO_MEMORY, "reply");
    for (; message->n_aliases < key->alias_count; message->n_aliases++)
        BW_TRY(copy_text(arena, key->aliases[message->n_aliases], &message->aliases[message->n_aliases]));
    return bw_success();
}

static bw_result fill_tags(const struct bw_key *key, struct bw_arena *arena, Message *message)
{
    void **list;

    BW_TRY(make_list(arena, key->tag_count, sizeof(Pair), &list));
    for (size_t i = 0; i < key->tag_count; i++) {
        Pair *pair = list[i];
        bailiwick__v1__pair__init(pair);
        BW_TRY(copy_text(arena, key->tags[i].name, &pair->name));
        BW_TRY(copy_text(arena, key->tags[i].value, &pair->value));
    }
    message->tags   = (Pair **)list;
    message->n_tags = key->tag_count;
    return bw_success();
}

static bw_result fill_texts(const struct bw_key *key, struct bw_arena *arena, Message *message)
{
    char name[BW_KEY_NAME_MAX + 1];

    bw_key_name_print(&key->name, name);
    BW_TRY(copy_text(arena, name, &message->name));
    BW_TRY(copy_text(arena, key->label, &message->label));
    BW_TRY(copy_text(arena, key->owner, &message->owner));
    BW_TRY(copy_text(arena, key->description, &message->description));
    return copy_bytes(arena, bw_key_cka_id(key), &message->cka_id);
}

bw_result bw_key_message(const struct bw_key *key, bool brief, struct bw_arena *arena, Bailiwick__V1__Key **ret_message)
{
    Message *message = bw_arena_alloc(arena, sizeof *message);

    BW_CHECK(message != NULL, BW_NO_MEMORY, "reply");
    bailiwick__v1__key__init(message);
    message->spec        = (Bailiwick__V1__KeySpec)key->spec->spec;
    message->state       = (Bailiwick__V1__KeyState)key->state;
    message->origin      = (Bailiwick__V1__KeyOrigin)key->origin;
    message->created_us  = key->created_us;
    message->deletion_us = key->deletion_us;
    message->generation  = key->generation;
    message->expires_us  = key->expires_us;
    message->rotation_days   = key->rotation_days;
    message->minimum_version = key->minimum_version;
    BW_TRY(fill_texts(key, arena, message));
    BW_TRY(fill_uses(key, arena, message));
    BW_TRY(fill_versions(key, arena, message));
    BW_TRY(fill_aliases(key, arena, message));
    if (!brief) {
        BW_TRY(fill_tags(key, arena, message));
        BW_TRY(copy_text(arena, key->policy_text, &message->policy));
    }
    *ret_message = message;
    return bw_success();
}
