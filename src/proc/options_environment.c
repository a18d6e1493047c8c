/* options_environment.c -- settings from the variables FCGI_LUA_NAME.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/options.h"
#include "proc/options_table.h"
#include "proc/options_value.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char prefix[] = "FCGI_LUA_";

enum {
    PREFIX_LEN = sizeof(prefix) - 1,
    NAME_ROOM = 64 /* for the name behind the prefix; no option's is as long */
};

/* MAX_BODY becomes max_body, which options_find knows.  Returns false when it
 * has a letter that no variable of ours has, or is too long. */
static bool fold_name(const char *name, size_t len, char out[NAME_ROOM])
{
    if (len >= NAME_ROOM)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z')
            out[i] = (char)(name[i] - 'A' + 'a');
        else if (name[i] == '_')
            out[i] = '_';
        else
            return false;
    }
    out[len] = '\0';
    return true;
}

/* Writes FCGI_LUA_MAX_BODY for max-body. */
static void print_variable(const char *name, char *out, size_t room)
{
    size_t i;

    snprintf(out, room, "%s%s", prefix, name);
    for (i = PREFIX_LEN; out[i] != '\0'; i++) {
        if (out[i] >= 'a' && out[i] <= 'z')
            out[i] = (char)(out[i] - 'a' + 'A');
        else if (out[i] == '-')
            out[i] = '_';
    }
}

static bool is_list(const struct option_spec *spec)
{
    return spec->kind == KIND_LIST || spec->kind == KIND_LISTEN ||
           spec->kind == KIND_PORT || spec->kind == KIND_SERVERS;
}

/* Sets a list from its items, which stand between blanks. */
static enum options_status set_list(struct options *options,
                                    const struct option_spec *spec,
                                    const char *label, const char *text,
                                    struct option_error *error)
{
    static const char blanks[] = " \t\n";
    enum options_status status;
    char *items = strdup(text), *rest = NULL, *item;

    if (items == NULL)
        return options_fail(error, OPTIONS_NO_MEMORY, EX_OSERR,
                            "out of memory");
    item = strtok_r(items, blanks, &rest);
    do { /* at least once: an empty list is an empty value */
        status = options_set_spec(options, spec, label, item ? item : "",
                                  OPTION_ENVIRONMENT, error);
        item = strtok_r(NULL, blanks, &rest);
    } while (item != NULL && status == OPTIONS_OK);
    free(items);
    return status;
}

/* Makes the line for a variable that sets nothing. */
static void explain(const char *variable, const char *name,
                    const struct option_spec *spec, struct option_error *line)
{
    char nearest[NAME_ROOM + PREFIX_LEN];

    if (spec != NULL) {
        options_fail(line, OPTIONS_BAD, EX_CONFIG,
                     "%s is ignored: --%s can be given on the command line"
                     " only",
                     variable, spec->name);
        return;
    }
    spec = options_find_nearest(name, OPTION_ENVIRONMENT);
    print_variable(spec->name, nearest, sizeof(nearest));
    options_fail(line, OPTIONS_UNKNOWN, EX_CONFIG,
                 "%s is ignored: there is no such setting (the nearest is %s)",
                 variable, nearest);
}

/* Reads one variable, of which value is what stands behind the '='. */
static enum options_status
read_variable(struct options *options, const char *variable, const char *value,
              void (*warn)(void *arg, const char *message), void *arg,
              struct option_error *error)
{
    size_t len = (size_t)(value - 1 - variable);
    char start[2 * NAME_ROOM], name[NAME_ROOM], label[VALUE_QUOTED_TEXT];
    const struct option_spec *spec = NULL;
    struct option_error line;

    if (len >= sizeof(start))
        len = sizeof(start) - 1; /* too long to be ours, enough to show */
    memcpy(start, variable, len);
    start[len] = '\0';
    value_quote(start, label, sizeof(label));
    if (fold_name(start + PREFIX_LEN, len - PREFIX_LEN, name))
        spec = options_find(name);
    if (spec == NULL || !options_may_set(spec, OPTION_ENVIRONMENT)) {
        explain(label, start + PREFIX_LEN, spec, &line);
        warn(arg, line.message);
        return OPTIONS_OK;
    }
    if (is_list(spec))
        return set_list(options, spec, label, value, error);
    return options_set_spec(options, spec, label, value, OPTION_ENVIRONMENT,
                            error);
}

enum options_status
options_parse_environment(struct options *options, char **environment,
                          void (*warn)(void *arg, const char *message),
                          void *arg, struct option_error *error)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        enum options_status status;

        if (equals == NULL || strncmp(*environment, prefix, PREFIX_LEN) != 0)
            continue;
        status =
            read_variable(options, *environment, equals + 1, warn, arg, error);
        if (status != OPTIONS_OK)
            return status;
    }
    return OPTIONS_OK;
}
