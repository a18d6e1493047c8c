/* options.c -- see options.h for the contract.
 *
 * Every source ends in options_set_spec: it checks the text, makes whatever
 * memory the value needs, and only then touches the options.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/options.h"
#include "io/address.h"
#include "io/resolver.h"
#include "ops/access_log.h"
#include "proc/options_table.h"
#include "proc/options_value.h"
#include "proc/privileges.h"

#include <stdarg.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* That this process may run on; one at least. */
static unsigned count_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == -1 || CPU_COUNT(&set) < 1)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/* A checked value: what its kind needs of these. */
struct value {
    unsigned long long number;
    double seconds;
    int choice;
    const char *text;
    char address[sizeof(":65535")]; /* text of a port */
};

enum options_status options_fail(struct option_error *error,
                                 enum options_status status, int exit_code,
                                 const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    error->exit_code = exit_code;
    return status;
}

static enum options_status no_memory(struct option_error *error)
{
    return options_fail(error, OPTIONS_NO_MEMORY, EX_OSERR, "out of memory");
}

static int exit_code_for(enum option_source source)
{
    return source == OPTION_COMMAND_LINE ? EX_USAGE : EX_CONFIG;
}

/* Says what is wrong with a value: `--max-body: "12x" is not a size`. */
static enum options_status bad_value(struct option_error *error,
                                     enum option_source source,
                                     const char *label, const char *value,
                                     const char *what)
{
    char quoted[VALUE_QUOTED_TEXT];

    value_quote(value, quoted, sizeof(quoted));
    return options_fail(error, OPTIONS_BAD, exit_code_for(source),
                        "%s: \"%s\" %s", label, quoted, what);
}

/* The limits of a kind in the words of its own values. */
static void describe_range(const struct option_spec *spec, char *out,
                           size_t room)
{
    char min[VALUE_SIZE_TEXT], max[VALUE_SIZE_TEXT];

    if (spec->kind == KIND_TIME) {
        snprintf(out, room, "is too long (at most %lluh)", spec->max / 3600);
        return;
    }
    if (spec->kind == KIND_SIZE || spec->kind == KIND_SPOOL) {
        value_print_size(spec->min, min);
        value_print_size(spec->max, max);
    } else {
        snprintf(min, sizeof(min), "%llu", spec->min);
        snprintf(max, sizeof(max), "%llu", spec->max);
    }
    snprintf(out, room, "is out of range (%s to %s)", min, max);
}

static enum value_status check_port(const char *text, struct value *value)
{
    enum value_status status = value_count(text, 0, 65535, &value->number);

    if (status == VALUE_OK) {
        snprintf(value->address, sizeof(value->address), ":%u",
                 (unsigned)value->number & 0xffff);
        value->text = value->address;
    }
    return status;
}

/* It is compared with paths as web servers send them: decoded, no query. */
static const char *check_path(const char *text)
{
    if (text[0] != '/')
        return "is not a path: it begins with /";
    if (strpbrk(text, "?#") != NULL)
        return "is not a path: it has a query";
    return NULL;
}

/* Fills *value and returns NULL, or returns what is wrong with text, which may
 * be made in complaint. */
