/* Command lines, read as rows of options tell. */
#ifndef BW_TOOLS_ARGS_H
#define BW_TOOLS_ARGS_H

#include "bailiwick/bytes.h"

enum {
    BW_OPERANDS_MAX = 4,
    BW_GIVEN_MAX    = 128  /* options on one command line */
};

enum bw_option_kind { BW_OPTION_FLAG, BW_OPTION_TEXT, BW_OPTION_NEEDED, BW_OPTION_MANY };

/* A list of these ends with a row without a name. */
struct bw_option {
    const char         *name;   /* without its dashes: "from" */
    enum bw_option_kind kind;   /* NEEDED: a text that must be given; MANY: may be given again and again */
    const char         *value;  /* how the help calls its value; NULL for flags */
    const char         *help;
};

struct bw_args {
    const struct bw_option *global; /* rows that every command has */
    const struct bw_option *own;    /* rows of the command; NULL before it is known */
    const char *operands[BW_OPERANDS_MAX];
    size_t      operands_count;
    struct bw_given { const struct bw_option *option; const char *value; } given[BW_GIVEN_MAX];
    size_t      given_count;
    const char *at_fault;           /* the word that a failed reading stopped at */
};

/* Reads options from the front of words (which end with NULL) up to the first operand. *ret_rest: from there on.
 * Fails with BW_BAD_ARGUMENT and at_fault set. Words are borrowed for the life of args. */
bw_result bw_args_read_options(struct bw_args *args, char *const *words, char *const **ret_rest);

/* Reads all words: options and operands in any order; behind "--" everything is an operand. Then checks that needed
 * options were given and that operands are as many as usage names: "DIR [CERT]" takes one or two. */
bw_result bw_args_read_all(struct bw_args *args, char *const *words, const char *usage);

bool        bw_args_flag(const struct bw_args *args, const char *name);
const char *bw_args_text(const struct bw_args *args, const char *name);              /* the last one given; NULL: none */
const char *bw_args_next(const struct bw_args *args, const char *name, size_t *at);  /* *at 0 at first; NULL: no more */

#endif
