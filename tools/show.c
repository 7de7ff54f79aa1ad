#include "show.h"

#include <string.h>

/* C0, DEL, and C1 as UTF-8 (C2 80 to C2 9F) */
static bool is_control(const unsigned char *at)
{
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f);
}

void bw_show_text(FILE *to, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool control = is_control(at);
        (void)fputc(control ? '?' : *at, to);
        if (control && *at == 0xc2)
            at++;
    }
}

/* characters, not bytes; every character is taken to be one column wide */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* ---- cells ---- */

static const json_t *find(const json_t *row, const char *path)
{
    while (row != NULL) {
        size_t len = strcspn(path, ".");
        row = json_object_getn(row, path, len);
        if (path[len] == '\0')
            return row;
        path += len + 1;
    }
    return NULL;
}

/* a scalar, or an array of them, as text in the arena; NULL: out of memory */
static const char *cell(struct bw_arena *arena, const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return "";
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_boolean(value))
        return json_is_true(value) ? "yes" : "no";
    if (json_is_integer(value))
        return bw_arena_text(arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));

    const char *text = "";
    size_t      i;
    json_t     *element;
    json_array_foreach(value, i, element) {
        const char *next = cell(arena, element);
        text = text && next ? bw_arena_text(arena, "%s%s%s", text, i ? ", " : "", next) : NULL;
    }
    return text;
}

/* ---- tables ---- */

struct bw_table bw_table_for(const struct bw_cli *cli, const struct bw_column *columns)
{
    return (struct bw_table){ .columns = columns, .to = stdout, .json = cli->json };
}

static void print_line(const struct bw_table *table, const char *const *cells)
{
    for (size_t c = 0; table->columns[c].title != NULL; c++) {
        bool last = table->columns[c + 1].title == NULL;
        bw_show_text(table->to, cells[c]);
        for (size_t width = width_of(cells[c]); !last && width < table->widths[c] + 2; width++)
            (void)fputc(' ', table->to);
    }
    (void)fputc('\n', table->to);
}

static void widen(struct bw_table *table, const char *const *cells)
{
    for (size_t c = 0; table->columns[c].title != NULL; c++)
        if (width_of(cells[c]) > table->widths[c])
            table->widths[c] = width_of(cells[c]);
}

static void print_titles(struct bw_table *table)
{
    const char *titles[BW_COLUMNS_MAX] = { NULL };

    for (size_t c = 0; table->columns[c].title != NULL; c++)
        titles[c] = table->columns[c].title;
    widen(table, titles);
    print_line(table, titles);
    table->begun = true;
}

static bw_result fill(struct bw_arena *arena, const struct bw_table *table, const json_t *row, const char **cells)
{
    for (size_t c = 0; table->columns[c].title != NULL; c++) {
        cells[c] = cell(arena, find(row, table->columns[c].path));
        BW_CHECK(cells[c] != NULL, BW_NO_MEMORY, "table");
    }
    return bw_success();
}

static bw_result print_rows(struct bw_arena *arena, struct bw_table *table, const json_t *rows)
{
    size_t count = json_array_size(rows);
    const char *(*cells)[BW_COLUMNS_MAX] = bw_arena_alloc(arena, count * sizeof *cells);

    BW_CHECK(cells != NULL, BW_NO_MEMORY, "table");
    for (size_t i = 0; i < count; i++) {
        BW_TRY(fill(arena, table, json_array_get(rows, i), cells[i]));
        widen(table, cells[i]);
    }
    if (!table->begun)
        print_titles(table);
    for (size_t i = 0; i < count; i++)
        print_line(table, cells[i]);
    return bw_success();
}

static bw_result print_json(FILE *to, const json_t *thing)
{
    BW_CHECK(json_dumpf(thing, to, JSON_COMPACT) == 0 && fputc('\n', to) != EOF, BW_INTERNAL, "standard output cannot be written");
    return bw_success();
}

bw_result bw_table_print(struct bw_table *table, const json_t *rows)
{
    size_t  i;
    json_t *row;

    if (table->json) {
        json_array_foreach(rows, i, row)
            BW_TRY(print_json(table->to, row));
        return bw_success();
    }
    struct bw_arena arena = { 0 };
    bw_result result = print_rows(&arena, table, rows);
    bw_arena_clear(&arena);
    return result;
}

/* ---- one thing ---- */

static bw_result show_members(FILE *to, struct bw_arena *arena, const json_t *object, int indent);

static bool is_scalar_list(const json_t *value)
{
    return !json_is_object(value) && !json_is_object(json_array_get(value, 0));
}

/* the lines of a text stand below each other, so that none can pass for a member */
static void print_member(FILE *to, int indent, const char *name, const char *text)
{
    char line[1024];
    int  left = 20;

    (void)fprintf(to, "%*s%-*s", indent, "", left - indent, name);
    do {
        size_t len = strcspn(text, "\n");
        size_t cut = len < sizeof line ? len : sizeof line - 1;
        memcpy(line, text, cut);
        line[cut] = '\0';
        (void)fputc(' ', to);
        bw_show_text(to, line);
        (void)fputc('\n', to);
        text += cut + (cut == len && text[len] == '\n');
        if (*text != '\0')
            (void)fprintf(to, "%*s", left, "");
    } while (*text != '\0');
}

static bw_result show_member(FILE *to, struct bw_arena *arena, const char *name, const json_t *value, int indent)
{
    size_t  i;
    json_t *element;

    if (is_scalar_list(value)) {
        const char *text = cell(arena, value);
        BW_CHECK(text != NULL, BW_NO_MEMORY, "output");
        print_member(to, indent, name, text);
        return bw_success();
    }
    if (json_is_object(value)) {
        (void)fprintf(to, "%*s%s\n", indent, "", name);
        return show_members(to, arena, value, indent + 2);
    }
    json_array_foreach(value, i, element) {
        (void)fprintf(to, "%*s%s %zu\n", indent, "", name, i + 1);
        BW_TRY(show_members(to, arena, element, indent + 2));
    }
    return bw_success();
}

static bw_result show_members(FILE *to, struct bw_arena *arena, const json_t *object, int indent)
{
    const char *name;
    json_t     *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        BW_TRY(show_member(to, arena, name, value, indent));
    return bw_success();
}

bw_result bw_show_lines(FILE *to, const json_t *thing)
{
    struct bw_arena arena = { 0 };
    bw_result result = show_members(to, &arena, thing, 0);

    bw_arena_clear(&arena);
    return result;
}

bw_result bw_show(const struct bw_cli *cli, const json_t *thing)
{
    if (cli->json)
        return print_json(stdout, thing);
    return bw_show_lines(stdout, thing);
}