static const char *check_value(const struct option_spec *spec, const char *text,
                               struct value *value, char *complaint,
                               size_t room)
{
    enum value_status status = VALUE_OK;
    const char *malformed = NULL;
    struct privileges privileges;
    struct address address;

    value->text = text;
    switch (spec->kind) {
    case KIND_FLAG:
        return NULL;
    case KIND_TEXT:
    case KIND_LIST:
    case KIND_CHUNK:
        return *text == '\0' ? "is empty" : NULL;
    case KIND_FORMAT:
        return *text == '\0' ? "is empty"
                             : access_log_check_format(text, complaint, room);
    case KIND_PATH:
        return check_path(text);
    case KIND_LISTEN:
        return address_parse(text, &address, complaint, room) ? NULL
                                                              : complaint;
    case KIND_SERVERS:
        return resolver_check_servers(text)
                   ? NULL
                   : "is not a name server: write its address, as 192.0.2.1, "
                     "192.0.2.1:53 or [2001:db8::1]:53";
    case KIND_USER:
        return privileges_parse(text, &privileges, complaint, room) ? NULL
                                                                    : complaint;
    case KIND_PORT:
        status = check_port(text, value);
        malformed = "is not a port number";
        if (status == VALUE_RANGE)
            return "is not a port (0 to 65535)";
        break;
    case KIND_VERSION:
    case KIND_LEVEL:
    case KIND_SWITCH:
        value->choice = value_choice(text, spec->choices);
        if (value->choice >= 0)
            return NULL;
        snprintf(complaint, room, "is none of %s", spec->choices);
        return complaint;
    case KIND_SIZE:
    case KIND_SPOOL:
        status = value_size(text, spec->min, spec->max, &value->number);
        malformed = "is not a size (try 64k, 10M)";
        break;
    case KIND_COUNT:
        status = value_count(text, spec->min, spec->max, &value->number);
        malformed = "is not a number";
        break;
    case KIND_WORKERS:
        value->number = count_cpus();
        if (strcmp(text, "auto") == 0)
            return NULL;
        status = value_count(text, spec->min, spec->max, &value->number);
        malformed = "is neither a number nor auto";
        break;
    case KIND_TIME:
        status = value_time(text, (double)spec->max, &value->seconds);
        malformed = "is not a time (try 0.5, 500ms, 2m)";
        break;
    }
    switch (status) {
    case VALUE_OK:
        break;
    case VALUE_MALFORMED:
        return malformed;
    case VALUE_RANGE:
        describe_range(spec, complaint, room);
        return complaint;
    }
    return NULL;
}

static void list_clear(struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct string_list){ NULL, 0 };
}

/* Appends a copy of text, after emptying the list if fresh.  Returns false,
 * the list as it was, when memory runs out. */
