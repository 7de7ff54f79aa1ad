#include "args.h"

#include <assert.h>
#include <string.h>

static const struct bw_option *find_row(const struct bw_option *rows, const char *name, size_t name_len)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        if (strlen(rows->name) == name_len && memcmp(rows->name, name, name_len) == 0)
            return rows;
    return NULL;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] == '-' && word[2] != '\0';
}

static bw_result give(struct bw_args *args, const struct bw_option *option, const char *value)
{
    BW_CHECK(args->given_count < BW_GIVEN_MAX, BW_BAD_ARGUMENT, "too many options");
    BW_CHECK(option->kind == BW_OPTION_MANY || bw_args_text(args, option->name) == NULL, BW_BAD_ARGUMENT, "option given twice");
    args->given[args->given_count++] = (struct bw_given){ option, value };
    return bw_success();
}

/* --name, --name value, --name=value; moves *words past what was read */
static bw_result read_option(struct bw_args *args, char *const **words)
{
    const char *name  = **words + 2;
    const char *value = strchr(name, '=');
    size_t      len   = value ? (size_t)(value - name) : strlen(name);
    const struct bw_option *option = find_row(args->own, name, len);

    args->at_fault = **words;
    if (option == NULL)
        option = find_row(args->global, name, len);
    BW_CHECK(option != NULL, BW_BAD_ARGUMENT, "no such option");
    ++*words;
    if (option->kind == BW_OPTION_FLAG) {
        BW_CHECK(value == NULL, BW_BAD_ARGUMENT, "option takes no value");
        return give(args, option, "");
    }
    if (value != NULL)
        return give(args, option, value + 1);
    BW_CHECK(**words != NULL, BW_BAD_ARGUMENT, "option needs a value");
    return give(args, option, *(*words)++);
}

bw_result bw_args_read_options(struct bw_args *args, char *const *words, char *const **ret_rest)
{
    while (*words != NULL && is_option(*words))
        BW_TRY(read_option(args, &words));
    *ret_rest = words;
    return bw_success();
}

static bw_result read_operand(struct bw_args *args, const char *word)
{
    args->at_fault = word;
    BW_CHECK(args->operands_count < BW_OPERANDS_MAX, BW_BAD_ARGUMENT, "one operand too many");
    args->operands[args->operands_count++] = word;
    return bw_success();
}

static bw_result check_operands(struct bw_args *args, const char *usage)
{
    size_t least = 0, most = 0;

    for (const char *word = usage; *word != '\0'; word += strcspn(word, " "), word += strspn(word, " ")) {
        most++;
        least += *word != '[';
    }
    args->at_fault = usage;
    BW_CHECK(args->operands_count >= least, BW_BAD_ARGUMENT, "an operand is missing");
    args->at_fault = args->operands_count > most ? args->operands[most] : NULL;
    BW_CHECK(args->operands_count <= most, BW_BAD_ARGUMENT, "one operand too many");
    return bw_success();
}

static bw_result check_needed(struct bw_args *args)
{
    for (const struct bw_option *row = args->own; row != NULL && row->name != NULL; row++) {
        args->at_fault = row->name;
        BW_CHECK(row->kind != BW_OPTION_NEEDED || bw_args_text(args, row->name) != NULL, BW_BAD_ARGUMENT, "this option is needed");
    }
    args->at_fault = NULL;
    return bw_success();
}

bw_result bw_args_read_all(struct bw_args *args, char *const *words, const char *usage)
{
    while (*words != NULL && strcmp(*words, "--") != 0)
        if (is_option(*words))
            BW_TRY(read_option(args, &words));
        else
            BW_TRY(read_operand(args, *words++));
    if (*words != NULL)
        while (*++words != NULL)
            BW_TRY(read_operand(args, *words));

    if (bw_args_flag(args, "help"))
        return bw_success();
    BW_TRY(check_operands(args, usage));
    return check_needed(args);
}

const char *bw_args_next(const struct bw_args *args, const char *name, size_t *at)
{
    while (*at < args->given_count) {
        const struct bw_given *given = &args->given[(*at)++];
        if (strcmp(given->option->name, name) == 0)
            return given->value;
    }
    return NULL;
}

const char *bw_args_text(const struct bw_args *args, const char *name)
{
    const char *text = NULL, *next;

    for (size_t at = 0; (next = bw_args_next(args, name, &at)) != NULL;)
        text = next;
    return text;
}

bool bw_args_flag(const struct bw_args *args, const char *name)
{
    return bw_args_text(args, name) != NULL;
}
