#include "pair.h"

#include <string.h>

static bw_result read_pair(struct bw_cli *cli, const char *text, size_t text_max, Bailiwick__V1__Pair **ret_pair)
{
    const char *sign = strchr(text, '=');

    BW_CHECK(sign != NULL && sign != text, BW_BAD_ARGUMENT, "not name=value");
    BW_CHECK((size_t)(sign - text) <= text_max && strlen(sign + 1) <= text_max, BW_BAD_ARGUMENT, "name or value is too long");
    Bailiwick__V1__Pair *pair = bw_arena_alloc(&cli->arena, sizeof *pair);
    BW_CHECK(pair != NULL, BW_NO_MEMORY, "pair");
    bailiwick__v1__pair__init(pair);
    pair->name  = bw_arena_copy(&cli->arena, bw_bytes_of(text, (size_t)(sign - text)));
    pair->value = bw_arena_copy(&cli->arena, bw_bytes_text(sign + 1));
    BW_CHECK(pair->name != NULL && pair->value != NULL, BW_NO_MEMORY, "pair");
    *ret_pair = pair;
    return bw_success();
}

static bool has_name(const struct bw_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->list[i]->name, name) == 0)
            return true;
    return false;
}

bw_result bw_pairs_read(struct bw_cli *cli, const char *option, size_t most, size_t text_max, struct bw_pairs *ret_pairs)
{
    struct bw_pairs pairs = { .list = bw_arena_alloc(&cli->arena, most * sizeof(Bailiwick__V1__Pair *)) };
    const char *text;
    size_t at = 0;

    BW_CHECK(pairs.list != NULL, BW_NO_MEMORY, "pairs");
    while ((text = bw_args_next(&cli->args, option, &at)) != NULL) {
        Bailiwick__V1__Pair *pair;
        bw_cli_about(cli, "--%s %s", option, text);
        BW_CHECK(pairs.count < most, BW_BAD_ARGUMENT, "too many of these");
        BW_TRY(read_pair(cli, text, text_max, &pair));
        BW_CHECK(!has_name(&pairs, pair->name), BW_BAD_ARGUMENT, "this name is given twice");
        pairs.list[pairs.count++] = pair;
    }
    cli->about[0] = '\0';
    *ret_pairs = pairs;
    return bw_success();
}
