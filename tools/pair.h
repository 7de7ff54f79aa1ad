/* name=value, as command lines give encryption contexts and tags. */
#ifndef BW_TOOLS_PAIR_H
#define BW_TOOLS_PAIR_H

#include "bailiwick/v1/common.pb-c.h"
#include "cli.h"

struct bw_pairs {
    Bailiwick__V1__Pair **list;   /* in the run's arena */
    size_t                count;
};

/* All that the option was given. A name holds no '=' and is not empty; a value may be anything; no name comes twice. */
bw_result bw_pairs_read(struct bw_cli *cli, const char *option, size_t most, size_t text_max, struct bw_pairs *ret_pairs);

#endif