static bool list_store(struct string_list *list, const char *text, bool fresh)
{
    size_t count = fresh ? 0 : list->count;
    char **items = malloc((count + 1) * sizeof(*items));
    char *copy = strdup(text);

    if (items == NULL || copy == NULL) {
        free(items);
        free(copy);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        items[i] = list->items[i];
    items[count] = copy;
    if (fresh)
        list_clear(list);
    free(list->items);
    *list = (struct string_list){ items, count + 1 };
    return true;
}

static bool text_store(char **field, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return false;
    free(*field);
    *field = copy;
    return true;
}

/* Puts a checked value into its field.  fresh: the value there came from a
 * weaker source.  Returns false when memory runs out. */
static bool store_value(const struct option_spec *spec, void *field,
                        const struct value *value, bool fresh)
{
    switch (spec->kind) {
    case KIND_FLAG:
        *(bool *)field = true;
        break;
    case KIND_TEXT:
    case KIND_FORMAT:
    case KIND_PATH:
    case KIND_VERSION:
    case KIND_USER:
        return text_store(field, value->text);
    case KIND_LIST:
    case KIND_CHUNK:
    case KIND_LISTEN:
    case KIND_SERVERS:
    case KIND_PORT:
        return list_store(field, value->text, fresh);
    case KIND_LEVEL:
        *(int *)field = value->choice;
        break;
    case KIND_SWITCH:
        *(bool *)field = value->choice != 0;
        break;
    case KIND_SIZE:
        *(size_t *)field = (size_t)value->number;
        break;
    case KIND_SPOOL:
        *(uint64_t *)field = value->number;
        break;
    case KIND_COUNT:
    case KIND_WORKERS:
        *(unsigned *)field = (unsigned)value->number;
        break;
    case KIND_TIME:
        *(double *)field = value->seconds;
        break;
    }
    return true;
}

/* Says why source may not set the option. */
static enum options_status bad_place(struct option_error *error,
                                     const struct option_spec *spec,
                                     enum option_source source,
                                     const char *label)
{
    if (spec->reach == REACH_COMMAND_LINE)
        return options_fail(error, OPTIONS_BAD, exit_code_for(source),
                            "%s: can be given on the command line only", label);
    return options_fail(error, OPTIONS_BAD, exit_code_for(source),
                        "%s: is needed before the script is loaded: give it on"
                        " the command line",
                        label);
}

enum options_status options_set_spec(struct options *options,
                                     const struct option_spec *spec,
                                     const char *label, const char *text,
                                     enum option_source source,
                                     struct option_error *error)
{
    enum option_source *current = &options->sources[options_source_index(spec)];
    struct value value = { .text = NULL };
    char complaint[ADDRESS_ERROR_TEXT];
    const char *wrong;

    if (!options_may_set(spec, source) && source != OPTION_DEFAULT)
        return bad_place(error, spec, source, label);
    wrong = check_value(spec, text, &value, complaint, sizeof(complaint));
    if (wrong != NULL)
        return bad_value(error, source, label, text, wrong);
    if (source < *current)
        return OPTIONS_OK;
    if (!store_value(spec, options_field(options, spec), &value,
                     source > *current))
        return no_memory(error);
    *current = source;
    return OPTIONS_OK;
}

enum options_status options_set(struct options *options, const char *name,
                                const char *value, enum option_source source,
                                struct option_error *error)
{
    const struct option_spec *spec = options_find(name);
    char quoted[VALUE_QUOTED_TEXT];

    value_quote(name, quoted, sizeof(quoted));
    if (spec != NULL)
        return options_set_spec(options, spec, quoted, value, source, error);
    spec = options_find_nearest(name, source);
    return options_fail(error, OPTIONS_UNKNOWN, exit_code_for(source),
                        "%s: there is no such setting (the nearest is %s)",
                        quoted, spec->name);
}

enum option_source options_source(const struct options *options,
                                  const char *name)
{
    const struct option_spec *spec = options_find(name);

    return spec == NULL ? OPTION_DEFAULT
                        : options->sources[options_source_index(spec)];
}

static bool texts_differ(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

static bool lists_differ(const struct string_list *a,
                         const struct string_list *b)
{
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return true;
    return false;
}

bool options_differ(const struct options *a, const struct options *b,
                    const char *name)
{
    const struct option_spec *spec = options_find(name);
    const void *of_a, *of_b;

    if (spec == NULL)
        return false;
    of_a = (const char *)a + spec->offset;
    of_b = (const char *)b + spec->offset;
    switch (spec->kind) {
    case KIND_TEXT:
    case KIND_FORMAT:
    case KIND_PATH:
    case KIND_VERSION:
    case KIND_USER:
        return texts_differ(*(char *const *)of_a, *(char *const *)of_b);
    case KIND_LIST:
    case KIND_CHUNK:
    case KIND_LISTEN:
    case KIND_SERVERS:
    case KIND_PORT:
        return lists_differ(of_a, of_b);
    case KIND_FLAG:
    case KIND_SWITCH:
        return *(const bool *)of_a != *(const bool *)of_b;
    case KIND_LEVEL:
        return *(const int *)of_a != *(const int *)of_b;
    case KIND_SIZE:
        return *(const size_t *)of_a != *(const size_t *)of_b;
    case KIND_SPOOL:
        return *(const uint64_t *)of_a != *(const uint64_t *)of_b;
    case KIND_COUNT:
    case KIND_WORKERS:
        return *(const unsigned *)of_a != *(const unsigned *)of_b;
    case KIND_TIME:
        break;
    }
    return *(const double *)of_a < *(const double *)of_b ||
           *(const double *)of_a > *(const double *)of_b;
}

enum options_status options_init(struct options *options,
                                 struct option_error *error)
{
    const char *tmpdir = getenv("TMPDIR");

    memset(options, 0, sizeof(*options));
    for (size_t i = 0; i < options_table_count; i++) {
        const struct option_spec *spec = &options_table[i];
        enum options_status status;

        if (spec->fallback == NULL)
            continue;
        status = options_set_spec(options, spec, spec->name, spec->fallback,
                                  OPTION_DEFAULT, error);
        if (status != OPTIONS_OK)
            return status;
    }
    if (tmpdir == NULL || *tmpdir == '\0')
        return OPTIONS_OK;
    return options_set(options, "tmpdir", tmpdir, OPTION_DEFAULT, error);
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options_table_count; i++) {
        void *field = options_field(options, &options_table[i]);

        switch (options_table[i].kind) {
        case KIND_TEXT:
        case KIND_FORMAT:
        case KIND_PATH:
        case KIND_VERSION:
        case KIND_USER:
            free(*(char **)field);
            break;
        case KIND_LIST:
        case KIND_CHUNK:
        case KIND_LISTEN:
        case KIND_SERVERS:
            list_clear(field);
            break;
        case KIND_FLAG:
        case KIND_PORT: /* listen owns it */
        case KIND_LEVEL:
        case KIND_SWITCH:
        case KIND_SIZE:
        case KIND_SPOOL:
        case KIND_COUNT:
        case KIND_WORKERS:
        case KIND_TIME:
            break;
        }
    }
    memset(options, 0, sizeof(*options));
}
