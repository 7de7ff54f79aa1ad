/* What the compilers of policies say, for policy_schema.py.
 *
 *     compile_policy --tables     their tables, one name a line: "key <member>", "operation <name>", "mechanism <name>" ...
 *     compile_policy              of lines on standard input, "key <text>" or "tenant <text>": "yes", or the field at fault */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "tenant_policy.h"

static void print_tables(void)
{
    for (size_t i = 0; bw_policy_member(i) != NULL; i++)
        (void)printf("key %s\n", bw_policy_member(i));
    for (size_t i = 0; bw_policy_operation(i) != NULL; i++)
        (void)printf("operation %s\n", bw_policy_operation(i));
    for (size_t i = 0; bw_mechanism_at(i) != NULL; i++)
        (void)printf("mechanism %s\n", bw_mechanism_at(i)->name);
    for (size_t i = 0; bw_tenant_policy_member(i) != NULL; i++)
        (void)printf("tenant %s\n", bw_tenant_policy_member(i));
    for (size_t i = 0; bw_dual_control_member(i) != NULL; i++)
        (void)printf("dual %s\n", bw_dual_control_member(i));
#define BW_DUAL_ACTION(action, method, when) (void)printf("action %s\n", #action);
#include "dual_actions.def"
#undef BW_DUAL_ACTION
}

static bw_result compile(const char *kind, bw_bytes text)
{
    struct bw_tenant_policy tenant;
    BW_AUTO(policy) key = NULL;

    return strcmp(kind, "key") == 0 ? bw_policy_compile(text, &key) : bw_tenant_policy_parse(text, &tenant);
}

int main(int argc, char **argv)
{
    char  *line = NULL;
    size_t room = 0;

    if (argc > 1 && strcmp(argv[1], "--tables") == 0) {
        print_tables();
        return 0;
    }
    while (getline(&line, &room, stdin) > 0) {
        char *text = strchr(line, ' ');
        if (text == NULL)
            return 2;
        *text++ = '\0';
        bw_result result = compile(line, bw_bytes_of(text, strcspn(text, "\n")));
        (void)puts(bw_ok(result) ? "yes" : result.field ? result.field : "no");
    }
    free(line);
    return 0;
}
