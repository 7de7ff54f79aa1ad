/* Results for people (tables, indented lines) or for scripts (one JSON value per line): bw_cli.json says which. */
#ifndef BW_TOOLS_SHOW_H
#define BW_TOOLS_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "cli.h"

enum { BW_COLUMNS_MAX = 12 };

/* A list of these ends with a row without a title. */
struct bw_column {
    const char *title;
    const char *path;   /* members from the outside in: "essential.time"; an array prints its elements with commas */
};

/* A table that comes page by page; widths of earlier pages are kept. */
struct bw_table {
    const struct bw_column *columns;
    bool   json;
    FILE  *to;
    size_t widths[BW_COLUMNS_MAX];
    bool   begun;
};
struct bw_table bw_table_for(const struct bw_cli *cli, const struct bw_column *columns);

/* Prints the rows, an array of objects. */
bw_result bw_table_print(struct bw_table *table, const json_t *rows);

/* One thing: a JSON line, or name and value on a line of their own, members of members indented. */
bw_result bw_show(const struct bw_cli *cli, const json_t *thing);
bw_result bw_show_lines(FILE *to, const json_t *thing);

/* Prints text as a terminal may safely see it: control characters, which could steer it, become '?'. */
void bw_show_text(FILE *to, const char *text);

#endif
