/* options_print.c -- --help and --print-config, from the table of options.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/options.h"
#include "proc/options_table.h"
#include "proc/options_value.h"

#include <string.h>

enum { HELP_COLUMN = 26, HELP_WIDTH = 79 };

static const char listen_title[] =
    "Where to listen (may be repeated; default: the socket the web server or"
    " systemd\npassed, else an error that says so):";

static const char *const group_titles[GROUP_COUNT] = {
    [GROUP_LISTEN] = listen_title,     [GROUP_PROCESSES] = "Processes:",
    [GROUP_LIMITS] = "Limits:",        [GROUP_DEVELOPMENT] = "Development:",
    [GROUP_LOGS] = "Logs and status:", [GROUP_LUA] = "Lua:",
};

static void indent(FILE *out, size_t from, size_t to)
{
    for (; from < to; from++)
        putc(' ', out);
}

/* Prints words from HELP_COLUMN on, the first line starting at column. */
static void print_words(FILE *out, size_t column, const char *words)
{
    if (column + 1 > HELP_COLUMN) { /* the option fills the left side */
        putc('\n', out);
        column = 0;
    }
    indent(out, column, HELP_COLUMN);
    column = HELP_COLUMN;
    while (*words != '\0') {
        size_t len = strcspn(words, " ");

        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            putc('\n', out);
            indent(out, 0, HELP_COLUMN);
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            putc(' ', out);
            column++;
        }
        fwrite(words, 1, len, out);
        column += len;
        words += len;
        words += strspn(words, " ");
    }
    putc('\n', out);
}

static void print_option(FILE *out, const struct option_spec *spec)
{
    char left[64], words[256];
    int len = 0;

    if (spec->letter != '\0')
        len = snprintf(left, sizeof(left), "  -%c, --%s", spec->letter,
                       spec->name);
    else
        len = snprintf(left, sizeof(left), "      --%s", spec->name);
    if (spec->argument != NULL)
        snprintf(left + len, sizeof(left) - (size_t)len, "=%s", spec->argument);
    if (spec->fallback != NULL)
        snprintf(words, sizeof(words), "%s (default %s%s)", spec->help,
                 spec->fallback, spec->note != NULL ? spec->note : "");
    else
        snprintf(words, sizeof(words), "%s", spec->help);
    fputs(left, out);
    print_words(out, strlen(left), words);
}

void options_print_help(FILE *out)
{
    fputs("Usage: fcgi-lua [OPTION]... APP.lua [ARG]...\n"
          "Serve the Lua application APP.lua over FastCGI.\n",
          out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\n%s\n", group_titles[group]);
        for (size_t i = 0; i < options_table_count; i++)
            if ((int)options_table[i].group == group)
                print_option(out, &options_table[i]);
    }
    fputs("\nSizes: 65536, 64k, 10M, 1G.  Times: 0.5, 30s, 500ms, 2m, 1h.\n"
          "Settings may also stand in the environment (FCGI_LUA_MAX_BODY for"
          " --max-body)\nor in the table that the script returns (max_body);"
          " the command line wins,\nthen the environment.\n"
          "The manual: man fcgi-lua\n",
          out);
}

static const char *source_name(enum option_source source)
{
    switch (source) {
    case OPTION_DEFAULT:
        break;
    case OPTION_SCRIPT:
        return "script";
    case OPTION_ENVIRONMENT:
        return "environment";
    case OPTION_COMMAND_LINE:
        return "command line";
    }
    return "default";
}

/* Prints one line; text may be long and is printed whole, escaped. */
static bool print_setting(void *arg, const char *name, const char *text,
                          enum option_source source)
{
    FILE *out = arg;

    fprintf(out, "%s = ", name);
    for (; text != NULL && *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '\\')
            fputs("\\\\", out);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            putc(c, out);
    }
    fprintf(out, "  (%s)\n", source_name(source));
    return true;
}

/* Where the values of a look at all options go. */
struct visit {
    options_each_fn *fn;
    void *arg;
};

static bool visit_list(const struct visit *visit,
                       const struct option_spec *spec,
                       const struct string_list *list,
                       enum option_source source)
{
    for (size_t i = 0; i < list->count; i++)
        if (!visit->fn(visit->arg, spec->name, list->items[i], source))
            return false;
    return list->count > 0 || visit->fn(visit->arg, spec->name, NULL, source);
}

/* Copies the choice of that number out of "a|b|c". */
static void print_choice(const char *choices, int choice, char *out,
                         size_t room)
{
    for (; choice > 0; choice--)
        choices += strcspn(choices, "|") + 1;
    snprintf(out, room, "%.*s", (int)strcspn(choices, "|"), choices);
}

static bool visit_spec(const struct visit *visit,
                       const struct option_spec *spec, const void *field,
                       enum option_source source)
{
    char text[32] = "";

    switch (spec->kind) {
    case KIND_FLAG:
    case KIND_PORT: /* it is in listen */
        return true;
    case KIND_TEXT:
    case KIND_FORMAT:
    case KIND_PATH:
    case KIND_VERSION:
    case KIND_USER: {
        char *const *owned = field;

        return visit->fn(visit->arg, spec->name, *owned, source);
    }
    case KIND_LIST:
    case KIND_CHUNK:
    case KIND_LISTEN:
    case KIND_SERVERS:
        return visit_list(visit, spec, field, source);
    case KIND_LEVEL:
        print_choice(spec->choices, *(const int *)field, text, sizeof(text));
        break;
    case KIND_SWITCH:
        print_choice(spec->choices, *(const bool *)field ? 1 : 0, text,
                     sizeof(text));
        break;
    case KIND_SIZE:
        value_print_size(*(const size_t *)field, text);
        break;
    case KIND_SPOOL:
        value_print_size(*(const uint64_t *)field, text);
        break;
    case KIND_COUNT:
    case KIND_WORKERS:
        snprintf(text, sizeof(text), "%u", *(const unsigned *)field);
        break;
    case KIND_TIME:
        snprintf(text, sizeof(text), "%.15g", *(const double *)field);
        break;
    }
    return visit->fn(visit->arg, spec->name, text, source);
}

bool options_each(const struct options *options, options_each_fn *fn, void *arg)
{
    const struct visit visit = { fn, arg };

    for (size_t i = 0; i < options_table_count; i++) {
        const struct option_spec *spec = &options_table[i];

        if (!visit_spec(&visit, spec, (const char *)options + spec->offset,
                        options->sources[options_source_index(spec)]))
            return false;
    }
    return true;
}

void options_print_config(const struct options *options, FILE *out)
{
    options_each(options, print_setting, out);
}
